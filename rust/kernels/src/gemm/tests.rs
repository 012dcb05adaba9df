//! Each tier against plain loops in double precision.

use super::*;
use crate::tier::supported;
use proptest::prelude::*;

/// Numbers that need no more than a seed.
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    (0..n)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// A matrix of that shape in one of four layouts, and its elements in C order.
fn matrix(seed: u64, rows: usize, columns: usize, layout: usize) -> (Vec<f32>, (usize, usize)) {
    let (extra, strides): (usize, (usize, usize)) = match layout {
        0 => (0, (columns, 1)),
        1 => (5, (columns + 5, 1)),
        2 => (0, (1, rows)),
        _ => (0, (2 * columns + 1, 2)),
    };
    let _ = extra;
    let len = (rows.max(1) - 1) * strides.0 + (columns.max(1) - 1) * strides.1 + 1;
    (numbers(seed, len), strides)
}

fn check(m: usize, n: usize, k: usize, layouts: (usize, usize), alpha: f32, beta: f32, act: usize) {
    let (a, sa) = matrix(1, m, k, layouts.0);
    let (b, sb) = matrix(2, k, n, layouts.1);
    let stride = n + m % 3;
    let c = numbers(3, m * stride + 1);
    let bias = numbers(4, n);
    let epilogue = Epilogue {
        bias: (act % 2 == 1).then_some(&bias),
        activation: Activation::ALL[act % Activation::ALL.len()],
    };
    let expected: Vec<f64> = (0..m * n)
        .map(|at| {
            let (i, j) = (at / n, at % n);
            let product: f64 = (0..k)
                .map(|p| f64::from(a[i * sa.0 + p * sa.1]) * f64::from(b[p * sb.0 + j * sb.1]))
                .sum();
            let old = if beta == 0.0 {
                0.0
            } else {
                f64::from(beta) * f64::from(c[i * stride + j])
            };
            let bias = epilogue.bias.map_or(0.0, |bias| f64::from(bias[j]));
            let sum = f64::from(alpha) * product + old + bias;
            f64::from(epilogue.activation.of(sum as f32))
        })
        .collect();
    let slack = 1e-6 * (k as f64 + 4.0);
    for tier in supported() {
        let mut scratch = Buffer::new();
        let run = |once: &mut dyn FnMut(MatMut)| {
            let mut got = c.clone();
            if beta == 0.0 {
                // What is overwritten must not matter.
                got.fill(f32::NAN);
            }
            let before = got.clone();
            once(MatMut::new(&mut got, m, n, stride));
            for i in 0..m {
                for j in 0..stride {
                    let at = i * stride + j;
                    if j < n {
                        let error = (f64::from(got[at]) - expected[i * n + j]).abs();
                        assert!(
                            error <= slack,
                            "{tier:?} {m},{n},{k} {layouts:?} at {i},{j}: {} not {}",
                            got[at],
                            expected[i * n + j]
                        );
                    } else {
                        assert_eq!(got[at].to_bits(), before[at].to_bits(), "gap written");
                    }
                }
            }
            got
        };
        let (av, bv) = (Mat::new(&a, m, k, sa), Mat::new(&b, k, n, sb));
        run(&mut |c| gemm(tier, alpha, av, bv, beta, c, &epilogue, &mut scratch));
        let b = PackedB::new(tier, bv);
        let whole = run(&mut |c| packed(tier, alpha, av, &b, beta, c, &epilogue, &mut scratch));
        for panels in [1, 3] {
            let mut b = PackedB::default();
            b.parts(tier, bv, panels)
                .iter_mut()
                .for_each(PackPart::pack);
            let parts = run(&mut |c| packed(tier, alpha, av, &b, beta, c, &epilogue, &mut scratch));
            assert_eq!(bits(&parts), bits(&whole));
        }
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn small((m, n, k) in (0usize..40, 0usize..70, 0usize..50), layouts in (0usize..4, 0usize..4),
             alpha in prop::sample::select(vec![1.0f32, -0.5]),
             beta in prop::sample::select(vec![0.0f32, 1.0, 0.5]), act in 0usize..14) {
        check(m, n, k, layouts, alpha, beta, act);
    }
}

#[test]
fn several_blocks_of_each_dimension() {
    check(BLOCK_ROWS + 5, 33, INNER + 3, (0, 0), 1.0, 1.0, 1);
    check(3, BLOCK_COLUMNS + 35, INNER + 1, (0, 2), 1.0, 0.0, 3);
    check(BLOCK_ROWS + 1, PACK_COLUMNS + 1, 7, (2, 0), 1.0, 0.0, 0);
    check(15, BLOCK_COLUMNS + 1, 2 * INNER + 1, (3, 3), 2.0, 0.0, 2);
}

#[test]
fn nan_goes_through_rectifiers() {
    for tier in supported() {
        for activation in [Activation::Relu, Activation::LeakyRelu, Activation::Relu6] {
            let mut c = [0.0f32; 2];
            let epilogue = Epilogue {
                bias: None,
                activation,
            };
            let (a, b) = ([f32::NAN, -1.0], [1.0]);
            gemm(
                tier,
                1.0,
                Mat::rows_of(&a, 2, 1),
                Mat::rows_of(&b, 1, 1),
                0.0,
                MatMut::rows_of(&mut c, 2, 1),
                &epilogue,
                &mut Buffer::new(),
            );
            assert!(c[0].is_nan() && c[1] == activation.of(-1.0));
        }
    }
}

#[test]
#[should_panic(expected = "does not fit")]
fn a_view_beyond_its_slice_is_refused() {
    Mat::new(&[0.0; 5], 2, 3, (3, 1));
}

#[test]
#[should_panic(expected = "does not give")]
fn shapes_must_fit() {
    let mut c = [0.0f32; 4];
    let a = [0.0f32; 6];
    gemm(
        Tier::Scalar,
        1.0,
        Mat::rows_of(&a, 2, 3),
        Mat::rows_of(&a, 2, 3),
        0.0,
        MatMut::rows_of(&mut c, 2, 2),
        &Epilogue::NONE,
        &mut Buffer::new(),
    );
}
