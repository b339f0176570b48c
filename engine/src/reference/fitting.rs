//! Energy fitting net of the reference (specification sections 9 and 10).

use super::inputs::{initial_node_features, ResolvedParameters};
use super::tape::{Tape, Var};
use crate::graph::Graph;
use crate::model::{Dense, Model};

/// `phi(x W + b) * idt (+ x or [x, x])`
fn dense<'m>(tape: &mut Tape<'m>, layer: &'m Dense, x: Var) -> Var {
    let pre = tape.linear(x, &layer.linear);
    let mut y = tape.map(pre, |v| layer.activation.evaluate(v));
    if let Some(idt) = &layer.timestep {
        y = tape.scale_columns(y, idt);
    }
    let (inputs, outputs) = (layer.linear.inputs, layer.linear.outputs);
    if layer.resnet && outputs == inputs {
        y = tape.combine(&[(y, 1.0), (x, 1.0)]);
    } else if layer.resnet && outputs == 2 * inputs {
        let twice = tape.concat(&[x, x]);
        y = tape.combine(&[(y, 1.0), (twice, 1.0)]);
    }
    y
}

fn net<'m>(tape: &mut Tape<'m>, model: &'m Model, mut x: Var) -> Var {
    for layer in &model.fitting.layers {
        x = dense(tape, layer, x);
    }
    x
}

/// Atomic energies `E_i`, N x 1, sorted order.
pub fn atomic_energies<'m>(
    tape: &mut Tape<'m>,
    model: &'m Model,
    graph: &Graph,
    parameters: &ResolvedParameters,
    descriptor: Var,
) -> Var {
    let fit = &model.fitting;
    let (atoms, width) = tape.shape(descriptor);
    let mut extra = Vec::new();
    for &input in &graph.order {
        let per_atom = if parameters.aparam.is_empty() { 0 } else { fit.numb_aparam };
        extra.extend_from_slice(&parameters.fparam);
        extra.extend_from_slice(&parameters.aparam[input as usize * per_atom..(input as usize + 1) * per_atom]);
        extra.extend_from_slice(&fit.case_embd);
    }
    let extra_width = extra.len() / atoms.max(1);
    let extra = tape.leaf(atoms, extra_width, extra);
    let input = tape.concat(&[descriptor, extra]);
    let mut g = net(tape, model, input);
    if fit.subtract_vacuum {
        let zero = tape.leaf(atoms, width, vec![0.0; atoms * width]);
        let input = tape.concat(&[zero, extra]);
        let vacuum = net(tape, model, input);
        g = tape.combine(&[(g, 1.0), (vacuum, -1.0)]);
    }
    let (mut keep, mut shift) = (Vec::new(), Vec::new());
    for &t in &graph.types {
        let (k, s) = output_rule(model, t);
        keep.push(k);
        shift.push(s);
    }
    let (keep, shift) = (tape.leaf(atoms, 1, keep), tape.leaf(atoms, 1, shift));
    let g = tape.mul(g, keep);
    tape.combine(&[(g, 1.0), (shift, 1.0)])
}

/// Largest derivative of an atom's energy by one of its last node features, eV: of an atom of the type in the middle, types in the order of theirs (those
/// without any apart: a type map may have elements that nobody trained, of any slope), where features are the types' first ones (`act(z)`, section 6)
/// and whatever else the net reads is zero.
pub fn output_slope(model: &Model) -> f64 {
    let (types, features) = (model.types(), model.descriptor.options.n_dim);
    let Some(width) = model.fitting.layers.first().map(|l| l.linear.inputs) else { return 0.0 };
    let none = ResolvedParameters { fparam: Vec::new(), aparam: Vec::new(), charge_spin: Vec::new() };
    let activation = model.descriptor.options.activation;
    let first = initial_node_features(model, &none).into_iter().map(|z| activation.evaluate(z).0).collect();
    let mut tape = Tape::default();
    let (first, rest) =
        (tape.leaf(types, features, first), tape.leaf(types, width - features, vec![0.0; types * (width - features)]));
    let input = tape.concat(&[first, rest]);
    let energies = net(&mut tape, model, input);
    let adjoints = tape.backward(energies, vec![1.0; types]);
    let adjoints = adjoints.of(first).unwrap_or_default();
    let of_type = |row: &[f64]| row.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
    let mut slopes: Vec<f64> = adjoints.chunks(features).map(of_type).filter(|slope| *slope > 0.0).collect();
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}

/// `(k, s)` such that `E_i = k g_i + s` for an atom of this type: biases and both levels of exclusion (section 10).
pub fn output_rule(model: &Model, atom_type: i32) -> (f64, f64) {
    let Ok(t) = usize::try_from(atom_type) else { return (0.0, 0.0) };
    if model.atom_exclude_types.contains(&t) {
        (0.0, 0.0)
    } else if model.fitting.exclude_types.contains(&t) {
        (0.0, model.out_bias[t])
    } else {
        (1.0, model.fitting.bias_atom_e[t] + model.out_bias[t])
    }
}
