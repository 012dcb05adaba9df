//! One time step forward.

use super::{Cell, LANES, Shape, tiles};
use crate::tier::Tier;
use crate::tiered;
use crate::vmath::{Lanes, sigmoid, tanh};

/// One step of units `first..first + count`; slices over units begin with unit `first`.
pub struct Forward<'a> {
    /// Cell and widths.
    pub shape: Shape,
    /// Samples, a multiple of [`LANES`].
    pub lanes: usize,
    /// The first unit, a multiple of twelve.
    pub first: usize,
    /// Of [`super::pack_forward`] for these units.
    pub weights: &'a [f32],
    /// Features and state before the step: [`Shape::rows`] x lanes.
    pub input: &'a [f32],
    /// Where [`project`] has taken the features: its answer for these units.
    pub projected: Option<&'a [f32]>,
    /// 1 for samples that take the step, 0 for those that keep their state.
    pub mask: Option<&'a [f32]>,
    /// The cell state before the step, units x lanes; empty for cells without one.
    pub cell_before: &'a [f32],
    /// The cell state after it.
    pub cell_after: &'a mut [f32],
    /// The state after the step, units x lanes.
    pub state: &'a mut [f32],
    /// Units x gates x lanes, or empty if they are not wanted.
    pub gates: &'a mut [f32],
}

struct Raw {
    features: usize,
    units: usize,
    first: usize,
    count: usize,
    lanes: usize,
    weights: *const f32,
    input: *const f32,
    projected: *const f32,
    mask: *const f32,
    cell_before: *const f32,
    cell_after: *mut f32,
    state: *mut f32,
    gates: *mut f32,
    relu: bool,
}

fn pointer(slice: Option<&[f32]>) -> *const f32 {
    slice.map_or(std::ptr::null(), <[f32]>::as_ptr)
}

/// Takes the step.
pub fn advance(tier: Tier, step: Forward) {
    let Forward {
        shape,
        lanes,
        first,
        ..
    } = step;
    let count = step.state.len() / lanes.max(1);
    let gates = shape.cell.gates();
    assert!(lanes.is_multiple_of(LANES) && step.state.len() == count * lanes);
    assert!(first.is_multiple_of(12) && first + count <= shape.units);
    assert_eq!(step.weights.len(), count * shape.forward_width());
    assert_eq!(step.input.len(), shape.rows() * lanes);
    assert!(
        step.projected
            .is_none_or(|z| z.len() == count * gates * lanes)
    );
    assert!(step.mask.is_none_or(|mask| mask.len() == lanes));
    assert!(step.gates.is_empty() || step.gates.len() == count * gates * lanes);
    if shape.cell == Cell::Lstm {
        assert!(step.cell_before.len() == count * lanes && step.cell_after.len() == count * lanes);
    }
    let raw = Raw {
        features: shape.features,
        units: shape.units,
        first,
        count,
        lanes,
        weights: step.weights.as_ptr(),
        input: step.input.as_ptr(),
        projected: pointer(step.projected),
        mask: pointer(step.mask),
        cell_before: step.cell_before.as_ptr(),
        cell_after: step.cell_after.as_mut_ptr(),
        state: step.state.as_mut_ptr(),
        gates: if step.gates.is_empty() {
            std::ptr::null_mut()
        } else {
            step.gates.as_mut_ptr()
        },
        relu: shape.cell == Cell::Relu,
    };
    match shape.cell {
        Cell::Lstm => lstm(tier, &raw),
        Cell::Gru => gru(tier, &raw),
        Cell::Tanh | Cell::Relu => simple(tier, &raw),
    }
}

/// The part of the sums that does not depend on the state, for units `first..`: biases and
/// products with the features (`features` x lanes). `out`: units x gates x lanes.
pub fn project(
    tier: Tier,
    shape: Shape,
    lanes: usize,
    first: usize,
    weights: &[f32],
    features: &[f32],
    out: &mut [f32],
) {
    let gates = shape.cell.gates();
    let count = out.len() / (gates * lanes).max(1);
    assert!(lanes.is_multiple_of(LANES) && out.len() == count * gates * lanes);
    assert!(first.is_multiple_of(12) && first + count <= shape.units);
    assert_eq!(weights.len(), count * shape.forward_width());
    assert_eq!(features.len(), shape.features * lanes);
    let raw = Raw {
        features: shape.features,
        units: shape.units,
        first,
        count,
        lanes,
        weights: weights.as_ptr(),
        input: features.as_ptr(),
        projected: std::ptr::null(),
        mask: std::ptr::null(),
        cell_before: std::ptr::null(),
        cell_after: std::ptr::null_mut(),
        state: std::ptr::null_mut(),
        gates: out.as_mut_ptr(),
        relu: false,
    };
    match shape.cell {
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

#[inline(always)]
unsafe fn lstm_body<V: Lanes>(raw: &Raw) {
    for (at, size) in tiles(Cell::Lstm, raw.first, raw.count) {
        // SAFETY: `advance` has checked the lengths.
        unsafe {
            match size {
                3 => tile::<V, LSTM, 4, 4, 0, 3>(raw, at),
                2 => tile::<V, LSTM, 4, 4, 0, 2>(raw, at),
                _ => tile::<V, LSTM, 4, 4, 0, 1>(raw, at),
            }
        }
    }
}

#[inline(always)]
unsafe fn gru_body<V: Lanes>(raw: &Raw) {
    for (at, size) in tiles(Cell::Gru, raw.first, raw.count) {
        // SAFETY: `advance` has checked the lengths.
        unsafe {
            match size {
                3 => tile::<V, GRU, 4, 3, 1, 3>(raw, at),
                2 => tile::<V, GRU, 4, 3, 1, 2>(raw, at),
                _ => tile::<V, GRU, 4, 3, 1, 1>(raw, at),
            }
        }
    }
}

#[inline(always)]
unsafe fn simple_body<V: Lanes>(raw: &Raw) {
    for (at, size) in tiles(Cell::Tanh, raw.first, raw.count) {
        // SAFETY: `advance` has checked the lengths.
        unsafe {
            match size {
                12 => tile::<V, SIMPLE, 1, 1, 0, 12>(raw, at),
                8 => tile::<V, SIMPLE, 1, 1, 0, 8>(raw, at),
                4 => tile::<V, SIMPLE, 1, 1, 0, 4>(raw, at),
                2 => tile::<V, SIMPLE, 1, 1, 0, 2>(raw, at),
                _ => tile::<V, SIMPLE, 1, 1, 0, 1>(raw, at),
            }
        }
    }
}

const LSTM: usize = 0;
const GRU: usize = 1;
const SIMPLE: usize = 2;

/// A tile of `U` units over all lanes, two registers at a time where they fit.
#[inline(always)]
unsafe fn tile<
    V: Lanes,
    const CELL: usize,
    const G: usize,
    const A: usize,
    const OFFSET: usize,
    const U: usize,
>(
    raw: &Raw,
    at: usize,
) {
    let mut lane = 0;
    // SAFETY: the caller's promise.
    unsafe {
        if V::SUMS >= 24 {
            while lane + 2 * V::WIDTH <= raw.lanes {
                block::<V, CELL, G, A, OFFSET, U, 2>(raw, at, lane);
                lane += 2 * V::WIDTH;
            }
        }
        while lane < raw.lanes {
            block::<V, CELL, G, A, OFFSET, U, 1>(raw, at, lane);
            lane += V::WIDTH;
        }
    }
}

/// Adds `rows` rows of `from` times their weights, `A` a unit, to the sums from `offset` on.
#[inline(always)]
unsafe fn accumulate<V: Lanes, const G: usize, const A: usize, const U: usize, const N: usize>(
    sums: &mut [[[V; N]; G]; U],
    offset: usize,
    mut weights: *const f32,
    mut from: *const f32,
    stride: usize,
    rows: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for _ in 0..rows {
            let mut x = [V::splat(0.0); N];
            for n in 0..N {
                x[n] = V::load(from.add(n * V::WIDTH));
            }
            for unit in 0..U {
                for a in 0..A {
                    let w = V::splat(*weights.add(unit * A + a));
                    for n in 0..N {
                        let sum = &mut sums[unit][offset + a][n];
                        *sum = w.mul_add(x[n], *sum);
                    }
                }
            }
            weights = weights.add(U * A);
            from = from.add(stride);
        }
    }
}

#[inline(always)]
unsafe fn block<
    V: Lanes,
    const CELL: usize,
    const G: usize,
    const A: usize,
    const OFFSET: usize,
    const U: usize,
    const N: usize,
>(
    raw: &Raw,
    at: usize,
    lane: usize,
) {
    let own = at - raw.first;
    let lanes = raw.lanes;
    // SAFETY: `advance` and `project` have checked the lengths of all slices.
    unsafe {
        let bias = raw.weights.add(own * (G + (raw.features + raw.units) * A));
        let of_features = bias.add(U * G);
        let of_state = of_features.add(raw.features * U * A);
        let mut sums = [[[V::splat(0.0); N]; G]; U];
        if raw.projected.is_null() {
            for unit in 0..U {
                for g in 0..G {
                    sums[unit][g] = [V::splat(*bias.add(unit * G + g)); N];
                }
            }
            let from = raw.input.add(lane);
            accumulate::<V, G, A, U, N>(&mut sums, 0, of_features, from, lanes, raw.features);
        } else {
            let from = raw.projected.add(own * G * lanes + lane);
            for unit in 0..U {
                for g in 0..G {
                    for n in 0..N {
                        sums[unit][g][n] = V::load(from.add((unit * G + g) * lanes + n * V::WIDTH));
                    }
                }
            }
        }
        if raw.state.is_null() {
            let to = raw.gates.add(own * G * lanes + lane);
            for unit in 0..U {
                for g in 0..G {
                    for n in 0..N {
                        sums[unit][g][n].store(to.add((unit * G + g) * lanes + n * V::WIDTH));
                    }
                }
            }
            return;
        }
        let before = raw.input.add((raw.features + 1) * lanes + lane);
        accumulate::<V, G, A, U, N>(&mut sums, OFFSET, of_state, before, lanes, raw.units);
        for unit in 0..U {
            for n in 0..N {
                let place = (own + unit) * lanes + lane + n * V::WIDTH;
                let mut gates = [V::splat(0.0); G];
                for g in 0..G {
                    gates[g] = sums[unit][g][n];
                }
                let old = V::load(before.add((at + unit) * lanes + n * V::WIDTH));
                let mut state = match CELL {
                    LSTM => {
                        let cell = V::load(raw.cell_before.add(place));
                        let (state, after) = lstm_unit(&mut gates, cell);
                        let after = keep(raw, lane + n * V::WIDTH, cell, after);
                        after.store(raw.cell_after.add(place));
                        state
                    }
                    GRU => gru_unit(&mut gates, old),
                    _ if raw.relu => V::splat(0.0).max(gates[0]),
                    _ => tanh(gates[0]),
                };
                state = keep(raw, lane + n * V::WIDTH, old, state);
                state.store(raw.state.add(place));
                if CELL != SIMPLE && !raw.gates.is_null() {
                    let to = raw
                        .gates
                        .add((own + unit) * G * lanes + lane + n * V::WIDTH);
                    for g in 0..G {
                        gates[g].store(to.add(g * lanes));
                    }
                }
            }
        }
    }
}

/// `old` in the lanes that the mask leaves out, else `new`.
#[inline(always)]
unsafe fn keep<V: Lanes>(raw: &Raw, lane: usize, old: V, new: V) -> V {
    if raw.mask.is_null() {
        return new;
    }
    // SAFETY: the mask has an element for each lane.
    unsafe { V::load(raw.mask.add(lane)).select_lt(V::splat(0.5), old, new) }
}

/// State and cell state from the four sums, which become the gates' values.
#[inline(always)]
unsafe fn lstm_unit<V: Lanes>(gates: &mut [V], cell: V) -> (V, V) {
    // SAFETY: the caller's promise.
    unsafe {
        gates[0] = sigmoid(gates[0]);
        gates[1] = sigmoid(gates[1]);
        gates[2] = tanh(gates[2]);
        gates[3] = sigmoid(gates[3]);
        let after = gates[1].mul_add(cell, gates[0].mul(gates[2]));
        (gates[3].mul(tanh(after)), after)
    }
}

/// State from the four sums, which become candidate, z, r and the candidate's product with
/// the state.
#[inline(always)]
unsafe fn gru_unit<V: Lanes>(gates: &mut [V], old: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        gates[1] = sigmoid(gates[1]);
        gates[2] = sigmoid(gates[2]);
        gates[0] = tanh(gates[2].mul_add(gates[3], gates[0]));
        gates[1].mul_add(old.sub(gates[0]), gates[0])
    }
}
