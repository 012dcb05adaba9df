//! Loops over the cells of a column at chosen places: gathering, extremes, counting.
//!
//! Cells are integers whose order is that of the values behind them: one-byte codes, or the
//! keys of [`key_of`]. All tiers give the same answers.

use crate::gather::ask;
use crate::tier::Tier;
use std::hint::black_box;

/// A cell of a column.
pub trait Cell: Copy + Ord + Default + Send + Sync + 'static {}

impl Cell for u8 {}
impl Cell for i32 {}

/// The bits of a number that is not NaN, turned so that integers sort as the numbers do; -0 and
/// 0 are the same.
#[inline]
pub fn key_of(value: f32) -> i32 {
    let bits = (value + 0.0).to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// The number of a key.
#[inline]
pub fn of_key(key: i32) -> f32 {
    f32::from_bits((key ^ (((key >> 31) as u32) >> 1) as i32) as u32)
}

/// Places in columns, all below a bound: checked once, for gathering from many columns.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    at: &'a [u32],
    bound: usize,
}

impl<'a> Places<'a> {
    /// Checks the places.
    ///
    /// # Panics
    /// If a place is not below `bound`.
    pub fn new(at: &'a [u32], bound: usize) -> Self {
        let largest = at.iter().fold(0, |largest, &place| largest.max(place));
        assert!(
            at.is_empty() || (largest as usize) < bound,
            "place {largest} of {bound}"
        );
        Places { at, bound }
    }

    /// The places.
    #[inline]
    pub fn at(&self) -> &'a [u32] {
        self.at
    }

    /// Number of places.
    #[inline]
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Copies the cells at the places, in their order.
    ///
    /// # Panics
    /// If the column is shorter than the bound, or `out` has another length than the places.
    #[inline]
    pub fn gather<T: Copy>(&self, column: &[T], out: &mut [T]) {
        assert!(column.len() >= self.bound && out.len() == self.at.len());
        for (o, &place) in out.iter_mut().zip(self.at) {
            // SAFETY: every place is below `bound`, which the column reaches.
            *o = unsafe { *column.get_unchecked(place as usize) };
        }
    }

    /// The same, and meanwhile asks for the cells of the `next` column.
    ///
    /// # Panics
    /// As [`Places::gather`].
    #[inline]
    pub fn gather_ahead<T: Copy>(&self, column: &[T], next: &[T], out: &mut [T]) {
        assert!(column.len() >= self.bound && out.len() == self.at.len());
        for (o, &place) in out.iter_mut().zip(self.at) {
            ask(next, place as usize);
            // SAFETY: every place is below `bound`, which the column reaches.
            *o = unsafe { *column.get_unchecked(place as usize) };
        }
    }
}

/// Asks for all cells, which will be read soon, so that waiting for them overlaps with other work.
#[inline]
pub fn prefetch<T>(cells: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE: usize = 64;
        let start = cells.as_ptr().cast::<i8>();
        for byte in (0..size_of_val(cells)).step_by(LINE) {
            // SAFETY: SSE belongs to the baseline of x86-64, the address lies within the slice,
            // and a hint reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(byte)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = cells;
}

/// Rows and columns of a tile of bytes.
pub const TILE: usize = 16;

/// Turns 16 rows of 16 bytes into columns: byte j of row i becomes byte i of row j.
#[inline]
pub fn transpose_tile(rows: [[u8; TILE]; TILE]) -> [[u8; TILE]; TILE] {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        // SAFETY: SSE2 belongs to the baseline of x86-64, and both types are 256 plain bytes.
        unsafe {
            let mut from: [__m128i; TILE] = std::mem::transmute(rows);
            // Each round interleaves the upper half of the rows with the lower: after four
            // rounds the bits of a byte's row and column have changed places.
            for _ in 0..4 {
                let mut to = from;
                for i in 0..TILE / 2 {
                    to[2 * i] = _mm_unpacklo_epi8(from[i], from[i + TILE / 2]);
                    to[2 * i + 1] = _mm_unpackhi_epi8(from[i], from[i + TILE / 2]);
                }
                from = to;
            }
            std::mem::transmute(from)
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::array::from_fn(|j| std::array::from_fn(|i| rows[i][j]))
    }
}

/// Cells that are looked at side by side.
const LANES: usize = 32;

#[inline(always)]
fn extremes_body<C: Cell>(cells: &[C]) -> (C, C) {
    let first = cells.first().copied().unwrap_or_default();
    let (mut low, mut high) = ([first; LANES], [first; LANES]);
    let mut pieces = cells.chunks_exact(LANES);
    for piece in &mut pieces {
        for i in 0..LANES {
            low[i] = low[i].min(piece[i]);
            high[i] = high[i].max(piece[i]);
        }
    }
    let mut least = low.into_iter().min().unwrap_or(first);
    let mut most = high.into_iter().max().unwrap_or(first);
    for &cell in pieces.remainder() {
        least = least.min(cell);
        most = most.max(cell);
    }
    (least, most)
}

#[inline(always)]
fn few_extremes<C: Cell>(cells: &[C]) -> (C, C) {
    let first = cells.first().copied().unwrap_or_default();
    cells.iter().fold((first, first), |(low, high), &cell| {
        (low.min(cell), high.max(cell))
    })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn extremes_avx2<C: Cell>(cells: &[C]) -> (C, C) {
    extremes_body(cells)
}

/// The smallest and the largest cell; of no cells the default.
#[inline]
pub fn extremes<C: Cell>(tier: Tier, cells: &[C]) -> (C, C) {
    if cells.len() < LANES {
        return few_extremes(cells);
    }
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 => {
            debug_assert!(crate::tier::detected() >= Tier::Avx2);
            // SAFETY: these tiers are only made on processors with AVX2.
            unsafe { extremes_avx2(cells) }
        }
        _ => extremes_body(cells),
    }
}

#[inline(always)]
fn count_body<C: Cell>(cells: &[C], cut: C) -> u32 {
    let mut count = 0;
    for part in cells.chunks(255) {
        if size_of::<C>() == 1 {
            // At most 255 a chunk, so that the sum fits a byte and the loop runs on byte lanes.
            count += u32::from(part.iter().fold(0u8, |n, &c| n + u8::from(c <= cut)));
        } else {
            count += part.iter().fold(0u32, |n, &c| n + u32::from(c <= cut));
        }
    }
    count
}

#[inline(always)]
fn groups_body<C: Cell>(cells: &[C], cut: C, groups: &[u32], out: &mut [u32]) {
    let mut rest = cells;
    for (o, &rows) in out.iter_mut().zip(groups) {
        let (group, others) = rest.split_at(rows as usize);
        *o = count_body(group, cut);
        rest = others;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn groups_avx2<C: Cell>(cells: &[C], cut: C, groups: &[u32], out: &mut [u32]) {
    groups_body(cells, cut, groups, out);
}

/// Counts the cells of at most `cut` in each of the groups, which follow one another and have
/// these sizes.
///
/// # Panics
/// If there are fewer cells than the groups hold together.
#[inline]
pub fn count_groups<C: Cell>(tier: Tier, cells: &[C], cut: C, groups: &[u32], out: &mut [u32]) {
    if cells.len() < LANES {
        let mut at = cells.iter();
        for (o, &rows) in out.iter_mut().zip(groups) {
            *o = (0..rows)
                .map(|_| u32::from(*at.next().expect("a cell for each row") <= cut))
                .sum();
        }
        return;
    }
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 => {
            debug_assert!(crate::tier::detected() >= Tier::Avx2);
            // SAFETY: these tiers are only made on processors with AVX2.
            unsafe { groups_avx2(cells, cut, groups, out) }
        }
        _ => groups_body(cells, cut, groups, out),
    }
}

#[inline(always)]
fn sum_body<C: Cell>(cells: &[C], cut: C, numbers: &[f64]) -> (f64, u32) {
    let mut lanes = [0.0; 4];
    let mut rows = 0;
    let mut pieces = cells.chunks_exact(4).zip(numbers.chunks_exact(4));
    for (cells, numbers) in &mut pieces {
        for lane in 0..4 {
            let here = cells[lane] <= cut;
            let mask = u64::from(here).wrapping_neg();
            lanes[lane] += f64::from_bits(numbers[lane].to_bits() & mask);
            rows += u32::from(here);
        }
    }
    let done = cells.len() / 4 * 4;
    for (lane, (&cell, &number)) in cells[done..].iter().zip(&numbers[done..]).enumerate() {
        // Outside of vectors the compiler makes a branch of a mask whose origin it knows, and
        // that is mispredicted every other time.
        let here = black_box(u32::from(cell <= cut));
        let mask = u64::from(here).wrapping_neg();
        lanes[lane] += f64::from_bits(number.to_bits() & mask);
        rows += here;
    }
    ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]), rows)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2<C: Cell>(cells: &[C], cut: C, numbers: &[f64]) -> (f64, u32) {
    sum_body(cells, cut, numbers)
}

/// Adds up the numbers whose cell is at most `cut`, in four lanes, and counts them.
///
/// # Panics
/// If there are fewer numbers than cells.
#[inline]
pub fn sum_at_most<C: Cell>(tier: Tier, cells: &[C], cut: C, numbers: &[f64]) -> (f64, u32) {
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 if cells.len() >= LANES => {
            debug_assert!(crate::tier::detected() >= Tier::Avx2);
            // SAFETY: these tiers are only made on processors with AVX2.
            unsafe { sum_avx2(cells, cut, numbers) }
        }
        _ => sum_body(cells, cut, numbers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::supported;
    use proptest::prelude::*;

    fn check<C: Cell + std::fmt::Debug>(cells: &[C], cut: C, sizes: &[u32]) {
        let counts: Vec<u32> = {
            let mut rest = cells;
            sizes
                .iter()
                .map(|&n| {
                    let (group, others) = rest.split_at(n as usize);
                    rest = others;
                    group.iter().filter(|c| **c <= cut).count() as u32
                })
                .collect()
        };
        let numbers: Vec<f64> = (0..cells.len()).map(|i| (i as f64 + 0.3).sin()).collect();
        let mut lanes = [0.0; 4];
        for (i, &cell) in cells.iter().enumerate() {
            lanes[i % 4] += if cell <= cut { numbers[i] } else { 0.0 };
        }
        let sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
        for tier in supported() {
            let found = sum_at_most(tier, cells, cut, &numbers);
            assert_eq!(found, (sum, counts.iter().sum()));
            if let (Some(&low), Some(&high)) = (cells.iter().min(), cells.iter().max()) {
                assert_eq!(extremes(tier, cells), (low, high));
            }
            let mut out = vec![0; sizes.len()];
            count_groups(tier, cells, cut, sizes, &mut out);
            assert_eq!(out, counts);
        }
    }

    proptest! {
        #[test]
        fn tiers_agree_with_plain_loops(
            sizes in prop::collection::vec(0u32..700, 0..6),
            values in prop::collection::vec(any::<i32>(), 50),
            cut in any::<i32>(),
        ) {
            let rows: u32 = sizes.iter().sum();
            let keys: Vec<i32> = (0..rows as usize).map(|i| values[i * 7 % 50]).collect();
            check(&keys, cut, &sizes);
            let codes: Vec<u8> = keys.iter().map(|&k| k as u8).collect();
            check(&codes, cut as u8, &sizes);
        }

        #[test]
        fn keys_sort_as_numbers(a in any::<f32>(), b in any::<f32>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(a < b, key_of(a) < key_of(b));
            prop_assert_eq!(a == b, key_of(a) == key_of(b));
            prop_assert_eq!(of_key(key_of(a)), a);
        }

        #[test]
        fn gathering_picks_cells(at in prop::collection::vec(0u32..90, 0..200)) {
            let column: Vec<u8> = (0..90).map(|i| i * 2).collect();
            let mut out = vec![0; at.len()];
            let places = Places::new(&at, 90);
            places.gather(&column, &mut out);
            let mut ahead = vec![0; at.len()];
            places.gather_ahead(&column, &[], &mut ahead);
            prop_assert_eq!(&out, &ahead);
            prop_assert!(at.iter().zip(&out).all(|(&i, &o)| u32::from(o) == 2 * i));
        }
    }

    #[test]
    fn tiles_are_turned() {
        let rows: [[u8; TILE]; TILE] =
            std::array::from_fn(|i| std::array::from_fn(|j| (i * TILE + j) as u8));
        let turned = transpose_tile(rows);
        for i in 0..TILE {
            for j in 0..TILE {
                assert_eq!(turned[j][i], rows[i][j]);
            }
        }
    }

    #[test]
    #[should_panic(expected = "place 7 of 7")]
    fn places_stay_below_their_bound() {
        Places::new(&[3, 7], 7);
    }

    #[test]
    #[should_panic(expected = "bound")]
    fn short_columns_are_refused() {
        Places::new(&[3, 6], 7).gather(&[1u8; 6], &mut [0; 2]);
    }
}
