//! Forward operations: geometry, projections, layers, the fitting net.

use super::super::array::Array;
use super::super::driver::DriverError;
use super::super::fit::{FIT_BLOCKS, FIT_ROWS};
use super::super::launch::args;
use super::layer::{AngleForward, AnglePart, EdgeForward};
use super::Executor;
use weir_engine::plan::placement::{Place, State};

impl Executor {
    pub(super) fn geometry(&mut self) -> Result<(), DriverError> {
        let (b, w, np) = (&self.buffers, &self.code.weights, self.shapes.np as u64);
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
        let n = self.layout.capacity.atoms as u64;
        self.launcher.each(k.embed_nodes, n * np, args![n as u32, b.types, b.table, b.nodes[0]])
    }

    /// Projections of a layer's nodes: beside the kernels of angles of the layer below, which made the nodes beside them too, if those have
    /// projections of their own.
    pub(super) fn project(&mut self, layer: usize) -> Result<(), DriverError> {
        match self.rises {
            true if layer > 0 && self.buffers.banks.len() > 1 => self.beside(|e| e.projections(layer)),
            true => {
                self.join()?;
                self.projections(layer)
            }
            // Nothing that is beside concerns nodes of lower layers.
            false => self.projections(layer),
        }
    }

    fn projections(&mut self, layer: usize) -> Result<(), DriverError> {
        let (b, w, s) = (&self.buffers, &self.code.weights.layers[layer], &self.shapes);
        let [centre, neighbour] = b.banks[layer % b.banks.len()];
        let (wc, wd) = (s.centre_projection(layer) as u32, s.edge_messages(layer) as u32);
        let n = self.layout.capacity.atoms as u64;
        let shared = self.launcher.shared.project;
        self.launcher.over(
            self.launcher.kernels.project,
            n,
            self.code.nodes_of_block,
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
    pub(super) fn centres(&self, tile: usize) -> (u32, u64) {
        let t = &self.layout.tiles[tile];
        (t.start as u32, t.len() as u64)
    }

    pub(super) fn forward(
        &mut self,
        layer: usize,
        tile: usize,
        input: State,
        output: State,
        with_nodes: bool,
    ) -> Result<(), DriverError> {
        let (edges, angles) = self.inputs(input);
        let [edges_out, angles_out] = [output.edges, output.angles].map(|p| self.arenas.place(p));
        let only_angles = !with_nodes && output.edges == Place::None;
        // Where the second message of edges outside the angle set is the same for all, their kernel adds it.
        let finishes =
            self.model.descriptor.options.smooth_edge_update && self.code.weights.layers[layer].angle.is_some();
        // Nodes and their projections have been made beside, and what was gathered beside may lie where edges are left to be finished.
        self.join()?;
        if only_angles {
            self.edge_projections(layer, tile, edges)?;
        } else {
            let (_, _, wa) = self.widths(layer);
            let part = EdgeForward { input: edges, wa, finishes, nodes: with_nodes, out: edges_out };
            self.edge_forward(layer, tile, part)?;
        }
        if with_nodes {
            self.fork()?;
            self.beside(|e| e.node_update(layer, tile))?;
        }
        if self.code.weights.layers[layer].angle.is_some() {
            let unfinished = self.buffers.owed;
            let part = if only_angles { AnglePart::Angles } else { AnglePart::All { keeps: with_nodes } };
            let all = AngleForward { angles, edges, unfinished, part, rest: !finishes, edges_out, angles_out };
            self.angle_forward(layer, tile, all)?;
        }
        Ok(())
    }

    /// Nodes of a tile's centres leaving a layer.
    pub(super) fn node_update(&mut self, layer: usize, tile: usize) -> Result<(), DriverError> {
        let (b, w) = (&self.buffers, &self.code.weights.layers[layer]);
        let (first_centre, count) = self.centres(tile);
        self.launcher.over(
            self.launcher.kernels.node_update,
            count,
            self.code.nodes_of_block,
            self.launcher.shared.node_update,
            args![
                first_centre,
                count as u32,
                b.nodes[layer],
                b.moments_of(layer),
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
        )
    }

    pub(super) fn fit(&mut self, seeded: bool) -> Result<(), DriverError> {
        let (b, f, n) = (&self.buffers, &self.code.weights.fit, self.layout.capacity.atoms as u64);
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
                self.code.adjoint_unit,
                b.fit_work,
                b.energy,
                b.node_bar
            ],
        )
    }
}
