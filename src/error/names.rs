//! What can be the matter with names, and with paths that come from others.

use crate::sys::Errno;

/// Why a name, or a path that has to stay beneath a directory, was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// What was passed is no name of shared memory.
    #[error("{name} {reason}; a name of shared memory is 1 to 255 bytes without a slash, but for one in front")]
    Invalid {
        /// What was passed.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The name of shared memory is too long.
    #[error("the name is {length} bytes long without its leading slash; take one of at most {longest}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The most it may have.
        longest: usize,
    },
    /// Another user has made what has the name.
    #[error(
        "{file} was made by user {owner} (mode {mode:#o}), and MAPSHARE_CREATE by user {user} takes only what that user \
         or root has made; leave the flag out to use what is there, or take another name"
    )]
    Planted {
        /// The name.
        file: String,
        /// The user that it belongs to.
        owner: u32,
        /// Its permission bits.
        mode: u32,
        /// This process's effective user.
        user: u32,
    },
    /// The file is not one that goes with its last user.
    #[error(
        "{file} exists and was made without MAPSHARE_UNLINK_LAST, so that others may rely on its staying; leave the flag \
         out, or remove it first"
    )]
    Stays {
        /// The file.
        file: String,
    },
    /// The system cannot count the users of a file that goes with its last.
    #[error(
        "{file} goes with its last user (MAPSHARE_UNLINK_LAST), and to count its users takes /proc, which is not there; \
         mount it, or leave the flag out"
    )]
    NoLastUser {
        /// The file.
        file: String,
    },
    /// Other processes were faster, again and again.
    #[error(
        "{file} came and went, or was about to go, for {seconds} s while it was being opened; a process that was stopped \
         while it removed it, or that has locked all of it, has to go on or end"
    )]
    Restless {
        /// The file.
        file: String,
        /// How long it was tried.
        seconds: u64,
    },
    /// A symbolic link stands in a path that has to stay beneath its directory.
    #[error(
        "a part of {file} is a symbolic link, and MAPSHARE_BENEATH follows none; pass the path that it leads to, if \
         whoever named this one may name that"
    )]
    LinkBeneath {
        /// The path.
        file: String,
    },
    /// A path that has to stay beneath its directory leads out of it.
    #[error(
        "{file} leads out of the directory that it counts from, which MAPSHARE_BENEATH refuses; pass a relative path \
         that does not go above its start"
    )]
    OutsideDirectory {
        /// The path.
        file: String,
    },
    /// The system cannot keep a path beneath its directory.
    #[error("MAPSHARE_BENEATH cannot be kept here: {reason}")]
    NoBeneath {
        /// What is missing.
        reason: &'static str,
    },
}

impl NameError {
    pub(super) fn errno(&self) -> Errno {
        match self {
            NameError::Invalid { .. } => Errno::EINVAL,
            NameError::TooLong { .. } => Errno::ENAMETOOLONG,
            NameError::Planted { .. } | NameError::OutsideDirectory { .. } => Errno::EACCES,
            NameError::Stays { .. } => Errno::EEXIST,
            NameError::Restless { .. } => Errno::EBUSY,
            NameError::LinkBeneath { .. } => Errno::ELOOP,
            NameError::NoBeneath { .. } | NameError::NoLastUser { .. } => Errno::EOPNOTSUPP,
        }
    }
}
