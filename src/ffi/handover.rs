//! Regions handed to other processes, and what may be done with them from then on.

use super::guard::guard;
use super::open::{borrowed, enter, open_with};
use super::options::{self, mapshare_options, mapshare_region};
use crate::error::Result;
use std::ffi::c_int;
use std::os::fd::BorrowedFd;

/// Hands a region to whoever reads the other end of a Unix socket, with mapshare_receive: related or not, of any user,
/// in any container. It goes as one message with one descriptor; the receiver has the region for as long as it likes,
/// also when the sender unmaps it or ends.
///
/// @param region  The region. A part of a file is sent as that part; the receiver's descriptor is of the whole file.
/// @param socket  A connected Unix socket: stream, datagram or seqpacket. It stays the caller's.
/// @param access  The most that the receiver may do: MAPSHARE_READ_ONLY, MAPSHARE_READ_WRITE or MAPSHARE_COPY_ON_WRITE.
///                What a copy-on-write region has written privately is not sent: the receiver sees the file.
/// @return 0, or
///   -EBADF:  not an open region, or socket is not open.
///   -EACCES: more access than the region grants, as for mapshare_protect; or without /proc, and for a user whom the
///            file's permissions bar from opening it anew: a region that could be written, for reading.
///   -EPERM:  anonymous memory for reading or copy-on-write, without MAPSHARE_SEAL_FUTURE_WRITE or _WRITE: the receiver
///            could open it for writing through /proc/self/fd. Or for writing, with one of those seals: nobody can map
///            it so any more.
///   -EINVAL: access is unknown, or socket is not connected or no Unix socket; the region's length is 0.
///   -ENOTSOCK: socket is no socket.
///   -EPIPE:  the other side has closed. No SIGPIPE is raised.
///   -EAGAIN: socket is full and does not wait (O_NONBLOCK, SO_SNDTIMEO).
///   -EINTR:  a signal handler ran while it waited, also one with SA_RESTART; nothing was sent.
///   -EMFILE, -ENFILE: no free descriptor, or too many are under way that nobody has received yet.
///   -ENOMEM: as the kernel says it.
///
/// Read-only is what it says: the receiver's descriptor is opened for reading only. A receiver can ask the kernel to
/// open the file again, through /proc/self/fd, and then the file's permissions decide: for a user whom they let write,
/// hand-over takes no right away. Of anonymous memory a seal decides, against everyone; with MAPSHARE_SEAL_SHRINK and
/// _GROW too, no receiver can change its length either.
///
/// Threads: any; the region may be unmapped meanwhile. Blocks: while a blocking socket is full. Signals: not in a
/// handler.
/// Source: unix(7) SCM_RIGHTS, sendmsg(2), ppoll(2), proc(5) /proc/PID/fd.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_send(region: *mut mapshare_region, socket: c_int, access: u32) -> c_int {
    guard("mapshare_send", || {
        // The region is left before anything is waited for.
        let handed_over = enter(region)?.hand_over(options::access(access)?)?;
        handed_over.send(descriptor_of_socket(socket)?)
    })
}

/// Takes a region that mapshare_send has sent. It consumes one message, also when it fails, unless the code is one of
/// those marked *, for what is found before anything is taken: the message stays. After the others a receiver goes on
/// with the next. What it received and cannot use is closed.
///
/// Nothing that comes is trusted: whatever a hostile sender does gives a code. What a sender can do is to cut the file
/// short later, which is -ENXIO then as with any file; memory that carries MAPSHARE_SEAL_SHRINK (mapshare_info) it
/// cannot cut. A file on FUSE can keep whoever touches it waiting.
///
/// @param socket        The other end of a Unix socket; it stays the caller's. Where users are not to be trusted, ask
///                      for theirs (unix(7), SO_PEERCRED).
/// @param options       As for mapshare_open_fd, and: access is at most what was sent; offset and length count inside
///                      what was handed over, 0 and 0 = all of it. MAPSHARE_CREATE means nothing here: no file is made
///                      longer, and no storage reserved, because of what a sender says.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @param ret_region    Receives the region's token.
/// @return 0, or
///   -EBADF:  * socket is not open.
///   -EINVAL: * ret_region is NULL; an option is unknown or contradicts another; socket is not connected or no Unix
///            socket.
///   -EINVAL: offset is not a multiple of the page size, which is known once the message has been taken.
///   -ENOTSOCK: * socket is no socket.
///   -E2BIG:  * the options struct is larger than this library's, and its tail is not zero.
///   -EAGAIN: * nothing has come, and socket does not wait (O_NONBLOCK, SO_RCVTIMEO).
///   -EINTR:  * a signal handler ran while it waited, also one with SA_RESTART.
///   -EPROTO: what came is no hand-over: other bytes, no descriptor or several, one of a pipe, directory or device, one
///            that grants less than was said. Of a stream, up to 32 bytes were taken.
///   -EPIPE:  the other side has closed, and nothing is left to receive. A datagram socket does not tell that: give it
///            a time (SO_RCVTIMEO), or see by other means that the sender lives.
///   -EACCES: more access was asked than was handed over.
///   -ERANGE: offset + length leaves what was handed over.
///   -ENXIO:  the file is shorter than what was handed over: it was cut short since.
///   -EMFILE, -ENFILE: there was no free descriptor for the one that came.
///   -EPERM:  a seal forbids to map it writable.
///   -EEXIST, -ENOSPC, -ENOMEM, -EIO: as mapshare_open_fd.
///
/// Threads: any; each message goes to one of those that wait. Blocks: on a blocking socket until something comes; the
/// peer of a stream that sends a part of a message and stops keeps it waiting for the rest, unless SO_RCVTIMEO is set.
/// Signals: not in a handler. Fork: as mapshare_open.
/// Source: unix(7) SCM_RIGHTS, ppoll(2), recvmsg(2) MSG_CMSG_CLOEXEC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_receive(
    socket: c_int,
    options: *const mapshare_options,
    options_size: usize,
    ret_region: *mut *mut mapshare_region,
) -> c_int {
    guard("mapshare_receive", || {
        let socket = descriptor_of_socket(socket)?;
        // SAFETY: the caller passes options of that size, and somewhere to put the token.
        unsafe { open_with(options, options_size, ret_region, |options| options.receive(socket)) }
    })
}

/// Seals a region's memory, for everyone who has it and for good.
///
/// @param region  The region: anonymous memory, or a memfd that allows sealing; opened with a descriptor for writing.
/// @param seals   MAPSHARE_SEAL_SHRINK, _GROW, _WRITE, _FUTURE_WRITE and _SEAL, or'ed; those that are there already
///                stay.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: a bit of seals is unknown, to this library or to this kernel.
///   -EOPNOTSUPP: the region is a file: only memory files can be sealed.
///   -EACCES: the region's descriptor is for reading only.
///   -EPERM:  it carries MAPSHARE_SEAL_SEAL.
///   -EBUSY:  MAPSHARE_SEAL_WRITE while anyone has it mapped shared from a descriptor that is open for writing, as is
///            every region that was opened MAPSHARE_READ_WRITE, also when mapshare_protect has narrowed it.
///            MAPSHARE_SEAL_FUTURE_WRITE lets those there are go on writing.
///
/// MAPSHARE_SEAL_WRITE is to be had so: take a descriptor (mapshare_fd), unmap all regions of the memory, open the
/// descriptor MAPSHARE_COPY_ON_WRITE (mapshare_open_fd), and seal through that region.
///
/// To publish data that readers cannot change, and that no trick of theirs takes away: mapshare_seal with
/// MAPSHARE_SEAL_FUTURE_WRITE | MAPSHARE_SEAL_SHRINK, then mapshare_send MAPSHARE_READ_ONLY. The owner goes on writing,
/// and growing within its reserve. What a seal forbids from then on, in resize, protect, open or send, is -EPERM with
/// its name.
///
/// Threads: any. Signals: not in a handler. Processes: all that have the memory are bound by it.
/// Source: fcntl(2), "File Sealing".
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_seal(region: *mut mapshare_region, seals: u32) -> c_int {
    guard("mapshare_seal", || {
        let region = enter(region)?;
        region.seal(options::seals(seals)?)
    })
}

fn descriptor_of_socket<'a>(fd: c_int) -> Result<BorrowedFd<'a>> {
    // SAFETY: the socket stays the caller's, who keeps it open for the call.
    unsafe { borrowed(fd, "is not open") }
}
