//! `pinned`: host memory locked against eviction, where `ulimit -l` allows.

use super::allocate::Recipe;
use super::{AllocError, Facts, Kind, Ledger, Reach, Region, Tier};
use crate::faults::Faults;
use crate::os::{allowed_cpus, page_bytes};

/// Locked host memory. A GPU backend registers such memory with its driver and brings a kind of its own.
#[derive(Clone, Debug)]
pub struct Pinned {
    ledger: Ledger,
    node: Option<usize>,
    cpus: Vec<usize>,
    faults: Faults,
}

impl Pinned {
    /// Locked memory of `node` (none: where the kernel likes), touched by threads on `cpus`; an empty list means every
    /// core this process may use.
    pub fn new(ledger: Ledger, node: Option<usize>, cpus: Vec<usize>, faults: Faults) -> Self {
        let cpus = if cpus.is_empty() { allowed_cpus() } else { cpus };
        Pinned { ledger, node, cpus, faults }
    }
}

impl Kind for Pinned {
    fn tier(&self) -> Tier {
        Tier::Pinned
    }

    fn facts(&self) -> Facts {
        let alignment = page_bytes() as u64;
        // As ordinary memory (0.09 to 0.12 measured there); drivers that register pages take 0.2 to 0.4 s/GiB (hipHostMalloc, arXiv 2508.12743).
        Facts { granularity: 1, alignment, reach: Reach::Host, asynchronous: false, setup: 0.11 }
    }

    fn capacity(&self) -> u64 {
        self.ledger.left()
    }

    fn used(&self) -> u64 {
        self.ledger.used()
    }

    fn allocate(&self, bytes: u64) -> Result<Region, AllocError> {
        let (ledger, cpus, faults) = (&self.ledger, &self.cpus, &self.faults);
        Recipe { tier: Tier::Pinned, ledger, node: self.node, cpus, lock: true, faults }.allocate(bytes)
    }
}
