//! Memory of the machine and its pages.

use super::text;
use std::path::Path;

/// Memory of the whole machine, bytes (`/proc/meminfo`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// Unused.
    pub free: u64,
    /// What a new program can have without swapping; the kernel's estimate.
    pub available: u64,
}

/// When anonymous memory gets huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// Wherever they fit.
    Always,
    /// Where asked for, as kinds here do.
    Madvise,
    /// Nowhere.
    Never,
    /// The kernel has none.
    Absent,
}

pub fn machine(root: &Path) -> Memory {
    let table = text(root, "proc/meminfo").unwrap_or_default();
    let value = |key: &str| kibibytes(&table, key);
    let free = value("MemFree").unwrap_or(0);
    Memory { total: value("MemTotal").unwrap_or(0), free, available: value("MemAvailable").unwrap_or(free) }
}

/// The value of `Key:  123 kB`, bytes; the key may stand behind `Node 0`.
pub fn kibibytes(table: &str, key: &str) -> Option<u64> {
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|w| w.strip_suffix(':') != Some(key));
        words.next()?;
        words.next()?.parse::<u64>().ok()?.checked_mul(1024)
    })
}

pub fn huge_pages(root: &Path) -> (HugePages, Option<u64>) {
    let folder = "sys/kernel/mm/transparent_hugepage";
    let enabled = text(root, &format!("{folder}/enabled")).unwrap_or_default();
    let mode = if enabled.contains("[always]") {
        HugePages::Always
    } else if enabled.contains("[madvise]") {
        HugePages::Madvise
    } else if enabled.contains("[never]") {
        HugePages::Never
    } else {
        HugePages::Absent
    };
    (mode, text(root, &format!("{folder}/hpage_pmd_size")).and_then(|t| t.parse().ok()))
}
