//! Training: phase after phase, step after step.

use super::Plan;
use super::buffers::{Buffers, Chunk, Worker};
use super::build::Node;
use super::layer::{CHUNK, MOST_PARAMETERS, Pass, Weights, Workspace};
use super::loss::Targets;
use super::program::{Op, PIECE, Phase, Task, chunks_of, piece_len, program, slots};
use crate::error::{Error, Result};
use crate::nn::optimizer::Hyper;
use crate::parallel::Control;
use crate::team::Team;
use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::optimizer::{Factors, update};
use ironlearn_kernels::pieces::{Pieces, Whole};
use ironlearn_kernels::tier;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Samples, row after row.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Numbers.
    Floats(&'a [f32]),
    /// Integers, for networks that begin with an embedding.
    Ids(&'a [i32]),
}

impl Rows<'_> {
    fn len(&self) -> usize {
        match self {
            Rows::Floats(x) => x.len(),
            Rows::Ids(x) => x.len(),
        }
    }
}

/// Copies the rows of `x` with these numbers to `values`, or to `ids` if they are integers.
pub(super) fn gather(
    x: Rows,
    len: usize,
    rows: impl Iterator<Item = i64>,
    values: &mut [f32],
    ids: &mut [i32],
) {
    let places = rows.map(|row| row as usize * len);
    match x {
        Rows::Floats(x) => {
            for (at, to) in places.zip(values.chunks_exact_mut(len.max(1))) {
                to.copy_from_slice(&x[at..at + len]);
            }
        }
        Rows::Ids(x) => {
            for (at, to) in places.zip(ids.chunks_exact_mut(len.max(1))) {
                to.copy_from_slice(&x[at..at + len]);
            }
        }
    }
}

/// The data and the order of a call.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// All samples.
    pub x: Rows<'a>,
    /// Their targets.
    pub y: Targets<'a>,
    /// Their weights; 1 each if none are given.
    pub weights: Option<&'a [f32]>,
    /// Numbers of samples, batch after batch.
    pub order: &'a [i64],
    /// Where each batch begins in `order`, and where the last one ends.
    pub offsets: &'a [i64],
    /// The learning rate of each step.
    pub rates: &'a [f64],
    /// The optimizer's number of the first step, from 1.
    pub first_step: u64,
    /// The seed of dropout.
    pub seed: u64,
    /// The number of the first step in dropout's streams.
    pub first_draw: u64,
    /// The optimizer's numbers.
    pub hyper: Hyper,
}

/// The arrays that training changes.
#[derive(Debug)]
pub struct State<'a> {
    /// In the order of [`Plan::parameters`].
    pub params: Vec<&'a mut [f32]>,
    /// For each array that the rule keeps: one for each parameter.
    pub slots: Vec<Vec<&'a mut [f32]>>,
    /// In the order of [`Plan::buffers`].
    pub buffers: Vec<&'a mut [f32]>,
    /// Whether penalties and weight decay concern a parameter.
    pub decay: Vec<bool>,
}

/// What came out of each step that was done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The loss before the step's update.
    pub losses: Vec<f64>,
    /// The share of targets that were met, weighted as the loss.
    pub right: Vec<f64>,
    /// A loss that is not finite: it ended the training before its step's update.
    pub diverged: Option<f64>,
}

/// What a step's tasks read.
#[derive(Debug, Default)]
struct Now {
    start: usize,
    batch: usize,
    chunks: usize,
    slots: usize,
    step: u64,
    draw: u64,
    weight: f64,
    plain: Factors,
    decayed: Factors,
    forward: Vec<Vec<f64>>,
    backward: Vec<Vec<f64>>,
}

/// A wide layer's arrays, in pieces.
struct WideRun<'a> {
    home: Pieces<'a, f32>,
    first: Pieces<'a, f32>,
    second: Pieces<'a, f32>,
    tiles: Pieces<'a, f32>,
    gradient: Pieces<'a, f32>,
    turned: Pieces<'a, f32>,
    input: Pieces<'a, f32>,
}

struct Run<'a> {
    plan: &'a Plan,
    data: Training<'a>,
    program: Vec<Phase>,
    most_chunks: usize,
    params: Vec<Pieces<'a, f32>>,
    slots: Vec<Vec<Pieces<'a, f32>>>,
    buffers: Vec<Mutex<Vec<&'a mut [f32]>>>,
    decay: Vec<bool>,
    /// First parameter of each layer.
    first_param: Vec<usize>,
    chunks: &'a [RwLock<Chunk>],
    gradients: &'a [RwLock<Buffer>],
    packed: &'a [RwLock<Buffer>],
    wides: Vec<Option<WideRun<'a>>>,
    workers: Vec<Mutex<Worker>>,
    now: RwLock<Now>,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Plan {
    /// An error unless the arrays have the lengths of the parameters (or buffers).
    pub(super) fn check_arrays(
        &self,
        name: &'static str,
        given: impl ExactSizeIterator<Item = usize>,
        buffers: bool,
    ) -> Result<()> {
        let pick = |n: &'_ Node| {
            let layer = n.layer();
            let arrays = if buffers {
                layer.buffers()
            } else {
                layer.parameters()
            };
            arrays.iter().map(|p| p.len()).collect::<Vec<_>>()
        };
        let count: usize = self.nodes.iter().map(|n| pick_count(n, buffers)).sum();
        if given.len() != count {
            return Err(Error::Shape {
                name,
                given: format!("{} arrays", given.len()),
                expected: count.to_string(),
            });
        }
        let mut given = given;
        for (i, node) in self.nodes.iter().enumerate() {
            if pick_count(node, buffers) == 0 {
                continue;
            }
            for expected in pick(node) {
                let len = given.next().unwrap_or(0);
                if len != expected {
                    return Err(Error::Shape {
                        name,
                        given: format!("{len} numbers for layer {i} ({})", node.layer().kind()),
                        expected: expected.to_string(),
                    });
                }
            }
        }
        Ok(())
    }

    /// The number of samples of `x`, if they fit the first layer.
    pub(super) fn check_rows(&self, x: Rows) -> Result<usize> {
        let len = self.lens[0].max(1);
        let expected = if self.takes_ids() {
            "integers"
        } else {
            "numbers"
        };
        if matches!(x, Rows::Ids(_)) != self.takes_ids() {
            return Err(Error::Shape {
                name: "x",
                given: if self.takes_ids() {
                    "numbers"
                } else {
                    "integers"
                }
                .into(),
                expected: format!("{len} {expected} a sample"),
            });
        }
        if !x.len().is_multiple_of(len) {
            return Err(Error::Shape {
                name: "x",
                given: format!("{} {expected}", x.len()),
                expected: format!("{len} {expected} a sample"),
            });
        }
        Ok(x.len() / len)
    }

    /// An error unless every number of `ids` has a row in the embedding.
    pub(super) fn check_ids(&self, ids: &[i32]) -> Result<()> {
        match self.nodes.first() {
            Some(Node::Embedding(embedding)) => embedding.check_ids(ids),
            _ => Ok(()),
        }
    }

    fn check_training(&self, data: &Training, state: &State) -> Result<()> {
        let shape = |name, given: usize, expected: usize| {
            if given == expected {
                return Ok(());
            }
            Err(Error::Shape {
                name,
                given: format!("{given} elements"),
                expected: expected.to_string(),
            })
        };
        self.check_arrays("params", state.params.iter().map(|p| p.len()), false)?;
        self.check_arrays("buffers", state.buffers.iter().map(|p| p.len()), true)?;
        shape("slots", state.slots.len(), self.rule.slots())?;
        for slot in &state.slots {
            self.check_arrays("slots", slot.iter().map(|p| p.len()), false)?;
        }
        shape("decay", state.decay.len(), state.params.len())?;
        let rows = self.check_rows(data.x)?;
        let targets = self.loss.targets(&self.output);
        match data.y {
            Targets::Classes(y) => {
                shape("y", y.len(), rows * targets)?;
            }
            Targets::Values(y) => shape("y", y.len(), rows * targets)?,
        }
        if matches!(data.y, Targets::Classes(_)) != self.loss.wants_classes() {
            return Err(Error::Shape {
                name: "y",
                given: if self.loss.wants_classes() {
                    "numbers"
                } else {
                    "class numbers"
                }
                .into(),
                expected: if self.loss.wants_classes() {
                    "class numbers"
                } else {
                    "numbers"
                }
                .into(),
            });
        }
        if let Some(weights) = data.weights {
            shape("weights", weights.len(), rows)?;
        }
        if let Some(bad) = data.order.iter().find(|&&i| i < 0 || i as usize >= rows) {
            return Err(Error::InvalidParameter {
                name: "order",
                given: bad.to_string(),
                expected: format!("numbers of samples, from 0 to {}", rows as i64 - 1),
            });
        }
        // Only what is used: calls may be short and data large.
        for &row in data.order {
            let row = row as usize;
            if let Rows::Ids(ids) = data.x {
                self.check_ids(&ids[row * self.lens[0]..(row + 1) * self.lens[0]])?;
            }
            if let Targets::Classes(y) = data.y {
                let own = &y[row * targets..(row + 1) * targets];
                let classes = self.classes() as i64;
                if let Some(bad) = own.iter().find(|&&c| c < 0 || c >= classes) {
                    return Err(Error::InvalidParameter {
                        name: "y",
                        given: bad.to_string(),
                        expected: format!("class numbers from 0 to {}", classes - 1),
                    });
                }
            }
        }
        let whole = data.offsets.first() == Some(&0)
            && data.offsets.last() == Some(&(data.order.len() as i64))
            && data.offsets.windows(2).all(|w| w[0] < w[1]);
        if !whole {
            return Err(Error::InvalidParameter {
                name: "offsets",
                given: format!("{} offsets", data.offsets.len()),
                expected: "increasing numbers from 0 to the length of order".into(),
            });
        }
        shape("lr", data.rates.len(), data.offsets.len() - 1)?;
        if data.first_step == 0 {
            return Err(Error::InvalidParameter {
                name: "first_step",
                given: "0".into(),
                expected: "at least 1".into(),
            });
        }
        Ok(())
    }

    /// Runs a step for each batch; changes `state` in place.
    ///
    /// When the user interrupts, `done` tells how many steps are in `state`: all of them whole.
    pub fn train(
        &self,
        control: &Control,
        data: Training,
        state: State,
        done: &mut u64,
    ) -> Result<Report> {
        *done = 0;
        self.check_training(&data, &state)?;
        let mut held = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let most = data
            .offsets
            .windows(2)
            .map(|w| (w[1] - w[0]) as usize)
            .max();
        let Some(most) = most else {
            return Ok(Report::default());
        };
        held.fit(
            &self.nodes,
            &self.lens,
            self.takes_ids(),
            self.loss.targets(&self.output),
            self.gradient_len,
            most,
        );
        let Buffers {
            chunks,
            slots,
            packed,
            wides,
            batch,
        } = &mut *held;
        let mut state = state;
        self.bring(wides, &state);
        let mut report = Report::default();
        let outcome = {
            let run = Run::new(
                self, data, &mut state, *batch, chunks, slots, packed, wides, control,
            );
            let work = |worker: usize, phase: usize, task: usize| run.work(worker, phase, task);
            Team::run(control, &work, |team| run.lead(control, team, &mut report))
        };
        self.take(wides, &mut state);
        *done = report.losses.len() as u64;
        outcome.map(|()| report)
    }

    /// The number of the kernel of a wide layer among the parameters.
    fn kernel(&self, node: usize) -> usize {
        self.places.iter().position(|p| p.node == node).unwrap_or(0)
    }

    /// Brings the kernels of wide layers home.
    fn bring(&self, wides: &mut [super::buffers::WideBuffers], state: &State) {
        for (i, (node, buffers)) in self.nodes.iter().zip(wides).enumerate() {
            let Node::Wide(wide) = node else { continue };
            let k = self.kernel(i);
            buffers.home.resize(wide.home_len());
            wide.bring(&*state.params[k], &mut buffers.home);
            let homes = [&mut buffers.first, &mut buffers.second];
            for (home, slot) in homes.into_iter().zip(&state.slots) {
                home.resize(wide.home_len());
                wide.bring(&*slot[k], home);
            }
        }
    }

    /// Takes them back.
    fn take(&self, wides: &[super::buffers::WideBuffers], state: &mut State) {
        for (i, (node, buffers)) in self.nodes.iter().zip(wides).enumerate() {
            let Node::Wide(wide) = node else { continue };
            let k = self.kernel(i);
            wide.take(&buffers.home, &mut *state.params[k]);
            for (home, slot) in [&buffers.first, &buffers.second]
                .into_iter()
                .zip(&mut state.slots)
            {
                wide.take(home, &mut *slot[k]);
            }
        }
    }
}

fn pick_count(node: &Node, buffers: bool) -> usize {
    if buffers {
        node.layer().buffers().len()
    } else {
        node.layer().parameters().len()
    }
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan,
        data: Training<'a>,
        state: &'a mut State<'_>,
        most: usize,
        chunks: &'a [RwLock<Chunk>],
        gradients: &'a [RwLock<Buffer>],
        packed: &'a [RwLock<Buffer>],
        wides: &'a mut [super::buffers::WideBuffers],
        control: &Control,
    ) -> Self {
        let nodes = &plan.nodes;
        let most_chunks = most.div_ceil(CHUNK);
        let pieces = |arrays: &'a mut Vec<&mut [f32]>| -> Vec<Pieces<'a, f32>> {
            let places = plan.places.iter();
            arrays
                .iter_mut()
                .zip(places)
                .map(|(array, place)| Pieces::new(array, piece_len(nodes, place)))
                .collect()
        };
        let mut buffers = state.buffers.iter_mut();
        let scratch = nodes.iter().map(|n| {
            let wide = match n {
                Node::Wide(w) => w.scratch().max(w.dense().units()),
                Node::Embedding(_) => 2 * PIECE + n.layer().parameters()[0].shape[1],
                Node::Chunked(_) => 0,
            };
            wide.max(n.layer().sizes().scratch)
        });
        let scratch = scratch.max().unwrap_or(0);
        let wide = |(node, b): (&Node, &'a mut super::buffers::WideBuffers)| {
            let Node::Wide(w) = node else { return None };
            Some(WideRun {
                home: Pieces::new(&mut b.home, w.block_len()),
                first: Pieces::new(&mut b.first, w.block_len()),
                second: Pieces::new(&mut b.second, w.block_len()),
                tiles: Pieces::new(&mut b.tiles, most_chunks * w.tile_len()),
                gradient: Pieces::new(&mut b.gradient, w.gradient_len()),
                turned: Pieces::new(&mut b.turned, w.dense().units() * CHUNK),
                input: Pieces::new(&mut b.input, most_chunks * w.input_tile_len()),
            })
        };
        Run {
            program: program(nodes, &plan.places, most),
            plan,
            data,
            most_chunks,
            params: pieces(&mut state.params),
            slots: state.slots.iter_mut().map(pieces).collect(),
            buffers: nodes
                .iter()
                .map(|n| {
                    let count = n.layer().buffers().len();
                    Mutex::new(buffers.by_ref().take(count).map(|b| &mut **b).collect())
                })
                .collect(),
            decay: state.decay.clone(),
            first_param: nodes
                .iter()
                .scan(0, |at, n| {
                    let first = *at;
                    *at += n.layer().parameters().len();
                    Some(first)
                })
                .collect(),
            chunks,
            gradients,
            packed,
            wides: nodes.iter().zip(wides).map(wide).collect(),
            workers: (0..control.threads())
                .map(|_| {
                    Mutex::new(Worker {
                        scratch: Buffer::zeros(scratch),
                        product: Buffer::new(),
                    })
                })
                .collect(),
            now: RwLock::new(Now {
                forward: vec![Vec::new(); nodes.len()],
                backward: vec![Vec::new(); nodes.len()],
                ..Now::default()
            }),
        }
    }

    /// All steps, on the leading thread.
    fn lead(&self, control: &Control, team: &Team, report: &mut Report) -> Result<()> {
        let data = &self.data;
        for (i, window) in data.offsets.windows(2).enumerate() {
            control.check()?;
            self.begin(i, window[0] as usize..window[1] as usize);
            let mut outcome = (0.0, 0.0);
            for (k, phase) in self.program.iter().enumerate() {
                let tasks = match phase {
                    Phase::Tasks(tasks) => tasks.len(),
                    Phase::Chunks(_) => read(&self.now).slots,
                };
                team.phase(k, tasks);
                let Phase::Chunks(ops) = phase else { continue };
                self.share_partials(ops);
                if ops.contains(&Op::Loss) {
                    outcome = self.outcome();
                    // No parameter has changed yet: updates come behind the loss.
                    if !outcome.0.is_finite() {
                        report.diverged = Some(outcome.0);
                        return Ok(());
                    }
                }
            }
            report.losses.push(outcome.0);
            report.right.push(outcome.1);
        }
        Ok(())
    }

    /// The batch's loss, and the share of targets that are met.
    fn outcome(&self) -> (f64, f64) {
        let chunks = &self.chunks[..read(&self.now).chunks];
        chunks.iter().fold((0.0, 0.0), |(loss, right), chunk| {
            let chunk = read(chunk);
            (loss + chunk.loss, right + chunk.right)
        })
    }

    fn begin(&self, i: usize, range: std::ops::Range<usize>) {
        let data = &self.data;
        let mut now = write(&self.now);
        now.start = range.start;
        now.batch = range.len();
        now.chunks = range.len().div_ceil(CHUNK);
        now.slots = slots(now.chunks, self.plan.gradient_len);
        now.step = data.first_step + i as u64;
        now.draw = data.first_draw.wrapping_add(i as u64);
        now.weight = match data.weights {
            None => range.len() as f64,
            Some(w) => data.order[range]
                .iter()
                .map(|&i| f64::from(w[i as usize]))
                .sum(),
        };
        let (rule, lr) = (self.plan.rule, data.rates[i]);
        now.plain = data.hyper.factors(rule, lr, now.step, false);
        now.decayed = data.hyper.factors(rule, lr, now.step, true);
    }

    /// Puts the sums of all chunks side by side.
    fn share_partials(&self, ops: &[Op]) {
        for op in ops {
            let (node, forward) = match *op {
                Op::PartialForward(node) => (node, true),
                Op::PartialBackward { node, .. } => (node, false),
                _ => continue,
            };
            let now = &mut *write(&self.now);
            let all = if forward {
                &mut now.forward[node]
            } else {
                &mut now.backward[node]
            };
            all.clear();
            for chunk in &self.chunks[..now.chunks] {
                let chunk = read(chunk);
                all.extend_from_slice(if forward {
                    &chunk.partial_forward[node]
                } else {
                    &chunk.partial_backward[node]
                });
            }
        }
    }

    /// One task of a phase, on any thread.
    fn work(&self, worker: usize, phase: usize, task: usize) {
        let mut worker = self.workers[worker]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = read(&self.now);
        match &self.program[phase] {
            Phase::Tasks(tasks) => self.task(tasks[task], &now, &mut worker),
            Phase::Chunks(ops) => {
                let mut gradients = write(&self.gradients[task]);
                for (k, c) in chunks_of(task, now.slots, now.chunks).enumerate() {
                    let mut chunk = write(&self.chunks[c]);
                    for &op in ops {
                        self.op(op, c, &mut chunk, &mut gradients, k > 0, &now, &mut worker);
                    }
                }
            }
        }
    }

    fn task(&self, task: Task, now: &Now, worker: &mut Worker) {
        match task {
            Task::Gather(c) if c < now.chunks => self.gather(c, now),
            Task::Gather(_) => {}
            Task::Pack(node) => {
                self.with_weights(node, false, |weights| {
                    let layer = self.plan.nodes[node].layer();
                    layer.pack(weights.params, &mut write(&self.packed[node]));
                });
            }
            Task::Panel { node, panel } => self.panel(node, panel, now, worker),
            Task::Block { node, block, input } => self.block(node, block, input, now, worker),
            Task::Bias(node) => self.bias(node, now, worker),
            Task::Piece { param, piece } => self.piece(param, piece, now),
            Task::Rows { param, piece, from } => self.rows(param, piece, from, now, worker),
            Task::EndStep(node) => {
                let mut buffers = self.buffers[node]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let layer = self.plan.nodes[node].layer();
                layer.end_step(now.batch, &now.forward[node], &mut buffers);
            }
        }
    }

    /// Calls `f` with the arrays of a layer.
    fn with_weights(&self, node: usize, packed: bool, f: impl FnOnce(&Weights)) {
        let count = self.plan.nodes[node].layer().parameters().len();
        let first = self.first_param[node];
        let guards: [Option<Whole<f32>>; MOST_PARAMETERS] =
            std::array::from_fn(|i| (i < count).then(|| self.params[first + i].read()));
        let params: [&[f32]; MOST_PARAMETERS] =
            std::array::from_fn(|i| guards[i].as_deref().unwrap_or_default());
        let held = packed.then(|| read(&self.packed[node]));
        f(&Weights {
            params: &params[..count],
            buffers: &[],
            packed: held.as_deref().map_or(&[], |p| &p[..]),
        });
    }

    fn gather(&self, c: usize, now: &Now) {
        let data = &self.data;
        let chunk = &mut *write(&self.chunks[c]);
        chunk.first = c * CHUNK;
        chunk.samples = CHUNK.min(now.batch - chunk.first);
        let rows = &data.order[now.start + chunk.first..][..chunk.samples];
        let each = || rows.iter().copied();
        gather(
            data.x,
            self.plan.lens[0],
            each(),
            &mut chunk.input,
            &mut chunk.ids,
        );
        if self.plan.nodes.first().is_some_and(|n| n.layer().masks()) {
            for (m, &id) in chunk.mask.iter_mut().zip(&chunk.ids) {
                *m = u8::from(id != 0);
            }
        }
        let targets = self.plan.loss.targets(&self.plan.output);
        for (i, row) in each().enumerate() {
            let (from, to) = (row as usize * targets, i * targets);
            match data.y {
                Targets::Classes(y) => {
                    chunk.classes[to..to + targets].copy_from_slice(&y[from..from + targets]);
                }
                Targets::Values(y) => {
                    chunk.values[to..to + targets].copy_from_slice(&y[from..from + targets]);
                }
            }
            let weight = data.weights.map_or(1.0, |w| f64::from(w[row as usize]));
            // Weights that are all 0 leave nothing to learn.
            chunk.weights[i] = if now.weight > 0.0 {
                (weight / now.weight) as f32
            } else {
                0.0
            };
        }
    }

    fn op(
        &self,
        op: Op,
        c: usize,
        chunk: &mut Chunk,
        gradients: &mut [f32],
        accumulate: bool,
        now: &Now,
        worker: &mut Worker,
    ) {
        let plan = self.plan;
        let (n, lens) = (chunk.samples, &plan.lens);
        let masked = plan.nodes.first().is_some_and(|n| n.layer().masks());
        let mut pass = Pass {
            samples: n,
            first: chunk.first,
            batch: now.batch,
            training: true,
            seed: self.data.seed,
            step: now.draw,
            accumulate,
            ids: chunk.ids.get(..n * lens[0]).unwrap_or_default(),
            mask: masked.then(|| &chunk.mask[..n * lens[0]]),
            partials: &[],
        };
        let (node, forward) = match op {
            Op::Loss => {
                let width = lens[plan.nodes.len()];
                let last = chunk.outputs.last().unwrap_or(&chunk.input);
                let targets = if plan.loss.wants_classes() {
                    Targets::Classes(&chunk.classes)
                } else {
                    Targets::Values(&chunk.values)
                };
                (chunk.loss, chunk.right) = plan.loss.evaluate(
                    &last[..n * width],
                    width,
                    plan.classes(),
                    targets,
                    &chunk.weights[..n],
                    &mut chunk.gradients[0][..n * width],
                );
                return;
            }
            Op::Collect(node) => {
                if let (Node::Wide(wide), Some(run)) = (&plan.nodes[node], &self.wides[node]) {
                    let out = &mut chunk.outputs[node];
                    wide.collect(&run.tiles.read(), self.most_chunks, c, n, out);
                }
                return;
            }
            Op::CollectGradient { node, to } => {
                if let (Node::Wide(wide), Some(run)) = (&plan.nodes[node], &self.wides[node]) {
                    let out = &mut chunk.gradients[to];
                    wide.collect_gradient(&run.input.read(), self.most_chunks, c, n, out);
                }
                return;
            }
            Op::Spread { node, from, input } => {
                if let (Node::Wide(wide), Some(run)) = (&plan.nodes[node], &self.wides[node]) {
                    let len = n * lens[node + 1];
                    let gradient = &mut chunk.gradients[from][..len];
                    let act = wide.dense().activation();
                    super::layers::dense::through(act, &chunk.outputs[node][..len], gradient);
                    let mut turned = input.then(|| run.turned.write(c));
                    let panels = &mut run.gradient.write(c);
                    wide.spread(gradient, n, panels, turned.as_deref_mut());
                }
                return;
            }
            Op::Forward(node) | Op::PartialForward(node) => (node, true),
            Op::Backward { node, .. } | Op::PartialBackward { node, .. } => (node, false),
        };
        let layer = plan.nodes[node].layer();
        pass.partials = if forward {
            &now.forward[node]
        } else {
            &now.backward[node]
        };
        let (before, after) = chunk.outputs.split_at_mut(node);
        let input: &[f32] = before.last().unwrap_or(&chunk.input);
        let input = input.get(..n * lens[node]).unwrap_or_default();
        let output = &mut after[0][..n * lens[node + 1]];
        let mut work = Workspace {
            saved: &mut chunk.saved[node],
            bytes: &mut chunk.bytes[node],
            scratch: &mut worker.scratch,
            product: &mut worker.product,
        };
        self.with_weights(node, true, |weights| match op {
            Op::PartialForward(_) => {
                let partial = &mut chunk.partial_forward[node];
                layer.partial_forward(&pass, weights, input, partial);
            }
            Op::Forward(_) => layer.forward(&pass, weights, input, output, &mut work),
            Op::PartialBackward { from, .. } => {
                let gout = &mut chunk.gradients[from][..output.len()];
                let partial = &mut chunk.partial_backward[node];
                layer.partial_backward(&pass, weights, input, output, gout, partial, &mut work);
            }
            Op::Backward {
                from,
                input: wanted,
                ..
            } => {
                let [zero, one] = &mut chunk.gradients;
                let (gout, gin) = if from == 0 { (zero, one) } else { (one, zero) };
                let gin = wanted.then(|| &mut gin[..n * lens[node]]);
                let gout = &mut gout[..output.len()];
                let count = layer.parameters().len();
                let own = if count == 0 {
                    &mut []
                } else {
                    let places = &plan.places[self.first_param[node]..][..count];
                    let last = &places[count - 1];
                    &mut gradients[places[0].at..last.at + last.len]
                };
                layer.backward(&pass, weights, input, output, gout, gin, own, &mut work);
            }
            _ => {}
        });
    }

    fn factors<'n>(&self, param: usize, now: &'n Now) -> &'n Factors {
        if self.decay[param] {
            &now.decayed
        } else {
            &now.plain
        }
    }

    /// Updates a piece of a parameter by gradients that are summed in order.
    fn update(&self, param: usize, piece: usize, grads: &[&[f32]], now: &Now) {
        let mut slots: [_; 2] =
            std::array::from_fn(|s| self.slots.get(s).map(|slot| slot[param].write(piece)));
        let [first, second] = &mut slots;
        update(
            tier::active(),
            self.plan.rule,
            self.factors(param, now),
            &mut self.params[param].write(piece),
            grads,
            first.as_deref_mut().unwrap_or_default(),
            second.as_deref_mut().unwrap_or_default(),
        );
    }

    fn piece(&self, param: usize, piece: usize, now: &Now) {
        let place = &self.plan.places[param];
        let from = piece * self.params[param].piece_len();
        let to = (from + self.params[param].piece_len()).min(place.len);
        const MOST: usize = 16;
        let guards: [Option<RwLockReadGuard<Buffer>>; MOST] =
            std::array::from_fn(|s| (s < now.slots).then(|| read(&self.gradients[s])));
        let grads: [&[f32]; MOST] = std::array::from_fn(|s| {
            guards[s]
                .as_ref()
                .map_or(&[][..], |g| &g[place.at + from..place.at + to])
        });
        self.update(param, piece, &grads[..now.slots], now);
    }

    /// Gradient and update of some rows of an embedding.
    fn rows(&self, param: usize, piece: usize, from: usize, now: &Now, worker: &mut Worker) {
        let Node::Embedding(embedding) = &self.plan.nodes[0] else {
            return;
        };
        let (len, width) = (self.params[param].piece_len(), embedding.width());
        let start = piece * len;
        let end = (start + len).min(self.plan.places[param].len);
        let sum = &mut worker.scratch[..end - start];
        sum.fill(0.0);
        for chunk in &self.chunks[..now.chunks] {
            let chunk = read(chunk);
            let ids = &chunk.ids[..chunk.samples * self.plan.lens[0]];
            embedding.add_rows(start / width..end / width, ids, &chunk.gradients[from], sum);
        }
        self.update(param, piece, &[sum], now);
    }

    fn panel(&self, node: usize, panel: usize, now: &Now, worker: &mut Worker) {
        let (Node::Wide(wide), Some(run)) = (&self.plan.nodes[node], &self.wides[node]) else {
            return;
        };
        let home = run.home.read();
        let biased = self.plan.nodes[node].layer().parameters().len() > 1;
        let bias = biased.then(|| self.params[self.first_param[node] + 1].read());
        let mut tiles = run.tiles.write(panel);
        for (chunk, out) in self.chunks[..now.chunks]
            .iter()
            .zip(tiles.chunks_exact_mut(wide.tile_len()))
        {
            let chunk = read(chunk);
            let input = chunk_input(&chunk, node, self.plan);
            wide.forward(
                panel,
                &home,
                bias.as_deref(),
                input,
                chunk.samples,
                out,
                &mut worker.product,
            );
        }
    }

    fn block(&self, node: usize, block: usize, input: bool, now: &Now, worker: &mut Worker) {
        let (Node::Wide(wide), Some(run)) = (&self.plan.nodes[node], &self.wides[node]) else {
            return;
        };
        let mut home = run.home.write(block);
        if input {
            let turned = run.turned.read();
            let each = turned
                .chunks_exact(wide.dense().units() * CHUNK)
                .take(now.chunks);
            let mut out = run.input.write(block);
            for (turned, out) in each.zip(out.chunks_exact_mut(wide.input_tile_len())) {
                wide.input_gradient(block, &home, turned, out, &mut worker.product);
            }
        }
        let gradient = run.gradient.read();
        let rule = self.plan.rule;
        let mut first = (rule.slots() > 0).then(|| run.first.write(block));
        let mut second = (rule.slots() > 1).then(|| run.second.write(block));
        // Few chunks are the rule, and a lock costs as much as reading a row of them.
        let chunks: Vec<_> = self.chunks[..now.chunks].iter().map(read).collect();
        wide.update(
            block,
            rule,
            self.factors(self.first_param[node], now),
            |c| {
                let chunk = chunks.get(c)?;
                let panels = &gradient[c * wide.gradient_len()..][..wide.gradient_len()];
                Some((chunk_input(chunk, node, self.plan), panels, chunk.samples))
            },
            &mut home,
            first.as_deref_mut().unwrap_or_default(),
            second.as_deref_mut().unwrap_or_default(),
            &mut worker.scratch,
            &mut worker.product,
        );
    }

    fn bias(&self, node: usize, now: &Now, worker: &mut Worker) {
        let (Node::Wide(wide), Some(run)) = (&self.plan.nodes[node], &self.wides[node]) else {
            return;
        };
        let gradient = run.gradient.read();
        let sum = &mut worker.scratch[..wide.dense().units()];
        sum.fill(0.0);
        for (c, chunk) in self.chunks[..now.chunks].iter().enumerate() {
            let panels = &gradient[c * wide.gradient_len()..][..wide.gradient_len()];
            wide.add_bias(panels, read(chunk).samples, sum);
        }
        let param = self.first_param[node] + 1;
        let len = self.params[param].piece_len();
        for piece in 0..self.params[param].count() {
            let part = &sum[piece * len..((piece + 1) * len).min(sum.len())];
            self.update(param, piece, &[part], now);
        }
    }
}

/// The input rows of a chunk before layer `node`.
fn chunk_input<'c>(chunk: &'c Chunk, node: usize, plan: &Plan) -> &'c [f32] {
    let rows: &[f32] = if node == 0 {
        &chunk.input
    } else {
        &chunk.outputs[node - 1]
    };
    &rows[..chunk.samples * plan.lens[node]]
}
