//! What a step would ask the planner, without a calculator: counts of a structure, or of one as large as anybody likes.

use super::arithmetic::Arithmetic;
use super::buffers::Buffers;
use super::layout::{ask, capacity, cut, pairs_of, with_insides, with_room, Tile};
use super::scratch::Scratch;
use super::simd::Real;
use super::weights::LayerWeights;
use super::{CpuError, PrecisionChoice, Terms};
use crate::network::Shapes;
use pulp::Arch;
use weir_engine::graph::{summation_order, Cell, Graph, GraphError, GraphOptions, NeighbourList};
use weir_engine::model::Model;
use weir_engine::plan::placement::{Problem, TileSize};

/// Edges of a tile for each thread: enough for every thread to find work in a tile, few enough for the tile's message adjoints to stay in
/// the cache.
pub(super) const TILE: usize = 8192;
/// Fewest edges of a tile for each thread: below, most of a step would be waiting for the last block.
pub(super) const LEAST_TILE: usize = 512;

/// Largest edge counts of a tile that a calculator tries until a plan fits, in this order.
pub fn tile_choices(threads: usize) -> impl Iterator<Item = usize> {
    let threads = threads.max(1);
    std::iter::successors(Some(TILE * threads), |n| Some(n / 2)).take_while(move |&n| n >= LEAST_TILE * threads)
}

/// Counts of a configuration: what the bytes and the work of its step follow from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Census {
    /// Counts of each tile, without room to fluctuate.
    pub tiles: Vec<TileSize>,
    /// Most edges that a tile was allowed.
    pub tile_edges: u64,
    /// All its edges that carry angles.
    pub angle_edges: u64,
    /// The same of the tile that has most.
    pub tile_pairs: u64,
    /// Pairs of the neighbour list.
    pub list_pairs: u64,
    /// Edges of the largest centre.
    pub centre_edges: usize,
    /// Angle edges of the largest centre.
    pub centre_angle_edges: usize,
    /// Bytes of graph and neighbour list.
    pub graph_bytes: u64,
}

/// The neighbours of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    graph: Graph,
    list_bytes: u64,
    list_pairs: u64,
}

impl Neighbours {
    /// Of a configuration, with the `skin` (A) of a calculator.
    ///
    /// # Errors
    /// What the neighbour search refuses.
    pub fn find(
        model: &Model,
        types: &[i32],
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
        skin: f64,
    ) -> Result<Self, GraphError> {
        let options = GraphOptions::of(model);
        let prepared = cell.map(Cell::new).transpose()?;
        let order = summation_order(positions, cell)?;
        let list = NeighbourList::build(positions, cell, types, &order, options.edge_cutoff, skin)?;
        let mut graph = Graph::default();
        graph.fill(&list, positions, prepared.as_ref(), types, &options)?;
        Ok(Self { graph, list_bytes: list.bytes(), list_pairs: list.pairs.len() as u64 })
    }

    /// Counts in tiles of at most `tile_edges` edges, as at the first step of a calculator.
    pub fn census(&self, tile_edges: usize) -> Census {
        let graph = &self.graph;
        let size = |centres| {
            let t = Tile::new(graph, centres);
            TileSize { atoms: t.centres.len() as u64, edges: t.edges.len() as u64, angles: t.angles.len() as u64 }
        };
        let tiles = cut(graph, tile_edges);
        Census {
            tile_edges: tile_edges as u64,
            tile_pairs: tiles.iter().map(|t| pairs_of(graph, t) as u64).max().unwrap_or(0),
            list_pairs: self.list_pairs,
            tiles: tiles.into_iter().map(size).collect(),
            angle_edges: graph.angle_edges.iter().map(|&m| u64::from(m)).sum(),
            centre_edges: (0..graph.atoms()).map(|i| graph.edges_of(i).len()).max().unwrap_or(0),
            centre_angle_edges: graph.angle_edges.iter().max().map_or(0, |&m| m as usize),
            graph_bytes: graph.bytes() + self.list_bytes,
        }
    }
}

impl Census {
    /// All counts together.
    pub fn total(&self) -> TileSize {
        self.tiles.iter().sum()
    }

    /// About `atoms` atoms of the same density, in `tiles` equal tiles. What belongs to the largest centre stays.
    pub fn replicated(&self, atoms: u64, tiles: u64) -> Self {
        let (total, tiles) = (self.total(), tiles.max(1));
        let each = (atoms / tiles).max(1);
        let factor = each as f64 / total.atoms.max(1) as f64;
        let part = |n: u64, times: u64| (n as f64 * factor * times as f64).ceil() as u64;
        let tile = TileSize { atoms: each, edges: part(total.edges, 1), angles: part(total.angles, 1) };
        Self {
            tiles: vec![tile; tiles as usize],
            tile_edges: tile.edges,
            angle_edges: part(self.angle_edges, tiles),
            tile_pairs: part(self.angle_edges, 1),
            list_pairs: part(self.list_pairs, tiles),
            graph_bytes: part(self.graph_bytes, tiles),
            ..self.clone()
        }
    }
}

/// A model as the planner sees it: widths, and the bytes of its packed weights.
#[derive(Clone, Debug)]
pub struct Outline {
    shapes: Shapes,
    number: u64,
    weight_bytes: u64,
    arithmetic: Arithmetic,
}

fn packed_bytes<T: Real>(model: &Model, shapes: &Shapes) -> u64 {
    // As many for any instruction set: columns are padded to the widest.
    let arch = Arch::new();
    (0..shapes.layers).map(|l| LayerWeights::<T>::new(arch, model, shapes, l).bytes()).sum()
}

impl Outline {
    /// Of a model in a precision.
    ///
    /// # Errors
    /// [`CpuError::NotPlanned`] for models that keep everything.
    pub fn of(model: &Model, precision: PrecisionChoice) -> Result<Self, CpuError> {
        if model.descriptor.options.sequential_update {
            return Err(CpuError::NotPlanned);
        }
        let shapes = Shapes::of(model);
        let (number, weight_bytes) = match precision.is_single(model) {
            true => (4, packed_bytes::<f32>(model, &shapes)),
            false => (8, packed_bytes::<f64>(model, &shapes)),
        };
        let fitting: usize = model.fitting.layers.iter().map(|l| l.linear.inputs * l.linear.outputs).sum();
        Ok(Self { arithmetic: Arithmetic::of(&shapes, fitting), shapes, number, weight_bytes })
    }

    /// Bytes of a number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.shapes.layers
    }

    /// What its operations compute.
    pub fn arithmetic(&self) -> &Arithmetic {
        &self.arithmetic
    }

    /// The question that a calculator with so many threads asks at the first step of such a configuration.
    pub fn problem(&self, census: &Census, threads: usize, terms: &Terms) -> Problem {
        match self.number {
            4 => self.question::<f32>(census, threads, terms),
            _ => self.question::<f64>(census, threads, terms),
        }
    }

    fn question<T: Real>(&self, census: &Census, threads: usize, terms: &Terms) -> Problem {
        let (s, threads) = (&self.shapes, threads.max(1) as u64);
        let sizes: Vec<TileSize> = census.tiles.iter().map(|&t| with_room(t)).collect();
        let c = capacity(&sizes, census.centre_edges, census.centre_angle_edges);
        let mut buffers = Buffers::<T>::default();
        let held = [0, 1].map(|banks| buffers.bytes(s, &c, banks));
        let scratch = threads * Scratch::<T>::bytes(s, c.centre_edges, c.centre_angle_edges) as u64;
        let other = scratch + census.graph_bytes + self.weight_bytes;
        with_insides(ask(s, self.number, sizes, held, other, threads, terms), s, self.number, threads, terms.simd)
    }
}
