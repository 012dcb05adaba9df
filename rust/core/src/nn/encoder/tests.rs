use super::*;
use ironlearn_kernels::pointwise::{Unary, activate};
use std::sync::atomic::AtomicBool;

fn numbers(n: usize, seed: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919 + seed * 104_729 + 13) % 1009) as f32 / 1000.0 - 0.5)
        .collect()
}

/// Weights of a block in the order of its fields.
fn weights(width: usize, span: usize, hidden: usize, seed: usize) -> Vec<Vec<f32>> {
    let sizes = [
        width * 3 * span,
        3 * span,
        span * width,
        width,
        width,
        width,
        width * hidden,
        hidden,
        hidden * width,
        width,
        width,
        width,
    ];
    let made = sizes.iter().enumerate();
    made.map(|(i, &n)| numbers(n, seed + i)).collect()
}

fn block(w: &[Vec<f32>], width: usize, span: usize, hidden: usize) -> Block<'_> {
    let map = |i: usize, inputs, outputs, activation| Affine {
        kernel: &w[i],
        bias: Some(&w[i + 1]),
        inputs,
        outputs,
        activation,
    };
    let norm = |i: usize| Norm {
        gamma: &w[i],
        beta: &w[i + 1],
    };
    Block {
        attention: map(0, width, 3 * span, Unary::Linear),
        output: map(2, span, width, Unary::Linear),
        attention_norm: norm(4),
        inner: map(6, width, hidden, Unary::Gelu),
        outer: map(8, hidden, width, Unary::Linear),
        outer_norm: norm(10),
    }
}

/// One step after the other, in double precision but for the activation.
fn plain(s: &Settings, b: &Block, x: &[f64]) -> Vec<f64> {
    let (rows, width) = (s.samples * s.steps, s.width);
    let map = |m: &Affine, x: &[f64]| -> Vec<f64> {
        let sums = x.chunks_exact(m.inputs).flat_map(|row| {
            (0..m.outputs).map(move |j| {
                let products = row.iter().enumerate();
                let sum: f64 = products
                    .map(|(i, v)| v * f64::from(m.kernel[i * m.outputs + j]))
                    .sum();
                sum + f64::from(m.bias.unwrap()[j])
            })
        });
        let sums: Vec<f32> = sums.map(|v| v as f32).collect();
        let mut out = vec![0.0; sums.len()];
        activate(Tier::Scalar, m.activation, &sums, &mut out);
        out.into_iter().map(f64::from).collect()
    };
    let norm = |n: Norm, x: &[f64]| -> Vec<f64> {
        let one = |row: &[f64]| {
            let mean = row.iter().sum::<f64>() / width as f64;
            let var = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
            let unit = (var + f64::from(s.eps)).sqrt();
            let cells = row.iter().enumerate();
            cells
                .map(|(j, v)| (v - mean) / unit * f64::from(n.gamma[j]) + f64::from(n.beta[j]))
                .collect::<Vec<_>>()
        };
        x.chunks_exact(width).flat_map(one).collect()
    };
    let attend = |x: &[f64]| -> Vec<f64> {
        let qkv = map(&b.attention, x);
        let (span, row) = (b.output.inputs, b.attention.outputs);
        let depth = span / s.heads;
        let mut out = vec![0.0; rows * span];
        for n in 0..s.samples {
            for h in 0..s.heads {
                for t in 0..s.steps {
                    let at =
                        |i: usize, part: usize| (n * s.steps + i) * row + part * span + h * depth;
                    let may = |i: usize| {
                        let (allowed, _) = s.mask.allowed.unwrap();
                        allowed[n * s.steps + i] && (!s.mask.causal || i <= t)
                    };
                    let score = |i: usize| -> f64 {
                        let sum: f64 = (0..depth)
                            .map(|c| qkv[at(t, 0) + c] * qkv[at(i, 1) + c])
                            .sum();
                        (sum / (depth as f64).sqrt()).exp()
                    };
                    let e: Vec<f64> = (0..s.steps)
                        .map(|i| if may(i) { score(i) } else { 0.0 })
                        .collect();
                    let sum: f64 = e.iter().sum();
                    for c in 0..depth {
                        let mixed: f64 = (0..s.steps).map(|i| e[i] * qkv[at(i, 2) + c]).sum();
                        let to = (n * s.steps + t) * span + h * depth + c;
                        out[to] = if sum > 0.0 { mixed / sum } else { 0.0 };
                    }
                }
            }
        }
        map(&b.output, &out)
    };
    let add = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    let feed = |x: &[f64]| map(&b.outer, &map(&b.inner, x));
    if s.norm_first {
        let x = add(x, &attend(&norm(b.attention_norm, x)));
        add(&x, &feed(&norm(b.outer_norm, &x)))
    } else {
        let x = norm(b.attention_norm, &add(x, &attend(x)));
        norm(b.outer_norm, &add(&x, &feed(&x)))
    }
}

#[test]
fn blocks_are_their_definition_with_the_same_bits_for_any_threads() {
    let cancel = AtomicBool::new(false);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    // Few and many groups, several samples a group, ragged last groups, odd sizes.
    for (samples, steps, heads, depth, width, hidden) in [
        (1, 1, 1, 1, 1, 1),
        (2, 7, 2, 3, 5, 11),
        (1, 130, 3, 8, 24, 40),
        (37, 9, 2, 4, 8, 16),
        (5, 70, 4, 16, 64, 100),
        (2, 60, 7, 8, 40, 250),
        (1, 340, 2, 8, 24, 40),
    ] {
        for (norm_first, causal) in [(false, false), (true, true), (false, true)] {
            let span = heads * depth;
            let w = [
                weights(width, span, hidden, 1),
                weights(width, span, hidden, 50),
            ];
            let blocks = [
                block(&w[0], width, span, hidden),
                block(&w[1], width, span, hidden),
            ];
            let allowed: Vec<bool> = (0..samples * steps).map(|i| i % 5 != 3).collect();
            let s = Settings {
                samples,
                steps,
                width,
                heads,
                eps: 1e-5,
                norm_first,
                mask: Mask {
                    allowed: Some((&allowed, [samples, 1, 1, steps])),
                    causal,
                },
            };
            let x = numbers(samples * steps * width, 3);
            let run = |control: &Control| {
                let mut y = x.clone();
                forward(control, s, &blocks, &mut y).unwrap();
                y
            };
            let got = run(&Control::serial());
            let many = pool.install(|| run(&Control::new(&cancel, 3)));
            assert_eq!(got, many);
            let mut want: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
            for block in &blocks {
                want = plain(&s, block, &want);
            }
            for (got, want) in got.iter().zip(&want) {
                assert!(
                    (f64::from(*got) - want).abs() <= 2e-4,
                    "{samples},{steps},{heads}: {got} {want}"
                );
            }
        }
    }
}

#[test]
fn sizes_must_fit() {
    let w = weights(4, 4, 6, 0);
    let good = block(&w, 4, 4, 6);
    let s = Settings {
        samples: 1,
        steps: 2,
        width: 4,
        heads: 2,
        eps: 1e-5,
        norm_first: false,
        mask: Mask::default(),
    };
    let run =
        |s: Settings, b: Block, n: usize| forward(&Control::serial(), s, &[b], &mut vec![0.0; n]);
    assert!(run(s, good, 8).is_ok());
    assert!(run(s, good, 7).is_err());
    assert!(run(Settings { heads: 3, ..s }, good, 8).is_err());
    assert!(run(Settings { heads: 0, ..s }, good, 8).is_err());
    let bad = Block {
        outer: good.output,
        ..good
    };
    assert!(run(s, bad, 8).is_err());
}
