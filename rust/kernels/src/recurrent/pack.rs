//! Weights in the order in which the loops read them.

use super::{Shape, tiles};
use crate::tier::Tier;
use crate::vmath::{Lanes, Plain};

/// Rows that [`super::pull_back`] takes together.
pub(super) fn row_tile(tier: Tier) -> usize {
    match tier {
        Tier::Avx512 => 14,
        Tier::Avx2 => 6,
        Tier::Scalar => Plain::SUMS / 2,
    }
}

/// The tiles `(first row, rows)` of the transposed weights: those of the features, then those
/// of the state, numbered on from them.
pub(super) fn row_tiles(
    shape: Shape,
    tier: Tier,
    first: usize,
    count: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let most = row_tile(tier);
    let (mut at, end) = (first, first + count);
    std::iter::from_fn(move || {
        if at == end {
            return None;
        }
        let limit = if at < shape.features {
            shape.features
        } else {
            shape.features + shape.units
        };
        let size = most.min(limit - at).min(end - at);
        at += size;
        Some((at - size, size))
    })
}

/// A range of rows of the transposed weights begins and ends at multiples of this within the
/// features or within the state.
pub fn row_block(tier: Tier) -> usize {
    row_tile(tier)
}

/// Packs the weights of units `first..` for [`super::advance`]: `out` holds
/// [`Shape::forward_width`] elements for each. For each tile of units the biases, the weights
/// of the features and those of the state, each feature's next to one another.
///
/// `first` and, unless it reaches the last unit, the number of units must be multiples of
/// twelve.
pub fn pack_forward(
    shape: Shape,
    first: usize,
    w: &[f32],
    u: &[f32],
    b: &[f32],
    bu: Option<&[f32]>,
    out: &mut [f32],
) {
    let (cell, h, columns) = (shape.cell, shape.units, shape.columns());
    let width = shape.forward_width();
    let count = out.len() / width;
    assert!(out.len() == count * width && first + count <= h);
    assert!(w.len() == shape.features * columns && u.len() == h * columns);
    assert!(b.len() == columns && bu.is_none_or(|bu| bu.len() == columns));
    let (gates, weights) = (cell.gates(), cell.weights());
    for (at, size) in tiles(cell, first, count) {
        let bias = &mut out[(at - first) * width..][..size * gates];
        bias.fill(0.0);
        for unit in 0..size {
            for a in 0..weights {
                let from = cell.block(a, false) * h + at + unit;
                bias[unit * gates + a] += b[from];
                let from = cell.block(a, true) * h + at + unit;
                bias[unit * gates + cell.state_offset() + a] += bu.map_or(0.0, |bu| bu[from]);
            }
        }
    }
    // Row by row: tile by tile, each row of a large matrix would lie on pages of its own.
    for (matrix, state, before) in [(w, false, 0), (u, true, shape.features)] {
        for (number, row) in matrix.chunks_exact(columns).enumerate() {
            for (at, size) in tiles(cell, first, count) {
                let tile = (at - first) * width + size * gates;
                let to = &mut out[tile + (before + number) * size * weights..][..size * weights];
                for a in 0..weights {
                    let from = &row[cell.block(a, state) * h + at..][..size];
                    for (unit, &value) in from.iter().enumerate() {
                        to[unit * weights + a] = value;
                    }
                }
            }
        }
    }
}

/// Packs rows `first..` of the transposed weights for [`super::pull_back`]: rows of the
/// features, then of the state; `out` holds [`Shape::columns`] elements for each. Within a
/// tile of rows the rows lie side by side, columns in the order of the units.
///
/// `first` must be 0, the number of features, or a multiple of [`row_block`] after one of
/// them.
pub fn pack_backward(
    shape: Shape,
    tier: Tier,
    first: usize,
    w: &[f32],
    u: &[f32],
    out: &mut [f32],
) {
    let (cell, h, columns) = (shape.cell, shape.units, shape.columns());
    let count = out.len() / columns;
    assert!(out.len() == count * columns && first + count <= shape.features + h);
    assert!(w.len() == shape.features * columns && u.len() == h * columns);
    let weights = cell.weights();
    for (at, size) in row_tiles(shape, tier, first, count) {
        let tile = &mut out[(at - first) * columns..(at - first + size) * columns];
        let state = at >= shape.features;
        let rows = if state {
            &u[(at - shape.features) * columns..][..size * columns]
        } else {
            &w[at * columns..][..size * columns]
        };
        for (unit, to) in tile.chunks_exact_mut(size * weights).enumerate() {
            for a in 0..weights {
                let column = cell.block(a, state) * h + unit;
                for (r, to) in to[a * size..(a + 1) * size].iter_mut().enumerate() {
                    *to = rows[r * columns + column];
                }
            }
        }
    }
}
