//! Growable memory that starts on a cache line.

/// One cache line of numbers.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Numbers in a cache line.
const LINE: usize = 16;

/// Numbers that start on a cache line: vector loads of packed operands must not straddle two.
///
/// As scratch it keeps what it has grown to, so that a loop allocates in its first round only.
#[derive(Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// An empty buffer; allocates nothing.
    pub const fn new() -> Buffer {
        Buffer {
            lines: Vec::new(),
            len: 0,
        }
    }

    /// `len` zeros.
    pub fn zeros(len: usize) -> Buffer {
        let mut out = Buffer::new();
        out.resize(len);
        out
    }

    /// Makes it `len` long: what was there stays, what is new is zero or left from before.
    pub fn resize(&mut self, len: usize) {
        let lines = len.div_ceil(LINE);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0.0; LINE]));
        }
        self.len = len;
    }

    /// The first `len` numbers, growing where needed; their values are left from before.
    pub fn take(&mut self, len: usize) -> &mut [f32] {
        if len > self.len {
            self.resize(len);
        }
        &mut self[..len]
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `len` initialised numbers without gaps between lines.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_keeps_and_is_aligned() {
        let mut buffer = Buffer::zeros(3);
        buffer.copy_from_slice(&[1.0, 2.0, 3.0]);
        assert_eq!(buffer.as_ptr() as usize % 64, 0);
        assert_eq!(buffer.take(40)[..4], [1.0, 2.0, 3.0, 0.0]);
        assert_eq!(buffer.as_ptr() as usize % 64, 0);
        assert_eq!(buffer.take(2).len(), 2);
        assert_eq!(buffer.len(), 40);
        assert_eq!(buffer.clone()[..3], [1.0, 2.0, 3.0]);
        assert!(Buffer::new().is_empty());
    }
}
