//! Maxima and means of windows of one image (rows, columns, channels).

use crate::tier::{Tier, detected};
use std::ops::Range;

/// What defines a pooling of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Rows and columns of the image.
    pub image: (usize, usize),
    /// Channels.
    pub channels: usize,
    /// Rows and columns of a window.
    pub size: (usize, usize),
    /// Steps of the windows over the image.
    pub stride: (usize, usize),
    /// Cells around the image that never count: (top, bottom), (left, right).
    pub padding: ((usize, usize), (usize, usize)),
}

impl PoolShape {
    /// Rows and columns of the answer; 0 where no window fits.
    pub fn out(&self) -> (usize, usize) {
        let one = |image: usize, pad: (usize, usize), size: usize, step: usize| {
            let image = image + pad.0 + pad.1;
            if image < size {
                0
            } else {
                (image - size) / step + 1
            }
        };
        (
            one(self.image.0, self.padding.0, self.size.0, self.stride.0),
            one(self.image.1, self.padding.1, self.size.1, self.stride.1),
        )
    }

    /// Numbers of one image.
    pub fn image_len(&self) -> usize {
        self.image.0 * self.image.1 * self.channels
    }

    /// Numbers in a row of the answer.
    pub fn row_len(&self) -> usize {
        self.out().1 * self.channels
    }

    /// Numbers of one answer.
    pub fn out_len(&self) -> usize {
        self.out().0 * self.row_len()
    }

    /// Cells of the image in the window at `y`, `x`.
    #[inline]
    fn cells(&self, y: usize, x: usize) -> (Range<usize>, Range<usize>) {
        let one = |at: usize, step: usize, pad: usize, size: usize, image: usize| {
            let from = (at * step).saturating_sub(pad);
            let to = (at * step + size).saturating_sub(pad).min(image);
            from.min(to)..to
        };
        (
            one(
                y,
                self.stride.0,
                self.padding.0.0,
                self.size.0,
                self.image.0,
            ),
            one(
                x,
                self.stride.1,
                self.padding.1.0,
                self.size.1,
                self.image.1,
            ),
        )
    }
}

/// Runs a loop of plain Rust compiled for the given tier.
macro_rules! compiled {
    ($(fn $name:ident($($arg:ident: $t:ty),* $(,)?) = $body:ident;)+) => {$(
        fn $name(tier: Tier, $($arg: $t),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $t),*) {
                    $body($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")]
                fn avx512($($arg: $t),*) {
                    $body($($arg),*)
                }
                match tier.min(detected()) {
                    // SAFETY: the processor has the tier.
                    Tier::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: the processor has the tier.
                    Tier::Avx2 => return unsafe { avx2($($arg),*) },
                    Tier::Scalar => {}
                }
            }
            let _ = (tier, detected);
            $body($($arg),*)
        }
    )+};
}

compiled! {
    fn max_rows(s: &PoolShape, x: &[f32], rows: Range<usize>, y: &mut [f32], at: &mut [i32]) = max_body;
    fn avg_rows(s: &PoolShape, x: &[f32], rows: Range<usize>, y: &mut [f32]) = avg_body;
    fn avg_back(s: &PoolShape, gy: &[f32], gx: &mut [f32]) = avg_back_body;
}

#[inline(always)]
fn max_body(s: &PoolShape, x: &[f32], rows: Range<usize>, y: &mut [f32], at: &mut [i32]) {
    let (channels, columns) = (s.channels, s.out().1);
    let mut pixels = y
        .chunks_exact_mut(channels)
        .zip(at.chunks_exact_mut(channels));
    for row in rows {
        for column in 0..columns {
            let Some((y, at)) = pixels.next() else { return };
            y.fill(f32::NEG_INFINITY);
            at.fill(0);
            let (is, js) = s.cells(row, column);
            for i in is {
                for j in js.clone() {
                    let place = i * s.image.1 + j;
                    let x = &x[place * channels..(place + 1) * channels];
                    let (y, at) = (&mut y[..channels], &mut at[..channels]);
                    for c in 0..channels {
                        // Among equal ones the first counts; a NaN wins and stays.
                        let better = ((x[c] > y[c]) | x[c].is_nan()) & !y[c].is_nan();
                        at[c] = if better { place as i32 } else { at[c] };
                        y[c] = if better { x[c] } else { y[c] };
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn avg_body(s: &PoolShape, x: &[f32], rows: Range<usize>, y: &mut [f32]) {
    let (channels, columns) = (s.channels, s.out().1);
    let mut pixels = y.chunks_exact_mut(channels);
    for row in rows {
        for column in 0..columns {
            let Some(y) = pixels.next() else { return };
            y.fill(0.0);
            let (is, js) = s.cells(row, column);
            let cells = (is.len() * js.len()) as f32;
            for i in is {
                for j in js.clone() {
                    let place = i * s.image.1 + j;
                    let x = &x[place * channels..(place + 1) * channels];
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
                }
            }
            y.iter_mut().for_each(|y| *y /= cells);
        }
    }
}

#[inline(always)]
fn avg_back_body(s: &PoolShape, gy: &[f32], gx: &mut [f32]) {
    let channels = s.channels;
    let (rows, columns) = s.out();
    gx.fill(0.0);
    for row in 0..rows {
        for column in 0..columns {
            let place = (row * columns + column) * channels;
            let gy = &gy[place..place + channels];
            let (is, js) = s.cells(row, column);
            let cells = (is.len() * js.len()) as f32;
            for i in is {
                for j in js.clone() {
                    let place = i * s.image.1 + j;
                    let gx = &mut gx[place * channels..(place + 1) * channels];
                    gx.iter_mut().zip(gy).for_each(|(x, y)| *x += y / cells);
                }
            }
        }
    }
}

/// Maxima of the windows in the answer's rows `rows`, and their places (row * columns + column).
///
/// Among equal ones the first counts; a NaN wins; a window without cells gives minus infinity.
///
/// # Panics
/// If a length does not fit.
pub fn max(
    tier: Tier,
    s: &PoolShape,
    x: &[f32],
    rows: Range<usize>,
    y: &mut [f32],
    at: &mut [i32],
) {
    assert!(x.len() == s.image_len() && y.len() == at.len());
    assert!(y.len() == rows.len() * s.row_len() && rows.end <= s.out().0);
    if !y.is_empty() {
        max_rows(tier, s, x, rows, y, at);
    }
}

/// Gives each maximum's gradient to its place; false if a place lies outside the image.
///
/// # Panics
/// If a length does not fit.
#[must_use]
pub fn max_backward(channels: usize, gy: &[f32], at: &[i32], gx: &mut [f32]) -> bool {
    assert!(gy.len() == at.len());
    gx.fill(0.0);
    if channels == 0 {
        return true;
    }
    assert!(gx.len().is_multiple_of(channels) && gy.len().is_multiple_of(channels));
    let places = gx.len() / channels;
    for (gy, at) in gy.chunks_exact(channels).zip(at.chunks_exact(channels)) {
        for (c, (&g, &at)) in gy.iter().zip(at).enumerate() {
            if at < 0 || at as usize >= places {
                return false;
            }
            gx[at as usize * channels + c] += g;
        }
    }
    true
}

/// Means of the windows in the answer's rows `rows`; cells outside the image do not count.
///
/// # Panics
/// If a length does not fit.
pub fn avg(tier: Tier, s: &PoolShape, x: &[f32], rows: Range<usize>, y: &mut [f32]) {
    assert!(x.len() == s.image_len());
    assert!(y.len() == rows.len() * s.row_len() && rows.end <= s.out().0);
    if !y.is_empty() {
        avg_rows(tier, s, x, rows, y);
    }
}

/// The gradient of [`avg`] with respect to one image.
///
/// # Panics
/// If a length does not fit.
pub fn avg_backward(tier: Tier, s: &PoolShape, gy: &[f32], gx: &mut [f32]) {
    assert!(gx.len() == s.image_len() && gy.len() == s.out_len());
    avg_back(tier, s, gy, gx);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::supported;
    use proptest::prelude::*;

    fn shapes() -> impl Strategy<Value = PoolShape> {
        let pair = |low: usize, high: usize| (low..=high, low..=high);
        (
            pair(1, 9),
            1usize..20,
            pair(1, 3),
            pair(1, 3),
            pair(0, 1),
            pair(0, 1),
        )
            .prop_map(|(image, channels, size, stride, top, left)| PoolShape {
                image,
                channels,
                // A window larger than its padding always has a cell.
                size: (size.0.max(2), size.1.max(2)),
                stride,
                padding: (top, left),
            })
    }

    proptest! {
        #[test]
        fn as_plain_loops(s in shapes(), numbers in prop::collection::vec(-3i32..3, 9 * 9 * 20)) {
            let x: Vec<f32> = numbers[..s.image_len()].iter().map(|&v| v as f32).collect();
            let (rows, columns) = s.out();
            let n = s.out_len();
            let mut best = vec![f32::NEG_INFINITY; n];
            let (mut place, mut mean, mut gx) = (vec![0; n], vec![0.0f64; n], vec![0.0f64; x.len()]);
            for o in 0..n {
                let (pixel, c) = (o / s.channels, o % s.channels);
                let mut cells = Vec::new();
                for i in 0..s.size.0 {
                    for j in 0..s.size.1 {
                        let row = (pixel / columns * s.stride.0 + i).wrapping_sub(s.padding.0.0);
                        let column = (pixel % columns * s.stride.1 + j).wrapping_sub(s.padding.1.0);
                        if row < s.image.0 && column < s.image.1 {
                            cells.push(row * s.image.1 + column);
                        }
                    }
                }
                for &cell in &cells {
                    let v = x[cell * s.channels + c];
                    if v > best[o] {
                        (best[o], place[o]) = (v, cell as i32);
                    }
                    mean[o] += f64::from(v) / cells.len() as f64;
                    gx[cell * s.channels + c] += o as f64 / cells.len() as f64;
                }
            }
            let gy: Vec<f32> = (0..n).map(|o| o as f32).collect();
            for tier in supported() {
                let (mut y, mut at) = (vec![0.0; n], vec![0; n]);
                let cut = rows / 2;
                let (y0, y1) = y.split_at_mut(cut * s.row_len());
                let (at0, at1) = at.split_at_mut(cut * s.row_len());
                max(tier, &s, &x, 0..cut, y0, at0);
                max(tier, &s, &x, cut..rows, y1, at1);
                prop_assert_eq!(&y, &best);
                prop_assert_eq!(&at, &place);
                avg(tier, &s, &x, 0..rows, &mut y);
                for (a, b) in y.iter().zip(&mean) {
                    prop_assert!((f64::from(*a) - b).abs() < 1e-5);
                }
                let mut got = vec![f32::NAN; x.len()];
                avg_backward(tier, &s, &gy, &mut got);
                for (a, b) in got.iter().zip(&gx) {
                    prop_assert!((f64::from(*a) - b).abs() < 1e-5 * (n as f64 + 1.0));
                }
            }
            let mut got = vec![f32::NAN; x.len()];
            prop_assert!(max_backward(s.channels, &gy, &place, &mut got));
            for (i, v) in got.iter().enumerate() {
                let sum: f32 = (0..n)
                    .filter(|&o| place[o] as usize * s.channels + o % s.channels == i)
                    .map(|o| gy[o])
                    .sum();
                prop_assert_eq!(*v, sum);
            }
        }
    }

    #[test]
    fn nan_wins_and_bad_places_are_refused() {
        let s = PoolShape {
            image: (1, 3),
            channels: 1,
            size: (1, 3),
            stride: (1, 1),
            padding: ((0, 0), (0, 0)),
        };
        for tier in supported() {
            let (mut y, mut at) = ([0.0], [0]);
            max(tier, &s, &[1.0, f32::NAN, 2.0], 0..1, &mut y, &mut at);
            assert!(y[0].is_nan() && at[0] == 1);
        }
        let mut gx = [0.0; 3];
        assert!(!max_backward(1, &[1.0], &[3], &mut gx));
        assert!(!max_backward(1, &[1.0], &[-1], &mut gx));
    }
}
