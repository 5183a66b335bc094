//! The bytes are those of docs/format.md.

mod common;

use common::cells::{cell_bytes, queue_bytes};
use common::*;

const FORMAT: &str = include_str!("../docs/format.md");
const SINGLE: u32 = 3;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn region(folder: &Folder) -> Opened {
    Door::C.open(folder.join("file"), &create(1 << 17)).expect("good")
}

fn new_cell(folder: &Folder, length: u64) -> Opened {
    let region = region(folder);
    region.init_cell(0, length).expect("good");
    region
}

fn new_queue(folder: &Folder, capacity: u64, flags: u32) -> Opened {
    let region = region(folder);
    region.init_queue(0, capacity, flags).expect("good");
    region
}

#[test]
fn the_first_24_bytes_are_those_of_the_document() {
    let folders: [Folder; 4] = std::array::from_fn(|_| Folder::new());
    for (what, region) in [
        ("a cell of 64 bytes, 16 slots", new_cell(&folders[0], 64)),
        ("a cell of 5000 bytes, 4 slots", new_cell(&folders[1], 5000)),
        ("a queue of 240 bytes, single on both sides", new_queue(&folders[2], 240, SINGLE)),
        ("a queue of 65536 bytes, many on both sides", new_queue(&folders[3], 65536, 0)),
    ] {
        let line = format!("| {what} | `{}` |", hex(&region.bytes(0, 24)));
        assert!(FORMAT.contains(&line), "{line}");
    }
}

#[test]
fn a_lock_stands_as_the_document_says() {
    let folder = Folder::new();
    let region = region(&folder);
    region.init_mutex(0).unwrap();
    assert_eq!(hex(&region.bytes(0, 16)), "40 01 00 01 6d 73 68 4f 00 00 00 00 00 00 00 00");
    region.lock(0, 0).unwrap();
    let word = u64::from_le_bytes(region.bytes(8, 8).try_into().unwrap());
    assert!(word >> 32 != 0 && word & ((1 << 29) - 1) != 0 && word & 7 << 29 == 0, "{word:#x}");
    assert_eq!(u32::from_le_bytes(region.bytes(20, 4).try_into().unwrap()), std::process::id());
    region.unlock(0).unwrap();
    assert_eq!(region.bytes(8, 8), [0; 8]);
}

#[test]
fn a_cell_stands_as_the_document_says() {
    let folder = Folder::new();
    let region = new_cell(&folder, 100);
    (1..=35).for_each(|version: u8| region.publish(0, &[version; 100]).unwrap());
    let mut expected = [0; 40];
    expected[0] = 35;
    assert_eq!(region.bytes(24, 40), expected);
    assert_eq!(hex(&region.bytes(64, 16)), "40 01 00 01 6d 73 68 4f 00 00 00 00 00 00 00 00");
    // Of 16 slots of 128 bytes, the one of version 35 and the one before.
    assert_eq!(region.bytes(128 + 35 % 16 * 128, 100), [35; 100]);
    assert_eq!(region.bytes(128 + 34 % 16 * 128, 100), [34; 100]);
    assert_eq!([100, 257, 1025].map(cell_bytes), [128 + 16 * 128, 128 + 8 * 320, 128 + 4 * 1088]);
}

#[test]
fn a_queue_stands_as_the_document_says() {
    let folder = Folder::new();
    let region = new_queue(&folder, 240, 0);
    let (mut producer, mut consumer) = (region.producer(0).unwrap(), region.consumer(0).unwrap());
    producer.push(b"hello", 0).unwrap();
    let (tail, pushed) = (hex(&region.bytes(128, 8)), hex(&region.bytes(136, 8)));
    let words = format!("offset 128 holds `{tail}`, offset 136 holds\n`{pushed}`");
    assert!(FORMAT.contains(&words), "{words}");
    let ring = format!("the ring begins `{}`", hex(&region.bytes(512, 13)));
    assert!(FORMAT.contains(&ring), "{ring}");
    assert_eq!(region.bytes(512 + 16, 8), [0; 8]);
    // Two of 104 make 16 + 224 of 256; the next goes over the end.
    [[1; 104], [2; 104]].iter().for_each(|message| producer.push(message, 0).unwrap());
    (0..3).for_each(|_| drop(consumer.pop(0).unwrap()));
    producer.push(&[3; 24], 0).unwrap();
    assert_eq!(hex(&region.bytes(512 + 240, 8)), "08 00 00 00 00 00 00 c0");
    assert_eq!(hex(&region.bytes(512, 9)), "18 00 00 00 00 00 00 80 03");
    assert_eq!(
        (region.bytes(128, 8), region.bytes(256, 8)),
        (288u64.to_le_bytes().into(), 240u64.to_le_bytes().into())
    );
    assert_eq!(queue_bytes(240), 512 + 256);
    assert_eq!(region.bytes(192, 4), region.bytes(320, 4), "one participant on both sides");
    let _ = (producer.close(), consumer.close());
    assert_eq!((region.bytes(192, 4), region.bytes(320, 4)), (vec![0; 4], vec![0; 4]));
}
