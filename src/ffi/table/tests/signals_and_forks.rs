//! Calls from signal handlers, and what a fork leaves.

use super::*;

/// What the signal handlers below do; a plain pointer to a function, so that they can reach it.
static IN_HANDLER: [AtomicPtr<()>; 3] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 3];

extern "C" fn handler<const N: usize>(_signal: libc::c_int) {
    let action = IN_HANDLER[N].load(SeqCst);
    // SAFETY: `on_signal` put a `fn()` there before it installed this handler.
    let action: fn() = unsafe { std::mem::transmute(action) };
    action();
}

/// From now on signal `SIGRTMIN + N` runs `action` on the thread it reaches.
fn on_signal<const N: usize>(action: fn()) -> libc::c_int {
    IN_HANDLER[N].store(action as *mut (), SeqCst);
    let signal = libc::SIGRTMIN() + N as libc::c_int;
    let handler: extern "C" fn(libc::c_int) = handler::<N>;
    // SAFETY: the handler calls nothing that is not async-signal-safe.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    signal
}

fn send(thread: u64, signal: libc::c_int) {
    // SAFETY: the thread is joined later: it exists.
    let send = || unsafe { libc::pthread_kill(thread, signal) };
    let mut sent = send();
    // A user may have so many signals queued (RLIMIT_SIGPENDING), in all its processes.
    while sent == libc::EAGAIN {
        std::thread::yield_now();
        sent = send();
    }
    assert_eq!(sent, 0);
}

fn this_pthread() -> u64 {
    // SAFETY: no arguments, no failure.
    unsafe { libc::pthread_self() }
}

#[test]
fn handlers_may_call_in_between_any_two_instructions() {
    static TABLE: Objects<37> = Table::new();
    static TOKENS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
    static HANDLED: AtomicU64 = AtomicU64::new(0);
    static DICE: AtomicU64 = AtomicU64::new(0);
    fn token() -> Token {
        Token(TOKENS[DICE.fetch_add(1, SeqCst) as usize % TOKENS.len()].load(SeqCst))
    }
    fn nested() {
        let inner = TABLE.enter(token());
        let same = read(&TABLE, token());
        assert!(matches!(same, Ok(_) | Err(Refused::Stale | Refused::Busy)));
        drop(TABLE.exclusive(token()));
        assert!(inner.is_err() || inner.is_ok_and(|inner| inner.value().is_some()));
        HANDLED.fetch_add(1, SeqCst);
    }
    watchdog();
    let signal = on_signal::<0>(nested);
    let stop = AtomicBool::new(false);
    let threads = [const { AtomicU64::new(0) }; 3];
    std::thread::scope(|scope| {
        for (worker, thread) in threads.iter().enumerate() {
            let stop = &stop;
            scope.spawn(move || {
                thread.store(this_pthread(), SeqCst);
                let mut random = Random(worker as u64);
                while !stop.load(SeqCst) {
                    let place = &TOKENS[random.next() as usize % TOKENS.len()];
                    match random.next() % 8 {
                        0 => {
                            let former = place.swap(open(&TABLE, 1).0, SeqCst);
                            while close(&TABLE, Token(former)) == Err(Refused::Busy) {}
                        }
                        1 => drop(TABLE.exclusive(token())),
                        _ => drop(read(&TABLE, Token(place.load(SeqCst)))),
                    }
                }
                thread.store(0, SeqCst);
            });
            scope.spawn(move || {
                until(|| thread.load(SeqCst) != 0);
                let target = thread.load(SeqCst);
                while !stop.load(SeqCst) {
                    send(target, signal);
                    std::thread::sleep(Duration::from_micros(30));
                }
            });
        }
        until(|| HANDLED.load(SeqCst) > 20_000);
        stop.store(true, SeqCst);
    });
    for place in &TOKENS {
        let _ = close(&TABLE, Token(place.load(SeqCst)));
    }
    assert_eq!(TABLE.open_count(), 0);
}

#[test]
fn a_threads_first_call_may_be_in_a_handler() {
    static TABLE: Objects<39> = Table::new();
    static TOKEN: AtomicU64 = AtomicU64::new(0);
    static HANDLED: AtomicU64 = AtomicU64::new(0);
    fn first() {
        assert_eq!(read(&TABLE, Token(TOKEN.load(SeqCst))), Ok(5));
        HANDLED.fetch_add(1, SeqCst);
    }
    watchdog();
    TOKEN.store(open(&TABLE, 5).0, SeqCst);
    let signal = on_signal::<1>(first);
    for _ in 0..100 {
        std::thread::spawn(move || send(this_pthread(), signal)).join().expect("no panic");
    }
    assert_eq!(HANDLED.load(SeqCst), 100);
    assert_eq!(close(&TABLE, Token(TOKEN.load(SeqCst))), Ok(5));
}

/// Whether `child` returns true in a forked process.
fn in_child(fork: fn() -> libc::pid_t, child: impl FnOnce() -> bool) -> bool {
    let pid = fork();
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: takes an integer: a child that hangs is ended.
        unsafe { libc::alarm(60) };
        let code = if child() { 0 } else { 1 };
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(code) };
    }
    let mut status = -1;
    // SAFETY: `pid` is our child, `status` an int.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status == 0
}

fn plain_fork() -> libc::pid_t {
    // SAFETY: the child calls async-signal-safe functions only, and `_exit`.
    unsafe { libc::fork() }
}

fn raw_clone() -> libc::pid_t {
    // SAFETY: fork(2) without the fork handlers; the child does as above.
    unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t }
}

#[test]
fn a_forked_child_owes_nothing_to_the_threads_it_lost() {
    static TABLE: Objects<41> = Table::new();
    watchdog();
    let [read_by_other, held_by_other, held_by_me, inside] = [1, 2, 3, 4].map(|value| open(&TABLE, value));
    let ready = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let entered = TABLE.enter(read_by_other).expect("open");
            ready.fetch_add(1, SeqCst);
            until(|| stop.load(SeqCst));
            drop(entered);
        });
        scope.spawn(|| {
            let held = TABLE.exclusive(held_by_other).expect("open");
            ready.fetch_add(1, SeqCst);
            until(|| stop.load(SeqCst));
            drop(held);
        });
        until(|| ready.load(SeqCst) == 2);
        let held = TABLE.exclusive(held_by_me).expect("open");
        let entered = TABLE.enter(inside).expect("open");
        let good = in_child(plain_fork, || {
            close(&TABLE, read_by_other) == Ok(1)
                && read(&TABLE, held_by_other) == Err(Refused::Busy)
                && read(&TABLE, held_by_me) == Err(Refused::Busy)
                && TABLE.exclusive(inside).err() == Some(Refused::Busy)
                && entered.value() == Some(4)
                && in_child(plain_fork, || TABLE.exclusive(inside).err() == Some(Refused::Busy))
        });
        assert!(good);
        assert!(in_child(raw_clone, || {
            TABLE.exclusive(read_by_other).err() == Some(Refused::Busy)
                && read(&TABLE, held_by_other) == Err(Refused::Busy)
                && TABLE.exclusive(inside).err() == Some(Refused::Busy)
        }));
        assert!(in_child(plain_fork, move || {
            drop(entered);
            drop(held);
            read(&TABLE, held_by_other) == Err(Refused::Stale)
                && TABLE.exclusive(held_by_other).err() == Some(Refused::Stale)
                && close(&TABLE, inside) == Ok(4)
                && close(&TABLE, held_by_me) == Ok(3)
                && std::thread::spawn(move || close(&TABLE, read_by_other)).join().is_ok_and(|result| result == Ok(1))
        }));
        stop.store(true, SeqCst);
    });
    for (token, value) in [(read_by_other, 1), (held_by_other, 2), (held_by_me, 3), (inside, 4)] {
        assert_eq!(read(&TABLE, token).and_then(|_| close(&TABLE, token)), Ok(value));
    }
}

#[test]
fn a_fork_in_a_handler_inside_a_call_harms_neither_side() {
    static TABLE: Objects<43> = Table::new();
    static TOKEN: AtomicU64 = AtomicU64::new(0);
    static FORKS: AtomicU64 = AtomicU64::new(0);
    static DONE: AtomicBool = AtomicBool::new(false);
    fn fork_here() {
        let token = Token(TOKEN.load(SeqCst));
        let good = in_child(plain_fork, || {
            let seen = read(&TABLE, token);
            let closed = close(&TABLE, token);
            matches!(seen, Ok(6) | Err(Refused::Busy)) && matches!(closed, Ok(6) | Err(Refused::Busy))
        });
        assert!(good);
        FORKS.fetch_add(1, SeqCst);
    }
    watchdog();
    let token = open(&TABLE, 6);
    TOKEN.store(token.0, SeqCst);
    let signal = on_signal::<2>(fork_here);
    let target = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            target.store(this_pthread(), SeqCst);
            while !DONE.load(SeqCst) {
                assert_eq!(read(&TABLE, token), Ok(6));
                drop(TABLE.exclusive(token));
            }
        });
        until(|| target.load(SeqCst) != 0);
        let thread = target.load(SeqCst);
        for fork in 1..=200 {
            send(thread, signal);
            until(|| FORKS.load(SeqCst) == fork);
        }
        DONE.store(true, SeqCst);
    });
    assert_eq!(close(&TABLE, token), Ok(6));
}

#[test]
fn the_heavy_fence_works_in_a_forked_child() {
    static TABLE: Objects<45> = Table::new();
    let token = open(&TABLE, 1);
    assert!(in_child(plain_fork, || crate::mem::fence::heavy().is_ok() && close(&TABLE, token) == Ok(1)));
    assert_eq!(close(&TABLE, token), Ok(1));
}
