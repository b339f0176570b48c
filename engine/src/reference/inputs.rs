//! What enters the network besides geometry: type embedding, charge and spin, frame and atomic parameters.

use crate::backend::FrameParameters;
use crate::model::econf::econf_rows;
use crate::model::{Dense, Model};
use thiserror::Error;

/// A frame or atomic parameter that the model needs is missing or does not fit.
#[derive(Debug, Error, PartialEq)]
pub enum ParameterError {
    /// Frame parameters.
    #[error("the model takes {expected} frame parameters, {got} given; use --fparam a,b,...")]
    Fparam {
        /// `numb_fparam`
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// Atomic parameters.
    #[error("the model takes {per_atom} atomic parameters for each of {atoms} atoms, {got} numbers given; use --aparam FILE with one row per atom")]
    Aparam {
        /// `numb_aparam`
        per_atom: usize,
        /// Atoms.
        atoms: usize,
        /// Numbers given.
        got: usize,
    },
    /// Charge and spin.
    #[error("the model needs charge and spin (charge an integer in [-100, 99], spin an integer in [0, 99]), got {got}; use --charge-spin Q,M")]
    ChargeSpin {
        /// What came.
        got: String,
    },
    /// A parameter was asked for that the model does not know.
    #[error("{option} is given, but the model takes no {what}: leave it out")]
    NotTaken {
        /// How it is given.
        option: &'static str,
        /// What it is.
        what: &'static str,
    },
    /// A parameter is not a number.
    #[error("{what} {index} is {value}")]
    NotFinite {
        /// Which parameter.
        what: &'static str,
        /// Index.
        index: usize,
        /// Value.
        value: f64,
    },
}

/// Parameters after defaults and checks, normalised as the net takes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResolvedParameters {
    /// `(fparam - avg) * inv_std`, `numb_fparam` values.
    pub fparam: Vec<f64>,
    /// `(aparam - avg) * inv_std`, N x `numb_aparam` in input order; empty when they only mask.
    pub aparam: Vec<f64>,
    /// Added to the type embedding of every atom, Dn values; empty without charge/spin embedding.
    pub charge_spin: Vec<f64>,
}

impl ParameterError {
    /// Refuses parameters that somebody gave by hand (not those that merely stand in a structure file) and the model does not take: they
    /// would be left out in silence.
    ///
    /// # Errors
    /// [`ParameterError::NotTaken`].
    pub fn refuse_unknown(model: &Model, given: &FrameParameters) -> Result<(), Self> {
        let fit = &model.fitting;
        let asked = [
            (given.fparam.is_some() && fit.numb_fparam == 0, "--fparam (or model.fparam)", "frame parameters"),
            (given.aparam.is_some() && fit.numb_aparam == 0, "--aparam (or model.aparam)", "atomic parameters"),
            (
                given.charge_spin.is_some() && model.descriptor.charge_spin.is_none(),
                "--charge-spin (or model.charge_spin)",
                "charge and spin",
            ),
        ];
        match asked.into_iter().find(|(unknown, ..)| *unknown) {
            Some((_, option, what)) => Err(ParameterError::NotTaken { option, what }),
            None => Ok(()),
        }
    }
}

impl ResolvedParameters {
    /// Checks the parameters of a frame against the model.
    ///
    /// # Errors
    /// [`ParameterError`] naming the option that gives the missing one.
    pub fn new(model: &Model, atoms: usize, given: &FrameParameters) -> Result<Self, ParameterError> {
        let fit = &model.fitting;
        let fparam = match (&given.fparam, &fit.default_fparam) {
            (Some(f), _) | (None, Some(f)) if fit.numb_fparam > 0 => f.as_slice(),
            _ => &[],
        };
        if fparam.len() != fit.numb_fparam {
            return Err(ParameterError::Fparam { expected: fit.numb_fparam, got: fparam.len() });
        }
        let enters = fit.numb_aparam > 0 && !fit.use_aparam_as_mask;
        let aparam = given.aparam.as_deref().unwrap_or(&[]);
        if enters && aparam.len() != atoms * fit.numb_aparam {
            return Err(ParameterError::Aparam { per_atom: fit.numb_aparam, atoms, got: aparam.len() });
        }
        for (what, values) in [("frame parameter", fparam), ("atomic parameter", aparam)] {
            if let Some(index) = values.iter().position(|v| !v.is_finite()) {
                return Err(ParameterError::NotFinite { what, index, value: values[index] });
            }
        }
        let normalise = |v: &[f64], avg: &[f64], inv: &[f64]| -> Vec<f64> {
            v.iter().enumerate().map(|(i, x)| (x - avg[i % avg.len()]) * inv[i % inv.len()]).collect()
        };
        Ok(Self {
            fparam: normalise(fparam, &fit.fparam_avg, &fit.fparam_inv_std),
            aparam: if enters { normalise(aparam, &fit.aparam_avg, &fit.aparam_inv_std) } else { Vec::new() },
            charge_spin: charge_spin_vector(model, given)?,
        })
    }
}

/// `act([C[q + 100], P[m]] W_mix + b_mix)` (specification section 11).
fn charge_spin_vector(model: &Model, given: &FrameParameters) -> Result<Vec<f64>, ParameterError> {
    let options = &model.descriptor.options;
    let Some(embedding) = &model.descriptor.charge_spin else { return Ok(Vec::new()) };
    let Some(pair) = given.charge_spin.or(options.default_chg_spin) else {
        return Err(ParameterError::ChargeSpin { got: "none".into() });
    };
    let [charge, spin] = pair;
    let inside = |v: f64, low: f64, high: f64| v.fract() == 0.0 && v >= low && v <= high;
    if !inside(charge, -100.0, 99.0) || !inside(spin, 0.0, 99.0) {
        return Err(ParameterError::ChargeSpin { got: format!("{charge},{spin}") });
    }
    let mut input = embedding_row(&embedding.charge, (charge + 100.0) as usize);
    input.extend(embedding_row(&embedding.spin, spin as usize));
    let mix = &embedding.mix;
    let mut out = mix.bias.clone().unwrap_or_else(|| vec![0.0; mix.outputs]);
    for (k, v) in input.iter().enumerate() {
        for (o, w) in out.iter_mut().zip(&mix.weight[k * mix.outputs..]) {
            *o += v * w;
        }
    }
    Ok(out.into_iter().map(|x| options.activation.evaluate(x).0).collect())
}

/// Row of a type-table layer for a one-hot input, with the resnet rule of specification section 9.
fn embedding_row(layer: &Dense, index: usize) -> Vec<f64> {
    let mut input = vec![0.0; layer.linear.inputs];
    input[index] = 1.0;
    dense_row(layer, &input)
}

/// One dense layer on one row.
fn dense_row(layer: &Dense, input: &[f64]) -> Vec<f64> {
    let (inputs, outputs) = (layer.linear.inputs, layer.linear.outputs);
    let mut out = layer.linear.bias.clone().unwrap_or_else(|| vec![0.0; outputs]);
    for (k, v) in input.iter().enumerate().filter(|(_, v)| **v != 0.0) {
        for (o, w) in out.iter_mut().zip(&layer.linear.weight[k * outputs..(k + 1) * outputs]) {
            *o += v * w;
        }
    }
    for o in out.iter_mut() {
        *o = layer.activation.evaluate(*o).0;
    }
    if let Some(t) = &layer.timestep {
        out.iter_mut().zip(t).for_each(|(o, t)| *o *= t);
    }
    if layer.resnet && (outputs == inputs || outputs == 2 * inputs) {
        out.iter_mut().enumerate().for_each(|(o, v)| *v += input[o % inputs]);
    }
    out
}

/// `z` of specification section 6 for every type, T x Dn, charge and spin included.
pub fn initial_node_features(model: &Model, parameters: &ResolvedParameters) -> Vec<f64> {
    let layer = &model.descriptor.type_embedding;
    let types = model.types();
    let mut table = Vec::with_capacity(types * layer.linear.outputs);
    for t in 0..types {
        let input = type_layer_input(model, t);
        let mut row = dense_row(layer, &input);
        row.iter_mut().zip(&parameters.charge_spin).for_each(|(z, c)| *z += c);
        table.extend(row);
    }
    table
}

/// Input of the type layer for type `t`: one-hot, or the electron configuration of its element.
fn type_layer_input(model: &Model, t: usize) -> Vec<f64> {
    let width = model.descriptor.type_embedding.linear.inputs;
    if model.descriptor.options.use_econf_tebd {
        let rows = econf_rows(&model.type_map).expect("validation checks that every type is an element of the table");
        return rows[t * width..(t + 1) * width].to_vec();
    }
    let mut row = vec![0.0; width];
    row[t] = 1.0;
    row
}
