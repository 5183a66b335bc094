//! The sentences: one for each code, and the last failure of each thread in full.

mod common;

use common::*;
use libc::*;

#[test]
fn texts_and_sentences_are_there_for_every_code() {
    for (number, word) in [
        (0, "success"),
        (EINVAL, "argument"),
        (EBADF, "token"),
        (EACCES, "access"),
        (ENXIO, "do not exist"),
        (ERANGE, "leaves the region"),
        (ENOSPC, "no room"),
        (EIO, "device"),
        (EBUSY, "still out"),
        (E2BIG, "newer"),
        (ENOENT, "MAPSHARE_CREATE"),
        (EEXIST, "exists"),
        (ELOOP, "symbolic link"),
        (ENAMETOOLONG, "too long"),
        (ENOTDIR, "directory"),
        (EROFS, "read-only"),
        (ETXTBSY, "running"),
        (ENOMEM, "memory"),
        (EMFILE, "descriptors"),
        (ENFILE, "too many open files"),
        (ENODEV, "mapped"),
        (EPERM, "seal"),
        (EDEADLK, "holds the lock already"),
        (ETIMEDOUT, "time"),
        (EINTR, "signal"),
        (ENOLCK, "locks"),
        (EOPNOTSUPP, "cannot do it"),
        (ENOTRECOVERABLE, "internal error"),
        (9999, "errno(3)"),
        (i32::MIN, "errno(3)"),
        (i32::MAX, "errno(3)"),
    ] {
        assert!(c::describe(number).contains(word), "{number}: {}", c::describe(number));
        if number != i32::MIN {
            assert_eq!(c::describe(number), c::describe(-number), "either sign");
        }
    }
}

#[test]
fn the_last_error_is_each_threads_own_and_outlives_successes() {
    std::thread::spawn(|| {
        assert_eq!(c::last_error(), "");
        let folder = Folder::new();
        refused(c::open(&folder.join("missing"), &with(0)), ENOENT, &[]);
        let text = c::last_error();
        let region = c::open(&folder.file("a", 100), &with(0)).unwrap();
        assert_eq!(c::last_error(), text, "a success leaves it");
        std::thread::spawn(|| assert_eq!(c::last_error(), "")).join().unwrap();
        refused(region.read(100, &mut [0]), ERANGE, &["100 + length 1", "100 bytes long"]);
        assert_ne!(c::last_error(), text);
        region.unmap().unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn the_first_call_may_be_made_while_a_panic_unwinds() {
    struct Late(std::path::PathBuf);
    impl Drop for Late {
        fn drop(&mut self) {
            assert_eq!(code(c::open(&self.0, &with(0))), ENOENT);
        }
    }
    in_own_process(the_first_call_may_be_made_while_a_panic_unwinds, || {
        let caught = std::panic::catch_unwind(|| {
            let _late = Late("/missing".into());
            panic!("on purpose");
        });
        assert!(caught.is_err());
    });
}
