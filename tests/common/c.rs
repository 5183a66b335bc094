//! The C interface as Rust sees it from outside: tokens, codes, texts.

use super::doors::{Failure, Outcome};
use mapshare::ffi::options::{mapshare_options, mapshare_region, mapshare_region_info};
use mapshare::ffi::{access, library, named, open, range_lock, region, view};
use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

/// What open returns, as a number, so that threads can share it and tests can forge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

pub(crate) fn last_error() -> String {
    let text = library::mapshare_last_error();
    // SAFETY: the library's text ends with a NUL byte and stays until this thread's next failure.
    unsafe { CStr::from_ptr(text) }.to_str().expect("texts are UTF-8 when paths are").to_owned()
}

pub(crate) fn describe(code: i32) -> String {
    // SAFETY: a static C string.
    unsafe { CStr::from_ptr(library::mapshare_strerror(code)) }.to_str().expect("UTF-8").to_owned()
}

/// The result of a call; a failure's text has to name the function and the code.
pub(crate) fn outcome(function: &str, result: impl Into<i64>) -> Outcome<i64> {
    let result = result.into();
    if result >= 0 {
        return Ok(result);
    }
    let code = i32::try_from(-result).expect("a code fits in an i32");
    let text = last_error();
    assert!(text.starts_with(&format!("{function}: ")), "{function} gave {result}, and the last error is: {text}");
    assert!(text.ends_with(')'), "the name of the code stands at the end: {text}");
    Err(Failure { code, text })
}

pub(crate) fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL inside")
}

fn opened(function: &str, call: impl FnOnce(*mut *mut mapshare_region) -> i32) -> Outcome<Token> {
    let untouched = ptr::without_provenance_mut(0xdead);
    let mut region = untouched;
    let result = outcome(function, call(&mut region));
    match &result {
        Ok(number) => assert_eq!(*number, 0, "{function} says 0 when good"),
        Err(_) => assert_eq!(region, untouched, "a failed {function} writes no token"),
    }
    result.map(|_| Token(region.addr() as u64))
}

pub(crate) fn open(path: &Path, options: &mapshare_options) -> Outcome<Token> {
    let path = c_path(path);
    // SAFETY: a C string, a whole struct, and room for the token.
    opened("mapshare_open", |ret| unsafe { open::mapshare_open(path.as_ptr(), options, size_of_val(options), ret) })
}

/// As `open`, from raw bytes of any length.
pub(crate) fn open_sized(path: *const c_char, options: *const u8, size: usize) -> Outcome<Token> {
    // SAFETY: callers pass NULL or what lives long enough.
    opened("mapshare_open", |ret| unsafe { open::mapshare_open(path, options.cast(), size, ret) })
}

pub(crate) fn open_fd(fd: i32, options: &mapshare_options) -> Outcome<Token> {
    // SAFETY: a whole struct, and room for the token.
    opened("mapshare_open_fd", |ret| unsafe { open::mapshare_open_fd(fd, options, size_of_val(options), ret) })
}

pub(crate) fn open_at(directory: i32, path: &Path, options: &mapshare_options) -> Outcome<Token> {
    let path = c_path(path);
    opened("mapshare_open_at", |ret| {
        // SAFETY: a C string, a whole struct, and room for the token.
        unsafe { open::mapshare_open_at(directory, path.as_ptr(), options, size_of_val(options), ret) }
    })
}

pub(crate) fn open_named(name: &OsStr, options: &mapshare_options) -> Outcome<Token> {
    let name = c_path(name.as_ref());
    opened("mapshare_open_named", |ret| {
        // SAFETY: a C string, a whole struct, and room for the token.
        unsafe { named::mapshare_open_named(name.as_ptr(), options, size_of_val(options), ret) }
    })
}

pub(crate) fn unlink_named(name: &OsStr) -> Outcome {
    let name = c_path(name.as_ref());
    // SAFETY: a C string.
    outcome("mapshare_unlink_named", unsafe { named::mapshare_unlink_named(name.as_ptr()) }).map(drop)
}

pub(crate) fn sweep_named(prefix: &OsStr) -> Outcome<u64> {
    let prefix = c_path(prefix.as_ref());
    // SAFETY: a C string.
    outcome("mapshare_sweep_named", unsafe { named::mapshare_sweep_named(prefix.as_ptr()) }).map(i64::unsigned_abs)
}

impl Token {
    pub(crate) fn pointer(self) -> *mut mapshare_region {
        ptr::without_provenance_mut(self.0 as usize)
    }

    pub(crate) fn unmap(self) -> Outcome {
        outcome("mapshare_unmap", open::mapshare_unmap(self.pointer())).map(drop)
    }

    pub(crate) fn read(self, offset: u64, buffer: &mut [u8]) -> Outcome {
        self.read_raw(offset, buffer.as_mut_ptr(), buffer.len())
    }

    pub(crate) fn read_raw(self, offset: u64, buffer: *mut u8, length: usize) -> Outcome {
        // SAFETY: the buffer has `length` bytes wherever the call gets as far as copying.
        let result = unsafe { access::mapshare_read(self.pointer(), offset, buffer.cast(), length) };
        outcome("mapshare_read", result).map(drop)
    }

    pub(crate) fn write(self, offset: u64, bytes: &[u8]) -> Outcome {
        self.write_raw(offset, bytes.as_ptr(), bytes.len())
    }

    pub(crate) fn write_raw(self, offset: u64, bytes: *const u8, length: usize) -> Outcome {
        // SAFETY: as in `read_raw`.
        let result = unsafe { access::mapshare_write(self.pointer(), offset, bytes.cast(), length) };
        outcome("mapshare_write", result).map(drop)
    }

    pub(crate) fn fill(self, offset: u64, length: u64, byte: u32) -> Outcome {
        outcome("mapshare_fill", access::mapshare_fill(self.pointer(), offset, length, byte)).map(drop)
    }

    /// Copies into this region.
    pub(crate) fn copy_from(self, to_offset: u64, from: Token, from_offset: u64, length: u64) -> Outcome {
        let result = access::mapshare_copy(self.pointer(), to_offset, from.pointer(), from_offset, length);
        outcome("mapshare_copy", result).map(drop)
    }

    pub(crate) fn flush(self, offset: u64, length: u64, flags: u32) -> Outcome {
        outcome("mapshare_flush", access::mapshare_flush(self.pointer(), offset, length, flags)).map(drop)
    }

    pub(crate) fn view(self, offset: u64, length: u64) -> Outcome<*mut u8> {
        let untouched = ptr::without_provenance_mut(0xdead);
        let mut pointer: *mut c_void = untouched;
        // SAFETY: room for an address.
        let result = unsafe { view::mapshare_view(self.pointer(), offset, length, &mut pointer) };
        let result = outcome("mapshare_view", result);
        assert_eq!(result.is_err(), pointer == untouched, "a failed view writes no address");
        result.map(|_| pointer.cast())
    }

    pub(crate) fn view_to_null(self, offset: u64, length: u64) -> Outcome {
        // SAFETY: NULL is refused.
        let result = unsafe { view::mapshare_view(self.pointer(), offset, length, ptr::null_mut()) };
        outcome("mapshare_view", result).map(drop)
    }

    pub(crate) fn release(self, pointer: *mut u8) -> Outcome {
        outcome("mapshare_release", view::mapshare_release(self.pointer(), pointer.cast())).map(drop)
    }

    pub(crate) fn resize(self, length: u64) -> Outcome {
        outcome("mapshare_resize", region::mapshare_resize(self.pointer(), length)).map(drop)
    }

    pub(crate) fn refresh(self) -> Outcome<bool> {
        outcome("mapshare_refresh", region::mapshare_refresh(self.pointer())).map(|changed| match changed {
            0 | 1 => changed == 1,
            other => panic!("refresh says 0 or 1, not {other}"),
        })
    }

    pub(crate) fn protect(self, access: u32) -> Outcome {
        outcome("mapshare_protect", region::mapshare_protect(self.pointer(), access)).map(drop)
    }

    pub(crate) fn advise(self, offset: u64, length: u64, advice: u32) -> Outcome {
        outcome("mapshare_advise", region::mapshare_advise(self.pointer(), offset, length, advice)).map(drop)
    }

    pub(crate) fn lock_range(self, offset: u64, length: u64, mode: u32, timeout_ns: i64) -> Outcome {
        let result = range_lock::mapshare_lock_range(self.pointer(), offset, length, mode, timeout_ns);
        outcome("mapshare_lock_range", result).map(drop)
    }

    pub(crate) fn unlock_range(self, offset: u64, length: u64) -> Outcome {
        outcome("mapshare_unlock_range", range_lock::mapshare_unlock_range(self.pointer(), offset, length)).map(drop)
    }

    pub(crate) fn length(self) -> Outcome<u64> {
        outcome("mapshare_length", region::mapshare_length(self.pointer())).map(i64::unsigned_abs)
    }

    pub(crate) fn info(self) -> Outcome<mapshare_region_info> {
        let mut info = mapshare_region_info::default();
        self.info_sized((&raw mut info).cast(), size_of_val(&info)).map(|()| info)
    }

    pub(crate) fn info_sized(self, info: *mut u8, size: usize) -> Outcome {
        // SAFETY: callers pass room for `size` bytes, or NULL.
        let result = unsafe { region::mapshare_info(self.pointer(), info.cast(), size) };
        outcome("mapshare_info", result).map(drop)
    }

    pub(crate) fn fd(self) -> Outcome<i32> {
        let result = outcome("mapshare_fd", region::mapshare_fd(self.pointer()));
        result.map(|fd| i32::try_from(fd).expect("a descriptor"))
    }
}
