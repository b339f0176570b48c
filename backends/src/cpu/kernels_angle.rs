//! Vector kernels over one row of angles (receiving edge e, all other edges f) of a centre (7.5).

use super::simd::{
    add_group, each, fetch_ahead, in_groups, in_wide_groups, load_group, store_group, stream_group, Activator,
    Function, Real, WithFunction,
};
use pulp::{Simd, WithSimd};

/// Rows of new angles whose lines are asked for before they are written: a quarter of the kernel's time was waiting for them (Xeon with AVX-512,
/// 2026-11-30).
const AHEAD: usize = 8;

/// Messages of a row of angles: activates `pre = c + base + other[f]`, sums the edge message with weights, updates the angles.
pub struct AngleForward<'a, T> {
    pub activator: &'a Activator<T>,
    /// `a W_angle`, m x wa
    pub c: &'a [T],
    pub wa: usize,
    /// Leading columns that are messages to the edge.
    pub ep: usize,
    /// Projection of centre and receiving edge, wa.
    pub base: &'a [T],
    /// Projections of the other edges, m x wa.
    pub other: &'a [T],
    /// `v_e v_f` with the normalisation, m.
    pub weight: &'a [T],
    /// Out: S_e, ep.
    pub sum: &'a mut [T],
    /// `a_out = keep a_in + r message`, m rows of wa - ep; unused when wa == ep.
    pub a_in: &'a [T],
    pub a_out: &'a mut [T],
    pub r: &'a [T],
    pub keep: T,
    /// Out, where wanted: messages to the edge, m x ep, and slopes of all messages, m x wa.
    pub message: &'a mut [T],
    pub slope: &'a mut [T],
}

impl<T: Real> WithSimd for AngleForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        self.activator.with(s, self);
    }
}

impl<T: Real, S: Simd> WithFunction<T, S> for AngleForward<'_, T> {
    #[inline(always)]
    fn run<F: Function<T, S>>(self, s: S, function: F) {
        let (wa, ep) = (self.wa, self.ep);
        let ap = wa - ep;
        let m = self.weight.len();
        assert!(self.c.len() >= m * wa && self.other.len() >= m * wa && self.base.len() >= wa);
        assert!(self.sum.len() >= ep && self.r.len() >= ap && self.a_in.len() >= m * ap && self.a_out.len() >= m * ap);
        let wanted = !self.slope.is_empty();
        assert!(!wanted || (self.message.len() >= m * ep && self.slope.len() >= m * wa));
        self.sum[..ep].fill(T::default());
        let keep = T::splat(s, self.keep);
        for f in 0..m {
            let weight = T::splat(s, self.weight[f]);
            // SAFETY: columns stay below wa (a multiple of the lanes), rows below m.
            unsafe {
                let (c, other) = (self.c.as_ptr().add(f * wa), self.other.as_ptr().add(f * wa));
                in_wide_groups!(0, ep, U, col, {
                    let (message, slope) = function.both::<U>(s, pre_activation(s, c, self.base.as_ptr(), other, col));
                    if wanted {
                        stream_group(s, self.message.as_mut_ptr().add(f * ep + col), message);
                        stream_group(s, self.slope.as_mut_ptr().add(f * wa + col), slope);
                    }
                    let at = self.sum.as_mut_ptr().add(col);
                    let sum = load_group::<T, S, U>(s, at);
                    store_group(s, at, each!(T::splat(s, T::default()), U, u, T::fma(s, weight, message[u], sum[u])));
                });
                in_wide_groups!(ep, wa, U, col, {
                    let (message, slope) = function.both::<U>(s, pre_activation(s, c, self.base.as_ptr(), other, col));
                    if wanted {
                        stream_group(s, self.slope.as_mut_ptr().add(f * wa + col), slope);
                    }
                    let at = f * ap + col - ep;
                    for u in 0..U {
                        fetch_ahead(self.a_out.as_ptr().wrapping_add(at + AHEAD * ap + u * T::lanes::<S>()));
                    }
                    let old = load_group::<T, S, U>(s, self.a_in.as_ptr().add(at));
                    let old = each!(old[0], U, u, T::mul(s, keep, old[u]));
                    let r = load_group::<T, S, U>(s, self.r.as_ptr().add(col - ep));
                    let new = each!(T::splat(s, T::default()), U, u, T::fma(s, r[u], message[u], old[u]));
                    store_group(s, self.a_out.as_mut_ptr().add(at), new);
                });
            }
        }
    }
}

/// `c + base + other` of one row, U registers from column `col` on.
///
/// # Safety
/// The three rows reach that far.
#[inline(always)]
pub unsafe fn pre_activation<T: Real, S: Simd, const U: usize>(
    s: S,
    c: *const T,
    base: *const T,
    other: *const T,
    col: usize,
) -> [T::V<S>; U] {
    // SAFETY: the caller's promise.
    let (c, base, other) = unsafe {
        (
            load_group::<T, S, U>(s, c.add(col)),
            load_group::<T, S, U>(s, base.add(col)),
            load_group::<T, S, U>(s, other.add(col)),
        )
    };
    each!(c[0], U, u, T::add(s, T::add(s, c[u], base[u]), other[u]))
}

/// As [`AngleForward`] for the backward pass: keeps message and slope, sums S.
pub struct AngleRecompute<'a, T> {
    pub activator: &'a Activator<T>,
    pub c: &'a [T],
    pub wa: usize,
    pub ep: usize,
    pub base: &'a [T],
    pub other: &'a [T],
    pub weight: &'a [T],
    pub sum: &'a mut [T],
    /// Out: messages to the edge, m x ep.
    pub message: &'a mut [T],
    /// Out: slopes of all messages, m x wa.
    pub slope: &'a mut [T],
}

impl<T: Real> WithSimd for AngleRecompute<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        self.activator.with(s, self);
    }
}

impl<T: Real, S: Simd> WithFunction<T, S> for AngleRecompute<'_, T> {
    #[inline(always)]
    fn run<F: Function<T, S>>(self, s: S, function: F) {
        let (wa, ep) = (self.wa, self.ep);
        let m = self.weight.len();
        assert!(self.c.len() >= m * wa && self.other.len() >= m * wa && self.base.len() >= wa && self.sum.len() >= ep);
        assert!(self.message.len() >= m * ep && self.slope.len() >= m * wa);
        self.sum[..ep].fill(T::default());
        for f in 0..m {
            let weight = T::splat(s, self.weight[f]);
            // SAFETY: columns stay below wa (a multiple of the lanes), rows below m.
            unsafe {
                let (c, other) = (self.c.as_ptr().add(f * wa), self.other.as_ptr().add(f * wa));
                let slopes = self.slope.as_mut_ptr().add(f * wa);
                in_wide_groups!(0, ep, U, col, {
                    let (message, slope) = function.both::<U>(s, pre_activation(s, c, self.base.as_ptr(), other, col));
                    store_group(s, slopes.add(col), slope);
                    let at = self.sum.as_mut_ptr().add(col);
                    let sum = load_group::<T, S, U>(s, at);
                    store_group(s, at, each!(T::splat(s, T::default()), U, u, T::fma(s, weight, message[u], sum[u])));
                    store_group(s, self.message.as_mut_ptr().add(f * ep + col), message);
                });
                in_wide_groups!(ep, wa, U, col, {
                    let (_, slope) = function.both::<U>(s, pre_activation(s, c, self.base.as_ptr(), other, col));
                    store_group(s, slopes.add(col), slope);
                });
            }
        }
    }
}

/// Adjoint of a row of angles: adjoints of the pre-activations from slopes, summed for e and for each f, and products for the
/// adjoints of the switch values.
pub struct AngleBackward<'a, T> {
    /// Messages to the edge, m x ep.
    pub message: &'a [T],
    /// Slopes of all messages, m x wa.
    pub slope: &'a [T],
    /// Out: adjoints of the pre-activations, m x wa.
    pub out: &'a mut [T],
    pub wa: usize,
    pub ep: usize,
    /// Adjoint of S_e, ep.
    pub sum_bar: &'a [T],
    /// Adjoint of the angles' output, m x (wa - ep).
    pub a_bar: &'a [T],
    pub r: &'a [T],
    pub weight: &'a [T],
    /// Out: sum over f, wa.
    pub own_bar: &'a mut [T],
    /// Adds to each f, m x wa.
    pub other_bar: &'a mut [T],
    /// Out: `B_ef . S_bar_e` for every f.
    pub products: &'a mut [f64],
}

impl<T: Real> WithSimd for AngleBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (wa, ep) = (self.wa, self.ep);
        let ap = wa - ep;
        let m = self.weight.len();
        assert!(self.message.len() >= m * ep && self.slope.len() >= m * wa && self.out.len() >= m * wa);
        assert!(self.sum_bar.len() >= ep);
        assert!(self.a_bar.len() >= m * ap && self.r.len() >= ap && self.own_bar.len() >= wa);
        assert!(self.other_bar.len() >= m * wa && self.products.len() >= m);
        self.own_bar[..wa].fill(T::default());
        for f in 0..m {
            let weight = T::splat(s, self.weight[f]);
            // Even and odd registers have sums of their own: one chain would wait for itself.
            let mut product = [T::splat(s, T::default()); 2];
            // SAFETY: columns stay below wa (a multiple of the lanes), rows below m.
            unsafe {
                let (slope, out) = (self.slope.as_ptr().add(f * wa), self.out.as_mut_ptr().add(f * wa));
                let (own, other) = (self.own_bar.as_mut_ptr(), self.other_bar.as_mut_ptr().add(f * wa));
                in_groups!(0, ep, U, col, {
                    let g = load_group::<T, S, U>(s, self.sum_bar.as_ptr().add(col));
                    let message = load_group::<T, S, U>(s, self.message.as_ptr().add(f * ep + col));
                    for u in 0..U {
                        product[u % 2] = T::fma(s, message[u], g[u], product[u % 2]);
                    }
                    let old = load_group::<T, S, U>(s, slope.add(col));
                    let d = each!(weight, U, u, T::mul(s, T::mul(s, weight, g[u]), old[u]));
                    store_group(s, out.add(col), d);
                    add_group(s, own.add(col), d);
                    add_group(s, other.add(col), d);
                });
                in_groups!(ep, wa, U, col, {
                    let a_bar = load_group::<T, S, U>(s, self.a_bar.as_ptr().add(f * ap + col - ep));
                    let r = load_group::<T, S, U>(s, self.r.as_ptr().add(col - ep));
                    let old = load_group::<T, S, U>(s, slope.add(col));
                    let d = each!(weight, U, u, T::mul(s, T::mul(s, r[u], a_bar[u]), old[u]));
                    store_group(s, out.add(col), d);
                    add_group(s, own.add(col), d);
                    add_group(s, other.add(col), d);
                });
            }
            self.products[f] = T::sum_lanes(s, T::add(s, product[0], product[1])).to_f64();
        }
    }
}
