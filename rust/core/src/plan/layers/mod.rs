//! The layers of a plan that are short loops.

pub mod activation;
pub mod batch_norm;
pub mod dense;
pub mod dropout;
pub mod embedding;
pub mod pool;

#[cfg(test)]
pub(crate) mod check;
