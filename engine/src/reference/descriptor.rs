//! Descriptor of the reference: specification sections 5 to 8, line by line.

use super::geometry::switch;
use super::tape::{Tape, Var};
use crate::graph::Graph;
use crate::model::{AngleCompression, Layer, Model, UpdateStyle};

/// Where the pieces of a run stand on the tape.
pub struct Trace {
    /// Edge vectors, E x 3: the input everything depends on.
    pub vectors: Var,
    /// Named intermediates (names of the DeePMD-kit fixtures).
    pub named: Vec<(String, Var)>,
    /// Output of the descriptor, N x dim.
    pub output: Var,
}

/// Index arrays spelled out (the production code never stores them for angles).
struct Indices {
    centre: Vec<u32>,
    neighbour: Vec<u32>,
    /// Receiving edge e of each angle.
    angle_e: Vec<u32>,
    /// Other edge f.
    angle_f: Vec<u32>,
    /// Centre of each angle.
    angle_centre: Vec<u32>,
    /// Edges inside the angle set.
    in_angle_set: Vec<bool>,
}

impl Indices {
    fn new(graph: &Graph) -> Self {
        let mut out = Self {
            centre: Vec::new(),
            neighbour: graph.neighbour.clone(),
            angle_e: Vec::new(),
            angle_f: Vec::new(),
            angle_centre: Vec::new(),
            in_angle_set: Vec::new(),
        };
        for i in 0..graph.atoms() {
            let edges = graph.edges_of(i);
            let m = graph.angle_edges[i] as usize;
            for (k, e) in edges.clone().enumerate() {
                out.centre.push(i as u32);
                out.in_angle_set.push(k < m);
                if k < m {
                    for f in edges.start..edges.start + m {
                        out.angle_e.push(e as u32);
                        out.angle_f.push(f as u32);
                        out.angle_centre.push(i as u32);
                    }
                }
            }
        }
        out
    }
}

struct State {
    n: Var,
    e: Var,
    a: Var,
}

struct Builder<'t, 'm> {
    tape: &'t mut Tape<'m>,
    model: &'m Model,
    atoms: usize,
    edges: usize,
    at: Indices,
    /// w_e, E x 1
    w: Var,
    /// w_e h_e, E x 3
    wh: Var,
    /// v_e v_f, A x 1
    vv: Var,
    named: Vec<(String, Var)>,
}

/// Runs the descriptor. `z` are the type embeddings of all types, T x Dn.
pub fn descriptor<'m>(tape: &mut Tape<'m>, model: &'m Model, graph: &Graph, z: &[f64]) -> Trace {
    let o = &model.descriptor.options;
    let (atoms, edges) = (graph.atoms(), graph.edges());
    let at = Indices::new(graph);
    let exp = o.use_exp_switch;
    let d = tape.leaf(edges, 3, graph.vector.iter().flatten().copied().collect());
    // r = |d|
    let r2 = tape.dot(d, d);
    let r = tape.map(r2, |x| (x.sqrt(), 0.5 / x.sqrt()));
    let w = tape.map(r, |x| switch(x, o.e_rcut_smth, o.e_rcut, exp));
    let v = tape.map(r, |x| switch(x, o.a_rcut_smth, o.a_rcut, exp));
    // Section 5.
    let p = o.env_protection;
    let inverse = tape.map(r, |x| (1.0 / (x + p), -1.0 / (x + p).powi(2)));
    let inverse2 = tape.mul(inverse, inverse);
    let radial = tape.mul(w, inverse);
    let direction = tape.mul(w, inverse2);
    let direction = tape.scale_rows(d, direction);
    let (mut mean, mut scale) = (vec![0.0; edges * 4], vec![0.0; edges * 4]);
    for e in 0..edges {
        let centre_type = graph.types[at.centre[e] as usize].max(0) as usize;
        let (avg, std) = model.descriptor.statistics.of(centre_type, graph.slot[e] as usize);
        for k in 0..4 {
            mean[e * 4 + k] = -avg[k] / std[k];
            scale[e * 4 + k] = 1.0 / std[k];
        }
    }
    let env = tape.concat(&[radial, direction]);
    let (mean, scale) = (tape.leaf(edges, 4, mean), tape.leaf(edges, 4, scale));
    let env = tape.mul(env, scale);
    let env = tape.combine(&[(env, 1.0), (mean, 1.0)]);
    let h = tape.slice(env, 1, 3);
    let x = if o.edge_init_use_dist { r } else { tape.slice(env, 0, 1) };
    let small = tape.map(r, |x| (1.0 / (x + 1e-6), -1.0 / (x + 1e-6).powi(2)));
    let u = tape.scale_rows(d, small);
    let (u_e, u_f) = (tape.gather(u, &at.angle_e), tape.gather(u, &at.angle_f));
    let c = tape.dot(u_e, u_f);
    let y = tape.combine(&[(c, (1.0 - 1e-6) / std::f64::consts::PI.sqrt())]);
    // Section 6.
    let dn = o.n_dim;
    let rows =
        graph.types.iter().flat_map(|&t| z[t.max(0) as usize * dn..(t.max(0) as usize + 1) * dn].iter().copied());
    let z = tape.leaf(atoms, dn, rows.collect());
    let act = |q: f64| o.activation.evaluate(q);
    let n = tape.map(z, act);
    let e = tape.linear(x, &model.descriptor.edge_embd);
    let e = if o.edge_init_use_dist { e } else { tape.map(e, act) };
    let a = tape.linear(y, &model.descriptor.angle_embd);
    // The explicit factor w_e of section 7 as a matrix of its own: DeePMD-kit's recorded adjoint leaves out the w inside h and x.
    let w = tape.combine(&[(w, 1.0)]);
    let wh = tape.scale_rows(h, w);
    let (v_e, v_f) = (tape.gather(v, &at.angle_e), tape.gather(v, &at.angle_f));
    let vv = tape.mul(v_e, v_f);
    let named = [("h2", h), ("sw", w), ("init.node_ebd", n), ("init.edge_ebd", e), ("init.angle_ebd", a)]
        .map(|(s, v)| (s.to_string(), v));
    let mut b = Builder { tape, model, atoms, edges, at, w, wh, vv, named: named.to_vec() };
    let mut state = State { n, e, a };
    for (l, layer) in model.descriptor.layers.iter().enumerate() {
        state = b.layer(l, layer, state);
    }
    let output = if o.concat_output_tebd { b.tape.concat(&[state.n, z]) } else { state.n };
    Trace { vectors: d, named: b.named, output }
}

impl<'m> Builder<'_, 'm> {
    fn act(&mut self, x: Var) -> Var {
        let f = self.model.descriptor.options.activation;
        self.tape.map(x, |v| f.evaluate(v))
    }

    fn note(&mut self, layer: usize, name: &str, x: Var) {
        self.named.push((format!("layer{layer}.{name}"), x));
    }

    /// Section 7.6 or, for sequential models, 7.7.
    fn layer(&mut self, l: usize, w: &'m Layer, s: State) -> State {
        let o = &self.model.descriptor.options;
        let out = if o.sequential_update { self.sequential(l, w, s) } else { self.parallel(l, w, s) };
        self.note(l, "out.node_ebd", out.n);
        self.note(l, "out.edge_ebd", out.e);
        self.note(l, "out.angle_ebd", out.a);
        out
    }

    fn parallel(&mut self, l: usize, w: &'m Layer, s: State) -> State {
        let nodes = self.node_messages(l, w, &s, s.e);
        let mut edge = vec![self.edge_self(l, w, &s, s.e)];
        let mut angle = Vec::new();
        if let Some(maps) = &w.angle {
            let input = self.angle_input(w, s.n, s.e, s.a);
            edge.push(self.edge_angle(l, maps, input, s.e));
            angle.push(self.angle_self(l, maps, input));
        }
        State {
            n: self.combine(s.n, &nodes, &w.n_residual),
            e: self.combine(s.e, &edge, &w.e_residual),
            a: self.combine(s.a, &angle, &w.a_residual),
        }
    }

    fn sequential(&mut self, l: usize, w: &'m Layer, s: State) -> State {
        let maps = w.angle.as_ref().expect("a sequential model has angle maps: the reader checks it");
        let m = self.edge_self(l, w, &s, s.e);
        let e1 = self.combine(s.e, &[m], &w.e_residual[..1]);
        let input = self.angle_input(w, s.n, e1, s.a);
        let m = self.angle_self(l, maps, input);
        let a = self.combine(s.a, &[m], &w.a_residual);
        let input = self.angle_input(w, s.n, e1, a);
        let m = self.edge_angle(l, maps, input, e1);
        let e = self.combine(e1, &[m], &w.e_residual[1..]);
        let nodes = self.node_messages(l, w, &s, e);
        State { n: self.combine(s.n, &nodes, &w.n_residual), e, a }
    }

    /// Section 7.6.
    fn combine(&mut self, u: Var, messages: &[Var], residual: &[Vec<f64>]) -> Var {
        let k = messages.len() as f64;
        if messages.is_empty() {
            return u;
        }
        let factor = match self.model.descriptor.options.update_style {
            UpdateStyle::Residual => {
                let mut terms = vec![(u, 1.0)];
                for (&m, r) in messages.iter().zip(residual) {
                    terms.push((self.tape.scale_columns(m, r), 1.0));
                }
                return self.tape.combine(&terms);
            }
            UpdateStyle::Average => (1.0 / (k + 1.0).sqrt(), 1.0 / (k + 1.0).sqrt()),
            UpdateStyle::Increment => (1.0, 1.0 / k.sqrt()),
        };
        let mut terms = vec![(u, factor.0)];
        terms.extend(messages.iter().map(|&m| (m, factor.1)));
        self.tape.combine(&terms)
    }

    /// Section 7.2, the sum H and its Gram matrix.
    fn symmetrise(&mut self, l: usize, g: Var) -> Var {
        let o = &self.model.descriptor.options;
        let terms = self.tape.outer(self.wh, g);
        let sum = self.tape.segment_sum(terms, &self.at.centre, self.atoms);
        let h = self.tape.combine(&[(sum, 1.0 / o.edge_scale().sqrt())]);
        let taken = self.named.iter().any(|(n, _)| *n == format!("layer{l}.hg"));
        self.note(l, if taken { "hg#2" } else { "hg" }, h);
        self.tape.gram(h, o.axis_neuron)
    }

    /// `[n_i, n_j, e_e]`
    fn edge_input(&mut self, n: Var, e: Var) -> Var {
        let n_i = self.tape.gather(n, &self.at.centre);
        let n_j = self.tape.gather(n, &self.at.neighbour);
        self.tape.concat(&[n_i, n_j, e])
    }

    /// Sections 7.1 to 7.3: one message, one message, one a head.
    fn node_messages(&mut self, l: usize, w: &'m Layer, s: &State, e: Var) -> Vec<Var> {
        let o = &self.model.descriptor.options;
        let pre = self.tape.linear(s.n, &w.node_self_mlp);
        self.note(l, "node_self_pre", pre);
        let m1 = self.act(pre);
        let from_edges = self.symmetrise(l, e);
        let n_j = self.tape.gather(s.n, &self.at.neighbour);
        let from_nodes = self.symmetrise(l, n_j);
        let q = self.tape.concat(&[from_edges, from_nodes]);
        let pre = self.tape.linear(q, &w.node_sym_linear);
        let m2 = self.act(pre);
        self.note(l, "node_sym", m2);
        let input = self.edge_input(s.n, e);
        let pre = self.tape.linear(input, &w.node_edge_linear);
        let message = self.act(pre);
        let message = self.tape.scale_rows(message, self.w);
        let sum = self.tape.segment_sum(message, &self.at.centre, self.atoms);
        let m3 = self.tape.combine(&[(sum, 1.0 / o.edge_scale())]);
        self.note(l, "node_edge", m3);
        let mut out = vec![m1, m2];
        for head in 0..o.n_multi_edge_message {
            out.push(self.tape.slice(m3, head * o.n_dim, o.n_dim));
        }
        out
    }

    /// Section 7.4.
    fn edge_self(&mut self, l: usize, w: &'m Layer, s: &State, e: Var) -> Var {
        let input = self.edge_input(s.n, e);
        let pre = self.tape.linear(input, &w.edge_self_linear);
        let m = self.act(pre);
        self.note(l, "edge_self", m);
        m
    }

    /// `I_ef = [a_ef, nc_i, ec_f, ec_e]` (section 7.5).
    fn angle_input(&mut self, w: &'m Layer, n: Var, e: Var, a: Var) -> Var {
        let o = &self.model.descriptor.options;
        let (node_width, edge_width) = o.angle_input_widths();
        let (nc, ec) = match o.compression() {
            AngleCompression::None => (n, e),
            AngleCompression::Split => (self.tape.slice(n, 0, node_width), self.tape.slice(e, 0, edge_width)),
            AngleCompression::Linear => {
                let maps = w.angle.as_ref().expect("angle maps");
                let node = maps.compress_node.as_ref().expect("linear compression has its maps: the reader checks it");
                let edge = maps.compress_edge.as_ref().expect("linear compression has its maps: the reader checks it");
                (self.tape.linear(n, node), self.tape.linear(e, edge))
            }
        };
        let nc = self.tape.gather(nc, &self.at.angle_centre);
        let ec_f = self.tape.gather(ec, &self.at.angle_f);
        let ec_e = self.tape.gather(ec, &self.at.angle_e);
        self.tape.concat(&[a, nc, ec_f, ec_e])
    }

    /// B, S and E2 of section 7.5.
    fn edge_angle(&mut self, l: usize, maps: &'m crate::model::AngleMaps, input: Var, e: Var) -> Var {
        let o = &self.model.descriptor.options;
        let pre = self.tape.linear(input, &maps.edge_angle_linear1);
        let b = self.act(pre);
        self.note(l, "edge_angle_msg", b);
        let b = self.tape.scale_rows(b, self.vv);
        let sum = self.tape.segment_sum(b, &self.at.angle_e, self.edges);
        let mut s = self.tape.combine(&[(sum, 1.0 / o.angle_scale().sqrt())]);
        if !o.smooth_edge_update {
            s = self.tape.choose(&self.at.in_angle_set, s, e);
        }
        let pre = self.tape.linear(s, &maps.edge_angle_linear2);
        let m = self.act(pre);
        self.note(l, "edge_angle", m);
        m
    }

    /// A1 of section 7.5.
    fn angle_self(&mut self, l: usize, maps: &'m crate::model::AngleMaps, input: Var) -> Var {
        let pre = self.tape.linear(input, &maps.angle_self_linear);
        let m = self.act(pre);
        self.note(l, "angle_self_msg", m);
        m
    }
}
