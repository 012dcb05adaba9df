use super::*;
use crate::{tier, tiered};
use proptest::prelude::*;

const ALL: [Function; 5] = [
    Function::Exp,
    Function::Sigmoid,
    Function::Tanh,
    Function::Log,
    Function::Erf,
];

fn exact_erf(x: f64) -> f64 {
    if x.abs() > 4.5 {
        return x.signum();
    }
    // The Maclaurin series; its largest term costs seven of f64's sixteen digits.
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn exact(function: Function, x: f32) -> f64 {
    let x = f64::from(x);
    match function {
        Function::Exp => x.exp(),
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::Tanh => x.tanh(),
        Function::Log => x.ln(),
        Function::Erf => exact_erf(x),
    }
}

/// Distance from `want` in units of the last place of `want` as `f32`.
fn ulp(got: f32, want: f64) -> f64 {
    if f64::from(got) == want || (got.is_nan() && want.is_nan()) {
        return 0.0;
    }
    let size = (want.abs() as f32).max(f32::MIN_POSITIVE);
    if size.is_infinite() {
        return if f64::from(got) == want.signum() * f64::INFINITY {
            0.0
        } else {
            f64::INFINITY
        };
    }
    let unit = f64::from(f32::from_bits(size.to_bits() + 1)) - f64::from(size);
    (f64::from(got) - want).abs() / unit.max(f64::from(f32::EPSILON * f32::MIN_POSITIVE))
}

fn check(function: Function, x: &[f32]) {
    for tier in tier::supported() {
        let mut got = vec![0.0; x.len()];
        apply_into(tier, function, x, &mut got);
        for (&x, &got) in x.iter().zip(&got) {
            let want = exact(function, x);
            // The documented limit.
            let tiny = |y: f64| (0.0..1.22e-38).contains(&y.abs());
            assert!(
                ulp(got, want) <= 3.5 || (tiny(want) && tiny(f64::from(got))),
                "{function:?}({x:e}) on {}: {got:e}, not {want:e}",
                tier.name()
            );
        }
    }
}

#[test]
fn a_few_ulp_over_the_whole_range() {
    let even: Vec<f32> = (-220_000..220_000).map(|i| i as f32 * 5e-4).collect();
    let small: Vec<f32> = (0..2_000u32)
        .map(|i| f32::from_bits(i * 0x000f_f123 % 0x7f80_0000))
        .flat_map(|x| [x, -x])
        .collect();
    for function in ALL {
        check(function, &even);
        check(function, &small);
    }
}

#[test]
fn infinities_nan_and_zero() {
    let x = [
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        0.0,
        -0.0,
        f32::MAX,
        f32::MIN,
    ];
    for function in ALL {
        check(function, &x);
    }
}

#[test]
fn bounded_functions_stay_in_their_bounds() {
    let x: Vec<f32> = (-40_000..40_000).map(|i| i as f32 * 5e-4).collect();
    for tier in tier::supported() {
        for (function, low) in [
            (Function::Sigmoid, 0.0),
            (Function::Tanh, -1.0),
            (Function::Erf, -1.0),
        ] {
            let mut y = x.clone();
            apply(tier, function, &mut y);
            assert!(y.iter().all(|&y| (low..=1.0).contains(&y)), "{function:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_length_touches_its_elements_only(x in prop::collection::vec(-5.0f32..5.0, 0..70)) {
        for tier in tier::supported() {
            for function in ALL {
                let mut padded = x.clone();
                padded.extend([7.0; 3]);
                let mut out = vec![7.0; x.len() + 3];
                apply_into(tier, function, &x, &mut out[..x.len()]);
                apply(tier, function, &mut padded[..x.len()]);
                prop_assert_eq!(&out[x.len()..], &[7.0; 3]);
                prop_assert!(out.iter().zip(&padded).all(|(a, b)| a.to_bits() == b.to_bits()
                    || (a.is_nan() && b.is_nan())));
            }
        }
    }

    #[test]
    fn sums_and_maxima_of_lanes(x in prop::array::uniform16(-9i8..9)) {
        #[inline(always)]
        unsafe fn body<V: Lanes>(x: &[f32; 16]) -> (f32, f32, f32) {
            // SAFETY: sixteen elements are at least WIDTH.
            unsafe {
                let v = V::load(x.as_ptr());
                (v.sum(), v.max_lane(), V::WIDTH as f32)
            }
        }
        tiered! { fn both(x: &[f32; 16]) -> (f32, f32, f32) = body; }
        let x = x.map(f32::from);
        for tier in tier::supported() {
            let (sum, most, width) = both(tier, &x);
            let lanes = &x[..width as usize];
            prop_assert_eq!(sum, lanes.iter().sum::<f32>());
            prop_assert_eq!(most, lanes.iter().fold(f32::MIN, |a, &b| a.max(b)));
        }
    }
}

#[test]
fn squares_are_turned() {
    #[inline(always)]
    unsafe fn body<V: Lanes>(x: &mut [f32; 256]) -> usize {
        // SAFETY: sixteen rows of at least WIDTH elements.
        unsafe {
            let mut tile = [V::splat(0.0); 16];
            for i in 0..V::WIDTH {
                tile[i] = V::load(x[i * V::WIDTH..].as_ptr());
            }
            V::transpose(&mut tile);
            for i in 0..V::WIDTH {
                tile[i].store(x[i * V::WIDTH..].as_mut_ptr());
            }
        }
        V::WIDTH
    }
    tiered! { fn turned(x: &mut [f32; 256]) -> usize = body; }
    for tier in tier::supported() {
        let mut x = std::array::from_fn(|i| i as f32);
        let width = turned(tier, &mut x);
        for i in 0..width {
            for j in 0..width {
                assert_eq!(x[i * width + j], (j * width + i) as f32);
            }
        }
    }
}
