//! Algorithms of ironlearn, without Python.
//!
//! Everything is generic over `f32` and `f64`, takes slices, returns owned results or
//! [`error::Error`], and runs its parallel loops through [`parallel`].
#![forbid(unsafe_code)]

pub mod csr;
pub mod error;
pub mod float;
pub mod forest;
pub mod kmeans;
pub mod naive_bayes;
pub mod nn;
pub mod parallel;
pub mod plan;
pub mod rng;
pub mod svm;
mod team;
pub mod tree;
