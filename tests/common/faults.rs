//! What the tests of faults share: memory that faults, signal dispositions, full and failing file systems.

#![allow(dead_code, reason = "each test file uses a part of it")]

use super::common::c::{self, Token};
use super::common::files::{self, Folder};
use super::common::{Failure, Outcome, create, mapshare_options, page, skip};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Reads a byte of memory that others may change or that may fault.
#[inline(never)]
pub(crate) fn peek(address: *const u8) -> u8 {
    // SAFETY: callers pass mapped addresses; a fault there is what they are about.
    unsafe { address.read_volatile() }
}

/// Writes a byte, likewise.
#[inline(never)]
pub(crate) fn poke(address: *mut u8, byte: u8) {
    // SAFETY: as in `peek`.
    unsafe { address.write_volatile(byte) }
}

/// Pages of a file that has none any more, mapped by the test itself: touching them is a SIGBUS that is not ours.
pub(crate) struct Foreign {
    pub(crate) address: *mut u8,
    pub(crate) length: usize,
}

// SAFETY: an address; what is done with it is up to the test.
unsafe impl Send for Foreign {}
// SAFETY: as above.
unsafe impl Sync for Foreign {}

impl Foreign {
    pub(crate) fn new(folder: &Folder) -> Foreign {
        let length = 4 * page() as usize;
        let path = folder.file("foreign", length as u64);
        let file = File::options().read(true).write(true).open(&path).expect("it was made");
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, file.as_raw_fd(), 0) };
        assert_ne!(address, libc::MAP_FAILED);
        files::set_length(&path, 0);
        Foreign { address: address.cast(), length }
    }

    /// The address of a page of it.
    pub(crate) fn page(&self, number: usize) -> *mut u8 {
        let offset = number * page() as usize;
        assert!(offset < self.length);
        self.address.wrapping_add(offset)
    }

    /// Makes its pages fault again after `mend`.
    pub(crate) fn break_again(&self, folder: &Folder) {
        let file = File::options().read(true).write(true).open(folder.join("foreign")).expect("it is there");
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_FIXED);
        let address = self.address.cast();
        // SAFETY: over the mapping of our own.
        let mapped = unsafe { libc::mmap(address, self.length, protection, flags, file.as_raw_fd(), 0) };
        assert_eq!(mapped, address);
    }
}

/// Puts a page of memory at an address; for handlers that go on after a fault.
pub(crate) fn mend(address: usize) {
    let page = page() as usize;
    let start = std::ptr::without_provenance_mut(address - address % page);
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the page is of a `Foreign`.
    unsafe { libc::mmap(start, page, protection, flags | libc::MAP_FIXED, -1, 0) };
}

/// What SIGBUS does now: function and flags.
pub(crate) fn disposition() -> (usize, i32) {
    let action = action();
    // The C library adds SA_RESTORER.
    (action.sa_sigaction, action.sa_flags & !0x0400_0000)
}

pub(crate) fn action() -> libc::sigaction {
    // SAFETY: all zeros is a sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the struct.
    assert_eq!(unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut action) }, 0);
    action
}

/// Sets what SIGBUS does; what it did.
pub(crate) fn install(function: usize, flags: i32, blocked: &[i32]) -> libc::sigaction {
    let before = action();
    // SAFETY: all zeros is a sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    (action.sa_sigaction, action.sa_flags) = (function, flags);
    for signal in blocked {
        // SAFETY: a set of our own.
        unsafe { libc::sigaddset(&mut action.sa_mask, *signal) };
    }
    // SAFETY: the function is a handler of the kind that the flags say.
    assert_eq!(unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) }, 0);
    before
}

pub(crate) type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Installs a handler that gets the whole story.
pub(crate) fn install_handler(handler: Handler, flags: i32) -> libc::sigaction {
    install(handler as *const () as usize, flags | libc::SA_SIGINFO, &[])
}

/// Calls the handler that an earlier action names, as hosts that chain do.
pub(crate) fn call(handler: usize, signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: an action with SA_SIGINFO names such a function.
    let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
    handler(signal, info, context);
}

/// Whether this thread has the signal blocked.
pub(crate) fn is_blocked(signal: i32) -> bool {
    // SAFETY: all zeros is a set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the set.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut set) };
    // SAFETY: it only asks.
    unsafe { libc::sigismember(&set, signal) == 1 }
}

pub(crate) fn block(signal: i32, how: i32) {
    // SAFETY: all zeros is a set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a set of our own.
    unsafe { libc::sigaddset(&mut set, signal) };
    // SAFETY: a thread may change its mask.
    assert_eq!(unsafe { libc::pthread_sigmask(how, &set, std::ptr::null_mut()) }, 0);
}

/// "offset O could not be accessed, after D of L bytes" as numbers.
pub(crate) fn told(failure: &Failure) -> (u64, u64, u64) {
    let numbers: Vec<u64> =
        failure.text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
    assert!(numbers.len() >= 3, "offset, bytes done and bytes asked for: {}", failure.text);
    (numbers[0], numbers[1], numbers[2])
}

/// Checks that a call failed with this code, at this offset, after so many of so many bytes.
#[track_caller]
pub(crate) fn failed_at<T: std::fmt::Debug>(outcome: Outcome<T>, code: i32, offset: u64, done: u64, length: u64) {
    let failure = outcome.expect_err("it fails");
    assert_eq!((failure.code, told(&failure)), (code, (offset, done, length)), "{}", failure.text);
}

/// Bytes that differ from their neighbours, and from those a page further.
pub(crate) fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 7 + at / 251 + seed * 31) % 255 + 1) as u8).collect()
}

/// A region that can grow to twice its pages, its file, and its bytes.
pub(crate) fn region_with_pattern(folder: &Folder, name: &str, pages: u64) -> (Token, PathBuf, Vec<u8>) {
    let path = folder.join(name);
    let options = mapshare_options { reserve: 2 * pages * page(), ..create(pages * page()) };
    let region = c::open(&path, &options).expect("a new file");
    let bytes = pattern((pages * page()) as usize, name.len());
    region.write(0, &bytes).expect("room");
    (region, path, bytes)
}

/// The address so many pages and bytes behind another.
pub(crate) fn at(view: *mut u8, pages: u64, bytes: usize) -> *mut u8 {
    view.wrapping_add((pages * page()) as usize + bytes)
}

/// Writes a file of that name until its file system is full.
pub(crate) fn fill_up(path: &Path) {
    let file = File::create(path).expect("a new file");
    let mut at = 0;
    for piece in [1 << 20, 4096] {
        let zeros = vec![0x55; piece];
        loop {
            match std::os::unix::fs::FileExt::write_at(&file, &zeros, at) {
                Ok(written) => at += written as u64,
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => break,
                Err(error) => panic!("filling: {error}"),
            }
        }
    }
}

/// An ext4 file system in a file, mounted where this process alone sees it.
pub(crate) struct Ext4 {
    folder: Folder,
    at: PathBuf,
}

impl Ext4 {
    /// None, and says why, where it cannot be had.
    pub(crate) fn new(megabytes: u64) -> Option<Ext4> {
        let folder = Folder::new();
        let image = folder.file("image", megabytes << 20);
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        };
        let at = folder.join("mounted");
        std::fs::create_dir(&at).expect("a new directory");
        let (image, target) = (image.to_str()?.to_owned(), at.to_str()?.to_owned());
        // SAFETY: no memory is passed.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            skip(&format!("no mount namespace of its own: {}", std::io::Error::last_os_error()));
            return None;
        }
        let made = run("mount", &["--make-rprivate", "/"])
            .and_then(|()| run("mkfs.ext4", &["-q", "-m", "0", "-O", "^has_journal", &image]))
            .and_then(|()| run("mount", &["-o", "loop", &image, &target]));
        match made {
            Ok(()) => Some(Ext4 { folder, at }),
            Err(why) => {
                skip(&format!("no ext4 on a loop device here: {}", why.trim()));
                None
            }
        }
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// The file that it lies in.
    pub(crate) fn image(&self) -> PathBuf {
        self.folder.join("image")
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Lets the memory that caches a file go, so that the next access asks the device.
pub(crate) fn drop_cache(path: &Path) {
    let file = File::open(path).expect("it is there");
    file.sync_all().expect("written");
    // SAFETY: no memory is passed.
    let result = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(result, 0);
}

/// Deallocates a part of a file.
pub(crate) fn punch_hole(path: &Path, offset: u64, length: u64) {
    let file = File::options().write(true).open(path).expect("it is there");
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::fallocate(file.as_raw_fd(), mode, offset as i64, length as i64) }, 0);
}

/// A counter that signal handlers may use.
pub(crate) struct Counter(AtomicUsize);

impl Counter {
    pub(crate) const fn new() -> Counter {
        Counter(AtomicUsize::new(0))
    }

    pub(crate) fn add(&self) -> usize {
        self.0.fetch_add(1, SeqCst) + 1
    }

    pub(crate) fn set(&self, value: usize) {
        self.0.store(value, SeqCst);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}
