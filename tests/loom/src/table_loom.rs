//! The table under the model checker: every interleaving and every outcome that C11 allows, within the bounds below.
//!
//! Bounds: two threads and at most three forced switches per run, or three threads and one (with two, loom's scheduler
//! hands the turn to and fro between two waiting threads for ever); two slots, four hazard records of two cells.
//! LOOM_MAX_PREEMPTIONS overrides the switches. Not in the model: signal handlers, forks, threads that die, the growth
//! of records. The two fences are SeqCst fences here, or one is nothing and the other fails; fence.rs says why that
//! models the asymmetric pair.

use crate::ffi::table::{Refused, Table};
use crate::ffi::token::{Kind, Token};
use crate::mem::fence::model::WITHOUT_HEAVY;
use crate::mem::hazard;
use loom::cell::UnsafeCell;
use loom::thread;

/// An object whose every use is watched by loom: a write beside a read is an error, whatever the values.
struct Object(UnsafeCell<u64>);

// SAFETY: what the table promises and this model checks; loom itself reports every racing access.
unsafe impl Sync for Object {}

impl Kind for Object {
    const KIND: u8 = 1;
}

type Objects = Table<Object>;

impl Object {
    fn value(&self) -> u64 {
        // SAFETY: `enter` and `exclusive` promise that nobody writes; loom checks it.
        self.0.with(|value| unsafe { *value })
    }

    fn set(&mut self, new: u64) {
        // SAFETY: `exclusive` promises that nobody reads; loom checks it.
        self.0.with_mut(|value| unsafe { *value = new });
    }
}

fn model(threads: usize, check: impl Fn(&'static Objects) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(if threads == 2 { 3 } else { 1 }));
    builder.max_branches = 20_000;
    // The few bytes of each run's table are leaked: a table is a static.
    builder.check(move || check(Box::leak(Box::new(Table::new()))));
}

fn open(table: &'static Objects, value: u64) -> Token {
    table.insert(Object(UnsafeCell::new(value))).expect("room")
}

fn read(table: &'static Objects, token: Token) -> Result<u64, Refused> {
    Ok(table.enter(token)?.value())
}

/// Removing writes the object, as a destructor would.
fn close(table: &'static Objects, token: Token) -> Result<u64, Refused> {
    let mut object = table.exclusive(token)?.remove();
    let value = object.value();
    object.set(0xDEAD);
    Ok(value)
}

#[test]
fn a_call_uses_a_whole_object_or_finds_it_stale() {
    model(2, |table| {
        let token = open(table, 7);
        let reader = thread::spawn(move || {
            let first = read(table, token);
            assert!(matches!(first, Ok(7) | Err(Refused::Stale)));
            let second = read(table, token);
            assert!(matches!(second, Ok(7) | Err(Refused::Stale)));
            assert!(first.is_ok() || second.is_err(), "a stale token came back to life");
        });
        assert_eq!(close(table, token), Ok(7));
        reader.join().expect("no panic");
    });
}

/// Runs in which the closing thread sees a record of the other one's would need the heavy fence; they end there.
#[test]
fn a_threads_first_call_is_seen_without_a_heavy_fence_or_finds_the_object_stale() {
    WITHOUT_HEAVY.set(true);
    model(2, |table| {
        let token = open(table, 7);
        let reader = thread::spawn(move || {
            for _ in 0..2 {
                assert!(matches!(read(table, token), Ok(7) | Err(Refused::Stale)));
            }
        });
        assert!(matches!(close(table, token), Ok(7) | Err(Refused::Busy)));
        reader.join().expect("no panic");
    });
    WITHOUT_HEAVY.set(false);
}

#[test]
fn of_two_removers_one_gets_the_object() {
    model(2, |table| {
        let token = open(table, 7);
        let other = thread::spawn(move || close(table, token));
        let results = [close(table, token), other.join().expect("no panic")];
        assert!(results.contains(&Ok(7)) && results.contains(&Err(Refused::Stale)), "{results:?}");
    });
}

#[test]
fn a_call_sees_all_of_a_change_or_nothing() {
    model(2, |table| {
        let token = open(table, 0);
        let reader = thread::spawn(move || {
            let first = read(table, token).expect("open");
            let second = read(table, token).expect("open");
            assert!(first <= second);
        });
        let mut object = table.exclusive(token).expect("waits for the calls");
        object.set(1);
        object.set(2);
        drop(object);
        reader.join().expect("no panic");
        assert_eq!(read(table, token), Ok(2));
    });
}

#[test]
fn a_stale_token_never_leads_to_the_slots_next_object() {
    model(2, |table| {
        let token = open(table, 7);
        let reader = thread::spawn(move || {
            let result = read(table, token);
            assert!(matches!(result, Ok(7) | Err(Refused::Stale)), "{result:?}");
        });
        assert_eq!(close(table, token), Ok(7));
        let heir = open(table, 8);
        assert_eq!(heir.0, token.0 + 1, "the same slot");
        assert_eq!(read(table, heir), Ok(8));
        reader.join().expect("no panic");
    });
}

#[test]
fn a_guessed_token_leads_to_a_whole_object() {
    model(2, |table| {
        let token = open(table, 7);
        assert_eq!(close(table, token), Ok(7));
        let guess = Token(token.0 + 1);
        let reader = thread::spawn(move || {
            let result = read(table, guess);
            assert!(matches!(result, Ok(8) | Err(Refused::Stale)), "{result:?}");
        });
        assert_eq!(open(table, 8), guess);
        reader.join().expect("no panic");
    });
}

/// The cell that named one object goes on to name another: whoever drains the first has to see that the call is over.
#[test]
fn a_cell_that_has_gone_on_no_longer_holds_up_the_first_object() {
    model(2, |table| {
        let tokens = [open(table, 1), open(table, 2)];
        let reader = thread::spawn(move || {
            assert!(matches!(read(table, tokens[0]), Ok(1) | Err(Refused::Stale)));
            let second = table.enter(tokens[1]).expect("open");
            assert_eq!(second.value(), 2);
        });
        assert_eq!(close(table, tokens[0]), Ok(1));
        reader.join().expect("no panic");
    });
}

#[test]
fn opening_and_closing_from_two_threads_mixes_nothing_up() {
    model(2, |table| {
        let cycle = move |value| {
            let token = open(table, value);
            assert_eq!(close(table, token), Ok(value));
        };
        let other = thread::spawn(move || cycle(1));
        cycle(2);
        other.join().expect("no panic");
        let tokens = [open(table, 3), open(table, 4)];
        assert_eq!(tokens.map(|token| read(table, token)), [Ok(3), Ok(4)]);
    });
}

#[test]
fn a_reader_a_changer_and_a_remover() {
    model(3, |table| {
        let token = open(table, 0);
        let reader = thread::spawn(move || {
            let result = read(table, token);
            assert!(matches!(result, Ok(0 | 1) | Err(Refused::Stale)), "{result:?}");
        });
        let changer = thread::spawn(move || match table.exclusive(token) {
            Ok(mut object) => object.set(1),
            Err(refused) => assert_eq!(refused, Refused::Stale),
        });
        assert!(matches!(close(table, token), Ok(0 | 1)));
        reader.join().expect("no panic");
        changer.join().expect("no panic");
    });
}

#[test]
fn a_thread_is_inside_while_its_call_lasts() {
    model(2, |table| {
        let token = open(table, 7);
        let reader = thread::spawn(move || {
            let entered = table.enter(token).expect("open");
            assert!(hazard::is_inside() && !hazard::blocks_sigbus());
            drop(entered);
            assert!(!hazard::is_inside());
        });
        reader.join().expect("no panic");
    });
}
