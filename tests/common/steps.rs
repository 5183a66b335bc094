//! Children that are killed at every instruction of an operation, with the debugger's means: ptrace(2). Only in a process
//! of its own (`in_own_process`), whose other threads do nothing.
//!
//! A first child is led through the operation instruction by instruction, which tells where it comes by. Then for each of
//! these places a fresh child runs into a breakpoint there, and is killed. Every place is each instruction each time that
//! it comes by, but of one in a loop that goes round more often the first and the last five times; that is when
//! MAPSHARE_EVERY_STEP is set. Else it is its first and its last time, and of these one in ten, in a debug build one in fifteen.

#![cfg(target_arch = "x86_64")]

use super::process::{wait_for, watchdog};
use libc::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// So many of the first times that an instruction comes by are places, and so many of the last.
const TIMES: usize = 5;
/// So often in a row survivors may be late at one place, since the machine was busy with something else.
const PATIENCE: usize = 30;

/// Where a child is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Which one it is, from 0: in the order of the operation.
    pub(crate) number: usize,
    /// Whether the operation is over here.
    pub(crate) is_end: bool,
    /// Before the instruction at this address, when it comes by for the `time`th time after that other one, or in all.
    address: u64,
    time: usize,
    after: Option<u64>,
}

/// What survivors have to say.
pub(crate) trait Verdict {
    /// Whether what they did took them too long; it may have been the machine.
    fn is_late(&self) -> bool;
    /// Whether the dead one had done what others wait for.
    fn is_done(&self) -> bool {
        false
    }
}

impl Verdict for () {
    fn is_late(&self) -> bool {
        false
    }
}

/// Whether survivors were late.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late(bool);

impl Late {
    pub(crate) fn than(limit: Duration, begun: Instant) -> Late {
        Late(begun.elapsed() > limit)
    }
}

impl Verdict for Late {
    fn is_late(&self) -> bool {
        self.0
    }
}

/// With what others wait for, and whether the dead one had done it.
impl Verdict for (Late, bool) {
    fn is_late(&self) -> bool {
        self.0.0
    }

    fn is_done(&self) -> bool {
        self.1
    }
}

/// A child that stands still before its operation.
struct Traced(i32);

/// What children that are to be killed do, and what is done here.
pub(crate) struct Kills<P, O, B, A> {
    /// Each child does this before.
    pub(crate) prepare: P,
    /// In the middle of this it is killed.
    pub(crate) operation: O,
    /// This is done here while a child stands still before its operation.
    pub(crate) before: B,
    /// This is done here when it is dead and the kernel has freed what it had. A place where survivors are late is tried
    /// again, and fails when they are late thirty times in a row.
    pub(crate) after: A,
}

/// `Kills::at_every_instruction` of these.
pub(crate) fn kill_at_every_instruction<T, V: Verdict>(
    prepare: impl Fn() -> T,
    operation: impl Fn(&T),
    before: impl FnMut(),
    after: impl FnMut(Place) -> V,
) -> usize {
    Kills { prepare, operation, before, after }.at_every_instruction()
}

impl<T, V: Verdict, P: Fn() -> T, O: Fn(&T), B: FnMut(), A: FnMut(Place) -> V> Kills<P, O, B, A> {
    /// How many places there were.
    pub(crate) fn at_every_instruction(mut self) -> usize {
        let (places, end) = self.places();
        for &place in places.iter().filter(|place| is_all() || place.number % SAMPLE == 0 || place.is_end) {
            self.kill_at(place, end);
        }
        places.len()
    }

    /// Where the operation has done already what others wait for: at the first such place, and at one in `step` from there
    /// on. How many of them there were.
    pub(crate) fn once_it_is_done(mut self, step: usize) -> usize {
        let (places, end) = self.places();
        let first = places.partition_point(|&place| !self.kill_at(place, end));
        let done = &places[first..];
        for &place in done.iter().step_by(if is_all() { step } else { SAMPLE * step }) {
            self.kill_at(place, end);
        }
        done.len()
    }

    fn start(&mut self) -> Traced {
        watchdog();
        let child = Traced::start(&self.prepare, &self.operation);
        (self.before)();
        child
    }

    /// All places, and the end, which is the last of them.
    fn places(&mut self) -> (Vec<Place>, Place) {
        let child = self.start();
        let path = child.path();
        child.kill();
        let places = places(&path);
        let end = places[places.len() - 1];
        (self.after)(end);
        (places, end)
    }

    /// Whether the child had done what others wait for.
    fn kill_at(&mut self, place: Place, end: Place) -> bool {
        for _ in 0..PATIENCE {
            let child = self.start();
            let is_there = child.run_to(place);
            child.kill();
            let verdict = (self.after)(if is_there { place } else { end });
            if !verdict.is_late() {
                return verdict.is_done();
            }
        }
        panic!("survivors were late {PATIENCE} times: {place:?} of {}", end.number);
    }
}

/// One place of so many is enough when not all are asked for. A debug build has more instructions.
const SAMPLE: usize = if cfg!(debug_assertions) { 15 } else { 10 };

fn is_all() -> bool {
    std::env::var_os("MAPSHARE_EVERY_STEP").is_some()
}

fn places(path: &[u64]) -> Vec<Place> {
    let mut times = BTreeMap::<u64, usize>::new();
    path.iter().for_each(|&address| *times.entry(address).or_default() += 1);
    let mut so_far = BTreeMap::<u64, usize>::new();
    // How often each has come by since the last one that comes by once only: fewer breakpoints lead there.
    let (mut landmark, mut since) = (None, BTreeMap::<u64, usize>::new());
    let mut places = Vec::new();
    for &address in path {
        let time = so_far.entry(address).or_default();
        *time += 1;
        *since.entry(address).or_default() += 1;
        let (before, behind) = (*time - 1, times[&address] - *time);
        if before.min(behind) < if is_all() { TIMES } else { 1 } {
            let (time, after) = if before > TIMES { (since[&address], landmark) } else { (*time, None) };
            places.push(Place { number: places.len(), is_end: false, address, time, after });
        }
        if times[&address] == 1 {
            (landmark, since) = (Some(address), BTreeMap::new());
        }
    }
    places.push(Place { number: places.len(), is_end: true, address: 0, time: 1, after: None });
    places
}

/// Stops this process with a signal that its tracer sees.
fn stop() {
    // SAFETY: it only asks.
    let thread = unsafe { gettid() };
    // SAFETY: no memory is passed.
    unsafe { syscall(SYS_tkill, thread, SIGSTOP) };
}

/// One request; a failure is the end of the test.
#[track_caller]
fn ptraced(request: u32, child: i32, address: u64, data: u64) -> i64 {
    // SAFETY: it only tells where this thread's number is.
    let errno = unsafe { __errno_location() };
    // SAFETY: as the call has said.
    unsafe { *errno = 0 };
    // SAFETY: the requests that are made here take no memory of this process.
    let result = unsafe { ptrace(request, child, address, data) };
    let error = std::io::Error::last_os_error();
    assert!(result != -1 || error.raw_os_error() == Some(0), "ptrace {request}: {error}");
    result
}

impl Traced {
    fn start<T>(prepare: impl Fn() -> T, operation: impl Fn(&T)) -> Traced {
        // SAFETY: nothing else goes on in this process.
        let child = unsafe { fork() };
        assert_ne!(child, -1, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            watchdog();
            let run = || {
                let prepared = prepare();
                ptraced(PTRACE_TRACEME, 0, 0, 0);
                stop();
                operation(&prepared);
                stop();
            };
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            // SAFETY: ends the child without the harness's own end.
            unsafe { _exit(101) };
        }
        let child = Traced(child);
        assert_eq!(child.stopped_by(), SIGSTOP);
        child
    }

    /// Waits for its next stop.
    #[track_caller]
    fn stopped_by(&self) -> i32 {
        let mut status = 0;
        // SAFETY: the kernel fills the number.
        assert_eq!(unsafe { waitpid(self.0, &mut status, 0) }, self.0);
        assert!(WIFSTOPPED(status), "the child ended: {status:#x}");
        WSTOPSIG(status)
    }

    /// Lets it do one instruction, or run, until its next stop.
    #[track_caller]
    fn go_on(&self, request: u32) -> i32 {
        ptraced(request, self.0, 0, 0);
        self.stopped_by()
    }

    fn address(&self) -> u64 {
        ptraced(PTRACE_PEEKUSER, self.0, RIP as u64 * 8, 0) as u64
    }

    /// The instructions that it comes by.
    fn path(&self) -> Vec<u64> {
        let mut path = Vec::new();
        loop {
            path.push(self.address());
            match self.go_on(PTRACE_SINGLESTEP) {
                SIGTRAP => assert!(path.len() < 2_000_000, "the operation does not end"),
                SIGSTOP => return path,
                other => panic!("signal {other} in the operation"),
            }
        }
    }

    /// Runs until it is there; whether it is. One that does not come by, since this run is another one, runs to the end.
    fn run_to(&self, place: Place) -> bool {
        if place.is_end {
            assert_eq!(self.go_on(PTRACE_CONT), SIGSTOP);
            return true;
        }
        if place.after.is_some_and(|landmark| self.address() != landmark && !self.run_into_breakpoint(landmark)) {
            return false;
        }
        for time in 1..=place.time {
            // A breakpoint cannot stand where the child is.
            if self.address() != place.address && !self.run_into_breakpoint(place.address) {
                return false;
            }
            if time < place.time && self.go_on(PTRACE_SINGLESTEP) == SIGSTOP {
                return false;
            }
        }
        true
    }

    /// Runs until it is at that address; whether it comes there.
    fn run_into_breakpoint(&self, address: u64) -> bool {
        let bytes = ptraced(PTRACE_PEEKTEXT, self.0, address, 0) as u64;
        ptraced(PTRACE_POKETEXT, self.0, address, bytes & !0xff | 0xcc);
        let signal = self.go_on(PTRACE_CONT);
        ptraced(PTRACE_POKETEXT, self.0, address, bytes);
        if signal == SIGSTOP {
            return false;
        }
        assert_eq!((signal, self.address()), (SIGTRAP, address + 1));
        ptraced(PTRACE_POKEUSER, self.0, RIP as u64 * 8, address);
        true
    }

    fn kill(self) {
        // SAFETY: our own child, which has not been waited for.
        assert_eq!(unsafe { kill(self.0, SIGKILL) }, 0);
        assert_eq!(wait_for(self.0), -SIGKILL);
    }
}
