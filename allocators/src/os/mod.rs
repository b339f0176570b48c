//! The system calls behind memory kinds (Linux): anonymous mappings, NUMA binding and affinity, scratch files, limits; and
//! locks of files, which are needed elsewhere.
//!
//! Everything unsafe that has to do with the kernel is in this folder, behind owning types.

mod file;
mod lock;
mod map;
mod numa;
mod usage;

pub(crate) use file::Scratch;
pub use file::{file_system, FileSystem};
pub use lock::{lacks_locks, try_lock};
pub(crate) use map::Mapping;
pub(crate) use numa::{allowed_cpus, pin_thread};
pub use usage::{faults_taken, locked_limit};

/// Length of the unit in which the kernel hands out memory, bytes (4 or 64 KiB).
pub fn page_bytes() -> usize {
    // SAFETY: sysconf reads a constant of the running kernel.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|b| b.is_power_of_two()).unwrap_or(4096)
}
