//! The codes: which error has which, and the table of their numbers, names and general meanings.

use super::Error;
use crate::sys::Errno;
use std::ffi::CStr;

impl Error {
    /// The error number of errno(3) that the C interface returns for this, negated.
    pub fn errno(&self) -> i32 {
        let errno = match self {
            Error::NullArgument(_)
            | Error::NullWithSize(_)
            | Error::UnknownFlags { .. }
            | Error::UnknownValue { .. }
            | Error::UnknownMode { .. }
            | Error::BadOptionsSize { .. }
            | Error::ReserveTooSmall { .. }
            | Error::Contradiction(_)
            | Error::MisalignedFileOffset { .. }
            | Error::EmptyMapping { .. }
            | Error::CreateNeedsWrite { .. }
            | Error::Misaligned { .. }
            | Error::NotShared
            | Error::NoSuchSize { length: 0, .. }
            | Error::NotAView { .. } => Errno::EINVAL,
            Error::OptionsTooNew { .. } => Errno::E2BIG,
            Error::StaleToken { .. } | Error::BadDescriptor { .. } | Error::LostDescriptor { .. } => Errno::EBADF,
            Error::AccessDenied { .. } | Error::AccessExceeded { .. } => Errno::EACCES,
            Error::FileTooShort { .. } | Error::BehindEnd { .. } => Errno::ENXIO,
            Error::OutOfRange { .. }
            | Error::NoSuchSize { .. }
            | Error::OutOfReserve { .. }
            | Error::PastReserve { .. } => Errno::ERANGE,
            Error::ViewsOut { .. } | Error::InUse { .. } | Error::ForeignLock { .. } | Error::MutexesOut { .. } => {
                Errno::EBUSY
            }
            Error::Sealed { .. } => Errno::EPERM,
            Error::NotThere { .. } => Errno::ENOENT,
            Error::IsLink { .. } => Errno::ELOOP,
            Error::Exists { .. } => Errno::EEXIST,
            Error::NotMappable { .. } => Errno::ENODEV,
            Error::NoSpace { .. } => Errno::ENOSPC,
            Error::NoMemory { .. } | Error::TooManyLocks { .. } => Errno::ENOMEM,
            Error::System { errno, .. }
            | Error::CannotSeal { errno, .. }
            | Error::Fault { errno, .. }
            | Error::LostPages { errno, .. }
            | Error::ViewLostPages { errno, .. } => Errno(*errno),
            Error::Unguarded => Errno::EOPNOTSUPP,
            Error::Name(name) => name.errno(),
            Error::HandOver(refusal) => refusal.errno(),
            Error::Object { problem, .. } => problem.errno(),
            Error::TimedOut => Errno::ETIMEDOUT,
            Error::RangeLock(lock) => lock.errno(),
            Error::Interrupted => Errno::EINTR,
            Error::Internal => Errno::ENOTRECOVERABLE,
        };
        errno.0
    }
}

/// The codes of the C interface: number, name, and what `mapshare_strerror` says.
const CODES: &[(Errno, &str, &CStr)] = &[
    (Errno::EINVAL, "EINVAL", c"broken contract: an argument is NULL, unknown, misaligned or contradicts another"),
    (Errno::EBADF, "EBADF", c"the token is not an open region or queue, or the descriptor is not open"),
    (Errno::EACCES, "EACCES", c"more access was asked than the file, the descriptor or the region grants"),
    (Errno::ENXIO, "ENXIO", c"the bytes do not exist in the file: it is shorter than the range, or was cut short"),
    (Errno::ERANGE, "ERANGE", c"offset + length leaves the region; nothing was done"),
    (Errno::ENOSPC, "ENOSPC", c"no room on the file system for the bytes written or created"),
    (Errno::EIO, "EIO", c"the device failed while a page was read or written"),
    (Errno::EBUSY, "EBUSY", c"views, queues or locks of this region are still out, or the role is taken"),
    (Errno::EOPNOTSUPP, "EOPNOTSUPP", c"this kind of region or file system cannot do it"),
    (
        Errno::EAGAIN,
        "EAGAIN",
        c"not now, try again: the socket does not wait, or writers lapped the reader 64 times in one read",
    ),
    (Errno::E2BIG, "E2BIG", c"the options struct is newer than this library and uses what it does not know"),
    (Errno::EPROTO, "EPROTO", c"what came over the socket is not a hand-over"),
    (Errno::ENOENT, "ENOENT", c"no such file, directory or name; check it, or pass MAPSHARE_CREATE to make the file"),
    (Errno::EEXIST, "EEXIST", c"the file or name exists already"),
    (Errno::ELOOP, "ELOOP", c"a symbolic link stands where none is followed, or symbolic links lead in a circle"),
    (
        Errno::ENAMETOOLONG,
        "ENAMETOOLONG",
        c"the path or name is too long; a part of it may have 255 bytes and all of it 4095",
    ),
    (
        Errno::ENOTDIR,
        "ENOTDIR",
        c"a part of the path, or the descriptor that it counts from, should be a directory and is not",
    ),
    (Errno::EROFS, "EROFS", c"the file system is mounted read-only"),
    (Errno::ETXTBSY, "ETXTBSY", c"the file is a program that is running"),
    (Errno::ENOMEM, "ENOMEM", c"no memory or address space left, or the limit of locked memory is met"),
    (Errno::EMFILE, "EMFILE", c"this process has too many open descriptors; close some or raise RLIMIT_NOFILE"),
    (Errno::ENFILE, "ENFILE", c"the system has too many open files"),
    (Errno::ENODEV, "ENODEV", c"this kind of file cannot be mapped"),
    (Errno::ENOLCK, "ENOLCK", c"the kernel or file system has no more locks"),
    (Errno::ENOTSOCK, "ENOTSOCK", c"the descriptor is not a socket"),
    (Errno::EPERM, "EPERM", c"a seal forbids it, the lock is not yours, or the system does not permit it"),
    (Errno::EMSGSIZE, "EMSGSIZE", c"the message cannot fit in the queue, or the buffer is too small for it"),
    (Errno::EBADMSG, "EBADMSG", c"what stands at this offset is not a valid object of this kind, or was damaged"),
    (
        Errno::EPROTONOSUPPORT,
        "EPROTONOSUPPORT",
        c"an object of a layout version or word size that this build does not speak",
    ),
    (Errno::EDEADLK, "EDEADLK", c"this thread holds the lock already"),
    (Errno::ETIMEDOUT, "ETIMEDOUT", c"the time given has passed"),
    (Errno::EINTR, "EINTR", c"a signal came while the call waited"),
    (Errno::EPIPE, "EPIPE", c"the other side has ended it for good"),
    (Errno::ENOTRECOVERABLE, "ENOTRECOVERABLE", c"an internal error of the library was caught"),
];

/// What `mapshare_strerror` says for a code of either sign.
pub(crate) fn describe(code: i32) -> &'static CStr {
    if code == 0 {
        return c"success";
    }
    let errno = Errno(code.saturating_abs());
    let row = CODES.iter().find(|row| row.0 == errno);
    row.map_or(c"a code that mapshare does not define; see errno(3)", |row| row.2)
}

/// The name of a positive error number, such as "ENXIO"; None for one that the table does not have.
pub(crate) fn name(errno: i32) -> Option<&'static str> {
    let row = CODES.iter().find(|row| row.0 == Errno(errno))?;
    Some(row.1)
}
