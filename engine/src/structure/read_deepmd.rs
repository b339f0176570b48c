//! DeePMD-kit systems: a folder with `type.raw`, `type_map.raw` and frames in `set.*/*.npy` or `*.raw`.
//!
//! Units are ours (A, eV, eV/A; virial = minus the strain derivative). A file `nopbc` says that there is no periodicity.
//! `real_atom_types.npy` (mixed types) gives the types of every frame; -1 there is a virtual atom.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::error::{shorten, StructureError};
use super::lines::{reals, Lines};
use super::npy::Npy;
use super::symbols::symbol;
use super::Structure;

/// One quantity of the frames: rows of an array or lines of a text file.
enum Rows {
    Npy(Box<Npy<BufReader<File>>>),
    Text(Box<Lines>),
}

impl Rows {
    /// `NAME.npy` or `NAME.raw` in a folder, where there is one.
    fn open(folder: &Path, name: &str) -> Result<Option<Self>, StructureError> {
        let npy = folder.join(format!("{name}.npy"));
        if npy.is_file() {
            return Ok(Some(Rows::Npy(Box::new(Npy::open(&npy)?))));
        }
        let raw = folder.join(format!("{name}.raw"));
        if raw.is_file() {
            let file = File::open(&raw).map_err(|e| StructureError::io_path(&raw, e))?;
            let lines = Lines::new(Box::new(BufReader::new(file)), &raw.display().to_string());
            return Ok(Some(Rows::Text(Box::new(lines))));
        }
        Ok(None)
    }

    /// Row number `row`; `None` at the end. Rows come in order.
    fn next(&mut self, row: u64) -> Result<Option<Vec<f64>>, StructureError> {
        match self {
            Rows::Npy(npy) if row >= npy.shape[0] => Ok(None),
            Rows::Npy(npy) => npy.next_row(row).map(Some),
            Rows::Text(lines) => {
                lines.frame = row + 1;
                match lines.next_filled()? {
                    None => Ok(None),
                    Some(text) => match reals(text) {
                        Some(v) => Ok(Some(v)),
                        None => Err(lines.syntax("a row of numbers")),
                    },
                }
            }
        }
    }
}

/// The quantities of one set.
struct Set {
    folder: PathBuf,
    coord: Rows,
    cell: Option<Rows>,
    energy: Option<Rows>,
    force: Option<Rows>,
    virial: Option<Rows>,
    fparam: Option<Rows>,
    aparam: Option<Rows>,
    charge_spin: Option<Rows>,
    types: Option<Rows>,
    row: u64,
}

pub(crate) struct DeepmdFrames {
    path: String,
    /// Element of each type.
    elements: Vec<&'static str>,
    /// Type of each atom.
    types: Vec<usize>,
    periodic: bool,
    /// Folders not yet begun, last one first.
    folders: Vec<PathBuf>,
    set: Option<Set>,
    frame: u64,
}

impl DeepmdFrames {
    /// Opens a system. `names` (from `--types`) replace `type_map.raw`.
    pub(crate) fn open(folder: &Path, names: &[String]) -> Result<Self, StructureError> {
        let path = folder.display().to_string();
        let words = |name: &str| -> Result<Option<Vec<String>>, StructureError> {
            let file = folder.join(name);
            match std::fs::read_to_string(&file) {
                Ok(text) => Ok(Some(text.split_whitespace().map(str::to_string).collect())),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(StructureError::io_path(&file, e)),
            }
        };
        let names = match (names, words("type_map.raw")?) {
            ([], Some(map)) => map,
            ([], None) => {
                return Err(StructureError::Needs {
                    path,
                    what: "the system has no type_map.raw".to_string(),
                    advice: "give the elements of its types with --types O,H".to_string(),
                })
            }
            (given, _) => given.to_vec(),
        };
        let content = |expected: &str, found: &str| StructureError::Content {
            path: path.clone(),
            frame: 1,
            expected: expected.to_string(),
            found: found.to_string(),
        };
        let element = |name: &String| {
            symbol(name).ok_or_else(|| content("element symbols in type_map.raw (or in --types)", &shorten(name)))
        };
        let elements: Vec<&'static str> = names.iter().map(element).collect::<Result<_, _>>()?;
        let mut types = Vec::new();
        for word in words("type.raw")?.unwrap_or_default() {
            let kind = word.parse().ok().filter(|t: &usize| *t < elements.len());
            types.push(kind.ok_or_else(|| {
                content(&format!("types from 0 to {} in type.raw", elements.len() as i64 - 1), &word)
            })?);
        }
        if types.is_empty() {
            return Err(content("a type per atom in type.raw", "none"));
        }
        let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
            .map_err(|e| StructureError::io_path(folder, e))?
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .filter(|p| p.is_dir() && p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("set.")))
            .collect();
        folders.sort();
        folders.reverse();
        if folders.is_empty() {
            if !folder.join("coord.raw").is_file() {
                return Err(StructureError::Empty { path, what: "no set.* folders and no coord.raw".to_string() });
            }
            folders.push(folder.to_path_buf());
        }
        let periodic = !folder.join("nopbc").exists();
        Ok(Self { path, elements, types, periodic, folders, set: None, frame: 0 })
    }

    fn next_frame(&mut self) -> Result<Option<Structure>, StructureError> {
        loop {
            if self.set.is_none() {
                let Some(folder) = self.folders.pop() else { return Ok(None) };
                self.set = Some(Set::open(folder)?);
            }
            let Some(set) = &mut self.set else { return Ok(None) };
            if let Some(coord) = set.coord.next(set.row)? {
                let s = set.frame(coord, &self.types, &self.elements, self.periodic)?;
                set.row += 1;
                self.frame += 1;
                return Ok(Some(s));
            }
            self.set = None;
        }
    }
}

impl Iterator for DeepmdFrames {
    type Item = Result<Structure, StructureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let title = Path::new(&self.path).file_name().map_or(String::new(), |n| n.to_string_lossy().into_owned());
        self.next_frame().transpose().map(|frame| frame.map(|s| Structure { title, ..s }))
    }
}

impl Set {
    fn open(folder: PathBuf) -> Result<Self, StructureError> {
        let Some(coord) = Rows::open(&folder, "coord")? else {
            return Err(StructureError::Empty {
                path: folder.display().to_string(),
                what: "no coord.npy and no coord.raw".to_string(),
            });
        };
        // Labels of another number of frames may be those of other frames.
        let optional = |name: &str| -> Result<Option<Rows>, StructureError> {
            let rows = Rows::open(&folder, name)?;
            if let (Some(Rows::Npy(rows)), Rows::Npy(coord)) = (&rows, &coord) {
                let (found, expected) = (rows.shape[0], coord.shape[0]);
                if found != expected {
                    return Err(StructureError::Content {
                        path: folder.join(format!("{name}.npy")).display().to_string(),
                        frame: 1,
                        expected: format!("the {expected} frames of coord.npy"),
                        found: found.to_string(),
                    });
                }
            }
            Ok(rows)
        };
        Ok(Self {
            cell: optional("box")?,
            energy: optional("energy")?,
            force: optional("force")?,
            virial: optional("virial")?,
            fparam: optional("fparam")?,
            aparam: optional("aparam")?,
            charge_spin: optional("charge_spin")?,
            types: optional("real_atom_types")?,
            row: 0,
            coord,
            folder,
        })
    }

    fn frame(
        &mut self,
        coord: Vec<f64>,
        types: &[usize],
        elements: &[&'static str],
        periodic: bool,
    ) -> Result<Structure, StructureError> {
        let (row, n) = (self.row, types.len());
        let path = self.folder.display().to_string();
        let get =
            |rows: &mut Option<Rows>, what: &str, width: Option<usize>| -> Result<Option<Vec<f64>>, StructureError> {
                let Some(rows) = rows else { return Ok(None) };
                let truncated = || StructureError::Truncated {
                    path: path.clone(),
                    frame: row + 1,
                    expected: format!("a row of {what}"),
                };
                let v = rows.next(row)?.ok_or_else(truncated)?;
                expect(&path, row, what, &v, width)?;
                Ok(Some(v))
            };
        expect(&path, row, "coord", &coord, Some(3 * n))?;
        let energy = get(&mut self.energy, "energy", Some(1))?;
        let force = get(&mut self.force, "force", Some(3 * n))?;
        let virial = get(&mut self.virial, "virial", Some(9))?;
        let cell = get(&mut self.cell, "box", Some(9))?;
        let charge_spin = get(&mut self.charge_spin, "charge_spin", Some(2))?;
        let fparam = get(&mut self.fparam, "fparam", None)?;
        let aparam = get(&mut self.aparam, "aparam", None)?;
        let mixed = get(&mut self.types, "real_atom_types", Some(n))?;
        let cell = match (cell.map(|v| matrix(&v)), periodic) {
            (_, false) => None,
            (Some(cell), true) => Some(cell),
            (None, true) => {
                return Err(StructureError::Needs {
                    path,
                    what: "no box.npy and no box.raw".to_string(),
                    advice: "add the box, or an empty file named nopbc for a system without periodicity".to_string(),
                })
            }
        };
        let symbols = match mixed {
            None => types.iter().map(|t| elements[*t].to_string()).collect(),
            Some(mixed) => mixed
                .iter()
                .enumerate()
                .map(|(atom, t)| match *t {
                    -1.0 => Ok("X".to_string()),
                    t if t >= 0.0 && t < elements.len() as f64 => Ok(elements[t as usize].to_string()),
                    t => Err(StructureError::UnknownElement {
                        path: path.clone(),
                        frame: row + 1,
                        atom: atom + 1,
                        seen: format!("type {t}"),
                        hint: format!("; type_map.raw names {} types", elements.len()),
                    }),
                })
                .collect::<Result<_, _>>()?,
        };
        Ok(Structure {
            symbols,
            positions: triples(&coord),
            cell,
            energy: energy.map(|v| v[0]),
            forces: force.map(|v| triples(&v)),
            virial: virial.map(|v| matrix(&v)),
            fparam,
            aparam,
            charge_spin: charge_spin.map(|v| [v[0], v[1]]),
            original: (0..n).collect(),
            ..Structure::default()
        })
    }
}

fn expect(path: &str, row: u64, what: &str, v: &[f64], width: Option<usize>) -> Result<(), StructureError> {
    match width {
        Some(width) if v.len() != width => Err(StructureError::Count {
            path: path.to_string(),
            frame: row + 1,
            what: format!("numbers in a row of {what}"),
            expected: width as u64,
            found: v.len() as u64,
        }),
        _ => Ok(()),
    }
}

fn triples(v: &[f64]) -> Vec<[f64; 3]> {
    v.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect()
}

fn matrix(v: &[f64]) -> [[f64; 3]; 3] {
    [0, 3, 6].map(|k| [v[k], v[k + 1], v[k + 2]])
}
