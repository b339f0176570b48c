//! What only AMD has (hip_runtime_api.h of ROCm 6.3).

use crate::machine::Vendor::Amd;
use crate::machine::{calls, code, fault, Handle, Out};
use crate::names::one;
use std::ffi::{c_char, c_int, c_void};

const VERSION: c_int = 60_342_134;

/// Bytes of `hipDeviceProp_t`, whose first 256 are the name.
const PROPERTIES: usize = 1472;
/// Where this one tells the architecture; callers have to look for it, for versions differ.
const ARCHITECTURE: usize = 1160;

calls! {
    Amd;
    hipRuntimeGetVersion(version: Out<c_int>) = |_, _| version.put(VERSION);
    hipGetDevice(device: Out<c_int>) = |_, _| device.put(0);
    hipSetDevice(device: c_int) = |_, _| one(device);
    hipGetDevicePropertiesR0600(properties: *mut c_void, device: c_int) = |m, _| {
        one(device)?;
        let kind = m.vendor.kind();
        let mut all = [0u8; PROPERTIES];
        let architecture = format!("{}:sramecc+:xnack-", kind.chip);
        for (at, text) in [(0, kind.name), (ARCHITECTURE, &architecture)] {
            all[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        Out::from(properties).put(all)
    };
    hipMemcpyAsync(to: u64, from: u64, bytes: usize, kind: c_int, stream: Handle) = |m, state| match kind {
        // Host to host, and so on; 4: whatever the addresses say.
        // SAFETY: the caller's promise.
        0..=4 => unsafe { m.copy(state, to, from, bytes, stream) },
        _ => fault(code::INVALID, format!("kind {kind} of copy")),
    };
}

#[no_mangle]
extern "C" fn hipGetErrorName(number: c_int) -> *const c_char {
    let name = match number {
        code::INVALID => c"hipErrorInvalidValue",
        code::OUT_OF_MEMORY => c"hipErrorOutOfMemory",
        code::NOT_FOUND => c"hipErrorNotFound",
        code::LAUNCH_FAILED => c"hipErrorLaunchFailure",
        _ => c"hipError",
    };
    name.as_ptr()
}

#[no_mangle]
extern "C" fn hipGetErrorString(_number: c_int) -> *const c_char {
    c"said by the stand-in above".as_ptr()
}
