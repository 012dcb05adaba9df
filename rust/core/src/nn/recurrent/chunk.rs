//! One group of up to sixteen samples through the whole sequence, on one thread.
//!
//! Everything here works on memory that the caller owns, so that a training step lowered into
//! one call can use it as well.

use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::recurrent::{
    Backward, Cell, Forward, LANES, Operands, PANEL, Shape, advance, fill_panels, from_lanes,
    into_lanes, pull_back, retreat, weight_gradient,
};
use ironlearn_kernels::tier::Tier;

/// Steps whose part of the weights' gradient is computed together: what they read should lie
/// in the first two caches.
const STEPS: usize = 4;

/// A group of samples.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// The layer's cell and widths.
    pub shape: Shape,
    /// Time steps.
    pub steps: usize,
    /// Samples, 1 to 16.
    pub samples: usize,
    /// Whether time runs backwards.
    pub reverse: bool,
    /// samples x steps x features.
    pub x: &'a [f32],
    /// samples x steps, 0 where the state is carried over.
    pub mask: Option<&'a [u8]>,
    /// First states, samples x units; zeros without.
    pub h0: Option<&'a [f32]>,
    /// First cell states.
    pub c0: Option<&'a [f32]>,
}

impl Group<'_> {
    /// The place in time of step `s`.
    fn time(&self, s: usize) -> usize {
        if self.reverse { self.steps - 1 - s } else { s }
    }
}

/// What is kept of each step, or room for two steps where nothing is.
#[derive(Debug)]
pub struct Kept<'a> {
    /// Slots of rows x lanes; one more than steps.
    pub input: &'a mut [f32],
    /// Steps of units x gates x lanes; may be empty if nothing is kept.
    pub gates: &'a mut [f32],
    /// Slots of units x lanes (LSTM).
    pub cell: &'a mut [f32],
    /// Steps of lanes: 1 where the sample takes the step.
    pub masks: &'a mut [f32],
}

/// The same for the way back.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// As in [`Kept`].
    pub input: &'a [f32],
    /// As in [`Kept`].
    pub gates: &'a [f32],
    /// As in [`Kept`].
    pub cell: &'a [f32],
    /// As in [`Kept`].
    pub masks: &'a [f32],
}

/// Elements of each part of [`Kept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptSizes {
    /// Of `input`.
    pub input: usize,
    /// Of `gates`.
    pub gates: usize,
    /// Of `cell`.
    pub cell: usize,
    /// Of `masks`.
    pub masks: usize,
}

impl KeptSizes {
    /// For a layer; `keep` for the way back.
    pub fn new(shape: Shape, steps: usize, lanes: usize, keep: bool, masked: bool) -> KeptSizes {
        let slots = if keep { steps + 1 } else { 2 };
        let gates = if keep && shape.cell.gates() > 1 {
            steps * shape.cell.gates()
        } else {
            0
        };
        KeptSizes {
            input: slots * shape.rows() * lanes,
            gates: gates * shape.units * lanes,
            cell: if shape.cell == Cell::Lstm {
                slots * shape.units * lanes
            } else {
                0
            },
            masks: if masked { steps * lanes } else { 0 },
        }
    }
}

/// Memory of a [`Kept`].
#[derive(Debug)]
pub struct Tape {
    shape: Shape,
    steps: usize,
    lanes: usize,
    /// Whether it has what the way back needs.
    pub(super) keep: bool,
    pub(super) input: Buffer,
    pub(super) gates: Buffer,
    pub(super) cell: Buffer,
    pub(super) masks: Buffer,
}

impl Tape {
    /// For a layer; `keep` for the way back.
    pub fn new(shape: Shape, steps: usize, lanes: usize, keep: bool, masked: bool) -> Tape {
        let sizes = KeptSizes::new(shape, steps, lanes, keep, masked);
        Tape {
            shape,
            steps,
            lanes,
            keep,
            input: Buffer::zeros(sizes.input),
            gates: Buffer::zeros(sizes.gates),
            cell: Buffer::zeros(sizes.cell),
            masks: Buffer::zeros(sizes.masks),
        }
    }

    /// Samples that it has room for.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Whether it was kept by such a layer and batch.
    pub fn fits(&self, shape: Shape, steps: usize, masked: bool) -> bool {
        self.shape == shape && self.steps == steps && self.masks.is_empty() != masked
    }

    /// To be written.
    pub fn kept(&mut self) -> Kept<'_> {
        Kept {
            input: &mut self.input,
            gates: &mut self.gates,
            cell: &mut self.cell,
            masks: &mut self.masks,
        }
    }

    /// To be read.
    pub fn view(&self) -> View<'_> {
        View {
            input: &self.input,
            gates: &self.gates,
            cell: &self.cell,
            masks: &self.masks,
        }
    }
}

/// Who takes a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Takes<'a> {
    /// Every sample.
    All,
    /// Those with a 1.
    Some(&'a [f32]),
    /// None: the state stays as it is.
    None,
}

impl<'a> Takes<'a> {
    pub(super) fn of(masks: &'a [f32], s: usize, lanes: usize) -> Takes<'a> {
        if masks.is_empty() {
            return Takes::All;
        }
        let mask = &masks[s * lanes..(s + 1) * lanes];
        if mask.iter().all(|&m| m == 1.0) {
            Takes::All
        } else if mask.iter().all(|&m| m == 0.0) {
            Takes::None
        } else {
            Takes::Some(mask)
        }
    }

    pub(super) fn mask(self) -> Option<&'a [f32]> {
        match self {
            Takes::Some(mask) => Some(mask),
            Takes::All | Takes::None => None,
        }
    }
}

/// Fills the masks of all steps; lanes without a sample do as the last sample.
pub(super) fn fill_masks(group: &Group, lanes: usize, masks: &mut [f32]) {
    let Some(mask) = group.mask else { return };
    for (s, out) in masks.chunks_exact_mut(lanes).enumerate() {
        let t = group.time(s);
        for (lane, out) in out.iter_mut().enumerate() {
            let sample = lane.min(group.samples - 1);
            *out = f32::from(mask[sample * group.steps + t] != 0);
        }
    }
}

/// The slots before and after a step: of all slots, or of two that take turns.
pub(super) fn slots(all: &mut [f32], size: usize, s: usize) -> (&mut [f32], &mut [f32]) {
    if all.len() == 2 * size {
        let (even, odd) = all.split_at_mut(size);
        return if s.is_multiple_of(2) {
            (even, odd)
        } else {
            (odd, even)
        };
    }
    let (before, after) = all.split_at_mut((s + 1) * size);
    (&mut before[s * size..], &mut after[..size])
}

/// Runs the group forward. `packed`: of the forward loops. `y` holds, for each sample at
/// multiples of `stride`, either all states (`sequences`) or the last one. `last`, `last_cell`:
/// samples x units, where they are wanted.
pub fn forward_group(
    tier: Tier,
    group: &Group,
    packed: &[f32],
    kept: Kept,
    y: &mut [f32],
    stride: usize,
    sequences: bool,
    last: Option<&mut [f32]>,
    last_cell: Option<&mut [f32]>,
) {
    let Group {
        shape,
        steps,
        samples,
        ..
    } = *group;
    let (lanes, h, f) = (LANES, shape.units, shape.features);
    let Kept {
        input,
        gates,
        cell,
        masks,
    } = kept;
    let (rows, state_row, wide) = (
        shape.rows(),
        shape.state_row(),
        h * shape.cell.gates() * LANES,
    );
    let (slot, states) = (rows * lanes, state_row * lanes..(state_row + h) * lanes);
    for slot in input.chunks_exact_mut(slot) {
        slot[f * lanes..][..lanes].fill(1.0);
        slot[(rows - 1) * lanes..].fill(1.0);
    }
    start(tier, group.h0, samples, h, &mut input[states.clone()]);
    if shape.cell == Cell::Lstm {
        start(tier, group.c0, samples, h, &mut cell[..h * lanes]);
    }
    fill_masks(group, lanes, masks);
    // Every step has a slot of its own: one pass over the features.
    let at_once = !group.reverse && input.len() > 2 * slot;
    if at_once && f > 0 {
        into_lanes(
            tier,
            group.x,
            samples,
            steps * f,
            steps * f,
            f,
            rows,
            lanes,
            0,
            input,
        );
    }
    for s in 0..steps {
        let t = group.time(s);
        let (before, after) = slots(input, slot, s);
        let takes = Takes::of(masks, s, lanes);
        if takes == Takes::None {
            if !at_once {
                before[..f * lanes].fill(0.0);
            }
            after[states.clone()].copy_from_slice(&before[states.clone()]);
            if shape.cell == Cell::Lstm {
                let (before, after) = slots(cell, h * lanes, s);
                after.copy_from_slice(before);
            }
        } else {
            if !at_once && f > 0 {
                into_lanes(
                    tier,
                    &group.x[t * f..],
                    samples,
                    steps * f,
                    f,
                    f,
                    rows,
                    lanes,
                    0,
                    before,
                );
            }
            let (cell_before, cell_after) = if shape.cell == Cell::Lstm {
                slots(cell, h * lanes, s)
            } else {
                (&mut [][..], &mut [][..])
            };
            let step = Forward {
                shape,
                lanes,
                first: 0,
                weights: packed,
                input: before,
                projected: None,
                mask: takes.mask(),
                cell_before,
                cell_after,
                state: &mut after[states.clone()],
                gates: if gates.is_empty() {
                    &mut []
                } else {
                    &mut gates[s * wide..][..wide]
                },
            };
            advance(tier, step);
        }
        if sequences {
            from_lanes(
                tier,
                &after[states.clone()],
                h,
                lanes,
                0,
                samples,
                stride,
                &mut y[t * h..],
            );
        }
    }
    let (_, after) = slots(input, slot, steps - 1);
    let after = &after[states];
    if let Some(last) = last {
        from_lanes(tier, after, h, lanes, 0, samples, h, last);
    }
    if !sequences {
        from_lanes(tier, after, h, lanes, 0, samples, stride, y);
    }
    if let Some(last) = last_cell {
        let (_, after) = slots(cell, h * lanes, steps - 1);
        from_lanes(tier, after, h, lanes, 0, samples, h, last);
    }
}

/// First states in lanes.
fn start(tier: Tier, from: Option<&[f32]>, samples: usize, h: usize, out: &mut [f32]) {
    match from {
        Some(from) => into_lanes(tier, from, samples, h, h, h, h, LANES, 0, out),
        None => out.fill(0.0),
    }
}

/// Sums of the weights' gradient, panel by panel.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Rows of the features and their ones and, except for the GRU, of the state.
    pub features: Buffer,
    /// The GRU's rows of the state and its ones.
    pub state: Buffer,
}

/// Elements of each part of [`Scratch`], in its order.
pub fn scratch_sizes(shape: Shape, lanes: usize) -> [usize; 7] {
    let (states, panels) = (shape.units * lanes, shape.panels() * STEPS * lanes * PANEL);
    [
        states,
        states,
        states,
        states * shape.cell.gates(),
        shape.features * lanes,
        panels,
        if shape.cell.split_columns() {
            panels
        } else {
            0
        },
    ]
}

/// Memory to work in on the way back.
#[derive(Debug)]
pub struct Scratch(Buffer);

impl Scratch {
    /// For a layer and `lanes` samples.
    pub fn new(shape: Shape, lanes: usize) -> Scratch {
        Scratch(Buffer::zeros(scratch_sizes(shape, lanes).iter().sum()))
    }
}

/// The parts of the scratch: gradient of the state, of the cell state, of the output; of the
/// sums; of the features; panels of the features' and of the state's columns.
fn parts(scratch: &mut [f32], sizes: [usize; 7]) -> [&mut [f32]; 7] {
    let mut rest = scratch;
    sizes.map(|size| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(size);
        rest = after;
        part
    })
}

/// Runs the group backward. `packed`: the transposed weights. `gy`: gradients of the outputs,
/// the distance between samples, and whether they are of all states or of the last. `gh`,
/// `gc`: gradients of the last states; become those of the first ones. Adds to `sums`.
pub fn backward_group(
    tier: Tier,
    group: &Group,
    packed: &[f32],
    view: View,
    gy: Option<(&[f32], usize, bool)>,
    gx: Option<&mut [f32]>,
    gh: &mut [f32],
    gc: &mut [f32],
    sums: &mut Gradients,
    scratch: &mut Scratch,
) {
    let Gradients { features, state } = sums;
    backward_in(
        tier,
        group,
        packed,
        view,
        gy,
        gx,
        gh,
        gc,
        features,
        state,
        &mut scratch.0,
    );
}

/// [`backward_group`] in borrowed memory; `scratch` as [`scratch_sizes`] says.
pub fn backward_in(
    tier: Tier,
    group: &Group,
    packed: &[f32],
    view: View,
    gy: Option<(&[f32], usize, bool)>,
    mut gx: Option<&mut [f32]>,
    gh: &mut [f32],
    gc: &mut [f32],
    of_features: &mut [f32],
    of_state: &mut [f32],
    scratch: &mut [f32],
) {
    let Group {
        shape,
        steps,
        samples,
        ..
    } = *group;
    let (lanes, h, f) = (LANES, shape.units, shape.features);
    let lstm = shape.cell == Cell::Lstm;
    let (rows, state_row, wide) = (
        shape.rows(),
        shape.state_row(),
        h * shape.cell.gates() * LANES,
    );
    let (slot, states) = (rows * lanes, state_row * lanes..(state_row + h) * lanes);
    let (to_features, to_state) = packed.split_at(f * shape.columns());
    let [dh, dc, dy, dz, dx, panels, state_panels] = parts(scratch, scratch_sizes(shape, lanes));
    into_lanes(tier, gh, samples, h, h, h, h, lanes, 0, dh);
    if lstm {
        into_lanes(tier, gc, samples, h, h, h, h, lanes, 0, dc);
    }
    if let Some((gy, stride, false)) = gy {
        into_lanes(tier, gy, samples, stride, h, h, h, lanes, 0, dy);
        add(dh, dy);
    }
    let sequences = gy.filter(|gy| gy.2);
    // Steps of the block at hand that were not skipped by all samples.
    let mut taken = 0;
    for s in (0..steps).rev() {
        let t = group.time(s);
        if let Some((gy, stride, _)) = sequences {
            into_lanes(tier, &gy[t * h..], samples, stride, h, h, h, lanes, 0, dy);
        }
        let takes = Takes::of(view.masks, s, lanes);
        if takes == Takes::None {
            if sequences.is_some() {
                add(dh, dy);
            }
            dz.fill(0.0);
            if let Some(gx) = gx.as_deref_mut() {
                for sample in gx.chunks_exact_mut((steps * f).max(1)) {
                    sample[t * f..][..f].fill(0.0);
                }
            }
        } else {
            taken += 1;
            let step = Backward {
                cell: shape.cell,
                lanes,
                mask: takes.mask(),
                gates: if view.gates.is_empty() {
                    &[]
                } else {
                    &view.gates[s * wide..][..wide]
                },
                state_before: &view.input[s * slot..][states.clone()],
                state: &view.input[(s + 1) * slot..][states.clone()],
                cell_before: if lstm {
                    &view.cell[s * h * lanes..][..h * lanes]
                } else {
                    &[]
                },
                cell_after: if lstm {
                    &view.cell[(s + 1) * h * lanes..][..h * lanes]
                } else {
                    &[]
                },
                output_gradient: sequences.map(|_| &*dy),
                state_gradient: dh,
                cell_gradient: dc,
                sums: dz,
            };
            retreat(tier, step);
            pull_back(tier, shape, lanes, f, to_state, dz, true, dh);
            if let Some(gx) = gx.as_deref_mut().filter(|_| f > 0) {
                pull_back(tier, shape, lanes, 0, to_features, dz, false, dx);
                from_lanes(tier, dx, f, lanes, 0, samples, steps * f, &mut gx[t * f..]);
            }
        }
        let (depth, at) = (STEPS * lanes, s % STEPS * lanes);
        fill_panels(tier, shape, lanes, false, 0, dz, depth, at, panels);
        if shape.cell.split_columns() {
            fill_panels(tier, shape, lanes, true, 0, dz, depth, at, state_panels);
        }
        if s.is_multiple_of(STEPS) && taken > 0 {
            let operands = Operands {
                input: &view.input[s * slot..],
                stride: slot,
                steps: STEPS.min(steps - s),
                lanes,
            };
            let split = shape.cell.split_columns();
            let count = if split { f + 1 } else { rows - 1 };
            block_gradient(tier, shape, operands, count, depth, panels, of_features);
            if split {
                let operands = Operands {
                    input: &operands.input[state_row * lanes..],
                    ..operands
                };
                block_gradient(tier, shape, operands, h + 1, depth, state_panels, of_state);
            }
            taken = 0;
        }
    }
    from_lanes(tier, dh, h, lanes, 0, samples, h, gh);
    if lstm {
        from_lanes(tier, dc, h, lanes, 0, samples, h, gc);
    }
}

fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// Adds a block of steps to the sums of all panels.
fn block_gradient(
    tier: Tier,
    shape: Shape,
    operands: Operands,
    rows: usize,
    depth: usize,
    panels: &[f32],
    out: &mut [f32],
) {
    let parts = panels
        .chunks_exact(depth * PANEL)
        .zip(out.chunks_exact_mut(rows * PANEL));
    for (number, (panel, out)) in parts.enumerate() {
        let columns = (shape.columns() - number * PANEL).min(PANEL);
        weight_gradient(tier, operands, rows, panel, columns, out);
    }
}
