//! A model in device memory: the matrices of every layer and their adjoints, row-major, in one allocation.

use super::array::{Array, RowsOfProducts, Writer, FAINTEST_MAP_OF_HALVES, LARGEST_WEIGHT_OF_HALVES};
use super::fit::FitArrays;
use super::GpuError;
use crate::network::{padded, AngleMatrices, LayerMatrices, Matrix, Shapes};
use weir_engine::model::Model;
use weir_kernels::Products;
use RowsOfProducts::{Apart, Few, Many, TwoUses};

/// A map and its adjoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pair {
    /// `x -> x W`
    pub forward: Array,
    /// `y -> y W^T`
    pub adjoint: Array,
}

/// Angle maps of a layer; see `AngleMatrices`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AngleArrays {
    pub angle: Pair,
    pub own: Pair,
    pub other: Pair,
    pub linear2: Pair,
    pub bias2: Array,
}

/// One layer; see `LayerMatrices`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerArrays {
    pub node_self: Pair,
    pub node_self_bias: Array,
    pub sym: Pair,
    pub sym_bias: Array,
    pub centre: Pair,
    pub centre_bias: Array,
    pub neighbour: Pair,
    pub edge: Pair,
    pub angle: Option<AngleArrays>,
    pub r_self: Array,
    pub r_sym: Array,
    pub r_message: Array,
    pub r_edge: Array,
    pub r_second: Array,
    pub r_angle: Array,
    pub edge_scale: f64,
    pub keep: [f64; 3],
}

/// Everything that does not change from step to step.
#[derive(Clone, Debug, Default)]
pub struct ModelArrays {
    pub layers: Vec<LayerArrays>,
    pub edge_weight: Array,
    pub edge_bias: Array,
    pub angle_weight: Array,
    /// davg, dstd by type and slot.
    pub statistics: Array,
    pub slots: u32,
    pub fit: FitArrays,
}

/// For products of edges' numbers that angles see (`product_seen`, product.h); rows of `columns` numbers. They are plain where those numbers fill
/// no tiles.
fn seen_pair(w: &mut Writer, m: &Matrix, columns: usize, rows: [RowsOfProducts; 2]) -> Pair {
    if m.rows % 16 == 0 {
        return cut_pair(w, m, columns, rows);
    }
    Pair { forward: w.reals(&wide(m, columns)), adjoint: w.reals(&m.transposed().data) }
}

/// For products that matrix units may make, with the matrix and with its adjoint; rows of `columns` numbers.
fn cut_pair(w: &mut Writer, m: &Matrix, columns: usize, rows: [RowsOfProducts; 2]) -> Pair {
    Pair {
        forward: w.weights(&wide(m, columns), columns, rows[0], m.faintest),
        adjoint: w.weights(&m.transposed().data, m.rows, rows[1], m.faintest),
    }
}

/// How the matrix of a product lies whose columns have two uses: `EDGES_OF_BOTH` and `ANGLES_OF_BOTH` of the kernels' text.
fn of_two_uses(first: usize, second: usize) -> RowsOfProducts {
    if first == 2 * second {
        TwoUses
    } else {
        Many
    }
}

/// A matrix with rows of `columns` numbers, zeros behind its own: rows of what makes pre-activations of edges or angles are `WD` or `WA` of the
/// kernels' text, though the last layers need fewer columns.
fn wide(m: &Matrix, columns: usize) -> Vec<f64> {
    let mut out = vec![0.0; m.rows * columns];
    for (to, row) in out.chunks_exact_mut(columns).zip(m.data.chunks_exact(m.cols)) {
        to[..m.cols].copy_from_slice(row);
    }
    out
}

impl AngleArrays {
    fn new(w: &mut Writer, m: &AngleMatrices, s: &Shapes) -> Self {
        let columns = s.ep + s.ap;
        Self {
            // `COLUMNS_APART` of the kernels' text.
            angle: cut_pair(w, &m.angle, columns, [of_two_uses(s.ep, s.ap), if s.ap % 32 == 0 { Apart } else { Many }]),
            own: seen_pair(w, &m.own, columns, [Many, Few]),
            other: seen_pair(w, &m.other, columns, [Many, Few]),
            linear2: cut_pair(w, &m.linear2, m.linear2.cols, [Few; 2]),
            bias2: w.reals(&m.bias2),
        }
    }
}

impl LayerArrays {
    fn new(w: &mut Writer, m: &LayerMatrices, s: &Shapes) -> Self {
        Self {
            node_self: cut_pair(w, &m.node_self, m.node_self.cols, [Few; 2]),
            node_self_bias: w.reals(&m.node_self_bias),
            sym: cut_pair(w, &m.sym, m.sym.cols, [Few; 2]),
            sym_bias: w.reals(&m.sym_bias),
            centre: cut_pair(w, &m.centre, m.centre.cols, [Few; 2]),
            centre_bias: w.reals(&m.centre_bias),
            neighbour: cut_pair(w, &m.neighbour, m.neighbour.cols, [Few; 2]),
            edge: cut_pair(w, &m.edge, s.heads * s.np + s.ep, [of_two_uses(s.heads * s.np, s.ep), Few]),
            angle: m.angle.as_ref().map(|a| AngleArrays::new(w, a, s)),
            r_self: w.reals(&m.r_self),
            r_sym: w.reals(&m.r_sym),
            r_message: w.reals(&m.r_edge),
            r_edge: w.reals(&m.r_e1),
            r_second: w.reals(&m.r_e2),
            r_angle: w.reals(&m.r_a),
            edge_scale: m.edge_scale,
            keep: m.keep,
        }
    }
}

impl ModelArrays {
    /// A model laid out at address zero, and what its bytes would be counted; nothing is cut for it.
    ///
    /// # Errors
    /// Where products are of halves, [`GpuError::Weight`] for a weight that none holds, [`GpuError::FaintWeights`] for a map that they round more than
    /// f32 does.
    pub fn counted(model: &Model, s: &Shapes, double: bool, products: Products) -> Result<(Self, Writer), GpuError> {
        let mut writer = Writer::counting(double, products);
        let arrays = Self::new(&mut writer, model, s);
        if double || products != Products::F16x3 {
            return Ok((arrays, writer));
        }
        if writer.largest > LARGEST_WEIGHT_OF_HALVES {
            return Err(GpuError::Weight { largest: writer.largest });
        }
        if writer.faintest < FAINTEST_MAP_OF_HALVES {
            return Err(GpuError::FaintWeights { largest: writer.faintest });
        }
        Ok((arrays, writer))
    }

    /// Lays a model out and writes its bytes.
    pub fn new(w: &mut Writer, model: &Model, s: &Shapes) -> Self {
        let d = &model.descriptor;
        let row = |values: &[f64]| {
            let mut out = vec![0.0; padded(values.len())];
            out[..values.len()].copy_from_slice(values);
            out
        };
        let bias = d.edge_embd.bias.clone().unwrap_or_else(|| vec![0.0; d.edge_embd.outputs]);
        let t = &d.statistics;
        let rows = t.davg.chunks_exact(4).zip(t.dstd.chunks_exact(4));
        let statistics: Vec<f64> = rows.flat_map(|(a, s)| a.iter().chain(s).copied().collect::<Vec<_>>()).collect();
        Self {
            layers: (0..s.layers).map(|l| LayerArrays::new(w, &LayerMatrices::new(model, s, l), s)).collect(),
            edge_weight: w.reals(&row(&d.edge_embd.weight)),
            edge_bias: w.reals(&row(&bias)),
            angle_weight: w.reals(&row(&d.angle_embd.weight)),
            statistics: w.doubles(&statistics),
            slots: t.slots as u32,
            fit: FitArrays::new(w, model),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::model::new_model;

    #[test]
    fn what_is_counted_is_what_is_written() {
        let model = new_model("tiny", 1).unwrap();
        let shapes = Shapes::of(&model);
        let all = [Products::Plain, Products::Tf32, Products::Tf32x3, Products::F16x3, Products::Mfma];
        for (products, double) in all.map(|p| (p, false)).into_iter().chain([(Products::Plain, true)]) {
            let (counted, count) = ModelArrays::counted(&model, &shapes, double, products).unwrap();
            let mut writer = Writer::new(0, double, products);
            let written = ModelArrays::new(&mut writer, &model, &shapes);
            let told = [&count, &writer].map(|w| (w.length(), w.largest, w.faintest));
            assert_eq!((told[0], count.bytes.len()), (told[1], 0), "{products}");
            assert_eq!(writer.bytes.len() as u64, count.length(), "{products}");
            assert_eq!(format!("{counted:?}"), format!("{written:?}"), "{products}: every address");
        }
    }
}
