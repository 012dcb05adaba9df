//! Memory that each thread keeps between the chunks it works on.

use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::gemm::PackedB;
use std::cell::Cell;

thread_local! {
    static KEPT: Cell<[Buffer; 4]> = const { Cell::new([const { Buffer::new() }; 4]) };
    static CHAIN: Cell<Chain> = const { Cell::new(Chain::new()) };
    static PAIR: Cell<[PackedB; 2]> = const { Cell::new([const { PackedB::empty() }; 2]) };
    static IMAGE: Cell<[Buffer; 2]> = const { Cell::new([const { Buffer::new() }; 2]) };
}

/// What a chain of operations keeps around the loops that call [`with`].
#[derive(Default)]
pub struct Chain {
    /// What goes from one operation to the next.
    pub buffers: [Buffer; 3],
    /// Kernels, packed.
    pub packs: Vec<PackedB>,
}

impl Chain {
    const fn new() -> Chain {
        Chain {
            buffers: [const { Buffer::new() }; 3],
            packs: Vec::new(),
        }
    }

    /// The first `n` packed kernels; what they hold is left from before.
    pub fn packs(&mut self, n: usize) -> &mut [PackedB] {
        if self.packs.len() < n {
            self.packs.resize(n, PackedB::default());
        }
        &mut self.packs[..n]
    }
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

/// Calls `f` with what this thread keeps for chains, as [`with`] does with its buffers.
pub fn with_chain<T>(f: impl FnOnce(&mut Chain) -> T) -> T {
    let mut chain = CHAIN.take();
    let out = f(&mut chain);
    for buffer in &mut chain.buffers {
        if buffer.len() > MOST {
            *buffer = Buffer::new();
        }
    }
    if chain
        .packs
        .iter()
        .map(|p| p.rows() * p.columns())
        .sum::<usize>()
        > MOST
    {
        chain.packs.clear();
    }
    CHAIN.set(chain);
    out
}

/// Calls `f` with two more buffers of this thread, for what goes from one call of [`with`] to the
/// next within a task.
pub fn with_image<T>(f: impl FnOnce(&mut [Buffer; 2]) -> T) -> T {
    let mut buffers = IMAGE.take();
    let out = f(&mut buffers);
    for buffer in &mut buffers {
        if buffer.len() > MOST {
            *buffer = Buffer::new();
        }
    }
    IMAGE.set(buffers);
    out
}

/// Calls `f` with two packed kernels of this thread, for one task.
pub fn with_pair<T>(f: impl FnOnce(&mut [PackedB; 2]) -> T) -> T {
    let mut pair = PAIR.take();
    let out = f(&mut pair);
    if pair.iter().map(|p| p.rows() * p.columns()).sum::<usize>() > MOST {
        pair = Default::default();
    }
    PAIR.set(pair);
    out
}
