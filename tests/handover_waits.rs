//! What ends the waiting for a hand-over, and what an end looks like.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::sockets::*;
use common::*;
use libc::*;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

const RO: u32 = MAPSHARE_READ_ONLY;
const RW: u32 = MAPSHARE_READ_WRITE;

fn anonymous(door: Door, length: u64) -> Opened {
    door.open_anonymous(&mapshare_options { length, ..with(RW) }).unwrap()
}

/// Runs `call` while another thread sends this one signals, as soon as it sleeps in the kernel.
fn under_signals<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: it only asks.
    let thread = unsafe { pthread_self() };
    // SAFETY: it only asks.
    let number = unsafe { gettid() };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let path = format!("/proc/self/task/{number}/syscall");
            while !done.load(Ordering::SeqCst) {
                if std::fs::read_to_string(&path).is_ok_and(|text| !text.starts_with("running")) {
                    // SAFETY: the thread waits for this one.
                    unsafe { pthread_kill(thread, SIGUSR1) };
                }
                std::thread::yield_now();
            }
        });
        let outcome = call();
        done.store(true, Ordering::SeqCst);
        outcome
    })
}

extern "C" fn nothing(_: i32) {}

/// With `flags` as SA_RESTART, which glibc's signal() sets, the kernel would go on with a receive or send that waits.
fn handle(flags: i32) {
    // SAFETY: all zeros is a value of it.
    let mut action: sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
    action.sa_flags = flags;
    // SAFETY: a whole struct; the handler does nothing.
    assert_eq!(unsafe { libc::sigaction(SIGUSR1, &action, std::ptr::null_mut()) }, 0);
}

/// Fills a socket with hand-overs; how many fit.
fn fill(socket: &OwnedFd, region: &Opened) -> usize {
    // SAFETY: no memory is passed.
    let flags = |flags: i32| assert_eq!(unsafe { fcntl(socket.as_raw_fd(), F_SETFL, flags) }, 0);
    flags(O_NONBLOCK);
    let sent = (0..).take_while(|_| region.send(socket.as_raw_fd(), RW).is_ok()).count();
    flags(0);
    sent
}

fn set_time(socket: &OwnedFd, option: i32, microseconds: i64) {
    let time = timeval { tv_sec: 0, tv_usec: microseconds };
    let size = size_of::<timeval>() as u32;
    // SAFETY: a timeval.
    let set = unsafe { setsockopt(socket.as_raw_fd(), SOL_SOCKET, option, (&raw const time).cast(), size) };
    assert_eq!(set, 0);
}

#[test]
fn a_signal_ends_the_waiting_and_consumes_nothing_with_sa_restart_too() {
    in_own_process(a_signal_ends_the_waiting_and_consumes_nothing_with_sa_restart_too, || {
        for (door, flags) in DOORS.into_iter().flat_map(|door| [(door, 0), (door, SA_RESTART)]) {
            handle(flags);
            for style in STYLES {
                let (one, other) = pair(style);
                let outcome = under_signals(|| door.receive(other.as_raw_fd(), &with(RO)));
                refused(outcome, EINTR, &["signal", "call again"]);
                let region = anonymous(door, 10);
                let sent = fill(&one, &region);
                refused(under_signals(|| region.send(one.as_raw_fd(), RW)), EINTR, &["signal", "call again"]);
                set_nonblocking(&other);
                for _ in 0..sent {
                    assert_eq!(door.receive(other.as_raw_fd(), &with(RO)).unwrap().length(), 10);
                }
                refused(door.receive(other.as_raw_fd(), &with(RO)), EAGAIN, &["O_NONBLOCK"]);
            }
        }
    });
}

#[test]
fn the_times_of_the_socket_end_the_waiting() {
    in_own_process(the_times_of_the_socket_end_the_waiting, || {
        for door in DOORS {
            for style in STYLES {
                let (one, other) = pair(style);
                set_time(&other, SO_RCVTIMEO, 10_000);
                refused(door.receive(other.as_raw_fd(), &with(RO)), EAGAIN, &["SO_RCVTIMEO"]);
                let region = anonymous(door, 10);
                fill(&one, &region);
                set_time(&one, SO_SNDTIMEO, 10_000);
                refused(region.send(one.as_raw_fd(), RW), EAGAIN, &["SO_SNDTIMEO"]);
            }
        }
    });
}

#[test]
fn an_empty_packet_of_a_living_peer_is_garbage_and_not_the_end() {
    for door in DOORS {
        let (one, other) = pair(SOCK_SEQPACKET);
        let receive = || door.receive(other.as_raw_fd(), &with(RO)).map(drop);
        assert_eq!(send_raw(&one, b"", &[]), 0);
        refused(receive(), EPROTO, &["too short"]);
        // What comes behind one is not lost, even if its sender has closed meanwhile.
        assert_eq!(send_raw(&one, b"", &[]), 0);
        anonymous(door, 10).send(one.as_raw_fd(), RW).unwrap();
        drop(one);
        refused(receive(), EPROTO, &["too short"]);
        receive().unwrap();
        refused(receive(), EPIPE, &["closed"]);
    }
}

#[test]
fn a_socket_that_is_shut_down_is_not_waited_for() {
    in_own_process(a_socket_that_is_shut_down_is_not_waited_for, || {
        for door in DOORS {
            for style in STYLES {
                let (_one, other) = pair(style);
                // SAFETY: no memory is passed.
                assert_eq!(unsafe { shutdown(other.as_raw_fd(), SHUT_RD) }, 0);
                refused(door.receive(other.as_raw_fd(), &with(RO)), EPIPE, &["closed"]);
            }
        }
    });
}
