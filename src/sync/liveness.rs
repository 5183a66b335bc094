//! Who takes part in a file's locks, and whether he lives.

use crate::error::{Error, Result};
use crate::mem::mapping::Mapping;
use crate::mem::presence::{self, CannotJoin};
use crate::sys::Errno;
use std::num::NonZeroU32;

/// This process's number among those that use objects in the mapping's file; from now on the others see it live.
pub(crate) fn participant(mapping: &Mapping) -> Result<NonZeroU32> {
    let presence = mapping.presence().map_err(|errno| Error::system("pthread_atfork", "this process", errno))?;
    if let Some(participant) = presence.participant() {
        return Ok(participant);
    }
    presence.join(mapping.file()).map_err(|reason| match reason {
        CannotJoin::ForeignLock(held) => {
            Error::ForeignLock { start: held.start, length: held.length, process: held.process }
        }
        CannotJoin::System(call, errno) => {
            Error::system(call, "the region's file, for the lock that shows who lives,", errno)
        }
    })
}

/// Whether the process that has this number lives; a number that nobody has is that of a dead one.
pub(crate) fn is_alive(mapping: &Mapping, participant: u32) -> Result<bool> {
    presence::is_alive(mapping.file(), participant).map_err(|errno| match errno {
        Errno::EBADF => Error::LostDescriptor { fd: std::os::fd::AsRawFd::as_raw_fd(&mapping.file()), found: "" },
        errno => Error::system("fcntl", "the region's file", errno),
    })
}
