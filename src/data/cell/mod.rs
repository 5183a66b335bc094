//! The latest value: one or more writers, any number of readers, and nobody ever blocks a reader.
//!
//! Decision: the version alone tells both where the value stands and whether it was overwritten while it was read.
//! Version v stands in slot v modulo the slots, and a writer begins on that slot again only after version
//! v + slots - 1 was published. So a slot has no word of its own, and a value of 64 bytes is one line.
//!
//! Decision: writers take turns by a lock, in a line that readers do not look at. What it guards is whole at every
//! instant, since the value changes by the one store of the version. A writer who dies leaves a half-written slot that
//! nobody reads.
//!
//! | step of publish | what a kill here leaves behind |
//! | --- | --- |
//! | the lock is taken | a lock of the dead: the next writer takes it over |
//! | bytes are copied into the next slot | the old value; the next writer writes the same slot |
//! | the version is stored | the new value; sleepers find it at their next look |
//! | the lock is given back | the new value |

mod protocol;

use super::place::{AtOnce, InRegion, check_alignment};
use crate::error::{Error, Result};
use crate::mem::buffer::{Copying, Destination, Source};
use crate::mem::hazard::Caller;
use crate::mem::layout;
use crate::mem::word::Words;
use protocol::Shape;
use protocol::Slots;
use std::time::Duration;

const KIND: &str = "cell";
const OBJECT: &str = "a cell";
/// So long a writer waits for another that lives; to publish takes less than a microsecond beside its copy.
const PATIENCE: Duration = Duration::from_secs(1);

/// The last value that anyone published, in a region: at a multiple of 64. Readers always get a whole one.
#[derive(Clone, Copy)]
pub struct Cell<'a> {
    words: Words<'a>,
}

impl<'a> Cell<'a> {
    /// What it stands at a multiple of.
    pub(crate) const ALIGNMENT: u64 = super::place::ALIGNMENT;
    /// Of a value that is known to have no more bytes, the compiler knows where each of the cell's bytes stands.
    pub(crate) const LINE: usize = protocol::LINE as usize;
    /// Its first bytes, which tell how many there are in all.
    pub const HEADER: u64 = layout::cell::SLOTS;

    /// EINVAL: no cell can begin at this offset.
    pub(crate) fn check_offset(offset: u64) -> Result<()> {
        check_alignment(offset, OBJECT)
    }

    /// How many bytes a cell takes whose values have `value_length`.
    ///
    /// # Errors
    /// EINVAL: 0. ERANGE: more than 2^56.
    pub fn footprint(value_length: u64) -> Result<u64> {
        protocol::footprint(value_length).ok_or(Error::NoSuchSize { kind: KIND, length: value_length })
    }

    /// Makes a cell of bytes whose first 128 are zeros: version 0, a value of zeros.
    ///
    /// # Errors
    /// EEXIST: it is one already. EBADMSG: other bytes than zeros stand there. EPROTONOSUPPORT: a cell of another
    /// version. EINVAL: not at a multiple of 64; the region is copy-on-write. EACCES: the region is read-only. ERANGE:
    /// the words are fewer than its footprint. EBUSY: another process is making it and does not get on.
    pub fn init(words: Words<'a>, value_length: u64) -> Result<()> {
        Cell::footprint(value_length)?;
        let place = InRegion::new(words, KIND, OBJECT)?;
        place.check_writable("making a cell")?;
        place.join()?;
        place.told(protocol::init(&place, value_length))
    }

    /// How many bytes the cell takes whose first bytes these are.
    ///
    /// # Errors
    /// As `at`.
    pub fn length_at(words: Words<'a>) -> Result<u64> {
        let place = InRegion::new(words, KIND, OBJECT)?;
        Ok(place.told(Shape::read(&place))?.bytes)
    }

    /// The cell that stands there.
    ///
    /// # Errors
    /// EBADMSG: none does, or it is damaged. EPROTONOSUPPORT: one of another version. EINVAL: not at a multiple of 64; the
    /// region is copy-on-write. ERANGE: the words are fewer than its footprint.
    pub fn at(words: Words<'a>) -> Result<Cell<'a>> {
        let place = InRegion::new(words, KIND, OBJECT)?;
        place.told(Slots::attach(&place))?;
        Ok(Cell { words })
    }

    /// Makes this the last value, and gives its version, from 1.
    ///
    /// # Errors
    /// EINVAL: another length than the cell's. EACCES: the region is read-only. ETIMEDOUT: another writer that lives has
    /// been publishing for a second. EINTR: a signal handler ran meanwhile. EDEADLK: this is one, and has interrupted this
    /// thread's publishing here. ENXIO, ENOSPC, EIO: as an atomic.
    pub fn publish(&self, value: &[u8]) -> Result<u64> {
        self.publish_from(value.into())
    }

    pub(crate) fn publish_from(&self, value: Source) -> Result<u64> {
        let place = InRegion::new(self.words, KIND, OBJECT)?;
        place.check_writable("publishing")?;
        place.join()?;
        place.told(Slots::attach(&place).and_then(|slots| slots.publish(value, Some(PATIENCE))))
    }

    /// The shape of the cells that are made for values of such a length.
    #[inline(always)]
    pub(crate) fn shape_for(value_length: usize) -> Option<Shape> {
        Shape::of(value_length as u64)
    }

    /// `at` and `publish_from`, if these words, as many as `shape` says, are such a cell, and nothing at all is in the way;
    /// otherwise it is to be done by those.
    #[inline(always)]
    pub(crate) fn publish_at_once(
        words: Words<'a>,
        shape: Shape,
        value: Source,
        copying: Copying,
        caller: Caller,
    ) -> bool {
        let Some(place) = AtOnce::<_, true>::find(words, copying, caller) else { return false };
        let Some(slots) = Slots::of_shape(shape, &place) else { return false };
        words.is_writable() && slots.publish(value, None).is_ok() && place.has_stayed_intact()
    }

    /// Copies the last value out and gives its version; zeros and 0 when nothing was ever published.
    ///
    /// # Errors
    /// EINVAL: another length than the cell's. EAGAIN: writers overwrote it 64 times while it was read. ENXIO, ENOSPC,
    /// EIO: as an atomic.
    pub fn read(&self, value: &mut [u8]) -> Result<u64> {
        self.read_into(value.into())
    }

    pub(crate) fn read_into(&self, value: Destination) -> Result<u64> {
        let place = InRegion::new(self.words, KIND, OBJECT)?;
        place.told(Slots::attach(&place).and_then(|slots| slots.read(value)))
    }

    /// `at` and `read_into`, as `publish_at_once`.
    #[inline(always)]
    pub(crate) fn read_at_once(
        words: Words<'a>,
        shape: Shape,
        value: Destination,
        copying: Copying,
        caller: Caller,
    ) -> Option<u64> {
        let place = AtOnce::<_, false>::find(words, copying, caller)?;
        let slots = Slots::of_shape(shape, &place)?;
        slots.read(value).ok().filter(|_| place.has_stayed_intact())
    }

    /// Sleeps until a version after `seen` is out, and gives it. None as the timeout stands for ever; with a timeout of
    /// zero it only looks. Through a read-only region it looks every 5 ms.
    ///
    /// # Errors
    /// ETIMEDOUT: the time has passed. EINTR: a signal handler ran. ENXIO, ENOSPC, EIO: as an atomic.
    pub fn wait(&self, seen: u64, timeout: Option<Duration>) -> Result<u64> {
        let place = InRegion::new(self.words, KIND, OBJECT)?;
        place.told(Slots::attach(&place).and_then(|slots| slots.wait(seen, timeout)))
    }
}
