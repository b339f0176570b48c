//! A piece of memory or of a scratch file, from one kind, given back on drop.

use super::ledger::Charge;
use super::{AllocError, Tier};
use crate::faults::{Faults, Operation};
use crate::os::{Mapping, Scratch};
use std::fmt;
use std::io;
use std::ptr::NonNull;

/// A region: memory (address, length) or a file. Dropping it unmaps or closes and pays its budget back.
pub struct Region {
    tier: Tier,
    bytes: u64,
    // Before the charge: what is paid back must already be free.
    store: Store,
    charge: Option<Charge>,
}

enum Store {
    Mapped(Mapping),
    Foreign { pointer: NonNull<u8>, _keep: Box<dyn Send + Sync> },
    File { scratch: Scratch, faults: Faults },
}

// SAFETY: the stores are Send; a foreign address is kept alive by its owner, which is.
unsafe impl Send for Region {}
// SAFETY: through a shared region memory is reached only by unsafe code that promises no race, and files by positional I/O.
unsafe impl Sync for Region {}

/// One aligned buffer between memory and a file past the page cache.
pub struct Staging(Mapping);

impl Staging {
    pub fn new(bytes: usize) -> io::Result<Self> {
        let mapping = Mapping::new(bytes.next_multiple_of(Scratch::BLOCK))?;
        mapping.touch(&[])?;
        Ok(Staging(mapping))
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is live, initialised by the kernel, and borrowed mutably with `self`.
        unsafe { std::slice::from_raw_parts_mut(self.0.pointer(), self.0.bytes()) }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Region({}, {} bytes)", self.tier, self.bytes)
    }
}

impl Region {
    pub(super) fn memory(tier: Tier, mapping: Mapping, charge: Charge) -> Self {
        Region { tier, bytes: mapping.bytes() as u64, store: Store::Mapped(mapping), charge: Some(charge) }
    }

    pub(super) fn file(scratch: Scratch, bytes: u64, charge: Charge, faults: Faults) -> Self {
        Region { tier: Tier::File, bytes, store: Store::File { scratch, faults }, charge: Some(charge) }
    }

    /// Memory that somebody else made (a driver); dropping the region drops `keep`, which frees it.
    ///
    /// # Safety
    /// `pointer` must stay valid for `bytes` until `keep` is dropped, and be aligned to 4096. Where the CPU cannot reach it,
    /// nobody may call what dereferences it here ([`Region::bytes_of`], [`Region::read_at`], copies by a host stream).
    pub unsafe fn foreign(tier: Tier, pointer: NonNull<u8>, bytes: u64, keep: Box<dyn Send + Sync>) -> Self {
        Region { tier, bytes, store: Store::Foreign { pointer, _keep: keep }, charge: None }
    }

    /// Which kind it came from.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Length, bytes: what was asked for, rounded up to pages or blocks.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives pages behind the first so many bytes back, and their part of the budget, where this is memory of our own. What lies before
    /// stays where it is.
    pub fn shorten(&mut self, bytes: u64) {
        if let Store::Mapped(mapping) = &mut self.store {
            mapping.shorten(usize::try_from(bytes).unwrap_or(usize::MAX));
            self.bytes = mapping.bytes() as u64;
            if let Some(charge) = &mut self.charge {
                charge.shorten(self.bytes);
            }
        }
    }

    /// Offsets of reads and writes are multiples of this, bytes.
    pub fn granularity(&self) -> u64 {
        match self.store {
            Store::File { .. } => Scratch::BLOCK as u64,
            _ => 1,
        }
    }

    /// Address of the first byte; none for a file.
    pub fn pointer(&self) -> Option<NonNull<u8>> {
        match &self.store {
            Store::Mapped(mapping) => NonNull::new(mapping.pointer()),
            Store::Foreign { pointer, .. } => Some(*pointer),
            Store::File { .. } => None,
        }
    }

    /// Whether a file goes past the page cache; none for memory.
    pub fn direct(&self) -> Option<bool> {
        match &self.store {
            Store::File { scratch, .. } => Some(scratch.direct()),
            _ => None,
        }
    }

    /// Tries one block of a file with memory of a device's driver, and leaves the page cache in where the kernel does not let such memory past it:
    /// whether that is so. Nothing for memory. What the block held is lost.
    ///
    /// # Safety
    /// A block (4096 bytes) from `memory`, aligned to one, is initialised, and nobody touches it or the file meanwhile.
    ///
    /// # Errors
    /// What else the file system says.
    pub unsafe fn try_memory(&mut self, memory: NonNull<u8>) -> Result<bool, AllocError> {
        let Store::File { scratch, .. } = &mut self.store else { return Ok(false) };
        // SAFETY: the caller's promise.
        let block = unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), Scratch::BLOCK) };
        let tried = scratch.stay_direct(|file| file.write(block, 0).and_then(|()| file.read(block, 0)));
        tried.map_err(|source| self.broken("tried", 0, Scratch::BLOCK as u64, source))
    }

    /// The bytes of memory; none for a file.
    pub fn bytes_of(&mut self) -> Option<&mut [u8]> {
        let (pointer, length) = (self.pointer()?, self.bytes as usize);
        // SAFETY: live for the length of the region, initialised by the kernel, borrowed mutably with `self`.
        Some(unsafe { std::slice::from_raw_parts_mut(pointer.as_ptr(), length) })
    }

    /// Fills `to` from an offset.
    ///
    /// # Errors
    /// Outside of the region, off the granularity, or the file cannot be read.
    pub fn read_at(&mut self, offset: u64, to: &mut [u8]) -> Result<(), AllocError> {
        let mut staging = self.staging(to.len())?;
        // SAFETY: `to` is borrowed mutably and the region too, so nobody else writes either.
        unsafe { self.fetch(offset, to.as_mut_ptr(), to.len(), staging.as_mut()) }
    }

    /// Writes `from` at an offset. In a file the rest of the last block is undefined afterwards.
    ///
    /// # Errors
    /// Outside of the region, off the granularity, or the file cannot be written.
    pub fn write_at(&mut self, offset: u64, from: &[u8]) -> Result<(), AllocError> {
        let mut staging = self.staging(from.len())?;
        // SAFETY: `from` is borrowed and the region mutably, so nobody else writes either.
        unsafe { self.put(offset, from.as_ptr(), from.len(), staging.as_mut()) }
    }

    /// Sends what the page cache holds of a file to the disk; nothing for memory.
    ///
    /// # Errors
    /// What the file system says.
    pub fn settle(&self) -> Result<(), AllocError> {
        let Store::File { scratch, .. } = &self.store else { return Ok(()) };
        scratch.settle().map_err(|source| self.broken("written", 0, self.bytes, source))
    }

    /// Checks a range against the length and the granularity.
    ///
    /// # Errors
    /// [`AllocError::Range`].
    pub fn check(&self, offset: u64, bytes: u64) -> Result<(), AllocError> {
        let granularity = self.granularity();
        if offset % granularity == 0 && offset.checked_add(bytes).is_some_and(|end| end <= self.bytes) {
            return Ok(());
        }
        Err(AllocError::Range { tier: self.tier, offset, bytes, length: self.bytes, granularity })
    }

    fn broken(&self, action: &'static str, offset: u64, bytes: u64, source: io::Error) -> AllocError {
        AllocError::Transfer { tier: self.tier, action, offset, bytes, source }
    }

    fn staging(&self, bytes: usize) -> Result<Option<Staging>, AllocError> {
        if self.direct() != Some(true) {
            return Ok(None);
        }
        let length = bytes.clamp(1, 1 << 20);
        let made = Staging::new(length).map_err(|e| self.broken("staged", 0, length as u64, e))?;
        Ok(Some(made))
    }

    /// Copies out of the region into memory. A file that is read past the page cache into memory off its blocks goes
    /// through `staging`.
    ///
    /// # Safety
    /// `to` must be valid for `bytes`; nobody may write the range or touch `to` meanwhile.
    pub(crate) unsafe fn fetch(
        &self,
        offset: u64,
        to: *mut u8,
        bytes: usize,
        staging: Option<&mut Staging>,
    ) -> Result<(), AllocError> {
        self.check(offset, bytes as u64)?;
        let Store::File { scratch, faults } = &self.store else {
            // SAFETY: the range was checked; the caller vouches for `to` and for peace.
            unsafe { std::ptr::copy(self.at(offset), to, bytes) };
            return Ok(());
        };
        faults.check(Operation::Read)?;
        let broken = |e| self.broken("read", offset, bytes as u64, e);
        if !scratch.direct() || whole_blocks(to, bytes) {
            // SAFETY: the caller vouches for `to`; reading fills it.
            let to = unsafe { std::slice::from_raw_parts_mut(to, bytes) };
            return scratch.read(to, offset).map_err(broken);
        }
        let buffer = staging.ok_or_else(|| broken(io::ErrorKind::InvalidInput.into()))?.bytes();
        let mut done = 0;
        while done < bytes {
            let part = (bytes - done).min(buffer.len());
            let padded = part.next_multiple_of(Scratch::BLOCK);
            scratch.read(&mut buffer[..padded], offset + done as u64).map_err(broken)?;
            // SAFETY: `done + part` is at most `bytes`; staging is our own.
            unsafe { std::ptr::copy_nonoverlapping(buffer.as_ptr(), to.add(done), part) };
            done += part;
        }
        Ok(())
    }

    /// Copies from memory into the region, as [`Region::fetch`] does the other way.
    ///
    /// # Safety
    /// `from` must be valid for `bytes`; nobody may touch the range or write `from` meanwhile.
    pub(crate) unsafe fn put(
        &self,
        offset: u64,
        from: *const u8,
        bytes: usize,
        staging: Option<&mut Staging>,
    ) -> Result<(), AllocError> {
        self.check(offset, bytes as u64)?;
        let Store::File { scratch, faults } = &self.store else {
            // SAFETY: the range was checked; the caller vouches for `from` and for peace.
            unsafe { std::ptr::copy(from, self.at(offset), bytes) };
            return Ok(());
        };
        faults.check(Operation::Write)?;
        let broken = |e| self.broken("written", offset, bytes as u64, e);
        if !scratch.direct() || whole_blocks(from, bytes) {
            // SAFETY: the caller vouches for `from`.
            let from = unsafe { std::slice::from_raw_parts(from, bytes) };
            return scratch.write(from, offset).map_err(broken);
        }
        let buffer = staging.ok_or_else(|| broken(io::ErrorKind::InvalidInput.into()))?.bytes();
        let mut done = 0;
        while done < bytes {
            let part = (bytes - done).min(buffer.len());
            let padded = part.next_multiple_of(Scratch::BLOCK);
            // SAFETY: `done + part` is at most `bytes`; staging is our own.
            unsafe { std::ptr::copy_nonoverlapping(from.add(done), buffer.as_mut_ptr(), part) };
            scratch.write(&buffer[..padded], offset + done as u64).map_err(broken)?;
            done += part;
        }
        Ok(())
    }

    /// Address of an offset that was checked; memory only.
    fn at(&self, offset: u64) -> *mut u8 {
        let base = self.pointer().expect("memory has an address").as_ptr();
        base.wrapping_add(offset as usize)
    }
}

/// Whether the kernel takes this memory for a file past the page cache.
fn whole_blocks(pointer: *const u8, bytes: usize) -> bool {
    pointer as usize % Scratch::BLOCK == 0 && bytes % Scratch::BLOCK == 0
}
