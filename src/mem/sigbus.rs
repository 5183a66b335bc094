//! The SIGBUS handler: makes a fault in a guarded access an error code, and one in a view a page of zeros; everything
//! else goes to whoever had the signal before.
//!
//! Decision: the actions that were found when ours was put on top are kept in a list that only grows, each with the one
//! below it. A handler that gets a signal from us may give it back: one that was installed over ours calls ours with it,
//! and one that restores what it found and raises the signal anew (Python's faulthandler) sends it again. In both cases
//! we go on with the action below it, so that the two never pass a signal to and fro. The first is known by a stamp on
//! the delivery, or by being on top of ours; the second by sending it from inside its call.
//!
//! Decision: another SIGBUS that this process sends to itself while the thread is in a call, or while a view is out, is
//! let pass once. It comes from a handler that was put over ours after the last `arm`, as faulthandler again: it took our
//! fault, has put us back, and raises the signal. The access then faults again, into us.

use super::atomic::{AtomicBool, AtomicUsize, Ordering};
use super::fork_lock::ForkLock;
use super::{guard, hazard, pins};
use crate::sys::Errno;
use crate::sys::process::process_vm_read;
use crate::sys::signal::{self, Action, Delivery, Disposition, Handle};
use std::cell::{Cell, UnsafeCell};

/// What a guarded access ran into.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    /// The address that could not be accessed.
    pub(super) address: usize,
    /// Whether the memory itself failed.
    pub(super) is_memory_error: bool,
}

thread_local! {
    /// What the last guarded access of this thread that faulted ran into, until it is asked for.
    static LAST_FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    /// Whether a SIGBUS of this process's own was let pass since the last fault.
    static LET_PASS: Cell<bool> = const { Cell::new(false) };
    /// Where the stamp of the delivery stands that this thread passed on last, and the stamp; 0 when that is over.
    static PASSED_ON: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// Puts our handler on top, over any that was installed since; that one gets what is not ours. Not async-signal-safe.
pub(crate) fn arm() -> Result<(), Errno> {
    static ARMING: ForkLock = ForkLock::new();
    if Action::current()?.is_calling::<Sigbus>() {
        return Ok(());
    }
    let _one_at_a_time = ARMING.lock();
    let current = Action::current()?;
    if current.is_calling::<Sigbus>() {
        return Ok(());
    }
    let below = TOP.load(Ordering::Relaxed); // ORDER: Relaxed, changed under the lock only
    let known = SAVED.iter().position(|saved| saved.renew(&current));
    let place = match known {
        Some(index) => index + 1,
        // A host that installs more different handlers than the list holds keeps the oldest ones.
        None => SAVED.iter().position(|saved| saved.fill(current, below)).map_or(below, |index| index + 1),
    };
    // ORDER: Release, partner `pass_on`: the place is filled before it is the top.
    TOP.store(place, Ordering::Release);
    Action::calling::<Sigbus>(&current).install()
}

/// What the last guarded access of this thread that faulted ran into, unless it was asked for already.
pub(super) fn take_last_fault() -> Option<Fault> {
    LAST_FAULT.take()
}

struct Sigbus;

impl Handle for Sigbus {
    fn handle(delivery: &mut Delivery) {
        if !delivery.is_fault() {
            let is_raised_anew =
                delivery.is_from_this_process() && giver(delivery).is_none() && (hazard::is_inside() || pins::any());
            if !is_raised_anew || LET_PASS.replace(true) {
                pass_on(delivery);
            }
            return;
        }
        LET_PASS.set(false);
        let fault = Fault { address: delivery.address(), is_memory_error: delivery.is_memory_error() };
        if let Some(fixup) = guard::fixup(delivery.pc()) {
            LAST_FAULT.set(Some(fault));
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
    let place = match giver(delivery) {
        Some(giver) => SAVED[giver - 1].below(),
        // ORDER: Acquire, partner `arm`.
        None => TOP.load(Ordering::Acquire),
    };
    let (before, outer) = (delivery.stamp(), PASSED_ON.get());
    delivery.set_stamp(STAMP | place);
    PASSED_ON.set((delivery.stamp_address(), STAMP | place));
    match place.checked_sub(1).and_then(|index| SAVED[index].take()) {
        Some(action) if action.disposition() == Disposition::Handler => action.call(delivery),
        // The kernel does not ignore a fault either.
        Some(action) if action.disposition() == Disposition::Ignore && !delivery.is_fault() => {}
        _ => end(delivery),
    }
    delivery.set_stamp(before);
    PASSED_ON.set(outer);
}

/// What a stamp is made of, beside the place that the signal was passed on to.
const STAMP: usize = 0x6d61_7073_6861 << 16;

/// The place of the handler that gives this signal to us, having got it from us or from the kernel, if one does.
fn giver(delivery: &Delivery) -> Option<usize> {
    returner(delivery).or_else(|| {
        // When ours is not on top, the one that is has called it.
        let on_top = Action::current().ok().filter(|action| !action.is_calling::<Sigbus>())?;
        let index = SAVED.iter().position(|saved| saved.holds(&on_top))?;
        Some(index + 1)
    })
}

/// The place of the handler that got this signal from us and gives it back, if one does.
fn returner(delivery: &Delivery) -> Option<usize> {
    let stamp = match delivery.stamp() {
        0 => stamp_of_raiser(delivery),
        stamp => stamp,
    };
    let place = stamp ^ STAMP;
    (1..=SAVED.len()).contains(&place).then_some(place)
}

/// The stamp of the delivery whose handler is sending this signal: the one passed on last, if its stamp still stands a
/// little up the stack. A handler that was left by siglongjmp(3) has none any more.
fn stamp_of_raiser(delivery: &Delivery) -> usize {
    const NEAR: usize = 256 << 10;
    let (address, stamp) = PASSED_ON.get();
    let distance = address.wrapping_sub(delivery.stack_pointer());
    if delivery.is_fault() || !delivery.is_from_this_process() || distance > NEAR {
        return 0;
    }
    let mut found = 0usize;
    let from = std::ptr::without_provenance(address);
    // SAFETY: `found` is ours; what the other address is, the kernel finds out.
    let read = unsafe { process_vm_read((&raw mut found).cast(), from, size_of::<usize>()) };
    if read == Ok(size_of::<usize>()) && found == stamp { stamp } else { 0 }
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
    is_filled: AtomicBool,
    action: UnsafeCell<Option<Action>>,
    /// The place below, counted from 1; 0 for none.
    below: AtomicUsize,
    /// Whether an action that is for one signal only has had it.
    is_spent: AtomicBool,
}

// SAFETY: `action` is written once, by the one that fills the place under the lock of `arm`, and read only when
// `is_filled` says so.
unsafe impl Sync for Saved {}

static SAVED: [Saved; 32] = [const {
    Saved {
        is_filled: AtomicBool::new(false),
        action: UnsafeCell::new(None),
        below: AtomicUsize::new(0),
        is_spent: AtomicBool::new(false),
    }
}; 32];
/// The place of the action that ours was put over last, counted from 1; 0 for none.
static TOP: AtomicUsize = AtomicUsize::new(0);

impl Saved {
    /// Takes an action into a free place; false when it is taken. Under the lock of `arm`.
    fn fill(&self, action: Action, below: usize) -> bool {
        // ORDER: Relaxed, changed under the lock only.
        if self.is_filled.load(Ordering::Relaxed) {
            return false;
        }
        // SAFETY: nobody reads a place that is not filled, and only one fills at a time.
        unsafe { *self.action.get() = Some(action) };
        self.below.store(below, Ordering::Relaxed); // ORDER: Relaxed, published with `is_filled`
        // ORDER: Release, partner `action`.
        self.is_filled.store(true, Ordering::Release);
        true
    }

    /// Whether it holds this action, which has been installed anew. Under the lock of `arm`.
    fn renew(&self, action: &Action) -> bool {
        let holds = self.holds(action);
        if holds {
            self.is_spent.store(false, Ordering::Relaxed); // ORDER: Relaxed: a flag of its own
        }
        holds
    }

    fn holds(&self, action: &Action) -> bool {
        self.action().is_some_and(|saved| saved.is_same(action))
    }

    fn action(&self) -> Option<&Action> {
        // ORDER: Acquire, partner `fill`.
        if !self.is_filled.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: filled, and never written again.
        unsafe { &*self.action.get() }.as_ref()
    }

    /// The action to pass a signal on to; None, for the default, once an action for one signal only has had it.
    fn take(&self) -> Option<&Action> {
        // ORDER: Relaxed: a flag of its own.
        self.action().filter(|action| !action.is_once() || !self.is_spent.swap(true, Ordering::Relaxed))
    }

    fn below(&self) -> usize {
        self.below.load(Ordering::Relaxed) // ORDER: Relaxed, acquired with the top
    }
}
