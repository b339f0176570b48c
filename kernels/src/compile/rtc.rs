//! Compilers that are libraries. NVRTC and hiprtc have the same interface under two sets of names, so there is one binding.

use super::error::CompileError;
use libloading::Library;
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::path::{Path, PathBuf};

type Program = *mut c_void;

/// `NVRTC_ERROR_BUILTIN_OPERATION_FAILURE`
const BUILTINS: c_int = 7;

/// Names of one vendor's functions.
pub(super) struct Names {
    /// In front of every name.
    pub prefix: &'static str,
    /// Size and bytes of the image.
    pub image: [&'static str; 2],
}

pub(super) const NVRTC: Names = Names { prefix: "nvrtc", image: ["GetCUBINSize", "GetCUBIN"] };
#[cfg(feature = "emulated")]
const PTX: Names = Names { prefix: "nvrtc", image: ["GetPTXSize", "GetPTX"] };
pub(super) const HIPRTC: Names = Names { prefix: "hiprtc", image: ["GetCodeSize", "GetCode"] };

/// An opened library. It stays loaded for the life of the process: compilers keep threads and static state that unloading breaks.
#[derive(Clone)]
pub(super) struct Rtc {
    pub version: (u32, u32),
    /// The file that was opened, as far as the loader tells.
    pub path: PathBuf,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    log: [unsafe extern "C" fn(Program, *mut c_void) -> c_int; 2],
    image: [unsafe extern "C" fn(Program, *mut c_void) -> c_int; 2],
    word: unsafe extern "C" fn(c_int) -> *const c_char,
    archs: Option<[unsafe extern "C" fn(*mut c_int) -> c_int; 2]>,
    prefix: &'static str,
    image_names: [&'static str; 2],
}

/// Destroys a program however its function ends.
struct Owned<'a>(&'a Rtc, Program);

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `create` of the same library and destroyed once.
        unsafe { (self.0.destroy)(&mut self.1) };
    }
}

impl Rtc {
    /// Opens a library; the error says why it is of no use.
    pub(super) fn open(path: &Path, names: &Names) -> Result<Rtc, String> {
        // SAFETY: loading a vendor's compiler runs its initialisers, which have no preconditions.
        let library = unsafe { Library::new(path) }.map_err(|e| e.to_string())?;
        macro_rules! symbol {
            ($name:expr) => {{
                let name = format!("{}{}", names.prefix, $name);
                // SAFETY: the type is that of the vendor's header, the same since the library's first version.
                unsafe { library.get(name.as_bytes()).map(|s| *s) }.map_err(|_| format!("it lacks {name}"))
            }};
        }
        let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int = symbol!("Version")?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: two valid integers.
        let code = unsafe { version(&mut major, &mut minor) };
        if code != 0 {
            return Err(format!("{}Version returns {code}", names.prefix));
        }
        let archs = [symbol!("GetNumSupportedArchs"), symbol!("GetSupportedArchs")];
        let rtc = Rtc {
            version: (u32::try_from(major).unwrap_or(0), u32::try_from(minor).unwrap_or(0)),
            path: origin(version as *const c_void).unwrap_or_else(|| path.to_path_buf()),
            create: symbol!("CreateProgram")?,
            compile: symbol!("CompileProgram")?,
            destroy: symbol!("DestroyProgram")?,
            log: [symbol!("GetProgramLogSize")?, symbol!("GetProgramLog")?],
            image: [symbol!(names.image[0])?, symbol!(names.image[1])?],
            word: symbol!("GetErrorString")?,
            archs: match archs {
                [Ok(count), Ok(list)] => Some([count, list]),
                _ => None,
            },
            prefix: names.prefix,
            image_names: names.image,
        };
        std::mem::forget(library);
        rtc.bring_builtins();
        Ok(rtc)
    }

    /// Opens the other part of NVRTC, which NVRTC itself asks for by bare name at its first compilation: a library that does not say where its parts
    /// lie (wheels of CUDA 13.0) finds it only so. What is not there is told by that compilation.
    fn bring_builtins(&self) {
        if self.prefix != NVRTC.prefix {
            return;
        }
        let real = self.path.canonicalize().ok();
        for folder in [Some(&self.path), real.as_ref()].into_iter().flatten().filter_map(|p| p.parent()) {
            // SAFETY: as for the library that it is a part of. Never closed.
            if let Ok(part) = unsafe { Library::new(folder.join(self.builtins())) } {
                std::mem::forget(part);
                return;
            }
        }
    }

    fn builtins(&self) -> String {
        format!("libnvrtc-builtins.so.{}.{}", self.version.0, self.version.1)
    }

    /// The same NVRTC, which tells PTX instead of machine code.
    #[cfg(feature = "emulated")]
    pub(super) fn telling_ptx(&self) -> Result<Rtc, CompileError> {
        Rtc::open(&self.path, &PTX).map_err(|cause| CompileError::Library {
            path: self.path.clone(),
            call: "loading for PTX".into(),
            cause,
        })
    }

    /// Numbers of the architectures that it knows (90 for `sm_90a`), where it can tell.
    pub(super) fn archs(&self) -> Option<Vec<u32>> {
        let [count, list] = self.archs?;
        let mut n = 0;
        // SAFETY: one valid integer, then as many as the library said.
        let numbers = unsafe {
            if count(&mut n) != 0 {
                return None;
            }
            let mut numbers = vec![0; usize::try_from(n).ok()?];
            if list(numbers.as_mut_ptr()) != 0 {
                return None;
            }
            numbers
        };
        Some(numbers.into_iter().filter_map(|a| u32::try_from(a).ok()).collect())
    }

    /// The image and the log.
    pub(super) fn compile(
        &self,
        name: &str,
        text: &str,
        options: &[String],
        refused: impl FnOnce(String) -> CompileError,
    ) -> Result<(Vec<u8>, String), CompileError> {
        let c = |what: &str, text: &str| CString::new(text).map_err(|_| CompileError::Null(what.into()));
        let (text, file) = (c(name, text)?, c("the source's name", name)?);
        let options = options.iter().map(|o| c("an option", o)).collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<_> = options.iter().map(|o| o.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: null-terminated texts that outlive the call; no headers.
        let code =
            unsafe { (self.create)(&mut program, text.as_ptr(), file.as_ptr(), 0, std::ptr::null(), std::ptr::null()) };
        self.check(code, "CreateProgram")?;
        let program = Owned(self, program);
        let count = c_int::try_from(pointers.len()).map_err(|_| CompileError::Null("the list of options".into()))?;
        // SAFETY: a program of this library; null-terminated options that outlive the call.
        let code = unsafe { (self.compile)(program.1, count, pointers.as_ptr()) };
        let log = self.bytes(&program, &self.log, ["GetProgramLogSize", "GetProgramLog"])?;
        let log = String::from_utf8_lossy(log.split(|b| *b == 0).next().unwrap_or(&[])).into_owned();
        if code != 0 {
            let log = if log.trim().is_empty() { self.word(code) } else { log };
            if self.prefix == NVRTC.prefix && (code == BUILTINS || log.contains("libnvrtc-builtins")) {
                let part = self.builtins();
                let remedy =
                    format!("name the folder of {part} in LD_LIBRARY_PATH, or install NVRTC with all its parts");
                let first = log.lines().next().unwrap_or_default().trim_end_matches('.');
                return Err(self.failed("CompileProgram", format!("{first}; {remedy}")));
            }
            return Err(refused(log));
        }
        Ok((self.bytes(&program, &self.image, self.image_names)?, log))
    }

    /// What a pair of functions, size and content, tells of a program.
    fn bytes(
        &self,
        program: &Owned,
        [size, content]: &[unsafe extern "C" fn(Program, *mut c_void) -> c_int; 2],
        names: [&str; 2],
    ) -> Result<Vec<u8>, CompileError> {
        let mut n = 0usize;
        // SAFETY: the first function writes a size_t.
        self.check(unsafe { size(program.1, (&raw mut n).cast()) }, names[0])?;
        let mut bytes = vec![0u8; n];
        if n > 0 {
            // SAFETY: the second function writes as many bytes as the first said.
            self.check(unsafe { content(program.1, bytes.as_mut_ptr().cast()) }, names[1])?;
        }
        Ok(bytes)
    }

    fn check(&self, code: c_int, call: &str) -> Result<(), CompileError> {
        match code {
            0 => Ok(()),
            _ => Err(self.failed(call, self.word(code))),
        }
    }

    fn failed(&self, call: &str, cause: String) -> CompileError {
        CompileError::Library { path: self.path.clone(), call: format!("{}{call}", self.prefix), cause }
    }

    fn word(&self, code: c_int) -> String {
        // SAFETY: the library returns a static text for every code.
        let text = unsafe { (self.word)(code) };
        if text.is_null() {
            return format!("error {code}");
        }
        // SAFETY: not null, and null-terminated.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    /// `nvrtc 12.8`
    pub(super) fn version(&self) -> String {
        format!("{} {}.{}", self.prefix, self.version.0, self.version.1)
    }

    /// Version and build: the file's own name carries more digits than the interface, its length tells rebuilt ones apart.
    pub(super) fn identity(&self) -> String {
        let real = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let file = real.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let length = std::fs::metadata(&real).map_or(0, |m| m.len());
        format!("{} {file} {length}", self.version())
    }
}

/// The file that holds a function.
fn origin(function: *const c_void) -> Option<PathBuf> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr fills the structure when it returns nonzero; its text belongs to the loader and lives as long as the library.
    let name = unsafe {
        if libc::dladdr(function, info.as_mut_ptr()) == 0 {
            return None;
        }
        let name = info.assume_init().dli_fname;
        if name.is_null() {
            return None;
        }
        CStr::from_ptr(name)
    };
    Some(PathBuf::from(name.to_string_lossy().into_owned()))
}
