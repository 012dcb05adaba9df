//! One exhaustive map from algorithm errors to Python exceptions.

use ironlearn_core::error::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyKeyboardInterrupt, PyValueError};

/// The Python exception for `error`.
pub fn to_py(error: Error) -> PyErr {
    match error {
        Error::InvalidParameter { .. }
        | Error::Shape { .. }
        | Error::NonFinite { .. }
        | Error::TooLarge { .. } => PyValueError::new_err(error.to_string()),
        Error::Interrupted => PyKeyboardInterrupt::new_err(()),
    }
}
