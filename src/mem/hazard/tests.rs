use super::*;
use std::thread;

/// How many records there are, claimed or not.
pub(crate) fn record_count() -> usize {
    records().count()
}

#[test]
fn a_call_that_is_open_keeps_its_thread_from_the_short_way_in_a_further_record_too() {
    let is_short = || Hazard::publish_at_once(2).is_some();
    let short_ways = thread::spawn(move || {
        start().unwrap();
        let publish = || Hazard::publish(2).unwrap();
        let before = [publish()];
        let mut short_ways = vec![is_short()];
        let more = [(); CELLS].map(|()| publish());
        short_ways.push(is_short());
        assert_eq!(before[0].calls_of(before[0].caller.number()), CELLS + 1);
        drop(more);
        short_ways.push(is_short());
        short_ways
    });
    assert_eq!(short_ways.join().unwrap(), [false; 3]);
}
