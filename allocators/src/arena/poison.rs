//! Bytes that mean "nobody wrote this".

/// Every byte of a poisoned slot. As f16, bf16, f32 and f64 it reads as NaN.
pub const POISON: u8 = 0xff;

/// Fills with poison.
pub fn poison(bytes: &mut [u8]) {
    bytes.fill(POISON);
}

/// Offset of the first number that is still poison, in numbers of `width` bytes (2, 4 or 8) from the start.
///
/// No computation makes this pattern: hardware NaNs have other payload bits. Integers may (`u32::MAX`), so only
/// floating-point slots should be asked.
///
/// # Panics
/// `width` is none of 2, 4, 8.
pub fn unwritten(bytes: &[u8], width: usize) -> Option<usize> {
    assert!(matches!(width, 2 | 4 | 8), "numbers have 2, 4 or 8 bytes, not {width}");
    bytes.chunks_exact(width).position(|number| number.iter().all(|&b| b == POISON)).map(|i| i * width)
}
