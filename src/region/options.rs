//! How a region is asked for.

use crate::error::{Error, Result};
use crate::sys::file::OpenMode;
use crate::sys::map::{Protection, Sharing};

/// What a program may do with a region's bytes, and where its writes go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    #[default]
    ReadOnly,
    /// Writes reach the file and everyone who has it mapped.
    ReadWrite,
    /// Writes are seen in this process only; the file stays as it is, and permission to read it is enough.
    CopyOnWrite,
}

impl Access {
    /// The name in the C interface.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Access::ReadOnly => "MAPSHARE_READ_ONLY",
            Access::ReadWrite => "MAPSHARE_READ_WRITE",
            Access::CopyOnWrite => "MAPSHARE_COPY_ON_WRITE",
        }
    }

    pub(super) fn protection(self) -> Protection {
        match self {
            Access::ReadOnly => Protection::Read,
            Access::ReadWrite | Access::CopyOnWrite => Protection::ReadWrite,
        }
    }

    pub(super) fn sharing(self) -> Sharing {
        match self {
            Access::ReadOnly | Access::ReadWrite => Sharing::Shared,
            Access::CopyOnWrite => Sharing::Private,
        }
    }

    /// How the file has to be opened for it; a private mapping needs permission to read only.
    pub(super) fn open_mode(self) -> OpenMode {
        match self {
            Access::ReadOnly | Access::CopyOnWrite => OpenMode::Read,
            Access::ReadWrite => OpenMode::ReadWrite,
        }
    }
}

/// How to open a region. All defaults: read-only, the whole file, no more address space than that.
///
/// ```
/// use mapshare::{Access, Options};
/// let options = Options::new().access(Access::ReadWrite).create(true).length(1 << 20).reserve(1 << 30);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) access: Access,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) reserve: u64,
    pub(super) mode: u32,
    pub(super) create: bool,
    pub(super) exclusive: bool,
    pub(super) sparse: bool,
    pub(super) no_follow: bool,
    pub(super) beneath: bool,
    pub(super) populate: bool,
    pub(super) locked: bool,
    pub(super) huge_pages: bool,
    pub(super) no_handler: bool,
    pub(super) unlink_last: bool,
    /// Whether the path stands for a name of shared memory.
    pub(super) named: bool,
}

/// Permission bits of a file that is created without any being given.
const DEFAULT_MODE: u32 = 0o600;
/// All permission bits there are.
const MODE_BITS: u32 = 0o777;

impl Options {
    /// All defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// What the program may do with the bytes.
    pub fn access(mut self, access: Access) -> Options {
        self.access = access;
        self
    }

    /// The first byte to map, counted from the start of the file; a multiple of the page size.
    pub fn offset(mut self, bytes: u64) -> Options {
        self.offset = bytes;
        self
    }

    /// How many bytes to map; 0 stands for all from the offset to the end of the file.
    pub fn length(mut self, bytes: u64) -> Options {
        self.length = bytes;
        self
    }

    /// How many bytes of address space to keep for growth, the length included; 0 stands for the length.
    pub fn reserve(mut self, bytes: u64) -> Options {
        self.reserve = bytes;
        self
    }

    /// The permission bits of a file that is created, less the process's umask; 0 stands for 0600.
    pub fn mode(mut self, bits: u32) -> Options {
        self.mode = bits;
        self
    }

    /// Makes the file when it is missing and extends it when it is shorter than the range; the storage is reserved.
    pub fn create(mut self, yes: bool) -> Options {
        self.create = yes;
        self
    }

    /// With `create`: refuses a file that exists.
    pub fn exclusive(mut self, yes: bool) -> Options {
        self.exclusive = yes;
        self
    }

    /// Does not reserve storage for bytes that are added; a full disk then shows at the first write to them.
    pub fn sparse(mut self, yes: bool) -> Options {
        self.sparse = yes;
        self
    }

    /// Refuses a symbolic link in the last place of the path.
    pub fn no_follow(mut self, yes: bool) -> Options {
        self.no_follow = yes;
        self
    }

    /// Refuses a path that leads out of the directory it counts from, and a symbolic link anywhere in it: for paths that
    /// come from others.
    pub fn beneath(mut self, yes: bool) -> Options {
        self.beneath = yes;
        self
    }

    /// Brings all pages in at once, so that the first accesses do not fault.
    pub fn populate(mut self, yes: bool) -> Options {
        self.populate = yes;
        self
    }

    /// Keeps the pages in memory as long as they are mapped; counts against RLIMIT_MEMLOCK.
    pub fn locked(mut self, yes: bool) -> Options {
        self.locked = yes;
        self
    }

    /// Asks for huge pages, which the kernel gives where the file system has them.
    pub fn huge_pages(mut self, yes: bool) -> Options {
        self.huge_pages = yes;
        self
    }

    /// Leaves the process's SIGBUS handling as it is. The kernel is then asked to do every access, at about a
    /// microsecond each, and views need a memory file that is sealed against shrinking.
    pub fn no_handler(mut self, yes: bool) -> Options {
        self.no_handler = yes;
        self
    }

    /// With `create`: what is made goes with its last user, also when that is killed: its name is removed when the last
    /// region of it goes, else by the next open of it or by `sweep_named`. What exists has to have been made so too.
    pub fn unlink_last(mut self, yes: bool) -> Options {
        self.unlink_last = yes;
        self
    }

    pub(super) fn creation_mode(&self) -> u32 {
        if self.mode == 0 { DEFAULT_MODE } else { self.mode }
    }

    /// Finds what is wrong with the options alone, whatever the file.
    pub(super) fn check(&self) -> Result<()> {
        if self.exclusive && !self.create {
            return Err(Error::Contradiction(
                "MAPSHARE_EXCLUSIVE asks for a new file, which only MAPSHARE_CREATE makes; pass both",
            ));
        }
        if self.mode & !MODE_BITS != 0 {
            return Err(Error::UnknownMode { mode: self.mode });
        }
        if self.unlink_last && self.creation_mode() & 0o711 != 0o600 {
            return Err(Error::Contradiction(
                "with MAPSHARE_UNLINK_LAST the mode has to let the owner read and write (0600), since the last user asks \
                 the file whether it is the last, and nobody execute (0111), since that marks the file",
            ));
        }
        if self.reserve != 0 && self.reserve < self.length {
            return Err(Error::ReserveTooSmall { reserve: self.reserve, length: self.length });
        }
        Ok(())
    }
}
