//! Vector kernels over the edges of one centre: messages and their adjoints.

use super::kernels_angle::pre_activation;
use super::simd::{
    add_group, each, in_groups, in_wide_groups, load_group, store_group, stream_group, Activator, Function, Pairs,
    Real, WithFunction,
};
use pulp::{Simd, WithSimd};

/// What the network sees of an edge's geometry, rounded once from f64.
#[derive(Clone, Copy, Debug, Default)]
pub struct EdgeInput<T> {
    /// `w_e`
    pub w: T,
    /// `v_e Na^(-1/4)`: the product of two carries the angle normalisation.
    pub v: T,
    /// `x_e`
    pub x: T,
    /// `w_e h_e Ne^(-1/2)`
    pub wh: [T; 3],
}

/// Messages of the edges of one centre (7.3, 7.4). Reads `u = e W_edge`, adds both node projections, activates; sums the node-edge
/// message with weight w, adds the edge-self message to the edge.
pub struct EdgeForward<'a, T> {
    pub activator: &'a Activator<T>,
    /// ne x wd
    pub u: &'a [T],
    pub wd: usize,
    /// Leading columns that are node-edge messages.
    pub mp: usize,
    /// Projection of the centre, wd.
    pub centre: &'a [T],
    /// Projections of all nodes: rows of wd, `stride` apart.
    pub neighbour: &'a [T],
    pub stride: usize,
    pub owners: &'a [u32],
    pub geometry: &'a [EdgeInput<T>],
    /// Out: `sum_e w_e message`, mp.
    pub sum: &'a mut [T],
    /// `e_out = keep e_in + r message`, ne x (wd - mp).
    pub e_in: &'a [T],
    pub e_out: &'a mut [T],
    pub r: &'a [T],
    pub keep: T,
    /// Out, where wanted: node-edge messages, ne x mp, and slopes of all messages, ne x wd.
    pub message: &'a mut [T],
    pub slope: &'a mut [T],
}

impl<T: Real> WithSimd for EdgeForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        self.activator.with(s, self);
    }
}

impl<T: Real, S: Simd> WithFunction<T, S> for EdgeForward<'_, T> {
    #[inline(always)]
    fn run<F: Function<T, S>>(self, s: S, function: F) {
        let (wd, mp) = (self.wd, self.mp);
        let ep = wd - mp;
        let edges = self.owners.len();
        assert!(self.u.len() >= edges * wd && self.geometry.len() == edges && self.sum.len() >= mp);
        assert!(self.centre.len() >= wd && self.r.len() >= ep);
        assert!(self.e_in.len() >= edges * ep && self.e_out.len() >= edges * ep);
        let wanted = !self.slope.is_empty();
        assert!(!wanted || (self.message.len() >= edges * mp && self.slope.len() >= edges * wd));
        self.sum[..mp].fill(T::default());
        let keep = T::splat(s, self.keep);
        for k in 0..edges {
            let j = self.owners[k] as usize;
            assert!(j * self.stride + wd <= self.neighbour.len());
            let w = T::splat(s, self.geometry[k].w);
            // SAFETY: columns stay below wd (a multiple of the lanes); rows were checked above.
            unsafe {
                let u = self.u.as_ptr().add(k * wd);
                let n = self.neighbour.as_ptr().add(j * self.stride);
                in_wide_groups!(0, mp, U, c, {
                    let (message, slope) = function.both::<U>(s, pre_activation(s, u, self.centre.as_ptr(), n, c));
                    if wanted {
                        stream_group(s, self.message.as_mut_ptr().add(k * mp + c), message);
                        stream_group(s, self.slope.as_mut_ptr().add(k * wd + c), slope);
                    }
                    let at = self.sum.as_mut_ptr().add(c);
                    let sum = load_group::<T, S, U>(s, at);
                    store_group(s, at, each!(T::splat(s, T::default()), U, v, T::fma(s, w, message[v], sum[v])));
                });
                in_wide_groups!(mp, wd, U, c, {
                    let (message, slope) = function.both::<U>(s, pre_activation(s, u, self.centre.as_ptr(), n, c));
                    if wanted {
                        stream_group(s, self.slope.as_mut_ptr().add(k * wd + c), slope);
                    }
                    let at = k * ep + c - mp;
                    let old = load_group::<T, S, U>(s, self.e_in.as_ptr().add(at));
                    let old = each!(old[0], U, v, T::mul(s, keep, old[v]));
                    let r = load_group::<T, S, U>(s, self.r.as_ptr().add(c - mp));
                    let new = each!(T::splat(s, T::default()), U, v, T::fma(s, r[v], message[v], old[v]));
                    store_group(s, self.e_out.as_mut_ptr().add(at), new);
                });
            }
        }
    }
}

/// Adjoint of [`EdgeForward`]: overwrites u by the adjoints of the pre-activations and sums them for the centre.
pub struct EdgeBackward<'a, T> {
    pub activator: &'a Activator<T>,
    /// In: `e W_edge`; out: adjoint of the pre-activation; ne x wd.
    pub u: &'a mut [T],
    pub wd: usize,
    pub mp: usize,
    pub centre: &'a [T],
    pub neighbour: &'a [T],
    pub owners: &'a [u32],
    pub geometry: &'a [EdgeInput<T>],
    /// Adjoint of the summed node-edge message, mp.
    pub sum_bar: &'a [T],
    /// Adjoint of the edge's output, ne x (wd - mp).
    pub e_bar: &'a [T],
    pub r: &'a [T],
    /// Out: sum over edges, wd.
    pub centre_bar: &'a mut [T],
    /// Adds `dE/dw_e` from this message (index 0 of each).
    pub geometry_bar: &'a mut [[f64; 5]],
}

impl<T: Real> WithSimd for EdgeBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        self.activator.with(s, self);
    }
}

impl<T: Real, S: Simd> WithFunction<T, S> for EdgeBackward<'_, T> {
    #[inline(always)]
    fn run<F: Function<T, S>>(self, s: S, function: F) {
        let (wd, mp) = (self.wd, self.mp);
        let ep = wd - mp;
        let edges = self.owners.len();
        assert!(self.u.len() >= edges * wd && self.geometry.len() == edges && self.geometry_bar.len() == edges);
        assert!(self.centre.len() >= wd && self.centre_bar.len() >= wd && self.sum_bar.len() >= mp);
        assert!(self.e_bar.len() >= edges * ep && self.r.len() >= ep);
        self.centre_bar[..wd].fill(T::default());
        for k in 0..edges {
            let j = self.owners[k] as usize;
            assert!((j + 1) * wd <= self.neighbour.len());
            let w = T::splat(s, self.geometry[k].w);
            let mut w_bar = T::splat(s, T::default());
            // SAFETY: columns stay below wd (a multiple of the lanes); rows were checked above.
            unsafe {
                let u = self.u.as_mut_ptr().add(k * wd);
                let n = self.neighbour.as_ptr().add(j * wd);
                in_wide_groups!(0, mp, U, c, {
                    let both = function.both::<U>(s, pre_activation(s, u, self.centre.as_ptr(), n, c));
                    let (bar, sums) = (self.sum_bar.as_ptr().add(c), self.centre_bar.as_mut_ptr().add(c));
                    w_bar = node_message_bar::<T, S, U>(s, both, w, w_bar, bar, u.add(c), sums);
                });
                in_wide_groups!(mp, wd, U, c, {
                    let (_, slope) = function.both::<U>(s, pre_activation(s, u, self.centre.as_ptr(), n, c));
                    let (bar, r) = (self.e_bar.as_ptr().add(k * ep + c - mp), self.r.as_ptr().add(c - mp));
                    self_message_bar::<T, S, U>(s, slope, bar, r, u.add(c), self.centre_bar.as_mut_ptr().add(c));
                });
            }
            self.geometry_bar[k][0] += T::sum_lanes(s, w_bar).to_f64();
        }
    }
}

/// Adjoint of U registers of a node-edge message's pre-activation, to `out` and added to `sums`, from (message, slope), the edge's weight
/// and the adjoint `bar` of the sum; returns `w_bar` with message times adjoint added.
///
/// # Safety
/// Behind each pointer are U registers.
#[inline(always)]
unsafe fn node_message_bar<T: Real, S: Simd, const U: usize>(
    s: S,
    (message, slope): Pairs<T, S, U>,
    w: T::V<S>,
    mut w_bar: T::V<S>,
    bar: *const T,
    out: *mut T,
    sums: *mut T,
) -> T::V<S> {
    // SAFETY: the caller's promise.
    unsafe {
        let g = load_group::<T, S, U>(s, bar);
        // One chain over the columns, in order.
        for v in 0..U {
            w_bar = T::fma(s, message[v], g[v], w_bar);
        }
        let d = each!(w, U, v, T::mul(s, T::mul(s, w, g[v]), slope[v]));
        store_group(s, out, d);
        add_group(s, sums, d);
    }
    w_bar
}

/// The same of a message to the edge itself, from its slope, the adjoint `bar` of the edge's output and the residual `r`.
///
/// # Safety
/// Behind each pointer are U registers.
#[inline(always)]
unsafe fn self_message_bar<T: Real, S: Simd, const U: usize>(
    s: S,
    slope: [T::V<S>; U],
    bar: *const T,
    r: *const T,
    out: *mut T,
    sums: *mut T,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (bar, r) = (load_group::<T, S, U>(s, bar), load_group::<T, S, U>(s, r));
        let d = each!(slope[0], U, v, T::mul(s, T::mul(s, r[v], bar[v]), slope[v]));
        store_group(s, out, d);
        add_group(s, sums, d);
    }
}

/// As [`EdgeBackward`] from kept messages and slopes.
pub struct EdgeAdjoint<'a, T> {
    /// ne x mp
    pub message: &'a [T],
    /// ne x wd
    pub slope: &'a [T],
    /// Out: adjoint of the pre-activation; ne x wd.
    pub out: &'a mut [T],
    pub wd: usize,
    pub mp: usize,
    pub geometry: &'a [EdgeInput<T>],
    /// Adjoint of the summed node-edge message, mp.
    pub sum_bar: &'a [T],
    /// Adjoint of the edge's output, ne x (wd - mp).
    pub e_bar: &'a [T],
    pub r: &'a [T],
    /// Out: sum over edges, wd.
    pub centre_bar: &'a mut [T],
    /// Adds `dE/dw_e` from this message (index 0 of each).
    pub geometry_bar: &'a mut [[f64; 5]],
}

impl<T: Real> WithSimd for EdgeAdjoint<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (wd, mp) = (self.wd, self.mp);
        let ep = wd - mp;
        let edges = self.geometry.len();
        assert!(self.message.len() >= edges * mp && self.slope.len() >= edges * wd && self.out.len() >= edges * wd);
        assert!(self.centre_bar.len() >= wd && self.sum_bar.len() >= mp && self.geometry_bar.len() == edges);
        assert!(self.e_bar.len() >= edges * ep && self.r.len() >= ep);
        self.centre_bar[..wd].fill(T::default());
        for k in 0..edges {
            let w = T::splat(s, self.geometry[k].w);
            let mut w_bar = T::splat(s, T::default());
            // SAFETY: columns stay below wd (a multiple of the lanes); rows were checked above.
            unsafe {
                let (slopes, out) = (self.slope.as_ptr().add(k * wd), self.out.as_mut_ptr().add(k * wd));
                in_groups!(0, mp, U, c, {
                    let message = load_group::<T, S, U>(s, self.message.as_ptr().add(k * mp + c));
                    let both = (message, load_group::<T, S, U>(s, slopes.add(c)));
                    let (bar, sums) = (self.sum_bar.as_ptr().add(c), self.centre_bar.as_mut_ptr().add(c));
                    w_bar = node_message_bar::<T, S, U>(s, both, w, w_bar, bar, out.add(c), sums);
                });
                in_groups!(mp, wd, U, c, {
                    let slope = load_group::<T, S, U>(s, slopes.add(c));
                    let (bar, r) = (self.e_bar.as_ptr().add(k * ep + c - mp), self.r.as_ptr().add(c - mp));
                    self_message_bar::<T, S, U>(s, slope, bar, r, out.add(c), self.centre_bar.as_mut_ptr().add(c));
                });
            }
            self.geometry_bar[k][0] += T::sum_lanes(s, w_bar).to_f64();
        }
    }
}
