//! Each tier against plain loops in double precision.

use super::*;
use crate::buffer::Buffer;
use crate::gemm::{Activation, Epilogue};
use crate::tier::supported;
use proptest::prelude::*;

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

/// Calls `f` with (place in the image, place in the kernel, place in the answer) of every
/// product of a convolution.
fn products(s: &ConvShape, mut f: impl FnMut(usize, usize, usize)) {
    let (rows, columns) = s.out();
    let (inner, outer) = (s.channels / s.groups, s.filters / s.groups);
    for y in 0..rows {
        for x in 0..columns {
            for ky in 0..s.kernel.0 {
                for kx in 0..s.kernel.1 {
                    let iy = (y * s.stride.0 + ky * s.dilation.0).wrapping_sub(s.padding.0.0);
                    let ix = (x * s.stride.1 + kx * s.dilation.1).wrapping_sub(s.padding.1.0);
                    if iy >= s.image.0 || ix >= s.image.1 {
                        continue;
                    }
                    for o in 0..s.filters {
                        for c in 0..inner {
                            let channel = o / outer * inner + c;
                            f(
                                (iy * s.image.1 + ix) * s.channels + channel,
                                ((ky * s.kernel.1 + kx) * inner + c) * s.filters + o,
                                (y * columns + x) * s.filters + o,
                            );
                        }
                    }
                }
            }
        }
    }
}

fn close(got: &[f32], expected: &[f64], what: &str, s: &ConvShape) {
    assert_eq!(got.len(), expected.len());
    // Terms of a sum, whichever of the three it is.
    let terms = s.kernel_len() + s.out_len();
    let slack = 1e-5 * (terms as f64 / s.filters.min(s.channels) as f64).sqrt();
    for (i, (&a, &b)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(a) - b).abs();
        assert!(error <= slack + 1e-6, "{what} {s:?} at {i}: {a} not {b}");
    }
}

fn check(s: ConvShape, cut: usize, act: usize) {
    let image = numbers(1, s.image_len());
    let w = numbers(2, s.kernel_len());
    let gradient = numbers(3, s.out_len());
    let bias = numbers(4, s.filters);
    let epilogue = Epilogue {
        bias: (act % 2 == 1).then_some(&bias),
        activation: Activation::ALL[act % Activation::ALL.len()],
    };
    let mut out = vec![0.0f64; s.out_len()];
    let mut gx = vec![0.0f64; s.image_len()];
    let mut gw = vec![0.0f64; s.kernel_len()];
    products(&s, |i, k, o| {
        out[o] += f64::from(image[i]) * f64::from(w[k]);
        gx[i] += f64::from(gradient[o]) * f64::from(w[k]);
        gw[k] += f64::from(gradient[o]) * f64::from(image[i]);
    });
    for (o, v) in out.iter_mut().enumerate() {
        *v += epilogue.bias.map_or(0.0, |b| f64::from(b[o % s.filters]));
        *v = f64::from(epilogue.activation.of(*v as f32));
    }
    for tier in supported() {
        let mut scratch = [const { Buffer::new() }; 4];
        for (mut conv, input, expected, epilogue, what) in [
            (Conv::forward(s, 30), &image, &out, epilogue, "answer"),
            (
                Conv::backward(s, 30),
                &gradient,
                &gx,
                Epilogue::NONE,
                "image's gradient",
            ),
        ] {
            conv.pack(tier, &w);
            let cut = cut % (conv.out_rows() + 1);
            let mut got = vec![f32::NAN; expected.len()];
            let (head, tail) = got.split_at_mut(cut * conv.out_row_len());
            conv.run(tier, input, 0..cut, head, &epilogue, &mut scratch);
            conv.run(
                tier,
                input,
                cut..conv.out_rows(),
                tail,
                &epilogue,
                &mut scratch,
            );
            close(&got, expected, what, &s);
        }
        let sums = WeightGradient::new(s);
        let mut got = vec![f32::NAN; gw.len()];
        let mut scratch = [const { Buffer::new() }; 4];
        let rows = s.out().0;
        let cut = cut % (rows + 1);
        for (rows, fresh) in [(0..cut, true), (cut..rows, false)] {
            sums.run(tier, &image, &gradient, rows, fresh, &mut got, &mut scratch);
        }
        close(&got, &gw, "kernel's gradient", &s);
    }
}

fn shapes() -> impl Strategy<Value = ConvShape> {
    let pair = |low: usize, high: usize| (low..=high, low..=high);
    (
        (pair(1, 12), pair(1, 4), pair(1, 3), pair(1, 2)),
        (pair(0, 3), pair(0, 3)),
        (
            1usize..6,
            1usize..40,
            prop::sample::select(vec![1usize, 1, 2, 3]),
        ),
    )
        .prop_map(
            |((image, kernel, stride, dilation), padding, (channels, filters, groups))| ConvShape {
                image,
                channels: channels * groups,
                filters: filters.div_ceil(groups) * groups,
                kernel,
                stride,
                padding,
                dilation,
                groups,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn any_shape(s in shapes(), cut in 0usize..12, act in 0usize..14) {
        check(s, cut, act);
    }
}

/// A plain shape with zeros around.
fn same(size: usize, channels: usize, filters: usize, kernel: usize) -> ConvShape {
    let pad = (kernel / 2, kernel / 2);
    ConvShape {
        image: (size, size),
        channels,
        filters,
        kernel: (kernel, kernel),
        stride: (1, 1),
        padding: (pad, pad),
        dilation: (1, 1),
        groups: 1,
    }
}

#[test]
fn shapes_of_networks() {
    for s in [
        same(28, 1, 32, 3),
        same(15, 32, 33, 3),
        same(9, 70, 5, 1),
        same(14, 40, 1, 5),
        same(7, 130, 40, 3),
        // Large enough for minimal filtering, with and without whole tiles.
        same(16, 64, 80, 3),
        same(13, 69, 65, 3),
        ConvShape {
            padding: ((0, 1), (2, 0)),
            ..same(18, 65, 64, 3)
        },
        same(20, 3, 17, 9),
        ConvShape {
            stride: (2, 2),
            ..same(15, 8, 35, 4)
        },
        ConvShape {
            groups: 19,
            ..same(10, 19, 19, 3)
        },
        ConvShape {
            groups: 4,
            filters: 8,
            ..same(10, 4, 8, 3)
        },
    ] {
        check(s, 3, 1);
    }
}

#[test]
fn a_kernel_larger_than_the_image_gives_nothing() {
    let s = ConvShape {
        padding: ((0, 0), (0, 0)),
        ..same(2, 3, 4, 5)
    };
    assert_eq!(s.out(), (0, 0));
    check(s, 0, 0);
}
