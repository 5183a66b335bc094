//! Memory files that are sealed against shrinking cannot fault: no handler is installed for them.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use common::c;
use common::process::in_own_process;
use common::*;
use faults::*;
use libc::*;

const RW: u32 = MAPSHARE_READ_WRITE;

/// A memory file of four pages with these seals.
fn memfd(seals: i32, flags: u32) -> Option<i32> {
    // SAFETY: a C string.
    let fd = unsafe { memfd_create(c"test".as_ptr(), MFD_ALLOW_SEALING | MFD_CLOEXEC | flags) };
    if fd == -1 {
        return None;
    }
    let length = if flags & MFD_HUGETLB != 0 { 2 << 20 } else { 4 * page() };
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { ftruncate(fd, length as i64) }, 0);
    if seals != 0 {
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { fcntl(fd, F_ADD_SEALS, seals) }, 0);
    }
    Some(fd)
}

fn shut(fd: i32) {
    // SAFETY: a descriptor of the test's own.
    assert_eq!(unsafe { close(fd) }, 0);
}

#[test]
fn regions_of_sealed_memory_files_install_no_handler() {
    in_own_process(regions_of_sealed_memory_files_install_no_handler, || {
        let page = page();
        for before in [SIG_DFL, SIG_IGN] {
            install(before, 0, &[]);
            for seals in [F_SEAL_SHRINK, F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_SHRINK | F_SEAL_SEAL] {
                for flags in [0, MAPSHARE_NO_HANDLER] {
                    for access in [RW, MAPSHARE_READ_ONLY, MAPSHARE_COPY_ON_WRITE] {
                        let fd = memfd(seals, 0).unwrap();
                        let region = c::open_fd(fd, &mapshare_options { flags, ..with(access) }).unwrap();
                        let view = region.view(0, 4 * page).unwrap();
                        let mut bytes = vec![1; 4 * page as usize];
                        region.read(0, &mut bytes).unwrap();
                        if access == MAPSHARE_READ_ONLY {
                            assert_eq!(peek(view), 0);
                        } else {
                            region.write(page, b"bytes").unwrap();
                            region.copy_from(2 * page, region, page, 5).unwrap();
                            region.fill(0, 1, 9).unwrap();
                            poke(view.wrapping_add(1), 8);
                            region.read(0, &mut bytes).unwrap();
                            assert_eq!((bytes[0], bytes[1], &bytes[2 * page as usize..][..5]), (9, 8, &b"bytes"[..]));
                        }
                        // SAFETY: no memory is passed.
                        assert_eq!(unsafe { ftruncate(fd, 0) }, -1, "the seal holds");
                        shut(fd);
                        region.release(view).unwrap();
                        region.unmap().unwrap();
                        assert_eq!(disposition(), (before, 0));
                    }
                }
            }
        }
    });
}

#[test]
fn sealed_regions_grow_without_a_handler() {
    in_own_process(sealed_regions_grow_without_a_handler, || {
        install(SIG_DFL, 0, &[]);
        let page = page();
        let fd = memfd(F_SEAL_SHRINK, 0).unwrap();
        let options = mapshare_options { reserve: 16 * page, flags: MAPSHARE_NO_HANDLER, ..with(RW) };
        let region = c::open_fd(fd, &options).unwrap();
        region.resize(8 * page).unwrap();
        region.fill(0, 8 * page, 3).unwrap();
        refused(region.resize(page), EPERM, &[]);
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { ftruncate(fd, 12 * page as i64) }, 0);
        assert!(region.refresh().unwrap());
        region.resize(64 * page).unwrap();
        region.fill(0, 64 * page, 3).unwrap();
        assert_eq!(disposition(), (SIG_DFL, 0));
        region.unmap().unwrap();
    });
}

#[test]
fn what_may_shrink_installs_the_handler() {
    in_own_process(what_may_shrink_installs_the_handler, || {
        let folder = Folder::new();
        let file = std::fs::File::options().read(true).write(true).open(folder.file("file", 8192)).unwrap();
        let file = std::os::fd::AsRawFd::as_raw_fd(&file);
        let memfds = [0, F_SEAL_GROW, F_SEAL_SEAL].map(|seals| memfd(seals, 0).unwrap());
        for fd in memfds.into_iter().chain([file]) {
            install(SIG_DFL, 0, &[]);
            let quiet = mapshare_options { flags: MAPSHARE_NO_HANDLER, ..with(RW) };
            let region = c::open_fd(fd, &quiet).unwrap();
            assert_eq!(disposition(), (SIG_DFL, 0));
            refused(region.view(0, 1), EOPNOTSUPP, &["seal"]);
            region.unmap().unwrap();
            let region = c::open_fd(fd, &with(RW)).unwrap();
            assert_ne!(disposition().0, SIG_DFL, "descriptor {fd}");
            // SAFETY: no memory is passed.
            assert_eq!(unsafe { ftruncate(fd, 0) }, 0);
            refused(region.read(0, &mut [0]), ENXIO, &[]);
            region.unmap().unwrap();
        }
    });
}

#[test]
fn a_memory_file_that_is_sealed_after_the_open_stays_guarded() {
    in_own_process(a_memory_file_that_is_sealed_after_the_open_stays_guarded, || {
        install(SIG_DFL, 0, &[]);
        let fd = memfd(0, 0).unwrap();
        let region = c::open_fd(fd, &with(RW)).unwrap();
        let view = region.view(0, 4 * page()).unwrap();
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { ftruncate(fd, page() as i64) }, 0);
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) }, 0);
        assert_eq!(peek(view.wrapping_add(2 * page() as usize)), 0);
        refused(region.read(3 * page(), &mut [0]), ENXIO, &[]);
        refused(region.release(view), ENXIO, &[]);
        assert_eq!(region.info().unwrap().seals & F_SEAL_SHRINK as u32, F_SEAL_SHRINK as u32);
        region.unmap().unwrap();
    });
}

#[test]
fn a_range_past_the_end_of_a_sealed_file_is_a_code_and_no_signal() {
    in_own_process(a_range_past_the_end_of_a_sealed_file_is_a_code_and_no_signal, || {
        install(SIG_DFL, 0, &[]);
        let page = page();
        let fd = memfd(F_SEAL_SHRINK, 0).unwrap();
        let options = mapshare_options { reserve: 64 * page, ..with(RW) };
        let region = c::open_fd(fd, &options).unwrap();
        refused(region.read(4 * page - 1, &mut [0; 2]), ERANGE, &[]);
        refused(region.view(4 * page, 1), ERANGE, &[]);
        refused(c::open_fd(fd, &mapshare_options { length: 5 * page, ..with(RW) }), ENXIO, &[]);
        let made = c::open_fd(fd, &create(5 * page)).unwrap();
        made.fill(0, 5 * page, 1).unwrap();
        region.read(4 * page, &mut vec![0; page as usize]).unwrap();
        assert_eq!(disposition(), (SIG_DFL, 0));
    });
}

#[test]
fn sealed_huge_pages_which_may_run_out_install_the_handler() {
    in_own_process(sealed_huge_pages_which_may_run_out_install_the_handler, || {
        let Some(fd) = memfd(F_SEAL_SHRINK, MFD_HUGETLB) else {
            return skip("this kernel makes no hugetlb memory files");
        };
        install(SIG_DFL, 0, &[]);
        match c::open_fd(fd, &with(RW)) {
            Ok(_) => assert_ne!(disposition().0, SIG_DFL),
            Err(failure) => skip(&format!("no huge pages are set aside (vm.nr_hugepages): {}", failure.text)),
        }
    });
}
