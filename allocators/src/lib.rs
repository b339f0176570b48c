//! Memory kinds (`hbm`, `managed`, `pinned`, `system`, `file`), arenas, copy streams, topology, placement policy and the
//! link table. Knows bytes and lifetimes, nothing of DPA3. Linux.
//!
//! ```
//! use weir_allocators::arena::{lay_out, Arena, Request};
//! use weir_allocators::faults::Faults;
//! use weir_allocators::kind::{Hbm, Kind, Ledger};
//!
//! // Three slots; the first and the last are never alive together and share bytes.
//! let request = |first, last| Request { bytes: 1 << 20, first, last };
//! let layout = lay_out(&[request(0, 1), request(0, 3), request(2, 3)], 64);
//! assert_eq!(layout.total, 2 << 20);
//!
//! // 64 MiB may be taken; the region is present when it is handed out, the slots are NaN until written.
//! let hbm = Hbm::new(Ledger::new("hbm", "WEIR_HBM_BUDGET", 64 << 20), Faults::none());
//! let arena = Arena::new(hbm.allocate(layout.total)?, layout, true)?;
//! assert_eq!((arena.slots(), hbm.used()), (3, 2 << 20));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod arena;
pub mod faults;
pub mod kept;
pub mod kind;
pub mod links;
mod os;
pub mod policy;
pub mod stream;
pub mod topology;

pub use os::{faults_taken, lacks_locks, page_bytes, try_lock};
