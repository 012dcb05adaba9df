//! Inverted residuals on each tier against the three convolutions that they are.

use super::{Conv, ConvShape, InvertedResidual};
use crate::buffer::Buffer;
use crate::gemm::{Activation, Epilogue, PackPart, PackedB};
use crate::tier::{Tier, supported};
use proptest::prelude::*;

fn numbers(seed: usize, n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919 + seed * 104_729 + 13) % 1009) as f32 / 500.0 - 1.0)
        .collect()
}

fn convolution(shape: ConvShape, image: &[f32], w: &[f32], epilogue: &Epilogue) -> Vec<f32> {
    let mut conv = Conv::forward(shape, 1);
    conv.pack(Tier::Scalar, w);
    let mut out = vec![0.0; shape.out_len()];
    let mut scratch = [const { Buffer::new() }; 4];
    let rows = 0..shape.out().0;
    conv.run(Tier::Scalar, image, rows, &mut out, epilogue, &mut scratch);
    out
}

fn check(middle: ConvShape, channels: Option<usize>, filters: usize, cut: usize, act: usize) {
    let wide = middle.channels;
    let narrow = channels.unwrap_or(wide);
    let sizes = [
        narrow * wide,
        wide,
        middle.kernel_len(),
        wide,
        wide * filters,
        filters,
    ];
    let w: Vec<Vec<f32>> = sizes
        .iter()
        .enumerate()
        .map(|(i, &n)| numbers(i, n))
        .collect();
    let activation = [
        Activation::Relu6,
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Linear,
    ][act];
    let block = InvertedResidual {
        middle,
        channels: narrow,
        filters,
        expand: channels.map(|_| (&w[0][..], &w[1][..])),
        depthwise: (&w[2], &w[3]),
        project: (&w[4], &w[5]),
        activation,
    };
    assert!(block.fits());
    let image = numbers(9, block.image_len());
    let pixel = |image, channels, filters| ConvShape {
        image,
        channels,
        filters,
        kernel: (1, 1),
        stride: (1, 1),
        padding: ((0, 0), (0, 0)),
        groups: 1,
        ..middle
    };
    let with = |bias, activation| Epilogue {
        bias: Some(bias),
        activation,
    };
    let mut y = image.clone();
    if channels.is_some() {
        let shape = pixel(middle.image, narrow, wide);
        y = convolution(shape, &y, &w[0], &with(&w[1], activation));
    }
    let y = convolution(middle, &y, &w[2], &with(&w[3], activation));
    let shape = pixel(middle.out(), wide, filters);
    let mut want = convolution(shape, &y, &w[4], &with(&w[5], Activation::Linear));
    if block.adds() {
        want.iter_mut().zip(&image).for_each(|(y, x)| *y += x);
    }
    let scale = want.iter().fold(1.0f32, |a, v| a.max(v.abs()));
    let (rows, columns) = middle.out();
    for tier in supported() {
        let (mut expand, mut project) = (PackedB::default(), PackedB::default());
        let mut parts = block.parts(tier, &mut expand, &mut project, 2);
        parts.iter_mut().for_each(PackPart::pack);
        drop(parts);
        let mut scratch = [const { Buffer::new() }; 4];
        let mut banded = vec![f32::NAN; want.len()];
        let cut = cut % (rows + 1);
        let (head, tail) = banded.split_at_mut(cut * columns * filters);
        let packs = (&expand, &project);
        block.run(tier, packs, &image, 0..cut, head, &mut scratch);
        block.run(tier, packs, &image, cut..rows, tail, &mut scratch);
        let half = wide / 2;
        let mut shares = vec![f32::NAN; 2 * want.len()];
        let mut packs: [PackedB; 2] = Default::default();
        for (channels, share) in [0..half, half..wide]
            .into_iter()
            .zip(shares.chunks_exact_mut(want.len().max(1)))
        {
            block.share(tier, &image, channels, share, &mut packs, &mut scratch);
        }
        let mut divided = vec![f32::NAN; want.len()];
        block.join(tier, &image, &shares, &mut divided);
        for got in [&banded, &divided] {
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let close = (got - want).abs() <= 3e-6 * scale * (wide as f32).sqrt().max(4.0);
                assert!(close, "{tier:?} {block:?} at {i}: {got} not {want}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn any_shape(
        (image, kernel, stride) in ((1usize..12, 1usize..20), (1usize..6, 1usize..6), (1usize..4, 1usize..3)),
        padding in ((0usize..3, 0usize..3), (0usize..3, 0usize..3)),
        (channels, wide, filters) in (prop::option::of(1usize..20), 1usize..100, 1usize..40),
        same: bool,
        cut in 0usize..12,
        act in 0usize..4,
    ) {
        let tall = image.0 + padding.0.0 + padding.0.1 >= kernel.0;
        prop_assume!(tall && image.1 + padding.1.0 + padding.1.1 >= kernel.1);
        let middle = ConvShape {
            image,
            channels: wide,
            filters: wide,
            kernel,
            stride,
            padding,
            dilation: (1, 1),
            groups: wide,
        };
        // A convolution of one channel is not depthwise to the yardstick, but the same.
        let filters = if same { channels.unwrap_or(wide) } else { filters };
        check(middle, channels, filters, cut, act);
    }
}

/// More rows than a strip has.
#[test]
fn several_strips() {
    let middle = ConvShape {
        image: (40, 33),
        channels: 700,
        filters: 700,
        kernel: (5, 5),
        stride: (1, 1),
        padding: ((2, 2), (2, 2)),
        dilation: (1, 1),
        groups: 700,
    };
    check(middle, Some(3), 3, 17, 0);
    check(middle, Some(260), 5, 0, 0);
}
