//! What hostile senders do is a code of the receiver: no crash, no waiting, no descriptor left behind.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::process::open_descriptors;
use common::sockets::{MESSAGE_LENGTH, STYLES, message, pair, send_raw, set_nonblocking, take_bytes};
use common::*;
use libc::*;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

const RO: u32 = MAPSHARE_READ_ONLY;
const RW: u32 = MAPSHARE_READ_WRITE;

/// A descriptor of a new file of two pages.
fn file(folder: &Folder) -> OwnedFd {
    let path = folder.file("file", 2 * page());
    File::options().read(true).write(true).open(path).unwrap().into()
}

/// Sends it and looks at what the receiver makes of it, through both doors and over all kinds of sockets; nothing is
/// left over, in the socket or in the process.
#[track_caller]
fn received(bytes: &[u8], carried: &[i32], options: &mapshare_options) -> Vec<Outcome<u64>> {
    let mut outcomes = Vec::new();
    for style in STYLES {
        for door in DOORS {
            let (one, other) = pair(style);
            set_nonblocking(&other);
            let before = open_descriptors();
            assert_eq!(send_raw(&one, bytes, carried), bytes.len() as isize);
            let outcome = door.receive(other.as_raw_fd(), options);
            let left = take_bytes(&other, &mut [0; 64]);
            if style != SOCK_STREAM {
                assert_eq!(left, -1, "the message is consumed");
            }
            outcomes.push(outcome.map(|region| region.length()));
            assert_eq!(open_descriptors(), before, "{style} {door:?}");
        }
    }
    outcomes
}

#[track_caller]
fn is_refused(bytes: &[u8], carried: &[i32], expected: i32, word: &str) {
    for outcome in received(bytes, carried, &with(RO)) {
        refused(outcome, expected, &[word]);
    }
}

#[test]
fn messages_that_are_not_ours_are_eproto() {
    in_own_process(messages_that_are_not_ours_are_eproto, || {
        let folder = Folder::new();
        let file = file(&folder);
        let fd = file.as_raw_fd();
        let good = message(RW, 0, 2 * page());
        assert!(received(&good, &[fd], &with(RW)).iter().all(|outcome| *outcome == Ok(2 * page())));
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        for (bytes, word) in [
            (changed(0, b'M'), "start with"),
            (changed(7, 0), "start with"),
            (changed(8, 2), "layout"),
            (changed(8, 0), "layout"),
            (changed(11, 1), "layout"),
            (changed(12, 3), "access"),
            (changed(15, 1), "access"),
            (changed(31, 0xff), "range"),
            (message(RO, 0, 0), "range"),
            (message(RO, u64::MAX - 4095, 8192), "range"),
            (message(RO, 1 << 63, 1), "range"),
            (message(RO, 0, u64::MAX), "range"),
            (message(RO, 1, 1), "page size"),
            (vec![0; MESSAGE_LENGTH], "start with"),
        ] {
            is_refused(&bytes, &[fd], EPROTO, word);
        }
        // Ranges that a file could have and this one has not.
        for (offset, length) in [(0, 2 * page() + 1), (4 * page(), 1), (1 << 40, 1 << 40), (0, i64::MAX as u64)] {
            is_refused(&message(RO, offset, length), &[fd], ENXIO, "bytes long");
            // Nor does MAPSHARE_CREATE make it as long as a sender says.
            for outcome in received(&message(RW, offset, length), &[fd], &create(0)) {
                refused(outcome, ENXIO, &["8192 bytes long", "cut short", "sent anew"]);
            }
        }
        // Nor is it made longer, or more of it mapped than was said.
        let creating = mapshare_options { length: 3 * page(), ..create(0) };
        for outcome in received(&good, &[fd], &creating) {
            refused(outcome, ERANGE, &["handed over"]);
        }
        assert_eq!(files::length_of(&folder.join("file")), 2 * page());
    });
}

#[test]
fn wrong_numbers_of_descriptors_are_eproto_and_none_leaks() {
    in_own_process(wrong_numbers_of_descriptors_are_eproto_and_none_leaks, || {
        let folder = Folder::new();
        let file = file(&folder);
        let good = message(RO, 0, page());
        is_refused(&good, &[], EPROTO, "no descriptor");
        for count in [2, 3, 4, 8, 60, 61, 62, 100, 253] {
            is_refused(&good, &vec![file.as_raw_fd(); count], EPROTO, "more than one");
        }
        process::limit(RLIMIT_NOFILE, 40);
        is_refused(&good, &[file.as_raw_fd(); 100], EPROTO, "more than one");
    });
}

#[test]
fn messages_of_another_length_are_eproto() {
    in_own_process(messages_of_another_length_are_eproto, || {
        let folder = Folder::new();
        let file = file(&folder);
        let good = message(RO, 0, page());
        for style in STYLES {
            for door in DOORS {
                for length in [0, 1, 31, 33, 64, 5000] {
                    let (one, other) = pair(style);
                    set_nonblocking(&other);
                    let before = open_descriptors();
                    let mut bytes = good.clone();
                    bytes.resize(length, 0);
                    if style == SOCK_STREAM && length == 0 {
                        continue; // nothing is sent
                    }
                    assert_eq!(send_raw(&one, &bytes, &[file.as_raw_fd()]), length as isize);
                    let outcome = door.receive(other.as_raw_fd(), &with(RO)).map(drop);
                    match (style, length) {
                        // What is behind it in a stream is the next reader's.
                        (SOCK_STREAM, 33..) => {
                            assert_eq!(outcome, Ok(()));
                            assert_eq!(take_bytes(&other, &mut [0; 8192]), length as isize - 32);
                        }
                        _ => refused(outcome, EPROTO, &["no region"]),
                    }
                    assert_eq!(open_descriptors(), before, "{style} {length}");
                }
            }
        }
        // Without a descriptor too, where the other side lives.
        for style in [SOCK_DGRAM, SOCK_SEQPACKET] {
            let (one, other) = pair(style);
            assert_eq!(send_raw(&one, b"", &[]), 0);
            refused(Door::C.receive(other.as_raw_fd(), &with(RO)), EPROTO, &["too short"]);
        }
    });
}

#[test]
fn descriptors_of_other_things_are_eproto() {
    in_own_process(descriptors_of_other_things_are_eproto, || {
        let folder = Folder::new();
        let path = folder.file("file", 8192);
        let name = common::c::c_path(&path);
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        let piped = unsafe { pipe(ends.as_mut_ptr()) };
        // SAFETY: a C string.
        let opened = |flags| unsafe { open(name.as_ptr(), flags) };
        let (naming, writing) = (opened(O_PATH), opened(O_WRONLY));
        // SAFETY: no memory is passed.
        let polling = unsafe { epoll_create1(0) };
        assert_eq!(piped, 0);
        let (socket, _other) = pair(SOCK_STREAM);
        let directory = File::open(folder.path()).unwrap();
        let device = File::options().read(true).write(true).open("/dev/zero").unwrap();
        let process = File::open("/proc/self/status").unwrap();
        let reading = File::open(&path).unwrap();
        let others = [ends[0], ends[1], naming, writing, polling, socket.as_raw_fd(), directory.as_raw_fd()];
        for fd in others.into_iter().chain([device.as_raw_fd()]) {
            is_refused(&message(RO, 0, page()), &[fd], EPROTO, "descriptor");
        }
        // By its own account a file of /proc is empty.
        for outcome in received(&message(RO, 0, page()), &[process.as_raw_fd()], &with(RO)) {
            assert!([EPROTO, ENXIO].contains(&code(outcome)));
        }
        // Whether the receiver will write or not, which mmap or the library finds out.
        for (fd, access) in [(reading.as_raw_fd(), RO), (reading.as_raw_fd(), RW), (writing, RW)] {
            for outcome in received(&message(RW, 0, page()), &[fd], &with(access)) {
                refused(outcome, EPROTO, &["grants less"]);
            }
        }
        // More than was said is not used.
        let writable = File::options().read(true).write(true).open(&path).unwrap();
        for access in [RO, MAPSHARE_COPY_ON_WRITE] {
            for outcome in received(&message(access, 0, page()), &[writable.as_raw_fd()], &with(RW)) {
                refused(outcome, EACCES, &["handed over"]);
            }
        }
        let (one, other) = pair(SOCK_DGRAM);
        send_raw(&one, &message(RO, 0, page()), &[writable.as_raw_fd()]);
        let mut region = Door::C.receive(other.as_raw_fd(), &with(RO)).unwrap();
        refused(region.protect(RW), EACCES, &["reading only"]);
        refused(region.seal(1), EOPNOTSUPP, &[]);
    });
}

#[test]
fn a_file_that_is_cut_right_after_the_hand_over_is_enxio() {
    let folder = Folder::new();
    for door in DOORS {
        let (one, other) = pair(SOCK_STREAM);
        let file = file(&folder);
        send_raw(&one, &message(RW, 0, 2 * page()), &[file.as_raw_fd()]);
        let mut region = door.receive(other.as_raw_fd(), &with(RO)).unwrap();
        let view = region.view(page(), 8).unwrap();
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { ftruncate(file.as_raw_fd(), 0) }, 0);
        refused(region.read(0, &mut [0; 8]), ENXIO, &["cut short"]);
        // SAFETY: a view that is out.
        assert_eq!(unsafe { view.read_volatile() }, 0);
        region.refresh().unwrap();
        refused(region.read(0, &mut [0; 8]), ERANGE, &[]);
    }
}

#[test]
fn a_stream_may_come_in_pieces_or_break_off_in_the_middle() {
    in_own_process(a_stream_may_come_in_pieces_or_break_off_in_the_middle, || {
        let folder = Folder::new();
        let file = file(&folder);
        let good = message(RO, 0, page());
        for door in DOORS {
            for cut in [1, 8, 31] {
                // In two pieces, with the descriptor at either, both there from the start or one after the other.
                for at_first in [true, false] {
                    let (one, other) = pair(SOCK_STREAM);
                    let carried = [file.as_raw_fd()];
                    let [first, second] = if at_first { [&carried[..], &[]] } else { [&[][..], &carried] };
                    assert_eq!(send_raw(&one, &good[..cut], first), cut as isize);
                    let region = std::thread::scope(|scope| {
                        scope.spawn(|| send_raw(&one, &good[cut..], second));
                        door.receive(other.as_raw_fd(), &with(RO))
                    });
                    assert_eq!(region.unwrap().length(), page());
                }
                // With one at each.
                let before = open_descriptors();
                let (one, twice) = pair(SOCK_STREAM);
                for piece in [&good[..cut], &good[cut..]] {
                    send_raw(&one, piece, &[file.as_raw_fd()]);
                }
                refused(door.receive(twice.as_raw_fd(), &with(RO)), EPROTO, &["more than one"]);
                drop((one, twice));
                // Broken off: the receiver does not wait where its socket does not, and not for the dead.
                let (one, other) = pair(SOCK_STREAM);
                set_nonblocking(&other);
                send_raw(&one, &good[..cut], &[file.as_raw_fd()]);
                refused(door.receive(other.as_raw_fd(), &with(RO)), EPROTO, &["and then nothing"]);
                drop((one, other));
                let (one, other) = pair(SOCK_STREAM);
                send_raw(&one, &good[..cut], &[file.as_raw_fd()]);
                drop(one);
                refused(door.receive(other.as_raw_fd(), &with(RO)), EPROTO, &["too short"]);
                drop(other);
                assert_eq!(open_descriptors(), before);
            }
        }
    });
}

/// A program may have asked its socket for more than descriptors: SO_PASSCRED, and SO_PASSPIDFD, which makes one.
#[test]
fn what_the_kernel_adds_to_messages_is_no_hindrance_and_does_not_leak() {
    in_own_process(what_the_kernel_adds_to_messages_is_no_hindrance_and_does_not_leak, || {
        const SO_PASSPIDFD: i32 = 76;
        let folder = Folder::new();
        let region = Door::C.open(folder.file("file", 4096), &with(RW)).unwrap();
        let on: i32 = 1;
        for style in STYLES {
            let (one, other) = pair(style);
            for option in [SO_PASSCRED, SO_PASSPIDFD] {
                // SAFETY: an int.
                let set = unsafe { setsockopt(other.as_raw_fd(), SOL_SOCKET, option, (&raw const on).cast(), 4) };
                if set != 0 {
                    skip(&format!("socket option {option}: {}", std::io::Error::last_os_error()));
                }
            }
            let before = open_descriptors();
            for door in DOORS {
                region.send(one.as_raw_fd(), RW).unwrap();
                assert_eq!(door.receive(other.as_raw_fd(), &with(RW)).unwrap().length(), 4096);
                assert_eq!(send_raw(&one, b"garbage", &[]), 7);
                one_more_piece(&one, style);
                refused(door.receive(other.as_raw_fd(), &with(RW)), EPROTO, &[]);
            }
            assert_eq!(open_descriptors(), before);
        }
    });
}

/// Fills a stream's garbage up to one message, for a receiver that waits for it.
fn one_more_piece(socket: &OwnedFd, style: i32) {
    if style == SOCK_STREAM {
        assert_eq!(send_raw(socket, &[0; MESSAGE_LENGTH - 7], &[]), MESSAGE_LENGTH as isize - 7);
    }
}

#[test]
fn random_messages_are_codes() {
    in_own_process(random_messages_are_codes, || {
        let seed = std::env::var("MAPSHARE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
        say(&format!("MAPSHARE_SEED={seed}"));
        let mut state = seed;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let folder = Folder::new();
        let file = file(&folder);
        let device = File::open("/dev/null").unwrap();
        let before = open_descriptors();
        let mut good = 0;
        for _ in 0..5_000 {
            let (one, other) = pair(STYLES[random(3) as usize]);
            set_nonblocking(&other);
            let mut bytes = message(random(4) as u32, random(3) * page(), 1 + random(2 * page()));
            for _ in 0..random(3) {
                bytes[random(32) as usize] = random(256) as u8;
            }
            bytes.truncate(if random(8) == 0 { random(33) as usize } else { 32 });
            let carried: Vec<i32> =
                (0..random(3)).map(|_| if random(4) == 0 { device.as_raw_fd() } else { file.as_raw_fd() }).collect();
            if send_raw(&one, &bytes, &carried) < 0 {
                continue;
            }
            let door = DOORS[random(2) as usize];
            match door.receive(other.as_raw_fd(), &with(random(3) as u32)) {
                Ok(region) => {
                    good += 1;
                    region.read(0, &mut [0]).unwrap();
                }
                Err(failure) => {
                    let known = [EPROTO, ENXIO, EACCES, EPIPE, EAGAIN];
                    assert!(known.contains(&failure.code), "{}", failure.text);
                }
            }
        }
        assert!(good > 20, "some of them are whole: {good}"); // about 115
        assert_eq!(open_descriptors(), before);
    });
}
