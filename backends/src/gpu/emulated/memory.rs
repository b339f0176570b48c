//! Memory of the emulated device: bytes, and for every four of them what happened to them last.

use super::super::driver::{DriverError, Memory};
use std::alloc::{alloc_zeroed, dealloc, Layout};
use std::collections::BTreeMap;

/// Twin of `weir::Words` in the host's text (watch.h): what happened to four words that stand together.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
struct Words {
    written: [u32; 4],
    read: [u32; 4],
    first: [u32; 4],
    threads: [u32; 4],
}

/// Twin of `weir::HOST`: a time before any launch.
const HOST: u32 = 1;

const ALIGN: usize = 256;

/// One allocation.
struct Piece {
    base: *mut u8,
    bytes: usize,
    memory: Memory,
    words: Vec<Words>,
}

impl Piece {
    /// The word of `bytes` of memory, as if the host had written it or nobody ever had.
    fn set(&mut self, word: usize, written: bool) {
        let (w, k) = (&mut self.words[word / 4], word % 4);
        (w.written[k], w.read[k], w.first[k], w.threads[k]) = (if written { HOST } else { 0 }, 0, 0, 0);
    }
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
        let words = if self.watched { vec![Words::default(); size.div_ceil(16)] } else { Vec::new() };
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

    /// Bytes from an address on to the end of its allocation.
    pub fn rest(&mut self, address: u64) -> Option<u64> {
        self.find(address).map(|(piece, offset)| (piece.bytes - offset) as u64)
    }

    /// The allocation of `bytes` from an address on, and the offset in it; none for memory that is not of the driver, an error for a range that
    /// leaves its allocation.
    fn range(&mut self, address: u64, bytes: u64) -> Result<Option<(&mut Piece, usize)>, String> {
        match self.find(address) {
            None => Ok(None),
            Some((piece, offset)) if offset as u64 + bytes <= piece.bytes as u64 => Ok(Some((piece, offset))),
            Some((piece, offset)) => Err(format!("{bytes} bytes from {offset} on of an allocation of {}", piece.bytes)),
        }
    }

    /// Where kernels find what happened to `bytes` from an address on (`weir::Global::words`), 0 where accesses are not written down; none and
    /// errors as above.
    pub fn words(&mut self, address: u64, bytes: u64) -> Result<Option<u64>, String> {
        let watched = self.watched;
        let found = self.range(address, bytes)?;
        Ok(found.map(|(piece, _)| match watched {
            true => (piece.words.as_mut_ptr() as u64).wrapping_sub((piece.base as u64).wrapping_mul(4)),
            false => 0,
        }))
    }

    /// Marks bytes as written by the host or a copy, or (`written` false) as never written.
    pub fn mark(&mut self, address: u64, bytes: u64, written: bool) -> Result<(), String> {
        let watched = self.watched;
        if let Some((piece, offset)) = self.range(address, bytes)?.filter(|_| watched) {
            (offset / 4..offset / 4 + (bytes as usize).div_ceil(4)).for_each(|word| piece.set(word, written));
        }
        Ok(())
    }

    /// Copies bytes and what is known of them.
    ///
    /// # Safety
    /// Both ends hold that many bytes.
    pub unsafe fn copy(&mut self, to: u64, from: u64, bytes: u64) -> Result<(), String> {
        let (watched, words) = (self.watched, (bytes as usize).div_ceil(4));
        let known: Option<Vec<bool>> = self.range(from, bytes)?.filter(|_| watched).map(|(piece, offset)| {
            (offset / 4..offset / 4 + words).map(|word| piece.words[word / 4].written[word % 4] != 0).collect()
        });
        let target = self.range(to, bytes)?;
        // SAFETY: the caller's promise, and what `range` checked.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes as usize) };
        if let Some((piece, offset)) = target.filter(|_| watched) {
            (0..words).for_each(|k| piece.set(offset / 4 + k, known.as_ref().is_none_or(|known| known[k])));
        }
        Ok(())
    }
}
