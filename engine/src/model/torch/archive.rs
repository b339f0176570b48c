//! The zip archives of torch: members by name, with sizes bounded by the length of the file.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use crate::model::error::ModelError;

/// First bytes of a zip file.
pub(crate) const SIGNATURE: &[u8; 4] = b"PK\x03\x04";

/// An open archive.
pub(crate) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    length: usize,
}

fn broken(problem: impl ToString) -> ModelError {
    ModelError::container("zip", problem)
}

impl<'a> Archive<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| broken(format!("{e} (is the file complete?)")))?;
        Ok(Self { zip, length: bytes.len() })
    }

    /// Names of the members that end so, in file order.
    pub fn ending(&self, suffix: &str) -> Vec<String> {
        self.zip.file_names().filter(|n| n.ends_with(suffix)).map(str::to_string).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// Stated length of a member.
    pub fn size(&mut self, name: &str) -> Option<u64> {
        self.zip.by_name(name).ok().map(|m| m.size())
    }

    /// Reads a member; one that is packed may grow to 16 times the file.
    pub fn read(&mut self, name: &str) -> Result<Vec<u8>, ModelError> {
        let limit = self.length.saturating_mul(16) as u64;
        let member = self.zip.by_name(name).map_err(|e| ModelError::entry(name, format!("cannot be read: {e}")))?;
        let size = member.size();
        if size > limit {
            return Err(ModelError::entry(name, format!("claims {size} bytes in a file of {}", self.length)));
        }
        let mut bytes = Vec::new();
        // Reading to the end also compares the checksum.
        let read = member.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|e| ModelError::entry(name, format!("cannot be read ({e}); the file is damaged or incomplete")))?;
        if bytes.len() as u64 != size {
            return Err(ModelError::entry(name, format!("expected {size} bytes, found {}", bytes.len())));
        }
        Ok(bytes)
    }

    /// The folder that holds `data.pkl`, with a final slash.
    pub fn folder(&self) -> Result<String, ModelError> {
        let found = self.ending("data.pkl").into_iter().find(|n| n == "data.pkl" || n.ends_with("/data.pkl"));
        let name = found.ok_or_else(|| ModelError::entry("data.pkl", "missing: this zip file is no torch archive"))?;
        Ok(name[..name.len() - "data.pkl".len()].to_string())
    }

    /// Refuses archives of machines with the other byte order.
    pub fn check_byte_order(&mut self, folder: &str) -> Result<(), ModelError> {
        let name = format!("{folder}byteorder");
        if !self.has(&name) {
            return Ok(());
        }
        match self.read(&name)?.trim_ascii() {
            b"little" => Ok(()),
            other => Err(ModelError::entry(
                name,
                format!("expected \"little\", found \"{}\"", String::from_utf8_lossy(other)),
            )),
        }
    }
}
