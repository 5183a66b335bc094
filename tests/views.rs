//! Views that outlive what they show: zeros in the place of lost pages, a code for everyone who asks, and the way back.

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

const RW: u32 = MAPSHARE_READ_WRITE;

/// Refresh takes over the file's length; whatever it says about that, it puts pages back.
#[track_caller]
fn refresh(region: Token) {
    region.refresh().unwrap();
}

/// What `mapshare_lost_count` counts.
fn lost_count() -> u64 {
    let address = mapshare::ffi::view::mapshare_lost_count();
    // SAFETY: the library's own, for ever.
    unsafe { address.read_volatile() }
}

#[test]
fn the_count_of_lost_pages_tells_of_each_and_of_nothing_else() {
    in_own_process(the_count_of_lost_pages_tells_of_each_and_of_nothing_else, || {
        let folder = Folder::new();
        let page = page();
        let (region, path, _) = region_with_pattern(&folder, "file", 8);
        let view = region.view(0, 8 * page).unwrap();
        files::set_length(&path, 4 * page);
        peek(at(view, 3, 5));
        refused(region.read(5 * page, &mut [0]), ENXIO, &[]);
        assert_eq!(lost_count(), 0, "no page of the view was lost so far");
        for number in 5..8 {
            let before = lost_count();
            peek(at(view, number, 0));
            let after = lost_count();
            assert!(after > before, "page {number}");
            peek(at(view, number, 1));
            assert_eq!(lost_count(), after, "lost already");
        }
        refused(region.release(view), ENXIO, &[]);
        region.unmap().unwrap();
    });
}

#[test]
fn a_lost_page_reads_zeros_takes_writes_and_every_call_on_it_says_so() {
    let folder = Folder::new();
    let page = page();
    let (region, path, bytes) = region_with_pattern(&folder, "file", 8);
    let (other, ..) = region_with_pattern(&folder, "other", 8);
    let view = region.view(0, 8 * page).unwrap();
    files::set_length(&path, 4 * page);
    assert_eq!(region.info().unwrap().faults, 0);
    assert_eq!(peek(at(view, 3, 5)), bytes[3 * page as usize + 5]);
    assert_eq!(peek(at(view, 5, 5)), 0);
    assert_eq!(region.info().unwrap().faults, 1);
    poke(at(view, 5, 5), 77);
    poke(at(view, 6, 0), 78);
    assert_eq!((peek(at(view, 5, 5)), peek(at(view, 6, 0)), peek(at(view, 6, 1))), (77, 78, 0));
    assert_eq!(region.info().unwrap().faults, 2);

    // The file has its pages again: it is our own page that is in the way.
    files::set_length(&path, 8 * page);
    let mut read = vec![0; 8 * page as usize];
    let words = ["lost pages", "cut short", "mapshare_refresh"];
    for (start, length) in [(0, 8 * page), (5 * page, 1), (6 * page - 1, 1), (4 * page, page + 1), (7 * page - 1, 2)] {
        refused(region.read(start, &mut read[..length as usize]), ENXIO, &words);
        refused(region.write(start, &read[..length as usize]), ENXIO, &words);
        refused(region.fill(start, length, 1), ENXIO, &words);
        refused(region.copy_from(start, other, 0, length), ENXIO, &words);
        refused(other.copy_from(0, region, start, length), ENXIO, &words);
        refused(region.flush(start, length, 0), ENXIO, &words);
    }
    refused(region.copy_from(0, region, 5 * page, 10), ENXIO, &words);
    refused(region.copy_from(5 * page, region, 0, 10), ENXIO, &words);
    // Other ranges succeed, right beside.
    for (start, length) in [(0, 5 * page), (5 * page - 1, 1), (7 * page, page), (4 * page, page)] {
        region.read(start, &mut read[..length as usize]).unwrap();
        region.write(start, &read[..length as usize]).unwrap();
        region.flush(start, length, 0).unwrap();
    }

    refused(region.unmap(), EBUSY, &[]);
    refresh(region);
    assert_eq!((peek(at(view, 5, 5)), peek(at(view, 6, 0))), (0, 0), "the file's own bytes");
    poke(at(view, 5, 5), 99);
    region.read(0, &mut read).unwrap();
    assert_eq!((files::read_at(&path, 5 * page + 5, 1), read[5 * page as usize + 5]), (vec![99], 99));
    refused(region.release(view), ENXIO, &["lost pages", "8 * page"][..1]);
    refused(region.release(view), EINVAL, &["released already"]);
    assert_eq!(region.info().unwrap().views, 0);
    let view = region.view(0, 8 * page).unwrap();
    region.release(view).unwrap();
    region.unmap().unwrap();
}

#[test]
fn while_the_file_is_short_refresh_makes_the_region_short_and_the_view_stays() {
    let folder = Folder::new();
    let page = page();
    let (region, path, bytes) = region_with_pattern(&folder, "file", 8);
    let view = region.view(0, 8 * page).unwrap();
    files::set_length(&path, 2 * page);
    assert_eq!(peek(at(view, 4, 0)), 0);
    assert!(region.refresh().unwrap());
    assert_eq!(region.length().unwrap(), 2 * page);
    refused(region.read(4 * page, &mut [0]), ERANGE, &[]);
    for round in 1..5 {
        poke(at(view, 4, 0), round);
        assert_eq!(peek(at(view, 4, 0)), round, "lost once more");
        refresh(region);
        assert_eq!(peek(at(view, 4, 0)), 0);
    }
    assert_eq!(peek(view), bytes[0]);
    files::set_length(&path, 0);
    refresh(region);
    assert_eq!(region.length().unwrap(), 0);
    assert_eq!(peek(view), 0);
    files::set_length(&path, 8 * page);
    files::write_at(&path, 4 * page, b"back");
    assert!(region.refresh().unwrap());
    assert_eq!(peek(at(view, 4, 1)), b'a');
    poke(view, 5);
    assert_eq!(files::read_at(&path, 0, 1), [5]);
    refused(region.release(view), ENXIO, &[]);
    region.unmap().unwrap();
}

#[test]
fn each_of_many_views_knows_of_its_own_pages_only() {
    let folder = Folder::new();
    let page = page();
    let (region, path, _) = region_with_pattern(&folder, "file", 300);
    let views: Vec<*mut u8> = (0..300).map(|number| region.view(number * page, page).unwrap()).collect();
    let pairs: Vec<*mut u8> = (0..299).map(|number| region.view(number * page + 100, page).unwrap()).collect();
    // Each at an address of its own, which tells them apart.
    let whole = region.view(1, 300 * page - 1).unwrap();
    let before = region.view(2, 150 * page - 2).unwrap();
    files::set_length(&path, 150 * page);
    let lost = |number: u64| number >= 150 && number.is_multiple_of(3);
    for (number, view) in (0..).zip(&views) {
        if lost(number) {
            poke(view.wrapping_add(9), 9);
        } else if number < 150 {
            assert_ne!(peek(*view), 0);
        }
    }
    assert_eq!(region.info().unwrap().views, 601);
    for (number, view) in (0..).zip(views) {
        assert_eq!(code(region.release(view)), if lost(number) { ENXIO } else { 0 }, "page {number}");
    }
    for (number, view) in (0..).zip(pairs) {
        let expected = if lost(number) || lost(number + 1) { ENXIO } else { 0 };
        assert_eq!(code(region.release(view)), expected, "pages {number} and {}", number + 1);
    }
    region.release(before).unwrap();
    refused(region.release(whole), ENXIO, &[]);
    assert_eq!(region.info().unwrap().faults, 50);
    region.unmap().unwrap();
}

#[test]
fn nested_views_of_one_address_are_released_one_by_one() {
    let folder = Folder::new();
    let page = page();
    let (region, path, _) = region_with_pattern(&folder, "file", 4);
    let views: Vec<*mut u8> = (0..5).map(|_| region.view(page, page).unwrap()).collect();
    files::set_length(&path, 0);
    assert_eq!(peek(views[0]), 0);
    for view in views {
        refused(region.unmap(), EBUSY, &[]);
        refused(region.release(view), ENXIO, &[]);
    }
    // A view that comes after the loss shows the zeros, and its calls fail; it has lost nothing while it was out.
    files::set_length(&path, 4 * page);
    let late = region.view(page, page).unwrap();
    assert_eq!((peek(late), code(region.read(page, &mut [0]))), (0, ENXIO));
    let told = code(region.release(late));
    assert!([0, ENXIO].contains(&told));
    refresh(region);
    region.read(page, &mut [0]).unwrap();
    region.unmap().unwrap();
}

#[test]
fn a_view_that_comes_after_the_loss_says_that_its_page_stands_for_none() {
    // "never a success on the stand-in page": whoever wrote into this view has written nothing.
    let folder = Folder::new();
    let page = page();
    let (region, path, _) = region_with_pattern(&folder, "file", 4);
    let view = region.view(0, 4 * page).unwrap();
    files::set_length(&path, 0);
    peek(view);
    refused(region.release(view), ENXIO, &[]);
    files::set_length(&path, 4 * page);
    match region.view(0, page) {
        Err(failure) => assert_eq!(failure.code, ENXIO),
        Ok(view) => {
            poke(view, 1);
            let reached = files::read_at(&path, 0, 1) == [1];
            assert!(code(region.release(view)) == ENXIO || reached, "a success, and the byte is nowhere");
        }
    }
    refresh(region);
    region.unmap().unwrap();
}

#[test]
fn lost_pages_far_apart_are_all_told_and_all_put_back() {
    let folder = Folder::new();
    let page = page();
    let (region, path, bytes) = region_with_pattern(&folder, "file", 1000);
    let view = region.view(0, 1000 * page).unwrap();
    for step in [7, 50, 199] {
        files::set_length(&path, 0);
        let lost: Vec<u64> = (0..1000).filter(|number| number % step == 3).collect();
        for number in &lost {
            poke(at(view, *number, 1), 1);
        }
        files::set_length(&path, 1000 * page);
        files::write_at(&path, 0, &bytes);
        for number in &lost {
            refused(region.read(number * page, &mut [0]), ENXIO, &[]);
            refused(region.fill(number * page + 5, 1, 5), ENXIO, &[]);
        }
        // Pages that were not touched are the file's own, whatever the calls say.
        assert!(
            (0..1000)
                .filter(|number| number % step != 3)
                .all(|number| { peek(at(view, number, 0)) == bytes[(number * page) as usize] })
        );
        refresh(region);
        let mut read = vec![0; bytes.len()];
        region.read(0, &mut read).unwrap();
        assert!(read == bytes);
        for number in lost {
            poke(at(view, number, 1), 200);
            assert_eq!(files::read_at(&path, number * page + 1, 1), [200]);
        }
        files::write_at(&path, 0, &bytes);
    }
    refused(region.release(view), ENXIO, &[]);
    region.unmap().unwrap();
}

#[test]
fn pages_that_were_never_lost_keep_what_this_process_wrote_privately() {
    let folder = Folder::new();
    let page = page();
    let (whole, path, bytes) = region_with_pattern(&folder, "file", 100);
    let region = c::open(&path, &with(MAPSHARE_COPY_ON_WRITE)).unwrap();
    let view = region.view(0, 100 * page).unwrap();
    files::set_length(&path, 0);
    for number in 0..20 {
        assert_eq!(peek(at(view, 5 * number, 0)), 0);
    }
    files::set_length(&path, 100 * page);
    files::write_at(&path, 0, &bytes);
    // Between the lost pages: real ones, written here and nowhere else.
    for number in 0..20 {
        assert_eq!(peek(at(view, 5 * number + 2, 0)), bytes[((5 * number + 2) * page) as usize]);
        poke(at(view, 5 * number + 2, 1), 123);
    }
    refresh(region);
    for number in 0..20 {
        assert_eq!(peek(at(view, 5 * number, 0)), bytes[(5 * number * page) as usize], "it is back");
        assert_eq!(peek(at(view, 5 * number + 2, 1)), 123, "page {} was never lost", 5 * number + 2);
    }
    assert!(std::fs::read(&path).unwrap() == bytes, "the file stays as it is");
    refused(region.release(view), ENXIO, &[]);
    region.unmap().unwrap();
    whole.unmap().unwrap();
}

#[test]
fn views_of_read_only_and_private_regions_survive_as_well() {
    let folder = Folder::new();
    let page = page();
    for access in [MAPSHARE_READ_ONLY, MAPSHARE_COPY_ON_WRITE] {
        let (whole, path, bytes) = region_with_pattern(&folder, &access.to_string(), 8);
        let region = c::open(&path, &with(access)).unwrap();
        let view = region.view(0, 8 * page).unwrap();
        if access == MAPSHARE_COPY_ON_WRITE {
            poke(view, 200);
        }
        files::set_length(&path, 2 * page);
        assert_eq!(peek(at(view, 3, 0)), 0);
        refused(region.read(3 * page, &mut [0]), ENXIO, &["lost pages"]);
        files::set_length(&path, 8 * page);
        files::write_at(&path, 0, &bytes);
        refresh(region);
        let mut read = vec![0; bytes.len()];
        region.read(0, &mut read).unwrap();
        if access == MAPSHARE_COPY_ON_WRITE {
            assert_eq!((read[0], peek(view)), (200, 200), "its own byte is still there");
            read[0] = bytes[0];
            poke(at(view, 3, 0), 201);
            assert_ne!(files::read_at(&path, 3 * page, 1), [201], "and private still");
        }
        assert!(read == bytes);
        refused(region.release(view), ENXIO, &[]);
        region.unmap().unwrap();
        whole.unmap().unwrap();
    }
}

#[test]
fn protecting_and_growing_go_on_beside_lost_pages() {
    let folder = Folder::new();
    let page = page();
    let (region, path, _) = region_with_pattern(&folder, "file", 8);
    let view = region.view(0, 8 * page).unwrap();
    files::set_length(&path, 4 * page);
    peek(at(view, 5, 0));
    region.resize(12 * page).unwrap();
    assert_eq!(files::length_of(&path), 12 * page);
    refused(region.read(5 * page, &mut [0]), ENXIO, &[]);
    region.write(11 * page, b"new").unwrap();
    refused(region.release(view), ENXIO, &[]);
    // Moving puts everything back.
    region.resize(64 * page).unwrap();
    region.read(0, &mut vec![0; 64 * page as usize]).unwrap();
    let view = region.view(0, 64 * page).unwrap();
    files::set_length(&path, 0);
    peek(at(view, 63, 0));
    refused(region.release(view), ENXIO, &[]);
    files::set_length(&path, 64 * page);
    region.protect(MAPSHARE_READ_ONLY).unwrap();
    refused(region.read(63 * page, &mut [0]), ENXIO, &[]);
    refresh(region);
    region.read(63 * page, &mut [0]).unwrap();
    region.protect(RW).unwrap();
    region.write(63 * page, b"x").unwrap();
    region.unmap().unwrap();
}

#[test]
fn unmap_after_a_loss_leaves_nothing_behind() {
    in_own_process(unmap_after_a_loss_leaves_nothing_behind, || {
        let folder = Folder::new();
        let page = page();
        let cycle = |round: u64| {
            let (region, path, _) = region_with_pattern(&folder, &format!("file{}", round % 3), 32);
            let view = region.view(0, 32 * page).unwrap();
            files::set_length(&path, 0);
            (0..16).for_each(|number| poke(at(view, 2 * number, 0), 1));
            refused(region.release(view), ENXIO, &[]);
            region.unmap().unwrap();
        };
        (0..10).for_each(cycle);
        let before = (process::mappings(), process::open_descriptors());
        (0..100).for_each(cycle);
        assert_eq!((process::mappings(), process::open_descriptors()), before);
    });
}

#[test]
fn the_rust_view_tells_what_it_lost() {
    let folder = Folder::new();
    let page = page();
    let path = folder.join("file");
    let options = mapshare::Options::new().access(mapshare::Access::ReadWrite).create(true).length(4 * page);
    let mut region = options.open(&path).unwrap();
    region.fill(0, 4 * page, 3).unwrap();
    let [first, second] = [0, 2 * page].map(|offset| region.view(offset, 2 * page).unwrap());
    files::set_length(&path, 2 * page);
    assert_eq!((peek(first.as_ptr()), peek(second.as_ptr())), (3, 0));
    first.check().unwrap();
    assert_eq!(second.check().unwrap_err().errno(), ENXIO);
    assert_eq!(region.info().unwrap().faults, 1);
    assert_eq!(region.read(3 * page - 1, &mut [0]).unwrap_err().errno(), ENXIO);
    files::set_length(&path, 4 * page);
    region.refresh().unwrap();
    region.read(2 * page, &mut [0]).unwrap();
    assert_eq!(second.check().unwrap_err().errno(), ENXIO, "what was lost is lost");
    // The mapping lives as long as its last view.
    drop(region);
    files::set_length(&path, 0);
    assert_eq!((peek(first.as_ptr()), peek(second.as_ptr())), (0, 0));
    assert_eq!(first.check().unwrap_err().errno(), ENXIO);
}

#[test]
fn a_view_that_finds_no_room_loses_the_page_until_there_is_some() {
    in_own_process(a_view_that_finds_no_room_loses_the_page_until_there_is_some, || {
        let page = page();
        let folder = Folder::new();
        let tmpfs = Mounted::new("tmpfs", folder.path(), "size=1m");
        let disk = Ext4::new(8);
        for at_path in [tmpfs.as_ref().map(|m| m.join("")), disk.as_ref().map(|d| d.join(""))].into_iter().flatten() {
            let path = at_path.join("sparse");
            let options = mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_SPARSE, ..create(16 * page) };
            let region = c::open(&path, &options).unwrap();
            let view = region.view(0, 16 * page).unwrap();
            region.fill(0, page, 4).unwrap();
            fill_up(&at_path.join("filler"));
            poke(at(view, 5, 3), 55);
            assert_eq!((peek(view), peek(at(view, 5, 3))), (4, 55));
            refused(region.write(5 * page, b"x"), ENOSPC, &["lost pages", "full"]);
            region.write(0, b"x").unwrap();
            std::fs::remove_file(at_path.join("filler")).unwrap();
            refused(region.write(5 * page, b"x"), ENOSPC, &["lost pages", "full"]);
            refresh(region);
            poke(at(view, 5, 3), 56);
            assert_eq!(files::read_at(&path, 5 * page + 3, 1), [56]);
            refused(region.release(view), ENOSPC, &["full"]);
            region.unmap().unwrap();
        }
    });
}
