//! Locks: one holder at a time, none for ever, and every code.

mod common;

use common::process::{Partner, become_nobody, eventually, forked, is_root, listen, role, tell, watchdog};
use common::words::Do;
use common::*;
use libc::*;
use std::thread;

/// Longer than anything here takes.
const LONG: i64 = 20_000_000_000;
const AT: u64 = 64;

fn open(door: Door, folder: &Folder) -> Opened {
    let region = door.open(folder.join("file"), &common::create(8192)).expect("good");
    region.init_mutex(AT).expect("good");
    region
}

#[test]
fn a_lock_belongs_to_one_thread_until_it_frees_it() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        assert_eq!(region.lock(AT, 0), Ok(false));
        let owner = region.owner(AT).unwrap();
        // SAFETY: it only asks.
        assert_eq!((owner.pid, owner.tid), (std::process::id(), unsafe { gettid() }.unsigned_abs()));
        assert_eq!((owner.alive, owner.waiters), (1, 0));
        for timeout in [0, 1, -1] {
            refused(region.lock(AT, timeout), EDEADLK, &["held by this thread", "offset 64"]);
        }
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                refused(region.lock(AT, 0), ETIMEDOUT, &[]);
                refused(region.lock(AT, 20_000_000), ETIMEDOUT, &[]);
                refused(region.unlock(AT), EPERM, &["not held by this thread"]);
                refused(region.recover(AT), EPERM, &["not held by this thread"]);
            });
            other.join().unwrap();
            let waiter = scope.spawn(|| {
                let locked = region.lock(AT, LONG);
                region.unlock(AT).unwrap();
                locked
            });
            eventually("somebody waits", || region.owner(AT).unwrap().waiters == 1);
            region.unlock(AT).unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(false));
        });
        refused(region.unlock(AT), EPERM, &[]);
        assert_eq!(region.owner(AT).unwrap().pid, 0);
        assert_eq!(region.lock(AT, 0), Ok(false));
        region.unlock(AT).unwrap();
    }
}

#[test]
fn what_is_no_lock_or_cannot_be_one_is_a_code() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        refused(region.init_mutex(AT), EEXIST, &["exists already"]);
        for offset in [1, 4, 60, u64::MAX] {
            refused(region.init_mutex(offset), EINVAL, &["multiple of 8"]);
            refused(region.lock(offset, 0), EINVAL, &["multiple of 8"]);
        }
        for offset in [8136, 8192, 1 << 40, u64::MAX - 7] {
            refused(region.init_mutex(offset), ERANGE, &["8192"]);
            refused(region.lock(offset, 0), ERANGE, &["8192"]);
        }
        for bytes in [[0xEE; 8], [0, 0, 0, 0, 0, 0, 0, 1], *b"mshO\x40\x01\0\x02"] {
            region.fill(256, 64, 0).unwrap();
            region.write(256, &bytes).unwrap();
            refused(region.init_mutex(256), EBADMSG, &["offset 256"]);
            refused(region.lock(256, 0), EBADMSG, &["offset 256"]);
            refused(region.unlock(256), EBADMSG, &[]);
            refused(region.owner(256), EBADMSG, &[]);
        }
        region.fill(256, 64, 0).unwrap();
        refused(region.lock(256, 0), EBADMSG, &["does not exist"]);
        region.write(319, &[1]).unwrap();
        refused(region.init_mutex(256), EBADMSG, &[]);
        region.write(319, &[0]).unwrap();
        region.write(257, &region.bytes(AT + 1, 7)).unwrap();
        region.write(256, &[32]).unwrap();
        refused(region.init_mutex(256), EPROTONOSUPPORT, &["0x120"]);
        refused(region.lock(256, 0), EPROTONOSUPPORT, &["0x120"]);
        let reader = door.open(folder.join("file"), &with(MAPSHARE_READ_ONLY)).unwrap();
        refused(reader.init_mutex(512), EACCES, &["MAPSHARE_READ_ONLY"]);
        refused(reader.lock(AT, 0), EACCES, &["MAPSHARE_READ_ONLY"]);
        assert_eq!(reader.owner(AT).unwrap().pid, 0);
        let private = door.open(folder.join("file"), &with(MAPSHARE_COPY_ON_WRITE)).unwrap();
        refused(private.init_mutex(512), EINVAL, &["MAPSHARE_COPY_ON_WRITE"]);
        refused(private.lock(AT, 0), EINVAL, &["MAPSHARE_COPY_ON_WRITE"]);
    }
}

/// Opens the file, takes the lock, and waits for its end.
fn hold() -> bool {
    let Some(path) = role().filter(|role| role.starts_with('/')) else { return false };
    watchdog();
    let region = Door::C.open(path, &with(MAPSHARE_READ_WRITE)).expect("good");
    region.lock(AT, LONG).expect("good");
    tell("held");
    listen();
    true
}

#[test]
fn a_killed_owner_is_told_to_newcomers_and_to_sleepers_until_one_has_recovered() {
    if hold() {
        return;
    }
    let test = a_killed_owner_is_told_to_newcomers_and_to_sleepers_until_one_has_recovered;
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        let path = folder.join("file");
        let start = || {
            let mut partner = Partner::start(test, path.to_str().unwrap());
            partner.hears("held");
            partner
        };
        let partner = start();
        let owner = region.owner(AT).unwrap();
        assert!(owner.pid != std::process::id() && owner.alive == 1);
        refused(region.lock(AT, 0), ETIMEDOUT, &[]);
        partner.kill();
        eventually("it is dead", || region.owner(AT).unwrap().alive == 0);
        assert_eq!(region.lock(AT, 0), Ok(true), "a newcomer is told, also one that only tries");
        region.unlock(AT).unwrap();
        assert_eq!(region.lock(AT, 0), Ok(true), "nobody has recovered");
        region.recover(AT).unwrap();
        region.unlock(AT).unwrap();
        assert_eq!(region.lock(AT, 0), Ok(false));
        region.unlock(AT).unwrap();

        let partner = start();
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| region.lock(AT, LONG).inspect(|_| region.unlock(AT).unwrap()));
            eventually("somebody waits", || region.owner(AT).unwrap().waiters == 1);
            partner.kill();
            assert_eq!(sleeper.join().unwrap(), Ok(true), "a sleeper is told");
        });
    }
}

#[test]
fn a_thread_that_ends_with_a_lock_has_died_with_it() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        thread::scope(|scope| drop(scope.spawn(|| region.lock(AT, 0).unwrap()).join()));
        eventually("its destructors have run", || region.lock(AT, LONG) == Ok(true));
        region.recover(AT).unwrap();
        region.unlock(AT).unwrap();
        assert_eq!(region.lock(AT, 0), Ok(false));
        region.unlock(AT).unwrap();
    }
}

#[test]
fn a_forked_child_holds_nothing_and_does_not_prolong_its_parents_hold() {
    in_own_process(a_forked_child_holds_nothing_and_does_not_prolong_its_parents_hold, || {
        for door in DOORS {
            let folder = Folder::new();
            let region = open(door, &folder);
            region.lock(AT, 0).unwrap();
            let result = forked(|| {
                refused(region.unlock(AT), EPERM, &[]);
                refused(region.lock(AT, 1_000_000), ETIMEDOUT, &[]);
                0
            });
            assert_eq!(result, 0);
            region.unlock(AT).unwrap();
            assert_eq!(forked(|| i32::from(region.lock(AT, 0).unwrap())), 0, "the child locks for itself");
            assert_eq!(region.lock(AT, LONG), Ok(true), "and has died with it");
            region.recover(AT).unwrap();
            region.unlock(AT).unwrap();
        }
    });
}

#[test]
fn a_region_with_a_held_lock_is_busy_and_another_of_the_file_may_free_it() {
    let folder = Folder::new();
    let region = open(Door::C, &folder);
    let options = mapshare_options { length: 4096, ..with(MAPSHARE_READ_WRITE) };
    let other = Door::C.open(folder.join("file"), &options).unwrap();
    region.lock(AT, 0).unwrap();
    refused(region.token().unmap(), EBUSY, &["1 lock(s)", "unlock them first"]);
    refused(other.lock(AT, 0), EDEADLK, &[]);
    other.unlock(AT).unwrap();
    region.token().unmap().unwrap();
    assert_eq!(other.lock(AT, 0), Ok(false));
    other.unlock(AT).unwrap();

    // Rust has no such refusal: a region that goes leaves its locks as a thread that ends does.
    let gone = open_again(Door::Rust, &folder);
    gone.lock(AT, 0).unwrap();
    drop(gone);
    assert_eq!(other.lock(AT, 0), Ok(true));
    other.unlock(AT).unwrap();
}

fn open_again(door: Door, folder: &Folder) -> Opened {
    door.open(folder.join("file"), &with(MAPSHARE_READ_WRITE)).expect("good")
}

/// Numbers of participants and threads that do not exist, or have no lock: nobody waits for those.
#[test]
fn rubbish_in_a_lock_hangs_nobody() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        region.lock(AT, 0).unwrap();
        let own = region.atomic(AT + 8, Do::<u64>::Load).unwrap();
        region.unlock(AT).unwrap();
        let others =
            [own, own ^ 1, own | 1 << 30, own | 1 << 31, own & !0xffff_ffff, own & 0xffff_ffff, u64::MAX, 1 << 29];
        for rubbish in others {
            region.atomic(AT + 8, Do::Store(rubbish)).unwrap();
            refused(region.unlock(AT), EPERM, &[]);
            let is_free = rubbish & !(7 << 29) == 0;
            assert_eq!(region.lock(AT, LONG), Ok(!is_free || rubbish >> 31 & 1 == 1), "{rubbish:#x}");
            region.atomic(AT + 8, Do::Store(!rubbish)).unwrap();
            refused(region.unlock(AT), EPERM, &[]);
            region.atomic(AT + 8, Do::Store(0u64)).unwrap();
        }
        // One that was killed while it made a lock.
        region.fill(AT, 64, 0).unwrap();
        region.atomic(AT, Do::Store(0x4968_736du64 << 32 | 12345)).unwrap();
        refused(region.lock(AT, 0), EBADMSG, &[]);
        region.init_mutex(AT).unwrap();
        assert_eq!(region.lock(AT, 0), Ok(false));
        region.unlock(AT).unwrap();
    }
}

/// Adds to two numbers that have to stay equal, one after the other, over and over.
fn work(region: &Opened, rounds: u64) {
    for _ in 0..rounds {
        let died = region.lock(AT, LONG).expect("good");
        let (mut first, mut second) = ([0; 8], [0; 8]);
        region.read(1024, &mut first).expect("good");
        region.read(2048, &mut second).expect("good");
        if died {
            region.write(2048, &first).expect("good");
            region.recover(AT).expect("good");
        } else {
            assert_eq!(first, second, "half written, and nobody was told");
        }
        let next = (u64::from_ne_bytes(first) + 1).to_ne_bytes();
        region.write(1024, &next).expect("good");
        region.write(2048, &next).expect("good");
        region.unlock(AT).expect("good");
    }
}

#[test]
fn holders_that_are_killed_at_any_moment_leave_the_data_to_the_others() {
    if let Some(path) = role() {
        watchdog();
        let region = Door::C.open(path, &with(MAPSHARE_READ_WRITE)).unwrap();
        tell("ready");
        work(&region, u64::MAX);
    }
    let test = holders_that_are_killed_at_any_moment_leave_the_data_to_the_others;
    let folder = Folder::new();
    let region = open(Door::C, &folder);
    let path = folder.join("file");
    let start = || {
        let mut partner = Partner::start(test, path.to_str().unwrap());
        partner.hears("ready");
        partner
    };
    for _ in 0..25 {
        let partners = [start(), start()];
        thread::scope(|scope| {
            (0..2).for_each(|_| drop(scope.spawn(|| work(&region, 300))));
            partners.into_iter().for_each(Partner::kill);
            work(&region, 300);
        });
        assert_eq!(region.lock(AT, LONG).map(|_| ()), Ok(()));
        region.unlock(AT).unwrap();
    }
}

#[test]
fn another_user_and_another_pid_namespace_share_a_lock() {
    let test = another_user_and_another_pid_namespace_share_a_lock;
    in_own_process(test, || {
        if !is_root() {
            return skip("only root can be another user and make a pid namespace");
        }
        let folder = Folder::new();
        let options = mapshare_options { mode: 0o666, ..common::create(8192) };
        // SAFETY: no memory is passed.
        unsafe { umask(0) };
        let path = folder.join("file");
        let region = Door::C.open(&path, &options).unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        region.init_mutex(AT).unwrap();
        let result = forked(|| {
            become_nobody();
            let region = Door::C.open(&path, &with(MAPSHARE_READ_WRITE)).unwrap();
            i32::from(region.lock(AT, LONG).unwrap())
        });
        assert_eq!(result, 0);
        assert_eq!(region.lock(AT, LONG), Ok(true), "another user's death is seen");
        region.recover(AT).unwrap();
        // SAFETY: no memory is passed.
        if unsafe { unshare(CLONE_NEWPID) } != 0 {
            region.unlock(AT).unwrap();
            return skip("no pid namespace can be made here");
        }
        let result = forked(|| {
            assert_eq!(std::process::id(), 1);
            refused(region.lock(AT, 30_000_000), ETIMEDOUT, &[]);
            0
        });
        assert_eq!(result, 0, "it sees its parent live, whose number it does not know");
        region.unlock(AT).unwrap();
    });
}

#[test]
fn a_region_stays_writable_while_a_lock_is_held_through_it() {
    for door in DOORS {
        let folder = Folder::new();
        let mut region = door.open(folder.join("file"), &common::create(4096)).unwrap();
        region.init_mutex(64).unwrap();
        region.lock(64, 0).unwrap();
        refused(region.protect(MAPSHARE_READ_ONLY), libc::EBUSY, &["1 lock(s)", "unlock them first"]);
        region.unlock(64).unwrap();
        assert_eq!(region.protect(MAPSHARE_READ_ONLY), Ok(()));
    }
}

#[test]
fn one_who_is_out_of_time_is_told_who_has_the_lock() {
    for door in DOORS {
        let folder = Folder::new();
        let region = &door.open(folder.join("file"), &common::create(4096)).unwrap();
        region.init_mutex(64).unwrap();
        region.lock(64, 0).unwrap();
        let owner = format!("process {}, thread ", std::process::id());
        for timeout_ns in [0, 1_000_000] {
            let refusal = std::thread::scope(|scope| scope.spawn(|| region.lock(64, timeout_ns)).join().unwrap());
            refused(refusal, libc::ETIMEDOUT, &["the lock at offset 64", &owner]);
        }
        region.unlock(64).unwrap();
    }
}
