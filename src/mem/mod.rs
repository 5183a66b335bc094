//! From raw pages to checked bytes: the only pointer arithmetic of the crate.
//!
//! A [`Mapping`](mapping::Mapping) owns pages; a [`Span`](span::Span) is a range that has been checked against one;
//! a [`View`](view::View) pins a span so that its address may be handed out.

pub(crate) mod atomic;
pub(crate) mod buffer;
mod copy;
pub(crate) mod mapping;
pub(crate) mod span;
pub(crate) mod view;
