//! Handles: tokens that look like pointers, are never dereferenced, and are checked in every call.
//!
//! A token is (kind, generation, slot) in 64 bits. A slot's generation counts up when its object is removed, so that
//! old tokens are told from new ones; a slot whose generations are used up is not used again. The kind in the top
//! byte makes it an address that no program can dereference.

use crate::error::{Error, Result};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What a caller holds for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(u64);

const KIND_SHIFT: u32 = 56;
const GENERATION_SHIFT: u32 = 24;
const SLOTS: u64 = 1 << GENERATION_SHIFT;
const GENERATIONS: u64 = 1 << (KIND_SHIFT - GENERATION_SHIFT);

impl Token {
    pub(super) fn from_pointer<T>(pointer: *const T) -> Token {
        Token(pointer.addr() as u64)
    }

    fn slot(self) -> u64 {
        self.0 % SLOTS
    }

    pub(super) fn to_pointer<T>(self) -> *mut T {
        std::ptr::without_provenance_mut(self.0 as usize)
    }
}

/// All objects of one kind.
pub(super) struct Table<T: 'static> {
    kind: u8,
    /// What sentences call such an object.
    name: &'static str,
    slots: RwLock<Vec<&'static Slot<T>>>,
    free: Mutex<Vec<u64>>,
}

type Slot<T> = RwLock<State<T>>;

struct State<T> {
    generation: u64,
    object: Option<T>,
}

/// An object in use by a call; it is not removed meanwhile.
pub(super) struct Entered<T: 'static>(RwLockReadGuard<'static, State<T>>);

/// An object that no other call uses.
pub(super) struct Exclusive<'a, T: 'static> {
    table: &'a Table<T>,
    slot: u64,
    state: RwLockWriteGuard<'static, State<T>>,
}

impl<T> Table<T> {
    pub(super) const fn new(kind: u8, name: &'static str) -> Table<T> {
        Table { kind, name, slots: RwLock::new(Vec::new()), free: Mutex::new(Vec::new()) }
    }

    /// Takes an object in and gives the token that stands for it.
    pub(super) fn insert(&self, object: T) -> Result<Token> {
        let slot = match self.free().pop() {
            Some(slot) => slot,
            None => self.add_slot()?,
        };
        let Some(state) = self.slot(slot) else { return Err(Error::Internal) };
        let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
        state.object = Some(object);
        Ok(Token(u64::from(self.kind) << KIND_SHIFT | state.generation << GENERATION_SHIFT | slot))
    }

    /// The token's object, for a call that bears others at the same time; EBADF when there is none.
    pub(super) fn enter(&self, token: Token) -> Result<Entered<T>> {
        let slot = self.slot_of(token).ok_or_else(|| self.stale(token))?;
        let state = slot.read().unwrap_or_else(PoisonError::into_inner);
        if !state.is(token) {
            return Err(self.stale(token));
        }
        Ok(Entered(state))
    }

    /// The objects of two tokens; None for the second where it is the first. Entered in the order of their slots, so
    /// that calls on the same two never wait for each other.
    pub(super) fn enter_both(&self, first: Token, second: Token) -> Result<(Entered<T>, Option<Entered<T>>)> {
        if first == second {
            return Ok((self.enter(first)?, None));
        }
        if first.slot() < second.slot() {
            let entered = self.enter(first)?;
            return Ok((entered, Some(self.enter(second)?)));
        }
        let entered = self.enter(second)?;
        Ok((self.enter(first)?, Some(entered)))
    }

    /// The token's object alone: waits for the calls in flight, and those that come wait for it.
    pub(super) fn exclusive(&self, token: Token) -> Result<Exclusive<'_, T>> {
        let slot = self.slot_of(token).ok_or_else(|| self.stale(token))?;
        let state = slot.write().unwrap_or_else(PoisonError::into_inner);
        if !state.is(token) {
            return Err(self.stale(token));
        }
        Ok(Exclusive { table: self, slot: token.slot(), state })
    }

    fn slot_of(&self, token: Token) -> Option<&'static Slot<T>> {
        if token.0 >> KIND_SHIFT != u64::from(self.kind) {
            return None;
        }
        self.slot(token.slot())
    }

    fn slot(&self, slot: u64) -> Option<&'static Slot<T>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(slot as usize).copied()
    }

    /// Slots are never freed: a late call may still look at one.
    fn add_slot(&self) -> Result<u64> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.len() as u64;
        if slot == SLOTS {
            return Err(Error::NoMemory { length: 1, place: "in the table of open objects; close some" });
        }
        slots.push(Box::leak(Box::new(RwLock::new(State { generation: 1, object: None }))));
        Ok(slot)
    }

    fn free(&self) -> MutexGuard<'_, Vec<u64>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stale(&self, token: Token) -> Error {
        Error::StaleToken { token: token.0, kind: self.name }
    }
}

impl<T> State<T> {
    fn is(&self, token: Token) -> bool {
        self.object.is_some() && token.0 >> GENERATION_SHIFT & (GENERATIONS - 1) == self.generation
    }
}

impl<T> Deref for Entered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.object.as_ref().expect("enter has found it")
    }
}

impl<T> Exclusive<'_, T> {
    /// Takes the object out; its token is stale from now on.
    pub(super) fn remove(mut self) -> Option<T> {
        let object = self.state.object.take();
        self.state.generation += 1;
        if self.state.generation < GENERATIONS {
            drop(self.state);
            self.table.free().push(self.slot);
        }
        object
    }
}

impl<T> Deref for Exclusive<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.state.object.as_ref().expect("exclusive has found it")
    }
}

impl<T> DerefMut for Exclusive<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.state.object.as_mut().expect("exclusive has found it")
    }
}
