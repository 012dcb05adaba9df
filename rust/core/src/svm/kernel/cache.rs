//! Kernel values that were computed, the least recently used ones dropped first.
//!
//! A segment is one training row against the rows of a set: those of a class, so that the
//! problems of a class against each other class share what they have in common, or those that
//! a shrunk problem still looks at. The memory is bounded whatever the number of rows. What is
//! in the cache depends on the order in which threads reach it, but values computed anew are
//! the same bits.

use super::rows::{Packed, Source};
use crate::error::Result;
use crate::parallel::Control;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub(super) type Segment = Arc<[f32]>;

/// Number of a set: that of a class, or what [`Rows::new_set`] gave.
pub(super) type Set = u32;

#[derive(Default)]
struct Entries {
    /// Values and time of last use by key.
    by_key: HashMap<(Set, u32), (Segment, u64)>,
    /// Keys by time of last use.
    by_time: BTreeMap<u64, (Set, u32)>,
    clock: u64,
    bytes: usize,
}

fn bytes_of(segment: &Segment) -> usize {
    std::mem::size_of_val::<[f32]>(segment)
}

impl Entries {
    fn remove(&mut self, key: (Set, u32)) -> Option<Segment> {
        let (segment, used) = self.by_key.remove(&key)?;
        self.by_time.remove(&used);
        self.bytes -= bytes_of(&segment);
        Some(segment)
    }

    fn keep(&mut self, key: (Set, u32), segment: &Segment, capacity: usize) {
        let size = bytes_of(segment);
        if size > capacity || self.by_key.contains_key(&key) {
            return;
        }
        while self.bytes + size > capacity {
            let Some((_, &oldest)) = self.by_time.first_key_value() else {
                break;
            };
            self.remove(oldest);
        }
        self.clock += 1;
        self.by_time.insert(self.clock, key);
        self.by_key.insert(key, (segment.clone(), self.clock));
        self.bytes += size;
    }

    fn of_set(&self, set: Set) -> Vec<(Set, u32)> {
        let keys = self.by_time.values();
        keys.filter(|key| key.0 == set).copied().collect()
    }
}

/// Kernel values of training rows, by set.
pub(super) struct Rows<'a> {
    pub source: &'a Source<'a>,
    /// Training rows of each class: the first sets.
    pub classes: Vec<Vec<u32>>,
    pub diagonal: Vec<f64>,
    capacity: usize,
    kept: usize,
    threads: usize,
    next: AtomicU32,
    /// Copies of the classes' dense rows, where there is room for them.
    packed: Option<Vec<OnceLock<Packed>>>,
    entries: Mutex<Entries>,
}

impl<'a> Rows<'a> {
    /// At most `capacity` bytes of kernel values, those that `threads` threads are computing
    /// included.
    pub fn new(
        source: &'a Source<'a>,
        classes: Vec<Vec<u32>>,
        capacity: usize,
        threads: usize,
    ) -> Self {
        // An eighth is for values that are being computed, the rest for the solver's arrays.
        let mut kept = capacity - capacity / 4;
        let mut packed = None;
        if let Source::Points(points, _) = source
            && points.csr().is_none()
        {
            let sizes = classes
                .iter()
                .map(|c| Packed::bytes(c.len(), points.width()));
            let bytes = sizes.fold(0, usize::saturating_add);
            if bytes <= capacity / 4 {
                kept -= bytes;
                packed = Some(classes.iter().map(|_| OnceLock::new()).collect());
            }
        }
        Rows {
            source,
            diagonal: source.diagonal(),
            capacity,
            kept,
            threads: threads.max(1),
            next: AtomicU32::new(classes.len() as u32),
            packed,
            classes,
            entries: Mutex::new(Entries::default()),
        }
    }

    /// Bytes that may be kept.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Rows of `columns` values that a thread should compute at a time.
    pub fn group(&self, columns: usize) -> usize {
        let each = columns.max(1) * std::mem::size_of::<f32>();
        (self.capacity / 8 / self.threads / each).clamp(8, 256)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a new set.
    pub fn new_set(&self) -> Set {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The segment of `row` against `set`, if it is kept.
    pub fn find(&self, row: u32, set: Set) -> Option<Segment> {
        let mut guard = self.entries();
        let entries = &mut *guard;
        entries.clock += 1;
        let (now, key) = (entries.clock, (set, row));
        let (segment, used) = entries.by_key.get_mut(&key)?;
        entries.by_time.remove(used);
        *used = now;
        entries.by_time.insert(now, key);
        Some(segment.clone())
    }

    /// Keeps a segment that the caller put together.
    pub fn keep(&self, row: u32, set: Set, segment: &Segment) {
        self.entries().keep((set, row), segment, self.kept);
    }

    /// Drops all segments of `set`.
    pub fn forget(&self, set: Set) {
        let mut entries = self.entries();
        for key in entries.of_set(set) {
            entries.remove(key);
        }
    }

    /// Replaces the segments of `old` by their parts at `places`, as segments of `new`.
    pub fn narrow(&self, old: Set, new: Set, places: &[u32]) {
        let mut entries = self.entries();
        for key in entries.of_set(old) {
            if let Some(segment) = entries.remove(key) {
                let part: Segment = places.iter().map(|&p| segment[p as usize]).collect();
                entries.keep((new, key.1), &part, self.kept);
            }
        }
    }

    /// The segments of `rows` against `set`, whose rows are `columns`; those that are not
    /// kept are computed together.
    pub fn segments(
        &self,
        control: &Control,
        rows: &[u32],
        set: Set,
        columns: &[u32],
    ) -> Result<Vec<Segment>> {
        let found: Vec<Option<Segment>> = rows.iter().map(|&row| self.find(row, set)).collect();
        let missing: Vec<u32> = (rows.iter().zip(&found))
            .filter(|(_, segment)| segment.is_none())
            .map(|(&row, _)| row)
            .collect();
        let mut fresh: Vec<Segment> = (missing.iter())
            .map(|_| std::iter::repeat_n(0.0, columns.len()).collect())
            .collect();
        let mut parts: Vec<&mut [f32]> = fresh.iter_mut().filter_map(Arc::get_mut).collect();
        (self.source).block(control, &missing, columns, &mut parts)?;
        for (&row, segment) in missing.iter().zip(&fresh) {
            self.keep(row, set, segment);
        }
        let mut fresh = fresh.into_iter();
        Ok((found.into_iter())
            .filter_map(|segment| segment.or_else(|| fresh.next()))
            .collect())
    }

    /// True if single segments cost no more than their share of many together.
    pub fn single_is_cheap(&self) -> bool {
        match self.source {
            Source::Points(points, _) => points.csr().is_some() || self.packed.is_some(),
            Source::Matrix(..) => true,
        }
    }

    /// The segment of one row against a class.
    pub fn segment(&self, control: &Control, row: u32, class: usize) -> Result<Segment> {
        if let Some(segment) = self.find(row, class as Set) {
            return Ok(segment);
        }
        let columns = &self.classes[class];
        let mut segment: Segment = std::iter::repeat_n(0.0, columns.len()).collect();
        if let Some(out) = Arc::get_mut(&mut segment) {
            match (self.source, &self.packed) {
                (Source::Points(points, kernel), Some(packed)) => {
                    let packed = packed[class].get_or_init(|| Packed::new(points, columns));
                    packed.row(kernel, points, row as usize, out);
                }
                _ => self.source.block(control, &[row], columns, &mut [out])?,
            }
        }
        self.keep(row, class as Set, &segment);
        Ok(segment)
    }

    /// Adds to `out` the products of `columns` with `changes` (rows and factors), in their
    /// order; nothing is kept.
    pub fn add_products(
        &self,
        control: &Control,
        changes: &[(u32, f64)],
        columns: &[u32],
        out: &mut [f64],
        add: impl Fn(&mut [f64], f64, &[f32]) + Sync,
    ) -> Result<()> {
        const PART: usize = 1024;
        const ROWS: usize = super::rows::TASK;
        let serial = control.single();
        let rows: Vec<u32> = changes.iter().map(|change| change.0).collect();
        let one = |range: Range<usize>, out: &mut [f64]| {
            let mut values = vec![0.0f32; ROWS.min(rows.len()) * range.len()];
            for (rows, changes) in rows.chunks(ROWS).zip(changes.chunks(ROWS)) {
                let parts = values.chunks_exact_mut(range.len()).take(rows.len());
                let mut parts: Vec<&mut [f32]> = parts.collect();
                let columns = &columns[range.clone()];
                self.source.block(&serial, rows, columns, &mut parts)?;
                for (part, change) in parts.iter().zip(changes) {
                    add(out, change.1, part);
                }
            }
            Ok(())
        };
        crate::parallel::fill_chunks(control, out, 1, PART, one)
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.entries().bytes
    }
}
