//! One who writes whatever he likes into an object that others use.

use super::random::Random;
use super::victim::Kind;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

// As docs/format.md has them.
pub(crate) const MAKING: u64 = 0x4968_736d << 32;
const OBJECT: u64 = 0x4f68_736d << 32;
const COMMITTED: u64 = 1 << 63;
const PADDING: u64 = 1 << 62;
pub(crate) const QUEUE_TAIL: u64 = 128;
pub(crate) const QUEUE_HEAD: u64 = 256;
pub(crate) const QUEUE_RING: u64 = 512;
const MUTEX_WORDS: [u64; 5] = [0, 8, 16, 24, 32];
const CELL_WORDS: [u64; 10] = [0, 8, 16, 24, 32, 64, 72, 80, 88, 96];
const QUEUE_WORDS: [u64; 21] =
    [0, 8, 16, 24, 32, 64, 72, 88, 96, 128, 136, 192, 200, 256, 264, 320, 328, 384, 392, 408, 416];

impl Kind {
    /// The offsets of the words that are looked at, beside slots and records.
    pub(crate) fn words(self) -> &'static [u64] {
        match self {
            Kind::Mutex => &MUTEX_WORDS,
            Kind::Cell(_) => &CELL_WORDS,
            Kind::Queue(..) => &QUEUE_WORDS,
        }
    }

    /// How many of them tell what it is.
    fn identity(self) -> usize {
        if self == Kind::Mutex { 1 } else { 3 }
    }

    fn head(self) -> u64 {
        let kind = match self {
            Kind::Mutex => 1,
            Kind::Cell(_) => 2,
            Kind::Queue(..) => 3,
        };
        OBJECT | kind << 24 | 1 << 8 | 64
    }
}

/// The first three words of an object of that kind, with the checksum that belongs to them.
pub(crate) fn identity(kind: Kind, length: u64, options: u32) -> [u64; 3] {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let head = kind.head();
    let mixed = (head ^ length.rotate_left(32)).wrapping_mul(ODD) ^ u64::from(options);
    let check = mixed.wrapping_mul(ODD) >> 32;
    [head, length, check << 32 | u64::from(options)]
}

/// Numbers that hurt. `standing` is what stands where it is to go.
pub(crate) fn rubbish(random: &mut Random, standing: u64, holders: &[u64]) -> u64 {
    let small = random.below(1300);
    match random.below(22) {
        0 => 0,
        1 => u64::MAX,
        2 => random.next(),
        3 => small,
        4 => small.wrapping_neg(),
        5 => COMMITTED | small,
        6 => COMMITTED | PADDING | (small & !7),
        7 => (COMMITTED - 4).wrapping_add(small % 8),
        8 => 1 << random.below(64),
        9 => small << 32 | small,
        10 | 11 => random.of(holders) | random.below(8) << 29,
        12 => random.of(holders) ^ 1 << random.below(64),
        13 => MAKING | random.of(holders) >> 32,
        14 => MAKING | random.next() >> 32,
        15 => random.of(&[Kind::Mutex, Kind::Cell(0), Kind::Queue(0, 0)]).head(),
        16 => Kind::Mutex.head() ^ 1 << random.below(64),
        17 => now_ns().wrapping_add(small),
        18 => standing.wrapping_add(8 * (1 + small % 8)),
        19 => standing.wrapping_sub(8 * (1 + small % 8)),
        20 => standing.rotate_left(8 * (small % 8) as u32),
        _ => standing ^ 1 << random.below(64),
    }
}

/// A word at a queue's cursor that says more, or less, than may stand there, and the cursors that lead to it; the consumers'
/// is `standing` perhaps. Offsets and what to write there.
pub(crate) fn record(random: &mut Random, ring: u64, standing: u64) -> [(u64, u64); 3] {
    let position = match random.below(4) {
        0 => 0,
        1 => ring - 8 * (1 + random.below(3)),
        _ => 8 * random.below(ring / 8),
    };
    let head = if random.once_in(2) { standing & !7 } else { ring * random.below(1 << 40) + position };
    let position = head % ring;
    let longest = ring - position - 8;
    let length = match random.below(5) {
        0 | 1 => longest,
        2 => longest.wrapping_sub(random.below(20)),
        3 => random.below(2 * ring),
        _ => longest + random.below(20),
    };
    let word = COMMITTED | random.of(&[0, 0, PADDING]) | length;
    let tail = head.wrapping_add(random.of(&[0, 0, 8, ring, length & !7]));
    [(QUEUE_HEAD, head), (QUEUE_TAIL, tail), (QUEUE_RING + position, word)]
}

/// The clock by which locks are handed off.
fn now_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The one who writes.
pub(crate) struct Adversary<'a> {
    kind: Kind,
    words: &'a [AtomicU64],
    random: Random,
    /// What the word of a lock says when one of these holds it, alive or not.
    holders: Vec<u64>,
    /// The object as it once stood; the first as it was made.
    before: Vec<Vec<u64>>,
    /// Whether he writes identities that are good, of objects of other sizes.
    forges: bool,
}

impl<'a> Adversary<'a> {
    /// On an object that stands at `first`, is whole now and stays mapped.
    pub(crate) fn new(kind: Kind, first: *mut u8, holders: Vec<u64>, forges: bool, random: Random) -> Adversary<'a> {
        assert!(first.addr().is_multiple_of(8));
        // SAFETY: mapped, aligned, and all who write there meanwhile are other processes, or do so with atomics.
        let words = unsafe { std::slice::from_raw_parts(first.cast(), kind.bytes() as usize / 8) };
        let mut adversary = Adversary { kind, words, random, holders, before: Vec::new(), forges };
        adversary.remember();
        adversary
    }

    fn remember(&mut self) {
        let now = self.words.iter().map(|word| word.load(Relaxed)).collect();
        if self.before.len() < 8 {
            self.before.push(now);
        } else {
            self.before[1 + self.random.below(7) as usize] = now;
        }
    }

    /// Any word, but those more often that decide, and of these those rarely that tell what it is.
    fn place(&mut self) -> usize {
        let (identity, deciding) = self.kind.words().split_at(self.kind.identity());
        let word = match self.random.below(12) {
            0 => self.random.of(identity) / 8,
            1..=7 => self.random.of(deciding) / 8,
            8..=9 => 64 + self.random.below(8),
            _ => self.random.below(self.words.len() as u64),
        };
        word as usize % self.words.len()
    }

    fn write_one(&mut self) {
        let place = self.place();
        let standing = self.words[place].load(Relaxed);
        let value = rubbish(&mut self.random, standing, &self.holders);
        // Some words are halves.
        let mask = self.random.of(&[u64::MAX, u64::MAX, 0xffff_ffff, 0xffff_ffff << 32]);
        self.words[place].store(value & mask | standing & !mask, Relaxed);
    }

    /// Puts back a part of how it once stood.
    fn put_back(&mut self, which: usize, part: std::ops::Range<usize>) {
        for place in part {
            self.words[place].store(self.before[which][place], Relaxed);
        }
    }

    fn put_all_back(&mut self, which: usize) {
        self.put_back(which, 0..self.words.len());
    }

    /// An identity whose checksum is good.
    fn forge(&mut self) {
        let length = match self.random.below(4) {
            0 => self.random.next() >> self.random.below(64),
            1 => 1 << 56,
            _ => self.random.below(10_000),
        };
        let options = self.random.of(&[0, 1, 2, 3, 4, 8, 16, 32, 64, 1 << 31]);
        for (word, value) in self.words.iter().zip(identity(self.kind, length, options)).rev() {
            word.store(value, Relaxed);
        }
    }

    /// Says too much of the record that is next.
    fn misstate(&mut self) {
        let ring = self.kind.bytes() - QUEUE_RING;
        let standing = self.words[QUEUE_HEAD as usize / 8].load(Relaxed);
        for (offset, value) in record(&mut self.random, ring, standing) {
            self.words[offset as usize / 8].store(value, Relaxed);
        }
    }

    /// Does something bad, and lets others notice it.
    pub(crate) fn strike(&mut self) {
        let last = self.words.len();
        match self.random.below(24) {
            0..=9 => self.write_one(),
            10..=12 => (0..=self.random.below(6)).for_each(|_| self.write_one()),
            13 => {
                let all = self.random.of(&[0, u64::MAX]);
                self.words.iter().for_each(|word| word.store(all, Relaxed));
            }
            14 => (1..last).for_each(|at| self.words[at - 1].store(self.words[at].load(Relaxed), Relaxed)),
            15 => self.remember(),
            16 if self.forges => self.forge(),
            20 | 21 if matches!(self.kind, Kind::Queue(..)) => self.misstate(),
            17 | 18 => {
                let (which, from) = (self.random.below(self.before.len() as u64), self.random.below(last as u64));
                self.put_back(which as usize, from as usize..last.min(from as usize + 8));
            }
            19 => {
                let which = self.random.below(self.before.len() as u64) as usize;
                self.put_all_back(which);
            }
            _ => self.put_all_back(0),
        }
        match self.random.below(8) {
            0 => std::thread::sleep(Duration::from_micros(self.random.below(300))),
            1..=4 => (0..self.random.below(3000)).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
    }

    /// Writes one word all the time, `count` times: numbers that follow one another, with `value`.
    pub(crate) fn spin(&self, word: u64, count: u64, value: &dyn Fn(u64) -> u64) {
        let word = &self.words[word as usize / 8];
        (0..count).for_each(|number| word.store(value(number), Relaxed));
    }
}
