//! What only NVIDIA has (cuda.h of 12.8).

use crate::machine::Vendor::Cuda;
use crate::machine::{calls, code, fault, Answer, Handle, Out, CURRENT};
use crate::names::one;
use std::ffi::{c_char, c_int, c_uint, CStr};

const VERSION: c_int = 12_080;

/// `CUmemLocation`.
#[repr(C)]
pub struct Location {
    kind: c_int,
    id: c_int,
}

/// Kinds of places: the device, the host, a node of the host.
fn place(location: &Location) -> Answer {
    match (location.kind, location.id) {
        (1, 0) | (2 | 3, 0..) => Ok(()),
        (kind, id) => fault(code::INVALID_DEVICE, format!("no place {kind}:{id}")),
    }
}

calls! {
    Cuda;
    cuDriverGetVersion(version: Out<c_int>) = |_, _| version.put(VERSION);
    cuDevicePrimaryCtxRetain(context: Out<Handle>, device: c_int) = |_, state| {
        state.started()?;
        one(device)?;
        let made = match state.context {
            Some((made, holders)) => (made, holders + 1),
            None => (state.handle(), 1),
        };
        state.context = Some(made);
        context.put(made.0)
    };
    cuDevicePrimaryCtxRelease_v2(device: c_int) = |m, state| {
        one(device)?;
        match state.context {
            None => fault(code::INVALID_CONTEXT, "nobody holds the primary context"),
            Some((made, holders)) => {
                state.context = Some((made, holders - 1)).filter(|c| c.1 > 0);
                if state.context.is_none() {
                    m.leave(state);
                }
                Ok(())
            }
        }
    };
    cuDevicePrimaryCtxGetState(device: c_int, flags: Out<c_uint>, active: Out<c_int>) = |_, state| {
        one(device)?;
        flags.put(0)?;
        active.put(c_int::from(state.context.is_some()))
    };
    cuCtxGetCurrent(context: Out<Handle>) = |_, state| state.started().and_then(|()| context.put(CURRENT.get()));
    cuCtxSetCurrent(context: Handle) = |_, state| {
        state.started()?;
        if context != 0 && state.context.is_none_or(|c| c.0 != context) {
            return fault(code::INVALID_CONTEXT, format!("no context {context:#x}"));
        }
        CURRENT.set(context);
        Ok(())
    };
    // SAFETY: the caller's promise.
    cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: Handle) = |m, state| unsafe { m.copy(state, to, from, bytes, stream) };
    cuMemAdvise_v2(address: u64, bytes: usize, advice: c_int, location: Location) = |m, state| {
        place(&location)?;
        m.advise(state, address, bytes, advice)
    };
    cuMemPrefetchAsync_v2(address: u64, bytes: usize, location: Location, flags: c_uint, stream: Handle) = |m, state| {
        place(&location)?;
        match flags {
            0 => m.prefetch(state, address, bytes, stream),
            _ => fault(code::INVALID, format!("flags {flags}")),
        }
    };
    cuFuncSetAttribute(function: Handle, number: c_int, value: c_int) = |m, state| m.set_function(state, function, number, value);
    cuGraphUpload(ready: Handle, stream: Handle) = |m, state| m.upload(state, ready, stream);
    cuGetErrorName(code: c_int, text: Out<*const c_char>) = |_, _| text.put(name(code).as_ptr());
    cuGetErrorString(_code: c_int, text: Out<*const c_char>) = |_, _| text.put(c"said by the stand-in above".as_ptr());
}

fn name(number: c_int) -> &'static CStr {
    match number {
        code::INVALID => c"CUDA_ERROR_INVALID_VALUE",
        code::OUT_OF_MEMORY => c"CUDA_ERROR_OUT_OF_MEMORY",
        code::NOT_FOUND => c"CUDA_ERROR_NOT_FOUND",
        code::INVALID_IMAGE => c"CUDA_ERROR_INVALID_IMAGE",
        code::LAUNCH_FAILED => c"CUDA_ERROR_LAUNCH_FAILED",
        _ => c"CUDA_ERROR",
    }
}
