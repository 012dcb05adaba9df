//! Projection onto a simplex.

/// Replaces `v` by the nearest point whose elements are not negative and sum to `total`.
///
/// Michelot, "A finite algorithm for finding the projection of a point onto the canonical
/// simplex of R^n", 1986.
pub(super) fn project(v: &mut [f64], total: f64) {
    if total <= 0.0 {
        v.fill(0.0);
        return;
    }
    // Most rows are far from the margin: all belongs to the largest element.
    let (mut first, mut second, mut at) = (f64::NEG_INFINITY, f64::NEG_INFINITY, 0);
    for (m, &value) in v.iter().enumerate() {
        if value > first {
            (second, first, at) = (first, value, m);
        } else if value > second {
            second = value;
        }
    }
    if first - total >= second {
        v.fill(0.0);
        v[at] = total;
        return;
    }
    let mut threshold = f64::NEG_INFINITY;
    let mut before = usize::MAX;
    loop {
        let (mut count, mut sum) = (0usize, 0.0);
        for &value in v.iter().filter(|v| **v > threshold) {
            count += 1;
            sum += value;
        }
        if count >= before || count == 0 {
            break;
        }
        before = count;
        threshold = (sum - total) / count as f64;
    }
    for value in v {
        *value = (*value - threshold).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn projections_are_the_nearest_points(
            given in prop::collection::vec(-3.0f64..3.0, 1..9), size in 0usize..16, total in 0.0f64..2.0,
        ) {
            // Sizes up to 1e15: rounding must not keep the search from ending.
            let scale = 10f64.powi(size as i32);
            let given: Vec<f64> = given.iter().map(|v| v * scale).collect();
            let mut point = given.clone();
            project(&mut point, total);
            prop_assert!(point.iter().all(|p| *p >= 0.0));
            let sum: f64 = point.iter().sum();
            prop_assert!((sum - total).abs() <= 1e-14 * scale + 1e-14);
            // Optimality: the same amount is taken off each element in play, and no element
            // out of play exceeds that amount.
            let taken: Vec<f64> = given.iter().zip(&point).map(|(g, p)| g - p).collect();
            if total > 0.0 {
                let most = taken.iter().cloned().fold(f64::NEG_INFINITY, f64::max);
                for (t, p) in taken.iter().zip(&point) {
                    if *p > 0.0 {
                        prop_assert!(most - t <= 1e-14 * scale);
                    }
                }
            }
        }
    }
}
