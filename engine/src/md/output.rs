//! What a run writes while it goes: files that only grow, by whole records, and that can be cut back to where a restart file says.

use super::simulation::Sample;
use crate::structure::{ExtxyzWriter, Structure, StructureError, TrajectoryWriter, XtcWriter};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why an output could not be written or continued.
#[derive(Debug, Error)]
pub enum OutputError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}{}", advice(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An output lost data that the restart file counts on.
    #[error("{path} has {found} bytes, but the restart file says {expected}: it was changed or cut after the run stopped; bring it back, or start a new run")]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Bytes it should have at least.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// The run writes other files than the one that made the restart file.
    #[error("the restart file belongs to a run that wrote {before}, this one writes {now}: keep output.prefix and output.trajectory_format when resuming")]
    OtherFiles {
        /// Names then.
        before: String,
        /// Names now.
        now: String,
    },
    /// A frame could not be put into the trajectory's format.
    #[error(transparent)]
    Frame(StructureError),
}

/// What helps when a write failed.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            " (everything written before is kept; make room, then continue with --resume)"
        }
        _ => "",
    }
}

impl OutputError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        OutputError::Io { action, path: path.to_path_buf(), source }
    }
}

/// A file that grows by whole records.
#[derive(Debug)]
pub struct AppendFile {
    path: PathBuf,
    file: File,
    position: u64,
}

impl AppendFile {
    /// Opens `path` cut to `keep` bytes; 0 makes a new file.
    ///
    /// # Errors
    /// [`OutputError::Io`], [`OutputError::TooShort`] when the file has fewer bytes.
    pub fn open(path: &Path, keep: u64) -> Result<Self, OutputError> {
        let error = |source| OutputError::io("open", path, source);
        let mut file =
            OpenOptions::new().write(true).create(keep == 0).truncate(keep == 0).open(path).map_err(error)?;
        if keep > 0 {
            let found = file.metadata().map_err(error)?.len();
            if found < keep {
                return Err(OutputError::TooShort { path: path.to_path_buf(), expected: keep, found });
            }
            file.set_len(keep).map_err(error)?;
            file.seek(SeekFrom::Start(keep)).map_err(error)?;
        }
        Ok(AppendFile { path: path.to_path_buf(), file, position: keep })
    }

    /// Appends a record whole, or not at all: after a failed write (a full disk) the file is cut back to the records before.
    ///
    /// # Errors
    /// [`OutputError::Io`].
    pub fn append(&mut self, record: &[u8]) -> Result<(), OutputError> {
        if let Err(source) = self.file.write_all(record) {
            // Cutting needs no room. If even that fails, the write's own error is the one to tell; --resume cuts the file again.
            let _ = self.file.set_len(self.position);
            let _ = self.file.seek(SeekFrom::Start(self.position));
            return Err(OutputError::io("write", &self.path, source));
        }
        self.position += record.len() as u64;
        Ok(())
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// [`OutputError::Io`].
    pub fn sync(&mut self) -> Result<(), OutputError> {
        self.file.sync_data().or_else(ignore_unsupported).map_err(|source| OutputError::io("write", &self.path, source))
    }

    /// Bytes written.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Pipes and devices cannot be synchronised, which is no error.
fn ignore_unsupported(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => Ok(()),
        _ => Err(error),
    }
}

/// The energy log: CSV, one line a sample.
#[derive(Debug)]
pub struct EnergyLog(AppendFile);

impl EnergyLog {
    /// The first line.
    pub const HEADER: &'static str = "step,time_ps,potential_eV,kinetic_eV,conserved_eV,temperature_K,pressure_bar\n";

    /// Opens the log cut to `keep` bytes.
    ///
    /// # Errors
    /// As [`AppendFile::open`].
    pub fn open(path: &Path, keep: u64) -> Result<Self, OutputError> {
        AppendFile::open(path, keep).map(EnergyLog)
    }

    /// Appends a line (and the header before the first).
    ///
    /// # Errors
    /// As [`AppendFile::append`].
    pub fn write(&mut self, sample: &Sample) -> Result<(), OutputError> {
        let mut line = if self.0.position() == 0 { Self::HEADER.to_string() } else { String::new() };
        let Sample { step, time, potential, kinetic, conserved, temperature, pressure } = sample;
        line += &format!("{step},{time:.6},{potential:.9},{kinetic:.9},{conserved:.9},{temperature:.4},");
        if let Some(pressure) = pressure {
            line += &format!("{pressure:.3}");
        }
        line.push('\n');
        self.0.append(line.as_bytes())
    }
}

/// Format of a trajectory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrajectoryFormat {
    /// Extended XYZ: positions, velocities, forces, energy, all digits.
    Extxyz,
    /// GROMACS xtc: positions, rounded.
    Xtc,
}

/// A trajectory file: frames one after another.
pub struct FrameFile {
    path: PathBuf,
    writer: Box<dyn TrajectoryWriter>,
}

impl FrameFile {
    /// Opens the trajectory cut to `keep` bytes; 0 makes a new file.
    ///
    /// # Errors
    /// As [`AppendFile::open`].
    pub fn open(path: &Path, format: TrajectoryFormat, keep: u64) -> Result<Self, OutputError> {
        let error = |source| trajectory_error("open", path, source);
        if keep == 0 {
            let writer: Box<dyn TrajectoryWriter> = match format {
                TrajectoryFormat::Extxyz => Box::new(ExtxyzWriter::create(path).map_err(error)?),
                TrajectoryFormat::Xtc => Box::new(XtcWriter::create(path).map_err(error)?),
            };
            return Ok(FrameFile { path: path.to_path_buf(), writer });
        }
        let found = std::fs::metadata(path).map_err(|e| OutputError::io("open", path, e))?.len();
        if found < keep {
            return Err(OutputError::TooShort { path: path.to_path_buf(), expected: keep, found });
        }
        let mut writer: Box<dyn TrajectoryWriter> = match format {
            TrajectoryFormat::Extxyz => Box::new(ExtxyzWriter::append(path).map_err(error)?),
            TrajectoryFormat::Xtc => Box::new(XtcWriter::append(path).map_err(error)?),
        };
        writer.truncate_to(keep).map_err(error)?;
        Ok(FrameFile { path: path.to_path_buf(), writer })
    }

    /// Appends a frame, whole or not at all.
    ///
    /// # Errors
    /// [`OutputError::Frame`], [`OutputError::Io`].
    pub fn write(&mut self, frame: &Structure) -> Result<(), OutputError> {
        self.writer.write_frame(frame).map_err(|e| trajectory_error("write", &self.path, e))
    }
}

fn trajectory_error(action: &'static str, path: &Path, error: StructureError) -> OutputError {
    match error {
        StructureError::Io { source, .. } => OutputError::io(action, path, source),
        other => OutputError::Frame(other),
    }
}

/// Everything a run writes besides the restart file.
pub struct Outputs {
    /// Energy log.
    pub energies: EnergyLog,
    /// Trajectories; every frame goes to each.
    pub trajectories: Vec<FrameFile>,
}

impl Outputs {
    /// Synchronises all files and gives name and length of each, for the restart file.
    ///
    /// # Errors
    /// [`OutputError::Io`].
    pub fn sync(&mut self) -> Result<Vec<(String, u64)>, OutputError> {
        let log = &mut self.energies.0;
        log.sync()?;
        let mut lengths = vec![(name(log.path()), log.position())];
        for t in &mut self.trajectories {
            t.writer.sync().map_err(|e| trajectory_error("write", &t.path, e))?;
            lengths.push((name(&t.path), t.writer.position()));
        }
        Ok(lengths)
    }
}

/// File name of a path, as the restart file keeps it (folders may be moved between runs).
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Lengths to keep of the files `paths`, from what a restart file says about them.
///
/// # Errors
/// [`OutputError::OtherFiles`] when the names differ.
pub fn lengths(paths: &[PathBuf], saved: &[(String, u64)]) -> Result<Vec<u64>, OutputError> {
    let now: Vec<String> = paths.iter().map(|p| name(p)).collect();
    if now.len() != saved.len() || now.iter().zip(saved).any(|(n, (s, _))| n != s) {
        let before = saved.iter().map(|(s, _)| s.as_str()).collect::<Vec<_>>().join(", ");
        return Err(OutputError::OtherFiles { before, now: now.join(", ") });
    }
    Ok(saved.iter().map(|(_, bytes)| *bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_a_clear_error() {
        if !Path::new("/dev/full").exists() {
            eprintln!("skipped: no /dev/full here");
            return;
        }
        let mut file = AppendFile::open(Path::new("/dev/full"), 0).unwrap();
        let message = file.append(b"record").unwrap_err().to_string();
        assert!(message.contains("/dev/full") && message.contains("--resume"), "{message}");
        assert_eq!(file.position(), 0);
    }

    #[test]
    fn a_file_is_cut_to_the_length_of_the_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = AppendFile::open(&path, 0).unwrap();
        file.append(b"first").unwrap();
        let keep = file.position();
        file.append(b"later").unwrap();
        drop(file);
        let mut again = AppendFile::open(&path, keep).unwrap();
        again.append(b"!").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first!");
    }

    #[test]
    fn an_output_shorter_than_the_restart_says_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, b"abc").unwrap();
        let message = AppendFile::open(&path, 4).unwrap_err().to_string();
        assert!(message.contains("3 bytes") && message.contains('4'), "{message}");
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert!(AppendFile::open(&folder.path().join("gone"), 4).is_err());
    }

    #[test]
    fn outputs_of_another_name_are_refused() {
        let saved = [("a.csv".to_string(), 5)];
        assert_eq!(lengths(&["x/a.csv".into()], &saved).unwrap(), [5]);
        assert!(lengths(&["x/b.csv".into()], &saved).unwrap_err().to_string().contains("b.csv"));
    }
}
