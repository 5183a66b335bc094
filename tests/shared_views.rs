//! Views beside what others do: threads that fault at once, refresh, the kernel, views of the same address.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use common::random::Random;
use common::*;
use faults::*;
use libc::*;

#[test]
fn threads_that_never_called_may_fault_in_a_view() {
    let folder = Folder::new();
    let page = page();
    let (region, path, bytes) = region_with_pattern(&folder, "file", 256);
    let view = region.view(0, 256 * page).unwrap();
    files::set_length(&path, 128 * page);
    let address = view.expose_provenance();
    std::thread::scope(|scope| {
        for thread in 0..16_u64 {
            let bytes = &bytes;
            scope.spawn(move || {
                let view = std::ptr::with_exposed_provenance_mut::<u8>(address);
                for number in 0..256 {
                    let place = at(view, number, thread as usize);
                    if number < 128 {
                        assert_eq!(peek(place), bytes[(number * page) as usize + thread as usize]);
                    } else {
                        peek(place);
                        poke(place, 1);
                    }
                }
            });
        }
    });
    assert!((128..=128 * 16).contains(&region.info().unwrap().faults));
    refused(region.release(view), ENXIO, &[]);
    region.unmap().unwrap();
}

/// What a page was lost for must stand before its zeros are seen, and until they are gone; whatever runs meanwhile.
#[test]
fn no_stand_in_page_outlives_a_refresh_unnoticed() {
    let folder = Folder::new();
    let page = page();
    let pages = 16;
    let (region, path, _) = region_with_pattern(&folder, "file", pages);
    let view = region.view(0, pages * page).unwrap();
    let address = view.expose_provenance();
    let stop = Counter::new();
    let (pause, paused) = (Counter::new(), Counter::new());
    let rounds = 2000;
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (stop, pause, paused) = (&stop, &pause, &paused);
            scope.spawn(move || {
                let view = std::ptr::with_exposed_provenance_mut::<u8>(address);
                let mut random = Random::new(thread + 1);
                while stop.get() == 0 {
                    let round = pause.get();
                    if round % 2 == 1 {
                        paused.add();
                        while pause.get() == round {
                            std::hint::spin_loop();
                            std::thread::yield_now();
                        }
                    }
                    if thread == 0 {
                        region.refresh().unwrap();
                    } else {
                        poke(at(view, random.below(pages), 1), 1);
                    }
                }
            });
        }
        let wrong = (0..rounds).find_map(|round| {
            for _ in 0..10 {
                files::set_length(&path, 0);
                files::set_length(&path, pages * page);
            }
            paused.set(0);
            pause.add();
            while paused.get() < 3 {
                std::thread::yield_now();
            }
            // All is quiet, the file is whole. A call that succeeds has to reach the file.
            let wrong = (0..pages).find(|number| {
                files::write_at(&path, number * page, &[0]);
                let written = region.fill(number * page, 1, 7);
                written.is_ok() && files::read_at(&path, number * page, 1) != [7]
            });
            pause.add();
            wrong.map(|number| (round, number))
        });
        stop.set(1);
        assert_eq!(wrong, None, "(round, page): a successful call on a page of zeros that nobody knows of");
    });
    let _ = region.release(view);
    region.unmap().unwrap();
}

#[test]
fn calls_on_other_ranges_succeed_while_pages_are_lost_and_put_back() {
    let folder = Folder::new();
    let page = page();
    let (region, path, bytes) = region_with_pattern(&folder, "file", 16);
    let view = region.view(0, 16 * page).unwrap();
    let stop = Counter::new();
    let (calls, rounds) = (Counter::new(), Counter::new());
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (stop, calls, bytes) = (&stop, &calls, &bytes);
            scope.spawn(move || {
                let mut read = vec![0; 4 * page as usize];
                while stop.get() == 0 {
                    // Pages that the file always has.
                    let outcome = match thread {
                        0 => region.read(0, &mut read),
                        _ => region.write(4 * page, &bytes[4 * page as usize..8 * page as usize]),
                    };
                    if outcome.is_err() {
                        stop.set(1);
                    }
                    outcome.unwrap();
                    calls.add();
                }
            });
        }
        while stop.get() == 0 && (rounds.get() < 1000 || calls.get() < 2000) {
            rounds.add();
            files::set_length(&path, 12 * page);
            peek(at(view, 12 + rounds.get() as u64 % 4, 0));
            files::set_length(&path, 16 * page);
            region.refresh().unwrap();
        }
        stop.set(1);
    });
    refused(region.release(view), ENXIO, &[]);
    region.unmap().unwrap();
}

#[test]
fn memory_calls_of_the_kernel_on_a_view_are_no_signal_either() {
    // write(2) from a lost page is EFAULT to the caller, not a death.
    let folder = Folder::new();
    let page = page();
    let (region, path, _) = region_with_pattern(&folder, "file", 4);
    let view = region.view(0, 4 * page).unwrap();
    files::set_length(&path, 0);
    let out = std::fs::File::create(folder.join("out")).unwrap();
    // SAFETY: the kernel checks the address.
    let result = unsafe { write(std::os::fd::AsRawFd::as_raw_fd(&out), view.cast(), 10) };
    assert_eq!((result, std::io::Error::last_os_error().raw_os_error()), (-1, Some(EFAULT)));
    region.release(view).unwrap();
    region.unmap().unwrap();
}

#[test]
fn where_one_of_several_views_at_an_address_has_lost_pages_all_of_them_say_so() {
    let folder = Folder::new();
    let page = page();
    let (region, path, _) = region_with_pattern(&folder, "file", 4);
    let early = region.view(0, page).unwrap();
    files::set_length(&path, 0);
    poke(early, 1);
    files::set_length(&path, 4 * page);
    region.refresh().unwrap();
    // Nothing is lost any more when these are taken, but what the early one had written is.
    let late = [region.view(0, page).unwrap(), region.view(0, 2 * page).unwrap()];
    assert_eq!(late, [early; 2]);
    for _ in 0..3 {
        refused(region.release(early), ENXIO, &["lost pages"]);
    }
    region.unmap().unwrap();
}
