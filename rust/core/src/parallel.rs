//! Parallel loops whose results do not depend on the number of threads.
//!
//! Chunk boundaries come from the data's shape alone and partial results are combined in
//! chunk order. With one thread (or work that stays on the caller's thread) the same chunks
//! run one after another, so the bits are the same.

use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

static NEVER: AtomicBool = AtomicBool::new(false);

/// What a running algorithm may ask about its surroundings: how many threads it has, and
/// whether it should stop.
///
/// With more than one thread the algorithm runs inside a pool of that size; with one it may
/// run on any thread, so nothing may call rayon directly: use the functions of this module,
/// or check [`Control::threads`] first.
#[derive(Clone, Copy, Debug)]
pub struct Control<'a> {
    cancel: &'a AtomicBool,
    threads: usize,
}

impl<'a> Control<'a> {
    /// A control for `threads` threads that reads `cancel`.
    pub fn new(cancel: &'a AtomicBool, threads: usize) -> Self {
        Control {
            cancel,
            threads: threads.max(1),
        }
    }

    /// One thread, never cancelled: for short work and for tests.
    pub fn serial() -> Control<'static> {
        Control {
            cancel: &NEVER,
            threads: 1,
        }
    }

    /// Threads that this algorithm may use.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The same control for work on one thread, inside a task of a parallel loop.
    pub fn single(&self) -> Control<'a> {
        Control {
            cancel: self.cancel,
            threads: 1,
        }
    }

    /// `Err(Interrupted)` once the user asked to stop. Cheap: one relaxed load.
    pub fn check(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Runs both closures, in parallel where there is more than one thread.
    pub fn join<A: Send, B: Send>(
        &self,
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        if self.threads > 1 {
            rayon::join(a, b)
        } else {
            (a(), b())
        }
    }
}

/// The ranges `0..chunk`, `chunk..2*chunk`, ... that cover `0..n`.
pub fn chunks(n: usize, chunk: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let chunk = chunk.max(1);
    (0..n.div_ceil(chunk)).map(move |i| i * chunk..((i + 1) * chunk).min(n))
}

/// Calls `f` on each chunk of `0..n` and returns the answers in chunk order.
pub fn map_chunks<T: Send>(
    control: &Control,
    n: usize,
    chunk: usize,
    f: impl Fn(Range<usize>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let ranges: Vec<_> = chunks(n, chunk).collect();
    if control.threads() > 1 && ranges.len() > 1 {
        ranges
            .into_par_iter()
            .map(|range| {
                control.check()?;
                f(range)
            })
            .collect()
    } else {
        ranges
            .into_iter()
            .map(|range| {
                control.check()?;
                f(range)
            })
            .collect()
    }
}

/// Calls `f` on each chunk of `rows` rows and that chunk's part of `out`
/// (`width` elements a row).
pub fn fill_chunks<O: Send>(
    control: &Control,
    out: &mut [O],
    width: usize,
    rows: usize,
    f: impl Fn(Range<usize>, &mut [O]) -> Result<()> + Sync,
) -> Result<()> {
    let width = width.max(1);
    let rows = rows.max(1);
    let n = out.len() / width;
    let range = |i: usize| i * rows..((i + 1) * rows).min(n);
    if control.threads() > 1 && n > rows {
        out.par_chunks_mut(rows * width)
            .enumerate()
            .try_for_each(|(i, part)| {
                control.check()?;
                f(range(i), part)
            })
    } else {
        out.chunks_mut(rows * width)
            .enumerate()
            .try_for_each(|(i, part)| {
                control.check()?;
                f(range(i), part)
            })
    }
}

/// Calls `f` on each item and returns the answers in order.
pub fn each_mut<S: Send, T: Send>(
    control: &Control,
    items: &mut [S],
    f: impl Fn(&mut S) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let one = |item: &mut S| {
        control.check()?;
        f(item)
    };
    if control.threads() > 1 && items.len() > 1 {
        items.par_iter_mut().map(one).collect()
    } else {
        items.iter_mut().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_cover_everything_once(n in 0usize..1000, chunk in 0usize..50) {
            let mut next = 0;
            for range in chunks(n, chunk) {
                prop_assert_eq!(range.start, next);
                prop_assert!(range.end > range.start);
                next = range.end;
            }
            prop_assert_eq!(next, n);
        }

        #[test]
        fn threads_do_not_change_answers(n in 0usize..500, chunk in 1usize..50) {
            let cancel = AtomicBool::new(false);
            let sum = |r: Range<usize>| Ok(r.map(|i| (i as f64).sqrt()).sum::<f64>());
            let one = map_chunks(&Control::serial(), n, chunk, sum).unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            let many = pool.install(|| map_chunks(&Control::new(&cancel, 3), n, chunk, sum)).unwrap();
            prop_assert_eq!(one, many);
        }
    }

    #[test]
    fn a_set_flag_stops_the_loop() {
        let cancel = AtomicBool::new(true);
        let control = Control::new(&cancel, 1);
        let answer = map_chunks(&control, 10, 1, |_| Ok(()));
        assert_eq!(answer, Err(Error::Interrupted));
    }
}
