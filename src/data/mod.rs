//! Objects that live in a region: the latest-value cell and the message queue.
//!
//! The protocols are generic over the memory they live in ([`memory`]), and neither allocate nor trust what they read.
//! [`place`] is that memory in a region.

#![forbid(unsafe_code)]

pub(crate) mod cell;
mod failure;
mod memory;
mod object;
mod place;
pub(crate) mod queue;
mod sleep;
mod trial;
