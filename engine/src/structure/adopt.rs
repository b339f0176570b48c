//! Coordinates from a trajectory put on the atoms of another file.

use super::error::StructureError;
use super::Structure;

/// Atoms that a trajectory's coordinates belong to.
pub(crate) struct Atoms {
    structure: Structure,
}

impl Atoms {
    /// The parts of `structure` that do not change from frame to frame.
    pub(crate) fn new(structure: &Structure) -> Self {
        let structure = Structure {
            symbols: structure.symbols.clone(),
            original: structure.original.clone(),
            file_atoms: structure.file_atoms,
            residues: structure.residues.clone(),
            residue_numbers: structure.residue_numbers.clone(),
            names: structure.names.clone(),
            masses: structure.masses.clone(),
            ..Structure::default()
        };
        Self { structure }
    }

    /// Refuses a trajectory of `count` atoms unless that is the number of atoms of the structure, or of the file that the
    /// structure was selected from.
    pub(crate) fn expect(&self, path: &str, frame: u64, count: u64) -> Result<(), StructureError> {
        let n = self.structure.symbols.len();
        if count == n as u64 || count == self.structure.file_atoms as u64 {
            return Ok(());
        }
        let what = if self.structure.file_atoms > n {
            format!("atoms (the structure beside it has {} of {} atoms)", n, self.structure.file_atoms)
        } else {
            "atoms, as in the structure beside it".to_string()
        };
        Err(StructureError::Count { path: path.to_string(), frame, what, expected: n as u64, found: count })
    }

    /// `frame`, whose per-atom arrays hold all atoms of the trajectory, with the atoms' names and elements; where the structure
    /// is a selection, cut to it. `expect` passed.
    pub(crate) fn adopt(&self, mut frame: Structure) -> Structure {
        let names = self.structure.clone();
        if frame.positions.len() != names.symbols.len() {
            frame.positions = pick(&frame.positions, &names.original);
            frame.velocities = frame.velocities.map(|v| pick(&v, &names.original));
            frame.forces = frame.forces.map(|f| pick(&f, &names.original));
        }
        Structure {
            symbols: names.symbols,
            original: names.original,
            file_atoms: names.file_atoms,
            residues: names.residues,
            residue_numbers: names.residue_numbers,
            names: names.names,
            masses: names.masses,
            ..frame
        }
    }
}

fn pick(rows: &[[f64; 3]], wanted: &[usize]) -> Vec<[f64; 3]> {
    wanted.iter().filter_map(|i| rows.get(*i).copied()).collect()
}
