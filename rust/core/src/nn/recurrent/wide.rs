//! Layers whose weights are large: the threads share every step.
//!
//! Each task owns a block of units and reads only that block's weights, for all samples of a
//! group of up to [`LANES`]; one barrier a step. What does not depend on the state, products
//! with the features and the gradients of features and weights, is computed for all steps in
//! one go.

use super::chunk::{self, Takes, fill_masks, slots};
use super::{Batch, Gradients, Group, InputGradients, Layer, Outputs, Tape, UNIT_BLOCK};
use super::{gradient_rows, packed_forward, small};
use crate::error::Result;
use crate::parallel::{Control, each_mut, fill_chunks};
use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::recurrent::{
    Backward, Cell, Forward, LANES as GROUP, Operands, PANEL, Shape, advance, fill_panels,
    from_lanes, into_lanes, project, pull_back, retreat, row_block, scatter_gradient,
    weight_gradient,
};
use ironlearn_kernels::tier::Tier;

/// Most samples that go through the sequence together.
pub(super) const LANES: usize = 64;

/// Panels that one task of the weights' gradient takes: while they lie in the cache, the
/// operands pass by once.
const PANELS: usize = 4;

/// Rows of the weights' gradient that are computed while their operands lie in the cache.
const ROWS: usize = 56;

/// Calls `f` for the sixteens of samples of a group: first sample, how many.
fn sixteens(samples: usize, mut f: impl FnMut(usize, usize)) {
    for first in (0..samples).step_by(GROUP) {
        f(first, (samples - first).min(GROUP));
    }
}

/// The parts of each block of units in what belongs to one step.
fn blocks(all: &mut [f32], width: usize, block: usize) -> Vec<Option<&mut [f32]>> {
    all.chunks_mut((width * block).max(1)).map(Some).collect()
}

/// The group of samples from `first` on.
fn group<'a>(layer: &Layer, batch: &Batch<'a>, first: usize) -> Group<'a> {
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

/// Runs the layer over the batch.
pub(super) fn forward(
    control: &Control,
    tier: Tier,
    layer: &Layer,
    batch: &Batch,
    keep: bool,
    outputs: &mut Outputs,
) -> Result<Option<Tape>> {
    let (h, steps) = (layer.shape.units, batch.steps);
    let packed = packed_forward(control, layer)?;
    let mut tapes = Vec::new();
    for first in (0..batch.samples).step_by(LANES) {
        let group = group(layer, batch, first);
        let lanes = group.samples.next_multiple_of(GROUP);
        let mut tape = chunk::Tape::new(layer.shape, steps, lanes, keep, batch.mask.is_some());
        let of = first * h..(first + group.samples) * h;
        let y = &mut outputs.y[first * steps * h..][..group.samples * steps * h];
        let c = outputs.c.get_mut(of.clone());
        forward_group(
            control,
            tier,
            &group,
            lanes,
            &packed,
            &mut tape,
            y,
            &mut outputs.h[of],
            c,
        )?;
        if keep {
            tapes.push(tape);
        }
    }
    Ok(keep.then_some(Tape(tapes)))
}

fn forward_group(
    control: &Control,
    tier: Tier,
    group: &Group,
    lanes: usize,
    packed: &[f32],
    tape: &mut chunk::Tape,
    y: &mut [f32],
    last: &mut [f32],
    last_cell: Option<&mut [f32]>,
) -> Result<()> {
    let Group {
        shape,
        steps,
        samples,
        reverse,
        ..
    } = *group;
    let (h, f, gates) = (shape.units, shape.features, shape.cell.gates());
    let lstm = shape.cell == Cell::Lstm;
    let (rows, state_row) = (shape.rows(), shape.state_row());
    let (slot, states) = (rows * lanes, state_row * lanes..(state_row + h) * lanes);
    let time = |s: usize| if reverse { steps - 1 - s } else { s };
    let mut features = Buffer::zeros(steps * f * lanes);
    fill_chunks(control, &mut features, f * lanes, 1, |range, out| {
        let t = time(range.start);
        sixteens(samples, |first, count| {
            let x = &group.x[(first * steps + t) * f..];
            into_lanes(tier, x, count, steps * f, f, f, f, lanes, first, out);
        });
        Ok(())
    })?;
    let width = shape.forward_width();
    let sums = gates * lanes;
    // Block by block: all steps of the block's units.
    let mut projected = Buffer::zeros(h * steps * sums);
    fill_chunks(
        control,
        &mut projected,
        steps * sums,
        UNIT_BLOCK,
        |range, out| {
            let weights = &packed[range.start * width..range.end * width];
            for (s, out) in out.chunks_exact_mut(range.len() * sums).enumerate() {
                let x = &features[s * f * lanes..][..f * lanes];
                project(tier, shape, lanes, range.start, weights, x, out);
            }
            Ok(())
        },
    )?;
    for (s, slot) in tape.input.chunks_exact_mut(slot).enumerate() {
        slot[f * lanes..][..lanes].fill(1.0);
        slot[(rows - 1) * lanes..].fill(1.0);
        if tape.keep && s < steps {
            slot[..f * lanes].copy_from_slice(&features[s * f * lanes..][..f * lanes]);
        }
    }
    drop(features);
    sixteens(samples, |first, count| {
        let from = |all: Option<&[f32]>, out: &mut [f32]| {
            if let Some(all) = all {
                into_lanes(
                    tier,
                    &all[first * h..],
                    count,
                    h,
                    h,
                    h,
                    h,
                    lanes,
                    first,
                    out,
                );
            }
        };
        from(group.h0, &mut tape.input[states.clone()]);
        if lstm {
            from(group.c0, &mut tape.cell[..h * lanes]);
        }
    });
    fill_masks(group, lanes, &mut tape.masks);
    let (state_block, block_count) = (UNIT_BLOCK * lanes, h.div_ceil(UNIT_BLOCK));
    let none = || -> Vec<Option<&mut [f32]>> { (0..block_count).map(|_| None).collect() };
    for s in 0..steps {
        control.check()?;
        let (before, after) = slots(&mut tape.input, slot, s);
        let (cell_before, cell_after) = if lstm {
            slots(&mut tape.cell, h * lanes, s)
        } else {
            (&mut [][..], &mut [][..])
        };
        let (before, cell_before) = (&*before, &*cell_before);
        let takes = Takes::of(&tape.masks, s, lanes);
        if takes == Takes::None {
            after[states.clone()].copy_from_slice(&before[states.clone()]);
            cell_after.copy_from_slice(cell_before);
        } else {
            let kept = if tape.gates.is_empty() {
                none()
            } else {
                blocks(
                    &mut tape.gates[s * h * sums..][..h * sums],
                    sums,
                    UNIT_BLOCK,
                )
            };
            let cells = if lstm {
                blocks(cell_after, lanes, UNIT_BLOCK)
            } else {
                none()
            };
            let mut tasks: Vec<_> = after[states.clone()]
                .chunks_mut(state_block)
                .zip(kept)
                .zip(cells)
                .enumerate()
                .collect();
            each_mut(
                control,
                &mut tasks,
                |(number, ((state, gates), cell_after))| {
                    let first = *number * UNIT_BLOCK;
                    let count = state.len() / lanes;
                    let at = first * steps * sums + s * count * sums;
                    let step = Forward {
                        shape,
                        lanes,
                        first,
                        weights: &packed[first * width..][..count * width],
                        input: before,
                        projected: Some(&projected[at..][..count * sums]),
                        mask: takes.mask(),
                        cell_before: if lstm {
                            &cell_before[first * lanes..][..count * lanes]
                        } else {
                            &[]
                        },
                        cell_after: cell_after.as_deref_mut().unwrap_or_default(),
                        state,
                        gates: gates.as_deref_mut().unwrap_or_default(),
                    };
                    advance(tier, step);
                    Ok(())
                },
            )?;
        }
        let after = &after[states.clone()];
        sixteens(samples, |first, count| {
            let y = &mut y[(first * steps + time(s)) * h..];
            from_lanes(tier, after, h, lanes, first, count, steps * h, y);
        });
    }
    let (_, after) = slots(&mut tape.input, slot, steps - 1);
    sixteens(samples, |first, count| {
        from_lanes(
            tier,
            &after[states.clone()],
            h,
            lanes,
            first,
            count,
            h,
            &mut last[first * h..],
        );
    });
    if let Some(last) = last_cell {
        let (_, after) = slots(&mut tape.cell, h * lanes, steps - 1);
        sixteens(samples, |first, count| {
            from_lanes(
                tier,
                after,
                h,
                lanes,
                first,
                count,
                h,
                &mut last[first * h..],
            );
        });
    }
    Ok(())
}

/// Runs the batch backward; `out` has the gradients of the last states as those of the first.
pub(super) fn backward(
    control: &Control,
    tier: Tier,
    layer: &Layer,
    batch: &Batch,
    tapes: &[chunk::Tape],
    gy: Option<&[f32]>,
    packed: &[f32],
    out: &mut InputGradients,
) -> Result<()> {
    let shape = layer.shape;
    let (h, steps) = (shape.units, batch.steps);
    let mut sums = Gradients::new(shape);
    for (tape, first) in tapes.iter().zip((0..batch.samples).step_by(LANES)) {
        let group = group(layer, batch, first);
        let states = first * h..(first + group.samples) * h;
        let gy = gy.map(|gy| &gy[first * steps * h..][..group.samples * steps * h]);
        let dz = through_time(
            control,
            tier,
            &group,
            tape,
            gy,
            packed,
            &mut out.h0[states.clone()],
            out.c0.get_mut(states),
        )?;
        if let Some(gx) = &mut out.x {
            let width = steps * shape.features;
            let gx = &mut gx[first * width..][..group.samples * width];
            of_features(control, tier, &group, tape.lanes(), packed, &dz, gx)?;
        }
        of_weights(control, tier, shape, steps, tape, &dz, &mut sums)?;
    }
    scatter(control, layer, &sums, out)
}

/// Gradients of the sums of all steps: steps x units x gates x lanes.
fn through_time(
    control: &Control,
    tier: Tier,
    group: &Group,
    tape: &chunk::Tape,
    gy: Option<&[f32]>,
    packed: &[f32],
    gh: &mut [f32],
    gc: Option<&mut [f32]>,
) -> Result<Buffer> {
    let Group {
        shape,
        steps,
        samples,
        reverse,
        ..
    } = *group;
    let (lanes, h, f, gates) = (
        tape.lanes(),
        shape.units,
        shape.features,
        shape.cell.gates(),
    );
    let lstm = shape.cell == Cell::Lstm;
    let (columns, sums) = (shape.columns(), gates * lanes);
    let slot = shape.rows() * lanes;
    let states = shape.state_row() * lanes..(shape.state_row() + h) * lanes;
    let to_state = &packed[f * columns..];
    let block = 2 * row_block(tier);
    let mut dh = Buffer::zeros(h * lanes);
    let mut dc = Buffer::zeros(if lstm { h * lanes } else { 0 });
    let mut dy = Buffer::zeros(if gy.is_some() { h * lanes } else { 0 });
    let mut dz = Buffer::zeros(steps * h * sums);
    sixteens(samples, |first, count| {
        into_lanes(
            tier,
            &gh[first * h..],
            count,
            h,
            h,
            h,
            h,
            lanes,
            first,
            &mut dh,
        );
        if let Some(gc) = &gc {
            into_lanes(
                tier,
                &gc[first * h..],
                count,
                h,
                h,
                h,
                h,
                lanes,
                first,
                &mut dc,
            );
        }
    });
    for s in (0..steps).rev() {
        control.check()?;
        let t = if reverse { steps - 1 - s } else { s };
        if let Some(gy) = gy {
            sixteens(samples, |first, count| {
                let from = &gy[(first * steps + t) * h..];
                into_lanes(tier, from, count, steps * h, h, h, h, lanes, first, &mut dy);
            });
        }
        let takes = Takes::of(&tape.masks, s, lanes);
        let (now, later) = dz[s * h * sums..].split_at_mut(h * sums);
        let later = later.get(..h * sums);
        let cells = if lstm {
            blocks(&mut dc, lanes, block)
        } else {
            (0..h.div_ceil(block)).map(|_| None).collect()
        };
        let mut tasks: Vec<_> = dh
            .chunks_mut(block * lanes)
            .zip(now.chunks_mut(block * sums))
            .zip(cells)
            .enumerate()
            .collect();
        each_mut(control, &mut tasks, |(number, ((dh, now), dc))| {
            let first = *number * block;
            let count = dh.len() / lanes;
            if let Some(later) = later {
                let weights = &to_state[first * columns..][..count * columns];
                pull_back(tier, shape, lanes, f + first, weights, later, true, dh);
            }
            let dy = gy.map(|_| &dy[first * lanes..][..count * lanes]);
            if takes == Takes::None {
                if let Some(dy) = dy {
                    dh.iter_mut().zip(dy).for_each(|(to, from)| *to += from);
                }
                return Ok(());
            }
            let of = first * lanes..(first + count) * lanes;
            let wide = (s * h + first) * sums;
            let cell = |s: usize| {
                if lstm {
                    &tape.cell[s * h * lanes..][of.clone()]
                } else {
                    &[]
                }
            };
            let step = Backward {
                cell: shape.cell,
                lanes,
                mask: takes.mask(),
                gates: if tape.gates.is_empty() {
                    &[]
                } else {
                    &tape.gates[wide..][..count * sums]
                },
                state_before: &tape.input[s * slot..][states.clone()][of.clone()],
                state: &tape.input[(s + 1) * slot..][states.clone()][of.clone()],
                cell_before: cell(s),
                cell_after: cell(s + 1),
                output_gradient: dy,
                state_gradient: dh,
                cell_gradient: dc.as_deref_mut().unwrap_or_default(),
                sums: now,
            };
            retreat(tier, step);
            Ok(())
        })?;
    }
    let first = &dz[..h * sums];
    fill_chunks(control, &mut dh, lanes, block, |range, out| {
        let weights = &to_state[range.start * columns..range.end * columns];
        pull_back(
            tier,
            shape,
            lanes,
            f + range.start,
            weights,
            first,
            true,
            out,
        );
        Ok(())
    })?;
    sixteens(samples, |first, count| {
        from_lanes(tier, &dh, h, lanes, first, count, h, &mut gh[first * h..]);
    });
    if let Some(gc) = gc {
        sixteens(samples, |first, count| {
            from_lanes(tier, &dc, h, lanes, first, count, h, &mut gc[first * h..]);
        });
    }
    Ok(dz)
}

/// Gradients of the features of all steps.
fn of_features(
    control: &Control,
    tier: Tier,
    group: &Group,
    lanes: usize,
    packed: &[f32],
    dz: &[f32],
    gx: &mut [f32],
) -> Result<()> {
    let Group {
        shape,
        steps,
        reverse,
        ..
    } = *group;
    let (f, columns) = (shape.features, shape.columns());
    let step = shape.units * shape.cell.gates() * lanes;
    let block = 2 * row_block(tier);
    // Block by block of features, so that a task reads its weights once.
    let mut all = Buffer::zeros(f * steps * lanes);
    fill_chunks(control, &mut all, steps * lanes, block, |range, out| {
        let weights = &packed[range.start * columns..range.end * columns];
        for (s, out) in out.chunks_exact_mut(range.len() * lanes).enumerate() {
            let dz = &dz[s * step..][..step];
            pull_back(tier, shape, lanes, range.start, weights, dz, false, out);
        }
        Ok(())
    })?;
    fill_chunks(control, gx, steps * f, GROUP, |samples, out| {
        for (first, part) in (0..f).step_by(block).zip(all.chunks(block * steps * lanes)) {
            let count = (f - first).min(block);
            for (s, part) in part.chunks_exact(count * lanes).enumerate() {
                let t = if reverse { steps - 1 - s } else { s };
                let out = &mut out[t * f + first..];
                from_lanes(
                    tier,
                    part,
                    count,
                    lanes,
                    samples.start,
                    samples.len(),
                    steps * f,
                    out,
                );
            }
        }
        Ok(())
    })
}

/// Adds the gradient of the weights to `sums`.
fn of_weights(
    control: &Control,
    tier: Tier,
    shape: Shape,
    steps: usize,
    tape: &chunk::Tape,
    dz: &[f32],
    sums: &mut Gradients,
) -> Result<()> {
    let lanes = tape.lanes();
    let stride = shape.rows() * lanes;
    let step = shape.units * shape.cell.gates() * lanes;
    let split = shape.cell.split_columns();
    let of_features = gradient_rows(shape);
    let parts = [
        (false, 0, of_features, &mut sums.features),
        (true, shape.state_row(), shape.units + 1, &mut sums.state),
    ];
    for (state, offset, rows, out) in parts.into_iter().take(1 + usize::from(split)) {
        let input = &tape.input[offset * lanes..];
        fill_chunks(control, out, rows * PANEL, PANELS, |range, out| {
            let depth = steps * lanes;
            let mut panels = Buffer::zeros(range.len() * depth * PANEL);
            for s in 0..steps {
                let dz = &dz[s * step..][..step];
                let at = s * lanes;
                fill_panels(
                    tier,
                    shape,
                    lanes,
                    state,
                    range.start,
                    dz,
                    depth,
                    at,
                    &mut panels,
                );
            }
            for first in (0..rows).step_by(ROWS) {
                let count = (rows - first).min(ROWS);
                let operands = Operands {
                    input: &input[first * lanes..],
                    stride,
                    steps,
                    lanes,
                };
                for (number, panel) in panels.chunks_exact(depth * PANEL).enumerate() {
                    let columns = (shape.columns() - (range.start + number) * PANEL).min(PANEL);
                    let out = &mut out[(number * rows + first) * PANEL..][..count * PANEL];
                    weight_gradient(tier, operands, count, panel, columns, out);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The gradients in the order of the weights.
fn scatter(
    control: &Control,
    layer: &Layer,
    sums: &Gradients,
    out: &mut InputGradients,
) -> Result<()> {
    let shape = layer.shape;
    let columns = shape.columns();
    let control = small(control, layer);
    let of_features = gradient_rows(shape);
    let split = shape.cell.split_columns();
    fill_chunks(&control, &mut out.w, columns, GROUP, |range, out| {
        scatter_gradient(shape, false, &sums.features, of_features, range.start, out);
        Ok(())
    })?;
    let (from, rows, offset) = if split {
        (&sums.state, shape.units + 1, 0)
    } else {
        (&sums.features, of_features, shape.state_row())
    };
    fill_chunks(&control, &mut out.u, columns, GROUP, |range, out| {
        scatter_gradient(shape, true, from, rows, offset + range.start, out);
        Ok(())
    })?;
    scatter_gradient(
        shape,
        false,
        &sums.features,
        of_features,
        shape.features,
        &mut out.b,
    );
    if split {
        scatter_gradient(
            shape,
            true,
            &sums.state,
            shape.units + 1,
            shape.units,
            &mut out.bu,
        );
    }
    Ok(())
}
