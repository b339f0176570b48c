//! Layer nodes of the tree.

use super::{class, precision, round_to};
use crate::activation::Activation;
use crate::model::error::ModelError;
use crate::model::tree::{At, Reading};
use crate::model::{Dense, Linear, Precision};

const KEYS: &[&str] =
    &["@class", "@version", "bias", "use_timestep", "activation_function", "resnet", "precision", "@variables"];
const HARMLESS: &[&str] = &["trainable"];

/// Reads a layer with its activation, time step and resnet rule.
pub fn dense(at: &At, of: Precision, reading: &mut Reading) -> Result<Dense, ModelError> {
    class(at, "Layer", 1..=2, reading)?;
    reading.known(at, &[KEYS, HARMLESS])?;
    if let Some(own) = at.opt("precision") {
        if precision(&own, reading)? != of {
            reading.doubt(&own, format!("differs from the {of:?} of the part it belongs to"))?;
        }
    }
    let variables = at.get("@variables")?;
    reading.known(&variables, &[&["w", "b", "idt"]])?;
    let w = variables.get("w")?;
    let tensor = w.tensor()?;
    let [inputs, outputs] = tensor.shape[..] else {
        return Err(w.error(format!("expected an array of 2 dimensions, found shape {:?}", tensor.shape)));
    };
    let vector = |key: &str| -> Result<Option<Vec<f64>>, ModelError> {
        let Some(v) = variables.opt(key) else { return Ok(None) };
        let tensor = v.tensor()?;
        if tensor.data.len() != outputs {
            return Err(v.error(format!("expected {outputs} values, found shape {:?}", tensor.shape)));
        }
        Ok(Some(round_to(tensor.data.clone(), of)))
    };
    let (bias, timestep) = (vector("b")?, vector("idt")?);
    if let Some(flag) = at.opt("bias") {
        if flag.boolean()? != bias.is_some() {
            return Err(flag.error(format!(
                "is {}, but a bias is {}stored",
                flag.boolean()?,
                if bias.is_some() { "" } else { "not " }
            )));
        }
    }
    if timestep.is_none() && flag(at, "use_timestep")? {
        // DeePMD-kit drops the time step of layers where the resnet rule does not act, whatever the flag says.
        if flag(at, "resnet")? && (outputs == inputs || outputs == 2 * inputs) {
            return Err(at.error("use_timestep is true, but no idt is stored"));
        }
    }
    let activation = match at.opt("activation_function") {
        Some(a) => Activation::parse(a.string()?).map_err(|e| a.error(e.to_string()))?,
        None => Activation::Linear,
    };
    let linear = Linear { inputs, outputs, weight: round_to(tensor.data.clone(), of), bias };
    Ok(Dense { linear, activation, timestep, resnet: flag(at, "resnet")? })
}

fn flag(at: &At, key: &str) -> Result<bool, ModelError> {
    at.opt(key).map_or(Ok(false), |v| v.boolean())
}

/// Reads a layer that must be a plain affine map.
pub fn linear(at: &At, of: Precision, reading: &mut Reading) -> Result<Linear, ModelError> {
    let layer = dense(at, of, reading)?;
    if layer.activation != Activation::Linear || layer.timestep.is_some() || layer.resnet {
        return Err(at.error("expected a plain affine layer (no activation, no time step, no resnet)"));
    }
    Ok(layer.linear)
}
