//! Slots of the plan as rows of a tile.

use super::forward::{Features, Rows};
use super::layout::Tile;
use super::memory::Memory;
use super::shapes::Shapes;
use super::simd::Real;
use weir_engine::plan::placement::{Place, State};

/// Rows of a slot, where the place is one.
fn rows<'a, T: Real>(memory: &'a Memory, place: Place, first: usize, width: usize) -> Option<Rows<'a, T>> {
    match place {
        Place::Slot(id) => Some(Rows { data: memory.slot(id), first, width }),
        Place::None | Place::Initial => None,
    }
}

/// Edges of a tile in a place.
pub fn edge_rows<'a, T: Real>(memory: &'a Memory, s: &Shapes, tile: &Tile, place: Place) -> Option<Rows<'a, T>> {
    rows(memory, place, tile.edges.start, s.ep)
}

/// Angles of a tile in a place.
pub fn angle_rows<'a, T: Real>(memory: &'a Memory, s: &Shapes, tile: &Tile, place: Place) -> Option<Rows<'a, T>> {
    rows(memory, place, tile.angles.start, s.ap)
}

/// Features entering a layer.
pub fn features<'a, T: Real>(memory: &'a Memory, s: &Shapes, tile: &Tile, state: State) -> Features<'a, T> {
    match edge_rows(memory, s, tile, state.edges) {
        Some(edges) => Features::Stored { edges, angles: angle_rows(memory, s, tile, state.angles) },
        None => Features::Initial,
    }
}
