//! States in fewer bits than they are computed in: `WEIR_STORE`.

use super::share::Shared;
use super::simd::Real;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// How layer states are stored. Rounding applies wherever a state is, so that results do not depend on the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// In the compute type.
    #[default]
    Exact,
    /// IEEE single.
    F32,
    /// IEEE half: 11 significant bits, up to 65504.
    F16,
    /// The upper half of a single, rounded: 8 significant bits, the range of single.
    Bf16,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Store::Exact => "exact",
            Store::F32 => "f32",
            Store::F16 => "f16",
            Store::Bf16 => "bf16",
        })
    }
}

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Store::Exact, Store::F32, Store::F16, Store::Bf16]
            .into_iter()
            .find(|s| s.to_string() == text)
            .ok_or_else(|| format!("\"{text}\" is no form of storage: choose exact, f32, f16, bf16"))
    }
}

impl Store {
    /// The form for numbers of `number` bytes: one that would not save any is exact.
    pub fn of(self, number: usize) -> Self {
        if self.bytes(number) < number {
            self
        } else {
            Store::Exact
        }
    }

    /// Bytes of a stored number that is computed in `number` bytes.
    pub fn bytes(self, number: usize) -> usize {
        match self {
            Store::Exact => number,
            Store::F32 => 4,
            Store::F16 | Store::Bf16 => 2,
        }
    }
}

/// Rows of one tile in a slot, packed.
#[derive(Clone, Copy)]
pub struct PackedRows<'a> {
    /// The slot.
    pub data: Shared<'a, u8>,
    /// Edge (or angle) of the whole system that row 0 belongs to.
    pub first: usize,
    /// Numbers in a row.
    pub width: usize,
    /// Never exact.
    pub store: Store,
}

impl<'a> PackedRows<'a> {
    /// # Safety
    /// As [`Shared::piece`].
    #[inline(always)]
    unsafe fn of(&self, range: &Range<usize>) -> &'a mut [u8] {
        let row = self.width * self.store.bytes(0);
        // SAFETY: the caller's promise.
        unsafe { self.data.piece((range.start - self.first) * row, range.len() * row) }
    }

    /// Unpacks rows into `out`.
    ///
    /// # Safety
    /// Nobody writes these rows meanwhile.
    #[inline(always)]
    pub unsafe fn unpack<T: Real>(&self, range: Range<usize>, out: &mut [T]) {
        // SAFETY: the caller's promise.
        let bytes = unsafe { self.of(&range) };
        match self.store {
            Store::Exact => unreachable!("exact rows are not packed"),
            Store::F32 => {
                for (x, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                    *x = T::from_f64(f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
                }
            }
            Store::F16 => {
                for (x, b) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    *x = T::from_f64(f64::from(from_half(u16::from_le_bytes([b[0], b[1]]))));
                }
            }
            Store::Bf16 => {
                for (x, b) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    let bits = u32::from(u16::from_le_bytes([b[0], b[1]])) << 16;
                    *x = T::from_f64(f64::from(f32::from_bits(bits)));
                }
            }
        }
    }

    /// Packs rows; what is too large is told to `beyond`.
    ///
    /// # Safety
    /// Nobody else touches these rows meanwhile.
    #[inline(always)]
    pub unsafe fn pack<T: Real>(&self, range: Range<usize>, rows: &[T], beyond: &Beyond) {
        // SAFETY: the caller's promise.
        let bytes = unsafe { self.of(&range) };
        // Bits of the largest magnitude: as integers they are ordered like the numbers, NaN above all.
        let mut largest = 0u32;
        macro_rules! pack {
            ($size:literal, $convert:expr) => {
                for (b, x) in bytes.chunks_exact_mut($size).zip(rows) {
                    let single = x.to_f64() as f32;
                    largest = largest.max(single.to_bits() & 0x7fff_ffff);
                    b.copy_from_slice(&$convert(single).to_le_bytes());
                }
            };
        }
        match self.store {
            Store::Exact => unreachable!("exact rows are not packed"),
            Store::F32 => pack!(4, |x: f32| x.to_bits()),
            Store::F16 => pack!(2, to_half),
            Store::Bf16 => pack!(2, to_bf16),
        }
        // The first magnitude that rounds to infinity.
        let limit = match self.store {
            Store::F16 => 65520.0f32.to_bits(),
            Store::Bf16 => 0x7f7f_8000,
            _ => f32::INFINITY.to_bits(),
        };
        // Numbers that are none are reported with the results.
        if (limit..=f32::INFINITY.to_bits()).contains(&largest) {
            let most = rows.iter().map(|x| x.to_f64().abs()).filter(|x| !x.is_nan()).fold(0.0, f64::max);
            beyond.0.fetch_max(most.to_bits(), Ordering::Relaxed);
        }
    }
}

/// The largest magnitude that did not fit, over all threads.
#[derive(Debug, Default)]
pub struct Beyond(AtomicU64);

impl Beyond {
    /// It, and forgets it.
    pub fn take(&self) -> Option<f64> {
        let bits = self.0.swap(0, Ordering::Relaxed);
        (bits != 0).then(|| f64::from_bits(bits))
    }
}

/// Single to half, to nearest, ties to even. All three cases are computed and one is chosen, so that loops over it become vector code.
#[inline(always)]
pub(crate) fn to_half(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16) & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    // Half's exponents begin 112 later; rounding adds just below half a unit, and one more where the kept part is odd.
    let odd = (magnitude >> 13) & 1;
    let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
    // Below 2^-14: adding 0.5 lets the adder round at half's smallest unit, 2^-24.
    let small = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let value = if magnitude < 113 << 23 { small } else { normal };
    let special = if magnitude > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    let value = if magnitude >= 143 << 23 { special } else { value };
    (sign | value) as u16
}

/// Half to single, exact.
#[inline(always)]
pub(crate) fn from_half(x: u16) -> f32 {
    let magnitude = u32::from(x & 0x7fff) << 13;
    let exponent = magnitude & (0x1f << 23);
    let normal = f32::from_bits(magnitude + (112 << 23));
    // Subnormal halves: with an exponent of -14 in place, the leading one that is not there is taken off again.
    let small = f32::from_bits(magnitude + (113 << 23)) - f32::from_bits(113 << 23);
    let special = f32::from_bits(magnitude + (224 << 23));
    let value = if exponent == 0 { small } else { normal };
    let value = if exponent == 0x1f << 23 { special } else { value };
    f32::from_bits(value.to_bits() | u32::from(x & 0x8000) << 16)
}

/// The upper half of a single, to nearest, ties to even.
#[inline(always)]
fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    // Rounding could turn a NaN into infinity or zero; no NaN of ours is all ones, which means "nobody wrote this" in test mode.
    (if x.is_nan() { (bits >> 16) & 0x8000 | 0x7fc0 } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_and_known_values_are_right() {
        for bits in 0..=u16::MAX {
            let x = from_half(bits);
            if x.is_nan() {
                assert!(bits & 0x7c00 == 0x7c00 && bits & 0x3ff != 0);
                assert!(from_half(to_half(x)).is_nan());
            } else {
                assert_eq!(to_half(x), bits, "{x}");
            }
        }
        for (x, bits) in [
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65504.0, 0x7bff),
            (65519.0, 0x7bff),
            (65520.0, 0x7c00),
            (6.103_515_6e-5, 0x0400),
            (5.960_464_5e-8, 0x0001),
            // Half of the smallest: the tie goes to zero, anything more to one.
            (2.980_232_2e-8, 0x0000),
            (2.980_233e-8, 0x0001),
            // 1 + 2^-11 is a tie and goes to the even 1; 1 + 3 2^-11 to 1 + 2^-9.
            (1.000_488_3, 0x3c00),
            (1.001_464_8, 0x3c02),
            (f32::INFINITY, 0x7c00),
        ] {
            assert_eq!(to_half(x), bits, "{x}");
        }
        assert_eq!(to_half(0.1), 0x2e66);
        assert_eq!(to_half(1e-9), 0);
    }

    #[test]
    fn halves_are_the_nearest() {
        // Against the definition: no other half is nearer.
        let mut r = 12345u64;
        for _ in 0..200_000 {
            r = r.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let x = f32::from_bits((r >> 32) as u32);
            if !(x.is_finite() && x.abs() < 65519.0) {
                continue;
            }
            let h = to_half(x);
            let error = |b: u16| (f64::from(from_half(b)) - f64::from(x)).abs();
            for other in [h.wrapping_add(1), h.wrapping_sub(1)] {
                if from_half(other).is_finite() {
                    assert!(error(h) <= error(other), "{x}: {h:#x}");
                }
            }
        }
    }

    #[test]
    fn bf16_rounds_to_even() {
        let value = |x: f32| f32::from_bits(u32::from(to_bf16(x)) << 16);
        assert_eq!(value(1.0), 1.0);
        assert_eq!(value(1.0 + 1.0 / 256.0), 1.0);
        assert_eq!(value(1.0 + 3.0 / 256.0), 1.0 + 4.0 / 256.0);
        assert_eq!(value(-3.140_625), -3.140_625);
        assert!(value(f32::NAN).is_nan() && to_bf16(f32::from_bits(0xffff_ffff)) != 0xffff);
        assert_eq!(value(f32::MAX), f32::INFINITY);
    }

    #[test]
    fn rows_are_packed_and_what_is_too_large_is_told() {
        for (store, largest, error) in
            [(Store::F32, 3e38, 0.0), (Store::F16, 65504.0, 5e-4), (Store::Bf16, 3.3e38, 4e-3)]
        {
            let mut bytes = vec![0u8; 4 * 6];
            let rows = PackedRows { data: Shared::new(&mut bytes), first: 10, width: 3, store };
            let beyond = Beyond::default();
            let x = [1.0f32, -0.3, 1e-3, largest, 0.0, -7.1];
            let mut back = [0.0f32; 3];
            // SAFETY: nobody else has the buffer.
            unsafe {
                rows.pack(10..12, &x, &beyond);
                rows.unpack(11..12, &mut back);
            }
            assert_eq!(beyond.take(), None);
            for (a, b) in x[3..].iter().zip(&back) {
                assert!((a - b).abs() <= error * a.abs(), "{store}: {a} {b}");
            }
            // SAFETY: as above.
            unsafe { rows.pack(10..11, &[0.0f32, f32::MAX, 1e30], &beyond) };
            let expected = (store != Store::F32).then_some(f64::from(f32::MAX));
            assert_eq!(beyond.take(), expected);
            assert_eq!(beyond.take(), None);
        }
    }

    #[test]
    fn a_form_that_saves_nothing_is_exact() {
        assert_eq!(Store::F32.of(4), Store::Exact);
        assert_eq!(Store::F32.of(8), Store::F32);
        assert_eq!(Store::F16.of(4), Store::F16);
        for s in [Store::Exact, Store::F32, Store::F16, Store::Bf16] {
            assert_eq!(s.to_string().parse::<Store>().unwrap(), s);
        }
        assert!("f8".parse::<Store>().is_err());
    }
}
