//! A thousand processes that create and open one name or path at once, and ten thousand that are killed.

mod common;

use common::forks::Forked;
use common::names::{Name, inode};
use common::process::{Refusal, refuse};
use common::*;
use libc::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const LENGTH: u64 = 1 << 20;
const LAST: u64 = MAPSHARE_UNLINK_LAST;

/// Longer than any of these takes on a machine that is busy with other things.
fn allow_minutes() {
    // SAFETY: no memory is passed.
    unsafe { alarm(300) };
}

/// Opens what all open, at the same moment as the others, and tells its exit code: 0 for the whole thing.
fn race(path: &Path, open: impl Fn() -> Outcome<Opened>) -> i32 {
    // Whoever waits for a file to be complete would sleep or yield.
    for call in [SYS_nanosleep, SYS_clock_nanosleep, SYS_sched_yield, SYS_poll, SYS_select, SYS_ppoll] {
        refuse(call, None, Refusal::Kill);
    }
    let region = match open() {
        Ok(region) => region,
        Err(failure) => return failure.code,
    };
    let found = fs::metadata(path).expect("what is open has its name");
    let info = region.info();
    let is_whole = (region.length(), info.file_length, found.len()) == (LENGTH, LENGTH, LENGTH)
        && (info.inode, info.device) == (found.ino(), found.dev())
        && found.blocks() * 512 >= LENGTH;
    region.write(u64::from(std::process::id()), b"!").expect("it is open for writing");
    if is_whole { 0 } else { 200 }
}

#[test]
fn of_a_thousand_that_create_at_once_one_makes_it_and_none_sees_a_half() {
    const PROCESSES: usize = 1000;
    in_own_process(of_a_thousand_that_create_at_once_one_makes_it_and_none_sees_a_half, || {
        allow_minutes();
        process::limit(RLIMIT_NOFILE, 5 * PROCESSES as u64);
        for door in DOORS {
            for by_name in [true, false] {
                for extra in [0, MAPSHARE_EXCLUSIVE] {
                    let (name, folder) = (Name::new(), Folder::new());
                    let path = if by_name { name.path() } else { folder.join("file") };
                    let options = mapshare_options { flags: MAPSHARE_CREATE | extra, ..common::create(LENGTH) };
                    // Each is there, and waits for a byte of this one pipe, into which all of them are written at once.
                    let (start, mut starter) = std::io::pipe().expect("a pipe");
                    let all: Vec<_> = (0..PROCESSES)
                        .map(|_| {
                            Forked::start(|_| {
                                std::io::Read::read_exact(&mut &start, &mut [0]).expect("a byte for each");
                                race(&path, || match by_name {
                                    true => door.open_named(name.text(), &options),
                                    false => door.open(&path, &options),
                                })
                            })
                        })
                        .collect();
                    std::io::Write::write_all(&mut starter, &[1; PROCESSES]).expect("the pipe holds them");
                    let mut codes = BTreeMap::new();
                    for child in all {
                        *codes.entry(child.end()).or_insert(0) += 1;
                    }
                    let expected = match extra {
                        0 => BTreeMap::from([(0, PROCESSES)]),
                        _ => BTreeMap::from([(0, 1), (EEXIST, PROCESSES - 1)]),
                    };
                    assert_eq!(codes, expected, "{door:?}, {path:?}, flags {extra:#x}");
                    // One made it, and nobody else's took its place: what all wrote is in this one.
                    let written = fs::read(&path).unwrap().iter().filter(|byte| **byte == b'!').count();
                    assert_eq!(written, codes[&0]);
                    assert_eq!((folder.names().len(), name.all().len()), (usize::from(!by_name), usize::from(by_name)));
                }
            }
        }
    });
}

/// Makes a name, and keeps looking until the parent says something: it has to stay.
fn live(door: Door, name: &str, mut parent: forks::Parent) -> i32 {
    let region = door.open_named(name, &mapshare_options { flags: MAPSHARE_CREATE | LAST, ..common::create(1) });
    let own = region.as_ref().expect("it is made").info().inode;
    parent.tell(1);
    while !parent.has_spoken() {
        if inode(name) != own {
            return 1;
        }
        std::thread::sleep(std::time::Duration::from_millis(1)); // there is no hurry
    }
    drop(region);
    i32::from(names::exists(name))
}

#[test]
fn ten_thousand_kills_leave_nothing_that_sweeps_do_not_take_and_they_take_nothing_else() {
    const KILLS: usize = 10_000;
    const BATCH: usize = 50;
    in_own_process(ten_thousand_kills_leave_nothing_that_sweeps_do_not_take_and_they_take_nothing_else, || {
        allow_minutes();
        let name = Name::new();
        let make = mapshare_options { flags: MAPSHARE_CREATE | LAST, ..common::create(1) };
        // What sweeps have to leave alone: used by the living, or made to stay.
        let stays = name.with("stays");
        drop(Door::C.open_named(&stays, &common::create(1)).unwrap());
        let names_of_living: Vec<_> = (0..4).map(|number| name.with(format!("living-{number}"))).collect();
        let mut living: Vec<_> = names_of_living
            .iter()
            .enumerate()
            .map(|(number, name)| Forked::start(|parent| live(DOORS[number % 2], name, parent)))
            .collect();
        living.iter_mut().for_each(|child| assert_eq!(child.hear(), 1));
        let killed = |range: std::ops::Range<usize>| {
            let mut batch: Vec<_> = range
                .map(|number| {
                    let child = Forked::start(|mut parent| {
                        let region = DOORS[number % 2].open_named(name.with(number), &make).unwrap();
                        parent.tell(1);
                        std::mem::forget(region);
                        parent.wait_for_the_end()
                    });
                    (number, child)
                })
                .collect();
            // Every third is killed wherever it is.
            batch.iter_mut().filter(|(number, _)| number % 3 != 0).for_each(|(_, child)| assert_eq!(child.hear(), 1));
            batch.into_iter().for_each(|(_, child)| child.kill());
        };

        // Alone: one sweep takes them all.
        for start in (0..KILLS / 2).step_by(BATCH) {
            killed(start..start + BATCH);
        }
        let dead = name.all().len() - living.len() - 1;
        assert!(dead >= KILLS / 3, "they had made their names: {dead}");
        assert_eq!(Door::C.sweep_named(name.text()), Ok(dead as u64));
        assert_eq!(name.all().len(), living.len() + 1, "{:?}", name.all());

        // While others sweep: two at once, without a pause.
        let mut sweepers: Vec<_> = DOORS
            .into_iter()
            .map(|door| {
                let name = &name;
                Forked::start(move |mut parent| {
                    parent.tell(1);
                    let mut taken = 0;
                    while !parent.has_spoken() {
                        taken += door.sweep_named(name.text()).expect("it sweeps");
                    }
                    i32::from(taken == 0)
                })
            })
            .collect();
        sweepers.iter_mut().for_each(|child| assert_eq!(child.hear(), 1));
        for start in (KILLS / 2..KILLS).step_by(BATCH) {
            killed(start..start + BATCH);
        }
        for mut child in sweepers {
            child.say(1);
            assert_eq!(child.end(), 0, "a sweeper took something");
        }
        Door::C.sweep_named(name.text()).unwrap();
        let mut expected = names_of_living.clone();
        expected.push(stays.clone());
        assert_eq!(name.all(), expected);
        for mut child in living {
            child.say(1);
            assert_eq!(child.end(), 0, "a living one kept its name, and removed it in the end");
        }
        assert_eq!((name.all(), Door::C.sweep_named(name.text())), (vec![stays], Ok(0)));
    });
}

/// What ends after 10 seconds of patience, all at once.
#[test]
fn an_open_that_never_gets_on_is_ebusy_in_the_end_and_follows_nothing() {
    in_own_process(an_open_that_never_gets_on_is_ebusy_in_the_end_and_follows_nothing, || {
        let (name, folder) = (Name::new(), Folder::new());
        let (dead, links) = (name.with("dead"), DOORS.map(|door| name.with(format!("link-{door:?}"))));
        let user = Forked::start(|_| {
            let options = mapshare_options { flags: MAPSHARE_CREATE | LAST, ..common::create(1) };
            std::mem::forget(Door::C.open_named(&dead, &options).expect("it is made"));
            0
        });
        assert_eq!(user.end(), 0);
        // Somebody is about to remove it, and is stopped.
        let file = fs::OpenOptions::new().read(true).write(true).open(names::path(&dead)).unwrap();
        forks::lock_as_remover(&file);
        let mut openers: Vec<_> = DOORS
            .iter()
            .map(|door| {
                Forked::start(|_| {
                    refused(door.open_named(&dead, &with(0)), EBUSY, &[&dead, "10 s"]);
                    0
                })
            })
            .collect();
        // A link that is put there each time after the look at what is there.
        for (door, link) in DOORS.iter().zip(&links) {
            std::os::unix::fs::symlink(folder.join("target"), names::path(link)).unwrap();
            openers.push(Forked::start(|_| {
                refuse(SYS_newfstatat, Some((3, AT_SYMLINK_NOFOLLOW.unsigned_abs())), Refusal::Errno(ENOENT));
                refused(door.open_named(link, &common::create(1)), EBUSY, &[link, "10 s"]);
                0
            }));
        }
        for child in openers {
            assert_eq!(child.end(), 0);
        }
        assert_eq!(folder.names(), [""; 0], "no link was followed");
        drop(file);
        refused(Door::C.open_named(&dead, &with(0)), ENOENT, &[]);
        assert!(!names::exists(&dead));
    });
}

#[test]
fn one_name_that_comes_and_goes_is_always_that_of_its_users() {
    const PROCESSES: usize = 8;
    const ROUNDS: u32 = 300;
    const KILLS: usize = 200;
    in_own_process(one_name_that_comes_and_goes_is_always_that_of_its_users, || {
        allow_minutes();
        let (name, folder) = (Name::new(), Folder::new());
        let file = folder.join("file");
        // In turns by its name and as a file, to which the flag belongs.
        let worker = |number: usize, for_ever: bool| {
            let (name, file) = (&name, &file);
            Forked::start(move |mut parent| {
                let door = DOORS[number % 2];
                parent.tell(1);
                for round in 0.. {
                    match for_ever {
                        true => parent.tell(2),
                        false if round == ROUNDS => break,
                        false => {}
                    }
                    let extra = if number % 4 == 3 { MAPSHARE_EXCLUSIVE } else { 0 };
                    let options = mapshare_options { flags: MAPSHARE_CREATE | LAST | extra, ..common::create(4096) };
                    let by_name = round % 2 == 0;
                    let (path, opened) = match by_name {
                        true => (name.path(), door.open_named(name.text(), &options)),
                        false => (file.clone(), door.open(file, &options)),
                    };
                    let region = match opened {
                        Ok(region) => region,
                        Err(failure) if extra != 0 && failure.code == EEXIST => continue,
                        Err(failure) => panic!("{}", failure.text),
                    };
                    let own = region.info().inode;
                    for _ in 0..3 {
                        let there = fs::symlink_metadata(&path).map_or(0, |found| found.ino());
                        assert_eq!(there, own, "somebody removed the name of a file that is in use");
                    }
                    assert_eq!(region.info().file_length, 4096);
                }
                0
            })
        };
        let mut all: Vec<_> = (0..PROCESSES).map(|number| worker(number, false)).collect();
        all.iter_mut().for_each(|child| assert_eq!(child.hear(), 1));
        for number in 0..KILLS {
            // After some rounds, wherever it is then.
            let mut victim = worker(number, true);
            assert_eq!(victim.hear(), 1);
            (0..number % 7).for_each(|_| assert_eq!(victim.hear(), 2));
            victim.kill();
        }
        for child in all {
            assert_eq!(child.end(), 0);
        }
        Door::C.sweep_named(name.text()).unwrap();
        drop(Door::C.open(&file, &mapshare_options { flags: MAPSHARE_CREATE | LAST, ..common::create(1) }).unwrap());
        assert_eq!((name.all(), folder.names()), (vec![], vec![]));
    });
}
