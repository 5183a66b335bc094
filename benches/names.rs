//! Names of shared memory against what a program without the library does with shm_open and its like; and what it costs
//! that a name goes with its last user.

mod common;

use common::library::Library;
use common::machine;
use common::measure::compare;
use common::table::{Goal, Table};
use mapshare::ffi::options::*;
use std::ffi::{CStr, CString, c_int, c_void};
use std::io::Error;

const LENGTH: usize = 4096;
/// Opening what is there, as a multiple of the calls without the library.
const OPEN: Goal = Goal::Ratio(1.5);
/// Making it whole, as a multiple of making it in place.
const CREATE: Goal = Goal::Ratio(2.0);

fn main() {
    machine::pin_somewhere();
    let library = Library::load();
    let name = format!("/mapshare-bench-{}", std::process::id());
    let name = CString::new(name).expect("no NUL inside");
    let create = |flags| mapshare_options {
        flags: MAPSHARE_CREATE | flags,
        access: MAPSHARE_READ_WRITE,
        length: LENGTH as u64,
        ..mapshare_options::default()
    };
    let table = Table::new("Names of shared memory, 4 KiB", "mapshare", "raw calls");

    library.unmap(library.open_named(&name, &create(0)));
    for (what, access) in [("read-only", MAPSHARE_READ_ONLY), ("read-write", MAPSHARE_READ_WRITE)] {
        let options = mapshare_options { access, ..mapshare_options::default() };
        let comparison = compare(
            |calls| (0..calls).for_each(|_| library.unmap(library.open_named(&name, &options))),
            |calls| (0..calls).for_each(|_| open_and_close(&name, access)),
        );
        table.row(&format!("open_named + unmap, {what}"), &comparison, OPEN);
    }
    library.unlink_named(&name);

    let ours = |flags| {
        let (library, name, options) = (&library, &name, create(flags));
        move |calls| {
            (0..calls).for_each(|_| {
                library.unmap(library.open_named(name, &options));
                if flags & MAPSHARE_UNLINK_LAST == 0 {
                    library.unlink_named(name);
                }
            })
        }
    };
    let raw = |calls| (0..calls).for_each(|_| create_and_unlink(&name));
    table.row("create + unmap + unlink", &compare(ours(0), raw), CREATE);
    table.row("the same, UNLINK_LAST", &compare(ours(MAPSHARE_UNLINK_LAST), raw), Goal::None);
    table.row("UNLINK_LAST (without)", &compare(ours(MAPSHARE_UNLINK_LAST), ours(0)), Goal::None);

    let held = library.open_named(&name, &create(MAPSHARE_UNLINK_LAST));
    let options = mapshare_options::default();
    let comparison = compare(
        |calls| (0..calls).for_each(|_| library.unmap(library.open_named(&name, &options))),
        |calls| (0..calls).for_each(|_| open_and_close(&name, MAPSHARE_READ_ONLY)),
    );
    table.row("open_named + unmap of one with UNLINK_LAST", &comparison, Goal::None);
    library.unmap(held);
}

fn open_and_close(name: &CStr, access: u32) {
    let (flags, protection) = match access {
        MAPSHARE_READ_WRITE => (libc::O_RDWR, libc::PROT_READ | libc::PROT_WRITE),
        _ => (libc::O_RDONLY, libc::PROT_READ),
    };
    // SAFETY: a C string.
    let fd = unsafe { libc::shm_open(name.as_ptr(), flags, 0) };
    assert!(fd >= 0, "shm_open: {}", Error::last_os_error());
    // SAFETY: all zeros is a value of it.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: room for the answer.
    let result = unsafe { libc::fstat(fd, &mut status) };
    assert_eq!(result, 0, "fstat: {}", Error::last_os_error());
    map_and_close(fd, status.st_size as usize, protection);
}

fn create_and_unlink(name: &CStr) {
    // SAFETY: a C string.
    let fd = unsafe { libc::shm_open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600) };
    assert!(fd >= 0, "shm_open: {}", Error::last_os_error());
    // SAFETY: no memory is passed; as below.
    let result = unsafe { libc::ftruncate(fd, LENGTH as i64) };
    assert_eq!(result, 0, "ftruncate: {}", Error::last_os_error());
    // SAFETY: see above.
    let result = unsafe { libc::posix_fallocate(fd, 0, LENGTH as i64) };
    assert_eq!(result, 0, "posix_fallocate");
    map_and_close(fd, LENGTH, libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a C string.
    let result = unsafe { libc::shm_unlink(name.as_ptr()) };
    assert_eq!(result, 0, "shm_unlink: {}", Error::last_os_error());
}

fn map_and_close(fd: c_int, length: usize, protection: c_int) {
    // SAFETY: a new mapping; nothing is replaced.
    let address: *mut c_void = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd, 0) };
    assert_ne!(address, libc::MAP_FAILED, "mmap: {}", Error::last_os_error());
    // SAFETY: mapped just now.
    let result = unsafe { libc::munmap(address, length) };
    assert_eq!(result, 0, "munmap: {}", Error::last_os_error());
    // SAFETY: the caller has opened it for this.
    unsafe { libc::close(fd) };
}
