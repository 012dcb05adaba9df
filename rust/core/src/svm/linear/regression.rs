//! Linear support vector regression.

use super::design::Design;
use super::goal::Goals;
use super::start::Start;
use super::{Fit, Settings, invalid, solve_goals};
use crate::error::{Error, Result, non_finite};
use crate::parallel::Control;

/// What a deviation of more than `epsilon` from the target costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// Its excess.
    Plain,
    /// The square of its excess; `dual` is used where the data is too wide for an exact Hessian.
    Squared {
        /// Prefer dual coordinate descent to conjugate gradients.
        dual: bool,
    },
}

/// Fits one weight vector to targets: minimises `w'w / 2` plus the sum of `cost` times what
/// [`Deviation`] says.
pub fn fit_targets<D: Design>(
    control: &Control,
    x: &D,
    y: &[f64],
    cost: &[f64],
    epsilon: f64,
    deviation: Deviation,
    settings: &Settings,
    start: Start,
) -> Result<Fit> {
    for (name, len) in [("y", y.len()), ("sample_weight", cost.len())] {
        if len != x.rows() {
            return Err(Error::Shape {
                name,
                given: format!("{len} elements"),
                expected: format!("one for each of the {} rows of X", x.rows()),
            });
        }
    }
    if let Some(value) = y.iter().find(|v| !v.is_finite()) {
        return Err(non_finite("y", value.is_nan()));
    }
    if let Some(value) = cost.iter().find(|v| !v.is_finite() || **v < 0.0) {
        return Err(invalid(
            "C times sample_weight",
            value,
            "finite and not negative",
        ));
    }
    if !(settings.tol.is_finite() && settings.tol > 0.0) {
        return Err(invalid("tol", settings.tol, "a finite number above 0"));
    }
    if !(epsilon.is_finite() && epsilon >= 0.0) {
        return Err(invalid("epsilon", epsilon, "finite and not negative"));
    }
    start.check(x.width(), x.rows())?;
    let goals = [Goals::Targets { y, epsilon, cost }];
    let (plain, dual) = match deviation {
        Deviation::Plain => (true, false),
        Deviation::Squared { dual } => (false, dual),
    };
    solve_goals(control, x, &goals, plain, dual, settings, start)
}
