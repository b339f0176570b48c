//! What stays fixed during a run: masses, frozen atoms, cell; and what velocities mean for it.

use super::noise::{Purpose, Stream};
use super::units::{BOLTZMANN, KINETIC};
use super::MdError;
use crate::element;
use crate::structure::Structure;
use std::collections::BTreeMap;

/// The fixed part of a simulation.
#[derive(Clone, Debug, PartialEq)]
pub struct System {
    /// Element symbols, input order.
    pub symbols: Vec<String>,
    /// Masses, g/mol, all positive and finite.
    pub masses: Vec<f64>,
    /// Atoms that never move.
    pub frozen: Vec<bool>,
    /// Rows are lattice vectors, A; `None` = no periodicity.
    pub cell: Option<[[f64; 3]; 3]>,
    /// Whether the motion of the centre of mass is removed during the run (three degrees of freedom fewer).
    pub momentum_removed: bool,
}

impl System {
    /// The system of a structure: `masses` (g/mol by symbol), where they name the element; else the masses of the structure, where
    /// it has some; else the standard masses of the elements.
    ///
    /// # Errors
    /// [`MdError::NoAtoms`], [`MdError::NoMass`], [`MdError::BadMass`], [`MdError::BadAtomMass`], [`MdError::UnknownMassSymbol`],
    /// [`MdError::FrozenLength`], [`MdError::MassesLength`].
    pub fn new(structure: &Structure, masses: &BTreeMap<String, f64>, frozen: Vec<bool>) -> Result<Self, MdError> {
        if structure.is_empty() {
            return Err(MdError::NoAtoms);
        }
        if frozen.len() != structure.len() {
            return Err(MdError::FrozenLength { given: frozen.len(), atoms: structure.len() });
        }
        if let Some(given) = structure.masses.as_ref().map(Vec::len).filter(|n| *n != structure.len()) {
            return Err(MdError::MassesLength { given, atoms: structure.len() });
        }
        for (symbol, &mass) in masses {
            if !(mass.is_finite() && mass > 0.0) {
                return Err(MdError::BadMass { symbol: symbol.clone(), mass });
            }
            if !structure.symbols.contains(symbol) {
                return Err(MdError::UnknownMassSymbol(symbol.clone()));
            }
        }
        let of = |(atom, symbol): (usize, &String)| {
            if let Some(mass) = masses.get(symbol) {
                return Ok(*mass);
            }
            match structure.masses.as_ref().map(|m| m[atom]) {
                Some(mass) if mass.is_finite() && mass > 0.0 => Ok(mass),
                Some(mass) => Err(MdError::BadAtomMass { atom, symbol: symbol.clone(), mass }),
                None => element::mass(symbol).ok_or_else(|| MdError::NoMass { atom, symbol: symbol.clone() }),
            }
        };
        Ok(System {
            symbols: structure.symbols.clone(),
            masses: structure.symbols.iter().enumerate().map(of).collect::<Result<_, _>>()?,
            frozen,
            cell: structure.cell,
            momentum_removed: false,
        })
    }

    /// Number of atoms.
    pub fn len(&self) -> usize {
        self.masses.len()
    }

    /// True when there is no atom.
    pub fn is_empty(&self) -> bool {
        self.masses.is_empty()
    }

    /// Whether every mass is its element's standard one.
    pub fn standard_masses(&self) -> bool {
        self.symbols.iter().zip(&self.masses).all(|(symbol, mass)| element::mass(symbol) == Some(*mass))
    }

    /// Number of velocity components that are free to fluctuate.
    pub fn degrees_of_freedom(&self) -> usize {
        let moving = 3 * self.frozen.iter().filter(|f| !**f).count();
        moving.saturating_sub(if self.momentum_removed { 3 } else { 0 })
    }

    /// Volume of the cell, A^3.
    pub fn volume(&self) -> Option<f64> {
        self.cell.map(|[a, b, c]| {
            let cross = [b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]];
            (a[0] * cross[0] + a[1] * cross[1] + a[2] * cross[2]).abs()
        })
    }

    /// Kinetic energy of velocities in A/ps, eV. Summed in input order, so its bits do not depend on threads.
    pub fn kinetic_energy(&self, velocities: &[[f64; 3]]) -> f64 {
        let twice: f64 =
            self.masses.iter().zip(velocities).map(|(m, v)| m * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2])).sum();
        0.5 * KINETIC * twice
    }

    /// Temperature that belongs to a kinetic energy (eV), K.
    pub fn temperature(&self, kinetic: f64) -> f64 {
        match self.degrees_of_freedom() {
            0 => 0.0,
            n => 2.0 * kinetic / (n as f64 * BOLTZMANN),
        }
    }

    /// Takes the velocity of the centre of mass from every atom.
    pub fn remove_momentum(&self, velocities: &mut [[f64; 3]]) {
        let total: f64 = self.masses.iter().sum();
        for k in 0..3 {
            let momentum: f64 = self.masses.iter().zip(&*velocities).map(|(m, v)| m * v[k]).sum();
            let drift = momentum / total;
            velocities.iter_mut().for_each(|v| v[k] -= drift);
        }
    }

    /// Velocities (A/ps) of the Maxwell distribution at `temperature` K.
    ///
    /// Frozen atoms get none. Where nothing is frozen the motion of the centre of mass is removed. With `exact` the kinetic energy is then
    /// scaled to the temperature exactly, as most engines do for small systems.
    pub fn maxwell(&self, temperature: f64, seed: u64, exact: bool) -> Vec<[f64; 3]> {
        let mut velocities: Vec<[f64; 3]> = (0..self.len())
            .map(|i| {
                if self.frozen[i] {
                    return [0.0; 3];
                }
                let width = (BOLTZMANN * temperature / (KINETIC * self.masses[i])).sqrt();
                Stream::new(seed, Purpose::Velocities, 0, i as u32).normals().map(|x| x * width)
            })
            .collect();
        if self.len() > 1 && !self.frozen.contains(&true) {
            self.remove_momentum(&mut velocities);
        }
        let now = self.temperature(self.kinetic_energy(&velocities));
        if exact && now > 0.0 {
            let scale = (temperature / now).sqrt();
            velocities.iter_mut().flatten().for_each(|v| *v *= scale);
        }
        velocities
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gas(n: usize, frozen: Vec<bool>) -> System {
        let symbols: Vec<String> = (0..n).map(|i| if i % 3 == 0 { "O" } else { "H" }.to_string()).collect();
        let structure = Structure { symbols, positions: vec![[0.0; 3]; n], ..Structure::default() };
        System::new(&structure, &BTreeMap::new(), frozen).unwrap()
    }

    #[test]
    fn maxwell_velocities_have_the_temperature_and_no_momentum() {
        let mut system = gas(3000, vec![false; 3000]);
        system.momentum_removed = true;
        let velocities = system.maxwell(300.0, 5, false);
        let t = system.temperature(system.kinetic_energy(&velocities));
        // The relative spread of the temperature of 9,000 free components is sqrt(2 / 9000) = 1.5 %.
        assert!((t / 300.0 - 1.0).abs() < 0.06, "{t}");
        for k in 0..3 {
            let p: f64 = system.masses.iter().zip(&velocities).map(|(m, v)| m * v[k]).sum();
            assert!(p.abs() < 1e-9);
        }
        let exact = system.maxwell(300.0, 5, true);
        assert!((system.temperature(system.kinetic_energy(&exact)) - 300.0).abs() < 1e-9);
    }

    #[test]
    fn frozen_atoms_have_no_velocity_and_no_degrees_of_freedom() {
        let mut frozen = vec![false; 9];
        frozen[4] = true;
        let system = gas(9, frozen);
        assert_eq!(system.degrees_of_freedom(), 24);
        assert_eq!(system.maxwell(300.0, 1, true)[4], [0.0; 3]);
        let mut free = gas(9, vec![false; 9]);
        free.momentum_removed = true;
        assert_eq!(free.degrees_of_freedom(), 24);
    }

    #[test]
    fn masses_can_be_overridden_and_bad_ones_are_refused() {
        let structure =
            Structure { symbols: vec!["H".into(), "X".into()], positions: vec![[0.0; 3]; 2], ..Structure::default() };
        let table = |list: &[(&str, f64)]| list.iter().map(|(s, m)| (s.to_string(), *m)).collect::<BTreeMap<_, _>>();
        let system = System::new(&structure, &table(&[("H", 2.014), ("X", 1.0)]), vec![false; 2]).unwrap();
        assert_eq!(system.masses, [2.014, 1.0]);
        let message =
            |masses: &[(&str, f64)]| System::new(&structure, &table(masses), vec![false; 2]).unwrap_err().to_string();
        assert!(message(&[]).contains("atom index 1 (X)"));
        assert!(message(&[("X", -1.0)]).contains("-1"));
        assert!(message(&[("X", 1.0), ("Q", 1.0)]).contains('Q'));
    }

    #[test]
    fn masses_of_the_structure_go_before_the_standard_ones_and_after_those_asked_for() {
        let of = |file: &[f64], asked: &[(&str, f64)]| {
            let structure = Structure {
                symbols: vec!["H".into(), "H".into(), "O".into()],
                positions: vec![[0.0; 3]; 3],
                masses: Some(file.to_vec()),
                ..Structure::default()
            };
            let asked = asked.iter().map(|(s, m)| (s.to_string(), *m)).collect();
            System::new(&structure, &asked, vec![false; 3]).map_err(|e| e.to_string())
        };
        let system = of(&[2.014, 1.008, 18.0], &[]).unwrap();
        assert_eq!(system.masses, [2.014, 1.008, 18.0]);
        assert!(!system.standard_masses());
        assert!(of(&[1.008, 1.008, 15.999], &[]).unwrap().standard_masses());
        assert_eq!(of(&[2.014, 1.008, 18.0], &[("H", 3.016)]).unwrap().masses, [3.016, 3.016, 18.0]);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let message = of(&[1.0, bad, 18.0], &[]).unwrap_err();
            let words = ["atom index 1 (H)", "masses column", "[masses]", &format!("{bad} g/mol")];
            assert!(words.iter().all(|w| message.contains(w)), "{message}");
            // What is not used is not judged.
            assert_eq!(of(&[1.0, bad, 18.0], &[("H", 2.0)]).unwrap().masses, [2.0, 2.0, 18.0]);
        }
        assert!(of(&[1.0], &[]).unwrap_err().contains("1 masses for 3 atoms"));
    }
}
