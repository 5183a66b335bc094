//! Atomic operations, waits and wakes through both doors.

use super::c::{Token, outcome};
use super::doors::{Opened, Outcome};
use mapshare::Word;
use mapshare::ffi::atomic::*;
use mapshare::ffi::options::mapshare_region;
use mapshare::ffi::wait::{mapshare_wait, mapshare_wake};
use std::time::Duration;

/// What to do with a word.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Do<W> {
    Load,
    Store(W),
    Swap(W),
    Add(W),
    And(W),
    Or(W),
    /// Expected and desired.
    CompareSwap(W, W),
}

impl<W: Number> Do<W> {
    pub(crate) fn writes(self) -> bool {
        !matches!(self, Do::Load)
    }

    /// One of each.
    pub(crate) fn all() -> [Do<W>; 7] {
        let (one, two) = (W::from(1), W::from(2));
        [Do::Load, Do::Store(one), Do::Swap(one), Do::Add(one), Do::And(one), Do::Or(one), Do::CompareSwap(one, two)]
    }
}

type Change<W> = unsafe extern "C" fn(*mut mapshare_region, u64, W, *mut W) -> i32;

/// The functions of the C interface for one width, each with its name.
pub(crate) struct Functions<W> {
    load: (&'static str, unsafe extern "C" fn(*mut mapshare_region, u64, *mut W) -> i32),
    store: (&'static str, extern "C" fn(*mut mapshare_region, u64, W) -> i32),
    swap: (&'static str, Change<W>),
    add: (&'static str, Change<W>),
    and: (&'static str, Change<W>),
    or: (&'static str, Change<W>),
    compare_swap: (&'static str, unsafe extern "C" fn(*mut mapshare_region, u64, W, W, *mut W) -> i32),
}

/// A type that atomics are for.
pub(crate) trait Number: Word + From<u8> + 'static {
    const FUNCTIONS: Functions<Self>;
    /// A value that no operation here yields.
    const UNTOUCHED: Self;
}

macro_rules! number {
    ($word:ty, $load:ident, $store:ident, $swap:ident, $add:ident, $and:ident, $or:ident, $compare_swap:ident) => {
        impl Number for $word {
            const FUNCTIONS: Functions<Self> = Functions {
                load: (stringify!($load), $load),
                store: (stringify!($store), $store),
                swap: (stringify!($swap), $swap),
                add: (stringify!($add), $add),
                and: (stringify!($and), $and),
                or: (stringify!($or), $or),
                compare_swap: (stringify!($compare_swap), $compare_swap),
            };
            const UNTOUCHED: Self = 0xdead_beef;
        }
    };
}
number!(
    u32,
    mapshare_atomic_load_u32,
    mapshare_atomic_store_u32,
    mapshare_atomic_swap_u32,
    mapshare_atomic_add_u32,
    mapshare_atomic_and_u32,
    mapshare_atomic_or_u32,
    mapshare_atomic_compare_swap_u32
);
number!(
    u64,
    mapshare_atomic_load_u64,
    mapshare_atomic_store_u64,
    mapshare_atomic_swap_u64,
    mapshare_atomic_add_u64,
    mapshare_atomic_and_u64,
    mapshare_atomic_or_u64,
    mapshare_atomic_compare_swap_u64
);

impl Token {
    /// What stood there before; for a store, what was stored.
    pub(crate) fn atomic<W: Number>(self, offset: u64, operation: Do<W>) -> Outcome<W> {
        let mut word = W::UNTOUCHED;
        let result = self.atomic_to(offset, operation, &mut word);
        if let (Ok(swapped), Do::CompareSwap(expected, _)) = (&result, operation) {
            assert_eq!(*swapped == 1, word == expected, "it says whether it swapped");
        }
        assert!(result.is_ok() || word == W::UNTOUCHED, "a failed call writes nothing");
        if let Do::Store(value) = operation {
            word = value;
        }
        result.map(|_| word)
    }

    pub(crate) fn wait(self, offset: u64, expected: u32, timeout_ns: i64) -> Outcome {
        let result = outcome("mapshare_wait", mapshare_wait(self.pointer(), offset, expected, timeout_ns));
        result.map(|zero| assert_eq!(zero, 0))
    }

    /// How many woke.
    pub(crate) fn wake(self, offset: u64, count: u32) -> Outcome<u32> {
        let woken = outcome("mapshare_wake", mapshare_wake(self.pointer(), offset, count));
        woken.map(|woken| u32::try_from(woken).expect("not negative"))
    }

    /// The number that the C function returns.
    pub(crate) fn atomic_to<W: Number>(self, offset: u64, operation: Do<W>, to: *mut W) -> Outcome<i64> {
        let functions = W::FUNCTIONS;
        let change = |(name, function): (&str, Change<W>), value| {
            // SAFETY: callers pass room for a word, or NULL where that may be.
            outcome(name, unsafe { function(self.pointer(), offset, value, to) })
        };
        match operation {
            Do::Load => {
                // SAFETY: as above.
                outcome(functions.load.0, unsafe { functions.load.1(self.pointer(), offset, to) })
            }
            Do::Store(value) => outcome(functions.store.0, functions.store.1(self.pointer(), offset, value)),
            Do::Swap(value) => change(functions.swap, value),
            Do::Add(value) => change(functions.add, value),
            Do::And(value) => change(functions.and, value),
            Do::Or(value) => change(functions.or, value),
            Do::CompareSwap(expected, desired) => {
                let (name, function) = functions.compare_swap;
                // SAFETY: as above.
                outcome(name, unsafe { function(self.pointer(), offset, expected, desired, to) })
            }
        }
    }
}

impl Opened {
    pub(crate) fn wait(&self, offset: u64, expected: u32, timeout_ns: i64) -> Outcome {
        let region = match self {
            Opened::C { token, .. } => return token.wait(offset, expected, timeout_ns),
            Opened::Rust { region, .. } => region.as_ref().expect("not used after unmap through Rust"),
        };
        let timeout = u64::try_from(timeout_ns).ok().map(Duration::from_nanos);
        Ok(region.atomic(offset)?.wait(expected, timeout)?)
    }

    /// How many woke.
    pub(crate) fn wake(&self, offset: u64, count: u32) -> Outcome<u32> {
        match self {
            Opened::C { token, .. } => token.wake(offset, count),
            Opened::Rust { region, .. } => {
                let region = region.as_ref().expect("not used after unmap through Rust");
                Ok(region.atomic(offset)?.wake(count)?)
            }
        }
    }

    /// What stood there before; for a store, what was stored.
    pub(crate) fn atomic<W: Number>(&self, offset: u64, operation: Do<W>) -> Outcome<W> {
        let region = match self {
            Opened::C { token, .. } => return token.atomic(offset, operation),
            Opened::Rust { region, .. } => region.as_ref().expect("not used after unmap through Rust"),
        };
        let word = region.atomic::<W>(offset)?;
        Ok(match operation {
            Do::Load => word.load()?,
            Do::Store(value) => word.store(value).map(|()| value)?,
            Do::Swap(value) => word.swap(value)?,
            Do::Add(value) => word.add(value)?,
            Do::And(value) => word.and(value)?,
            Do::Or(value) => word.or(value)?,
            Do::CompareSwap(expected, desired) => word.compare_swap(expected, desired)?,
        })
    }
}
