//! `B` in panels: the order in which tiles read it.

use super::matrix::Mat;
use super::tile::Kernels;
use crate::buffer::Buffer;
use crate::tier::Tier;
use std::ops::Range;

/// A right operand in panels of some columns each, made once and used for many products.
///
/// Panel after panel; in a panel row after row, the last panel filled up with zeros.
#[derive(Clone, Debug, Default)]
pub struct PackedB {
    data: Buffer,
    rows: usize,
    columns: usize,
    panel: usize,
}

impl PackedB {
    /// No operand yet; allocates nothing.
    pub const fn empty() -> PackedB {
        PackedB {
            data: Buffer::new(),
            rows: 0,
            columns: 0,
            panel: 0,
        }
    }

    /// Packs `b` for products on `tier`.
    pub fn new(tier: Tier, b: Mat) -> PackedB {
        let mut out = PackedB::default();
        out.pack(tier, b);
        out
    }

    /// Packs another matrix; allocates only if it is larger than all before.
    pub fn pack(&mut self, tier: Tier, b: Mat) {
        self.shape(tier, b.rows(), b.columns());
        self.write(0, b);
    }

    /// Sets the shape of `b` and returns parts of about `panels` panels each: once all are packed,
    /// by any threads, this is what [`Self::pack`] makes.
    pub fn parts<'a>(&'a mut self, tier: Tier, b: Mat<'a>, panels: usize) -> Vec<PackPart<'a>> {
        self.shape(tier, b.rows(), b.columns());
        let (panel, columns) = (self.panel, b.columns());
        let size = (b.rows() * panel).max(1);
        let panels = panels.clamp(1, columns.div_ceil(panel).max(1));
        let width = panel * panels;
        self.data
            .chunks_mut(size * panels)
            .enumerate()
            .map(|(i, out)| PackPart {
                b: b.column_range((i * width).min(columns)..((i + 1) * width).min(columns)),
                panel,
                out,
            })
            .collect()
    }

    /// Writes rows from `row` on.
    pub(crate) fn write(&mut self, row: usize, b: Mat) {
        assert!(b.columns() == self.columns && row + b.rows() <= self.rows);
        let panel = self.panel;
        let size = self.rows * panel;
        for (j, part) in self.data.chunks_exact_mut(size.max(1)).enumerate() {
            let columns = j * panel..((j + 1) * panel).min(b.columns());
            pack_panel(b.column_range(columns), panel, &mut part[row * panel..]);
        }
    }

    /// Sets the shape and makes room; [`Self::write`] then gives the rows.
    pub(crate) fn shape(&mut self, tier: Tier, rows: usize, columns: usize) {
        self.panel = Kernels::of(tier).panel();
        (self.rows, self.columns) = (rows, columns);
        self.data
            .resize(columns.div_ceil(self.panel) * rows * self.panel);
    }

    /// Length of the inner dimension.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the product.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Columns of a panel.
    pub fn panel_width(&self) -> usize {
        self.panel
    }

    /// Panel `j` from row `from`, and its columns.
    #[inline]
    pub(crate) fn panel(&self, j: usize, from: usize) -> (&[f32], Range<usize>) {
        let size = self.rows * self.panel;
        let part = &self.data[j * size..(j + 1) * size];
        let columns = j * self.panel..((j + 1) * self.panel).min(self.columns);
        (&part[from * self.panel..], columns)
    }

    /// Number of panels.
    #[inline]
    pub(crate) fn panels(&self) -> usize {
        self.columns.div_ceil(self.panel.max(1))
    }
}

/// Rows that packing reads ahead.
const AHEAD: usize = 4;

/// Asks for the cache lines of a row.
#[inline]
fn prefetch(row: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of x86-64, and asking for memory touches none.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

/// Some panels of a [`PackedB`] that are yet to be packed.
#[derive(Debug)]
pub struct PackPart<'a> {
    b: Mat<'a>,
    panel: usize,
    out: &'a mut [f32],
}

impl PackPart<'_> {
    /// Packs them.
    pub fn pack(&mut self) {
        if self.b.strides().1 == 1 {
            match self.panel {
                32 => return self.pack_rows::<32>(),
                16 => return self.pack_rows::<16>(),
                8 => return self.pack_rows::<8>(),
                _ => {}
            }
        }
        let size = (self.b.rows() * self.panel).max(1);
        for (j, out) in self.out.chunks_mut(size).enumerate() {
            let columns = j * self.panel..((j + 1) * self.panel).min(self.b.columns());
            pack_panel(self.b.column_range(columns), self.panel, out);
        }
    }

    /// Packs contiguous rows of all panels at once: the longer a stretch of memory that is read in
    /// one go, the fewer times it is waited for. Rows are read ahead, for they may lie pages apart.
    fn pack_rows<const PANEL: usize>(&mut self) {
        let (rows, columns) = (self.b.rows(), self.b.columns());
        let (whole, rest) = (columns / PANEL, columns % PANEL);
        let size = rows * PANEL;
        assert!(self.out.len() >= columns.div_ceil(PANEL) * size);
        for k in 0..rows {
            if k + AHEAD < rows {
                prefetch(self.b.row(k + AHEAD));
            }
            let from = self.b.row(k);
            let (panels, last) = from.as_chunks::<PANEL>();
            for (j, panel) in panels.iter().enumerate() {
                let at = j * size + k * PANEL;
                self.out[at..at + PANEL].copy_from_slice(panel);
            }
            if rest > 0 {
                let at = whole * size + k * PANEL;
                self.out[at..at + rest].copy_from_slice(last);
                self.out[at + rest..at + PANEL].fill(0.0);
            }
        }
    }
}

/// Writes `b`, at most `panel` columns, row after row to `out`, each row filled up with zeros.
pub(crate) fn pack_panel(b: Mat, panel: usize, out: &mut [f32]) {
    let (rows, columns) = (b.rows(), b.columns());
    assert!(columns <= panel && out.len() >= rows * panel);
    let (down, across) = b.strides();
    if rows == 0 || columns == 0 {
        return;
    }
    if across == 1 {
        for (k, to) in out.chunks_exact_mut(panel).enumerate().take(rows) {
            // SAFETY: row k of the view has `columns` contiguous numbers.
            let from = unsafe { std::slice::from_raw_parts(b.ptr().add(k * down), columns) };
            if columns == panel {
                to.copy_from_slice(from);
            } else {
                to[..columns].copy_from_slice(from);
                to[columns..].fill(0.0);
            }
        }
        return;
    }
    // Squares, so that both sides stay within a few cache lines.
    const SQUARE: usize = 16;
    for from in (0..rows).step_by(SQUARE) {
        let square = SQUARE.min(rows - from);
        for j in 0..columns {
            for k in from..from + square {
                // SAFETY: (k, j) is an element of the view; `out` holds rows * panel numbers.
                unsafe {
                    *out.get_unchecked_mut(k * panel + j) = *b.ptr().add(k * down + j * across);
                }
            }
        }
        for k in from..from + square {
            out[k * panel + columns..(k + 1) * panel].fill(0.0);
        }
    }
}
