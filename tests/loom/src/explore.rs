//! How the models of cells and queues are explored: by loom in all orders that the bounds of each model allow; without
//! it a few times, in the orders that come about, which Miri also makes stranger than most processors do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// No operation has fewer.
const FEWEST_ACCESSES: u32 = if cfg!(loom) { 6 } else { 50 };

/// In every order with at most so many forced switches; None for all orders.
#[cfg(loom)]
pub(super) fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

#[cfg(not(loom))]
pub(super) fn explore(_preemptions: Option<usize>, model: impl Fn()) {
    const ROUNDS: u32 = if cfg!(miri) { 1 } else { 200 };
    (0..ROUNDS).for_each(|_| model());
}

/// Explores a model for each number of accesses after which somebody is killed, as long as it tells that he was.
pub(super) fn at_each_access(preemptions: Option<usize>, model: impl Fn(u32) -> bool + Sync + Send + 'static) {
    let model = Arc::new(model);
    // Miri takes its time, and the accesses of most steps are alike to it.
    for accesses in (0..).step_by(if cfg!(miri) { 7 } else { 1 }) {
        let (model, was_killed) = (Arc::clone(&model), Arc::new(AtomicBool::new(false)));
        let in_any_order = Arc::clone(&was_killed);
        explore(preemptions, move || {
            in_any_order.fetch_or(model(accesses), Ordering::Relaxed);
        });
        // Without loom, others may just have been quick and left him little to do.
        if !was_killed.load(Ordering::Relaxed) && accesses >= FEWEST_ACCESSES {
            break;
        }
    }
}
