//! Operations of neural networks: kernels over whole batches, in parallel.

pub mod optimizer;
pub mod conv;
pub mod gemm;
pub mod pool;
mod scratch;
