//! Memory without a name, for processes that get it by fork or by hand-over.
//!
//! Decision: it is a memory file (memfd_create(2)). A mapping with MAP_ANONYMOUS can be had by children of the process
//! that made it, and by nobody else; it cannot grow for all of them, be sealed, or be handed to a process that runs
//! already.

use super::Backing;
use super::Region;
use super::map::Opened;
use super::name::Name;
use super::options::{Access, Options};
use crate::error::{Error, Result};
use crate::sys::file;
use std::os::fd::AsFd;

/// What /proc/PID/fd and /proc/PID/maps show it as: /memfd:mapshare.
const LABEL: &std::ffi::CStr = c"mapshare";
/// Memory is no program: nobody may execute it.
const MODE_BITS: u32 = 0o666;

impl Options {
    /// Makes a region of new memory, all zeros, that has no name: children have it after fork, and other processes get
    /// it by [`Region::send`]. It needs `Access::ReadWrite` and a length; it is always created, and always new.
    ///
    /// # Errors
    /// EINVAL: it is not to be written, has no length, or has an offset. ENOMEM, ENOSPC: there is not so much memory.
    pub fn open_anonymous(&self) -> Result<Region> {
        let name = Name::Anonymous;
        let options = Options { create: true, ..self.clone() };
        options.check()?;
        options.check_nameless()?;
        if options.access != Access::ReadWrite {
            return Err(Error::CreateNeedsWrite { file: name.into(), access: options.access.name() });
        }
        if options.length == 0 {
            return Err(Error::Contradiction("length is 0, and new memory has no bytes yet; say how many you need"));
        }
        if options.offset != 0 {
            return Err(Error::Contradiction("offset is not 0, and new memory has nothing in front of it; leave it 0"));
        }
        let failed = |call: &'static str| move |errno| Error::system(call, name, errno);
        let file = file::create_memory(LABEL).map_err(failed("memfd_create"))?;
        file::set_mode(file.as_fd(), options.creation_mode() & MODE_BITS).map_err(failed("fchmod"))?;
        let status = file::status(file.as_fd()).map_err(failed("fstat"))?;
        let opened = Opened { file, status, backing: Backing::Anonymous, writable: true, seals: 0, user: None };
        options.map_new(opened, name)
    }
}
