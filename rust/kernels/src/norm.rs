//! Normalization: statistics of rows and of columns, and what follows from them.

use crate::pointwise::{load, store};
use crate::tier::Tier;
use crate::tiered;
use crate::vmath::Lanes;

/// The mean and `1 / sqrt(var + eps)` of a row.
#[inline(always)]
unsafe fn statistics<V: Lanes>(x: *const f32, eps: f32, count: usize) -> (f32, f32) {
    // SAFETY: the caller's promise; lanes beyond `count` are zero.
    unsafe {
        let mut sum = V::splat(0.0);
        for at in (0..count).step_by(V::WIDTH) {
            sum = sum.add(load::<V>(x.add(at), count - at));
        }
        let mean = sum.sum() / count as f32;
        let whole = count / V::WIDTH * V::WIDTH;
        let shift = V::splat(mean);
        let mut squares = V::splat(0.0);
        for at in (0..whole).step_by(V::WIDTH) {
            let d = V::load(x.add(at)).sub(shift);
            squares = d.mul_add(d, squares);
        }
        let mut squares = squares.sum();
        for at in whole..count {
            let d = *x.add(at) - mean;
            squares += d * d;
        }
        (mean, 1.0 / (squares / count as f32 + eps).sqrt())
    }
}

#[inline(always)]
unsafe fn layer_norm_body<V: Lanes>(
    x: *const f32,
    gamma: *const f32,
    beta: *const f32,
    eps: f32,
    y: *mut f32,
    count: usize,
) -> (f32, f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let (mean, rstd) = statistics::<V>(x, eps, count);
        let (shift, scale) = (V::splat(mean), V::splat(rstd));
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let unit = load::<V>(x.add(at), rest).sub(shift).mul(scale);
            let value = unit.mul_add(load(gamma.add(at), rest), load(beta.add(at), rest));
            store(value, y.add(at), rest);
        }
        (mean, rstd)
    }
}

#[inline(always)]
unsafe fn layer_norm_backward_body<V: Lanes>(
    gy: *const f32,
    x: *const f32,
    gamma: *const f32,
    mean: f32,
    rstd: f32,
    gx: *mut f32,
    ggamma: *mut f32,
    gbeta: *mut f32,
    count: usize,
) {
    // SAFETY: the caller's promise; lanes beyond `count` of `gy` are zero.
    unsafe {
        let (shift, scale) = (V::splat(mean), V::splat(rstd));
        let mut sum = V::splat(0.0);
        let mut along = V::splat(0.0);
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let given = load::<V>(gy.add(at), rest);
            let unit = load::<V>(x.add(at), rest).sub(shift).mul(scale);
            let g = given.mul(load(gamma.add(at), rest));
            sum = sum.add(g);
            along = g.mul_add(unit, along);
            let gain = given.mul_add(unit, load(ggamma.add(at), rest));
            store(gain, ggamma.add(at), rest);
            let offset = given.add(load(gbeta.add(at), rest));
            store(offset, gbeta.add(at), rest);
        }
        let sum = V::splat(sum.sum() / count as f32);
        let along = V::splat(-along.sum() / count as f32);
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let unit = load::<V>(x.add(at), rest).sub(shift).mul(scale);
            let g = load::<V>(gy.add(at), rest).mul(load(gamma.add(at), rest));
            let value = unit.mul_add(along, g.sub(sum)).mul(scale);
            store(value, gx.add(at), rest);
        }
    }
}

#[inline(always)]
unsafe fn column_sums_body<V: Lanes>(x: *const f32, rows: usize, width: usize, sums: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..width).step_by(V::WIDTH) {
            let rest = width - at;
            let mut sum = load::<V>(sums.add(at), rest);
            for row in 0..rows {
                sum = sum.add(load(x.add(row * width + at), rest));
            }
            store(sum, sums.add(at), rest);
        }
    }
}

#[inline(always)]
unsafe fn column_squares_body<V: Lanes>(
    x: *const f32,
    rows: usize,
    width: usize,
    mean: *const f32,
    sums: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..width).step_by(V::WIDTH) {
            let rest = width - at;
            let shift = load::<V>(mean.add(at), rest);
            let mut sum = load::<V>(sums.add(at), rest);
            for row in 0..rows {
                let d = load::<V>(x.add(row * width + at), rest).sub(shift);
                sum = d.mul_add(d, sum);
            }
            store(sum, sums.add(at), rest);
        }
    }
}

#[inline(always)]
unsafe fn columns_apply_body<V: Lanes>(
    x: *const f32,
    rows: usize,
    width: usize,
    mean: *const f32,
    factor: *const f32,
    offset: *const f32,
    y: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..width).step_by(V::WIDTH) {
            let rest = width - at;
            let shift = load::<V>(mean.add(at), rest);
            let scale = load::<V>(factor.add(at), rest);
            let offset = load::<V>(offset.add(at), rest);
            for row in 0..rows {
                let d = load::<V>(x.add(row * width + at), rest).sub(shift);
                store(d.mul_add(scale, offset), y.add(row * width + at), rest);
            }
        }
    }
}

#[inline(always)]
unsafe fn columns_gain_body<V: Lanes>(
    g: *const f32,
    x: *const f32,
    rows: usize,
    width: usize,
    mean: *const f32,
    rstd: *const f32,
    ggamma: *mut f32,
    gbeta: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..width).step_by(V::WIDTH) {
            let rest = width - at;
            let shift = load::<V>(mean.add(at), rest);
            let scale = load::<V>(rstd.add(at), rest);
            let mut gain = load::<V>(ggamma.add(at), rest);
            let mut offset = load::<V>(gbeta.add(at), rest);
            for row in 0..rows {
                let g = load::<V>(g.add(row * width + at), rest);
                let unit = load::<V>(x.add(row * width + at), rest)
                    .sub(shift)
                    .mul(scale);
                gain = g.mul_add(unit, gain);
                offset = g.add(offset);
            }
            store(gain, ggamma.add(at), rest);
            store(offset, gbeta.add(at), rest);
        }
    }
}

#[inline(always)]
unsafe fn columns_backward_body<V: Lanes>(
    g: *const f32,
    x: *const f32,
    rows: usize,
    width: usize,
    c: Channels<'_>,
    gx: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..width).step_by(V::WIDTH) {
            let rest = width - at;
            let shift = load::<V>(c.mean.as_ptr().add(at), rest);
            let scale = load::<V>(c.rstd.as_ptr().add(at), rest);
            let factor = load::<V>(c.factor.as_ptr().add(at), rest);
            let constant = load::<V>(c.constant.as_ptr().add(at), rest);
            let along = V::splat(0.0).sub(load::<V>(c.along.as_ptr().add(at), rest));
            for row in 0..rows {
                let g = load::<V>(g.add(row * width + at), rest);
                let unit = load::<V>(x.add(row * width + at), rest)
                    .sub(shift)
                    .mul(scale);
                let value = unit.mul_add(along, g.mul(factor).sub(constant));
                store(value, gx.add(row * width + at), rest);
            }
        }
    }
}

tiered! {
    fn layer_norm_raw(
        x: *const f32, gamma: *const f32, beta: *const f32, eps: f32, y: *mut f32, count: usize,
    ) -> (f32, f32) = layer_norm_body;
    fn layer_norm_backward_raw(
        gy: *const f32, x: *const f32, gamma: *const f32, mean: f32, rstd: f32, gx: *mut f32,
        ggamma: *mut f32, gbeta: *mut f32, count: usize,
    ) = layer_norm_backward_body;
    fn column_sums_raw(
        x: *const f32, rows: usize, width: usize, sums: *mut f32,
    ) = column_sums_body;
    fn column_squares_raw(
        x: *const f32, rows: usize, width: usize, mean: *const f32, sums: *mut f32,
    ) = column_squares_body;
    fn columns_apply_raw(
        x: *const f32, rows: usize, width: usize, mean: *const f32, factor: *const f32,
        offset: *const f32, y: *mut f32,
    ) = columns_apply_body;
    fn columns_gain_raw(
        g: *const f32, x: *const f32, rows: usize, width: usize, mean: *const f32,
        rstd: *const f32, ggamma: *mut f32, gbeta: *mut f32,
    ) = columns_gain_body;
    fn columns_backward_raw(
        g: *const f32, x: *const f32, rows: usize, width: usize, c: Channels<'_>, gx: *mut f32,
    ) = columns_backward_body;
}

/// Writes `gamma (x - mean) rstd + beta` of a row and returns its mean and
/// `rstd = 1 / sqrt(var + eps)`.
pub fn layer_norm(
    tier: Tier,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    y: &mut [f32],
) -> (f32, f32) {
    let n = x.len();
    assert!(n == gamma.len() && n == beta.len() && n == y.len());
    let (gamma, beta) = (gamma.as_ptr(), beta.as_ptr());
    layer_norm_raw(tier, x.as_ptr(), gamma, beta, eps, y.as_mut_ptr(), n)
}

/// Writes the gradient of [`layer_norm`]'s row to `gx`, and adds those of gain and offset.
pub fn layer_norm_backward(
    tier: Tier,
    gy: &[f32],
    x: &[f32],
    gamma: &[f32],
    (mean, rstd): (f32, f32),
    gx: &mut [f32],
    ggamma: &mut [f32],
    gbeta: &mut [f32],
) {
    let n = x.len();
    assert!(n == gy.len() && n == gamma.len() && n == gx.len());
    assert!(n == ggamma.len() && n == gbeta.len());
    layer_norm_backward_raw(
        tier,
        gy.as_ptr(),
        x.as_ptr(),
        gamma.as_ptr(),
        mean,
        rstd,
        gx.as_mut_ptr(),
        ggamma.as_mut_ptr(),
        gbeta.as_mut_ptr(),
        n,
    );
}

/// Rows of `width` in `len` numbers.
fn rows_of(len: usize, width: usize) -> usize {
    let rows = len / width.max(1);
    assert_eq!(rows * width, len);
    rows
}

/// Adds each row of `x` to `sums`.
pub fn column_sums(tier: Tier, x: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    let rows = rows_of(x.len(), width);
    column_sums_raw(tier, x.as_ptr(), rows, width, sums.as_mut_ptr());
}

/// Adds the squared distances of each row from `mean` to `sums`.
pub fn column_squares(tier: Tier, x: &[f32], mean: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    let rows = rows_of(x.len(), width);
    assert_eq!(mean.len(), width);
    column_squares_raw(
        tier,
        x.as_ptr(),
        rows,
        width,
        mean.as_ptr(),
        sums.as_mut_ptr(),
    );
}

/// Writes `(x - mean) factor + offset`, column by column.
pub fn columns_apply(
    tier: Tier,
    x: &[f32],
    mean: &[f32],
    factor: &[f32],
    offset: &[f32],
    y: &mut [f32],
) {
    let width = mean.len();
    let rows = rows_of(x.len(), width);
    assert!(factor.len() == width && offset.len() == width && y.len() == x.len());
    let (mean, factor, offset) = (mean.as_ptr(), factor.as_ptr(), offset.as_ptr());
    columns_apply_raw(
        tier,
        x.as_ptr(),
        rows,
        width,
        mean,
        factor,
        offset,
        y.as_mut_ptr(),
    );
}

/// Adds the column sums of `g (x - mean) rstd` to `ggamma`, those of `g` to `gbeta`.
pub fn columns_gain(
    tier: Tier,
    g: &[f32],
    x: &[f32],
    mean: &[f32],
    rstd: &[f32],
    ggamma: &mut [f32],
    gbeta: &mut [f32],
) {
    let width = mean.len();
    let rows = rows_of(x.len(), width);
    assert!(g.len() == x.len() && rstd.len() == width);
    assert!(ggamma.len() == width && gbeta.len() == width);
    columns_gain_raw(
        tier,
        g.as_ptr(),
        x.as_ptr(),
        rows,
        width,
        mean.as_ptr(),
        rstd.as_ptr(),
        ggamma.as_mut_ptr(),
        gbeta.as_mut_ptr(),
    );
}

/// What [`columns_backward`] needs to know of each column.
#[derive(Clone, Copy, Debug)]
pub struct Channels<'a> {
    /// Mean.
    pub mean: &'a [f32],
    /// `1 / sqrt(var + eps)`.
    pub rstd: &'a [f32],
    /// Factor of the gradient.
    pub factor: &'a [f32],
    /// What is taken off.
    pub constant: &'a [f32],
    /// Factor of the normalized input, which is taken off.
    pub along: &'a [f32],
}

/// Writes `factor g - constant - along (x - mean) rstd`, column by column.
pub fn columns_backward(tier: Tier, g: &[f32], x: &[f32], c: Channels<'_>, gx: &mut [f32]) {
    let width = c.mean.len();
    let rows = rows_of(x.len(), width);
    assert!(g.len() == x.len() && gx.len() == x.len());
    for part in [c.rstd, c.factor, c.constant, c.along] {
        assert_eq!(part.len(), width);
    }
    columns_backward_raw(
        tier,
        g.as_ptr(),
        x.as_ptr(),
        rows,
        width,
        c,
        gx.as_mut_ptr(),
    );
}

/// [`columns_backward`] where `gx` holds `g` before.
pub fn columns_backward_in_place(tier: Tier, x: &[f32], c: Channels<'_>, gx: &mut [f32]) {
    let width = c.mean.len();
    let rows = rows_of(x.len(), width);
    assert_eq!(gx.len(), x.len());
    for part in [c.rstd, c.factor, c.constant, c.along] {
        assert_eq!(part.len(), width);
    }
    let pointer = gx.as_mut_ptr();
    columns_backward_raw(tier, pointer, x.as_ptr(), rows, width, c, pointer);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier;
    use proptest::prelude::*;

    fn near(got: &[f32], want: &[f64]) -> bool {
        got.len() == want.len()
            && got
                .iter()
                .zip(want)
                .all(|(&g, &w)| (f64::from(g) - w).abs() <= 2e-4 * (1.0 + w.abs()))
    }

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 + seed * 104_729 + 13) % 1009) as f32 / 250.0 - 1.7)
            .collect()
    }

    fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|&x| f64::from(x)).collect()
    }

    proptest! {
        #[test]
        fn layers(n in 1usize..90, seed in 0usize..1000) {
            let (x, gy) = (numbers(n, seed), numbers(n, seed + 1));
            let (gamma, beta) = (numbers(n, seed + 2), numbers(n, seed + 3));
            let (x64, gy64, gamma64) = (wide(&x), wide(&gy), wide(&gamma));
            let m = x64.iter().sum::<f64>() / n as f64;
            let var = x64.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / n as f64;
            let r = 1.0 / (var + 0.1).sqrt();
            let unit: Vec<f64> = x64.iter().map(|x| (x - m) * r).collect();
            let y64: Vec<f64> = (0..n).map(|i| unit[i] * gamma64[i] + f64::from(beta[i])).collect();
            let g: Vec<f64> = (0..n).map(|i| gy64[i] * gamma64[i]).collect();
            let mean_g = g.iter().sum::<f64>() / n as f64;
            let mean_gu = (0..n).map(|i| g[i] * unit[i]).sum::<f64>() / n as f64;
            let gx64: Vec<f64> = (0..n).map(|i| (g[i] - mean_g - unit[i] * mean_gu) * r).collect();
            for tier in tier::supported() {
                let mut y = vec![0.0; n];
                let (mean, rstd) = layer_norm(tier, &x, &gamma, &beta, 0.1, &mut y);
                prop_assert!(near(&[mean, rstd], &[m, r]));
                prop_assert!(near(&y, &y64));
                let (mut gx, mut gg, mut gb) = (vec![0.0; n], vec![1.0; n], vec![2.0; n]);
                layer_norm_backward(
                    tier, &gy, &x, &gamma, (mean, rstd), &mut gx, &mut gg, &mut gb,
                );
                prop_assert!(near(&gx, &gx64));
                let want: Vec<f64> = (0..n).map(|i| 1.0 + gy64[i] * unit[i]).collect();
                prop_assert!(near(&gg, &want));
                let want: Vec<f64> = gy64.iter().map(|g| 2.0 + g).collect();
                prop_assert!(near(&gb, &want));
            }
        }

        #[test]
        fn columns(rows in 0usize..20, width in 1usize..70, seed in 0usize..1000) {
            let n = rows * width;
            let (x, g) = (numbers(n, seed), numbers(n, seed + 1));
            let per: Vec<Vec<f32>> = (2..7).map(|k| numbers(width, seed + k)).collect();
            let c = Channels {
                mean: &per[0],
                rstd: &per[1],
                factor: &per[2],
                constant: &per[3],
                along: &per[4],
            };
            let at = |i: usize, j: usize| i * width + j;
            let column = |start: f64, f: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
                (0..width)
                    .map(|j| start + (0..rows).map(|i| f(i, j)).sum::<f64>())
                    .collect()
            };
            let all = |f: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
                (0..n).map(|k| f(k / width, k % width)).collect()
            };
            let (x64, g64) = (wide(&x), wide(&g));
            let p: Vec<Vec<f64>> = per.iter().map(|v| wide(v)).collect();
            let unit = |i: usize, j: usize| (x64[at(i, j)] - p[0][j]) * p[1][j];
            for tier in tier::supported() {
                let mut sums = vec![3.0; width];
                column_sums(tier, &x, &mut sums);
                prop_assert!(near(&sums, &column(3.0, &|i, j| x64[at(i, j)])));
                let mut sums = vec![3.0; width];
                column_squares(tier, &x, c.mean, &mut sums);
                prop_assert!(near(&sums, &column(3.0, &|i, j| (x64[at(i, j)] - p[0][j]).powi(2))));
                let mut y = vec![0.0; n];
                columns_apply(tier, &x, c.mean, c.rstd, c.factor, &mut y);
                prop_assert!(near(&y, &all(&|i, j| unit(i, j) + p[2][j])));
                let (mut a, mut b) = (vec![1.0; width], vec![2.0; width]);
                columns_gain(tier, &g, &x, c.mean, c.rstd, &mut a, &mut b);
                prop_assert!(near(&a, &column(1.0, &|i, j| g64[at(i, j)] * unit(i, j))));
                prop_assert!(near(&b, &column(2.0, &|i, j| g64[at(i, j)])));
                columns_backward(tier, &g, &x, c, &mut y);
                let want = all(&|i, j| {
                    p[2][j] * g64[at(i, j)] - p[3][j] - p[4][j] * unit(i, j)
                });
                prop_assert!(near(&y, &want));
                let mut again = g.clone();
                columns_backward_in_place(tier, &x, c, &mut again);
                prop_assert_eq!(&again, &y);
            }
        }
    }
}
