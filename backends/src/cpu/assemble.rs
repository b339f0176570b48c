//! From adjoints of the network's inputs to gradients of edge vectors, forces and virial (specification section 12), in f64.

use super::context::{cosine_scale, Context, Exact};
use super::scratch::Scratch;
use super::simd::Real;
use rayon::prelude::*;
use weir_engine::graph::Graph;

/// `dE/dd_e` of a centre's edges.
pub fn edge_gradients<T: Real>(
    ctx: &Context<T>,
    centre: usize,
    e_bar: &[T],
    a_bar: &[T],
    geometry_bar: &[[f64; 5]],
    t: &mut Scratch<T>,
    out: &mut [[f64; 3]],
) {
    let (s, graph) = (ctx.s, ctx.graph);
    let o = &ctx.model.descriptor.options;
    let edges = graph.edges_of(centre);
    let ne = edges.len();
    ctx.embed_edges(edges.clone(), &mut t.e0, &mut t.e2_slope);
    for (k, e) in edges.clone().enumerate() {
        let exact = Exact::new(ctx.model, graph, centre, e);
        let (d, r) = (graph.vector[e], graph.distance[e]);
        let q = r + o.env_protection;
        let [w_bar, h0, h1, h2, v_bar] = geometry_bar[k];
        let row = &e_bar[e * s.ep..(e + 1) * s.ep];
        let x_bar: f64 = (0..s.e)
            .map(|c| row[c].to_f64() * t.e2_slope[k * s.ep + c].to_f64() * ctx.embedding.edge[c].to_f64())
            .sum();
        let (w, dw) = exact.w;
        let h_bar = [h0 / exact.std[1], h1 / exact.std[2], h2 / exact.std[3]];
        let along = h_bar[0] * d[0] + h_bar[1] * d[1] + h_bar[2] * d[2];
        let x_slope = if o.edge_init_use_dist { x_bar } else { x_bar / exact.std[0] * (dw / q - w / (q * q)) };
        let mut radial = w_bar * dw + x_slope + along * (dw / (q * q) - 2.0 * w / (q * q * q));
        if k < graph.angle_edges[centre] as usize {
            radial += v_bar * exact.v.1;
        }
        for axis in 0..3 {
            out[k][axis] = radial * d[axis] / r + h_bar[axis] * w / (q * q);
        }
    }
    if s.has_angles(0) {
        angle_gradients(ctx, centre, a_bar, t, &mut out[..ne]);
    }
}

/// The part that comes through the cosines of layer 0's angles.
fn angle_gradients<T: Real>(ctx: &Context<T>, centre: usize, a_bar: &[T], t: &mut Scratch<T>, out: &mut [[f64; 3]]) {
    let (s, graph) = (ctx.s, ctx.graph);
    let m = graph.angle_edges[centre] as usize;
    let first = graph.first_edge[centre] as usize;
    let angles = graph.first_angle[centre] as usize;
    ctx.unit_vectors(centre, &mut t.unit);
    let y_bar = |k: usize, f: usize| -> f64 {
        let row = &a_bar[(angles + k * m + f) * s.ap..][..s.a];
        row.iter().zip(&ctx.embedding.angle).map(|(a, w)| a.to_f64() * w.to_f64()).sum()
    };
    let mut u_bar = vec![[0.0; 3]; m];
    for k in 0..m {
        for f in 0..m {
            let y = y_bar(k, f) * cosine_scale();
            for axis in 0..3 {
                u_bar[k][axis] += y * t.unit[f][axis];
                u_bar[f][axis] += y * t.unit[k][axis];
            }
        }
    }
    for k in 0..m {
        let (d, r) = (graph.vector[first + k], graph.distance[first + k]);
        let q = r + 1e-6;
        let along = u_bar[k][0] * d[0] + u_bar[k][1] * d[1] + u_bar[k][2] * d[2];
        for axis in 0..3 {
            out[k][axis] += u_bar[k][axis] / q - d[axis] * along / (r * q * q);
        }
    }
}

/// Forces in input order: own edges in order, then incoming ones in ascending order.
pub fn forces(graph: &Graph, gradient: &[[f64; 3]], out: &mut Vec<[f64; 3]>) {
    let sorted: Vec<[f64; 3]> = (0..graph.atoms())
        .into_par_iter()
        .with_min_len(64)
        .map(|i| {
            let mut f = [0.0; 3];
            for e in graph.edges_of(i) {
                (0..3).for_each(|k| f[k] += gradient[e][k]);
            }
            for &e in &graph.incoming[graph.first_incoming[i] as usize..graph.first_incoming[i + 1] as usize] {
                (0..3).for_each(|k| f[k] -= gradient[e as usize][k]);
            }
            f
        })
        .collect();
    out.resize(graph.atoms(), [0.0; 3]);
    for (f, &input) in sorted.iter().zip(&graph.order) {
        out[input as usize] = *f;
    }
}

/// Sum by a tree whose shape depends on the count only.
pub fn tree_sum<const N: usize>(terms: &[[f64; N]]) -> [f64; N] {
    match terms.len() {
        0 => [0.0; N],
        1 => terms[0],
        n => {
            let (a, b) = terms.split_at(n / 2);
            let (a, b) = (tree_sum(a), tree_sum(b));
            std::array::from_fn(|k| a[k] + b[k])
        }
    }
}

/// `W = - sum_e g_e (x) d_e`, per centre and then by the tree over input order.
pub fn virial(graph: &Graph, gradient: &[[f64; 3]]) -> [[f64; 3]; 3] {
    let mut per_atom = vec![[0.0; 9]; graph.atoms()];
    for i in 0..graph.atoms() {
        let out = &mut per_atom[graph.order[i] as usize];
        for e in graph.edges_of(i) {
            for k in 0..9 {
                out[k] -= gradient[e][k / 3] * graph.vector[e][k % 3];
            }
        }
    }
    let w = tree_sum(&per_atom);
    [[w[0], w[1], w[2]], [w[3], w[4], w[5]], [w[6], w[7], w[8]]]
}

/// Atomic virial of specification section 12, input order. `p[l]` are the gradients seeded with coordinate l of the centres.
pub fn atomic_virial(graph: &Graph, wrapped: &[[f64; 3]], g: &[[f64; 3]], p: &[Vec<[f64; 3]>; 3]) -> Vec<[f64; 9]> {
    let mut out = vec![[0.0; 9]; graph.atoms()];
    for i in 0..graph.atoms() {
        let input = graph.order[i] as usize;
        let centre = wrapped[input];
        for e in graph.edges_of(i) {
            for k in 0..9 {
                let (a, l) = (k / 3, k % 3);
                out[input][k] += g[e][a] * centre[l] - p[l][e][a];
            }
        }
        for &e in &graph.incoming[graph.first_incoming[i] as usize..graph.first_incoming[i + 1] as usize] {
            let e = e as usize;
            let from = graph.first_edge.partition_point(|&f| f as usize <= e) - 1;
            let start = wrapped[graph.order[from] as usize];
            for k in 0..9 {
                let (a, l) = (k / 3, k % 3);
                out[input][k] -= g[e][a] * (start[l] + graph.vector[e][l]) - p[l][e][a];
            }
        }
    }
    out
}
