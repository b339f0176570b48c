//! The C functions that both vendors have, under two sets of names. NVIDIA's driver interface and AMD's runtime agree in the types of
//! nearly every call, so there is one table; what only one has is empty for the other.
//!
//! Every function is optional: one that a library lacks is an error when it is called. Codes are plain integers, because newer drivers
//! return codes that no list of today holds. Handles are integers as wide as a pointer: nobody here looks behind them.

use crate::gpu::driver::DriverError;
use libloading::Library;
use std::ffi::{c_char, c_int, c_uint, c_void};

const _: () = assert!(size_of::<usize>() == 8, "handles and addresses are 64 bits wide");

pub type Handle = usize;

/// Where managed memory may lie; the same 8 bytes for both vendors.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    pub kind: c_int,
    pub id: c_int,
}

impl Location {
    pub const DEVICE: c_int = 1;
    pub const HOST: c_int = 2;
    pub const HOST_NODE: c_int = 3;
}

/// A function, or its absence.
#[derive(Clone, Copy)]
pub struct Call<F> {
    pub name: &'static str,
    pub function: Option<F>,
}

impl<F: Copy> Call<F> {
    /// # Safety
    /// `F` is the type of the function `name` of the library, which stays loaded.
    unsafe fn find(library: &Library, name: &'static str) -> Call<F> {
        // An empty name is one that the vendor does not have.
        let function = match name {
            "" => None,
            // SAFETY: the caller's promise.
            name => unsafe { library.get::<F>(name.as_bytes()) }.ok().map(|symbol| *symbol),
        };
        Call { name, function }
    }

    pub fn get(&self, library: &str, instead: &'static str) -> Result<F, DriverError> {
        self.function.ok_or_else(|| DriverError::Unsupported { driver: library.into(), call: self.name, instead })
    }
}

macro_rules! calls {
    ($($field:ident $cuda:literal $hip:literal ($($argument:ty),*);)*) => {
        /// The table.
        pub struct Calls {
            $(pub $field: Call<unsafe extern "C" fn($($argument),*) -> c_int>,)*
            /// `hipGetErrorName` and `hipGetErrorString`: they return text instead of a code.
            pub words: [Call<unsafe extern "C" fn(c_int) -> *const c_char>; 2],
        }

        impl Calls {
            /// # Safety
            /// The library is the vendor's, and stays loaded.
            pub unsafe fn load(library: &Library, cuda: bool) -> Calls {
                let name = |c: &'static str, h: &'static str| if cuda { c } else { h };
                // SAFETY: the types are those of the vendors' headers; the rest is the caller's promise.
                unsafe {
                    Calls {
                        $($field: Call::find(library, name($cuda, $hip)),)*
                        words: [name("", "hipGetErrorName"), name("", "hipGetErrorString")].map(|n| Call::find(library, n)),
                    }
                }
            }
        }
    };
}

calls! {
    init "cuInit" "hipInit" (c_uint);
    version "cuDriverGetVersion" "hipRuntimeGetVersion" (*mut c_int);
    count "cuDeviceGetCount" "hipGetDeviceCount" (*mut c_int);
    device "cuDeviceGet" "hipDeviceGet" (*mut c_int, c_int);
    device_name "cuDeviceGetName" "hipDeviceGetName" (*mut c_char, c_int, c_int);
    device_memory "cuDeviceTotalMem_v2" "hipDeviceTotalMem" (*mut usize, c_int);
    device_bus "cuDeviceGetPCIBusId" "hipDeviceGetPCIBusId" (*mut c_char, c_int, c_int);
    attribute "cuDeviceGetAttribute" "hipDeviceGetAttribute" (*mut c_int, c_int, c_int);
    // Since ROCm 6; a structure that grows, of which only one text is read.
    properties "" "hipGetDevicePropertiesR0600" (*mut c_void, c_int);
    properties_old "" "hipGetDeviceProperties" (*mut c_void, c_int);
    context_retain "cuDevicePrimaryCtxRetain" "" (*mut Handle, c_int);
    context_release "cuDevicePrimaryCtxRelease_v2" "" (c_int);
    context_state "cuDevicePrimaryCtxGetState" "" (c_int, *mut c_uint, *mut c_int);
    context_get "cuCtxGetCurrent" "" (*mut Handle);
    context_set "cuCtxSetCurrent" "" (Handle);
    device_get "" "hipGetDevice" (*mut c_int);
    device_set "" "hipSetDevice" (c_int);
    error_name "cuGetErrorName" "" (c_int, *mut *const c_char);
    error_text "cuGetErrorString" "" (c_int, *mut *const c_char);
    memory_free "cuMemGetInfo_v2" "hipMemGetInfo" (*mut usize, *mut usize);
    allocate "cuMemAlloc_v2" "hipMalloc" (*mut u64, usize);
    allocate_pinned "cuMemHostAlloc" "hipHostMalloc" (*mut u64, usize, c_uint);
    allocate_managed "cuMemAllocManaged" "hipMallocManaged" (*mut u64, usize, c_uint);
    free "cuMemFree_v2" "hipFree" (u64);
    free_pinned "cuMemFreeHost" "hipHostFree" (u64);
    advise "cuMemAdvise" "hipMemAdvise" (u64, usize, c_int, c_int);
    advise_at "cuMemAdvise_v2" "hipMemAdvise_v2" (u64, usize, c_int, Location);
    prefetch "cuMemPrefetchAsync" "hipMemPrefetchAsync" (u64, usize, c_int, Handle);
    prefetch_at "cuMemPrefetchAsync_v2" "hipMemPrefetchAsync_v2" (u64, usize, Location, c_uint, Handle);
    copy "cuMemcpyAsync" "" (u64, u64, usize, Handle);
    copy_kind "" "hipMemcpyAsync" (u64, u64, usize, c_int, Handle);
    host_function "cuLaunchHostFunc" "hipLaunchHostFunc" (Handle, unsafe extern "C" fn(*mut c_void), *mut c_void);
    fill "cuMemsetD8Async" "hipMemsetD8Async" (u64, u8, usize, Handle);
    stream_create "cuStreamCreate" "hipStreamCreateWithFlags" (*mut Handle, c_uint);
    stream_create_first "cuStreamCreateWithPriority" "hipStreamCreateWithPriority" (*mut Handle, c_uint, c_int);
    stream_destroy "cuStreamDestroy_v2" "hipStreamDestroy" (Handle);
    stream_synchronise "cuStreamSynchronize" "hipStreamSynchronize" (Handle);
    stream_wait "cuStreamWaitEvent" "hipStreamWaitEvent" (Handle, Handle, c_uint);
    event_create "cuEventCreate" "hipEventCreateWithFlags" (*mut Handle, c_uint);
    event_destroy "cuEventDestroy_v2" "hipEventDestroy" (Handle);
    event_record "cuEventRecord" "hipEventRecord" (Handle, Handle);
    event_elapsed "cuEventElapsedTime" "hipEventElapsedTime" (*mut f32, Handle, Handle);
    module_load "cuModuleLoadData" "hipModuleLoadData" (*mut Handle, *const c_void);
    module_unload "cuModuleUnload" "hipModuleUnload" (Handle);
    module_function "cuModuleGetFunction" "hipModuleGetFunction" (*mut Handle, Handle, *const c_char);
    function_attribute "cuFuncGetAttribute" "hipFuncGetAttribute" (*mut c_int, c_int, Handle);
    function_set "cuFuncSetAttribute" "" (Handle, c_int, c_int);
    launch "cuLaunchKernel" "hipModuleLaunchKernel"
        (Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void);
    capture_begin "cuStreamBeginCapture_v2" "hipStreamBeginCapture" (Handle, c_int);
    capture_end "cuStreamEndCapture" "hipStreamEndCapture" (Handle, *mut Handle);
    graph_instantiate "cuGraphInstantiateWithFlags" "hipGraphInstantiateWithFlags" (*mut Handle, Handle, u64);
    // Since CUDA 11.1.
    graph_upload "cuGraphUpload" "" (Handle, Handle);
    graph_launch "cuGraphLaunch" "hipGraphLaunch" (Handle, Handle);
    graph_destroy "cuGraphDestroy" "hipGraphDestroy" (Handle);
    graph_drop "cuGraphExecDestroy" "hipGraphExecDestroy" (Handle);
}
