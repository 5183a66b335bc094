//! Children made by fork alone: many of them, quickly, and killed at any moment. Only in a process of its own
//! (`in_own_process`), whose other threads do nothing.

use super::process::{is_in_call, wait_for, watchdog};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};

/// A child, and two pipes to it.
pub(crate) struct Forked {
    pid: i32,
    to: PipeWriter,
    from: PipeReader,
}

/// What a child has of its parent.
pub(crate) struct Parent {
    to: PipeWriter,
    from: PipeReader,
}

impl Parent {
    pub(crate) fn tell(&mut self, byte: u8) {
        self.to.write_all(&[byte]).expect("the parent listens");
    }

    /// Waits for the parent's next byte.
    pub(crate) fn listen(&mut self) -> u8 {
        let mut byte = [0];
        self.from.read_exact(&mut byte).expect("the parent speaks");
        byte[0]
    }

    /// Whether the parent has said something.
    pub(crate) fn has_spoken(&self) -> bool {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&self.from);
        let mut wanted = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one struct, which is ours.
        unsafe { libc::poll(&mut wanted, 1, 0) > 0 }
    }

    /// Waits to be killed.
    pub(crate) fn wait_for_the_end(&mut self) -> ! {
        loop {
            self.listen();
        }
    }
}

impl Forked {
    /// Runs `body` in a child, whose exit code it gives.
    pub(crate) fn start(body: impl FnOnce(Parent) -> i32) -> Forked {
        let (child_reads, to) = pipe().expect("a pipe");
        let (from, child_writes) = pipe().expect("a pipe");
        // SAFETY: nothing else goes on in this process.
        let pid = unsafe { libc::fork() };
        assert_ne!(pid, -1, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            watchdog();
            let parent = Parent { to: child_writes, from: child_reads };
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(parent))).unwrap_or(101);
            // SAFETY: ends the child without the harness's own end.
            unsafe { libc::_exit(code) };
        }
        Forked { pid, to, from }
    }

    pub(crate) fn say(&mut self, byte: u8) {
        self.to.write_all(&[byte]).expect("the child listens");
    }

    pub(crate) fn hear(&mut self) -> u8 {
        let mut byte = [0];
        self.from.read_exact(&mut byte).expect("the child speaks");
        byte[0]
    }

    /// Whether it sleeps until a word changes.
    pub(crate) fn is_asleep(&self) -> bool {
        is_in_call(self.pid, libc::SYS_futex)
    }

    /// How often it has gone to sleep, of its own will.
    pub(crate) fn sleeps(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.expect("every kernel tells").trim().parse().expect("a number")
    }

    pub(crate) fn kill(self) {
        self.kill_now();
    }

    /// As `kill`, for one that goes with what has it.
    pub(crate) fn kill_now(&self) {
        // SAFETY: a child of ours that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.pid, libc::SIGKILL) }, 0);
        wait_for(self.pid);
    }

    /// Its exit code, or the negative signal that ended it.
    pub(crate) fn end(self) -> i32 {
        wait_for(self.pid)
    }
}

/// Locks the byte that users lock, as whoever is about to remove a name does, on this open file description.
pub(crate) fn lock_as_remover(file: &std::fs::File) {
    // SAFETY: all zeros is a value of it.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_start, lock.l_len) = (libc::F_WRLCK as i16, (1 << 62) + (1 << 32), 1);
    // SAFETY: a whole struct.
    let locked = unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(file), libc::F_OFD_SETLK, &lock) };
    assert_eq!(locked, 0, "{}", std::io::Error::last_os_error());
}
