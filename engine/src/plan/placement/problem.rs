//! What the planner is told.

use super::inside::Inside;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter::Sum;
use std::str::FromStr;
use thiserror::Error;

/// Capacities of one tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileSize {
    /// Centre atoms.
    pub atoms: u64,
    /// Edges.
    pub edges: u64,
    /// Angles (ordered pairs).
    pub angles: u64,
}

impl<'a> Sum<&'a TileSize> for TileSize {
    fn sum<I: Iterator<Item = &'a TileSize>>(tiles: I) -> Self {
        tiles.fold(Self::default(), |s, t| Self {
            atoms: s.atoms + t.atoms,
            edges: s.edges + t.edges,
            angles: s.angles + t.angles,
        })
    }
}

/// A memory tier and its links with tier 0. The rates of tier 0 itself are not read.
#[derive(Clone, Debug, PartialEq)]
pub struct TierSpec {
    /// Name for people, as in `WEIR_PLACEMENT`.
    pub name: String,
    /// Bytes.
    pub capacity: u64,
    /// Bytes/s from tier 0.
    pub out_rate: f64,
    /// Bytes/s to tier 0.
    pub in_rate: f64,
    /// Factor on each rate while both directions are busy, 0..=1 (at 0.5 or less the directions take turns).
    pub both: f64,
    /// Seconds per copy.
    pub latency: f64,
    /// Share of a copy that does not slow the computation, 0..=1.
    pub overlap: f64,
}

/// Seconds per atom, edge and angle of an operation, and for every tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// s per atom
    pub node: f64,
    /// s per edge
    pub edge: f64,
    /// s per angle
    pub angle: f64,
    /// s per tile: launches
    #[serde(default)]
    pub tile: f64,
}

impl Work {
    /// So many times as much.
    pub fn times(&self, factor: f64) -> Self {
        Self {
            node: self.node * factor,
            edge: self.edge * factor,
            angle: self.angle * factor,
            tile: self.tile * factor,
        }
    }

    /// Seconds for a tile.
    pub fn seconds(&self, tile: &TileSize) -> f64 {
        let counts = self.node * tile.atoms as f64 + self.edge * tile.edges as f64 + self.angle * tile.angles as f64;
        counts + self.tile
    }
}

/// Compute rates, by layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// A layer forward.
    pub forward: Vec<Work>,
    /// Edges and angles of the next layer again.
    pub rebuild: Vec<Work>,
    /// Angles of the next layer again.
    pub rebuild_angles: Vec<Work>,
    /// A layer backward, with the recomputation of its inside.
    pub backward: Vec<Work>,
    /// s per atom and layer for the node projections.
    pub project: f64,
    /// What `backward` is less by for each atom, edge and angle whose inside was kept; may be below zero. Empty: not known.
    #[serde(default)]
    pub inside: Vec<Work>,
}

/// Which states are kept between the passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checkpoint {
    /// Whatever is fastest.
    #[default]
    Auto,
    /// Every state, in some tier.
    All,
    /// States K, 2K, ..., in some tier; the others are rebuilt.
    Every(usize),
}

/// Not a checkpoint policy.
#[derive(Debug, Error, PartialEq)]
#[error("\"{0}\" is not a checkpoint policy; use auto, all, or every:K with K at least 1")]
pub struct BadCheckpoint(String);

impl FromStr for Checkpoint {
    type Err = BadCheckpoint;

    fn from_str(text: &str) -> Result<Self, BadCheckpoint> {
        let bad = || BadCheckpoint(text.to_string());
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "all" => Ok(Self::All),
            other => match other.strip_prefix("every:").ok_or_else(bad)?.parse::<usize>() {
                Ok(k) if k >= 1 => Ok(Self::Every(k)),
                _ => Err(bad()),
            },
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::All => f.write_str("all"),
            Self::Every(k) => write!(f, "every:{k}"),
        }
    }
}

/// Whether a means may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    /// Used where it pays.
    #[default]
    Allowed,
    /// Never.
    Forbidden,
}

/// The question. States lie in tiers, and between layers, in their stored form, so that results do not depend on the plan; adjoints are
/// in the compute type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problem {
    /// L
    pub layers: usize,
    /// Whether layer `l` reads angles; once false, false for all later layers.
    pub angles: Vec<bool>,
    /// Tiles in order of execution.
    pub tiles: Vec<TileSize>,
    /// Bytes per edge of an adjoint.
    pub edge_bytes: u64,
    /// Bytes per angle of an adjoint.
    pub angle_bytes: u64,
    /// Bytes per edge of a state.
    pub stored_edge_bytes: u64,
    /// Bytes per angle of a state.
    pub stored_angle_bytes: u64,
    /// Bytes of tier 0 that every plan needs: nodes, graph, weights, scratch.
    pub fixed_bytes: u64,
    /// Bytes of one projection bank.
    pub bank_bytes: u64,
    /// Tier 0 first, then in order of preference; at most 8.
    pub tiers: Vec<TierSpec>,
    /// Compute rates.
    pub rates: Rates,
    /// Which states are kept.
    pub checkpoint: Checkpoint,
    /// Whether slower tiers may be used.
    pub spill: Permission,
    /// Whether states may be rebuilt.
    pub rebuild: Permission,
    /// Whether insides of layers may be kept.
    pub inside: Inside,
    /// Bytes of a layer's inside of all tiles, by layer: of its nodes, edges, angles; 0 or an empty list where it cannot be kept.
    pub inside_bytes: Vec<[u64; 3]>,
    /// Bytes that insides of edges and angles may take of what the plan leaves; none: all of it.
    pub inside_most: Option<u64>,
    /// Whether plans are looked for that leave room for insides: where, byte by byte, they save more than states do.
    pub inside_first: bool,
}
