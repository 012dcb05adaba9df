//! The hinge and the epsilon-insensitive loss smoothed for [`super::augmented`].

use super::augmented::{SHARPNESS, Smoothed, View};
use super::design::Design;
use super::goal::{Goal, Goals};
use super::hessian;
use super::newton::{exact_pays, row_chunk, sum_chunk};
use super::newton_cg;
use crate::error::Result;
use crate::parallel::{Control, map_chunks};
use ironlearn_kernels::linear::Element;

/// Rows a chunk in loops over vectors of one element a row.
const LINE: usize = 16_384;

/// One problem: a class against the rest, or targets.
pub(super) struct SmoothedHinge<'a, D> {
    control: &'a Control<'a>,
    x: &'a D,
    goals: Vec<Goal>,
    /// Centre of each row's envelope: its dual variable.
    centre: Vec<f64>,
    sharpness: f64,
    w: Vec<f64>,
    /// Product of each row with `w`.
    z: Vec<f64>,
    exact: bool,
}

impl<'a, D: Design> SmoothedHinge<'a, D> {
    /// Starts at weights `w` with dual variables `beta`.
    pub(super) fn new(
        control: &'a Control<'a>,
        x: &'a D,
        goals: &Goals,
        beta: Vec<f64>,
        w: Vec<f64>,
    ) -> Result<Self> {
        let mut problem = SmoothedHinge {
            control,
            x,
            goals: (0..x.rows()).map(|i| goals.at(i)).collect(),
            centre: beta,
            sharpness: SHARPNESS,
            w,
            z: Vec::new(),
            exact: exact_pays(x),
        };
        problem.z = problem.products(&problem.w)?;
        if let Goals::Targets { .. } = goals {
            // Targets have a unit of their own.
            let mean = |at: &dyn Fn(usize) -> f64| {
                let pairs = problem.goals.iter().enumerate().map(|(i, g)| (g, at(i)));
                let sum = |s: (f64, f64), (g, z): (&Goal, f64)| {
                    (s.0 + g.cost * g.miss(z).abs(), s.1 + g.cost)
                };
                let (missed, cost) = pairs.fold((0.0, 0.0), sum);
                missed / cost
            };
            let unit = mean(&|i| problem.z[i]).max(1e-6 * mean(&|_| 0.0));
            if unit > 0.0 && unit.is_finite() {
                problem.sharpness = SHARPNESS / unit;
            }
        }
        Ok(problem)
    }

    /// The dual variable of row `i` where its product with the weights is `z`.
    #[inline(always)]
    fn beta(&self, i: usize, z: f64) -> f64 {
        let Goal { low, high, cost } = self.goals[i];
        let step = self.sharpness * cost;
        // Infinities of open intervals end in the bounds.
        let (up, down) = (step * (low - z), step * (high - z));
        let free = (self.centre[i] + up).max(0.0) + (self.centre[i] + down).min(0.0);
        if cost > 0.0 {
            free.clamp(-cost, cost)
        } else {
            0.0
        }
    }

    /// True if dual variable `b` of row `i` moves with the weights.
    #[inline(always)]
    fn between(&self, i: usize, b: f64) -> bool {
        let Goal { low, high, cost } = self.goals[i];
        b.abs() < cost && (b != 0.0 || low == high)
    }
}

impl<D: Design> Smoothed for SmoothedHinge<'_, D> {
    fn weights(&self) -> &[f64] {
        &self.w
    }

    fn sharpness(&self) -> f64 {
        self.sharpness
    }

    fn view(&self) -> Result<View> {
        let (x, width) = (self.x, self.x.width());
        let parts = map_chunks(self.control, x.rows(), sum_chunk(x, 1), |rows| {
            let mut sum = vec![0.0; width];
            let (mut loss, mut gain, mut left) = (0.0, 0.0, 0.0);
            for i in rows {
                if i % 1024 == 0 {
                    self.control.check()?;
                }
                let (goal, z) = (self.goals[i], self.z[i]);
                let b = self.beta(i, z);
                let reached = goal.cost * goal.miss(z).abs();
                let part = goal.gain(b);
                loss += reached;
                gain += part;
                left += reached - (part - b * z);
                if b != 0.0 {
                    x.axpy(i, b, &mut sum);
                }
            }
            Ok((sum, loss, gain, left))
        })?;
        let mut dual_w = vec![0.0; width];
        let (mut loss, mut gain, mut left) = (0.0, 0.0, 0.0);
        for part in parts {
            f64::axpy(x.tier(), 1.0, &part.0, &mut dual_w);
            loss += part.1;
            gain += part.2;
            left += part.3;
        }
        let half = |v: &[f64]| 0.5 * f64::dot(x.tier(), v, v);
        Ok(View {
            primal: half(&self.w) + loss,
            dual: gain - half(&dual_w),
            left,
            gradient: self.w.iter().zip(&dual_w).map(|(w, d)| w - d).collect(),
        })
    }

    fn direction(&self, gradient: &[f64], first_norm: f64) -> Result<Vec<f64>> {
        // The rows strictly between the bounds make up the Hessian.
        let between: Vec<(u32, f64)> = (0..self.x.rows())
            .filter_map(|i| {
                let b = self.beta(i, self.z[i]);
                (self.between(i, b)).then_some((i as u32, self.sharpness * self.goals[i].cost))
            })
            .collect();
        if self.exact {
            hessian::solve(self.control, self.x, &between, gradient)
        } else {
            newton_cg::solve(self.control, self.x, &between, gradient, first_norm)
        }
    }

    fn products(&self, direction: &[f64]) -> Result<Vec<f64>> {
        let parts = map_chunks(self.control, self.x.rows(), row_chunk(self.x), |rows| {
            Ok(rows.map(|i| self.x.dot(i, direction)).collect::<Vec<f64>>())
        })?;
        Ok(parts.concat())
    }

    fn along(&self, products: &[f64], t: f64) -> Result<(f64, f64)> {
        let parts = map_chunks(self.control, products.len(), LINE, |rows| {
            let (mut first, mut second) = (0.0, 0.0);
            for i in rows {
                let u = products[i];
                let b = self.beta(i, self.z[i] + t * u);
                first -= b * u;
                if self.between(i, b) {
                    second += self.sharpness * self.goals[i].cost * u * u;
                }
            }
            Ok((first, second))
        })?;
        Ok(parts
            .into_iter()
            .fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1)))
    }

    fn advance(&mut self, t: f64, direction: &[f64], products: &[f64]) {
        f64::axpy(self.x.tier(), t, direction, &mut self.w);
        f64::axpy(self.x.tier(), t, products, &mut self.z);
    }

    fn recentre(&mut self, sharpness: f64) {
        self.centre = (0..self.x.rows())
            .map(|i| self.beta(i, self.z[i]))
            .collect();
        self.sharpness = sharpness;
    }

    fn into_duals(self) -> Vec<f64> {
        (0..self.x.rows())
            .map(|i| self.beta(i, self.z[i]))
            .collect()
    }
}
