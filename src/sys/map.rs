//! Pages: mmap(2), mprotect(2), msync(2), madvise(2) and their like.

use super::Errno;
use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// What a program may do with pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    Read,
    ReadWrite,
}

impl Protection {
    fn flags(self) -> i32 {
        match self {
            Protection::Read => libc::PROT_READ,
            Protection::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        }
    }
}

/// Whether writes reach the file or stay in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    Shared,
    Private,
}

impl Sharing {
    fn flags(self) -> i32 {
        match self {
            Sharing::Shared => libc::MAP_SHARED,
            Sharing::Private => libc::MAP_PRIVATE,
        }
    }
}

/// What a program expects to do with pages, or asks of the kernel for them (madvise(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    Normal,
    Sequential,
    Random,
    WillNeed,
    DontNeed,
    HugePages,
    PopulateRead,
    PopulateWrite,
}

impl Advice {
    fn flags(self) -> i32 {
        match self {
            Advice::Normal => libc::MADV_NORMAL,
            Advice::Sequential => libc::MADV_SEQUENTIAL,
            Advice::Random => libc::MADV_RANDOM,
            Advice::WillNeed => libc::MADV_WILLNEED,
            Advice::DontNeed => libc::MADV_DONTNEED,
            Advice::HugePages => libc::MADV_HUGEPAGE,
            Advice::PopulateRead => libc::MADV_POPULATE_READ,
            Advice::PopulateWrite => libc::MADV_POPULATE_WRITE,
        }
    }
}

/// Bytes in a page of this machine.
pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf only asks.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

fn checked(address: *mut c_void) -> Result<NonNull<u8>, Errno> {
    if address == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    NonNull::new(address.cast()).ok_or(Errno::ENOMEM)
}

/// Maps `length` bytes of a file from `offset`, at an address that the kernel chooses.
pub(crate) fn map(
    fd: BorrowedFd,
    offset: u64,
    length: usize,
    protection: Protection,
    sharing: Sharing,
) -> Result<NonNull<u8>, Errno> {
    let offset = i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: without MAP_FIXED the kernel takes free addresses only.
    let address = unsafe {
        libc::mmap(std::ptr::null_mut(), length, protection.flags(), sharing.flags(), fd.as_raw_fd(), offset)
    };
    checked(address)
}

/// Maps a file over pages that the caller owns already.
///
/// # Safety
/// `length` bytes from `address` belong to the caller's own mapping and nobody holds references into them.
pub(crate) unsafe fn map_over(
    address: NonNull<u8>,
    fd: BorrowedFd,
    offset: u64,
    length: usize,
    protection: Protection,
    sharing: Sharing,
) -> Result<(), Errno> {
    let offset = i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the caller owns the pages that are replaced.
    let address = unsafe {
        libc::mmap(
            address.as_ptr().cast(),
            length,
            protection.flags(),
            sharing.flags() | libc::MAP_FIXED,
            fd.as_raw_fd(),
            offset,
        )
    };
    checked(address).map(drop)
}

/// Puts private pages of zeros over pages that the caller owns already. Async-signal-safe.
///
/// # Safety
/// `length` bytes from `address` belong to the caller's own mapping and nobody holds references into them.
pub(crate) unsafe fn map_zeros_over(address: NonNull<u8>, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller owns the pages that are replaced.
    let address = unsafe {
        libc::mmap(
            address.as_ptr().cast(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    checked(address).map(drop)
}

/// Pages of zeros that nobody else has. Async-signal-safe, unlike malloc.
pub(crate) fn zero_pages(length: usize) -> Result<NonNull<u8>, Errno> {
    // SAFETY: without MAP_FIXED the kernel takes free addresses only.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    checked(address)
}

/// Keeps `length` bytes of address space free of anything else; touching them is a fault.
pub(crate) fn reserve(length: usize) -> Result<NonNull<u8>, Errno> {
    // SAFETY: without MAP_FIXED the kernel takes free addresses only.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    checked(address)
}

/// Gives pages back.
///
/// # Safety
/// `length` bytes from `address` belong to the caller's own mapping, and nobody uses them any more.
pub(crate) unsafe fn unmap(address: NonNull<u8>, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller owns the pages and gives them up.
    let result = unsafe { libc::munmap(address.as_ptr().cast(), length) };
    Errno::check(result).map(drop)
}

/// Makes a mapping longer or shorter; it may move to other addresses.
///
/// # Safety
/// `length` bytes from `address` are one mapping of the caller's, and nobody uses the old addresses any more.
pub(crate) unsafe fn remap(address: NonNull<u8>, length: usize, new_length: usize) -> Result<NonNull<u8>, Errno> {
    let old = address.as_ptr().cast();
    // SAFETY: the caller owns the pages and has no pointer into them.
    let address = unsafe { libc::mremap(old, length, new_length, libc::MREMAP_MAYMOVE) };
    checked(address)
}

/// Changes what may be done with pages.
///
/// # Safety
/// `length` bytes from `address` belong to the caller's own mapping; nobody is about to write where writing ends.
pub(crate) unsafe fn protect(address: NonNull<u8>, length: usize, protection: Protection) -> Result<(), Errno> {
    // SAFETY: the caller owns the pages.
    let result = unsafe { libc::mprotect(address.as_ptr().cast(), length, protection.flags()) };
    Errno::check(result).map(drop)
}

/// Brings changed pages to the file and waits for the device (msync(2), MS_SYNC).
///
/// # Safety
/// `length` bytes from `address` belong to the caller's own mapping.
pub(crate) unsafe fn synchronize(address: NonNull<u8>, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller owns the pages; msync does not change them.
    let result = unsafe { libc::msync(address.as_ptr().cast(), length, libc::MS_SYNC) };
    Errno::check(result).map(drop)
}

/// Passes advice for pages to the kernel.
///
/// # Safety
/// `length` bytes from `address` belong to the caller's own mapping; with `DontNeed` it is a shared one,
/// whose bytes the file keeps.
pub(crate) unsafe fn advise(address: NonNull<u8>, length: usize, advice: Advice) -> Result<(), Errno> {
    // SAFETY: the caller owns the pages; none of these advices changes what stands in them.
    let result = unsafe { libc::madvise(address.as_ptr().cast(), length, advice.flags()) };
    Errno::check(result).map(drop)
}

/// Keeps pages in memory until they are unmapped (mlock(2)).
///
/// # Safety
/// `length` bytes from `address` belong to the caller's own mapping.
pub(crate) unsafe fn lock(address: NonNull<u8>, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller owns the pages; locking does not change what stands in them.
    let result = unsafe { libc::mlock(address.as_ptr().cast(), length) };
    Errno::check(result).map(drop)
}

/// Tells of each page whether it is in memory: bit 0 of one byte a page (mincore(2)).
///
/// # Safety
/// The pages from `address`, one for each byte of `pages`, belong to the caller's own mapping.
pub(crate) unsafe fn residency(address: NonNull<u8>, page_size: usize, pages: &mut [u8]) -> Result<(), Errno> {
    let length = pages.len() * page_size;
    // SAFETY: the buffer has one byte for each page asked about.
    let result = unsafe { libc::mincore(address.as_ptr().cast(), length, pages.as_mut_ptr()) };
    Errno::check(result).map(drop)
}

/// Pages of a file's range that are in memory, whoever has brought them there (cachestat(2)). KERNEL: since 6.5, and not
/// of hugetlbfs; before 6.5 ENOSYS.
pub(crate) fn cached_pages(fd: BorrowedFd, offset: u64, length: u64) -> Result<u64, Errno> {
    const SYS_CACHESTAT: libc::c_long = 451; // one number on all architectures
    let range = [offset, length];
    // In memory, changed, being written, evicted, evicted recently.
    let mut counts = [0u64; 5];
    // SAFETY: the kernel reads the two numbers of the range and fills in the five counts.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, fd.as_raw_fd(), range.as_ptr(), counts.as_mut_ptr(), 0) };
    if result == 0 { Ok(counts[0]) } else { Err(Errno::last()) }
}
