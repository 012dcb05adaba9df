//! Loops over columns of one-byte codes: comparing, selecting, ranking.
//!
//! A set of rows is a slice of 64-bit words, one bit a row. All tiers give the same bits.

use crate::tier::{Tier, detected};

/// Rows of a block, and bits of a word.
pub const BLOCK: usize = 64;

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn compare_block(block: &[u8; BLOCK], value: u8, below: bool) -> u64 {
    use std::arch::x86_64::*;
    let mut mask = 0u64;
    for piece in 0..4 {
        // SAFETY: SSE2 belongs to the baseline of x86-64; 16 bytes from 16 * piece lie inside
        // the block's 64, and the load needs no alignment.
        let bits = unsafe {
            let codes = _mm_loadu_si128(block.as_ptr().add(16 * piece).cast());
            let value = _mm_set1_epi8(value as i8);
            let against = if below {
                _mm_min_epu8(codes, value)
            } else {
                value
            };
            _mm_movemask_epi8(_mm_cmpeq_epi8(codes, against))
        };
        mask |= u64::from(bits as u16) << (16 * piece);
    }
    mask
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn compare_block(block: &[u8; BLOCK], value: u8, below: bool) -> u64 {
    let mut mask = 0;
    for (i, &code) in block.iter().enumerate() {
        let hit = if below { code <= value } else { code == value };
        mask |= u64::from(hit) << i;
    }
    mask
}

/// Which of 64 codes are at most `value`.
#[inline(always)]
pub fn block_at_most(block: &[u8; BLOCK], value: u8) -> u64 {
    compare_block(block, value, true)
}

/// Which of 64 codes equal `value`.
#[inline(always)]
pub fn block_equal(block: &[u8; BLOCK], value: u8) -> u64 {
    compare_block(block, value, false)
}

#[inline(always)]
fn compare(codes: &[u8], value: u8, below: bool, out: &mut Vec<u64>) {
    out.clear();
    let mut blocks = codes.chunks_exact(BLOCK);
    for block in &mut blocks {
        let block: &[u8; BLOCK] = block.try_into().expect("a chunk of 64");
        out.push(compare_block(block, value, below));
    }
    let rest = blocks.remainder();
    if !rest.is_empty() {
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        let valid = u64::MAX >> (BLOCK - rest.len());
        out.push(compare_block(&block, value, below) & valid);
    }
}

/// The set of rows whose code is at most `value`; bits beyond the last row are 0.
pub fn rows_at_most(codes: &[u8], value: u8, out: &mut Vec<u64>) {
    compare(codes, value, true, out);
}

/// The set of rows whose code equals `value`; bits beyond the last row are 0.
pub fn rows_equal(codes: &[u8], value: u8, out: &mut Vec<u64>) {
    compare(codes, value, false, out);
}

/// How many codes are below `value`.
pub fn count_below(codes: &[u8], value: u8) -> usize {
    let mut count = 0;
    for part in codes.chunks(255) {
        // At most 255 a chunk, so that the sum fits a byte and the loop runs on byte lanes.
        count += usize::from(part.iter().fold(0u8, |n, &c| n + u8::from(c < value)));
    }
    count
}

/// Elements that [`partition`] may write behind the ones that belong there.
pub const SLACK: usize = 8;

fn partition_plain(codes: &[u8], rows: &[u64], left: &mut [u8], right: &mut [u8]) {
    let (mut l, mut r) = (0, 0);
    for (block, &word) in codes.chunks(BLOCK).zip(rows) {
        for (i, &code) in block.iter().enumerate() {
            let bit = (word >> i & 1) as usize;
            left[l] = code;
            right[r] = code;
            l += bit;
            r += 1 - bit;
        }
    }
}

/// Eight codes at a time: their mask bits are spread to bytes and picked out with PEXT.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi2,popcnt")]
fn partition_bmi2(codes: &[u8], rows: &[u64], left: &mut [u8], right: &mut [u8]) {
    use std::arch::x86_64::{_pdep_u64, _pext_u64};
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (mut l, mut r) = (0, 0);
    for (block, &word) in codes.chunks(BLOCK).zip(rows) {
        let mut word = word;
        let mut pieces = block.chunks_exact(8);
        for piece in &mut pieces {
            let value = u64::from_le_bytes(piece.try_into().expect("a chunk of 8"));
            let bytes = _pdep_u64(word & 0xff, ONES).wrapping_mul(0xff);
            let count = (word & 0xff).count_ones() as usize;
            let (a, b) = (_pext_u64(value, bytes), _pext_u64(value, !bytes));
            debug_assert!(l + 8 <= left.len() && r + 8 <= right.len());
            // SAFETY: before this piece `l` rows of the set and `r` others were written, and
            // the caller has made sure that both outputs hold all of theirs and 8 more.
            unsafe {
                left.as_mut_ptr()
                    .add(l)
                    .cast::<[u8; 8]>()
                    .write(a.to_le_bytes());
                right
                    .as_mut_ptr()
                    .add(r)
                    .cast::<[u8; 8]>()
                    .write(b.to_le_bytes());
            }
            l += count;
            r += 8 - count;
            word >>= 8;
        }
        for &code in pieces.remainder() {
            let bit = (word & 1) as usize;
            left[l] = code;
            right[r] = code;
            l += bit;
            r += 1 - bit;
            word >>= 1;
        }
    }
}

/// Copies the codes of the rows in the set to `left` and the others to `right`, in order.
///
/// # Panics
/// If an output is not longer than what belongs there by at least [`SLACK`] bytes, which are
/// overwritten with anything.
pub fn partition(tier: Tier, codes: &[u8], rows: &[u64], left: &mut [u8], right: &mut [u8]) {
    assert_eq!(rows.len(), codes.len().div_ceil(BLOCK));
    if let (Some(&last), rest @ 1..) = (rows.last(), codes.len() % BLOCK) {
        assert_eq!(last >> rest, 0, "a row behind the last one");
    }
    let count: usize = rows.iter().map(|word| word.count_ones() as usize).sum();
    assert!(left.len() >= count + SLACK && right.len() >= codes.len() - count + SLACK);
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => {
            // SAFETY: the guard has just checked BMI2 and POPCNT, which this tier asks for; the
            // assertions above are what the function needs of its outputs.
            unsafe { partition_bmi2(codes, rows, left, right) }
        }
        _ => partition_plain(codes, rows, left, right),
    }
}

#[inline(always)]
fn ranks_body(values: &[f32], out: &mut [u8; BLOCK]) {
    let n = values.len();
    let mut padded = [f32::INFINITY; BLOCK];
    padded[..n].copy_from_slice(values);
    let mut count = [0i32; BLOCK];
    let lanes = n.div_ceil(16) * 16;
    for &value in values {
        for (c, &other) in count[..lanes].iter_mut().zip(&padded[..lanes]) {
            *c += i32::from(value < other);
        }
    }
    for (o, &c) in out.iter_mut().zip(&count) {
        *o = c as u8;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn ranks_avx2(values: &[f32], out: &mut [u8; BLOCK]) {
    ranks_body(values, out);
}

/// For each of at most 64 finite values, how many of them are smaller.
///
/// # Panics
/// If there are more than 64 values.
pub fn ranks(tier: Tier, values: &[f32], out: &mut [u8; BLOCK]) {
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => {
            // SAFETY: the guard has just checked that the processor has AVX2.
            unsafe { ranks_avx2(values, out) }
        }
        _ => ranks_body(values, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::supported;
    use proptest::prelude::*;

    fn members(rows: &[u64]) -> Vec<usize> {
        (0..rows.len() * 64)
            .filter(|i| rows[i / 64] >> (i % 64) & 1 == 1)
            .collect()
    }

    proptest! {
        #[test]
        fn comparing_and_selecting(codes in prop::collection::vec(0u8.., 0..300), value in 0u8..) {
            let mut rows = Vec::new();
            rows_equal(&codes, value, &mut rows);
            let expected: Vec<usize> = (0..codes.len()).filter(|&i| codes[i] == value).collect();
            prop_assert_eq!(members(&rows), expected);
            prop_assert_eq!(count_below(&codes, value), codes.iter().filter(|&&c| c < value).count());
            rows_at_most(&codes, value, &mut rows);
            let (below, above): (Vec<u8>, Vec<u8>) = codes.iter().partition(|&&c| c <= value);
            prop_assert_eq!(members(&rows).len(), below.len());
            for tier in supported() {
                let mut left = vec![0; below.len() + SLACK];
                let mut right = vec![0; above.len() + SLACK];
                partition(tier, &codes, &rows, &mut left, &mut right);
                prop_assert_eq!(&left[..below.len()], &below);
                prop_assert_eq!(&right[..above.len()], &above);
            }
        }

        #[test]
        fn ranks_count_smaller_values(values in prop::collection::vec(-4i8..4, 0..=64)) {
            let values: Vec<f32> = values.into_iter().map(f32::from).collect();
            for tier in supported() {
                let mut out = [0; BLOCK];
                ranks(tier, &values, &mut out);
                for (i, v) in values.iter().enumerate() {
                    let expected = values.iter().filter(|o| *o < v).count();
                    prop_assert_eq!(usize::from(out[i]), expected);
                }
            }
        }
    }
}
