//! NUMA nodes (`/sys/devices/system/node`).

use super::cores::parse_list;
use super::memory::{kibibytes, Memory};
use super::text;
use std::path::Path;

/// A NUMA node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Number.
    pub id: usize,
    /// Its cores; none on nodes that are a device's memory.
    pub cpus: Vec<usize>,
    /// All memory, bytes.
    pub total: u64,
    /// Unused, bytes.
    pub free: u64,
    /// Page cache and kernel caches that can be dropped, bytes.
    pub reclaimable: u64,
    /// Distance to each online node in the order of nodes, 10 = itself.
    pub distances: Vec<u32>,
}

impl Node {
    /// Whether this is host memory: it has memory and cores. Nodes without cores are a device's memory (HBM of GH200
    /// in NUMA mode) or far memory, and never count.
    pub fn is_host(&self) -> bool {
        !self.cpus.is_empty() && self.total > 0
    }

    /// Free and reclaimable, bytes.
    pub fn available(&self) -> u64 {
        (self.free + self.reclaimable).min(self.total)
    }
}

pub fn read(root: &Path, memory: &Memory) -> Vec<Node> {
    let folder = "sys/devices/system/node";
    let online = text(root, &format!("{folder}/online")).map(|t| parse_list(&t)).unwrap_or_default();
    let nodes: Vec<Node> = online.into_iter().filter_map(|id| node(root, &format!("{folder}/node{id}"), id)).collect();
    if !nodes.is_empty() {
        return nodes;
    }
    let cpus = text(root, "sys/devices/system/cpu/online").map(|t| parse_list(&t)).unwrap_or_default();
    let cpus = if cpus.is_empty() { super::cores::allowed(root, "Cpus_allowed_list") } else { cpus };
    let reclaimable = memory.available.saturating_sub(memory.free);
    vec![Node { id: 0, cpus, total: memory.total, free: memory.free, reclaimable, distances: vec![10] }]
}

fn node(root: &Path, folder: &str, id: usize) -> Option<Node> {
    let table = text(root, &format!("{folder}/meminfo"))?;
    let value = |key: &str| kibibytes(&table, key).unwrap_or(0);
    // Active and inactive file pages, not FilePages: those also count shared memory, which cannot be dropped.
    let reclaimable = value("Active(file)") + value("Inactive(file)") + value("SReclaimable");
    Some(Node {
        id,
        cpus: text(root, &format!("{folder}/cpulist")).map(|t| parse_list(&t)).unwrap_or_default(),
        total: value("MemTotal"),
        free: value("MemFree"),
        reclaimable,
        distances: text(root, &format!("{folder}/distance"))
            .map(|t| t.split_whitespace().filter_map(|w| w.parse().ok()).collect())
            .unwrap_or_default(),
    })
}
