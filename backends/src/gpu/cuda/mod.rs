//! NVIDIA's driver interface (`libcuda`).
//!
//! Numbers come from cudarc's generated bindings; calls go through our own table. cudarc resolves a function at its first call and
//! panics when the driver lacks it, and it reads result codes into a Rust enum, for which a code of a newer driver is undefined
//! behaviour.

use super::driver::{DeviceFacts, DriverError, Shared};
use super::native::{code, Api, Attributes, Native, Vendor};
use cudarc::driver::sys::{cudaError_enum as Code, CUdevice_attribute_enum as Attribute};
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_kernels::Chip;

static CUDA: Vendor = Vendor {
    name: "cuda",
    cuda: true,
    libraries,
    hiding: &["CUDA_VISIBLE_DEVICES"],
    version: |v| (u32::try_from(v / 1000).unwrap_or(0), u32::try_from(v % 1000 / 10).unwrap_or(0)),
    // NVRTC 12 is the oldest that knows sm_90a; its code needs a driver of the same major version.
    oldest: ((12, 0), "install NVIDIA driver 525 or newer"),
    records_from: None,
    attributes: Attributes {
        wave: Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE as c_int,
        units: Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT as c_int,
        shared: [
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN as c_int,
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK as c_int,
        ],
        unit_shared: Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR as c_int,
        reserved_shared: Some(Attribute::CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK as c_int),
        pageable: Attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS as c_int,
        host_page_tables: Attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES as c_int,
        concurrent_managed: Attribute::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS as c_int,
        integrated: Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED as c_int,
        host_node: Some(Attribute::CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID as c_int),
    },
    chip,
    // A stub library is the toolkit's stand-in for linking: there is no driver.
    absent: |c| c == code::NO_DEVICE || c == STUB,
    stub: Some(STUB),
    // Its own module, WSL, Tegra.
    driven: || ["/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-ctrl-gpu"].iter().any(|p| Path::new(p).exists()),
};

const STUB: c_int = Code::CUDA_ERROR_STUB_LIBRARY as c_int;

/// By bare name, then where drivers are installed: a folder of stubs on `LD_LIBRARY_PATH` hides the library from its bare name.
fn libraries() -> Vec<PathBuf> {
    let multiarch: &[&str] = match cfg!(target_arch = "aarch64") {
        // Jetson's releases before and after JetPack 6.
        true => {
            &["/usr/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu/nvidia", "/usr/lib/aarch64-linux-gnu/tegra"]
        }
        false => &["/usr/lib/x86_64-linux-gnu"],
    };
    // Arch; containers on GKE; NixOS.
    let others = ["/usr/lib", "/usr/local/nvidia/lib64", "/run/opengl-driver/lib"];
    let folders = ["/usr/lib/wsl/lib", "/usr/lib64"].iter().chain(multiarch).chain(&others);
    let bare = ["libcuda.so.1", "libcuda.so"].map(PathBuf::from);
    bare.into_iter().chain(folders.map(|f| Path::new(f).join("libcuda.so.1"))).collect()
}

/// `sm_80`; from 9.0 on with the features of just that chip (`sm_90a`), which is what wgmma and its successors need.
fn chip(api: &Api, device: c_int) -> Result<Chip, DriverError> {
    let number = |a: Attribute| api.attribute(device, a as c_int);
    let major = number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    let minor = number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    match (major, minor) {
        (Some(major @ 1..), Some(minor @ 0..)) => {
            Ok(Chip::Cuda(format!("sm_{major}{minor}{}", if major >= 9 { "a" } else { "" })))
        }
        _ => Err(DriverError::Unusable {
            device: "a CUDA device".into(),
            cause: "it does not tell its architecture".into(),
        }),
    }
}

/// The device of this index, modulo their number.
///
/// # Errors
/// [`DriverError::Absent`] without library or device, [`DriverError::Unusable`] when a device is there and cannot be used.
pub fn open(index: u32) -> Result<Shared, DriverError> {
    Ok(Arc::new(Native::open(Api::open(&CUDA)?, index)?))
}

/// As [`open`], with the library of this path.
///
/// # Errors
/// As [`open`].
pub fn open_at(library: &Path, index: u32) -> Result<Shared, DriverError> {
    Ok(Arc::new(Native::open(Api::open_at(&CUDA, library)?, index)?))
}

/// All devices; none is touched.
///
/// # Errors
/// As [`open`], for all of them together.
pub fn devices() -> Result<Vec<Result<DeviceFacts, DriverError>>, DriverError> {
    let api = Api::open(&CUDA)?;
    Ok((0..api.devices).map(|d| api.facts(d).map(|f| f.1)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::native::{flag, Location};
    use super::*;
    use cudarc::driver::sys;
    use std::process::Command;
    use std::sync::LazyLock;

    #[test]
    fn a_stub_before_the_drivers_library_hides_no_device_and_alone_is_an_error_where_there_is_one() {
        static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
        let made = |name: &str, code: i32| {
            let (text, out) = (FOLDER.path().join("driver.c"), FOLDER.path().join(name));
            let functions = "(int *v) { *v = 12040; return 0; }\nint cuDeviceGetCount(int *n) { *n = 1; return 0; }\n";
            std::fs::write(
                &text,
                format!("int cuInit(unsigned f) {{ return {code}; }}\nint cuDriverGetVersion{functions}"),
            )
            .unwrap();
            // Both have the name by which the loader would take one for the other.
            let own_name = "-Wl,-soname,libcuda.so.1";
            let done = Command::new("cc").args(["-shared", "-fPIC", own_name, "-o"]).arg(&out).arg(&text).status();
            assert!(done.unwrap().success());
        };
        let libraries = || ["none.so", "stub.so", "driver.so"].map(|n| FOLDER.path().join(n)).to_vec();
        let vendor = |driven| -> &'static Vendor { Box::leak(Box::new(Vendor { libraries, driven, ..CUDA })) };
        made("stub.so", STUB);
        let told = |driven| Api::open(vendor(driven)).err().unwrap();
        let (absent, unusable) = (told(|| false), told(|| true));
        assert!(matches!(absent, DriverError::Absent { .. }), "{absent}");
        assert!(matches!(unusable, DriverError::Unusable { .. }), "{unusable}");
        for error in [absent, unusable] {
            let text = error.to_string();
            assert!(text.contains("stub.so (the toolkit's stub, made for linking)"), "{text}");
            assert!(text.contains("none.so, "), "{text}");
        }
        assert!(told(|| true).to_string().contains("LD_LIBRARY_PATH"));
        made("driver.so", 0);
        let api = Api::open(vendor(|| true)).ok().unwrap();
        assert_eq!((api.devices, api.version), (1, (12, 4)));
    }

    #[test]
    fn drivers_are_looked_for_where_distributions_and_clouds_put_them() {
        let all = libraries();
        let at = |folder: &str| all.iter().position(|l| *l == Path::new(folder).join("libcuda.so.1"));
        assert_eq!(all[0], Path::new("libcuda.so.1"), "the loader's own order first");
        let places = ["/usr/lib64", "/usr/lib", "/usr/local/nvidia/lib64", "/run/opengl-driver/lib"];
        assert!(places.map(at).is_sorted() && places.iter().all(|p| at(p).is_some()), "{all:?}");
        let tegra = ["/usr/lib/aarch64-linux-gnu/nvidia", "/usr/lib/aarch64-linux-gnu/tegra"];
        assert_eq!(tegra.map(|p| at(p).is_some()), [cfg!(target_arch = "aarch64"); 2]);
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    }

    #[test]
    fn numbers_that_both_vendors_share_are_those_of_nvidias_header() {
        type Advice = sys::CUmem_advise_enum;
        type Function = sys::CUfunction_attribute_enum;
        let pairs = [
            (code::OUT_OF_MEMORY, Code::CUDA_ERROR_OUT_OF_MEMORY as c_int),
            (code::NO_DEVICE, Code::CUDA_ERROR_NO_DEVICE as c_int),
            (code::INVALID_DEVICE, Code::CUDA_ERROR_INVALID_DEVICE as c_int),
            (code::NOT_FOUND, Code::CUDA_ERROR_NOT_FOUND as c_int),
            (code::NOT_SUPPORTED, Code::CUDA_ERROR_NOT_SUPPORTED as c_int),
            (code::ILLEGAL_ADDRESS, Code::CUDA_ERROR_ILLEGAL_ADDRESS as c_int),
            (flag::PINNED as c_int, (sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP) as c_int),
            (flag::MANAGED as c_int, sys::CUmemAttach_flags_enum::CU_MEM_ATTACH_GLOBAL as c_int),
            (flag::STREAM as c_int, sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as c_int),
            (flag::EVENT as c_int, sys::CUevent_flags_enum::CU_EVENT_DEFAULT as c_int),
            (flag::PREFERRED, Advice::CU_MEM_ADVISE_SET_PREFERRED_LOCATION as c_int),
            (flag::ACCESSED, Advice::CU_MEM_ADVISE_SET_ACCESSED_BY as c_int),
            (flag::CAPTURE, sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL as c_int),
            (flag::FUNCTION_THREADS, Function::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK as c_int),
            (flag::FUNCTION_SHARED, Function::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES as c_int),
            (flag::FUNCTION_LOCAL, Function::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES as c_int),
            (flag::FUNCTION_REGISTERS, Function::CU_FUNC_ATTRIBUTE_NUM_REGS as c_int),
            (flag::FUNCTION_DYNAMIC, Function::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as c_int),
            (flag::FUNCTION_CARVEOUT, Function::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT as c_int),
            (
                flag::NODE_PRIORITIES as c_int,
                sys::CUgraphInstantiate_flags_enum::CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY as c_int,
            ),
            (Location::DEVICE, sys::CUmemLocationType_enum::CU_MEM_LOCATION_TYPE_DEVICE as c_int),
            (Location::HOST, sys::CUmemLocationType_enum::CU_MEM_LOCATION_TYPE_HOST as c_int),
            (Location::HOST_NODE, sys::CUmemLocationType_enum::CU_MEM_LOCATION_TYPE_HOST_NUMA as c_int),
        ];
        for fault in [
            Code::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
            Code::CUDA_ERROR_LAUNCH_TIMEOUT,
            Code::CUDA_ERROR_ASSERT,
            Code::CUDA_ERROR_HARDWARE_STACK_ERROR,
            Code::CUDA_ERROR_MISALIGNED_ADDRESS,
            Code::CUDA_ERROR_LAUNCH_FAILED,
        ] {
            assert!(code::fault(fault as c_int), "{fault:?}");
        }
        assert!(!code::fault(Code::CUDA_ERROR_CONTEXT_IS_DESTROYED as c_int));
        for (index, (ours, theirs)) in pairs.iter().enumerate() {
            assert_eq!(ours, theirs, "pair {index}");
        }
        assert_eq!(size_of::<Location>(), size_of::<sys::CUmemLocation>());
        assert_eq!((CUDA.version)(12040), (12, 4));
        assert_eq!((CUDA.version)(13000), (13, 0));
    }
}
