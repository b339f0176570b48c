//! Files, texts, selections.

use std::ffi::{c_char, c_int};
use std::io::Write;
use std::path::Path;
use weir_ffi::catch::quiet;
use weir_ffi::options::outlook;
use weir_ffi::text;

/// Says what this library is, a line each behind `c_pre`.
///
/// # Safety
/// A text or null.
#[no_mangle]
pub unsafe extern "C" fn DP_PrintSummary(c_pre: *const c_char) {
    // SAFETY: the caller's promise.
    let pre = unsafe { text::take(c_pre) }.unwrap_or_default();
    let lines = [
        format!("Weir {} in place of DeePMD-kit: C API version 30", env!("CARGO_PKG_VERSION")),
        format!("computes DPA3 models on {}; settings come from WEIR_ variables", quiet(String::new(), outlook)),
    ];
    // A closed standard output must not end a run.
    let mut out = std::io::stdout().lock();
    for line in lines {
        let _ = writeln!(out, "{pre}{line}");
    }
    let _ = out.flush();
}

/// The bytes of a file; their number in `size`. Where it cannot be read: the reason, and minus its length.
///
/// # Safety
/// A text, and a place for the size.
#[no_mangle]
pub unsafe extern "C" fn DP_ReadFileToChar2(c_model: *const c_char, size: *mut c_int) -> *const c_char {
    // SAFETY: the caller's promise.
    let path = unsafe { text::take(c_model) }.unwrap_or_default();
    let read = quiet(Err("internal error".to_string()), || {
        let bytes = std::fs::read(Path::new(path.as_ref())).map_err(|e| format!("{path}: {e}"))?;
        match c_int::try_from(bytes.len()) {
            Ok(n) => Ok((bytes, n)),
            Err(_) => Err(format!("{path}: {} bytes are more than this interface passes on (2 GiB)", bytes.len())),
        }
    });
    let (bytes, number) = read.unwrap_or_else(|e| (e.clone().into_bytes(), -(e.len() as c_int)));
    if !size.is_null() {
        // SAFETY: the caller's promise.
        unsafe { *size = number };
    }
    text::give(&bytes)
}

/// The bytes of a file with a zero byte behind them; an empty text where it cannot be read.
///
/// # Safety
/// A text.
#[no_mangle]
pub unsafe extern "C" fn DP_ReadFileToChar(c_model: *const c_char) -> *const c_char {
    let mut size = 0;
    // SAFETY: the caller's promise.
    let content = unsafe { DP_ReadFileToChar2(c_model, &mut size) };
    if size >= 0 {
        return content;
    }
    // SAFETY: made a line above.
    unsafe { text::free(content.cast_mut()) };
    text::give(b"")
}

/// Frees a text of this library; null is harmless.
///
/// # Safety
/// A text of this library that is not used again.
#[no_mangle]
pub unsafe extern "C" fn DP_DeleteChar(c_str: *const c_char) {
    // SAFETY: the caller's promise.
    unsafe { text::free(c_str.cast_mut()) }
}

/// Numbers the atoms whose type is one of `sel_type` in order: `fwd_map` (natoms; -1 for the others), `bkw_map` (room for natoms), how many
/// there are, and how many of them are among the last `nghost` atoms.
///
/// # Safety
/// Arrays as long as the numbers beside them say.
#[no_mangle]
pub unsafe extern "C" fn DP_SelectByType(
    natoms: c_int,
    atype: *const c_int,
    nghost: c_int,
    nsel_type: c_int,
    sel_type: *const c_int,
    fwd_map: *mut c_int,
    nreal: *mut c_int,
    bkw_map: *mut c_int,
    nghost_real: *mut c_int,
) {
    let (mut real, mut ghosts) = (0, 0);
    for i in 0..natoms.max(0) {
        // SAFETY: i < natoms, k < nsel_type, real <= i.
        unsafe {
            let chosen = (0..nsel_type.max(0)).any(|k| *sel_type.add(k as usize) == *atype.add(i as usize));
            *fwd_map.add(i as usize) = if chosen { real } else { -1 };
            if chosen {
                *bkw_map.add(real as usize) = i;
                ghosts += c_int::from(i >= natoms - nghost);
                real += 1;
            }
        }
    }
    // SAFETY: places for one number each.
    unsafe {
        *nreal = real;
        *nghost_real = ghosts;
    }
}

/// Copies rows of `stride` numbers of `nall1` atoms to where `fwd_map` puts them among `nall2`.
///
/// # Safety
/// Arrays as long as the numbers beside them say.
#[no_mangle]
pub unsafe extern "C" fn DP_SelectMapInt(
    input: *const c_int,
    fwd_map: *const c_int,
    stride: c_int,
    nall1: c_int,
    nall2: c_int,
    out: *mut c_int,
) {
    let width = stride.max(0) as usize;
    for i in 0..nall1.max(0) as usize {
        // SAFETY: i < nall1; the row is only written where it is one of nall2.
        unsafe {
            let to = *fwd_map.add(i);
            if (0..nall2).contains(&to) {
                std::ptr::copy(input.add(i * width), out.add(to as usize * width), width);
            }
        }
    }
}

/// TensorFlow graphs are not read here: says so on standard error, for this function has no other way.
#[no_mangle]
pub extern "C" fn DP_ConvertPbtxtToPb(_c_pbtxt: *const c_char, _c_pb: *const c_char) {
    let _ = writeln!(
        std::io::stderr().lock(),
        "weir: error: TensorFlow graphs are not read or written; nothing was converted"
    );
}
