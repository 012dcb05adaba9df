//! Growing one tree: which nodes are split, in which order.

use super::bins::Bins;
use super::fast::FastData;
use super::nodes::{Split, TreeArrays};
use super::numbers::NumberData;
use super::params::{Targets, TrainingSet, TreeParams};
use super::random::RandomData;
use super::sorted::{NodeView, SortedSearch, child_key};
use crate::error::Result;
use crate::parallel::Control;
use crate::rng::Stream;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// What all trees of a forest share.
pub(crate) struct Prepared<'a> {
    data: TrainingSet<'a>,
    params: &'a TreeParams,
    /// Where settings and values allow it, the fast engine; this one takes the trees whose
    /// weights it cannot.
    fast: Option<FastData>,
    /// The engine of random thresholds, where settings and values allow it.
    random: Option<RandomData>,
    /// Where targets are numbers: another engine takes all trees.
    numbers: Option<NumberData<'a>>,
    bins: Vec<Bins>,
}

/// A node that is not in the tree yet.
struct Task {
    start: usize,
    end: usize,
    key: u64,
    depth: usize,
    /// Parent and whether this is its left child.
    parent: Option<(usize, bool)>,
    bounds: (f64, f64),
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

impl<'a> Prepared<'a> {
    /// Checks the values and bins them where bins are asked for.
    pub fn new(data: &TrainingSet<'a>, params: &'a TreeParams, control: &Control) -> Result<Self> {
        let missing = check_finite(data.x)?;
        let fast = if data.targets.one_of_classes() {
            FastData::new(data, params, missing, control)?
        } else {
            None
        };
        let random = RandomData::new(data, params, missing, control)?;
        Self::with(data, params, fast, random, control)
    }

    /// The same with these engines or none.
    pub(super) fn with(
        data: &TrainingSet<'a>,
        params: &'a TreeParams,
        fast: Option<FastData>,
        random: Option<RandomData>,
        control: &Control,
    ) -> Result<Self> {
        let mut bins = Vec::new();
        if params.max_bins > 0 {
            for feature in 0..data.features {
                control.check()?;
                if data.categorical.is_some_and(|c| c[feature]) {
                    bins.push(Bins::default());
                    continue;
                }
                let mut column: Vec<f32> = (0..data.rows)
                    .map(|row| data.x[row * data.features + feature])
                    .filter(|value| !value.is_nan())
                    .collect();
                bins.push(Bins::new(&mut column, params.max_bins));
            }
        }
        let numbers = match data.targets {
            Targets::Classes { .. } => None,
            Targets::Values {
                values,
                outputs,
                loss,
            } => {
                let target = (values, outputs, loss);
                let bins = std::mem::take(&mut bins);
                Some(NumberData::new(data, params, target, bins, control)?)
            }
        };
        Ok(Prepared {
            data: *data,
            params,
            fast,
            random,
            numbers,
            bins,
        })
    }

    /// Whether another engine than this one is in use.
    #[cfg(test)]
    pub(super) fn is_fast(&self) -> bool {
        self.fast.is_some() || self.random.is_some()
    }

    /// Grows the tree with this number on the rows of positive `weight`.
    pub fn grow(&self, weight: Option<&[f64]>, tree: u64, control: &Control) -> Result<TreeArrays> {
        if let Some(fast) = &self.fast
            && let Some(grown) = fast.grow(&self.data, self.params, weight, tree, control)?
        {
            return Ok(grown);
        }
        if let Some(random) = &self.random {
            return random.grow(&self.data, self.params, weight, tree, control);
        }
        if let Some(numbers) = &self.numbers {
            return numbers.grow(weight, tree, control);
        }
        let weight = weight.unwrap_or(&[]);
        let rows = (0..self.data.rows as u32)
            .filter(|&row| weight.is_empty() || weight[row as usize] > 0.0)
            .collect();
        let mut grower = Grower {
            data: self.data,
            params: self.params,
            search: SortedSearch::new(self.data, self.params, &self.bins, weight),
            rows,
            scratch: Vec::new(),
            tree: TreeArrays::default(),
            codes: Vec::new(),
            total: 0.0,
            value: vec![0.0; self.data.targets.outputs().width()],
            control,
        };
        let root = Task {
            start: 0,
            end: grower.rows.len(),
            key: Stream::new(self.params.seed, tree).next_u64(),
            depth: 0,
            parent: None,
            bounds: (f64::NEG_INFINITY, f64::INFINITY),
        };
        match self.params.max_leaf_nodes {
            None => grower.depth_first(root)?,
            Some(leaves) => grower.best_first(root, leaves)?,
        }
        let Grower {
            mut tree, codes, ..
        } = grower;
        tree.set_codes(codes);
        Ok(tree)
    }
}

/// Infinities are refused; NaN is a missing value. Returns whether there is one.
pub(crate) fn check_finite(x: &[f32]) -> Result<bool> {
    let mut missing = false;
    for block in x.chunks(4096) {
        // An infinity or NaN has the largest exponent; hardly any block has one.
        if block.iter().fold(true, |ok, v| ok & v.is_finite()) {
            continue;
        }
        if block.iter().any(|v| v.is_infinite()) {
            return Err(crate::error::non_finite("X", false));
        }
        missing = true;
    }
    Ok(missing)
}

struct Grower<'a> {
    data: TrainingSet<'a>,
    params: &'a TreeParams,
    search: SortedSearch<'a>,
    rows: Vec<u32>,
    scratch: Vec<u32>,
    tree: TreeArrays,
    codes: Vec<(usize, Vec<u64>)>,
    total: f64,
    value: Vec<f64>,
    control: &'a Control<'a>,
}

impl Grower<'_> {
    /// Splits nodes in preorder.
    fn depth_first(&mut self, root: Task) -> Result<()> {
        let mut stack = vec![root];
        while let Some(task) = stack.pop() {
            if let Some(pending) = self.open(task)? {
                self.write_split(pending.node, &pending.split);
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
            self.write_split(best.node, &best.split);
            frontier.extend(self.open(best.left)?);
            frontier.extend(self.open(best.right)?);
            made += 1;
        }
        Ok(())
    }

    /// Adds a node to the tree as a leaf and finds out how it can be split.
    fn open(&mut self, task: Task) -> Result<Option<Pending>> {
        self.control.check()?;
        let params = self.params;
        let mut counts = vec![0.0; self.value.len()];
        self.search
            .count(&self.rows[task.start..task.end], &mut counts);
        // Each output has the whole weight.
        let weight: f64 = counts[..params.n_classes].iter().sum();
        if task.parent.is_none() {
            self.total = weight;
        }
        let impurity = params
            .criterion
            .mean_impurity(&counts, params.n_classes, weight);
        let node = self.add_node(&task, &counts, weight, impurity)?;
        let rows = task.end - task.start;
        if params.max_depth.is_some_and(|depth| task.depth >= depth)
            || rows < params.min_samples_split
            || rows / 2 < params.min_samples_leaf
            || weight < 2.0 * params.min_weight_leaf
            || impurity <= f64::EPSILON
        {
            return Ok(None);
        }
        let view = NodeView {
            rows: &self.rows[task.start..task.end],
            counts: &counts,
            key: task.key,
            bounds: task.bounds,
        };
        let Some(split) = self.search.search(&view) else {
            return Ok(None);
        };
        let middle = self.partition(&task, &split);
        let (left, right) = (self.side(task.start, middle), self.side(middle, task.end));
        let improvement = weight / self.total
            * (impurity - right.1 / weight * right.2 - left.1 / weight * left.2);
        if improvement + f64::EPSILON < params.min_impurity_decrease {
            return Ok(None);
        }
        let (left_bounds, right_bounds) = self.child_bounds(&task, &split, &left, &right);
        let child = |start, end, is_left, bounds| Task {
            start,
            end,
            key: child_key(task.key, is_left),
            depth: task.depth + 1,
            parent: Some((node, is_left)),
            bounds,
        };
        Ok(Some(Pending {
            node,
            improvement,
            split,
            left: child(task.start, middle, true, left_bounds),
            right: child(middle, task.end, false, right_bounds),
        }))
    }

    fn add_node(
        &mut self,
        task: &Task,
        counts: &[f64],
        weight: f64,
        impurity: f64,
    ) -> Result<usize> {
        self.tree.expect_room(1)?;
        for (v, c) in self.value.iter_mut().zip(counts) {
            *v = c / weight;
        }
        if self.data.monotonic.is_some() && self.value.len() == 2 {
            let (low, high) = task.bounds;
            self.value[1] = self.value[1].max(low).min(high);
            self.value[0] = 1.0 - self.value[1];
        }
        let node = self
            .tree
            .push_leaf(task.end - task.start, weight, impurity, &self.value);
        match task.parent {
            Some((parent, true)) => self.tree.left[parent] = node as i32,
            Some((parent, false)) => self.tree.right[parent] = node as i32,
            None => {}
        }
        Ok(node)
    }

    fn write_split(&mut self, node: usize, split: &Split) {
        self.tree.feature[node] = split.feature as i32;
        self.tree.threshold[node] = split.threshold;
        self.tree.missing_left[node] = split.missing_left;
        if !split.left_codes.is_empty() {
            self.codes.push((node, split.left_codes.clone()));
        }
    }

    /// Class-1 share, weight and impurity of a child.
    fn side(&self, start: usize, end: usize) -> (f64, f64, f64) {
        let classes = self.params.n_classes;
        let mut counts = vec![0.0; self.value.len()];
        self.search.count(&self.rows[start..end], &mut counts);
        let weight: f64 = counts[..classes].iter().sum();
        let share = counts.get(1).map_or(0.0, |c| c / weight);
        let impurity = self
            .params
            .criterion
            .mean_impurity(&counts, classes, weight);
        (share, weight, impurity)
    }

    fn child_bounds(
        &self,
        task: &Task,
        split: &Split,
        left: &(f64, f64, f64),
        right: &(f64, f64, f64),
    ) -> ((f64, f64), (f64, f64)) {
        let (low, high) = task.bounds;
        let middle = left.0 / 2.0 + right.0 / 2.0;
        match self.data.monotonic.map_or(0, |m| m[split.feature]) {
            1 => ((low, middle), (middle, high)),
            -1 => ((middle, high), (low, middle)),
            _ => (task.bounds, task.bounds),
        }
    }

    /// Moves the rows that go left before the others, keeping their order, and returns where
    /// the others begin.
    fn partition(&mut self, task: &Task, split: &Split) -> usize {
        self.scratch.clear();
        let mut middle = task.start;
        for i in task.start..task.end {
            let row = self.rows[i];
            let value = self.data.x[row as usize * self.data.features + split.feature];
            if split.goes_left(value) {
                self.rows[middle] = row;
                middle += 1;
            } else {
                self.scratch.push(row);
            }
        }
        self.rows[middle..task.end].copy_from_slice(&self.scratch);
        middle
    }
}
