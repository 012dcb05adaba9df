//! Quantile bins of one feature.

/// The smallest and largest value of each bin, in rising order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bins {
    pub low: Vec<f32>,
    pub high: Vec<f32>,
}

impl Bins {
    /// At most `max_bins` bins of about equal numbers of rows over values without NaN, which
    /// are sorted in place. One bin a value where there are not more values than bins.
    pub fn new(values: &mut [f32], max_bins: usize) -> Bins {
        values.sort_unstable_by(f32::total_cmp);
        let distinct = 1 + values.windows(2).filter(|w| w[0] < w[1]).count();
        let mut bins = Bins::default();
        let mut start = 0;
        while start < values.len() {
            let mut end = start + 1;
            if distinct > max_bins {
                let rest = (max_bins - bins.low.len().min(max_bins - 1)).max(1);
                end = start + (values.len() - start).div_ceil(rest);
            }
            while end < values.len() && values[end] <= values[end - 1] {
                end += 1;
            }
            bins.low.push(values[start]);
            bins.high.push(values[end - 1]);
            start = end;
        }
        bins
    }

    /// The bin of a value that was among those the bins were made of.
    pub fn code(&self, value: f32) -> usize {
        self.high
            .partition_point(|&high| high < value)
            .min(self.high.len().saturating_sub(1))
    }
}

/// scikit-learn's threshold between two neighbouring values: their midpoint, or the lower one
/// where rounding would put it on the upper one or the sum is infinite.
pub(crate) fn midpoint(low: f32, high: f32) -> f64 {
    let middle = f64::from(low) / 2.0 + f64::from(high) / 2.0;
    if middle == f64::from(high) || middle.is_infinite() {
        f64::from(low)
    } else {
        middle
    }
}
