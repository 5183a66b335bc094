//! What the tests share.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

pub(crate) mod c;
pub(crate) mod cells;
pub(crate) mod doors;
pub(crate) mod files;
pub(crate) mod forks;
pub(crate) mod header;
pub(crate) mod hostile;
pub(crate) mod kills;
pub(crate) mod mutexes;
pub(crate) mod names;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod random;
pub(crate) mod rings;
pub(crate) mod sockets;
pub(crate) mod steps;
pub(crate) mod victim;
pub(crate) mod words;

pub(crate) use doors::{DOORS, Door, Failure, Opened, Outcome, code, refused};
pub(crate) use files::Folder;
pub(crate) use mapshare::ffi::options::*;
pub(crate) use process::in_own_process;

/// What a line about a test that was not run starts with.
const SKIPPED: &str = "SKIPPED";

/// Tells on stderr, past the harness's capture, what was not tested and why.
pub(crate) fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    say(&format!("{SKIPPED} {test}: {why}"));
}

/// Writes a line to stderr, past the harness's capture.
pub(crate) fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Bytes in a page of this machine.
pub(crate) fn page() -> u64 {
    // SAFETY: sysconf only asks.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.unsigned_abs()
}

/// Options to make or extend a file of `length` bytes and write to it.
pub(crate) fn create(length: u64) -> mapshare_options {
    mapshare_options { flags: MAPSHARE_CREATE, access: MAPSHARE_READ_WRITE, length, ..Default::default() }
}

/// Options to open what there is.
pub(crate) fn with(access: u32) -> mapshare_options {
    mapshare_options { access, ..Default::default() }
}
