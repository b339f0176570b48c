//! A stub of a vendor's library: compiled anew for every test, so that each has its own record and state.
#![allow(dead_code)]

use libloading::Library;
use std::collections::BTreeSet;
use std::ffi::{c_char, c_int, CStr, CString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Mutex;
use weir_backends::gpu::driver::{DriverError, Shared};
use weir_backends::gpu::{cuda, hip};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Vendor {
    Cuda,
    Hip,
}

pub const BOTH: [Vendor; 2] = [Vendor::Cuda, Vendor::Hip];

pub struct Stub {
    pub vendor: Vendor,
    path: PathBuf,
    library: Library,
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Each set of functions is compiled once.
fn compiled(vendor: Vendor, lacking: &[&str]) -> PathBuf {
    static DONE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let name = format!("stub-{}-{vendor:?}-{}.so", std::process::id(), lacking.join("-"));
    let path = folder().join(name);
    let mut done = DONE.lock().unwrap();
    if done.insert(path.clone()) {
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O1", "-w", "-o"]).arg(&path);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stub/stub.c"));
        command.args(lacking.iter().map(|n| format!("-D{n}=taken_away_{n}")));
        if vendor == Vendor::Hip {
            command.arg("-DHIP");
        }
        assert!(command.status().expect("cc, which links Rust programs too").success());
    }
    path
}

impl Stub {
    /// Without the functions `lacking`.
    pub fn new(vendor: Vendor, lacking: &[&str]) -> Stub {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder().join(format!("stub-{}-{number}.so", std::process::id()));
        // A copy is another file to the loader, hence another library.
        std::fs::copy(compiled(vendor, lacking), &path).unwrap();
        // SAFETY: the stub has no initialisers.
        let library = unsafe { Library::new(&path) }.unwrap();
        Stub { vendor, path, library }
    }

    pub fn open(&self, index: u32) -> Result<Shared, DriverError> {
        match self.vendor {
            Vendor::Cuda => cuda::open_at(&self.path, index),
            Vendor::Hip => hip::open_at(&self.path, index),
        }
    }

    /// The vendor's name of a function.
    pub fn name(&self, cuda: &'static str, hip: &'static str) -> &'static str {
        match self.vendor {
            Vendor::Cuda => cuda,
            Vendor::Hip => hip,
        }
    }

    fn symbol<T: Copy>(&self, name: &str) -> T {
        // SAFETY: used below with the types of stub.c.
        unsafe { *self.library.get::<T>(name.as_bytes()).unwrap() }
    }

    /// Calls since the last question, one a line.
    pub fn record(&self) -> String {
        // SAFETY: as in stub.c; the text is copied.
        unsafe {
            let record = self.symbol::<unsafe extern "C" fn() -> *const c_char>("stub_record")();
            let text = CStr::from_ptr(record).to_str().unwrap().to_string();
            self.symbol::<unsafe extern "C" fn()>("stub_clear")();
            text
        }
    }

    /// From now on this function returns this code; 0 heals it.
    pub fn fail(&self, name: &str, code: c_int) {
        let name = CString::new(name).unwrap();
        // SAFETY: as in stub.c.
        unsafe { self.symbol::<unsafe extern "C" fn(*const c_char, c_int)>("stub_fail")(name.as_ptr(), code) }
    }

    pub fn set(&self, what: &str, value: c_int) {
        // SAFETY: stub_devices, stub_version and stub_reset take an integer or nothing.
        unsafe { self.symbol::<unsafe extern "C" fn(c_int)>(&format!("stub_{what}"))(value) }
    }

    pub fn attribute(&self, number: c_int, value: c_int) {
        // SAFETY: as in stub.c.
        unsafe { self.symbol::<unsafe extern "C" fn(c_int, c_int)>("stub_attribute")(number, value) }
    }

    /// Objects and memory that were made and not given back.
    pub fn live(&self) -> c_int {
        // SAFETY: as in stub.c.
        unsafe { self.symbol::<unsafe extern "C" fn() -> c_int>("stub_live")() }
    }

    /// What is current in this thread.
    pub fn current(&self) -> u64 {
        // SAFETY: as in stub.c.
        unsafe { self.symbol::<unsafe extern "C" fn() -> u64>("stub_current")() }
    }

    pub fn set_current(&self, place: u64) {
        // SAFETY: as in stub.c.
        unsafe { self.symbol::<unsafe extern "C" fn(u64)>("stub_set_current")(place) }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}
