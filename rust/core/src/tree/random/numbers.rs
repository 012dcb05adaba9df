//! Sums of numbers, for the losses that are known from sums.

use super::sums::{Side, Sums};
use crate::tree::Loss;
use crate::tree::numbers::node::Node;
use crate::tree::numbers::scan::{Limits, Poisson, Squared, score};
use crate::tree::numbers::source::{Rows, all_whole};
use crate::tree::params::TreeParams;
use ironlearn_kernels::cells::{Cell, Places, sum_at_most};
use ironlearn_kernels::tier::{Tier, active};

/// What the trees of a forest share.
pub(super) struct NumberRule {
    loss: Loss,
    whole: bool,
    limits: Limits,
}

/// The sums of a node, of a cut, and of the nodes that wait.
pub(super) struct NumberSums<'a> {
    rule: &'a NumberRule,
    tier: Tier,
    /// Target and weight of each row of the data; no weights where all rows count once.
    values: &'a [f64],
    weight: &'a [f64],
    /// The same for the rows of the block that is worked in, if it is in one.
    block: Option<(Vec<f64>, Vec<f64>)>,
    /// Statistics of the nodes that wait, the next one's last.
    waiting: Vec<Node>,
    node: Option<Node>,
    /// Targets and weights in the node's order, and weighted distances from its shift.
    targets: Vec<f64>,
    weights: Vec<f64>,
    centred: Vec<f64>,
    /// Targets and weights of one side of a cut, and their places.
    side: (Vec<f64>, Vec<f64>),
    places: Vec<u32>,
}

impl NumberRule {
    pub fn new(values: &[f64], loss: Loss, params: &TreeParams) -> Self {
        NumberRule {
            loss,
            whole: all_whole(values, values.len()),
            limits: Limits {
                rows: params.min_samples_leaf,
                weight: params.min_weight_leaf,
                direction: 0,
                bounds: (f64::NEG_INFINITY, f64::INFINITY),
            },
        }
    }

    /// The rows of positive weight, and their statistics, which wait.
    pub fn root<'a>(
        &'a self,
        values: &'a [f64],
        weight: Option<&'a [f64]>,
    ) -> (Vec<u32>, NumberSums<'a>) {
        let weight = weight
            .filter(|weight| weight.iter().any(|&w| w != 1.0))
            .unwrap_or(&[]);
        let rows: Vec<u32> = (0..values.len() as u32)
            .filter(|&row| weight.get(row as usize).is_none_or(|&w| w > 0.0))
            .collect();
        let source = Rows {
            values,
            outputs: 1,
            weight,
            pairs: Vec::new(),
        };
        let root = Node::new(&source, &rows, &[], self.loss, self.whole);
        (rows, NumberSums::waiting(self, values, weight, vec![root]))
    }
}

impl<'a> NumberSums<'a> {
    fn waiting(
        rule: &'a NumberRule,
        values: &'a [f64],
        weight: &'a [f64],
        waiting: Vec<Node>,
    ) -> Self {
        NumberSums {
            rule,
            tier: active(),
            values,
            weight,
            block: None,
            waiting,
            node: None,
            targets: Vec::new(),
            weights: Vec::new(),
            centred: Vec::new(),
            side: (Vec::new(), Vec::new()),
            places: Vec::new(),
        }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("a node was entered")
    }

    /// The statistics of the node's rows on one side of a cut.
    fn child<C: Cell>(&mut self, cells: &[C], cut: C, on_left: bool) -> Node {
        let here = |cell: C| (cell <= cut) == on_left;
        let picked = |numbers: &[f64], out: &mut Vec<f64>| {
            out.clear();
            out.resize(numbers.len(), 0.0);
            let mut at = 0;
            for (&cell, &number) in cells.iter().zip(numbers) {
                out[at] = number;
                at += usize::from(here(cell));
            }
            out.truncate(at);
        };
        picked(&self.targets, &mut self.side.0);
        picked(&self.weights, &mut self.side.1);
        let count = self.side.0.len();
        if self.places.len() < count {
            self.places = (0..cells.len() as u32).collect();
        }
        let rows = Rows {
            values: &self.side.0,
            outputs: 1,
            weight: &self.side.1,
            pairs: Vec::new(),
        };
        let rule = self.rule;
        Node::new(&rows, &self.places[..count], &[], rule.loss, rule.whole)
    }
}

impl Sums for NumberSums<'_> {
    fn groups(&self) -> u32 {
        self.waiting.len() as u32
    }

    fn waiting_weight(&self) -> f64 {
        self.waiting.iter().map(|node| node.weight).sum()
    }

    fn detach(&mut self, groups: u32) -> Self {
        let rest = self.waiting.len() - groups as usize;
        Self::waiting(
            self.rule,
            self.values,
            self.weight,
            self.waiting.split_off(rest),
        )
    }

    fn enter_block(&mut self, rows: &[u32]) {
        let chosen = |all: &[f64]| -> Vec<f64> {
            let rows = rows
                .iter()
                .take(if all.is_empty() { 0 } else { rows.len() });
            rows.map(|&row| all[row as usize]).collect()
        };
        self.block = Some((chosen(self.values), chosen(self.weight)));
    }

    fn leave_block(&mut self) {
        self.block = None;
    }

    fn enter(&mut self, groups: u32) -> Side {
        debug_assert_eq!(groups, 1);
        self.node = self.waiting.pop();
        (self.node().weight, self.node().impurity)
    }

    fn value(&self, out: &mut [f64]) {
        out[0] = self.node().value(0);
    }

    fn prepare(&mut self, rows: &Places) {
        let (values, weight) = match &self.block {
            Some((values, weight)) => (&values[..], &weight[..]),
            None => (self.values, self.weight),
        };
        self.targets.resize(rows.len(), 0.0);
        rows.gather(values, &mut self.targets);
        let shift = self.node.as_ref().map_or(0.0, |node| node.shift(0));
        self.centred.clear();
        if weight.is_empty() {
            self.centred.extend(self.targets.iter().map(|y| y - shift));
        } else {
            self.weights.resize(rows.len(), 0.0);
            rows.gather(weight, &mut self.weights);
            let both = self.targets.iter().zip(&self.weights);
            self.centred.extend(both.map(|(y, w)| w * (y - shift)));
        }
    }

    fn score<C: Cell>(&mut self, cells: &[C], cut: C) -> Option<f64> {
        let (left, rows) = sum_at_most(self.tier, cells, cut, &self.centred);
        let weight = if self.weights.is_empty() {
            f64::from(rows)
        } else {
            sum_at_most(self.tier, cells, cut, &self.weights).0
        };
        let (rule, rows) = (self.rule, rows as usize);
        match rule.loss {
            Loss::Squared => score::<Squared>(left, weight, rows, self.node(), &rule.limits),
            _ => score::<Poisson>(left, weight, rows, self.node(), &rule.limits),
        }
    }

    fn keep(&mut self) {}

    fn split<C: Cell>(&mut self, cells: &[C], cut: C) -> [(Side, u32); 2] {
        let right = self.child(cells, cut, false);
        let left = self.child(cells, cut, true);
        let sides = [&left, &right].map(|node| ((node.weight, node.impurity), 1));
        self.waiting.push(right);
        self.waiting.push(left);
        sides
    }

    fn drop_children(&mut self, groups: u32) {
        self.waiting.truncate(self.waiting.len() - groups as usize);
    }
}
