//! How a file's mappings are paged.

use crate::sys::{file, map};
use std::os::fd::BorrowedFd;

/// The granularity of a file's mappings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paging {
    /// Bytes in a page.
    pub(crate) page_size: usize,
    /// Whether mapping past the file's end extends it, as hugetlbfs does.
    pub(super) mapping_extends_file: bool,
}

impl Paging {
    /// How `file`, of which `status` was asked, is paged.
    pub(crate) fn of(file: BorrowedFd, status: &file::Status) -> Paging {
        let page_size = map::page_size();
        let block_size = usize::try_from(status.block_size).unwrap_or(page_size);
        if block_size > page_size && file::is_hugetlb(file) {
            return Paging { page_size: block_size, mapping_extends_file: true };
        }
        Paging { page_size, mapping_extends_file: false }
    }

    /// Whether it has huge pages of hugetlbfs, which run out.
    pub(crate) fn is_huge(self) -> bool {
        self.mapping_extends_file
    }

    /// Bytes of the file that its first `length` bytes take: whole huge pages on hugetlbfs.
    pub(crate) fn file_length_for(self, length: u64) -> u64 {
        if !self.mapping_extends_file {
            return length;
        }
        // A file that long cannot be had; the kernel says so.
        length.checked_next_multiple_of(self.page_size as u64).unwrap_or(length)
    }
}
