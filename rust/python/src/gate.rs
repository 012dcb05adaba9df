//! The one gate into native code.
//!
//! [`run`] is for work that may take long: it releases the interpreter, runs the work on a
//! pool of the wanted size, and polls for Ctrl-C meanwhile. [`inline`] is for work of
//! microseconds: it stays on the caller's thread. Both turn panics and errors into Python
//! exceptions.

use crate::errors::to_py;
use ironlearn_core::error::Result;
use ironlearn_core::parallel::Control;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a waiting call looks for Ctrl-C.
const POLL: Duration = Duration::from_millis(25);

/// Most threads that one call may ask for.
const MAX_THREADS: usize = 1024;

struct Pool {
    process: u32,
    size: usize,
    pool: Arc<ThreadPool>,
}

/// Pools by process and size. A forked child has the parent's entries but not its threads,
/// so it must build its own.
static POOLS: Mutex<Vec<Pool>> = Mutex::new(Vec::new());

/// The pool of `size` threads of this process.
///
/// Takes `Python` because the lock is only ever held under the interpreter lock: `os.fork`
/// needs that lock too, so no child can be born while another thread holds ours.
fn pool(_py: Python<'_>, size: usize) -> PyResult<Arc<ThreadPool>> {
    let process = std::process::id();
    let mut pools = POOLS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(found) = pools
        .iter()
        .find(|p| p.process == process && p.size == size)
    {
        return Ok(found.pool.clone());
    }
    // Dropping a parent's pool would wait for threads that do not exist here.
    let (own, inherited): (Vec<Pool>, Vec<Pool>) =
        pools.drain(..).partition(|p| p.process == process);
    *pools = own;
    std::mem::forget(inherited);
    let built = ThreadPoolBuilder::new()
        .num_threads(size)
        .thread_name(|i| format!("ironlearn-{i}"))
        .build()
        .map_err(|e| PyRuntimeError::new_err(format!("cannot start {size} threads: {e}")))?;
    let pool = Arc::new(built);
    pools.push(Pool {
        process,
        size,
        pool: pool.clone(),
    });
    Ok(pool)
}

fn panic_to_py(payload: Box<dyn Any + Send>) -> PyErr {
    let text = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown cause".to_string());
    PyRuntimeError::new_err(format!(
        "internal error in ironlearn, please report it: {text}"
    ))
}

/// Runs `work` on a pool of `threads` threads with the interpreter released.
pub fn run<T: Send>(
    py: Python<'_>,
    threads: usize,
    work: impl FnOnce(&Control) -> Result<T> + Send,
) -> PyResult<T> {
    let threads = threads.clamp(1, MAX_THREADS);
    let pool = pool(py, threads)?;
    let cancel = AtomicBool::new(false);
    let mut signal = None;
    let outcome = py.detach(|| {
        let (sender, receiver) = sync_channel(1);
        let control = Control::new(&cancel, threads);
        pool.in_place_scope(|scope| {
            scope.spawn(move |_| {
                // The receiver outlives the scope, so sending cannot fail.
                let _ = sender.send(catch_unwind(AssertUnwindSafe(|| work(&control))));
            });
            loop {
                match receiver.recv_timeout(POLL) {
                    Ok(outcome) => return Some(outcome),
                    Err(RecvTimeoutError::Disconnected) => return None,
                    Err(RecvTimeoutError::Timeout) => {
                        if signal.is_none()
                            && let Err(error) = Python::attach(|py| py.check_signals())
                        {
                            signal = Some(error);
                            cancel.store(true, Ordering::Relaxed);
                        }
                    }
                }
            }
        })
    });
    // A handler's own exception (KeyboardInterrupt or another) wins over the work's answer.
    if let Some(error) = signal {
        return Err(error);
    }
    match outcome {
        Some(Ok(answer)) => answer.map_err(to_py),
        Some(Err(payload)) => Err(panic_to_py(payload)),
        None => Err(PyRuntimeError::new_err(
            "a worker of ironlearn ended without an answer",
        )),
    }
}

/// Runs `work` of a few microseconds on the caller's thread, interpreter held.
pub fn inline<T>(work: impl FnOnce(&Control) -> Result<T>) -> PyResult<T> {
    match catch_unwind(AssertUnwindSafe(|| work(&Control::serial()))) {
        Ok(answer) => answer.map_err(to_py),
        Err(payload) => Err(panic_to_py(payload)),
    }
}

/// [`inline`] when about `cost` elementary operations are few, else [`run`]; on one thread
/// when a second one would cost more than it saves.
pub fn sized<T: Send>(
    py: Python<'_>,
    threads: usize,
    cost: usize,
    work: impl FnOnce(&Control) -> Result<T> + Send,
) -> PyResult<T> {
    const INLINE: usize = 500_000;
    const PARALLEL: usize = 1_000_000;
    if cost < INLINE {
        inline(work)
    } else if cost < PARALLEL {
        run(py, 1, work)
    } else {
        run(py, threads, work)
    }
}

/// Works for `seconds` (or panics, or fails) so that tests can reach the gate's every exit.
#[pyfunction]
pub fn _gate_probe(py: Python<'_>, what: &str, seconds: f64, n_threads: usize) -> PyResult<usize> {
    let what = what.to_string();
    run(py, n_threads, move |control| {
        match what.as_str() {
            "panic" => panic!("probe"),
            "error" => {
                return Err(ironlearn_core::error::Error::InvalidParameter {
                    name: "probe",
                    given: "error".into(),
                    expected: "wait".into(),
                });
            }
            _ => {}
        }
        let start = std::time::Instant::now();
        while start.elapsed().as_secs_f64() < seconds {
            control.check()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(control.threads())
    })
}
