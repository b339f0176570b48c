//! Launches of a layer's kernels on a tile of centres. The long lists of arguments stand here once, for layers whose updates stand side by
//! side (`forward.rs`, `backward.rs`) and for those whose updates follow one another (`sequential.rs`).

use super::super::array::Array;
use super::super::driver::DriverError;
use super::super::launch::args;
use super::super::second;
use super::Executor;
use weir_engine::plan::placement::{Place, State};

/// Features that a kernel reads: layer 0's are made from geometry.
#[derive(Clone, Copy)]
pub(super) struct Features {
    pub first: u32,
    pub state: Array,
}

impl Features {
    pub fn made(state: Array) -> Self {
        Self { first: 0, state }
    }
}

/// What an edge kernel reads and writes.
#[derive(Clone, Copy)]
pub(super) struct EdgeForward {
    pub input: Features,
    /// Width of the angle messages. Where there are any, edges are left to be finished by their kernel: all of them, or (`finishes`)
    /// those of angles.
    pub wa: u32,
    pub finishes: bool,
    /// Whether sums for the node update are made too.
    pub nodes: bool,
    pub out: Array,
}

/// What of an angle kernel's work is wanted (`angle.h`).
#[derive(Clone, Copy)]
pub(super) enum AnglePart {
    /// All of it.
    All {
        /// With the slopes of the second map, where the plan keeps them for the adjoint.
        keeps: bool,
    },
    /// The angles' own update; edges stay as they are.
    Angles,
    /// Slopes of the second map alone, for an adjoint that follows at once.
    Slopes,
}

/// Blocks of a centre (`angle.h`).
const BLOCKS: u64 = 2;

/// Where slopes of the second map lie (`angle.h`).
const OF_TILE: u32 = 1;
const OF_ALL: u32 = 2;

/// What an angle kernel reads and writes.
#[derive(Clone, Copy)]
pub(super) struct AngleForward {
    pub angles: Features,
    /// Edges whose features the messages are made of.
    pub edges: Features,
    /// Angle edges that wait for their second message.
    pub unfinished: Array,
    /// What is wanted.
    pub part: AnglePart,
    /// Whether edges outside the angle set wait too.
    pub rest: bool,
    pub edges_out: Array,
    pub angles_out: Array,
}

/// The same of its adjoint.
#[derive(Clone, Copy)]
pub(super) struct AngleBackward {
    pub angles: Features,
    pub edges: Features,
    pub r_angle: Array,
    pub r_second: Array,
    pub e_bar: Array,
    pub a_bar: Array,
    pub centre_bar: Array,
}

/// What an edge kernel's adjoint reads and writes.
#[derive(Clone, Copy)]
pub(super) struct EdgeBackward {
    pub input: Features,
    pub r_message: Array,
    pub r_edge: Array,
    pub moment_bar: Array,
    /// Width of the angle edges' projections whose adjoints join the edges; 0: none does.
    pub wa: u32,
    /// What the second map owes to the edges; none: nothing.
    pub s_bar: Array,
    /// Whether the edges' adjoint begins here, without an old value.
    pub starts: bool,
    pub e_bar: Array,
    pub centre_bar: Array,
    /// Adjoint of the centres' projections where the angles' columns are, if `wa`.
    pub angle_bar: Array,
}

impl Executor {
    /// Widths of a layer: centre, edge and angle messages.
    pub(super) fn widths(&self, layer: usize) -> (u32, u32, u32) {
        let s = &self.shapes;
        (s.centre_projection(layer) as u32, s.edge_messages(layer) as u32, s.angle_messages(layer) as u32)
    }

    /// Edges and angles entering a layer.
    pub(super) fn inputs(&self, input: State) -> (Features, Features) {
        let of = |place: Place| Features { first: u32::from(place == Place::Initial), state: self.arenas.place(place) };
        (of(input.edges), of(input.angles))
    }

    /// Where a layer's kernels tell a feature beyond the stored form's range.
    fn flag(&self, layer: usize) -> Array {
        Array { at: self.buffers.too_large.at + 4 * (layer as u64 + 1), bytes: 4 }
    }

    pub(super) fn edge_projections(&mut self, layer: usize, tile: usize, edges: Features) -> Result<(), DriverError> {
        let ((first_centre, count), (_, _, wa)) = (self.centres(tile), self.widths(layer));
        let (b, m) = (&self.buffers, &self.code.weights);
        // Null pointers where the layer has no angle maps.
        let a = m.layers[layer].angle.unwrap_or_default();
        self.launcher.over(
            self.launcher.kernels.edge_projections,
            count,
            1,
            self.launcher.shared.edge_projections,
            args![
                first_centre,
                b.turns,
                b.first_edge,
                b.angle_edges,
                b.first_pair,
                b.geometry,
                edges.first,
                edges.state,
                m.edge_weight,
                m.edge_bias,
                wa,
                a.other.forward,
                b.other
            ],
        )
    }

    pub(super) fn edge_forward(&mut self, layer: usize, tile: usize, p: EdgeForward) -> Result<(), DriverError> {
        let ((first_centre, count), (wc, wd, _), flag) = (self.centres(tile), self.widths(layer), self.flag(layer));
        let (b, m, w) = (&self.buffers, &self.code.weights, &self.code.weights.layers[layer]);
        let [centre, neighbour] = b.banks[layer % b.banks.len()];
        let a = w.angle.unwrap_or_default();
        let second = if p.finishes { [a.bias2, w.r_second] } else { [Array::NONE; 2] };
        self.launcher.over(
            self.launcher.kernels.edge_forward,
            count,
            1,
            self.launcher.shared.edge_forward,
            args![
                first_centre,
                b.turns,
                b.first_edge,
                b.angle_edges,
                b.first_pair,
                b.neighbour,
                b.geometry,
                p.input.first,
                p.input.state,
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
                p.wa,
                a.other.forward,
                b.other,
                second[0],
                second[1],
                u32::from(p.nodes),
                b.message_sum,
                b.moments_of(layer),
                b.owed,
                p.out,
                flag
            ],
        )
    }

    /// Of a layer that has angle maps.
    pub(super) fn angle_forward(&mut self, layer: usize, tile: usize, p: AngleForward) -> Result<(), DriverError> {
        let (part, place, second) = match (p.part, self.arenas.inside(layer, second::PART)) {
            (AnglePart::All { keeps: true }, Some(kept)) => (0u32, OF_ALL, kept),
            (AnglePart::All { .. }, _) => (0, 0, Array::NONE),
            (AnglePart::Angles, _) => (1, 0, Array::NONE),
            // What neighbours are owed is made after them.
            (AnglePart::Slopes, _) => (2, OF_TILE, self.buffers.owed),
        };
        let ((first_centre, count), (wc, wd, wa), flag) = (self.centres(tile), self.widths(layer), self.flag(layer));
        let (b, m, w) = (&self.buffers, &self.code.weights, &self.code.weights.layers[layer]);
        let [centre, _] = b.banks[layer % b.banks.len()];
        let a = w.angle.expect("only layers with angle maps have angle messages");
        self.launcher.over(
            self.launcher.kernels.angle_forward,
            BLOCKS * count,
            1,
            self.launcher.shared.angle_forward,
            args![
                first_centre,
                b.turns,
                b.first_edge,
                b.angle_edges,
                b.first_angle,
                b.first_pair,
                b.geometry,
                b.vector,
                b.distance,
                p.angles.first,
                p.angles.state,
                p.edges.first,
                p.edges.state,
                m.edge_weight,
                m.edge_bias,
                m.angle_weight,
                centre,
                wc,
                wd,
                a.angle.forward,
                wa,
                a.own.forward,
                b.other,
                w.r_angle,
                w.keep[2],
                a.linear2.forward,
                a.bias2,
                w.r_second,
                part,
                u32::from(p.rest),
                p.unfinished,
                p.edges_out,
                p.angles_out,
                place,
                second,
                flag
            ],
        )
    }

    /// Of a layer that has angle maps, where it takes the place of what neighbours are owed for a while: they have been given it.
    pub(super) fn angle_backward(&mut self, layer: usize, tile: usize, p: AngleBackward) -> Result<(), DriverError> {
        let (place, second) = match self.arenas.inside(layer, second::PART) {
            Some(kept) => (OF_ALL, kept),
            None => {
                let made = AngleForward {
                    angles: p.angles,
                    edges: p.edges,
                    unfinished: Array::NONE,
                    part: AnglePart::Slopes,
                    rest: false,
                    edges_out: Array::NONE,
                    angles_out: Array::NONE,
                };
                self.angle_forward(layer, tile, made)?;
                (OF_TILE, self.buffers.owed)
            }
        };
        let ((first_centre, count), (wc, wd, wa)) = (self.centres(tile), self.widths(layer));
        let apart = self.layout.capacity.tile_pairs as u32;
        let (b, m, w) = (&self.buffers, &self.code.weights, &self.code.weights.layers[layer]);
        let [centre, _] = b.banks[layer % b.banks.len()];
        let a = w.angle.expect("only layers with angle maps have angle messages");
        self.launcher.over(
            self.launcher.kernels.angle_backward,
            BLOCKS * count,
            1,
            self.launcher.shared.angle_backward,
            args![
                first_centre,
                b.turns,
                b.first_edge,
                b.angle_edges,
                b.first_angle,
                b.first_pair,
                b.geometry,
                b.vector,
                b.distance,
                p.angles.first,
                p.angles.state,
                p.edges.first,
                p.edges.state,
                m.edge_weight,
                m.edge_bias,
                m.angle_weight,
                centre,
                wc,
                wd,
                a.angle.forward,
                a.angle.adjoint,
                wa,
                a.own.forward,
                a.own.adjoint,
                b.other,
                p.r_angle,
                w.keep[2],
                a.linear2.forward,
                a.linear2.adjoint,
                a.bias2,
                p.r_second,
                place,
                second,
                p.e_bar,
                p.a_bar,
                b.own_bar,
                b.other_bar,
                apart,
                b.s_bar,
                p.centre_bar,
                b.centre_second,
                b.geometry_bar
            ],
        )
    }

    pub(super) fn edge_backward(&mut self, layer: usize, tile: usize, p: EdgeBackward) -> Result<(), DriverError> {
        let ((first_centre, count), (wc, wd, _)) = (self.centres(tile), self.widths(layer));
        let apart = self.layout.capacity.tile_pairs as u32;
        let (b, m, w) = (&self.buffers, &self.code.weights, &self.code.weights.layers[layer]);
        let [centre, neighbour] = b.banks[layer % b.banks.len()];
        let a = w.angle.unwrap_or_default();
        self.launcher.over(
            self.launcher.kernels.edge_backward,
            count,
            1,
            self.launcher.shared.edge_backward,
            args![
                first_centre,
                b.turns,
                b.first_edge,
                b.angle_edges,
                b.first_pair,
                b.neighbour,
                b.geometry,
                b.exact,
                p.input.first,
                p.input.state,
                m.edge_weight,
                m.edge_bias,
                b.nodes[layer],
                centre,
                wc,
                neighbour,
                wd,
                w.edge.forward,
                w.edge.adjoint,
                p.r_message,
                w.edge_scale,
                p.r_edge,
                w.keep[1],
                p.wa,
                a.other.adjoint,
                b.own_bar,
                b.other_bar,
                apart,
                b.centre_second,
                p.angle_bar,
                p.s_bar,
                b.node_bar,
                p.moment_bar,
                u32::from(p.starts),
                p.e_bar,
                b.owed,
                p.centre_bar,
                b.geometry_bar
            ],
        )
    }
}
