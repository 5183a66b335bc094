//! How a region's length changes, and the file's with it.
//!
//! Decision: what adds bytes (growing within the reserve, taking over what others have added) goes on while others
//! use the region, and nothing moves. What takes bytes or addresses away (shrinking, moving) needs `&mut`: the
//! caller sees to it that no call is in flight.

use super::Region;
use super::options::Access;
use crate::error::{Error, Result};
use crate::mem::atomic::Ordering;
use crate::sys::Errno;
use crate::sys::file;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, MutexGuard, PoisonError};

impl Region {
    /// Makes the region and its file `length` bytes long. What is added reads as zeros, and its storage is reserved
    /// unless the region was opened sparse. Addresses stay while the length is at most the reserve.
    ///
    /// # Errors
    /// EINVAL: `length` is 0, or the region is copy-on-write. EACCES: it is not writable. EBUSY: a view is out that
    /// the change would take bytes or the address from. ENOSPC, EPERM (a seal), ENOMEM, EIO: as the kernel says them.
    pub fn resize(&mut self, length: u64) -> Result<()> {
        if self.resizes_in_place(length) {
            return self.grow(length);
        }
        self.check_resize(length)?;
        if length < self.length() {
            return self.shrink(length);
        }
        self.relocate(length, "moving it to a larger reserve")?;
        self.grow(length)
    }

    /// Whether `grow` can do it.
    pub fn resizes_in_place(&self, length: u64) -> bool {
        (self.length()..=self.mapping().capacity()).contains(&length)
    }

    /// As `resize`, while others use the region: only to a larger length, and at most the reserve.
    ///
    /// # Errors
    /// As `resize`; ERANGE when it does not fit in the reserve.
    pub fn grow(&self, length: u64) -> Result<()> {
        self.check_resize(length)?;
        let mapping = self.mapping();
        if length > mapping.capacity() {
            return Err(Error::PastReserve { length, reserve: mapping.capacity() });
        }
        let _one_at_a_time = self.growing();
        let old = mapping.length();
        if length <= old {
            return Ok(());
        }
        let status = self.status()?;
        let range = mapping.file_length_for(old)..mapping.file_length_for(length);
        extend(mapping.file(), "the region's file", status.size, range, self.sparse)?;
        self.set_length(length)?;
        self.reaches_end.store(true, Ordering::Relaxed); // ORDER: Relaxed, read under the same lock
        self.bring_in(mapping.span(old, length - old)?)
    }

    fn shrink(&mut self, length: u64) -> Result<()> {
        let mapping = self.mapping();
        let views = mapping.views_past(length);
        if views > 0 {
            return Err(Error::ViewsOut { views, asked: "making it shorter" });
        }
        file::set_length(mapping.file(), mapping.file_length_for(length))
            .map_err(|errno| Error::system("ftruncate", "the region's file", errno))?;
        self.set_length(length)?;
        self.reaches_end.store(true, Ordering::Relaxed); // ORDER: Relaxed, `&mut self` is alone
        Ok(())
    }

    fn check_resize(&self, length: u64) -> Result<()> {
        if length == 0 {
            return Err(Error::Contradiction("length is 0, and a region has at least one byte; unmap it instead"));
        }
        if !self.is_shared() {
            return Err(Error::Contradiction(
                "the region is MAPSHARE_COPY_ON_WRITE, which leaves its file as it is; resize a MAPSHARE_READ_WRITE one",
            ));
        }
        match self.access() {
            Access::ReadWrite | Access::CopyOnWrite => Ok(()),
            Access::ReadOnly => Err(Error::AccessExceeded {
                access: "resizing",
                granted: "the region is MAPSHARE_READ_ONLY",
                remedy: "open it MAPSHARE_READ_WRITE",
            }),
        }
    }

    /// Takes over the file's length of now; whether it changed the region's. A region that reached the end of its
    /// file goes on doing so and may move to other addresses for it; one that was opened on a part of its file takes
    /// at most its reserve.
    ///
    /// # Errors
    /// EBUSY: the region would have to move and a view is out. ENOMEM, EIO: as the kernel says them.
    pub fn refresh(&mut self) -> Result<bool> {
        if self.refreshes_in_place()? {
            return self.refresh_in_place();
        }
        let available = self.available()?;
        self.relocate(available, "following its file to a larger reserve")?;
        self.refresh_in_place()
    }

    /// Whether `refresh_in_place` takes over all that `refresh` would.
    ///
    /// # Errors
    /// EIO: the file cannot be asked for its length.
    pub fn refreshes_in_place(&self) -> Result<bool> {
        Ok(!self.reaches_end() || self.available()? <= self.mapping().capacity())
    }

    /// As `refresh`, while others use the region: it takes over what fits in the reserve.
    ///
    /// # Errors
    /// EIO: the file cannot be asked for its length.
    pub fn refresh_in_place(&self) -> Result<bool> {
        let _one_at_a_time = self.growing();
        let length = self.available()?.min(self.in_place_limit());
        let old = self.length();
        if length == old {
            return Ok(false);
        }
        self.set_length(length)?;
        if length > old {
            self.bring_in(self.mapping().span(old, length - old)?)?;
        }
        Ok(true)
    }

    /// For an access up to `end` that leaves the region: takes over what others have added to the file, if that
    /// reaches so far and fits; whether it did.
    pub(super) fn take_over_growth(&self, end: u64) -> bool {
        if end > self.in_place_limit() || !self.available().is_ok_and(|available| end <= available) {
            return false;
        }
        self.refresh_in_place().is_ok()
    }

    /// Bytes that the file has behind the region's offset.
    fn available(&self) -> Result<u64> {
        Ok(self.status()?.size.saturating_sub(self.mapping().file_offset()))
    }

    fn in_place_limit(&self) -> u64 {
        if self.reaches_end() { self.mapping().capacity() } else { self.reserve }
    }

    fn reaches_end(&self) -> bool {
        // ORDER: Relaxed, partner grow and shrink: it decides nothing about memory, only how far to follow the file.
        self.reaches_end.load(Ordering::Relaxed)
    }

    fn relocate(&mut self, reserve: u64, asked: &'static str) -> Result<()> {
        let views = self.mapping().views_past(0);
        let mapping = Arc::get_mut(&mut self.mapping).ok_or(Error::ViewsOut { views, asked })?;
        mapping.relocate(reserve).map_err(|errno| match errno {
            errno if is_no_memory(errno) => Error::NoMemory { length: reserve, place: ADDRESS_SPACE },
            errno => Error::system("mremap", "the region", errno),
        })
    }

    fn set_length(&self, length: u64) -> Result<()> {
        let set = self.mapping().set_length(length, self.access().protection());
        set.map_err(|errno| Error::system("mmap", "the region's file", errno))
    }

    fn growing(&self) -> MutexGuard<'_, ()> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where address space for a region comes from, and what to do when there is none.
pub(super) const ADDRESS_SPACE: &str =
    "in the address space of this process; ask for less, or see RLIMIT_AS, vm.max_map_count and RLIMIT_MEMLOCK";

/// Whether that is what mmap(2) or mremap(2) says: EAGAIN where the process locks all that it maps.
pub(super) fn is_no_memory(errno: Errno) -> bool {
    matches!(errno, Errno::ENOMEM | Errno::EAGAIN | Errno::EOVERFLOW)
}

/// Makes a file of `size` bytes so long that it has `range`, and reserves storage for it unless `sparse`. The file is
/// never cut, even when another process extends it at the same time.
pub(super) fn extend(file: BorrowedFd, name: &str, size: u64, range: Range<u64>, sparse: bool) -> Result<()> {
    let length = range.end - range.start;
    let no_space = |reason| Error::NoSpace { file: name.into(), offset: range.start, length, reason };
    if range.end > size && range.end > file::length_limit() {
        return Err(no_space("it would pass this process's limit on file lengths, RLIMIT_FSIZE"));
    }
    let result = if sparse { extend_sparse(file, size, range.end) } else { reserve(file, size, &range) };
    result.map_err(|errno| match errno {
        Errno::ENOSPC => no_space("the file system is full; free some, or ask for less"),
        Errno::EDQUOT => no_space("this user's disk quota is used up; free some, or ask for less"),
        Errno::EFBIG => no_space("the file system has no files that long; ask for less"),
        errno => Error::system("fallocate", name, errno),
    })
}

fn reserve(file: BorrowedFd, size: u64, range: &Range<u64>) -> Result<(), Errno> {
    match file::allocate(file, range.start, range.end - range.start) {
        // KERNEL: NFS before 4.2 and some FUSE file systems reserve nothing on request.
        Err(Errno::EOPNOTSUPP) => write_zeros(file, size, range.end),
        Err(errno) => {
            // Part of it may have been added. Nobody has been told, so it goes again.
            if file::status(file).is_ok_and(|status| status.size > size && status.size < range.end) {
                file::set_length(file, size)?;
            }
            Err(errno)
        }
        Ok(()) => Ok(()),
    }
}

fn write_zeros(file: BorrowedFd, size: u64, end: u64) -> Result<(), Errno> {
    static ZEROS: [u8; 65536] = [0; 65536];
    let mut at = size;
    while at < end {
        let length = (end - at).min(ZEROS.len() as u64) as usize;
        at += file::write_at(file, &ZEROS[..length], at)? as u64;
    }
    Ok(())
}

/// Reserving the last byte extends a file and, unlike ftruncate, cannot cut what another process has added.
fn extend_sparse(file: BorrowedFd, size: u64, end: u64) -> Result<(), Errno> {
    if end <= size {
        return Ok(());
    }
    match file::allocate(file, end - 1, 1) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSPC) => file::set_length(file, end),
        result => result,
    }
}
