//! A real PLUMED kernel behind ours: it gets every command, and its forces come on top.

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::mem::ManuallyDrop;
use std::path::Path;
use weir_ffi::Error;

use super::entry::{Handler, SymbolTable};

type Create = unsafe extern "C" fn() -> *mut c_void;
type Cmd = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_void);
type Finalize = unsafe extern "C" fn(*mut c_void);
type CmdNothrow = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_void, Handler);

/// As PLUMED's own loader: the kernel's symbols come before those of the program.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const DEEPBIND: c_int = 8;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const DEEPBIND: c_int = 0;

/// A kernel's object.
pub(super) struct Forward {
    object: *mut c_void,
    cmd: Cmd,
    nothrow: Option<CmdNothrow>,
    finalize: Finalize,
    /// C++ libraries with threads and statics do not like to be unloaded.
    _library: ManuallyDrop<Library>,
}

impl Forward {
    /// Opens a kernel and makes an object of it.
    ///
    /// # Errors
    /// What the loader says; a library that is no kernel, or this one.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display();
        let told = |text: String| Error::Argument(format!("plumed_kernel {name}: {text}"));
        // SAFETY: the user names a library whose initialisers may run.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL | DEEPBIND) };
        let library = ManuallyDrop::new(library.map_err(|e| told(e.to_string()))?);
        // SAFETY: a data symbol of PLUMED's interface, whose first member says which others there are.
        let table = unsafe { library.get::<*const SymbolTable>(b"plumed_symbol_table\0") }.ok().map(|s| *s);
        // SAFETY: where the symbol is, it points to a table.
        let table = table.and_then(|t| unsafe { t.as_ref() });
        if table.is_some_and(|t| std::ptr::eq(t, &super::entry::plumed_symbol_table)) {
            return Err(told("this is Weir's own library; name PLUMED's libplumedKernel.so".into()));
        }
        let (create, cmd, finalize): (Create, Cmd, Finalize) = match table {
            Some(t) => (t.create, t.cmd, t.finalize),
            // SAFETY: functions of PLUMED's interface, with these arguments since PLUMED 2.5.
            None => unsafe {
                let missing = |_| {
                    told("no PLUMED kernel: it has neither plumed_symbol_table nor plumed_plumedmain_create".into())
                };
                (
                    *library.get::<Create>(b"plumed_plumedmain_create\0").map_err(missing)?,
                    *library.get::<Cmd>(b"plumed_plumedmain_cmd\0").map_err(missing)?,
                    *library.get::<Finalize>(b"plumed_plumedmain_finalize\0").map_err(missing)?,
                )
            },
        };
        let nothrow = table.filter(|t| t.version >= 2).map(|t| t.cmd_nothrow);
        // SAFETY: takes nothing.
        let object = unsafe { create() };
        Ok(Self { object, cmd, nothrow, finalize, _library: library })
    }

    /// Hands a command on.
    ///
    /// # Errors
    /// The kernel's own.
    ///
    /// # Safety
    /// `value` is what the kernel expects of this command.
    pub unsafe fn command(&self, key: &CStr, value: *const c_void) -> Result<(), Error> {
        unsafe extern "C" fn keep(ptr: *mut c_void, code: c_int, text: *const c_char, _: *const c_void) {
            // SAFETY: ptr is the slot below, which outlives the call; texts end with a zero byte.
            unsafe {
                let text = weir_ffi::text::take(text).unwrap_or_default().trim().to_string();
                *ptr.cast::<Option<(c_int, String)>>() = Some((code, text));
            }
        }
        let Some(nothrow) = self.nothrow else {
            // SAFETY: the caller's promise.
            unsafe { (self.cmd)(self.object, key.as_ptr(), value) };
            return Ok(());
        };
        let mut said: Option<(c_int, String)> = None;
        let handler = Handler { ptr: (&raw mut said).cast(), handler: Some(keep) };
        // SAFETY: the caller's promise; the handler writes to a slot that outlives the call.
        unsafe { nothrow(self.object, key.as_ptr(), value, handler) };
        match said {
            None => Ok(()),
            Some((_, text)) => Err(Error::Argument(format!("PLUMED, {}: {text}", key.to_string_lossy()))),
        }
    }

    /// Hands a file's name on.
    ///
    /// # Errors
    /// As [`Forward::command`].
    pub fn file(&self, key: &CStr, path: &Path) -> Result<(), Error> {
        let text = CString::new(path.as_os_str().as_encoded_bytes());
        let text = text.map_err(|_| Error::Argument("plumed_file has a zero byte in its name".into()))?;
        // SAFETY: commands with a file's name take a text.
        unsafe { self.command(key, text.as_ptr().cast()) }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // SAFETY: made by this kernel, and not used again.
        unsafe { (self.finalize)(self.object) }
    }
}
