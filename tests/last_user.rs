//! MAPSHARE_UNLINK_LAST: a name goes with its last user, whatever ends that one; and nothing else ever goes.

mod common;

use common::forks::Forked;
use common::names::{Name, inode, mode, path};
use common::process::{become_nobody, forked, is_root};
use common::*;
use libc::*;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};

const RW: u32 = MAPSHARE_READ_WRITE;
const LAST: u64 = MAPSHARE_UNLINK_LAST;

fn new_last(length: u64) -> mapshare_options {
    mapshare_options { flags: MAPSHARE_CREATE | LAST, ..common::create(length) }
}

fn old_last(access: u32) -> mapshare_options {
    mapshare_options { flags: LAST, ..with(access) }
}

/// Leaves a name whose only user was killed.
fn leave_dead(door: Door, name: &str) {
    let mut child = Forked::start(|mut parent| {
        let region = door.open_named(name, &new_last(4096)).expect("it is made");
        region.write(0, b"of the dead").expect("it is open for writing");
        parent.tell(1);
        parent.wait_for_the_end()
    });
    child.hear();
    child.kill();
    assert!(names::exists(name), "a kill alone leaves the name");
}

#[test]
fn a_name_goes_with_the_last_region_whoever_has_it() {
    for door in DOORS {
        let name = Name::new();
        let one = door.open_named(name.text(), &new_last(4096)).unwrap();
        assert_eq!(mode(name.path()), 0o1600, "the mark");
        let other = door.open_named(name.text(), &with(RW)).unwrap();
        let third = door.open_named(name.text(), &old_last(0)).unwrap();
        let fourth = door.open_named(name.text(), &new_last(4096)).unwrap();
        drop((one, fourth));
        assert!(name.exists(), "two are left");
        drop(third);
        assert!(name.exists(), "one is left, without the flag");
        drop(other);
        assert!(!name.exists());
        // What was made without the flag stays.
        drop(door.open_named(name.text(), &common::create(4096)).unwrap());
        drop(door.open_named(name.text(), &with(RW)).unwrap());
        assert!(name.exists());
    }
}

#[test]
fn whoever_was_handed_a_region_is_a_user_of_its_name() {
    in_own_process(whoever_was_handed_a_region_is_a_user_of_its_name, || {
        for door in DOORS {
            let name = Name::new();
            let (here, there) = sockets::pair(SOCK_STREAM);
            let made = door.open_named(name.text(), &new_last(4096)).unwrap();
            made.send(here.as_raw_fd(), RW).unwrap();
            let received = door.receive(there.as_raw_fd(), &with(RW)).unwrap();
            drop(made);
            assert_eq!(door.sweep_named(name.text()), Ok(0), "it is in use");
            received.write(0, b"here").unwrap();
            drop(received);
            assert_eq!(door.sweep_named(name.text()), Ok(1), "nobody is left");
            assert!(!name.exists());
        }
    });
}

#[test]
fn a_file_beneath_a_directory_goes_with_its_last_user_from_there_and_nowhere_else() {
    for door in DOORS {
        let folder = Folder::new();
        fs::create_dir(folder.join("inside")).unwrap();
        symlink("inside", folder.join("link")).unwrap();
        let directory = fs::File::open(folder.join(".")).unwrap();
        let last = new_last(4096);
        let options = mapshare_options { flags: last.flags | MAPSHARE_BENEATH, ..last };
        let open = |path: &str| door.open_at(directory.as_raw_fd(), path, &options);
        let (one, other) = (open("inside/file").unwrap(), open("inside/file").unwrap());
        refused(open("link/file"), ELOOP, &["MAPSHARE_BENEATH"]);
        refused(open("inside/../../file"), EACCES, &["MAPSHARE_BENEATH"]);
        drop(one);
        assert!(folder.join("inside/file").exists(), "one user is left");
        drop(other);
        assert!(!folder.join("inside/file").exists());
    }
}

#[test]
fn what_dead_users_left_is_not_there_for_the_next() {
    in_own_process(what_dead_users_left_is_not_there_for_the_next, || {
        for door in DOORS {
            let name = Name::new();
            for access in [0, RW, MAPSHARE_COPY_ON_WRITE] {
                for options in [with(access), old_last(access)] {
                    leave_dead(door, name.text());
                    refused(door.open_named(name.text(), &options), ENOENT, &[name.text()]);
                    assert!(!name.exists(), "the one that found it dead removed it");
                }
            }
            for extra in [0, LAST, MAPSHARE_EXCLUSIVE, LAST | MAPSHARE_EXCLUSIVE] {
                leave_dead(door, name.text());
                let options = mapshare_options { flags: MAPSHARE_CREATE | extra, ..common::create(100) };
                let region = door.open_named(name.text(), &options).unwrap();
                assert_eq!((region.length(), region.bytes(0, 11)), (100, vec![0; 11]), "it is a new one");
                drop(region);
                assert_eq!(name.exists(), extra & LAST == 0);
                let _ = door.unlink_named(name.text());
            }
        }
    });
}

#[test]
fn an_exit_counts_as_any_other_end() {
    in_own_process(an_exit_counts_as_any_other_end, || {
        for door in DOORS {
            let name = Name::new();
            let region = door.open_named(name.text(), &new_last(4096)).unwrap();
            let ended = forked(|| {
                let region = door.open_named(name.text(), &with(RW)).unwrap();
                std::mem::forget(region);
                0
            });
            assert_eq!((ended, name.exists()), (0, true));
            drop(region);
            assert!(!name.exists(), "the one that ended without unmap is not waited for");
        }
    });
}

#[test]
fn a_forked_child_keeps_the_name_until_it_ends_or_unmaps() {
    in_own_process(a_forked_child_keeps_the_name_until_it_ends_or_unmaps, || {
        for door in DOORS {
            for end in ["unmap", "exit", "kill"] {
                let name = Name::new();
                let mut region = Some(door.open_named(name.text(), &new_last(4096)).unwrap());
                let mut child = Forked::start(|mut parent| {
                    parent.tell(1);
                    if parent.listen() == b'u' {
                        drop(region.take());
                    }
                    std::mem::forget(region.take());
                    0
                });
                child.hear();
                drop(region.take());
                assert!(name.exists(), "the child has the region too");
                assert_eq!(door.sweep_named(name.text()), Ok(0));
                drop(door.open_named(name.text(), &with(RW)).unwrap());
                assert!(name.exists());
                if end == "kill" {
                    child.kill();
                } else {
                    child.say(end.as_bytes()[0]);
                    assert_eq!(child.end(), 0);
                }
                assert_eq!(name.exists(), end != "unmap", "{end}");
                assert_eq!(door.sweep_named(name.text()), Ok(u64::from(end != "unmap")), "{end}");
            }
        }
    });
}

#[test]
fn a_child_on_its_way_to_another_program_keeps_no_name() {
    in_own_process(a_child_on_its_way_to_another_program_keeps_no_name, || {
        for door in DOORS {
            let name = Name::new();
            let region = door.open_named(name.text(), &new_last(4096)).unwrap();
            // As posix_spawn has it for a moment: a copy of all descriptors, made past the C library.
            // SAFETY: a plain fork; the child waits to be killed and does nothing else.
            let child = unsafe { syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) } as i32;
            assert_ne!(child, -1);
            if child == 0 {
                loop {
                    // SAFETY: it only waits.
                    unsafe { pause() };
                }
            }
            drop(region);
            let exists = name.exists();
            // SAFETY: a child of ours.
            assert_eq!(unsafe { kill(child, SIGKILL) }, 0);
            process::wait_for(child);
            assert!(!exists);
        }
    });
}

#[test]
fn files_go_with_the_last_that_asked_for_it() {
    in_own_process(files_go_with_the_last_that_asked_for_it, || {
        for door in DOORS {
            let folder = Folder::new();
            let file = folder.join("file");
            let one = door.open(&file, &new_last(4096)).unwrap();
            let other = door.open(&file, &old_last(RW)).unwrap();
            let plain = door.open(&file, &with(RW)).unwrap();
            assert_eq!((mode(&file), one.info().backing), (0o1600, MAPSHARE_BACKING_FILE));
            drop(one);
            drop(other);
            assert!(file.exists(), "the one without the flag counts");
            drop(plain);
            assert!(file.exists(), "and removes nothing");
            // What all have left opens as any file without the flag, and is made anew with it.
            let plain = door.open(&file, &with(RW)).unwrap();
            plain.write(0, b"kept").unwrap();
            drop(plain);
            assert_eq!(door.open(&file, &common::create(4096)).unwrap().bytes(0, 4), b"kept");
            refused(door.open(&file, &old_last(0)), ENOENT, &[]);
            assert!(!file.exists());

            // By a directory that has another name since, and with another file in its old place.
            for way in ["path", "descriptor", "relative"] {
                let (home, moved) = (folder.join("home"), folder.join("moved"));
                fs::create_dir(&home).unwrap();
                let directory = fs::File::open(&home).unwrap();
                let region = match way {
                    "path" => door.open(home.join("file"), &new_last(4096)),
                    "descriptor" => door.open_at(directory.as_raw_fd(), "file", &new_last(4096)),
                    _ => {
                        std::env::set_current_dir(&home).unwrap();
                        let region = door.open("file", &new_last(4096));
                        std::env::set_current_dir("/").unwrap();
                        region
                    }
                };
                fs::rename(&home, &moved).unwrap();
                fs::create_dir(&home).unwrap();
                fs::write(home.join("file"), b"another").unwrap();
                assert!(moved.join("file").exists());
                drop(region.unwrap());
                assert!(!moved.join("file").exists() && home.join("file").exists(), "{way}");
                fs::remove_dir_all(&home).unwrap();
                fs::remove_dir(&moved).unwrap();
            }
            assert_eq!(folder.names(), [""; 0]);
        }
    });
}

#[test]
fn only_the_file_that_was_opened_goes() {
    for door in DOORS {
        let name = Name::new();
        // Replaced by somebody else's, marked as ours are.
        let region = door.open_named(name.text(), &new_last(4096)).unwrap();
        fs::remove_file(name.path()).unwrap();
        fs::write(name.path(), b"another").unwrap();
        fs::set_permissions(name.path(), PermissionsExt::from_mode(0o1600)).unwrap();
        drop(region);
        assert_eq!(fs::read(name.path()).unwrap(), b"another");
        // Or by nothing.
        fs::remove_file(name.path()).unwrap();
        let region = door.open_named(name.text(), &new_last(4096)).unwrap();
        door.unlink_named(name.text()).unwrap();
        drop(region);
        // Renamed away: who renames it, keeps it.
        let region = door.open_named(name.text(), &new_last(4096)).unwrap();
        let away = name.with("away");
        fs::rename(name.path(), path(&away)).unwrap();
        fs::write(name.path(), b"another").unwrap();
        fs::set_permissions(name.path(), PermissionsExt::from_mode(0o1600)).unwrap();
        drop(region);
        assert!(names::exists(&away) && name.exists());
        assert_eq!(door.sweep_named(name.text()), Ok(2), "both are nobody's");
        // The mark taken away.
        for other_mode in [0o600, 0o1700, 0o1777] {
            let region = door.open_named(name.text(), &new_last(4096)).unwrap();
            fs::set_permissions(name.path(), PermissionsExt::from_mode(other_mode)).unwrap();
            drop(region);
            assert_eq!((name.exists(), door.sweep_named(name.text())), (true, Ok(0)), "{other_mode:o}");
            door.unlink_named(name.text()).unwrap();
        }
    }
}

#[test]
fn what_others_made_to_stay_is_not_opened_to_go() {
    let folder = Folder::new();
    for door in DOORS {
        let (name, file) = (Name::new(), folder.file("file", 4096));
        fs::write(name.path(), [0; 4096]).unwrap();
        for bits in [0o600, 0o644, 0o777, 0o1777] {
            fs::set_permissions(name.path(), PermissionsExt::from_mode(bits)).unwrap();
            fs::set_permissions(&file, PermissionsExt::from_mode(bits)).unwrap();
            for options in [new_last(4096), old_last(0), old_last(RW)] {
                refused(door.open_named(name.text(), &options), EEXIST, &[name.text(), "MAPSHARE_UNLINK_LAST", "flag"]);
                refused(door.open(&file, &options), EEXIST, &["file'", "MAPSHARE_UNLINK_LAST"]);
            }
            assert_eq!(door.sweep_named(name.text()), Ok(0));
            drop((door.open_named(name.text(), &with(RW)).unwrap(), door.open(&file, &with(RW)).unwrap()));
            assert!(name.exists() && file.exists());
        }
    }
}

#[test]
fn what_cannot_go_with_its_last_user_is_einval() {
    let folder = Folder::new();
    let file = folder.file("file", 4096);
    symlink("file", folder.join("link")).unwrap();
    for door in DOORS {
        let name = Name::new();
        for bits in [0o700, 0o610, 0o601, 0o777, 0o400, 0o066, 0o200] {
            let options = mapshare_options { mode: bits, ..new_last(4096) };
            refused(door.open_named(name.text(), &options), EINVAL, &["MAPSHARE_UNLINK_LAST", "mode", "0600"]);
            refused(door.open(folder.join("new"), &options), EINVAL, &["MAPSHARE_UNLINK_LAST"]);
        }
        let opened = fs::File::open(&file).unwrap();
        refused(door.open_fd(opened.as_raw_fd(), &old_last(0)), EINVAL, &["MAPSHARE_UNLINK_LAST", "cannot lose it"]);
        refused(door.open(folder.join("link"), &old_last(0)), ELOOP, &["link'", "MAPSHARE_UNLINK_LAST"]);
        refused(door.open(folder.join("link"), &new_last(1)), ELOOP, &["link'", "MAPSHARE_UNLINK_LAST"]);
        refused(door.open(folder.join("missing"), &old_last(0)), ENOENT, &["missing'"]);
        assert_eq!((folder.names(), name.exists()), (vec!["file".to_owned(), "link".to_owned()], false));
        let shared = mapshare_options { mode: 0o666, ..new_last(4096) };
        let region = door.open_named(name.text(), &shared).unwrap();
        assert_eq!(mode(name.path()) & 0o1711, 0o1600);
        drop(region);
        assert!(!name.exists());
    }
}

#[test]
fn a_region_by_descriptor_counts_and_removes_nothing() {
    for door in DOORS {
        let name = Name::new();
        let region = door.open_named(name.text(), &new_last(4096)).unwrap();
        let fd = region.fd().unwrap();
        let by_fd = door.open_fd(fd, &with(RW)).unwrap();
        // SAFETY: ours.
        unsafe { close(fd) };
        drop(region);
        assert!(name.exists());
        assert_eq!(door.sweep_named(name.text()), Ok(0), "it is in use");
        drop(by_fd);
        assert_eq!((name.exists(), door.sweep_named(name.text())), (true, Ok(1)));
        // A bare descriptor is no user.
        let region = door.open_named(name.text(), &new_last(4096)).unwrap();
        let fd = region.fd().unwrap();
        drop(region);
        assert!(!name.exists());
        // SAFETY: ours.
        unsafe { close(fd) };
    }
}

#[test]
fn who_may_not_remove_a_name_leaves_it_to_those_who_may() {
    if !is_root() {
        return skip("two users are needed, which takes root");
    }
    in_own_process(who_may_not_remove_a_name_leaves_it_to_those_who_may, || {
        for door in DOORS {
            for bits in [0o644, 0o666] {
                let name = Name::new();
                let region = door.open_named(name.text(), &mapshare_options { mode: bits, ..new_last(4096) }).unwrap();
                fs::set_permissions(name.path(), PermissionsExt::from_mode(0o1000 | bits)).unwrap();
                let mut child = Forked::start(|mut parent| {
                    std::mem::forget(region);
                    become_nobody();
                    parent.tell(1);
                    parent.listen();
                    0
                });
                child.hear();
                child.kill();
                // Dead, for somebody who may not remove it: it is not there, and stays.
                let ended = forked(|| {
                    become_nobody();
                    let create = common::create(4096);
                    let outcomes = [with(0), with(RW)].map(|options| door.open_named(name.text(), &options).map(drop));
                    let created = door.open_named(name.text(), &mapshare_options { access: RW, ..create }).map(drop);
                    let [one, other] = outcomes.map(code);
                    let writable = if bits == 0o666 { ENOENT } else { EACCES };
                    let swept = door.sweep_named(name.text());
                    let good = (one, other, swept) == (ENOENT, writable, Ok(0));
                    i32::from(!good) + 2 * i32::from(code(created) != EACCES)
                });
                assert_eq!((ended, name.exists()), (0, true), "{bits:o}");
                // The last user may only read.
                assert_eq!(door.sweep_named(name.text()), Ok(1));
                let region = door.open_named(name.text(), &mapshare_options { mode: bits, ..new_last(4096) }).unwrap();
                fs::set_permissions(name.path(), PermissionsExt::from_mode(0o1000 | bits)).unwrap();
                let mut region = Some(region);
                let mut child = Forked::start(|mut parent| {
                    become_nobody();
                    let own = door.open_named(name.text(), &with(0)).unwrap();
                    drop(region.take());
                    parent.tell(1);
                    parent.listen();
                    drop(own);
                    0
                });
                child.hear();
                drop(region.take());
                assert!(name.exists(), "the reader is left");
                child.say(1);
                assert_eq!((child.end(), name.exists()), (0, true), "a reader may not remove it");
                assert_eq!(door.sweep_named(name.text()), Ok(1));
            }
        }
    });
}

#[test]
fn a_program_that_closed_the_descriptors_keeps_those_it_got_instead() {
    in_own_process(a_program_that_closed_the_descriptors_keeps_those_it_got_instead, || {
        for door in DOORS {
            let name = Name::new();
            let lowest = fs::File::open("/dev/null").unwrap();
            let region = door.open_named(name.text(), &new_last(4096)).unwrap();
            let first = lowest.as_raw_fd() + 1;
            // SAFETY: a crude program, which this test is about.
            assert_eq!(unsafe { close_range(first.unsigned_abs(), u32::MAX, 0) }, 0);
            let own: Vec<_> = (0..20).map(|_| fs::File::open("/dev/null").unwrap()).collect();
            drop(region);
            assert!(own.iter().all(|file| file.metadata().is_ok()), "they are the program's");
            assert_eq!(door.sweep_named(name.text()), Ok(1));
        }
    });
}

#[test]
fn an_opener_waits_for_one_that_is_about_to_remove_the_name() {
    in_own_process(an_opener_waits_for_one_that_is_about_to_remove_the_name, || {
        for door in DOORS {
            let name = Name::new();
            leave_dead(door, name.text());
            let old = inode(name.text());
            // A process that has found it dead, has locked it, and gets no further.
            let mut remover = Forked::start(|mut parent| {
                let file = fs::OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
                forks::lock_as_remover(&file);
                parent.tell(1);
                parent.wait_for_the_end()
            });
            remover.hear();
            assert_eq!(door.sweep_named(name.text()), Ok(0), "somebody else is at it");
            let mut opener = Forked::start(|mut parent| {
                parent.tell(1);
                let region = door.open_named(name.text(), &new_last(4096)).unwrap();
                assert_ne!(region.info().inode, old);
                parent.tell(2);
                parent.listen();
                0
            });
            assert_eq!(opener.hear(), 1);
            remover.kill();
            assert_eq!(opener.hear(), 2);
            assert_ne!(inode(name.text()), old);
            opener.kill();
            assert_eq!(door.sweep_named(name.text()), Ok(1));
        }
    });
}
