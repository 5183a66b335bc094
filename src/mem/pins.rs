//! The address ranges of all views that are out, where a signal handler can find them.
//!
//! Decision: slots that are never freed, in chunks that are never moved, claimed and left by atomics alone: the handler
//! looks through them while other threads pin and unpin, and a fork cannot cut a change of them in two. The handler
//! follows a slot's mapping only when the faulting address lies in the slot's range: the thread that faulted is then
//! using the view, so that it is out, and its mapping lives.
//!
//! Decision: one word of a slot says which of its views it is about, whether that is out, and why pages of it were lost.
//! Who finds the word the same before and after has read all of one view between, never the start of one and the end of
//! the next; and news for a view that has gone meanwhile does not reach the next one.
//!
//! Decision: views of one address cannot be told apart, so that a release may take the slot of another one and leave its
//! own to that. Who looks through the slots may then miss both: one came where it had looked, and the other went where
//! it had not yet. So a search that finds nothing begins anew if views were added meanwhile.

use super::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
use super::mapping::Mapping;
use std::ops::Range;
use std::sync::Arc;

const SLOTS_PER_CHUNK: usize = if cfg!(loom) { 2 } else { 64 };

/// The range of one view that is out, or of none.
#[cfg_attr(loom, derive(Default))]
pub(super) struct Pin {
    is_claimed: AtomicBool,
    /// A `State`. While it says that a view is out, the fields below are that view's.
    state: AtomicU64,
    start: AtomicUsize,
    /// The address behind the last.
    end: AtomicUsize,
    mapping: AtomicPtr<Mapping>,
    /// Whether the view is one for `take`: open objects in a region have views of their own.
    is_for_users: AtomicBool,
}

/// How many views have left the slot (32 bits), whether one is out, and why pages of it were lost: a positive error
/// number, or 0 (31 bits).
#[derive(Clone, Copy)]
struct State(u64);

impl State {
    const NEXT: u64 = 1 << 32;
    const OUT: u64 = 1 << 31;
    const ERRNO: u64 = State::OUT - 1;

    fn is_out(self) -> bool {
        self.0 & State::OUT != 0
    }

    fn is_of_same_view(self, other: State) -> bool {
        (self.0 ^ other.0) & !State::ERRNO == 0
    }

    fn lost(self) -> i32 {
        (self.0 & State::ERRNO) as i32
    }

    fn with_lost(self, errno: i32) -> State {
        State(self.0 & !State::ERRNO | u64::from(errno.unsigned_abs()))
    }

    fn come_out(self) -> State {
        State(self.with_lost(0).0 | State::OUT)
    }

    /// The view that was out is so no more; what it lost stays to be asked for.
    fn gone(self) -> State {
        State((self.0 & !State::OUT).wrapping_add(State::NEXT))
    }
}

/// A view that is out, as it was at one moment.
struct Seen {
    pin: &'static Pin,
    state: State,
    range: Range<usize>,
    mapping: *const Mapping,
}

struct Chunk {
    pins: [Pin; SLOTS_PER_CHUNK],
    next: AtomicPtr<Chunk>,
}

/// All the slots.
struct All {
    first: Chunk,
    /// Views that were ever taken.
    added: AtomicUsize,
}

impl Pin {
    /// Puts the addresses of a view into a slot. The mapping stays where it is until `leave`. The caller looks for pages
    /// that were lost afterwards, and tells `note_lost_at`: of those that come later the view is told.
    pub(super) fn add(mapping: &Arc<Mapping>, range: Range<usize>, is_for_users: bool) -> &'static Pin {
        let pin = loop {
            match pins().find(|pin| pin.claim()) {
                Some(pin) => break pin,
                None => Chunk::append(),
            }
        };
        // ORDER: Release for the three, partner `seen`: who reads one of them finds the view before gone.
        pin.start.store(range.start, Ordering::Release);
        pin.end.store(range.end, Ordering::Release);
        pin.mapping.store(Arc::as_ptr(mapping).cast_mut(), Ordering::Release);
        pin.is_for_users.store(is_for_users, Ordering::Relaxed); // ORDER: Relaxed: the exchange in `take` goes by the state
        // ORDER: Release, partner `seen`: who sees that it is out sees the rest. An exchange here and in `leave`, because
        // loom does not keep stores and exchanges of one word in order.
        pin.state.swap(pin.state().come_out().0, Ordering::Release);
        // ORDER: Release, partner `search`: it is counted once it can be seen.
        ALL.added.fetch_add(1, Ordering::Release);
        // ORDER: SeqCst, partner: the fence in `note_lost`: that one sees this view, or the caller sees the loss.
        fence(Ordering::SeqCst);
        pin
    }

    /// Takes back the slot of a view of this mapping that was handed out at `address`, for one caller alone: the range is out of it
    /// from now on, and `leave` follows. Of several views at one address, which a caller cannot tell apart, it is the
    /// shortest: what stays covers those that are still in use, whichever they are.
    pub(super) fn take(mapping: &Arc<Mapping>, address: usize) -> Option<&'static Pin> {
        let mapping = Arc::as_ptr(mapping);
        loop {
            let mut lost = 0;
            let Seen { pin, state, .. } = search(|| {
                // ORDER: Relaxed: if it is of another view of the slot, the exchange below fails.
                let all = at(mapping, address).filter(|seen| seen.pin.is_for_users.load(Ordering::Relaxed));
                let all = all.inspect(|seen| lost = lost.max(seen.state.lost()));
                all.min_by_key(|seen| seen.range.end)
            })?;
            if lost != 0 {
                // Whose view it was that lost pages nobody can tell, so each of them has.
                note_lost_at(mapping, address, lost);
            }
            let state = state.with_lost(lost);
            // ORDER: AcqRel, partner: itself and `seen`: who no longer finds this one finds the others marked. Relaxed on
            // failure: the search begins anew.
            if pin.state.compare_exchange(state.0, state.gone().0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Some(pin);
            }
        }
    }

    /// Leaves the slot to the next view.
    pub(super) fn leave(&'static self) {
        // ORDER: Release, partner `seen`: who reads it finds all that this thread did before, `add` above all.
        self.state.swap(self.state().gone().0, Ordering::Release);
        // ORDER: Release, partner `claim`: whoever claims it next finds it without a view.
        self.is_claimed.store(false, Ordering::Release);
    }

    /// The bytes from `start` to the end of a range that was taken.
    pub(super) fn length_from(&self, start: usize) -> u64 {
        (self.end.load(Ordering::Relaxed) - start) as u64 // ORDER: Relaxed, acquired with the state
    }

    /// Why pages of the view were lost: a positive error number, or 0.
    pub(super) fn lost(&self) -> i32 {
        self.state().lost()
    }

    fn state(&self) -> State {
        // ORDER: Acquire, partner: the Release stores of it and the exchange in `take`.
        State(self.state.load(Ordering::Acquire))
    }

    fn claim(&self) -> bool {
        // ORDER: Acquire, partner `leave`. Relaxed on failure: nothing is concluded.
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        !self.is_claimed.load(failure) && self.is_claimed.compare_exchange(false, true, success, failure).is_ok()
    }

    /// The view that is out, all of it read while it was.
    fn seen(&'static self) -> Option<Seen> {
        loop {
            let state = self.state();
            if !state.is_out() {
                return None;
            }
            // ORDER: Acquire for the three, partner `add`: if one is of a later view, the state is so too, below.
            let range = self.start.load(Ordering::Acquire)..self.end.load(Ordering::Acquire);
            let mapping = self.mapping.load(Ordering::Acquire).cast_const();
            if self.state().is_of_same_view(state) {
                return Some(Seen { pin: self, state, range, mapping });
            }
        }
    }
}

impl Seen {
    /// Notes why pages of the view were lost, if it is still out.
    fn note(&self, errno: i32) {
        let mut state = self.state;
        while state.is_of_same_view(self.state) {
            let noted = state.with_lost(errno);
            // ORDER: Relaxed: a message to whoever has the view, who gets it before the zeros or by the exchange in `take`.
            match self.pin.state.compare_exchange(state.0, noted.0, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => state = State(now),
            }
        }
    }
}

impl Chunk {
    #[cfg(not(loom))]
    const fn new() -> Chunk {
        let pins = [const {
            Pin {
                is_claimed: AtomicBool::new(false),
                state: AtomicU64::new(0),
                start: AtomicUsize::new(0),
                end: AtomicUsize::new(0),
                mapping: AtomicPtr::new(std::ptr::null_mut()),
                is_for_users: AtomicBool::new(false),
            }
        }; SLOTS_PER_CHUNK];
        Chunk { pins, next: AtomicPtr::new(std::ptr::null_mut()) }
    }

    #[cfg(loom)]
    fn new() -> Chunk {
        Chunk { pins: std::array::from_fn(|_| Pin::default()), next: AtomicPtr::default() }
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
        let mut last = &ALL.first;
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
    let seen = search(|| all().find(|seen| seen.range.contains(&address)))?;
    // SAFETY: the thread that faulted at the address uses the view, which holds its mapping. The reference is not kept
    // beyond the handler.
    unsafe { seen.mapping.as_ref() }
}

/// Notes for all views that have bytes among these addresses why they were lost. The caller has made it known before, for
/// those who `add` one. Async-signal-safe.
pub(super) fn note_lost(addresses: Range<usize>, errno: i32) {
    // ORDER: SeqCst, partner: the fence in `add`.
    fence(Ordering::SeqCst);
    let overlapping = all().filter(|seen| seen.range.start < addresses.end && addresses.start < seen.range.end);
    overlapping.for_each(|seen| seen.note(errno));
}

/// Notes for all views of a mapping that start at an address why pages of theirs were lost.
pub(super) fn note_lost_at(mapping: *const Mapping, address: usize, errno: i32) {
    at(mapping, address).for_each(|seen| seen.note(errno));
}

/// The address ranges of the views of one mapping that are out.
pub(super) fn ranges_of(mapping: &Mapping) -> impl Iterator<Item = Range<usize>> {
    of(std::ptr::from_ref(mapping)).map(|seen| seen.range)
}

/// Whether any view is out. Async-signal-safe.
pub(super) fn any() -> bool {
    search(|| all().next()).is_some()
}

/// What `look` finds; nothing only if that holds for every view that is out all the while, and for every address and
/// mapping that has such.
fn search(mut look: impl FnMut() -> Option<Seen>) -> Option<Seen> {
    loop {
        // ORDER: Acquire for both, partner `add`: who finds a view gone finds those counted that came before it went.
        let added = ALL.added.load(Ordering::Acquire);
        let found = look();
        if found.is_some() || ALL.added.load(Ordering::Acquire) == added {
            return found;
        }
    }
}

fn at(mapping: *const Mapping, address: usize) -> impl Iterator<Item = Seen> {
    of(mapping).filter(move |seen| seen.range.start == address)
}

fn of(mapping: *const Mapping) -> impl Iterator<Item = Seen> {
    all().filter(move |seen| std::ptr::eq(seen.mapping, mapping))
}

fn all() -> impl Iterator<Item = Seen> {
    pins().filter_map(Pin::seen)
}

fn pins() -> impl Iterator<Item = &'static Pin> {
    std::iter::successors(Some(&ALL.first), |chunk| chunk.next()).flat_map(|chunk| &chunk.pins)
}

#[cfg(not(loom))]
static ALL: All = All { first: Chunk::new(), added: AtomicUsize::new(0) };
#[cfg(loom)]
loom::lazy_static! {
    static ref ALL: All = All { first: Chunk::new(), added: AtomicUsize::new(0) };
}

#[cfg(all(test, not(loom)))]
mod tests;
