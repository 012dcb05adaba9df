//! One byte a cell: the codes that splits are searched on.

use crate::error::Result;
use crate::parallel::{Control, fill_chunks, map_chunks};
use crate::tree::bins::Bins;

/// Distinct codes.
pub(super) const CODES: usize = 256;

/// Columns of one group: one cache line of a row of X.
const GROUP: usize = 16;

/// Rows that quantiles are estimated from.
const SAMPLE: usize = 1 << 15;

/// What the codes of a feature mean.
pub(super) enum Meaning {
    /// Each code stands for one value (or one bin that is not to be split): its smallest and
    /// largest value.
    Exact { low: Vec<f32>, high: Vec<f32> },
    /// Codes only keep the order: a code holds several values.
    Ranges,
}

/// Codes of a group of columns, one column after another.
struct Group {
    codes: Vec<u8>,
    meaning: Vec<Meaning>,
}

/// The training data in codes. A larger code means a larger value; equal values have equal
/// codes.
pub(super) struct Coded {
    pub rows: usize,
    pub features: usize,
    groups: Vec<Group>,
    /// The same codes row by row, where asked for.
    by_row: Vec<u8>,
    /// The row of X for each row of codes.
    order: Vec<u32>,
}

impl Coded {
    /// Codes finite values. With `max_bins` codes are quantile bins that are never split.
    pub fn new(
        x: &[f32],
        rows: usize,
        features: usize,
        max_bins: usize,
        by_row: bool,
        order: Vec<u32>,
        control: &Control,
    ) -> Result<Coded> {
        assert_eq!(order.len(), rows);
        let groups = map_chunks(control, features, GROUP, |range| {
            let width = range.len();
            let mut values = vec![0.0f32; rows * width];
            for (i, &row) in order.iter().enumerate() {
                let start = row as usize * features;
                let row = &x[start..start + features];
                for (j, &value) in row[range.clone()].iter().enumerate() {
                    // Turns -0.0 into 0.0, which has the same order but other bits.
                    values[j * rows + i] = value + 0.0;
                }
            }
            let mut codes = vec![0; rows * width];
            let mut meaning = Vec::with_capacity(width);
            for (column, out) in values
                .chunks_exact_mut(rows)
                .zip(codes.chunks_exact_mut(rows))
            {
                control.check()?;
                meaning.push(code_column(column, max_bins, out));
            }
            Ok(Group { codes, meaning })
        })?;
        let mut coded = Coded {
            rows,
            features,
            groups,
            by_row: Vec::new(),
            order: Vec::new(),
        };
        if by_row {
            let mut cells = vec![0; rows * features];
            fill_chunks(control, &mut cells, features, 256, |range, part| {
                for feature in 0..features {
                    let column = &coded.column(feature)[range.clone()];
                    for (row, &code) in part.chunks_exact_mut(features).zip(column) {
                        row[feature] = code;
                    }
                }
                Ok(())
            })?;
            coded.by_row = cells;
        }
        coded.order = order;
        Ok(coded)
    }

    /// The codes of one feature.
    #[inline]
    pub fn column(&self, feature: usize) -> &[u8] {
        let start = feature % GROUP * self.rows;
        &self.groups[feature / GROUP].codes[start..start + self.rows]
    }

    /// The codes of one row; only where they were asked for.
    #[inline]
    pub fn row(&self, row: usize) -> &[u8] {
        &self.by_row[row * self.features..(row + 1) * self.features]
    }

    /// The codes of all rows, one row after another; empty where they were not asked for.
    #[inline]
    pub fn table(&self) -> &[u8] {
        &self.by_row
    }

    /// The row of X that a row of codes belongs to.
    #[inline]
    pub fn original(&self, row: usize) -> usize {
        self.order[row] as usize
    }

    /// The rows of X in the order of the codes.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Whether there are rows of codes.
    pub fn has_rows(&self) -> bool {
        !self.by_row.is_empty()
    }

    /// What the codes of a feature mean.
    #[inline]
    pub fn meaning(&self, feature: usize) -> &Meaning {
        &self.groups[feature / GROUP].meaning[feature % GROUP]
    }

    /// Whether a code of this feature may hold several values that can be told apart.
    #[inline]
    pub fn has_ranges(&self, feature: usize) -> bool {
        matches!(self.meaning(feature), Meaning::Ranges)
    }
}

fn code_column(values: &mut [f32], max_bins: usize, out: &mut [u8]) -> Meaning {
    if max_bins > 0 {
        let mut sorted = values.to_vec();
        let bins = Bins::new(&mut sorted, max_bins);
        for (o, &v) in out.iter_mut().zip(values.iter()) {
            *o = bins.code(v) as u8;
        }
        let Bins { low, high } = bins;
        return Meaning::Exact { low, high };
    }
    match distinct(values, out) {
        Some(low) => Meaning::Exact {
            high: low.clone(),
            low,
        },
        None => {
            code_by_edges(values, &edges(values), out);
            Meaning::Ranges
        }
    }
}

/// Gives each of at most 256 distinct values its rank as code and returns them in order.
fn distinct(values: &[f32], out: &mut [u8]) -> Option<Vec<f32>> {
    const SLOTS: usize = 1024;
    const FREE: u16 = u16::MAX;
    let mut keys = [0u32; SLOTS];
    let mut number = [FREE; SLOTS];
    let mut found: Vec<f32> = Vec::new();
    for (o, &value) in out.iter_mut().zip(values) {
        let bits = value.to_bits();
        let mut slot = (bits.wrapping_mul(0x9e37_79b1) >> 22) as usize;
        loop {
            if number[slot] == FREE {
                if found.len() == CODES {
                    return None;
                }
                keys[slot] = bits;
                number[slot] = found.len() as u16;
                found.push(value);
            }
            if keys[slot] == bits {
                break;
            }
            slot = (slot + 1) % SLOTS;
        }
        *o = number[slot] as u8;
    }
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_unstable_by(|&a, &b| found[a].total_cmp(&found[b]));
    let mut rank = [0u8; CODES];
    for (r, &i) in order.iter().enumerate() {
        rank[i] = r as u8;
    }
    for o in out.iter_mut() {
        *o = rank[usize::from(*o)];
    }
    Some(order.into_iter().map(|i| found[i]).collect())
}

/// At most 255 rising upper edges of bins: quantiles of a sample, and where heavy values leave
/// some over, quantiles of its distinct values.
fn edges(values: &[f32]) -> Vec<f32> {
    let step = values.len().div_ceil(SAMPLE).max(1);
    let mut sample: Vec<f32> = values.iter().copied().step_by(step).collect();
    sample.sort_unstable_by(f32::total_cmp);
    let quantiles = |sorted: &[f32], count: usize| -> Vec<f32> {
        let mut edges: Vec<f32> = (1..=count)
            .map(|q| sorted[(q * sorted.len() / (count + 1)).min(sorted.len() - 1)])
            .collect();
        edges.dedup();
        edges
    };
    let mut edges = quantiles(&sample, CODES - 1);
    let spare = CODES - 1 - edges.len();
    if spare > CODES / 4 {
        sample.dedup();
        edges.extend(quantiles(&sample, spare));
        edges.sort_unstable_by(f32::total_cmp);
        edges.dedup();
    }
    edges
}

/// The number of edges below each value, by binary search without branches.
fn code_by_edges(values: &[f32], edges: &[f32], out: &mut [u8]) {
    let mut padded = [f32::INFINITY; CODES];
    padded[..edges.len()].copy_from_slice(edges);
    const LANES: usize = 16;
    let search = |lanes: &[f32; LANES]| {
        let mut at = [0usize; LANES];
        let mut step = CODES / 2;
        while step > 0 {
            for (a, &value) in at.iter_mut().zip(lanes) {
                let next = *a + step;
                *a = if padded[(next - 1) % CODES] < value {
                    next
                } else {
                    *a
                };
            }
            step /= 2;
        }
        at
    };
    for (values, out) in values.chunks(LANES).zip(out.chunks_mut(LANES)) {
        let mut lanes = [0.0; LANES];
        lanes[..values.len()].copy_from_slice(values);
        for (o, at) in out.iter_mut().zip(search(&lanes)) {
            *o = at as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn as_given(rows: usize) -> Vec<u32> {
        (0..rows as u32).collect()
    }

    proptest! {
        #[test]
        fn codes_keep_the_order(
            values in prop::collection::vec((-2000i32..2000, 0u8..4), 1..1500),
            few in any::<bool>(),
        ) {
            let x: Vec<f32> = values
                .iter()
                .map(|&(v, heavy)| if few { (v % 50) as f32 } else if heavy == 0 { 7.0 } else { v as f32 })
                .collect();
            let coded = Coded::new(&x, x.len(), 1, 0, true, as_given(x.len()), &Control::serial()).unwrap();
            let codes = coded.column(0);
            for i in 0..x.len() {
                prop_assert_eq!(coded.row(i), &codes[i..=i]);
                if let Meaning::Exact { low, high } = coded.meaning(0) {
                    prop_assert_eq!(low[usize::from(codes[i])], x[i] + 0.0);
                    prop_assert_eq!(high[usize::from(codes[i])], x[i] + 0.0);
                }
            }
            prop_assert!(!few || !coded.has_ranges(0));
            let mut order: Vec<usize> = (0..x.len()).collect();
            order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
            for pair in order.windows(2) {
                let (a, b) = (pair[0], pair[1]);
                prop_assert!(codes[a] <= codes[b]);
                prop_assert!(x[a] != x[b] || codes[a] == codes[b]);
            }
        }
    }

    #[test]
    fn continuous_data_uses_most_codes() {
        let x: Vec<f32> = (0..5000).map(|i| ((i * 7919) % 5000) as f32).collect();
        let coded = Coded::new(&x, x.len(), 1, 0, false, as_given(x.len()), &Control::serial()).unwrap();
        let mut seen = [false; CODES];
        coded
            .column(0)
            .iter()
            .for_each(|&c| seen[usize::from(c)] = true);
        assert!(seen.iter().filter(|s| **s).count() > 250);
        assert!(coded.has_ranges(0) && !coded.has_rows());
    }
}
