//! The C interface: `include/mapshare.h` is generated from the comments of these files, in this order, and is the
//! manual for C programs.
//!
//! Decision: an exported function checks its arguments, makes one call of the layers below and converts the result,
//! all inside `guard`, which turns errors into codes and a panic into `-ENOTRECOVERABLE`.

#![allow(clippy::missing_safety_doc, reason = "what a caller vouches for stands at each @param")]

mod guard;
pub mod options;
mod table;
mod token;

pub mod open;

pub mod named;

pub mod access;

pub mod view;

pub mod region;

pub mod handover;

pub mod range_lock;

pub mod atomic;

pub mod wait;

pub mod mutex;

pub mod cell;

pub mod queue;

pub mod library;
