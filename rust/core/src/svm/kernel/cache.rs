//! Kernel values that were computed, the least recently used ones dropped first.
//!
//! A segment is one training row against all rows of one class, so that the problems of a
//! class against each other class share what they have in common. The memory is bounded
//! whatever the number of rows. What is in the cache depends on the order in which threads
//! reach it, but values computed anew are the same bits.

use super::rows::Source;
use crate::error::Result;
use crate::parallel::Control;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

pub(super) type Segment = Arc<[f32]>;

#[derive(Default)]
struct Entries {
    /// Values and time of last use by key.
    by_key: HashMap<u64, (Segment, u64)>,
    /// Keys by time of last use.
    by_time: BTreeMap<u64, u64>,
    clock: u64,
    bytes: usize,
}

/// Kernel values of training rows, by class.
pub(super) struct Rows<'a> {
    pub source: &'a Source<'a>,
    /// Training rows of each class.
    pub classes: Vec<Vec<u32>>,
    pub diagonal: Vec<f64>,
    capacity: usize,
    entries: Mutex<Entries>,
}

impl<'a> Rows<'a> {
    pub fn new(source: &'a Source<'a>, classes: Vec<Vec<u32>>, capacity: usize) -> Self {
        Rows {
            source,
            classes,
            diagonal: source.diagonal(),
            capacity,
            entries: Mutex::new(Entries::default()),
        }
    }

    /// Bytes that may be kept.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    fn key(row: u32, class: usize) -> u64 {
        (class as u64) << 32 | u64::from(row)
    }

    /// The segment of `row` against `class`, if it is kept.
    pub fn find(&self, row: u32, class: usize) -> Option<Segment> {
        let mut guard = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = &mut *guard;
        entries.clock += 1;
        let now = entries.clock;
        let key = Self::key(row, class);
        let (segment, used) = entries.by_key.get_mut(&key)?;
        entries.by_time.remove(used);
        *used = now;
        entries.by_time.insert(now, key);
        Some(segment.clone())
    }

    fn keep(&self, row: u32, class: usize, segment: &Segment) {
        let size = std::mem::size_of_val::<[f32]>(segment);
        if size > self.capacity {
            return;
        }
        let mut guard = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = &mut *guard;
        let key = Self::key(row, class);
        if entries.by_key.contains_key(&key) {
            return;
        }
        while entries.bytes + size > self.capacity {
            let Some((_, oldest)) = entries.by_time.pop_first() else {
                break;
            };
            if let Some((dropped, _)) = entries.by_key.remove(&oldest) {
                entries.bytes -= std::mem::size_of_val::<[f32]>(&dropped);
            }
        }
        entries.clock += 1;
        let now = entries.clock;
        entries.by_time.insert(now, key);
        entries.by_key.insert(key, (segment.clone(), now));
        entries.bytes += size;
    }

    /// The segments of `rows` against `class`, computed together where they are not kept.
    pub fn segments(&self, control: &Control, rows: &[u32], class: usize) -> Result<Vec<Segment>> {
        let mut found: Vec<Option<Segment>> =
            rows.iter().map(|&row| self.find(row, class)).collect();
        let missing: Vec<u32> = (rows.iter().zip(&found))
            .filter(|(_, segment)| segment.is_none())
            .map(|(&row, _)| row)
            .collect();
        let columns = &self.classes[class];
        let mut values = vec![0.0f32; missing.len() * columns.len()];
        self.source.block(control, &missing, columns, &mut values)?;
        let mut fresh = values.chunks_exact(columns.len().max(1));
        let empty: &[f32] = &[];
        let mut segments = Vec::with_capacity(rows.len());
        for (&row, segment) in rows.iter().zip(&mut found) {
            segments.push(match segment.take() {
                Some(segment) => segment,
                None => {
                    let segment: Segment = fresh.next().unwrap_or(empty).into();
                    self.keep(row, class, &segment);
                    segment
                }
            });
        }
        Ok(segments)
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.bytes
    }
}
