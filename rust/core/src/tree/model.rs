//! A fitted forest: immutable, validated once, so that prediction need not check.

use super::layout::Layout;
use super::nodes::TreeArrays;
use super::params::Outputs;
use crate::error::{Error, Result};
use std::sync::OnceLock;

/// How the trees of a forest are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voting {
    /// The mean of the leaves' class shares.
    Soft,
    /// The share of trees whose leaf has the class as its largest.
    Hard,
}

/// All trees of a forest, one after another. Children are numbered within their tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelArrays {
    /// Where each tree begins; one entry more than trees.
    pub offsets: Vec<i64>,
    /// The nodes.
    pub nodes: TreeArrays,
}

/// An immutable forest of one or more trees.
#[derive(Clone, Debug)]
pub struct ForestModel {
    outputs: Outputs,
    n_features: usize,
    arrays: ModelArrays,
    /// Made by the first prediction.
    layout: OnceLock<Option<Layout>>,
}

fn invalid(name: &'static str, given: impl ToString, expected: impl Into<String>) -> Error {
    Error::InvalidParameter {
        name,
        given: given.to_string(),
        expected: expected.into(),
    }
}

impl ForestModel {
    /// Puts trees together that were grown here.
    pub(crate) fn from_trees(outputs: Outputs, n_features: usize, trees: Vec<TreeArrays>) -> Self {
        let mut arrays = ModelArrays {
            offsets: vec![0],
            nodes: TreeArrays {
                category_offsets: vec![0],
                ..Default::default()
            },
        };
        for tree in trees {
            arrays.append(&tree);
        }
        ForestModel {
            outputs,
            n_features,
            arrays,
            layout: OnceLock::new(),
        }
    }

    /// Adds a tree behind the others.
    pub(crate) fn push_tree(&mut self, tree: &TreeArrays) {
        self.layout = OnceLock::new();
        self.arrays.append(tree);
    }

    /// A model of one tree.
    pub fn from_tree(outputs: Outputs, n_features: usize, tree: TreeArrays) -> Self {
        Self::from_trees(outputs, n_features, vec![tree])
    }

    /// Validates arrays that come from outside.
    pub fn from_arrays(outputs: Outputs, n_features: usize, arrays: ModelArrays) -> Result<Self> {
        outputs.validate()?;
        if n_features == 0 || n_features >= 1 << 31 {
            return Err(invalid(
                "n_features",
                n_features,
                "between 1 and 2147483647",
            ));
        }
        arrays.validate(&outputs, n_features)?;
        Ok(ForestModel {
            outputs,
            n_features,
            arrays,
            layout: OnceLock::new(),
        })
    }

    /// The arrays.
    pub fn arrays(&self) -> &ModelArrays {
        &self.arrays
    }

    /// The nodes as prediction reads them, where there is such a form.
    pub(super) fn layout(&self) -> Option<&Layout> {
        self.layout.get_or_init(|| Layout::new(self)).as_ref()
    }

    /// Number of trees.
    pub fn n_trees(&self) -> usize {
        self.arrays.offsets.len() - 1
    }

    /// What is predicted.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// The most classes of any output; 1 for numbers.
    pub fn n_classes(&self) -> usize {
        self.outputs.max_classes()
    }

    /// Numbers of each node.
    pub fn width(&self) -> usize {
        self.outputs.width()
    }

    /// Number of features.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Bytes of memory that the arrays take.
    pub fn nbytes(&self) -> usize {
        let nodes = &self.arrays.nodes;
        let per_node = 4 * 3 + 8 + 1 + 8 * 3 + 8;
        nodes.len() * per_node
            + 8 * (nodes.value.len() + nodes.category_bits.len() + self.arrays.offsets.len() + 1)
    }

    /// One tree as a model of its own.
    pub fn tree(&self, index: usize) -> Result<ForestModel> {
        if index >= self.n_trees() {
            return Err(invalid("index", index, format!("below {}", self.n_trees())));
        }
        let tree = self.arrays.tree(index, self.width());
        Ok(Self::from_tree(self.outputs.clone(), self.n_features, tree))
    }

    /// The trees of all models, in their order.
    pub fn concat(models: &[&ForestModel]) -> Result<ForestModel> {
        let Some(first) = models.first() else {
            return Err(invalid("models", "an empty list", "at least one model"));
        };
        let mut arrays = ModelArrays {
            offsets: vec![0],
            nodes: TreeArrays {
                category_offsets: vec![0],
                ..Default::default()
            },
        };
        for model in models {
            if model.outputs != first.outputs || model.n_features != first.n_features {
                return Err(invalid(
                    "models",
                    format!("{:?} and {} features", model.outputs, model.n_features),
                    format!("{:?} and {} features", first.outputs, first.n_features),
                ));
            }
            let base = arrays.nodes.len() as i64;
            arrays.extend(&model.arrays.nodes);
            arrays
                .offsets
                .extend(model.arrays.offsets[1..].iter().map(|offset| base + offset));
        }
        Ok(ForestModel {
            outputs: first.outputs.clone(),
            n_features: first.n_features,
            arrays,
            layout: OnceLock::new(),
        })
    }
}

impl ModelArrays {
    fn append(&mut self, tree: &TreeArrays) {
        self.extend(tree);
        self.offsets.push(self.nodes.len() as i64);
    }

    fn extend(&mut self, other: &TreeArrays) {
        let nodes = &mut self.nodes;
        nodes.left.extend_from_slice(&other.left);
        nodes.right.extend_from_slice(&other.right);
        nodes.feature.extend_from_slice(&other.feature);
        nodes.threshold.extend_from_slice(&other.threshold);
        nodes.missing_left.extend_from_slice(&other.missing_left);
        nodes.impurity.extend_from_slice(&other.impurity);
        nodes
            .n_node_samples
            .extend_from_slice(&other.n_node_samples);
        nodes
            .weighted_n_node_samples
            .extend_from_slice(&other.weighted_n_node_samples);
        nodes.value.extend_from_slice(&other.value);
        let base = nodes.category_bits.len() as i64;
        nodes.category_offsets.extend(
            other.category_offsets[1..]
                .iter()
                .map(|offset| base + offset),
        );
        nodes.category_bits.extend_from_slice(&other.category_bits);
    }

    fn tree(&self, index: usize, width: usize) -> TreeArrays {
        let range = self.offsets[index] as usize..self.offsets[index + 1] as usize;
        let nodes = &self.nodes;
        let first = nodes.category_offsets[range.start];
        let words = first as usize..nodes.category_offsets[range.end] as usize;
        TreeArrays {
            left: nodes.left[range.clone()].to_vec(),
            right: nodes.right[range.clone()].to_vec(),
            feature: nodes.feature[range.clone()].to_vec(),
            threshold: nodes.threshold[range.clone()].to_vec(),
            missing_left: nodes.missing_left[range.clone()].to_vec(),
            impurity: nodes.impurity[range.clone()].to_vec(),
            n_node_samples: nodes.n_node_samples[range.clone()].to_vec(),
            weighted_n_node_samples: nodes.weighted_n_node_samples[range.clone()].to_vec(),
            value: nodes.value[range.start * width..range.end * width].to_vec(),
            category_offsets: nodes.category_offsets[range.start..=range.end]
                .iter()
                .map(|offset| offset - first)
                .collect(),
            category_bits: nodes.category_bits[words].to_vec(),
        }
    }

    fn validate(&self, outputs: &Outputs, n_features: usize) -> Result<()> {
        let nodes = &self.nodes;
        let total = nodes.len();
        let rising = |offsets: &[i64], end: usize| {
            offsets.first() == Some(&0)
                && offsets.last() == i64::try_from(end).ok().as_ref()
                && offsets.windows(2).all(|w| w[0] <= w[1])
        };
        let lengths = [
            ("right", nodes.right.len(), total),
            ("feature", nodes.feature.len(), total),
            ("threshold", nodes.threshold.len(), total),
            ("missing_left", nodes.missing_left.len(), total),
            ("impurity", nodes.impurity.len(), total),
            ("n_node_samples", nodes.n_node_samples.len(), total),
            (
                "weighted_n_node_samples",
                nodes.weighted_n_node_samples.len(),
                total,
            ),
            ("category_offsets", nodes.category_offsets.len(), total + 1),
        ];
        for (name, given, expected) in lengths {
            if given != expected {
                return Err(Error::Shape {
                    name,
                    given: format!("{given} elements"),
                    expected: format!("{expected}"),
                });
            }
        }
        if total.checked_mul(outputs.width()) != Some(nodes.value.len()) {
            return Err(Error::Shape {
                name: "value",
                given: format!("{} elements", nodes.value.len()),
                expected: format!("{total} x {}", outputs.width()),
            });
        }
        if self.offsets.len() < 2
            || !rising(&self.offsets, total)
            || self
                .offsets
                .windows(2)
                .any(|w| w[0] == w[1] || w[1] - w[0] > i64::from(i32::MAX))
        {
            return Err(invalid(
                "offsets",
                format!("{} entries", self.offsets.len()),
                "rising from 0 to the number of nodes, with at least one node a tree",
            ));
        }
        if !rising(&nodes.category_offsets, nodes.category_bits.len()) {
            return Err(invalid(
                "category_offsets",
                format!("{total} nodes"),
                "rising from 0 to the length of category_bits",
            ));
        }
        for (name, values) in [
            ("value", &nodes.value),
            ("impurity", &nodes.impurity),
            ("weighted_n_node_samples", &nodes.weighted_n_node_samples),
        ] {
            // Rounding may leave an impurity a little below zero.
            let signed = name == "value" && matches!(outputs, Outputs::Values(_));
            if let Some(bad) = values
                .iter()
                .find(|v| !v.is_finite() || (**v < -1e-9 && !signed))
            {
                return Err(invalid(name, bad, "finite and not negative"));
            }
        }
        if let Some(bad) = nodes.n_node_samples.iter().find(|v| **v < 0) {
            return Err(invalid("n_node_samples", bad, "not negative"));
        }
        for tree in self.offsets.windows(2) {
            self.validate_tree(tree[0] as usize, tree[1] as usize, n_features)?;
        }
        Ok(())
    }

    fn validate_tree(&self, start: usize, end: usize, n_features: usize) -> Result<()> {
        let nodes = &self.nodes;
        let count = end - start;
        let mut has_parent = vec![false; count];
        for node in 0..count {
            let at = start + node;
            let (left, right, feature) = (nodes.left[at], nodes.right[at], nodes.feature[at]);
            if left == -1 && right == -1 {
                if feature != -2 {
                    return Err(invalid("feature", feature, "-2 at a leaf"));
                }
                if nodes.category_offsets[at] != nodes.category_offsets[at + 1] {
                    return Err(invalid("category_offsets", at, "without codes at a leaf"));
                }
                continue;
            }
            for (name, child) in [("left", left), ("right", right)] {
                let inside = usize::try_from(child).is_ok_and(|c| c > node && c < count);
                if !inside {
                    return Err(invalid(
                        name,
                        child,
                        format!("a node after {node} and before {count}, or -1 on both sides"),
                    ));
                }
                if std::mem::replace(&mut has_parent[child as usize], true) {
                    return Err(invalid(name, child, "the child of one node only"));
                }
            }
            if !usize::try_from(feature).is_ok_and(|f| f < n_features) {
                return Err(invalid(
                    "feature",
                    feature,
                    format!("from 0 to {}", n_features - 1),
                ));
            }
            if nodes.threshold[at].is_nan() {
                return Err(invalid("threshold", "NaN", "a number"));
            }
        }
        if let Some(orphan) = has_parent.iter().skip(1).position(|seen| !seen) {
            return Err(invalid(
                "left",
                format!("no link to node {}", orphan + 1),
                "a parent for every node but the first",
            ));
        }
        Ok(())
    }
}
