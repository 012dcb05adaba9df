//! One random threshold a feature (Geurts, Ernst and Wehenkel, "Extremely randomized trees",
//! Machine Learning 63, 2006), and random subsets of categories.

use super::NumberData;
use super::lists::{key_of, pack, row_of, value_of};
use super::scan::{Cut, Poisson, Squared, score};
use super::search::{Found, Scanner, View, found, limits};
use super::source::Rows;
use crate::rng::Stream;
use crate::tree::Loss;
use crate::tree::layout::round_down;

impl Scanner {
    /// The same as [`Scanner::random`], from the values in the order of rows.
    pub(super) fn random_of_sums(
        &mut self,
        shared: &NumberData,
        view: &View,
        feature: usize,
        values: &[f32],
    ) {
        let (low, high) = extremes(values);
        if low >= high {
            return;
        }
        self.varying = true;
        let (threshold, _) = draw(view, feature, low, high);
        // The largest float that goes left.
        let most = round_down(threshold);
        let left = sum_where(values, view.centred, |value| value <= most);
        let left_rows = values.iter().filter(|&&value| value <= most).count();
        let left_weight = if view.weights.is_empty() {
            left_rows as f64
        } else {
            sum_where(values, view.weights, |value| value <= most)
        };
        let limits = limits(shared, view, feature);
        let score = if shared.loss == Loss::Squared {
            score::<Squared>(left, left_weight, left_rows, view.node, &limits)
        } else {
            score::<Poisson>(left, left_weight, left_rows, view.node, &limits)
        };
        let Some(score) = score else {
            return;
        };
        if self.found.as_ref().is_some_and(|best| score < best.score) {
            return;
        }
        let threshold = match shared.bins(feature) {
            Some(bins) => {
                let left = values.iter().filter(|&&value| value <= most);
                let below = left.fold(low, |below, &value| below.max(value));
                f64::from(bins.high[below as usize])
            }
            None => threshold,
        };
        let cut = Cut {
            score,
            at: left_rows - 1,
            missing_left: false,
        };
        self.offer(Some(found(view, feature, cut, threshold, &[])));
    }

    /// One threshold, uniform between the smallest and the largest value; missing values go to
    /// a random side.
    pub(super) fn random(
        &mut self,
        shared: &NumberData,
        source: &Rows,
        view: &View,
        feature: usize,
        present: &[u64],
        missing: &[u64],
    ) -> Option<Found> {
        let (mut low, mut high) = (u32::MAX, 0);
        for &packed in present {
            low = low.min(key_of(packed));
            high = high.max(key_of(packed));
        }
        let (threshold, mut coin) = draw(view, feature, value_of(low), value_of(high));
        let missing_left = !missing.is_empty() && coin.next_u64() & 1 == 1;
        let mut below = low;
        for &packed in present {
            let key = key_of(packed);
            if f64::from(value_of(key)) <= threshold {
                below = below.max(key);
            }
        }
        self.arrange(present, missing, missing_left, |_, packed| {
            key_of(packed) <= below
        });
        let cut = self.only_cut(shared, source, view, feature)?;
        let threshold = match shared.bins(feature) {
            Some(bins) => f64::from(bins.high[value_of(below) as usize]),
            None => threshold,
        };
        let cut = Cut {
            missing_left,
            ..cut
        };
        Some(found(view, feature, cut, threshold, missing))
    }

    /// Puts the rows of the left side before the others, with two keys, so that there is one
    /// boundary at most.
    pub(super) fn arrange(
        &mut self,
        present: &[u64],
        missing: &[u64],
        missing_left: bool,
        left: impl Fn(usize, u64) -> bool,
    ) {
        self.arranged.clear();
        for key in [0, 1] {
            let here = (key == 0) == missing_left;
            let lost = missing.iter().filter(|_| here).copied();
            let found = present.iter().copied().enumerate();
            let found = found.filter(|&(i, packed)| left(i, packed) == (key == 0));
            if key == 0 {
                self.arranged
                    .extend(lost.chain(found.map(|f| f.1)).map(|p| pack(key, row_of(p))));
            } else {
                self.arranged
                    .extend(found.map(|f| f.1).chain(lost).map(|p| pack(key, row_of(p))));
            }
        }
    }

    /// The cut between the two sides that were arranged, if it may be made.
    pub(super) fn only_cut(
        &mut self,
        shared: &NumberData,
        source: &Rows,
        view: &View,
        feature: usize,
    ) -> Option<Cut> {
        let arranged = std::mem::take(&mut self.arranged);
        let cut = self.cut(shared, source, view, feature, &arranged, &[]);
        self.arranged = arranged;
        cut
    }
}

/// The smallest and the largest value.
fn extremes(values: &[f32]) -> (f32, f32) {
    const LANES: usize = 8;
    // No value is missing: plain comparisons, which are one instruction each.
    let wider = |(low, high): (f32, f32), value: f32| {
        (
            if value < low { value } else { low },
            if value > high { value } else { high },
        )
    };
    let nothing = (f32::INFINITY, f32::NEG_INFINITY);
    let (groups, rest) = values.as_chunks::<LANES>();
    let mut found = nothing;
    if !groups.is_empty() {
        let mut lows = [nothing.0; LANES];
        let mut highs = [nothing.1; LANES];
        for group in groups {
            for lane in 0..LANES {
                (lows[lane], highs[lane]) = wider((lows[lane], highs[lane]), group[lane]);
            }
        }
        for lane in 0..LANES {
            found = wider(wider(found, lows[lane]), highs[lane]);
        }
    }
    rest.iter().fold(found, |found, &value| wider(found, value))
}

/// The sum of the numbers whose value goes left, in four lanes that do not wait for each other.
#[inline]
fn sum_where(values: &[f32], numbers: &[f64], goes: impl Fn(f32) -> bool) -> f64 {
    // A branch would be mispredicted every other time.
    let masked = |value: f32, number: f64| {
        f64::from_bits(number.to_bits() & u64::from(goes(value)).wrapping_neg())
    };
    let mut lanes = [0.0; 4];
    let (groups, rest) = values.as_chunks::<4>();
    let (number_groups, number_rest) = numbers.as_chunks::<4>();
    for (values, numbers) in groups.iter().zip(number_groups) {
        for lane in 0..4 {
            lanes[lane] += masked(values[lane], numbers[lane]);
        }
    }
    for (lane, (&value, &number)) in lanes.iter_mut().zip(rest.iter().zip(number_rest)) {
        *lane += masked(value, number);
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

/// A threshold from `low` up to but not including `high`, and the stream that a coin comes from.
#[inline]
fn draw(view: &View, feature: usize, low: f32, high: f32) -> (f64, Stream) {
    let (least, most) = (f64::from(low), f64::from(high));
    let mut stream = Stream::new(view.key, feature as u64 + 1);
    let mut threshold = least + stream.next_f64() * (most - least);
    if threshold >= most {
        threshold = least;
    }
    (threshold, stream)
}
