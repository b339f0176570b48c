//! The restart file: the exact bits of a run's state, written by atomic replace.
//!
//! Layout (little-endian): `WEIRRST1`, u64 length of the header, the header (JSON: integers and text only), then f64 and u32 arrays
//! (exchanged energy; cell; positions; velocities; energy, virial, forces; order), then the SHA-256 of everything before. Outputs are synchronised
//! before the file is written, so the lengths it records are on the disk whenever it is.

use super::simulation::State;
use crate::graph::misplaced;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

const MAGIC: &[u8; 8] = b"WEIRRST1";
const DIGEST: usize = 32;

/// Why a restart file cannot be read, written or used.
#[derive(Debug, Error)]
pub enum RestartError {
    /// The operating system refused.
    #[error("cannot {action} the restart file {path}: {source}")]
    Io {
        /// Read or write.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Not a restart file, or a damaged one.
    #[error("{path} is not a readable restart file: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// The run differs from the one that wrote the file.
    #[error("the restart file {path} belongs to another run: {differences}; resume with the same settings, or start a new run from its last frame")]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// `key: was A, now B`, joined.
        differences: String,
    },
}

/// What a restart file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restart {
    /// The moving part.
    pub state: State,
    /// Rows are lattice vectors, A.
    pub cell: Option<[[f64; 3]; 3]>,
    /// The calculator's summation order (empty before the first force call).
    pub order: Vec<u32>,
    /// Name and length of each output.
    pub outputs: Vec<(String, u64)>,
    /// Settings that the bits of a run depend on: key, value.
    pub settings: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    weir: String,
    step: u64,
    atoms: usize,
    periodic: bool,
    computed: bool,
    order: usize,
    outputs: Vec<(String, u64)>,
    settings: Vec<(String, String)>,
}

impl Restart {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let state = &self.state;
        let header = Header {
            weir: env!("CARGO_PKG_VERSION").to_string(),
            step: state.step,
            atoms: state.positions.len(),
            periodic: self.cell.is_some(),
            computed: state.computed,
            order: self.order.len(),
            outputs: self.outputs.clone(),
            settings: self.settings.clone(),
        };
        let header = serde_json::to_vec(&header).expect("integers and text");
        let mut bytes = MAGIC.to_vec();
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        let mut put = |value: f64| bytes.extend(value.to_bits().to_le_bytes());
        put(state.exchanged);
        self.cell.iter().flatten().flatten().for_each(|v| put(*v));
        state.positions.iter().flatten().for_each(|v| put(*v));
        state.velocities.iter().flatten().for_each(|v| put(*v));
        if state.computed {
            put(state.energy);
            state.virial.iter().flatten().for_each(|v| put(*v));
            state.forces.iter().flatten().for_each(|v| put(*v));
        }
        self.order.iter().for_each(|i| bytes.extend(i.to_le_bytes()));
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        bytes
    }

    /// Reads the file's bytes.
    ///
    /// # Errors
    /// A sentence saying what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < MAGIC.len() + 8 + DIGEST || &bytes[..MAGIC.len()] != MAGIC {
            return Err(format!("it does not begin with {}", String::from_utf8_lossy(MAGIC)));
        }
        let (body, digest) = bytes.split_at(bytes.len() - DIGEST);
        if Sha256::digest(body).as_slice() != digest {
            return Err("its checksum does not fit its content (it was cut or changed)".to_string());
        }
        let mut rest = Rest(&body[MAGIC.len()..]);
        let length = u64::from_le_bytes(rest.take(8)?.try_into().expect("eight bytes"));
        let length = usize::try_from(length).map_err(|_| "its header is too long".to_string())?;
        let header: Header = serde_json::from_slice(rest.take(length)?).map_err(|e| format!("its header: {e}"))?;
        let n = header.atoms;
        let mut state =
            State { step: header.step, computed: header.computed, exchanged: rest.number()?, ..State::default() };
        let cell = if header.periodic { Some(rest.matrix()?) } else { None };
        state.positions = rest.vectors(n)?;
        state.velocities = rest.vectors(n)?;
        if header.computed {
            state.energy = rest.number()?;
            state.virial = rest.matrix()?;
            state.forces = rest.vectors(n)?;
        }
        let order = rest.indices(header.order, n)?;
        if !rest.0.is_empty() {
            return Err(format!("{} bytes too many", rest.0.len()));
        }
        Ok(Restart { state, cell, order, outputs: header.outputs, settings: header.settings })
    }

    /// Writes the file: to a temporary file beside it, synchronised, then renamed over it, so that a whole file is there at any moment.
    ///
    /// # Errors
    /// [`RestartError::Io`]; the previous file is then untouched.
    pub fn write(&self, path: &Path) -> Result<(), RestartError> {
        let mut name = path.as_os_str().to_os_string();
        name.push(".tmp");
        let temporary = PathBuf::from(name);
        let replace = || -> io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(&self.to_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            // The rename itself is durable once the folder is; file systems that cannot synchronise folders say so, which is no error.
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if let Ok(folder) = File::open(folder) {
                let _ = folder.sync_all();
            }
            Ok(())
        };
        replace().map_err(|source| {
            let _ = fs::remove_file(&temporary);
            RestartError::Io { action: "write", path: path.to_path_buf(), source }
        })
    }

    /// Reads a restart file.
    ///
    /// # Errors
    /// [`RestartError::Io`], [`RestartError::Damaged`].
    pub fn read(path: &Path) -> Result<Self, RestartError> {
        let bytes =
            fs::read(path).map_err(|source| RestartError::Io { action: "read", path: path.to_path_buf(), source })?;
        Self::from_bytes(&bytes).map_err(|problem| RestartError::Damaged { path: path.to_path_buf(), problem })
    }

    /// Checks that a run with these settings would go on as the one that wrote the file did.
    ///
    /// # Errors
    /// [`RestartError::OtherRun`] naming every key that differs.
    pub fn check(&self, path: &Path, settings: &[(String, String)]) -> Result<(), RestartError> {
        let find = |list: &[(String, String)], key: &str| {
            list.iter().find(|(k, _)| k == key).map_or("absent".to_string(), |(_, v)| v.clone())
        };
        let mut keys: Vec<&str> = self.settings.iter().chain(settings).map(|(k, _)| k.as_str()).collect();
        let mut seen = std::collections::HashSet::new();
        keys.retain(|k| seen.insert(*k));
        let differences: Vec<String> = keys
            .into_iter()
            .map(|key| (key, find(&self.settings, key), find(settings, key)))
            .filter(|(_, before, now)| before != now)
            .map(|(key, before, now)| format!("{key} was {before}, is now {now}"))
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(RestartError::OtherRun { path: path.to_path_buf(), differences: differences.join("; ") })
    }
}

/// A short name for a long value, for [`Restart::settings`].
pub fn fingerprint(text: &str) -> String {
    Sha256::digest(text.as_bytes())[..8].iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        if count > self.0.len() {
            return Err(format!("{count} bytes expected, {} left", self.0.len()));
        }
        let (head, tail) = self.0.split_at(count);
        self.0 = tail;
        Ok(head)
    }

    fn number(&mut self) -> Result<f64, String> {
        Ok(f64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }

    fn vector(&mut self) -> Result<[f64; 3], String> {
        Ok([self.number()?, self.number()?, self.number()?])
    }

    fn matrix(&mut self) -> Result<[[f64; 3]; 3], String> {
        Ok([self.vector()?, self.vector()?, self.vector()?])
    }

    fn vectors(&mut self, count: usize) -> Result<Vec<[f64; 3]>, String> {
        let mut part = Rest(self.take(count.checked_mul(24).ok_or("too many atoms")?)?);
        (0..count).map(|_| part.vector()).collect()
    }

    fn indices(&mut self, count: usize, atoms: usize) -> Result<Vec<u32>, String> {
        let bytes = self.take(count.checked_mul(4).ok_or("too many atoms")?)?;
        let order: Vec<u32> =
            bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
        match misplaced(&order, atoms) {
            Some(i) => Err(format!("index {i} of the summation order is out of range or comes twice")),
            None => Ok(order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Restart {
        let state = State {
            step: 1 << 40,
            positions: vec![[0.1, -0.0, 1e-310], [f64::MAX, 1.0 / 3.0, 5.0]],
            velocities: vec![[1.0, 2.0, 3.0], [-0.7, 1e300, 0.0]],
            exchanged: 0.1 + 0.2,
            computed: true,
            energy: -468.123456789,
            virial: [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]],
            forces: vec![[0.5; 3], [-0.5; 3]],
        };
        Restart {
            state,
            cell: Some([[10.0, 0.0, 0.0], [1.0, 9.0, 0.0], [0.0, 0.0, 8.5]]),
            order: vec![1, 0],
            outputs: vec![("a.csv".into(), 77)],
            settings: vec![("seed".into(), "1".into())],
        }
    }

    #[test]
    fn every_bit_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.restart");
        let restart = example();
        restart.write(&path).unwrap();
        let again = Restart::read(&path).unwrap();
        assert_eq!(restart, again);
        assert_eq!(restart.to_bytes(), again.to_bytes());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the temporary file is gone");
    }

    #[test]
    fn a_damaged_file_is_refused_wherever_it_is_damaged() {
        let bytes = example().to_bytes();
        for cut in [0, 7, 20, bytes.len() / 2, bytes.len() - 1] {
            assert!(Restart::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Restart::from_bytes(&changed).is_err(), "bit of byte {at}");
        }
    }

    #[test]
    fn a_lying_header_with_a_good_checksum_is_refused() {
        let forge = |header: &str| {
            let mut bytes = MAGIC.to_vec();
            bytes.extend((header.len() as u64).to_le_bytes());
            bytes.extend(header.as_bytes());
            let digest = Sha256::digest(&bytes);
            bytes.extend(digest);
            bytes
        };
        let header = r#"{"weir":"","step":0,"atoms":18446744073709551615,"periodic":false,"computed":true,"order":0,"outputs":[],"settings":[]}"#;
        assert!(Restart::from_bytes(&forge(header)).is_err());
        assert!(Restart::from_bytes(&forge("{}")).is_err());
    }

    #[test]
    fn a_run_with_other_settings_is_refused_by_name() {
        let restart = example();
        let same = vec![("seed".to_string(), "1".to_string())];
        assert!(restart.check(Path::new("r"), &same).is_ok());
        let other = vec![("seed".to_string(), "2".to_string())];
        let message = restart.check(Path::new("r"), &other).unwrap_err().to_string();
        assert!(message.contains("seed was 1, is now 2"), "{message}");
        assert!(restart.check(Path::new("r"), &[]).unwrap_err().to_string().contains("absent"));
    }

    #[test]
    fn a_failed_write_leaves_the_previous_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("run.restart");
        assert!(example().write(&path).is_err());
        let path = folder.path().join("run.restart");
        example().write(&path).unwrap();
        fs::create_dir(folder.path().join("run.restart.tmp")).unwrap();
        assert!(example().write(&path).is_err());
        assert_eq!(Restart::read(&path).unwrap(), example());
    }
}
