//! Every argument of every function: what is wrong with it is a code, and nothing has happened.

mod common;

use common::c::{self, Token};
use common::words::Do;
use common::*;
use libc::*;
use std::fs;
use std::ptr;

const NULL: Token = Token(0);

/// Each function that takes a token, called well but for the token.
fn calls_with(token: Token) -> Vec<(&'static str, Outcome)> {
    let mut byte = [0u8];
    // It does not unmap.
    let opened = std::mem::ManuallyDrop::new(Opened::c(token));
    vec![
        ("read", token.read(0, &mut byte)),
        ("write", token.write(0, &byte)),
        ("fill", token.fill(0, 1, 7)),
        ("copy to", token.copy_from(0, token, 0, 1)),
        ("flush", token.flush(0, 0, 0)),
        ("view", token.view(0, 1).map(drop)),
        ("release", token.release(ptr::null_mut())),
        ("resize", token.resize(1)),
        ("refresh", token.refresh().map(drop)),
        ("protect", token.protect(MAPSHARE_READ_ONLY)),
        ("advise", token.advise(0, 0, MAPSHARE_ADVISE_NORMAL)),
        ("lock_range", token.lock_range(0, 1, MAPSHARE_LOCK_SHARED, 0)),
        ("unlock_range", token.unlock_range(0, 1)),
        ("length", token.length().map(drop)),
        ("info", token.info().map(drop)),
        ("fd", token.fd().map(drop)),
        ("send", token.send(0, MAPSHARE_READ_ONLY)),
        ("seal", token.seal(0)),
        ("atomic", token.atomic(0, Do::<u64>::Load).map(drop)),
        ("atomic", token.atomic(0, Do::Add(1u32)).map(drop)),
        ("wait", token.wait(0, 1, 0)),
        ("wake", token.wake(0, 1).map(drop)),
        ("mutex_init", token.init_mutex(0)),
        ("mutex_lock", token.lock(0, 0).map(drop)),
        ("mutex_recover", token.recover(0)),
        ("mutex_unlock", token.unlock(0)),
        ("mutex_owner", token.owner(0).map(drop)),
        ("cell_init", opened.init_cell(0, 8)),
        ("cell_publish", opened.publish(0, &byte)),
        ("cell_read", opened.read_cell(0, 8).map(drop)),
        ("cell_wait", opened.wait_cell(0, 0, 0)),
        ("queue_init", opened.init_queue(0, 8, 0)),
        ("queue_open", opened.producer(0).map(drop)),
        ("unmap", token.unmap()),
    ]
}

#[test]
fn a_token_that_is_not_open_is_ebadf_in_every_function() {
    let folder = Folder::new();
    let open = c::open(&folder.join("a"), &common::create(4096)).unwrap();
    let closed = c::open(&folder.join("b"), &common::create(4096)).unwrap();
    closed.unmap().unwrap();
    for token in [NULL, closed, Token(1), Token(u64::MAX), Token(open.0 ^ 1 << 56), Token(open.0 ^ 1 << 30)] {
        for (function, outcome) in calls_with(token) {
            let failure = outcome.expect_err(function);
            assert_eq!(failure.code, EBADF, "{function} of {token:?}: {}", failure.text);
            assert!(failure.text.contains(&format!("{:#x}", token.0)), "the token is named: {}", failure.text);
        }
        assert_eq!(code(open.copy_from(0, token, 0, 1)), EBADF, "copy from {token:?}");
        assert_eq!(code(token.copy_from(0, open, 0, 1)), EBADF, "copy to {token:?}");
    }
    open.unmap().unwrap();
}

#[test]
fn a_null_pointer_is_einval_where_there_is_something_to_put_there() {
    let folder = Folder::new();
    let path = folder.file("a", 4096);
    let region = c::open(&path, &with(MAPSHARE_READ_WRITE)).unwrap();
    let none = ptr::null_mut();
    refused(region.read_raw(0, none, 1), EINVAL, &["'buffer' is NULL", "or a size of 0 with it"]);
    refused(region.write_raw(0, none, 1), EINVAL, &["'buffer' is NULL"]);
    refused(region.read_raw(9999, none, 1), EINVAL, &["'buffer' is NULL"]);
    refused(region.view_to_null(0, 1), EINVAL, &["'ret_pointer' is NULL"]);
    refused(region.info_sized(none, 96), EINVAL, &["'ret_info' is NULL"]);
    refused(region.release(none), EINVAL, &["0x0"]);
    assert_eq!((code(region.read_raw(0, none, 0)), code(region.write_raw(4096, none, 0))), (0, 0));
    region.unmap().unwrap();

    refused(c::open_sized(ptr::null(), ptr::null(), 0), EINVAL, &["'path' is NULL"]);
    let path = c::c_path(&path);
    let options = mapshare_options::default();
    let (path, size, none) = (path.as_ptr(), size_of_val(&options), ptr::null_mut());
    // SAFETY: a NULL ret_region is refused before anything is written; as the next two.
    let by_path = unsafe { mapshare::ffi::open::mapshare_open(path, &options, size, none) };
    // SAFETY: see above.
    let by_fd = unsafe { mapshare::ffi::open::mapshare_open_fd(0, &options, size, none) };
    // SAFETY: see above.
    let by_directory = unsafe { mapshare::ffi::open::mapshare_open_at(AT_FDCWD, path, &options, size, none) };
    let results = [by_path, by_fd, by_directory];
    assert_eq!(results, [-EINVAL; 3]);
    let sentence = c::last_error();
    assert!(sentence.contains("'ret_region' is NULL") && !sentence.contains("size"), "{sentence}");
}

#[test]
fn options_of_other_versions_are_taken_by_their_size() {
    let folder = Folder::new();
    let path = c::c_path(&folder.file("a", 8192));
    let mut bytes = [0u8; 8192];
    bytes[16..18].copy_from_slice(&4096u16.to_le_bytes()); // length
    let open = |bytes: &[u8], size| c::open_sized(path.as_ptr(), bytes.as_ptr(), size);
    let length_at = |size| {
        let region = open(&bytes, size).unwrap();
        let length = region.length().unwrap();
        region.unmap().unwrap();
        length
    };
    assert_eq!(length_at(16), 8192, "a shorter struct ends before the length, which is its default then");
    assert_eq!((length_at(24), length_at(40)), (4096, 4096), "shorter, and exact");
    assert_eq!((length_at(48), length_at(41), length_at(4096)), (4096, 4096, 4096), "longer, with a tail of zeros");
    for size in [0, 7, 9, 39] {
        refused(open(&bytes, size), EINVAL, &["options_size", &size.to_string(), "sizeof"]);
    }

    for at in [40, 47, 4095] {
        let mut newer = bytes;
        newer[at] = 1;
        refused(open(&newer, 4096), E2BIG, &["4096 bytes", "the first 40", "newer libmapshare"]);
    }
    refused(open(&bytes, 4097), E2BIG, &["4097"]);
    refused(open(&bytes, usize::MAX), E2BIG, &[]);
    refused(c::open_sized(path.as_ptr(), ptr::null(), 40), EINVAL, &["'options' is NULL"]);
    let region = c::open_sized(path.as_ptr(), ptr::null(), 0).unwrap();
    assert_eq!(region.info().unwrap().access, MAPSHARE_READ_ONLY);
    region.unmap().unwrap();

    // No alignment is asked of the options or of what info fills.
    let mut odd = [0xEEu8; 97];
    odd[1..41].fill(0);
    let region = open(&odd[1..], 40).unwrap();
    region.info_sized(odd[1..].as_mut_ptr(), 96).unwrap();
    assert_eq!(odd[1..9], 8192u64.to_le_bytes());
    region.unmap().unwrap();
}

#[test]
fn unknown_bits_and_numbers_are_einval_and_are_named() {
    let folder = Folder::new();
    let path = folder.file("a", 4096);
    // The flags are those that the header documents as such.
    let header = fs::read_to_string(common::programs::package().join("include/mapshare.h")).unwrap();
    let documented = header.split("/**").filter(|part| part.trim_start().starts_with("* mapshare_options.flags"));
    let values = documented.filter_map(|part| part.split("#define ").nth(1)?.split_whitespace().nth(1));
    let known = values.fold(0u64, |known, value| known | value.parse::<u64>().unwrap());
    assert_eq!(known & 0xbf, 0xbf, "the header was read");
    for bit in (0..64).map(|bit| 1u64 << bit).filter(|bit| bit & known == 0) {
        let options = mapshare_options { flags: bit, ..Default::default() };
        let words = ["options.flags", &*format!("{bit:#x}"), &*format!("{known:#x}")];
        refused(c::open(&path, &options), EINVAL, &words);
    }
    for access in [3, 4, u32::MAX] {
        refused(c::open(&path, &with(access)), EINVAL, &["access", &access.to_string(), "MAPSHARE_READ_ONLY (0)"]);
    }
    let region = c::open(&path, &with(MAPSHARE_READ_WRITE)).unwrap();
    for byte in [256, 1000, u32::MAX] {
        refused(region.fill(0, 1, byte), EINVAL, &["byte", &byte.to_string(), "255"]);
    }
    for flags in [2, 3, 1 << 31, u32::MAX] {
        refused(region.flush(0, 0, flags), EINVAL, &["flags", &format!("{:#x}", flags & !1)]);
    }
    for advice in [6, 7, 100, u32::MAX] {
        refused(region.advise(0, 0, advice), EINVAL, &["advice", &advice.to_string()]);
    }
    for access in [3, u32::MAX] {
        refused(region.protect(access), EINVAL, &["access", &access.to_string()]);
    }
    region.unmap().unwrap();
}

#[test]
fn options_that_contradict_each_other_are_einval() {
    let folder = Folder::new();
    let path = folder.file("a", 4096);
    let new = folder.join("new");
    let exclusive = mapshare_options { flags: MAPSHARE_EXCLUSIVE, ..Default::default() };
    let reserve = mapshare_options { length: 4096, reserve: 4095, ..Default::default() };
    let mode = |mode| mapshare_options { mode, ..common::create(4096) };
    let read_only = mapshare_options { access: MAPSHARE_READ_ONLY, ..common::create(8192) };
    let private = mapshare_options { access: MAPSHARE_COPY_ON_WRITE, ..common::create(8192) };
    let nothing = common::create(0);
    for door in DOORS {
        refused(door.open(&path, &exclusive), EINVAL, &["MAPSHARE_EXCLUSIVE", "MAPSHARE_CREATE"]);
        refused(door.open(&path, &reserve), EINVAL, &["reserve", "length"]);
        refused(door.open(&new, &mode(0o1000)), EINVAL, &["mode", "0o1000"]);
        refused(door.open(&new, &mode(0o4755)), EINVAL, &["mode", "0o4755"]);
        for path in [&path, &new] {
            refused(door.open(path, &read_only), EINVAL, &["MAPSHARE_READ_ONLY", "MAPSHARE_READ_WRITE"]);
            refused(door.open(path, &private), EINVAL, &["MAPSHARE_COPY_ON_WRITE", "MAPSHARE_READ_WRITE"]);
        }
        refused(door.open(&new, &nothing), EINVAL, &["'", "length"]);
        let mut region = door.open(&path, &with(MAPSHARE_READ_WRITE)).unwrap();
        refused(region.view(0, 0), EINVAL, &["length is 0"]);
        refused(region.view(9999, 0), EINVAL, &["length is 0"]);
        refused(region.resize(0), EINVAL, &["length is 0"]);
    }
    assert_eq!(folder.names(), ["a"], "nothing was made");
    assert_eq!(files::length_of(&path), 4096, "nothing was made longer");
}

#[test]
fn ranges_are_checked_in_every_function_for_every_number() {
    let folder = Folder::new();
    let path = folder.file("a", 5000);
    let big = u64::MAX;
    let outside =
        [(0, 5001), (5000, 1), (5001, 1), (4999, 2), (1, big), (big, 1), (big, big), (1 << 63, 1 << 63), (big - 1, 2)];
    for door in DOORS {
        let mut region = door.open(&path, &with(MAPSHARE_READ_WRITE)).unwrap();
        let other = door.open(&path, &with(MAPSHARE_READ_WRITE)).unwrap();
        region.fill(0, 5000, 0x55).unwrap();
        for (offset, length) in outside {
            let words = [&*offset.to_string(), &*length.to_string(), "5000 bytes"];
            refused(region.fill(offset, length, 1), ERANGE, &words);
            refused(region.view(offset, length), ERANGE, &words);
            refused(region.flush(offset, length, 0), ERANGE, &words);
            refused(region.flush(offset, length, MAPSHARE_FLUSH_ASYNC), ERANGE, &words);
            refused(region.advise(offset, length, MAPSHARE_ADVISE_NORMAL), ERANGE, &words);
            refused(region.lock_range(offset, length, MAPSHARE_LOCK_SHARED, 0), ERANGE, &words);
            refused(region.copy_from(offset, &other, 0, length), ERANGE, &[]);
            refused(region.copy_from(0, &other, offset, length), ERANGE, &[]);
            refused(region.copy_from(0, &region, offset, length), ERANGE, &[]);
            if length <= 5001 {
                let mut buffer = vec![0xAA; length as usize];
                refused(region.write(offset, &buffer), ERANGE, &words);
                refused(region.read(offset, &mut buffer), ERANGE, &words);
                assert!(buffer.iter().all(|byte| *byte == 0xAA), "nothing was copied out");
            } else if door == Door::C {
                let mut byte = 0u8;
                refused(region.token().read_raw(offset, &mut byte, length as usize), ERANGE, &words);
                refused(region.token().write_raw(offset, &byte, length as usize), ERANGE, &words);
            }
        }
        assert!(region.bytes(0, 5000).iter().all(|byte| *byte == 0x55), "nothing was copied in");
        assert_eq!(region.info().views, 0, "no view is out");

        // The end is a place for zero bytes; behind it there is none.
        assert_eq!((code(region.fill(5000, 0, 1)), code(region.fill(5001, 0, 1))), (0, ERANGE));
        assert_eq!((code(region.read(5000, &mut [])), code(region.read(5001, &mut []))), (0, ERANGE));
        assert_eq!((code(region.write(5000, &[])), code(region.write(big, &[]))), (0, ERANGE));
        assert_eq!((code(region.flush(5000, 0, 0)), code(region.flush(5001, 0, 0))), (0, ERANGE));
        assert_eq!((code(region.advise(5000, 0, 0)), code(region.advise(5001, 0, 0))), (0, ERANGE));
        assert_eq!(code(region.copy_from(5000, &other, 5000, 0)), 0);
        assert_eq!(code(region.fill(4999, 1, 0x55)), 0);
    }
}

#[test]
fn a_file_that_is_too_short_is_enxio_whatever_the_numbers() {
    let folder = Folder::new();
    let path = folder.file("a", 10_000);
    let (page, big) = (page(), u64::MAX);
    for door in DOORS {
        for (offset, length) in [(0, 10_001), (8192, 1809), (page * 4, 1), (page * 4, 0), (0, big), (page, big)] {
            let options = mapshare_options { offset, length, ..Default::default() };
            refused(door.open(&path, &options), ENXIO, &["a'", "10000 bytes", &offset.to_string(), "MAPSHARE_CREATE"]);
        }
        let last_page = mapshare_options { offset: big - (page - 1), length: 1, ..Default::default() };
        refused(door.open(&path, &last_page), ENXIO, &["10000"]);
        let options = mapshare_options { offset: 8192, length: 1808, ..Default::default() };
        assert_eq!(door.open(&path, &options).unwrap().length(), 1808);
    }
}

#[test]
fn a_file_that_cannot_be_that_long_is_enospc_and_nothing_is_made() {
    let folder = Folder::new();
    let path = folder.file("a", 100);
    for door in DOORS {
        for length in [u64::MAX, 1 << 63, i64::MAX as u64 + 1] {
            for flags in [MAPSHARE_CREATE, MAPSHARE_CREATE | MAPSHARE_SPARSE] {
                for offset in [0, page()] {
                    let options = mapshare_options { flags, offset, ..common::create(length) };
                    for path in [&path, &folder.join("new")] {
                        let failure = door.open(path, &options).err().expect("no file is that long");
                        assert!([ENOSPC, ENOMEM].contains(&failure.code), "{offset}+{length}: {}", failure.text);
                    }
                }
            }
        }
        assert_eq!((folder.names(), files::length_of(&path)), (vec!["a".to_owned()], 100));
    }
}

#[test]
fn paths_fail_as_the_kernel_says() {
    let folder = Folder::new();
    let file = folder.file("file", 4096);
    std::os::unix::fs::symlink("circle", folder.join("circle")).unwrap();
    let long = folder.join(&"x".repeat(256));
    let longest = folder.join(&"x/".repeat(3000));
    let reading = with(MAPSHARE_READ_ONLY);
    let create = common::create(4096);
    for door in DOORS {
        for (path, options, expected) in [
            (folder.join("missing"), &reading, ENOENT),
            (folder.join("missing/file"), &reading, ENOENT),
            (folder.join("missing/file"), &create, ENOENT),
            (folder.join(""), &reading, ENODEV),
            ("".into(), &reading, ENOENT),
            ("".into(), &create, ENOENT),
            (file.join("below"), &reading, ENOTDIR),
            (file.join("below"), &create, ENOTDIR),
            (long.clone(), &reading, ENAMETOOLONG),
            (long.clone(), &create, ENAMETOOLONG),
            (longest.clone(), &create, ENAMETOOLONG),
            (folder.join("circle"), &reading, ELOOP),
            (folder.join("circle"), &create, ELOOP),
        ] {
            let failure = door.open(&path, options).err().expect("refused");
            assert_eq!(failure.code, expected, "{}", failure.text);
        }
        refused(door.open(folder.join("missing"), &reading), ENOENT, &["missing'", "MAPSHARE_CREATE"]);
    }
    assert_eq!(folder.names(), ["circle", "file"]);
    // A path with a NUL byte inside, which C cannot have.
    refused(Door::Rust.open(folder.join("a\0b"), &create), EINVAL, &["NUL"]);
}

#[test]
fn descriptors_that_cannot_serve_are_codes() {
    let folder = Folder::new();
    let path = folder.file("file", 4096);
    let name = c::c_path(&path);
    // SAFETY: a C string.
    let fd = |flags| unsafe { libc::open(name.as_ptr(), flags | O_CLOEXEC) };
    let (reading, writing, both, naming) = (fd(O_RDONLY), fd(O_WRONLY), fd(O_RDWR), fd(O_PATH));
    for closed in [-1, -5, AT_FDCWD, 999_999, i32::MAX, i32::MIN] {
        refused(c::open_fd(closed, &with(0)), EBADF, &[&closed.to_string(), "open"]);
    }
    for closed in [-1, 999_999] {
        refused(c::open_at(closed, "relative".as_ref(), &with(0)), EBADF, &[]);
        assert_eq!(code(c::open_at(closed, &path, &with(0))), 0, "an absolute path counts from nowhere else");
        let beneath = mapshare_options { flags: MAPSHARE_BENEATH, ..with(0) };
        refused(c::open_at(closed, &path, &beneath), EACCES, &["leads out"]);
    }
    for door in DOORS {
        let open = |fd, access| door.open_fd(fd, &with(access));
        refused(open(naming, MAPSHARE_READ_ONLY), EBADF, &["O_PATH"]);
        for access in [MAPSHARE_READ_ONLY, MAPSHARE_READ_WRITE, MAPSHARE_COPY_ON_WRITE] {
            refused(open(writing, access), EACCES, &["writing only", "O_RDWR"]);
            assert_eq!(code(open(both, access)), 0);
        }
        refused(open(reading, MAPSHARE_READ_WRITE), EACCES, &["MAPSHARE_READ_WRITE", "reading only", "O_RDWR"]);
        assert_eq!((code(open(reading, MAPSHARE_READ_ONLY)), code(open(reading, MAPSHARE_COPY_ON_WRITE))), (0, 0));
        let exclusive = mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_EXCLUSIVE, ..common::create(4096) };
        refused(door.open_fd(both, &exclusive), EEXIST, &["exists", "MAPSHARE_EXCLUSIVE"]);
        refused(door.open_at(both, "relative", &with(0)), ENOTDIR, &[]);
        refused(door.open_at(reading, "relative", &common::create(1)), ENOTDIR, &[]);
        assert_eq!(code(door.open_at(AT_FDCWD, &path, &with(0))), 0);
        for other in [&folder.path().join("."), &"/dev/null".into()] {
            let other = fs::File::open(other).unwrap();
            refused(open(std::os::fd::AsRawFd::as_raw_fd(&other), MAPSHARE_READ_ONLY), ENODEV, &["descriptor"]);
        }
    }
    for fd in [reading, writing, both, naming] {
        // SAFETY: ours, and used no more.
        assert_eq!(unsafe { close(fd) }, 0, "the caller's descriptor stayed the caller's");
    }
}

#[test]
fn rights_change_up_to_what_was_opened() {
    const RO: u32 = MAPSHARE_READ_ONLY;
    const RW: u32 = MAPSHARE_READ_WRITE;
    const COW: u32 = MAPSHARE_COPY_ON_WRITE;
    let folder = Folder::new();
    let path = folder.file("a", 4096);
    let table = [
        (RO, RO, 0),
        (RO, RW, EACCES),
        (RO, COW, EINVAL),
        (RW, RO, 0),
        (RW, RW, 0),
        (RW, COW, EINVAL),
        (COW, RO, 0),
        (COW, RW, EACCES),
        (COW, COW, 0),
    ];
    for door in DOORS {
        for (opened, asked, expected) in table {
            let mut region = door.open(&path, &with(opened)).unwrap();
            assert_eq!(code(region.protect(asked)), expected, "{door:?} {opened} -> {asked}");
            let now = if expected == 0 { asked } else { opened };
            assert_eq!(region.info().access, now);
            let writing = if now == RO { EACCES } else { 0 };
            assert_eq!(code(region.write(0, b"x")), writing);
            assert_eq!(code(region.fill(0, 1, 1)), writing);
            assert_eq!(code(region.copy_from(0, &region, 1, 1)), writing);
            let resizing = if opened == COW { EINVAL } else { writing };
            assert_eq!(code(region.resize(8192)), resizing);
            assert_eq!(code(region.flush(0, 0, 0)), if opened == COW { EINVAL } else { 0 });
            // And back to what it was.
            assert_eq!(code(region.protect(opened)), 0);
            assert_eq!(code(region.write(0, b"x")), if opened == RO { EACCES } else { 0 });
            files::set_length(&path, 4096);
        }
        // A descriptor grants more than the region was opened for.
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut region = door.open_fd(std::os::fd::AsRawFd::as_raw_fd(&file), &with(RO)).unwrap();
        assert_eq!(
            (code(region.write(0, b"x")), code(region.protect(RW)), code(region.write(0, b"x"))),
            (EACCES, 0, 0)
        );
        // A view that may be written through keeps the region writable.
        let view = region.view(0, 1).unwrap();
        refused(region.protect(RO), EBUSY, &["1 view", "release"]);
        assert_eq!(code(region.write(0, b"x")), 0, "it stayed as it was");
        region.release(view);
        assert_eq!(code(region.protect(RO)), 0);
        let view = region.view(0, 1).unwrap();
        assert_eq!(
            (code(region.protect(RO)), code(region.protect(RW))),
            (0, 0),
            "a view of a read-only region bars nothing"
        );
        region.release(view);
    }
}

#[test]
fn info_fills_shorter_and_longer_structs() {
    let folder = Folder::new();
    let path = folder.file("a", 5000);
    let region = c::open(&path, &with(MAPSHARE_READ_ONLY)).unwrap();
    let size = size_of::<mapshare_region_info>();
    let mut whole = vec![0xEE; 4096];
    region.info_sized(whole.as_mut_ptr(), size).unwrap();
    assert_eq!(whole[..8], 5000u64.to_le_bytes());
    for given in [1, 8, 12, 88, size - 1, size, size + 1, 200, 4096] {
        let mut bytes = vec![0xEE; 4100];
        region.info_sized(bytes.as_mut_ptr(), given).unwrap();
        let known = given.min(size);
        assert_eq!(bytes[..known], whole[..known]);
        assert!(bytes[known..given].iter().all(|byte| *byte == 0), "the tail of {given} is zero");
        assert!(bytes[given..].iter().all(|byte| *byte == 0xEE), "behind {given} nothing was written");
    }
    refused(region.info_sized(whole.as_mut_ptr(), 0), EINVAL, &["info_size is 0"]);
    region.unmap().unwrap();
}

#[test]
fn advice_is_taken_on_any_range_and_changes_no_byte() {
    let folder = Folder::new();
    for (door, access) in [(Door::Rust, 1), (Door::C, 1), (Door::Rust, 2), (Door::C, 2), (Door::C, 0)] {
        let path = folder.file_with("a", &[0x33; 20_000]);
        let region = door.open(&path, &with(access)).unwrap();
        if access != MAPSHARE_READ_ONLY {
            region.write(5000, b"mine").unwrap();
        }
        let before = region.bytes(0, 20_000);
        for advice in MAPSHARE_ADVISE_NORMAL..=MAPSHARE_ADVISE_HUGE_PAGES {
            for (offset, length) in [(0, 0), (1, 1), (4095, 2), (0, 20_000), (19_999, 1), (20_000, 0), (5000, 0)] {
                let result = region.advise(offset, length, advice);
                let unknown = advice == MAPSHARE_ADVISE_HUGE_PAGES && code(result.clone()) == EINVAL;
                assert!(result.is_ok() || unknown, "{advice} {offset}+{length}: {result:?}");
            }
            assert!(region.bytes(0, 20_000) == before, "advice {advice} changed a byte, access {access}");
        }
    }
}
