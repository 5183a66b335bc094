//! Names of POSIX shared memory: shm_open(3).
//!
//! Decision: a name is a file in the directory that the C library uses for it, and is opened by its path as any other
//! file. So whoever calls shm_open(3), or uses a module that does, has the same bytes under the same name.

use super::Region;
use super::last_user;
use super::name::Name;
use super::open::{c_string, check_kind};
use super::options::Options;
use crate::error::{Error, NameError, Result};
use crate::sys::Errno;
use crate::sys::file::{self, Kind};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the names are. Source: shm_overview(7), "Accessing shared memory objects via the filesystem".
const FOLDER: &CStr = c"/dev/shm";
/// Bytes in a name without its slash. Source: shm_open(3), NAME_MAX.
const LONGEST: usize = 255;

impl Options {
    /// Opens an object of POSIX shared memory by its name: one that this crate or anything else has made with
    /// shm_open(3), or a new one. A name is 1 to 255 bytes without a slash, but for one in front that may be left out.
    ///
    /// # Errors
    /// As `open`, and EINVAL, ENAMETOOLONG: it is no such name. ELOOP: a symbolic link has it. EACCES: `create`, and
    /// another user than this process's and root has made it.
    pub fn open_named(&self, name: impl AsRef<OsStr>) -> Result<Region> {
        let path = path_of(name.as_ref())?;
        Options { named: true, ..self.clone() }.open(path)
    }
}

/// Removes a name of shared memory. Whoever has it open keeps it, and the next to create the name makes a new object.
///
/// # Errors
/// EINVAL, ENAMETOOLONG: it is no name. ENOENT: nothing has it. ELOOP, ENODEV: something else than shared memory has it.
/// EACCES: it belongs to another user.
pub fn unlink_named(name: impl AsRef<OsStr>) -> Result<()> {
    let path = path_of(name.as_ref())?;
    let name = Name::Path(&path);
    let c_path = c_string(path.as_os_str())?;
    let found = file::status_at(file::WORKING_DIRECTORY, &c_path, false).and_then(|status| match status.kind {
        Kind::Regular => file::unlink(file::WORKING_DIRECTORY, &c_path).map(|()| Kind::Regular),
        other => Ok(other),
    });
    match found {
        Ok(Kind::SymbolicLink) => Err(Error::IsLink { file: name.into(), refusal: LINK_REFUSED }),
        Ok(kind) => check_kind(kind, name),
        Err(Errno::ENOENT) => {
            Err(Error::NotThere { file: name.into(), remedy: ", so that there is nothing to remove" })
        }
        // POSIX.1-2024 shm_unlink() says EACCES, where unlink(2) says EPERM in a directory that is sticky.
        Err(Errno::EACCES | Errno::EPERM) => {
            let remedy = "its owner or root can remove it";
            Err(Error::AccessDenied { access: "the removal", file: name.into(), remedy })
        }
        Err(errno) => Err(Error::system("unlink", name, errno)),
    }
}

/// Removes the names that begin with `prefix`, were made with `unlink_last`, and whose users are all dead; how many.
/// What this process may not remove stays.
///
/// # Errors
/// EINVAL, ENAMETOOLONG: no name begins so.
pub fn sweep_named(prefix: impl AsRef<OsStr>) -> Result<u64> {
    let prefix = without_slash(prefix.as_ref())?;
    last_user::sweep(FOLDER, prefix).map_err(|errno| Error::system("readdir", Name::Path(folder()), errno))
}

/// Why a link is not followed.
pub(super) const LINK_REFUSED: &str = "has no place among the names of shared memory; remove it or take another name";

fn folder() -> &'static Path {
    Path::new(OsStr::from_bytes(FOLDER.to_bytes()))
}

/// The path of the file that a name stands for.
fn path_of(name: &OsStr) -> Result<PathBuf> {
    let refused = |reason| Err(NameError::Invalid { name: Name::Path(Path::new(name)).into(), reason }.into());
    match without_slash(name)? {
        b"" if name.is_empty() => refused("is empty"),
        b"" => refused("is only a slash"),
        b"." | b".." => refused("is that of a directory"),
        bare => Ok(folder().join(OsStr::from_bytes(bare))),
    }
}

/// A name, or the beginning of one, without the slash in front that may be left out.
fn without_slash(name: &OsStr) -> Result<&[u8]> {
    let bare = name.as_bytes();
    let bare = bare.strip_prefix(b"/").unwrap_or(bare);
    let refused = |reason| Err(NameError::Invalid { name: Name::Path(Path::new(name)).into(), reason }.into());
    if bare.contains(&b'/') {
        return refused("has a slash inside");
    }
    if bare.contains(&0) {
        return refused("has a NUL byte inside");
    }
    if bare.len() > LONGEST {
        return Err(NameError::TooLong { length: bare.len(), longest: LONGEST }.into());
    }
    Ok(bare)
}
