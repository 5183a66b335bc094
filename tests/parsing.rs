//! Whatever stands where a lock, a cell or a queue is looked for, every function gives an answer or a code that may be,
//! and touches nothing beside it. The same as `hostile_peers` one at a time, so that a failure can be had again.

mod common;

use common::hostile::{MAKING, QUEUE_HEAD, QUEUE_RING, identity, record, rubbish};
use common::random::{Random, cases};
use common::victim::{Kind, Place, Victim};
use common::*;
use libc::{EBADMSG, EBUSY};
use proptest::prelude::*;

/// What is put into an object that is good.
#[derive(Clone, Debug)]
enum Change {
    /// The word there (modulo those there are) becomes one of those that hurt, by this seed; or the words that are looked
    /// at, when it is one of these.
    Word(usize, u64),
    Deciding(usize, u64),
    /// All bytes from there on, modulo those there are.
    Bytes(usize, Vec<u8>),
    Bit(usize),
    /// The record that is next says too much, by this seed.
    Record(u64),
    /// The first words say, with a good checksum, that it is another one.
    Identity(u64, u32),
}

fn change() -> impl Strategy<Value = Change> {
    let length = prop_oneof![
        any::<u64>(),
        0..20_000u64,
        (0..64u32, 0..3u64).prop_map(|(bit, less)| (1u64 << bit).wrapping_sub(less))
    ];
    let options = prop_oneof![0..20u32, any::<u32>(), (0..32u32).prop_map(|bit| 1 << bit)];
    prop_oneof![
        3 => (any::<usize>(), any::<u64>()).prop_map(|(at, seed)| Change::Word(at, seed)),
        6 => (any::<usize>(), any::<u64>()).prop_map(|(at, seed)| Change::Deciding(at, seed)),
        2 => (any::<usize>(), prop::collection::vec(any::<u8>(), 1..200)).prop_map(|(at, bytes)| Change::Bytes(at, bytes)),
        2 => any::<usize>().prop_map(Change::Bit),
        4 => any::<u64>().prop_map(Change::Record),
        2 => (length, options).prop_map(|(length, options)| Change::Identity(length, options)),
    ]
}

impl Change {
    /// With a holder of locks who is dead, and one who is this thread.
    fn make(&self, victim: &Victim, place: Place, holder: u64) {
        let (kind, offset) = (victim.kind, victim.offset);
        let write = |at: usize, bytes: &[u8]| victim.region.write(offset + at as u64, bytes).expect("good");
        let word = |at: usize, seed: u64| {
            let standing = u64::from_le_bytes(victim.region.bytes(offset + at as u64, 8).try_into().expect("8 bytes"));
            let value = rubbish(&mut Random::new(seed), standing, &[holder, holder ^ 3, holder ^ 5 << 40]);
            // That this process is at it would be waited for: `hostile_peers` does.
            let makes = value == MAKING | holder >> 32;
            write(at, &if makes { 1 } else { value }.to_le_bytes());
        };
        let bytes = kind.bytes() as usize;
        match self {
            Change::Word(at, seed) => word(at % (bytes / 8) * 8, *seed),
            Change::Deciding(at, seed) => word(kind.words()[at % kind.words().len()] as usize, *seed),
            Change::Bytes(at, new) => write(at % bytes, &new[..new.len().min(bytes - at % bytes)]),
            Change::Bit(at) => {
                let byte = victim.region.bytes(offset + (at / 8 % bytes) as u64, 1)[0];
                write(at / 8 % bytes, &[byte ^ 1 << (at % 8)]);
            }
            Change::Record(seed) if matches!(kind, Kind::Queue(..)) => {
                let head = victim.region.bytes(offset + QUEUE_HEAD, 8).try_into().expect("8 bytes");
                let words = record(&mut Random::new(*seed), kind.bytes() - QUEUE_RING, u64::from_le_bytes(head));
                words.iter().for_each(|(at, word)| write(*at as usize, &word.to_le_bytes()));
            }
            Change::Record(_) => {}
            // In front it would be as good as another object that has room there.
            Change::Identity(..) if place == Place::Front => {}
            Change::Identity(length, options) => {
                let words = identity(kind, *length, *options).map(u64::to_le_bytes);
                words.iter().enumerate().for_each(|(at, word)| write(8 * at, word));
            }
        }
    }
}

fn each_is_parsed(kind: Kind) {
    let folder = Folder::new();
    let mut number = 0;
    let mut victims = Vec::new();
    for door in DOORS {
        for place in [Place::Front, Place::Back] {
            number += 1;
            let path = folder.join(&number.to_string());
            let victim = Victim::new(door, &path, kind, place, Random::new(number));
            let holder = victim.holder();
            victims.push((victim, place, holder));
        }
    }
    let victims = std::cell::RefCell::new(victims);
    let case = (any::<u64>(), prop::collection::vec((change(), 0..3u32), 1..8));
    let ran = cases(200).run(&case, |(seed, changes)| {
        for (victim, place, holder) in victims.borrow_mut().iter_mut() {
            victim.begin_anew(seed);
            for (change, rounds) in &changes {
                change.make(victim, *place, *holder);
                (0..*rounds).for_each(|_| victim.round(0));
            }
            victim.init();
            victim.round(1000);
            victim.check_beside();
        }
        Ok(())
    });
    ran.expect("codes that may be");
    victims.into_inner().into_iter().for_each(|(victim, ..)| drop(victim.end()));
}

#[test]
fn whatever_stands_in_a_lock() {
    each_is_parsed(Kind::Mutex);
}

#[test]
fn whatever_stands_in_a_cell() {
    [1, 100, 5000].map(Kind::Cell).into_iter().for_each(each_is_parsed);
}

#[test]
fn whatever_stands_in_a_queue() {
    [(1, 0), (200, 1), (200, 2), (500, 3)]
        .map(|(capacity, flags)| Kind::Queue(capacity, flags))
        .into_iter()
        .for_each(each_is_parsed);
}

/// One who lives and does not get on is waited for a while, not for ever.
#[test]
fn an_object_that_somebody_makes_all_the_time() {
    for door in DOORS {
        let folder = Folder::new();
        for (kind, busy) in [(Kind::Mutex, EBADMSG), (Kind::Cell(8), EBUSY), (Kind::Queue(8, 0), EBUSY)] {
            let mut victim = Victim::new(door, &folder.join(&format!("{kind:?}")), kind, Place::Back, Random::new(1));
            let holder = victim.holder();
            victim.round(0);
            let at = victim.offset;
            let makes = MAKING | holder >> 32;
            victim.region.write(at, &makes.to_le_bytes()).expect("good");
            let region = &victim.region;
            match kind {
                Kind::Mutex => {
                    refused(region.init_mutex(at), EBUSY, &["is being made"]);
                    refused(region.lock(at, -1), busy, &[]);
                }
                Kind::Cell(_) => {
                    refused(region.init_cell(at, 8), EBUSY, &["is being made"]);
                    refused(region.publish(at, &[1; 8]), busy, &["is being made"]);
                    refused(region.read_cell(at, 8), busy, &["is being made"]);
                    refused(region.wait_cell(at, 0, -1), busy, &["is being made"]);
                }
                Kind::Queue(..) => {
                    refused(region.init_queue(at, 8, 0), EBUSY, &["is being made"]);
                    refused(region.producer(at).map(drop), busy, &["is being made"]);
                }
            }
            // The handles that are open from before tell of damage at once.
            victim.round(0);
            // Who is dead is not waited for.
            victim.region.write(at, &(makes ^ 5).to_le_bytes()).expect("good");
            let looked_for = match kind {
                Kind::Mutex => victim.region.lock(at, -1).map(drop),
                Kind::Cell(_) => victim.region.read_cell(at, 8).map(drop),
                Kind::Queue(..) => victim.region.producer(at).map(drop),
            };
            refused(looked_for, EBADMSG, &["does not exist"]);
            victim.end();
        }
    }
}
