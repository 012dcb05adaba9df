//! The local problem of a working set, solved by second-order pairs (Fan, Chen and Lin, 2005).
//!
//! Variables at a bound where the gradient holds them are left out for a while: the others
//! are a smaller local problem of the same kind. Steps are cheap then, and there are many.

use crate::error::Result;
use crate::parallel::Control;
use ironlearn_kernels::kernel_rows::{
    CURVATURE, LANES, add_difference, add_row, extremes, partner,
};
use ironlearn_kernels::tier;
use std::ops::Range;

/// Fills in the kernel values of a variable with all others.
pub(super) type Fetch<'a> = dyn FnMut(usize, &mut [f32]) -> Result<()> + 'a;

/// Steps between looks at the cancel flag.
const PATIENCE: usize = 1 << 14;
/// Problems of so few variables are not shrunk.
const SMALL: usize = 64;

/// Membership of the set whose weight may grow: `b` upwards (`up`) or downwards.
pub(super) fn may_move(alpha: f64, sign: f64, cost: f64, up: bool) -> bool {
    if (sign > 0.0) == up {
        alpha < cost
    } else {
        alpha > 0.0
    }
}

fn mask(member: bool) -> f64 {
    if member { 0.0 } else { f64::NEG_INFINITY }
}

/// The local problem of a working set.
pub(super) struct Local {
    /// Variables in use; all slices are padded to a multiple of the lanes.
    size: usize,
    pub stride: usize,
    /// Kernel values of the rows that are known, and where those of each variable start.
    pub kernel: Vec<f32>,
    starts: Vec<usize>,
    pub f: Vec<f64>,
    pub alpha: Vec<f64>,
    pub sign: Vec<f64>,
    pub cost: Vec<f64>,
    pub diagonal: Vec<f64>,
    up: Vec<f64>,
    low: Vec<f64>,
}

impl Local {
    /// `known` tells whether all kernel values are filled in beforehand.
    pub fn new(size: usize, known: bool) -> Self {
        let stride = size.div_ceil(LANES) * LANES;
        let (zero, out) = (vec![0.0; stride], vec![f64::NEG_INFINITY; stride]);
        Local {
            size,
            stride,
            kernel: vec![0.0; if known { stride * size } else { 0 }],
            starts: (0..size)
                .map(|k| if known { k * stride } else { usize::MAX })
                .collect(),
            f: zero.clone(),
            alpha: zero.clone(),
            sign: zero.clone(),
            cost: zero.clone(),
            diagonal: zero,
            up: out.clone(),
            low: out,
        }
    }

    pub fn set_masks(&mut self, k: usize) {
        let (alpha, sign, cost) = (self.alpha[k], self.sign[k], self.cost[k]);
        self.up[k] = mask(may_move(alpha, sign, cost, true));
        self.low[k] = mask(may_move(alpha, sign, cost, false));
    }

    /// Moves `b` of variable `k` by `step` (at most `room` far), exactly onto a bound at the end.
    fn shift(&mut self, k: usize, step: f64, room: f64) {
        let grows = (self.sign[k] > 0.0) == (step > 0.0);
        self.alpha[k] = if step.abs() >= room {
            if grows { self.cost[k] } else { 0.0 }
        } else if grows {
            (self.alpha[k] + step.abs()).min(self.cost[k])
        } else {
            (self.alpha[k] - step.abs()).max(0.0)
        };
        self.set_masks(k);
    }

    fn room(&self, k: usize, up: bool) -> f64 {
        if (self.sign[k] > 0.0) == up {
            self.cost[k] - self.alpha[k]
        } else {
            self.alpha[k]
        }
    }

    /// Where the kernel values of variable `k` are; `fetch` fills them in where they are not
    /// known yet.
    fn row(&mut self, k: usize, fetch: &mut Fetch) -> Result<Range<usize>> {
        if self.starts[k] == usize::MAX {
            let start = self.kernel.len();
            self.kernel.resize(start + self.stride, 0.0);
            fetch(k, &mut self.kernel[start..start + self.size])?;
            self.starts[k] = start;
        }
        Ok(self.starts[k]..self.starts[k] + self.stride)
    }

    /// Takes second-order steps until the violation is below `tol`; returns their number.
    pub fn solve(
        &mut self,
        control: &Control,
        tol: f64,
        most: usize,
        shrinking: bool,
        fetch: &mut Fetch,
    ) -> Result<usize> {
        let tier = tier::active();
        let period = (self.size / 2).clamp(SMALL, 1000);
        let (mut steps, mut next, mut look) = (0, period, PATIENCE);
        while steps < most {
            if steps >= look {
                control.check()?;
                look = steps + PATIENCE;
            }
            let (smallest, i, largest) = extremes(tier, &self.f, &self.up, &self.low);
            // NaN is no violation: it stops too.
            let violated = largest - smallest >= tol;
            if !violated || i >= self.size {
                break;
            }
            if shrinking && steps >= next && self.size > SMALL {
                let left = self.active(smallest, largest);
                if 4 * left.len() <= 3 * self.size {
                    steps += self.solve_part(control, tol, most - steps, &left, fetch)?;
                    next = steps + period;
                    continue;
                }
                next = steps + period;
            }
            let row = self.row(i, fetch)?;
            let own = self.diagonal[i];
            let (_, j) = partner(
                tier,
                &self.f,
                &self.low,
                &self.kernel[row.clone()],
                &self.diagonal,
                own,
                smallest,
            );
            if j >= self.size {
                break;
            }
            let curvature = own + self.diagonal[j] - 2.0 * f64::from(self.kernel[row.start + j]);
            let wanted = (self.f[j] - smallest) / curvature.max(CURVATURE);
            let (room_i, room_j) = (self.room(i, true), self.room(j, false));
            let step = wanted.min(room_i).min(room_j);
            let moves = step > 0.0;
            if !moves {
                break;
            }
            self.shift(i, step, room_i);
            self.shift(j, -step, room_j);
            let other = self.row(j, fetch)?;
            add_difference(
                tier,
                &mut self.f,
                step,
                &self.kernel[row],
                &self.kernel[other],
            );
            steps += 1;
        }
        Ok(steps)
    }

    /// The variables that are not at a bound where the gradient holds them.
    fn active(&self, smallest: f64, largest: f64) -> Vec<u32> {
        let idle = |k: usize| match (self.up[k] == 0.0, self.low[k] == 0.0) {
            (true, true) => false,
            (true, false) => self.f[k] > largest,
            (false, true) => self.f[k] < smallest,
            (false, false) => true,
        };
        let all = 0..self.size as u32;
        all.filter(|&k| !idle(k as usize)).collect()
    }

    /// Solves the problem of the variables that are `left`, then brings the gradient of all
    /// up to date.
    fn solve_part(
        &mut self,
        control: &Control,
        tol: f64,
        most: usize,
        left: &[u32],
        fetch: &mut Fetch,
    ) -> Result<usize> {
        let mut part = Local::new(left.len(), false);
        for (k, &v) in left.iter().enumerate() {
            let v = v as usize;
            part.f[k] = self.f[v];
            part.alpha[k] = self.alpha[v];
            part.sign[k] = self.sign[v];
            part.cost[k] = self.cost[v];
            part.diagonal[k] = self.diagonal[v];
            part.set_masks(k);
        }
        let mut of_part = |k: usize, out: &mut [f32]| {
            let row = self.row(left[k] as usize, fetch)?;
            let row = &self.kernel[row];
            for (o, &v) in out.iter_mut().zip(left) {
                *o = row[v as usize];
            }
            Ok(())
        };
        let steps = part.solve(control, tol, most, true, &mut of_part)?;
        let tier = tier::active();
        for (k, &v) in left.iter().enumerate() {
            let v = v as usize;
            let change = self.sign[v] * (part.alpha[k] - self.alpha[v]);
            if change != 0.0 {
                let row = self.row(v, fetch)?;
                add_row(tier, &mut self.f, change, &self.kernel[row]);
                self.alpha[v] = part.alpha[k];
                self.set_masks(v);
            }
        }
        for (k, &v) in left.iter().enumerate() {
            self.f[v as usize] = part.f[k];
        }
        Ok(steps)
    }
}
