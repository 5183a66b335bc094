//! The parts of sentences that depend on a number.

use super::codes::{describe, name};
use crate::sys::Errno;
use std::borrow::Cow;

/// Who holds a lock.
pub(super) fn holder(process: Option<i32>) -> Cow<'static, str> {
    match process {
        Some(process) => format!("process {process} (fcntl F_SETLK)").into(),
        None => "another holder".into(),
    }
}

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

pub(super) fn sentence(errno: i32) -> Cow<'static, str> {
    match name(errno) {
        Some(_) => describe(errno).to_string_lossy(),
        None => std::io::Error::from_raw_os_error(errno).to_string().into(),
    }
}
