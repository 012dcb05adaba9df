//! Between samples in rows and samples in lanes.

use super::LANES;
use crate::tier::Tier;
use crate::tiered;
use crate::vmath::Lanes;

/// Turns a block of at most 16 x 16: element `j` of row `i` of `from`, which are `rows` rows of
/// `columns` elements, goes to element `i` of what `to(j)` points to. Rows from `rows` to
/// `write` are zeros, rows from `write` on are not written.
///
/// # Safety
/// As for [`Lanes`]; the pointers must be valid for the elements named above.
#[inline(always)]
pub(super) unsafe fn turn<V: Lanes>(
    rows: usize,
    columns: usize,
    write: usize,
    from: impl Fn(usize) -> *const f32,
    to: impl Fn(usize) -> *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut tile = [V::splat(0.0); 16];
        for row in (0..write).step_by(V::WIDTH) {
            let wanted = (write - row).min(V::WIDTH);
            for column in (0..columns).step_by(V::WIDTH) {
                let taken = (columns - column).min(V::WIDTH);
                for i in 0..V::WIDTH {
                    tile[i] = if row + i >= rows {
                        V::splat(0.0)
                    } else if taken == V::WIDTH {
                        V::load(from(row + i).add(column))
                    } else {
                        V::load_part(from(row + i).add(column), taken)
                    };
                }
                V::transpose(&mut tile);
                for j in 0..taken {
                    let place = to(column + j).add(row);
                    if wanted == V::WIDTH {
                        tile[j].store(place);
                    } else {
                        tile[j].store_part(place, wanted);
                    }
                }
            }
        }
    }
}

/// Writes `count` columns of up to 16 samples into lanes: sample `i` has its columns at
/// `from[i * stride..]`, and column `j` becomes lanes `lane..lane + 16` of row
/// `j / group * step + j % group` of `out`, zeros where there is no sample.
pub fn into_lanes(
    tier: Tier,
    from: &[f32],
    samples: usize,
    stride: usize,
    count: usize,
    group: usize,
    step: usize,
    lanes: usize,
    lane: usize,
    out: &mut [f32],
) {
    if count == 0 {
        return;
    }
    assert!(samples <= LANES && lanes.is_multiple_of(LANES) && lane + LANES <= lanes && group > 0);
    assert!(samples == 0 || (samples - 1) * stride + count <= from.len());
    let last = (count - 1) / group * step + (count - 1).min(group - 1);
    assert!(step >= group || count <= group);
    assert!((last + 1) * lanes <= out.len());
    into(
        tier,
        &Into {
            from: from.as_ptr(),
            out: out.as_mut_ptr(),
            samples,
            stride,
            count,
            group,
            step,
            lanes,
            lane,
        },
    );
}

struct Into {
    from: *const f32,
    out: *mut f32,
    samples: usize,
    stride: usize,
    count: usize,
    group: usize,
    step: usize,
    lanes: usize,
    lane: usize,
}

#[inline(always)]
unsafe fn into_body<V: Lanes>(raw: &Into) {
    // Place in its group and row of the next column, counted up: a division for each column
    // would cost as much as the turning.
    let (mut place, mut row) = (0, 0);
    for first in (0..raw.count).step_by(16) {
        let columns = (raw.count - first).min(16);
        let mut rows = [raw.out; 16];
        for to in &mut rows[..columns] {
            // SAFETY: the row of a column that exists.
            *to = unsafe { raw.out.add((row + place) * raw.lanes + raw.lane) };
            place += 1;
            if place == raw.group {
                (place, row) = (0, row + raw.step);
            }
        }
        // SAFETY: `into_lanes` has checked the extent of both slices.
        unsafe {
            turn::<V>(
                raw.samples,
                columns,
                16,
                |i| raw.from.add(i * raw.stride + first),
                |j| rows[j],
            );
        }
    }
}

/// Writes lanes `lane..` of `rows` rows (each `lanes` long) of `from` to samples: row `j`
/// becomes element `j` at `out[i * stride..]` of sample `i`.
pub fn from_lanes(
    tier: Tier,
    from: &[f32],
    rows: usize,
    lanes: usize,
    lane: usize,
    samples: usize,
    stride: usize,
    out: &mut [f32],
) {
    if rows == 0 || samples == 0 {
        return;
    }
    assert!(samples <= LANES && lane + samples <= lanes && rows * lanes <= from.len());
    assert!((samples - 1) * stride + rows <= out.len());
    back(
        tier,
        &Back {
            from: from.as_ptr(),
            out: out.as_mut_ptr(),
            rows,
            lanes,
            lane,
            samples,
            stride,
        },
    );
}

struct Back {
    from: *const f32,
    out: *mut f32,
    rows: usize,
    lanes: usize,
    lane: usize,
    samples: usize,
    stride: usize,
}

#[inline(always)]
unsafe fn back_body<V: Lanes>(raw: &Back) {
    for first in (0..raw.rows).step_by(16) {
        let count = (raw.rows - first).min(16);
        // SAFETY: `from_lanes` has checked the extent of both slices.
        unsafe {
            turn::<V>(
                count,
                raw.samples,
                count,
                |i| raw.from.add((first + i) * raw.lanes + raw.lane),
                |j| raw.out.add(j * raw.stride + first),
            );
        }
    }
}

tiered! {
    fn into(raw: &Into) = into_body;
    fn back(raw: &Back) = back_body;
}
