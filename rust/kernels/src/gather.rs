//! Collecting the codes of scattered rows.
//!
//! Nearly every code read here lies on a cache line of its own, so the time is that of memory:
//! what comes next is asked for early.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the cache line of an element; any place will do, since this reads nothing.
#[inline(always)]
pub fn ask<T>(elements: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let place = elements.as_ptr().wrapping_add(at);
        // SAFETY: SSE belongs to the baseline of x86-64; a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (elements, at);
}

/// Copies `column[row & mask]` for each of `rows`, and meanwhile asks for `next`, the column
/// that will be read after this one.
///
/// # Panics
/// If `out` has another length than `rows`, or a row lies behind the column.
pub fn gather_column(column: &[u8], rows: &[u32], mask: u32, next: &[u8], out: &mut [u8]) {
    assert_eq!(rows.len(), out.len());
    for (o, &row) in out.iter_mut().zip(rows) {
        let row = (row & mask) as usize;
        ask(next, row);
        *o = column[row];
    }
}

/// Cache lines that are on their way at a time.
const AHEAD: usize = 24;

/// Some columns of a table that lies row by row.
#[derive(Clone, Debug, Default)]
pub struct RowGather {
    width: usize,
    columns: Vec<u32>,
    /// A place on each cache line that the columns touch.
    lines: Vec<u32>,
}

impl RowGather {
    /// Turns to these columns of a table `width` wide.
    ///
    /// # Panics
    /// If a column lies beyond the width.
    pub fn choose(&mut self, width: usize, columns: impl IntoIterator<Item = usize>) {
        self.width = width;
        self.columns.clear();
        self.columns.extend(columns.into_iter().map(|c| {
            assert!(c < width);
            c as u32
        }));
        self.lines.clear();
        self.lines.extend_from_slice(&self.columns);
        self.lines.sort_unstable();
        self.lines.dedup_by_key(|c| *c / LINE as u32);
    }

    /// Copies the codes of `rows` (each `row & mask`), one column after another.
    ///
    /// # Panics
    /// If `out` does not hold just these codes, or a row lies behind the table.
    pub fn gather(&self, table: &[u8], rows: &[u32], mask: u32, out: &mut [u8]) {
        let (width, n) = (self.width, rows.len());
        assert_eq!(out.len(), self.columns.len() * n);
        let ahead = (AHEAD / self.lines.len().max(1)).clamp(3, 16);
        for (i, &row) in rows.iter().enumerate() {
            if let Some(&row) = rows.get(i + ahead) {
                let start = (row & mask) as usize * width;
                for &line in &self.lines {
                    ask(table, start + line as usize);
                }
            }
            let start = (row & mask) as usize * width;
            let cells = &table[start..start + width];
            let mut place = i;
            for &column in &self.columns {
                // SAFETY: `choose` has checked that columns are below `width`, the length of
                // `cells`; `place` is `i + j * n` for the j-th column, and `out` has `n` places
                // for each column, of which `i` is below `n`.
                unsafe {
                    *out.get_unchecked_mut(place) = *cells.get_unchecked(column as usize);
                }
                place += n;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_and_columns_give_the_same(
            rows in 1usize..200,
            width in 1usize..300,
            picks in prop::collection::vec(0u32.., 0..150),
            columns in prop::collection::vec(0usize..300, 0..40),
        ) {
            let table: Vec<u8> = (0..rows * width).map(|i| (i * 167 % 251) as u8).collect();
            let mask = 255;
            let picks: Vec<u32> = picks
                .into_iter()
                .map(|p| (p & !mask) | ((p & mask) % rows as u32))
                .collect();
            let columns: Vec<usize> = columns.into_iter().map(|c| c % width).collect();
            let mut chosen = RowGather::default();
            chosen.choose(width, columns.iter().copied());
            let mut out = vec![0; columns.len() * picks.len()];
            chosen.gather(&table, &picks, mask, &mut out);
            for (j, &c) in columns.iter().enumerate() {
                let column: Vec<u8> = (0..rows).map(|r| table[r * width + c]).collect();
                let mut single = vec![0; picks.len()];
                gather_column(&column, &picks, mask, &table, &mut single);
                let expected: Vec<u8> =
                    picks.iter().map(|p| column[(p & mask) as usize]).collect();
                prop_assert_eq!(&single, &expected);
                prop_assert_eq!(&out[j * picks.len()..(j + 1) * picks.len()], &expected);
            }
        }
    }
}
