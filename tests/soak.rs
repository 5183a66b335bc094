//! The soak: eight processes at one lock, one cell and three queues in a file in memory, half of them through the C
//! interface and half through Rust. They are killed at random instants, or kill
//! themselves between two instructions of a call, and others take their places.
//!
//! MAPSHARE_SOAK_SECONDS makes it longer (3), MAPSHARE_SEED gives it the random numbers of another one.
//!
//! How it is known that nothing is lost. Each process notes what it is about to do and what is done, in memory of the
//! test's own (`journal`). A message says who sent it and which of his it is, and its bytes follow from that. When a
//! round is over the parent takes out what is left and proves (`account`):
//! - A message whose push returned came out once, whole; or a consumer was killed in taking it out, and had it in hand.
//! - One whose producer was killed in sending it came out once or never; no other did. Each producer's came in order.
//! - One that was looked at twice was looked at by one who was killed.
//! - Both numbers of the pair under the lock are the sum of all increments, those of the killed as far as they got.
//! - The cell has as many versions as publishes returned, or one more for each that was killed in one; no reader ever saw
//!   a version older than those that were published or read before.
//! - Nobody waited for a second for anything; longer where the machine shows that it does not run all who are ready.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

#[path = "soak/account.rs"]
mod account;
mod common;
#[path = "soak/journal.rs"]
mod journal;
#[path = "soak/steps.rs"]
mod steps;
#[path = "soak/worker.rs"]
mod worker;

use account::{Round, Totals};
use common::process::{Partner, listen, role};
use common::random::{Random, seed};
use common::*;
use journal::*;
use libc::{
    _exit, PR_SET_PDEATHSIG, SIGKILL, WIFSIGNALED, WNOHANG, WTERMSIG, alarm, fork, getpid, getppid, kill, prctl,
    waitpid,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use worker::{Patience, Worker};

const PROCESSES: usize = 8;
/// The first of those that wait without end, and of those that are killed seldom, so that such a wait is noticed.
const PATIENT: usize = 4;
const SPARED: usize = 6;
/// So long those have that come to their ends by themselves, in nanoseconds.
const END_NS: u64 = 100_000_000;
const ROUND: Duration = Duration::from_secs(5);
fn seconds() -> u64 {
    std::env::var("MAPSHARE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// Operations in which there is something to lose: three of four kills wait a little for one of them.
const AIMS: [Op; 12] = {
    use Op::*;
    [
        Locking,
        Repairing,
        Holding,
        Unlocking,
        Publishing,
        OpeningQueue,
        Pushing,
        Filling,
        Committing,
        Popping,
        Looking,
        Consuming,
    ]
};
const AIM_NS: u64 = 200_000;
/// Who has been for longer at what can be waited for is asleep.
const JUST_NS: u64 = 10_000;

/// What the parent knows of a child.
#[derive(Clone, Copy)]
struct Child {
    pid: i32,
    number: usize,
}

/// The children of a round. They are killed when it goes, also when a check has failed.
struct Crowd<'a> {
    board: &'a Board,
    path: &'a Path,
    round: u32,
    children: [Option<Child>; PROCESSES],
    random: Random,
    /// Those that were killed.
    dead: Vec<usize>,
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        for child in self.children.iter().flatten() {
            // SAFETY: a child of ours that has not been waited for.
            unsafe { kill(child.pid, SIGKILL) };
            // SAFETY: its end is of no interest.
            unsafe { waitpid(child.pid, std::ptr::null_mut(), 0) };
        }
    }
}

impl Crowd<'_> {
    fn started(&self) -> usize {
        self.board.started.load(SeqCst) as usize
    }

    fn start(&mut self, place: usize) {
        let number = self.started();
        self.board.started.fetch_add(1, SeqCst);
        let seed = self.random.next();
        // SAFETY: it only asks.
        let parent = unsafe { getpid() };
        // SAFETY: this process has no other threads that do anything.
        let pid = unsafe { fork() };
        assert_ne!(pid, -1, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            self.live(place, number, seed, parent);
        }
        self.children[place] = Some(Child { pid, number });
    }

    /// A child's whole life.
    fn live(&self, place: usize, number: usize, seed: u64, parent: i32) -> ! {
        let (board, path, round) = (self.board, self.path.to_owned(), self.round);
        // SAFETY: no memory is passed.
        unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL) };
        // SAFETY: it only asks.
        let is_orphan = unsafe { getppid() } != parent;
        let door = DOORS[place % 2];
        let failed = &raw const board.failed as usize;
        std::panic::set_hook(Box::new(move |what| {
            // SAFETY: the board stays mapped in this process.
            let failed = unsafe { &*std::ptr::with_exposed_provenance::<std::sync::atomic::AtomicU32>(failed) };
            failed.store(1, SeqCst);
            say(&format!("process {number} of round {round}, in place {place} through {door:?}: {what}"));
            // SAFETY: ends the child without the harness's own end.
            unsafe { _exit(101) };
        }));
        if !is_orphan {
            let patience = if place < PATIENT { Patience::Little } else { Patience::All };
            let worker = Worker::new((board, number, round), (&path, door), patience, Random::new(seed));
            if place < SPARED && seed.is_multiple_of(2) { worker.doom().run() } else { worker.run() }
        }
        // SAFETY: as above.
        unsafe { _exit(0) };
    }

    /// Waits for a child's end, if it comes now or `waits`; it has to be a good one or, of one that
    /// was killed or may kill itself, that.
    fn reap(&mut self, place: usize, waits: bool, is_killed: bool) -> bool {
        let Some(child) = self.children[place] else { return true };
        let mut status = 0;
        // SAFETY: the kernel fills the number.
        let reaped = unsafe { waitpid(child.pid, &mut status, if waits { 0 } else { WNOHANG }) };
        if reaped == 0 {
            return false;
        }
        assert_eq!(reaped, child.pid, "{}", std::io::Error::last_os_error());
        self.children[place] = None;
        let is_killed = is_killed || self.board.lives[child.number].is_doomed.load(SeqCst) == 1;
        if is_killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL {
            self.dead.push(child.number);
        } else {
            let state = self.board.lives[child.number].state();
            assert_eq!(status, 0, "process {} ended so in {state:?}", child.number);
        }
        true
    }

    fn kill(&mut self, place: usize) {
        if let Some(child) = self.children[place] {
            // SAFETY: a child of ours that has not been waited for.
            assert_eq!(unsafe { kill(child.pid, SIGKILL) }, 0);
            self.reap(place, true, true);
        }
    }

    /// Lets at most so many microseconds pass.
    fn nap(&mut self, most_us: u64) {
        let (pause, begun_ns) = (Duration::from_micros(self.random.below(most_us)), now_ns());
        std::thread::sleep(pause);
        let late_ns = (now_ns() - begun_ns).saturating_sub(pause.as_nanos() as u64);
        self.board.pause_ns.fetch_max(late_ns, SeqCst);
    }

    /// Waits a little until somebody has just begun a certain operation, and a little longer; his place.
    fn aim(&mut self) -> Option<usize> {
        let wanted = AIMS[self.random.below(AIMS.len() as u64) as usize];
        let (end_ns, longer) = (now_ns() + AIM_NS, self.random.below(200));
        let is_at_it = |child: &Option<Child>, now: u64| {
            let life = child.map(|child| &self.board.lives[child.number]);
            let is_fresh = |life: &Life| now.saturating_sub(life.begun_ns.load(SeqCst)) < JUST_NS || !wanted.waits();
            life.is_some_and(|life| life.state().0 == wanted && is_fresh(life))
        };
        loop {
            let now = now_ns();
            let found = self.children[..SPARED].iter().position(|child| is_at_it(child, now));
            if found.is_some() || now > end_ns {
                (0..longer).for_each(|_| std::hint::spin_loop());
                return found;
            }
        }
    }

    fn victim(&mut self) -> usize {
        if self.random.below(200) == 0 {
            return SPARED + self.random.below((PROCESSES - SPARED) as u64) as usize;
        }
        let most = if self.random.below(6) == 0 { SPARED } else { PATIENT };
        self.random.below(most as u64) as usize
    }

    /// Kills and starts until the round is over.
    fn churn(&mut self, end: Instant) {
        let mut watch = Watch::new();
        (0..PROCESSES).for_each(|place| self.start(place));
        while Instant::now() < end && self.started() + PROCESSES + 1 < MOST {
            let most_us = [100, 1000, 5000][self.random.below(3) as usize];
            self.nap(most_us);
            self.check_failed();
            watch.check(self);
            let together = if self.random.below(20) == 0 { 1 + self.random.below(PROCESSES as u64) } else { 1 };
            for _ in 0..together {
                let aimed = if self.random.below(4) == 0 { None } else { self.aim() };
                let place = aimed.unwrap_or_else(|| self.victim());
                self.kill(place);
            }
            for place in 0..PROCESSES {
                if self.reap(place, false, false) {
                    self.start(place);
                }
            }
        }
    }

    /// Ends the round: kills them all, or lets them come to their ends. Those who wait then may wait for the dead.
    fn end(&mut self) {
        if self.random.below(2) == 0 {
            (0..PROCESSES).for_each(|place| self.kill(place));
            return;
        }
        self.board.stop.store(1, SeqCst);
        let begun_ns = now_ns();
        while !(0..PROCESSES).all(|place| self.reap(place, false, false)) {
            self.nap(1000);
            let took_ns = now_ns() - begun_ns;
            let waits = |child: &Child| self.board.lives[child.number].state().0.waits();
            let waiting = self.children.iter().position(|child| child.as_ref().is_some_and(waits));
            if let Some(place) = waiting.filter(|_| took_ns > END_NS) {
                self.kill(place);
            }
            assert!(took_ns < self.board.limit_ns(), "they do not come to an end: {:?}", self.states());
        }
    }

    fn states(&self) -> Vec<(usize, (Op, usize))> {
        let state = |child: &Child| (child.number, self.board.lives[child.number].state());
        self.children.iter().flatten().map(state).collect()
    }

    /// Lets a child that has found something wrong say it.
    fn check_failed(&mut self) {
        if self.board.failed.load(SeqCst) != 0 {
            for _ in 0..100 {
                (0..PROCESSES).for_each(|place| _ = self.reap(place, false, false));
                self.nap(20_000);
            }
        }
    }
}

/// Whether things go on.
struct Watch {
    /// For each kind: how often it was done, and since when.
    seen: [(u64, u64); KINDS],
}

impl Watch {
    fn new() -> Watch {
        Watch { seen: [(0, now_ns()); KINDS] }
    }

    fn check(&mut self, crowd: &Crowd) {
        let (board, now) = (crowd.board, now_ns());
        for (kind, (seen, since_ns)) in self.seen.iter_mut().enumerate() {
            let done = board.done[kind].load(SeqCst);
            if done != *seen {
                (*seen, *since_ns) = (done, now);
            }
            let idle_ns = now - *since_ns;
            assert!(idle_ns < board.limit_ns(), "kind {kind}: {done} times, then not for {} ms", idle_ns / 1_000_000);
        }
        for (number, (op, queue)) in crowd.states() {
            // In this order: of a state that is entered meanwhile the beginning is known before.
            let waits_ns = now.saturating_sub(board.lives[number].begun_ns.load(SeqCst));
            let is_good = !op.waits() || waits_ns < board.limit_ns();
            assert!(is_good, "process {number}: {op:?} in queue {queue} for {} ms", waits_ns / 1_000_000);
        }
    }
}

/// One round; the objects go on into the next.
fn round(path: &Path, number: u32, random: &mut Random, end: Instant, totals: &mut Totals) {
    let shared = Shared::new();
    let board: &Board = &shared;
    let door = DOORS[random.below(2) as usize];
    let region = open(door, path);
    region.fill(PAIR[0], CELL - PAIR[0], 0).unwrap();
    board.pause_ns.store(totals.pause_ns, SeqCst);
    board.first_version.store(region.read_cell(CELL, VALUE).unwrap().0, SeqCst);
    // Children get it from their parent, or the parent has none.
    let kept = (random.below(2) == 0).then_some(region);
    let mut crowd = Crowd {
        board,
        path,
        round: number,
        children: [None; PROCESSES],
        random: Random::new(random.next()),
        dead: Vec::new(),
    };
    crowd.churn(end);
    crowd.end();
    crowd.check_failed();
    let region = kept.unwrap_or_else(|| open(door, path));
    let own = crowd.started();
    let mut worker =
        Worker::new((board, own, number), (path, door), Patience::Little, Random::new(crowd.random.next()));
    Round { board, number: own, dead: &crowd.dead, round: number }.settle(&mut worker, &region, totals);
}

/// The parent of the killed.
fn soak() {
    let path = PathBuf::from(listen());
    let (seed, time) = (seed(), Duration::from_secs(seconds()));
    // SAFETY: no memory is passed.
    unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL) };
    // SAFETY: as above.
    unsafe { alarm(time.as_secs() as u32 * 2 + 60) };
    let mut random = Random::new(seed);
    make_objects(&open(Door::C, &path));
    let mut totals = Totals::default();
    let (begun, mut told) = (Instant::now(), Instant::now());
    for number in 1.. {
        round(&path, number, &mut random, (begun + time).min(Instant::now() + ROUND), &mut totals);
        let is_over = begun.elapsed() >= time;
        if is_over || told.elapsed() > Duration::from_secs(60) {
            told = Instant::now();
            say(&format!("soak of seed {seed}: {}", totals.told(begun.elapsed().as_secs())));
        }
        if is_over {
            break;
        }
    }
}

#[test]
fn whoever_is_killed_nothing_is_lost_torn_or_stuck() {
    if role().as_deref() == Some("soak") {
        return soak();
    }
    // Here, so that it goes away also when that process is killed.
    let folder = Folder::in_memory();
    let mut alone = Partner::start(whoever_is_killed_nothing_is_lost_torn_or_stuck, "soak");
    alone.say(&folder.join("file").display().to_string());
    alone.finish();
    assert_eq!(folder.names(), ["file"], "and no other file");
}
