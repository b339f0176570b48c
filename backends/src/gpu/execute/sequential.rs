//! Layers whose updates follow one another (specification 7.7): e' from e, a' from e', e'' from a' and e', nodes from e''. The kernels are
//! those of the other models, one after the other; a part that a kernel is not to do has zeros for its residual vector or its adjoint.
//! Exact and slow: nothing is fused, and the backward part makes e', a' and e'' of a tile again.

use super::super::array::Array;
use super::super::driver::{DriverError, Stream};
use super::super::launch::args;
use super::super::weights::AngleArrays;
use super::Executor;
use weir_engine::plan::placement::{Place, State};

/// Features that a kernel reads: layer 0's are made from geometry.
#[derive(Clone, Copy)]
struct Features {
    first: u32,
    state: Array,
}

impl Features {
    fn made(state: Array) -> Self {
        Self { first: 0, state }
    }
}

/// Which parts of an edge's messages have adjoints, and where they come from.
#[derive(Clone, Copy)]
struct EdgePart {
    input: Features,
    r_message: Array,
    r_edge: Array,
    moment_bar: Array,
    /// What the angle edges' projections and the second map owe to the edges joins them.
    joins: bool,
    centre_bar: Array,
}

impl Executor {
    fn angle_weights(&self, layer: usize) -> AngleArrays {
        self.weights.layers[layer].angle.expect("a sequential model has angle maps: the reader checks it")
    }

    /// Widths of a layer: centre, edge and angle messages.
    fn widths(&self, layer: usize) -> (u32, u32, u32) {
        let s = &self.shapes;
        (s.centre_projection(layer) as u32, s.edge_messages(layer) as u32, s.angle_messages(layer) as u32)
    }

    /// E1 into `out`, or (`nodes`) the sums for the node update.
    fn edge_messages(
        &mut self,
        layer: usize,
        tile: usize,
        input: Features,
        nodes: bool,
        out: Array,
    ) -> Result<(), DriverError> {
        let (b, m, w) = (&self.buffers, &self.weights, &self.weights.layers[layer]);
        let ((first_centre, count), (wc, wd, wa)) = (self.centres(tile), self.widths(layer));
        let [centre, neighbour] = b.banks[layer % b.banks.len()];
        let (a, flag) = (self.angle_weights(layer), Array { at: b.too_large.at + 4 * (layer as u64 + 1), bytes: 4 });
        // With angle messages the kernel leaves its edges to be finished, here in a place that nobody reads.
        let wa = if nodes { wa } else { 0 };
        self.launcher.over(
            self.launcher.kernels.edge_forward,
            count,
            1,
            self.launcher.shared.edge_forward,
            args![
                first_centre,
                b.first_edge,
                b.angle_edges,
                b.first_pair,
                b.neighbour,
                b.geometry,
                input.first,
                input.state,
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
                a.own.forward,
                a.other.forward,
                b.own,
                b.other,
                u32::from(nodes),
                b.message_sum,
                b.moments,
                b.owed,
                out,
                flag
            ],
        )
    }

    fn edge_projections(&mut self, layer: usize, tile: usize, edges: Array) -> Result<(), DriverError> {
        let (b, m, a) = (&self.buffers, &self.weights, self.angle_weights(layer));
        let ((first_centre, count), (_, _, wa)) = (self.centres(tile), self.widths(layer));
        self.launcher.over(
            self.launcher.kernels.edge_projections,
            count,
            1,
            self.launcher.shared.edge_projections,
            args![
                first_centre,
                b.first_edge,
                b.angle_edges,
                b.first_pair,
                b.geometry,
                0u32,
                edges,
                m.edge_weight,
                m.edge_bias,
                wa,
                a.own.forward,
                a.other.forward,
                b.own,
                b.other
            ],
        )
    }

    /// The angles' update into `out` (`only_angles`), or the edges' second one from `edges` into `edges_out`.
    fn angle_messages(
        &mut self,
        layer: usize,
        tile: usize,
        input: Features,
        only_angles: bool,
        edges_out: Array,
        out: Array,
    ) -> Result<(), DriverError> {
        let (b, m, w) = (&self.buffers, &self.weights, &self.weights.layers[layer]);
        let ((first_centre, count), (wc, wd, wa)) = (self.centres(tile), self.widths(layer));
        let (a, flag) = (self.angle_weights(layer), Array { at: b.too_large.at + 4 * (layer as u64 + 1), bytes: 4 });
        let [centre, _] = b.banks[layer % b.banks.len()];
        self.launcher.over(
            self.launcher.kernels.angle_forward,
            count,
            1,
            self.launcher.shared.angle_forward,
            args![
                first_centre,
                b.first_edge,
                b.angle_edges,
                b.first_angle,
                b.first_pair,
                b.geometry,
                b.vector,
                b.distance,
                input.first,
                input.state,
                b.edges_one,
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
                b.edges_one,
                edges_out,
                out,
                flag
            ],
        )
    }

    /// e', a' and e'' of a tile; those that have no place of their own stay in the tile's. Answers where they are.
    fn updates(
        &mut self,
        layer: usize,
        tile: usize,
        input: State,
        output: State,
        only_angles: bool,
    ) -> Result<(Array, Array), DriverError> {
        let place = |place: Place, own: Array| match place {
            Place::Slot(_) => self.arenas.place(place),
            Place::None | Place::Initial => own,
        };
        let angles = place(output.angles, self.buffers.angles_one);
        let edges = place(output.edges, self.buffers.edges_two);
        let b = (self.buffers.edges_one, self.buffers.angles_spare);
        let (e, a) = self.inputs(input);
        self.edge_messages(layer, tile, e, false, b.0)?;
        self.edge_projections(layer, tile, b.0)?;
        self.angle_messages(layer, tile, a, true, edges, angles)?;
        if !only_angles {
            self.angle_messages(layer, tile, Features::made(angles), false, edges, b.1)?;
        }
        Ok((edges, angles))
    }

    fn inputs(&self, input: State) -> (Features, Features) {
        let of = |place: Place| Features { first: u32::from(place == Place::Initial), state: self.arenas.place(place) };
        (of(input.edges), of(input.angles))
    }

    /// A layer forward on a tile.
    pub(super) fn forward_in_turn(
        &mut self,
        layer: usize,
        tile: usize,
        input: State,
        output: State,
        with_nodes: bool,
    ) -> Result<(), DriverError> {
        let only_angles = !with_nodes && output.edges == Place::None;
        let (edges, _) = self.updates(layer, tile, input, output, only_angles)?;
        match with_nodes {
            true => {
                self.edge_messages(layer, tile, Features::made(edges), true, Array::NONE)?;
                self.node_update(layer, tile)
            }
            false => Ok(()),
        }
    }

    fn angle_adjoint(
        &mut self,
        layer: usize,
        tile: usize,
        input: Features,
        r: [Array; 2],
        bars: [Array; 2],
        centre_bar: Array,
    ) -> Result<(), DriverError> {
        let (b, m, w, a) = (&self.buffers, &self.weights, &self.weights.layers[layer], self.angle_weights(layer));
        let ((first_centre, count), (wc, wd, wa)) = (self.centres(tile), self.widths(layer));
        let [centre, _] = b.banks[layer % b.banks.len()];
        let ([r_angle, r_second], [e_bar, a_bar]) = (r, bars);
        self.launcher.over(
            self.launcher.kernels.angle_backward,
            count,
            1,
            self.launcher.shared.angle_backward,
            args![
                first_centre,
                b.first_edge,
                b.angle_edges,
                b.first_angle,
                b.first_pair,
                b.geometry,
                b.vector,
                b.distance,
                input.first,
                input.state,
                b.edges_one,
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
                r_angle,
                w.keep[2],
                a.linear2.forward,
                a.linear2.adjoint,
                a.bias2,
                r_second,
                e_bar,
                a_bar,
                b.own_bar,
                b.other_bar,
                b.s_bar,
                centre_bar,
                b.geometry_bar
            ],
        )
    }

    fn edge_adjoint(&mut self, layer: usize, tile: usize, part: EdgePart, e_bar: Array) -> Result<(), DriverError> {
        let (b, m, w, a) = (&self.buffers, &self.weights, &self.weights.layers[layer], self.angle_weights(layer));
        let ((first_centre, count), (wc, wd, wa)) = (self.centres(tile), self.widths(layer));
        let [centre, neighbour] = b.banks[layer % b.banks.len()];
        let (wa, s_bar) = if part.joins { (wa, b.s_bar) } else { (0, Array::NONE) };
        self.launcher.over(
            self.launcher.kernels.edge_backward,
            count,
            1,
            self.launcher.shared.edge_backward,
            args![
                first_centre,
                b.first_edge,
                b.angle_edges,
                b.first_pair,
                b.neighbour,
                b.geometry,
                b.exact,
                part.input.first,
                part.input.state,
                m.edge_weight,
                m.edge_bias,
                b.nodes[layer],
                centre,
                wc,
                neighbour,
                wd,
                w.edge.forward,
                w.edge.adjoint,
                part.r_message,
                w.edge_scale,
                part.r_edge,
                w.keep[1],
                wa,
                a.own.adjoint,
                a.other.adjoint,
                b.own_bar,
                b.other_bar,
                s_bar,
                b.node_bar,
                part.moment_bar,
                0u32,
                e_bar,
                b.owed,
                part.centre_bar,
                b.geometry_bar
            ],
        )
    }

    /// A layer backward on a tile: its four parts in reverse, each gathered by itself.
    pub(super) fn backward_in_turn(
        &mut self,
        layer: usize,
        tile: usize,
        input: State,
        adjoint: State,
    ) -> Result<(), DriverError> {
        let [e_bar, a_bar] = [adjoint.edges, adjoint.angles].map(|p| self.arenas.place(p));
        if layer + 1 == self.shapes.layers {
            // Nothing above asks for edges or angles.
            for bar in [e_bar, a_bar].into_iter().filter(|b| b.bytes > 0) {
                self.launcher.driver.fill(Stream::Compute, bar.at, 0, bar.bytes)?;
            }
        }
        let inside = State { edges: Place::None, angles: Place::None };
        let (two, angles_one) = self.updates(layer, tile, input, inside, false)?;
        let (b, w) = (&self.buffers, &self.weights.layers[layer]);
        let (zeros, moment_bar, one) = (b.zeros, b.moment_bar, Features::made(b.edges_one));
        let (centre_bar, centre_two, spare) = (b.centre_bar, b.centre_bar_two, b.centre_bar_spare);
        let (r_message, r_edge, r_angle, r_second) = (w.r_message, w.r_edge, w.r_angle, w.r_second);
        let nothing =
            EdgePart { input: one, r_message: zeros, r_edge: zeros, moment_bar: zeros, joins: true, centre_bar: spare };
        let (e, a) = self.inputs(input);
        // The node update, from e''.
        self.node_adjoint(layer, tile, 0, two)?;
        let part = EdgePart { input: Features::made(two), r_message, moment_bar, joins: false, centre_bar, ..nothing };
        self.edge_adjoint(layer, tile, part, e_bar)?;
        self.gather(layer, tile, moment_bar)?;
        // e'' from a' and e'.
        self.angle_adjoint(layer, tile, Features::made(angles_one), [zeros, r_second], [e_bar, a_bar], centre_bar)?;
        self.edge_adjoint(layer, tile, nothing, e_bar)?;
        // a' from a and e'.
        self.angle_adjoint(layer, tile, a, [r_angle, zeros], [e_bar, a_bar], centre_two)?;
        self.edge_adjoint(layer, tile, nothing, e_bar)?;
        // e' from e.
        let part = EdgePart { input: e, r_edge, joins: false, centre_bar: centre_two, ..nothing };
        self.edge_adjoint(layer, tile, part, e_bar)?;
        self.gather(layer, tile, zeros)
    }

    /// Adjoint of the nodes entering the layer: both rows of the centres' adjoints go through the projection.
    pub(super) fn finish_in_turn(&mut self, layer: usize) -> Result<(), DriverError> {
        self.finish(layer)?;
        let (zeros, centre) = (self.buffers.zeros, self.buffers.centre_bar_two);
        self.finish_with(layer, zeros, zeros, centre, zeros, 1.0)
    }
}
