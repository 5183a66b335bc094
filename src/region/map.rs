//! How a file that is open becomes a region.

use super::grow;
use super::last_user::LastUser;
use super::name::Name;
use super::options::{Access, Options};
use super::{Backing, Region, seal};
use crate::error::{Error, Result};
use crate::mem::mapping::{self, Mapping, Protector, Request};
use crate::mem::paging::Paging;
use crate::sys::Errno;
use crate::sys::file::{self, Status};
use crate::sys::map::Advice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A file that is open.
pub(super) struct Opened {
    pub(super) file: OwnedFd,
    pub(super) status: Status,
    pub(super) backing: Backing,
    /// Whether the descriptor allows shared writing.
    pub(super) writable: bool,
    /// The seals of a memory file.
    pub(super) seals: u32,
    /// Its share in a file that goes with its last user.
    pub(super) user: Option<LastUser>,
}

/// What of a file is mapped.
struct Extent {
    paging: Paging,
    /// Bytes from the options' offset.
    length: u64,
    /// Whether that is all to the end of the file.
    reaches_end: bool,
}

impl Options {
    /// Maps a file that was there.
    pub(super) fn map_existing(&self, opened: Opened, name: Name) -> Result<Region> {
        let status = opened.status;
        let paging = Paging::of(opened.file.as_fd(), &status);
        self.check_offset(paging)?;
        if status.size == 0 {
            check_mappable(opened.file.as_fd(), name)?;
        }
        let length = self.length_in(status.size, name)?;
        let end = self.offset.saturating_add(length);
        if end > status.size && !(self.create && self.access == Access::ReadWrite) {
            return Err(if self.create {
                self.needs_write(name)
            } else {
                Error::FileTooShort { file: name.into(), size: status.size, length, offset: self.offset }
            });
        }
        let reaches_end = end >= status.size;
        self.map(opened, Extent { paging, length, reaches_end }, name)
    }

    /// Maps an empty file that was made just now.
    pub(super) fn map_new(&self, opened: Opened, name: Name) -> Result<Region> {
        let paging = Paging::of(opened.file.as_fd(), &opened.status);
        self.check_offset(paging)?;
        let length = self.length_in(0, name)?;
        self.map(opened, Extent { paging, length, reaches_end: true }, name)
    }

    /// Maps a file and sees to it that it has the bytes. A failure leaves the file as it was.
    fn map(&self, opened: Opened, extent: Extent, name: Name) -> Result<Region> {
        let Opened { file, status, backing, writable, seals, user } = opened;
        let Extent { paging, length, reaches_end } = extent;
        let reserve = self.reserve.max(length);
        let end = paging.file_length_for(self.offset.saturating_add(length));
        let creates = self.create && self.access == Access::ReadWrite;
        if creates {
            grow::check_file_length(name, status.size, self.offset, length)?;
        }
        let protection = self.access.protection();
        let protector = self.protector(seals, paging);
        if protector == Protector::Handler {
            super::arm()?;
        }
        let request = Request {
            file,
            identity: (status.device, status.inode),
            offset: self.offset,
            length,
            reserve,
            protection,
            sharing: self.access.sharing(),
            protector,
        };
        let mapping = Mapping::new(request, paging).map_err(|errno| match errno {
            errno if grow::is_no_memory(errno) => Error::NoMemory { length: reserve, place: grow::ADDRESS_SPACE },
            Errno::ENODEV => not_mappable(name),
            errno => seal::MAPPING.told(seals, name, errno),
        })?;
        let mut region = Region::new(mapping, self, backing, writable, reaches_end);
        region.user = user;
        if creates {
            // Also when it is long enough: it may have holes.
            grow::extend(region.file(), name, status.size, self.offset..end, self.sparse)?;
        }
        if self.huge_pages {
            // A request: kernels without huge pages refuse it, and normal pages serve.
            let _ = region.mapping().advise(region.whole()?, Advice::HugePages);
        }
        if let Err(error) = region.bring_in(region.whole()?) {
            grow::cut_back(region.file(), status.size, end);
            return Err(error);
        }
        Ok(region)
    }

    /// What keeps accesses from ending in a signal. Files that cannot shrink and live in memory need no handler, so that a
    /// process that has only those installs none.
    fn protector(&self, seals: u32, paging: Paging) -> Protector {
        if seals & file::SEAL_SHRINK != 0 && !paging.is_huge() {
            Protector::Seal
        } else if self.no_handler {
            Protector::SystemCalls
        } else {
            Protector::Handler
        }
    }

    fn check_offset(&self, paging: Paging) -> Result<()> {
        let page_size = paging.page_size as u64;
        if self.offset.is_multiple_of(page_size) {
            return Ok(());
        }
        let below = self.offset - self.offset % page_size;
        Err(Error::MisalignedFileOffset {
            offset: self.offset,
            page_size,
            below,
            above: below.saturating_add(page_size),
        })
    }

    /// The length to map of a file of `size` bytes: the one asked for, or what there is behind the offset.
    fn length_in(&self, size: u64, name: Name) -> Result<u64> {
        if self.length != 0 {
            return Ok(self.length);
        }
        if size == self.offset || size == 0 {
            return Err(Error::EmptyMapping { file: name.into(), offset: self.offset });
        }
        let behind = || Error::BehindEnd { file: name.into(), size, offset: self.offset };
        size.checked_sub(self.offset).ok_or_else(behind)
    }

    pub(super) fn needs_write(&self, name: Name) -> Error {
        Error::CreateNeedsWrite { file: name.into(), access: self.access.name() }
    }
}

/// Files of /proc are empty by their own account; only the kernel knows that they cannot be mapped.
fn check_mappable(file: BorrowedFd, name: Name) -> Result<()> {
    if mapping::can_be_mapped(file) { Ok(()) } else { Err(not_mappable(name)) }
}

fn not_mappable(name: Name) -> Error {
    Error::NotMappable {
        file: name.into(),
        found: "a file that its file system cannot map, as those of /proc and /sys",
    }
}
