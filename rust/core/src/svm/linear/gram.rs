//! Weighted sums of outer products of dense rows: the expensive part of an exact Hessian.

use crate::error::Result;
use crate::parallel::{Control, chunks, map_chunks};
use ironlearn_kernels::linear::{Element, LEFT, RIGHT, panel_product};
use ironlearn_kernels::tier::Tier;
use std::ops::Range;

/// Rows packed at a time: a right panel (12 x 192 doubles) stays in the first-level cache.
const DEPTH: usize = 192;
/// Columns of a tile, a multiple of both panel widths: the packed left side of a tile stays
/// in the second-level cache.
const TILE: usize = 192;

/// Adds `sum of weight * row * row'` over `rows` to the lower triangle of `out`.
///
/// Work is cut into tiles of the result and, where these are few, slabs of rows; both come
/// from the shape alone, and each task packs what it needs.
pub(super) fn add_dense<'a, T: Element>(
    control: &Control,
    tier: Tier,
    row: impl Fn(usize) -> &'a [T] + Sync,
    bias: Option<f64>,
    features: usize,
    rows: &[(u32, f64)],
    out: &mut [f64],
) -> Result<()> {
    let width = features + usize::from(bias.is_some());
    if rows.is_empty() || width == 0 {
        return Ok(());
    }
    let blocks: Vec<Range<usize>> = chunks(width, TILE).collect();
    let tiles: Vec<(usize, usize)> = (0..blocks.len())
        .flat_map(|i| (0..=i).map(move |j| (i, j)))
        .collect();
    let work = rows.len() as f64 * (width * width) as f64;
    let slabs = ((work / 8e6) as usize)
        .min(16usize.div_ceil(tiles.len()))
        .min(rows.len() / 1024)
        .max(1);
    let slab: Vec<Range<usize>> = chunks(rows.len(), rows.len().div_ceil(slabs)).collect();
    let parts = map_chunks(control, tiles.len() * slab.len(), 1, |task| {
        let (i, j) = tiles[task.start % tiles.len()];
        let part = &rows[slab[task.start / tiles.len()].clone()];
        tile(
            control, tier, &row, bias, features, part, &blocks[i], &blocks[j],
        )
    })?;
    for (task, part) in parts.into_iter().enumerate() {
        let (i, j) = tiles[task % tiles.len()];
        let (left, right) = (&blocks[i], &blocks[j]);
        let stride = right.len().next_multiple_of(RIGHT);
        for (r, source) in left.clone().zip(part.chunks_exact(stride)) {
            let columns = right.start..right.end.min(r + 1);
            for (o, v) in out[r * width..][columns].iter_mut().zip(source) {
                *o += v;
            }
        }
    }
    Ok(())
}

fn tile<'a, T: Element>(
    control: &Control,
    tier: Tier,
    row: &impl Fn(usize) -> &'a [T],
    bias: Option<f64>,
    features: usize,
    rows: &[(u32, f64)],
    left: &Range<usize>,
    right: &Range<usize>,
) -> Result<Vec<f64>> {
    let left_panels = left.len().div_ceil(LEFT);
    let right_panels = right.len().div_ceil(RIGHT);
    let stride = right_panels * RIGHT;
    let mut sum = vec![0.0; left_panels * LEFT * stride];
    // Padding columns stay zero.
    let depth = DEPTH.min(rows.len());
    let mut packed_left = vec![0.0; left_panels * LEFT * depth];
    let mut packed_right = vec![0.0; right_panels * RIGHT * depth];
    let mut out = [0.0; LEFT * RIGHT];
    for range in chunks(rows.len(), DEPTH) {
        control.check()?;
        let steps = range.len();
        for (k, &(i, weight)) in rows[range].iter().enumerate() {
            let x = row(i as usize);
            pack::<T, LEFT>(x, bias, features, left, weight, k, steps, &mut packed_left);
            pack::<T, RIGHT>(x, bias, features, right, 1.0, k, steps, &mut packed_right);
        }
        for (q, b) in packed_right
            .chunks_exact(RIGHT * steps)
            .take(right_panels)
            .enumerate()
        {
            for (p, a) in packed_left
                .chunks_exact(LEFT * steps)
                .take(left_panels)
                .enumerate()
            {
                // Wholly above the diagonal.
                if right.start + q * RIGHT >= left.start + (p + 1) * LEFT {
                    continue;
                }
                panel_product(tier, a, b, &mut out);
                for (r, source) in out.chunks_exact(RIGHT).enumerate() {
                    let target = &mut sum[(p * LEFT + r) * stride + q * RIGHT..][..RIGHT];
                    for (o, v) in target.iter_mut().zip(source) {
                        *o += v;
                    }
                }
            }
        }
    }
    Ok(sum)
}

/// Writes `weight` times the elements `block` of a row as step `k` of panels of `W` columns.
#[inline]
fn pack<T: Element, const W: usize>(
    x: &[T],
    bias: Option<f64>,
    features: usize,
    block: &Range<usize>,
    weight: f64,
    k: usize,
    steps: usize,
    packed: &mut [f64],
) {
    let stored = &x[block.start..block.end.min(features)];
    for (p, values) in stored.chunks(W).enumerate() {
        let target = &mut packed[(p * steps + k) * W..][..values.len()];
        for (o, v) in target.iter_mut().zip(values) {
            *o = weight * v.widen();
        }
    }
    if let Some(bias) = bias
        && block.end > features
    {
        let at = features - block.start;
        packed[(at / W * steps + k) * W + at % W] = weight * bias;
    }
}
