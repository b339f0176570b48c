//! The `.weir` container: safetensors with the tree as JSON in its metadata.

use safetensors::tensor::{Dtype as StDtype, TensorView};
use safetensors::SafeTensors;

use super::arrays::resolve;
use super::error::ModelError;
use super::tree::{Dtype, Node, Tensor};
use super::write::{WEIR_KEY, WEIR_VERSION};

/// Where the weights of a converted file came from.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    pub sha256: Option<String>,
    pub head: Option<String>,
}

/// True for bytes that begin as a safetensors file does.
pub(crate) fn is(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    (2..=bytes.len() as u64).contains(&length) && rest.first() == Some(&b'{')
}

/// Reads the whole tree of a `.weir` file held in memory.
pub(crate) fn read(bytes: &[u8]) -> Result<(Node, Origin), ModelError> {
    let broken = |e: safetensors::SafeTensorError| ModelError::container("safetensors (.weir)", e);
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let text = metadata.metadata().as_ref().and_then(|m| m.get(WEIR_KEY)).ok_or_else(|| {
        ModelError::unsupported(
            "a safetensors file that does not hold a model of this program",
            "give a .weir file made by `weir model convert`, or the model's .dp or .pt file",
        )
    })?;
    let json: serde_json::Value = serde_json::from_str(text)
        .map_err(|e| ModelError::entry("metadata weir", format!("expected JSON text of a model: {e}")))?;
    let version = json["version"].as_u64();
    if version != Some(WEIR_VERSION) {
        let what = format!("a .weir file of version {version:?}; this program reads version {WEIR_VERSION}");
        return Err(ModelError::unsupported(what, "convert the original model again"));
    }
    let known = |key: &str| json["origin"][key].as_str().filter(|s| !s.is_empty()).map(str::to_string);
    let origin = Origin { sha256: known("sha256"), head: known("head") };
    let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
    let root = resolve(json, &mut |name, path| {
        let view = tensors
            .tensor(name)
            .map_err(|_| ModelError::entry(path, format!("names tensor \"{name}\", which the file does not hold")))?;
        tensor(&view).ok_or_else(|| {
            ModelError::entry(path, format!("tensor \"{name}\" has type {:?}, expected F32 or F64", view.dtype()))
        })
    })?;
    Ok((root, origin))
}

fn tensor(view: &TensorView) -> Option<Tensor> {
    let bytes = view.data();
    let (dtype, data) = match view.dtype() {
        StDtype::F32 => {
            let number = |b: &[u8]| f64::from(f32::from_le_bytes(b.try_into().expect("four bytes")));
            (Dtype::F32, bytes.chunks_exact(4).map(number).collect())
        }
        StDtype::F64 => {
            let number = |b: &[u8]| f64::from_le_bytes(b.try_into().expect("eight bytes"));
            (Dtype::F64, bytes.chunks_exact(8).map(number).collect())
        }
        _ => return None,
    };
    Some(Tensor { shape: view.shape().to_vec(), dtype, data })
}
