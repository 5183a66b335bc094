//! Random numbers, which a seed tells.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// A seed of the test's own, which the environment can set, and which is told.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("MAPSHARE_SEED").ok().and_then(|text| text.parse().ok());
    let time =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
    let seed = given.unwrap_or(time ^ u64::from(std::process::id()) << 32);
    super::say(&format!("seed {seed}; set MAPSHARE_SEED to repeat"));
    seed
}

/// xorshift64*.
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    pub(crate) fn of<T: Copy>(&mut self, those: &[T]) -> T {
        those[self.below(those.len() as u64) as usize]
    }
}

/// What runs so many cases of a property, by a seed that is told. Nothing is written to the source tree.
pub(crate) fn cases(cases: u32) -> TestRunner {
    let mut random = Random::new(seed());
    let bytes: [u8; 32] = std::array::from_fn(|_| random.next() as u8);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}
