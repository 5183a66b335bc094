//! The SIGBUS handler: makes a fault in a guarded access an error code, and one in a view a page of zeros; everything
//! else goes to whoever had the signal before.
//!
//! Decision: the actions that were found when ours was put on top are kept in a list that only grows, each with the one
//! below it. When a host's handler that was installed over ours calls ours with the signal that it got from us, we go on
//! with the action below it, so that the two never call each other in a circle.
//!
//! Decision: a SIGBUS that this process sends to itself while the thread is in a call, or while a view is out, is let
//! pass once. It comes from a handler that was put over ours after the last `arm`, as Python's faulthandler: it took our
//! fault, has put us back, and raises the signal again. The access then faults again, into us.

use super::atomic::{AtomicBool, AtomicUsize, Ordering};
use super::{guard, hazard, pins};
use crate::sys::Errno;
use crate::sys::signal::{self, Action, Delivery, Disposition, Handle};
use std::cell::{Cell, UnsafeCell};
use std::sync::{Mutex, PoisonError};

/// What the last guarded access of a thread that faulted ran into.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    /// The address that could not be accessed.
    pub(super) address: usize,
    /// Whether the memory itself failed.
    pub(super) is_memory_error: bool,
}

const NO_FAULT: Fault = Fault { address: 0, is_memory_error: false };

thread_local! {
    static LAST_FAULT: Cell<Fault> = const { Cell::new(NO_FAULT) };
    /// Whether a SIGBUS of this process's own was let pass since the last fault.
    static LET_PASS: Cell<bool> = const { Cell::new(false) };
    static PASSED_ON: Cell<PassedOn> = const { Cell::new(PassedOn { delivery: 0, frame: 0, place: 0 }) };
}

/// The signal that this thread is passing on, and to which place in the list.
#[derive(Clone, Copy)]
struct PassedOn {
    delivery: usize,
    frame: usize,
    place: usize,
}

/// Puts our handler on top, over any that was installed since; ours stays chained to it. Not async-signal-safe.
pub(crate) fn arm() -> Result<(), Errno> {
    static ARMING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = ARMING.lock().unwrap_or_else(PoisonError::into_inner);
    let ours = Action::calling::<Sigbus>();
    let current = Action::current()?;
    if current.is_same(&ours) {
        return Ok(());
    }
    let below = TOP.load(Ordering::Relaxed); // ORDER: Relaxed, changed under the lock only
    let known = SAVED.iter().position(|saved| saved.action().is_some_and(|action| action.is_same(&current)));
    let place = match known {
        Some(index) => index + 1,
        // A host that installs more different handlers than the list holds keeps the oldest ones.
        None => SAVED.iter().position(|saved| saved.fill(current, below)).map_or(below, |index| index + 1),
    };
    // ORDER: Release, partner `pass_on`: the place is filled before it is the top.
    TOP.store(place, Ordering::Release);
    ours.install()
}

/// What the last guarded access of this thread that faulted ran into, unless it was asked for already.
pub(super) fn take_last_fault() -> Fault {
    LAST_FAULT.replace(NO_FAULT)
}

struct Sigbus;

impl Handle for Sigbus {
    fn handle(delivery: &mut Delivery) {
        if !delivery.is_fault() {
            let expected = hazard::is_inside() || pins::any();
            if !(delivery.is_from_this_process() && expected && !LET_PASS.replace(true)) {
                pass_on(delivery);
            }
            return;
        }
        LET_PASS.set(false);
        let fault = Fault { address: delivery.address(), is_memory_error: delivery.is_memory_error() };
        if let Some(fixup) = guard::fixup(delivery.pc()) {
            LAST_FAULT.set(fault);
            delivery.set_pc(fixup);
            return;
        }
        let stood_in = pins::find(fault.address).is_some_and(|mapping| mapping.stand_in(fault));
        if !stood_in {
            pass_on(delivery);
        }
    }
}

/// Does what would have been done without us.
fn pass_on(delivery: &Delivery) {
    let outer = PASSED_ON.get();
    let frame = std::ptr::from_ref(&outer).addr();
    // Called by the handler that we called, with the same signal and further down the same stack?
    let place = if outer.delivery == delivery.identity() && frame < outer.frame {
        outer.place.checked_sub(1).map_or(0, |index| SAVED[index].below())
    } else {
        // ORDER: Acquire, partner `arm`.
        TOP.load(Ordering::Acquire)
    };
    let saved = place.checked_sub(1).map(|index| &SAVED[index]);
    PASSED_ON.set(PassedOn { delivery: delivery.identity(), frame, place });
    match saved.and_then(Saved::take) {
        Some(action) if action.disposition() == Disposition::Handler => action.call(delivery),
        // The kernel does not ignore a fault either.
        Some(action) if action.disposition() == Disposition::Ignore && !delivery.is_fault() => {}
        _ => end(delivery),
    }
    PASSED_ON.set(outer);
}

/// Ends the process by this signal: at once if it was sent, else when the access is repeated.
fn end(delivery: &Delivery) {
    // It cannot fail for a signal that exists, and there is nobody to tell.
    let _ = Action::default_action().install();
    if !delivery.is_fault() {
        signal::raise();
    }
}

/// A place in the list of actions that ours was put over.
struct Saved {
    /// 0 free, 1 filled.
    filled: AtomicUsize,
    action: UnsafeCell<Option<Action>>,
    /// The place below, counted from 1; 0 for none.
    below: AtomicUsize,
    /// Whether an action that is for one signal only has had it.
    spent: AtomicBool,
}

// SAFETY: `action` is written once, by the one that fills the place under the lock of `arm`, and read only when `filled`
// says so.
unsafe impl Sync for Saved {}

static SAVED: [Saved; 32] = [const {
    Saved {
        filled: AtomicUsize::new(0),
        action: UnsafeCell::new(None),
        below: AtomicUsize::new(0),
        spent: AtomicBool::new(false),
    }
}; 32];
/// The place of the action that ours was put over last, counted from 1; 0 for none.
static TOP: AtomicUsize = AtomicUsize::new(0);

impl Saved {
    /// Takes an action into a free place; false when it is taken. Under the lock of `arm`.
    fn fill(&self, action: Action, below: usize) -> bool {
        // ORDER: Relaxed, changed under the lock only.
        if self.filled.load(Ordering::Relaxed) != 0 {
            return false;
        }
        // SAFETY: nobody reads a place that is not filled, and only one fills at a time.
        unsafe { *self.action.get() = Some(action) };
        self.below.store(below, Ordering::Relaxed); // ORDER: Relaxed, published with `filled`
        // ORDER: Release, partner `action`.
        self.filled.store(1, Ordering::Release);
        true
    }

    fn action(&self) -> Option<Action> {
        // ORDER: Acquire, partner `fill`.
        if self.filled.load(Ordering::Acquire) == 0 {
            return None;
        }
        // SAFETY: filled, and never written again.
        unsafe { *self.action.get() }
    }

    /// The action to pass a signal on to; the default once an action for one signal only has had it.
    fn take(&self) -> Option<Action> {
        let action = self.action()?;
        // ORDER: Relaxed: a flag of its own.
        if action.is_once() && self.spent.swap(true, Ordering::Relaxed) {
            return Some(Action::default_action());
        }
        Some(action)
    }

    fn below(&self) -> usize {
        self.below.load(Ordering::Relaxed) // ORDER: Relaxed, acquired with the top or by the caller's own place
    }
}
