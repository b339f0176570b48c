//! Weights of a model packed for the kernels, one struct a layer: [`LayerMatrices`] with every map and its adjoint in panels.

use super::simd::{PackedMatrix, Real};
use crate::network::{padded, AngleMatrices, LayerMatrices, Matrix, Shapes};
use pulp::Arch;
use weir_engine::model::Model;

fn pack<T: Real>(arch: Arch, m: &Matrix) -> PackedMatrix<T> {
    PackedMatrix::pack(arch, m.rows, m.cols, &m.data)
}

/// Forward and adjoint map.
fn both<T: Real>(arch: Arch, m: &Matrix) -> Pair<T> {
    Pair { forward: pack(arch, m), adjoint: pack(arch, &m.transposed()) }
}

fn rounded<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&v| T::from_f64(v)).collect()
}

/// A map and its transpose.
#[derive(Clone, Debug, Default)]
pub struct Pair<T> {
    /// `x -> x W`
    pub forward: PackedMatrix<T>,
    /// `y -> y W^T`
    pub adjoint: PackedMatrix<T>,
}

/// Weights of one layer.
#[derive(Clone, Debug)]
pub struct LayerWeights<T> {
    /// 7.1
    pub node_self: Pair<T>,
    /// bias of 7.1
    pub node_self_bias: Vec<T>,
    /// 7.2, input [X][Ep] then [X][Np]
    pub sym: Pair<T>,
    /// bias of 7.2
    pub sym_bias: Vec<T>,
    /// n_i -> messages of its edges and angles
    pub centre: Pair<T>,
    /// all biases of those messages
    pub centre_bias: Vec<T>,
    /// n_j -> messages of an edge
    pub neighbour: Pair<T>,
    /// e -> messages of an edge
    pub edge: Pair<T>,
    /// The part of `edge` that makes edge-self messages (Ep; empty where the layer updates no edges).
    pub edge_self: PackedMatrix<T>,
    /// Angle maps, where the layer has live ones.
    pub angle: Option<AngleWeights<T>>,
    /// R of M1, M2 (Np each) and M3 (Mp).
    pub r_self: Vec<T>,
    /// see `r_self`
    pub r_sym: Vec<T>,
    /// see `r_self`
    pub r_edge: Vec<T>,
    /// R of E1 and E2 (Ep each).
    pub r_e1: Vec<T>,
    /// see `r_e1`
    pub r_e2: Vec<T>,
    /// R of A1 (Ap).
    pub r_a: Vec<T>,
    /// `1/Ne` of M3. Not folded into `r_edge`: rounding every channel of R/Ne to f32 makes an error common to all edges of the
    /// system, which the virial adds up (measured: 4e-5 eV on 8 water molecules, ten times the rounding noise).
    pub edge_scale: f64,
    /// Factors of the old feature: node, edge, angle.
    pub keep: [T; 3],
}

/// Angle maps of one layer.
#[derive(Clone, Debug)]
pub struct AngleWeights<T> {
    /// a -> messages of an angle
    pub angle: Pair<T>,
    /// receiving edge e -> messages
    pub own: Pair<T>,
    /// other edge f -> messages
    pub other: Pair<T>,
    /// The last Ap columns of the three: messages of an angle to itself, for rebuilding angles alone.
    pub only_self: [PackedMatrix<T>; 3],
    /// S -> E2
    pub linear2: Pair<T>,
    /// bias of E2
    pub bias2: Vec<T>,
    /// `W_angle` times the angle block: layer 0's angles are multiples of it.
    pub first: Vec<T>,
}

impl<T: Real> LayerWeights<T> {
    /// Bytes of the packed matrices.
    pub fn bytes(&self) -> u64 {
        let pair = |p: &Pair<T>| p.forward.bytes() + p.adjoint.bytes();
        let angle = self.angle.as_ref().map_or(0, |a| {
            [&a.angle, &a.own, &a.other, &a.linear2].map(pair).iter().sum::<u64>()
                + a.only_self.iter().map(PackedMatrix::bytes).sum::<u64>()
        });
        let own = [&self.node_self, &self.sym, &self.centre, &self.neighbour, &self.edge].map(pair);
        own.iter().sum::<u64>() + self.edge_self.bytes() + angle
    }

    /// Packs layer `l` of a model.
    pub fn new(arch: Arch, model: &Model, s: &Shapes, l: usize) -> Self {
        let m = LayerMatrices::new(model, s, l);
        Self {
            node_self: both(arch, &m.node_self),
            node_self_bias: rounded(&m.node_self_bias),
            sym: both(arch, &m.sym),
            sym_bias: rounded(&m.sym_bias),
            centre: both(arch, &m.centre),
            centre_bias: rounded(&m.centre_bias),
            neighbour: both(arch, &m.neighbour),
            edge: both(arch, &m.edge),
            edge_self: pack(arch, &m.edge.right(s.mp())),
            angle: m.angle.as_ref().map(|a| AngleWeights::new(arch, a, s)),
            r_self: rounded(&m.r_self),
            r_sym: rounded(&m.r_sym),
            r_edge: rounded(&m.r_edge),
            edge_scale: m.edge_scale,
            r_e1: rounded(&m.r_e1),
            r_e2: rounded(&m.r_e2),
            r_a: rounded(&m.r_a),
            keep: m.keep.map(T::from_f64),
        }
    }
}

impl<T: Real> AngleWeights<T> {
    fn new(arch: Arch, m: &AngleMatrices, s: &Shapes) -> Self {
        // The adjoint of an edge block ends in the leading columns of an edge row, padded like one.
        let edge_pair = |m: &Matrix| {
            let mut wide = Matrix::zeros(padded(m.rows), m.cols);
            wide.data[..m.data.len()].copy_from_slice(&m.data);
            Pair { forward: pack(arch, m), adjoint: pack(arch, &wide.transposed()) }
        };
        Self {
            angle: both(arch, &m.angle),
            own: edge_pair(&m.own),
            other: edge_pair(&m.other),
            only_self: [&m.angle, &m.own, &m.other].map(|m| pack(arch, &m.right(s.ep))),
            linear2: both(arch, &m.linear2),
            bias2: rounded(&m.bias2),
            first: rounded(&m.first),
        }
    }
}
