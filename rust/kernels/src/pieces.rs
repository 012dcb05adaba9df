//! A slice that several threads change, each its own piece at a time.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

/// A slice cut into pieces of equal length (the last may be shorter).
///
/// At any moment it is read as a whole by any number of readers, or single pieces of it are
/// written, each by one writer. Who asks for something else panics: that is a fault of the
/// caller's plan, not something to wait for.
#[derive(Debug)]
pub struct Pieces<'a, T> {
    data: *mut T,
    len: usize,
    piece: usize,
    /// Readers of the whole, or minus the number of pieces being written.
    state: AtomicIsize,
    written: Vec<AtomicBool>,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: `Pieces` lends out `&[T]` (when nothing is written) and `&mut [T]` of disjoint pieces
// (one at a time each), which is sound across threads if `T` may be sent and shared.
unsafe impl<T: Send + Sync> Send for Pieces<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Pieces<'_, T> {}

/// The whole slice, readable.
#[derive(Debug)]
pub struct Whole<'p, T> {
    owner: &'p Pieces<'p, T>,
}

/// One piece, writable.
#[derive(Debug)]
pub struct Piece<'p, T> {
    owner: &'p Pieces<'p, T>,
    index: usize,
}

impl<'a, T> Pieces<'a, T> {
    /// Cuts `data` into pieces of `piece` elements.
    pub fn new(data: &'a mut [T], piece: usize) -> Self {
        let piece = piece.max(1);
        Pieces {
            len: data.len(),
            piece,
            state: AtomicIsize::new(0),
            written: (0..data.len().div_ceil(piece))
                .map(|_| AtomicBool::new(false))
                .collect(),
            data: data.as_mut_ptr(),
            life: PhantomData,
        }
    }

    /// The number of pieces.
    pub fn count(&self) -> usize {
        self.written.len()
    }

    /// Elements in a piece, the last excepted.
    pub fn piece_len(&self) -> usize {
        self.piece
    }

    fn enter(&self, by: isize) {
        let allowed = |n: isize| (n == 0 || (n > 0) == (by > 0)).then(|| n + by);
        let done = self
            .state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, allowed);
        assert!(done.is_ok(), "a slice is read while pieces are written");
    }

    /// Borrows the whole slice.
    ///
    /// # Panics
    /// While a piece is written.
    pub fn read(&self) -> Whole<'_, T> {
        self.enter(1);
        Whole { owner: self }
    }

    /// Borrows piece number `index`.
    ///
    /// # Panics
    /// While the slice is read or the piece is written by another, or without such a piece.
    pub fn write(&self, index: usize) -> Piece<'_, T> {
        let flag = &self.written[index];
        self.enter(-1);
        if flag.swap(true, Ordering::Acquire) {
            self.state.fetch_add(1, Ordering::Release);
            panic!("a piece is written twice at a time");
        }
        Piece { owner: self, index }
    }
}

impl<T> Drop for Whole<'_, T> {
    fn drop(&mut self) {
        self.owner.state.fetch_sub(1, Ordering::Release);
    }
}

impl<T> Drop for Piece<'_, T> {
    fn drop(&mut self) {
        self.owner.written[self.index].store(false, Ordering::Release);
        self.owner.state.fetch_add(1, Ordering::Release);
    }
}

impl<T> Deref for Whole<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `data` comes from an exclusive borrow of `len` elements that outlives the
        // owner; while `state` counts this reader, no piece is lent out for writing.
        unsafe { std::slice::from_raw_parts(self.owner.data, self.owner.len) }
    }
}

impl<T> Piece<'_, T> {
    fn bounds(&self) -> (usize, usize) {
        let start = self.index * self.owner.piece;
        (start, self.owner.piece.min(self.owner.len - start))
    }
}

impl<T> Deref for Piece<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        let (start, len) = self.bounds();
        // SAFETY: the bounds lie within the slice; the flag makes this the piece's only borrower
        // and `state` keeps readers of the whole away.
        unsafe { std::slice::from_raw_parts(self.owner.data.add(start), len) }
    }
}

impl<T> DerefMut for Piece<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let (start, len) = self.bounds();
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.owner.data.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn pieces_are_written_apart_and_read_together() {
        let mut data = vec![0u32; 10];
        let pieces = Pieces::new(&mut data, 4);
        assert_eq!(pieces.count(), 3);
        std::thread::scope(|scope| {
            for i in 0..3 {
                let pieces = &pieces;
                scope.spawn(move || pieces.write(i).fill(i as u32 + 1));
            }
        });
        assert_eq!(&*pieces.read(), &[1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn forbidden_borrows_panic_and_leave_no_trace() {
        let mut data = vec![0u32; 8];
        let pieces = Pieces::new(&mut data, 4);
        let fails = |f: &dyn Fn()| catch_unwind(AssertUnwindSafe(f)).is_err();
        {
            let _one = pieces.write(0);
            assert!(fails(&|| drop(pieces.write(0))));
            assert!(fails(&|| drop(pieces.read())));
            assert!(fails(&|| drop(pieces.write(2))));
            drop(pieces.write(1));
        }
        {
            let _whole = (pieces.read(), pieces.read());
            assert!(fails(&|| drop(pieces.write(1))));
        }
        drop(pieces.write(0));
    }
}
