//! Batch normalisation (Ioffe and Szegedy, ICML 2015) over all axes but the last.

use crate::error::Result;
use crate::plan::layer::{
    Activation, CHUNK, Layer, Parameter, Pass, Sizes, Weights, Workspace, bad_input, invalid,
};
use crate::plan::layers::dense::through;
use ironlearn_kernels::tier;

/// `act(gamma (x - mean) / sqrt(var + eps) + beta)`, in training with the batch's own mean and
/// variance, otherwise with running ones.
///
/// Each chunk tells its sums; all chunks then add them up in the same order.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    channels: usize,
    /// Positions of one sample.
    positions: usize,
    eps: f64,
    momentum: f32,
    activation: Activation,
    shape: Vec<usize>,
    parameters: Vec<Parameter>,
    buffers: Vec<Parameter>,
}

impl BatchNorm {
    /// A layer that keeps `momentum` of its running statistics in each step.
    pub fn new(
        layer: usize,
        input: &[usize],
        eps: f64,
        momentum: f64,
        activation: Activation,
    ) -> Result<Self> {
        let Some((&channels, before)) = input.split_last() else {
            return Err(bad_input(layer, "batch_norm", input, "at least one axis"));
        };
        if eps.is_nan() || eps < 0.0 {
            let given = eps.to_string();
            return Err(invalid(
                layer,
                "batch_norm",
                "epsilon",
                &given,
                "at least 0",
            ));
        }
        if !(0.0..=1.0).contains(&momentum) {
            let given = momentum.to_string();
            return Err(invalid(
                layer,
                "batch_norm",
                "momentum",
                &given,
                "from 0 to 1",
            ));
        }
        let named = |name| Parameter {
            name,
            shape: vec![channels],
        };
        Ok(BatchNorm {
            channels,
            positions: before.iter().product(),
            eps,
            momentum: momentum as f32,
            activation,
            shape: input.to_vec(),
            parameters: vec![named("gamma"), named("beta")],
            buffers: vec![named("running_mean"), named("running_var")],
        })
    }

    /// Sums over all chunks, in their order: of the first half and of the second half.
    fn totals(&self, partials: &[f64], channel: usize) -> (f64, f64) {
        let c = self.channels;
        partials
            .chunks_exact(2 * c)
            .fold((0.0, 0.0), |(a, b), p| (a + p[channel], b + p[c + channel]))
    }

    /// Mean and biased variance of a channel over the batch.
    fn moments(&self, batch: usize, partials: &[f64], channel: usize) -> (f64, f64) {
        let n = (batch * self.positions) as f64;
        let (sum, squares) = self.totals(partials, channel);
        let mean = sum / n;
        (mean, (squares / n - mean * mean).max(0.0))
    }
}

impl Layer for BatchNorm {
    fn kind(&self) -> &'static str {
        "batch_norm"
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn buffers(&self) -> &[Parameter] {
        &self.buffers
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            // Mean and 1 / standard deviation.
            saved: 2 * self.channels,
            scratch: 2 * self.channels,
            partial_forward: 2 * self.channels,
            partial_backward: 2 * self.channels,
            ..Sizes::default()
        }
    }

    fn partial_forward(&self, _: &Pass, _: &Weights, input: &[f32], partial: &mut [f64]) {
        partial.fill(0.0);
        let (sums, squares) = partial.split_at_mut(self.channels);
        for row in input.chunks_exact(self.channels) {
            for ((s, q), &x) in sums.iter_mut().zip(squares.iter_mut()).zip(row) {
                let x = f64::from(x);
                *s += x;
                *q += x * x;
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
        let c = self.channels;
        let (gamma, beta) = (weights.params[0], weights.params[1]);
        let (scale, shift) = work.scratch[..2 * c].split_at_mut(c);
        for i in 0..c {
            let (mean, variance) = if pass.training {
                self.moments(pass.batch, pass.partials, i)
            } else {
                (
                    f64::from(weights.buffers[0][i]),
                    f64::from(weights.buffers[1][i]),
                )
            };
            let inverse = 1.0 / (variance + self.eps).sqrt();
            let factor = f64::from(gamma[i]) * inverse;
            scale[i] = factor as f32;
            shift[i] = (f64::from(beta[i]) - mean * factor) as f32;
            if pass.training {
                work.saved[i] = mean as f32;
                work.saved[c + i] = inverse as f32;
            }
        }
        let rows = input.chunks_exact(c).zip(output.chunks_exact_mut(c));
        for (x, y) in rows {
            for (((y, x), a), b) in y.iter_mut().zip(x).zip(&*scale).zip(&*shift) {
                *y = x * a + b;
            }
        }
        self.activation.apply(tier::active(), output);
    }

    fn partial_backward(
        &self,
        _: &Pass,
        _: &Weights,
        input: &[f32],
        output: &[f32],
        gout: &mut [f32],
        partial: &mut [f64],
        work: &mut Workspace,
    ) {
        through(self.activation, output, gout);
        partial.fill(0.0);
        let c = self.channels;
        let (sums, products) = partial.split_at_mut(c);
        let (mean, inverse) = work.saved.split_at(c);
        for (x, g) in input.chunks_exact(c).zip(gout.chunks_exact(c)) {
            for i in 0..c {
                sums[i] += f64::from(g[i]);
                products[i] += f64::from(g[i] * ((x[i] - mean[i]) * inverse[i]));
            }
        }
    }

    fn backward(
        &self,
        pass: &Pass,
        weights: &Weights,
        input: &[f32],
        _output: &[f32],
        gout: &mut [f32],
        gin: Option<&mut [f32]>,
        grads: &mut [f32],
        work: &mut Workspace,
    ) {
        let c = self.channels;
        let own = &pass.partials[pass.first / CHUNK * 2 * c..][..2 * c];
        for i in 0..c {
            let old = |v: f32| if pass.accumulate { v } else { 0.0 };
            grads[i] = old(grads[i]) + own[c + i] as f32;
            grads[c + i] = old(grads[c + i]) + own[i] as f32;
        }
        let Some(gin) = gin else { return };
        let n = (pass.batch * self.positions) as f64;
        let (mean, inverse) = work.saved.split_at(c);
        let (offset, slope) = work.scratch[..2 * c].split_at_mut(c);
        for i in 0..c {
            let (sum, product) = self.totals(pass.partials, i);
            offset[i] = (sum / n) as f32;
            slope[i] = (product / n) as f32;
        }
        let gamma = weights.params[0];
        let rows = input.chunks_exact(c).zip(gout.chunks_exact(c));
        for ((x, g), o) in rows.zip(gin.chunks_exact_mut(c)) {
            for i in 0..c {
                let normal = (x[i] - mean[i]) * inverse[i];
                o[i] = gamma[i] * inverse[i] * (g[i] - offset[i] - normal * slope[i]);
            }
        }
    }

    fn end_step(&self, batch: usize, partials: &[f64], buffers: &mut [&mut [f32]]) {
        // The running variance is the unbiased one.
        let n = (batch * self.positions) as f64;
        let unbiased = n / (n - 1.0).max(1.0);
        for i in 0..self.channels {
            let (mean, variance) = self.moments(batch, partials, i);
            for (buffer, now) in buffers.iter_mut().zip([mean, unbiased * variance]) {
                buffer[i] = self.momentum * buffer[i] + (1.0 - self.momentum) * now as f32;
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
        for activation in [Activation::Linear, Activation::Relu, Activation::Tanh] {
            let layer = BatchNorm::new(0, &[3, 4], 1e-3, 0.99, activation).unwrap();
            check(&Case::new(&layer, &[3, 4]), |p, x| {
                let n = x.len() / 4;
                let column = |i: usize| x.iter().skip(i).step_by(4);
                let moments: Vec<(f64, f64)> = (0..4)
                    .map(|i| {
                        let mean = column(i).sum::<f64>() / n as f64;
                        let v = column(i).map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
                        (mean, v)
                    })
                    .collect();
                x.iter()
                    .enumerate()
                    .map(|(k, v)| {
                        let (mean, variance) = moments[k % 4];
                        let z = p[0][k % 4] * (v - mean) / (variance + 1e-3).sqrt() + p[1][k % 4];
                        match activation {
                            Activation::Relu => z.max(0.0),
                            Activation::Tanh => z.tanh(),
                            _ => z,
                        }
                    })
                    .collect()
            });
        }
    }

    #[test]
    fn running_statistics_move() {
        let layer = BatchNorm::new(0, &[1], 1e-3, 0.75, Activation::Linear).unwrap();
        // Samples 1, 3 in one chunk and 5 in another.
        let (mut mean, mut variance) = ([1.0f32], [1.0f32]);
        layer.end_step(3, &[4.0, 10.0, 5.0, 25.0], &mut [&mut mean, &mut variance]);
        assert!((mean[0] - 1.5).abs() < 1e-6);
        assert!((variance[0] - (0.75 + 0.25 * 4.0)).abs() < 1e-6);
    }

    #[test]
    fn bad_options_are_refused() {
        let new = |eps, momentum| BatchNorm::new(0, &[2], eps, momentum, Activation::Linear);
        assert!(new(-1.0, 0.9).is_err() && new(f64::NAN, 0.9).is_err());
        assert!(new(0.1, 1.1).is_err());
        assert!(BatchNorm::new(0, &[], 0.1, 0.9, Activation::Linear).is_err());
    }
}
