//! Chains of inverted residuals over batches of images (N, H, W, C), in parallel; forward only.
//!
//! With several images a task takes one through as many blocks as have kernels that fit a cache
//! together. With few images each block is divided: tall ones into bands of rows, which compute the
//! few rows that two bands need twice; flat ones into channels, each of which adds to all pixels.

use super::conv;
use super::scratch::{self, Chain};
use crate::error::{Error, Result};
use crate::parallel::{Control, chunks, each_mut};
use ironlearn_kernels::buffer::Buffer;
pub use ironlearn_kernels::conv::InvertedResidual;
use ironlearn_kernels::gemm::PackedB;
use ironlearn_kernels::tier::{self, Tier};

/// From this many images on they are the tasks.
const MANY: usize = 4;
/// Numbers of the kernels of blocks that a task takes an image through.
const STAGE: usize = 1 << 19;
/// Tasks that a block of few images is divided into.
const TASKS: usize = 4;
/// From this many rows of outputs on, bands of rows.
const TALL: usize = 28;
/// Channels of a task are multiples of this: whole panels on any tier.
const CHANNELS: usize = 32;
/// Panels that are packed at once.
const PANELS: usize = 4;

/// An error unless the kernels take these blocks, one after the other.
fn check(blocks: &[InvertedResidual], images: usize, x: usize, y: usize) -> Result<()> {
    let shape = |name: &'static str, given: String, expected: String| Error::Shape {
        name,
        given,
        expected,
    };
    for block in blocks {
        conv::check(&block.middle)?;
        if !block.fits() {
            return Err(shape(
                "weights",
                format!("those of {:?}", block.middle),
                "kernels and biases of its widening, depthwise convolution and narrowing".into(),
            ));
        }
    }
    for pair in blocks.windows(2) {
        if pair[0].middle.out() != pair[1].middle.image || pair[0].filters != pair[1].channels {
            return Err(shape(
                "weights",
                format!(
                    "a block for {:?} x {}",
                    pair[1].middle.image, pair[1].channels
                ),
                format!("one for {:?} x {}", pair[0].middle.out(), pair[0].filters),
            ));
        }
    }
    let (first, last) = (blocks.first(), blocks.last());
    let want = (
        images * first.map_or(0, InvertedResidual::image_len),
        images * last.map_or(0, InvertedResidual::out_len),
    );
    if (x, y) != want || blocks.is_empty() {
        return Err(shape(
            "x and y",
            format!("{x} and {y}"),
            format!("{want:?} elements"),
        ));
    }
    Ok(())
}

/// Packs the kernels of `blocks` into pairs of `packs`.
fn pack(
    control: &Control,
    tier: Tier,
    blocks: &[InvertedResidual],
    packs: &mut [PackedB],
) -> Result<()> {
    let mut parts = Vec::new();
    for (block, pair) in blocks.iter().zip(packs.chunks_exact_mut(2)) {
        let (expand, project) = pair.split_at_mut(1);
        parts.extend(block.parts(tier, &mut expand[0], &mut project[0], PANELS));
    }
    each_mut(control, &mut parts, |part| {
        part.pack();
        Ok(())
    })?;
    Ok(())
}

/// Writes to `y` what the blocks make of `images` images `x`; the same bits for any threads.
pub fn forward(
    control: &Control,
    images: usize,
    blocks: &[InvertedResidual],
    x: &[f32],
    y: &mut [f32],
) -> Result<()> {
    check(blocks, images, x.len(), y.len())?;
    if y.is_empty() {
        return Ok(());
    }
    scratch::with_chain(|chain| {
        if images >= MANY {
            by_images(control, blocks, x, y, chain)
        } else {
            by_blocks(control, images, blocks, x, y, chain)
        }
    })
}

/// Ranges of blocks that a task takes an image through.
fn stages(blocks: &[InvertedResidual]) -> Vec<std::ops::Range<usize>> {
    let mut out = Vec::new();
    let (mut from, mut sum) = (0, 0);
    for (i, block) in blocks.iter().enumerate() {
        if i > from && sum + block.weights() > STAGE {
            out.push(from..i);
            (from, sum) = (i, 0);
        }
        sum += block.weights();
    }
    out.push(from..blocks.len());
    out
}

fn by_images(
    control: &Control,
    blocks: &[InvertedResidual],
    x: &[f32],
    y: &mut [f32],
    chain: &mut Chain,
) -> Result<()> {
    let tier = tier::active();
    let images = y.len() / blocks[blocks.len() - 1].out_len();
    let stages = stages(blocks);
    let (mut before, mut after) = (Buffer::new(), Buffer::new());
    for (i, stage) in stages.iter().enumerate() {
        let blocks = &blocks[stage.clone()];
        let packs = chain.packs(2 * blocks.len());
        pack(control, tier, blocks, packs)?;
        let packs = &*packs;
        let size = blocks[blocks.len() - 1].out_len();
        let from = if i == 0 { x } else { &before[..] };
        let to = if i + 1 == stages.len() {
            &mut *y
        } else {
            after.take(images * size)
        };
        let inputs = from.chunks_exact(blocks[0].image_len());
        let mut tasks: Vec<_> = inputs.zip(to.chunks_exact_mut(size)).collect();
        each_mut(control, &mut tasks, |(x, y)| {
            image(tier, blocks, packs, x, y);
            Ok(())
        })?;
        std::mem::swap(&mut before, &mut after);
    }
    Ok(())
}

/// One image through all of `blocks`.
fn image(tier: Tier, blocks: &[InvertedResidual], packs: &[PackedB], x: &[f32], y: &mut [f32]) {
    let run = |block: &InvertedResidual, pair: &[PackedB], x: &[f32], y: &mut [f32]| {
        let rows = 0..block.middle.out().0;
        scratch::with(|s| block.run(tier, (&pair[0], &pair[1]), x, rows, y, s));
    };
    let (last, others) = blocks.split_last().expect("a stage has blocks");
    let (pairs, pair) = packs.split_at(2 * others.len());
    if others.is_empty() {
        run(last, pair, x, y);
        return;
    }
    scratch::with_image(|[before, after]| {
        for (i, (block, pair)) in others.iter().zip(pairs.chunks_exact(2)).enumerate() {
            let from = if i == 0 {
                x
            } else {
                &before[..block.image_len()]
            };
            run(block, pair, from, after.take(block.out_len()));
            std::mem::swap(before, after);
        }
        run(last, pair, &before[..last.image_len()], y);
    });
}

fn by_blocks(
    control: &Control,
    images: usize,
    blocks: &[InvertedResidual],
    x: &[f32],
    y: &mut [f32],
    chain: &mut Chain,
) -> Result<()> {
    let tier = tier::active();
    chain.packs(2);
    let Chain { buffers, packs } = chain;
    let [before, after, shares] = buffers;
    for (i, block) in blocks.iter().enumerate() {
        let from = if i == 0 {
            x
        } else {
            &before[..images * block.image_len()]
        };
        let to = if i + 1 == blocks.len() {
            &mut *y
        } else {
            after.take(images * block.out_len())
        };
        if block.middle.out().0 >= TALL {
            // Tall images have small kernels.
            pack(
                &Control::serial(),
                tier,
                std::slice::from_ref(block),
                &mut packs[..2],
            )?;
            bands(control, tier, block, (&packs[0], &packs[1]), from, to)?;
        } else {
            channels(control, tier, block, from, to, shares)?;
        }
        std::mem::swap(before, after);
    }
    Ok(())
}

/// Each image in bands of rows.
fn bands(
    control: &Control,
    tier: Tier,
    block: &InvertedResidual,
    pair: (&PackedB, &PackedB),
    x: &[f32],
    y: &mut [f32],
) -> Result<()> {
    let (rows, columns) = block.middle.out();
    let band = rows.div_ceil(TASKS);
    let line = columns * block.filters;
    let mut tasks = Vec::new();
    for (x, y) in x
        .chunks_exact(block.image_len())
        .zip(y.chunks_exact_mut(block.out_len()))
    {
        for (i, y) in y.chunks_mut(band * line).enumerate() {
            tasks.push((x, i * band..(i * band + y.len() / line), y));
        }
    }
    each_mut(control, &mut tasks, |(x, rows, y)| {
        scratch::with(|s| block.run(tier, pair, x, rows.clone(), y, s));
        Ok(())
    })?;
    Ok(())
}

/// Each image in wide channels, whose shares of the answer are then added up.
fn channels(
    control: &Control,
    tier: Tier,
    block: &InvertedResidual,
    x: &[f32],
    y: &mut [f32],
    shares: &mut Buffer,
) -> Result<()> {
    let (wide, size) = (block.middle.channels, block.out_len());
    let width = wide.div_ceil(TASKS).next_multiple_of(CHANNELS);
    let parts = wide.div_ceil(width);
    let shares = shares.take(y.len() * parts);
    let mut tasks = Vec::new();
    for (x, shares) in x
        .chunks_exact(block.image_len())
        .zip(shares.chunks_exact_mut(size * parts))
    {
        let ranges = chunks(wide, width);
        tasks.extend(
            ranges
                .zip(shares.chunks_exact_mut(size))
                .map(|(r, s)| (x, r, s)),
        );
    }
    each_mut(control, &mut tasks, |(x, part, share)| {
        scratch::with(|s| {
            scratch::with_pair(|packs| block.share(tier, x, part.clone(), share, packs, s));
        });
        Ok(())
    })?;
    for ((x, shares), y) in x
        .chunks_exact(block.image_len())
        .zip(shares.chunks_exact(size * parts))
        .zip(y.chunks_exact_mut(size))
    {
        block.join(tier, x, shares, y);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ironlearn_kernels::conv::ConvShape;
    use ironlearn_kernels::gemm::Activation;
    use std::sync::atomic::AtomicBool;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 + seed * 104_729 + 13) % 1009) as f32 / 1000.0 - 0.5)
            .collect()
    }

    /// Rows and columns, channels, wide ones, filters, kernel, stride, zeros before and after.
    type Size = (usize, usize, usize, usize, usize, usize, (usize, usize));

    fn weights(&(_, channels, wide, filters, kernel, ..): &Size, seed: usize) -> [Vec<f32>; 6] {
        [
            channels * wide,
            wide,
            kernel * kernel * wide,
            wide,
            wide * filters,
            filters,
        ]
        .map(|n| numbers(n, seed + n))
    }

    fn block<'a>(size: &Size, w: &'a [Vec<f32>; 6]) -> InvertedResidual<'a> {
        let &(image, channels, wide, filters, kernel, stride, pad) = size;
        InvertedResidual {
            middle: ConvShape {
                image: (image, image),
                channels: wide,
                filters: wide,
                kernel: (kernel, kernel),
                stride: (stride, stride),
                padding: (pad, pad),
                dilation: (1, 1),
                groups: wide,
            },
            channels,
            filters,
            expand: (channels != wide).then_some((&w[0][..], &w[1][..])),
            depthwise: (&w[2], &w[3]),
            project: (&w[4], &w[5]),
            activation: Activation::Relu6,
        }
    }

    /// The block as three convolutions and a sum.
    fn plain(b: &InvertedResidual, images: usize, x: &[f32]) -> Vec<f32> {
        let one = |shape: ConvShape, x: &[f32], (w, bias): (&[f32], &[f32]), act| {
            let mut y = vec![0.0; images * shape.out_len()];
            let c = Control::serial();
            conv::conv2d(&c, &shape, images, x, w, Some(bias), act, &mut y).unwrap();
            y
        };
        let by_pixel = |image, channels, filters| ConvShape {
            image,
            channels,
            filters,
            kernel: (1, 1),
            stride: (1, 1),
            padding: ((0, 0), (0, 0)),
            dilation: (1, 1),
            groups: 1,
        };
        let wide = b.middle.channels;
        let y = match b.expand {
            Some(w) => one(
                by_pixel(b.middle.image, b.channels, wide),
                x,
                w,
                b.activation,
            ),
            None => x.to_vec(),
        };
        let y = one(b.middle, &y, b.depthwise, b.activation);
        let shape = by_pixel(b.middle.out(), wide, b.filters);
        let mut y = one(shape, &y, b.project, Activation::Linear);
        if b.adds() {
            y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
        }
        y
    }

    #[test]
    fn chains_are_three_convolutions_each_with_the_same_bits_for_any_threads() {
        let cancel = AtomicBool::new(false);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        let chains: [&[Size]; 4] = [
            &[(5, 3, 3, 4, 3, 1, (1, 1))],
            &[(9, 2, 40, 2, 3, 1, (1, 1)), (9, 2, 7, 5, 5, 2, (2, 2))],
            // Bands, stages of several blocks, a strip of few rows.
            &[
                (64, 8, 8, 4, 3, 2, (0, 1)),
                (32, 4, 300, 4, 5, 1, (2, 2)),
                (32, 4, 70, 9, 3, 1, (1, 1)),
            ],
            // Stages of one block, an inner dimension of two parts.
            &[
                (6, 280, 1200, 280, 5, 1, (2, 2)),
                (6, 280, 900, 6, 3, 2, (0, 1)),
            ],
        ];
        for chain in chains {
            let w: Vec<_> = chain
                .iter()
                .enumerate()
                .map(|(i, s)| weights(s, i))
                .collect();
            let blocks: Vec<_> = chain.iter().zip(&w).map(|(s, w)| block(s, w)).collect();
            for images in [1, 2, 5] {
                let x = numbers(images * blocks[0].image_len(), 3);
                let size = images * blocks[blocks.len() - 1].out_len();
                let run = |control: &Control| {
                    let mut y = vec![f32::NAN; size];
                    forward(control, images, &blocks, &x, &mut y).unwrap();
                    y
                };
                let got = run(&Control::serial());
                let many = pool.install(|| run(&Control::new(&cancel, 3)));
                assert_eq!(got, many);
                let mut want = x.clone();
                for b in &blocks {
                    want = plain(b, images, &want);
                }
                let scale = want.iter().fold(1.0f32, |a, v| a.max(v.abs()));
                for (got, want) in got.iter().zip(&want) {
                    assert!(
                        (got - want).abs() <= 2e-5 * scale,
                        "{chain:?}: {got} {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn sizes_must_fit() {
        let size = (4, 2, 6, 3, 3, 1, (1, 1));
        let w = weights(&size, 0);
        let good = block(&size, &w);
        let run = |blocks: &[InvertedResidual], x: usize, y: usize| {
            forward(
                &Control::serial(),
                1,
                blocks,
                &vec![0.0; x],
                &mut vec![0.0; y],
            )
        };
        assert!(run(&[good], 32, 48).is_ok());
        assert!(run(&[good], 31, 48).is_err());
        assert!(run(&[good], 32, 47).is_err());
        assert!(run(&[good, good], 32, 48).is_err());
        assert!(run(&[], 0, 0).is_err());
        let bad = InvertedResidual {
            activation: Activation::Tanh,
            ..good
        };
        assert!(run(&[bad], 32, 48).is_err());
        let bad = InvertedResidual { filters: 4, ..good };
        assert!(run(&[bad], 32, 64).is_err());
    }
}
