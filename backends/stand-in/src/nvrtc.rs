//! NVRTC: the one of this machine compiles, and what it had before machine code is kept for whoever loads that.

use crate::image::keep;
use crate::machine::Vendor;
use libloading::{Library, Symbol};
use std::ffi::{c_char, c_int, c_void};
use std::path::PathBuf;
use std::sync::LazyLock;

type Program = *mut c_void;
type Told = unsafe extern "C" fn(Program, *mut c_void) -> c_int;

/// `NVRTC_ERROR_INTERNAL_ERROR`
const INTERNAL: c_int = 11;

static REAL: LazyLock<Option<Library>> = LazyLock::new(|| {
    let path = PathBuf::from(std::env::var_os("STAND_IN_NVRTC")?);
    // SAFETY: a vendor's compiler, whose initialisers have no preconditions; never unloaded.
    let opened = unsafe { Library::new(&path) };
    opened.inspect_err(|error| eprintln!("stand-in: {}: {error}", path.display())).ok()
});

/// # Safety
/// `F` is the type of the function of that name.
unsafe fn real<F>(name: &str) -> Option<Symbol<'static, F>> {
    // SAFETY: the caller's promise.
    unsafe { REAL.as_ref()?.get(name.as_bytes()) }.ok()
}

macro_rules! forwarded {
    ($($name:ident ( $($argument:ident : $type:ty),* );)*) => {
        $(
            #[no_mangle]
            extern "C" fn $name($($argument: $type),*) -> c_int {
                // SAFETY: the vendor's function of this name and type, called as we were.
                unsafe {
                    match real::<unsafe extern "C" fn($($type),*) -> c_int>(stringify!($name)) {
                        Some(function) => function($($argument),*),
                        None => INTERNAL,
                    }
                }
            }
        )*
    };
}

forwarded! {
    nvrtcVersion(major: *mut c_int, minor: *mut c_int);
    nvrtcGetNumSupportedArchs(n: *mut c_int);
    nvrtcGetSupportedArchs(list: *mut c_int);
    nvrtcCreateProgram(
        program: *mut Program, text: *const c_char, name: *const c_char, n: c_int, headers: *const *const c_char, names: *const *const c_char
    );
    nvrtcCompileProgram(program: Program, n: c_int, options: *const *const c_char);
    nvrtcDestroyProgram(program: *mut Program);
    nvrtcGetProgramLogSize(program: Program, n: *mut c_void);
    nvrtcGetProgramLog(program: Program, log: *mut c_void);
    nvrtcGetCUBINSize(program: Program, n: *mut c_void);
}

#[no_mangle]
extern "C" fn nvrtcGetErrorString(code: c_int) -> *const c_char {
    // SAFETY: the vendor's function, for which every code is good.
    unsafe {
        match real::<unsafe extern "C" fn(c_int) -> *const c_char>("nvrtcGetErrorString") {
            Some(function) => function(code),
            None => c"no NVRTC; set STAND_IN_NVRTC".as_ptr(),
        }
    }
}

#[no_mangle]
extern "C" fn nvrtcGetCUBIN(program: Program, image: *mut c_void) -> c_int {
    let made = told(program, ["nvrtcGetCUBINSize", "nvrtcGetCUBIN"]);
    let (Some(made), Some(ptx), Some(log)) = (
        made,
        told(program, ["nvrtcGetPTXSize", "nvrtcGetPTX"]),
        told(program, ["nvrtcGetProgramLogSize", "nvrtcGetProgramLog"]),
    ) else {
        return INTERNAL;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_string();
    if let Err(error) = keep(&made, Vendor::Cuda, &text(&ptx), &text(&log)) {
        eprintln!("stand-in: {error}");
        return INTERNAL;
    }
    // SAFETY: the caller's promise: as much room as the size that it was told.
    unsafe { std::ptr::copy_nonoverlapping(made.as_ptr(), image.cast(), made.len()) };
    0
}

/// What a pair of functions, size and content, tells of a program.
fn told(program: Program, names: [&str; 2]) -> Option<Vec<u8>> {
    // SAFETY: the vendor's functions: the first writes a size, the second as many bytes.
    unsafe {
        let (size, content) = (real::<Told>(names[0])?, real::<Told>(names[1])?);
        let mut n = 0usize;
        if size(program, (&raw mut n).cast()) != 0 {
            return None;
        }
        let mut bytes = vec![0u8; n];
        (content(program, bytes.as_mut_ptr().cast()) == 0).then_some(bytes)
    }
}
