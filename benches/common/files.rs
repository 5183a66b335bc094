//! Files to map, and the rival's way to map them.

use super::machine::scribble;
use std::ffi::{CStr, CString, c_void};
use std::fs;
use std::io::Error;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A file that goes away with the value.
pub(crate) struct File {
    path: PathBuf,
    c_path: CString,
}

impl File {
    /// A file of so many non-zero bytes.
    pub(crate) fn new(directory: &str, length: usize) -> File {
        let (process, number) = (std::process::id(), next_number());
        let path = Path::new(directory).join(format!("mapshare-bench-{process}-{number}"));
        let mut bytes = vec![0; length];
        scribble(&mut bytes);
        fs::write(&path, &bytes).expect("there is room for the file");
        let c_path = CString::new(path.as_os_str().as_bytes()).expect("no NUL inside");
        File { path, c_path }
    }

    pub(crate) fn c_path(&self) -> &CStr {
        &self.c_path
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Nobody to tell.
        let _ = fs::remove_file(&self.path);
    }
}

fn next_number() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) // ORDER: Relaxed, only that each number is given out once
}

/// Pages mapped without this library.
pub(crate) struct RawMapping {
    address: *mut c_void,
    length: usize,
}

impl RawMapping {
    /// Shared pages of a file, written once so that no access faults.
    pub(crate) fn of(file: &File, length: usize) -> RawMapping {
        // SAFETY: a C string.
        let fd = unsafe { libc::open(file.c_path().as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        assert!(fd >= 0, "open: {}", Error::last_os_error());
        let mapping = RawMapping::map(fd, libc::MAP_SHARED, length);
        // SAFETY: it was opened above.
        unsafe { libc::close(fd) };
        mapping
    }

    /// Private memory on whole pages, as a buffer, full of bytes that are not zero.
    pub(crate) fn anonymous(length: usize) -> RawMapping {
        let mut mapping = RawMapping::map(-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, length);
        scribble(mapping.bytes());
        mapping
    }

    fn map(fd: i32, flags: i32, length: usize) -> RawMapping {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping; nothing is replaced.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, fd, 0) };
        assert_ne!(address, libc::MAP_FAILED, "mmap: {}", Error::last_os_error());
        let mut mapping = RawMapping { address, length };
        for page in mapping.bytes().chunks_mut(4096) {
            // Written over itself, so that the page is in memory and may be written.
            page[0] = std::hint::black_box(page[0]);
        }
        mapping
    }

    pub(crate) fn at(&self, offset: usize) -> *mut c_void {
        assert!(offset <= self.length);
        self.address.cast::<u8>().wrapping_add(offset).cast()
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the pages are mapped and this value's; the benches change them through pointers only while no such
        // slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.address.cast(), self.length) }
    }
}

impl Drop for RawMapping {
    fn drop(&mut self) {
        // SAFETY: the pages are this value's.
        unsafe { libc::munmap(self.address, self.length) };
    }
}
