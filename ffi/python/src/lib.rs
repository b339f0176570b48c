//! `weir._native`: potentials behind handles for Python. What users see (`Calculator`, `DeepPot`, exceptions) is written in Python
//! (`python/weir`) over this one class.

mod batch;
mod error;
mod potential;

use pyo3::prelude::*;
use std::path::PathBuf;

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
    module.add_class::<potential::Handle>()?;
    module.add_function(wrap_pyfunction!(heads, module)?)
}
