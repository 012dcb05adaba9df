//! One fused sweep of an optimizer over a stretch of parameters.

use crate::tier::Tier;

/// Which rule changes the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// p -= lr g
    Sgd,
    /// v = momentum v + g; p -= lr v (Polyak 1964)
    Momentum,
    /// v = momentum v + g; p -= lr (g + momentum v) (Sutskever et al. 2013)
    Nesterov,
    /// s = rho s + (1 - rho) g²; p -= lr g / (√s + eps) (Tieleman and Hinton 2012)
    RmsProp,
    /// m, v: moving means of g and g²; p -= lr m̂ / (√v̂ + eps) (Kingma and Ba 2015)
    Adam,
    /// s += g²; p -= lr g / (√s + eps) (Duchi, Hazan and Singer 2011)
    Adagrad,
    /// p -= lr sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g (Chen et al. 2023)
    Lion,
}

impl Rule {
    /// The rule of that name; `adamw` is Adam, weight decay being a term of its own in all.
    pub fn from_name(name: &str) -> Option<Rule> {
        Some(match name {
            "sgd" => Rule::Sgd,
            "momentum" => Rule::Momentum,
            "nesterov" => Rule::Nesterov,
            "rmsprop" => Rule::RmsProp,
            "adam" | "adamw" => Rule::Adam,
            "adagrad" => Rule::Adagrad,
            "lion" => Rule::Lion,
            _ => return None,
        })
    }

    /// The number of arrays that the rule keeps beside each parameter.
    pub fn slots(self) -> usize {
        match self {
            Rule::Sgd => 0,
            Rule::Adam => 2,
            _ => 1,
        }
    }
}

/// The numbers of one step, ready for the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Factors {
    /// Learning rate; Adam's is divided by the correction of the first moment.
    pub lr: f32,
    /// Factor of √v, from the correction of Adam's second moment.
    pub root: f32,
    /// Decay of the first moment, or momentum.
    pub beta1: f32,
    /// Decay of the second moment, or rho.
    pub beta2: f32,
    /// Added to the root.
    pub eps: f32,
    /// Factor of the gradient.
    pub scale: f32,
    /// Added to the gradient times the sign of the parameter.
    pub l1: f32,
    /// Added to the gradient times the parameter.
    pub l2: f32,
    /// Factor of the parameter itself: 1 - lr weight_decay.
    pub keep: f32,
}

/// Elements summed at a time: they stay in the first cache.
const BLOCK: usize = 512;

/// Changes `params` by the sum of `grads` (in their order) and the rule's arrays `first` and
/// `second`; those that the rule does not keep are empty.
///
/// # Panics
/// If the lengths differ, or there is no gradient.
pub fn update(
    tier: Tier,
    rule: Rule,
    factors: &Factors,
    params: &mut [f32],
    grads: &[&[f32]],
    first: &mut [f32],
    second: &mut [f32],
) {
    let n = params.len();
    assert!(!grads.is_empty() && grads.iter().all(|g| g.len() == n));
    let kept = rule.slots();
    assert_eq!(first.len(), if kept > 0 { n } else { 0 });
    assert_eq!(second.len(), if kept > 1 { n } else { 0 });
    match tier {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the tier is only in force where the processor has these instructions.
        Tier::Avx512 => unsafe { avx512(rule, factors, params, grads, first, second) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Tier::Avx2 => unsafe { avx2(rule, factors, params, grads, first, second) },
        _ => sweep::<false>(rule, factors, params, grads, first, second),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
fn avx512(
    rule: Rule,
    factors: &Factors,
    params: &mut [f32],
    grads: &[&[f32]],
    first: &mut [f32],
    second: &mut [f32],
) {
    sweep::<true>(rule, factors, params, grads, first, second);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(
    rule: Rule,
    factors: &Factors,
    params: &mut [f32],
    grads: &[&[f32]],
    first: &mut [f32],
    second: &mut [f32],
) {
    sweep::<true>(rule, factors, params, grads, first, second);
}

/// a b + c; without the instruction, `mul_add` would be a call.
#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn sign(x: f32) -> f32 {
    f32::from(x > 0.0) - f32::from(x < 0.0)
}

#[inline(always)]
fn sweep<const FMA: bool>(
    rule: Rule,
    f: &Factors,
    params: &mut [f32],
    grads: &[&[f32]],
    first: &mut [f32],
    second: &mut [f32],
) {
    let plain = f.scale == 1.0 && f.l1 == 0.0 && f.l2 == 0.0;
    let mut sum = [0.0f32; BLOCK];
    let mut start = 0;
    while start < params.len() {
        let end = (start + BLOCK).min(params.len());
        let p = &mut params[start..end];
        let g: &mut [f32] = &mut sum[..p.len()];
        match grads {
            [only] => g.copy_from_slice(&only[start..end]),
            [a, b, rest @ ..] => {
                for ((g, a), b) in g.iter_mut().zip(&a[start..end]).zip(&b[start..end]) {
                    *g = a + b;
                }
                for more in rest {
                    for (g, a) in g.iter_mut().zip(&more[start..end]) {
                        *g += a;
                    }
                }
            }
            [] => {}
        }
        if !plain {
            for (g, p) in g.iter_mut().zip(p.iter()) {
                *g = fma::<FMA>(f.l2, *p, fma::<FMA>(f.l1, sign(*p), f.scale * *g));
            }
        }
        let m = first.get_mut(start..end).unwrap_or_default();
        let v = second.get_mut(start..end).unwrap_or_default();
        block::<FMA>(rule, f, p, g, m, v);
        start = end;
    }
}

#[inline(always)]
fn block<const FMA: bool>(
    rule: Rule,
    f: &Factors,
    p: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    match rule {
        Rule::Sgd => {
            for (p, &g) in p.iter_mut().zip(g) {
                *p = fma::<FMA>(-f.lr, g, f.keep * *p);
            }
        }
        Rule::Momentum => {
            for ((p, &g), m) in p.iter_mut().zip(g).zip(m) {
                *m = fma::<FMA>(f.beta1, *m, g);
                *p = fma::<FMA>(-f.lr, *m, f.keep * *p);
            }
        }
        Rule::Nesterov => {
            for ((p, &g), m) in p.iter_mut().zip(g).zip(m) {
                *m = fma::<FMA>(f.beta1, *m, g);
                *p = fma::<FMA>(-f.lr, fma::<FMA>(f.beta1, *m, g), f.keep * *p);
            }
        }
        Rule::RmsProp => {
            let other = 1.0 - f.beta2;
            for ((p, &g), s) in p.iter_mut().zip(g).zip(m) {
                *s = fma::<FMA>(f.beta2, *s, other * g * g);
                *p = fma::<FMA>(f.keep, *p, -(f.lr * g) / (s.sqrt() + f.eps));
            }
        }
        Rule::Adagrad => {
            for ((p, &g), s) in p.iter_mut().zip(g).zip(m) {
                *s = fma::<FMA>(g, g, *s);
                *p = fma::<FMA>(f.keep, *p, -(f.lr * g) / (s.sqrt() + f.eps));
            }
        }
        Rule::Adam => {
            let (one, two) = (1.0 - f.beta1, 1.0 - f.beta2);
            for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                *m = fma::<FMA>(f.beta1, *m, one * g);
                *v = fma::<FMA>(f.beta2, *v, two * g * g);
                let step = (f.lr * *m) / fma::<FMA>(v.sqrt(), f.root, f.eps);
                *p = fma::<FMA>(f.keep, *p, -step);
            }
        }
        Rule::Lion => {
            let (one, two) = (1.0 - f.beta1, 1.0 - f.beta2);
            for ((p, &g), m) in p.iter_mut().zip(g).zip(m) {
                let c = fma::<FMA>(f.beta1, *m, one * g);
                *p = fma::<FMA>(f.keep, *p, -f.lr * sign(c));
                *m = fma::<FMA>(f.beta2, *m, two * g);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::supported;
    use proptest::prelude::*;

    const RULES: [Rule; 7] = [
        Rule::Sgd,
        Rule::Momentum,
        Rule::Nesterov,
        Rule::RmsProp,
        Rule::Adam,
        Rule::Adagrad,
        Rule::Lion,
    ];

    /// The rules once more, element by element in double precision.
    fn expected(rule: Rule, f: &Factors, p: f32, g: f64, m: f32, v: f32) -> [f64; 3] {
        let (p, m, v) = (f64::from(p), f64::from(m), f64::from(v));
        let [lr, root, b1, b2, eps] = [f.lr, f.root, f.beta1, f.beta2, f.eps].map(f64::from);
        let sign = if p == 0.0 { 0.0 } else { p.signum() };
        let g = f64::from(f.scale) * g + f64::from(f.l1) * sign + f64::from(f.l2) * p;
        let kept = f64::from(f.keep) * p;
        match rule {
            Rule::Sgd => [kept - lr * g, m, v],
            Rule::Momentum => {
                let m = b1 * m + g;
                [kept - lr * m, m, v]
            }
            Rule::Nesterov => {
                let m = b1 * m + g;
                [kept - lr * (g + b1 * m), m, v]
            }
            Rule::RmsProp => {
                let s = b2 * m + (1.0 - b2) * g * g;
                [kept - lr * g / (s.sqrt() + eps), s, v]
            }
            Rule::Adagrad => {
                let s = m + g * g;
                [kept - lr * g / (s.sqrt() + eps), s, v]
            }
            Rule::Adam => {
                let (m, v) = (b1 * m + (1.0 - b1) * g, b2 * v + (1.0 - b2) * g * g);
                [kept - lr * m / (v.sqrt() * root + eps), m, v]
            }
            Rule::Lion => {
                let c = b1 * m + (1.0 - b1) * g;
                let step = if c == 0.0 { 0.0 } else { c.signum() };
                [kept - lr * step, b2 * m + (1.0 - b2) * g, v]
            }
        }
    }

    proptest! {
        #[test]
        fn every_tier_follows_the_rule(
            n in 0usize..1300,
            count in 1usize..5,
            rule in prop::sample::select(RULES.to_vec()),
            penalty in 0usize..2,
        ) {
            let value = |i: usize, salt: usize| ((i * 37 + salt * 101) % 211) as f32 / 100.0 - 1.0;
            let p: Vec<f32> = (0..n).map(|i| value(i, 1)).collect();
            let m: Vec<f32> = (0..n).map(|i| value(i, 2).abs()).collect();
            let v: Vec<f32> = (0..n).map(|i| value(i, 3).abs()).collect();
            let grads: Vec<Vec<f32>> =
                (0..count).map(|s| (0..n).map(|i| value(i, 4 + s)).collect()).collect();
            let on = penalty as f32;
            let f = Factors {
                lr: 0.01, root: 1.3, beta1: 0.9, beta2: 0.99, eps: 1e-8,
                scale: 1.0 - 0.5 * on, l1: 0.01 * on, l2: 0.02 * on, keep: 1.0 - 0.001 * on,
            };
            for tier in supported() {
                let (mut p1, mut m1, mut v1) = (p.clone(), m.clone(), v.clone());
                let slots = rule.slots();
                let refs: Vec<&[f32]> = grads.iter().map(|g| g.as_slice()).collect();
                let first = if slots > 0 { &mut m1[..] } else { &mut [] };
                let second = if slots > 1 { &mut v1[..] } else { &mut [] };
                update(tier, rule, &f, &mut p1, &refs, first, second);
                for i in 0..n {
                    let mut g = grads[0][i];
                    for more in &grads[1..] {
                        g += more[i];
                    }
                    let want = expected(rule, &f, p[i], f64::from(g), m[i], v[i]);
                    // The sign of a sum that rounds to about nothing is anybody's guess.
                    if rule == Rule::Lion {
                        let c = 0.9 * f64::from(m[i]) + 0.1 * f64::from(g);
                        if c.abs() < 1e-3 { continue; }
                    }
                    for (got, want) in [p1[i], m1[i], v1[i]].into_iter().zip(want) {
                        prop_assert!(
                            (f64::from(got) - want).abs() <= 2e-6 * (1.0 + want.abs()),
                            "{:?} {:?}: {} {}", tier, rule, got, want
                        );
                    }
                }
            }
        }
    }
}
