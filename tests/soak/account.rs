//! What the parent makes of the notes once all processes of a round are dead: each message, publish and increment.

use super::common::Opened;
use super::journal::*;
use super::worker::Worker;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// What happened, over all rounds.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) rounds: u64,
    pub(crate) started: u64,
    /// Where processes were killed.
    pub(crate) kills: BTreeMap<Op, u64>,
    done: [u64; KINDS],
    told: u64,
    again: u64,
    lapped: u64,
    refused: u64,
    /// Messages whose producer was killed while it sent them, and that were delivered; that went with a consumer.
    doubtful: u64,
    gone: u64,
    longest_ms: BTreeMap<Op, u64>,
    /// As `Board::pause_ns`.
    pub(crate) pause_ns: u64,
    /// Of each queue: how many messages it may have counted as pushed, at least and at most, and as popped.
    counters: [[u64; 4]; QUEUES.len()],
}

impl Totals {
    pub(crate) fn told(&self, seconds: u64) -> String {
        let kills: u64 = self.kills.values().sum();
        let [locks, publishes, reads, takes @ ..] = self.done;
        let deaths = self.told;
        format!(
            "{seconds} s, {} rounds, {} processes, {kills} kills: {:?}\n  messages {takes:?}, of these {} of producers \
             killed in sending; {} gone with consumers; {} looked at again\n  {locks} locks, {deaths} owner deaths met; \
             {publishes} publishes, {reads} reads, {} lapped; {} roles refused\n  longest, in ms: {:?}; {} of pause",
            self.rounds,
            self.started,
            self.kills,
            self.doubtful,
            self.gone,
            self.again,
            self.lapped,
            self.refused,
            self.longest_ms,
            self.pause_ns / 1_000_000
        )
    }
}

/// A round that is over. `dead` are the processes that were killed; the parent's own worker is `number`.
pub(crate) struct Round<'a> {
    pub(crate) board: &'a Board,
    pub(crate) number: usize,
    pub(crate) dead: &'a [usize],
    pub(crate) round: u32,
}

impl Round<'_> {
    fn lives(&self) -> impl Iterator<Item = (usize, &Life)> {
        self.board.lives[..=self.number].iter().enumerate()
    }

    fn sum(&self, of: impl Fn(&Life) -> &AtomicU64) -> u64 {
        self.lives().map(|(_, life)| of(life).load(SeqCst)).sum()
    }

    /// Those who were killed while they did one of these things, in a queue where it is one of a queue.
    fn killed_in(&self, ops: &[Op], queue: usize) -> u64 {
        let is_so = |dead: &&usize| {
            let (op, of) = self.board.lives[**dead].state();
            ops.contains(&op) && of == queue
        };
        self.dead.iter().filter(is_so).count() as u64
    }

    /// Takes out what is left, looks at everything, and adds it up.
    pub(crate) fn settle(&self, worker: &mut Worker, region: &Opened, totals: &mut Totals) {
        self.settle_pair(worker, region);
        self.settle_cell(worker, region);
        for (queue, place) in QUEUES.iter().enumerate() {
            let open = |produces| worker.open_queue(queue, produces).expect("the role of a dead one is free");
            let (producer, mut consumer) = (open(true), open(false));
            let (sides, messages) = (consumer.info().unwrap(), place.name);
            assert!(sides.producers >= 1 && sides.consumers == 1, "{} producers", sides.producers);
            while worker.pop(&mut consumer, queue, 0) {}
            let state = consumer.info().unwrap();
            assert_eq!((state.messages, state.bytes), (0, 0), "{messages}");
            worker.close_queue(producer, queue);
            worker.close_queue(consumer, queue);
            self.settle_queue(queue, totals);
            let [least_pushed, most_pushed, least_popped, most_popped] = totals.counters[queue];
            let (pushed, popped) = (state.pushed, state.popped);
            let is_right = (least_pushed..=most_pushed).contains(&pushed);
            assert!(is_right, "{messages}: {pushed} pushed, not {least_pushed} to {most_pushed}");
            let is_right = (least_popped..=most_popped).contains(&popped);
            assert!(is_right, "{messages}: {popped} popped, not {least_popped} to {most_popped}");
        }
        self.add_up(totals);
    }

    fn settle_pair(&self, worker: &Worker, region: &Opened) {
        let [total, _] = worker.final_pair();
        let mut sum = 0;
        for (process, life) in self.lives() {
            let counted = word(region, count_of(process));
            let [begun, done] = [0, 1].map(|at| life.incremented[at].load(SeqCst));
            assert!([begun, done].contains(&counted), "process {process}: {counted} of {done} to {begun} increments");
            assert!(begun == done || self.dead.contains(&process) && begun == done + 1, "{begun} {done}");
            sum += counted;
        }
        assert_eq!(total, sum, "the pair has lost increments");
        let held = self.killed_in(&[Op::Holding, Op::Repairing], 0);
        let perhaps = self.killed_in(&[Op::Locking], 0);
        let gone = self.killed_in(&[Op::Unlocking], 0);
        let told = self.sum(|life| &life.told);
        // Who was killed on the way to the lock may have been told already, or may have had it.
        assert!(
            held <= told + perhaps && told <= held + perhaps + gone,
            "{told} were told of a death; {held} died with the lock, {perhaps} on the way to it, {gone} giving it up"
        );
    }

    fn settle_cell(&self, worker: &mut Worker, region: &Opened) {
        let (version, message) = worker.read_value().expect("nobody writes");
        let first = self.board.first_version.load(SeqCst);
        let (returned, perhaps) = (self.sum(|life| &life.published), self.killed_in(&[Op::Publishing], 0));
        let published = version - first;
        assert!(
            (returned..=returned + perhaps).contains(&published),
            "{published} versions; {returned} publishes returned, {perhaps} processes died in one"
        );
        let Some(message) = message.filter(|message| message.round == self.round) else { return };
        let life = &self.board.lives[message.process as usize];
        let (returned, number) = (life.published.load(SeqCst), u64::from(message.number));
        let in_doubt = self.dead.contains(&(message.process as usize)) && life.state().0 == Op::Publishing;
        assert!(number == returned || in_doubt && number == returned + 1, "{message:?} is the last of {returned}");
        assert_eq!(region.read_cell(CELL, VALUE).unwrap().0, version);
    }

    /// Messages that consumers had in their hands when they were killed, and since when they wanted one.
    fn hands(&self, queue: usize) -> HashMap<(u64, u64), u64> {
        let in_hand = |dead: &usize| {
            let life = &self.board.lives[*dead];
            let (process, number) = match life.state() {
                (Op::Popping, of) if of == queue => {
                    // SAFETY: who wrote it is dead.
                    let message = Message::read(unsafe { &*life.buffer.get() }, false)?;
                    let is_here = (message.round, message.object) == (self.round, queue as u32);
                    is_here.then_some((message.process.into(), message.number.into()))?
                }
                (Op::Consuming, of) if of == queue => {
                    let hand = life.hand.load(SeqCst);
                    (hand >> 32, hand & u64::from(u32::MAX))
                }
                _ => return None,
            };
            Some(((process, number), life.begun_ns.load(SeqCst)))
        };
        self.dead.iter().filter_map(in_hand).collect()
    }

    /// Each message whose push returned was taken out once, or was in the hands of a consumer that was killed in taking it
    /// out; each producer's came out in order.
    fn settle_queue(&self, queue: usize, totals: &mut Totals) {
        let hands = self.hands(queue);
        let (mut pushes, mut pops, mut doubtful, mut gone) = (0, 0, 0, 0);
        // Messages of which both the producer and the consumer were killed.
        let mut both = 0;
        for (process, life) in self.lives() {
            let pushed = life.pushed[queue].load(SeqCst);
            let sends = [Op::Pushing, Op::Committing].map(|op| (op, queue)).contains(&life.state());
            let in_doubt = sends && self.dead.contains(&process);
            pushes += pushed;
            // When those that were sent later had come out, at the earliest.
            let mut later_ns = u64::MAX;
            for number in (1..=pushed + 1).rev() {
                let take = self.board.take(process, queue, number);
                let (mut begun_ns, mut ended_ns) = (take.begun_ns.load(SeqCst), take.ended_ns.load(SeqCst));
                let name = format_args!("message {number} of {pushed} of process {process} in queue {queue}");
                let hand = hands.get(&(process as u64, number));
                if number > pushed {
                    assert!(begun_ns == 0 || in_doubt, "{name} came out, and nobody sent it");
                    doubtful += u64::from(begun_ns != 0);
                }
                if begun_ns == 0 {
                    if number > pushed {
                        both += u64::from(hand.is_some());
                        continue;
                    }
                    begun_ns = *hand.unwrap_or_else(|| panic!("{name} is lost"));
                    gone += 1;
                } else {
                    pops += 1;
                }
                if ended_ns == 0 {
                    ended_ns = u64::MAX; // who took it was killed before he noted it
                }
                assert!(begun_ns <= later_ns, "{name} came out after a later one");
                later_ns = later_ns.min(ended_ns);
            }
        }
        let killed_in_push = self.killed_in(&[Op::Pushing, Op::Committing], queue);
        let killed_in_pop = self.killed_in(&[Op::Popping, Op::Consuming], queue);
        assert!(doubtful <= killed_in_push && gone <= killed_in_pop);
        let counters = &mut totals.counters[queue];
        [pushes, pushes + doubtful + both, pops, pops + gone + both]
            .iter()
            .zip(counters)
            .for_each(|(more, sum)| *sum += more);
        totals.doubtful += doubtful;
        totals.gone += gone;
    }

    fn add_up(&self, totals: &mut Totals) {
        let again = self.sum(|life| &life.again);
        let lookers: u64 = (0..QUEUES.len()).map(|queue| self.killed_in(&[Op::Looking, Op::Consuming], queue)).sum();
        let cancelled: u64 = (0..QUEUES.len()).map(|queue| self.killed_in(&[Op::Cancelling], queue)).sum();
        assert!(again <= lookers + cancelled, "{again} messages were looked at again, and {lookers} lookers killed");
        totals.again += again;
        totals.told += self.sum(|life| &life.told);
        totals.lapped += self.sum(|life| &life.lapped);
        totals.refused += self.sum(|life| &life.refused);
        totals.rounds += 1;
        totals.started += self.number as u64;
        self.dead.iter().for_each(|dead| *totals.kills.entry(self.board.lives[*dead].state().0).or_default() += 1);
        self.board.done.iter().zip(&mut totals.done).for_each(|(done, sum)| *sum += done.load(SeqCst));
        for op in OPS {
            let longest_ns = self.lives().map(|(_, life)| life.longest_ns[op as usize].load(SeqCst)).max().unwrap_or(0);
            assert!(longest_ns < self.board.limit_ns(), "{op:?} took {} ms", longest_ns / 1_000_000);
            let known = totals.longest_ms.entry(op).or_default();
            *known = (*known).max(longest_ns / 1_000_000);
        }
        totals.longest_ms.retain(|_, longest| *longest > 0);
        totals.pause_ns = totals.pause_ns.max(self.board.pause_ns.load(SeqCst));
    }
}
