//! Interprets the step program: one method an operation.

mod stages;

use super::buffers::{Buffers, Capacity};
use super::clock::{Clock, KernelTimes};
use super::context::Embedding;
use super::fit::{FitNet, FitScratch, FIT_BLOCK};
use super::forecast::LEAST_TILE;
use super::layout::{with_insides, Layout, Tile};
use super::memory::Memory;
use super::scratch::Scratch;
use super::simd::{Activator, Real};
use super::stored::{Beyond, Store};
use super::trial::{Change, Trial};
use super::weights::LayerWeights;
use super::CpuOptions;
use crate::network::Shapes;
use pulp::Arch;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use weir_engine::backend::ComputeError;
use weir_engine::exchange::{Alone, GhostExchange, NodeRows};
use weir_engine::graph::Graph;
use weir_engine::model::Model;
use weir_engine::plan::placement::{Inside, Op, Place, Problem, Rates, INSIDE};
use weir_engine::plan::profile::{Profile, Span};
use weir_engine::reference::{initial_node_features, ResolvedParameters};

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
    /// Node features entering layer 0 by type, types x Dn.
    first: Vec<T>,
    parameters: Option<ResolvedParameters>,
    spans: Vec<Span>,
    /// How often the step was planned.
    pub plans: usize,
    /// Whether insides are worth their memory, where that is to be found out.
    pub(super) trial: Option<Trial>,
    /// Bytes that insides of edges and angles may have beyond the rules.
    room: Option<u64>,
}

/// Node features or their adjoints as the exchange sees them.
fn node_rows<'a, T: Real>(values: &'a mut [T], s: &Shapes, graph: &'a Graph) -> NodeRows<'a> {
    let values = T::numbers(&mut values[..graph.atoms() * s.np]);
    NodeRows { values, stride: s.np, width: s.n, order: &graph.order }
}

impl<T: Real> Executor<T> {
    /// Packs a model. `options.tile_edges` has been chosen; with `smaller_tiles` it may be lowered where memory is short.
    pub fn new(model: Arc<Model>, arch: Arch, threads: usize, options: CpuOptions, smaller_tiles: bool) -> Self {
        let shapes = Shapes::of(&model);
        // What rates say of insides was measured.
        let unknown = options.inside == Inside::Auto && options.rates.as_ref().is_none_or(|r| r.inside.is_empty());
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
            room: None,
            trial: options.spare.clone().filter(|_| unknown).map(Trial::new),
            options,
            smaller_tiles,
            layout: Layout::default(),
            memory: Memory::default(),
            tiles: Vec::new(),
            z: Vec::new(),
            first: Vec::new(),
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
        let terms = options.terms();
        let layout = Layout::new(shapes, number, options.tile_edges, &terms, graph, &self.layout, held, threads);
        Layout { problem: self.asking_for_insides(layout.problem), ..layout }
    }

    /// The question with what the rules, or a trial, want of insides.
    fn asking_for_insides(&self, problem: Problem) -> Problem {
        let problem = match self.room {
            None => problem,
            room => Problem { inside: Inside::Keep, inside_most: room, ..problem },
        };
        let (number, threads) = (std::mem::size_of::<T>() as u64, self.scratch.len() as u64);
        with_insides(problem, &self.shapes, number, threads, self.options.terms().simd)
    }

    /// The plan in force but for insides, which may take as much as `room` says now: states stay where they are.
    fn planned_again(&self) -> Result<Layout, ComputeError> {
        let Layout { tiles, sizes, capacity, problem, .. } = &self.layout;
        let (tiles, sizes, capacity, problem) = (tiles.clone(), sizes.clone(), *capacity, problem.clone());
        let rates = Rates { inside: Vec::new(), ..problem.rates };
        let bare = Problem { rates, inside: self.options.inside, inside_most: None, ..problem };
        Layout { tiles, sizes, capacity, problem: self.asking_for_insides(bare), ..Layout::default() }.planned()
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

    /// Takes the memory of a plan and puts it in force.
    fn install(&mut self, layout: Layout) -> Result<(), ComputeError> {
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
        if let Some(trial) = &mut self.trial {
            trial.planned(self.layout.inside_bytes());
        }
        Ok(())
    }

    /// Plans for a graph and takes the memory. What is kept for speed alone gives way where that is not there.
    fn lay_out(&mut self, graph: &Graph) -> Result<(), ComputeError> {
        if self.trial.as_ref().is_some_and(Trial::is_lost) {
            self.withdraw(None);
        }
        let layout = self.planned(graph)?;
        let (nothing, installed) = (layout.inside_bytes() == 0, self.install(layout));
        match installed {
            Err(error) if self.room.is_some() => {
                self.withdraw(Some(format!("their memory is needed ({error})")));
                let layout = self.planned(graph)?;
                self.install(layout)
            }
            Ok(()) if self.room.is_some() && nothing => {
                self.withdraw(Some("there is no room for them beside states any more".into()));
                Ok(())
            }
            other => other,
        }
    }

    /// Makes the plan fit the graph. It is made again only when a tile overflows its capacities; the step then runs from unchanged
    /// positions, so nothing of the overflow is seen.
    pub fn place(&mut self, graph: &Graph) -> Result<(), ComputeError> {
        if !self.layout.holds(graph) {
            self.lay_out(graph)?;
        }
        self.tiles.clear();
        self.tiles.extend(self.layout.tiles.iter().map(|centres| Tile::new(graph, centres.clone())));
        self.number_centres(graph);
        Ok(())
    }

    /// Begins a step: [`Executor::place`], and what a trial of insides wants. Gives the time where a trial may want it.
    pub(super) fn begin(&mut self, graph: &Graph) -> Result<Option<Instant>, ComputeError> {
        self.place(graph)?;
        let change = match &self.trial {
            Some(trial) if !self.layout.tiles.is_empty() => trial.change(),
            _ => return Ok(None),
        };
        match change {
            Change::Nothing => {}
            Change::Give(bytes) => self.give(bytes)?,
            Change::TakeBack => {
                self.room = None;
                // It could be planned before: where it cannot now, the next step tries again.
                if let Ok(layout) = self.planned_again() {
                    self.withdraw(None);
                    self.install(layout)?;
                }
            }
        }
        self.memory.use_parts(self.trial.as_ref().map_or(INSIDE.len(), Trial::parts));
        Ok(Some(Instant::now()))
    }

    /// Gives insides so many bytes for a trial, or ends it: the run goes on as before where there is no room, and where
    /// memory cannot be had.
    fn give(&mut self, bytes: u64) -> Result<(), ComputeError> {
        self.room = Some(bytes);
        let before = self.layout.clone();
        match self.planned_again() {
            Ok(layout) if layout.inside_bytes() > 0 => match self.install(layout) {
                Ok(()) => self.trial.iter_mut().for_each(Trial::begin),
                Err(error) => {
                    self.withdraw(Some(error.to_string()));
                    return self.install(before);
                }
            },
            _ => self.withdraw(None),
        }
        Ok(())
    }

    /// Insides have no more than by the rules from now on.
    fn withdraw(&mut self, why: Option<String>) {
        self.room = None;
        if let Some(trial) = &mut self.trial {
            trial.withdrawn(why);
        }
    }

    /// Ends a step.
    pub(super) fn end(&mut self, begun: Option<Instant>) {
        if let (Some(trial), Some(begun)) = (&mut self.trial, begun) {
            trial.took(begun.elapsed().as_secs_f64());
        }
    }

    /// Exchanges ghosts with other domains from now on. Steps would be timed with waiting for them: nothing is tried.
    pub(super) fn set_exchange(&mut self, exchange: Box<dyn GhostExchange>) {
        self.exchange = exchange;
        (self.trial, self.room) = (None, None);
        self.memory.use_parts(INSIDE.len());
    }

    /// Forward pass of a graph that was placed: node features of every layer, atomic energies and their gradients.
    ///
    /// # Errors
    /// [`ComputeError::Memory`], and what a copy between tiers met.
    pub fn forward(&mut self, graph: &Graph, parameters: &ResolvedParameters) -> Result<(), ComputeError> {
        if self.parameters.as_ref() != Some(parameters) {
            self.z = initial_node_features(&self.model, parameters);
            let f = self.activator.kind;
            self.first = self.z.iter().map(|&z| T::from_f64(f.evaluate(z).0)).collect();
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
    pub fn backward(&mut self, graph: &Graph, weight: impl Fn(usize) -> f64 + Sync) -> Result<(), ComputeError> {
        self.seed_adjoints(graph, weight);
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
            Op::Clear { layer } => self.clear(graph, layer),
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
}
