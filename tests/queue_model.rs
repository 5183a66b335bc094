//! A queue against a list that knows what each message takes: whatever is done in whatever order by however many handles,
//! both give the same.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::cells::{Handle, pattern, queue_bytes};
use common::random::cases;
use common::*;
use libc::*;
use proptest::prelude::*;
use std::collections::VecDeque;

const AT: u64 = 64;
const LARGEST: u64 = 400;
/// Where docs/format.md has the cursors, from the queue's first byte.
const TAIL: u64 = 128;
const HEAD: u64 = 256;
const SINGLE: [u32; 2] = [1, 2];
const HANDLES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Open(usize),
    Close(usize),
    Push(usize, u64),
    /// Of so many bytes.
    Reserve(usize, u64),
    Commit(usize, u64),
    /// Into a buffer of so many bytes.
    Pop(usize, u64),
    Peek(usize),
    Consume(usize),
    /// Either side.
    Cancel(usize),
    End(usize),
}

/// A handle, of which the first few are producers and the others consumers.
fn steps(capacity: u64) -> impl Strategy<Value = Vec<Step>> {
    let handle = || 0..2 * HANDLES;
    let length = move || prop_oneof![4 => 0..=capacity / 4, 2 => 0..=capacity, 1 => Just(0), 1 => Just(capacity + 1)];
    let step = prop_oneof![
        6 => handle().prop_map(Step::Open),
        2 => handle().prop_map(Step::Close),
        12 => (handle(), length()).prop_map(|(handle, length)| Step::Push(handle, length)),
        6 => (handle(), length()).prop_map(|(handle, length)| Step::Reserve(handle, length)),
        6 => (handle(), length()).prop_map(|(handle, length)| Step::Commit(handle, length)),
        12 => (handle(), prop_oneof![3 => Just(LARGEST), 1 => length()]).prop_map(|(handle, room)| Step::Pop(handle, room)),
        6 => handle().prop_map(Step::Peek),
        6 => handle().prop_map(Step::Consume),
        3 => handle().prop_map(Step::Cancel),
    ];
    let end = prop::option::weighted(0.3, handle().prop_map(Step::End));
    (prop::collection::vec(step, 1..250), end, prop::collection::vec(handle().prop_map(|at| Step::Pop(at, LARGEST)), 9))
        .prop_map(|(mut steps, end, pops)| {
            steps.extend(end);
            steps.extend(pops);
            steps
        })
}

#[derive(Clone, Debug)]
struct Case {
    capacity: u64,
    flags: u32,
    /// What has gone through the queue before, in bytes.
    before: u64,
    steps: Vec<Step>,
}

fn case() -> impl Strategy<Value = Case> {
    (1..LARGEST, 0..4u32, prop_oneof![Just(0), (0..1u64 << 50).prop_map(|words| 8 * words)]).prop_flat_map(
        |(capacity, flags, before)| steps(capacity).prop_map(move |steps| Case { capacity, flags, before, steps }),
    )
}

fn record(length: u64) -> u64 {
    8 + length.next_multiple_of(8)
}

/// The list, and the handles of the queue that it is compared with.
struct Model<'a> {
    region: &'a Opened,
    handles: [Option<Handle>; 2 * HANDLES],
    capacity: u64,
    flags: u32,
    ring: u64,
    /// Messages, and None for what is passed over up to the ring's end.
    list: VecDeque<Option<Vec<u8>>>,
    tail: u64,
    head: u64,
    pushed: u64,
    popped: u64,
    ended: bool,
    /// Which handle has a reservation, of how many bytes; which one has peeked.
    reserved: Option<(usize, u64)>,
    peeked: Option<usize>,
}

impl Drop for Model<'_> {
    fn drop(&mut self) {
        for handle in std::mem::take(&mut self.handles).into_iter().flatten() {
            let _ = handle.close();
        }
    }
}

impl<'a> Model<'a> {
    fn new(region: &'a Opened, case: &Case) -> Model<'a> {
        let Case { capacity, flags, before, .. } = *case;
        region.fill(AT, queue_bytes(LARGEST), 0).unwrap();
        region.init_queue(AT, capacity, flags).unwrap();
        for cursor in [TAIL, HEAD] {
            region.write(AT + cursor, &before.to_le_bytes()).unwrap();
        }
        Model {
            region,
            handles: Default::default(),
            capacity,
            flags,
            ring: (capacity + 16).next_multiple_of(64),
            list: VecDeque::new(),
            tail: before,
            head: before,
            pushed: 0,
            popped: 0,
            ended: false,
            reserved: None,
            peeked: None,
        }
    }

    fn is_single(&self, handle: usize) -> bool {
        self.flags & SINGLE[handle / HANDLES] != 0
    }

    fn free(&self) -> u64 {
        self.ring - (self.tail - self.head)
    }

    /// Who wants room or messages on a side where another handle of this thread has the turn waits for himself.
    fn turn(&self, handle: usize, taken: Option<usize>) -> Result<(), i32> {
        match taken {
            Some(by) if by == handle => Err(EINVAL),
            Some(_) => Err(EDEADLK),
            None => Ok(()),
        }
    }

    /// Whether there is room for a message; padding that it needs is put in all the same.
    fn room(&mut self, handle: usize, length: u64) -> Result<(), i32> {
        if self.reserved.is_some_and(|(by, _)| by == handle) {
            return Err(EINVAL);
        }
        if length > self.capacity {
            return Err(EMSGSIZE);
        }
        self.turn(handle, self.reserved.map(|(by, _)| by))?;
        if self.ended {
            return Err(EPIPE);
        }
        let gap = self.ring - self.tail % self.ring;
        if record(length) > gap {
            if self.free() < gap + 8 {
                return Err(ETIMEDOUT);
            }
            self.list.push_back(None);
            self.tail += gap;
        }
        if self.free() < record(length) + 8 { Err(ETIMEDOUT) } else { Ok(()) }
    }

    fn append(&mut self, message: Vec<u8>) {
        self.tail += record(message.len() as u64);
        self.pushed += 1;
        self.list.push_back(Some(message));
    }

    /// The first message.
    fn first(&mut self, handle: usize) -> Result<Vec<u8>, i32> {
        self.turn(handle, self.peeked)?;
        if let Some(None) = self.list.front() {
            self.list.pop_front();
            self.head += self.ring - self.head % self.ring;
        }
        let nothing = if self.ended { EPIPE } else { ETIMEDOUT };
        self.list.front().map(|first| first.clone().expect("no padding behind padding")).ok_or(nothing)
    }

    fn take(&mut self) {
        let first = self.list.pop_front().flatten().expect("it was there");
        self.head += record(first.len() as u64);
        self.popped += 1;
    }

    fn forget(&mut self, handle: usize) {
        self.reserved = self.reserved.filter(|(by, _)| *by != handle);
        self.peeked = self.peeked.filter(|by| *by != handle);
    }

    /// What a new message says, the same in the list and in the queue.
    fn message(&self, length: u64) -> Vec<u8> {
        pattern(self.pushed, length as usize)
    }

    fn open(&mut self, at: usize) {
        if self.handles[at].is_some() {
            return;
        }
        let opened = self.region.queue(AT, 1 + (at / HANDLES) as u32);
        let side = at / HANDLES * HANDLES;
        let is_taken = self.is_single(at) && self.handles[side..side + HANDLES].iter().any(Option::is_some);
        match opened {
            Ok(handle) if !is_taken => self.handles[at] = Some(handle),
            Err(failure) => assert!(is_taken && failure.code == EBUSY, "{failure:?}"),
            Ok(_) => panic!("a single side has two members"),
        }
    }

    /// Does the step in both, if it has a handle of the right side, and compares.
    fn step(&mut self, step: &Step) {
        let (Step::Open(at) | Step::Close(at) | Step::Cancel(at)) = *step else { return self.act(step) };
        if let Step::Open(_) = step {
            return self.open(at);
        }
        self.forget(at);
        match (step, self.handles[at].take()) {
            (Step::Close(_), Some(handle)) => handle.close().unwrap(),
            (_, Some(mut handle)) => {
                handle.cancel().unwrap();
                self.handles[at] = Some(handle);
            }
            _ => {}
        }
    }

    fn act(&mut self, step: &Step) {
        let (at, role) = match *step {
            Step::Push(at, _) | Step::Reserve(at, _) | Step::Commit(at, _) | Step::End(at) => (at % HANDLES, 0),
            Step::Pop(at, _) | Step::Peek(at) | Step::Consume(at) => (HANDLES + at % HANDLES, 1),
            _ => unreachable!("done by `step`"),
        };
        debug_assert_eq!(at / HANDLES, role);
        let Some(mut handle) = self.handles[at].take() else { return };
        match *step {
            Step::Push(_, length) => {
                let (message, room) = (self.message(length), self.room(at, length));
                assert_eq!(code(handle.push(&message, 0)), room.err().unwrap_or(0));
                if room.is_ok() {
                    self.append(message);
                }
            }
            Step::Reserve(_, length) => match (self.room(at, length), handle.reserve(length as usize, 0)) {
                (Ok(()), reserved) => {
                    let bytes = self.message(length);
                    // SAFETY: as many are ours until the commit.
                    unsafe { reserved.unwrap().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
                    self.reserved = Some((at, length));
                }
                (Err(room), reserved) => assert_eq!(code(reserved), room),
            },
            Step::Commit(_, length) => {
                let reserved = self.reserved.filter(|(by, reserved)| *by == at && length <= *reserved);
                assert_eq!(code(handle.commit(length as usize)), if reserved.is_some() { 0 } else { EINVAL });
                if let Some((_, reserved)) = reserved {
                    self.append(self.message(reserved)[..length as usize].to_vec());
                    self.reserved = None;
                }
            }
            Step::Pop(_, room) => {
                let first =
                    self.first(at).and_then(|first| if first.len() as u64 > room { Err(EMSGSIZE) } else { Ok(first) });
                assert_eq!(handle.pop_up_to(room as usize, 0).map_err(|failure| failure.code), first);
                if first.is_ok() {
                    self.take();
                }
            }
            Step::Peek(_) => {
                let first = self.first(at);
                assert_eq!(handle.peeked(0).map_err(|failure| failure.code), first);
                self.peeked = first.map_or(self.peeked, |_| Some(at));
            }
            Step::Consume(_) => {
                let is_peeked = self.peeked == Some(at);
                assert_eq!(code(handle.consume()), if is_peeked { 0 } else { EINVAL });
                if is_peeked {
                    self.take();
                    self.peeked = None;
                }
            }
            Step::End(_) => {
                self.forget(at);
                let turn = self.turn(at, self.reserved.map(|(by, _)| by));
                assert_eq!(code(handle.end()), turn.err().unwrap_or(0));
                self.ended |= turn.is_ok();
            }
            _ => unreachable!("done by `step`"),
        }
        self.handles[at] = Some(handle);
    }

    /// What `info` says, by any handle.
    fn check_info(&mut self) {
        let count = |side: &[Option<Handle>]| side.iter().flatten().count() as u32;
        let (producers, consumers) = (count(&self.handles[..HANDLES]), count(&self.handles[HANDLES..]));
        let Some(handle) = self.handles.iter_mut().flatten().next() else { return };
        let state = handle.info().unwrap();
        assert_eq!((state.capacity, state.bytes), (self.capacity, self.tail - self.head));
        assert_eq!((state.pushed, state.popped, state.messages), (self.pushed, self.popped, self.pushed - self.popped));
        assert_eq!((state.producers, state.consumers), (producers, consumers));
    }
}

#[test]
fn a_queue_does_what_a_list_does() {
    let folder = Folder::new();
    let length = AT + queue_bytes(LARGEST);
    let regions = DOORS.map(|door| door.open(folder.join(&format!("{door:?}")), &create(length)).unwrap());
    let ran = cases(400).run(&case(), |case| {
        for region in &regions {
            let mut model = Model::new(region, &case);
            for step in &case.steps {
                model.step(step);
                model.check_info();
            }
        }
        Ok(())
    });
    ran.unwrap();
}
