//! Limited-memory BFGS with a step limit and a check that the energy falls.
//!
//! J. Nocedal and S. J. Wright, *Numerical Optimization* (2006), algorithm 7.4, the first inverse Hessian scaled by (7.20). A step is halved
//! while the energy rises; when that does not help, the history is dropped and the step goes down the forces.

use super::{clamp, dot, MinimizeError, Surface};
use std::collections::VecDeque;

const HISTORY: usize = 20;
/// Inverse curvature of the first step, A^2/eV: a covalent bond has about 50 eV/A^2.
const FIRST_SCALE: f64 = 1.0 / 50.0;
const HALVINGS: u32 = 6;
/// Rounding of a single-precision model, relative to the energy: rises below it mean nothing.
const NOISE: f64 = 1e-7;

/// A step made: change of positions, change of the gradient, 1 / (s.y).
struct Pair {
    s: Vec<[f64; 3]>,
    y: Vec<[f64; 3]>,
    rho: f64,
}

/// State between steps.
pub(super) struct Lbfgs {
    history: VecDeque<Pair>,
    max_step: f64,
}

impl Lbfgs {
    pub(super) fn new(max_step: f64) -> Self {
        Lbfgs { history: VecDeque::new(), max_step }
    }

    /// The quasi-Newton displacement for these forces.
    fn direction(&self, forces: &[[f64; 3]]) -> Vec<[f64; 3]> {
        let mut q = forces.to_vec();
        let mut alphas = Vec::with_capacity(self.history.len());
        for pair in self.history.iter().rev() {
            let alpha = pair.rho * dot(&pair.s, &q);
            add(&mut q, -alpha, &pair.y);
            alphas.push(alpha);
        }
        let scale = self.history.back().map_or(FIRST_SCALE, |p| 1.0 / (p.rho * dot(&p.y, &p.y)));
        q.iter_mut().flatten().for_each(|v| *v *= scale);
        for (pair, alpha) in self.history.iter().zip(alphas.iter().rev()) {
            let beta = pair.rho * dot(&pair.y, &q);
            add(&mut q, alpha - beta, &pair.s);
        }
        q
    }

    /// One step. `false` when not even a short step down the forces lowers the energy.
    pub(super) fn step(&mut self, positions: &mut [[f64; 3]], surface: &mut Surface) -> Result<bool, MinimizeError> {
        let before = positions.to_vec();
        let (forces, start, status) = (surface.results.forces.clone(), surface.results.energy, surface.status);
        let allowed = NOISE * start.abs();
        for attempt in 0..2 {
            let mut displacement = self.direction(&forces);
            if dot(&displacement, &forces) <= 0.0 {
                self.history.clear();
                displacement = self.direction(&forces);
            }
            clamp(&mut displacement, self.max_step);
            for _ in 0..HALVINGS {
                positions.copy_from_slice(&before);
                add(positions, 1.0, &displacement);
                surface.evaluate(positions).inspect_err(|_| positions.copy_from_slice(&before))?;
                if surface.results.energy <= start + allowed {
                    self.remember(displacement, &forces, &surface.results.forces);
                    return Ok(true);
                }
                displacement.iter_mut().flatten().for_each(|d| *d *= 0.5);
            }
            if attempt == 0 && !self.history.is_empty() {
                self.history.clear();
            } else {
                break;
            }
        }
        positions.copy_from_slice(&before);
        surface.results.energy = start;
        surface.results.forces = forces;
        surface.status = super::Status { calls: surface.status.calls, ..status };
        Ok(false)
    }

    fn remember(&mut self, s: Vec<[f64; 3]>, old: &[[f64; 3]], new: &[[f64; 3]]) {
        let y: Vec<[f64; 3]> = old.iter().zip(new).map(|(a, b)| [a[0] - b[0], a[1] - b[1], a[2] - b[2]]).collect();
        let sy = dot(&s, &y);
        // Negative curvature would spoil the inverse Hessian.
        if sy > 1e-10 * dot(&y, &y).sqrt() * dot(&s, &s).sqrt() {
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(Pair { s, y, rho: 1.0 / sy });
        }
    }
}

/// `x += factor d`
fn add(x: &mut [[f64; 3]], factor: f64, d: &[[f64; 3]]) {
    for (x, d) in x.iter_mut().flatten().zip(d.iter().flatten()) {
        *x += factor * d;
    }
}
