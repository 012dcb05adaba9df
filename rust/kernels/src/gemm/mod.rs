//! Products of matrices in single precision on one thread.
//!
//! The layout of the loops follows Goto and van de Geijn, *Anatomy of High-Performance Matrix
//! Multiplication* (ACM Trans. Math. Softw. 34, 2008): `B` goes through the caches in packed
//! panels, a block of `A` stays in the second-level cache, one tile of `C` is in registers.
//! `A` is packed only where it would be read against the grain or very often; many products of
//! networks have few rows or few columns, and a copy would cost more than it gains.
//!
//! Nothing here allocates, if the scratch is large enough from an earlier call.

mod epilogue;
mod lanes;
mod matrix;
mod packed;
#[cfg(test)]
mod tests;
mod tile;

use crate::buffer::Buffer;
use crate::tier::Tier;
pub(crate) use epilogue::Bend;
pub use epilogue::{Activation, Epilogue};
pub(crate) use lanes::{Lanes, Task, dispatch};
pub use matrix::{Mat, MatMut};
pub(crate) use packed::pack_panel;
pub use packed::{PackPart, PackedB};
pub(crate) use tile::{Args, COLUMNS, Finish, Kernels, ROWS, Segment};

/// Steps of the inner dimension that go through the caches together.
const INNER: usize = 256;
/// Rows of `A` that stay in the second-level cache meanwhile.
const BLOCK_ROWS: usize = 336;
/// Columns of `B` that are packed together.
const BLOCK_COLUMNS: usize = 1024;
/// From this many columns on a contiguous `A` is packed: it is read once for each panel.
const PACK_COLUMNS: usize = 512;

/// `C = act(alpha A B + beta C + bias)`.
///
/// `beta` may be 0, then `C` need not be initialised with finite numbers. The answer depends
/// on the shapes and the tier only.
///
/// # Panics
/// If the shapes do not fit together.
pub fn gemm(
    tier: Tier,
    alpha: f32,
    a: Mat,
    b: Mat,
    beta: f32,
    mut c: MatMut,
    epilogue: &Epilogue,
    scratch: &mut Buffer,
) {
    let (m, n, k) = (a.rows(), b.columns(), a.columns());
    assert!(
        b.rows() == k && c.rows() == m && c.columns() == n,
        "{m} x {k} times {} x {n} does not give {} x {}",
        b.rows(),
        c.rows(),
        c.columns()
    );
    check_bias(epilogue, n);
    let kernels = Kernels::of(tier);
    let accumulate = start(&mut c, beta, k);
    let panel = kernels.panel();
    let (b_down, b_across) = b.strides();
    // A `B` that is read once is not worth a copy.
    let in_place = b_across == 1 && (m <= kernels.rows || n <= panel && b_down <= 2 * panel);
    for from in (0..k).step_by(INNER) {
        let inner = from..(from + INNER).min(k);
        let depth = inner.len();
        let pass = Pass {
            alpha,
            accumulate: accumulate || from > 0,
            epilogue: if inner.end == k {
                *epilogue
            } else {
                Epilogue::NONE
            },
        };
        let a = a.column_range(inner.clone());
        let b = b.row_range(inner);
        for j in (0..n).step_by(BLOCK_COLUMNS) {
            let columns = j..(j + BLOCK_COLUMNS).min(n);
            let b = b.column_range(columns.clone());
            let panels = columns.len().div_ceil(panel);
            // With one block of rows each panel is packed right before its use.
            let single = m <= BLOCK_ROWS;
            let room = match (in_place, single) {
                (true, _) => 0,
                (false, true) => panel * depth,
                (false, false) => panels * panel * depth,
            };
            let pack_a = packs_a(a, n);
            let (b_room, a_room) = scratch
                .take(room + if pack_a { BLOCK_ROWS * depth } else { 0 })
                .split_at_mut(room);
            if !in_place && !single {
                for p in 0..panels {
                    let part = &mut b_room[p * panel * depth..(p + 1) * panel * depth];
                    pack_panel(b.column_range(range(p, panel, columns.len())), panel, part);
                }
            }
            for i in (0..m).step_by(BLOCK_ROWS) {
                let rows = i..(i + BLOCK_ROWS).min(m);
                let a = a.row_range(rows.clone());
                let left = Left::new(&kernels, a, pack_a.then_some(&mut *a_room));
                for p in 0..panels {
                    let part = range(p, panel, columns.len());
                    let right = if in_place {
                        let b = b.column_range(part.clone());
                        (b.ptr(), b_down, false)
                    } else {
                        let at = if single { 0 } else { p * panel * depth };
                        let room = &mut b_room[at..at + panel * depth];
                        if single {
                            pack_panel(b.column_range(part.clone()), panel, room);
                        }
                        (room.as_ptr(), panel, true)
                    };
                    let part = part.start + columns.start..part.end + columns.start;
                    // SAFETY: `right` has `depth` rows of the panel's columns (padded ones up
                    // to its width), `part` are columns of C.
                    unsafe { pass.panel(&kernels, &left, right, rows.clone(), part, &mut c) };
                }
            }
        }
    }
    if k == 0 || !epilogue.activation.in_registers() {
        finish(tier, &mut c, epilogue, k == 0);
    }
}

/// [`gemm`] with a `B` that was packed before.
///
/// # Panics
/// If the shapes do not fit together, or `b` was packed for another tier.
pub fn packed(
    tier: Tier,
    alpha: f32,
    a: Mat,
    b: &PackedB,
    beta: f32,
    mut c: MatMut,
    epilogue: &Epilogue,
    scratch: &mut Buffer,
) {
    let (m, n, k) = (a.rows(), b.columns(), a.columns());
    assert!(
        b.rows() == k && c.rows() == m && c.columns() == n,
        "{m} x {k} times {} x {n} does not give {} x {}",
        b.rows(),
        c.rows(),
        c.columns()
    );
    check_bias(epilogue, n);
    let kernels = Kernels::of(tier);
    assert!(
        n == 0 || b.panel_width() == kernels.panel(),
        "packed for another tier"
    );
    let accumulate = start(&mut c, beta, k);
    for from in (0..k).step_by(INNER) {
        let inner = from..(from + INNER).min(k);
        let pass = Pass {
            alpha,
            accumulate: accumulate || from > 0,
            epilogue: if inner.end == k {
                *epilogue
            } else {
                Epilogue::NONE
            },
        };
        let depth = inner.len();
        let a = a.column_range(inner);
        let pack_a = packs_a(a, n);
        for i in (0..m).step_by(BLOCK_ROWS) {
            let rows = i..(i + BLOCK_ROWS).min(m);
            let room = scratch.take(if pack_a { BLOCK_ROWS * depth } else { 0 });
            let left = Left::new(&kernels, a.row_range(rows.clone()), pack_a.then_some(room));
            for p in 0..b.panels() {
                let (panel, columns) = b.panel(p, from);
                let right = (panel.as_ptr(), kernels.panel(), true);
                // SAFETY: the panel has at least `depth` rows of its whole width.
                unsafe { pass.panel(&kernels, &left, right, rows.clone(), columns, &mut c) };
            }
        }
    }
    if k == 0 || !epilogue.activation.in_registers() {
        finish(tier, &mut c, epilogue, k == 0);
    }
}

/// Columns of panel `p` among `n`.
#[inline]
fn range(p: usize, panel: usize, n: usize) -> std::ops::Range<usize> {
    p * panel..((p + 1) * panel).min(n)
}

fn check_bias(epilogue: &Epilogue, n: usize) {
    if let Some(bias) = epilogue.bias {
        assert!(bias.len() == n, "a bias of {} for {n} columns", bias.len());
    }
}

/// Whether a block of `A` is copied before its use.
#[inline]
fn packs_a(a: Mat, n: usize) -> bool {
    let (down, across) = a.strides();
    match (down, across) {
        (_, 1) => n >= PACK_COLUMNS,
        // Columns are contiguous: tiles may read them in place, but each step of the inner
        // dimension is then another cache line.
        (1, _) => a.rows() > 16 && a.columns() > 16,
        _ => true,
    }
}

/// Scales `C` by `beta`; returns whether the product is to be added to it.
fn start(c: &mut MatMut, beta: f32, k: usize) -> bool {
    if beta == 0.0 {
        if k == 0 {
            (0..c.rows()).for_each(|i| c.row(i).fill(0.0));
        }
        return false;
    }
    if beta != 1.0 {
        for i in 0..c.rows() {
            c.row(i).iter_mut().for_each(|v| *v *= beta);
        }
    }
    true
}

/// What the tiles have left: activations outside of registers, and all if there was no tile.
fn finish(tier: Tier, c: &mut MatMut, epilogue: &Epilogue, bias: bool) {
    for i in 0..c.rows() {
        let row = c.row(i);
        if let Some(values) = epilogue.bias.filter(|_| bias) {
            row.iter_mut().zip(values).for_each(|(v, b)| *v += b);
        }
        epilogue.activation.apply(tier, row);
    }
}

/// A block of rows of `A`, divided into tiles of nearly equal height.
struct Left {
    data: *const f32,
    order: usize,
    stride: usize,
    /// Whether tiles lie one after another, each with its own height as stride.
    packed: bool,
    rows: usize,
    depth: usize,
    tiles: usize,
}

impl Left {
    /// A block in place, or copied into `room`.
    fn new(kernels: &Kernels, a: Mat, room: Option<&mut [f32]>) -> Left {
        let (rows, depth) = (a.rows(), a.columns());
        let (down, across) = a.strides();
        let mut left = Left {
            data: a.ptr(),
            order: if across == 1 { ROWS } else { COLUMNS },
            stride: if across == 1 { down } else { across },
            packed: false,
            rows,
            depth,
            tiles: rows.div_ceil(kernels.rows),
        };
        if let Some(room) = room {
            for t in 0..left.tiles {
                let (from, to) = (left.first(t), left.first(t + 1));
                let part = &mut room[from * depth..to * depth];
                pack_panel(a.row_range(from..to).t(), to - from, part);
            }
            left.data = room.as_ptr();
            left.order = COLUMNS;
            left.packed = true;
        }
        left
    }

    /// First row of tile `t`.
    #[inline]
    fn first(&self, t: usize) -> usize {
        t * self.rows / self.tiles
    }
}

/// One pass over a stretch of the inner dimension.
struct Pass<'a> {
    alpha: f32,
    accumulate: bool,
    epilogue: Epilogue<'a>,
}

impl Pass<'_> {
    /// All tiles of `left` with one panel.
    ///
    /// # Safety
    /// `right` is (first element, distance of rows, whether they are padded) of a panel with
    /// `left.depth` rows and the given `columns`; `rows` and `columns` are within `c`.
    #[inline]
    unsafe fn panel(
        &self,
        kernels: &Kernels,
        left: &Left,
        right: (*const f32, usize, bool),
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
        c: &mut MatMut,
    ) {
        let segment = Segment {
            at: 0,
            len: left.depth,
        };
        let bias = self
            .epilogue
            .bias
            .map_or(std::ptr::null(), |bias| bias[columns.clone()].as_ptr());
        let stride = c.stride();
        let mut args = Args {
            a: left.data,
            a_stride: left.stride,
            segments: &segment,
            segment_count: 1,
            b: right.0,
            b_stride: right.1,
            c: c.ptr(),
            c_stride: stride,
            width: columns.len(),
            b_padded: right.2,
            finish: Finish {
                alpha: self.alpha,
                accumulate: self.accumulate,
                bias,
                bend: self.epilogue.activation.bend(),
            },
        };
        let mut first = 0;
        for t in 0..left.tiles {
            let next = left.first(t + 1);
            // SAFETY: the tile's rows lie within the block and within C; a packed tile starts
            // after `first * depth` numbers and has its height as stride.
            unsafe {
                if left.packed {
                    args.a = left.data.add(first * left.depth);
                    args.a_stride = next - first;
                } else {
                    let across = if left.order == ROWS { left.stride } else { 1 };
                    args.a = left.data.add(first * across);
                }
                args.c = c.ptr().add((rows.start + first) * stride + columns.start);
                kernels.run(left.order, next - first, &args);
            }
            first = next;
        }
    }
}
