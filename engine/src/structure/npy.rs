//! Rows of a NumPy `.npy` array, read one at a time.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::error::StructureError;

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    F4,
    F8,
    I4,
    I8,
}

/// A two-dimensional array (one-dimensional ones have rows of one number) being read row by row.
pub(crate) struct Npy<R: Read> {
    input: R,
    path: String,
    kind: Kind,
    big_endian: bool,
    /// Rows and numbers in a row.
    pub(crate) shape: [u64; 2],
    row: Vec<u8>,
}

impl Npy<BufReader<File>> {
    /// Opens a file and checks its length against its header.
    pub(crate) fn open(path: &Path) -> Result<Self, StructureError> {
        let file = File::open(path).map_err(|e| StructureError::io_path(path, e))?;
        let length = file.metadata().map_err(|e| StructureError::io_path(path, e))?.len();
        let (npy, header) = Npy::new(BufReader::new(file), &path.display().to_string())?;
        let data = u128::from(npy.shape[0]) * u128::from(npy.shape[1]) * npy.size() as u128;
        if u128::from(length) < u128::from(header) + data {
            return Err(StructureError::Truncated {
                path: npy.path.clone(),
                frame: (length.saturating_sub(header)) / (npy.shape[1].max(1).saturating_mul(npy.size() as u64)) + 1,
                expected: format!("{} rows of {} numbers", npy.shape[0], npy.shape[1]),
            });
        }
        Ok(npy)
    }
}

impl<R: Read> Npy<R> {
    /// Reads the header; the second result is its length in bytes.
    pub(crate) fn new(mut input: R, path: &str) -> Result<(Self, u64), StructureError> {
        let bad = |expected: &str, found: String| StructureError::Content {
            path: path.to_string(),
            frame: 1,
            expected: expected.to_string(),
            found,
        };
        let mut start = [0; 8];
        let short = |_| bad("a NumPy header", "the end of the file".to_string());
        input.read_exact(&mut start).map_err(short)?;
        if &start[..6] != b"\x93NUMPY" {
            return Err(bad("a NumPy .npy file", "something else".to_string()));
        }
        let (length, before) = if start[6] == 1 {
            let mut n = [0; 2];
            input.read_exact(&mut n).map_err(short)?;
            (u64::from(u16::from_le_bytes(n)), 10)
        } else {
            let mut n = [0; 4];
            input.read_exact(&mut n).map_err(short)?;
            (u64::from(u32::from_le_bytes(n)), 12)
        };
        if length > 1 << 16 {
            return Err(bad("a NumPy header of at most 65536 bytes", length.to_string()));
        }
        let mut text = vec![0; length as usize];
        input.read_exact(&mut text).map_err(short)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let descr = value(&text, "descr").unwrap_or("").trim_matches(['\'', '"']);
        let kind = match descr.get(1..) {
            Some("f4") => Kind::F4,
            Some("f8") => Kind::F8,
            Some("i4") => Kind::I4,
            Some("i8") => Kind::I8,
            _ => return Err(bad("numbers of type f4, f8, i4 or i8", format!("descr {descr}"))),
        };
        let shape: Option<Vec<u64>> = value(&text, "shape").and_then(|s| {
            s.trim_matches(['(', ')'])
                .split(',')
                .map(str::trim)
                .filter(|n| !n.is_empty())
                .map(|n| n.parse().ok())
                .collect()
        });
        let Some((rows, rest)) = shape.as_deref().and_then(<[u64]>::split_first) else {
            return Err(bad("a shape of one or more dimensions", text.trim().to_string()));
        };
        let columns = rest.iter().try_fold(1u64, |product, n| product.checked_mul(*n));
        let columns =
            columns.filter(|c| *c <= 1 << 36).ok_or_else(|| bad("a row that fits memory", text.trim().to_string()))?;
        if value(&text, "fortran_order") == Some("True") && *rows > 1 && columns > 1 {
            return Err(bad("row-major order (np.ascontiguousarray)", "fortran_order True".to_string()));
        }
        let npy = Self {
            input,
            path: path.to_string(),
            kind,
            big_endian: descr.starts_with('>'),
            shape: [*rows, columns],
            row: Vec::new(),
        };
        Ok((npy, before + length))
    }

    fn size(&self) -> usize {
        if matches!(self.kind, Kind::F4 | Kind::I4) {
            4
        } else {
            8
        }
    }

    /// The next row, `row` counting from 0 for the error message.
    pub(crate) fn next_row(&mut self, row: u64) -> Result<Vec<f64>, StructureError> {
        let bytes = self.shape[1] * self.size() as u64;
        self.row.clear();
        let found = (&mut self.input).take(bytes).read_to_end(&mut self.row);
        let found = found.map_err(|e| StructureError::io(&self.path, e))?;
        if (found as u64) < bytes {
            return Err(StructureError::Truncated {
                path: self.path.clone(),
                frame: row + 1,
                expected: format!("{} numbers", self.shape[1]),
            });
        }
        Ok(self.row.chunks_exact(self.size()).map(|chunk| number(chunk, self.kind, self.big_endian)).collect())
    }
}

fn number(chunk: &[u8], kind: Kind, big_endian: bool) -> f64 {
    let mut bytes = [0u8; 8];
    let n = chunk.len();
    bytes[..n].copy_from_slice(chunk);
    if big_endian {
        bytes[..n].reverse();
    }
    let four = [bytes[0], bytes[1], bytes[2], bytes[3]];
    match kind {
        Kind::F4 => f32::from_le_bytes(four).into(),
        Kind::F8 => f64::from_le_bytes(bytes),
        Kind::I4 => i32::from_le_bytes(four).into(),
        Kind::I8 => i64::from_le_bytes(bytes) as f64,
    }
}

/// The text of one entry of the header's dictionary: up to the comma outside parentheses.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let start = header.find(&format!("'{key}'"))? + key.len() + 2;
    let rest = header[start..].trim_start().strip_prefix(':')?.trim_start();
    let mut depth = 0;
    let end = rest.find(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        (c == ',' && depth == 0) || c == '}'
    });
    Some(rest[..end.unwrap_or(rest.len())].trim())
}
