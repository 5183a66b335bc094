//! Temporary folders, small file systems, and files in every state.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A directory that goes away, with all that is in it; any user may use it.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder::within(&std::env::temp_dir())
    }

    /// On the file system of shared memory.
    pub(crate) fn in_memory() -> Folder {
        Folder::within(Path::new("/dev/shm"))
    }

    fn within(parent: &Path) -> Folder {
        let folder = tempfile::tempdir_in(parent).expect("a temporary directory");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("our own directory");
        Folder(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A file of `length` zero bytes, with holes.
    pub(crate) fn file(&self, name: &str, length: u64) -> PathBuf {
        let path = self.join(name);
        set_length(&path, length);
        path
    }

    pub(crate) fn file_with(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, bytes).expect("a new file");
        path
    }

    /// The names in it.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.path())
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a directory");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("a name").file_name().display().to_string()).collect();
    names.sort();
    names
}

pub(crate) fn set_length(path: &Path, length: u64) {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).expect("a file");
    file.set_len(length).expect("its length");
}

pub(crate) fn length_of(path: &Path) -> u64 {
    fs::metadata(path).expect("the file is there").len()
}

/// Bytes of storage that a file holds.
pub(crate) fn storage_of(path: &Path) -> u64 {
    fs::metadata(path).expect("the file is there").blocks() * 512
}

pub(crate) fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.write_all_at(bytes, offset).expect("written");
}

pub(crate) fn read_at(path: &Path, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    File::open(path).expect("a file").read_exact_at(&mut bytes, offset).expect("the bytes are there");
    bytes
}

pub(crate) fn make_fifo(path: &Path) {
    let name = c_name(path);
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o666) }, 0);
}

fn c_name(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL inside")
}

/// A file system of its own, seen by this process only; it goes away with it.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// Mounts in this process's own namespace; None, and says why, when that is not permitted here.
    pub(crate) fn new(kind: &str, at: &Path, options: &str) -> Option<Mounted> {
        let (kind_name, target, data) = (CString::new(kind).ok()?, c_name(at), CString::new(options).ok()?);
        // SAFETY: no memory is passed.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            super::skip(&format!("no mount namespace of its own: {}", std::io::Error::last_os_error()));
            return None;
        }
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: C strings and NULL where mount(2) allows it.
        let private =
            unsafe { libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), flags, std::ptr::null()) };
        assert_eq!(private, 0, "the namespace is ours");
        // SAFETY: C strings.
        let mounted =
            unsafe { libc::mount(c"none".as_ptr(), target.as_ptr(), kind_name.as_ptr(), 0, data.as_ptr().cast()) };
        if mounted != 0 {
            super::skip(&format!("{kind} cannot be mounted: {}", std::io::Error::last_os_error()));
            return None;
        }
        Some(Mounted(at.to_owned()))
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.0)
    }

    /// Free bytes.
    pub(crate) fn free(&self) -> u64 {
        let name = c_name(&self.0);
        let mut stat = std::mem::MaybeUninit::<libc::statfs>::uninit();
        // SAFETY: the kernel fills the struct or fails.
        assert_eq!(unsafe { libc::statfs(name.as_ptr(), stat.as_mut_ptr()) }, 0);
        // SAFETY: it was filled.
        let stat = unsafe { stat.assume_init() };
        stat.f_bfree * stat.f_bsize.unsigned_abs()
    }

    pub(crate) fn make_read_only(&self) {
        let name = c_name(&self.0);
        let flags = libc::MS_REMOUNT | libc::MS_RDONLY;
        // SAFETY: C strings and NULL where mount(2) allows it.
        let result = unsafe { libc::mount(c"none".as_ptr(), name.as_ptr(), std::ptr::null(), flags, std::ptr::null()) };
        assert_eq!(result, 0);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let name = c_name(&self.0);
        // SAFETY: a C string.
        unsafe { libc::umount2(name.as_ptr(), libc::MNT_DETACH) };
    }
}

/// Runs a test in a process of its own with a small tmpfs of its own.
pub(crate) fn on_small_tmpfs<F: Fn()>(test: F, body: impl FnOnce(&Mounted)) {
    on_file_system(test, "tmpfs", "size=2m,mode=777", body);
}

/// As `on_small_tmpfs`, on any kind of file system that needs no device.
pub(crate) fn on_file_system<F: Fn()>(test: F, kind: &str, options: &str, body: impl FnOnce(&Mounted)) {
    super::in_own_process(test, || {
        let folder = Folder::new();
        if let Some(mounted) = Mounted::new(kind, folder.path(), options) {
            body(&mounted);
        }
    });
}
