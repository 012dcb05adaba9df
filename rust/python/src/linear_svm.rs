//! Bindings of linear support vector classification and regression.

use crate::arrays::{FloatMatrix, expect_len, frozen, matrix, slice};
use crate::errors::to_py;
use crate::gate;
use ironlearn_core::error::{Error, Result};
use ironlearn_core::parallel::Control;
use ironlearn_core::svm::linear::{self, Csr, Dense, Design, LinearModel as Core};
use ironlearn_core::svm::linear::{Deviation, Fit, Objective, Settings, Start};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// Elements of a CSR matrix.
#[derive(FromPyObject)]
pub(crate) enum Values<'py> {
    F32(PyReadonlyArray1<'py, f32>),
    F64(PyReadonlyArray1<'py, f64>),
}

/// Indices or pointers of a CSR matrix.
#[derive(FromPyObject)]
pub(crate) enum Indices<'py> {
    I32(PyReadonlyArray1<'py, i32>),
    I64(PyReadonlyArray1<'py, i64>),
}

/// A dense matrix, or (data, indices, indptr, n_features) of a CSR matrix.
#[derive(FromPyObject)]
pub(crate) enum Rows<'py> {
    #[pyo3(transparent)]
    Dense(FloatMatrix<'py>),
    Sparse(Values<'py>, Indices<'py>, Indices<'py>, usize),
}

/// Work over rows of any kind.
trait Work: Send {
    type Answer: Send;
    fn run<D: Design>(self, control: &Control, x: &D) -> Result<Self::Answer>;
}

impl Rows<'_> {
    /// Validates the rows inside the gate and runs `work` on them. `cost` turns the number of
    /// stored elements into that of elementary operations.
    fn run<W: Work>(
        &self,
        py: Python<'_>,
        threads: usize,
        bias: Option<f64>,
        cost: impl FnOnce(usize) -> usize,
        work: W,
    ) -> PyResult<W::Answer> {
        macro_rules! dense {
            ($x:expr) => {{
                let (rows, features) = ($x.shape()[0], $x.shape()[1]);
                let x = slice("X", $x)?;
                gate::sized(py, threads, cost(x.len()), |control| {
                    work.run(control, &Dense::new(control, x, rows, features, bias)?)
                })
            }};
        }
        macro_rules! sparse {
            ($data:expr, $indices:expr, $indptr:expr, $features:expr) => {{
                let data = slice("X.data", $data)?;
                let indices = slice("X.indices", $indices)?;
                let indptr = slice("X.indptr", $indptr)?;
                gate::sized(py, threads, cost(data.len() + indptr.len()), |control| {
                    let x = Csr::new(control, data, indices, indptr, *$features, bias)?;
                    work.run(control, &x)
                })
            }};
        }
        match self {
            Rows::Dense(FloatMatrix::F32(x)) => dense!(x),
            Rows::Dense(FloatMatrix::F64(x)) => dense!(x),
            Rows::Sparse(data, indices, indptr, features) => match (data, indices, indptr) {
                (Values::F32(x), Indices::I32(i), Indices::I32(p)) => sparse!(x, i, p, features),
                (Values::F32(x), Indices::I64(i), Indices::I64(p)) => sparse!(x, i, p, features),
                (Values::F64(x), Indices::I32(i), Indices::I32(p)) => sparse!(x, i, p, features),
                (Values::F64(x), Indices::I64(i), Indices::I64(p)) => sparse!(x, i, p, features),
                _ => Err(to_py(Error::Shape {
                    name: "X (CSR)",
                    given: "indices and indptr of different dtypes".into(),
                    expected: "one dtype, int32 or int64,".into(),
                })),
            },
        }
    }

    fn width(&self) -> usize {
        match self {
            Rows::Dense(FloatMatrix::F32(x)) => x.shape()[1],
            Rows::Dense(FloatMatrix::F64(x)) => x.shape()[1],
            Rows::Sparse(.., features) => *features,
        }
    }
}

struct FitWork<'a> {
    codes: &'a [u32],
    cost: &'a [f64],
    class_weight: &'a [f64],
    objective: Objective,
    settings: Settings,
    start: Start<'a>,
}

impl Work for FitWork<'_> {
    type Answer = Fit;
    fn run<D: Design>(self, control: &Control, x: &D) -> Result<Fit> {
        linear::fit(
            control,
            x,
            self.codes,
            self.cost,
            self.class_weight,
            self.objective,
            &self.settings,
            self.start,
        )
    }
}

struct TargetsWork<'a> {
    y: &'a [f64],
    cost: &'a [f64],
    epsilon: f64,
    deviation: Deviation,
    settings: Settings,
    start: Start<'a>,
}

impl Work for TargetsWork<'_> {
    type Answer = Fit;
    fn run<D: Design>(self, control: &Control, x: &D) -> Result<Fit> {
        linear::fit_targets(
            control,
            x,
            self.y,
            self.cost,
            self.epsilon,
            self.deviation,
            &self.settings,
            self.start,
        )
    }
}

/// Weights and dual variables where an earlier fit ended.
type Origin<'py> = (PyReadonlyArray2<'py, f64>, PyReadonlyArray1<'py, f64>);

fn start<'a>(origin: Option<&'a Origin>) -> PyResult<Start<'a>> {
    Ok(match origin {
        Some((weights, duals)) => Start {
            weights: slice("start", weights)?,
            duals: slice("start", duals)?,
        },
        None => Start::default(),
    })
}

fn check_bias(bias: Option<f64>) -> PyResult<()> {
    match bias {
        Some(bias) if !(bias.is_finite() && bias > 0.0) => Err(to_py(Error::InvalidParameter {
            name: "intercept_scaling",
            given: bias.to_string(),
            expected: "a finite number above 0".into(),
        })),
        _ => Ok(()),
    }
}

fn answer<'py>(py: Python<'py>, fit: Fit, width: usize) -> PyResult<FitAnswer<'py>> {
    let rows = fit.weights.len() / width.max(1);
    let iterations: Vec<i64> = fit.iterations.iter().map(|&n| n as i64).collect();
    Ok((
        matrix(py, fit.weights, rows, width)?,
        iterations.into_pyarray(py),
        fit.objectives.into_pyarray(py),
        fit.converged,
        fit.duals.into_pyarray(py),
    ))
}

fn objective(name: &str) -> PyResult<Objective> {
    Ok(match name {
        "squared_hinge" => Objective::SquaredHinge { dual: false },
        "squared_hinge_dual" => Objective::SquaredHinge { dual: true },
        "hinge" => Objective::Hinge,
        "l1_squared_hinge" => Objective::L1SquaredHinge,
        "crammer_singer" => Objective::CrammerSinger,
        _ => {
            return Err(to_py(Error::InvalidParameter {
                name: "objective",
                given: format!("{name:?}"),
                expected: "'squared_hinge', 'squared_hinge_dual', 'hinge', 'l1_squared_hinge' or \
                           'crammer_singer'"
                    .into(),
            }));
        }
    })
}

type FitAnswer<'py> = (
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
    bool,
    Bound<'py, PyArray1<f64>>,
);

/// Weights (the last one of each row is the constant feature's if `bias` is given), steps and
/// objective of each problem, whether all converged, and dual variables or none. A start holds
/// weights and dual variables, either may be empty.
#[pyfunction]
#[pyo3(signature = (x, y, sample_cost, class_weight, *, objective, bias, tol, max_iter, seed,
                    n_threads, start=None))]
pub fn linear_svm_fit<'py>(
    py: Python<'py>,
    x: Rows<'py>,
    y: PyReadonlyArray1<'py, u32>,
    sample_cost: PyReadonlyArray1<'py, f64>,
    class_weight: PyReadonlyArray1<'py, f64>,
    objective: &str,
    bias: Option<f64>,
    tol: f64,
    max_iter: usize,
    seed: u64,
    n_threads: usize,
    start: Option<Origin<'py>>,
) -> PyResult<FitAnswer<'py>> {
    check_bias(bias)?;
    let work = FitWork {
        codes: slice("y", &y)?,
        cost: slice("sample_cost", &sample_cost)?,
        class_weight: slice("class_weight", &class_weight)?,
        objective: self::objective(objective)?,
        settings: Settings {
            tol,
            max_iter,
            seed,
        },
        start: self::start(start.as_ref())?,
    };
    let width = x.width() + usize::from(bias.is_some());
    let classes = work.class_weight.len();
    let fit = x.run(
        py,
        n_threads,
        bias,
        |stored| stored.saturating_mul(20 * classes),
        work,
    )?;
    answer(py, fit, width)
}

/// As [`linear_svm_fit`], of one weight vector for targets.
#[pyfunction]
#[pyo3(signature = (x, y, sample_cost, *, objective, epsilon, bias, tol, max_iter, seed,
                    n_threads, start=None))]
pub fn linear_svr_fit<'py>(
    py: Python<'py>,
    x: Rows<'py>,
    y: PyReadonlyArray1<'py, f64>,
    sample_cost: PyReadonlyArray1<'py, f64>,
    objective: &str,
    epsilon: f64,
    bias: Option<f64>,
    tol: f64,
    max_iter: usize,
    seed: u64,
    n_threads: usize,
    start: Option<Origin<'py>>,
) -> PyResult<FitAnswer<'py>> {
    check_bias(bias)?;
    let deviation = match objective {
        "epsilon_insensitive" => Deviation::Plain,
        "squared_epsilon_insensitive" => Deviation::Squared { dual: false },
        "squared_epsilon_insensitive_dual" => Deviation::Squared { dual: true },
        _ => {
            return Err(to_py(Error::InvalidParameter {
                name: "objective",
                given: format!("{objective:?}"),
                expected: "'epsilon_insensitive', 'squared_epsilon_insensitive' or \
                           'squared_epsilon_insensitive_dual'"
                    .into(),
            }));
        }
    };
    let work = TargetsWork {
        y: slice("y", &y)?,
        cost: slice("sample_cost", &sample_cost)?,
        epsilon,
        deviation,
        settings: Settings {
            tol,
            max_iter,
            seed,
        },
        start: self::start(start.as_ref())?,
    };
    let width = x.width() + usize::from(bias.is_some());
    let cost = |stored: usize| stored.saturating_mul(20);
    let fit = x.run(py, n_threads, bias, cost, work)?;
    answer(py, fit, width)
}

struct Decision<'a>(&'a Core);

impl Work for Decision<'_> {
    type Answer = Vec<f64>;
    fn run<D: Design>(self, control: &Control, x: &D) -> Result<Vec<f64>> {
        self.0.decision(control, x)
    }
}

struct Predict<'a>(&'a Core);

impl Work for Predict<'_> {
    type Answer = Vec<i64>;
    fn run<D: Design>(self, control: &Control, x: &D) -> Result<Vec<i64>> {
        self.0.predict(control, x)
    }
}

/// A fitted linear classifier or regressor.
#[pyclass(frozen, module = "ironlearn._core")]
pub struct LinearModel {
    core: Core,
}

type Arrays<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>);

#[pymethods]
impl LinearModel {
    /// Checks the arrays and copies them.
    #[staticmethod]
    fn from_arrays(
        coef: PyReadonlyArray2<'_, f64>,
        intercept: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Self> {
        expect_len("intercept", intercept.len(), coef.shape()[0])?;
        let core = Core::new(
            slice("coef", &coef)?.to_vec(),
            slice("intercept", &intercept)?.to_vec(),
            coef.shape()[1],
        )
        .map_err(to_py)?;
        Ok(LinearModel { core })
    }

    /// The arrays that `from_arrays` takes, read-only copies.
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Arrays<'py>> {
        let coef = self.core.coef().to_vec();
        Ok((
            frozen(matrix(py, coef, self.core.outputs(), self.core.features())?),
            frozen(self.core.intercept().to_vec().into_pyarray(py)),
        ))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Arrays<'py>)> {
        let rebuild = slf.get_type().getattr("from_arrays")?;
        Ok((rebuild, slf.get().arrays(slf.py())?))
    }

    /// Scores of each row: one column for two classes or for targets, else one a class.
    #[pyo3(signature = (x, *, n_threads))]
    fn decision_function<'py>(
        &self,
        py: Python<'py>,
        x: Rows<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let k = self.core.outputs();
        let cost = |stored: usize| stored.saturating_mul(k);
        let out = x.run(py, n_threads, None, cost, Decision(&self.core))?;
        let rows = out.len() / k;
        matrix(py, out, rows, k)
    }

    /// The code of the class with the highest score of each row.
    #[pyo3(signature = (x, *, n_threads))]
    fn predict_codes<'py>(
        &self,
        py: Python<'py>,
        x: Rows<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let k = self.core.outputs();
        let cost = |stored: usize| stored.saturating_mul(k);
        let out = x.run(py, n_threads, None, cost, Predict(&self.core))?;
        Ok(out.into_pyarray(py))
    }
}
