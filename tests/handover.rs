//! Regions handed to other processes over Unix sockets.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::c;
use common::process::{Partner, become_nobody, forked, listen, open_descriptors, role, tell};
use common::sockets::{STYLES, pair, send_raw, set_nonblocking, take_bytes};
use common::*;
use libc::*;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

const RO: u32 = MAPSHARE_READ_ONLY;
const RW: u32 = MAPSHARE_READ_WRITE;
const COW: u32 = MAPSHARE_COPY_ON_WRITE;
const FIXED: u32 = MAPSHARE_SEAL_FUTURE_WRITE | MAPSHARE_SEAL_SHRINK;

fn anonymous(door: Door, length: u64) -> Opened {
    door.open_anonymous(&mapshare_options { access: RW, length, ..Default::default() }).unwrap()
}

#[test]
fn what_is_sent_is_received_over_every_kind_of_unix_socket() {
    let folder = Folder::new();
    for door in DOORS {
        for style in STYLES {
            let (one, other) = pair(style);
            let file = door.open(folder.file("file", 3 * page()), &with(RW)).unwrap();
            for (sent, asked) in [(RW, RW), (RW, RO), (RW, COW), (RO, RO), (RO, COW), (COW, COW), (COW, RO)] {
                file.send(one.as_raw_fd(), sent).unwrap();
                let received = door.receive(other.as_raw_fd(), &with(asked)).unwrap();
                file.write(5, b"seen").unwrap();
                assert_eq!((received.length(), received.bytes(5, 4)), (3 * page(), b"seen".to_vec()));
                let writing = received.write(5, b"mine");
                assert_eq!(code(writing), if asked == RO { EACCES } else { 0 });
                assert_eq!(file.bytes(5, 4), if asked == RW { b"mine" } else { b"seen" }, "copy-on-write stays here");
                let info = received.info();
                assert_eq!((info.backing, info.access, info.inode), (MAPSHARE_BACKING_FD, asked, file.info().inode));
                file.fill(0, 100, 0).unwrap();
            }
            let memory = anonymous(door, 10_000);
            memory.send(one.as_raw_fd(), RW).unwrap();
            let received = door.receive(other.as_raw_fd(), &with(RW)).unwrap();
            received.write(9_999, b"x").unwrap();
            assert_eq!(memory.bytes(9_999, 1), b"x");
            assert_eq!(received.info().backing, MAPSHARE_BACKING_ANONYMOUS);
            // It is handed on, and lives on without the first.
            drop(memory);
            received.send(other.as_raw_fd(), RW).unwrap();
            drop(received);
            assert_eq!(door.receive(one.as_raw_fd(), &with(RO)).unwrap().bytes(9_999, 1), b"x");
        }
    }
}

#[test]
fn a_part_of_a_file_is_handed_over_as_that_part() {
    let folder = Folder::new();
    let (page, path) = (page(), folder.file("file", 10 * page()));
    for door in DOORS {
        let (one, other) = pair(SOCK_STREAM);
        let part = mapshare_options { offset: 2 * page, length: 5 * page + 1, ..with(RW) };
        let region = door.open(&path, &part).unwrap();
        region.write(page, b"second").unwrap();
        let receive = |offset, length| {
            region.send(one.as_raw_fd(), RO).unwrap();
            door.receive(other.as_raw_fd(), &mapshare_options { offset, length, ..with(RO) })
        };
        let all = receive(0, 0).unwrap().info();
        assert_eq!((all.offset, all.length), (2 * page, 5 * page + 1));
        let rest = receive(page, 0).unwrap();
        assert_eq!((rest.info().offset, rest.length(), rest.bytes(0, 6)), (3 * page, 4 * page + 1, b"second".to_vec()));
        let few = receive(page, 6).unwrap();
        assert_eq!((few.length(), few.bytes(0, 6)), (6, b"second".to_vec()));
        for (offset, length) in
            [(0, 5 * page + 2), (page, 5 * page), (6 * page, 0), (page, u64::MAX), (1 << 63, 1 << 63)]
        {
            refused(receive(offset, length), ERANGE, &[&offset.to_string(), &(5 * page + 1).to_string()]);
        }
        refused(receive(1, 1), EINVAL, &["page size"]);
        // The message was consumed each time.
        assert_eq!(code(receive(0, 0)), 0);
    }
}

#[test]
fn more_access_than_there_is_cannot_be_sent_or_received() {
    let folder = Folder::new();
    let path = folder.file("file", 4096);
    for door in DOORS {
        let (one, other) = pair(SOCK_SEQPACKET);
        let send = |region: &Opened, access| region.send(one.as_raw_fd(), access);
        let reading = door.open(&path, &with(RO)).unwrap();
        refused(send(&reading, RW), EACCES, &["MAPSHARE_READ_WRITE", "reading only"]);
        let private = door.open(&path, &with(COW)).unwrap();
        refused(send(&private, RW), EACCES, &["MAPSHARE_COPY_ON_WRITE"]);
        private.write(0, b"private").unwrap();
        for (region, access) in [(&reading, RO), (&reading, COW), (&private, RO), (&private, COW)] {
            send(region, access).unwrap();
            let received = door.receive(other.as_raw_fd(), &with(RO)).unwrap();
            assert_eq!(received.bytes(0, 7), [0; 7], "the file's bytes");
            send(region, access).unwrap();
            refused(door.receive(other.as_raw_fd(), &with(RW)), EACCES, &["handed over for reading"]);
        }
        // Narrowed by protect, it may be widened again, so that it may be sent so as well.
        let mut writing = door.open(&path, &with(RW)).unwrap();
        writing.protect(RO).unwrap();
        send(&writing, RW).unwrap();
        let mut received = door.receive(other.as_raw_fd(), &with(RO)).unwrap();
        refused(received.write(0, b"x"), EACCES, &[]);
        received.protect(RW).unwrap();
        received.write(0, b"\0").unwrap();
        received.protect(RO).unwrap();
        // What was received for reading stays so.
        send(&writing, RO).unwrap();
        let mut received = door.receive(other.as_raw_fd(), &with(RO)).unwrap();
        refused(received.protect(RW), EACCES, &["reading only"]);
        refused(received.send(one.as_raw_fd(), RW), EACCES, &[]);
        received.send(one.as_raw_fd(), RO).unwrap();
        assert_eq!(code(door.receive(other.as_raw_fd(), &with(COW))), 0);
    }
}

#[test]
fn each_receiver_gets_an_open_file_description_of_its_own() {
    let folder = Folder::new();
    let region = c::open(&folder.file("file", 4096), &with(RW)).unwrap();
    let memory = c::open_anonymous(&mapshare_options { length: 4096, ..with(RW) }).unwrap();
    let (one, other) = pair(SOCK_STREAM);
    for sender in [region, memory] {
        sender.send(one.as_raw_fd(), RW).unwrap();
        sender.send(one.as_raw_fd(), RW).unwrap();
        let receivers = [0, 1].map(|_| c::receive(other.as_raw_fd(), &with(RW)).unwrap());
        let all = [sender, receivers[0], receivers[1]].map(|token| token.fd().unwrap());
        // A lock that belongs to one description keeps the others out: flock(2).
        // SAFETY: these calls pass no memory.
        assert_eq!(all.map(|fd| unsafe { flock(fd, LOCK_EX | LOCK_NB) }), [0, -1, -1]);
        for fd in all {
            // SAFETY: ours.
            unsafe { close(fd) };
        }
        for token in [receivers[0], receivers[1], sender] {
            token.unmap().unwrap();
        }
    }
}

/// In a process of its own: those that other tests start would keep a closed end open for a moment.
#[test]
fn sockets_that_cannot_serve_are_codes() {
    in_own_process(sockets_that_cannot_serve_are_codes, || {
        let folder = Folder::new();
        let path = folder.file("file", 4096);
        let file = std::fs::File::open(&path).unwrap();
        let internet = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        internet.connect(internet.local_addr().unwrap()).unwrap();
        let stream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = std::net::TcpStream::connect(stream.local_addr().unwrap()).unwrap();
        let listener = UnixListener::bind(folder.join("socket")).unwrap();
        let unconnected = UnixDatagram::unbound().unwrap();
        for door in DOORS {
            let region = door.open(&path, &with(RW)).unwrap();
            let receive = |fd| door.receive(fd, &with(RO));
            refused(region.send(file.as_raw_fd(), RO), ENOTSOCK, &["is no socket"]);
            refused(receive(file.as_raw_fd()), ENOTSOCK, &["is no socket"]);
            for fd in [internet.as_raw_fd(), connected.as_raw_fd()] {
                refused(region.send(fd, RO), EINVAL, &["no Unix socket"]);
                refused(receive(fd), EINVAL, &["no Unix socket"]);
            }
            refused(region.send(listener.as_raw_fd(), RO), EINVAL, &["not connected"]);
            refused(receive(listener.as_raw_fd()), EINVAL, &["not connected"]);
            refused(region.send(unconnected.as_raw_fd(), RO), EINVAL, &["not connected"]);
            refused(region.send(999_999, RO), EBADF, &["999999", "not open"]);
            refused(receive(999_999), EBADF, &["999999", "not open"]);
            for style in STYLES {
                let (one, other) = pair(style);
                set_nonblocking(&other);
                refused(receive(other.as_raw_fd()), EAGAIN, &["not ready"]);
                drop(one);
                refused(region.send(other.as_raw_fd(), RO), EPIPE, &["closed"]);
                let expected = if style == SOCK_DGRAM { ECONNREFUSED_OR_AGAIN } else { &[EPIPE] };
                let failure = receive(other.as_raw_fd()).err().unwrap();
                assert!(expected.contains(&failure.code), "{}", failure.text);
            }
        }
        let token = c::open(&path, &with(RW)).unwrap();
        refused(token.send(-1, RO), EBADF, &["-1"]);
        refused(token.send(file.as_raw_fd(), 3), EINVAL, &["access is 3"]);
        refused(c::receive(-1, &with(RO)), EBADF, &["-1"]);
        token.unmap().unwrap();
    });
}

/// Of datagrams the kernel does not tell a receiver that nobody is left to send any.
const ECONNREFUSED_OR_AGAIN: &[i32] = &[EPIPE, EAGAIN];

#[test]
fn what_is_wrong_with_the_arguments_leaves_the_message() {
    let region = anonymous(Door::C, 4096);
    let (one, other) = pair(SOCK_STREAM);
    region.send(one.as_raw_fd(), RW).unwrap();
    let fd = other.as_raw_fd();
    refused(c::receive(fd, &mapshare_options { access: 9, ..with(RO) }), EINVAL, &["access"]);
    refused(c::receive(fd, &mapshare_options { flags: 1 << 33, ..with(RO) }), EINVAL, &["flags"]);
    refused(c::receive(fd, &mapshare_options { flags: MAPSHARE_EXCLUSIVE, ..with(RO) }), EINVAL, &["EXCLUSIVE"]);
    // SAFETY: NULL is refused.
    let null = unsafe { mapshare::ffi::handover::mapshare_receive(fd, &with(RO), 40, std::ptr::null_mut()) };
    assert_eq!(null, -EINVAL);
    let received = Door::C.receive(fd, &with(RW)).unwrap();
    assert_eq!(received.length(), 4096);
    let exclusive = mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_EXCLUSIVE, ..with(RW) };
    region.send(one.as_raw_fd(), RW).unwrap();
    refused(c::receive(fd, &exclusive), EEXIST, &["handed over"]);
}

#[test]
fn a_full_socket_is_a_code_or_is_waited_for_and_its_region_may_be_unmapped_meanwhile() {
    in_own_process(a_full_socket_is_a_code_or_is_waited_for_and_its_region_may_be_unmapped_meanwhile, || {
        let (one, other) = pair(SOCK_STREAM);
        set_nonblocking(&one);
        let region = anonymous(Door::Rust, 4096);
        let size: i32 = 0;
        // SAFETY: an int.
        unsafe { setsockopt(one.as_raw_fd(), SOL_SOCKET, SO_SNDBUF, (&raw const size).cast(), 4) };
        let before = open_descriptors();
        let mut sent = 0;
        let full = loop {
            match region.send(one.as_raw_fd(), RW) {
                Ok(()) => sent += 1,
                Err(failure) => break failure,
            }
        };
        assert_eq!((full.code, open_descriptors()), (EAGAIN, before), "{}", full.text);
        // SAFETY: no memory is passed.
        unsafe { fcntl(one.as_raw_fd(), F_SETFL, 0) };
        let token = c::open_anonymous(&mapshare_options { length: 100, ..with(RW) }).unwrap();
        let fd = one.as_raw_fd();
        let (tell_thread, thread) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            // SAFETY: it only asks.
            tell_thread.send(unsafe { gettid() }).unwrap();
            token.send(fd, RW)
        });
        let path = format!("/proc/self/task/{}/syscall", thread.recv().unwrap());
        let sleeps = || {
            let text = std::fs::read_to_string(&path).expect("its own threads' calls can be seen");
            text.starts_with(&format!("{SYS_ppoll} "))
        };
        while !sleeps() {
            std::thread::yield_now(); // under the watchdog
        }
        token.unmap().unwrap();
        for _ in 0..sent {
            drop(Door::C.receive(other.as_raw_fd(), &with(RW)).unwrap());
        }
        waiting.join().unwrap().unwrap();
        assert_eq!(Door::C.receive(other.as_raw_fd(), &with(RW)).unwrap().length(), 100);
    });
}

#[test]
fn bytes_before_and_behind_a_hand_over_stay_in_the_stream() {
    for door in DOORS {
        let (one, other) = pair(SOCK_STREAM);
        let region = anonymous(door, 4096);
        assert_eq!(send_raw(&one, b"before", &[]), 6);
        region.send(one.as_raw_fd(), RW).unwrap();
        assert_eq!(send_raw(&one, b"behind", &[]), 6);
        region.send(one.as_raw_fd(), RW).unwrap();
        let mut bytes = [0; 6];
        for (expected, receives) in [(b"before", true), (b"behind", true)] {
            assert_eq!((take_bytes(&other, &mut bytes), &bytes), (6, expected));
            assert!(receives && door.receive(other.as_raw_fd(), &with(RW)).unwrap().length() == 4096);
        }
        assert_eq!(take_bytes(&other, &mut bytes), -1, "nothing is left");
    }
}

#[test]
fn a_receiver_without_a_free_descriptor_is_told_so() {
    in_own_process(a_receiver_without_a_free_descriptor_is_told_so, || {
        for door in DOORS {
            for style in STYLES {
                let (one, other) = pair(style);
                let region = anonymous(door, 4096);
                region.send(one.as_raw_fd(), RW).unwrap();
                region.send(one.as_raw_fd(), RW).unwrap();
                let before = open_descriptors();
                process::limit(RLIMIT_NOFILE, 3);
                refused(region.send(one.as_raw_fd(), RW), EMFILE, &[]);
                refused(door.receive(other.as_raw_fd(), &with(RW)), EMFILE, &["RLIMIT_NOFILE"]);
                process::limit(RLIMIT_NOFILE, 1024);
                assert_eq!(open_descriptors(), before);
                assert_eq!(code(door.receive(other.as_raw_fd(), &with(RW))), 0, "the next one is whole");
            }
        }
    });
}

#[test]
fn ten_thousand_hand_overs_leave_nothing_behind() {
    in_own_process(ten_thousand_hand_overs_leave_nothing_behind, || {
        let (one, other) = pair(SOCK_SEQPACKET);
        let region = c::open_anonymous(&mapshare_options { length: 4096, ..with(RW) }).unwrap();
        region.seal(FIXED).unwrap();
        let round = |access| {
            region.send(one.as_raw_fd(), RO).unwrap();
            c::receive(other.as_raw_fd(), &with(access)).map(|token| token.unmap().unwrap())
        };
        round(RO).unwrap();
        let before = (open_descriptors(), process::mappings());
        for _ in 0..5_000 {
            round(RO).unwrap();
            refused(round(RW), EACCES, &[]);
        }
        assert_eq!((open_descriptors(), process::mappings()), before);
    });
}

/// An unrelated process, started by nobody's fork of this one's regions, and without rights where this one is root.
#[test]
fn an_unrelated_process_without_rights_gets_what_it_was_sent_and_no_more() {
    if role().as_deref() == Some("receiver") {
        become_nobody();
        let stream = UnixStream::connect(listen()).unwrap();
        let fd = stream.as_raw_fd();
        let memory = Door::C.receive(fd, &with(RO)).unwrap();
        let file = Door::C.receive(fd, &with(RO)).unwrap();
        let shared = Door::C.receive(fd, &with(RW)).unwrap();
        tell(&String::from_utf8(memory.bytes(0, 6)).unwrap());
        tell(&String::from_utf8(file.bytes(0, 4)).unwrap());
        shared.write(0, b"answer").unwrap();
        // Nobody can hand on what it has: memory that it may not open again, as it is.
        let (one, other) = pair(SOCK_STREAM);
        for (region, access) in [(&memory, RO), (&file, RO), (&shared, RW)] {
            region.send(one.as_raw_fd(), access).unwrap();
            assert_eq!(Door::C.receive(other.as_raw_fd(), &with(access)).unwrap().bytes(0, 1), region.bytes(0, 1));
        }
        tell("done");
        listen();
        tell(&String::from_utf8(memory.bytes(0, 6)).unwrap());
        return;
    }
    let folder = Folder::new();
    let (path, socket) = (folder.file_with("secret", b"file"), folder.join("socket"));
    let listener = UnixListener::bind(&socket).unwrap();
    for path in [&path, &socket] {
        let mode = if path == &socket { 0o777 } else { 0o600 };
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let test = an_unrelated_process_without_rights_gets_what_it_was_sent_and_no_more;
    let mut partner = Partner::start(test, "receiver");
    partner.say(socket.to_str().unwrap());
    let (stream, _) = listener.accept().unwrap();
    let memory = anonymous(Door::C, 4096);
    memory.write(0, b"memory").unwrap();
    memory.seal(FIXED).unwrap();
    let file = Door::C.open(&path, &with(RW)).unwrap();
    let shared = anonymous(Door::C, 4096);
    for (region, access) in [(&memory, RO), (&file, RO), (&shared, RW)] {
        region.send(stream.as_raw_fd(), access).unwrap();
    }
    partner.hears("memory");
    partner.hears("file");
    partner.hears("done");
    assert_eq!(shared.bytes(0, 6), b"answer");
    memory.write(0, b"second").unwrap();
    partner.say("look");
    partner.hears("second");
    partner.finish();
}

/// The sender is killed as soon as the message is out: the region is the receiver's.
#[test]
fn a_sender_that_is_killed_takes_nothing_away() {
    in_own_process(a_sender_that_is_killed_takes_nothing_away, || {
        for style in STYLES {
            let (one, other) = pair(style);
            let killed = forked(|| {
                let region = anonymous(Door::C, 4096);
                region.write(0, b"last words").unwrap();
                region.send(one.as_raw_fd(), RW).unwrap();
                // SAFETY: it ends this process.
                unsafe { raise(SIGKILL) };
                0
            });
            assert_eq!(killed, -SIGKILL);
            let region = Door::C.receive(other.as_raw_fd(), &with(RW)).unwrap();
            assert_eq!(region.bytes(0, 10), b"last words");
            region.write(0, b"mine").unwrap();
            drop(one);
            if style != SOCK_DGRAM {
                refused(Door::C.receive(other.as_raw_fd(), &with(RW)), EPIPE, &["closed"]);
            }
        }
    });
}

#[test]
fn without_proc_regions_are_handed_over_where_that_is_safe() {
    in_own_process(without_proc_regions_are_handed_over_where_that_is_safe, || {
        let folder = Folder::new();
        let path = folder.file("file", 4096);
        let Some(_over) = files::Mounted::new("tmpfs", std::path::Path::new("/proc"), "size=4k") else { return };
        for door in DOORS {
            let (one, other) = pair(SOCK_STREAM);
            let receive = |access| door.receive(other.as_raw_fd(), &with(access)).unwrap();
            let writing = door.open(&path, &with(RW)).unwrap();
            writing.send(one.as_raw_fd(), RW).unwrap();
            receive(RW).write(0, b"seen").unwrap();
            assert_eq!(writing.bytes(0, 4), b"seen");
            // The descriptor there is would give away the writing.
            refused(writing.send(one.as_raw_fd(), RO), EACCES, &["/proc", "MAPSHARE_READ_ONLY"]);
            door.open(&path, &with(RO)).unwrap().send(one.as_raw_fd(), RO).unwrap();
            assert_eq!(receive(RO).bytes(0, 4), b"seen");
            let memory = anonymous(door, 4096);
            memory.seal(FIXED).unwrap();
            memory.send(one.as_raw_fd(), RO).unwrap();
            let mut received = receive(RO);
            refused(received.protect(RW), EACCES, &[]);
        }
    });
}
