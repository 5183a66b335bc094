//! What the benches share.
//!
//! Decision: no test by time. A bench prints a table and ends well, whatever the figures are; people judge them.
//! Decision: ours and the rival take turns in short rounds in one run, and a ratio is the median of the ratios of the
//! rounds: what else runs on the machine, and the clock's speed, then meet both alike.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub(crate) mod files;
pub(crate) mod library;
pub(crate) mod machine;
pub(crate) mod measure;
pub(crate) mod ring;
pub(crate) mod table;
