//! One step of an optimizer over many arrays.

use crate::error::{Error, Result};
use crate::parallel::Control;
use ironlearn_kernels::optimizer::{Factors, Rule, update};
use ironlearn_kernels::tier;
use rayon::prelude::*;

/// Elements that a thread updates at a time.
const PIECE: usize = 16 * 1024;

/// The numbers of an optimizer; a rule reads those that it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root.
    pub eps: f64,
    /// Share of the velocity that stays.
    pub momentum: f64,
    /// Share of the mean square that stays.
    pub rho: f64,
    /// Share of a parameter, times the learning rate, that each step takes away.
    pub weight_decay: f64,
    /// Penalty of the absolute value.
    pub l1: f64,
    /// Penalty of half the square.
    pub l2: f64,
    /// Factor of the gradients.
    pub scale: f64,
}

impl Hyper {
    /// What step number `step` (from 1) needs; penalties and decay only if `decay`.
    pub fn factors(&self, rule: Rule, lr: f64, step: u64, decay: bool) -> Factors {
        let on = |x: f64| if decay { x } else { 0.0 };
        let (mut rate, mut root) = (lr, 1.0);
        let (mut first, mut second) = (self.beta1, self.beta2);
        match rule {
            Rule::Adam => {
                let t = step as f64;
                rate = lr / (1.0 - self.beta1.powf(t));
                root = 1.0 / (1.0 - self.beta2.powf(t)).sqrt();
            }
            Rule::Momentum | Rule::Nesterov => first = self.momentum,
            Rule::RmsProp => second = self.rho,
            _ => {}
        }
        Factors {
            lr: rate as f32,
            root: root as f32,
            beta1: first as f32,
            beta2: second as f32,
            eps: self.eps as f32,
            scale: self.scale as f32,
            l1: on(self.l1) as f32,
            l2: on(self.l2) as f32,
            keep: (1.0 - lr * on(self.weight_decay)) as f32,
        }
    }
}

fn lengths(name: &'static str, given: usize, expected: usize) -> Result<()> {
    if given == expected {
        return Ok(());
    }
    Err(Error::Shape {
        name,
        given: given.to_string(),
        expected: expected.to_string(),
    })
}

/// The next array of a slot in pieces; none if the rule has no such slot.
fn own<'s>(slot: Option<&mut std::slice::IterMut<'s, &mut [f32]>>) -> Vec<&'s mut [f32]> {
    let array = slot.and_then(Iterator::next);
    array.map_or_else(Vec::new, |a| a.chunks_mut(PIECE).collect())
}

/// Changes `params` and `slots` (for each array of the rule: one for each parameter) by step
/// number `step` (from 1) of `rule`. `decay` says which parameters penalties and weight decay
/// concern.
pub fn step(
    control: &Control,
    rule: Rule,
    hyper: &Hyper,
    lr: f64,
    step: u64,
    params: &mut [&mut [f32]],
    grads: &[&[f32]],
    slots: &mut [Vec<&mut [f32]>],
    decay: &[bool],
) -> Result<()> {
    lengths("grads", grads.len(), params.len())?;
    lengths("decay", decay.len(), params.len())?;
    lengths("slots", slots.len(), rule.slots())?;
    for (i, p) in params.iter().enumerate() {
        lengths("grads", grads[i].len(), p.len())?;
    }
    for slot in slots.iter() {
        lengths("slots", slot.len(), params.len())?;
        for (s, p) in slot.iter().zip(params.iter()) {
            lengths("slots", s.len(), p.len())?;
        }
    }
    let plain = hyper.factors(rule, lr, step, false);
    let decayed = hyper.factors(rule, lr, step, true);
    let mut slots = slots.iter_mut().map(|s| s.iter_mut());
    let (mut first, mut second) = (slots.next(), slots.next());
    let mut jobs = Vec::new();
    for ((p, &g), &decays) in params.iter_mut().zip(grads).zip(decay) {
        let mut first = own(first.as_mut()).into_iter();
        let mut second = own(second.as_mut()).into_iter();
        for (p, g) in p.chunks_mut(PIECE).zip(g.chunks(PIECE)) {
            let factors = if decays { &decayed } else { &plain };
            let one = first.next().unwrap_or_default();
            let two = second.next().unwrap_or_default();
            jobs.push((factors, p, g, one, two));
        }
    }
    type Job<'a> = (
        &'a Factors,
        &'a mut [f32],
        &'a [f32],
        &'a mut [f32],
        &'a mut [f32],
    );
    let run = |(factors, p, g, one, two): Job| {
        update(tier::active(), rule, factors, p, &[g], one, two);
    };
    if control.threads() > 1 && jobs.len() > 1 {
        jobs.into_par_iter().for_each(run);
    } else {
        jobs.into_iter().for_each(run);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Hyper = Hyper {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        momentum: 0.9,
        rho: 0.9,
        weight_decay: 0.0,
        l1: 0.0,
        l2: 0.0,
        scale: 1.0,
    };

    #[test]
    fn adam_first_moves_by_the_learning_rate() {
        // Kingma and Ba, section 2.1: |step| is about lr while signs agree.
        let (mut p, g) = ([1.0f32, -1.0, 0.5], [3.0f32, -0.02, 0.0]);
        let (mut m, mut v) = ([0.0f32; 3], [0.0f32; 3]);
        let mut slots = [vec![&mut m[..]], vec![&mut v[..]]];
        step(
            &Control::serial(),
            Rule::Adam,
            &PLAIN,
            0.01,
            1,
            &mut [&mut p],
            &[&g],
            &mut slots,
            &[false],
        )
        .unwrap();
        assert!((p[0] - 0.99).abs() < 1e-6 && (p[1] + 0.99).abs() < 1e-6);
        assert_eq!(p[2], 0.5);
    }

    #[test]
    fn threads_do_not_change_the_bits() {
        let n = 100_003;
        let g: Vec<f32> = (0..n)
            .map(|i| ((i * 31 % 97) as f32 - 48.0) / 10.0)
            .collect();
        let run = |threads: usize| {
            let cancel = std::sync::atomic::AtomicBool::new(false);
            let control = Control::new(&cancel, threads);
            let (mut p, mut m, mut v) = (g.clone(), vec![0.0; n], vec![0.0; n]);
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let mut slots = [vec![&mut m[..]], vec![&mut v[..]]];
                let hyper = Hyper {
                    l2: 0.1,
                    weight_decay: 0.1,
                    ..PLAIN
                };
                step(
                    &control,
                    Rule::Adam,
                    &hyper,
                    0.01,
                    3,
                    &mut [&mut p],
                    &[&g],
                    &mut slots,
                    &[true],
                )
            })
            .unwrap();
            (p, m, v)
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn lengths_are_checked() {
        let mut p = [0.0f32; 3];
        let mut call = |g: &[f32], slots: &mut [Vec<&mut [f32]>], decay: &[bool]| {
            let c = Control::serial();
            step(
                &c,
                Rule::Momentum,
                &PLAIN,
                0.1,
                1,
                &mut [&mut p],
                &[g],
                slots,
                decay,
            )
        };
        let (mut a, mut b) = ([0.0f32; 3], [0.0f32; 2]);
        assert!(call(&[0.0; 2], &mut [vec![&mut a]], &[false]).is_err());
        assert!(call(&[0.0; 3], &mut [vec![&mut b]], &[false]).is_err());
        assert!(call(&[0.0; 3], &mut [], &[false]).is_err());
        assert!(call(&[0.0; 3], &mut [vec![&mut a]], &[]).is_err());
        assert!(call(&[0.0; 3], &mut [vec![&mut a]], &[true]).is_ok());
    }
}
