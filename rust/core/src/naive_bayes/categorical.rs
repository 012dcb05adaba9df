//! Categorical naive Bayes: counts of category, class and feature in one pass.
//!
//! Rows are read once, in order. A chunk of rows keeps a small table for each group of
//! features, which stays in a near cache while a block of rows passes; the tables of
//! all chunks are added up in chunk order. A group whose tables would be large (identifiers
//! as categories) is counted afterwards, feature by feature, straight into the answer.

use crate::error::{Error, Result};
use crate::naive_bayes::gaussian::argmax;
use crate::parallel::{Control, chunks, fill_chunks, map_chunks};
use ironlearn_kernels::codes::{Cell, Code, CountTable, ROWS, SumTable};
use ironlearn_kernels::tier;

/// Most counts of one model: 2 GB of `f64`.
const MOST_CELLS: usize = 1 << 28;
/// Most counts of one group of features in one chunk of rows.
const MOST_GROUP: usize = 1 << 19;
/// Rows of a chunk; fewer than a `u16` can count.
const CHUNK: usize = 2048;
/// Rows that pass one group after another while they are in the cache.
const BLOCK: usize = 256;
/// Rows that are looked at before tables are made.
const SAMPLE: usize = 64;
/// A feature with such a code among the first rows would make its whole group large.
const LARGE_CODE: u64 = 4096;

/// Weighted counts of classes, and of categories by feature and class.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// Sum of weights, one per class.
    pub class: Vec<f64>,
    /// Number of categories of each feature.
    pub categories: Vec<usize>,
    /// For each feature a matrix of `classes x categories`, one after another.
    pub cells: Vec<f64>,
}

impl Counts {
    /// The counts of no rows.
    pub fn init(classes: usize, features: usize) -> Counts {
        Counts {
            class: vec![0.0; classes],
            categories: vec![0; features],
            cells: Vec::new(),
        }
    }

    /// Checks that the three arrays fit together.
    pub fn check(&self) -> Result<()> {
        let size = checked_cells(self.class.len(), &self.categories)?;
        if size == self.cells.len() {
            Ok(())
        } else {
            Err(Error::Shape {
                name: "counts",
                given: format!("{} elements", self.cells.len()),
                expected: format!("{size}"),
            })
        }
    }

    /// Adds the counts `other` of further rows.
    pub fn merge(&mut self, other: &Counts) -> Result<()> {
        self.check()?;
        other.check()?;
        let classes = self.class.len();
        if other.class.len() != classes || other.categories.len() != self.categories.len() {
            return Err(Error::Shape {
                name: "counts",
                given: format!(
                    "{} classes and {} features",
                    other.class.len(),
                    other.categories.len()
                ),
                expected: format!("{classes} and {}", self.categories.len()),
            });
        }
        let pairs = self.categories.iter().zip(&other.categories);
        let categories: Vec<usize> = pairs.map(|(a, b)| *a.max(b)).collect();
        let mut cells = vec![0.0; checked_cells(classes, &categories)?];
        for part in [&*self, other] {
            let (mut from, mut to) = (0, 0);
            for (&n, &wide) in part.categories.iter().zip(&categories) {
                for class in 0..classes {
                    let source = &part.cells[from + class * n..from + (class + 1) * n];
                    for (sum, value) in cells[to + class * wide..].iter_mut().zip(source) {
                        *sum += value;
                    }
                }
                from += classes * n;
                to += classes * wide;
            }
        }
        for (sum, value) in self.class.iter_mut().zip(&other.class) {
            *sum += value;
        }
        self.categories = categories;
        self.cells = cells;
        Ok(())
    }
}

/// `classes` times the sum of `categories`, or an error where that is more than memory
/// should hold.
fn checked_cells(classes: usize, categories: &[usize]) -> Result<usize> {
    categories
        .iter()
        .try_fold(0usize, |sum, n| sum.checked_add(*n))
        .and_then(|sum| sum.checked_mul(classes))
        .filter(|size| *size <= MOST_CELLS)
        .ok_or_else(|| Error::TooLarge {
            what: "the number of categories of all features, times classes,",
            given: format!(
                "{} categories in the widest feature, {classes} classes",
                categories.iter().max().unwrap_or(&0)
            ),
            limit: MOST_CELLS.to_string(),
        })
}

fn negative(code: i64) -> Error {
    Error::InvalidParameter {
        name: "X",
        given: format!("the negative code {code}"),
        expected: "category codes 0, 1, 2, ...".into(),
    }
}

/// Counts of the codes `x` (row-major, `features` columns) by class.
///
/// A feature has as many categories as its largest code says, and at least
/// `min_categories` of them.
pub fn counts<C: Code>(
    control: &Control,
    x: &[C],
    features: usize,
    y: &[u32],
    weights: Option<&[f64]>,
    classes: usize,
    min_categories: Option<&[i64]>,
) -> Result<Counts> {
    if x.len() != y.len().saturating_mul(features) || classes == 0 || features == 0 {
        return Err(Error::Shape {
            name: "X",
            given: format!("{} elements", x.len()),
            expected: format!("{} x {features}", y.len()),
        });
    }
    if y.iter().any(|c| *c as usize >= classes) {
        return Err(Error::InvalidParameter {
            name: "y",
            given: "a code outside the classes".into(),
            expected: format!("codes below {classes}"),
        });
    }
    let data = Data {
        x,
        features,
        y,
        weights,
        classes,
        group: group_size(x, features, classes),
    };
    let mut out = match weights {
        None => data.total::<u16>(control, min_categories, |_| ())?,
        Some(weights) => data.total::<f64>(control, min_categories, |i| weights[i])?,
    };
    for (i, c) in y.iter().enumerate() {
        out.class[*c as usize] += weights.map_or(1.0, |w| w[i]);
    }
    Ok(out)
}

/// Features of one group: so many that rows are read in long runs, and so few that the
/// tables stay in the second-level cache.
fn group_size<C: Code>(x: &[C], features: usize, classes: usize) -> usize {
    let sample = &x[..x.len().min(SAMPLE * features)];
    if sample.iter().any(|code| code.index() >= LARGE_CODE) {
        8
    } else {
        ((1 << 18) / (16 * classes)).clamp(8, 1024)
    }
}

/// The tables of one group of features over one chunk of rows.
struct Group<W> {
    table: CountTable<W>,
    /// Number of categories that occurred, one a feature.
    seen: Vec<usize>,
}

/// What is counted.
struct Data<'a, C> {
    x: &'a [C],
    features: usize,
    y: &'a [u32],
    weights: Option<&'a [f64]>,
    classes: usize,
    /// Features of one group.
    group: usize,
}

impl<C: Code> Data<'_, C> {
    fn total<W: Cell>(
        &self,
        control: &Control,
        min_categories: Option<&[i64]>,
        weight: impl Fn(usize) -> W::Weight + Sync,
    ) -> Result<Counts> {
        let parts = map_chunks(control, self.y.len(), CHUNK, |rows| {
            self.chunk::<W>(control, rows, &weight)
        })?;
        let n_groups = self.features.div_ceil(self.group);
        // The tables of group g, one a chunk; `None` where one of them was too large.
        let tables = |g: usize| -> Option<Vec<&Group<W>>> {
            parts.iter().map(|part| part[g].as_ref()).collect()
        };
        let categories = map_chunks(control, n_groups, 1, |range| {
            let g = range.start;
            let columns = self.columns(g);
            match tables(g) {
                Some(tables) => Ok((0..columns.len())
                    .map(|j| tables.iter().map(|t| t.seen[j]).max().unwrap_or(0))
                    .collect::<Vec<_>>()),
                None => columns
                    .map(|j| self.column_categories(control, j))
                    .collect(),
            }
        })?;
        let mut categories: Vec<usize> = categories.into_iter().flatten().collect();
        if let Some(least) = min_categories {
            for (n, least) in categories.iter_mut().zip(least) {
                *n = (*n).max(usize::try_from(*least).unwrap_or(0));
            }
        }
        let size = checked_cells(self.classes, &categories)?;
        let filled = map_chunks(control, n_groups, 1, |range| {
            let g = range.start;
            let sizes = &categories[self.columns(g)];
            match tables(g) {
                Some(tables) => Ok(self.add_up(&tables, sizes)),
                None => self.count_columns(control, g, sizes),
            }
        })?;
        let mut cells = Vec::with_capacity(size);
        for part in &filled {
            cells.extend_from_slice(part);
        }
        Ok(Counts {
            class: vec![0.0; self.classes],
            categories,
            cells,
        })
    }

    fn columns(&self, g: usize) -> std::ops::Range<usize> {
        g * self.group..((g + 1) * self.group).min(self.features)
    }

    fn chunk<W: Cell>(
        &self,
        control: &Control,
        rows: std::ops::Range<usize>,
        weight: &impl Fn(usize) -> W::Weight,
    ) -> Result<Vec<Option<Group<W>>>> {
        let n_groups = self.features.div_ceil(self.group);
        let mut groups: Vec<Option<Group<W>>> = Vec::with_capacity(n_groups);
        for block in chunks(rows.len(), BLOCK) {
            control.check()?;
            let block = rows.start + block.start..rows.start + block.end;
            for g in 0..n_groups {
                let columns = self.columns(g);
                if block.start == rows.start {
                    let first = block.start..block.end.min(block.start + SAMPLE);
                    let room = self.room(first, columns.clone(), |_| 0)?;
                    groups.push(
                        CountTable::new(self.classes, &room, MOST_GROUP).map(|table| Group {
                            table,
                            seen: vec![0; columns.len()],
                        }),
                    );
                }
                if let Some(group) = &mut groups[g]
                    && !self.count_block(group, block.clone(), columns, weight)?
                {
                    groups[g] = None;
                }
            }
        }
        if self.weights.is_none() {
            for group in groups.iter_mut().flatten() {
                group.find_seen(self.classes);
            }
        }
        Ok(groups)
    }

    /// Counts a block of rows in one group; false where the table would become too large.
    #[inline]
    fn count_block<W: Cell>(
        &self,
        group: &mut Group<W>,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
        weight: &impl Fn(usize) -> W::Weight,
    ) -> Result<bool> {
        if self.weights.is_some() {
            // A category whose rows all have weight zero is known all the same.
            let room = self.room(rows.clone(), columns.clone(), |_| 0)?;
            for (seen, n) in group.seen.iter_mut().zip(room) {
                *seen = (*seen).max(usize::try_from(n).unwrap_or(usize::MAX));
            }
        }
        for i in rows.clone() {
            let row = &self.x[i * self.features..][columns.clone()];
            let mut next = 0;
            loop {
                next = group
                    .table
                    .add_row(self.y[i] as usize, row, next, weight(i));
                if next == row.len() {
                    break;
                }
                let next_rows = i..rows.end.min(i + SAMPLE);
                let room = self.room(next_rows, columns.clone(), |j| group.table.room(j))?;
                match group.table.grown(&room, MOST_GROUP) {
                    Some(wider) => group.table = wider,
                    None => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// The categories of each column in some rows, at least `least(j)`; where more are
    /// needed, somewhat more, so that tables grow seldom.
    fn room(
        &self,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
        least: impl Fn(usize) -> u64,
    ) -> Result<Vec<u64>> {
        let mut largest = vec![0u64; columns.len()];
        for i in rows {
            let row = &self.x[i * self.features..][columns.clone()];
            for (most, code) in largest.iter_mut().zip(row) {
                *most = (*most).max(code.index());
            }
        }
        let mut room = Vec::with_capacity(largest.len());
        for (j, most) in largest.into_iter().enumerate() {
            if most >> 63 != 0 {
                return Err(negative(most as i64));
            }
            let before = least(j);
            room.push(if most < before {
                before
            } else if before == 0 {
                most + 1
            } else {
                most + 1 + before / 2
            });
        }
        Ok(room)
    }

    /// Adds the tables of one group up, in chunk order.
    fn add_up<W: Cell>(&self, tables: &[&Group<W>], sizes: &[usize]) -> Vec<f64> {
        let mut cells = vec![0.0; sizes.iter().sum::<usize>() * self.classes];
        for group in tables {
            let mut to = 0;
            for (j, &n) in sizes.iter().enumerate() {
                for class in 0..self.classes {
                    let counts = &group.table.counts(class, j)[..group.seen[j]];
                    for (sum, count) in cells[to..to + n].iter_mut().zip(counts) {
                        *sum += count.value();
                    }
                    to += n;
                }
            }
        }
        cells
    }

    fn column(&self, j: usize) -> impl Iterator<Item = u64> {
        self.x[j..]
            .iter()
            .step_by(self.features)
            .map(|code| code.index())
    }

    fn column_categories(&self, control: &Control, j: usize) -> Result<usize> {
        control.check()?;
        let most = self.column(j).max().unwrap_or(0);
        if most >> 63 != 0 {
            return Err(negative(most as i64));
        }
        Ok(usize::try_from(most)
            .unwrap_or(usize::MAX)
            .saturating_add(1))
    }

    /// The counts of a group whose tables are large: one feature after another.
    fn count_columns(&self, control: &Control, g: usize, sizes: &[usize]) -> Result<Vec<f64>> {
        let mut cells = vec![0.0; sizes.iter().sum::<usize>() * self.classes];
        let mut rest = cells.as_mut_slice();
        for (j, &n) in self.columns(g).zip(sizes) {
            control.check()?;
            let (mine, others) = rest.split_at_mut(n * self.classes);
            for (i, code) in self.column(j).enumerate() {
                mine[self.y[i] as usize * n + code as usize] += self.weights.map_or(1.0, |w| w[i]);
            }
            rest = others;
        }
        Ok(cells)
    }
}

impl<W: Cell> Group<W> {
    /// Sets `seen` from the counts, where every row counts.
    fn find_seen(&mut self, classes: usize) {
        for (j, seen) in self.seen.iter_mut().enumerate() {
            *seen = (0..classes)
                .map(|class| {
                    let counts = self.table.counts(class, j);
                    counts
                        .iter()
                        .rposition(|count| count.value() > 0.0)
                        .map_or(0, |last| last + 1)
                })
                .max()
                .unwrap_or(0);
        }
    }
}

/// A fitted classifier: immutable, checked, ready to predict.
#[derive(Clone, Debug, PartialEq)]
pub struct CategoricalModel {
    counts: Counts,
    log_prior: Vec<f64>,
    alpha: f64,
    log_prob: Vec<f64>,
    table: SumTable,
}

impl CategoricalModel {
    /// Checks the arrays and computes the smoothed log-probabilities.
    ///
    /// The probability of category `i` of a feature in a class is
    /// `(count + alpha) / (sum of counts + alpha * categories)`; a category that never
    /// occurred has the same with a count of zero.
    pub fn new(counts: Counts, log_prior: Vec<f64>, alpha: f64) -> Result<CategoricalModel> {
        let classes = counts.class.len();
        counts.check()?;
        if classes == 0 || counts.categories.is_empty() || log_prior.len() != classes {
            return Err(Error::Shape {
                name: "log_prior",
                given: format!("{} elements", log_prior.len()),
                expected: format!("{classes} classes, at least one feature"),
            });
        }
        let sums = [&counts.class, &counts.cells];
        if sums
            .into_iter()
            .flatten()
            .any(|v| !(*v >= 0.0 && v.is_finite()))
        {
            return Err(Error::InvalidParameter {
                name: "counts",
                given: "NaN, infinity or a negative number".into(),
                expected: "finite and non-negative".into(),
            });
        }
        if log_prior.iter().any(|v| v.is_nan() || *v == f64::INFINITY) {
            return Err(Error::InvalidParameter {
                name: "log_prior",
                given: "NaN or infinity".into(),
                expected: "logarithms of probabilities".into(),
            });
        }
        if !(alpha >= 0.0 && alpha.is_finite()) {
            return Err(Error::InvalidParameter {
                name: "alpha",
                given: alpha.to_string(),
                expected: "finite and non-negative".into(),
            });
        }
        let mut log_prob = Vec::with_capacity(counts.cells.len());
        let mut unknown = Vec::with_capacity(counts.categories.len() * classes);
        let mut start = 0;
        let mut starts = Vec::with_capacity(counts.categories.len());
        for &n in &counts.categories {
            starts.push(start);
            for class in 0..classes {
                let mine = &counts.cells[start + class * n..start + (class + 1) * n];
                let total: f64 = mine.iter().map(|count| count + alpha).sum();
                let total = total.ln();
                log_prob.extend(mine.iter().map(|count| (count + alpha).ln() - total));
                unknown.push(alpha.ln() - total);
            }
            start += classes * n;
        }
        let table = SumTable::new(classes, &counts.categories, |j, i, c| {
            let n = counts.categories[j];
            if i < n {
                log_prob[starts[j] + c * n + i]
            } else {
                unknown[j * classes + c]
            }
        })
        .ok_or_else(|| Error::TooLarge {
            what: "the number of categories of all features, times classes,",
            given: counts.cells.len().to_string(),
            limit: MOST_CELLS.to_string(),
        })?;
        Ok(CategoricalModel {
            counts,
            log_prior,
            alpha,
            log_prob,
            table,
        })
    }

    /// The counts that the model was made of.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
    /// Logarithms of the class priors.
    pub fn log_prior(&self) -> &[f64] {
        &self.log_prior
    }
    /// The smoothing.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }
    /// Log-probabilities, laid out as the counts.
    pub fn log_prob(&self) -> &[f64] {
        &self.log_prob
    }
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.counts.class.len()
    }
    /// Number of features.
    pub fn features(&self) -> usize {
        self.counts.categories.len()
    }

    /// `log P(class) + log P(row | class)`, `rows x classes`.
    pub fn joint_log_likelihood<C: Code>(&self, control: &Control, x: &[C]) -> Result<Vec<f64>> {
        self.check_width(x.len())?;
        let (d, k) = (self.features(), self.classes());
        let mut out = vec![0.0; x.len() / d * k];
        fill_chunks(control, &mut out, k, self.chunk(), |range, part| {
            self.joint_block(&x[range.start * d..range.end * d], part)
        })?;
        Ok(out)
    }

    /// The index of the likeliest class of each row (the first among equals).
    pub fn predict<C: Code>(&self, control: &Control, x: &[C]) -> Result<Vec<i64>> {
        self.check_width(x.len())?;
        let (d, k) = (self.features(), self.classes());
        let mut out = vec![0i64; x.len() / d];
        fill_chunks(control, &mut out, 1, self.chunk(), |range, part| {
            let mut joint = vec![0.0; part.len() * k];
            self.joint_block(&x[range.start * d..range.end * d], &mut joint)?;
            for (code, row) in part.iter_mut().zip(joint.chunks_exact(k)) {
                *code = argmax(row) as i64;
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// Rows in one chunk: enough work to hand out.
    fn chunk(&self) -> usize {
        ((1 << 16) / self.features()).clamp(16, 1024) / ROWS * ROWS
    }

    fn check_width(&self, elements: usize) -> Result<()> {
        if elements.is_multiple_of(self.features()) {
            Ok(())
        } else {
            Err(Error::Shape {
                name: "X",
                given: format!("{elements} elements"),
                expected: format!("rows of {} features", self.features()),
            })
        }
    }

    fn joint_block<C: Code>(&self, block: &[C], out: &mut [f64]) -> Result<()> {
        let tier = tier::active();
        let (d, k) = (self.features(), self.classes());
        let mut bad = false;
        for (rows, answers) in block.chunks(ROWS * d).zip(out.chunks_mut(ROWS * k)) {
            let n = rows.len() / d;
            // A short last group repeats its last row; the extra answers are dropped.
            let group: [&[C]; ROWS] = std::array::from_fn(|r| {
                let r = r.min(n - 1);
                &rows[r * d..(r + 1) * d]
            });
            bad |= self.table.sums(tier, group, answers);
            for row in answers.chunks_exact_mut(k) {
                for (sum, prior) in row.iter_mut().zip(&self.log_prior) {
                    *sum += prior;
                }
            }
        }
        if bad && let Some(code) = block.iter().map(|c| c.index() as i64).find(|c| *c < 0) {
            return Err(negative(code));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "categorical_tests.rs"]
mod tests;
