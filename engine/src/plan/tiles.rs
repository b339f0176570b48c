//! Tiles: runs of whole centre atoms, the grain of execution and placement.

use crate::graph::Graph;
use std::ops::Range;

/// A run of centres with its edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Sorted centre indices.
    pub centres: Range<usize>,
    /// Their edges.
    pub edges: Range<usize>,
}

/// Cuts the centres into tiles of at most `largest` edges (a centre with more is a tile of its own).
pub fn tiles(graph: &Graph, largest: usize) -> Vec<Tile> {
    let mut out = Vec::new();
    let mut start = 0;
    for i in 0..graph.atoms() {
        let edges = graph.first_edge[i + 1] as usize - graph.first_edge[start] as usize;
        if edges > largest && i > start {
            out.push(tile(graph, start..i));
            start = i;
        }
    }
    if start < graph.atoms() {
        out.push(tile(graph, start..graph.atoms()));
    }
    out
}

fn tile(graph: &Graph, centres: Range<usize>) -> Tile {
    let edges = graph.first_edge[centres.start] as usize..graph.first_edge[centres.end] as usize;
    Tile { centres, edges }
}
