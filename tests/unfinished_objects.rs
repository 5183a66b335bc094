//! Locks, cells and queues that stand across the place where the file was cut short: what fails there leaves nothing
//! behind, so that it can be tried again.

mod common;

use common::cells::{cell_bytes, queue_bytes};
use common::files::set_length;
use common::*;
use libc::*;

/// The file's first pages, of which all but the first go.
const PAGES: u64 = 4;

fn open(door: Door, folder: &Folder) -> Opened {
    door.open(folder.join("file"), &create(PAGES * page())).expect("good")
}

fn is_zero(region: &Opened, from: u64, length: u64) -> bool {
    region.bytes(from, length as usize).iter().all(|byte| *byte == 0)
}

/// Makes an object whose head is in the first page, with nothing behind that, and then with the rest of the file.
fn make_twice(door: Door, before: u64, length: u64, init: impl Fn(&Opened, u64) -> Outcome) {
    let folder = Folder::new();
    let mut region = open(door, &folder);
    let at = page() - before;
    assert!(length > before && length < 3 * page());
    set_length(&folder.join("file"), page());
    refused(init(&region, at), ENXIO, &["cut short"]);
    assert!(is_zero(&region, at, before), "what was begun is undone");
    set_length(&folder.join("file"), PAGES * page());
    region.refresh().expect("good");
    assert_eq!(init(&region, at), Ok(()));
    refused(init(&region, at), EEXIST, &[]);
}

#[test]
fn what_could_not_be_made_can_be_made_once_there_is_room() {
    for door in DOORS {
        make_twice(door, 32, 64, |region, at| region.init_mutex(at));
        for before in [64, 128] {
            make_twice(door, before, cell_bytes(100), |region, at| region.init_cell(at, 100));
        }
        for before in [64, 384, 448, 512] {
            make_twice(door, before, queue_bytes(1000), |region, at| region.init_queue(at, 1000, 0));
        }
    }
}

#[test]
fn a_lock_whose_last_words_are_gone_is_taken_and_freed_all_the_same() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        // Who has it for people is in the second page.
        let at = page() - 16;
        region.init_mutex(at).expect("good");
        set_length(&folder.join("file"), page());
        for _ in 0..3 {
            assert_eq!(region.lock(at, 0), Ok(false));
            refused(region.lock(at, 0), EDEADLK, &[]);
            refused(region.owner(at), ENXIO, &["cut short"]);
            assert_eq!(region.unlock(at), Ok(()));
        }
    }
}
