//! Backward operations: layers, gathers, edge gradients, forces and totals.

use super::super::array::Array;
use super::super::buffers::SUM_ROWS;
use super::super::driver::DriverError;
use super::super::launch::args;
use super::super::second;
use super::layer::{AngleBackward, EdgeBackward, Features};
use super::Executor;
use weir_engine::plan::placement::State;

/// Blocks that take the parts of a tile in turn: about four times as many as a large device runs together, but no more than one for eight edges,
/// which owners have in the smallest tiles (water, 4096 edges). One that finds nothing to do costs a few nanoseconds.
const PART_BLOCKS: u64 = 4096;

impl Executor {
    pub(super) fn backward(
        &mut self,
        layer: usize,
        tile: usize,
        input: State,
        adjoint: State,
    ) -> Result<(), DriverError> {
        let (edges, angles) = self.inputs(input);
        let [e_bar, a_bar] = [adjoint.edges, adjoint.angles].map(|p| self.arenas.place(p));
        // Kernels of angles need nothing of the nodes' adjoint, nor of what is still gathered for the layer above; but slopes that are not kept
        // are made where that is gathered from.
        if self.code.weights.layers[layer].angle.is_some() && self.arenas.inside(layer, second::PART).is_none() {
            self.join()?;
        }
        self.fork()?;
        self.beside(|e| e.node_adjoint(layer, tile, edges))?;
        let (b, w) = (&self.buffers, &self.code.weights.layers[layer]);
        let (centre_bar, starts) = (b.centre_bar_of(layer), !self.shapes.updates_edges(layer));
        // Edges outside the angle set owe something to the second map only where their own feature feeds it.
        let s_bar = if w.angle.is_some() { b.s_bar } else { Array::NONE };
        let (_, _, wa) = self.widths(layer);
        let (r_message, r_edge, moment_bar) = (w.r_message, w.r_edge, b.moment_bar);
        let last = EdgeBackward {
            input: edges,
            r_message,
            r_edge,
            moment_bar,
            wa,
            s_bar,
            starts,
            e_bar,
            centre_bar,
            angle_bar: centre_bar,
        };
        if w.angle.is_some() {
            let (r_angle, r_second) = (w.r_angle, w.r_second);
            let part = AngleBackward { angles, edges, r_angle, r_second, e_bar, a_bar, centre_bar };
            self.edge_projections(layer, tile, edges)?;
            self.angle_backward(layer, tile, part)?;
        }
        self.join()?;
        self.edge_backward(layer, tile, last)
    }

    /// Adjoint of a tile's node update, its moments made again from these edges where they have not been kept.
    pub(super) fn node_adjoint(&mut self, layer: usize, tile: usize, edges: Features) -> Result<(), DriverError> {
        let (b, m, w) = (&self.buffers, &self.code.weights, &self.code.weights.layers[layer]);
        let (first_centre, count) = self.centres(tile);
        let (k, shared, nodes) = (self.launcher.kernels, self.launcher.shared, self.code.nodes_of_block);
        if b.moments.len() == 1 {
            self.launcher.over(
                k.edge_moments,
                count,
                1,
                0,
                args![
                    first_centre,
                    b.turns,
                    b.first_edge,
                    b.angle_edges,
                    b.neighbour,
                    b.geometry,
                    edges.first,
                    edges.state,
                    m.edge_weight,
                    m.edge_bias,
                    b.nodes[layer],
                    b.moments_of(layer)
                ],
            )?;
        }
        self.launcher.over(
            k.node_backward,
            count,
            nodes,
            shared.node_backward,
            args![
                first_centre,
                count as u32,
                b.nodes[layer],
                b.moments_of(layer),
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
        )
    }

    /// Sums what a tile's edges owe, beside what follows; the layer's first gather begins them, for all atoms.
    pub(super) fn gather(&mut self, layer: usize, tile: usize, moment_bar: Array) -> Result<(), DriverError> {
        let starts = std::mem::take(&mut self.sums_start);
        let (b, wd) = (&self.buffers, self.shapes.edge_messages(layer) as u32);
        let (t, atoms) = (&self.layout.tiles[tile], self.layout.capacity.atoms as u64);
        let (parts, blocks) = match starts || self.layout.tiles.len() == 1 {
            true => (Array::NONE, atoms),
            false => (b.unsorted, atoms.min(self.layout.sizes[tile].edges.div_ceil(8)).min(PART_BLOCKS)),
        };
        self.launcher.blocks(
            self.launcher.kernels.gather,
            blocks,
            0,
            args![
                atoms as u32,
                b.first_incoming,
                b.incoming,
                b.neighbour,
                b.centre,
                b.first_edge,
                t.start as u32,
                t.end as u32,
                tile as u32,
                b.first_part,
                parts,
                u32::from(starts),
                b.geometry,
                moment_bar,
                wd,
                b.owed,
                b.owed_sum,
                b.node_sum
            ],
        )
    }

    /// The adjoint of the nodes entering a layer, beside what follows the last gather.
    pub(super) fn finish(&mut self, layer: usize) -> Result<(), DriverError> {
        let centre_bar = self.buffers.centre_bar_of(layer);
        self.beside(|e| e.finish_with_own(layer, centre_bar))
    }

    /// With what the layer's own kernels left.
    pub(super) fn finish_with_own(&mut self, layer: usize, centre_bar: Array) -> Result<(), DriverError> {
        let (b, keep) = (&self.buffers, self.code.weights.layers[layer].keep[0]);
        let (node_sum, self_bar, owed_sum) = (b.node_sum, b.self_bar, b.owed_sum);
        self.finish_with(layer, node_sum, self_bar, centre_bar, owed_sum, keep)
    }

    pub(super) fn finish_with(
        &mut self,
        layer: usize,
        node_sum: Array,
        self_bar: Array,
        centre_bar: Array,
        owed_sum: Array,
        keep: f64,
    ) -> Result<(), DriverError> {
        let (b, w, s) = (&self.buffers, &self.code.weights.layers[layer], &self.shapes);
        let n = self.layout.capacity.atoms as u64;
        let (wc, wd) = (s.centre_projection(layer) as u32, s.edge_messages(layer) as u32);
        let shared = self.launcher.shared.finish;
        self.launcher.over(
            self.launcher.kernels.finish,
            n,
            self.code.nodes_of_block,
            shared,
            args![
                n as u32,
                node_sum,
                self_bar,
                w.node_self.adjoint,
                centre_bar,
                wc,
                w.centre.adjoint,
                owed_sum,
                wd,
                w.neighbour.adjoint,
                keep,
                b.node_bar
            ],
        )
    }

    pub(super) fn edge_gradients(&mut self, tile: usize, adjoint: State) -> Result<(), DriverError> {
        let (b, m) = (&self.buffers, &self.code.weights);
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
                1.0 / self.code.adjoint_unit,
                b.gradient
            ],
        )
    }

    /// Forces by atom, and the sums of energy and virial: where they end.
    pub(super) fn totals(&mut self) -> Result<Array, DriverError> {
        let (b, n) = (&self.buffers, self.layout.capacity.atoms as u64);
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
        Ok(from)
    }
}
