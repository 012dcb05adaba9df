//! Borrowing NumPy arrays: views where they fit, an error where they do not, never a copy.

use ironlearn_core::error::Error;
use numpy::{
    Element, PyArray, PyArray1, PyArrayMethods, PyReadonlyArray, PyReadonlyArray1,
    PyReadonlyArray2, PyReadwriteArray, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::errors::to_py;

/// A matrix of either float type.
#[derive(FromPyObject)]
pub enum FloatMatrix<'py> {
    /// float32
    F32(PyReadonlyArray2<'py, f32>),
    /// float64
    F64(PyReadonlyArray2<'py, f64>),
}

/// The C-contiguous elements of `array`, or an error that names it.
pub fn slice<'a, T: Element, D: numpy::ndarray::Dimension>(
    name: &'static str,
    array: &'a PyReadonlyArray<'_, T, D>,
) -> PyResult<&'a [T]> {
    let error = || {
        to_py(Error::Shape {
            name,
            given: format!("strides {:?}", array.strides()),
            expected: "a C-contiguous array".into(),
        })
    };
    if !array.is_c_contiguous() {
        return Err(error());
    }
    array.as_slice().map_err(|_| error())
}

/// The C-contiguous elements of an `array` to write to, or an error that names it.
pub fn slice_mut<'a, T: Element, D: numpy::ndarray::Dimension>(
    name: &'static str,
    array: &'a mut PyReadwriteArray<'_, T, D>,
) -> PyResult<&'a mut [T]> {
    let error = to_py(Error::Shape {
        name,
        given: format!("strides {:?}", array.strides()),
        expected: "a C-contiguous array".into(),
    });
    if !array.is_c_contiguous() {
        return Err(error);
    }
    array.as_slice_mut().map_err(|_| error)
}

/// An error unless `array` has `expected` elements.
pub fn expect_len(name: &'static str, given: usize, expected: usize) -> PyResult<()> {
    if given == expected {
        Ok(())
    } else {
        Err(to_py(Error::Shape {
            name,
            given: format!("{given} elements"),
            expected: format!("{expected}"),
        }))
    }
}

/// The elements of an optional vector of `expected` elements.
pub fn optional<'a, T: Element>(
    name: &'static str,
    array: Option<&'a PyReadonlyArray1<'_, T>>,
    expected: usize,
) -> PyResult<Option<&'a [T]>> {
    array
        .map(|array| {
            let elements = slice(name, array)?;
            expect_len(name, elements.len(), expected)?;
            Ok(elements)
        })
        .transpose()
}

/// Marks `array` read-only and returns it: what fitted models show of themselves.
pub fn frozen<'py, T: Element, D: numpy::ndarray::Dimension>(
    array: Bound<'py, PyArray<T, D>>,
) -> Bound<'py, PyArray<T, D>> {
    array.readwrite().make_nonwriteable();
    array
}

/// `values` as a matrix of `columns` columns.
pub fn matrix<'py, T: Element>(
    py: Python<'py>,
    values: Vec<T>,
    rows: usize,
    columns: usize,
) -> PyResult<Bound<'py, PyArray<T, numpy::Ix2>>> {
    PyArray1::from_vec(py, values).reshape([rows, columns])
}
