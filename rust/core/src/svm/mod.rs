//! Support vector machines.

pub mod linear;
