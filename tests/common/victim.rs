//! One who uses an object in a region whatever stands there, and expects answers, or the codes that may be; in time; and
//! that nothing beside the object is touched.

use super::cells::{Handle, cell_bytes, queue_bytes};
use super::doors::{Door, Opened, Outcome};
use super::random::Random;
use super::{mapshare_options, page};
use libc::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

/// By when a call is back at the latest: what each function may take by itself (a second and some fifths), and as long
/// as a busy machine may make of that.
const LATEST: Duration = Duration::from_secs(6);
/// What stands beside the object.
const BESIDE: u8 = 0xA5;

/// What may come of a call on an object in which anything may stand, beside success.
const CODES: [(&str, &[i32]); 19] = [
    ("mutex_init", &[EEXIST, EBADMSG, EPROTONOSUPPORT, EBUSY]),
    ("mutex_lock", &[ETIMEDOUT, EBADMSG, EPROTONOSUPPORT]),
    ("mutex_recover", &[EPERM, EBADMSG, EPROTONOSUPPORT]),
    ("mutex_unlock", &[EPERM, EBADMSG, EPROTONOSUPPORT]),
    ("mutex_owner", &[EBADMSG, EPROTONOSUPPORT]),
    ("cell_init", &[EEXIST, EBADMSG, EPROTONOSUPPORT, EBUSY]),
    ("cell_publish", &[EINVAL, ERANGE, ETIMEDOUT, EBADMSG, EPROTONOSUPPORT, EBUSY]),
    ("cell_read", &[EINVAL, ERANGE, EAGAIN, EBADMSG, EPROTONOSUPPORT, EBUSY]),
    ("cell_wait", &[ERANGE, ETIMEDOUT, EBADMSG, EPROTONOSUPPORT, EBUSY]),
    ("queue_init", &[EEXIST, EBADMSG, EPROTONOSUPPORT, EBUSY]),
    ("queue_open", &[ERANGE, EBADMSG, EPROTONOSUPPORT, EBUSY]),
    ("queue_push", &[ETIMEDOUT, EPIPE, EMSGSIZE, EBADMSG]),
    ("queue_reserve", &[ETIMEDOUT, EPIPE, EMSGSIZE, EBADMSG]),
    ("queue_pop", &[ETIMEDOUT, EPIPE, EMSGSIZE, EBADMSG]),
    ("queue_peek", &[ETIMEDOUT, EPIPE, EBADMSG]),
    ("queue_end", &[ETIMEDOUT, EBADMSG]),
    ("queue_info", &[EBADMSG]),
    // None: what they undo is the handle's own.
    ("queue_commit, queue_consume", &[EBADMSG]),
    ("queue_cancel, queue_close", &[]),
];

/// The codes that a function may give, whatever stands in the object.
pub(crate) fn codes(function: &str) -> &'static [i32] {
    let found = CODES.iter().find(|(names, _)| names.split(", ").any(|name| name == function));
    found.unwrap_or_else(|| panic!("{function} has its codes in the list")).1
}

/// The functions and their codes.
pub(crate) fn all_codes() -> impl Iterator<Item = (&'static str, &'static [i32])> {
    CODES.iter().flat_map(|(names, codes)| names.split(", ").map(move |name| (name, *codes)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mutex,
    /// Of values that have so many bytes.
    Cell(u64),
    /// Of that capacity, with these flags.
    Queue(u64, u32),
}

/// Where the object stands in its region, which has a page more than that takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Front,
    Back,
}

impl Kind {
    /// The bytes it takes.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Kind::Mutex => 64,
            Kind::Cell(length) => cell_bytes(length),
            Kind::Queue(capacity, _) => queue_bytes(capacity),
        }
    }

    /// The bytes of a region for it.
    pub(crate) fn region(self) -> u64 {
        self.bytes().next_multiple_of(page()) + page()
    }

    pub(crate) fn offset(self, place: Place) -> u64 {
        match place {
            Place::Front => 0,
            Place::Back => self.region() - self.bytes(),
        }
    }

    fn init(self, region: &Opened, offset: u64) -> (&'static str, Outcome) {
        match self {
            Kind::Mutex => ("mutex_init", region.init_mutex(offset)),
            Kind::Cell(length) => ("cell_init", region.init_cell(offset, length)),
            Kind::Queue(capacity, flags) => ("queue_init", region.init_queue(offset, capacity, flags)),
        }
    }
}

/// Opens a region that stands between pages which cannot be touched; its first byte's address.
fn open_fenced(door: Door, path: &Path, options: &mapshare_options) -> (Opened, usize) {
    let (page, length) = (page() as usize, options.length as usize);
    let mut others = Vec::new();
    for _ in 0..100 {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        // SAFETY: a new mapping, where the kernel likes.
        let fence = unsafe { mmap(std::ptr::null_mut(), length + 2 * page, PROT_NONE, flags, -1, 0) };
        assert_ne!(fence, MAP_FAILED);
        // SAFETY: the inner pages of what was mapped just now: a hole between fences.
        assert_eq!(unsafe { munmap(fence.wrapping_byte_add(page), length) }, 0);
        let mut region = door.open(path, options).expect("good");
        let first = region.view(0, region.length()).expect("good");
        region.release(first);
        if is_fence(first.addr() - page) && is_fence(first.addr() + length) {
            return (region, first.addr());
        }
        // It has filled another hole, so that the next comes to stand elsewhere.
        others.push(region);
    }
    panic!("no region comes to stand between the fences");
}

/// Whether nobody can touch the page at an address, and nothing else will come to stand there.
fn is_fence(address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("good");
    let has_it = |line: &&str| {
        let (start, rest) = line.split_once('-').expect("a range");
        let (end, _) = rest.split_once(' ').expect("a range");
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).expect("a number"));
        (start..end).contains(&address)
    };
    maps.lines().find(has_it).is_some_and(|line| line.contains(" ---p "))
}

/// The one who uses it.
pub(crate) struct Victim {
    pub(crate) region: Opened,
    pub(crate) kind: Kind,
    pub(crate) offset: u64,
    /// The object's addresses.
    addresses: Range<usize>,
    random: Random,
    members: [Option<Handle>; 2],
    /// How often each function gave each code.
    pub(crate) counts: BTreeMap<(&'static str, i32), u64>,
}

impl Victim {
    /// Opens the file, which may be longer than the region, and makes the object.
    pub(crate) fn new(door: Door, path: &Path, kind: Kind, place: Place, random: Random) -> Victim {
        let options = super::create(kind.region());
        let (region, first) = open_fenced(door, path, &options);
        let offset = kind.offset(place);
        let start = first + offset as usize;
        let addresses = start..start + kind.bytes() as usize;
        let victim = Victim { region, kind, offset, addresses, random, members: [None, None], counts: BTreeMap::new() };
        victim.region.fill(0, kind.region(), BESIDE).expect("good");
        victim.zero();
        victim.kind.init(&victim.region, offset).1.expect("good");
        victim
    }

    /// The address of the object's first byte.
    pub(crate) fn address(&self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.addresses.start)
    }

    pub(crate) fn zero(&self) {
        self.region.fill(self.offset, self.kind.bytes(), 0).expect("good");
    }

    /// What a lock's word says when this thread holds it.
    pub(crate) fn holder(&self) -> u64 {
        self.zero();
        self.region.init_mutex(self.offset).expect("good");
        self.region.lock(self.offset, 0).expect("good");
        let word = self.region.bytes(self.offset + 8, 8);
        self.region.unlock(self.offset).expect("good");
        self.zero();
        self.kind.init(&self.region, self.offset).1.expect("good");
        u64::from_le_bytes(word.try_into().expect("8 bytes"))
    }

    /// What a call has given, if it was a good one.
    #[track_caller]
    fn checked<T>(&mut self, function: &'static str, begun: Instant, outcome: Outcome<T>) -> Option<T> {
        let took = begun.elapsed();
        let code = outcome.as_ref().err().map_or(0, |failure| failure.code);
        *self.counts.entry((function, code)).or_default() += 1;
        assert!(took < LATEST, "{function} took {took:?} and gave {code}");
        match outcome {
            Ok(value) => Some(value),
            Err(failure) if codes(function).contains(&failure.code) => None,
            Err(failure) => panic!("{function} gave {}, which it may not: {}", failure.code, failure.text),
        }
    }

    #[track_caller]
    fn call<T>(&mut self, function: &'static str, call: impl FnOnce(&Opened, u64) -> Outcome<T>) -> Option<T> {
        let begun = Instant::now();
        let outcome = call(&self.region, self.offset);
        self.checked(function, begun, outcome)
    }

    /// A call on the handle of a member, which there is.
    #[track_caller]
    fn member<T>(
        &mut self,
        member: usize,
        function: &'static str,
        call: impl FnOnce(&mut Handle) -> Outcome<T>,
    ) -> Option<T> {
        let begun = Instant::now();
        let outcome = call(self.members[member].as_mut().expect("it is open"));
        self.checked(function, begun, outcome)
    }

    /// Makes it anew, now and then.
    pub(crate) fn init(&mut self) {
        if self.random.once_in(2) {
            self.zero();
        }
        let begun = Instant::now();
        let (function, outcome) = self.kind.init(&self.region, self.offset);
        self.checked(function, begun, outcome);
    }

    /// Calls all functions, with waits of so long at the most.
    pub(crate) fn round(&mut self, timeout_ns: i64) {
        match self.kind {
            Kind::Mutex => self.use_mutex(timeout_ns),
            Kind::Cell(length) => self.use_cell(length as usize, timeout_ns),
            Kind::Queue(capacity, _) => {
                self.produce(capacity, timeout_ns);
                self.consume(timeout_ns);
            }
        }
        if self.random.once_in(30) {
            self.init();
        }
    }

    fn use_mutex(&mut self, timeout_ns: i64) {
        self.call("mutex_recover", Opened::recover);
        if self.call("mutex_lock", |region, at| region.lock(at, timeout_ns)) == Some(true) {
            self.call("mutex_recover", Opened::recover);
        }
        self.call("mutex_owner", Opened::owner);
        // Whatever becomes of it, this thread has the lock no more.
        self.call("mutex_unlock", Opened::unlock);
    }

    fn use_cell(&mut self, length: usize, timeout_ns: i64) {
        let value = vec![self.random.next() as u8; length];
        self.call("cell_publish", |region, at| region.publish(at, &value));
        let version = self.call("cell_read", |region, at| region.read_cell(at, length)).map(|(version, _)| version);
        let seen = if self.random.once_in(2) { version.unwrap_or(0) } else { self.random.next() };
        self.call("cell_wait", |region, at| region.wait_cell(at, seen, timeout_ns));
    }

    /// Opens a member, unless it is open from before; whether it is.
    fn open(&mut self, member: usize) -> bool {
        if self.members[member].is_none() {
            let role = [1, 2][member];
            self.members[member] = self.call("queue_open", |region, at| region.queue(at, role));
        }
        self.members[member].is_some()
    }

    /// What both members do at the end of a round.
    fn leave(&mut self, member: usize) {
        if let Some(state) = self.member(member, "queue_info", Handle::info) {
            let room = self.kind.bytes() - 512;
            assert!(
                state.bytes <= room && state.messages <= room / 8 && state.capacity < room,
                "more than there is room"
            );
            assert!(state.producers <= 16 && state.consumers <= 16);
        }
        if self.random.once_in(4)
            && let Some(handle) = self.members[member].take()
        {
            let begun = Instant::now();
            let closed = handle.close();
            self.checked("queue_close", begun, closed);
        }
    }

    /// Bytes that may be used by their address lie in the object's ring.
    #[track_caller]
    fn check_inside(&self, address: usize, length: u64) {
        let first = self.addresses.start + 512 + 8;
        let end = address.checked_add(length as usize).expect("it does not overflow");
        assert!(address >= first && end <= self.addresses.end, "{address:#x}, {length} in {:x?}", self.addresses);
        assert!(address.is_multiple_of(8));
    }

    fn produce(&mut self, capacity: u64, timeout_ns: i64) {
        if !self.open(0) {
            return;
        }
        for _ in 0..2 {
            let longest = if self.random.once_in(3) { capacity } else { capacity / 4 };
            let length = self.random.below(longest + 1) as usize;
            let message = vec![self.random.next() as u8; length];
            self.member(0, "queue_push", |producer| producer.push(&message, timeout_ns));
            if let Some(address) = self.member(0, "queue_reserve", |producer| producer.reserve(length, timeout_ns)) {
                self.check_inside(address.addr(), length as u64);
                // SAFETY: these bytes are ours until the commit.
                unsafe { address.write_bytes(0x5A, length) };
                let done = match self.random.below(4) {
                    0 => None,
                    part => self.member(0, "queue_commit", |producer| producer.commit(length / part as usize)),
                };
                if done.is_none() {
                    self.member(0, "queue_cancel", Handle::cancel);
                }
            }
        }
        if self.random.once_in(40) {
            self.member(0, "queue_end", Handle::end);
        }
        self.leave(0);
    }

    fn consume(&mut self, timeout_ns: i64) {
        if !self.open(1) {
            return;
        }
        for _ in 0..2 {
            let room = self.random.below(300) as usize;
            self.member(1, "queue_pop", |consumer| consumer.pop_up_to(room, timeout_ns));
            if let Some((address, length)) = self.member(1, "queue_peek", |consumer| consumer.peek(timeout_ns)) {
                self.check_inside(address.addr(), length);
                for at in 0..length as usize {
                    // SAFETY: these bytes may be read until they are consumed, and others may write them meanwhile.
                    unsafe { address.wrapping_add(at).read_volatile() };
                }
                let done = match self.random.below(4) {
                    0 => None,
                    _ => self.member(1, "queue_consume", Handle::consume),
                };
                if done.is_none() {
                    self.member(1, "queue_cancel", Handle::cancel);
                }
            }
        }
        self.leave(1);
    }

    /// Whether the bytes beside the object are as they were.
    #[track_caller]
    pub(crate) fn check_beside(&self) {
        let bytes = self.region.bytes(0, self.kind.region() as usize);
        let object = self.offset as usize..self.offset as usize + self.kind.bytes() as usize;
        for at in (0..bytes.len()).filter(|at| !object.contains(at)) {
            assert_eq!(bytes[at], BESIDE, "{:?}: byte {at}, beside {object:?}", self.kind);
        }
    }

    /// Lets go of everything, and makes the object anew; what is done next at random, the seed tells.
    pub(crate) fn begin_anew(&mut self, seed: u64) {
        for handle in std::mem::take(&mut self.members).into_iter().flatten() {
            let begun = Instant::now();
            let closed = handle.close();
            self.checked("queue_close", begun, closed);
        }
        self.random = Random::new(seed);
        self.zero();
        self.kind.init(&self.region, self.offset).1.expect("good");
    }

    /// Once nobody writes there any more: nothing is left of all that, and the object can be made anew.
    pub(crate) fn end(mut self) -> BTreeMap<(&'static str, i32), u64> {
        self.check_beside();
        self.begin_anew(0);
        match self.kind {
            Kind::Mutex => {
                assert_eq!(self.region.lock(self.offset, 0), Ok(false));
                self.region.unlock(self.offset).expect("good");
            }
            Kind::Cell(length) => {
                let value = vec![7; length as usize];
                self.region.publish(self.offset, &value).expect("good");
                assert_eq!(self.region.read_cell(self.offset, value.len()), Ok((1, value)));
            }
            Kind::Queue(..) => {
                let mut producer = self.region.producer(self.offset).expect("good");
                let mut consumer = self.region.consumer(self.offset).expect("good");
                producer.push(&[7], 0).expect("good");
                assert_eq!(consumer.pop(0), Ok(vec![7]));
                let state = consumer.info().expect("good");
                assert_eq!((state.pushed, state.popped, state.producers, state.consumers), (1, 1, 1, 1));
                producer.close().expect("good");
                consumer.close().expect("good");
            }
        }
        if let Opened::C { token, .. } = &self.region {
            token.unmap().expect("no lock, handle or view is out");
        }
        self.counts
    }
}
