//! The ten traps of mmap: each is a code and a sentence with the numbers and the remedy, through Rust and through C.

mod common;

use common::process::become_nobody;
use common::*;
use libc::*;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

const RO: u32 = MAPSHARE_READ_ONLY;
const RW: u32 = MAPSHARE_READ_WRITE;
const COW: u32 = MAPSHARE_COPY_ON_WRITE;

#[test]
fn trap_1_an_empty_file_with_a_length_is_enxio_or_extended() {
    let folder = Folder::new();
    for door in DOORS {
        let path = folder.file("empty", 0);
        for access in [RO, RW, COW] {
            let options = mapshare_options { length: 4096, ..with(access) };
            refused(door.open(&path, &options), ENXIO, &["empty' is 0 bytes", "4096 were asked", "MAPSHARE_CREATE"]);
        }
        assert_eq!(files::length_of(&path), 0);
        let region = door.open(&path, &common::create(4096)).unwrap();
        assert_eq!((region.bytes(0, 4096), files::length_of(&path)), (vec![0; 4096], 4096));
        files::set_length(&path, 0);
    }
}

#[test]
fn trap_2_an_empty_file_without_a_length_is_einval() {
    let folder = Folder::new();
    let path = folder.file("empty", 0);
    let page = folder.file("page", page());
    for door in DOORS {
        for options in [with(RO), with(RW), with(COW), common::create(0)] {
            refused(door.open(&path, &options), EINVAL, &["empty' has no byte", "length", "MAPSHARE_CREATE"]);
        }
        let at_the_end = mapshare_options { offset: common::page(), ..with(RO) };
        refused(door.open(&page, &at_the_end), EINVAL, &["page' has no byte", &common::page().to_string()]);
        assert_eq!(files::length_of(&path), 0);
    }
}

#[test]
fn trap_3_a_file_that_may_only_be_read_is_eacces_for_shared_writing() {
    in_own_process(trap_3_a_file_that_may_only_be_read_is_eacces_for_shared_writing, || {
        let folder = Folder::new();
        let path = folder.file_with("readable", &[1; 4096]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        become_nobody();
        for door in DOORS {
            refused(
                door.open(&path, &with(RW)),
                EACCES,
                &["MAPSHARE_READ_WRITE", "permission", "MAPSHARE_COPY_ON_WRITE"],
            );
            assert_eq!(door.open(&path, &with(RO)).unwrap().bytes(0, 1), [1]);
        }
    });
}

#[test]
fn trap_4_a_descriptor_that_grants_less_is_eacces() {
    let folder = Folder::new();
    let path = folder.file("file", 4096);
    let writing = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let reading = fs::File::open(&path).unwrap();
    for door in DOORS {
        for access in [RO, RW, COW] {
            refused(door.open_fd(writing.as_raw_fd(), &with(access)), EACCES, &["writing only", "O_RDWR"]);
        }
        let words = ["MAPSHARE_READ_WRITE", "reading only", "O_RDWR", "MAPSHARE_COPY_ON_WRITE"];
        refused(door.open_fd(reading.as_raw_fd(), &with(RW)), EACCES, &words);
        refused(door.open_fd(reading.as_raw_fd(), &common::create(8192)), EACCES, &words);
    }
}

#[test]
fn trap_5_the_descriptor_may_be_closed_after_mapping() {
    let folder = Folder::new();
    let path = folder.file("file", 4096);
    for door in DOORS {
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let region = door.open_fd(file.as_raw_fd(), &with(RW)).unwrap();
        drop(file);
        region.write(0, b"open").unwrap();
        assert_eq!((region.bytes(0, 4), files::read_at(&path, 0, 4)), (b"open".to_vec(), b"open".to_vec()));
    }
}

#[test]
fn trap_6_a_misaligned_file_offset_is_einval_and_the_nearest_ones_are_named() {
    let folder = Folder::new();
    let path = folder.file("file", 1 << 20);
    let page = page();
    for door in DOORS {
        for offset in [1, page - 1, page + 1, 5 * page + 123, (1 << 20) - 1, (1 << 40) + 7] {
            let (below, above) = (offset / page * page, (offset / page + 1) * page);
            let words = [offset, page, below, above, offset - below].map(|number| number.to_string());
            let words = words.each_ref().map(String::as_str);
            let options = mapshare_options { offset, length: 1, ..with(RO) };
            refused(door.open(&path, &options), EINVAL, &words);
            refused(door.open(folder.join("new"), &mapshare_options { offset, ..common::create(1) }), EINVAL, &words);
        }
        let last = mapshare_options { offset: u64::MAX, length: 1, ..with(RO) };
        refused(door.open(&path, &last), EINVAL, &[&u64::MAX.to_string(), &(u64::MAX - (page - 1)).to_string()]);
        assert_eq!(code(door.open(&path, &mapshare_options { offset: 5 * page, ..with(RO) })), 0);
    }
    assert_eq!(folder.names(), ["file"]);
}

#[test]
fn trap_7_an_access_past_the_region_is_erange_and_copies_nothing() {
    let folder = Folder::new();
    let path = folder.file("file", 100);
    for door in DOORS {
        let region = door.open(&path, &with(RW)).unwrap();
        for (offset, length) in
            [(0, 101), (100, 1), (99, 2), (4096, 1), (u64::MAX, 1), (u64::MAX - 4, 10), (1 << 32, 0)]
        {
            let words = [&*offset.to_string(), &*length.to_string(), "100 bytes long", "nothing was done"];
            let mut buffer = vec![0xAA; length as usize];
            refused(region.read(offset, &mut buffer), ERANGE, &words);
            refused(region.write(offset, &buffer), ERANGE, &words);
            refused(region.fill(offset, length, 1), ERANGE, &words);
            assert!(buffer.iter().all(|byte| *byte == 0xAA));
        }
        assert_eq!((region.bytes(0, 100), files::length_of(&path)), (vec![0; 100], 100));
    }
}

#[test]
fn trap_8_unmap_twice_or_of_something_else_is_ebadf() {
    let folder = Folder::new();
    let region = c::open(&folder.file("file", 100), &with(RO)).unwrap();
    region.unmap().unwrap();
    for token in [region, c::Token(0), c::Token(4096), c::Token(&raw const region as u64)] {
        let number = format!("{:#x}", token.0);
        refused(token.unmap(), EBADF, &[&number, "not an open region", "closed already"]);
    }
    // Rust has no such trap: unmapping consumes the region.
}

#[test]
fn trap_9_private_writes_stay_here_and_flush_says_so() {
    let folder = Folder::new();
    let path = folder.file_with("file", &[b'f'; 4096]);
    for door in DOORS {
        let region = door.open(&path, &with(COW)).unwrap();
        region.write(10, b"mine").unwrap();
        assert_eq!((region.bytes(10, 4), fs::read(&path).unwrap()), (b"mine".to_vec(), vec![b'f'; 4096]));
        refused(
            region.flush(0, 0, 0),
            EINVAL,
            &["MAPSHARE_COPY_ON_WRITE", "never reach the file", "MAPSHARE_READ_WRITE"],
        );
    }
    assert_eq!(fs::read(&path).unwrap(), [b'f'; 4096]);
}

#[test]
fn trap_10_a_file_without_write_permission_opens_copy_on_write() {
    in_own_process(trap_10_a_file_without_write_permission_opens_copy_on_write, || {
        let folder = Folder::new();
        let path = folder.file_with("readable", &[b'f'; 4096]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        become_nobody();
        let reading = fs::File::open(&path).unwrap();
        for door in DOORS {
            for region in [door.open(&path, &with(COW)), door.open_fd(reading.as_raw_fd(), &with(COW))] {
                let region = region.unwrap();
                region.write(0, b"mine").unwrap();
                assert_eq!(region.bytes(0, 5), b"minef");
            }
        }
        assert_eq!(fs::read(&path).unwrap(), [b'f'; 4096]);
    });
}
