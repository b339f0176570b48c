//! Everything a step keeps outside the threads' scratch, laid out for the plan's capacities before the step.

use super::kernels_edge::EdgeInput;
use super::shapes::Shapes;
use weir_engine::backend::ComputeError;
use weir_engine::plan::Program;

/// Counts that the buffers must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Atoms.
    pub atoms: usize,
    /// Edges.
    pub edges: usize,
    /// Angles.
    pub angles: usize,
    /// Edges of the largest tile.
    pub tile_edges: usize,
    /// Edges of the largest centre.
    pub centre_edges: usize,
    /// Angle edges of the largest centre.
    pub centre_angle_edges: usize,
}

impl Capacity {
    /// True when every count fits.
    pub fn holds(&self, need: &Capacity) -> bool {
        self.atoms >= need.atoms
            && self.edges >= need.edges
            && self.angles >= need.angles
            && self.tile_edges >= need.tile_edges
            && self.centre_edges >= need.centre_edges
            && self.centre_angle_edges >= need.centre_angle_edges
    }

    /// With room for the counts to fluctuate: molecular dynamics moves them by one to three per cent.
    pub fn with_slack(&self) -> Self {
        let more = |n: usize| n + n / 32;
        Self {
            atoms: self.atoms,
            edges: more(self.edges),
            angles: more(self.angles),
            tile_edges: more(self.tile_edges),
            centre_edges: self.centre_edges + 8,
            centre_angle_edges: self.centre_angle_edges + 4,
        }
    }
}

/// The buffers.
#[derive(Debug, Default)]
pub struct Buffers<T> {
    /// Rounded geometry, E.
    pub geometry: Vec<EdgeInput<T>>,
    /// `(w, h)` in double precision, E.
    pub exact: Vec<[f64; 4]>,
    /// Node features entering each layer and leaving the last, (L + 1) of N x Np.
    pub nodes: Vec<Vec<T>>,
    /// Edge and angle states of the plan's slots.
    pub slots: Vec<(Vec<T>, Vec<T>)>,
    /// N x centre projection
    pub centre: Vec<T>,
    /// N x edge messages
    pub neighbour: Vec<T>,
    /// N x Np
    pub node_bar: Vec<T>,
    /// N x Np
    pub self_bar: Vec<T>,
    /// N x centre projection
    pub centre_bar: Vec<T>,
    /// N x 3 Np
    pub moment_bar: Vec<T>,
    /// N x edge messages
    pub message_sum: Vec<T>,
    /// N x Np
    pub node_sum: Vec<T>,
    /// edges of a tile x edge messages
    pub message_bar: Vec<T>,
    /// E x Ep
    pub e_bar: Vec<T>,
    /// A x Ap
    pub a_bar: Vec<T>,
    /// dE/d(w, h0, h1, h2, v), E
    pub geometry_bar: Vec<[f64; 5]>,
    /// dE/dd_e, E
    pub gradient: Vec<[f64; 3]>,
    /// Atomic energies, N, sorted order.
    pub energies: Vec<f64>,
    /// dE_i/dn_i, N x Dn
    pub seed: Vec<f64>,
}

/// Grows a buffer to `n` entries, with an error instead of an abort when memory is short.
fn fit<U: Clone + Default>(v: &mut Vec<U>, n: usize, bytes: &mut u64) -> Result<(), ComputeError> {
    if v.len() < n {
        let more = n - v.len();
        v.try_reserve_exact(more).map_err(|_| {
            let gib = (n * std::mem::size_of::<U>()) as f64 / (1u64 << 30) as f64;
            ComputeError::Memory(format!(
                "no memory for a buffer of {gib:.2} GiB; set WEIR_CHECKPOINT=every:4 (or --checkpoint every:4) to keep fewer layers"
            ))
        })?;
        v.resize(n, U::default());
    }
    *bytes += (v.len() * std::mem::size_of::<U>()) as u64;
    Ok(())
}

impl<T: Copy + Default> Buffers<T> {
    /// Grows every buffer to the capacity; returns the bytes held.
    ///
    /// # Errors
    /// [`ComputeError::Memory`] when the system has no memory.
    pub fn reserve(&mut self, s: &Shapes, c: &Capacity, program: &Program) -> Result<u64, ComputeError> {
        let mut bytes = 0;
        let b = &mut bytes;
        let wd = (0..s.layers).map(|l| s.edge_messages(l)).max().unwrap_or(0);
        let wc = (0..s.layers).map(|l| s.centre_projection(l)).max().unwrap_or(0);
        let angles = if s.has_angles(0) { c.angles } else { 0 };
        fit(&mut self.geometry, c.edges, b)?;
        fit(&mut self.exact, c.edges, b)?;
        self.nodes.resize_with(s.layers + 1, Vec::new);
        for n in &mut self.nodes {
            fit(n, c.atoms * s.np, b)?;
        }
        self.slots.resize_with(program.slots.len(), Default::default);
        for ((e, a), slot) in self.slots.iter_mut().zip(&program.slots) {
            fit(e, c.edges * s.ep, b)?;
            fit(a, if slot.angles { angles * s.ap } else { 0 }, b)?;
        }
        for (v, width) in [
            (&mut self.centre, wc),
            (&mut self.centre_bar, wc),
            (&mut self.neighbour, wd),
            (&mut self.message_sum, wd),
            (&mut self.node_bar, s.np),
            (&mut self.self_bar, s.np),
            (&mut self.node_sum, s.np),
            (&mut self.moment_bar, 3 * s.np),
        ] {
            fit(v, c.atoms * width, b)?;
        }
        fit(&mut self.message_bar, c.tile_edges * wd, b)?;
        fit(&mut self.e_bar, c.edges * s.ep, b)?;
        fit(&mut self.a_bar, angles * s.ap, b)?;
        fit(&mut self.geometry_bar, c.edges, b)?;
        fit(&mut self.gradient, c.edges, b)?;
        fit(&mut self.energies, c.atoms, b)?;
        fit(&mut self.seed, c.atoms * s.n, b)?;
        Ok(bytes)
    }
}
