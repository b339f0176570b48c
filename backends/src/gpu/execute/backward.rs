//! Backward operations: layers, gathers, edge gradients, forces and totals.

use super::super::array::Array;
use super::super::buffers::SUM_ROWS;
use super::super::driver::DriverError;
use super::super::launch::args;
use super::forward::AngleNone;
use super::Executor;
use weir_engine::plan::placement::{Place, State};

impl Executor {
    pub(super) fn clear(&mut self, layer: usize) -> Result<(), DriverError> {
        let (b, s, n) = (&self.buffers, &self.shapes, self.layout.capacity.atoms as u64);
        for (array, width) in [(b.owed_sum, s.edge_messages(layer)), (b.node_sum, s.np)] {
            let count = n * width as u64;
            self.launcher.each(self.launcher.kernels.clear, count, args![count, array])?;
        }
        Ok(())
    }

    pub(super) fn backward(
        &mut self,
        layer: usize,
        tile: usize,
        input: State,
        adjoint: State,
    ) -> Result<(), DriverError> {
        let (b, w, s) = (&self.buffers, &self.weights.layers[layer], &self.shapes);
        let (first_centre, count) = self.centres(tile);
        let [centre, neighbour] = b.banks[layer % b.banks.len()];
        let (wc, wd, wa) =
            (s.centre_projection(layer) as u32, s.edge_messages(layer) as u32, s.angle_messages(layer) as u32);
        let (edges, angles) = (self.arenas.place(input.edges), self.arenas.place(input.angles));
        let (e_bar, a_bar) = (self.arenas.place(adjoint.edges), self.arenas.place(adjoint.angles));
        let first = u32::from(input.edges == Place::Initial);
        let first_angles = u32::from(input.angles == Place::Initial);
        let (k, shared, none) = (self.launcher.kernels, self.launcher.shared, AngleNone::of(w));
        self.node_adjoint(layer, tile, first, edges)?;
        let (b, m, w, s) = (&self.buffers, &self.weights, &self.weights.layers[layer], &self.shapes);
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

    /// Adjoint of a tile's node update, its moments made again from these edges.
    pub(super) fn node_adjoint(
        &mut self,
        layer: usize,
        tile: usize,
        first: u32,
        edges: Array,
    ) -> Result<(), DriverError> {
        let (b, m, w) = (&self.buffers, &self.weights, &self.weights.layers[layer]);
        let (first_centre, count) = self.centres(tile);
        let (k, shared, nodes) = (self.launcher.kernels, self.launcher.shared, u64::from(self.rows[2]));
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
        )
    }

    pub(super) fn gather(&mut self, layer: usize, tile: usize, moment_bar: Array) -> Result<(), DriverError> {
        let (b, wd) = (&self.buffers, self.shapes.edge_messages(layer) as u32);
        let t = &self.layout.tiles[tile];
        self.launcher.over(
            self.launcher.kernels.gather,
            self.layout.capacity.atoms as u64,
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
                moment_bar,
                wd,
                b.owed,
                b.owed_sum,
                b.node_sum
            ],
        )
    }

    pub(super) fn finish(&mut self, layer: usize) -> Result<(), DriverError> {
        let (b, keep) = (&self.buffers, self.weights.layers[layer].keep[0]);
        let (node_sum, self_bar, centre_bar, owed_sum) = (b.node_sum, b.self_bar, b.centre_bar, b.owed_sum);
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
        let (b, w, s) = (&self.buffers, &self.weights.layers[layer], &self.shapes);
        let n = self.layout.capacity.atoms as u64;
        let (wc, wd) = (s.centre_projection(layer) as u32, s.edge_messages(layer) as u32);
        let shared = self.launcher.shared.finish;
        self.launcher.over(
            self.launcher.kernels.finish,
            n,
            u64::from(self.rows[2]),
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
