//! Regions: ranges of files, mapped, and what one can do with them.

#![forbid(unsafe_code)]

mod anonymous;
mod create;
mod grow;
pub(crate) mod handover;
mod last_user;
mod map;
mod name;
pub(crate) mod named;
mod open;
pub(crate) mod options;
mod patience;
pub(crate) mod range_lock;
mod seal;
mod words;

use crate::error::{Error, RangeLockError, Result};
use crate::mem::atomic::AtomicBool;
pub(crate) use crate::mem::buffer::{Copying, Destination, Source};
use crate::mem::fork_lock::ForkLock;
use crate::mem::held;
use crate::mem::mapping::{Mapping, Protector};
use crate::mem::sigbus;
use crate::mem::span::Span;
use crate::mem::view::View;
pub(crate) use crate::mem::word::{Operation, Word};
use crate::sys::Errno;
use crate::sys::file::{self, Status};
use crate::sys::map::{Advice as KernelAdvice, Sharing};
use last_user::LastUser;
use options::{Access, Options};
use range_lock::RangeLocks;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A range of a file, mapped into this process. All methods that take `&self` may be called on any threads at the
/// same time. Dropping it unmaps the bytes, once the last view has been dropped too, and removes the name of what goes
/// with its last user (`Options::unlink_last`).
///
/// Offsets inside it count from its first mapped byte.
pub struct Region {
    mapping: Arc<Mapping>,
    access: Access,
    backing: Backing,
    /// Whether the descriptor allows shared writing.
    writable: bool,
    /// Whether it reaches the end of its file, and follows it as that moves.
    reaches_end: AtomicBool,
    /// The address space asked for, in bytes.
    reserve: u64,
    sparse: bool,
    locked: bool,
    populate: bool,
    /// Held by whoever changes the length.
    growing: ForkLock,
    /// Its share in a file that goes with its last user. Behind the mapping, so that the bytes go first.
    user: Option<LastUser>,
    range_locks: RangeLocks,
}

/// What a region was opened from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A path.
    File,
    /// A name of shared memory.
    Named,
    /// Memory without a name, made here or handed over.
    Anonymous,
    /// A descriptor.
    Fd,
}

/// When flushed bytes have to be on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Before the call returns.
    Wait,
    /// Soon: the call only starts the writing.
    Start,
}

/// What a program expects to do with bytes next (posix_madvise(3)). Advice changes speed, never bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing special.
    Normal,
    /// They are read from the lower offsets to the higher: read far ahead.
    Sequential,
    /// They are read here and there: do not read ahead.
    Random,
    /// They are needed soon: start reading them in.
    WillNeed,
    /// They are not needed for a while: this process may let go of the pages, the file keeps the bytes.
    DontNeed,
    /// Use huge pages where the file system has them.
    HugePages,
}

/// What there is to know about a region.
#[derive(Clone, Debug)]
pub struct Info {
    /// Bytes that may be accessed now.
    pub length: u64,
    /// The first mapped byte, counted from the start of the file.
    pub offset: u64,
    /// The length up to which it grows without moving, in bytes.
    pub reserve: u64,
    /// The file's length in bytes.
    pub file_length: u64,
    /// Bytes in a page of its mapping.
    pub page_size: u64,
    /// Bytes of it that are in memory now.
    pub resident: u64,
    /// Accesses that were turned into an error, or in a view into zeros, so far.
    pub faults: u64,
    /// The file's device number.
    pub device: u64,
    /// The file's inode number.
    pub inode: u64,
    /// What may be done with it.
    pub access: Access,
    /// What it was opened from.
    pub backing: Backing,
    /// The seals of a memory file, as fcntl(2) F_GET_SEALS gives them.
    pub seals: u32,
    /// How many views of it are out.
    pub views: u32,
}

/// Takes SIGBUS back after the program has installed a handler of its own, which stays chained; every open does so too.
///
/// # Errors
/// None that a system in order gives.
pub fn arm() -> Result<()> {
    sigbus::arm().map_err(|errno| Error::system("sigaction", "SIGBUS", errno))
}

impl Region {
    fn new(mapping: Mapping, options: &Options, backing: Backing, writable: bool, reaches_end: bool) -> Region {
        Region {
            reserve: options.reserve.max(mapping.length()),
            mapping: Arc::new(mapping),
            access: options.access,
            backing,
            writable,
            reaches_end: AtomicBool::new(reaches_end),
            sparse: options.sparse,
            locked: options.locked,
            populate: options.populate,
            growing: ForkLock::default(),
            user: None,
            range_locks: RangeLocks::new(),
        }
    }

    /// Bytes that may be accessed now.
    pub fn length(&self) -> u64 {
        self.mapping.length()
    }

    /// What may be done with it now.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Copies the bytes from `offset` on into `buffer`.
    ///
    /// # Errors
    /// ERANGE: the range leaves the region; nothing was copied. ENXIO, ENOSPC, EIO: bytes of it are not in the file any
    /// more, find no room, or cannot be had from the device.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.read_into(offset, buffer.into())
    }

    /// `read_into`, if nothing at all is in its way; false, and whatever was copied does not count, if anything is.
    #[inline(always)]
    pub(crate) fn read_at_once(&self, offset: u64, buffer: Destination, how: Copying) -> bool {
        let span = self.mapping.find(offset, buffer.length() as u64);
        span.is_some_and(|span| self.mapping.read_at_once(span, buffer, how))
    }

    /// As `read_at_once`, for `write_from`.
    #[inline(always)]
    pub(crate) fn write_at_once(&self, offset: u64, bytes: Source, how: Copying) -> bool {
        let span = self.mapping.find(offset, bytes.length() as u64);
        self.is_writable() && span.is_some_and(|span| self.mapping.write_at_once(span, bytes, how))
    }

    /// As `read_at_once`, for `fill`.
    #[inline(always)]
    pub(crate) fn fill_at_once(&self, offset: u64, length: u64, byte: u8) -> bool {
        let span = self.mapping.find(offset, length);
        self.is_writable() && span.is_some_and(|span| self.mapping.fill_at_once(span, byte))
    }

    pub(crate) fn read_into(&self, offset: u64, buffer: Destination) -> Result<()> {
        let span = self.span(offset, buffer.length() as u64)?;
        self.mapping.read(span, buffer)
    }

    /// Copies `bytes` to `offset` and following.
    ///
    /// # Errors
    /// As `read`, and EACCES: the region is read-only.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.write_from(offset, bytes.into())
    }

    pub(crate) fn write_from(&self, offset: u64, bytes: Source) -> Result<()> {
        self.check_writable()?;
        let span = self.span(offset, bytes.length() as u64)?;
        self.mapping.write(span, bytes)
    }

    /// Sets `length` bytes from `offset` to `byte`.
    ///
    /// # Errors
    /// As `write`.
    pub fn fill(&self, offset: u64, length: u64, byte: u8) -> Result<()> {
        self.check_writable()?;
        let span = self.span(offset, length)?;
        self.mapping.fill(span, byte)
    }

    /// Copies `length` bytes from `offset` here to `to_offset` of `to`, which may be the same region or another one
    /// of the same file; ranges that overlap are copied as memmove(3) does.
    ///
    /// # Errors
    /// As `read` of the one and `write` of the other; ERANGE: nothing was copied.
    pub fn copy_to(&self, offset: u64, to: &Region, to_offset: u64, length: u64) -> Result<()> {
        to.check_writable()?;
        let span = self.span(offset, length)?;
        let to_span = to.span(to_offset, length)?;
        self.mapping.copy_to(span, &to.mapping, to_span)
    }

    /// Brings changed bytes to the file's storage; a length of 0 stands for all to the region's end.
    ///
    /// # Errors
    /// EINVAL: the region is copy-on-write, its changes never reach the file. ERANGE: the range leaves the region.
    /// EIO, ENOSPC: the device or file system failed to take them.
    pub fn flush(&self, offset: u64, length: u64, when: Flush) -> Result<()> {
        if !self.is_shared() {
            return Err(Error::Contradiction(
                "the region is private (MAPSHARE_COPY_ON_WRITE), so its changes never reach the file; \
                 open it MAPSHARE_READ_WRITE to change the file",
            ));
        }
        let span = self.span_to_end(offset, length)?;
        self.mapping.flush(span, when == Flush::Wait)
    }

    /// Tells the kernel what to expect of a range; a length of 0 stands for all to the region's end.
    ///
    /// # Errors
    /// ERANGE: the range leaves the region. EINVAL: this kernel does not know the advice.
    pub fn advise(&self, offset: u64, length: u64, advice: Advice) -> Result<()> {
        let span = self.span_to_end(offset, length)?;
        let advice = match advice {
            Advice::Normal => KernelAdvice::Normal,
            Advice::Sequential => KernelAdvice::Sequential,
            Advice::Random => KernelAdvice::Random,
            Advice::WillNeed => KernelAdvice::WillNeed,
            Advice::DontNeed => KernelAdvice::DontNeed,
            Advice::HugePages => KernelAdvice::HugePages,
        };
        self.mapping.advise(span, advice).map_err(|errno| Error::system("madvise", "the region", errno))
    }

    /// Changes what may be done with the region, up to what its descriptor grants.
    ///
    /// # Errors
    /// EACCES: more was asked than the descriptor grants, or shared writing of a copy-on-write region. EINVAL:
    /// copy-on-write was asked of a shared region. EBUSY: views are out that may be written through, or locks are held that
    /// were taken through the region.
    pub fn protect(&mut self, access: Access) -> Result<()> {
        match access {
            Access::CopyOnWrite if self.is_shared() => {
                return Err(Error::Contradiction(
                    "the region is shared; whether writes are private is decided at open, with MAPSHARE_COPY_ON_WRITE",
                ));
            }
            Access::ReadWrite => self.check_grants_writing()?,
            _ => {}
        }
        let views = self.views();
        if access == Access::ReadOnly && self.access != Access::ReadOnly && views > 0 {
            return Err(Error::ViewsOut { views, asked: "making it read-only would end writing through them" });
        }
        let locks = self.locks();
        if access == Access::ReadOnly && locks > 0 {
            return Err(Error::MutexesOut { locks });
        }
        let changed = self.mapping.protect(access.protection());
        changed.map_err(|errno| seal::WIDENING.told(file::seals(self.file()), name::Name::Own, errno))?;
        self.access = access;
        Ok(())
    }

    /// Pins a range: its bytes stay mapped at the same address as long as the view lives.
    ///
    /// # Errors
    /// EINVAL: `length` is 0. ERANGE: the range leaves the region. EOPNOTSUPP: the region has no handler and its file may
    /// shrink.
    pub fn view(&self, offset: u64, length: u64) -> Result<View> {
        self.view_for(offset, length, true)
    }

    fn view_for(&self, offset: u64, length: u64, is_for_users: bool) -> Result<View> {
        if length == 0 {
            return Err(Error::Contradiction("length is 0, and a view has at least one byte; say how many you need"));
        }
        if self.mapping.protector() == Protector::SystemCalls {
            return Err(Error::Unguarded);
        }
        View::new(self.mapping.clone(), self.span(offset, length)?, is_for_users)
    }

    /// How many locks that were taken through the region are held.
    fn locks(&self) -> usize {
        held::count_of(&self.mapping)
    }

    /// The view whose address was handed out for the C interface; EINVAL when it is not out.
    pub(crate) fn recall(&self, address: *mut u8) -> Result<View> {
        View::recall(&self.mapping, address).ok_or(Error::NotAView { pointer: address.addr() })
    }

    /// How many views are out.
    pub fn views(&self) -> usize {
        // Each view has a share of the mapping.
        if Arc::strong_count(&self.mapping) == 1 { 0 } else { self.mapping.views_past(0) }
    }

    /// Refuses to let go of a region that somebody still relies on.
    pub(crate) fn check_unused(&self) -> Result<()> {
        match (self.views(), self.range_locks(), self.locks()) {
            (0, 0, 0) => Ok(()),
            (0, 0, locks) => Err(Error::MutexesOut { locks }),
            (0, locks, _) => Err(RangeLockError::Out { locks }.into()),
            (views, _, _) => Err(Error::ViewsOut { views, asked: "unmapping it would take their bytes" }),
        }
    }

    /// What there is to know about the region; it asks the kernel, at some cost for each page.
    ///
    /// # Errors
    /// EIO, ENOMEM: the kernel cannot answer.
    pub fn info(&self) -> Result<Info> {
        let status = self.status()?;
        let mapping = &self.mapping;
        let resident = mapping.resident().map_err(|errno| Error::system("mincore", "the region", errno))?;
        Ok(Info {
            length: mapping.length(),
            offset: mapping.file_offset(),
            reserve: self.reserve.max(mapping.length()),
            file_length: status.size,
            page_size: mapping.page_size() as u64,
            resident,
            faults: mapping.faults(),
            device: status.device,
            inode: status.inode,
            access: self.access,
            backing: self.backing,
            seals: file::seals(self.file()),
            views: u32::try_from(self.views()).unwrap_or(u32::MAX),
        })
    }

    /// A new descriptor of the region's file, close-on-exec, that belongs to the caller.
    ///
    /// # Errors
    /// EMFILE: this process has too many open descriptors.
    pub fn duplicate_fd(&self) -> Result<OwnedFd> {
        self.status()?;
        file::duplicate(self.file()).map_err(|errno| Error::system("dup", "the region's file", errno))
    }

    /// The range, checked; growth of the file by others is taken over where that makes it fit.
    fn span(&self, offset: u64, length: u64) -> Result<Span> {
        self.mapping.span(offset, length).or_else(|error| match offset.checked_add(length) {
            Some(_) => self.take_over_growth(offset, length, error).and_then(|()| self.mapping.span(offset, length)),
            None => Err(error),
        })
    }

    fn span_to_end(&self, offset: u64, length: u64) -> Result<Span> {
        let rest = self.length().saturating_sub(offset);
        self.span(offset, if length == 0 { rest } else { length })
    }

    /// All of it.
    fn whole(&self) -> Result<Span> {
        self.mapping.span(0, self.length())
    }

    /// Populates and locks pages that have become accessible, as the options asked.
    fn bring_in(&self, span: Span) -> Result<()> {
        let failed = |call: &'static str| {
            move |errno| match errno {
                Errno::ENOMEM | Errno::EAGAIN | Errno::EPERM => Error::NoMemory {
                    length: span.length() as u64,
                    place: "to populate or lock; ask for less, or see RLIMIT_MEMLOCK (ulimit -l)",
                },
                // What a fault on a full file system looks like from here.
                Errno::EFAULT => Error::system(call, "the region", Errno::ENOSPC),
                errno => Error::system(call, "the region", errno),
            }
        };
        if self.populate {
            self.mapping.populate(span, self.access.protection()).map_err(failed("madvise"))?;
        }
        if self.locked {
            self.mapping.lock(span).map_err(failed("mlock"))?;
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn is_writable(&self) -> bool {
        self.access != Access::ReadOnly
    }

    fn check_writable(&self) -> Result<()> {
        if self.is_writable() { Ok(()) } else { Err(Error::read_only("writing")) }
    }

    /// Whether shared writing is within the rights that the region was opened with.
    fn check_grants_writing(&self) -> Result<()> {
        let (granted, remedy) = match (self.is_shared(), self.writable) {
            (true, true) => return Ok(()),
            (false, _) => {
                ("the region was opened MAPSHARE_COPY_ON_WRITE and never writes through", "open it MAPSHARE_READ_WRITE")
            }
            (true, false) => ("the region was opened for reading only", "open it MAPSHARE_READ_WRITE"),
        };
        Err(Error::AccessExceeded { access: Access::ReadWrite.name(), granted, remedy })
    }

    fn is_shared(&self) -> bool {
        self.mapping.sharing() == Sharing::Shared
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    fn file(&self) -> BorrowedFd<'_> {
        self.mapping.file()
    }

    fn status(&self) -> Result<Status> {
        let fd = self.file().as_raw_fd();
        match file::status(self.file()) {
            Ok(status) if self.mapping.is_of(&status) => Ok(status),
            Ok(_) => Err(Error::LostDescriptor { fd, found: ", and has another file now" }),
            Err(Errno::EBADF) => Err(Error::LostDescriptor { fd, found: "" }),
            Err(errno) => Err(Error::system("fstat", "the region's file", errno)),
        }
    }
}
