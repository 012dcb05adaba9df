//! Elementwise loops of networks: activations, their derivatives, dropout.

use crate::tier::Tier;
use crate::tiered;
use crate::vmath::{Lanes, erf, exp, log, sigmoid, tanh};

/// An elementwise activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// `x`
    Linear,
    /// `max(x, 0)`
    Relu,
    /// `x`, or `0.01 x` where it is negative
    LeakyRelu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
    /// `x`, or `exp(x) - 1` where it is negative
    Elu,
    /// `x` times the normal distribution function
    Gelu,
    /// Its approximation `x sigmoid(2 u)` with `u = sqrt(2 / pi) (x + 0.044715 x^3)`
    GeluTanh,
    /// `x` held between 0 and 6
    Relu6,
    /// `x sigmoid(x)`
    Silu,
    /// `log(1 + exp(x))`
    Softplus,
}

impl Unary {
    /// Every activation and its name in Python.
    pub const ALL: [(Unary, &'static str); 11] = [
        (Unary::Linear, "linear"),
        (Unary::Relu, "relu"),
        (Unary::LeakyRelu, "leaky_relu"),
        (Unary::Sigmoid, "sigmoid"),
        (Unary::Tanh, "tanh"),
        (Unary::Elu, "elu"),
        (Unary::Gelu, "gelu"),
        (Unary::GeluTanh, "gelu_tanh"),
        (Unary::Relu6, "relu6"),
        (Unary::Silu, "silu"),
        (Unary::Softplus, "softplus"),
    ];

    /// The activation of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Unary> {
        Unary::ALL
            .into_iter()
            .find(|(_, known)| *known == name)
            .map(|(unary, _)| unary)
    }

    /// True where the derivative follows from the output.
    pub fn slope_from_output(self) -> bool {
        !matches!(
            self,
            Unary::Gelu | Unary::GeluTanh | Unary::Silu | Unary::Softplus
        )
    }
}

const LEAK: f32 = 0.01;
const CUBIC: f32 = 0.044_715;
/// `1 / sqrt(2 pi)`
const DENSITY: f32 = 0.398_942_3;
/// `2 sqrt(2 / pi)`
const GELU: f32 = 1.595_769_2;

/// The first `count` elements at `from` (all of a register's where there are more), then zeros.
///
/// # Safety
/// As for the methods of [`Lanes`]; `from` is valid for the elements read.
#[inline(always)]
pub(crate) unsafe fn load<V: Lanes>(from: *const f32, count: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        if count >= V::WIDTH {
            V::load(from)
        } else {
            V::load_part(from, count)
        }
    }
}

/// Writes the first `count` lanes, or all where `count` is larger.
///
/// # Safety
/// As for [`load`].
#[inline(always)]
pub(crate) unsafe fn store<V: Lanes>(x: V, to: *mut f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if count >= V::WIDTH {
            x.store(to);
        } else {
            x.store_part(to, count);
        }
    }
}

// Macros, not functions that take closures: a closure that is not inlined is compiled without the
// tier's instructions, and every operation on a register becomes a call (40 times the time).

/// Writes the value of an expression of each register of one array.
macro_rules! map {
    ($lanes:ty, $x:expr, $y:expr, $count:expr, |$v:ident| $value:expr) => {
        for at in (0..$count).step_by(<$lanes>::WIDTH) {
            let rest = $count - at;
            let $v = load::<$lanes>($x.add(at), rest);
            store($value, $y.add(at), rest);
        }
    };
}

/// Writes the value of an expression of each register of two arrays.
macro_rules! zip {
    ($lanes:ty, $a:expr, $b:expr, $y:expr, $count:expr, |$v:ident, $w:ident| $value:expr) => {
        for at in (0..$count).step_by(<$lanes>::WIDTH) {
            let rest = $count - at;
            let ($v, $w) = (
                load::<$lanes>($a.add(at), rest),
                load::<$lanes>($b.add(at), rest),
            );
            store($value, $y.add(at), rest);
        }
    };
}

/// `exp(x) - 1` of negative numbers, by way of `tanh`, which keeps small ones exact.
#[inline(always)]
unsafe fn expm1<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise (of the methods of `Lanes`).
    unsafe {
        let t = tanh(x.mul(V::splat(0.5)));
        t.add(t).div(V::splat(1.0).sub(t))
    }
}

/// `sigmoid(2 u)` of [`Unary::GeluTanh`] and the derivative of `2 u`.
#[inline(always)]
unsafe fn gelu_parts<V: Lanes>(x: V) -> (V, V) {
    // SAFETY: the caller's promise (of the methods of `Lanes`).
    unsafe {
        let square = x.mul(x);
        let inner = square.mul_add(V::splat(GELU * CUBIC), V::splat(GELU));
        let slope = square.mul_add(V::splat(3.0 * GELU * CUBIC), V::splat(GELU));
        (sigmoid(inner.mul(x)), slope)
    }
}

/// The normal distribution function.
#[inline(always)]
unsafe fn normal<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise (of the methods of `Lanes`).
    unsafe {
        let half = V::splat(0.5);
        erf(x.mul(V::splat(std::f32::consts::FRAC_1_SQRT_2))).mul_add(half, half)
    }
}

/// `log(1 + e)` of `e` in [0, 1], exact for small `e` too.
#[inline(always)]
unsafe fn log1p<V: Lanes>(e: V) -> V {
    // SAFETY: the caller's promise (of the methods of `Lanes`).
    unsafe {
        let one = V::splat(1.0);
        let w = one.add(e);
        let d = w.sub(one);
        // What rounding 1 + e lost is made good by the ratio; where all was lost, log1p is e.
        let ratio = e.div(d.max(V::splat(f32::MIN_POSITIVE)));
        V::splat(0.0).select_lt(d, log(w).mul(ratio), e)
    }
}

/// `log(1 + exp(x))`.
#[inline(always)]
pub(crate) unsafe fn softplus<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise (of the methods of `Lanes`).
    unsafe {
        let zero = V::splat(0.0);
        zero.max(x).add(log1p(exp(zero.sub(x.abs()))))
    }
}

#[inline(always)]
unsafe fn activate_body<V: Lanes>(kind: Unary, x: *const f32, y: *mut f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(0.0);
        match kind {
            Unary::Linear => map!(V, x, y, count, |x| x),
            // In this order NaN stays NaN.
            Unary::Relu => map!(V, x, y, count, |x| zero.max(x)),
            Unary::LeakyRelu => {
                map!(V, x, y, count, |x| zero.select_lt(
                    x,
                    x,
                    x.mul(V::splat(LEAK))
                ))
            }
            Unary::Sigmoid => map!(V, x, y, count, |x| sigmoid(x)),
            Unary::Tanh => map!(V, x, y, count, |x| tanh(x)),
            Unary::Elu => map!(V, x, y, count, |x| zero.select_lt(x, x, expm1(zero.min(x)))),
            Unary::Gelu => map!(V, x, y, count, |x| x.mul(normal(x))),
            Unary::GeluTanh => map!(V, x, y, count, |x| x.mul(gelu_parts(x).0)),
            Unary::Relu6 => map!(V, x, y, count, |x| V::splat(6.0).min(zero.max(x))),
            Unary::Silu => map!(V, x, y, count, |x| x.mul(sigmoid(x))),
            Unary::Softplus => map!(V, x, y, count, |x| softplus(x)),
        }
    }
}

#[inline(always)]
unsafe fn activate_backward_body<V: Lanes>(
    kind: Unary,
    gy: *const f32,
    from: *const f32,
    out: *mut f32,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(0.0);
        let one = V::splat(1.0);
        match kind {
            Unary::Linear => map!(V, gy, out, count, |g| g),
            Unary::Relu => zip!(V, gy, from, out, count, |g, y| zero.select_lt(y, g, zero)),
            Unary::LeakyRelu => zip!(V, gy, from, out, count, |g, y| {
                zero.select_lt(y, g, g.mul(V::splat(LEAK)))
            }),
            Unary::Sigmoid => {
                zip!(V, gy, from, out, count, |g, y| g.mul(y.mul(one.sub(y))));
            }
            Unary::Tanh => zip!(V, gy, from, out, count, |g, y| g.mul(one.sub(y.mul(y)))),
            Unary::Elu => zip!(V, gy, from, out, count, |g, y| {
                zero.select_lt(y, g, g.mul(y.add(one)))
            }),
            Unary::Gelu => zip!(V, gy, from, out, count, |g, x| {
                let density = exp(x.mul(x).mul(V::splat(-0.5))).mul(V::splat(DENSITY));
                // Far out `x` may be infinite where the density is 0.
                let bend = x.abs().select_lt(V::splat(16.0), x.mul(density), zero);
                g.mul(normal(x).add(bend))
            }),
            Unary::Relu6 => zip!(V, gy, from, out, count, |g, y| {
                let below = y.select_lt(V::splat(6.0), g, zero);
                zero.select_lt(y, below, zero)
            }),
            Unary::GeluTanh => zip!(V, gy, from, out, count, |g, x| {
                let (s, slope) = gelu_parts(x);
                let bend = s.mul(one.sub(s)).mul(x.mul(slope));
                // Far out `x slope` overflows where `s (1 - s)` is already 0.
                let bend = x.abs().select_lt(V::splat(16.0), bend, zero);
                g.mul(s.add(bend))
            }),
            Unary::Silu => zip!(V, gy, from, out, count, |g, x| {
                let s = sigmoid(x);
                g.mul(s.mul(x.mul_add(one.sub(s), one)))
            }),
            Unary::Softplus => zip!(V, gy, from, out, count, |g, x| g.mul(sigmoid(x))),
        }
    }
}

#[inline(always)]
unsafe fn add_body<V: Lanes>(a: *const f32, b: *const f32, out: *mut f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { zip!(V, a, b, out, count, |a, b| a.add(b)) }
}

/// The output mix of SplitMix64 over blocks, without branches and one step at a time over the
/// whole block, which compilers turn into whole registers.
#[inline(always)]
#[allow(clippy::extra_unused_type_parameters)] // `V` only chooses the instructions
unsafe fn dropout_body<V: Lanes>(
    key: u64,
    first: u64,
    least: u64,
    scale: f32,
    x: *const f32,
    y: *mut f32,
    count: usize,
) {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    const BLOCK: usize = 32;
    let bits = scale.to_bits();
    let mut start = 0;
    while start < count {
        let size = BLOCK.min(count - start);
        let origin = first.wrapping_add(start as u64 + 1).wrapping_mul(GOLDEN);
        let origin = origin.wrapping_add(key);
        let mut z = [0u64; BLOCK];
        for (i, z) in z.iter_mut().enumerate() {
            *z = origin.wrapping_add((i as u64).wrapping_mul(GOLDEN));
        }
        for z in &mut z {
            *z = (*z ^ (*z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        }
        for z in &mut z {
            *z = (*z ^ (*z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        }
        let mut kept = [0.0f32; BLOCK];
        for (kept, z) in kept.iter_mut().zip(&z) {
            // Both numbers are below 2^54, so the sign of the difference tells which is larger.
            let below = (((z ^ (z >> 31)) >> 11).wrapping_sub(least) >> 63) as u32;
            *kept = f32::from_bits(below.wrapping_sub(1) & bits);
        }
        for (i, kept) in kept.iter().enumerate().take(size) {
            // SAFETY: the caller's promise.
            unsafe { *y.add(start + i) = *x.add(start + i) * kept }
        }
        start += size;
    }
}

tiered! {
    fn activate_raw(kind: Unary, x: *const f32, y: *mut f32, count: usize) = activate_body;
    fn activate_backward_raw(
        kind: Unary, gy: *const f32, from: *const f32, out: *mut f32, count: usize,
    ) = activate_backward_body;
    fn add_raw(a: *const f32, b: *const f32, out: *mut f32, count: usize) = add_body;
    fn dropout_raw(
        key: u64, first: u64, least: u64, scale: f32, x: *const f32, y: *mut f32, count: usize,
    ) = dropout_body;
}

/// Writes the activation of each element.
pub fn activate(tier: Tier, kind: Unary, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    activate_raw(tier, kind, x.as_ptr(), y.as_mut_ptr(), x.len());
}

/// Replaces each element by its activation.
pub fn activate_in_place(tier: Tier, kind: Unary, x: &mut [f32]) {
    let pointer = x.as_mut_ptr();
    activate_raw(tier, kind, pointer, pointer, x.len());
}

/// Writes `gy` times the derivative; `from` is the activation's output where
/// [`Unary::slope_from_output`] says so, else its input.
pub fn activate_backward(tier: Tier, kind: Unary, gy: &[f32], from: &[f32], out: &mut [f32]) {
    assert!(gy.len() == from.len() && gy.len() == out.len());
    let count = gy.len();
    activate_backward_raw(
        tier,
        kind,
        gy.as_ptr(),
        from.as_ptr(),
        out.as_mut_ptr(),
        count,
    );
}

/// Writes the sum of both.
pub fn add(tier: Tier, a: &[f32], b: &[f32], out: &mut [f32]) {
    assert!(a.len() == b.len() && a.len() == out.len());
    add_raw(tier, a.as_ptr(), b.as_ptr(), out.as_mut_ptr(), a.len());
}

/// Adds `b` to `a`.
pub fn add_assign(tier: Tier, a: &mut [f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let pointer = a.as_mut_ptr();
    add_raw(tier, pointer, b.as_ptr(), pointer, b.len());
}

/// Writes `x` times random zeros and `scale`: element `i` is kept where word `first + i` of the
/// counter-based stream `key`, without its 11 low bits, is at least `least`.
pub fn dropout(tier: Tier, key: u64, first: u64, least: u64, scale: f32, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    dropout_raw(
        tier,
        key,
        first,
        least,
        scale,
        x.as_ptr(),
        y.as_mut_ptr(),
        x.len(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier;
    use proptest::prelude::*;

    /// The normal distribution function by the Maclaurin series of the integral of its density.
    fn normal(x: f64) -> f64 {
        if x.abs() > 6.0 {
            return if x > 0.0 { 1.0 } else { 0.0 };
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..120 {
            term *= -x * x / (2.0 * f64::from(n));
            sum += term / f64::from(2 * n + 1);
        }
        0.5 + sum / (2.0 * std::f64::consts::PI).sqrt()
    }

    fn exact(kind: Unary, x: f64) -> f64 {
        let gelu = |x: f64| 2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
        match kind {
            Unary::Linear => x,
            Unary::Relu => x.max(0.0),
            Unary::LeakyRelu => {
                if x > 0.0 {
                    x
                } else {
                    0.01 * x
                }
            }
            Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Unary::Tanh => x.tanh(),
            Unary::Elu => {
                if x > 0.0 {
                    x
                } else {
                    x.exp_m1()
                }
            }
            Unary::Gelu => x * normal(x),
            Unary::GeluTanh => x / (1.0 + (-gelu(x)).exp()),
            Unary::Relu6 => x.clamp(0.0, 6.0),
            Unary::Silu => x / (1.0 + (-x).exp()),
            Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }

    proptest! {
        #[test]
        fn values_and_slopes(
            x in prop::collection::vec(-30.0f32..30.0, 0..70),
            small in prop::collection::vec(-1e-4f32..1e-4, 0..5),
        ) {
            let x = [x, small].concat();
            let gy: Vec<f32> = (0..x.len()).map(|i| 1.0 - 0.1 * (i % 7) as f32).collect();
            for tier in tier::supported() {
                for (kind, name) in Unary::ALL {
                    let mut y = vec![0.0; x.len()];
                    activate(tier, kind, &x, &mut y);
                    let mut again = x.clone();
                    activate_in_place(tier, kind, &mut again);
                    prop_assert_eq!(&again, &y);
                    let from = if kind.slope_from_output() { &y } else { &x };
                    let mut g = vec![0.0; x.len()];
                    activate_backward(tier, kind, &gy, from, &mut g);
                    for i in 0..x.len() {
                        let want = exact(kind, f64::from(x[i]));
                        let error = (f64::from(y[i]) - want).abs();
                        // Far out the exponent itself is rounded; erf is exact to a part of 1.
                        let limit = match kind {
                            Unary::Gelu => 2e-6 * want.abs() + 2e-6,
                            _ => 2e-5 * want.abs() + 1e-36,
                        };
                        prop_assert!(error <= limit, "{name}({}) = {} not {want}", x[i], y[i]);
                        let h = 1e-6;
                        if x[i].abs() < 1e-3 || (x[i] - 6.0).abs() < 1e-3 {
                            continue; // kinks
                        }
                        let at = f64::from(x[i]);
                        let slope = if kind == Unary::Gelu {
                            // The series is too rough for differences.
                            normal(at) + at * (-at * at / 2.0).exp() * f64::from(DENSITY)
                        } else {
                            (exact(kind, at + h) - exact(kind, at - h)) / (2.0 * h)
                        };
                        let want = slope * f64::from(gy[i]);
                        prop_assert!(
                            (f64::from(g[i]) - want).abs() <= 1e-5 * want.abs() + 1e-5,
                            "{name}'({}) = {} not {want}", x[i], g[i]
                        );
                    }
                }
            }
        }

        #[test]
        fn sums(a in prop::collection::vec(-9.0f32..9.0, 0..70)) {
            let b: Vec<f32> = a.iter().rev().copied().collect();
            let want: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            for tier in tier::supported() {
                let mut out = vec![0.0; a.len()];
                add(tier, &a, &b, &mut out);
                prop_assert_eq!(&out, &want);
                let mut out = a.clone();
                add_assign(tier, &mut out, &b);
                prop_assert_eq!(&out, &want);
            }
        }

        #[test]
        fn dropped_cells_are_those_of_every_tier(key: u64, first in 0u64..1000, n in 0usize..100) {
            let x: Vec<f32> = (0..n).map(|i| i as f32 + 1.0).collect();
            let least = (0.3 * (1u64 << 53) as f64) as u64;
            let run = |tier, first: u64, x: &[f32]| {
                let mut y = vec![0.0; x.len()];
                dropout(tier, key, first, least, 2.0, x, &mut y);
                y
            };
            let whole = run(Tier::Scalar, first, &x);
            prop_assert!(whole.iter().zip(&x).all(|(y, x)| *y == 0.0 || *y == 2.0 * x));
            for tier in tier::supported() {
                prop_assert_eq!(&run(tier, first, &x), &whole);
                let half = n / 2;
                let parts = [
                    run(tier, first, &x[..half]),
                    run(tier, first + half as u64, &x[half..]),
                ];
                prop_assert_eq!(&parts.concat(), &whole);
            }
        }
    }

    #[test]
    fn special_numbers() {
        for tier in tier::supported() {
            for (kind, name) in Unary::ALL {
                let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30];
                let mut y = [0.0; 5];
                activate(tier, kind, &x, &mut y);
                assert!(y[0].is_nan(), "{name} of NaN is {}", y[0]);
                assert!(y[3] >= 1.0, "{name} of 1e30 is {}", y[3]);
                let from = if kind.slope_from_output() { y } else { x };
                let mut g = [0.0; 5];
                activate_backward(tier, kind, &[1.0; 5], &from, &mut g);
                assert!(g[3].is_finite() && g[4].is_finite(), "{name}' is {g:?}");
            }
        }
    }
}
