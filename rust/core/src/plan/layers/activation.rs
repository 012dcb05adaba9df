//! Activations as layers of their own.

use crate::error::Result;
use crate::plan::layer::{Layer, Pass, Weights, Workspace, invalid};
use ironlearn_kernels::pointwise::{Unary, activate, activate_backward};
use ironlearn_kernels::tier;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Elementwise(Unary),
    /// exp(x) over its sum along the last axis
    Softmax,
}

/// An element-wise function, or the softmax over the last axis.
#[derive(Clone, Debug)]
pub struct Activate {
    function: Function,
    shape: Vec<usize>,
}

impl Activate {
    /// The function of that name.
    pub fn new(layer: usize, input: &[usize], name: &str) -> Result<Self> {
        let function = match Unary::from_name(name) {
            Some(unary) => Function::Elementwise(unary),
            None if name == "softmax" => Function::Softmax,
            None => {
                let names: Vec<&str> = Unary::ALL.iter().map(|(_, name)| *name).collect();
                let expected = format!("one of {}, softmax", names.join(", "));
                let given = format!("{name:?}");
                return Err(invalid(layer, "activation", "name", &given, &expected));
            }
        };
        Ok(Activate {
            function,
            shape: input.to_vec(),
        })
    }
}

/// The softmax of each row of `width`, in place.
pub fn softmax(rows: &mut [f32], width: usize) {
    for row in rows.chunks_exact_mut(width) {
        let top = row.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
        let mut sum = 0.0;
        for v in row.iter_mut() {
            *v = (*v - top).exp();
            sum += *v;
        }
        for v in row.iter_mut() {
            *v /= sum;
        }
    }
}

impl Layer for Activate {
    fn kind(&self) -> &'static str {
        "activation"
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn forward(
        &self,
        _pass: &Pass,
        _weights: &Weights,
        input: &[f32],
        output: &mut [f32],
        _work: &mut Workspace,
    ) {
        match self.function {
            Function::Elementwise(unary) => activate(tier::active(), unary, input, output),
            Function::Softmax => {
                output.copy_from_slice(input);
                softmax(output, self.shape.last().copied().unwrap_or(1).max(1));
            }
        }
    }

    fn backward(
        &self,
        _pass: &Pass,
        _weights: &Weights,
        input: &[f32],
        output: &[f32],
        gout: &mut [f32],
        gin: Option<&mut [f32]>,
        _grads: &mut [f32],
        _work: &mut Workspace,
    ) {
        let Some(gin) = gin else { return };
        match self.function {
            Function::Elementwise(unary) => {
                let from = if unary.slope_from_output() {
                    output
                } else {
                    input
                };
                activate_backward(tier::active(), unary, gout, from, gin);
            }
            Function::Softmax => {
                let width = self.shape.last().copied().unwrap_or(1).max(1);
                let rows = output.chunks_exact(width).zip(gout.chunks_exact(width));
                for (o, (y, g)) in gin.chunks_exact_mut(width).zip(rows) {
                    let dot: f32 = y.iter().zip(g).map(|(y, g)| y * g).sum();
                    for ((o, y), g) in o.iter_mut().zip(y).zip(g) {
                        *o = y * (g - dot);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::layers::check::{Case, check};

    #[test]
    fn gradients_agree_with_differences() {
        let names = [
            "relu",
            "leaky_relu",
            "tanh",
            "sigmoid",
            "elu",
            "linear",
            "softmax",
        ];
        for name in names
            .into_iter()
            .chain(["gelu", "gelu_tanh", "silu", "softplus"])
        {
            let layer = Activate::new(0, &[3, 4], name).unwrap();
            check(&Case::new(&layer, &[3, 4]), |_, x| match name {
                "softmax" => x
                    .chunks_exact(4)
                    .flat_map(|row| {
                        let sum: f64 = row.iter().map(|v| v.exp()).sum();
                        row.iter().map(move |v| v.exp() / sum)
                    })
                    .collect(),
                _ => x
                    .iter()
                    .map(|&x| match name {
                        "relu" => x.max(0.0),
                        "leaky_relu" => {
                            if x < 0.0 {
                                0.01 * x
                            } else {
                                x
                            }
                        }
                        "tanh" => x.tanh(),
                        "sigmoid" => 1.0 / (1.0 + (-x).exp()),
                        "elu" => {
                            if x < 0.0 {
                                x.exp_m1()
                            } else {
                                x
                            }
                        }
                        "gelu_tanh" => {
                            let inner =
                                (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                            0.5 * x * (1.0 + inner.tanh())
                        }
                        "gelu" => {
                            // The distribution function by its series about 0.
                            let (mut term, mut sum) = (x, x);
                            for n in 1..40 {
                                term *= -x * x / (2.0 * f64::from(n));
                                sum += term / (2.0 * f64::from(n) + 1.0);
                            }
                            x * (0.5 + sum / (2.0 * std::f64::consts::PI).sqrt())
                        }
                        "silu" => x / (1.0 + (-x).exp()),
                        "softplus" => x.exp().ln_1p(),
                        _ => x,
                    })
                    .collect(),
            });
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        let error = Activate::new(1, &[2], "swash").unwrap_err();
        assert!(error.to_string().contains("swash"), "{error}");
    }
}
