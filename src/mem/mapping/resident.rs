//! How much of a mapping is in memory.
//!
//! Decision: the kernel counts what it has of the file, in one call whose cost grows with what is there. A look at each
//! page takes minutes for a huge sparse file, and does not see pages that were reserved and not yet touched; private
//! pages are not the file's, and are looked at all the same.

use super::{Mapping, whole_pages};
use crate::sys::Errno;
use crate::sys::map::{self, Sharing};

impl Mapping {
    /// Bytes of the mapping that are in memory now.
    pub(crate) fn resident(&self) -> Result<u64, Errno> {
        if self.sharing == Sharing::Private || self.paging.is_huge() {
            return self.resident_by_page();
        }
        match map::cached_pages(self.file(), self.file_offset(), self.length()) {
            // KERNEL: before 6.5, or where a sandbox forbids it; of a file that this user may neither write nor owns.
            Err(Errno::ENOSYS | Errno::EPERM | Errno::EOPNOTSUPP) => self.resident_by_page(),
            pages => Ok(pages?.saturating_mul(self.page_size() as u64)),
        }
    }

    /// `resident`, with a look at each page.
    fn resident_by_page(&self) -> Result<u64, Errno> {
        let mut resident = 0;
        let mut flags = [0u8; 1024];
        let mut at = 0;
        let end = whole_pages(self.length(), self.page_size())?;
        while at < end {
            let pages = ((end - at) / self.page_size()).min(flags.len());
            // SAFETY: `at` is below the mapped length.
            let address = unsafe { self.base.add(at) };
            // SAFETY: the pages are ours and mapped, up to `end`.
            unsafe { map::residency(address, self.page_size(), &mut flags[..pages]) }?;
            resident += flags[..pages].iter().filter(|flag| **flag & 1 != 0).count();
            at += pages * self.page_size();
        }
        Ok((resident * self.page_size()) as u64)
    }
}
