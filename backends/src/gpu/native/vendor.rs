//! In what the vendors differ.

use super::library::Api;
use crate::gpu::driver::DriverError;
use std::ffi::c_int;
use std::path::PathBuf;
use weir_kernels::Chip;

/// Numbers of device attributes.
#[derive(Clone, Copy)]
pub struct Attributes {
    pub wave: c_int,
    pub units: c_int,
    /// Largest dynamic shared memory of a block; the first that the driver knows counts.
    pub shared: [c_int; 2],
    /// Shared memory of a multiprocessor.
    pub unit_shared: c_int,
    /// What the system keeps of it for every block.
    pub reserved_shared: Option<c_int>,
    pub pageable: c_int,
    pub host_page_tables: c_int,
    pub concurrent_managed: c_int,
    pub integrated: c_int,
    /// NUMA node of the host, where the driver knows it.
    pub host_node: Option<c_int>,
}

/// A vendor's side.
pub struct Vendor {
    /// `cuda` or `hip`.
    pub name: &'static str,
    pub cuda: bool,
    /// Libraries to try.
    pub libraries: fn() -> Vec<PathBuf>,
    /// Variables that hide devices.
    pub hiding: &'static [&'static str],
    /// What a version number means.
    pub version: fn(c_int) -> (u32, u32),
    /// The oldest that works, and what to do about an older one.
    pub oldest: ((u32, u32), &'static str),
    /// The oldest that records streams that part and join; none: all do.
    pub records_from: Option<(u32, u32)>,
    pub attributes: Attributes,
    /// What to compile for.
    pub chip: fn(&Api, c_int) -> Result<Chip, DriverError>,
    /// Whether a code at start means that there is no device, rather than a broken one.
    pub absent: fn(c_int) -> bool,
    /// What a library says at start that stands in for the driver's while programs are linked.
    pub stub: Option<c_int>,
    /// Whether the kernel shows that it drives such devices.
    pub driven: fn() -> bool,
}

/// What to do where a function is missing that every version has.
pub const BROKEN: &str = "install a complete driver";

/// Codes that both vendors share.
pub mod code {
    use std::ffi::c_int;
    pub const OUT_OF_MEMORY: c_int = 2;
    pub const NO_DEVICE: c_int = 100;
    pub const INVALID_DEVICE: c_int = 101;
    pub const NOT_FOUND: c_int = 500;
    pub const NOT_SUPPORTED: c_int = 801;
    pub const ILLEGAL_ADDRESS: c_int = 700;

    /// What kernels do wrong: illegal addresses, too many resources, time-outs, assertions, traps.
    pub fn fault(code: c_int) -> bool {
        matches!(code, ILLEGAL_ADDRESS..=702 | 710 | 714..=720)
    }
}

/// Flags and numbers that both vendors share.
pub mod flag {
    use std::ffi::{c_int, c_uint};
    /// Any context may use it, and it is mapped for devices.
    pub const PINNED: c_uint = 1 | 2;
    pub const MANAGED: c_uint = 1;
    /// Not ordered with the default stream, which belongs to the host program.
    pub const STREAM: c_uint = 1;
    /// Priority of a stream whose blocks come before those of others, which have 0. Less would be more; both vendors have this one.
    pub const FIRST: c_int = -1;
    pub const EVENT: c_uint = 0;
    pub const PREFERRED: c_int = 3;
    pub const ACCESSED: c_int = 5;
    /// In the old calls, the host's number.
    pub const HOST: c_int = -1;
    /// Either end may be anywhere.
    pub const ANY_COPY: c_int = 4;
    /// Other threads of the host program may do what they like while this one records.
    pub const CAPTURE: c_int = 1;
    pub const FUNCTION_THREADS: c_int = 0;
    pub const FUNCTION_SHARED: c_int = 1;
    pub const FUNCTION_LOCAL: c_int = 3;
    pub const FUNCTION_REGISTERS: c_int = 4;
    pub const FUNCTION_DYNAMIC: c_int = 8;
    /// CUDA: the share of a multiprocessor's first cache that should be shared memory, in per cent.
    pub const FUNCTION_CARVEOUT: c_int = 9;
    /// CUDA: kernels of recorded work keep the priority of the stream that they were recorded in.
    pub const NODE_PRIORITIES: u64 = 8;
}
