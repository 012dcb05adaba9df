//! Affine maps with bias and activation, in parallel.

use super::scratch::{self, Chain};
use crate::error::{Error, Result};
use crate::parallel::{Control, each_mut};
use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::gemm::{
    Activation, Epilogue, Mat, MatMut, PackPart, PackedB, gemm, packed as product,
};
use ironlearn_kernels::pointwise::{Unary, activate_in_place};
use ironlearn_kernels::tier::{self, Tier};
use std::ops::Range;

/// Multiplications that a task is worth.
const TASK: usize = 1 << 21;
/// Tasks are multiples of this many rows, so that tiles of any tier are full.
const ROWS: usize = 84;
/// Tasks are multiples of this many columns, a panel of the widest tier.
const COLUMNS: usize = 32;
/// From this many rows on the kernel is packed once for all of them.
pub(super) const MANY: usize = 4 * ROWS;
/// Parts that the columns of few rows are divided into at most: the wider one is, the longer are
/// the stretches of memory in which the kernel is read.
const PARTS: usize = 6;
/// Numbers of the kernel from which on a part would leave the second-level cache, and is divided.
const ROOM: usize = 1 << 17;
/// Up to so many rows the kernel is read in place, where its numbers are used once or twice.
const SINGLE: usize = 6;
/// Panels that are packed at once.
const PANELS: usize = 4;

/// The map `act(x w + b)`.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// The kernel w (inputs, outputs) in C order.
    pub kernel: &'a [f32],
    /// The bias b (outputs).
    pub bias: Option<&'a [f32]>,
    /// Numbers of a row of x.
    pub inputs: usize,
    /// Numbers of a row of the answer.
    pub outputs: usize,
    /// Applied last.
    pub activation: Unary,
}

impl<'a> Affine<'a> {
    /// An error unless kernel and bias have the stated sizes.
    pub fn check(&self) -> Result<()> {
        let expect = |name: &'static str, given: usize, expected: usize| {
            if given == expected {
                Ok(())
            } else {
                Err(Error::Shape {
                    name,
                    given: format!("{given} elements"),
                    expected: expected.to_string(),
                })
            }
        };
        expect("w", self.kernel.len(), self.inputs * self.outputs)?;
        expect(
            "b",
            self.bias.map_or(self.outputs, <[f32]>::len),
            self.outputs,
        )
    }

    /// The kernel as a matrix.
    pub(super) fn matrix(&self) -> Mat<'a> {
        Mat::rows_of(self.kernel, self.inputs, self.outputs)
    }

    /// Multiplications of a row.
    pub fn cost(&self) -> usize {
        self.inputs.saturating_mul(self.outputs)
    }

    /// What the microkernel does of bias and activation, and the activation that is left.
    fn epilogue(&self) -> (Epilogue<'a>, Unary) {
        let (activation, rest) = match self.activation {
            Unary::Relu => (Activation::Relu, Unary::Linear),
            Unary::LeakyRelu => (Activation::LeakyRelu, Unary::Linear),
            Unary::Relu6 => (Activation::Relu6, Unary::Linear),
            other => (Activation::Linear, other),
        };
        let bias = self.bias;
        (Epilogue { bias, activation }, rest)
    }

    /// The parts of the kernel that are to be packed into `to`.
    pub(super) fn parts<'b>(&self, tier: Tier, to: &'b mut PackedB) -> Vec<PackPart<'b>>
    where
        'a: 'b,
    {
        to.parts(tier, self.matrix(), PANELS)
    }

    /// Rows of the answer, by a kernel that was packed.
    pub(super) fn rows(
        &self,
        tier: Tier,
        x: Mat,
        kernel: &PackedB,
        mut y: MatMut,
        scratch: &mut Buffer,
    ) {
        let (epilogue, rest) = self.epilogue();
        product(tier, 1.0, x, kernel, 0.0, y.again(), &epilogue, scratch);
        activate(tier, rest, &mut y);
    }

    /// The columns `columns` of the answer.
    pub(super) fn columns(&self, columns: Range<usize>) -> Part<'a> {
        let (epilogue, rest) = self.epilogue();
        Part {
            kernel: self.matrix().column_range(columns.clone()),
            epilogue: epilogue.columns(columns),
            rest,
        }
    }

    /// What the inputs `inputs` add to the answer, without bias and activation.
    pub(super) fn share(&self, inputs: Range<usize>) -> Part<'a> {
        Part {
            kernel: self.matrix().row_range(inputs),
            epilogue: Epilogue::NONE,
            rest: Unary::Linear,
        }
    }

    /// Writes the answer for `rows` rows of `x` to `y`; the same bits for any number of threads.
    pub fn run(&self, control: &Control, rows: usize, x: &[f32], y: &mut [f32]) -> Result<()> {
        let tier = tier::active();
        let (m, n) = (rows, self.outputs);
        let x = Mat::rows_of(x, m, self.inputs);
        let y = MatMut::rows_of(y, m, n);
        let cost = m.saturating_mul(self.cost());
        let wanted = cost / TASK;
        if m >= MANY {
            let mut kernel = PackedB::default();
            each_mut(control, &mut self.parts(tier, &mut kernel), |part| {
                part.pack();
                Ok(())
            })?;
            let size = chunk(m, wanted, ROWS);
            let mut tasks = Vec::with_capacity(m.div_ceil(size));
            let mut rest = y;
            for from in (0..m).step_by(size) {
                let (part, tail) = rest.split_rows(size.min(m - from));
                tasks.push((from, part));
                rest = tail;
            }
            each_mut(control, &mut tasks, |(from, y)| {
                let x = x.row_range(*from..*from + y.rows());
                scratch::with(|s| self.rows(tier, x, &kernel, y.again(), &mut s[0]));
                Ok(())
            })?;
            return Ok(());
        }
        // Few rows: tasks are columns, and those of the kernel are packed right before their use.
        let parts = PARTS.max(self.cost() / ROOM);
        let size = chunk(n, wanted.min(parts), COLUMNS);
        let mut tasks = Vec::with_capacity(n.div_ceil(size));
        let mut left = y;
        for from in (0..n).step_by(size) {
            let (part, tail) = left.split_columns(size.min(n - from));
            tasks.push((from, part));
            left = tail;
        }
        each_mut(control, &mut tasks, |(from, y)| {
            let part = self.columns(*from..*from + y.columns());
            scratch::with_chain(|chain| part.run(tier, x, y.again(), chain));
            Ok(())
        })?;
        Ok(())
    }
}

/// A part of a map whose kernel is packed right before its use.
pub(super) struct Part<'a> {
    kernel: Mat<'a>,
    epilogue: Epilogue<'a>,
    rest: Unary,
}

impl Part<'_> {
    /// Writes the part's answer for the rows of `x` to `y`.
    pub(super) fn run(&self, tier: Tier, x: Mat, mut y: MatMut, chain: &mut Chain) {
        let to = y.again();
        if x.rows() <= SINGLE {
            let room = &mut chain.buffers[0];
            gemm(tier, 1.0, x, self.kernel, 0.0, to, &self.epilogue, room);
        } else {
            let packed = &mut chain.packs(1)[0];
            let parts = packed.parts(tier, self.kernel, PANELS);
            parts.into_iter().for_each(|mut part| part.pack());
            let (packed, room) = (&chain.packs[0], &mut chain.buffers[0]);
            product(tier, 1.0, x, packed, 0.0, to, &self.epilogue, room);
        }
        activate(tier, self.rest, &mut y);
    }
}

/// Sizes of nearly `wanted` parts of `n`, multiples of `unit`.
fn chunk(n: usize, wanted: usize, unit: usize) -> usize {
    (n / wanted.max(1) / unit).max(1) * unit
}

fn activate(tier: Tier, kind: Unary, y: &mut MatMut) {
    if kind != Unary::Linear {
        for i in 0..y.rows() {
            activate_in_place(tier, kind, y.row(i));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ironlearn_kernels::pointwise::activate as of;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn every_division_is_product_bias_and_activation_with_the_same_bits() {
        let number = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
        let cancel = AtomicBool::new(false);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        for (m, n, k) in [
            (0, 4, 3),
            (1, 1, 1),
            (3, 70, 5),
            (64, 700, 120),
            (64, 96, 700),
            (400, 90, 120),
            (900, 33, 257),
        ] {
            let x: Vec<f32> = (0..m * k).map(number).collect();
            let kernel: Vec<f32> = (0..k * n).map(|i| number(i + 7)).collect();
            let bias: Vec<f32> = (0..n).map(number).collect();
            for (activation, name) in Unary::ALL {
                let map = Affine {
                    kernel: &kernel,
                    bias: (activation != Unary::Tanh).then_some(&bias),
                    inputs: k,
                    outputs: n,
                    activation,
                };
                map.check().unwrap();
                let run = |control: &Control| {
                    let mut y = vec![f32::NAN; m * n];
                    map.run(control, m, &x, &mut y).unwrap();
                    y
                };
                let got = run(&Control::serial());
                let many = pool.install(|| run(&Control::new(&cancel, 3)));
                assert_eq!(got, many);
                let sums: Vec<f32> = (0..m * n)
                    .map(|at| {
                        let (i, j) = (at / n, at % n);
                        let sum: f64 = (0..k)
                            .map(|p| f64::from(x[i * k + p]) * f64::from(kernel[p * n + j]))
                            .sum();
                        (sum + map.bias.map_or(0.0, |b| f64::from(b[j]))) as f32
                    })
                    .collect();
                let mut want = vec![0.0; m * n];
                of(Tier::Scalar, activation, &sums, &mut want);
                for (got, want) in got.iter().zip(&want) {
                    let slack = 2e-6 * (k as f32 + 10.0);
                    assert!((got - want).abs() <= slack, "{name} {m},{n},{k}");
                }
            }
        }
    }

    #[test]
    fn sizes_must_fit() {
        let map = Affine {
            kernel: &[0.0; 6],
            bias: Some(&[0.0; 2]),
            inputs: 2,
            outputs: 3,
            activation: Unary::Linear,
        };
        assert!(map.check().is_err());
        let short = Affine {
            kernel: &[0.0; 5],
            bias: None,
            ..map
        };
        assert!(short.check().is_err());
    }
}
