//! Page-locked host memory that a step reads its positions from and writes its results to. Its addresses stay while a plan is in force,
//! so that a recorded step can be run again.

use super::array::{Array, Bump};
use super::buffers::Buffers;
use super::driver::{Driver, DriverError, Memory, Stream};
use super::memory::Held;
use std::sync::Arc;

/// The twins of arrays on the device.
pub struct Staging {
    /// The memory; all arrays lie in it.
    _memory: Held,
    /// N x 3, input order.
    pub positions: Array,
    /// See `Buffers`.
    pub cell: Array,
    /// Of atoms, sorted.
    pub energy: Array,
    /// N x 3, input order.
    pub forces: Array,
    /// Energy, then the virial.
    pub totals: Array,
    /// See `Flags`.
    pub flags: Array,
    /// See `Buffers`.
    pub too_large: Array,
}

/// Numbers in `totals`.
pub const TOTALS: u64 = 10;

impl Staging {
    /// For arrays of the sizes of `b`.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(driver: &Arc<dyn Driver>, b: &Buffers) -> Result<Self, DriverError> {
        let arrays = |base: u64| {
            let mut bump = Bump::new(base);
            let sizes = [
                b.positions.bytes,
                b.cell.bytes,
                b.energy.bytes,
                b.forces.bytes,
                8 * TOTALS,
                b.flags.bytes,
                b.too_large.bytes,
            ];
            (sizes.map(|bytes| bump.take(bytes, 1)), bump.bytes())
        };
        let memory = Held::new(driver, Memory::Pinned, arrays(0).1)?;
        let ([positions, cell, energy, forces, totals, flags, too_large], bytes) = arrays(memory.array.at);
        // Written once as the device sees it, so that nobody ever reads bytes that nobody wrote.
        let zeros = vec![0u8; bytes as usize];
        // SAFETY: both ends hold the bytes until the stream has been waited for, which happens after an error too.
        let sent = unsafe { driver.copy(Stream::Compute, memory.array.at, zeros.as_ptr() as u64, bytes) };
        let waited = driver.synchronise(Stream::Compute);
        sent.and(waited)?;
        Ok(Self { _memory: memory, positions, cell, energy, forces, totals, flags, too_large })
    }

    /// Puts numbers where the next step reads them. No step is under way.
    pub fn write(&mut self, to: Array, values: &[f64]) {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        assert!(bytes.len() as u64 <= to.bytes, "{} bytes for {}", bytes.len(), to.bytes);
        // SAFETY: an array of this memory, which nobody else writes while no step is under way.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.at as *mut u8, bytes.len()) }
    }

    /// What the last step wrote. It has been waited for.
    pub fn read<N: bytemuck::Pod>(&self, from: Array) -> &[N] {
        // SAFETY: an array of this memory, initialised when it was taken, aligned to 256 bytes; nobody writes it until the next step,
        // which needs it mutably.
        unsafe { std::slice::from_raw_parts(from.at as *const N, from.bytes as usize / size_of::<N>()) }
    }
}
