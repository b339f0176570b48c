//! Interprets the step program: one method an operation.

use super::backward::BackwardLayer;
use super::buffers::{Buffers, Capacity};
use super::context::{round_geometry, Context, Embedding};
use super::fit::{FitNet, FitScratch, FIT_BLOCK};
use super::forward::{Features, ForwardLayer};
use super::kernels_edge::Gather;
use super::scratch::{Scratch, BLOCK};
use super::shapes::Shapes;
use super::share::Shared;
use super::simd::{Activator, Real};
use super::weights::LayerWeights;
use pulp::Arch;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use weir_engine::backend::ComputeError;
use weir_engine::graph::Graph;
use weir_engine::model::Model;
use weir_engine::plan::{tiles, Checkpoint, Op, Place, Program, Tile};
use weir_engine::reference::{initial_node_features, output_rule, ResolvedParameters};

/// Memory of one thread: layers, fitting net, rows of the fitting net's input.
type Worker<T> = (Scratch<T>, FitScratch, Vec<f64>);

/// The packed model with its buffers.
pub struct Executor<T> {
    arch: Arch,
    shapes: Shapes,
    model: Arc<Model>,
    layers: Vec<LayerWeights<T>>,
    activator: Activator<T>,
    embedding: Embedding<T>,
    fit: FitNet,
    scratch: Vec<Mutex<Worker<T>>>,
    pub(super) buffers: Buffers<T>,
    capacity: Capacity,
    program: Program,
    tiles: Vec<Tile>,
    checkpoint: Checkpoint,
    tile_edges: usize,
    edge_centre: Vec<u32>,
    z: Vec<f64>,
    parameters: ResolvedParameters,
    /// Bytes held now.
    pub bytes: u64,
    /// How often buffers were laid out.
    pub plans: usize,
}

/// Pieces of work of a range, in parallel; each piece gets the scratch of its thread.
fn parallel<S: Send>(
    scratch: &[Mutex<S>],
    range: Range<usize>,
    block: usize,
    f: impl Fn(Range<usize>, &mut S) + Send + Sync,
) {
    let count = range.len().div_ceil(block);
    (0..count).into_par_iter().with_max_len(1).for_each(|b| {
        let from = range.start + b * block;
        let thread = rayon::current_thread_index().unwrap_or(0) % scratch.len();
        let mut scratch = scratch[thread].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        f(from..(from + block).min(range.end), &mut scratch);
    });
}

/// The surroundings of a phase. A macro, because it borrows single fields while the phase writes others.
macro_rules! context {
    ($executor:ident, $buffers:ident, $graph:ident) => {
        Context {
            arch: $executor.arch,
            s: &$executor.shapes,
            model: &$executor.model,
            graph: $graph,
            activator: &$executor.activator,
            geometry: &$buffers.geometry[..$graph.edges()],
            exact: &$buffers.exact[..$graph.edges()],
            embedding: &$executor.embedding,
        }
    };
}

impl<T: Real> Executor<T> {
    /// Packs a model. `tile_edges` bounds the edges of a tile.
    pub fn new(model: Arc<Model>, threads: usize, checkpoint: Checkpoint, tile_edges: usize) -> Self {
        let arch = Arch::new();
        let shapes = Shapes::of(&model);
        let layers = (0..shapes.layers).map(|l| LayerWeights::new(arch, &model, &shapes, l)).collect();
        Self {
            arch,
            shapes,
            layers,
            activator: Activator::new(model.descriptor.options.activation),
            embedding: Embedding::new(&model),
            fit: FitNet::new(arch, &model),
            scratch: (0..threads.max(1)).map(|_| Mutex::default()).collect(),
            buffers: Buffers::default(),
            capacity: Capacity::default(),
            program: Program::default(),
            tiles: Vec::new(),
            checkpoint,
            tile_edges,
            edge_centre: Vec::new(),
            z: Vec::new(),
            parameters: ResolvedParameters::default(),
            bytes: 0,
            plans: 0,
            model,
        }
    }

    /// Makes the plan fit the graph: new tiles every step (a pure function of the graph), buffers only when a capacity overflows.
    fn plan(&mut self, graph: &Graph) -> Result<(), ComputeError> {
        self.tiles = tiles(graph, self.tile_edges);
        let largest = |f: &dyn Fn(usize) -> usize| (0..graph.atoms()).map(f).max().unwrap_or(0);
        let need = Capacity {
            atoms: graph.atoms(),
            edges: graph.edges(),
            angles: usize::try_from(graph.angles())
                .map_err(|_| ComputeError::Memory(format!("{} angles exceed the address space", graph.angles())))?,
            tile_edges: self.tiles.iter().map(|t| t.edges.len()).max().unwrap_or(0),
            centre_edges: largest(&|i| graph.edges_of(i).len()),
            centre_angle_edges: largest(&|i| graph.angle_edges[i] as usize),
        };
        let program = Program::new(self.shapes.layers, self.tiles.len(), self.checkpoint);
        let same_slots = program.slots == self.program.slots;
        self.program = program;
        if !self.capacity.holds(&need) || !same_slots {
            let room = need.with_slack();
            self.bytes = self.buffers.reserve(&self.shapes, &room, &self.program)?;
            for s in &self.scratch {
                let mut s = s.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                self.bytes += s.0.reserve(&self.shapes, room.centre_edges, room.centre_angle_edges) as u64;
            }
            self.capacity = room;
            self.plans += 1;
        }
        self.edge_centre.clear();
        for i in 0..graph.atoms() {
            self.edge_centre.extend(std::iter::repeat_n(i as u32, graph.edges_of(i).len()));
        }
        Ok(())
    }

    /// Forward pass: node features of every layer, atomic energies and their gradients.
    ///
    /// # Errors
    /// [`ComputeError::Memory`].
    pub fn forward(&mut self, graph: &Graph, parameters: &ResolvedParameters) -> Result<(), ComputeError> {
        self.plan(graph)?;
        self.z = initial_node_features(&self.model, parameters);
        self.parameters = parameters.clone();
        for at in 0..self.program.forward.len() {
            self.run(self.program.forward[at], graph);
        }
        Ok(())
    }

    /// Backward pass: gradients of `sum_i weight_i E_i` with respect to all edge vectors, in `buffers.gradient`.
    pub fn backward(&mut self, graph: &Graph, weight: impl Fn(usize) -> f64) {
        let (np, n) = (self.shapes.np, self.shapes.n);
        for i in 0..graph.atoms() {
            let w = weight(i);
            let row = &mut self.buffers.node_bar[i * np..(i + 1) * np];
            row.fill(T::default());
            for (x, g) in row.iter_mut().zip(&self.buffers.seed[i * n..(i + 1) * n]) {
                *x = T::from_f64(w * g);
            }
        }
        self.buffers.geometry_bar[..graph.edges()].fill([0.0; 5]);
        for at in 0..self.program.backward.len() {
            self.run(self.program.backward[at], graph);
        }
    }

    /// True when `backward` may run again without `forward`.
    pub fn backward_repeats(&self) -> bool {
        self.program.backward_keeps_slots()
    }

    fn run(&mut self, op: Op, graph: &Graph) {
        match op {
            Op::Geometry => self.geometry(graph),
            Op::Project { layer } => self.project(graph, layer),
            Op::Forward { layer, tile, input, output } => self.layer(graph, layer, tile, input, output, true),
            Op::Rebuild { layer, tile, input, output } => self.layer(graph, layer, tile, input, Some(output), false),
            Op::Fit => self.fitting(graph),
            Op::Clear { layer } => {
                let atoms = graph.atoms();
                self.buffers.message_sum[..atoms * self.shapes.edge_messages(layer)].fill(T::default());
                self.buffers.node_sum[..atoms * self.shapes.np].fill(T::default());
            }
            Op::Backward { layer, tile, input } => self.layer_backward(graph, layer, tile, input),
            Op::Gather { layer, tile } => self.gather(graph, layer, tile),
            Op::Finish { layer } => self.finish(graph, layer),
            Op::Assemble => self.assemble(graph),
        }
    }

    fn geometry(&mut self, graph: &Graph) {
        let edges = graph.edges();
        let b = &mut self.buffers;
        round_geometry(&self.model, graph, &mut b.geometry[..edges], &mut b.exact[..edges]);
        let (n, np, f) = (self.shapes.n, self.shapes.np, self.activator.kind);
        let first: Vec<T> = self.z.iter().map(|&z| T::from_f64(f.evaluate(z).0)).collect();
        for (i, &t) in graph.types.iter().enumerate() {
            let t = t.max(0) as usize;
            self.buffers.nodes[0][i * np..i * np + n].copy_from_slice(&first[t * n..(t + 1) * n]);
        }
    }

    fn project(&mut self, graph: &Graph, layer: usize) {
        let (s, w, arch) = (&self.shapes, &self.layers[layer], self.arch);
        let (wc, wd) = (s.centre_projection(layer), s.edge_messages(layer));
        let nodes = &self.buffers.nodes[layer];
        let centre = Shared::new(&mut self.buffers.centre);
        let neighbour = Shared::new(&mut self.buffers.neighbour);
        parallel(&self.scratch, 0..graph.atoms(), 2 * BLOCK, |block, _| {
            let rows = block.len();
            // SAFETY: the rows of this block.
            let (c, n) =
                unsafe { (centre.piece(block.start * wc, rows * wc), neighbour.piece(block.start * wd, rows * wd)) };
            for row in c.chunks_exact_mut(wc) {
                row.copy_from_slice(&w.centre_bias);
            }
            let a = &nodes[block.start * s.np..];
            w.centre.forward.multiply(arch, rows, a, s.np, c, wc, wc, true);
            w.neighbour.forward.multiply(arch, rows, a, s.np, n, wd, wd, false);
        });
    }

    fn layer(
        &mut self,
        graph: &Graph,
        layer: usize,
        tile: usize,
        input: Place,
        output: Option<Place>,
        with_nodes: bool,
    ) {
        let b = &mut self.buffers;
        let slots: Vec<_> = b.slots.iter_mut().map(|(e, a)| (Shared::new(e), Shared::new(a))).collect();
        let (before, after) = b.nodes.split_at_mut(layer + 1);
        let nodes_out = with_nodes.then(|| Shared::new(&mut after[0]));
        let context = context!(self, b, graph);
        let forward = ForwardLayer {
            layer,
            weights: &self.layers[layer],
            nodes: &before[layer],
            centre: &b.centre,
            neighbour: &b.neighbour,
            input: features(&slots, input),
            output: match output {
                Some(Place::Slot(s)) => Some(slots[s]),
                _ => None,
            },
            nodes_out,
        };
        parallel(&self.scratch, self.tiles[tile].centres.clone(), BLOCK, |block, t| {
            forward.block(&context, block, &mut t.0)
        });
    }

    fn fitting(&mut self, graph: &Graph) {
        let b = &mut self.buffers;
        let (s, model, fit) = (&self.shapes, &self.model, &self.fit);
        let nodes = &b.nodes[s.layers];
        let (energies, seed) = (Shared::new(&mut b.energies), Shared::new(&mut b.seed));
        let (parameters, z) = (&self.parameters, &self.z);
        parallel(&self.scratch, 0..graph.atoms(), FIT_BLOCK, |block, (_, t, rows)| {
            let (width, count) = (fit.inputs(), block.len());
            rows.resize(FIT_BLOCK * width, 0.0);
            for (k, i) in block.clone().enumerate() {
                let t = graph.types[i].max(0) as usize;
                let node = |c: usize| nodes[i * s.np + c].to_f64();
                let row = &mut rows[k * width..(k + 1) * width];
                fit.fill_input(model, parameters, graph.order[i] as usize, node, &z[t * s.n..(t + 1) * s.n], row);
            }
            // SAFETY: the rows of this block.
            let (e, seed) = unsafe { (energies.piece(block.start, count), seed.piece(block.start * s.n, count * s.n)) };
            fit.evaluate(count, rows, e, t);
            for (k, i) in block.enumerate() {
                let (factor, shift) = output_rule(model, graph.types[i]);
                // A type without network energy is selected out, not multiplied: its net may be anything.
                e[k] = if factor == 0.0 { shift } else { factor * e[k] + shift };
                for c in 0..s.n {
                    seed[k * s.n + c] = if factor == 0.0 { 0.0 } else { factor * rows[k * width + c] };
                }
            }
        });
    }

    fn layer_backward(&mut self, graph: &Graph, layer: usize, tile: usize, input: Place) {
        let b = &mut self.buffers;
        let slots: Vec<_> = b.slots.iter_mut().map(|(e, a)| (Shared::new(e), Shared::new(a))).collect();
        let context = context!(self, b, graph);
        let backward = BackwardLayer {
            layer,
            weights: &self.layers[layer],
            nodes: &b.nodes[layer],
            centre: &b.centre,
            neighbour: &b.neighbour,
            input: features(&slots, input),
            node_bar: &b.node_bar,
            e_bar: Shared::new(&mut b.e_bar),
            a_bar: Shared::new(&mut b.a_bar),
            self_bar: Shared::new(&mut b.self_bar),
            centre_bar: Shared::new(&mut b.centre_bar),
            moment_bar: Shared::new(&mut b.moment_bar),
            message_bar: Shared::new(&mut b.message_bar),
            first_edge: self.tiles[tile].edges.start,
            geometry_bar: Shared::new(&mut b.geometry_bar),
        };
        parallel(&self.scratch, self.tiles[tile].centres.clone(), BLOCK, |block, t| {
            backward.block(&context, block, &mut t.0)
        });
    }

    fn gather(&mut self, graph: &Graph, layer: usize, tile: usize) {
        let b = &mut self.buffers;
        let (wd, np, arch) = (self.shapes.edge_messages(layer), self.shapes.np, self.arch);
        let edges = self.tiles[tile].edges.clone();
        let (message_sum, node_sum) = (Shared::new(&mut b.message_sum), Shared::new(&mut b.node_sum));
        let (messages, moments, geometry) = (&b.message_bar, &b.moment_bar, &b.geometry);
        let centres = &self.edge_centre[edges.clone()];
        parallel(&self.scratch, 0..graph.atoms(), 64, |block, _| {
            for j in block {
                let all = &graph.incoming[graph.first_incoming[j] as usize..graph.first_incoming[j + 1] as usize];
                let from = all.partition_point(|&e| (e as usize) < edges.start);
                let to = all.partition_point(|&e| (e as usize) < edges.end);
                if from == to {
                    continue;
                }
                // SAFETY: the rows of owner j.
                let (message_sum, node_sum) = unsafe { (message_sum.piece(j * wd, wd), node_sum.piece(j * np, np)) };
                arch.dispatch(Gather {
                    incoming: &all[from..to],
                    first: edges.start,
                    messages,
                    wd,
                    centres,
                    geometry,
                    moments,
                    np,
                    message_sum,
                    node_sum,
                });
            }
        });
    }

    fn finish(&mut self, graph: &Graph, layer: usize) {
        let b = &mut self.buffers;
        let (s, w, arch) = (&self.shapes, &self.layers[layer], self.arch);
        let (wc, wd, np) = (s.centre_projection(layer), s.edge_messages(layer), s.np);
        let node_bar = Shared::new(&mut b.node_bar);
        let (self_bar, centre_bar, message_sum, node_sum) = (&b.self_bar, &b.centre_bar, &b.message_sum, &b.node_sum);
        parallel(&self.scratch, 0..graph.atoms(), BLOCK, |block, t| {
            let (from, rows) = (block.start, block.len());
            // SAFETY: the rows of this block.
            let bar = unsafe { node_bar.piece(from * np, rows * np) };
            // Summed apart and joined once, as in `backward`.
            let sum = &mut t.0.n1[..rows * np];
            sum.copy_from_slice(&node_sum[from * np..(from + rows) * np]);
            w.node_self.adjoint.multiply(arch, rows, &self_bar[from * np..], np, sum, np, np, true);
            w.centre.adjoint.multiply(arch, rows, &centre_bar[from * wc..], wc, sum, np, np, true);
            w.neighbour.adjoint.multiply(arch, rows, &message_sum[from * wd..], wd, sum, np, np, true);
            let keep = w.keep[0].to_f64();
            for (x, y) in bar.iter_mut().zip(&*sum) {
                *x = T::from_f64(keep * x.to_f64() + y.to_f64());
            }
        });
    }

    fn assemble(&mut self, graph: &Graph) {
        let b = &mut self.buffers;
        let context = context!(self, b, graph);
        let gradient = Shared::new(&mut b.gradient);
        let (e_bar, a_bar, geometry_bar) = (&b.e_bar, &b.a_bar, &b.geometry_bar);
        parallel(&self.scratch, 0..graph.atoms(), BLOCK, |block, t| {
            for i in block {
                let edges = graph.edges_of(i);
                // SAFETY: the edges of this centre.
                let out = unsafe { gradient.piece(edges.start, edges.len()) };
                super::assemble::edge_gradients(&context, i, e_bar, a_bar, &geometry_bar[edges], &mut t.0, out);
            }
        });
    }
}

fn features<'a, T>(slots: &[(Shared<'a, T>, Shared<'a, T>)], place: Place) -> Features<'a, T>
where
    Shared<'a, T>: Copy,
{
    match place {
        Place::Initial => Features::Initial,
        Place::Slot(s) => Features::Stored(slots[s].0, slots[s].1),
    }
}
