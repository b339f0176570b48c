//! Memory kinds (`hbm`, `managed`, `pinned`, `system`, `file`), arenas, copy streams, topology, placement policy and the
//! link table. Knows bytes and lifetimes, nothing of DPA3. Linux.

pub mod arena;
pub mod faults;
pub mod kind;
pub mod links;
mod os;
pub mod policy;
pub mod stream;
pub mod topology;

pub use os::{faults_taken, page_bytes};
