//! One object behind every handle: clients cast handles of potentials to those of base models and back.

use std::ffi::{c_char, c_int};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use weir_engine::backend::FrameParameters;
use weir_ffi::catch::caught;
use weir_ffi::ghosts::GhostList;
use weir_ffi::{text, Error, Potential, Source};

/// What getters tell; fixed once the models are read.
#[derive(Default)]
pub struct Facts {
    pub cutoff: f64,
    pub types: c_int,
    pub fparam: c_int,
    pub aparam: c_int,
    pub charge_spin: c_int,
    pub default_fparam: bool,
    pub type_map: String,
}

/// A model with the list that it was last given.
pub struct Loaded {
    pub potential: Potential,
    pub list: Option<GhostList>,
}

/// What calls change.
#[derive(Default)]
pub struct State {
    pub models: Vec<Loaded>,
    /// Whether a list was compared with a search of our own: once, for it takes as long as making a list.
    pub compared: bool,
    /// Charge and spin for calls that give none.
    pub charge_spin: Option<[f64; 2]>,
    /// Why nothing can be computed.
    sealed: Option<String>,
    /// The last error, until it is read.
    message: String,
}

/// The object.
#[derive(Default)]
pub struct Handle {
    pub(crate) facts: Facts,
    state: Mutex<State>,
}

fn facts(models: &[Loaded]) -> Result<Facts, Error> {
    let Some(first) = models.first() else { return Err(Error::Argument("no model is given".into())) };
    let m = first.potential.model();
    for other in &models[1..] {
        let o = other.potential.model();
        if o.type_map != m.type_map {
            let names = (m.type_map.join(" "), o.type_map.join(" "));
            let text = format!("models with different elements cannot be compared: {} and {}", names.0, names.1);
            return Err(Error::Argument(text));
        }
        if (o.fitting.numb_fparam, o.fitting.numb_aparam) != (m.fitting.numb_fparam, m.fitting.numb_aparam) {
            return Err(Error::Argument("models with different numbers of parameters cannot be compared".into()));
        }
    }
    let f = &m.fitting;
    Ok(Facts {
        cutoff: models.iter().map(|l| l.potential.model().descriptor.options.e_rcut).fold(0.0, f64::max),
        types: m.types() as c_int,
        fparam: f.numb_fparam as c_int,
        // A mask is none of the net's inputs.
        aparam: if f.use_aparam_as_mask { 0 } else { f.numb_aparam as c_int },
        charge_spin: if m.descriptor.options.add_chg_spin_ebd { 2 } else { 0 },
        default_fparam: models.iter().all(|l| l.potential.model().fitting.default_fparam.is_some()),
        type_map: m.type_map.join(" "),
    })
}

impl Handle {
    /// A handle of models; where they cannot be read, one that says why. `gpu_rank` is the device that the client proposes.
    pub fn open(sources: &[Source], gpu_rank: Option<c_int>) -> *mut Handle {
        let read = || {
            // A number below 0 proposes nothing.
            let rank = gpu_rank.and_then(|r| usize::try_from(r).ok());
            let models = sources
                .iter()
                .map(|&s| Ok(Loaded { potential: Potential::open(s, &Default::default(), rank)?, list: None }))
                .collect::<Result<Vec<_>, Error>>()?;
            Ok((facts(&models)?, models))
        };
        match caught(read) {
            Ok((facts, models)) => {
                let state = Mutex::new(State { models, ..State::default() });
                Box::into_raw(Box::new(Handle { facts, state }))
            }
            Err(e) => Self::sealed(&e.to_string()),
        }
    }

    /// A handle that only says why there is nothing behind it.
    pub fn sealed(why: &str) -> *mut Handle {
        let state = State { sealed: Some(why.into()), message: why.into(), ..State::default() };
        Box::into_raw(Box::new(Handle { state: Mutex::new(state), ..Handle::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Panics are caught inside; what they may have broken was dropped.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Works on the state; what goes wrong becomes the message.
    pub fn run(&self, work: impl FnOnce(&Facts, &mut State) -> Result<(), Error>) {
        let mut state = self.lock();
        if let Some(why) = &state.sealed {
            state.message = why.clone();
            return;
        }
        if let Err(e) = caught(|| work(&self.facts, &mut state)) {
            if matches!(e, Error::Internal(_)) {
                for model in &mut state.models {
                    model.potential.forget();
                    model.list = None;
                }
            }
            state.message = e.to_string();
        }
    }

    /// The message, once.
    pub fn take_message(&self) -> String {
        std::mem::take(&mut self.lock().message)
    }
}

/// The handle behind a pointer; `None` for null.
///
/// # Safety
/// Null, or a handle of this library that was not deleted.
pub unsafe fn at<'a>(handle: *const Handle) -> Option<&'a Handle> {
    // SAFETY: the caller's promise.
    unsafe { handle.as_ref() }
}

/// Deletes a handle; null is harmless.
///
/// # Safety
/// As [`at`]; the handle is not used again.
pub unsafe fn delete(handle: *mut Handle) {
    if !handle.is_null() {
        // SAFETY: made by Box::into_raw in this module, and given up by the caller.
        let handle = unsafe { Box::from_raw(handle) };
        weir_ffi::catch::quiet((), move || drop(handle));
    }
}

/// The message as a text for the caller to delete; empty where all is well, and for null.
///
/// # Safety
/// As [`at`].
pub unsafe fn check_ok(handle: *const Handle) -> *const c_char {
    // SAFETY: the caller's promise.
    let message = unsafe { at(handle) }.map_or(String::new(), Handle::take_message);
    text::give(message.as_bytes())
}

/// A handle of one model: bytes where there are some, else the file; on the device that the client proposes, where no setting names one.
///
/// # Safety
/// `name` is a text or null; `content` has `size` bytes or is null.
pub unsafe fn open_one(
    name: *const c_char,
    content: *const c_char,
    size: usize,
    gpu_rank: Option<c_int>,
) -> *mut Handle {
    // SAFETY: the caller's promise.
    let name = unsafe { text::take(name) };
    if !content.is_null() && size > 0 {
        // SAFETY: the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts(content.cast::<u8>(), size) };
        return Handle::open(&[Source::Bytes(bytes, name.as_deref().unwrap_or("model"))], gpu_rank);
    }
    match name {
        Some(name) => Handle::open(&[Source::File(Path::new(name.as_ref()))], gpu_rank),
        None => Handle::sealed("no model is given"),
    }
}

/// What a call gives beside positions.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    pub fparam: Option<Vec<f64>>,
    pub aparam: Option<Vec<f64>>,
    pub charge_spin: Option<Vec<f64>>,
}

impl Extra {
    /// Parameters of one of `frames` frames; `atoms` is the number of atoms that have atomic parameters.
    pub fn frame(&self, facts: &Facts, state: Option<[f64; 2]>, frame: usize, atoms: usize) -> FrameParameters {
        let part = |all: &Option<Vec<f64>>, width: usize| -> Option<Vec<f64>> {
            all.as_ref().filter(|_| width > 0).map(|v| v[frame * width..(frame + 1) * width].to_vec())
        };
        FrameParameters {
            fparam: part(&self.fparam, facts.fparam as usize),
            aparam: part(&self.aparam, facts.aparam as usize * atoms),
            charge_spin: part(&self.charge_spin, facts.charge_spin as usize).map(|v| [v[0], v[1]]).or(state),
        }
    }
}
