//! The microkernel: one tile of the product, summed up in registers.
//!
//! Rows of `A` are broadcast, columns of `B` stand in the lanes. Of `A` the tile reads `MR`
//! rows in place: either each row is contiguous ([`ROWS`]) or each column is ([`COLUMNS`],
//! a transposed or a packed `A`). The inner dimension may consist of several segments that
//! lie anywhere, so that a convolution reads its patches straight from the image.

use super::epilogue::Bend;
#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};
use super::lanes::{Lanes, Plain};
use crate::tier::{Tier, detected};

/// Element (i, k) of `A` at `i * stride + k`.
pub(crate) const ROWS: usize = 0;
/// Element (i, k) of `A` at `i + k * stride`.
pub(crate) const COLUMNS: usize = 1;

/// A stretch of the inner dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it begins, from the tile's first element of `A`.
    pub at: isize,
    /// Steps in it.
    pub len: usize,
}

/// What becomes of the sums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish {
    /// They are multiplied by this.
    pub alpha: f32,
    /// Added to `C` instead of replacing it.
    pub accumulate: bool,
    /// Then this is added, if not null; valid for the tile's columns.
    pub bias: *const f32,
    /// Applied last.
    pub bend: Bend,
}

/// Arguments of one tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Args {
    pub a: *const f32,
    pub a_stride: usize,
    pub segments: *const Segment,
    pub segment_count: usize,
    /// Rows of `B`, one for each step of all segments.
    pub b: *const f32,
    pub b_stride: usize,
    pub c: *mut f32,
    pub c_stride: usize,
    /// Columns of the tile; at most the panel's width.
    pub width: usize,
    /// Whether rows of `B` are readable up to the panel's width.
    pub b_padded: bool,
    pub finish: Finish,
}

/// # Safety
/// The tier of `V` is there; `Args` describe memory that is valid for all that the tile reads
/// and writes; `(NV - 1) * V::N < width <= NV * V::N`.
#[inline(always)]
unsafe fn tile<V: Lanes, const MR: usize, const NV: usize, const KU: usize, const ORDER: usize>(
    t: &Args,
) {
    // SAFETY: the caller's promise; see each pointer's use.
    unsafe {
        let last = t.width - (NV - 1) * V::N;
        let some = last < V::N;
        let mut acc = [[[V::zero(); NV]; MR]; KU];
        let mut b = t.b;
        let (across, along) = if ORDER == ROWS {
            (t.a_stride, 1)
        } else {
            (1, t.a_stride)
        };
        let masked = some && !t.b_padded;
        for s in 0..t.segment_count {
            let segment = &*t.segments.add(s);
            let mut a = t.a.offset(segment.at);
            let mut left = segment.len;
            if !masked {
                while left >= KU {
                    for u in 0..KU {
                        let mut row = [V::zero(); NV];
                        for j in 0..NV {
                            row[j] = V::load(b.add(j * V::N));
                        }
                        for i in 0..MR {
                            let x = V::splat(*a.add(i * across));
                            for j in 0..NV {
                                acc[u][i][j] = x.mul_add(row[j], acc[u][i][j]);
                            }
                        }
                        a = a.wrapping_add(along);
                        b = b.wrapping_add(t.b_stride);
                    }
                    left -= KU;
                }
            }
            while left > 0 {
                let mut row = [V::zero(); NV];
                for j in 0..NV - 1 {
                    row[j] = V::load(b.add(j * V::N));
                }
                row[NV - 1] =
                    V::load_some(b.add((NV - 1) * V::N), if masked { last } else { V::N });
                for i in 0..MR {
                    let x = V::splat(*a.add(i * across));
                    for j in 0..NV {
                        acc[0][i][j] = x.mul_add(row[j], acc[0][i][j]);
                    }
                }
                a = a.wrapping_add(along);
                b = b.wrapping_add(t.b_stride);
                left -= 1;
            }
        }
        for u in 1..KU {
            for i in 0..MR {
                for j in 0..NV {
                    acc[0][i][j] = acc[0][i][j].add(acc[u][i][j]);
                }
            }
        }
        let acc = &mut acc[0];
        let f = &t.finish;
        if f.alpha != 1.0 {
            let alpha = V::splat(f.alpha);
            for i in 0..MR {
                for j in 0..NV {
                    acc[i][j] = acc[i][j].mul(alpha);
                }
            }
        }
        let lanes = |j: usize| if j + 1 == NV { last } else { V::N };
        if f.accumulate {
            for i in 0..MR {
                for j in 0..NV {
                    let c = t.c.add(i * t.c_stride + j * V::N);
                    let old = if j + 1 == NV && some {
                        V::load_some(c, last)
                    } else {
                        V::load(c)
                    };
                    acc[i][j] = acc[i][j].add(old);
                }
            }
        }
        if !f.bias.is_null() {
            for j in 0..NV {
                let bias = V::load_some(f.bias.add(j * V::N), lanes(j));
                for i in 0..MR {
                    acc[i][j] = acc[i][j].add(bias);
                }
            }
        }
        // One branch for all registers, not one for each.
        if f.bend.slope == 0.0 {
            for i in 0..MR {
                for j in 0..NV {
                    // In this order NaN stays.
                    acc[i][j] = V::zero().max(acc[i][j]);
                }
            }
        } else if f.bend.slope != 1.0 {
            let slope = V::splat(f.bend.slope);
            for i in 0..MR {
                for j in 0..NV {
                    acc[i][j] = slope.mul(acc[i][j]).max(acc[i][j]);
                }
            }
        }
        if f.bend.most < f32::INFINITY {
            let most = V::splat(f.bend.most);
            for i in 0..MR {
                for j in 0..NV {
                    acc[i][j] = most.min(acc[i][j]);
                }
            }
        }
        for i in 0..MR {
            let c = t.c.add(i * t.c_stride);
            for j in 0..NV - 1 {
                acc[i][j].store(c.add(j * V::N));
            }
            let c = c.add((NV - 1) * V::N);
            if some {
                acc[i][NV - 1].store_some(c, last);
            } else {
                acc[i][NV - 1].store(c);
            }
        }
    }
}

/// A compiled tile.
type Kernel = unsafe fn(&Args);

/// Most rows of a tile on any tier.
const MOST_ROWS: usize = 14;

/// The tiles of a tier by order, rows - 1, registers - 1.
type Table = [[[Kernel; 2]; MOST_ROWS]; 2];

/// Steps that are summed apart, so that few rows still fill the pipelines.
macro_rules! pairs {
    ($f:ident, $order:ident, $most:literal; $($rows:literal $unroll:literal,)*) => {{
        let mut out: [[Kernel; 2]; MOST_ROWS] = [[missing; 2]; MOST_ROWS];
        $(if $rows <= $most {
            out[$rows - 1] = [$f::<$rows, 1, $unroll, $order>, $f::<$rows, 2, $unroll, $order>];
        })*
        out
    }};
}

macro_rules! table {
    ($f:ident, $most:literal, $($rows:literal)*) => {{
        [
            pairs!($f, ROWS, $most; 1 4, 2 4, 3 2, 4 2, $($rows 1,)*),
            pairs!($f, COLUMNS, $most; 1 4, 2 4, 3 2, 4 2, $($rows 1,)*),
        ]
    }};
}

/// Stands where a tier has no tile of that many rows; never called.
unsafe fn missing(_: &Args) {
    unreachable!("no tile of that many rows")
}

unsafe fn plain<const MR: usize, const NV: usize, const KU: usize, const ORDER: usize>(t: &Args) {
    // SAFETY: the caller's promise.
    unsafe { tile::<Plain, MR, NV, KU, ORDER>(t) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const MR: usize, const NV: usize, const KU: usize, const ORDER: usize>(t: &Args) {
    // SAFETY: the caller's promise.
    unsafe { tile::<Avx2, MR, NV, KU, ORDER>(t) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn avx512<const MR: usize, const NV: usize, const KU: usize, const ORDER: usize>(t: &Args) {
    // SAFETY: the caller's promise.
    unsafe { tile::<Avx512, MR, NV, KU, ORDER>(t) }
}

#[cfg(target_arch = "x86_64")]
static PLAIN: Table = table!(plain, 6, 5 6);
// NEON has 32 registers, SSE2 16.
#[cfg(not(target_arch = "x86_64"))]
static PLAIN: Table = table!(plain, 12, 5 6 7 8 9 10 11 12);
#[cfg(target_arch = "x86_64")]
static AVX2: Table = table!(avx2, 6, 5 6);
#[cfg(target_arch = "x86_64")]
static AVX512: Table = table!(avx512, 14, 5 6 7 8 9 10 11 12 13 14);

/// The tiles of one tier.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    table: &'static Table,
    /// Numbers in a register.
    pub lanes: usize,
    /// Most rows of a tile.
    pub rows: usize,
}

impl Kernels {
    /// The tiles of `tier`, or of the widest tier below it that the processor has.
    #[inline]
    pub fn of(tier: Tier) -> Kernels {
        match tier.min(detected()) {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => Kernels {
                table: &AVX512,
                lanes: 16,
                rows: 14,
            },
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => Kernels {
                table: &AVX2,
                lanes: 8,
                rows: 6,
            },
            _ => Kernels {
                table: &PLAIN,
                lanes: 4,
                rows: if cfg!(target_arch = "x86_64") { 6 } else { 12 },
            },
        }
    }

    /// Columns of a panel: two registers.
    #[inline]
    pub fn panel(&self) -> usize {
        2 * self.lanes
    }

    /// Computes the tile of `rows` rows.
    ///
    /// # Safety
    /// `t` describes memory that is valid for all that the tile reads and writes.
    #[inline]
    pub unsafe fn run(&self, order: usize, rows: usize, t: &Args) {
        assert!(rows >= 1 && rows <= self.rows && t.width >= 1 && t.width <= self.panel());
        let kernel = self.table[order][rows - 1][t.width.div_ceil(self.lanes) - 1];
        // SAFETY: the table's tier was found by `detected`; the caller answers for `t`.
        unsafe { kernel(t) }
    }
}
