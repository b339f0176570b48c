//! Slots of the plan as rows of a tile.

use super::layout::Tile;
use super::memory::Memory;
use super::rows::{Features, Rows, Target};
use super::simd::Real;
use super::stored::{PackedRows, Store};
use crate::network::Shapes;
use weir_engine::plan::placement::{Place, SlotId, State};

/// The slot of a place that is one.
fn slot(place: Place) -> Option<SlotId> {
    match place {
        Place::Slot(id) => Some(id),
        Place::None | Place::Initial => None,
    }
}

/// Edges of a tile in the compute type: an adjoint, or a state that is stored exactly.
pub fn edge_rows<'a, T: Real>(memory: &'a Memory, s: &Shapes, tile: &Tile, place: Place) -> Option<Rows<'a, T>> {
    slot(place).map(|id| Rows { data: memory.slot(id), first: tile.edges.start, width: s.ep })
}

/// Angles of a tile in the compute type.
pub fn angle_rows<'a, T: Real>(memory: &'a Memory, s: &Shapes, tile: &Tile, place: Place) -> Option<Rows<'a, T>> {
    slot(place).map(|id| Rows { data: memory.slot(id), first: tile.angles.start, width: s.ap })
}

/// One state of a tile, stored in fewer bits.
struct Packed<'a> {
    memory: &'a Memory,
    store: Store,
}

impl<'a> Packed<'a> {
    fn rows(&self, place: Place, first: usize, width: usize) -> Option<PackedRows<'a>> {
        slot(place).map(|id| PackedRows { data: self.memory.slot(id), first, width, store: self.store })
    }
}

/// Features entering a layer.
pub fn features<'a, T: Real>(
    memory: &'a Memory,
    s: &Shapes,
    tile: &Tile,
    state: State,
    store: Store,
) -> Features<'a, T> {
    if store != Store::Exact {
        let packed = Packed { memory, store };
        return match packed.rows(state.edges, tile.edges.start, s.ep) {
            Some(edges) => Features::Packed { edges, angles: packed.rows(state.angles, tile.angles.start, s.ap) },
            None => Features::Initial,
        };
    }
    match edge_rows(memory, s, tile, state.edges) {
        Some(edges) => Features::Stored { edges, angles: angle_rows(memory, s, tile, state.angles) },
        None => Features::Initial,
    }
}

/// Where the features leaving a layer go: edges, angles.
pub fn targets<'a, T: Real>(
    memory: &'a Memory,
    s: &Shapes,
    tile: &Tile,
    state: State,
    store: Store,
) -> [Option<Target<'a, T>>; 2] {
    if store != Store::Exact {
        let packed = Packed { memory, store };
        let edges = packed.rows(state.edges, tile.edges.start, s.ep).map(Target::Packed);
        return [edges, packed.rows(state.angles, tile.angles.start, s.ap).map(Target::Packed)];
    }
    let edges = edge_rows(memory, s, tile, state.edges).map(Target::Rows);
    [edges, angle_rows(memory, s, tile, state.angles).map(Target::Rows)]
}
