//! The promises of the token table, with real threads, signals and forks.

use super::table::{Entered, Refused, Table};
use super::token::{Kind, Token};
use crate::mem::hazard;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

const ALIVE: u64 = 0x600D_600D_600D_600D;

/// An object that can tell whether it is whole: its heap part is overwritten when it is dropped, and `left` equals
/// `right` except while somebody has it exclusively.
struct Object<const K: u8> {
    heap: Box<AtomicU64>,
    left: u64,
    right: u64,
}

impl<const K: u8> Kind for Object<K> {
    const KIND: u8 = K;
}

impl<const K: u8> Object<K> {
    fn new(value: u64) -> Self {
        Object { heap: Box::new(AtomicU64::new(ALIVE)), left: value, right: value }
    }

    /// Its value, if it is whole.
    fn value(&self) -> Option<u64> {
        (self.heap.load(SeqCst) == ALIVE && self.left == self.right).then_some(self.left)
    }

    fn set(&mut self, value: u64) {
        self.left = value;
        std::hint::black_box(&mut *self);
        self.right = value;
    }
}

impl<const K: u8> Drop for Object<K> {
    fn drop(&mut self) {
        self.heap.store(!ALIVE, SeqCst);
    }
}

type Objects<const K: u8> = Table<Object<K>>;

fn open<const K: u8>(table: &'static Objects<K>, value: u64) -> Token {
    table.insert(Object::new(value)).expect("room")
}

fn read<const K: u8>(table: &'static Objects<K>, token: Token) -> Result<u64, Refused> {
    let entered: Entered<Object<K>> = table.enter(token)?;
    Ok(entered.value().expect("a whole object"))
}

fn close<const K: u8>(table: &'static Objects<K>, token: Token) -> Result<u64, Refused> {
    Ok(table.exclusive(token)?.remove().value().expect("a whole object"))
}

/// splitmix64: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

fn watchdog() {
    // SAFETY: alarm takes an integer; SIGALRM's default action ends a run that hangs.
    unsafe { libc::alarm(300) };
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn a_token_leads_to_its_object_until_it_is_removed() {
    static TABLE: Objects<1> = Table::new();
    let token = open(&TABLE, 7);
    assert_eq!(read(&TABLE, token), Ok(7));
    TABLE.exclusive(token).expect("alone").set(8);
    assert_eq!(read(&TABLE, token), Ok(8));
    assert_eq!(close(&TABLE, token), Ok(8));
    assert_eq!(read(&TABLE, token), Err(Refused::Stale));
    assert_eq!(close(&TABLE, token), Err(Refused::Stale));
    let heir = open(&TABLE, 9);
    assert_eq!((heir.0 ^ token.0) >> 32, 0, "the slot is used again");
    assert_eq!(read(&TABLE, token), Err(Refused::Stale));
    assert_eq!(close(&TABLE, heir), Ok(9));
}

#[test]
fn no_token_is_an_address() {
    static TABLE: Objects<3> = Table::new();
    let token = open(&TABLE, 0);
    assert_ne!(token.0 >> 63, token.0 >> 56 & 1, "canonical on x86-64");
    assert_eq!(token.0 >> 55 & 1, 1, "in the user's half on aarch64");
    assert_eq!(Token::from_handle(token.to_handle::<u8>()), token);
    assert_eq!(close(&TABLE, token), Ok(0));
}

#[test]
fn forged_and_foreign_tokens_are_stale() {
    static TABLE: Objects<5> = Table::new();
    static FOREIGN: Objects<7> = Table::new();
    let tokens: Vec<Token> = (0..100).map(|value| open(&TABLE, value)).collect();
    let foreign = open(&FOREIGN, 1);
    let held = TABLE.exclusive(tokens[0]).expect("alone");
    let mut random = Random(1);
    let words = (0..1_000_000).map(|_| random.next());
    let near = tokens.iter().flat_map(|token| (0..64).map(|bit| token.0 ^ 1 << bit));
    // What a vacant and a held slot's word look like from outside.
    let inside = (0..1u64 << 12).flat_map(|n| [n, 1 << 63 | n << 32, 1 << 63 | n << 32 | 1]);
    for word in words.chain(near).chain(inside).chain([0, u64::MAX, foreign.0]) {
        if !tokens.contains(&Token(word)) {
            assert_eq!(read(&TABLE, Token(word)), Err(Refused::Stale), "{word:#x}");
            assert_eq!(close(&TABLE, Token(word)), Err(Refused::Stale), "{word:#x}");
        }
    }
    drop(held);
    for (value, token) in tokens.into_iter().enumerate() {
        assert_eq!(close(&TABLE, token), Ok(value as u64));
    }
    assert_eq!(close(&FOREIGN, foreign), Ok(1));
}

#[test]
fn a_million_objects_are_open_at_once() {
    static TABLE: Objects<9> = Table::new();
    let count = if cfg!(miri) { 3000 } else { 1_000_000 };
    let tokens: Vec<Token> = (0..count).map(|value| open(&TABLE, value)).collect();
    for (value, &token) in tokens.iter().enumerate() {
        assert_eq!(read(&TABLE, token), Ok(value as u64));
    }
    for (value, token) in tokens.into_iter().enumerate() {
        assert_eq!(close(&TABLE, token), Ok(value as u64));
    }
}

#[test]
fn a_hundred_thousand_cycles_use_one_slot() {
    static TABLE: Objects<11> = Table::new();
    let first = open(&TABLE, 0);
    assert_eq!(close(&TABLE, first), Ok(0));
    for value in 1..=100_000 {
        let token = open(&TABLE, value);
        assert_eq!(token.0, first.0 + value);
        assert_eq!(close(&TABLE, token), Ok(value));
    }
}

#[test]
fn a_slot_wears_out_rather_than_reuse_a_generation() {
    static TABLE: Objects<13> = Table::new();
    let first = open(&TABLE, 0);
    assert_eq!(close(&TABLE, first), Ok(0));
    TABLE.age_slot_0(u32::MAX - 1);
    let last = open(&TABLE, 1);
    assert_eq!(last.0, first.0 | u64::from(u32::MAX));
    assert_eq!(close(&TABLE, last), Ok(1));
    for value in 2..5 {
        let token = open(&TABLE, value);
        assert_ne!((token.0 ^ first.0) >> 32, 0, "the worn slot is used again");
        assert_eq!(close(&TABLE, token), Ok(value));
    }
    assert_eq!(read(&TABLE, last), Err(Refused::Stale));
}

#[test]
fn threads_that_ended_leave_nothing_behind() {
    static TABLE: Objects<15> = Table::new();
    watchdog();
    let token = open(&TABLE, 1);
    for _ in 0..1000 {
        std::thread::spawn(move || assert_eq!(read(&TABLE, token), Ok(1))).join().expect("no panic");
    }
    let sequential = hazard::record_count();
    assert!(sequential <= 10 * 31, "{sequential} records after 1,000 threads one by one");
    let crowd = || {
        let barrier = std::sync::Barrier::new(1000);
        std::thread::scope(|scope| {
            for _ in 0..1000 {
                let spawned = std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, || {
                    assert_eq!(read(&TABLE, token), Ok(1));
                    barrier.wait();
                });
                spawned.expect("a thread");
            }
        });
        hazard::record_count()
    };
    let once = crowd();
    assert!((1000..2000).contains(&once), "{once} records for 1,000 threads at once");
    for _ in 0..3 {
        let again = crowd();
        assert!(again <= once + 10 * 31, "{again} records, {once} before");
    }
    assert_eq!(close(&TABLE, token), Ok(1));
}

#[test]
fn a_thread_that_ended_inside_a_call_holds_nothing_up() {
    static TABLE: Objects<17> = Table::new();
    watchdog();
    let token = open(&TABLE, 1);
    std::thread::spawn(move || std::mem::forget(TABLE.enter(token))).join().expect("no panic");
    assert_eq!(close(&TABLE, token), Ok(1));
}

#[test]
fn a_call_works_in_every_destructor_of_a_thread() {
    static TABLE: Objects<19> = Table::new();
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    struct Late(Token);
    impl Drop for Late {
        fn drop(&mut self) {
            assert_eq!(read(&TABLE, self.0), Ok(1));
            CALLS.fetch_add(1, SeqCst);
        }
    }
    thread_local! {
        static BEFORE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
        static AFTER: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
    }
    let token = open(&TABLE, 1);
    let thread = std::thread::spawn(move || {
        BEFORE.set(Some(Late(token)));
        assert_eq!(read(&TABLE, token), Ok(1));
        AFTER.set(Some(Late(token)));
    });
    thread.join().expect("no panic");
    assert_eq!(CALLS.load(SeqCst), 2);
    assert_eq!(close(&TABLE, token), Ok(1));
}

#[test]
fn calls_nest_deeper_than_a_record_and_end_in_any_order() {
    static TABLE: Objects<21> = Table::new();
    let token = open(&TABLE, 1);
    for from_the_front in [true, false] {
        let mut calls: Vec<_> = (0..20).map(|_| TABLE.enter(token).expect("a cell")).collect();
        while !calls.is_empty() {
            assert_eq!(TABLE.exclusive(token).err(), Some(Refused::Busy));
            drop(if from_the_front { calls.remove(0) } else { calls.swap_remove(calls.len() - 1) });
        }
    }
    assert_eq!(close(&TABLE, token), Ok(1));
}

#[test]
fn exclusive_waits_for_calls_and_calls_wait_for_it() {
    static TABLE: Objects<23> = Table::new();
    watchdog();
    let token = open(&TABLE, 1);
    let entered = TABLE.enter(token).expect("open");
    let changer = std::thread::spawn(move || {
        let mut object = TABLE.exclusive(token).expect("waits");
        object.set(2);
        assert_eq!(TABLE.enter(token).err(), Some(Refused::Busy), "this thread has it");
        assert_eq!(TABLE.exclusive(token).err(), Some(Refused::Busy), "this thread has it");
        object.set(3);
    });
    until(|| TABLE.is_held(token));
    let reader = std::thread::spawn(move || read(&TABLE, token));
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(entered.value(), Some(1));
    assert!(!changer.is_finished() && !reader.is_finished());
    drop(entered);
    changer.join().expect("no panic");
    assert_eq!(reader.join().expect("no panic"), Ok(3));
    assert_eq!(close(&TABLE, token), Ok(3));
}

#[test]
fn exclusive_is_busy_while_a_call_sleeps() {
    static TABLE: Objects<25> = Table::new();
    watchdog();
    let token = open(&TABLE, 1);
    let (asleep, awake) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let entered = TABLE.enter(token).expect("open");
            let sleeping = entered.sleeping();
            asleep.store(true, SeqCst);
            until(|| awake.load(SeqCst));
            drop(sleeping);
            assert_eq!(entered.value(), Some(1));
        });
        until(|| asleep.load(SeqCst));
        assert_eq!(TABLE.exclusive(token).err(), Some(Refused::Busy));
        assert_eq!(read(&TABLE, token), Ok(1), "it is open again");
        awake.store(true, SeqCst);
    });
    assert_eq!(close(&TABLE, token), Ok(1));
}

#[test]
fn of_many_removers_one_gets_the_object() {
    static TABLE: Objects<27> = Table::new();
    watchdog();
    for value in 0..200 {
        let token = open(&TABLE, value);
        let barrier = std::sync::Barrier::new(4);
        let got: Vec<_> = std::thread::scope(|scope| {
            let remove = || {
                barrier.wait();
                close(&TABLE, token)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(remove)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(got.iter().filter(|result| **result == Ok(value)).count(), 1);
        assert_eq!(got.iter().filter(|result| **result == Err(Refused::Stale)).count(), 3);
    }
}

#[test]
fn a_constant_stream_of_calls_starves_nobody() {
    static TABLE: Objects<29> = Table::new();
    watchdog();
    let token = open(&TABLE, 0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    assert!(read(&TABLE, token).is_ok());
                }
            });
        }
        for value in 1..=1000 {
            TABLE.exclusive(token).expect("its turn").set(value);
        }
        stop.store(true, SeqCst);
    });
    assert_eq!(close(&TABLE, token), Ok(1000));
}

#[test]
fn calls_on_two_objects_never_wait_in_a_circle() {
    static TABLE: Objects<31> = Table::new();
    watchdog();
    let tokens = [open(&TABLE, 0), open(&TABLE, 0)];
    let changes = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (from, to) in [(0, 1), (1, 0)] {
            let (stop, changes) = (&stop, &changes);
            scope.spawn(move || {
                while !stop.load(SeqCst) {
                    let from = TABLE.enter(tokens[from]).expect("open");
                    let to = TABLE.enter(tokens[to]).expect("open");
                    assert!(from.value().is_some() && to.value().is_some());
                }
            });
            scope.spawn(move || {
                while !stop.load(SeqCst) {
                    match TABLE.exclusive(tokens[from]) {
                        Ok(mut object) => {
                            object.set(changes.fetch_add(1, SeqCst));
                            std::thread::yield_now();
                        }
                        Err(refused) => assert_eq!(refused, Refused::Busy),
                    }
                }
            });
        }
        until(|| changes.load(SeqCst) > 3000);
        stop.store(true, SeqCst);
    });
    for token in tokens {
        assert!(close(&TABLE, token).is_ok());
    }
}

/// Threads that open, read, change and close at random, with live and stale tokens, for `rounds` each.
fn storm<const K: u8>(table: &'static Objects<K>, rounds: u64) {
    let shared: [AtomicU64; 16] = std::array::from_fn(|_| AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let shared = &shared;
            scope.spawn(move || {
                let mut random = Random(seed);
                for _ in 0..rounds {
                    let dice = random.next();
                    let place = &shared[(dice >> 32) as usize % shared.len()];
                    let token = Token(place.load(SeqCst));
                    let result = match dice % 16 {
                        0 => {
                            let token = open(table, dice);
                            let former = place.swap(token.0, SeqCst);
                            close(table, Token(former)).map(|_| ())
                        }
                        1 => close(table, token).map(|_| ()),
                        2 => table.exclusive(token).map(|mut object| object.set(dice)),
                        _ => read(table, token).map(|_| ()),
                    };
                    assert!(matches!(result, Ok(()) | Err(Refused::Stale)), "{result:?}");
                }
            });
        }
    });
    for place in &shared {
        let _ = close(table, Token(place.load(SeqCst)));
    }
    assert_eq!(table.open_count(), 0);
}

#[test]
fn a_storm_of_threads_never_sees_a_dead_object() {
    static TABLE: Objects<33> = Table::new();
    watchdog();
    storm(&TABLE, 500_000);
}

/// Runs this test program again with membarrier refused by a seccomp filter, and there the storm.
#[test]
fn without_membarrier_the_storm_is_the_same() {
    static TABLE: Objects<35> = Table::new();
    watchdog();
    if std::env::var_os("TOKENLAB_NO_MEMBARRIER").is_some() {
        assert!(crate::sys::process::membarrier_register().is_err(), "the filter works");
        storm(&TABLE, 500_000);
        return;
    }
    let program = std::env::current_exe().expect("a path");
    let mut command = std::process::Command::new(program);
    command.args(["--exact", "ffi::table_tests::without_membarrier_the_storm_is_the_same"]);
    command.env("TOKENLAB_NO_MEMBARRIER", "1");
    // SAFETY: the closure makes two prctl calls and allocates nothing.
    unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, refuse_membarrier) };
    assert!(command.status().expect("it runs").success());
}

fn refuse_membarrier() -> std::io::Result<()> {
    let filter = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        filter(0x20, 0, 0, 0),
        filter(0x15, libc::SYS_membarrier as u32, 0, 1),
        filter(0x06, 0x0005_0000 | libc::ENOSYS as u32, 0, 0),
        filter(0x06, 0x7fff_0000, 0, 0),
    ];
    let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    // SAFETY: integers only.
    let first = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: `program` describes the four instructions above.
    let second = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    if first | second == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

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
    assert_eq!(unsafe { libc::pthread_kill(thread, signal) }, 0);
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
