//! The functions that both vendors have, under two sets of names (cuda.h, hip_runtime_api.h).

use crate::machine::{code, fault, put_text, Answer, Handle, Out};
use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use weir_backends::gpu::driver::{HostWork, Memory};

/// Functions of C with both vendors' names.
macro_rules! both {
    ($($cuda:ident $hip:ident ( $($argument:ident : $type:ty),* ) = |$machine:pat_param, $state:pat_param| $body:expr;)*) => {
        $(
            crate::machine::calls! { crate::machine::Vendor::Cuda; $cuda($($argument: $type),*) = |$machine, $state| $body; }
            crate::machine::calls! { crate::machine::Vendor::Amd; $hip($($argument: $type),*) = |$machine, $state| $body; }
        )*
    };
}

/// The one device.
pub fn one(device: c_int) -> Answer {
    match device {
        0 => Ok(()),
        _ => fault(code::INVALID_DEVICE, format!("device {device} of one")),
    }
}

/// A device, or -1 for the host.
fn older_place(device: c_int) -> Answer {
    if device == -1 {
        Ok(())
    } else {
        one(device)
    }
}

both! {
    cuInit hipInit (flags: c_uint) = |_, state| {
        if flags != 0 {
            return fault(code::INVALID, format!("flags {flags}"));
        }
        state.initialised = true;
        Ok(())
    };
    cuDeviceGetCount hipGetDeviceCount (count: Out<c_int>) = |_, state| state.started().and_then(|()| count.put(1));
    cuDeviceGet hipDeviceGet (device: Out<c_int>, number: c_int) = |_, state| {
        state.started()?;
        one(number)?;
        device.put(number)
    };
    cuDeviceGetName hipDeviceGetName (text: *mut c_char, room: c_int, device: c_int) = |m, state| {
        state.started()?;
        one(device)?;
        put_text(text, room, m.vendor.kind().name)
    };
    cuDeviceTotalMem_v2 hipDeviceTotalMem (bytes: Out<usize>, device: c_int) = |m, state| {
        state.started()?;
        one(device)?;
        bytes.put(m.vendor.kind().memory as usize)
    };
    cuDeviceGetPCIBusId hipDeviceGetPCIBusId (text: *mut c_char, room: c_int, device: c_int) = |_, state| {
        state.started()?;
        one(device)?;
        put_text(text, room, "ffff:ff:1f.7")
    };
    cuDeviceGetAttribute hipDeviceGetAttribute (value: Out<c_int>, number: c_int, device: c_int) = |m, state| {
        state.started()?;
        one(device)?;
        match m.vendor.kind().attributes.iter().find(|a| a.0 == number) {
            Some(found) => value.put(found.1),
            None => fault(code::INVALID, format!("attribute {number}")),
        }
    };
    cuMemGetInfo_v2 hipMemGetInfo (free: Out<usize>, all: Out<usize>) = |m, state| {
        let (f, a) = m.free_and_all(state)?;
        free.put(f)?;
        all.put(a)
    };
    cuMemAlloc_v2 hipMalloc (address: Out<u64>, bytes: usize) = |m, state| address.put(m.take(state, Memory::Device, bytes, 0, 0)?);
    cuMemHostAlloc hipHostMalloc (address: Out<u64>, bytes: usize, flags: c_uint) = |m, state| {
        address.put(m.take(state, Memory::Pinned, bytes, flags, 7)?)
    };
    cuMemAllocManaged hipMallocManaged (address: Out<u64>, bytes: usize, flags: c_uint) = |m, state| {
        if flags == 0 {
            return fault(code::INVALID, "flags 0");
        }
        address.put(m.take(state, Memory::Managed, bytes, flags, 1)?)
    };
    cuMemFree_v2 hipFree (address: u64) = |m, state| m.give(state, address, false);
    cuMemFreeHost hipHostFree (address: u64) = |m, state| m.give(state, address, true);
    cuMemAdvise hipMemAdvise (address: u64, bytes: usize, advice: c_int, device: c_int) = |m, state| {
        older_place(device)?;
        m.advise(state, address, bytes, advice)
    };
    cuMemPrefetchAsync hipMemPrefetchAsync (address: u64, bytes: usize, device: c_int, stream: Handle) = |m, state| {
        older_place(device)?;
        m.prefetch(state, address, bytes, stream)
    };
    cuMemsetD8Async hipMemsetD8Async (to: u64, byte: u8, bytes: usize, stream: Handle) = |m, state| m.fill(state, to, byte, bytes, stream);
    cuLaunchHostFunc hipLaunchHostFunc (stream: Handle, function: Option<unsafe extern "C" fn(*mut c_void)>, data: u64) = |m, state| {
        let Some(function) = function else { return fault(code::INVALID, "no function") };
        // SAFETY: the caller's promise.
        unsafe { m.host(state, stream, HostWork { function, data }) }
    };
    cuStreamCreate hipStreamCreateWithFlags (stream: Out<Handle>, flags: c_uint) = |m, state| stream.put(m.make_stream(state, flags, 0)?);
    cuStreamCreateWithPriority hipStreamCreateWithPriority (stream: Out<Handle>, flags: c_uint, priority: c_int) = |m, state| {
        stream.put(m.make_stream(state, flags, priority)?)
    };
    cuStreamDestroy_v2 hipStreamDestroy (stream: Handle) = |m, state| m.drop_stream(state, stream);
    cuStreamSynchronize hipStreamSynchronize (stream: Handle) = |m, state| m.synchronise(state, stream);
    cuStreamWaitEvent hipStreamWaitEvent (stream: Handle, event: Handle, flags: c_uint) = |m, state| {
        if flags == 0 { m.wait(state, stream, event) } else { fault(code::INVALID, format!("flags {flags}")) }
    };
    cuEventCreate hipEventCreateWithFlags (event: Out<Handle>, flags: c_uint) = |m, state| event.put(m.make_event(state, flags)?);
    cuEventDestroy_v2 hipEventDestroy (event: Handle) = |m, state| m.drop_event(state, event);
    cuEventRecord hipEventRecord (event: Handle, stream: Handle) = |m, state| m.record(state, event, stream);
    cuEventElapsedTime hipEventElapsedTime (milliseconds: Out<f32>, from: Handle, to: Handle) = |m, state| milliseconds.put(m.elapsed(state, from, to)?);
    // SAFETY: the caller's promise.
    cuModuleLoadData hipModuleLoadData (module: Out<Handle>, image: *const u8) = |m, state| module.put(unsafe { m.load(state, image) }?);
    cuModuleUnload hipModuleUnload (module: Handle) = |m, state| m.unload(state, module);
    cuModuleGetFunction hipModuleGetFunction (function: Out<Handle>, module: Handle, name: *const c_char) = |m, state| {
        if name.is_null() {
            return fault(code::INVALID, "no name");
        }
        // SAFETY: the caller's promise: a C text.
        function.put(m.function(state, module, unsafe { CStr::from_ptr(name) })?)
    };
    cuFuncGetAttribute hipFuncGetAttribute (value: Out<c_int>, number: c_int, function: Handle) = |m, state| {
        value.put(m.function_attribute(state, number, function)?)
    };
    cuLaunchKernel hipModuleLaunchKernel (
        function: Handle, gx: c_uint, gy: c_uint, gz: c_uint, bx: c_uint, by: c_uint, bz: c_uint, shared: c_uint, stream: Handle,
        arguments: *const *const c_void, extra: *const c_void
    ) = |m, state| {
        if !extra.is_null() {
            return fault(code::INVALID, "arguments in two ways");
        }
        // SAFETY: the caller's promise.
        unsafe { m.launch(state, function, [gx, gy, gz], [bx, by, bz], shared, stream, arguments) }
    };
    cuStreamBeginCapture_v2 hipStreamBeginCapture (stream: Handle, mode: c_int) = |m, state| m.begin(state, stream, mode);
    cuStreamEndCapture hipStreamEndCapture (stream: Handle, graph: Out<Handle>) = |m, state| graph.put(m.end(state, stream)?);
    cuGraphInstantiateWithFlags hipGraphInstantiateWithFlags (ready: Out<Handle>, graph: Handle, flags: u64) = |m, state| ready.put(m.make_ready(state, graph, flags)?);
    cuGraphLaunch hipGraphLaunch (ready: Handle, stream: Handle) = |m, state| m.run(state, ready, stream);
    cuGraphDestroy hipGraphDestroy (graph: Handle) = |m, state| m.drop_graph(state, graph);
    cuGraphExecDestroy hipGraphExecDestroy (ready: Handle) = |m, state| m.drop_ready(state, ready);
}
