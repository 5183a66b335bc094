//! Hazard cells (Maged Michael, "Hazard Pointers", 2004): a call publishes the token of the object it is about to use,
//! and who wants to change or destroy the object waits until no cell names it.
//!
//! Decision: a call pays two plain stores into a line of its own thread; all the rest falls on the rare side. The
//! store-load fence that Michael's protocol needs between "publish" and "look whether the object is still there" is the
//! light half of an asymmetric fence (fence.rs). The heavy half is left out as long as no other thread has a record.
//!
//! Decision: a cell is idle when it holds 0, and a call takes the first idle cell of its thread's record. There is no
//! depth counter. A signal handler may call in between any two instructions: it has left all its cells idle again when
//! it returns, so a cell that was seen idle is still idle. Two objects may be in use at once and be left in any order.
//!
//! Decision: records come from a static page, then from pages of their own, never from malloc, and are claimed by
//! compare-and-swap with signals blocked: a thread's first call may be made in a signal handler. When all eight cells
//! of a record are taken, the thread claims a further record; it fails only if the kernel has no page left.
//!
//! Decision: no destructor gives a record back. A record carries its thread's kernel number, and a thread that finds no
//! free record takes those whose threads are gone (tgkill says ESRCH). So it does not matter in which order a thread's
//! destructors run, whether the thread ended inside a call, or whether its first call was in a handler (registering a
//! destructor allocates). Records number at most the threads that were alive at once, rounded up to whole pages.
//!
//! Decision: records are not wiped on fork. The thread that forked may be inside a call (the fork was in a signal
//! handler), and its cell must go on protecting it in the child. Instead the fork handler frees the records of all
//! other threads. After a clone that ran no fork handlers, a foreign record is neither freed nor waited for: the answer
//! is `Blocked`.

mod caller;
mod count;
mod owner;
#[cfg(not(loom))]
mod texts;

use crate::mem::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence as full_fence};
use crate::mem::backoff::{Backoff, Waited};
use crate::mem::{current, fence};
use crate::sys::signal::SignalsBlocked;
use crate::sys::{Errno, map, process};
pub(crate) use caller::Caller;
use caller::PLACES;
#[cfg(not(loom))]
pub(crate) use caller::set_notes;
pub(crate) use count::Count;
use owner::Owner;
pub(crate) use owner::{Fate, ThreadNumber};
#[cfg(not(loom))]
use texts::Text;
#[cfg(not(loom))]
pub(crate) use texts::{TEXT, text};

/// Cells per record: the calls that one thread can have open at once before it needs a second record.
const CELLS: usize = if cfg!(loom) { 2 } else { 8 };
/// Records per chunk: a chunk is one page of 4096 bytes.
const RECORDS: usize = if cfg!(loom) { 4 } else { 31 };

/// The value of a cell that no call uses. No token is 0.
const IDLE: u64 = 0;
/// The value of the first cell of a record whose owner's calls may not take the short way: it has SIGBUS blocked, or
/// another record too, or `fence::light` is an instruction. No token is 1.
const HINDERED: u64 = 1;

/// Cells of one thread, in lines that no other thread writes (128: processors fetch lines in pairs).
#[repr(align(128))]
pub(crate) struct Record {
    /// The tokens in use. Written by the owner only.
    cells: [AtomicU64; CELLS],
    /// An `Owner`, or `Owner::NOBODY`.
    owner: AtomicU64,
    /// A `Count` of the owner's calls that are in a wait. Written by the owner only.
    asleep: AtomicU64,
    /// A `Count` of the objects that the owner has, or is about to have, exclusively. For the owner only.
    holding: AtomicU64,
    /// Whether the owner had SIGBUS blocked at its first call. Written by the owner only.
    sigbus_blocked: AtomicBool,
    /// What `held` has for the owner. For the owner only.
    notes: AtomicPtr<()>,
    /// What the token table remembers for the owner. For the owner only.
    remembered: [AtomicPtr<()>; PLACES],
}

/// A page of records, the way to the next one, and texts. All zeros is an empty one.
#[repr(C)]
struct Chunk {
    records: [Record; RECORDS],
    next: AtomicPtr<Chunk>,
    /// One for each record, on pages that nobody touches before there is something to say.
    #[cfg(not(loom))]
    texts: [Text; RECORDS],
}

/// All the records, and what the process knows about itself.
struct Registry {
    first: Chunk,
    /// The `ThreadNumber` that was given out last.
    last_number: AtomicU32,
    /// The process that `start` or the fork handler ran in; 0 before `start`.
    process: AtomicU32,
}

/// The kernel had no page for another record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRecord;

/// `drain` would wait for ever, or for very long: the calling thread itself is inside a call on the object, a call on
/// it is asleep or cannot be proved to be over, or the heavy fence failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocked;

impl Record {
    fn idle_cell(&self) -> Option<&AtomicU64> {
        // ORDER: Relaxed: only this thread and its handlers write the cells of its record.
        self.cells.iter().find(|cell| cell.load(Ordering::Relaxed) == IDLE)
    }

    fn names(&self, token: u64) -> bool {
        self.count(token) > 0
    }

    /// In how many cells the token stands.
    fn count(&self, token: u64) -> usize {
        // ORDER: Acquire, partner: the Release stores in `Hazard`: when a cell has gone on to another value, everything
        // the call did with the object happened before.
        self.cells.iter().filter(|cell| cell.load(Ordering::Acquire) == token).count()
    }
}

fn records() -> impl Iterator<Item = &'static Record> {
    Chunk::all().flat_map(|chunk| &chunk.records)
}

fn records_of(owner: Owner) -> impl Iterator<Item = &'static Record> {
    records().filter(move |record| record.owner() == owner)
}

impl Chunk {
    fn all() -> impl Iterator<Item = &'static Chunk> {
        std::iter::successors(Some(&REGISTRY.first), |chunk| chunk.next())
    }

    fn next(&self) -> Option<&'static Chunk> {
        // ORDER: Acquire, partner: the compare-and-swap in `append`: the page is zero before it is reachable.
        let next = self.next.load(Ordering::Acquire);
        // SAFETY: null, or a page that `append` made reachable and nobody ever unmaps; all of it is atomics.
        unsafe { next.as_ref() }
    }

    /// Makes a fresh page reachable, behind the last one.
    fn append() -> Result<(), NoRecord> {
        let page = map::zero_pages(size_of::<Chunk>()).map_err(|Errno(_)| NoRecord)?;
        let mut last = &REGISTRY.first;
        loop {
            // ORDER: Release on success, partner: `next`: the kernel's zeros are there before the page is reachable.
            // Relaxed on failure: `next` below reads it again.
            let appended = last.next.compare_exchange(
                std::ptr::null_mut(),
                page.as_ptr().cast(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            match last.next() {
                Some(next) if appended.is_err() => last = next,
                _ => return Ok(()),
            }
        }
    }
}

/// To be called before the first object exists; may allocate. Any number of times, on any thread.
pub(crate) fn start() -> Result<(), NoRecord> {
    // ORDER: Acquire, partner: the store below: what was set up is set up.
    if REGISTRY.process.load(Ordering::Acquire) != 0 {
        return Ok(());
    }
    fence::choose();
    process::on_fork(forget_other_threads).map_err(|Errno(_)| NoRecord)?;
    // ORDER: Release, partner: the load above.
    REGISTRY.process.store(process::process_id(), Ordering::Release);
    Ok(())
}

/// The fork handler: in the child, the calling thread is the only one. Async-signal-safe.
extern "C" fn forget_other_threads() {
    let mine = current::get().map_or(Owner::NOBODY, Record::owner);
    for record in records() {
        let owner = record.owner();
        let heir = if owner == mine && mine != Owner::NOBODY {
            Owner::new(mine.number(), process::thread_id())
        } else {
            Owner::NOBODY
        };
        record.change_owner(owner, heir);
    }
    // ORDER: Relaxed: there is no other thread.
    REGISTRY.process.store(process::process_id(), Ordering::Relaxed);
}

/// Gives the calling thread a record with an idle cell: its first one, or a further one for deep nesting.
/// Signals are blocked, so a handler finds this thread either before or after it.
#[cold]
fn claim() -> Result<&'static Record, NoRecord> {
    let blocked = SignalsBlocked::new();
    fence::choose(); // a user of Rust's may come before `start`
    // ORDER: Relaxed: read and written by this thread only.
    let before = current::get().map(|record| record.sigbus_blocked.load(Ordering::Relaxed));
    let notes = Caller::known().map_or(std::ptr::null_mut(), Caller::notes);
    let thread_id = process::thread_id();
    let mine = match current::get() {
        Some(record) => record.owner(),
        None => {
            // A thread that had the same kernel number is gone, since now it is ours.
            for record in records() {
                let owner = record.owner();
                if owner != Owner::NOBODY && owner.thread_id() == thread_id {
                    record.take_from_the_gone(owner);
                }
            }
            Owner::new(next_number(), thread_id)
        }
    };
    loop {
        if let Some(record) = take(mine) {
            let sigbus_blocked = before.unwrap_or_else(|| blocked.had_sigbus_blocked());
            record.sigbus_blocked.store(sigbus_blocked, Ordering::Relaxed); // ORDER: Relaxed, as above
            // Where a call has another record of this thread's, the first cell of this one would not tell of it.
            if sigbus_blocked || before.is_some() || !fence::light_is_free() {
                // ORDER: Relaxed, names no object. If the cell is not idle, the record has been hindered before.
                let _ = record.cells[0].compare_exchange(IDLE, HINDERED, Ordering::Relaxed, Ordering::Relaxed);
            }
            record.notes.store(notes, Ordering::Relaxed); // ORDER: Relaxed, as above
            current::set(record);
            return Ok(record);
        }
        if !free_the_records_of_the_gone() {
            Chunk::append()?;
        }
    }
}

/// A record of `mine` that has an idle cell, or one that was nobody's.
fn take(mine: Owner) -> Option<&'static Record> {
    if let Some(record) = records_of(mine).find(|record| record.idle_cell().is_some()) {
        return Some(record);
    }
    let record = records_of(Owner::NOBODY).find(|record| record.change_owner(Owner::NOBODY, mine))?;
    for cell in &record.cells {
        // ORDER: Release, partner: the load in `names`. What the former owner left, which ended inside a call, protects nobody.
        cell.store(IDLE, Ordering::Release);
    }
    record.asleep.store(0, Ordering::Relaxed); // ORDER: Relaxed: a hint for `drain`
    record.holding.store(0, Ordering::Relaxed); // ORDER: Relaxed: read by this thread only
    // ORDER: SeqCst, partner: the fence in `drain`: it sees this owner, or this thread's calls find what it has done.
    full_fence(Ordering::SeqCst);
    Some(record)
}

/// Whether there were any.
fn free_the_records_of_the_gone() -> bool {
    let mut freed = false;
    for record in records() {
        let owner = record.owner();
        if owner != Owner::NOBODY && owner.fate() == Fate::Gone {
            freed |= record.take_from_the_gone(owner);
        }
    }
    freed
}

fn next_number() -> ThreadNumber {
    // ORDER: Relaxed: only that each number is given out once.
    let number = REGISTRY.last_number.fetch_add(1, Ordering::Relaxed) & (u32::MAX >> 1);
    ThreadNumber(number.max(1))
}

/// The number of the calling thread.
pub(crate) fn this_thread() -> Result<ThreadNumber, NoRecord> {
    let record = current::get().map_or_else(claim, Ok)?;
    Ok(record.owner().number())
}

/// Whether the calling thread had SIGBUS blocked at its first call: no handler then saves it from a fault.
#[inline]
pub(crate) fn blocks_sigbus() -> bool {
    // ORDER: Relaxed: written by this thread only.
    let ask = |record: &Record| record.sigbus_blocked.load(Ordering::Relaxed);
    match current::get() {
        Some(record) => ask(record),
        None => claim().is_ok_and(ask),
    }
}

/// Whether the calling thread is inside a call on any object. Async-signal-safe.
pub(crate) fn is_inside() -> bool {
    let mine = current::get().map_or(Owner::NOBODY, Record::owner);
    // ORDER: Relaxed: this thread's own cells.
    let in_use = |record: &Record| record.cells.iter().any(|cell| cell.load(Ordering::Relaxed) > HINDERED);
    mine != Owner::NOBODY && records_of(mine).any(in_use)
}

/// What has become of the thread of that number.
pub(crate) fn fate(number: ThreadNumber) -> Fate {
    records().map(Record::owner).find(|owner| owner.number() == number).map_or(Fate::Gone, Owner::fate)
}

/// Tells the compiler that the branch with this call is for exceptions.
#[cold]
#[inline]
pub(crate) fn seldom() {}

/// A published token. While it lives, `drain` of that token does not return `Ok` on any thread.
pub(crate) struct Hazard {
    cell: &'static AtomicU64,
    /// Whose it is.
    pub(crate) caller: Caller,
}

impl Hazard {
    /// Publishes `token` in the first cell of this thread, if it has one that is idle: it is not where the thread blocks
    /// SIGBUS, see `HINDERED`. Whether there is, still, an object of that token has to be looked up afterwards; one that names
    /// none, even 0 or 1, protects nothing and is gone again at once. Async-signal-safe.
    #[inline(always)]
    pub(crate) fn publish_at_once(token: u64) -> Option<Hazard> {
        let record = current::get()?;
        let cell = &record.cells[0];
        // ORDER: Relaxed: only this thread and its handlers write this cell.
        if cell.load(Ordering::Relaxed) != IDLE {
            seldom();
            return None;
        }
        // ORDER: Release, partner: the load in `names`, as in `publish`.
        cell.store(token, Ordering::Release);
        fence::free_light();
        Some(Hazard { cell, caller: Caller::of(record) })
    }

    /// The same in any idle cell; a record is claimed for a thread that has none.
    pub(crate) fn publish(token: u64) -> Result<Hazard, NoRecord> {
        let found = current::get().and_then(|record| Some((record, record.idle_cell()?)));
        let (record, cell) = match found {
            Some(found) => found,
            None => {
                let record = claim()?;
                (record, record.idle_cell().ok_or(NoRecord)?)
            }
        };
        // ORDER: Release, partner: the load in `names`: a reader that finds this token instead of the former one has
        // to see that the former call is over. The order towards the look-up that follows is made by the fence.
        cell.store(token, Ordering::Release);
        fence::light();
        Ok(Hazard { cell, caller: Caller::of(record) })
    }

    /// In how many cells of the thread of that number the token stands that is published by this one.
    pub(crate) fn calls_of(&self, number: ThreadNumber) -> usize {
        // ORDER: Relaxed: this thread's own cell.
        let token = self.cell.load(Ordering::Relaxed);
        records().filter(|record| record.owner().number() == number).map(|record| record.count(token)).sum()
    }
}

impl Drop for Hazard {
    #[inline(always)]
    fn drop(&mut self) {
        // ORDER: Release, partner: the load in `names`: the use of the object ends before.
        self.cell.store(IDLE, Ordering::Release);
    }
}

/// The calling thread waits for something that may be long in coming: while the value lives, `drain` does not wait for
/// any of this thread's calls.
pub(crate) fn asleep() -> Count {
    Count::up(current::get().map(|record| &record.asleep))
}

/// The calling thread has an object exclusively while the value lives.
pub(crate) fn holding() -> Count {
    Count::up(current::get().map(|record| &record.holding))
}

/// Whether the calling thread has any object exclusively: then this is a signal handler in the middle of that, which
/// must not wait for objects that others have.
pub(crate) fn is_holding() -> bool {
    let mine = current::get().map_or(Owner::NOBODY, Record::owner);
    // ORDER: Relaxed: written by this thread only.
    mine != Owner::NOBODY && records_of(mine).any(|record| record.holding.load(Ordering::Relaxed) & Count::MASK != 0)
}

/// Whether a thread is asleep inside a call: `inside` is true during one and the same sleep. Otherwise a call that has
/// looked, withdrawn its token and gone to sleep until the object is open again would pass for one.
fn is_asleep(owner: Owner, inside: impl Fn() -> bool) -> bool {
    records_of(owner).any(|record| {
        // ORDER: Acquire, partner: the Release in `Count::add`: `inside` sees nothing from before this sleep.
        let count = record.asleep.load(Ordering::Acquire);
        // ORDER: Relaxed: if `inside` saw (Acquire) a token published (Release) after the sleep, this sees its end.
        count & Count::MASK != 0 && inside() && record.asleep.load(Ordering::Relaxed) == count
    })
}

/// Waits until the calls that have found the object of `token` are over. The caller has made the object unfindable
/// before; everything those calls did with it happens before the return. Calls that publish the token later delay it at
/// the most until they have looked, since each cell is waited for once.
pub(crate) fn drain(token: u64) -> Result<(), Blocked> {
    // ORDER: SeqCst, partner: the fence in `take`: a thread whose record is still nobody's below finds nothing. This
    // thread's own calls are in order anyway, so that a process of one thread needs no heavy fence.
    full_fence(Ordering::SeqCst);
    let mine = current::get().map(Record::owner);
    let mut others_are_fenced = false;
    for record in records() {
        let mut backoff = Backoff::new();
        loop {
            let owner = record.owner();
            if owner == Owner::NOBODY {
                break;
            }
            if Some(owner) != mine && !others_are_fenced {
                fence::heavy().map_err(|Errno(_)| Blocked)?;
                others_are_fenced = true;
            }
            if !record.names(token) {
                break;
            }
            if Some(owner) == mine {
                return Err(Blocked);
            }
            if is_asleep(owner, || record.names(token)) {
                return Err(Blocked);
            }
            if backoff.wait() == Waited::Long {
                match owner.fate() {
                    Fate::Alive => {}
                    Fate::Unknown => return Err(Blocked),
                    Fate::Gone => {
                        record.take_from_the_gone(owner);
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(not(loom))]
static REGISTRY: Registry = Registry {
    first: Chunk {
        records: [const {
            Record {
                cells: [const { AtomicU64::new(IDLE) }; CELLS],
                owner: AtomicU64::new(Owner::NOBODY.0),
                asleep: AtomicU64::new(0),
                holding: AtomicU64::new(0),
                sigbus_blocked: AtomicBool::new(false),
                notes: AtomicPtr::new(std::ptr::null_mut()),
                remembered: [const { AtomicPtr::new(std::ptr::null_mut()) }; PLACES],
            }
        }; RECORDS],
        next: AtomicPtr::new(std::ptr::null_mut()),
        texts: [const { Text::new() }; RECORDS],
    },
    last_number: AtomicU32::new(1),
    process: AtomicU32::new(0),
};

#[cfg(loom)]
loom::lazy_static! {
    static ref REGISTRY: Registry = Registry {
        first: Chunk {
            records: std::array::from_fn(|_| Record {
                cells: std::array::from_fn(|_| AtomicU64::new(IDLE)),
                owner: AtomicU64::new(Owner::NOBODY.0),
                asleep: AtomicU64::new(0),
                holding: AtomicU64::new(0),
                sigbus_blocked: AtomicBool::new(false),
                notes: AtomicPtr::new(std::ptr::null_mut()),
                remembered: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
            }),
            next: AtomicPtr::new(std::ptr::null_mut()),
        },
        last_number: AtomicU32::new(1),
        process: AtomicU32::new(0),
    };
}

#[cfg(not(loom))]
const _: () = assert!(std::mem::offset_of!(Chunk, texts) <= 4096);

#[cfg(all(test, not(loom)))]
mod tests;
#[cfg(all(test, not(loom)))]
pub(crate) use tests::record_count;
