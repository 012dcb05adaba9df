//! Counter-based random streams.
//!
//! The n-th number of a stream is a fixed function of (seed, task, n): the output mix of
//! SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
//! OOPSLA 2014) applied to a Weyl sequence that starts at a key. A task therefore draws the
//! same numbers on whichever thread it runs. `ironlearn._random` is the same in Python.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output mix of SplitMix64: a bijection of 64-bit words.
#[inline]
pub fn mix(word: u64) -> u64 {
    let mut z = word;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    key: u64,
    counter: u64,
}

impl Stream {
    /// The stream of `task` under `seed`.
    pub fn new(seed: u64, task: u64) -> Self {
        Stream {
            key: mix(mix(seed.wrapping_add(GOLDEN)) ^ task.wrapping_mul(GOLDEN)),
            counter: 0,
        }
    }

    /// Passes over the next `n` numbers.
    pub fn skip(&mut self, n: u64) {
        self.counter = self.counter.wrapping_add(n);
    }

    /// The stream's key: word `i` from 0 is the mix of `key + (i + 1) golden`.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        mix(self.key.wrapping_add(self.counter.wrapping_mul(GOLDEN)))
    }

    /// The next number in [0, 1), a multiple of 2^-53.
    #[inline]
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// The next integer in `0..n`, by the high half of a product (bias below n / 2^64).
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// Puts `items` into random order (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // SplitMix64 seeded with 0: the published first output.
        assert_eq!(mix(GOLDEN), 0xe220_a839_7b1d_cdaf);
        let mut stream = Stream::new(42, 7);
        let first = [stream.next_u64(), stream.next_u64()];
        // The same two numbers stand in tests/test_random.py.
        assert_eq!(first, [KNOWN_A, KNOWN_B]);
    }
    const KNOWN_A: u64 = 483231565967908813;
    const KNOWN_B: u64 = 16482985722323447685;

    #[test]
    fn skipped_numbers_are_missing() {
        let (mut all, mut some) = (Stream::new(5, 6), Stream::new(5, 6));
        some.skip(3);
        for _ in 0..3 {
            all.next_u64();
        }
        assert_eq!(all.next_u64(), some.next_u64());
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, task| Stream::new(seed, task).next_u64();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(2, 1));
        assert_ne!(draw(0, 0), draw(0, 1));
    }

    #[test]
    fn below_is_roughly_uniform() {
        let mut stream = Stream::new(3, 0);
        let mut counts = [0usize; 10];
        for _ in 0..100_000 {
            counts[stream.below(10)] += 1;
        }
        assert!(
            counts.iter().all(|c| (9_500..10_500).contains(c)),
            "{counts:?}"
        );
    }
}
