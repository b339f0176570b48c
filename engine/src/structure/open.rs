//! Opening a structure file: format, frames, and the checks every frame passes.

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::{Path, PathBuf};

use super::check::check;
use super::error::StructureError;
use super::lines::{Input, Lines};
use super::read_extxyz::ExtxyzFrames;
use super::Structure;

/// Frames of a file, in order. After an error there are no more frames.
pub type Frames = Box<dyn Iterator<Item = Result<Structure, StructureError>> + Send>;

/// A structure format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Extended or plain XYZ.
    Extxyz,
}

impl Format {
    /// All formats.
    pub const ALL: &[Format] = &[Format::Extxyz];

    /// Name, as `--format` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Extxyz => "extxyz",
        }
    }
}

/// How to read. The default is right for files that carry elements.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions<'a> {
    /// The format, where name and content should not decide.
    pub format: Option<Format>,
    /// File that gives the element of atom names: lines `[residue] atom-name element` (`--elements`).
    pub elements: Option<PathBuf>,
    /// GROMACS topology (`.top`, `.itp`) that gives masses or atomic numbers (`--topology`).
    pub topology: Option<PathBuf>,
    /// Atoms to keep (`--select`).
    pub select: Option<String>,
    /// GROMACS index file whose groups `select` may name (`--index`).
    pub index: Option<PathBuf>,
    /// Elements of the LAMMPS types 1, 2, ... (`--types O,H`).
    pub types: Vec<String>,
    /// Atoms of trajectories that carry coordinates only (xtc, trr).
    pub structure: Option<&'a Structure>,
}

/// The first frame of a structure file.
///
/// # Errors
/// Everything in [`StructureError`]: unreadable or unknown files, frames no potential can be evaluated for.
pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Structure, StructureError> {
    let path = path.as_ref();
    match frames(path, options)?.next() {
        Some(frame) => frame,
        None => Err(no_frame(path)),
    }
}

/// All frames of a structure file, read one at a time: memory is that of one frame.
///
/// # Errors
/// Here those of opening; each frame has its own.
pub fn frames(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Frames, StructureError> {
    let path = path.as_ref();
    let format = options.format.unwrap_or(Format::Extxyz);
    let file = File::open(path).map_err(|e| StructureError::io_path(path, e))?;
    let input = BufReader::with_capacity(1 << 16, file);
    // Reading a folder fails only now.
    frames_from(Box::new(input), &path.display().to_string(), format, options)
}

/// All frames in `bytes`, for tests and fuzzing.
///
/// # Errors
/// The first one of any frame.
pub fn read_bytes(format: Format, bytes: &[u8], options: &ReadOptions) -> Result<Vec<Structure>, StructureError> {
    // The frames own their input.
    frames_from(Box::new(Cursor::new(bytes.to_vec())), "bytes", format, options)?.collect()
}

fn no_frame(path: &Path) -> StructureError {
    StructureError::Empty { path: path.display().to_string(), what: "no frame in the file".to_string() }
}

fn frames_from(input: Input, path: &str, format: Format, _options: &ReadOptions) -> Result<Frames, StructureError> {
    let raw: Frames = match format {
        Format::Extxyz => Box::new(ExtxyzFrames::new(Lines::new(input, path))),
    };
    Ok(Box::new(Checked { raw, path: path.to_string(), frame: 0, failed: false }))
}

/// Applies the checks to every frame and stops after the first error.
struct Checked {
    raw: Frames,
    path: String,
    frame: u64,
    failed: bool,
}

impl Iterator for Checked {
    type Item = Result<Structure, StructureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        self.frame += 1;
        let frame = self.raw.next()?.and_then(|mut s| {
            if s.file_atoms == 0 {
                s.file_atoms = s.len();
            }
            check(&s, &self.path, self.frame)?;
            Ok(s)
        });
        self.failed = frame.is_err();
        Some(frame)
    }
}
