//! Placement policy: what the user asked for, where from, and how many bytes of each tier that is.
//!
//! Settings come in layers ([`Layer`]): flags, environment, the file that `WEIR_CONFIG` names; the first that has a value
//! wins, else it is automatic. [`resolve`] turns them, the [`Topology`](crate::topology::Topology) and the device's free
//! memory into a [`Policy`]: a pure function, so that machines that are not there can be asked about.

mod budget;
mod error;
mod explain;
mod layer;
mod names;
mod read;
mod resolve;
mod shares;
mod values;

pub use budget::Budget;
pub use error::PolicyError;
pub use explain::Line;
pub use layer::{Layer, Setting};
pub use names::{nearest, Name, MODULES, NAMES};
pub use read::{read, read_process, Found};
pub use resolve::{asked_device, resolve, resolve_here, Policy, TierBudget};
pub use shares::{Device, Shares, Surroundings};
pub use values::{Backend, CheckpointRule, Inside, Placement, Precision, Simd, Store, Verify};
