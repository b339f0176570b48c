//! Writes models: `.dp`, which DeePMD-kit opens, and `.weir`, which loads fast.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype as StDtype, TensorView};

use super::error::ModelError;
use super::serialize::{serialize, Slots};
use super::tree::{Dtype, Node, Tensor};
use super::{write_hdf5, Model};

/// Writes a model; the suffix says how: `.weir` (one file of safetensors) or `.dp` (HDF5, opens in DeePMD-kit).
///
/// The file appears whole or not at all.
///
/// # Errors
/// [`ModelError`] for an unknown suffix, a model that is not valid, or a disk that refuses.
pub fn save(model: &Model, path: &Path) -> Result<(), ModelError> {
    let name = path.display().to_string();
    let write = || -> Result<(), ModelError> {
        let suffix = path.extension().and_then(|s| s.to_str()).unwrap_or("").to_ascii_lowercase();
        let bytes = match suffix.as_str() {
            "dp" => to_dp(model)?,
            "weir" => to_weir(model)?,
            other => {
                return Err(ModelError::unsupported(
                    format!("cannot write a \".{other}\" file"),
                    "give a name that ends in .weir or .dp (DeePMD-kit makes other formats: `dp convert-backend model.dp model.pth`)",
                ))
            }
        };
        replace(path, &bytes)?;
        Ok(())
    };
    write().map_err(|e| e.of_file(&name))
}

/// Writes beside the target and renames, so that a full disk leaves the old file.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&part)))
}

/// Bytes of a `.dp` file.
///
/// # Errors
/// [`ModelError::Entry`] where the model is not valid.
pub fn to_dp(model: &Model) -> Result<Vec<u8>, ModelError> {
    model.validate()?;
    let (tree, script) = serialize(model, Slots::Expanded);
    let mut arrays: Vec<Tensor> = Vec::new();
    let tree = refer(tree, "", &mut |_, tensor| {
        arrays.push(tensor);
        format!("/variable_{:04}", arrays.len() - 1)
    });
    let json = serde_json::json!({
        "software": "weir",
        "version": env!("CARGO_PKG_VERSION"),
        "backend": "Weir",
        "model": tree,
        "model_def_script": refer(script, "", &mut |_, _| String::new()),
        "@variables": {},
    });
    let datasets: Vec<(String, &Tensor)> =
        arrays.iter().enumerate().map(|(i, tensor)| (format!("variable_{i:04}"), tensor)).collect();
    write_hdf5::write(&datasets, &[("json", &json.to_string())])
}

/// Metadata key that holds the tree of a `.weir` file.
pub(crate) const WEIR_KEY: &str = "weir";
/// Version of the `.weir` format.
pub(crate) const WEIR_VERSION: u64 = 1;

/// Bytes of a `.weir` file: a safetensors file whose tensors are named by their path in the tree, in the precision of the model;
/// the tree itself is JSON in the metadata.
///
/// # Errors
/// [`ModelError::Entry`] where the model is not valid.
pub fn to_weir(model: &Model) -> Result<Vec<u8>, ModelError> {
    model.validate()?;
    let (tree, _) = serialize(model, Slots::Compact);
    let mut arrays: Vec<(String, Vec<usize>, StDtype, Vec<u8>)> = Vec::new();
    let tree = refer(tree, "", &mut |path, tensor| {
        let (dtype, bytes) = match tensor.dtype {
            Dtype::F32 => (StDtype::F32, tensor.data.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect()),
            _ => (StDtype::F64, tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect()),
        };
        arrays.push((path.to_string(), tensor.shape, dtype, bytes));
        path.to_string()
    });
    let source = &model.source;
    let origin = serde_json::json!({
        "format": source.format,
        "sha256": source.origin_sha256.as_ref().unwrap_or(&source.sha256),
        "head": source.head,
    });
    let json = serde_json::json!({ "version": WEIR_VERSION, "model": tree, "origin": origin });
    // One key only: the order of several would differ from run to run.
    let metadata = std::collections::HashMap::from([(WEIR_KEY.to_string(), json.to_string())]);
    let broken = |e: safetensors::SafeTensorError| ModelError::container("safetensors (.weir)", e);
    let mut views = Vec::new();
    for (name, shape, dtype, bytes) in &arrays {
        views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(broken)?));
    }
    safetensors::serialize(views, &Some(metadata)).map_err(broken)
}

/// The tree as JSON, every array replaced by the name that `place` gives it.
fn refer(node: Node, path: &str, place: &mut impl FnMut(&str, Tensor) -> String) -> serde_json::Value {
    use serde_json::Value;
    match node {
        Node::Null => Value::Null,
        Node::Bool(b) => b.into(),
        Node::Int(i) => i.into(),
        Node::Float(f) => f.into(),
        Node::Str(s) => s.into(),
        Node::List(list) => {
            list.into_iter().enumerate().map(|(i, inner)| refer(inner, &format!("{path}.{i}"), place)).collect()
        }
        Node::Map(map) => {
            let mut object = serde_json::Map::new();
            for (key, inner) in map {
                // Paths read better without the containers' own keys.
                let below = match key.as_str() {
                    "@variables" => path.to_string(),
                    name if path.is_empty() => name.to_string(),
                    name => format!("{path}.{name}"),
                };
                object.insert(key, refer(inner, &below, place));
            }
            Value::Object(object)
        }
        Node::Array(tensor) => place(path, tensor).into(),
    }
}
