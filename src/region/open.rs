//! How a region comes to be: from a path, from a descriptor, or from a file made for it.

use super::create::NewFile;
use super::grow;
use super::last_user::{self, Entry, Found, LastUser};
use super::name::{Name, split};
use super::named;
use super::options::{Access, Options};
use super::patience::Patience;
use super::{Backing, Region};
use crate::error::{Error, Result};
use crate::mem::mapping::{self, Mapping, Paging, Protector, Request};
use crate::sys::Errno;
use crate::sys::file::{self, Granted, Kind, Status};
use crate::sys::map::Advice;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// As many links in a row as the kernel itself follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

impl Options {
    /// Opens the file at `path` as a region.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Region> {
        self.open_at(file::WORKING_DIRECTORY, path)
    }

    /// Opens the file at `path`, which counts from `directory` when it is relative.
    pub fn open_at(&self, directory: BorrowedFd<'_>, path: impl AsRef<Path>) -> Result<Region> {
        self.check()?;
        let mut path = PathBuf::from(path.as_ref());
        let (mut links, mut patience) = (0, Patience::new());
        while links <= MOST_LINKS {
            let name = Name::Path(&path);
            let c_path = c_string(path.as_os_str())?;
            match file::status_at(directory, &c_path, self.follows()) {
                Ok(status) => match self.open_existing(directory, &c_path, &path, &status)? {
                    Some(region) => return Ok(region),
                    None => {
                        patience.start_over(name)?; // it went away meanwhile, or is about to
                        continue;
                    }
                },
                Err(Errno::ENOENT) if self.create && !c_path.is_empty() => {}
                Err(Errno::ENOENT) => {
                    let remedy = "; check the path, or pass MAPSHARE_CREATE to make the file";
                    return Err(Error::NotThere { file: name.into(), remedy });
                }
                Err(Errno::EBADF) => {
                    let found = "is no directory that is open; AT_FDCWD stands for the working directory";
                    return Err(Error::BadDescriptor { fd: directory.as_raw_fd(), found });
                }
                Err(errno) => return Err(Error::system("stat", name, errno)),
            }
            if let Some(region) = self.create_new(directory, &path)? {
                return Ok(region);
            }
            // Something has the name after all: a file made meanwhile, or a link to a file that is missing.
            match file::read_link(directory, &c_path) {
                Ok(further) if self.follows() => {
                    path = path.parent().unwrap_or(Path::new("")).join(OsString::from_vec(further));
                    links += 1;
                }
                _ => patience.start_over(name)?,
            }
        }
        Err(Error::system("open", Name::Path(&path), Errno::ELOOP))
    }

    /// Opens what stands behind a descriptor as a region. The descriptor stays the caller's, who may close it at
    /// once.
    pub fn open_fd(&self, fd: BorrowedFd<'_>) -> Result<Region> {
        self.open_raw_fd(fd.as_raw_fd())
    }

    /// Opens what stands behind a descriptor number, which need not be open.
    pub(crate) fn open_raw_fd(&self, fd: i32) -> Result<Region> {
        self.check()?;
        let name = Name::Descriptor(fd);
        let file = file::duplicate_raw(fd).map_err(|errno| match errno {
            Errno::EBADF => Error::BadDescriptor { fd, found: "is not open" },
            errno => Error::system("dup", name, errno),
        })?;
        if self.exclusive {
            return Err(Error::Exists { file: name.into() });
        }
        if self.unlink_last {
            return Err(Error::Contradiction(
                "MAPSHARE_UNLINK_LAST removes a name, and a descriptor does not tell its; open the file by its path",
            ));
        }
        let failed = |call: &'static str| move |errno| Error::system(call, name, errno);
        let status = file::status(file.as_fd()).map_err(failed("fstat"))?;
        check_kind(status.kind, name)?;
        let granted = file::granted(file.as_fd()).map_err(failed("fcntl"))?;
        check_granted(fd, granted, self.access)?;
        let user = LastUser::of_descriptor(file.as_fd(), &status);
        let writable = granted == Granted::ReadWrite;
        self.map_existing(Existing { file, status, user }, name, Backing::Fd, writable)
    }

    /// Opens a file that was there just now; None when it is gone.
    fn open_existing(
        &self,
        directory: BorrowedFd,
        c_path: &CStr,
        path: &Path,
        seen: &Status,
    ) -> Result<Option<Region>> {
        let name = Name::Path(path);
        // One that goes with its last user may have lost that.
        if self.exclusive && !(self.removes() && last_user::is_marked(seen)) {
            return Err(Error::Exists { file: name.into() });
        }
        // Asked before opening, since to open a device can change its state.
        self.check_link(seen.kind, name)?;
        check_kind(seen.kind, name)?;
        let file = match file::open(directory, c_path, self.access.open_mode(), self.follows()) {
            Ok(file) => file,
            // Without MAPSHARE_CREATE the next look says so.
            Err(Errno::ENOENT) => return Ok(None),
            Err(_) if self.exclusive => return Err(Error::Exists { file: name.into() }),
            Err(Errno::EACCES) => return Err(self.denied(name)),
            Err(errno) => return Err(Error::system("open", name, errno)),
        };
        let status = file::status(file.as_fd()).map_err(|errno| Error::system("fstat", name, errno))?;
        check_kind(status.kind, name)?;
        let user = match self.join(&Found { directory, path, c_path, file: file.as_fd(), status })? {
            Entry::Plain => None,
            Entry::User(user) => Some(user),
            Entry::Gone => return Ok(None),
        };
        if self.exclusive {
            return Err(Error::Exists { file: name.into() });
        }
        self.check_owner(&status, name)?;
        let writable = self.access == Access::ReadWrite;
        self.map_existing(Existing { file, status, user }, name, self.backing(), writable).map(Some)
    }

    /// Whether a symbolic link in the last place of the path is followed: not where the name counts itself.
    pub(super) fn follows(&self) -> bool {
        !(self.no_follow || self.removes())
    }

    fn check_link(&self, kind: Kind, name: Name) -> Result<()> {
        let refusal = match kind {
            Kind::SymbolicLink if self.named => named::LINK_REFUSED,
            Kind::SymbolicLink if self.unlink_last && !self.no_follow => {
                "MAPSHARE_UNLINK_LAST refuses, since it removes the name; pass what it leads to, or leave the flag out"
            }
            _ => return Ok(()),
        };
        Err(Error::IsLink { file: name.into(), refusal })
    }

    /// Whoever creates a name expects it to be its own, and not to get what another user has put there for it.
    /// Source: the kernel's fs.protected_regular does the same for O_CREAT in sticky directories, where it is set.
    fn check_owner(&self, status: &Status, name: Name) -> Result<()> {
        let user = file::effective_user();
        if !self.named || !self.create || [user, 0].contains(&status.owner) {
            return Ok(());
        }
        Err(Error::Planted { file: name.into(), owner: status.owner, mode: status.mode, user })
    }

    fn denied(&self, name: Name) -> Error {
        let remedy = match self.access {
            Access::ReadWrite => "change its permissions, or open it MAPSHARE_READ_ONLY or MAPSHARE_COPY_ON_WRITE",
            Access::ReadOnly | Access::CopyOnWrite => "change its permissions, or those of the directories on its path",
        };
        Error::AccessDenied { access: self.access.name(), file: name.into(), remedy }
    }

    fn backing(&self) -> Backing {
        if self.named { Backing::Named } else { Backing::File }
    }

    fn map_existing(&self, existing: Existing, name: Name, backing: Backing, writable: bool) -> Result<Region> {
        let Existing { file, status, user } = existing;
        let paging = Paging::of(file.as_fd(), &status);
        self.check_offset(paging)?;
        if status.size == 0 {
            check_mappable(file.as_fd(), name)?;
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
        self.map(Opened { file, status, paging, backing, writable, reaches_end, length, user }, name)
    }

    /// Makes the file; None when something else has got the name meanwhile.
    fn create_new(&self, directory: BorrowedFd, path: &Path) -> Result<Option<Region>> {
        let name = Name::Path(path);
        if self.access != Access::ReadWrite {
            return Err(self.needs_write(name));
        }
        let failed = |call: &'static str| move |errno| Error::system(call, name, errno);
        let (parent, file_name) = split(path);
        let (parent, file_name) = (c_string(parent)?, c_string(file_name)?);
        let created = NewFile::create(directory, &parent, self.creation_mode());
        let (new, file) = created.map_err(|errno| match errno {
            Errno::ENOENT => Error::NotThere { file: name.into(), remedy: ", nor does its directory; make that first" },
            Errno::EACCES => Error::AccessDenied {
                access: "making a file in the directory",
                file: name.into(),
                remedy: "choose another directory, or change its permissions",
            },
            errno => Error::system("create", name, errno),
        })?;
        let status = file::status(file.as_fd()).map_err(failed("fstat"))?;
        let paging = Paging::of(file.as_fd(), &status);
        self.check_offset(paging)?;
        let length = self.length_in(0, name)?;
        let user = self.unlink_last.then(|| LastUser::of_new(file.as_fd(), status.mode, (directory, path)));
        let user = user.transpose().map_err(failed("marking"))?;
        let backing = self.backing();
        let opened = Opened { file, status, paging, backing, writable: true, reaches_end: true, length, user };
        let region = self.map(opened, name)?;
        match new.publish(region.file(), &file_name) {
            Ok(()) => Ok(Some(region)),
            Err(Errno::EEXIST) if self.exclusive => Err(Error::Exists { file: name.into() }),
            Err(Errno::EEXIST) => Ok(None),
            Err(errno) => Err(Error::system("link", name, errno)),
        }
    }

    /// Maps a file and sees to it that it has the bytes. A failure leaves the file as it was.
    fn map(&self, opened: Opened, name: Name) -> Result<Region> {
        let Opened { file, status, paging, backing, writable, reaches_end, length, user } = opened;
        let reserve = self.reserve.max(length);
        let end = paging.file_length_for(self.offset.saturating_add(length));
        let creates = self.create && self.access == Access::ReadWrite;
        if creates {
            grow::check_file_length(name, status.size, self.offset, length)?;
        }
        let protection = self.access.protection();
        let protector = self.protector(file.as_fd(), &status, paging);
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
            errno => Error::system("mmap", name, errno),
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
    fn protector(&self, file: BorrowedFd, status: &Status, paging: Paging) -> Protector {
        if status.is_unnamed && file::seals(file) & file::SEAL_SHRINK != 0 && !paging.is_huge() {
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

    fn needs_write(&self, name: Name) -> Error {
        Error::CreateNeedsWrite { file: name.into(), access: self.access.name() }
    }
}

/// A file that was there.
struct Existing {
    file: OwnedFd,
    status: Status,
    user: Option<LastUser>,
}

/// A file that is ready to be mapped.
struct Opened {
    file: OwnedFd,
    status: Status,
    paging: Paging,
    backing: Backing,
    /// Whether the descriptor allows shared writing.
    writable: bool,
    /// Whether the range reaches the end of the file.
    reaches_end: bool,
    length: u64,
    user: Option<LastUser>,
}

pub(super) fn check_kind(kind: Kind, name: Name) -> Result<()> {
    let found = match kind {
        Kind::Regular => return Ok(()),
        Kind::SymbolicLink => {
            let refusal = "MAPSHARE_NO_FOLLOW refuses; pass what it leads to, or leave the flag out";
            return Err(Error::IsLink { file: name.into(), refusal });
        }
        Kind::Directory => "a directory",
        Kind::Fifo => "a FIFO or pipe",
        Kind::Socket => "a socket",
        Kind::BlockDevice => "a block device",
        Kind::CharacterDevice => "a character device",
    };
    Err(Error::NotMappable { file: name.into(), found })
}

/// A mapping reads always, and a shared writable one writes.
fn check_granted(fd: i32, granted: Granted, access: Access) -> Result<()> {
    let (granted, remedy) = match granted {
        Granted::Nothing => {
            return Err(Error::BadDescriptor { fd, found: "was opened with O_PATH and grants no access" });
        }
        Granted::Write => ("the descriptor is open for writing only", "open the file O_RDWR: every mapping reads"),
        Granted::Read if access == Access::ReadWrite => (
            "the descriptor is open for reading only",
            "open the file O_RDWR, or ask for MAPSHARE_READ_ONLY or MAPSHARE_COPY_ON_WRITE",
        ),
        Granted::Read | Granted::ReadWrite => return Ok(()),
    };
    Err(Error::AccessExceeded { access: access.name(), granted, remedy })
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

pub(super) fn c_string(path: &OsStr) -> Result<CString> {
    CString::new(path.as_bytes())
        .map_err(|_| Error::Contradiction("the path has a NUL byte inside; paths end at their first one"))
}
