//! The promises of the token table, with real threads, signals and forks.

mod signals_and_forks;
mod threads;

use super::{Entered, Refused, Table};
use crate::ffi::token::{Kind, Token};
use crate::mem::hazard;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

const ALIVE: u64 = 0x600D_600D_600D_600D;

/// An object that can tell whether it is whole: its heap part is overwritten when it is dropped, and `left` equals
/// `right` except while somebody has it exclusively.
struct Object<const K: u8> {
    heap: Box<AtomicU64>,
    left: u64,
    right: u64,
}

impl<const K: u8> Kind for Object<K> {
    const KIND: u8 = K;
}

impl<const K: u8> Object<K> {
    fn new(value: u64) -> Self {
        Object { heap: Box::new(AtomicU64::new(ALIVE)), left: value, right: value }
    }

    /// Its value, if it is whole.
    fn value(&self) -> Option<u64> {
        (self.heap.load(SeqCst) == ALIVE && self.left == self.right).then_some(self.left)
    }

    fn set(&mut self, value: u64) {
        self.left = value;
        std::hint::black_box(&mut *self);
        self.right = value;
    }
}

impl<const K: u8> Drop for Object<K> {
    fn drop(&mut self) {
        self.heap.store(!ALIVE, SeqCst);
    }
}

type Objects<const K: u8> = Table<Object<K>>;

fn open<const K: u8>(table: &'static Objects<K>, value: u64) -> Token {
    table.insert(Object::new(value)).expect("room")
}

fn read<const K: u8>(table: &'static Objects<K>, token: Token) -> Result<u64, Refused> {
    let entered: Entered<Object<K>> = table.enter(token)?;
    Ok(entered.value().expect("a whole object"))
}

fn close<const K: u8>(table: &'static Objects<K>, token: Token) -> Result<u64, Refused> {
    Ok(table.exclusive(token)?.remove().value().expect("a whole object"))
}

/// splitmix64: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

fn watchdog() {
    // SAFETY: alarm takes an integer; SIGALRM's default action ends a run that hangs.
    unsafe { libc::alarm(300) };
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn a_token_leads_to_its_object_until_it_is_removed() {
    static TABLE: Objects<1> = Table::new();
    let token = open(&TABLE, 7);
    assert_eq!(read(&TABLE, token), Ok(7));
    TABLE.exclusive(token).expect("alone").set(8);
    assert_eq!(read(&TABLE, token), Ok(8));
    assert_eq!(close(&TABLE, token), Ok(8));
    assert_eq!(read(&TABLE, token), Err(Refused::Stale));
    assert_eq!(close(&TABLE, token), Err(Refused::Stale));
    let heir = open(&TABLE, 9);
    assert_eq!((heir.0 ^ token.0) >> 32, 0, "the slot is used again");
    assert_eq!(read(&TABLE, token), Err(Refused::Stale));
    assert_eq!(close(&TABLE, heir), Ok(9));
}

#[test]
fn no_token_is_an_address() {
    static TABLE: Objects<3> = Table::new();
    let token = open(&TABLE, 0);
    assert_ne!(token.0 >> 63, token.0 >> 56 & 1, "canonical on x86-64");
    assert_eq!(token.0 >> 55 & 1, 1, "in the user's half on aarch64");
    assert_eq!(Token::from_handle(token.to_handle::<u8>()), token);
    assert_eq!(close(&TABLE, token), Ok(0));
}

#[test]
fn forged_and_foreign_tokens_are_stale() {
    static TABLE: Objects<5> = Table::new();
    static FOREIGN: Objects<7> = Table::new();
    let tokens: Vec<Token> = (0..100).map(|value| open(&TABLE, value)).collect();
    let foreign = open(&FOREIGN, 1);
    let held = TABLE.exclusive(tokens[0]).expect("alone");
    let mut random = Random(1);
    let words = (0..1_000_000).map(|_| random.next());
    let near = tokens.iter().flat_map(|token| (0..64).map(|bit| token.0 ^ 1 << bit));
    // What a vacant and a held slot's word look like from outside.
    let inside = (0..1u64 << 12).flat_map(|n| [n, 1 << 63 | n << 32, 1 << 63 | n << 32 | 1]);
    for word in words.chain(near).chain(inside).chain([0, u64::MAX, foreign.0]) {
        if !tokens.contains(&Token(word)) {
            assert_eq!(read(&TABLE, Token(word)), Err(Refused::Stale), "{word:#x}");
            assert_eq!(close(&TABLE, Token(word)), Err(Refused::Stale), "{word:#x}");
        }
    }
    drop(held);
    for (value, token) in tokens.into_iter().enumerate() {
        assert_eq!(close(&TABLE, token), Ok(value as u64));
    }
    assert_eq!(close(&FOREIGN, foreign), Ok(1));
}

#[test]
fn a_million_objects_are_open_at_once() {
    static TABLE: Objects<9> = Table::new();
    let count = if cfg!(miri) { 3000 } else { 1_000_000 };
    let tokens: Vec<Token> = (0..count).map(|value| open(&TABLE, value)).collect();
    for (value, &token) in tokens.iter().enumerate() {
        assert_eq!(read(&TABLE, token), Ok(value as u64));
    }
    for (value, token) in tokens.into_iter().enumerate() {
        assert_eq!(close(&TABLE, token), Ok(value as u64));
    }
}

#[test]
fn a_hundred_thousand_cycles_use_one_slot() {
    static TABLE: Objects<11> = Table::new();
    let first = open(&TABLE, 0);
    assert_eq!(close(&TABLE, first), Ok(0));
    for value in 1..=100_000 {
        let token = open(&TABLE, value);
        assert_eq!(token.0, first.0 + value);
        assert_eq!(close(&TABLE, token), Ok(value));
    }
}

#[test]
fn a_slot_wears_out_rather_than_reuse_a_generation() {
    static TABLE: Objects<13> = Table::new();
    let first = open(&TABLE, 0);
    assert_eq!(close(&TABLE, first), Ok(0));
    TABLE.age_slot(first, u32::MAX - 1);
    let last = open(&TABLE, 1);
    assert_eq!(last.0, first.0 | u64::from(u32::MAX));
    assert_eq!(close(&TABLE, last), Ok(1));
    for value in 2..5 {
        let token = open(&TABLE, value);
        assert_ne!((token.0 ^ first.0) >> 32, 0, "the worn slot is used again");
        assert_eq!(close(&TABLE, token), Ok(value));
    }
    assert_eq!(read(&TABLE, last), Err(Refused::Stale));
}
