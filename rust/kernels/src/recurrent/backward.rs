//! One time step backward: gradients of the gates, and their products with the weights.

use super::pack::{row_tile, row_tiles};
use super::{Cell, LANES, Shape};
use crate::tier::Tier;
use crate::tiered;
use crate::vmath::{Lanes, tanh};

/// Gradients of one step of some units; slices over units are of those units alone.
pub struct Backward<'a> {
    /// Which cell.
    pub cell: Cell,
    /// Samples, a multiple of [`LANES`].
    pub lanes: usize,
    /// 1 for samples that took the step, 0 for those that kept their state.
    pub mask: Option<&'a [f32]>,
    /// What the step kept, units x gates x lanes; empty for simple cells.
    pub gates: &'a [f32],
    /// The state before the step, units x lanes.
    pub state_before: &'a [f32],
    /// The state after it.
    pub state: &'a [f32],
    /// The LSTM's cell state before the step.
    pub cell_before: &'a [f32],
    /// The same after it.
    pub cell_after: &'a [f32],
    /// Gradient of this step's output, to be added to `state_gradient`.
    pub output_gradient: Option<&'a [f32]>,
    /// Gradient of the state after the step; becomes the part of the gradient of the state
    /// before it that does not go through the weights.
    pub state_gradient: &'a mut [f32],
    /// The same of the LSTM's cell state, complete.
    pub cell_gradient: &'a mut [f32],
    /// Gradients of the sums, units x gates x lanes.
    pub sums: &'a mut [f32],
}

struct Raw {
    count: usize,
    lanes: usize,
    mask: *const f32,
    gates: *const f32,
    state_before: *const f32,
    state: *const f32,
    cell_before: *const f32,
    cell_after: *const f32,
    output_gradient: *const f32,
    state_gradient: *mut f32,
    cell_gradient: *mut f32,
    sums: *mut f32,
    relu: bool,
}

/// Goes back over the nonlinearities of one step.
pub fn retreat(tier: Tier, step: Backward) {
    let Backward { cell, lanes, .. } = step;
    let count = step.state_gradient.len() / lanes.max(1);
    let wide = count * cell.gates() * lanes;
    assert!(lanes.is_multiple_of(LANES) && step.state_gradient.len() == count * lanes);
    assert_eq!(step.sums.len(), wide);
    assert!(step.mask.is_none_or(|mask| mask.len() == lanes));
    assert!(
        step.output_gradient
            .is_none_or(|g| g.len() == count * lanes)
    );
    match cell {
        Cell::Lstm => {
            let states = [step.cell_before, step.cell_after, &*step.cell_gradient];
            assert!(states.iter().all(|s| s.len() == count * lanes));
            assert_eq!(step.gates.len(), wide);
        }
        Cell::Gru => {
            assert!(step.gates.len() == wide && step.state_before.len() == count * lanes);
        }
        Cell::Tanh | Cell::Relu => assert_eq!(step.state.len(), count * lanes),
    }
    let raw = Raw {
        count,
        lanes,
        mask: step.mask.map_or(std::ptr::null(), <[f32]>::as_ptr),
        gates: step.gates.as_ptr(),
        state_before: step.state_before.as_ptr(),
        state: step.state.as_ptr(),
        cell_before: step.cell_before.as_ptr(),
        cell_after: step.cell_after.as_ptr(),
        output_gradient: step
            .output_gradient
            .map_or(std::ptr::null(), <[f32]>::as_ptr),
        state_gradient: step.state_gradient.as_mut_ptr(),
        cell_gradient: step.cell_gradient.as_mut_ptr(),
        sums: step.sums.as_mut_ptr(),
        relu: cell == Cell::Relu,
    };
    match cell {
        Cell::Lstm => lstm(tier, &raw),
        Cell::Gru => gru(tier, &raw),
        Cell::Tanh | Cell::Relu => simple(tier, &raw),
    }
}

tiered! {
    fn lstm(raw: &Raw) = lstm_body;
    fn gru(raw: &Raw) = gru_body;
    fn simple(raw: &Raw) = simple_body;
}

/// Calls `unit` with the place of each register of each unit in units x lanes and in units x
/// gates x lanes, the gradient of the state there, and 1 for samples that took the step.
#[inline(always)]
unsafe fn each<V: Lanes>(
    raw: &Raw,
    gates: usize,
    mut unit: impl FnMut(usize, usize, V) -> (V, [V; 4], Option<V>),
) {
    // SAFETY: `retreat` has checked the lengths of all slices.
    unsafe {
        let zero = V::splat(0.0);
        for u in 0..raw.count {
            for lane in (0..raw.lanes).step_by(V::WIDTH) {
                let place = u * raw.lanes + lane;
                let wide = u * gates * raw.lanes + lane;
                let mut gradient = V::load(raw.state_gradient.add(place));
                if !raw.output_gradient.is_null() {
                    gradient = gradient.add(V::load(raw.output_gradient.add(place)));
                }
                let (mut rest, mut sums, mut cell) = unit(place, wide, gradient);
                if !raw.mask.is_null() {
                    let (mask, half) = (V::load(raw.mask.add(lane)), V::splat(0.5));
                    rest = mask.select_lt(half, gradient, rest);
                    for g in 0..gates {
                        sums[g] = mask.select_lt(half, zero, sums[g]);
                    }
                    if let Some(new) = cell {
                        let old = V::load(raw.cell_gradient.add(place));
                        cell = Some(mask.select_lt(half, old, new));
                    }
                }
                rest.store(raw.state_gradient.add(place));
                for g in 0..gates {
                    sums[g].store(raw.sums.add(wide + g * raw.lanes));
                }
                if let Some(cell) = cell {
                    cell.store(raw.cell_gradient.add(place));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn lstm_body<V: Lanes>(raw: &Raw) {
    // SAFETY: `retreat` has checked the lengths of all slices.
    unsafe {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        each::<V>(raw, 4, |place, wide, gradient| {
            let gate = |g: usize| V::load(raw.gates.add(wide + g * raw.lanes));
            let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
            let t = tanh(V::load(raw.cell_after.add(place)));
            let before = V::load(raw.cell_before.add(place));
            let through = gradient.mul(o);
            // 1 - t^2 by one rounding less.
            let cell = V::load(raw.cell_gradient.add(place));
            let cell = through.mul_add(zero.sub(t).mul_add(t, one), cell);
            let slope = |s: V| s.mul(one.sub(s));
            let sums = [
                cell.mul(g).mul(slope(i)),
                cell.mul(before).mul(slope(f)),
                cell.mul(i).mul(zero.sub(g).mul_add(g, one)),
                gradient.mul(t).mul(slope(o)),
            ];
            (zero, sums, Some(cell.mul(f)))
        });
    }
}

#[inline(always)]
unsafe fn gru_body<V: Lanes>(raw: &Raw) {
    // SAFETY: `retreat` has checked the lengths of all slices.
    unsafe {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        each::<V>(raw, 4, |place, wide, gradient| {
            let gate = |g: usize| V::load(raw.gates.add(wide + g * raw.lanes));
            let (n, z, r, product) = (gate(0), gate(1), gate(2), gate(3));
            let before = V::load(raw.state_before.add(place));
            let slope = |s: V| s.mul(one.sub(s));
            let candidate = gradient.mul(one.sub(z)).mul(zero.sub(n).mul_add(n, one));
            let sums = [
                candidate,
                gradient.mul(before.sub(n)).mul(slope(z)),
                candidate.mul(product).mul(slope(r)),
                candidate.mul(r),
            ];
            (gradient.mul(z), sums, None)
        });
    }
}

#[inline(always)]
unsafe fn simple_body<V: Lanes>(raw: &Raw) {
    // SAFETY: `retreat` has checked the lengths of all slices.
    unsafe {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        each::<V>(raw, 1, |place, _, gradient| {
            let y = V::load(raw.state.add(place));
            let sum = if raw.relu {
                zero.select_lt(y, gradient, zero)
            } else {
                gradient.mul(zero.sub(y).mul_add(y, one))
            };
            (zero, [sum, zero, zero, zero], None)
        });
    }
}

/// Products of the gradients of a step's sums with rows `first..` of the transposed weights
/// (of the features, then of the state): `out`, rows x lanes, holds them, or with `add` its
/// elements plus them.
///
/// `weights` comes from [`super::pack_backward`] for the same rows; `first` is as there.
pub fn pull_back(
    tier: Tier,
    shape: Shape,
    lanes: usize,
    first: usize,
    weights: &[f32],
    sums: &[f32],
    add: bool,
    out: &mut [f32],
) {
    let count = out.len() / lanes.max(1);
    assert!(lanes.is_multiple_of(LANES) && out.len() == count * lanes);
    assert!(first + count <= shape.features + shape.units);
    assert_eq!(weights.len(), count * shape.columns());
    assert_eq!(sums.len(), shape.units * shape.cell.gates() * lanes);
    for (at, size) in row_tiles(shape, tier, first, count) {
        let columns = shape.columns();
        let offset = if at < shape.features {
            0
        } else {
            shape.cell.state_offset()
        };
        let raw = RowTile {
            weights: weights[(at - first) * columns..].as_ptr(),
            sums: sums[offset * lanes..].as_ptr(),
            out: out[(at - first) * lanes..].as_mut_ptr(),
            units: shape.units,
            lanes,
            add,
        };
        match shape.cell.weights() {
            4 => tile_of_four(tier, &raw, size),
            3 => tile_of_three(tier, &raw, size),
            _ => tile_of_one(tier, &raw, size),
        }
    }
    debug_assert!(row_tile(tier) <= 14);
}

struct RowTile {
    weights: *const f32,
    sums: *const f32,
    out: *mut f32,
    units: usize,
    lanes: usize,
    add: bool,
}

tiered! {
    fn tile_of_four(raw: &RowTile, size: usize) = tile_of_four_body;
    fn tile_of_three(raw: &RowTile, size: usize) = tile_of_three_body;
    fn tile_of_one(raw: &RowTile, size: usize) = tile_of_one_body;
}

#[inline(always)]
unsafe fn tile_of_four_body<V: Lanes>(raw: &RowTile, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { row_tile_of::<V, 4, 4>(raw, size) }
}

#[inline(always)]
unsafe fn tile_of_three_body<V: Lanes>(raw: &RowTile, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { row_tile_of::<V, 4, 3>(raw, size) }
}

#[inline(always)]
unsafe fn tile_of_one_body<V: Lanes>(raw: &RowTile, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { row_tile_of::<V, 1, 1>(raw, size) }
}

/// Calls the loop for the number of rows, which must be a constant for its sums to stay in
/// registers.
macro_rules! with_rows {
    ($size:expr, $wide:expr, $call:ident, [$($narrow:literal)*], [$($more:literal)*]) => {
        match $size {
            $($narrow => $call!($narrow),)*
            $(size if size == $more && $wide => $call!($more),)*
            size => unreachable!("a tile of {size} rows"),
        }
    };
}
pub(super) use with_rows;

#[inline(always)]
unsafe fn row_tile_of<V: Lanes, const G: usize, const A: usize>(raw: &RowTile, size: usize) {
    macro_rules! call {
        ($r:literal) => {{
            let mut lane = 0;
            while lane + 2 * V::WIDTH <= raw.lanes {
                row_block::<V, G, A, $r, 2>(raw, lane);
                lane += 2 * V::WIDTH;
            }
            while lane < raw.lanes {
                row_block::<V, G, A, $r, 1>(raw, lane);
                lane += V::WIDTH;
            }
        }};
    }
    // SAFETY: the caller's promise.
    unsafe {
        with_rows!(
            size,
            V::SUMS >= 24,
            call,
            [1 2 3 4 5 6],
            [7 8 9 10 11 12 13 14]
        )
    }
}

#[inline(always)]
unsafe fn row_block<V: Lanes, const G: usize, const A: usize, const R: usize, const N: usize>(
    raw: &RowTile,
    lane: usize,
) {
    let lanes = raw.lanes;
    // SAFETY: `pull_back` has checked the lengths.
    unsafe {
        let mut weights = raw.weights;
        let mut from = raw.sums.add(lane);
        let out = raw.out.add(lane);
        let mut total = [[V::splat(0.0); N]; R];
        for _ in 0..raw.units {
            for a in 0..A {
                let mut x = [V::splat(0.0); N];
                for n in 0..N {
                    x[n] = V::load(from.add(a * lanes + n * V::WIDTH));
                }
                for r in 0..R {
                    let w = V::splat(*weights.add(a * R + r));
                    for n in 0..N {
                        total[r][n] = w.mul_add(x[n], total[r][n]);
                    }
                }
            }
            weights = weights.add(A * R);
            from = from.add(G * lanes);
        }
        for r in 0..R {
            for n in 0..N {
                let to = out.add(r * lanes + n * V::WIDTH);
                let value = if raw.add {
                    V::load(to).add(total[r][n])
                } else {
                    total[r][n]
                };
                value.store(to);
            }
        }
    }
}
