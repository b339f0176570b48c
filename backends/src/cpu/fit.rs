//! Energy fitting net (specification section 10) in double precision: value and gradient of every atom's energy.
//!
//! The net is 0.3 % of a step's arithmetic, so it always runs in f64, whatever the descriptor's precision.

use super::clock::{Class, Clock};
use super::simd::{ActivationKernel, Activator, Old, PackedMatrix};
use crate::network::padded;
use pulp::Arch;
use weir_engine::model::Model;
use weir_engine::reference::ResolvedParameters;

struct FitLayer {
    forward: PackedMatrix<f64>,
    adjoint: PackedMatrix<f64>,
    bias: Vec<f64>,
    timestep: Option<Vec<f64>>,
    activator: Activator<f64>,
    inputs: usize,
    outputs: usize,
    /// 0: no resnet; 1: `y += x`; 2: `y += [x, x]`.
    resnet: usize,
}

/// The packed net.
pub struct FitNet {
    arch: Arch,
    layers: Vec<FitLayer>,
    /// Leading inputs that come from the descriptor.
    descriptor: usize,
    /// Node features among them (the type embedding may follow).
    nodes: usize,
    subtract_vacuum: bool,
}

/// Atoms computed together.
pub const FIT_BLOCK: usize = 24;

/// Buffers of one thread.
#[derive(Default)]
pub struct FitScratch {
    values: Vec<Vec<f64>>,
    slopes: Vec<Vec<f64>>,
    bar: Vec<f64>,
    next: Vec<f64>,
}

impl FitNet {
    /// Packs the net of a model.
    pub fn new(arch: Arch, model: &Model) -> Self {
        let o = &model.descriptor.options;
        let pack = |rows: usize, cols: usize, at: &dyn Fn(usize, usize) -> f64| {
            let wide = padded(cols);
            let mut m = vec![0.0; rows * wide];
            for r in 0..rows {
                for c in 0..cols {
                    m[r * wide + c] = at(r, c);
                }
            }
            PackedMatrix::pack(arch, rows, wide, &m)
        };
        let layers = model.fitting.layers.iter().map(|layer| {
            let (i, n) = (layer.linear.inputs, layer.linear.outputs);
            let w = &layer.linear.weight;
            FitLayer {
                forward: pack(i, n, &|r, c| w[r * n + c]),
                adjoint: pack(n, i, &|r, c| w[c * n + r]),
                bias: layer.linear.bias.clone().unwrap_or_else(|| vec![0.0; n]),
                timestep: layer.timestep.clone(),
                activator: Activator::new(layer.activation),
                inputs: i,
                outputs: n,
                resnet: match layer.resnet {
                    true if n == i => 1,
                    true if n == 2 * i => 2,
                    _ => 0,
                },
            }
        });
        Self {
            arch,
            layers: layers.collect(),
            descriptor: o.n_dim * (1 + usize::from(o.concat_output_tebd)),
            nodes: o.n_dim,
            subtract_vacuum: model.fitting.subtract_vacuum,
        }
    }

    /// Width of the input.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |l| l.inputs)
    }

    /// Fills one input row.
    pub fn fill_input(
        &self,
        model: &Model,
        parameters: &ResolvedParameters,
        atom: usize,
        node: impl Fn(usize) -> f64,
        z: &[f64],
        row: &mut [f64],
    ) {
        for (c, x) in row[..self.nodes].iter_mut().enumerate() {
            *x = node(c);
        }
        row[self.nodes..self.descriptor].copy_from_slice(&z[..self.descriptor - self.nodes]);
        let per_atom = if parameters.aparam.is_empty() { 0 } else { model.fitting.numb_aparam };
        let own = &parameters.aparam[atom * per_atom..(atom + 1) * per_atom];
        let extra = parameters.fparam.iter().chain(own).chain(&model.fitting.case_embd);
        for (x, v) in row[self.descriptor..].iter_mut().zip(extra) {
            *x = *v;
        }
    }

    /// `g` of each row and its gradient with respect to the node features (rows x Dn, stride `inputs`, in `input`'s place).
    pub fn evaluate(&self, rows: usize, input: &mut [f64], energy: &mut [f64], t: &mut FitScratch, clock: &Clock) {
        self.forward(rows, input, energy, t, clock);
        self.backward(rows, t, clock);
        if self.subtract_vacuum {
            // The vacuum part depends on no coordinate: value only. The gradient waits in `next`.
            let gradient = t.next.clone();
            for row in input[..rows * self.inputs()].chunks_exact_mut(self.inputs()) {
                row[..self.descriptor].fill(0.0);
            }
            let mut vacuum = vec![0.0; rows];
            self.forward(rows, input, &mut vacuum, t, clock);
            energy.iter_mut().zip(&vacuum).for_each(|(e, v)| *e -= v);
            t.next = gradient;
        }
        let stride = padded(self.inputs());
        for r in 0..rows {
            let to = r * self.inputs();
            input[to..to + self.nodes].copy_from_slice(&t.next[r * stride..r * stride + self.nodes]);
        }
    }

    fn forward(&self, rows: usize, input: &[f64], energy: &mut [f64], t: &mut FitScratch, clock: &Clock) {
        t.values.resize_with(self.layers.len(), Vec::new);
        t.slopes.resize_with(self.layers.len(), Vec::new);
        for (l, layer) in self.layers.iter().enumerate() {
            let wide = padded(layer.outputs);
            let (before, rest) = t.values.split_at_mut(l);
            let (x, stride) = match before.last() {
                None => (input, layer.inputs),
                Some(v) => (v.as_slice(), padded(layer.inputs)),
            };
            let y = &mut rest[0];
            y.resize(rows * wide, 0.0);
            t.slopes[l].resize(rows * wide, 0.0);
            clock.product(rows, layer.inputs, wide, || {
                layer.forward.multiply(self.arch, rows, x, stride, y, wide, wide, Old::Overwritten);
            });
            for row in y.chunks_exact_mut(wide) {
                row.iter_mut().zip(&layer.bias).for_each(|(v, b)| *v += b);
            }
            let activate = ActivationKernel { activator: &layer.activator, values: y, slopes: &mut t.slopes[l] };
            clock.time(Class::Element, || activate.start(self.arch));
            for r in 0..rows {
                let row = &mut y[r * wide..r * wide + layer.outputs];
                if let Some(idt) = &layer.timestep {
                    row.iter_mut().zip(idt).for_each(|(v, d)| *v *= d);
                    t.slopes[l][r * wide..].iter_mut().zip(idt).for_each(|(v, d)| *v *= d);
                }
                if layer.resnet > 0 {
                    for (c, v) in row.iter_mut().enumerate() {
                        *v += x[r * stride + c % layer.inputs];
                    }
                }
            }
        }
        let wide = self.layers.last().map_or(0, |l| padded(l.outputs));
        let last = &t.values[self.layers.len() - 1];
        for r in 0..rows {
            energy[r] = last[r * wide];
        }
    }

    /// Leaves the gradient in `t.next`, stride padded inputs.
    fn backward(&self, rows: usize, t: &mut FitScratch, clock: &Clock) {
        let wide = self.layers.last().map_or(0, |l| padded(l.outputs));
        t.next.clear();
        t.next.resize(rows * wide, 0.0);
        for r in 0..rows {
            t.next[r * wide] = 1.0;
        }
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let (wide, narrow) = (padded(layer.outputs), padded(layer.inputs));
            std::mem::swap(&mut t.bar, &mut t.next);
            t.next.clear();
            t.next.resize(rows * narrow, 0.0);
            for r in 0..rows {
                for c in 0..layer.outputs {
                    let bar = t.bar[r * wide + c];
                    if layer.resnet > 0 {
                        t.next[r * narrow + c % layer.inputs] += bar;
                    }
                    t.bar[r * wide + c] = bar * t.slopes[l][r * wide + c];
                }
            }
            clock.product(rows, layer.outputs, narrow, || {
                layer.adjoint.multiply(self.arch, rows, &t.bar, wide, &mut t.next, narrow, narrow, Old::Continued);
            });
        }
    }
}
