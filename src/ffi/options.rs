//! Constants and structs of the C interface, and how structs of other versions are taken and given.

use crate::error::{Error, Result};
use crate::region::options::{Access, Options};
use crate::{Advice, Backing, Info, LockMode};
use std::mem::{MaybeUninit, size_of};
use std::time::Duration;

/// mapshare_options.flags: make the file when it is missing, extend it when it is shorter than offset + length, and
/// reserve the storage. A new file becomes visible under its name only when it is complete; one that is there keeps its
/// contents. Needs MAPSHARE_READ_WRITE wherever something has to be made. Whoever needs to know whether it made the file
/// passes MAPSHARE_EXCLUSIVE first, and opens without it after -EEXIST.
pub const MAPSHARE_CREATE: u64 = 0x1;
/// mapshare_options.flags, with MAPSHARE_CREATE: -EEXIST when the file exists.
pub const MAPSHARE_EXCLUSIVE: u64 = 0x2;
/// mapshare_options.flags: bring all pages in at open, so that the first accesses do not fault.
pub const MAPSHARE_POPULATE: u64 = 0x4;
/// mapshare_options.flags: keep the pages in memory as long as they are mapped. Counts against RLIMIT_MEMLOCK: -ENOMEM.
pub const MAPSHARE_LOCKED: u64 = 0x8;
/// mapshare_options.flags: ask for huge pages, which the kernel gives where the file system has them.
pub const MAPSHARE_HUGE_PAGES: u64 = 0x10;
/// mapshare_options.flags: -ELOOP when the last part of the path is a symbolic link.
pub const MAPSHARE_NO_FOLLOW: u64 = 0x20;
/// mapshare_options.flags, for paths that come from others: -EACCES when the path leads out of the directory that it
/// counts from (an absolute path does), -ELOOP when any part of it is a symbolic link; -EOPNOTSUPP before Linux 5.6.
/// What was found is what is opened, though others rename and replace meanwhile.
pub const MAPSHARE_BENEATH: u64 = 0x40;
/// mapshare_options.flags: do not reserve storage for what is added. A full disk then shows at the first write to it.
pub const MAPSHARE_SPARSE: u64 = 0x80;
/// mapshare_options.flags: a file or name that is made with MAPSHARE_CREATE goes with its last user. Its name is removed
/// when the last region of it is unmapped; when its last user ends without that, or is killed, by the next open of it or
/// by mapshare_sweep_named. Whoever has a region of it is a user, with this flag or without. A file is removed only by
/// those that pass this flag too; a name of shared memory by any. Of what exists already, only what was made with this
/// flag may be opened with it: -EEXIST. Regions of mapshare_open_fd and mapshare_receive count as users, but leave the
/// name, as does whoever may not remove it (another user, in a sticky directory), to the next open or sweep. Users are
/// counted by locks of fcntl(2): another user who may open the object can keep it alive by one, or hold up its opening,
/// which is -EBUSY after 10 seconds.
/// mode has to have 0600 and may have no execute bit, since the file is marked by its mode: sticky, and execute for
/// nobody. A symbolic link in the last place of the path is -ELOOP.
pub const MAPSHARE_UNLINK_LAST: u64 = 0x100;
/// mapshare_options.flags: leave the process's SIGBUS handling as it is, for hosts that own that signal. Every read,
/// write, fill and copy is then done by the kernel, at about a microsecond each, and still gives codes; views and
/// atomics are -EOPNOTSUPP, unless the region is a memory file that is sealed against shrinking.
pub const MAPSHARE_NO_HANDLER: u64 = 0x200;

/// mapshare_options.access: reading only. The default.
pub const MAPSHARE_READ_ONLY: u32 = 0;
/// mapshare_options.access: writes reach the file and everyone who has it mapped.
pub const MAPSHARE_READ_WRITE: u32 = 1;
/// mapshare_options.access: writes are seen in this process only and the file stays; permission to read it is enough.
pub const MAPSHARE_COPY_ON_WRITE: u32 = 2;

/// mapshare_flush flags: start the writing and return, without waiting for the device.
pub const MAPSHARE_FLUSH_ASYNC: u32 = 0x1;

/// mapshare_advise: nothing special. The default of every region.
pub const MAPSHARE_ADVISE_NORMAL: u32 = 0;
/// mapshare_advise: read from the lower offsets to the higher, so read far ahead.
pub const MAPSHARE_ADVISE_SEQUENTIAL: u32 = 1;
/// mapshare_advise: read here and there, so do not read ahead.
pub const MAPSHARE_ADVISE_RANDOM: u32 = 2;
/// mapshare_advise: needed soon, so start reading it in.
pub const MAPSHARE_ADVISE_WILL_NEED: u32 = 3;
/// mapshare_advise: not needed for a while, so this process may let go of the pages. No byte is lost.
pub const MAPSHARE_ADVISE_DONT_NEED: u32 = 4;
/// mapshare_advise: use huge pages where the file system has them.
pub const MAPSHARE_ADVISE_HUGE_PAGES: u32 = 5;

/// mapshare_lock_range: together with other shared locks.
pub const MAPSHARE_LOCK_SHARED: u32 = 1;
/// mapshare_lock_range: alone.
pub const MAPSHARE_LOCK_EXCLUSIVE: u32 = 2;

/// mapshare_region_info.backing: opened by a path.
pub const MAPSHARE_BACKING_FILE: u32 = 1;
/// mapshare_region_info.backing: opened by a name of shared memory.
pub const MAPSHARE_BACKING_NAMED: u32 = 2;
/// mapshare_region_info.backing: anonymous memory, made by mapshare_open_anonymous or received.
pub const MAPSHARE_BACKING_ANONYMOUS: u32 = 3;
/// mapshare_region_info.backing: opened by a descriptor.
pub const MAPSHARE_BACKING_FD: u32 = 4;

/// mapshare_seal: no further seals. This and the next four are the numbers of fcntl(2) F_ADD_SEALS.
pub const MAPSHARE_SEAL_SEAL: u32 = 0x1;
/// mapshare_seal: nobody makes it shorter. Whoever opens it after that can trust its bytes to stay, without a handler.
pub const MAPSHARE_SEAL_SHRINK: u32 = 0x2;
/// mapshare_seal: nobody makes it longer.
pub const MAPSHARE_SEAL_GROW: u32 = 0x4;
/// mapshare_seal: nobody writes. -EBUSY as long as anyone has it mapped shared from a descriptor that is open for
/// writing; mapshare_seal tells the way.
pub const MAPSHARE_SEAL_WRITE: u32 = 0x8;
/// mapshare_seal: nobody writes but those who have it mapped writable already, as its owner. Since Linux 5.1.
pub const MAPSHARE_SEAL_FUTURE_WRITE: u32 = 0x10;

const FLAGS: u64 = MAPSHARE_CREATE
    | MAPSHARE_EXCLUSIVE
    | MAPSHARE_POPULATE
    | MAPSHARE_LOCKED
    | MAPSHARE_HUGE_PAGES
    | MAPSHARE_NO_FOLLOW
    | MAPSHARE_BENEATH
    | MAPSHARE_SPARSE
    | MAPSHARE_UNLINK_LAST
    | MAPSHARE_NO_HANDLER;

/// A mapped range of a file: a token that only the functions here understand. Pass it on, never dereference it.
pub struct mapshare_region(());

/// How to open a region. Zero in a field is its default, so start from `mapshare_options options = {0};` and pass
/// `&options, sizeof options`; `NULL, 0` is all defaults.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct mapshare_options {
    /// MAPSHARE_CREATE and the other flags of this group, or'ed.
    pub flags: u64,
    /// First byte to map, counted from the start of the file: a multiple of the page size.
    pub offset: u64,
    /// Bytes to map; 0 = from offset to the end of the file.
    pub length: u64,
    /// Bytes of address space to keep for growth, length included; 0 = length. Pointers stay while length <= reserve.
    /// With length 0 it is at least what there is from offset to the end of the file.
    pub reserve: u64,
    /// MAPSHARE_READ_ONLY (0), MAPSHARE_READ_WRITE or MAPSHARE_COPY_ON_WRITE. Not O_RDWR, whose number is that of
    /// MAPSHARE_COPY_ON_WRITE.
    pub access: u32,
    /// Permission bits of a file that is created, less the umask; 0 = 0600.
    pub mode: u32,
}

/// What mapshare_info tells. Lengths and offsets are bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct mapshare_region_info {
    /// Bytes that may be accessed now.
    pub length: u64,
    /// First mapped byte, counted from the start of the file.
    pub offset: u64,
    /// The length up to which the region grows without moving.
    pub reserve: u64,
    /// The file's length now.
    pub file_length: u64,
    /// Bytes in a page of this mapping; huge on hugetlbfs.
    pub page_size: u64,
    /// Bytes of the region that are in memory now, whoever has brought them there.
    pub resident: u64,
    /// Accesses that were turned into an error so far.
    pub faults: u64,
    /// The file's device number, st_dev of stat(2).
    pub device: u64,
    /// The file's inode number, st_ino of stat(2).
    pub inode: u64,
    /// MAPSHARE_READ_ONLY, MAPSHARE_READ_WRITE or MAPSHARE_COPY_ON_WRITE.
    pub access: u32,
    /// MAPSHARE_BACKING_FILE or another of that group.
    pub backing: u32,
    /// The seals of a memory file as fcntl(2) F_GET_SEALS gives them: MAPSHARE_SEAL_SHRINK and its like, or'ed, and
    /// what else the kernel has: 0x20 says that the memory cannot be made executable. 0 for other files, but 1 on a tmpfs.
    pub seals: u32,
    /// Views that are out.
    pub views: u32,
}

/// Where a shorter struct may end: behind any field.
const ENDS: [usize; 5] = [8, 16, 24, 32, 36];

/// Larger structs are not looked through; no version will come near it.
const LARGEST_STRUCT: usize = 4096;

impl mapshare_options {
    /// The caller's options as this version knows them.
    ///
    /// # Safety
    /// `size` bytes from `options` can be read, where `size` is at most `LARGEST_STRUCT`.
    pub(super) unsafe fn read(options: *const mapshare_options, size: usize) -> Result<Options> {
        let known = size_of::<mapshare_options>();
        if options.is_null() && size > 0 {
            return Err(Error::NullWithSize("options"));
        }
        if !options.is_null() && !ENDS.contains(&size) && size < known {
            return Err(Error::BadOptionsSize { size });
        }
        if size > LARGEST_STRUCT {
            return Err(Error::OptionsTooNew { size, known });
        }
        let mut own = mapshare_options::default();
        let bytes = options.cast::<u8>();
        if size > 0 {
            // SAFETY: the caller's struct has `size` bytes and ours `known`; every byte pattern is valid in it.
            unsafe { std::ptr::copy_nonoverlapping(bytes, (&raw mut own).cast(), size.min(known)) };
        }
        for at in known..size {
            // SAFETY: `at` is below the struct's size.
            let address = unsafe { bytes.add(at) };
            // SAFETY: as above.
            if unsafe { address.read() } != 0 {
                return Err(Error::OptionsTooNew { size, known });
            }
        }
        own.checked()
    }

    fn checked(self) -> Result<Options> {
        let unknown = self.flags & !FLAGS;
        if unknown != 0 {
            return Err(Error::UnknownFlags { field: "options.flags", unknown, known: FLAGS });
        }
        let flag = |flag| self.flags & flag != 0;
        Ok(Options::new()
            .access(access(self.access)?)
            .offset(self.offset)
            .length(self.length)
            .reserve(self.reserve)
            .mode(self.mode)
            .create(flag(MAPSHARE_CREATE))
            .exclusive(flag(MAPSHARE_EXCLUSIVE))
            .populate(flag(MAPSHARE_POPULATE))
            .locked(flag(MAPSHARE_LOCKED))
            .huge_pages(flag(MAPSHARE_HUGE_PAGES))
            .no_follow(flag(MAPSHARE_NO_FOLLOW))
            .beneath(flag(MAPSHARE_BENEATH))
            .sparse(flag(MAPSHARE_SPARSE))
            .unlink_last(flag(MAPSHARE_UNLINK_LAST))
            .no_handler(flag(MAPSHARE_NO_HANDLER)))
    }
}

/// The access that a number of the C interface stands for.
pub(super) fn access(number: u32) -> Result<Access> {
    match number {
        MAPSHARE_READ_ONLY => Ok(Access::ReadOnly),
        MAPSHARE_READ_WRITE => Ok(Access::ReadWrite),
        MAPSHARE_COPY_ON_WRITE => Ok(Access::CopyOnWrite),
        _ => Err(Error::UnknownValue {
            field: "access",
            value: number.into(),
            allowed: "MAPSHARE_READ_ONLY (0), MAPSHARE_READ_WRITE (1) or MAPSHARE_COPY_ON_WRITE (2)",
        }),
    }
}

/// The advice that a number of the C interface stands for.
pub(super) fn advice(number: u32) -> Result<Advice> {
    match number {
        MAPSHARE_ADVISE_NORMAL => Ok(Advice::Normal),
        MAPSHARE_ADVISE_SEQUENTIAL => Ok(Advice::Sequential),
        MAPSHARE_ADVISE_RANDOM => Ok(Advice::Random),
        MAPSHARE_ADVISE_WILL_NEED => Ok(Advice::WillNeed),
        MAPSHARE_ADVISE_DONT_NEED => Ok(Advice::DontNeed),
        MAPSHARE_ADVISE_HUGE_PAGES => Ok(Advice::HugePages),
        _ => Err(Error::UnknownValue {
            field: "advice",
            value: number.into(),
            allowed: "one of MAPSHARE_ADVISE_NORMAL (0) to MAPSHARE_ADVISE_HUGE_PAGES (5)",
        }),
    }
}

/// The mode of a lock that a number of the C interface stands for.
pub(super) fn lock_mode(number: u32) -> Result<LockMode> {
    match number {
        MAPSHARE_LOCK_SHARED => Ok(LockMode::Shared),
        MAPSHARE_LOCK_EXCLUSIVE => Ok(LockMode::Exclusive),
        _ => Err(Error::UnknownValue {
            field: "mode",
            value: number.into(),
            allowed: "MAPSHARE_LOCK_SHARED (1) or MAPSHARE_LOCK_EXCLUSIVE (2)",
        }),
    }
}

/// How long to wait; None for ever.
pub(super) fn timeout(nanoseconds: i64) -> Option<Duration> {
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

/// The seals that a number of the C interface stands for.
pub(super) fn seals(bits: u32) -> Result<u32> {
    const KNOWN: u32 = MAPSHARE_SEAL_SEAL
        | MAPSHARE_SEAL_SHRINK
        | MAPSHARE_SEAL_GROW
        | MAPSHARE_SEAL_WRITE
        | MAPSHARE_SEAL_FUTURE_WRITE;
    match bits & !KNOWN {
        0 => Ok(bits),
        unknown => Err(Error::UnknownFlags { field: "seals", unknown: unknown.into(), known: KNOWN.into() }),
    }
}

impl From<Info> for mapshare_region_info {
    fn from(info: Info) -> mapshare_region_info {
        mapshare_region_info {
            length: info.length,
            offset: info.offset,
            reserve: info.reserve,
            file_length: info.file_length,
            page_size: info.page_size,
            resident: info.resident,
            faults: info.faults,
            device: info.device,
            inode: info.inode,
            access: match info.access {
                Access::ReadOnly => MAPSHARE_READ_ONLY,
                Access::ReadWrite => MAPSHARE_READ_WRITE,
                Access::CopyOnWrite => MAPSHARE_COPY_ON_WRITE,
            },
            backing: match info.backing {
                Backing::File => MAPSHARE_BACKING_FILE,
                Backing::Named => MAPSHARE_BACKING_NAMED,
                Backing::Anonymous => MAPSHARE_BACKING_ANONYMOUS,
                Backing::Fd => MAPSHARE_BACKING_FD,
            },
            seals: info.seals,
            views: info.views,
        }
    }
}

/// Gives a struct to a caller whose version of it may be shorter, and is then cut, or longer, and is then zero at its
/// end.
///
/// # Safety
/// `size` bytes at `to` can be written; `T` has no padding.
pub(super) unsafe fn give<T: Copy>(value: T, to: *mut T, size: usize) {
    let known = size.min(size_of::<T>());
    let value = MaybeUninit::new(value);
    let to = to.cast::<u8>();
    // SAFETY: the caller's memory has `size` bytes and the value `size_of::<T>()`.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr().cast(), to, known) };
    // SAFETY: `known` is at most `size`.
    let rest = unsafe { to.add(known) };
    // SAFETY: what is left of the caller's memory.
    unsafe { rest.write_bytes(0, size - known) };
}
