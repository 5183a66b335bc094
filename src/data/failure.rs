//! Why an operation of a protocol stopped: small, since good calls carry room for it.

use super::memory::Fault;
use crate::error::Problem;

/// What stopped an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// An access failed, and the memory knows why.
    Access,
    /// The object is not as it should be.
    Is(Problem),
    /// The object would leave the region.
    OutOfRange {
        /// The bytes it takes.
        needed: u64,
    },
    /// Time passed.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

/// What an operation gives.
pub(super) type Result<T> = core::result::Result<T, Failure>;

impl Failure {
    #[cold]
    pub(super) fn damaged(part: &'static str, found: u64) -> Failure {
        Failure::Is(Problem::Damaged { part, found })
    }

    /// The same, but that time passed is told as this.
    #[cold]
    pub(super) fn late(self, problem: Problem) -> Failure {
        if self == Failure::TimedOut { Failure::Is(problem) } else { self }
    }

    #[cold]
    pub(super) fn misused(how: &'static str) -> Failure {
        Failure::Is(Problem::Misused(how))
    }
}

impl From<Fault> for Failure {
    #[cold]
    fn from(_: Fault) -> Failure {
        Failure::Access
    }
}
