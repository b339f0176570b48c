//! `file`: a nameless scratch file whose blocks all exist before the first step.

use super::{AllocError, Facts, Kind, Ledger, Reach, Region, Tier};
use crate::faults::{Faults, Operation};
use crate::os::{file_system, Scratch};
use std::io;
use std::path::{Path, PathBuf};

/// Scratch files of one folder.
#[derive(Clone, Debug)]
pub struct File {
    ledger: Ledger,
    folder: PathBuf,
    warning: Option<String>,
    faults: Faults,
}

impl File {
    /// Scratch files in `folder`, which must be on a disk. Files never have a name there (or lose it at once), so two
    /// processes cannot meet and a killed one leaves nothing.
    ///
    /// # Errors
    /// The folder cannot be asked, or is memory.
    pub fn new(ledger: Ledger, folder: &Path, faults: Faults) -> Result<Self, AllocError> {
        let folder = folder.to_path_buf();
        let facts = file_system(&folder).map_err(|source| AllocError::Scratch { folder: folder.clone(), source })?;
        if facts.in_memory {
            return Err(AllocError::ScratchInMemory { folder, file_system: facts.name });
        }
        let warning = facts.network.then(|| {
            let place = folder.display();
            format!(
                "scratch folder {place} is on {}, reached over a network: a local disk in WEIR_SCRATCH_DIR is faster",
                facts.name
            )
        });
        Ok(File { ledger, folder, warning, faults })
    }

    /// What the user should know about the folder.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    fn disk_free(&self) -> Result<u64, AllocError> {
        let facts =
            file_system(&self.folder).map_err(|source| AllocError::Scratch { folder: self.folder.clone(), source })?;
        Ok(facts.free)
    }
}

impl Kind for File {
    fn tier(&self) -> Tier {
        Tier::File
    }

    fn facts(&self) -> Facts {
        let block = Scratch::BLOCK as u64;
        // Blocks are reserved, not written: 1.5 to 3.8 ms for 1 GiB on ext4, 22 November 2026.
        Facts { granularity: block, alignment: block, reach: Reach::Nobody, asynchronous: true, setup: 0.003 }
    }

    fn capacity(&self) -> u64 {
        self.ledger.left().min(self.disk_free().unwrap_or(0))
    }

    fn used(&self) -> u64 {
        self.ledger.used()
    }

    fn allocate(&self, bytes: u64) -> Result<Region, AllocError> {
        self.faults.check(Operation::Allocation)?;
        let folder = || self.folder.clone();
        let full = |have| AllocError::DiskFull { folder: folder(), need: bytes, have };
        let whole = bytes.max(1).checked_next_multiple_of(Scratch::BLOCK as u64).ok_or_else(|| full(0))?;
        let charge = self.ledger.take(whole)?;
        let have = self.disk_free()?;
        if whole > have {
            return Err(full(have));
        }
        self.faults.check(Operation::Touch)?;
        let scratch = Scratch::new(&self.folder, whole).map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => full(have),
            _ => AllocError::Scratch { folder: folder(), source },
        })?;
        Ok(Region::file(scratch, whole, charge, self.faults.clone()))
    }
}
