use super::*;
use ironlearn_kernels::tier;
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;

/// Everything that a layer reads, in f64: the plain reference works on it.
#[derive(Clone)]
struct Case {
    shape: Shape,
    samples: usize,
    steps: usize,
    reverse: bool,
    mask: Option<Vec<u8>>,
    /// x, w, u, b, bu, h0, c0.
    arrays: [Vec<f64>; 7],
}

struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 40) as f64 / f64::from(1 << 24)) * 2.0 - 1.0
    }

    fn many(&mut self, n: usize, scale: f64) -> Vec<f64> {
        // Numbers that f32 holds exactly, so that both see the same inputs.
        (0..n)
            .map(|_| f64::from((self.next() * scale) as f32))
            .collect()
    }
}

impl Case {
    fn new(
        shape: Shape,
        samples: usize,
        steps: usize,
        reverse: bool,
        masked: bool,
        seed: u64,
    ) -> Case {
        let mut numbers = Numbers(seed);
        let (f, h, columns) = (shape.features, shape.units, shape.columns());
        let mask = masked.then(|| {
            let mut mask: Vec<u8> = (0..samples * steps)
                .map(|_| u8::from(numbers.next() > -0.4))
                .collect();
            // A step that nobody takes.
            (0..samples).for_each(|n| mask[n * steps + steps / 2] = 0);
            mask
        });
        let lstm = shape.cell == Cell::Lstm;
        let gru = shape.cell == Cell::Gru;
        let scale = 1.0 / ((f + h) as f64).sqrt();
        let arrays = [
            numbers.many(samples * steps * f, 1.0),
            numbers.many(f * columns, scale),
            numbers.many(h * columns, scale),
            numbers.many(columns, 0.5),
            numbers.many(if gru { columns } else { 0 }, 0.5),
            numbers.many(samples * h, 0.9),
            numbers.many(if lstm { samples * h } else { 0 }, 0.9),
        ];
        Case {
            shape,
            samples,
            steps,
            reverse,
            mask,
            arrays,
        }
    }

    fn single(&self) -> [Vec<f32>; 7] {
        self.arrays
            .clone()
            .map(|a| a.into_iter().map(|v| v as f32).collect())
    }

    /// y, h, c by the definition.
    fn plain(&self) -> [Vec<f64>; 3] {
        let Shape {
            cell,
            features: f,
            units,
        } = self.shape;
        let [x, w, u, b, bu, h0, c0] = &self.arrays;
        let columns = self.shape.columns();
        let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
        let mut y = vec![0.0; self.samples * self.steps * units];
        let (mut h, mut c) = (h0.clone(), c0.clone());
        for n in 0..self.samples {
            for s in 0..self.steps {
                let t = if self.reverse { self.steps - 1 - s } else { s };
                let x = &x[(n * self.steps + t) * f..][..f];
                let old = h[n * units..(n + 1) * units].to_vec();
                let product = |x: &[f64], w: &[f64], b: &[f64]| -> Vec<f64> {
                    (0..columns)
                        .map(|j| {
                            let sum: f64 = x
                                .iter()
                                .enumerate()
                                .map(|(k, v)| v * w[k * columns + j])
                                .sum();
                            sum + b.get(j).copied().unwrap_or(0.0)
                        })
                        .collect()
                };
                let (zx, zh) = (product(x, w, b), product(&old, u, bu));
                if self
                    .mask
                    .as_ref()
                    .is_none_or(|m| m[n * self.steps + t] != 0)
                {
                    for j in 0..units {
                        let sum = |g: usize| zx[g * units + j] + zh[g * units + j];
                        let place = n * units + j;
                        h[place] = match cell {
                            Cell::Lstm => {
                                let (i, f) = (sigmoid(sum(0)), sigmoid(sum(1)));
                                let (g, o) = (sum(2).tanh(), sigmoid(sum(3)));
                                c[place] = f * c[place] + i * g;
                                o * c[place].tanh()
                            }
                            Cell::Gru => {
                                let (z, r) = (sigmoid(sum(0)), sigmoid(sum(1)));
                                let candidate = (zx[2 * units + j] + r * zh[2 * units + j]).tanh();
                                (1.0 - z) * candidate + z * old[j]
                            }
                            Cell::Tanh => sum(0).tanh(),
                            Cell::Relu => sum(0).max(0.0),
                        };
                    }
                }
                y[(n * self.steps + t) * units..][..units]
                    .copy_from_slice(&h[n * units..(n + 1) * units]);
            }
        }
        [y, h, c]
    }

    fn with<T>(&self, arrays: &[Vec<f32>; 7], f: impl FnOnce(&Layer, &Batch) -> T) -> T {
        let [x, w, u, b, bu, h0, c0] = arrays;
        let layer = Layer {
            shape: self.shape,
            w,
            u,
            b,
            bu: (self.shape.cell == Cell::Gru).then_some(bu.as_slice()),
        };
        let batch = Batch {
            samples: self.samples,
            steps: self.steps,
            x,
            mask: self.mask.as_deref(),
            reverse: self.reverse,
            h0,
            c0,
        };
        f(&layer, &batch)
    }
}

fn close(got: &[f32], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len());
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!(
            (f64::from(g) - w).abs() <= tolerance * (1.0 + w.abs()),
            "{what}[{i}]: {g}, not {w}"
        );
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Forward by every way and tier against the definition; gradients against differences of the
/// definition along a random direction through all inputs.
fn check_case(case: &Case, seed: u64) {
    let single = case.single();
    let want = case.plain();
    let mut numbers = Numbers(seed ^ 0x55);
    let weights: Vec<Vec<f64>> = want.iter().map(|a| numbers.many(a.len(), 1.0)).collect();
    let direction: Vec<Vec<f64>> = case
        .arrays
        .iter()
        .map(|a| numbers.many(a.len(), 1.0))
        .collect();
    let loss = |eps: f64| {
        let mut moved = case.clone();
        for (a, d) in moved.arrays.iter_mut().zip(&direction) {
            a.iter_mut().zip(d).for_each(|(a, d)| *a += eps * d);
        }
        moved
            .plain()
            .iter()
            .zip(&weights)
            .map(|(a, w)| dot(a, w))
            .sum::<f64>()
    };
    let eps = 1e-6;
    let slope = (loss(eps) - loss(-eps)) / (2.0 * eps);
    let w32: Vec<Vec<f32>> = weights
        .iter()
        .map(|w| w.iter().map(|&v| v as f32).collect())
        .collect();
    for tier in tier::supported() {
        case.with(&single, |layer, batch| {
            let control = Control::serial();
            for wide in [false, true] {
                for keep in [false, true] {
                    let out = forward_as(&control, tier, layer, batch, keep, wide).unwrap();
                    for (got, (want, name)) in [&out.y, &out.h, &out.c]
                        .into_iter()
                        .zip(want.iter().zip(["y", "h", "c"]))
                    {
                        close(
                            got,
                            want,
                            3e-6,
                            &format!("{name} wide={wide} {}", tier.name()),
                        );
                    }
                    let Some(tape) = out.tape else { continue };
                    let gradients = OutputGradients {
                        y: Some(&w32[0]),
                        h: Some(&w32[1]),
                        c: (!w32[2].is_empty()).then_some(&w32[2][..]),
                    };
                    let g = backward_as(&control, tier, layer, batch, &tape, gradients, true, wide)
                        .unwrap();
                    let parts = [g.x.as_ref().unwrap(), &g.w, &g.u, &g.b, &g.bu, &g.h0, &g.c0];
                    let mut got = 0.0;
                    let mut size = 1.0;
                    for (part, d) in parts.into_iter().zip(&direction) {
                        let part: Vec<f64> = part.iter().map(|&v| f64::from(v)).collect();
                        assert_eq!(part.len(), d.len());
                        got += dot(&part, d);
                        size += dot(&part, &part);
                    }
                    assert!(
                        (got - slope).abs() <= 1e-5 * size.sqrt().max(slope.abs()),
                        "slope {got}, not {slope}, wide={wide} {} {:?}",
                        tier.name(),
                        case.shape
                    );
                }
            }
        });
    }
}

const CELLS: [Cell; 4] = [Cell::Lstm, Cell::Gru, Cell::Tanh, Cell::Relu];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn every_way_computes_the_definition(
        cell in 0usize..3,
        features in 1usize..40,
        units in 1usize..40,
        samples in 1usize..40,
        steps in 1usize..9,
        reverse in any::<bool>(),
        masked in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let shape = Shape { cell: CELLS[cell], features, units };
        check_case(&Case::new(shape, samples, steps, reverse, masked, seed), seed);
    }
}

#[test]
fn sizes_beyond_the_tiles() {
    for (cell, features, units, samples, steps) in [
        (Cell::Lstm, 1, 50, 32, 12),
        (Cell::Gru, 64, 61, 17, 5),
        (Cell::Tanh, 3, 131, 100, 4),
        (Cell::Lstm, 130, 77, 70, 3),
        (Cell::Gru, 5, 90, 83, 4),
    ] {
        let shape = Shape {
            cell,
            features,
            units,
        };
        check_case(&Case::new(shape, samples, steps, false, true, 7), 7);
    }
}

#[test]
fn relu_without_kinks_nearby() {
    let shape = Shape {
        cell: Cell::Relu,
        features: 3,
        units: 20,
    };
    let mut case = Case::new(shape, 18, 4, false, false, 3);
    // Sums far from zero: half of the units always on, the others always off.
    case.arrays[3]
        .iter_mut()
        .enumerate()
        .for_each(|(j, b)| *b = if j % 2 == 0 { 6.0 } else { -30.0 });
    case.arrays[2].iter_mut().for_each(|u| *u *= 0.1);
    check_case(&case, 3);
}

#[test]
fn threads_do_not_change_bits() {
    let cancel = AtomicBool::new(false);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    for (cell, wide) in [
        (Cell::Lstm, false),
        (Cell::Lstm, true),
        (Cell::Gru, false),
        (Cell::Gru, true),
    ] {
        let shape = Shape {
            cell,
            features: 9,
            units: 70,
        };
        let case = Case::new(shape, 300, 6, true, true, 5);
        let run = |control: &Control| {
            case.with(&case.single(), |layer, batch| {
                let tier = tier::active();
                let out = forward_as(control, tier, layer, batch, true, wide).unwrap();
                let gradients = OutputGradients {
                    y: Some(&out.y),
                    h: Some(&out.h),
                    c: None,
                };
                let tape = out.tape.as_ref().unwrap();
                let g =
                    backward_as(control, tier, layer, batch, tape, gradients, true, wide).unwrap();
                [
                    out.y,
                    out.h,
                    out.c,
                    g.x.unwrap(),
                    g.w,
                    g.u,
                    g.b,
                    g.bu,
                    g.h0,
                    g.c0,
                ]
                .map(|a| a.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            })
        };
        let one = run(&Control::serial());
        let many = pool.install(|| run(&Control::new(&cancel, 3)));
        assert!(one == many, "{cell:?} wide={wide}");
    }
}

#[test]
fn nothing_to_do_passes_states_on() {
    let shape = Shape {
        cell: Cell::Lstm,
        features: 2,
        units: 3,
    };
    for (samples, steps) in [(0, 4), (2, 0)] {
        let mut case = Case::new(shape, samples, steps.max(1), false, false, 1);
        case.steps = steps;
        case.arrays[0].clear();
        case.with(&case.single(), |layer, batch| {
            let control = Control::serial();
            let out = forward(&control, tier::active(), layer, batch, true).unwrap();
            assert_eq!((out.h.as_slice(), out.c.as_slice()), (batch.h0, batch.c0));
            let gradients = OutputGradients {
                h: Some(&out.h),
                ..Default::default()
            };
            let tape = out.tape.unwrap();
            let g = backward(
                &control,
                tier::active(),
                layer,
                batch,
                &tape,
                gradients,
                true,
            )
            .unwrap();
            assert_eq!(g.h0, out.h);
            assert!(g.w.iter().chain(&g.u).chain(&g.b).all(|&v| v == 0.0));
        });
    }
}

#[test]
fn wrong_sizes_are_named() {
    let shape = Shape {
        cell: Cell::Gru,
        features: 2,
        units: 3,
    };
    let case = Case::new(shape, 2, 4, false, true, 1);
    let single = case.single();
    case.with(&single, |layer, batch| {
        let control = Control::serial();
        let run = |layer: &Layer, batch: &Batch| {
            forward(&control, tier::active(), layer, batch, true).map(|out| out.tape.unwrap())
        };
        let text = |e: Error| e.to_string();
        let bad = Batch {
            x: &batch.x[1..],
            ..*batch
        };
        assert!(text(run(layer, &bad).unwrap_err()).starts_with("x has 15 elements, but 16"));
        let bad = Batch {
            mask: Some(&[1; 3]),
            ..*batch
        };
        assert!(text(run(layer, &bad).unwrap_err()).starts_with("mask has 3 elements"));
        let bad = Layer {
            u: &layer.u[9..],
            ..*layer
        };
        assert!(text(run(&bad, batch).unwrap_err()).starts_with("u has 18 elements"));
        let tape = run(layer, batch).unwrap();
        let other = Batch {
            mask: None,
            ..*batch
        };
        let g = OutputGradients::default();
        let error = backward(&control, tier::active(), layer, &other, &tape, g, true).unwrap_err();
        assert!(text(error).starts_with("cache must be"));
    });
}
