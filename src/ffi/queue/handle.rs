//! What a queue's handle stands for, and the ways to it: the shortest one, the one of those who take turns, and the one of
//! those who wait.

use super::mapshare_queue;
use crate::error::{Error, Result};
use crate::ffi::open;
use crate::ffi::table::{Entered, Table};
use crate::ffi::token::{Kind, Token};
use crate::mem::hazard::Caller;
use crate::mem::one_user::{InUse, OneUser};
use crate::{Consumer, Producer};

/// What a handle stands for.
pub(super) enum Member {
    Producer(Producer),
    Consumer(Consumer),
}

impl Kind for OneUser<Member> {
    const KIND: u8 = 0x71;
    const PLACE: usize = 1;
}

/// Where a thread remembers the consumer that it has used last; the producer is remembered in the place of its kind.
const CONSUMERS_PLACE: usize = 2;

/// All open handles.
pub(super) static QUEUES: Table<OneUser<Member>> = Table::new();

/// Runs `act` on the member that a caller means, if nothing is in the way; None if there is, or if `act` says so. Without
/// `LOCKS` it is the shortest way: that of the thread that is at home in the handle.
#[inline(always)]
fn at_once<const LOCKS: bool, R>(
    place: usize,
    queue: *mut mapshare_queue,
    act: impl FnOnce(&mut Member, Caller) -> Option<R>,
) -> Option<R> {
    let entered = QUEUES.enter_at_once(place, Token::from_handle(queue))?;
    let hazard = entered.hazard();
    // SAFETY: a handle's users all come by its token, which `enter_at_once` has published in the thread's first cell.
    let at_home = unsafe { entered.use_at_home(hazard) };
    let mut in_use: InUse<Member> = if LOCKS { at_home.or_else(|| entered.visit_at_once(hazard)) } else { at_home }?;
    act(&mut in_use, hazard.caller)
}

#[inline(always)]
pub(super) fn producer_at_once<const LOCKS: bool, R>(
    queue: *mut mapshare_queue,
    act: impl FnOnce(&mut Producer, Caller) -> Option<R>,
) -> Option<R> {
    at_once::<LOCKS, R>(OneUser::<Member>::PLACE, queue, |member, caller| match member {
        Member::Producer(producer) => act(producer, caller),
        Member::Consumer(_) => None,
    })
}

#[inline(always)]
pub(super) fn consumer_at_once<const LOCKS: bool, R>(
    queue: *mut mapshare_queue,
    act: impl FnOnce(&mut Consumer, Caller) -> Option<R>,
) -> Option<R> {
    at_once::<LOCKS, R>(CONSUMERS_PLACE, queue, |member, caller| match member {
        Member::Consumer(consumer) => act(consumer, caller),
        Member::Producer(_) => None,
    })
}

/// Runs `act` on the member that a caller means, for this call alone.
pub(super) fn with<R>(queue: *mut mapshare_queue, act: impl FnOnce(&mut Member) -> Result<R>) -> Result<R> {
    let token = Token::from_handle(queue);
    let entered: Entered<OneUser<Member>> =
        QUEUES.enter(token).map_err(|refused| open::refusal(refused, token, "queue handle"))?;
    // SAFETY: a handle's users all come by its token, which `enter` has published.
    let in_use: Option<InUse<Member>> = unsafe { entered.use_now(entered.hazard()) };
    act(&mut *in_use.ok_or(Error::InUse { kind: "queue handle" })?)
}

pub(super) fn producer<R>(queue: *mut mapshare_queue, act: impl FnOnce(&mut Producer) -> Result<R>) -> Result<R> {
    with(queue, |member| match member {
        Member::Producer(producer) => act(producer),
        Member::Consumer(_) => Err(Error::Contradiction("the handle is a consumer's; open one as MAPSHARE_PRODUCER")),
    })
}

pub(super) fn consumer<R>(queue: *mut mapshare_queue, act: impl FnOnce(&mut Consumer) -> Result<R>) -> Result<R> {
    with(queue, |member| match member {
        Member::Consumer(consumer) => act(consumer),
        Member::Producer(_) => Err(Error::Contradiction("the handle is a producer's; open one as MAPSHARE_CONSUMER")),
    })
}
