//! Potentials, base models, model deviation.

use crate::compute::Call;
use crate::handle::{at, check_ok, delete, open_one, Handle};
use crate::list::Nlist;
use std::ffi::{c_char, c_int};
use std::path::Path;
use std::ptr::null;
use weir_ffi::catch::quiet;
use weir_ffi::{text, Error, Source};

/// A potential from a file.
///
/// # Safety
/// A text or null.
#[no_mangle]
pub unsafe extern "C" fn DP_NewDeepPot(c_model: *const c_char) -> *mut Handle {
    // SAFETY: the caller's promise.
    quiet(std::ptr::null_mut(), || unsafe { open_one(c_model, null(), 0, None) })
}

/// As [`DP_NewDeepPotWithParam2`], with a content that ends with a zero byte: such files are not binary.
///
/// # Safety
/// Texts or null.
#[no_mangle]
pub unsafe extern "C" fn DP_NewDeepPotWithParam(
    c_model: *const c_char,
    gpu_rank: c_int,
    c_file_content: *const c_char,
) -> *mut Handle {
    // SAFETY: the caller's promise.
    quiet(std::ptr::null_mut(), || unsafe {
        let size = if c_file_content.is_null() { 0 } else { std::ffi::CStr::from_ptr(c_file_content).to_bytes().len() };
        open_one(c_model, c_file_content, size, Some(gpu_rank))
    })
}

/// A potential from the bytes of a file, or (size 0) from the file. `gpu_rank` counts modulo the devices and chooses one where
/// `WEIR_DEVICE` does not; without a GPU, or with `WEIR_BACKEND=cpu`, it chooses nothing.
///
/// # Safety
/// A text, and as many bytes as said.
#[no_mangle]
pub unsafe extern "C" fn DP_NewDeepPotWithParam2(
    c_model: *const c_char,
    gpu_rank: c_int,
    c_file_content: *const c_char,
    size_file_content: c_int,
) -> *mut Handle {
    // SAFETY: the caller's promise.
    quiet(std::ptr::null_mut(), || unsafe {
        open_one(c_model, c_file_content, size_file_content.max(0) as usize, Some(gpu_rank))
    })
}

/// Several potentials that are compared.
///
/// # Safety
/// `n_models` texts.
#[no_mangle]
pub unsafe extern "C" fn DP_NewDeepPotModelDevi(c_models: *const *const c_char, n_models: c_int) -> *mut Handle {
    // SAFETY: the caller's promise.
    unsafe { DP_NewDeepPotModelDeviWithParam(c_models, n_models, -1, null(), 0, null()) }
}

/// As [`DP_NewDeepPotModelDevi`], from bytes where there are any.
///
/// # Safety
/// `n_models` texts; `n_file_contents` contents of the sizes said.
#[no_mangle]
pub unsafe extern "C" fn DP_NewDeepPotModelDeviWithParam(
    c_model: *const *const c_char,
    n_models: c_int,
    gpu_rank: c_int,
    c_file_contents: *const *const c_char,
    n_file_contents: c_int,
    size_file_contents: *const c_int,
) -> *mut Handle {
    quiet(std::ptr::null_mut(), || {
        if c_model.is_null() {
            return Handle::sealed("no model is given");
        }
        let count = n_models.max(0) as usize;
        // SAFETY: the caller's promise.
        let names: Vec<_> = (0..count).map(|k| unsafe { text::take(*c_model.add(k)) }.unwrap_or_default()).collect();
        let content = |k: usize| -> Option<&[u8]> {
            if c_file_contents.is_null() || size_file_contents.is_null() || k >= n_file_contents.max(0) as usize {
                return None;
            }
            // SAFETY: the caller's promise.
            unsafe {
                let (bytes, size) = (*c_file_contents.add(k), *size_file_contents.add(k));
                let some = !bytes.is_null() && size > 0;
                some.then(|| std::slice::from_raw_parts(bytes.cast::<u8>(), size as usize))
            }
        };
        let sources: Vec<Source> = names
            .iter()
            .enumerate()
            .map(|(k, name)| match content(k) {
                Some(bytes) => Source::Bytes(bytes, name),
                None => Source::File(Path::new(name.as_ref())),
            })
            .collect();
        Handle::open(&sources, Some(gpu_rank))
    })
}

macro_rules! deletes {
    ($($name:ident)*) => {$(
        /// Deletes a handle; null is harmless.
        ///
        /// # Safety
        /// Null, or a handle that is not used again.
        #[no_mangle]
        pub unsafe extern "C" fn $name(dp: *mut Handle) {
            // SAFETY: the caller's promise.
            unsafe { delete(dp) }
        }
    )*};
}
pub(crate) use deletes;

macro_rules! checks {
    ($($name:ident)*) => {$(
        /// The last error, empty where there is none; reading it clears it.
        ///
        /// # Safety
        /// Null or a handle.
        #[no_mangle]
        pub unsafe extern "C" fn $name(dp: *mut Handle) -> *const c_char {
            // SAFETY: the caller's promise.
            quiet(null(), || unsafe { check_ok(dp) })
        }
    )*};
}
pub(crate) use checks;

macro_rules! getters {
    ($($name:ident -> $type:ty = |$facts:ident| $value:expr;)*) => {$(
        /// What the model has; zero for a handle without one.
        ///
        /// # Safety
        /// Null or a handle.
        #[no_mangle]
        pub unsafe extern "C" fn $name(dp: *mut Handle) -> $type {
            // SAFETY: the caller's promise.
            unsafe { at(dp) }.map_or(Default::default(), |h| { let $facts = &h.facts; $value })
        }
    )*};
}
pub(crate) use getters;

macro_rules! type_maps {
    ($($name:ident)*) => {$(
        /// Names of the types, separated by spaces.
        ///
        /// # Safety
        /// Null or a handle.
        #[no_mangle]
        pub unsafe extern "C" fn $name(dp: *mut Handle) -> *const c_char {
            // SAFETY: the caller's promise.
            text::give(unsafe { at(dp) }.map_or(&[][..], |h| h.facts.type_map.as_bytes()))
        }
    )*};
}
pub(crate) use type_maps;

macro_rules! charge_spins {
    ($($name:ident)*) => {$(
        /// Charge and spin for calls that give none.
        ///
        /// # Safety
        /// Null or a handle; as many numbers as said.
        #[no_mangle]
        pub unsafe extern "C" fn $name(dp: *mut Handle, charge_spin: *const f64, numb_chg_spin: c_int) {
            // SAFETY: the caller's promise.
            let Some(handle) = (unsafe { at(dp) }) else { return };
            handle.run(|facts, state| {
                if numb_chg_spin != facts.charge_spin {
                    let text = format!("{numb_chg_spin} numbers of charge and spin, but the model takes {}", facts.charge_spin);
                    return Err(Error::Argument(text));
                }
                if numb_chg_spin == 2 {
                    if charge_spin.is_null() {
                        return Err(Error::Argument("charge and spin are null".into()));
                    }
                    // SAFETY: two numbers, as promised.
                    state.charge_spin = Some(unsafe { [*charge_spin, *charge_spin.add(1)] });
                }
                Ok(())
            });
        }
    )*};
}
pub(crate) use charge_spins;

deletes! { DP_DeleteDeepPot DP_DeleteDeepBaseModel DP_DeleteDeepPotModelDevi DP_DeleteDeepBaseModelDevi }
checks! { DP_DeepPotCheckOK DP_DeepBaseModelCheckOK DP_DeepPotModelDeviCheckOK DP_DeepBaseModelDeviCheckOK }
type_maps! { DP_DeepPotGetTypeMap DP_DeepBaseModelGetTypeMap }
charge_spins! { DP_DeepPotSetChargeSpin DP_DeepPotModelDeviSetChargeSpin }
getters! {
    DP_DeepBaseModelGetCutoff -> f64 = |f| f.cutoff;
    DP_DeepBaseModelGetNumbTypes -> c_int = |f| f.types;
    DP_DeepBaseModelGetNumbTypesSpin -> c_int = |_f| 0;
    DP_DeepBaseModelGetDimFParam -> c_int = |f| f.fparam;
    DP_DeepBaseModelGetDimAParam -> c_int = |f| f.aparam;
    DP_DeepBaseModelIsAParamNAll -> bool = |_f| false;
    DP_DeepBaseModelHasDefaultFParam -> bool = |f| f.default_fparam;
    DP_DeepPotGetCutoff -> f64 = |f| f.cutoff;
    DP_DeepPotGetNumbTypes -> c_int = |f| f.types;
    DP_DeepPotGetNumbTypesSpin -> c_int = |_f| 0;
    DP_DeepPotGetDimFParam -> c_int = |f| f.fparam;
    DP_DeepPotGetDimAParam -> c_int = |f| f.aparam;
    DP_DeepPotGetDimChgSpin -> c_int = |f| f.charge_spin;
    DP_DeepPotIsAParamNAll -> bool = |_f| false;
    DP_DeepPotHasDefaultFParam -> bool = |f| f.default_fparam;
    DP_DeepBaseModelDeviGetCutoff -> f64 = |f| f.cutoff;
    DP_DeepBaseModelDeviGetNumbTypes -> c_int = |f| f.types;
    DP_DeepBaseModelDeviGetNumbTypesSpin -> c_int = |_f| 0;
    DP_DeepBaseModelDeviGetDimFParam -> c_int = |f| f.fparam;
    DP_DeepBaseModelDeviGetDimAParam -> c_int = |f| f.aparam;
    DP_DeepBaseModelDeviIsAParamNAll -> bool = |_f| false;
    DP_DeepBaseModelDeviHasDefaultFParam -> bool = |f| f.default_fparam;
    DP_DeepPotModelDeviGetCutoff -> f64 = |f| f.cutoff;
    DP_DeepPotModelDeviGetNumbTypes -> c_int = |f| f.types;
    DP_DeepPotModelDeviGetNumbTypesSpin -> c_int = |_f| 0;
    DP_DeepPotModelDeviGetDimFParam -> c_int = |f| f.fparam;
    DP_DeepPotModelDeviGetDimAParam -> c_int = |f| f.aparam;
    DP_DeepPotModelDeviGetDimChgSpin -> c_int = |f| f.charge_spin;
    DP_DeepPotModelDeviIsAParamNAll -> bool = |_f| false;
    DP_DeepPotModelDeviHasDefaultFParam -> bool = |f| f.default_fparam;
    // Device pointers are for GPU backends, which this version does not have: clients that ask are told so and pass host memory.
    DP_DeepPotSupportsDeviceEdgeInference -> bool = |_f| false;
    DP_DeepPotUsesFP32EdgeVectors -> bool = |_f| false;
    DP_DeepPotUsesCanonicalGraphInference -> bool = |_f| false;
}

/// # Safety
/// Null or a handle; arrays as long as the interface says.
unsafe fn run<T: crate::compute::Real>(dp: *mut Handle, call: Call<T>) {
    // SAFETY: the caller's promise.
    if let Some(handle) = unsafe { at(dp) } {
        // SAFETY: the caller's promise.
        handle.run(|facts, state| unsafe { call.run(facts, state) });
    }
}

macro_rules! argument {
    (nframes, $t:ty) => { c_int };
    (natoms, $t:ty) => { c_int };
    (atype, $t:ty) => { *const c_int };
    (nghost, $t:ty) => { c_int };
    (nlist, $t:ty) => { *const Nlist };
    (ago, $t:ty) => { c_int };
    ($other:ident, $t:ty) => { *const $t };
}

macro_rules! fill {
    ($call:ident, nframes, $v:ident) => {
        $call.frames = $v;
    };
    ($call:ident, natoms, $v:ident) => {
        $call.atoms = $v;
    };
    ($call:ident, nghost, $v:ident) => {
        $call.list = Some(($v, null(), 0));
    };
    ($call:ident, nlist, $v:ident) => {
        $call.list = $call.list.map(|l| (l.0, $v, l.2));
    };
    ($call:ident, ago, $v:ident) => {
        $call.list = $call.list.map(|l| (l.0, l.1, $v));
    };
    ($call:ident, $other:ident, $v:ident) => {
        $call.$other = $v;
    };
}

/// An entry point: real type, arguments in the order of the interface, and which optional ones it has.
macro_rules! computes {
    ($($name:ident<$t:ty>($($arg:ident),*) $mixed:literal;)*) => {$(
        /// Energy (eV), forces (eV/A), virial (eV), and terms of atoms where their arrays are not null.
        ///
        /// # Safety
        /// Null or a handle; arrays as long as the interface says.
        #[no_mangle]
        pub unsafe extern "C" fn $name(
            dp: *mut Handle,
            $($arg: argument!($arg, $t),)*
            energy: *mut f64,
            force: *mut $t,
            virial: *mut $t,
            atomic_energy: *mut $t,
            atomic_virial: *mut $t,
        ) {
            let mut call = Call::<$t> {
                frames: 1,
                atoms: 0,
                coord: null(),
                atype: null(),
                mixed: $mixed,
                cell: null(),
                fparam: null(),
                aparam: null(),
                charge_spin: null(),
                list: None,
                energy,
                force,
                virial,
                atomic_energy,
                atomic_virial,
            };
            $(fill!(call, $arg, $arg);)*
            // SAFETY: the caller's promise.
            unsafe { run(dp, call) }
        }
    )*};
}

computes! {
    DP_DeepPotCompute<f64>(natoms, coord, atype, cell) false;
    DP_DeepPotCompute2<f64>(nframes, natoms, coord, atype, cell, fparam, aparam) false;
    DP_DeepPotCompute3<f64>(nframes, natoms, coord, atype, cell, fparam, aparam, charge_spin) false;
    DP_DeepPotComputeNList<f64>(natoms, coord, atype, cell, nghost, nlist, ago) false;
    DP_DeepPotComputeNList2<f64>(nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam) false;
    DP_DeepPotComputeNList3<f64>(nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin) false;
    DP_DeepPotComputef<f32>(natoms, coord, atype, cell) false;
    DP_DeepPotComputef2<f32>(nframes, natoms, coord, atype, cell, fparam, aparam) false;
    DP_DeepPotComputef3<f32>(nframes, natoms, coord, atype, cell, fparam, aparam, charge_spin) false;
    DP_DeepPotComputeNListf<f32>(natoms, coord, atype, cell, nghost, nlist, ago) false;
    DP_DeepPotComputeNListf2<f32>(nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam) false;
    DP_DeepPotComputeNListf3<f32>(nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin) false;
    DP_DeepPotModelDeviCompute<f64>(natoms, coord, atype, cell) false;
    DP_DeepPotModelDeviCompute2<f64>(nframes, natoms, coord, atype, cell, fparam, aparam) false;
    DP_DeepPotModelDeviCompute3<f64>(nframes, natoms, coord, atype, cell, fparam, aparam, charge_spin) false;
    DP_DeepPotModelDeviComputeNList<f64>(natoms, coord, atype, cell, nghost, nlist, ago) false;
    DP_DeepPotModelDeviComputeNList2<f64>(nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam) false;
    DP_DeepPotModelDeviComputeNList3<f64>(nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin) false;
    DP_DeepPotModelDeviComputef<f32>(natoms, coord, atype, cell) false;
    DP_DeepPotModelDeviComputef2<f32>(nframes, natoms, coord, atype, cell, fparam, aparam) false;
    DP_DeepPotModelDeviComputef3<f32>(nframes, natoms, coord, atype, cell, fparam, aparam, charge_spin) false;
    DP_DeepPotModelDeviComputeNListf<f32>(natoms, coord, atype, cell, nghost, nlist, ago) false;
    DP_DeepPotModelDeviComputeNListf2<f32>(nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam) false;
    DP_DeepPotModelDeviComputeNListf3<f32>(nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin) false;
    DP_DeepPotComputeMixedType<f64>(nframes, natoms, coord, atype, cell, fparam, aparam) true;
    DP_DeepPotComputeMixedTypef<f32>(nframes, natoms, coord, atype, cell, fparam, aparam) true;
}
