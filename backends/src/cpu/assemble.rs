//! From adjoints of the network's inputs to gradients of edge vectors, forces and virial (specification section 12), in f64.

use super::context::{cosine_scale, Context, Exact};
use super::rows::{angle_rows, Rows};
use super::scratch::Scratch;
use super::share::Shared;
use super::simd::Real;
use rayon::prelude::*;
use weir_engine::graph::Graph;

/// `dE/dd_e` of a centre's edges.
pub fn edge_gradients<T: Real>(
    ctx: &Context<T>,
    centre: usize,
    e_bar: &Rows<T>,
    a_bar: Option<&Rows<T>>,
    geometry_bar: &[[f64; 5]],
    t: &mut Scratch<T>,
    out: &mut [[f64; 3]],
) {
    let (s, graph) = (ctx.s, ctx.graph);
    let o = &ctx.model.descriptor.options;
    let edges = graph.edges_of(centre);
    let ne = edges.len();
    ctx.embed_edges(edges.clone(), &mut t.e0, &mut t.e2_slope);
    // SAFETY: the edges of this centre, which only this work item touches.
    let e_bar = unsafe { e_bar.of(edges.clone()) };
    for (k, e) in edges.clone().enumerate() {
        let exact = Exact::new(ctx.model, graph, centre, e);
        let (d, r) = (graph.vector[e], graph.distance[e]);
        let q = r + o.env_protection;
        let [w_bar, h0, h1, h2, v_bar] = geometry_bar[k];
        let row = &e_bar[k * s.ep..(k + 1) * s.ep];
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
    if let Some(a_bar) = a_bar {
        angle_gradients(ctx, centre, a_bar, t, &mut out[..ne]);
    }
}

/// The part that comes through the cosines of layer 0's angles.
fn angle_gradients<T: Real>(
    ctx: &Context<T>,
    centre: usize,
    a_bar: &Rows<T>,
    t: &mut Scratch<T>,
    out: &mut [[f64; 3]],
) {
    let (s, graph) = (ctx.s, ctx.graph);
    let m = graph.angle_edges[centre] as usize;
    let first = graph.first_edge[centre] as usize;
    ctx.unit_vectors(centre, &mut t.unit);
    let u_bar = &mut t.unit_bar[..m];
    u_bar.fill([0.0; 3]);
    for k in 0..m {
        // SAFETY: the angles of this centre, which only this work item touches.
        let rows = unsafe { angle_rows(a_bar, graph, centre, k) };
        for f in 0..m {
            let row = &rows[f * s.ap..][..s.a];
            let y_bar: f64 = row.iter().zip(&ctx.embedding.angle).map(|(a, w)| a.to_f64() * w.to_f64()).sum();
            let y = y_bar * cosine_scale();
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

/// Forces in input order: own edges in order, then incoming ones in ascending order. `sorted` is room for N.
pub fn forces(graph: &Graph, gradient: &[[f64; 3]], sorted: &mut [[f64; 3]], out: &mut Vec<[f64; 3]>) {
    sorted[..graph.atoms()].par_iter_mut().enumerate().with_min_len(64).for_each(|(i, force)| {
        let mut f = [0.0; 3];
        for e in graph.edges_of(i) {
            (0..3).for_each(|k| f[k] += gradient[e][k]);
        }
        for &e in &graph.incoming[graph.first_incoming[i] as usize..graph.first_incoming[i + 1] as usize] {
            (0..3).for_each(|k| f[k] -= gradient[e as usize][k]);
        }
        *force = f;
    });
    out.resize(graph.atoms(), [0.0; 3]);
    for (f, &input) in sorted.iter().zip(&graph.order) {
        out[input as usize] = *f;
    }
}

/// Sum of `n` terms by a tree whose shape depends on the count only.
pub fn tree_sum<const N: usize>(n: usize, term: &(impl Fn(usize) -> [f64; N] + Sync)) -> [f64; N] {
    fn range<const N: usize>(from: usize, to: usize, term: &(impl Fn(usize) -> [f64; N] + Sync)) -> [f64; N] {
        match to - from {
            0 => [0.0; N],
            1 => term(from),
            n => {
                let middle = from + n / 2;
                let (a, b) = match n {
                    4096.. => rayon::join(|| range(from, middle, term), || range(middle, to, term)),
                    _ => (range(from, middle, term), range(middle, to, term)),
                };
                std::array::from_fn(|k| a[k] + b[k])
            }
        }
    }
    range(0, n, term)
}

/// `W = - sum_e g_e (x) d_e`, per centre and then by the tree over input order. `per_atom` is room for N.
pub fn virial(graph: &Graph, gradient: &[[f64; 3]], per_atom: &mut [[f64; 9]]) -> [[f64; 3]; 3] {
    let rows = Shared::new(&mut *per_atom);
    graph.order.par_iter().enumerate().with_min_len(64).for_each(|(i, &input)| {
        // SAFETY: the row of this atom: every input index stands in an order once (`NeighbourList::build` looks).
        let out = &mut unsafe { rows.piece(input as usize, 1) }[0];
        *out = [0.0; 9];
        for e in graph.edges_of(i) {
            for k in 0..9 {
                out[k] -= gradient[e][k / 3] * graph.vector[e][k % 3];
            }
        }
    });
    let w = tree_sum(graph.atoms(), &|i| per_atom[i]);
    [[w[0], w[1], w[2]], [w[3], w[4], w[5]], [w[6], w[7], w[8]]]
}

/// Atomic virial of specification section 12, input order. `p[l]` are the gradients seeded with coordinate l of the centres.
pub fn atomic_virial(graph: &Graph, wrapped: &[[f64; 3]], g: &[[f64; 3]], p: &[Vec<[f64; 3]>; 3]) -> Vec<[f64; 9]> {
    let mut out = vec![[0.0; 9]; graph.atoms()];
    let rows = Shared::new(&mut out);
    graph.order.par_iter().enumerate().with_min_len(64).for_each(|(i, &input)| {
        let centre = wrapped[input as usize];
        // SAFETY: the row of this atom: every input index stands in an order once (`NeighbourList::build` looks).
        let sum = &mut unsafe { rows.piece(input as usize, 1) }[0];
        for e in graph.edges_of(i) {
            for k in 0..9 {
                let (a, l) = (k / 3, k % 3);
                sum[k] += g[e][a] * centre[l] - p[l][e][a];
            }
        }
        for &e in &graph.incoming[graph.first_incoming[i] as usize..graph.first_incoming[i + 1] as usize] {
            let e = e as usize;
            let from = graph.first_edge.partition_point(|&f| f as usize <= e) - 1;
            let start = wrapped[graph.order[from] as usize];
            for k in 0..9 {
                let (a, l) = (k / 3, k % 3);
                sum[k] -= g[e][a] * (start[l] + graph.vector[e][l]) - p[l][e][a];
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As one thread alone would do it.
    fn plain(from: usize, to: usize, term: &impl Fn(usize) -> f64) -> f64 {
        match to - from {
            0 => 0.0,
            1 => term(from),
            n => plain(from, from + n / 2, term) + plain(from + n / 2, to, term),
        }
    }

    #[test]
    fn a_tree_has_the_same_sum_for_every_number_of_threads() {
        let term = |i: usize| ((i * 7919 % 1013) as f64 - 500.0) * 10f64.powi((i % 31) as i32 - 15);
        for n in [0, 1, 4095, 4096, 20_000] {
            let expected = plain(0, n, &term);
            for threads in [1, 2, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let got = pool.install(|| tree_sum(n, &|i| [term(i)])[0]);
                assert_eq!(got.to_bits(), expected.to_bits(), "{n} terms, {threads} threads");
            }
        }
        assert_ne!(plain(0, 20_000, &term), (0..20_000).map(term).sum::<f64>(), "the order shows");
    }
}
