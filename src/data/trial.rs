//! What pays at times, and is tried again where it did not.

/// The longest time without a trial is two to the power of this.
const PATIENCE: u32 = 10;

/// Whether to try it now: each time as long as it pays, and otherwise every second time, every fourth, and so on up to every
/// 1024th.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trial {
    /// How often in a row it has not paid.
    in_vain: u32,
    /// The next trial is the time after so many.
    left: u32,
}

impl Trial {
    /// Whether it is to be tried this time.
    #[inline(always)]
    pub(super) fn is_due(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }

    /// The same, and it counts as one in vain until it has paid.
    pub(super) fn begins(&mut self) -> bool {
        let is_due = self.is_due();
        if is_due {
            self.was_in_vain();
        }
        is_due
    }

    /// It has paid.
    #[inline(always)]
    pub(super) fn has_paid(&mut self) {
        *self = Trial::default();
    }

    /// It was tried, and has not paid.
    #[inline(always)]
    pub(super) fn was_in_vain(&mut self) {
        self.in_vain = (self.in_vain + 1).min(PATIENCE);
        self.left = 1 << self.in_vain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_pays_is_tried_once_in_a_thousand() {
        let mut trial = Trial::default();
        let first: Vec<_> = (1..=15).filter(|_| trial.begins()).collect();
        assert_eq!(first, [1, 3, 7, 15]);
        let later = (1..=100_000).filter(|_| trial.begins()).count();
        assert!((90..=110).contains(&later), "{later}");
    }

    #[test]
    fn what_pays_is_tried_each_time() {
        let mut trial = Trial::default();
        (0..100).for_each(|_| trial.was_in_vain());
        assert!(!trial.is_due());
        trial.has_paid();
        assert!((0..100).all(|_| trial.is_due()));
    }
}
