//! The kernel, one small function per call. These are the only files that name `libc`.
//!
//! Decision: each function takes safe Rust types where the call allows it, returns
//! `Result<T, Errno>` and adds no policy of its own: what to do about a failure is
//! decided in the layers above.
//!
//! Decision: what glibc has had since after 2.17 only (renameat2, memfd_create, pwritev2, getrandom, gettid) is called by
//! its number, syscall(2), so that the Python wheel can be one for old systems.

pub(crate) mod clock;
pub(crate) mod errno;
pub(crate) mod file;
pub(crate) mod futex;
pub(crate) mod lock;
pub(crate) mod map;
pub(crate) mod process;
pub(crate) mod signal;
pub(crate) mod socket;

pub(crate) use errno::Errno;
