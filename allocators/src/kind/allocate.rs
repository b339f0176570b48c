//! The way of every host kind to a region: budget, map, bind, touch, lock. Whatever was done is undone on an error.

use super::{AllocError, Ledger, Region, Tier};
use crate::faults::{Faults, Operation};
use crate::os::{locked_limit, page_bytes, Mapping};

/// Where pages come from, who touches them, and whether they stay.
pub struct Recipe<'a> {
    pub tier: Tier,
    pub ledger: &'a Ledger,
    pub node: Option<usize>,
    pub cpus: &'a [usize],
    pub lock: bool,
    pub faults: &'a Faults,
}

impl Recipe<'_> {
    pub fn allocate(&self, bytes: u64) -> Result<Region, AllocError> {
        let tier = self.tier;
        let memory = |source| AllocError::Memory { tier, bytes, source };
        self.faults.check(Operation::Allocation)?;
        let short = || memory(std::io::ErrorKind::OutOfMemory.into());
        let whole = bytes.max(1).checked_next_multiple_of(page_bytes() as u64).ok_or_else(short)?;
        let charge = self.ledger.take(whole)?;
        let mapping = Mapping::new(usize::try_from(whole).map_err(|_| short())?).map_err(memory)?;
        if let Some(node) = self.node {
            match mapping.bind(node) {
                // Containers forbid mbind; pages then come from the node of the thread that touches them first.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {}
                other => other.map_err(|source| AllocError::Node { tier, node, source })?,
            }
        }
        self.faults.check(Operation::Touch)?;
        mapping.touch(self.cpus).map_err(memory)?;
        if self.lock {
            mapping.lock().map_err(|source| AllocError::Lock { bytes, limit: locked_limit(), source })?;
        }
        Ok(Region::memory(tier, mapping, charge))
    }
}
