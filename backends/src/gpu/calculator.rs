//! The GPU implementation of the engine's `Calculator`.

use super::array::Array;
use super::driver::Driver;
use super::execute::{Executor, Input};
use super::launch::KernelUse;
use super::neighbours::Flags;
use super::upload::Atoms;
use super::{GpuError, GpuOptions};
use crate::cpu::assemble::atomic_virial;
use crate::cpu::default_threads;
use crate::given;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::borrow::Cow;
use std::sync::Arc;
use weir_engine::backend::{Calculator, ComputeError, DeviceMemory, FrameParameters, Request, Results, Totals};
use weir_engine::graph::{
    check_positions, summation_order, Cell, GivenList, Graph, GraphOptions, Images, NeighbourList,
};
use weir_engine::model::Model;
use weir_engine::plan::placement::{Plan, Problem};
use weir_engine::plan::profile::Profile;
use weir_engine::reference::ResolvedParameters;

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
    list: NeighbourList,
    /// Whether the list was made by somebody else.
    taken: bool,
    order: Vec<u32>,
    /// As `fill` made it last; nothing keeps it up with list and positions.
    graph: Graph,
    cell: Option<[[f64; 3]; 3]>,
    peak: Vec<(String, u64)>,
    builds: usize,
    graphs: usize,
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
            order: Vec::new(),
            graph: Graph::default(),
            cell: None,
            peak: Vec::new(),
            builds: 0,
            graphs: 0,
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

    /// How often the skin list was built.
    pub fn list_builds(&self) -> usize {
        self.builds
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
        Ok(self.executor.question(&self.graph).problem)
    }

    /// Whether the neighbours of these atoms have to be looked for on the host, or a given list may have no plan.
    fn needs_host(&self, neighbours: Neighbours) -> bool {
        match neighbours {
            Neighbours::Own(cell) => {
                let same = self.cell.as_ref() == cell.map(|c| &c.rows);
                self.taken || self.order.len() != self.types.len() || self.list.order.is_empty() || !same
            }
            Neighbours::Given(_) => !self.executor.in_force(self.types.len()),
        }
    }

    /// A list for these positions where there is none or the cell has changed; a plan where none is in force.
    fn make_ready(&mut self, positions: &[[f64; 3]], neighbours: Neighbours) -> Result<(), ComputeError> {
        let cell = match neighbours {
            Neighbours::Own(cell) => {
                given::check_count(positions, self.types.len())?;
                check_positions(positions)?;
                cell
            }
            // Looked at by `given::check` already.
            Neighbours::Given(images) => {
                if let Images::Table(rows) = images {
                    self.executor.reserve_table(rows.len())?;
                }
                if !self.executor.in_force(positions.len()) {
                    self.plan_for(positions, images)?;
                }
                return Ok(());
            }
        };
        let rows = cell.map(|c| &c.rows);
        if self.order.len() != positions.len() {
            self.order = summation_order(positions, rows)?;
            self.list = NeighbourList::default();
        }
        if self.needs_host(neighbours) {
            self.list = NeighbourList::default();
            let cutoff = self.graph_options.edge_cutoff;
            let (types, order, skin, pool) = (&self.types, &self.order, self.skin, self.pool.clone());
            let list = pool.install(|| NeighbourList::build(positions, rows, types, order, cutoff, skin))?;
            (self.cell, self.taken) = (rows.copied(), false);
            if !positions.is_empty() {
                self.executor.set_list(&list, positions, &self.graph_options, self.skin, &self.pool)?;
            }
            if !self.executor.in_force(positions.len()) {
                self.fill(&list, positions, neighbours.images())?;
                if !positions.is_empty() {
                    self.executor.place(&self.graph)?;
                }
            }
            self.list = list;
            self.builds += 1;
        }
        Ok(())
    }

    /// The graph at these positions on the host, and a plan that holds it.
    fn plan_for(&mut self, positions: &[[f64; 3]], images: Images) -> Result<(), ComputeError> {
        let list = std::mem::take(&mut self.list);
        let mut done = self.fill(&list, positions, images);
        if done.is_ok() {
            done = self.executor.place(&self.graph);
        }
        // A list that was given has no other copy; one of ours is made anew, with a plan.
        if self.taken || done.is_ok() {
            self.list = list;
        }
        done
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

    /// The graph on the host: for planning, for atomic virials, and for the words of an error.
    fn fill(&mut self, list: &NeighbourList, positions: &[[f64; 3]], images: Images) -> Result<(), ComputeError> {
        self.graphs += 1;
        let (graph, types, options) = (&mut self.graph, &self.types, &self.graph_options);
        self.pool.install(|| graph.fill(list, positions, images, types, options))?;
        Ok(())
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
            if matches!(input, Input::Host(_)) || self.needs_host(neighbours) {
                let positions = self.host_positions(input)?;
                self.make_ready(&positions, neighbours)?;
            }
            let atoms = Atoms { order: &self.order, types: &self.types };
            let flags = self.executor.step(atoms, input, images, parameters, seeds)?;
            if flags == Flags::default() {
                return Ok(());
            }
            if flags.moved > 0 && !self.taken {
                self.list = NeighbourList::default();
            } else {
                // Errors are worded by the host's filter; an overflow needs its counts.
                let positions = self.host_positions(input)?;
                check_positions(&positions)?;
                self.plan_for(&positions, images)?;
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
        self.step(Input::Host(positions), neighbours, &resolved, None)?;
        self.read(results);
        if request.atomic_virial {
            let wrapped = wrapped();
            let list = std::mem::take(&mut self.list);
            let filled = self.fill(&list, positions, neighbours.images());
            self.list = list;
            filled?;
            let g = self.gradient()?;
            let mut p: [Vec<[f64; 3]>; 3] = Default::default();
            for (l, p) in p.iter_mut().enumerate() {
                let mut seeds: Vec<f64> = self.graph.order.iter().map(|&i| wrapped[i as usize][l]).collect();
                // Eight at most, so that adjoints stay in the range of halves.
                let largest = seeds.iter().fold(8.0f64, |most, s| most.max(s.abs()));
                let unit = if self.executor.halves { (largest / 8.0).log2().ceil().exp2() } else { 1.0 };
                seeds.iter_mut().for_each(|s| *s /= unit);
                self.step(Input::Host(positions), neighbours, &resolved, Some(&seeds))?;
                *p = self.gradient()?;
                p.as_flattened_mut().iter_mut().for_each(|g| *g *= unit);
            }
            results.atomic_virial = Some(atomic_virial(&self.graph, &wrapped, &g, &p));
        }
        self.note_peak();
        self.check_finite(results)
    }

    fn check_finite(&self, results: &Results) -> Result<(), ComputeError> {
        crate::cpu::calculator::check_finite(results).map_err(|e| match e {
            ComputeError::NotFinite { quantity, atom, value } if self.executor.halves => {
                ComputeError::Halves { quantity, atom, value }
            }
            e => e,
        })
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
        let (cutoff, types, into) = (self.graph_options.edge_cutoff, &self.types, &mut self.list);
        let order = self.pool.install(|| given::take(list, positions, cell, types, cutoff, into))?;
        // Only what the device has too is in force.
        (self.taken, self.order) = (false, order);
        if !positions.is_empty() {
            let (options, pool) = (&self.graph_options, &self.pool);
            if let Err(e) = self.executor.set_list(&self.list, positions, options, f64::INFINITY, pool) {
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
        let neighbours = Neighbours::Own(prepared.as_ref());
        self.step(Input::Device { positions, forces }, neighbours, &resolved, None)?;
        self.note_peak();
        let totals = self.read_totals();
        // A force that is not a number comes of an edge's gradient, which the virial has too.
        if !totals.energy.is_finite() || totals.virial.iter().flatten().any(|v| !v.is_finite()) {
            let mut results = Results::default();
            self.read(&mut results);
            let n = self.types.len();
            results.forces = self.executor.read(self.executor.buffers().forces, n)?;
            self.check_finite(&results)?;
        }
        Ok(totals)
    }

    fn prepare(&mut self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<(), ComputeError> {
        let prepared = cell.map(Cell::new).transpose()?;
        if !self.taken && self.list.is_stale(positions, cell) {
            self.list = NeighbourList::default();
        }
        let before = self.graphs;
        self.make_ready(positions, Neighbours::Own(prepared.as_ref()))?;
        let in_force = self.graphs == before;
        match in_force && !positions.is_empty() {
            // A step would tell that these positions do not fit; it is asked for now.
            true => self.plan_for(positions, Images::from(prepared.as_ref())),
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
        (self.list, self.taken) = (NeighbourList::default(), false);
    }
}
