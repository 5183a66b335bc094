//! A lock that is taken or freed by who gives up when anything is in the way: `Mutex::lock` and `unlock` then do it all, or
//! say why not. And what is left to do about one that was.

use super::Mutex;
use crate::error::Result;
use crate::mem::fence;
use crate::mem::hazard::Caller;
use crate::mem::held::{self, Held, Key, Note};
use crate::mem::layout::{self, MUTEX_HEAD};
use crate::mem::mapping::Mapping;
use crate::mem::word::Words;
use std::mem::offset_of;

/// What an attempt has come to that gives up when anything is in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtOnce {
    /// It is done.
    Done,
    /// Nothing has happened.
    Hindered,
    /// It is done, unless the lock's page is one of those that were lost meanwhile, and somebody may have to be woken:
    /// `check_taken` or `check_freed` is to be called.
    Doubtful,
}

/// A lock that this thread has, and its note of that.
pub(crate) struct Taken<'a> {
    mutex: Mutex<'a>,
    held: &'static Held,
    note: &'static Note,
}

impl<'a> Mutex<'a> {
    /// `at` and `lock`, if nothing at all is in their way.
    #[inline(always)]
    pub(crate) fn lock_at_once(words: Words<'a>, caller: Caller) -> AtOnce {
        let Some(_taken) = Taken::take(words, caller) else { return AtOnce::Hindered };
        if words.stand() { AtOnce::Done } else { AtOnce::Doubtful }
    }

    /// `unlock` of the lock at `offset` of the mapping, if nothing at all is in its way. That it is aligned, and that the
    /// mapping has it and may be accessed, was found when it was taken.
    #[inline(always)]
    pub(crate) fn unlock_at_once(mapping: &'a Mapping, offset: u64, is_writable: bool, caller: Caller) -> AtOnce {
        let Some(taken) = Taken::find(mapping, offset, is_writable, caller) else { return AtOnce::Hindered };
        let stands = taken.mutex.words;
        match taken.free() {
            AtOnce::Done if !stands.stand() => AtOnce::Doubtful,
            freed => freed,
        }
    }
}

impl<'a> Taken<'a> {
    /// Takes the lock, if nothing at all is in the way. Whether its page was lost meanwhile is left to be asked.
    #[inline(always)]
    pub(crate) fn take(words: Words<'a>, caller: Caller) -> Option<Taken<'a>> {
        let mutex = Mutex { words };
        let held = held::at_once(caller).filter(|_| words.is_writable())?;
        let note = held.note_at_once(words, mutex.offset())?;
        if !mutex.head().is_plainly(MUTEX_HEAD) || !mutex.word().replaces_plainly(0, note.own()) {
            held.strike(note);
            return None;
        }
        mutex.holder().puts_plainly(held.kernel_numbers());
        Some(Taken { mutex, held, note })
    }

    /// The lock at `offset` of the mapping, if this thread has noted it among the first.
    #[inline(always)]
    fn find(mapping: &'a Mapping, offset: u64, is_writable: bool, caller: Caller) -> Option<Taken<'a>> {
        let word_at = offset_of!(layout::Mutex, word) as u64;
        let held = held::at_once(caller)?;
        let note = held.find_at_once(mapping, offset.wrapping_add(word_at))?;
        let words = note.words(mapping, word_at, Mutex::SIZE, is_writable);
        Some(Taken { mutex: Mutex { words }, held, note })
    }

    /// Frees the lock, if nothing at all is in the way. It is doubtful when somebody has to be woken; whether its page was
    /// lost meanwhile is left to be asked.
    #[inline(always)]
    pub(crate) fn free(self) -> AtOnce {
        let Taken { mutex, held, note } = self;
        let is_simple = mutex.word().is_plainly(note.own()) && mutex.asleep().is_plainly(0);
        if !is_simple || !mutex.word().puts_plainly(0) {
            return AtOnce::Hindered;
        }
        held.strike(note);
        // ORDER: light, partner `lock_word::Contender::heavy_fence`, between the store and the look for sleepers.
        fence::free_light();
        if mutex.asleep().is_plainly(0) { AtOnce::Done } else { AtOnce::Doubtful }
    }
}

/// What became of a lock that was taken while some page of the region was lost.
///
/// # Errors
/// ENXIO, ENOSPC, EIO: its page; this thread does not have it.
#[cold]
pub(crate) fn check_taken(words: Words) -> Result<()> {
    words.check(0, words.length()).inspect_err(|_| {
        if let Ok((held, key, _)) = (Mutex { words }).known() {
            held.forget(key);
        }
    })
}

/// The same for one that was freed; also wakes who has gone to sleep meanwhile.
///
/// # Errors
/// ENXIO, ENOSPC, EIO: its page; this thread has it no more.
#[cold]
pub(crate) fn check_freed(words: Words) -> Result<()> {
    let mutex = Mutex { words };
    if mutex.asleep().load().is_ok_and(|asleep| asleep != 0) {
        mutex.wake(false);
    }
    words.check(0, words.length())
}

/// The calling thread has the lock at that offset of the mapping no more, whose bytes are gone.
pub(crate) fn let_go(mapping: &Mapping, offset: u64) {
    let word = offset.saturating_add(offset_of!(layout::Mutex, word) as u64);
    if let (Some((key, _)), Some(held)) = (Key::of(mapping, word), held::mine()) {
        held.forget(key);
    }
}
