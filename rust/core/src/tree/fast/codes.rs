//! One byte a cell: the codes that splits are searched on.

use crate::error::Result;
use crate::parallel::{Control, fill_chunks, map_chunks};
use crate::tree::bins::Bins;
use ironlearn_kernels::gather::ask;
use std::ops::Range;

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
        let mut place = vec![0u32; rows];
        for (at, &row) in order.iter().enumerate() {
            place[row as usize] = at as u32;
        }
        let input = Input {
            x,
            features,
            place: &place,
        };
        let groups = map_chunks(control, features, GROUP, |range| {
            let mut codes = vec![0; rows * range.len()];
            let meaning = if max_bins > 0 {
                input.code_bins(range, max_bins, &mut codes, control)?
            } else {
                input.code(range, &mut codes, control)?
            };
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

/// Rows that are turned into columns at once.
const CHUNK: usize = 512;

/// Rows between the one whose memory is asked for and the one that is read.
const AHEAD: usize = 12;

/// X and where its rows go.
struct Input<'a> {
    x: &'a [f32],
    features: usize,
    /// The row of codes for each row of X.
    place: &'a [u32],
}

impl Input<'_> {
    /// Calls `visit` for each column of each chunk of rows with the column's number within the
    /// range, its values and where they go. Reads X row by row and copies only a chunk.
    fn by_chunk(
        &self,
        range: Range<usize>,
        control: &Control,
        mut visit: impl FnMut(usize, &[f32], &[u32]),
    ) -> Result<()> {
        let mut columns = vec![[0.0f32; CHUNK]; range.len()];
        for (rows, place) in self
            .x
            .chunks(CHUNK * self.features)
            .zip(self.place.chunks(CHUNK))
        {
            control.check()?;
            for (i, row) in rows.chunks_exact(self.features).enumerate() {
                ask(rows, (i + AHEAD) * self.features + range.start);
                for (column, &value) in columns.iter_mut().zip(&row[range.clone()]) {
                    // Turns -0.0 into 0.0, which has the same order but other bits.
                    column[i] = value + 0.0;
                }
            }
            for (j, column) in columns.iter().enumerate() {
                visit(j, &column[..place.len()], place);
            }
        }
        Ok(())
    }

    /// Codes columns without loss where they have at most 256 values, else by quantiles.
    fn code(
        &self,
        range: Range<usize>,
        codes: &mut [u8],
        control: &Control,
    ) -> Result<Vec<Meaning>> {
        let rows = self.place.len();
        let mut values: Vec<Values> = range.clone().map(|_| Values::new()).collect();
        self.by_chunk(range.clone(), control, |j, column, place| {
            values[j].code(column, place, &mut codes[j * rows..(j + 1) * rows]);
        })?;
        let mut cuts = Vec::new();
        for (j, (values, codes)) in values.iter().zip(codes.chunks_exact_mut(rows)).enumerate() {
            cuts.push(values.many.then(|| {
                let step = rows.div_ceil(SAMPLE).max(1);
                let column = self.x[range.start + j..].iter().step_by(self.features);
                edges(column.step_by(step).map(|&v| v + 0.0).collect())
            }));
            if !values.many {
                let rank = values.ranks();
                for code in codes {
                    *code = rank[usize::from(*code)];
                }
            }
        }
        if cuts.iter().any(Option::is_some) {
            self.by_chunk(range, control, |j, column, place| {
                if let Some(edges) = &cuts[j] {
                    code_by_edges(column, edges, place, &mut codes[j * rows..(j + 1) * rows]);
                }
            })?;
        }
        let meaning = values.into_iter().map(|values| {
            if values.many {
                return Meaning::Ranges;
            }
            let mut low = values.found;
            low.sort_unstable_by(f32::total_cmp);
            Meaning::Exact {
                high: low.clone(),
                low,
            }
        });
        Ok(meaning.collect())
    }

    /// Codes columns by at most `max_bins` bins each.
    fn code_bins(
        &self,
        range: Range<usize>,
        max_bins: usize,
        codes: &mut [u8],
        control: &Control,
    ) -> Result<Vec<Meaning>> {
        let rows = self.place.len();
        let mut meaning = Vec::with_capacity(range.len());
        for (feature, codes) in range.zip(codes.chunks_exact_mut(rows)) {
            control.check()?;
            let column = || self.x[feature..].iter().step_by(self.features);
            let mut sorted: Vec<f32> = column().map(|&v| v + 0.0).collect();
            let bins = Bins::new(&mut sorted, max_bins);
            for (&value, &at) in column().zip(self.place) {
                codes[at as usize] = bins.code(value + 0.0) as u8;
            }
            let Bins { low, high } = bins;
            meaning.push(Meaning::Exact { low, high });
        }
        Ok(meaning)
    }
}

/// Places of the table of distinct values: a power of two, mostly free.
const SLOTS: usize = 1024;
const FREE: u16 = u16::MAX;

/// The distinct values of a column, in the order in which they came.
struct Values {
    keys: [u32; SLOTS],
    number: [u16; SLOTS],
    found: Vec<f32>,
    /// Whether there are more than codes; then the rest is not looked at.
    many: bool,
}

impl Values {
    fn new() -> Values {
        Values {
            keys: [0; SLOTS],
            number: [FREE; SLOTS],
            found: Vec::new(),
            many: false,
        }
    }

    /// Writes each value's number to its place.
    fn code(&mut self, values: &[f32], place: &[u32], out: &mut [u8]) {
        if self.many {
            return;
        }
        for (&value, &at) in values.iter().zip(place) {
            let bits = value.to_bits();
            let mut slot = (bits.wrapping_mul(0x9e37_79b1) >> 22) as usize;
            loop {
                if self.number[slot] == FREE {
                    if self.found.len() == CODES {
                        self.many = true;
                        return;
                    }
                    self.keys[slot] = bits;
                    self.number[slot] = self.found.len() as u16;
                    self.found.push(value);
                }
                if self.keys[slot] == bits {
                    break;
                }
                slot = (slot + 1) % SLOTS;
            }
            out[at as usize] = self.number[slot] as u8;
        }
    }

    /// Each number's rank among the values.
    fn ranks(&self) -> [u8; CODES] {
        let mut order: Vec<usize> = (0..self.found.len()).collect();
        order.sort_unstable_by(|&a, &b| self.found[a].total_cmp(&self.found[b]));
        let mut rank = [0; CODES];
        for (r, i) in order.into_iter().enumerate() {
            rank[i] = r as u8;
        }
        rank
    }
}

/// At most 255 rising upper edges of bins: quantiles of a sample, and where heavy values leave
/// some over, quantiles of its distinct values.
fn edges(mut sample: Vec<f32>) -> Vec<f32> {
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

/// Writes the number of edges below each value to its place, by binary search without branches.
fn code_by_edges(values: &[f32], edges: &[f32], place: &[u32], out: &mut [u8]) {
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
    for (values, place) in values.chunks(LANES).zip(place.chunks(LANES)) {
        let mut lanes = [0.0; LANES];
        lanes[..values.len()].copy_from_slice(values);
        for (&at, code) in place.iter().zip(search(&lanes)) {
            out[at as usize] = code as u8;
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
        let coded = Coded::new(
            &x,
            x.len(),
            1,
            0,
            false,
            as_given(x.len()),
            &Control::serial(),
        )
        .unwrap();
        let mut seen = [false; CODES];
        coded
            .column(0)
            .iter()
            .for_each(|&c| seen[usize::from(c)] = true);
        assert!(seen.iter().filter(|s| **s).count() > 250);
        assert!(coded.has_ranges(0) && !coded.has_rows());
    }
}
