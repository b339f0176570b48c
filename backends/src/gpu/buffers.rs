//! Everything in device memory that a plan does not place: graph, geometry, nodes, sums, scratch. Laid out for capacities, so that
//! addresses stay while a plan is in force.

use super::array::{Array, Bump};
use super::fit::{FitArrays, FIT_BLOCKS, FIT_ROWS};
use crate::cpu::buffers::Capacity;
use crate::network::Shapes;
use weir_engine::model::Model;

/// The arrays. E edges, N atoms, both as capacities.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    // Graph.
    pub counts: Array,
    pub order: Array,
    pub types: Array,
    pub rule: Array,
    pub first_edge: Array,
    pub angle_edges: Array,
    /// Centres of a tile in the order of their blocks.
    pub turns: Array,
    pub first_angle: Array,
    pub first_pair: Array,
    pub centre: Array,
    pub neighbour: Array,
    pub slot: Array,
    pub vector: Array,
    pub distance: Array,
    pub first_incoming: Array,
    pub incoming: Array,
    // What makes the graph.
    pub positions: Array,
    /// 19 numbers: rows (A), deformation since the list was built, square of how far atoms may drift from it (A^2).
    pub cell: Array,
    pub edge_count: Array,
    pub angle_count: Array,
    pub sums: Array,
    pub sum_totals: Array,
    pub incoming_count: Array,
    pub cursor: Array,
    /// Incoming edges of owners in no order; once they are in order, parts of them by tile.
    pub unsorted: Array,
    pub part_count: Array,
    pub first_part: Array,
    pub part_cursor: Array,
    pub tile_centres: Array,
    pub tile_sizes: Array,
    pub flags: Array,
    // Geometry.
    pub geometry: Array,
    pub exact: Array,
    pub geometry_bar: Array,
    pub gradient: Array,
    // Nodes.
    pub table: Array,
    pub type_table: Array,
    pub nodes: Vec<Array>,
    pub banks: Vec<[Array; 2]>,
    pub message_sum: Array,
    /// Of every layer, where they are kept for the adjoint; else of the layer at work.
    pub moments: Vec<Array>,
    pub node_bar: Array,
    pub self_bar: Array,
    /// Of layers in turn: a layer's is read while the next one's is written. Where updates follow one another, of a layer's two rounds.
    pub centre_bars: [Array; 2],
    pub moment_bar: Array,
    pub owed_sum: Array,
    pub node_sum: Array,
    // A tile's.
    pub owed: Array,
    pub other: Array,
    pub own_bar: Array,
    /// Of both blocks that a centre may have.
    pub other_bar: Array,
    /// Adjoints of the centres' columns of angles, from the second of them.
    pub centre_second: Array,
    pub s_bar: Array,
    // Of models whose updates follow one another (7.7): edges and angles on their way, adjoints that do not fit above.
    pub edges_one: Array,
    pub edges_two: Array,
    pub angles_one: Array,
    pub angles_spare: Array,
    pub centre_bar_spare: Array,
    /// Zeros, for residual vectors and adjoints of what a kernel is not to do.
    pub zeros: Array,
    // Fitting net and results.
    pub frame: Array,
    pub per_atom: Array,
    pub seeds: Array,
    pub fit_work: Array,
    pub energy: Array,
    pub forces: Array,
    pub totals: Array,
    pub partial: [Array; 2],
    pub too_large: Array,
}

/// Sizes beside the capacities of a plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// Bytes of a number.
    pub number: u64,
    /// Tiles, or at least as many.
    pub tiles: u64,
    /// Types of the model.
    pub types: u64,
    /// Frame parameters and case embedding.
    pub frame: u64,
    /// Atomic parameters of an atom.
    pub per_atom: u64,
    /// `smooth_edge_update`.
    pub smooth: bool,
    /// Whether every layer's moments are kept for the adjoint.
    pub keeps_moments: bool,
}

impl Extent {
    /// Of a model with numbers of so many bytes, in so many tiles.
    pub fn of(model: &Model, number: u64, tiles: u64, keeps_moments: bool) -> Self {
        let f = &model.fitting;
        Extent {
            number,
            tiles,
            types: model.types() as u64,
            frame: (f.numb_fparam + f.case_embd.len()) as u64,
            per_atom: f.numb_aparam as u64,
            smooth: model.descriptor.options.smooth_edge_update,
            keeps_moments,
        }
    }
}

/// Numbers of `cell`; twin of `LIMIT2` and what stands before it.
pub const CELL_NUMBERS: u64 = 19;

/// Rows that one block of `sum_rows` adds.
pub const SUM_ROWS: u64 = 1024;

impl Buffers {
    /// The moments of a layer.
    pub fn moments_of(&self, layer: usize) -> Array {
        self.moments[layer % self.moments.len()]
    }

    /// The adjoint of the centres' projections in a layer.
    pub fn centre_bar_of(&self, layer: usize) -> Array {
        self.centre_bars[layer % 2]
    }

    /// Lays them out; with a base of 0 only the bytes mean something.
    pub fn new(base: u64, s: &Shapes, c: &Capacity, x: &Extent, fit: &FitArrays, banks: usize) -> (Self, u64) {
        let mut b = Bump::new(base);
        let (n, e, t, p) = (c.atoms as u64, c.edges as u64, c.tile_edges as u64, c.tile_pairs as u64);
        let most = |f: &dyn Fn(usize) -> usize| (0..s.layers).map(f).max().unwrap_or(0) as u64;
        let (wd, wc, wa) =
            (most(&|l| s.edge_messages(l)), most(&|l| s.centre_projection(l)), most(&|l| s.angle_messages(l)));
        let (np, ep, mp, moments) = (s.np as u64, s.ep as u64, s.mp() as u64, s.moments() as u64);
        let r = x.number;
        let a = c.tile_angles as u64;
        let sequential = |count: u64| if s.sequential { count } else { 0 };
        let blocks = n.div_ceil(FIT_ROWS).min(FIT_BLOCKS);
        let out = Self {
            counts: b.take(2, 4),
            order: b.take(n, 4),
            types: b.take(n, 4),
            rule: b.take(n, 4),
            first_edge: b.take(n + 1, 4),
            angle_edges: b.take(n, 4),
            turns: b.take(n, 4),
            first_angle: b.take(n + 1, 8),
            first_pair: b.take(n + 1, 4),
            centre: b.take(e, 4),
            neighbour: b.take(e, 4),
            slot: b.take(e, 4),
            vector: b.take(3 * e, 8),
            distance: b.take(e, 8),
            first_incoming: b.take(n + 1, 4),
            incoming: b.take(e, 4),
            positions: b.take(3 * n, 8),
            cell: b.take(CELL_NUMBERS, 8),
            edge_count: b.take(n, 4),
            angle_count: b.take(n, 4),
            sums: b.take(3 * n, 8),
            sum_totals: b.take(3 * n.div_ceil(1024).max(1), 8),
            incoming_count: b.take(n, 4),
            cursor: b.take(n, 4),
            unsorted: b.take(e, 4),
            part_count: b.take(x.tiles, 4),
            first_part: b.take(x.tiles + 1, 4),
            part_cursor: b.take(x.tiles, 4),
            tile_centres: b.take(x.tiles + 1, 4),
            tile_sizes: b.take(3 * x.tiles.max(1), 8),
            flags: b.take(4, 2),
            geometry: b.take(6 * e, r),
            exact: b.take(4 * e, 8),
            geometry_bar: b.take(7 * e, 8),
            gradient: b.take(3 * e, 8),
            table: b.take(x.types * np, r),
            type_table: b.take(x.types * s.n as u64, 8),
            nodes: (0..=s.layers).map(|_| b.take(n * np, r)).collect(),
            banks: (0..banks).map(|_| [b.take(n * wc, r), b.take(n * wd, r)]).collect(),
            message_sum: b.take(n * mp, r),
            moments: (0..if x.keeps_moments { s.layers } else { 1 }).map(|_| b.take(n * moments, r)).collect(),
            node_bar: b.take(n * np, r),
            self_bar: b.take(n * np, r),
            centre_bars: [0; 2].map(|_| b.take(n * wc, r)),
            moment_bar: b.take(n * moments, r),
            owed_sum: b.take(n * wd, r),
            node_sum: b.take(n * np, r),
            owed: b.take(t * wd, r),
            // Rows of `OTHERS` of the kernels' text, however narrow the messages of a shallow model are.
            other: b.take(if wa == 0 { 0 } else { p * ((s.ep + s.ap) as u64 + u64::from(weir_kernels::PAD)) }, r),
            own_bar: b.take(if wa == 0 { 0 } else { p * s.ec as u64 }, r),
            other_bar: b.take(2 * p * wa, r),
            centre_second: b.take(n * wa, r),
            s_bar: if x.smooth || wa == 0 { Array::NONE } else { b.take(t * ep, r) },
            edges_one: b.take(sequential(t * ep), r),
            edges_two: b.take(sequential(t * ep), r),
            angles_one: b.take(sequential(a * s.ap as u64), r),
            angles_spare: b.take(sequential(a * s.ap as u64), r),
            centre_bar_spare: b.take(sequential(n * wc), r),
            zeros: b.take(sequential(n * moments.max(wd).max(mp)), r),
            frame: b.take(x.frame.max(1), 8),
            per_atom: b.take((x.per_atom * n).max(1), 8),
            seeds: b.take(n, 8),
            fit_work: b.take(blocks * FIT_ROWS * u64::from(fit.stride), 8),
            energy: b.take(n, 8),
            forces: b.take(3 * n, 8),
            totals: b.take(10 * n, 8),
            partial: [0; 2].map(|_| b.take(10 * n.div_ceil(SUM_ROWS).max(1), 8)),
            too_large: b.take(s.layers as u64 + 1, 4),
        };
        (out, b.bytes())
    }
}
