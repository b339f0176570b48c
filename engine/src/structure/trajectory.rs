//! Trajectory files written frame by frame, which a restarted run cuts back to the frame it restarts from.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::error::StructureError;
use super::write_extxyz::write_extxyz;
use super::write_xtc::{encode_xtc, XTC_PRECISION};
use super::Structure;

/// A trajectory being written. Every frame is complete in the file once `write_frame` returns (a frame that fails, say for a full
/// disk, is taken back), and on the disk once `sync` returns.
pub trait TrajectoryWriter: Send {
    /// Appends one frame.
    ///
    /// # Errors
    /// `Io` where the system refuses, `Unwritable` where the format cannot hold the frame; the file then ends with the frame before.
    fn write_frame(&mut self, frame: &Structure) -> Result<(), StructureError>;

    /// Waits until all frames are on the disk.
    ///
    /// # Errors
    /// `Io` where the system refuses.
    fn sync(&mut self) -> Result<(), StructureError>;

    /// Bytes of all frames: what a restart file keeps for `truncate_to`.
    fn position(&self) -> u64;

    /// Cuts the file to `position` bytes, a value that `position` gave after some frame.
    ///
    /// # Errors
    /// `Truncated` where the file is shorter, `Io` where the system refuses.
    fn truncate_to(&mut self, position: u64) -> Result<(), StructureError>;
}

/// A file that whole frames are appended to.
struct Appended {
    file: File,
    path: String,
    position: u64,
    frame: Vec<u8>,
}

impl Appended {
    fn create(path: &Path) -> Result<Self, StructureError> {
        let file = File::create(path).map_err(|e| StructureError::io_path(path, e))?;
        Ok(Self { file, path: path.display().to_string(), position: 0, frame: Vec::new() })
    }

    fn append(path: &Path) -> Result<Self, StructureError> {
        let open = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            let position = file.seek(SeekFrom::End(0))?;
            Ok((file, position))
        };
        let (file, position) = open().map_err(|e| StructureError::io_path(path, e))?;
        Ok(Self { file, path: path.display().to_string(), position, frame: Vec::new() })
    }

    /// Appends `self.frame`, all of it or nothing.
    fn write(&mut self) -> Result<(), StructureError> {
        if let Err(e) = self.file.write_all(&self.frame) {
            // Taking back the piece that went out is all that can be done: the first error is the one to tell.
            let _ = self.cut(self.position);
            return Err(StructureError::io(&self.path, e));
        }
        self.position += self.frame.len() as u64;
        Ok(())
    }

    fn cut(&mut self, position: u64) -> io::Result<()> {
        self.file.set_len(position)?;
        self.file.seek(SeekFrom::Start(position)).map(|_| ())
    }

    fn sync(&mut self) -> Result<(), StructureError> {
        self.file.sync_data().map_err(|e| StructureError::io(&self.path, e))
    }

    fn truncate_to(&mut self, position: u64) -> Result<(), StructureError> {
        let length = self.file.metadata().map_err(|e| StructureError::io(&self.path, e))?.len();
        if length < position {
            return Err(StructureError::Truncated {
                path: self.path.clone(),
                frame: 0,
                expected: format!("at least {position} bytes, the length at the restart point (it has {length})"),
            });
        }
        self.cut(position).map_err(|e| StructureError::io(&self.path, e))?;
        self.position = position;
        Ok(())
    }
}

/// Extended XYZ with velocities (A/ps), forces (eV/A), energy, step and time, all digits.
pub struct ExtxyzWriter {
    out: Appended,
}

impl ExtxyzWriter {
    /// Begins a new file, replacing one that is there.
    ///
    /// # Errors
    /// `Io` where the system refuses.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, StructureError> {
        Ok(Self { out: Appended::create(path.as_ref())? })
    }

    /// Goes on at the end of a file (a new one where there is none).
    ///
    /// # Errors
    /// `Io` where the system refuses.
    pub fn append(path: impl AsRef<Path>) -> Result<Self, StructureError> {
        Ok(Self { out: Appended::append(path.as_ref())? })
    }
}

impl TrajectoryWriter for ExtxyzWriter {
    fn write_frame(&mut self, frame: &Structure) -> Result<(), StructureError> {
        self.out.frame.clear();
        write_extxyz(&mut self.out.frame, frame).map_err(|e| StructureError::io(&self.out.path, e))?;
        self.out.write()
    }

    fn sync(&mut self) -> Result<(), StructureError> {
        self.out.sync()
    }

    fn position(&self) -> u64 {
        self.out.position
    }

    fn truncate_to(&mut self, position: u64) -> Result<(), StructureError> {
        self.out.truncate_to(position)
    }
}

/// GROMACS xtc: positions, cell, step and time; positions rounded to 1 / precision nm.
pub struct XtcWriter {
    out: Appended,
    precision: f32,
}

impl XtcWriter {
    /// Begins a new file, replacing one that is there, at the usual precision of 1000 per nm (0.01 A).
    ///
    /// # Errors
    /// `Io` where the system refuses.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, StructureError> {
        Ok(Self { out: Appended::create(path.as_ref())?, precision: XTC_PRECISION })
    }

    /// Goes on at the end of a file (a new one where there is none).
    ///
    /// # Errors
    /// `Io` where the system refuses.
    pub fn append(path: impl AsRef<Path>) -> Result<Self, StructureError> {
        Ok(Self { out: Appended::append(path.as_ref())?, precision: XTC_PRECISION })
    }

    /// Sets the steps per nm that positions are rounded to.
    #[must_use]
    pub fn with_precision(mut self, precision: f32) -> Self {
        self.precision = precision;
        self
    }
}

impl TrajectoryWriter for XtcWriter {
    fn write_frame(&mut self, frame: &Structure) -> Result<(), StructureError> {
        self.out.frame.clear();
        encode_xtc(&mut self.out.frame, frame, self.precision, &self.out.path)?;
        self.out.write()
    }

    fn sync(&mut self) -> Result<(), StructureError> {
        self.out.sync()
    }

    fn position(&self) -> u64 {
        self.out.position
    }

    fn truncate_to(&mut self, position: u64) -> Result<(), StructureError> {
        self.out.truncate_to(position)
    }
}
