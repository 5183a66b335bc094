//! Cells: always the last whole value, and every code.

mod common;

use common::cells::{cell_bytes, pattern};
use common::process::{Partner, forked, listen, role, tell, watchdog};
use common::*;
use libc::*;
use mapshare::ffi::cell::{mapshare_cell_footprint, mapshare_cell_publish, mapshare_cell_read};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes.
const LONG: i64 = 20_000_000_000;
const AT: u64 = 64;

fn open(door: Door, folder: &Folder, value_length: u64) -> Opened {
    let region = door.open(folder.join("file"), &create(AT + cell_bytes(value_length))).expect("good");
    region.init_cell(AT, value_length).expect("good");
    region
}

#[test]
fn a_cell_never_published_reads_as_zeros_of_version_0() {
    for door in DOORS {
        let folder = Folder::new();
        let region = door.open(folder.join("file"), &create(AT + cell_bytes(10))).unwrap();
        region.fill(AT + 128, cell_bytes(10) - 128, 0xEE).unwrap();
        region.init_cell(AT, 10).unwrap();
        assert_eq!(region.read_cell(AT, 10), Ok((0, vec![0; 10])));
        refused(region.wait_cell(AT, 0, 0), ETIMEDOUT, &["cell", "no newer value"]);
    }
}

#[test]
fn a_reader_gets_the_last_value_and_versions_count_from_1() {
    for door in DOORS {
        for length in [1, 7, 8, 63, 64, 65, 1000, 4096, 100_000] {
            let folder = Folder::new();
            let region = open(door, &folder, length as u64);
            let reader = door.open(folder.join("file"), &with(MAPSHARE_READ_ONLY)).unwrap();
            for version in 1..40 {
                let value = pattern(version, length);
                region.publish(AT, &value).unwrap();
                assert_eq!(region.read_cell(AT, length), Ok((version, value.clone())));
                assert_eq!(reader.read_cell(AT, length), Ok((version, value)));
                assert_eq!(reader.wait_cell(AT, version - 1, 0), Ok(()));
                refused(reader.wait_cell(AT, version, 0), ETIMEDOUT, &[]);
            }
        }
    }
}

#[test]
fn what_is_no_cell_or_cannot_be_one_is_a_code() {
    assert_eq!(
        [0, 1 << 57, u64::MAX].map(|length| mapshare_cell_footprint(length)),
        [-EINVAL, -ERANGE, -ERANGE].map(i64::from)
    );
    assert_eq!(mapshare_cell_footprint(64), 128 + 16 * 64);
    for door in DOORS {
        let folder = Folder::new();
        let region = door.open(folder.join("file"), &create(8192)).unwrap();
        region.init_cell(AT, 64).unwrap();
        refused(region.init_cell(AT, 64), EEXIST, &["offset 64", "exists already"]);
        refused(region.init_cell(2048, 0), EINVAL, &["1 to 2^56"]);
        refused(region.init_cell(2048, u64::MAX), ERANGE, &["1 to 2^56"]);
        for offset in [1, 8, 32, 65] {
            refused(region.init_cell(offset, 8), EINVAL, &["multiple of"]);
            refused(region.publish(offset, &[1; 64]), EINVAL, &["multiple of"]);
            refused(region.read_cell(offset, 64), EINVAL, &["multiple of"]);
            refused(region.wait_cell(offset, 0, 0), EINVAL, &["multiple of"]);
        }
        for offset in [8192 - 64, 8192, u64::MAX - 63] {
            refused(region.init_cell(offset, 8), ERANGE, &["8192"]);
            refused(region.publish(offset, &[1; 8]), ERANGE, &["8192"]);
            refused(region.read_cell(offset, 8), ERANGE, &["8192"]);
        }
        refused(region.publish(AT, &[1; 63]), EINVAL, &["values of 64 bytes", "63"]);
        refused(region.read_cell(AT, 65), EINVAL, &["values of 64 bytes", "65"]);
        for at in [0, 8, 64, 120] {
            region.fill(2048, 2048, 0).unwrap();
            region.write(2048 + at, &[7]).unwrap();
            refused(region.init_cell(2048, 64), EBADMSG, &["offset 2048"]);
        }
        refused(region.publish(2048, &[1; 64]), EBADMSG, &["does not exist"]);
        refused(region.read_cell(2048, 64), EBADMSG, &["does not exist"]);
        refused(region.wait_cell(2048, 0, 0), EBADMSG, &["does not exist"]);
        for at in [8, 16, 20] {
            let byte = region.bytes(AT + at, 1);
            region.write(AT + at, &[byte[0] ^ 1]).unwrap();
            refused(region.read_cell(AT, 64), EBADMSG, &["damaged"]);
            region.write(AT + at, &byte).unwrap();
        }
        region.write(AT, &[32]).unwrap();
        refused(region.read_cell(AT, 64), EPROTONOSUPPORT, &["0x120"]);
        refused(region.init_cell(AT, 64), EPROTONOSUPPORT, &["0x120"]);
        region.write(AT, &[64]).unwrap();
        let reader = door.open(folder.join("file"), &with(MAPSHARE_READ_ONLY)).unwrap();
        refused(reader.publish(AT, &[1; 64]), EACCES, &["MAPSHARE_READ_ONLY"]);
        refused(reader.init_cell(2048, 8), EACCES, &["MAPSHARE_READ_ONLY"]);
        let private = door.open(folder.join("file"), &with(MAPSHARE_COPY_ON_WRITE)).unwrap();
        refused(private.publish(AT, &[1; 64]), EINVAL, &["MAPSHARE_COPY_ON_WRITE"]);
        refused(private.read_cell(AT, 64), EINVAL, &["MAPSHARE_COPY_ON_WRITE"]);
        refused(private.wait_cell(AT, 0, 0), EINVAL, &["MAPSHARE_COPY_ON_WRITE"]);
        refused(private.init_cell(2048, 8), EINVAL, &["MAPSHARE_COPY_ON_WRITE"]);
        assert_eq!(region.read_cell(AT, 64), Ok((0, vec![0; 64])), "nothing of all this has changed it");
    }
}

#[test]
fn a_value_of_null_is_refused() {
    let folder = Folder::new();
    let region = open(Door::C, &folder, 8);
    // SAFETY: NULL is refused.
    let published = unsafe { mapshare_cell_publish(region.token().pointer(), AT, std::ptr::null(), 8) };
    // SAFETY: as above.
    let read =
        unsafe { mapshare_cell_read(region.token().pointer(), AT, std::ptr::null_mut(), 8, std::ptr::null_mut()) };
    assert_eq!((published, read), (-EINVAL, -EINVAL));
}

#[test]
fn readers_beside_writers_see_whole_values_whose_versions_never_fall() {
    const WRITES: u64 = 4_000;
    for door in DOORS {
        for length in [24, 1000, 5000] {
            let folder = Folder::new();
            let region = open(door, &folder, length as u64);
            thread::scope(|scope| {
                for writer in 0..2 {
                    let region = &region;
                    scope.spawn(move || {
                        for number in 0..WRITES {
                            region.publish(AT, &pattern(number << 1 | writer, length)).unwrap();
                        }
                    });
                }
                let mut last = 0;
                while last < 2 * WRITES {
                    let (version, value) = match region.read_cell(AT, length) {
                        Err(failure) if failure.code == EAGAIN => continue,
                        other => other.unwrap(),
                    };
                    assert!(version >= last, "{version} after {last}");
                    last = version;
                    let number = u64::from_le_bytes(value[..8].try_into().unwrap());
                    assert!(version == 0 || value == pattern(number, length), "torn");
                }
            });
        }
    }
}

/// The value is copied over the cell's own version, so that each look finds another one, far away from the one before:
/// as if writers were that fast.
#[test]
fn a_reader_whom_writers_overtake_64_times_is_told_so() {
    const VERSION: u64 = 24;
    const SLOTS: u64 = 16;
    for door in DOORS {
        let folder = Folder::new();
        let mut region = open(door, &folder, 8);
        let next = |slot| 1600 * (slot + 1) + (slot + 1) % SLOTS;
        for slot in 0..SLOTS {
            region.write(AT + 128 + 64 * slot, &next(slot).to_le_bytes()).unwrap();
        }
        let version = region.view(AT + VERSION, 8).unwrap();
        let lapped = match &region {
            Opened::C { token, .. } => {
                // SAFETY: room for a value.
                let read = unsafe { mapshare_cell_read(token.pointer(), AT, version.cast(), 8, std::ptr::null_mut()) };
                common::c::outcome("mapshare_cell_read", read).map(drop)
            }
            Opened::Rust { region: opened, .. } => {
                let words = opened.as_ref().unwrap().words(AT, cell_bytes(8)).unwrap();
                // SAFETY: room for a value, to which nobody else has a reference.
                let value = unsafe { std::slice::from_raw_parts_mut(version, 8) };
                mapshare::Cell::at(words).unwrap().read(value).map(drop).map_err(Failure::from)
            }
        };
        refused(lapped, EAGAIN, &["overwritten 64 times", "read again"]);
        region.release(version);
        // From C two attempts that give up at once come before the 64.
        let looks = if door == Door::C { 66 } else { 64 };
        assert_eq!(region.read_cell(AT, 8).map(|(version, _)| version), Ok(next((looks - 1) % SLOTS)));
    }
}

#[test]
fn sleepers_are_woken_by_the_next_version_and_those_who_may_only_read_notice_it() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder, 64);
        let reader = door.open(folder.join("file"), &with(MAPSHARE_READ_ONLY)).unwrap();
        for version in 1..20u64 {
            thread::scope(|scope| {
                let sleepers: Vec<_> = [&region, &region, &reader]
                    .map(|from| scope.spawn(move || from.wait_cell(AT, version - 1, LONG)))
                    .into();
                region.publish(AT, &pattern(version, 64)).unwrap();
                for sleeper in sleepers {
                    assert_eq!(sleeper.join().unwrap(), Ok(()));
                }
            });
        }
        let began = Instant::now();
        refused(region.wait_cell(AT, 19, 30_000_000), ETIMEDOUT, &[]);
        assert!(began.elapsed() >= Duration::from_millis(30));
    }
}

/// Publishes until it is killed.
fn publish_for_ever() -> bool {
    let Some(path) = role().filter(|role| role.starts_with('/')) else { return false };
    watchdog();
    let region = Door::C.open(path, &with(MAPSHARE_READ_WRITE)).expect("good");
    tell("ready");
    for number in 1.. {
        region.publish(AT, &pattern(number, 4096)).expect("good");
    }
    listen();
    true
}

#[test]
fn killed_writers_leave_the_last_whole_value_and_the_next_one_goes_on() {
    if publish_for_ever() {
        return;
    }
    for door in DOORS {
        let folder = Folder::new();
        let path = folder.join("file");
        let region = open(door, &folder, 4096);
        let test = killed_writers_leave_the_last_whole_value_and_the_next_one_goes_on;
        let mut last = 0;
        for round in 0..15 {
            let mut writer = Partner::start(test, path.to_str().unwrap());
            writer.hears("ready");
            region.wait_cell(AT, last + 10 * round, LONG).unwrap();
            writer.kill();
            let (version, value) = region.read_cell(AT, 4096).unwrap();
            let number = u64::from_le_bytes(value[..8].try_into().unwrap());
            assert_eq!(value, pattern(number, 4096), "torn");
            region.publish(AT, &pattern(7, 4096)).unwrap();
            assert_eq!(region.read_cell(AT, 4096), Ok((version + 1, pattern(7, 4096))));
            last = version + 1;
        }
    }
}

#[test]
fn a_child_publishes_as_a_participant_of_its_own() {
    in_own_process(a_child_publishes_as_a_participant_of_its_own, || DOORS.into_iter().for_each(child_publishes));
}

fn child_publishes(door: Door) {
    let folder = Folder::new();
    let region = open(door, &folder, 64);
    region.publish(AT, &pattern(1, 64)).expect("good");
    let child = || i32::from(region.publish(AT, &pattern(2, 64)).is_err());
    assert_eq!(forked(child), 0);
    assert_eq!(region.read_cell(AT, 64), Ok((2, pattern(2, 64))));
    region.publish(AT, &pattern(3, 64)).expect("good");
}

#[test]
fn a_file_cut_short_is_a_code_from_every_function_and_is_good_again_after_refresh() {
    for door in DOORS {
        let folder = Folder::new();
        let region = door.open(folder.join("file"), &create(16384)).unwrap();
        region.init_cell(8192, 64).unwrap();
        region.publish(8192, &[1; 64]).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(folder.join("file")).unwrap();
        file.set_len(4096).unwrap();
        refused(region.read_cell(8192, 64), ENXIO, &[]);
        refused(region.publish(8192, &[1; 64]), ENXIO, &[]);
        refused(region.wait_cell(8192, 0, LONG), ENXIO, &[]);
        refused(region.init_cell(8192, 64), ENXIO, &[]);
        file.set_len(16384).unwrap();
        region.init_cell(8192, 64).unwrap();
        region.publish(8192, &[2; 64]).unwrap();
        assert_eq!(region.read_cell(8192, 64), Ok((1, vec![2; 64])));
    }
}
