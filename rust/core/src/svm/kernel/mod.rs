//! Support vector machines with kernels: the problems, their decomposition, fitted models.

mod cache;
mod local;
mod model;
mod platt;
mod points;
mod rows;
mod shrink;
mod smo;
#[cfg(test)]
mod tests;

pub use model::{KernelModel, Vectors};
pub use points::Points;
pub use rows::{Kernel, Kind, Matrix, Source};
pub use smo::Settings;

use crate::error::{Error, Result, non_finite};
use crate::parallel::{Control, map_chunks};
use cache::Rows;
use smo::{Problem, Solution};

/// A fitted machine in LIBSVM's layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Training rows of the support vectors: by class, then in their order.
    pub support: Vec<i64>,
    /// Support vectors of each class (one number for a regression).
    pub n_support: Vec<i64>,
    /// `max(1, classes - 1)` rows of a coefficient for each support vector.
    pub dual_coef: Vec<f64>,
    /// Constants of the problems.
    pub intercept: Vec<f64>,
    /// Steps of each problem.
    pub iterations: Vec<i64>,
    /// Objective of each problem.
    pub objectives: Vec<f64>,
    /// False if a problem stopped at the most steps.
    pub converged: bool,
    /// Slopes and constants of the probabilities of the problems, where they were asked for.
    pub sigmoids: Vec<(f64, f64)>,
}

fn check_cost(cost: &[f64], rows: usize) -> Result<()> {
    if cost.len() != rows {
        return Err(Error::Shape {
            name: "cost",
            given: format!("{} elements", cost.len()),
            expected: rows.to_string(),
        });
    }
    // Infinity is a hard margin.
    match cost.iter().find(|&&c| c.is_nan() || c < 0.0) {
        Some(bad) => Err(Error::InvalidParameter {
            name: "C * sample_weight",
            given: bad.to_string(),
            expected: "at least 0".into(),
        }),
        None => Ok(()),
    }
}

fn check_settings(settings: &Settings) -> Result<()> {
    if settings.tol > 0.0 {
        return Ok(());
    }
    Err(Error::InvalidParameter {
        name: "tol",
        given: settings.tol.to_string(),
        expected: "above 0".into(),
    })
}

/// One solved problem of two classes, or what one fold says about the rows that it left out.
enum Solved {
    Whole(Solution),
    Fold(Vec<f64>),
}

/// Fits a classifier of each class against each other one. `codes` are class numbers below
/// `n_classes`, `cost` the largest weight of each row; rows of cost zero do not take part.
/// With the seed `folds`, probabilities are fitted by five-fold cross-validation.
pub fn classify(
    control: &Control,
    source: &Source,
    codes: &[u32],
    cost: &[f64],
    n_classes: usize,
    folds: Option<u32>,
    settings: &Settings,
) -> Result<Fit> {
    check_settings(settings)?;
    check_cost(cost, source.rows())?;
    if codes.len() != source.rows() || codes.iter().any(|&c| c as usize >= n_classes) {
        return Err(Error::Shape {
            name: "y",
            given: format!("{} codes", codes.len()),
            expected: format!("{} below {n_classes}", source.rows()),
        });
    }
    let mut classes = vec![Vec::new(); n_classes];
    for (i, &code) in codes.iter().enumerate() {
        if cost[i] > 0.0 {
            classes[code as usize].push(i as u32);
        }
    }
    let pairs: Vec<(usize, usize)> = (0..n_classes)
        .flat_map(|i| (i + 1..n_classes).map(move |j| (i, j)))
        .collect();
    let sizes: Vec<usize> = (pairs.iter())
        .map(|&(a, b)| classes[a].len() + classes[b].len())
        .collect();
    let held: Vec<Vec<u8>> = folds.map_or_else(Vec::new, |seed| {
        sizes.iter().map(|&n| platt::folds(seed, n)).collect()
    });
    // The folds of a pair come before the pair itself: all are tasks of one loop.
    let parts = if held.is_empty() { 1 } else { platt::FOLDS + 1 };
    let tasks = pairs.len() * parts;
    let threads = control.threads().min(tasks);
    let store = Rows::new(source, classes, settings.cache_bytes, threads);
    let solved = map_chunks(control, tasks, 1, |range| {
        let (pair, fold) = (range.start / parts, range.start % parts);
        let (a, b) = pairs[pair];
        let first = store.classes[a].len();
        let rows = store.classes[a].iter().chain(&store.classes[b]);
        let mut problem = Problem {
            classes: vec![a, b],
            cost: rows.map(|&i| cost[i as usize]).collect(),
            sign: (0..sizes[pair])
                .map(|v| if v < first { 1.0 } else { -1.0 })
                .collect(),
            offset: Vec::new(),
        };
        problem.offset = problem.sign.iter().map(|s| -s).collect();
        if fold + 1 == parts {
            let solution = smo::solve(control, &store, &problem, settings)?;
            return Ok(Solved::Whole(solution));
        }
        let held: Vec<bool> = held[pair].iter().map(|&f| f as usize == fold).collect();
        let scores = platt::held_out(control, &store, problem, &held, settings)?;
        Ok(Solved::Fold(scores))
    })?;
    let (mut solutions, mut sigmoids) = (Vec::with_capacity(pairs.len()), Vec::new());
    let mut scores: Vec<Vec<f64>> = Vec::new();
    for solved in solved {
        match solved {
            Solved::Fold(fold) => scores.push(fold),
            Solved::Whole(solution) => {
                let pair = solutions.len();
                if parts > 1 {
                    let held = held[pair].iter().enumerate();
                    let scores: Vec<f64> = held.map(|(v, &f)| scores[f as usize][v]).collect();
                    let first = store.classes[pairs[pair].0].len();
                    sigmoids.push(platt::sigmoid(&scores, first));
                }
                scores.clear();
                solutions.push(solution);
            }
        }
    }
    let solved = solutions;
    let mut used: Vec<Vec<bool>> = store.classes.iter().map(|c| vec![false; c.len()]).collect();
    for (&(a, b), solution) in pairs.iter().zip(&solved) {
        let (first, second) = solution.weights.split_at(store.classes[a].len());
        for (class, weights) in [(a, first), (b, second)] {
            for (used, &weight) in used[class].iter_mut().zip(weights) {
                *used |= weight != 0.0;
            }
        }
    }
    let n_support: Vec<i64> = used
        .iter()
        .map(|used| used.iter().filter(|&&u| u).count() as i64)
        .collect();
    let total = n_support.iter().sum::<i64>() as usize;
    let starts: Vec<usize> = n_support
        .iter()
        .scan(0, |at, &n| {
            let start = *at;
            *at += n as usize;
            Some(start)
        })
        .collect();
    let mut dual_coef = vec![0.0; total * n_classes.saturating_sub(1)];
    for (&(a, b), solution) in pairs.iter().zip(&solved) {
        let (first, second) = solution.weights.split_at(store.classes[a].len());
        for (class, line, weights) in [(a, b - 1, first), (b, a, second)] {
            let mut at = line * total + starts[class];
            for (&used, &weight) in used[class].iter().zip(weights) {
                if used {
                    dual_coef[at] = weight;
                    at += 1;
                }
            }
        }
    }
    let support = (store.classes.iter().zip(&used))
        .flat_map(|(rows, used)| rows.iter().zip(used))
        .filter(|(_, used)| **used)
        .map(|(&row, _)| i64::from(row))
        .collect();
    Ok(Fit {
        support,
        n_support,
        dual_coef,
        intercept: solved.iter().map(|s| -s.rho).collect(),
        iterations: solved.iter().map(|s| s.iterations as i64).collect(),
        objectives: solved.iter().map(|s| s.objective).collect(),
        converged: solved.iter().all(|s| s.converged),
        sigmoids,
    })
}

/// Fits a regression that tolerates deviations of `epsilon`.
pub fn regress(
    control: &Control,
    source: &Source,
    target: &[f64],
    cost: &[f64],
    epsilon: f64,
    settings: &Settings,
) -> Result<Fit> {
    check_settings(settings)?;
    check_cost(cost, source.rows())?;
    if !(epsilon.is_finite() && epsilon >= 0.0) {
        return Err(Error::InvalidParameter {
            name: "epsilon",
            given: epsilon.to_string(),
            expected: "finite and at least 0".into(),
        });
    }
    if let Some(bad) = target.iter().find(|y| !y.is_finite()) {
        return Err(non_finite("y", bad.is_nan()));
    }
    if target.len() != source.rows() {
        return Err(Error::Shape {
            name: "y",
            given: format!("{} elements", target.len()),
            expected: source.rows().to_string(),
        });
    }
    let rows: Vec<u32> = (0..source.rows() as u32)
        .filter(|&i| cost[i as usize] > 0.0)
        .collect();
    let n = rows.len();
    let mut sign = vec![1.0; n];
    sign.resize(2 * n, -1.0);
    let twice = || rows.iter().chain(&rows).map(|&i| i as usize);
    let problem = Problem {
        classes: vec![0],
        cost: twice().map(|i| cost[i]).collect(),
        offset: twice()
            .zip(&sign)
            .map(|(i, s)| s * epsilon - target[i])
            .collect(),
        sign,
    };
    let store = Rows::new(source, vec![rows.clone()], settings.cache_bytes, 1);
    let solution = smo::solve(control, &store, &problem, settings)?;
    let (support, dual_coef): (Vec<i64>, Vec<f64>) = (rows.iter().zip(&solution.weights))
        .filter(|(_, weight)| **weight != 0.0)
        .map(|(&row, &weight)| (i64::from(row), weight))
        .unzip();
    Ok(Fit {
        n_support: vec![support.len() as i64],
        support,
        dual_coef,
        intercept: vec![-solution.rho],
        iterations: vec![solution.iterations as i64],
        objectives: vec![solution.objective],
        converged: solution.converged,
        sigmoids: Vec::new(),
    })
}
