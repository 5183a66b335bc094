//! Bytes of an object that a thread accesses with nothing looked at but their bounds and their alignment.
//!
//! Decision: two numbers, so that a whole call on an object keeps them in registers. What else is to be known of the bytes is
//! asked once, before and after: whether the thread bears their faults, and whether pages of theirs were lost.

use super::buffer::{Copying, Destination, LONG, Source};
use super::guard::{self, Word};
use super::hazard;
use super::layout::queue::{COMMITTED, WORD, record_bytes};
use super::moment;
use super::span::Span;
use super::word::Words;
use std::marker::PhantomData;

/// A line of the caches, and how many bytes are asked for at once: messages of 64 KiB are slower where all of it is.
const LINE: u64 = 64;
const ASKED_FOR: u64 = 8 << 10;

/// The bytes. Each access answers yes or no; after a no nothing has changed.
#[derive(Clone, Copy)]
pub(crate) struct Direct<'a> {
    address: *mut u8,
    length: u64,
    /// `length`, or 0 where nothing may be written.
    writable: u64,
    mapping: PhantomData<&'a ()>,
}

impl<'a> Direct<'a> {
    /// The calling thread bears SIGBUS, or the bytes cannot fault, as long as it uses this.
    #[inline(always)]
    pub(super) fn new(address: *mut u8, length: u64, is_writable: bool) -> Direct<'a> {
        Direct { address, length, writable: if is_writable { length } else { 0 }, mapping: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn length(self) -> u64 {
        self.length
    }

    #[inline(always)]
    pub(crate) fn is_writable(self) -> bool {
        self.writable == self.length
    }

    /// These bytes if they may be written, otherwise none.
    #[inline(always)]
    pub(crate) fn writable(self) -> Direct<'a> {
        Direct { length: self.writable, ..self }
    }

    /// The address of `length` bytes at `at`, if they lie within the first `limit`.
    #[inline(always)]
    fn find(self, at: u64, length: u64, limit: u64) -> Option<*mut u8> {
        Span::find(at, length, limit).map(|span| self.address.wrapping_add(span.start()))
    }

    #[inline(always)]
    fn word<W: Word>(self, at: u64, limit: u64) -> Option<*mut W> {
        let address = self.find(at, size_of::<W>() as u64, limit)?;
        // Objects are aligned.
        at.is_multiple_of(size_of::<W>() as u64).then(|| address.cast())
    }

    #[inline(always)]
    pub(crate) fn load<W: Word>(self, at: u64) -> Option<W> {
        let at = self.word(at, self.length)?;
        // SAFETY: inside the object, aligned, and the thread bears a fault; only guarded accesses happen there.
        unsafe { W::load(at) }.ok()
    }

    /// Whether `expected` stands there.
    #[inline(always)]
    pub(crate) fn is<W: Word>(self, at: u64, expected: W) -> bool {
        // SAFETY: as in `load`.
        self.word(at, self.length).is_some_and(|at| unsafe { W::is(at, expected) })
    }

    /// Whether zero stands there.
    #[inline(always)]
    pub(crate) fn is_zero<W: Word>(self, at: u64) -> bool {
        // SAFETY: as in `load`.
        self.word(at, self.length).is_some_and(|at| unsafe { W::is_zero(at) })
    }

    /// Puts a value there, released only.
    #[inline(always)]
    pub(crate) fn put<W: Word>(self, at: u64, value: W) -> bool {
        // SAFETY: as in `load`, and writable.
        self.word(at, self.writable).is_some_and(|at| unsafe { W::put(at, value) })
    }

    /// Puts a value there, sequentially consistent.
    #[inline(always)]
    pub(crate) fn store<W: Word>(self, at: u64, value: W) -> bool {
        // SAFETY: as in `load`, and writable.
        self.word(at, self.writable).is_some_and(|at| unsafe { W::store(at, value) }.is_ok())
    }

    /// Puts a value there, released only, and adds to the next word, which nobody else writes.
    #[inline(always)]
    pub(crate) fn put_and_bump<W: Word>(self, at: u64, value: W, by: W) -> bool {
        let Some(both) = self.find(at, 2 * size_of::<W>() as u64, self.writable) else { return false };
        // SAFETY: as in `load`, and writable; so is the next one.
        at.is_multiple_of(size_of::<W>() as u64) && unsafe { W::put_and_bump(both.cast(), value, by) }
    }

    /// Puts `desired` where `expected` stands; what stood there.
    #[inline(always)]
    pub(crate) fn compare_swap<W: Word>(self, at: u64, expected: W, desired: W) -> Option<W> {
        let at = self.word(at, self.writable)?;
        // SAFETY: as in `load`, and writable.
        unsafe { W::compare_swap(at, expected, desired) }.ok()
    }

    #[inline(always)]
    pub(crate) fn copy_in(self, at: u64, from: Source, how: Copying) -> bool {
        let to = self.find(at, from.length() as u64, self.writable);
        // SAFETY: as in `load`, and writable; the caller's buffer is as long.
        to.is_some_and(|to| unsafe { how.copies(to, from.address, from.length) })
    }

    /// Puts a queue's record there: zeros in the word behind it, its bytes and, released, its own word.
    #[inline(always)]
    pub(crate) fn put_record(self, at: u64, word: u64, bytes: Source, how: Copying) -> bool {
        // Room for the longest record of such a message, so that no sum overflows.
        let room = self.writable.checked_sub(3 * WORD).and_then(|room| room.checked_sub(at));
        if room.is_none_or(|room| bytes.length as u64 > room) || !at.is_multiple_of(WORD) {
            hazard::seldom();
            return false;
        }
        let record = record_bytes(bytes.length as u64);
        let start = self.address.wrapping_add(at as usize);
        let behind = start.wrapping_add(record as usize).cast::<u64>();
        // SAFETY: as in `load`, and writable: all of it is there, and records are as aligned as words.
        let is_clear = unsafe { u64::put(behind, 0) };
        let message = start.wrapping_add(WORD as usize);
        if is_long(bytes.length as u64) {
            self.expect_write(at + WORD, bytes.length as u64);
        }
        // SAFETY: as above; the caller's buffer is as long.
        let is_copied = is_clear && unsafe { how.copies(message, bytes.address, bytes.length) };
        // SAFETY: as above.
        is_copied && unsafe { u64::put(start.cast(), word) }
    }

    /// The word there, or 0 where it cannot be had; where it is 0, it is waited for, see `look`.
    #[inline(always)]
    pub(crate) fn await_u64(self, at: u64, looks: u32, moments: impl FnOnce() -> u64) -> u64 {
        let Some(at) = self.word(at, self.length) else { return 0 };
        // SAFETY: as in `load`.
        match unsafe { u64::load_or_zero(at) } {
            // SAFETY: as above.
            0 => unsafe { look(at, looks, moments) },
            word => word,
        }
    }

    /// Copies the message out whose record stands there, if it has at most `most` bytes and the buffer has room for it: its
    /// length, and whether it stood there at once, after which it is waited for, see `look`; or else the word that stands there.
    #[inline(always)]
    pub(crate) fn take_record(
        self,
        at: u64,
        most: u64,
        to: Destination,
        how: Copying,
        looks: u32,
        moments: impl FnOnce() -> u64,
    ) -> Option<Result<(u64, bool), u64>> {
        // Room for a message behind a word.
        let room = self.length.checked_sub(WORD).and_then(|room| room.checked_sub(at));
        let Some(room) = room.filter(|_| at.is_multiple_of(WORD)) else {
            hazard::seldom();
            return None;
        };
        let start = self.address.wrapping_add(at as usize);
        // SAFETY: as in `load`: a word is there, and records are as aligned as words.
        let at_once = unsafe { u64::load_or_zero(start.cast()) };
        // SAFETY: as above.
        let word = if at_once != 0 { at_once } else { unsafe { look(start.cast(), looks, moments) } };
        let length = word ^ COMMITTED;
        if length > most.min(to.length as u64) {
            return Some(Err(word));
        }
        if length > room {
            hazard::seldom();
            return None;
        }
        if is_long(length) {
            self.expect_read(at + WORD, length);
        }
        // SAFETY: as in `load`: so many bytes are there, behind the word; the caller's buffer has as many at least.
        let is_copied = unsafe { how.copies(to.address, start.wrapping_add(WORD as usize), length as usize) };
        is_copied.then_some(Ok((length, at_once != 0)))
    }

    /// So many bytes at `at` are about to be written: see `guard::expect_write`.
    #[inline(always)]
    pub(crate) fn expect_write(self, at: u64, length: u64) {
        lines(at, length).for_each(|at| guard::expect_write(self.address.wrapping_add(at as usize)));
    }

    /// So many bytes at `at` will be read next: see `guard::expect_read`.
    #[inline(always)]
    pub(crate) fn expect_read(self, at: u64, length: u64) {
        lines(at, length).for_each(|at| guard::expect_read(self.address.wrapping_add(at as usize)));
    }

    #[inline(always)]
    pub(crate) fn copy_out(self, at: u64, to: Destination, how: Copying) -> bool {
        let from = self.find(at, to.length() as u64, self.length);
        // SAFETY: as in `load`; the caller's buffer is as long.
        from.is_some_and(|from| unsafe { how.copies(to.address, from, to.length) })
    }
}

/// Whether a message is long, in the words of those who copy short ones, so that it costs these nothing.
#[inline(always)]
fn is_long(length: u64) -> bool {
    if length <= LINE {
        return false;
    }
    hazard::seldom();
    length >= LONG
}

/// One place in each line, as many as are asked for at once.
#[inline(always)]
fn lines(at: u64, length: u64) -> impl Iterator<Item = u64> {
    (0..length.min(ASKED_FOR).div_ceil(LINE)).map(move |line| at.wrapping_add(line * LINE))
}

/// The word there as soon as it is not 0, or 0 after so many looks: the first after as many moments as are told, the next ones
/// as soon as a pause lets them. It takes an address, so that the bytes stay in registers where it is not called.
///
/// # Safety
/// As `Word::load`.
#[cold]
#[inline(never)]
unsafe fn look(at: *const u64, looks: u32, moments: impl FnOnce() -> u64) -> u64 {
    let rest = if looks > 0 { moments() } else { 0 };
    moment::pass(rest.saturating_sub(1));
    for _ in 0..looks {
        std::hint::spin_loop();
        // SAFETY: the caller's promise.
        let word = unsafe { u64::load_or_zero(at) };
        if word != 0 {
            return word;
        }
    }
    0
}

impl<'a> Words<'a> {
    /// These bytes, for a thread that bears their faults, or where there are none.
    #[inline(always)]
    pub(crate) fn direct(&self) -> Direct<'a> {
        Direct::new(self.address(), self.length(), self.is_writable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null;

    const ROOM: usize = 128;
    /// Before the room and behind it.
    const MARGIN: usize = 64;
    const UNTOUCHED: u8 = 0xEE;

    /// The bytes around after `act` had the room, and what it returned.
    fn with_room<R>(act: impl FnOnce(Direct) -> R) -> (Vec<u8>, R) {
        let mut words = [u64::from_ne_bytes([UNTOUCHED; 8]); (ROOM + 2 * MARGIN) / 8];
        let address = words.as_mut_ptr().cast::<u8>().wrapping_add(MARGIN);
        let result = act(Direct::new(address, ROOM as u64, true));
        (words.iter().flat_map(|word| word.to_ne_bytes()).collect(), result)
    }

    /// Whatever stands there, looked at once.
    fn take(direct: Direct, at: u64, buffer: &mut [u8]) -> Option<Result<(u64, bool), u64>> {
        direct.take_record(at, u64::MAX, buffer.into(), Copying::Any, 0, || unreachable!())
    }

    #[test]
    fn a_record_is_put_inside_the_bytes_or_not_at_all() {
        let message = [1; ROOM + 16];
        for (at, length) in (0..ROOM + 32).flat_map(|at| (0..message.len()).map(move |length| (at, length))) {
            let source = Source::from(&message[..length]);
            let (bytes, is_put) = with_room(|direct| direct.put_record(at as u64, 7, source, Copying::Any));
            let touched: Vec<usize> = (0..bytes.len()).filter(|byte| bytes[*byte] != UNTOUCHED).collect();
            let end = at + record_bytes(length as u64) as usize + WORD as usize;
            if is_put {
                assert!(at.is_multiple_of(8) && end <= ROOM, "{length} bytes at {at}");
                assert!(
                    touched.iter().all(|byte| (MARGIN + at..MARGIN + end).contains(byte)),
                    "{length} bytes at {at}"
                );
            } else {
                assert!(touched.is_empty() && (at % 8 != 0 || end + 7 > ROOM), "{length} bytes at {at}");
            }
        }
    }

    #[test]
    fn numbers_that_overflow_are_refused() {
        for at in [u64::MAX, u64::MAX - 7, u64::MAX - 511, 1 << 63, 0] {
            // SAFETY: nothing is read of what is refused.
            let endless = unsafe { Source::from_raw(null(), usize::MAX - 3) };
            assert!(!with_room(|direct| direct.put_record(at, 7, endless, Copying::Any)).1);
            let mut buffer = [0; 8];
            let taken = with_room(|direct| take(direct, at, &mut buffer)).1;
            assert!(taken.is_none() || at == 0 && taken == Some(Err(u64::from_ne_bytes([UNTOUCHED; 8]))));
        }
    }

    #[test]
    fn a_record_is_waited_for_as_long_as_there_are_looks() {
        let mut buffer = [0; 8];
        for looks in 0..3 {
            let (_, taken) = with_room(|direct| {
                direct.put(16, 0_u64);
                let comes = || {
                    direct.put(16, COMMITTED | 8);
                    3
                };
                direct.take_record(16, u64::MAX, (&mut buffer[..]).into(), Copying::Any, looks, comes)
            });
            assert_eq!(taken, Some(if looks == 0 { Err(0) } else { Ok((8, false)) }), "{looks} looks");
        }
    }

    #[test]
    fn a_record_is_taken_from_inside_the_bytes_or_not_at_all() {
        let mut buffer = [0; 2 * ROOM];
        for (at, length) in (0..ROOM as u64 + 32).flat_map(|at| (0..2 * ROOM as u64).map(move |length| (at, length))) {
            let (_, taken) = with_room(|direct| {
                direct.put(at, COMMITTED | length);
                take(direct, at, &mut buffer)
            });
            let is_inside = at.is_multiple_of(8) && at + WORD + length <= ROOM as u64;
            assert_eq!(taken == Some(Ok((length, true))), is_inside, "{length} bytes at {at}");
        }
    }
}
