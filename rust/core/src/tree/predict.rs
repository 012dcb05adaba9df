//! Prediction with a fitted forest.

use super::grow::check_finite;
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
    fn leaf(&self, start: usize, row: &[f32]) -> usize {
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
        let classes = self.n_classes();
        let shares = &self.arrays().nodes.value[leaf * classes..(leaf + 1) * classes];
        match voting {
            Voting::Soft => {
                for (o, s) in out.iter_mut().zip(shares) {
                    *o += s;
                }
            }
            Voting::Hard => out[largest(shares)] += 1.0,
        }
    }

    /// Class probabilities of each row.
    pub fn predict_proba(
        &self,
        x: &[f32],
        rows: usize,
        voting: Voting,
        control: &Control,
    ) -> Result<Vec<f64>> {
        self.check_input(x, rows)?;
        let (classes, width) = (self.n_classes(), self.n_features());
        let trees = self.n_trees() as f64;
        let mut out = vec![0.0; rows * classes];
        fill_chunks(control, &mut out, classes, ROWS, |range, part| {
            let block = &x[range.start * width..range.end * width];
            check_finite(block)?;
            for &start in &self.arrays().offsets[..self.n_trees()] {
                for (row, out) in block
                    .chunks_exact(width)
                    .zip(part.chunks_exact_mut(classes))
                {
                    self.add_votes(self.leaf(start as usize, row), voting, out);
                }
            }
            for p in part {
                *p /= trees;
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// The most probable class of each row, the first of equal ones.
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

    /// Sums, over the trees that did not see a row, of its leaf's class shares.
    pub(crate) fn votes_where(
        &self,
        x: &[f32],
        rows: usize,
        unseen: impl Fn(usize, usize) -> bool + Sync,
        control: &Control,
    ) -> Result<Vec<f64>> {
        let (classes, width) = (self.n_classes(), self.n_features());
        let mut out = vec![0.0; rows * classes];
        fill_chunks(control, &mut out, classes, ROWS, |range, part| {
            let block = &x[range.start * width..range.end * width];
            for (t, &start) in self.arrays().offsets[..self.n_trees()].iter().enumerate() {
                for (i, (row, out)) in block
                    .chunks_exact(width)
                    .zip(part.chunks_exact_mut(classes))
                    .enumerate()
                {
                    if unseen(t, range.start + i) {
                        self.add_votes(self.leaf(start as usize, row), Voting::Soft, out);
                    }
                }
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
