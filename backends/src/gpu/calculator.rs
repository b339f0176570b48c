//! The GPU implementation of the engine's `Calculator`.

use super::driver::Driver;
use super::execute::Executor;
use super::neighbours::Flags;
use super::{GpuError, GpuOptions};
use crate::cpu::assemble::atomic_virial;
use crate::cpu::default_threads;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;
use weir_engine::backend::{Calculator, ComputeError, DeviceMemory, FrameParameters, Request, Results};
use weir_engine::graph::{check_positions, summation_order, Cell, Graph, GraphError, GraphOptions, NeighbourList};
use weir_engine::model::Model;
use weir_engine::plan::placement::{Plan, Problem};
use weir_engine::plan::profile::Profile;
use weir_engine::reference::ResolvedParameters;

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
    order: Vec<u32>,
    /// Of some step of this list: counts, order and types.
    graph: Graph,
    cell: Option<[[f64; 3]; 3]>,
    peak: Vec<(String, u64)>,
    builds: usize,
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
            order: Vec::new(),
            graph: Graph::default(),
            cell: None,
            peak: Vec::new(),
            builds: 0,
        })
    }

    /// How often the step was planned.
    pub fn plans(&self) -> usize {
        self.executor.plans
    }

    /// How often the skin list was built.
    pub fn list_builds(&self) -> usize {
        self.builds
    }

    /// Kernel launches of the last step.
    pub fn launches(&self) -> u64 {
        self.executor.launches
    }

    /// What did not go as it should while kernels were looked for, though they were found.
    pub fn remarks(&self) -> &[String] {
        &self.executor.remarks
    }

    /// What the planner is asked for a configuration.
    ///
    /// # Errors
    /// What the neighbour search refuses.
    pub fn problem(&mut self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<Problem, ComputeError> {
        self.prepare(positions, cell)?;
        Ok(self.executor.question(&self.graph).problem)
    }

    /// A list for these positions where there is none or the cell has changed; a plan for the graph.
    fn make_ready(&mut self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<(), ComputeError> {
        if positions.len() != self.types.len() {
            return Err(GraphError::Count { got: positions.len(), expected: self.types.len() }.into());
        }
        check_positions(positions)?;
        if self.order.len() != positions.len() {
            self.order = summation_order(positions, cell)?;
            self.list = NeighbourList::default();
        }
        if self.list.order.is_empty() || self.cell.as_ref() != cell {
            self.list = NeighbourList::default();
            let cutoff = self.graph_options.edge_cutoff;
            let (types, order, skin, pool) = (&self.types, &self.order, self.skin, self.pool.clone());
            let list = pool.install(|| NeighbourList::build(positions, cell, types, order, cutoff, skin))?;
            self.cell = cell.copied();
            self.fill(&list, positions, cell)?;
            if !positions.is_empty() {
                self.executor.set_list(&list, positions, &self.graph_options, self.skin)?;
                self.executor.place(&self.graph)?;
            }
            self.list = list;
            self.builds += 1;
        }
        Ok(())
    }

    /// The graph on the host: for planning, for atomic virials, and for the words of an error.
    fn fill(
        &mut self,
        list: &NeighbourList,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
    ) -> Result<(), ComputeError> {
        let prepared = cell.map(Cell::new).transpose()?;
        let (graph, types, options) = (&mut self.graph, &self.types, &self.graph_options);
        self.pool.install(|| graph.fill(list, positions, prepared.as_ref(), types, options))?;
        Ok(())
    }

    /// A step on the device, again from the same positions where list or plan turn out too old.
    fn step(
        &mut self,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
        parameters: &ResolvedParameters,
        seeds: Option<&[f64]>,
    ) -> Result<(), ComputeError> {
        // A list of these very positions and a plan for their counts: the third try cannot need a fourth.
        for _ in 0..3 {
            self.make_ready(positions, cell)?;
            let flags = self.executor.step(&self.graph, positions, cell, parameters, seeds)?;
            if flags == Flags::default() {
                return Ok(());
            }
            let list = std::mem::take(&mut self.list);
            if flags.moved == 0 {
                // Errors are worded by the host's filter; an overflow needs its counts.
                self.fill(&list, positions, cell)?;
                self.executor.place(&self.graph)?;
                self.list = list;
            }
        }
        Err(ComputeError::Memory("broken plan: a step overflows the plan made for it".into()))
    }

    fn note_peak(&mut self) {
        for (name, bytes) in self.executor.bytes() {
            match self.peak.iter_mut().find(|(n, _)| n == name) {
                Some((_, most)) => *most = (*most).max(*bytes),
                None => self.peak.push((name.clone(), *bytes)),
            }
        }
    }

    fn read(&self, results: &mut Results) -> Result<(), ComputeError> {
        let (b, n) = (self.executor.buffers(), self.types.len());
        let energies: Vec<f64> = self.executor.read(b.energy, n)?;
        results.atomic_energy.resize(n, 0.0);
        for (e, &input) in energies.iter().zip(&self.order) {
            results.atomic_energy[input as usize] = *e;
        }
        let forces: Vec<f64> = self.executor.read(b.forces, 3 * n)?;
        results.forces = forces.chunks_exact(3).map(|f| [f[0], f[1], f[2]]).collect();
        let totals: Vec<f64> = self.executor.read(b.partial[0], 10)?;
        results.energy = totals[0];
        results.virial = std::array::from_fn(|a| std::array::from_fn(|c| totals[1 + 3 * a + c]));
        Ok(())
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
        let resolved = ResolvedParameters::new(&self.model, positions.len(), parameters)
            .map_err(|e| ComputeError::Parameter(e.to_string()))?;
        results.atomic_virial = None;
        if positions.is_empty() && self.types.is_empty() {
            *results = Results { atomic_virial: request.atomic_virial.then(Vec::new), ..Results::default() };
            return Ok(());
        }
        self.step(positions, cell, &resolved, None)?;
        self.read(results)?;
        if request.atomic_virial {
            let wrapped: Vec<[f64; 3]> = match cell.map(Cell::new).transpose()? {
                Some(cell) => positions.iter().map(|&x| cell.wrap(x).0).collect(),
                None => positions.to_vec(),
            };
            let list = std::mem::take(&mut self.list);
            self.fill(&list, positions, cell)?;
            self.list = list;
            let g = self.gradient()?;
            let mut p: [Vec<[f64; 3]>; 3] = Default::default();
            for (l, p) in p.iter_mut().enumerate() {
                let seeds: Vec<f64> = self.graph.order.iter().map(|&i| wrapped[i as usize][l]).collect();
                self.step(positions, cell, &resolved, Some(&seeds))?;
                *p = self.gradient()?;
            }
            results.atomic_virial = Some(atomic_virial(&self.graph, &wrapped, &g, &p));
        }
        self.note_peak();
        crate::cpu::calculator::check_finite(results)
    }

    fn prepare(&mut self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<(), ComputeError> {
        self.make_ready(positions, cell)
    }

    fn plan(&self) -> Option<&Plan> {
        (self.executor.plans > 0).then(|| &self.executor.layout().plan)
    }

    fn profile(&self) -> Option<Profile> {
        None
    }

    fn peak_bytes(&self) -> Vec<(String, u64)> {
        self.peak.clone()
    }

    fn launches(&self) -> Option<u64> {
        Some(self.executor.launches)
    }

    fn device_memory(&self) -> Option<DeviceMemory> {
        let (free, all) = self.driver.memory().ok()?;
        let planned = self.executor.bytes().first().map_or(0, |t| t.1);
        Some(DeviceMemory { planned, held: self.driver.held(), used: all.saturating_sub(free), all })
    }

    fn name(&self) -> &'static str {
        self.driver.name()
    }

    fn reorder(&mut self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) {
        // Bad positions are reported by the next compute.
        if let Ok(order) = summation_order(positions, cell) {
            self.set_order(&order);
        }
    }

    fn order(&self) -> &[u32] {
        &self.order
    }

    fn set_order(&mut self, order: &[u32]) {
        self.order = order.to_vec();
        self.list = NeighbourList::default();
    }
}
