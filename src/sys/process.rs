//! Processes and threads: gettid(2), membarrier(2), fork handlers, process_vm_readv(2).

use super::Errno;

/// Copies `length` bytes of this process's own memory from `from` to `to` inside the kernel, which answers a bad
/// page on either side with an error where an instruction would raise a signal.
///
/// Returns how many bytes were copied, at least one when `length` is not zero: fewer than asked for where a page
/// could not be reached, after which the next call, for the rest, says why.
///
/// # Safety
/// Nobody may rely on the `length` bytes at `to` keeping their values. The addresses themselves may be anything.
// Source: process_vm_readv(2).
pub(crate) unsafe fn process_vm_read(to: *mut u8, from: *const u8, length: usize) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: to.cast(), iov_len: length };
    let remote = libc::iovec { iov_base: from.cast_mut().cast(), iov_len: length };
    // SAFETY: getpid has no preconditions.
    let own = unsafe { libc::getpid() };
    // SAFETY: both vectors live through the call, one element each, and are not written to; the kernel checks the
    // addresses inside them, and the caller has given up the bytes at `to`.
    let copied = unsafe { libc::process_vm_readv(own, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(copied).map_err(|_| Errno::last())
}

/// Random bits (getrandom(2)).
/// KERNEL: since 3.17.
pub(crate) fn random_u32() -> Result<u32, Errno> {
    let mut bytes = [0u8; 4];
    loop {
        // SAFETY: the array is ours, and as long as is said.
        let got = unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), 0) };
        match usize::try_from(got) {
            Ok(got) if got == bytes.len() => return Ok(u32::from_ne_bytes(bytes)),
            Err(_) if Errno::last() != Errno::EINTR => return Err(Errno::last()),
            _ => {}
        }
    }
}

/// One membarrier(2) command.
fn membarrier(command: libc::c_int) -> Result<(), Errno> {
    // SAFETY: membarrier takes three integers and touches no memory of ours.
    let rc = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    if rc == 0 { Ok(()) } else { Err(Errno::last()) }
}

/// Announces that this process will use `membarrier_private`.
/// KERNEL: refused before 4.14, without CONFIG_MEMBARRIER and by some seccomp filters.
pub(crate) fn membarrier_register() -> Result<(), Errno> {
    membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
}

/// A full memory barrier in every thread of this process, between its call and its return.
pub(crate) fn membarrier_private() -> Result<(), Errno> {
    membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
}

/// Announces that this process takes part in `membarrier_all`. A child of a fork has to do so itself.
/// KERNEL: refused before 4.16, and as `membarrier_register`.
pub(crate) fn membarrier_register_all() -> Result<(), Errno> {
    membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)
}

/// A full memory barrier in every running thread of all processes that take part.
pub(crate) fn membarrier_all() -> Result<(), Errno> {
    membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

/// This process, asked of the kernel each time: a raw clone(2) changes it without telling anyone.
pub(crate) fn process_id() -> u32 {
    std::process::id()
}

/// This thread, asked of the kernel.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: gettid has no arguments and cannot fail.
    let id = unsafe { libc::syscall(libc::SYS_gettid) };
    u32::try_from(id).unwrap_or_default()
}

/// Whether this process has a thread of that number. Only a plain "no such thread" counts as no.
pub(crate) fn thread_exists(thread: u32) -> bool {
    // SAFETY: tgkill with signal 0 only asks; it takes three integers.
    let rc = unsafe { libc::syscall(libc::SYS_tgkill, process_id(), thread, 0) };
    rc == 0 || Errno::last() != Errno::ESRCH
}

/// Runs `child` in the child of every fork(3) from now on.
pub(crate) fn on_fork(child: extern "C" fn()) -> Result<(), Errno> {
    register_fork_handlers(None, None, child)
}

/// Runs `before` before every fork(3) from now on, and `parent` and `child` after it.
pub(crate) fn around_fork(
    before: extern "C" fn(),
    parent: extern "C" fn(),
    child: extern "C" fn(),
) -> Result<(), Errno> {
    register_fork_handlers(Some(before), Some(parent), child)
}

fn register_fork_handlers(
    before: Option<unsafe extern "C" fn()>,
    parent: Option<unsafe extern "C" fn()>,
    child: unsafe extern "C" fn(),
) -> Result<(), Errno> {
    // SAFETY: the handlers are functions of this library, which is linked `-z nodelete`: they stay.
    let rc = unsafe { libc::pthread_atfork(before, parent, Some(child)) };
    if rc == 0 { Ok(()) } else { Err(Errno(rc)) }
}

/// Runs `before` on the thread that forks, before every fork(3) from now on.
pub(crate) fn before_fork(before: extern "C" fn()) -> Result<(), Errno> {
    let before: unsafe extern "C" fn() = before;
    // SAFETY: as in `on_fork`.
    let rc = unsafe { libc::pthread_atfork(Some(before), None, None) };
    if rc == 0 { Ok(()) } else { Err(Errno(rc)) }
}
