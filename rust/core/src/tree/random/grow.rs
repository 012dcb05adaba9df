//! Growing one tree in preorder.

use super::codes::Coded;
use super::source::{All, Block, Exact, Source};
use super::sums::Sums;
use crate::error::Result;
use crate::parallel::Control;
use crate::rng::Stream;
use crate::tree::nodes::TreeArrays;
use crate::tree::params::{TrainingSet, TreeParams};
use crate::tree::sorted::{child_key, tie_rank};
use ironlearn_kernels::cells::{Cell, Places};
use ironlearn_kernels::tier::{Tier, active};

/// Subtrees of so many rows are grown side by side, down to a depth that bounds recursion.
const SIDE_BY_SIDE: usize = 1 << 11;
const DEEPEST: usize = 40;

/// Fewer rows are not worth a block.
const BLOCK_ROWS: usize = 8;

/// A node that is not in the tree yet.
#[derive(Clone, Copy)]
struct Task {
    start: u32,
    rows: u32,
    key: u64,
    depth: usize,
    /// Parent and whether this is its left child.
    parent: Option<(usize, bool)>,
    /// Groups of its sums that wait.
    groups: u32,
}

/// What the growth of one tree reads.
struct Context<'a> {
    data: TrainingSet<'a>,
    params: &'a TreeParams,
    coded: &'a Coded,
    tier: Tier,
    block_bytes: usize,
    /// Weight of all rows.
    total: f64,
}

/// Grows the tree of this number on these rows, whose sums wait. Subtrees whose cells of type
/// `C` take no more than `block_bytes` get a block.
pub(super) fn grow<C: Exact, S: Sums>(
    data: &TrainingSet,
    params: &TreeParams,
    coded: &Coded,
    block_bytes: usize,
    mut rows: Vec<u32>,
    mut sums: S,
    tree: u64,
    control: &Control,
) -> Result<TreeArrays> {
    let root = Task {
        start: 0,
        rows: rows.len() as u32,
        key: Stream::new(params.seed, tree).next_u64(),
        depth: 0,
        parent: None,
        groups: sums.groups(),
    };
    let context = Context {
        data: *data,
        params,
        coded,
        tier: active(),
        block_bytes,
        total: sums.waiting_weight(),
    };
    let mut arrays = side_by_side::<C, S>(&context, &mut rows, root, &mut sums, *control)?;
    arrays.set_codes(Vec::new());
    Ok(arrays)
}

/// Grows a subtree on its rows, its two halves on different threads where they are large.
fn side_by_side<C: Exact, S: Sums>(
    context: &Context,
    rows: &mut [u32],
    task: Task,
    sums: &mut S,
    control: Control,
) -> Result<TreeArrays> {
    let task = Task {
        start: 0,
        parent: None,
        ..task
    };
    let apart = control.threads() > 1 && rows.len() >= SIDE_BY_SIDE && task.depth < DEEPEST;
    let sums = sums.detach(task.groups);
    let mut grower = Grower::<C, S>::new(context, sums, control.single());
    if !apart {
        return grower.subtree(rows, task);
    }
    let all = context.all();
    grower.nodes.open(&all, &mut grower.wide, rows, task)?;
    let mut nodes = grower.nodes;
    let (Some(left), Some(right)) = (nodes.stack.pop(), nodes.stack.pop()) else {
        return Ok(nodes.arrays);
    };
    let mut on_left = nodes.sums.detach(left.groups);
    let mut on_right = nodes.sums.detach(right.groups);
    let (before, behind) = rows.split_at_mut(left.rows as usize);
    let (a, b) = control.join(
        || side_by_side::<C, S>(context, before, left, &mut on_left, control),
        || side_by_side::<C, S>(context, behind, right, &mut on_right, control),
    );
    let mut arrays = nodes.arrays;
    for (grown, is_left) in [(a?, true), (b?, false)] {
        arrays.graft(0, is_left, &grown, Vec::new(), &mut Vec::new())?;
    }
    Ok(arrays)
}

impl<'a> Context<'a> {
    fn all(&self) -> All<'a> {
        All {
            coded: self.coded,
            x: self.data.x,
            tier: self.tier,
        }
    }
}

/// Grows a subtree, down to blocks from all rows.
struct Grower<'a, C, S> {
    context: &'a Context<'a>,
    nodes: Nodes<'a, S>,
    wide: Buffers<u8>,
    inner: Buffers<C>,
    /// Cells of a block, and places in it.
    block: Vec<C>,
    places: Vec<u32>,
}

impl<'a, C: Exact, S: Sums> Grower<'a, C, S> {
    fn new(context: &'a Context<'a>, sums: S, control: Control<'a>) -> Self {
        Grower {
            context,
            nodes: Nodes {
                context,
                control,
                sums,
                stack: Vec::new(),
                arrays: TreeArrays::default(),
                draw: Draw::new(context.data.features),
                scratch: Vec::new(),
                value: vec![0.0; context.params.n_classes],
            },
            wide: Buffers::default(),
            inner: Buffers::default(),
            block: Vec::new(),
            places: Vec::new(),
        }
    }

    fn subtree(mut self, rows: &mut [u32], task: Task) -> Result<TreeArrays> {
        let all = self.context.all();
        self.nodes.stack.push(task);
        while let Some(task) = self.nodes.stack.pop() {
            let range = task.start as usize..(task.start + task.rows) as usize;
            if self.fits_block(range.len()) {
                self.in_block(&rows[range], task)?;
            } else {
                self.nodes
                    .open(&all, &mut self.wide, &mut rows[range], task)?;
            }
        }
        Ok(self.nodes.arrays)
    }

    /// Whether a subtree of so many rows gets a block of its own: one that stays in cache, and
    /// that pays off because nodes look at enough of the features.
    fn fits_block(&self, rows: usize) -> bool {
        let Context { data, params, .. } = self.context;
        let looks = params.max_features * rows.max(1).ilog2() as usize;
        rows >= BLOCK_ROWS
            && rows * data.features * size_of::<C>() <= self.context.block_bytes
            && data.features <= 8 * looks
    }

    /// Copies the rows of a subtree and grows it there.
    fn in_block(&mut self, rows: &[u32], task: Task) -> Result<()> {
        let Context {
            data, coded, tier, ..
        } = *self.context;
        let cells = rows.len() * data.features;
        if self.block.len() < cells {
            self.block.resize(cells, C::default());
        }
        C::copy_rows(coded, data.x, rows, &mut self.block[..cells]);
        let block = Block {
            coded,
            cells: &self.block[..cells],
            rows: rows.len(),
            tier,
        };
        self.places.clear();
        self.places.extend(0..task.rows);
        self.nodes.sums.enter_block(rows);
        let outside = self.nodes.stack.len();
        self.nodes.stack.push(Task { start: 0, ..task });
        while self.nodes.stack.len() > outside {
            let Some(task) = self.nodes.stack.pop() else {
                break;
            };
            let range = task.start as usize..(task.start + task.rows) as usize;
            let places = &mut self.places[range];
            self.nodes.open(&block, &mut self.inner, places, task)?;
        }
        self.nodes.sums.leave_block();
        Ok(())
    }
}

/// Cells of a drawn feature, and of the best one.
#[derive(Default)]
struct Buffers<C> {
    cells: Vec<C>,
    best: Vec<C>,
}

/// The best cut of a node so far.
struct Best<C> {
    score: f64,
    feature: usize,
    threshold: f64,
    cell: C,
}

/// The nodes of a subtree: those that are in it, and those to come.
struct Nodes<'a, S> {
    context: &'a Context<'a>,
    control: Control<'a>,
    sums: S,
    /// The next one last.
    stack: Vec<Task>,
    arrays: TreeArrays,
    draw: Draw,
    scratch: Vec<u32>,
    value: Vec<f64>,
}

impl<S: Sums> Nodes<'_, S> {
    /// Adds a node to the tree and, where it can be split, its children to the stack. `rows`
    /// are the node's own.
    fn open<F: Source>(
        &mut self,
        source: &F,
        buffers: &mut Buffers<F::Cell>,
        rows: &mut [u32],
        task: Task,
    ) -> Result<()> {
        self.control.check()?;
        let params = self.context.params;
        let (weight, impurity) = self.sums.enter(task.groups);
        self.sums.value(&mut self.value);
        self.arrays.expect_room(1)?;
        let node = self
            .arrays
            .push_leaf(rows.len(), weight, impurity, &self.value);
        match task.parent {
            Some((parent, true)) => self.arrays.left[parent] = node as i32,
            Some((parent, false)) => self.arrays.right[parent] = node as i32,
            None => {}
        }
        if params.max_depth.is_some_and(|most| task.depth >= most)
            || rows.len() < params.min_samples_split
            || rows.len() / 2 < params.min_samples_leaf
            || weight < 2.0 * params.min_weight_leaf
            || impurity <= f64::EPSILON
        {
            return Ok(());
        }
        let places = Places::new(rows, source.rows());
        self.sums.prepare(&places);
        let Some(best) = self.search(source, buffers, &places, task.key) else {
            return Ok(());
        };
        let cells = &buffers.best[..rows.len()];
        let [(left, left_groups), (right, right_groups)] = self.sums.split(cells, best.cell);
        let improvement = weight / self.context.total
            * (impurity - right.0 / weight * right.1 - left.0 / weight * left.1);
        if improvement + f64::EPSILON < params.min_impurity_decrease {
            self.sums.drop_children(left_groups + right_groups);
            return Ok(());
        }
        let middle = self.partition(rows, cells, best.cell);
        self.arrays.feature[node] = best.feature as i32;
        self.arrays.threshold[node] = best.threshold;
        self.arrays.missing_left[node] = middle > rows.len() - middle;
        let child = |start, rows, is_left, groups| Task {
            start: task.start + start as u32,
            rows: rows as u32,
            key: child_key(task.key, is_left),
            depth: task.depth + 1,
            parent: Some((node, is_left)),
            groups,
        };
        self.stack
            .push(child(middle, rows.len() - middle, false, right_groups));
        self.stack.push(child(0, middle, true, left_groups));
        Ok(())
    }

    /// The best of one cut for each drawn feature; its cells are left in `buffers.best`.
    fn search<F: Source>(
        &mut self,
        source: &F,
        buffers: &mut Buffers<F::Cell>,
        places: &Places,
        key: u64,
    ) -> Option<Best<F::Cell>> {
        let Context { params, data, .. } = self.context;
        let shuffle = params.max_features < data.features;
        let mut stream = Stream::new(key, 0);
        let rows = places.len();
        for buffer in [&mut buffers.cells, &mut buffers.best] {
            if buffer.len() < rows {
                buffer.resize(rows, F::Cell::default());
            }
        }
        self.draw.reset();
        let mut best: Option<Best<F::Cell>> = None;
        let mut varies = false;
        let mut draw = |drawn: usize| {
            if shuffle && drawn < data.features {
                self.draw.next(&mut stream)
            } else {
                drawn.min(data.features.saturating_sub(1))
            }
        };
        let mut next = draw(0);
        for drawn in 0..data.features {
            if drawn >= params.max_features && varies {
                break;
            }
            let feature = std::mem::replace(&mut next, draw(drawn + 1));
            let cells = &mut buffers.cells[..rows];
            let Some(span) = source.gather(feature, next, places, cells) else {
                continue;
            };
            varies = true;
            let (low, high) = (f64::from(span.low), f64::from(span.high));
            let share = Stream::new(key, feature as u64 + 1).next_f64();
            let mut threshold = low + share * (high - low);
            if threshold >= high {
                threshold = low;
            }
            let cell = source.cut(feature, places, cells, &span, share, threshold);
            let Some(score) = self.sums.score(cells, cell) else {
                continue;
            };
            let better = best.as_ref().is_none_or(|best| {
                score > best.score
                    || score == best.score && tie_rank(key, feature) < tie_rank(key, best.feature)
            });
            if better {
                std::mem::swap(&mut buffers.cells, &mut buffers.best);
                self.sums.keep();
                best = Some(Best {
                    score,
                    feature,
                    threshold,
                    cell,
                });
            }
        }
        best
    }

    /// Moves the rows that go left before the others, keeping their order, and returns where
    /// the others begin.
    fn partition<C: Cell>(&mut self, rows: &mut [u32], cells: &[C], cut: C) -> usize {
        if self.scratch.len() < rows.len() {
            self.scratch.resize(rows.len(), 0);
        }
        let (mut left, mut right) = (0, 0);
        for (i, &cell) in cells.iter().enumerate() {
            let row = rows[i];
            let on_left = cell <= cut;
            rows[left] = row;
            self.scratch[right] = row;
            left += usize::from(on_left);
            right += usize::from(!on_left);
        }
        rows[left..].copy_from_slice(&self.scratch[..right]);
        left
    }
}

/// Draws features without replacement, the same as the general engine.
struct Draw {
    order: Vec<u32>,
    swaps: Vec<u32>,
}

impl Draw {
    fn new(features: usize) -> Draw {
        Draw {
            order: (0..features as u32).collect(),
            swaps: Vec::new(),
        }
    }

    fn next(&mut self, stream: &mut Stream) -> usize {
        let at = self.swaps.len();
        let other = at + stream.below(self.order.len() - at);
        self.order.swap(at, other);
        self.swaps.push(other as u32);
        self.order[at] as usize
    }

    /// Puts the features back into their order.
    fn reset(&mut self) {
        while let Some(other) = self.swaps.pop() {
            self.order.swap(self.swaps.len(), other as usize);
        }
    }
}
