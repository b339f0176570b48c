//! Atoms, positions and cell of one frame, and the readers and writers of the formats that MD people keep them in.
//!
//! [`read`] gives the first frame of a file, [`frames`] all of them one by one. The format is told by name or content.

mod adopt;
mod check;
mod elements;
mod error;
mod format;
mod index_groups;
mod lammps;
mod lines;
mod masses;
mod npy;
mod open;
mod read_deepmd;
mod read_extxyz;
mod read_gro;
mod read_lammps_data;
mod read_lammps_dump;
mod read_pdb;
mod read_poscar;
mod read_trr;
mod read_xtc;
mod residues;
mod select;
mod symbols;
mod topology;
mod trajectory;
mod write_extxyz;
mod write_xtc;
mod xdr;

pub use error::StructureError;
pub use format::Format;
pub use index_groups::{read_groups, Group};
pub use open::{frames, read, read_bytes, Frames, ReadOptions};
pub use read_extxyz::ASE_VELOCITY;
pub use residues::is_polymer;
pub use trajectory::{ExtxyzWriter, TrajectoryWriter, XtcWriter};
pub use write_extxyz::write_extxyz;

/// One frame. Lengths in A.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Structure {
    /// Element symbol of each atom (`"X"` is a virtual atom, which has no interactions).
    pub symbols: Vec<String>,
    /// Positions, A, in input order, as given (not wrapped).
    pub positions: Vec<[f64; 3]>,
    /// Rows are the lattice vectors a, b, c in A; `None` = no periodicity.
    pub cell: Option<[[f64; 3]; 3]>,
    /// Velocities, A/ps, where the file has them.
    pub velocities: Option<Vec<[f64; 3]>>,
    /// Masses, g/mol, where the file gives them atom by atom (else those of the elements hold).
    pub masses: Option<Vec<f64>>,
    /// Reference energy, eV, where the file has one.
    pub energy: Option<f64>,
    /// Reference forces, eV/A, where the file has them.
    pub forces: Option<Vec<[f64; 3]>>,
    /// Reference virial, eV (rows as in specification section 12), where the file has one.
    pub virial: Option<[[f64; 3]; 3]>,
    /// Frame parameters of the model (`fparam`), where the file has them.
    pub fparam: Option<Vec<f64>>,
    /// Atomic parameters of the model (`aparam`), N rows one after the other, where the file has them.
    pub aparam: Option<Vec<f64>>,
    /// Total charge and spin of the frame, where the file has them.
    pub charge_spin: Option<[f64; 2]>,
    /// Index of each atom in the file it came from (selection and dropped virtual sites leave gaps).
    pub original: Vec<usize>,
    /// Number of atoms of the file before selection and dropping (0 = not known).
    pub file_atoms: usize,
    /// Residue names, where the format has them (else empty).
    pub residues: Vec<String>,
    /// Atom names, where the format has them (else empty).
    pub names: Vec<String>,
    /// Residue numbers, where the format has them (else empty).
    pub residue_numbers: Vec<i64>,
    /// Time, ps, where a trajectory has it.
    pub time: Option<f64>,
    /// Step number, where a trajectory has it.
    pub step: Option<u64>,
    /// Frame comment or title.
    pub title: String,
    /// What the reader dropped or assumed, a line each.
    pub remarks: Vec<String>,
}

impl Structure {
    /// Number of atoms.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// True when there is no atom.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }
}
