//! What a calculator asks the planner, without a device: counts of a structure, or of one as large as anybody likes.

use super::array::Writer;
use super::buffers::{Buffers, Extent};
use super::fit::FitArrays;
use super::neighbours::list_bytes;
use super::weights::ModelArrays;
use super::TILE;
use crate::cpu::layout::{ask, capacity, pairs_with_room, with_room};
use crate::cpu::{Arithmetic, Census, PrecisionChoice, Terms};
use crate::network::Shapes;
use weir_engine::model::Model;
use weir_engine::plan::placement::{Problem, TileSize};

/// Smallest tile that is tried: below, most multiprocessors of a large device have nothing to do.
const LEAST_TILE: usize = 4096;

/// Largest edge counts of a tile for machines that are not here, in the order in which they are tried.
pub fn tile_choices() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(TILE), |n| Some(n / 2)).take_while(|&n| n >= LEAST_TILE)
}

/// A model as the planner sees it on a GPU: widths, and the bytes of its weights there.
#[derive(Clone, Debug)]
pub struct GpuOutline {
    shapes: Shapes,
    extent: Extent,
    fit: FitArrays,
    weight_bytes: u64,
    arithmetic: Arithmetic,
}

impl GpuOutline {
    /// Of a model in a precision.
    pub fn of(model: &Model, precision: PrecisionChoice) -> Self {
        let double = model.descriptor.options.sequential_update || !precision.is_single(model);
        let shapes = Shapes::of(model);
        let mut writer = Writer::new(0, double);
        let weights = ModelArrays::new(&mut writer, model, &shapes);
        let fitting: usize = model.fitting.layers.iter().map(|l| l.linear.inputs * l.linear.outputs).sum();
        Self {
            arithmetic: Arithmetic::of(&shapes, fitting),
            extent: Extent::of(model, if double { 8 } else { 4 }, 0),
            fit: weights.fit,
            weight_bytes: writer.bytes.len() as u64,
            shapes,
        }
    }

    /// Bytes of a number.
    pub fn number(&self) -> u64 {
        self.extent.number
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.shapes.layers
    }

    /// What its operations compute.
    pub fn arithmetic(&self) -> &Arithmetic {
        &self.arithmetic
    }

    /// The question that a calculator asks at the first step of such a configuration.
    pub fn problem(&self, census: &Census, terms: &Terms) -> Problem {
        let (s, number, total) = (&self.shapes, self.extent.number, census.total());
        let sizes: Vec<TileSize> = census.tiles.iter().map(|&t| with_room(t)).collect();
        let mut c = capacity(&sizes, census.centre_edges, census.centre_angle_edges);
        c.tile_pairs = pairs_with_room(census.tile_pairs as usize);
        let x = Extent { tiles: most_tiles(total.edges, census.tile_edges, total.atoms), ..self.extent };
        let held = [0, 1].map(|banks| Buffers::new(0, s, &c, &x, &self.fit, banks).1);
        let other = self.weight_bytes + list_bytes(total.atoms, census.list_pairs, x.types);
        ask(s, number, sizes, held, other, 1, terms)
    }
}

/// As many tiles as there can be; they take 28 bytes each.
pub(super) fn most_tiles(edges: u64, tile_edges: u64, atoms: u64) -> u64 {
    (edges / tile_edges.max(1) * 2 + 2).min(atoms)
}
