//! Calls that fail on purpose.

use super::super::driver::DriverError;
use std::sync::atomic::{AtomicI64, Ordering};

/// Counts down to the call that fails; below 0 nothing is planned or it has happened.
#[derive(Debug)]
pub struct Faults {
    left: AtomicI64,
}

const NONE: i64 = i64::MAX;
const FIRED: i64 = -1;

impl Default for Faults {
    fn default() -> Self {
        Self { left: AtomicI64::new(NONE) }
    }
}

impl Faults {
    pub fn set(&self, call: Option<u64>) {
        let left = call.map_or(NONE, |n| i64::try_from(n).unwrap_or(NONE - 1));
        self.left.store(left, Ordering::SeqCst);
    }

    pub fn fired(&self) -> bool {
        self.left.load(Ordering::SeqCst) == FIRED
    }

    /// Whether this call is the one.
    pub fn now(&self) -> bool {
        let next = |left| match left {
            NONE | FIRED => None,
            left => Some(left - 1),
        };
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) == Ok(0)
    }

    /// For calls without an error of their own.
    pub fn call(&self, call: &'static str) -> Result<(), DriverError> {
        match self.now() {
            true => Err(super::call(call, "it fails on purpose")),
            false => Ok(()),
        }
    }
}
