//! Faults on purpose: the n-th allocation, touch, copy, file write or file read fails, so that tests can try every n.
//!
//! A [`Faults`] is handed to kinds and streams; there is no global switch.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A kind hands out a region.
    Allocation,
    /// The pages of a fresh region are brought in.
    Touch,
    /// A stream starts a copy.
    Copy,
    /// Bytes go to a scratch file.
    Write,
    /// Bytes come from a scratch file.
    Read,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 5] =
        [Operation::Allocation, Operation::Touch, Operation::Copy, Operation::Write, Operation::Read];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Operation::Allocation => "allocation",
            Operation::Touch => "touch",
            Operation::Copy => "copy",
            Operation::Write => "file write",
            Operation::Read => "file read",
        })
    }
}

/// A failure that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} number {number} was made to fail")]
pub struct Injected {
    /// What failed.
    pub operation: Operation,
    /// Which one, from 1.
    pub number: u64,
}

#[derive(Debug)]
struct Counters {
    seen: [AtomicU64; 5],
    fail: Option<(Operation, u64)>,
}

/// Counts operations and fails one of them. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Faults(Option<Arc<Counters>>);

impl Faults {
    /// Nothing is counted and nothing fails.
    pub fn none() -> Self {
        Faults(None)
    }

    /// Counts only.
    pub fn counting() -> Self {
        Faults(Some(Arc::new(Counters { seen: Default::default(), fail: None })))
    }

    /// Fails operation number `number` (from 1), and no other.
    pub fn fail(operation: Operation, number: u64) -> Self {
        Faults(Some(Arc::new(Counters { seen: Default::default(), fail: Some((operation, number)) })))
    }

    /// How many operations of this sort were tried.
    pub fn seen(&self, operation: Operation) -> u64 {
        self.0.as_ref().map_or(0, |c| c.seen[operation as usize].load(Ordering::Relaxed))
    }

    /// Counts one operation; to be asked before it is done.
    ///
    /// # Errors
    /// This is the one that was to fail.
    pub fn check(&self, operation: Operation) -> Result<(), Injected> {
        let Some(counters) = &self.0 else { return Ok(()) };
        let number = counters.seen[operation as usize].fetch_add(1, Ordering::Relaxed) + 1;
        if counters.fail == Some((operation, number)) {
            return Err(Injected { operation, number });
        }
        Ok(())
    }
}
