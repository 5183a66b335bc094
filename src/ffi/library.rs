//! What concerns the library as a whole.

use super::guard::{self, guard};
use crate::error;
use std::ffi::{c_char, c_int};

/// The version of the library that runs, as text: "0.1.0".
///
/// @return A static string.
///
/// Threads: any. Signals: safe in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// The version of the library that runs, as a number that can be compared.
///
/// @return major << 16 | minor << 8 | patch.
///
/// Threads: any. Signals: safe in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_version_number() -> u32 {
    const fn number(text: &str) -> u32 {
        match u32::from_str_radix(text, 10) {
            Ok(number) => number,
            Err(_) => panic!("Cargo gives numbers"),
        }
    }
    const NUMBER: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
        | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
        | number(env!("CARGO_PKG_VERSION_PATCH"));
    NUMBER
}

/// What a code means, in general.
///
/// @param code  A code as a function returned it, or a positive error number of errno(3).
/// @return A static sentence; "success" for 0.
///
/// Threads: any. Signals: safe in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_strerror(code: c_int) -> *const c_char {
    error::describe(code).as_ptr()
}

/// This thread's last failure in full: the function, what was asked, what was found, what to do, and the code's name.
/// For example: "mapshare_open: 'a.bin' is 100 bytes long, 4096 were asked at offset 0; pass MAPSHARE_CREATE to extend
/// it (ENXIO)". A call that succeeds leaves it as it was.
///
/// @return A string that stays until this thread's next failure or its end; "" when nothing has failed yet.
///
/// Threads: each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_last_error() -> *const c_char {
    guard::last_error()
}

/// Takes SIGBUS back after the program has installed a handler of its own. That one stays chained: it gets every SIGBUS
/// that does not concern a region. Every opening function does the same, unless MAPSHARE_NO_HANDLER is set.
///
/// @return 0.
///
/// Threads: any. Signals: not in a handler. Source: sigaction(2).
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_arm() -> c_int {
    guard("mapshare_arm", crate::region::arm)
}
