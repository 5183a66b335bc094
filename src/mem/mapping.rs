//! Pages of a file, owned: mapped once, unmapped on drop.
//!
//! Decision: the file is mapped over the whole reserve at once, past its end too, so that growing is one store of
//! the length and nothing moves. Pages past the file's end fault when touched; the length keeps accesses away.
//! hugetlbfs is the exception, where mapping extends the file: there the rest of the reserve is kept inaccessible
//! and mapped as the region grows.

mod resident;

use super::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use super::guard;
use super::hazard;
use super::held;
use super::lost::Lost;
use super::paging::Paging;
use super::pins;
use super::presence::Presence;
use super::span::Span;
use crate::error::Result;
use crate::sys::map::{self, Advice, Protection, Sharing};
use crate::sys::{Errno, file};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// What to map.
pub(crate) struct Request {
    pub(crate) file: OwnedFd,
    /// Its device and inode.
    pub(crate) identity: (u64, u64),
    /// First byte in the file; a multiple of `page_size`.
    pub(crate) offset: u64,
    /// Bytes that may be accessed at first.
    pub(crate) length: u64,
    /// Bytes of address space; at least `length`.
    pub(crate) reserve: u64,
    pub(crate) protection: Protection,
    pub(crate) sharing: Sharing,
    pub(crate) protector: Protector,
}

/// What keeps accesses to a mapping from ending in a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protector {
    /// A seal: the file cannot shrink, and memory files do not fail.
    Seal,
    /// The SIGBUS handler.
    Handler,
    /// The kernel, which is asked to do every access; for hosts that own SIGBUS.
    SystemCalls,
}

/// Pages of a file.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    /// Bytes of address space that are ours, in whole pages.
    capacity: usize,
    paging: Paging,
    /// Bytes that may be accessed now; at most `capacity`.
    length: AtomicU64,
    file: ManuallyDrop<OwnedFd>,
    /// Device and inode: which file it is.
    identity: (u64, u64),
    offset: u64,
    sharing: Sharing,
    /// What keeps accesses from ending in a signal.
    protector: Protector,
    /// Whether others see what is written, and the threads themselves access the pages: known from the start.
    pub(super) is_simple: bool,
    /// Whether a seal does so by now, where it was the kernel.
    sealed: AtomicBool,
    /// What others wait for us by in this file; once there is need.
    presence: AtomicPtr<Presence>,
    /// How many users make accesses outside of calls on the region.
    pub(super) users_outside: AtomicU64,
    /// Pages that views lost.
    pub(super) lost: Lost,
    /// Accesses that ended in an error or in a page of zeros.
    pub(super) faults: AtomicU64,
}

// SAFETY: the pages belong to the process, not to a thread; all access goes through copies that bear races.
unsafe impl Send for Mapping {}
// SAFETY: as above; what `&self` changes is atomic or behind a mutex.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn new(request: Request, paging: Paging) -> Result<Mapping, Errno> {
        let Request { file, identity, offset, length, reserve, protection, sharing, protector } = request;
        guard::choose();
        let capacity = whole_pages(reserve, paging.page_size)?;
        let base = if paging.mapping_extends_file {
            reserve_aligned(capacity, paging.page_size)?
        } else {
            map::map(file.as_fd(), offset, capacity, protection, sharing)?
        };
        // From here on dropping `mapping` gives the address space back.
        let mapping = Mapping {
            base,
            capacity,
            paging,
            length: AtomicU64::new(0),
            file: ManuallyDrop::new(file),
            identity,
            offset,
            sharing,
            protector,
            is_simple: sharing == Sharing::Shared && protector != Protector::SystemCalls,
            sealed: AtomicBool::new(false),
            presence: AtomicPtr::default(),
            users_outside: AtomicU64::new(0),
            lost: Lost::new(capacity, paging.page_size),
            faults: AtomicU64::new(0),
        };
        mapping.prepare(length, protection)?;
        mapping.set_length(length);
        Ok(mapping)
    }

    /// Bytes that may be accessed now.
    pub(crate) fn length(&self) -> u64 {
        // ORDER: Relaxed, partner set_length: the bytes themselves are in the file before their length is
        // published, and no other memory is.
        self.length.load(Ordering::Relaxed)
    }

    /// Bytes of address space, which `set_length` can go up to.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity as u64
    }

    /// Makes the pages up to `length` accessible, which is at most `capacity`; the bytes that this adds. One caller at a
    /// time; `set_length` follows, once everything about the bytes is in order.
    pub(crate) fn prepare(&self, length: u64, protection: Protection) -> Result<Span, Errno> {
        let old = self.length().min(length);
        let added = Span::within(old, length - old, self.capacity()).map_err(|_| Errno::ENOMEM)?;
        let mapped = whole_pages(old, self.paging.page_size)?;
        let wanted = whole_pages(length, self.paging.page_size)?;
        if self.paging.mapping_extends_file && wanted > mapped {
            let (file, offset) = (self.file.as_fd(), self.offset + mapped as u64);
            // SAFETY: `mapped` is less than `wanted`, which is at most `capacity`.
            let address = unsafe { self.base.add(mapped) };
            // SAFETY: the pages are ours, and behind the length, so that nobody uses them yet.
            unsafe { map::map_over(address, file, offset, wanted - mapped, protection, self.sharing) }?;
        }
        Ok(added)
    }

    /// Sets how many bytes may be accessed; more than before only after `prepare`.
    pub(crate) fn set_length(&self, length: u64) {
        debug_assert!(length <= self.capacity());
        // ORDER: Relaxed, partner length().
        self.length.store(length, Ordering::Relaxed);
    }

    /// The checked range, if it lies within the length of now.
    #[inline(always)]
    pub(crate) fn find(&self, offset: u64, length: u64) -> Option<Span> {
        Span::find(offset, length, self.length())
    }

    /// The checked range; ERANGE when it leaves the length of now.
    pub(crate) fn span(&self, offset: u64, length: u64) -> Result<Span> {
        Span::within(offset, length, self.length())
    }

    /// Device and inode of the file.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Whether this is what fstat(2) says of its file, and not of one that has got the descriptor's number since.
    pub(crate) fn is_of(&self, status: &file::Status) -> bool {
        self.identity == (status.device, status.inode)
    }

    /// This process as a participant of the file.
    pub(crate) fn presence(&self) -> Result<&'static Presence, Errno> {
        if let Some(presence) = self.presence_at_once() {
            return Ok(presence);
        }
        let presence = Presence::of(self.identity)?;
        let new = std::ptr::from_ref(presence).cast_mut();
        // ORDER: Release, partner `presence_at_once`.
        if self.presence.compare_exchange(std::ptr::null_mut(), new, Ordering::Release, Ordering::Relaxed).is_err() {
            presence.leave(); // another thread was faster, with the same
        }
        Ok(presence)
    }

    /// `presence`, if it was needed before.
    #[inline(always)]
    pub(crate) fn presence_at_once(&self) -> Option<&'static Presence> {
        // ORDER: Acquire, partner `presence`.
        // SAFETY: null, or what `presence` has put there: entries live for ever.
        unsafe { self.presence.load(Ordering::Acquire).as_ref() }
    }

    #[inline]
    pub(crate) fn protector(&self) -> Protector {
        if self.protector == Protector::SystemCalls {
            hazard::seldom();
            // ORDER: Relaxed, partner trust_seal: the seal is in the kernel before this is set, and nothing else is said.
            if self.sealed.load(Ordering::Relaxed) {
                return Protector::Seal;
            }
        }
        self.protector
    }

    /// From now on the file cannot shrink, and has all bytes up to the length. Where a handler is, it stays: pages may have
    /// been lost before.
    pub(crate) fn trust_seal(&self) {
        if !self.paging.is_huge() {
            self.sealed.store(true, Ordering::Relaxed); // ORDER: Relaxed, partner protector()
        }
    }

    /// The address of a span's first byte. Spans come from `span`, so that it lies inside the pages.
    pub(super) fn address(&self, span: Span) -> NonNull<u8> {
        debug_assert!(span.end() <= self.capacity);
        // SAFETY: the span was checked against a length that is at most `capacity`.
        unsafe { self.base.add(span.start()) }
    }

    /// The first page's address.
    #[inline(always)]
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The same, as a number.
    pub(super) fn start(&self) -> usize {
        self.base.addr().get()
    }

    /// The address of the page at an offset that lies in the pages.
    pub(super) fn page_address(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset < self.capacity);
        // SAFETY: the offset is below the capacity.
        unsafe { self.base.add(offset) }
    }

    /// The offset of an address that lies in the pages.
    pub(super) fn offset_of(&self, address: *const u8) -> Option<u64> {
        self.holds(address.addr()).then(|| (address.addr() - self.start()) as u64)
    }

    /// Whether an address lies in the page of the byte at `offset`.
    pub(super) fn page_holds(&self, offset: usize, address: usize) -> bool {
        let page = self.start() + offset - offset % self.page_size();
        (page..page + self.page_size()).contains(&address)
    }

    /// Whether an address lies in the pages.
    pub(super) fn holds(&self, address: usize) -> bool {
        (self.start()..self.start() + self.capacity).contains(&address)
    }

    /// Accesses that ended in an error or in a page of zeros, so far.
    pub(crate) fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed) // ORDER: Relaxed, a count for people
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// First mapped byte in the file.
    pub(crate) fn file_offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn sharing(&self) -> Sharing {
        self.sharing
    }

    pub(crate) fn page_size(&self) -> usize {
        self.paging.page_size
    }

    /// Bytes of the file, from its start, that `length` mapped bytes take: whole huge pages on hugetlbfs.
    pub(crate) fn file_length_for(&self, length: u64) -> u64 {
        self.paging.file_length_for(self.offset + length)
    }

    /// Brings the span's changed pages to the file's storage and waits for it.
    pub(crate) fn synchronize(&self, span: Span) -> Result<(), Errno> {
        self.on_pages(span, |address, length| {
            // SAFETY: the pages are ours.
            unsafe { map::synchronize(address, length) }
        })
    }

    /// Passes advice for the span's pages to the kernel.
    pub(crate) fn advise(&self, span: Span, advice: Advice) -> Result<(), Errno> {
        if advice == Advice::DontNeed && self.sharing == Sharing::Private {
            // posix_madvise(3): advice changes no bytes, and here the kernel would drop the private ones.
            return Ok(());
        }
        self.on_pages(span, |address, length| {
            // SAFETY: the pages are ours, and shared where they are not needed.
            unsafe { map::advise(address, length, advice) }
        })
    }

    /// Keeps the span's pages in memory as long as they are mapped.
    pub(crate) fn lock(&self, span: Span) -> Result<(), Errno> {
        self.on_pages(span, |address, length| {
            // SAFETY: the pages are ours.
            unsafe { map::lock(address, length) }
        })
    }

    /// Brings the span's pages in, so that the first accesses do not fault.
    pub(crate) fn populate(&self, span: Span, protection: Protection) -> Result<(), Errno> {
        let advice = match (protection, self.sharing) {
            (Protection::ReadWrite, Sharing::Shared) => Advice::PopulateWrite,
            _ => Advice::PopulateRead,
        };
        match self.advise(span, advice) {
            // KERNEL: before 5.14 there is no populating by madvise; reading ahead is what there is.
            Err(Errno::EINVAL) => self.advise(span, Advice::WillNeed),
            result => result,
        }
    }

    /// Changes what may be done with the pages; where that is less, no write is in flight and no view is out.
    pub(crate) fn protect(&self, protection: Protection) -> Result<(), Errno> {
        let length = if self.paging.mapping_extends_file {
            whole_pages(self.length(), self.page_size())?
        } else {
            self.capacity
        };
        // SAFETY: the pages are ours; the caller sees to writes in flight.
        unsafe { map::protect(self.base, length, protection) }
    }

    /// Gets address space for `reserve` bytes, at other addresses; the length stays.
    pub(crate) fn relocate(&mut self, reserve: u64, protection: Protection) -> Result<(), Errno> {
        let capacity = whole_pages(reserve, self.page_size())?;
        let base = match self.sharing {
            _ if self.paging.mapping_extends_file => return Err(Errno::EOPNOTSUPP),
            Sharing::Shared => match map::map(self.file.as_fd(), self.offset, capacity, protection, self.sharing) {
                Ok(base) => {
                    // SAFETY: the pages are ours; `&mut self` says that no call is in flight, and no view is out, since
                    // views share the mapping.
                    unsafe { map::unmap(self.base, self.capacity) }?;
                    base
                }
                // A seal forbids new mappings that may write; the one there is may be moved.
                Err(Errno::EPERM) => self.moved(capacity)?,
                Err(errno) => return Err(errno),
            },
            // Pages that this process has written are in the mapping only, so that it has to move itself.
            Sharing::Private => self.moved(capacity)?,
        };
        self.base = base;
        self.capacity = capacity;
        self.lost = Lost::new(capacity, self.page_size());
        Ok(())
    }

    /// Moves the mapping itself; where it is now.
    fn moved(&mut self, capacity: usize) -> Result<NonNull<u8>, Errno> {
        // SAFETY: the pages are ours; `&mut self` says that no call is in flight, and no view is out, since views share
        // the mapping.
        let moved = unsafe { map::remap(self.base, self.capacity, capacity) };
        moved.map_err(|errno| match errno {
            // An offset too large, or a mapping in several parts, as advice for one of them leaves it.
            Errno::EINVAL | Errno::EFAULT => Errno::ENOMEM,
            errno => errno,
        })
    }

    /// How many views are out that reach past `length`; all with a length of 0.
    pub(crate) fn views_past(&self, length: u64) -> usize {
        pins::ranges_of(self).filter(|range| length == 0 || (range.end - self.start()) as u64 > length).count()
    }

    /// Puts the file's pages back where pages were lost and zeros stand in their place.
    pub(crate) fn restore(&self, protection: Protection) -> Result<(), Errno> {
        self.lost.restore(|bytes| {
            let address = self.page_address(bytes.start);
            let (file, offset) = (self.file.as_fd(), self.offset + bytes.start as u64);
            // SAFETY: the pages are ours; whoever uses a view of them meanwhile sees zeros or the file's bytes.
            unsafe { map::map_over(address, file, offset, bytes.len(), protection, self.sharing) }
        })
    }

    /// Whether `settle` would have good calls take the short way again.
    pub(crate) fn may_settle(&self) -> bool {
        // ORDER: Acquire, partner the Release in Pinned::drop: the accesses of those who have left are over.
        self.lost.may_settle() && self.users_outside.load(Ordering::Acquire) == 0
    }

    /// Has good calls take the short way again if all lost pages have been put back and nobody is outside. No call is on.
    pub(crate) fn settle(&self) {
        if self.may_settle() {
            self.lost.settle();
        }
    }

    /// Calls `act` with the address and length of the whole pages that the span touches.
    fn on_pages(&self, span: Span, act: impl FnOnce(NonNull<u8>, usize) -> Result<(), Errno>) -> Result<(), Errno> {
        if span.length() == 0 {
            return Ok(());
        }
        let pages = span.pages(self.page_size());
        act(self.address(pages), pages.length())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        held::abandon_all_of(self);
        // SAFETY: the pages are ours, and nobody else has them any more: views share the mapping.
        let unmapped = unsafe { map::unmap(self.base, self.capacity) };
        debug_assert_eq!(unmapped, Ok(()));
        if let Some(presence) = self.presence_at_once() {
            presence.leave();
        }
        // A program may have closed our descriptor, and its number may be that of a file of its own by now.
        if file::status(self.file()).is_ok_and(|status| self.is_of(&status)) {
            // SAFETY: dropped here, and never used again.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

/// Whether the kernel maps this file at all: it tries.
pub(crate) fn can_be_mapped(file: BorrowedFd) -> bool {
    let length = map::page_size();
    match map::map(file, 0, length, Protection::Read, Sharing::Private) {
        // SAFETY: mapped just now, and nobody else knows the address.
        Ok(address) => unsafe { map::unmap(address, length) }.is_ok(),
        Err(errno) => matches!(errno, Errno::ENOMEM | Errno::EAGAIN),
    }
}

fn whole_pages(bytes: u64, page_size: usize) -> Result<usize, Errno> {
    let bytes = usize::try_from(bytes).map_err(|_| Errno::ENOMEM)?;
    // The kernel maps at most half of the address space.
    if bytes > isize::MAX as usize - page_size {
        return Err(Errno::ENOMEM);
    }
    Ok(bytes.next_multiple_of(page_size))
}

/// Inaccessible address space that starts at a multiple of `alignment`, both larger than a page of the machine.
fn reserve_aligned(length: usize, alignment: usize) -> Result<NonNull<u8>, Errno> {
    let base = map::reserve(length + alignment)?;
    let before = base.addr().get().next_multiple_of(alignment) - base.addr().get();
    // SAFETY: `before` is less than `alignment`.
    let aligned = unsafe { base.add(before) };
    // SAFETY: `before + length` is at most the bytes reserved.
    let behind = unsafe { aligned.add(length) };
    if before > 0 {
        // SAFETY: the pages in front are ours and unused.
        unsafe { map::unmap(base, before) }?;
    }
    // SAFETY: the pages behind are ours and unused.
    unsafe { map::unmap(behind, alignment - before) }?;
    Ok(aligned)
}
