//! Weights of a model as every backend multiplies them, one struct a layer, in f64 and padded. Blocks of the concatenated inputs are split
//! (specification 7.5, last paragraph), linear compression is multiplied into its block, and constant factors are folded into residual
//! vectors.

use super::shapes::{padded, Shapes};
use weir_engine::model::{AngleCompression, Layer, Linear, Model, UpdateStyle};

/// A row-major matrix in f64 with padded rows and columns.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Inputs.
    pub rows: usize,
    /// Outputs.
    pub cols: usize,
    /// rows x cols
    pub data: Vec<f64>,
    /// The least of the largest magnitudes of the maps that were joined in it (or in what it is part of), zeros apart; infinite where none was.
    pub faintest: f64,
}

impl Matrix {
    /// Zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, data: vec![0.0; rows * cols], faintest: f64::INFINITY }
    }

    /// Copies rows `from .. from + rows` of a linear map to (row, col); columns in blocks of `width`, each padded.
    fn place(&mut self, map: &Linear, from: usize, rows: usize, row: usize, col: usize, width: usize) {
        let placed = &map.weight[from * map.outputs..(from + rows) * map.outputs];
        let largest = placed.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
        if largest > 0.0 {
            self.faintest = self.faintest.min(largest);
        }
        for r in 0..rows {
            for c in 0..map.outputs {
                let to = col + c / width * padded(width) + c % width;
                self.data[(row + r) * self.cols + to] += map.weight[(from + r) * map.outputs + c];
            }
        }
    }

    /// Columns from `from` on.
    pub fn right(&self, from: usize) -> Self {
        let mut out = Self { faintest: self.faintest, ..Self::zeros(self.rows, self.cols - from) };
        for r in 0..self.rows {
            let row = &self.data[r * self.cols + from..(r + 1) * self.cols];
            out.data[r * out.cols..(r + 1) * out.cols].copy_from_slice(row);
        }
        out
    }

    /// The adjoint map.
    pub fn transposed(&self) -> Self {
        let mut out = Self { faintest: self.faintest, ..Self::zeros(self.cols, self.rows) };
        for r in 0..self.rows {
            for c in 0..self.cols {
                out.data[c * self.rows + r] = self.data[r * self.cols + c];
            }
        }
        out
    }
}

/// Weights of one layer.
#[derive(Clone, Debug)]
pub struct LayerMatrices {
    /// 7.1
    pub node_self: Matrix,
    /// bias of 7.1
    pub node_self_bias: Vec<f64>,
    /// 7.2, input [X][Ep] then [X][Np]
    pub sym: Matrix,
    /// bias of 7.2
    pub sym_bias: Vec<f64>,
    /// n_i -> messages of its edges and angles
    pub centre: Matrix,
    /// all biases of those messages
    pub centre_bias: Vec<f64>,
    /// n_j -> messages of an edge
    pub neighbour: Matrix,
    /// e -> messages of an edge
    pub edge: Matrix,
    /// Angle maps, where the layer has live ones.
    pub angle: Option<AngleMatrices>,
    /// R of M1, M2 (Np each) and M3 (Mp).
    pub r_self: Vec<f64>,
    /// see `r_self`
    pub r_sym: Vec<f64>,
    /// see `r_self`
    pub r_edge: Vec<f64>,
    /// R of E1 and E2 (Ep each).
    pub r_e1: Vec<f64>,
    /// see `r_e1`
    pub r_e2: Vec<f64>,
    /// R of A1 (Ap).
    pub r_a: Vec<f64>,
    /// `1/Ne` of M3. Not folded into `r_edge`: rounding every channel of R/Ne to f32 makes an error common to all edges of the
    /// system, which the virial adds up (measured: 4e-5 eV on 8 water molecules, ten times the rounding noise).
    pub edge_scale: f64,
    /// Factors of the old feature: node, edge, angle.
    pub keep: [f64; 3],
}

/// Angle maps of one layer.
#[derive(Clone, Debug)]
pub struct AngleMatrices {
    /// a -> messages of an angle
    pub angle: Matrix,
    /// receiving edge e -> messages
    pub own: Matrix,
    /// other edge f -> messages
    pub other: Matrix,
    /// S -> E2
    pub linear2: Matrix,
    /// bias of E2
    pub bias2: Vec<f64>,
    /// `W_angle` times the angle block: layer 0's angles are multiples of it.
    pub first: Vec<f64>,
}

fn vector(values: &[f64], width: usize) -> Vec<f64> {
    let blocks = values.len() / width;
    let mut out = vec![0.0; blocks * padded(width)];
    for (i, v) in values.iter().enumerate() {
        out[i / width * padded(width) + i % width] = *v;
    }
    out
}

fn bias(map: &Linear, width: usize) -> Vec<f64> {
    match &map.bias {
        Some(b) => vector(b, width),
        None => vec![0.0; map.outputs / width * padded(width)],
    }
}

/// `A B` of two plain matrices.
fn product(a: &Linear, b: &[f64], b_cols: usize) -> Vec<f64> {
    let mut out = vec![0.0; a.inputs * b_cols];
    for r in 0..a.inputs {
        for k in 0..a.outputs {
            let x = a.weight[r * a.outputs + k];
            for c in 0..b_cols {
                out[r * b_cols + c] += x * b[k * b_cols + c];
            }
        }
    }
    out
}

impl LayerMatrices {
    /// Layer `l` of a model.
    pub fn new(model: &Model, s: &Shapes, l: usize) -> Self {
        let o = &model.descriptor.options;
        let layer = &model.descriptor.layers[l];
        let (wd, mp) = (s.edge_messages(l), s.mp());
        let mut node_self = Matrix::zeros(s.np, s.np);
        node_self.place(&layer.node_self_mlp, 0, s.n, 0, 0, s.n);
        let mut sym = Matrix::zeros(s.gram(), s.np);
        for x in 0..s.axis {
            sym.place(&layer.node_sym_linear, x * s.e, s.e, x * s.ep, 0, s.n);
            sym.place(&layer.node_sym_linear, s.axis * s.e + x * s.n, s.n, s.axis * s.ep + x * s.np, 0, s.n);
        }
        let mut centre = Matrix::zeros(s.np, s.centre_projection(l));
        let mut neighbour = Matrix::zeros(s.np, wd);
        let mut edge = Matrix::zeros(s.ep, wd);
        let mut centre_bias = bias(&layer.node_edge_linear, s.n);
        let mut maps = vec![(&layer.node_edge_linear, 0, s.n)];
        if s.updates_edges(l) {
            maps.push((&layer.edge_self_linear, mp, s.e));
            centre_bias.extend(bias(&layer.edge_self_linear, s.e));
        }
        for (map, col, width) in maps {
            centre.place(map, 0, s.n, 0, col, width);
            neighbour.place(map, s.n, s.n, 0, col, width);
            edge.place(map, 2 * s.n, s.e, 0, col, width);
        }
        let angle = angle_matrices(model, s, l, layer, &mut centre, &mut centre_bias);
        let (r, keep) = residuals(o.update_style, layer, s);
        Self {
            node_self,
            node_self_bias: bias(&layer.node_self_mlp, s.n),
            sym,
            sym_bias: bias(&layer.node_sym_linear, s.n),
            centre,
            centre_bias,
            neighbour,
            edge,
            angle,
            r_self: vector(&r.node[..s.n], s.n),
            r_sym: vector(&r.node[s.n..2 * s.n], s.n),
            r_edge: vector(&r.node[2 * s.n..], s.n),
            edge_scale: 1.0 / o.edge_scale(),
            r_e1: vector(&r.edge[..s.e], s.e),
            r_e2: vector(&r.edge[s.e..], s.e),
            r_a: vector(&r.angle, s.a),
            keep,
        }
    }
}

/// Splits the angle maps by input block; adds the node block to the centre projection.
fn angle_matrices(
    model: &Model,
    s: &Shapes,
    l: usize,
    layer: &Layer,
    centre: &mut Matrix,
    centre_bias: &mut Vec<f64>,
) -> Option<AngleMatrices> {
    let maps = layer.angle.as_ref().filter(|_| s.has_angles(l))?;
    let o = &model.descriptor.options;
    let wa = s.angle_messages(l);
    let (nc, ec) = o.angle_input_widths();
    let mut angle = Matrix::zeros(s.ap, wa);
    let mut own = Matrix::zeros(s.ec, wa);
    let mut other = Matrix::zeros(s.ec, wa);
    let mut parts = vec![(&maps.edge_angle_linear1, 0, s.e)];
    centre_bias.extend(bias(&maps.edge_angle_linear1, s.e));
    if s.updates_angles(l) {
        parts.push((&maps.angle_self_linear, s.ep, s.a));
        centre_bias.extend(bias(&maps.angle_self_linear, s.a));
    }
    for (map, col, width) in parts {
        angle.place(map, 0, s.a, 0, col, width);
        let block = |from: usize, rows: usize| map.weight[from * map.outputs..(from + rows) * map.outputs].to_vec();
        let fold = |compress: &Option<Linear>, from: usize, rows: usize| {
            // The reader guarantees that a linearly compressed model has its maps.
            let c = compress.as_ref().filter(|_| o.compression() == AngleCompression::Linear);
            let (inputs, weight) = match c {
                Some(c) => (c.inputs, product(c, &block(from, rows), map.outputs)),
                None => (rows, block(from, rows)),
            };
            Linear { inputs, outputs: map.outputs, weight, bias: None }
        };
        let node = fold(&maps.compress_node, s.a, nc);
        let edge_f = fold(&maps.compress_edge, s.a + nc, ec);
        let edge_e = fold(&maps.compress_edge, s.a + nc + ec, ec);
        centre.place(&node, 0, node.inputs, 0, s.edge_messages(l) + col, width);
        other.place(&edge_f, 0, edge_f.inputs, 0, col, width);
        own.place(&edge_e, 0, edge_e.inputs, 0, col, width);
    }
    let mut linear2 = Matrix::zeros(s.ep, s.ep);
    linear2.place(&maps.edge_angle_linear2, 0, s.e, 0, 0, s.e);
    let mut first = vec![0.0; wa];
    for (k, w) in model.descriptor.angle_embd.weight.iter().enumerate() {
        for c in 0..wa {
            first[c] += w * angle.data[k * wa + c];
        }
    }
    let bias2 = bias(&maps.edge_angle_linear2, s.e);
    Some(AngleMatrices { angle, own, other, linear2, bias2, first })
}

struct Residuals {
    node: Vec<f64>,
    edge: Vec<f64>,
    angle: Vec<f64>,
}

/// Specification 7.6 as `keep * u + sum_k R_k m_k`. `edge` holds two vectors (zeros where there is one message), `angle` one.
fn residuals(style: UpdateStyle, layer: &Layer, s: &Shapes) -> (Residuals, [f64; 3]) {
    let with_angles = layer.angle.is_some();
    let (node_k, edge_k) = (2 + s.heads, 1 + usize::from(with_angles));
    if style == UpdateStyle::Residual {
        let mut edge = layer.e_residual.concat();
        edge.resize(2 * s.e, 0.0);
        let mut angle = layer.a_residual.concat();
        angle.resize(s.a, 0.0);
        return (Residuals { node: layer.n_residual.concat(), edge, angle }, [1.0; 3]);
    }
    let factor = |k: usize| match style {
        UpdateStyle::Average => 1.0 / (k as f64 + 1.0).sqrt(),
        _ => 1.0 / (k as f64).sqrt(),
    };
    let keep = |k: usize| if style == UpdateStyle::Average { 1.0 / (k as f64 + 1.0).sqrt() } else { 1.0 };
    let mut edge = vec![factor(edge_k); s.e];
    edge.extend(vec![if with_angles { factor(edge_k) } else { 0.0 }; s.e]);
    let out = Residuals { node: vec![factor(node_k); node_k * s.n], edge, angle: vec![factor(1); s.a] };
    (out, [keep(node_k), keep(edge_k), if with_angles { keep(1) } else { 1.0 }])
}
