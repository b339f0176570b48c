//! What every phase of a step reads: graph, shapes, rounded geometry, embeddings.

use super::clock::{Class, Clock};
use super::kernels_edge::EdgeInput;
use super::simd::{ActivationKernel, Activator, Old, PackedMatrix, Real};
use crate::network::{padded, Shapes};
use pulp::{Arch, WithSimd};
use weir_engine::graph::Graph;
use weir_engine::model::{Linear, Model};
use weir_engine::reference::switch;

/// Edge and angle embeddings (specification section 6), padded.
#[derive(Clone, Debug)]
pub struct Embedding<T> {
    /// `W_edge`, Ep
    pub edge: Vec<T>,
    /// `b_edge`, Ep
    pub edge_bias: Vec<T>,
    /// `W_angle`, Ap
    pub angle: Vec<T>,
    /// Raw distances enter without activation.
    pub plain: bool,
}

impl<T: Real> Embedding<T> {
    /// Of a model.
    pub fn new(model: &Model) -> Self {
        let row = |values: &[f64]| {
            let mut out = vec![T::default(); padded(values.len())];
            out.iter_mut().zip(values).for_each(|(o, &v)| *o = T::from_f64(v));
            out
        };
        let d = &model.descriptor;
        let bias = |map: &Linear| row(map.bias.as_deref().unwrap_or(&vec![0.0; map.outputs]));
        Self {
            edge: row(&d.edge_embd.weight),
            edge_bias: bias(&d.edge_embd),
            angle: row(&d.angle_embd.weight),
            plain: d.options.edge_init_use_dist,
        }
    }
}

/// Read-only surroundings of a phase.
pub struct Context<'a, T> {
    /// Of the step's kernel calls.
    pub clock: &'a Clock,
    /// Instruction set.
    pub arch: Arch,
    /// Widths.
    pub s: &'a Shapes,
    /// Options and statistics.
    pub model: &'a Model,
    /// Edges and angles.
    pub graph: &'a Graph,
    /// Activation of all messages.
    pub activator: &'a Activator<T>,
    /// Rounded geometry, E.
    pub geometry: &'a [EdgeInput<T>],
    /// `(w, h)` of all edges in double precision, E.
    pub exact: &'a [[f64; 4]],
    /// Section 6.
    pub embedding: &'a Embedding<T>,
}

impl<T: Real> Context<'_, T> {
    /// A kernel of this class.
    #[inline(always)]
    pub fn run<K: WithSimd>(&self, class: Class, kernel: K) -> K::Output {
        self.clock.time(class, || self.arch.dispatch(kernel))
    }

    /// [`PackedMatrix::multiply`].
    #[inline(always)]
    pub fn multiply(
        &self,
        matrix: &PackedMatrix<T>,
        rows: usize,
        a: &[T],
        a_stride: usize,
        c: &mut [T],
        c_stride: usize,
        columns: usize,
        old: Old<T>,
    ) {
        let call = || matrix.multiply(self.arch, rows, a, a_stride, c, c_stride, columns, old);
        self.clock.product(rows, matrix.inputs, columns, call);
    }
}

/// Double-precision geometry of one edge.
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    /// `w_e` and its slope.
    pub w: (f64, f64),
    /// `v_e` and its slope.
    pub v: (f64, f64),
    /// `h_e`
    pub h: [f64; 3],
    /// `x_e`
    pub x: f64,
    /// davg, dstd of the centre's type and the slot.
    pub std: [f64; 4],
}

impl Exact {
    /// Sections 4 and 5 for edge `e` of a centre.
    pub fn new(model: &Model, graph: &Graph, centre: usize, e: usize) -> Self {
        let o = &model.descriptor.options;
        let (d, r) = (graph.vector[e], graph.distance[e]);
        let w = switch(r, o.e_rcut_smth, o.e_rcut, o.use_exp_switch);
        let v = switch(r, o.a_rcut_smth, o.a_rcut, o.use_exp_switch);
        let t = graph.types[centre].max(0) as usize;
        let (avg, std) = model.descriptor.statistics.of(t, graph.slot[e] as usize);
        let q = r + o.env_protection;
        let h = std::array::from_fn(|k| (d[k] * (w.0 / (q * q)) - avg[k + 1]) / std[k + 1]);
        let x = if o.edge_init_use_dist { r } else { (w.0 / q - avg[0]) / std[0] };
        Self { w, v, h, x, std: std::array::from_fn(|k| std[k]) }
    }
}

/// `(1 - 1e-6) / sqrt(pi)`: scalar product of two unit vectors to the angle input y.
pub fn cosine_scale() -> f64 {
    (1.0 - 1e-6) / std::f64::consts::PI.sqrt()
}

/// `d / (r + 1e-6)`
pub fn unit_vector(graph: &Graph, e: usize) -> [f64; 3] {
    let q = graph.distance[e] + 1e-6;
    graph.vector[e].map(|x| x / q)
}

/// Fills the rounded geometry of all edges, and `(w, h)` in double precision.
pub fn round_geometry<T: Real>(model: &Model, graph: &Graph, out: &mut [EdgeInput<T>], doubles: &mut [[f64; 4]]) {
    round_range(model, graph, 0..graph.atoms(), out, doubles);
}

/// Halves the centres until few are left: nothing is allocated.
fn round_range<T: Real>(
    model: &Model,
    graph: &Graph,
    centres: std::ops::Range<usize>,
    out: &mut [EdgeInput<T>],
    doubles: &mut [[f64; 4]],
) {
    if centres.len() > 64 {
        let middle = centres.start + centres.len() / 2;
        let at = (graph.first_edge[middle] - graph.first_edge[centres.start]) as usize;
        let ((a, b), (c, d)) = (out.split_at_mut(at), doubles.split_at_mut(at));
        rayon::join(
            || round_range(model, graph, centres.start..middle, a, c),
            || round_range(model, graph, middle..centres.end, b, d),
        );
        return;
    }
    let o = &model.descriptor.options;
    let (edge_scale, angle_scale) = (1.0 / o.edge_scale().sqrt(), 1.0 / o.angle_scale().sqrt().sqrt());
    let first = graph.first_edge[centres.start] as usize;
    for i in centres {
        for e in graph.edges_of(i) {
            let exact = Exact::new(model, graph, i, e);
            doubles[e - first] = [exact.w.0, exact.h[0], exact.h[1], exact.h[2]];
            out[e - first] = EdgeInput {
                w: T::from_f64(exact.w.0),
                v: T::from_f64(exact.v.0 * angle_scale),
                x: T::from_f64(exact.x),
                wh: exact.h.map(|h| T::from_f64(exact.w.0 * h * edge_scale)),
            };
        }
    }
}

impl<T: Real> Context<'_, T> {
    /// Edge features of layer 0 for a centre's edges, ne x Ep; with `slopes`, the derivative of the activation too.
    pub fn embed_edges(&self, edges: std::ops::Range<usize>, out: &mut [T], slopes: &mut [T]) {
        let ep = self.s.ep;
        let count = edges.len() * ep;
        let (w, b) = (&self.embedding.edge, &self.embedding.edge_bias);
        self.run(
            Class::Element,
            #[inline(always)]
            || {
                for (row, e) in out[..count].chunks_exact_mut(ep).zip(edges.clone()) {
                    let x = self.geometry[e].x.to_f64();
                    for c in 0..ep {
                        row[c] = T::from_f64(x * w[c].to_f64() + b[c].to_f64());
                    }
                }
            },
        );
        let slopes = if slopes.is_empty() { slopes } else { &mut slopes[..count] };
        if self.embedding.plain {
            slopes.fill(T::from_f64(1.0));
        } else {
            ActivationKernel { activator: self.activator, values: &mut out[..count], slopes }.start(self.arch);
        }
    }

    /// Unit vectors of a centre's angle edges.
    pub fn unit_vectors(&self, centre: usize, out: &mut [[f64; 3]]) {
        let first = self.graph.first_edge[centre] as usize;
        for k in 0..self.graph.angle_edges[centre] as usize {
            out[k] = unit_vector(self.graph, first + k);
        }
    }

    /// `v_e v_f` with the normalisation, for receiving edge number k of the centre.
    pub fn angle_weights(&self, first: usize, m: usize, k: usize, out: &mut [T]) {
        let v = self.geometry[first + k].v.to_f64();
        for f in 0..m {
            out[f] = T::from_f64(v * self.geometry[first + f].v.to_f64());
        }
    }

    /// Pre-activation and feature of layer 0's angles (e, all f): multiples of fixed vectors.
    pub fn embed_angles(&self, unit: &[[f64; 3]], m: usize, k: usize, first: &[T], c: &mut [T], a0: &mut [T]) {
        let (wa, ap) = (first.len(), self.s.ap);
        self.run(
            Class::Element,
            #[inline(always)]
            || {
                for f in 0..m {
                    let y = T::from_f64(self.cosine(unit, k, f)).to_f64();
                    for (c, w) in c[f * wa..(f + 1) * wa].iter_mut().zip(first) {
                        *c = T::from_f64(y * w.to_f64());
                    }
                    for (a, w) in a0[f * ap..(f + 1) * ap].iter_mut().zip(&self.embedding.angle) {
                        *a = T::from_f64(y * w.to_f64());
                    }
                }
            },
        );
    }

    /// Angle input y of edges k and f of one centre.
    pub fn cosine(&self, unit: &[[f64; 3]], k: usize, f: usize) -> f64 {
        (unit[k][0] * unit[f][0] + unit[k][1] * unit[f][1] + unit[k][2] * unit[f][2]) * cosine_scale()
    }
}
