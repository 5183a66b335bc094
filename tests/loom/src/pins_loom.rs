//! The pins under the model checker: views of one address that come and go on two threads, and what a signal handler
//! finds meanwhile.
//!
//! Bounds: two threads, at most three forced switches per run, two slots at first. Not in the model: what is done about
//! lost pages (lost.rs), for which an atomic stands.

use crate::mem::atomic::{AtomicBool, Ordering};
use crate::mem::mapping::Mapping;
use crate::mem::pins::{self, Pin};
use loom::thread;
use std::sync::{Arc, LazyLock};

const ADDRESS: usize = 0x10_0000;

fn mapping() -> &'static Arc<Mapping> {
    static MAPPING: LazyLock<Arc<Mapping>> = LazyLock::new(|| Arc::new(Mapping(1)));
    &MAPPING
}

fn other_mapping() -> &'static Arc<Mapping> {
    static MAPPING: LazyLock<Arc<Mapping>> = LazyLock::new(|| Arc::new(Mapping(2)));
    &MAPPING
}

fn view(length: usize) -> &'static Pin {
    Pin::add(mapping(), ADDRESS..ADDRESS + length, true)
}

/// What the library knows of lost pages, beside the pins.
struct Loss(AtomicBool);

impl Loss {
    /// A page of all views is lost.
    fn happens(&self) {
        self.0.store(true, Ordering::Relaxed);
        pins::note_lost(ADDRESS + 5..ADDRESS + 6, 28);
    }

    /// A view that is told of a page that has been lost.
    fn view(&self, length: usize) -> &'static Pin {
        let pin = view(length);
        if self.0.load(Ordering::Relaxed) {
            pins::note_lost_at(Arc::as_ptr(mapping()), ADDRESS, 28);
        }
        pin
    }
}

/// Gives a view of the address back; why it lost pages.
#[track_caller]
fn release() -> i32 {
    let pin = Pin::take(mapping(), ADDRESS).expect("one that was handed out");
    assert!([10, 20].contains(&pin.length_from(ADDRESS)), "the length of one of them");
    let lost = pin.lost();
    pin.leave();
    lost
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.max_branches = 20_000;
    builder.check(check);
}

/// A longer view in the first slot, of another thread, which in its place takes the shorter one in the second: `check` is
/// done by the thread whose view that was.
fn beside_an_exchange(check: impl Fn(&Loss) + Sync + Send + 'static) {
    model(move || {
        let loss: &'static Loss = Box::leak(Box::new(Loss(AtomicBool::new(false))));
        let first = Pin::add(other_mapping(), 1..2, true);
        view(10);
        first.leave();
        let other = thread::spawn(|| {
            loss.view(20);
            release();
        });
        check(loss);
        other.join().expect("no panic");
    });
}

#[test]
fn each_of_two_threads_finds_a_view_to_release() {
    beside_an_exchange(|_| {
        release();
    });
}

#[test]
fn a_handler_finds_the_mapping_of_a_view_that_is_in_use() {
    beside_an_exchange(|_| {
        let found = pins::find(ADDRESS + 5).expect("a view is in use there");
        assert!(std::ptr::eq(found, Arc::as_ptr(mapping())));
        assert!(pins::any());
        release();
    });
}

#[test]
fn what_a_view_has_lost_is_told_to_its_thread_whichever_slot_it_releases() {
    beside_an_exchange(|loss| {
        loss.happens();
        assert_eq!(release(), 28);
    });
}

#[test]
fn of_a_slot_that_changes_hands_nobody_sees_half_of_each_view() {
    model(|| {
        // Both slots are taken, so that the next view goes where the first was.
        let first = Pin::add(other_mapping(), 10..20, true);
        Pin::add(other_mapping(), 1..2, true);
        let other = thread::spawn(move || {
            first.leave();
            Pin::add(mapping(), 50..60, true).leave();
        });
        // Between the start of the one and the end of the other.
        assert!(pins::find(30).is_none());
        let ends = pins::ranges_of(mapping()).map(|range| (range.start, range.end));
        assert!(ends.into_iter().all(|range| range == (50, 60)));
        other.join().expect("no panic");
    });
}

#[test]
fn news_for_a_view_that_has_gone_does_not_reach_the_next_one() {
    model(|| {
        let first = Pin::add(other_mapping(), 10..20, true);
        Pin::add(other_mapping(), 1..2, true);
        let other = thread::spawn(move || {
            first.leave();
            let next = Pin::add(mapping(), 50..60, true);
            assert_eq!(next.lost(), 0);
            next.leave();
        });
        pins::note_lost(12..13, 5);
        other.join().expect("no panic");
    });
}

#[test]
fn a_view_that_comes_while_a_page_is_lost_is_told_of_it() {
    model(|| {
        let loss: &'static Loss = Box::leak(Box::new(Loss(AtomicBool::new(false))));
        let faulting = thread::spawn(|| loss.happens());
        let pin = loss.view(10);
        faulting.join().expect("no panic");
        assert_eq!(pin.lost(), 28);
    });
}
