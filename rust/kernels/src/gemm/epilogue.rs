//! What is done to a product before it is written.

use super::lanes::Lanes;
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
    /// `x` held between 0 and 6
    Relu6,
}

/// What a leaky rectifier multiplies negative numbers by.
pub const LEAKY_SLOPE: f32 = 0.01;
/// What [`Activation::Relu6`] ends at.
const SIX: f32 = 6.0;

impl Activation {
    /// Every activation.
    pub const ALL: [Activation; 7] = [
        Activation::Linear,
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Elu,
        Activation::Relu6,
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
            Activation::Relu6 => "relu6",
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
            Activation::Relu6 => x.clamp(0.0, SIX),
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
            Activation::Relu6 => f32::from(y > 0.0 && y < SIX),
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
            Activation::Relu6 => Unary::Relu6,
        };
        activate_in_place(tier, kind, x);
    }

    /// True where the microkernel applies it in registers.
    pub(crate) fn in_registers(self) -> bool {
        matches!(
            self,
            Activation::Linear | Activation::Relu | Activation::LeakyRelu | Activation::Relu6
        )
    }

    /// What of it the microkernel does; nothing unless [`Activation::in_registers`].
    pub(crate) fn bend(self) -> Bend {
        match self {
            Activation::Relu => Bend {
                slope: 0.0,
                ..Bend::NONE
            },
            Activation::LeakyRelu => Bend {
                slope: LEAKY_SLOPE,
                ..Bend::NONE
            },
            Activation::Relu6 => Bend {
                slope: 0.0,
                most: SIX,
            },
            _ => Bend::NONE,
        }
    }
}

/// What a rectifier does to sums that are in registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bend {
    /// A negative number is multiplied by this (0: rectifier, 1: nothing happens).
    pub slope: f32,
    /// None is larger than this.
    pub most: f32,
}

impl Bend {
    /// Nothing.
    pub const NONE: Bend = Bend {
        slope: 1.0,
        most: f32::INFINITY,
    };

    /// The rectifier of a register.
    ///
    /// # Safety
    /// The tier of `V` is there.
    #[inline(always)]
    pub unsafe fn of<V: Lanes>(self, mut x: V) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            if self.slope == 0.0 {
                // In this order NaN stays.
                x = V::zero().max(x);
            } else if self.slope != 1.0 {
                x = V::splat(self.slope).mul(x).max(x);
            }
            if self.most < f32::INFINITY {
                x = V::splat(self.most).min(x);
            }
            x
        }
    }

    /// The rectifier of a number.
    #[inline]
    pub fn of_one(self, x: f32) -> f32 {
        let x = if x < 0.0 { x * self.slope } else { x };
        if x > self.most { self.most } else { x }
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
