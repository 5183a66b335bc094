//! The library's protocols without a kernel. For the model checker (`--cfg loom`): the token table, hazard cells, fences,
//! values with one user, pins, the word of a lock, the cell and the queue. For Miri and plain threads: the cell and the queue.
#![cfg(test)]

#[path = "../../../src/error"]
mod error {
    #[expect(dead_code, reason = "codes are for callers")]
    mod objects;
    pub(crate) use objects::Problem;
}

#[path = "../../../src/mem"]
mod mem {
    #[cfg_attr(not(loom), expect(unused_imports, reason = "the cell and the queue need a few"))]
    pub(crate) mod atomic;
    #[cfg(loom)]
    pub(crate) mod backoff;
    #[expect(dead_code, reason = "no C caller's buffers here")]
    pub(crate) mod buffer;
    #[cfg(loom)]
    mod current;
    #[cfg(loom)]
    pub(crate) mod fence;
    #[cfg(loom)]
    pub(crate) mod hazard;
    /// Buffers know it; here bytes are copied by the heap.
    mod guard {
        pub(super) fn is_short(_: usize) -> bool {
            true
        }

        pub(super) unsafe fn copy_short(_: *mut u8, _: *const u8, _: usize) -> bool {
            false
        }

        pub(super) unsafe fn copy(_: *mut u8, _: *const u8, _: usize) -> usize {
            0
        }
    }
    #[path = "../../tests/loom/src/heap.rs"]
    pub(crate) mod heap;
    #[expect(dead_code, reason = "the word of a lock is all that is needed of it")]
    pub(crate) mod layout;
    /// Views hold it; the handler looks at nothing but its address.
    #[cfg(loom)]
    pub(crate) mod mapping {
        pub(crate) struct Mapping(#[expect(dead_code, reason = "bytes, for an address of its own")] pub(crate) u8);
    }
    #[cfg(loom)]
    pub(crate) mod one_user;
    #[cfg(loom)]
    #[path = "../../tests/loom/src/one_user_loom.rs"]
    mod one_user_loom;
    #[cfg(loom)]
    pub(crate) mod pins;
    #[cfg(loom)]
    #[path = "../../tests/loom/src/pins_loom.rs"]
    mod pins_loom;
}

#[cfg(loom)]
#[path = "../../../src/ffi"]
mod ffi {
    pub(crate) mod table;
    pub(crate) mod token;
}

#[cfg(loom)]
#[path = "../../../src/sync"]
mod sync {
    pub(crate) mod lock_word;
}

#[path = "../../../src/data"]
mod data {
    mod cell {
        pub(super) mod protocol;
    }
    mod failure;
    mod memory;
    mod object;
    #[expect(dead_code, reason = "what is done in place, and told of a queue, is for callers")]
    mod queue {
        pub(super) mod consumer;
        mod pace;
        pub(super) mod producer;
        pub(super) mod ring;
        mod side;
    }
    mod sleep;
    mod trial;

    #[path = "../../tests/loom/src/cell_models.rs"]
    mod cell_models;
    #[path = "../../tests/loom/src/explore.rs"]
    mod explore;
    #[path = "../../tests/loom/src/making_models.rs"]
    mod making_models;
    #[path = "../../tests/loom/src/objects.rs"]
    mod objects;
    #[path = "../../tests/loom/src/queue_deaths.rs"]
    mod queue_deaths;
    #[path = "../../tests/loom/src/queue_models.rs"]
    mod queue_models;
    #[path = "../../tests/loom/src/user.rs"]
    mod user;
}

/// The system calls in a model: threads never die, nobody forks, no page can be had.
#[path = "../../../src/sys"]
mod sys {
    #[expect(dead_code, reason = "names of numbers")]
    mod errno;
    pub(crate) use errno::Errno;

    #[cfg(loom)]
    pub(crate) mod map {
        use super::Errno;
        use std::ptr::NonNull;

        pub(crate) fn zero_pages(_length: usize) -> Result<NonNull<u8>, Errno> {
            Err(Errno(12))
        }
    }

    #[cfg(loom)]
    pub(crate) mod process {
        use super::Errno;

        pub(crate) fn process_id() -> u32 {
            1
        }

        /// The same in every run, unlike an address.
        pub(crate) fn thread_id() -> u32 {
            let name = format!("{:?}", loom::thread::current().id());
            let digits: String = name.chars().filter(char::is_ascii_digit).collect();
            digits.parse::<u32>().map_or(u32::MAX, |number| number + 1)
        }

        pub(crate) fn thread_exists(_thread: u32) -> bool {
            true
        }

        pub(crate) fn on_fork(_child: extern "C" fn()) -> Result<(), Errno> {
            Ok(())
        }
    }

    #[cfg(loom)]
    pub(crate) mod signal {
        pub(crate) struct SignalsBlocked;

        impl SignalsBlocked {
            pub(crate) fn new() -> SignalsBlocked {
                SignalsBlocked
            }

            pub(crate) fn had_sigbus_blocked(&self) -> bool {
                false
            }
        }
    }
}

/// Threads and what they wait with: those of the model, or real ones.
mod threads {
    #[cfg(loom)]
    pub(crate) use loom::{
        sync::{Condvar, Mutex},
        thread::{spawn, yield_now},
    };
    #[cfg(not(loom))]
    pub(crate) use std::{
        sync::{Condvar, Mutex},
        thread::spawn,
    };
}

#[cfg(loom)]
mod lock_word_loom;
#[cfg(loom)]
mod table_loom;
