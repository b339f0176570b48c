//! Making, describing and deleting potentials.

use crate::list::Taken;
use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use weir_engine::backend::FrameParameters;
use weir_engine::element::SYMBOLS;
use weir_ffi::catch::caught;
use weir_ffi::options::{parse, Layer};
use weir_ffi::units::Units;
use weir_ffi::{text, Error, Potential, Source};

/// Version of the interface: `WEIR_API_VERSION` of the header.
pub const API_VERSION: c_int = 2;

/// A system as last set.
#[derive(Default)]
pub(crate) struct System {
    /// Rows of the client's arrays.
    pub atoms: usize,
    /// Rows that the model sees, and their types.
    pub rows: Vec<u32>,
    pub types: Vec<i32>,
    pub parameters: FrameParameters,
}

/// What calls change.
pub(crate) struct State {
    pub potential: Potential,
    pub system: Option<System>,
    /// The neighbour list that the calculator holds, where the client gave it.
    pub taken: Option<Taken>,
    pub error: String,
}

/// `weir_potential`.
pub struct Handle {
    pub(crate) units: Units,
    state: Mutex<State>,
}

thread_local! {
    /// Why this thread's last creation failed.
    static CREATION: RefCell<String> = const { RefCell::new(String::new()) };
}

impl Handle {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Panics are caught inside; what they may have broken was dropped.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Works on the state and says how it went.
    pub(crate) fn run(&self, work: impl FnOnce(&mut State) -> Result<(), Error>) -> c_int {
        let mut state = self.lock();
        match caught(|| work(&mut state)) {
            Ok(()) => 0,
            Err(e) => {
                if matches!(e, Error::Internal(_)) {
                    state.potential.forget();
                    state.taken = None;
                }
                state.error = e.to_string();
                e.code()
            }
        }
    }
}

pub(crate) fn creation_error() -> String {
    CREATION.with(|c| c.borrow().clone())
}

/// The handle behind a pointer.
///
/// # Safety
/// Null, or a handle that was not destroyed.
pub(crate) unsafe fn at<'a>(p: *const Handle) -> Option<&'a Handle> {
    // SAFETY: the caller's promise.
    unsafe { p.as_ref() }
}

fn create(source: &dyn Fn() -> Result<Potential, Error>, units: c_int) -> *mut Handle {
    let made = caught(|| {
        let units = match units {
            0 => Units::Metal,
            1 => Units::Gromacs,
            other => {
                let text = format!("units {other} are unknown: choose WEIR_UNITS_METAL (0) or WEIR_UNITS_GROMACS (1)");
                return Err(Error::Argument(text));
            }
        };
        let state = Mutex::new(State { potential: source()?, system: None, taken: None, error: String::new() });
        Ok(Box::into_raw(Box::new(Handle { units, state })))
    });
    let (handle, error) = match made {
        Ok(handle) => (handle, String::new()),
        Err(e) => (std::ptr::null_mut(), e.to_string()),
    };
    CREATION.with(|c| *c.borrow_mut() = error);
    handle
}

/// # Safety
/// Texts or null.
unsafe fn layer(head: *const c_char, options: *const c_char) -> Result<Layer, Error> {
    // SAFETY: the caller's promise.
    let (head, options) = unsafe { (text::take(head), text::take(options)) };
    let mut layer = parse(&options.unwrap_or_default())?;
    if let Some(head) = head.filter(|h| !h.is_empty()) {
        layer.set("head", "the argument head", &head)?;
    }
    Ok(layer)
}

/// See `weir.h`.
///
/// # Safety
/// Texts or null.
#[no_mangle]
pub unsafe extern "C" fn weir_create(
    path: *const c_char,
    head: *const c_char,
    options: *const c_char,
    units: c_int,
) -> *mut Handle {
    let open = || {
        // SAFETY: the caller's promise.
        let path =
            unsafe { text::take(path) }.ok_or_else(|| Error::Argument("the path of the model is null".into()))?;
        // SAFETY: the caller's promise.
        Potential::open(Source::File(Path::new(path.as_ref())), &unsafe { layer(head, options) }?, None)
    };
    create(&open, units)
}

/// See `weir.h`.
///
/// # Safety
/// Texts or null; `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn weir_create_from_bytes(
    bytes: *const c_void,
    size: usize,
    name: *const c_char,
    head: *const c_char,
    options: *const c_char,
    units: c_int,
) -> *mut Handle {
    let open = || {
        if bytes.is_null() {
            return Err(Error::Argument("the bytes of the model are null".into()));
        }
        // SAFETY: the caller's promise.
        let (bytes, name) = unsafe { (std::slice::from_raw_parts(bytes.cast::<u8>(), size), text::take(name)) };
        // SAFETY: the caller's promise.
        Potential::open(
            Source::Bytes(bytes, name.as_deref().unwrap_or("model")),
            &unsafe { layer(head, options) }?,
            None,
        )
    };
    create(&open, units)
}

/// See `weir.h`.
///
/// # Safety
/// Null, or a handle that is not used again.
#[no_mangle]
pub unsafe extern "C" fn weir_destroy(p: *mut Handle) {
    if !p.is_null() {
        // SAFETY: made by Box::into_raw above, given up by the caller.
        let handle = unsafe { Box::from_raw(p) };
        weir_ffi::catch::quiet((), move || drop(handle));
    }
}

/// Rows that the model sees: the group, or all.
///
/// # Safety
/// `group` has `size` entries or is null.
unsafe fn rows(atoms: usize, group: *const i32, size: usize) -> Result<Vec<u32>, Error> {
    if group.is_null() {
        return Ok((0..atoms as u32).collect());
    }
    let mut seen = vec![false; atoms];
    // SAFETY: the caller's promise.
    let group = unsafe { std::slice::from_raw_parts(group, size) };
    let one = |&i: &i32| {
        let slot = usize::try_from(i).ok().and_then(|k| seen.get_mut(k));
        match slot.map(|s| std::mem::replace(s, true)) {
            Some(false) => Ok(i as u32),
            Some(true) => Err(Error::Argument(format!("atom {i} is twice in the group"))),
            None => Err(Error::Argument(format!("atom {i} of the group is none of {atoms}"))),
        }
    };
    group.iter().map(one).collect()
}

/// # Safety
/// Arrays as long as said.
unsafe fn set_system(
    p: *mut Handle,
    atoms: usize,
    kinds: *const i32,
    group: *const i32,
    size: usize,
    type_of: impl Fn(&Potential, usize, i32) -> Result<i32, Error>,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { at(p) }) else { return 1 };
    handle.run(|state| {
        if atoms >= i32::MAX as usize {
            return Err(Error::Argument(format!("{atoms} atoms do not fit 31-bit indices")));
        }
        if kinds.is_null() && atoms > 0 {
            return Err(Error::Argument("types or atomic numbers are null".into()));
        }
        // SAFETY: the caller's promise.
        let rows = unsafe { rows(atoms, group, size) }?;
        // SAFETY: rows are below atoms.
        let one = |&k: &u32| type_of(&state.potential, k as usize, unsafe { *kinds.add(k as usize) });
        let types = rows.iter().map(one).collect::<Result<Vec<_>, Error>>()?;
        state.taken = None;
        state.system = Some(System { atoms, rows, types, parameters: FrameParameters::default() });
        Ok(())
    })
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle; arrays as long as said.
#[no_mangle]
pub unsafe extern "C" fn weir_set_types(
    p: *mut Handle,
    atoms: usize,
    types: *const i32,
    group: *const i32,
    group_size: usize,
) -> c_int {
    let check = |potential: &Potential, atom: usize, t: i32| {
        let map = &potential.model().type_map;
        if t >= map.len() as i32 {
            let text = format!("atom {atom} has type {t}, but the model has {} types: {}", map.len(), map.join(" "));
            return Err(Error::Argument(text));
        }
        Ok(t)
    };
    // SAFETY: the caller's promise.
    unsafe { set_system(p, atoms, types, group, group_size, check) }
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle; arrays as long as said.
#[no_mangle]
pub unsafe extern "C" fn weir_set_atomic_numbers(
    p: *mut Handle,
    atoms: usize,
    numbers: *const i32,
    group: *const i32,
    group_size: usize,
) -> c_int {
    let find = |potential: &Potential, atom: usize, z: i32| {
        if z == 0 {
            return Ok(-1);
        }
        let symbol = usize::try_from(i64::from(z) - 1).ok().and_then(|k| SYMBOLS.get(k).copied());
        let symbol =
            symbol.ok_or_else(|| Error::Argument(format!("atom {atom} has atomic number {z}, which is no element")))?;
        let model = potential.model();
        model.type_of(symbol).map(|t| t as i32).ok_or_else(|| {
            Error::Argument(format!(
                "atom {atom} is {symbol}, which the model does not know: {}",
                model.type_map.join(" ")
            ))
        })
    };
    // SAFETY: the caller's promise.
    unsafe { set_system(p, atoms, numbers, group, group_size, find) }
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle; arrays as long as said.
#[no_mangle]
pub unsafe extern "C" fn weir_set_parameters(
    p: *mut Handle,
    fparam: *const f64,
    fparam_count: usize,
    aparam: *const f64,
    aparam_count: usize,
    charge_spin: *const f64,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { at(p) }) else { return 1 };
    handle.run(|state| {
        // SAFETY: the caller's promise.
        let read = |data: *const f64, count: usize| {
            // SAFETY: the caller's promise: `count` numbers, or null.
            (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data, count) }.to_vec())
        };
        let width = state.potential.model().fitting.numb_aparam;
        let Some(system) = &mut state.system else { return Err(no_system()) };
        let aparam = match read(aparam, aparam_count) {
            Some(all) if all.len() != width * system.atoms => {
                let text = format!("{} atomic parameters for {} atoms with {width} each", all.len(), system.atoms);
                return Err(Error::Argument(text));
            }
            all => all,
        };
        let of = |all: Vec<f64>| -> Vec<f64> {
            system.rows.iter().flat_map(|&k| all[k as usize * width..(k as usize + 1) * width].to_vec()).collect()
        };
        system.parameters = FrameParameters {
            fparam: read(fparam, fparam_count),
            aparam: aparam.map(of),
            charge_spin: read(charge_spin, 2).map(|v| [v[0], v[1]]),
        };
        Ok(())
    })
}

pub(crate) fn no_system() -> Error {
    Error::Argument("no system is set: call weir_set_types or weir_set_atomic_numbers first".into())
}
