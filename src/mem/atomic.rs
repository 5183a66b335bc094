//! The atomics of the crate. No other file names `std::sync::atomic`.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
