//! Accesses to bytes that are not there: the code, the exact count of bytes done, the offset, and what is in the buffer.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use common::c::{self, Token};
use common::files::Mounted;
use common::process::in_own_process;
use common::*;
use faults::*;
use libc::*;
use std::path::PathBuf;

const RW: u32 = MAPSHARE_READ_WRITE;

/// A region of `pages` pages with a pattern in them; its file, and the bytes.
fn region_with_pattern(folder: &Folder, name: &str, pages: u64) -> (Token, PathBuf, Vec<u8>) {
    let path = folder.join(name);
    let region = c::open(&path, &create(pages * page())).unwrap();
    let bytes = pattern((pages * page()) as usize, name.len());
    region.write(0, &bytes).unwrap();
    (region, path, bytes)
}

/// Ranges that start before, at and behind the end of a file of `end` bytes, and reach past it or not.
fn ranges(end: u64) -> Vec<(u64, u64)> {
    let page = page();
    let mut ranges = Vec::new();
    for start in
        [0, 1, 7, 63, page - 1, page, end - page, end - 4097, end - 4096, end - 100, end - 64, end - 9, end - 1]
    {
        for past in [1, 2, 8, 63, 64, 65, 300, page, 2 * page] {
            ranges.push((start, end - start + past));
        }
    }
    for start in [end, end + 1, end + 5000] {
        ranges.extend([1, 8, 100, 5000].map(|length| (start, length)));
    }
    ranges
}

#[test]
fn a_read_of_a_file_cut_short_tells_how_far_it_came() {
    let folder = Folder::new();
    let (region, path, bytes) = region_with_pattern(&folder, "file", 12);
    let end = 5 * page();
    files::set_length(&path, end);
    let mut faults = 0;
    for (start, length) in ranges(end) {
        let mut read = vec![0xEE; length as usize];
        let done = end.saturating_sub(start);
        failed_at(region.read(start, &mut read), ENXIO, start.max(end), done, length);
        let done = done as usize;
        assert!(read[..done] == bytes[start as usize..][..done], "the bytes before the fault");
        assert!(read[done..].iter().all(|byte| *byte == 0xEE), "nothing behind it");
        faults += 1;
        assert_eq!(region.info().unwrap().faults, faults);
        // What is there is had, to the last byte.
        region.read(end - done as u64, &mut read[..done]).unwrap();
    }
    let failure = region.read(end, &mut [0]).unwrap_err();
    assert!(failure.text.contains("cut short") && failure.text.ends_with("(ENXIO)"), "{}", failure.text);
    region.unmap().unwrap();
}

#[test]
fn a_write_and_a_fill_over_a_file_cut_short_tell_how_far_they_came() {
    let folder = Folder::new();
    let (region, path, bytes) = region_with_pattern(&folder, "file", 12);
    let end = 5 * page();
    files::set_length(&path, end);
    for (round, (start, length)) in ranges(end).into_iter().enumerate() {
        let done = end.saturating_sub(start);
        files::write_at(&path, 0, &bytes[..end as usize]);
        let mut expected = bytes[..end as usize].to_vec();
        if round % 2 == 0 {
            let written = pattern(length as usize, 99);
            failed_at(region.write(start, &written), ENXIO, start.max(end), done, length);
            expected[start.min(end) as usize..].copy_from_slice(&written[..done as usize]);
        } else {
            failed_at(region.fill(start, length, 0x3C), ENXIO, start.max(end), done, length);
            expected[start.min(end) as usize..].fill(0x3C);
        }
        assert!(std::fs::read(&path).unwrap() == expected, "{start} + {length}: the file has the bytes done");
    }
    region.unmap().unwrap();
}

#[test]
fn a_copy_tells_how_far_it_came_whichever_side_is_missing() {
    let folder = Folder::new();
    let page = page();
    let length = 8 * page;
    for (round, (from_end, to_end)) in
        [(3, 12), (12, 3), (3, 5), (5, 3), (4, 4), (0, 12), (12, 0)].into_iter().enumerate()
    {
        for (from_start, to_start) in [(0, 0), (100, 0), (0, 100), (77, 1000), (page, 0), (0, page + 1)] {
            let (from, from_path, from_bytes) = region_with_pattern(&folder, &format!("from{round}"), 12);
            let (to, to_path, mut to_bytes) = region_with_pattern(&folder, &format!("to{round}"), 12);
            let (from_end, to_end) = (from_end * page, to_end * page);
            files::set_length(&from_path, from_end);
            files::set_length(&to_path, to_end);
            let (source, target) = (from_end.saturating_sub(from_start), to_end.saturating_sub(to_start));
            let done = source.min(target);
            let offset = if source <= target { from_start + done } else { to_start + done };
            failed_at(to.copy_from(to_start, from, from_start, length), ENXIO, offset, done, length);
            to_bytes.truncate(to_end as usize);
            if done > 0 {
                to_bytes[to_start as usize..][..done as usize]
                    .copy_from_slice(&from_bytes[from_start as usize..][..done as usize]);
            }
            assert!(std::fs::read(&to_path).unwrap() == to_bytes);
            assert_eq!(from.info().unwrap().faults + to.info().unwrap().faults, 1);
            from.unmap().unwrap();
            to.unmap().unwrap();
        }
    }
}

#[test]
fn an_overlapping_copy_has_done_the_first_bytes_downwards_and_the_last_bytes_upwards() {
    let folder = Folder::new();
    let page = page();
    let (end, length) = (6 * page, 5 * page);
    for two_regions in [false, true] {
        for distance in [1, 63, 64, 1000, page, page + 1, 2 * page] {
            let name = format!("{two_regions}{distance}");
            let (region, path, bytes) = region_with_pattern(&folder, &name, 12);
            let other = if two_regions { c::open(&path, &with(RW)).unwrap() } else { region };
            files::set_length(&path, end);
            // Downwards: first to last, until the source ends.
            let (from, to) = (3 * page, 3 * page - distance);
            failed_at(region.copy_from(to, other, from, length), ENXIO, end, end - from, length);
            let mut expected = bytes[..end as usize].to_vec();
            expected.copy_within(from as usize..end as usize, to as usize);
            assert!(std::fs::read(&path).unwrap() == expected, "{name} downwards");
            // Upwards: last to first, and the last are not there.
            files::write_at(&path, 0, &bytes[..end as usize]);
            let (from, to) = (page, page + distance);
            let length = length + distance;
            let last = to + length - 1;
            if from + length > end {
                let at = from + length - 1;
                failed_at(region.copy_from(to, other, from, length), ENXIO, at, 0, length);
            } else {
                failed_at(region.copy_from(to, other, from, length), ENXIO, last, 0, length);
            }
            assert!(std::fs::read(&path).unwrap() == bytes[..end as usize], "{name} upwards");
            if two_regions {
                other.unmap().unwrap();
            }
            region.unmap().unwrap();
        }
    }
}

#[test]
fn an_upward_copy_that_loses_bytes_in_its_middle_counts_from_the_end() {
    // Only a page that fails alone does that; see a_page_that_the_device_cannot_read_is_eio for those.
    in_own_process(an_upward_copy_that_loses_bytes_in_its_middle_counts_from_the_end, || {
        let folder = Folder::new();
        let page = page();
        let Some(mount) = Mounted::new("tmpfs", folder.path(), "size=1m") else { return };
        let options = mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_SPARSE, ..create(16 * page) };
        let region = c::open(&mount.join("sparse"), &options).unwrap();
        let bytes = pattern(3 * page as usize, 8);
        region.write(4 * page, &bytes).unwrap(); // pages 4 to 6, and page 7 below
        region.write(7 * page, b"x").unwrap();
        fill_up(&mount.join("filler"));
        // To 5..8 from 3..6: last to first, until page 3, which has no room.
        let outcome = region.copy_from(5 * page, region, 3 * page, 3 * page);
        failed_at(outcome, ENOSPC, 4 * page - 1, 2 * page, 3 * page);
        let mut read = vec![0; 2 * page as usize];
        region.read(6 * page, &mut read).unwrap();
        assert!(read[..] == bytes[..2 * page as usize]);
    });
}

#[test]
fn an_access_goes_on_when_the_file_has_the_bytes_again() {
    let folder = Folder::new();
    let page = page();
    let (region, path, _) = region_with_pattern(&folder, "file", 8);
    let mut bytes = vec![1; 8 * page as usize];
    for round in 1..200_u32 {
        files::set_length(&path, u64::from(round) % 8 * page);
        if round % 2 == 0 {
            assert_eq!(code(region.read(0, &mut bytes)), ENXIO);
        }
        files::set_length(&path, 8 * page);
        region.fill(0, 8 * page, round % 256).unwrap();
        region.read(0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| u32::from(*byte) == round % 256), "the file's own bytes, not the former ones");
        assert!(std::fs::read(&path).unwrap() == bytes);
    }
    region.unmap().unwrap();
}

#[test]
fn while_another_cuts_and_extends_each_access_is_whole_or_an_error() {
    let folder = Folder::new();
    let page = page();
    let (region, path, _) = region_with_pattern(&folder, "file", 8);
    let stop = Counter::new();
    let counts = [0, 1].map(|_| Counter::new());
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            let (stop, counts) = (&stop, &counts);
            scope.spawn(move || {
                let mut read = vec![0; 8 * page as usize];
                while stop.get() == 0 {
                    let outcome = if thread == 0 { region.read(0, &mut read) } else { region.fill(0, 8 * page, 5) };
                    match code(outcome) {
                        0 => counts[0].add(),
                        ENXIO => counts[1].add(),
                        other => panic!("{other}: {}", c::last_error()),
                    };
                }
            });
        }
        // Until both have been seen often, under the harness's watchdog.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while counts.iter().any(|count| count.get() < 200) && std::time::Instant::now() < end {
            files::set_length(&path, 3 * page);
            files::set_length(&path, 8 * page);
        }
        stop.set(1);
    });
    assert!(counts.iter().all(|count| count.get() >= 200), "successes {}, errors {}", counts[0].get(), counts[1].get());
    region.unmap().unwrap();
}

#[test]
fn the_end_of_a_file_inside_a_page_is_no_fault_before_the_next_page() {
    let folder = Folder::new();
    let page = page();
    let (region, path, bytes) = region_with_pattern(&folder, "file", 8);
    files::set_length(&path, 2 * page + 100);
    let mut read = vec![0xEE; 4 * page as usize];
    failed_at(region.read(0, &mut read), ENXIO, 3 * page, 3 * page, 4 * page);
    let (end, page_end) = (2 * page as usize + 100, 3 * page as usize);
    assert!(read[..end] == bytes[..end] && read[end..page_end].iter().all(|byte| *byte == 0));
    region.write(2 * page + 99, b"ab").unwrap();
    assert_eq!(files::length_of(&path), 2 * page + 100);
    region.unmap().unwrap();
}

#[test]
fn faults_in_private_and_read_only_regions_are_codes_too() {
    let folder = Folder::new();
    let page = page();
    let (whole, path, bytes) = region_with_pattern(&folder, "file", 8);
    let private = c::open(&path, &with(MAPSHARE_COPY_ON_WRITE)).unwrap();
    let reader = c::open(&path, &with(MAPSHARE_READ_ONLY)).unwrap();
    private.write(page, b"mine").unwrap();
    files::set_length(&path, 4 * page);
    let mut read = vec![0; 8 * page as usize];
    for region in [private, reader] {
        failed_at(region.read(0, &mut read), ENXIO, 4 * page, 4 * page, 8 * page);
    }
    assert!(read[..4 * page as usize] == bytes[..4 * page as usize]);
    failed_at(private.write(3 * page, &bytes[..2 * page as usize]), ENXIO, 4 * page, page, 2 * page);
    failed_at(private.fill(4 * page, 5, 5), ENXIO, 4 * page, 0, 5);
    private.read(0, &mut read[..4 * page as usize]).unwrap();
    assert_eq!(read[page as usize..][..4], *b"mine");
    failed_at(whole.copy_from(0, private, 3 * page, 2 * page), ENXIO, 4 * page, page, 2 * page);
    for region in [whole, private, reader] {
        region.unmap().unwrap();
    }
}

#[test]
fn rust_says_the_same_as_c() {
    let folder = Folder::new();
    let page = page();
    for door in DOORS {
        let path = folder.join(&format!("{door:?}"));
        let mut region = door.open(&path, &create(4 * page)).unwrap();
        files::set_length(&path, page);
        failed_at(region.read(10, &mut vec![0; 2 * page as usize]), ENXIO, page, page - 10, 2 * page);
        failed_at(region.write(page - 5, &[1; 10]), ENXIO, page, 5, 10);
        failed_at(region.fill(2 * page, page, 1), ENXIO, 2 * page, 0, page);
        region.refresh().unwrap();
        assert_eq!(region.length(), page);
        assert_eq!(code(region.read(page, &mut [0])), ERANGE);
    }
}

// ---- no room

/// A sparse region on a full file system, whose first page has bytes and whose others are holes.
fn sparse_on_full(at: impl Fn(&str) -> PathBuf, pages: u64, reading_needs_room: bool) {
    let page = page();
    let options = mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_SPARSE, ..create(pages * page) };
    let region = c::open(&at("sparse"), &options).unwrap();
    let length = 2 * page as usize;
    region.fill(0, page, 9).unwrap();
    region.flush(0, 0, 0).unwrap();
    fill_up(&at("filler"));
    let mut faults = 0;
    let mut fails = |outcome: Outcome, offset, done, length| {
        failed_at(outcome, ENOSPC, offset, done, length);
        faults += 1;
        assert_eq!(region.info().unwrap().faults, faults);
    };
    fails(region.write(10, &pattern(length, 1)), page, page - 10, length as u64);
    fails(region.fill(page - 1, 2, 1), page, 1, 2);
    fails(region.write(5 * page, b"x"), 5 * page, 0, 1);
    fails(region.copy_from(3 * page - 3, region, 0, 10), 3 * page - 3, 0, 10);
    let mut read = vec![0xEE; length];
    if reading_needs_room {
        fails(region.read(0, &mut read), page, page, length as u64);
    } else {
        region.read(page, &mut read).unwrap();
        assert!(read.iter().all(|byte| *byte == 0), "a hole");
    }
    let text = region.write(page, b"x").unwrap_err().text;
    assert!(text.contains("free some") && text.ends_with("(ENOSPC)"), "{text}");
    assert_eq!(files::length_of(&at("sparse")), pages * page);

    std::fs::remove_file(at("filler")).unwrap();
    let bytes = pattern(((pages - 1) * page) as usize, 2);
    region.write(page, &bytes).unwrap();
    let mut read = vec![0; bytes.len()];
    region.read(page, &mut read).unwrap();
    assert!(read == bytes, "space was freed, and the same calls succeed");
    region.flush(0, 0, 0).unwrap();
    region.unmap().unwrap();
    assert!(std::fs::read(at("sparse")).unwrap()[page as usize..] == bytes);
}

#[test]
fn a_sparse_region_on_a_full_tmpfs_is_enospc_until_space_is_freed() {
    in_own_process(a_sparse_region_on_a_full_tmpfs_is_enospc_until_space_is_freed, || {
        let folder = Folder::new();
        let Some(mount) = Mounted::new("tmpfs", folder.path(), "size=1m") else { return };
        sparse_on_full(|name| mount.join(name), 16, true);
    });
}

#[test]
fn a_sparse_region_on_a_full_disk_is_enospc_until_space_is_freed() {
    in_own_process(a_sparse_region_on_a_full_disk_is_enospc_until_space_is_freed, || {
        let Some(disk) = Ext4::new(8) else { return };
        sparse_on_full(|name| disk.join(name), 16, false);
    });
}

#[test]
fn the_side_of_a_copy_that_faulted_gives_the_code() {
    in_own_process(the_side_of_a_copy_that_faulted_gives_the_code, || {
        let Some(disk) = Ext4::new(8) else { return };
        let folder = Folder::new();
        let page = page();
        let options = mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_SPARSE, ..create(8 * page) };
        let holes = c::open(&disk.join("holes"), &options).unwrap();
        fill_up(&disk.join("filler"));
        let (target, path, _) = region_with_pattern(&folder, "target", 8);
        files::set_length(&path, 2 * page);
        let storage = files::storage_of(&disk.join("holes"));
        // The source's holes read as zeros, full or not; it is the target that has no bytes there.
        failed_at(target.copy_from(page, holes, 2 * page, 3 * page), ENXIO, 2 * page, page, 3 * page);
        std::fs::remove_file(disk.join("filler")).unwrap();
        failed_at(target.copy_from(page, holes, 2 * page, 3 * page), ENXIO, 2 * page, page, 3 * page);
        assert_eq!(files::storage_of(&disk.join("holes")), storage, "and its holes stay holes");
        assert_eq!((holes.info().unwrap().faults, target.info().unwrap().faults), (0, 2));
    });
}

#[test]
fn asking_for_the_cause_gives_a_hole_that_is_only_read_no_storage() {
    let folder = Folder::new();
    let page = page();
    let path = folder.file("holes", 8 * page);
    let region = c::open(&path, &with(RW)).unwrap();
    let (target, target_path, _) = region_with_pattern(&folder, "target", 8);
    files::set_length(&target_path, 0);
    let storage = files::storage_of(&path);
    for at in 0..8 {
        assert_eq!(code(target.copy_from(at * page, region, at * page, page)), ENXIO);
    }
    assert_eq!(files::storage_of(&path), storage);
}

// ---- a device that fails

#[test]
fn a_page_that_the_device_cannot_read_is_eio() {
    in_own_process(a_page_that_the_device_cannot_read_is_eio, || {
        // Device-mapper's error target and MADV_HWPOISON need what many kernels lack; a loop device whose image has lost
        // its tail fails just as well.
        let Some(disk) = Ext4::new(16) else { return };
        let page = page();
        let path = disk.join("file");
        let pages = 12 * 256; // most of the disk, so that a part of it lies in the image's second half
        let bytes = pattern((pages * page) as usize, 4);
        std::fs::write(&path, &bytes).unwrap();
        let region = c::open(&path, &with(RW)).unwrap();
        let reader = c::open(&path, &with(MAPSHARE_READ_ONLY)).unwrap();
        drop_cache(&path);
        files::set_length(&disk.image(), 6 << 20);
        // Where the file system has put the file's pages is its own business; some are asked, since one that fails takes
        // its time.
        let is_good = |number: u64| {
            let outcome = reader.read(number * page, &mut [0; 8]);
            assert!([0, EIO].contains(&code(outcome.clone())), "{outcome:?}");
            outcome.is_ok()
        };
        let samples: Vec<u64> = (1..pages / 64).map(|sample| 64 * sample).collect();
        let good: Vec<bool> = samples.iter().map(|number| is_good(*number)).collect();
        let Some(edge) = good.windows(2).position(|two| two == [true, false]) else {
            return skip("this kernel reads a loop device whose image has been cut, or not one page of it");
        };
        let Some(first) = (samples[edge] + 1..=samples[edge + 1]).find(|number| !is_good(*number)) else {
            panic!("page {} was bad", samples[edge + 1]);
        };
        let at = first * page;
        assert!(is_good(first - 2) && is_good(first - 1));
        let mut read = vec![0xEE; 3 * page as usize];
        let failure = region.read(at - 2 * page, &mut read).unwrap_err();
        assert_eq!((failure.code, told(&failure)), (EIO, (at, 2 * page, 3 * page)), "{}", failure.text);
        let done = 2 * page as usize;
        assert!(read[..done] == bytes[at as usize - done..at as usize], "the bytes before the page that failed");
        assert!(read[done..].iter().all(|byte| *byte == 0xEE));
        assert!(failure.text.contains("device") && failure.text.ends_with("(EIO)"), "{}", failure.text);
        failed_at(reader.read(at - 100, &mut read[..200]), EIO, at, 100, 200);
        failed_at(region.write(at - 5, &[1; 10]), EIO, at, 5, 10);
        failed_at(region.fill(at, 8, 8), EIO, at, 0, 8);
        // A view of it lives on.
        let view = region.view(at - page, 2 * page).unwrap();
        assert_eq!(peek(view), bytes[(at - page) as usize]);
        assert_eq!(peek(view.wrapping_add(page as usize)), 0);
        poke(view.wrapping_add(page as usize + 1), 7);
        refused(region.read(at, &mut [0]), EIO, &["device", "mapshare_refresh"]);
        refused(region.release(view), EIO, &["device"]);
        assert_eq!(region.info().unwrap().faults, 4);
        // Refresh puts the real page back, which fails again.
        region.refresh().unwrap();
        failed_at(region.read(at, &mut [0]), EIO, at, 0, 1);
        // And the device recovers.
        files::set_length(&disk.image(), 16 << 20);
        region.read(at, &mut [0; 8]).unwrap();
    });
}

#[test]
fn a_page_whose_memory_failed_is_eio() {
    in_own_process(a_page_whose_memory_failed_is_eio, || {
        let folder = Folder::new();
        let page = page();
        let (region, _, bytes) = region_with_pattern(&folder, "file", 8);
        let view = region.view(4 * page, page).unwrap();
        // SAFETY: poisons a page of our own.
        if unsafe { madvise(view.cast(), page as usize, MADV_HWPOISON) } != 0 {
            let error = std::io::Error::last_os_error();
            return skip(&format!(
                "madvise(MADV_HWPOISON): {error}; the kernel has no CONFIG_MEMORY_FAILURE, or we no rights"
            ));
        }
        let mut read = vec![0xEE; 8 * page as usize];
        failed_at(region.read(0, &mut read), EIO, 4 * page, 4 * page, 8 * page);
        assert!(read[..4 * page as usize] == bytes[..4 * page as usize]);
        assert_eq!(peek(view), 0);
        refused(region.release(view), EIO, &[]);
    });
}

#[test]
fn a_cut_hugetlb_file_is_enxio() {
    in_own_process(a_cut_hugetlb_file_is_enxio, || {
        let folder = Folder::new();
        let Some(mount) = Mounted::new("hugetlbfs", folder.path(), "pagesize=2M") else { return };
        let huge = 2 << 20;
        let path = mount.join("file");
        let region = match c::open(&path, &create(2 * huge)) {
            Ok(region) => region,
            Err(failure) => return skip(&format!("no huge pages are set aside (vm.nr_hugepages): {}", failure.text)),
        };
        region.fill(0, 2 * huge, 6).unwrap();
        files::set_length(&path, huge);
        let mut read = vec![0; 200];
        failed_at(region.read(huge - 100, &mut read), ENXIO, huge, 100, 200);
        let view = region.view(0, 2 * huge).unwrap();
        assert_eq!((peek(view), peek(view.wrapping_add(huge as usize + 5))), (6, 0));
        refused(region.release(view), ENXIO, &[]);
        region.unmap().unwrap();
    });
}
