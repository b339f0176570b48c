//! One layer forward for a block of centres (specification 7.1 to 7.6), fused: nothing but the layer's output leaves the
//! scratch, and the inside where the plan keeps it.

use super::clock::Class;
use super::context::Context;
use super::inside::InsideRows;
use super::kernels_angle::AngleForward;
use super::kernels_edge::EdgeForward;
use super::kernels_moments::Moments;
use super::loops::{add_rows, bias_activate, gram};
use super::rows::{angle_range, angle_rows, edge_rows, unpack_angles, Features, Target};
use super::scratch::Scratch;
use super::share::Shared;
use super::simd::{fence, Old, PackedMatrix, Real};
use super::stored::Beyond;
use super::weights::{AngleWeights, LayerWeights};
use std::ops::Range;

/// What a forward layer reads and writes.
pub struct ForwardLayer<'a, T> {
    /// Layer number.
    pub layer: usize,
    /// Its weights.
    pub weights: &'a LayerWeights<T>,
    /// Node features entering the layer, N x Np.
    pub nodes: &'a [T],
    /// Projections of all nodes: as centre (N x centre projection), as neighbour (N x edge messages).
    pub centre: &'a [T],
    /// see `centre`
    pub neighbour: &'a [T],
    /// Features entering.
    pub input: Features<'a, T>,
    /// Edge features leaving, another slot than the entering ones; none from the last layer.
    pub edges_out: Option<Target<'a, T>>,
    /// Angle features leaving, likewise; none from the last two layers.
    pub angles_out: Option<Target<'a, T>>,
    /// Told of features that fewer bits cannot hold.
    pub beyond: &'a Beyond,
    /// Node features leaving; `None` when only edges and angles are rebuilt.
    pub nodes_out: Option<Shared<'a, T>>,
    /// Where the inside is kept.
    pub inside: InsideRows<'a, T>,
}

/// Maps from angle, receiving edge and other edge to the messages of an angle: both kinds, or those to itself alone.
pub struct AngleMaps<'a, T> {
    /// a -> messages
    pub angle: &'a PackedMatrix<T>,
    /// e -> messages
    pub own: &'a PackedMatrix<T>,
    /// f -> messages
    pub other: &'a PackedMatrix<T>,
    /// What multiplies the cosine in layer 0.
    pub first: &'a [T],
    /// Leading columns that are messages to the edge.
    pub ep: usize,
}

impl<'a, T: Real> AngleMaps<'a, T> {
    /// Messages to edge and angle.
    pub fn all(w: &'a AngleWeights<T>, ep: usize) -> Self {
        let (angle, own, other) = (&w.angle.forward, &w.own.forward, &w.other.forward);
        Self { angle, own, other, first: &w.first, ep }
    }

    /// Messages to the angle alone.
    fn only_self(w: &'a AngleWeights<T>, ep: usize) -> Self {
        let [angle, own, other] = &w.only_self;
        Self { angle, own, other, first: &w.first[ep..], ep: 0 }
    }

    /// Projections of a centre's angle edges as receiving and as other edge, m x wa each.
    pub fn project(&self, ctx: &Context<T>, e: &[T], m: usize, own: &mut [T], other: &mut [T]) {
        let wa = self.own.outputs;
        ctx.multiply(self.own, m, e, ctx.s.ep, own, wa, wa, Old::Overwritten);
        ctx.multiply(self.other, m, e, ctx.s.ep, other, wa, wa, Old::Overwritten);
    }
}

impl<T: Real> ForwardLayer<'_, T> {
    /// Computes the centres of a block.
    pub fn block(&self, ctx: &Context<T>, block: Range<usize>, t: &mut Scratch<T>) {
        for (k, i) in block.clone().enumerate() {
            self.centre(ctx, i, k, t);
        }
        if let Some(out) = &self.nodes_out {
            self.update_nodes(ctx, block, t, out);
        }
        fence();
    }

    /// Rebuilds the angles of the block's centres alone.
    pub fn angles_only(&self, ctx: &Context<T>, block: Range<usize>, t: &mut Scratch<T>) {
        let (s, graph) = (ctx.s, ctx.graph);
        let weights = self.weights.angle.as_ref().expect("a layer with angles has their weights");
        let maps = AngleMaps::only_self(weights, s.ep);
        let wc = s.centre_projection(self.layer);
        let from = s.edge_messages(self.layer) + s.ep;
        for i in block {
            let mut e0 = std::mem::take(&mut t.e0);
            let e = edge_rows(ctx, &self.input, graph.edges_of(i), &mut e0);
            maps.project(ctx, e, graph.angle_edges[i] as usize, &mut t.own, &mut t.other);
            self.angles(ctx, &maps, i, &self.centre[i * wc + from..(i + 1) * wc], t);
            t.e0 = e0;
        }
    }

    fn centre(&self, ctx: &Context<T>, i: usize, k: usize, t: &mut Scratch<T>) {
        let (s, w, graph) = (ctx.s, self.weights, ctx.graph);
        let edges = graph.edges_of(i);
        let (ne, wd) = (edges.len(), s.edge_messages(self.layer));
        let m = graph.angle_edges[i] as usize;
        let mut e0 = std::mem::take(&mut t.e0);
        let e_in = edge_rows(ctx, &self.input, edges.clone(), &mut e0);
        let owners = &graph.neighbour[edges.clone()];
        let geometry = &ctx.geometry[edges.clone()];
        if self.nodes_out.is_some() {
            let out = &mut t.h[k * s.moments()..(k + 1) * s.moments()];
            ctx.run(Class::Reduce, Moments { geometry, owners, e: e_in, ep: s.ep, n: self.nodes, np: s.np, out });
        }
        let centre = &self.centre[i * s.centre_projection(self.layer)..(i + 1) * s.centre_projection(self.layer)];
        let angle = w.angle.as_ref();
        if let Some(a) = angle {
            AngleMaps::all(a, s.ep).project(ctx, e_in, m, &mut t.own, &mut t.other);
            if !ctx.model.descriptor.options.smooth_edge_update {
                // Edges outside the angle set feed their own feature to the second map.
                t.s[m * s.ep..ne * s.ep].copy_from_slice(&e_in[m * s.ep..ne * s.ep]);
            }
        }
        // Rebuilding needs no messages to the node: the leading columns are left out.
        let (edge, skip) = if self.nodes_out.is_some() { (&w.edge.forward, 0) } else { (&w.edge_self, s.mp()) };
        let used = wd - skip;
        ctx.multiply(edge, ne, e_in, s.ep, &mut t.u, used, used, Old::Overwritten);
        // Free in the forward pass.
        let mut made = std::mem::take(&mut t.e2_slope);
        let e_out = match &self.edges_out {
            // SAFETY: rows of this centre only.
            Some(Target::Rows(rows)) => unsafe { rows.of(edges.clone()) },
            Some(Target::Packed(_)) => &mut made[..ne * s.ep],
            None => &mut [][..],
        };
        let sum = &mut t.m3[k * s.mp()..(k + 1) * s.mp()];
        // SAFETY: rows of this centre only.
        let (message, slope) = unsafe { self.inside.of_edges(edges.clone(), s.mp(), wd) }.unwrap_or_default();
        ctx.run(
            Class::Element,
            EdgeForward {
                activator: ctx.activator,
                u: &t.u,
                wd: used,
                mp: s.mp() - skip,
                centre: &centre[skip..],
                neighbour: &self.neighbour[skip..],
                stride: wd,
                owners,
                geometry,
                sum,
                e_in,
                e_out,
                r: &w.r_e1[..wd - s.mp()],
                keep: w.keep[1],
                message,
                slope,
            },
        );
        if let Some(a) = angle {
            self.angles(ctx, &AngleMaps::all(a, s.ep), i, &centre[wd..], t);
            self.second_message(ctx, a, edges.clone(), m, e_out, t);
        }
        if let Some(Target::Packed(rows)) = &self.edges_out {
            // SAFETY: rows of this centre only.
            ctx.run(
                Class::Element,
                #[inline(always)]
                || unsafe { rows.pack(edges, e_out, self.beyond) },
            );
        }
        t.e2_slope = made;
        t.e0 = e0;
    }

    /// E2 from S: adds the second message to the centre's edges.
    fn second_message(
        &self,
        ctx: &Context<T>,
        w: &AngleWeights<T>,
        edges: Range<usize>,
        m: usize,
        e_out: &mut [T],
        t: &mut Scratch<T>,
    ) {
        let (ep, ne) = (ctx.s.ep, edges.len());
        // Outside the angle set S is zero, unless the edge's own feature stands for it: one row serves all those edges.
        let alike = ctx.model.descriptor.options.smooth_edge_update && m < ne;
        let own = if alike { m } else { ne };
        let rows = own + usize::from(alike);
        ctx.multiply(&w.linear2.forward, own, &t.s, ep, &mut t.e2, ep, ep, Old::Overwritten);
        t.e2[own * ep..rows * ep].fill(T::default());
        let slopes = match &self.inside.angles {
            // SAFETY: rows of this centre only.
            Some([.., slopes]) => unsafe { slopes.piece(edges.start * ep, rows * ep) },
            None => &mut [][..],
        };
        bias_activate(ctx, &mut t.e2[..rows * ep], &w.bias2, slopes);
        let (e2, r) = (&t.e2, &self.weights.r_e2[..ep]);
        let last = e2[..rows * ep].chunks_exact(ep).last().unwrap_or_default();
        ctx.run(
            Class::Element,
            #[inline(always)]
            || {
                let messages = e2[..own * ep].chunks_exact(ep).chain(std::iter::repeat(last));
                for (row, message) in e_out.chunks_exact_mut(ep).zip(messages) {
                    for ((x, r), y) in row.iter_mut().zip(r).zip(message) {
                        *x = x.plus(r.times(*y));
                    }
                }
            },
        );
    }

    /// S of the centre's angle edges into the scratch, angles updated where they live on.
    fn angles(&self, ctx: &Context<T>, w: &AngleMaps<T>, i: usize, centre: &[T], t: &mut Scratch<T>) {
        let (s, graph) = (ctx.s, ctx.graph);
        let m = graph.angle_edges[i] as usize;
        let (wa, ep) = (w.own.outputs, w.ep);
        let (ap, first) = (wa - ep, graph.first_edge[i] as usize);
        if let Features::Initial = self.input {
            ctx.unit_vectors(i, &mut t.unit);
        }
        for k in 0..m {
            let a_in: &[T] = match &self.input {
                Features::Initial => {
                    ctx.embed_angles(&t.unit, m, k, w.first, &mut t.c, &mut t.a0);
                    &t.a0[..m * s.ap]
                }
                Features::Stored { angles, .. } => {
                    let stored = angles.as_ref().expect("a layer with angles has their features");
                    // SAFETY: angles of this centre only.
                    let rows = unsafe { angle_rows(stored, graph, i, k) };
                    ctx.multiply(w.angle, m, rows, s.ap, &mut t.c, wa, wa, Old::Overwritten);
                    rows
                }
                Features::Packed { angles, .. } => {
                    unpack_angles(ctx, angles, i, k, &mut t.a0);
                    ctx.multiply(w.angle, m, &t.a0, s.ap, &mut t.c, wa, wa, Old::Overwritten);
                    &t.a0[..m * s.ap]
                }
            };
            add_rows(&t.own[k * wa..(k + 1) * wa], centre, &mut t.base[..wa]);
            ctx.angle_weights(first, m, k, &mut t.weight);
            let out = match &self.angles_out {
                // SAFETY: angles of this centre only.
                Some(Target::Rows(rows)) if ap > 0 => unsafe { angle_rows(rows, graph, i, k) },
                // Free in the forward pass.
                Some(Target::Packed(_)) if ap > 0 => &mut t.slope[..m * s.ap],
                _ => &mut [][..],
            };
            // SAFETY: angles of this centre only.
            let (message, slope) =
                unsafe { self.inside.of_angles(angle_range(graph, i, k), ep, wa) }.unwrap_or_default();
            ctx.run(
                Class::Element,
                AngleForward {
                    activator: ctx.activator,
                    c: &t.c,
                    wa,
                    ep,
                    base: &t.base,
                    other: &t.other,
                    weight: &t.weight[..m],
                    sum: &mut t.s[k * s.ep..k * s.ep + ep],
                    a_in,
                    a_out: out,
                    r: &self.weights.r_a[..ap],
                    keep: self.weights.keep[2],
                    message,
                    slope,
                },
            );
            if let (Some(Target::Packed(rows)), true) = (&self.angles_out, ap > 0) {
                let made = &t.slope[..m * s.ap];
                // SAFETY: angles of this centre only.
                ctx.run(
                    Class::Element,
                    #[inline(always)]
                    || unsafe { rows.pack(angle_range(graph, i, k), made, self.beyond) },
                );
            }
        }
    }

    /// 7.1, 7.2 (linear part) and 7.6 for the nodes of the block.
    fn update_nodes(&self, ctx: &Context<T>, block: Range<usize>, t: &mut Scratch<T>, out: &Shared<T>) {
        let (s, w, rows) = (ctx.s, self.weights, block.len());
        for k in 0..rows {
            let (h, q) = (&t.h[k * s.moments()..], &mut t.q[k * s.gram()..(k + 1) * s.gram()]);
            gram(ctx, h, q);
        }
        let nodes = &self.nodes[block.start * s.np..block.end * s.np];
        let count = rows * s.np;
        ctx.multiply(&w.node_self.forward, rows, nodes, s.np, &mut t.n1, s.np, s.np, Old::Overwritten);
        let (self_slope, sym_slope) = match &self.inside.nodes {
            // SAFETY: the rows of this block.
            Some([moments, self_slope, sym_slope]) => unsafe {
                let (from, len) = (block.start * s.moments(), rows * s.moments());
                moments.piece(from, len).copy_from_slice(&t.h[..len]);
                let from = block.start * s.np;
                (self_slope.piece(from, count), sym_slope.piece(from, count))
            },
            None => (&mut [][..], &mut [][..]),
        };
        bias_activate(ctx, &mut t.n1[..count], &w.node_self_bias, self_slope);
        ctx.multiply(&w.sym.forward, rows, &t.q, s.gram(), &mut t.n2, s.np, s.np, Old::Overwritten);
        bias_activate(ctx, &mut t.n2[..count], &w.sym_bias, sym_slope);
        // SAFETY: the node rows of this block.
        let out = unsafe { out.piece(block.start * s.np, count) };
        let (n1, n2, m3) = (&t.n1, &t.n2, &t.m3);
        ctx.run(
            Class::Element,
            #[inline(always)]
            || {
                for k in 0..rows {
                    for c in 0..s.np {
                        let at = k * s.np + c;
                        let mut sum = w.keep[0].to_f64() * nodes[at].to_f64()
                            + w.r_self[c].to_f64() * n1[at].to_f64()
                            + w.r_sym[c].to_f64() * n2[at].to_f64();
                        for head in 0..s.heads {
                            let col = head * s.np + c;
                            sum += w.edge_scale * w.r_edge[col].to_f64() * m3[k * s.mp() + col].to_f64();
                        }
                        out[at] = T::from_f64(sum);
                    }
                }
            },
        );
    }
}
