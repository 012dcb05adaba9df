//! Rows in the order of a feature's values, as plain numbers.

/// The key of a missing value, above all others.
pub(super) const MISSING: u32 = u32::MAX;

/// A number that sorts like `value`; both zeros are equal.
#[inline]
pub(super) fn key(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    bits ^ (((bits as i32 >> 31) as u32) | 1 << 31)
}

/// The same, with a key for missing values.
#[inline]
pub(super) fn key_or_missing(value: f32) -> u32 {
    if value.is_nan() { MISSING } else { key(value) }
}

/// The value that [`key`] was given.
#[inline]
pub(super) fn value_of(key: u32) -> f32 {
    f32::from_bits(key ^ ((!(key as i32) >> 31) as u32 | 1 << 31))
}

/// A key above a row's number: sorts by key, then by row.
#[inline]
pub(super) fn pack(key: u32, row: u32) -> u64 {
    u64::from(key) << 32 | u64::from(row)
}

#[inline]
pub(super) fn key_of(packed: u64) -> u32 {
    (packed >> 32) as u32
}

#[inline]
pub(super) fn row_of(packed: u64) -> u32 {
    packed as u32
}

/// Fewer are sorted by comparing.
const RADIX_LENGTH: usize = 1 << 10;
const RADIX_BITS: u32 = 11;

/// Sorts what [`pack`] made of rows in rising order: by key, then by row.
pub(super) fn sort(list: &mut Vec<u64>, scratch: &mut Vec<u64>) {
    if list.len() < RADIX_LENGTH {
        list.sort_unstable();
        return;
    }
    const SIZE: usize = 1 << RADIX_BITS;
    let digit = |packed: u64, pass: u32| (packed >> (32 + pass * RADIX_BITS)) as usize & (SIZE - 1);
    // From the lowest digit of the key up; each pass keeps the order of equal digits, and rows
    // are in order already.
    let mut counts = vec![[0u32; SIZE]; 3];
    for &packed in &*list {
        for (pass, counts) in counts.iter_mut().enumerate() {
            counts[digit(packed, pass as u32)] += 1;
        }
    }
    scratch.resize(list.len(), 0);
    for (pass, counts) in counts.iter_mut().enumerate() {
        if counts[digit(list[0], pass as u32)] as usize == list.len() {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            (start, *count) = (start + *count, start);
        }
        for &packed in &*list {
            let place = &mut counts[digit(packed, pass as u32)];
            scratch[*place as usize] = packed;
            *place += 1;
        }
        std::mem::swap(list, scratch);
    }
}

/// Which rows go left, one bit a row.
#[derive(Default)]
pub(super) struct Sides(Vec<u64>);

impl Sides {
    pub fn new(rows: usize) -> Self {
        Sides(vec![0; rows.div_ceil(64)])
    }

    #[inline]
    pub fn set(&mut self, row: u32, left: bool) {
        let word = &mut self.0[row as usize / 64];
        let bit = row % 64;
        *word = *word & !(1 << bit) | u64::from(left) << bit;
    }

    #[inline]
    pub fn left(&self, row: u32) -> bool {
        self.0[row as usize / 64] >> (row % 64) & 1 == 1
    }
}

/// Moves the items that go left before the others; both keep their order. Returns where the
/// others begin.
#[inline]
pub(super) fn partition<T: Copy + Default>(
    items: &mut [T],
    scratch: &mut Vec<T>,
    left: impl Fn(T) -> bool,
) -> usize {
    if scratch.len() < items.len() {
        scratch.resize(items.len(), T::default());
    }
    let scratch = &mut scratch[..items.len()];
    let (mut lefts, mut rights) = (0, 0);
    // Both places are written and one of them counts: no branch to mispredict.
    for i in 0..items.len() {
        let item = items[i];
        let left = usize::from(left(item));
        items[lefts] = item;
        scratch[rights] = item;
        lefts += left;
        rights += 1 - left;
    }
    items[lefts..].copy_from_slice(&scratch[..rights]);
    lefts
}

/// The rows of a subtree: as they are numbered, by each feature, and by each output.
pub(super) struct Lists<'l> {
    pub rows: &'l mut [u32],
    pub features: Vec<&'l mut [u64]>,
    pub targets: Vec<&'l mut [u32]>,
}

impl<'l> Lists<'l> {
    /// The rows from `start` to `end`, borrowed.
    pub fn part(&mut self, start: usize, end: usize) -> Lists<'_> {
        Lists {
            rows: &mut self.rows[start..end],
            features: self
                .features
                .iter_mut()
                .map(|l| &mut l[start..end])
                .collect(),
            targets: self
                .targets
                .iter_mut()
                .map(|l| &mut l[start..end])
                .collect(),
        }
    }

    /// The rows before `middle` and those from there on.
    pub fn split_at(self, middle: usize) -> (Lists<'l>, Lists<'l>) {
        let (left, right) = self.rows.split_at_mut(middle);
        let mut sides = (
            Lists {
                rows: left,
                features: Vec::with_capacity(self.features.len()),
                targets: Vec::with_capacity(self.targets.len()),
            },
            Lists {
                rows: right,
                features: Vec::with_capacity(self.features.len()),
                targets: Vec::with_capacity(self.targets.len()),
            },
        );
        for list in self.features {
            let (left, right) = list.split_at_mut(middle);
            sides.0.features.push(left);
            sides.1.features.push(right);
        }
        for list in self.targets {
            let (left, right) = list.split_at_mut(middle);
            sides.0.targets.push(left);
            sides.1.targets.push(right);
        }
        sides
    }
}
