//! Seals of memory files: fcntl(2), "File Sealing". What they forbid is told by name.

use super::Region;
use super::name::Name;
use crate::error::{Error, Result};
use crate::sys::Errno;
use crate::sys::file::{self, SEAL_FUTURE_WRITE, SEAL_GROW, SEAL_SEAL, SEAL_SHRINK, SEAL_WRITE, Status};
use std::os::fd::BorrowedFd;

/// A call that seals may forbid.
pub(super) struct Forbidden {
    call: &'static str,
    /// What it would do.
    asked: &'static str,
    /// The seals that forbid it.
    seals: u32,
    remedy: &'static str,
}

pub(super) const MAPPING: Forbidden = Forbidden {
    call: "mmap",
    asked: "a new mapping that may write",
    seals: SEAL_WRITE | SEAL_FUTURE_WRITE,
    remedy: "open or send it MAPSHARE_READ_ONLY or MAPSHARE_COPY_ON_WRITE",
};
pub(super) const WIDENING: Forbidden = Forbidden { call: "mprotect", asked: "writing", ..MAPPING };
pub(super) const SHRINKING: Forbidden =
    Forbidden { call: "ftruncate", asked: "shortening", seals: SEAL_SHRINK, remedy: "leave it as long as it is" };
pub(super) const GROWING: Forbidden = Forbidden {
    call: "fallocate",
    asked: "growing",
    seals: SEAL_GROW,
    remedy: "make new memory of the length that is needed",
};

/// Each seal with its name in the C interface.
const NAMES: [(u32, &str); 5] = [
    (SEAL_SEAL, "MAPSHARE_SEAL_SEAL"),
    (SEAL_SHRINK, "MAPSHARE_SEAL_SHRINK"),
    (SEAL_GROW, "MAPSHARE_SEAL_GROW"),
    (SEAL_WRITE, "MAPSHARE_SEAL_WRITE"),
    (SEAL_FUTURE_WRITE, "MAPSHARE_SEAL_FUTURE_WRITE"),
];

impl Region {
    /// Seals the region's memory file, for everyone and for good, with bits of fcntl(2) F_ADD_SEALS. Mappings that may
    /// write already, this region's included, go on writing after SEAL_FUTURE_WRITE.
    ///
    /// # Errors
    /// EOPNOTSUPP: it is no memory file. EACCES: the region's descriptor is for reading only. EPERM: no more seals may
    /// be added. EBUSY: SEAL_WRITE while mappings are there that may write. EINVAL: this kernel does not know the seal.
    pub fn seal(&self, seals: u32) -> Result<()> {
        let unnamed = self.status()?.is_unnamed;
        let Some(present) = file::seals_if_any(self.file()).filter(|_| unnamed) else {
            return Err(refused(
                Errno::EOPNOTSUPP,
                "the region is a file, and only memory files can be sealed; make one with mapshare_open_anonymous",
            ));
        };
        if !self.writable {
            return Err(Error::AccessExceeded {
                access: "sealing",
                granted: "the region's descriptor is for reading only",
                remedy: "let the process seal it that has it MAPSHARE_READ_WRITE",
            });
        }
        file::add_seals(self.file(), seals).map_err(|errno| match errno {
            Errno::EPERM if present & SEAL_SEAL != 0 => {
                let remedy = "add all seals before that one, or in the same call";
                Error::Sealed { file: Name::Own.into(), asked: "sealing", seal: "MAPSHARE_SEAL_SEAL", remedy }
            }
            Errno::EBUSY => refused(
                Errno::EBUSY,
                "MAPSHARE_SEAL_WRITE needs that nobody has the memory mapped writable, and this region, or one of \
                 another process, is, even when it is narrowed to MAPSHARE_READ_ONLY; MAPSHARE_SEAL_FUTURE_WRITE \
                 forbids all further writers and leaves those there are",
            ),
            errno => Error::system("fcntl(F_ADD_SEALS)", Name::Own, errno),
        })?;
        // Asked after the seal, so that the length is one that stays.
        let end = self.mapping().file_offset().saturating_add(self.length());
        if file::seals(self.file()) & SEAL_SHRINK != 0 && self.status()?.size >= end {
            self.mapping().trust_seal();
        }
        Ok(())
    }
}

impl Forbidden {
    /// What a refusal comes from: one of the `present` seals where it may be that, else in the system's own words.
    pub(super) fn told(&self, present: u32, name: Name, errno: Errno) -> Error {
        match self.by(present) {
            // mprotect(2) says EACCES of a mapping that was made under the seal.
            Some(seal) if [Errno::EPERM, Errno::EACCES].contains(&errno) => self.error(name, seal),
            _ => Error::system(self.call, name, errno),
        }
    }

    /// The refusal, if one of the `present` seals means it.
    pub(super) fn check(&self, present: u32, name: Name) -> Result<()> {
        self.by(present).map_or(Ok(()), |seal| Err(self.error(name, seal)))
    }

    fn by(&self, present: u32) -> Option<&'static str> {
        NAMES.iter().find(|(seal, _)| present & self.seals & seal != 0).map(|(_, name)| *name)
    }

    fn error(&self, name: Name, seal: &'static str) -> Error {
        Error::Sealed { file: name.into(), asked: self.asked, seal, remedy: self.remedy }
    }
}

/// The seals of a memory file; None for other files, and for those without a name that nobody can seal.
pub(super) fn of_memory(file: BorrowedFd, status: &Status) -> Option<u32> {
    // KERNEL: files that were removed from a tmpfs answer as well, with the seal against seals alone.
    if status.is_unnamed { file::seals_if_any(file).filter(|seals| *seals != SEAL_SEAL) } else { None }
}

fn refused(errno: Errno, sentence: &'static str) -> Error {
    Error::CannotSeal { sentence, errno: errno.0 }
}
