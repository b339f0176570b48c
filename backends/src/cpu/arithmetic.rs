//! What the operations of a step compute and move, counted from the widths of a model: for machines that are not here.

use crate::network::Shapes;

/// Counts for each atom, edge, angle edge (an edge that carries angles) and angle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations in products; a multiply-add is two.
    pub flop: [f64; 4],
    /// Activations evaluated.
    pub activations: [f64; 4],
    /// Numbers of states read and written, in their stored form.
    pub stored: [f64; 4],
    /// Numbers of adjoints read and written, in the compute type.
    pub adjoints: [f64; 4],
    /// Bytes of geometry.
    pub bytes: [f64; 4],
}

/// Operations by layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arithmetic {
    /// A layer forward, without its projections; the last one with the fitting net and its gradient.
    pub forward: Vec<Cost>,
    /// Edges and angles of the next layer again.
    pub rebuild: Vec<Cost>,
    /// Angles of the next layer again.
    pub rebuild_angles: Vec<Cost>,
    /// A layer backward, its inside computed again, with the gradient of its projections.
    pub backward: Vec<Cost>,
    /// The projections of a layer.
    pub project: Vec<Cost>,
}

/// FLOP of a vector of `n` times an n x m matrix.
fn product(n: usize, m: usize) -> f64 {
    2.0 * n as f64 * m as f64
}

fn sum(a: [f64; 4], b: [f64; 4], factor: f64) -> [f64; 4] {
    std::array::from_fn(|k| a[k] + factor * b[k])
}

impl Arithmetic {
    /// Counts of a model whose fitting net multiplies with `fitting` weights. The counting rules are those of the specification, section 7,
    /// dead work left out; padded widths are what is computed.
    pub(crate) fn of(s: &Shapes, fitting: usize) -> Self {
        let mut all = Self::default();
        for l in 0..s.layers {
            let (wd, wa) = (s.edge_messages(l), s.angle_messages(l));
            let own = if s.updates_edges(l) { s.ep } else { 0 };
            let second = if s.has_angles(l) { s.ep } else { 0 };
            let to_self = if s.updates_angles(l) { s.ap } else { 0 };
            // Layer 0's angle features are multiples of one number: no product with the angle itself.
            let angle_in = if l == 0 { 1 } else { s.ap };
            let moments = product(3, s.ep + s.np);
            let gram = product(3 * s.axis, s.ep + s.np);
            let numbers = [s.np as f64, s.ep as f64, 0.0, if s.has_angles(l) { s.ap as f64 } else { 0.0 }];
            let only = |k: usize| -> [f64; 4] { std::array::from_fn(|j| if j == k { numbers[k] } else { 0.0 }) };
            // Node part: self, symmetrised moments, node-edge messages. Edge part: what a rebuild repeats.
            let nodes =
                [product(s.np, s.np) + gram + product(s.gram(), s.np), product(s.ep, wd - own) + moments, 0.0, 0.0];
            let edges =
                [0.0, product(s.ep, own) + product(s.ep, second), 2.0 * product(s.ec, wa), product(angle_in, wa)];
            let node_active = [2.0 * s.np as f64, (wd - own) as f64, 0.0, 0.0];
            let edge_active = [0.0, (own + second) as f64, 0.0, wa as f64];
            let project = product(s.np, s.centre_projection(l)) + product(s.np, wd);
            let flop = sum(nodes, edges, 1.0);
            let activations = sum(node_active, edge_active, 1.0);
            let moved = sum(numbers, numbers, 1.0);
            let mut forward =
                Cost { flop, activations, stored: moved, bytes: [0.0, 24.0, 0.0, 0.0], ..Cost::default() };
            if l + 1 == s.layers {
                // Forward and gradient.
                forward.flop[0] += 2.0 * 2.0 * fitting as f64;
            }
            all.forward.push(forward);
            all.rebuild.push(Cost {
                flop: edges,
                activations: edge_active,
                stored: sum(moved, only(0), -2.0),
                bytes: [0.0, 24.0, 0.0, 0.0],
                ..Cost::default()
            });
            all.rebuild_angles.push(Cost {
                flop: [0.0, 0.0, 2.0 * product(s.ec, to_self), product(angle_in, to_self)],
                activations: [0.0, 0.0, 0.0, to_self as f64],
                // The edges are read, not written.
                stored: sum(sum(moved, only(0), -2.0), only(1), -1.0),
                ..Cost::default()
            });
            // Once again forward, once for the gradient; two passes read and write adjoints.
            let mut twice = sum(flop, flop, 1.0);
            twice[0] += project;
            all.backward.push(Cost {
                flop: twice,
                activations,
                stored: numbers,
                adjoints: moved,
                bytes: [0.0, 48.0, 0.0, 0.0],
            });
            all.project.push(Cost { flop: [project, 0.0, 0.0, 0.0], ..Cost::default() });
        }
        all
    }
}
