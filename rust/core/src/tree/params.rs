//! What a tree is grown from: the rows and the settings.

use super::{Criterion, Loss};
use crate::error::{Error, Result, non_finite};

/// How thresholds are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splitter {
    /// The best threshold of each drawn feature.
    Best,
    /// One threshold a drawn feature, uniform between its smallest and largest value (Geurts,
    /// Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 63, 2006).
    Random,
}

/// The settings of a tree, resolved to numbers.
#[derive(Clone, Debug)]
pub struct TreeParams {
    /// The most classes of any output; 1 where targets are numbers.
    pub n_classes: usize,
    /// Impurity measure of classes; for numbers see [`Targets::Values`].
    pub criterion: Criterion,
    /// How thresholds are chosen.
    pub splitter: Splitter,
    /// Nodes at this depth become leaves.
    pub max_depth: Option<usize>,
    /// Nodes with fewer rows become leaves.
    pub min_samples_split: usize,
    /// Both children of a split have at least so many rows.
    pub min_samples_leaf: usize,
    /// Both children of a split have at least this weight.
    pub min_weight_leaf: f64,
    /// Features drawn at a node; more are drawn while all of them are constant.
    pub max_features: usize,
    /// Grow best-first until there are so many leaves.
    pub max_leaf_nodes: Option<usize>,
    /// A split must decrease the impurity by so much, weighted by the node's share.
    pub min_impurity_decrease: f64,
    /// Quantile bins a feature, 0 for exact splits.
    pub max_bins: usize,
    /// Seed of every random choice.
    pub seed: u64,
}

/// What a tree learns to predict, borrowed; the outputs of a row lie side by side.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// Classes by number.
    Classes {
        /// One code a row and output.
        codes: &'a [u32],
        /// Number of classes of each output; codes are below it.
        n_classes: &'a [usize],
    },
    /// Numbers.
    Values {
        /// One number a row and output.
        values: &'a [f64],
        /// Number of outputs.
        outputs: usize,
        /// What a split lowers.
        loss: Loss,
    },
}

/// What a model predicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Class shares: the number of classes of each output.
    Classes(Vec<usize>),
    /// Numbers: how many.
    Values(usize),
}

impl Outputs {
    /// Number of outputs.
    pub fn len(&self) -> usize {
        match self {
            Outputs::Classes(counts) => counts.len(),
            Outputs::Values(outputs) => *outputs,
        }
    }

    /// Whether there is nothing to predict.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most classes of any output; 1 for numbers.
    pub fn max_classes(&self) -> usize {
        match self {
            Outputs::Classes(counts) => counts.iter().copied().max().unwrap_or(0),
            Outputs::Values(_) => 1,
        }
    }

    /// Numbers that a node holds: outputs times the most classes, unused places 0.
    pub fn width(&self) -> usize {
        self.len().saturating_mul(self.max_classes())
    }

    /// Checks that there are neither too few nor too many.
    pub fn validate(&self) -> Result<()> {
        if self.is_empty() || self.len() > MAX_OUTPUTS {
            return Err(too_large(
                "The number of outputs",
                self.len(),
                MAX_OUTPUTS as u64,
            ));
        }
        if let Outputs::Classes(counts) = self
            && let Some(&bad) = counts.iter().find(|&&n| n == 0 || n > MAX_CLASSES)
        {
            return Err(too_large("The number of classes", bad, MAX_CLASSES as u64));
        }
        Ok(())
    }
}

impl<'a> Targets<'a> {
    /// What a model of these targets predicts.
    pub fn outputs(&self) -> Outputs {
        match *self {
            Targets::Classes { n_classes, .. } => Outputs::Classes(n_classes.to_vec()),
            Targets::Values { outputs, .. } => Outputs::Values(outputs),
        }
    }

    /// Class codes; none where targets are numbers.
    #[inline]
    pub(crate) fn codes(&self) -> &'a [u32] {
        match *self {
            Targets::Classes { codes, .. } => codes,
            Targets::Values { .. } => &[],
        }
    }

    /// Whether there is one output, of classes.
    pub(crate) fn one_of_classes(&self) -> bool {
        matches!(self, Targets::Classes { n_classes, .. } if n_classes.len() == 1)
    }
}

/// Rows to learn from, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct TrainingSet<'a> {
    /// Values, row by row; NaN is a missing value.
    pub x: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of features.
    pub features: usize,
    /// What is to be predicted.
    pub targets: Targets<'a>,
    /// Weight of each row; rows of weight 0 are left out.
    pub weight: Option<&'a [f64]>,
    /// Which features hold category codes 0, 1, 2, ...
    pub categorical: Option<&'a [bool]>,
    /// -1, 0 or 1 a feature: how the prediction (of class 1) may change as it grows.
    pub monotonic: Option<&'a [i8]>,
}

/// Codes of classes take no more than 16 bits.
const MAX_CLASSES: usize = 65_535;

/// More outputs than any table has, yet few enough to multiply with other sizes.
const MAX_OUTPUTS: usize = 1 << 24;

/// Category codes are stored as bits of a set, one set a split.
const MAX_CATEGORIES: f32 = 65_536.0;

fn shape(name: &'static str, given: usize, expected: usize) -> Error {
    Error::Shape {
        name,
        given: format!("{given} elements"),
        expected: format!("{expected}"),
    }
}

fn too_large(what: &'static str, given: usize, limit: u64) -> Error {
    Error::TooLarge {
        what,
        given: given.to_string(),
        limit: limit.to_string(),
    }
}

impl Targets<'_> {
    fn validate(&self, rows: usize, params: &TreeParams) -> Result<()> {
        let outputs = self.outputs();
        outputs.validate()?;
        if outputs.max_classes() != params.n_classes {
            return Err(shape("n_classes", params.n_classes, outputs.max_classes()));
        }
        let given = match self {
            Targets::Classes { codes, .. } => codes.len(),
            Targets::Values { values, .. } => values.len(),
        };
        if rows.checked_mul(outputs.len()) != Some(given) {
            return Err(shape("y", given, rows.saturating_mul(outputs.len())));
        }
        match self {
            Targets::Classes { codes, n_classes } => {
                for row in codes.chunks_exact(n_classes.len()) {
                    let both = row.iter().zip(*n_classes);
                    for (&code, &classes) in both {
                        if code as usize >= classes {
                            return Err(Error::InvalidParameter {
                                name: "y",
                                given: code.to_string(),
                                expected: format!("a class code below {classes}"),
                            });
                        }
                    }
                }
            }
            Targets::Values { values, loss, .. } => {
                if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
                    return Err(non_finite("y", bad.is_nan()));
                }
                loss.validate(values)?;
            }
        }
        Ok(())
    }
}

impl TrainingSet<'_> {
    /// Checks that shapes, labels, weights and values fit together.
    pub fn validate(&self, params: &TreeParams) -> Result<()> {
        let TrainingSet { rows, features, .. } = *self;
        if rows == 0 || features == 0 {
            return Err(Error::Shape {
                name: "X",
                given: format!("{rows} rows and {features} columns"),
                expected: "at least one of each".into(),
            });
        }
        if rows >= 1 << 31 {
            return Err(too_large("The number of rows", rows, (1 << 31) - 1));
        }
        if features >= 1 << 31 {
            return Err(too_large("The number of features", features, (1 << 31) - 1));
        }
        match rows.checked_mul(features) {
            Some(cells) if cells == self.x.len() => {}
            _ => return Err(shape("X", self.x.len(), rows.saturating_mul(features))),
        }
        self.targets.validate(rows, params)?;
        if let Some(weight) = self.weight {
            check_weights(weight, rows)?;
        }
        if let Some(monotonic) = self.monotonic {
            if monotonic.len() != features {
                return Err(shape("monotonic_cst", monotonic.len(), features));
            }
            if let Some(bad) = monotonic.iter().find(|m| !(-1..=1).contains(*m)) {
                return Err(Error::InvalidParameter {
                    name: "monotonic_cst",
                    given: bad.to_string(),
                    expected: "-1, 0 or 1 for each feature".into(),
                });
            }
            let outputs = self.targets.outputs();
            let many = params.n_classes > 2 || outputs.len() > 1;
            if many && monotonic.iter().any(|&m| m != 0) {
                return Err(Error::InvalidParameter {
                    name: "monotonic_cst",
                    given: format!("{} outputs of {} classes", outputs.len(), params.n_classes),
                    expected: "used with one output of numbers or of at most two classes".into(),
                });
            }
        }
        if let Some(categorical) = self.categorical {
            if categorical.len() != features {
                return Err(shape("categorical_features", categorical.len(), features));
            }
            self.check_categories(categorical)?;
        }
        if params.max_features == 0 || params.max_features > features {
            return Err(Error::InvalidParameter {
                name: "max_features",
                given: params.max_features.to_string(),
                expected: format!("between 1 and {features}"),
            });
        }
        if params.max_bins == 1 {
            return Err(Error::InvalidParameter {
                name: "max_bins",
                given: "1".into(),
                expected: "0 (exact) or at least 2".into(),
            });
        }
        Ok(())
    }

    fn check_categories(&self, categorical: &[bool]) -> Result<()> {
        let wanted: Vec<usize> = (0..self.features).filter(|&f| categorical[f]).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for row in self.x.chunks_exact(self.features) {
            for &feature in &wanted {
                let value = row[feature];
                let code = (0.0..MAX_CATEGORIES).contains(&value) && value.fract() == 0.0;
                if !code && !value.is_nan() {
                    return Err(Error::InvalidParameter {
                        name: "categorical_features",
                        given: format!("the value {value} in column {feature}"),
                        expected: "integer codes from 0 to 65535, or NaN".into(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Weights must be one a row, finite, not negative and not all zero.
pub(crate) fn check_weights(weight: &[f64], rows: usize) -> Result<()> {
    if weight.len() != rows {
        return Err(shape("sample_weight", weight.len(), rows));
    }
    let mut any = false;
    for &w in weight {
        if !w.is_finite() {
            return Err(non_finite("sample_weight", w.is_nan()));
        }
        if w < 0.0 {
            return Err(Error::InvalidParameter {
                name: "sample_weight",
                given: w.to_string(),
                expected: "not negative".into(),
            });
        }
        any |= w > 0.0;
    }
    if any {
        Ok(())
    } else {
        Err(Error::InvalidParameter {
            name: "sample_weight",
            given: "only zeros".into(),
            expected: "positive for at least one row".into(),
        })
    }
}
