//! The plan of a step for one graph: tiles with capacities, what the planner is told, what it answered.

use super::buffers::Capacity;
use super::inside;
use super::simd::InstructionSet;
use super::Terms;
use crate::network::Shapes;
use std::ops::Range;
use weir_engine::backend::ComputeError;
use weir_engine::graph::Graph;
use weir_engine::plan::placement::{plan, Inside, Plan, Problem, Rates, TileSize, Work};

/// One tile at this step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tile {
    /// Sorted centre indices.
    pub centres: Range<usize>,
    /// Their edges.
    pub edges: Range<usize>,
    /// Their angles.
    pub angles: Range<usize>,
}

impl Tile {
    /// The tile of these centres.
    pub fn new(graph: &Graph, centres: Range<usize>) -> Self {
        let edges = graph.first_edge[centres.start] as usize..graph.first_edge[centres.end] as usize;
        let angles = graph.first_angle[centres.start] as usize..graph.first_angle[centres.end] as usize;
        Self { centres, edges, angles }
    }
}

/// Tiles, capacities and program.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Centres of each tile.
    pub tiles: Vec<Range<usize>>,
    /// Capacities of each tile.
    pub sizes: Vec<TileSize>,
    /// Capacities of what does not belong to a tile.
    pub capacity: Capacity,
    /// The planner's answer.
    pub plan: Plan,
    /// What it was asked.
    pub problem: Problem,
    /// Bytes held in each tier.
    pub bytes: Vec<(String, u64)>,
}

/// Room for the counts of a tile to fluctuate: molecular dynamics moves them by one to three per cent.
pub(crate) fn with_room(size: TileSize) -> TileSize {
    let more = |n: u64, part: u64, least: u64| if n == 0 { 0 } else { n + n / part + least };
    TileSize { atoms: size.atoms, edges: more(size.edges, 32, 16), angles: more(size.angles, 24, 64) }
}

impl Layout {
    /// True when the graph has these tiles and fits all capacities.
    pub fn holds(&self, graph: &Graph) -> bool {
        self.tiles.last().map_or(0, |t| t.end) == graph.atoms()
            && self.tiles.is_empty() == (graph.atoms() == 0)
            && self.capacity.atoms == graph.atoms()
            && self.tiles.iter().zip(&self.sizes).all(|(centres, size)| {
                let tile = Tile::new(graph, centres.clone());
                tile.edges.len() as u64 <= size.edges && tile.angles.len() as u64 <= size.angles
            })
            && (0..graph.atoms()).all(|i| {
                graph.edges_of(i).len() <= self.capacity.centre_edges
                    && graph.angle_edges[i] as usize <= self.capacity.centre_angle_edges
            })
    }

    /// Bytes of insides of edges and angles that the plan keeps.
    pub fn inside_bytes(&self) -> u64 {
        self.plan.insides()[1..].iter().map(|part| part.1).sum()
    }

    /// Plans a graph.
    ///
    /// # Errors
    /// [`ComputeError::Memory`] with the planner's words.
    pub fn planned(mut self) -> Result<Self, ComputeError> {
        if self.tiles.is_empty() {
            return Ok(self);
        }
        let problem = &self.problem;
        self.plan = plan(problem).map_err(|e| ComputeError::Memory(e.to_string()))?;
        let peaks = problem.tiers.iter().zip(&self.plan.program.arena_bytes);
        self.bytes = peaks.map(|(t, &b)| (t.name.clone(), b)).collect();
        self.bytes[0].1 += problem.fixed_bytes + problem.bank_bytes * self.plan.program.banks as u64;
        Ok(self)
    }

    /// What the planner is to be asked for a graph. Tiles that an earlier layout has too keep at least their capacities, so that fluctuating counts soon need no new plan.
    ///
    /// `number` are the bytes of a number; `held` answers with the bytes of the buffers without and with one projection bank, and of
    /// everything else in the first tier. Insides of layers are not asked for yet ([`with_insides`]).
    pub fn new(
        s: &Shapes,
        number: u64,
        tile_edges: usize,
        terms: &Terms,
        graph: &Graph,
        before: &Layout,
        held: impl FnOnce(&Capacity) -> ([u64; 2], u64),
        threads: u64,
    ) -> Self {
        let tiles = if before.capacity.atoms == graph.atoms() && !before.tiles.is_empty() {
            before.tiles.clone()
        } else {
            cut(graph, tile_edges)
        };
        let same = before.tiles == tiles;
        let mut sizes: Vec<TileSize> = tiles
            .iter()
            .map(|centres| {
                let tile = Tile::new(graph, centres.clone());
                with_room(TileSize {
                    atoms: centres.len() as u64,
                    edges: tile.edges.len() as u64,
                    angles: tile.angles.len() as u64,
                })
            })
            .collect();
        let largest = |f: &dyn Fn(usize) -> usize| (0..graph.atoms()).map(f).max().unwrap_or(0);
        if same {
            for (size, old) in sizes.iter_mut().zip(&before.sizes) {
                size.edges = size.edges.max(old.edges);
                size.angles = size.angles.max(old.angles);
            }
        }
        let edges = largest(&|i| graph.edges_of(i).len());
        let angle_edges = largest(&|i| graph.angle_edges[i] as usize);
        let mut capacity = capacity(&sizes, edges, angle_edges);
        if same {
            capacity.centre_edges = capacity.centre_edges.max(before.capacity.centre_edges);
            capacity.centre_angle_edges = capacity.centre_angle_edges.max(before.capacity.centre_angle_edges);
        }
        let pairs = tiles.iter().map(|t| pairs_of(graph, t)).max().unwrap_or(0);
        capacity.tile_pairs = pairs_with_room(pairs);
        if same {
            capacity.tile_pairs = capacity.tile_pairs.max(before.capacity.tile_pairs);
        }
        let (held, other) = held(&capacity);
        let problem = ask(s, number, sizes.clone(), held, other, threads, terms);
        Self { tiles, sizes, capacity, problem, ..Self::default() }
    }
}

/// Room for the angle edges of a tile to fluctuate.
pub(crate) fn pairs_with_room(pairs: usize) -> usize {
    if pairs == 0 {
        0
    } else {
        pairs + pairs / 24 + 16
    }
}

/// Edges of these centres that carry angles.
pub(crate) fn pairs_of(graph: &Graph, centres: &Range<usize>) -> usize {
    graph.angle_edges[centres.clone()].iter().map(|&m| m as usize).sum()
}

/// Capacities of what does not belong to a tile; the largest centre has so many edges and angle edges now.
pub(crate) fn capacity(sizes: &[TileSize], centre_edges: usize, centre_angle_edges: usize) -> Capacity {
    Capacity {
        atoms: sizes.iter().map(|t| t.atoms as usize).sum(),
        edges: sizes.iter().map(|t| t.edges as usize).sum(),
        tile_edges: sizes.iter().map(|t| t.edges as usize).max().unwrap_or(0),
        centre_edges: centre_edges + 8,
        centre_angle_edges: centre_angle_edges + 4,
        tile_pairs: 0,
        tile_angles: sizes.iter().map(|t| t.angles as usize).max().unwrap_or(0),
        angles: sizes.iter().map(|t| t.angles as usize).sum(),
    }
}

/// The question for tiles of these capacities, of a calculator and of a forecast alike. `number` are the bytes of a number, `held` those of
/// the buffers without and with one projection bank, `other` what else the first tier holds.
pub(crate) fn ask(
    s: &Shapes,
    number: u64,
    tiles: Vec<TileSize>,
    held: [u64; 2],
    other: u64,
    threads: u64,
    terms: &Terms,
) -> Problem {
    let stored = terms.store.of(number as usize).bytes(number as usize) as u64;
    let estimated = || Rates { inside: Vec::new(), ..estimate(s, number, threads, terms.simd) };
    Problem {
        layers: s.layers,
        angles: (0..s.layers).map(|l| s.has_angles(l)).collect(),
        edge_bytes: s.ep as u64 * number,
        angle_bytes: s.ap as u64 * number,
        stored_edge_bytes: s.ep as u64 * stored,
        stored_angle_bytes: s.ap as u64 * stored,
        fixed_bytes: held[0] + other,
        bank_bytes: held[1] - held[0],
        tiers: terms.tiers.clone(),
        rates: terms.rates.clone().unwrap_or_else(estimated),
        checkpoint: terms.checkpoint,
        spill: terms.spill,
        rebuild: terms.rebuild,
        inside: terms.inside,
        inside_bytes: Vec::new(),
        inside_most: None,
        inside_first: false,
        tiles,
    }
}

/// The question with what this backend keeps of insides.
pub(crate) fn with_insides(
    mut problem: Problem,
    s: &Shapes,
    number: u64,
    threads: u64,
    set: InstructionSet,
) -> Problem {
    let rates = &mut problem.rates;
    // Bytes of nodes are few. Whether those of edges and angles come and go faster than they are made depends on the machine's memory and
    // on how many threads share it: somebody has to have measured that, or to have said so.
    let known = problem.inside == Inside::Keep || !rates.inside.is_empty();
    let all: TileSize = problem.tiles.iter().sum();
    if rates.inside.is_empty() {
        // On the scale of the rates that there are.
        let guess = estimate(s, number, threads, set);
        let of = |l: usize| match guess.backward[l].seconds(&all) {
            0.0 => 1.0,
            // Lists that are too short are the planner's to refuse.
            guess => rates.backward.get(l).map_or(1.0, |w| w.seconds(&all) / guess),
        };
        rates.inside = guess.inside.iter().enumerate().map(|(l, w)| w.times(of(l))).collect();
    }
    let inside = |l: usize| {
        let [nodes, edges, angles] = inside::bytes(s, l, number, [all.atoms, all.edges, all.angles]);
        if known {
            [nodes, edges, angles]
        } else {
            [nodes, 0, 0]
        }
    };
    problem.inside_bytes = (0..s.layers).map(inside).collect();
    problem
}

/// Cuts the centres into tiles of at most `largest` edges (a centre with more is a tile of its own).
pub(crate) fn cut(graph: &Graph, largest: usize) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut start = 0;
    for i in 0..graph.atoms() {
        let edges = (graph.first_edge[i + 1] - graph.first_edge[start]) as usize;
        if edges > largest && i > start {
            out.push(start..i);
            start = i;
        }
    }
    if start < graph.atoms() {
        out.push(start..graph.atoms());
    }
    out
}

/// Compute rates from the arithmetic of a layer (specification section 7): what the planner weighs before anything was measured.
fn estimate(s: &Shapes, number: u64, threads: u64, set: InstructionSet) -> Rates {
    // One core in f32: GFLOP/s in products, activations with slope a second, 14 GB/s either way beside another core; f64 half of it. Measured on
    // Zen 3 (2026-11-29) and on a Xeon with AVX-512 (Emerald Rapids, 2026-11-30). The ratios matter, not the seconds.
    let (products, activated) = match set {
        InstructionSet::Avx512 => (120e9, 1.7e9),
        _ => (70e9, 1.6e9),
    };
    let scale = number as f64 / 4.0 / threads as f64;
    let cost = |flop: usize, activations: usize| scale * (flop as f64 / products + activations as f64 / activated);
    // Kept bytes are written once and read once.
    let kept = |flop, activations, bytes: u64| cost(flop, activations) - 2.0 * bytes as f64 / 14e9 / threads as f64;
    let layer = |l: usize| {
        let (wd, wa) = (s.edge_messages(l), s.angle_messages(l));
        // Edges with angles are about a third of all.
        let second = if s.has_angles(l) { 2 * s.ep * s.ep + 4 * s.ec * wa / 3 } else { 0 };
        let own = if s.updates_edges(l) { s.ep } else { 0 };
        let nodes = Work {
            node: cost(2 * s.np * s.np + 2 * s.gram() * s.np, 2 * s.np),
            edge: cost(2 * s.ep * (wd - own) + 6 * (s.ep + s.np), wd - own),
            ..Work::default()
        };
        let (edge, angle) = (cost(2 * s.ep * own + second, own + s.ep), cost(2 * s.ap * wa, wa));
        let edges = Work { edge, angle, ..Work::default() };
        let angles = Work {
            edge: cost(4 * s.ec * s.ap / 3, 0),
            angle: cost(2 * s.ap * s.ap, if s.updates_angles(l) { s.ap } else { 0 }),
            ..Work::default()
        };
        (nodes, edges, angles)
    };
    let add = |a: Work, b: Work, f: f64| Work {
        node: f * (a.node + b.node),
        edge: f * (a.edge + b.edge),
        angle: f * (a.angle + b.angle),
        tile: 0.0,
    };
    let parts: Vec<_> = (0..s.layers).map(layer).collect();
    Rates {
        forward: parts.iter().map(|p| add(p.0, p.1, 1.0)).collect(),
        rebuild: parts.iter().map(|p| p.1).collect(),
        rebuild_angles: parts.iter().map(|p| p.2).collect(),
        backward: parts.iter().map(|p| add(p.0, p.1, 2.2)).collect(),
        project: cost(2 * s.np * (s.centre_projection(0) + s.edge_messages(0)), 0),
        inside: (0..s.layers)
            .map(|l| {
                let [node, edge, angle] = inside::estimate(s, l, number, kept);
                Work { node, edge, angle, tile: 0.0 }
            })
            .collect(),
    }
}
