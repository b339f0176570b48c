//! Loops over the columns of a row in groups of registers, so that several independent chains are under way at once.

use super::real::{Real, PAD};
use pulp::Simd;

/// Whether columns can be left for groups of `size` registers, of at most `widest`, where groups of twice the size came before: rows are padded.
/// What is never entered is not compiled: such groups, and those for machines without vector registers, were half of the crate's time to
/// compile.
pub const fn entered<T: Real, S: Simd>(size: usize, widest: usize) -> bool {
    left_for(size, widest, size_of::<T::V<S>>() / size_of::<T>(), S::IS_SCALAR)
}

/// [`entered`] for registers of so many lanes. The widest groups leave a multiple of `PAD` if they are whole multiples of it, or it of them.
const fn left_for(size: usize, widest: usize, lanes: usize, scalar: bool) -> bool {
    if scalar {
        return size == 1;
    }
    let odd = !widest.is_power_of_two() && widest * lanes % PAD != 0;
    size <= widest && (2 * size > widest || odd || PAD % (2 * size * lanes) != 0)
}

/// Runs `$body` for columns `$from .. $to` in groups of 4, then 2, then 1 registers, or of the sizes given, from `$widest` on: `$u` is the
/// group's size (a constant), `$col` its first column. The range is a multiple of `PAD`; `T` is the kernel's type of numbers, `S` its
/// instruction set. Machines without vector registers go one by one.
macro_rules! in_groups {
    ($from:expr, $to:expr, $u:ident, $col:ident, $body:block) => {
        in_groups!([4, 2, 1], 4, $from, $to, $u, $col, $body)
    };
    ([$($size:literal),*], $widest:expr, $from:expr, $to:expr, $u:ident, $col:ident, $body:block) => {{
        let (lanes, to) = (T::lanes::<S>(), $to);
        let mut $col = $from;
        $({
            const $u: usize = $size;
            if const { $crate::cpu::simd::entered::<T, S>($u, $widest) } {
                while $col + $u * lanes <= to {
                    $body
                    $col += $u * lanes;
                }
            }
        })*
        assert_eq!($col, to, "rows are padded");
    }};
}
pub(crate) use in_groups;

/// As `in_groups`, from as many registers on as the activation `F` takes at once.
macro_rules! in_wide_groups {
    ($($arguments:tt)*) => {
        in_groups!([8, 4, 2, 1], <F as Function<T, S>>::WIDEST, $($arguments)*)
    };
}
pub(crate) use in_wide_groups;

/// An array of `$count` registers, one expression each. A loop and not `array::from_fn`: a closure would be compiled without the
/// instruction set of the kernel around it and be called once an operation (measured: three times slower as a whole).
macro_rules! each {
    ($start:expr, $count:ident, $u:ident, $value:expr) => {{
        let mut out = [$start; $count];
        for $u in 0..$count {
            out[$u] = $value;
        }
        out
    }};
}
pub(crate) use each;

/// Reads U registers.
///
/// # Safety
/// `p` points to at least U registers' worth of readable numbers.
#[inline(always)]
pub unsafe fn load_group<T: Real, S: Simd, const U: usize>(s: S, p: *const T) -> [T::V<S>; U] {
    // SAFETY: the caller's promise.
    unsafe { each!(T::splat(s, T::default()), U, u, T::load(s, p.add(u * T::lanes::<S>()))) }
}

/// Writes U registers.
///
/// # Safety
/// `p` points to at least U registers' worth of writable numbers.
#[inline(always)]
pub unsafe fn store_group<T: Real, S: Simd, const U: usize>(s: S, p: *mut T, v: [T::V<S>; U]) {
    for u in 0..U {
        // SAFETY: the caller's promise.
        unsafe { T::store(s, p.add(u * T::lanes::<S>()), v[u]) };
    }
}

/// As [`store_group`], past the caches.
///
/// # Safety
/// As [`Real::stream`] for every register.
#[inline(always)]
pub unsafe fn stream_group<T: Real, S: Simd, const U: usize>(s: S, p: *mut T, v: [T::V<S>; U]) {
    for u in 0..U {
        // SAFETY: the caller's promise.
        unsafe { T::stream(s, p.add(u * T::lanes::<S>()), v[u]) };
    }
}

/// Adds U registers to memory.
///
/// # Safety
/// As [`store_group`].
#[inline(always)]
pub unsafe fn add_group<T: Real, S: Simd, const U: usize>(s: S, p: *mut T, v: [T::V<S>; U]) {
    // SAFETY: the caller's promise.
    unsafe {
        let old = load_group::<T, S, U>(s, p);
        store_group(s, p, each!(old[0], U, u, T::add(s, old[u], v[u])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_end_where_padded_rows_end_whatever_the_registers() {
        let lists: [(&[usize], usize); 4] =
            [(&[4, 2, 1], 4), (&[8, 4, 2, 1], 8), (&[8, 4, 2, 1], 4), (&[12, 8, 4, 2, 1], 12)];
        for (sizes, widest) in lists {
            for (lanes, scalar) in [(1, true), (2, false), (4, false), (8, false), (16, false)] {
                for to in (0..1024).step_by(PAD) {
                    let entered = sizes.iter().filter(|&&size| left_for(size, widest, lanes, scalar));
                    let end = entered.fold(0, |at, size| at + (to - at) / (size * lanes) * size * lanes);
                    assert_eq!(end, to, "{sizes:?} of {lanes} lanes");
                }
            }
        }
    }
}
