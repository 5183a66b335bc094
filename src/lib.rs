//! Programs share data through mapped memory, without the traps of mmap.
//!
//! A [`Region`] is a range of a file, mapped. What one process writes into it, every other process that has the file
//! mapped sees at once, with no read or write call, and it is in the file. Each trap of mmap is an [`Error`] with a
//! code and a sentence that says what to do.
//!
//! ```
//! use mapshare::{Access, Options};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("greeting.bin");
//! let region = Options::new().access(Access::ReadWrite).create(true).length(4096).open(&path)?;
//! region.write(0, b"hello")?;
//!
//! let reader = Options::new().open(&path)?; // as another process would
//! let mut bytes = [0; 5];
//! reader.read(0, &mut bytes)?;
//! assert_eq!(&bytes, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! C programs and Python's ctypes use the same regions through `include/mapshare.h`, which is also the manual of the
//! conventions, the codes and the traps.
//!
//! # Architecture
//! The modules are the layers, each resting on those above it in this list:
//! `sys` (the kernel's calls), `error`, `mem` (pages and the bounds check), `region` (files as regions), `sync` (waiting
//! for one another), `data` (cells and queues), and `ffi` (the C interface). `region` and `sync` do not know each other.
//! `unsafe` stands in `sys`, `mem` and `ffi` only, `libc` in `sys` only.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("mapshare supports 64-bit Linux only, so far");

mod sys;

mod error;

mod mem;

mod region;

mod sync;

mod data;

#[allow(non_camel_case_types)] // the C names
pub mod ffi;

pub use data::cell::Cell;
pub use data::queue::{Consumer, Producer, Queue, QueueInfo, Sides};
pub use error::{Error, HandOverError, NameError, Problem, RangeLockError, Result};
pub use mem::pinned::Pinned;
pub use mem::view::View;
pub use mem::word::{Atomic, Word, Words};
pub use region::named::{sweep_named, unlink_named};
pub use region::options::{Access, Options};
pub use region::range_lock::LockMode;
pub use region::{Advice, Backing, Flush, Info, Region, arm};
pub use sync::mutex::{Locked, Mutex, Owner};
