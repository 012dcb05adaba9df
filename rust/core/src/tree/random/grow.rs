//! Growing one tree in preorder.

use super::cells::{Coded, Columns, Meaning};
use super::classes::ClassSums;
use crate::error::Result;
use crate::parallel::Control;
use crate::rng::Stream;
use crate::tree::nodes::TreeArrays;
use crate::tree::params::{TrainingSet, TreeParams};
use crate::tree::sorted::{child_key, tie_rank};
use ironlearn_kernels::gather::{Places, extremes};
use ironlearn_kernels::tier::{Tier, active};

/// Subtrees of so many rows are grown side by side, down to a depth that bounds recursion.
const SIDE_BY_SIDE: usize = 1 << 11;
const DEEPEST: usize = 40;

/// Bytes of a block that stays in the second-level cache with what is beside it.
const BLOCK_BYTES: usize = 1 << 19;

/// Rows are copied once they are this part of those around them: then most of what is loaded
/// with a cell would not be used.
const SPARSE: usize = 16;

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

/// The cells that a subtree is grown on: of all rows, or of those of a block.
struct Place<'p, C> {
    columns: Columns<'p, C>,
    /// The rows of a block.
    rows: Option<&'p [u32]>,
}

/// What the growth of one tree reads.
struct Context<'a, C> {
    data: TrainingSet<'a>,
    params: &'a TreeParams,
    coded: &'a Coded<C>,
    tier: Tier,
    /// Weight of all rows.
    total: f64,
}

/// Grows the tree of this number on these rows, whose sums wait.
pub(super) fn grow<C: Meaning>(
    data: &TrainingSet,
    params: &TreeParams,
    coded: &Coded<C>,
    mut rows: Vec<u32>,
    mut sums: ClassSums,
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
        total: sums.waiting_weight(),
    };
    let mut arrays = side_by_side(&context, &mut rows, root, &mut sums, *control)?;
    arrays.set_codes(Vec::new());
    Ok(arrays)
}

/// Grows a subtree on its rows, its two halves on different threads where they are large.
fn side_by_side<C: Meaning>(
    context: &Context<C>,
    rows: &mut [u32],
    task: Task,
    sums: &mut ClassSums,
    control: Control,
) -> Result<TreeArrays> {
    let task = Task {
        start: 0,
        parent: None,
        ..task
    };
    let apart = control.threads() > 1 && rows.len() >= SIDE_BY_SIDE && task.depth < DEEPEST;
    let mut grower = Grower::new(context, sums.detach(task.groups), control.single());
    let place = Place {
        columns: context.coded.columns(),
        rows: None,
    };
    if !apart {
        grower.stack.push(task);
        grower.subtree(&place, rows, 0)?;
        return Ok(grower.arrays);
    }
    grower.open(place.columns, rows, task)?;
    let (Some(left), Some(right)) = (grower.stack.pop(), grower.stack.pop()) else {
        return Ok(grower.arrays);
    };
    let mut arrays = std::mem::take(&mut grower.arrays);
    let mut on_left = grower.sums.detach(left.groups);
    let mut on_right = grower.sums.detach(right.groups);
    drop(grower);
    let (before, behind) = rows.split_at_mut(left.rows as usize);
    let (a, b) = control.join(
        || side_by_side(context, before, left, &mut on_left, control),
        || side_by_side(context, behind, right, &mut on_right, control),
    );
    for (grown, is_left) in [(a?, true), (b?, false)] {
        arrays.graft(0, is_left, &grown, Vec::new(), &mut Vec::new())?;
    }
    Ok(arrays)
}

/// The best cut of a node so far.
struct Best<C> {
    score: f64,
    feature: usize,
    threshold: f64,
    cell: C,
}

struct Grower<'a, C> {
    context: &'a Context<'a, C>,
    control: Control<'a>,
    sums: ClassSums<'a>,
    /// Nodes to come, the next one last.
    stack: Vec<Task>,
    arrays: TreeArrays,
    draw: Draw,
    /// Cells of a drawn feature, and of the best one.
    cells: Vec<C>,
    best: Vec<C>,
    scratch: Vec<u32>,
    value: Vec<f64>,
    /// Buffers of blocks that are not in use.
    blocks: Vec<Block<C>>,
}

/// The rows of a subtree: their cells, their numbers in the data, and their places.
#[derive(Default)]
struct Block<C> {
    cells: Vec<C>,
    rows: Vec<u32>,
    places: Vec<u32>,
}

impl<'a, C: Meaning> Grower<'a, C> {
    fn new(context: &'a Context<'a, C>, sums: ClassSums<'a>, control: Control<'a>) -> Self {
        Grower {
            context,
            control,
            sums,
            stack: Vec::new(),
            arrays: TreeArrays::default(),
            draw: Draw::new(context.data.features),
            cells: Vec::new(),
            best: Vec::new(),
            scratch: Vec::new(),
            value: vec![0.0; context.params.n_classes],
            blocks: Vec::new(),
        }
    }

    /// Grows until no more nodes wait than `base`; the tasks above count in `rows`.
    fn subtree(&mut self, place: &Place<C>, rows: &mut [u32], base: usize) -> Result<()> {
        while self.stack.len() > base {
            let Some(task) = self.stack.pop() else { break };
            let range = task.start as usize..(task.start + task.rows) as usize;
            if self.wants_block(range.len(), place.columns.rows) {
                self.in_block(place, &rows[range], task)?;
            } else {
                self.open(place.columns, &mut rows[range], task)?;
            }
        }
        Ok(())
    }

    /// Whether a subtree of `rows` of `all` rows gets a block of its own. Copying pays off where
    /// the block comes closer to the processor, and where nodes look at enough of the features.
    fn wants_block(&self, rows: usize, all: usize) -> bool {
        let Context { data, params, .. } = self.context;
        let bytes = |rows| rows * data.features * size_of::<C>();
        let looks = params.max_features * rows.max(1).ilog2() as usize;
        let closer = bytes(rows) <= BLOCK_BYTES && bytes(all) > 4 * BLOCK_BYTES;
        let denser = rows <= all / SPARSE && bytes(all) > BLOCK_BYTES;
        (closer || denser) && rows >= BLOCK_ROWS && data.features <= 8 * looks
    }

    /// Copies the rows of a subtree and grows it there.
    fn in_block(&mut self, place: &Place<C>, rows: &[u32], task: Task) -> Result<()> {
        let cells = rows.len() * self.context.data.features;
        let mut block = self.blocks.pop().unwrap_or_default();
        if block.cells.len() < cells {
            block.cells.resize(cells, C::default());
        }
        block.rows.clear();
        match place.rows {
            None => block.rows.extend_from_slice(rows),
            Some(around) => block.rows.extend(rows.iter().map(|&r| around[r as usize])),
        }
        block.places.clear();
        block.places.extend(0..task.rows);
        let Context { data, coded, .. } = self.context;
        C::copy_rows(coded, data.x, &block.rows, &mut block.cells[..cells]);
        let outside = self.sums.enter_block(&block.rows);
        let inner = Place {
            columns: Columns {
                cells: &block.cells[..cells],
                rows: rows.len(),
            },
            rows: Some(&block.rows),
        };
        let base = self.stack.len();
        self.stack.push(Task { start: 0, ..task });
        let grown = self.subtree(&inner, &mut block.places, base);
        self.sums.leave_block(outside);
        self.blocks.push(block);
        grown
    }

    /// Adds a node to the tree and, where it can be split, its children to the stack. `rows`
    /// are the node's own.
    fn open(&mut self, columns: Columns<C>, rows: &mut [u32], task: Task) -> Result<()> {
        self.control.check()?;
        let params = self.context.params;
        let places = Places::new(rows, columns.rows);
        self.sums.enter(task.groups, &places);
        let (weight, impurity) = self.sums.own();
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
        let Some(best) = self.search(columns, &places, task.key) else {
            return Ok(());
        };
        let [(left, left_groups), (right, right_groups)] =
            self.sums.split(&self.best[..rows.len()], best.cell);
        let improvement = weight / self.context.total
            * (impurity - right.0 / weight * right.1 - left.0 / weight * left.1);
        if improvement + f64::EPSILON < params.min_impurity_decrease {
            self.sums.drop_children(left_groups + right_groups);
            return Ok(());
        }
        let middle = self.partition(rows, best.cell);
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

    /// The best of one cut for each drawn feature; its cells are left in `best`.
    fn search(&mut self, columns: Columns<C>, places: &Places, key: u64) -> Option<Best<C>> {
        let Context {
            params,
            coded,
            tier,
            ..
        } = *self.context;
        let width = coded.features;
        let shuffle = params.max_features < width;
        let mut stream = Stream::new(key, 0);
        let rows = places.len();
        for buffer in [&mut self.cells, &mut self.best] {
            if buffer.len() < rows {
                buffer.resize(rows, C::default());
            }
        }
        self.draw.reset();
        let mut best: Option<Best<C>> = None;
        let mut varies = false;
        for drawn in 0..width {
            if drawn >= params.max_features && varies {
                break;
            }
            let feature = if shuffle {
                self.draw.next(&mut stream)
            } else {
                drawn
            };
            let cells = &mut self.cells[..rows];
            places.gather(columns.column(feature), cells);
            let (low, high) = extremes(tier, cells);
            if low == high {
                continue;
            }
            varies = true;
            let ends = [low, high].map(|cell| f64::from(C::value(coded, feature, cell)));
            let share = Stream::new(key, feature as u64 + 1).next_f64();
            let mut threshold = ends[0] + share * (ends[1] - ends[0]);
            if threshold >= ends[1] {
                threshold = ends[0];
            }
            let cell = C::cut(coded, feature, low, high, share, threshold);
            let Some(score) = self.sums.score(cells, cell) else {
                continue;
            };
            let better = best.as_ref().is_none_or(|best| {
                score > best.score
                    || score == best.score && tie_rank(key, feature) < tie_rank(key, best.feature)
            });
            if better {
                std::mem::swap(&mut self.cells, &mut self.best);
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
    fn partition(&mut self, rows: &mut [u32], cut: C) -> usize {
        if self.scratch.len() < rows.len() {
            self.scratch.resize(rows.len(), 0);
        }
        let (mut left, mut right) = (0, 0);
        for i in 0..rows.len() {
            let row = rows[i];
            let on_left = self.best[i] <= cut;
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
