//! The part of an image that a pass reads, with zeros around it.

use crate::buffer::Buffer;
use std::ops::Range;

/// Pixels that may be read without looking where the image ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Its first number.
    pub data: *const f32,
    /// Numbers from one row to the next.
    pub row: usize,
}

/// Rows `rows` and columns `columns` (either may reach outside) of an image.
///
/// Where nothing lies outside, the image itself; else a copy in `scratch` with zeros.
///
/// # Panics
/// If `image` has not `size.0 * size.1 * channels` numbers.
pub(crate) fn window(
    image: &[f32],
    size: (usize, usize),
    channels: usize,
    rows: Range<isize>,
    columns: Range<isize>,
    scratch: &mut Buffer,
) -> Window {
    assert!(image.len() == size.0 * size.1 * channels);
    let inside = |range: &Range<isize>, n: usize| range.start >= 0 && range.end <= n as isize;
    if inside(&rows, size.0) && inside(&columns, size.1) {
        let at = (rows.start as usize * size.1 + columns.start as usize) * channels;
        return Window {
            data: image[at.min(image.len())..].as_ptr(),
            row: size.1 * channels,
        };
    }
    let width = (columns.end - columns.start).max(0) as usize * channels;
    let height = (rows.end - rows.start).max(0) as usize;
    let out = scratch.take(height * width);
    let from = columns.start.clamp(0, size.1 as isize);
    let to = columns.end.clamp(from, size.1 as isize);
    let before = (from - columns.start).max(0) as usize * channels;
    let before = before.min(width);
    let middle = (to - from) as usize * channels;
    for (y, line) in (rows.start..rows.end).zip(out.chunks_exact_mut(width.max(1))) {
        if y < 0 || y >= size.0 as isize || middle == 0 {
            line.fill(0.0);
            continue;
        }
        let start = (y as usize * size.1 + from as usize) * channels;
        line[..before].fill(0.0);
        line[before..before + middle].copy_from_slice(&image[start..start + middle]);
        line[before + middle..].fill(0.0);
    }
    Window {
        data: out.as_ptr(),
        row: width,
    }
}
