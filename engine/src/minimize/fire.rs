//! FIRE: dynamics whose velocities are turned towards the forces and stopped when they run uphill.
//!
//! E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), with its constants; the first time step is that of unit masses in eV and A. Every atom
//! has the same mass, as the paper advises for mixed systems.

use super::{clamp, dot, MinimizeError, Surface};

const FIRST_TIMESTEP: f64 = 0.1;
const LONGEST_TIMESTEP: f64 = 1.0;
const PATIENCE: u32 = 5;
const GROW: f64 = 1.1;
const SHRINK: f64 = 0.5;
const MIXING: f64 = 0.1;
const MIXING_SHRINK: f64 = 0.99;

/// State between steps.
pub(super) struct Fire {
    velocities: Vec<[f64; 3]>,
    timestep: f64,
    mixing: f64,
    downhill: u32,
    max_step: f64,
}

impl Fire {
    pub(super) fn new(atoms: usize, max_step: f64) -> Self {
        Fire { velocities: vec![[0.0; 3]; atoms], timestep: FIRST_TIMESTEP, mixing: MIXING, downhill: 0, max_step }
    }

    /// One step; always moves.
    pub(super) fn step(&mut self, positions: &mut [[f64; 3]], surface: &mut Surface) -> Result<bool, MinimizeError> {
        let forces = &surface.results.forces;
        if dot(forces, &self.velocities) > 0.0 {
            let scale = self.mixing * (dot(&self.velocities, &self.velocities) / dot(forces, forces)).sqrt();
            for (v, f) in self.velocities.iter_mut().flatten().zip(forces.iter().flatten()) {
                *v = (1.0 - self.mixing) * *v + scale * f;
            }
            if self.downhill > PATIENCE {
                self.timestep = (self.timestep * GROW).min(LONGEST_TIMESTEP);
                self.mixing *= MIXING_SHRINK;
            }
            self.downhill += 1;
        } else {
            self.velocities.fill([0.0; 3]);
            self.mixing = MIXING;
            self.timestep *= SHRINK;
            self.downhill = 0;
        }
        for (v, f) in self.velocities.iter_mut().flatten().zip(forces.iter().flatten()) {
            *v += self.timestep * f;
        }
        let mut displacement: Vec<[f64; 3]> = self.velocities.iter().map(|v| v.map(|x| x * self.timestep)).collect();
        clamp(&mut displacement, self.max_step);
        let before = positions.to_vec();
        for (x, d) in positions.iter_mut().flatten().zip(displacement.iter().flatten()) {
            *x += d;
        }
        surface.evaluate(positions).inspect_err(|_| positions.copy_from_slice(&before))?;
        Ok(true)
    }
}
