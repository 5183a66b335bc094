//! A queue with one producer and one consumer, on a core each, against a ring by hand with the sequence in the slot: the
//! least that a queue can cost, whose messages have one length and which lives through no death. And a queue of many against
//! POSIX message queues.

mod common;

use common::files::{File, RawMapping};
use common::library::{Library, Token};
use common::machine::{cores_of_machine, pin};
use common::measure::{Comparison, compare};
use common::ring::Ring;
use common::table::{Goal, Table};
use mapshare::ffi::options::{MAPSHARE_POPULATE, MAPSHARE_READ_WRITE, mapshare_options};
use mapshare::ffi::queue::{
    MAPSHARE_CONSUMER, MAPSHARE_PRODUCER, MAPSHARE_QUEUE_SINGLE_CONSUMER, MAPSHARE_QUEUE_SINGLE_PRODUCER,
    mapshare_queue,
};
use std::hint::black_box;
use std::ptr::{copy_nonoverlapping, null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ROOM: usize = 4 << 20;
const RIVAL: usize = ROOM / 2;
const SMALL: usize = 64 << 10;
/// A ring that holds so many messages that its sides do not get in one another's way.
const LARGE: usize = 1 << 20;
const SINGLE: u32 = MAPSHARE_QUEUE_SINGLE_PRODUCER | MAPSHARE_QUEUE_SINGLE_CONSUMER;

/// A handle, for the thread that uses it.
struct Handle(*mut mapshare_queue);
// SAFETY: a token is a number, which any thread may use.
unsafe impl Send for Handle {}

#[derive(Clone, Copy)]
struct Bench {
    library: &'static Library,
    region: Token,
}

/// One end of a queue.
struct End {
    library: &'static Library,
    handle: Handle,
}

impl Bench {
    fn pair(&self, capacity: usize, flags: u32) -> (End, End) {
        self.library.write_zeros(self.region, 0, RIVAL as u64);
        self.library.check((self.library.queue_init)(self.region.0, 0, capacity as u64, flags));
        (self.open(MAPSHARE_PRODUCER), self.open(MAPSHARE_CONSUMER))
    }

    fn open(&self, role: u32) -> End {
        let mut queue = null_mut();
        // SAFETY: room for the handle.
        self.library.check(unsafe { (self.library.queue_open)(self.region.0, 0, role, &mut queue) });
        End { library: self.library, handle: Handle(queue) }
    }
}

impl End {
    fn push(&self, message: *const u8, length: usize) {
        // SAFETY: the caller has the bytes.
        self.library.check(unsafe { (self.library.queue_push)(self.handle.0, message.cast(), length, -1) });
    }

    fn pop(&self, buffer: *mut u8, capacity: usize) {
        // SAFETY: the caller has room for the bytes.
        let length = unsafe { (self.library.queue_pop)(self.handle.0, buffer.cast(), capacity, -1) };
        self.library.check(length as i32);
    }

    /// Writes a message in place.
    fn write(&self, message: *const u8, length: usize) {
        let mut to = null_mut();
        // SAFETY: room for the pointer.
        self.library.check(unsafe { (self.library.queue_reserve)(self.handle.0, length, -1, &mut to) });
        // SAFETY: reserved above; the caller has the bytes.
        unsafe { copy_nonoverlapping(message, to.cast::<u8>(), length) };
        self.library.check((self.library.queue_commit)(self.handle.0, length));
    }

    /// Reads a message in place.
    fn read(&self) -> u64 {
        let mut from = null();
        // SAFETY: room for the pointer.
        let length = unsafe { (self.library.queue_peek)(self.handle.0, -1, &mut from) };
        self.library.check(length as i32);
        let words = from.cast::<u64>();
        // SAFETY: the message has so many whole words, and a queue's messages are aligned to them.
        let sum =
            (0..length as usize / 8).map(|at| unsafe { words.wrapping_add(at).read() }).fold(0, u64::wrapping_add);
        self.library.check((self.library.queue_consume)(self.handle.0));
        sum
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.library.check((self.library.queue_close)(self.handle.0));
    }
}

fn main() {
    let cores = cores_of_machine();
    pin(cores[0]);
    let file = File::new("/dev/shm", ROOM);
    let library: &'static Library = Box::leak(Box::new(Library::load()));
    let options =
        mapshare_options { access: MAPSHARE_READ_WRITE, flags: MAPSHARE_POPULATE, ..mapshare_options::default() };
    let region = library.open(file.c_path(), &options);
    let mapping = RawMapping::of(&file, ROOM);
    let bench = Bench { library, region };

    let table = Table::new("Queue: a push and a pop on one thread, 64 B", "mapshare", "ring");
    alone(&bench, &mapping, &table);
    let table = Table::new("Queue: time for a message, a thread on each of two cores", "mapshare", "rival");
    for capacity in [SMALL, LARGE] {
        rate::<64>(&bench, &mapping, &table, capacity, 40_000, Goal::Ratio(1.0 / 0.85));
        rate::<4096>(&bench, &mapping, &table, capacity, 4_000, Goal::Time(1e3 / 3.6));
        in_place(&bench, &mapping, &table, capacity);
    }
    many(&bench, &table);
    let table = Table::new("Queue: one way to a thread that spins, 64 B, half a round trip", "mapshare", "ring");
    latency(&bench, &mapping, &table);
    let table = Table::new("Queue: one way to a thread that sleeps, 8 B", "mapshare", "futex");
    wake(&bench, &mapping, &table);
    library.unmap(region);
}

/// What the instructions cost, without the lines' travel.
fn alone(bench: &Bench, mapping: &RawMapping, table: &Table) {
    let message = [7u8; 64];
    for (what, flags) in [("single producer and consumer", SINGLE), ("many to many", 0)] {
        let (producer, consumer) = bench.pair(SMALL, flags);
        let (mut sender, mut receiver) = Ring::<64>::pair(mapping.at(RIVAL), SMALL);
        let (mut buffer, mut other) = ([0u8; 64], [0u8; 64]);
        let comparison = compare(
            |calls| {
                for _ in 0..calls {
                    producer.push(black_box(message.as_ptr()), 64);
                    consumer.pop(black_box(buffer.as_mut_ptr()), 64);
                }
            },
            |calls| {
                for _ in 0..calls {
                    sender.push(black_box(message.as_ptr()), 64);
                    receiver.pop(black_box(other.as_mut_ptr()), 64);
                }
            },
        );
        table.row(what, &comparison, Goal::None);
    }
}

/// Nanoseconds for a message from a thread to another, on a core each.
fn through(messages: u64, mut push: impl FnMut(u64) + Send, mut pop: impl FnMut()) -> f64 {
    let cores = cores_of_machine();
    pin(cores[0]);
    let ready = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(cores[1 % cores.len()]);
            ready.store(true, Ordering::Release);
            (0..messages).for_each(&mut push);
        });
        while !ready.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let start = Instant::now();
        (0..messages).for_each(|_| pop());
        start.elapsed().as_nanos() as f64 / messages as f64
    })
}

fn pairs(rounds: usize, mut ours: impl FnMut() -> f64, mut rival: impl FnMut() -> f64) -> Comparison {
    Comparison::of(&(0..rounds).map(|_| (ours(), rival())).collect::<Vec<_>>())
}

fn ours<const N: usize>(bench: &Bench, capacity: usize, flags: u32, messages: u64) -> f64 {
    let (producer, consumer) = bench.pair(capacity, flags);
    let (mut message, mut buffer) = ([7u8; N], [0u8; N]);
    through(
        messages,
        move |number| {
            message[..8].copy_from_slice(&number.to_le_bytes());
            producer.push(black_box(message.as_ptr()), N);
        },
        || consumer.pop(black_box(buffer.as_mut_ptr()), N),
    )
}

fn theirs<const N: usize>(mapping: &RawMapping, capacity: usize, messages: u64) -> f64 {
    let (mut sender, mut receiver) = Ring::<N>::pair(mapping.at(RIVAL), capacity);
    let (mut message, mut buffer) = ([7u8; N], [0u8; N]);
    through(
        messages,
        move |number| {
            message[..8].copy_from_slice(&number.to_le_bytes());
            sender.push(black_box(message.as_ptr()), N);
        },
        || receiver.pop(black_box(buffer.as_mut_ptr()), N),
    )
}

fn rate<const N: usize>(
    bench: &Bench,
    mapping: &RawMapping,
    table: &Table,
    capacity: usize,
    messages: u64,
    goal: Goal,
) {
    let us = || ours::<N>(bench, capacity, SINGLE, messages);
    let comparison = pairs(61, us, || theirs::<N>(mapping, capacity, messages));
    table.row(&format!("{N} B, the ring, of {} KiB", capacity >> 10), &comparison, goal);
}

/// Messages that are written and read where they lie, in full: the ring's are, too.
fn in_place(bench: &Bench, mapping: &RawMapping, table: &Table, capacity: usize) {
    const N: usize = 4096;
    const MESSAGES: u64 = 4_000;
    let direct = || {
        let (producer, consumer) = bench.pair(capacity, SINGLE);
        let message = [7u8; N];
        through(MESSAGES, move |_| producer.write(black_box(message.as_ptr()), N), || assert_ne!(consumer.read(), 0))
    };
    let rival = || {
        let (mut sender, mut receiver) = Ring::<N>::pair(mapping.at(RIVAL), capacity);
        let message = [7u8; N];
        through(MESSAGES, move |_| sender.push(black_box(message.as_ptr()), N), || assert_ne!(receiver.read(), 0))
    };
    let what = format!("{N} B in place, the ring, of {} KiB", capacity >> 10);
    table.row(&what, &pairs(61, direct, rival), Goal::Time(1e3 / 7.2));
}

/// Both of whose sides take turns by mutex, against the kernel's queue.
fn many(bench: &Bench, table: &Table) {
    const MESSAGES: u64 = 10_000;
    let kernel = PosixQueue::new();
    let rival = || {
        let (message, mut buffer) = ([7u8; 64], [0u8; 64]);
        let kernel = &kernel;
        through(MESSAGES, move |_| kernel.send(&message), || kernel.receive(&mut buffer))
    };
    let comparison = pairs(61, || ours::<64>(bench, SMALL, 0, MESSAGES), rival);
    table.row("64 B, many to many, mq_send(3)", &comparison, Goal::Ratio(1.0 / 3.0));
}

struct PosixQueue(libc::mqd_t);

impl PosixQueue {
    fn new() -> PosixQueue {
        let name = std::ffi::CString::new(format!("/mapshare-bench-{}", std::process::id())).expect("no NUL inside");
        // SAFETY: all zeros is a struct of defaults.
        let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
        (attributes.mq_maxmsg, attributes.mq_msgsize) = (10, 64);
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC;
        // SAFETY: a C string and a whole struct.
        let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw const attributes) };
        assert!(queue >= 0, "mq_open: {}", std::io::Error::last_os_error());
        // SAFETY: a C string.
        unsafe { libc::mq_unlink(name.as_ptr()) };
        PosixQueue(queue)
    }

    fn send(&self, message: &[u8]) {
        // SAFETY: the message has the bytes.
        assert_eq!(unsafe { libc::mq_send(self.0, message.as_ptr().cast(), message.len(), 0) }, 0);
    }

    fn receive(&self, buffer: &mut [u8]) {
        // SAFETY: the buffer has the room.
        let length = unsafe { libc::mq_receive(self.0, buffer.as_mut_ptr().cast(), buffer.len(), null_mut()) };
        assert_eq!(length, 64);
    }
}

impl Drop for PosixQueue {
    fn drop(&mut self) {
        // SAFETY: it was opened in `new`.
        unsafe { libc::mq_close(self.0) };
    }
}

/// Half of each round trip's nanoseconds, sorted.
fn trips(count: usize, mut go: impl FnMut(), mut back: impl FnMut() + Send) -> Vec<f64> {
    let cores = cores_of_machine();
    pin(cores[0]);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(cores[1 % cores.len()]);
            (0..count).for_each(|_| back());
        });
        let trip = |_| {
            let start = Instant::now();
            go();
            start.elapsed().max(Duration::from_nanos(1)).as_nanos() as f64 / 2.0
        };
        let mut times: Vec<f64> = (0..count).map(trip).collect();
        times.sort_by(f64::total_cmp);
        times
    })
}

/// For the way back: another region, and what the rival has of it.
fn another(bench: &Bench) -> (Bench, RawMapping) {
    let file = File::new("/dev/shm", ROOM);
    let options =
        mapshare_options { access: MAPSHARE_READ_WRITE, flags: MAPSHARE_POPULATE, ..mapshare_options::default() };
    (Bench { region: bench.library.open(file.c_path(), &options), ..*bench }, RawMapping::of(&file, ROOM))
}

fn latency(bench: &Bench, mapping: &RawMapping, table: &Table) {
    const COUNT: usize = 4_000;
    let (back_bench, back_mapping) = another(bench);
    let (mut medians, mut tails) = (vec![], vec![]);
    let at = |times: &[f64], share: f64| times[((times.len() - 1) as f64 * share) as usize];
    for _ in 0..41 {
        let ((there, taken), (back, received)) = (bench.pair(SMALL, SINGLE), back_bench.pair(SMALL, SINGLE));
        let (message, mut buffer, mut other) = ([7u8; 64], [0u8; 64], [0u8; 64]);
        let ours = trips(
            COUNT,
            || {
                there.push(message.as_ptr(), 64);
                received.pop(buffer.as_mut_ptr(), 64);
            },
            move || {
                taken.pop(other.as_mut_ptr(), 64);
                back.push(other.as_ptr(), 64);
            },
        );
        let ((mut there, mut taken), (mut back, mut received)) =
            (Ring::<64>::pair(mapping.at(RIVAL), SMALL), Ring::<64>::pair(back_mapping.at(RIVAL), SMALL));
        let theirs = trips(
            COUNT,
            || {
                there.push(message.as_ptr(), 64);
                received.pop(buffer.as_mut_ptr(), 64);
            },
            move || {
                taken.pop(other.as_mut_ptr(), 64);
                back.push(other.as_ptr(), 64);
            },
        );
        medians.push((at(&ours, 0.5), at(&theirs, 0.5)));
        tails.push((at(&ours, 0.99), at(&theirs, 0.99)));
    }
    table.row("median", &Comparison::of(&medians), Goal::Ratio(1.2));
    table.row("99 of 100 are at least as fast", &Comparison::of(&tails), Goal::Ratio(1.5));
    bench.library.unmap(back_bench.region);
}

/// A word that is spun on as long as a queue is, and then slept on.
#[derive(Clone, Copy)]
struct Bare {
    value: *const AtomicU32,
    asleep: *const AtomicU32,
    message: *const AtomicU64,
}
// SAFETY: it is shared memory.
unsafe impl Send for Bare {}

impl Bare {
    fn at(mapping: &RawMapping) -> Bare {
        // SAFETY: the mapping has the bytes, which nobody uses now.
        unsafe { mapping.at(RIVAL).cast::<u8>().write_bytes(0, 128) };
        let at = |offset| mapping.at(RIVAL + offset).cast_const();
        Bare { value: at(0).cast(), asleep: at(64).cast(), message: at(8).cast() }
    }

    #[inline(never)]
    fn post(self, message: u64) {
        // SAFETY: within the mapped bytes.
        let (value, asleep, place) = (unsafe { &*self.value }, unsafe { &*self.asleep }, unsafe { &*self.message });
        place.store(message, Ordering::Relaxed);
        value.fetch_add(1, Ordering::SeqCst);
        if asleep.load(Ordering::SeqCst) != 0 {
            // SAFETY: the word lies in mapped bytes.
            unsafe { libc::syscall(libc::SYS_futex, self.value, libc::FUTEX_WAKE, i32::MAX) };
        }
    }

    #[inline(never)]
    fn wait(self, seen: u32) -> u64 {
        // SAFETY: within the mapped bytes.
        let (value, asleep, place) = (unsafe { &*self.value }, unsafe { &*self.asleep }, unsafe { &*self.message });
        let mut looks = 0;
        while value.load(Ordering::Acquire) == seen {
            if looks < 200 {
                looks += 1;
                std::hint::spin_loop();
                continue;
            }
            asleep.store(1, Ordering::SeqCst);
            // SAFETY: the word lies in mapped bytes.
            unsafe { libc::syscall(libc::SYS_futex, self.value, libc::FUTEX_WAIT, seen, null::<u8>()) };
        }
        asleep.store(0, Ordering::SeqCst);
        place.load(Ordering::Relaxed)
    }
}

/// How long messages are on their way that are the time at which they are sent, longer after the one before than a queue looks
/// before it sleeps: the median, in nanoseconds.
fn while_asleep(mut send: impl FnMut(u64) + Send, mut receive: impl FnMut() -> u64) -> f64 {
    const COUNT: usize = 100;
    const PAUSE: Duration = Duration::from_micros(300);
    let cores = cores_of_machine();
    pin(cores[0]);
    let start = Instant::now();
    let now = move || start.elapsed().as_nanos() as u64;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(cores[1 % cores.len()]);
            for _ in 0..COUNT {
                let begun = Instant::now();
                while begun.elapsed() < PAUSE {
                    std::hint::spin_loop();
                }
                send(now());
            }
        });
        let mut times: Vec<u64> = (0..COUNT).map(|_| receive()).map(|sent| now() - sent).collect();
        times.sort_unstable();
        times[COUNT / 2] as f64
    })
}

fn wake(bench: &Bench, mapping: &RawMapping, table: &Table) {
    let ours = || {
        let (producer, consumer) = bench.pair(SMALL, SINGLE);
        let receive = || {
            let mut message = [0; 8];
            consumer.pop(message.as_mut_ptr(), 8);
            u64::from_le_bytes(message)
        };
        while_asleep(move |message| producer.push(message.to_le_bytes().as_ptr(), 8), receive)
    };
    let rival = || {
        let bare = Bare::at(mapping);
        let numbers = std::cell::Cell::new(0);
        // The whole of it, for the thread that sends.
        let send = move |message| {
            let bare = &bare;
            bare.post(message);
        };
        while_asleep(send, || bare.wait(numbers.replace(numbers.get() + 1)))
    };
    table.row("median", &pairs(31, ours, rival), Goal::Ratio(1.2));
}
