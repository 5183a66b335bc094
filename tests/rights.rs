//! Seals, and what receivers cannot do whatever they try, while the owner goes on.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::c;
use common::process::{Partner, become_nobody, is_root, listen, role, tell};
use common::sockets::pair;
use common::*;
use libc::*;
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

const RO: u32 = MAPSHARE_READ_ONLY;
const RW: u32 = MAPSHARE_READ_WRITE;
const COW: u32 = MAPSHARE_COPY_ON_WRITE;
const SHRINK: u32 = MAPSHARE_SEAL_SHRINK;
const GROW: u32 = MAPSHARE_SEAL_GROW;
const WRITE: u32 = MAPSHARE_SEAL_WRITE;
const FUTURE: u32 = MAPSHARE_SEAL_FUTURE_WRITE;

fn anonymous(door: Door, length: u64, reserve: u64) -> Opened {
    door.open_anonymous(&mapshare_options { access: RW, length, reserve, ..Default::default() }).unwrap()
}

fn descriptor(region: &Opened) -> OwnedFd {
    // SAFETY: a descriptor that the call has just made.
    unsafe { OwnedFd::from_raw_fd(region.fd().unwrap()) }
}

#[test]
fn seals_are_the_kernels_one_to_one() {
    for door in DOORS {
        let region = anonymous(door, 4096, 0);
        region.seal(0).unwrap();
        let mut all = 0;
        for seal in [FUTURE, SHRINK, GROW, MAPSHARE_SEAL_SEAL] {
            region.seal(seal).unwrap();
            all |= seal;
            // SAFETY: it only asks.
            let kernels = unsafe { fcntl(descriptor(&region).as_raw_fd(), F_GET_SEALS) }.unsigned_abs();
            assert_eq!((kernels & 0x1f, region.info().seals), (all, kernels));
        }
        refused(region.seal(SHRINK), EPERM, &["MAPSHARE_SEAL_SEAL", "before"]);
    }
    let numbers = [F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE].map(i32::unsigned_abs);
    assert_eq!(numbers, [MAPSHARE_SEAL_SEAL, SHRINK, GROW, WRITE, FUTURE]);
    let token = c::open_anonymous(&mapshare_options { length: 1, ..with(RW) }).unwrap();
    for unknown in [0x20, 0x40, 1 << 31, u32::MAX] {
        refused(token.seal(unknown), EINVAL, &["seals", "0x1f"]);
    }
    token.unmap().unwrap();
}

#[test]
fn what_cannot_be_sealed_says_so() {
    let folder = Folder::new();
    let path = folder.file("file", 4096);
    let memory = std::path::Path::new("/dev/shm").join(format!("mapshare-test-{}", std::process::id()));
    for door in DOORS {
        for path in [&path, &memory] {
            let region = match door.open(path, &create(4096)) {
                Ok(region) => region,
                Err(failure) => return skip(&format!("/dev/shm: {}", failure.text)),
            };
            refused(region.seal(SHRINK), EOPNOTSUPP, &["is a file", "mapshare_open_anonymous"]);
        }
        let region = anonymous(door, 4096, 0);
        refused(region.seal(WRITE), EBUSY, &["MAPSHARE_SEAL_FUTURE_WRITE"]);
        assert_eq!(region.info().seals & 0x1f, 0);
        let reading = door.open_fd(descriptor(&region).as_raw_fd(), &with(RO)).unwrap();
        reading.seal(GROW).unwrap(); // its descriptor may write
        // A private mapping is none that may write; then nobody does.
        let private = door.open_fd(descriptor(&region).as_raw_fd(), &with(COW)).unwrap();
        drop((region, reading));
        private.seal(WRITE).unwrap();
        private.write(0, b"mine").unwrap();
        let fd = descriptor(&private);
        refused(door.open_fd(fd.as_raw_fd(), &with(RW)), EPERM, &["MAPSHARE_SEAL_WRITE", "MAPSHARE_READ_ONLY"]);
    }
    let region = Door::C.open(&memory, &with(RW)).unwrap();
    std::fs::remove_file(&memory).unwrap();
    // It has no name any more, and is still a file with permissions and not memory that somebody forgot to seal.
    let (one, other) = pair(SOCK_STREAM);
    region.send(one.as_raw_fd(), RO).unwrap();
    assert_eq!(Door::C.receive(other.as_raw_fd(), &with(RO)).unwrap().info().backing, MAPSHARE_BACKING_FD);
}

#[test]
fn a_seal_that_forbids_something_is_named() {
    for door in DOORS {
        let mut region = anonymous(door, 4 * page(), 16 * page());
        region.seal(SHRINK).unwrap();
        refused(region.resize(page()), EPERM, &["shortening", "MAPSHARE_SEAL_SHRINK"]);
        assert_eq!(region.length(), 4 * page());
        region.resize(5 * page()).unwrap();
        region.seal(GROW).unwrap();
        for length in [6 * page(), 64 * page()] {
            refused(region.resize(length), EPERM, &["growing", "MAPSHARE_SEAL_GROW"]);
        }
        assert_eq!((region.length(), region.bytes(0, 1)), (5 * page(), vec![0]));
        region.seal(FUTURE).unwrap();
        let fd = descriptor(&region);
        refused(door.open_fd(fd.as_raw_fd(), &with(RW)), EPERM, &["MAPSHARE_SEAL_FUTURE_WRITE"]);
        let mut reading = door.open_fd(fd.as_raw_fd(), &with(RO)).unwrap();
        refused(reading.protect(RW), EPERM, &["MAPSHARE_SEAL_FUTURE_WRITE"]);
        let (one, other) = pair(SOCK_STREAM);
        refused(region.send(one.as_raw_fd(), RW), EPERM, &["MAPSHARE_SEAL_FUTURE_WRITE", "MAPSHARE_READ_ONLY"]);
        region.send(one.as_raw_fd(), RO).unwrap();
        door.receive(other.as_raw_fd(), &with(COW)).unwrap().write(0, b"private").unwrap();
        assert_eq!(region.bytes(0, 7), [0; 7]);
    }
}

#[test]
fn anonymous_memory_is_sent_for_reading_only_with_a_seal_that_keeps_it_so() {
    for door in DOORS {
        let region = anonymous(door, 4096, 0);
        let (one, other) = pair(SOCK_SEQPACKET);
        for seals in [0, SHRINK, SHRINK | GROW, MAPSHARE_SEAL_SEAL] {
            let region = anonymous(door, 4096, 0);
            region.seal(seals).unwrap();
            for access in [RO, COW] {
                let words = ["for reading or copy-on-write", "mapshare_seal", "MAPSHARE_SEAL_FUTURE_WRITE"];
                refused(region.send(one.as_raw_fd(), access), EPERM, &words);
            }
            // One that came over a socket is memory as well.
            region.send(one.as_raw_fd(), RW).unwrap();
            let received = door.receive(other.as_raw_fd(), &with(RW)).unwrap();
            refused(received.send(one.as_raw_fd(), RO), EPERM, &["mapshare_seal"]);
            // As is one that came as a descriptor.
            if seals != MAPSHARE_SEAL_SEAL {
                let opened = door.open_fd(descriptor(&region).as_raw_fd(), &with(RO)).unwrap();
                refused(opened.send(one.as_raw_fd(), RO), EPERM, &["mapshare_seal"]);
            }
        }
        region.seal(FUTURE).unwrap();
        region.send(one.as_raw_fd(), RO).unwrap();
        assert_eq!(door.receive(other.as_raw_fd(), &with(RO)).unwrap().length(), 4096);
    }
}

#[test]
fn the_owner_goes_on_writing_growing_and_changing_its_rights_after_the_seal() {
    for door in DOORS {
        for flags in [0, MAPSHARE_POPULATE, MAPSHARE_LOCKED, MAPSHARE_SPARSE] {
            let options = mapshare_options { flags, length: page(), reserve: 8 * page(), ..with(RW) };
            let mut region = door.open_anonymous(&options).unwrap();
            region.seal(FUTURE | SHRINK).unwrap();
            let (one, other) = pair(SOCK_STREAM);
            region.send(one.as_raw_fd(), RO).unwrap();
            let received = door.receive(other.as_raw_fd(), &mapshare_options { reserve: 64 * page(), ..with(RO) });
            let received = received.unwrap();
            for length in [2 * page(), 8 * page(), 9 * page(), 50 * page()] {
                region.resize(length).unwrap();
                region.write(length - 4, b"more").unwrap();
                assert_eq!(received.bytes(length - 4, 4), b"more", "{length}, {flags:#x}");
            }
            region.protect(RO).unwrap();
            refused(region.write(0, b"x"), EACCES, &[]);
            region.protect(RW).unwrap();
            region.fill(0, 50 * page(), 7).unwrap();
            assert_eq!(received.bytes(49 * page(), 1), [7]);
            let view = region.view(0, 8).unwrap();
            // SAFETY: a view that is out.
            unsafe { view.write_volatile(9) };
            assert_eq!(received.bytes(0, 1), [9]);
        }
    }
}

#[test]
fn sealing_against_shrinking_lets_a_program_that_keeps_its_sigbus_have_views() {
    let quiet = MAPSHARE_NO_HANDLER;
    for door in DOORS {
        let options = mapshare_options { flags: quiet, length: 4096, reserve: 1 << 20, ..with(RW) };
        let mut region = door.open_anonymous(&options).unwrap();
        refused(region.view(0, 1), EOPNOTSUPP, &["MAPSHARE_NO_HANDLER", "seal"]);
        region.seal(GROW).unwrap();
        refused(region.view(0, 1), EOPNOTSUPP, &[]);
        region.seal(SHRINK).unwrap();
        let view = region.view(0, 4096).unwrap();
        // SAFETY: a view that is out.
        unsafe { view.write_volatile(3) };
        assert_eq!(region.bytes(0, 1), [3]);
        region.release(view);
        // Cut by another before the seal: what is missing cannot be trusted to be there.
        let region = door.open_anonymous(&options).unwrap();
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { ftruncate(descriptor(&region).as_raw_fd(), 100) }, 0);
        region.seal(SHRINK).unwrap();
        refused({ region }.view(0, 1), EOPNOTSUPP, &[]);
    }
}

/// Becomes the user nobody, who may look into its own process: /proc/self/fd.
fn become_somebody_else() {
    become_nobody();
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { prctl(PR_SET_DUMPABLE, 1) }, 0);
}

/// What is tried on a read-only descriptor of sealed memory; each must fail.
fn attempts(fd: i32) -> Vec<(&'static str, bool)> {
    let map = |fd, protection, flags| {
        // SAFETY: a new mapping; nothing is replaced.
        let address = unsafe { mmap(std::ptr::null_mut(), 4096, protection, flags, fd, 0) };
        (address != MAP_FAILED).then_some(address)
    };
    let path = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap();
    // SAFETY: a C string.
    let reopened = unsafe { open(path.as_ptr(), O_RDWR | O_CLOEXEC) };
    // SAFETY: one byte that is there.
    let write_to = |fd| unsafe { pwrite(fd, c"x".as_ptr().cast(), 1, 0) } == 1;
    // SAFETY: no memory is passed.
    let cut_to = |fd, length| unsafe { ftruncate(fd, length) } == 0;
    // SAFETY: no memory is passed.
    let punch = |fd| unsafe { fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) } == 0;
    let writing = PROT_READ | PROT_WRITE;
    let mut tried = vec![
        ("mmap for writing", map(fd, writing, MAP_SHARED).is_some()),
        ("write", write_to(fd)),
        ("ftruncate", cut_to(fd, 8000)),
        ("punch holes", punch(fd)),
        ("write to it reopened", write_to(reopened)),
        ("mmap of it reopened", map(reopened, writing, MAP_SHARED).is_some()),
        ("shorten it reopened", cut_to(reopened, 7000)),
        ("punch holes into it reopened", punch(reopened)),
    ];
    let mapped = map(fd, PROT_READ, MAP_SHARED).expect("reading is granted");
    // SAFETY: the page mapped above.
    tried.push(("mprotect", unsafe { mprotect(mapped, 4096, PROT_READ | PROT_WRITE) } == 0));
    if let Some(mapped) = map(reopened, PROT_READ, MAP_SHARED) {
        // SAFETY: as above.
        tried.push(("mprotect of it reopened", unsafe { mprotect(mapped, 4096, PROT_READ | PROT_WRITE) } == 0));
    }
    if is_another_user() {
        tried.push(("reopen for writing, as another user", reopened >= 0));
    }
    // SAFETY: no memory is passed.
    tried.push(("add a seal", unsafe { fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) } == 0));
    tried
}

/// Whether this process is another user than the owner of the memory.
fn is_another_user() -> bool {
    role().as_deref() == Some("nobody") && !is_root()
}

/// The receiver's part: it tries all there is, and tells what went through.
fn receiver() {
    let socket = listen();
    if role().as_deref() == Some("nobody") {
        become_somebody_else();
    }
    let stream = UnixStream::connect(socket).unwrap();
    for door in DOORS {
        let mut region = door.receive(stream.as_raw_fd(), &with(RO)).unwrap();
        let mut through: Vec<String> = attempts(descriptor(&region).as_raw_fd())
            .into_iter()
            .filter(|(_, succeeded)| *succeeded)
            .map(|(what, _)| what.to_owned())
            .collect();
        let calls = [
            ("protect", code(region.protect(RW)), EACCES),
            ("write", code(region.write(0, b"x")), EACCES),
            ("fill", code(region.fill(0, 1, 1)), EACCES),
            ("resize", code(region.resize(100)), EACCES),
            ("seal", code(region.seal(GROW)), EACCES),
            ("send", code(region.send(stream.as_raw_fd(), RW)), EACCES),
        ];
        through.extend(calls.iter().filter(|(_, found, expected)| found != expected).map(|call| format!("{call:?}")));
        tell(&format!("through: {through:?}"));
        listen();
        tell(&String::from_utf8(region.bytes(0, 4)).unwrap());
    }
}

fn tried_by(user: &str) {
    let folder = Folder::new();
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut partner = Partner::start(a_receiver_of_read_only_memory_cannot_get_it_writable_whatever_it_does, user);
    partner.say(path.to_str().unwrap());
    let (stream, _) = listener.accept().unwrap();
    for door in DOORS {
        let mut region = anonymous(door, 8192, 1 << 20);
        region.write(0, b"mine").unwrap();
        region.seal(FUTURE | SHRINK).unwrap();
        region.send(stream.as_raw_fd(), RO).unwrap();
        partner.hears("through: []");
        assert_eq!(region.bytes(0, 4), b"mine");
        region.write(0, b"next").unwrap();
        region.resize(1 << 20).unwrap();
        assert_eq!(region.info().seals & 0x1f, FUTURE | SHRINK);
        partner.say("look");
        partner.hears("next");
    }
    partner.finish();
}

#[test]
fn a_receiver_of_read_only_memory_cannot_get_it_writable_whatever_it_does() {
    if role().is_some() {
        return receiver();
    }
    tried_by("same user");
    if is_root() {
        tried_by("nobody");
    } else {
        skip("as another user: it takes root to become one");
    }
}

/// Without the seal the same attempts go through, so that they would show a hole.
#[test]
fn the_attempts_go_through_where_nothing_forbids_them() {
    let region = anonymous(Door::C, 8192, 0);
    let fd = descriptor(&region);
    let through: Vec<_> = attempts(fd.as_raw_fd()).into_iter().filter(|(_, through)| !through).collect();
    assert!(through.is_empty(), "{through:?} {}", Error::last_os_error());
}

/// Of a file its permissions decide: a user whom they bar from writing cannot get it writable either.
#[test]
fn a_receiver_of_a_read_only_file_gets_what_its_permissions_give() {
    if let Some(socket) = role().map(|_| listen()) {
        become_somebody_else();
        let stream = UnixStream::connect(socket).unwrap();
        let region = Door::C.receive(stream.as_raw_fd(), &with(RO)).unwrap();
        let fd = descriptor(&region);
        let path = std::ffi::CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
        // SAFETY: a C string.
        let reopened = [O_RDWR, O_RDONLY].map(|mode| unsafe { open(path.as_ptr(), mode) } >= 0);
        return tell(&format!("{reopened:?}"));
    }
    if !is_root() {
        return skip("it takes root to become another user");
    }
    for (mode, expected) in [(0o600, "[false, false]"), (0o644, "[false, true]"), (0o666, "[true, true]")] {
        let folder = Folder::new();
        let (file, path) = (folder.file("file", 4096), folder.join("socket"));
        let listener = UnixListener::bind(&path).unwrap();
        for (path, mode) in [(&path, 0o777), (&file, mode)] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        }
        let mut partner = Partner::start(a_receiver_of_a_read_only_file_gets_what_its_permissions_give, "receiver");
        partner.say(path.to_str().unwrap());
        let (stream, _) = listener.accept().unwrap();
        Door::C.open(&file, &with(RW)).unwrap().send(stream.as_raw_fd(), RO).unwrap();
        partner.hears(expected);
        partner.finish();
    }
}
