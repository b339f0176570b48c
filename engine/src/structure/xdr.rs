//! XDR numbers (big-endian) of GROMACS trajectories, with errors that name frame and expectation.

use std::io::{ErrorKind, Read};

use super::error::StructureError;
use super::lines::Input;

/// A binary trajectory being read.
pub(crate) struct Xdr {
    input: Input,
    pub(crate) path: String,
    pub(crate) frame: u64,
}

impl Xdr {
    pub(crate) fn new(input: Input, path: &str) -> Self {
        Self { input, path: path.to_string(), frame: 1 }
    }

    /// The first number of a frame; `None` at the end of the file.
    pub(crate) fn begin(&mut self) -> Result<Option<i32>, StructureError> {
        let end = self.input.fill_buf().map_err(|e| StructureError::io(&self.path, e))?.is_empty();
        if end {
            Ok(None)
        } else {
            self.int("the magic number").map(Some)
        }
    }

    fn array<const N: usize>(&mut self, expected: &str) -> Result<[u8; N], StructureError> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => self.truncated(expected),
            _ => StructureError::io(&self.path, e),
        })?;
        Ok(bytes)
    }

    pub(crate) fn int(&mut self, expected: &str) -> Result<i32, StructureError> {
        self.array(expected).map(i32::from_be_bytes)
    }

    pub(crate) fn long(&mut self, expected: &str) -> Result<i64, StructureError> {
        self.array(expected).map(i64::from_be_bytes)
    }

    pub(crate) fn float(&mut self, expected: &str) -> Result<f64, StructureError> {
        self.array(expected).map(|b| f64::from(f32::from_be_bytes(b)))
    }

    pub(crate) fn double(&mut self, expected: &str) -> Result<f64, StructureError> {
        self.array(expected).map(f64::from_be_bytes)
    }

    /// `count` bytes; memory grows with the bytes that are there, not with `count`.
    pub(crate) fn bytes(&mut self, count: u64, expected: &str) -> Result<Vec<u8>, StructureError> {
        let mut bytes = Vec::new();
        let found =
            (&mut self.input).take(count).read_to_end(&mut bytes).map_err(|e| StructureError::io(&self.path, e))?;
        if (found as u64) < count {
            return Err(self.truncated(&format!("{expected} ({count} bytes)")));
        }
        Ok(bytes)
    }

    pub(crate) fn truncated(&self, expected: &str) -> StructureError {
        StructureError::Truncated { path: self.path.clone(), frame: self.frame, expected: expected.to_string() }
    }

    pub(crate) fn content(&self, expected: impl Into<String>, found: impl ToString) -> StructureError {
        StructureError::Content {
            path: self.path.clone(),
            frame: self.frame,
            expected: expected.into(),
            found: found.to_string(),
        }
    }
}

/// nm to A; a box of zeros means no periodicity.
pub(crate) fn cell_of_nm(v: [f64; 9]) -> Option<[[f64; 3]; 3]> {
    v.iter().any(|x| *x != 0.0).then(|| [0, 3, 6].map(|k| [v[k] * 10.0, v[k + 1] * 10.0, v[k + 2] * 10.0]))
}
