//! The address ranges of all views that are out, where a signal handler can find them.
//!
//! Decision: slots that are never freed, in chunks that are never moved, claimed and left by atomics alone: the handler
//! looks through them while other threads pin and unpin, and a fork cannot cut a change of them in two. The handler
//! follows a slot's mapping only when the faulting address lies in the slot's range: the thread that faulted is then
//! using the view, so that it is out, and its mapping lives.

use super::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use super::mapping::Mapping;
use super::span::Span;
use std::ops::Range;
use std::sync::Arc;

const SLOTS_PER_CHUNK: usize = 64;

/// The range of one view that is out, or of none.
pub(super) struct Pin {
    is_claimed: AtomicBool,
    /// First address; 0 when there is none, or it is being changed.
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
/// Views that were ever taken.
static ADDED: AtomicUsize = AtomicUsize::new(0);

impl Pin {
    const fn new() -> Pin {
        Pin {
            is_claimed: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            mapping: AtomicPtr::new(std::ptr::null_mut()),
            lost: AtomicI32::new(0),
        }
    }

    /// Puts the range of a view into a slot, with why pages of it were lost before. The mapping stays where it is until
    /// `leave`.
    pub(super) fn add(mapping: &Arc<Mapping>, address: usize, span: Span, lost: i32) -> &'static Pin {
        let pin = loop {
            match pins().find(|pin| pin.claim()) {
                Some(pin) => break pin,
                None => Chunk::append(),
            }
        };
        // ORDER: Relaxed, published by the store of `start`; this holds for the three.
        pin.lost.store(lost, Ordering::Relaxed);
        pin.end.store(address + span.length(), Ordering::Relaxed);
        pin.mapping.store(Arc::as_ptr(mapping).cast_mut(), Ordering::Relaxed);
        // ORDER: Release, partner `range`: who sees the start sees the rest.
        pin.start.store(address, Ordering::Release);
        // ORDER: Release, partner `take`: it is counted once it can be seen.
        ADDED.fetch_add(1, Ordering::Release);
        pin
    }

    /// Takes back the slot of a view of this mapping that starts at `address`, for one caller alone: the range is out of it
    /// from now on, and `leave` follows. Of several views at one address, which a caller cannot tell apart, it is the
    /// shortest: what stays covers those that are still in use, whichever they are.
    pub(super) fn take(mapping: &Arc<Mapping>, address: usize) -> Option<&'static Pin> {
        loop {
            // ORDER: Acquire, partner `add`: the views that are counted are seen below.
            let added = ADDED.load(Ordering::Acquire);
            let at_address = || of(Arc::as_ptr(mapping)).filter(|(_, range)| range.start == address);
            let lost = at_address().map(|(pin, _)| pin.lost()).max().unwrap_or(0);
            if lost != 0 {
                // Whose view it was that lost pages nobody can tell, so each of them has.
                // ORDER: Relaxed, published by the exchange below.
                at_address().for_each(|(pin, _)| pin.lost.store(lost, Ordering::Relaxed));
            }
            match at_address().min_by_key(|(_, range)| range.end) {
                // ORDER: AcqRel, partner: itself and `range`: who no longer finds this one finds the others marked.
                // Relaxed on failure: the search begins anew.
                Some((pin, _)) => match pin.start.compare_exchange(address, 0, Ordering::AcqRel, Ordering::Relaxed) {
                    Ok(_) => return Some(pin),
                    Err(_) => continue,
                },
                // Another thread may have put one where this one had looked, and taken the one where it had not yet.
                // ORDER: Acquire, partner `add`.
                None if ADDED.load(Ordering::Acquire) != added => continue,
                None => return None,
            }
        }
    }

    /// Leaves the slot to the next view.
    pub(super) fn leave(&'static self) {
        // ORDER: Relaxed: the view's accesses are over, so nobody looks for its addresses any more.
        self.start.store(0, Ordering::Relaxed);
        // ORDER: Release, partner `claim`: whoever claims it next finds it without a range.
        self.is_claimed.store(false, Ordering::Release);
    }

    /// The bytes from `start` to the end of a range that was taken.
    pub(super) fn length_from(&self, start: usize) -> u64 {
        (self.end.load(Ordering::Relaxed) - start) as u64 // ORDER: Relaxed, acquired with the start
    }

    /// Why pages of the view were lost: a positive error number, or 0.
    pub(super) fn lost(&self) -> i32 {
        // ORDER: Relaxed, partner `note_lost`: set on the thread that uses the view, or by one that shares it by means
        // of its own.
        self.lost.load(Ordering::Relaxed)
    }

    fn claim(&self) -> bool {
        // ORDER: Acquire, partner `leave`. Relaxed on failure: nothing is concluded.
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        !self.is_claimed.load(failure) && self.is_claimed.compare_exchange(false, true, success, failure).is_ok()
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
        // ORDER: Acquire, partner `append`: the chunk is whole before it is reachable.
        let next = self.next.load(Ordering::Acquire);
        // SAFETY: null, or a chunk that was leaked; it is only atomics.
        unsafe { next.as_ref() }
    }

    /// Makes free slots reachable.
    fn append() {
        let new = Box::into_raw(Box::new(Chunk::new()));
        let mut last = &FIRST;
        loop {
            // ORDER: Release, partner `next`. Relaxed on failure: `next` reads it again.
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            if last.next.compare_exchange(std::ptr::null_mut(), new, success, failure).is_ok() {
                return;
            }
            last = last.next().unwrap_or(last);
        }
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
    of(std::ptr::from_ref(mapping)).map(|(_, range)| range)
}

/// Whether any view is out. Async-signal-safe.
pub(super) fn any() -> bool {
    pins().any(|pin| !pin.range().is_empty())
}

fn of(mapping: *const Mapping) -> impl Iterator<Item = (&'static Pin, Range<usize>)> {
    pins().filter_map(move |pin| {
        let range = pin.range();
        // ORDER: Relaxed, acquired with the start.
        let is_of = !range.is_empty() && std::ptr::eq(pin.mapping.load(Ordering::Relaxed), mapping);
        is_of.then_some((pin, range))
    })
}

fn pins() -> impl Iterator<Item = &'static Pin> {
    std::iter::successors(Some(&FIRST), |chunk| chunk.next()).flat_map(|chunk| &chunk.pins)
}

#[cfg(test)]
mod tests {
    use crate::{Access, Options};

    /// Views of one address cannot be told apart; as many can be taken back as were handed out, on any threads.
    #[test]
    fn each_view_that_was_handed_out_can_be_recalled_once() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new().access(Access::ReadWrite).create(true).length(1 << 16);
        let region = options.open(folder.path().join("file")).unwrap();
        // Others that are out, so that the free slots lie far apart and a search takes a while.
        let mut others: Vec<_> = (0..2000).map(|_| Some(region.view(1, 1).unwrap())).collect();
        others.iter_mut().step_by(200).for_each(|view| drop(view.take()));
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let region = &region;
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let address = region.view(0, 1 + (round * 7 + thread * 13) % 50).unwrap().hand_out();
                        region.recall(address).unwrap();
                    }
                });
            }
        });
        assert_eq!(region.views(), others.iter().flatten().count());
    }
}
