//! What files say about devices whose memory the CPU shares.

use super::{text, Node};
use std::path::Path;

/// A machine on which host and device memory are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Why, for people.
    pub why: String,
}

/// Who manages the memory of a coherent NVIDIA device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coherent {
    /// The kernel: these nodes without cores are HBM.
    Nodes(Vec<usize>),
    /// The driver (CDMM, module option `CoherentGPUMemoryMode=driver`): HBM is no node.
    Driver,
}

/// Devices of the machine, by vendor, as far as files tell; also those that this process does not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// NVIDIA's, from `/proc/driver/nvidia/gpus`.
    pub nvidia: usize,
    /// AMD's, from the nodes of `/sys/class/kfd` that have compute units.
    pub amd: usize,
}

pub fn devices(root: &Path) -> Devices {
    let entries = |path: &str| std::fs::read_dir(root.join(path)).into_iter().flatten().flatten();
    let computes = |properties: String| {
        properties.lines().any(|l| l.split_once(' ').is_some_and(|(k, v)| k == "simd_count" && v.trim() != "0"))
    };
    let nodes = "sys/class/kfd/kfd/topology/nodes";
    let amd = entries(nodes).filter(|e| std::fs::read_to_string(e.path().join("properties")).is_ok_and(computes));
    Devices { nvidia: entries("proc/driver/nvidia/gpus").count(), amd: amd.count() }
}

/// The processor's name. ARM kernels print numbers only; those of known machines are translated.
pub fn processor(root: &Path) -> Option<String> {
    let table = text(root, "proc/cpuinfo")?;
    let value = |key: &str| {
        table.lines().find_map(|l| {
            let (k, v) = l.split_once(':')?;
            (k.trim() == key).then(|| v.trim().to_string())
        })
    };
    // Arm's part numbers (MIDR_EL1) as in the kernel's cputype.h.
    let part = |p: &str| match p {
        "0xd4f" => "Arm Neoverse V2".to_string(),
        "0xd85" => "Arm Cortex-X925".to_string(),
        "0xd87" => "Arm Cortex-A725".to_string(),
        other => format!("Arm part {other}"),
    };
    value("model name").or_else(|| value("CPU part").map(|p| part(&p)))
}

/// Machines of one memory, by processor and by the board's name.
pub fn pool(root: &Path, processor: Option<&str>) -> Option<Pool> {
    let product = text(root, "sys/class/dmi/id/product_name").unwrap_or_default();
    let named = |name: &str, what: &str| Pool { why: format!("{name}: {what}") };
    if processor.is_some_and(|p| p.contains("MI300A")) {
        return Some(named("MI300A", "CPU and GPU share the HBM"));
    }
    let plain = product.to_lowercase().replace(['_', '-'], " ");
    let grace_blackwell = processor.is_some_and(|p| p.contains("Cortex-X925") || p.contains("Cortex-A725"));
    if plain.contains("dgx spark") || plain.contains("gb10") || (grace_blackwell && nvidia(root)) {
        return Some(named("GB10", "CPU and GPU share the LPDDR5X"));
    }
    if processor.is_some_and(|p| p.contains("RYZEN AI MAX") || p.contains("Ryzen AI Max")) {
        return Some(named("Strix Halo", "CPU and GPU share the LPDDR5X"));
    }
    None
}

pub fn coherent(root: &Path, nodes: &[Node]) -> Option<Coherent> {
    if !nvidia(root) {
        return None;
    }
    let parameters = text(root, "proc/driver/nvidia/params").unwrap_or_default();
    let mode = parameters.lines().find_map(|l| l.trim().strip_prefix("CoherentGPUMemoryMode:"));
    if mode.is_some_and(|m| m.contains("driver")) {
        return Some(Coherent::Driver);
    }
    let grace = text(root, "proc/cpuinfo").is_some_and(|t| t.contains("0xd4f"));
    let hbm: Vec<usize> = nodes.iter().filter(|n| n.cpus.is_empty() && n.total > 0).map(|n| n.id).collect();
    (grace && !hbm.is_empty()).then_some(Coherent::Nodes(hbm))
}

fn nvidia(root: &Path) -> bool {
    root.join("proc/driver/nvidia").is_dir()
}
