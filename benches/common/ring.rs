//! A ring by hand with the sequence in the slot: the least that a queue can cost. Its messages have one length, and it lives
//! through no death.

use std::ffi::c_void;
use std::hint::black_box;
use std::ptr::copy_nonoverlapping;
use std::sync::atomic::{AtomicU64, Ordering};

/// A slot: the number of the message that it holds.
#[repr(C)]
struct Slot<const N: usize> {
    sequence: AtomicU64,
    bytes: [u8; N],
}

/// One end.
pub(crate) struct Ring<const N: usize> {
    slots: *mut Slot<N>,
    mask: u64,
    /// The consumer's own line, which the producer reads when the ring looks full.
    consumed: *const AtomicU64,
    next: u64,
    seen: u64,
    /// By a pointer, as ours are called: so the compiler, too, learns how long a message is when it comes.
    push: fn(&mut Ring<N>, *const u8, usize),
    pop: fn(&mut Ring<N>, *mut u8, usize),
    read: fn(&mut Ring<N>) -> u64,
}
// SAFETY: it is shared memory.
unsafe impl<const N: usize> Send for Ring<N> {}

impl<const N: usize> Ring<N> {
    /// Both ends of one that takes at least `capacity` bytes in all, and less than twice as many and 128 more, which are
    /// mapped there and which nobody uses now.
    pub(crate) fn pair(at: *mut c_void, capacity: usize) -> (Ring<N>, Ring<N>) {
        let count = (capacity / size_of::<Slot<N>>()).next_power_of_two();
        let slots = at.wrapping_byte_add(128).cast();
        // SAFETY: the caller has mapped them.
        unsafe { at.cast::<u8>().write_bytes(0, 128 + count * size_of::<Slot<N>>()) };
        let ring = || Ring {
            slots,
            mask: count as u64 - 1,
            consumed: at.cast_const().cast(),
            next: 0,
            seen: 0,
            push: black_box(Ring::put),
            pop: black_box(Ring::take),
            read: black_box(Ring::sum),
        };
        (ring(), ring())
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, message: *const u8, length: usize) {
        (self.push)(self, message, length);
    }

    #[inline(always)]
    pub(crate) fn pop(&mut self, buffer: *mut u8, capacity: usize) {
        (self.pop)(self, buffer, capacity);
    }

    /// Waits for a message, and adds up its words where they lie.
    #[inline(always)]
    pub(crate) fn read(&mut self) -> u64 {
        (self.read)(self)
    }

    fn put(&mut self, message: *const u8, length: usize) {
        // SAFETY: within the mapped bytes.
        let consumed = unsafe { &*self.consumed };
        while self.next - self.seen > self.mask {
            self.seen = consumed.load(Ordering::Acquire);
            if self.next - self.seen > self.mask {
                std::hint::spin_loop();
            }
        }
        let slot = self.slots.wrapping_add((self.next & self.mask) as usize);
        // SAFETY: within the mapped bytes.
        let to = unsafe { &raw mut (*slot).bytes };
        // SAFETY: as above; the consumer has passed the slot.
        unsafe { copy_nonoverlapping(message, to.cast(), length.min(N)) };
        self.next += 1;
        // SAFETY: as above.
        unsafe { &(*slot).sequence }.store(self.next, Ordering::Release);
    }

    fn take(&mut self, buffer: *mut u8, capacity: usize) {
        let from = self.next_message();
        // SAFETY: within the mapped bytes; the producer has committed the slot.
        unsafe { copy_nonoverlapping(from, buffer, capacity.min(N)) };
        self.pass();
    }

    fn sum(&mut self) -> u64 {
        let words = self.next_message().cast::<u64>();
        // SAFETY: as in `take`; slots are as aligned as words.
        let sum = (0..N / 8).map(|at| unsafe { words.wrapping_add(at).read() }).fold(0, u64::wrapping_add);
        self.pass();
        sum
    }

    #[inline(always)]
    fn next_message(&self) -> *const u8 {
        let slot = self.slots.wrapping_add((self.next & self.mask) as usize);
        // SAFETY: within the mapped bytes.
        let sequence = unsafe { &(*slot).sequence };
        while sequence.load(Ordering::Acquire) != self.next + 1 {
            std::hint::spin_loop();
        }
        // SAFETY: as above.
        unsafe { &raw const (*slot).bytes }.cast()
    }

    #[inline(always)]
    fn pass(&mut self) {
        self.next += 1;
        // SAFETY: within the mapped bytes.
        unsafe { &*self.consumed }.store(self.next, Ordering::Release);
    }
}
