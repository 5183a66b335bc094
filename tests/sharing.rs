//! What one process writes, the others see; what is private stays so.

mod common;

use common::process::{Partner, forked, in_own_process, listen, role, tell, watchdog};
use common::*;
use libc::*;
use std::os::fd::AsRawFd;
use std::process::Command;

const RW: u32 = MAPSHARE_READ_WRITE;
const RO: u32 = MAPSHARE_READ_ONLY;
const COW: u32 = MAPSHARE_COPY_ON_WRITE;

/// The other process: opens what it is told, and reads and writes as told.
fn answer(door: Door) {
    watchdog();
    let path = listen();
    let region = door.open(&path, &with(RW)).expect("it works");
    tell("open");
    loop {
        let line = listen();
        match line.split_once(' ') {
            Some(("write", text)) => {
                region.write(100, text.as_bytes()).expect("it works");
                tell("written");
            }
            Some(("read", length)) => {
                let bytes = region.bytes(100, length.parse().expect("it works"));
                tell(&String::from_utf8(bytes).expect("it works"));
            }
            _ => return,
        }
    }
}

#[test]
fn second_opener_sees_the_first_writers_bytes() {
    if let Some(role) = role() {
        return answer(if role == "C" { Door::C } else { Door::Rust });
    }
    let folder = Folder::new();
    for (door, other) in [(Door::Rust, "C"), (Door::C, "Rust")] {
        let path = folder.file(other, 8192);
        let region = door.open(&path, &with(RW)).unwrap();
        let mut partner = Partner::start(second_opener_sees_the_first_writers_bytes, other);
        partner.say(path.to_str().unwrap());
        partner.hears("open");
        for round in 0..100 {
            let text = format!("round {round:03}");
            region.write(100, text.as_bytes()).unwrap();
            partner.say("read 9");
            partner.hears(&text);
            let text = format!("again {round:03}");
            partner.say(&format!("write {text}"));
            partner.hears("written");
            assert_eq!(region.bytes(100, 9), text.as_bytes());
            assert_eq!(files::read_at(&path, 100, 9), text.as_bytes(), "it is in the file too");
        }
        // A kill takes nothing away.
        partner.say("write last words");
        partner.hears("written");
        partner.kill();
        assert_eq!(region.bytes(100, 10), b"last words");
    }
}

#[test]
fn two_processes_pass_a_number_to_and_fro_without_calls() {
    const ROUNDS: u64 = 20_000;
    fn play(path: &str, parity: u64) {
        let mut region = Door::C.open(path, &with(RW)).unwrap();
        let view = region.view(64, 8).unwrap();
        // SAFETY: an aligned view that both processes use as an atomic only.
        let number = unsafe { std::sync::atomic::AtomicU64::from_ptr(view.cast()) };
        loop {
            let now = number.load(std::sync::atomic::Ordering::Acquire);
            if now >= ROUNDS {
                return;
            }
            if now % 2 == parity {
                number.store(now + 1, std::sync::atomic::Ordering::Release);
            } else {
                std::thread::yield_now();
            }
        }
    }
    if role().is_some() {
        watchdog();
        return play(&listen(), 1);
    }
    let folder = Folder::new();
    let path = folder.file("file", 4096);
    let mut partner = Partner::start(two_processes_pass_a_number_to_and_fro_without_calls, "odd");
    partner.say(path.to_str().unwrap());
    play(path.to_str().unwrap(), 0);
    partner.finish();
    assert_eq!(files::read_at(&path, 64, 8), ROUNDS.to_le_bytes());
}

#[test]
fn the_callers_descriptor_may_be_closed_at_once() {
    let folder = Folder::new();
    let path = folder.file_with("file", b"before");
    for door in DOORS {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let number = file.as_raw_fd();
        let mut region = door.open_fd(number, &mapshare_options { reserve: 65536, ..with(RW) }).unwrap();
        drop(file);
        // Another file takes the number: the region must not care.
        let _decoy = std::fs::File::open("/dev/null").unwrap();
        region.write(0, b"after!").unwrap();
        region.resize(5000).unwrap();
        region.flush(0, 0, 0).unwrap();
        assert_eq!(region.info().file_length, 5000);
        assert_eq!(&std::fs::read(&path).unwrap()[..6], b"after!");
        files::set_length(&path, 6);
    }
    let region = Door::C.open(&path, &with(RO)).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(region.bytes(0, 6), b"after!", "a file that was removed lives on in its regions");
}

#[test]
fn the_descriptor_given_out_is_close_on_exec_and_the_callers_own() {
    let folder = Folder::new();
    let path = folder.file("file", 4096);
    for door in DOORS {
        let region = door.open(&path, &with(RW)).unwrap();
        let fds = [region.fd().unwrap(), region.fd().unwrap()];
        assert_ne!(fds[0], fds[1]);
        for fd in fds {
            // SAFETY: F_GETFD only asks.
            assert_eq!(unsafe { fcntl(fd, F_GETFD) } & FD_CLOEXEC, FD_CLOEXEC);
            let link = format!("/proc/self/fd/{fd}");
            assert_eq!(std::fs::read_link(link).unwrap(), path);
            // SAFETY: ours, and used no more.
            assert_eq!(unsafe { close(fd) }, 0);
        }
        region.write(0, b"goes on").unwrap();
        let fd = region.fd().unwrap();
        drop(region);
        assert_eq!(door.open_fd(fd, &with(RW)).unwrap().bytes(0, 7), b"goes on", "it outlives its region");
        // SAFETY: ours, and used no more.
        unsafe { close(fd) };
    }
}

#[test]
fn no_descriptor_of_the_library_reaches_a_program_that_is_started() {
    in_own_process(no_descriptor_of_the_library_reaches_a_program_that_is_started, || {
        let folder = Folder::new();
        let path = folder.join("file with a name of its own");
        let file = std::fs::File::create(folder.join("other")).unwrap();
        let _by_path = Door::C.open(&path, &common::create(4096)).unwrap();
        let _by_fd = Door::C.open_fd(std::fs::File::open(&path).unwrap().as_raw_fd(), &with(RO)).unwrap();
        let listed = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        let text = String::from_utf8_lossy(&listed.stdout);
        assert!(listed.status.success() && text.contains("-> "), "{text}");
        assert!(!text.contains("name of its own"), "{text}");
        drop(file);
    });
}

#[test]
fn copy_on_write_keeps_its_bytes_and_leaves_the_file() {
    let folder = Folder::new();
    for door in DOORS {
        let path = folder.file_with("file", &[b'f'; 20_000]);
        let shared = door.open(&path, &with(RW)).unwrap();
        let mut private = door.open(&path, &mapshare_options { reserve: 65536, ..with(COW) }).unwrap();
        let other = door.open(&path, &with(COW)).unwrap();
        private.write(5000, b"private").unwrap();
        private.fill(9000, 10, b'p').unwrap();
        private.copy_from(12_000, &private, 5000, 7).unwrap();
        assert_eq!(private.bytes(12_000, 7), b"private");
        for region in [&shared, &other] {
            assert_eq!(region.bytes(0, 20_000), [b'f'; 20_000], "seen by the writer only");
        }
        assert_eq!(std::fs::read(&path).unwrap(), [b'f'; 20_000]);
        // The other way: pages that were written are its own; pages that were not show the file.
        shared.fill(0, 20_000, b's').unwrap();
        assert_eq!(private.bytes(5000, 7), b"private");
        assert_eq!(private.bytes(0, 4096), [b's'; 4096]);
        // Its bytes survive growth by others, a change of rights and every advice.
        files::set_length(&path, 40_000);
        assert_eq!(private.refresh(), Ok(true));
        assert_eq!((private.length(), private.bytes(5000, 7)), (40_000, b"private".to_vec()));
        private.protect(RO).unwrap();
        assert_eq!(code(private.write(5000, b"no")), EACCES);
        private.advise(0, 0, MAPSHARE_ADVISE_DONT_NEED).unwrap();
        private.protect(COW).unwrap();
        private.write(5001, b"R").unwrap();
        assert_eq!(private.bytes(5000, 7), b"pRivate");
        refused(private.flush(0, 0, 0), EINVAL, &["MAPSHARE_COPY_ON_WRITE", "never reach the file"]);
        refused(private.flush(0, 0, MAPSHARE_FLUSH_ASYNC), EINVAL, &["never reach the file"]);
        refused(private.resize(50_000), EINVAL, &["MAPSHARE_COPY_ON_WRITE"]);
        // Past its reserve it moves, with its bytes.
        files::set_length(&path, 1 << 20);
        assert_eq!(private.refresh(), Ok(true));
        assert_eq!((private.length(), private.bytes(5000, 7)), (1 << 20, b"pRivate".to_vec()));
        assert_eq!(files::read_at(&path, 5000, 7), b"sssssss");
    }
}

#[test]
fn copies_that_overlap_are_those_of_memmove() {
    let folder = Folder::new();
    let page = page();
    let first: Vec<u8> = (0..40_000u32).map(|at| (at * 7 + at / 251) as u8).collect();
    for door in DOORS {
        // The same bytes of one file lie at different offsets of these.
        let path = folder.file_with("file", &first);
        let whole = door.open(&path, &with(RW)).unwrap();
        let tail = door.open(&path, &mapshare_options { offset: page, ..with(RW) }).unwrap();
        let mut model = first.clone();
        let mut random = 12345u64;
        let mut below = |limit: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % limit
        };
        for round in 0..500 {
            let (to, to_base) = if below(2) == 0 { (&whole, 0) } else { (&tail, page) };
            let (from, from_base) = if below(2) == 0 { (&whole, 0) } else { (&tail, page) };
            let length = below(9000);
            let start = below(20_000);
            let (from_at, to_at) =
                (page + start, page + start + below(300) * (round % 2) + below(9000) * (round / 2 % 2));
            let (from_at, to_at) = if below(2) == 0 { (from_at, to_at) } else { (to_at, from_at) };
            to.copy_from(to_at - to_base, from, from_at - from_base, length).unwrap();
            model.copy_within(from_at as usize..(from_at + length) as usize, to_at as usize);
            assert!(whole.bytes(0, 40_000) == model, "round {round}: {from_at} to {to_at}, {length} bytes");
        }
        assert!(tail.bytes(0, 40_000 - page as usize) == model[page as usize..]);
        assert!(std::fs::read(&path).unwrap() == model);
        // Between different files nothing overlaps.
        let other = door.open(folder.file("other", 40_000), &with(RW)).unwrap();
        other.copy_from(0, &whole, 0, 40_000).unwrap();
        assert!(other.bytes(0, 40_000) == model);
        let reading = door.open(&path, &with(RO)).unwrap();
        refused(reading.copy_from(0, &other, 0, 1), EACCES, &["MAPSHARE_READ_ONLY"]);
    }
}

#[test]
fn a_forked_child_shares_the_region_and_unmaps_its_own() {
    in_own_process(a_forked_child_shares_the_region_and_unmaps_its_own, || {
        let folder = Folder::new();
        for door in DOORS {
            let path = folder.file("file", 4096);
            let mut region = door.open(&path, &mapshare_options { reserve: 65536, ..with(RW) }).unwrap();
            let private = door.open(&path, &with(COW)).unwrap();
            private.write(0, b"before").unwrap();
            let view = region.view(200, 1).unwrap();
            let code = forked(|| {
                region.write(100, b"child").unwrap();
                // SAFETY: the same address in the child.
                unsafe { view.write_volatile(b'v') };
                assert_eq!(private.bytes(0, 6), b"before");
                private.write(0, b"second").unwrap();
                region.resize(8192).unwrap();
                region.release(view);
                drop(std::mem::replace(&mut region, door.open(&path, &with(RO)).unwrap()));
                0
            });
            assert_eq!(code, 0);
            assert_eq!((region.bytes(100, 5), region.bytes(200, 1)), (b"child".to_vec(), b"v".to_vec()));
            assert_eq!(private.bytes(0, 6), b"before", "private bytes are private from the child on");
            assert_eq!((region.length(), region.bytes(8191, 1)), (4096, vec![0]), "growth made by the child");
            region.release(view);
            region.write(0, b"still here").unwrap();
        }
    });
}

#[test]
fn flush_takes_every_range_in_both_ways() {
    let folder = Folder::new();
    for door in DOORS {
        let path = folder.file("file", 20_000);
        let region = door.open(&path, &with(RW)).unwrap();
        region.fill(0, 20_000, 0x44).unwrap();
        for flags in [0, MAPSHARE_FLUSH_ASYNC] {
            for (offset, length) in [(0, 0), (0, 20_000), (1, 1), (4095, 2), (19_999, 1), (20_000, 0), (5000, 0)] {
                assert_eq!(region.flush(offset, length, flags), Ok(()), "{offset}+{length}");
            }
        }
        assert_eq!(door.open(&path, &with(RO)).unwrap().flush(0, 0, 0), Ok(()));
        assert_eq!(door.open(&path, &with(RO)).unwrap().flush(0, 0, MAPSHARE_FLUSH_ASYNC), Ok(()));
        let window = door.open(&path, &mapshare_options { offset: page(), length: 100, ..with(RW) }).unwrap();
        assert_eq!((window.flush(0, 0, 0), window.flush(0, 0, MAPSHARE_FLUSH_ASYNC)), (Ok(()), Ok(())));
    }
}

#[test]
fn info_tells_what_there_is() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new();
    let path = folder.file("file", 100_000);
    let found = std::fs::metadata(&path).unwrap();
    for door in DOORS {
        let options = mapshare_options { offset: 8192, length: 50_000, reserve: 60_000, ..with(COW) };
        let mut region = door.open(&path, &options).unwrap();
        let view = region.view(1, 2).unwrap();
        region.read(0, &mut [0]).unwrap();
        let info = region.info();
        assert_eq!((info.length, info.offset, info.reserve, info.file_length), (50_000, 8192, 60_000, 100_000));
        assert_eq!((info.page_size, info.faults, info.seals, info.views), (page(), 0, 0, 1));
        assert_eq!((info.device, info.inode), (found.dev(), found.ino()));
        assert_eq!((info.access, info.backing), (COW, MAPSHARE_BACKING_FILE));
        assert!(info.resident >= page() && info.resident <= 50_000 + page(), "{}", info.resident);
        region.release(view);
        let populated = mapshare_options { flags: MAPSHARE_POPULATE, ..options };
        assert!(door.open(&path, &populated).unwrap().info().resident >= 50_000);
    }
}
