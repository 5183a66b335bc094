use super::*;
use crate::sys::file::{self, OpenMode};
use crate::sys::lock::{Mode, try_lock};
use std::os::fd::AsRawFd;

/// A child that does nothing but hold what it got, until it is killed.
struct Child(i32);

impl Child {
    /// `start` forks.
    fn new(start: impl Fn() -> i32) -> Child {
        let child = start();
        assert_ne!(child, -1, "fork");
        if child == 0 {
            loop {
                // SAFETY: it only waits, for the SIGKILL of `drop`.
                unsafe { libc::pause() };
            }
        }
        Child(child)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: our own child.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: our own child; NULL for its status.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
    }
}

fn fork() -> i32 {
    // SAFETY: the child only waits.
    unsafe { libc::fork() }
}

/// As fork, without handlers.
fn raw_fork() -> i32 {
    // SAFETY: the child only waits. No stack: it goes on with a copy of this one.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    i32::try_from(child).unwrap()
}

fn lock_file(group: u64, file: &std::fs::File) -> LockFile {
    let own = LockFile::open(group, || file::reopen(file.as_fd(), OpenMode::ReadWrite)).unwrap();
    try_lock(own.file().unwrap(), Mode::Exclusive, 0, 1).unwrap();
    own
}

fn is_free(file: &std::fs::File) -> bool {
    let other = file::reopen(file.as_fd(), OpenMode::ReadWrite).unwrap();
    try_lock(other.as_fd(), Mode::Exclusive, 0, 1).is_ok()
}

#[test]
fn a_fork_between_the_opening_and_the_entry_does_not_prolong_the_lock() {
    let file = tempfile::tempfile().unwrap();
    let children = std::cell::RefCell::new(Vec::new());
    let own = LockFile::open(u64::MAX, || {
        let opened = file::reopen(file.as_fd(), OpenMode::ReadWrite)?;
        if children.borrow().is_empty() {
            children.borrow_mut().push(Child::new(fork));
        }
        Ok(opened)
    });
    let own = own.unwrap();
    try_lock(own.file().unwrap(), Mode::Exclusive, 0, 1).unwrap();
    let number = own.file().unwrap().as_raw_fd();
    // As a death does it: nothing is unlocked before.
    assert!(own.slot.change(own.word, with_state(own.word, VACANT)));
    // SAFETY: it is no longer in its slot, so nobody else closes it.
    unsafe { libc::close(number) };
    assert!(is_free(&file));
}

#[test]
fn what_is_closed_is_unlocked_also_where_somebody_shares_it() {
    let file = tempfile::tempfile().unwrap();
    let own = lock_file(u64::MAX - 1, &file);
    let _child = Child::new(raw_fork);
    drop(own);
    assert!(is_free(&file));
    let _own = lock_file(u64::MAX - 2, &file);
    let _child = Child::new(raw_fork);
    close_all(u64::MAX - 2);
    assert!(is_free(&file));
}

#[test]
fn a_slot_is_used_again_and_its_former_owner_does_not_close_it() {
    let file = tempfile::tempfile().unwrap();
    let group = u64::MAX - 3;
    let first = lock_file(group, &file);
    close_all(group);
    assert!(first.file().is_none() && is_free(&file));
    let second = lock_file(group, &file);
    second.set_locks(1);
    drop(first);
    assert_eq!((locks(group), is_free(&file)), (1, false));
    drop(second);
    assert_eq!((locks(group), is_free(&file)), (0, true));
}
