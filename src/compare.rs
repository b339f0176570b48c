//! Errors against labels, as `dp test` prints them.

use anyhow::{bail, Result};
use serde_json::{json, Value};
use weir_engine::backend::Results;
use weir_engine::structure::Structure;

/// Sums of one quantity's errors.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    absolute: f64,
    square: f64,
    count: u64,
}

impl Sums {
    fn add(&mut self, error: f64) {
        self.absolute += error.abs();
        self.square += error * error;
        self.count += 1;
    }

    fn mae(&self) -> f64 {
        self.absolute / self.count as f64
    }

    fn rmse(&self) -> f64 {
        (self.square / self.count as f64).sqrt()
    }
}

/// Errors over frames.
#[derive(Debug, Default)]
pub struct Errors {
    frames: u64,
    energy: Sums,
    energy_per_atom: Sums,
    force: Sums,
    virial: Sums,
    virial_per_atom: Sums,
}

impl Errors {
    /// Whether there is something to compare a frame's results with.
    ///
    /// # Errors
    /// A frame without any label.
    pub fn check(labels: &Structure) -> Result<()> {
        if labels.energy.is_none() && labels.forces.is_none() && labels.virial.is_none() {
            bail!("--compare: the frame has neither energy nor forces nor virial to compare with");
        }
        Ok(())
    }

    /// Adds a frame; labels that it lacks are left out.
    pub fn add(&mut self, labels: &Structure, results: &Results) {
        let atoms = labels.len() as f64;
        self.frames += 1;
        if let Some(energy) = labels.energy {
            self.energy.add(results.energy - energy);
            self.energy_per_atom.add((results.energy - energy) / atoms);
        }
        for (a, b) in labels.forces.iter().flatten().flatten().zip(results.forces.iter().flatten()) {
            self.force.add(b - a);
        }
        for (a, b) in labels.virial.iter().flatten().flatten().zip(results.virial.iter().flatten()) {
            self.virial.add(b - a);
            self.virial_per_atom.add((b - a) / atoms);
        }
    }

    fn rows(&self) -> [(&'static str, &'static str, &'static str, Sums); 5] {
        [
            ("Energy", "", "eV", self.energy),
            ("Energy", "/Natoms", "eV", self.energy_per_atom),
            ("Force ", "", "eV/A", self.force),
            ("Virial", "", "eV", self.virial),
            ("Virial", "/Natoms", "eV", self.virial_per_atom),
        ]
    }

    /// Lines as `dp test` prints them.
    pub fn table(&self) -> String {
        let mut text = format!("# number of test data : {}\n", self.frames);
        for (name, per, unit, sums) in self.rows().into_iter().filter(|r| r.3.count > 0) {
            text += &format!("{:<19}: {:e} {unit}\n", format!("{name} MAE{per}"), sums.mae());
            text += &format!("{:<19}: {:e} {unit}\n", format!("{name} RMSE{per}"), sums.rmse());
        }
        text
    }

    /// The same as an object.
    pub fn to_json(&self) -> Value {
        let mut object = json!({ "frames": self.frames });
        for (key, (_, _, _, sums)) in
            ["energy", "energy_per_atom", "force", "virial", "virial_per_atom"].into_iter().zip(self.rows())
        {
            if sums.count > 0 {
                object[format!("{key}_mae")] = json!(sums.mae());
                object[format!("{key}_rmse")] = json!(sums.rmse());
            }
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_means_over_components() {
        let labels = Structure {
            symbols: vec!["H".into(), "H".into()],
            positions: vec![[0.0; 3]; 2],
            energy: Some(-1.0),
            forces: Some(vec![[0.0; 3]; 2]),
            ..Structure::default()
        };
        let results = Results { energy: -0.6, forces: vec![[0.3, 0.0, 0.0], [0.0, -0.3, 0.0]], ..Results::default() };
        let mut errors = Errors::default();
        errors.add(&labels, &results);
        assert!((errors.force.mae() - 0.1).abs() < 1e-15);
        assert!((errors.force.rmse() - 0.03f64.sqrt()).abs() < 1e-15);
        assert!((errors.energy_per_atom.mae() - 0.2).abs() < 1e-15);
        assert!(errors.table().contains("Force  RMSE") && !errors.table().contains("Virial"));
        assert!(errors.to_json().get("virial_mae").is_none());
        assert!(Errors::check(&labels).is_ok() && Errors::check(&Structure::default()).is_err());
    }
}
