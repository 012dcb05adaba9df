//! Threads that go through the phases of a step together.
//!
//! A phase is a number of tasks with a barrier behind them. Tasks are claimed one by one, each
//! worker beginning with a share of its own (so that a share's data stays in its cache) and
//! helping with the others' then. Nobody waits for a worker that has not begun: a pool whose
//! threads are busy elsewhere costs speed, never a deadlock. What a task does must not depend
//! on who does it.

use crate::parallel::Control;
use ironlearn_kernels::denormal::Flush;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How long a worker spins for the next phase before it sleeps: longer than the leader's work
/// between two phases, shorter than what the system needs to notice.
const SPIN_MICROS: u128 = 100;

/// Tasks and phase kinds in one word with the epoch: `epoch << 32 | kind << 20 | tasks`.
const TASK_BITS: u32 = 20;
const EPOCH_BITS: u32 = 32;

/// Kinds of phases are below this.
pub const MOST_PHASES: usize = 1 << (EPOCH_BITS - TASK_BITS);

/// Called with the worker's number, the phase's kind and the task's number.
pub type Work<'a> = dyn Fn(usize, usize, usize) + Sync + 'a;

struct Sleep {
    lock: Mutex<()>,
    bell: Condvar,
    sleepers: AtomicUsize,
}

impl Sleep {
    fn new() -> Self {
        Sleep {
            lock: Mutex::new(()),
            bell: Condvar::new(),
            sleepers: AtomicUsize::new(0),
        }
    }

    fn guard(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spins, then sleeps, until `ready`.
    fn wait(&self, ready: impl Fn() -> bool) {
        let start = Instant::now();
        loop {
            for _ in 0..64 {
                if ready() {
                    return;
                }
                std::hint::spin_loop();
            }
            if start.elapsed().as_micros() > SPIN_MICROS {
                break;
            }
        }
        let mut guard = self.guard();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !ready() {
            guard = self
                .bell
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes the sleepers after a change that makes them ready.
    fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.guard());
            self.bell.notify_all();
        }
    }
}

/// One worker's share: `epoch << 32 | next task`, on a cache line of its own.
#[repr(align(128))]
struct Share(AtomicU64);

/// The threads of one call.
pub struct Team<'a> {
    work: &'a Work<'a>,
    shares: Vec<Share>,
    phase: AtomicU64,
    done: AtomicUsize,
    stop: AtomicBool,
    broken: AtomicBool,
    helpers: Sleep,
    leader: Sleep,
}

impl<'a> Team<'a> {
    /// Runs `lead` on this thread with as many helpers as `control` has more threads.
    pub fn run<T>(
        control: &Control,
        work: &'a Work<'a>,
        lead: impl FnOnce(&Team<'a>) -> T + Send,
    ) -> T
    where
        T: Send,
    {
        let threads = control.threads();
        let team = Team {
            work,
            shares: (0..threads).map(|_| Share(AtomicU64::new(0))).collect(),
            phase: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            helpers: Sleep::new(),
            leader: Sleep::new(),
        };
        if threads == 1 {
            let _flush = Flush::new();
            return lead(&team);
        }
        rayon::in_place_scope(|scope| {
            let team = &team;
            for worker in 1..threads {
                scope.spawn(move |_| team.help(worker));
            }
            // Also when `lead` panics the helpers must go home.
            let _dismissal = Dismissal(team);
            let _flush = Flush::new();
            lead(team)
        })
    }

    /// Does all tasks of a phase; returns when they are done.
    ///
    /// # Panics
    /// If a task panicked on another thread.
    pub fn phase(&self, kind: usize, tasks: usize) {
        assert!(kind < MOST_PHASES && tasks < 1 << TASK_BITS);
        let threads = self.shares.len();
        if threads == 1 || tasks <= 1 {
            for task in 0..tasks {
                (self.work)(0, kind, task);
            }
            return;
        }
        let before = self.phase.load(Ordering::Relaxed);
        let epoch = (before >> EPOCH_BITS) + 1;
        self.done.store(0, Ordering::Relaxed);
        for (w, share) in self.shares.iter().enumerate() {
            let first = (w * tasks / threads) as u64;
            share
                .0
                .store(epoch << EPOCH_BITS | first, Ordering::Relaxed);
        }
        let phase = epoch << EPOCH_BITS | (kind as u64) << TASK_BITS | tasks as u64;
        self.phase.store(phase, Ordering::SeqCst);
        self.helpers.wake();
        self.take_part(0, phase);
        self.leader.wait(|| {
            self.done.load(Ordering::SeqCst) == tasks || self.broken.load(Ordering::SeqCst)
        });
        assert!(!self.broken.load(Ordering::SeqCst), "a task panicked");
    }

    /// Claims and does tasks of `phase` until none is left.
    fn take_part(&self, worker: usize, phase: u64) {
        let threads = self.shares.len();
        let tasks = (phase & ((1 << TASK_BITS) - 1)) as usize;
        let kind = (phase >> TASK_BITS) as usize % MOST_PHASES;
        let epoch = phase >> EPOCH_BITS;
        for turn in 0..threads {
            let owner = (worker + turn) % threads;
            let end = ((owner + 1) * tasks / threads) as u64;
            let share = &self.shares[owner].0;
            loop {
                let next = share.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                    let open = word >> EPOCH_BITS == epoch && (word & 0xffff_ffff) < end;
                    open.then_some(word + 1)
                });
                let Ok(word) = next else { break };
                (self.work)(worker, kind, (word & 0xffff_ffff) as usize);
                if self.done.fetch_add(1, Ordering::SeqCst) + 1 == tasks {
                    self.leader.wake();
                }
            }
        }
    }

    fn help(&self, worker: usize) {
        let _flush = Flush::new();
        let alarm = Alarm(self);
        let mut seen = 0;
        loop {
            self.helpers.wait(|| {
                self.phase.load(Ordering::SeqCst) != seen || self.stop.load(Ordering::SeqCst)
            });
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            seen = self.phase.load(Ordering::SeqCst);
            self.take_part(worker, seen);
        }
        std::mem::forget(alarm);
    }
}

/// Sends the helpers home.
struct Dismissal<'t, 'a>(&'t Team<'a>);

impl Drop for Dismissal<'_, '_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
        self.0.helpers.wake();
    }
}

/// Tells the leader of a helper that unwinds.
struct Alarm<'t, 'a>(&'t Team<'a>);

impl Drop for Alarm<'_, '_> {
    fn drop(&mut self) {
        self.0.broken.store(true, Ordering::SeqCst);
        self.0.leader.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    }

    #[test]
    fn every_task_is_done_once_in_every_phase() {
        for threads in [1, 2, 3] {
            let cancel = AtomicBool::new(false);
            let counts: Vec<AtomicU32> = (0..50).map(|_| AtomicU32::new(0)).collect();
            let kinds = AtomicUsize::new(0);
            let work = |_worker: usize, kind: usize, task: usize| {
                kinds.fetch_add(kind, Ordering::Relaxed);
                counts[task].fetch_add(1, Ordering::Relaxed);
            };
            pool(threads).install(|| {
                Team::run(&Control::new(&cancel, threads), &work, |team| {
                    for round in 1..=200 {
                        let tasks = [50, 7, 1, 0][round % 4];
                        let before: u32 = counts.iter().map(|c| c.load(Ordering::Relaxed)).sum();
                        team.phase(3, tasks);
                        let after: u32 = counts.iter().map(|c| c.load(Ordering::Relaxed)).sum();
                        assert_eq!(after - before, tasks as u32);
                        if round == 100 {
                            std::thread::sleep(std::time::Duration::from_millis(2));
                        }
                    }
                });
            });
            assert!(counts[20..].iter().all(|c| c.load(Ordering::Relaxed) == 50));
            assert_eq!(kinds.load(Ordering::Relaxed), 3 * 58 * 50);
        }
    }

    #[test]
    fn a_pool_that_is_busy_is_not_waited_for() {
        let cancel = AtomicBool::new(false);
        let sum = AtomicUsize::new(0);
        let work = |_: usize, _: usize, task: usize| {
            sum.fetch_add(task, Ordering::Relaxed);
        };
        // One thread, but the control promises three.
        pool(1).install(|| {
            Team::run(&Control::new(&cancel, 3), &work, |team| team.phase(0, 100));
        });
        assert_eq!(sum.load(Ordering::Relaxed), 4950);
    }

    #[test]
    fn a_panic_of_a_task_reaches_the_caller() {
        let cancel = AtomicBool::new(false);
        let work = |_: usize, _: usize, task: usize| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            assert!(task != 9, "on purpose");
        };
        let outcome = std::panic::catch_unwind(|| {
            pool(2).install(|| {
                Team::run(&Control::new(&cancel, 2), &work, |team| team.phase(0, 10));
            });
        });
        assert!(outcome.is_err());
    }
}
