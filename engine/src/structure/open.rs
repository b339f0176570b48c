//! Opening a structure file: format, frames, and the checks every frame passes.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor};
use std::iter::once;
use std::path::{Path, PathBuf};

use super::adopt::Atoms;
use super::check::check;
use super::elements::Elements;
use super::error::StructureError;
use super::format::Format;
use super::lammps::elements_of_types;
use super::lines::{Input, Lines};
use super::read_deepmd::DeepmdFrames;
use super::read_extxyz::ExtxyzFrames;
use super::read_gro::GroFrames;
use super::read_lammps_data::read_lammps_data;
use super::read_lammps_dump::DumpFrames;
use super::read_pdb::PdbFrames;
use super::read_poscar::read_poscar;
use super::read_trr::TrrFrames;
use super::read_xtc::XtcFrames;
use super::select::Selection;
use super::xdr::Xdr;
use super::Structure;

/// Frames of a file, in order. After an error there are no more frames.
pub type Frames = Box<dyn Iterator<Item = Result<Structure, StructureError>> + Send>;

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
    /// Elements of numbered types (`--types O,H`): 1, 2, ... in LAMMPS files and in XYZ files that LAMMPS wrote, 0, 1, ... in a
    /// DeePMD-kit system; of the counts in a POSCAR without symbols.
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
    let first = frames(path, options)?.next();
    first.unwrap_or_else(|| Err(no_frame(&path.display().to_string())))
}

/// All frames of a structure file, read one at a time: memory is that of one frame. Remarks repeat from frame to frame.
///
/// # Errors
/// Here those of opening; each frame has its own.
pub fn frames(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Frames, StructureError> {
    let path = path.as_ref();
    let name = path.display().to_string();
    if path.is_dir() {
        if !path.join("type.raw").is_file() {
            let what = "a folder without type.raw is no DeePMD-kit system".to_string();
            let advice = "give a file, or the folder that holds type.raw and set.*".to_string();
            return Err(StructureError::Needs { path: name, what, advice });
        }
        let raw = Box::new(DeepmdFrames::open(path, &options.types)?);
        return checked(raw, &name, options);
    }
    let file = File::open(path).map_err(|e| StructureError::io_path(path, e))?;
    let mut input = BufReader::with_capacity(1 << 16, file);
    let format = match options.format.or_else(|| Format::by_name(path)) {
        Some(format) => format,
        None => {
            let start = input.fill_buf().map_err(|e| StructureError::io_path(path, e))?;
            Format::by_content(&start[..start.len().min(1 << 14)]).ok_or_else(|| {
                let known: Vec<&str> = Format::ALL.iter().map(|f| f.name()).collect();
                StructureError::UnknownFormat { path: name.clone(), known: known.join(", ") }
            })?
        }
    };
    frames_from(Box::new(input), &name, format, options)
}

/// All frames in `bytes`, for tests and fuzzing.
///
/// # Errors
/// The first one of any frame.
pub fn read_bytes(format: Format, bytes: &[u8], options: &ReadOptions) -> Result<Vec<Structure>, StructureError> {
    // The frames own their input.
    frames_from(Box::new(Cursor::new(bytes.to_vec())), "bytes", format, options)?.collect()
}

fn no_frame(path: &str) -> StructureError {
    StructureError::Empty { path: path.to_string(), what: "no frame in the file".to_string() }
}

fn frames_from(input: Input, path: &str, format: Format, options: &ReadOptions) -> Result<Frames, StructureError> {
    let lines = |input| Lines::new(input, path);
    let atoms = || match options.structure {
        Some(structure) => Ok(Atoms::new(structure)),
        None => Err(StructureError::Needs {
            path: path.to_string(),
            what: format!("{} holds coordinates without atoms", format.name()),
            advice: "give a file that names them: --atoms FILE".to_string(),
        }),
    };
    let raw: Frames = match format {
        Format::Extxyz => {
            let types = elements_of_types(path, &options.types)?;
            Box::new(ExtxyzFrames::new(lines(input), types))
        }
        Format::Gro => Box::new(GroFrames::new(lines(input), Elements::new(path, options)?)),
        Format::Pdb => Box::new(PdbFrames::new(lines(input), Elements::new(path, options)?)),
        Format::Poscar => Box::new(once(read_poscar(lines(input), &options.types))),
        Format::LammpsData => Box::new(once(read_lammps_data(lines(input), &options.types))),
        Format::LammpsDump => {
            let types = elements_of_types(path, &options.types)?;
            Box::new(DumpFrames::new(lines(input), types, options.structure.map(Atoms::new)))
        }
        Format::Xtc => Box::new(XtcFrames::new(Xdr::new(input, path), atoms()?)),
        Format::Trr => Box::new(TrrFrames::new(Xdr::new(input, path), atoms()?)),
        Format::Deepmd => {
            return Err(StructureError::Needs {
                path: path.to_string(),
                what: "a DeePMD-kit system is a folder".to_string(),
                advice: "give the folder that holds type.raw".to_string(),
            })
        }
    };
    checked(raw, path, options)
}

fn checked(raw: Frames, path: &str, options: &ReadOptions) -> Result<Frames, StructureError> {
    // The atoms of a trajectory are selected in the structure beside it.
    let selection = Selection::new(options)?;
    Ok(Box::new(Checked { raw, selection, path: path.to_string(), frame: 0, ended: false }))
}

/// Applies the checks and the selection to every frame and stops after the first error.
struct Checked {
    raw: Frames,
    selection: Option<Selection>,
    path: String,
    frame: u64,
    ended: bool,
}

impl Iterator for Checked {
    type Item = Result<Structure, StructureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.frame += 1;
        let Some(frame) = self.raw.next() else {
            // A file without any frame is an error once; the end after a frame is the end.
            self.ended = true;
            return (self.frame == 1).then(|| Err(no_frame(&self.path)));
        };
        let frame = frame.and_then(|mut s| {
            if s.file_atoms == 0 {
                s.file_atoms = s.len();
            }
            check(&s, &self.path, self.frame)?;
            match &self.selection {
                Some(selection) => selection.apply(s),
                None => Ok(s),
            }
        });
        self.ended = frame.is_err();
        Some(frame)
    }
}
