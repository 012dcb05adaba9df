//! Convolutions with few channels on one side: there the lanes go along the patches.
//!
//! A tile with the answer's channels in the lanes would leave most of them empty.

use crate::gemm::{Bend, Lanes, Segment, Task};

/// Most channels of an answer that are worth this.
pub(super) const MOST: usize = 4;
/// Pixels of a tile.
const PIXELS: usize = 4;

/// A row of pixels, each the products of its patch with a few filters.
#[derive(Clone, Copy)]
pub(super) struct Dots<'a> {
    /// The first pixel's patch, and the distance to the next.
    pub a: *const f32,
    pub a_stride: usize,
    pub segments: &'a [Segment],
    /// Filters one after another, `size` numbers each, in the order of the segments.
    pub w: *const f32,
    pub size: usize,
    pub filters: usize,
    pub c: *mut f32,
    pub c_stride: usize,
    pub pixels: usize,
    /// Added to the sums, a number a filter; or empty.
    pub bias: &'a [f32],
    /// Applied last.
    pub bend: Bend,
}

impl Task for Dots<'_> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut p = 0;
            while p + PIXELS <= self.pixels {
                self.filters_of::<V, PIXELS>(p);
                p += PIXELS;
            }
            while p < self.pixels {
                self.filters_of::<V, 1>(p);
                p += 1;
            }
        }
    }
}

impl Dots<'_> {
    #[inline(always)]
    unsafe fn filters_of<V: Lanes, const P: usize>(&self, p: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.filters {
                1 => self.tile::<V, P, 1>(p),
                2 => self.tile::<V, P, 2>(p),
                3 => self.tile::<V, P, 3>(p),
                _ => self.tile::<V, P, 4>(p),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Lanes, const P: usize, const Q: usize>(&self, p: usize) {
        // SAFETY: the caller's promise: each pixel's segments and all filters are readable.
        unsafe {
            let mut acc = [[V::zero(); Q]; P];
            let a = self.a.add(p * self.a_stride);
            let mut w = self.w;
            for segment in self.segments {
                let a = a.offset(segment.at);
                let mut k = 0;
                while k + V::N <= segment.len {
                    for q in 0..Q {
                        let element = V::load(w.add(q * self.size + k));
                        for i in 0..P {
                            let x = V::load(a.add(i * self.a_stride + k));
                            acc[i][q] = x.mul_add(element, acc[i][q]);
                        }
                    }
                    k += V::N;
                }
                let left = segment.len - k;
                if left > 0 {
                    for q in 0..Q {
                        let element = V::load_some(w.add(q * self.size + k), left);
                        for i in 0..P {
                            let x = V::load_some(a.add(i * self.a_stride + k), left);
                            acc[i][q] = x.mul_add(element, acc[i][q]);
                        }
                    }
                }
                w = w.add(segment.len);
            }
            for i in 0..P {
                for q in 0..Q {
                    let sum = acc[i][q].sum() + self.bias.get(q).copied().unwrap_or(0.0);
                    *self.c.add((p + i) * self.c_stride + q) = self.bend.of_one(sum);
                }
            }
        }
    }
}
