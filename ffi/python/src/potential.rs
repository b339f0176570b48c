//! A model behind a handle.

use crate::batch::{Batch, Out};
use crate::error::exception;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use weir_ffi::catch::{caught, quiet};
use weir_ffi::options::Layer;
use weir_ffi::{Error, Potential, Source};

/// Time between two looks at Python's signals in a batch.
const BETWEEN: Duration = Duration::from_millis(50);

type Array<'py> = Bound<'py, PyArray1<f64>>;

/// A model and how to compute with it. Any thread may call; calls for one handle wait for each other, frame by frame. The interpreter
/// is free while they compute and while they wait.
#[pyclass(frozen, name = "Potential", module = "weir._native")]
pub struct Handle {
    /// Threads do not survive a fork: in another process than this one the potential is neither used nor freed.
    process: u32,
    state: ManuallyDrop<Mutex<Potential>>,
    #[pyo3(get)]
    type_map: Vec<String>,
    #[pyo3(get)]
    cutoff: f64,
    #[pyo3(get)]
    dim_fparam: usize,
    #[pyo3(get)]
    dim_aparam: usize,
    #[pyo3(get)]
    has_default_fparam: bool,
    #[pyo3(get)]
    has_charge_spin: bool,
    #[pyo3(get)]
    has_default_charge_spin: bool,
    /// Path, format, SHA-256, head of the model.
    #[pyo3(get)]
    source: (String, String, String, Option<String>),
    #[pyo3(get)]
    summary: String,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // SAFETY: dropped here and nowhere else.
            quiet((), || unsafe { ManuallyDrop::drop(&mut self.state) });
        }
    }
}

impl Handle {
    fn lock(&self) -> MutexGuard<'_, Potential> {
        // Panics are caught inside; what they may have broken was dropped.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Works on the potential without holding the interpreter.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl Send + FnOnce(&mut Potential) -> Result<T, Error>,
    ) -> PyResult<T> {
        if self.process != std::process::id() {
            let text = format!(
                "made in process {}, used in process {}: make a new one after a fork",
                self.process,
                std::process::id()
            );
            return Err(exception(py, &Error::Argument(text)));
        }
        py.detach(|| self.guarded(work)).map_err(|e| exception(py, &e))
    }

    fn guarded<T>(&self, work: impl FnOnce(&mut Potential) -> Result<T, Error>) -> Result<T, Error> {
        let mut potential = self.lock();
        let done = caught(|| work(&mut potential));
        if matches!(done, Err(Error::Internal(_))) {
            potential.forget();
        }
        done
    }

    /// Frames in turn. Between them other threads may have the potential, and signals (Ctrl-C) end the batch.
    fn run(&self, batch: &Batch, out: &mut Out) -> Result<(), Stop> {
        let mut looked = Instant::now();
        for k in 0..batch.frames {
            if looked.elapsed() > BETWEEN {
                Python::attach(|py| py.check_signals()).map_err(Stop::Signal)?;
                looked = Instant::now();
            }
            self.guarded(|p| batch.compute(k, p, out)).map_err(Stop::Error)?;
        }
        Ok(())
    }
}

/// Why a batch ended early.
enum Stop {
    Signal(PyErr),
    Error(Error),
}

fn values(array: Option<PyReadonlyArray1<'_, f64>>) -> PyResult<Option<Vec<f64>>> {
    Ok(array.map(|a| a.as_slice().map(<[f64]>::to_vec)).transpose()?)
}

#[pymethods]
impl Handle {
    /// Reads a model. `settings` are texts by name of the environment variable without `WEIR_`, in small letters.
    #[new]
    fn new(py: Python<'_>, path: PathBuf, settings: BTreeMap<String, String>) -> PyResult<Self> {
        let open = || {
            let mut own = Layer::default();
            for (key, text) in &settings {
                own.set(key, &format!("argument {key}"), text)?;
            }
            Potential::open(Source::File(&path), &own, None)
        };
        let potential = py.detach(|| caught(open)).map_err(|e| exception(py, &e))?;
        let model = potential.model();
        let (fit, options, source) = (&model.fitting, &model.descriptor.options, &model.source);
        Ok(Handle {
            process: std::process::id(),
            type_map: model.type_map.clone(),
            cutoff: options.e_rcut,
            dim_fparam: fit.numb_fparam,
            dim_aparam: fit.numb_aparam,
            has_default_fparam: fit.default_fparam.is_some(),
            has_charge_spin: options.add_chg_spin_ebd,
            has_default_charge_spin: options.default_chg_spin.is_some(),
            source: (source.path.clone(), source.format.clone(), source.sha256.clone(), source.head.clone()),
            summary: potential.summary(),
            state: ManuallyDrop::new(Mutex::new(potential)),
        })
    }

    /// Computes frames of equally many atoms; all arrays are flat. Returns energies (1 a frame), forces (3 an atom), virials (9 a frame),
    /// energies of atoms, virials of atoms (9 each, where asked for) of the frames before the first error, and that error.
    #[pyo3(signature = (frames, atoms, types, positions, cells, fparam, aparam, charge_spin, atomic))]
    #[allow(clippy::type_complexity)]
    fn compute<'py>(
        &self,
        py: Python<'py>,
        frames: usize,
        atoms: usize,
        types: PyReadonlyArray1<'py, i32>,
        positions: PyReadonlyArray1<'py, f64>,
        cells: Option<PyReadonlyArray1<'py, f64>>,
        fparam: Option<PyReadonlyArray1<'py, f64>>,
        aparam: Option<PyReadonlyArray1<'py, f64>>,
        charge_spin: Option<PyReadonlyArray1<'py, f64>>,
        atomic: bool,
    ) -> PyResult<(Array<'py>, Array<'py>, Array<'py>, Array<'py>, Option<Array<'py>>, Option<PyErr>)> {
        let batch = Batch {
            frames,
            atoms,
            types: types.as_slice()?.to_vec(),
            positions: positions.as_slice()?.chunks_exact(3).map(|x| [x[0], x[1], x[2]]).collect(),
            cells: values(cells)?,
            fparam: values(fparam)?,
            aparam: values(aparam)?,
            charge_spin: values(charge_spin)?,
            atomic,
        };
        let ready = || batch.check().and_then(|()| Out::new(&batch));
        let mut out = ready().map_err(|e| exception(py, &e))?;
        // Refuses other processes.
        self.with(py, |_| Ok(()))?;
        let stop = match py.detach(|| self.run(&batch, &mut out)) {
            Ok(()) => None,
            Err(Stop::Signal(raised)) => return Err(raised),
            Err(Stop::Error(e)) => Some(exception(py, &e)),
        };
        Ok((
            out.energy.into_pyarray(py),
            out.forces.into_pyarray(py),
            out.virial.into_pyarray(py),
            out.atomic_energy.into_pyarray(py),
            out.atomic_virial.map(|v| v.into_pyarray(py)),
            stop,
        ))
    }

    /// The plan in force, a sentence; none before the first step.
    fn plan(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.with(py, |p| Ok(p.plan()))
    }

    /// Largest number of bytes held so far, by tier.
    fn memory(&self, py: Python<'_>) -> PyResult<BTreeMap<String, u64>> {
        self.with(py, |p| Ok(p.peak_bytes().into_iter().collect()))
    }
}
