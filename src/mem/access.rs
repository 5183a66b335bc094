//! Reading and writing mapped memory: the guarded copies and fills, and what becomes of one that faulted.
//!
//! Decision: why an access faulted is found by asking the file afterwards, so that the good path pays nothing. By then
//! the bytes may be there again; the access then goes on from the byte it had reached.

use super::buffer::{Destination, Source};
use super::guard::{self, portable};
use super::hazard;
use super::lost::Epoch;
use super::mapping::{Mapping, Protector};
use super::sigbus::{self, Fault};
use super::span::Span;
use super::{atomic::Ordering, pins};
use crate::error::{Error, Result};
use crate::sys::{Errno, file, map};

/// How often an access that faults at the same page is repeated though the file says that it is there: so often that a
/// file that is cut and extended in a tight loop is not taken for a failing device.
const TRIES: u64 = 64;

impl Mapping {
    /// Copies the span's bytes out; `to` is as long as the span.
    #[inline]
    pub(crate) fn read(&self, span: Span, to: Destination) -> Result<()> {
        let from = self.address(span).as_ptr();
        let direct = self.accesses_directly();
        run([Side::read(self, span)], false, |done| {
            // SAFETY: the span lies in our pages, and the caller's buffer is as long.
            unsafe { copy(direct, to.address.wrapping_add(done), from.wrapping_add(done), span.length() - done) }
        })
    }

    /// Copies bytes in; `from` is as long as the span, and the mapping writable.
    #[inline]
    pub(crate) fn write(&self, span: Span, from: Source) -> Result<()> {
        let to = self.address(span).as_ptr();
        let direct = self.accesses_directly();
        run([Side::written(self, span)], false, |done| {
            // SAFETY: as in `read`, the other way round.
            unsafe { copy(direct, to.wrapping_add(done), from.address.wrapping_add(done), span.length() - done) }
        })
    }

    /// Sets every byte of the span; the mapping is writable.
    pub(crate) fn fill(&self, span: Span, byte: u8) -> Result<()> {
        let to = self.address(span).as_ptr();
        let fill = if self.accesses_directly() { guard::fill } else { portable::fill };
        run([Side::written(self, span)], false, |done| {
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
        let apart = self.identity() != to_mapping.identity()
            || self.file_position(span).abs_diff(to_mapping.file_position(to_span)) >= length as u64;
        let backward = !apart && self.file_position(span) < to_mapping.file_position(to_span);
        let direct = self.accesses_directly() && to_mapping.accesses_directly();
        let copy = match (apart, backward) {
            (true, _) if direct => guard::copy,
            (true, _) => portable::copy,
            (false, false) if direct => guard::copy_forward,
            (false, false) => portable::copy_forward,
            (false, true) if direct => guard::copy_backward,
            (false, true) => portable::copy_backward,
        };
        run([Side::read(self, span), Side::written(to_mapping, to_span)], backward, |done| {
            // A copy from the end has done the last bytes.
            let skip = if backward { 0 } else { done };
            // SAFETY: both spans lie in their mappings' pages.
            unsafe { copy(to.wrapping_add(skip), from.wrapping_add(skip), length - done) }
        })
    }

    /// ENXIO, ENOSPC or EIO when a view has lost a page of the span, and zeros stand there, or stood there since `began`.
    #[inline]
    fn check_lost(&self, span: Span, began: Epoch) -> Result<()> {
        if self.lost.overlaps(span, began) { Err(self.lost_error(span)) } else { Ok(()) }
    }

    #[cold]
    fn lost_error(&self, span: Span) -> Error {
        Error::LostPages { errno: self.lost.errno(), length: span.length() as u64 }
    }

    /// Why a page of the span that stands as zeros was lost: a positive error number, or 0.
    pub(super) fn lost_errno(&self, span: Span) -> i32 {
        if self.lost.overlaps(span, self.lost.epoch()) { self.lost.errno() } else { 0 }
    }

    /// Brings the span's changed pages to the file's storage and waits for it, or only starts that.
    pub(crate) fn flush(&self, span: Span, wait: bool) -> Result<()> {
        let began = self.lost.epoch();
        let result = match wait {
            _ if span.length() == 0 => Ok(()),
            true => self.synchronize(span),
            false => file::start_writing(self.file(), self.file_position(span), span.length() as u64),
        };
        result.map_err(|errno| Error::system("msync", "the region", errno))?;
        self.check_lost(span, began)
    }

    /// Whether this thread may touch the pages itself.
    #[inline]
    fn accesses_directly(&self) -> bool {
        match self.protector() {
            Protector::Seal => true,
            Protector::Handler => !hazard::blocks_sigbus(),
            Protector::SystemCalls => false,
        }
    }

    fn file_position(&self, span: Span) -> u64 {
        self.file_offset() + span.start() as u64
    }

    /// Why the page of the byte at `offset` cannot be read, or written; None when it is worth to try again, as has been
    /// done `tries` times since it last could.
    fn cause(&self, offset: usize, is_written: bool, tries: u64) -> Option<Errno> {
        let page = (offset - offset % self.page_size()) as u64;
        let position = self.file_offset() + page;
        match file::status(self.file()) {
            Err(_) => return Some(Errno::EIO),
            Ok(status) if status.size <= position => return Some(Errno::ENXIO),
            // The file has the bytes, perhaps again.
            Ok(_) if tries == 0 => return None,
            Ok(_) if tries >= TRIES => return Some(Errno::EIO),
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
        pins::note_lost(start..start + self.page_size(), errno.0);
        self.count_fault();
        // SAFETY: a page of this mapping that the file does not have; nobody holds references into mapped memory.
        let put_zeros = || unsafe { map::map_zeros_over(address, self.page_size()) }.is_ok();
        self.lost.stand_in(page, errno.0, put_zeros)
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

/// One of the mapped ranges of an access.
struct Side<'a> {
    mapping: &'a Mapping,
    span: Span,
    is_written: bool,
}

impl Side<'_> {
    fn read(mapping: &Mapping, span: Span) -> Side<'_> {
        Side { mapping, span, is_written: false }
    }

    fn written(mapping: &Mapping, span: Span) -> Side<'_> {
        Side { mapping, span, is_written: true }
    }
}

/// Makes an access, told how many bytes were done before and telling how many more it did, and sees that it touched no
/// stand-in page.
#[inline]
fn run<const N: usize>(sides: [Side; N], backward: bool, mut access: impl FnMut(usize) -> usize) -> Result<()> {
    let began = sides.each_ref().map(|side| side.mapping.lost.epoch());
    let done = access(0);
    if done < sides[0].span.length() {
        finish(&sides, backward, done, &mut access)?;
    }
    sides.iter().zip(began).try_for_each(|(side, began)| side.mapping.check_lost(side.span, began))
}

/// Goes on with an access that faulted after `done` bytes, or tells why it cannot.
#[cold]
fn finish(sides: &[Side], backward: bool, mut done: usize, access: &mut dyn FnMut(usize) -> usize) -> Result<()> {
    let length = sides[0].span.length();
    let mut tries = 0;
    while done < length {
        let at = if backward { length - done - 1 } else { done };
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
                mapping.count_fault();
                let (offset, done, length) = (offset as u64, done as u64, length as u64);
                return Err(Error::Fault { errno: errno.0, offset, done, length });
            }
        }
        if tries > TRIES {
            // The page that was missing is none of these any more, and yet it is.
            return Err(Error::Fault {
                errno: Errno::EIO.0,
                offset: at as u64,
                done: done as u64,
                length: length as u64,
            });
        }
        let more = access(done);
        tries = if more > 0 { 0 } else { tries + 1 };
        done += more;
    }
    Ok(())
}
