//! The two doors of the library, Rust and C, behind one face, so that one test goes through both.

use super::c::{self, Token};
use mapshare::ffi::options::*;
use mapshare::{Access, Advice, Backing, Error, Flush, LockMode, Options, Region, View};
use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::path::Path;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Rust,
    C,
}

pub(crate) const DOORS: [Door; 2] = [Door::Rust, Door::C];

/// A refused call: the positive code and the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) text: String,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { code: error.errno(), text: error.to_string() }
    }
}

/// The code of a result; 0 when good.
pub(crate) fn code<T>(outcome: Outcome<T>) -> i32 {
    outcome.err().map_or(0, |failure| failure.code)
}

/// Checks that a call was refused with this code, in a sentence that has these words.
#[track_caller]
pub(crate) fn refused<T>(outcome: Outcome<T>, code: i32, words: &[&str]) {
    let failure = match outcome {
        Ok(_) => panic!("it succeeded; {code} {words:?} was expected"),
        Err(failure) => failure,
    };
    assert_eq!(failure.code, code, "{}", failure.text);
    for word in words {
        assert!(failure.text.contains(word), "'{word}' is missing in: {}", failure.text);
    }
}

/// A region, opened through one of the doors.
pub(crate) enum Opened {
    Rust { region: Option<Region>, views: Vec<View> },
    C { token: Token, views: Vec<usize> },
}

fn rust_options(options: &mapshare_options) -> Options {
    let flag = |flag| options.flags & flag != 0;
    Options::new()
        .access(rust_access(options.access))
        .offset(options.offset)
        .length(options.length)
        .reserve(options.reserve)
        .mode(options.mode)
        .create(flag(MAPSHARE_CREATE))
        .exclusive(flag(MAPSHARE_EXCLUSIVE))
        .populate(flag(MAPSHARE_POPULATE))
        .locked(flag(MAPSHARE_LOCKED))
        .huge_pages(flag(MAPSHARE_HUGE_PAGES))
        .no_follow(flag(MAPSHARE_NO_FOLLOW))
        .beneath(flag(MAPSHARE_BENEATH))
        .sparse(flag(MAPSHARE_SPARSE))
        .unlink_last(flag(MAPSHARE_UNLINK_LAST))
        .no_handler(flag(MAPSHARE_NO_HANDLER))
}

fn rust_access(access: u32) -> Access {
    match access {
        MAPSHARE_READ_ONLY => Access::ReadOnly,
        MAPSHARE_READ_WRITE => Access::ReadWrite,
        MAPSHARE_COPY_ON_WRITE => Access::CopyOnWrite,
        _ => panic!("Rust has no access {access}"),
    }
}

fn rust_advice(advice: u32) -> Advice {
    match advice {
        MAPSHARE_ADVISE_NORMAL => Advice::Normal,
        MAPSHARE_ADVISE_SEQUENTIAL => Advice::Sequential,
        MAPSHARE_ADVISE_RANDOM => Advice::Random,
        MAPSHARE_ADVISE_WILL_NEED => Advice::WillNeed,
        MAPSHARE_ADVISE_DONT_NEED => Advice::DontNeed,
        MAPSHARE_ADVISE_HUGE_PAGES => Advice::HugePages,
        _ => panic!("Rust has no advice {advice}"),
    }
}

fn borrowed<'a>(fd: i32) -> BorrowedFd<'a> {
    // SAFETY: tests keep it open for the call, or pass AT_FDCWD.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

impl Door {
    pub(crate) fn open(self, path: impl AsRef<Path>, options: &mapshare_options) -> Outcome<Opened> {
        match self {
            Door::Rust => Ok(Opened::rust(rust_options(options).open(path)?)),
            Door::C => Ok(Opened::c(c::open(path.as_ref(), options)?)),
        }
    }

    pub(crate) fn open_fd(self, fd: i32, options: &mapshare_options) -> Outcome<Opened> {
        match self {
            Door::Rust => Ok(Opened::rust(rust_options(options).open_fd(borrowed(fd))?)),
            Door::C => Ok(Opened::c(c::open_fd(fd, options)?)),
        }
    }

    pub(crate) fn open_named(self, name: impl AsRef<OsStr>, options: &mapshare_options) -> Outcome<Opened> {
        match self {
            Door::Rust => Ok(Opened::rust(rust_options(options).open_named(name)?)),
            Door::C => Ok(Opened::c(c::open_named(name.as_ref(), options)?)),
        }
    }

    pub(crate) fn unlink_named(self, name: impl AsRef<OsStr>) -> Outcome {
        match self {
            Door::Rust => Ok(mapshare::unlink_named(name)?),
            Door::C => c::unlink_named(name.as_ref()),
        }
    }

    pub(crate) fn sweep_named(self, prefix: impl AsRef<OsStr>) -> Outcome<u64> {
        match self {
            Door::Rust => Ok(mapshare::sweep_named(prefix)?),
            Door::C => c::sweep_named(prefix.as_ref()),
        }
    }

    pub(crate) fn open_at(self, fd: i32, path: impl AsRef<Path>, options: &mapshare_options) -> Outcome<Opened> {
        match self {
            Door::Rust => Ok(Opened::rust(rust_options(options).open_at(borrowed(fd), path)?)),
            Door::C => Ok(Opened::c(c::open_at(fd, path.as_ref(), options)?)),
        }
    }

    pub(crate) fn open_anonymous(self, options: &mapshare_options) -> Outcome<Opened> {
        match self {
            Door::Rust => Ok(Opened::rust(rust_options(options).open_anonymous()?)),
            Door::C => Ok(Opened::c(c::open_anonymous(options)?)),
        }
    }

    pub(crate) fn receive(self, socket: i32, options: &mapshare_options) -> Outcome<Opened> {
        match self {
            Door::Rust => Ok(Opened::rust(rust_options(options).receive(borrowed(socket))?)),
            Door::C => Ok(Opened::c(c::receive(socket, options)?)),
        }
    }
}

impl Opened {
    fn rust(region: Region) -> Opened {
        Opened::Rust { region: Some(region), views: Vec::new() }
    }

    pub(crate) fn c(token: Token) -> Opened {
        Opened::C { token, views: Vec::new() }
    }

    fn region(region: &Option<Region>) -> &Region {
        region.as_ref().expect("not used after unmap through Rust")
    }

    fn region_mut(region: &mut Option<Region>) -> &mut Region {
        region.as_mut().expect("not used after unmap through Rust")
    }

    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Outcome {
        match self {
            Opened::Rust { region, .. } => Ok(Self::region(region).read(offset, buffer)?),
            Opened::C { token, .. } => token.read(offset, buffer),
        }
    }

    /// Reads `length` bytes that have to be there.
    #[track_caller]
    pub(crate) fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0xEE; length];
        self.read(offset, &mut bytes).expect("the bytes are there");
        bytes
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Outcome {
        match self {
            Opened::Rust { region, .. } => Ok(Self::region(region).write(offset, bytes)?),
            Opened::C { token, .. } => token.write(offset, bytes),
        }
    }

    pub(crate) fn fill(&self, offset: u64, length: u64, byte: u8) -> Outcome {
        match self {
            Opened::Rust { region, .. } => Ok(Self::region(region).fill(offset, length, byte)?),
            Opened::C { token, .. } => token.fill(offset, length, byte.into()),
        }
    }

    /// Copies into this region from another one, opened through the same door.
    pub(crate) fn copy_from(&self, to_offset: u64, from: &Opened, from_offset: u64, length: u64) -> Outcome {
        match (self, from) {
            (Opened::Rust { region: to, .. }, Opened::Rust { region: from, .. }) => {
                Ok(Self::region(from).copy_to(from_offset, Self::region(to), to_offset, length)?)
            }
            (Opened::C { token: to, .. }, Opened::C { token: from, .. }) => {
                to.copy_from(to_offset, *from, from_offset, length)
            }
            _ => panic!("both regions come through one door"),
        }
    }

    pub(crate) fn flush(&self, offset: u64, length: u64, flags: u32) -> Outcome {
        match self {
            Opened::Rust { region, .. } => {
                let when = if flags == MAPSHARE_FLUSH_ASYNC { Flush::Start } else { Flush::Wait };
                Ok(Self::region(region).flush(offset, length, when)?)
            }
            Opened::C { token, .. } => token.flush(offset, length, flags),
        }
    }

    pub(crate) fn view(&mut self, offset: u64, length: u64) -> Outcome<*mut u8> {
        match self {
            Opened::Rust { region, views } => {
                let view = Self::region(region).view(offset, length)?;
                let pointer = view.as_ptr();
                views.push(view);
                Ok(pointer)
            }
            Opened::C { token, views } => {
                let pointer = token.view(offset, length)?;
                views.push(pointer.addr());
                Ok(pointer)
            }
        }
    }

    /// Gives a view back that `view` returned.
    pub(crate) fn release(&mut self, pointer: *mut u8) {
        match self {
            Opened::Rust { views, .. } => {
                let index = views.iter().position(|view| view.as_ptr() == pointer).expect("it is out");
                drop(views.remove(index));
            }
            Opened::C { token, views } => {
                token.release(pointer).expect("it is out");
                let index = views.iter().position(|view| *view == pointer.addr()).expect("it is out");
                views.remove(index);
            }
        }
    }

    pub(crate) fn resize(&mut self, length: u64) -> Outcome {
        match self {
            Opened::Rust { region, .. } => Ok(Self::region_mut(region).resize(length)?),
            Opened::C { token, .. } => token.resize(length),
        }
    }

    pub(crate) fn refresh(&mut self) -> Outcome<bool> {
        match self {
            Opened::Rust { region, .. } => Ok(Self::region_mut(region).refresh()?),
            Opened::C { token, .. } => token.refresh(),
        }
    }

    pub(crate) fn protect(&mut self, access: u32) -> Outcome {
        match self {
            Opened::Rust { region, .. } => Ok(Self::region_mut(region).protect(rust_access(access))?),
            Opened::C { token, .. } => token.protect(access),
        }
    }

    pub(crate) fn advise(&self, offset: u64, length: u64, advice: u32) -> Outcome {
        match self {
            Opened::Rust { region, .. } => Ok(Self::region(region).advise(offset, length, rust_advice(advice))?),
            Opened::C { token, .. } => token.advise(offset, length, advice),
        }
    }

    /// Locks for this thread; a negative timeout stands for ever.
    pub(crate) fn lock_range(&self, offset: u64, length: u64, mode: u32, timeout_ns: i64) -> Outcome {
        match self {
            Opened::Rust { region, .. } => {
                let mode = if mode == MAPSHARE_LOCK_SHARED { LockMode::Shared } else { LockMode::Exclusive };
                let timeout = u64::try_from(timeout_ns).ok().map(Duration::from_nanos);
                Ok(Self::region(region).lock_range(offset, length, mode, timeout)?)
            }
            Opened::C { token, .. } => token.lock_range(offset, length, mode, timeout_ns),
        }
    }

    pub(crate) fn unlock_range(&self, offset: u64, length: u64) -> Outcome {
        match self {
            Opened::Rust { region, .. } => Ok(Self::region(region).unlock_range(offset, length)?),
            Opened::C { token, .. } => token.unlock_range(offset, length),
        }
    }

    #[track_caller]
    pub(crate) fn length(&self) -> u64 {
        match self {
            Opened::Rust { region, .. } => Self::region(region).length(),
            Opened::C { token, .. } => token.length().expect("an open region has a length"),
        }
    }

    #[track_caller]
    pub(crate) fn info(&self) -> mapshare_region_info {
        self.try_info().expect("the kernel answers")
    }

    pub(crate) fn try_info(&self) -> Outcome<mapshare_region_info> {
        let region = match self {
            Opened::C { token, .. } => return token.info(),
            Opened::Rust { region, .. } => Self::region(region),
        };
        let info = region.info()?;
        Ok(mapshare_region_info {
            length: info.length,
            offset: info.offset,
            reserve: info.reserve,
            file_length: info.file_length,
            page_size: info.page_size,
            resident: info.resident,
            faults: 0,
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
        })
    }

    pub(crate) fn send(&self, socket: i32, access: u32) -> Outcome {
        match self {
            Opened::Rust { region, .. } => Ok(Self::region(region).send(borrowed(socket), rust_access(access))?),
            Opened::C { token, .. } => token.send(socket, access),
        }
    }

    pub(crate) fn seal(&self, seals: u32) -> Outcome {
        match self {
            Opened::Rust { region, .. } => Ok(Self::region(region).seal(seals)?),
            Opened::C { token, .. } => token.seal(seals),
        }
    }

    /// A descriptor that the caller closes.
    pub(crate) fn fd(&self) -> Outcome<i32> {
        match self {
            Opened::Rust { region, .. } => Ok(Self::region(region).duplicate_fd()?.into_raw_fd()),
            Opened::C { token, .. } => token.fd(),
        }
    }

    /// The token, of a region that came through the C door.
    pub(crate) fn token(&self) -> Token {
        match self {
            Opened::C { token, .. } => *token,
            Opened::Rust { .. } => panic!("Rust has no tokens"),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Opened::C { token, views } = self {
            for view in views {
                let _ = token.release(std::ptr::without_provenance_mut(*view));
            }
            let _ = token.unmap();
        }
    }
}
