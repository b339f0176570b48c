//! What LAMMPS data files and dumps share: types, units, boxes.

use super::error::StructureError;
use super::masses::by_mass;
use super::symbols::symbol;

/// eV per kcal/mol.
const KCAL_PER_MOL: f64 = 4184.0 / 96_485.332_123_310_02;

/// Factors from a LAMMPS unit style to ours; only styles that measure lengths in A.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Units {
    /// A/ps per unit of velocity.
    pub(crate) velocity: f64,
    /// eV/A per unit of force.
    pub(crate) force: f64,
    /// ps per unit of time.
    pub(crate) time: f64,
}

impl Units {
    pub(crate) const METAL: Units = Units { velocity: 1.0, force: 1.0, time: 1.0 };

    pub(crate) fn named(name: &str) -> Option<Units> {
        match name {
            "metal" => Some(Units::METAL),
            "real" => Some(Units { velocity: 1000.0, force: KCAL_PER_MOL, time: 1e-3 }),
            _ => None,
        }
    }
}

/// Refusal of unit styles with other lengths.
pub(crate) fn bad_units(path: &str, name: &str) -> StructureError {
    StructureError::Needs {
        path: path.to_string(),
        what: format!("LAMMPS units \"{name}\" are not supported"),
        advice: "write the file with units metal or real (lengths in A)".to_string(),
    }
}

/// Lattice of a LAMMPS box: lengths and the tilt factors xy, xz, yz.
pub(crate) fn cell(length: [f64; 3], [xy, xz, yz]: [f64; 3]) -> [[f64; 3]; 3] {
    [[length[0], 0.0, 0.0], [xy, length[1], 0.0], [xz, yz, length[2]]]
}

/// Elements given with `--types O,H`, checked.
pub(crate) fn elements_of_types(path: &str, types: &[String]) -> Result<Vec<&'static str>, StructureError> {
    let check = |(i, name): (usize, &String)| {
        symbol(name).ok_or_else(|| StructureError::Needs {
            path: path.to_string(),
            what: format!("\"{name}\" is not an element symbol (type {})", i + 1),
            advice: "give one element per type: --types O,H".to_string(),
        })
    };
    types.iter().enumerate().map(check).collect()
}

/// Element of a type by its mass, else by the comment or label that names it.
pub(crate) fn element_of(mass: Option<f64>, label: &str) -> Option<&'static str> {
    mass.and_then(by_mass).or_else(|| symbol(label.trim()).filter(|s| *s != "X"))
}
