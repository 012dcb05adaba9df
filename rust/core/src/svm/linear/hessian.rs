//! Newton directions from an exact Hessian.
//!
//! The Hessian `I + 2 sum of c x x'` over the rows inside the margin changes only by the rows
//! that enter or leave it, and all classes start from the same sum over all rows.

use super::cholesky;
use super::design::Design;
use super::goal::Goals;
use super::newton::overflow;
use crate::error::Result;
use crate::parallel::Control;
use ironlearn_kernels::tier::Tier;

/// The Hessian of one class.
#[derive(Default)]
pub(super) struct Exact {
    /// Lower triangle of `I + 2 sum of c x x'` over the rows in `inside`.
    matrix: Vec<f64>,
    inside: Vec<bool>,
}

/// What classes with equal costs share: the Hessian over all rows and its factor.
pub(super) struct Shared {
    matrix: Vec<f64>,
    factor: Vec<f64>,
}

impl Exact {
    /// The sum over all rows, if it saves work.
    pub(super) fn shared<D: Design>(
        control: &Control,
        x: &D,
        goals: &[Goals],
    ) -> Result<Option<Shared>> {
        // A class whose costs differ from the common ones must correct all rows that differ.
        let mut common = goals.iter().filter_map(Goals::common);
        let (Some(cost), Some(_)) = (common.next(), common.next()) else {
            return Ok(None);
        };
        let rows: Vec<(u32, f64)> = (0..x.rows())
            .map(|i| (i as u32, 2.0 * cost[i]))
            .filter(|&(_, weight)| weight > 0.0)
            .collect();
        let mut matrix = identity(x.width());
        x.add_gram(control, &rows, &mut matrix)?;
        let factor = factored(control, x.tier(), &matrix, x.width())?;
        Ok(Some(Shared { matrix, factor }))
    }

    /// The Newton direction at the point whose products with the rows are `z`.
    pub(super) fn direction<D: Design>(
        &mut self,
        control: &Control,
        x: &D,
        goals: &Goals,
        z: &[f64],
        gradient: &[f64],
        shared: Option<&Shared>,
    ) -> Result<Vec<f64>> {
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let rows = x.rows();
        let wanted = |i: usize| goals.at(i).pulls(z[i]);
        let shared = shared.filter(|_| goals.common().is_some());
        let inside: Vec<bool> = (0..rows).map(wanted).collect();
        let count = inside.iter().filter(|&&b| b).count();
        let all = (0..rows).filter(|&i| goals.cost(i) > 0.0).count();
        if self.inside.is_empty()
            && count == all
            && let Some(shared) = shared
        {
            cholesky::solve(x.tier(), &shared.factor, x.width(), &mut direction);
            return Ok(direction);
        }
        // Start from whatever needs the fewest corrections: the last Hessian, the one over
        // all rows, or none.
        let changed = if self.inside.is_empty() {
            usize::MAX
        } else {
            (0..rows).filter(|&i| inside[i] != self.inside[i]).count()
        };
        let from_shared = shared.map_or(usize::MAX, |_| all - count);
        let from_nothing = count;
        if changed > from_shared.min(from_nothing) {
            match shared.filter(|_| from_shared < from_nothing) {
                Some(shared) => {
                    self.matrix = shared.matrix.clone();
                    self.inside = (0..rows).map(|i| goals.cost(i) > 0.0).collect();
                }
                None => {
                    self.matrix = identity(x.width());
                    self.inside = vec![false; rows];
                }
            }
        }
        let corrections: Vec<(u32, f64)> = (0..rows)
            .filter(|&i| inside[i] != self.inside[i])
            .map(|i| {
                let weight = 2.0 * goals.cost(i);
                (i as u32, if inside[i] { weight } else { -weight })
            })
            .collect();
        x.add_gram(control, &corrections, &mut self.matrix)?;
        self.inside = inside;
        let factor = factored(control, x.tier(), &self.matrix, x.width())?;
        cholesky::solve(x.tier(), &factor, x.width(), &mut direction);
        Ok(direction)
    }
}

/// Minus `gradient` times the inverse of `I + sum of weight * x x'` over `rows`.
pub(super) fn solve<D: Design>(
    control: &Control,
    x: &D,
    rows: &[(u32, f64)],
    gradient: &[f64],
) -> Result<Vec<f64>> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut matrix = identity(x.width());
    x.add_gram(control, rows, &mut matrix)?;
    let factor = factored(control, x.tier(), &matrix, x.width())?;
    cholesky::solve(x.tier(), &factor, x.width(), &mut direction);
    Ok(direction)
}

pub(super) fn identity(n: usize) -> Vec<f64> {
    let mut matrix = vec![0.0; n * n];
    for value in matrix.iter_mut().step_by(n + 1) {
        *value = 1.0;
    }
    matrix
}

/// The Cholesky factor of `matrix`, with the diagonal raised where rounding made it
/// indefinite: that gives a descent direction still, and the line search stays exact.
pub(super) fn factored(
    control: &Control,
    tier: Tier,
    matrix: &[f64],
    n: usize,
) -> Result<Vec<f64>> {
    let mut raise = 0.0;
    for _ in 0..12 {
        let mut factor = matrix.to_vec();
        for value in factor.iter_mut().step_by(n + 1) {
            *value *= 1.0 + raise;
        }
        if cholesky::factor(control, tier, &mut factor, n)? {
            return Ok(factor);
        }
        if matrix.iter().any(|v| !v.is_finite()) {
            break;
        }
        raise = if raise == 0.0 { 1e-14 } else { raise * 10.0 };
    }
    Err(overflow())
}
