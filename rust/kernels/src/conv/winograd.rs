//! Convolutions with 3 x 3 kernels by minimal filtering: 4 x 4 outputs from 6 x 6 pixels.
//!
//! Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks* (arXiv:1509.09308): with
//! interpolation points 0, 1, -1, 2, -2 and infinity a tile of outputs takes 36 multiplications
//! for each pair of channels instead of 144. Products of all tiles at one of the 36 places form
//! a product of matrices.

use super::window::Window;
use crate::buffer::Buffer;
use crate::gemm::{Bend, Epilogue, Lanes, Mat, MatMut, PackedB, Task, dispatch, packed};
use crate::tier::Tier;

/// Outputs of a tile along one axis.
pub(super) const OUT: usize = 4;
/// Pixels of a tile along one axis.
const IN: usize = OUT + 2;
/// Places of a tile.
const PLACES: usize = IN * IN;
/// Tiles whose products are computed together, so that they stay in the second-level cache.
const TILES: usize = 32;
/// Rows (or columns) of the kernel that are transformed together.
const ROWS: usize = 16;
/// Channels on either side from which on the transforms are worth it.
pub(super) const LEAST: usize = 64;

/// Whether answers of that size gain from it: the outputs of whole tiles must not be too many,
/// and the multiplications saved must be worth the larger kernel.
pub(super) fn pays(out: (usize, usize), images: usize) -> bool {
    let tiles = out.0.div_ceil(OUT) * out.1.div_ceil(OUT);
    let (direct, here) = (9 * out.0 * out.1, PLACES * tiles);
    // In cycles for a pair of channels, with 32 multiplications in each.
    direct > 2 * here && (direct - here) * images / 32 > 10 * PLACES
}

/// Numbers that are transformed side by side.
type Side = [f32; ROWS];

/// Turns a kernel's 3 numbers along one axis into 6.
#[inline(always)]
fn spread(g: &[Side; 3]) -> [Side; IN] {
    let mut out = [[0.0; ROWS]; IN];
    for l in 0..ROWS {
        let (even, odd) = (g[0][l] + g[2][l], g[1][l]);
        let sixth = g[0][l] * (1.0 / 24.0) + g[2][l] * (1.0 / 6.0);
        let twelfth = odd * (1.0 / 12.0);
        out[0][l] = g[0][l] * 0.25;
        out[1][l] = (even + odd) * (-1.0 / 6.0);
        out[2][l] = (even - odd) * (-1.0 / 6.0);
        out[3][l] = sixth + twelfth;
        out[4][l] = sixth - twelfth;
        out[5][l] = g[2][l];
    }
    out
}

/// Transforms numbers `at..at + ROWS` (fewer at the end) of each of 9 taps; calls `put` for each
/// of the 36 places.
#[inline(always)]
fn transform(taps: &[&[f32]], at: usize, count: usize, mut put: impl FnMut(usize, &[f32])) {
    let mut half = [[[0.0; ROWS]; 3]; IN];
    for j in 0..3 {
        let mut column = [[0.0; ROWS]; 3];
        for i in 0..3 {
            column[i][..count].copy_from_slice(&taps[i * 3 + j][at..at + count]);
        }
        for (i, side) in spread(&column).into_iter().enumerate() {
            half[i][j] = side;
        }
    }
    for i in 0..IN {
        for (j, side) in spread(&half[i]).iter().enumerate() {
            put(i * IN + j, &side[..count]);
        }
    }
}

/// Kernels as the products take them: 36 matrices of (channels of the sum, of the answer).
#[derive(Clone, Debug, Default)]
pub(super) struct Winograd {
    units: Vec<PackedB>,
}

impl Winograd {
    /// Transforms a kernel of 9 taps (row by row), each a matrix of `from` rows and `to`
    /// columns; or, if `turned`, of `to` rows and `from` columns.
    pub fn pack(&mut self, tier: Tier, from: usize, to: usize, taps: &[&[f32]], turned: bool) {
        assert!(taps.len() == 9 && taps.iter().all(|tap| tap.len() == from * to));
        self.units.resize_with(PLACES, PackedB::default);
        for unit in &mut self.units {
            unit.shape(tier, from, to);
        }
        let mut room = vec![0.0; PLACES * ROWS * to];
        for first in (0..from).step_by(ROWS) {
            let rows = ROWS.min(from - first);
            let size = rows * to;
            if turned {
                for q in 0..to {
                    transform(taps, q * from + first, rows, |place, side| {
                        let at = place * size + q * rows;
                        room[at..at + rows].copy_from_slice(side);
                    });
                }
            } else {
                for k in 0..rows {
                    for q in (0..to).step_by(ROWS) {
                        let count = ROWS.min(to - q);
                        transform(taps, (first + k) * to + q, count, |place, side| {
                            let at = place * size + k * to + q;
                            room[at..at + count].copy_from_slice(side);
                        });
                    }
                }
            }
            let strides = if turned { (1, rows) } else { (to, 1) };
            for (unit, part) in self.units.iter_mut().zip(room.chunks_exact(size)) {
                unit.write(first, Mat::new(part, rows, to, strides));
            }
        }
    }

    /// Channels of the sum and of the answer.
    fn shape(&self) -> (usize, usize) {
        self.units
            .first()
            .map_or((0, 0), |unit| (unit.rows(), unit.columns()))
    }

    /// `grid` outputs of rows `out_row` numbers apart, the first at the start of `out`.
    ///
    /// `view` holds the pixels of whole tiles, `channels` numbers each.
    ///
    /// # Panics
    /// If `out` has no room, or a kernel with other channels was packed.
    pub fn run(
        &self,
        tier: Tier,
        view: &Window,
        channels: usize,
        grid: (usize, usize),
        out: &mut [f32],
        out_row: usize,
        epilogue: (&[f32], Bend),
        scratch: &mut [Buffer; 3],
    ) {
        let (from, to) = self.shape();
        assert!(from == channels && to > 0, "no kernel packed");
        assert!(out.len() >= (grid.0 - 1) * out_row + grid.1 * to);
        let across = grid.1.div_ceil(OUT);
        let tiles = grid.0.div_ceil(OUT) * across;
        let [pixels, products, spare] = scratch;
        for first in (0..tiles).step_by(TILES) {
            let count = TILES.min(tiles - first);
            let pixels = pixels.take(PLACES * count * from);
            let products = products.take(PLACES * count * to);
            let part = Tiles {
                first,
                count,
                across,
            };
            // SAFETY: the view holds whole tiles of `channels` numbers a pixel; `pixels` has
            // room for all places.
            unsafe {
                let task = Gather {
                    view: *view,
                    channels,
                    tiles: part,
                    to: pixels.as_mut_ptr(),
                };
                dispatch(tier, task);
            }
            for (i, unit) in self.units.iter().enumerate() {
                let a = Mat::rows_of(
                    &pixels[i * count * from..(i + 1) * count * from],
                    count,
                    from,
                );
                let c = &mut products[i * count * to..(i + 1) * count * to];
                let c = MatMut::rows_of(c, count, to);
                packed(tier, 1.0, a, unit, 0.0, c, &Epilogue::NONE, spare);
            }
            // SAFETY: `products` holds all places; outputs outside of `grid` are not written.
            unsafe {
                let task = Scatter {
                    products: products.as_ptr(),
                    channels: to,
                    tiles: part,
                    grid,
                    out: out.as_mut_ptr(),
                    out_row,
                    bias: epilogue.0,
                    bend: epilogue.1,
                };
                dispatch(tier, task);
            }
        }
    }
}

/// Some tiles, counted row by row.
#[derive(Clone, Copy)]
struct Tiles {
    first: usize,
    count: usize,
    /// Tiles of a row.
    across: usize,
}

impl Tiles {
    /// Row and column of the first output of tile `t`.
    #[inline(always)]
    fn at(&self, t: usize) -> (usize, usize) {
        let t = self.first + t;
        (t / self.across * OUT, t % self.across * OUT)
    }
}

/// Transforms pixels.
struct Gather {
    view: Window,
    channels: usize,
    tiles: Tiles,
    /// Place by place, tile by tile, `channels` numbers each.
    to: *mut f32,
}

/// The transform of 6 pixels along one axis.
#[inline(always)]
unsafe fn pixels<V: Lanes>(d: [V; IN]) -> [V; IN] {
    // SAFETY: the caller has checked the tier.
    unsafe {
        let times = |x: V, by: f32, plus: V| x.mul_add(V::splat(by), plus);
        let (a, b) = (times(d[2], -4.0, d[4]), times(d[1], -4.0, d[3]));
        let (c, e) = (times(d[2], -1.0, d[4]), times(d[1], -1.0, d[3]));
        [
            times(d[0], 4.0, times(d[2], -5.0, d[4])),
            a.add(b),
            times(b, -1.0, a),
            times(e, 2.0, c),
            times(e, -2.0, c),
            times(d[1], 4.0, times(d[3], -5.0, d[5])),
        ]
    }
}

/// The transform of 6 products along one axis.
#[inline(always)]
unsafe fn outputs<V: Lanes>(m: [V; IN]) -> [V; OUT] {
    // SAFETY: the caller has checked the tier.
    unsafe {
        let times = |x: V, by: f32, plus: V| x.mul_add(V::splat(by), plus);
        let (s, d) = (m[1].add(m[2]), times(m[2], -1.0, m[1]));
        let (p, q) = (m[3].add(m[4]), times(m[4], -1.0, m[3]));
        [
            m[0].add(s).add(p),
            times(q, 2.0, d),
            times(p, 4.0, s),
            times(q, 8.0, d).add(m[5]),
        ]
    }
}

impl Task for Gather {
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        // SAFETY: the caller's promise; `n` numbers from channel `c` on exist in each pixel.
        unsafe {
            let place = self.tiles.count * self.channels;
            for t in 0..self.tiles.count {
                let (y, x) = self.tiles.at(t);
                let from = self.view.data.add(y * self.view.row + x * self.channels);
                let to = self.to.add(t * self.channels);
                for c in (0..self.channels).step_by(V::N) {
                    let n = V::N.min(self.channels - c);
                    let mut tile = [[V::zero(); IN]; IN];
                    for j in 0..IN {
                        let mut column = [V::zero(); IN];
                        for i in 0..IN {
                            let at = from.add(i * self.view.row + j * self.channels + c);
                            column[i] = if n == V::N {
                                V::load(at)
                            } else {
                                V::load_some(at, n)
                            };
                        }
                        let column = pixels(column);
                        for i in 0..IN {
                            tile[i][j] = column[i];
                        }
                    }
                    for i in 0..IN {
                        let row = pixels(tile[i]);
                        for j in 0..IN {
                            let at = to.add((i * IN + j) * place + c);
                            if n == V::N {
                                row[j].store(at);
                            } else {
                                row[j].store_some(at, n);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Transforms products into outputs.
struct Scatter<'a> {
    /// Place by place, tile by tile, `channels` numbers each.
    products: *const f32,
    channels: usize,
    tiles: Tiles,
    grid: (usize, usize),
    out: *mut f32,
    out_row: usize,
    /// A number a channel; or empty.
    bias: &'a [f32],
    bend: Bend,
}

impl Task for Scatter<'_> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        // SAFETY: the caller's promise; `n` numbers from channel `c` on exist in each output.
        unsafe {
            let place = self.tiles.count * self.channels;
            for t in 0..self.tiles.count {
                let (y, x) = self.tiles.at(t);
                let (rows, columns) = (OUT.min(self.grid.0 - y), OUT.min(self.grid.1 - x));
                let to = self.out.add(y * self.out_row + x * self.channels);
                for c in (0..self.channels).step_by(V::N) {
                    let n = V::N.min(self.channels - c);
                    let load = |at: *const f32| {
                        if n == V::N {
                            V::load(at)
                        } else {
                            V::load_some(at, n)
                        }
                    };
                    let from = self.products.add(t * self.channels + c);
                    let bias = if self.bias.is_empty() {
                        V::zero()
                    } else {
                        load(self.bias.as_ptr().add(c))
                    };
                    let mut tile = [[V::zero(); IN]; OUT];
                    for j in 0..IN {
                        let mut column = [V::zero(); IN];
                        for i in 0..IN {
                            column[i] = load(from.add((i * IN + j) * place));
                        }
                        let column = outputs(column);
                        for i in 0..OUT {
                            tile[i][j] = column[i];
                        }
                    }
                    for i in 0..rows {
                        let row = outputs(tile[i]);
                        for j in 0..OUT {
                            if j >= columns {
                                break;
                            }
                            let sum = self.bend.of(row[j].add(bias));
                            let at = to.add(i * self.out_row + j * self.channels + c);
                            if n == V::N {
                                sum.store(at);
                            } else {
                                sum.store_some(at, n);
                            }
                        }
                    }
                }
            }
        }
    }
}
