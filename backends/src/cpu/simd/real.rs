//! `Real`: f32 or f64 with the vector operations that the kernels need, whatever the instruction set.

use super::groups::each;
use bytemuck::Pod;
use pulp::Simd;
use weir_engine::exchange::Numbers;

/// A multiple of every lane count (16 lanes of f32 with AVX-512).
pub use crate::network::PAD;

/// A floating-point type that kernels compute in.
///
/// Vector operations are elementwise and fused multiply-add is exact, so an element does not depend on the lane count (sums over lanes do).
pub trait Real: Pod + Send + Sync + PartialOrd + std::fmt::Debug + Default + 'static {
    /// A SIMD register.
    type V<S: Simd>: Copy;
    /// Rounds from double precision.
    fn from_f64(x: f64) -> Self;
    /// Widens to double precision.
    fn to_f64(self) -> f64;
    /// Numbers of a type that is told at run time.
    fn numbers(values: &mut [Self]) -> Numbers<'_>;
    /// `a + b` of two numbers.
    fn plus(self, b: Self) -> Self;
    /// `a b` of two numbers.
    fn times(self, b: Self) -> Self;
    /// Lanes of a register.
    fn lanes<S: Simd>() -> usize;
    /// All lanes equal.
    fn splat<S: Simd>(s: S, x: Self) -> Self::V<S>;
    /// Reads a register.
    ///
    /// # Safety
    /// `p` points to at least a register's worth of readable numbers.
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> Self::V<S>;
    /// Writes a register.
    ///
    /// # Safety
    /// `p` points to at least a register's worth of writable numbers.
    unsafe fn store<S: Simd>(s: S, p: *mut Self, v: Self::V<S>);
    /// Writes a register past the caches (AVX and AVX-512; others as usual): for what is read again only when they have long forgotten it.
    ///
    /// # Safety
    /// As [`Real::store`]; `p` is a multiple of the register's bytes, and [`fence`] comes before another thread reads.
    unsafe fn stream<S: Simd>(s: S, p: *mut Self, v: Self::V<S>);
    /// `a + b`
    fn add<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a - b`
    fn sub<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a b`
    fn mul<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a / b`
    fn div<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a b + c`, one rounding
    fn fma<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;
    /// `x < y ? a : b`
    fn choose_less<S: Simd>(s: S, x: Self::V<S>, y: Self::V<S>, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// The larger of two numbers, lane by lane.
    fn max<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// True when `x < y` in every lane.
    fn all_less<S: Simd>(s: S, x: Self::V<S>, y: Self::V<S>) -> bool;
    /// Sum of the lanes, in the fixed order of the instruction set.
    fn sum_lanes<S: Simd>(s: S, a: Self::V<S>) -> Self;
    /// The smaller of two numbers, lane by lane.
    fn min<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// The largest x whose `exp(-x)` is a normal number, rounded down.
    const LARGEST: f64;
    /// `1 + exp(-x)` of U registers, none of them above [`Real::LARGEST`]; those below its negative count as that.
    fn one_plus_exp_minus<S: Simd, const U: usize>(s: S, x: [Self::V<S>; U]) -> [Self::V<S>; U];
    /// `1 / (1 + exp(-x))` of U registers.
    #[inline(always)]
    fn sigmoid<S: Simd, const U: usize>(s: S, x: [Self::V<S>; U]) -> [Self::V<S>; U] {
        let (one, largest) = (Self::splat(s, Self::from_f64(1.0)), Self::splat(s, Self::from_f64(Self::LARGEST)));
        let x = each!(one, U, u, Self::min(s, x[u], largest));
        let below = Self::one_plus_exp_minus(s, x);
        each!(one, U, u, Self::div(s, one, below[u]))
    }
}

/// True when every lane is +0. Written as one OR over the register's words, which compiles to a single test instruction.
#[inline(always)]
fn no_bit_set<V: Pod>(register: &V) -> bool {
    bytemuck::cast_slice::<V, u32>(std::slice::from_ref(register)).iter().fold(0, |a, b| a | b) == 0
}

/// Writes a register of 32 or 64 bytes past the caches; others as usual.
///
/// # Safety
/// `p` is writable and a multiple of the register's bytes.
#[inline(always)]
unsafe fn write_past_caches<V: Pod>(p: *mut V, v: V) {
    debug_assert_eq!(p as usize % std::mem::size_of::<V>(), 0, "kept rows begin where a register may");
    #[cfg(target_arch = "x86_64")]
    if std::mem::size_of::<V>() == 32 {
        use std::arch::x86_64::{__m256i, _mm256_stream_si256};
        // SAFETY: the registers of 32 bytes that `Arch::dispatch` hands out on this machine are those of AVX; aligned by the caller's promise.
        unsafe { _mm256_stream_si256(p.cast::<__m256i>(), std::mem::transmute_copy(&v)) };
        return;
    }
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    if std::mem::size_of::<V>() == 64 {
        use std::arch::x86_64::{__m512i, _mm512_stream_si512};
        // SAFETY: as above; registers of 64 bytes are those of AVX-512.
        unsafe { _mm512_stream_si512(p.cast::<__m512i>(), std::mem::transmute_copy(&v)) };
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { p.write_unaligned(v) }
}

/// Asks for the cache line of a place that will be written soon, whatever lies there; nothing on other processors than x86.
#[inline(always)]
pub fn fetch_ahead<T>(p: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        // SAFETY: a prefetch has no effect on anything but caches, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// Makes what was written past the caches visible to threads that are told of it after.
pub fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

macro_rules! lanes_of {
    ($ty:ty, $v:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident,
     $less:ident, $select:ident, $max:ident, $min:ident, $sum:ident) => {
        type V<S: Simd> = S::$v;

        #[inline(always)]
        fn plus(self, b: Self) -> Self {
            self + b
        }
        #[inline(always)]
        fn times(self, b: Self) -> Self {
            self * b
        }
        #[inline(always)]
        fn lanes<S: Simd>() -> usize {
            std::mem::size_of::<S::$v>() / std::mem::size_of::<$ty>()
        }
        #[inline(always)]
        fn splat<S: Simd>(s: S, x: Self) -> S::$v {
            s.$splat(x)
        }
        #[inline(always)]
        unsafe fn load<S: Simd>(_: S, p: *const Self) -> S::$v {
            // SAFETY: the caller vouches for the range; the read is unaligned.
            unsafe { p.cast::<S::$v>().read_unaligned() }
        }
        #[inline(always)]
        unsafe fn store<S: Simd>(_: S, p: *mut Self, v: S::$v) {
            // SAFETY: the caller vouches for the range; the write is unaligned.
            unsafe { p.cast::<S::$v>().write_unaligned(v) }
        }
        #[inline(always)]
        unsafe fn stream<S: Simd>(_: S, p: *mut Self, v: S::$v) {
            // SAFETY: the caller's promise.
            unsafe { write_past_caches(p.cast::<S::$v>(), v) }
        }
        #[inline(always)]
        fn add<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
            s.$add(a, b)
        }
        #[inline(always)]
        fn sub<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
            s.$sub(a, b)
        }
        #[inline(always)]
        fn mul<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
            s.$mul(a, b)
        }
        #[inline(always)]
        fn div<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
            s.$div(a, b)
        }
        #[inline(always)]
        fn fma<S: Simd>(s: S, a: S::$v, b: S::$v, c: S::$v) -> S::$v {
            s.$fma(a, b, c)
        }
        #[inline(always)]
        fn choose_less<S: Simd>(s: S, x: S::$v, y: S::$v, a: S::$v, b: S::$v) -> S::$v {
            s.$select(s.$less(x, y), a, b)
        }
        #[inline(always)]
        fn max<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
            s.$max(a, b)
        }
        #[inline(always)]
        fn min<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
            s.$min(a, b)
        }
        #[inline(always)]
        fn all_less<S: Simd>(s: S, x: S::$v, y: S::$v) -> bool {
            no_bit_set(&s.$select(s.$less(x, y), s.$splat(0.0), s.$splat(1.0)))
        }
        #[inline(always)]
        fn sum_lanes<S: Simd>(s: S, a: S::$v) -> Self {
            s.$sum(a)
        }
    };
}

impl Real for f32 {
    fn numbers(values: &mut [f32]) -> Numbers<'_> {
        Numbers::F32(values)
    }
    lanes_of!(
        f32,
        f32s,
        splat_f32s,
        add_f32s,
        sub_f32s,
        mul_f32s,
        div_f32s,
        mul_add_f32s,
        less_than_f32s,
        select_f32s,
        max_f32s,
        min_f32s,
        reduce_sum_f32s
    );

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    const LARGEST: f64 = 87.0;
    // -x = n ln 2 + r with |r| <= ln2/2, ln 2 in two parts; n is added to the exponent's bits. The polynomial of exp r has degree 6 and
    // the least largest relative error under 1 + r + ... (4e-9, by Remez exchange). It is written in -r, which saves the negation.
    // silu from it is off by 5.0e-8 (root mean square over -3 .. 3; the classical one of degree 7: the same), its slope by 3.5e-8.
    #[inline(always)]
    fn one_plus_exp_minus<S: Simd, const U: usize>(s: S, x: [S::f32s; U]) -> [S::f32s; U] {
        let k = |c: f32| s.splat_f32s(c);
        let x = each!(x[0], U, u, s.max_f32s(x[u], k(-Self::LARGEST as f32)));
        // Adding 1.5 * 2^23 leaves the rounded integer in the low mantissa bits.
        let magic = k(12_582_912.0);
        let t = each!(x[0], U, u, s.mul_add_f32s(x[u], k(-std::f32::consts::LOG2_E), magic));
        let n = each!(x[0], U, u, s.sub_f32s(t[u], magic));
        let minus_r = each!(x[0], U, u, s.mul_add_f32s(n[u], k(0.693_359_4), x[u]));
        let minus_r = each!(x[0], U, u, s.mul_add_f32s(n[u], k(-2.121_944_4e-4), minus_r[u]));
        let mut p = [k(1.381_459_9e-3); U];
        for c in [-8.368_717e-3, 4.166_839e-2, -1.666_652_1e-1, 0.499_999_93, -1.0, 1.0] {
            p = each!(x[0], U, u, s.mul_add_f32s(p[u], minus_r[u], k(c)));
        }
        let n = each!(s.splat_u32s(0), U, u, s.wrapping_dyn_shl_u32s(s.transmute_u32s_f32s(t[u]), s.splat_u32s(23)));
        let e = each!(x[0], U, u, s.transmute_f32s_u32s(s.add_u32s(s.transmute_u32s_f32s(p[u]), n[u])));
        each!(x[0], U, u, s.add_f32s(k(1.0), e[u]))
    }
}

impl Real for f64 {
    fn numbers(values: &mut [f64]) -> Numbers<'_> {
        Numbers::F64(values)
    }
    lanes_of!(
        f64,
        f64s,
        splat_f64s,
        add_f64s,
        sub_f64s,
        mul_f64s,
        div_f64s,
        mul_add_f64s,
        less_than_f64s,
        select_f64s,
        max_f64s,
        min_f64s,
        reduce_sum_f64s
    );

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    const LARGEST: f64 = 708.0;
    // As above with the Taylor polynomial of degree 13: the first term left out is below 5e-18 relative.
    #[inline(always)]
    fn one_plus_exp_minus<S: Simd, const U: usize>(s: S, x: [S::f64s; U]) -> [S::f64s; U] {
        let k = |c: f64| s.splat_f64s(c);
        let x = each!(x[0], U, u, s.max_f64s(x[u], k(-Self::LARGEST)));
        let magic = k(6_755_399_441_055_744.0); // 1.5 * 2^52
        let t = each!(x[0], U, u, s.mul_add_f64s(x[u], k(-std::f64::consts::LOG2_E), magic));
        let n = each!(x[0], U, u, s.sub_f64s(t[u], magic));
        // ln 2 in two parts; the first has 21 trailing zero bits, so n times it is exact.
        let minus_r = each!(x[0], U, u, s.mul_add_f64s(n[u], k(6.931_471_803_691_238e-1), x[u]));
        let minus_r = each!(x[0], U, u, s.mul_add_f64s(n[u], k(1.908_214_929_270_587_7e-10), minus_r[u]));
        let mut p = [k(1.0 / 6_227_020_800.0); U];
        let coefficients = [
            -1.0 / 479_001_600.0,
            1.0 / 39_916_800.0,
            -1.0 / 3_628_800.0,
            1.0 / 362_880.0,
            -1.0 / 40_320.0,
            1.0 / 5_040.0,
            -1.0 / 720.0,
            1.0 / 120.0,
            -1.0 / 24.0,
            1.0 / 6.0,
            -0.5,
        ];
        for c in coefficients {
            p = each!(x[0], U, u, s.mul_add_f64s(p[u], minus_r[u], k(c)));
        }
        // 1 comes last: the roundings before it are those of a number below 0.42.
        let square = each!(x[0], U, u, s.mul_f64s(minus_r[u], minus_r[u]));
        let p = each!(x[0], U, u, s.mul_add_f64s(p[u], square[u], minus_r[u]));
        let p = each!(x[0], U, u, s.sub_f64s(k(1.0), p[u]));
        each!(x[0], U, u, s.add_f64s(k(1.0), times_power_of_two::<S>(p[u], t[u])))
    }
}

/// `p 2^n` from `t = n + 1.5 * 2^52`; p and the result are normal numbers.
#[inline(always)]
fn times_power_of_two<S: Simd>(p: S::f64s, t: S::f64s) -> S::f64s {
    // pulp has no 64-bit shift; the compiler turns this loop over the lanes into one.
    let mut out = p;
    let n = bytemuck::cast_slice::<S::f64s, u64>(std::slice::from_ref(&t));
    for (lane, n) in bytemuck::cast_slice_mut::<S::f64s, u64>(std::slice::from_mut(&mut out)).iter_mut().zip(n) {
        *lane = lane.wrapping_add(n << 52);
    }
    out
}
