//! SIMD loops: slices in, slices out.
//!
//! This is the only crate of the workspace with `unsafe` code. Each kernel has a plain
//! implementation that defines its answer and, where it pays, a vector version chosen at
//! run time through [`tier::Tier`].

pub mod buffer;
pub mod bytes;
pub mod cells;
pub mod classes;
pub mod codes;
pub mod conv;
pub mod convpool;
pub mod denormal;
pub mod distance;
pub mod gather;
pub mod gemm;
pub mod kernel_rows;
pub mod linear;
pub mod moments;
pub mod norm;
pub mod optimizer;
pub mod pieces;
pub mod pointwise;
pub mod pool;
pub mod recurrent;
pub mod softmax;
pub mod split;
pub mod sums;
pub mod tier;
pub mod vmath;
