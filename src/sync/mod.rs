//! What processes do with words of a region beside changing them: waiting for one another.

#![forbid(unsafe_code)]

pub(crate) mod liveness;
pub(crate) mod lock_word;
pub(crate) mod mutex;
pub(crate) mod wait;
