//! Queues as those find them who are killed in them, and what survivors do with them then.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

use super::cells::{Handle, pattern, queue_bytes};
use super::doors::{Door, Opened, refused};
use super::files::Folder;
use super::kills::AT_ONCE;
use super::process::forked;
use super::steps::Late;
use super::words::Do;
use libc::{EPIPE, ETIMEDOUT};
use mapshare::ffi::queue::*;
use std::rc::Rc;
use std::time::Instant;

pub(crate) const AT: u64 = 64;
/// In a ring of 256 bytes, where a message of 40 takes 48.
pub(crate) const CAPACITY: u64 = 240;
/// Where the ring and the cursors stand, from the queue's first byte.
pub(crate) const RING: u64 = 512;
pub(crate) const HEAD: u64 = 256;
const TAIL: u64 = 128;
const PUSHED: u64 = 136;
/// Number and length of the survivors' messages.
const OURS: u64 = 1000;
const SHORT: usize = 8;

/// Which sides of a queue are single.
pub(crate) const KINDS: [u32; 2] = [MAPSHARE_QUEUE_SINGLE_PRODUCER | MAPSHARE_QUEUE_SINGLE_CONSUMER, 0];

/// How a queue stands.
#[derive(Clone, Copy)]
pub(crate) struct Scene {
    /// The lengths of the messages that have gone through it, which are numbered from 0.
    pub(crate) gone: &'static [usize],
    /// And of those that are in it.
    pub(crate) inside: &'static [usize],
    /// Who has died in it already, with his role or his side's lock: a producer before he could store the cursor behind
    /// the last message.
    pub(crate) died: Option<u32>,
}

impl Scene {
    pub(crate) const fn new(gone: &'static [usize], inside: &'static [usize]) -> Scene {
        Scene { gone, inside, died: None }
    }

    fn first(&self) -> u64 {
        self.gone.len() as u64
    }

    /// The number of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.first() + self.inside.len() as u64
    }

    fn is_full(&self) -> bool {
        self.inside.iter().map(|length| length + 8).sum::<usize>() + 24 > CAPACITY as usize
    }
}

/// What one who is killed would do in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The next message, of this length, is in.
    Push(usize),
    /// The first message is out.
    Pop,
    /// The queue is at its end.
    End,
    Nothing,
}

/// A queue, and the handles of those who live on.
pub(crate) struct Ring {
    pub(crate) region: Rc<Opened>,
    pub(crate) scene: Scene,
    flags: u32,
    producers: Vec<Handle>,
    consumers: Vec<Handle>,
}

impl Ring {
    pub(crate) fn open(door: Door, folder: &Folder, flags: u32, scene: Scene) -> Ring {
        let region = door.open(folder.join("file"), &super::create(AT + queue_bytes(CAPACITY))).unwrap();
        Ring { region: Rc::new(region), scene, flags, producers: Vec::new(), consumers: Vec::new() }
    }

    pub(crate) fn handle(&self, role: u32) -> Handle {
        self.region.queue(AT, role).unwrap()
    }

    pub(crate) fn word(&self, at: u64) -> u64 {
        self.region.atomic(AT + at, Do::<u64>::Load).unwrap()
    }

    /// The scene, anew; rubbish stands where no message does.
    pub(crate) fn set(&mut self) {
        let Scene { gone, inside, died } = self.scene;
        self.region.fill(AT, RING, 0).unwrap();
        self.region.fill(AT + RING, 256, 0xEE).unwrap();
        self.region.init_queue(AT, CAPACITY, self.flags).unwrap();
        let (mut producer, mut consumer) = (self.handle(MAPSHARE_PRODUCER), self.handle(MAPSHARE_CONSUMER));
        let (last, before) = match died {
            Some(MAPSHARE_PRODUCER) => inside.split_last().map(|(last, before)| (Some(*last), before)).unwrap(),
            _ => (None, inside),
        };
        for (number, length) in gone.iter().chain(before).enumerate() {
            producer.push(&pattern(number as u64, *length), 0).unwrap();
            if number < gone.len() {
                consumer.pop(0).unwrap();
            }
        }
        let _ = (producer.close().unwrap(), consumer.close().unwrap());
        if let Some(role) = died {
            self.die(role, last);
        }
    }

    /// A member dies with what it has; a producer has not yet told the others of its last message.
    fn die(&self, role: u32, last: Option<usize>) {
        let pushed = self.word(PUSHED);
        let died = forked(|| {
            let mut handle = self.handle(role);
            match last {
                Some(length) => {
                    handle.push(&pattern(self.scene.next() - 1, length), 0).unwrap();
                    handle.reserve(1, 0).unwrap();
                }
                None => drop(handle.peeked(0).unwrap()),
            }
            std::mem::forget(handle);
            0
        });
        assert_eq!(died, 0);
        if let Some(length) = last {
            let tail = self.word(TAIL) - (length as u64 + 8).next_multiple_of(8);
            self.region.atomic(AT + TAIL, Do::Store(tail)).unwrap();
            self.region.atomic(AT + PUSHED, Do::Store(pushed)).unwrap();
        }
    }

    /// Opens a handle on each side that admits one.
    pub(crate) fn join(&mut self, absent: Option<u32>) {
        for role in [MAPSHARE_PRODUCER, MAPSHARE_CONSUMER] {
            let handle = || self.region.queue(AT, role).expect("the role is free");
            let is_single = self.flags & role != 0;
            let members = if role == MAPSHARE_PRODUCER { &mut self.producers } else { &mut self.consumers };
            if !is_single || members.is_empty() && absent != Some(role) {
                members.push(handle());
            }
        }
    }

    /// Survivors do each operation; whether the deed of the dead one was done, and whether they were late.
    pub(crate) fn survive(&mut self, deed: Deed) -> (Late, bool) {
        let begun = Instant::now();
        self.join(None);
        let (mut ours, mut found, mut ended) = (0, Vec::new(), false);
        for at in 0..self.producers.len() {
            let message = pattern(OURS + ours, SHORT);
            let mut pushed = self.producers[at].push(&message, 0);
            if self.scene.is_full() && pushed.as_ref().is_err_and(|failure| failure.code == ETIMEDOUT) {
                found.push(self.consumers[0].pop(0).unwrap());
                pushed = self.producers[at].push(&message, 0);
            }
            match pushed {
                Err(failure) if failure.code == EPIPE && deed == Deed::End && ours == 0 => ended = true,
                pushed => {
                    pushed.unwrap();
                    ours += 1;
                }
            }
        }
        if let Ok(peeked) = self.consumers[0].peeked(0) {
            self.consumers[0].cancel().unwrap();
            assert_eq!(self.consumers.last_mut().unwrap().peeked(0).unwrap(), peeked);
            self.consumers.last_mut().unwrap().consume().unwrap();
            found.push(peeked);
        }
        for at in (0..self.consumers.len()).cycle() {
            match self.consumers[at].pop(0) {
                Ok(message) => found.push(message),
                empty => {
                    refused(empty, if ended { EPIPE } else { ETIMEDOUT }, &[]);
                    break;
                }
            }
        }
        let done = self.check(deed, &found, ours) || ended;
        if !ended {
            self.use_and_end();
        }
        self.producers.drain(..).chain(self.consumers.drain(..)).for_each(|handle| handle.close().unwrap());
        (Late::than(AT_ONCE, begun), done)
    }

    /// Whether the deed was done, by what survivors found with `ours` of their own; that is all that may have changed.
    fn check(&mut self, deed: Deed, found: &[Vec<u8>], ours: u64) -> bool {
        let (first, next) = (self.scene.first(), self.scene.next());
        let lengths = [self.scene.gone, self.scene.inside].concat();
        let length_of = |number: u64| match deed {
            Deed::Push(length) if number == next => length,
            _ => lengths[number as usize],
        };
        let expected = |numbers: std::ops::Range<u64>| {
            let theirs = numbers.map(|number| pattern(number, length_of(number)));
            theirs.chain((0..ours).map(|own| pattern(OURS + own, SHORT))).collect::<Vec<_>>()
        };
        let after = match deed {
            Deed::Push(_) => first..next + 1,
            Deed::Pop => first + 1..next,
            _ => first..next,
        };
        let is_done = deed != Deed::Nothing && after != (first..next) && found == expected(after.clone());
        assert!(is_done || found == expected(first..next), "{deed:?}: {found:x?}");
        // All of them are out now. Counters may lag by the one who died.
        let pushed = ours + if is_done { after.end } else { next };
        let state = self.consumers[0].info().unwrap();
        let may_lag = |is_so: bool| u64::from(is_so);
        let lag = pushed - state.pushed;
        assert!(lag <= may_lag(is_done && deed != Deed::Pop || self.scene.died == Some(MAPSHARE_PRODUCER)), "{lag}");
        let lag = pushed - state.popped;
        assert!(lag <= may_lag(is_done && deed == Deed::Pop), "{lag}");
        assert_eq!((state.messages, state.bytes, state.capacity), (0, 0, CAPACITY));
        let members = (self.producers.len() as u32, self.consumers.len() as u32);
        assert_eq!((state.producers, state.consumers), members, "the dead are no members");
        is_done
    }

    fn use_and_end(&mut self) {
        let (producer, consumer) = (self.producers.last_mut().unwrap(), self.consumers.last_mut().unwrap());
        let room = producer.reserve(SHORT, 0).unwrap();
        // SAFETY: so many bytes are ours until the commit.
        unsafe { room.copy_from_nonoverlapping(pattern(OURS, SHORT).as_ptr(), SHORT) };
        producer.commit(SHORT).unwrap();
        assert_eq!(consumer.peeked(0), Ok(pattern(OURS, SHORT)));
        consumer.consume().unwrap();
        producer.end().unwrap();
        refused(consumer.pop(0), EPIPE, &[]);
    }
}
