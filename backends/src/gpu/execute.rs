//! Interprets the step program on a device: every operation is a few launches on the compute stream, or a copy beside it.

use super::array::{Array, Writer};
use super::buffers::{Buffers, Extent, SUM_ROWS};
use super::driver::{Driver, DriverError, Memory as Where, Stream};
use super::fit::{FIT_BLOCKS, FIT_ROWS};
use super::launch::{args, Kernels, Launcher};
use super::memory::{failed, Arenas, Held};
use super::neighbours::{DeviceList, Flags};
use super::shape::fitted;
use super::upload::Upload;
use super::weights::{LayerArrays, ModelArrays};
use super::{GpuError, GpuOptions};
use crate::cpu::layout::{pairs_of, Layout};
use crate::cpu::memory::last_uses;
use crate::cpu::Store;
use crate::network::Shapes;
use std::sync::Arc;
use weir_engine::backend::ComputeError;
use weir_engine::graph::{Graph, GraphOptions, NeighbourList};
use weir_engine::model::Model;
use weir_engine::plan::placement::{Op, Place, SlotId, State};
use weir_engine::reference::{initial_node_features, ResolvedParameters};
use weir_kernels::{SharedNumbers, Source};

/// A model on a device with the memory of its step.
pub struct Executor {
    launcher: Launcher,
    shapes: Shapes,
    model: Arc<Model>,
    weights: ModelArrays,
    weight_memory: Held,
    options: GpuOptions,
    store: Store,
    rows: [u32; 3],
    layout: Layout,
    buffers: Buffers,
    buffer_memory: Option<Held>,
    arenas: Arenas,
    dead: Vec<Vec<SlotId>>,
    upload: Upload,
    list: Option<DeviceList>,
    atoms_sent: bool,
    parameters: Option<ResolvedParameters>,
    /// How often the step was planned.
    pub plans: usize,
    /// Launches of the last step.
    pub launches: u64,
    /// What did not go as it should while kernels were looked for.
    pub remarks: Vec<String>,
}

impl Executor {
    /// Compiles the kernels for a model and brings its weights to the device.
    ///
    /// # Errors
    /// [`GpuError`].
    pub fn new(driver: Arc<dyn Driver>, model: Arc<Model>, options: GpuOptions) -> Result<Self, GpuError> {
        let double = !options.precision.is_single(&model);
        let number = if double { 8 } else { 4 };
        let shapes = Shapes::of(&model);
        let store = options.store.of(number);
        let shared = driver.facts().shared;
        let most = options.shared_limit.unwrap_or(shared).min(shared);
        let shape = fitted(&model, &shapes, options.precision, options.store, most)?;
        let (image, remarks) = super::compile::image(&Source::dpa3(&shape), driver.as_ref(), &options)?;
        let module = driver.load(&image)?;
        let kernels = Kernels::of(driver.as_ref(), module)?;
        let mut count = Writer::new(0, double);
        ModelArrays::new(&mut count, &model, &shapes);
        let weight_memory = Held::new(&driver, Where::Device, count.bytes.len() as u64)?;
        let mut writer = Writer::new(weight_memory.array.at, double);
        let weights = ModelArrays::new(&mut writer, &model, &shapes);
        // SAFETY: the writer's bytes live until the stream has been waited for.
        unsafe {
            driver.copy(
                Stream::Compute,
                weight_memory.array.at,
                writer.bytes.as_ptr() as u64,
                writer.bytes.len() as u64,
            )?
        };
        driver.synchronise(Stream::Compute)?;
        Ok(Self {
            launcher: Launcher {
                driver,
                kernels,
                shared: SharedNumbers::of(&shape),
                number: number as u32,
                launches: 0,
            },
            rows: shape.rows,
            shapes,
            weights,
            weight_memory,
            store,
            layout: Layout::default(),
            buffers: Buffers::default(),
            buffer_memory: None,
            arenas: Arenas::default(),
            dead: Vec::new(),
            upload: Upload::new(double),
            list: None,
            atoms_sent: false,
            parameters: None,
            plans: 0,
            launches: 0,
            remarks,
            model,
            options,
        })
    }

    fn driver(&self) -> &dyn Driver {
        self.launcher.driver.as_ref()
    }

    fn extent(&self, tiles: usize) -> Extent {
        let f = &self.model.fitting;
        Extent {
            number: u64::from(self.launcher.number),
            tiles: tiles as u64,
            types: self.model.types() as u64,
            frame: (f.numb_fparam + f.case_embd.len()) as u64,
            per_atom: f.numb_aparam as u64,
            smooth: self.model.descriptor.options.smooth_edge_update,
        }
    }

    /// A new skin list, built for these positions.
    ///
    /// # Errors
    /// The driver's.
    pub fn set_list(
        &mut self,
        list: &NeighbourList,
        positions: &[[f64; 3]],
        options: &GraphOptions,
        skin: f64,
    ) -> Result<(), ComputeError> {
        // The old one goes before the new one comes.
        self.list = None;
        self.atoms_sent = false;
        self.list = Some(DeviceList::new(&self.launcher.driver, list, positions, options, skin).map_err(failed)?);
        Ok(())
    }

    /// What the planner is asked for a graph.
    pub fn question(&self, graph: &Graph) -> Layout {
        // As many tiles as there can be: they take 28 bytes each.
        let tiles = graph.edges() / self.options.tile_edges.max(1) * 2 + 2;
        let (s, x, fit) = (&self.shapes, self.extent(tiles.min(graph.atoms())), &self.weights.fit);
        let other = self.weight_memory.array.bytes + self.list.as_ref().map_or(0, DeviceList::bytes);
        let held = |c: &_| ([0, 1].map(|banks| Buffers::new(0, s, c, &x, fit, banks).1), other);
        Layout::new(s, x.number, self.options.tile_edges, &self.options.terms(), graph, &self.layout, held, 1)
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
        if self.layout.holds(graph) && pairs(&self.layout) {
            return Ok(());
        }
        let layout = self.question(graph).planned()?;
        // A plan is in force once its memory is there.
        self.layout = Layout::default();
        self.arenas = Arenas::default();
        self.buffer_memory = None;
        self.parameters = None;
        let program = &layout.plan.program;
        let (s, x, banks) = (&self.shapes, self.extent(layout.tiles.len()), program.banks);
        let bytes = Buffers::new(0, s, &layout.capacity, &x, &self.weights.fit, banks).1;
        let memory = Held::new(&self.launcher.driver, Where::Device, bytes).map_err(failed)?;
        self.buffers = Buffers::new(memory.array.at, s, &layout.capacity, &x, &self.weights.fit, banks).0;
        self.buffer_memory = Some(memory);
        let tiers: Vec<_> = self.options.tiers.iter().map(|t| t.memory.clone()).collect();
        self.arenas = Arenas::new(&self.launcher.driver, &tiers, program)?;
        self.dead = if self.options.poison { last_uses(program) } else { Vec::new() };
        self.layout = layout;
        self.atoms_sent = false;
        self.plans += 1;
        Ok(())
    }

    /// One step at these positions: energies, forces, totals wait in the buffers if the flags are clear; else the list or the plan has to
    /// be made again. `graph` is one of this list, for the plan in force. `seeds` weigh the atoms' energies, in sorted order.
    ///
    /// # Errors
    /// [`ComputeError`].
    pub fn step(
        &mut self,
        graph: &Graph,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
        parameters: &ResolvedParameters,
        seeds: Option<&[f64]>,
    ) -> Result<Flags, ComputeError> {
        self.launcher.launches = 0;
        self.queue(graph, positions, cell, parameters, seeds).map_err(failed)?;
        self.driver().synchronise(Stream::Compute).map_err(failed)?;
        self.launches = self.launcher.launches;
        let flags = Flags::from(self.read::<[u16; 4]>(self.buffers.flags, 1)?[0]);
        if flags == Flags::default() {
            self.check_stored()?;
        }
        Ok(flags)
    }

    fn queue(
        &mut self,
        graph: &Graph,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
        parameters: &ResolvedParameters,
        seeds: Option<&[f64]>,
    ) -> Result<(), DriverError> {
        let driver = self.launcher.driver.clone();
        if !self.atoms_sent {
            let types = self.model.types() as u32;
            self.upload.atoms(driver.as_ref(), &self.buffers, &self.layout, graph, types)?;
            self.atoms_sent = true;
        }
        self.upload.positions(driver.as_ref(), &self.buffers, positions, cell)?;
        let list = self.list.as_ref().expect("a step comes after its list");
        list.fill(&mut self.launcher, &self.buffers, &self.layout)?;
        if self.parameters.as_ref() != Some(parameters) {
            let z = initial_node_features(&self.model, parameters);
            self.upload.parameters(driver.as_ref(), &self.buffers, &self.model, &self.shapes, parameters, &z)?;
            self.parameters = Some(parameters.clone());
        }
        if let Some(seeds) = seeds {
            self.upload.seeds(driver.as_ref(), &self.buffers, seeds)?;
        }
        driver.fill(Stream::Compute, self.buffers.too_large.at, 0, self.buffers.too_large.bytes)?;
        if self.options.poison {
            for k in 0..self.layout.plan.program.slots.len() {
                self.arenas.discard(driver.as_ref(), SlotId(k as u32))?;
            }
        }
        let program = std::mem::take(&mut self.layout.plan.program);
        let done = program.forward.iter().chain(&program.backward).enumerate().try_for_each(|(at, op)| {
            self.run(graph, op, seeds.is_some())?;
            for &id in self.dead.get(at).into_iter().flatten() {
                self.arenas.discard(driver.as_ref(), id)?;
            }
            Ok(())
        });
        self.layout.plan.program = program;
        done?;
        self.totals(graph)
    }

    fn run(&mut self, graph: &Graph, op: &Op, seeded: bool) -> Result<(), DriverError> {
        let driver = self.launcher.driver.clone();
        match *op {
            Op::Geometry => self.geometry(graph),
            Op::Project { layer } => self.project(graph, layer),
            Op::Forward { layer, tile, input, output } => self.forward(layer, tile, input, output, true),
            Op::Rebuild { layer, tile, input, output } => self.forward(layer, tile, input, output, false),
            Op::Fit => self.fit(graph, seeded),
            Op::Clear { layer } => self.clear(graph, layer),
            Op::Backward { layer, tile, input, adjoint } => self.backward(layer, tile, input, adjoint),
            Op::Gather { layer, tile } => self.gather(graph, layer, tile),
            Op::Finish { layer } => self.finish(graph, layer),
            Op::Assemble { tile, adjoint } => self.edge_gradients(tile, adjoint),
            Op::Save { from, to, ticket } | Op::Load { from, to, ticket } => {
                self.arenas.copy(driver.as_ref(), from, to, ticket)
            }
            Op::Wait { ticket } => self.arenas.wait(driver.as_ref(), ticket),
        }
    }

    fn geometry(&mut self, graph: &Graph) -> Result<(), DriverError> {
        let (b, w, np) = (&self.buffers, &self.weights, self.shapes.np as u64);
        let k = self.launcher.kernels;
        let edges = self.layout.capacity.edges as u64;
        self.launcher.each(
            k.geometry,
            edges,
            args![
                b.counts,
                b.centre,
                b.types,
                b.slot,
                b.vector,
                b.distance,
                w.statistics,
                w.slots,
                b.geometry,
                b.exact,
                b.geometry_bar
            ],
        )?;
        let n = graph.atoms() as u64;
        self.launcher.each(k.embed_nodes, n * np, args![n as u32, b.types, b.table, b.nodes[0]])
    }

    fn project(&mut self, graph: &Graph, layer: usize) -> Result<(), DriverError> {
        let (b, w, s) = (&self.buffers, &self.weights.layers[layer], &self.shapes);
        let [centre, neighbour] = b.banks[layer % b.banks.len()];
        let (wc, wd) = (s.centre_projection(layer) as u32, s.edge_messages(layer) as u32);
        let n = graph.atoms() as u64;
        let shared = self.launcher.shared.project;
        self.launcher.over(
            self.launcher.kernels.project,
            n,
            u64::from(self.rows[2]),
            shared,
            args![
                n as u32,
                b.nodes[layer],
                wc,
                w.centre.forward,
                w.centre_bias,
                wd,
                w.neighbour.forward,
                centre,
                neighbour
            ],
        )
    }

    /// First centre of a tile, and how many.
    fn centres(&self, tile: usize) -> (u32, u64) {
        let t = &self.layout.tiles[tile];
        (t.start as u32, t.len() as u64)
    }

    fn forward(
        &mut self,
        layer: usize,
        tile: usize,
        input: State,
        output: State,
        with_nodes: bool,
    ) -> Result<(), DriverError> {
        let (b, m, w, s) = (&self.buffers, &self.weights, &self.weights.layers[layer], &self.shapes);
        let (first_centre, count) = self.centres(tile);
        let [centre, neighbour] = b.banks[layer % b.banks.len()];
        let (wc, wd, wa) =
            (s.centre_projection(layer) as u32, s.edge_messages(layer) as u32, s.angle_messages(layer) as u32);
        let (edges, angles) = (self.arenas.place(input.edges), self.arenas.place(input.angles));
        let (edges_out, angles_out) = (self.arenas.place(output.edges), self.arenas.place(output.angles));
        let first = u32::from(input.edges == Place::Initial);
        let first_angles = u32::from(input.angles == Place::Initial);
        let flag = Array { at: b.too_large.at + 4 * (layer as u64 + 1), bytes: 4 };
        let (k, shared) = (self.launcher.kernels, self.launcher.shared);
        let none = AngleNone::of(w);
        let only_angles = !with_nodes && output.edges == Place::None;
        if only_angles {
            self.launcher.over(
                k.edge_projections,
                count,
                1,
                shared.edge_projections,
                args![
                    first_centre,
                    b.first_edge,
                    b.angle_edges,
                    b.first_pair,
                    b.geometry,
                    first,
                    edges,
                    m.edge_weight,
                    m.edge_bias,
                    wa,
                    none.own,
                    none.other,
                    b.own,
                    b.other
                ],
            )?;
        } else {
            self.launcher.over(
                k.edge_forward,
                count,
                1,
                shared.edge_forward,
                args![
                    first_centre,
                    b.first_edge,
                    b.angle_edges,
                    b.first_pair,
                    b.neighbour,
                    b.geometry,
                    first,
                    edges,
                    m.edge_weight,
                    m.edge_bias,
                    b.nodes[layer],
                    centre,
                    wc,
                    neighbour,
                    wd,
                    w.edge.forward,
                    w.r_edge,
                    w.keep[1],
                    wa,
                    none.own,
                    none.other,
                    b.own,
                    b.other,
                    u32::from(with_nodes),
                    b.message_sum,
                    b.moments,
                    b.owed,
                    edges_out,
                    flag
                ],
            )?;
        }
        if let Some(a) = &w.angle {
            self.launcher.over(
                k.angle_forward,
                count,
                1,
                shared.angle_forward,
                args![
                    first_centre,
                    b.first_edge,
                    b.angle_edges,
                    b.first_angle,
                    b.first_pair,
                    b.geometry,
                    b.vector,
                    b.distance,
                    first_angles,
                    angles,
                    edges,
                    m.edge_weight,
                    m.edge_bias,
                    m.angle_weight,
                    centre,
                    wc,
                    wd,
                    a.angle.forward,
                    wa,
                    b.own,
                    b.other,
                    w.r_angle,
                    w.keep[2],
                    a.linear2.forward,
                    a.bias2,
                    w.r_second,
                    u32::from(only_angles),
                    b.owed,
                    edges_out,
                    angles_out,
                    flag
                ],
            )?;
        }
        if with_nodes {
            self.launcher.over(
                k.node_update,
                count,
                u64::from(self.rows[2]),
                shared.node_update,
                args![
                    first_centre,
                    count as u32,
                    b.nodes[layer],
                    b.moments,
                    b.message_sum,
                    w.node_self.forward,
                    w.node_self_bias,
                    w.sym.forward,
                    w.sym_bias,
                    w.r_self,
                    w.r_sym,
                    w.r_message,
                    w.edge_scale,
                    w.keep[0],
                    b.nodes[layer + 1]
                ],
            )?;
        }
        Ok(())
    }

    fn fit(&mut self, graph: &Graph, seeded: bool) -> Result<(), DriverError> {
        let (b, f, n) = (&self.buffers, &self.weights.fit, graph.atoms() as u64);
        let blocks = n.div_ceil(FIT_ROWS).min(FIT_BLOCKS);
        let fitting = &self.model.fitting;
        let per_atom =
            if self.parameters.as_ref().is_some_and(|p| !p.aparam.is_empty()) { fitting.numb_aparam } else { 0 };
        let seeds = if seeded { b.seeds } else { Array::NONE };
        self.launcher.blocks(
            self.launcher.kernels.fit,
            blocks,
            0,
            args![
                n as u32,
                blocks as u32,
                f.layers,
                f.table,
                f.thresholds,
                f.numbers,
                f.stride,
                f.bar_at,
                f.bar_width,
                u32::from(f.vacuum),
                b.nodes[self.shapes.layers],
                b.types,
                b.rule,
                b.order,
                u32::from(f.with_types),
                b.type_table,
                fitting.numb_fparam as u32,
                b.frame,
                per_atom as u32,
                b.per_atom,
                f.case_count,
                f.rules,
                seeds,
                b.fit_work,
                b.energy,
                b.node_bar
            ],
        )
    }

    fn clear(&mut self, graph: &Graph, layer: usize) -> Result<(), DriverError> {
        let (b, s, n) = (&self.buffers, &self.shapes, graph.atoms() as u64);
        for (array, width) in [(b.owed_sum, s.edge_messages(layer)), (b.node_sum, s.np)] {
            let count = n * width as u64;
            self.launcher.each(self.launcher.kernels.clear, count, args![count, array])?;
        }
        Ok(())
    }

    fn backward(&mut self, layer: usize, tile: usize, input: State, adjoint: State) -> Result<(), DriverError> {
        let (b, m, w, s) = (&self.buffers, &self.weights, &self.weights.layers[layer], &self.shapes);
        let (first_centre, count) = self.centres(tile);
        let [centre, neighbour] = b.banks[layer % b.banks.len()];
        let (wc, wd, wa) =
            (s.centre_projection(layer) as u32, s.edge_messages(layer) as u32, s.angle_messages(layer) as u32);
        let (edges, angles) = (self.arenas.place(input.edges), self.arenas.place(input.angles));
        let (e_bar, a_bar) = (self.arenas.place(adjoint.edges), self.arenas.place(adjoint.angles));
        let first = u32::from(input.edges == Place::Initial);
        let first_angles = u32::from(input.angles == Place::Initial);
        let (k, shared, none) = (self.launcher.kernels, self.launcher.shared, AngleNone::of(w));
        let nodes = u64::from(self.rows[2]);
        self.launcher.over(
            k.edge_moments,
            count,
            1,
            0,
            args![
                first_centre,
                b.first_edge,
                b.angle_edges,
                b.neighbour,
                b.geometry,
                first,
                edges,
                m.edge_weight,
                m.edge_bias,
                b.nodes[layer],
                b.moments
            ],
        )?;
        self.launcher.over(
            k.node_backward,
            count,
            nodes,
            shared.node_backward,
            args![
                first_centre,
                count as u32,
                b.nodes[layer],
                b.moments,
                b.node_bar,
                w.node_self.forward,
                w.node_self_bias,
                w.sym.forward,
                w.sym.adjoint,
                w.sym_bias,
                w.r_self,
                w.r_sym,
                b.self_bar,
                b.moment_bar
            ],
        )?;
        // Edges outside the angle set owe something to the second map only where their own feature feeds it.
        let s_bar = if w.angle.is_some() { b.s_bar } else { Array::NONE };
        if let Some(a) = &w.angle {
            self.launcher.over(
                k.edge_projections,
                count,
                1,
                shared.edge_projections,
                args![
                    first_centre,
                    b.first_edge,
                    b.angle_edges,
                    b.first_pair,
                    b.geometry,
                    first,
                    edges,
                    m.edge_weight,
                    m.edge_bias,
                    wa,
                    a.own.forward,
                    a.other.forward,
                    b.own,
                    b.other
                ],
            )?;
            self.launcher.over(
                k.angle_backward,
                count,
                1,
                shared.angle_backward,
                args![
                    first_centre,
                    b.first_edge,
                    b.angle_edges,
                    b.first_angle,
                    b.first_pair,
                    b.geometry,
                    b.vector,
                    b.distance,
                    first_angles,
                    angles,
                    edges,
                    m.edge_weight,
                    m.edge_bias,
                    m.angle_weight,
                    centre,
                    wc,
                    wd,
                    a.angle.forward,
                    a.angle.adjoint,
                    wa,
                    b.own,
                    b.other,
                    w.r_angle,
                    w.keep[2],
                    a.linear2.forward,
                    a.linear2.adjoint,
                    a.bias2,
                    w.r_second,
                    e_bar,
                    a_bar,
                    b.own_bar,
                    b.other_bar,
                    s_bar,
                    b.centre_bar,
                    b.geometry_bar
                ],
            )?;
        }
        self.launcher.over(
            k.edge_backward,
            count,
            1,
            shared.edge_backward,
            args![
                first_centre,
                b.first_edge,
                b.angle_edges,
                b.first_pair,
                b.neighbour,
                b.geometry,
                b.exact,
                first,
                edges,
                m.edge_weight,
                m.edge_bias,
                b.nodes[layer],
                centre,
                wc,
                neighbour,
                wd,
                w.edge.forward,
                w.edge.adjoint,
                w.r_message,
                w.edge_scale,
                w.r_edge,
                w.keep[1],
                wa,
                none.own_adjoint,
                none.other_adjoint,
                b.own_bar,
                b.other_bar,
                s_bar,
                b.node_bar,
                b.moment_bar,
                u32::from(!s.updates_edges(layer)),
                e_bar,
                b.owed,
                b.centre_bar,
                b.geometry_bar
            ],
        )
    }

    fn gather(&mut self, graph: &Graph, layer: usize, tile: usize) -> Result<(), DriverError> {
        let (b, wd) = (&self.buffers, self.shapes.edge_messages(layer) as u32);
        let t = &self.layout.tiles[tile];
        self.launcher.over(
            self.launcher.kernels.gather,
            graph.atoms() as u64,
            1,
            0,
            args![
                b.first_incoming,
                b.incoming,
                b.centre,
                b.first_edge,
                t.start as u32,
                t.end as u32,
                b.geometry,
                b.moment_bar,
                wd,
                b.owed,
                b.owed_sum,
                b.node_sum
            ],
        )
    }

    fn finish(&mut self, graph: &Graph, layer: usize) -> Result<(), DriverError> {
        let (b, w, s, n) = (&self.buffers, &self.weights.layers[layer], &self.shapes, graph.atoms() as u64);
        let (wc, wd) = (s.centre_projection(layer) as u32, s.edge_messages(layer) as u32);
        let shared = self.launcher.shared.finish;
        self.launcher.over(
            self.launcher.kernels.finish,
            n,
            u64::from(self.rows[2]),
            shared,
            args![
                n as u32,
                b.node_sum,
                b.self_bar,
                w.node_self.adjoint,
                b.centre_bar,
                wc,
                w.centre.adjoint,
                b.owed_sum,
                wd,
                w.neighbour.adjoint,
                w.keep[0],
                b.node_bar
            ],
        )
    }

    fn edge_gradients(&mut self, tile: usize, adjoint: State) -> Result<(), DriverError> {
        let (b, m) = (&self.buffers, &self.weights);
        let (first_centre, count) = self.centres(tile);
        let (e_bar, a_bar) = (self.arenas.place(adjoint.edges), self.arenas.place(adjoint.angles));
        self.launcher.over(
            self.launcher.kernels.edge_gradients,
            count,
            1,
            0,
            args![
                first_centre,
                b.first_edge,
                b.angle_edges,
                b.first_angle,
                b.types,
                b.slot,
                b.vector,
                b.distance,
                m.statistics,
                m.slots,
                m.edge_weight,
                m.edge_bias,
                m.angle_weight,
                b.geometry_bar,
                e_bar,
                a_bar,
                b.gradient
            ],
        )
    }

    /// Forces by atom, and the sums of energy and virial, which end in `partial[0]`.
    fn totals(&mut self, graph: &Graph) -> Result<(), DriverError> {
        let (b, n) = (&self.buffers, graph.atoms() as u64);
        let k = self.launcher.kernels;
        self.launcher.each(
            k.assemble,
            n,
            args![
                n as u32,
                b.order,
                b.first_edge,
                b.first_incoming,
                b.incoming,
                b.vector,
                b.gradient,
                b.energy,
                b.forces,
                b.totals
            ],
        )?;
        let (mut rows, mut from, mut turn) = (n, b.totals, 0);
        loop {
            let to = b.partial[turn];
            self.launcher.blocks(k.sum_rows, rows.div_ceil(SUM_ROWS), 120 * 8, args![rows as u32, from, to])?;
            rows = rows.div_ceil(SUM_ROWS);
            (from, turn) = (to, 1 - turn);
            if rows <= 1 {
                break;
            }
        }
        self.buffers.partial = [from, self.buffers.partial[turn]];
        Ok(())
    }

    fn check_stored(&mut self) -> Result<(), ComputeError> {
        if self.store == Store::Exact {
            return Ok(());
        }
        let flags: Vec<u32> = self.read(self.buffers.too_large, self.shapes.layers + 1)?;
        match flags.iter().position(|f| *f != 0) {
            Some(layer) => Err(ComputeError::Stored { layer, value: f64::INFINITY, store: self.store.to_string() }),
            None => Ok(()),
        }
    }

    /// Numbers of an array, brought to the host.
    ///
    /// # Errors
    /// The driver's.
    pub fn read<N: bytemuck::Pod>(&self, array: Array, count: usize) -> Result<Vec<N>, ComputeError> {
        let mut out = vec![N::zeroed(); count];
        let bytes = std::mem::size_of_val(out.as_slice()) as u64;
        assert!(bytes <= array.bytes, "{count} numbers of an array of {} bytes", array.bytes);
        // SAFETY: `out` lives until the stream has been waited for.
        unsafe { self.driver().copy(Stream::Compute, out.as_mut_ptr() as u64, array.at, bytes) }.map_err(failed)?;
        self.driver().synchronise(Stream::Compute).map_err(failed)?;
        Ok(out)
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

/// Angle maps of a layer, null pointers where it has none.
struct AngleNone {
    own: Array,
    other: Array,
    own_adjoint: Array,
    other_adjoint: Array,
}

impl AngleNone {
    fn of(w: &LayerArrays) -> Self {
        let a = w.angle.unwrap_or_default();
        Self { own: a.own.forward, other: a.other.forward, own_adjoint: a.own.adjoint, other_adjoint: a.other.adjoint }
    }
}
