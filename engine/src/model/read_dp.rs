//! The `.dp` container: HDF5 with the tree as JSON text in the root attribute `json`, arrays as root datasets named below `@variables`.

use std::collections::HashMap;

use hdf5_reader::{Datatype, Hdf5File, OpenOptions};

use super::arrays::resolve;
use super::error::ModelError;
use super::tree::{Dtype, Node, Tensor};

/// First bytes of every HDF5 file.
pub(crate) const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// Reads the whole tree of a `.dp` file held in memory.
pub(crate) fn read(bytes: &[u8]) -> Result<Node, ModelError> {
    let broken = |e: hdf5_reader::error::Error| ModelError::container("HDF5 (.dp)", e);
    // No array of an uncompressed file is longer than the file.
    let options = OpenOptions::default()
        .with_max_read_bytes(bytes.len())
        .with_max_chunk_bytes(bytes.len())
        .with_max_object_header_bytes(bytes.len());
    let file = Hdf5File::from_bytes_with_options(bytes, options).map_err(broken)?;
    let root = file.root_group().map_err(broken)?;
    let attribute = root.attribute("json").map_err(|e| {
        ModelError::container("HDF5 (.dp)", format!("no root attribute \"json\", so this is no DeePMD-kit model ({e})"))
    })?;
    let text = attribute.read_string().map_err(broken)?;
    let json: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| ModelError::entry("attribute json", format!("expected JSON text of a model: {e}")))?;
    let mut arrays = HashMap::new();
    for dataset in root.datasets().map_err(broken)? {
        arrays.insert(dataset.name().trim_start_matches('/').to_string(), dataset);
    }
    // Every reference is read at most a few times by real files; a lying one must not multiply memory.
    let mut budget = bytes.len().saturating_mul(4);
    resolve(json, &mut |name, path| {
        let dataset = arrays.get(name.trim_start_matches('/')).ok_or_else(|| {
            ModelError::entry(path, format!("names dataset \"{name}\", which the file does not hold"))
        })?;
        array(dataset, name, path, &mut budget)
    })
}

/// Reads one dataset into double precision.
fn array(dataset: &hdf5_reader::Dataset, name: &str, path: &str, budget: &mut usize) -> Result<Tensor, ModelError> {
    let problem = |what: String| ModelError::entry(path, format!("dataset \"{name}\": {what}"));
    let dtype = match dataset.dtype() {
        Datatype::FloatingPoint { size: 4, .. } => Dtype::F32,
        Datatype::FloatingPoint { size: 8, .. } => Dtype::F64,
        Datatype::FixedPoint { .. } => Dtype::Integer,
        other => return Err(problem(format!("expected float32 or float64 numbers, found {other:?}"))),
    };
    let shape = dataset.shape().iter().map(|&n| usize::try_from(n)).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| problem("shape does not fit this machine".into()))?;
    let length = dataset.raw_byte_len().map_err(|e| problem(e.to_string()))?;
    if length > *budget {
        return Err(problem(format!("claims {length} bytes of shape {shape:?}, more than the file can hold")));
    }
    *budget -= length;
    let wrong = |e: hdf5_reader::error::Error| problem(e.to_string());
    let data: Vec<f64> = match dataset.dtype() {
        Datatype::FloatingPoint { size: 4, .. } => {
            dataset.read_array::<f32>().map_err(wrong)?.iter().map(|&v| v as f64).collect()
        }
        Datatype::FloatingPoint { .. } => dataset.read_array::<f64>().map_err(wrong)?.iter().copied().collect(),
        Datatype::FixedPoint { size: 8, signed: true, .. } => {
            dataset.read_array::<i64>().map_err(wrong)?.iter().map(|&v| v as f64).collect()
        }
        Datatype::FixedPoint { size: 4, signed: true, .. } => {
            dataset.read_array::<i32>().map_err(wrong)?.iter().map(|&v| v as f64).collect()
        }
        other => return Err(problem(format!("unsupported integer type {other:?}"))),
    };
    if data.len() != shape.iter().product::<usize>() {
        return Err(problem(format!("holds {} numbers, expected shape {shape:?}", data.len())));
    }
    Ok(Tensor { shape, dtype, data })
}
