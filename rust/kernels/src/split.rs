//! Scores of all cuts of one feature, from counts.
//!
//! Counts are integers below 2^31. The answers only screen: callers score the few cuts that
//! come close to the best one again in double precision.

use crate::bytes::{BLOCK, block_at_most, block_equal};
use crate::tier::{Tier, detected};

/// Codes of a column.
pub const CODES: usize = 256;

/// What [`two_class_scan`] finds out about each code of a feature.
pub struct TwoClassScan {
    /// Counts of both classes among codes up to this one.
    pub left: [[u32; CODES]; 2],
    /// `l0*l1/l + r0*r1/r` of the cut behind this code, NaN where a side is empty. The Gini
    /// score is the total less twice this, without its cancellation.
    pub cut: [f32; CODES],
    /// The least that a cut between two values of this code can reach: the expression is
    /// concave in the two counts, so its smaller value at the two mixed corners of the
    /// rectangle that they span. Infinite where the code holds one class only.
    pub inside: [f32; CODES],
}

impl TwoClassScan {
    /// All zero.
    pub fn new() -> Self {
        TwoClassScan {
            left: [[0; CODES]; 2],
            cut: [0.0; CODES],
            inside: [0.0; CODES],
        }
    }
}

impl Default for TwoClassScan {
    fn default() -> Self {
        Self::new()
    }
}

#[inline(always)]
fn mix(l0: f32, l1: f32, r0: f32, r1: f32) -> f32 {
    l0 * l1 / (l0 + l1) + r0 * r1 / (r0 + r1)
}

#[inline(always)]
fn two_class_body(
    counts: &[[u32; CODES]; 2],
    scale: [f32; 2],
    inside: bool,
    out: &mut TwoClassScan,
) -> f32 {
    let mut sum = [0u32; 2];
    for code in 0..CODES {
        for class in 0..2 {
            sum[class] = sum[class].wrapping_add(counts[class][code]);
            out.left[class][code] = sum[class];
        }
    }
    let float = |count: u32, class: usize| count as i32 as f32 * scale[class];
    let [total0, total1] = sum;
    // One least value a lane, so that the loop keeps to vectors.
    const WIDTH: usize = 8;
    let mut least = [f32::INFINITY; WIDTH];
    let cuts = out.cut.as_chunks_mut::<WIDTH>().0;
    let [lefts0, lefts1] = &out.left;
    let lefts = lefts0.as_chunks().0.iter().zip(lefts1.as_chunks().0);
    for (cuts, (lefts0, lefts1)) in cuts.iter_mut().zip(lefts) {
        let (lefts0, lefts1): (&[u32; WIDTH], &[u32; WIDTH]) = (lefts0, lefts1);
        for lane in 0..WIDTH {
            let (l0, l1) = (lefts0[lane], lefts1[lane]);
            let (r0, r1) = (total0.wrapping_sub(l0), total1.wrapping_sub(l1));
            let cut = mix(float(l0, 0), float(l1, 1), float(r0, 0), float(r1, 1));
            cuts[lane] = cut;
            least[lane] = if cut < least[lane] { cut } else { least[lane] };
        }
    }
    let least = least.into_iter().fold(f32::INFINITY, f32::min);
    if inside {
        for code in 0..CODES {
            let (h0, h1) = (counts[0][code], counts[1][code]);
            let (l0, l1) = (out.left[0][code], out.left[1][code]);
            let (r0, r1) = (total0.wrapping_sub(l0), total1.wrapping_sub(l1));
            let (b0, b1) = (l0.wrapping_sub(h0), l1.wrapping_sub(h1));
            let (e0, e1) = (r0.wrapping_add(h0), r1.wrapping_add(h1));
            let first = mix(float(l0, 0), float(b1, 1), float(r0, 0), float(e1, 1));
            let second = mix(float(b0, 0), float(l1, 1), float(e0, 0), float(r1, 1));
            let bound = if first < second { first } else { second };
            let both = (h0 != 0) & (h1 != 0);
            out.inside[code] = if both { bound } else { f32::INFINITY };
        }
    }
    least
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn two_class_avx2(
    counts: &[[u32; CODES]; 2],
    scale: [f32; 2],
    inside: bool,
    out: &mut TwoClassScan,
) -> f32 {
    two_class_body(counts, scale, inside, out)
}

/// Scans the counts of two classes, weighed by `scale`; returns the least `cut`. Fills
/// `inside` only where asked for.
pub fn two_class_scan(
    tier: Tier,
    counts: &[[u32; CODES]; 2],
    scale: [f32; 2],
    inside: bool,
    out: &mut TwoClassScan,
) -> f32 {
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => {
            // SAFETY: the guard has just checked that the processor has AVX2.
            unsafe { two_class_avx2(counts, scale, inside, out) }
        }
        _ => two_class_body(counts, scale, inside, out),
    }
}

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

/// The rows of a node of at most 64 rows by class and weight.
pub struct BlockClasses<'a> {
    /// Rows of the node.
    pub rows: u64,
    /// For each class `planes` sets: its rows whose weight has bit 0, bit 1, ...
    pub sets: &'a [u64],
    /// Bits of a weight.
    pub planes: usize,
    /// Count of each class.
    pub total: &'a [u32],
    /// Rows that each side needs at least.
    pub least: u32,
}

/// The number of planes is `PLANES`, or any where that is 0: a known number leaves no loop.
#[inline(always)]
fn block_gini_body<const PLANES: usize>(
    codes: &[u8; BLOCK],
    node: &BlockClasses,
    mut best: f64,
    out: &mut [(u8, u64); BLOCK],
) -> usize {
    let planes = if PLANES == 0 { node.planes } else { PLANES };
    let mut rest = node.rows;
    let rows = node.rows.count_ones();
    let total: u32 = node.total.iter().sum();
    let mut found = 0;
    while rest != 0 {
        let code = codes[rest.trailing_zeros() as usize % BLOCK];
        let set = block_at_most(codes, code) & node.rows;
        rest &= !block_equal(codes, code);
        let count = set.count_ones();
        if count == rows || count < node.least || rows - count < node.least {
            continue;
        }
        let (mut left, mut left_sum, mut right_sum) = (0u32, 0u64, 0u64);
        for (sets, &all) in node.sets.chunks_exact(planes).zip(node.total) {
            let mut l = 0;
            for (bit, class) in sets.iter().enumerate() {
                l += (class & set).count_ones() << bit;
            }
            let r = all - l;
            left += l;
            left_sum += u64::from(l) * u64::from(l);
            right_sum += u64::from(r) * u64::from(r);
        }
        let right = total - left;
        let product = f64::from(left) * f64::from(right);
        // Below 2^62, and signed numbers become floats in one step.
        let (left_sum, right_sum) = (left_sum as i64 as f64, right_sum as i64 as f64);
        let score = left_sum * f64::from(right) + right_sum * f64::from(left);
        // Ties pass, whatever the rounding.
        if score >= best * product * (1.0 - 1e-12) {
            best = best.max(score / product);
            out[found % BLOCK] = (code, set);
            found += 1;
        }
    }
    found
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn block_gini_avx2<const PLANES: usize>(
    codes: &[u8; BLOCK],
    node: &BlockClasses,
    best: f64,
    out: &mut [(u8, u64); BLOCK],
) -> usize {
    block_gini_body::<PLANES>(codes, node, best, out)
}

/// The cuts of one column of a node whose Gini score (sum over both sides of the squared class
/// counts by the side's count) is not below `best` nor below the cuts before: the largest code
/// on the left and the rows on the left. Returns how many there are.
pub fn block_gini(
    tier: Tier,
    codes: &[u8; BLOCK],
    node: &BlockClasses,
    best: f64,
    out: &mut [(u8, u64); BLOCK],
) -> usize {
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => {
            // SAFETY: the guard has just checked everything that the functions enable.
            unsafe {
                match node.planes {
                    1 => block_gini_avx2::<1>(codes, node, best, out),
                    2 => block_gini_avx2::<2>(codes, node, best, out),
                    3 => block_gini_avx2::<3>(codes, node, best, out),
                    _ => block_gini_avx2::<0>(codes, node, best, out),
                }
            }
        }
        _ => block_gini_body::<0>(codes, node, best, out),
    }
}

/// All cuts of one column among `rows`: the largest code on the left and the rows on the left,
/// the cut with nothing on the right included. Returns how many there are.
pub fn block_cuts(codes: &[u8; BLOCK], rows: u64, out: &mut [(u8, u64); BLOCK]) -> usize {
    let mut rest = rows;
    let mut found = 0;
    while rest != 0 {
        let code = codes[rest.trailing_zeros() as usize % BLOCK];
        rest &= !block_equal(codes, code);
        out[found % BLOCK] = (code, block_at_most(codes, code) & rows);
        found += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::supported;
    use proptest::prelude::*;

    fn gini(left: &[u32], total: &[u32]) -> f64 {
        let side = |counts: &[u32]| {
            let sum: u32 = counts.iter().sum();
            counts.iter().map(|&c| f64::from(c).powi(2)).sum::<f64>() / f64::from(sum)
        };
        let right: Vec<u32> = total.iter().zip(left).map(|(t, l)| t - l).collect();
        side(left) + side(&right)
    }

    proptest! {
        #[test]
        fn two_classes(rows in prop::collection::vec((0u8..40, 0usize..2, 1u32..4), 2..400)) {
            let mut counts = [[0; CODES]; 2];
            for &(code, class, n) in &rows {
                counts[class][usize::from(code)] += n;
            }
            let total = counts.map(|c| c.iter().sum::<u32>());
            let mut first: Option<Vec<u32>> = None;
            for tier in supported() {
                let mut out = TwoClassScan::new();
                let least = two_class_scan(tier, &counts, [1.0, 1.0], true, &mut out);
                let all = f64::from(total[0] + total[1]);
                let value = |cut: f32| all - 2.0 * f64::from(cut);
                let mut left = [0; 2];
                for code in 0..CODES {
                    let here = [counts[0][code], counts[1][code]];
                    let start = left;
                    left = [left[0] + here[0], left[1] + here[1]];
                    prop_assert_eq!(left, [out.left[0][code], out.left[1][code]]);
                    let score = gini(&left, &total);
                    prop_assert_eq!(score.is_nan(), out.cut[code].is_nan());
                    if !score.is_nan() {
                        prop_assert!((value(out.cut[code]) - score).abs() <= 1e-5 * all);
                        prop_assert!(least <= out.cut[code]);
                    }
                    // No way through the rectangle of counts reaches more than the bound or
                    // its ends.
                    let ends = gini(&start, &total).max(score);
                    for a in 0..=here[0] {
                        for b in 0..=here[1] {
                            let inside = gini(&[start[0] + a, start[1] + b], &total);
                            let bound = ends.max(value(out.inside[code]));
                            prop_assert!(inside.is_nan() || inside <= bound + 1e-5 * all);
                        }
                    }
                }
                let bits: Vec<u32> = out.cut.iter().chain(&out.inside).map(|v| v.to_bits()).collect();
                prop_assert_eq!(&bits, first.get_or_insert(bits.clone()));
            }
        }

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

        #[test]
        fn blocks(
            rows in prop::collection::vec((0u8..9, 0usize..3, 1u32..8), 2..=64),
            least in 0u32..5,
        ) {
            let mut codes = [0; BLOCK];
            let mut sets = [0u64; 9];
            let mut total = [0; 3];
            for (i, &(code, class, n)) in rows.iter().enumerate() {
                codes[i] = code;
                total[class] += n;
                for bit in 0..3 {
                    sets[class * 3 + bit] |= u64::from(n >> bit & 1) << i;
                }
            }
            let all = u64::MAX >> (BLOCK - rows.len());
            let node = BlockClasses { rows: all, sets: &sets, planes: 3, total: &total, least };
            let mut cuts = [(0, 0); BLOCK];
            let count = block_cuts(&codes, all, &mut cuts);
            let score = |set: u64| {
                let mut left = [0; 3];
                for (i, &(_, class, n)) in rows.iter().enumerate() {
                    left[class] += if set >> i & 1 == 1 { n } else { 0 };
                }
                gini(&left, &total)
            };
            let allowed = cuts[..count].iter().filter(|(code, set)| {
                assert!((0..rows.len()).all(|i| (set >> i & 1 == 1) == (rows[i].0 <= *code)));
                let right = (all & !set).count_ones();
                right > 0 && right >= least && set.count_ones() >= least
            });
            let best = allowed.map(|(_, set)| score(*set)).fold(f64::NEG_INFINITY, f64::max);
            for tier in supported() {
                let mut out = [(0, 0); BLOCK];
                let found = block_gini(tier, &codes, &node, f64::NEG_INFINITY, &mut out);
                let reached = out[..found].iter().map(|(_, set)| score(*set));
                let reached = reached.fold(f64::NEG_INFINITY, f64::max);
                prop_assert!(reached == best || (reached - best).abs() < 1e-9);
                let found = block_gini(tier, &codes, &node, best * 1.01 + 1.0, &mut out);
                prop_assert_eq!(found, 0);
            }
        }
    }
}
