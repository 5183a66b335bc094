//! A lock that outlives its owner's death.
//!
//! Decision: a word of our own, not a robust pthread mutex: that one keeps pointers in the shared bytes and follows them,
//! its layout differs between C libraries, and an owner that unmaps and dies leaves waiters asleep.
//!
//! The word and its states: `lock_word`.
//!
//! Decision: nothing that is read is trusted. An owner is a number that the kernel is asked about; one of this process is
//! looked up in its threads' own notes (`held`). An owner that does not live is one that has died, whoever wrote it.
//!
//! Decision: whether somebody waits is a flag. A count would be wrong for ever once a waiter was killed.

mod at_once;

use crate::error::{Error, Problem, Result};
use crate::mem::fence;
use crate::mem::hazard::NoRecord;
use crate::mem::held::{self, Held, Key, TooMany};
use crate::mem::layout::{self, HIGH_HALF, INITIALISING, KIND, MUTEX_HEAD, word};
use crate::mem::moment;
use crate::mem::word::{Atomic, Operation, Words};
use crate::sync::wait::Waiting;
use crate::sync::{liveness, lock_word};
use crate::sys::clock::monotonic_ns;
use crate::sys::futex;
use std::mem::offset_of;
use std::num::NonZeroU32;
use std::time::Duration;

pub(crate) use at_once::{AtOnce, Taken, check_freed, check_taken, let_go};

/// How often a waiter looks before it sleeps. Between two looks it lets twice as much time pass as before, up to 2^6 moments:
/// each look takes the line away from an owner who may be about to free the lock, and to take it again.
const LOOKS: u32 = 10;
const MOST_MOMENTS: u64 = 1 << 6;
/// So often the word may change before one who is always too late looks at the time.
const RACES: u32 = 100;
/// What stands in a lock while somebody may sleep until it is free.
const SOMEBODY: u32 = 1;
/// How long a waiter bears that others come before it, in nanoseconds.
const LONG_WAIT_NS: u64 = 20_000_000;
/// How long a lock that was freed for him is kept, in nanoseconds.
const KEPT_NS: u64 = 5_000_000;
/// How long an object of another may be in the making before it counts as none, in nanoseconds.
const MAKING_NS: u64 = 200_000_000;

/// A lock in a region: 64 bytes, at a multiple of 8. It belongs to the thread that takes it; when that thread or its
/// process ends without freeing it, the next one gets it and is told.
#[derive(Clone, Copy)]
pub struct Mutex<'a> {
    words: Words<'a>,
}

/// How a lock was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// In order.
    Clean,
    /// An owner has died with it, and nobody has called `recover` since: the data may be half written.
    OwnerDied,
}

/// Who has a lock, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The owner's process, as it sees itself; 0 when nobody has the lock.
    pub pid: u32,
    /// The owner's thread.
    pub tid: u32,
    /// Whether it lives.
    pub is_alive: bool,
    /// Whether somebody may be waiting.
    pub has_waiters: bool,
}

impl<'a> Mutex<'a> {
    /// Bytes of it.
    pub const SIZE: u64 = size_of::<layout::Mutex>() as u64;

    /// Makes a lock of zeros.
    ///
    /// # Errors
    /// EEXIST: it is one already. EBADMSG: other bytes than zeros stand there. EPROTONOSUPPORT: a lock of another version.
    /// EACCES: the region is read-only. EINVAL: it is copy-on-write.
    pub fn init(words: Words<'a>) -> Result<()> {
        let mutex = Mutex { words };
        mutex.check_access()?;
        let own = INITIALISING | u64::from(liveness::participant(words.mapping())?.get());
        let head = mutex.head();
        let since_ns = monotonic_ns();
        loop {
            let seen = head.load()?;
            match mutex.state(seen).map_err(Error::of_init)? {
                State::Ready => return Err(mutex.problem(Problem::Exists)),
                State::Free if head.compare_swap(seen, own)? == seen => break,
                _ if monotonic_ns() - since_ns > MAKING_NS => return Err(mutex.problem(Problem::Making)),
                State::Making => std::thread::yield_now(),
                State::Free => {}
            }
        }
        let zeros = (8..Self::SIZE as usize).step_by(8).try_for_each(|at| match words.word::<u64>(at).load()? {
            0 => Ok(()),
            _ => Err(mutex.problem(Problem::NotZeros)),
        });
        head.store(if zeros.is_ok() { MUTEX_HEAD } else { 0 })?;
        zeros
    }

    /// The lock that stands there.
    ///
    /// # Errors
    /// EBADMSG: none does. EPROTONOSUPPORT: one of another version. EINVAL: the region is copy-on-write.
    pub fn at(words: Words<'a>) -> Result<Mutex<'a>> {
        let mutex = Mutex { words };
        mutex.word().meeting_place()?;
        let since_ns = monotonic_ns();
        loop {
            match mutex.state(mutex.head().load()?)? {
                State::Ready => return Ok(mutex),
                State::Making if monotonic_ns() - since_ns <= MAKING_NS => std::thread::yield_now(),
                State::Free => return Err(mutex.problem(Problem::NotMade)),
                State::Making => return Err(mutex.problem(Problem::Missing)),
            }
        }
    }

    /// Where the word is in the region.
    #[inline(always)]
    fn offset(&self) -> u64 {
        self.words.offset() + offset_of!(layout::Mutex, word) as u64
    }

    /// This thread's notes, the lock's key in them, and this process as a participant.
    fn known(&self) -> Result<(&'static Held, Key<'a>, NonZeroU32)> {
        let no_memory = Error::NoMemory { length: 4096, place: "to keep track of this thread's locks" };
        liveness::participant(self.words.mapping())?;
        // A thread at its very end, whose notes are gone, takes no lock.
        let held = held::claim().map_err(|NoRecord| no_memory)?.ok_or(Error::Internal)?;
        let (key, participant) = Key::of(self.words.mapping(), self.offset()).ok_or(Error::Internal)?;
        Ok((held, key, participant))
    }

    /// Takes the lock. None as the timeout stands for ever; with a timeout of zero it only tries.
    ///
    /// # Errors
    /// EDEADLK: this thread has it. ETIMEDOUT, EINTR: the time has passed, a signal handler has run. EACCES: the region is
    /// read-only. EBUSY: a lock of another kind covers the bytes that show who lives. ENXIO, ENOSPC, EIO: as an atomic.
    pub fn lock(&self, timeout: Option<Duration>) -> Result<Locked> {
        self.check_access()?;
        let (held, key, participant) = self.known()?;
        if held.has(key) {
            return Err(self.problem(Problem::HeldAlready));
        }
        let note = held.note(key, participant).map_err(|TooMany| Error::TooManyLocks { most: held::NOTES })?;
        let own = note.own();
        let waiting = Waiting::with_looks_every_5_ms(timeout);
        let only_tries = timeout == Some(Duration::ZERO);
        let mut contender = Contender { mutex: self, key, own, looks: 0, races: 0, only_tries, waiting };
        let result = lock_word::take(&mut contender).and_then(|died| self.check_taken(&contender, died));
        match &result {
            // For people only: when it is lost, the lock is held all the same.
            Ok(_) => drop(self.holder().perform(Operation::Put(held.kernel_numbers()))),
            Err(_) => held.strike(note),
        }
        let result = result.map_err(|error| self.named(error));
        Ok(if result? { Locked::OwnerDied } else { Locked::Clean })
    }

    /// The error of one whose time is over, who is told who has the lock, if that can be had.
    #[cold]
    fn named(&self, error: Error) -> Error {
        match (error, self.word().load(), self.holder().load()) {
            (Error::TimedOut, Ok(word), Ok(numbers)) if word & word::HOLDER != 0 => {
                self.problem(Problem::StillHeld { process: (numbers >> 32) as u32, thread: numbers as u32 })
            }
            (error, ..) => error,
        }
    }

    /// Gives the lock up again when there is none any more: its bytes were zeroed while somebody waited for it.
    fn check_taken(&self, contender: &Contender, died: bool) -> Result<bool> {
        if self.head().load()? == MUTEX_HEAD {
            return Ok(died);
        }
        lock_word::free(contender)?;
        Err(self.problem(Problem::Missing))
    }

    /// Says that the data are in order again: the next owner is told nothing.
    ///
    /// # Errors
    /// EPERM: this thread does not have the lock.
    pub fn recover(&self) -> Result<()> {
        self.check_access()?;
        let (held, key, participant) = self.known()?;
        let own = held::holder(participant, held);
        let is_own = held.has(key) && lock_word::recover(&Contender::of_owner(self, key, own))?;
        if is_own { Ok(()) } else { Err(self.problem(Problem::NotHeld)) }
    }

    /// Frees the lock.
    ///
    /// # Errors
    /// EPERM: this thread does not have it.
    pub fn unlock(&self) -> Result<()> {
        self.check_access()?;
        let (held, key, participant) = self.known()?;
        if !held.has(key) {
            return Err(self.problem(Problem::NotHeld));
        }
        let own = held::holder(participant, held);
        // Whatever becomes of it, this thread has it no more.
        let result = lock_word::free(&Contender::of_owner(self, key, own));
        held.forget(key);
        if result? { Ok(()) } else { Err(self.problem(Problem::NotHeld)) }
    }

    /// `at` and `unlock`. What stands there may be damaged: this thread has it no more all the same.
    ///
    /// # Errors
    /// As these.
    pub(crate) fn unlock_at(words: Words<'a>) -> Result<()> {
        let stands = Mutex::at(words);
        let freed = Mutex { words }.unlock();
        stands.and(freed)
    }

    /// Who has the lock.
    ///
    /// # Errors
    /// ENXIO, ENOSPC, EIO: as an atomic.
    pub fn owner(&self) -> Result<Owner> {
        let seen = self.word().load()?;
        let has_waiters = self.asleep().load()? != 0;
        if seen & word::HOLDER == 0 {
            return Ok(Owner { has_waiters, ..Owner::default() });
        }
        let numbers = self.holder().load()?;
        let is_alive = liveness::is_alive(self.words.mapping(), (seen >> 32) as u32)?;
        Ok(Owner { pid: (numbers >> 32) as u32, tid: numbers as u32, is_alive, has_waiters })
    }

    #[inline(always)]
    fn head(&self) -> Atomic<'a, u64> {
        self.words.word(offset_of!(layout::Mutex, head))
    }

    #[inline(always)]
    fn word(&self) -> Atomic<'a, u64> {
        self.words.word(offset_of!(layout::Mutex, word))
    }

    #[inline(always)]
    fn holder(&self) -> Atomic<'a, u64> {
        self.words.word(offset_of!(layout::Mutex, holder))
    }

    fn kept_ns(&self) -> Atomic<'a, u64> {
        self.words.word(offset_of!(layout::Mutex, kept_ns))
    }

    fn waits_since_ns(&self) -> Atomic<'a, u64> {
        self.words.word(offset_of!(layout::Mutex, waits_since_ns))
    }

    #[inline(always)]
    fn asleep(&self) -> Atomic<'a, u32> {
        self.words.word(offset_of!(layout::Mutex, asleep))
    }

    /// Takes back what says that somebody sleeps, and wakes one sleeper, or all. One that is not woken looks by itself.
    fn wake(&self, all: bool) {
        // Zero first: whoever announces himself after it looks again and finds what was done.
        let _ = self.asleep().store(0);
        if let Ok(address) = self.asleep().meeting_place() {
            let _ = futex::wake(address, if all { i32::MAX } else { 1 });
        }
    }

    fn check_access(&self) -> Result<()> {
        self.word().meeting_place()?;
        if self.words.is_writable() { Ok(()) } else { Err(Error::read_only_object("changing a lock")) }
    }

    #[cold]
    fn problem(&self, problem: Problem) -> Error {
        Error::Object { kind: "lock", offset: self.words.offset(), problem }
    }

    /// What a head says.
    fn state(&self, head: u64) -> Result<State> {
        match head {
            0 => Ok(State::Free),
            MUTEX_HEAD => Ok(State::Ready),
            _ if head & HIGH_HALF == INITIALISING => {
                let is_alive = liveness::is_alive(self.words.mapping(), head as u32)?;
                Ok(if is_alive { State::Making } else { State::Free })
            }
            _ if head & KIND == MUTEX_HEAD & KIND => Err(self.problem(Problem::OtherVersion(head as u32 & 0xff_ffff))),
            _ => Err(self.problem(Problem::Missing)),
        }
    }
}

/// This thread at a lock.
struct Contender<'a, 'b> {
    mutex: &'b Mutex<'a>,
    key: Key<'b>,
    own: u64,
    looks: u32,
    /// How often the word was another one than a moment before.
    races: u32,
    only_tries: bool,
    waiting: Waiting,
}

impl<'a, 'b> Contender<'a, 'b> {
    /// The one that has the lock, and waits for nothing.
    fn of_owner(mutex: &'b Mutex<'a>, key: Key<'b>, own: u64) -> Contender<'a, 'b> {
        Contender { mutex, key, own, looks: 0, races: 0, only_tries: false, waiting: Waiting::new(None) }
    }
}

impl lock_word::Contender for Contender<'_, '_> {
    type Error = Error;

    fn own(&self) -> u64 {
        self.own
    }

    fn load(&self) -> Result<u64> {
        self.mutex.word().load()
    }

    fn compare_swap(&self, expected: u64, desired: u64) -> Result<u64> {
        self.mutex.word().compare_swap(expected, desired)
    }

    fn is_owner_alive(&self, seen: u64) -> Result<bool> {
        let participant = (seen >> 32) as u32;
        let own = self.key.presence.participant().map_or(0, |participant| participant.get());
        if participant != own {
            return liveness::is_alive(self.mutex.words.mapping(), participant);
        }
        Ok(held::is_noted(self.key, seen & word::THREAD, || self.load().is_ok_and(|now| now == seen)))
    }

    fn was_late(&mut self) -> Result<()> {
        self.races = self.races.wrapping_add(1);
        if self.races.is_multiple_of(RACES) { self.waiting.check_time() } else { Ok(()) }
    }

    fn spins(&mut self) -> bool {
        if self.only_tries || self.looks == LOOKS {
            return false;
        }
        moment::pass(MOST_MOMENTS.min(1 << self.looks));
        self.looks += 1;
        true
    }

    fn check_time(&self) -> Result<()> {
        self.waiting.check_time()
    }

    fn announce(&self) -> Result<()> {
        self.mutex.asleep().store(SOMEBODY)
    }

    fn heavy_fence(&self) {
        fence::heavy_for_all();
    }

    fn is_anybody_asleep(&self) -> Result<bool> {
        fence::light_for_all();
        Ok(self.mutex.asleep().load()? != 0)
    }

    fn sleep(&mut self) -> Result<()> {
        self.waiting.sleep(self.mutex.asleep().meeting_place()?, SOMEBODY).map(drop)
    }

    fn wake(&self, all: bool) {
        self.mutex.wake(all);
    }

    fn has_waited_long(&self) -> bool {
        self.waiting.begun_ns().is_some_and(|begun_ns| monotonic_ns().saturating_sub(begun_ns) > LONG_WAIT_NS)
    }

    fn note_wait(&self) -> Result<()> {
        let Some(begun_ns) = self.waiting.begun_ns() else { return Ok(()) };
        let since_ns = self.mutex.waits_since_ns();
        let noted_ns = since_ns.load()?;
        if noted_ns == 0 || begun_ns < noted_ns { since_ns.store(begun_ns) } else { Ok(()) }
    }

    fn is_wait_noted(&self) -> Result<bool> {
        Ok(self.mutex.waits_since_ns().load()? != 0)
    }

    fn forget_wait(&self) -> Result<()> {
        self.mutex.waits_since_ns().store(0)
    }

    fn note_keeping(&self) -> Result<()> {
        self.mutex.kept_ns().store(monotonic_ns())
    }

    fn is_kept_for_another(&self) -> Result<bool> {
        // Who only tries would be told that somebody has it; and that one may have given up.
        if self.only_tries {
            return Ok(false);
        }
        let since_ns = self.mutex.waits_since_ns().load()?;
        let is_first = |begun_ns| begun_ns <= since_ns || since_ns == 0 && self.has_waited_long();
        // A moment that has not come yet, of another time namespace or rubbish, is none.
        let is_fresh = monotonic_ns().wrapping_sub(self.mutex.kept_ns().load()?) < KEPT_NS;
        Ok(is_fresh && !self.waiting.begun_ns().is_some_and(is_first))
    }
}

/// What stands where a lock is looked for.
enum State {
    /// Nothing, or what one who died had begun.
    Free,
    /// Somebody who lives is making one.
    Making,
    /// A lock.
    Ready,
}
