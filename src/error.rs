//! What can go wrong: one type with a sentence for each case, and one table of codes.
//!
//! Decision: a sentence says what was asked, what was found and what to do, with the numbers; it names options
//! as the C header does, since that is the manual of all three languages. Making one allocates only where the
//! sentence names a file.

#![forbid(unsafe_code)]

mod codes;
mod handover;
mod names;
mod objects;
mod range_locks;
mod reasons;
mod told;

pub(crate) use codes::{describe, name};
pub use handover::HandOverError;
pub use names::NameError;
pub use objects::Problem;
pub use range_locks::RangeLockError;
use reasons::{fault_reason, loss, sentence};

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refused or failed call: what was asked, what was found, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A required pointer of the C interface is NULL.
    #[error("'{0}' is NULL; pass the address of the memory it stands for")]
    NullArgument(&'static str),
    /// A pointer of the C interface that comes with a size is NULL, and the size is not 0.
    #[error("'{0}' is NULL; pass the address of the memory it stands for, or a size of 0 with it")]
    NullWithSize(&'static str),
    /// The options struct is longer than this version's, and what it adds is used.
    #[error(
        "the options are {size} bytes long, this library knows the first {known}, and the rest is not all \
         zero; link a newer libmapshare or zero what it does not know"
    )]
    OptionsTooNew {
        /// The struct's size in bytes, as the caller gave it.
        size: usize,
        /// The size this version knows.
        known: usize,
    },
    /// A flag word has bits that mean nothing here.
    #[error(
        "{field} has the unknown bits {unknown:#x}; the known ones are {known:#x}. Were all fields set to zero first?"
    )]
    UnknownFlags {
        /// The argument or struct field.
        field: &'static str,
        /// The bits that are not known.
        unknown: u64,
        /// All bits that are.
        known: u64,
    },
    /// A number is none of those that mean something here.
    #[error("{field} is {value}; it must be {allowed}")]
    UnknownValue {
        /// The argument or struct field.
        field: &'static str,
        /// What was passed.
        value: u64,
        /// What may be passed.
        allowed: &'static str,
    },
    /// The permission bits of a new file are none.
    #[error("mode is {mode:#o} in octal; permission bits are 0 to 0777, and 777 without the 0 in front is decimal")]
    UnknownMode {
        /// What was passed.
        mode: u32,
    },
    /// The size of the options ends inside a field, or is 0.
    #[error(
        "options_size is {size}, which is the size of no version of the options; pass sizeof options, or NULL and 0"
    )]
    BadOptionsSize {
        /// What was passed.
        size: usize,
    },
    /// The reserve cannot hold the length.
    #[error("reserve {reserve} is less than length {length}; make it the length to grow to, or 0")]
    ReserveTooSmall {
        /// The address space asked for, in bytes.
        reserve: u64,
        /// The bytes asked for.
        length: u64,
    },
    /// Options or calls that do not go together.
    #[error("{0}")]
    Contradiction(&'static str),
    /// The file offset of a mapping is not a multiple of the page size.
    #[error(
        "file offset {offset} is not a multiple of the page size {page_size}; the nearest ones are {below} and \
         {above}: map from {below} and add {} to the offsets inside",
        offset - below
    )]
    MisalignedFileOffset {
        /// The offset asked for.
        offset: u64,
        /// Bytes in a page of this file's mapping.
        page_size: u64,
        /// The next multiple below.
        below: u64,
        /// The next multiple above.
        above: u64,
    },
    /// There is not one byte to map.
    #[error(
        "{file} has no byte at offset {offset} and length is 0 (to the end of the file), so nothing would be mapped; \
         give a length, with MAPSHARE_CREATE to make the file that long"
    )]
    EmptyMapping {
        /// The file.
        file: String,
        /// The file offset asked for.
        offset: u64,
    },
    /// Creating or extending a file needs `MAPSHARE_READ_WRITE`.
    #[error(
        "{file} would have to be created or extended, which access {access} does not allow; open it MAPSHARE_READ_WRITE"
    )]
    CreateNeedsWrite {
        /// The file.
        file: String,
        /// The access asked for, by name.
        access: &'static str,
    },
    /// The token is not one that open returned, or was unmapped already.
    #[error("the token {token:#x} is not an open {kind}; it was never returned by open, or was closed already")]
    StaleToken {
        /// The 64 bits passed.
        token: u64,
        /// What it should stand for.
        kind: &'static str,
    },
    /// Another call is in the object that this one would have to wait for, and that may not end before this one does.
    #[error(
        "the {kind} is in use by another call, which sleeps in it, is another thread's, or is what this one was made from inside of; try again later"
    )]
    InUse {
        /// What the token stands for.
        kind: &'static str,
    },
    /// The descriptor cannot be used.
    #[error("descriptor {fd} {found}; pass one that open(2) returned and that is still open")]
    BadDescriptor {
        /// The number passed.
        fd: i32,
        /// What is the matter with it.
        found: &'static str,
    },
    /// The permissions of a file or of a directory on its path do not allow this user the access.
    #[error("{access} of {file} is refused to this user; {remedy}")]
    AccessDenied {
        /// The access asked for, by name.
        access: &'static str,
        /// The file.
        file: String,
        /// What to do.
        remedy: &'static str,
    },
    /// More access was asked for than the descriptor or region grants.
    #[error("{access} was asked, but {granted}; {remedy}")]
    AccessExceeded {
        /// The access asked for, by name.
        access: &'static str,
        /// What there is.
        granted: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The file ends before the range asked for does.
    #[error("{file} is {size} bytes long, {length} were asked at offset {offset}; pass MAPSHARE_CREATE to extend it")]
    FileTooShort {
        /// The file.
        file: String,
        /// Its length in bytes.
        size: u64,
        /// The bytes asked for.
        length: u64,
        /// The file offset asked for.
        offset: u64,
    },
    /// The offset lies behind the end of the file.
    #[error(
        "{file} is {size} bytes long, so that there is nothing from offset {offset} to its end; give a length, with MAPSHARE_CREATE to extend it"
    )]
    BehindEnd {
        /// The file.
        file: String,
        /// Its length in bytes.
        size: u64,
        /// The file offset asked for.
        offset: u64,
    },
    /// The range leaves the region, though the file has it.
    #[error(
        "offset {offset} + length {length} leaves the region, which is {limit} bytes long; nothing was done. The file \
         has {available} now: mapshare_refresh takes them over, or open with that much reserve"
    )]
    OutOfReserve {
        /// The first byte asked for.
        offset: u64,
        /// The bytes asked for.
        length: u64,
        /// The region's length now.
        limit: u64,
        /// The bytes that the file has behind the region's offset.
        available: u64,
    },
    /// The program has closed the descriptor that the region holds of its file, or has put another file in its place.
    #[error(
        "the region's own descriptor {fd} was closed by this program{found}; the bytes stay mapped, but the file is out \
         of reach. Regions hold one descriptor each: leave them out of closefrom(3) and its like"
    )]
    LostDescriptor {
        /// The number.
        fd: i32,
        /// What is there now.
        found: &'static str,
    },
    /// The range leaves the region.
    #[error("offset {offset} + length {length} leaves the region, which is {limit} bytes long; nothing was done")]
    OutOfRange {
        /// The first byte asked for.
        offset: u64,
        /// The bytes asked for.
        length: u64,
        /// The region's length now.
        limit: u64,
    },
    /// An offset is not a multiple of what the object there needs.
    #[error("offset {offset} is not a multiple of {alignment}, as {object} needs it; the one before is {}",
        offset - offset % alignment)]
    Misaligned {
        /// The offset asked for.
        offset: u64,
        /// What it has to be a multiple of.
        alignment: u64,
        /// What was to be there.
        object: &'static str,
    },
    /// The new length needs other addresses, which only a call that waits for all others can give.
    #[error(
        "{length} bytes do not fit in the reserve of {reserve}; open with a larger reserve, or resize with nothing else in flight"
    )]
    PastReserve {
        /// The length asked for.
        length: u64,
        /// The bytes of address space there are.
        reserve: u64,
    },
    /// Views of the region are still out.
    #[error("{views} view(s) or queue handle(s) of the region are still out, and {asked}; release or close them first")]
    ViewsOut {
        /// How many.
        views: usize,
        /// What the call would do to them.
        asked: &'static str,
    },
    /// A pointer to release is none that view returned.
    #[error("{pointer:#x} is not a pointer that a view of this region returned, or it was released already")]
    NotAView {
        /// The address passed.
        pointer: usize,
    },
    /// There is nothing at the path, and nothing can be made there.
    #[error("{file} does not exist{remedy}")]
    NotThere {
        /// The file.
        file: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A symbolic link stands where none is wanted.
    #[error("{file} is a symbolic link, which {refusal}")]
    IsLink {
        /// The link.
        file: String,
        /// Who refuses it, and what to do.
        refusal: &'static str,
    },
    /// The file exists and should not.
    #[error(
        "{file} exists already, and MAPSHARE_EXCLUSIVE asks for a new one; leave the flag out to open what is there"
    )]
    Exists {
        /// The file.
        file: String,
    },
    /// What stands there cannot be mapped.
    #[error("{file} is {found}, and cannot be mapped; regular files and memory files can")]
    NotMappable {
        /// The file.
        file: String,
        /// What it is.
        found: &'static str,
    },
    /// The file system, a quota or a limit has no room.
    #[error("there is no room for {length} bytes at offset {offset} of {file}: {reason}")]
    NoSpace {
        /// The file.
        file: String,
        /// The file offset.
        offset: u64,
        /// The bytes asked for.
        length: u64,
        /// Which limit was met, and what to do.
        reason: &'static str,
    },
    /// An access ran into bytes that cannot be had.
    #[error(
        "offset {offset} could not be accessed, after {done} of {length} bytes: {} (the file is {file_length} bytes long)",
        fault_reason(*errno)
    )]
    Fault {
        /// The file's length now, in bytes.
        file_length: u64,
        /// ENXIO, ENOSPC or EIO.
        errno: i32,
        /// The byte in the region that could not be accessed.
        offset: u64,
        /// Bytes that were copied before it.
        done: u64,
        /// The bytes asked for.
        length: u64,
    },
    /// A view lost pages while it was out.
    #[error(
        "this view of {length} bytes has lost pages while it was out ({}): zeros stood there since, and what was written \
         there is gone. The view is released",
        loss(*errno)
    )]
    ViewLostPages {
        /// ENXIO, ENOSPC or EIO.
        errno: i32,
        /// The bytes of the view.
        length: u64,
    },
    /// Zeros stand where a view lost pages.
    #[error(
        "the region has lost pages among these {length} bytes, where zeros stand now ({}); mapshare_refresh puts back \
         what the file has",
        loss(*errno)
    )]
    LostPages {
        /// ENXIO, ENOSPC or EIO.
        errno: i32,
        /// The bytes asked for.
        length: u64,
    },
    /// The region has no guard against faults that views and atomics would need.
    #[error(
        "the region was opened MAPSHARE_NO_HANDLER, so that a fault in a view, an atomic or an object would end the \
         process; seal the memory file against shrinking, leave the flag out, or, for plain bytes, use mapshare_read \
         and mapshare_write"
    )]
    Unguarded,
    /// A seal of the memory file forbids it.
    #[error("{asked} of {file} is refused: it carries {seal}, and seals stay for good; {remedy}")]
    Sealed {
        /// The file.
        file: String,
        /// What the call would do.
        asked: &'static str,
        /// The seal, by its name in the C interface.
        seal: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Sealing, or sending, that the file's kind or state does not allow.
    #[error("{sentence}")]
    CannotSeal {
        /// What was asked, what was found, what to do.
        sentence: &'static str,
        /// EPERM, EBUSY or EOPNOTSUPP.
        errno: i32,
    },
    /// The address space or memory lock limit has no room.
    #[error("there is no room for {length} bytes {place}")]
    NoMemory {
        /// The bytes asked for.
        length: u64,
        /// Where, and what to do.
        place: &'static str,
    },
    /// A thread has as many locks as one can have.
    #[error(
        "this thread holds {most} locks already, those of its reservations and peeked messages included; unlock one"
    )]
    TooManyLocks {
        /// How many one can have.
        most: usize,
    },
    /// What is the matter with a name, or with a path that comes from others.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What is the matter with a hand-over.
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    /// What is the matter with a lock of a range.
    #[error(transparent)]
    RangeLock(#[from] RangeLockError),
    /// What was waited for has not come in the time given.
    #[error(
        "what was waited for had not come when the time given had passed; wait longer, or look who should bring it"
    )]
    TimedOut,
    /// A signal handler ran while the call waited.
    #[error("a signal handler ran while the call waited; call again to go on waiting")]
    Interrupted,
    /// Somebody's lock covers the bytes by which processes show that they live.
    #[error(
        "{length} bytes (0: to the end) of the file from byte {start} are locked by {}; locks, cells and queues need the \
         bytes from 2^62 on for themselves: have that program lock less",
        match process { Some(process) => format!("process {process}"), None => "another program".to_owned() }
    )]
    ForeignLock {
        /// The first byte that is locked.
        start: u64,
        /// How many are; 0 to the end.
        length: u64,
        /// Who holds it, where the kernel knows.
        process: Option<i32>,
    },
    /// Locks in the region are held.
    #[error("{locks} lock(s) in the region are held by threads of this process; unlock them first")]
    MutexesOut {
        /// How many.
        locks: usize,
    },
    /// An object in the region is not as the call needs it.
    #[error("the {kind} at offset {offset} {problem}")]
    Object {
        /// What it is, or should be.
        kind: &'static str,
        /// Where it stands.
        offset: u64,
        /// What is the matter.
        problem: Problem,
    },
    /// No object has such a size.
    #[error("a {kind} for {length} bytes cannot be; pass 1 to 2^56")]
    NoSuchSize {
        /// What was to be made.
        kind: &'static str,
        /// The bytes asked for.
        length: u64,
    },
    /// Something that concerns others was asked of a copy-on-write region.
    #[error(
        "the region is MAPSHARE_COPY_ON_WRITE, so that others do not see what is done in it, nor wake who sleeps there; \
         open it MAPSHARE_READ_WRITE; to read cells, or to wait, MAPSHARE_READ_ONLY will do"
    )]
    NotShared,
    /// The kernel refused a call that nothing here foresaw.
    #[error("{call} of {subject} failed: {}", sentence(*errno))]
    System {
        /// The system call.
        call: &'static str,
        /// What it was about.
        subject: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// A panic was caught: an error of this library.
    #[error("an internal error was caught; the region may be used on, but please report this")]
    Internal,
}

impl From<Error> for std::io::Error {
    /// Keeps the sentence; the kind is the one that belongs to the code.
    fn from(error: Error) -> std::io::Error {
        let kind = std::io::Error::from_raw_os_error(error.errno()).kind();
        std::io::Error::new(kind, error)
    }
}
