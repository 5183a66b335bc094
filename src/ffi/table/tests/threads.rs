//! Many threads: ends, waits, storms.

use super::*;

#[test]
fn threads_that_ended_leave_nothing_behind() {
    static TABLE: Objects<15> = Table::new();
    watchdog();
    // It counts the records of the whole process.
    if !is_alone("threads_that_ended_leave_nothing_behind", || Ok(())) {
        return;
    }
    // A thread that was joined may exist for a while yet, to the kernel and so to those who look for free records.
    let threads = || std::fs::read_dir("/proc/self/task").expect("/proc is mounted").count();
    let before = threads();
    let until_they_are_gone = || {
        while threads() > before {
            std::thread::yield_now();
        }
    };
    let token = open(&TABLE, 1);
    for _ in 0..1000 {
        std::thread::spawn(move || assert_eq!(read(&TABLE, token), Ok(1))).join().expect("no panic");
    }
    let sequential = hazard::record_count();
    assert!(sequential <= 10 * 31, "{sequential} records after 1,000 threads one by one");
    let crowd = || {
        until_they_are_gone();
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
    if is_alone("without_membarrier_the_storm_is_the_same", refuse_membarrier) {
        assert!(crate::sys::process::membarrier_register().is_err(), "the filter works");
        storm(&TABLE, 500_000);
    }
}

/// Runs one of these tests again in a process of its own, which begins with `first`; whether this is that process.
fn is_alone(test: &str, first: fn() -> std::io::Result<()>) -> bool {
    const ALONE: &str = "MAPSHARE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("a path");
    let mut command = std::process::Command::new(program);
    command.args(["--exact", &format!("ffi::table::tests::threads::{test}")]).env(ALONE, "1");
    // SAFETY: the closures passed here make prctl calls at the most and allocate nothing.
    unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, first) };
    assert!(command.status().expect("it runs").success());
    false
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

/// The call sleeps, and finds the object open only if it is left so until the call looks.
#[test]
fn a_call_that_waits_comes_in_before_the_object_is_taken_again() {
    static TABLE: Objects<61> = Table::new();
    const ROUNDS: u32 = 100;
    watchdog();
    let token = open(&TABLE, 1);
    let mut came_in = 0;
    for _ in 0..ROUNDS {
        let is_in = AtomicBool::new(false);
        let held = TABLE.exclusive(token).expect("alone");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let entered = TABLE.enter(token).expect("open again");
                is_in.store(true, SeqCst);
                drop(entered);
            });
            while !TABLE.is_awaited(token) {
                std::thread::yield_now();
            }
            drop(held);
            let held = TABLE.exclusive(token).expect("open, and no call sleeps in it");
            came_in += u32::from(is_in.load(SeqCst));
            drop(held);
        });
    }
    // Not each time: on a busy machine a thread may not run for longer than it is waited for.
    assert!(came_in > ROUNDS / 2, "{came_in} of {ROUNDS}");
    assert_eq!(close(&TABLE, token), Ok(1));
}

/// The thread that a hint names may be gone.
#[test]
fn who_waits_no_more_does_not_keep_the_object_from_being_taken() {
    static TABLE: Objects<63> = Table::new();
    watchdog();
    let token = open(&TABLE, 1);
    TABLE.await_as(token, u32::MAX >> 1);
    drop(TABLE.exclusive(token).expect("alone"));
    assert!(!TABLE.is_awaited(token), "it is waited for once");
    assert_eq!(close(&TABLE, token), Ok(1));
}
