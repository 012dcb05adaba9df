//! Matrix products in parallel.

use super::scratch;
use crate::error::Result;
use crate::parallel::{Control, each_mut};
use ironlearn_kernels::gemm::{Epilogue, Mat, MatMut, PackedB, gemm, packed};
use ironlearn_kernels::tier;
use std::ops::Range;

/// Multiplications that a chunk is worth.
const CHUNK: usize = 1 << 21;
/// Chunks are multiples of this, so that tiles of any tier are full.
const ROWS: usize = 84;
/// See [`ROWS`].
const COLUMNS: usize = 64;
/// Most chunks of the inner dimension.
const MOST_PARTS: usize = 8;

/// `0..n` in ranges of nearly `wanted` parts, each a multiple of `unit` but the last.
fn parts(n: usize, wanted: usize, unit: usize) -> Vec<Range<usize>> {
    let size = n.div_ceil(wanted.max(1)).div_ceil(unit).max(1) * unit;
    (0..n)
        .step_by(size)
        .map(|from| from..(from + size).min(n))
        .collect()
}

/// `C = act(alpha A B + beta C + bias)`; the same bits for any number of threads.
///
/// # Panics
/// If the shapes do not fit together.
pub fn product(
    control: &Control,
    alpha: f32,
    a: Mat,
    b: Mat,
    beta: f32,
    c: MatMut,
    epilogue: &Epilogue,
) -> Result<()> {
    let tier = tier::active();
    let (m, n, k) = (a.rows(), b.columns(), a.columns());
    let cost = m.saturating_mul(n).saturating_mul(k);
    if cost <= CHUNK {
        scratch::with(|s| gemm(tier, alpha, a, b, beta, c, epilogue, &mut s[0]));
        return Ok(());
    }
    let wanted = cost / CHUNK;
    // A long sum for a small answer: parts of the sum, added up in order.
    if m * n <= ROWS * COLUMNS && k > 4 * (m + n) {
        return long(control, alpha, a, b, beta, c, epilogue);
    }
    if m >= 4 * ROWS || m > n {
        let mut weights = PackedB::default();
        // Many rows: B is packed once for all of them.
        weights.pack(tier, b);
        let mut tasks = split_rows(c, &parts(m, wanted, ROWS));
        each_mut(control, &mut tasks, |(rows, c)| {
            let a = a.row_range(rows.clone());
            scratch::with(|s| {
                packed(
                    tier,
                    alpha,
                    a,
                    &weights,
                    beta,
                    c.again(),
                    epilogue,
                    &mut s[0],
                );
            });
            Ok(())
        })?;
        return Ok(());
    }
    let mut tasks = split_columns(c, &parts(n, wanted, COLUMNS));
    each_mut(control, &mut tasks, |(columns, c)| {
        let b = b.column_range(columns.clone());
        let epilogue = epilogue.columns(columns.clone());
        scratch::with(|s| gemm(tier, alpha, a, b, beta, c.again(), &epilogue, &mut s[0]));
        Ok(())
    })?;
    Ok(())
}

fn split_rows<'a>(c: MatMut<'a>, parts: &[Range<usize>]) -> Vec<(Range<usize>, MatMut<'a>)> {
    let mut rest = c;
    let mut out = Vec::with_capacity(parts.len());
    for part in parts {
        let (head, tail) = rest.split_rows(part.len());
        out.push((part.clone(), head));
        rest = tail;
    }
    out
}

fn split_columns<'a>(c: MatMut<'a>, parts: &[Range<usize>]) -> Vec<(Range<usize>, MatMut<'a>)> {
    let mut rest = c;
    let mut out = Vec::with_capacity(parts.len());
    for part in parts {
        let (head, tail) = rest.split_columns(part.len());
        out.push((part.clone(), head));
        rest = tail;
    }
    out
}

fn long(
    control: &Control,
    alpha: f32,
    a: Mat,
    b: Mat,
    beta: f32,
    mut c: MatMut,
    epilogue: &Epilogue,
) -> Result<()> {
    let tier = tier::active();
    let (m, n, k) = (a.rows(), b.columns(), a.columns());
    let wanted = (m * n * k / CHUNK).clamp(1, MOST_PARTS);
    let mut sums: Vec<(Range<usize>, Vec<f32>)> = parts(k, wanted, 16)
        .into_iter()
        .map(|part| (part, vec![0.0; m * n]))
        .collect();
    each_mut(control, &mut sums, |(part, sum)| {
        let a = a.column_range(part.clone());
        let b = b.row_range(part.clone());
        let c = MatMut::rows_of(sum, m, n);
        scratch::with(|s| gemm(tier, alpha, a, b, 0.0, c, &Epilogue::NONE, &mut s[0]));
        Ok(())
    })?;
    for i in 0..m {
        let row = c.row(i);
        if beta == 0.0 {
            row.fill(0.0);
        } else {
            row.iter_mut().for_each(|v| *v *= beta);
        }
        for (_, sum) in &sums {
            let part = &sum[i * n..(i + 1) * n];
            row.iter_mut().zip(part).for_each(|(v, p)| *v += p);
        }
        if let Some(bias) = epilogue.bias {
            row.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
        }
        epilogue.activation.apply(tier, row);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ironlearn_kernels::gemm::Activation;
    use std::sync::atomic::AtomicBool;

    fn run(threads: usize, m: usize, n: usize, k: usize) -> (Vec<f32>, Vec<f64>) {
        let number = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
        let a: Vec<f32> = (0..m * k).map(number).collect();
        let b: Vec<f32> = (0..k * n).map(|i| number(i + 7)).collect();
        let bias: Vec<f32> = (0..n).map(number).collect();
        let mut c: Vec<f32> = (0..m * n).map(|i| number(i + 3)).collect();
        let expected = (0..m * n)
            .map(|at| {
                let (i, j) = (at / n, at % n);
                let sum: f64 = (0..k)
                    .map(|p| f64::from(a[i * k + p]) * f64::from(b[p * n + j]))
                    .sum();
                (2.0 * sum + 0.5 * f64::from(c[at]) + f64::from(bias[j])).max(0.0)
            })
            .collect();
        let cancel = AtomicBool::new(false);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let epilogue = Epilogue {
            bias: Some(&bias),
            activation: Activation::Relu,
        };
        pool.install(|| {
            product(
                &Control::new(&cancel, threads),
                2.0,
                Mat::rows_of(&a, m, k),
                Mat::rows_of(&b, k, n),
                0.5,
                MatMut::rows_of(&mut c, m, n),
                &epilogue,
            )
        })
        .unwrap();
        (c, expected)
    }

    #[test]
    fn every_division_gives_the_product_and_the_same_bits() {
        for (m, n, k) in [
            (3, 5, 7),
            (700, 90, 120),
            (20, 700, 400),
            (40, 30, 9000),
            (200, 190, 100),
        ] {
            let (one, expected) = run(1, m, n, k);
            let (three, _) = run(3, m, n, k);
            assert_eq!(one, three);
            for (got, expected) in one.iter().zip(expected) {
                let slack = 1e-6 * (k as f64 + 10.0);
                assert!((f64::from(*got) - expected).abs() <= slack, "{m},{n},{k}");
            }
        }
    }
}
