//! One layer backward for a block of centres (specification section 12): makes the layer's inside again from its input, or takes what was
//! kept of it, then turns the adjoints of its output into adjoints of its input, in place. What neighbours are owed stays in the tile's
//! message adjoints and the centres' moment adjoints until the gather.

use super::clock::Class;
use super::context::Context;
use super::forward::AngleMaps;
use super::inside::InsideRows;
use super::kernels_angle::{AngleBackward, AngleRecompute};
use super::kernels_edge::{EdgeAdjoint, EdgeBackward};
use super::kernels_moments::{Moments, MomentsBackward};
use super::loops::{add_rows, bias_activate, gram, gram_backward, join, scaled_product};
use super::rows::{angle_range, angle_rows, edge_rows, unpack_angles, Features, Rows};
use super::scratch::Scratch;
use super::share::Shared;
use super::simd::{Old, Real};
use super::weights::{AngleWeights, LayerWeights};
use std::ops::Range;

/// What a backward layer reads and writes.
pub struct BackwardLayer<'a, T> {
    /// Layer number.
    pub layer: usize,
    /// Its weights.
    pub weights: &'a LayerWeights<T>,
    /// Node features entering the layer, N x Np.
    pub nodes: &'a [T],
    /// Projections of all nodes as centre.
    pub centre: &'a [T],
    /// Projections of all nodes as neighbour.
    pub neighbour: &'a [T],
    /// Edge and angle features entering the layer.
    pub input: Features<'a, T>,
    /// Adjoint of the node features leaving, N x Np.
    pub node_bar: &'a [T],
    /// Adjoints of edges, in place.
    pub e_bar: Rows<'a, T>,
    /// Adjoints of angles, in place, where the layer has angles.
    pub a_bar: Option<Rows<'a, T>>,
    /// Out: adjoints of M1's pre-activation, N x Np.
    pub self_bar: Shared<'a, T>,
    /// Out: adjoints of the centre projections.
    pub centre_bar: Shared<'a, T>,
    /// Out: adjoints of the node moments, N x 3 Np.
    pub moment_bar: Shared<'a, T>,
    /// Out: adjoints of the messages' pre-activations of the tile's edges, from edge `first_edge`.
    pub message_bar: Shared<'a, T>,
    /// First edge of the tile.
    pub first_edge: usize,
    /// Adds `dE/d(w, h, v)` of every edge, E.
    pub geometry_bar: Shared<'a, [f64; 5]>,
    /// What the forward pass has kept of the inside.
    pub inside: InsideRows<'a, T>,
}

impl<T: Real> BackwardLayer<'_, T> {
    /// Computes the centres of a block.
    pub fn block(&self, ctx: &Context<T>, block: Range<usize>, t: &mut Scratch<T>) {
        let s = ctx.s;
        for (k, i) in block.clone().enumerate() {
            if let Some([moments, ..]) = &self.inside.nodes {
                // SAFETY: the rows of this block.
                let kept = unsafe { moments.piece(i * s.moments(), s.moments()) };
                t.h[k * s.moments()..(k + 1) * s.moments()].copy_from_slice(kept);
                continue;
            }
            let edges = ctx.graph.edges_of(i);
            let mut e0 = std::mem::take(&mut t.e0);
            let e = edge_rows(ctx, &self.input, edges.clone(), &mut e0);
            let out = &mut t.h[k * s.moments()..(k + 1) * s.moments()];
            let owners = &ctx.graph.neighbour[edges.clone()];
            let geometry = &ctx.geometry[edges];
            ctx.run(Class::Reduce, Moments { geometry, owners, e, ep: s.ep, n: self.nodes, np: s.np, out });
            t.e0 = e0;
        }
        self.nodes(ctx, block.clone(), t);
        for (k, i) in block.enumerate() {
            self.centre(ctx, i, k, t);
        }
    }

    /// Adjoints of the node update: M1's pre-activation, M3 (into `m3`), moments (into `h_bar`).
    fn nodes(&self, ctx: &Context<T>, block: Range<usize>, t: &mut Scratch<T>) {
        let (s, w, rows) = (ctx.s, self.weights, block.len());
        let count = rows * s.np;
        let span = block.start * s.np..block.end * s.np;
        let bar = &self.node_bar[span.clone()];
        // SAFETY: the node rows of this block.
        let self_bar = unsafe { self.self_bar.piece(block.start * s.np, count) };
        match &self.inside.nodes {
            Some([_, self_slope, sym_slope]) => {
                // SAFETY: the node rows of this block.
                let (m1, m2) = unsafe { (self_slope.piece(span.start, count), sym_slope.piece(span.start, count)) };
                scaled_product(ctx, bar, &w.r_self, m1, self_bar);
                scaled_product(ctx, bar, &w.r_sym, m2, &mut t.n3[..count]);
            }
            None => {
                // M1
                ctx.multiply(
                    &w.node_self.forward,
                    rows,
                    &self.nodes[span],
                    s.np,
                    &mut t.n1,
                    s.np,
                    s.np,
                    Old::Overwritten,
                );
                bias_activate(ctx, &mut t.n1[..count], &w.node_self_bias, &mut t.n2[..count]);
                scaled_product(ctx, bar, &w.r_self, &t.n2[..count], self_bar);
                // M2
                for k in 0..rows {
                    gram(ctx, &t.h[k * s.moments()..], &mut t.q[k * s.gram()..(k + 1) * s.gram()]);
                }
                ctx.multiply(&w.sym.forward, rows, &t.q, s.gram(), &mut t.n1, s.np, s.np, Old::Overwritten);
                bias_activate(ctx, &mut t.n1[..count], &w.sym_bias, &mut t.n2[..count]);
                scaled_product(ctx, bar, &w.r_sym, &t.n2[..count], &mut t.n3[..count]);
            }
        }
        ctx.multiply(&w.sym.adjoint, rows, &t.n3, s.np, &mut t.q, s.gram(), s.gram(), Old::Overwritten);
        for (k, i) in block.enumerate() {
            let h_bar = &mut t.h_bar[k * s.moments()..(k + 1) * s.moments()];
            gram_backward(ctx, &t.h[k * s.moments()..], &t.q[k * s.gram()..], h_bar);
            // SAFETY: the row of this centre.
            let out = unsafe { self.moment_bar.piece(i * 3 * s.np, 3 * s.np) };
            out.copy_from_slice(&h_bar[3 * s.ep..]);
            // M3
            for head in 0..s.heads {
                for c in 0..s.np {
                    let col = head * s.np + c;
                    t.m3[k * s.mp() + col] =
                        T::from_f64(w.edge_scale * w.r_edge[col].to_f64() * bar[k * s.np + c].to_f64());
                }
            }
        }
    }

    fn centre(&self, ctx: &Context<T>, i: usize, k: usize, t: &mut Scratch<T>) {
        let (s, w, graph) = (ctx.s, self.weights, ctx.graph);
        let edges = graph.edges_of(i);
        let (ne, wd, wc) = (edges.len(), s.edge_messages(self.layer), s.centre_projection(self.layer));
        let m = graph.angle_edges[i] as usize;
        let mut e0 = std::mem::take(&mut t.e0);
        let e = edge_rows(ctx, &self.input, edges.clone(), &mut e0);
        let owners = &graph.neighbour[edges.clone()];
        let geometry = &ctx.geometry[edges.clone()];
        let centre = &self.centre[i * wc..(i + 1) * wc];
        // SAFETY: edges, angles and rows of this centre only.
        let (e_bar, messages, geometry_bar, centre_bar) = unsafe {
            (
                self.e_bar.of(edges.clone()),
                self.message_bar.piece((edges.start - self.first_edge) * wd, ne * wd),
                self.geometry_bar.piece(edges.start, ne),
                self.centre_bar.piece(i * wc, wc),
            )
        };
        if !s.updates_edges(self.layer) {
            e_bar.fill(T::default());
        }
        let sum_bar = &t.m3[k * s.mp()..(k + 1) * s.mp()];
        let (r, sums) = (&w.r_e1[..wd - s.mp()], &mut centre_bar[..wd]);
        // SAFETY: edges of this centre only.
        if let Some((message, slope)) = unsafe { self.inside.of_edges(edges.clone(), s.mp(), wd) } {
            let adjoint = EdgeAdjoint {
                message,
                slope,
                out: messages,
                wd,
                mp: s.mp(),
                geometry,
                sum_bar,
                e_bar,
                r,
                centre_bar: sums,
                geometry_bar,
            };
            ctx.run(Class::Element, adjoint);
        } else {
            ctx.multiply(&w.edge.forward, ne, e, s.ep, messages, wd, wd, Old::Overwritten);
            let adjoint = EdgeBackward {
                activator: ctx.activator,
                u: messages,
                wd,
                mp: s.mp(),
                centre,
                neighbour: self.neighbour,
                owners,
                geometry,
                sum_bar,
                e_bar,
                r,
                centre_bar: sums,
                geometry_bar,
            };
            ctx.run(Class::Element, adjoint);
        }
        let angle = w.angle.as_ref();
        if let Some(a) = angle {
            if self.inside.angles.is_none() {
                AngleMaps::all(a, s.ep).project(ctx, e, m, &mut t.own, &mut t.other);
                self.recompute_angles(ctx, a, i, &centre[wd..], e, t);
            }
            self.second_message(ctx, a, edges.clone(), m, e_bar, t);
        }
        ctx.run(
            Class::Reduce,
            MomentsBackward {
                geometry,
                owners,
                e,
                ep: s.ep,
                n: self.nodes,
                np: s.np,
                bar: &t.h_bar[k * s.moments()..(k + 1) * s.moments()],
                e_bar,
                keep: w.keep[1],
                exact: &ctx.exact[edges.clone()],
                scale: 1.0 / ctx.model.descriptor.options.edge_scale().sqrt(),
                geometry_bar,
            },
        );
        // What the layer adds is summed apart and joins the adjoint in one rounding: a chain that starts from the large old value
        // would round every small product against it (measured: the virial of 8 water molecules off by 4e-5 eV instead of 4e-6).
        ctx.multiply(&w.edge.adjoint, ne, messages, wd, &mut t.e2, s.ep, s.ep, Old::Overwritten);
        if let Some(a) = angle {
            if !ctx.model.descriptor.options.smooth_edge_update {
                for (x, y) in e_bar[m * s.ep..].iter_mut().zip(&t.s[m * s.ep..ne * s.ep]) {
                    *x = x.plus(*y);
                }
            }
            self.angles(ctx, a, i, geometry_bar, &mut centre_bar[wd..], t);
            let (wa, ec) = (s.angle_messages(self.layer), a.own.adjoint.outputs);
            ctx.multiply(&a.own.adjoint, m, &t.own_bar, wa, &mut t.e2, s.ep, ec, Old::Continued);
            ctx.multiply(&a.other.adjoint, m, &t.other_bar, wa, &mut t.e2, s.ep, ec, Old::Continued);
        }
        join(ctx, e_bar, &t.e2);
        t.e0 = e0;
    }

    /// Messages and slopes of all angles of the centre; S of its edges (or, outside the angle set, what stands for it).
    fn recompute_angles(
        &self,
        ctx: &Context<T>,
        w: &AngleWeights<T>,
        i: usize,
        centre: &[T],
        e: &[T],
        t: &mut Scratch<T>,
    ) {
        let (s, graph) = (ctx.s, ctx.graph);
        let m = graph.angle_edges[i] as usize;
        let wa = s.angle_messages(self.layer);
        let first = graph.first_edge[i] as usize;
        let ne = graph.edges_of(i).len();
        if ctx.model.descriptor.options.smooth_edge_update {
            t.s[m * s.ep..ne * s.ep].fill(T::default());
        } else {
            t.s[m * s.ep..ne * s.ep].copy_from_slice(&e[m * s.ep..ne * s.ep]);
        }
        if let Features::Initial = self.input {
            ctx.unit_vectors(i, &mut t.unit);
        }
        for k in 0..m {
            match &self.input {
                Features::Initial => ctx.embed_angles(&t.unit, m, k, &w.first, &mut t.c, &mut t.a0),
                Features::Stored { angles, .. } => {
                    let stored = angles.as_ref().expect("a layer with angles has their features");
                    // SAFETY: angles of this centre only.
                    let rows = unsafe { angle_rows(stored, graph, i, k) };
                    ctx.multiply(&w.angle.forward, m, rows, s.ap, &mut t.c, wa, wa, Old::Overwritten);
                }
                Features::Packed { angles, .. } => {
                    unpack_angles(ctx, angles, i, k, &mut t.a0);
                    ctx.multiply(&w.angle.forward, m, &t.a0, s.ap, &mut t.c, wa, wa, Old::Overwritten);
                }
            }
            add_rows(&t.own[k * wa..(k + 1) * wa], centre, &mut t.base[..wa]);
            ctx.angle_weights(first, m, k, &mut t.weight);
            ctx.run(
                Class::Element,
                AngleRecompute {
                    activator: ctx.activator,
                    c: &t.c,
                    wa,
                    ep: s.ep,
                    base: &t.base,
                    other: &t.other,
                    weight: &t.weight[..m],
                    sum: &mut t.s[k * s.ep..(k + 1) * s.ep],
                    message: &mut t.message[k * m * s.ep..(k + 1) * m * s.ep],
                    slope: &mut t.slope[k * m * wa..(k + 1) * m * wa],
                },
            );
        }
    }

    /// Adjoint of E2: leaves the adjoint of S in `t.s`.
    fn second_message(
        &self,
        ctx: &Context<T>,
        w: &AngleWeights<T>,
        edges: Range<usize>,
        m: usize,
        e_bar: &[T],
        t: &mut Scratch<T>,
    ) {
        let s = ctx.s;
        // Outside the angle set S is a constant, unless the edge's own feature stands for it.
        let rows = if ctx.model.descriptor.options.smooth_edge_update { m } else { edges.len() };
        let count = rows * s.ep;
        let slope = match &self.inside.angles {
            // SAFETY: edges of this centre only.
            Some([.., slope]) => unsafe { slope.piece(edges.start * s.ep, count) },
            None => {
                ctx.multiply(&w.linear2.forward, rows, &t.s, s.ep, &mut t.e2, s.ep, s.ep, Old::Overwritten);
                bias_activate(ctx, &mut t.e2[..count], &w.bias2, &mut t.e2_slope[..count]);
                &mut t.e2_slope[..count]
            }
        };
        scaled_product(ctx, &e_bar[..count], &self.weights.r_e2, slope, &mut t.e2[..count]);
        ctx.multiply(&w.linear2.adjoint, rows, &t.e2, s.ep, &mut t.s, s.ep, s.ep, Old::Overwritten);
    }

    /// Adjoints of the centre's angles, of the projections of its angle edges, and of the switch values.
    fn angles(
        &self,
        ctx: &Context<T>,
        w: &AngleWeights<T>,
        i: usize,
        geometry_bar: &mut [[f64; 5]],
        centre_bar: &mut [T],
        t: &mut Scratch<T>,
    ) {
        let (s, graph) = (ctx.s, ctx.graph);
        let m = graph.angle_edges[i] as usize;
        let wa = s.angle_messages(self.layer);
        let ap = wa - s.ep;
        let first = graph.first_edge[i] as usize;
        t.other_bar[..m * wa].fill(T::default());
        t.v_bar[..m].fill(0.0);
        for (v, edge) in t.v.iter_mut().zip(&ctx.geometry[first..first + m]) {
            *v = edge.v.to_f64();
        }
        let angle_scale = 1.0 / ctx.model.descriptor.options.angle_scale().sqrt().sqrt();
        let adjoint = self.a_bar.as_ref().expect("a layer with angles has their adjoints");
        for k in 0..m {
            // SAFETY: angles of this centre only.
            let a_bar = unsafe { angle_rows(adjoint, graph, i, k) };
            if ap == 0 {
                // The angles of the layer above do not exist for the energy.
                a_bar.fill(T::default());
            }
            ctx.angle_weights(first, m, k, &mut t.weight);
            // SAFETY: angles of this centre only.
            let (message, slope): (&[T], &[T]) =
                match unsafe { self.inside.of_angles(angle_range(graph, i, k), s.ep, wa) } {
                    Some((message, slope)) => (message, slope),
                    None => (&t.message[k * m * s.ep..(k + 1) * m * s.ep], &t.slope[k * m * wa..(k + 1) * m * wa]),
                };
            ctx.run(
                Class::Element,
                AngleBackward {
                    message,
                    slope,
                    out: &mut t.c,
                    wa,
                    ep: s.ep,
                    sum_bar: &t.s[k * s.ep..(k + 1) * s.ep],
                    a_bar: &a_bar[..m * ap],
                    r: &self.weights.r_a[..ap],
                    weight: &t.weight[..m],
                    own_bar: &mut t.own_bar[k * wa..(k + 1) * wa],
                    other_bar: &mut t.other_bar,
                    products: &mut t.products,
                },
            );
            ctx.multiply(&w.angle.adjoint, m, &t.c, wa, a_bar, s.ap, s.ap, Old::Joined(self.weights.keep[2]));
            // `dE/d(v_e v_f)` goes to both edges.
            let (v, v_bar, products) = (&t.v[..m], &mut t.v_bar[..m], &t.products[..m]);
            let of_own = ctx.run(
                Class::Element,
                #[inline(always)]
                || {
                    let mut own = [0.0; 4];
                    for (p, v) in products.chunks(4).zip(v.chunks(4)) {
                        for (own, (p, v)) in own.iter_mut().zip(p.iter().zip(v)) {
                            *own += p * v;
                        }
                    }
                    for (bar, p) in v_bar.iter_mut().zip(products) {
                        *bar += p * v[k];
                    }
                    own[0] + own[1] + own[2] + own[3]
                },
            );
            v_bar[k] += of_own;
        }
        for (bar, v_bar) in geometry_bar.iter_mut().zip(&t.v_bar[..m]) {
            bar[4] += v_bar * angle_scale;
        }
        centre_bar[..wa].fill(T::default());
        for row in t.own_bar[..m * wa].chunks_exact(wa) {
            for (x, y) in centre_bar.iter_mut().zip(row) {
                *x = x.plus(*y);
            }
        }
    }
}
