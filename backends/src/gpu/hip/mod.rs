//! AMD's HIP runtime (`libamdhip64`).

use super::driver::{DeviceFacts, DriverError, Shared};
use super::native::{call, code, Api, Attributes, Native, Vendor};
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_kernels::Chip;

/// Attributes by their place in `hipDeviceAttribute_t`, the same from ROCm 5 on.
static HIP: Vendor = Vendor {
    name: "hip",
    cuda: false,
    libraries,
    hiding: &["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"],
    version: |v| (u32::try_from(v / 10_000_000).unwrap_or(0), u32::try_from(v / 100_000 % 100).unwrap_or(0)),
    oldest: ((5, 0), "install ROCm 5 or newer; MI300A needs 6"),
    // Before, a node of a graph that follows another one by two ways is refused (ROCm/clr, c7e4e9c2f).
    records_from: Some((6, 1)),
    attributes: Attributes {
        wave: 87,
        units: 63,
        shared: [75, 74],
        // AMD's own attribute: that of the common part (76) is of the whole device in some versions.
        unit_shared: 10002,
        reserved_shared: None,
        pageable: 65,
        host_page_tables: 66,
        concurrent_managed: 9,
        integrated: 16,
        host_node: None,
    },
    chip,
    // Without the kernel's driver there is no device, whatever the runtime calls that: Debian's packages bring the library to machines that
    // never had one, and its `hipInit` says "invalid device" there (5.7, 2026-11-28). With it, the code means a device that is denied.
    absent: |c| c == code::NO_DEVICE || (c == code::INVALID_DEVICE && !driven()),
    stub: None,
    driven,
};

fn libraries() -> Vec<PathBuf> {
    let names = ["libamdhip64.so", "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5"];
    let roots = ["ROCM_PATH", "HIP_PATH"].iter().filter_map(std::env::var_os).map(PathBuf::from);
    let mut all: Vec<PathBuf> = names.map(PathBuf::from).to_vec();
    all.extend(roots.chain([PathBuf::from("/opt/rocm")]).map(|r| r.join("lib/libamdhip64.so")));
    all
}

/// How the kernel shows that it drives AMD devices.
fn driven() -> bool {
    Path::new("/dev/kfd").exists()
}

/// Bytes handed to a call that fills a structure of 800 to 1500, by version.
const PROPERTIES: usize = 16 << 10;

/// The architecture is told nowhere but in the property structure, whose layout changes between versions. It is the one text in it that
/// begins with `gfx` behind the device's name (256 bytes).
fn chip(api: &Api, device: c_int) -> Result<Chip, DriverError> {
    let mut bytes = vec![0u8; PROPERTIES];
    let pointer = bytes.as_mut_ptr().cast();
    call!(api, properties(pointer, device)).or_else(|error| match error {
        DriverError::Unsupported { .. } => call!(api, properties_old(pointer, device)),
        other => Err(other),
    })?;
    let start = bytes[256..].windows(4).position(|w| w[0] == 0 && &w[1..] == b"gfx");
    let name: String = start
        .map(|at| {
            bytes[256 + at + 1..].iter().take_while(|b| b.is_ascii_alphanumeric()).map(|b| char::from(*b)).collect()
        })
        .unwrap_or_default();
    // Its features (`gfx942:sramecc+:xnack-`) stay out: plain code runs in every mode.
    name.parse().map_err(|_| DriverError::Unusable {
        device: "an AMD device".into(),
        cause: format!("it does not tell its architecture (read {name:?})"),
    })
}

/// The device of this index, modulo their number.
///
/// # Errors
/// [`DriverError::Absent`] without library or device, [`DriverError::Unusable`] when a device is there and cannot be used.
pub fn open(index: u32) -> Result<Shared, DriverError> {
    Ok(Arc::new(Native::open(Api::open(&HIP)?, index)?))
}

/// As [`open`], with the library of this path.
///
/// # Errors
/// As [`open`].
pub fn open_at(library: &Path, index: u32) -> Result<Shared, DriverError> {
    Ok(Arc::new(Native::open(Api::open_at(&HIP, library)?, index)?))
}

/// All devices; none is touched.
///
/// # Errors
/// As [`open`], for all of them together.
pub fn devices() -> Result<Vec<Result<DeviceFacts, DriverError>>, DriverError> {
    let api = Api::open(&HIP)?;
    Ok((0..api.devices).map(|d| api.facts(d).map(|f| f.1)).collect())
}
