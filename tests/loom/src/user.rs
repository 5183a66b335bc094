//! The users of an object on the heap, as the protocols see them: threads that live, sleep and die like processes.

use super::failure::Failure;
use super::memory::{Fault, Liveness, Locks, Memory, Woken};
use crate::mem::atomic::{AtomicU32, Ordering, fence};
use crate::mem::buffer::{Destination, Source};
use crate::mem::heap::{self, Heap, Parts};
use crate::threads::{Condvar, Mutex};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// What ends a sleep under loom. Others end by both.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sleeps {
    /// Only who wakes the sleeper: a wake-up that is lost is a deadlock, which loom reports. Both asymmetric fences are
    /// full ones, as fence.rs tells.
    UntilWoken,
    /// Only time. The asymmetric fences are none, so that they make good for no other ordering.
    ForAWhile,
}

/// The object, and what the kernel knows.
struct Shared {
    heap: Heap,
    sleeps: Sleeps,
    /// Those who sleep on the word of each number.
    futexes: [Futex; 2],
    locks: [Lock; 2],
    /// A bit for each participant that has died.
    dead: AtomicU32,
    #[cfg(loom)]
    clock: std::sync::atomic::AtomicU64,
    #[cfg(not(loom))]
    begun: std::time::Instant,
}

struct Futex {
    /// What the kernel has for itself while it compares the word and puts a thread to sleep, or wakes.
    kernel: Mutex<()>,
    sleepers: Condvar,
}

/// A lock that outlives its owner's death.
struct Lock {
    owner: Mutex<u32>,
    waiters: Condvar,
}

/// One who uses the object, from 1.
pub(super) struct User {
    shared: Arc<Shared>,
    participant: u32,
    /// How many accesses are left to him.
    left: Cell<u32>,
}

impl User {
    /// The first user of an object of zeros.
    pub(super) fn first(parts: &Parts, sleeps: Sleeps) -> User {
        let shared = Arc::new(Shared {
            heap: Heap::new(parts),
            sleeps,
            futexes: [(); 2].map(|()| Futex { kernel: Mutex::new(()), sleepers: Condvar::new() }),
            locks: [(); 2].map(|()| Lock { owner: Mutex::new(0), waiters: Condvar::new() }),
            dead: AtomicU32::new(0),
            #[cfg(loom)]
            clock: std::sync::atomic::AtomicU64::new(0),
            #[cfg(not(loom))]
            begun: std::time::Instant::now(),
        });
        User { shared, participant: 1, left: Cell::new(u32::MAX) }
    }

    /// Another user of it. From now on the object's parts that stand still do so.
    pub(super) fn other(&self, participant: u32) -> User {
        self.shared.heap.share();
        User { shared: Arc::clone(&self.shared), participant, left: Cell::new(u32::MAX) }
    }

    /// He is killed when he has done so many accesses more: from then on he does nothing. What he has done stays.
    pub(super) fn doom(&self, accesses: u32) {
        self.left.set(accesses);
    }

    /// He is killed now, unless he was before; whether he was.
    pub(super) fn die(&self) -> bool {
        let was_dead = self.is_dead(self.participant);
        self.end();
        was_dead
    }

    fn access(&self) -> Result<&Heap, Fault> {
        match self.left.get() {
            0 => {
                self.end();
                Err(Fault)
            }
            left => {
                self.left.set(left - 1);
                Ok(&self.shared.heap)
            }
        }
    }

    /// The kernel ends him.
    fn end(&self) {
        if self.is_dead(self.participant) {
            return;
        }
        self.left.set(0);
        // ORDER: AcqRel, partner is_dead: who is told of a death sees what was done before it.
        self.shared.dead.fetch_or(1 << self.participant, Ordering::AcqRel);
        // Who waits for a lock looks again by itself, after 5 ms.
        for lock in &self.shared.locks {
            drop(lock.owner.lock().expect("no panic"));
            lock.waiters.notify_all();
        }
    }

    fn is_dead(&self, participant: u32) -> bool {
        self.shared.dead.load(Ordering::Acquire) & 1 << participant != 0 // ORDER: Acquire, partner end
    }

    /// Those who sleep on the word there: a cell's, or one of a queue's two.
    fn futex(&self, offset: u64) -> &Futex {
        &self.shared.futexes[offset as usize / 4 % 2]
    }

    /// The cell's lock, or one of a queue's two.
    fn lock_at(&self, offset: u64) -> &Lock {
        &self.shared.locks[usize::from(offset > 64)]
    }
}

impl Memory for User {
    const IS_PATIENT: bool = true;

    fn length(&self) -> u64 {
        self.shared.heap.length()
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn load_u32(&self, offset: u64, order: Ordering) -> Result<u32, Fault> {
        Ok(self.access()?.load_u32(offset, order))
    }

    fn load_u64(&self, offset: u64, order: Ordering) -> Result<u64, Fault> {
        Ok(self.access()?.load_u64(offset, order))
    }

    fn store_u32(&self, offset: u64, value: u32, order: Ordering) -> Result<(), Fault> {
        self.access()?.store_u32(offset, value, order);
        Ok(())
    }

    fn store_u64(&self, offset: u64, value: u64, order: Ordering) -> Result<(), Fault> {
        self.access()?.store_u64(offset, value, order);
        Ok(())
    }

    fn compare_swap_u32(&self, offset: u64, expected: u32, desired: u32) -> Result<u32, Fault> {
        Ok(self.access()?.compare_swap_u32(offset, expected, desired))
    }

    fn compare_swap_u64(&self, offset: u64, expected: u64, desired: u64) -> Result<u64, Fault> {
        Ok(self.access()?.compare_swap_u64(offset, expected, desired))
    }

    /// As many accesses as words.
    fn copy_in(&self, offset: u64, from: Source) -> Result<(), Fault> {
        let (words, left) = (from.length().div_ceil(8) as u32, self.left.get());
        if words > left {
            self.shared.heap.copy_in(offset, heap::first(from, 8 * left as usize));
            self.left.set(0);
            self.access()?;
        }
        self.left.set(left - words);
        self.shared.heap.copy_in(offset, from);
        Ok(())
    }

    fn copy_out(&self, offset: u64, to: Destination) -> Result<(), Fault> {
        self.access()?.copy_out(offset, to);
        Ok(())
    }

    fn zero(&self, offset: u64, length: u64) -> Result<(), Fault> {
        (offset..offset + length).step_by(8).try_for_each(|offset| self.store_u64(offset, 0, Ordering::Relaxed))
    }

    fn check(&self, _offset: u64, _length: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn fence(&self, order: Ordering) {
        fence(order);
    }

    fn light_fence(&self) {
        if self.shared.sleeps == Sleeps::UntilWoken {
            // ORDER: SeqCst, partner: the same in heavy_fence.
            fence(Ordering::SeqCst);
        }
    }

    fn heavy_fence(&self) {
        self.light_fence();
    }

    fn pause(&self) {
        std::hint::spin_loop();
    }

    /// Another time for each who asks.
    #[cfg(loom)]
    fn now(&self) -> u64 {
        2 * self.shared.clock.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    #[cfg(not(loom))]
    fn now(&self) -> u64 {
        self.shared.begun.elapsed().as_nanos() as u64
    }

    #[cfg(loom)]
    fn wait(&self, offset: u64, expected: u32, _until: u64) -> Result<Woken, Fault> {
        let heap = self.access()?;
        if self.shared.sleeps == Sleeps::ForAWhile {
            crate::threads::yield_now();
            return Ok(Woken::Awake);
        }
        let Futex { kernel, sleepers } = self.futex(offset);
        let kernel = kernel.lock().expect("no panic");
        if heap.newest_u32(offset) == expected {
            drop(sleepers.wait(kernel).expect("no panic"));
        }
        Ok(Woken::Awake)
    }

    #[cfg(not(loom))]
    fn wait(&self, offset: u64, expected: u32, until: u64) -> Result<Woken, Fault> {
        let heap = self.access()?;
        let Futex { kernel, sleepers } = self.futex(offset);
        let kernel = kernel.lock().expect("no panic");
        if heap.newest_u32(offset) == expected {
            let nap = Duration::from_nanos(until.saturating_sub(self.now()));
            drop(sleepers.wait_timeout(kernel, nap).expect("no panic"));
        }
        Ok(Woken::Awake)
    }

    fn wake(&self, offset: u64) -> Result<(), Fault> {
        self.access()?;
        drop(self.futex(offset).kernel.lock().expect("no panic"));
        self.futex(offset).sleepers.notify_all();
        Ok(())
    }
}

impl Liveness for User {
    fn me(&self) -> u32 {
        self.participant
    }

    fn is_alive(&self, participant: u32) -> Result<bool, Fault> {
        self.access()?;
        Ok(!self.is_dead(participant))
    }
}

impl Locks for User {
    const HAS_LOCKS: bool = true;

    fn init_lock(&self, _offset: u64) -> Result<(), Fault> {
        self.access().map(drop)
    }

    fn lock(&self, offset: u64, _timeout: impl FnOnce() -> Option<Duration>) -> Result<(), Failure> {
        self.access()?;
        let lock = self.lock_at(offset);
        let mut owner = lock.owner.lock().expect("no panic");
        while *owner != 0 && !self.is_dead(*owner) {
            owner = lock.waiters.wait(owner).expect("no panic");
        }
        *owner = self.participant;
        Ok(())
    }

    fn unlock(&self, offset: u64) -> Result<(), Fault> {
        self.access()?;
        let lock = self.lock_at(offset);
        let mut owner = lock.owner.lock().expect("no panic");
        assert_eq!(std::mem::replace(&mut *owner, 0), self.participant, "who has it gives it back");
        drop(owner);
        lock.waiters.notify_all();
        Ok(())
    }

    fn thread(&self) -> u32 {
        self.participant
    }
}
