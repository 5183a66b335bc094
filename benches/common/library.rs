//! The shared library, as a C program or ctypes calls it: found at run time, through pointers.

use mapshare::ffi::options::{mapshare_options, mapshare_region};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// memcpy(3) as programs that do not have it inlined call it.
pub(crate) type Memcpy = unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> *mut c_void;
pub(crate) type Memset = unsafe extern "C" fn(*mut c_void, c_int, usize) -> *mut c_void;

type Open = unsafe extern "C" fn(*const c_char, *const mapshare_options, usize, *mut *mut mapshare_region) -> c_int;
type Unlink = unsafe extern "C" fn(*const c_char) -> c_int;
type Unmap = unsafe extern "C" fn(*mut mapshare_region) -> c_int;
type Read = unsafe extern "C" fn(*mut mapshare_region, u64, *mut c_void, usize) -> c_int;
type Write = unsafe extern "C" fn(*mut mapshare_region, u64, *const c_void, usize) -> c_int;
type Fill = unsafe extern "C" fn(*mut mapshare_region, u64, u64, u32) -> c_int;
type LastError = unsafe extern "C" fn() -> *const c_char;

/// The functions that the benches call.
#[derive(Clone, Copy)]
pub(crate) struct Library {
    open: Open,
    open_named: Open,
    unlink_named: Unlink,
    unmap: Unmap,
    pub(crate) read: Read,
    pub(crate) write: Write,
    pub(crate) fill: Fill,
    last_error: LastError,
}

/// What stands behind a name, as a function of a type.
macro_rules! function {
    ($handle:expr, $name:expr, $function:ty) => {{
        let address = symbol($handle, $name);
        // SAFETY: not NULL, and the function has the type that its header says.
        unsafe { std::mem::transmute::<*mut c_void, $function>(address) }
    }};
}

/// A region's token.
#[derive(Clone, Copy)]
pub(crate) struct Token(pub(crate) *mut mapshare_region);

// SAFETY: a token is a number, which any thread may use.
unsafe impl Send for Token {}
// SAFETY: as above.
unsafe impl Sync for Token {}

impl Library {
    /// Loads the library that was built beside this program, or the one that MAPSHARE_LIBRARY names.
    pub(crate) fn load() -> Library {
        let path = CString::new(Library::path().as_os_str().as_bytes()).expect("no NUL inside");
        // SAFETY: a C string; the library does nothing when it is loaded.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{path:?} cannot be loaded: {}", dl_error());
        Library {
            open: function!(handle, c"mapshare_open", Open),
            open_named: function!(handle, c"mapshare_open_named", Open),
            unlink_named: function!(handle, c"mapshare_unlink_named", Unlink),
            unmap: function!(handle, c"mapshare_unmap", Unmap),
            read: function!(handle, c"mapshare_read", Read),
            write: function!(handle, c"mapshare_write", Write),
            fill: function!(handle, c"mapshare_fill", Fill),
            last_error: function!(handle, c"mapshare_last_error", LastError),
        }
    }

    /// Where it is. Cargo puts the library of the same profile beside the benches.
    pub(crate) fn path() -> PathBuf {
        if let Some(path) = std::env::var_os("MAPSHARE_LIBRARY") {
            return path.into();
        }
        let program = std::env::current_exe().expect("/proc is there");
        program.with_file_name("libmapshare.so")
    }

    pub(crate) fn open(&self, path: &CStr, options: &mapshare_options) -> Token {
        self.open_by(self.open, path, options)
    }

    pub(crate) fn open_named(&self, name: &CStr, options: &mapshare_options) -> Token {
        self.open_by(self.open_named, name, options)
    }

    fn open_by(&self, open: Open, name: &CStr, options: &mapshare_options) -> Token {
        let mut region = std::ptr::null_mut();
        // SAFETY: a C string, a whole struct, and room for the token.
        let code = unsafe { open(name.as_ptr(), options, size_of_val(options), &mut region) };
        self.check(code);
        Token(region)
    }

    pub(crate) fn unlink_named(&self, name: &CStr) {
        // SAFETY: a C string.
        self.check(unsafe { (self.unlink_named)(name.as_ptr()) });
    }

    pub(crate) fn unmap(&self, region: Token) {
        // SAFETY: any token may be passed.
        self.check(unsafe { (self.unmap)(region.0) });
    }

    /// Ends the program with the library's own words unless `code` is good.
    pub(crate) fn check(&self, code: c_int) {
        if code < 0 {
            // SAFETY: it may always be called.
            let text = unsafe { (self.last_error)() };
            // SAFETY: the library gives a C string that stays until this thread's next failure.
            let text = unsafe { CStr::from_ptr(text) };
            panic!("{code}: {}", text.to_string_lossy());
        }
    }
}

/// The C library's memcpy, the one that it chose for this processor.
pub(crate) fn memcpy() -> Memcpy {
    function!(libc::RTLD_DEFAULT, c"memcpy", Memcpy)
}

/// The C library's memset, the one that it chose for this processor.
pub(crate) fn memset() -> Memset {
    function!(libc::RTLD_DEFAULT, c"memset", Memset)
}

fn symbol(handle: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: an open handle and a C string.
    let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?} is missing: {}", dl_error());
    address
}

fn dl_error() -> String {
    // SAFETY: a C string of the loader, or NULL.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not NULL, so a C string that stays until the next call of the loader on this thread.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
