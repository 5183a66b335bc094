//! How the models of cells and queues are explored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// In every order with at most so many forced switches; None for all orders.
pub(super) fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

/// Explores a model for each number of accesses after which somebody is killed, as long as it tells that he was.
pub(super) fn at_each_access(preemptions: Option<usize>, model: impl Fn(u32) -> bool + Sync + Send + 'static) {
    let model = Arc::new(model);
    for accesses in 0.. {
        let (model, was_killed) = (Arc::clone(&model), Arc::new(AtomicBool::new(false)));
        let in_any_order = Arc::clone(&was_killed);
        explore(preemptions, move || {
            in_any_order.fetch_or(model(accesses), Ordering::Relaxed);
        });
        if !was_killed.load(Ordering::Relaxed) {
            assert!(accesses > 5, "an operation has some");
            break;
        }
    }
}
