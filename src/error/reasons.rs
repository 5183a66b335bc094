//! Parts of sentences: why something is so.

use super::{describe, name};
use crate::sys::Errno;

/// Why pages were lost.
pub(super) fn loss(errno: i32) -> &'static str {
    match Errno(errno) {
        Errno::ENXIO => "the file was cut short",
        Errno::ENOSPC => "the file system was full",
        _ => "the device failed",
    }
}

/// Why bytes cannot be had, and what to do.
pub(super) fn fault_reason(errno: i32) -> &'static str {
    match Errno(errno) {
        Errno::ENXIO => "the file was cut short; mapshare_refresh takes over its length of now",
        Errno::ENOSPC => "the file system has no room for that page; free some and try again",
        _ => "the device failed to deliver or take that page",
    }
}

pub(super) fn sentence(errno: i32) -> std::borrow::Cow<'static, str> {
    match name(errno) {
        Some(_) => describe(errno).to_string_lossy(),
        None => std::io::Error::from_raw_os_error(errno).to_string().into(),
    }
}
