//! Where the time of a step goes, in the four classes of Table II of the seed paper: matrix products, element-wise and indexing work,
//! reductions, the rest. Off unless asked for: then every kernel call costs one comparison.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Class of a kernel call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Matrix products.
    Product,
    /// Activations, embeddings, message weights, packing; angle and edge kernels with the sums that are fused into them.
    Element,
    /// Moments and what neighbours owe: sums over edges, gathers.
    Reduce,
}

/// Time, calls and arithmetic of a class, summed over threads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// CPU time inside the kernels, s.
    pub seconds: f64,
    /// Calls.
    pub calls: u64,
    /// Floating-point operations of products.
    pub flop: f64,
}

/// What a step spent, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KernelTimes {
    /// Matrix products (GEMM).
    pub product: Spent,
    /// Element-wise and indexing.
    pub element: Spent,
    /// Reductions.
    pub reduce: Spent,
}

/// Counters of all threads.
#[derive(Debug, Default)]
pub struct Clock {
    on: bool,
    nanoseconds: [AtomicU64; 3],
    calls: [AtomicU64; 3],
    flop: AtomicU64,
}

impl Clock {
    /// Counters that run, or that do not.
    pub fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    /// Runs a kernel call.
    #[inline(always)]
    pub fn time<R>(&self, class: Class, call: impl FnOnce() -> R) -> R {
        if !self.on {
            return call();
        }
        let begin = Instant::now();
        let result = call();
        let spent = begin.elapsed().as_nanos() as u64;
        self.nanoseconds[class as usize].fetch_add(spent, Ordering::Relaxed);
        self.calls[class as usize].fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Runs a product of `rows` x `inputs` by `inputs` x `outputs`.
    #[inline(always)]
    pub fn product<R>(&self, rows: usize, inputs: usize, outputs: usize, call: impl FnOnce() -> R) -> R {
        if self.on {
            self.flop.fetch_add(2 * (rows * inputs * outputs) as u64, Ordering::Relaxed);
        }
        self.time(Class::Product, call)
    }

    /// Starts anew.
    pub fn reset(&self) {
        for counter in self.nanoseconds.iter().chain(&self.calls).chain([&self.flop]) {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// What was spent since the last reset; none where the clock is off.
    pub fn read(&self) -> Option<KernelTimes> {
        let of = |class: Class, flop| Spent {
            seconds: self.nanoseconds[class as usize].load(Ordering::Relaxed) as f64 * 1e-9,
            calls: self.calls[class as usize].load(Ordering::Relaxed),
            flop,
        };
        self.on.then(|| KernelTimes {
            product: of(Class::Product, self.flop.load(Ordering::Relaxed) as f64),
            element: of(Class::Element, 0.0),
            reduce: of(Class::Reduce, 0.0),
        })
    }
}
