//! What a tree is grown from: the rows and the settings.

use super::Criterion;
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
    /// Number of classes; labels are `0..n_classes`.
    pub n_classes: usize,
    /// Impurity measure.
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

/// Rows to learn from, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct TrainingSet<'a> {
    /// Values, row by row; NaN is a missing value.
    pub x: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of features.
    pub features: usize,
    /// Class of each row.
    pub y: &'a [u32],
    /// Weight of each row; rows of weight 0 are left out.
    pub weight: Option<&'a [f64]>,
    /// Which features hold category codes 0, 1, 2, ...
    pub categorical: Option<&'a [bool]>,
    /// -1, 0 or 1 a feature: how the probability of class 1 may change as it grows.
    pub monotonic: Option<&'a [i8]>,
}

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
        if params.n_classes == 0 || params.n_classes > 65_535 {
            return Err(too_large("The number of classes", params.n_classes, 65_535));
        }
        match rows.checked_mul(features) {
            Some(cells) if cells == self.x.len() => {}
            _ => return Err(shape("X", self.x.len(), rows.saturating_mul(features))),
        }
        if self.y.len() != rows {
            return Err(shape("y", self.y.len(), rows));
        }
        if let Some(&bad) = self.y.iter().find(|&&c| c as usize >= params.n_classes) {
            return Err(Error::InvalidParameter {
                name: "y",
                given: bad.to_string(),
                expected: format!("a class code below {}", params.n_classes),
            });
        }
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
            if params.n_classes > 2 && monotonic.iter().any(|&m| m != 0) {
                return Err(Error::InvalidParameter {
                    name: "monotonic_cst",
                    given: format!("{} classes", params.n_classes),
                    expected: "used with at most two classes".into(),
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
