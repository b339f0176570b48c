//! The GPU implementation of the engine's `Calculator`.

mod lists;

use super::array::Array;
use super::driver::Driver;
use super::execute::{Executor, Input};
use super::launch::KernelUse;
use super::neighbours::Flags;
use super::upload::Atoms;
use super::{GpuError, GpuOptions};
use crate::cpu::assemble::atomic_virial;
use crate::cpu::calculator::{check_finite, check_virials};
use crate::cpu::default_threads;
use crate::given;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::borrow::Cow;
use std::sync::Arc;
use weir_engine::backend::{Calculator, ComputeError, DeviceMemory, FrameParameters, Request, Results, Totals};
use weir_engine::graph::{check_positions, Cell, GivenList, Graph, GraphOptions, Images, NeighbourList, Pair, Reach};
use weir_engine::model::Model;
use weir_engine::plan::placement::{Plan, Problem};
use weir_engine::plan::profile::Profile;
use weir_engine::reference::ResolvedParameters;

/// Told once.
const WIDENED: &str = "a step was beyond the range of products of halves (f16x3) and was computed again by three passes of TF32, as with WEIR_PRECISION=tf32x3, which is faster where many are";
/// Largest coordinate, A, that may be a factor of adjoints in products of halves: what it weighs is as much coarser.
const FARTHEST: f64 = 512.0;

/// Where the neighbours of a step come from.
#[derive(Clone, Copy)]
enum Neighbours<'a> {
    /// A list of ours; rows of the cell.
    Own(Option<&'a Cell>),
    /// The list that was given; what its image numbers mean.
    Given(Images<'a>),
}

impl<'a> Neighbours<'a> {
    fn images(self) -> Images<'a> {
        match self {
            Neighbours::Own(cell) => Images::from(cell),
            Neighbours::Given(images) => images,
        }
    }

    /// Rows of the cell that a list of ours is for.
    fn rows(self) -> Option<[[f64; 3]; 3]> {
        match self {
            Neighbours::Own(cell) => cell.map(|c| c.rows),
            Neighbours::Given(_) => None,
        }
    }
}

/// A model on a fixed set of atoms on a device.
pub struct GpuCalculator {
    driver: Arc<dyn Driver>,
    model: Arc<Model>,
    types: Vec<i32>,
    graph_options: GraphOptions,
    skin: f64,
    pool: Arc<ThreadPool>,
    executor: Executor,
    /// A list of the host: somebody else's (`taken`), which the device has too; or one of ours, of which the device may have a younger one.
    list: NeighbourList,
    taken: bool,
    /// What the device's list was built for, where it is one of ours and in force.
    reach: Option<Reach>,
    order: Vec<u32>,
    /// As `fill` made it last, for those who asked.
    graph: Graph,
    peak: Vec<(String, u64)>,
    builds: usize,
    found: usize,
    graphs: usize,
    widened: u64,
}

impl GpuCalculator {
    pub(super) fn new(
        driver: Arc<dyn Driver>,
        model: Arc<Model>,
        types: &[i32],
        options: GpuOptions,
    ) -> Result<Self, GpuError> {
        if let Some(atom) = types.iter().position(|&t| t >= model.types() as i32) {
            return Err(GpuError::Type { atom, index: types[atom], types: model.types() });
        }
        if !(options.skin.is_finite() && options.skin >= 0.0) {
            return Err(GpuError::Skin(options.skin));
        }
        let threads = if options.threads == 0 { default_threads() } else { options.threads };
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|k| format!("weir-{k}"))
            .build()
            .map_err(|e| GpuError::Threads { threads, cause: e.to_string() })?;
        Ok(Self {
            graph_options: GraphOptions::of(&model),
            types: types.to_vec(),
            skin: options.skin,
            pool: Arc::new(pool),
            executor: Executor::new(driver.clone(), model.clone(), options)?,
            driver,
            model,
            list: NeighbourList::default(),
            taken: false,
            reach: None,
            order: Vec::new(),
            graph: Graph::default(),
            peak: Vec::new(),
            builds: 0,
            found: 0,
            graphs: 0,
            widened: 0,
        })
    }

    /// How often the step was planned.
    pub fn plans(&self) -> usize {
        self.executor.plans
    }

    /// How often the host made a graph: for plans, questions and atomic virials, after faults. A new list alone needs none.
    pub fn host_graphs(&self) -> usize {
        self.graphs
    }

    /// How often the device got a skin list.
    pub fn list_builds(&self) -> usize {
        self.builds
    }

    /// How many of those it found by itself: all but those of clients, those made while no plan was in force, those for which there was no room,
    /// those in cells flatter than 0.2 A and those of isolated systems scattered over empty space.
    pub fn lists_found(&self) -> usize {
        self.found
    }

    /// The skin list that the device has: neighbours of every sorted atom, in no order.
    ///
    /// # Errors
    /// The driver's.
    pub fn device_pairs(&self) -> Result<Vec<Vec<Pair>>, ComputeError> {
        self.executor.read_list()
    }

    /// Kernel launches of the last step.
    pub fn launches(&self) -> u64 {
        self.executor.launches
    }

    /// How much the last step used each kernel, in the order of the text. Needs [`GpuOptions::kernels`].
    ///
    /// # Errors
    /// The driver's.
    pub fn kernels(&self) -> Result<Vec<KernelUse>, ComputeError> {
        self.executor.uses()
    }

    /// What did not go as it should while kernels were looked for, though they were found.
    pub fn remarks(&self) -> &[String] {
        &self.executor.remarks
    }

    /// How often the step was recorded, and how often a recorded one was run.
    pub fn recordings(&self) -> (u64, u64) {
        (self.executor.recordings, self.executor.replays)
    }

    /// What the planner is asked for a configuration.
    ///
    /// # Errors
    /// What the neighbour search refuses.
    pub fn problem(&mut self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<Problem, ComputeError> {
        self.prepare(positions, cell)?;
        let prepared = cell.map(Cell::new).transpose()?;
        self.fill(positions, Neighbours::Own(prepared.as_ref()))?;
        Ok(self.executor.question(&self.graph).problem)
    }

    /// Positions of a step where the host needs them.
    fn host_positions<'a>(&self, input: Input<'a>) -> Result<Cow<'a, [[f64; 3]]>, ComputeError> {
        match input {
            Input::Host(positions) => Ok(Cow::Borrowed(positions)),
            Input::Device { positions, .. } => {
                let n = self.types.len();
                let at = Array { at: positions, bytes: 24 * n as u64 };
                Ok(Cow::Owned(self.executor.read::<[f64; 3]>(at, n)?))
            }
        }
    }

    /// A step on the device, again from the same positions where list or plan turn out too old.
    fn step(
        &mut self,
        input: Input,
        neighbours: Neighbours,
        parameters: &ResolvedParameters,
        seeds: Option<&[f64]>,
    ) -> Result<(), ComputeError> {
        let images = neighbours.images();
        // A list of these very positions and a plan for their counts: the third try cannot need a fourth.
        for _ in 0..3 {
            // Positions on the device are looked at by the device, which finds the same faults.
            if matches!(input, Input::Host(_)) || !self.is_ready(neighbours) {
                let positions = self.host_positions(input)?;
                self.make_ready(input, &positions, neighbours)?;
            }
            let atoms = Atoms { order: &self.order, types: &self.types };
            let drift = self.drift(neighbours).expect("a list in force, which was just made where there was none");
            let flags = self.executor.step(atoms, input, images, &drift, parameters, seeds)?;
            if flags == Flags::default() {
                return Ok(());
            }
            let positions = self.host_positions(input)?;
            check_positions(&positions)?;
            match flags.moved > 0 && !self.taken {
                true => self.renew(input, &positions, neighbours)?,
                // Errors are worded by the host's filter; an overflow needs its counts.
                false => self.plan_for(&positions, neighbours)?,
            }
        }
        Err(ComputeError::Memory("broken plan: a step overflows the plan made for it".into()))
    }

    /// A step with results on the host. Atomic virials refer to `wrapped`.
    fn step_on_host(
        &mut self,
        positions: &[[f64; 3]],
        neighbours: Neighbours,
        wrapped: &dyn Fn() -> Vec<[f64; 3]>,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        let resolved = ResolvedParameters::new(&self.model, positions.len(), parameters)
            .map_err(|e| ComputeError::Parameter(e.to_string()))?;
        results.atomic_virial = None;
        if positions.is_empty() && self.types.is_empty() {
            *results = Results { atomic_virial: request.atomic_virial.then(Vec::new), ..Results::default() };
            return Ok(());
        }
        let input = Input::Host(positions);
        self.executor.widen(false)?;
        let done = self.step_into(input, neighbours, &resolved, results);
        match self.widens(&done)? {
            true => self.step_into(input, neighbours, &resolved, results)?,
            false => done?,
        }
        if request.atomic_virial {
            let wrapped = wrapped();
            let farthest = self.weights(&wrapped).flatten().fold(0.0f64, |most, x| most.max(x.abs()));
            if self.executor.may_widen() && farthest > FARTHEST {
                self.executor.widen(true)?;
                self.step(input, neighbours, &resolved, None)?;
            }
            let done = self.atomic_virials(positions, neighbours, &wrapped, &resolved);
            // Whether anybody asks for them leaves no trace in the rest. Gradients of the same products stand against each other in their sums.
            results.atomic_virial = Some(match self.widens(&done)? {
                true => {
                    self.step(input, neighbours, &resolved, None)?;
                    self.atomic_virials(positions, neighbours, &wrapped, &resolved)?
                }
                false => done?,
            });
        }
        self.note_peak();
        Ok(())
    }

    /// Energy, forces and virial by the products in force.
    fn step_into(
        &mut self,
        input: Input,
        neighbours: Neighbours,
        parameters: &ResolvedParameters,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        self.step(input, neighbours, parameters, None)?;
        self.read(results);
        check_finite(results)
    }

    /// Atomic virials by the products in force, after a step by them.
    fn atomic_virials(
        &mut self,
        positions: &[[f64; 3]],
        neighbours: Neighbours,
        wrapped: &[[f64; 3]],
        parameters: &ResolvedParameters,
    ) -> Result<Vec<[f64; 9]>, ComputeError> {
        self.fill(positions, neighbours)?;
        let g = self.gradient()?;
        let mut p: [Vec<[f64; 3]>; 3] = Default::default();
        for (l, p) in p.iter_mut().enumerate() {
            let weights: Vec<f64> = self.weights(wrapped).map(|x| x[l]).collect();
            let mut seeds: Vec<f64> = self.graph.order.iter().map(|&i| weights[i as usize]).collect();
            // One at most, so that adjoints stay in the range of halves.
            let largest = seeds.iter().fold(1.0f64, |most, s| most.max(s.abs()));
            let unit = if self.executor.may_widen() { largest.log2().ceil().exp2() } else { 1.0 };
            seeds.iter_mut().for_each(|s| *s /= unit);
            self.step(Input::Host(positions), neighbours, parameters, Some(&seeds))?;
            *p = self.gradient()?;
            p.as_flattened_mut().iter_mut().for_each(|g| *g *= unit);
        }
        let graph = &self.graph;
        let virials = self.pool.install(|| atomic_virial(graph, wrapped, &g, &p));
        check_virials(&virials)?;
        Ok(virials)
    }

    /// What atoms' energies are weighed by for atomic virials, input order; virtual atoms have none.
    fn weights<'a>(&'a self, wrapped: &'a [[f64; 3]]) -> impl Iterator<Item = [f64; 3]> + 'a {
        self.types.iter().zip(wrapped).map(|(&t, &x)| if t < 0 { [0.0; 3] } else { x })
    }

    /// Whether a step that ended like this is beyond the range of its products and is computed again by those of a wider one, which are in force then.
    ///
    /// # Errors
    /// [`ComputeError::Wider`].
    fn widens<T>(&mut self, done: &Result<T, ComputeError>) -> Result<bool, ComputeError> {
        // Too large a number ends as none, or is found where a state is stored.
        let beyond = matches!(done, Err(ComputeError::NotFinite { .. } | ComputeError::Stored { .. }));
        if !beyond || !self.executor.may_widen() {
            return Ok(false);
        }
        self.executor.widen(true)?;
        if self.widened == 0 {
            self.executor.came_up.push(WIDENED.into());
        }
        self.widened += 1;
        Ok(true)
    }

    /// A step whose forces stay on the device.
    fn step_on_device(
        &mut self,
        input: Input,
        neighbours: Neighbours,
        parameters: &ResolvedParameters,
    ) -> Result<Totals, ComputeError> {
        self.step(input, neighbours, parameters, None)?;
        self.note_peak();
        let totals = self.read_totals();
        // A force that is not a number comes of an edge's gradient, which the virial has too.
        if !totals.energy.is_finite() || totals.virial.iter().flatten().any(|v| !v.is_finite()) {
            let mut results = Results::default();
            self.read(&mut results);
            results.forces = self.executor.read(self.executor.buffers().forces, self.types.len())?;
            check_finite(&results)?;
        }
        Ok(totals)
    }

    fn note_peak(&mut self) {
        for (name, bytes) in self.executor.bytes() {
            match self.peak.iter_mut().find(|(n, _)| n == name) {
                Some((_, most)) => *most = (*most).max(*bytes),
                None => self.peak.push((name.clone(), *bytes)),
            }
        }
    }

    fn read_totals(&self) -> Totals {
        let staging = self.executor.staging();
        let totals: &[f64] = staging.read(staging.totals);
        Totals { energy: totals[0], virial: std::array::from_fn(|a| std::array::from_fn(|c| totals[1 + 3 * a + c])) }
    }

    fn read(&self, results: &mut Results) {
        let (staging, n) = (self.executor.staging(), self.types.len());
        results.atomic_energy.resize(n, 0.0);
        for (e, &input) in staging.read::<f64>(staging.energy).iter().zip(&self.order) {
            results.atomic_energy[input as usize] = *e;
        }
        results.forces.clear();
        results.forces.extend_from_slice(staging.read(staging.forces));
        let Totals { energy, virial } = self.read_totals();
        (results.energy, results.virial) = (energy, virial);
    }

    fn gradient(&self) -> Result<Vec<[f64; 3]>, ComputeError> {
        let g: Vec<f64> = self.executor.read(self.executor.buffers().gradient, 3 * self.graph.edges())?;
        Ok(g.chunks_exact(3).map(|g| [g[0], g[1], g[2]]).collect())
    }
}

impl Calculator for GpuCalculator {
    fn compute(
        &mut self,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        let prepared = cell.map(Cell::new).transpose()?;
        let wrapped = || match &prepared {
            Some(cell) => positions.iter().map(|&x| cell.wrap(x).0).collect(),
            None => positions.to_vec(),
        };
        self.step_on_host(positions, Neighbours::Own(prepared.as_ref()), &wrapped, parameters, request, results)
    }

    fn take_list(
        &mut self,
        list: &GivenList,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
    ) -> Result<(), ComputeError> {
        let (types, into) = (&self.types, &mut self.list);
        let order = self.pool.install(|| given::take(list, positions, cell, types, into))?;
        // Only what the device has too is in force.
        (self.taken, self.reach, self.order) = (false, None, order);
        if !positions.is_empty() {
            let (options, pool) = (&self.graph_options, &self.pool);
            if let Err(e) = self.executor.set_list(&self.list, positions, options, pool) {
                self.list = NeighbourList::default();
                return Err(e);
            }
        }
        self.taken = true;
        self.builds += 1;
        Ok(())
    }

    fn compute_given(
        &mut self,
        positions: &[[f64; 3]],
        images: Images,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        given::check(&self.list, self.taken, positions, self.types.len(), images)?;
        let unwrapped = || positions.to_vec();
        self.step_on_host(positions, Neighbours::Given(images), &unwrapped, parameters, request, results)
    }

    /// As long as both addresses stay, a recorded step serves them.
    unsafe fn compute_on_device(
        &mut self,
        positions: u64,
        forces: u64,
        cell: Option<&[[f64; 3]; 3]>,
        parameters: &FrameParameters,
    ) -> Result<Totals, ComputeError> {
        let resolved = ResolvedParameters::new(&self.model, self.types.len(), parameters)
            .map_err(|e| ComputeError::Parameter(e.to_string()))?;
        if self.types.is_empty() {
            return Ok(Totals::default());
        }
        let prepared = cell.map(Cell::new).transpose()?;
        let (input, neighbours) = (Input::Device { positions, forces }, Neighbours::Own(prepared.as_ref()));
        self.executor.widen(false)?;
        let done = self.step_on_device(input, neighbours, &resolved);
        match self.widens(&done)? {
            true => self.step_on_device(input, neighbours, &resolved),
            false => done,
        }
    }

    fn prepare(&mut self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<(), ComputeError> {
        let prepared = cell.map(Cell::new).transpose()?;
        let (before, neighbours) = (self.graphs, Neighbours::Own(prepared.as_ref()));
        // A list of these positions may need more room than the old one has, which a plan has to know.
        if !self.taken && self.list.is_stale(positions, cell) {
            self.reach = None;
        }
        self.make_ready(Input::Host(positions), positions, neighbours)?;
        match self.graphs == before {
            // A step would tell that these positions do not fit the plan in force; it is asked for now.
            true => self.plan_for(positions, neighbours),
            false => Ok(()),
        }
    }

    fn plan(&self) -> Option<&Plan> {
        (self.executor.plans > 0).then(|| &self.executor.layout().plan)
    }

    fn profile(&self) -> Option<Profile> {
        self.executor.profile()
    }

    fn peak_bytes(&self) -> Vec<(String, u64)> {
        self.peak.clone()
    }

    fn launches(&self) -> Option<u64> {
        Some(self.executor.launches)
    }

    fn came_up(&self) -> &[String] {
        &self.executor.came_up
    }

    fn widened_steps(&self) -> u64 {
        self.widened
    }

    fn device_memory(&self) -> Option<DeviceMemory> {
        let (free, all) = self.driver.memory().ok()?;
        let planned = self.executor.bytes().first().map_or(0, |t| t.1);
        Some(DeviceMemory { planned, held: self.driver.held(), used: all.saturating_sub(free), all })
    }

    fn name(&self) -> &'static str {
        self.driver.name()
    }

    fn order(&self) -> &[u32] {
        &self.order
    }

    fn set_order(&mut self, order: &[u32]) {
        self.order = order.to_vec();
        self.executor.renumber();
        (self.list, self.taken, self.reach) = (NeighbourList::default(), false, None);
    }
}
