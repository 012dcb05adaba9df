//! Convolutions of each channel by itself: channels in the lanes, no product of matrices.

use crate::gemm::{Bend, Lanes, Task};

/// Pixels of a tile.
const PIXELS: usize = 8;
/// Kernel elements whose sums are kept in registers together.
const TAPS: usize = 8;

/// Rows of pixels.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// The first pixel, and the distances to the next one and to that of the next row.
    pub a: *const f32,
    pub a_stride: usize,
    pub a_down: usize,
    /// Where each kernel element looks, from the pixel.
    pub taps: &'a [isize],
    /// Kernel elements, `channels` numbers each, `w_stride` apart.
    pub w: *const f32,
    pub w_stride: usize,
    pub channels: usize,
    /// The first answer, and the distances as above.
    pub c: *mut f32,
    pub c_stride: usize,
    pub c_down: usize,
    /// Rows, and pixels of each.
    pub grid: (usize, usize),
    /// Added to the sums, a number a channel; or empty.
    pub bias: &'a [f32],
    /// Applied last.
    pub bend: Bend,
}

impl Task for Rows<'_> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            // Channels outside: what all rows read of a register's channels stays in the first-level
            // cache, where each number is used by every kernel element.
            for c in (0..self.channels).step_by(V::N) {
                let n = V::N.min(self.channels - c);
                for y in 0..self.grid.0 {
                    let mut p = 0;
                    while p + PIXELS <= self.grid.1 {
                        self.tile::<V, PIXELS>(y, p, c, n);
                        p += PIXELS;
                    }
                    match self.grid.1 - p {
                        0 => {}
                        1 => self.tile::<V, 1>(y, p, c, n),
                        2 => self.tile::<V, 2>(y, p, c, n),
                        3 => self.tile::<V, 3>(y, p, c, n),
                        4 => self.tile::<V, 4>(y, p, c, n),
                        5 => self.tile::<V, 5>(y, p, c, n),
                        6 => self.tile::<V, 6>(y, p, c, n),
                        _ => self.tile::<V, 7>(y, p, c, n),
                    }
                }
            }
        }
    }
}

impl Rows<'_> {
    #[inline(always)]
    unsafe fn tile<V: Lanes, const P: usize>(&self, y: usize, p: usize, c: usize, n: usize) {
        // SAFETY: the caller's promise: pixels, kernel elements and answers hold `channels`
        // numbers each, of which `n` from `c` on are touched.
        unsafe {
            let load = |from: *const f32| {
                if n == V::N {
                    V::load(from)
                } else {
                    V::load_some(from, n)
                }
            };
            let first = if self.bias.is_empty() {
                V::zero()
            } else {
                load(self.bias.as_ptr().add(c))
            };
            let mut acc = [first; P];
            let a = self.a.add(y * self.a_down + p * self.a_stride + c);
            for (t, &tap) in self.taps.iter().enumerate() {
                let w = load(self.w.add(t * self.w_stride + c));
                for i in 0..P {
                    acc[i] = load(a.offset(tap).add(i * self.a_stride)).mul_add(w, acc[i]);
                }
            }
            for i in 0..P {
                let sum = self.bend.of(acc[i]);
                let to = self.c.add(y * self.c_down + (p + i) * self.c_stride + c);
                if n == V::N {
                    sum.store(to);
                } else {
                    sum.store_some(to, n);
                }
            }
        }
    }
}

/// Adds to each kernel element's gradient the part of a row of pixels.
#[derive(Clone, Copy)]
pub(super) struct RowGradient<'a> {
    /// The first pixel of the image, and the distance to the next.
    pub a: *const f32,
    pub a_stride: usize,
    /// Where each kernel element looks, from the pixel.
    pub taps: &'a [isize],
    /// The answer's gradient, `channels` numbers a pixel.
    pub g: *const f32,
    pub channels: usize,
    pub pixels: usize,
    /// Kernel elements one after another, `channels` numbers each.
    pub w: *mut f32,
}

impl Task for RowGradient<'_> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        // SAFETY: the caller's promise: pixels, gradients and kernel elements hold `channels`
        // numbers each, of which `n` from `c` on are touched.
        unsafe {
            for c in (0..self.channels).step_by(V::N) {
                let n = V::N.min(self.channels - c);
                let load = |from: *const f32| {
                    if n == V::N {
                        V::load(from)
                    } else {
                        V::load_some(from, n)
                    }
                };
                for (block, taps) in self.taps.chunks(TAPS).enumerate() {
                    let mut acc = [V::zero(); TAPS];
                    for p in 0..self.pixels {
                        let g = load(self.g.add(p * self.channels + c));
                        let a = self.a.add(p * self.a_stride + c);
                        if taps.len() == TAPS {
                            for t in 0..TAPS {
                                acc[t] = load(a.offset(taps[t])).mul_add(g, acc[t]);
                            }
                        } else {
                            for (t, &tap) in taps.iter().enumerate() {
                                acc[t] = load(a.offset(tap)).mul_add(g, acc[t]);
                            }
                        }
                    }
                    for t in 0..taps.len() {
                        let to = self.w.add((block * TAPS + t) * self.channels + c);
                        load(to).add(acc[t]).store_some(to, n);
                    }
                }
            }
        }
    }
}
