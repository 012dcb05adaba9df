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
