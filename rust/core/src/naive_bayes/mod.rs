//! Naive Bayes classifiers.

pub mod categorical;
pub mod discrete;
pub mod discrete_model;
pub mod gaussian;
pub mod gaussian_sparse;
pub mod rows;
