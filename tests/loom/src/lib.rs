//! The library's token table, hazard cells, fences, pins and the word of a lock, compiled for the model checker. Empty without
//! `--cfg loom`.
#![cfg(all(loom, test))]

#[path = "../../../src/mem"]
mod mem {
    pub(crate) mod atomic;
    pub(crate) mod backoff;
    mod current;
    pub(crate) mod fence;
    pub(crate) mod hazard;
    #[expect(dead_code, reason = "the model needs the word of a lock only")]
    pub(crate) mod layout;
    /// Views hold it; the handler looks at nothing but its address.
    pub(crate) mod mapping {
        pub(crate) struct Mapping(#[expect(dead_code, reason = "bytes, for an address of its own")] pub(crate) u8);
    }
    pub(crate) mod pins;
    #[path = "../../tests/loom/src/pins_loom.rs"]
    mod pins_loom;
}

#[path = "../../../src/ffi"]
mod ffi {
    pub(crate) mod table;
    pub(crate) mod token;
}

#[path = "../../../src/sync"]
mod sync {
    pub(crate) mod lock_word;
}

/// The system calls in a model: threads never die, nobody forks, no page can be had.
mod sys {
    /// A positive error number of errno(3).
    pub(crate) struct Errno(#[expect(dead_code, reason = "the library ignores it")] pub(crate) i32);

    pub(crate) mod map {
        use super::Errno;
        use std::ptr::NonNull;

        pub(crate) fn zero_pages(_length: usize) -> Result<NonNull<u8>, Errno> {
            Err(Errno(12))
        }
    }

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

mod lock_word_loom;
mod table_loom;
