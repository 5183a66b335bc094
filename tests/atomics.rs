//! Atomic words: what they do, what they refuse, and that a file cut short is a code and no signal.

mod common;
#[path = "common/faults.rs"]
mod faults;

use common::process::{Partner, listen, role, tell, watchdog};
use common::words::{Do, Number};
use common::*;
use libc::*;
use std::fs::File;
use std::thread;

const OPERATIONS: u64 = 100_000;

fn open(door: Door, folder: &Folder, length: u64) -> Opened {
    door.open(folder.join("file"), &common::create(length)).expect("good")
}

fn every_operation<W: Number>(region: &Opened, offset: u64, max: W) {
    let word = |operation| region.atomic(offset, operation).expect("good");
    let number = |value: u8| W::from(value);
    assert_eq!(word(Do::Load), number(0));
    word(Do::Store(max));
    assert_eq!(word(Do::Add(number(6))), max, "it wraps around");
    assert_eq!(word(Do::Swap(number(0b1100))), number(5));
    assert_eq!(word(Do::Or(number(0b0011))), number(0b1100));
    assert_eq!(word(Do::And(number(0b0110))), number(0b1111));
    assert_eq!(word(Do::CompareSwap(number(7), number(9))), number(6), "another number stands there");
    assert_eq!(word(Do::Load), number(6));
    assert_eq!(word(Do::CompareSwap(number(6), number(9))), number(6));
    assert_eq!(word(Do::Load), number(9));
}

#[test]
fn each_operation_does_what_it_says_and_touches_no_neighbour() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder, 4096);
        region.fill(0, 32, 0x5a).unwrap();
        region.fill(8, 8, 0).unwrap();
        every_operation(&region, 8, u64::MAX);
        assert_eq!(region.bytes(8, 8), 9u64.to_le_bytes(), "others read it as any bytes");
        region.fill(8, 8, 0).unwrap();
        every_operation(&region, 12, u32::MAX);
        assert_eq!(region.bytes(8, 8), (9u64 << 32).to_le_bytes());
        assert_eq!((region.bytes(0, 8), region.bytes(16, 16)), (vec![0x5a; 8], vec![0x5a; 16]));
        region.fill(4088, 8, 0).unwrap();
        every_operation(&region, 4088, u64::MAX);
    }
}

#[test]
fn c_callers_may_leave_out_the_previous_number_but_not_a_load() {
    let folder = Folder::new();
    let opened = open(Door::C, &folder, 4096);
    let region = opened.token();
    let none = std::ptr::null_mut();
    for operation in Do::<u64>::all() {
        match operation {
            Do::Load => refused(region.atomic_to(0, operation, none), EINVAL, &["'ret_value' is NULL"]),
            Do::CompareSwap(..) => assert_eq!(region.atomic_to(0, operation, none), Ok(1)),
            _ => assert_eq!(region.atomic_to(0, operation, none), Ok(0)),
        }
    }
    assert_eq!(region.atomic(0, Do::<u64>::Load), Ok(2));
}

fn refusals<W: Number>(region: &Opened, read_only: &Opened) {
    let size = size_of::<W>() as u64;
    for operation in Do::<W>::all() {
        for offset in [1, 2, size / 2, size - 1, size + 1, u64::MAX - 1, u64::MAX, 9999] {
            refused(region.atomic(offset, operation), EINVAL, &[&offset.to_string(), &format!("multiple of {size}")]);
        }
        for offset in [4096, 4096 + size, 1 << 40, u64::MAX - (size - 1)] {
            refused(region.atomic(offset, operation), ERANGE, &[&offset.to_string(), "4096 bytes long"]);
        }
        if operation.writes() {
            refused(read_only.atomic(0, operation), EACCES, &["MAPSHARE_READ_ONLY"]);
        } else {
            assert_eq!(read_only.atomic(0, operation), Ok(W::from(3)));
        }
    }
}

#[test]
fn misaligned_out_of_range_and_read_only_are_codes_and_change_nothing() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder, 4096);
        region.write(0, &[3, 0, 0, 0]).unwrap();
        let read_only = door.open(folder.join("file"), &with(MAPSHARE_READ_ONLY)).unwrap();
        refusals::<u32>(&region, &read_only);
        refusals::<u64>(&region, &read_only);
        assert_eq!(region.bytes(0, 4096), [vec![3], vec![0; 4095]].concat());
    }
}

#[test]
fn a_word_that_others_have_added_is_taken_over() {
    for door in DOORS {
        let folder = Folder::new();
        let options = mapshare_options { reserve: 1 << 20, ..common::create(4096) };
        let region = door.open(folder.join("file"), &options).unwrap();
        let mut other = open(door, &folder, 4096);
        other.resize(8192).unwrap();
        assert_eq!(region.atomic(4096, Do::Add(5u64)), Ok(0));
        assert_eq!((region.length(), other.atomic(4096, Do::<u64>::Load)), (8192, Ok(5)));
    }
}

#[test]
fn a_copy_on_write_region_has_words_of_its_own() {
    for door in DOORS {
        let folder = Folder::new();
        let shared = open(door, &folder, 4096);
        let private = door.open(folder.join("file"), &with(MAPSHARE_COPY_ON_WRITE)).unwrap();
        assert_eq!(private.atomic(8, Do::Add(1u64)), Ok(0));
        assert_eq!((private.atomic(8, Do::<u64>::Load), shared.atomic(8, Do::<u64>::Load)), (Ok(1), Ok(0)));
    }
}

#[test]
fn threads_and_processes_lose_no_operation() {
    if let Some(path) = role() {
        watchdog();
        let region = Door::C.open(&path, &with(MAPSHARE_READ_WRITE)).unwrap();
        tell("ready");
        listen();
        count_up(&region);
        return;
    }
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder, 4096);
        let path = folder.join("file");
        let test = threads_and_processes_lose_no_operation;
        let mut partners = [0; 2].map(|_| Partner::start(test, path.to_str().unwrap()));
        partners.iter_mut().for_each(|partner| partner.hears("ready"));
        partners.iter_mut().for_each(|partner| partner.say("go"));
        thread::scope(|scope| {
            (0..2).for_each(|_| drop(scope.spawn(|| count_up(&region))));
        });
        partners.into_iter().for_each(Partner::finish);
        let words = [0, 8, 16].map(|offset| region.atomic(offset, Do::<u64>::Load).unwrap());
        assert_eq!(words, [4 * OPERATIONS, 4 * OPERATIONS, 0], "{door:?}");
        assert_eq!(region.atomic(24, Do::<u32>::Load), Ok(4 * OPERATIONS as u32));
    }
}

fn count_up(region: &Opened) {
    for _ in 0..OPERATIONS {
        region.atomic(0, Do::Add(1u64)).expect("good");
        let mut seen = region.atomic(8, Do::<u64>::Load).expect("good");
        loop {
            let now = region.atomic(8, Do::CompareSwap(seen, seen + 1)).expect("good");
            if now == seen {
                break;
            }
            seen = now;
        }
        region.atomic(16, Do::Or(1u64)).expect("good");
        region.atomic(16, Do::And(!1u64)).expect("good");
        region.atomic(24, Do::Add(1u32)).expect("good");
    }
}

#[test]
fn a_file_cut_short_is_a_code_in_every_operation_and_comes_back_with_refresh() {
    for door in DOORS {
        let folder = Folder::new();
        let mut region = open(door, &folder, 8192);
        let file = File::options().write(true).open(folder.join("file")).unwrap();
        file.set_len(4096).unwrap();
        for operation in Do::<u64>::all() {
            refused(region.atomic(4096, operation), ENXIO, &["offset 4096 ", "0 of 8 bytes", "cut short"]);
        }
        for operation in Do::<u32>::all() {
            refused(region.atomic(8188, operation), ENXIO, &["offset 8188 ", "0 of 4 bytes", "cut short"]);
        }
        assert_eq!(region.atomic(4088, Do::Add(1u64)), Ok(0), "what is left is there");
        file.set_len(8192).unwrap();
        assert_eq!(region.atomic(4096, Do::Add(1u64)), Ok(0));
        file.set_len(4096).unwrap();
        assert_eq!(region.refresh(), Ok(true));
        refused(region.atomic(4096, Do::<u64>::Load), ERANGE, &["4096 bytes long"]);
    }
}

/// A view's fault puts zeros in place of the page: no operation may take them for the file's bytes.
#[test]
fn a_page_that_a_view_has_lost_is_a_code_until_refresh() {
    for door in DOORS {
        let folder = Folder::new();
        let mut region = open(door, &folder, 8192);
        let view = region.view(4096, 8).unwrap();
        let file = File::options().write(true).open(folder.join("file")).unwrap();
        file.set_len(4096).unwrap();
        // SAFETY: a view that is out.
        assert_eq!(unsafe { view.read_volatile() }, 0);
        file.set_len(8192).unwrap();
        for operation in Do::<u64>::all() {
            refused(region.atomic(4096, operation), ENXIO, &["lost pages", "mapshare_refresh"]);
        }
        assert_eq!(region.atomic(0, Do::Add(1u64)), Ok(0), "other pages serve");
        region.refresh().unwrap();
        assert_eq!(region.atomic(4096, Do::Add(1u64)), Ok(0));
    }
}

#[test]
fn a_thread_that_blocks_sigbus_is_served_and_keeps_its_mask() {
    in_own_process(a_thread_that_blocks_sigbus_is_served_and_keeps_its_mask, || {
        for door in DOORS {
            let folder = Folder::new();
            let region = open(door, &folder, 8192);
            let file = File::options().write(true).open(folder.join("file")).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| {
                    faults::block(SIGBUS, SIG_BLOCK);
                    assert_eq!(region.atomic(4096, Do::Add(1u64)), Ok(0));
                    file.set_len(4096).unwrap();
                    for operation in Do::<u64>::all() {
                        refused(region.atomic(4096, operation), ENXIO, &["offset 4096 ", "0 of 8 bytes", "cut short"]);
                    }
                    assert!(faults::is_blocked(SIGBUS));
                });
            });
        }
    });
}

#[test]
fn without_a_handler_only_files_that_cannot_shrink_have_words() {
    let test = without_a_handler_only_files_that_cannot_shrink_have_words;
    in_own_process(test, || {
        let folder = Folder::new();
        let options = mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_NO_HANDLER, ..common::create(4096) };
        let region = Door::C.open(folder.join("file"), &options).unwrap();
        for operation in Do::<u64>::all() {
            refused(region.atomic(0, operation), EOPNOTSUPP, &["MAPSHARE_NO_HANDLER"]);
        }
        // SAFETY: a constant name.
        let fd = unsafe { memfd_create(c"sealed".as_ptr(), MFD_CLOEXEC | MFD_ALLOW_SEALING) };
        // SAFETY: ours.
        assert_eq!(unsafe { ftruncate(fd, 4096) }, 0);
        // SAFETY: ours.
        assert_eq!(unsafe { fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) }, 0);
        let options = mapshare_options { flags: MAPSHARE_NO_HANDLER, ..with(MAPSHARE_READ_WRITE) };
        let sealed = Door::C.open_fd(fd, &options).unwrap();
        every_operation(&sealed, 0, u64::MAX);
        // SAFETY: ours.
        unsafe { close(fd) };
    });
}

/// While the file is cut and extended in a tight loop, each operation is done or a code, and none is lost or done twice.
#[test]
fn while_another_cuts_and_extends_each_operation_is_done_once_or_a_code() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder, 8192);
        let file = File::options().write(true).open(folder.join("file")).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop = common::process::StopAtEnd(&stop);
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    file.set_len(4096).unwrap();
                    file.set_len(8192).unwrap();
                }
            });
            let (mut done, mut failed) = (0u64, 0u64);
            while (done < 20_000 || failed < 1) && done + failed < 5_000_000 {
                match region.atomic(4096, Do::Add(1u64)) {
                    // The page begins anew with zeros each time.
                    Ok(previous) => {
                        assert!(previous <= done, "{previous} of {done}");
                        done += 1;
                    }
                    Err(failure) => {
                        assert_eq!(failure.code, ENXIO, "{}", failure.text);
                        failed += 1;
                    }
                }
            }
            assert!(done > 0);
        });
    }
}
