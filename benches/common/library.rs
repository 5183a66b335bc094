//! The shared library, as a C program or ctypes calls it: found at run time, through pointers.

use mapshare::ffi::options::{mapshare_options, mapshare_region};
use mapshare::ffi::queue::mapshare_queue;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// memcpy(3) as programs that do not have it inlined call it.
pub(crate) type Memcpy = unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> *mut c_void;
pub(crate) type Memset = unsafe extern "C" fn(*mut c_void, c_int, usize) -> *mut c_void;

type Open = unsafe extern "C" fn(*const c_char, *const mapshare_options, usize, *mut *mut mapshare_region) -> c_int;
type Unlink = unsafe extern "C" fn(*const c_char) -> c_int;
type OpenAnonymous = unsafe extern "C" fn(*const mapshare_options, usize, *mut *mut mapshare_region) -> c_int;
type HandOver = unsafe extern "C" fn(*mut mapshare_region, c_int, u32) -> c_int;
type Receive = unsafe extern "C" fn(c_int, *const mapshare_options, usize, *mut *mut mapshare_region) -> c_int;
type Seal = unsafe extern "C" fn(*mut mapshare_region, u32) -> c_int;
type Unmap = unsafe extern "C" fn(*mut mapshare_region) -> c_int;
type Read = unsafe extern "C" fn(*mut mapshare_region, u64, *mut c_void, usize) -> c_int;
type Write = unsafe extern "C" fn(*mut mapshare_region, u64, *const c_void, usize) -> c_int;
type Fill = unsafe extern "C" fn(*mut mapshare_region, u64, u64, u32) -> c_int;
type AtomicLoad = unsafe extern "C" fn(*mut mapshare_region, u64, *mut u64) -> c_int;
type AtomicAdd = unsafe extern "C" fn(*mut mapshare_region, u64, u64, *mut u64) -> c_int;
type AtomicStore = extern "C" fn(*mut mapshare_region, u64, u64) -> c_int;
type AtomicCompareSwap = unsafe extern "C" fn(*mut mapshare_region, u64, u64, u64, *mut u64) -> c_int;
type MutexInit = extern "C" fn(*mut mapshare_region, u64) -> c_int;
type MutexLock = extern "C" fn(*mut mapshare_region, u64, i64) -> c_int;
type CellInit = extern "C" fn(*mut mapshare_region, u64, u64) -> c_int;
type CellPublish = unsafe extern "C" fn(*mut mapshare_region, u64, *const c_void, usize) -> c_int;
type CellRead = unsafe extern "C" fn(*mut mapshare_region, u64, *mut c_void, usize, *mut u64) -> c_int;
type QueueInit = extern "C" fn(*mut mapshare_region, u64, u64, u32) -> c_int;
type QueueOpen = unsafe extern "C" fn(*mut mapshare_region, u64, u32, *mut *mut mapshare_queue) -> c_int;
type QueuePush = unsafe extern "C" fn(*mut mapshare_queue, *const c_void, usize, i64) -> c_int;
type QueuePop = unsafe extern "C" fn(*mut mapshare_queue, *mut c_void, usize, i64) -> i64;
type QueueReserve = unsafe extern "C" fn(*mut mapshare_queue, usize, i64, *mut *mut c_void) -> c_int;
type QueueCommit = extern "C" fn(*mut mapshare_queue, usize) -> c_int;
type QueuePeek = unsafe extern "C" fn(*mut mapshare_queue, i64, *mut *const c_void) -> i64;
type QueueClose = extern "C" fn(*mut mapshare_queue) -> c_int;
type LastError = unsafe extern "C" fn() -> *const c_char;

/// The functions that the benches call.
#[derive(Clone, Copy)]
pub(crate) struct Library {
    open: Open,
    open_named: Open,
    unlink_named: Unlink,
    open_anonymous: OpenAnonymous,
    pub(crate) send: HandOver,
    receive: Receive,
    pub(crate) seal: Seal,
    unmap: Unmap,
    pub(crate) read: Read,
    pub(crate) write: Write,
    pub(crate) fill: Fill,
    pub(crate) atomic_load: AtomicLoad,
    pub(crate) atomic_store: AtomicStore,
    pub(crate) atomic_add: AtomicAdd,
    pub(crate) atomic_compare_swap: AtomicCompareSwap,
    pub(crate) mutex_init: MutexInit,
    pub(crate) mutex_lock: MutexLock,
    pub(crate) mutex_unlock: MutexInit,
    pub(crate) mutex_recover: MutexInit,
    pub(crate) cell_init: CellInit,
    pub(crate) cell_publish: CellPublish,
    pub(crate) cell_read: CellRead,
    pub(crate) queue_init: QueueInit,
    pub(crate) queue_open: QueueOpen,
    pub(crate) queue_push: QueuePush,
    pub(crate) queue_pop: QueuePop,
    pub(crate) queue_reserve: QueueReserve,
    pub(crate) queue_commit: QueueCommit,
    pub(crate) queue_peek: QueuePeek,
    pub(crate) queue_consume: QueueClose,
    pub(crate) queue_close: QueueClose,
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

impl Token {
    /// For closures of several threads, which would take hold of the field alone.
    pub(crate) fn get(&self) -> *mut mapshare_region {
        self.0
    }
}

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
            open_anonymous: function!(handle, c"mapshare_open_anonymous", OpenAnonymous),
            send: function!(handle, c"mapshare_send", HandOver),
            receive: function!(handle, c"mapshare_receive", Receive),
            seal: function!(handle, c"mapshare_seal", Seal),
            unmap: function!(handle, c"mapshare_unmap", Unmap),
            read: function!(handle, c"mapshare_read", Read),
            write: function!(handle, c"mapshare_write", Write),
            fill: function!(handle, c"mapshare_fill", Fill),
            atomic_load: function!(handle, c"mapshare_atomic_load_u64", AtomicLoad),
            atomic_store: function!(handle, c"mapshare_atomic_store_u64", AtomicStore),
            atomic_add: function!(handle, c"mapshare_atomic_add_u64", AtomicAdd),
            atomic_compare_swap: function!(handle, c"mapshare_atomic_compare_swap_u64", AtomicCompareSwap),
            mutex_init: function!(handle, c"mapshare_mutex_init", MutexInit),
            mutex_lock: function!(handle, c"mapshare_mutex_lock", MutexLock),
            mutex_unlock: function!(handle, c"mapshare_mutex_unlock", MutexInit),
            mutex_recover: function!(handle, c"mapshare_mutex_recover", MutexInit),
            cell_init: function!(handle, c"mapshare_cell_init", CellInit),
            cell_publish: function!(handle, c"mapshare_cell_publish", CellPublish),
            cell_read: function!(handle, c"mapshare_cell_read", CellRead),
            queue_init: function!(handle, c"mapshare_queue_init", QueueInit),
            queue_open: function!(handle, c"mapshare_queue_open", QueueOpen),
            queue_push: function!(handle, c"mapshare_queue_push", QueuePush),
            queue_pop: function!(handle, c"mapshare_queue_pop", QueuePop),
            queue_reserve: function!(handle, c"mapshare_queue_reserve", QueueReserve),
            queue_commit: function!(handle, c"mapshare_queue_commit", QueueCommit),
            queue_peek: function!(handle, c"mapshare_queue_peek", QueuePeek),
            queue_consume: function!(handle, c"mapshare_queue_consume", QueueClose),
            queue_close: function!(handle, c"mapshare_queue_close", QueueClose),
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

    pub(crate) fn open_anonymous(&self, options: &mapshare_options) -> Token {
        let mut region = std::ptr::null_mut();
        // SAFETY: a whole struct, and room for the token.
        self.check(unsafe { (self.open_anonymous)(options, size_of_val(options), &mut region) });
        Token(region)
    }

    pub(crate) fn receive(&self, socket: c_int, options: &mapshare_options) -> Token {
        let mut region = std::ptr::null_mut();
        // SAFETY: a whole struct, and room for the token.
        self.check(unsafe { (self.receive)(socket, options, size_of_val(options), &mut region) });
        Token(region)
    }

    pub(crate) fn unmap(&self, region: Token) {
        // SAFETY: any token may be passed.
        self.check(unsafe { (self.unmap)(region.0) });
    }

    /// Zeros in a region.
    pub(crate) fn write_zeros(&self, region: Token, offset: u64, length: u64) {
        // SAFETY: any arguments may be passed.
        self.check(unsafe { (self.fill)(region.0, offset, length, 0) });
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
