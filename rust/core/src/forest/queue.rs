//! Work that is finished in any order and handed on in order.

use crate::error::Result;
use crate::parallel::{Control, map_chunks};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Answers that came early, and who takes them.
struct Waiting<T, F> {
    early: BTreeMap<usize, T>,
    next: usize,
    take: F,
}

/// Calls `make` for each number below `n` on all threads, and `take` with the answers in the
/// order of the numbers. Threads draw the next number, so hardly more answers wait than there
/// are threads: nobody has to hold them all.
pub(super) fn in_order<T: Send>(
    control: &Control,
    n: usize,
    make: impl Fn(usize) -> Result<T> + Sync,
    take: impl FnMut(T) + Send,
) -> Result<()> {
    let drawn = AtomicUsize::new(0);
    let waiting = Mutex::new(Waiting {
        early: BTreeMap::new(),
        next: 0,
        take,
    });
    map_chunks(control, control.threads().min(n), 1, |_| {
        loop {
            control.check()?;
            let number = drawn.fetch_add(1, Ordering::Relaxed);
            if number >= n {
                return Ok(());
            }
            let answer = make(number).inspect_err(|_| drawn.store(n, Ordering::Relaxed))?;
            let mut waiting = waiting.lock().unwrap_or_else(|broken| broken.into_inner());
            let waiting = &mut *waiting;
            waiting.early.insert(number, answer);
            while let Some(answer) = waiting.early.remove(&waiting.next) {
                waiting.next += 1;
                (waiting.take)(answer);
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::sync::atomic::AtomicBool;

    fn on_three_threads<T: Send>(work: impl FnOnce(&Control) -> T + Send) -> T {
        let cancel = AtomicBool::new(false);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
        pool.unwrap().install(|| work(&Control::new(&cancel, 3)))
    }

    #[test]
    fn answers_come_in_order() {
        for n in [0, 1, 2, 50] {
            let mut taken = Vec::new();
            let slow = |i: usize| {
                // The first of each three takes longest.
                let long = [20_000, 10, 10][i % 3];
                Ok((i, (0..long).map(|v| (v as f64).sqrt()).sum::<f64>()).0)
            };
            on_three_threads(|control| in_order(control, n, slow, |i| taken.push(i))).unwrap();
            assert_eq!(taken, (0..n).collect::<Vec<_>>());
            taken.clear();
            in_order(&Control::serial(), n, Ok, |i| taken.push(i)).unwrap();
            assert_eq!(taken, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        let fail = |i: usize| {
            if i == 7 {
                Err(Error::Interrupted)
            } else {
                Ok(i)
            }
        };
        let answer = on_three_threads(|control| in_order(control, 1000, fail, |i| assert!(i < 7)));
        assert_eq!(answer, Err(Error::Interrupted));
    }
}
