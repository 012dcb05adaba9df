//! Activations as layers of their own.

use crate::error::Result;
use crate::plan::layer::{Layer, Pass, Weights, Workspace, invalid};
use crate::plan::layers::dense::through;
use ironlearn_kernels::gemm::Activation;
use ironlearn_kernels::tier;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    /// The derivative follows from the output.
    Fused(Activation),
    /// x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2
    Gelu,
    /// x sigmoid(x)
    Silu,
    /// log(1 + exp(x))
    Softplus,
    /// exp(x) over its sum along the last axis
    Softmax,
}

/// An element-wise function, or the softmax over the last axis.
#[derive(Clone, Debug)]
pub struct Activate {
    function: Function,
    shape: Vec<usize>,
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The tanh form of GELU (Hendrycks and Gimpel, arXiv:1606.08415): 1/2 + tanh(...)/2, and the
/// derivative of what is inside of tanh.
fn gate(x: f32) -> (f32, f32) {
    const ROOT: f32 = 0.797_884_6;
    const CUBIC: f32 = 0.044_715;
    let inner = (ROOT * (x + CUBIC * x * x * x)).tanh();
    (0.5 * (1.0 + inner), ROOT * (1.0 + 3.0 * CUBIC * x * x))
}

impl Activate {
    /// The function of that name.
    pub fn new(layer: usize, input: &[usize], name: &str) -> Result<Self> {
        let function = match name {
            "gelu" => Function::Gelu,
            "silu" => Function::Silu,
            "softplus" => Function::Softplus,
            "softmax" => Function::Softmax,
            _ => match Activation::from_name(name) {
                Some(fused) => Function::Fused(fused),
                None => {
                    let names = Activation::ALL.map(Activation::name).join(", ");
                    return Err(invalid(
                        layer,
                        "activation",
                        "name",
                        &format!("{name:?}"),
                        &format!("one of {names}, gelu, silu, softplus, softmax"),
                    ));
                }
            },
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
        let each = |f: &dyn Fn(f32) -> f32, output: &mut [f32]| {
            for (y, &x) in output.iter_mut().zip(input) {
                *y = f(x);
            }
        };
        match self.function {
            Function::Fused(fused) => {
                output.copy_from_slice(input);
                fused.apply(tier::active(), output);
            }
            Function::Gelu => each(&|x| x * gate(x).0, output),
            Function::Silu => each(&|x| x * sigmoid(x), output),
            Function::Softplus => each(&|x| x.max(0.0) + (-x.abs()).exp().ln_1p(), output),
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
        let each = |slope: &dyn Fn(f32) -> f32, gin: &mut [f32]| {
            for ((o, g), &x) in gin.iter_mut().zip(gout.iter()).zip(input) {
                *o = g * slope(x);
            }
        };
        match self.function {
            Function::Fused(fused) => {
                gin.copy_from_slice(gout);
                through(fused, output, gin);
            }
            Function::Gelu => each(
                &|x| {
                    let (half, slope) = gate(x);
                    // 1 - tanh² = 4 half (1 - half)
                    half + 2.0 * x * half * (1.0 - half) * slope
                },
                gin,
            ),
            Function::Silu => each(
                &|x| {
                    let s = sigmoid(x);
                    s * (1.0 + x * (1.0 - s))
                },
                gin,
            ),
            Function::Softplus => each(&sigmoid, gin),
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
        for name in names.into_iter().chain(["gelu", "silu", "softplus"]) {
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
                        "gelu" => {
                            let inner =
                                (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                            0.5 * x * (1.0 + inner.tanh())
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
