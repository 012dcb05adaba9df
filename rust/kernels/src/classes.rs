//! Scores of all cuts of one feature between up to 16 classes, from counts.
//!
//! As in [`crate::split`] the scores only screen; the sums that they are made of are exact.

use crate::split::CODES;
use crate::tier::{Tier, detected};

/// Classes of [`sixteen_class_scan`].
pub const LANES: usize = 16;

/// Cuts that [`sixteen_class_scan`] handles together.
const GROUP: usize = 4;

/// Counts of up to 16 classes by code. A code has a row in each half, so that counting need not
/// wait for the row that was just written.
pub type ClassCounts = [[[u16; LANES]; CODES]; 2];

/// The codes of a feature that occur, in rising order, and the cut behind each of them.
pub struct ClassScan {
    /// How many codes occur.
    pub found: usize,
    /// The codes; behind the last one anything.
    pub code: [u8; CODES + GROUP],
    /// Sum of the squared class counts to the left of the cut.
    pub left: [i32; CODES],
    /// The same to the right.
    pub right: [i32; CODES],
    /// Count on the left.
    pub count: [i32; CODES],
    /// Roughly the score of the cut; 0 where it is not allowed.
    pub score: [f32; CODES],
}

impl ClassScan {
    /// Nothing found.
    pub fn new() -> Self {
        ClassScan {
            found: 0,
            code: [0; CODES + GROUP],
            left: [0; CODES],
            right: [0; CODES],
            count: [0; CODES],
            score: [0.0; CODES],
        }
    }
}

impl Default for ClassScan {
    fn default() -> Self {
        Self::new()
    }
}

/// Nodes of fewer rows find out which codes occur by their rows, others by the counts.
const FEW_ROWS: usize = 512;

/// Lists the codes that occur, and behind them the last one again.
#[inline(always)]
fn list_codes(
    codes: &[u8],
    counts: &ClassCounts,
    any: impl Fn(&[u16; LANES], &[u16; LANES]) -> bool,
    out: &mut ClassScan,
) {
    let mut words = [0u64; CODES / 64];
    if codes.len() < FEW_ROWS {
        let mut seen = [false; CODES];
        for &code in codes {
            seen[usize::from(code)] = true;
        }
        for (word, seen) in words.iter_mut().zip(seen.as_chunks::<64>().0) {
            // Multiplying gathers the lowest bits of eight bytes in the highest byte.
            for (i, seen) in seen.as_chunks::<8>().0.iter().enumerate() {
                let bytes = u64::from_le_bytes(seen.map(u8::from));
                *word |= (bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
            }
        }
    } else {
        for (code, (first, second)) in counts[0].iter().zip(&counts[1]).enumerate() {
            words[code / 64] |= u64::from(any(first, second)) << (code % 64);
        }
    }
    let mut found = 0;
    for (i, &word) in words.iter().enumerate() {
        let mut word = word;
        while word != 0 {
            out.code[found] = (64 * i) as u8 + word.trailing_zeros() as u8;
            found += 1;
            word &= word - 1;
        }
    }
    out.found = found;
    if found > 0 {
        let last = out.code[found - 1];
        out.code[found..found + GROUP].fill(last);
    }
}

/// Scores the cuts roughly and returns the largest score, 0 where no cut is allowed.
#[inline(always)]
fn score_cuts(out: &mut ClassScan, total: i32, least: i32) -> f32 {
    const WIDTH: usize = 8;
    let mut most = [0.0f32; WIDTH];
    let cuts = out.found.saturating_sub(1);
    let (lefts, _) = out.left.as_chunks::<WIDTH>();
    let (rights, _) = out.right.as_chunks::<WIDTH>();
    let (counts, _) = out.count.as_chunks::<WIDTH>();
    let (scores, _) = out.score.as_chunks_mut::<WIDTH>();
    for i in 0..cuts.div_ceil(WIDTH) {
        for lane in 0..WIDTH {
            let count = counts[i][lane];
            let rest = total - count;
            let left = lefts[i][lane] as f32 / count as f32;
            let right = rights[i][lane] as f32 / rest as f32;
            let allowed = (count >= least) & (rest >= least) & (i * WIDTH + lane < cuts);
            let score = if allowed { left + right } else { 0.0 };
            scores[i][lane] = score;
            most[lane] = if score > most[lane] {
                score
            } else {
                most[lane]
            };
        }
    }
    most.into_iter().fold(0.0, f32::max)
}

fn sixteen_class_plain(
    codes: &[u8],
    counts: &mut ClassCounts,
    total: &[u16; LANES],
    least: i32,
    out: &mut ClassScan,
) -> f32 {
    let any = |a: &[u16; LANES], b: &[u16; LANES]| a.iter().chain(b).any(|&n| n != 0);
    list_codes(codes, counts, any, out);
    let mut left = [0u16; LANES];
    for at in 0..out.found {
        let code = usize::from(out.code[at]);
        let (mut lefts, mut rights, mut count) = (0i32, 0i32, 0i32);
        for class in 0..LANES {
            left[class] += counts[0][code][class] + counts[1][code][class];
            let l = i32::from(left[class]);
            let r = i32::from(total[class]) - l;
            lefts += l * l;
            rights += r * r;
            count += l;
        }
        counts[0][code] = [0; LANES];
        counts[1][code] = [0; LANES];
        (out.left[at], out.right[at], out.count[at]) = (lefts, rights, count);
    }
    let total = total.iter().map(|&n| i32::from(n)).sum();
    score_cuts(out, total, least)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn sixteen_class_avx2(
    codes: &[u8],
    counts: &mut ClassCounts,
    total: &[u16; LANES],
    least: i32,
    out: &mut ClassScan,
) -> f32 {
    use std::arch::x86_64::*;
    #[inline(always)]
    fn load(row: &[u16; LANES]) -> __m256i {
        // SAFETY: 16 numbers of 16 bits are 32 bytes; the load needs no alignment. AVX belongs
        // to what the only caller enables.
        unsafe { _mm256_loadu_si256(row.as_ptr().cast()) }
    }
    let any = |a: &[u16; LANES], b: &[u16; LANES]| {
        let both = _mm256_or_si256(load(a), load(b));
        _mm256_testz_si256(both, both) == 0
    };
    list_codes(codes, counts, any, out);
    let zero = _mm256_setzero_si256();
    let ones = _mm256_set1_epi16(1);
    let all = load(total);
    let mut left = zero;
    let [first, second] = counts;
    // Adds up the lanes of four vectors.
    let sums = |v: [__m256i; GROUP]| {
        let a = _mm256_hadd_epi32(v[0], v[1]);
        let b = _mm256_hadd_epi32(v[2], v[3]);
        let both = _mm256_hadd_epi32(a, b);
        let halves = (
            _mm256_castsi256_si128(both),
            _mm256_extracti128_si256::<1>(both),
        );
        _mm_add_epi32(halves.0, halves.1)
    };
    let mut at = 0;
    while at < out.found {
        let (mut lefts, mut rights, mut numbers) = ([zero; GROUP], [zero; GROUP], [zero; GROUP]);
        for i in 0..GROUP {
            // Behind the end the last code comes again, whose counts are 0 by then.
            let code = usize::from(out.code[at + i]);
            let row = _mm256_add_epi16(load(&first[code]), load(&second[code]));
            first[code] = [0; LANES];
            second[code] = [0; LANES];
            left = _mm256_add_epi16(left, row);
            let right = _mm256_sub_epi16(all, left);
            lefts[i] = _mm256_madd_epi16(left, left);
            rights[i] = _mm256_madd_epi16(right, right);
            numbers[i] = _mm256_madd_epi16(left, ones);
        }
        // SAFETY: `at` is a multiple of 4 below `found`, which is at most 256, so that four
        // numbers from there lie inside the arrays; the stores need no alignment.
        unsafe {
            _mm_storeu_si128(out.left.as_mut_ptr().add(at).cast(), sums(lefts));
            _mm_storeu_si128(out.right.as_mut_ptr().add(at).cast(), sums(rights));
            _mm_storeu_si128(out.count.as_mut_ptr().add(at).cast(), sums(numbers));
        }
        at += GROUP;
    }
    let total = total.iter().map(|&n| i32::from(n)).sum();
    score_cuts(out, total, least)
}

/// Scans the counts of up to 16 classes of a node with these codes, and sets them to zero.
/// Cuts that leave a count below `least` on a side are not allowed. Returns the largest score,
/// roughly; 0 where there is none. All counts together are at most 32,767.
pub fn sixteen_class_scan(
    tier: Tier,
    codes: &[u8],
    counts: &mut ClassCounts,
    total: &[u16; LANES],
    least: i32,
    out: &mut ClassScan,
) -> f32 {
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => {
            // SAFETY: the guard has just checked everything that the function enables.
            unsafe { sixteen_class_avx2(codes, counts, total, least, out) }
        }
        _ => sixteen_class_plain(codes, counts, total, least, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::supported;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sixteen_classes(
            rows in prop::collection::vec((0u8.., 0usize..LANES, 1u16..60), 1..500),
            least in 0i32..300,
        ) {
            let mut counts = [[[0u16; LANES]; CODES]; 2];
            let mut total = [0u16; LANES];
            for (i, &(code, class, n)) in rows.iter().enumerate() {
                counts[i % 2][usize::from(code)][class] += n;
                total[class] += n;
            }
            let codes: Vec<u8> = rows.iter().map(|r| r.0).collect();
            let mut sorted = codes.clone();
            sorted.sort_unstable();
            sorted.dedup();
            let all: i32 = total.iter().map(|&n| i32::from(n)).sum();
            let mut first = None;
            for tier in supported() {
                let mut given = counts;
                let mut out = ClassScan::new();
                let most = sixteen_class_scan(tier, &codes, &mut given, &total, least, &mut out);
                prop_assert!(given.iter().flatten().flatten().all(|&n| n == 0));
                prop_assert_eq!(&out.code[..out.found], &sorted);
                let mut best = 0.0f64;
                for (at, &code) in sorted.iter().enumerate() {
                    let mut left = [0i32; LANES];
                    for row in rows.iter().filter(|row| row.0 <= code) {
                        left[row.1] += i32::from(row.2);
                    }
                    let right = left.iter().zip(&total).map(|(l, &t)| i32::from(t) - l);
                    let count = left.iter().sum::<i32>();
                    prop_assert_eq!(out.count[at], count);
                    prop_assert_eq!(out.left[at], left.iter().map(|l| l * l).sum::<i32>());
                    prop_assert_eq!(out.right[at], right.map(|r| r * r).sum::<i32>());
                    if at + 1 < sorted.len() {
                        let mut score = 0.0;
                        if count.min(all - count) >= least {
                            score = f64::from(out.left[at]) / f64::from(count)
                                + f64::from(out.right[at]) / f64::from(all - count);
                        }
                        prop_assert!((f64::from(out.score[at]) - score).abs() <= score * 1e-6);
                        best = best.max(score);
                    }
                }
                prop_assert!((f64::from(most) - best).abs() <= best * 1e-6);
                let bits: Vec<u32> = out.score[..sorted.len() - 1].iter().map(|s| s.to_bits()).collect();
                prop_assert_eq!(&bits, first.get_or_insert_with(|| bits.clone()));
            }
        }
    }
}
