//! Scaled dot-product attention without the matrix of all weights.
//!
//! Forward: tiles of scores, an online softmax (Milakov and Gimelshein, arXiv:1805.02867;
//! Rabe and Staats, arXiv:2112.05682). Backward: the tiles again from the logarithms of the
//! softmax's sums (Dao et al., *FlashAttention*, arXiv:2205.14135). Each sample's head is one
//! task, so nothing depends on the number of threads.

use crate::error::{Error, Result};
use crate::parallel::{Control, each_mut};
use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::gemm::{Epilogue, Mat, MatMut, gemm};
use ironlearn_kernels::softmax::{self, Online};
use ironlearn_kernels::tier::{self, Tier};
use std::ops::Range;

/// Queries of a tile.
const QUERIES: usize = 64;
/// Keys of a tile: with [`QUERIES`], two tiles of scores stay in the second-level cache.
const KEYS: usize = 128;

/// Sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Samples.
    pub samples: usize,
    /// Heads.
    pub heads: usize,
    /// Queries of each sample.
    pub queries: usize,
    /// Keys of each sample.
    pub keys: usize,
    /// Width of a query and of a key.
    pub width: usize,
    /// Width of a value.
    pub depth: usize,
}

/// Where the vectors of all heads are: that of sample n, head h and step t begins at
/// `offset + n strides.0 + h strides.1 + t strides.2`.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    data: &'a [f32],
    offset: usize,
    strides: (usize, usize, usize),
}

impl<'a> Heads<'a> {
    /// Vectors of `width` numbers in an array (samples, heads, steps, width).
    pub fn by_head(data: &'a [f32], heads: usize, steps: usize, width: usize) -> Self {
        Heads {
            data,
            offset: 0,
            strides: (heads * steps * width, steps * width, width),
        }
    }

    /// Vectors of `width` numbers in an array (samples, steps, row), where a row of `row` numbers
    /// holds those of all heads side by side from `offset` on.
    pub fn by_step(data: &'a [f32], steps: usize, width: usize, row: usize, offset: usize) -> Self {
        Heads {
            data,
            offset,
            strides: (steps * row, width, row),
        }
    }

    pub(super) fn matrix(&self, (n, h): (usize, usize), steps: usize, width: usize) -> Mat<'a> {
        let from = self.offset + n * self.strides.0 + h * self.strides.1;
        Mat::new(&self.data[from..], steps, width, (self.strides.2, 1))
    }

    fn vector(&self, (n, h): (usize, usize), step: usize, width: usize) -> &'a [f32] {
        let (a, b, c) = self.strides;
        let from = self.offset + n * a + h * b + step * c;
        &self.data[from..from + width]
    }
}

/// Which query may look at which key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mask<'a> {
    /// An array (samples, heads, queries, keys), each axis whole or 1: true may be looked at.
    pub allowed: Option<(&'a [bool], [usize; 4])>,
    /// Query t may look at keys up to t + keys - queries only.
    pub causal: bool,
}

impl Mask<'_> {
    pub(super) fn check(&self, s: Sizes) -> Result<()> {
        let Some((data, shape)) = self.allowed else {
            return Ok(());
        };
        let full = [s.samples, s.heads, s.queries, s.keys];
        let fits = shape.iter().zip(full).all(|(&m, n)| m == n || m == 1);
        if fits && data.len() == shape.iter().product::<usize>() {
            return Ok(());
        }
        Err(Error::Shape {
            name: "mask",
            given: format!("shape {shape:?}"),
            expected: format!("one that broadcasts to {full:?}"),
        })
    }

    /// Keys from which on none may be looked at by any of the queries before `end`.
    fn visible(&self, s: Sizes, end: usize) -> usize {
        if self.causal {
            (end + s.keys).saturating_sub(s.queries).min(s.keys)
        } else {
            s.keys
        }
    }

    /// Sets the scores of query `t` to keys `keys` to minus infinity where it may not look.
    fn hide(
        &self,
        s: Sizes,
        (n, h): (usize, usize),
        t: usize,
        keys: &Range<usize>,
        row: &mut [f32],
    ) {
        if let Some((data, shape)) = self.allowed {
            let index = [n, h, t];
            let mut at = 0;
            for axis in 0..3 {
                at = at * shape[axis] + if shape[axis] == 1 { 0 } else { index[axis] };
            }
            if shape[3] == 1 {
                if !data[at] {
                    row.fill(f32::NEG_INFINITY);
                }
            } else {
                let from = at * shape[3] + keys.start;
                for (score, &may) in row.iter_mut().zip(&data[from..from + keys.len()]) {
                    if !may {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
        }
        let seen = self.visible(s, t + 1).saturating_sub(keys.start);
        if seen < row.len() {
            row[seen..].fill(f32::NEG_INFINITY);
        }
    }
}

/// The columns of `parts` heads of `width` side by side in each sample of an array (samples,
/// steps, parts * width).
pub(super) fn columns(
    data: &mut [f32],
    samples: usize,
    steps: usize,
    parts: usize,
    width: usize,
) -> Vec<Vec<MatMut<'_>>> {
    let row = parts * width;
    data.chunks_mut(steps * row)
        .take(samples)
        .map(|sample| {
            let mut rest = MatMut::rows_of(sample, steps, row);
            let mut out = Vec::with_capacity(parts);
            for _ in 0..parts {
                let (part, others) = rest.split_columns(width);
                out.push(part);
                rest = others;
            }
            out
        })
        .collect()
}

/// Writes attention to `out`, an array (samples, queries, heads, depth), and the logarithm of each
/// softmax's sum to `lse`, (samples, heads, queries).
pub fn forward(
    control: &Control,
    s: Sizes,
    q: Heads,
    k: Heads,
    v: Heads,
    mask: Mask,
    scale: f32,
    out: &mut [f32],
    lse: &mut [f32],
) -> Result<()> {
    mask.check(s)?;
    let tier = tier::active();
    let outs = columns(out, s.samples, s.queries, s.heads, s.depth);
    let mut tasks: Vec<_> = outs
        .into_iter()
        .flatten()
        .zip(lse.chunks_mut(s.queries))
        .enumerate()
        .collect();
    each_mut(control, &mut tasks, |(i, (out, lse))| {
        let place = (*i / s.heads, *i % s.heads);
        let q = q.matrix(place, s.queries, s.width);
        let k = k.matrix(place, s.keys, s.width);
        let v = v.matrix(place, s.keys, s.depth);
        head(tier, s, place, q, k, v, mask, scale, out, lse);
        Ok(())
    })?;
    Ok(())
}

/// [`forward`] of one head.
pub(super) fn head(
    tier: Tier,
    s: Sizes,
    place: (usize, usize),
    q: Mat,
    k: Mat,
    v: Mat,
    mask: Mask,
    scale: f32,
    out: &mut MatMut,
    lse: &mut [f32],
) {
    let mut scratch = Buffer::new();
    let mut scores = vec![0.0f32; QUERIES.min(s.queries) * KEYS.min(s.keys)];
    let mut sums = vec![0.0f32; QUERIES.min(s.queries) * s.depth];
    for start in (0..s.queries).step_by(QUERIES) {
        let rows = start..(start + QUERIES).min(s.queries);
        let mut states = [Online::NEW; QUERIES];
        let visible = mask.visible(s, rows.end);
        for from in (0..visible).step_by(KEYS) {
            let keys = from..(from + KEYS).min(visible);
            let (m, n) = (rows.len(), keys.len());
            let scores = &mut scores[..m * n];
            gemm(
                tier,
                scale,
                q.row_range(rows.clone()),
                k.row_range(keys.clone()).t(),
                0.0,
                MatMut::rows_of(scores, m, n),
                &Epilogue::NONE,
                &mut scratch,
            );
            for (i, row) in scores.chunks_exact_mut(n).enumerate() {
                mask.hide(s, place, rows.start + i, &keys, row);
                let sum = &mut sums[i * s.depth..(i + 1) * s.depth];
                states[i].add(tier, row, sum, from == 0);
            }
            gemm(
                tier,
                1.0,
                Mat::rows_of(scores, m, n),
                v.row_range(keys),
                if from == 0 { 0.0 } else { 1.0 },
                MatMut::rows_of(&mut sums[..m * s.depth], m, s.depth),
                &Epilogue::NONE,
                &mut scratch,
            );
        }
        for (i, t) in rows.enumerate() {
            let sum = &mut sums[i * s.depth..(i + 1) * s.depth];
            lse[t] = states[i].finish(tier, sum);
            out.row(t).copy_from_slice(sum);
        }
    }
}

/// Where the gradients of queries, keys and values go.
pub enum Gradients<'a> {
    /// One array (samples, steps, 3, heads, width), as the three came from one product.
    Packed(&'a mut [f32]),
    /// Arrays (samples, queries, heads, width), (samples, keys, heads, width) and
    /// (samples, keys, heads, depth).
    Apart(&'a mut [f32], &'a mut [f32], &'a mut [f32]),
}

/// Writes the gradients of [`forward`]'s q, k and v.
///
/// `gout` and `out` are of one layout, `lse` is [`forward`]'s.
pub fn backward(
    control: &Control,
    s: Sizes,
    gout: Heads,
    q: Heads,
    k: Heads,
    v: Heads,
    out: Heads,
    lse: &[f32],
    mask: Mask,
    scale: f32,
    gradients: Gradients,
) -> Result<()> {
    mask.check(s)?;
    let tier = tier::active();
    let heads: Vec<[MatMut; 3]> = match gradients {
        Gradients::Packed(all) => columns(all, s.samples, s.queries, 3 * s.heads, s.width)
            .into_iter()
            .flat_map(|parts| {
                let mut q = parts.into_iter();
                let mut k = Vec::new();
                let first: Vec<_> = q.by_ref().take(s.heads).collect();
                k.extend(q.by_ref().take(s.heads));
                first
                    .into_iter()
                    .zip(k)
                    .zip(q)
                    .map(|((q, k), v)| [q, k, v])
                    .collect::<Vec<_>>()
            })
            .collect(),
        Gradients::Apart(q, k, v) => {
            let q = columns(q, s.samples, s.queries, s.heads, s.width);
            let k = columns(k, s.samples, s.keys, s.heads, s.width);
            let v = columns(v, s.samples, s.keys, s.heads, s.depth);
            let (q, k, v) = (
                q.into_iter().flatten(),
                k.into_iter().flatten(),
                v.into_iter().flatten(),
            );
            q.zip(k).zip(v).map(|((q, k), v)| [q, k, v]).collect()
        }
    };
    let mut tasks: Vec<_> = heads.into_iter().enumerate().collect();
    each_mut(control, &mut tasks, |(i, grads)| {
        let place = (*i / s.heads, *i % s.heads);
        // The sum of weights times their gradients is that of the output times its gradient.
        let means: Vec<f32> = (0..s.queries)
            .map(|t| {
                let g = gout.vector(place, t, s.depth);
                softmax::product(tier, g, out.vector(place, t, s.depth))
            })
            .collect();
        let inputs = Inputs {
            gout: gout.matrix(place, s.queries, s.depth),
            q: q.matrix(place, s.queries, s.width),
            k: k.matrix(place, s.keys, s.width),
            v: v.matrix(place, s.keys, s.depth),
            lse: &lse[*i * s.queries..(*i + 1) * s.queries],
            means: &means,
        };
        head_backward(tier, s, place, inputs, mask, scale, grads);
        Ok(())
    })?;
    Ok(())
}

/// Some rows of a matrix.
fn part<'a>(matrix: &'a mut MatMut, rows: Range<usize>) -> MatMut<'a> {
    let (_, rest) = matrix.again().split_rows(rows.start);
    rest.split_rows(rows.len()).0
}

/// What [`head_backward`] reads.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    gout: Mat<'a>,
    q: Mat<'a>,
    k: Mat<'a>,
    v: Mat<'a>,
    lse: &'a [f32],
    /// The sum of each query's weights times their gradients.
    means: &'a [f32],
}

/// [`backward`] of one head.
fn head_backward(
    tier: Tier,
    s: Sizes,
    place: (usize, usize),
    x: Inputs,
    mask: Mask,
    scale: f32,
    [gq, gk, gv]: &mut [MatMut; 3],
) {
    let mut scratch = Buffer::new();
    let size = QUERIES.min(s.queries) * KEYS.min(s.keys);
    let mut weights = vec![0.0f32; size];
    let mut slopes = vec![0.0f32; size];
    for matrix in [&mut *gq, &mut *gk, &mut *gv] {
        for t in 0..matrix.rows() {
            matrix.row(t).fill(0.0);
        }
    }
    for start in (0..s.queries).step_by(QUERIES) {
        let rows = start..(start + QUERIES).min(s.queries);
        let (gout, q) = (x.gout.row_range(rows.clone()), x.q.row_range(rows.clone()));
        let visible = mask.visible(s, rows.end);
        for from in (0..visible).step_by(KEYS) {
            let keys = from..(from + KEYS).min(visible);
            let (m, n) = (rows.len(), keys.len());
            let (k, v) = (x.k.row_range(keys.clone()), x.v.row_range(keys.clone()));
            let weights = &mut weights[..m * n];
            let slopes = &mut slopes[..m * n];
            let mut product = |alpha: f32, a: Mat, b: Mat, beta: f32, c: MatMut| {
                gemm(tier, alpha, a, b, beta, c, &Epilogue::NONE, &mut scratch);
            };
            product(scale, q, k.t(), 0.0, MatMut::rows_of(weights, m, n));
            product(1.0, gout, v.t(), 0.0, MatMut::rows_of(slopes, m, n));
            for (i, t) in rows.clone().enumerate() {
                let row = &mut weights[i * n..(i + 1) * n];
                mask.hide(s, place, t, &keys, row);
                softmax::weights(tier, row, x.lse[t]);
                softmax::score_gradient(
                    tier,
                    row,
                    &mut slopes[i * n..(i + 1) * n],
                    x.means[t],
                    scale,
                );
            }
            let (weights, slopes) = (Mat::rows_of(weights, m, n), Mat::rows_of(slopes, m, n));
            product(1.0, weights.t(), gout, 1.0, part(gv, keys.clone()));
            product(1.0, slopes, k, 1.0, part(gq, rows.clone()));
            product(1.0, slopes.t(), q, 1.0, part(gk, keys));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 + seed * 104_729 + 13) % 1009) as f32 / 500.0 - 1.0)
            .collect()
    }

    /// Attention of one query after the other, in double precision.
    fn plain(s: Sizes, q: &[f32], k: &[f32], v: &[f32], mask: Mask, scale: f32) -> Vec<f64> {
        let mut out = vec![0.0; s.samples * s.queries * s.heads * s.depth];
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        for n in 0..s.samples {
            for h in 0..s.heads {
                for t in 0..s.queries {
                    let mut may = vec![0.0f32; s.keys];
                    mask.hide(s, (n, h), t, &(0..s.keys), &mut may);
                    let place = (n, h);
                    let query = Heads::by_head(q, s.heads, s.queries, s.width);
                    let keys = Heads::by_head(k, s.heads, s.keys, s.width);
                    let values = Heads::by_head(v, s.heads, s.keys, s.depth);
                    let score = |i: usize| {
                        let key = keys.vector(place, i, s.width);
                        f64::from(scale) * dot(query.vector(place, t, s.width), key)
                    };
                    let e: Vec<f64> = (0..s.keys)
                        .map(|i| if may[i] == 0.0 { score(i).exp() } else { 0.0 })
                        .collect();
                    let sum: f64 = e.iter().sum();
                    if sum == 0.0 {
                        continue;
                    }
                    let at = ((n * s.queries + t) * s.heads + h) * s.depth;
                    for i in 0..s.keys {
                        for (c, x) in values.vector(place, i, s.depth).iter().enumerate() {
                            out[at + c] += e[i] / sum * f64::from(*x);
                        }
                    }
                }
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn equals_the_definition_and_its_differences(
            (samples, heads) in (1usize..3, 1usize..4),
            (queries, keys) in (1usize..140, 1usize..140),
            (width, depth) in (1usize..20, 1usize..20),
            causal: bool,
            masked in 0usize..3,
            seed in 0usize..100,
        ) {
            let s = Sizes { samples, heads, queries, keys, width, depth };
            let q = numbers(samples * heads * queries * width, seed);
            let k = numbers(samples * heads * keys * width, seed + 1);
            let v = numbers(samples * heads * keys * depth, seed + 2);
            let shape = [[1, 1, 1, 1], [samples, 1, 1, keys], [1, heads, queries, 1]][masked];
            let allowed: Vec<bool> = (0..shape.iter().product())
                .map(|i: usize| masked == 0 || !(i * 31 + seed).is_multiple_of(3))
                .collect();
            let mask = Mask { allowed: Some((&allowed, shape)), causal };
            let scale = 1.0 / (width as f32).sqrt();
            let size = samples * queries * heads * depth;
            let run = |control: &Control| {
                let (mut out, mut lse) = (vec![0.0; size], vec![0.0; samples * heads * queries]);
                forward(
                    control,
                    s,
                    Heads::by_head(&q, heads, queries, width),
                    Heads::by_head(&k, heads, keys, width),
                    Heads::by_head(&v, heads, keys, depth),
                    mask,
                    scale,
                    &mut out,
                    &mut lse,
                ).unwrap();
                (out, lse)
            };
            let (out, lse) = run(&Control::serial());
            let want = plain(s, &q, &k, &v, mask, scale);
            for (o, w) in out.iter().zip(&want) {
                prop_assert!((f64::from(*o) - w).abs() < 1e-4, "{o} {w}");
            }
            let gout = numbers(size, seed + 3);
            let (mut gq, mut gk, mut gv) = (q.clone(), k.clone(), v.clone());
            backward(
                &Control::serial(),
                s,
                Heads::by_step(&gout, queries, depth, heads * depth, 0),
                Heads::by_head(&q, heads, queries, width),
                Heads::by_head(&k, heads, keys, width),
                Heads::by_head(&v, heads, keys, depth),
                Heads::by_step(&out, queries, depth, heads * depth, 0),
                &lse,
                mask,
                scale,
                Gradients::Apart(&mut gq, &mut gk, &mut gv),
            ).unwrap();
            // Along random directions; the gradients are (samples, steps, heads, width).
            let turn = |x: &[f32], steps: usize, width: usize| -> Vec<f32> {
                let mut out = vec![0.0; x.len()];
                for n in 0..samples {
                    for h in 0..heads {
                        for t in 0..steps {
                            for c in 0..width {
                                out[((n * steps + t) * heads + h) * width + c] =
                                    x[((n * heads + h) * steps + t) * width + c];
                            }
                        }
                    }
                }
                out
            };
            let value = |q: &[f32], k: &[f32], v: &[f32]| -> f64 {
                let out = plain(s, q, k, v, mask, scale);
                out.iter().zip(&gout).map(|(o, g)| o * f64::from(*g)).sum()
            };
            let moved = |x: &[f32], along: &[f32], by: f32| -> Vec<f32> {
                x.iter().zip(along).map(|(x, a)| x + by * a).collect()
            };
            let h = 1e-3f32;
            for which in 0..3 {
                let (x, g, steps, size) = match which {
                    0 => (&q, &gq, queries, width),
                    1 => (&k, &gk, keys, width),
                    _ => (&v, &gv, keys, depth),
                };
                let along = numbers(x.len(), seed + 9 + which);
                let at = |by: f32| {
                    let x = moved(x, &along, by);
                    match which {
                        0 => value(&x, &k, &v),
                        1 => value(&q, &x, &v),
                        _ => value(&q, &k, &x),
                    }
                };
                let numeric = (at(h) - at(-h)) / f64::from(2.0 * h);
                let exact: f64 = turn(&along, steps, size)
                    .iter()
                    .zip(g)
                    .map(|(a, g)| f64::from(*a) * f64::from(*g))
                    .sum();
                prop_assert!(
                    (numeric - exact).abs() <= 5e-3 * (1.0 + numeric.abs()),
                    "{which}: {numeric} {exact}"
                );
            }
            let cancel = std::sync::atomic::AtomicBool::new(false);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            let many = pool.install(|| run(&Control::new(&cancel, 3)));
            prop_assert_eq!(many, (out, lse));
        }
    }
}
