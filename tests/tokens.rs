//! Handles are tokens: whatever number is passed, the answer is a code.

mod common;

use common::c::{self, Token};
use common::process::{StopAtEnd, watchdog};
use common::*;
use libc::*;
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn any_forged_token_is_ebadf() {
    let folder = Folder::new();
    let open: Vec<_> =
        (0..50).map(|index| c::open(&folder.join(&index.to_string()), &common::create(100)).unwrap()).collect();
    // Numbers like a token, differing in some bits, as often as any others.
    let near = (0..open.len(), any::<u64>(), 0..64u32).prop_map(|(index, bits, keep)| {
        let bits = bits.checked_shl(keep).unwrap_or(0);
        (index, bits)
    });
    let tokens = open.clone();
    let forged = prop_oneof![any::<u64>(), near.prop_map(move |(index, bits)| tokens[index].0 ^ bits)];
    let seed: [u8; 32] = std::array::from_fn(|_| std::process::id() as u8 ^ 0x5a);
    eprintln!("seed {seed:?}");
    let rng = proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
    let config = ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, rng);
    let result = runner.run(&forged, |number| {
        let token = Token(number);
        prop_assume!(!open.contains(&token));
        let mut byte = [0xAA];
        prop_assert_eq!(code(token.read(0, &mut byte)), EBADF);
        prop_assert_eq!(byte[0], 0xAA);
        prop_assert_eq!(code(token.unmap()), EBADF);
        prop_assert_eq!(code(token.length()), EBADF);
        prop_assert_eq!(code(token.copy_from(0, open[0], 0, 1)), EBADF);
        prop_assert_eq!(code(open[0].copy_from(0, token, 0, 1)), EBADF);
        Ok(())
    });
    result.unwrap();
    for token in open {
        assert_eq!(token.length().unwrap(), 100, "the open ones are as they were");
        token.unmap().unwrap();
    }
}

#[test]
fn a_token_is_never_given_twice() {
    let folder = Folder::new();
    let path = folder.file("file", 4096);
    let mut all = std::collections::HashSet::new();
    for _ in 0..2000 {
        let token = c::open(&path, &with(0)).unwrap();
        assert!(all.insert(token.0), "{token:?} came twice");
        assert_ne!(token.0, 0);
        token.unmap().unwrap();
        refused(token.unmap(), EBADF, &[&format!("{:#x}", token.0), "not an open region", "closed already"]);
    }
}

#[test]
fn unmap_with_views_out_is_ebusy_and_changes_nothing() {
    let folder = Folder::new();
    let region = c::open(&folder.join("file"), &common::create(10_000)).unwrap();
    let first = region.view(10, 100).unwrap();
    let second = region.view(5000, 1).unwrap();
    for left in [2, 1] {
        refused(region.unmap(), EBUSY, &[&format!("{left} view"), "release"]);
        assert_eq!(region.info().unwrap().views, left);
        region.write(10, b"goes on").unwrap();
        // SAFETY: a view that is out.
        assert_eq!(unsafe { first.read_volatile() }, b'g');
        region.release(if left == 2 { second } else { first }).unwrap();
    }
    region.unmap().unwrap();
    refused(region.unmap(), EBADF, &[]);
}

#[test]
fn release_takes_exactly_what_view_returned() {
    let folder = Folder::new();
    let region = c::open(&folder.join("file"), &common::create(10_000)).unwrap();
    let other = c::open(&folder.join("file"), &common::create(10_000)).unwrap();
    let view = region.view(0, 100).unwrap();
    assert_eq!(region.view(0, 50).unwrap(), view, "the same address, a second view");
    let elsewhere = other.view(0, 1).unwrap();
    for wrong in [std::ptr::null_mut(), view.wrapping_add(1), elsewhere, std::ptr::without_provenance_mut(8)] {
        refused(region.release(wrong), EINVAL, &[&format!("{:#x}", wrong.addr())]);
    }
    assert_eq!([(); 3].map(|()| code(region.release(view))), [0, 0, EINVAL], "returned twice, released twice");
    refused(region.unmap().and_then(|()| region.release(view)), EBADF, &[]);
    refused(other.release(view), EINVAL, &[]);
    other.release(elsewhere).unwrap();
    other.unmap().unwrap();
}

#[test]
fn a_view_keeps_its_bytes_when_the_rust_region_is_dropped() {
    let folder = Folder::new();
    let path = folder.file_with("file", b"bytes that stay");
    let region = mapshare::Options::new().open(&path).unwrap();
    let view = region.view(6, 4).unwrap();
    drop(region);
    assert_eq!((view.len(), view.is_empty()), (4, false));
    // SAFETY: the view lives, and nobody changes the file.
    assert_eq!(unsafe { view.as_ptr().cast::<[u8; 4]>().read_volatile() }, *b"that");
}

#[test]
fn of_many_threads_that_unmap_one_succeeds() {
    let folder = Folder::new();
    for _ in 0..200 {
        let region = c::open(&folder.join("file"), &common::create(4096)).unwrap();
        let barrier = std::sync::Barrier::new(4);
        let good: usize = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        match code(region.unmap()) {
                            0 => 1,
                            EBADF => 0,
                            other => panic!("unmap gave {other}"),
                        }
                    })
                })
                .collect();
            all.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(good, 1);
    }
}

/// An old token and a new one may name the same place in the library's table.
#[test]
fn a_copy_between_a_stale_token_and_its_successor_never_waits_for_itself() {
    in_own_process(a_copy_between_a_stale_token_and_its_successor_never_waits_for_itself, || {
        watchdog();
        let folder = Folder::new();
        let path = folder.join("file");
        let stale = c::open(&path, &common::create(4096)).unwrap();
        stale.unmap().unwrap();
        let open = c::open(&path, &common::create(4096)).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    open.protect(MAPSHARE_READ_WRITE).unwrap(); // waits for all calls in flight
                }
            });
            let _stop = StopAtEnd(&stop);
            for _ in 0..20_000 {
                assert_eq!(code(open.copy_from(0, stale, 0, 1)), EBADF);
                assert_eq!(code(stale.copy_from(0, open, 0, 1)), EBADF);
            }
        });
        open.unmap().unwrap();
    });
}
