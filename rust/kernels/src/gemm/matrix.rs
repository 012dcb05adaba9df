//! Borrowed matrices with strides, checked once.

use std::marker::PhantomData;
use std::ops::Range;

/// A matrix of `rows` x `columns` numbers in a slice, with any strides.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    data: *const f32,
    rows: usize,
    columns: usize,
    strides: (usize, usize),
    borrow: PhantomData<&'a [f32]>,
}

// SAFETY: it stands for a shared borrow of floats.
unsafe impl Send for Mat<'_> {}
// SAFETY: as above.
unsafe impl Sync for Mat<'_> {}

/// Asserts that all elements of a strided matrix lie within `len` numbers.
fn check(len: usize, rows: usize, columns: usize, strides: (usize, usize)) {
    if rows == 0 || columns == 0 {
        return;
    }
    let last = (rows - 1)
        .checked_mul(strides.0)
        .zip((columns - 1).checked_mul(strides.1))
        .and_then(|(r, c)| r.checked_add(c));
    assert!(
        last.is_some_and(|last| last < len),
        "a matrix of {rows} x {columns} with strides {strides:?} does not fit into {len} numbers"
    );
}

impl<'a> Mat<'a> {
    /// A view of `data` where element (i, j) is at `i * strides.0 + j * strides.1`.
    ///
    /// # Panics
    /// If an element would lie outside `data`.
    #[inline]
    pub fn new(data: &'a [f32], rows: usize, columns: usize, strides: (usize, usize)) -> Self {
        check(data.len(), rows, columns, strides);
        Mat {
            data: data.as_ptr(),
            rows,
            columns,
            strides,
            borrow: PhantomData,
        }
    }

    /// A view of contiguous rows.
    #[inline]
    pub fn rows_of(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Mat::new(data, rows, columns, (columns, 1))
    }

    /// The transposed matrix; moves nothing.
    #[inline]
    pub fn t(self) -> Self {
        Mat {
            rows: self.columns,
            columns: self.rows,
            strides: (self.strides.1, self.strides.0),
            ..self
        }
    }

    /// Number of rows.
    #[inline]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[inline]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Distance between rows and between columns.
    #[inline]
    pub fn strides(&self) -> (usize, usize) {
        self.strides
    }

    /// Some of the rows.
    #[inline]
    pub fn row_range(self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows);
        Mat {
            data: self.data.wrapping_add(rows.start * self.strides.0),
            rows: rows.len(),
            ..self
        }
    }

    /// Some of the columns.
    #[inline]
    pub fn column_range(self, columns: Range<usize>) -> Self {
        self.t().row_range(columns).t()
    }

    /// Row `i`, which must be contiguous.
    ///
    /// # Panics
    /// If there is no such row, or its numbers lie apart.
    #[inline]
    pub fn row(&self, i: usize) -> &'a [f32] {
        assert!(i < self.rows && (self.strides.1 == 1 || self.columns < 2));
        // SAFETY: the constructor has checked that all elements lie within the borrowed slice.
        unsafe { std::slice::from_raw_parts(self.data.add(i * self.strides.0), self.columns) }
    }

    #[inline]
    pub(crate) fn ptr(&self) -> *const f32 {
        self.data
    }
}

/// A matrix to write to: contiguous columns, rows `stride` apart.
#[derive(Debug)]
pub struct MatMut<'a> {
    data: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for an exclusive borrow of floats; parts made by splitting are disjoint.
unsafe impl Send for MatMut<'_> {}

impl<'a> MatMut<'a> {
    /// A view of `data` where element (i, j) is at `i * stride + j`.
    ///
    /// # Panics
    /// If an element would lie outside `data`, or rows would overlap.
    #[inline]
    pub fn new(data: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> Self {
        check(data.len(), rows, columns, (stride, 1));
        assert!(rows < 2 || columns <= stride, "rows overlap");
        MatMut {
            data: data.as_mut_ptr(),
            rows,
            columns,
            stride,
            borrow: PhantomData,
        }
    }

    /// A view of contiguous rows.
    #[inline]
    pub fn rows_of(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        MatMut::new(data, rows, columns, columns)
    }

    /// Number of rows.
    #[inline]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[inline]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Distance between rows.
    #[inline]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The rows before `at` and the others.
    pub fn split_rows(self, at: usize) -> (MatMut<'a>, MatMut<'a>) {
        assert!(at <= self.rows);
        let part = |from: usize, rows: usize| MatMut {
            data: self.data.wrapping_add(from * self.stride),
            rows,
            ..self
        };
        (part(0, at), part(at, self.rows - at))
    }

    /// The columns before `at` and the others.
    pub fn split_columns(self, at: usize) -> (MatMut<'a>, MatMut<'a>) {
        assert!(at <= self.columns);
        let part = |from: usize, columns: usize| MatMut {
            data: self.data.wrapping_add(from),
            columns,
            ..self
        };
        (part(0, at), part(at, self.columns - at))
    }

    /// A view for a shorter time.
    #[inline]
    pub fn again(&mut self) -> MatMut<'_> {
        MatMut {
            data: self.data,
            rows: self.rows,
            columns: self.columns,
            stride: self.stride,
            borrow: PhantomData,
        }
    }

    /// Row `i`.
    #[inline]
    pub fn row(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.rows);
        // SAFETY: the constructor has checked that row i lies within the borrowed slice, and
        // views made by splitting are disjoint.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(i * self.stride), self.columns) }
    }

    #[inline]
    pub(crate) fn ptr(&mut self) -> *mut f32 {
        self.data
    }
}
