//! Patches of an image copied side by side.

use super::simd::Simd;

/// The images that patches are taken from, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    /// Rows and columns of an image.
    pub size: [usize; 2],
    /// Numbers in a pixel.
    pub channels: usize,
    /// Rows and columns of a patch.
    pub kernel: [usize; 2],
    /// Rows and columns from one number of a patch to the next.
    pub dilation: [usize; 2],
    /// From one patch to the next.
    pub stride: [usize; 2],
    /// The first patch begins so far before the image (after it where negative).
    pub before: [isize; 2],
    /// Rows and columns of patches.
    pub patches: [usize; 2],
}

#[inline(always)]
unsafe fn copy<S: Simd>(from: *const f32, to: *mut f32, len: usize) {
    let mut i = 0;
    // SAFETY: both pointers are valid for `len` numbers.
    unsafe {
        while i + S::LANES <= len {
            S::load(from.add(i)).store(to.add(i));
            i += S::LANES;
        }
        if i < len {
            S::load_part(from.add(i), len - i).store_part(to.add(i), len - i);
        }
    }
}

impl Source {
    /// Numbers in a patch.
    pub fn len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.channels
    }

    /// Patches of one image.
    pub fn count(&self) -> usize {
        self.patches[0] * self.patches[1]
    }

    /// Copies the patches `first..first + count` of consecutive images at `x` to rows of `out`;
    /// what lies outside an image is zero.
    ///
    /// # Safety
    /// The tier of `S` is there.
    #[inline(always)]
    pub unsafe fn gather<S: Simd>(&self, x: &[f32], first: usize, count: usize, out: &mut [f32]) {
        let len = self.len();
        let image = self.size[0] * self.size[1] * self.channels;
        let per_image = self.count();
        let mut n = first / per_image;
        let mut row = first % per_image / self.patches[1];
        let mut column = first % self.patches[1];
        for out in out[..count * len].chunks_exact_mut(len) {
            let x = &x[n * image..(n + 1) * image];
            // SAFETY: the tier is there.
            unsafe { self.patch::<S>(x, row, column, out) };
            column += 1;
            if column == self.patches[1] {
                (row, column) = (row + 1, 0);
                if row == self.patches[0] {
                    (n, row) = (n + 1, 0);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn patch<S: Simd>(&self, x: &[f32], row: usize, column: usize, out: &mut [f32]) {
        let c = self.channels;
        let [height, width] = self.size;
        let run = self.kernel[1] * c;
        let top = (row * self.stride[0]) as isize - self.before[0];
        let left = (column * self.stride[1]) as isize - self.before[1];
        let dense = self.dilation[1] == 1;
        // Columns of the kernel that lie inside the image.
        let low = (-left).clamp(0, self.kernel[1] as isize) as usize;
        let high = (width as isize - left).clamp(low as isize, self.kernel[1] as isize) as usize;
        for (ky, out) in out.chunks_exact_mut(run).enumerate() {
            let y = top + (ky * self.dilation[0]) as isize;
            if y < 0 || y >= height as isize {
                out.fill(0.0);
                continue;
            }
            let line = &x[y as usize * width * c..][..width * c];
            if dense {
                out[..low * c].fill(0.0);
                out[high * c..].fill(0.0);
                if low < high {
                    let from = &line[(left + low as isize) as usize * c..][..(high - low) * c];
                    let out = &mut out[low * c..high * c];
                    // SAFETY: both slices were just cut to the same length.
                    unsafe { copy::<S>(from.as_ptr(), out.as_mut_ptr(), from.len()) };
                }
                continue;
            }
            for (kx, out) in out.chunks_exact_mut(c).enumerate() {
                let at = left + (kx * self.dilation[1]) as isize;
                if at < 0 || at >= width as isize {
                    out.fill(0.0);
                } else {
                    out.copy_from_slice(&line[at as usize * c..][..c]);
                }
            }
        }
    }

    /// The reverse of [`Source::gather`]: adds rows of patches to the images.
    pub fn scatter(&self, patches: &[f32], first: usize, count: usize, x: &mut [f32]) {
        let len = self.len();
        let c = self.channels;
        let [height, width] = self.size;
        let image = height * width * c;
        for (i, patch) in patches[..count * len].chunks_exact(len).enumerate() {
            let (n, at) = ((first + i) / self.count(), (first + i) % self.count());
            let (row, column) = (at / self.patches[1], at % self.patches[1]);
            let x = &mut x[n * image..(n + 1) * image];
            let top = (row * self.stride[0]) as isize - self.before[0];
            let left = (column * self.stride[1]) as isize - self.before[1];
            for (k, from) in patch.chunks_exact(c).enumerate() {
                let y = top + (k / self.kernel[1] * self.dilation[0]) as isize;
                let at = left + (k % self.kernel[1] * self.dilation[1]) as isize;
                if y >= 0 && y < height as isize && at >= 0 && at < width as isize {
                    let to = &mut x[(y as usize * width + at as usize) * c..][..c];
                    for (to, from) in to.iter_mut().zip(from) {
                        *to += from;
                    }
                }
            }
        }
    }
}

/// Copies images into a frame of zeros.
pub(super) fn pad(
    x: &[f32],
    [height, width]: [usize; 2],
    channels: usize,
    padding: [[usize; 2]; 2],
    out: &mut [f32],
) {
    let line = width * channels;
    let [[top, bottom], [left, right]] = padding;
    let (left, right) = (left * channels, right * channels);
    let wide = left + line + right;
    for (x, out) in x
        .chunks_exact(height * line)
        .zip(out.chunks_exact_mut((top + height + bottom) * wide))
    {
        out[..top * wide].fill(0.0);
        out[(top + height) * wide..].fill(0.0);
        for (x, out) in x
            .chunks_exact(line)
            .zip(out[top * wide..].chunks_exact_mut(wide))
        {
            out[..left].fill(0.0);
            out[left..left + line].copy_from_slice(x);
            out[left + line..].fill(0.0);
        }
    }
}

/// Copies images out of their frame.
pub(super) fn unpad(
    x: &[f32],
    [height, width]: [usize; 2],
    channels: usize,
    padding: [[usize; 2]; 2],
    out: &mut [f32],
) {
    let line = width * channels;
    let [[top, bottom], [left, right]] = padding;
    let wide = line + (left + right) * channels;
    for (x, out) in x
        .chunks_exact((top + height + bottom) * wide)
        .zip(out.chunks_exact_mut(height * line))
    {
        for (x, out) in x[top * wide..]
            .chunks_exact(wide)
            .zip(out.chunks_exact_mut(line))
        {
            out.copy_from_slice(&x[left * channels..][..line]);
        }
    }
}
