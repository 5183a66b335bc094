//! The asymmetric fence: `light` for the side that runs all the time, `heavy` for the rare one.
//!
//! Decision: a store-load fence in every call would cost 5 ns; membarrier(2) moves that price to the rare side
//! (0.3 µs). Both functions mean what `asymmetric_thread_fence_light` and `_heavy` mean in WG21 P1202R5: a light and
//! a heavy fence are ordered as two SeqCst fences would be, two light fences are not ordered at all. So for a `light`
//! and a `heavy` that run at once there are two cases, and no third:
//! - the light one came first: what its thread stored before it is seen by loads after the heavy one;
//! - the heavy one came first: what its thread stored before it is seen by loads after the light one.
//!
//! Where membarrier is refused, `light` is a real SeqCst fence. That is also the state before `choose`, so that a
//! thread that has not yet heard of the choice is only slower. A heavy fence that fails later (a seccomp filter that
//! came after us) is an error, and the caller leaves things as they are.

use crate::sys::Errno;

#[cfg(not(loom))]
pub(crate) use kernel::{
    choose, free_light, heavy, heavy_for_all, join_all, light, light_for_all, light_is_free, light_is_free_for_all,
};
#[cfg(loom)]
pub(crate) use model::{choose, free_light, heavy, light, light_is_free};

#[cfg(not(loom))]
mod kernel {
    use super::Errno;
    use crate::mem::atomic::{AtomicBool, Ordering, compiler_fence, fence};
    use crate::sys::process;

    /// Whether `heavy` is membarrier, and `light` therefore nothing but a compiler fence. Goes from false to true once.
    static MEMBARRIER: AtomicBool = AtomicBool::new(false);

    /// The same for `heavy_for_all` and this process.
    static MEMBARRIER_FOR_ALL: AtomicBool = AtomicBool::new(false);

    /// Takes part in the heavy fences of other processes. To be called by each process, those that were forked too.
    #[cold]
    pub(crate) fn join_all() {
        let is_in = process::membarrier_register_all().is_ok();
        // ORDER: Release: whoever sees it sees a process that is registered.
        MEMBARRIER_FOR_ALL.store(is_in, Ordering::Release);
    }

    /// Whether `free_light` serves as `light_for_all`; once it does, as long as the process lives.
    #[inline(always)]
    pub(crate) fn light_is_free_for_all() -> bool {
        MEMBARRIER_FOR_ALL.load(Ordering::Acquire) // ORDER: Acquire, partner `join_all`
    }

    /// The fence of the side that runs all the time, against sleepers in any process.
    #[inline(always)]
    pub(crate) fn light_for_all() {
        if light_is_free_for_all() {
            // ORDER: SeqCst for the compiler; the processor's part is done by the membarrier in `heavy_for_all`.
            compiler_fence(Ordering::SeqCst);
        } else {
            // ORDER: SeqCst, partner: the fence in `heavy_for_all`.
            fence(Ordering::SeqCst);
        }
    }

    /// The fence of the side that is about to sleep.
    pub(crate) fn heavy_for_all() {
        // ORDER: SeqCst, partner: the fence in `light_for_all`, of those whom membarrier does not reach.
        fence(Ordering::SeqCst);
        let _ = process::membarrier_all();
    }

    /// Takes membarrier if the kernel has it. To be called before there is anything to protect.
    pub(crate) fn choose() {
        if process::membarrier_register().is_ok() {
            // ORDER: Release, although the word that publishes an object (token.rs, `insert`) orders this store too:
            // whoever can see an object can see the choice that was made before it.
            MEMBARRIER.store(true, Ordering::Release);
        }
    }

    /// The fence of the frequent side.
    #[inline(always)]
    pub(crate) fn light() {
        // ORDER: Relaxed: a stale false costs time only, and true is never taken back.
        if MEMBARRIER.load(Ordering::Relaxed) {
            // ORDER: SeqCst for the compiler; the processor's part is done by the membarrier in `heavy`.
            compiler_fence(Ordering::SeqCst);
        } else {
            // ORDER: SeqCst, partner: the fence in `heavy`, if membarrier was refused there.
            fence(Ordering::SeqCst);
        }
    }

    /// Whether `free_light` serves as `light`; once it does, for ever.
    pub(crate) fn light_is_free() -> bool {
        MEMBARRIER.load(Ordering::Relaxed) // ORDER: Relaxed, as in `light`
    }

    /// `light`, for those who know that it costs nothing.
    #[inline(always)]
    pub(crate) fn free_light() {
        // ORDER: SeqCst for the compiler, as in `light`.
        compiler_fence(Ordering::SeqCst);
    }

    /// The fence of the rare side.
    pub(crate) fn heavy() -> Result<(), Errno> {
        // ORDER: SeqCst, partner: the fence in `light`. Beside a membarrier it keeps the compiler in order.
        fence(Ordering::SeqCst);
        // ORDER: Relaxed: the caller has read the word of an object (Acquire), which came after the choice.
        if MEMBARRIER.load(Ordering::Relaxed) {
            process::membarrier_private()?;
        }
        Ok(())
    }
}

/// A SeqCst fence on both sides: the two cases above are exactly what C++20 [atomics.order] p4 gives two SeqCst
/// fences, so every outcome of the asymmetric pair is explored. The model says too much in one point only: it also
/// orders two light fences. The protocol never pairs light with light (a call reads no cell of another thread).
///
/// Where no heavy fence runs, a light one is nothing. `WITHOUT_HEAVY` explores that: a heavy fence fails then.
#[cfg(loom)]
pub(crate) mod model {
    use super::Errno;
    use crate::mem::atomic::{Ordering, fence};
    use std::cell::Cell;

    std::thread_local! {
        /// For the models that this thread checks; all threads of one run on it.
        pub(crate) static WITHOUT_HEAVY: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn choose() {}

    pub(crate) fn light() {
        if !WITHOUT_HEAVY.get() {
            // ORDER: SeqCst, partner: `heavy` below.
            fence(Ordering::SeqCst);
        }
    }

    pub(crate) fn light_is_free() -> bool {
        true
    }

    pub(crate) fn free_light() {
        light();
    }

    pub(crate) fn heavy() -> Result<(), Errno> {
        if WITHOUT_HEAVY.get() {
            return Err(Errno(38));
        }
        // ORDER: SeqCst, partner: `light` above.
        fence(Ordering::SeqCst);
        Ok(())
    }
}
