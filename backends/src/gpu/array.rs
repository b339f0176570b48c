//! Arrays in device memory, and the bump layout that places them in one allocation.

use super::driver::Arg;

/// Part of an allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Array {
    /// Address.
    pub at: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Array {
    /// As a kernel's argument.
    pub fn arg(&self) -> Arg {
        Arg::Pointer(self.at, self.bytes)
    }

    /// No array: kernels see a null pointer.
    pub const NONE: Array = Array { at: 0, bytes: 0 };
}

/// Lays arrays out one behind the other; from address 0 it only counts.
#[derive(Clone, Copy, Debug)]
pub struct Bump {
    next: u64,
    base: u64,
}

/// Every array begins at a multiple of this.
const ALIGN: u64 = 256;

impl Bump {
    /// From a base address on.
    pub fn new(base: u64) -> Self {
        Self { next: base, base }
    }

    /// An array of `count` numbers of `width` bytes.
    pub fn take(&mut self, count: u64, width: u64) -> Array {
        let array = Array { at: self.next, bytes: count * width };
        self.next += (count * width).div_ceil(ALIGN) * ALIGN;
        array
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.next - self.base
    }
}

/// Host bytes of arrays that are laid out by a [`Bump`]: what is uploaded in one piece.
#[derive(Debug)]
pub struct Writer {
    bump: Bump,
    /// The bytes, from the base address on.
    pub bytes: Vec<u8>,
    double: bool,
}

impl Writer {
    /// For messages in f64 or f32.
    pub fn new(base: u64, double: bool) -> Self {
        Self { bump: Bump::new(base), bytes: Vec::new(), double }
    }

    fn put(&mut self, count: u64, width: u64, data: impl Iterator<Item = u8>) -> Array {
        let array = self.bump.take(count, width);
        self.bytes.resize((array.at - self.bump.base) as usize, 0);
        self.bytes.extend(data);
        self.bytes.resize(self.bump.bytes() as usize, 0);
        array
    }

    /// Numbers of the compute type.
    pub fn reals(&mut self, values: &[f64]) -> Array {
        match self.double {
            true => self.doubles(values),
            false => self.put(values.len() as u64, 4, values.iter().flat_map(|&v| (v as f32).to_le_bytes())),
        }
    }

    /// Double-precision numbers.
    pub fn doubles(&mut self, values: &[f64]) -> Array {
        self.put(values.len() as u64, 8, values.iter().flat_map(|v| v.to_le_bytes()))
    }

    /// Indices.
    pub fn indices(&mut self, values: &[u32]) -> Array {
        self.put(values.len() as u64, 4, values.iter().flat_map(|v| v.to_le_bytes()))
    }
}
