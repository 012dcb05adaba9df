//! The order in which nodes are split, and how they become arrays.

use super::Context;
use super::block::{Block, BlockSearch};
use super::codes::Meaning;
use super::search::{Cut, Search, View};
use super::wide::{Columns, Wide};
use crate::error::{Error, Result};
use crate::parallel::Control;
use crate::rng::Stream;
use crate::tree::bins::midpoint;
use crate::tree::nodes::{Split, TreeArrays};
use crate::tree::sorted::child_key;
use ironlearn_kernels::bytes::{BLOCK, rows_at_most, rows_equal};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Subtrees of so many rows are grown side by side, down to a depth that bounds recursion.
const SIDE_BY_SIDE: usize = 1 << 11;
const DEEPEST: usize = 40;

/// Where the rows of a node are.
enum Place {
    Wide(Box<Wide>),
    Block { number: usize, rows: u64 },
}

/// A node that is not in the tree yet.
struct Task {
    place: Place,
    key: u64,
    depth: usize,
    /// Parent and whether this is its left child.
    parent: Option<(usize, bool)>,
}

/// A node in the tree that can be split.
struct Pending {
    node: usize,
    improvement: f64,
    split: Split,
    left: Task,
    right: Task,
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Pending {}
impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pending {
    fn cmp(&self, other: &Self) -> Ordering {
        self.improvement
            .total_cmp(&other.improvement)
            .then(other.node.cmp(&self.node))
    }
}

/// Grows the tree of this number from the rows of `root`.
pub(super) fn grow(
    context: &Context,
    mut root: Wide,
    tree: u64,
    control: &Control,
) -> Result<TreeArrays> {
    if context.params.max_features >= context.data.features {
        root.columns = Some(Columns::of_root(context, &root.packed, control)?);
    }
    let task = Task {
        place: Place::Wide(Box::new(root)),
        key: Stream::new(context.params.seed, tree).next_u64(),
        depth: 0,
        parent: None,
    };
    let mut arrays = match context.params.max_leaf_nodes {
        Some(leaves) => {
            let mut grower = Grower::new(context, *control);
            grower.best_first(task, leaves)?;
            grower.arrays
        }
        None => side_by_side(context, task, *control)?,
    };
    arrays.set_codes(Vec::new());
    Ok(arrays)
}

/// Grows a subtree in preorder, its two halves on different threads where they are large.
fn side_by_side(context: &Context, mut task: Task, control: Control) -> Result<TreeArrays> {
    let rows = match &task.place {
        Place::Wide(wide) => wide.rows(),
        Place::Block { .. } => 0,
    };
    task.parent = None;
    let apart = control.threads() > 1 && rows >= SIDE_BY_SIDE && task.depth < DEEPEST;
    let mut grower = Grower::new(context, if apart { control } else { control.single() });
    if !apart {
        grower.depth_first(task)?;
        return Ok(grower.arrays);
    }
    let Some(pending) = grower.open(task)? else {
        return Ok(grower.arrays);
    };
    grower.write_split(&pending);
    let (left, right) = (pending.left, pending.right);
    let mut arrays = std::mem::take(&mut grower.arrays);
    drop(grower);
    let (left, right) = control.join(
        || side_by_side(context, left, control),
        || side_by_side(context, right, control),
    );
    arrays.append_subtree(0, true, &left?)?;
    arrays.append_subtree(0, false, &right?)?;
    Ok(arrays)
}

struct Grower<'a> {
    context: &'a Context<'a>,
    search: Search<'a>,
    block_search: BlockSearch<'a>,
    blocks: Vec<Block>,
    unused: Vec<usize>,
    arrays: TreeArrays,
    weights: Vec<f64>,
    counts: Vec<u32>,
    rows: Vec<u64>,
    control: Control<'a>,
}

/// Weight and impurity of a node.
type Side = (f64, f64);

impl<'a> Grower<'a> {
    fn new(context: &'a Context<'a>, control: Control<'a>) -> Self {
        Grower {
            context,
            search: Search::new(context),
            block_search: BlockSearch::new(context),
            blocks: Vec::new(),
            unused: Vec::new(),
            arrays: TreeArrays::default(),
            weights: vec![0.0; context.params.n_classes],
            counts: Vec::new(),
            rows: Vec::new(),
            control,
        }
    }

    /// Splits nodes in preorder.
    fn depth_first(&mut self, task: Task) -> Result<()> {
        let mut stack = vec![task];
        while let Some(task) = stack.pop() {
            if let Some(pending) = self.open(task)? {
                self.write_split(&pending);
                stack.push(pending.right);
                stack.push(pending.left);
            }
        }
        Ok(())
    }

    /// Splits the node that decreases the impurity most, until there are `leaves` leaves.
    fn best_first(&mut self, root: Task, leaves: usize) -> Result<()> {
        let mut frontier = BinaryHeap::new();
        frontier.extend(self.open(root)?);
        let mut made = 1;
        while made < leaves {
            let Some(best) = frontier.pop() else { break };
            self.write_split(&best);
            frontier.extend(self.open(best.left)?);
            frontier.extend(self.open(best.right)?);
            made += 1;
        }
        Ok(())
    }

    /// Adds a node to the tree as a leaf and finds out how it can be split.
    fn open(&mut self, task: Task) -> Result<Option<Pending>> {
        self.control.check()?;
        match task.place {
            Place::Wide(wide) if wide.rows() > BLOCK => {
                let control = self.control;
                self.open_wide(*wide, task.key, task.depth, task.parent, &control)
            }
            Place::Wide(wide) => {
                let number = self.unused.pop().unwrap_or_else(|| {
                    self.blocks.push(Block::default());
                    self.blocks.len() - 1
                });
                self.blocks[number].fill(self.context, &wide);
                self.blocks[number].users = 1;
                let rows = self.blocks[number].all();
                self.open_block(number, rows, task.key, task.depth, task.parent)
            }
            Place::Block { number, rows } => {
                self.open_block(number, rows, task.key, task.depth, task.parent)
            }
        }
    }

    /// Whether a node with these rows and weights may be split.
    fn may_split(&self, rows: usize, depth: usize, weight: f64, impurity: f64) -> bool {
        let params = self.context.params;
        !(params.max_depth.is_some_and(|most| depth >= most)
            || rows < params.min_samples_split
            || rows / 2 < params.min_samples_leaf
            || weight < 2.0 * params.min_weight_leaf
            || impurity <= f64::EPSILON)
    }

    /// The decrease of the impurity, unless it is too small.
    fn improvement(&self, weight: f64, impurity: f64, left: Side, right: Side) -> Option<f64> {
        let improvement = weight / self.context.total
            * (impurity - right.0 / weight * right.1 - left.0 / weight * left.1);
        (improvement + f64::EPSILON >= self.context.params.min_impurity_decrease)
            .then_some(improvement)
    }

    fn open_wide(
        &mut self,
        wide: Wide,
        key: u64,
        depth: usize,
        parent: Option<(usize, bool)>,
        control: &Control,
    ) -> Result<Option<Pending>> {
        let context = self.context;
        let (weight, impurity) = self.weigh(&wide.total);
        let node = self.add_node(parent, wide.rows(), weight, impurity)?;
        if !self.may_split(wide.rows(), depth, weight, impurity) {
            return Ok(None);
        }
        self.counts.clear();
        if !context.unit {
            self.counts
                .extend(wide.packed.iter().map(|&p| context.count(p)));
        }
        let view = View {
            wide: &wide,
            counts: &self.counts,
            key,
            weight,
            count: wide.total.iter().sum(),
        };
        let found = match &wide.columns {
            Some(columns) => self.search.search_columns(&view, columns, control)?,
            None => self.search.search_drawn(&view),
        };
        let Some(cut) = found else { return Ok(None) };
        let codes = match &wide.columns {
            Some(columns) => columns.column(cut.place),
            None => self.search.gathered(cut.place, wide.rows()),
        };
        let threshold = left_rows(context, &wide, &cut, codes, &mut self.rows);
        let on_left: usize = self.rows.iter().map(|w| w.count_ones() as usize).sum();
        let split = Split {
            feature: cut.feature,
            threshold,
            missing_left: on_left > wide.rows() - on_left,
            left_codes: Vec::new(),
        };
        let [left, right] = wide.split(context, &self.rows, &self.search.varying, control)?;
        let sides = (self.weigh(&left.total), self.weigh(&right.total));
        let Some(improvement) = self.improvement(weight, impurity, sides.0, sides.1) else {
            return Ok(None);
        };
        let child = |wide, is_left| Task {
            place: Place::Wide(Box::new(wide)),
            key: child_key(key, is_left),
            depth: depth + 1,
            parent: Some((node, is_left)),
        };
        Ok(Some(Pending {
            node,
            improvement,
            split,
            left: child(left, true),
            right: child(right, false),
        }))
    }

    fn open_block(
        &mut self,
        number: usize,
        rows: u64,
        key: u64,
        depth: usize,
        parent: Option<(usize, bool)>,
    ) -> Result<Option<Pending>> {
        let pending = self.search_block(number, rows, key, depth, parent)?;
        let block = &mut self.blocks[number];
        block.users -= 1;
        if pending.is_some() {
            block.users += 2;
        }
        if block.users == 0 {
            self.unused.push(number);
        }
        Ok(pending)
    }

    fn search_block(
        &mut self,
        number: usize,
        rows: u64,
        key: u64,
        depth: usize,
        parent: Option<(usize, bool)>,
    ) -> Result<Option<Pending>> {
        let context = self.context;
        let block = &mut self.blocks[number];
        self.block_search.enter(block, rows, &mut self.weights);
        let weight: f64 = self.weights.iter().sum();
        let impurity = context.params.criterion.impurity(&self.weights, weight);
        let count = rows.count_ones() as usize;
        let node = self.add_node(parent, count, weight, impurity)?;
        if !self.may_split(count, depth, weight, impurity) {
            return Ok(None);
        }
        let block = &mut self.blocks[number];
        let found = self.block_search.search(block, rows, key, weight);
        let Some((split, left)) = found else {
            return Ok(None);
        };
        let mut side = |rows| {
            let block = &self.blocks[number];
            self.block_search.enter(block, rows, &mut self.weights);
            let weight: f64 = self.weights.iter().sum();
            let impurity = context.params.criterion.impurity(&self.weights, weight);
            (weight, impurity)
        };
        let sides = (side(left), side(rows & !left));
        let Some(improvement) = self.improvement(weight, impurity, sides.0, sides.1) else {
            return Ok(None);
        };
        let child = |rows, is_left| Task {
            place: Place::Block { number, rows },
            key: child_key(key, is_left),
            depth: depth + 1,
            parent: Some((node, is_left)),
        };
        Ok(Some(Pending {
            node,
            improvement,
            split,
            left: child(left, true),
            right: child(rows & !left, false),
        }))
    }

    /// Writes the classes' weights; returns their sum and the impurity.
    fn weigh(&mut self, counts: &[u32]) -> Side {
        let context = self.context;
        for ((w, &n), scale) in self.weights.iter_mut().zip(counts).zip(context.scale) {
            *w = f64::from(n) * scale;
        }
        let weight: f64 = self.weights.iter().sum();
        let impurity = context.params.criterion.impurity(&self.weights, weight);
        (weight, impurity)
    }

    /// Adds a leaf with the classes' weights that were written last.
    fn add_node(
        &mut self,
        parent: Option<(usize, bool)>,
        rows: usize,
        weight: f64,
        impurity: f64,
    ) -> Result<usize> {
        self.arrays.check_room(1)?;
        for w in &mut self.weights {
            *w /= weight;
        }
        let node = self.arrays.push_leaf(rows, weight, impurity, &self.weights);
        match parent {
            Some((parent, true)) => self.arrays.left[parent] = node as i32,
            Some((parent, false)) => self.arrays.right[parent] = node as i32,
            None => {}
        }
        Ok(node)
    }

    fn write_split(&mut self, pending: &Pending) {
        let (node, split) = (pending.node, &pending.split);
        self.arrays.feature[node] = split.feature as i32;
        self.arrays.threshold[node] = split.threshold;
        self.arrays.missing_left[node] = split.missing_left;
    }
}

/// Finds the rows to the left of a cut and its threshold.
fn left_rows(context: &Context, wide: &Wide, cut: &Cut, codes: &[u8], rows: &mut Vec<u64>) -> f64 {
    let value = |i: usize| context.value(context.row(wide.packed[i]), cut.feature);
    let each = |set: &[u64], visit: &mut dyn FnMut(usize)| {
        for (block, &word) in set.iter().enumerate() {
            let mut word = word;
            while word != 0 {
                visit(block * 64 + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
    };
    rows_at_most(codes, cut.code, rows);
    if let Some((low, high)) = cut.inside {
        let mut same = Vec::new();
        rows_equal(codes, cut.code, &mut same);
        each(&same, &mut |i| {
            if value(i) > low {
                rows[i / 64] &= !(1 << (i % 64));
            }
        });
        return midpoint(low, high);
    }
    let above = |&code: &u8| if code > cut.code { code } else { u8::MAX };
    let next = codes.iter().map(above).min().unwrap_or(u8::MAX);
    if let Meaning::Exact { low, high } = context.coded.meaning(cut.feature) {
        return midpoint(high[usize::from(cut.code)], low[usize::from(next)]);
    }
    let (mut low, mut high) = (f32::NEG_INFINITY, f32::INFINITY);
    let mut same = Vec::new();
    rows_equal(codes, cut.code, &mut same);
    each(&same, &mut |i| low = low.max(value(i)));
    rows_equal(codes, next, &mut same);
    each(&same, &mut |i| high = high.min(value(i)));
    midpoint(low, high)
}

impl TreeArrays {
    fn check_room(&self, nodes: usize) -> Result<()> {
        if self.len() + nodes > i32::MAX as usize {
            return Err(Error::TooLarge {
                what: "The number of nodes of a tree",
                given: (self.len() + nodes).to_string(),
                limit: i32::MAX.to_string(),
            });
        }
        Ok(())
    }

    /// Appends a tree as a child of `parent`.
    fn append_subtree(&mut self, parent: usize, left: bool, tree: &TreeArrays) -> Result<()> {
        self.check_room(tree.len())?;
        let base = self.len() as i32;
        let moved = |&child: &i32| if child < 0 { child } else { child + base };
        self.left.extend(tree.left.iter().map(moved));
        self.right.extend(tree.right.iter().map(moved));
        self.feature.extend_from_slice(&tree.feature);
        self.threshold.extend_from_slice(&tree.threshold);
        self.missing_left.extend_from_slice(&tree.missing_left);
        self.impurity.extend_from_slice(&tree.impurity);
        self.n_node_samples.extend_from_slice(&tree.n_node_samples);
        self.weighted_n_node_samples
            .extend_from_slice(&tree.weighted_n_node_samples);
        self.value.extend_from_slice(&tree.value);
        if left {
            self.left[parent] = base;
        } else {
            self.right[parent] = base;
        }
        Ok(())
    }
}
