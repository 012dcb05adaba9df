//! Binding of the tree of bisecting k-means.

use crate::arrays::{FloatMatrix, expect_len, frozen, matrix, slice};
use crate::errors::to_py;
use crate::gate;
use crate::kmeans::{AnyArray, AnyRows, FloatVector, WIDE, places};
use ironlearn_core::kmeans::{BisectingTree as Core, Fork, SparseRows};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// Forks, each with a plane that lies between two centres.
#[pyclass(frozen, module = "ironlearn._core")]
pub struct BisectingTree {
    core: Core,
}

type Parts<'py> = (AnyArray<'py>, AnyArray<'py>, AnyArray<'py>);

#[pymethods]
impl BisectingTree {
    /// Checks the arrays and copies them; a child `c < 0` is the leaf `-1 - c`.
    #[staticmethod]
    fn from_arrays(
        children: PyReadonlyArray2<'_, i32>,
        normals: PyReadonlyArray2<'_, f64>,
        levels: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Self> {
        expect_len("children's second axis", children.shape()[1], 2)?;
        expect_len("normals", normals.shape()[0], children.shape()[0])?;
        let pairs = slice("children", &children)?.chunks_exact(2);
        let forks = pairs.map(|pair| Fork {
            left: pair[0],
            right: pair[1],
        });
        let core = Core::new(
            forks.collect(),
            slice("normals", &normals)?.to_vec(),
            slice("levels", &levels)?.to_vec(),
            normals.shape()[1],
        );
        Ok(BisectingTree {
            core: core.map_err(to_py)?,
        })
    }

    /// The arrays that `from_arrays` takes, read-only copies.
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Parts<'py>> {
        let (forks, d) = (self.core.forks(), self.core.features());
        let children = forks.iter().flat_map(|f| [f.left, f.right]).collect();
        Ok((
            frozen(matrix(py, children, forks.len(), 2)?).into_any(),
            frozen(matrix(py, self.core.normals().to_vec(), forks.len(), d)?).into_any(),
            frozen(self.core.levels().to_vec().into_pyarray(py)).into_any(),
        ))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(AnyArray<'py>, Parts<'py>)> {
        let rebuild = slf.get_type().getattr("from_arrays")?;
        Ok((rebuild, slf.get().arrays(slf.py())?))
    }

    /// The leaf of each row.
    #[pyo3(signature = (x, *, n_threads))]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        x: AnyRows<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let core = &self.core;
        // Forks on the way to a leaf, as if the tree were balanced.
        let depth = core.forks().len().max(1).ilog2() as usize + 1;
        macro_rules! dense {
            ($m:expr) => {{
                expect_len("X's second axis", $m.shape()[1], core.features())?;
                let x = slice("X", $m)?;
                let cost = x.len().saturating_mul(depth) / WIDE * 2;
                gate::sized(py, n_threads, cost, |control| core.predict(control, x))?
            }};
        }
        macro_rules! sparse {
            ($csr:expr, $d:expr) => {{
                let (indices, indptr) = places(&$csr.1, &$csr.2)?;
                let (data, features) = (slice("X.data", $d)?, $csr.3);
                let cost = data.len().saturating_mul(depth);
                gate::sized(py, n_threads, cost, |control| {
                    let rows =
                        SparseRows::unmeasured(control, data, indices, indptr, features, None)?;
                    core.predict_sparse(control, &rows)
                })?
            }};
        }
        let leaves = match &x {
            AnyRows::Dense(FloatMatrix::F32(m)) => dense!(m),
            AnyRows::Dense(FloatMatrix::F64(m)) => dense!(m),
            AnyRows::Sparse(csr) => match &csr.0 {
                FloatVector::F32(d) => sparse!(csr, d),
                FloatVector::F64(d) => sparse!(csr, d),
            },
        };
        Ok(leaves.into_pyarray(py))
    }
}
