//! A process that is killed at any instruction of any operation on a queue leaves it to the others, at once: with every
//! message that was committed, whole and once.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::cells::{Handle, pattern};
use common::kills::{DOORS, Told};
use common::rings::{AT, CAPACITY, Deed, KINDS, Ring, Scene};
use common::steps::{Kills, Late};
use common::*;
use mapshare::ffi::queue::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

/// One who is killed.
struct Victim {
    region: Rc<Opened>,
    handle: Option<Handle>,
    message: Vec<u8>,
}

impl Victim {
    fn open(&mut self, role: u32) {
        self.handle = Some(self.region.queue(AT, role).unwrap());
    }

    fn handle(&mut self) -> &mut Handle {
        self.handle.as_mut().unwrap()
    }

    /// Its thread has had a lock, as each after its first calls.
    fn warm(&mut self) {
        self.region.init_mutex(0).unwrap_or_default();
        self.region.lock(0, 0).unwrap();
        self.region.unlock(0).unwrap();
    }

    fn push(&mut self, timeout_ns: i64) {
        let _ = self.handle.as_mut().unwrap().push(&self.message, timeout_ns);
    }

    fn pop(&mut self, timeout_ns: i64) {
        let _ = self.handle().pop_up_to(64, timeout_ns);
    }

    /// Reserves room and fills it.
    fn reserve(&mut self) {
        let length = self.message.len();
        let room = self.handle().reserve(length, 0).unwrap();
        // SAFETY: so many bytes are ours until the commit.
        unsafe { room.copy_from_nonoverlapping(self.message.as_ptr(), length) };
    }

    fn peek(&mut self) {
        assert_eq!(self.handle().peeked(0).unwrap().len(), 40);
    }

    fn close(&mut self) {
        let _ = self.handle.take().unwrap().close();
    }
}

/// Where and in what one is killed.
#[derive(Clone, Copy)]
struct Case {
    scene: Scene,
    /// What it is.
    role: u32,
    /// The length of the message that it has.
    length: usize,
    /// What it has done before.
    prepare: fn(&mut Victim),
    /// In the middle of this it is killed.
    operation: fn(&mut Victim),
    deed: Deed,
    /// Whether it opens its handle in the operation only.
    opens: bool,
    /// Whether the way through the operation is the same each time.
    is_steady: bool,
    /// Whether it waits, and looks two hundred times before it sleeps: in a queue of many, each time in its turn. With
    /// less of the compiler's optimisation these are more instructions than can be led through.
    waits: bool,
}

impl Case {
    /// A producer of messages of 40 bytes.
    fn producer(scene: Scene, operation: fn(&mut Victim), deed: Deed) -> Case {
        Case {
            scene,
            role: MAPSHARE_PRODUCER,
            length: 40,
            prepare: Victim::warm,
            operation,
            deed,
            opens: false,
            is_steady: true,
            waits: false,
        }
    }

    fn consumer(scene: Scene, operation: fn(&mut Victim), deed: Deed) -> Case {
        Case { role: MAPSHARE_CONSUMER, ..Case::producer(scene, operation, deed) }
    }

    fn after(self, prepare: fn(&mut Victim)) -> Case {
        Case { prepare, ..self }
    }

    /// One that does something for the first time, or after a death.
    fn unsteady(self) -> Case {
        Case { is_steady: false, ..self }
    }

    fn waiting(self) -> Case {
        Case { waits: true, ..self.unsteady() }
    }

    /// One that opens its handle in the operation, and is known to the others before, or not.
    fn opening(scene: Scene, role: u32, is_known: bool) -> Case {
        let open: fn(&mut Victim) = match role {
            MAPSHARE_PRODUCER => |victim| victim.open(MAPSHARE_PRODUCER),
            _ => |victim| victim.open(MAPSHARE_CONSUMER),
        };
        let prepare: fn(&mut Victim) = if is_known { Victim::warm } else { |_| {} };
        Case { role, opens: true, ..Case::producer(scene, open, Deed::Nothing) }.after(prepare).unsteady()
    }
}

/// Kills at every instruction, in queues with one member on each side and with many.
fn killed<F: Fn()>(test: F, doors: &[Door], cases: &[Case]) {
    in_own_process(test, || {
        for &door in doors {
            for (number, case) in cases.iter().enumerate() {
                let kinds = if case.waits && cfg!(debug_assertions) { &KINDS[..1] } else { &KINDS };
                for &flags in kinds {
                    let folder = Folder::new();
                    let places = killed_in(&RefCell::new(Ring::open(door, &folder, flags, case.scene)), case);
                    println!("{door:?}, flags {flags}, case {number}: {places} places");
                    assert!(places > 50);
                }
            }
        }
    });
}

fn killed_in(ring: &RefCell<Ring>, case: &Case) -> usize {
    let set = || {
        ring.borrow_mut().set();
        ring.borrow_mut().join(Some(case.role));
    };
    let region = ring.borrow().region.clone();
    let prepare = || {
        let message = pattern(case.scene.next(), case.length);
        let mut victim = Victim { region: region.clone(), handle: None, message };
        if !case.opens {
            victim.open(case.role);
        }
        (case.prepare)(&mut victim);
        RefCell::new(victim)
    };
    let mut told = Told::default();
    let after = |place| {
        let (late, is_done) = ring.borrow_mut().survive(case.deed);
        told.add(place, is_done);
        set();
        late
    };
    set();
    let operation = |victim: &RefCell<Victim>| (case.operation)(&mut victim.borrow_mut());
    let places = Kills { prepare, operation, before: || {}, after }.at_every_instruction();
    let is_done = case.deed != Deed::Nothing;
    if case.is_steady {
        told.changed_once(false, is_done)
    } else {
        told.changed(false, is_done)
    }
    places
}

const EMPTY: Scene = Scene::new(&[], &[]);
const TWO: Scene = Scene::new(&[], &[40, 40]);
const FULL: Scene = Scene::new(&[], &[40; 5]);
/// The next message of 40 bytes goes over the ring's end.
const BEFORE_THE_END: Scene = Scene::new(&[40; 4], &[40]);
/// The next one ends where the ring does.
const UP_TO_THE_END: Scene = Scene::new(&[8, 40, 40, 40], &[40]);
/// The first one stands behind padding.
const OVER_THE_END: Scene = Scene::new(&[40; 5], &[40]);

#[test]
fn killed_in_push() {
    let push = |scene| Case::producer(scene, |victim| victim.push(0), Deed::Push(40));
    killed(killed_in_push, &DOORS, &[EMPTY, TWO, BEFORE_THE_END, UP_TO_THE_END].map(push));
}

#[test]
fn killed_in_a_processs_first_push_and_pop() {
    let push = Case::producer(BEFORE_THE_END, |victim| victim.push(0), Deed::Push(40));
    let pop = Case::consumer(OVER_THE_END, |victim| victim.pop(0), Deed::Pop);
    killed(killed_in_a_processs_first_push_and_pop, &DOORS, &[push, pop].map(|case| case.after(|_| {}).unsteady()));
}

#[test]
fn killed_in_push_that_finds_no_room() {
    let full = Case::producer(FULL, |victim| victim.push(0), Deed::Nothing);
    // It pads up to the ring's end, and there is no room behind it.
    let padding = Case { length: 200, ..Case { scene: Scene::new(&[40; 3], &[40, 40]), ..full } };
    killed(killed_in_push_that_finds_no_room, &[Door::C], &[full, padding]);
}

#[test]
fn killed_in_waiting_for_room() {
    let waiting = Case::producer(FULL, |victim| victim.push(300_000), Deed::Nothing).waiting();
    killed(killed_in_waiting_for_room, &[Door::C], &[waiting]);
}

#[test]
fn killed_in_reserve_and_commit() {
    let reserve = |scene| Case::producer(scene, Victim::reserve, Deed::Nothing);
    let commit = |scene| {
        let operation = |victim: &mut Victim| drop(victim.handle().commit(40));
        Case::producer(scene, operation, Deed::Push(40)).after(Victim::reserve)
    };
    let part =
        |scene| Case { deed: Deed::Push(24), operation: |victim| drop(victim.handle().commit(24)), ..commit(scene) };
    let cases = [reserve(TWO), reserve(BEFORE_THE_END), commit(TWO), commit(UP_TO_THE_END), part(BEFORE_THE_END)];
    killed(killed_in_reserve_and_commit, &DOORS, &cases);
}

#[test]
fn killed_in_cancel() {
    let cancel: fn(&mut Victim) = |victim| drop(victim.handle().cancel());
    let producer = Case::producer(TWO, cancel, Deed::Nothing).after(Victim::reserve);
    let consumer = Case::consumer(TWO, cancel, Deed::Nothing).after(Victim::peek);
    killed(killed_in_cancel, &DOORS, &[producer, consumer]);
}

#[test]
fn killed_in_pop() {
    let pop = |scene| Case::consumer(scene, |victim| victim.pop(0), Deed::Pop);
    killed(killed_in_pop, &DOORS, &[TWO, FULL, OVER_THE_END, UP_TO_THE_END].map(pop));
}

#[test]
fn killed_in_pop_that_takes_nothing() {
    let empty = Case::consumer(EMPTY, |victim| victim.pop(0), Deed::Nothing);
    let operation = |victim: &mut Victim| drop(victim.handle().pop_up_to(39, 0));
    let too_small = |scene| Case::consumer(scene, operation, Deed::Nothing);
    killed(killed_in_pop_that_takes_nothing, &[Door::C], &[empty, too_small(TWO), too_small(OVER_THE_END)]);
}

#[test]
fn killed_in_waiting_for_a_message() {
    let waiting = Case::consumer(EMPTY, |victim| victim.pop(300_000), Deed::Nothing).waiting();
    killed(killed_in_waiting_for_a_message, &[Door::C], &[waiting]);
}

#[test]
fn killed_in_peek_and_consume() {
    let peek = |scene| Case::consumer(scene, Victim::peek, Deed::Nothing);
    let consume =
        |scene| Case::consumer(scene, |victim| drop(victim.handle().consume()), Deed::Pop).after(Victim::peek);
    let cases = [peek(TWO), peek(OVER_THE_END), consume(TWO), consume(FULL), consume(OVER_THE_END)];
    killed(killed_in_peek_and_consume, &DOORS, &cases);
}

#[test]
fn killed_in_end() {
    let end = |scene| Case::producer(scene, |victim| drop(victim.handle().end()), Deed::End);
    killed(killed_in_end, &DOORS, &[end(EMPTY), end(TWO), end(TWO).after(Victim::reserve)]);
}

#[test]
fn killed_in_close() {
    let producer = Case::producer(TWO, Victim::close, Deed::Nothing);
    let consumer = Case::consumer(TWO, Victim::close, Deed::Nothing);
    let cases = [producer, producer.after(Victim::reserve), consumer, consumer.after(Victim::peek)];
    killed(killed_in_close, &DOORS, &cases);
}

#[test]
fn killed_in_info() {
    let info = |victim: &mut Victim| drop(victim.handle().info());
    killed(killed_in_info, &DOORS, &[Case::producer(TWO, info, Deed::Nothing)]);
}

#[test]
fn killed_in_open() {
    let opening = |role, before| Case::opening(TWO, role, before);
    let cases = [MAPSHARE_PRODUCER, MAPSHARE_CONSUMER].map(|role| [opening(role, false), opening(role, true)]);
    killed(killed_in_open, &[Door::C], &cases.concat());
}

#[test]
fn killed_in_taking_over_from_the_dead() {
    let dead = |role, scene| Scene { died: Some(role), ..scene };
    let opens = |role, scene| Case::opening(dead(role, scene), role, true);
    let opening = [MAPSHARE_PRODUCER, MAPSHARE_CONSUMER].map(|role| [opens(role, TWO), opens(role, OVER_THE_END)]);
    killed(killed_in_taking_over_from_the_dead, &[Door::C], &opening.concat());
}

#[test]
fn killed_in_going_on_after_the_dead() {
    let dead = |role, scene| Scene { died: Some(role), ..scene };
    let push = |scene| Case::producer(scene, |victim| victim.push(0), Deed::Push(40)).unsteady();
    let pop = |scene| Case::consumer(scene, |victim| victim.pop(0), Deed::Pop).unsteady();
    let pushing = [TWO, BEFORE_THE_END, OVER_THE_END].map(|scene| push(dead(MAPSHARE_PRODUCER, scene)));
    let popping = [TWO, OVER_THE_END].map(|scene| pop(dead(MAPSHARE_CONSUMER, scene)));
    killed(killed_in_going_on_after_the_dead, &[Door::C], &[&pushing[..], &popping[..]].concat());
}

#[test]
fn killed_in_init() {
    in_own_process(killed_in_init, || {
        for door in DOORS {
            let folder = Folder::new();
            let ring = RefCell::new(Ring::open(door, &folder, 0, EMPTY));
            let region = ring.borrow().region.clone();
            let clear = || {
                region.fill(AT, 512, 0).unwrap();
                region.fill(AT + 512, 256, 0xEE).unwrap();
            };
            let mut was_made = Told::default();
            let after = |place| {
                let begun = Instant::now();
                let opened = region.producer(AT).map(|handle| handle.close().unwrap());
                let made = region.init_queue(AT, CAPACITY, 0);
                match &made {
                    Ok(()) => refused(opened, libc::EBADMSG, &[]),
                    Err(failure) => assert_eq!((failure.code, opened), (libc::EEXIST, Ok(())), "{failure:?}"),
                }
                was_made.add(place, made.is_err());
                ring.borrow_mut().survive(Deed::Nothing);
                let late = Late::than(common::kills::AT_ONCE, begun);
                clear();
                late
            };
            clear();
            let operation = |_: &()| drop(region.init_queue(AT, CAPACITY, 0));
            let places = Kills { prepare: || {}, operation, before: || {}, after }.at_every_instruction();
            println!("init: {places} places");
            was_made.changed_once(false, true);
        }
    });
}
