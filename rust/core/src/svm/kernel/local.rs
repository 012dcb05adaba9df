//! The local problem of a working set, solved by second-order pairs (Fan, Chen and Lin, 2005).

use crate::error::Result;
use crate::parallel::Control;
use ironlearn_kernels::kernel_rows::{CURVATURE, LANES, add_difference, extremes, partner};
use ironlearn_kernels::tier;

/// Steps between looks at the cancel flag.
const PATIENCE: usize = 1 << 14;

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
    pub kernel: Vec<f32>,
    pub f: Vec<f64>,
    pub alpha: Vec<f64>,
    pub sign: Vec<f64>,
    pub cost: Vec<f64>,
    pub diagonal: Vec<f64>,
    up: Vec<f64>,
    low: Vec<f64>,
}

impl Local {
    pub fn new(size: usize) -> Self {
        let stride = size.div_ceil(LANES) * LANES;
        let (zero, out) = (vec![0.0; stride], vec![f64::NEG_INFINITY; stride]);
        Local {
            size,
            stride,
            kernel: vec![0.0; stride * size],
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

    /// Takes second-order steps until the violation is below `tol`; returns their number.
    pub fn solve(&mut self, control: &Control, tol: f64, most: usize) -> Result<usize> {
        let tier = tier::active();
        for steps in 0..most {
            if steps % PATIENCE == PATIENCE - 1 {
                control.check()?;
            }
            let (smallest, i, largest) = extremes(tier, &self.f, &self.up, &self.low);
            // NaN is no violation: it stops too.
            let violated = largest - smallest >= tol;
            if !violated || i >= self.size {
                return Ok(steps);
            }
            let row = i * self.stride..(i + 1) * self.stride;
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
                return Ok(steps);
            }
            let curvature =
                own + self.diagonal[j] - 2.0 * f64::from(self.kernel[i * self.stride + j]);
            let wanted = (self.f[j] - smallest) / curvature.max(CURVATURE);
            let (room_i, room_j) = (self.room(i, true), self.room(j, false));
            let step = wanted.min(room_i).min(room_j);
            let moves = step > 0.0;
            if !moves {
                return Ok(steps);
            }
            self.shift(i, step, room_i);
            self.shift(j, -step, room_j);
            let other = j * self.stride..(j + 1) * self.stride;
            add_difference(
                tier,
                &mut self.f,
                step,
                &self.kernel[row],
                &self.kernel[other],
            );
        }
        Ok(most)
    }
}
