//! Mini-batch k-means (Sculley, "Web-scale k-means clustering", WWW 2010).
//!
//! Each step draws a batch, finds the nearest centre of each of its rows, and moves each
//! centre to the mean of all rows that it was ever given.

use super::assign::NONE;
use super::points::Points;
use super::store::{Sorted, Store, weight_of};
use super::{check_centres, check_weights};
use crate::error::{Error, Result};
use crate::parallel::{Control, chunks, each_mut};
use crate::rng::Stream;
use ironlearn_kernels::distance::Real;

/// Rows of a batch that one task takes.
const PIECE: usize = 128;
/// Multiplications of a step below which a second thread costs more than it saves.
const SMALL: usize = 1 << 18;

/// When to stop, and how to go.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Rows drawn in each step.
    pub batch: usize,
    /// Most steps.
    pub steps: usize,
    /// Stop when the centres' squared shifts in a step add up to no more than this; 0: never.
    pub tol: f64,
    /// Stop after so many steps in which the smoothed inertia did not fall.
    pub patience: Option<usize>,
    /// Centres with less than this share of the heaviest one's weight are moved elsewhere.
    pub ratio: f64,
    /// Tell of each step.
    pub history: bool,
}

/// Centres and what they have seen.
#[derive(Clone, Debug, PartialEq)]
pub struct State<T> {
    /// Centres, less the offset.
    pub centres: Vec<T>,
    /// Weight of the rows that each centre was given.
    pub counts: Vec<f64>,
    /// Rows since centres were last moved elsewhere.
    pub since: usize,
}

/// What one step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Weighted sum of the batch's squared distances, before the centres moved.
    pub inertia: f64,
    /// Its moving average over the steps so far, for each row.
    pub smoothed: f64,
    /// Centres that were moved elsewhere.
    pub reassigned: usize,
}

/// Why the steps ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All steps were done.
    Steps,
    /// The centres hardly moved.
    Still,
    /// The smoothed inertia did not fall any more.
    NoImprovement,
}

/// What [`run`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit<T> {
    /// Centres and their weights.
    pub state: State<T>,
    /// Steps done.
    pub steps: usize,
    /// Why there were no more.
    pub end: End,
    /// The last moving average of the inertia.
    pub smoothed: f64,
    /// Each step, where that was asked for.
    pub history: Vec<Step>,
}

/// Part of a batch, on one thread.
struct Piece<D> {
    desk: D,
    numbers: Vec<u32>,
    labels: Vec<u32>,
}

/// Steps, and their buffers.
struct Work<'a, T: Real, P: Points<T>> {
    rows: &'a P,
    control: Control<'a>,
    store: P::Store,
    since: usize,
    pieces: Vec<Piece<P::Desk>>,
    sorted: Sorted,
    wanted: bool,
}

impl<'a, T: Real, P: Points<T>> Work<'a, T, P> {
    fn new(
        control: &Control<'a>,
        rows: &'a P,
        state: &State<T>,
        batch: usize,
        weighted: bool,
        wanted: bool,
    ) -> Result<Self> {
        let k = check_centres(&state.centres, rows.features(), usize::MAX)?;
        let counts = &state.counts;
        if counts.len() != k || counts.iter().any(|c| !(*c >= 0.0 && c.is_finite())) {
            return Err(Error::Shape {
                name: "counts",
                given: format!("{} elements", counts.len()),
                expected: format!("{k} finite, non-negative numbers"),
            });
        }
        let pieces = chunks(batch, PIECE).map(|range| Piece {
            desk: rows.desk(),
            numbers: vec![0; range.len()],
            labels: vec![NONE; range.len()],
        });
        let small = batch.saturating_mul(rows.row_cost()).saturating_mul(k) < SMALL;
        Ok(Work {
            rows,
            control: if small { control.single() } else { *control },
            store: P::Store::new(rows, &state.centres, counts),
            since: state.since,
            pieces: pieces.collect(),
            sorted: Sorted {
                order: vec![0; batch],
                starts: vec![0; k + 1],
                weighted,
            },
            wanted,
        })
    }

    fn state(&self) -> State<T> {
        State {
            centres: self.store.centres(),
            counts: self.store.counts().to_vec(),
            since: self.since,
        }
    }

    /// The numbers of the batch's rows, to be set.
    fn numbers(&mut self) -> impl Iterator<Item = &mut u32> {
        self.pieces.iter_mut().flat_map(|piece| &mut piece.numbers)
    }

    /// Assigns the batch and moves the centres; returns the batch's inertia and the sum of the
    /// centres' squared shifts.
    fn step(&mut self) -> Result<(f64, f64)> {
        self.control.check()?;
        let inertia = self.assign()?;
        let labels = self
            .pieces
            .iter()
            .map(|piece| (&piece.numbers, &piece.labels));
        self.sorted
            .sort(labels.flat_map(|(n, l)| n.iter().copied().zip(l.iter().copied())));
        let store = &mut self.store;
        let shift = store.absorb(&self.control, self.rows, &self.sorted, self.wanted)?;
        Ok((inertia, shift))
    }

    /// Finds the nearest centres; returns the inertia.
    fn assign(&mut self) -> Result<f64> {
        self.store.prepare(self.rows);
        let (rows, weighted, store) = (self.rows, self.sorted.weighted, &self.store);
        let parts = each_mut(&self.control, &mut self.pieces, |piece| {
            let width = rows.width(&piece.desk);
            let mut inertia = 0.0;
            let labels = piece.labels.chunks_mut(width);
            for (numbers, labels) in piece.numbers.chunks(width).zip(labels) {
                rows.nearest(&mut piece.desk, store.table(), numbers, labels);
                for (&row, &label) in numbers.iter().zip(labels.iter()) {
                    let square = store.distance(rows, row as usize, label as usize);
                    inertia += weight_of(rows, row, weighted) * square;
                }
            }
            Ok(inertia)
        })?;
        Ok(parts.iter().sum())
    }

    /// True when it is time to look for centres that are hardly used: always while there are
    /// some without rows, else every ten rows for each cluster.
    fn due(&mut self, batch: usize) -> bool {
        self.since = self.since.saturating_add(batch);
        let counts = self.store.counts();
        let due = counts.contains(&0.0) || self.since >= 10 * counts.len();
        if due {
            self.since = 0;
        }
        due
    }

    /// Moves centres that are hardly used to rows of the batch; returns their number.
    fn reassign(&mut self, ratio: f64, stream: &mut Stream) -> usize {
        let counts = self.store.counts();
        let heaviest = (0..counts.len()).fold(0, |a, b| if counts[b] > counts[a] { b } else { a });
        let low = |c: &usize| counts[*c] < ratio * counts[heaviest] && *c != heaviest;
        let mut poor: Vec<usize> = (0..counts.len()).filter(low).collect();
        // At most half of the batch's rows become centres: those of the lightest ones.
        let order = &mut self.sorted.order;
        let most = order.len() / 2;
        if poor.len() > most {
            poor.sort_by(|&a, &b| counts[a].total_cmp(&counts[b]).then(a.cmp(&b)));
            poor.truncate(most);
            poor.sort_unstable();
        }
        if poor.is_empty() {
            return 0;
        }
        // The least that the others have: less, and they would be moved again at once.
        let mut kept = counts.to_vec();
        for &c in &poor {
            kept[c] = f64::INFINITY;
        }
        let least = kept.iter().copied().fold(f64::INFINITY, f64::min);
        for (done, &c) in poor.iter().enumerate() {
            // The first places of a random permutation.
            let pick = done + stream.below(order.len() - done);
            order.swap(done, pick);
            self.store.put(self.rows, order[done] as usize, c, least);
        }
        poor.len()
    }
}

/// Draws rows with probabilities proportional to their weights.
struct Draw {
    count: usize,
    /// Sums of the weights up to and with each row; none where all weigh the same.
    reached: Vec<f64>,
}

impl Draw {
    fn new<T: Real>(rows: &impl Points<T>) -> Draw {
        let mut sum = 0.0;
        let weights = rows.weights().unwrap_or_default();
        let reached = weights.iter().map(|w| {
            sum += w;
            sum
        });
        Draw {
            reached: reached.collect(),
            count: rows.count(),
        }
    }

    fn row(&self, stream: &mut Stream) -> u32 {
        let Some(&total) = self.reached.last() else {
            return stream.below(self.count) as u32;
        };
        let goal = stream.next_f64() * total;
        let row = self.reached.partition_point(|&sum| sum <= goal);
        // Rounding may reach the total: the last row of positive weight then.
        let last = || self.reached.partition_point(|&sum| sum < total);
        if row < self.count {
            row as u32
        } else {
            last() as u32
        }
    }
}

/// Runs steps on batches drawn with replacement, from the stream of (`seed`, step).
pub fn run<T: Real, P: Points<T>>(
    control: &Control,
    rows: &P,
    state: &State<T>,
    settings: Settings,
    seed: u64,
) -> Result<Fit<T>> {
    let batch = settings.batch;
    if batch == 0 || settings.steps == 0 {
        return Err(Error::InvalidParameter {
            name: "batch_size",
            given: format!("{batch}, for {} steps", settings.steps),
            expected: "positive, for at least one step".into(),
        });
    }
    let draw = Draw::new(rows);
    // Heavy rows are drawn more often, so each counts once.
    let mut work = Work::new(control, rows, state, batch, false, settings.tol > 0.0)?;
    let mut watch = Watch {
        share: (batch as f64 * 2.0 / (rows.count() as f64 + 1.0)).min(1.0),
        smoothed: None,
        lowest: f64::INFINITY,
        since: 0,
    };
    let (mut history, mut end, mut steps) = (Vec::new(), End::Steps, 0);
    while steps < settings.steps {
        let mut stream = Stream::new(seed, steps as u64);
        for number in work.numbers() {
            *number = draw.row(&mut stream);
        }
        let due = work.due(batch);
        let (inertia, mut shift) = work.step()?;
        let mut reassigned = 0;
        if due && settings.ratio > 0.0 {
            reassigned = work.reassign(settings.ratio, &mut stream);
        }
        if reassigned > 0 {
            // Centres that were just moved elsewhere are not still.
            shift = f64::INFINITY;
        }
        steps += 1;
        // The first inertia is that of the start.
        let found = watch.look(inertia / batch as f64, steps == 1, shift, &settings);
        if settings.history {
            history.push(Step {
                inertia,
                smoothed: watch.smoothed.unwrap_or(f64::NAN),
                reassigned,
            });
        }
        if let Some(why) = found {
            end = why;
            break;
        }
        if steps == settings.steps && watch.smoothed.is_none() {
            watch.smoothed = Some(inertia / batch as f64);
        }
    }
    Ok(Fit {
        state: work.state(),
        steps,
        end,
        smoothed: watch.smoothed.unwrap_or(f64::NAN),
        history,
    })
}

/// Looks for the end.
struct Watch {
    /// Share of the newest inertia in the moving average.
    share: f64,
    smoothed: Option<f64>,
    lowest: f64,
    /// Steps since the lowest.
    since: usize,
}

impl Watch {
    fn look(&mut self, inertia: f64, first: bool, shift: f64, settings: &Settings) -> Option<End> {
        if first {
            return None;
        }
        let smoothed = match self.smoothed {
            None => inertia,
            Some(before) => before * (1.0 - self.share) + inertia * self.share,
        };
        self.smoothed = Some(smoothed);
        if settings.tol > 0.0 && shift <= settings.tol {
            return Some(End::Still);
        }
        if smoothed < self.lowest {
            (self.lowest, self.since) = (smoothed, 0);
        } else {
            self.since += 1;
        }
        if settings.patience.is_some_and(|most| self.since >= most) {
            return Some(End::NoImprovement);
        }
        None
    }
}

/// One step on all rows as they are, with their weights.
pub fn step<T: Real, P: Points<T>>(
    control: &Control,
    rows: &P,
    state: &State<T>,
    ratio: f64,
    seed: u64,
    number: u64,
) -> Result<(State<T>, Step)> {
    let count = rows.count();
    check_weights(rows.weights(), count)?;
    let mut work = Work::new(control, rows, state, count, true, false)?;
    for (i, number) in work.numbers().enumerate() {
        *number = i as u32;
    }
    let due = work.due(count);
    let (inertia, _) = work.step()?;
    let mut reassigned = 0;
    if due && ratio > 0.0 {
        reassigned = work.reassign(ratio, &mut Stream::new(seed, number));
    }
    let step = Step {
        inertia,
        smoothed: inertia / count as f64,
        reassigned,
    };
    Ok((work.state(), step))
}
