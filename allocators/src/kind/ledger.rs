//! Who may take how much, and who has.

use super::AllocError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

#[derive(Debug)]
struct Account {
    name: String,
    option: &'static str,
    capacity: u64,
    used: AtomicU64,
    parent: Option<Ledger>,
}

/// A budget and what is taken from it. Clones share the account.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Account>);

impl Ledger {
    /// A budget of `capacity` bytes that `option` sets.
    pub fn new(name: impl Into<String>, option: &'static str, capacity: u64) -> Self {
        Ledger(Arc::new(Account { name: name.into(), option, capacity, used: AtomicU64::new(0), parent: None }))
    }

    /// A budget that also counts in `self`: tiers that share one memory.
    pub fn within(&self, name: impl Into<String>, option: &'static str, capacity: u64) -> Self {
        let (used, parent) = (AtomicU64::new(0), Some(self.clone()));
        Ledger(Arc::new(Account { name: name.into(), option, capacity, used, parent }))
    }

    /// Whole budget, bytes.
    pub fn capacity(&self) -> u64 {
        self.0.capacity
    }

    /// Taken, bytes.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Acquire)
    }

    /// Left here and in everything around it, bytes.
    pub fn left(&self) -> u64 {
        let own = self.0.capacity.saturating_sub(self.used());
        self.0.parent.as_ref().map_or(own, |p| own.min(p.left()))
    }

    /// Takes bytes until the charge is dropped.
    ///
    /// # Errors
    /// [`AllocError::Budget`] of the ledger that has too little.
    pub fn take(&self, bytes: u64) -> Result<Charge, AllocError> {
        let outer = self.0.parent.as_ref().map(|p| p.take(bytes)).transpose()?;
        let account = &self.0;
        let fits = |used: u64| used.checked_add(bytes).filter(|&u| u <= account.capacity);
        account.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).map_err(|used| AllocError::Budget {
            name: account.name.clone(),
            need: bytes,
            have: account.capacity.saturating_sub(used),
            capacity: account.capacity,
            option: account.option,
        })?;
        Ok(Charge { ledger: self.clone(), bytes, outer: outer.map(Box::new) })
    }
}

/// Bytes taken from a ledger; dropping gives them back.
#[derive(Debug)]
pub struct Charge {
    ledger: Ledger,
    bytes: u64,
    outer: Option<Box<Charge>>,
}

impl Charge {
    /// Gives back what is above so many bytes.
    pub fn shorten(&mut self, bytes: u64) {
        if bytes < self.bytes {
            if let Some(outer) = &mut self.outer {
                outer.shorten(bytes);
            }
            self.ledger.0.used.fetch_sub(self.bytes - bytes, Ordering::AcqRel);
            self.bytes = bytes;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.0.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
