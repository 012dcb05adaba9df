//! LSTM, GRU and simple recurrent layers over whole sequences.
//!
//! Two ways through a batch, chosen by the layer's size alone:
//!
//! * [`chunk`]: groups of sixteen samples go through the whole sequence independently, each
//!   on one thread, without a barrier at any step;
//! * [`wide`]: where the weights are too large for every thread to stream them at every step,
//!   the threads share each step, every one with its own units and so its own weights.
//!
//! A few samples whose gradients are not wanted go through [`few`], units in the lanes.

pub mod chunk;
mod few;
#[cfg(test)]
mod tests;
mod wide;

use crate::error::{Error, Result};
use crate::parallel::{Control, each_mut, fill_chunks};
use chunk::{Gradients, Group, Scratch, backward_group, forward_group};
use ironlearn_kernels::buffer::Buffer;
pub use ironlearn_kernels::recurrent::{Cell, Shape};
use ironlearn_kernels::recurrent::{
    FEW, LANES, PANEL, pack_backward, pack_forward, row_block, scatter_gradient,
};
use ironlearn_kernels::tier::Tier;

/// Weights from which the threads share each step: about what a core's own cache holds.
const WIDE: usize = 1 << 18;

/// Most accumulators of the weights' gradient, whatever the number of samples.
const SLOTS: usize = 16;

/// A layer's weights, as the layer stores them.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Cell and widths.
    pub shape: Shape,
    /// features x columns.
    pub w: &'a [f32],
    /// units x columns.
    pub u: &'a [f32],
    /// Biases.
    pub b: &'a [f32],
    /// The GRU's biases of the products with the state.
    pub bu: Option<&'a [f32]>,
}

/// A batch of sequences.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Number of sequences.
    pub samples: usize,
    /// Time steps of each.
    pub steps: usize,
    /// samples x steps x features.
    pub x: &'a [f32],
    /// samples x steps, 0 where the state is carried over.
    pub mask: Option<&'a [u8]>,
    /// Whether time runs backwards; outputs stay where their inputs are.
    pub reverse: bool,
    /// States before the first step, samples x units.
    pub h0: &'a [f32],
    /// Cell states before the first step (LSTM), else empty.
    pub c0: &'a [f32],
}

/// What the forward pass keeps for the backward pass.
#[derive(Debug)]
pub struct Tape(Vec<chunk::Tape>);

/// Outputs of the forward pass.
#[derive(Debug)]
pub struct Outputs {
    /// State after each step, samples x steps x units.
    pub y: Vec<f32>,
    /// State after the last step.
    pub h: Vec<f32>,
    /// Cell state after it (LSTM), else empty.
    pub c: Vec<f32>,
    /// For [`backward`], if it was wanted.
    pub tape: Option<Tape>,
}

/// Gradients of what flows out of the forward pass, each as [`Outputs`] has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputGradients<'a> {
    /// Of all states.
    pub y: Option<&'a [f32]>,
    /// Of the last state.
    pub h: Option<&'a [f32]>,
    /// Of the last cell state.
    pub c: Option<&'a [f32]>,
}

/// Gradients of what flows in.
#[derive(Debug)]
pub struct InputGradients {
    /// Of the sequences, if wanted.
    pub x: Option<Vec<f32>>,
    /// Of the features' weights.
    pub w: Vec<f32>,
    /// Of the state's weights.
    pub u: Vec<f32>,
    /// Of the biases.
    pub b: Vec<f32>,
    /// Of the GRU's second biases, else empty.
    pub bu: Vec<f32>,
    /// Of the first states.
    pub h0: Vec<f32>,
    /// Of the first cell states (LSTM), else empty.
    pub c0: Vec<f32>,
}

fn expect(name: &'static str, given: usize, expected: usize) -> Result<()> {
    if given == expected {
        return Ok(());
    }
    Err(Error::Shape {
        name,
        given: format!("{given} elements"),
        expected: format!("{expected}"),
    })
}

fn product(what: &'static str, factors: &[usize]) -> Result<usize> {
    let total = factors.iter().try_fold(1usize, |n, &f| n.checked_mul(f));
    total
        .filter(|&n| n <= isize::MAX as usize / 64)
        .ok_or_else(|| Error::TooLarge {
            what,
            given: format!("{factors:?}"),
            limit: "what memory can hold".into(),
        })
}

fn check(layer: &Layer, batch: &Batch) -> Result<()> {
    let Shape {
        cell,
        features,
        units,
    } = layer.shape;
    if units == 0 {
        return Err(Error::InvalidParameter {
            name: "units",
            given: "0".into(),
            expected: "at least 1".into(),
        });
    }
    let columns = product("u", &[units, cell.weights()])?;
    expect("w", layer.w.len(), product("w", &[features, columns])?)?;
    expect("u", layer.u.len(), product("u", &[units, columns])?)?;
    expect("b", layer.b.len(), columns)?;
    if let Some(bu) = layer.bu {
        expect("bu", bu.len(), columns)?;
    }
    let cells = product("x", &[batch.samples, batch.steps])?;
    expect("x", batch.x.len(), product("x", &[cells, features])?)?;
    if let Some(mask) = batch.mask {
        expect("mask", mask.len(), cells)?;
    }
    // Everything kept of a step must fit, too.
    product("x", &[cells, features + 8 * units + 4])?;
    let states = product("h0", &[batch.samples, units])?;
    expect("h0", batch.h0.len(), states)?;
    expect(
        "c0",
        batch.c0.len(),
        if cell == Cell::Lstm { states } else { 0 },
    )
}

/// Units that one task packs, or takes through a step of [`wide`].
const UNIT_BLOCK: usize = 24;

/// The weights in the order of the forward loops.
fn packed_forward(control: &Control, layer: &Layer) -> Result<Buffer> {
    let width = layer.shape.forward_width();
    let mut out = Buffer::zeros(layer.shape.units * width);
    fill_chunks(
        &small(control, layer),
        &mut out,
        width,
        UNIT_BLOCK,
        |range, part| {
            pack_forward(
                layer.shape,
                range.start,
                layer.w,
                layer.u,
                layer.b,
                layer.bu,
                part,
            );
            Ok(())
        },
    )?;
    Ok(out)
}

/// The transposed weights: rows of the features, if they are wanted, then of the state.
fn packed_backward(control: &Control, tier: Tier, layer: &Layer) -> Result<Buffer> {
    let shape = layer.shape;
    let columns = shape.columns();
    let mut out = Buffer::zeros((shape.features + shape.units) * columns);
    let (features, state) = out.split_at_mut(shape.features * columns);
    for (first, part) in [(0, features), (shape.features, state)] {
        let block = row_block(tier);
        fill_chunks(
            &small(control, layer),
            part,
            columns,
            block,
            |range, part| {
                pack_backward(shape, tier, first + range.start, layer.w, layer.u, part);
                Ok(())
            },
        )?;
    }
    Ok(out)
}

/// One thread for weights that are sooner packed than handed to another.
fn small<'a>(control: &Control<'a>, layer: &Layer) -> Control<'a> {
    if layer.shape.weights() < WIDE / 4 {
        control.single()
    } else {
        *control
    }
}

/// Whether the threads share each step.
fn is_wide(layer: &Layer) -> bool {
    layer.shape.weights() >= WIDE
}

/// Runs the layer over a batch; `keep` asks for the tape.
///
/// # Errors
/// Arrays that do not fit the sizes, or a user who interrupts.
pub fn forward(
    control: &Control,
    tier: Tier,
    layer: &Layer,
    batch: &Batch,
    keep: bool,
) -> Result<Outputs> {
    check(layer, batch)?;
    forward_as(control, tier, layer, batch, keep, is_wide(layer))
}

/// [`forward`] by the way that `wide` names.
fn forward_as(
    control: &Control,
    tier: Tier,
    layer: &Layer,
    batch: &Batch,
    keep: bool,
    wide: bool,
) -> Result<Outputs> {
    let (h, lstm) = (layer.shape.units, layer.shape.cell == Cell::Lstm);
    let mut outputs = Outputs {
        y: vec![0.0; batch.samples * batch.steps * h],
        h: batch.h0.to_vec(),
        c: batch.c0.to_vec(),
        tape: None,
    };
    if batch.samples == 0 || batch.steps == 0 {
        outputs.tape = keep.then(|| Tape(Vec::new()));
        return Ok(outputs);
    }
    if !keep && batch.samples <= FEW {
        few::forward(control, tier, layer, batch, &mut outputs)?;
        return Ok(outputs);
    }
    if wide {
        outputs.tape = wide::forward(control, tier, layer, batch, keep, &mut outputs)?;
        return Ok(outputs);
    }
    let packed = packed_forward(control, layer)?;
    let mut tasks: Vec<_> = outputs
        .y
        .chunks_mut(LANES * batch.steps * h)
        .zip(outputs.h.chunks_mut(LANES * h))
        .enumerate()
        .map(|(number, (y, state))| (number, y, state, None))
        .collect();
    if lstm {
        let cells = outputs.c.chunks_mut(LANES * h);
        tasks
            .iter_mut()
            .zip(cells)
            .for_each(|(task, c)| task.3 = Some(c));
    }
    let tapes = each_mut(control, &mut tasks, |(number, y, state, cell)| {
        let group = group(layer, batch, *number);
        let mut tape =
            chunk::Tape::new(layer.shape, batch.steps, LANES, keep, batch.mask.is_some());
        let kept = tape.kept();
        forward_group(
            tier,
            &group,
            &packed,
            kept,
            y,
            batch.steps * h,
            true,
            Some(&mut **state),
            cell.as_deref_mut(),
        );
        Ok(keep.then_some(tape))
    })?;
    outputs.tape = tapes.into_iter().collect::<Option<Vec<_>>>().map(Tape);
    Ok(outputs)
}

/// The samples of chunk `number`.
fn group<'a>(layer: &Layer, batch: &Batch<'a>, number: usize) -> Group<'a> {
    let first = number * LANES;
    let samples = (batch.samples - first).min(LANES);
    let (width, h) = (batch.steps * layer.shape.features, layer.shape.units);
    Group {
        shape: layer.shape,
        steps: batch.steps,
        samples,
        reverse: batch.reverse,
        x: &batch.x[first * width..][..samples * width],
        mask: batch
            .mask
            .map(|mask| &mask[first * batch.steps..][..samples * batch.steps]),
        h0: Some(&batch.h0[first * h..][..samples * h]),
        c0: batch.c0.get(first * h..(first + samples) * h),
    }
}

/// Gradients of everything that flowed into [`forward`], given those of its outputs.
///
/// # Errors
/// Arrays that do not fit the sizes, a tape of another batch, or a user who interrupts.
pub fn backward(
    control: &Control,
    tier: Tier,
    layer: &Layer,
    batch: &Batch,
    tape: &Tape,
    gradients: OutputGradients,
    needs_x: bool,
) -> Result<InputGradients> {
    check(layer, batch)?;
    backward_as(
        control,
        tier,
        layer,
        batch,
        tape,
        gradients,
        needs_x,
        is_wide(layer),
    )
}

/// [`backward`] by the way that `wide` names.
fn backward_as(
    control: &Control,
    tier: Tier,
    layer: &Layer,
    batch: &Batch,
    tape: &Tape,
    gradients: OutputGradients,
    needs_x: bool,
    wide: bool,
) -> Result<InputGradients> {
    let shape = layer.shape;
    let (h, lstm) = (shape.units, shape.cell == Cell::Lstm);
    let states = batch.samples * h;
    for (name, array, expected) in [
        ("gy", gradients.y, states * batch.steps),
        ("gh", gradients.h, states),
        ("gc", gradients.c, if lstm { states } else { 0 }),
    ] {
        if let Some(array) = array {
            expect(name, array.len(), expected)?;
        }
    }
    let copy = |part: Option<&[f32]>, n: usize| part.map_or_else(|| vec![0.0; n], <[f32]>::to_vec);
    let mut out = InputGradients {
        x: needs_x.then(|| vec![0.0; batch.x.len()]),
        w: vec![0.0; layer.w.len()],
        u: vec![0.0; layer.u.len()],
        b: vec![0.0; layer.b.len()],
        bu: vec![0.0; layer.bu.map_or(0, <[f32]>::len)],
        h0: copy(gradients.h, states),
        c0: if lstm {
            copy(gradients.c, states)
        } else {
            Vec::new()
        },
    };
    if batch.samples == 0 || batch.steps == 0 {
        return Ok(out);
    }
    let lanes: usize = tape.0.iter().map(|tape| tape.lanes()).sum();
    if !(batch.samples..batch.samples + wide::LANES).contains(&lanes)
        || tape
            .0
            .iter()
            .any(|tape| !tape.fits(shape, batch.steps, batch.mask.is_some()))
    {
        return Err(Error::InvalidParameter {
            name: "cache",
            given: "that of another call".into(),
            expected: "what the forward pass returned for these arrays".into(),
        });
    }
    let packed = packed_backward(control, tier, layer)?;
    if wide {
        wide::backward(
            control,
            tier,
            layer,
            batch,
            &tape.0,
            gradients.y,
            &packed,
            &mut out,
        )?;
        return Ok(out);
    }
    let count = batch.samples.div_ceil(LANES);
    let each = count.div_ceil(SLOTS);
    let mut tasks = Vec::new();
    let mut cells = out.c0.chunks_mut(each * LANES * h);
    let width = batch.steps * shape.features;
    let mut inputs = out
        .x
        .as_deref_mut()
        .map(|x| x.chunks_mut((each * LANES * width).max(1)));
    for (number, states) in out.h0.chunks_mut(each * LANES * h).enumerate() {
        let x = inputs
            .as_mut()
            .map(|inputs| inputs.next().unwrap_or_default());
        tasks.push((number, states, cells.next().unwrap_or_default(), x));
    }
    let sums = each_mut(control, &mut tasks, |(slot, states, cells, x)| {
        let mut sums = Gradients::new(shape);
        let mut scratch = Scratch::new(shape, LANES);
        let first = *slot * each;
        for number in first..(first + each).min(count) {
            control.check()?;
            let group = group(layer, batch, number);
            let at = (number - first) * LANES;
            let of = |width: usize| at * width..(at + group.samples) * width;
            let gy = gradients.y.map(|gy| {
                &gy[number * LANES * batch.steps * h..][..group.samples * batch.steps * h]
            });
            let gx = x.as_deref_mut().map(|x| &mut x[of(width)]);
            let c = if lstm { &mut cells[of(h)] } else { &mut [][..] };
            let tape = &tape.0[number];
            backward_group(
                tier,
                &group,
                &packed,
                tape.view(),
                gy.map(|gy| (gy, batch.steps * h, true)),
                gx,
                &mut states[of(h)],
                c,
                &mut sums,
                &mut scratch,
            );
        }
        Ok(sums)
    })?;
    let mut sums = sums.into_iter();
    let mut total = sums.next().unwrap_or_else(|| Gradients::new(shape));
    for part in sums {
        total.add(&part);
    }
    scatter(
        shape,
        &total.features,
        &total.state,
        &mut out.w,
        &mut out.u,
        &mut out.b,
        &mut out.bu,
    );
    Ok(out)
}

/// Elements of the two parts of [`Gradients`].
pub fn gradient_sizes(shape: Shape) -> [usize; 2] {
    let panels = shape.panels() * PANEL;
    let split = shape.cell.split_columns();
    [
        panels * gradient_rows(shape),
        if split { panels * (shape.units + 1) } else { 0 },
    ]
}

/// Rows of [`Gradients::features`]: all that share the features' columns.
fn gradient_rows(shape: Shape) -> usize {
    if shape.cell.split_columns() {
        shape.features + 1
    } else {
        shape.rows() - 1
    }
}

/// Adds the sums of [`chunk::backward_in`] to the gradients of the weights.
pub fn scatter(
    shape: Shape,
    of_features: &[f32],
    of_state: &[f32],
    w: &mut [f32],
    u: &mut [f32],
    b: &mut [f32],
    bu: &mut [f32],
) {
    let rows = gradient_rows(shape);
    scatter_gradient(shape, false, of_features, rows, 0, w);
    scatter_gradient(shape, false, of_features, rows, shape.features, b);
    if shape.cell.split_columns() {
        let rows = shape.units + 1;
        scatter_gradient(shape, true, of_state, rows, 0, u);
        scatter_gradient(shape, true, of_state, rows, shape.units, bu);
    } else {
        scatter_gradient(shape, true, of_features, rows, shape.state_row(), u);
    }
}

impl Gradients {
    /// Zeros for the layer.
    pub fn new(shape: Shape) -> Gradients {
        let [features, state] = gradient_sizes(shape);
        Gradients {
            features: Buffer::zeros(features),
            state: Buffer::zeros(state),
        }
    }

    fn add(&mut self, other: &Gradients) {
        let pairs = [
            (&mut self.features, &other.features),
            (&mut self.state, &other.state),
        ];
        for (to, from) in pairs {
            to.iter_mut()
                .zip(from.iter())
                .for_each(|(to, from)| *to += from);
        }
    }
}
