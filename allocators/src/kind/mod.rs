//! Kinds of memory: `hbm`, `managed`, `pinned`, `system`, `file`. One file per kind, one trait for all.
//!
//! A kind hands out [`Region`]s: large pieces, made once before the first step and held for the whole run. Every byte
//! of a region exists when it is handed out (pages touched, file blocks allocated), so that no step faults on memory and
//! a full disk is an error before any work. Kinds count what they gave in a [`Ledger`]; ledgers of tiers that share one
//! memory have a common parent.

mod allocate;
mod error;
mod file;
mod hbm;
mod ledger;
mod managed;
mod pinned;
mod region;
mod system;

pub use crate::os::{file_system, FileSystem};
pub use error::AllocError;
pub use file::File;
pub use hbm::Hbm;
pub use ledger::Ledger;
pub use managed::Managed;
pub use pinned::Pinned;
pub use region::Region;
pub(crate) use region::Staging;
pub use system::System;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Name of a kind of memory, fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Memory of the device; on the CPU an arena under a budget.
    Hbm,
    /// Migrated between device and host by the driver.
    Managed,
    /// Page-locked host memory.
    Pinned,
    /// Ordinary host memory on one node.
    System,
    /// A scratch file.
    File,
}

impl Tier {
    /// All of them, fastest first.
    pub const ALL: [Tier; 5] = [Tier::Hbm, Tier::Managed, Tier::Pinned, Tier::System, Tier::File];

    /// As written in `WEIR_PLACEMENT`.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Hbm => "hbm",
            Tier::Managed => "managed",
            Tier::Pinned => "pinned",
            Tier::System => "system",
            Tier::File => "file",
        }
    }

    /// The variable that sets how much of it may be used.
    pub fn option(self) -> &'static str {
        match self {
            Tier::Hbm => "WEIR_HBM_BUDGET",
            Tier::Managed | Tier::Pinned | Tier::System => "WEIR_HOST_BUDGET",
            Tier::File => "WEIR_FILE_BUDGET",
        }
    }

    /// Whether it takes host memory.
    pub fn is_host(self) -> bool {
        matches!(self, Tier::Managed | Tier::Pinned | Tier::System)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Tier::ALL.into_iter().find(|t| t.name() == text).ok_or_else(|| {
            let near = crate::policy::nearest(text, Tier::ALL.map(Tier::name));
            format!("\"{text}\" is not a tier; did you mean {near}? (hbm, managed, pinned, system, file)")
        })
    }
}

/// Who can compute on a region where it lies, without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The CPU.
    Host,
    /// A device.
    Device,
    /// Both.
    Both,
    /// Nobody: bytes must be copied out first.
    Nobody,
}

/// What a kind can do and what it costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Offsets of copies into and out of a region are multiples of this, bytes; what a copy writes ends at a multiple.
    pub granularity: u64,
    /// The address of a region is a multiple of this, bytes; for files, positions are.
    pub alignment: u64,
    /// Who reads it in place.
    pub reach: Reach,
    /// Copies by a device's copy engine overlap with computing.
    pub asynchronous: bool,
    /// Set-up cost before anything was measured, seconds per GiB. The link table has this machine's own figure.
    pub setup: f64,
}

/// A kind of memory.
pub trait Kind: Send + Sync {
    /// Its name.
    fn tier(&self) -> Tier;

    /// What it can do and what it costs.
    fn facts(&self) -> Facts;

    /// What [`Kind::allocate`] may still hand out now, bytes.
    fn capacity(&self) -> u64;

    /// What is handed out and not yet given back, bytes.
    fn used(&self) -> u64;

    /// Hands out a region of at least `bytes`, all of it present.
    ///
    /// # Errors
    /// No budget, no memory, no disk, no permission: [`AllocError`] says which and what would help. Nothing stays
    /// reserved.
    fn allocate(&self, bytes: u64) -> Result<Region, AllocError>;
}

/// Bytes for people: `1.50 GiB`.
pub fn show_bytes(bytes: u64) -> String {
    let (unit, size) = match bytes {
        0..=0x3ff => return format!("{bytes} B"),
        0x400..=0xf_ffff => ("KiB", 10),
        0x10_0000..=0x3fff_ffff => ("MiB", 20),
        0x4000_0000..=0xff_ffff_ffff => ("GiB", 30),
        _ => ("TiB", 40),
    };
    format!("{:.2} {unit}", bytes as f64 / (1u64 << size) as f64)
}
