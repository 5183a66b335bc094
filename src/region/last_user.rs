//! Files that go with their last user: MAPSHARE_UNLINK_LAST.
//!
//! Decision: the kernel tells who is alive, by locks that it frees on any death, and not a count in the file or a list
//! of pids, which a kill leaves behind.
//! - Such a file is marked by its permission bits: sticky, and execution for nobody. That survives every kill, costs
//!   nothing to see, and no `chmod -R` of whole trees sets it by accident.
//! - A user is whoever has a region of it. It holds a shared lock on one byte far behind the end of all files, on an
//!   open file description of its own, which its forked children share.
//! - A file whose byte nobody has locked is dead, and stays so: users are added only while there is one, and the first
//!   locks it before the file has a name. A name is removed only while the byte is locked exclusively, and only when
//!   it stands for that very file; so of all who leave, find or sweep a dead file one removes it, and never another
//!   file that has got the name since.

use super::name::{Name, split};
use super::options::Options;
use crate::error::{Error, NameError, Result};
use crate::mem::forks;
use crate::sys::Errno;
use crate::sys::file::{self, Kind, OpenMode, Status};
use crate::sys::lock::{self, Held, Mode};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::Path;

/// The byte that users lock. Locks that programs ask for end below 2^62, and the bytes between are kept for
/// participants.
const USED: u64 = (1 << 62) + (1 << 32);
/// The permission bits that make up the mark, and their values.
const MARK_BITS: u32 = 0o1111;
const MARK: u32 = 0o1000;

/// Whether a file goes with its last user.
pub(super) fn is_marked(status: &Status) -> bool {
    status.kind == Kind::Regular && status.mode & MARK_BITS == MARK
}

/// Why a file has got no user.
pub(super) fn failure(call: &'static str, name: Name, errno: Errno) -> Error {
    match errno {
        Errno::EOPNOTSUPP => NameError::NoLastUser { file: name.into() }.into(),
        errno => Error::system(call, name, errno),
    }
}

/// A path as it was asked for, and what it led to when it was opened.
pub(super) struct Found<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) path: &'a Path,
    pub(super) c_path: &'a CStr,
    pub(super) file: BorrowedFd<'a>,
    pub(super) status: Status,
}

/// What an opener of a file is to it.
pub(super) enum Entry {
    /// Nothing: the file stays, whoever uses it.
    Plain,
    /// One of its users.
    User(LastUser),
    /// It has gone, or is about to: what stands at the path has to be looked for again.
    Gone,
}

impl Options {
    /// Makes this process a user of what was found at a path, if that goes with its last user.
    pub(super) fn join(&self, found: &Found) -> Result<Entry> {
        let name = Name::Path(found.path);
        if !is_marked(&found.status) {
            return if self.unlink_last {
                Err(NameError::Stays { file: name.into() }.into())
            } else {
                Ok(Entry::Plain)
            };
        }
        if !self.removes() {
            // One that did not ask for this removes nothing, and counts where it can. It opens what is dead as well,
            // which may be a copy or a backup that has kept the permission bits.
            return Ok(LastUser::new(found.file, None)
                .and_then(|user| self.enter(user, found))
                .unwrap_or(Entry::Plain));
        }
        let failed = |errno| failure("fcntl", name, errno);
        let home = Home::of(self, found.directory, found.path).map_err(failed)?;
        let user = LastUser::new(found.file, Some(home)).map_err(failed)?;
        match user.others().map_err(failed)? {
            Others::Use => return self.enter(user, found).map_err(failed),
            Others::Remove => return Ok(Entry::Gone),
            Others::Nothing => {}
        }
        match user.leave() {
            Ok(_) => Ok(Entry::Gone),
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) => Err(self.left_over(name)),
            Err(errno) => Err(failed(errno)),
        }
    }

    fn enter(&self, user: LastUser, found: &Found) -> Result<Entry, Errno> {
        if !user.enter()? {
            return Ok(Entry::Gone);
        }
        // The name may have gone before the lock was there; from here on it stays.
        match file::status_at(found.directory, found.c_path, self.follows()) {
            Ok(there) if there.identity() == found.status.identity() => Ok(Entry::User(user)),
            _ => Ok(Entry::Gone),
        }
    }

    /// Whether what is opened, and goes with its last user, is removed by this one if it is the last.
    pub(super) fn removes(&self) -> bool {
        self.named || self.unlink_last
    }

    fn left_over(&self, name: Name) -> Error {
        if self.create {
            let remedy = "its owner or root can open it or sweep it, or take another name";
            return Error::AccessDenied { access: "removing what dead processes have left", file: name.into(), remedy };
        }
        let remedy = " any more: its users are dead, and what they have left is its owner's to remove";
        Error::NotThere { file: name.into(), remedy }
    }
}

/// What others do with a file that goes with its last user.
enum Others {
    Use,
    /// One has found it dead. He may be killed before it is gone, and it is dead all the same.
    Remove,
    Nothing,
}

/// A share in a file that goes with its last user; dropping it gives the share back, and removes the name if it was
/// the last.
pub(super) struct LastUser {
    /// Locks the byte.
    lock: Option<Kept>,
    /// Where the name is, for those that remove it.
    home: Option<Home>,
    /// How often the process had forked before the lock was there.
    forks: Option<u64>,
}

impl LastUser {
    /// The first share in a file that has no name yet, and the mark on it.
    pub(super) fn of_new(file: BorrowedFd, mode: u32, home: Home) -> Result<LastUser, Errno> {
        let user = LastUser::new(file, Some(home))?;
        // Before the mark, since a marked file that nobody has locked is dead.
        user.enter()?;
        file::set_mode(file, mode & !MARK_BITS | MARK)?;
        Ok(user)
    }

    /// A share in what stands behind a descriptor; None where there is none to have.
    pub(super) fn of_descriptor(file: BorrowedFd, status: &Status) -> Option<LastUser> {
        let user = is_marked(status).then(|| LastUser::new(file, None))?.ok()?;
        user.enter().is_ok_and(|entered| entered).then_some(user)
    }

    fn new(file: BorrowedFd, home: Option<Home>) -> Result<LastUser, Errno> {
        let forks = forks::count();
        let own = file::reopen(file, OpenMode::Read).map_err(|errno| match errno {
            // KERNEL: without /proc a file behind a descriptor cannot be opened anew.
            Errno::ENOENT => Errno::EOPNOTSUPP,
            errno => errno,
        })?;
        Ok(LastUser { lock: Some(Kept::new(own)?), home, forks })
    }

    /// What others do with the file, asked before entering.
    fn others(&self) -> Result<Others, Errno> {
        let lock = self.lock().ok_or(Errno::EBADF)?;
        Ok(match lock::in_the_way(lock, Mode::Exclusive, USED, 1)? {
            Some(Held { mode: Mode::Shared, .. }) => Others::Use,
            Some(Held { mode: Mode::Exclusive, .. }) => Others::Remove,
            None => Others::Nothing,
        })
    }

    /// Locks the byte with the other users; false when somebody is about to remove the name.
    fn enter(&self) -> Result<bool, Errno> {
        match lock::try_lock(self.lock().ok_or(Errno::EBADF)?, Mode::Shared, USED, 1) {
            Err(Errno::EAGAIN) => Ok(false),
            result => result.map(|()| true),
        }
    }

    fn lock(&self) -> Option<BorrowedFd<'_>> {
        self.lock.as_ref()?.get()
    }

    /// Gives the share back; whether that removed the name.
    fn leave(mut self) -> Result<bool, Errno> {
        self.give_back()
    }

    fn give_back(&mut self) -> Result<bool, Errno> {
        let (lock, home) = (self.lock.take(), self.home.take());
        let Some(own) = lock.as_ref().and_then(Kept::get) else { return Ok(false) };
        // Another description, without locks, and opened while there is a descriptor to open it by.
        let removes = home.is_some() && !file::status(own)?.is_unnamed;
        let file = removes.then(|| file::reopen(own, OpenMode::ReadWrite)).transpose()?;
        // Children of a fork have the lock as well, and keep it when this descriptor goes. Where there are none, it goes
        // at once, also from children that are on their way to another program.
        if self.forks.is_some() && self.forks == forks::count() {
            lock::unlock(own, USED, 1)?;
        }
        drop(lock);
        let (Some(home), Some(file)) = (home, file) else { return Ok(false) };
        home.directory.get().map_or(Ok(false), |directory| remove_unused(directory, &home.name, file.as_fd()))
    }
}

impl Drop for LastUser {
    fn drop(&mut self) {
        // Who may not write the file, or finds no free descriptor, leaves the name to the next opener or sweep.
        let _ = self.give_back();
    }
}

/// A name in a directory. The directory is held, so that nobody can put another one in its place.
pub(super) struct Home {
    directory: Kept,
    name: CString,
}

impl Home {
    pub(super) fn of(options: &Options, directory: BorrowedFd, path: &Path) -> Result<Home, Errno> {
        let (parent, name) = split(path);
        let c_string = |text: &std::ffi::OsStr| CString::new(text.as_encoded_bytes()).map_err(|_| Errno::EINVAL);
        let directory = options.directory_of(directory, &c_string(parent)?)?;
        Ok(Home { directory: Kept::new(directory)?, name: c_string(name)? })
    }
}

/// A descriptor of ours, as long as it is: programs also close those that they have not opened, and then get the number
/// for files of their own.
struct Kept {
    fd: Option<OwnedFd>,
    identity: (u64, u64),
}

impl Kept {
    fn new(fd: OwnedFd) -> Result<Kept, Errno> {
        let identity = file::status(fd.as_fd())?.identity();
        Ok(Kept { fd: Some(fd), identity })
    }

    fn get(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.fd.as_ref()?.as_fd();
        file::status(fd).is_ok_and(|status| status.identity() == self.identity).then_some(fd)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.get().is_none() {
            // Not ours to close.
            let _ = self.fd.take().map(IntoRawFd::into_raw_fd);
        }
    }
}

/// Removes the names in a directory that begin with `prefix` and whose users are all dead; how many.
pub(super) fn sweep(directory: &CStr, prefix: &[u8]) -> Result<u64, Errno> {
    let names = file::names_in(directory)?;
    let directory = file::open_directory(file::WORKING_DIRECTORY, directory)?;
    let matching = names.filter(|name| name.to_bytes().starts_with(prefix));
    Ok(matching.filter(|name| sweep_one(directory.as_fd(), name) == Ok(true)).count() as u64)
}

fn sweep_one(directory: BorrowedFd, name: &CStr) -> Result<bool, Errno> {
    if !is_marked(&file::status_at(directory, name, false)?) {
        return Ok(false);
    }
    let file = file::open(directory, name, OpenMode::ReadWrite, false)?;
    remove_unused(directory, name, file.as_fd())
}

/// Removes a file's name if nobody uses the file; whether it did.
fn remove_unused(directory: BorrowedFd, name: &CStr, file: BorrowedFd) -> Result<bool, Errno> {
    match lock::try_lock(file, Mode::Exclusive, USED, 1) {
        Err(Errno::EAGAIN) => return Ok(false),
        result => result?,
    }
    let removed = remove(directory, name, file);
    // Not left to the end of the descriptor, which a child of a fork of just now has too.
    let _ = lock::unlock(file, USED, 1);
    removed
}

/// Removes a name if it is that of the file, and the file is still one to go.
fn remove(directory: BorrowedFd, name: &CStr, file: BorrowedFd) -> Result<bool, Errno> {
    let status = file::status(file)?;
    match file::status_at(directory, name, false) {
        Ok(there) if there.identity() == status.identity() && is_marked(&there) => {
            file::unlink(directory, name).map(|()| true)
        }
        Ok(_) | Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One who is taken for a user may be killed before `enter`, which then joins what was dead.
    #[test]
    fn who_removes_a_dead_file_is_not_taken_for_a_user() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let user = LastUser::new(file.as_file().as_fd(), None).unwrap();
        assert!(matches!(user.others(), Ok(Others::Nothing)));
        let other = file.reopen().unwrap();
        lock::try_lock(other.as_fd(), Mode::Exclusive, USED, 1).unwrap();
        assert!(matches!(user.others(), Ok(Others::Remove)));
        lock::try_lock(other.as_fd(), Mode::Shared, USED, 1).unwrap();
        assert!(matches!(user.others(), Ok(Others::Use)));
    }
}
