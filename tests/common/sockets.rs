//! Unix sockets, and what others may send over them.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The kinds of Unix sockets.
pub(crate) const STYLES: [i32; 3] = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET];
/// Bytes of one hand-over.
pub(crate) const MESSAGE_LENGTH: usize = 32;

/// Two ends that are connected.
pub(crate) fn pair(style: i32) -> (OwnedFd, OwnedFd) {
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors.
    let made = unsafe { libc::socketpair(libc::AF_UNIX, style | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: made just now, and nobody else has them.
    ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) }).into()
}

pub(crate) fn set_nonblocking(socket: &OwnedFd) {
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }, 0);
}

/// A message as the layout's description in src/region/handover.rs has it, made without the library.
pub(crate) fn message(access: u32, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = b"mapshare".to_vec();
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(access.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    assert_eq!(bytes.len(), MESSAGE_LENGTH);
    bytes
}

/// Sends bytes and descriptors, whatever they are, in one message; what sendmsg says.
pub(crate) fn send_raw(socket: &OwnedFd, bytes: &[u8], carried: &[i32]) -> isize {
    let mut parts = [0u64; 160];
    let mut piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zeros is a value of it.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut piece;
    message.msg_iovlen = 1;
    if !carried.is_empty() {
        let size = size_of_val(carried) as u32;
        message.msg_control = parts.as_mut_ptr().cast();
        // SAFETY: it computes a size.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as _;
        assert!(message.msg_controllen as usize <= size_of_val(&parts));
        // SAFETY: the parts have the room that the message says.
        let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
        // SAFETY: it computes a size.
        let length = unsafe { libc::CMSG_LEN(size) };
        let content =
            libc::cmsghdr { cmsg_len: length as _, cmsg_level: libc::SOL_SOCKET, cmsg_type: libc::SCM_RIGHTS };
        // SAFETY: it lies in the parts.
        unsafe { header.write(content) };
        // SAFETY: behind the header.
        let data = unsafe { libc::CMSG_DATA(header) }.cast::<i32>();
        // SAFETY: there is room for all of them.
        unsafe { std::ptr::copy_nonoverlapping(carried.as_ptr(), data, carried.len()) };
    }
    // SAFETY: everything the message names stays for the call.
    unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) }
}

/// Takes bytes without descriptors; how many.
pub(crate) fn take_bytes(socket: &OwnedFd, buffer: &mut [u8]) -> isize {
    // SAFETY: the buffer has its length.
    unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) }
}
