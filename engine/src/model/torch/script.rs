//! `.pth`: a frozen TorchScript archive of one model. The module tree is read as attributes; its code is never looked at.

use std::collections::BTreeMap;

use super::archive::Archive;
use super::tree::serialize;
use super::weights::Weights;
use crate::model::error::ModelError;
use crate::model::pickle::{self, Object, Pickle, TensorRef, Value};
use crate::model::tree::{At, Node, Reading};

/// Depth of modules followed.
const LARGEST_DEPTH: usize = 32;

/// The tree of the model.
pub(crate) fn read(mut archive: Archive, file_length: usize, reading: &mut Reading) -> Result<Node, ModelError> {
    for name in archive.ending("extra/data_modifier.pth") {
        if archive.size(&name).unwrap_or(0) > 0 {
            return Err(ModelError::unsupported(
                "this model carries a data modifier, which changes energies after the network",
                "freeze it without the modifier, or keep DeePMD-kit for this one",
            ));
        }
    }
    let folder = archive.folder()?;
    archive.check_byte_order(&folder)?;
    let pickle = pickle::read(&archive.read(&format!("{folder}data.pkl"))?)?;
    check_class(&pickle)?;
    let script = match pickle.get(&pickle.root, "model_def_script") {
        Some(Value::Str(text)) if !text.trim().is_empty() => text.clone(),
        _ => {
            return Err(ModelError::unsupported(
                "this TorchScript file does not carry the options it was made with (model_def_script)",
                "convert it where DeePMD-kit runs: `dp convert-backend model.pth model.dp`, then use model.dp",
            ))
        }
    };
    let json: serde_json::Value = serde_json::from_str(&script)
        .map_err(|e| ModelError::entry("model_def_script", format!("expected JSON text of the options: {e}")))?;
    let params = Node::from_json(json);
    let mut tensors = BTreeMap::new();
    let mut budget = pickle.objects.len().saturating_mul(4);
    collect(&pickle, &pickle.root, String::new(), LARGEST_DEPTH, &mut budget, &mut tensors)?;
    let weights = Weights::new(tensors, archive, folder, file_length);
    serialize(&At::new(&params, "model_def_script"), &weights, reading)
}

fn check_class(pickle: &Pickle) -> Result<(), ModelError> {
    let class = match pickle.object(&pickle.root) {
        Some(Object::Instance { class, .. }) => class.clone(),
        _ => return Err(pickle::broken("expected a TorchScript module at the root")),
    };
    let name = class.rsplit('.').next().unwrap_or_default();
    if name != "EnergyModel" || !class.contains(".ener_model.") {
        return Err(ModelError::unsupported(
            format!("this TorchScript file is a {name}"),
            "only energy models (EnergyModel) are supported; keep DeePMD-kit for this one",
        ));
    }
    Ok(())
}

/// Gathers every tensor below a module under its dotted path.
fn collect(
    pickle: &Pickle,
    value: &Value,
    path: String,
    depth: usize,
    budget: &mut usize,
    out: &mut BTreeMap<String, TensorRef>,
) -> Result<(), ModelError> {
    if depth == 0 || *budget == 0 {
        return Err(pickle::broken("modules are nested too deeply, or refer to each other too often"));
    }
    *budget -= 1;
    match pickle.object(value) {
        Some(Object::Tensor(tensor)) => {
            out.insert(path, tensor.clone());
        }
        Some(Object::Instance { .. }) => {
            for (key, inner) in pickle.entries(value).unwrap_or_default() {
                if let Value::Str(name) = key {
                    let below = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                    collect(pickle, inner, below, depth - 1, budget, out)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}
