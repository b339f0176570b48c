//! `system`: ordinary memory of one NUMA node, in huge pages where the kernel gives them.

use super::allocate::Recipe;
use super::{AllocError, Facts, Kind, Ledger, Reach, Region, Tier};
use crate::faults::Faults;
use crate::os::{allowed_cpus, page_bytes};

/// Host memory that nobody locks.
#[derive(Clone, Debug)]
pub struct System {
    ledger: Ledger,
    node: Option<usize>,
    cpus: Vec<usize>,
    faults: Faults,
}

impl System {
    /// Memory of `node` (none: where the kernel likes), touched by threads on `cpus`, the node's own cores; an empty
    /// list means every core this process may use.
    pub fn new(ledger: Ledger, node: Option<usize>, cpus: Vec<usize>, faults: Faults) -> Self {
        let cpus = if cpus.is_empty() { allowed_cpus() } else { cpus };
        System { ledger, node, cpus, faults }
    }
}

impl Kind for System {
    fn tier(&self) -> Tier {
        Tier::System
    }

    fn facts(&self) -> Facts {
        let alignment = page_bytes() as u64;
        // 0.10 to 0.13 for 1 GiB in huge pages, 2-core x86 virtual machine, 22 November 2026; 3.7 where the virtual machine
        // itself gets the pages for the first time.
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
        Recipe { tier: Tier::System, ledger, node: self.node, cpus, lock: false, faults }.allocate(bytes)
    }
}
