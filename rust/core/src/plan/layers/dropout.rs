//! Dropout with numbers that belong to cells, not to threads.

use crate::error::Result;
use crate::plan::layer::{CHUNK, Layer, Pass, Sizes, Weights, Workspace, invalid};
use crate::rng::Stream;

/// Sets a share of the cells to zero in training and scales up the others.
#[derive(Clone, Debug)]
pub struct Dropout {
    /// The layer's number in its network: with the step it names the random stream.
    number: u64,
    rate: f64,
    shape: Vec<usize>,
}

impl Dropout {
    /// Dropout of a share `rate` of the cells.
    pub fn new(layer: usize, input: &[usize], rate: f64, number: u64) -> Result<Self> {
        if !(0.0..1.0).contains(&rate) {
            return Err(invalid(
                layer,
                "dropout",
                "rate",
                &rate.to_string(),
                "at least 0 and below 1",
            ));
        }
        Ok(Dropout {
            number,
            rate,
            shape: input.to_vec(),
        })
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Layer for Dropout {
    fn kind(&self) -> &'static str {
        "dropout"
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            saved_bytes: CHUNK * self.len(),
            ..Sizes::default()
        }
    }

    fn forward(
        &self,
        pass: &Pass,
        _weights: &Weights,
        input: &[f32],
        output: &mut [f32],
        work: &mut Workspace,
    ) {
        if !pass.training || self.rate == 0.0 {
            output.copy_from_slice(input);
            return;
        }
        let mut stream = Stream::new(pass.seed, self.number << 32 | pass.step);
        stream.skip((pass.first * self.len()) as u64);
        // A cell stays where its number in [0, 1) is at least the rate; numbers are whole
        // multiples of 2^-53, so the comparison may be one of integers.
        let least = (self.rate * (1u64 << 53) as f64).ceil() as u64;
        let scale = (1.0 / (1.0 - self.rate)) as f32;
        let kept = work.bytes.iter_mut();
        for ((y, &x), kept) in output.iter_mut().zip(input).zip(kept) {
            let stays = stream.next_u64() >> 11 >= least;
            *kept = u8::from(stays);
            *y = if stays { x * scale } else { 0.0 };
        }
    }

    fn backward(
        &self,
        _pass: &Pass,
        _weights: &Weights,
        _input: &[f32],
        _output: &[f32],
        gout: &mut [f32],
        gin: Option<&mut [f32]>,
        _grads: &mut [f32],
        work: &mut Workspace,
    ) {
        let Some(gin) = gin else { return };
        if self.rate == 0.0 {
            gin.copy_from_slice(gout);
            return;
        }
        let scale = (1.0 / (1.0 - self.rate)) as f32;
        for ((o, g), kept) in gin.iter_mut().zip(gout).zip(work.bytes.iter()) {
            *o = if *kept > 0 { *g * scale } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::layers::check::{Case, check};

    #[test]
    fn cells_are_those_of_the_stream() {
        let layer = Dropout::new(0, &[5, 3], 0.4, 7).unwrap();
        let mut case = Case::new(&layer, &[5, 3]);
        case.first = 32;
        let kept: Vec<f64> = {
            let mut stream = Stream::new(case.seed, 7 << 32 | case.step);
            let all: Vec<f64> = (0..(32 + case.samples) * 15)
                .map(|_| f64::from(u8::from(stream.next_f64() >= 0.4)))
                .collect();
            all[32 * 15..].to_vec()
        };
        assert!(kept.contains(&0.0) && kept.contains(&1.0));
        check(&case, |_, x| {
            x.iter().zip(&kept).map(|(x, k)| x * k / 0.6).collect()
        });
    }

    #[test]
    fn rates_are_checked() {
        for rate in [-0.1, 1.0, f64::NAN] {
            assert!(Dropout::new(0, &[5], rate, 0).is_err());
        }
    }
}
