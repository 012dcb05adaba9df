//! Naive Bayes classifiers.

pub mod gaussian;
