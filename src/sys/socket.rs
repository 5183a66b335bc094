//! Unix sockets that carry descriptors: unix(7), SCM_RIGHTS.

use super::Errno;
use std::mem::{MaybeUninit, size_of, size_of_val};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Room for what comes beside the bytes: a few descriptors, and what a program may have asked its socket for as well
/// (SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD). In u64, since the kernel aligns each part so.
const ROOM: usize = 32;
/// A descriptor of the sender's process, which sockets with SO_PASSPIDFD get. KERNEL: since 6.5.
const SCM_PIDFD: i32 = 4;

/// What one call took from a socket.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes that were put into the buffer.
    pub(crate) length: usize,
    /// Whether the message was longer.
    pub(crate) is_cut: bool,
    /// Whether descriptors, or others of its parts, did not get through.
    pub(crate) lost_parts: bool,
    /// The first descriptor that came along, close-on-exec.
    pub(crate) descriptor: Option<OwnedFd>,
    /// How many more came; they are closed.
    pub(crate) more: usize,
}

/// Whether it is a Unix socket; ENOTSOCK when it is none at all.
pub(crate) fn is_unix(fd: BorrowedFd) -> Result<bool, Errno> {
    option(fd, libc::SO_DOMAIN, 0i32).map(|domain| domain == libc::AF_UNIX)
}

/// How a socket cuts what goes over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Bytes in a row; none mean the end.
    Stream,
    /// Messages, which may be empty.
    Datagrams,
    /// Messages; the end looks like an empty one.
    Packets,
}

pub(crate) fn style(fd: BorrowedFd) -> Result<Style, Errno> {
    Ok(match option(fd, libc::SO_TYPE, 0i32)? {
        libc::SOCK_STREAM => Style::Stream,
        libc::SOCK_DGRAM => Style::Datagrams,
        _ => Style::Packets,
    })
}

/// Which way something goes over a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    Out,
}

impl Direction {
    /// What poll(2) calls being ready for it.
    pub(super) fn events(self) -> i16 {
        match self {
            Direction::In => libc::POLLIN,
            Direction::Out => libc::POLLOUT,
        }
    }
}

/// How long a call waits on the socket at most; None for one without end (SO_RCVTIMEO, SO_SNDTIMEO).
pub(crate) fn timeout(fd: BorrowedFd, direction: Direction) -> Result<Option<Duration>, Errno> {
    let name = match direction {
        Direction::In => libc::SO_RCVTIMEO,
        Direction::Out => libc::SO_SNDTIMEO,
    };
    let time = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let time = option(fd, name, time)?;
    let (seconds, microseconds) = (time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs());
    let time = Duration::from_secs(seconds) + Duration::from_micros(microseconds);
    Ok((!time.is_zero()).then_some(time))
}

/// Whether calls on it do not wait (O_NONBLOCK).
pub(crate) fn is_nonblocking(fd: BorrowedFd) -> Result<bool, Errno> {
    // SAFETY: F_GETFL only asks.
    let flags = Errno::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    Ok(flags & libc::O_NONBLOCK != 0)
}

/// Whether the other side has closed.
pub(crate) fn has_hung_up(fd: BorrowedFd) -> Result<bool, Errno> {
    let mut asked = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one descriptor, whose struct is ours; it does not wait.
    Errno::check(unsafe { libc::poll(&raw mut asked, 1, 0) })?;
    Ok(asked.revents & (libc::POLLHUP | libc::POLLRDHUP) != 0)
}

/// Bytes that have come and that nobody has taken yet (unix(7), SIOCINQ).
pub(crate) fn waiting_bytes(fd: BorrowedFd) -> Result<u64, Errno> {
    let mut bytes: i32 = 0;
    // SAFETY: room for an int.
    Errno::check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// An option's value, which is of the type of `value`.
fn option<T: Copy>(fd: BorrowedFd, name: i32, mut value: T) -> Result<T, Errno> {
    let mut size = size_of::<T>() as libc::socklen_t;
    // SAFETY: room for a value of the type, and for its size; the kernel fills in numbers.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut size) };
    Errno::check(result)?;
    Ok(value)
}

/// A message of one piece, with nothing in it yet.
fn message(piece: &mut libc::iovec, parts: &mut [u64]) -> libc::msghdr {
    let empty = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: all zeros is a value of the struct: null pointers and zero lengths.
    let mut message = unsafe { empty.assume_init() };
    message.msg_iov = piece;
    message.msg_iovlen = 1;
    message.msg_control = parts.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(parts) as _;
    message
}

/// Sends `bytes` and a descriptor as one message, without waiting; EPIPE, never SIGPIPE, when the other side has closed.
/// How many bytes went out.
pub(crate) fn send(fd: BorrowedFd, bytes: &[u8], carried: BorrowedFd) -> Result<usize, Errno> {
    const CARRIED: u32 = size_of::<i32>() as u32;
    let mut piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut parts = [0u64; ROOM];
    let mut message = message(&mut piece, &mut parts);
    // SAFETY: it computes a size.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(CARRIED) } as _;
    // SAFETY: the message has the parts' room, which is larger than a header.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: it computes a size.
    let length = unsafe { libc::CMSG_LEN(CARRIED) };
    let content = libc::cmsghdr { cmsg_len: length as _, cmsg_level: libc::SOL_SOCKET, cmsg_type: libc::SCM_RIGHTS };
    // SAFETY: the header lies at the start of the parts, aligned as u64.
    unsafe { header.write(content) };
    // SAFETY: the part has room for one descriptor behind its header.
    let data = unsafe { libc::CMSG_DATA(header) }.cast::<i32>();
    // SAFETY: as above.
    unsafe { data.write_unaligned(carried.as_raw_fd()) };
    // SAFETY: the message names the bytes, which are only read, and the parts; both stay for the call.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| Errno::last())
}

/// Takes one message, or of a stream as many bytes as there are and fit, with what came along; it does not wait.
pub(crate) fn receive(fd: BorrowedFd, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut parts = [0u64; ROOM];
    let mut message = message(&mut piece, &mut parts);
    // SAFETY: the message names the buffer and the parts, which are ours and stay for the call.
    let length =
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| Errno::last())?;
    let mut received = Received {
        length,
        is_cut: message.msg_flags & libc::MSG_TRUNC != 0,
        lost_parts: message.msg_flags & libc::MSG_CTRUNC != 0,
        descriptor: None,
        more: 0,
    };
    // SAFETY: the kernel has filled the parts as far as the message says.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: it is NULL or lies in the parts, aligned as u64.
    while let Some(part) = unsafe { header.as_ref() } {
        let carries = [libc::SCM_RIGHTS, SCM_PIDFD].contains(&part.cmsg_type) && part.cmsg_level == libc::SOL_SOCKET;
        let length: usize = part.cmsg_len as _; // of another type in other C libraries
        let size = if carries { length.saturating_sub(size_of::<libc::cmsghdr>()) } else { 0 };
        // SAFETY: the part's bytes stand behind its header.
        let data = unsafe { libc::CMSG_DATA(header) }.cast::<i32>();
        for index in 0..size / size_of::<i32>() {
            // SAFETY: `index` is below the number of descriptors that the part has.
            let number = unsafe { data.add(index) };
            // SAFETY: as above.
            let number = unsafe { number.read_unaligned() };
            // SAFETY: the kernel has just made this descriptor and nobody else knows it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
            match part.cmsg_type {
                libc::SCM_RIGHTS if received.descriptor.is_none() => received.descriptor = Some(descriptor),
                libc::SCM_RIGHTS => received.more += 1,
                _ => {}
            }
        }
        // SAFETY: the header is one of the message's.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(received)
}
