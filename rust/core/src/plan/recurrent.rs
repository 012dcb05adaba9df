//! Recurrent layers.

use crate::error::Result;
use crate::nn::recurrent::chunk::{
    Group, Kept, KeptSizes, View, backward_in, forward_group, scratch_sizes,
};
use crate::nn::recurrent::{Cell, Shape, gradient_sizes, scatter};
use crate::plan::layer::{
    CHUNK, Layer, Parameter, Pass, Sizes, Weights, Workspace, bad_input, invalid,
};
use ironlearn_kernels::recurrent::{LANES, pack_backward, pack_forward};
use ironlearn_kernels::tier;

// One chunk of a plan is one group of the kernels.
const _: () = assert!(CHUNK == LANES);

/// LSTM, GRU or simple recurrent layer over sequences (steps, features).
///
/// A masked layer carries its state over the steps where the network's integers are padding.
#[derive(Clone, Debug)]
pub struct Recurrent {
    shape: Shape,
    steps: usize,
    sequences: bool,
    reverse: bool,
    masked: bool,
    output: Vec<usize>,
    parameters: Vec<Parameter>,
}

impl Recurrent {
    /// A layer of `units` for samples of shape `input`; `cell` is "lstm", "gru", or the
    /// activation of a simple cell, "tanh" or "relu". All states are its output with
    /// `sequences`, else the last one; with `reverse` time runs backwards; `masked` says
    /// whether the mask of the network's integers is that of the layer's steps.
    pub fn new(
        layer: usize,
        input: &[usize],
        cell: &str,
        units: usize,
        sequences: bool,
        reverse: bool,
        masked: bool,
    ) -> Result<Self> {
        let (kind, name) = match cell {
            "lstm" => (Cell::Lstm, "lstm"),
            "gru" => (Cell::Gru, "gru"),
            "tanh" => (Cell::Tanh, "rnn"),
            "relu" => (Cell::Relu, "rnn"),
            _ => {
                let given = format!("{cell:?}");
                return Err(invalid(layer, "rnn", "activation", &given, "tanh or relu"));
            }
        };
        let &[steps, features] = input else {
            return Err(bad_input(layer, name, input, "(steps, features)"));
        };
        if steps == 0 {
            return Err(bad_input(layer, name, input, "at least one step"));
        }
        if units == 0 {
            return Err(invalid(layer, name, "units", "0", "at least 1"));
        }
        let shape = Shape {
            cell: kind,
            features,
            units,
        };
        let columns = shape.columns();
        let parameter = |name, shape| Parameter { name, shape };
        let mut parameters = vec![
            parameter("kernel", vec![features, columns]),
            parameter("recurrent_kernel", vec![units, columns]),
            parameter("bias", vec![columns]),
        ];
        if kind == Cell::Gru {
            parameters.push(parameter("recurrent_bias", vec![columns]));
        }
        Ok(Recurrent {
            shape,
            steps,
            sequences,
            reverse,
            masked,
            output: if sequences {
                vec![steps, units]
            } else {
                vec![units]
            },
            parameters,
        })
    }

    fn kept(&self) -> KeptSizes {
        KeptSizes::new(self.shape, self.steps, LANES, true, true)
    }

    /// Elements of the weights packed for the way forward; those for the way back follow.
    fn forward_len(&self) -> usize {
        self.shape.units * self.shape.forward_width()
    }

    fn group<'a>(&self, pass: &Pass<'a>, input: &'a [f32]) -> Group<'a> {
        let mask = pass
            .mask
            .filter(|mask| self.masked && mask.len() == pass.samples * self.steps);
        Group {
            shape: self.shape,
            steps: self.steps,
            samples: pass.samples,
            reverse: self.reverse,
            x: input,
            mask,
            h0: None,
            c0: None,
        }
    }

    /// Distance between samples in the output.
    fn stride(&self) -> usize {
        self.output.iter().product()
    }
}

/// The parts of `saved`: input, gates, cell and, where there is a mask, masks.
fn parts(saved: &mut [f32], sizes: KeptSizes, masked: bool) -> [&mut [f32]; 4] {
    let (input, rest) = saved.split_at_mut(sizes.input);
    let (gates, rest) = rest.split_at_mut(sizes.gates);
    let (cell, masks) = rest.split_at_mut(sizes.cell);
    [
        input,
        gates,
        cell,
        &mut masks[..if masked { sizes.masks } else { 0 }],
    ]
}

impl Layer for Recurrent {
    fn kind(&self) -> &'static str {
        match self.shape.cell {
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
            Cell::Tanh | Cell::Relu => "rnn",
        }
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn sizes(&self) -> Sizes {
        let kept = self.kept();
        let work: usize = scratch_sizes(self.shape, LANES).iter().sum();
        let sums: usize = gradient_sizes(self.shape).iter().sum();
        Sizes {
            packed: self.forward_len() + self.shape.weights(),
            saved: kept.input + kept.gates + kept.cell + kept.masks,
            scratch: work + sums + 2 * self.shape.units * LANES,
            ..Sizes::default()
        }
    }

    fn pack(&self, params: &[&[f32]], packed: &mut [f32]) {
        let (forward, backward) = packed.split_at_mut(self.forward_len());
        let (w, u, b) = (params[0], params[1], params[2]);
        pack_forward(self.shape, 0, w, u, b, params.get(3).copied(), forward);
        let (features, state) = backward.split_at_mut(self.shape.features * self.shape.columns());
        let tier = tier::active();
        pack_backward(self.shape, tier, 0, w, u, features);
        pack_backward(self.shape, tier, self.shape.features, w, u, state);
    }

    fn forward(
        &self,
        pass: &Pass,
        weights: &Weights,
        input: &[f32],
        output: &mut [f32],
        work: &mut Workspace,
    ) {
        let group = self.group(pass, input);
        let [input, gates, cell, masks] = parts(work.saved, self.kept(), group.mask.is_some());
        let kept = Kept {
            input,
            gates,
            cell,
            masks,
        };
        forward_group(
            tier::active(),
            &group,
            &weights.packed[..self.forward_len()],
            kept,
            output,
            self.stride(),
            self.sequences,
            None,
            None,
        );
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
        let group = self.group(pass, input);
        let [input, gates, cell, masks] = parts(work.saved, self.kept(), group.mask.is_some());
        let view = View {
            input,
            gates,
            cell,
            masks,
        };
        let states = self.shape.units * LANES;
        let [of_features, of_state] = gradient_sizes(self.shape);
        let (gh, rest) = work.scratch.split_at_mut(states);
        let (gc, rest) = rest.split_at_mut(states);
        let (of_features, rest) = rest.split_at_mut(of_features);
        let (of_state, rest) = rest.split_at_mut(of_state);
        let scratch = &mut rest[..scratch_sizes(self.shape, LANES).iter().sum()];
        for part in [&mut *gh, &mut *gc, &mut *of_features, &mut *of_state] {
            part.fill(0.0);
        }
        let rows = pass.samples * self.shape.units;
        backward_in(
            tier::active(),
            &group,
            &weights.packed[self.forward_len()..],
            view,
            Some((gout, self.stride(), self.sequences)),
            gin,
            &mut gh[..rows],
            &mut gc[..rows],
            of_features,
            of_state,
            scratch,
        );
        if !pass.accumulate {
            grads.fill(0.0);
        }
        let columns = self.shape.columns();
        let (w, rest) = grads.split_at_mut(self.shape.features * columns);
        let (u, rest) = rest.split_at_mut(self.shape.units * columns);
        let (b, bu) = rest.split_at_mut(columns);
        scatter(self.shape, of_features, of_state, w, u, b, bu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::layers::check::{Case, check};

    /// The definition in double precision, for every cell.
    fn naive(
        layer: &Recurrent,
        mask: Option<&[u8]>,
        samples: usize,
        p: &[Vec<f64>],
        x: &[f64],
    ) -> Vec<f64> {
        let (f, h, steps) = (layer.shape.features, layer.shape.units, layer.steps);
        let columns = layer.shape.columns();
        let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
        let mut out = Vec::new();
        for n in 0..samples {
            let (mut state, mut cell) = (vec![0.0; h], vec![0.0; h]);
            let mut all = vec![0.0; steps * h];
            for s in 0..steps {
                let t = if layer.reverse { steps - 1 - s } else { s };
                let times = |v: &[f64], w: &[f64], j: usize| -> f64 {
                    v.iter()
                        .enumerate()
                        .map(|(k, v)| v * w[k * columns + j])
                        .sum()
                };
                let now = &x[(n * steps + t) * f..][..f];
                let zx: Vec<f64> = (0..columns)
                    .map(|j| times(now, &p[0], j) + p[2][j])
                    .collect();
                let bu = |j: usize| p.get(3).map_or(0.0, |b| b[j]);
                let zh: Vec<f64> = (0..columns)
                    .map(|j| times(&state, &p[1], j) + bu(j))
                    .collect();
                if mask.is_none_or(|m| m[n * steps + t] != 0) {
                    for j in 0..h {
                        let z = |g: usize| zx[g * h + j] + zh[g * h + j];
                        state[j] = match layer.shape.cell {
                            Cell::Lstm => {
                                cell[j] = sigmoid(z(1)) * cell[j] + sigmoid(z(0)) * z(2).tanh();
                                sigmoid(z(3)) * cell[j].tanh()
                            }
                            Cell::Gru => {
                                let (update, reset) = (sigmoid(z(0)), sigmoid(z(1)));
                                let new = (zx[2 * h + j] + reset * zh[2 * h + j]).tanh();
                                (1.0 - update) * new + update * state[j]
                            }
                            Cell::Tanh => z(0).tanh(),
                            Cell::Relu => z(0).max(0.0),
                        };
                    }
                }
                all[t * h..][..h].copy_from_slice(&state);
            }
            out.extend_from_slice(if layer.sequences { &all } else { &state });
        }
        out
    }

    #[test]
    fn values_and_gradients() {
        for (cell, sequences, reverse, masked) in [
            ("lstm", true, false, false),
            ("lstm", false, true, true),
            ("gru", true, true, true),
            ("gru", false, false, false),
            ("tanh", true, false, true),
        ] {
            let layer = Recurrent::new(1, &[6, 3], cell, 7, sequences, reverse, masked).unwrap();
            let mut case = Case::new(&layer, &[6, 3]);
            let mask: Vec<u8> = (0..case.samples * 6)
                .map(|i| u8::from(i % 6 != 2 && i % 7 != 3))
                .collect();
            // A layer behind others that end the mask does not see it.
            case.mask = Some(mask.clone());
            let (mask, samples) = (masked.then_some(mask), case.samples);
            check(&case, |p, x| naive(&layer, mask.as_deref(), samples, p, x));
        }
    }

    #[test]
    fn bad_layers_are_refused() {
        let error = |input: &[usize], cell: &str, units| {
            Recurrent::new(2, input, cell, units, false, false, false)
                .unwrap_err()
                .to_string()
        };
        assert!(error(&[4], "lstm", 3).contains("(steps, features)"));
        assert!(error(&[0, 4], "gru", 3).contains("at least one step"));
        assert!(error(&[5, 4], "lstm", 0).contains("units must be at least 1"));
        assert!(error(&[5, 4], "gelu", 2).contains("tanh or relu"));
    }
}
