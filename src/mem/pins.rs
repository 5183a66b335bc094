//! The address ranges of all views that are out, where a signal handler can find them.
//!
//! Decision: slots that are never freed, in chunks that are never moved. A slot's fields are atomics, so that the
//! handler looks through them while other threads pin and unpin. It follows a slot's mapping only when the faulting
//! address lies in the slot's range: the thread that faulted is then using the view, so that it is out, and its mapping
//! lives.

use super::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use super::mapping::Mapping;
use super::span::Span;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SLOTS_PER_CHUNK: usize = 64;

/// The range of one view that is out, or of none.
pub(super) struct Pin {
    /// First address; 0 when the slot is free.
    start: AtomicUsize,
    /// The address behind the last.
    end: AtomicUsize,
    mapping: AtomicPtr<Mapping>,
    /// Why pages of it were lost: a positive error number, or 0.
    lost: AtomicI32,
}

struct Chunk {
    pins: [Pin; SLOTS_PER_CHUNK],
    next: AtomicPtr<Chunk>,
}

static FIRST: Chunk = Chunk::new();
static FREE: Mutex<Vec<&'static Pin>> = Mutex::new(Vec::new());
/// Slots that were ever used are the first so many.
static USED: AtomicUsize = AtomicUsize::new(0);

impl Pin {
    const fn new() -> Pin {
        Pin {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            mapping: AtomicPtr::new(std::ptr::null_mut()),
            lost: AtomicI32::new(0),
        }
    }

    /// Puts the range of a view into a slot. The mapping stays where it is until `remove`.
    pub(super) fn add(mapping: &Mapping, address: usize, span: Span) -> &'static Pin {
        let used_before = free().pop();
        let pin = used_before.unwrap_or_else(fresh);
        // ORDER: Relaxed, published by the store of `start`.
        pin.lost.store(0, Ordering::Relaxed);
        pin.end.store(address + span.length(), Ordering::Relaxed); // ORDER: Relaxed, as above
        pin.mapping.store(std::ptr::from_ref(mapping).cast_mut(), Ordering::Relaxed); // ORDER: Relaxed, as above
        // ORDER: Release, partner `range`: who sees the start sees the rest.
        pin.start.store(address, Ordering::Release);
        pin
    }

    /// Takes the range out again.
    pub(super) fn remove(&'static self) {
        // ORDER: Relaxed: the view's accesses are over, so nobody looks for its addresses any more.
        self.start.store(0, Ordering::Relaxed);
        free().push(self);
    }

    /// Why pages of the view were lost: a positive error number, or 0.
    pub(super) fn lost(&self) -> i32 {
        // ORDER: Relaxed, partner `note_lost`: set on the thread that uses the view, or by one that shares it by means
        // of its own.
        self.lost.load(Ordering::Relaxed)
    }

    fn range(&self) -> Range<usize> {
        // ORDER: Acquire, partner `add`.
        let start = self.start.load(Ordering::Acquire);
        if start == 0 {
            return 0..0;
        }
        start..self.end.load(Ordering::Relaxed) // ORDER: Relaxed, acquired with the start
    }
}

impl Chunk {
    const fn new() -> Chunk {
        Chunk { pins: [const { Pin::new() }; SLOTS_PER_CHUNK], next: AtomicPtr::new(std::ptr::null_mut()) }
    }

    fn next(&self) -> Option<&'static Chunk> {
        // ORDER: Acquire, partner `fresh`: the chunk is whole before it is reachable.
        let next = self.next.load(Ordering::Acquire);
        // SAFETY: null, or a chunk that was leaked; it is only atomics.
        unsafe { next.as_ref() }
    }
}

/// The mapping that has a view out over `address`. Async-signal-safe.
pub(super) fn find(address: usize) -> Option<&'static Mapping> {
    let pin = pins().find(|pin| pin.range().contains(&address))?;
    // ORDER: Relaxed, acquired with the start.
    let mapping = pin.mapping.load(Ordering::Relaxed);
    // SAFETY: the thread that faulted at the address uses the view, which holds its mapping. The reference is not kept
    // beyond the handler.
    unsafe { mapping.as_ref() }
}

/// Notes for all views that have bytes among these addresses why they were lost. Async-signal-safe.
pub(super) fn note_lost(addresses: Range<usize>, errno: i32) {
    for pin in pins() {
        let range = pin.range();
        if range.start < addresses.end && addresses.start < range.end {
            pin.lost.store(errno, Ordering::Relaxed); // ORDER: Relaxed, partner `lost`
        }
    }
}

/// The address ranges of the views of one mapping that are out.
pub(super) fn ranges_of(mapping: &Mapping) -> impl Iterator<Item = Range<usize>> {
    // ORDER: Relaxed: `range` is read first and acquires it.
    pins()
        .map(|pin| (pin.range(), pin.mapping.load(Ordering::Relaxed)))
        .filter(move |(range, of)| !range.is_empty() && std::ptr::eq(*of, mapping))
        .map(|(range, _)| range)
}

/// Whether any view is out. Async-signal-safe.
pub(super) fn any() -> bool {
    pins().any(|pin| !pin.range().is_empty())
}

fn pins() -> impl Iterator<Item = &'static Pin> {
    // ORDER: Acquire, partner `fresh`: the chunks of so many slots are reachable.
    let used = USED.load(Ordering::Acquire);
    std::iter::successors(Some(&FIRST), |chunk| chunk.next()).flat_map(|chunk| &chunk.pins).take(used)
}

fn free() -> MutexGuard<'static, Vec<&'static Pin>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A slot that was never used.
fn fresh() -> &'static Pin {
    // One at a time.
    let _growing = free();
    let mut chunk = &FIRST;
    // ORDER: Relaxed, changed under the lock only.
    let index = USED.load(Ordering::Relaxed);
    for _ in 0..index / SLOTS_PER_CHUNK {
        chunk = chunk.next().unwrap_or_else(|| {
            let next: &'static Chunk = Box::leak(Box::new(Chunk::new()));
            // ORDER: Release, partner `Chunk::next`.
            chunk.next.store(std::ptr::from_ref(next).cast_mut(), Ordering::Release);
            next
        });
    }
    // ORDER: Release, partner `pins`.
    USED.store(index + 1, Ordering::Release);
    &chunk.pins[index % SLOTS_PER_CHUNK]
}
