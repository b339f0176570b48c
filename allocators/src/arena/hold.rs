//! A region with its slots.

use super::{poison, unwritten, Layout, POISON};
use crate::kind::{AllocError, Region, Tier};
use std::ptr::NonNull;
use std::sync::Arc;

/// Why an arena refused.
#[derive(Debug, thiserror::Error)]
pub enum ArenaError {
    /// The layout is longer than the region.
    #[error("{tier}: the layout needs {need} bytes, the region has {have}: raise {}", tier.option())]
    TooShort {
        /// Kind of the region.
        tier: Tier,
        /// Length of the layout, bytes.
        need: u64,
        /// Length of the region, bytes.
        have: u64,
    },
    /// Offsets do not suit the kind.
    #[error(
        "{tier}: slot {slot} lies at {offset}, which is no multiple of {granularity}: lay out with that alignment"
    )]
    Alignment {
        /// Kind of the region.
        tier: Tier,
        /// Which slot.
        slot: usize,
        /// Where, bytes.
        offset: u64,
        /// What the kind asks for, bytes.
        granularity: u64,
    },
    /// Something nobody wrote is about to be read.
    #[error("{tier}: slot {slot} is read at byte {offset}, which nobody wrote")]
    Unwritten {
        /// Kind of the region.
        tier: Tier,
        /// Which slot.
        slot: usize,
        /// Where in the slot, bytes.
        offset: u64,
    },
    /// The region cannot be reached.
    #[error(transparent)]
    Region(#[from] AllocError),
}

/// A region cut into slots. In poison mode slots are filled with NaN when made and when released, and
/// [`Arena::check`] finds what was never written.
#[derive(Debug)]
pub struct Arena {
    region: Arc<Region>,
    offsets: Vec<u64>,
    bytes: Vec<u64>,
    poisoned: bool,
}

/// Memory that one piece of a poisoned file is read through, bytes.
const WINDOW: usize = 1 << 20;

impl Arena {
    /// Cuts a region by a layout.
    ///
    /// # Errors
    /// The region is too short or its granularity coarser than the layout; a file cannot be poisoned.
    pub fn new(region: Region, layout: Layout, poisoned: bool) -> Result<Self, ArenaError> {
        let (tier, granularity) = (region.tier(), region.granularity());
        let alive = |i: usize| layout.bytes[i] > 0;
        // The last block of a file slot is written whole.
        let end = |i: usize| layout.offsets[i] + layout.bytes[i].next_multiple_of(granularity);
        let need = (0..layout.bytes.len()).filter(|&i| alive(i)).map(end).max().unwrap_or(0).max(layout.total);
        if need > region.bytes() {
            return Err(ArenaError::TooShort { tier, need, have: region.bytes() });
        }
        let odd = (0..layout.bytes.len()).find(|&i| alive(i) && layout.offsets[i] % granularity != 0);
        if let Some(slot) = odd {
            return Err(ArenaError::Alignment { tier, slot, offset: layout.offsets[slot], granularity });
        }
        let arena = Arena { region: Arc::new(region), offsets: layout.offsets, bytes: layout.bytes, poisoned };
        if poisoned {
            for slot in 0..arena.bytes.len() {
                // SAFETY: the region was just handed over, so nobody else reaches it.
                unsafe { arena.fill(slot)? };
            }
        }
        Ok(arena)
    }

    /// The region, for copies.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.bytes.len()
    }

    /// Offset of a slot in the region, bytes.
    pub fn offset(&self, slot: usize) -> u64 {
        self.offsets[slot]
    }

    /// Length of a slot, bytes.
    pub fn bytes(&self, slot: usize) -> u64 {
        self.bytes[slot]
    }

    /// Address of a slot; none in a file.
    pub fn pointer(&self, slot: usize) -> Option<NonNull<u8>> {
        let base = self.region.pointer()?;
        // SAFETY: `new` checked that every slot lies in the region.
        Some(unsafe { base.add(self.offsets[slot] as usize) })
    }

    /// The bytes of a slot in memory; none in a file.
    ///
    /// # Safety
    /// The slot is alive, and nobody else reaches it or a slot that shares its bytes while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, slot: usize) -> Option<&mut [u8]> {
        let pointer = self.pointer(slot)?;
        // SAFETY: the slot lies in the region, whose memory is initialised; the caller vouches for peace.
        Some(unsafe { std::slice::from_raw_parts_mut(pointer.as_ptr(), self.bytes[slot] as usize) })
    }

    /// Says that a slot's contents are done with; in poison mode it becomes NaN.
    ///
    /// # Errors
    /// A file cannot be written.
    ///
    /// # Safety
    /// Nobody reaches the slot meanwhile, and no slot that shares its bytes is alive already.
    pub unsafe fn release(&self, slot: usize) -> Result<(), ArenaError> {
        if !self.poisoned {
            return Ok(());
        }
        // SAFETY: the caller vouches for peace.
        unsafe { self.fill(slot) }
    }

    /// In poison mode, finds numbers of `width` bytes that are about to be read and were never written, in `bytes` from
    /// `offset` of a slot; otherwise says yes.
    ///
    /// # Errors
    /// [`ArenaError::Unwritten`]; a file cannot be read.
    ///
    /// # Safety
    /// Nobody writes the slot meanwhile.
    ///
    /// # Panics
    /// The range does not lie in the slot.
    pub unsafe fn check(&self, slot: usize, offset: u64, bytes: u64, width: usize) -> Result<(), ArenaError> {
        assert!(offset + bytes <= self.bytes[slot], "{bytes} bytes at {offset} of a slot of {}", self.bytes[slot]);
        if !self.poisoned {
            return Ok(());
        }
        let granularity = self.region.granularity();
        let mut window = vec![0u8; WINDOW.min((bytes + 2 * granularity) as usize)];
        let mut staging = self.staging()?;
        let mut at = offset;
        while at < offset + bytes {
            let begin = at - at % granularity;
            let end = (begin + window.len() as u64).min(offset + bytes);
            let part = &mut window[..(end - begin) as usize];
            // SAFETY: the window is ours; the caller vouches that nobody writes the slot.
            unsafe {
                self.region.fetch(self.offsets[slot] + begin, part.as_mut_ptr(), part.len(), staging.as_mut())?;
            }
            let skip = (at - begin) as usize;
            if let Some(found) = unwritten(&part[skip..], width) {
                return Err(ArenaError::Unwritten { tier: self.region.tier(), slot, offset: at + found as u64 });
            }
            at = end;
        }
        Ok(())
    }

    fn staging(&self) -> Result<Option<crate::kind::Staging>, ArenaError> {
        let tier = self.region.tier();
        let memory = |source| AllocError::Memory { tier, bytes: WINDOW as u64, source };
        let direct = self.region.direct() == Some(true);
        Ok(direct.then(|| crate::kind::Staging::new(WINDOW)).transpose().map_err(memory)?)
    }

    /// # Safety
    /// Nobody else reaches the slot.
    unsafe fn fill(&self, slot: usize) -> Result<(), ArenaError> {
        // SAFETY: as promised by the caller.
        if let Some(bytes) = unsafe { self.slice(slot) } {
            poison(bytes);
            return Ok(());
        }
        let window = vec![POISON; WINDOW.min(self.bytes[slot] as usize)];
        let mut staging = self.staging()?;
        let mut at = 0;
        while at < self.bytes[slot] {
            let part = (self.bytes[slot] - at).min(window.len() as u64) as usize;
            // SAFETY: the window is ours; as promised by the caller nobody reaches the slot.
            unsafe { self.region.put(self.offsets[slot] + at, window.as_ptr(), part, staging.as_mut())? };
            at += part as u64;
        }
        Ok(())
    }
}
