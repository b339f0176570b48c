//! `managed`: memory that a GPU driver moves. Without a GPU backend there is no driver to ask.

use super::{AllocError, Facts, Kind, Reach, Region, Tier};

/// The kind's name where no GPU backend is built in; it gives nothing and says why.
#[derive(Clone, Copy, Debug, Default)]
pub struct Managed;

impl Kind for Managed {
    fn tier(&self) -> Tier {
        Tier::Managed
    }

    fn facts(&self) -> Facts {
        Facts { granularity: 1, alignment: 4096, reach: Reach::Both, asynchronous: true, setup: 0.0 }
    }

    fn capacity(&self) -> u64 {
        0
    }

    fn used(&self) -> u64 {
        0
    }

    fn allocate(&self, _bytes: u64) -> Result<Region, AllocError> {
        Err(AllocError::Unsupported { tier: Tier::Managed, why: "memory needs a GPU backend", instead: "system" })
    }
}
