//! Units of clients.

/// eV in kJ/mol (CODATA 2018).
pub const KJ_MOL: f64 = 96.48533212;

/// How a client measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Units {
    /// A, eV, eV/A.
    #[default]
    Metal,
    /// nm, kJ/mol, kJ/mol/nm.
    Gromacs,
}

impl Units {
    /// A of one unit of length.
    pub fn length(self) -> f64 {
        match self {
            Units::Metal => 1.0,
            Units::Gromacs => 10.0,
        }
    }

    /// Units of energy of one eV.
    pub fn energy(self) -> f64 {
        match self {
            Units::Metal => 1.0,
            Units::Gromacs => KJ_MOL,
        }
    }

    /// Units of force of one eV/A.
    pub fn force(self) -> f64 {
        self.energy() * self.length()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_gromacs_are_nm_and_kj_mol() {
        assert_eq!((Units::Gromacs.length(), Units::Gromacs.energy()), (10.0, 96.48533212));
        // 1 eV/A = 96.485 kJ/mol per 0.1 nm.
        assert!((Units::Gromacs.force() - 964.8533212).abs() < 1e-10);
        assert_eq!((Units::Metal.length(), Units::Metal.energy(), Units::Metal.force()), (1.0, 1.0, 1.0));
    }
}
