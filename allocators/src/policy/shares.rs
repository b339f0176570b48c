//! What this process may count on, before any setting: the host share, the device's free memory, the pool.

use super::{Layer, PolicyError, Setting};
use crate::kind::{show_bytes, FileSystem};
use crate::topology::Topology;
use std::io;
use std::path::Path;

/// Who computes, as far as memory goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// The CPU: one memory for all tiers.
    Cpu,
    /// A device with memory of its own.
    Discrete {
        /// For people.
        name: String,
        /// What its driver has free, bytes.
        free: u64,
        /// Processes of the job that share it ([`crate::topology::Topology::tasks_on_device`]): each gets a part.
        tasks: usize,
        /// Its own NUMA node for host memory.
        node: Option<usize>,
        /// Whether it reads ordinary host memory in place at full rate (ATS), so that nothing need be pinned.
        coherent: bool,
    },
    /// A device that shares the host's memory (MI300A, GB10).
    Shared {
        /// For people.
        name: String,
        /// What is left of the limit on its own allocations (TTM pages on MI300A), bytes; all of it where the driver cannot tell: on GB10
        /// its "free" counts the page cache as used and must not stand here.
        cap: Option<u64>,
        /// Its own NUMA node.
        node: Option<usize>,
    },
}

/// All that [`resolve`](super::resolve) looks at beside the settings.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The machine.
    pub topology: &'a Topology,
    /// Who computes.
    pub device: &'a Device,
    /// Running inside an MD engine, which needs device memory too.
    pub in_client: bool,
    /// Other variables: `TMPDIR HOME XDG_CACHE_HOME OMP_NUM_THREADS`.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// What lies under a folder; [`crate::kind::file_system`] on a real machine.
    pub scratch: &'a dyn Fn(&Path) -> io::Result<FileSystem>,
}

/// Device memory that an MD engine keeps, bytes.
pub const CLIENT: u64 = 2 << 30;

/// What this process may count on.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    /// Node that host memory is bound to; none for a process that spans several.
    pub node: Setting<Option<usize>>,
    /// Host share, bytes: free and reclaimable memory of the node, capped by the cgroup, divided by the tasks on it.
    pub host: u64,
    /// How it came about, for people.
    pub host_why: String,
    /// What budgets of `hbm` are parts of, bytes.
    pub hbm: u64,
    /// How that came about, for people, where other processes have parts of their own.
    pub hbm_why: Option<String>,
    /// What all tiers in memory may take together, bytes; none where `hbm` is a memory of its own.
    pub pool: Option<u64>,
    /// Left to an MD engine, bytes.
    pub kept: u64,
}

impl Shares {
    /// What this process may take now for speed alone, without need, while others may do the same: half of the memory
    /// that it may count on now; no more than its part of the cores (those of the cgroup for the cgroup's rest), unless
    /// somebody has `written` how much it may take. `now` has the cores of when the process started: an MD engine may
    /// have tied its threads to some since.
    pub fn spare(&self, now: &Topology, threads: usize, written: bool) -> u64 {
        let share = host(now, self.node.value).0;
        let Free { bytes, used, .. } = free(now, self.node.value);
        let cores = |nodes: &[usize]| nodes.iter().filter_map(|&n| now.node(n)).map(|n| n.cpus.len()).sum();
        let part = |bytes: u64, cores: usize| {
            let part = threads as f64 / cores.max(1) as f64;
            (bytes as f64 * part.min(1.0)) as u64
        };
        let all: Vec<usize> = now.host_nodes().map(|n| n.id).collect();
        let group = now.cgroup.left().map(|left| part(left, now.cgroup.cores.unwrap_or_else(|| cores(&all))));
        let fair = part(bytes, cores(&used)).min(group.unwrap_or(u64::MAX));
        let most = if written { share } else { share.min(fair) };
        most.saturating_sub(self.kept) / 2
    }
}

pub fn shares(layers: &[Layer], around: &Surroundings) -> Result<Shares, PolicyError> {
    let node = node(layers, around)?;
    let (host, host_why) = host(around.topology, node.value);
    let free = match around.device {
        Device::Cpu => host,
        Device::Discrete { free, tasks, .. } => free / (*tasks).max(1) as u64,
        Device::Shared { cap, .. } => host.min(cap.unwrap_or(u64::MAX)),
    };
    let hbm_why = match around.device {
        Device::Discrete { free, tasks: tasks @ 2.., .. } => {
            Some(format!("{} free / {tasks} tasks on this device", show_bytes(*free)))
        }
        _ => None,
    };
    // On a small machine the engine gets half.
    let kept = if around.in_client { CLIENT.min(free / 2) } else { 0 };
    let pool = (!matches!(around.device, Device::Discrete { .. })).then(|| host - kept.min(host));
    Ok(Shares {
        node,
        host: host - pool.map_or(0, |_| kept.min(host)),
        host_why,
        hbm: free - kept,
        hbm_why,
        pool,
        kept,
    })
}

/// Nodes that may give host memory to this process.
fn choices(topology: &Topology) -> Vec<usize> {
    let allowed = |id: &usize| topology.allowed_nodes.is_empty() || topology.allowed_nodes.contains(id);
    topology.host_nodes().map(|n| n.id).filter(allowed).collect()
}

/// Those of them on whose cores this process runs.
fn near(topology: &Topology, choices: &[usize]) -> Vec<usize> {
    let runs =
        |id: &&usize| topology.node(**id).is_some_and(|n| n.cpus.iter().any(|c| topology.allowed_cpus.contains(c)));
    let near: Vec<usize> = choices.iter().filter(runs).copied().collect();
    if near.is_empty() {
        choices.to_vec()
    } else {
        near
    }
}

fn node(layers: &[Layer], around: &Surroundings) -> Result<Setting<Option<usize>>, PolicyError> {
    let topology = around.topology;
    let choices = choices(topology);
    if let Some(asked) = layers.iter().find_map(|l| l.numa_node.clone()) {
        let why = match topology.node(asked.value) {
            None => "does not exist",
            Some(n) if !n.is_host() => "has no cores: it is a device's memory, not the host's",
            Some(_) if !choices.contains(&asked.value) => "is not allowed to this process (Mems_allowed)",
            Some(_) => return Ok(Setting::new(Some(asked.value), asked.origin)),
        };
        return Err(PolicyError::Node { origin: asked.origin, node: asked.value, why: why.into(), choices });
    }
    let near = near(topology, &choices);
    let own = match around.device {
        Device::Cpu if near.len() > 1 => return Ok(Setting::automatic(None)),
        Device::Cpu => None,
        Device::Discrete { node, .. } | Device::Shared { node, .. } => node.filter(|n| choices.contains(n)),
    };
    Ok(Setting::automatic(own.or(near.first().copied())))
}

/// Free and reclaimable memory, of all that share it.
struct Free {
    bytes: u64,
    /// Nodes that it is on.
    used: Vec<usize>,
    /// Tasks of the job on them.
    here: usize,
}

fn free(topology: &Topology, node: Option<usize>) -> Free {
    let choices = choices(topology);
    let used = node.map_or_else(|| near(topology, &choices), |n| vec![n]);
    let sum: u64 = used.iter().filter_map(|&n| topology.node(n)).map(|n| n.available()).sum();
    let bytes = if topology.memory.available > 0 { sum.min(topology.memory.available) } else { sum };
    let tasks = topology.tasks.value.max(1);
    // Tasks that are each kept on one node share it with fewer than all; without binding they may all meet on one.
    let bound = node
        .and_then(|n| topology.node(n))
        .is_some_and(|n| !topology.allowed_cpus.is_empty() && topology.allowed_cpus.iter().all(|c| n.cpus.contains(c)));
    Free { bytes, used, here: if bound { tasks.div_ceil(choices.len().max(1)) } else { tasks } }
}

/// Bytes and their story.
fn host(topology: &Topology, node: Option<usize>) -> (u64, String) {
    let Free { bytes: free, used, here } = free(topology, node);
    let mut share = free / here as u64;
    let place = match node {
        Some(n) => format!("node {n}"),
        None => format!("nodes {used:?}"),
    };
    let mut why = format!("{} free or reclaimable on {place}", show_bytes(free));
    if here > 1 {
        why += &format!(", divided by {here} tasks ({})", topology.tasks.origin);
    }
    if let Some(left) = topology.cgroup.left().map(|l| l / topology.tasks.value.max(1) as u64).filter(|&l| l < share) {
        why += &format!(", capped at {} by the cgroup", show_bytes(left));
        share = left;
    }
    (share, why)
}
