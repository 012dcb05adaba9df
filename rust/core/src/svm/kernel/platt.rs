//! Probabilities from scores: sigmoids of cross-validated scores, coupled over the pairs.
//!
//! Platt's sigmoid is fitted by Newton's method with a line search (Lin, Lin and Weng, "A note
//! on Platt's probabilistic outputs for support vector machines", Machine Learning 2007);
//! probabilities of pairs become those of classes by the second method of Wu, Lin and Weng,
//! "Probability estimates for multi-class classification by pairwise coupling", JMLR 2004.
//! Folds are drawn as scikit-learn's copy of LIBSVM draws them, so that an equal seed gives
//! equal probabilities.

use super::cache::Rows;
use super::smo::{self, Problem, Settings};
use crate::error::Result;
use crate::parallel::Control;

/// Folds of the cross-validation.
pub(super) const FOLDS: usize = 5;
/// Probabilities of pairs stay this far from 0 and 1.
pub(super) const LEAST: f64 = 1e-7;

/// The generator of Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 1998, of 32 bits.
struct Twister {
    words: [u32; 624],
    at: usize,
}

impl Twister {
    fn new(seed: u32) -> Self {
        let mut words = [seed; 624];
        for i in 1..624 {
            let last = words[i - 1] ^ (words[i - 1] >> 30);
            words[i] = last.wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Twister { words, at: 624 }
    }

    fn next(&mut self) -> u32 {
        if self.at == 624 {
            for i in 0..624 {
                let y = (self.words[i] & (1 << 31)) | (self.words[(i + 1) % 624] & !(1 << 31));
                let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.words[i] = self.words[(i + 397) % 624] ^ (y >> 1) ^ twist;
            }
            self.at = 0;
        }
        let mut y = self.words[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A number below `n` without bias (Lemire, "Fast random integer generation in an
    /// interval", ACM TOMACS 2019).
    fn below(&mut self, n: u32) -> u32 {
        loop {
            let product = u64::from(self.next()) * u64::from(n);
            let low = product as u32;
            if low >= n || low >= n.wrapping_neg() % n {
                return (product >> 32) as u32;
            }
        }
    }
}

/// The fold that holds out each row of a problem of `n` rows. As in LIBSVM, where each fit of
/// a fold starts the generator anew, all pairs have the same stream.
pub(super) fn folds(seed: u32, n: usize) -> Vec<u8> {
    let mut random = Twister::new(seed);
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in 0..n {
        order.swap(i, i + random.below((n - i) as u32) as usize);
    }
    let mut fold = vec![0; n];
    for f in 0..FOLDS {
        for &row in &order[f * n / FOLDS..(f + 1) * n / FOLDS] {
            fold[row as usize] = f as u8;
        }
    }
    fold
}

/// Scores of all rows by the machine that does without the `held` ones.
pub(super) fn held_out(
    control: &Control,
    store: &Rows,
    mut problem: Problem,
    held: &[bool],
    settings: &Settings,
) -> Result<Vec<f64>> {
    // Rows that cannot move off zero have no part in the solution, but their products with it
    // are brought up to date like those of others.
    let mut present = [false; 2];
    for (v, &held) in held.iter().enumerate() {
        if held {
            problem.cost[v] = 0.0;
        } else {
            present[usize::from(problem.sign[v] > 0.0)] = true;
        }
    }
    // Without rows of a class, LIBSVM's answer.
    let constant = match present {
        [true, true] => None,
        [false, false] => Some(0.0),
        [_, positive] => Some(if positive { 1.0 } else { -1.0 }),
    };
    if let Some(score) = constant {
        return Ok(vec![score; held.len()]);
    }
    let solution = smo::solve(control, store, &problem, settings)?;
    Ok((solution.products.iter())
        .map(|p| p - solution.rho)
        .collect())
}

/// `1 / (1 + exp(score * a + b))`, without overflow.
pub(super) fn logistic(score: f64, a: f64, b: f64) -> f64 {
    let t = score * a + b;
    if t >= 0.0 {
        (-t).exp() / (1.0 + (-t).exp())
    } else {
        1.0 / (1.0 + t.exp())
    }
}

/// Slope and constant of the probability that a row with a score belongs to the first class,
/// whose rows are the `first` ones.
pub(super) fn sigmoid(scores: &[f64], first: usize) -> (f64, f64) {
    let (positive, negative) = (first as f64, (scores.len() - first) as f64);
    // Targets inside of (0, 1) keep separable data from infinite slopes.
    let (high, low) = ((positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0));
    let target = |i: usize| if i < first { high } else { low };
    let loss = |a: f64, b: f64| -> f64 {
        (scores.iter().enumerate())
            .map(|(i, score)| {
                let t = score * a + b;
                let (share, tail) = if t >= 0.0 {
                    (target(i) * t, (-t).exp())
                } else {
                    ((target(i) - 1.0) * t, t.exp())
                };
                share + tail.ln_1p()
            })
            .sum()
    };
    let (mut a, mut b) = (0.0, ((negative + 1.0) / (positive + 1.0)).ln());
    let mut now = loss(a, b);
    for _ in 0..100 {
        // A little on the diagonal keeps the Hessian definite.
        let (mut h11, mut h22, mut h21) = (1e-12, 1e-12, 0.0);
        let (mut g1, mut g2) = (0.0, 0.0);
        for (i, &score) in scores.iter().enumerate() {
            let p = logistic(score, a, b);
            let (spread, error) = (p * (1.0 - p), target(i) - p);
            h11 += score * score * spread;
            h22 += spread;
            h21 += score * spread;
            g1 += score * error;
            g2 += error;
        }
        if g1.abs() < 1e-5 && g2.abs() < 1e-5 {
            break;
        }
        let determinant = h11 * h22 - h21 * h21;
        let step_a = -(h22 * g1 - h21 * g2) / determinant;
        let step_b = -(-h21 * g1 + h11 * g2) / determinant;
        let slope = g1 * step_a + g2 * step_b;
        let mut length = 1.0;
        loop {
            let (next_a, next_b) = (a + length * step_a, b + length * step_b);
            let next = loss(next_a, next_b);
            if next < now + 1e-4 * length * slope {
                (a, b, now) = (next_a, next_b, next);
                break;
            }
            length /= 2.0;
            if length < 1e-10 {
                return (a, b);
            }
        }
    }
    (a, b)
}

/// Probabilities of classes from those of pairs: of `i` against `j`, for each `i` each `j`
/// above it.
pub(super) fn couple(pairs: &[f64], out: &mut [f64]) {
    let k = out.len();
    // r[i][j]: probability of i in the pair of i and j.
    let mut r = vec![0.0; k * k];
    let mut next = pairs.iter();
    for i in 0..k {
        for j in i + 1..k {
            let p = next.next().copied().unwrap_or(0.5);
            r[i * k + j] = p;
            r[j * k + i] = 1.0 - p;
        }
    }
    let mut q = vec![0.0; k * k];
    for i in 0..k {
        for j in (0..k).filter(|&j| j != i) {
            q[i * k + i] += r[j * k + i] * r[j * k + i];
            q[i * k + j] = -r[j * k + i] * r[i * k + j];
        }
    }
    out.fill(1.0 / k as f64);
    let enough = 0.005 / k as f64;
    let mut products = vec![0.0; k];
    for _ in 0..k.max(100) {
        let mut whole = 0.0;
        for i in 0..k {
            products[i] = (0..k).map(|j| q[i * k + j] * out[j]).sum();
            whole += out[i] * products[i];
        }
        let error = products.iter().map(|p| (p - whole).abs());
        if error.fold(0.0, f64::max) < enough {
            return;
        }
        for i in 0..k {
            let step = (whole - products[i]) / q[i * k + i];
            out[i] += step;
            let size = 1.0 + step;
            whole = (whole + step * (step * q[i * k + i] + 2.0 * products[i])) / size / size;
            for j in 0..k {
                products[j] = (products[j] + step * q[i * k + j]) / size;
                out[j] /= size;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_twister_is_the_published_one() {
        // The C++ standard gives the 10,000th number of the default seed.
        let mut random = Twister::new(5489);
        let last = (0..10_000).map(|_| random.next()).last();
        assert_eq!(last, Some(4_123_659_995));
        assert!((0..1000).all(|_| random.below(7) < 7 && random.below(1) == 0));
    }

    #[test]
    fn folds_are_even_and_each_row_is_in_one() {
        for n in [0usize, 3, 5, 23, 100] {
            let fold = folds(1, n);
            assert_eq!(fold.len(), n);
            for f in 0..FOLDS {
                let count = fold.iter().filter(|&&g| g as usize == f).count();
                assert!(count == n / FOLDS || count == n / FOLDS + 1);
            }
        }
    }

    #[test]
    fn a_sigmoid_minimises_its_loss() {
        let scores = [2.0, 1.0, 0.5, -0.2, 0.3, -1.0, -1.5, -2.0];
        let (a, b) = sigmoid(&scores, 4);
        assert!(a < 0.0);
        let (high, low) = (5.0 / 6.0, 1.0 / 6.0);
        let loss = |a: f64, b: f64| -> f64 {
            (scores.iter().enumerate())
                .map(|(i, &s)| {
                    let (t, p) = (if i < 4 { high } else { low }, logistic(s, a, b));
                    -t * p.ln() - (1.0 - t) * (1.0 - p).ln()
                })
                .sum()
        };
        for (da, db) in [(1e-3, 0.0), (-1e-3, 0.0), (0.0, 1e-3), (0.0, -1e-3)] {
            assert!(loss(a, b) < loss(a + da, b + db));
        }
        // Separable and one-sided scores end too.
        for (scores, first) in [(vec![1e6, -1e6], 1), (vec![0.0; 4], 2), (vec![1.0; 3], 3)] {
            let (a, b) = sigmoid(&scores, first);
            assert!(a.is_finite() && b.is_finite());
        }
    }

    #[test]
    fn coupling_keeps_what_is_consistent() {
        let wanted = [0.5, 0.3, 0.15, 0.05];
        let mut pairs = Vec::new();
        for i in 0..4 {
            for j in i + 1..4 {
                pairs.push(wanted[i] / (wanted[i] + wanted[j]));
            }
        }
        let mut out = [0.0; 4];
        couple(&pairs, &mut out);
        for (got, want) in out.iter().zip(&wanted) {
            assert!((got - want).abs() < 0.01, "{out:?}");
        }
        assert!((out.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let mut two = [0.0; 2];
        couple(&[1.0 - LEAST], &mut two);
        assert!(two[0] > 0.99 && two[1] >= 0.0);
    }
}
