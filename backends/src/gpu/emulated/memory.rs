//! Memory of the emulated device: bytes, and for every four of them who touched them last.

use super::super::driver::{DriverError, Memory};
use std::alloc::{alloc_zeroed, dealloc, Layout};
use std::collections::BTreeMap;

/// Twin of `weir::Word` in the host prelude.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Word {
    read_epoch: u32,
    read_block: u32,
    write_epoch: u32,
    write_block: u32,
    write_phase: u32,
    write_thread: u32,
    reader: u32,
    reader_phase: u32,
}

const ALIGN: usize = 256;

/// One allocation.
struct Piece {
    base: *mut u8,
    bytes: usize,
    memory: Memory,
    words: Vec<Word>,
}

// SAFETY: pieces are reached through the driver's lock alone.
unsafe impl Send for Piece {}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.base, layout(self.bytes)) }
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes.max(1), ALIGN).expect("sizes were checked when the memory was taken")
}

/// All allocations, by address.
pub struct Heap {
    pieces: BTreeMap<u64, Piece>,
    /// Bytes of device memory there are, and in use.
    pub capacity: u64,
    pub held: u64,
    /// How often memory was taken.
    pub taken: u64,
    /// Whether accesses are written down.
    watched: bool,
}

impl Heap {
    pub fn new(capacity: u64, watched: bool) -> Self {
        Self { pieces: BTreeMap::new(), capacity, held: 0, taken: 0, watched }
    }

    /// How many allocations there are.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Address and bytes of every allocation.
    pub fn ranges(&self) -> Vec<(u64, u64)> {
        self.pieces.iter().map(|(at, piece)| (*at, piece.bytes as u64)).collect()
    }

    /// The error of a memory that has no such room.
    pub fn short(&self, memory: Memory, bytes: u64) -> DriverError {
        let memory = match memory {
            Memory::Device => "device",
            Memory::Pinned => "pinned",
            Memory::Managed => "managed",
        };
        DriverError::OutOfMemory { memory, bytes, free: self.capacity - self.held }
    }

    pub fn allocate(&mut self, memory: Memory, bytes: u64) -> Result<u64, DriverError> {
        let device = memory != Memory::Pinned;
        let short = self.short(memory, bytes);
        if device && bytes > self.capacity - self.held {
            return Err(short);
        }
        let size = usize::try_from(bytes).map_err(|_| short.clone())?;
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc_zeroed(Layout::from_size_align(size.max(1), ALIGN).map_err(|_| short.clone())?) };
        if base.is_null() {
            return Err(short);
        }
        if device {
            self.held += bytes;
        }
        self.taken += 1;
        let words = if self.watched { vec![Word::default(); size.div_ceil(4) + 2] } else { Vec::new() };
        self.pieces.insert(base as u64, Piece { base, bytes: size, memory, words });
        Ok(base as u64)
    }

    pub fn free(&mut self, address: u64) {
        if let Some(piece) = self.pieces.remove(&address) {
            if piece.memory != Memory::Pinned {
                self.held -= piece.bytes as u64;
            }
        }
    }

    /// The allocation that an address belongs to, and the offset in it.
    fn find(&mut self, address: u64) -> Option<(&mut Piece, usize)> {
        let (base, piece) = self.pieces.range_mut(..=address).next_back()?;
        let offset = (address - base) as usize;
        (offset < piece.bytes.max(1)).then_some((piece, offset))
    }

    /// Words of `bytes` from an address on, null where accesses are not written down; none for memory that is not of the driver, an error
    /// for a range that leaves its allocation.
    pub fn words(&mut self, address: u64, bytes: u64) -> Result<Option<*mut Word>, String> {
        let watched = self.watched;
        match self.find(address) {
            None => Ok(None),
            Some((piece, offset)) if offset as u64 + bytes <= piece.bytes as u64 => {
                Ok(Some(if watched { piece.words[offset / 4..].as_mut_ptr() } else { std::ptr::null_mut() }))
            }
            Some((piece, offset)) => Err(format!("{bytes} bytes from {offset} on of an allocation of {}", piece.bytes)),
        }
    }

    /// Marks bytes as written by the host or a copy, or (`written` false) as never written.
    pub fn mark(&mut self, address: u64, bytes: u64, written: bool) -> Result<(), String> {
        if let Some(words) = self.words(address, bytes)?.filter(|w| !w.is_null()) {
            let word = Word { write_epoch: if written { u32::MAX } else { 0 }, ..Word::default() };
            // SAFETY: `words` answers for that many bytes.
            unsafe { std::slice::from_raw_parts_mut(words, (bytes as usize).div_ceil(4)) }.fill(word);
        }
        Ok(())
    }

    /// Copies bytes and what is known of them.
    ///
    /// # Safety
    /// Both ends hold that many bytes.
    pub unsafe fn copy(&mut self, to: u64, from: u64, bytes: u64) -> Result<(), String> {
        let (source, target) = (self.words(from, bytes)?, self.words(to, bytes)?);
        // SAFETY: the caller's promise, and what `words` checked.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes as usize) };
        let Some(target) = target.filter(|w| !w.is_null()) else { return Ok(()) };
        for k in 0..(bytes as usize).div_ceil(4) {
            // SAFETY: `words` answers for that many bytes.
            unsafe {
                let known = source.is_none_or(|source| (*source.add(k)).write_epoch != 0);
                *target.add(k) = Word { write_epoch: if known { u32::MAX } else { 0 }, ..Word::default() };
            }
        }
        Ok(())
    }
}
