//! Rounds that take turns, and their medians.

use std::time::{Duration, Instant};

/// How long a round is meant to take: much more than the clock (25 ns), and less than the scheduler leaves a program
/// alone on a busy machine.
const ROUND: Duration = Duration::from_micros(40);
/// The time that all rounds of one comparison may take, and their number.
const ALL_ROUNDS: Duration = Duration::from_millis(600);
const FEWEST_ROUNDS: usize = 21;
const MOST_ROUNDS: usize = 4001;

/// The middle of a set of figures, and how far they spread: the first and the third quarter begin there.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

/// What a comparison gave: nanoseconds per call, and ours by the rival's.
#[derive(Clone, Copy)]
pub(crate) struct Comparison {
    pub(crate) ours: Figure,
    pub(crate) rival: Figure,
    pub(crate) ratio: Figure,
    /// Ours less the rival's, in nanoseconds.
    pub(crate) difference: Figure,
}

impl Figure {
    pub(crate) fn of(mut figures: Vec<f64>) -> Figure {
        figures.sort_by(f64::total_cmp);
        let at = |share: f64| figures[((figures.len() - 1) as f64 * share).round() as usize];
        Figure { low: at(0.25), median: at(0.5), high: at(0.75) }
    }
}

impl Comparison {
    /// Of pairs (ours, rival), in nanoseconds per call.
    pub(crate) fn of(pairs: &[(f64, f64)]) -> Comparison {
        let figure = |of: fn(&(f64, f64)) -> f64| Figure::of(pairs.iter().map(of).collect());
        Comparison {
            ours: figure(|pair| pair.0),
            rival: figure(|pair| pair.1),
            ratio: figure(|pair| pair.0 / pair.1),
            difference: figure(|pair| pair.0 - pair.1),
        }
    }
}

/// Compares two closures that make as many calls as they are told.
pub(crate) fn compare(mut ours: impl FnMut(u64), mut rival: impl FnMut(u64)) -> Comparison {
    compare_timed(|calls| time(|| ours(calls)), |calls| time(|| rival(calls)))
}

/// Compares two closures that make as many calls as they are told, and tell how long those took.
pub(crate) fn compare_timed(
    mut ours: impl FnMut(u64) -> Duration,
    mut rival: impl FnMut(u64) -> Duration,
) -> Comparison {
    // Both have run before anything is counted, and as many calls make a round as the faster one needs to fill it.
    let mut calls = 1;
    let round = loop {
        let round = ours(calls).min(rival(calls));
        if round >= ROUND || calls >= 1 << 20 {
            break round;
        }
        calls *= 2;
    };
    let rounds = (ALL_ROUNDS.as_nanos() / (2 * round.as_nanos()).max(1)) as usize;
    let per_call = |time: Duration| time.as_nanos() as f64 / calls as f64;
    let pairs: Vec<_> = (0..rounds.clamp(FEWEST_ROUNDS, MOST_ROUNDS))
        .map(|round| {
            // Neither always comes second.
            if round % 2 == 0 {
                let ours = ours(calls);
                (per_call(ours), per_call(rival(calls)))
            } else {
                let rival = rival(calls);
                (per_call(ours(calls)), per_call(rival))
            }
        })
        .collect();
    Comparison::of(&pairs)
}

/// How long `work` takes.
pub(crate) fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
