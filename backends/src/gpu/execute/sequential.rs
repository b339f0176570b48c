//! Layers whose updates follow one another (specification 7.7): e' from e, a' from e', e'' from a' and e', nodes from e''. The kernels are
//! those of the other models, one after the other; a part that a kernel is not to do has zeros for its residual vector or its adjoint.
//! Exact and slow: nothing is fused, and the backward part makes e', a' and e'' of a tile again.

use super::super::array::Array;
use super::super::driver::{DriverError, Stream};
use super::layer::{AngleBackward, AngleForward, AnglePart, EdgeBackward, EdgeForward, Features};
use super::Executor;
use weir_engine::plan::placement::{Place, State};

impl Executor {
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
        let (one, spare) = (self.buffers.edges_one, self.buffers.angles_spare);
        let (e, a) = self.inputs(input);
        // No angle messages here: with them the kernel would leave its angle edges to be finished.
        let part = EdgeForward { input: e, wa: 0, finishes: false, nodes: false, out: one };
        self.edge_forward(layer, tile, part)?;
        self.edge_projections(layer, tile, Features::made(one))?;
        let part = AngleForward {
            angles: a,
            edges: Features::made(one),
            unfinished: one,
            part: AnglePart::Angles,
            rest: true,
            edges_out: edges,
            angles_out: angles,
        };
        self.angle_forward(layer, tile, part)?;
        if !only_angles {
            let all = AnglePart::All { keeps: false };
            let part = AngleForward { angles: Features::made(angles), part: all, angles_out: spare, ..part };
            self.angle_forward(layer, tile, part)?;
        }
        Ok((edges, angles))
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
                // The angle edges are left to be finished in a place that nobody reads; only the sums are wanted.
                let (_, _, wa) = self.widths(layer);
                let input = Features::made(edges);
                let part = EdgeForward { input, wa, finishes: false, nodes: true, out: Array::NONE };
                self.edge_forward(layer, tile, part)?;
                self.node_update(layer, tile)
            }
            false => Ok(()),
        }
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
        let (b, w) = (&self.buffers, &self.code.weights.layers[layer]);
        let (zeros, moment_bar, edges) = (b.zeros, b.moment_bar, b.edges_one);
        let ([centre_bar, centre_two], spare) = (b.centre_bars, b.centre_bar_spare);
        let (r_message, r_edge, r_angle, r_second) = (w.r_message, w.r_edge, w.r_angle, w.r_second);
        let (_, _, wa) = self.widths(layer);
        let second = AngleBackward {
            angles: Features::made(angles_one),
            edges: Features::made(edges),
            r_angle: zeros,
            r_second,
            e_bar,
            a_bar,
            centre_bar,
        };
        // What angle edges' projections and the second map owe to e', and nothing else.
        let joined = EdgeBackward {
            input: Features::made(edges),
            r_message: zeros,
            r_edge: zeros,
            moment_bar: zeros,
            wa,
            s_bar: b.s_bar,
            starts: false,
            e_bar,
            centre_bar: spare,
            angle_bar: centre_bar,
        };
        let alone = EdgeBackward { wa: 0, s_bar: Array::NONE, ..joined };
        let (e, a) = self.inputs(input);
        // The node update, from e''.
        let two = Features::made(two);
        self.node_adjoint(layer, tile, two)?;
        self.edge_backward(layer, tile, EdgeBackward { input: two, r_message, moment_bar, centre_bar, ..alone })?;
        // Nobody asks for the adjoint of layer 0's nodes.
        if layer > 0 {
            self.gather(layer, tile, moment_bar)?;
        }
        // e'' from a' and e'.
        self.angle_backward(layer, tile, second)?;
        self.edge_backward(layer, tile, joined)?;
        // a' from a and e'.
        let first = AngleBackward { angles: a, r_angle, r_second: zeros, centre_bar: centre_two, ..second };
        self.angle_backward(layer, tile, first)?;
        self.edge_backward(layer, tile, EdgeBackward { angle_bar: centre_two, ..joined })?;
        // e' from e.
        self.edge_backward(layer, tile, EdgeBackward { input: e, r_edge, centre_bar: centre_two, ..alone })?;
        match layer {
            0 => Ok(()),
            _ => self.gather(layer, tile, zeros),
        }
    }

    /// Adjoint of the nodes entering the layer: both rows of the centres' adjoints go through the projection.
    pub(super) fn finish_in_turn(&mut self, layer: usize) -> Result<(), DriverError> {
        let ([one, two], zeros) = (self.buffers.centre_bars, self.buffers.zeros);
        self.finish_with_own(layer, one)?;
        self.finish_with(layer, zeros, zeros, two, zeros, 1.0)
    }
}
