//! `weir._native`: potentials behind handles for Python. What users see (`Calculator`, `DeepPot`, exceptions) is written in Python
//! (`python/weir`) over this one class.

mod batch;
mod error;
mod potential;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::path::PathBuf;
use weir_allocators::policy::NAMES;

/// Heads of a model file: name, other names, number of types, type of its fitting net, description.
type Head = (String, Vec<String>, usize, String, Option<String>);

/// Lists the heads of a model file.
#[pyfunction]
fn heads(py: Python<'_>, path: PathBuf) -> PyResult<Vec<Head>> {
    let found = py.detach(|| weir_ffi::catch::caught(|| Ok(weir_engine::model::heads(&path)?)));
    let found = found.map_err(|e| error::exception(py, &e))?;
    Ok(found.into_iter().map(|h| (h.name, h.aliases, h.types, h.fitting, h.description)).collect())
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    // What a keyword may be called: the variables that stand for a calculation's settings.
    let names: Vec<&str> = NAMES.iter().map(|n| n.key).filter(|k| !["config", "shared"].contains(k)).collect();
    module.add("SETTINGS", PyTuple::new(module.py(), names)?)?;
    module.add_class::<potential::Handle>()?;
    module.add_function(wrap_pyfunction!(heads, module)?)
}
