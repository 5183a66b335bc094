//! Paths that come from others: what they may lead to, and what is never even opened.

mod common;

use common::process::{Partner, Refusal, forked, listen, refuse, role, tell};
use common::*;
use libc::*;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;

fn beneath(options: mapshare_options) -> mapshare_options {
    mapshare_options { flags: options.flags | MAPSHARE_BENEATH, ..options }
}

/// A directory to stay beneath, with a secret outside.
fn scene() -> (Folder, File) {
    let folder = Folder::new();
    folder.file_with("secret", b"secret");
    for name in ["box", "box/inner"] {
        fs::create_dir(folder.join(name)).expect("a new folder is ours");
    }
    folder.file_with("box/file", b"public");
    folder.file_with("box/inner/file", b"inside");
    symlink("../secret", folder.join("box/out")).expect("a new folder is ours");
    symlink("file", folder.join("box/to-file")).expect("a new folder is ours");
    symlink("nothing", folder.join("box/dangling")).expect("a new folder is ours");
    symlink("..", folder.join("box/up")).expect("a new folder is ours");
    symlink("inner", folder.join("box/to-inner")).expect("a new folder is ours");
    let directory = File::open(folder.join("box")).expect("a new folder is ours");
    (folder, directory)
}

#[test]
fn a_path_beneath_is_opened_as_without_the_flag() {
    for door in DOORS {
        let (_folder, directory) = scene();
        let fd = directory.as_raw_fd();
        for (path, bytes) in [
            ("file", b"public"),
            ("./file", b"public"),
            ("inner/file", b"inside"),
            ("inner/../file", b"public"),
            ("inner/../inner//file", b"inside"),
        ] {
            for access in [MAPSHARE_READ_ONLY, MAPSHARE_READ_WRITE, MAPSHARE_COPY_ON_WRITE] {
                let region = door.open_at(fd, path, &beneath(with(access))).unwrap();
                assert_eq!(region.bytes(0, 6), bytes, "{door:?} {path}");
                assert_eq!(region.info().backing, MAPSHARE_BACKING_FILE);
            }
        }
        refused(door.open_at(fd, "missing", &beneath(with(0))), ENOENT, &["missing'"]);
        refused(door.open_at(fd, "", &beneath(with(0))), ENOENT, &[]);
        refused(door.open_at(fd, "file/below", &beneath(with(0))), ENOTDIR, &[]);
        refused(door.open_at(9999, "file", &beneath(with(0))), EBADF, &["9999"]);
    }
}

#[test]
fn a_path_that_leads_out_is_eacces_and_a_link_anywhere_is_eloop() {
    for door in DOORS {
        let (folder, directory) = scene();
        let secret = folder.join("secret").display().to_string();
        let before = files::names(&folder.join("box"));
        for options in [with(MAPSHARE_READ_ONLY), with(MAPSHARE_READ_WRITE), create(100)] {
            let open = |path: &str| door.open_at(directory.as_raw_fd(), path, &beneath(options));
            for path in ["../secret", "inner/../../secret", &secret, "/", "..", "../new", "/tmp/new", "inner/../../new"]
            {
                refused(open(path), EACCES, &["MAPSHARE_BENEATH", "leads out"]);
            }
            for path in ["out", "to-file", "dangling", "up/secret", "up/new", "to-inner/file", "to-inner/new"] {
                refused(open(path), ELOOP, &["MAPSHARE_BENEATH", "symbolic link"]);
            }
            // A magic link of /proc leads anywhere.
            let own = File::open("/proc/self").unwrap();
            refused(door.open_at(own.as_raw_fd(), "exe", &beneath(options)), ELOOP, &["symbolic link"]);
        }
        assert_eq!(files::names(&folder.join("box")), before, "{door:?}");
        assert_eq!(fs::read(folder.join("secret")).unwrap(), b"secret");
        assert!(!folder.join("new").exists() && !Path::new("/tmp/new").exists(), "{door:?}");
        assert_eq!(code(door.open_at(directory.as_raw_fd(), "out", &with(0))), 0, "as it is without the flag");
        assert_eq!(code(door.open(&secret, &beneath(with(0)))), EACCES, "beneath the working directory");
    }
}

#[test]
fn a_file_is_made_beneath() {
    for door in DOORS {
        let (folder, directory) = scene();
        let fd = directory.as_raw_fd();
        for path in ["new", "inner/new", "inner/../other"] {
            let exclusive = mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_EXCLUSIVE, ..create(100) };
            let region = door.open_at(fd, path, &beneath(exclusive)).unwrap();
            region.write(0, b"made").unwrap();
            assert_eq!(files::read_at(&folder.join("box").join(path), 0, 4), b"made");
            refused(door.open_at(fd, path, &beneath(exclusive)), EEXIST, &[]);
            assert_eq!(door.open_at(fd, path, &beneath(create(200))).unwrap().bytes(0, 4), b"made");
        }
        refused(door.open_at(fd, "missing/new", &beneath(create(1))), ENOENT, &["directory"]);
        refused(door.open_at(fd, "file/new", &beneath(create(1))), ENOTDIR, &[]);
    }
}

#[test]
fn a_system_without_openat2_or_proc_is_eopnotsupp_never_less_safe() {
    in_own_process(a_system_without_openat2_or_proc_is_eopnotsupp_never_less_safe, || {
        let (folder, directory) = scene();
        for door in DOORS {
            for path in ["file", "new", "out", "../secret"] {
                let result = forked(|| {
                    refuse(SYS_openat2, None, Refusal::Errno(ENOSYS));
                    code(door.open_at(directory.as_raw_fd(), path, &beneath(create(10))))
                });
                assert_eq!(result, EOPNOTSUPP, "{door:?} {path}");
            }
            let result = forked(|| {
                refuse(SYS_openat, None, Refusal::Errno(ENOENT));
                code(door.open_at(directory.as_raw_fd(), "file", &beneath(create(10))))
            });
            assert_eq!(result, EOPNOTSUPP, "{door:?}");
            assert!(!folder.join("box/new").exists());
        }
    });
}

/// Where the kernel may tell that a file of some kind is there, and must not be asked to open it.
#[test]
fn what_is_no_file_is_enodev_and_is_never_opened() {
    in_own_process(what_is_no_file_is_enodev_and_is_never_opened, || {
        let folder = Folder::new();
        let directory = File::open(folder.path()).unwrap();
        files::make_fifo(&folder.join("fifo"));
        fs::create_dir(folder.join("directory")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
        let mut nodes = vec![("fifo", "FIFO"), ("directory", "directory"), ("socket", "socket")];
        for (name, kind, number) in [("null", S_IFCHR, makedev(1, 3)), ("disk", S_IFBLK, makedev(259, 4000))] {
            let path = c::c_path(&folder.join(name));
            // SAFETY: a C string.
            if unsafe { mknod(path.as_ptr(), kind | 0o666, number) } == 0 {
                nodes.push((name, "device"));
            } else {
                skip(&format!("no device node can be made: {}", std::io::Error::last_os_error()));
            }
        }
        for (name, _) in &nodes {
            symlink(name, folder.join(&format!("to-{name}"))).unwrap();
        }
        for (door, (name, words)) in DOORS.into_iter().flat_map(|door| nodes.iter().map(move |node| (door, *node))) {
            for flags in [0, MAPSHARE_NO_FOLLOW, MAPSHARE_BENEATH, MAPSHARE_CREATE, MAPSHARE_CREATE | MAPSHARE_BENEATH]
            {
                let result = forked(|| {
                    // To open anything is the end of this child; with MAPSHARE_BENEATH openat2 is asked for a mere name.
                    refuse(SYS_openat, None, Refusal::Kill);
                    let options = mapshare_options { flags, ..create(4096) };
                    refused(door.open_at(directory.as_raw_fd(), name, &options), ENODEV, &[words]);
                    if flags & MAPSHARE_BENEATH == 0 {
                        refused(door.open(folder.join(name), &options), ENODEV, &[words]);
                    }
                    if flags & (MAPSHARE_BENEATH | MAPSHARE_NO_FOLLOW) == 0 {
                        refused(door.open(folder.join(&format!("to-{name}")), &options), ENODEV, &[words]);
                    }
                    0
                });
                assert_eq!(result, 0, "{door:?} {name} {flags:#x}");
            }
        }
    });
}

/// The attacker owns the directory `box` and all below it: it exchanges what stands at the names as fast as it can.
fn attack(folder: &Path) {
    let exchange = |one: &str, other: &str| {
        let (one, other) = (c::c_path(&folder.join(one)), c::c_path(&folder.join(other)));
        // SAFETY: C strings.
        let result = unsafe { renameat2(AT_FDCWD, one.as_ptr(), AT_FDCWD, other.as_ptr(), RENAME_EXCHANGE) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    };
    process::watchdog(); // also where the test has failed, and nobody ends this
    tell("attacking");
    loop {
        exchange("box/file", "box/out"); // a file becomes a link to the secret
        exchange("box/inner", "box/up"); // a directory becomes a link to the one above
        exchange("box/deep/er", "elsewhere"); // and one that somebody is in moves out
        exchange("box/pipe", "box/target");
    }
}

#[test]
fn an_attacker_who_swaps_links_and_directories_never_gets_a_secret_opened() {
    if role().is_some() {
        let folder = listen();
        return attack(Path::new(&folder));
    }
    for door in DOORS {
        let (folder, directory) = scene();
        fs::create_dir_all(folder.join("box/deep/er/est")).unwrap();
        fs::create_dir_all(folder.join("elsewhere/est")).unwrap();
        folder.file_with("box/deep/file", b"public");
        folder.file_with("deep-secret", b"secret");
        folder.file_with("box/target", b"public");
        files::make_fifo(&folder.join("box/pipe"));
        fs::write(folder.join("file"), b"secret").unwrap();
        let mut attacker =
            Partner::start(an_attacker_who_swaps_links_and_directories_never_gets_a_secret_opened, "attacker");
        attacker.say(&folder.path().display().to_string());
        attacker.hears("attacking");
        let mut good = 0;
        let mut bad = std::collections::BTreeMap::new();
        // Until each way has been seen to succeed and to be refused, and at least so often.
        for round in 0..20_000 {
            for path in ["file", "inner/file", "deep/er/est/../../file", "target"] {
                let options = beneath(if round % 2 == 0 { with(MAPSHARE_READ_WRITE) } else { create(6) });
                match door.open_at(directory.as_raw_fd(), path, &options) {
                    Ok(region) => {
                        let bytes = region.bytes(0, 6);
                        assert!(bytes != b"secret", "{door:?}: {path} was opened outside");
                        good += 1;
                    }
                    Err(failure) => *bad.entry(failure.code).or_insert(0) += 1,
                }
            }
            let fresh = mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_EXCLUSIVE, ..create(6) };
            let made = door.open_at(directory.as_raw_fd(), "inner/fresh", &beneath(fresh)).is_ok();
            assert!(!folder.join("fresh").exists(), "{door:?}: a file was made outside");
            if made {
                // `inner` is the one or the other at this moment, and may be neither in the next.
                while ["box/inner/fresh", "box/up/fresh"].iter().all(|path| fs::remove_file(folder.join(path)).is_err())
                {
                }
            }
            if round >= 2000 && good > 1000 && [ELOOP, ENODEV].iter().all(|code| bad.contains_key(code)) {
                break;
            }
        }
        attacker.kill();
        assert!(good > 0 && bad.contains_key(&ELOOP), "both were met: {good} {bad:?}");
        let expected = [ELOOP, ENODEV, EACCES, ENOENT];
        assert!(bad.keys().all(|code| expected.contains(code)), "{door:?}: {good} {bad:?}");
        assert_eq!(fs::read(folder.join("secret")).unwrap(), b"secret");
        assert_eq!(fs::read(folder.join("file")).unwrap(), b"secret");
    }
}
