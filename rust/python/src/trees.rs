//! Bindings of trees and forests.

use crate::arrays::{expect_len, frozen, matrix, optional, slice};
use crate::errors::to_py;
use crate::gate;
use ironlearn_core::error::Error;
use ironlearn_core::forest::{self, ForestParams};
use ironlearn_core::tree::{
    self, Criterion, ForestModel as Core, Loss, ModelArrays, Outputs, Splitter, Targets,
    TrainingSet, TreeArrays, TreeParams, Voting,
};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

fn unknown(name: &'static str, given: &str, expected: &str) -> PyErr {
    to_py(Error::InvalidParameter {
        name,
        given: format!("{given:?}"),
        expected: expected.into(),
    })
}

fn limit(name: &'static str, given: i64) -> PyResult<Option<usize>> {
    match given {
        -1 => Ok(None),
        _ => usize::try_from(given)
            .map(Some)
            .map_err(|_| unknown(name, &given.to_string(), "-1 (none) or not negative")),
    }
}

/// Number of classes: of the only output, or of each.
#[derive(FromPyObject)]
pub enum Classes {
    /// One output.
    One(usize),
    /// Several.
    Many(Vec<usize>),
}

impl Classes {
    fn counts(self) -> Vec<usize> {
        match self {
            Classes::One(count) => vec![count],
            Classes::Many(counts) => counts,
        }
    }
}

/// What is to be predicted: class codes or numbers, of one output or of several.
#[derive(FromPyObject)]
pub enum TargetArray<'py> {
    /// Codes of one output.
    Codes(PyReadonlyArray1<'py, u32>),
    /// Codes, one column an output.
    CodeColumns(PyReadonlyArray2<'py, u32>),
    /// Numbers of one output.
    Values(PyReadonlyArray1<'py, f64>),
    /// Numbers, one column an output.
    ValueColumns(PyReadonlyArray2<'py, f64>),
}

impl TargetArray<'_> {
    /// The targets as the core takes them. `n_classes` and a criterion of classes go with codes,
    /// a criterion of numbers with numbers.
    fn targets<'a>(
        &'a self,
        n_classes: Option<&'a [usize]>,
        criterion: &str,
    ) -> PyResult<Targets<'a>> {
        let (columns, codes, values): (usize, &[u32], &[f64]) = match self {
            TargetArray::Codes(y) => (1, slice("y", y)?, &[]),
            TargetArray::CodeColumns(y) => (y.shape()[1], slice("y", y)?, &[]),
            TargetArray::Values(y) => (1, &[], slice("y", y)?),
            TargetArray::ValueColumns(y) => (y.shape()[1], &[], slice("y", y)?),
        };
        match (self, n_classes) {
            (TargetArray::Codes(_) | TargetArray::CodeColumns(_), Some(n_classes)) => {
                expect_len("n_classes", n_classes.len(), columns)?;
                Ok(Targets::Classes { codes, n_classes })
            }
            (TargetArray::Values(_) | TargetArray::ValueColumns(_), None) => Ok(Targets::Values {
                values,
                outputs: columns,
                loss: match criterion {
                    "squared_error" => Loss::Squared,
                    "absolute_error" => Loss::Absolute,
                    "poisson" => Loss::Poisson,
                    other => {
                        let expected = "'squared_error', 'absolute_error' or 'poisson'";
                        return Err(unknown("criterion", other, expected));
                    }
                },
            }),
            _ => Err(unknown(
                "n_classes",
                &format!("{n_classes:?}"),
                "given with class codes (uint32), None with numbers (float64)",
            )),
        }
    }
}

fn tree_params(
    targets: &Targets,
    criterion: &str,
    splitter: &str,
    max_depth: i64,
    min_samples_split: usize,
    min_samples_leaf: usize,
    min_weight_leaf: f64,
    max_features: usize,
    max_leaf_nodes: i64,
    min_impurity_decrease: f64,
    max_bins: usize,
    seed: u64,
) -> PyResult<TreeParams> {
    Ok(TreeParams {
        n_classes: targets.outputs().max_classes(),
        criterion: match (targets, criterion) {
            // A loss goes with the numbers.
            (_, "gini") | (Targets::Values { .. }, _) => Criterion::Gini,
            (_, "entropy") => Criterion::Entropy,
            (_, other) => return Err(unknown("criterion", other, "'gini' or 'entropy'")),
        },
        splitter: match splitter {
            "best" => Splitter::Best,
            "random" => Splitter::Random,
            other => return Err(unknown("splitter", other, "'best' or 'random'")),
        },
        max_depth: limit("max_depth", max_depth)?,
        min_samples_split,
        min_samples_leaf,
        min_weight_leaf,
        max_features,
        max_leaf_nodes: limit("max_leaf_nodes", max_leaf_nodes)?,
        min_impurity_decrease,
        max_bins,
        seed,
    })
}

/// Grows one tree.
#[pyfunction]
#[pyo3(signature = (x, y, sample_weight, *, n_classes, criterion, splitter, max_depth,
    min_samples_split, min_samples_leaf, min_weight_leaf, max_features, max_leaf_nodes,
    min_impurity_decrease, max_bins, categorical, monotonic, seed, n_threads))]
pub fn tree_fit(
    py: Python<'_>,
    x: PyReadonlyArray2<'_, f32>,
    y: TargetArray<'_>,
    sample_weight: Option<PyReadonlyArray1<'_, f64>>,
    n_classes: Option<Classes>,
    criterion: &str,
    splitter: &str,
    max_depth: i64,
    min_samples_split: usize,
    min_samples_leaf: usize,
    min_weight_leaf: f64,
    max_features: usize,
    max_leaf_nodes: i64,
    min_impurity_decrease: f64,
    max_bins: usize,
    categorical: Option<PyReadonlyArray1<'_, bool>>,
    monotonic: Option<PyReadonlyArray1<'_, i8>>,
    seed: u64,
    n_threads: usize,
) -> PyResult<ForestModel> {
    let n_classes = n_classes.map(Classes::counts);
    let targets = y.targets(n_classes.as_deref(), criterion)?;
    let params = tree_params(
        &targets,
        criterion,
        splitter,
        max_depth,
        min_samples_split,
        min_samples_leaf,
        min_weight_leaf,
        max_features,
        max_leaf_nodes,
        min_impurity_decrease,
        max_bins,
        seed,
    )?;
    let (rows, features) = (x.shape()[0], x.shape()[1]);
    let data = TrainingSet {
        x: slice("X", &x)?,
        rows,
        features,
        targets,
        weight: optional("sample_weight", sample_weight.as_ref(), rows)?,
        categorical: optional("categorical_features", categorical.as_ref(), features)?,
        monotonic: optional("monotonic_cst", monotonic.as_ref(), features)?,
    };
    let cost = fit_cost(&data);
    let tree = gate::sized(py, n_threads, cost, |control| {
        tree::fit_tree(&data, &params, 0, control)
    })?;
    Ok(ForestModel {
        core: Core::from_tree(targets.outputs(), features, tree),
    })
}

/// Elementary operations of growing one tree, roughly.
fn fit_cost(data: &TrainingSet) -> usize {
    let depth = (usize::BITS - data.rows.leading_zeros()) as usize;
    data.x.len().saturating_mul(2 * depth)
}

/// Sums of out-of-bag answers, and of how many trees.
type OutOfBag<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<i64>>);

/// Grows a forest; the second answer holds the out-of-bag votes where they are asked for.
#[pyfunction]
#[pyo3(signature = (x, y, sample_weight, *, n_classes, criterion, splitter, max_depth,
    min_samples_split, min_samples_leaf, min_weight_leaf, max_features, max_leaf_nodes,
    min_impurity_decrease, max_bins, categorical, monotonic, seed, n_trees, first_tree,
    bootstrap, n_draws, balanced_subsample, oob, n_threads))]
pub fn forest_fit<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'py, f32>,
    y: TargetArray<'py>,
    sample_weight: Option<PyReadonlyArray1<'py, f64>>,
    n_classes: Option<Classes>,
    criterion: &str,
    splitter: &str,
    max_depth: i64,
    min_samples_split: usize,
    min_samples_leaf: usize,
    min_weight_leaf: f64,
    max_features: usize,
    max_leaf_nodes: i64,
    min_impurity_decrease: f64,
    max_bins: usize,
    categorical: Option<PyReadonlyArray1<'py, bool>>,
    monotonic: Option<PyReadonlyArray1<'py, i8>>,
    seed: u64,
    n_trees: usize,
    first_tree: usize,
    bootstrap: bool,
    n_draws: usize,
    balanced_subsample: bool,
    oob: bool,
    n_threads: usize,
) -> PyResult<(ForestModel, Option<OutOfBag<'py>>)> {
    let n_classes = n_classes.map(Classes::counts);
    let targets = y.targets(n_classes.as_deref(), criterion)?;
    let params = tree_params(
        &targets,
        criterion,
        splitter,
        max_depth,
        min_samples_split,
        min_samples_leaf,
        min_weight_leaf,
        max_features,
        max_leaf_nodes,
        min_impurity_decrease,
        max_bins,
        seed,
    )?;
    let ensemble = ForestParams {
        n_trees,
        first_tree,
        bootstrap,
        n_draws,
        balanced_subsample,
        oob,
    };
    let (rows, features) = (x.shape()[0], x.shape()[1]);
    let data = TrainingSet {
        x: slice("X", &x)?,
        rows,
        features,
        targets,
        weight: optional("sample_weight", sample_weight.as_ref(), rows)?,
        categorical: optional("categorical_features", categorical.as_ref(), features)?,
        monotonic: optional("monotonic_cst", monotonic.as_ref(), features)?,
    };
    let cost = fit_cost(&data).saturating_mul(n_trees);
    let (core, votes) = gate::sized(py, n_threads, cost, |control| {
        forest::fit_forest(&data, &params, &ensemble, control)
    })?;
    let votes = match votes {
        Some(oob) => Some((
            matrix(py, oob.votes, rows, core.width())?,
            oob.voters.into_pyarray(py),
        )),
        None => None,
    };
    Ok((ForestModel { core }, votes))
}

/// A fitted tree or forest.
#[pyclass(frozen, module = "ironlearn._core")]
pub struct ForestModel {
    core: Core,
}

fn voting(name: &str) -> PyResult<Voting> {
    match name {
        "soft" => Ok(Voting::Soft),
        "hard" => Ok(Voting::Hard),
        other => Err(unknown("voting", other, "'soft' or 'hard'")),
    }
}

impl ForestModel {
    /// Elementary operations of predicting `rows` rows, roughly.
    fn cost(&self, rows: usize) -> usize {
        rows.saturating_mul(self.core.n_features() / 4 + 16 * self.core.n_trees())
    }

    fn expect_width(&self, x: &PyReadonlyArray2<'_, f32>) -> PyResult<()> {
        if x.shape()[1] == self.core.n_features() {
            return Ok(());
        }
        Err(to_py(Error::Shape {
            name: "X",
            given: format!("{} features", x.shape()[1]),
            expected: format!("{}", self.core.n_features()),
        }))
    }
}

#[pymethods]
impl ForestModel {
    /// Number of trees.
    #[getter]
    fn n_trees(&self) -> usize {
        self.core.n_trees()
    }

    /// The most classes of any output; 1 where numbers are predicted.
    #[getter]
    fn n_classes(&self) -> usize {
        self.core.n_classes()
    }

    /// Number of outputs.
    #[getter]
    fn n_outputs(&self) -> usize {
        self.core.outputs().len()
    }

    /// Number of classes of each output; `None` where numbers are predicted.
    #[getter]
    fn class_counts(&self) -> Option<Vec<usize>> {
        match self.core.outputs() {
            Outputs::Classes(counts) => Some(counts.clone()),
            Outputs::Values(_) => None,
        }
    }

    /// Number of features.
    #[getter]
    fn n_features(&self) -> usize {
        self.core.n_features()
    }

    /// Bytes of memory.
    #[getter]
    fn nbytes(&self) -> usize {
        self.core.nbytes()
    }

    /// Read-only copies of the arrays by name, all trees concatenated.
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let arrays = self.core.arrays();
        let nodes = &arrays.nodes;
        let dict = PyDict::new(py);
        macro_rules! put {
            ($name:literal, $values:expr) => {
                dict.set_item($name, frozen($values.clone().into_pyarray(py)))?
            };
        }
        put!("offsets", arrays.offsets);
        put!("left", nodes.left);
        put!("right", nodes.right);
        put!("feature", nodes.feature);
        put!("threshold", nodes.threshold);
        put!("missing_left", nodes.missing_left);
        put!("impurity", nodes.impurity);
        put!("n_node_samples", nodes.n_node_samples);
        put!("weighted_n_node_samples", nodes.weighted_n_node_samples);
        put!("category_offsets", nodes.category_offsets);
        put!("category_bits", nodes.category_bits);
        let value = matrix(py, nodes.value.clone(), nodes.len(), self.core.width())?;
        dict.set_item("value", frozen(value))?;
        Ok(dict)
    }

    /// Pickles as a call of `from_arrays`, so that unpickling checks the arrays.
    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let core = &slf.get().core;
        let rebuild = py.import("functools")?.getattr("partial")?.call(
            (
                slf.get_type().getattr("from_arrays")?,
                slf.get().class_counts(),
                core.n_features(),
            ),
            Some(&slf.get().arrays(py)?),
        )?;
        Ok((rebuild, PyTuple::empty(py)))
    }

    /// Checks the arrays and copies them.
    #[staticmethod]
    #[pyo3(signature = (n_classes, n_features, *, offsets, left, right, feature, threshold,
        missing_left, impurity, n_node_samples, weighted_n_node_samples, value,
        category_offsets, category_bits))]
    fn from_arrays(
        n_classes: Option<Classes>,
        n_features: usize,
        offsets: PyReadonlyArray1<'_, i64>,
        left: PyReadonlyArray1<'_, i32>,
        right: PyReadonlyArray1<'_, i32>,
        feature: PyReadonlyArray1<'_, i32>,
        threshold: PyReadonlyArray1<'_, f64>,
        missing_left: PyReadonlyArray1<'_, bool>,
        impurity: PyReadonlyArray1<'_, f64>,
        n_node_samples: PyReadonlyArray1<'_, i64>,
        weighted_n_node_samples: PyReadonlyArray1<'_, f64>,
        value: PyReadonlyArray2<'_, f64>,
        category_offsets: PyReadonlyArray1<'_, i64>,
        category_bits: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<Self> {
        let outputs = match n_classes {
            Some(counts) => Outputs::Classes(counts.counts()),
            None => Outputs::Values(value.shape()[1]),
        };
        expect_len("value", value.shape()[1], outputs.width())?;
        let arrays = ModelArrays {
            offsets: slice("offsets", &offsets)?.to_vec(),
            nodes: TreeArrays {
                left: slice("left", &left)?.to_vec(),
                right: slice("right", &right)?.to_vec(),
                feature: slice("feature", &feature)?.to_vec(),
                threshold: slice("threshold", &threshold)?.to_vec(),
                missing_left: slice("missing_left", &missing_left)?.to_vec(),
                impurity: slice("impurity", &impurity)?.to_vec(),
                n_node_samples: slice("n_node_samples", &n_node_samples)?.to_vec(),
                weighted_n_node_samples: slice(
                    "weighted_n_node_samples",
                    &weighted_n_node_samples,
                )?
                .to_vec(),
                value: slice("value", &value)?.to_vec(),
                category_offsets: slice("category_offsets", &category_offsets)?.to_vec(),
                category_bits: slice("category_bits", &category_bits)?.to_vec(),
            },
        };
        let core = Core::from_arrays(outputs, n_features, arrays).map_err(to_py)?;
        Ok(ForestModel { core })
    }

    /// The trees of all models, in their order.
    #[staticmethod]
    fn concat(models: Vec<PyRef<'_, ForestModel>>) -> PyResult<Self> {
        let cores: Vec<&Core> = models.iter().map(|model| &model.core).collect();
        let core = Core::concat(&cores).map_err(to_py)?;
        Ok(ForestModel { core })
    }

    /// One tree as a model of its own.
    fn tree(&self, index: usize) -> PyResult<Self> {
        let core = self.core.tree(index).map_err(to_py)?;
        Ok(ForestModel { core })
    }

    /// Class probabilities of each row, those of several outputs side by side.
    #[pyo3(signature = (x, *, voting, n_threads))]
    fn predict_proba<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f32>,
        voting: &str,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.expect_width(&x)?;
        let voting = self::voting(voting)?;
        let rows = x.shape()[0];
        let x = slice("X", &x)?;
        let proba = gate::sized(py, n_threads, self.cost(rows), |control| {
            self.core.predict_proba(x, rows, voting, control)
        })?;
        matrix(py, proba, rows, self.core.width())
    }

    /// The mean of all trees of the numbers in each row's leaf.
    #[pyo3(signature = (x, *, n_threads))]
    fn predict_values<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f32>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.expect_width(&x)?;
        let rows = x.shape()[0];
        let x = slice("X", &x)?;
        let values = gate::sized(py, n_threads, self.cost(rows), |control| {
            self.core.predict_values(x, rows, control)
        })?;
        matrix(py, values, rows, self.core.width())
    }

    /// The most probable class of each row, the first of equal ones; a matrix where there are
    /// several outputs.
    #[pyo3(signature = (x, *, voting, n_threads))]
    fn predict_codes<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f32>,
        voting: &str,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.expect_width(&x)?;
        let voting = self::voting(voting)?;
        let rows = x.shape()[0];
        let x = slice("X", &x)?;
        let codes = gate::sized(py, n_threads, self.cost(rows), |control| {
            self.core.predict_codes(x, rows, voting, control)
        })?;
        let outputs = self.core.outputs().len();
        if outputs == 1 {
            return Ok(codes.into_pyarray(py).into_any());
        }
        Ok(matrix(py, codes, rows, outputs)?.into_any())
    }

    /// The leaf of each row in each tree, numbered within the tree.
    #[pyo3(signature = (x, *, n_threads))]
    fn apply<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f32>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<i64>>> {
        self.expect_width(&x)?;
        let rows = x.shape()[0];
        let x = slice("X", &x)?;
        let leaves = gate::sized(py, n_threads, self.cost(rows), |control| {
            self.core.apply(x, rows, control)
        })?;
        matrix(py, leaves, rows, self.core.n_trees())
    }
}
