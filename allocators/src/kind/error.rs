//! Why memory could not be had or reached.

use super::{show_bytes, Tier};
use crate::faults::Injected;
use std::io;
use std::path::PathBuf;

/// Why a kind gave no region, or a region no bytes. Every variant names the option that helps.
#[derive(Debug, thiserror::Error)]
pub enum AllocError {
    /// The budget of the tier, or the pool that it shares, is spent.
    #[error("{name}: {} needed, {} left of {}: raise {option}", show_bytes(*need), show_bytes(*have), show_bytes(*capacity))]
    Budget {
        /// Ledger that ran out.
        name: String,
        /// Asked for, bytes.
        need: u64,
        /// Left, bytes.
        have: u64,
        /// Whole budget, bytes.
        capacity: u64,
        /// What sets it.
        option: &'static str,
    },
    /// The kernel has no memory.
    #[error("{tier}: the system gave no {}: {source}; lower {} to what is free", show_bytes(*bytes), tier.option())]
    Memory {
        /// Tier asked.
        tier: Tier,
        /// Asked for, bytes.
        bytes: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not lock this much.
    #[error(
        "pinned: {} could not be locked ({source}); the limit is {}: raise it with `ulimit -l`, or use system instead of pinned in WEIR_PLACEMENT",
        show_bytes(*bytes), limit.map_or("unknown".to_string(), show_bytes)
    )]
    Lock {
        /// Asked for, bytes.
        bytes: u64,
        /// What may be locked, bytes.
        limit: Option<u64>,
        /// What the kernel said.
        source: io::Error,
    },
    /// Memory cannot be bound to the node.
    #[error("{tier}: memory cannot be bound to NUMA node {node}: {source}; choose another with WEIR_NUMA_NODE")]
    Node {
        /// Tier asked.
        tier: Tier,
        /// Node asked for.
        node: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// The folder is memory, not disk.
    #[error(
        "file: {} is on {file_system}, which is memory, not disk: name a folder on a disk with WEIR_SCRATCH_DIR", folder.display()
    )]
    ScratchInMemory {
        /// Folder asked.
        folder: PathBuf,
        /// What it is.
        file_system: String,
    },
    /// The folder takes no scratch file.
    #[error("file: no scratch file in {}: {source}; name another folder with WEIR_SCRATCH_DIR", folder.display())]
    Scratch {
        /// Folder asked.
        folder: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The disk is full.
    #[error(
        "file: {} needed, {} free in {}: name a larger disk with WEIR_SCRATCH_DIR or lower WEIR_FILE_BUDGET",
        show_bytes(*need), show_bytes(*have), folder.display()
    )]
    DiskFull {
        /// Folder asked.
        folder: PathBuf,
        /// Asked for, bytes.
        need: u64,
        /// Free, bytes.
        have: u64,
    },
    /// This build or machine has no such kind.
    #[error("{tier} {why}: use {instead} in WEIR_PLACEMENT")]
    Unsupported {
        /// Tier asked.
        tier: Tier,
        /// What is missing.
        why: &'static str,
        /// What to use.
        instead: &'static str,
    },
    /// Reading or writing failed.
    #[error("{tier}: {} at offset {offset} could not be {action}: {source}; choose other tiers with WEIR_PLACEMENT", show_bytes(*bytes))]
    Transfer {
        /// Tier asked.
        tier: Tier,
        /// `read`, `written` or `tried`.
        action: &'static str,
        /// Where, bytes.
        offset: u64,
        /// How much, bytes.
        bytes: u64,
        /// What the file system said.
        source: io::Error,
    },
    /// Outside of a region, or off its granularity.
    #[error(
        "{tier}: {bytes} bytes at offset {offset} do not lie in a region of {length} bytes in steps of {granularity}"
    )]
    Range {
        /// Tier asked.
        tier: Tier,
        /// Where, bytes.
        offset: u64,
        /// How much, bytes.
        bytes: u64,
        /// Length of the region, bytes.
        length: u64,
        /// Step of offsets, bytes.
        granularity: u64,
    },
    /// A test asked for it.
    #[error(transparent)]
    Injected(#[from] Injected),
}
