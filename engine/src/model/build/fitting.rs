//! The `fitting` node.

use super::dense::dense;
use super::{class, opt_types, precision, round_to, same_type_map};
use crate::activation::Activation;
use crate::model::error::ModelError;
use crate::model::tree::{At, Node, Reading};
use crate::model::{Fitting, Precision};

const KEYS: &[&str] = &[
    "@class",
    "@version",
    "var_name",
    "type",
    "ntypes",
    "type_map",
    "dim_descrpt",
    "neuron",
    "resnet_dt",
    "numb_fparam",
    "numb_aparam",
    "dim_case_embd",
    "default_fparam",
    "activation_function",
    "precision",
    "mixed_types",
    "nets",
    "exclude_types",
    "@variables",
    "use_aparam_as_mask",
    "atom_ener",
    "dim_out",
    "spin",
    "tot_ener_zero",
    "layer_name",
];
/// Used in training only.
const HARMLESS: &[&str] = &["rcond", "trainable", "seed"];
const VARIABLES: &[&str] =
    &["bias_atom_e", "case_embd", "fparam_avg", "fparam_inv_std", "aparam_avg", "aparam_inv_std"];

/// Builds the fitting net.
pub fn build(at: &At, type_map: &[String], reading: &mut Reading) -> Result<Fitting, ModelError> {
    class(at, "Fitting", 1..=4, reading)?;
    reading.known(at, &[KEYS, HARMLESS])?;
    same_type_map(at, type_map)?;
    refuse_special(at)?;
    let of = match at.opt("precision") {
        Some(p) => precision(&p, reading)?,
        None => Precision::F64,
    };
    let number = |key: &str| at.opt(key).map_or(Ok(0), |v| v.count());
    let (numb_fparam, numb_aparam, dim_case_embd) =
        (number("numb_fparam")?, number("numb_aparam")?, number("dim_case_embd")?);

    let nets = at.get("nets")?;
    class(&nets, "NetworkCollection", 1..=1, reading)?;
    let networks = nets.get("networks")?;
    let list = networks.list()?;
    let [net] = list.as_slice() else {
        return Err(ModelError::unsupported(
            format!("its fitting has {} networks (one a type)", list.len()),
            "DPA3 has one network for all types; keep DeePMD-kit for this model",
        ));
    };
    class(net, "FittingNetwork", 1..=1, reading)?;
    let mut layers = Vec::new();
    for layer in net.get("layers")?.list()? {
        layers.push(dense(&layer, of, reading)?);
    }
    hidden_widths(at, net, &layers)?;

    let variables = at.get("@variables")?;
    reading.known(&variables, &[VARIABLES])?;
    let vector = |key: &str, length: usize| -> Result<Vec<f64>, ModelError> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let values = variables.get(key)?.floats()?;
        if values.len() != length {
            let entry = format!("{}.{key}", variables.path);
            return Err(ModelError::entry(entry, format!("expected {length} values, found {}", values.len())));
        }
        Ok(values)
    };
    let default_fparam = at.opt("default_fparam").map(|v| v.floats()).transpose()?;
    Ok(Fitting {
        layers,
        numb_fparam,
        numb_aparam,
        use_aparam_as_mask: at.opt("use_aparam_as_mask").map_or(Ok(false), |v| v.boolean())?,
        default_fparam,
        fparam_avg: round_to(vector("fparam_avg", numb_fparam)?, of),
        fparam_inv_std: round_to(vector("fparam_inv_std", numb_fparam)?, of),
        aparam_avg: round_to(vector("aparam_avg", numb_aparam)?, of),
        aparam_inv_std: round_to(vector("aparam_inv_std", numb_aparam)?, of),
        case_embd: round_to(vector("case_embd", dim_case_embd)?, of),
        subtract_vacuum: subtract_vacuum(at)?,
        bias_atom_e: vector("bias_atom_e", type_map.len())?,
        exclude_types: opt_types(at, "exclude_types")?,
        precision: of,
        activation: match at.opt("activation_function") {
            Some(a) => Activation::parse(a.string()?).map_err(|e| a.error(e.to_string()))?,
            None => Activation::Tanh,
        },
        resnet_dt: at.opt("resnet_dt").map_or(Ok(true), |v| v.boolean())?,
    })
}

/// Values of options that would change the mathematics.
fn refuse_special(at: &At) -> Result<(), ModelError> {
    if let Some(spin) = at.opt("spin") {
        return Err(ModelError::unsupported(
            format!("{} is set: this is a spin model", spin.path),
            "spin models are not supported; keep DeePMD-kit for this one",
        ));
    }
    if let Some(zero) = at.opt("tot_ener_zero") {
        if zero.boolean()? {
            return Err(zero.error("expected false: a model whose total energy is forced to zero is not supported"));
        }
    }
    if let Some(mixed) = at.opt("mixed_types") {
        if !mixed.boolean()? {
            return Err(mixed.error("expected true: DPA3 has one network for all types"));
        }
    }
    if let Some(width) = at.opt("dim_out") {
        if width.count()? != 1 {
            return Err(width.error(format!("expected 1 (the energy), found {}", width.node.kind())));
        }
    }
    if let Some(names) = at.opt("layer_name") {
        if names.list()?.iter().any(|n| *n.node != Node::Null) {
            return Err(names.error("expected no layer names (shared layers of the TensorFlow backend)"));
        }
    }
    Ok(())
}

/// Hidden widths named by the options must be those stored.
fn hidden_widths(at: &At, net: &At, layers: &[crate::model::Dense]) -> Result<(), ModelError> {
    let stored: Vec<usize> = layers.iter().map(|l| l.linear.outputs).take(layers.len().saturating_sub(1)).collect();
    for node in [at, net] {
        if let Some(neuron) = node.opt("neuron") {
            let named = neuron.list()?.iter().map(At::count).collect::<Result<Vec<_>, _>>()?;
            if named != stored {
                return Err(neuron.error(format!("names {named:?}, but the hidden layers stored are {stored:?} wide")));
            }
        }
    }
    Ok(())
}

/// `atom_ener` with any number in it (null, [] and lists of null mean none).
fn subtract_vacuum(at: &At) -> Result<bool, ModelError> {
    match at.opt("atom_ener") {
        None => Ok(false),
        Some(v) if v.list().is_ok() => Ok(v.list()?.iter().any(|x| *x.node != Node::Null)),
        Some(v) => Ok(v.floats()?.iter().any(|x| !x.is_nan())),
    }
}
