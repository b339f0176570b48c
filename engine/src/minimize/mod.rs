//! Geometry optimisation at fixed cell: FIRE and L-BFGS.
//!
//! Both stop when the largest force on an atom that may move is at most `fmax` (eV/A). No atom moves more than `max_step` (A) in a step, so
//! that overlapping atoms of a raw structure come apart instead of flying apart. [`mod@fire`] and [`mod@lbfgs`] only propose moves; evaluation,
//! convergence and limits are here.

pub mod fire;
pub mod lbfgs;

use crate::backend::{Calculator, ComputeError, FrameParameters, Request, Results};
use thiserror::Error;

/// Which algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Damped dynamics: slow and forgiving.
    Fire,
    /// Limited-memory quasi-Newton: several times fewer force calls near a minimum.
    Lbfgs,
}

/// How to minimise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Algorithm.
    pub algorithm: Algorithm,
    /// Largest force at the end, eV/A.
    pub fmax: f64,
    /// Largest number of steps (each one force call, L-BFGS now and then one more).
    pub steps: u64,
    /// Longest way of an atom in one step, A.
    pub max_step: f64,
}

impl Default for Options {
    fn default() -> Self {
        Options { algorithm: Algorithm::Lbfgs, fmax: 0.05, steps: 1000, max_step: 0.1 }
    }
}

/// Where a minimisation stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Status {
    /// Steps made.
    pub step: u64,
    /// Force calls made.
    pub calls: u64,
    /// eV
    pub energy: f64,
    /// Largest force on an atom that may move, eV/A.
    pub fmax: f64,
    /// Input index of the atom that feels it.
    pub atom: usize,
}

/// How a minimisation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The forces are small enough.
    Converged,
    /// The allowed number of steps was made.
    StepLimit,
    /// The caller asked to stop.
    Stopped,
    /// No step lowers the energy any more: the rounding of the model (single precision) is reached.
    Stalled,
}

/// Why a minimisation failed.
#[derive(Debug, Error)]
pub enum MinimizeError {
    /// A setting outside its range.
    #[error("{name} is {value}: it must be positive and finite")]
    Setting {
        /// Option name.
        name: &'static str,
        /// The value given.
        value: f64,
    },
    /// Nothing to move.
    #[error("every atom is frozen: nothing would move")]
    AllFrozen,
    /// The backend could not compute a step.
    #[error("step {step}: {source}")]
    Compute {
        /// Step.
        step: u64,
        /// Why.
        #[source]
        source: ComputeError,
    },
}

/// Energy and forces at the present positions, and the way to get them elsewhere.
pub(crate) struct Surface<'a> {
    calculator: &'a mut dyn Calculator,
    parameters: &'a FrameParameters,
    cell: Option<&'a [[f64; 3]; 3]>,
    frozen: &'a [bool],
    results: Results,
    pub(crate) status: Status,
}

impl Surface<'_> {
    /// Computes energy and forces; frozen atoms feel none.
    fn evaluate(&mut self, positions: &[[f64; 3]]) -> Result<(), MinimizeError> {
        let step = self.status.step;
        if self.status.calls == 0 {
            self.calculator.reorder(positions, self.cell);
        }
        self.calculator
            .compute(positions, self.cell, self.parameters, Request::default(), &mut self.results)
            .map_err(|source| MinimizeError::Compute { step, source })?;
        let (mut fmax, mut atom) = (0.0, 0);
        for (i, f) in self.results.forces.iter_mut().enumerate() {
            if self.frozen[i] {
                *f = [0.0; 3];
            }
            let size = (f[0] * f[0] + f[1] * f[1] + f[2] * f[2]).sqrt();
            if size > fmax {
                (fmax, atom) = (size, i);
            }
        }
        self.status = Status { step, calls: self.status.calls + 1, energy: self.results.energy, fmax, atom };
        Ok(())
    }
}

/// Shortens a displacement so that no atom moves more than `limit`.
pub(crate) fn clamp(displacement: &mut [[f64; 3]], limit: f64) {
    let longest = displacement.iter().map(|d| d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).fold(0.0, f64::max).sqrt();
    if longest > limit {
        let scale = limit / longest;
        displacement.iter_mut().flatten().for_each(|d| *d *= scale);
    }
}

/// Scalar product of two sets of vectors, in input order.
pub(crate) fn dot(a: &[[f64; 3]], b: &[[f64; 3]]) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(x, y)| x * y).sum()
}

/// Moves `positions` (A) to a minimum of the energy. `watch` sees every step and stops the minimisation by returning `false`.
///
/// After an error the positions are the last ones whose energy was computed.
///
/// # Errors
/// [`MinimizeError`].
///
/// # Panics
/// When `frozen` and `positions` differ in length.
pub fn minimize(
    positions: &mut [[f64; 3]],
    cell: Option<&[[f64; 3]; 3]>,
    frozen: &[bool],
    calculator: &mut dyn Calculator,
    parameters: &FrameParameters,
    options: &Options,
    watch: &mut dyn FnMut(&Status) -> bool,
) -> Result<(Ending, Status), MinimizeError> {
    assert_eq!(positions.len(), frozen.len());
    for (name, value) in [("--fmax", options.fmax), ("--max-step", options.max_step)] {
        if !(value.is_finite() && value > 0.0) {
            return Err(MinimizeError::Setting { name, value });
        }
    }
    if frozen.iter().all(|f| *f) {
        return Err(MinimizeError::AllFrozen);
    }
    let status = Status { step: 0, calls: 0, energy: 0.0, fmax: 0.0, atom: 0 };
    let mut surface = Surface { calculator, parameters, cell, frozen, results: Results::default(), status };
    surface.evaluate(positions)?;
    let mut fire = fire::Fire::new(positions.len(), options.max_step);
    let mut lbfgs = lbfgs::Lbfgs::new(options.max_step);
    loop {
        if surface.status.fmax <= options.fmax {
            watch(&surface.status);
            return Ok((Ending::Converged, surface.status));
        }
        if !watch(&surface.status) {
            return Ok((Ending::Stopped, surface.status));
        }
        if surface.status.step >= options.steps {
            return Ok((Ending::StepLimit, surface.status));
        }
        surface.status.step += 1;
        let moved = match options.algorithm {
            Algorithm::Fire => fire.step(positions, &mut surface)?,
            Algorithm::Lbfgs => lbfgs.step(positions, &mut surface)?,
        };
        if !moved {
            return Ok((Ending::Stalled, surface.status));
        }
    }
}
