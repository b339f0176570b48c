//! The memory of a plan: an arena per tier, and the streams that copy between them.

use super::share::Shared;
use weir_engine::backend::ComputeError;
use weir_engine::plan::placement::{Program, SlotId, Ticket};

/// Arenas of a laid-out program.
#[derive(Default)]
pub struct Memory {
    arena: Vec<[u64; 8]>,
    slots: Vec<(u64, u64)>,
}

impl Memory {
    /// Takes the memory of every tier and touches it.
    pub fn new(program: &Program) -> Result<Self, ComputeError> {
        Ok(Self {
            arena: vec![[0; 8]; program.arena_bytes[0].div_ceil(64) as usize],
            slots: program.slots.iter().map(|s| (s.offset, s.bytes)).collect(),
        })
    }

    /// Starts a step.
    pub fn begin(&mut self) {}

    /// A slot of the first tier.
    pub fn slot<T>(&self, id: SlotId) -> Shared<'_, T> {
        let (offset, bytes) = self.slots[id.0 as usize];
        let base = self.arena.as_ptr().cast::<u8>().cast_mut();
        // SAFETY: inside the arena.
        unsafe { Shared::from_raw(base.add(offset as usize).cast(), bytes as usize / std::mem::size_of::<T>()) }
    }

    pub fn copy(&mut self, _from: SlotId, _to: SlotId, _ticket: Ticket) -> Result<(), ComputeError> {
        Err(ComputeError::Memory("no copies yet".into()))
    }

    pub fn wait(&mut self, _ticket: Ticket) -> Result<(), ComputeError> {
        Ok(())
    }
}
