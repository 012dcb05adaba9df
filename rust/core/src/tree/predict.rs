//! Prediction with a fitted forest.

use super::grow::check_finite;
use super::layout::{Layout, Vote};
use super::model::{ForestModel, Voting};
use super::nodes::holds_code;
use crate::error::{Error, Result};
use crate::parallel::{Control, fill_chunks};

/// Rows of one parallel task.
const ROWS: usize = 256;

impl ForestModel {
    fn check_input(&self, x: &[f32], rows: usize) -> Result<()> {
        if rows.checked_mul(self.n_features()) != Some(x.len()) {
            return Err(Error::Shape {
                name: "X",
                given: format!("{} elements", x.len()),
                expected: format!("{rows} rows of {} features", self.n_features()),
            });
        }
        Ok(())
    }

    /// The leaf of `row` in the tree whose nodes begin at `start`, numbered over all trees.
    pub(super) fn leaf(&self, start: usize, row: &[f32]) -> usize {
        let nodes = &self.arrays().nodes;
        let mut at = start;
        while nodes.left[at] >= 0 {
            let value = row[nodes.feature[at] as usize];
            let words =
                nodes.category_offsets[at] as usize..nodes.category_offsets[at + 1] as usize;
            let left = if value.is_nan() {
                nodes.missing_left[at]
            } else if words.is_empty() {
                f64::from(value) <= nodes.threshold[at]
            } else {
                holds_code(&nodes.category_bits[words], value).unwrap_or(nodes.missing_left[at])
            };
            at = start
                + if left {
                    nodes.left[at]
                } else {
                    nodes.right[at]
                } as usize;
        }
        at
    }

    fn add_votes(&self, leaf: usize, voting: Voting, out: &mut [f64]) {
        let width = self.width();
        let shares = &self.arrays().nodes.value[leaf * width..(leaf + 1) * width];
        match voting {
            Voting::Soft => {
                for (o, s) in out.iter_mut().zip(shares) {
                    *o += s;
                }
            }
            Voting::Hard => {
                let classes = self.n_classes();
                let outputs = shares.chunks_exact(classes);
                for (out, shares) in out.chunks_exact_mut(classes).zip(outputs) {
                    out[largest(shares)] += 1.0;
                }
            }
        }
    }

    /// The mean over the trees of each row's leaf: the numbers of a regression, the class
    /// probabilities of all outputs side by side otherwise.
    pub fn predict_proba(
        &self,
        x: &[f32],
        rows: usize,
        voting: Voting,
        control: &Control,
    ) -> Result<Vec<f64>> {
        self.check_input(x, rows)?;
        let (classes, width) = (self.width(), self.n_features());
        let trees = self.n_trees() as f64;
        let layout = self.layout();
        let mut out = vec![0.0; rows * classes];
        fill_chunks(control, &mut out, classes, self.block(), |range, part| {
            let block = &x[range.start * width..range.end * width];
            let missing = check_finite(block)?;
            match layout {
                Some(layout) if !missing => self.add_block(layout, block, voting, part, control)?,
                _ => self.add_plainly(block, voting, part, |_, _| true),
            }
            for p in part {
                *p /= trees;
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// Rows of one parallel task: as many as fit the cache beside the trees, or many where a
    /// tree fills the cache, so that each tree is loaded rarely.
    fn block(&self) -> usize {
        const CACHE: usize = 1 << 18;
        let row = 4 * self.n_features();
        let room = match self.layout() {
            Some(layout) if layout.largest > CACHE => 16 * CACHE,
            _ => CACHE,
        };
        (room / row).clamp(64, 1 << 14)
    }

    /// Adds the votes of all trees on rows without missing values.
    fn add_block(
        &self,
        layout: &Layout,
        block: &[f32],
        voting: Voting,
        out: &mut [f64],
        control: &Control,
    ) -> Result<()> {
        let (classes, width) = (self.width(), self.n_features());
        let rows = out.len() / classes;
        if rows == 1 {
            layout.vote_trees(block, |vote| self.add_vote(vote, voting, out));
            return Ok(());
        }
        let all: Vec<u32> = (0..rows as u32).collect();
        for tree in 0..layout.trees() {
            control.check()?;
            layout.vote_rows(tree, block, width, &all, |row, vote| {
                self.add_vote(vote, voting, &mut out[row * classes..(row + 1) * classes]);
            });
        }
        Ok(())
    }

    #[inline]
    fn add_vote(&self, vote: Vote, voting: Voting, out: &mut [f64]) {
        match vote {
            Vote::Class(class) => out[class] += 1.0,
            Vote::Shares(leaf) => self.add_votes(leaf, voting, out),
        }
    }

    /// Adds the votes of the wanted trees (by number of tree and row of the block), one row
    /// after another.
    fn add_plainly(
        &self,
        block: &[f32],
        voting: Voting,
        out: &mut [f64],
        wanted: impl Fn(usize, usize) -> bool,
    ) {
        let (classes, width) = (self.width(), self.n_features());
        for (t, &start) in self.arrays().offsets[..self.n_trees()].iter().enumerate() {
            let rows = block.chunks_exact(width).zip(out.chunks_exact_mut(classes));
            for (i, (row, out)) in rows.enumerate() {
                if wanted(t, i) {
                    self.add_votes(self.leaf(start as usize, row), voting, out);
                }
            }
        }
    }

    /// The mean over the trees of the numbers in each row's leaf.
    pub fn predict_values(&self, x: &[f32], rows: usize, control: &Control) -> Result<Vec<f64>> {
        self.predict_proba(x, rows, Voting::Soft, control)
    }

    /// The most probable class of each row and output, the first of equal ones.
    pub fn predict_codes(
        &self,
        x: &[f32],
        rows: usize,
        voting: Voting,
        control: &Control,
    ) -> Result<Vec<i64>> {
        let shares = self.predict_proba(x, rows, voting, control)?;
        Ok(shares
            .chunks_exact(self.n_classes())
            .map(|row| largest(row) as i64)
            .collect())
    }

    /// The leaf of each row in each tree, numbered within the tree.
    pub fn apply(&self, x: &[f32], rows: usize, control: &Control) -> Result<Vec<i64>> {
        self.check_input(x, rows)?;
        let (trees, width) = (self.n_trees(), self.n_features());
        let mut out = vec![0; rows * trees];
        fill_chunks(control, &mut out, trees, ROWS, |range, part| {
            let block = &x[range.start * width..range.end * width];
            check_finite(block)?;
            for (t, &start) in self.arrays().offsets[..trees].iter().enumerate() {
                for (row, out) in block.chunks_exact(width).zip(part.chunks_exact_mut(trees)) {
                    out[t] = self.leaf(start as usize, row) as i64 - start;
                }
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// Sums, over the trees that did not see a row, of its leaf's class shares or numbers.
    pub(crate) fn votes_where(
        &self,
        x: &[f32],
        rows: usize,
        unseen: impl Fn(usize, usize) -> bool + Sync,
        control: &Control,
    ) -> Result<Vec<f64>> {
        let (classes, width) = (self.width(), self.n_features());
        let layout = self.layout();
        let mut out = vec![0.0; rows * classes];
        fill_chunks(control, &mut out, classes, self.block(), |range, part| {
            let block = &x[range.start * width..range.end * width];
            let missing = check_finite(block)?;
            let Some(layout) = layout.filter(|_| !missing) else {
                let wanted = |tree, row| unseen(tree, range.start + row);
                self.add_plainly(block, Voting::Soft, part, wanted);
                return Ok(());
            };
            let mut wanted = Vec::with_capacity(range.len());
            for tree in 0..layout.trees() {
                control.check()?;
                wanted.clear();
                let rows = 0..range.len() as u32;
                wanted.extend(rows.filter(|&row| unseen(tree, range.start + row as usize)));
                layout.vote_rows(tree, block, width, &wanted, |row, vote| {
                    let out = &mut part[row * classes..(row + 1) * classes];
                    self.add_vote(vote, Voting::Soft, out);
                });
            }
            Ok(())
        })?;
        Ok(out)
    }
}

/// The index of the first largest element.
fn largest(shares: &[f64]) -> usize {
    let mut best = 0;
    for (i, &s) in shares.iter().enumerate() {
        if s > shares[best] {
            best = i;
        }
    }
    best
}
