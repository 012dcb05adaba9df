//! Where to start.

use super::assign::panels;
use super::points::Points;
use super::{Rows, check_clusters};
use crate::error::Result;
use crate::parallel::{Control, chunks, each_mut, map_chunks};
use crate::rng::Stream;
use ironlearn_kernels::distance::Real;

/// How starting centres are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Distinct rows, drawn with probabilities proportional to their weights.
    Random,
    /// Greedy k-means++ (Arthur and Vassilvitskii, "k-means++: the advantages of careful
    /// seeding", SODA 2007): rows drawn by squared distance, the best of 2 + ln k trials.
    PlusPlus,
    /// k-means|| (Bahmani et al., "Scalable k-means++", VLDB 2012): five rounds that draw
    /// about 2k rows each, weighted by the rows near them, clustered by greedy k-means++.
    Parallel,
}

impl Start {
    /// The start of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Start> {
        match name {
            "random" => Some(Start::Random),
            "k-means++" => Some(Start::PlusPlus),
            "k-means||" => Some(Start::Parallel),
            _ => None,
        }
    }
}

/// `k` starting centres (offset subtracted), drawn from the stream of `seed`.
pub fn start<T: Real>(
    control: &Control,
    rows: &impl Points<T>,
    k: usize,
    method: Start,
    seed: u64,
) -> Result<Vec<T>> {
    check_clusters(k, rows.count())?;
    let mut stream = Stream::new(seed, 0);
    let chosen = match method {
        Start::Random => distinct(rows, k, &mut stream),
        Start::PlusPlus => plus_plus(control, rows, k, &mut stream)?,
        Start::Parallel => return parallel(control, rows, k, &mut stream),
    };
    Ok(rows.gather(&chosen))
}

/// Weighted sampling without replacement by exponential keys (Efraimidis and Spirakis, 2006).
fn distinct<T: Real>(rows: &impl Points<T>, k: usize, stream: &mut Stream) -> Vec<usize> {
    let mut keys: Vec<(f64, usize)> = (0..rows.count())
        .map(|i| {
            let u = 1.0 - stream.next_f64();
            // Rows of weight zero come last: -ln(u) / 0 is infinite, or NaN for u = 1.
            let w = rows.weight(i);
            (if w > 0.0 { -u.ln() / w } else { f64::INFINITY }, i)
        })
        .collect();
    let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if k < keys.len() {
        keys.select_nth_unstable_by(k, order);
    }
    keys.truncate(k);
    keys.sort_unstable_by(order);
    keys.into_iter().map(|(_, i)| i).collect()
}

/// Squared distances from a range of rows to the nearest chosen row.
struct Near<T> {
    start: usize,
    closest: Vec<T>,
    /// Distances to the trials, no larger than `closest`, trial after trial.
    trials: Vec<T>,
    /// Weighted sums of `closest`, and of each trial's.
    mass: f64,
    masses: Vec<f64>,
}

struct Field<T> {
    parts: Vec<Near<T>>,
}

impl<T: Real> Field<T> {
    fn new(rows: &impl Points<T>) -> Self {
        let parts = chunks(rows.count(), rows.chunk()).map(|range| Near {
            start: range.start,
            closest: vec![T::INFINITY; range.len()],
            trials: Vec::new(),
            mass: 0.0,
            masses: Vec::new(),
        });
        Field {
            parts: parts.collect(),
        }
    }

    /// Weighted sum of the closest distances.
    fn mass(&self) -> f64 {
        self.parts.iter().map(|part| part.mass).sum()
    }

    /// A row drawn with probability proportional to weight times closest distance.
    fn draw(&self, rows: &impl Points<T>, stream: &mut Stream) -> usize {
        let total = self.mass();
        let u = stream.next_f64();
        if !(total > 0.0 && total.is_finite()) {
            // All rows lie on chosen ones (or the sums overflow): any row will do.
            return ((u * rows.count() as f64) as usize).min(rows.count() - 1);
        }
        let mut rest = u * total;
        let mut last = 0;
        for part in &self.parts {
            if part.mass > 0.0 {
                if rest < part.mass {
                    for (i, &near) in part.closest.iter().enumerate() {
                        let mass = rows.weight(part.start + i) * near.into();
                        if mass > 0.0 {
                            last = part.start + i;
                            if rest < mass {
                                return last;
                            }
                            rest -= mass;
                        }
                    }
                    return last;
                }
                rest -= part.mass;
            }
        }
        // Rounding left a remainder behind the last row that could be drawn.
        (0..rows.count())
            .rev()
            .find(|&i| {
                let part = &self.parts[i / rows.chunk()];
                rows.weight(i) * part.closest[i - part.start].into() > 0.0
            })
            .unwrap_or(last)
    }

    /// Computes the trials' distances and returns their masses.
    fn try_rows(
        &mut self,
        control: &Control,
        rows: &impl Points<T>,
        drawn: &[usize],
    ) -> Result<Vec<f64>> {
        let (m, table) = (drawn.len(), rows.table_of(drawn));
        each_mut(control, &mut self.parts, |part| {
            let n = part.closest.len();
            let mut desk = rows.desk();
            let width = rows.width(&desk);
            let mut squares = vec![T::default(); m * width];
            part.trials.resize(m * n, T::default());
            part.masses.clear();
            part.masses.resize(m, 0.0);
            for (first, numbers) in panels(part.start, part.start + n, width) {
                control.check()?;
                let stride = rows.squares(&mut desk, &table, &numbers, &mut squares);
                let at = first - part.start;
                let closest = &part.closest[at..at + numbers.len()];
                let weights = rows.weights().map(|w| &w[first..first + numbers.len()]);
                for c in 0..m {
                    let found = &squares[c * stride..][..numbers.len()];
                    let out = &mut part.trials[c * n + at..][..numbers.len()];
                    part.masses[c] += lower_to(closest, found, weights, out);
                }
            }
            Ok(())
        })?;
        let sum = |c: usize| self.parts.iter().map(|part| part.masses[c]).sum();
        Ok((0..m).map(sum).collect())
    }

    /// Makes a trial's distances the closest ones.
    fn keep(&mut self, control: &Control, trial: usize) -> Result<()> {
        each_mut(control, &mut self.parts, |part| {
            let n = part.closest.len();
            part.closest
                .copy_from_slice(&part.trials[trial * n..(trial + 1) * n]);
            part.mass = part.masses[trial];
            Ok(())
        })?;
        Ok(())
    }

    /// Adds chosen rows without a trial.
    fn add(&mut self, control: &Control, rows: &impl Points<T>, chosen: &[usize]) -> Result<()> {
        // Few at once: the distances of a slice of centres stay in cache.
        for some in chosen.chunks(64) {
            let table = rows.table_of(some);
            each_mut(control, &mut self.parts, |part| {
                let n = part.closest.len();
                let mut desk = rows.desk();
                let width = rows.width(&desk);
                let mut squares = vec![T::default(); some.len() * width];
                part.mass = 0.0;
                for (first, numbers) in panels(part.start, part.start + n, width) {
                    control.check()?;
                    let stride = rows.squares(&mut desk, &table, &numbers, &mut squares);
                    let at = first - part.start;
                    for p in 0..numbers.len() {
                        let mut near = part.closest[at + p];
                        for c in 0..some.len() {
                            let square = squares[c * stride + p];
                            near = if square < near { square } else { near };
                        }
                        part.closest[at + p] = near;
                        part.mass += rows.weight(first + p) * near.into();
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Writes the smaller of each two distances to `out`; returns their weighted sum.
fn lower_to<T: Real>(a: &[T], b: &[T], weights: Option<&[f64]>, out: &mut [T]) -> f64 {
    // Eight sums, so that an addition need not wait for the one before.
    let mut sums = [0.0; 8];
    for (p, ((&a, &b), out)) in a.iter().zip(b).zip(out).enumerate() {
        let near = if b < a { b } else { a };
        *out = near;
        sums[p % 8] += weights.map_or(1.0, |w| w[p]) * near.into();
    }
    sums.iter().sum()
}

/// The first row, drawn by weight alone.
fn first<T: Real>(rows: &impl Points<T>, stream: &mut Stream) -> usize {
    let Some(weights) = rows.weights() else {
        return stream.below(rows.count());
    };
    let mut rest = stream.next_f64() * weights.iter().sum::<f64>();
    let mut last = 0;
    for (i, &w) in weights.iter().enumerate() {
        if w > 0.0 {
            last = i;
            if rest < w {
                break;
            }
            rest -= w;
        }
    }
    last
}

fn plus_plus<T: Real>(
    control: &Control,
    rows: &impl Points<T>,
    k: usize,
    stream: &mut Stream,
) -> Result<Vec<usize>> {
    let mut chosen = vec![first(rows, stream)];
    let mut field = Field::new(rows);
    field.add(control, rows, &chosen)?;
    extend(control, rows, k, stream, &mut field, &mut chosen)?;
    Ok(chosen)
}

/// Goes on with greedy k-means++ until `k` rows are chosen.
fn extend<T: Real>(
    control: &Control,
    rows: &impl Points<T>,
    k: usize,
    stream: &mut Stream,
    field: &mut Field<T>,
    chosen: &mut Vec<usize>,
) -> Result<()> {
    let trials = 2 + (k as f64).ln() as usize;
    while chosen.len() < k {
        let drawn: Vec<usize> = (0..trials).map(|_| field.draw(rows, stream)).collect();
        let masses = field.try_rows(control, rows, &drawn)?;
        let mut best = 0;
        for (c, mass) in masses.iter().enumerate() {
            if *mass < masses[best] {
                best = c;
            }
        }
        field.keep(control, best)?;
        chosen.push(drawn[best]);
    }
    Ok(())
}

fn parallel<T: Real>(
    control: &Control,
    rows: &impl Points<T>,
    k: usize,
    stream: &mut Stream,
) -> Result<Vec<T>> {
    const ROUNDS: usize = 5;
    let mut chosen = vec![first(rows, stream)];
    let mut field = Field::new(rows);
    field.add(control, rows, &chosen)?;
    for _ in 0..ROUNDS {
        let mass = field.mass();
        if !(mass > 0.0 && mass.is_finite()) {
            break;
        }
        let factor = 2.0 * k as f64 / mass;
        let mut fresh = Vec::new();
        for part in &field.parts {
            for (i, &near) in part.closest.iter().enumerate() {
                let u = stream.next_f64();
                if u < factor * rows.weight(part.start + i) * near.into() {
                    fresh.push(part.start + i);
                }
            }
        }
        field.add(control, rows, &fresh)?;
        chosen.extend(fresh);
    }
    if chosen.len() <= k {
        extend(control, rows, k, stream, &mut field, &mut chosen)?;
        return Ok(rows.gather(&chosen));
    }
    let weights = masses_near(control, rows, &chosen)?;
    let points = rows.gather(&chosen);
    let offset = vec![T::default(); rows.features()];
    let candidates = Rows::new(&points, &offset, Some(&weights))?;
    let picked = plus_plus(control, &candidates, k, stream)?;
    Ok(candidates.gather(&picked))
}

/// The weight of the rows that are nearest to each of the chosen ones.
fn masses_near<T: Real>(
    control: &Control,
    rows: &impl Points<T>,
    chosen: &[usize],
) -> Result<Vec<f64>> {
    let table = rows.table_of(chosen);
    let parts = map_chunks(control, rows.count(), rows.chunk(), |range| {
        let mut weights = vec![0.0; chosen.len()];
        let mut desk = rows.desk();
        let width = rows.width(&desk);
        let mut found = vec![0; width];
        for (first, numbers) in panels(range.start, range.end, width) {
            control.check()?;
            rows.nearest(&mut desk, &table, &numbers, &mut found);
            for p in 0..numbers.len() {
                weights[found[p] as usize] += rows.weight(first + p);
            }
        }
        Ok(weights)
    })?;
    let mut total = vec![0.0; chosen.len()];
    for part in parts {
        for (a, b) in total.iter_mut().zip(part) {
            *a += b;
        }
    }
    Ok(total)
}
