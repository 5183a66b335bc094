//! Files and descriptors: openat(2), fstat(2), fallocate(2), linkat(2) and their like.

use super::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The working directory, for the `directory` of the functions here (openat(2), AT_FDCWD).
// SAFETY: AT_FDCWD is not -1 and names no descriptor that could be closed.
pub(crate) const WORKING_DIRECTORY: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    Directory,
    SymbolicLink,
    Fifo,
    Socket,
    BlockDevice,
    CharacterDevice,
}

/// What fstat(2) tells of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) kind: Kind,
    /// Bytes from the start to the end of the file.
    pub(crate) size: u64,
    /// The file system's preferred block, in bytes; the huge page size on hugetlbfs.
    pub(crate) block_size: u64,
    /// Whether it has no name, as memory files.
    pub(crate) is_unnamed: bool,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// The permission bits, those for set-user-ID, set-group-ID and sticky included.
    pub(crate) mode: u32,
    /// The user that it belongs to.
    pub(crate) owner: u32,
}

impl Status {
    /// Device and inode: which file it is.
    pub(crate) fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

impl From<libc::stat> for Status {
    fn from(stat: libc::stat) -> Status {
        Status {
            kind: match stat.st_mode & libc::S_IFMT {
                libc::S_IFDIR => Kind::Directory,
                libc::S_IFLNK => Kind::SymbolicLink,
                libc::S_IFIFO => Kind::Fifo,
                libc::S_IFSOCK => Kind::Socket,
                libc::S_IFBLK => Kind::BlockDevice,
                libc::S_IFCHR => Kind::CharacterDevice,
                _ => Kind::Regular,
            },
            size: stat.st_size.unsigned_abs(),
            block_size: u64::try_from(stat.st_blksize).unwrap_or(0),
            is_unnamed: stat.st_nlink == 0,
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode & 0o7777,
            owner: stat.st_uid,
        }
    }
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMode {
    Read,
    ReadWrite,
}

impl OpenMode {
    fn flags(self) -> i32 {
        match self {
            OpenMode::Read => libc::O_RDONLY,
            OpenMode::ReadWrite => libc::O_RDWR,
        }
    }
}

/// What a descriptor was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    Read,
    Write,
    ReadWrite,
    /// O_PATH: it names a file and grants nothing.
    Nothing,
}

fn openat(directory: BorrowedFd, path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = flags | libc::O_CLOEXEC;
    // SAFETY: the path is NUL-terminated; the kernel checks everything else.
    let result = unsafe { libc::openat(directory.as_raw_fd(), path.as_ptr(), flags, mode) };
    let fd = Errno::check(result)?;
    // SAFETY: openat has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens an existing file; never waits for a FIFO's other end, never takes a terminal.
pub(crate) fn open(directory: BorrowedFd, path: &CStr, mode: OpenMode, follow: bool) -> Result<OwnedFd, Errno> {
    let follow = if follow { 0 } else { libc::O_NOFOLLOW };
    let flags = mode.flags() | follow | libc::O_NONBLOCK | libc::O_NOCTTY;
    openat(directory, path, flags, 0)
}

/// A descriptor that only names a directory, for use as `directory` here.
pub(crate) fn open_directory(directory: BorrowedFd, path: &CStr) -> Result<OwnedFd, Errno> {
    openat(directory, path, libc::O_PATH | libc::O_DIRECTORY, 0)
}

/// As `open_directory`, beneath `directory` only, and through no symbolic link.
pub(crate) fn open_directory_beneath(directory: BorrowedFd, path: &CStr) -> Result<OwnedFd, Errno> {
    openat2_beneath(directory, path, libc::O_PATH | libc::O_DIRECTORY)
}

/// A descriptor that only names what stands at a path beneath `directory`, whatever it is: EXDEV when the path leads out
/// of the directory, ELOOP when a part of it is a symbolic link.
pub(crate) fn name_beneath(directory: BorrowedFd, path: &CStr) -> Result<OwnedFd, Errno> {
    openat2_beneath(directory, path, libc::O_PATH)
}

/// openat2(2). KERNEL: since 5.6; ENOSYS before.
fn openat2_beneath(directory: BorrowedFd, path: &CStr, flags: i32) -> Result<OwnedFd, Errno> {
    const ATTEMPTS: usize = 1000;
    // SAFETY: an open_how is integers, of which zero means nothing.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    let fd = directory.as_raw_fd();
    let mut attempts = 0..ATTEMPTS;
    loop {
        let size = size_of_val(&how);
        // SAFETY: the path is NUL-terminated, and the struct has the size given.
        let result = unsafe { libc::syscall(libc::SYS_openat2, fd, path.as_ptr(), &raw const how, size) };
        if let Ok(fd) = Errno::check_long(result) {
            // SAFETY: openat2 has just made this descriptor and nobody else knows it.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        // EAGAIN: something was renamed while the kernel went through a `..`, so that it could not tell where that leads.
        match Errno::last() {
            Errno::EAGAIN if attempts.next().is_some() => {}
            errno => return Err(errno),
        }
    }
}

/// A new file in `directory` that has no name yet (open(2), O_TMPFILE).
pub(crate) fn create_unnamed(directory: BorrowedFd, mode: u32) -> Result<OwnedFd, Errno> {
    openat(directory, c".", libc::O_TMPFILE | libc::O_RDWR, mode)
}

/// A new file under a name that must be free.
pub(crate) fn create(directory: BorrowedFd, name: &CStr, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
    openat(directory, name, flags, mode)
}

/// Gives the file behind `fd`, unnamed so far, a name that must be free.
/// Source: open(2), the example under O_TMPFILE.
pub(crate) fn link_unnamed(fd: BorrowedFd, directory: BorrowedFd, name: &CStr) -> Result<(), Errno> {
    let mut space = [0u8; 32];
    let path = format_descriptor_path(fd, &mut space);
    match linkat(WORKING_DIRECTORY, path, directory, name, libc::AT_SYMLINK_FOLLOW) {
        // Without /proc there is a way for root, and since 6.10 for whoever has opened the file.
        Err(Errno::ENOENT) => linkat(fd, c"", directory, name, libc::AT_EMPTY_PATH),
        result => result,
    }
}

fn linkat(
    from_directory: BorrowedFd,
    from: &CStr,
    directory: BorrowedFd,
    name: &CStr,
    flags: i32,
) -> Result<(), Errno> {
    let (from_fd, fd) = (from_directory.as_raw_fd(), directory.as_raw_fd());
    // SAFETY: both paths are NUL-terminated.
    let result = unsafe { libc::linkat(from_fd, from.as_ptr(), fd, name.as_ptr(), flags) };
    Errno::check(result).map(drop)
}

/// `/proc/self/fd/N`, the name by which the kernel finds an open descriptor.
fn format_descriptor_path<'a>(fd: BorrowedFd, space: &'a mut [u8; 32]) -> &'a CStr {
    use std::io::Write;
    // Thirty-one bytes hold the prefix and any i32, so the write cannot fail.
    let _ = write!(&mut space[..31], "/proc/self/fd/{}", fd.as_raw_fd());
    CStr::from_bytes_until_nul(space).unwrap_or(c"")
}

/// Moves `from` to `to` in one directory; `to` must be free (renameat2(2), RENAME_NOREPLACE).
pub(crate) fn rename_to_free(directory: BorrowedFd, from: &CStr, to: &CStr) -> Result<(), Errno> {
    let fd = directory.as_raw_fd();
    // SAFETY: both names are NUL-terminated.
    let result =
        unsafe { libc::syscall(libc::SYS_renameat2, fd, from.as_ptr(), fd, to.as_ptr(), libc::RENAME_NOREPLACE) };
    Errno::check_long(result).map(drop)
}

/// Gives the file called `from` a second name that must be free (linkat(2)).
pub(crate) fn link(directory: BorrowedFd, from: &CStr, to: &CStr) -> Result<(), Errno> {
    linkat(directory, from, directory, to, 0)
}

/// Removes a name (unlinkat(2)).
pub(crate) fn unlink(directory: BorrowedFd, name: &CStr) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated.
    let result = unsafe { libc::unlinkat(directory.as_raw_fd(), name.as_ptr(), 0) };
    Errno::check(result).map(drop)
}

/// Sets the permission bits, those for set-user-ID, set-group-ID and sticky included (fchmod(2)).
pub(crate) fn set_mode(fd: BorrowedFd, mode: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    Errno::check(unsafe { libc::fchmod(fd.as_raw_fd(), mode) }).map(drop)
}

/// The user whose rights decide what this process may open.
pub(crate) fn effective_user() -> u32 {
    // SAFETY: it only asks, and cannot fail.
    unsafe { libc::geteuid() }
}

/// The names in a directory, without "." and ".."; one that cannot be read ends them.
pub(crate) fn names_in(directory: &CStr) -> Result<impl Iterator<Item = CString> + use<>, Errno> {
    let entries = std::fs::read_dir(OsStr::from_bytes(directory.to_bytes()));
    let entries = entries.map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(entries.map_while(|entry| CString::new(entry.ok()?.file_name().into_vec()).ok()))
}

/// Where a symbolic link leads; EINVAL when it is not one (readlinkat(2)).
pub(crate) fn read_link(directory: BorrowedFd, path: &CStr) -> Result<Vec<u8>, Errno> {
    let mut target = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer is writable for the length given; the path is NUL-terminated.
    let length =
        unsafe { libc::readlinkat(directory.as_raw_fd(), path.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    let length = usize::try_from(length).map_err(|_| Errno::last())?;
    target.truncate(length);
    Ok(target)
}

/// What stands behind a descriptor.
pub(crate) fn status(fd: BorrowedFd) -> Result<Status, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills the struct or fails.
    Errno::check(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: fstat has succeeded and filled the struct.
    Ok(unsafe { stat.assume_init() }.into())
}

/// What stands at a path, without opening it.
pub(crate) fn status_at(directory: BorrowedFd, path: &CStr, follow: bool) -> Result<Status, Errno> {
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the path is NUL-terminated; the kernel fills the struct or fails.
    let result = unsafe { libc::fstatat(directory.as_raw_fd(), path.as_ptr(), stat.as_mut_ptr(), flags) };
    Errno::check(result)?;
    // SAFETY: fstatat has succeeded and filled the struct.
    Ok(unsafe { stat.assume_init() }.into())
}

/// A borrowed descriptor of a number that a caller passed; EBADF when nothing is open there.
pub(crate) fn duplicate_raw(fd: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: F_DUPFD_CLOEXEC on any number makes a new descriptor or fails.
    let duplicate = Errno::check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: fcntl has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(duplicate) })
}

/// A second, close-on-exec descriptor of the same open file description.
pub(crate) fn duplicate(fd: BorrowedFd) -> Result<OwnedFd, Errno> {
    duplicate_raw(fd.as_raw_fd())
}

/// Opens the file behind a descriptor anew: an open file description of its own, with its own access and locks. The file's
/// permissions decide, as for a path.
/// Source: proc(5), /proc/PID/fd. KERNEL: ENOENT without /proc.
pub(crate) fn reopen(fd: BorrowedFd, mode: OpenMode) -> Result<OwnedFd, Errno> {
    let mut space = [0u8; 32];
    openat(WORKING_DIRECTORY, format_descriptor_path(fd, &mut space), mode.flags() | libc::O_NONBLOCK, 0)
}

/// Closes a descriptor that was kept as a number. Async-signal-safe.
pub(crate) fn close_raw(fd: i32) {
    // SAFETY: the caller has taken the number from where it was kept, so that nobody uses the descriptor any more.
    unsafe { libc::close(fd) };
}

/// What a descriptor was opened for.
pub(crate) fn granted(fd: BorrowedFd) -> Result<Granted, Errno> {
    // SAFETY: F_GETFL only asks.
    let flags = Errno::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    if flags & libc::O_PATH != 0 {
        return Ok(Granted::Nothing);
    }
    Ok(match flags & libc::O_ACCMODE {
        libc::O_RDONLY => Granted::Read,
        libc::O_WRONLY => Granted::Write,
        _ => Granted::ReadWrite,
    })
}

/// The seals that fcntl(2) F_ADD_SEALS knows, by its numbers.
pub(crate) const SEAL_SEAL: u32 = libc::F_SEAL_SEAL as u32;
pub(crate) const SEAL_SHRINK: u32 = libc::F_SEAL_SHRINK as u32;
pub(crate) const SEAL_GROW: u32 = libc::F_SEAL_GROW as u32;
pub(crate) const SEAL_WRITE: u32 = libc::F_SEAL_WRITE as u32;
/// KERNEL: since 5.1; EINVAL before.
pub(crate) const SEAL_FUTURE_WRITE: u32 = libc::F_SEAL_FUTURE_WRITE as u32;

/// The seals of a file that lives in memory, as F_GET_SEALS gives them; None for files that cannot carry any.
pub(crate) fn seals_if_any(fd: BorrowedFd) -> Option<u32> {
    // SAFETY: F_GET_SEALS only asks.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    u32::try_from(seals).ok()
}

/// As `seals_if_any`, 0 for files that cannot carry any.
pub(crate) fn seals(fd: BorrowedFd) -> u32 {
    seals_if_any(fd).unwrap_or(0)
}

/// Adds seals, for good. EBUSY: a mapping that may write stands against SEAL_WRITE. EPERM: sealed against it, or the
/// descriptor is not open for writing. EINVAL: the file cannot carry seals, or this kernel does not know one of them.
pub(crate) fn add_seals(fd: BorrowedFd, seals: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    Errno::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }).map(drop)
}

/// A new memory file, empty, that may be sealed and that nobody can execute. `label` is what /proc shows.
pub(crate) fn create_memory(label: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let create = |flags: libc::c_uint| {
        // SAFETY: a C string.
        Errno::check_long(unsafe { libc::syscall(libc::SYS_memfd_create, label.as_ptr(), flags) })
    };
    let fd = match create(flags | libc::MFD_NOEXEC_SEAL) {
        // KERNEL: before 6.3 the flag is unknown.
        Err(Errno::EINVAL) => create(flags)?,
        result => result?,
    };
    // SAFETY: memfd_create has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The bytes of memory and swap of this machine, where the file takes its bytes from there without a limit of its own, as
/// memory files do; None for other files.
pub(crate) fn memory_behind(fd: BorrowedFd) -> Option<u64> {
    let mut stat = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the kernel fills the struct or fails.
    Errno::check(unsafe { libc::fstatfs(fd.as_raw_fd(), stat.as_mut_ptr()) }).ok()?;
    // SAFETY: fstatfs has succeeded and filled the struct.
    let stat = unsafe { stat.assume_init() };
    if stat.f_type != libc::TMPFS_MAGIC || stat.f_blocks != 0 {
        return None;
    }
    let mut info = MaybeUninit::<libc::sysinfo>::uninit();
    // SAFETY: the kernel fills the struct or fails.
    Errno::check(unsafe { libc::sysinfo(info.as_mut_ptr()) }).ok()?;
    // SAFETY: sysinfo has succeeded and filled the struct.
    let info = unsafe { info.assume_init() };
    Some(info.totalram.saturating_add(info.totalswap).saturating_mul(info.mem_unit.into()))
}

/// Whether the file lives on hugetlbfs, where pages are huge and mapping reserves them.
pub(crate) fn is_hugetlb(fd: BorrowedFd) -> bool {
    let mut stat = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the kernel fills the struct or fails.
    let result = unsafe { libc::fstatfs(fd.as_raw_fd(), stat.as_mut_ptr()) };
    if result == -1 {
        return false;
    }
    // SAFETY: fstatfs has succeeded and filled the struct.
    let stat = unsafe { stat.assume_init() };
    stat.f_type == libc::HUGETLBFS_MAGIC
}

/// Cuts or extends the file to `length` bytes; what is added are holes that read as zeros.
pub(crate) fn set_length(fd: BorrowedFd, length: u64) -> Result<(), Errno> {
    let length = file_position(length)?;
    // SAFETY: no memory is passed.
    Errno::check(unsafe { libc::ftruncate(fd.as_raw_fd(), length) }).map(drop)
}

/// Reserves storage for `length` bytes from `offset`; the file is extended when it is shorter and never cut.
/// What a failure reserved before it struck may stay.
pub(crate) fn allocate(fd: BorrowedFd, offset: u64, length: u64) -> Result<(), Errno> {
    let offset = file_position(offset)?;
    let length = file_position(length)?;
    loop {
        // SAFETY: no memory is passed.
        let result = unsafe { libc::fallocate(fd.as_raw_fd(), 0, offset, length) };
        match Errno::check(result) {
            Err(Errno::EINTR) => continue,
            result => return result.map(drop),
        }
    }
}

/// Reserves storage for bytes inside the file; its length stays. Async-signal-safe.
pub(crate) fn allocate_inside(fd: BorrowedFd, offset: u64, length: u64) -> Result<(), Errno> {
    let offset = file_position(offset)?;
    let length = file_position(length)?;
    // SAFETY: no memory is passed.
    let result = unsafe { libc::fallocate(fd.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, offset, length) };
    Errno::check(result).map(drop)
}

/// Whether the file system has no block left for this user. Async-signal-safe.
pub(crate) fn is_on_full_file_system(fd: BorrowedFd) -> bool {
    let mut stat = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the kernel fills the struct or fails.
    if unsafe { libc::fstatfs(fd.as_raw_fd(), stat.as_mut_ptr()) } == -1 {
        return false;
    }
    // SAFETY: fstatfs has succeeded and filled the struct.
    let stat = unsafe { stat.assume_init() };
    // File systems without a limit, as that of memfds, count no blocks at all.
    stat.f_blocks > 0 && stat.f_bavail == 0
}

/// Writes `bytes` behind the end of the file, wherever that is by then; how many were written.
/// KERNEL: since 4.16 (pwritev2(2), RWF_APPEND); EOPNOTSUPP before.
pub(crate) fn append(fd: BorrowedFd, bytes: &[u8]) -> Result<usize, Errno> {
    let piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let (pieces, nowhere): (libc::c_ulong, libc::c_ulong) = (1, 0);
    let flags = libc::RWF_APPEND;
    // SAFETY: the one piece is readable for its length; the kernel only reads it.
    let done =
        unsafe { libc::syscall(libc::SYS_pwritev2, fd.as_raw_fd(), &raw const piece, pieces, nowhere, nowhere, flags) };
    usize::try_from(done).map_err(|_| Errno::last())
}

/// Starts writing the range's changed pages to the device without waiting (sync_file_range(2)).
pub(crate) fn start_writing(fd: BorrowedFd, offset: u64, length: u64) -> Result<(), Errno> {
    let offset = file_position(offset)?;
    let length = file_position(length)?;
    let flags = libc::SYNC_FILE_RANGE_WRITE;
    // SAFETY: no memory is passed.
    Errno::check(unsafe { libc::sync_file_range(fd.as_raw_fd(), offset, length, flags) }).map(drop)
}

/// The longest file that this process may make (getrlimit(2), RLIMIT_FSIZE); past it the kernel sends SIGXFSZ.
pub(crate) fn length_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the kernel fills the struct or leaves it.
    unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) };
    limit.rlim_cur
}

/// The kernel counts file bytes in a signed 64-bit number.
fn file_position(bytes: u64) -> Result<i64, Errno> {
    i64::try_from(bytes).map_err(|_| Errno::EFBIG)
}
