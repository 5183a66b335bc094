//! Reading and writing mapped memory: the guarded copies and fills, and what becomes of one that faulted.
//!
//! Decision: why an access faulted is found by asking the file afterwards, so that the good path pays nothing. By then
//! the bytes may be there again; the access then goes on from the byte it had reached.
//!
//! Decision: `read_at_once` and its like are the way of good calls: they answer yes or no, so that no error value, frame
//! or landing pad stands in it (6 ns in an 8-byte read). After a no the other function does it all again, and says why not.

use super::buffer::{Copying, Destination, Source};
use super::guard::{self, portable};
use super::hazard;
use super::lost::{Met, Tries};
use super::mapping::{Mapping, Protector};
use super::sigbus::{self, Fault};
use super::span::Span;
use super::{atomic::Ordering, pins};
use crate::error::{Error, Result};
use crate::sys::{Errno, file, map};

impl Mapping {
    /// `read`, if all is well with the bytes and this thread may touch them; otherwise false, and `read` finds out why.
    #[inline(always)]
    pub(crate) fn read_at_once(&self, span: Span, to: Destination, how: Copying) -> bool {
        self.done_at_once(|| self.read_plainly(span, to, how))
    }

    /// As `read_at_once`, for `write`.
    #[inline(always)]
    pub(crate) fn write_at_once(&self, span: Span, from: Source, how: Copying) -> bool {
        self.done_at_once(|| self.write_plainly(span, from, how))
    }

    /// As `read_at_once`, for `fill`.
    #[inline(always)]
    pub(crate) fn fill_at_once(&self, span: Span, byte: u8) -> bool {
        // SAFETY: the span lies in our pages.
        let fill = || unsafe { guard::fill(self.address(span).as_ptr(), byte, span.length()) };
        self.done_at_once(|| fill() == span.length())
    }

    /// `read`, unless it faults. The calling thread bears SIGBUS, and looks for lost pages itself.
    #[inline(always)]
    pub(super) fn read_plainly(&self, span: Span, to: Destination, how: Copying) -> bool {
        let from = self.address(span).as_ptr();
        // SAFETY: the span lies in our pages, and the caller's buffer is as long.
        unsafe { how.copies(to.address, from, to.length) }
    }

    /// As `read_plainly`, for `write`.
    #[inline(always)]
    pub(super) fn write_plainly(&self, span: Span, from: Source, how: Copying) -> bool {
        let to = self.address(span).as_ptr();
        // SAFETY: as in `read_plainly`, the other way round.
        unsafe { how.copies(to, from.address, from.length) }
    }

    #[inline(always)]
    fn done_at_once(&self, access: impl FnOnce() -> bool) -> bool {
        // The calling thread has entered at once, so that it bears SIGBUS.
        if self.protector() == Protector::SystemCalls || !access() || !self.lost.is_nothing() {
            hazard::seldom();
            return false;
        }
        true
    }

    /// Copies the span's bytes out; `to` is as long as the span.
    #[inline]
    pub(crate) fn read(&self, span: Span, to: Destination) -> Result<()> {
        let from = self.address(span).as_ptr();
        let direct = self.accesses_directly();
        run([Side::read(self, span)], Order::Any, |done| {
            // SAFETY: the span lies in our pages, and the caller's buffer is as long.
            unsafe { copy(direct, to.address.wrapping_add(done), from.wrapping_add(done), span.length() - done) }
        })
    }

    /// Copies bytes in; `from` is as long as the span, and the mapping writable.
    #[inline]
    pub(crate) fn write(&self, span: Span, from: Source) -> Result<()> {
        let to = self.address(span).as_ptr();
        let direct = self.accesses_directly();
        run([Side::written(self, span)], Order::Any, |done| {
            // SAFETY: as in `read`, the other way round.
            unsafe { copy(direct, to.wrapping_add(done), from.address.wrapping_add(done), span.length() - done) }
        })
    }

    /// Sets every byte of the span; the mapping is writable.
    pub(crate) fn fill(&self, span: Span, byte: u8) -> Result<()> {
        let to = self.address(span).as_ptr();
        let fill = if self.accesses_directly() { guard::fill } else { portable::fill };
        run([Side::written(self, span)], Order::Any, |done| {
            // SAFETY: the span lies in our pages.
            unsafe { fill(to.wrapping_add(done), byte, span.length() - done) }
        })
    }

    /// Copies the span's bytes over another of the same length, in this mapping or another that is writable, as
    /// memmove does: also when both are the same bytes of one file.
    pub(crate) fn copy_to(&self, span: Span, to_mapping: &Mapping, to_span: Span) -> Result<()> {
        let length = span.length();
        let (from, to) = (self.address(span).as_ptr(), to_mapping.address(to_span).as_ptr());
        // Two mappings of one file overlap in the file, whatever their addresses.
        let (from_position, to_position) = (self.file_position(span), to_mapping.file_position(to_span));
        let overlap = self.identity() == to_mapping.identity() && from_position.abs_diff(to_position) < length as u64;
        let order = match overlap {
            false => Order::Any,
            true if from_position < to_position => Order::LastFirst,
            true => Order::FirstFirst,
        };
        let direct = self.accesses_directly() && to_mapping.accesses_directly();
        let copy = match order {
            Order::Any if direct => guard::copy,
            Order::Any => portable::copy,
            Order::FirstFirst if direct => guard::copy_forward,
            Order::FirstFirst => portable::copy_forward,
            Order::LastFirst if direct => guard::copy_backward,
            Order::LastFirst => portable::copy_backward,
        };
        run([Side::read(self, span), Side::written(to_mapping, to_span)], order, |done| {
            let skip = if order == Order::LastFirst { 0 } else { done };
            // SAFETY: both spans lie in their mappings' pages.
            unsafe { copy(to.wrapping_add(skip), from.wrapping_add(skip), length - done) }
        })
    }

    #[cold]
    pub(super) fn lost_error(&self, span: Span) -> Error {
        Error::LostPages { errno: self.lost.errno(), length: span.length() as u64 }
    }

    /// Why a page of the span that stands as zeros was lost: a positive error number, or 0.
    pub(super) fn lost_errno(&self, span: Span) -> i32 {
        if self.lost.met(span, self.lost.epoch()) == Met::Zeros { self.lost.errno() } else { 0 }
    }

    /// Whether none of the span's pages stands as zeros for one that was lost.
    #[cold]
    pub(super) fn check(&self, span: Span) -> Result<()> {
        if self.lost_errno(span) == 0 { Ok(()) } else { Err(self.lost_error(span)) }
    }

    /// Brings the span's changed pages to the file's storage and waits for it, or only starts that.
    pub(crate) fn flush(&self, span: Span, wait: bool) -> Result<()> {
        loop {
            let began = self.lost.epoch();
            let result = match wait {
                _ if span.length() == 0 => Ok(()),
                true => self.synchronize(span),
                false => file::start_writing(self.file(), self.file_position(span), span.length() as u64),
            };
            result.map_err(|errno| Error::system("msync", "the region", errno))?;
            match self.lost.met(span, began) {
                Met::Pages => return Ok(()),
                Met::Zeros => return Err(self.lost_error(span)),
                Met::Either => {}
            }
        }
    }

    /// Whether this thread may touch the pages itself. If not, a system call will, and tells of no address: none of an
    /// access before may be taken for its.
    #[inline]
    pub(super) fn accesses_directly(&self) -> bool {
        let directly = match self.protector() {
            Protector::Seal => true,
            Protector::Handler => !hazard::blocks_sigbus(),
            Protector::SystemCalls => false,
        };
        if !directly {
            let _ = sigbus::take_last_fault();
        }
        directly
    }

    fn file_position(&self, span: Span) -> u64 {
        self.file_offset() + span.start() as u64
    }

    /// Why the page of the byte at `offset` cannot be read, or written; None when it is worth to try again, as has been
    /// done so often since it last could.
    fn cause(&self, offset: usize, is_written: bool, tries: Tries) -> Option<Errno> {
        let position = self.file_offset() + (offset - offset % self.page_size()) as u64;
        match file::status(self.file()) {
            Err(_) => return Some(Errno::EIO),
            Ok(status) if !self.is_of(&status) => return Some(Errno::EIO),
            Ok(status) if status.size <= position => return Some(Errno::ENXIO),
            // The file has the bytes, perhaps again.
            Ok(_) if tries.times == 0 => return None,
            Ok(_) if tries.are_enough() => return Some(Errno::EIO),
            Ok(_) => {}
        }
        let room = match is_written {
            true => file::allocate_inside(self.file(), position, self.page_size() as u64),
            false => Err(Errno::EBADF), // what is only read gets no storage
        };
        match room {
            Ok(()) => None,
            Err(Errno::ENOSPC | Errno::EDQUOT) => Some(Errno::ENOSPC),
            // Nor can a descriptor that cannot write ask for it.
            Err(_) if file::is_on_full_file_system(self.file()) => Some(Errno::ENOSPC),
            Err(_) => None,
        }
    }

    fn fault(&self, errno: Errno, offset: usize, done: usize, length: usize) -> Error {
        self.count_fault();
        let file_length = file::status(self.file()).map_or(0, |status| status.size);
        let (offset, done, length) = (offset as u64, done as u64, length as u64);
        Error::Fault { file_length, errno: errno.0, offset, done, length }
    }

    fn count_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed); // ORDER: Relaxed, a count for people
    }

    /// Puts a page of zeros where a view has lost one, or has the access repeated; false when neither can be done.
    /// Async-signal-safe.
    pub(super) fn stand_in(&self, fault: Fault) -> bool {
        let offset = fault.address - self.start();
        let errno = if fault.is_memory_error {
            Errno::EIO
        } else {
            match self.cause(offset, true, self.lost.tries(offset)) {
                Some(errno) => errno,
                None => return true,
            }
        };
        let page = offset - offset % self.page_size();
        let address = self.page_address(page);
        let start = address.addr().get();
        self.count_fault();
        self.lost.stand_in(page, errno.0, || {
            // After the page is noted as lost, so that no view comes unseen, and before anybody can see the zeros.
            pins::note_lost(start..start + self.page_size(), errno.0);
            // SAFETY: a page of this mapping that the file does not have; nobody holds references into mapped memory.
            unsafe { map::map_zeros_over(address, self.page_size()) }.is_ok()
        })
    }
}

/// Copies bytes that do not overlap; how many were done.
///
/// # Safety
/// As `guard::copy`.
#[inline]
unsafe fn copy(direct: bool, to: *mut u8, from: *const u8, length: usize) -> usize {
    if direct {
        // SAFETY: the caller's promise.
        unsafe { guard::copy(to, from, length) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { portable::copy(to, from, length) }
    }
}

/// In which order bytes have to be accessed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// It does not matter.
    Any,
    /// The source overlaps the destination from behind.
    FirstFirst,
    /// The source overlaps the destination from in front.
    LastFirst,
}

/// One of the mapped ranges of an access.
pub(super) struct Side<'a> {
    mapping: &'a Mapping,
    span: Span,
    is_written: bool,
}

impl Side<'_> {
    pub(super) fn read(mapping: &Mapping, span: Span) -> Side<'_> {
        Side { mapping, span, is_written: false }
    }

    pub(super) fn written(mapping: &Mapping, span: Span) -> Side<'_> {
        Side { mapping, span, is_written: true }
    }
}

/// Makes an access, told how many bytes were done before and telling how many more it did, and sees that it touched no
/// stand-in page.
#[inline]
fn run<const N: usize>(sides: [Side; N], order: Order, mut access: impl FnMut(usize) -> usize) -> Result<()> {
    loop {
        let began = sides.each_ref().map(|side| side.mapping.lost.epoch());
        let done = access(0);
        if done < sides[0].span.length() {
            finish(&sides, order, done, &mut access)?;
        }
        let mut is_sure = true;
        for (side, began) in sides.iter().zip(began) {
            match side.mapping.lost.met(side.span, began) {
                Met::Pages => {}
                // What has been moved over itself cannot be moved again.
                Met::Either if order == Order::Any => is_sure = false,
                Met::Zeros | Met::Either => return Err(side.mapping.lost_error(side.span)),
            }
        }
        if is_sure {
            return Ok(());
        }
    }
}

/// Goes on with an access that faulted after `done` bytes, or tells why it cannot.
#[cold]
pub(super) fn finish(
    sides: &[Side],
    order: Order,
    mut done: usize,
    access: &mut dyn FnMut(usize) -> usize,
) -> Result<()> {
    let length = sides[0].span.length();
    let mut tries = Tries::none();
    while done < length {
        let at = if order == Order::LastFirst { length - done - 1 } else { done };
        let fault = sigbus::take_last_fault();
        for Side { mapping, span, is_written } in sides {
            let offset = span.start() + at;
            // A system call does not tell which side it was.
            if fault.is_some_and(|fault| !mapping.page_holds(offset, fault.address)) {
                continue;
            }
            let is_memory_error = fault.is_some_and(|fault| fault.is_memory_error);
            let errno = if is_memory_error { Some(Errno::EIO) } else { mapping.cause(offset, *is_written, tries) };
            if let Some(errno) = errno {
                return Err(mapping.fault(errno, offset, done, length));
            }
        }
        if tries.are_enough() {
            // The page that was missing is none of these any more, and yet it is.
            let Side { mapping, span, .. } = &sides[0];
            return Err(mapping.fault(Errno::EIO, span.start() + at, done, length));
        }
        let more = access(done);
        tries = if more > 0 { Tries::none() } else { tries.again() };
        done += more;
    }
    Ok(())
}
