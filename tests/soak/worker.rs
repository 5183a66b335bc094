//! What a process of the soak does with the objects, and what it checks at once.

use super::common::cells::Handle;
use super::common::random::Random;
use super::common::{Door, Failure, Opened, Outcome, with};
use super::journal::*;
use super::steps::Steps;
use libc::{EAGAIN, EBUSY, EMSGSIZE, ETIMEDOUT};
use mapshare::ffi::options::MAPSHARE_READ_ONLY;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// How a process waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not long: so there is always one who does something.
    Little,
    /// As long as it takes.
    All,
}

pub(crate) struct Worker<'a> {
    board: &'a Board,
    life: &'a Life,
    number: usize,
    round: u32,
    region: Opened,
    /// Where it reads the cell: perhaps a region that may only be read.
    reader: Option<Opened>,
    random: Random,
    patience: Patience,
    /// The version that it read last, and what stood there.
    seen: (u64, Option<Message>),
    message: Vec<u8>,
    steps: RefCell<Steps>,
    /// When the last call ended.
    ended_ns: Cell<u64>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        (board, number, round): (&'a Board, usize, u32),
        (path, door): (&Path, Door),
        patience: Patience,
        random: Random,
    ) -> Worker<'a> {
        let region = open(door, path);
        let reader = number.is_multiple_of(3).then(|| door.open(path, &with(MAPSHARE_READ_ONLY)).unwrap());
        let (life, message) = (&board.lives[number], Vec::with_capacity(LONGEST));
        life.enter(Op::Idle, 0);
        let steps = RefCell::new(Steps::new(random.clone()));
        Worker {
            board,
            life,
            number,
            round,
            region,
            reader,
            random,
            patience,
            seen: (0, None),
            message,
            steps,
            ended_ns: Cell::new(now_ns()),
        }
    }

    /// Makes it kill itself some day.
    pub(crate) fn doom(self) -> Worker<'a> {
        let is_doomed = self.steps.borrow_mut().doom();
        self.life.is_doomed.store(is_doomed.into(), SeqCst);
        self
    }

    fn is_over(&self) -> bool {
        self.board.stop.load(Relaxed) != 0
    }

    /// Whether it has pushed as much as there is room for in its notes.
    fn is_worn(&self) -> bool {
        self.life.pushed.iter().any(|pushed| pushed.load(Relaxed) == LIFE)
    }

    /// Does this and that until the round is over.
    pub(crate) fn run(mut self) {
        while !self.is_over() && !self.is_worn() {
            let queue = self.random.below(QUEUES.len() as u64) as usize;
            match self.random.below(10) {
                0..3 => self.produce(queue),
                3..6 => self.consume(queue),
                6..8 => self.increment(),
                8 => self.publish(),
                _ => self.read_cell(),
            }
        }
        self.life.enter(Op::Ending, 0);
    }

    fn idle(&self) {
        self.life.enter(Op::Idle, 0);
    }

    fn did(&self, kind: usize) {
        self.board.done[kind].fetch_add(1, SeqCst);
    }

    /// How long to wait now, in nanoseconds.
    fn timeout(&mut self) -> i64 {
        if self.patience == Patience::All && self.random.below(4) != 0 {
            LONG_NS[self.random.below(2) as usize]
        } else {
            [0, 0, 0, 0, 50_000, 2_000_000][self.random.below(6) as usize]
        }
    }

    fn times(&mut self, most: u64) -> u64 {
        1 + self.random.below(most)
    }

    /// Lets some instructions pass, so that kills find them.
    fn dawdle(&mut self) {
        if self.random.below(4) == 0 {
            (0..self.random.below(500)).for_each(|_| std::hint::spin_loop());
        }
    }

    /// Does a call. The process still counts as in the call until it enters something else.
    fn timed<T>(&self, op: Op, queue: usize, call: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let begun_ns = now_ns();
        self.board.pause_ns.fetch_max(begun_ns - self.ended_ns.replace(begun_ns), Relaxed);
        self.life.begun_ns.store(begun_ns, SeqCst);
        self.life.enter(op, queue);
        let (outcome, is_slow) = self.steps.borrow_mut().take(op, call);
        self.ended_ns.set(now_ns());
        let longest_ns = match is_slow {
            false if self.is_over() => return outcome,
            false => &self.life.longest_ns[op as usize],
            true if op.waits() => return outcome,
            true => &self.board.pause_ns,
        };
        longest_ns.fetch_max(self.ended_ns.get() - begun_ns, Relaxed);
        outcome
    }

    /// The lock's pair: both numbers are equal, and the sum of what the processes have counted.
    fn increment(&mut self) {
        for _ in 0..self.times(30) {
            let timeout_ns = if self.random.below(8) == 0 { 0 } else { -1 };
            match self.timed(Op::Locking, 0, || self.region.lock(MUTEX, timeout_ns)) {
                Ok(told) => self.increment_locked(told),
                Err(failure) => self.waited_in_vain(failure, timeout_ns == 0),
            }
            if self.is_over() {
                return;
            }
        }
    }

    fn increment_locked(&mut self, told: bool) {
        self.settle_lock(told);
        let (own, life) = (count_of(self.number), self.life);
        life.incremented[0].fetch_add(1, SeqCst);
        // In any order: whoever repairs counts anew.
        let first = self.random.below(3) as usize;
        for step in 0..3 {
            let offset = [PAIR[0], PAIR[1], own][(first + step) % 3];
            set_word(&self.region, offset, word(&self.region, offset) + 1);
            self.dawdle();
        }
        life.incremented[1].fetch_add(1, SeqCst);
        self.unlock();
        self.did(LOCKS);
    }

    /// Looks at the pair as one who has just got the lock, and was told of a death or not.
    fn settle_lock(&self, told: bool) {
        if told {
            self.life.told.fetch_add(1, SeqCst);
            self.life.enter(Op::Repairing, 0);
            let sum = self.counted();
            PAIR.iter().for_each(|offset| set_word(&self.region, *offset, sum));
            self.region.recover(MUTEX).unwrap();
        }
        self.life.enter(Op::Holding, 0);
        let pair = PAIR.map(|offset| word(&self.region, offset));
        assert_eq!(pair[0], pair[1], "half written, and told that an owner died: {told}");
    }

    fn unlock(&self) {
        self.timed(Op::Unlocking, 0, || self.region.unlock(MUTEX)).unwrap();
        self.idle();
    }

    /// The increments that processes of this round have counted.
    fn counted(&self) -> u64 {
        let started = self.board.started.load(SeqCst) as usize;
        (0..started).map(|process| word(&self.region, count_of(process))).sum()
    }

    /// The pair's numbers when nobody else is there, put in order. The lock may have been freed for one who had waited long and
    /// was killed then: it is kept for him for 5 ms.
    pub(crate) fn final_pair(&self) -> [u64; 2] {
        let told = self.timed(Op::Locking, 0, || self.region.lock(MUTEX, 1_000_000_000)).unwrap();
        self.settle_lock(told);
        let pair = PAIR.map(|offset| word(&self.region, offset));
        assert_eq!(pair[0], self.counted(), "the pair is not what was counted");
        self.unlock();
        pair
    }

    fn waited_in_vain(&self, failure: Failure, may_be: bool) {
        assert!(failure.code == ETIMEDOUT && may_be || self.is_over(), "{failure:?}");
        self.idle();
    }

    fn publish(&mut self) {
        for _ in 0..self.times(20) {
            let number = self.life.published.load(SeqCst) as u32 + 1;
            let value = self.message_of(QUEUES.len(), number, VALUE).to_vec();
            // One whose writer gets no processor for a second is no failure; one that gets none for ever is found out.
            while let Err(failure) = self.timed(Op::Publishing, 0, || self.region.publish(CELL, &value)) {
                assert_eq!(failure.code, ETIMEDOUT, "{failure:?}");
            }
            self.life.published.fetch_add(1, SeqCst);
            self.board.published.fetch_add(1, SeqCst);
            self.idle();
            self.did(PUBLISHES);
        }
    }

    fn read_cell(&mut self) {
        for _ in 0..self.times(20) {
            if self.random.below(4) == 0 {
                self.await_value();
            }
            self.read_value();
            if self.is_over() {
                return;
            }
        }
    }

    fn reader(&self) -> &Opened {
        self.reader.as_ref().unwrap_or(&self.region)
    }

    fn await_value(&mut self) {
        let timeout_ns = self.timeout();
        let seen = self.seen.0;
        let waited = self.timed(Op::AwaitingValue, 0, || self.reader().wait_cell(CELL, seen, timeout_ns));
        match waited {
            Ok(()) => {
                let (version, _) = self.read_value().unwrap_or((u64::MAX, None));
                assert!(version > seen, "the wait ended, and version {version} is not after {seen}");
            }
            Err(failure) => self.waited_in_vain(failure, true),
        }
    }

    /// The last version; None when writers were faster.
    pub(crate) fn read_value(&mut self) -> Option<(u64, Option<Message>)> {
        let first = self.board.first_version.load(SeqCst);
        let least = first + self.board.published.load(SeqCst);
        let newest = self.board.newest.load(SeqCst);
        let (version, value) = match self.timed(Op::Reading, 0, || self.reader().read_cell(CELL, VALUE)) {
            Ok(read) => read,
            Err(failure) => {
                assert_eq!(failure.code, EAGAIN, "{failure:?}");
                self.life.lapped.fetch_add(1, Relaxed);
                self.idle();
                return None;
            }
        };
        assert!(version >= least, "version {version} is the last one, when {least} were published before");
        assert!(version >= newest.max(self.seen.0), "version {version} after {newest}, {:?}", self.seen);
        let message = Message::read(&value, true);
        let is_zero = version == 0 && value.iter().all(|byte| *byte == 0);
        assert!(message.is_some() || is_zero, "version {version} is torn: {value:?}");
        if let (Some(new), (before, Some(old))) = (message, self.seen) {
            assert!(version != before || new == old, "version {version} is {old:?}, then {new:?}");
            let is_back = new.round == old.round && new.process == old.process && new.number < old.number;
            assert!(!is_back && new.round >= old.round, "version {version} goes back from {old:?} to {new:?}");
        }
        self.board.newest.fetch_max(version, SeqCst);
        self.seen = (version, message);
        self.idle();
        self.did(READS);
        Some(self.seen)
    }

    fn message_of(&mut self, object: usize, number: u32, length: usize) -> &[u8] {
        let (round, process, length_u64) = (self.round, self.number as u32, length as u64);
        self.message.resize(length, 0);
        Message { round, process, object: object as u32, number, length: length_u64 }.write(&mut self.message);
        &self.message
    }

    /// A handle; None when the role is another's. `Failure` when it may not be.
    pub(crate) fn open_queue(&self, queue: usize, produces: bool) -> Option<Handle> {
        let at = QUEUES[queue].at;
        let opened = self.timed(Op::OpeningQueue, queue, || {
            if produces { self.region.producer(at) } else { self.region.consumer(at) }
        });
        self.idle();
        match opened {
            Ok(handle) => Some(handle),
            Err(failure) => {
                assert!(failure.code == EBUSY && QUEUES[queue].flags != 0, "{failure:?}");
                self.life.refused.fetch_add(1, Relaxed);
                None
            }
        }
    }

    pub(crate) fn close_queue(&self, handle: Handle, queue: usize) {
        self.timed(Op::ClosingQueue, queue, || handle.close()).unwrap();
        self.idle();
    }

    fn produce(&mut self, queue: usize) {
        let Some(mut handle) = self.open_queue(queue, true) else { return };
        for _ in 0..self.times(100) {
            let copies = self.random.below(QUEUES[queue].copies) != 0;
            let has_sent = if copies { self.push(&mut handle, queue) } else { self.fill_in_place(&mut handle, queue) };
            if !has_sent || self.is_over() || self.is_worn() {
                break;
            }
        }
        self.close_queue(handle, queue);
    }

    /// The number and the length of the next message into a queue.
    fn next(&mut self, queue: usize) -> (u32, usize) {
        let Place { capacity, longest, .. } = QUEUES[queue];
        let most = if self.random.below(50) == 0 { (capacity as usize).min(LONGEST) } else { longest };
        let length = Message::HEADER + self.random.below((most - Message::HEADER) as u64 + 1) as usize;
        (self.life.pushed[queue].load(SeqCst) as u32 + 1, length)
    }

    /// Whether a call that sends succeeded.
    fn sent(&self, queue: usize, number: u32, outcome: Outcome) -> bool {
        match outcome {
            Ok(()) => {
                self.life.pushed[queue].store(number.into(), SeqCst);
                self.idle();
                true
            }
            Err(failure) => {
                self.waited_in_vain(failure, true);
                false
            }
        }
    }

    fn push(&mut self, handle: &mut Handle, queue: usize) -> bool {
        let (timeout_ns, (number, length)) = (self.timeout(), self.next(queue));
        self.message_of(queue, number, length);
        let pushed = self.timed(Op::Pushing, queue, || handle.push(&self.message, timeout_ns));
        self.sent(queue, number, pushed)
    }

    fn fill_in_place(&mut self, handle: &mut Handle, queue: usize) -> bool {
        let (timeout_ns, (number, length)) = (self.timeout(), self.next(queue));
        let room = (length + self.random.below(100) as usize).min(QUEUES[queue].capacity as usize);
        let reserved = self.timed(Op::Reserving, queue, || handle.reserve(room, timeout_ns));
        let at = match reserved {
            Ok(at) => at,
            Err(failure) => {
                self.waited_in_vain(failure, true);
                return false;
            }
        };
        self.life.enter(Op::Filling, queue);
        self.message_of(queue, number, length);
        let middle = self.random.below(length as u64) as usize;
        for part in [0..middle, middle..length] {
            let (from, to) = (&self.message[part.clone()], at.wrapping_add(part.start));
            // SAFETY: `room` bytes there are this handle's until the commit, and `length` is not more.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
            self.dawdle();
        }
        if self.random.below(16) == 0 {
            self.timed(Op::Cancelling, queue, || handle.cancel()).unwrap();
            self.idle();
            return true;
        }
        let committed = self.timed(Op::Committing, queue, || handle.commit(length));
        assert!(committed.is_ok(), "{committed:?}");
        self.sent(queue, number, committed)
    }

    fn consume(&mut self, queue: usize) {
        let Some(mut handle) = self.open_queue(queue, false) else { return };
        for _ in 0..self.times(100) {
            let (timeout_ns, copies) = (self.timeout(), self.random.below(QUEUES[queue].copies) != 0);
            let has_taken = match copies {
                true => self.pop(&mut handle, queue, timeout_ns),
                false => self.use_in_place(&mut handle, queue, timeout_ns),
            };
            if !has_taken || self.is_over() {
                break;
            }
        }
        self.close_queue(handle, queue);
    }

    /// Whether it got one.
    pub(crate) fn pop(&mut self, handle: &mut Handle, queue: usize, timeout_ns: i64) -> bool {
        // SAFETY: this process alone uses it while it lives, and nothing else here does.
        let buffer = unsafe { &mut *self.life.buffer.get() };
        if self.random.below(64) == 0 {
            let popped = self.timed(Op::Popping, queue, || handle.pop_into(&mut buffer[..8], 0));
            let code = popped.expect_err("no message is so short").code;
            assert!(code == EMSGSIZE || code == ETIMEDOUT, "{code}");
        }
        match self.timed(Op::Popping, queue, || handle.pop_into(buffer, timeout_ns)) {
            Ok(length) => {
                let message = self.check(queue, &buffer[..length]);
                self.take(queue, message);
                true
            }
            Err(failure) => {
                self.waited_in_vain(failure, true);
                false
            }
        }
    }

    /// As `pop`, without a copy.
    fn use_in_place(&mut self, handle: &mut Handle, queue: usize, timeout_ns: i64) -> bool {
        let peeked = self.timed(Op::Peeking, queue, || handle.peek(timeout_ns));
        let message = match peeked {
            Ok(found) => self.look(queue, found),
            Err(failure) => {
                self.waited_in_vain(failure, true);
                return false;
            }
        };
        self.dawdle();
        if self.random.below(16) == 0 {
            self.take_of(queue, message).looks.fetch_sub(1, SeqCst);
            self.timed(Op::Cancelling, queue, || handle.cancel()).unwrap();
            self.idle();
            return true;
        }
        self.timed(Op::Consuming, queue, || handle.consume()).unwrap();
        self.take(queue, message);
        true
    }

    /// Looks at a message in its place.
    fn look(&self, queue: usize, (at, length): (*const u8, u64)) -> Message {
        // SAFETY: the message stays there until it is consumed, and nobody writes it.
        let message = self.check(queue, unsafe { std::slice::from_raw_parts(at, length as usize) });
        let take = self.take_of(queue, message);
        self.life.hand.store(u64::from(message.process) << 32 | u64::from(message.number), SeqCst);
        self.life.enter(Op::Looking, queue);
        let before = take.looks.fetch_add(1, SeqCst);
        self.life.again.fetch_add(u64::from(before > 0), SeqCst);
        assert_eq!(take.begun_ns.load(SeqCst), 0, "{message:?} was taken out before");
        message
    }

    fn take_of(&self, queue: usize, message: Message) -> &Take {
        self.board.take(message.process as usize, queue, message.number.into())
    }

    /// The message that these bytes are: a whole one that somebody has pushed or is pushing.
    fn check(&self, queue: usize, bytes: &[u8]) -> Message {
        let message = Message::read(bytes, true);
        let message = message.unwrap_or_else(|| panic!("torn in queue {queue}: {} bytes: {bytes:?}", bytes.len()));
        let Message { round, process, object, number, .. } = message;
        let pushed = self.board.lives[process as usize].pushed[queue].load(SeqCst);
        let is_known = (round, object) == (self.round, queue as u32) && (1..=pushed + 1).contains(&number.into());
        assert!(is_known, "nobody pushed {message:?} into queue {queue}: {pushed} were");
        message
    }

    /// Notes that a message is out.
    fn take(&self, queue: usize, message: Message) {
        let (take, begun_ns) = (self.take_of(queue, message), self.life.begun_ns.load(SeqCst));
        let taken = take.begun_ns.compare_exchange(0, begun_ns, SeqCst, SeqCst);
        assert!(taken.is_ok(), "{message:?} was taken out twice");
        take.ended_ns.store(now_ns(), SeqCst);
        self.idle();
        self.did(TAKES + queue);
    }
}
