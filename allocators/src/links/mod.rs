//! The link table: how fast bytes move between tiers on this machine, measured in under two seconds and kept.

mod cache;
mod measure;

pub use cache::{load, obtain, store};
pub use measure::measure;

use crate::kind::{AllocError, Tier};
use crate::stream::StreamError;
use crate::topology::Topology;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What rates hold for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Device, such as `cpu` or a GPU's name.
    pub device: String,
    /// Driver, or the kernel where the CPU computes.
    pub driver: String,
    /// Processor, nodes, cores, pages.
    pub machine: String,
    /// Tiers in the table, and the scratch folder where one is a file.
    pub tiers: String,
}

impl Key {
    /// Key of a run on the CPU.
    pub fn cpu(topology: &Topology, tiers: &[Tier], scratch: Option<&std::path::Path>) -> Self {
        let names: Vec<&str> = tiers.iter().map(|t| t.name()).collect();
        let scratch = scratch.map(|s| format!(" at {}", s.display())).unwrap_or_default();
        Key {
            device: "cpu".into(),
            driver: topology.kernel.clone().unwrap_or_else(|| "unknown".into()),
            machine: topology.fingerprint(),
            tiers: format!("{}{scratch}", names.join(",")),
        }
    }
}

/// Between `hbm` and another tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The other tier.
    pub tier: Tier,
    /// From `hbm` to it, bytes/s.
    pub write: f64,
    /// From it to `hbm`, bytes/s.
    pub read: f64,
    /// From `hbm` to it while bytes go both ways, bytes/s.
    pub both_write: f64,
    /// From it to `hbm` while bytes go both ways, bytes/s.
    pub both_read: f64,
    /// Cost of a copy however short, from push to wait, s: out, in.
    pub latency: (f64, f64),
    /// Handing out a region with every page or block present, s/GiB.
    pub first_touch: f64,
    /// For files: whether they go past the page cache. If not, rates are the page cache's as much as the disk's.
    pub direct: Option<bool>,
}

/// Rates of a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkTable {
    /// What they hold for.
    pub key: Key,
    /// Copies within `hbm`, bytes/s (each byte read once and written once).
    pub hbm: f64,
    /// First touch of `hbm`, s/GiB.
    pub hbm_first_touch: f64,
    /// Between `hbm` and the other tiers.
    pub links: Vec<Link>,
    /// Time the measurement took, s.
    pub seconds: f64,
    /// When it was made, s since 1970.
    pub made: u64,
}

impl LinkTable {
    /// The link to a tier.
    pub fn link(&self, tier: Tier) -> Option<&Link> {
        self.links.iter().find(|l| l.tier == tier)
    }
}

/// Why there are no rates.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No memory to measure with.
    #[error("link table: {0}")]
    Region(#[from] AllocError),
    /// A copy failed.
    #[error("link table: {0}")]
    Copy(#[from] StreamError),
    /// The cache cannot be written.
    #[error("link table cannot be kept in {}: {source}; name another folder with WEIR_CACHE_DIR", folder.display())]
    Cache {
        /// Where.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
