//! Convolutions of single images (rows, columns, channels) on one thread.
//!
//! No matrix of patches is ever written: tiles of the product read their patches straight
//! from the image, or from a copy with zeros around it. The gradient with respect to the
//! image is a convolution of the output's gradient; with a stride it falls into one pass for
//! each remainder.

mod depthwise;
mod few;
mod inverted;
#[cfg(test)]
mod inverted_tests;
mod pass;
mod shape;
mod slopes;
#[cfg(test)]
mod tests;
mod weights;
mod window;
mod winograd;

pub use inverted::Block as InvertedResidual;
pub use pass::Conv;
pub use shape::ConvShape;
pub use slopes::slopes;
pub use weights::WeightGradient;
