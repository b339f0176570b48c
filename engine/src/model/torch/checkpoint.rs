//! `.pt`: a training checkpoint, single-task or multi-task.

use std::collections::BTreeMap;

use super::archive::Archive;
use super::heads::{choose, HeadInfo};
use super::tree::serialize;
use super::weights::Weights;
use crate::model::error::ModelError;
use crate::model::pickle::{self, Pickle, Value};
use crate::model::tree::{At, Node, Reading};

/// A checkpoint whose pickle is read.
struct Checkpoint<'a> {
    archive: Archive<'a>,
    folder: String,
    pickle: Pickle,
    /// The state dict: `_extra_state` and tensors.
    state: Value,
    /// `model_params` of `_extra_state`.
    params: Node,
}

fn open(mut archive: Archive) -> Result<Checkpoint, ModelError> {
    let folder = archive.folder()?;
    archive.check_byte_order(&folder)?;
    let pickle = pickle::read(&archive.read(&format!("{folder}data.pkl"))?)?;
    let state = pickle.get(&pickle.root, "model").unwrap_or(&pickle.root).clone();
    let extra = pickle.get(&state, "_extra_state").and_then(|e| pickle.get(e, "model_params"));
    let extra = extra.ok_or_else(|| {
        ModelError::entry("_extra_state.model_params", "missing: this is no checkpoint of DeePMD-kit's PyTorch backend")
    })?;
    let params = pickle.node(extra)?;
    Ok(Checkpoint { archive, folder, pickle, state, params })
}

impl Checkpoint<'_> {
    /// Branches in file order; one called `Default` for a single-task file.
    fn heads(&self) -> Result<Vec<HeadInfo>, ModelError> {
        let params = At::new(&self.params, "model_params");
        match params.opt("model_dict") {
            None => Ok(vec![HeadInfo::of("Default", &params)]),
            Some(dict) => {
                let branches = dict.map()?.iter();
                Ok(branches.map(|(name, node)| HeadInfo::of(name, &At::new(node, "model_dict"))).collect())
            }
        }
    }

    fn is_multi_task(&self) -> bool {
        self.params.get("model_dict").is_some()
    }
}

/// Branches of a checkpoint.
pub(crate) fn heads(archive: Archive) -> Result<Vec<HeadInfo>, ModelError> {
    open(archive)?.heads()
}

/// The tree of one branch, and its name where the file is multi-task.
pub(crate) fn read(
    archive: Archive,
    file_length: usize,
    head: Option<&str>,
    reading: &mut Reading,
) -> Result<(Node, Option<String>), ModelError> {
    let checkpoint = open(archive)?;
    let heads = checkpoint.heads()?;
    let multi_task = checkpoint.is_multi_task();
    let branch = if multi_task { heads[choose(&heads, head)?].name.clone() } else { "Default".to_string() };
    if let (false, Some(name)) = (multi_task, head) {
        reading.remarks.push(format!("head \"{name}\" has no meaning here: the file holds a single model"));
    }
    let mut tensors = BTreeMap::new();
    let prefix = format!("model.{branch}.");
    for (key, value) in checkpoint.pickle.entries(&checkpoint.state).unwrap_or_default() {
        let Value::Str(name) = key else { continue };
        let Some(rest) = name.strip_prefix(prefix.as_str()) else { continue };
        if let Some(tensor) = checkpoint.pickle.tensor(value) {
            tensors.insert(rest.to_string(), tensor.clone());
        }
    }
    if tensors.contains_key("atomic_model.descriptor.repflows.edge_embd.w") {
        tensors = tensors.into_iter().map(|(name, tensor)| (exportable_name(&name), tensor)).collect();
    }
    if tensors.is_empty() {
        return Err(ModelError::entry(prefix, "no tensor has a name that begins so"));
    }
    let Checkpoint { archive, folder, params, .. } = checkpoint;
    let at = At::new(&params, "model_params");
    let (section, path) = match multi_task {
        true => {
            let dict = at.get("model_dict")?;
            let node = dict.get(&branch)?.node;
            (node, format!("model_params.model_dict.{branch}"))
        }
        false => (at.node, at.path.clone()),
    };
    let weights = Weights::new(tensors, archive, folder, file_length);
    let tree = serialize(&At::new(section, path), &weights, reading)?;
    check_unused(&weights, reading)?;
    Ok((tree, multi_task.then_some(branch)))
}

/// The name that the PyTorch backend gives to a tensor of the exportable backend (`dp --pt-expt train`).
fn exportable_name(name: &str) -> String {
    let (path, last) = name.rsplit_once('.').unwrap_or(("", name));
    let last = match last {
        "w" => "matrix",
        "b" => "bias",
        other => other,
    };
    format!("{path}.{last}")
        .replace("_embedding.embedding_net.", "_embedding.embedding.embedding_net.")
        .replace("fitting_net.nets._module_networks.", "fitting_net.filter_layers.networks.")
        .replace("fitting_net.nets._networks.", "fitting_net.filter_layers._networks.")
}

/// A weight that nobody asked for belongs to an option this program does not know.
fn check_unused(weights: &Weights, reading: &mut Reading) -> Result<(), ModelError> {
    for name in weights.unused() {
        let harmless = name.ends_with("min_nbor_dist")
            // Tables made of options that are read.
            || name.ends_with(".type_mask")
            || name.ends_with(".econf_tebd")
            // The same layers by their other name.
            || name.starts_with("atomic_model.fitting_net.filter_layers._networks.")
            || name == "atomic_model.fitting_net.default_fparam_tensor";
        if harmless {
            continue;
        }
        if !reading.allow_unknown {
            return Err(ModelError::UnknownKey { entry: "state dict".into(), key: name, value: "a tensor".into() });
        }
        reading.remarks.push(format!("ignored unknown tensor {name}"));
    }
    Ok(())
}
