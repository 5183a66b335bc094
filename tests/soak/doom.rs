//! Death between two given instructions, while others go on: the process traps after each instruction and counts.
//!
//! A kill from outside comes most often while the processor waits for something. This one comes anywhere.

use super::faults::Random;
use super::journal::{Life, Op};
use std::sync::atomic::Ordering::SeqCst;

/// Where a process is to die: at that of these operations, if it has as many instructions; else at a next one.
pub(crate) struct Doom {
    op: Op,
    before: u64,
    random: Random,
}

const OPS: [Op; 12] = {
    use Op::*;
    [
        Locking,
        Unlocking,
        Publishing,
        OpeningQueue,
        ClosingQueue,
        Pushing,
        Reserving,
        Cancelling,
        Committing,
        Popping,
        Peeking,
        Consuming,
    ]
};

impl Doom {
    /// None where there is no such way to die.
    pub(crate) fn new(mut random: Random, life: &Life) -> Option<Doom> {
        if !cfg!(target_arch = "x86_64") {
            return None;
        }
        life.is_doomed.store(1, SeqCst);
        let (op, before) = (OPS[random.below(OPS.len() as u64) as usize], random.below(40));
        Some(Doom { op, before, random })
    }

    /// Does a call of that kind; perhaps it is the last one.
    pub(crate) fn meet<T>(&mut self, op: Op, call: impl FnOnce() -> T) -> T {
        if op != self.op {
            return call();
        }
        if self.before > 0 {
            self.before -= 1;
            return call();
        }
        // Few have more than a thousand instructions.
        let most = 1 << (3 + self.random.below(9));
        stepped(1 + self.random.below(most), call)
    }
}

#[cfg(target_arch = "x86_64")]
fn stepped<T>(instructions: u64, call: impl FnOnce() -> T) -> T {
    use std::arch::asm;
    use std::sync::atomic::AtomicU64;

    static LEFT: AtomicU64 = AtomicU64::new(0);

    extern "C" fn on_trap(_: i32) {
        if LEFT.fetch_sub(1, SeqCst) == 1 {
            // SAFETY: it only asks.
            let own = unsafe { libc::getpid() };
            // SAFETY: no memory is passed.
            unsafe { libc::kill(own, libc::SIGKILL) };
        }
    }

    // SAFETY: the handler does what a handler may.
    unsafe { libc::signal(libc::SIGTRAP, on_trap as *const () as usize) };
    LEFT.store(instructions, SeqCst);
    // SAFETY: the trap flag alone changes, and each trap has a handler.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    let result = call();
    // SAFETY: the trap flag alone changes.
    unsafe { asm!("pushfq", "and qword ptr [rsp], -0x101", "popfq") };
    result
}

#[cfg(not(target_arch = "x86_64"))]
fn stepped<T>(_: u64, call: impl FnOnce() -> T) -> T {
    call()
}
