//! From raw pages to checked bytes: the only pointer arithmetic of the crate.
//!
//! A [`Mapping`](mapping::Mapping) owns pages; a [`Span`](span::Span) is a range that has been checked against one;
//! `access` reads and writes spans by way of `guard`, whose accesses may fault; an [`Atomic`](word::Atomic) is a word of
//! a mapping; a [`View`](view::View) pins a span so that its address may be handed out. `sigbus` makes faults of the former an error, and puts zeros where the latter lose
//! a page: `pins` are the ranges it may do that in, `lost` what it notes. `hazard` tells whether anybody is still in a
//! call; `sleeping` is how a call waits for long, `lock_file` keeps its locks from the children of a fork, and `presence`
//! tells other processes that this one lives.

mod access;
pub(crate) mod atomic;
pub(crate) mod backoff;
pub(crate) mod buffer;
mod current;
pub(crate) mod direct;
pub(crate) mod fence;
pub(crate) mod fork_lock;
pub(crate) mod forks;
mod guard;
pub(crate) mod hazard;
pub(crate) mod held;
pub(crate) mod layout;
pub(crate) mod lock_file;
mod lost;
pub(crate) mod mapping;
pub(crate) mod moment;
pub(crate) mod one_user;
pub(crate) mod paging;
pub(crate) mod pinned;
mod pins;
pub(crate) mod presence;
pub(crate) mod sigbus;
pub(crate) mod sleeping;
pub(crate) mod span;
pub(crate) mod view;
pub(crate) mod word;
