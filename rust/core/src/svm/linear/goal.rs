//! What each row's product with the weights should be.
//!
//! All losses but the joint one are a cost times the distance, or the squared distance, of the
//! product from an interval: from one upwards for a row of the class, down from minus one for
//! the others, and around the target by `epsilon` in regression. The solvers know only the
//! interval.

/// The interval of one row, and its cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    pub low: f64,
    pub high: f64,
    pub cost: f64,
}

impl Goal {
    /// What `z` lacks to the interval: positive below it, negative above, zero inside.
    #[inline(always)]
    pub(super) fn miss(&self, z: f64) -> f64 {
        (self.low - z).max(0.0) + (self.high - z).min(0.0)
    }

    /// True if the row adds to the Hessian of the squared loss at `z`.
    #[inline(always)]
    pub(super) fn pulls(&self, z: f64) -> bool {
        self.cost > 0.0 && (z < self.low || z > self.high)
    }

    /// The linear gain of the dual variable `b`.
    #[inline(always)]
    pub(super) fn gain(&self, b: f64) -> f64 {
        if b > 0.0 {
            b * self.low
        } else if b < 0.0 {
            b * self.high
        } else {
            0.0
        }
    }

    /// The nearest dual variable that is allowed, none beyond `bound`.
    #[inline(always)]
    pub(super) fn allowed(&self, b: f64, bound: f64) -> f64 {
        let least = if self.high.is_finite() { -bound } else { 0.0 };
        let most = if self.low.is_finite() { bound } else { 0.0 };
        b.clamp(least, most)
    }
}

/// The goals of all rows.
#[derive(Clone, Copy)]
pub(super) enum Goals<'a> {
    /// One class against the rest.
    Class {
        codes: &'a [u32],
        /// Cost of each row before the class weights.
        sample: &'a [f64],
        class: u32,
        positive: f64,
        negative: f64,
    },
    /// Targets, each with a tolerance of `epsilon` to both sides.
    Targets {
        y: &'a [f64],
        epsilon: f64,
        cost: &'a [f64],
    },
}

impl<'a> Goals<'a> {
    /// The goal of row `i`.
    #[inline(always)]
    pub(super) fn at(&self, i: usize) -> Goal {
        match *self {
            Goals::Class {
                codes,
                sample,
                class,
                positive,
                negative,
            } => {
                if codes[i] == class {
                    Goal {
                        low: 1.0,
                        high: f64::INFINITY,
                        cost: sample[i] * positive,
                    }
                } else {
                    Goal {
                        low: f64::NEG_INFINITY,
                        high: -1.0,
                        cost: sample[i] * negative,
                    }
                }
            }
            Goals::Targets { y, epsilon, cost } => Goal {
                low: y[i] - epsilon,
                high: y[i] + epsilon,
                cost: cost[i],
            },
        }
    }

    /// Cost of row `i`.
    #[inline(always)]
    pub(super) fn cost(&self, i: usize) -> f64 {
        self.at(i).cost
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        match self {
            Goals::Class { codes, .. } => codes.len(),
            Goals::Targets { y, .. } => y.len(),
        }
    }

    /// What the rows miss on average where all weights are zero: one for classes.
    pub(super) fn unit(&self) -> f64 {
        match self {
            Goals::Class { .. } => 1.0,
            Goals::Targets { .. } => {
                let costly = (0..self.rows())
                    .map(|i| self.at(i))
                    .filter(|g| g.cost > 0.0);
                let (sum, count) =
                    costly.fold((0.0, 0.0), |(s, n), g| (s + g.miss(0.0).abs(), n + 1.0));
                if sum > 0.0 { sum / count } else { 1.0 }
            }
        }
    }

    /// The costs that all classes share, if these goals have them unchanged.
    pub(super) fn common(&self) -> Option<&'a [f64]> {
        match *self {
            Goals::Class {
                sample,
                positive: 1.0,
                negative: 1.0,
                ..
            } => Some(sample),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_are_signed_distances() {
        let goals = Goals::Targets {
            y: &[2.0],
            epsilon: 0.5,
            cost: &[1.0],
        };
        for (z, miss) in [(1.0, 0.5), (1.5, 0.0), (2.2, 0.0), (2.5, 0.0), (4.0, -1.5)] {
            assert_eq!(goals.at(0).miss(z), miss);
            assert_eq!(goals.at(0).pulls(z), miss != 0.0);
        }
        let codes = [3, 1];
        let class = Goals::Class {
            codes: &codes,
            sample: &[1.0, 2.0],
            class: 3,
            positive: 1.0,
            negative: 1.0,
        };
        let (own, other) = (class.at(0), class.at(1));
        assert_eq!((own.miss(-1.0), own.miss(5.0)), (2.0, 0.0));
        assert_eq!((other.miss(-1.5), other.miss(0.5)), (0.0, -1.5));
        assert_eq!((own.allowed(-2.0, 1.0), own.allowed(2.0, 1.0)), (0.0, 1.0));
        assert_eq!(
            (other.allowed(-2.0, 1.0), other.allowed(2.0, 1.0)),
            (-1.0, 0.0)
        );
        assert_eq!(
            (other.gain(-2.0), own.gain(3.0), own.gain(0.0)),
            (2.0, 3.0, 0.0)
        );
        assert!(class.common().is_some() && goals.common().is_none());
    }
}
