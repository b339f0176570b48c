//! What the loader of an MD code looks for: a table of functions, or three plain functions.
//!
//! Through the table's `cmd_nothrow` errors reach the MD code as its own. The plain `cmd` has no way for errors (and ours cannot throw C++
//! exceptions): it prints the sentence and ends the process with exit code 1. GROMACS takes the table.

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::io::Write;
use weir_ffi::catch::{caught, quiet};
use weir_ffi::Error;

use super::kernel::Kernel;

/// Errors that a user can mend are of this number in PLUMED's list.
const CODE: c_int = 20200;

/// Where errors of `cmd_nothrow` go: called with `ptr`, a number, a text and null.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Handler {
    /// The caller's.
    pub ptr: *mut c_void,
    /// Copies the text.
    pub handler: Option<unsafe extern "C" fn(*mut c_void, c_int, *const c_char, *const c_void)>,
}

/// The table, version 2. Later versions have more members at its end.
#[repr(C)]
pub struct SymbolTable {
    /// Version of the table.
    pub version: c_int,
    /// [`plumed_plumedmain_create`].
    pub create: unsafe extern "C" fn() -> *mut c_void,
    /// [`plumed_plumedmain_cmd`].
    pub cmd: unsafe extern "C" fn(*mut c_void, *const c_char, *const c_void),
    /// [`plumed_plumedmain_finalize`].
    pub finalize: unsafe extern "C" fn(*mut c_void),
    /// As `cmd`, with a handler for errors.
    pub cmd_nothrow: unsafe extern "C" fn(*mut c_void, *const c_char, *const c_void, Handler),
}

/// The table of this library.
#[allow(non_upper_case_globals)]
#[no_mangle]
pub static plumed_symbol_table: SymbolTable = SymbolTable {
    version: 2,
    create: plumed_plumedmain_create,
    cmd: plumed_plumedmain_cmd,
    finalize: plumed_plumedmain_finalize,
    cmd_nothrow,
};

/// A new object; null where memory is short.
#[no_mangle]
pub extern "C" fn plumed_plumedmain_create() -> *mut c_void {
    quiet(std::ptr::null_mut(), || Box::into_raw(Box::new(Kernel::new())).cast())
}

/// A command. An error is printed and ends the process.
///
/// # Safety
/// As [`Kernel::command`]; `object` is null or of [`plumed_plumedmain_create`].
#[no_mangle]
pub unsafe extern "C" fn plumed_plumedmain_cmd(object: *mut c_void, key: *const c_char, value: *const c_void) {
    // SAFETY: the caller's promise.
    if let Err(e) = unsafe { command(object, key, value) } {
        let _ = writeln!(std::io::stderr().lock(), "weir: error: {e}");
        std::process::exit(1);
    }
}

/// Deletes an object; null is harmless.
///
/// # Safety
/// `object` is null or of [`plumed_plumedmain_create`], and not used again.
#[no_mangle]
pub unsafe extern "C" fn plumed_plumedmain_finalize(object: *mut c_void) {
    if !object.is_null() {
        // SAFETY: made by Box::into_raw, given up by the caller.
        let kernel = unsafe { Box::from_raw(object.cast::<Kernel>()) };
        quiet((), move || drop(kernel));
    }
}

/// A command whose error goes to `handler`.
///
/// # Safety
/// As [`plumed_plumedmain_cmd`].
unsafe extern "C" fn cmd_nothrow(object: *mut c_void, key: *const c_char, value: *const c_void, handler: Handler) {
    // SAFETY: the caller's promise.
    let Err(e) = (unsafe { command(object, key, value) }) else { return };
    let text = CString::new(format!("Weir: {e}").replace('\0', " ")).unwrap_or_default();
    match handler.handler {
        // SAFETY: the handler's contract: it copies the text.
        Some(tell) => unsafe { tell(handler.ptr, CODE, text.as_ptr(), std::ptr::null()) },
        None => {
            let _ = writeln!(std::io::stderr().lock(), "weir: error: {e}");
            std::process::exit(1);
        }
    }
}

/// # Safety
/// As [`plumed_plumedmain_cmd`].
unsafe fn command(object: *mut c_void, key: *const c_char, value: *const c_void) -> Result<(), Error> {
    // SAFETY: the caller's promise; PLUMED's interface is not for several threads at once.
    let Some(kernel) = (unsafe { object.cast::<Kernel>().as_mut() }) else {
        return Err(Error::Argument("the PLUMED object is null".into()));
    };
    if key.is_null() {
        return Err(Error::Argument("the command is null".into()));
    }
    let done = caught(|| {
        // SAFETY: a text, as the caller promises.
        unsafe { kernel.command(CStr::from_ptr(key), value) }
    });
    if matches!(done, Err(Error::Internal(_))) {
        kernel.forget();
    }
    done
}
