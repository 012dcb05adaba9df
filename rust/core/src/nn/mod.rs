//! Parallel drivers of the neural networks' kernels, one file a family.

pub mod recurrent;
//! Operations of neural networks: kernels over whole batches, in parallel.

pub mod optimizer;
