//! What the structure tests share: files from text, and pseudo-random numbers (splitmix64, so that failures repeat).

use weir_engine::structure::{read_bytes, Format, ReadOptions, Structure, StructureError};

/// The structures of a file with this text.
#[allow(dead_code)]
pub fn from(format: Format, text: &str) -> Result<Vec<Structure>, StructureError> {
    read_bytes(format, text.as_bytes(), &ReadOptions::default())
}

/// What is said of a file that cannot be read.
#[allow(dead_code)]
pub fn message<T: std::fmt::Debug>(result: Result<T, StructureError>) -> String {
    result.unwrap_err().to_string()
}

/// A generator with its seed.
pub struct Random(pub u64);

#[allow(dead_code)]
impl Random {
    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// A number from 0 to 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}
