//! Which device a run computes on.

use super::SessionError;
use crate::cpu::InstructionSet;
use crate::gpu::driver::{DeviceFacts, DriverError, Shared};
use crate::gpu::{cuda, hip};
use std::fmt;
use weir_allocators::kind::file_system;
use weir_allocators::policy::{asked_device, resolve, Backend, Device as Memory, Layer, Policy, Setting, Surroundings};
use weir_allocators::topology::Topology;
use weir_kernels::Chip;

/// An opened device.
#[derive(Clone)]
pub struct Device {
    driver: Shared,
    /// Whether somebody named its backend.
    named: bool,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({:?})", self.facts())
    }
}

impl Device {
    /// A device at hand, as if it had been asked for by name.
    pub fn new(driver: Shared) -> Self {
        Device { driver, named: true }
    }

    /// Its driver.
    pub fn driver(&self) -> &Shared {
        &self.driver
    }

    /// Its number, as the driver counts.
    pub fn index(&self) -> usize {
        self.driver.index() as usize
    }

    /// What it is.
    pub fn facts(&self) -> &DeviceFacts {
        self.driver.facts()
    }

    /// `NVIDIA H100 80GB HBM3 (sm_90a, cuda 12.4)`
    pub fn title(&self) -> String {
        title(self.facts(), self.driver.name())
    }

    /// An error of a device that nobody named says that the CPU must be.
    pub(super) fn failed(&self, error: crate::gpu::GpuError) -> SessionError {
        use crate::gpu::GpuError;
        match error {
            GpuError::Compile(_) | GpuError::Driver(DriverError::Image { .. }) if !self.named => {
                SessionError::Unusable { device: self.title(), cause: error.to_string() }
            }
            other => other.into(),
        }
    }

    /// As the placement policy sees it.
    fn memory(&self, topology: &Topology, index: &Setting<usize>) -> Result<Memory, DriverError> {
        let (free, all) = self.driver.memory()?;
        let there = match self.driver.name() {
            "cuda" => topology.devices.nvidia,
            "hip" => topology.devices.amd,
            _ => 0,
        };
        let by_rank = topology.rank.as_ref().is_some_and(|r| r.origin == index.origin);
        let tasks = topology.tasks_on_device(self.driver.devices() as usize, there, !by_rank);
        let f = self.facts();
        let (name, node) = (f.name.clone(), f.host_node.map(|n| n as usize));
        Ok(match f.integrated {
            // Its driver counts the page cache as used; what it has in all is the limit.
            true => Memory::Shared { name, cap: Some(all / tasks as u64), node },
            false => Memory::Discrete { name, free, tasks, node, coherent: f.host_page_tables },
        })
    }
}

fn title(f: &DeviceFacts, driver: &str) -> String {
    format!("{} ({}, {driver} {})", f.name, f.chip, f.driver)
}

type Facts = Result<DeviceFacts, DriverError>;

/// A vendor's driver: how a device is opened (its index modulo their number), and what there is.
struct Vendor {
    name: &'static str,
    open: fn(u32) -> Result<Shared, DriverError>,
    devices: fn() -> Result<Vec<Facts>, DriverError>,
}

const CUDA: Vendor = Vendor { name: "cuda", open: cuda::open, devices: cuda::devices };
const HIP: Vendor = Vendor { name: "hip", open: hip::open, devices: hip::devices };

/// What `auto` takes: the answer of the first vendor that has one. Drivers without a library or a device are passed over; one that is there and
/// fails has answered.
fn first<T>(ask: impl FnMut(&Vendor) -> Result<T, DriverError>) -> Option<Result<T, DriverError>> {
    [&CUDA, &HIP].into_iter().map(ask).find(|answer| !matches!(answer, Err(DriverError::Absent { .. })))
}

/// Where [`choose`] would compute, for people; no device is opened.
pub fn outlook(backend: Backend, index: usize) -> String {
    let would = |vendor: &Vendor| {
        let mut devices = (vendor.devices)()?;
        let facts = devices.swap_remove(index % devices.len())?;
        Ok(title(&facts, vendor.name))
    };
    let found = match backend {
        Backend::Emulated => return "an emulated GPU".into(),
        Backend::Cpu => None,
        Backend::Cuda => Some(would(&CUDA)),
        Backend::Hip => Some(would(&HIP)),
        Backend::Auto => first(would),
    };
    match found {
        None => "the CPU".into(),
        Some(Ok(title)) => title,
        Some(Err(error)) => format!("no device ({error})"),
    }
}

/// The device that settings ask for; none: the CPU. `auto` takes the first that is there (CUDA, then HIP) and passes over drivers without a
/// library or a device, silently.
///
/// # Errors
/// [`SessionError::Device`]: a named one that is absent, and any that is there and cannot be used. [`SessionError::NotBuilt`].
pub fn choose(backend: &Setting<Backend>, index: usize) -> Result<Option<Device>, SessionError> {
    let index = u32::try_from(index).unwrap_or(0);
    let named = |opened: Result<Shared, DriverError>| match opened {
        Ok(driver) => Ok(Some(Device { driver, named: true })),
        Err(error) => Err(SessionError::Device { origin: backend.origin.clone(), error }),
    };
    match backend.value {
        Backend::Cpu => Ok(None),
        Backend::Cuda => named((CUDA.open)(index)),
        Backend::Hip => named((HIP.open)(index)),
        #[cfg(feature = "emulated")]
        Backend::Emulated => Ok(Some(Device::new(std::sync::Arc::new(emulated())))),
        #[cfg(not(feature = "emulated"))]
        Backend::Emulated => Err(SessionError::NotBuilt(backend.origin.clone())),
        Backend::Auto => match first(|vendor| (vendor.open)(index)) {
            None => Ok(None),
            Some(Ok(driver)) => Ok(Some(Device { driver, named: false })),
            Some(Err(error)) => Err(SessionError::Device { origin: "WEIR_BACKEND=auto".into(), error }),
        },
    }
}

/// Watching every access takes ten times as long, and is the business of tests of kernels.
#[cfg(feature = "emulated")]
fn emulated() -> crate::gpu::emulated::Emulated {
    use crate::gpu::emulated::{Emulated, EmulatedOptions, Watch};
    Emulated::new(EmulatedOptions { watch: Watch::Nothing, ..EmulatedOptions::default() })
}

/// Options that images for the devices of [`choose`] are compiled with, beside those of the chip.
pub fn compile_flags(chip: &Chip) -> Vec<String> {
    match chip {
        #[cfg(feature = "emulated")]
        Chip::Host => {
            use crate::gpu::driver::Driver;
            emulated().compile_flags().iter().map(|f| f.to_string()).collect()
        }
        _ => Vec::new(),
    }
}

/// Settings for this machine and the device that they ask for. Layers: flags, environment, file.
///
/// # Errors
/// As [`choose`]; settings that contradict each other or ask for more than there is; [`SessionError::InstructionSet`].
pub fn settle(layers: &[Layer], in_client: bool) -> Result<(Policy, Topology, Option<Device>), SessionError> {
    // First of all, on devices too: the CPU is what they are compared with.
    if let Some(simd) = layers.iter().find_map(|l| l.simd.as_ref()) {
        let checked = InstructionSet::asked(simd.value).map_or(Ok(()), InstructionSet::check);
        checked.map_err(|error| SessionError::InstructionSet { origin: simd.origin.clone(), error })?;
    }
    let topology = Topology::here();
    let (backend, index) = asked_device(layers, &topology);
    let device = choose(&backend, index.value)?;
    let memory = match &device {
        None => Memory::Cpu,
        Some(d) => d
            .memory(&topology, &index)
            .map_err(|error| SessionError::Device { origin: backend.origin.clone(), error })?,
    };
    let around = Surroundings {
        topology: &topology,
        device: &memory,
        in_client,
        environment: &|name| std::env::var(name).ok(),
        scratch: &file_system,
    };
    let policy = resolve(layers, &around)?;
    Ok((policy, topology, device))
}
