//! Pooling of batches of images (N, H, W, C) in parallel.

use crate::error::{Error, Result};
use crate::parallel::{Control, each_mut};
use ironlearn_kernels::pool::{self, PoolShape};
use ironlearn_kernels::tier;

/// Numbers read by one task.
const CHUNK: usize = 1 << 16;

/// An error unless all parts of `shape` are ones that the kernels take.
pub fn check(shape: &PoolShape) -> Result<()> {
    for (name, pair) in [("pool_size", shape.size), ("stride", shape.stride)] {
        if pair.0 < 1 || pair.1 < 1 {
            return Err(Error::InvalidParameter {
                name,
                given: format!("{pair:?}"),
                expected: "two integers of at least 1".into(),
            });
        }
    }
    let limit = 1 << 31;
    let pads = [
        shape.padding.0.0,
        shape.padding.0.1,
        shape.padding.1.0,
        shape.padding.1.1,
        shape.stride.0,
        shape.stride.1,
        shape.size.0,
        shape.size.1,
    ];
    let area = shape.image.0.saturating_mul(shape.image.1);
    if area >= limit || pads.iter().any(|&n| n >= limit) {
        return Err(Error::TooLarge {
            what: "an image",
            given: format!("{} x {}", shape.image.0, shape.image.1),
            limit: "2^31 pixels".into(),
        });
    }
    Ok(())
}

fn expect(name: &'static str, given: usize, expected: usize) -> Result<()> {
    if given == expected {
        Ok(())
    } else {
        Err(Error::Shape {
            name,
            given: format!("{given} elements"),
            expected: expected.to_string(),
        })
    }
}

/// Calls `f` with (image, rows of its answer, that part of `y`).
fn by_rows<T: Send>(
    control: &Control,
    shape: &PoolShape,
    parts: impl Iterator<Item = T>,
    split: impl Fn(T, usize) -> (T, T),
    f: impl Fn(usize, std::ops::Range<usize>, &mut T) + Sync,
) -> Result<()> {
    let rows = shape.out().0;
    let chunk = (CHUNK * rows).div_ceil(shape.image_len().max(1)).max(1);
    let mut tasks = Vec::new();
    for (image, mut rest) in parts.enumerate() {
        for from in (0..rows).step_by(chunk) {
            let part = from..(from + chunk).min(rows);
            let (head, tail) = split(rest, part.len() * shape.row_len());
            tasks.push((image, part, head));
            rest = tail;
        }
    }
    each_mut(control, &mut tasks, |(image, rows, part)| {
        f(*image, rows.clone(), part);
        Ok(())
    })?;
    Ok(())
}

/// Maxima of windows of `images` images, and their places.
pub fn max_pool2d(
    control: &Control,
    shape: &PoolShape,
    images: usize,
    x: &[f32],
    y: &mut [f32],
    at: &mut [i32],
) -> Result<()> {
    check(shape)?;
    let (read, written) = (shape.image_len(), shape.out_len());
    expect("x", x.len(), images * read)?;
    expect("y", y.len(), images * written)?;
    expect("argmax", at.len(), images * written)?;
    if y.is_empty() {
        return Ok(());
    }
    let tier = tier::active();
    by_rows(
        control,
        shape,
        y.chunks_exact_mut(written)
            .zip(at.chunks_exact_mut(written)),
        |(y, at), n| {
            let ((y0, y1), (at0, at1)) = (y.split_at_mut(n), at.split_at_mut(n));
            ((y0, at0), (y1, at1))
        },
        |i, rows, (y, at)| pool::max(tier, shape, &x[i * read..(i + 1) * read], rows, y, at),
    )
}

/// Gives each maximum's gradient to its place; `channels` of images of `pixels` pixels.
pub fn max_pool2d_backward(
    control: &Control,
    images: usize,
    pixels: usize,
    channels: usize,
    gy: &[f32],
    at: &[i32],
    gx: &mut [f32],
) -> Result<()> {
    expect("argmax", at.len(), gy.len())?;
    expect("gx", gx.len(), images * pixels * channels)?;
    if images == 0 || gx.is_empty() {
        return expect("gy", gy.len(), 0);
    }
    let written = gy.len() / images;
    if written * images != gy.len() || !written.is_multiple_of(channels) {
        return expect("gy", gy.len(), written / channels * channels * images);
    }
    let mut tasks: Vec<(usize, &mut [f32])> =
        gx.chunks_exact_mut(pixels * channels).enumerate().collect();
    each_mut(control, &mut tasks, |(i, gx)| {
        let part = *i * written..(*i + 1) * written;
        if pool::max_backward(channels, &gy[part.clone()], &at[part], gx) {
            Ok(())
        } else {
            Err(Error::Shape {
                name: "argmax",
                given: "a place outside the image".into(),
                expected: format!("0 to {}", pixels - 1),
            })
        }
    })?;
    Ok(())
}

/// Means of windows of `images` images.
pub fn avg_pool2d(
    control: &Control,
    shape: &PoolShape,
    images: usize,
    x: &[f32],
    y: &mut [f32],
) -> Result<()> {
    check(shape)?;
    let (read, written) = (shape.image_len(), shape.out_len());
    expect("x", x.len(), images * read)?;
    expect("y", y.len(), images * written)?;
    if y.is_empty() {
        return Ok(());
    }
    let tier = tier::active();
    by_rows(
        control,
        shape,
        y.chunks_exact_mut(written),
        |y, n| y.split_at_mut(n),
        |i, rows, y| pool::avg(tier, shape, &x[i * read..(i + 1) * read], rows, y),
    )
}

/// The gradient of [`avg_pool2d`] with respect to the images.
pub fn avg_pool2d_backward(
    control: &Control,
    shape: &PoolShape,
    images: usize,
    gy: &[f32],
    gx: &mut [f32],
) -> Result<()> {
    check(shape)?;
    let (read, written) = (shape.image_len(), shape.out_len());
    expect("gx", gx.len(), images * read)?;
    expect("gy", gy.len(), images * written)?;
    if gx.is_empty() {
        return Ok(());
    }
    let tier = tier::active();
    let mut tasks: Vec<(usize, &mut [f32])> = gx.chunks_exact_mut(read).enumerate().collect();
    each_mut(control, &mut tasks, |(i, gx)| {
        pool::avg_backward(tier, shape, &gy[*i * written..(*i + 1) * written], gx);
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn threads_do_not_change_bits() {
        let shape = PoolShape {
            image: (70, 50),
            channels: 40,
            size: (3, 3),
            stride: (2, 2),
            padding: ((1, 1), (1, 1)),
        };
        let images = 3;
        let x: Vec<f32> = (0..images * shape.image_len())
            .map(|i| ((i * 2_654_435_761) % 1000) as f32)
            .collect();
        let run = |threads: usize| {
            let n = images * shape.out_len();
            let (mut y, mut at, mut mean) = (vec![0.0; n], vec![0; n], vec![0.0; n]);
            let (mut gx, mut ga) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            let cancel = AtomicBool::new(false);
            let control = Control::new(&cancel, threads);
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                max_pool2d(&control, &shape, images, &x, &mut y, &mut at).unwrap();
                avg_pool2d(&control, &shape, images, &x, &mut mean).unwrap();
                max_pool2d_backward(&control, images, 70 * 50, 40, &y, &at, &mut gx).unwrap();
                avg_pool2d_backward(&control, &shape, images, &y, &mut ga).unwrap();
            });
            (y, at, mean, gx, ga)
        };
        let one = run(1);
        assert_eq!(one, run(3));
        // What goes in comes out again.
        let sum = |v: &[f32]| v.iter().map(|&v| f64::from(v)).sum::<f64>();
        assert!((sum(&one.0) - sum(&one.3)).abs() < 1e-3 * sum(&one.0));
        assert!((sum(&one.0) - sum(&one.4)).abs() < 1e-3 * sum(&one.0));
    }

    #[test]
    fn places_outside_are_refused() {
        let mut gx = [0.0; 4];
        let error = max_pool2d_backward(&Control::serial(), 1, 4, 1, &[1.0], &[4], &mut gx);
        assert!(error.unwrap_err().to_string().contains("argmax"));
    }
}
