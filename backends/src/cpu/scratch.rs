//! Memory of one worker thread: everything a block of centres needs, sized once from the plan's capacities.

use crate::network::Shapes;

/// Centres that one work item covers at most; the node matrices of a block are multiplied together.
pub const BLOCK: usize = 36;

/// Centres of a work item: eight items a thread, but not so few centres that weights of nodes (384 kB each in the published models, more
/// than a core keeps) are read anew for a few rows (1YRF, 128 x 768: 43 GFLOP/s with 12 rows, EPYC Zen 3, 2026-11-28).
pub fn block(centres: usize, threads: usize) -> usize {
    (centres / (8 * threads)).clamp(BLOCK / 3, BLOCK)
}

/// Scratch of one thread. Sizes follow the largest centre of the system.
#[derive(Debug, Default)]
pub struct Scratch<T> {
    /// edges x edge messages
    pub u: Vec<T>,
    /// edges x Ep: layer-0 edge features, made on the fly
    pub e0: Vec<T>,
    /// edges x Ep: S, then its adjoint
    pub s: Vec<T>,
    /// edges x Ep: second edge message, then its adjoint
    pub e2: Vec<T>,
    /// edges x Ep: slopes
    pub e2_slope: Vec<T>,
    /// angle edges x Wa: projections of receiving and other edge, and adjoints
    pub own: Vec<T>,
    /// see `own`
    pub other: Vec<T>,
    /// see `own`
    pub own_bar: Vec<T>,
    /// see `own`
    pub other_bar: Vec<T>,
    /// angle edges x Wa: pre-activations of one row
    pub c: Vec<T>,
    /// angle edges x Ap: layer-0 angles of one row
    pub a0: Vec<T>,
    /// all angles of a centre x Ep: messages
    pub message: Vec<T>,
    /// all angles of a centre x Wa: slopes
    pub slope: Vec<T>,
    /// Wa
    pub base: Vec<T>,
    /// angle edges
    pub weight: Vec<T>,
    /// angle edges
    pub products: Vec<f64>,
    /// angle edges: switch values
    pub v: Vec<f64>,
    /// angle edges: adjoints of the switch values, but for the scale
    pub v_bar: Vec<f64>,
    /// angle edges: unit vectors
    pub unit: Vec<[f64; 3]>,
    /// angle edges: their adjoints
    pub unit_bar: Vec<[f64; 3]>,
    /// BLOCK x moments
    pub h: Vec<T>,
    /// BLOCK x moments
    pub h_bar: Vec<T>,
    /// BLOCK x gram
    pub q: Vec<T>,
    /// BLOCK x Mp
    pub m3: Vec<T>,
    /// BLOCK x Np, several
    pub n1: Vec<T>,
    /// see `n1`
    pub n2: Vec<T>,
    /// see `n1`
    pub n3: Vec<T>,
}

impl<T: Copy + Default> Scratch<T> {
    /// Bytes that [`Scratch::reserve`] holds for such centres: its size twin.
    pub fn bytes(s: &Shapes, edges: usize, angle_edges: usize) -> usize {
        Self::default().fit(s, edges, angle_edges, true)
    }

    /// Grows every buffer to the given largest centre (edges, angle edges). Returns the bytes held.
    pub fn reserve(&mut self, s: &Shapes, edges: usize, angle_edges: usize) -> usize {
        self.fit(s, edges, angle_edges, false)
    }

    fn fit(&mut self, s: &Shapes, edges: usize, angle_edges: usize, count_only: bool) -> usize {
        let (wd, wa) = (s.mp() + s.ep, s.ep + s.ap);
        let mut bytes = 0;
        let mut fit = |v: &mut Vec<T>, n: usize| {
            let n = n.max(v.len());
            if !count_only {
                v.resize(n, T::default());
            }
            bytes += n * std::mem::size_of::<T>();
        };
        fit(&mut self.u, edges * wd);
        for v in [&mut self.e0, &mut self.s, &mut self.e2, &mut self.e2_slope] {
            fit(v, edges * s.ep);
        }
        if s.angles {
            for v in [&mut self.own, &mut self.other, &mut self.own_bar, &mut self.other_bar, &mut self.c] {
                fit(v, angle_edges * wa);
            }
            fit(&mut self.a0, angle_edges * s.ap);
            fit(&mut self.message, angle_edges * angle_edges * s.ep);
            fit(&mut self.slope, angle_edges * angle_edges * wa);
            fit(&mut self.base, wa);
            fit(&mut self.weight, angle_edges);
        }
        fit(&mut self.h, BLOCK * s.moments());
        fit(&mut self.h_bar, BLOCK * s.moments());
        fit(&mut self.q, BLOCK * s.gram());
        fit(&mut self.m3, BLOCK * s.mp());
        for v in [&mut self.n1, &mut self.n2, &mut self.n3] {
            fit(v, BLOCK * s.np);
        }
        if !count_only {
            self.products.resize(angle_edges.max(self.products.len()), 0.0);
            self.v.resize(angle_edges.max(self.v.len()), 0.0);
            self.v_bar.resize(angle_edges.max(self.v_bar.len()), 0.0);
            self.unit.resize(angle_edges.max(self.unit.len()), [0.0; 3]);
            self.unit_bar.resize(angle_edges.max(self.unit_bar.len()), [0.0; 3]);
        }
        bytes + angle_edges * (3 * 8 + 2 * 24)
    }
}
