//! A cell against a variable and a count: whatever is done in whatever order, both give the same.

mod common;

use common::cells::{cell_bytes, pattern};
use common::random::cases;
use common::*;
use libc::*;
use proptest::prelude::*;

const AT: u64 = 64;
const LARGEST: u64 = 5000;
/// Where docs/format.md has the version, from the cell's first byte.
const VERSION: u64 = 24;

#[derive(Clone, Debug)]
enum Step {
    Publish,
    /// Of as many bytes more or less than the cell's.
    PublishOther(u64),
    Read,
    ReadOther(u64),
    /// For what is newer than so many versions ago.
    Wait(u64),
    Init(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let other = || prop_oneof![Just(1u64.wrapping_neg()), Just(1u64), 1..LARGEST];
    prop_oneof![
        8 => Just(Step::Publish),
        1 => other().prop_map(Step::PublishOther),
        8 => Just(Step::Read),
        1 => other().prop_map(Step::ReadOther),
        4 => (0..3u64).prop_map(Step::Wait),
        1 => (1..LARGEST).prop_map(Step::Init),
    ]
}

/// The value's length, the version that was out before, and the steps.
fn case() -> impl Strategy<Value = (u64, u64, Vec<Step>)> {
    let before = prop_oneof![Just(0), 0..u64::MAX / 2];
    let length = prop_oneof![1..200u64, 1..LARGEST];
    (length, before, prop::collection::vec(step(), 1..120))
}

#[test]
fn a_cell_does_what_a_variable_does() {
    let folder = Folder::new();
    let bytes = AT + cell_bytes(LARGEST);
    let regions = DOORS.map(|door| {
        let writer = door.open(folder.join(&format!("{door:?}")), &create(bytes)).expect("good");
        let reader = door.open(folder.join(&format!("{door:?}")), &with(MAPSHARE_READ_ONLY)).expect("good");
        [writer, reader]
    });
    let ran = cases(400).run(&case(), |(length, before, steps)| {
        for [writer, reader] in &regions {
            writer.fill(AT, cell_bytes(LARGEST), 0).expect("good");
            writer.init_cell(AT, length).expect("good");
            writer.write(AT + VERSION, &before.to_le_bytes()).expect("good");
            let (mut version, mut value) = (before, vec![0; length as usize]);
            for step in &steps {
                match *step {
                    Step::Publish => {
                        version += 1;
                        value = pattern(version, length as usize);
                        prop_assert_eq!(writer.publish(AT, &value), Ok(()));
                        refused(reader.publish(AT, &value), EACCES, &[]);
                    }
                    Step::PublishOther(more) => {
                        let other = vec![7; length.wrapping_add(more) as usize];
                        refused(writer.publish(AT, &other), EINVAL, &[&length.to_string()]);
                    }
                    Step::Read => {
                        for from in [writer, reader] {
                            prop_assert_eq!(from.read_cell(AT, value.len()), Ok((version, value.clone())));
                        }
                    }
                    Step::ReadOther(more) => {
                        let other = length.wrapping_add(more) as usize;
                        refused(reader.read_cell(AT, other), EINVAL, &[&length.to_string()]);
                    }
                    Step::Wait(ago) => {
                        let seen = version.saturating_sub(ago);
                        let expected = if seen < version { 0 } else { ETIMEDOUT };
                        for from in [writer, reader] {
                            prop_assert_eq!(code(from.wait_cell(AT, seen, 0)), expected);
                        }
                    }
                    Step::Init(length) => refused(writer.init_cell(AT, length), EEXIST, &[]),
                }
            }
        }
        Ok(())
    });
    ran.expect("the same");
}
