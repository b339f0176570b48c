//! The CPU implementation of the engine's `Calculator`: neighbour list, executor, results in input order.

use super::assemble::{atomic_virial, forces, tree_sum, virial};
use super::clock::KernelTimes;
use super::execute::Executor;
use super::simd::Real;
use super::trial::Trial;
use super::{CpuError, CpuOptions};
use crate::given;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;
use weir_engine::backend::{Calculator, ComputeError, FrameParameters, Request, Results};
use weir_engine::exchange::GhostExchange;
use weir_engine::graph::{
    check_positions, summation_order, Cell, GivenList, Graph, GraphOptions, Images, NeighbourList,
};
use weir_engine::model::Model;
use weir_engine::plan::placement::{Plan, Problem};
use weir_engine::plan::profile::Profile;
use weir_engine::reference::ResolvedParameters;

/// What computes a graph: the fused executor in one of two precisions, or the plain path.
pub(super) trait Compute: Send {
    /// Energy, forces and virial of a graph, input order.
    fn compute(
        &mut self,
        model: &Model,
        graph: &Graph,
        wrapped: &dyn Fn() -> Vec<[f64; 3]>,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError>;
    /// Adds the bytes held in each tier to the largest seen so far.
    fn bytes(&self) -> Vec<(String, u64)>;
    /// How often the step was planned.
    fn plans(&self) -> usize;
    /// Says how many bytes the neighbour list holds.
    fn set_list_bytes(&mut self, bytes: u64);
    /// What the planner is asked for a graph; none on the plain path.
    fn problem(&mut self, graph: &Graph) -> Option<Problem>;
    /// The plan in force.
    fn plan(&self) -> Option<&Plan>;
    /// What the last step did, where a profile is taken.
    fn profile(&self) -> Option<Profile>;
    /// Time of the last step's kernels, where asked for.
    fn kernels(&self) -> Option<KernelTimes> {
        None
    }
    /// What steps have settled by themselves.
    fn settled(&self) -> &[String] {
        &[]
    }
    /// Makes plan and memory fit a graph.
    fn place(&mut self, graph: &Graph) -> Result<(), ComputeError>;
    /// Exchanges ghosts with other domains; false where there is no place for it.
    fn set_exchange(&mut self, _: Box<dyn GhostExchange>) -> bool {
        false
    }
}

impl<T: Real> Compute for Executor<T> {
    fn compute(
        &mut self,
        model: &Model,
        graph: &Graph,
        wrapped: &dyn Fn() -> Vec<[f64; 3]>,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        let parameters = resolve(model, graph.atoms(), parameters)?;
        let begun = self.begin(graph)?;
        self.forward(graph, &parameters)?;
        results.atomic_energy.resize(graph.atoms(), 0.0);
        let owned = self.exchange.owned(graph.atoms());
        for (e, &input) in self.buffers.energies.iter().zip(&graph.order) {
            results.atomic_energy[input as usize] = if (input as usize) < owned { *e } else { 0.0 };
        }
        results.energy = tree_sum(graph.atoms(), &|i| [results.atomic_energy[i]])[0];
        self.backward(graph, |_| 1.0)?;
        self.end(begun);
        let b = &mut self.buffers;
        let gradient = &b.gradient[..graph.edges()];
        forces(graph, gradient, &mut b.forces, &mut results.forces);
        results.virial = virial(graph, gradient, &mut b.virials);
        results.atomic_virial = None;
        if request.atomic_virial {
            let g = gradient.to_vec();
            let wrapped = wrapped();
            let mut p: [Vec<[f64; 3]>; 3] = Default::default();
            for l in 0..3 {
                self.forward(graph, &parameters)?;
                self.backward(graph, |i| wrapped[graph.order[i] as usize][l])?;
                p[l] = self.buffers.gradient[..graph.edges()].to_vec();
            }
            results.atomic_virial = Some(atomic_virial(graph, &wrapped, &g, &p));
        }
        Ok(())
    }

    fn bytes(&self) -> Vec<(String, u64)> {
        Executor::bytes(self).to_vec()
    }

    fn plans(&self) -> usize {
        self.plans
    }

    fn set_list_bytes(&mut self, bytes: u64) {
        self.list_bytes = bytes;
    }

    fn problem(&mut self, graph: &Graph) -> Option<Problem> {
        Some(self.question(graph).problem)
    }

    fn plan(&self) -> Option<&Plan> {
        (self.plans > 0).then(|| &self.layout().plan)
    }

    fn profile(&self) -> Option<Profile> {
        Executor::profile(self)
    }

    fn kernels(&self) -> Option<KernelTimes> {
        Executor::kernels(self)
    }

    fn settled(&self) -> &[String] {
        self.trial.as_ref().map_or(&[], Trial::told)
    }

    fn place(&mut self, graph: &Graph) -> Result<(), ComputeError> {
        Executor::place(self, graph)
    }

    fn set_exchange(&mut self, exchange: Box<dyn GhostExchange>) -> bool {
        Executor::set_exchange(self, exchange);
        true
    }
}

/// Checked and normalised parameters.
pub(super) fn resolve(
    model: &Model,
    atoms: usize,
    given: &FrameParameters,
) -> Result<ResolvedParameters, ComputeError> {
    ResolvedParameters::new(model, atoms, given).map_err(|e| ComputeError::Parameter(e.to_string()))
}

/// A model on a fixed set of atoms.
pub struct CpuCalculator {
    model: Arc<Model>,
    types: Vec<i32>,
    options: GraphOptions,
    skin: f64,
    pool: Arc<ThreadPool>,
    list: NeighbourList,
    /// Whether the list was made by somebody else.
    taken: bool,
    order: Vec<u32>,
    graph: Graph,
    compute: Box<dyn Compute>,
    peak: Vec<(String, u64)>,
    builds: usize,
    peak_at: Option<(usize, usize)>,
    /// Whether some of the atoms belong to another domain.
    ghosts: bool,
}

impl CpuCalculator {
    pub(super) fn new(
        model: Arc<Model>,
        types: &[i32],
        options: &CpuOptions,
        threads: usize,
        compute: Box<dyn Compute>,
    ) -> Result<Self, CpuError> {
        let known = model.types() as i32;
        if let Some(atom) = types.iter().position(|&t| t >= known) {
            return Err(CpuError::Type { atom, index: types[atom], types: model.types() });
        }
        if !(options.skin.is_finite() && options.skin >= 0.0) {
            return Err(CpuError::Skin(options.skin));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|k| format!("weir-{k}"))
            .build()
            .map_err(|e| CpuError::Threads { threads, cause: e.to_string() })?;
        // On a busy machine a thread may begin after the first steps; what its start allocates belongs here.
        pool.broadcast(|_| ());
        Ok(Self {
            options: GraphOptions::of(&model),
            model,
            types: types.to_vec(),
            skin: options.skin,
            pool: Arc::new(pool),
            list: NeighbourList::default(),
            taken: false,
            ghosts: false,
            order: Vec::new(),
            graph: Graph::default(),
            compute,
            peak: Vec::new(),
            builds: 0,
            peak_at: None,
        })
    }

    /// Makes this calculator one domain of several: the atoms behind those that it owns are ghosts. Their energies are zero, their rows of
    /// the forces are what this domain owes to their owners. Neighbours must be given ([`Calculator::take_list`]), with none for ghosts.
    ///
    /// # Errors
    /// [`CpuError::NoExchange`] for models that run on the plain path.
    pub fn set_exchange(&mut self, exchange: Box<dyn GhostExchange>) -> Result<(), CpuError> {
        let ghosts = exchange.owned(self.types.len()) < self.types.len();
        match self.compute.set_exchange(exchange) {
            true => {
                self.ghosts = ghosts;
                Ok(())
            }
            false => Err(CpuError::NoExchange),
        }
    }

    /// How often the skin list was built.
    pub fn list_builds(&self) -> usize {
        self.builds
    }

    /// How often buffers were laid out: once, again whenever a capacity overflowed, and for a trial of insides.
    pub fn plans(&self) -> usize {
        self.compute.plans()
    }

    /// What the planner is asked for a configuration; none for models on the plain path, which keep everything.
    ///
    /// # Errors
    /// As [`Calculator::compute`] for configurations that the neighbour search refuses.
    pub fn problem(
        &mut self,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
    ) -> Result<Option<Problem>, ComputeError> {
        let pool = self.pool.clone();
        pool.install(|| {
            self.find_neighbours(positions, cell)?;
            Ok(self.compute.problem(&self.graph))
        })
    }

    /// CPU time of the last step's kernels by class, where [`CpuOptions::kernels`] asks for it.
    pub fn kernels(&self) -> Option<KernelTimes> {
        self.compute.kernels()
    }

    /// The graph of the last step.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Remembers the largest bytes of each tier; looks only where the step was planned or the list built.
    fn note_peak(&mut self) {
        let stamp = (self.compute.plans(), self.builds);
        if self.peak_at == Some(stamp) {
            return;
        }
        self.peak_at = Some(stamp);
        for (name, bytes) in self.compute.bytes() {
            match self.peak.iter_mut().find(|(n, _)| *n == name) {
                Some((_, most)) => *most = bytes.max(*most),
                None => self.peak.push((name, bytes)),
            }
        }
    }

    /// Brings list and graph to these positions.
    fn find_neighbours(
        &mut self,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
    ) -> Result<Option<Cell>, ComputeError> {
        given::check_count(positions, self.types.len())?;
        if self.ghosts {
            // Ghosts would be searched for neighbours of their own.
            let why = "ghost atoms are exchanged between domains: neighbours must be given (take_list, compute_given)";
            return Err(ComputeError::Parameter(why.into()));
        }
        let prepared = cell.map(Cell::new).transpose()?;
        if self.order.len() != positions.len() {
            self.order = summation_order(positions, cell)?;
            self.list = NeighbourList::default();
        }
        if self.taken || self.list.is_stale(positions, cell) {
            let cutoff = self.options.edge_cutoff;
            self.list = NeighbourList::build(positions, cell, &self.types, &self.order, cutoff, self.skin)?;
            self.taken = false;
            self.builds += 1;
            self.compute.set_list_bytes(self.list.bytes());
        } else {
            check_positions(positions)?;
        }
        self.graph.fill(&self.list, positions, prepared.as_ref(), &self.types, &self.options)?;
        Ok(prepared)
    }

    fn take(
        &mut self,
        list: &GivenList,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
    ) -> Result<(), ComputeError> {
        self.order = given::take(list, positions, cell, &self.types, &mut self.list)?;
        self.taken = true;
        self.builds += 1;
        self.compute.set_list_bytes(self.list.bytes());
        Ok(())
    }

    fn step_given(
        &mut self,
        positions: &[[f64; 3]],
        images: Images,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        given::check(&self.list, self.taken, positions, self.types.len(), images)?;
        self.graph.fill(&self.list, positions, images, &self.types, &self.options)?;
        let unwrapped = || positions.to_vec();
        self.compute.compute(&self.model, &self.graph, &unwrapped, parameters, request, results)?;
        self.note_peak();
        check_finite(results)
    }

    fn step(
        &mut self,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        let prepared = self.find_neighbours(positions, cell)?;
        let wrapped = || match &prepared {
            Some(cell) => positions.iter().map(|&x| cell.wrap(x).0).collect(),
            None => positions.to_vec(),
        };
        self.compute.compute(&self.model, &self.graph, &wrapped, parameters, request, results)?;
        self.note_peak();
        check_finite(results)
    }
}

/// Whether results are numbers; the first that is none is told by its atom.
pub(crate) fn check_finite(results: &Results) -> Result<(), ComputeError> {
    for (atom, e) in results.atomic_energy.iter().enumerate() {
        if !e.is_finite() {
            return Err(ComputeError::NotFinite { quantity: "the energy", atom, value: *e });
        }
    }
    for (atom, f) in results.forces.iter().enumerate() {
        if let Some(v) = f.iter().find(|v| !v.is_finite()) {
            return Err(ComputeError::NotFinite { quantity: "the force", atom, value: *v });
        }
    }
    check_virials(results.atomic_virial.as_deref().unwrap_or_default())?;
    let sums = results.virial.as_flattened().iter().chain([&results.energy]);
    match sums.copied().find(|x| !x.is_finite()) {
        Some(value) => Err(ComputeError::NotFinite {
            quantity: "the sum over atoms (energy or virial), told as that",
            atom: 0,
            value,
        }),
        None => Ok(()),
    }
}

/// The same of atomic virials.
pub(crate) fn check_virials(virials: &[[f64; 9]]) -> Result<(), ComputeError> {
    for (atom, w) in virials.iter().enumerate() {
        if let Some(v) = w.iter().find(|v| !v.is_finite()) {
            return Err(ComputeError::NotFinite { quantity: "the virial", atom, value: *v });
        }
    }
    Ok(())
}

impl Calculator for CpuCalculator {
    fn compute(
        &mut self,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        let pool = self.pool.clone();
        pool.install(|| self.step(positions, cell, parameters, request, results))
    }

    fn take_list(
        &mut self,
        list: &GivenList,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
    ) -> Result<(), ComputeError> {
        let pool = self.pool.clone();
        pool.install(|| self.take(list, positions, cell))
    }

    fn compute_given(
        &mut self,
        positions: &[[f64; 3]],
        images: Images,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        let pool = self.pool.clone();
        pool.install(|| self.step_given(positions, images, parameters, request, results))
    }

    fn prepare(&mut self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<(), ComputeError> {
        let pool = self.pool.clone();
        pool.install(|| {
            self.find_neighbours(positions, cell)?;
            self.compute.place(&self.graph)
        })
    }

    fn plan(&self) -> Option<&Plan> {
        self.compute.plan()
    }

    fn profile(&self) -> Option<Profile> {
        self.compute.profile()
    }

    fn peak_bytes(&self) -> Vec<(String, u64)> {
        self.peak.clone()
    }

    fn settled(&self) -> &[String] {
        self.compute.settled()
    }

    fn name(&self) -> &'static str {
        "cpu"
    }

    fn order(&self) -> &[u32] {
        &self.order
    }

    fn set_order(&mut self, order: &[u32]) {
        self.order = order.to_vec();
        self.list = NeighbourList::default();
        self.taken = false;
    }
}
