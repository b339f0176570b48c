//! Errors, versions, what a model and a plan are.

use crate::handle::{at, creation_error, Handle, API_VERSION};
use std::ffi::{c_char, c_int};
use weir_ffi::catch::quiet;
use weir_ffi::text::fill;

/// See `weir.h`.
#[no_mangle]
pub extern "C" fn weir_api_version() -> c_int {
    API_VERSION
}

/// See `weir.h`.
#[no_mangle]
pub extern "C" fn weir_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// # Safety
/// Null or a handle; room for `size` bytes or null.
unsafe fn tell(p: *const Handle, out: *mut c_char, size: usize, text: impl FnOnce(&Handle) -> String) -> usize {
    quiet(0, || {
        // SAFETY: the caller's promise.
        let text = unsafe { at(p) }.map_or(String::new(), text);
        // SAFETY: the caller's promise.
        unsafe { fill(&text, out, size) }
    })
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle; room for `size` bytes or null.
#[no_mangle]
pub unsafe extern "C" fn weir_last_error(p: *const Handle, out: *mut c_char, size: usize) -> usize {
    quiet(0, || {
        // SAFETY: the caller's promise.
        let text = unsafe { at(p) }.map_or_else(creation_error, |h| h.lock().error.clone());
        // SAFETY: the caller's promise.
        unsafe { fill(&text, out, size) }
    })
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle.
#[no_mangle]
pub unsafe extern "C" fn weir_cutoff(p: *const Handle) -> f64 {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { at(p) }) else { return 0.0 };
    let cutoff = handle.lock().potential.model().descriptor.options.e_rcut;
    cutoff / handle.units.length()
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle; room for `size` bytes or null.
#[no_mangle]
pub unsafe extern "C" fn weir_type_map(p: *const Handle, out: *mut c_char, size: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { tell(p, out, size, |h| h.lock().potential.model().type_map.join(" ")) }
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle; room for `size` bytes or null.
#[no_mangle]
pub unsafe extern "C" fn weir_summary(p: *const Handle, out: *mut c_char, size: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { tell(p, out, size, |h| h.lock().potential.summary()) }
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle; room for `size` bytes or null.
#[no_mangle]
pub unsafe extern "C" fn weir_plan(p: *const Handle, out: *mut c_char, size: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { tell(p, out, size, |h| h.lock().potential.plan().unwrap_or_default()) }
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle; room for `size` bytes or null.
#[no_mangle]
pub unsafe extern "C" fn weir_memory(p: *const Handle, out: *mut c_char, size: usize) -> usize {
    let text = |h: &Handle| {
        let lines = h.lock().potential.peak_bytes().into_iter().map(|(tier, bytes)| format!("{tier} {bytes}\n"));
        lines.collect()
    };
    // SAFETY: the caller's promise.
    unsafe { tell(p, out, size, text) }
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle; room for `size` bytes or null.
#[no_mangle]
pub unsafe extern "C" fn weir_backend(p: *const Handle, out: *mut c_char, size: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { tell(p, out, size, |h| h.lock().potential.backend().0.to_string()) }
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle.
#[no_mangle]
pub unsafe extern "C" fn weir_device(p: *const Handle) -> c_int {
    quiet(-1, || {
        // SAFETY: the caller's promise.
        let device = unsafe { at(p) }.and_then(|h| h.lock().potential.backend().1);
        device.and_then(|d| c_int::try_from(d).ok()).unwrap_or(-1)
    })
}
