//! Softmax of one row, its logarithm, and the cross-entropies, with their gradients.

use crate::pointwise::{load, softplus, store};
use crate::tier::Tier;
use crate::tiered;
use crate::vmath::{Lanes, exp, sigmoid};

/// The largest element; minus infinity for none.
#[inline(always)]
unsafe fn largest<V: Lanes>(x: *const f32, count: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let whole = count / V::WIDTH * V::WIDTH;
        let mut top = V::splat(f32::NEG_INFINITY);
        for at in (0..whole).step_by(V::WIDTH) {
            // In this order NaN is passed over; it shows in the sum.
            top = V::load(x.add(at)).max(top);
        }
        let mut top = top.max_lane();
        for at in whole..count {
            if *x.add(at) > top {
                top = *x.add(at);
            }
        }
        top
    }
}

/// Writes `exp(x - top)` and returns the sum.
#[inline(always)]
unsafe fn powers<V: Lanes>(x: *const f32, top: f32, y: *mut f32, count: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let shift = V::splat(top);
        let whole = count / V::WIDTH * V::WIDTH;
        let mut sum = V::splat(0.0);
        for at in (0..whole).step_by(V::WIDTH) {
            let e = exp(V::load(x.add(at)).sub(shift));
            e.store(y.add(at));
            sum = sum.add(e);
        }
        let mut sum = sum.sum();
        if whole < count {
            let rest = count - whole;
            let e = exp(V::load_part(x.add(whole), rest).sub(shift));
            e.store_part(y.add(whole), rest);
            for at in whole..count {
                sum += *y.add(at);
            }
        }
        sum
    }
}

#[inline(always)]
unsafe fn scale<V: Lanes>(x: *mut f32, factor: f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let value = load::<V>(x.add(at), rest).mul(V::splat(factor));
            store(value, x.add(at), rest);
        }
    }
}

#[inline(always)]
unsafe fn dot<V: Lanes>(a: *const f32, b: *const f32, count: usize) -> f32 {
    // SAFETY: the caller's promise; lanes beyond `count` are zero.
    unsafe {
        let mut sum = V::splat(0.0);
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            sum = load::<V>(a.add(at), rest).mul_add(load::<V>(b.add(at), rest), sum);
        }
        sum.sum()
    }
}

#[inline(always)]
unsafe fn softmax_body<V: Lanes>(x: *const f32, y: *mut f32, count: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let top = largest::<V>(x, count);
        let sum = powers::<V>(x, top, y, count);
        scale::<V>(y, 1.0 / sum, count);
        top + sum.ln()
    }
}

#[inline(always)]
unsafe fn softmax_backward_body<V: Lanes>(
    gy: *const f32,
    y: *const f32,
    gx: *mut f32,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mean = V::splat(dot::<V>(gy, y, count));
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let g = load::<V>(gy.add(at), rest).sub(mean);
            store(g.mul(load(y.add(at), rest)), gx.add(at), rest);
        }
    }
}

#[inline(always)]
unsafe fn shift_body<V: Lanes>(x: *const f32, by: f32, y: *mut f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let value = load::<V>(x.add(at), rest).sub(V::splat(by));
            store(value, y.add(at), rest);
        }
    }
}

#[inline(always)]
unsafe fn log_softmax_body<V: Lanes>(x: *const f32, y: *mut f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let top = largest::<V>(x, count);
        let sum = powers::<V>(x, top, y, count);
        // Twice a difference, not once that of a sum: the first is exact where it matters.
        shift_body::<V>(x, top, y, count);
        shift_body::<V>(y, sum.ln(), y, count);
    }
}

#[inline(always)]
unsafe fn log_softmax_backward_body<V: Lanes>(
    gy: *const f32,
    y: *const f32,
    gx: *mut f32,
    count: usize,
) {
    // SAFETY: the caller's promise; lanes beyond `count` are zero.
    unsafe {
        let mut sum = V::splat(0.0);
        for at in (0..count).step_by(V::WIDTH) {
            sum = sum.add(load::<V>(gy.add(at), count - at));
        }
        let sum = V::splat(sum.sum());
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let p = exp(load::<V>(y.add(at), rest));
            store(
                load::<V>(gy.add(at), rest).sub(p.mul(sum)),
                gx.add(at),
                rest,
            );
        }
    }
}

#[inline(always)]
unsafe fn scale_shift_body<V: Lanes>(
    x: *const f32,
    by: f32,
    factor: f32,
    y: *mut f32,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let value = load::<V>(x.add(at), rest).sub(V::splat(by));
            store(value.mul(V::splat(factor)), y.add(at), rest);
        }
    }
}

#[inline(always)]
unsafe fn total_body<V: Lanes>(x: *const f32, count: usize) -> f32 {
    // SAFETY: the caller's promise; lanes beyond `count` are zero.
    unsafe {
        let mut sum = V::splat(0.0);
        for at in (0..count).step_by(V::WIDTH) {
            sum = sum.add(load::<V>(x.add(at), count - at));
        }
        sum.sum()
    }
}

#[inline(always)]
unsafe fn binary_body<V: Lanes>(z: *const f32, t: *const f32, out: *mut f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let z = load::<V>(z.add(at), rest);
            let value = softplus(z).sub(z.mul(load(t.add(at), rest)));
            store(value, out.add(at), rest);
        }
    }
}

#[inline(always)]
unsafe fn binary_backward_body<V: Lanes>(
    z: *const f32,
    t: *const f32,
    g: *const f32,
    out: *mut f32,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let slope = sigmoid(load::<V>(z.add(at), rest)).sub(load(t.add(at), rest));
            store(load::<V>(g.add(at), rest).mul(slope), out.add(at), rest);
        }
    }
}

/// A row of scores of attention: what was summed before is scaled to the new largest score.
#[inline(always)]
unsafe fn online_body<V: Lanes>(
    scores: *mut f32,
    count: usize,
    top: f32,
    out: *mut f32,
    width: usize,
    first: bool,
) -> (f32, f32, f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let new = largest::<V>(scores, count);
        let new = if new > top { new } else { top };
        // Nothing seen yet: any finite reference makes every power 0.
        let reference = if new == f32::NEG_INFINITY { 0.0 } else { new };
        let sum = powers::<V>(scores, reference, scores, count);
        let carry = if top == f32::NEG_INFINITY {
            0.0
        } else {
            (top - reference).exp()
        };
        if !first && carry != 1.0 {
            scale::<V>(out, carry, width);
        }
        (new, sum, carry)
    }
}

/// Weights out of scores, then the scores' gradient out of that of the weights.
#[inline(always)]
unsafe fn weights_body<V: Lanes>(scores: *mut f32, lse: f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let shift = V::splat(lse);
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let e = exp(load::<V>(scores.add(at), rest).sub(shift));
            store(e, scores.add(at), rest);
        }
    }
}

#[inline(always)]
unsafe fn score_gradient_body<V: Lanes>(
    weights: *const f32,
    g: *mut f32,
    mean: f32,
    factor: f32,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..count).step_by(V::WIDTH) {
            let rest = count - at;
            let w = load::<V>(weights.add(at), rest).mul(V::splat(factor));
            let value = load::<V>(g.add(at), rest).sub(V::splat(mean)).mul(w);
            store(value, g.add(at), rest);
        }
    }
}

tiered! {
    fn softmax_raw(x: *const f32, y: *mut f32, count: usize) -> f32 = softmax_body;
    fn softmax_backward_raw(
        gy: *const f32, y: *const f32, gx: *mut f32, count: usize,
    ) = softmax_backward_body;
    fn log_softmax_raw(x: *const f32, y: *mut f32, count: usize) = log_softmax_body;
    fn log_softmax_backward_raw(
        gy: *const f32, y: *const f32, gx: *mut f32, count: usize,
    ) = log_softmax_backward_body;
    fn scale_shift_raw(
        x: *const f32, by: f32, factor: f32, y: *mut f32, count: usize,
    ) = scale_shift_body;
    fn total_raw(x: *const f32, count: usize) -> f32 = total_body;
    fn dot_raw(a: *const f32, b: *const f32, count: usize) -> f32 = dot;
    fn binary_raw(z: *const f32, t: *const f32, out: *mut f32, count: usize) = binary_body;
    fn binary_backward_raw(
        z: *const f32, t: *const f32, g: *const f32, out: *mut f32, count: usize,
    ) = binary_backward_body;
    fn online_raw(
        scores: *mut f32, count: usize, top: f32, out: *mut f32, width: usize, first: bool,
    ) -> (f32, f32, f32) = online_body;
    fn weights_raw(scores: *mut f32, lse: f32, count: usize) = weights_body;
    fn score_gradient_raw(
        weights: *const f32, g: *mut f32, mean: f32, factor: f32, count: usize,
    ) = score_gradient_body;
    fn multiply_raw(x: *mut f32, factor: f32, count: usize) = scale;
}

/// Writes `exp(x) / sum(exp(x))` and returns `log(sum(exp(x)))`.
pub fn softmax(tier: Tier, x: &[f32], y: &mut [f32]) -> f32 {
    assert_eq!(x.len(), y.len());
    softmax_raw(tier, x.as_ptr(), y.as_mut_ptr(), x.len())
}

/// Writes the gradient of [`softmax`]'s input from its output `y`.
pub fn softmax_backward(tier: Tier, gy: &[f32], y: &[f32], gx: &mut [f32]) {
    assert!(gy.len() == y.len() && gy.len() == gx.len());
    softmax_backward_raw(tier, gy.as_ptr(), y.as_ptr(), gx.as_mut_ptr(), gy.len());
}

/// Writes `x - log(sum(exp(x)))`.
pub fn log_softmax(tier: Tier, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    log_softmax_raw(tier, x.as_ptr(), y.as_mut_ptr(), x.len());
}

/// Writes the gradient of [`log_softmax`]'s input from its output `y`.
pub fn log_softmax_backward(tier: Tier, gy: &[f32], y: &[f32], gx: &mut [f32]) {
    assert!(gy.len() == y.len() && gy.len() == gx.len());
    log_softmax_backward_raw(tier, gy.as_ptr(), y.as_ptr(), gx.as_mut_ptr(), gy.len());
}

/// Writes the probabilities of `logits` and returns the cross-entropy of the class `target`, of
/// whose share `smoothing` is spread over all classes.
///
/// # Panics
/// If there is no such class.
pub fn cross_entropy(
    tier: Tier,
    logits: &[f32],
    target: usize,
    smoothing: f32,
    probabilities: &mut [f32],
) -> f32 {
    let total = softmax(tier, logits, probabilities);
    let loss = total - logits[target];
    if smoothing == 0.0 {
        return loss;
    }
    let count = logits.len();
    let mean = total_raw(tier, logits.as_ptr(), count) / count as f32;
    (1.0 - smoothing) * loss + smoothing * (total - mean)
}

/// Writes the gradient of [`cross_entropy`]'s logits for the loss's gradient `g`.
///
/// # Panics
/// If there is no such class.
pub fn cross_entropy_backward(
    tier: Tier,
    probabilities: &[f32],
    target: usize,
    smoothing: f32,
    g: f32,
    out: &mut [f32],
) {
    assert_eq!(probabilities.len(), out.len());
    let count = out.len();
    let spread = smoothing / count as f32;
    scale_shift_raw(
        tier,
        probabilities.as_ptr(),
        spread,
        g,
        out.as_mut_ptr(),
        count,
    );
    out[target] = (probabilities[target] - spread - (1.0 - smoothing)) * g;
}

/// Writes `log(1 + exp(z)) - t z`, the cross-entropy of sigmoid(z) and t.
pub fn binary_cross_entropy(tier: Tier, z: &[f32], t: &[f32], out: &mut [f32]) {
    assert!(z.len() == t.len() && z.len() == out.len());
    binary_raw(tier, z.as_ptr(), t.as_ptr(), out.as_mut_ptr(), z.len());
}

/// Writes the gradient of [`binary_cross_entropy`]'s logits.
pub fn binary_cross_entropy_backward(tier: Tier, z: &[f32], t: &[f32], g: &[f32], out: &mut [f32]) {
    assert!(z.len() == t.len() && z.len() == g.len() && z.len() == out.len());
    let count = z.len();
    binary_backward_raw(
        tier,
        z.as_ptr(),
        t.as_ptr(),
        g.as_ptr(),
        out.as_mut_ptr(),
        count,
    );
}

/// The largest score of a row of attention so far and the sum of the powers relative to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Online {
    top: f32,
    sum: f32,
}

impl Online {
    /// Nothing seen yet.
    pub const NEW: Online = Online {
        top: f32::NEG_INFINITY,
        sum: 0.0,
    };

    /// Turns further `scores` into powers and scales `out`, the weighted sum so far, to match.
    ///
    /// Milakov and Gimelshein, *Online normalizer calculation for softmax* (arXiv:1805.02867).
    pub fn add(&mut self, tier: Tier, scores: &mut [f32], out: &mut [f32], first: bool) {
        let (top, sum, carry) = online_raw(
            tier,
            scores.as_mut_ptr(),
            scores.len(),
            self.top,
            out.as_mut_ptr(),
            out.len(),
            first,
        );
        self.top = top;
        self.sum = self.sum * carry + sum;
    }

    /// Divides `out` by the sum; returns the logarithm of the sum of powers, infinity (and
    /// zeros in `out`) where no score counted.
    pub fn finish(&self, tier: Tier, out: &mut [f32]) -> f32 {
        if self.top == f32::NEG_INFINITY && !self.sum.is_nan() {
            out.fill(0.0);
            return f32::INFINITY;
        }
        multiply_raw(tier, out.as_mut_ptr(), 1.0 / self.sum, out.len());
        self.top + self.sum.ln()
    }
}

/// Replaces scores by the weights `exp(score - lse)`.
pub fn weights(tier: Tier, scores: &mut [f32], lse: f32) {
    weights_raw(tier, scores.as_mut_ptr(), lse, scores.len());
}

/// Replaces the weights' gradient `g` by that of the scores, `factor w (g - mean)`.
pub fn score_gradient(tier: Tier, weights: &[f32], g: &mut [f32], mean: f32, factor: f32) {
    assert_eq!(weights.len(), g.len());
    score_gradient_raw(
        tier,
        weights.as_ptr(),
        g.as_mut_ptr(),
        mean,
        factor,
        g.len(),
    );
}

/// The dot product of both.
pub fn product(tier: Tier, a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    dot_raw(tier, a.as_ptr(), b.as_ptr(), a.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier;
    use proptest::prelude::*;

    fn exact(x: &[f32]) -> (Vec<f64>, f64) {
        let top = x.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let e: Vec<f64> = x.iter().map(|&x| f64::from(x - top).exp()).collect();
        let sum: f64 = e.iter().sum();
        (
            e.iter().map(|e| e / sum).collect(),
            f64::from(top) + sum.ln(),
        )
    }

    fn close(got: &[f32], want: &[f64]) -> bool {
        got.iter()
            .zip(want)
            .all(|(&g, &w)| (f64::from(g) - w).abs() <= 3e-6 * (1.0 + w.abs()))
    }

    proptest! {
        #[test]
        fn rows(
            x in prop::collection::vec(-20.0f32..20.0, 1..90),
            shift in -1e4f32..1e4,
            smoothing in prop::sample::select(vec![0.0f32, 0.1]),
        ) {
            let x: Vec<f32> = x.iter().map(|x| x + shift).collect();
            let n = x.len();
            let g: Vec<f32> = (0..n).map(|i| (i % 5) as f32 - 1.5).collect();
            let (p, lse) = exact(&x);
            let wide: Vec<f64> = g.iter().map(|&g| f64::from(g)).collect();
            for tier in tier::supported() {
                let mut y = vec![0.0; n];
                let got = softmax(tier, &x, &mut y);
                prop_assert!(close(&y, &p));
                prop_assert!((f64::from(got) - lse).abs() <= 1e-6 * (1.0 + lse.abs()));
                let mut gx = vec![0.0; n];
                softmax_backward(tier, &g, &y, &mut gx);
                let mean: f64 = p.iter().zip(&wide).map(|(p, g)| p * g).sum();
                let want: Vec<f64> = p.iter().zip(&wide).map(|(p, g)| p * (g - mean)).collect();
                prop_assert!(close(&gx, &want));
                let logs: Vec<f64> = x.iter().map(|&x| f64::from(x) - lse).collect();
                log_softmax(tier, &x, &mut y);
                prop_assert!(close(&y, &logs));
                log_softmax_backward(tier, &g, &y, &mut gx);
                let sum: f64 = wide.iter().sum();
                let want: Vec<f64> = p.iter().zip(&wide).map(|(p, g)| g - p * sum).collect();
                let limit = 1e-5 * (1.0 + sum.abs());
                let fine = gx
                    .iter()
                    .zip(&want)
                    .all(|(&g, w)| (f64::from(g) - w).abs() <= limit + 1e-5 * w.abs());
                prop_assert!(fine);
                let target = n / 2;
                let loss = cross_entropy(tier, &x, target, smoothing, &mut y);
                prop_assert!(close(&y, &p));
                let s = f64::from(smoothing);
                let mean: f64 = logs.iter().sum::<f64>() / n as f64;
                let want = -(1.0 - s) * logs[target] - s * mean;
                prop_assert!((f64::from(loss) - want).abs() <= 2e-6 * (1.0 + lse.abs()));
                cross_entropy_backward(tier, &y, target, smoothing, 0.5, &mut gx);
                let want: Vec<f64> = p
                    .iter()
                    .enumerate()
                    .map(|(i, p)| {
                        let hit = if i == target { 1.0 - s } else { 0.0 };
                        0.5 * (p - s / n as f64 - hit)
                    })
                    .collect();
                prop_assert!(close(&gx, &want));
            }
        }

        #[test]
        fn binary(z in prop::collection::vec(-40.0f32..40.0, 0..70)) {
            let n = z.len();
            let t: Vec<f32> = (0..n).map(|i| (i % 3) as f32 / 2.0).collect();
            let g: Vec<f32> = (0..n).map(|i| (i % 5) as f32 - 1.5).collect();
            for tier in tier::supported() {
                let mut out = vec![0.0; n];
                binary_cross_entropy(tier, &z, &t, &mut out);
                let mut slope = vec![0.0; n];
                binary_cross_entropy_backward(tier, &z, &t, &g, &mut slope);
                for i in 0..n {
                    let (z, t) = (f64::from(z[i]), f64::from(t[i]));
                    let want = z.max(0.0) + (-z.abs()).exp().ln_1p() - t * z;
                    prop_assert!((f64::from(out[i]) - want).abs() <= 4e-6 * (want.abs() + z.abs()) + 1e-9);
                    let want = f64::from(g[i]) * (1.0 / (1.0 + (-z).exp()) - t);
                    prop_assert!((f64::from(slope[i]) - want).abs() <= 1e-6);
                }
            }
        }

        #[test]
        fn pieces_equal_the_whole(
            x in prop::collection::vec(-20.0f32..20.0, 1..90),
            cut in 0usize..90,
            hidden in 0usize..3,
        ) {
            let mut x = x;
            for i in 0..x.len() {
                if i % 3 < hidden {
                    x[i] = f32::NEG_INFINITY;
                }
            }
            let cut = cut.min(x.len());
            let some = x.iter().any(|x| x.is_finite());
            for tier in tier::supported() {
                let mut state = Online::NEW;
                // The values are all 1, so the weighted sum is the sum of the weights.
                let mut out = [7.0f32];
                let mut scores = x.clone();
                let (a, b) = scores.split_at_mut(cut);
                let mut first = true;
                for part in [a, b] {
                    state.add(tier, part, &mut out, first);
                    let sum: f32 = part.iter().sum();
                    out[0] = if first { sum } else { out[0] + sum };
                    first = false;
                }
                let lse = state.finish(tier, &mut out);
                if some {
                    prop_assert!((out[0] - 1.0).abs() < 1e-5);
                    let mut again = x.clone();
                    weights(tier, &mut again, lse);
                    let (p, _) = exact(&x);
                    prop_assert!(close(&again, &p));
                } else {
                    prop_assert_eq!((out[0], lse), (0.0, f32::INFINITY));
                    let mut again = x.clone();
                    weights(tier, &mut again, lse);
                    prop_assert!(again.iter().all(|&w| w < 1e-37));
                }
            }
        }
    }

    #[test]
    fn nan_is_not_hidden() {
        for tier in tier::supported() {
            for at in [0, 7, 20] {
                let mut x = [1.0f32; 21];
                x[at] = f32::NAN;
                let mut y = [0.0; 21];
                softmax(tier, &x, &mut y);
                assert!(y.iter().all(|y| y.is_nan()));
            }
        }
    }
}
