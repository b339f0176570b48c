//! `hbm` on the CPU backend: ordinary memory under a budget, so that every plan for a device runs where none is.

use super::allocate::Recipe;
use super::{AllocError, Facts, Kind, Ledger, Reach, Region, Tier};
use crate::faults::Faults;
use crate::os::{allowed_cpus, page_bytes};

/// The CPU backend's own fast memory.
#[derive(Clone, Debug)]
pub struct Hbm {
    ledger: Ledger,
    cpus: Vec<usize>,
    faults: Faults,
}

impl Hbm {
    /// Hands out what the ledger holds, touched by the cores that will compute.
    pub fn new(ledger: Ledger, faults: Faults) -> Self {
        Hbm { ledger, cpus: allowed_cpus(), faults }
    }
}

impl Kind for Hbm {
    fn tier(&self) -> Tier {
        Tier::Hbm
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
        Recipe { tier: Tier::Hbm, ledger, node: None, cpus, lock: false, faults }.allocate(bytes)
    }
}
