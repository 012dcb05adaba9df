//! The training data in one byte a cell, the rows in an order that keeps those of a class
//! together.

use crate::error::Result;
use crate::parallel::{Control, fill_chunks, map_chunks};
use crate::tree::params::TrainingSet;
use ironlearn_kernels::cells::{TILE, transpose_tile};

/// Distinct codes.
const CODES: usize = 256;

/// Columns that are coded together: one cache line of a row of X.
const GROUP: usize = 16;

/// Values that edges are chosen from.
const SAMPLE: usize = 1 << 15;

/// Codes keep the order of the values. Where a feature has at most 256 values each has a code
/// of its own; otherwise a code stands for all values between two edges.
pub(super) struct Coded {
    pub rows: usize,
    pub features: usize,
    codes: Vec<u8>,
    /// The same row by row, where all features are exact.
    by_row: Vec<u8>,
    /// 256 largest values of a code, the last ones infinite: one table for all features, so that
    /// it stays in the first-level cache, or else one for each.
    edges: Vec<f32>,
    shared: bool,
    /// Whether each code of a feature stands for one value.
    exact: Vec<bool>,
    /// Where each row is in X.
    order: Vec<u32>,
}

impl Coded {
    /// Codes finite values.
    pub fn new(data: &TrainingSet, order: Vec<u32>, control: &Control) -> Result<Coded> {
        let (rows, features) = (data.rows, data.features);
        let groups = map_chunks(control, features, GROUP, |range| {
            let width = range.len();
            let mut values = vec![0.0f32; rows * width];
            for (i, &row) in order.iter().enumerate() {
                let row = &data.x[row as usize * features..][..features];
                for (j, &value) in row[range.clone()].iter().enumerate() {
                    // Turns -0.0 into 0.0, which has the same order but other bits.
                    values[j * rows + i] = value + 0.0;
                }
            }
            let mut codes = vec![0; rows * width];
            let mut edges = vec![f32::INFINITY; CODES * width];
            let mut exact = Vec::with_capacity(width);
            for ((column, codes), edges) in values
                .chunks_exact(rows)
                .zip(codes.chunks_exact_mut(rows))
                .zip(edges.chunks_exact_mut(CODES))
            {
                control.check()?;
                exact.push(code_column(column, edges, codes));
            }
            Ok((codes, edges, exact))
        })?;
        let mut coded = Coded {
            rows,
            features,
            codes: Vec::with_capacity(rows * features),
            by_row: Vec::new(),
            edges: Vec::with_capacity(CODES * features),
            shared: false,
            exact: Vec::with_capacity(features),
            order,
        };
        for (codes, edges, exact) in groups {
            coded.codes.extend_from_slice(&codes);
            coded.edges.extend_from_slice(&edges);
            coded.exact.extend_from_slice(&exact);
        }
        if coded.all_exact() {
            coded.share_edges(control)?;
            coded.by_row = coded.turned(control)?;
        }
        Ok(coded)
    }

    /// Uses the same codes for all features where they have few enough values together.
    fn share_edges(&mut self, control: &Control) -> Result<()> {
        let mut shared: Vec<f32> = Vec::new();
        for edges in self.edges.chunks_exact(CODES) {
            // Two sorted runs, which this sort only merges.
            shared.extend(edges.iter().filter(|edge| edge.is_finite()));
            shared.sort_by(f32::total_cmp);
            shared.dedup();
            if shared.len() > CODES {
                return Ok(());
            }
        }
        shared.resize(CODES, f32::INFINITY);
        let edges = &self.edges;
        fill_chunks(control, &mut self.codes, self.rows, 1, |range, column| {
            let own = &edges[range.start * CODES..][..CODES];
            if own != shared {
                let codes: [u8; CODES] = std::array::from_fn(|i| code_of(own[i], &shared));
                for code in column {
                    *code = codes[usize::from(*code)];
                }
            }
            Ok(())
        })?;
        self.edges = shared;
        self.shared = true;
        Ok(())
    }

    fn turned(&self, control: &Control) -> Result<Vec<u8>> {
        let features = self.features;
        let mut by_row = vec![0u8; self.rows * features];
        fill_chunks(control, &mut by_row, features, 256, |range, part| {
            let whole = (features - features % TILE, range.len() - range.len() % TILE);
            for first in (0..whole.0).step_by(TILE) {
                for start in (0..whole.1).step_by(TILE) {
                    let mut tile = [[0; TILE]; TILE];
                    for (j, cells) in tile.iter_mut().enumerate() {
                        let column = self.column(first + j);
                        cells.copy_from_slice(&column[range.start + start..][..TILE]);
                    }
                    for (i, cells) in transpose_tile(tile).iter().enumerate() {
                        part[(start + i) * features + first..][..TILE].copy_from_slice(cells);
                    }
                }
            }
            for feature in 0..features {
                let from = if feature < whole.0 { whole.1 } else { 0 };
                for i in from..range.len() {
                    part[i * features + feature] = self.column(feature)[range.start + i];
                }
            }
            Ok(())
        })?;
        Ok(by_row)
    }

    /// The codes of a feature.
    #[inline]
    pub fn column(&self, feature: usize) -> &[u8] {
        &self.codes[feature * self.rows..(feature + 1) * self.rows]
    }

    /// The codes of a row; only where all features are exact.
    #[inline]
    pub fn row(&self, row: u32) -> &[u8] {
        &self.by_row[row as usize * self.features..][..self.features]
    }

    /// The largest value of each code of a feature.
    #[inline]
    pub fn edges(&self, feature: usize) -> &[f32] {
        let table = if self.shared { 0 } else { feature };
        &self.edges[table * CODES..][..CODES]
    }

    /// Whether each code of a feature stands for one value.
    #[inline]
    pub fn is_exact(&self, feature: usize) -> bool {
        self.exact[feature]
    }

    /// Whether that holds for every feature.
    pub fn all_exact(&self) -> bool {
        self.exact.iter().all(|&exact| exact)
    }

    /// Where each row is in X.
    #[inline]
    pub fn order(&self) -> &[u32] {
        &self.order
    }
}

/// Codes a column. Returns whether each code stands for one value.
fn code_column(values: &[f32], edges: &mut [f32], out: &mut [u8]) -> bool {
    edges.fill(f32::INFINITY);
    if code_few(values, edges, out) {
        return true;
    }
    let step = values.len().div_ceil(SAMPLE).max(1);
    let mut sample: Vec<f32> = values.iter().copied().step_by(step).collect();
    sample.sort_unstable_by(f32::total_cmp);
    let mut known = sample.clone();
    known.dedup();
    // Quantiles of the rows; of the distinct values where a few values are most rows.
    let quantile = |sorted: &[f32], q: usize| sorted[(q * sorted.len() / CODES).max(1) - 1];
    let mut chosen: Vec<f32> = (1..CODES).map(|q| quantile(&sample, q)).collect();
    chosen.dedup();
    if chosen.len() < CODES / 2 {
        chosen = (1..CODES).map(|q| quantile(&known, q)).collect();
        chosen.dedup();
    }
    edges.fill(f32::INFINITY);
    edges[..chosen.len()].copy_from_slice(&chosen);
    code_by_edges(values, edges, out);
    false
}

/// The number of edges below a value.
#[inline]
pub(super) fn code_of(value: f32, edges: &[f32]) -> u8 {
    edges[..CODES - 1].partition_point(|&edge| edge < value) as u8
}

/// Codes a column of at most 256 different values, each with a code of its own. Returns false as
/// soon as there are more.
fn code_few(values: &[f32], edges: &mut [f32], out: &mut [u8]) -> bool {
    const SLOTS: usize = 1024;
    // The bits of a value, and its number in the order of appearance, counted from one.
    let mut slots = [(0u32, 0u16); SLOTS];
    let mut known: Vec<f32> = Vec::with_capacity(CODES);
    for (o, &value) in out.iter_mut().zip(values) {
        let bits = value.to_bits();
        let mut at = (bits.wrapping_mul(0x9e37_79b1) >> 22) as usize;
        while slots[at].1 != 0 && slots[at].0 != bits {
            at = (at + 1) % SLOTS;
        }
        if slots[at].1 == 0 {
            if known.len() == CODES {
                return false;
            }
            known.push(value);
            slots[at] = (bits, known.len() as u16);
        }
        *o = (slots[at].1 - 1) as u8;
    }
    let sorted = &mut edges[..known.len()];
    sorted.copy_from_slice(&known);
    sorted.sort_unstable_by(f32::total_cmp);
    let mut codes = [0; CODES];
    for (code, value) in codes.iter_mut().zip(&known) {
        *code = edges[..known.len()].partition_point(|edge| edge < value) as u8;
    }
    for o in out {
        *o = codes[usize::from(*o)];
    }
    true
}

/// The same for many values, by binary search without branches.
fn code_by_edges(values: &[f32], edges: &[f32], out: &mut [u8]) {
    const LANES: usize = 16;
    let mut padded = [f32::INFINITY; CODES];
    padded[..CODES - 1].copy_from_slice(&edges[..CODES - 1]);
    for (values, out) in values.chunks(LANES).zip(out.chunks_mut(LANES)) {
        let mut lanes = [0.0; LANES];
        lanes[..values.len()].copy_from_slice(values);
        let mut at = [0usize; LANES];
        let mut step = CODES / 2;
        while step > 0 {
            for (a, &value) in at.iter_mut().zip(&lanes) {
                let next = *a + step;
                *a = if padded[(next - 1) % CODES] < value {
                    next
                } else {
                    *a
                };
            }
            step /= 2;
        }
        for (o, at) in out.iter_mut().zip(at) {
            *o = at as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use crate::tree::Targets;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn codes_keep_the_order(
            values in prop::collection::vec((-2000i32..2000, 0u8..4), 40..1500),
            features in 1usize..40,
            few in any::<bool>(),
        ) {
            let rows = values.len() / features;
            let number = |&(v, heavy): &(i32, u8)| match (few, heavy) {
                (true, _) => (v % 50) as f32,
                (false, 0) => 7.0,
                (false, _) => v as f32 * 0.37,
            };
            let x: Vec<f32> = values[..rows * features].iter().map(number).collect();
            let data = TrainingSet {
                x: &x,
                rows,
                features,
                targets: Targets::Classes { codes: &[], n_classes: &[] },
                weight: None,
                categorical: None,
                monotonic: None,
            };
            let mut order: Vec<u32> = (0..rows as u32).collect();
            Stream::new(5, 6).shuffle(&mut order);
            let coded = Coded::new(&data, order, &Control::serial()).unwrap();
            for feature in 0..features {
                let codes = coded.column(feature);
                let value = |row: usize| x[coded.order()[row] as usize * features + feature];
                let edges = coded.edges(feature);
                for row in 0..rows {
                    prop_assert_eq!(code_of(value(row), edges), codes[row]);
                    prop_assert!(value(row) <= edges[usize::from(codes[row])]);
                    if coded.is_exact(feature) {
                        prop_assert_eq!(value(row), edges[usize::from(codes[row])]);
                    }
                    if coded.all_exact() {
                        prop_assert_eq!(coded.row(row as u32)[feature], codes[row]);
                    }
                }
                let mut distinct: Vec<f32> = (0..rows).map(value).collect();
                distinct.sort_by(f32::total_cmp);
                distinct.dedup();
                prop_assert_eq!(coded.is_exact(feature), distinct.len() <= CODES);
            }
        }
    }

    #[test]
    fn values_that_the_sample_misses_have_codes_too() {
        let rows = 3 * SAMPLE;
        let mut values: Vec<f32> = (0..rows).map(|i| (i / 3 % 7) as f32).collect();
        (values[1], values[2], values[4]) = (-1.0, 2.5, 9.0);
        let (mut edges, mut codes) = (vec![f32::INFINITY; CODES], vec![0; rows]);
        assert!(code_column(&values, &mut edges, &mut codes));
        assert!(
            values
                .iter()
                .zip(&codes)
                .all(|(&v, &c)| edges[usize::from(c)] == v)
        );
        assert_eq!(edges.iter().filter(|e| e.is_finite()).count(), 10);
    }

    #[test]
    fn continuous_data_uses_most_codes() {
        let values: Vec<f32> = (0..5000).map(|i| ((i * 7919) % 5000) as f32).collect();
        let (mut edges, mut codes) = (vec![f32::INFINITY; CODES], vec![0; 5000]);
        assert!(!code_column(&values, &mut edges, &mut codes));
        let mut seen = [false; CODES];
        codes.iter().for_each(|&c| seen[usize::from(c)] = true);
        assert!(seen.iter().filter(|s| **s).count() > 250);
    }
}
