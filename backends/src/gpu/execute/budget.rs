//! What a plan may take of the device's memory, which others take from too.

use super::super::memory::failed;
use super::Executor;
use weir_allocators::kind::show_bytes;
use weir_engine::backend::ComputeError;

/// Bytes for the states, buffers, weights and lists of a plan.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// For all of them.
    pub bytes: u64,
    /// The budget that was set.
    budget: u64,
}

impl Room {
    /// The budget, or where less than that can be had nine tenths of what is free and of what the planner's own executor holds, but no less than
    /// that: the same at every new plan. More free memory changes nothing, so that plans of whoever is alone on a device do not depend on how
    /// much there is.
    pub fn new(budget: u64, free: u64, held: u64) -> Self {
        let left = free.saturating_add(held);
        let bytes = if left < budget { held.max(left / 10 * 9) } else { budget };
        Self { bytes, budget }
    }

    /// An error of the planner, with the cause where that is not the budget.
    pub fn explain(self, error: ComputeError) -> ComputeError {
        match error {
            ComputeError::Memory(words) if self.bytes < self.budget => {
                let (left, budget) = (show_bytes(self.bytes), show_bytes(self.budget));
                let others =
                    "what else there is of the device's memory is in use, by other calculators of this process or by other programs";
                ComputeError::Memory(format!("{words}; of the budget of {budget} only {left} are left: {others}"))
            }
            other => other,
        }
    }
}

impl Executor {
    /// What a new plan may take, the old one's memory included, which goes before the new one's comes.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn room(&self) -> Result<Room, ComputeError> {
        let budget = self.options.tiers.first().map_or(u64::MAX, |t| t.spec.capacity);
        // Where device and host share page tables or memory, the page cache may stand in what is not free, and what was given back may be missing.
        let facts = self.driver().facts();
        if facts.integrated || facts.host_page_tables {
            return Ok(Room::new(budget, u64::MAX, 0));
        }
        let (free, _) = self.driver().memory().map_err(failed)?;
        let buffers = self.buffer_memory.as_ref().map_or(0, |m| m.array.bytes);
        Ok(Room::new(budget, free, self.other() + buffers + self.arenas.on_device()))
    }
}
