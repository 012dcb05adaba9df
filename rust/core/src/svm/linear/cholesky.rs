//! Blocked Cholesky factorisation of a symmetric matrix and solves with the factor.

use crate::error::Result;
use crate::parallel::{Control, fill_chunks};
use ironlearn_kernels::linear::{Element, LEFT, RIGHT, panel_product};
use ironlearn_kernels::tier::Tier;

/// Columns factored at a time, a multiple of both panel widths.
const BLOCK: usize = 96;

/// Replaces the lower triangle of `a` (`n` x `n`, row-major) by its Cholesky factor.
///
/// False if a pivot is not positive: the matrix is not numerically positive definite.
pub(super) fn factor(control: &Control, tier: Tier, a: &mut [f64], n: usize) -> Result<bool> {
    for start in (0..n).step_by(BLOCK) {
        control.check()?;
        let size = BLOCK.min(n - start);
        let end = start + size;
        if !factor_diagonal(tier, a, n, start, end) {
            return Ok(false);
        }
        if end == n {
            break;
        }
        // The panel below is A * inv(L)': with the small inverse it becomes a product.
        let inverse = invert(a, n, start, end);
        let mut right = vec![0.0; size.next_multiple_of(RIGHT) * size];
        pack::<RIGHT>(&inverse, size, 0..size, size, &mut right);
        let below = &mut a[end * n..];
        fill_chunks(control, below, n, BLOCK, |_, rows| {
            let count = rows.len() / n;
            let mut left = vec![0.0; count.next_multiple_of(LEFT) * size];
            pack::<LEFT>(rows, n, start..end, count, &mut left);
            product(tier, &left, &right, size, |r, c, value| {
                if r < count && c < size {
                    rows[r * n + start + c] = value;
                }
            });
            Ok(())
        })?;
        // Trailing update: A -= P * P'.
        let m = n - end;
        let mut right = vec![0.0; m.next_multiple_of(RIGHT) * size];
        pack::<RIGHT>(below, n, start..end, m, &mut right);
        fill_chunks(control, below, n, BLOCK / 2, |range, rows| {
            let count = range.len();
            let mut left = vec![0.0; count.next_multiple_of(LEFT) * size];
            pack::<LEFT>(rows, n, start..end, count, &mut left);
            let columns = range.end.next_multiple_of(RIGHT) * size;
            product(tier, &left, &right[..columns], size, |r, c, value| {
                if r < count && c <= range.start + r {
                    rows[r * n + end + c] -= value;
                }
            });
            Ok(())
        })?;
    }
    Ok(true)
}

/// Factors the block `start..end` of the diagonal in place.
fn factor_diagonal(tier: Tier, a: &mut [f64], n: usize, start: usize, end: usize) -> bool {
    for i in start..end {
        let (above, row) = a.split_at_mut(i * n);
        let row = &mut row[..=i];
        for j in start..i {
            let other = &above[j * n + start..=j * n + j];
            let (known, last) = other.split_at(j - start);
            row[j] = (row[j] - f64::dot(tier, &row[start..j], known)) / last[0];
        }
        let pivot = row[i] - f64::dot(tier, &row[start..i], &row[start..i]);
        if pivot.is_nan() || pivot <= 0.0 || pivot == f64::INFINITY {
            return false;
        }
        row[i] = pivot.sqrt();
    }
    true
}

/// Inverse of the lower triangular block `start..end`, row-major.
fn invert(a: &[f64], n: usize, start: usize, end: usize) -> Vec<f64> {
    let size = end - start;
    let mut inverse = vec![0.0; size * size];
    for i in 0..size {
        let row = &a[(start + i) * n + start..][..=i];
        let (done, rest) = inverse.split_at_mut(i * size);
        let target = &mut rest[..size];
        for (k, &l) in row[..i].iter().enumerate() {
            for (t, v) in target[..=k].iter_mut().zip(&done[k * size..]) {
                *t -= l * v;
            }
        }
        for t in &mut target[..i] {
            *t /= row[i];
        }
        target[i] = 1.0 / row[i];
    }
    inverse
}

/// Packs `columns` of the first `count` rows of `a` into panels of `W` rows.
fn pack<const W: usize>(
    a: &[f64],
    stride: usize,
    columns: std::ops::Range<usize>,
    count: usize,
    packed: &mut [f64],
) {
    let steps = columns.len();
    for i in 0..count {
        let base = i / W * W * steps + i % W;
        for (k, &v) in a[i * stride..][columns.clone()].iter().enumerate() {
            packed[base + k * W] = v;
        }
    }
}

/// Calls `store(row, column, value)` for each element of the product of packed matrices.
fn product(
    tier: Tier,
    left: &[f64],
    right: &[f64],
    steps: usize,
    mut store: impl FnMut(usize, usize, f64),
) {
    let mut out = [0.0; LEFT * RIGHT];
    for (q, b) in right.chunks_exact(RIGHT * steps).enumerate() {
        for (p, a) in left.chunks_exact(LEFT * steps).enumerate() {
            panel_product(tier, a, b, &mut out);
            for (at, &value) in out.iter().enumerate() {
                store(p * LEFT + at / RIGHT, q * RIGHT + at % RIGHT, value);
            }
        }
    }
}

/// Solves `L L' x = b` in place.
pub(super) fn solve(tier: Tier, factor: &[f64], n: usize, x: &mut [f64]) {
    for i in 0..n {
        let row = &factor[i * n..][..=i];
        x[i] = (x[i] - f64::dot(tier, &row[..i], &x[..i])) / row[i];
    }
    for i in (0..n).rev() {
        let row = &factor[i * n..][..=i];
        x[i] /= row[i];
        let value = x[i];
        f64::axpy(tier, -value, &row[..i], &mut x[..i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use ironlearn_kernels::tier;

    #[test]
    fn solves_random_systems() {
        for n in [1, 3, 50, 96, 97, 200, 301] {
            let mut stream = Stream::new(1, n as u64);
            let b: Vec<f64> = (0..n * n).map(|_| stream.next_f64() - 0.5).collect();
            let mut a = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    a[i * n + j] = f64::dot(
                        tier::Tier::Scalar,
                        &b[i * n..(i + 1) * n],
                        &b[j * n..(j + 1) * n],
                    ) + f64::from(u8::from(i == j));
                }
            }
            let want: Vec<f64> = (0..n).map(|_| stream.next_f64() - 0.5).collect();
            for tier in tier::supported() {
                let mut x: Vec<f64> = (0..n)
                    .map(|i| f64::dot(tier, &a[i * n..(i + 1) * n], &want))
                    .collect();
                let mut l = a.clone();
                assert!(factor(&Control::serial(), tier, &mut l, n).unwrap());
                solve(tier, &l, n, &mut x);
                for (got, want) in x.iter().zip(&want) {
                    assert!((got - want).abs() < 1e-8, "{n} {tier:?}");
                }
            }
        }
    }

    #[test]
    fn rejects_indefinite_matrices() {
        let mut a = [1.0, 0.0, 2.0, 1.0];
        assert!(!factor(&Control::serial(), tier::active(), &mut a, 2).unwrap());
        let mut a = [f64::NAN];
        assert!(!factor(&Control::serial(), tier::active(), &mut a, 1).unwrap());
    }
}
