//! Loops over category codes: counting them by class, and adding up a table's rows.
//!
//! Both tables keep their layout private, so that a checked code is always a valid place.

use crate::tier::{Tier, detected};

/// An integer that numbers a category.
pub trait Code: Copy + Send + Sync + 'static {
    /// The value, sign-extended: a negative code becomes larger than every valid one.
    fn index(self) -> u64;
}
macro_rules! code {
    ($($kind:ty),*) => {$(
        impl Code for $kind {
            #[inline(always)]
            fn index(self) -> u64 {
                self as i64 as u64
            }
        }
    )*};
}
code!(u8, u16, i32, i64);

/// What a place of a [`CountTable`] adds up.
pub trait Cell: Copy + Default + Send + Sync {
    /// The weight of one row.
    type Weight: Copy;
    /// Adds one row.
    fn add(&mut self, weight: Self::Weight);
    /// The sum.
    fn value(self) -> f64;
}

/// Rows of weight one; no more than 65,535 of them.
impl Cell for u16 {
    type Weight = ();
    #[inline(always)]
    fn add(&mut self, (): ()) {
        *self = self.wrapping_add(1);
    }
    fn value(self) -> f64 {
        f64::from(self)
    }
}

impl Cell for f64 {
    type Weight = f64;
    #[inline(always)]
    fn add(&mut self, weight: f64) {
        *self += weight;
    }
    fn value(self) -> f64 {
        self
    }
}

/// Where a feature's categories begin in a table, and how many places they have.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slot {
    base: u32,
    room: u32,
}

/// Counts of each category of some features in each class.
///
/// Every slot satisfies `base + room <= stride`, and there are `classes * stride` cells.
#[derive(Clone, Debug)]
pub struct CountTable<W> {
    classes: usize,
    stride: usize,
    slots: Vec<Slot>,
    cells: Vec<W>,
}

impl<W: Cell> CountTable<W> {
    /// An empty table with room for `room[j]` categories of feature `j`, or `None` where it
    /// would have more than `most` cells.
    pub fn new(classes: usize, room: &[u64], most: usize) -> Option<Self> {
        let mut stride = 0u64;
        let mut slots = Vec::with_capacity(room.len());
        for &n in room {
            let base = u32::try_from(stride).ok()?;
            slots.push(Slot {
                base,
                room: u32::try_from(n).ok()?,
            });
            stride += n;
        }
        let stride = usize::try_from(stride).ok()?;
        let size = classes.checked_mul(stride).filter(|size| *size <= most)?;
        Some(CountTable {
            classes,
            stride,
            slots,
            cells: vec![W::default(); size],
        })
    }

    /// Categories that feature `j` has room for.
    pub fn room(&self, j: usize) -> u64 {
        u64::from(self.slots[j].room)
    }

    /// The counts of feature `j` in `class`.
    pub fn counts(&self, class: usize, j: usize) -> &[W] {
        let Slot { base, room } = self.slots[j];
        let start = class * self.stride + base as usize;
        &self.cells[start..start + room as usize]
    }

    /// The same counts in a table with more room; `None` as in [`CountTable::new`].
    pub fn grown(&self, room: &[u64], most: usize) -> Option<Self> {
        let mut wider = CountTable::new(self.classes, room, most)?;
        for class in 0..self.classes {
            for (j, slot) in wider.slots.iter().enumerate() {
                let old = self.counts(class, j);
                let start = class * wider.stride + slot.base as usize;
                wider.cells[start..start + old.len()].copy_from_slice(old);
            }
        }
        Some(wider)
    }

    /// Counts the codes `codes[from..]` of one row (one code a feature) for `class`.
    ///
    /// Stops at the first code without room and returns its place, or the row's length.
    #[inline(always)]
    pub fn add_row<C: Code>(
        &mut self,
        class: usize,
        codes: &[C],
        from: usize,
        weight: W::Weight,
    ) -> usize {
        assert!(class < self.classes && codes.len() == self.slots.len());
        let start = class * self.stride;
        let cells = &mut self.cells[start..start + self.stride];
        // Slices and not `skip`, which would keep the counter in memory.
        let (rest, slots) = (&codes[from..], &self.slots[from..]);
        for (j, (code, slot)) in rest.iter().zip(slots).enumerate() {
            let code = code.index();
            if code >= u64::from(slot.room) {
                return from + j;
            }
            // SAFETY: code < room and base + room <= stride, the length of `cells`.
            unsafe { cells.get_unchecked_mut(slot.base as usize + code as usize) }.add(weight);
        }
        codes.len()
    }
}

/// Rows that [`SumTable::sums`] takes at once.
pub const ROWS: usize = 4;
const LANES: usize = 4;
/// Most vectors of one class tile: with [`ROWS`] rows their sums fill the registers.
const MOST_VECTORS: usize = 3;

/// One row of numbers (one a class) for each category of each feature, and one for
/// categories that are not known.
///
/// Classes are split into tiles of `vectors * LANES`; a tile's values are contiguous. In
/// every tile `base + (room + 1) * width <= values` of that tile holds for each slot.
#[derive(Clone, Debug, PartialEq)]
pub struct SumTable {
    classes: usize,
    vectors: usize,
    slots: Vec<Slot>,
    tiles: Vec<Vec<f64>>,
}

impl SumTable {
    /// A table whose value for feature `j`, category `i` (`categories[j]` stands for the
    /// unknown ones) and class `c` is `value(j, i, c)`. `None` where it is too large.
    pub fn new(
        classes: usize,
        categories: &[usize],
        value: impl Fn(usize, usize, usize) -> f64,
    ) -> Option<SumTable> {
        let tiles = classes.div_ceil(MOST_VECTORS * LANES).max(1);
        let vectors = classes.div_ceil(tiles * LANES).max(1);
        let width = vectors * LANES;
        let mut slots = Vec::with_capacity(categories.len());
        let mut size = 0usize;
        for &n in categories {
            slots.push(Slot {
                base: u32::try_from(size).ok()?,
                room: u32::try_from(n).ok()?,
            });
            size = n
                .checked_add(1)?
                .checked_mul(width)
                .and_then(|places| places.checked_add(size))?;
        }
        let tiles = (0..tiles)
            .map(|tile| {
                let mut values = Vec::with_capacity(size);
                for (j, &n) in categories.iter().enumerate() {
                    for i in 0..=n {
                        for lane in 0..width {
                            let c = tile * width + lane;
                            values.push(if c < classes { value(j, i, c) } else { 0.0 });
                        }
                    }
                }
                values
            })
            .collect();
        Some(SumTable {
            classes,
            vectors,
            slots,
            tiles,
        })
    }

    /// Adds up, for each class, the values of a row's codes in the order of the features;
    /// `out` has `classes` numbers for each of the [`ROWS`] rows. Returns whether a code
    /// was negative (its answer then means nothing).
    pub fn sums<C: Code>(&self, tier: Tier, rows: [&[C]; ROWS], out: &mut [f64]) -> bool {
        match self.vectors {
            1 => self.tiled::<C, 1>(tier, rows, out),
            2 => self.tiled::<C, 2>(tier, rows, out),
            _ => self.tiled::<C, 3>(tier, rows, out),
        }
    }

    fn tiled<C: Code, const V: usize>(
        &self,
        tier: Tier,
        rows: [&[C]; ROWS],
        out: &mut [f64],
    ) -> bool {
        assert_eq!(self.vectors, V);
        let mut negative = false;
        for (t, values) in self.tiles.iter().enumerate() {
            let (sums, bad) = match tier {
                #[cfg(target_arch = "x86_64")]
                Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => {
                    // SAFETY: the guard has just checked that the processor has AVX2.
                    unsafe { sums_avx2::<C, V>(values, &self.slots, rows) }
                }
                _ => sums_body::<C, V>(values, &self.slots, rows),
            };
            negative |= bad;
            let first = t * V * LANES;
            let here = (self.classes - first).min(V * LANES);
            for (row, sums) in out.chunks_exact_mut(self.classes).zip(&sums) {
                row[first..first + here].copy_from_slice(&sums.as_flattened()[..here]);
            }
        }
        negative
    }
}

type Sums<const V: usize> = [[[f64; LANES]; V]; ROWS];

/// `slots` must belong to `values`, as [`SumTable`] guarantees.
#[inline(always)]
fn sums_body<C: Code, const V: usize>(
    values: &[f64],
    slots: &[Slot],
    rows: [&[C]; ROWS],
) -> (Sums<V>, bool) {
    let rows = rows.map(|row| &row[..slots.len()]);
    let mut sums = [[[0.0; LANES]; V]; ROWS];
    let mut bits = 0u64;
    for (j, slot) in slots.iter().enumerate() {
        for r in 0..ROWS {
            let code = rows[r][j].index();
            bits |= code;
            let code = code.min(u64::from(slot.room)) as usize;
            let at = slot.base as usize + code * (V * LANES);
            // SAFETY: code <= room, and (room + 1) * V * LANES values follow base.
            let value = unsafe { values.get_unchecked(at..at + V * LANES) };
            for v in 0..V {
                for l in 0..LANES {
                    sums[r][v][l] += value[v * LANES + l];
                }
            }
        }
    }
    (sums, bits >> 63 != 0)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sums_avx2<C: Code, const V: usize>(
    values: &[f64],
    slots: &[Slot],
    rows: [&[C]; ROWS],
) -> (Sums<V>, bool) {
    sums_body::<C, V>(values, slots, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::supported;
    use proptest::prelude::*;

    #[test]
    fn a_table_stops_where_there_is_no_room_and_grows() {
        let mut table = CountTable::<u16>::new(2, &[2, 3], 100).unwrap();
        assert_eq!(table.add_row(1, &[1i64, 2], 0, ()), 2);
        assert_eq!(table.add_row(1, &[1i64, 3], 0, ()), 1);
        assert_eq!(table.add_row(0, &[-1i64, 0], 0, ()), 0);
        let mut table = table.grown(&[2, 8], 100).unwrap();
        assert_eq!(table.add_row(1, &[1i64, 3], 1, ()), 2);
        assert_eq!(table.counts(1, 0), [0, 2]);
        assert_eq!(table.counts(1, 1), [0, 0, 1, 1, 0, 0, 0, 0]);
        assert_eq!(table.counts(0, 1), [0; 8]);
        assert!(table.grown(&[2, 99], 100).is_none());
        assert!(CountTable::<u16>::new(1, &[u64::MAX], usize::MAX).is_none());
    }

    #[test]
    fn weights_add_up() {
        let mut table = CountTable::<f64>::new(1, &[2], 100).unwrap();
        table.add_row(0, &[1u8], 0, 0.5);
        table.add_row(0, &[1u8], 0, 2.0);
        assert_eq!(table.counts(0, 0), [0.0, 2.5]);
    }

    proptest! {
        #[test]
        fn tiers_agree_to_the_bit(
            classes in 1usize..40,
            rows in prop::collection::vec(prop::collection::vec(0i32..9, 5), ROWS),
        ) {
            let value = |j: usize, i: usize, c: usize| -((1 + j * 31 + i * 7 + c) as f64).ln();
            let categories = [1usize, 3, 4, 9, 6];
            let table = SumTable::new(classes, &categories, value).unwrap();
            let views: [&[i32]; ROWS] = std::array::from_fn(|r| rows[r].as_slice());
            for tier in supported() {
                let mut out = vec![f64::NAN; ROWS * classes];
                prop_assert!(!table.sums(tier, views, &mut out));
                for r in 0..ROWS {
                    for c in 0..classes {
                        let mut sum = 0.0;
                        for j in 0..5 {
                            sum += value(j, (rows[r][j] as usize).min(categories[j]), c);
                        }
                        prop_assert_eq!(out[r * classes + c], sum);
                    }
                }
            }
            let bad = [0i32, 0, -1, 0, 0];
            let mut out = vec![0.0; ROWS * classes];
            prop_assert!(table.sums(crate::tier::active(), [&bad; ROWS], &mut out));
        }
    }
}
