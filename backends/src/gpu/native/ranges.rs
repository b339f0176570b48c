//! Named ranges for profilers: NVTX for CUDA, roctx for HIP. Both have a push and a pop.

use libloading::Library;
use std::ffi::{c_char, c_int};

/// The functions, where a profiler's library is installed.
#[derive(Clone, Copy, Default)]
pub struct Ranges {
    functions: Option<(unsafe extern "C" fn(*const c_char) -> c_int, unsafe extern "C" fn() -> c_int)>,
}

impl Ranges {
    pub fn open(cuda: bool) -> Ranges {
        let (libraries, push, pop): (&[&str], &[u8], &[u8]) = if cuda {
            (&["libnvToolsExt.so.1", "libnvtx3interop.so.1", "libnvToolsExt.so"], b"nvtxRangePushA", b"nvtxRangePop")
        } else {
            (&["librocprofiler-sdk-roctx.so", "libroctx64.so", "libroctx64.so.4"], b"roctxRangePushA", b"roctxRangePop")
        };
        let functions = libraries.iter().find_map(|name| {
            // SAFETY: a profiler's library, whose initialisers have no preconditions; the types are those of its header, and it is
            // never unloaded.
            unsafe {
                let library = std::mem::ManuallyDrop::new(Library::new(name).ok()?);
                Some((*library.get(push).ok()?, *library.get(pop).ok()?))
            }
        });
        Ranges { functions }
    }

    /// Names longer than a line are cut.
    pub fn mark(&self, name: Option<&str>) {
        let Some((push, pop)) = self.functions else { return };
        match name {
            None => {
                // SAFETY: takes nothing; one pop too many is ignored by both libraries.
                unsafe { pop() };
            }
            Some(name) => {
                // On the stack: ranges are marked inside steps, where nothing allocates.
                let mut text = [0u8; 96];
                let bytes = name.as_bytes();
                let length = bytes.len().min(text.len() - 1);
                text[..length].copy_from_slice(&bytes[..length]);
                // SAFETY: null-terminated, and copied by the library during the call.
                unsafe { push(text.as_ptr().cast()) };
            }
        }
    }
}
