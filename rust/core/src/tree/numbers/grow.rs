//! Growing one tree of numbers: which nodes are split, in which order.

use super::NumberData;
use super::absolute::Ranked;
use super::lists::{Lists, Sides, partition, row_of};
use super::node::Node;
use super::search::{Found, Scanner, View};
use super::source::Rows;
use crate::error::Result;
use crate::parallel::{Control, each_mut};
use crate::rng::Stream;
use crate::tree::Loss;
use crate::tree::nodes::{Split, TreeArrays};
use crate::tree::params::Splitter;
use crate::tree::sorted::child_key;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Cells of a node whose features are worth sharing among threads.
const SHARED_CELLS: usize = 1 << 15;

/// Cells of a subtree that is worth a thread of its own.
const OWN_CELLS: usize = 1 << 13;

type Codes = Vec<(usize, Vec<u64>)>;

/// A node that is not in the tree yet.
struct Task {
    start: usize,
    end: usize,
    key: u64,
    depth: usize,
    /// Parent and whether this is its left child.
    parent: Option<(usize, bool)>,
    bounds: (f64, f64),
    node: Node,
}

/// A node in the tree that can be split.
struct Pending {
    at: usize,
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
            .then(other.at.cmp(&self.at))
    }
}

pub(super) fn grow(
    shared: &NumberData,
    weight: Option<&[f64]>,
    tree: u64,
    control: &Control,
) -> Result<TreeArrays> {
    let counts = |row: u32| weight.is_none_or(|weight| weight[row as usize] > 0.0);
    let mut rows: Vec<u32> = (0..shared.data.rows as u32)
        .filter(|&r| counts(r))
        .collect();
    let mut features: Vec<Vec<u64>> = Vec::with_capacity(shared.lists.len());
    for list in &shared.lists {
        control.check()?;
        let kept = list.iter().copied().filter(|&p| counts(row_of(p)));
        features.push(kept.collect());
    }
    let mut targets: Vec<Vec<u32>> = Vec::with_capacity(shared.by_target.len());
    for list in &shared.by_target {
        targets.push(list.iter().copied().filter(|&row| counts(row)).collect());
    }
    let lists = Lists {
        rows: &mut rows,
        features: features.iter_mut().map(Vec::as_mut_slice).collect(),
        targets: targets.iter_mut().map(Vec::as_mut_slice).collect(),
    };
    let source = Rows::new(shared.values, shared.outputs, weight);
    let root = stats(shared, &source, &lists, 0, lists.rows.len());
    let task = Task {
        start: 0,
        end: lists.rows.len(),
        key: Stream::new(shared.params.seed, tree).next_u64(),
        depth: 0,
        parent: None,
        bounds: (f64::NEG_INFINITY, f64::INFINITY),
        node: root,
    };
    let place = Place {
        shared,
        source: &source,
        total: task.node.weight,
    };
    let mut grower = Grower::new(place, lists, *control);
    match shared.params.max_leaf_nodes {
        None => grower.depth_first(task)?,
        Some(leaves) => grower.best_first(task, leaves)?,
    }
    let Grower {
        mut arrays, codes, ..
    } = grower;
    arrays.set_codes(codes);
    Ok(arrays)
}

/// The statistics of some rows.
fn stats(shared: &NumberData, source: &Rows, lists: &Lists, start: usize, end: usize) -> Node {
    let sorted: Vec<&[u32]> = lists.targets.iter().map(|t| &t[start..end]).collect();
    let rows = &lists.rows[start..end];
    Node::new(source, rows, &sorted, shared.loss, shared.whole)
}

/// What all subtrees of a tree share.
#[derive(Clone, Copy)]
struct Place<'a> {
    shared: &'a NumberData<'a>,
    source: &'a Rows<'a>,
    /// Weight of all rows.
    total: f64,
}

/// Grows one subtree.
struct Grower<'a, 'l> {
    place: Place<'a>,
    lists: Lists<'l>,
    arrays: TreeArrays,
    codes: Codes,
    sides: Sides,
    ranked: Ranked,
    centred: Vec<f64>,
    weights: Vec<f64>,
    scanners: Vec<Scanner>,
    drawn: Vec<u32>,
    scratch: Vec<u32>,
    control: Control<'a>,
}

impl<'a, 'l> Grower<'a, 'l> {
    fn new(place: Place<'a>, lists: Lists<'l>, control: Control<'a>) -> Self {
        Grower {
            sides: Sides::new(place.shared.data.rows),
            place,
            lists,
            arrays: TreeArrays::default(),
            codes: Vec::new(),
            ranked: Ranked::default(),
            centred: Vec::new(),
            weights: Vec::new(),
            scanners: (0..control.threads()).map(|_| Scanner::default()).collect(),
            drawn: Vec::new(),
            scratch: Vec::new(),
            control,
        }
    }

    /// Splits nodes in preorder; pairs of large subtrees may go to several threads.
    fn depth_first(&mut self, root: Task) -> Result<()> {
        let mut stack = vec![root];
        while let Some(task) = stack.pop() {
            let Some(pending) = self.open(task)? else {
                continue;
            };
            self.write_split(pending.at, &pending.split);
            if self.control.threads() > 1 && self.is_shared(&pending) {
                self.side_by_side(pending)?;
            } else {
                stack.push(pending.right);
                stack.push(pending.left);
            }
        }
        Ok(())
    }

    /// Whether both children are worth a thread of their own. Neither is much smaller than the
    /// other, so that calls nest no deeper than a logarithm of the rows.
    fn is_shared(&self, pending: &Pending) -> bool {
        let left = pending.left.end - pending.left.start;
        let right = pending.right.end - pending.right.start;
        let least = left.min(right);
        let cells = least.saturating_mul(self.place.shared.params.max_features);
        cells >= OWN_CELLS && least >= (left + right) / 16
    }

    /// Grows both children of a node, each as a subtree of its own, and appends them.
    fn side_by_side(&mut self, parent: Pending) -> Result<()> {
        let (first, second) = (parent.left, parent.right);
        let lists = self.lists.part(first.start, second.end);
        let (left, right) = lists.split_at(first.end - first.start);
        let (place, control) = (self.place, self.control);
        let subtree = |lists: Lists, task: Task| -> Result<(TreeArrays, Codes)> {
            let mut grower = Grower::new(place, lists, control);
            grower.depth_first(Task {
                start: 0,
                end: task.end - task.start,
                parent: None,
                ..task
            })?;
            Ok((grower.arrays, grower.codes))
        };
        let (first, second) = control.join(|| subtree(left, first), || subtree(right, second));
        for (grown, is_left) in [(first?, true), (second?, false)] {
            self.arrays
                .graft(parent.at, is_left, &grown.0, grown.1, &mut self.codes)?;
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
            self.write_split(best.at, &best.split);
            frontier.extend(self.open(best.left)?);
            frontier.extend(self.open(best.right)?);
            made += 1;
        }
        Ok(())
    }

    /// Adds a node to the tree as a leaf and finds out how it can be split.
    fn open(&mut self, task: Task) -> Result<Option<Pending>> {
        self.control.check()?;
        let at = self.add_node(&task)?;
        if self.is_leaf(&task.node, task.depth) {
            return Ok(None);
        }
        let Some(split) = self.search(&task)? else {
            return Ok(None);
        };
        let Place {
            shared,
            source,
            total,
        } = self.place;
        let middle = self.divide(&task, &split)?;
        let (left, right) = (
            stats(shared, source, &self.lists, task.start, middle),
            stats(shared, source, &self.lists, middle, task.end),
        );
        let weight = task.node.weight;
        let improvement = weight / total
            * (task.node.impurity
                - right.weight / weight * right.impurity
                - left.weight / weight * left.impurity);
        if improvement + f64::EPSILON < shared.params.min_impurity_decrease {
            return Ok(None);
        }
        if !(self.is_leaf(&left, task.depth + 1) && self.is_leaf(&right, task.depth + 1)) {
            self.divide_features(&task)?;
        }
        let (low, high) = task.bounds;
        let between = left.value(0) / 2.0 + right.value(0) / 2.0;
        let (left_bounds, right_bounds) = match shared.direction(split.feature) {
            1 => ((low, between), (between, high)),
            -1 => ((between, high), (low, between)),
            _ => (task.bounds, task.bounds),
        };
        let child = |start, end, is_left, bounds, node| Task {
            start,
            end,
            key: child_key(task.key, is_left),
            depth: task.depth + 1,
            parent: Some((at, is_left)),
            bounds,
            node,
        };
        Ok(Some(Pending {
            at,
            improvement,
            split,
            left: child(task.start, middle, true, left_bounds, left),
            right: child(middle, task.end, false, right_bounds, right),
        }))
    }

    /// Whether settings or equal targets make this node a leaf.
    fn is_leaf(&self, node: &Node, depth: usize) -> bool {
        let params = self.place.shared.params;
        params.max_depth.is_some_and(|most| depth >= most)
            || node.rows < params.min_samples_split
            || node.rows / 2 < params.min_samples_leaf
            || node.weight < 2.0 * params.min_weight_leaf
            || node.impurity <= f64::EPSILON
    }

    fn add_node(&mut self, task: &Task) -> Result<usize> {
        self.arrays.expect_room(1)?;
        let node = &task.node;
        let at = self
            .arrays
            .push_leaf(node.rows, node.weight, node.impurity, &[]);
        let (low, high) = task.bounds;
        for output in 0..self.place.shared.outputs {
            self.arrays
                .value
                .push(node.value(output).max(low).min(high));
        }
        match task.parent {
            Some((parent, true)) => self.arrays.left[parent] = at as i32,
            Some((parent, false)) => self.arrays.right[parent] = at as i32,
            None => {}
        }
        Ok(at)
    }

    fn write_split(&mut self, node: usize, split: &Split) {
        self.arrays.feature[node] = split.feature as i32;
        self.arrays.threshold[node] = split.threshold;
        self.arrays.missing_left[node] = split.missing_left;
        if !split.left_codes.is_empty() {
            self.codes.push((node, split.left_codes.clone()));
        }
    }

    /// The best split of a node, if any is allowed.
    fn search(&mut self, task: &Task) -> Result<Option<Split>> {
        let Place { shared, source, .. } = self.place;
        let params = shared.params;
        let width = shared.data.features;
        if !self.lists.targets.is_empty() {
            let sorted: Vec<&[u32]> = self
                .lists
                .targets
                .iter()
                .map(|list| &list[task.start..task.end])
                .collect();
            self.ranked
                .load(source, shared.data.rows, &task.node, &sorted);
        }
        let sums = source.outputs == 1 && shared.loss != Loss::Absolute;
        if sums && params.splitter == Splitter::Random {
            let shift = task.node.shift(0);
            let rows = &self.lists.rows[task.start..task.end];
            self.centred.clear();
            let centred = |&row: &u32| source.weight(row) * (source.target(row, 0) - shift);
            self.centred.extend(rows.iter().map(centred));
            if !source.weight.is_empty() {
                self.weights.clear();
                self.weights
                    .extend(rows.iter().map(|&row| source.weight(row)));
            }
        }
        let view = View {
            node: &task.node,
            key: task.key,
            bounds: task.bounds,
            rows: &self.lists.rows[task.start..task.end],
            ranked: &self.ranked,
            centred: &self.centred,
            weights: &self.weights,
        };
        for scanner in &mut self.scanners {
            scanner.found = None;
            scanner.varying = false;
        }
        let lists = &self.lists.features;
        let attempt = |scanner: &mut Scanner, features: &[u32]| -> Result<()> {
            if lists.is_empty() {
                self.control.check()?;
                scanner.try_gathered(shared, source, &view, features);
                return Ok(());
            }
            for &feature in features {
                self.control.check()?;
                let list = &lists[feature as usize][task.start..task.end];
                scanner.try_sorted(shared, source, &view, feature as usize, list);
            }
            Ok(())
        };
        let mut stream = Stream::new(task.key, 0);
        self.drawn.clear();
        self.drawn.extend(0..width as u32);
        if params.max_features < width {
            for drawn in 0..params.max_features {
                let other = drawn + stream.below(width - drawn);
                self.drawn.swap(drawn, other);
            }
        }
        let (first, rest) = self.drawn.split_at_mut(params.max_features);
        if self.control.threads() > 1 && view.rows.len() * first.len() >= SHARED_CELLS {
            let share = first.len().div_ceil(self.scanners.len());
            let mut parts: Vec<_> = first.chunks(share).zip(&mut self.scanners).collect();
            each_mut(&self.control, &mut parts, |(part, scanner)| {
                attempt(scanner, part)
            })?;
        } else {
            attempt(&mut self.scanners[0], first)?;
        }
        // More are drawn while all of them are constant.
        let mut varying = self.scanners.iter().any(|scanner| scanner.varying);
        for drawn in 0..rest.len() {
            if varying {
                break;
            }
            let other = drawn + stream.below(rest.len() - drawn);
            rest.swap(drawn, other);
            attempt(&mut self.scanners[0], &rest[drawn..=drawn])?;
            varying = self.scanners[0].varying;
        }
        let mut best: Option<Found> = None;
        for scanner in &mut self.scanners {
            if let Some(found) = scanner.found.take()
                && best.as_ref().is_none_or(|best| found.beats(best))
            {
                best = Some(found);
            }
        }
        Ok(best.map(|found| found.split))
    }

    /// Moves the rows that go left before the others, and returns where the others begin.
    fn divide(&mut self, task: &Task, split: &Split) -> Result<usize> {
        let data = &self.place.shared.data;
        let range = task.start..task.end;
        for &row in &self.lists.rows[range.clone()] {
            let value = data.x[row as usize * data.features + split.feature];
            self.sides.set(row, split.goes_left(value));
        }
        let sides = &self.sides;
        let rows = &mut self.lists.rows[range.clone()];
        let middle = task.start + partition(rows, &mut self.scratch, |row| sides.left(row));
        for list in &mut self.lists.targets {
            partition(&mut list[range.clone()], &mut self.scratch, |row| {
                sides.left(row)
            });
        }
        Ok(middle)
    }

    /// Does the same to each feature's list.
    fn divide_features(&mut self, task: &Task) -> Result<()> {
        let range = task.start..task.end;
        let lists = &mut self.lists.features;
        let sides = &self.sides;
        if self.control.threads() > 1 && range.len() * lists.len() >= SHARED_CELLS {
            let share = lists.len().div_ceil(self.scanners.len());
            let mut parts: Vec<_> = lists.chunks_mut(share).zip(&mut self.scanners).collect();
            each_mut(&self.control, &mut parts, |(part, scanner)| {
                for list in part.iter_mut() {
                    let list = &mut list[range.clone()];
                    partition(list, &mut scanner.scratch, |p| sides.left(row_of(p)));
                }
                Ok(())
            })?;
        } else {
            for list in lists.iter_mut() {
                let list = &mut list[range.clone()];
                let scratch = &mut self.scanners[0].scratch;
                partition(list, scratch, |p| sides.left(row_of(p)));
            }
        }
        Ok(())
    }
}
