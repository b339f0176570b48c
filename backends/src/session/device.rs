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
        let visible = self.driver.devices() as usize;
        let by_rank = topology.rank.as_ref().is_some_and(|r| r.origin == index.origin);
        let slice = std::env::var("CUDA_VISIBLE_DEVICES").is_ok_and(|v| names_a_slice(&v));
        let tasks = sharers(self.facts(), self.driver.name(), visible, topology, !by_rank, slice);
        Ok(memory(self.facts(), free, all, tasks))
    }
}

/// Whether a list of visible devices names one slice of a device (MIG) and nothing else.
fn names_a_slice(list: &str) -> bool {
    list.starts_with("MIG-") && !list.contains(',')
}

/// Tasks of the job that share a device of so many `visible` ones. A slice of a device that somebody has named for this very task was given to
/// it alone: files count whole devices, by which it would be divided once more. (That a task sees but one slice says nothing: of several, CUDA shows one.)
fn sharers(f: &DeviceFacts, driver: &str, visible: usize, topology: &Topology, chosen: bool, slice: bool) -> usize {
    if slice && f.name.contains(" MIG ") && topology.job_devices.is_none() {
        return 1;
    }
    let there = match driver {
        "cuda" => topology.devices.nvidia,
        "hip" => topology.devices.amd,
        _ => 0,
    };
    topology.tasks_on_device(visible, there, chosen)
}

/// What the policy is told of a device of which so many bytes are free, and which so many tasks share.
fn memory(f: &DeviceFacts, free: u64, all: u64, tasks: usize) -> Memory {
    let (name, node) = (f.name.clone(), f.host_node.map(|n| n as usize));
    if !f.integrated {
        return Memory::Discrete { name, free, tasks, node, coherent: f.host_page_tables };
    }
    // What others have taken of the limit is gone, as far as the driver can tell.
    let left = if f.free_is_exact() { free } else { all };
    Memory::Shared { name, cap: Some(left.min(all / tasks.max(1) as u64)), node }
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

#[cfg(test)]
mod tests {
    use super::*;
    use weir_allocators::topology::{Devices, Launcher};

    const GIB: u64 = 1 << 30;

    fn facts(name: &str, chip: Chip, integrated: bool) -> DeviceFacts {
        DeviceFacts {
            name: name.into(),
            chip,
            driver: "12.4".into(),
            wave: 32,
            units: 98,
            shared: 65_536,
            unit_shared: 65_536,
            reserved_shared: 0,
            memory: 96 * GIB,
            pageable: false,
            host_page_tables: false,
            concurrent_managed: true,
            integrated,
            host_node: Some(1),
        }
    }

    fn cap(memory: Memory) -> u64 {
        match memory {
            Memory::Shared { cap: Some(cap), .. } => cap,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_others_have_taken_of_an_apu_is_no_budget_of_ours() {
        let apu = facts("AMD Instinct MI300A", Chip::Hip("gfx942".into()), true);
        let of = |free, tasks| cap(memory(&apu, free * GIB, 96 * GIB, tasks));
        assert_eq!(of(96, 1), 96 * GIB);
        assert_eq!(of(30, 1), 30 * GIB);
        // Each of two has a part of its own; the first to start leaves the second its part, and no more than is free.
        assert_eq!([of(96, 2), of(50, 2), of(20, 2)], [48 * GIB, 48 * GIB, 20 * GIB]);
        // The page cache is no other's memory.
        let spark = facts("NVIDIA GB10", Chip::Cuda("sm_121".into()), true);
        assert_eq!(cap(memory(&spark, 30 * GIB, 119 * GIB, 1)), 119 * GIB);
    }

    #[test]
    fn a_task_has_all_of_the_slice_that_it_was_given() {
        let mut topology = Topology::here();
        topology.tasks = Launcher { value: 4, origin: "OMPI_COMM_WORLD_LOCAL_SIZE" };
        topology.rank = Some(Launcher { value: 2, origin: "OMPI_COMM_WORLD_LOCAL_RANK" });
        topology.job_devices = None;
        topology.devices = Devices { nvidia: 1, amd: 0 };
        let of = |name: &str, slice| {
            sharers(&facts(name, Chip::Cuda("sm_90a".into()), false), "cuda", 1, &topology, false, slice)
        };
        assert_eq!(of("NVIDIA H100 80GB HBM3 MIG 1g.10gb", true), 1);
        assert_eq!(of("NVIDIA H100 80GB HBM3", true), 4);
        // The first slice, which all see who were told of none.
        assert_eq!(of("NVIDIA H100 80GB HBM3 MIG 1g.10gb", false), 4);
        assert!(
            names_a_slice("MIG-41b35014-942c-5b9c-b0ab-ac2d2e8c2c2f")
                && !names_a_slice("MIG-a,MIG-b")
                && !names_a_slice("0")
        );
    }
}
