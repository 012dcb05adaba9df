//! Where a node's cells come from: all rows, or the copied rows of a block.

use super::codes::{Coded, code_of};
use ironlearn_kernels::bytes::rows_equal;
use ironlearn_kernels::cells::{
    Cell, Places, TILE, extremes, key_of, of_key, prefetch, transpose_tile,
};
use ironlearn_kernels::gather::ask;
use ironlearn_kernels::tier::Tier;

/// Bytes of a cache line.
const LINE: usize = 64;

/// The extremes of a feature in a node: cells, and the values behind them.
#[derive(Clone, Copy)]
pub(super) struct Span<C> {
    cells: (C, C),
    pub low: f32,
    pub high: f32,
}

/// Cells of a node.
pub(super) trait Source: Sync {
    type Cell: Cell;

    /// Rows that places may point to.
    fn rows(&self) -> usize;

    /// Gathers a feature's cells. `None` where all are the same. Meanwhile those of the feature
    /// `next` may be asked for.
    fn gather(
        &self,
        feature: usize,
        next: usize,
        places: &Places,
        cells: &mut [Self::Cell],
    ) -> Option<Span<Self::Cell>>;

    /// The largest cell on the left of a cut, which lies a share of `share` of the way through
    /// the span. Cells may be changed, but not their side.
    fn cut(
        &self,
        feature: usize,
        places: &Places,
        cells: &mut [Self::Cell],
        span: &Span<Self::Cell>,
        share: f64,
        cut: f64,
    ) -> Self::Cell;
}

/// All rows, in codes. Values are looked up where a code stands for several.
pub(super) struct All<'a> {
    pub coded: &'a Coded,
    pub x: &'a [f32],
    pub tier: Tier,
}

impl All<'_> {
    fn value(&self, row: u32, feature: usize) -> f32 {
        let row = self.coded.order()[row as usize] as usize;
        self.x[row * self.coded.features + feature] + 0.0
    }

    /// Calls `visit` with each place whose cell has this code.
    fn each(cells: &[u8], code: u8, mut visit: impl FnMut(usize)) {
        let mut words = Vec::new();
        rows_equal(cells, code, &mut words);
        for (block, mut word) in words.into_iter().enumerate() {
            while word != 0 {
                visit(block * 64 + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
    }
}

impl Source for All<'_> {
    type Cell = u8;

    fn rows(&self) -> usize {
        self.coded.rows
    }

    #[inline]
    fn gather(
        &self,
        feature: usize,
        next: usize,
        places: &Places,
        cells: &mut [u8],
    ) -> Option<Span<u8>> {
        let column = |feature| self.coded.column(feature);
        places.gather_ahead(column(feature), column(next), cells);
        let ends = extremes(self.tier, cells);
        if self.coded.is_exact(feature) {
            let edges = self.coded.edges(feature);
            return (ends.0 < ends.1).then(|| Span {
                cells: ends,
                low: edges[usize::from(ends.0)],
                high: edges[usize::from(ends.1)],
            });
        }
        let value = |i: usize| self.value(places.at()[i], feature);
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        Self::each(cells, ends.0, |i| low = low.min(value(i)));
        Self::each(cells, ends.1, |i| high = high.max(value(i)));
        (low < high).then_some(Span {
            cells: ends,
            low,
            high,
        })
    }

    #[inline]
    fn cut(
        &self,
        feature: usize,
        places: &Places,
        cells: &mut [u8],
        span: &Span<u8>,
        share: f64,
        cut: f64,
    ) -> u8 {
        let edges = self.coded.edges(feature);
        if self.coded.is_exact(feature) {
            return exact_cut(edges, span, share, cut);
        }
        let cut = round_down(cut);
        // Rows with the code of the cut may be on either side: those on the left move to the
        // code below, or, where there is none, those on the right to the one above.
        let code = code_of(cut, edges);
        let mut moved = Vec::new();
        Self::each(cells, code, |i| {
            if (self.value(places.at()[i], feature) <= cut) == (code > 0) {
                moved.push(i);
            }
        });
        for i in moved {
            cells[i] = if code > 0 { code - 1 } else { 1 };
        }
        code.saturating_sub(1)
    }
}

/// Where codes are exact: the largest code whose value is at most `cut`.
#[inline]
fn exact_cut(edges: &[f32], span: &Span<u8>, share: f64, cut: f64) -> u8 {
    let (low, high) = span.cells;
    // Where values are evenly spread the first guess is right.
    let guess = low + (share * f64::from(high - low)) as u8;
    let at = usize::from(guess);
    if guess < high && f64::from(edges[at]) <= cut && cut < f64::from(edges[at + 1]) {
        return guess;
    }
    let between = &edges[usize::from(low) + 1..usize::from(high)];
    low + between.partition_point(|&value| f64::from(value) <= cut) as u8
}

/// The largest f32 not above `value`: an f32 is at most the one where it is at most the other.
#[inline]
fn round_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value {
        near.next_down()
    } else {
        near
    }
}

/// The rows of a block, copied as columns.
pub(super) struct Block<'a, C> {
    pub coded: &'a Coded,
    pub cells: &'a [C],
    pub rows: usize,
    pub tier: Tier,
}

/// A cell of a block, which tells all values apart.
pub(super) trait Exact: Cell {
    /// The value of a cell.
    fn value(coded: &Coded, feature: usize, cell: Self) -> f32;

    /// The largest cell whose value is at most `cut`.
    fn cut(coded: &Coded, feature: usize, span: &Span<Self>, share: f64, cut: f64) -> Self;

    /// Copies some rows to `out`, as columns. `x` is what was coded.
    fn copy_rows(coded: &Coded, x: &[f32], rows: &[u32], out: &mut [Self]);
}

impl<C: Exact> Source for Block<'_, C> {
    type Cell = C;

    fn rows(&self) -> usize {
        self.rows
    }

    #[inline]
    fn gather(
        &self,
        feature: usize,
        _: usize,
        places: &Places,
        cells: &mut [C],
    ) -> Option<Span<C>> {
        places.gather(&self.cells[feature * self.rows..][..self.rows], cells);
        let ends = extremes(self.tier, cells);
        (ends.0 < ends.1).then(|| Span {
            cells: ends,
            low: C::value(self.coded, feature, ends.0),
            high: C::value(self.coded, feature, ends.1),
        })
    }

    #[inline]
    fn cut(
        &self,
        feature: usize,
        _: &Places,
        _: &mut [C],
        span: &Span<C>,
        share: f64,
        cut: f64,
    ) -> C {
        C::cut(self.coded, feature, span, share, cut)
    }
}

/// Codes, where all features are exact.
impl Exact for u8 {
    #[inline]
    fn value(coded: &Coded, feature: usize, cell: u8) -> f32 {
        coded.edges(feature)[usize::from(cell)]
    }

    #[inline]
    fn cut(coded: &Coded, feature: usize, span: &Span<u8>, share: f64, cut: f64) -> u8 {
        exact_cut(coded.edges(feature), span, share, cut)
    }

    fn copy_rows(coded: &Coded, _: &[f32], rows: &[u32], out: &mut [u8]) {
        let (features, count) = (coded.features, rows.len());
        let whole = (features - features % TILE, count - count % TILE);
        for &number in rows.iter().take(TILE) {
            prefetch(coded.row(number));
        }
        for start in (0..whole.1).step_by(TILE) {
            let later = &rows[start + TILE..];
            for first in (0..whole.0).step_by(TILE) {
                if first % LINE == 0 {
                    for &number in later.iter().take(TILE) {
                        ask(coded.row(number), first);
                    }
                }
                let mut tile = [[0; TILE]; TILE];
                for (cells, &number) in tile.iter_mut().zip(&rows[start..]) {
                    cells.copy_from_slice(&coded.row(number)[first..first + TILE]);
                }
                for (j, cells) in transpose_tile(tile).iter().enumerate() {
                    out[(first + j) * count + start..][..TILE].copy_from_slice(cells);
                }
            }
        }
        // What does not fill a tile.
        for (i, &number) in rows.iter().enumerate() {
            let first = if i < whole.1 { whole.0 } else { 0 };
            for (feature, &cell) in coded.row(number).iter().enumerate().skip(first) {
                out[feature * count + i] = cell;
            }
        }
    }
}

/// Keys of the values themselves.
impl Exact for i32 {
    #[inline]
    fn value(_: &Coded, _: usize, cell: i32) -> f32 {
        of_key(cell)
    }

    #[inline]
    fn cut(_: &Coded, _: usize, _: &Span<i32>, _: f64, cut: f64) -> i32 {
        // The key of the number rounded down, without a branch that would be mispredicted every
        // other time. Below zero comes the key of -0, which no cell has.
        let near = cut as f32;
        key_of(near) - i32::from(f64::from(near) > cut)
    }

    fn copy_rows(coded: &Coded, x: &[f32], rows: &[u32], out: &mut [i32]) {
        let features = coded.features;
        let row = |number: u32| {
            let number = coded.order()[number as usize] as usize;
            &x[number * features..][..features]
        };
        for (i, &number) in rows.iter().enumerate() {
            // First where a later row is, then the row itself.
            if let Some(&later) = rows.get(i + 3 * TILE) {
                prefetch(&coded.order()[later as usize..][..1]);
            }
            if let Some(&later) = rows.get(i + TILE) {
                prefetch(row(later));
            }
            for (feature, &value) in row(number).iter().enumerate() {
                out[feature * rows.len() + i] = key_of(value);
            }
        }
    }
}
