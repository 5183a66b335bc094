//! Regions and files that become longer and shorter, by this process and by others.

mod common;

use common::process::{Partner, listen, role, tell, watchdog};
use common::*;
use libc::*;

const RW: u32 = MAPSHARE_READ_WRITE;

fn reserving(length: u64, reserve: u64) -> mapshare_options {
    mapshare_options { reserve, ..common::create(length) }
}

#[test]
fn growing_within_the_reserve_moves_nothing() {
    let folder = Folder::new();
    for door in DOORS {
        let path = folder.join(&format!("{door:?}"));
        let mut region = door.open(&path, &reserving(100, 1 << 30)).unwrap();
        let view = region.view(0, 100).unwrap();
        region.write(0, b"first").unwrap();
        for length in [101, 4096, 4097, 1 << 20, (1 << 20) + 1, 64 << 20] {
            region.resize(length).unwrap();
            assert_eq!((region.length(), files::length_of(&path)), (length, length));
            region.write(length - 1, b"z").unwrap();
            assert_eq!(code(region.write(length, b"z")), ERANGE);
            assert!(files::storage_of(&path) >= length, "the storage is reserved");
        }
        assert_eq!(region.bytes(0, 6), b"first\0");
        let again = region.view(0, 1).unwrap();
        assert_eq!(again, view, "the address is the same");
        // SAFETY: a view of a mapped byte that nobody changes now.
        assert_eq!(unsafe { view.read_volatile() }, b'f');
        assert_eq!((region.info().reserve, region.info().views), (1 << 30, 2));
        region.release(view);
        region.release(again);
    }
}

#[test]
fn growing_past_the_reserve_moves_unless_a_view_is_out() {
    let folder = Folder::new();
    for (door, reserve) in [(Door::Rust, 0), (Door::Rust, 16384), (Door::C, 0), (Door::C, 16384)] {
        let path = folder.join(&format!("{door:?}{reserve}"));
        let mut region = door.open(&path, &reserving(8192, reserve)).unwrap();
        region.write(8000, b"kept").unwrap();
        let view = region.view(0, 1).unwrap();
        refused(region.resize(64 << 20), EBUSY, &["1 view", "release"]);
        assert_eq!((region.length(), files::length_of(&path)), (8192, 8192), "nothing has changed");
        region.release(view);
        region.resize(64 << 20).unwrap();
        assert_eq!((region.length(), files::length_of(&path)), (64 << 20, 64 << 20));
        assert_eq!(region.bytes(8000, 5), b"kept\0");
        region.write((64 << 20) - 1, b"z").unwrap();
        assert!(region.info().reserve >= 64 << 20);
        for length in [u64::MAX, u64::MAX - 8191, 1 << 62, i64::MAX as u64] {
            let failure = region.resize(length).expect_err("no address space is that large");
            assert!([ENOMEM, ENOSPC].contains(&failure.code), "{}", failure.text);
        }
        assert_eq!((region.length(), files::length_of(&path)), (64 << 20, 64 << 20), "nothing has changed");
    }
}

#[test]
fn growing_past_the_reserve_works_after_advice_on_a_part_and_on_locked_regions() {
    let folder = Folder::new();
    for door in DOORS {
        for advice in [MAPSHARE_ADVISE_SEQUENTIAL, MAPSHARE_ADVISE_RANDOM] {
            let mut region = door.open(folder.join(&format!("{door:?}{advice}")), &reserving(65536, 0)).unwrap();
            region.advise(4096, 4096, advice).unwrap();
            region.write(60000, b"kept").unwrap();
            assert_eq!(region.resize(1 << 20), Ok(()), "advice splits the kernel's mapping");
            assert_eq!(region.bytes(60000, 4), b"kept");
            region.fill(0, 1 << 20, 1).unwrap();
        }
        let flags = MAPSHARE_CREATE | MAPSHARE_LOCKED;
        let locked = mapshare_options { flags, ..reserving(4096, 16384) };
        let mut region = door.open(folder.join(&format!("{door:?}locked")), &locked).unwrap();
        assert_eq!(region.resize(65536), Ok(()), "only the length is locked, not the reserve behind it");
        region.fill(0, 65536, 1).unwrap();
    }
}

#[test]
fn shrinking_takes_no_byte_from_a_view() {
    let folder = Folder::new();
    for door in DOORS {
        let path = folder.join(&format!("{door:?}"));
        let mut region = door.open(&path, &common::create(16384)).unwrap();
        region.fill(0, 16384, 0x77).unwrap();
        let view = region.view(5000, 100).unwrap();
        refused(region.resize(5099), EBUSY, &["1 view"]);
        refused(region.resize(1), EBUSY, &["1 view"]);
        assert_eq!((region.length(), files::length_of(&path)), (16384, 16384), "nothing has changed");
        region.resize(5100).unwrap();
        assert_eq!((region.length(), files::length_of(&path)), (5100, 5100));
        assert_eq!(code(region.read(5100, &mut [0])), ERANGE);
        assert_eq!(code(region.read(5099, &mut [0])), 0);
        region.release(view);
        region.resize(1).unwrap();
        region.resize(16384).unwrap();
        let bytes = region.bytes(0, 16384);
        assert_eq!(bytes[0], 0x77);
        assert!(bytes[1..].iter().all(|byte| *byte == 0), "what is added reads as zeros");
        assert!(files::storage_of(&path) >= 16384, "and is reserved");
    }
}

/// The other process: does to the file what it is told.
fn change_files() {
    watchdog();
    let path = listen();
    loop {
        let line = listen();
        let mut words = line.split(' ');
        match (words.next(), words.next().and_then(|word| word.parse().ok())) {
            (Some("length"), Some(length)) => files::set_length(path.as_ref(), length),
            (Some("mark"), Some(at)) => files::write_at(path.as_ref(), at, b"mark"),
            _ => return,
        }
        tell("done");
    }
}

struct Other(Partner);

impl Other {
    fn start<F: Fn()>(test: F, path: &std::path::Path) -> Other {
        let mut partner = Partner::start(test, "other");
        partner.say(path.to_str().expect("it works"));
        Other(partner)
    }

    fn does(&mut self, line: &str) {
        self.0.say(line);
        self.0.hears("done");
    }
}

#[test]
fn growth_by_another_process_is_taken_over_by_an_access() {
    if role().is_some() {
        return change_files();
    }
    let folder = Folder::new();
    for door in DOORS {
        for access in [RW, MAPSHARE_READ_ONLY, MAPSHARE_COPY_ON_WRITE] {
            let path = folder.file(&format!("{door:?}{access}"), 4096);
            let mut other = Other::start(growth_by_another_process_is_taken_over_by_an_access, &path);
            let options = mapshare_options { reserve: 65536, ..with(access) };
            let mut region = door.open(&path, &options).unwrap();
            let view = region.view(0, 1).unwrap();
            assert_eq!(code(region.read(4096, &mut [0])), ERANGE);

            other.does("length 10000");
            other.does("mark 9996");
            assert_eq!(region.length(), 4096, "nothing happens by itself");
            assert_eq!(region.bytes(9996, 4), b"mark");
            assert_eq!(region.length(), 10_000);
            assert_eq!(code(region.read(9996, &mut [0; 5])), ERANGE, "one byte too many");
            assert_eq!(code(region.read(u64::MAX, &mut [0; 2])), ERANGE);

            if access != MAPSHARE_READ_ONLY {
                other.does("length 20000");
                region.fill(19_999, 1, 9).unwrap();
                assert_eq!(region.length(), 20_000);
                other.does("length 30000");
                region.copy_from(29_000, &region, 0, 1000).unwrap();
                assert_eq!(region.length(), 30_000);
                other.does("length 40000");
                region.write(39_999, b"w").unwrap();
            }
            other.does("length 50000");
            region.advise(0, 50_000, MAPSHARE_ADVISE_NORMAL).unwrap();
            assert_eq!(region.length(), 50_000);
            other.does("length 65536");
            let second = region.view(65_535, 1).unwrap();
            assert_eq!(second.addr() - view.addr(), 65_535, "pointers stay");

            // Past the reserve an access takes over nothing; with the views gone refresh moves the region.
            other.does("length 100000");
            other.does("mark 99996");
            assert_eq!(code(region.read(65_536, &mut [0])), ERANGE);
            assert_eq!(region.length(), 65_536);
            refused(region.refresh(), EBUSY, &["2 view"]);
            assert_eq!(region.length(), 65_536);
            region.release(view);
            region.release(second);
            assert_eq!(region.refresh(), Ok(true));
            assert_eq!(region.bytes(99_996, 4), b"mark");
            assert_eq!(region.refresh(), Ok(false));
            drop(region);
            other.0.say("end");
            other.0.finish();
        }
    }
}

#[test]
fn refresh_follows_a_file_that_another_process_cuts() {
    if role().is_some() {
        return change_files();
    }
    let folder = Folder::new();
    for door in DOORS {
        let path = folder.file_with(&format!("{door:?}"), &[5; 40_000]);
        let mut other = Other::start(refresh_follows_a_file_that_another_process_cuts, &path);
        let mut whole = door.open(&path, &with(RW)).unwrap();
        let mut tail = door.open(&path, &mapshare_options { offset: 8192, ..with(RW) }).unwrap();
        let mut window = door.open(&path, &mapshare_options { offset: 8192, length: 4096, ..with(RW) }).unwrap();
        assert_eq!([whole.length(), tail.length(), window.length()], [40_000, 31_808, 4096]);
        for (length, changed, lengths) in [
            (20_000, [true, true, false], [20_000, 11_808, 4096]),
            (10_000, [true, true, true], [10_000, 1808, 1808]),
            (8193, [true, true, true], [8193, 1, 1]),
            (8192, [true, true, true], [8192, 0, 0]),
            (100, [true, false, false], [100, 0, 0]),
            (0, [true, false, false], [0, 0, 0]),
            (0, [false, false, false], [0, 0, 0]),
            (9000, [true, true, true], [9000, 808, 808]),
            (40_000, [true, true, true], [40_000, 31_808, 4096]),
        ] {
            other.does(&format!("length {length}"));
            let all = [&mut whole, &mut tail, &mut window].map(|region| (region.refresh().unwrap(), region.length()));
            assert_eq!((all.map(|(changed, _)| changed), all.map(|(_, now)| now)), (changed, lengths), "{length}");
            for (region, end) in [&whole, &tail, &window].into_iter().zip(lengths) {
                assert_eq!(code(region.read(end, &mut [0])), if region.length() > end { 0 } else { ERANGE });
                assert_eq!(code(region.fill(0, end, 6)), 0);
                if end == 0 {
                    assert_eq!(code(region.flush(0, 0, 0)), 0);
                    assert_eq!(region.info().length, 0);
                }
            }
        }
        other.0.say("end");
        other.0.finish();
    }
}

#[test]
fn resize_gives_the_file_the_length_whatever_others_have_made_of_it() {
    let folder = Folder::new();
    for door in DOORS {
        let path = folder.join(&format!("{door:?}"));
        let mut region = door.open(&path, &reserving(65536, 1 << 20)).unwrap();
        for length in [65536, 32768, 131072] {
            files::set_length(&path, 4096); // another process cuts it, and the region does not know
            region.resize(length).unwrap();
            assert_eq!((region.length(), files::length_of(&path)), (length, length));
            assert!(files::storage_of(&path) >= length, "{length}: {} are reserved", files::storage_of(&path));
            region.fill(0, length, 1).unwrap();
        }
        // Others have made it longer: growing leaves that, shrinking cuts it.
        files::set_length(&path, 300_000);
        region.resize(200_000).unwrap();
        assert_eq!((region.length(), files::length_of(&path)), (200_000, 300_000));
        region.resize(100_000).unwrap();
        assert_eq!((region.length(), files::length_of(&path)), (100_000, 100_000));
    }
}

#[test]
fn a_window_in_the_middle_of_a_file_stays_one() {
    let folder = Folder::new();
    for door in DOORS {
        let path = folder.file(&format!("{door:?}"), 1 << 20);
        let mut window = door.open(&path, &mapshare_options { offset: 4096, length: 4096, ..with(RW) }).unwrap();
        assert_eq!((window.refresh(), window.length()), (Ok(false), 4096));
        window.write(0, b"here").unwrap();
        assert_eq!(files::read_at(&path, 4096, 4), b"here");
        assert_eq!(code(window.read(4096, &mut [0])), ERANGE, "the file goes on, the region does not");
        window.resize(8192).unwrap();
        assert_eq!((window.length(), files::length_of(&path)), (8192, 1 << 20), "the rest of the file is still there");
        assert_eq!((window.refresh(), window.length()), (Ok(false), 8192), "it still ends in the middle of the file");
        assert_eq!(code(window.read(8192, &mut [0])), ERANGE);
    }
}

#[test]
fn files_and_offsets_beyond_4_gib_are_exact() {
    const GIB: u64 = 1 << 30;
    let folder = Folder::new();
    for door in DOORS {
        let path = folder.file(&format!("{door:?}"), 6 * GIB + 100);
        let whole = door.open(&path, &with(RW)).unwrap();
        assert_eq!(whole.length(), 6 * GIB + 100);
        let far = mapshare_options { offset: 5 * GIB, ..with(RW) };
        let tail = door.open(&path, &far).unwrap();
        let piece = door.open(&path, &mapshare_options { length: GIB, ..far }).unwrap();
        assert_eq!((tail.length(), piece.length()), (GIB + 100, GIB));
        for at in [4 * GIB - 2, 4 * GIB, 5 * GIB, 6 * GIB - 4, 6 * GIB + 96] {
            whole.write(at, &at.to_le_bytes()[4..]).unwrap();
            assert_eq!(files::read_at(&path, at, 4), at.to_le_bytes()[4..]);
            if at >= 5 * GIB {
                assert_eq!(tail.bytes(at - 5 * GIB, 4), at.to_le_bytes()[4..]);
            }
        }
        let edges = [(&whole, 6 * GIB + 100), (&tail, GIB + 100), (&piece, GIB)];
        for (region, end) in edges {
            assert_eq!((code(region.read(end - 1, &mut [0])), code(region.read(end - 1, &mut [0; 2]))), (0, ERANGE));
            assert_eq!((code(region.read(end, &mut [])), code(region.read(end, &mut [0]))), (0, ERANGE));
            // 32 bits of it would be inside.
            assert_eq!(code(region.read(end + 4 * GIB, &mut [0])), ERANGE);
            assert_eq!(code(region.fill(0, end + 1, 1)), ERANGE);
        }
        whole.copy_from(0, &tail, GIB, 100).unwrap();
        assert_eq!(whole.bytes(96, 4), (6 * GIB + 96).to_le_bytes()[4..]);
        let mut grown = door.open(&path, &mapshare_options { flags: MAPSHARE_SPARSE, ..with(RW) }).unwrap();
        grown.resize(9 * GIB).unwrap();
        grown.write(9 * GIB - 1, b"z").unwrap();
        assert!(files::storage_of(&path) < GIB, "still full of holes");
        grown.resize(4 * GIB + 1).unwrap();
        assert_eq!((files::length_of(&path), code(grown.read(4 * GIB + 1, &mut [0]))), (4 * GIB + 1, ERANGE));
        let past = mapshare_options { offset: 5 * GIB, length: 1, ..with(RW) };
        refused(door.open(&path, &past), ENXIO, &[&(4 * GIB + 1).to_string(), &(5 * GIB).to_string()]);
    }
}
