//! A file that is being made: complete before it has a name.
//!
//! Decision: it is made without a name (open(2), O_TMPFILE) and linked to it last, so that nobody ever opens a
//! half-made one, and a failure or a kill leaves nothing behind. Where the file system has no unnamed files it gets
//! a random name of its own meanwhile.

use crate::sys::Errno;
use crate::sys::file;
use std::ffi::{CStr, CString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A new file that nobody else can open yet; it goes away unless it is published.
pub(super) struct NewFile {
    directory: OwnedFd,
    temporary_name: Option<CString>,
}

impl NewFile {
    /// Makes an empty file in that directory.
    pub(super) fn create(directory: OwnedFd, mode: u32) -> Result<(NewFile, OwnedFd), Errno> {
        match file::create_unnamed(directory.as_fd(), mode) {
            Ok(file) => Ok((NewFile { directory, temporary_name: None }, file)),
            // KERNEL: what file systems without unnamed files answer, see open(2), "O_TMPFILE", ERRORS.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => NewFile::create_temporary(directory, mode),
            Err(errno) => Err(errno),
        }
    }

    fn create_temporary(directory: OwnedFd, mode: u32) -> Result<(NewFile, OwnedFd), Errno> {
        let random = RandomState::new().build_hasher().finish();
        let name = CString::new(format!(".mapshare-{random:016x}")).map_err(|_| Errno::EINVAL)?;
        let file = file::create(directory.as_fd(), &name, mode)?;
        Ok((NewFile { directory, temporary_name: Some(name) }, file))
    }

    /// Gives the file its name, which must be free: EEXIST otherwise.
    pub(super) fn publish(mut self, file: BorrowedFd, name: &CStr) -> Result<(), Errno> {
        let directory = self.directory.as_fd();
        let Some(temporary) = &self.temporary_name else {
            return file::link_unnamed(file, directory, name);
        };
        match file::rename_to_free(directory, temporary, name) {
            Ok(()) => {
                self.temporary_name = None;
                Ok(())
            }
            // Without a rename that spares what is there, a second name does; the first goes when this is dropped.
            Err(Errno::EINVAL) => file::link(directory, temporary, name),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(name) = &self.temporary_name {
            // Nobody is left to tell of a failure; the name is ours alone.
            let _ = file::unlink(self.directory.as_fd(), name);
        }
    }
}
