//! Everything a step keeps outside the threads' scratch, laid out for the plan's capacities before the step.

use super::kernels_edge::EdgeInput;
use crate::network::Shapes;
use weir_engine::backend::ComputeError;

/// Counts that the buffers must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Atoms.
    pub atoms: usize,
    /// Edges.
    pub edges: usize,
    /// Edges of the largest tile.
    pub tile_edges: usize,
    /// Edges of the largest centre.
    pub centre_edges: usize,
    /// Angle edges of the largest centre.
    pub centre_angle_edges: usize,
    /// Angle edges of the largest tile.
    pub tile_pairs: usize,
    /// Angles of the largest tile.
    pub tile_angles: usize,
    /// Angles.
    pub angles: usize,
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
    /// Projection banks: all nodes as centre (N x centre projection) and as neighbour (N x edge messages).
    pub banks: Vec<(Vec<T>, Vec<T>)>,
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
    /// dE/d(w, h0, h1, h2, v), E
    pub geometry_bar: Vec<[f64; 5]>,
    /// dE/dd_e, E
    pub gradient: Vec<[f64; 3]>,
    /// Atomic energies, N, sorted order.
    pub energies: Vec<f64>,
    /// dE_i/dn_i, N x Dn
    pub seed: Vec<f64>,
    /// Forces, N, sorted order.
    pub forces: Vec<[f64; 3]>,
    /// Virial of each atom, N, input order.
    pub virials: Vec<[f64; 9]>,
    /// Centre of each edge, E.
    pub edge_centre: Vec<u32>,
}

/// Grows buffers, or only counts what they would hold.
struct Fit {
    bytes: u64,
    count_only: bool,
}

impl Fit {
    fn to<U: Clone + Default>(&mut self, v: &mut Vec<U>, n: usize) -> Result<(), ComputeError> {
        let n = n.max(v.len());
        self.bytes += (n * std::mem::size_of::<U>()) as u64;
        if self.count_only || v.len() >= n {
            return Ok(());
        }
        v.try_reserve_exact(n - v.len()).map_err(|_| {
            let gib = (n * std::mem::size_of::<U>()) as f64 / (1u64 << 30) as f64;
            ComputeError::Memory(format!(
                "no memory for a buffer of {gib:.2} GiB; set WEIR_CHECKPOINT=every:4 (or --checkpoint every:4) to keep fewer layers"
            ))
        })?;
        v.resize(n, U::default());
        Ok(())
    }
}

impl<T: Copy + Default> Buffers<T> {
    /// Bytes that [`Buffers::reserve`] would hold: its size twin.
    pub fn bytes(&mut self, s: &Shapes, c: &Capacity, banks: usize) -> u64 {
        let mut fit = Fit { bytes: 0, count_only: true };
        self.fit(s, c, banks, &mut fit).expect("counting cannot fail");
        fit.bytes
    }

    /// Grows every buffer to the capacity; returns the bytes held.
    ///
    /// # Errors
    /// [`ComputeError::Memory`] when the system has no memory.
    pub fn reserve(&mut self, s: &Shapes, c: &Capacity, banks: usize) -> Result<u64, ComputeError> {
        let mut fit = Fit { bytes: 0, count_only: false };
        self.fit(s, c, banks, &mut fit)?;
        Ok(fit.bytes)
    }

    fn fit(&mut self, s: &Shapes, c: &Capacity, banks: usize, b: &mut Fit) -> Result<(), ComputeError> {
        let wd = (0..s.layers).map(|l| s.edge_messages(l)).max().unwrap_or(0);
        let wc = (0..s.layers).map(|l| s.centre_projection(l)).max().unwrap_or(0);
        b.to(&mut self.geometry, c.edges)?;
        b.to(&mut self.exact, c.edges)?;
        self.nodes.resize_with(s.layers + 1, Vec::new);
        for n in &mut self.nodes {
            b.to(n, c.atoms * s.np)?;
        }
        if !b.count_only {
            self.banks.resize_with(banks.max(1), Default::default);
        }
        // Counting leaves the banks of the plan in force alone.
        for k in 0..banks {
            let mut none = Default::default();
            let (centre, neighbour) = self.banks.get_mut(k).unwrap_or(&mut none);
            b.to(centre, c.atoms * wc)?;
            b.to(neighbour, c.atoms * wd)?;
        }
        for (v, width) in [
            (&mut self.centre_bar, wc),
            (&mut self.message_sum, wd),
            (&mut self.node_bar, s.np),
            (&mut self.self_bar, s.np),
            (&mut self.node_sum, s.np),
            (&mut self.moment_bar, 3 * s.np),
        ] {
            b.to(v, c.atoms * width)?;
        }
        b.to(&mut self.message_bar, c.tile_edges * wd)?;
        b.to(&mut self.geometry_bar, c.edges)?;
        b.to(&mut self.gradient, c.edges)?;
        b.to(&mut self.energies, c.atoms)?;
        b.to(&mut self.seed, c.atoms * s.n)?;
        b.to(&mut self.forces, c.atoms)?;
        b.to(&mut self.virials, c.atoms)?;
        b.to(&mut self.edge_centre, c.edges)?;
        Ok(())
    }
}
