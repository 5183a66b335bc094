//! Locks through both doors.

use super::c::{Token, outcome};
use super::doors::{Opened, Outcome};
use mapshare::ffi::mutex::*;
use mapshare::{Locked, Mutex, Region};
use std::time::Duration;

impl Token {
    pub(crate) fn init_mutex(self, offset: u64) -> Outcome {
        outcome("mapshare_mutex_init", mapshare_mutex_init(self.pointer(), offset)).map(drop)
    }

    /// Whether an owner has died.
    pub(crate) fn lock(self, offset: u64, timeout_ns: i64) -> Outcome<bool> {
        let locked = outcome("mapshare_mutex_lock", mapshare_mutex_lock(self.pointer(), offset, timeout_ns))?;
        assert!([0, i64::from(MAPSHARE_OWNER_DIED)].contains(&locked));
        Ok(locked != 0)
    }

    pub(crate) fn recover(self, offset: u64) -> Outcome {
        outcome("mapshare_mutex_recover", mapshare_mutex_recover(self.pointer(), offset)).map(drop)
    }

    pub(crate) fn unlock(self, offset: u64) -> Outcome {
        outcome("mapshare_mutex_unlock", mapshare_mutex_unlock(self.pointer(), offset)).map(drop)
    }

    pub(crate) fn owner(self, offset: u64) -> Outcome<mapshare_owner> {
        let mut owner = mapshare_owner::default();
        // SAFETY: room for the struct.
        let result = unsafe { mapshare_mutex_owner(self.pointer(), offset, &mut owner, size_of::<mapshare_owner>()) };
        outcome("mapshare_mutex_owner", result).map(|_| owner)
    }
}

fn mutex(region: &Option<Region>, offset: u64) -> Outcome<Mutex<'_>> {
    let region = region.as_ref().expect("not used after unmap through Rust");
    Ok(Mutex::at(region.words(offset, Mutex::SIZE)?)?)
}

impl Opened {
    pub(crate) fn init_mutex(&self, offset: u64) -> Outcome {
        let region = match self {
            Opened::C { token, .. } => return token.init_mutex(offset),
            Opened::Rust { region, .. } => region.as_ref().expect("not used after unmap through Rust"),
        };
        Ok(Mutex::init(region.words(offset, Mutex::SIZE)?)?)
    }

    /// Whether an owner has died.
    pub(crate) fn lock(&self, offset: u64, timeout_ns: i64) -> Outcome<bool> {
        match self {
            Opened::C { token, .. } => token.lock(offset, timeout_ns),
            Opened::Rust { region, .. } => {
                let timeout = u64::try_from(timeout_ns).ok().map(Duration::from_nanos);
                Ok(mutex(region, offset)?.lock(timeout)? == Locked::OwnerDied)
            }
        }
    }

    pub(crate) fn recover(&self, offset: u64) -> Outcome {
        match self {
            Opened::C { token, .. } => token.recover(offset),
            Opened::Rust { region, .. } => Ok(mutex(region, offset)?.recover()?),
        }
    }

    pub(crate) fn unlock(&self, offset: u64) -> Outcome {
        match self {
            Opened::C { token, .. } => token.unlock(offset),
            Opened::Rust { region, .. } => Ok(mutex(region, offset)?.unlock()?),
        }
    }

    pub(crate) fn owner(&self, offset: u64) -> Outcome<mapshare_owner> {
        match self {
            Opened::C { token, .. } => token.owner(offset),
            Opened::Rust { region, .. } => Ok(mutex(region, offset)?.owner()?.into()),
        }
    }
}
