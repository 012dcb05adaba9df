//! Forward passes of encoder blocks of the Transformer, several in one call.
//!
//! What lies between a block's input and its output is never written to memory of the caller's:
//! a task takes the sequences of a group through a whole block, in buffers that stay in the caches.
//! Where there are too few groups for that, each step is divided instead.

use super::affine::{Affine, MANY};
use super::attention::{self, Heads, Mask, Sizes};
use super::{ELEMENTS, scratch};
use crate::error::{Error, Result};
use crate::parallel::{Control, each_mut, fill_chunks};
use crate::team::{MOST_PHASES, Team};
use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::gemm::{Mat, MatMut, PackedB};
use ironlearn_kernels::norm;
use ironlearn_kernels::pieces::Pieces;
use ironlearn_kernels::pointwise::add_assign;
use ironlearn_kernels::tier::{self, Tier};
use std::ops::Range;

/// Steps of all sequences of a group together, about: a kernel's panel, once in the first-level
/// cache, is then used often enough, and what a group computes stays in the second-level one.
const GROUP: usize = 128;
/// Groups that are worth dividing by them.
const GROUPS: usize = 4;
/// Parts that heads and inner units of few steps are divided into: each reads its own weights.
const PARTS: usize = 6;
/// Inner units of a part are multiples of this: whole panels on any tier.
const UNITS: usize = 32;

/// A normalization over the last axis.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Gains.
    pub gamma: &'a [f32],
    /// Offsets.
    pub beta: &'a [f32],
}

/// The parameters of a block.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Makes queries, keys and values of all heads, side by side.
    pub attention: Affine<'a>,
    /// Takes the heads' answers back to the input's width.
    pub output: Affine<'a>,
    /// Of the first sum; of the attention's input where normalization comes first.
    pub attention_norm: Norm<'a>,
    /// The dense layer with the activation.
    pub inner: Affine<'a>,
    /// The dense layer back to the input's width.
    pub outer: Affine<'a>,
    /// Of the second sum; of the dense layers' input where normalization comes first.
    pub outer_norm: Norm<'a>,
}

impl Block<'_> {
    fn check(&self, width: usize, heads: usize) -> Result<()> {
        let all = [self.attention, self.output, self.inner, self.outer];
        all.iter().try_for_each(Affine::check)?;
        let norms = [self.attention_norm, self.outer_norm];
        let heads_fit = heads > 0 && self.attention.outputs == 3 * self.output.inputs;
        let fits = heads_fit
            && self.output.inputs > 0
            && self.inner.outputs > 0
            && self.output.inputs.is_multiple_of(heads)
            && self.attention.inputs == width
            && self.output.outputs == width
            && self.inner.inputs == width
            && self.outer.inputs == self.inner.outputs
            && self.outer.outputs == width
            && norms
                .iter()
                .all(|n| n.gamma.len() == width && n.beta.len() == width);
        if fits {
            return Ok(());
        }
        let sizes = all.map(|map| (map.inputs, map.outputs));
        Err(Error::Shape {
            name: "weights",
            given: format!("{sizes:?} for {heads} heads"),
            expected: format!(
                "({width}, 3 h d), (h d, {width}), ({width}, F), (F, {width}) and norms of {width}"
            ),
        })
    }
}

/// What all blocks share.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Sequences.
    pub samples: usize,
    /// Steps of each.
    pub steps: usize,
    /// Numbers of a step.
    pub width: usize,
    /// Heads of the attention.
    pub heads: usize,
    /// What the normalizations add to the variance.
    pub eps: f32,
    /// Whether they come before attention and dense layers, not after the sums.
    pub norm_first: bool,
    /// Which step may look at which.
    pub mask: Mask<'a>,
}

impl Settings<'_> {
    fn sizes(&self, block: &Block) -> Sizes {
        let depth = block.output.inputs / self.heads;
        Sizes {
            samples: self.samples,
            heads: self.heads,
            queries: self.steps,
            keys: self.steps,
            width: depth,
            depth,
        }
    }
}

/// Replaces `x` (samples, steps, width) by what the blocks make of it, one after the other.
pub fn forward(control: &Control, s: Settings, blocks: &[Block], x: &mut [f32]) -> Result<()> {
    for block in blocks {
        block.check(s.width, s.heads)?;
        s.mask.check(s.sizes(block))?;
    }
    if x.len() != s.samples * s.steps * s.width {
        return Err(Error::Shape {
            name: "x",
            given: format!("{} elements", x.len()),
            expected: format!("({}, {}, {})", s.samples, s.steps, s.width),
        });
    }
    if x.is_empty() {
        return Ok(());
    }
    let group = (GROUP / s.steps).max(1);
    if s.samples.div_ceil(group) < GROUPS {
        let phases = 2 * blocks.len();
        return if s.samples * s.steps < MANY && phases < MOST_PHASES {
            by_parts(control, s, blocks, x)
        } else {
            by_steps(control, s, blocks, x)
        };
    }
    let tier = tier::active();
    let mut packs: [PackedB; 4] = Default::default();
    for block in blocks {
        let maps = [block.attention, block.output, block.inner, block.outer];
        let mut parts: Vec<_> = maps
            .iter()
            .zip(&mut packs)
            .flat_map(|(map, pack)| map.parts(tier, pack))
            .collect();
        each_mut(control, &mut parts, |part| {
            part.pack();
            Ok(())
        })?;
        drop(parts);
        let mut tasks: Vec<_> = x
            .chunks_mut(group * s.steps * s.width)
            .enumerate()
            .collect();
        each_mut(control, &mut tasks, |(i, x)| {
            scratch::with(|room| of_group(tier, &s, block, &packs, *i * group, x, room));
            Ok(())
        })?;
    }
    Ok(())
}

/// One block of the sequences from `first` on.
fn of_group(
    tier: Tier,
    s: &Settings,
    block: &Block,
    [attention, output, inner, outer]: &[PackedB; 4],
    first: usize,
    x: &mut [f32],
    [panels, wide, narrow, line]: &mut [Buffer; 4],
) {
    let sizes = s.sizes(block);
    let (width, steps, heads) = (s.width, s.steps, s.heads);
    let rows = x.len() / width;
    let samples = rows / steps;
    let span = heads * sizes.depth;
    let hidden = block.inner.outputs;
    let wide = wide.take(rows * (3 * span).max(hidden));
    let (branch, context) = narrow
        .take(rows * (width + span))
        .split_at_mut(rows * width);
    let lse = line.take(steps);

    let source = before(tier, s, block.attention_norm, x, branch);
    let qkv = &mut wide[..rows * 3 * span];
    let to = MatMut::rows_of(qkv, rows, 3 * span);
    let from = Mat::rows_of(source, rows, width);
    block.attention.rows(tier, from, attention, to, panels);
    let part = |i: usize| Heads::by_step(qkv, steps, sizes.depth, 3 * span, i * span);
    let (q, k, v) = (part(0), part(1), part(2));
    let outs = attention::columns(context, samples, steps, heads, sizes.depth);
    let scale = 1.0 / (sizes.depth as f32).sqrt();
    for (n, outs) in outs.into_iter().enumerate() {
        for (h, mut out) in outs.into_iter().enumerate() {
            let [q, k, v] = [q, k, v].map(|m| m.matrix((n, h), steps, sizes.depth));
            let place = (first + n, h);
            attention::head(tier, sizes, place, q, k, v, s.mask, scale, &mut out, lse);
        }
    }
    let from = Mat::rows_of(context, rows, span);
    let to = MatMut::rows_of(branch, rows, width);
    block.output.rows(tier, from, output, to, panels);
    after(tier, s, block.attention_norm, branch, x);

    let source = before(tier, s, block.outer_norm, x, branch);
    let from = Mat::rows_of(source, rows, width);
    let middle = &mut wide[..rows * hidden];
    let to = MatMut::rows_of(middle, rows, hidden);
    block.inner.rows(tier, from, inner, to, panels);
    let from = Mat::rows_of(middle, rows, hidden);
    let to = MatMut::rows_of(branch, rows, width);
    block.outer.rows(tier, from, outer, to, panels);
    after(tier, s, block.outer_norm, branch, x);
}

/// What attention and dense layers take: `x`, or its normalization, which goes to `room`.
fn before<'a>(tier: Tier, s: &Settings, by: Norm, x: &'a [f32], room: &'a mut [f32]) -> &'a [f32] {
    if !s.norm_first {
        return x;
    }
    for (x, y) in x.chunks_exact(s.width).zip(room.chunks_exact_mut(s.width)) {
        norm::layer_norm(tier, x, by.gamma, by.beta, s.eps, y);
    }
    room
}

/// Adds `branch` to `x`, and normalizes the sums where that comes last; `branch` is lost.
fn after(tier: Tier, s: &Settings, by: Norm, branch: &mut [f32], x: &mut [f32]) {
    if s.norm_first {
        add_assign(tier, x, branch);
        return;
    }
    for (b, x) in branch
        .chunks_exact_mut(s.width)
        .zip(x.chunks_exact_mut(s.width))
    {
        add_assign(tier, b, x);
        norm::layer_norm(tier, b, by.gamma, by.beta, s.eps, x);
    }
}

/// The same for few steps: a task takes them all through some heads and what these add to the
/// attention's output, then through some inner units and what these add to the block's. Threads meet
/// twice a block only.
fn by_parts(control: &Control, s: Settings, blocks: &[Block], x: &mut [f32]) -> Result<()> {
    let tier = tier::active();
    let rows = s.samples * s.steps;
    let size = rows * s.width;
    let mut normal = vec![0.0f32; if s.norm_first { size } else { 0 }];
    let mut shares = vec![0.0f32; PARTS * size];
    let mut branch = vec![0.0f32; size];
    let (xs, normals) = (Pieces::new(x, size), Pieces::new(&mut normal, size));
    let shares = Pieces::new(&mut shares, size);
    // What attention and dense layers take.
    let source = if s.norm_first { &normals } else { &xs };
    let work = |_: usize, phase: usize, task: usize| {
        let block = &blocks[phase / 2];
        let (source, mut share) = (source.read(), shares.write(task));
        let source = Mat::rows_of(&source, rows, s.width);
        let to = MatMut::rows_of(&mut share, rows, s.width);
        let part = |n: usize, size: usize| task * size..((task + 1) * size).min(n);
        scratch::with(|room| {
            if phase.is_multiple_of(2) {
                let heads = part(s.heads, heads_of_part(&s));
                of_heads(tier, &s, block, source, heads, to, room);
            } else {
                let units = part(block.inner.outputs, units_of_part(block));
                of_units(tier, block, source, units, to, room);
            }
        });
    };
    Team::run(control, &work, |team| {
        for (i, block) in blocks.iter().enumerate() {
            control.check()?;
            let halves = [
                (
                    block.attention_norm,
                    s.heads.div_ceil(heads_of_part(&s)),
                    block.output.bias,
                ),
                (
                    block.outer_norm,
                    block.inner.outputs.div_ceil(units_of_part(block)),
                    block.outer.bias,
                ),
            ];
            for (half, (norm, count, bias)) in halves.into_iter().enumerate() {
                if s.norm_first {
                    before(tier, &s, norm, &xs.read(), &mut normals.write(0));
                }
                team.phase(2 * i + half, count);
                sum(tier, &shares.read()[..count * size], bias, &mut branch);
                after(tier, &s, norm, &mut branch, &mut xs.write(0));
            }
        }
        Ok(())
    })
}

/// Heads of a part.
fn heads_of_part(s: &Settings) -> usize {
    s.heads.div_ceil(PARTS)
}

/// Inner units of a part.
fn units_of_part(block: &Block) -> usize {
    let most = block.inner.outputs.div_ceil(PARTS);
    most.next_multiple_of(UNITS)
}

/// What some inner units add to the block's output of all steps.
fn of_units(
    tier: Tier,
    block: &Block,
    source: Mat,
    units: Range<usize>,
    to: MatMut,
    [_, middle, ..]: &mut [Buffer; 4],
) {
    let (rows, n) = (source.rows(), units.len());
    let middle = middle.take(rows * n);
    let part = block.inner.columns(units.clone());
    let out = MatMut::rows_of(middle, rows, n);
    scratch::with_chain(|chain| part.run(tier, source, out, chain));
    let part = block.outer.share(units);
    let from = Mat::rows_of(middle, rows, n);
    scratch::with_chain(|chain| part.run(tier, from, to, chain));
}

/// What some heads add to the attention's output of all steps.
fn of_heads(
    tier: Tier,
    s: &Settings,
    block: &Block,
    source: Mat,
    heads: Range<usize>,
    to: MatMut,
    [_, qkv, context, lse]: &mut [Buffer; 4],
) {
    let sizes = s.sizes(block);
    let (depth, span) = (sizes.depth, block.output.inputs);
    let (rows, steps) = (source.rows(), s.steps);
    let n = heads.len() * depth;
    let (qkv, context) = (qkv.take(rows * 3 * n), context.take(rows * n));
    let mut rest = MatMut::rows_of(qkv, rows, 3 * n);
    for i in 0..3 {
        let (to, others) = rest.split_columns(n);
        rest = others;
        let from = i * span + heads.start * depth;
        let part = block.attention.columns(from..from + n);
        scratch::with_chain(|chain| part.run(tier, source, to, chain));
    }
    let part = |i: usize| Heads::by_step(qkv, steps, depth, 3 * n, i * n);
    let (q, k, v) = (part(0), part(1), part(2));
    let scale = 1.0 / (depth as f32).sqrt();
    let outs = attention::columns(context, s.samples, steps, heads.len(), depth);
    for (i, outs) in outs.into_iter().enumerate() {
        for (h, mut out) in outs.into_iter().enumerate() {
            let [q, k, v] = [q, k, v].map(|m| m.matrix((i, h), steps, depth));
            let (place, lse) = ((i, heads.start + h), lse.take(steps));
            attention::head(tier, sizes, place, q, k, v, s.mask, scale, &mut out, lse);
        }
    }
    let part = block.output.share(heads.start * depth..heads.end * depth);
    let from = Mat::rows_of(context, rows, n);
    scratch::with_chain(|chain| part.run(tier, from, to, chain));
}

/// The sum of shares and of a bias.
fn sum(tier: Tier, shares: &[f32], bias: Option<&[f32]>, total: &mut [f32]) {
    let (first, others) = shares.split_at(total.len());
    total.copy_from_slice(first);
    for share in others.chunks_exact(total.len()) {
        add_assign(tier, total, share);
    }
    if let Some(bias) = bias {
        for row in total.chunks_exact_mut(bias.len()) {
            add_assign(tier, row, bias);
        }
    }
}

/// The same step by step, each of them divided.
fn by_steps(control: &Control, s: Settings, blocks: &[Block], x: &mut [f32]) -> Result<()> {
    let tier = tier::active();
    let (width, steps) = (s.width, s.steps);
    let rows = s.samples * steps;
    let lines = (ELEMENTS / width).max(1);
    let mut branch = vec![0.0f32; rows * width];
    let (mut wide, mut context) = (Vec::new(), Vec::new());
    let mut lse = vec![0.0f32; s.samples * s.heads * steps];
    let normalized = |by: Norm, x: &[f32], to: &mut [f32]| {
        fill_chunks(control, to, width, lines, |range, to| {
            before(tier, &s, by, &x[range.start * width..range.end * width], to);
            Ok(())
        })
    };
    let joined = |by: Norm, branch: &mut [f32], x: &mut [f32]| {
        let mut parts: Vec<_> = branch
            .chunks_mut(lines * width)
            .zip(x.chunks_mut(lines * width))
            .collect();
        each_mut(control, &mut parts, |(branch, x)| {
            after(tier, &s, by, branch, x);
            Ok(())
        })
        .map(|_| ())
    };
    for block in blocks {
        let sizes = s.sizes(block);
        let span = s.heads * sizes.depth;
        let hidden = block.inner.outputs;
        wide.resize(rows * (3 * span).max(hidden), 0.0f32);
        context.resize(rows * span, 0.0f32);

        let qkv = &mut wide[..rows * 3 * span];
        if s.norm_first {
            normalized(block.attention_norm, x, &mut branch)?;
            block.attention.run(control, rows, &branch, qkv)?;
        } else {
            block.attention.run(control, rows, x, qkv)?;
        }
        let part = |i: usize| Heads::by_step(qkv, steps, sizes.depth, 3 * span, i * span);
        let scale = 1.0 / (sizes.depth as f32).sqrt();
        let (q, k, v) = (part(0), part(1), part(2));
        attention::forward(
            control,
            sizes,
            q,
            k,
            v,
            s.mask,
            scale,
            &mut context,
            &mut lse,
        )?;
        block.output.run(control, rows, &context, &mut branch)?;
        joined(block.attention_norm, &mut branch, x)?;

        let middle = &mut wide[..rows * hidden];
        if s.norm_first {
            normalized(block.outer_norm, x, &mut branch)?;
            block.inner.run(control, rows, &branch, middle)?;
        } else {
            block.inner.run(control, rows, x, middle)?;
        }
        block.outer.run(control, rows, middle, &mut branch)?;
        joined(block.outer_norm, &mut branch, x)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
