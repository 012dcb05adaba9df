//! Patches of an image, and images in a frame of zeros.

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
    /// Zeros before and after the rows, before and after the columns.
    pub padding: [[usize; 2]; 2],
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

    /// Numbers in an image.
    pub fn image(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }

    /// True where images need no frame.
    pub fn unpadded(&self) -> bool {
        self.padding == [[0, 0], [0, 0]]
    }

    /// Numbers in a row of an image with its frame.
    pub fn row(&self) -> usize {
        (self.padding[1][0] + self.size[1] + self.padding[1][1]) * self.channels
    }

    /// Numbers in an image with its frame.
    pub fn framed(&self) -> usize {
        (self.padding[0][0] + self.size[0] + self.padding[0][1]) * self.row()
    }

    /// Room for `images` images with their frames, none where they need none.
    pub fn frames(&self, images: usize) -> usize {
        if self.unpadded() {
            0
        } else {
            images * self.framed()
        }
    }

    /// The images `x` with their frames, which are made in `room` if there are any.
    pub fn frame<'a>(&self, x: &'a [f32], room: &'a mut [f32]) -> &'a [f32] {
        if self.unpadded() {
            return x;
        }
        let line = self.size[1] * self.channels;
        let [top, bottom] = self.padding[0];
        let [left, right] = self.padding[1].map(|n| n * self.channels);
        let wide = left + line + right;
        let room = &mut room[..x.len() / self.image() * self.framed()];
        for (x, out) in x
            .chunks_exact(self.image())
            .zip(room.chunks_exact_mut(self.framed()))
        {
            out[..top * wide].fill(0.0);
            let end = out.len() - bottom * wide;
            out[end..].fill(0.0);
            for (x, out) in x
                .chunks_exact(line)
                .zip(out[top * wide..].chunks_exact_mut(wide))
            {
                out[..left].fill(0.0);
                out[left..left + line].copy_from_slice(x);
                out[left + line..].fill(0.0);
            }
        }
        room
    }

    /// The images inside their frames, copied to `x`.
    pub fn unframe(&self, framed: &[f32], x: &mut [f32]) {
        let line = self.size[1] * self.channels;
        let (top, left) = (self.padding[0][0], self.padding[1][0] * self.channels);
        for (framed, x) in framed
            .chunks_exact(self.framed())
            .zip(x.chunks_exact_mut(self.image()))
        {
            for (framed, x) in framed[top * self.row()..]
                .chunks_exact(self.row())
                .zip(x.chunks_exact_mut(line))
            {
                x.copy_from_slice(&framed[left..left + line]);
            }
        }
    }

    /// Where patches begin in the framed images, from number `first` on.
    #[inline(always)]
    pub fn places(&self, first: usize) -> Places<'_> {
        Places {
            source: self,
            image: first / self.count() * self.framed(),
            row: first % self.count() / self.patches[1],
            column: first % self.patches[1],
        }
    }

    /// Copies the patches `first..first + count` of framed images `x` to rows of `out`.
    ///
    /// # Safety
    /// The tier of `S` is there.
    #[inline(always)]
    pub unsafe fn gather<S: Simd>(&self, x: &[f32], first: usize, count: usize, out: &mut [f32]) {
        let len = self.len();
        let last = (first + count).div_ceil(self.count()) * self.framed();
        assert!(x.len() >= last && out.len() >= count * len);
        let row = self.dilation[0] * self.row();
        let run = self.kernel[1] * self.channels;
        let mut places = self.places(first);
        for i in 0..count {
            let at = places.next();
            // SAFETY: a patch lies inside its framed image, which lies inside x; row i lies
            // inside out.
            unsafe {
                let mut from = x.as_ptr().add(at);
                let mut to = out.as_mut_ptr().add(i * len);
                for _ in 0..self.kernel[0] {
                    if self.dilation[1] == 1 {
                        copy::<S>(from, to, run);
                    } else {
                        for kx in 0..self.kernel[1] {
                            let to = to.add(kx * self.channels);
                            let from = from.add(kx * self.dilation[1] * self.channels);
                            copy::<S>(from, to, self.channels);
                        }
                    }
                    from = from.wrapping_add(row);
                    to = to.wrapping_add(run);
                }
            }
        }
    }

    /// The reverse of [`Source::gather`] for images without frames: adds rows of patches to
    /// them.
    pub fn scatter(&self, patches: &[f32], first: usize, count: usize, x: &mut [f32]) {
        let len = self.len();
        let c = self.channels;
        let [height, width] = self.size;
        let [[top, _], [left, _]] = self.padding;
        for (i, patch) in patches[..count * len].chunks_exact(len).enumerate() {
            let (n, at) = ((first + i) / self.count(), (first + i) % self.count());
            let (row, column) = (at / self.patches[1], at % self.patches[1]);
            let x = &mut x[n * self.image()..(n + 1) * self.image()];
            for (ky, patch) in patch.chunks_exact(self.kernel[1] * c).enumerate() {
                let y = (row * self.stride[0] + ky * self.dilation[0]).wrapping_sub(top);
                if y >= height {
                    continue;
                }
                for (kx, from) in patch.chunks_exact(c).enumerate() {
                    let at = (column * self.stride[1] + kx * self.dilation[1]).wrapping_sub(left);
                    if at >= width {
                        continue;
                    }
                    let to = &mut x[(y * width + at) * c..][..c];
                    for (to, from) in to.iter_mut().zip(from) {
                        *to += from;
                    }
                }
            }
        }
    }
}

/// Steps from patch to patch. Not an iterator with a closure behind it: a closure would be
/// compiled without the tier's instructions unless the compiler happens to inline it.
pub(super) struct Places<'a> {
    source: &'a Source,
    image: usize,
    row: usize,
    column: usize,
}

impl Places<'_> {
    /// Where the next patch begins.
    #[inline(always)]
    pub fn next(&mut self) -> usize {
        let s = self.source;
        let at =
            self.image + self.row * s.stride[0] * s.row() + self.column * s.stride[1] * s.channels;
        self.column += 1;
        if self.column == s.patches[1] {
            (self.row, self.column) = (self.row + 1, 0);
            if self.row == s.patches[0] {
                (self.image, self.row) = (self.image + s.framed(), 0);
            }
        }
        at
    }
}
