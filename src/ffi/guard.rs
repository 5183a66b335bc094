//! What stands around every exported function: codes, the thread's last error, and a net under panics.

use crate::error::{self, Error, Result};
use crate::mem::atomic::{AtomicBool, Ordering};
use crate::mem::hazard::{self, TEXT};
use std::cell::Cell;
use std::ffi::{c_char, c_int};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a good result crosses the boundary: as zero or a positive number.
pub(super) trait Returned {
    type Number;
    fn good(self) -> Self::Number;
    fn failed(errno: i32) -> Self::Number;
}

impl Returned for () {
    type Number = c_int;
    fn good(self) -> c_int {
        0
    }
    fn failed(errno: i32) -> c_int {
        -errno
    }
}

impl Returned for bool {
    type Number = c_int;
    fn good(self) -> c_int {
        self.into()
    }
    fn failed(errno: i32) -> c_int {
        -errno
    }
}

impl Returned for c_int {
    type Number = c_int;
    fn good(self) -> c_int {
        self
    }
    fn failed(errno: i32) -> c_int {
        -errno
    }
}

impl Returned for u64 {
    type Number = i64;
    fn good(self) -> i64 {
        // Lengths are those of files and mappings, whose bytes the kernel counts in an i64.
        i64::try_from(self).unwrap_or(i64::MAX)
    }
    fn failed(errno: i32) -> i64 {
        (-errno).into()
    }
}

/// Runs an exported function's body.
pub(super) fn guard<R: Returned>(function: &'static str, body: impl FnOnce() -> Result<R>) -> R::Number {
    // What leaves the net is a number: an `Error` would be 64 bytes to move, in good calls too.
    let net = AssertUnwindSafe(|| body().map_or_else(|error| R::failed(tell(function, error)), R::good));
    catch_unwind(net).unwrap_or_else(|_| R::failed(tell(function, Error::Internal)))
}

/// Runs a body outside of any object, which a panic would not be known to come from, without printing one.
pub(super) fn quietly<R>(body: impl FnOnce() -> R) -> R {
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            INSIDE.set(INSIDE.get() - 1);
        }
    }
    keep_panics_quiet();
    INSIDE.set(INSIDE.get() + 1);
    let _inside = Inside;
    body()
}

/// Nothing prints: what happens inside is told by the code and the last error.
fn keep_panics_quiet() {
    static QUIET: AtomicBool = AtomicBool::new(false);
    // A thread that is unwinding may not set a hook; the next call does.
    // ORDER: Relaxed: a flag of its own.
    if QUIET.load(Ordering::Relaxed) || std::thread::panicking() || QUIET.swap(true, Ordering::Relaxed) {
        return;
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if INSIDE.get() == 0 && !hazard::is_inside() {
            hook(panic);
        }
    }));
}

thread_local! {
    /// How deep this thread is in `quietly`.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
    /// This thread's last failure in full.
    static LAST_ERROR: Cell<*const c_char> = const { Cell::new(c"".as_ptr()) };
}

/// Makes it this thread's last error; its positive error number.
#[cold]
#[inline(never)]
fn tell(function: &'static str, error: Error) -> i32 {
    let text = hazard::text().map_or(c"there was no memory to say what has failed (ENOMEM)".as_ptr(), |mut room| {
        // SAFETY: this thread's, and no reference into it outlives this function; C callers hold its address and know that
        // the next failure changes the text.
        write(unsafe { room.as_mut() }, function, &error);
        room.as_ptr().cast_const().cast()
    });
    LAST_ERROR.set(text);
    error.errno()
}

fn write(buffer: &mut [u8; TEXT], function: &str, error: &Error) {
    let (text, end) = buffer.split_at_mut(TEXT - 1);
    let mut rest = &mut text[..];
    // File names are shortened before; whatever is too long all the same is cut.
    let _ = match error::name(error.errno()) {
        Some(name) => write!(rest, "{function}: {error} ({name})"),
        None => write!(rest, "{function}: {error} (errno {})", error.errno()),
    };
    rest.fill(0);
    end.fill(0);
}

/// The text's address: valid as long as the thread lives.
pub(super) fn last_error() -> *const c_char {
    LAST_ERROR.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn text() -> String {
        // SAFETY: the buffer always ends with a NUL byte.
        unsafe { CStr::from_ptr(last_error()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_inside_is_a_code_and_prints_nothing() {
        let result: c_int = guard("mapshare_test", || -> Result<()> { quietly(|| panic!("on purpose")) });
        assert_eq!(result, -131);
        assert!(text().ends_with("(ENOTRECOVERABLE)"), "{}", text());
    }

    #[test]
    fn a_sentence_longer_than_the_buffer_is_cut_at_its_end() {
        let file = "x".repeat(3 * TEXT);
        let _ = guard("mapshare_test", || -> Result<()> { Err(Error::Exists { file }) });
        assert_eq!(text().len(), TEXT - 1);
        let _ = guard("mapshare_test", || -> Result<()> { Err(Error::Internal) });
        assert!(text().len() < 200, "the longer text of before has gone");
    }

    #[test]
    fn a_thread_finds_no_failure_of_one_before_it() {
        for _ in 0..3 {
            let fail_and_tell = || {
                let before = text();
                let _ = guard("mapshare_test", || -> Result<()> { Err(Error::Internal) });
                (before, text())
            };
            let (before, after) = std::thread::spawn(fail_and_tell).join().unwrap();
            assert_eq!(before, "");
            assert!(after.starts_with("mapshare_test: "), "{after}");
        }
    }
}
