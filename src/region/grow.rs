//! How a region's length changes, and the file's with it.
//!
//! Decision: what adds bytes (growing within the reserve, taking over what others have added) goes on while others
//! use the region, and nothing moves. What takes bytes or addresses away (shrinking, moving) needs `&mut`: the
//! caller sees to it that no call is in flight.

use super::name::Name;
use super::options::Access;
use super::{Region, seal};
use crate::error::{Error, Result};
use crate::mem::atomic::Ordering;
use crate::mem::held;
use crate::sys::Errno;
use crate::sys::file;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

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
        self.relocate(length, "growing past its reserve would move it, which a larger reserve at open avoids")?;
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
        let _one_at_a_time = self.growing.lock();
        let size = self.status()?.size;
        self.extend_file(size, length)?;
        if length <= mapping.length() {
            return Ok(());
        }
        self.lengthen(length).inspect_err(|_| cut_back(mapping.file(), size, mapping.file_length_for(length)))
    }

    fn shrink(&mut self, length: u64) -> Result<()> {
        let mapping = self.mapping();
        let views = mapping.views_past(length);
        if views > 0 {
            return Err(Error::ViewsOut { views, asked: "making it shorter would take their bytes" });
        }
        let locks = held::count_behind(mapping, length);
        if locks > 0 {
            return Err(Error::MutexesOut { locks });
        }
        let (size, end) = (self.status()?.size, mapping.file_length_for(length));
        if size > end {
            file::set_length(mapping.file(), end)
                .map_err(|errno| seal::SHRINKING.told(file::seals(mapping.file()), Name::Own, errno))?;
        }
        self.extend_file(size.min(end), length)?; // another process may have cut it shorter still
        mapping.set_length(length);
        Ok(())
    }

    /// Makes a file of `size` bytes at least so long that the region can be `length` bytes.
    fn extend_file(&self, size: u64, length: u64) -> Result<()> {
        let mapping = self.mapping();
        let end = mapping.file_length_for(length);
        if end > size {
            let start = mapping.file_length_for(mapping.length()).min(size).max(mapping.file_offset());
            extend(mapping.file(), Name::Own, size, start..end, self.sparse)?;
        }
        if end >= size {
            self.reaches_end.store(true, Ordering::Relaxed); // ORDER: Relaxed, partner reaches_end()
        }
        Ok(())
    }

    /// Makes bytes that the file has accessible; one caller at a time.
    fn lengthen(&self, length: u64) -> Result<()> {
        let added = self.mapping().prepare(length, self.access().protection());
        let added = added.map_err(|errno| seal::MAPPING.told(file::seals(self.file()), Name::Own, errno))?;
        self.bring_in(added)?;
        self.mapping().set_length(length);
        Ok(())
    }

    fn check_resize(&self, length: u64) -> Result<()> {
        if length == 0 {
            return Err(Error::Contradiction("length is 0, and a region has at least one byte; unmap it instead"));
        }
        let start = self.mapping().file_offset();
        check_file_length(Name::Own, u64::MAX, start, length)?;
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

    /// Takes over the file's length of now, and puts its pages back where views have lost them; whether the region's
    /// length changed. A region that reached the end of its file goes on doing so and may move to other addresses for
    /// it; one that was opened on a part of its file takes at most its reserve.
    ///
    /// # Errors
    /// EBUSY: the region would have to move and a view is out. ENOMEM, EIO: as the kernel says them.
    pub fn refresh(&mut self) -> Result<bool> {
        if !self.refreshes_in_place()? {
            let available = self.available()?;
            self.relocate(available, "its file has grown past its reserve, so that it would have to move")?;
        }
        let changed = self.refresh_in_place()?;
        self.settle();
        Ok(changed)
    }

    /// Whether `settle` would make calls faster.
    pub(crate) fn may_settle(&self) -> bool {
        self.mapping().may_settle()
    }

    /// Once pages were lost each call looks for them; this ends that when all are back. That no access is under way which
    /// may have met one is what `&mut` says.
    pub(crate) fn settle(&mut self) {
        self.mapping().settle();
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
        let _one_at_a_time = self.growing.lock();
        self.restore()?;
        let length = self.available()?.min(self.in_place_limit());
        let old = self.length();
        if length == old {
            return Ok(false);
        }
        if length > old {
            self.lengthen(length)?;
        } else {
            self.mapping().set_length(length);
        }
        Ok(true)
    }

    /// For an access that leaves the region: takes over what others have added to the file, if that is enough and fits in
    /// place; else the access stays `refused`.
    pub(super) fn take_over_growth(&self, offset: u64, length: u64, refused: Error) -> Result<()> {
        let end = offset.saturating_add(length);
        match self.available() {
            Ok(available) if end <= available && end <= self.in_place_limit() => self.refresh_in_place().map(drop),
            Ok(available) if end <= available => {
                Err(Error::OutOfReserve { offset, length, limit: self.length(), available })
            }
            _ => Err(refused),
        }
    }

    /// Bytes that the file has behind the region's offset.
    fn available(&self) -> Result<u64> {
        Ok(self.status()?.size.saturating_sub(self.mapping().file_offset()))
    }

    fn in_place_limit(&self) -> u64 {
        if self.reaches_end() { self.mapping().capacity() } else { self.reserve.max(self.length()) }
    }

    fn reaches_end(&self) -> bool {
        // ORDER: Relaxed, partner grow and shrink: it decides nothing about memory, only how far to follow the file.
        self.reaches_end.load(Ordering::Relaxed)
    }

    fn relocate(&mut self, reserve: u64, asked: &'static str) -> Result<()> {
        self.restore()?; // pages of another kind inside it would not move with it
        let views = self.mapping().views_past(0);
        let protection = self.access().protection();
        let mapping = Arc::get_mut(&mut self.mapping).ok_or(Error::ViewsOut { views, asked })?;
        mapping.relocate(reserve, protection).map_err(|errno| match errno {
            errno if is_no_memory(errno) => Error::NoMemory { length: reserve, place: ADDRESS_SPACE },
            errno => seal::MAPPING.told(file::seals(mapping.file()), Name::Own, errno),
        })?;
        self.bring_in(self.whole()?)
    }

    /// Puts the file's pages back where views have lost pages.
    fn restore(&self) -> Result<()> {
        let restored = self.mapping().restore(self.access().protection());
        restored.map_err(|errno| seal::MAPPING.told(file::seals(self.file()), Name::Own, errno))
    }
}

/// Where address space for a region comes from, and what to do when there is none.
pub(super) const ADDRESS_SPACE: &str =
    "in the address space of this process; ask for less, or see RLIMIT_AS, vm.max_map_count and RLIMIT_MEMLOCK";

/// Where bytes of memory files come from. Without a check the kernel would give all that it has, and then end programs.
const MEMORY: &str = "in the memory and swap of this machine; ask for less, or pass MAPSHARE_SPARSE";
/// Up to here memory is not counted beforehand: any machine has as much.
const LARGE: u64 = 64 << 20;

/// Whether that is what mmap(2) or mremap(2) says: EAGAIN where the process locks all that it maps.
pub(super) fn is_no_memory(errno: Errno) -> bool {
    matches!(errno, Errno::ENOMEM | Errno::EAGAIN | Errno::EOVERFLOW)
}

/// Refuses a range of a file of `size` bytes that no file may have, or none of this process.
pub(super) fn check_file_length(name: Name, size: u64, offset: u64, length: u64) -> Result<()> {
    let reason = match offset.checked_add(length).filter(|end| *end <= i64::MAX as u64) {
        None => "no file is longer than 2^63 - 1 bytes",
        Some(end) if end > size && end > file::length_limit() => {
            "it would pass this process's limit on file lengths, RLIMIT_FSIZE"
        }
        Some(_) => return Ok(()),
    };
    Err(Error::NoSpace { file: name.into(), offset, length, reason })
}

/// Makes a file of `size` bytes so long that it has `range`, and reserves storage for it unless `sparse`. The file is
/// never cut, even when another process extends it at the same time.
pub(super) fn extend(file: BorrowedFd, name: Name, size: u64, range: Range<u64>, sparse: bool) -> Result<()> {
    let (offset, length) = (range.start, range.end - range.start);
    check_file_length(name, size, offset, length)?;
    let no_space = |reason| Error::NoSpace { file: name.into(), offset, length, reason };
    if !sparse && length > LARGE && file::memory_behind(file).is_some_and(|memory| length > memory) {
        return Err(Error::NoMemory { length, place: MEMORY });
    }
    let result = if sparse { extend_sparse(file, size, range.end) } else { reserve(file, size, &range) };
    result.map_err(|errno| match errno {
        Errno::ENOSPC => no_space("the file system is full; free some, or ask for less"),
        Errno::EDQUOT => no_space("this user's disk quota is used up; free some, or ask for less"),
        Errno::EFBIG => no_space("the file system has no files that long; ask for less"),
        errno => seal::GROWING.told(file::seals(file), name, errno),
    })
}

fn reserve(file: BorrowedFd, size: u64, range: &Range<u64>) -> Result<(), Errno> {
    let result = match file::allocate(file, range.start, range.end - range.start) {
        // KERNEL: NFS before 4.2 and some FUSE file systems reserve nothing on request.
        Err(Errno::EOPNOTSUPP) => append_zeros(file, range.end),
        result => result,
    };
    if result.is_err() {
        cut_back(file, size, range.end);
    }
    result
}

/// After a failure: takes away what was added to a file of `size` bytes on the way to `end`.
pub(super) fn cut_back(file: BorrowedFd, size: u64, end: u64) {
    if file::status(file).is_ok_and(|status| status.size > size && status.size <= end) {
        // The failure is told; that this failed as well would not help anyone.
        let _ = file::set_length(file, size);
    }
}

/// Written behind the end, so that nothing is lost that another process has added and written at the same time.
fn append_zeros(file: BorrowedFd, end: u64) -> Result<(), Errno> {
    static ZEROS: [u8; 65536] = [0; 65536];
    loop {
        let missing = end.saturating_sub(file::status(file)?.size);
        if missing == 0 {
            return Ok(());
        }
        file::append(file, &ZEROS[..missing.min(ZEROS.len() as u64) as usize])?;
    }
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
