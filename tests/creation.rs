//! Files are made whole or not at all, and only what can be mapped is opened.

mod common;

use common::files::on_small_tmpfs;
use common::process::{Partner, Refusal, StopAtEnd, forked, listen, refuse, role, tell, watchdog};
use common::*;
use libc::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const RW: u32 = MAPSHARE_READ_WRITE;
const MIB: u64 = 1 << 20;

fn flags(flags: u64, length: u64) -> mapshare_options {
    mapshare_options { flags, ..common::create(length) }
}

#[test]
fn a_second_process_never_sees_a_short_or_empty_new_file() {
    const LENGTH: u64 = 8 * MIB;
    const ROUNDS: usize = 200;
    if role().is_some() {
        watchdog();
        let path = listen();
        tell("looking");
        let mut seen = 0;
        while seen < ROUNDS {
            let Ok(file) = fs::File::open(&path) else { continue };
            let found = file.metadata().unwrap();
            assert_eq!(found.len(), LENGTH, "a file was seen half made");
            assert!(found.blocks() * 512 >= LENGTH, "a file was seen without its storage");
            let region = Door::C.open_fd(std::os::fd::AsRawFd::as_raw_fd(&file), &with(0)).unwrap();
            assert_eq!(region.length(), LENGTH);
            fs::remove_file(&path).unwrap();
            seen += 1;
            tell("seen");
        }
        return;
    }
    let folder = Folder::new();
    let path = folder.join("file");
    let mut looker = Partner::start(a_second_process_never_sees_a_short_or_empty_new_file, "looker");
    looker.say(path.to_str().unwrap());
    looker.hears("looking");
    for round in 0..ROUNDS {
        let region = DOORS[round % 2].open(&path, &common::create(LENGTH)).unwrap();
        assert_eq!(region.length(), LENGTH);
        looker.hears("seen");
    }
    looker.finish();
    assert!(folder.names().is_empty());
}

#[test]
fn many_processes_that_create_at_once_get_one_file() {
    const PROCESSES: usize = 50;
    if let Some(role) = role() {
        watchdog();
        let path = listen();
        tell("ready");
        listen();
        let exclusive = role == "exclusive";
        let extra = if exclusive { MAPSHARE_EXCLUSIVE } else { 0 };
        let result = Door::C.open(&path, &flags(MAPSHARE_CREATE | extra, 100_000));
        match &result {
            Ok(region) => {
                let info = region.info();
                assert_eq!((region.length(), info.file_length), (100_000, 100_000));
                region.write(u64::from(std::process::id()) % 100_000, b"!").unwrap();
                tell(&format!("{}", info.inode));
            }
            Err(failure) => {
                assert_eq!((failure.code, exclusive), (EEXIST, true), "{}", failure.text);
                tell("exists");
            }
        }
        listen();
        return;
    }
    let folder = Folder::new();
    for kind in ["plain", "exclusive"] {
        let path = folder.join(kind);
        let mut all: Vec<_> =
            (0..PROCESSES).map(|_| Partner::start(many_processes_that_create_at_once_get_one_file, kind)).collect();
        for partner in &mut all {
            partner.say(path.to_str().unwrap());
        }
        for partner in &mut all {
            partner.hears("ready");
        }
        for partner in &mut all {
            partner.say("go");
        }
        let answers: Vec<_> = all.iter_mut().map(|partner| partner.hear().expect("an answer")).collect();
        let inode = fs::metadata(&path).unwrap().ino().to_string();
        let same = answers.iter().filter(|answer| **answer == inode).count();
        assert_eq!(same, if kind == "plain" { PROCESSES } else { 1 }, "{kind}: {answers:?}, the file is {inode}");
        all.into_iter().for_each(Partner::finish);
    }
    assert_eq!(folder.names(), ["exclusive", "plain"]);
}

#[test]
fn exclusive_refuses_whatever_has_the_name() {
    let folder = Folder::new();
    folder.file("file", 4096);
    folder.file("empty", 0);
    fs::create_dir(folder.join("directory")).unwrap();
    files::make_fifo(&folder.join("fifo"));
    symlink("file", folder.join("link")).unwrap();
    symlink("nowhere", folder.join("dangling")).unwrap();
    let names = folder.names();
    let exclusive = flags(MAPSHARE_CREATE | MAPSHARE_EXCLUSIVE, 4096);
    for door in DOORS {
        for name in &names {
            refused(door.open(folder.join(name), &exclusive), EEXIST, &[&format!("{name}'"), "MAPSHARE_EXCLUSIVE"]);
        }
        assert_eq!(folder.names(), names);
        let region = door.open(folder.join("new"), &exclusive).unwrap();
        assert_eq!((region.length(), region.info().backing), (4096, MAPSHARE_BACKING_FILE));
        refused(door.open(folder.join("new"), &exclusive), EEXIST, &[]);
        fs::remove_file(folder.join("new")).unwrap();
    }
}

#[test]
fn mode_and_umask_decide_the_permissions_of_a_new_file() {
    in_own_process(mode_and_umask_decide_the_permissions_of_a_new_file, || {
        let folder = Folder::new();
        for (mask, mode, expected) in [
            (0, 0, 0o600),
            (0, 0o777, 0o777),
            (0, 0o640, 0o640),
            (0o077, 0o666, 0o600),
            (0o027, 0o777, 0o750),
            (0o777, 0o777, 0),
        ] {
            // SAFETY: no memory is passed.
            unsafe { umask(mask) };
            for door in DOORS {
                let path = folder.join("file");
                drop(door.open(&path, &mapshare_options { mode, ..common::create(1) }).unwrap());
                let found = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
                assert_eq!(found, expected, "{mask:o} {mode:o}");
                // The mode is for new files only.
                drop(door.open(&path, &mapshare_options { mode: 0o700, ..common::create(1) }));
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, expected);
                fs::remove_file(&path).unwrap();
            }
        }
    });
}

#[test]
fn an_existing_file_is_extended_and_never_cut() {
    let folder = Folder::new();
    for door in DOORS {
        let path = folder.file_with("file", b"contents");
        let region = door.open(&path, &common::create(5000)).unwrap();
        assert_eq!((region.length(), files::length_of(&path)), (5000, 5000));
        assert_eq!(region.bytes(0, 10), b"contents\0\0");
        assert!(files::storage_of(&path) >= 5000, "the space is reserved");
        let start = door.open(&path, &common::create(8)).unwrap();
        assert_eq!((start.length(), files::length_of(&path)), (8, 5000));
        let far = mapshare_options { offset: 65536, ..common::create(100) };
        let far = door.open(&path, &far).unwrap();
        assert_eq!((far.length(), files::length_of(&path)), (100, 65636));
        assert_eq!(door.open(&path, &common::create(0)).unwrap().length(), 65636);
        // Creating asks for nothing where nothing is missing.
        for access in [MAPSHARE_READ_ONLY, MAPSHARE_COPY_ON_WRITE] {
            assert_eq!(
                door.open(&path, &mapshare_options { access, ..common::create(65636) }).unwrap().length(),
                65636
            );
        }
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let by_fd = door.open_fd(std::os::fd::AsRawFd::as_raw_fd(&file), &common::create(70_000)).unwrap();
        assert_eq!((by_fd.info().backing, files::length_of(&path)), (MAPSHARE_BACKING_FD, 70_000));
    }
}

#[test]
fn a_full_file_system_is_a_code_of_open_and_leaves_nothing() {
    on_small_tmpfs(a_full_file_system_is_a_code_of_open_and_leaves_nothing, |mounted| {
        let free = mounted.free();
        let old = mounted.join("old");
        for door in DOORS {
            for length in [3 * MIB, MIB << 20] {
                refused(
                    door.open(mounted.join("new"), &common::create(length)),
                    ENOSPC,
                    &["new'", &length.to_string(), "full"],
                );
                assert_eq!((mounted.names(), mounted.free()), (vec![], free));
            }
            fs::write(&old, b"old").unwrap();
            let with_old = mounted.free();
            refused(door.open(&old, &common::create(3 * MIB)), ENOSPC, &["old'", "full"]);
            assert_eq!((files::length_of(&old), mounted.free()), (3, with_old));
            assert_eq!(fs::read(&old).unwrap(), b"old");

            let mut region = door.open(&old, &mapshare_options { reserve: 8 * MIB, ..common::create(MIB) }).unwrap();
            region.write(MIB - 1, b"!").unwrap();
            let with_region = mounted.free();
            for length in [2 * MIB + 1, 5 * MIB, 20 * MIB] {
                refused(region.resize(length), ENOSPC, &["full"]);
                assert_eq!((region.length(), files::length_of(&old), mounted.free()), (MIB, MIB, with_region));
            }
            assert_eq!(region.bytes(MIB - 1, 1), b"!");
            region.resize(MIB + MIB / 2).unwrap();
            region.fill(0, MIB + MIB / 2, 1).unwrap();
            drop(region);
            fs::remove_file(&old).unwrap();
        }
    });
}

#[test]
fn sparse_asks_for_no_storage() {
    on_small_tmpfs(sparse_asks_for_no_storage, |mounted| {
        for door in DOORS {
            let path = mounted.join("file");
            let free = mounted.free();
            let mut region = door.open(&path, &flags(MAPSHARE_CREATE | MAPSHARE_SPARSE, 100 * MIB)).unwrap();
            assert_eq!((region.length(), files::length_of(&path)), (100 * MIB, 100 * MIB));
            assert!(free - mounted.free() <= 2 * page());
            region.write(50 * MIB, b"!").unwrap();
            region.resize(200 * MIB).unwrap();
            assert_eq!(region.bytes(50 * MIB, 2), b"!\0");
            // Even on a file system that is full to the last block.
            let rest = door.open(mounted.join("rest"), &common::create(mounted.free())).unwrap();
            assert_eq!(mounted.free(), 0);
            region.resize(300 * MIB).unwrap();
            let more = door.open(mounted.join("more"), &flags(MAPSHARE_CREATE | MAPSHARE_SPARSE, MIB));
            assert!(more.is_ok() || code(more) == ENOSPC, "an inode may need a block");
            drop((region, rest));
            for name in mounted.names() {
                fs::remove_file(mounted.join(&name)).unwrap();
            }
        }
    });
}

#[test]
fn the_holes_of_an_existing_file_are_reserved_too() {
    const HOLE: u64 = MIB / 2;
    on_small_tmpfs(the_holes_of_an_existing_file_are_reserved_too, |mounted| {
        for door in DOORS {
            // It starts with a hole, more than as much lies behind it, and the rest of the disk is full.
            let path = mounted.join("holes");
            files::set_length(&path, HOLE + 3 * HOLE / 2);
            files::write_at(&path, HOLE, &vec![1; (3 * HOLE / 2) as usize]);
            let rest = door.open(mounted.join("rest"), &common::create(mounted.free())).unwrap();
            assert_eq!(mounted.free(), 0);
            let opened = door.open(&path, &common::create(HOLE));
            assert_eq!(code(opened), ENOSPC, "a write to the hole would be a SIGBUS");
            drop(rest);
            fs::remove_file(mounted.join("rest")).unwrap();
            let region = door.open(&path, &common::create(HOLE)).unwrap();
            assert!(files::storage_of(&path) >= HOLE + 3 * HOLE / 2);
            drop(region);
            fs::remove_file(&path).unwrap();
        }
    });
}

#[test]
fn a_failure_after_the_file_was_made_takes_it_back() {
    let folder = Folder::new();
    let path = folder.file_with("old", b"old");
    let too_much = mapshare_options { reserve: 1 << 60, ..common::create(65536) };
    for door in DOORS {
        refused(door.open(folder.join("new"), &too_much), ENOMEM, &[&(1u64 << 60).to_string(), "address space"]);
        assert_eq!(folder.names(), ["old"]);
        refused(door.open(&path, &too_much), ENOMEM, &[&(1u64 << 60).to_string(), "address space"]);
        assert_eq!(fs::read(&path).unwrap(), b"old", "an existing file has its old length");
    }
}

#[test]
fn a_kill_at_any_step_of_creation_leaves_no_name() {
    in_own_process(a_kill_at_any_step_of_creation_leaves_no_name, || {
        for call in [SYS_fallocate, SYS_ftruncate, SYS_mmap, SYS_linkat, SYS_mlock, SYS_madvise] {
            let folder = Folder::new();
            let died = forked(|| {
                let all = flags(MAPSHARE_CREATE | MAPSHARE_LOCKED | MAPSHARE_POPULATE, 65536);
                refuse(call, None, Refusal::Kill);
                code(Door::C.open(folder.join("file"), &all))
            });
            assert!(died == -SIGSYS || (call == SYS_ftruncate && died == 0), "system call {call}: {died}");
            if died != 0 {
                assert!(folder.names().is_empty(), "killed in system call {call}: {:?}", folder.names());
            }
        }
    });
}

#[test]
fn links_are_followed_unless_they_must_not_be() {
    let folder = Folder::new();
    fs::create_dir(folder.join("other")).unwrap();
    for door in DOORS {
        folder.file("file", 4096);
        for (link, target) in
            [("link", "file"), ("up", "other/../file"), ("dangling", "other/made"), ("chain", "dangling")]
        {
            let _ = fs::remove_file(folder.join(link));
            symlink(target, folder.join(link)).unwrap();
        }
        let no_follow = mapshare_options { flags: MAPSHARE_NO_FOLLOW, ..with(RW) };
        let create_no_follow = flags(MAPSHARE_CREATE | MAPSHARE_NO_FOLLOW, 4096);
        for link in ["link", "up", "dangling", "chain"] {
            refused(door.open(folder.join(link), &no_follow), ELOOP, &[&format!("{link}'"), "symbolic link"]);
            refused(door.open(folder.join(link), &create_no_follow), ELOOP, &["symbolic link"]);
        }
        assert_eq!(code(door.open(folder.join("file"), &no_follow)), 0);
        assert_eq!(
            (code(door.open(folder.join("link"), &with(RW))), code(door.open(folder.join("up"), &with(RW)))),
            (0, 0)
        );
        refused(door.open(folder.join("dangling"), &with(RW)), ENOENT, &["dangling'"]);
        // A link to nothing makes what it points to, as open(2) does, also through a chain.
        for link in ["dangling", "chain"] {
            assert_eq!(door.open(folder.join(link), &common::create(100)).unwrap().length(), 100);
            assert_eq!(files::length_of(&folder.join("other/made")), 100);
            assert!(fs::symlink_metadata(folder.join(link)).unwrap().is_symlink());
            fs::remove_file(folder.join("other/made")).unwrap();
        }
        // A directory on the way may be a link even so.
        symlink(folder.path(), folder.join("other/back")).unwrap();
        assert_eq!(code(door.open(folder.join("other/back/file"), &no_follow)), 0);
        assert_eq!(code(door.open(folder.join("other/back/made"), &create_no_follow)), 0);
        fs::remove_file(folder.join("other/back")).unwrap();
        fs::remove_file(folder.join("made")).unwrap();
    }
}

#[test]
fn what_cannot_be_mapped_is_refused_at_once() {
    in_own_process(what_cannot_be_mapped_is_refused_at_once, || {
        let folder = Folder::new();
        files::make_fifo(&folder.join("fifo"));
        symlink("fifo", folder.join("link to a fifo")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
        let mut table: Vec<(std::path::PathBuf, &str)> = vec![
            (folder.join("fifo"), "FIFO"),
            (folder.join("link to a fifo"), "FIFO"),
            (folder.join("socket"), "socket"),
            (folder.path().into(), "directory"),
            ("/dev/null".into(), "character device"),
            ("/dev/zero".into(), "character device"),
            ("/proc/self/maps".into(), "/proc"),
            ("/proc/version".into(), "/proc"),
            ("/sys/kernel/uevent_seqnum".into(), "/proc and /sys"),
        ];
        if Path::new("/dev/loop0").exists() {
            table.push(("/dev/loop0".into(), "block device"));
        } else {
            skip("no block device /dev/loop0");
        }
        for (path, words) in table {
            if !path.exists() {
                skip(&format!("no {}", path.display()));
                continue;
            }
            for (door, access, length) in
                [(Door::Rust, 0, 0), (Door::Rust, 2, 4096), (Door::C, 0, 0), (Door::C, 0, 4096), (Door::C, 2, 0)]
            {
                let options = mapshare_options { length, ..with(access) };
                let failure = door.open(&path, &options).err().expect("refused");
                assert_eq!(failure.code, ENODEV, "{}", failure.text);
                assert!(failure.text.contains(words), "{}", failure.text);
            }
            if !path.starts_with("/proc") && !path.starts_with("/sys") {
                refused(Door::C.open(&path, &with(RW)), ENODEV, &[words]);
                refused(Door::C.open(&path, &common::create(4096)), ENODEV, &[words]);
            }
        }
    });
}

/// What stands at the path changes between the library's look at it and its opening.
#[test]
fn what_takes_the_place_of_a_file_during_open_is_refused_too() {
    let folder = Folder::new();
    let file = folder.file("file", 4096);
    let inode = fs::metadata(&file).unwrap().ino();
    folder.file("other", 4096);
    symlink("other", folder.join("link")).unwrap();
    files::make_fifo(&folder.join("fifo"));
    let no_follow = mapshare_options { flags: MAPSHARE_NO_FOLLOW, ..with(MAPSHARE_READ_ONLY) };
    for (intruder, refusal) in [("link", ELOOP), ("fifo", ENODEV)] {
        let names = [c::c_path(&file), c::c_path(&folder.join(intruder))];
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let [one, other] = names.each_ref().map(|name| name.as_ptr());
                    // SAFETY: C strings.
                    let result = unsafe { renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) };
                    assert_eq!(result, 0);
                }
            });
            let _stop = StopAtEnd(&stop);
            let mut opened = 0;
            for round in 0..20_000 {
                match DOORS[round % 2].open(&file, &no_follow) {
                    Ok(region) => {
                        opened += 1;
                        assert_eq!(region.info().inode, inode, "a link was followed");
                    }
                    Err(failure) => assert_eq!(failure.code, refusal, "{}", failure.text),
                }
            }
            assert!(opened > 0 && opened < 20_000, "{opened} were opened: nothing changed meanwhile");
        });
        if fs::symlink_metadata(&file).unwrap().ino() != inode {
            fs::rename(&file, folder.join("aside")).unwrap();
            fs::rename(folder.join(intruder), &file).unwrap();
            fs::rename(folder.join("aside"), folder.join(intruder)).unwrap();
        }
    }
}
