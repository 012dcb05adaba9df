//! Memory that each thread keeps between the chunks it works on.

use ironlearn_kernels::buffer::Buffer;
use std::cell::Cell;

thread_local! {
    static KEPT: Cell<[Buffer; 4]> = const { Cell::new([const { Buffer::new() }; 4]) };
}

/// Buffers above this many numbers go back to the system after use.
const MOST: usize = 1 << 22;

/// Calls `f` with this thread's buffers, whose contents are left from before.
///
/// While `f` runs, the thread may be asked to run other tasks that call this too; those get
/// empty buffers of their own.
pub fn with<T>(f: impl FnOnce(&mut [Buffer; 4]) -> T) -> T {
    let mut buffers = KEPT.take();
    let out = f(&mut buffers);
    for buffer in &mut buffers {
        if buffer.len() > MOST {
            *buffer = Buffer::new();
        }
    }
    KEPT.set(buffers);
    out
}
