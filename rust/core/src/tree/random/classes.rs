//! Sums of class weights, and the scores of cuts.

use super::sums::{Side, Sums};
use crate::tree::Criterion;
use crate::tree::criterion::xlog2x;
use crate::tree::params::TreeParams;
use ironlearn_kernels::cells::{Cell, Places, count_groups};
use ironlearn_kernels::tier::{Tier, active};

/// Counts whose `n log n` is looked up.
const LOGARITHMS: usize = 1 << 16;

/// What the trees of a forest share.
pub(super) struct ClassRule {
    /// Where the rows of each class begin; one entry more than classes.
    offsets: Vec<usize>,
    criterion: Criterion,
    min_rows: usize,
    min_weight: f64,
    /// `n log2 n` where the criterion is entropy.
    logarithms: Vec<f64>,
}

/// The rows of one class in a node; they follow those of the classes below.
#[derive(Clone, Copy, Default)]
struct Group {
    class: u32,
    rows: u32,
    weight: f64,
}

/// The sums of a node, of a cut, and of the nodes that wait.
pub(super) struct ClassSums<'a> {
    rule: &'a ClassRule,
    tier: Tier,
    /// Weight of each row of the data; none where all rows count once.
    weight: &'a [f64],
    /// The same for the rows of the block that is worked in, if it is in one.
    block: Option<Vec<f64>>,
    /// Groups of the nodes that wait, the next one's last.
    waiting: Vec<Group>,
    node: Vec<Group>,
    total: Side,
    /// Rows of each group, and their weights in the node's order.
    sizes: Vec<u32>,
    weights: Vec<f64>,
    left: Cut,
    best: Cut,
}

/// The left side of a cut, group by group; weights only where rows have some.
#[derive(Default)]
struct Cut {
    rows: Vec<u32>,
    weights: Vec<f64>,
}

impl ClassRule {
    /// The rule, and an order of the rows that keeps those of a class together.
    pub fn new(y: &[u32], params: &TreeParams) -> (Self, Vec<u32>) {
        let mut offsets = vec![0; params.n_classes + 1];
        for &class in y {
            offsets[class as usize + 1] += 1;
        }
        for class in 0..params.n_classes {
            offsets[class + 1] += offsets[class];
        }
        let mut next = offsets.clone();
        let mut order = vec![0; y.len()];
        for (row, &class) in y.iter().enumerate() {
            order[next[class as usize]] = row as u32;
            next[class as usize] += 1;
        }
        let looked_up = match params.criterion {
            Criterion::Gini => 0,
            Criterion::Entropy => LOGARITHMS.min(y.len() + 1),
        };
        let rule = ClassRule {
            offsets,
            criterion: params.criterion,
            min_rows: params.min_samples_leaf,
            min_weight: params.min_weight_leaf,
            logarithms: (0..looked_up).map(|n| xlog2x(n as f64)).collect(),
        };
        (rule, order)
    }

    /// The rows of positive weight, in the order of [`ClassRule::new`] as `weight` is, and
    /// their sums, which wait.
    pub fn root<'a>(&'a self, weight: Option<&'a [f64]>) -> (Vec<u32>, ClassSums<'a>) {
        let weight = weight.unwrap_or(&[]);
        let mut rows = Vec::with_capacity(self.offsets[self.offsets.len() - 1]);
        let mut groups = Vec::new();
        for (class, ends) in self.offsets.windows(2).enumerate() {
            let first = rows.len();
            let all = ends[0] as u32..ends[1] as u32;
            let mut sum = 0.0;
            if weight.is_empty() {
                sum = all.len() as f64;
                rows.extend(all);
            } else {
                for row in all.filter(|&row| weight[row as usize] > 0.0) {
                    sum += weight[row as usize];
                    rows.push(row);
                }
            }
            if rows.len() > first {
                groups.push(Group {
                    class: class as u32,
                    rows: (rows.len() - first) as u32,
                    weight: sum,
                });
            }
        }
        (rows, ClassSums::waiting(self, weight, groups))
    }

    /// The impurity of classes with these weights.
    fn impurity(&self, weights: &[f64], total: f64) -> f64 {
        self.criterion.impurity(weights, total)
    }

    #[inline]
    fn xlog2x(&self, count: u32) -> f64 {
        match self.logarithms.get(count as usize) {
            Some(&value) => value,
            None => xlog2x(f64::from(count)),
        }
    }

    /// What a side with these counts adds to the score, to the bit as [`Criterion::side`] has
    /// it: sums of integers are exact, and a class without rows adds nothing.
    #[inline]
    fn side(&self, counts: impl Iterator<Item = u32>, total: u32) -> f64 {
        match self.criterion {
            Criterion::Gini => {
                let squares: u64 = counts.map(|n| u64::from(n) * u64::from(n)).sum();
                squares as f64 / f64::from(total)
            }
            Criterion::Entropy => counts.map(|n| self.xlog2x(n)).sum::<f64>() - self.xlog2x(total),
        }
    }
}

impl<'a> ClassSums<'a> {
    fn waiting(rule: &'a ClassRule, weight: &'a [f64], waiting: Vec<Group>) -> Self {
        ClassSums {
            rule,
            tier: active(),
            weight,
            block: None,
            waiting,
            node: Vec::new(),
            total: (0.0, 0.0),
            sizes: Vec::new(),
            weights: Vec::new(),
            left: Cut::default(),
            best: Cut::default(),
        }
    }

    /// Weight and impurity of the groups' weights that stand in `left`.
    fn side(&self) -> Side {
        let weight: f64 = self.left.weights.iter().sum();
        (weight, self.rule.impurity(&self.left.weights, weight))
    }

    fn weighted_score<C: Cell>(&mut self, cells: &[C], cut: C) -> Option<f64> {
        let rule = self.rule;
        self.left.weights.clear();
        let (mut rest, mut weights) = (cells, &self.weights[..]);
        for (rows, &size) in self.left.rows.iter_mut().zip(&self.sizes) {
            let (group, others) = rest.split_at(size as usize);
            let (own, after) = weights.split_at(size as usize);
            (rest, weights) = (others, after);
            let (mut count, mut sum) = (0, 0.0);
            for (&cell, &weight) in group.iter().zip(own) {
                let on_left = cell <= cut;
                count += u32::from(on_left);
                sum += if on_left { weight } else { 0.0 };
            }
            *rows = count;
            self.left.weights.push(sum);
        }
        let rows: u32 = self.left.rows.iter().sum();
        let least = rows.min(cells.len() as u32 - rows);
        if (least as usize) < rule.min_rows {
            return None;
        }
        let right: Vec<f64> = self
            .node
            .iter()
            .zip(&self.left.weights)
            .map(|(group, left)| (group.weight - left).max(0.0))
            .collect();
        let sums = [&self.left.weights, &right].map(|weights| weights.iter().sum::<f64>());
        if sums.iter().any(|&sum| sum < rule.min_weight || sum <= 0.0) {
            return None;
        }
        let score = |weights: &[f64], sum| rule.criterion.side(weights, sum);
        Some(score(&self.left.weights, sums[0]) + score(&right, sums[1]))
    }
}

impl Sums for ClassSums<'_> {
    fn groups(&self) -> u32 {
        self.waiting.len() as u32
    }

    fn waiting_weight(&self) -> f64 {
        self.waiting.iter().map(|group| group.weight).sum()
    }

    fn detach(&mut self, groups: u32) -> Self {
        let rest = self.waiting.len() - groups as usize;
        Self::waiting(self.rule, self.weight, self.waiting.split_off(rest))
    }

    fn enter_block(&mut self, rows: &[u32]) {
        if !self.weight.is_empty() {
            self.block = Some(rows.iter().map(|&r| self.weight[r as usize]).collect());
        }
    }

    fn leave_block(&mut self) {
        self.block = None;
    }

    fn enter(&mut self, groups: u32) -> Side {
        let rest = self.waiting.len() - groups as usize;
        self.node.clear();
        self.node.extend(self.waiting.drain(rest..));
        self.left.weights.clear();
        self.left.weights.extend(self.node.iter().map(|g| g.weight));
        self.total = self.side();
        self.total
    }

    fn value(&self, out: &mut [f64]) {
        out.fill(0.0);
        for group in &self.node {
            out[group.class as usize] = group.weight / self.total.0;
        }
    }

    fn prepare(&mut self, rows: &Places) {
        self.sizes.clear();
        self.sizes.extend(self.node.iter().map(|group| group.rows));
        self.left.rows.resize(self.node.len(), 0);
        self.best.rows.resize(self.node.len(), 0);
        if !self.weight.is_empty() {
            if self.weights.len() < rows.len() {
                self.weights.resize(rows.len(), 0.0);
            }
            let all = self.block.as_deref().unwrap_or(self.weight);
            rows.gather(all, &mut self.weights[..rows.len()]);
        }
    }

    fn score<C: Cell>(&mut self, cells: &[C], cut: C) -> Option<f64> {
        let rule = self.rule;
        if !self.weight.is_empty() {
            return self.weighted_score(cells, cut);
        }
        count_groups(self.tier, cells, cut, &self.sizes, &mut self.left.rows);
        let left: u32 = self.left.rows.iter().sum();
        let right = cells.len() as u32 - left;
        let least = left.min(right);
        if (least as usize) < rule.min_rows || f64::from(least) < rule.min_weight {
            return None;
        }
        let on_left = || self.left.rows.iter().copied();
        let on_right = || self.sizes.iter().zip(on_left()).map(|(all, l)| all - l);
        Some(rule.side(on_left(), left) + rule.side(on_right(), right))
    }

    fn keep(&mut self) {
        std::mem::swap(&mut self.left, &mut self.best);
        self.left.rows.resize(self.node.len(), 0);
    }

    fn split<C: Cell>(&mut self, cells: &[C], cut: C) -> [(Side, u32); 2] {
        let weighted = !self.weight.is_empty();
        let right: Vec<f64> = if weighted {
            let mut at = cells.iter().zip(&self.weights);
            let sum = |_| 0.0;
            let mut sums: Vec<f64> = self.node.iter().map(sum).collect();
            for (sum, &size) in sums.iter_mut().zip(&self.sizes) {
                for (&cell, weight) in at.by_ref().take(size as usize) {
                    *sum += if cell > cut { *weight } else { 0.0 };
                }
            }
            sums
        } else {
            Vec::new()
        };
        let mut sides = [((0.0, 0.0), 0); 2];
        for (place, on_left) in [(1, false), (0, true)] {
            let first = self.waiting.len();
            for (i, group) in self.node.iter().enumerate() {
                let left = self.best.rows[i];
                let rows = if on_left { left } else { group.rows - left };
                let weight = match (weighted, on_left) {
                    (false, _) => f64::from(rows),
                    (true, true) => self.best.weights[i],
                    (true, false) => right[i],
                };
                if rows > 0 {
                    self.waiting.push(Group {
                        class: group.class,
                        rows,
                        weight,
                    });
                }
            }
            let groups = (self.waiting.len() - first) as u32;
            self.left.weights.clear();
            let weights = self.waiting[first..].iter().map(|group| group.weight);
            self.left.weights.extend(weights);
            sides[place] = (self.side(), groups);
        }
        sides
    }

    fn drop_children(&mut self, groups: u32) {
        self.waiting.truncate(self.waiting.len() - groups as usize);
    }
}
