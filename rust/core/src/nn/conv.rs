//! Convolutions of batches of images (N, H, W, C) in parallel.

use super::scratch;
use crate::error::{Error, Result};
use crate::parallel::{Control, each_mut, fill_chunks};
use ironlearn_kernels::conv::{Conv, ConvShape, WeightGradient};
use ironlearn_kernels::gemm::{Activation, Epilogue};
use ironlearn_kernels::tier;
use std::ops::Range;

/// Multiplications that a chunk of rows is worth.
const CHUNK: usize = 1 << 22;
/// Pixels that a chunk has at least, where there are enough chunks: it reads the whole kernel.
const PIXELS: usize = 196;
/// Chunks that a small batch is divided into.
const CHUNKS: usize = 4;
/// Numbers that one chunk reads of an image at most, so that they stay in the caches.
const WINDOW: usize = 1 << 18;
/// Most partial sums of a kernel's gradient.
const MOST_SUMS: usize = 8;
/// Numbers of all partial sums together at most (two sums are always allowed).
const SUM_ROOM: usize = 1 << 22;

/// An error unless all parts of `shape` are ones that the kernels take.
pub fn check(shape: &ConvShape) -> Result<()> {
    let positive = |name: &'static str, pair: (usize, usize)| {
        if pair.0 >= 1 && pair.1 >= 1 {
            Ok(())
        } else {
            Err(Error::InvalidParameter {
                name,
                given: format!("{pair:?}"),
                expected: "two integers of at least 1".into(),
            })
        }
    };
    positive("kernel_size", shape.kernel)?;
    positive("stride", shape.stride)?;
    positive("dilation", shape.dilation)?;
    let groups = shape.groups;
    if groups < 1 || !shape.channels.is_multiple_of(groups) || !shape.filters.is_multiple_of(groups)
    {
        return Err(Error::InvalidParameter {
            name: "groups",
            given: groups.to_string(),
            expected: format!(
                "a divisor of the input's {} and the output's {} channels",
                shape.channels, shape.filters
            ),
        });
    }
    let sizes = [
        shape.image.0,
        shape.image.1,
        shape.channels,
        shape.filters,
        shape.kernel.0,
        shape.kernel.1,
        shape.stride.0,
        shape.stride.1,
        shape.dilation.0,
        shape.dilation.1,
        shape.padding.0.0,
        shape.padding.0.1,
        shape.padding.1.0,
        shape.padding.1.1,
    ];
    const LIMIT: usize = 1 << 31;
    let axis = |image: usize, pad: (usize, usize), kernel: usize, dilation: usize| {
        let size = image.saturating_add(pad.0).saturating_add(pad.1);
        size.saturating_add(kernel.saturating_mul(dilation))
    };
    let rows = axis(
        shape.image.0,
        shape.padding.0,
        shape.kernel.0,
        shape.dilation.0,
    );
    let columns = axis(
        shape.image.1,
        shape.padding.1,
        shape.kernel.1,
        shape.dilation.1,
    );
    let area = rows.saturating_mul(columns);
    let numbers = area.saturating_mul(shape.channels.max(shape.filters));
    let elements = shape.kernel.0.saturating_mul(shape.kernel.1);
    let elements = elements
        .saturating_mul(shape.channels)
        .saturating_mul(shape.filters);
    if sizes.iter().any(|&size| size >= LIMIT) || numbers.max(elements) >= 1 << 40 {
        return Err(Error::TooLarge {
            what: "a convolution",
            given: format!("{shape:?}"),
            limit: "2^31 along an axis".into(),
        });
    }
    Ok(())
}

/// An error unless `given` numbers are `expected`.
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

/// Rows of one image's answer that make a chunk.
fn rows_of_chunk(images: usize, rows: usize, row_pixels: usize, cost: usize, read: usize) -> usize {
    if rows == 0 {
        return 1;
    }
    let pieces = (cost / CHUNK).min(rows * row_pixels / PIXELS);
    let pieces = pieces.max(read / WINDOW);
    // A small batch is divided further, if that is worth it.
    let wanted = CHUNKS
        .div_ceil(images.max(1))
        .min(cost * images / (CHUNK / 16));
    // Whole tiles of minimal filtering.
    rows.div_ceil(pieces.max(wanted).clamp(1, rows))
        .next_multiple_of(4)
}

/// Runs `conv` over all images.
fn run(
    control: &Control,
    conv: &Conv,
    images: usize,
    cost: usize,
    x: &[f32],
    epilogue: &Epilogue,
    out: &mut [f32],
) -> Result<()> {
    let (rows, width) = (conv.out_rows(), conv.out_row_len());
    let image = conv.image_len();
    if out.is_empty() {
        return Ok(());
    }
    let chunk = rows_of_chunk(images, rows, conv.out_columns(), cost, image);
    let tier = tier::active();
    let mut tasks: Vec<(usize, Range<usize>, &mut [f32])> = Vec::new();
    for (i, mut rest) in out.chunks_exact_mut(rows * width).enumerate() {
        for from in (0..rows).step_by(chunk) {
            let part = from..(from + chunk).min(rows);
            let (head, tail) = rest.split_at_mut(part.len() * width);
            tasks.push((i, part, head));
            rest = tail;
        }
    }
    each_mut(control, &mut tasks, |(i, part, out)| {
        let x = &x[*i * image..(*i + 1) * image];
        scratch::with(|s| conv.run(tier, x, part.clone(), out, epilogue, s));
        Ok(())
    })?;
    Ok(())
}

/// `act(x * w + b)` of `images` images, into `out` (N, OH, OW, O).
pub fn conv2d(
    control: &Control,
    shape: &ConvShape,
    images: usize,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    out: &mut [f32],
) -> Result<()> {
    check(shape)?;
    expect("x", x.len(), images * shape.image_len())?;
    expect("w", w.len(), shape.kernel_len())?;
    expect("y", out.len(), images * shape.out_len())?;
    if let Some(bias) = bias {
        expect("b", bias.len(), shape.filters)?;
    }
    let mut conv = Conv::forward(*shape, images);
    conv.pack(tier::active(), w);
    let epilogue = Epilogue { bias, activation };
    run(control, &conv, images, shape.cost(), x, &epilogue, out)
}

/// The gradient with respect to the images, into `out` (N, H, W, C).
pub fn conv2d_grad_input(
    control: &Control,
    shape: &ConvShape,
    images: usize,
    gy: &[f32],
    w: &[f32],
    out: &mut [f32],
) -> Result<()> {
    check(shape)?;
    expect("gy", gy.len(), images * shape.out_len())?;
    expect("w", w.len(), shape.kernel_len())?;
    expect("gx", out.len(), images * shape.image_len())?;
    let mut conv = Conv::backward(*shape, images);
    conv.pack(tier::active(), w);
    run(
        control,
        &conv,
        images,
        shape.cost(),
        gy,
        &Epilogue::NONE,
        out,
    )
}

/// The gradient with respect to the kernel, into `out` (kh, kw, C / groups, O).
pub fn conv2d_grad_weight(
    control: &Control,
    shape: &ConvShape,
    images: usize,
    x: &[f32],
    gy: &[f32],
    out: &mut [f32],
) -> Result<()> {
    check(shape)?;
    expect("x", x.len(), images * shape.image_len())?;
    expect("gy", gy.len(), images * shape.out_len())?;
    expect("gw", out.len(), shape.kernel_len())?;
    let rows = shape.out().0;
    if images == 0 || rows == 0 || out.is_empty() {
        out.fill(0.0);
        return Ok(());
    }
    // Chunks are rows of all images together, so that one image alone is divided as well.
    let all = images * rows;
    let worth = (images * shape.cost() / (CHUNK / 16)).clamp(1, MOST_SUMS);
    let sums = worth.min((SUM_ROOM / out.len()).max(2)).min(all);
    let tier = tier::active();
    let gradient = WeightGradient::new(*shape);
    let mut parts: Vec<Vec<f32>> = (1..sums).map(|_| vec![0.0; out.len()]).collect();
    {
        let first = std::iter::once(&mut *out);
        let mut tasks: Vec<(usize, &mut [f32])> = first
            .chain(parts.iter_mut().map(Vec::as_mut_slice))
            .enumerate()
            .collect();
        each_mut(control, &mut tasks, |(s, sum)| {
            let (mut from, to) = (*s * all / sums, (*s + 1) * all / sums);
            let mut fresh = true;
            while from < to {
                control.check()?;
                let image = from / rows;
                let end = to.min((image + 1) * rows);
                let (in_len, out_len) = (shape.image_len(), shape.out_len());
                scratch::with(|s| {
                    gradient.run(
                        tier,
                        &x[image * in_len..(image + 1) * in_len],
                        &gy[image * out_len..(image + 1) * out_len],
                        from - image * rows..end - image * rows,
                        fresh,
                        sum,
                        s,
                    );
                });
                fresh = false;
                from = end;
            }
            Ok(())
        })?;
    }
    if parts.is_empty() {
        return Ok(());
    }
    fill_chunks(control, out, 1, 1 << 14, |range, out| {
        for part in &parts {
            let part = &part[range.clone()];
            out.iter_mut().zip(part).for_each(|(v, p)| *v += p);
        }
        Ok(())
    })
}

/// Numbers that one task of [`activation_backward`] works on.
const SLOPES: usize = 1 << 15;

/// `gy` times the activation's slope at `y`, into `gz`, and its sum over all but the last axis.
pub fn activation_backward(
    control: &Control,
    channels: usize,
    gy: &[f32],
    y: &[f32],
    activation: Activation,
    gz: &mut [f32],
    sums: &mut [f32],
) -> Result<()> {
    expect("y", y.len(), gy.len())?;
    expect("gz", gz.len(), gy.len())?;
    expect("gb", sums.len(), channels)?;
    if channels == 0 {
        return Ok(());
    }
    let rows = (SLOPES / channels).max(1);
    let mut tasks: Vec<(usize, &mut [f32], Vec<f32>)> = gz
        .chunks_mut(rows * channels)
        .enumerate()
        .map(|(i, part)| (i * rows * channels, part, vec![0.0; channels]))
        .collect();
    let tier = tier::active();
    each_mut(control, &mut tasks, |(from, gz, sum)| {
        let range = *from..*from + gz.len();
        ironlearn_kernels::conv::slopes(tier, activation, &gy[range.clone()], &y[range], gz, sum);
        Ok(())
    })?;
    for (c, sum) in sums.iter_mut().enumerate() {
        *sum = tasks.iter().map(|task| f64::from(task.2[c])).sum::<f64>() as f32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| (((i + seed) * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0)
            .collect()
    }

    fn all(threads: usize, shape: &ConvShape, images: usize) -> [Vec<f32>; 3] {
        let x = numbers(images * shape.image_len(), 1);
        let w = numbers(shape.kernel_len(), 2);
        let gy = numbers(images * shape.out_len(), 3);
        let mut y = vec![0.0; gy.len()];
        let mut gx = vec![0.0; x.len()];
        let mut gw = vec![0.0; w.len()];
        let cancel = AtomicBool::new(false);
        let control = Control::new(&cancel, threads);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            conv2d(
                &control,
                shape,
                images,
                &x,
                &w,
                None,
                Activation::Linear,
                &mut y,
            )
            .unwrap();
            conv2d_grad_input(&control, shape, images, &gy, &w, &mut gx).unwrap();
            conv2d_grad_weight(&control, shape, images, &x, &gy, &mut gw).unwrap();
        });
        // The three are adjoint to each other: <conv(x, w), gy> = <x, gx> = <w, gw>.
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(&a, &b)| f64::from(a) * f64::from(b))
                .sum()
        };
        let (first, second, third) = (dot(&y, &gy), dot(&x, &gx), dot(&w, &gw));
        let size = y.len() as f64;
        assert!((first - second).abs() <= 1e-4 * size, "{first} {second}");
        assert!((first - third).abs() <= 1e-4 * size, "{first} {third}");
        [y, gx, gw]
    }

    #[test]
    fn threads_do_not_change_bits_and_gradients_are_adjoint() {
        let pad = (1, 1);
        let plain = ConvShape {
            image: (40, 30),
            channels: 16,
            filters: 20,
            kernel: (3, 3),
            stride: (1, 1),
            padding: (pad, pad),
            dilation: (1, 1),
            groups: 1,
        };
        let strided = ConvShape {
            stride: (2, 2),
            ..plain
        };
        for shape in [plain, strided] {
            for images in [1, 5] {
                assert_eq!(all(1, &shape, images), all(3, &shape, images));
            }
        }
    }

    #[test]
    fn nothing_in_nothing_out() {
        let shape = ConvShape {
            image: (4, 4),
            channels: 2,
            filters: 3,
            kernel: (2, 2),
            stride: (1, 1),
            padding: ((0, 0), (0, 0)),
            dilation: (1, 1),
            groups: 1,
        };
        let [y, gx, gw] = all(1, &shape, 0);
        assert!(y.is_empty() && gx.is_empty());
        assert_eq!(gw, vec![0.0; shape.kernel_len()]);
    }

    #[test]
    fn bad_shapes_are_refused() {
        let shape = ConvShape {
            image: (4, 4),
            channels: 3,
            filters: 4,
            kernel: (2, 2),
            stride: (1, 1),
            padding: ((0, 0), (0, 0)),
            dilation: (1, 1),
            groups: 2,
        };
        let error = check(&shape).unwrap_err().to_string();
        assert!(error.contains("groups must be a divisor"), "{error}");
        let shape = ConvShape {
            groups: 1,
            stride: (0, 1),
            ..shape
        };
        let error = check(&shape).unwrap_err().to_string();
        assert!(error.contains("stride must be two integers"), "{error}");
        let shape = ConvShape {
            stride: (1, 1),
            padding: ((usize::MAX, 0), (0, 0)),
            ..shape
        };
        assert!(matches!(check(&shape), Err(Error::TooLarge { .. })));
    }
}
