//! The hinge loss smoothed for [`super::augmented`].

use super::augmented::{SHARPNESS, Smoothed, View};
use super::design::Design;
use super::hessian;
use super::newton::{exact_pays, row_chunk, sum_chunk};
use super::{Labels, newton_cg};
use crate::error::Result;
use crate::parallel::{Control, map_chunks};
use ironlearn_kernels::linear::Element;

/// Rows a chunk in loops over vectors of one element a row.
const LINE: usize = 16_384;

/// One class against the rest.
pub(super) struct SmoothedHinge<'a, D> {
    control: &'a Control<'a>,
    x: &'a D,
    /// Label and cost of each row.
    labels: Vec<(f64, f64)>,
    /// Centre of each row's envelope: its dual variable.
    centre: Vec<f64>,
    sharpness: f64,
    w: Vec<f64>,
    /// Product of each row with `w`.
    z: Vec<f64>,
    exact: bool,
}

impl<'a, D: Design> SmoothedHinge<'a, D> {
    /// Starts at weights `w` with dual variables `alpha`.
    pub(super) fn new(
        control: &'a Control<'a>,
        x: &'a D,
        labels: &Labels,
        alpha: Vec<f64>,
        w: Vec<f64>,
    ) -> Result<Self> {
        let mut problem = SmoothedHinge {
            control,
            x,
            labels: (0..x.rows()).map(|i| labels.at(i)).collect(),
            centre: alpha,
            sharpness: SHARPNESS,
            w,
            z: Vec::new(),
            exact: exact_pays(x),
        };
        problem.z = problem.products(&problem.w)?;
        Ok(problem)
    }

    /// The dual variable of row `i` where its product with the weights is `z`.
    #[inline(always)]
    fn alpha(&self, i: usize, z: f64) -> f64 {
        let (y, c) = self.labels[i];
        (self.centre[i] + self.sharpness * c * (1.0 - y * z)).clamp(0.0, c)
    }
}

impl<D: Design> Smoothed for SmoothedHinge<'_, D> {
    fn weights(&self) -> &[f64] {
        &self.w
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
                let (y, c) = self.labels[i];
                let slack = 1.0 - y * self.z[i];
                let a = self.alpha(i, self.z[i]);
                loss += c * slack.max(0.0);
                gain += a;
                left += c * slack.max(0.0) - a * slack;
                if a > 0.0 {
                    x.axpy(i, a * y, &mut sum);
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
                let (_, c) = self.labels[i];
                let a = self.alpha(i, self.z[i]);
                (a > 0.0 && a < c).then_some((i as u32, self.sharpness * c))
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
                let ((y, c), u) = (self.labels[i], products[i]);
                let a = self.alpha(i, self.z[i] + t * u);
                first -= a * y * u;
                if a > 0.0 && a < c {
                    second += self.sharpness * c * u * u;
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
            .map(|i| self.alpha(i, self.z[i]))
            .collect();
        self.sharpness = sharpness;
    }
}
