//! Support vector machines.

pub mod kernel;
pub mod linear;
