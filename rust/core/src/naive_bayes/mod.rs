//! Naive Bayes classifiers.

pub mod categorical;
pub mod gaussian;
