//! Error numbers as the kernel gives them.

/// A positive error number of errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

/// The numbers that other layers name, each under its errno(3) name.
macro_rules! names {
    ($($name:ident)*) => {
        impl Errno { $(pub(crate) const $name: Errno = Errno(libc::$name);)* }
    };
}

names! {
    E2BIG EACCES EAGAIN EBADF EBADMSG EBUSY ECONNREFUSED ECONNRESET EDEADLK EDQUOT EEXIST EFAULT EFBIG EINTR EINVAL
    EIO EISDIR ELOOP EMFILE EMSGSIZE ENAMETOOLONG ENFILE ENODEV ENOENT ENOLCK ENOMEM ENOSPC ENOSYS ENOTCONN ENOTDIR
    ENOTRECOVERABLE ENOTSOCK ENXIO EOPNOTSUPP EOVERFLOW EPERM EPIPE EPROTO EPROTONOSUPPORT ERANGE EROFS ESRCH ETIMEDOUT
    ETOOMANYREFS ETXTBSY EXDEV
}

impl Errno {
    /// What the call that failed just now on this thread left in `errno`.
    pub(super) fn last() -> Errno {
        // SAFETY: returns the address of this thread's errno, valid for the thread's life.
        let location = unsafe { libc::__errno_location() };
        // SAFETY: the address above is aligned and readable.
        Errno(unsafe { *location })
    }

    /// Makes it this thread's `errno`.
    pub(super) fn set(self) {
        // SAFETY: returns the address of this thread's errno, valid for the thread's life.
        let location = unsafe { libc::__errno_location() };
        // SAFETY: the address above is aligned and writable.
        unsafe { *location = self.0 };
    }

    /// The result of a call that says -1 when it failed.
    pub(super) fn check(result: i32) -> Result<i32, Errno> {
        if result == -1 { Err(Errno::last()) } else { Ok(result) }
    }

    /// The same of syscall(2), where what is good is a descriptor or 0.
    pub(super) fn check_long(result: libc::c_long) -> Result<i32, Errno> {
        i32::try_from(result).map_err(|_| Errno::EMFILE).and_then(Errno::check)
    }
}
