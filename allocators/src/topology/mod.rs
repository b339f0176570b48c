//! What the machine is: NUMA nodes and their memory, cores, pages, limits of the cgroup, tasks that share the node.
//!
//! Everything is read below a root folder (`/` on a real machine, a written tree in tests) by parsers that take absent
//! files for "not said". Environment variables come through a function, so that nothing here is global.

mod cgroup;
mod cores;
mod device;
mod memory;
mod nodes;
mod tasks;

pub use cgroup::Cgroup;
pub use cores::parse_list;
pub use device::{Coherent, Devices, Pool};
pub use memory::{HugePages, Memory};
pub use nodes::Node;
pub use tasks::{devices_on_node, local_rank, tasks_on_device, tasks_on_node, Launcher};

use std::path::Path;

/// A machine as one process sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// NUMA nodes that are online, by number. Never empty: without NUMA, one node 0 with all memory and cores.
    pub nodes: Vec<Node>,
    /// Cores this process may run on, by affinity.
    pub allowed_cpus: Vec<usize>,
    /// Nodes this process may take memory from; empty where the kernel does not say.
    pub allowed_nodes: Vec<usize>,
    /// Memory of the whole machine.
    pub memory: Memory,
    /// Unit of memory, bytes.
    pub page_bytes: u64,
    /// Huge pages for anonymous memory.
    pub huge_pages: HugePages,
    /// Length of one, bytes; none where the kernel has none.
    pub huge_bytes: Option<u64>,
    /// Limits around this process.
    pub cgroup: Cgroup,
    /// Processes of the job on this machine, and who says so.
    pub tasks: Launcher,
    /// Number of this process among them, and who says so; none outside of a launcher.
    pub rank: Option<Launcher>,
    /// Devices that the job may use on this machine, where the launcher says.
    pub job_devices: Option<Launcher>,
    /// Devices of the machine.
    pub devices: Devices,
    /// Why all tiers share one memory, where they do.
    pub pool: Option<Pool>,
    /// How the memory of an NVIDIA device that is coherent with the CPU is managed; none without one.
    pub coherent: Option<Coherent>,
    /// Processor, as `/proc/cpuinfo` calls it.
    pub processor: Option<String>,
    /// Release of the kernel.
    pub kernel: Option<String>,
}

impl Topology {
    /// Reads the tree below `root`. `page_bytes` is the running kernel's ([`crate::page_bytes`]), which no file says.
    pub fn read(root: &Path, page_bytes: u64, environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let memory = memory::machine(root);
        let allowed_cpus = cores::allowed(root, "Cpus_allowed_list");
        let nodes = nodes::read(root, &memory);
        let (huge_pages, huge_bytes) = memory::huge_pages(root);
        let processor = device::processor(root);
        Topology {
            allowed_nodes: cores::allowed(root, "Mems_allowed_list"),
            allowed_cpus: if allowed_cpus.is_empty() {
                nodes.iter().flat_map(|n| n.cpus.iter().copied()).collect()
            } else {
                allowed_cpus
            },
            cgroup: cgroup::read(root),
            tasks: tasks_on_node(environment),
            rank: local_rank(environment),
            job_devices: devices_on_node(environment),
            devices: device::devices(root),
            pool: device::pool(root, processor.as_deref()),
            coherent: device::coherent(root, &nodes),
            kernel: text(root, "proc/sys/kernel/osrelease"),
            memory,
            page_bytes,
            huge_pages,
            huge_bytes,
            nodes,
            processor,
        }
    }

    /// This machine and this process.
    pub fn here() -> Self {
        Topology::read(Path::new("/"), crate::page_bytes() as u64, &|name| std::env::var(name).ok())
    }

    /// Processes of the job that share a device: `visible` are those that this process sees, `there` those of the kind on the machine as far
    /// as is known, `chosen` whether the device was told and not taken by rank.
    pub fn tasks_on_device(&self, visible: usize, there: usize, chosen: bool) -> usize {
        let devices = self.job_devices.as_ref().map_or(there, |d| d.value);
        let rank = self.rank.as_ref().map(|r| r.value).filter(|_| !chosen);
        tasks_on_device(self.tasks.value, devices, visible, rank)
    }

    /// Node with this number.
    pub fn node(&self, id: usize) -> Option<&Node> {
        self.nodes.iter().find(|n| n.id == id)
    }

    /// Nodes that have cores and memory: the only ones that count as host memory.
    pub fn host_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|n| n.is_host())
    }

    /// Whether memory that nobody binds may come from more nodes than one, those of a device among them.
    pub fn has_several_memories(&self) -> bool {
        self.nodes.iter().filter(|n| n.total > 0).count() > 1
    }

    /// Threads worth starting: allowed cores, or fewer where the cgroup gives less time.
    pub fn threads(&self) -> usize {
        let cores = self.allowed_cpus.len().max(1);
        self.cgroup.cpus.map_or(cores, |c| cores.min((c.ceil() as usize).max(1)))
    }

    /// What two runs must share for measured rates of one to hold for the other. Not how much memory there is: virtual machines are given more
    /// and less of it while they run.
    pub fn fingerprint(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|n| format!("{}:{}c", n.id, n.cpus.len())).collect();
        let processor = self.processor.as_deref().unwrap_or("unknown");
        let cores = self.allowed_cpus.len();
        format!("{processor}; nodes {}; {cores} cores; pages {}", nodes.join(" "), self.page_bytes)
    }
}

/// A small file, trimmed; none where absent or empty.
fn text(root: &Path, path: &str) -> Option<String> {
    let text = std::fs::read_to_string(root.join(path)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_string())
}
