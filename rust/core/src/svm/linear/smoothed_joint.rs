//! The loss of Crammer and Singer smoothed for [`super::augmented`].
//!
//! A row's loss is the largest of its class errors `1 - [m is its own class] + w_m'x - w_own'x`:
//! the maximum of their mean over all weightings that sum to its cost, which are its dual
//! variables. Around a centre the best weighting is a projection onto that simplex.

use super::augmented::{SHARPNESS, Smoothed, View};
use super::design::Design;
use super::newton::{overflow, row_chunk};
use super::simplex::project;
use super::{cholesky, hessian};
use crate::error::Result;
use crate::parallel::{Control, map_chunks};
use ironlearn_kernels::linear::Element;

/// Most weights that get an exact Hessian.
const EXACT_WEIGHTS: usize = 2_048;
/// Most conjugate gradient steps for one direction.
const MOST: usize = 250;

/// All classes together.
pub(super) struct SmoothedJoint<'a, D> {
    control: &'a Control<'a>,
    x: &'a D,
    codes: &'a [u32],
    cost: &'a [f64],
    classes: usize,
    /// Centre of each row's envelope: its dual variables.
    centre: Vec<f64>,
    sharpness: f64,
    w: Vec<f64>,
    /// Products of each row with the weights of each class.
    z: Vec<f64>,
}

impl<'a, D: Design> SmoothedJoint<'a, D> {
    /// Starts at weights `w`; `alpha` are the factors of the rows in them.
    pub(super) fn new(
        control: &'a Control<'a>,
        x: &'a D,
        codes: &'a [u32],
        cost: &'a [f64],
        classes: usize,
        mut alpha: Vec<f64>,
        w: Vec<f64>,
    ) -> Result<Self> {
        for (i, row) in alpha.chunks_exact_mut(classes).enumerate() {
            for a in row.iter_mut() {
                *a = -*a;
            }
            row[codes[i] as usize] += cost[i];
        }
        let mut problem = SmoothedJoint {
            control,
            x,
            codes,
            cost,
            classes,
            centre: alpha,
            sharpness: SHARPNESS,
            w,
            z: Vec::new(),
        };
        problem.z = problem.products(&problem.w)?;
        Ok(problem)
    }

    /// Chunks for sums of all weights.
    fn sum_chunk(&self) -> usize {
        super::newton::sum_chunk(self.x, self.classes)
    }

    /// Writes the dual variables of row `i` where its scores are `z + t * u`.
    #[inline]
    fn weighting(&self, i: usize, t: f64, u: Option<&[f64]>, out: &mut [f64]) {
        let k = self.classes;
        let at = i * k..(i + 1) * k;
        let step = self.sharpness * self.cost[i];
        for (m, ((o, z), a)) in out
            .iter_mut()
            .zip(&self.z[at.clone()])
            .zip(&self.centre[at.clone()])
            .enumerate()
        {
            let score = z + u.map_or(0.0, |u| t * u[at.start + m]);
            *o = a + step * (score + f64::from(u8::from(m != self.codes[i] as usize)));
        }
        project(out, self.cost[i]);
    }

    /// Calls `f` with the chunk's rows that lie between bounds: their dual variables are not
    /// at a corner. `f` gets the classes in play.
    fn rows_between(&self) -> Result<Vec<(u32, Vec<u16>)>> {
        let parts = map_chunks(self.control, self.x.rows(), 1024, |rows| {
            let mut out = vec![0.0; self.classes];
            let mut found = Vec::new();
            for i in rows.filter(|&i| self.cost[i] > 0.0) {
                self.weighting(i, 0.0, None, &mut out);
                let inside = (0..self.classes as u16).filter(|&m| out[m as usize] > 0.0);
                let inside: Vec<u16> = inside.collect();
                if inside.len() > 1 {
                    found.push((i as u32, inside));
                }
            }
            Ok(found)
        })?;
        Ok(parts.concat())
    }

    /// The direction by Cholesky factorisation of the Hessian of all weights.
    fn exact(&self, rows: &[(u32, Vec<u16>)], gradient: &[f64]) -> Result<Vec<f64>> {
        let (k, width) = (self.classes, self.x.width());
        let n = k * width;
        let mut matrix = hessian::identity(n);
        let mut block = vec![0.0; width * width];
        for a in 0..k {
            for b in 0..=a {
                let weight = |(i, inside): &(u32, Vec<u16>)| {
                    let both = inside.contains(&(a as u16)) && inside.contains(&(b as u16));
                    both.then(|| {
                        let share = f64::from(u8::from(a == b)) - 1.0 / inside.len() as f64;
                        (*i, self.sharpness * self.cost[*i as usize] * share)
                    })
                };
                let weights: Vec<(u32, f64)> = rows.iter().filter_map(weight).collect();
                if weights.is_empty() {
                    continue;
                }
                block.fill(0.0);
                self.x.add_gram(self.control, &weights, &mut block)?;
                for r in 0..width {
                    for c in 0..=r {
                        let value = block[r * width + c];
                        matrix[(a * width + r) * n + b * width + c] += value;
                        if a != b && r != c {
                            matrix[(a * width + c) * n + b * width + r] += value;
                        }
                    }
                }
            }
        }
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let factor = hessian::factored(self.control, self.x.tier(), &matrix, n)?;
        cholesky::solve(self.x.tier(), &factor, n, &mut direction);
        Ok(direction)
    }

    /// The direction by a system with one unknown for each class in play but one of each row:
    /// the identity of Woodbury, for fewer unknowns than weights.
    fn small(&self, rows: &[(u32, Vec<u16>)], m: usize, gradient: &[f64]) -> Result<Vec<f64>> {
        let (k, width, x) = (self.classes, self.x.width(), self.x);
        // An orthonormal basis of the changes of each row's weighting, which sum to zero.
        let mut basis = vec![0.0; m * k];
        let mut owner = Vec::with_capacity(m);
        for (at, (_, inside)) in rows.iter().enumerate() {
            for size in 1..inside.len() {
                let vector = &mut basis[owner.len() * k..][..k];
                let norm = ((size * (size + 1)) as f64).sqrt();
                for &class in &inside[..size] {
                    vector[class as usize] = 1.0 / norm;
                }
                vector[inside[size] as usize] = -(size as f64) / norm;
                owner.push(at);
            }
        }
        let first = |at: usize| owner.partition_point(|&o| o < at);
        let vector = |a: usize| &basis[a * k..(a + 1) * k];
        let mut matrix = vec![0.0; m * m];
        let mut right = vec![0.0; m];
        let starts: Vec<usize> = (0..=rows.len()).map(first).collect();
        let parts = map_chunks(self.control, rows.len(), 16, |range| {
            let mut row = vec![0.0; width];
            let mut z = vec![0.0; k];
            let (from, to) = (starts[range.start], starts[range.end]);
            let mut part = vec![0.0; (to - from) * m];
            let mut side = vec![0.0; to - from];
            for at in range {
                self.control.check()?;
                let i = rows[at].0 as usize;
                row.fill(0.0);
                x.axpy(i, 1.0, &mut row);
                x.dots(i, gradient, &mut z);
                let own = starts[at]..starts[at + 1];
                for a in own.clone() {
                    side[a - from] = vector(a).iter().zip(&z).map(|(v, z)| v * z).sum();
                }
                for (other, (o, _)) in rows[..=at].iter().enumerate() {
                    let product = x.dot(*o as usize, &row);
                    for a in own.clone() {
                        let target = &mut part[(a - from) * m..][..m];
                        for b in starts[other]..starts[other + 1] {
                            let pairs = vector(a).iter().zip(vector(b));
                            target[b] = product * pairs.map(|(p, q)| p * q).sum::<f64>();
                        }
                    }
                }
                for a in own {
                    part[(a - from) * m + a] += 1.0 / (self.sharpness * self.cost[i]);
                }
            }
            Ok((from, part, side))
        })?;
        for (from, part, side) in parts {
            matrix[from * m..from * m + part.len()].copy_from_slice(&part);
            right[from..from + side.len()].copy_from_slice(&side);
        }
        let factor = hessian::factored(self.control, x.tier(), &matrix, m)?;
        cholesky::solve(x.tier(), &factor, m, &mut right);
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut share = vec![0.0; k];
        for (at, (i, inside)) in rows.iter().enumerate() {
            share.fill(0.0);
            for a in starts[at]..starts[at + 1] {
                f64::axpy(x.tier(), right[a], vector(a), &mut share);
            }
            for &class in inside {
                let class = class as usize;
                let part = &mut direction[class * width..(class + 1) * width];
                x.axpy(*i as usize, share[class], part);
            }
        }
        Ok(direction)
    }

    /// Adds the Hessian's part of `rows` times `p` to `out`.
    fn multiply(&self, rows: &[(u32, Vec<u16>)], p: &[f64], out: &mut [f64]) {
        let width = self.x.width();
        let mut u = vec![0.0; self.classes];
        for (i, inside) in rows {
            let i = *i as usize;
            let mut mean = 0.0;
            for &m in inside {
                let m = m as usize;
                u[m] = self.x.dot(i, &p[m * width..(m + 1) * width]);
                mean += u[m] / inside.len() as f64;
            }
            for &m in inside {
                let m = m as usize;
                let value = self.sharpness * self.cost[i] * (u[m] - mean);
                self.x.axpy(i, value, &mut out[m * width..(m + 1) * width]);
            }
        }
    }

    /// The direction by conjugate gradients, preconditioned by the Hessian's diagonal.
    fn inexact(
        &self,
        rows: &[(u32, Vec<u16>)],
        gradient: &[f64],
        first_norm: f64,
    ) -> Result<Vec<f64>> {
        let (tier, width, n) = (self.x.tier(), self.x.width(), gradient.len());
        let chunk = rows
            .len()
            .div_ceil(self.x.rows().div_ceil(self.sum_chunk()).max(1));
        let sum = |start: &[f64], f: &(dyn Fn(&[(u32, Vec<u16>)], &mut [f64]) + Sync)| {
            let parts = map_chunks(self.control, rows.len(), chunk, |range| {
                let mut part = vec![0.0; n];
                for at in crate::parallel::chunks(range.len(), 256) {
                    self.control.check()?;
                    f(
                        &rows[range.start + at.start..range.start + at.end],
                        &mut part,
                    );
                }
                Ok(part)
            })?;
            let mut total = start.to_vec();
            for part in parts {
                f64::axpy(tier, 1.0, &part, &mut total);
            }
            Ok(total)
        };
        let diagonal = sum(&vec![1.0; n], &|rows, out| {
            for (i, inside) in rows {
                let i = *i as usize;
                let share = 1.0 - 1.0 / inside.len() as f64;
                for &m in inside {
                    let m = m as usize;
                    self.x.add_squares(
                        i,
                        self.sharpness * self.cost[i] * share,
                        &mut out[m * width..(m + 1) * width],
                    );
                }
            }
        })?;
        let norm = f64::dot(tier, gradient, gradient).sqrt();
        let forcing = (norm / first_norm.max(f64::MIN_POSITIVE)).sqrt().min(0.1);
        let mut residual: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut solution = vec![0.0; n];
        let scaled =
            |r: &[f64]| -> Vec<f64> { r.iter().zip(&diagonal).map(|(r, d)| r / d).collect() };
        let mut p = scaled(&residual);
        let mut rho = f64::dot(tier, &residual, &p);
        let target = rho * forcing * forcing;
        for _ in 0..MOST {
            if rho <= target || rho == 0.0 {
                break;
            }
            let hp = sum(&p, &|rows, out| self.multiply(rows, &p, out))?;
            let alpha = rho / f64::dot(tier, &p, &hp);
            if !alpha.is_finite() {
                return Err(overflow());
            }
            f64::axpy(tier, alpha, &p, &mut solution);
            f64::axpy(tier, -alpha, &hp, &mut residual);
            let s = scaled(&residual);
            let next = f64::dot(tier, &residual, &s);
            let beta = next / rho;
            for (p, s) in p.iter_mut().zip(&s) {
                *p = s + beta * *p;
            }
            rho = next;
        }
        Ok(solution)
    }
}

impl<D: Design> Smoothed for SmoothedJoint<'_, D> {
    fn weights(&self) -> &[f64] {
        &self.w
    }

    fn sharpness(&self) -> f64 {
        self.sharpness
    }

    fn view(&self) -> Result<View> {
        let (x, k, width) = (self.x, self.classes, self.x.width());
        let parts = map_chunks(self.control, x.rows(), self.sum_chunk(), |rows| {
            let mut sum = vec![0.0; k * width];
            let mut weighting = vec![0.0; k];
            let (mut loss, mut gain, mut left) = (0.0, 0.0, 0.0);
            for i in rows {
                if i % 256 == 0 {
                    self.control.check()?;
                }
                let (own, c) = (self.codes[i] as usize, self.cost[i]);
                if c <= 0.0 {
                    continue;
                }
                self.weighting(i, 0.0, None, &mut weighting);
                let z = &self.z[i * k..(i + 1) * k];
                let (mut worst, mut mean) = (0.0f64, 0.0);
                for m in 0..k {
                    let factor = if m == own {
                        c - weighting[m]
                    } else {
                        let error = 1.0 + z[m] - z[own];
                        worst = worst.max(error);
                        mean += weighting[m] * error;
                        gain += weighting[m];
                        -weighting[m]
                    };
                    if factor != 0.0 {
                        x.axpy(i, factor, &mut sum[m * width..(m + 1) * width]);
                    }
                }
                loss += c * worst;
                left += c * worst - mean;
            }
            Ok((sum, loss, gain, left))
        })?;
        let mut dual_w = vec![0.0; k * width];
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
        let rows = self.rows_between()?;
        let n = gradient.len();
        let unknowns: usize = rows.iter().map(|(_, inside)| inside.len() - 1).sum();
        if unknowns <= EXACT_WEIGHTS && unknowns * 4 <= n * 3 {
            self.small(&rows, unknowns, gradient)
        } else if n <= EXACT_WEIGHTS {
            self.exact(&rows, gradient)
        } else {
            self.inexact(&rows, gradient, first_norm)
        }
    }

    fn products(&self, direction: &[f64]) -> Result<Vec<f64>> {
        let (k, chunk) = (self.classes, row_chunk(self.x));
        let parts = map_chunks(self.control, self.x.rows(), chunk, |rows| {
            let mut out = vec![0.0; rows.len() * k];
            for (i, out) in rows.zip(out.chunks_exact_mut(k)) {
                self.x.dots(i, direction, out);
            }
            Ok(out)
        })?;
        Ok(parts.concat())
    }

    fn along(&self, products: &[f64], t: f64) -> Result<(f64, f64)> {
        let k = self.classes;
        let parts = map_chunks(self.control, self.x.rows(), 4096, |rows| {
            let mut weighting = vec![0.0; k];
            let (mut first, mut second) = (0.0, 0.0);
            for i in rows.filter(|&i| self.cost[i] > 0.0) {
                self.weighting(i, t, Some(products), &mut weighting);
                let u = &products[i * k..(i + 1) * k];
                let (mut count, mut sum, mut square) = (0.0, 0.0, 0.0);
                for (a, u) in weighting.iter().zip(u) {
                    first += a * u;
                    if *a > 0.0 {
                        count += 1.0;
                        sum += u;
                        square += u * u;
                    }
                }
                first -= self.cost[i] * u[self.codes[i] as usize];
                second += self.sharpness * self.cost[i] * (square - sum * sum / count).max(0.0);
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
        let mut centre = vec![0.0; self.centre.len()];
        for (i, out) in centre.chunks_exact_mut(self.classes).enumerate() {
            self.weighting(i, 0.0, None, out);
        }
        self.centre = centre;
        self.sharpness = sharpness;
    }

    fn into_duals(self) -> Vec<f64> {
        let mut duals = vec![0.0; self.centre.len()];
        for (i, row) in duals.chunks_exact_mut(self.classes).enumerate() {
            self.weighting(i, 0.0, None, row);
            for a in row.iter_mut() {
                *a = -*a;
            }
            row[self.codes[i] as usize] += self.cost[i];
        }
        duals
    }
}
