//! Python bindings of ironlearn: conversions only, one file a subject.

use pyo3::prelude::*;

/// The native module `ironlearn._core`.
#[pymodule]
mod _core {}
