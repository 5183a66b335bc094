//! Names of shared memory that the tests make, and what stands under them.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A name that nobody else uses, without a slash; what has it goes with the value, in the process that made it.
pub(crate) struct Name {
    name: String,
    process: u32,
}

impl Name {
    pub(crate) fn new() -> Name {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Name { name: format!("mapshare-test-{process}-{number}-"), process }
    }

    pub(crate) fn text(&self) -> &str {
        &self.name
    }

    /// Another one, which begins like this one and goes with it.
    pub(crate) fn with(&self, end: impl std::fmt::Display) -> String {
        format!("{}{end}", self.name)
    }

    /// The file that it stands for.
    pub(crate) fn path(&self) -> PathBuf {
        path(&self.name)
    }

    pub(crate) fn exists(&self) -> bool {
        exists(&self.name)
    }

    /// All names that begin with this one.
    pub(crate) fn all(&self) -> Vec<String> {
        let names = super::files::names("/dev/shm".as_ref());
        names.into_iter().filter(|name| name.starts_with(&self.name)).collect()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if std::process::id() == self.process {
            for name in self.all() {
                let _ = std::fs::remove_file(path(&name)).or_else(|_| std::fs::remove_dir(path(&name)));
            }
        }
    }
}

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from("/dev/shm").join(name.trim_start_matches('/'))
}

pub(crate) fn exists(name: &str) -> bool {
    std::fs::symlink_metadata(path(name)).is_ok()
}

/// The inode under a name; 0 when there is none.
pub(crate) fn inode(name: &str) -> u64 {
    std::fs::symlink_metadata(path(name)).map_or(0, |found| found.ino())
}

/// The permission bits of a file.
pub(crate) fn mode(path: impl AsRef<std::path::Path>) -> u32 {
    std::fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
}
