//! Range locks between processes: who dies, forks or uses fcntl himself.

mod common;

use common::process::{Partner, eventually, is_in_call, listen, role, tell, thread_id, wait_for};
use common::*;
use libc::*;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};

const SHARED: u32 = MAPSHARE_LOCK_SHARED;
const EXCLUSIVE: u32 = MAPSHARE_LOCK_EXCLUSIVE;

/// In a partner: the door and the file that the test names.
fn told() -> (Door, PathBuf) {
    let line = listen();
    let (door, path) = line.split_once(' ').expect("a door and a path");
    (if door == "C" { Door::C } else { Door::Rust }, path.into())
}

fn told_to(partner: &mut Partner, door: Door, path: &Path) {
    partner.say(&format!("{door:?} {}", path.display()));
}

#[test]
fn threads_of_several_processes_count_without_losing_one() {
    const ROUNDS: u64 = 200;
    let count = |region: &Opened| {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        region.lock_range(0, 8, EXCLUSIVE, -1).expect("in the end");
                        let number = u64::from_ne_bytes(region.bytes(0, 8).try_into().expect("8 bytes"));
                        std::thread::yield_now();
                        region.write(0, &(number + 1).to_ne_bytes()).unwrap();
                        region.unlock_range(0, 8).unwrap();
                    }
                });
            }
        });
    };
    if role().is_some() {
        let (door, path) = told();
        let region = door.open(path, &create(8)).unwrap();
        tell("ready");
        assert_eq!(listen(), "go");
        return count(&region);
    }
    for door in DOORS {
        let folder = Folder::new();
        let path = folder.file("file", 8);
        let mut partners: Vec<_> =
            (0..2).map(|_| Partner::start(threads_of_several_processes_count_without_losing_one, "counter")).collect();
        for partner in &mut partners {
            told_to(partner, door, &path);
            partner.hears("ready");
        }
        partners.iter_mut().for_each(|partner| partner.say("go"));
        let region = door.open(&path, &create(8)).unwrap();
        count(&region);
        partners.into_iter().for_each(Partner::finish);
        assert_eq!(region.bytes(0, 8), (9 * ROUNDS).to_ne_bytes(), "{door:?}");
    }
}

#[test]
fn a_killed_process_holds_no_lock() {
    if role().is_some() {
        let (door, path) = told();
        let region = door.open(path, &create(100)).unwrap();
        region.lock_range(0, 50, EXCLUSIVE, 0).unwrap();
        tell("locked");
        listen();
        return;
    }
    for door in DOORS {
        let folder = Folder::new();
        let path = folder.file("file", 100);
        let region = door.open(&path, &create(100)).unwrap();
        let mut partner = Partner::start(a_killed_process_holds_no_lock, "holder");
        told_to(&mut partner, door, &path);
        partner.hears("locked");
        refused(region.lock_range(0, 1, SHARED, 0), ETIMEDOUT, &["another holder"]);
        region.lock_range(50, 1, EXCLUSIVE, 0).unwrap();
        let waiter = AtomicI32::new(0);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                waiter.store(thread_id(), Ordering::Relaxed);
                code(region.lock_range(0, 10, EXCLUSIVE, -1))
            });
            eventually("it waits", || is_in_call(waiter.load(Ordering::Relaxed), SYS_ppoll));
            partner.kill();
            assert_eq!(waits.join().unwrap(), 0, "{door:?}");
        });
    }
}

/// A pipe: one byte says go on.
struct Gate([i32; 2]);

impl Gate {
    fn new() -> Gate {
        let mut ends = [0; 2];
        // SAFETY: room for two numbers.
        assert_eq!(unsafe { pipe(ends.as_mut_ptr()) }, 0);
        Gate(ends)
    }

    fn open(&self) {
        // SAFETY: one byte is there.
        assert_eq!(unsafe { write(self.0[1], b"x".as_ptr().cast(), 1) }, 1);
    }

    fn wait(&self) {
        let mut byte = 0u8;
        // SAFETY: room for one byte.
        assert_eq!(unsafe { read(self.0[0], (&raw mut byte).cast(), 1) }, 1);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        for end in self.0 {
            // SAFETY: ours.
            unsafe { close(end) };
        }
    }
}

/// Forks; the child's number.
fn fork_into(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs `body` and ends; the process is this test's own.
    let child = unsafe { fork() };
    assert_ne!(child, -1, "fork");
    if child == 0 {
        process::watchdog();
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(101);
        // SAFETY: ends the child without the harness's own end.
        unsafe { _exit(code) };
    }
    child
}

#[test]
fn a_child_neither_owns_nor_prolongs_its_parents_locks() {
    in_own_process(a_child_neither_owns_nor_prolongs_its_parents_locks, || {
        for door in DOORS {
            let folder = Folder::new();
            let path = folder.file("file", 100);
            let observer = door.open(&path, &create(100)).unwrap();
            let (child_locked, ready, end, freed) = (Gate::new(), Gate::new(), Gate::new(), Gate::new());
            // The parent here is a child of this process, so that it can die while its own child lives.
            let parent = fork_into(|| {
                let region = door.open(&path, &create(100)).unwrap();
                let descriptors = process::open_descriptors();
                region.lock_range(0, 10, EXCLUSIVE, 0).unwrap();
                region.lock_range(20, 10, EXCLUSIVE, 0).unwrap();
                fork_into(|| {
                    assert_eq!(process::open_descriptors(), descriptors, "the parent's descriptor is closed");
                    refused(region.unlock_range(0, 10), EPERM, &[]);
                    refused(region.lock_range(5, 1, SHARED, 0), ETIMEDOUT, &[]);
                    region.lock_range(50, 10, EXCLUSIVE, 0).unwrap();
                    child_locked.open();
                    end.wait();
                    if let Opened::C { token, .. } = &region {
                        refused(token.unmap(), EBUSY, &["1 lock(s)"]);
                    }
                    region.unlock_range(50, 10).unwrap();
                    if let Opened::C { token, .. } = &region {
                        token.unmap().expect("the parent's locks do not count here");
                    }
                    freed.open();
                    0
                });
                child_locked.wait();
                region.unlock_range(20, 10).unwrap();
                ready.open();
                end.wait();
                0
            });
            ready.wait();
            observer
                .lock_range(20, 10, EXCLUSIVE, 0)
                .expect("the parent has freed it, and the child has no part in it");
            for (offset, free) in [(0, false), (50, false), (60, true)] {
                let result = code(observer.lock_range(offset, 10, SHARED, 0));
                assert_eq!(result, if free { 0 } else { ETIMEDOUT }, "{door:?}: {offset}");
            }
            // SAFETY: our own child.
            assert_eq!(unsafe { kill(parent, SIGKILL) }, 0);
            assert_eq!(wait_for(parent), -SIGKILL);
            observer.lock_range(0, 10, EXCLUSIVE, 0).expect("the kernel has freed it, though the child lives");
            refused(observer.lock_range(50, 10, EXCLUSIVE, 0), ETIMEDOUT, &[]);
            end.open();
            freed.wait();
            observer.lock_range(50, 10, EXCLUSIVE, 0).expect("the child has freed it");
        }
    });
}

#[test]
fn a_fork_at_any_moment_of_a_first_lock_keeps_nothing_alive() {
    in_own_process(a_fork_at_any_moment_of_a_first_lock_keeps_nothing_alive, || {
        let folder = Folder::new();
        let path = folder.file("file", 100);
        let (region, observer) =
            (Door::C.open(&path, &create(100)).unwrap(), Door::C.open(&path, &create(100)).unwrap());
        let (stop, end) = (std::sync::atomic::AtomicBool::new(false), Gate::new());
        let mut children = Vec::new();
        std::thread::scope(|scope| {
            let _stop = process::StopAtEnd(&stop);
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::scope(|scope| {
                        // A new thread each time: to open the file is its first step.
                        scope.spawn(|| region.lock_range(0, 10, EXCLUSIVE, -1).expect("the former one has ended"));
                    });
                }
            });
            for _ in 0..300 {
                children.push(fork_into(|| {
                    end.wait();
                    0
                }));
            }
        });
        assert_eq!(code(observer.lock_range(0, 10, EXCLUSIVE, 10_000_000_000)), 0, "300 children hold nothing");
        children.iter().for_each(|_| end.open());
        children.into_iter().for_each(|child| assert_eq!(wait_for(child), 0));
    });
}

fn fcntl_lock(file: &File, command: i32, kind: i32, start: i64, length: i64) -> i32 {
    let lock = flock { l_type: kind as i16, l_whence: SEEK_SET as i16, l_start: start, l_len: length, l_pid: 0 };
    // SAFETY: the struct is whole.
    let result = unsafe { fcntl(file.as_raw_fd(), command, &lock) };
    if result == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().expect("a number") }
}

#[test]
fn locks_of_fcntl_and_ours_exclude_each_other() {
    in_own_process(locks_of_fcntl_and_ours_exclude_each_other, || {
        for (door, command) in DOORS.into_iter().flat_map(|door| [(door, F_OFD_SETLK), (door, F_SETLK)]) {
            let folder = Folder::new();
            let path = folder.file("file", 100);
            let region = door.open(&path, &create(100)).unwrap();
            let file = File::options().read(true).write(true).open(&path).unwrap();
            assert_eq!(fcntl_lock(&file, command, F_RDLCK, 10, 10), 0);
            refused(region.lock_range(0, 11, EXCLUSIVE, 0), ETIMEDOUT, &["shared"]);
            region.lock_range(0, 11, SHARED, 0).unwrap();
            assert_eq!(fcntl_lock(&file, command, F_WRLCK, 10, 1), EAGAIN, "{door:?}");
            assert_eq!(fcntl_lock(&file, command, F_UNLCK, 0, 0), 0);
            assert_eq!(fcntl_lock(&file, command, F_WRLCK, 0, 1), EAGAIN, "that did not free ours");
            // To close any descriptor ends all F_SETLK locks of a process: ours are no such locks.
            drop(File::open(&path).unwrap());
            drop(file);
            let file = File::options().read(true).write(true).open(&path).unwrap();
            assert_eq!(fcntl_lock(&file, command, F_WRLCK, 0, 1), EAGAIN, "{door:?}");
            region.unlock_range(0, 11).unwrap();
            assert_eq!(fcntl_lock(&file, command, F_WRLCK, 0, 1), 0, "{door:?}");
        }
    });
}

#[test]
fn pythons_lockf_and_ours_exclude_each_other() {
    let script = r#"
import errno, fcntl, sys
file = open(sys.argv[1], "r+b")
def attempt(kind, length, start):
    try:
        fcntl.lockf(file, kind | fcntl.LOCK_NB, length, start)
        return "locked"
    except OSError as error:
        return errno.errorcode[error.errno]
print(attempt(fcntl.LOCK_EX, 10, 0), attempt(fcntl.LOCK_SH, 1, 19), attempt(fcntl.LOCK_EX, 10, 20), flush=True)
sys.stdin.readline()
"#;
    if !programs::exists("python3") {
        return skip("no python3");
    }
    for door in DOORS {
        let folder = Folder::new();
        let path = folder.file("file", 100);
        let region = door.open(&path, &create(100)).unwrap();
        region.lock_range(10, 10, EXCLUSIVE, 0).unwrap();
        let mut python = Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(python.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line.trim(), "locked EAGAIN locked", "{door:?}");
        let holder = format!("process {}", python.id());
        refused(region.lock_range(0, 1, SHARED, 0), ETIMEDOUT, &[&holder]);
        python.kill().unwrap();
        python.wait().unwrap();
        region.lock_range(0, 1, SHARED, 0).expect("the kernel frees lockf's locks too");
    }
}
