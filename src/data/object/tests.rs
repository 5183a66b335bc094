//! A head that is another one at each look: those who would make the object give up.

use super::super::failure::Failure;
use super::super::memory::{Fault, Liveness, Memory, Woken};
use super::{Identity, Kind};
use crate::error::Problem;
use crate::mem::atomic::Ordering;
use crate::mem::buffer::{Destination, Source};
use crate::mem::layout::{CELL_HEAD, INITIALISING};
use std::cell::Cell;

type Result<T> = core::result::Result<T, Fault>;

/// Its head says that somebody is making an object who is dead, another one each time.
struct Restless {
    looks: Cell<u64>,
}

impl Memory for Restless {
    const IS_PATIENT: bool = true;

    fn length(&self) -> u64 {
        1 << 20
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn load_u32(&self, _: u64, _: Ordering) -> Result<u32> {
        Ok(0)
    }

    fn load_u64(&self, _: u64, _: Ordering) -> Result<u64> {
        self.looks.set(self.looks.get() + 1);
        Ok(INITIALISING | self.looks.get())
    }

    fn store_u32(&self, _: u64, _: u32, _: Ordering) -> Result<()> {
        Err(Fault)
    }

    fn store_u64(&self, _: u64, _: u64, _: Ordering) -> Result<()> {
        Err(Fault)
    }

    fn compare_swap_u32(&self, _: u64, expected: u32, _: u32) -> Result<u32> {
        Ok(expected + 1)
    }

    fn compare_swap_u64(&self, _: u64, expected: u64, _: u64) -> Result<u64> {
        Ok(expected + 1)
    }

    fn copy_in(&self, _: u64, _: Source) -> Result<()> {
        Err(Fault)
    }

    fn copy_out(&self, _: u64, _: Destination) -> Result<()> {
        Err(Fault)
    }

    fn zero(&self, _: u64, _: u64) -> Result<()> {
        Err(Fault)
    }

    fn check(&self, _: u64, _: u64) -> Result<()> {
        Ok(())
    }

    fn fence(&self, _: Ordering) {}

    fn light_fence(&self) {}

    fn heavy_fence(&self) {}

    fn pause(&self) {}

    /// A microsecond for each look.
    fn now(&self) -> u64 {
        1000 * self.looks.get()
    }

    fn wait(&self, _: u64, _: u32, _: u64) -> Result<Woken> {
        Ok(Woken::Awake)
    }

    fn wake(&self, _: u64) -> Result<()> {
        Ok(())
    }
}

impl Liveness for Restless {
    fn me(&self) -> u32 {
        7
    }

    fn is_alive(&self, _: u32) -> Result<bool> {
        Ok(false)
    }
}

#[test]
fn one_who_always_comes_too_late_gives_up_when_patience_is_over() {
    let memory = Restless { looks: Cell::new(0) };
    let made = Kind(CELL_HEAD).create(&memory, 128, Identity { length: 8, options: 16 }, || Ok(()));
    assert_eq!(made, Err(Failure::Is(Problem::Making)));
    assert!(memory.looks.get() <= 1 + super::PATIENCE_NS / 1000);
}
