//! The fitting net in device memory, and what its kernel needs beside it.

use super::array::{Array, Writer};
use super::shape::activation_number;
use weir_engine::model::Model;
use weir_engine::reference::output_rule;

/// Atoms of a block; twin of `R_FIT`.
pub const FIT_ROWS: u64 = weir_kernels::ROW_LANES as u64;
/// Blocks of the fitting kernel: they take turns over the atoms, so that their scratch stays small.
pub const FIT_BLOCKS: u64 = 528;

/// The net.
#[derive(Clone, Copy, Debug, Default)]
pub struct FitArrays {
    pub layers: u32,
    pub table: Array,
    pub thresholds: Array,
    pub numbers: Array,
    /// Factor and shift of each type; the last row is that of virtual atoms.
    pub rules: Array,
    /// Doubles of an atom's scratch, and where its two rows of adjoints begin.
    pub stride: u32,
    pub bar_at: u32,
    pub bar_width: u32,
    pub vacuum: bool,
    pub with_types: bool,
    pub case_count: u32,
}

impl FitArrays {
    /// Of a model. The table's columns are those of `fit.h`.
    pub fn new(w: &mut Writer, model: &Model) -> Self {
        let f = &model.fitting;
        // Offset 0 stands for "none".
        let mut numbers = vec![0.0];
        let (mut table, mut thresholds) = (Vec::new(), Vec::new());
        let mut value = f.layers.first().map_or(0, |l| l.linear.inputs);
        let mut widest = value;
        for layer in &f.layers {
            let (i, n) = (layer.linear.inputs, layer.linear.outputs);
            let (kind, threshold) = activation_number(layer.activation);
            let mut place = |values: &mut dyn Iterator<Item = f64>| {
                let at = numbers.len() as u32;
                numbers.extend(values);
                at
            };
            let weight = place(&mut layer.linear.weight.iter().copied());
            let adjoint = place(&mut (0..n * i).map(|k| layer.linear.weight[k % i * n + k / i]));
            let bias = match &layer.linear.bias {
                Some(b) => place(&mut b.iter().copied()),
                None => place(&mut std::iter::repeat_n(0.0, n)),
            };
            let idt = layer.timestep.as_ref().map_or(0, |t| place(&mut t.iter().copied()));
            let resnet = layer.resnet && (n == i || n == 2 * i);
            table.extend([i as u32, n as u32, kind, u32::from(resnet), weight, adjoint, bias, idt, value as u32]);
            thresholds.push(threshold);
            value += 2 * n;
            widest = widest.max(n);
        }
        let rules: Vec<f64> = (0..model.types() as i32)
            .chain([-1])
            .flat_map(|t| {
                let (factor, shift) = output_rule(model, t);
                [factor, shift]
            })
            .collect();
        Self {
            layers: f.layers.len() as u32,
            table: w.indices(&table),
            thresholds: w.doubles(&thresholds),
            numbers: w.doubles(&numbers),
            rules: w.doubles(&rules),
            stride: (value + 2 * widest) as u32,
            bar_at: value as u32,
            bar_width: widest as u32,
            vacuum: f.subtract_vacuum,
            with_types: model.descriptor.options.concat_output_tebd,
            case_count: f.case_embd.len() as u32,
        }
    }
}
