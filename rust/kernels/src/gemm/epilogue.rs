//! What is done to a product before it is written.

use crate::pointwise::{Unary, activate_in_place};
use crate::tier::Tier;

/// An activation whose derivative follows from its output, so that a layer may fuse it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x`
    #[default]
    Linear,
    /// `max(x, 0)`
    Relu,
    /// `x`, or `0.01 x` where it is negative
    LeakyRelu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
    /// `x`, or `exp(x) - 1` where it is negative
    Elu,
}

/// What a leaky rectifier multiplies negative numbers by.
pub const LEAKY_SLOPE: f32 = 0.01;

impl Activation {
    /// Every activation.
    pub const ALL: [Activation; 6] = [
        Activation::Linear,
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Elu,
    ];

    /// Its name in Python.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Linear => "linear",
            Activation::Relu => "relu",
            Activation::LeakyRelu => "leaky_relu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Elu => "elu",
        }
    }

    /// The activation of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Activation> {
        Activation::ALL.into_iter().find(|a| a.name() == name)
    }

    /// Its value at `x`.
    #[inline]
    pub fn of(self, x: f32) -> f32 {
        match self {
            Activation::Linear => x,
            // `f32::max` would turn NaN into 0.
            Activation::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Activation::LeakyRelu => {
                if x < 0.0 {
                    LEAKY_SLOPE * x
                } else {
                    x
                }
            }
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
            Activation::Elu => {
                if x < 0.0 {
                    x.exp_m1()
                } else {
                    x
                }
            }
        }
    }

    /// Its derivative where its output is `y`.
    #[inline]
    pub fn slope(self, y: f32) -> f32 {
        match self {
            Activation::Linear => 1.0,
            Activation::Relu => f32::from(y > 0.0),
            Activation::LeakyRelu => {
                if y > 0.0 {
                    1.0
                } else {
                    LEAKY_SLOPE
                }
            }
            Activation::Sigmoid => y * (1.0 - y),
            Activation::Tanh => 1.0 - y * y,
            Activation::Elu => {
                if y > 0.0 {
                    1.0
                } else {
                    y + 1.0
                }
            }
        }
    }

    /// Applies it to each number.
    pub fn apply(self, tier: Tier, x: &mut [f32]) {
        let kind = match self {
            Activation::Linear => return,
            Activation::Relu => Unary::Relu,
            Activation::LeakyRelu => Unary::LeakyRelu,
            Activation::Sigmoid => Unary::Sigmoid,
            Activation::Tanh => Unary::Tanh,
            Activation::Elu => Unary::Elu,
        };
        activate_in_place(tier, kind, x);
    }

    /// True where the microkernel applies it in registers.
    pub(crate) fn in_registers(self) -> bool {
        matches!(
            self,
            Activation::Linear | Activation::Relu | Activation::LeakyRelu
        )
    }
}

/// What is done to a product before it is written: `act(product + bias)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added to each row of the product; one number a column.
    pub bias: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

impl<'a> Epilogue<'a> {
    /// Nothing.
    pub const NONE: Epilogue<'static> = Epilogue {
        bias: None,
        activation: Activation::Linear,
    };

    /// The part that belongs to `columns` of the product.
    pub fn columns(&self, columns: std::ops::Range<usize>) -> Epilogue<'a> {
        Epilogue {
            bias: self.bias.map(|bias| &bias[columns]),
            activation: self.activation,
        }
    }
}
