//! LSTM, GRU and simple recurrent cells: one time step of a group of samples, forward and
//! backward, and the gradient of the weights.
//!
//! **Samples lie in the lanes.** The state of a group is a matrix `[unit][sample]`, so that
//! no width needs padding, every weight is a broadcast factor, and the gates of a unit meet
//! in registers, where the nonlinearities are applied. The number of samples is a multiple
//! of [`LANES`]; lanes without a sample hold zeros.
//!
//! What the backward pass needs of each step is kept by the caller:
//!
//! * `input`: [`Shape::rows`] rows, the step's features, a row of ones, the state before the
//!   step, a row of ones: one operand for the products with the weights and for their
//!   gradient;
//! * `gates`: for each unit its [`Cell::gates`] values;
//! * the LSTM's cell state before and after the step.
//!
//! Work on a range of units takes the whole `input` but only that range of all else, so that
//! threads can share a step whose weights fill the caches.
//!
//! The drivers in the core crate are where all parts meet; their tests compare every cell on
//! every tier with the definition in double precision.

mod backward;
mod forward;
mod gradient;
mod layout;
mod pack;
mod rows;

pub use backward::{Backward, pull_back, retreat};
pub use forward::{Forward, advance, project};
pub use gradient::{Operands, fill_panels, scatter_gradient, weight_gradient};
pub use layout::{from_lanes, into_lanes};
pub use pack::{pack_backward, pack_forward, row_block};
pub use rows::{FEW, FewRows, few_rows};

/// Samples in a group are a multiple of this.
pub const LANES: usize = 16;

/// Columns of one panel of the weights' gradient.
pub const PANEL: usize = 32;

/// Which recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Long short-term memory without peepholes; gates i, f, g, o.
    Lstm,
    /// Gated recurrent unit whose reset gate applies to the product with the state; gates
    /// z, r, n in the weights.
    Gru,
    /// `tanh(x W + h U + b)`.
    Tanh,
    /// The same with the positive part instead of the hyperbolic tangent.
    Relu,
}

impl Cell {
    /// Sums a unit has, and values that it keeps of a step: one more than weights for the
    /// GRU, which must keep the products of features and state with its candidate apart.
    pub fn gates(self) -> usize {
        match self {
            Cell::Lstm | Cell::Gru => 4,
            Cell::Tanh | Cell::Relu => 1,
        }
    }

    /// Weights that a unit has for each feature, and for each unit of the state.
    pub fn weights(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Tanh | Cell::Relu => 1,
        }
    }

    /// The first of the sums that the state takes part in; features begin at 0. The GRU's
    /// sums are candidate (features), z, r, candidate (state).
    fn state_offset(self) -> usize {
        usize::from(self == Cell::Gru)
    }

    /// Which block of columns of the weight matrix holds weight `a` of a unit.
    fn block(self, a: usize, state: bool) -> usize {
        if self == Cell::Gru && !state {
            [2, 0, 1][a]
        } else {
            a
        }
    }

    /// Units that forward loops take together, largest first.
    fn tiles(self) -> &'static [usize] {
        match self {
            Cell::Lstm | Cell::Gru => &[3, 2, 1],
            Cell::Tanh | Cell::Relu => &[12, 8, 4, 2, 1],
        }
    }

    /// Whether features and state have gradients of their own columns.
    pub fn split_columns(self) -> bool {
        self == Cell::Gru
    }
}

/// A layer's cell and widths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Which cell.
    pub cell: Cell,
    /// Features of each time step.
    pub features: usize,
    /// Units of the state.
    pub units: usize,
}

impl Shape {
    /// Rows of a step's `input`.
    pub fn rows(self) -> usize {
        self.features + self.units + 2
    }

    /// The row of `input` where the state begins.
    pub fn state_row(self) -> usize {
        self.features + 1
    }

    /// Columns of the weight matrices.
    pub fn columns(self) -> usize {
        self.cell.weights() * self.units
    }

    /// Panels of [`PANEL`] columns that hold them.
    pub fn panels(self) -> usize {
        self.columns().div_ceil(PANEL)
    }

    /// Elements a unit takes of what [`pack_forward`] makes.
    pub fn forward_width(self) -> usize {
        self.cell.gates() + (self.features + self.units) * self.cell.weights()
    }

    /// Elements of the weights: `(features + units) * columns`.
    pub fn weights(self) -> usize {
        (self.features + self.units) * self.columns()
    }
}

/// The tiles `(first unit, units)` of a range of units.
#[inline(always)]
fn tiles(cell: Cell, first: usize, count: usize) -> impl Iterator<Item = (usize, usize)> {
    let sizes = cell.tiles();
    let mut at = first;
    let end = first + count;
    std::iter::from_fn(move || {
        let size = *sizes.iter().find(|&&size| at + size <= end)?;
        at += size;
        Some((at - size, size))
    })
}
