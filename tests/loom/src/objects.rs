//! Cells and queues on the heap, and what their models do with them.

use super::cell::protocol::{self as cell, Slots};
use super::failure::{Failure, Result};
use super::queue::consumer::Consumer;
use super::queue::producer::Producer;
use super::queue::ring;
use super::user::{Sleeps, User};
use crate::error::Problem;
use crate::mem::heap::Parts;
use crate::mem::layout::queue::{COMMITTED, RING};
use std::time::Duration;

pub(super) const SINGLE: u32 = ring::SINGLE_PRODUCER | ring::SINGLE_CONSUMER;
pub(super) const TRY: Option<Duration> = Some(Duration::ZERO);

/// The bytes of a cell's values, and of most messages.
const BYTES: u64 = 16;

/// The bytes that change in a cell once it is made.
pub(super) fn parts_of_cell() -> Parts<'static> {
    let length = cell::footprint(BYTES).expect("a length that cells have");
    // The first two slots, of two words each; in a model there are no more.
    let wholes = if cfg!(loom) { &[24..32, 128..144, 192..208] } else { &[24..32, 128..u64::MAX, 0..0] };
    Parts { length, wholes, halves: &[32..40], copies_race: true }
}

/// The first user of a cell of two words.
pub(super) fn cell(sleeps: Sleeps) -> User {
    let user = User::first(&parts_of_cell(), sleeps);
    cell::init(&user, BYTES).expect("zeros");
    user
}

/// Words that belong together.
fn value(number: u64) -> [u8; BYTES as usize] {
    let mut value = [0; BYTES as usize];
    value[..8].copy_from_slice(&number.to_ne_bytes());
    value[8..].copy_from_slice(&(number * 1000).to_ne_bytes());
    value
}

/// The last value and its version; none if it was overwritten too often.
pub(super) fn read(user: &User) -> Option<(u64, u64)> {
    let mut bytes = [1; BYTES as usize];
    let version = match Slots::attach(user).and_then(|cell| cell.read(bytes.as_mut_slice().into())) {
        Ok(version) => version,
        Err(Failure::Is(Problem::Lapped(_))) => return None,
        Err(failure) => panic!("{failure:?}"),
    };
    let number = u64::from_ne_bytes(bytes[..8].try_into().expect("8 bytes"));
    assert_eq!(bytes, value(number), "torn");
    Some((version, number))
}

/// Publishes a value; its version.
pub(super) fn publish(user: &User, number: u64) -> Result<u64> {
    Slots::attach(user)?.publish(value(number).as_slice().into(), None)
}

/// The first user of a queue with a ring of 64 bytes.
pub(super) fn queue(flags: u32, sleeps: Sleeps) -> User {
    let parts = Parts {
        length: RING + 64,
        wholes: &[128..144, 256..272, RING..RING + 64],
        halves: &[24..40, 192..208, 320..336],
        copies_race: false,
    };
    let user = User::first(&parts, sleeps);
    ring::init(&user, 48, flags).expect("zeros");
    user
}

/// A producer or a consumer, and where it is one.
pub(super) struct Member<M> {
    pub(super) user: User,
    pub(super) member: M,
}

pub(super) fn producer(user: User) -> Member<Producer> {
    Member { member: Producer::open(&user).expect("a queue stands there"), user }
}

pub(super) fn consumer(user: User) -> Member<Consumer> {
    Member { member: Consumer::open(&user).expect("a queue stands there"), user }
}

/// Pushes a message of so many words. Each looks like the word of a record of few bytes: who takes old bytes for one is
/// found out.
pub(super) fn push(Member { user, member }: &mut Member<Producer>, words: usize, number: u64, timeout: Option<Duration>) -> Result<()> {
    let message = (COMMITTED | number).to_ne_bytes().repeat(words);
    member.push(user, message.as_slice().into(), timeout)
}

/// Says that no more messages come.
pub(super) fn end(Member { user, member }: &mut Member<Producer>) -> Result<()> {
    member.end(user, None)
}

/// Pops a message; its number.
pub(super) fn pop(Member { user, member }: &mut Member<Consumer>, timeout: Option<Duration>) -> Result<u64> {
    let mut bytes = [0; 48];
    let length = member.pop(user, bytes.as_mut_slice().into(), timeout)? as usize;
    let number = u64::from_ne_bytes(bytes[..8].try_into().expect("8 bytes")) & !COMMITTED;
    assert_eq!(bytes[..length], (COMMITTED | number).to_ne_bytes().repeat(length / 8), "torn");
    Ok(number)
}
