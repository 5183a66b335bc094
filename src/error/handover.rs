//! What can be the matter with a hand-over.

use crate::sys::Errno;

/// Why a region was not sent, or none received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// A socket that cannot be used, or not now.
    #[error("socket {fd} {found}")]
    Socket {
        /// The number passed.
        fd: i32,
        /// What is the matter with it, and what to do.
        found: &'static str,
        /// The code that belongs to it.
        errno: i32,
    },
    /// What came over the socket is none of ours.
    #[error(
        "what came over the socket is no region that was handed over: {found}. It is gone; have the other side call \
         mapshare_send"
    )]
    Alien {
        /// What is wrong with it.
        found: &'static str,
    },
    /// The file ends before what was handed over does.
    #[error(
        "the file is {size} bytes long, and {length} at offset {offset} were handed over: it was cut short since. The \
         message is gone; have it sent anew"
    )]
    CutShort {
        /// The file's length in bytes.
        size: u64,
        /// The first byte handed over, counted from the start of the file.
        offset: u64,
        /// The bytes handed over.
        length: u64,
    },
    /// The range leaves what was handed over.
    #[error(
        "offset {offset} + length {length} leaves what was handed over, which is {limit} bytes; ask for less, or for all \
         with 0 and 0"
    )]
    OutOfRange {
        /// The first byte asked for, counted from the first that was handed over.
        offset: u64,
        /// The bytes asked for.
        length: u64,
        /// The bytes handed over.
        limit: u64,
    },
}

impl HandOverError {
    pub(super) fn errno(&self) -> Errno {
        match self {
            HandOverError::Socket { errno, .. } => Errno(*errno),
            HandOverError::Alien { .. } => Errno::EPROTO,
            HandOverError::CutShort { .. } => Errno::ENXIO,
            HandOverError::OutOfRange { .. } => Errno::ERANGE,
        }
    }
}
