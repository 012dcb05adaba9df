//! Gradient of the weights: products of what each step read with the gradients of its sums,
//! over all steps and samples.

use super::backward::with_rows;
use super::layout::turn;
use super::{LANES, PANEL, Shape};
use crate::tier::Tier;
use crate::tiered;
use crate::vmath::Lanes;

/// Gradients of one step's sums with the samples in rows, for panels `first..`: `out` holds,
/// for each panel, `depth` rows of [`PANEL`] elements, of which this step's samples are rows
/// `at..at + lanes`. Columns are in the order of the units; those beyond the last are zeros.
///
/// `state` says whether the columns are those that the state's weights have or those of the
/// features (they differ for the GRU).
pub fn fill_panels(
    tier: Tier,
    shape: Shape,
    lanes: usize,
    state: bool,
    first: usize,
    sums: &[f32],
    depth: usize,
    at: usize,
    out: &mut [f32],
) {
    let panel = depth * PANEL;
    let panels = out.len() / panel.max(1);
    assert!(lanes.is_multiple_of(LANES) && at + lanes <= depth && out.len() == panels * panel);
    assert!(first + panels <= shape.panels());
    assert_eq!(sums.len(), shape.units * shape.cell.gates() * lanes);
    let offset = if state { shape.cell.state_offset() } else { 0 };
    let raw = Fill {
        sums: sums.as_ptr(),
        out: out.as_mut_ptr(),
        columns: shape.columns(),
        gates: shape.cell.gates(),
        weights: shape.cell.weights(),
        offset,
        lanes,
        first,
        panels,
        depth,
        at,
    };
    fill(tier, &raw);
}

struct Fill {
    sums: *const f32,
    out: *mut f32,
    columns: usize,
    gates: usize,
    weights: usize,
    offset: usize,
    lanes: usize,
    first: usize,
    panels: usize,
    depth: usize,
    at: usize,
}

#[inline(always)]
unsafe fn fill_body<V: Lanes>(raw: &Fill) {
    for half in 2 * raw.first..2 * (raw.first + raw.panels) {
        let column = half * 16;
        let count = raw.columns.saturating_sub(column).min(16);
        if count == 0 {
            // The kernel for narrow panels does not read the second half.
            continue;
        }
        let to = (half / 2 - raw.first) * raw.depth * PANEL + half % 2 * 16;
        // Counted up: a division for each row would cost as much as the turning.
        let mut rows = [raw.sums; 16];
        let (mut unit, mut a) = (column / raw.weights, column % raw.weights);
        for row in &mut rows[..count] {
            // SAFETY: the row of a column that exists.
            *row = unsafe {
                raw.sums
                    .add((unit * raw.gates + raw.offset + a) * raw.lanes)
            };
            a += 1;
            if a == raw.weights {
                (unit, a) = (unit + 1, 0);
            }
        }
        for lane in (0..raw.lanes).step_by(16) {
            // SAFETY: `fill_panels` has checked the extent of both slices.
            unsafe {
                turn::<V>(
                    count,
                    16,
                    16,
                    |i| rows[i].add(lane),
                    |j| raw.out.add(to + (raw.at + lane + j) * PANEL),
                );
            }
        }
    }
}

tiered! { fn fill(raw: &Fill) = fill_body; }

/// What the rows of the gradient are multiplied with.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// `steps` matrices of rows x lanes, each `stride` elements after the one before.
    pub input: &'a [f32],
    /// Distance between the steps in `input`.
    pub stride: usize,
    /// Number of steps.
    pub steps: usize,
    /// Samples, a multiple of [`LANES`].
    pub lanes: usize,
}

/// Adds the products of `rows` rows of the operands with one panel of [`fill_panels`] (its
/// first `steps * lanes` rows) to `out`, rows x [`PANEL`]. `columns` of the panel are in use.
pub fn weight_gradient(
    tier: Tier,
    operands: Operands,
    rows: usize,
    panel: &[f32],
    columns: usize,
    out: &mut [f32],
) {
    let Operands {
        input,
        stride,
        steps,
        lanes,
    } = operands;
    if steps == 0 || rows == 0 || columns == 0 {
        return;
    }
    assert!(lanes.is_multiple_of(LANES) && (steps - 1) * stride + rows * lanes <= input.len());
    assert!(panel.len() >= steps * lanes * PANEL && out.len() == rows * PANEL);
    let most = match tier {
        Tier::Avx512 => 14,
        Tier::Avx2 | Tier::Scalar => 6,
    };
    // Tiles of about the same size, so that none is too short to hide the latency of its sums.
    let tiles = rows.div_ceil(most);
    for tile in 0..tiles {
        let (from, to) = (tile * rows / tiles, (tile + 1) * rows / tiles);
        let raw = Product {
            input: input[from * lanes..].as_ptr(),
            stride,
            steps,
            lanes,
            panel: panel.as_ptr(),
            out: out[from * PANEL..].as_mut_ptr(),
            columns,
        };
        product(tier, &raw, to - from);
    }
}

struct Product {
    input: *const f32,
    stride: usize,
    steps: usize,
    lanes: usize,
    panel: *const f32,
    out: *mut f32,
    columns: usize,
}

tiered! { fn product(raw: &Product, rows: usize) = product_body; }

#[inline(always)]
unsafe fn product_body<V: Lanes>(raw: &Product, rows: usize) {
    macro_rules! call {
        ($r:literal) => {{
            let mut column = 0;
            while column < raw.columns {
                if column + V::WIDTH < raw.columns {
                    product_tile::<V, $r, 2>(raw, column);
                    column += 2 * V::WIDTH;
                } else {
                    product_tile::<V, $r, 1>(raw, column);
                    column += V::WIDTH;
                }
            }
        }};
    }
    // SAFETY: `weight_gradient` has checked the extent of all slices; a panel has 32 columns,
    // a multiple of every register's width.
    unsafe {
        with_rows!(
            rows,
            V::SUMS >= 24 || V::WIDTH == 16,
            call,
            [1 2 3 4 5 6],
            [7 8 9 10 11 12 13 14]
        )
    }
}

#[inline(always)]
unsafe fn product_tile<V: Lanes, const R: usize, const N: usize>(raw: &Product, column: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut total = [[V::splat(0.0); N]; R];
        let mut panel = raw.panel.add(column);
        let mut input = raw.input;
        for _ in 0..raw.steps {
            for lane in 0..raw.lanes {
                let mut x = [V::splat(0.0); N];
                for n in 0..N {
                    x[n] = V::load(panel.add(n * V::WIDTH));
                }
                panel = panel.add(PANEL);
                for r in 0..R {
                    let factor = V::splat(*input.add(r * raw.lanes + lane));
                    for n in 0..N {
                        total[r][n] = factor.mul_add(x[n], total[r][n]);
                    }
                }
            }
            input = input.add(raw.stride);
        }
        for r in 0..R {
            for n in 0..N {
                let to = raw.out.add(r * PANEL + column + n * V::WIDTH);
                V::load(to).add(total[r][n]).store(to);
            }
        }
    }
}

/// Adds the gradient in panels (panels x rows x [`PANEL`]) to the gradients of the weights,
/// their columns in the order of the weight matrices. `from` begins with row `first` of `rows`
/// rows.
pub fn scatter_gradient(
    shape: Shape,
    state: bool,
    from: &[f32],
    rows: usize,
    first: usize,
    out: &mut [f32],
) {
    let (cell, h, columns) = (shape.cell, shape.units, shape.columns());
    let weights = cell.weights();
    assert!(from.len() >= shape.panels() * rows * PANEL);
    for (r, out) in out.chunks_exact_mut(columns).enumerate() {
        for a in 0..weights {
            let block = cell.block(a, state) * h;
            for (unit, to) in out[block..block + h].iter_mut().enumerate() {
                let column = unit * weights + a;
                let panel = column / PANEL * rows + first + r;
                *to += from[panel * PANEL + column % PANEL];
            }
        }
    }
}
