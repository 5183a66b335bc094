//! Regions handed to other processes over a Unix socket.
//!
//! Decision: what goes over is one message of a fixed length with one descriptor, and the descriptor is of an open file
//! description of its own: opened anew, with no more rights than are handed over, so that nothing that belongs to a
//! description (its rights, its locks) is shared with the sender. Nothing that came is believed: each field is checked,
//! and the descriptor is asked what it is.

use super::last_user::LastUser;
use super::map::Opened;
use super::name::Name;
use super::options::{Access, Options};
use super::{Backing, Region, seal};
use crate::error::{Error, HandOverError, Result};
use crate::mem::paging::Paging;
use crate::mem::sleeping::when_ready;
use crate::sys::Errno;
use crate::sys::file::{self, Granted, Kind, OpenMode};
use crate::sys::socket::{self, Direction, Style};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

// LAYOUT: the message, all numbers little-endian, held there by `encode` and `decode`, which the test at the end reads
// byte by byte:
//    0  8 bytes  "mapshare"
//    8  u32      the layout's version, 1
//   12  u32      the access that is handed over, as MAPSHARE_READ_ONLY and its like number it
//   16  u64      the first byte that is handed over, counted from the start of the file
//   24  u64      how many bytes, at least 1
const MAGIC: [u8; 8] = *b"mapshare";
const VERSION: u32 = 1;
const MESSAGE_LENGTH: usize = 32;

/// Why memory is not sent for reading as it is.
const NEEDS_SEAL: &str = "memory that is sent for reading or copy-on-write could be opened for writing by whoever receives it; seal it first: \
                          mapshare_seal(region, MAPSHARE_SEAL_FUTURE_WRITE | MAPSHARE_SEAL_SHRINK) leaves your own \
                          writing as it is";

/// Why a descriptor that came is refused.
const GRANTS_LESS: &str = "its descriptor grants less than it says";

/// What the message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    access: Access,
    offset: u64,
    length: u64,
}

impl Message {
    fn encode(&self) -> [u8; MESSAGE_LENGTH] {
        let mut bytes = [0; MESSAGE_LENGTH];
        let access: u32 = match self.access {
            Access::ReadOnly => 0,
            Access::ReadWrite => 1,
            Access::CopyOnWrite => 2,
        };
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&access.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; MESSAGE_LENGTH]) -> Result<Message> {
        let (magic, rest) = bytes.split_at(MAGIC.len());
        let (version, rest) = u32_at_start(rest);
        let (access, rest) = u32_at_start(rest);
        let (offset, rest) = u64_at_start(rest);
        let (length, _) = u64_at_start(rest);
        let access = match access {
            _ if magic != MAGIC => return Err(alien("it does not start with \"mapshare\"")),
            _ if version != VERSION => return Err(alien("it has a layout that this version does not know")),
            0 => Access::ReadOnly,
            1 => Access::ReadWrite,
            2 => Access::CopyOnWrite,
            _ => return Err(alien("it hands over an access that there is not")),
        };
        let end = offset.checked_add(length).filter(|end| *end <= i64::MAX as u64);
        if length == 0 || end.is_none() {
            return Err(alien("it hands over a range that no file has"));
        }
        Ok(Message { access, offset, length })
    }
}

fn u32_at_start(bytes: &[u8]) -> (u32, &[u8]) {
    bytes.split_first_chunk().map_or((0, bytes), |(number, rest)| (u32::from_le_bytes(*number), rest))
}

fn u64_at_start(bytes: &[u8]) -> (u64, &[u8]) {
    bytes.split_first_chunk().map_or((0, bytes), |(number, rest)| (u64::from_le_bytes(*number), rest))
}

/// A region that is ready to be sent; it needs the region no more.
pub(crate) struct HandOver {
    message: Message,
    file: OwnedFd,
}

impl HandOver {
    /// Sends it, as one message.
    pub(crate) fn send(&self, socket: BorrowedFd<'_>) -> Result<()> {
        check_socket(socket)?;
        let bytes = self.message.encode();
        match when_ready(socket, Direction::Out, || socket::send(socket, &bytes, self.file.as_fd())) {
            Ok(MESSAGE_LENGTH) => Ok(()),
            // Not of a message so short, which the kernel takes whole or not at all.
            Ok(_) => Err(refused(socket, Errno::EPIPE, "took a part of the message only; close it")),
            Err(errno) => Err(failed(socket, errno, "sendmsg")),
        }
    }
}

impl Region {
    /// Hands the region to whoever reads the other end of a Unix socket, with at most `access`: one message, which
    /// [`Options::receive`] takes. A socket that is full is waited for, unless it is non-blocking.
    ///
    /// # Errors
    /// EACCES: more access than the region grants. EPERM: anonymous memory read-only without a seal that keeps it so,
    /// or writable with one that forbids it. ENOTSOCK, EINVAL: the descriptor is no socket, or no connected Unix
    /// socket. EPIPE: the other side has closed. EAGAIN: a non-blocking socket is full. EINTR: a signal came; nothing
    /// was sent.
    pub fn send(&self, socket: BorrowedFd<'_>, access: Access) -> Result<()> {
        self.hand_over(access)?.send(socket)
    }

    /// What `send` sends. Sending may wait, and nobody has to wait with it who wants to unmap the region.
    pub(crate) fn hand_over(&self, access: Access) -> Result<HandOver> {
        if access == Access::ReadWrite {
            self.check_grants_writing()?;
        }
        let length = self.length();
        if length == 0 {
            return Err(Error::Contradiction(
                "the region is 0 bytes long since its file was cut; there is nothing to send",
            ));
        }
        let seals = seal::of_memory(self.file(), &self.status()?);
        let is_memory = self.backing == Backing::Anonymous || seals.is_some();
        let fixed = seal::MAPPING.check(seals.unwrap_or(0), Name::Own);
        match access {
            Access::ReadWrite => fixed?,
            Access::ReadOnly | Access::CopyOnWrite if !is_memory || fixed.is_err() => {}
            Access::ReadOnly | Access::CopyOnWrite => {
                return Err(Error::CannotSeal { sentence: NEEDS_SEAL, errno: Errno::EPERM.0 });
            }
        }
        let file = self.opened_anew(access, is_memory)?;
        Ok(HandOver { message: Message { access, offset: self.mapping().file_offset(), length }, file })
    }

    /// The region's file in an open file description of its own, with no more rights than `access` needs.
    fn opened_anew(&self, access: Access, is_memory: bool) -> Result<OwnedFd> {
        let mode = access.open_mode();
        file::reopen(self.file(), mode).or_else(|errno| {
            // KERNEL: without /proc, or for a user whom the file's permissions bar, the description there is has to do:
            // where it grants no more, or where a seal keeps memory as it is.
            let serves = mode == OpenMode::ReadWrite || is_memory || file::granted(self.file()) == Ok(Granted::Read);
            match errno {
                Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::EROFS if serves => self.duplicate_fd(),
                Errno::ENOENT | Errno::EACCES | Errno::EPERM => Err(Error::AccessDenied {
                    access: "opening a second time, through /proc/self/fd,",
                    file: Name::Own.into(),
                    remedy: "open it MAPSHARE_READ_ONLY and send that region, or mount /proc, or keep the right to look \
                             into the own process (prctl(2), PR_SET_DUMPABLE)",
                }),
                errno => Err(Error::system("open", Name::Own, errno)),
            }
        })
    }
}

impl Options {
    /// Takes a region that [`Region::send`] has sent, from a Unix socket. It consumes one message also when it fails,
    /// but for EAGAIN, EINTR and what is wrong with the arguments. `offset` and `length` count inside what was handed
    /// over; zeros stand for all of it.
    ///
    /// # Errors
    /// EPROTO: what came is no hand-over. EPIPE: the other side has closed. EACCES: more access than was handed over.
    /// ERANGE: a range outside of what was. EMFILE: no descriptor is free here. EAGAIN: nothing has come on a
    /// non-blocking socket. EINTR: a signal came. ENOTSOCK, EINVAL: no Unix socket. And what opening a descriptor
    /// gives.
    pub fn receive(&self, socket: BorrowedFd<'_>) -> Result<Region> {
        self.check()?;
        self.check_nameless()?;
        check_socket(socket)?;
        let (message, file) = take(socket)?;
        if self.exclusive {
            return Err(Error::Exists { file: Name::HandedOver.into() });
        }
        let status = file::status(file.as_fd()).map_err(|errno| Error::system("fstat", Name::HandedOver, errno))?;
        if status.kind != Kind::Regular {
            return Err(alien("its descriptor is of no file that can be mapped"));
        }
        let writable = message.access == Access::ReadWrite;
        if writable && self.access != Access::ReadWrite {
            // Also a later mapshare_protect may write. Otherwise mmap needs all that was handed over, and refuses less.
            let granted = file::granted(file.as_fd());
            if granted.map_err(|errno| Error::system("fcntl", Name::HandedOver, errno))? != Granted::ReadWrite {
                return Err(alien(GRANTS_LESS));
            }
        }
        if !message.offset.is_multiple_of(Paging::of(file.as_fd(), &status).page_size as u64) {
            return Err(alien("it hands over an offset that is not a multiple of the page size"));
        }
        if self.access == Access::ReadWrite && !writable {
            return Err(Error::AccessExceeded {
                access: self.access.name(),
                granted: "the region was handed over for reading only",
                remedy: "have it sent MAPSHARE_READ_WRITE, or ask for MAPSHARE_READ_ONLY or MAPSHARE_COPY_ON_WRITE",
            });
        }
        let options = self.inside(message)?;
        let memory = seal::of_memory(file.as_fd(), &status);
        let backing = if memory.is_some() { Backing::Anonymous } else { Backing::Fd };
        let user = LastUser::of_descriptor(file.as_fd(), &status);
        let opened = Opened { file, status, backing, writable, seals: memory.unwrap_or(0), user };
        options.map_existing(opened, Name::HandedOver).map_err(|error| match error {
            Error::NotMappable { .. } => alien("its descriptor is of no file that can be mapped"),
            Error::FileTooShort { size, .. } => {
                HandOverError::CutShort { size, offset: message.offset, length: message.length }.into()
            }
            Error::System { call: "mmap", errno, .. } if [Errno::EACCES.0, Errno::EBADF.0].contains(&errno) => {
                alien(GRANTS_LESS)
            }
            error => error,
        })
    }

    /// The options with a range of the file, where theirs counts inside what was handed over.
    fn inside(&self, message: Message) -> Result<Options> {
        let Message { offset, length: limit, .. } = message;
        let length = if self.length == 0 { limit.saturating_sub(self.offset) } else { self.length };
        if length == 0 || self.offset.checked_add(length).is_none_or(|end| end > limit) {
            return Err(HandOverError::OutOfRange { offset: self.offset, length: self.length, limit }.into());
        }
        // The sum is at most the message's own end.
        // No file is made longer because of what a sender says.
        Ok(Options { offset: offset + self.offset, length, create: false, ..self.clone() })
    }
}

/// Takes one message; what it says, and its descriptor.
fn take(socket: BorrowedFd) -> Result<(Message, OwnedFd)> {
    let mut bytes = [0; MESSAGE_LENGTH];
    let (mut done, mut descriptor) = (0, None);
    // Ours come in one piece. Others' may come in several over a stream.
    while done < MESSAGE_LENGTH {
        let piece = when_ready(socket, Direction::In, || socket::receive(socket, &mut bytes[done..]));
        let piece = piece.map_err(|errno| match errno {
            Errno::EINTR | Errno::EAGAIN if done > 0 => alien("a part of it came, and then nothing"),
            errno => failed(socket, errno, "recvmsg"),
        })?;
        done += piece.length;
        let too_many = piece.more > 0 || (descriptor.is_some() && piece.descriptor.is_some());
        descriptor = descriptor.or(piece.descriptor);
        if piece.lost_parts && descriptor.is_none() {
            check_room_for_descriptors(socket)?;
        }
        if piece.lost_parts || piece.is_cut || too_many {
            return Err(alien("it is longer, or carries more than one descriptor"));
        }
        if done < MESSAGE_LENGTH {
            match socket::style(socket) {
                Ok(Style::Stream) if piece.length > 0 => {}
                Ok(Style::Stream) if done == 0 && descriptor.is_none() => return Err(closed(socket)),
                Ok(Style::Packets) if done == 0 && descriptor.is_none() && has_ended(socket) => {
                    return Err(closed(socket));
                }
                _ => return Err(alien("it is too short")),
            }
        }
    }
    let message = Message::decode(&bytes)?;
    descriptor.map(|file| (message, file)).ok_or_else(|| alien("it carries no descriptor"))
}

/// Whether a socket of packets that gave an empty one has no more to give.
fn has_ended(socket: BorrowedFd) -> bool {
    // In this order, since nothing comes behind the end.
    socket::has_hung_up(socket) == Ok(true) && socket::waiting_bytes(socket) == Ok(0)
}

/// Descriptors that were sent do not arrive where this process has no room for them.
fn check_room_for_descriptors(socket: BorrowedFd) -> Result<()> {
    const GONE: &str = "has brought a region, for which this process has no free descriptor, so that it is gone; close \
                        some, or raise RLIMIT_NOFILE (ulimit -n), and have it sent again";
    match file::duplicate(socket) {
        Err(errno @ (Errno::EMFILE | Errno::ENFILE)) => Err(refused(socket, errno, GONE)),
        _ => Ok(()),
    }
}

fn alien(found: &'static str) -> Error {
    HandOverError::Alien { found }.into()
}

fn check_socket(socket: BorrowedFd) -> Result<()> {
    const OTHER: &str = "is no Unix socket, and only those carry descriptors; make one with socketpair(2) or AF_UNIX";
    match socket::is_unix(socket) {
        Ok(true) => Ok(()),
        Ok(false) => Err(refused(socket, Errno::EINVAL, OTHER)),
        Err(errno) => Err(failed(socket, errno, "getsockopt")),
    }
}

fn closed(socket: BorrowedFd) -> Error {
    refused(socket, Errno::EPIPE, "has no other side any more: it was closed")
}

fn refused(socket: BorrowedFd, errno: Errno, found: &'static str) -> Error {
    HandOverError::Socket { fd: socket.as_raw_fd(), found, errno: errno.0 }.into()
}

/// What the kernel says of a socket, in the codes of the table.
fn failed(socket: BorrowedFd, errno: Errno, call: &'static str) -> Error {
    let fd = socket.as_raw_fd();
    let (errno, found) = match errno {
        Errno::EBADF => return Error::BadDescriptor { fd, found: "is not open" },
        Errno::ENOTSOCK => (errno, "is no socket; make one with socketpair(2) or AF_UNIX"),
        Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED => return closed(socket),
        Errno::EAGAIN => {
            (errno, "is not ready, and does not wait (O_NONBLOCK, SO_RCVTIMEO, SO_SNDTIMEO); poll(2) tells when")
        }
        Errno::EINTR => (errno, "was waited for when a signal came; nothing was sent or taken, so call again"),
        Errno::ENOTCONN | Errno::EINVAL | Errno::EOPNOTSUPP => {
            (Errno::EINVAL, "is not connected; connect it, or use the one that accept(2) returned")
        }
        Errno::ETOOMANYREFS => (Errno::EMFILE, "has too many descriptors under way that nobody has received yet"),
        errno => return Error::system(call, format!("socket {fd}"), errno),
    };
    refused(socket, errno, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_laid_out_as_it_says() {
        for (access, number) in [(Access::ReadOnly, 0), (Access::ReadWrite, 1), (Access::CopyOnWrite, 2)] {
            let message = Message { access, offset: 0x0102_0304_0506_1000, length: 0x0708 };
            let bytes = message.encode();
            assert_eq!(bytes[..12], *b"mapshare\x01\0\0\0");
            assert_eq!(bytes[12..16], [number, 0, 0, 0]);
            assert_eq!(bytes[16..], [0, 0x10, 6, 5, 4, 3, 2, 1, 8, 7, 0, 0, 0, 0, 0, 0]);
            assert_eq!(Message::decode(&bytes).unwrap(), message);
        }
    }
}
