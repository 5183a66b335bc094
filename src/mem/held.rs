//! The locks that each thread holds.
//!
//! Decision: a lock is noted before it is taken and forgotten after it is freed, by plain stores into a list that only its
//! thread writes: so a thread that is named in a lock's word and has no note of it does not hold it. A thread's end
//! marks its locks as the end of its process does; the kernel frees only what the latter held.
//!
//! Decision: lists are never freed, and the next thread takes over one that a thread has left.

use super::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence as full_fence};
use super::fence;
use super::fork_lock::ForkLock;
use super::hazard::{self, Caller, NoRecord, ThreadNumber};
use super::layout::{self, word};
use super::mapping::Mapping;
use super::presence::Presence;
use super::span::Span;
use super::word::{Atomic, Words};
use crate::sys::{Errno, futex, process};
use std::cell::Cell;
use std::mem::offset_of;
use std::num::NonZeroU32;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

/// So many locks a thread can hold at once.
pub(crate) const NOTES: usize = 16;
/// So many notes are looked at by who gives up when anything is in the way.
const NOTES_AT_ONCE: usize = 2;

/// One lock that is held, about to be, or was a moment ago; or none.
///
/// All of it stays when the lock is freed, so that who takes the same one again need not write the note anew.
pub(crate) struct Note {
    /// Whether it is one.
    is_set: AtomicBool,
    /// The file, and its word's first byte there: locks are known by these, whatever region they were taken through.
    presence: AtomicPtr<Presence>,
    position: AtomicU64,
    /// Through which mapping it was taken, null once that is gone, and where its word is there.
    mapping: AtomicPtr<Mapping>,
    offset: AtomicU64,
    /// The word of this lock in this thread's hands, as long as the mapping is there.
    own: AtomicU64,
}

/// A thread's notes.
pub(crate) struct Held {
    notes: [Note; NOTES],
    is_claimed: AtomicBool,
    /// The thread's number among those of this process; 0 when it has left.
    thread: AtomicU32,
    /// Process and thread by their kernel's numbers.
    kernel_numbers: AtomicU64,
    /// Goes up with every change of the notes.
    changes: AtomicU32,
    next: OnceLock<Box<Held>>,
}

static FIRST: Held = Held::new();
/// Held by whoever lets go of locks that are not his own, or of his thread's at its end.
static ABANDONING: ForkLock = ForkLock::new();

thread_local! {
    static MINE: Mine = const { Mine(Cell::new(None)) };
}

struct Mine(Cell<Option<&'static Held>>);

impl Drop for Mine {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            hazard::set_notes(ptr::null_mut());
            held.end();
        }
    }
}

/// What a lock is known by.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) mapping: &'a Mapping,
    pub(crate) presence: &'static Presence,
    /// Its word's first byte in the mapping.
    pub(crate) offset: u64,
}

impl Key<'_> {
    fn position(&self) -> u64 {
        self.mapping.file_offset() + self.offset
    }
}

/// The calling thread has as many locks as one thread can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The calling thread's notes, if it has any.
pub(crate) fn mine() -> Option<&'static Held> {
    MINE.try_with(|mine| mine.0.get()).ok().flatten()
}

/// The same for who gives up when anything is in the way: as where a light fence is none.
#[inline(always)]
pub(crate) fn at_once(caller: Caller) -> Option<&'static Held> {
    // SAFETY: null, or what `claim` has put down: lists are never freed, and all of it is atomics.
    unsafe { caller.notes().cast::<Held>().as_ref() }
}

/// The calling thread's notes; None at its very end.
#[cold]
pub(crate) fn claim() -> Result<Option<&'static Held>, NoRecord> {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    let ThreadNumber(number) = hazard::this_thread()?;
    if let Some(held) = mine() {
        held.put_down();
        return Ok(Some(held));
    }
    // ORDER: Relaxed: a flag of its own; registering twice does no harm.
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        process::on_fork(forget_all).map_err(|Errno(_)| NoRecord)?;
    }
    let mut held = &FIRST;
    // ORDER: AcqRel, partner: the Release in `end`: its notes are empty.
    while held.is_claimed.swap(true, Ordering::AcqRel) {
        held = held.next.get_or_init(|| Box::new(Held::new()));
    }
    held.thread.store(number & word::THREAD as u32, Ordering::Relaxed); // ORDER: Relaxed: published by the lock's word
    held.tell_kernel_numbers();
    let is_kept = MINE.try_with(|mine| mine.0.set(Some(held))).is_ok();
    if is_kept {
        held.put_down();
    }
    Ok(is_kept.then_some(held))
}

fn lists() -> impl Iterator<Item = &'static Held> {
    std::iter::successors(Some(&FIRST), |held| held.next.get().map(|next| &**next))
}

impl Key<'_> {
    /// That of the lock whose word is at `offset` of the mapping, where this process is a participant.
    #[inline(always)]
    pub(crate) fn of(mapping: &Mapping, offset: u64) -> Option<(Key<'_>, NonZeroU32)> {
        let presence = mapping.presence_at_once()?;
        Some((Key { mapping, presence, offset }, presence.participant()?))
    }
}

impl Note {
    /// The word of this lock in the hands of the thread whose note it is.
    #[inline(always)]
    pub(crate) fn own(&self) -> u64 {
        self.own.load(Ordering::Relaxed) // ORDER: Relaxed, for its own thread
    }

    /// The bytes of the lock, which this thread has taken through the mapping: `before` stand before its word. They were
    /// checked then, and a region does not give up the bytes of a lock that is held.
    #[inline(always)]
    pub(crate) fn words<'a>(&self, mapping: &'a Mapping, before: u64, length: u64, is_writable: bool) -> Words<'a> {
        let start = self.offset.load(Ordering::Relaxed) - before; // ORDER: Relaxed, for its own thread
        Words::of(mapping, Span::checked_before(start as usize, length as usize), is_writable)
    }

    /// Whether it is, or was last, of the lock whose word is at `offset` of the mapping; for the thread whose note it is.
    #[inline(always)]
    fn was_of(&self, mapping: &Mapping, offset: u64) -> bool {
        // ORDER: Relaxed: written by its own thread, and cleared before another mapping can have the address.
        ptr::eq(self.mapping.load(Ordering::Relaxed), mapping) && self.offset.load(Ordering::Relaxed) == offset
    }

    /// For the thread whose note it is.
    #[inline(always)]
    fn is_free(&self) -> bool {
        !self.is_set.load(Ordering::Relaxed) // ORDER: Relaxed: only its thread writes it
    }

    #[inline(always)]
    fn is(&self, key: Key) -> bool {
        // ORDER: Acquire, partner the Release in `set`, `write` and `strike`: for those who read another thread's notes.
        self.is_set.load(Ordering::Acquire)
            && ptr::eq(self.presence.load(Ordering::Acquire), key.presence)
            && self.position.load(Ordering::Acquire) == key.position()
    }
}

impl Held {
    const fn new() -> Held {
        Held {
            notes: [const {
                Note {
                    is_set: AtomicBool::new(false),
                    presence: AtomicPtr::new(ptr::null_mut()),
                    position: AtomicU64::new(0),
                    mapping: AtomicPtr::new(ptr::null_mut()),
                    offset: AtomicU64::new(0),
                    own: AtomicU64::new(0),
                }
            }; NOTES],
            is_claimed: AtomicBool::new(false),
            thread: AtomicU32::new(0),
            kernel_numbers: AtomicU64::new(0),
            changes: AtomicU32::new(0),
            next: OnceLock::new(),
        }
    }

    /// Lets `at_once` find this list of the calling thread.
    fn put_down(&self) {
        let is_fit = fence::light_is_free_for_all();
        hazard::set_notes(if is_fit { ptr::from_ref(self).cast_mut().cast() } else { ptr::null_mut() });
    }

    /// The number of the thread whose notes these are.
    #[inline(always)]
    pub(crate) fn thread(&self) -> u64 {
        self.thread.load(Ordering::Relaxed).into() // ORDER: Relaxed, for its own thread
    }

    /// Process (high half) and thread by their kernel's numbers, for people.
    #[inline(always)]
    pub(crate) fn kernel_numbers(&self) -> u64 {
        self.kernel_numbers.load(Ordering::Relaxed) // ORDER: Relaxed, for its own thread
    }

    fn tell_kernel_numbers(&self) {
        let numbers = u64::from(process::process_id()) << 32 | u64::from(process::thread_id());
        self.kernel_numbers.store(numbers, Ordering::Relaxed); // ORDER: Relaxed, for its own thread
    }

    /// Notes that this thread, whose list it is, is about to take a lock, which `participant` then holds.
    pub(crate) fn note(&self, key: Key, participant: NonZeroU32) -> Result<&Note, TooMany> {
        let free = self.notes.iter().find(|note| note.is_free()).ok_or(TooMany)?;
        self.write(free, key, participant);
        self.set(free);
        Ok(free)
    }

    /// The same for the lock of those bytes whose word is at `offset` of their mapping, if nothing is in the way; this thread
    /// may then access them.
    #[inline(always)]
    pub(crate) fn note_at_once(&self, words: Words, offset: u64) -> Option<&Note> {
        let mapping = words.mapping();
        let free = self.notes[..NOTES_AT_ONCE].iter().find(|note| note.is_free())?;
        if !free.was_of(mapping, offset) {
            let (key, participant) = Key::of(mapping, offset).filter(|_| words.are_direct())?;
            self.write(free, key, participant);
        }
        self.set(free);
        Some(free)
    }

    #[inline(always)]
    fn write(&self, note: &Note, key: Key, participant: NonZeroU32) {
        // ORDER: Release, partner `Note::is`: who finds another lock's name here sees that the last one was freed before.
        note.presence.store(ptr::from_ref(key.presence).cast_mut(), Ordering::Release);
        note.position.store(key.position(), Ordering::Release);
        // ORDER: Relaxed, for its own thread; for others see `set`.
        note.mapping.store(ptr::from_ref(key.mapping).cast_mut(), Ordering::Relaxed);
        note.offset.store(key.offset, Ordering::Relaxed);
        note.own.store(holder(participant, self), Ordering::Relaxed);
    }

    #[inline(always)]
    fn set(&self, note: &Note) {
        // ORDER: Release, partner `Note::is`: it is whole before it is there.
        note.is_set.store(true, Ordering::Release);
        self.change();
    }

    /// What this thread, whose list it is, has noted of a lock that it has taken through the mapping, if that is one of the
    /// first notes.
    #[inline(always)]
    pub(crate) fn find_at_once(&self, mapping: &Mapping, offset: u64) -> Option<&Note> {
        self.notes[..NOTES_AT_ONCE].iter().find(|note| note.was_of(mapping, offset) && !note.is_free())
    }

    /// What this thread, whose list it is, has noted of that lock.
    fn find(&self, key: Key) -> Option<&Note> {
        self.notes.iter().find(|note| note.is(key))
    }

    /// Whether this thread, whose list it is, has that lock.
    pub(crate) fn has(&self, key: Key) -> bool {
        self.find(key).is_some()
    }

    /// Forgets a lock of this thread, whose list and note it is.
    #[inline(always)]
    pub(crate) fn strike(&self, note: &Note) {
        // ORDER: Release, partner `Note::is`: the lock was freed before.
        note.is_set.store(false, Ordering::Release);
        self.change();
    }

    /// Forgets a lock of this thread, whose list it is.
    pub(crate) fn forget(&self, key: Key) {
        if let Some(note) = self.find(key) {
            self.strike(note);
        }
    }

    #[inline(always)]
    fn change(&self) {
        let changes = self.changes.load(Ordering::Relaxed); // ORDER: Relaxed: only this thread writes it
        // ORDER: Release, partner the Acquire in `is_noted`.
        self.changes.store(changes.wrapping_add(1), Ordering::Release);
    }

    /// At the end of the thread: its locks are marked, and the list is left to another.
    fn end(&self) {
        let _one_at_a_time = ABANDONING.lock();
        self.abandon(|_, _| true);
        for note in &self.notes {
            // ORDER: Relaxed, as below. The next thread has another number.
            note.mapping.store(ptr::null_mut(), Ordering::Relaxed);
        }
        // ORDER: Relaxed: its own thread; then Release, partner the AcqRel in `claim`.
        self.thread.store(0, Ordering::Relaxed);
        self.is_claimed.store(false, Ordering::Release);
    }

    /// Marks and forgets the locks whose words are at some offsets of some mappings. Under `ABANDONING`.
    fn abandon(&self, which: impl Fn(*const Mapping, u64) -> bool) {
        for note in &self.notes {
            // ORDER: Acquire, partner `set`.
            let is_set = note.is_set.load(Ordering::Acquire);
            let mapping = note.mapping.load(Ordering::Relaxed);
            let offset = note.offset.load(Ordering::Relaxed);
            if !is_set || !which(mapping, offset) {
                continue;
            }
            // SAFETY: a mapping that goes abandons its locks first, under the same lock as this.
            if let Some(mapping) = unsafe { mapping.as_ref() } {
                mark_owner_died(mapping, offset, self.thread());
            }
            note.is_set.store(false, Ordering::Release); // ORDER: as in `strike`
            self.change();
        }
    }
}

/// Whether a living thread of that number has noted the lock, if nothing has changed in its notes while they were looked
/// at and `is_still_so` was asked; otherwise yes.
pub(crate) fn is_noted(key: Key, thread: u64, is_still_so: impl FnOnce() -> bool) -> bool {
    let of_thread = || lists().filter(|held| held.thread() == thread);
    // ORDER: Acquire, partner `change`; the fence keeps the loads between the two.
    let changes = || of_thread().fold(0u32, |sum, held| sum.wrapping_add(held.changes.load(Ordering::Acquire)));
    let before = changes();
    let is_noted = of_thread().any(|held| held.has(key));
    let is_still_so = is_still_so();
    full_fence(Ordering::SeqCst);
    is_noted || !is_still_so || changes() != before
}

/// How many locks are held that were taken through the mapping.
pub(crate) fn count_of(mapping: &Mapping) -> usize {
    count(|note| ptr::eq(note.mapping.load(Ordering::Relaxed), mapping))
}

/// How many locks are held in the mapping's file, whatever mapping they were taken through, at this offset of it and behind.
pub(crate) fn count_behind(mapping: &Mapping, offset: u64) -> usize {
    let Ok(presence) = mapping.presence() else { return 0 };
    let position = mapping.file_offset().saturating_add(offset);
    count(|note| {
        // ORDER: Acquire, as in `Note::is`.
        ptr::eq(note.presence.load(Ordering::Acquire), presence) && note.position.load(Ordering::Acquire) >= position
    })
}

fn count(is_one: impl Fn(&Note) -> bool) -> usize {
    let notes = lists().flat_map(|held| &held.notes);
    // ORDER: Acquire, partner `set`; the calls that made them are over.
    notes.filter(|note| note.is_set.load(Ordering::Acquire) && is_one(note)).count()
}

/// Before a mapping goes: locks that were taken through it are marked as those of a thread that has died.
pub(super) fn abandon_all_of(mapping: &Mapping) {
    if count_of(mapping) > 0 {
        let _one_at_a_time = ABANDONING.lock();
        lists().for_each(|held| held.abandon(|of, _| ptr::eq(of, mapping)));
    }
    let gone = ptr::from_ref(mapping).cast_mut();
    for note in lists().flat_map(|held| &held.notes) {
        // ORDER: Relaxed: no thread uses the mapping any more, and whoever gets its address gets it after this.
        let _ = note.mapping.compare_exchange(gone, ptr::null_mut(), Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Marks locks that any threads have taken through the mapping, at these offsets, as those of threads that have died. The
/// caller sees to it that those threads are not inside of them.
pub(crate) fn abandon_in(mapping: &Mapping, offsets: Range<u64>) {
    let _one_at_a_time = ABANDONING.lock();
    lists().for_each(|held| held.abandon(|of, offset| ptr::eq(of, mapping) && offsets.contains(&offset)));
}

/// Frees a lock that this thread number of this process holds, for a thread that cannot any more.
fn mark_owner_died(mapping: &Mapping, offset: u64, thread: u64) {
    let Some(participant) = mapping.presence_at_once().and_then(Presence::participant) else { return };
    let holder = u64::from(participant.get()) << 32 | thread;
    const ASLEEP: u64 = (offset_of!(layout::Mutex, asleep) - offset_of!(layout::Mutex, word)) as u64;
    let Some(word) = Atomic::<u64>::find(mapping, offset, true) else { return };
    while let Ok(seen) = word.load()
        && seen & word::HOLDER == holder
    {
        // What cannot be written is gone.
        match word.compare_swap(seen, word::OWNER_DIED) {
            Ok(before) if before == seen => {
                let asleep = Atomic::<u32>::find(mapping, offset + ASLEEP, true);
                if let Some(address) = asleep.and_then(|asleep| asleep.meeting_place().ok()) {
                    let _ = futex::wake(address, i32::MAX);
                }
                return;
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// The fork handler, in the child, which has no locks. Async-signal-safe.
extern "C" fn forget_all() {
    let mine = Caller::known().map(Caller::number);
    for held in lists() {
        for note in &held.notes {
            // ORDER: Relaxed: there is no other thread. The child is another participant.
            note.is_set.store(false, Ordering::Relaxed);
            note.mapping.store(ptr::null_mut(), Ordering::Relaxed);
        }
        if mine.is_some_and(|ThreadNumber(number)| u64::from(number) & word::THREAD == held.thread()) {
            held.tell_kernel_numbers();
        } else {
            held.thread.store(0, Ordering::Relaxed);
            held.is_claimed.store(false, Ordering::Relaxed);
        }
    }
}

/// The word of a lock that is held by this participant's thread.
#[inline(always)]
pub(crate) fn holder(participant: NonZeroU32, held: &Held) -> u64 {
    u64::from(participant.get()) << 32 | held.thread()
}
