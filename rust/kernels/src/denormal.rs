//! Flushing of denormal numbers to zero while a network trains.
//!
//! Moments of weights that are no longer used decay until they are denormal; arithmetic on
//! such numbers is up to a hundred times slower, and they change nothing.

/// Flushes denormal results and operands of this thread to zero until it is dropped.
///
/// Does nothing on processors for which no way is written here.
#[derive(Debug)]
pub struct Flush {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    before: u64,
    /// The setting belongs to a thread.
    here: std::marker::PhantomData<*const ()>,
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use std::arch::asm;

    /// Flush-to-zero and denormals-are-zero.
    pub const BITS: u64 = 0x8040;

    pub fn read() -> u64 {
        let mut word = 0u32;
        // SAFETY: SSE belongs to the baseline; the instruction stores four bytes at `word`.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags)) };
        u64::from(word)
    }

    pub fn write(word: u64) {
        let word = word as u32;
        // SAFETY: the word was read from the register, with at most [`BITS`] changed, so no
        // reserved bit is set and exceptions stay masked as they were.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use std::arch::asm;

    /// Flush-to-zero.
    pub const BITS: u64 = 1 << 24;

    pub fn read() -> u64 {
        let word: u64;
        // SAFETY: reading the floating-point control register has no effect.
        unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
        word
    }

    pub fn write(word: u64) {
        // SAFETY: the word was read from the register, with at most [`BITS`] changed.
        unsafe { asm!("msr fpcr, {}", in(reg) word, options(nostack, preserves_flags)) };
    }
}

impl Flush {
    /// Begins flushing on this thread.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Flush {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        {
            let before = arch::read();
            arch::write(before | arch::BITS);
            Flush {
                before,
                here: std::marker::PhantomData,
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        Flush {
            here: std::marker::PhantomData,
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        arch::write(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn denormals_vanish_only_while_it_lives() {
        let halved = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        assert!(halved() > 0.0);
        {
            let _flush = Flush::new();
            if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
                assert_eq!(halved(), 0.0);
            }
        }
        assert!(halved() > 0.0);
    }
}
