//! Signals: sigaction(2), sigprocmask(2), and what the kernel tells a handler.

use super::Errno;
use super::socket::Direction;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A SIGBUS as it was delivered to a handler.
pub(crate) struct Delivery {
    info: *mut libc::siginfo_t,
    context: *mut c_void,
}

/// What is done at a SIGBUS; async-signal-safe.
pub(crate) trait Handle {
    fn handle(delivery: &mut Delivery);
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// What the kernel calls, or a handler that was installed over this one and passes its arguments on.
extern "C" fn enter<H: Handle>(_signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // What was interrupted may be about to look at its errno.
    let errno = Errno::last();
    H::handle(&mut Delivery { info, context });
    errno.set();
}

impl Delivery {
    fn info(&self) -> &libc::siginfo_t {
        // SAFETY: the kernel's siginfo is valid and constant while the handler runs.
        unsafe { &*self.info }
    }

    fn code(&self) -> c_int {
        self.info().si_code
    }

    /// Whether an access to memory raised it, rather than kill(2) and its like (sigaction(2), si_code).
    pub(crate) fn is_fault(&self) -> bool {
        self.code() > 0
    }

    /// Whether the memory itself failed: a hardware error in the page.
    pub(crate) fn is_memory_error(&self) -> bool {
        matches!(self.code(), libc::BUS_MCEERR_AR | libc::BUS_MCEERR_AO)
    }

    /// Whether this process sent it, by raise(3) or kill(2).
    pub(crate) fn is_from_this_process(&self) -> bool {
        // SAFETY: a field that exists for signals that were sent, and is some number in others.
        let sender = unsafe { self.info().si_pid() };
        // SAFETY: getpid only asks.
        matches!(self.code(), libc::SI_TKILL | libc::SI_USER) && sender == unsafe { libc::getpid() }
    }

    /// The address whose access faulted.
    pub(crate) fn address(&self) -> usize {
        // SAFETY: a field that exists for faults.
        unsafe { self.info().si_addr() }.addr()
    }

    /// A number that was put on this delivery, 0 at first. It stands in `uc_link`, which the kernel sets to NULL and does
    /// not look at again, so that it comes and goes with the delivery.
    pub(crate) fn stamp(&self) -> usize {
        // SAFETY: the kernel's context is valid while the handler runs.
        unsafe { self.link().read() }.addr()
    }

    /// Puts a number on this delivery.
    pub(crate) fn set_stamp(&self, stamp: usize) {
        // SAFETY: the kernel's context is valid while the handler runs.
        unsafe { self.link().write(std::ptr::without_provenance_mut(stamp)) };
    }

    /// The address of the place where its stamp stands.
    pub(crate) fn stamp_address(&self) -> usize {
        self.link().addr()
    }

    fn link(&self) -> *mut *mut libc::ucontext_t {
        let context = self.context.cast::<libc::ucontext_t>();
        // SAFETY: computes an address inside the kernel's context.
        unsafe { &raw mut (*context).uc_link }
    }

    #[cfg(target_arch = "x86_64")]
    fn program_counter(&self) -> *mut usize {
        let context = self.context.cast::<libc::ucontext_t>();
        // SAFETY: the kernel's context is valid while the handler runs; this computes an address inside it.
        unsafe { (&raw mut (*context).uc_mcontext.gregs[libc::REG_RIP as usize]).cast() }
    }

    #[cfg(target_arch = "aarch64")]
    fn program_counter(&self) -> *mut usize {
        let context = self.context.cast::<libc::ucontext_t>();
        // SAFETY: the kernel's context is valid while the handler runs; this computes an address inside it.
        unsafe { (&raw mut (*context).uc_mcontext.pc).cast() }
    }

    /// Where the thread's stack ended when it was interrupted.
    pub(crate) fn stack_pointer(&self) -> usize {
        let context = self.context.cast::<libc::ucontext_t>();
        // SAFETY: the kernel's context is valid while the handler runs; this computes an address inside it.
        #[cfg(target_arch = "x86_64")]
        let register = unsafe { (&raw const (*context).uc_mcontext.gregs[libc::REG_RSP as usize]).cast::<usize>() };
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        let register = unsafe { (&raw const (*context).uc_mcontext.sp).cast::<usize>() };
        // SAFETY: inside the kernel's context.
        unsafe { register.read() }
    }

    /// The instruction at which the thread was interrupted.
    pub(crate) fn pc(&self) -> usize {
        // SAFETY: inside the kernel's context.
        unsafe { self.program_counter().read() }
    }

    /// Has the thread go on at another instruction.
    pub(crate) fn set_pc(&mut self, pc: usize) {
        // SAFETY: inside the kernel's context, which only this handler changes.
        unsafe { self.program_counter().write(pc) }
    }
}

/// What a process does at a SIGBUS.
#[derive(Clone, Copy)]
pub(crate) struct Action(libc::sigaction);

/// What an action comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// The process ends (SIG_DFL).
    Default,
    /// Nothing happens (SIG_IGN).
    Ignore,
    /// A function is called.
    Handler,
}

impl Action {
    /// Calls `H`, on the alternate stack where the thread has one, and also for a SIGBUS inside itself. System calls that
    /// a SIGBUS interrupts go on where they would have gone on with the action that it stands over.
    pub(crate) fn calling<H: Handle>(over: &Action) -> Action {
        // SAFETY: a sigaction of zeros is valid: the default action with an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = enter::<H> as *const () as usize;
        let restarts = over.disposition() != Disposition::Handler || over.0.sa_flags & libc::SA_RESTART != 0;
        let restart = if restarts { libc::SA_RESTART } else { 0 };
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER | restart;
        Action(action)
    }

    /// The default: the process ends.
    pub(crate) fn default_action() -> Action {
        // SAFETY: a sigaction of zeros is valid: SIG_DFL with an empty mask.
        Action(unsafe { std::mem::zeroed() })
    }

    /// What SIGBUS does now.
    pub(crate) fn current() -> Result<Action, Errno> {
        let mut action = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: the kernel fills the struct or fails.
        Errno::check(unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), action.as_mut_ptr()) })?;
        // SAFETY: sigaction has succeeded and filled the struct.
        Ok(Action(unsafe { action.assume_init() }))
    }

    /// Makes it what SIGBUS does. Async-signal-safe.
    pub(crate) fn install(&self) -> Result<(), Errno> {
        // SAFETY: the action's function, if it has one, is a signal handler: ours, or one that was installed before.
        Errno::check(unsafe { libc::sigaction(libc::SIGBUS, &self.0, std::ptr::null_mut()) }).map(drop)
    }

    /// Whether it calls `H`.
    pub(crate) fn is_calling<H: Handle>(&self) -> bool {
        self.0.sa_sigaction == enter::<H> as *const () as usize
    }

    /// Whether it is the same in every respect.
    pub(crate) fn is_same(&self, other: &Action) -> bool {
        // SAFETY: only asks sets that the kernel or `zeroed` has filled.
        let blocks = |action: &Action, signal| unsafe { libc::sigismember(&action.0.sa_mask, signal) };
        self.0.sa_sigaction == other.0.sa_sigaction
            && self.0.sa_flags == other.0.sa_flags
            && (1..=libc::SIGRTMAX()).all(|signal| blocks(self, signal) == blocks(other, signal))
    }

    pub(crate) fn disposition(&self) -> Disposition {
        match self.0.sa_sigaction {
            libc::SIG_DFL => Disposition::Default,
            libc::SIG_IGN => Disposition::Ignore,
            _ => Disposition::Handler,
        }
    }

    /// Whether it is for one signal only (SA_RESETHAND).
    pub(crate) fn is_once(&self) -> bool {
        self.0.sa_flags & libc::SA_RESETHAND != 0
    }

    /// Calls its function as the kernel would: with what it blocks blocked. Its disposition is `Handler`.
    pub(crate) fn call(&self, delivery: &Delivery) {
        let mut mask = self.0.sa_mask;
        if self.0.sa_flags & libc::SA_NODEFER == 0 {
            // SAFETY: adds a signal that exists to a set of our own.
            unsafe { libc::sigaddset(&mut mask, libc::SIGBUS) };
        }
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are ours; a thread may always change its own mask.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &mask, before.as_mut_ptr()) };
        let function = self.0.sa_sigaction as *const ();
        if self.0.sa_flags & libc::SA_SIGINFO != 0 {
            // SAFETY: SA_SIGINFO says that the function is of this type; whoever installed it vouches for it.
            let function = unsafe { std::mem::transmute::<*const (), Handler>(function) };
            function(libc::SIGBUS, delivery.info, delivery.context);
        } else {
            // SAFETY: without SA_SIGINFO the function is of this type.
            let function = unsafe { std::mem::transmute::<*const (), extern "C" fn(c_int)>(function) };
            function(libc::SIGBUS);
        }
        // SAFETY: pthread_sigmask above has filled the set.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
}

/// Sends SIGBUS to this thread (raise(3)); async-signal-safe.
pub(crate) fn raise() {
    // SAFETY: SIGBUS is a signal that exists.
    unsafe { libc::raise(libc::SIGBUS) };
}

/// This thread takes SIGBUS until the value is dropped.
pub(crate) struct SigbusUnblocked {
    before: libc::sigset_t,
}

impl SigbusUnblocked {
    /// Unblocks it.
    pub(crate) fn new() -> SigbusUnblocked {
        let mut sigbus = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: sigemptyset writes a whole sigset_t to the place it is given, and cannot fail there.
        let _ = unsafe { libc::sigemptyset(sigbus.as_mut_ptr()) };
        // SAFETY: adds a signal that exists to a set of our own.
        let _ = unsafe { libc::sigaddset(sigbus.as_mut_ptr(), libc::SIGBUS) };
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: both pointers are to sigset_t values on this stack, and SIG_UNBLOCK is a known request.
        let _ = unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, sigbus.as_ptr(), before.as_mut_ptr()) };
        // SAFETY: sigset_t is an array of integers: zeroed above, then filled by pthread_sigmask.
        let before = unsafe { before.assume_init() };
        SigbusUnblocked { before }
    }
}

impl Drop for SigbusUnblocked {
    fn drop(&mut self) {
        // SAFETY: `before` is the mask that pthread_sigmask gave in `new`; a null old set is allowed.
        let _ = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}

/// No signal handler runs on this thread until the value is dropped.
pub(crate) struct SignalsBlocked {
    before: libc::sigset_t,
}

impl SignalsBlocked {
    /// Blocks every signal. Async-signal-safe.
    pub(crate) fn new() -> SignalsBlocked {
        let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: sigfillset writes a whole sigset_t to the place it is given, and cannot fail there.
        let _ = unsafe { libc::sigfillset(all.as_mut_ptr()) };
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: both pointers are to sigset_t values on this stack, and SIG_SETMASK is a known request.
        let _ = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
        // SAFETY: sigset_t is an array of integers: zeroed above, then filled by pthread_sigmask.
        let before = unsafe { before.assume_init() };
        SignalsBlocked { before }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` is the mask that pthread_sigmask gave in `new`; a null old set is allowed.
        let _ = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}

impl SignalsBlocked {
    /// Whether SIGBUS was blocked before: the kernel then ends the process at a fault, whatever handler there is.
    pub(crate) fn had_sigbus_blocked(&self) -> bool {
        // SAFETY: only asks a set that `new` has filled.
        unsafe { libc::sigismember(&self.before, libc::SIGBUS) == 1 }
    }
    /// Sleeps with the signals of before let in; EINTR when a handler has run (ppoll(2), which no SA_RESTART restarts).
    pub(crate) fn sleep(&self, nanoseconds: u64) -> Result<(), Errno> {
        self.poll(&mut [], Some(nanoseconds)).map(drop)
    }

    /// As `sleep`, until a socket is ready, or for ever where no time is given; whether it was ready.
    pub(crate) fn sleep_until_ready(
        &self,
        socket: BorrowedFd,
        direction: Direction,
        nanoseconds: Option<u64>,
    ) -> Result<bool, Errno> {
        let asked = libc::pollfd { fd: socket.as_raw_fd(), events: direction.events(), revents: 0 };
        self.poll(&mut [asked], nanoseconds).map(|ready| ready > 0)
    }

    fn poll(&self, asked: &mut [libc::pollfd], nanoseconds: Option<u64>) -> Result<i32, Errno> {
        let time = nanoseconds.map(|nanoseconds| libc::timespec {
            tv_sec: (nanoseconds / 1_000_000_000).cast_signed(),
            tv_nsec: (nanoseconds % 1_000_000_000).cast_signed(),
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the descriptors, the time and the set, which `new` has filled, are ours and stay for the call.
        Errno::check(unsafe { libc::ppoll(asked.as_mut_ptr(), asked.len() as libc::nfds_t, time, &self.before) })
    }
}
