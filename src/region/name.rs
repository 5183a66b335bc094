//! How sentences name a file, made into text only where there is something to tell; and the parts of a path.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a file was asked for by.
#[derive(Clone, Copy)]
pub(super) enum Name<'a> {
    Path(&'a Path),
    Descriptor(i32),
    /// The one that a region has open.
    Own,
}

impl From<Name<'_>> for String {
    fn from(name: Name) -> String {
        match name {
            Name::Path(path) => shortened(path),
            Name::Descriptor(fd) => format!("descriptor {fd}"),
            Name::Own => "the region's file".into(),
        }
    }
}

/// The directory that a path's last part stands in, and that part.
pub(super) fn split(path: &Path) -> (&OsStr, &OsStr) {
    let bytes = path.as_os_str().as_bytes();
    let (parent, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
        None => (&b"."[..], bytes),
        Some(0) => (&b"/"[..], &bytes[1..]),
        Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
    };
    (OsStr::from_bytes(parent), OsStr::from_bytes(name))
}

/// A path in quotes, without the middle of a very long one.
fn shortened(path: &Path) -> String {
    const ENDS: usize = 150;
    let name = path.to_string_lossy().escape_debug().to_string();
    let (head, tail) = (name.floor_char_boundary(ENDS), name.ceil_char_boundary(name.len().saturating_sub(ENDS)));
    if head < tail { format!("'{}...{}'", &name[..head], &name[tail..]) } else { format!("'{name}'") }
}
