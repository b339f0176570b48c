//! Errors as Python exceptions. The classes stand in `weir/errors.py`, so that they have ordinary bases and documentation.

use pyo3::prelude::*;
use pyo3::types::PyType;
use weir_engine::backend::ComputeError;
use weir_engine::model::ModelError;
use weir_ffi::Error;

/// Name of the class in `weir.errors`.
fn class(error: &Error) -> &'static str {
    match error {
        Error::Argument(_) => "ArgumentError",
        Error::Model(e) if is_missing(e) => "ModelNotFoundError",
        Error::Model(_) => "ModelError",
        Error::Setting(_) | Error::Session(_) => "SettingError",
        Error::Compute(ComputeError::Memory(_)) => "BudgetError",
        Error::Compute(_) => "ComputeError",
        Error::Unsupported(_) | Error::Ranks(_) => "UnsupportedError",
        Error::Internal(_) => "InternalError",
    }
}

fn is_missing(error: &ModelError) -> bool {
    match error {
        ModelError::File { source, .. } => is_missing(source),
        ModelError::Io(e) => e.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// The exception of an error, with Weir's own sentence.
pub fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let text = error.to_string();
    let class =
        py.import("weir.errors").and_then(|m| m.getattr(class(error))).and_then(|c| Ok(c.cast_into::<PyType>()?));
    match class {
        Ok(class) => PyErr::from_type(class, (text,)),
        // The package is damaged: its sentence must not be lost.
        Err(_) => pyo3::exceptions::PyRuntimeError::new_err(text),
    }
}
