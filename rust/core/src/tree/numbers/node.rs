//! What is known about the rows of a node.

use super::source::Rows;
use crate::tree::Loss;

/// Targets that add up to no more have no mean that the Poisson deviance allows.
pub(in crate::tree) const NO_MEAN: f64 = 10.0 * f64::EPSILON;

/// Statistics of a node's rows.
#[derive(Clone, Debug)]
pub(in crate::tree) struct Node {
    pub rows: usize,
    pub weight: f64,
    pub impurity: f64,
    /// Three numbers an output: prediction, what is subtracted before sums are formed, and the
    /// weighted sum of what is left. Those of the first output stand here, so that nodes with one
    /// need no memory of their own.
    first: [f64; 3],
    others: Vec<[f64; 3]>,
}

impl Node {
    /// The statistics of these rows; `sorted` has them in the order of each output where the
    /// loss is absolute.
    pub fn new(rows: &Rows, here: &[u32], sorted: &[&[u32]], loss: Loss, whole: bool) -> Node {
        let weight: f64 = if rows.weight.is_empty() {
            here.len() as f64
        } else {
            here.iter().map(|&row| rows.weight(row)).sum()
        };
        let mut node = Node {
            rows: here.len(),
            weight,
            impurity: 0.0,
            first: [0.0; 3],
            others: Vec::with_capacity(rows.outputs - 1),
        };
        let mut impurity = 0.0;
        for output in 0..rows.outputs {
            let (numbers, part) = match loss {
                Loss::Absolute => absolute(rows, sorted[output], output, weight),
                _ => {
                    let mut sum = 0.0;
                    for &row in here {
                        sum += rows.weight(row) * rows.target(row, output);
                    }
                    let mean = sum / weight;
                    if loss == Loss::Poisson {
                        ([mean, 0.0, sum], poisson(rows, here, output, sum, mean))
                    } else {
                        squared(rows, here, output, mean, whole)
                    }
                }
            };
            if output == 0 {
                node.first = numbers;
            } else {
                node.others.push(numbers);
            }
            impurity += part;
        }
        node.impurity = impurity / (weight * rows.outputs as f64);
        node
    }

    #[inline]
    fn numbers(&self, output: usize) -> &[f64; 3] {
        match output {
            0 => &self.first,
            _ => &self.others[output - 1],
        }
    }

    #[inline]
    pub fn value(&self, output: usize) -> f64 {
        self.numbers(output)[0]
    }

    #[inline]
    pub fn shift(&self, output: usize) -> f64 {
        self.numbers(output)[1]
    }

    #[inline]
    pub fn total(&self, output: usize) -> f64 {
        self.numbers(output)[2]
    }
}

fn squared(rows: &Rows, here: &[u32], output: usize, mean: f64, whole: bool) -> ([f64; 3], f64) {
    let shift = if whole { mean.round() } else { mean };
    let (mut total, mut error) = (0.0, 0.0);
    for &row in here {
        let (weight, target) = (rows.weight(row), rows.target(row, output));
        total += weight * (target - shift);
        error += weight * (target - mean) * (target - mean);
    }
    ([mean, shift, total], error)
}

fn poisson(rows: &Rows, here: &[u32], output: usize, sum: f64, mean: f64) -> f64 {
    if sum <= NO_MEAN {
        return 0.0;
    }
    let mut deviance = 0.0;
    for &row in here {
        let target = rows.target(row, output);
        if target > 0.0 {
            deviance += rows.weight(row) * (target * (target / mean).ln());
        }
    }
    deviance
}

fn absolute(rows: &Rows, sorted: &[u32], output: usize, weight: f64) -> ([f64; 3], f64) {
    let half = weight / 2.0;
    let mut below = 0.0;
    let mut median = rows.target(sorted[sorted.len() - 1], output);
    for (i, &row) in sorted.iter().enumerate() {
        below += rows.weight(row);
        if below > half {
            median = rows.target(row, output);
            break;
        }
        if below == half && i + 1 < sorted.len() {
            median = (rows.target(row, output) + rows.target(sorted[i + 1], output)) / 2.0;
            break;
        }
    }
    let mut error = 0.0;
    for &row in sorted {
        error += rows.weight(row) * (rows.target(row, output) - median).abs();
    }
    ([median, median, 0.0], error)
}
