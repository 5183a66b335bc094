//! How sentences name a file. Made into text only where there is something to tell.

use std::path::Path;

/// What a file was asked for by.
#[derive(Clone, Copy)]
pub(super) enum Name<'a> {
    Path(&'a Path),
    Descriptor(i32),
    /// Memory without a name.
    Anonymous,
    /// What came over a socket.
    HandedOver,
    /// The one that a region has open.
    Own,
}

impl From<Name<'_>> for String {
    fn from(name: Name) -> String {
        match name {
            Name::Path(path) => shortened(path),
            Name::Descriptor(fd) => format!("descriptor {fd}"),
            Name::Anonymous => "the anonymous memory".into(),
            Name::HandedOver => "what was handed over".into(),
            Name::Own => "the region's file".into(),
        }
    }
}

/// A path in quotes, without the middle of a very long one.
fn shortened(path: &Path) -> String {
    const ENDS: usize = 150;
    let name = path.to_string_lossy().escape_debug().to_string();
    let (head, tail) = (name.floor_char_boundary(ENDS), name.ceil_char_boundary(name.len().saturating_sub(ENDS)));
    if head < tail { format!("'{}...{}'", &name[..head], &name[tail..]) } else { format!("'{name}'") }
}
