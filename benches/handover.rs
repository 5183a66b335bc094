//! mapshare_send, mapshare_receive and mapshare_unmap against what a program without the library does: sendmsg, recvmsg,
//! mmap, munmap and close, with a descriptor that it keeps for sending; and against the same with one that is opened for
//! each receiver, which gives it no more rights than it should have and locks of its own, as the library does.

mod common;

use common::files::File;
use common::library::{Library, Token};
use common::machine;
use common::measure::compare;
use common::table::{Goal, Table};
use mapshare::ffi::options::*;
use std::ffi::{CStr, CString, c_int, c_void};
use std::io::Error;
use std::mem::zeroed;
use std::ptr::null_mut;

const LENGTH: usize = 4096;
/// Sent, received and unmapped, as a multiple of the calls that do the same without the library.
const HANDED_OVER: Goal = Goal::Ratio(1.3);

fn main() {
    machine::pin_somewhere();
    let library = Library::load();
    let table = Table::new("Hand-over: send, receive, unmap, 4 KiB", "mapshare", "raw calls");
    let writing =
        mapshare_options { access: MAPSHARE_READ_WRITE, length: LENGTH as u64, ..mapshare_options::default() };
    let [shared, sealed] = [0; 2].map(|_| library.open_anonymous(&writing));
    // SAFETY: any token may be passed.
    library.check(unsafe { (library.seal)(sealed.0, MAPSHARE_SEAL_FUTURE_WRITE | MAPSHARE_SEAL_SHRINK) });
    let file = File::new("/dev/shm", LENGTH);
    let file = library.open(file.c_path(), &writing);
    for (name, region, access) in [
        ("memory, read-write", shared, MAPSHARE_READ_WRITE),
        ("sealed memory, read-only", sealed, MAPSHARE_READ_ONLY),
        ("file in /dev/shm, read-write", file, MAPSHARE_READ_WRITE),
        ("file in /dev/shm, read-only", file, MAPSHARE_READ_ONLY),
    ] {
        let ends = pair(libc::SOCK_STREAM);
        let raw = reading_or_writing(&library, region, access, ends);
        let path = CString::new(format!("/proc/self/fd/{raw}")).expect("no NUL inside");
        for (how, opened, goal) in [("", None, Goal::None), (", opened anew", Some(&*path), HANDED_OVER)] {
            let comparison = compare(
                |calls| (0..calls).for_each(|_| hand_over(&library, region, access, ends)),
                |calls| (0..calls).for_each(|_| hand_over_raw(raw, opened, access, ends)),
            );
            table.row(&format!("{name}{how}"), &comparison, goal);
        }
    }
}

fn hand_over(library: &Library, region: Token, access: u32, ends: [c_int; 2]) {
    // SAFETY: any token may be passed.
    library.check(unsafe { (library.send)(region.0, ends[0], access) });
    let options = mapshare_options { access, ..mapshare_options::default() };
    library.unmap(library.receive(ends[1], &options));
}

/// A descriptor with the rights that are handed over, as a program would keep it for sending.
fn reading_or_writing(library: &Library, region: Token, access: u32, ends: [c_int; 2]) -> c_int {
    // SAFETY: any token may be passed.
    library.check(unsafe { (library.send)(region.0, ends[0], access) });
    receive_raw(ends[1])
}

fn pair(style: c_int) -> [c_int; 2] {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    let made = unsafe { libc::socketpair(libc::AF_UNIX, style | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) };
    assert_eq!(made, 0, "socketpair: {}", Error::last_os_error());
    ends
}

fn hand_over_raw(fd: c_int, opened: Option<&CStr>, access: u32, ends: [c_int; 2]) {
    match opened {
        None => send_raw(ends[0], fd),
        Some(path) => {
            let mode = if access == MAPSHARE_READ_WRITE { libc::O_RDWR } else { libc::O_RDONLY };
            // SAFETY: a C string.
            let fd = unsafe { libc::open(path.as_ptr(), mode | libc::O_CLOEXEC) };
            assert!(fd >= 0, "open: {}", Error::last_os_error());
            send_raw(ends[0], fd);
            // SAFETY: opened just now.
            unsafe { libc::close(fd) };
        }
    }
    let fd = receive_raw(ends[1]);
    let writing = if access == MAPSHARE_READ_WRITE { libc::PROT_WRITE } else { 0 };
    // SAFETY: a new mapping; nothing is replaced.
    let address = unsafe { libc::mmap(null_mut(), LENGTH, libc::PROT_READ | writing, libc::MAP_SHARED, fd, 0) };
    assert_ne!(address, libc::MAP_FAILED, "mmap: {}", Error::last_os_error());
    // SAFETY: mapped just now, and nobody uses it.
    let unmapped = unsafe { libc::munmap(address, LENGTH) };
    assert_eq!(unmapped, 0, "munmap: {}", Error::last_os_error());
    // SAFETY: received just now.
    unsafe { libc::close(fd) };
}

const SPACE: usize = 24;

/// Calls `act` with a message of as many bytes as the library's, and room for one descriptor.
fn with_message<R>(act: impl FnOnce(*mut libc::msghdr, *mut c_int) -> R) -> R {
    let (mut bytes, mut parts) = ([0u8; 32], [0u64; SPACE / 8]);
    let mut piece = libc::iovec { iov_base: bytes.as_mut_ptr().cast::<c_void>(), iov_len: bytes.len() };
    // SAFETY: all zeros is a value of it.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &mut piece;
    message.msg_iovlen = 1;
    message.msg_control = parts.as_mut_ptr().cast();
    message.msg_controllen = SPACE;
    let header = parts.as_mut_ptr().cast::<libc::cmsghdr>();
    let content = libc::cmsghdr { cmsg_len: 20, cmsg_level: libc::SOL_SOCKET, cmsg_type: libc::SCM_RIGHTS };
    // SAFETY: the parts begin with a header.
    unsafe { header.write(content) };
    // SAFETY: behind the header.
    let descriptor = unsafe { libc::CMSG_DATA(header) };
    act(&mut message, descriptor.cast())
}

fn send_raw(socket: c_int, fd: c_int) {
    with_message(|message, descriptor| {
        // SAFETY: the message has room for it.
        unsafe { descriptor.write(fd) };
        // SAFETY: the message and what it names stay for the call.
        let sent = unsafe { libc::sendmsg(socket, message, libc::MSG_NOSIGNAL) };
        assert_eq!(sent, 32, "sendmsg: {}", Error::last_os_error());
    });
}

fn receive_raw(socket: c_int) -> c_int {
    with_message(|message, descriptor| {
        // SAFETY: the message and what it names stay for the call.
        let received = unsafe { libc::recvmsg(socket, message, libc::MSG_CMSG_CLOEXEC) };
        assert_eq!(received, 32, "recvmsg: {}", Error::last_os_error());
        // SAFETY: the kernel has put it there.
        unsafe { descriptor.read() }
    })
}
