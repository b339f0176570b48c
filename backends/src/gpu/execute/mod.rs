//! Interprets the step program on a device: every operation is a few launches on the compute stream, or a copy beside it.

mod backward;
mod budget;
mod code;
mod forward;
mod label;
mod layer;
mod list;
mod record;
mod sequential;
mod step;
mod trace;

use super::buffers::{Buffers, Extent};
use super::driver::{Driver, DriverError, Memory as Where, Stream};
use super::forecast::{choose, choose_moments, most_tiles, tile_sizes};
use super::lanes::Lanes;
use super::launch::{KernelUse, Launcher};
use super::list::DeviceList;
use super::memory::{failed, Arenas, Held};
use super::second;
use super::shape::shape_on;
use super::staging::Staging;
use super::upload::Upload;
use super::{GpuError, GpuOptions};
use crate::cpu::layout::{pairs_of, Layout};
use crate::cpu::memory::last_uses;
use crate::cpu::{Store, Terms};
use crate::network::Shapes;
pub(crate) use code::adjoint_unit;
use code::Code;
use std::sync::Arc;
use trace::Trace;
use weir_engine::backend::ComputeError;
use weir_engine::graph::Graph;
use weir_engine::model::Model;
use weir_engine::plan::placement::SlotId;
use weir_engine::reference::ResolvedParameters;

/// Told once.
const PAGE_CACHE: &str = "the file tier goes through the page cache, which is slower and takes memory of the host: the system does not read or write the driver's page-locked memory past it (EFAULT). WEIR_PLACEMENT=hbm,pinned leaves files out";

/// Where positions come from and forces go to: addresses on the device, or staging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Staging.
    Host,
    /// The caller's memory, N x 3 doubles each, input order.
    Device {
        /// Of the positions.
        positions: u64,
        /// Of the forces.
        forces: u64,
    },
}

/// Positions of a step.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// On the host, A, input order.
    Host(&'a [[f64; 3]]),
    /// On the device; forces go there too.
    Device {
        /// Address of the positions.
        positions: u64,
        /// Address for the forces.
        forces: u64,
    },
}

impl Input<'_> {
    fn ends(&self) -> Ends {
        match *self {
            Input::Host(_) => Ends::Host,
            Input::Device { positions, forces } => Ends::Device { positions, forces },
        }
    }
}

/// A model on a device with the memory of its step.
pub struct Executor {
    /// In the arithmetic of this step.
    code: Code,
    /// In the other one, where there are two: where products are of halves, whose range is small, a step beyond it is computed by three passes of TF32.
    other: Option<Code>,
    /// Whether `code` is that of the wider range.
    wide: bool,
    launcher: Launcher,
    shapes: Shapes,
    model: Arc<Model>,
    options: GpuOptions,
    /// Largest number of edges in a tile now.
    tile_edges: usize,
    /// What weights, list and table took when the plan in force was made.
    placed_other: u64,
    store: Store,
    layout: Layout,
    buffers: Buffers,
    buffer_memory: Option<Held>,
    staging: Option<Staging>,
    arenas: Arenas,
    dead: Vec<Vec<SlotId>>,
    /// Whether operations are those of the forward part.
    rises: bool,
    /// Whether the next gather begins a layer's sums of what neighbours owe, rather than going on with them.
    sums_start: bool,
    trace: Option<Trace>,
    upload: Upload,
    list: Option<DeviceList>,
    /// Translations of images, for lists that number them.
    table: Option<Held>,
    atoms_sent: bool,
    parameters: Option<ResolvedParameters>,
    /// How often the step was planned.
    pub plans: usize,
    /// Launches of the last step.
    pub launches: u64,
    /// How often the step was recorded.
    pub recordings: u64,
    /// How often a recorded step was run.
    pub replays: u64,
    /// What did not go as it should while kernels were looked for.
    pub remarks: Vec<String>,
    /// The same of steps.
    pub came_up: Vec<String>,
}

impl Executor {
    /// Compiles the kernels for a model and brings its weights to the device.
    ///
    /// # Errors
    /// [`GpuError`].
    pub fn new(driver: Arc<dyn Driver>, model: Arc<Model>, options: GpuOptions) -> Result<Self, GpuError> {
        let double = model.descriptor.options.sequential_update || !options.precision.is_single(&model);
        let number = if double { 8 } else { 4 };
        let shapes = Shapes::of(&model);
        let store = options.store.of(number);
        let shape = shape_on(driver.as_ref(), &model, &options)?;
        let wider = options.wider().filter(|_| !shape.double);
        let other = wider.map(|wider| shape_on(driver.as_ref(), &model, &wider)).transpose()?;
        let mut remarks = Vec::new();
        let mut code = Code::new(&driver, &model, &shapes, &shape)?;
        code.load(&driver, &options, &mut remarks)?;
        let other = other.map(|shape| Code::new(&driver, &model, &shapes, &shape)).transpose()?;
        // Spans of operations and launches mean something where they follow one another.
        let timed = options.kernels || options.profile.is_some();
        let lanes = match options.two_streams && !timed && !shapes.sequential {
            true => Lanes::two(&driver)?,
            false => Lanes::default(),
        };
        Ok(Self {
            launcher: Launcher {
                driver,
                kernels: code.kernels(),
                shared: code.shared,
                number: number as u32,
                lanes,
                launches: 0,
                queued: Vec::new(),
                times: options.kernels.then(Vec::new),
            },
            code,
            other,
            wide: false,
            shapes,
            store,
            layout: Layout::default(),
            buffers: Buffers::default(),
            buffer_memory: None,
            staging: None,
            arenas: Arenas::default(),
            dead: Vec::new(),
            rises: true,
            sums_start: false,
            trace: None,
            upload: Upload::new(double),
            list: None,
            table: None,
            atoms_sent: false,
            parameters: None,
            plans: 0,
            launches: 0,
            recordings: 0,
            replays: 0,
            remarks,
            came_up: Vec::new(),
            model,
            placed_other: 0,
            tile_edges: match options.tile_edges {
                0 => super::TILE,
                edges => edges,
            },
            options,
        })
    }

    fn driver(&self) -> &dyn Driver {
        self.launcher.driver.as_ref()
    }

    /// Launches of `work` go beside those that follow it; what it reads was forked for.
    fn beside(&mut self, work: impl FnOnce(&mut Self) -> Result<(), DriverError>) -> Result<(), DriverError> {
        self.launcher.lanes.go(true);
        let done = work(self);
        self.launcher.lanes.go(false);
        done
    }

    /// Launches beside wait for all there is so far.
    fn fork(&mut self) -> Result<(), DriverError> {
        self.launcher.lanes.fork(self.launcher.driver.as_ref())
    }

    /// Launches wait for those beside.
    fn join(&mut self) -> Result<(), DriverError> {
        self.launcher.lanes.join(self.launcher.driver.as_ref())
    }

    fn extent(&self, tiles: u64, keeps_moments: bool) -> Extent {
        Extent::of(&self.model, u64::from(self.launcher.number), tiles, keeps_moments)
    }

    /// Whether a plan is in force that a list of so many atoms may run under: what it cannot hold is told by the step.
    pub fn in_force(&self, atoms: usize) -> bool {
        // A list or table that has grown takes room which the plan has given away.
        self.staging.is_some() && self.layout.capacity.atoms == atoms && self.other() <= self.placed_other
    }

    /// Makes room for so many translations that pairs of a given list may number.
    ///
    /// # Errors
    /// The driver's.
    pub fn reserve_table(&mut self, rows: usize) -> Result<(), ComputeError> {
        let bytes = 24 * rows as u64;
        if self.table.as_ref().is_none_or(|t| t.array.bytes < bytes) {
            self.unrecord();
            self.table = None;
            let held = Held::new(&self.launcher.driver, Where::Device, bytes + bytes / 16 + 256 * 24);
            self.table = Some(held.map_err(failed)?);
        }
        Ok(())
    }

    /// What the planner is asked for a graph under the whole budget: in tiles of the size in force (at first the largest), moments made again.
    pub fn question(&self, graph: &Graph) -> Layout {
        self.question_in(graph, self.tile_edges, &self.layout, false, &self.options.terms())
    }

    /// Memory of the first tier that no plan places: weights, list, table.
    fn other(&self) -> u64 {
        let table = self.table.as_ref().map_or(0, |t| t.array.bytes);
        self.codes().map(Code::bytes).sum::<u64>() + table + self.list.as_ref().map_or(0, DeviceList::bytes)
    }

    /// The same for tiles of at most so many edges; those of `before` stay where it has the atoms.
    fn question_in(
        &self,
        graph: &Graph,
        tile_edges: usize,
        before: &Layout,
        keeps_moments: bool,
        terms: &Terms,
    ) -> Layout {
        // As many tiles as there can be: they take 40 bytes each.
        let tiles = most_tiles(graph.edges() as u64, tile_edges as u64, graph.atoms() as u64);
        let (s, x, fit) = (&self.shapes, self.extent(tiles, keeps_moments), &self.code.weights.fit);
        let held = |c: &_| ([0, 1].map(|banks| Buffers::new(0, s, c, &x, fit, banks).1), self.other());
        let layout = Layout::new(s, x.number, tile_edges, terms, graph, before, held, 1);
        let problem = second::asked(layout.problem, s, x.number, layout.capacity.tile_pairs);
        Layout { problem, ..layout }
    }

    /// A plan for the graph, and whether moments are kept.
    fn planned(&mut self, graph: &Graph) -> Result<(Layout, bool), ComputeError> {
        let room = self.room()?;
        let mut terms = self.options.terms();
        if let Some(first) = terms.tiers.first_mut() {
            first.capacity = room.bytes;
        }
        self.planned_under(graph, &terms).map_err(|e| room.explain(e))
    }

    fn planned_under(&mut self, graph: &Graph, terms: &Terms) -> Result<(Layout, bool), ComputeError> {
        if !self.layout.tiles.is_empty() {
            // The tiles in force first: with them addresses may stay.
            let ask = |keeps: bool| self.question_in(graph, self.tile_edges, &self.layout, keeps, terms).planned();
            if let Ok(answer) = choose_moments(ask, |l| (&l.problem, &l.plan)) {
                return Ok(answer);
            }
        }
        let sizes: Vec<usize> = match self.options.tile_edges {
            0 => tile_sizes(graph.edges()).collect(),
            edges => vec![edges],
        };
        let ask =
            |edges: usize, keeps: bool| self.question_in(graph, edges, &Layout::default(), keeps, terms).planned();
        let (edges, layout, keeps) = choose(sizes, ask, |l| (&l.problem, &l.plan))?;
        self.tile_edges = edges;
        Ok((layout, keeps))
    }

    /// The plan in force.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Makes plan and memory fit the graph.
    ///
    /// # Errors
    /// [`ComputeError::Memory`].
    pub fn place(&mut self, graph: &Graph) -> Result<(), ComputeError> {
        let pairs = |l: &Layout| l.tiles.iter().all(|t| pairs_of(graph, t) <= l.capacity.tile_pairs);
        // A list or table that has grown takes room which the plan has given away.
        if self.layout.holds(graph) && pairs(&self.layout) && self.other() <= self.placed_other {
            return Ok(());
        }
        let (layout, keeps_moments) = self.planned(graph)?;
        self.placed_other = self.other();
        // A plan is in force once its memory is there.
        self.unrecord();
        self.layout = Layout::default();
        self.arenas = Arenas::default();
        self.staging = None;
        self.buffer_memory = None;
        self.parameters = None;
        self.trace = None;
        let program = &layout.plan.program;
        let (s, x, banks) = (&self.shapes, self.extent(layout.tiles.len() as u64, keeps_moments), program.banks);
        let bytes = Buffers::new(0, s, &layout.capacity, &x, &self.code.weights.fit, banks).1;
        let memory = Held::new(&self.launcher.driver, Where::Device, bytes).map_err(failed)?;
        self.buffers = Buffers::new(memory.array.at, s, &layout.capacity, &x, &self.code.weights.fit, banks).0;
        self.buffer_memory = Some(memory);
        let zeros = self.buffers.zeros;
        if zeros.bytes > 0 {
            // Waited for below, where staging is made.
            self.launcher.driver.fill(Stream::Compute, zeros.at, 0, zeros.bytes).map_err(failed)?;
        }
        self.staging = Some(Staging::new(&self.launcher.driver, &self.buffers).map_err(failed)?);
        let tiers: Vec<_> = self.options.tiers.iter().map(|t| t.memory.clone()).collect();
        let (slot, profile) = (self.options.file_slot, self.options.profile);
        self.arenas = Arenas::new(&self.launcher.driver, &tiers, program, slot, profile)?;
        if self.arenas.through_page_cache() && !self.came_up.iter().any(|told| told == PAGE_CACHE) {
            self.came_up.push(PAGE_CACHE.into());
        }
        self.trace = profile.map(|zero| Trace::new(&self.launcher.driver, program, zero)).transpose()?;
        self.dead = if self.options.poison { last_uses(program) } else { Vec::new() };
        self.layout = layout;
        self.atoms_sent = false;
        self.plans += 1;
        Ok(())
    }

    /// How much the last step that was queued piece by piece used each kernel.
    ///
    /// # Errors
    /// The driver's.
    pub fn uses(&self) -> Result<Vec<KernelUse>, ComputeError> {
        self.launcher.uses().map_err(failed)
    }

    /// What a step leaves on the host.
    pub fn staging(&self) -> &Staging {
        self.staging.as_ref().expect("results come after a step")
    }

    /// The arrays of the step.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Bytes held in each tier, by name.
    pub fn bytes(&self) -> &[(String, u64)] {
        &self.layout.bytes
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Nothing may run while its memory goes.
        for stream in Stream::ALL {
            let _ = self.driver().synchronise(stream);
        }
    }
}
