//! Errors that are told in more than one place.

use super::{Error, Problem};
use crate::sys::Errno;

impl Error {
    /// A read-only region was to be changed, by `access`.
    pub(crate) fn read_only(access: &'static str) -> Error {
        Error::AccessExceeded {
            access,
            granted: "the region is MAPSHARE_READ_ONLY",
            remedy: "open it MAPSHARE_READ_WRITE, or MAPSHARE_COPY_ON_WRITE to leave the file as it is",
        }
    }

    /// The same of an object, which would be no object in a copy-on-write region.
    pub(crate) fn read_only_object(access: &'static str) -> Error {
        let (granted, remedy) = ("the region is MAPSHARE_READ_ONLY", "open it MAPSHARE_READ_WRITE");
        Error::AccessExceeded { access, granted, remedy }
    }

    /// As the function says it that makes an object, of what stands in its place.
    pub(crate) fn of_init(self) -> Error {
        match self {
            Error::Object { kind, offset, problem: Problem::Missing } => {
                Error::Object { kind, offset, problem: Problem::NotZeros }
            }
            other => other,
        }
    }

    /// A system call's refusal, as the kernel says it.
    pub(crate) fn system(call: &'static str, subject: impl Into<String>, errno: Errno) -> Error {
        Error::System { call, subject: subject.into(), errno: errno.0 }
    }
}
