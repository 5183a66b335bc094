//! Where a region's file comes from: a path, a descriptor, or it is made.

use super::create::NewFile;
use super::last_user::{self, Entry, Found, Home, LastUser};
use super::map::Opened;
use super::name::{Name, split};
use super::named;
use super::options::{Access, Options};
use super::patience::Patience;
use super::{Backing, Region, seal};
use crate::error::{Error, NameError, Result};
use crate::sys::Errno;
use crate::sys::file::{self, Granted, Kind, Status};
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
            match self.look(directory, &c_path) {
                Ok(seen) => match self.open_existing(directory, &c_path, &path, seen)? {
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
                Err(errno) => return Err(self.refusal("stat", name, errno)),
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
        self.check_nameless()?;
        let failed = |call: &'static str| move |errno| Error::system(call, name, errno);
        let status = file::status(file.as_fd()).map_err(failed("fstat"))?;
        check_kind(status.kind, name)?;
        let granted = file::granted(file.as_fd()).map_err(failed("fcntl"))?;
        check_granted(fd, granted, self.access)?;
        let user = LastUser::of_descriptor(file.as_fd(), &status);
        let writable = granted == Granted::ReadWrite;
        let seals = seal::of_memory(file.as_fd(), &status).unwrap_or(0);
        self.map_existing(Opened { file, status, backing: Backing::Fd, writable, seals, user }, name)
    }

    /// What stands at a path. It is not opened, since to open a device can change its state.
    fn look(&self, directory: BorrowedFd, path: &CStr) -> Result<Seen, Errno> {
        if !self.beneath {
            return Ok(Seen { status: file::status_at(directory, path, self.follows())?, held: None });
        }
        let held = file::name_beneath(directory, path)?;
        Ok(Seen { status: file::status(held.as_fd())?, held: Some(held) })
    }

    /// A descriptor that names the directory that the last part of a path stands in.
    pub(super) fn directory_of(&self, directory: BorrowedFd, parent: &CStr) -> Result<OwnedFd, Errno> {
        if self.beneath {
            file::open_directory_beneath(directory, parent)
        } else {
            file::open_directory(directory, parent)
        }
    }

    /// Opens a file that was there just now; None when it is gone.
    fn open_existing(&self, directory: BorrowedFd, c_path: &CStr, path: &Path, seen: Seen) -> Result<Option<Region>> {
        let name = Name::Path(path);
        // One that goes with its last user may have lost that.
        if self.exclusive && !(self.removes() && last_user::is_marked(&seen.status)) {
            return Err(Error::Exists { file: name.into() });
        }
        self.check_link(seen.status.kind, name)?;
        check_kind(seen.status.kind, name)?;
        let mode = self.access.open_mode();
        let opened = match &seen.held {
            Some(held) => file::reopen(held.as_fd(), mode),
            None => file::open(directory, c_path, mode, self.follows()),
        };
        let file = match opened {
            Ok(file) => file,
            Err(Errno::ENOENT) if seen.held.is_some() => {
                let reason = "/proc is not there, through which what was found is opened";
                return Err(NameError::NoBeneath { reason }.into());
            }
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
        let seals = seal::of_memory(file.as_fd(), &status).unwrap_or(0);
        self.map_existing(Opened { file, status, backing: self.backing(), writable, seals, user }, name).map(Some)
    }

    /// Whether a symbolic link in the last place of the path is followed: not where the name counts itself.
    pub(super) fn follows(&self) -> bool {
        !(self.no_follow || self.beneath || self.removes())
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
        if !self.named || !self.create {
            return Ok(());
        }
        let user = file::effective_user();
        if [user, 0].contains(&status.owner) {
            return Ok(());
        }
        Err(NameError::Planted { file: name.into(), owner: status.owner, mode: status.mode, user }.into())
    }

    fn denied(&self, name: Name) -> Error {
        let remedy = match self.access {
            Access::ReadWrite => "change its permissions, or open it MAPSHARE_READ_ONLY or MAPSHARE_COPY_ON_WRITE",
            Access::ReadOnly | Access::CopyOnWrite => "change its permissions, or those of the directories on its path",
        };
        Error::AccessDenied { access: self.access.name(), file: name.into(), remedy }
    }

    /// Why a path was refused.
    fn refusal(&self, call: &'static str, name: Name, errno: Errno) -> Error {
        match errno {
            Errno::EXDEV | Errno::EAGAIN if self.beneath => NameError::OutsideDirectory { file: name.into() }.into(),
            Errno::ELOOP if self.beneath => NameError::LinkBeneath { file: name.into() }.into(),
            Errno::ENOSYS if self.beneath => {
                NameError::NoBeneath { reason: "this kernel has no openat2, which came with Linux 5.6" }.into()
            }
            Errno::EACCES => Error::AccessDenied {
                access: "the look-up",
                file: name.into(),
                remedy: "change the permissions of the directories on its path",
            },
            errno => Error::system(call, name, errno),
        }
    }

    fn backing(&self) -> Backing {
        if self.named { Backing::Named } else { Backing::File }
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
        let place = self.directory_of(directory, &parent);
        let created = place.and_then(|place| NewFile::create(place, self.creation_mode()));
        let (new, file) = created.map_err(|errno| match errno {
            Errno::ENOENT => Error::NotThere { file: name.into(), remedy: ", nor does its directory; make that first" },
            Errno::EACCES => Error::AccessDenied {
                access: "making a file in the directory",
                file: name.into(),
                remedy: "choose another directory, or change its permissions",
            },
            errno => self.refusal("create", name, errno),
        })?;
        let status = file::status(file.as_fd()).map_err(failed("fstat"))?;
        let user = self.unlink_last.then(|| {
            let home = Home::of(self, directory, path)?;
            LastUser::of_new(file.as_fd(), status.mode, home)
        });
        let user = user.transpose().map_err(|errno| last_user::failure("marking", name, errno))?;
        let opened = Opened { file, status, backing: self.backing(), writable: true, seals: 0, user };
        let region = self.map_new(opened, name)?;
        match new.publish(region.file(), &file_name) {
            Ok(()) => Ok(Some(region)),
            Err(Errno::EEXIST) if self.exclusive => Err(Error::Exists { file: name.into() }),
            Err(Errno::EEXIST) => Ok(None),
            Err(errno) => Err(Error::system("link", name, errno)),
        }
    }
}

/// What stands at a path.
struct Seen {
    status: Status,
    /// Names it whatever happens to the path.
    held: Option<OwnedFd>,
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

pub(super) fn c_string(path: &OsStr) -> Result<CString> {
    CString::new(path.as_bytes())
        .map_err(|_| Error::Contradiction("the path has a NUL byte inside; paths end at their first one"))
}
