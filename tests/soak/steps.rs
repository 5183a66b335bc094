//! Instruction by instruction, while others go on: some calls in slow motion, and in some the process dies between two
//! instructions. A kill from outside comes most often while the processor waits for something; this one comes anywhere.

use super::common::random::Random;
use super::journal::Op;

/// Of so many calls one is slow; of those that read the cell more are, since to overtake them takes several writers.
const SLOW: u64 = 8000;
const SLOW_READS: u64 = 500;
/// Who goes on for longer waits for something, and is slow no more.
const MOST: u64 = 3000;
/// Half of the deaths are so many instructions before the call's end or later: there a call takes effect.
const LAST: u64 = 200;

/// Which calls of a process are slow, and in which it dies.
pub(crate) struct Steps {
    random: Random,
    doom: Option<Doom>,
}

/// It dies in a call of this kind, when it has done some.
struct Doom {
    op: Op,
    before: u64,
    /// How many instructions the last one had.
    length: u64,
}

/// Those that change the most are there more than once.
const FATAL: [Op; 22] = {
    use Op::*;
    [
        Pushing,
        Pushing,
        Pushing,
        Pushing,
        Committing,
        Committing,
        Popping,
        Popping,
        Popping,
        Popping,
        Consuming,
        Consuming,
        Publishing,
        Publishing,
        Locking,
        Locking,
        Unlocking,
        OpeningQueue,
        ClosingQueue,
        Reserving,
        Peeking,
        Cancelling,
    ]
};

impl Steps {
    pub(crate) fn new(random: Random) -> Steps {
        Steps { random, doom: None }
    }

    /// Makes the process die some day; whether it may do so.
    pub(crate) fn doom(&mut self) -> bool {
        let (op, before) = (FATAL[self.random.below(FATAL.len() as u64) as usize], self.random.below(10));
        self.doom = cfg!(target_arch = "x86_64").then_some(Doom { op, before, length: 0 });
        self.doom.is_some()
    }

    /// Does a call of that kind; perhaps it is the last one. Also whether it was slow.
    pub(crate) fn take<T>(&mut self, op: Op, call: impl FnOnce() -> T) -> (T, bool) {
        match &mut self.doom {
            Some(doom) if doom.op == op && doom.before > 0 => doom.before -= 1,
            Some(doom) if doom.op == op => {
                let last = if self.random.below(2) == 0 { LAST } else { u64::MAX };
                let rest = self.random.below(doom.length.min(last).max(1));
                let deadly = if doom.length == 0 { u64::MAX } else { doom.length - rest };
                let (result, length) = stepped(deadly, call);
                doom.length = length;
                return (result, true);
            }
            _ => {}
        }
        let slow = if op == Op::Reading { SLOW_READS } else { SLOW };
        let is_slow = self.random.below(slow) == 0;
        (if is_slow { stepped(u64::MAX, call).0 } else { call() }, is_slow)
    }
}

/// Traps after each instruction, of which that one is the last. Also how many there were.
#[cfg(target_arch = "x86_64")]
fn stepped<T>(deadly: u64, call: impl FnOnce() -> T) -> (T, u64) {
    use std::arch::asm;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::SeqCst;

    static DONE: AtomicU64 = AtomicU64::new(0);
    static DEADLY: AtomicU64 = AtomicU64::new(0);

    extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let done = DONE.fetch_add(1, SeqCst) + 1;
        if done == DEADLY.load(SeqCst) {
            // SAFETY: it only asks.
            let own = unsafe { libc::getpid() };
            // SAFETY: no memory is passed.
            unsafe { libc::kill(own, libc::SIGKILL) };
        }
        if done == MOST {
            // SAFETY: the kernel passes one, and it is ours during the handler.
            let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
            context.uc_mcontext.gregs[libc::REG_EFL as usize] &= !0x100;
        }
    }

    // SAFETY: all zeros is a sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    (action.sa_sigaction, action.sa_flags) = (on_trap as *const () as usize, libc::SA_SIGINFO);
    // SAFETY: the handler does what a handler may.
    assert_eq!(unsafe { libc::sigaction(libc::SIGTRAP, &action, std::ptr::null_mut()) }, 0);
    DONE.store(0, SeqCst);
    DEADLY.store(deadly, SeqCst);
    // SAFETY: the trap flag alone changes, and each trap has a handler.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    let result = call();
    // SAFETY: the trap flag alone changes.
    unsafe { asm!("pushfq", "and qword ptr [rsp], -0x101", "popfq") };
    (result, DONE.load(SeqCst))
}

#[cfg(not(target_arch = "x86_64"))]
fn stepped<T>(_: u64, call: impl FnOnce() -> T) -> (T, u64) {
    (call(), 0)
}
