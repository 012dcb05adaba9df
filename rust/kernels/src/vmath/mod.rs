//! Exponential, logistic function, hyperbolic tangent, logarithm and error function of whole
//! registers, a few ulp from the exact answer, for use inside other loops, and the same over
//! slices.
//!
//! Every function takes any number: infinities and NaN give what the standard library's
//! function gives, but results below 1.22e-38 (about the smallest normal number) may come out
//! as any number from zero to that.

mod lanes;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub use lanes::{Avx2, Avx512};
pub use lanes::{Lanes, Plain};

/// Defines functions that run a loop, written once over [`Lanes`], with the registers of the
/// given [`Tier`](crate::tier::Tier).
///
/// The body is an `#[inline(always)] unsafe fn` whose first type parameter is the register,
/// followed by the const parameters named in the brackets.
#[macro_export]
macro_rules! tiered {
    ($($(#[$doc:meta])* $vis:vis fn $name:ident
        $(<$(const $c:ident: $ct:ty),+>)?
        ($($arg:ident: $t:ty),* $(,)?) $(-> $r:ty)? = $body:ident;)+) => {$(
        $(#[$doc])*
        $vis fn $name$(<$(const $c: $ct),+>)?(
            tier: $crate::tier::Tier, $($arg: $t),*
        ) $(-> $r)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
                unsafe fn avx2$(<$(const $c: $ct),+>)?($($arg: $t),*) $(-> $r)? {
                    // SAFETY: the features are enabled here.
                    unsafe { $body::<$crate::vmath::Avx2, $($({ $c }),+)?>($($arg),*) }
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
                unsafe fn avx512$(<$(const $c: $ct),+>)?($($arg: $t),*) $(-> $r)? {
                    // SAFETY: the features are enabled here.
                    unsafe { $body::<$crate::vmath::Avx512, $($({ $c }),+)?>($($arg),*) }
                }
                match tier {
                    $crate::tier::Tier::Avx512 => {
                        // SAFETY: a tier is only in force where the processor has it.
                        return unsafe { avx512$(::<$($c),+>)?($($arg),*) };
                    }
                    $crate::tier::Tier::Avx2 => {
                        // SAFETY: a tier is only in force where the processor has it.
                        return unsafe { avx2$(::<$($c),+>)?($($arg),*) };
                    }
                    $crate::tier::Tier::Scalar => {}
                }
            }
            let _ = tier;
            // SAFETY: the plain register needs no special instructions.
            unsafe { $body::<$crate::vmath::Plain, $($({ $c }),+)?>($($arg),*) }
        }
    )+};
}

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// `ln 2` in two parts: products of the first with whole numbers below 2^9 are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule.
///
/// # Safety
/// As for the methods of [`Lanes`].
#[inline(always)]
pub unsafe fn polynomial<V: Lanes, const N: usize>(x: V, c: [f32; N]) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = V::splat(c[N - 1]);
        for k in (0..N - 1).rev() {
            sum = sum.mul_add(x, V::splat(c[k]));
        }
        sum
    }
}

/// `(n, m)` with `exp(x) = 2^n (1 + m)`, `|m| < 0.42`, for `x` from -104 to 89.
#[inline(always)]
unsafe fn exp_parts<V: Lanes>(x: V) -> (V, V) {
    // (exp(r) - 1 - r) / r^2, a minimax fit by Lawson's iteration, relative error 1.4e-8.
    const P: [f32; 5] = [
        0.5,
        0.166_665_42,
        0.041_666_28,
        0.008_366_659,
        0.001_394_658_1,
    ];
    // SAFETY: the caller's promise.
    unsafe {
        let n = x.mul(V::splat(LOG2_E)).round();
        let r = n.mul_add(V::splat(-LN2_HIGH), x);
        let r = n.mul_add(V::splat(-LN2_LOW), r);
        let p = polynomial(r, P);
        (n, p.mul_add(r.mul(r), r))
    }
}

/// `e^x`.
///
/// # Safety
/// As for the methods of [`Lanes`].
#[inline(always)]
pub unsafe fn exp<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        // The order of the operands lets NaN through.
        let inside = V::splat(89.0).min(V::splat(-104.0).max(x));
        let (n, m) = exp_parts(inside);
        V::splat(1.0).add(m).scale(n)
    }
}

/// `1 / (1 + e^-x)`.
///
/// # Safety
/// As for the methods of [`Lanes`].
#[inline(always)]
pub unsafe fn sigmoid<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        // Beyond these the reciprocal would leave the normal numbers, or add nothing to 1.
        let inside = V::splat(87.3).min(V::splat(-87.3).max(x));
        let (n, m) = exp_parts(V::splat(0.0).sub(inside));
        let one = V::splat(1.0);
        one.add(one.add(m).scale(n)).recip()
    }
}

/// Hyperbolic tangent.
///
/// # Safety
/// As for the methods of [`Lanes`].
#[inline(always)]
pub unsafe fn tanh<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        // tanh x = m / (m + 2) with m = exp(2x) - 1, which keeps small x exact.
        let inside = V::splat(10.0).min(V::splat(-10.0).max(x));
        let (n, m) = exp_parts(inside.add(inside));
        let one = V::splat(1.0);
        let power = one.scale(n);
        let m = power.mul_add(m, power.sub(one));
        m.quotient(m.add(V::splat(2.0)))
    }
}

/// Natural logarithm.
///
/// # Safety
/// As for the methods of [`Lanes`].
#[inline(always)]
pub unsafe fn log<V: Lanes>(x: V) -> V {
    // (log(1 + f) - f + f^2 / 2) / f^3, fitted as above.
    const Q: [f32; 8] = [
        0.333_333_17,
        -0.250_008_1,
        0.200_022_86,
        -0.166_245_54,
        0.141_811_92,
        -0.131_287_54,
        0.128_816_49,
        -0.078_596_16,
    ];
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(0.0);
        let tiny = V::splat(f32::MIN_POSITIVE);
        let shift = x.select_lt(tiny, V::splat(25.0), zero);
        let normal = x.select_lt(tiny, x.mul(V::splat(33_554_432.0)), x);
        let (e, m) = normal.split();
        let e = e.sub(shift);
        let f = m.sub(V::splat(1.0));
        let square = f.mul(f);
        let rest = polynomial(f, Q).mul(f.mul(square));
        let rest = e.mul_add(V::splat(LN2_LOW), rest);
        let rest = square.mul_add(V::splat(-0.5), rest);
        let y = e.mul_add(V::splat(LN2_HIGH), f.add(rest));
        // Zero, negative numbers, infinity; NaN fails every comparison below and above.
        let y = zero.select_lt(x, y, V::splat(f32::NEG_INFINITY));
        let y = x.select_lt(zero, V::splat(f32::NAN), y);
        let y = V::splat(f32::MAX).select_lt(x, V::splat(f32::INFINITY), y);
        let nan = x.sub(x).mul(zero);
        // x - x is NaN for infinities too, which have their answers already.
        let finite_or_nan = V::splat(f32::MAX).select_lt(x.abs(), zero, nan);
        y.add(finite_or_nan)
    }
}

/// Error function.
///
/// # Safety
/// As for the methods of [`Lanes`].
#[inline(always)]
pub unsafe fn erf<V: Lanes>(x: V) -> V {
    // erf(x) / x as a polynomial of x^2 below 0.95, and -log(1 - erf(x)) from there to 4,
    // where the answer rounds to 1; fitted as above.
    const SMALL: [f32; 7] = [
        std::f32::consts::FRAC_2_SQRT_PI,
        -0.376_126_3,
        0.112_836_64,
        -0.026_857_706,
        0.005_196_952_3,
        -0.000_809_770_34,
        0.000_081_850_94,
    ];
    const LARGE: [f32; 7] = [
        0.000_244_723_4,
        1.127_474_9,
        0.637_517_1,
        0.103_640_26,
        -0.022_087_607,
        0.003_008_528_2,
        -0.000_192_425_08,
    ];
    // SAFETY: the caller's promise.
    unsafe {
        let size = x.abs();
        let small = polynomial(x.mul(x), SMALL).mul(x);
        let inside = V::splat(4.0).min(size);
        let tail = exp(V::splat(0.0).sub(polynomial(inside, LARGE)));
        let large = V::splat(1.0).sub(tail).copy_sign(x);
        size.select_lt(V::splat(0.95), small, large)
    }
}

/// A function of one number that [`apply`] and [`apply_into`] run over slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// [`exp`]
    Exp,
    /// [`sigmoid`]
    Sigmoid,
    /// [`tanh`]
    Tanh,
    /// [`log`]
    Log,
    /// [`erf`]
    Erf,
}

/// # Safety
/// As for the methods of [`Lanes`]; both pointers must be valid for `count` elements.
#[inline(always)]
unsafe fn each<V: Lanes>(from: *const f32, to: *mut f32, count: usize, f: impl Fn(V) -> V) {
    // SAFETY: the caller's promise; every access lies below `count`.
    unsafe {
        let whole = count / V::WIDTH * V::WIDTH;
        for at in (0..whole).step_by(V::WIDTH) {
            f(V::load(from.add(at))).store(to.add(at));
        }
        if whole < count {
            let rest = count - whole;
            f(V::load_part(from.add(whole), rest)).store_part(to.add(whole), rest);
        }
    }
}

#[inline(always)]
unsafe fn apply_body<V: Lanes>(function: Function, from: *const f32, to: *mut f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match function {
            Function::Exp => each::<V>(from, to, count, |x| exp(x)),
            Function::Sigmoid => each::<V>(from, to, count, |x| sigmoid(x)),
            Function::Tanh => each::<V>(from, to, count, |x| tanh(x)),
            Function::Log => each::<V>(from, to, count, |x| log(x)),
            Function::Erf => each::<V>(from, to, count, |x| erf(x)),
        }
    }
}

tiered! {
    fn apply_raw(function: Function, from: *const f32, to: *mut f32, count: usize) = apply_body;
}

/// Replaces each element by the function of it.
pub fn apply(tier: crate::tier::Tier, function: Function, x: &mut [f32]) {
    let pointer = x.as_mut_ptr();
    apply_raw(tier, function, pointer, pointer, x.len());
}

/// Writes the function of each element to `out`, which has the length of `x`.
pub fn apply_into(tier: crate::tier::Tier, function: Function, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    apply_raw(tier, function, x.as_ptr(), out.as_mut_ptr(), x.len());
}
