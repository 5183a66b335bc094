//! A process that is killed at any instruction of what would have woken one who sleeps in a queue: he comes back all the
//! same, soon, with what he waits for.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::cells::{Handle, pattern};
use common::kills::{A_LOOK, A_NAP, AT_ONCE, Sleeper, Told};
use common::rings::{AT, Deed, HEAD, KINDS, RING, Ring, Scene};
use common::steps::{Kills, Late};
use common::*;
use mapshare::ffi::queue::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

const LONG: i64 = 20_000_000_000;
const LENGTH: usize = 40;
/// The number and length of what a survivor pushes, and a producer who has slept.
const OURS: u8 = 200;
const SHORT: usize = 8;

/// Who sleeps, and beside whom.
#[derive(Clone, Copy)]
struct Case {
    scene: Scene,
    /// What the one is who is killed, what it does before, and in the middle of what it is killed.
    role: u32,
    prepare: fn(&mut Handle, &[u8]),
    operation: fn(&mut Handle, &[u8]),
    deed: Deed,
    /// What the sleeper is, and does: with the number of the message that it gave or had.
    sleeps: u32,
    sleep: fn(&mut Handle) -> u8,
    /// Whether he waits for his turn only, not for what the dead one would have done.
    is_turn: bool,
}

fn number(message: &[u8]) -> u8 {
    assert_eq!(message, pattern(message[0].into(), message.len()));
    message[0]
}

fn push(producer: &mut Handle, message: &[u8]) {
    let _ = producer.push(message, 0);
}

fn reserve(producer: &mut Handle, message: &[u8]) {
    let room = producer.reserve(LENGTH, 0).unwrap();
    // SAFETY: so many bytes are ours until the commit.
    unsafe { room.copy_from_nonoverlapping(message.as_ptr(), LENGTH) };
}

fn commit(producer: &mut Handle, _: &[u8]) {
    let _ = producer.commit(LENGTH);
}

fn pop(consumer: &mut Handle, _: &[u8]) {
    let _ = consumer.pop_up_to(LENGTH, 0);
}

fn peek(consumer: &mut Handle, _: &[u8]) {
    consumer.peeked(0).unwrap();
}

fn consume(consumer: &mut Handle, _: &[u8]) {
    let _ = consumer.consume();
}

fn cancel(handle: &mut Handle, _: &[u8]) {
    let _ = handle.cancel();
}

fn sleep_in_push(producer: &mut Handle) -> u8 {
    producer.push(&pattern(OURS.into(), SHORT), LONG).unwrap();
    OURS
}

fn sleep_in_pop(consumer: &mut Handle) -> u8 {
    number(&consumer.pop(LONG).unwrap())
}

fn sleep_in_peek(consumer: &mut Handle) -> u8 {
    let message = consumer.peeked(LONG).unwrap();
    consumer.consume().unwrap();
    number(&message)
}

/// Kills at every instruction, or, beside one who has slept long, where the thing is done.
fn killed<F: Fn()>(test: F, long: bool, kinds: &[u32], cases: &[Case]) {
    in_own_process(test, || {
        for (number, case) in cases.iter().enumerate() {
            for flags in kinds {
                let folder = Folder::new();
                let ring = RefCell::new(Ring::open(Door::C, &folder, *flags, case.scene));
                println!("flags {flags}, case {number}: {} places", killed_in(&ring, long, case));
            }
        }
    });
}

fn killed_in(ring: &RefCell<Ring>, long: bool, case: &Case) -> usize {
    let region: Rc<Opened> = ring.borrow().region.clone();
    ring.borrow_mut().set();
    let sleeper = Sleeper::start(|| {
        let mut handle = region.queue(AT, case.sleeps).unwrap();
        let number = (case.sleep)(&mut handle);
        handle.close().unwrap();
        number
    });
    let next = case.scene.next();
    let prepare = || {
        let (mut handle, message) = (region.queue(AT, case.role).unwrap(), pattern(next, LENGTH));
        (case.prepare)(&mut handle, &message);
        (RefCell::new(handle), message)
    };
    let operation =
        |(handle, message): &(RefCell<Handle>, Vec<u8>)| (case.operation)(&mut handle.borrow_mut(), message);
    let mut told = Told::default();
    let after = |place| {
        let begun = Instant::now();
        let mut is_done = is_done(&ring.borrow(), case.deed);
        let mut survivor = ring.borrow().handle(case.role);
        let mut found = Vec::new();
        let needs_help = !is_done && !case.is_turn;
        match case.role {
            MAPSHARE_CONSUMER if needs_help => found.push(number(&survivor.pop(0).unwrap())),
            _ if needs_help => survivor.push(&pattern(OURS.into(), SHORT), 0).unwrap(),
            _ => {}
        }
        let woken = sleeper.wakes();
        let limit = match () {
            () if case.is_turn => A_LOOK,
            () if is_done => A_NAP,
            () => AT_ONCE,
        };
        let late = Late::than(limit, begun);
        survivor.close().unwrap();
        if case.is_turn && case.deed == Deed::Pop {
            // Who waited for his turn may have had it before this look.
            is_done = woken > case.scene.gone.len() as u8;
        }
        told.add(place, is_done);
        found.extend((case.sleeps == MAPSHARE_CONSUMER).then_some(woken));
        drain(&ring.borrow(), &mut found);
        assert_eq!(found, expected(case, is_done, needs_help));
        ring.borrow_mut().set();
        (late, is_done)
    };
    let kills = Kills { prepare, operation, before: || sleeper.sleep(long), after };
    let places = if long { kills.once_it_is_done(50) } else { kills.at_every_instruction() };
    told.changed(false, case.deed != Deed::Nothing);
    places
}

/// Whether the dead one has done it. Its message stands where the ring begins.
fn is_done(ring: &Ring, deed: Deed) -> bool {
    match deed {
        Deed::Push(length) => ring.word(RING) == 1 << 63 | length as u64,
        Deed::Pop => ring.word(HEAD) > 0,
        _ => false,
    }
}

fn drain(ring: &Ring, found: &mut Vec<u8>) {
    let mut consumer = ring.handle(MAPSHARE_CONSUMER);
    while let Ok(message) = consumer.pop(0) {
        found.push(number(&message));
    }
    consumer.close().unwrap();
}

/// The messages that are found, in order.
fn expected(case: &Case, is_done: bool, is_helped: bool) -> Vec<u8> {
    let (first, next) = (case.scene.gone.len() as u8, case.scene.next() as u8);
    let is = |deed| u8::from(is_done && case.deed == deed);
    let theirs = first + is(Deed::Pop)..next + is(Deed::Push(LENGTH));
    let is_ours = case.sleeps == MAPSHARE_PRODUCER || is_helped;
    theirs.chain(is_ours.then_some(OURS)).collect()
}

const NONE: Scene = Scene::new(&[], &[]);
/// The next message goes over the ring's end.
const BEFORE_THE_END: Scene = Scene::new(&[32, 40, 40, 40, 40], &[]);
const FULL: Scene = Scene::new(&[], &[40; 5]);

const PUSHING: Case = Case {
    scene: NONE,
    role: MAPSHARE_PRODUCER,
    prepare: |_, _| {},
    operation: push,
    deed: Deed::Push(LENGTH),
    sleeps: MAPSHARE_CONSUMER,
    sleep: sleep_in_pop,
    is_turn: false,
};
const COMMITTING: Case = Case { prepare: reserve, operation: commit, ..PUSHING };
const POPPING: Case = Case {
    scene: FULL,
    role: MAPSHARE_CONSUMER,
    operation: pop,
    deed: Deed::Pop,
    sleeps: MAPSHARE_PRODUCER,
    sleep: sleep_in_push,
    ..PUSHING
};
const CONSUMING: Case = Case { prepare: peek, operation: consume, ..POPPING };

#[test]
fn killed_in_push_beside_a_sleeping_consumer() {
    let over_the_end = Case { scene: BEFORE_THE_END, ..PUSHING };
    killed(killed_in_push_beside_a_sleeping_consumer, false, &KINDS, &[PUSHING, over_the_end]);
}

#[test]
fn killed_in_commit_beside_a_consumer_who_sleeps_in_peek() {
    let over_the_end = Case { scene: BEFORE_THE_END, ..COMMITTING };
    let cases = [COMMITTING, over_the_end].map(|case| Case { sleep: sleep_in_peek, ..case });
    killed(killed_in_commit_beside_a_consumer_who_sleeps_in_peek, false, &KINDS, &cases);
}

#[test]
fn killed_in_pop_or_consume_beside_a_producer_who_sleeps_until_there_is_room() {
    let test = killed_in_pop_or_consume_beside_a_producer_who_sleeps_until_there_is_room;
    killed(test, false, &KINDS, &[POPPING, CONSUMING]);
}

#[test]
fn killed_beside_one_who_takes_his_longest_nap() {
    killed(killed_beside_one_who_takes_his_longest_nap, true, &KINDS, &[PUSHING, POPPING]);
}

#[test]
fn killed_with_a_reservation_beside_a_producer_who_waits_for_his_turn() {
    let waits = |operation, deed| {
        let sleep = sleep_in_push;
        Case { operation, deed, sleeps: MAPSHARE_PRODUCER, sleep, is_turn: true, ..COMMITTING }
    };
    let cases = [waits(commit, Deed::Push(LENGTH)), waits(cancel, Deed::Nothing)];
    killed(killed_with_a_reservation_beside_a_producer_who_waits_for_his_turn, false, &KINDS[1..], &cases);
}

#[test]
fn killed_with_a_peeked_message_beside_a_consumer_who_waits_for_his_turn() {
    let waits = |operation, deed| {
        let sleep = sleep_in_pop;
        Case { operation, deed, sleeps: MAPSHARE_CONSUMER, sleep, is_turn: true, ..CONSUMING }
    };
    let cases = [waits(consume, Deed::Pop), waits(cancel, Deed::Nothing)];
    killed(killed_with_a_peeked_message_beside_a_consumer_who_waits_for_his_turn, false, &KINDS[1..], &cases);
}
