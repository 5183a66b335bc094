use super::*;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

fn file() -> (File, &'static Presence) {
    let file = tempfile::tempfile().unwrap();
    let status = file.metadata().unwrap();
    let presence = Presence::of((status.dev(), status.ino())).unwrap();
    (file, presence)
}

/// Runs `child` in a forked child, which stays until it is killed; what it says.
fn in_child(child: impl FnOnce() -> u32) -> (i32, u32) {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: the child makes system calls only.
    let id = unsafe { libc::fork() };
    if id == 0 {
        // SAFETY: no memory is passed. A child that fails ends, as its parent's read does then.
        unsafe { libc::alarm(20) };
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(0);
        writer.write_all(&said.to_ne_bytes()).unwrap();
        loop {
            // SAFETY: it only waits.
            unsafe { libc::pause() };
        }
    }
    let mut said = [0; 4];
    reader.read_exact(&mut said).unwrap();
    (id, u32::from_ne_bytes(said))
}

fn kill(id: i32) {
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::kill(id, libc::SIGKILL) }, 0);
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::waitpid(id, std::ptr::null_mut(), 0) }, id);
}

#[test]
fn a_participant_lives_until_its_process_is_killed_or_needs_the_file_no_more() {
    let (file, presence) = file();
    assert_eq!(presence.participant(), None, "a plain region pays nothing");
    let own = presence.join(file.as_fd()).unwrap();
    assert_eq!((presence.join(file.as_fd()), presence.participant()), (Ok(own), Some(own)));
    let (id, child) = in_child(|| {
        let inherited = presence.participant();
        let child = presence.join(file.as_fd()).unwrap().get();
        if inherited.is_none() && child != own.get() { child } else { 0 }
    });
    assert_ne!(child, 0, "a child is a participant of its own");
    let alive = |participant| is_alive(file.as_fd(), participant).unwrap();
    assert!(alive(own.get()) && alive(child));
    assert!(![0, own.get() ^ 1, child ^ 1].into_iter().any(alive), "nobody has these");
    kill(id);
    assert!(!alive(child) && alive(own.get()), "the end of a child is not that of its parent");
    presence.leave();
    assert!(!alive(own.get()));
}

#[test]
fn a_child_that_only_lives_on_does_not_prolong_its_parents_life() {
    let (file, presence) = file();
    let own = presence.join(file.as_fd()).unwrap();
    let (id, _) = in_child(|| 0);
    presence.leave();
    assert!(!is_alive(file.as_fd(), own.get()).unwrap());
    kill(id);
}

#[test]
fn a_lock_of_somebody_else_over_our_bytes_is_no_participant_and_refuses_new_ones() {
    let (file, presence) = file();
    lock::try_lock(file.as_fd(), Mode::Exclusive, 0, 0).unwrap();
    let seen_from = file::reopen(file.as_fd(), file::OpenMode::Read).unwrap();
    assert_eq!(is_alive(seen_from.as_fd(), 7), Ok(false));
    let whole = Held { mode: Mode::Exclusive, start: 0, length: 0, process: None };
    assert_eq!(presence.join(seen_from.as_fd()), Err(CannotJoin::ForeignLock(whole)));
    assert_eq!(presence.participant(), None);
    presence.leave();
}
