//! Interprets the step program: one method an operation.

use super::assemble::edge_gradients;
use super::backward::BackwardLayer;
use super::buffers::{Buffers, Capacity};
use super::clock::{Class, Clock, KernelTimes};
use super::context::{round_geometry, Context, Embedding};
use super::fit::{FitNet, FitScratch, FIT_BLOCK};
use super::forecast::LEAST_TILE;
use super::forward::ForwardLayer;
use super::kernels_edge::Gather;
use super::layout::{Layout, Tile};
use super::memory::Memory;
use super::scratch::{Scratch, BLOCK};
use super::share::Shared;
use super::simd::{Activator, Real};
use super::slots::{angle_rows, edge_rows, features, targets};
use super::stored::{Beyond, Store};
use super::weights::LayerWeights;
use super::CpuOptions;
use crate::network::Shapes;
use pulp::Arch;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use weir_engine::backend::ComputeError;
use weir_engine::exchange::{Alone, GhostExchange, NodeRows};
use weir_engine::graph::Graph;
use weir_engine::model::Model;
use weir_engine::plan::placement::{Op, Place, State};
use weir_engine::plan::profile::{Profile, Span};
use weir_engine::reference::{initial_node_features, output_rule, ResolvedParameters};

/// Memory of one thread: layers, fitting net, rows of the fitting net's input.
type Worker<T> = (Scratch<T>, FitScratch, Vec<f64>);

/// The packed model with its buffers.
pub struct Executor<T> {
    arch: Arch,
    shapes: Shapes,
    model: Arc<Model>,
    layers: Vec<LayerWeights<T>>,
    pub(super) exchange: Box<dyn GhostExchange>,
    activator: Activator<T>,
    embedding: Embedding<T>,
    fit: FitNet,
    scratch: Vec<Mutex<Worker<T>>>,
    pub(super) buffers: Buffers<T>,
    weight_bytes: u64,
    /// Bytes of the neighbour list, which the step shares the first tier with.
    pub(super) list_bytes: u64,
    options: CpuOptions,
    smaller_tiles: bool,
    clock: Clock,
    store: Store,
    beyond: Beyond,
    layout: Layout,
    memory: Memory,
    tiles: Vec<Tile>,
    z: Vec<f64>,
    parameters: Option<ResolvedParameters>,
    spans: Vec<Span>,
    /// How often the step was planned.
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

/// Node features or their adjoints as the exchange sees them.
fn node_rows<'a, T: Real>(values: &'a mut [T], s: &Shapes, graph: &'a Graph) -> NodeRows<'a> {
    let values = T::numbers(&mut values[..graph.atoms() * s.np]);
    NodeRows { values, stride: s.np, width: s.n, order: &graph.order }
}

/// The surroundings of a phase. A macro, because it borrows single fields while the phase writes others.
macro_rules! context {
    ($executor:ident, $buffers:ident, $graph:ident) => {
        Context {
            clock: &$executor.clock,
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
    /// Packs a model. `options.tile_edges` has been chosen; with `smaller_tiles` it may be lowered where memory is short.
    pub fn new(model: Arc<Model>, threads: usize, options: CpuOptions, smaller_tiles: bool) -> Self {
        let arch = Arch::new();
        let shapes = Shapes::of(&model);
        let layers: Vec<LayerWeights<T>> =
            (0..shapes.layers).map(|l| LayerWeights::new(arch, &model, &shapes, l)).collect();
        Self {
            weight_bytes: layers.iter().map(LayerWeights::bytes).sum(),
            list_bytes: 0,
            arch,
            shapes,
            layers,
            exchange: Box::new(Alone),
            activator: Activator::new(model.descriptor.options.activation),
            embedding: Embedding::new(&model),
            fit: FitNet::new(arch, &model),
            scratch: (0..threads.max(1)).map(|_| Mutex::default()).collect(),
            buffers: Buffers::default(),
            store: options.store.of(std::mem::size_of::<T>()),
            beyond: Beyond::default(),
            clock: Clock::new(options.kernels),
            options,
            smaller_tiles,
            layout: Layout::default(),
            memory: Memory::default(),
            tiles: Vec::new(),
            z: Vec::new(),
            parameters: None,
            spans: Vec::new(),
            plans: 0,
            model,
        }
    }

    /// Bytes held in each tier, by name.
    pub fn bytes(&self) -> &[(String, u64)] {
        &self.layout.bytes
    }

    /// What the planner is asked for a graph.
    pub fn question(&mut self, graph: &Graph) -> Layout {
        let (shapes, options) = (&self.shapes, &self.options);
        let threads = self.scratch.len() as u64;
        let other = graph.bytes() + self.weight_bytes + self.list_bytes;
        let buffers = &mut self.buffers;
        let held = |c: &Capacity| {
            let scratch = threads * Scratch::<T>::bytes(shapes, c.centre_edges, c.centre_angle_edges) as u64;
            ([0, 1].map(|banks| buffers.bytes(shapes, c, banks)), scratch + other)
        };
        let number = std::mem::size_of::<T>() as u64;
        Layout::new(shapes, number, options.tile_edges, &options.terms(), graph, &self.layout, held, threads)
    }

    /// The plan in force.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A plan for the graph; where none fits, smaller tiles are tried, whose live states are smaller.
    fn planned(&mut self, graph: &Graph) -> Result<Layout, ComputeError> {
        let tile_edges = self.options.tile_edges;
        loop {
            let answer = self.question(graph).planned();
            let smaller = self.options.tile_edges / 2;
            if answer.is_ok() || !self.smaller_tiles || smaller < LEAST_TILE * self.scratch.len() {
                if answer.is_err() {
                    self.options.tile_edges = tile_edges;
                }
                return answer;
            }
            self.options.tile_edges = smaller;
            self.layout = Layout::default();
        }
    }

    /// Makes the plan fit the graph. It is made again only when a tile overflows its capacities; the step then runs from unchanged
    /// positions, so nothing of the overflow is seen.
    pub fn place(&mut self, graph: &Graph) -> Result<(), ComputeError> {
        if !self.layout.holds(graph) {
            let layout = self.planned(graph)?;
            // A plan is in force once its memory is there: until then none is, so that a failure leaves nothing half made.
            self.layout = Layout::default();
            let (shapes, options, program) = (&self.shapes, &self.options, &layout.plan.program);
            let kinds: Vec<_> = options.tiers.iter().map(|t| t.kind.clone()).collect();
            let poison = options.poison;
            self.memory = Memory::new(&kinds, program, std::mem::take(&mut self.memory), poison, options.profile)?;
            if options.profile.is_some() {
                self.spans.reserve(program.forward.len() + program.backward.len());
            }
            self.buffers.reserve(shapes, &layout.capacity, program.banks)?;
            for s in &self.scratch {
                let mut s = s.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                s.0.reserve(shapes, layout.capacity.centre_edges, layout.capacity.centre_angle_edges);
                s.2.resize(FIT_BLOCK * self.fit.inputs(), 0.0);
            }
            self.layout = layout;
            self.plans += 1;
        }
        self.tiles.clear();
        self.tiles.extend(self.layout.tiles.iter().map(|centres| Tile::new(graph, centres.clone())));
        for i in 0..graph.atoms() {
            self.buffers.edge_centre[graph.edges_of(i)].fill(i as u32);
        }
        Ok(())
    }

    /// Forward pass: node features of every layer, atomic energies and their gradients.
    ///
    /// # Errors
    /// [`ComputeError::Memory`], and what a copy between tiers met.
    pub fn forward(&mut self, graph: &Graph, parameters: &ResolvedParameters) -> Result<(), ComputeError> {
        self.place(graph)?;
        if self.parameters.as_ref() != Some(parameters) {
            self.z = initial_node_features(&self.model, parameters);
            self.parameters = Some(parameters.clone());
        }
        self.clock.reset();
        self.memory.begin();
        self.spans.clear();
        for at in 0..self.layout.plan.program.forward.len() {
            let op = self.layout.plan.program.forward[at];
            // The forward part projects every layer once, before anything else reads its input.
            if let Op::Project { layer: layer @ 1.. } = op {
                let rows = node_rows(&mut self.buffers.nodes[layer], &self.shapes, graph);
                self.exchange.features(layer, rows)?;
            }
            self.timed(op, graph)?;
        }
        Ok(())
    }

    /// Backward pass, once after each forward pass: gradients of `sum_i weight_i E_i` with respect to all edge vectors, in
    /// `buffers.gradient`. It consumes the kept states, whose bytes it uses again.
    ///
    /// # Errors
    /// What a copy between tiers met.
    pub fn backward(&mut self, graph: &Graph, weight: impl Fn(usize) -> f64) -> Result<(), ComputeError> {
        let (np, n) = (self.shapes.np, self.shapes.n);
        let owned = self.exchange.owned(graph.atoms());
        for i in 0..graph.atoms() {
            let w = if (graph.order[i] as usize) < owned { weight(i) } else { 0.0 };
            let row = &mut self.buffers.node_bar[i * np..(i + 1) * np];
            row.fill(T::default());
            for (x, g) in row.iter_mut().zip(&self.buffers.seed[i * n..(i + 1) * n]) {
                *x = T::from_f64(w * g);
            }
        }
        self.buffers.geometry_bar[..graph.edges()].fill([0.0; 5]);
        for at in 0..self.layout.plan.program.backward.len() {
            let op = self.layout.plan.program.backward[at];
            self.timed(op, graph)?;
            if let Op::Finish { layer: layer @ 1.. } = op {
                let rows = node_rows(&mut self.buffers.node_bar, &self.shapes, graph);
                self.exchange.adjoints(layer, rows)?;
            }
        }
        Ok(())
    }

    /// Time of the last step's kernels, where asked for.
    pub fn kernels(&self) -> Option<KernelTimes> {
        self.clock.read()
    }

    /// Operations and copies of the last step, where a profile is taken.
    pub fn profile(&self) -> Option<Profile> {
        self.options.profile?;
        let mut copies = Vec::new();
        self.memory.records(&mut copies);
        Some(Profile { spans: self.spans.clone(), copies })
    }

    fn timed(&mut self, op: Op, graph: &Graph) -> Result<(), ComputeError> {
        let Some(zero) = self.options.profile else { return self.run(op, graph) };
        let begin = zero.elapsed().as_secs_f64();
        self.run(op, graph)?;
        self.spans.push(Span { op, begin, end: zero.elapsed().as_secs_f64() });
        Ok(())
    }

    fn run(&mut self, op: Op, graph: &Graph) -> Result<(), ComputeError> {
        if self.options.poison {
            self.check_inputs(&op)?;
        }
        match op {
            Op::Geometry => self.geometry(graph),
            Op::Project { layer } => self.project(graph, layer),
            Op::Forward { layer, tile, input, output } => self.layer(graph, layer, tile, input, output, true)?,
            Op::Rebuild { layer, tile, input, output } => self.layer(graph, layer, tile, input, output, false)?,
            Op::Fit => self.fitting(graph),
            Op::Clear { layer } => {
                let atoms = graph.atoms();
                self.buffers.message_sum[..atoms * self.shapes.edge_messages(layer)].fill(T::default());
                self.buffers.node_sum[..atoms * self.shapes.np].fill(T::default());
            }
            Op::Backward { layer, tile, input, adjoint } => self.layer_backward(graph, layer, tile, input, adjoint),
            Op::Gather { layer, tile } => self.gather(graph, layer, tile),
            Op::Finish { layer } => self.finish(graph, layer),
            Op::Assemble { tile, adjoint } => self.assemble(graph, tile, adjoint),
            Op::Save { from, to, ticket } | Op::Load { from, to, ticket } => self.memory.copy(from, to, ticket),
            Op::Wait { ticket } => self.memory.wait(ticket)?,
        }
        if self.options.poison {
            self.memory.done();
        }
        Ok(())
    }

    /// Poison mode: what the operation reads was written.
    fn check_inputs(&self, op: &Op) -> Result<(), ComputeError> {
        let number = std::mem::size_of::<T>();
        let (state, tile, number) = match *op {
            Op::Forward { tile, input, .. } | Op::Rebuild { tile, input, .. } | Op::Backward { tile, input, .. } => {
                (input, tile, self.store.bytes(number))
            }
            Op::Assemble { tile, adjoint } => (adjoint, tile, number),
            _ => return Ok(()),
        };
        let (tile, s) = (&self.tiles[tile], &self.shapes);
        let rows = [(state.edges, tile.edges.len() * s.ep * number), (state.angles, tile.angles.len() * s.ap * number)];
        self.memory.check(rows.into_iter().filter_map(|(place, bytes)| match place {
            Place::Slot(id) => Some((id, bytes, number)),
            Place::None | Place::Initial => None,
        }))
    }

    fn geometry(&mut self, graph: &Graph) {
        let edges = graph.edges();
        let b = &mut self.buffers;
        round_geometry(&self.model, graph, &mut b.geometry[..edges], &mut b.exact[..edges]);
        let (n, np, f) = (self.shapes.n, self.shapes.np, self.activator.kind);
        for (row, &t) in self.buffers.nodes[0].chunks_exact_mut(np).zip(&graph.types) {
            let t = t.max(0) as usize;
            for (x, &z) in row.iter_mut().zip(&self.z[t * n..(t + 1) * n]) {
                *x = T::from_f64(f.evaluate(z).0);
            }
        }
    }

    fn project(&mut self, graph: &Graph, layer: usize) {
        let (s, w, arch, clock) = (&self.shapes, &self.layers[layer], self.arch, &self.clock);
        let (wc, wd) = (s.centre_projection(layer), s.edge_messages(layer));
        let nodes = &self.buffers.nodes[layer];
        let banks = self.layout.plan.program.banks;
        let (centre, neighbour) = &mut self.buffers.banks[layer % banks];
        let (centre, neighbour) = (Shared::new(centre), Shared::new(neighbour));
        parallel(&self.scratch, 0..graph.atoms(), 2 * BLOCK, |block, _| {
            let rows = block.len();
            // SAFETY: the rows of this block.
            let (c, n) =
                unsafe { (centre.piece(block.start * wc, rows * wc), neighbour.piece(block.start * wd, rows * wd)) };
            for row in c.chunks_exact_mut(wc) {
                row.copy_from_slice(&w.centre_bias);
            }
            let a = &nodes[block.start * s.np..];
            clock.product(rows, s.np, wc, || w.centre.forward.multiply(arch, rows, a, s.np, c, wc, wc, true));
            clock.product(rows, s.np, wd, || w.neighbour.forward.multiply(arch, rows, a, s.np, n, wd, wd, false));
        });
    }

    fn layer(
        &mut self,
        graph: &Graph,
        layer: usize,
        tile: usize,
        input: State,
        output: State,
        with_nodes: bool,
    ) -> Result<(), ComputeError> {
        let (s, b) = (&self.shapes, &mut self.buffers);
        let tile = &self.tiles[tile];
        let (before, after) = b.nodes.split_at_mut(layer + 1);
        let nodes_out = with_nodes.then(|| Shared::new(&mut after[0]));
        let context = context!(self, b, graph);
        let (centre, neighbour) = &b.banks[layer % self.layout.plan.program.banks];
        let [edges_out, angles_out] = targets(&self.memory, s, tile, output, self.store);
        let forward = ForwardLayer {
            layer,
            weights: &self.layers[layer],
            nodes: &before[layer],
            centre,
            neighbour,
            input: features(&self.memory, s, tile, input, self.store),
            edges_out,
            angles_out,
            beyond: &self.beyond,
            nodes_out,
        };
        let angles_only = !with_nodes && output.edges == Place::None;
        parallel(&self.scratch, tile.centres.clone(), BLOCK, |block, t| match angles_only {
            true => forward.angles_only(&context, block, &mut t.0),
            false => forward.block(&context, block, &mut t.0),
        });
        match self.beyond.take() {
            Some(value) => Err(ComputeError::Stored { layer: layer + 1, value, store: self.store.to_string() }),
            None => Ok(()),
        }
    }

    fn fitting(&mut self, graph: &Graph) {
        let (b, clock) = (&mut self.buffers, &self.clock);
        let (s, model, fit) = (&self.shapes, &self.model, &self.fit);
        let nodes = &b.nodes[s.layers];
        let (energies, seed) = (Shared::new(&mut b.energies), Shared::new(&mut b.seed));
        let (parameters, z) = (self.parameters.as_ref().expect("forward sets them"), &self.z);
        parallel(&self.scratch, 0..graph.atoms(), FIT_BLOCK, |block, (_, t, rows)| {
            let (width, count) = (fit.inputs(), block.len());
            for (k, i) in block.clone().enumerate() {
                let t = graph.types[i].max(0) as usize;
                let node = |c: usize| nodes[i * s.np + c].to_f64();
                let row = &mut rows[k * width..(k + 1) * width];
                fit.fill_input(model, parameters, graph.order[i] as usize, node, &z[t * s.n..(t + 1) * s.n], row);
            }
            // SAFETY: the rows of this block.
            let (e, seed) = unsafe { (energies.piece(block.start, count), seed.piece(block.start * s.n, count * s.n)) };
            fit.evaluate(count, rows, e, t, clock);
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

    fn layer_backward(&mut self, graph: &Graph, layer: usize, tile: usize, input: State, adjoint: State) {
        let (s, b) = (&self.shapes, &mut self.buffers);
        let tile = &self.tiles[tile];
        let context = context!(self, b, graph);
        let (centre, neighbour) = &b.banks[layer % self.layout.plan.program.banks];
        let backward = BackwardLayer {
            layer,
            weights: &self.layers[layer],
            nodes: &b.nodes[layer],
            centre,
            neighbour,
            input: features(&self.memory, s, tile, input, self.store),
            node_bar: &b.node_bar,
            e_bar: edge_rows(&self.memory, s, tile, adjoint.edges).expect("edges have adjoints in every layer"),
            a_bar: angle_rows(&self.memory, s, tile, adjoint.angles),
            self_bar: Shared::new(&mut b.self_bar),
            centre_bar: Shared::new(&mut b.centre_bar),
            moment_bar: Shared::new(&mut b.moment_bar),
            message_bar: Shared::new(&mut b.message_bar),
            first_edge: tile.edges.start,
            geometry_bar: Shared::new(&mut b.geometry_bar),
        };
        parallel(&self.scratch, tile.centres.clone(), BLOCK, |block, t| backward.block(&context, block, &mut t.0));
    }

    fn gather(&mut self, graph: &Graph, layer: usize, tile: usize) {
        let (b, clock) = (&mut self.buffers, &self.clock);
        let (wd, np, arch) = (self.shapes.edge_messages(layer), self.shapes.np, self.arch);
        let edges = self.tiles[tile].edges.clone();
        let (message_sum, node_sum) = (Shared::new(&mut b.message_sum), Shared::new(&mut b.node_sum));
        let (messages, moments, geometry) = (&b.message_bar, &b.moment_bar, &b.geometry);
        let centres = &b.edge_centre[edges.clone()];
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
                let gather = Gather {
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
                };
                clock.time(Class::Reduce, || arch.dispatch(gather));
            }
        });
    }

    fn finish(&mut self, graph: &Graph, layer: usize) {
        let (b, clock) = (&mut self.buffers, &self.clock);
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
            for (matrix, bar, width) in [
                (&w.node_self.adjoint, &self_bar[from * np..], np),
                (&w.centre.adjoint, &centre_bar[from * wc..], wc),
                (&w.neighbour.adjoint, &message_sum[from * wd..], wd),
            ] {
                clock.product(rows, width, np, || matrix.multiply(arch, rows, bar, width, sum, np, np, true));
            }
            let keep = w.keep[0].to_f64();
            for (x, y) in bar.iter_mut().zip(&*sum) {
                *x = T::from_f64(keep * x.to_f64() + y.to_f64());
            }
        });
    }

    fn assemble(&mut self, graph: &Graph, tile: usize, adjoint: State) {
        let (s, b) = (&self.shapes, &mut self.buffers);
        let tile = &self.tiles[tile];
        let context = context!(self, b, graph);
        let gradient = Shared::new(&mut b.gradient);
        let e_bar = edge_rows(&self.memory, s, tile, adjoint.edges).expect("edges have adjoints in every layer");
        let a_bar = angle_rows(&self.memory, s, tile, adjoint.angles);
        let geometry_bar = &b.geometry_bar;
        parallel(&self.scratch, tile.centres.clone(), BLOCK, |block, t| {
            for i in block {
                let edges = graph.edges_of(i);
                // SAFETY: the edges of this centre.
                let out = unsafe { gradient.piece(edges.start, edges.len()) };
                edge_gradients(&context, i, &e_bar, a_bar.as_ref(), &geometry_bar[edges], &mut t.0, out);
            }
        });
    }
}
