//! Random forests (Breiman, "Random forests", Machine Learning 45, 2001): trees on bootstrap
//! samples, each node choosing among a few drawn features.

use crate::error::{Error, Result};
use crate::parallel::Control;
use crate::rng::Stream;
use crate::tree::{ForestModel, Prepared, Targets, TrainingSet, TreeParams};

mod queue;

use queue::in_order;

/// Settings of the ensemble.
#[derive(Clone, Copy, Debug)]
pub struct ForestParams {
    /// Trees to grow.
    pub n_trees: usize,
    /// Number of the first tree: a forest that grows in steps equals one grown at once.
    pub first_tree: usize,
    /// Draw rows with replacement for each tree.
    pub bootstrap: bool,
    /// Rows to draw.
    pub n_draws: usize,
    /// Weigh classes inversely to their frequency in each tree's sample.
    pub balanced_subsample: bool,
    /// Let each tree vote on the rows that it did not draw.
    pub oob: bool,
}

/// More trees than any forest has, yet few enough to allocate one record for each.
const MAX_TREES: usize = 1 << 24;

/// Keeps bootstrap draws apart from the choices within trees.
const BOOTSTRAP: u64 = 0x626f_6f74_7374_7261;

/// Draws rows with replacement, in proportion to `weight`, and counts them.
struct Bootstrap {
    rows: usize,
    n_draws: usize,
    seed: u64,
    cumulative: Vec<f64>,
}

impl Bootstrap {
    fn new(rows: usize, weight: Option<&[f64]>, n_draws: usize, seed: u64) -> Self {
        let mut sum = 0.0;
        let cumulative = weight.map_or(Vec::new(), |weight| {
            weight
                .iter()
                .map(|w| {
                    sum += w;
                    sum
                })
                .collect()
        });
        Bootstrap {
            rows,
            n_draws,
            seed,
            cumulative,
        }
    }

    fn counts(&self, tree: u64) -> Vec<u32> {
        let mut stream = Stream::new(self.seed ^ BOOTSTRAP, tree);
        let mut counts = vec![0u32; self.rows];
        let total = self.cumulative.last().copied();
        for _ in 0..self.n_draws {
            let row = match total {
                None => stream.below(self.rows),
                Some(total) => {
                    let at = stream.next_f64() * total;
                    // Rows of weight 0 repeat the sum before them, so they are never first.
                    let row = self.cumulative.partition_point(|&sum| sum <= at);
                    if row < self.rows {
                        row
                    } else {
                        self.cumulative.partition_point(|&sum| sum < total)
                    }
                }
            };
            counts[row] += 1;
        }
        counts
    }
}

/// What the trees that did not draw a row say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutOfBag {
    /// Sums of their class shares, or of their numbers, row by row.
    pub votes: Vec<f64>,
    /// How many trees these are.
    pub voters: Vec<i64>,
}

/// Grows a forest; the second answer is there where `oob` is set.
pub fn fit_forest(
    data: &TrainingSet,
    params: &TreeParams,
    forest: &ForestParams,
    control: &Control,
) -> Result<(ForestModel, Option<OutOfBag>)> {
    data.validate(params)?;
    if forest.n_trees == 0 {
        return Err(Error::InvalidParameter {
            name: "n_estimators",
            given: "0".into(),
            expected: "at least 1".into(),
        });
    }
    if forest.n_trees > MAX_TREES || forest.first_tree > MAX_TREES {
        return Err(Error::TooLarge {
            what: "n_estimators",
            given: forest.n_trees.max(forest.first_tree).to_string(),
            limit: MAX_TREES.to_string(),
        });
    }
    if forest.bootstrap && (forest.n_draws == 0 || forest.n_draws > u32::MAX as usize) {
        return Err(Error::InvalidParameter {
            name: "max_samples",
            given: forest.n_draws.to_string(),
            expected: "at least one draw and fewer than 2^32".into(),
        });
    }
    let prepared = Prepared::new(data, params, control)?;
    let sampler = Bootstrap::new(data.rows, data.weight, forest.n_draws, params.seed);
    // Enough trees keep every thread busy without splitting one among threads.
    let within = if forest.n_trees >= 2 * control.threads() {
        control.single()
    } else {
        *control
    };
    let grow = |i: usize| {
        let tree = (forest.first_tree + i) as u64;
        if !forest.bootstrap {
            return Ok((prepared.grow(data.weight, tree, &within)?, Vec::new()));
        }
        let counts = sampler.counts(tree);
        let weight = tree_weights(&data.targets, &counts, forest.balanced_subsample);
        let grown = prepared.grow(Some(&weight), tree, &within)?;
        let drawn = if forest.oob {
            bits(&counts)
        } else {
            Vec::new()
        };
        Ok((grown, drawn))
    };
    let mut model = ForestModel::from_trees(data.targets.outputs(), data.features, Vec::new());
    let mut drawn = Vec::new();
    in_order(control, forest.n_trees, grow, |(tree, rows)| {
        model.push_tree(&tree);
        drawn.push(rows);
    })?;
    if !forest.oob || !forest.bootstrap {
        return Ok((model, None));
    }
    let unseen = |tree: usize, row: usize| drawn[tree][row / 64] >> (row % 64) & 1 == 0;
    let votes = model.votes_where(data.x, data.rows, unseen, control)?;
    let mut voters = vec![0; data.rows];
    for tree in 0..drawn.len() {
        control.check()?;
        for (row, voters) in voters.iter_mut().enumerate() {
            *voters += i64::from(unseen(tree, row));
        }
    }
    Ok((model, Some(OutOfBag { votes, voters })))
}

fn bits(counts: &[u32]) -> Vec<u64> {
    let word = |block: &[u32]| {
        block
            .iter()
            .enumerate()
            .fold(0, |word, (i, &c)| word | u64::from(c > 0) << i)
    };
    counts.chunks(64).map(word).collect()
}

/// How often each row was drawn, times the weights of its classes where those are balanced.
fn tree_weights(targets: &Targets, counts: &[u32], balanced: bool) -> Vec<f64> {
    let mut weights: Vec<f64> = counts.iter().map(|&c| f64::from(c)).collect();
    if let (true, Targets::Classes { codes, n_classes }) = (balanced, targets) {
        for (output, &classes) in n_classes.iter().enumerate() {
            let column = || codes.iter().skip(output).step_by(n_classes.len());
            let scale = balanced_scale(column(), classes, counts);
            for (weight, &class) in weights.iter_mut().zip(column()) {
                *weight *= scale[class as usize];
            }
        }
    }
    weights
}

/// The weight of each class of one output that makes all classes of the sample weigh the same.
fn balanced_scale<'a>(
    column: impl Iterator<Item = &'a u32>,
    classes: usize,
    counts: &[u32],
) -> Vec<f64> {
    let mut drawn = vec![0u64; classes];
    for (&class, &count) in column.zip(counts) {
        drawn[class as usize] += u64::from(count);
    }
    let present = drawn.iter().filter(|d| **d > 0).count() as f64;
    let total = drawn.iter().sum::<u64>() as f64;
    drawn
        .iter()
        .map(|&d| {
            if d > 0 {
                total / (present * d as f64)
            } else {
                0.0
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
