//! Structure formats, told by name or content.

use std::path::Path;

/// A structure format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Extended or plain XYZ.
    Extxyz,
    /// GROMACS `.gro`.
    Gro,
    /// PDB.
    Pdb,
    /// VASP POSCAR or CONTCAR.
    Poscar,
    /// LAMMPS data file.
    LammpsData,
    /// LAMMPS text dump.
    LammpsDump,
    /// GROMACS xtc trajectory (needs the atoms of another file).
    Xtc,
    /// GROMACS trr trajectory (needs the atoms of another file).
    Trr,
    /// Folder of a DeePMD-kit system.
    Deepmd,
}

impl Format {
    /// All formats.
    pub const ALL: &'static [Format] = &[
        Format::Extxyz,
        Format::Gro,
        Format::Pdb,
        Format::Poscar,
        Format::LammpsData,
        Format::LammpsDump,
        Format::Xtc,
        Format::Trr,
        Format::Deepmd,
    ];

    /// Name, as `--format` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Extxyz => "extxyz",
            Format::Gro => "gro",
            Format::Pdb => "pdb",
            Format::Poscar => "poscar",
            Format::LammpsData => "lammps-data",
            Format::LammpsDump => "lammps-dump",
            Format::Xtc => "xtc",
            Format::Trr => "trr",
            Format::Deepmd => "deepmd",
        }
    }

    /// The format of this name (`xyz` is `extxyz`).
    pub fn named(name: &str) -> Option<Format> {
        if name == "xyz" {
            return Some(Format::Extxyz);
        }
        Format::ALL.iter().copied().find(|f| f.name() == name)
    }

    /// True for trajectories that hold coordinates only: [`super::ReadOptions::structure`] gives their atoms.
    pub fn needs_structure(self) -> bool {
        matches!(self, Format::Xtc | Format::Trr)
    }

    /// By the name of a file.
    pub(crate) fn by_name(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        if name.starts_with("poscar") || name.starts_with("contcar") {
            return Some(Format::Poscar);
        }
        if name.starts_with("data.") {
            return Some(Format::LammpsData);
        }
        if name.starts_with("dump.") {
            return Some(Format::LammpsDump);
        }
        match name.rsplit_once('.')?.1 {
            "xyz" | "extxyz" => Some(Format::Extxyz),
            "gro" => Some(Format::Gro),
            "pdb" | "ent" => Some(Format::Pdb),
            "vasp" | "poscar" | "contcar" => Some(Format::Poscar),
            "data" | "lmp" | "lammps" => Some(Format::LammpsData),
            "lammpstrj" | "lammpsdump" | "dump" => Some(Format::LammpsDump),
            "xtc" => Some(Format::Xtc),
            "trr" => Some(Format::Trr),
            _ => None,
        }
    }

    /// By the first bytes of a file.
    pub(crate) fn by_content(start: &[u8]) -> Option<Format> {
        match start.get(..4) {
            Some([0, 0, 7, 0xcb | 0xe7]) => return Some(Format::Xtc),
            Some([0, 0, 7, 0xc9]) => return Some(Format::Trr),
            _ => {}
        }
        let text = String::from_utf8_lossy(start);
        let lines: Vec<&str> = text.lines().collect();
        let number = |line: &str| line.trim().parse::<u32>().is_ok();
        let record = |line: &&str| {
            ["ATOM  ", "HETATM", "CRYST1", "HEADER", "MODEL "].iter().any(|record| line.starts_with(record))
        };
        if text.starts_with("ITEM:") {
            Some(Format::LammpsDump)
        } else if lines.iter().any(record) {
            Some(Format::Pdb)
        } else if lines.iter().skip(1).any(|l| l.split_whitespace().skip(1).eq(["atoms"])) {
            Some(Format::LammpsData)
        } else if lines.first().is_some_and(|l| number(l)) && lines.len() > 2 && !numbers(lines[2]) {
            Some(Format::Extxyz)
        } else if lines.len() > 2 && number(lines[1]) && lines[2].len() > 40 && lines[2].get(20..).is_some_and(numbers)
        {
            Some(Format::Gro)
        } else if lines.len() > 6 && (2..5).all(|k| numbers(lines[k])) {
            Some(Format::Poscar)
        } else {
            None
        }
    }
}

/// A line of numbers only.
fn numbers(line: &str) -> bool {
    !line.trim().is_empty() && line.split_whitespace().all(|w| w.parse::<f64>().is_ok())
}
