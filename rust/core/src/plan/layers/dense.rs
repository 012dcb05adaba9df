//! Fully connected layers.

use crate::error::Result;
use crate::plan::layer::{Layer, Parameter, Pass, Sizes, Weights, Workspace, bad_input, invalid};
use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::gemm::{Activation, Epilogue, Mat, MatMut, gemm};
use ironlearn_kernels::tier;

/// Rows of a product at a time: few enough that the kernels read the right side in place.
const ROWS: usize = 8;

/// `act(x kernel + bias)` over the last axis.
#[derive(Clone, Debug)]
pub struct Dense {
    inputs: usize,
    units: usize,
    /// Rows of the product for one sample: all axes but the last.
    rows: usize,
    activation: Activation,
    output: Vec<usize>,
    parameters: Vec<Parameter>,
}

impl Dense {
    /// A dense layer of `units` outputs for samples of shape `input`.
    pub fn new(
        layer: usize,
        input: &[usize],
        units: usize,
        activation: Activation,
        bias: bool,
    ) -> Result<Self> {
        let Some((&inputs, before)) = input.split_last() else {
            return Err(bad_input(layer, "dense", input, "at least one axis"));
        };
        if units == 0 {
            return Err(invalid(layer, "dense", "units", "0", "at least 1"));
        }
        let mut output = before.to_vec();
        output.push(units);
        let mut parameters = vec![Parameter {
            name: "kernel",
            shape: vec![inputs, units],
        }];
        if bias {
            parameters.push(Parameter {
                name: "bias",
                shape: vec![units],
            });
        }
        Ok(Dense {
            inputs,
            units,
            rows: before.iter().product(),
            activation,
            output,
            parameters,
        })
    }

    /// Features of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Features of the output.
    pub fn units(&self) -> usize {
        self.units
    }

    /// The activation after the sum.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// True if each sample is one row.
    pub fn is_flat(&self) -> bool {
        self.output.len() == 1
    }
}

/// `c = act(a b + bias)`, or `c += a b`, with contiguous rows of `b` that are read in place.
fn product(a: Mat, b: Mat, beta: f32, c: &mut [f32], epilogue: &Epilogue, scratch: &mut Buffer) {
    let tier = tier::active();
    let n = b.columns();
    if a.rows() > 4 * ROWS {
        let c = MatMut::rows_of(c, a.rows(), n);
        gemm(tier, 1.0, a, b, beta, c, epilogue, scratch);
        return;
    }
    let parts = a.rows().div_ceil(ROWS);
    for part in 0..parts {
        let (from, to) = (part * a.rows() / parts, (part + 1) * a.rows() / parts);
        let c = MatMut::rows_of(&mut c[from * n..to * n], to - from, n);
        let rows = a.row_range(from..to);
        gemm(tier, 1.0, rows, b, beta, c, epilogue, scratch);
    }
}

/// Multiplies each gradient by the derivative at the output.
pub fn through(activation: Activation, output: &[f32], gradient: &mut [f32]) {
    match activation {
        Activation::Linear => {}
        Activation::Relu => {
            for (g, y) in gradient.iter_mut().zip(output) {
                *g = if *y > 0.0 { *g } else { 0.0 };
            }
        }
        _ => {
            for (g, y) in gradient.iter_mut().zip(output) {
                *g *= activation.slope(*y);
            }
        }
    }
}

/// Sums the rows of `gradient` into `out`, which is overwritten unless `accumulate`.
pub fn sum_rows(gradient: &[f32], out: &mut [f32], accumulate: bool) {
    if !accumulate {
        out.fill(0.0);
    }
    for row in gradient.chunks_exact(out.len()) {
        for (o, g) in out.iter_mut().zip(row) {
            *o += g;
        }
    }
}

impl Layer for Dense {
    fn kind(&self) -> &'static str {
        "dense"
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            packed: self.inputs * self.units,
            ..Sizes::default()
        }
    }

    /// The kernel transposed, for the gradient of the input.
    fn pack(&self, params: &[&[f32]], packed: &mut [f32]) {
        const SQUARE: usize = 16;
        let (kernel, o) = (params[0], self.units);
        for i in (0..self.inputs).step_by(SQUARE) {
            let rows = i..(i + SQUARE).min(self.inputs);
            for j in 0..o {
                for i in rows.clone() {
                    packed[j * self.inputs + i] = kernel[i * o + j];
                }
            }
        }
    }

    fn forward(
        &self,
        pass: &Pass,
        weights: &Weights,
        input: &[f32],
        output: &mut [f32],
        work: &mut Workspace,
    ) {
        let rows = pass.samples * self.rows;
        let epilogue = Epilogue {
            bias: weights.params.get(1).copied(),
            activation: self.activation,
        };
        let a = Mat::rows_of(input, rows, self.inputs);
        let b = Mat::rows_of(weights.params[0], self.inputs, self.units);
        product(a, b, 0.0, output, &epilogue, work.product);
    }

    fn backward(
        &self,
        pass: &Pass,
        weights: &Weights,
        input: &[f32],
        output: &[f32],
        gout: &mut [f32],
        gin: Option<&mut [f32]>,
        grads: &mut [f32],
        work: &mut Workspace,
    ) {
        let rows = pass.samples * self.rows;
        through(self.activation, output, gout);
        let (kernel, bias) = grads.split_at_mut(self.inputs * self.units);
        if !bias.is_empty() {
            sum_rows(gout, bias, pass.accumulate);
        }
        let g = Mat::rows_of(gout, rows, self.units);
        let x = Mat::rows_of(input, rows, self.inputs);
        let c = MatMut::rows_of(kernel, self.inputs, self.units);
        let beta = f32::from(pass.accumulate);
        let tier = tier::active();
        gemm(tier, 1.0, x.t(), g, beta, c, &Epilogue::NONE, work.product);
        if let Some(gin) = gin {
            let turned = Mat::rows_of(weights.packed, self.units, self.inputs);
            product(g, turned, 0.0, gin, &Epilogue::NONE, work.product);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::layers::check::{Case, check};

    #[test]
    fn gradients_agree_with_differences() {
        for activation in Activation::ALL {
            for (shape, units, bias) in [(vec![7], 5, true), (vec![3, 4], 10, false)] {
                let layer = Dense::new(0, &shape, units, activation, bias).unwrap();
                check(&Case::new(&layer, &shape), |p, x| {
                    let inputs = *shape.last().unwrap();
                    x.chunks_exact(inputs)
                        .flat_map(|row| {
                            (0..units).map(move |o| {
                                let z: f64 =
                                    (0..inputs).map(|i| row[i] * p[0][i * units + o]).sum();
                                z + if bias { p[1][o] } else { 0.0 }
                            })
                        })
                        .map(|z| match activation {
                            Activation::Linear => z,
                            Activation::Relu => z.max(0.0),
                            Activation::LeakyRelu => {
                                if z < 0.0 {
                                    0.01 * z
                                } else {
                                    z
                                }
                            }
                            Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
                            Activation::Tanh => z.tanh(),
                            Activation::Elu => {
                                if z < 0.0 {
                                    z.exp_m1()
                                } else {
                                    z
                                }
                            }
                            Activation::Relu6 => z.clamp(0.0, 6.0),
                        })
                        .collect()
                });
            }
        }
    }

    #[test]
    fn bad_sizes_are_refused() {
        assert!(Dense::new(3, &[], 5, Activation::Linear, true).is_err());
        let error = Dense::new(3, &[4], 0, Activation::Linear, true).unwrap_err();
        assert!(error.to_string().contains("layer 3 (dense)"), "{error}");
    }
}
