//! Parallel drivers of the neural networks' kernels, one file a family.

pub mod recurrent;
