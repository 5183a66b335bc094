//! When a consumer that has found nothing looks again.
//!
//! Decision: a consumer that is faster than the producer would look at each record while it is being written, and the line
//! would go from core to core several times for each message, which costs both sides several times what the messages do.
//! So it rests until the producer is some messages ahead, and then has them in one go. It does that only where it has paid:
//! where many messages came during the last rest, or since it found nothing the last time. Otherwise it is tried again ever
//! more seldom, so that who answers message by message is not delayed.

use super::super::trial::Trial;
use std::mem::replace;

/// How long a rest is, in moments.
const REST: u64 = 32;
/// A rest has paid when at least so many messages came: one in two moments.
const MANY: u64 = REST / 2;

/// What a consumer has found out about how the messages come.
#[derive(Default)]
pub(super) struct Pace {
    /// The messages that were taken since it found nothing the last time.
    came: u64,
    /// Whether it rested then.
    rested: bool,
    trial: Trial,
}

impl Pace {
    /// A message was taken.
    #[inline(always)]
    pub(super) fn took(&mut self) {
        self.came += 1;
    }

    /// Nothing is there at the first look: how many moments there are until the second.
    pub(super) fn rest(&mut self) -> u64 {
        let has_paid = replace(&mut self.came, 0) >= MANY;
        if has_paid {
            self.trial.has_paid();
        } else if self.rested {
            self.trial.was_in_vain();
        }
        self.rested = self.trial.is_due();
        if self.rested { REST } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest after so many messages came.
    fn rest_after(pace: &mut Pace, messages: u64) -> u64 {
        (0..messages).for_each(|_| pace.took());
        pace.rest()
    }

    #[test]
    fn a_stream_is_taken_in_bursts() {
        let mut pace = Pace::default();
        for _ in 0..1000 {
            assert_eq!(rest_after(&mut pace, MANY), REST);
        }
    }

    #[test]
    fn who_answers_each_message_rests_once_in_a_thousand() {
        let mut pace = Pace::default();
        let rests = (1..=100_000).filter(|_| rest_after(&mut pace, 1) == REST).count();
        assert!((100..=110).contains(&rests), "{rests}");
    }

    #[test]
    fn a_stream_that_begins_is_found_out() {
        let mut pace = Pace::default();
        (0..10_000).for_each(|_| _ = rest_after(&mut pace, 1));
        // It is at the producer's heels, until it rests once.
        let looks = (1..).find(|_| {
            let came = if pace.rested { MANY } else { 1 };
            rest_after(&mut pace, came) == REST && pace.trial == Trial::default()
        });
        assert!(looks <= Some(1026), "{looks:?}");
    }
}
