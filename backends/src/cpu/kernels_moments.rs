//! Vector kernels for the moments of one centre's edges, their adjoint, and what neighbours owe.

use super::kernels_edge::EdgeInput;
use super::simd::{each, in_groups, load_group, store_group, Real};
use pulp::{Simd, WithSimd};

/// `H[c][..] = sum_e wh_e[c] g_e` for edge features and neighbour nodes (7.2). Out layout: 3 x Ep, then 3 x Np.
pub struct Moments<'a, T> {
    pub geometry: &'a [EdgeInput<T>],
    pub owners: &'a [u32],
    /// ne x ep
    pub e: &'a [T],
    pub ep: usize,
    /// N x np
    pub n: &'a [T],
    pub np: usize,
    pub out: &'a mut [T],
}

impl<T: Real> WithSimd for Moments<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (ep, np) = (self.ep, self.np);
        let edges = self.owners.len();
        assert!(self.e.len() >= edges * ep && self.geometry.len() == edges && self.out.len() >= 3 * (ep + np));
        for &j in self.owners {
            assert!((j as usize + 1) * np <= self.n.len());
        }
        // A group of columns at a time, its sums in registers while the edges pass.
        let (geometry, owners, out) = (self.geometry, self.owners, self.out.as_mut_ptr());
        in_groups!(0, ep, U, c, {
            // SAFETY: checked above; widths are multiples of the lanes.
            unsafe { moments_of::<T, S, U>(s, geometry, self.e.as_ptr().add(c), ep, None, out.add(c), ep) }
        });
        in_groups!(0, np, U, c, {
            // SAFETY: as above.
            unsafe {
                moments_of::<T, S, U>(s, geometry, self.n.as_ptr().add(c), np, Some(owners), out.add(3 * ep + c), np)
            }
        });
    }
}

/// The three moments of U registers of columns: row k starts at `rows + k stride`, or at its owner's.
///
/// # Safety
/// All rows reach U registers far; `out` takes U registers in three rows of `width`.
#[inline(always)]
unsafe fn moments_of<T: Real, S: Simd, const U: usize>(
    s: S,
    geometry: &[EdgeInput<T>],
    rows: *const T,
    stride: usize,
    owners: Option<&[u32]>,
    out: *mut T,
    width: usize,
) {
    let mut sum = [[T::splat(s, T::default()); U]; 3];
    // SAFETY: the caller's promise.
    unsafe {
        for (k, g) in geometry.iter().enumerate() {
            let at = owners.map_or(k, |o| o[k] as usize);
            let row = load_group::<T, S, U>(s, rows.add(at * stride));
            for axis in 0..3 {
                let wh = T::splat(s, g.wh[axis]);
                for u in 0..U {
                    sum[axis][u] = T::fma(s, wh, row[u], sum[axis][u]);
                }
            }
        }
        for axis in 0..3 {
            store_group(s, out.add(axis * width), sum[axis]);
        }
    }
}

/// Adjoint of [`Moments`] for the edges: `e_bar = keep e_bar + sum_c wh[c] H_bar[c]`; geometry adjoints; the nodes' share is
/// gathered by their owners later.
pub struct MomentsBackward<'a, T> {
    pub geometry: &'a [EdgeInput<T>],
    pub owners: &'a [u32],
    pub e: &'a [T],
    pub ep: usize,
    pub n: &'a [T],
    pub np: usize,
    /// 3 x Ep, then 3 x Np
    pub bar: &'a [T],
    pub e_bar: &'a mut [T],
    pub keep: T,
    /// `w h`, unscaled f64 geometry: (w, h) and Ne^(-1/2).
    pub exact: &'a [[f64; 4]],
    pub scale: f64,
    pub geometry_bar: &'a mut [[f64; 5]],
}

impl<T: Real> WithSimd for MomentsBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (ep, np) = (self.ep, self.np);
        let edges = self.owners.len();
        assert!(self.e.len() >= edges * ep && self.e_bar.len() >= edges * ep && self.geometry.len() == edges);
        assert!(self.bar.len() >= 3 * (ep + np) && self.exact.len() == edges && self.geometry_bar.len() == edges);
        let keep = T::splat(s, self.keep);
        for k in 0..edges {
            let j = self.owners[k] as usize;
            assert!((j + 1) * np <= self.n.len());
            let wh = self.geometry[k].wh.map(|x| T::splat(s, x));
            // Even and odd registers of the columns have sums of their own: one chain would wait for itself.
            let mut t = [[T::splat(s, T::default()); 2]; 3];
            // SAFETY: checked just above; widths are multiples of the lanes.
            unsafe {
                in_groups!(0, ep, U, c, {
                    let g = load_group::<T, S, U>(s, self.e.as_ptr().add(k * ep + c));
                    let at = self.e_bar.as_mut_ptr().add(k * ep + c);
                    let old = load_group::<T, S, U>(s, at);
                    let mut sum = each!(old[0], U, u, T::mul(s, keep, old[u]));
                    for axis in 0..3 {
                        let bar = load_group::<T, S, U>(s, self.bar.as_ptr().add(axis * ep + c));
                        for u in 0..U {
                            t[axis][u % 2] = T::fma(s, bar[u], g[u], t[axis][u % 2]);
                            sum[u] = T::fma(s, wh[axis], bar[u], sum[u]);
                        }
                    }
                    store_group(s, at, sum);
                });
                in_groups!(0, np, U, c, {
                    let g = load_group::<T, S, U>(s, self.n.as_ptr().add(j * np + c));
                    for axis in 0..3 {
                        let bar = load_group::<T, S, U>(s, self.bar.as_ptr().add(3 * ep + axis * np + c));
                        for u in 0..U {
                            t[axis][u % 2] = T::fma(s, bar[u], g[u], t[axis][u % 2]);
                        }
                    }
                });
            }
            let mut sums = [0.0; 3];
            for axis in 0..3 {
                sums[axis] = T::sum_lanes(s, T::add(s, t[axis][0], t[axis][1])).to_f64() * self.scale;
            }
            let [w, h0, h1, h2] = self.exact[k];
            let out = &mut self.geometry_bar[k];
            out[0] += sums[0] * h0 + sums[1] * h1 + sums[2] * h2;
            for axis in 0..3 {
                out[1 + axis] += w * sums[axis];
            }
        }
    }
}

/// What neighbours owe to an owner: adds message adjoints and moment adjoints of its incoming edges, in the order given.
pub struct Gather<'a, T> {
    /// Edge numbers, ascending.
    pub incoming: &'a [u32],
    /// First edge of the tile: row 0 of `messages`.
    pub first: usize,
    /// Tile's message adjoints, edges x wd.
    pub messages: &'a [T],
    pub wd: usize,
    /// Centre of each edge of the tile.
    pub centres: &'a [u32],
    pub geometry: &'a [EdgeInput<T>],
    /// Moment adjoints of all centres, N x 3 Np.
    pub moments: &'a [T],
    pub np: usize,
    pub message_sum: &'a mut [T],
    pub node_sum: &'a mut [T],
}

impl<T: Real> WithSimd for Gather<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (wd, np) = (self.wd, self.np);
        assert!(self.message_sum.len() >= wd && self.node_sum.len() >= np);
        for &e in self.incoming {
            let row = e as usize - self.first;
            let i = self.centres[row] as usize;
            assert!((row + 1) * wd <= self.messages.len() && (i + 1) * 3 * np <= self.moments.len());
            assert!((e as usize) < self.geometry.len());
        }
        // A group of columns at a time, its sums in registers while the edges pass.
        in_groups!([12, 8, 4, 2, 1], 12, 0, wd, U, c, {
            // SAFETY: rows were checked just above; widths are multiples of the lanes.
            unsafe {
                let at = self.message_sum.as_mut_ptr().add(c);
                let mut sum = load_group::<T, S, U>(s, at);
                for &e in self.incoming {
                    let row = (e as usize - self.first) * wd;
                    let message = load_group::<T, S, U>(s, self.messages.as_ptr().add(row + c));
                    sum = each!(sum[0], U, u, T::add(s, sum[u], message[u]));
                }
                store_group(s, at, sum);
            }
        });
        in_groups!([8, 4, 2, 1], 8, 0, np, U, c, {
            // SAFETY: as above.
            unsafe {
                let at = self.node_sum.as_mut_ptr().add(c);
                let mut sum = load_group::<T, S, U>(s, at);
                for &e in self.incoming {
                    let i = *self.centres.get_unchecked(e as usize - self.first) as usize;
                    let wh = &self.geometry.get_unchecked(e as usize).wh;
                    for axis in 0..3 {
                        let bar = load_group::<T, S, U>(s, self.moments.as_ptr().add((i * 3 + axis) * np + c));
                        let wh = T::splat(s, wh[axis]);
                        sum = each!(sum[0], U, u, T::fma(s, wh, bar[u], sum[u]));
                    }
                }
                store_group(s, at, sum);
            }
        });
    }
}
