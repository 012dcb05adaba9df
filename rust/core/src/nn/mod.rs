//! Operations of neural networks: kernels over whole batches, in parallel.

pub mod optimizer;
pub mod recurrent;
