//! Molecular dynamics: NVE and NVT on any [`Calculator`](crate::backend::Calculator).
//!
//! Units: A, ps, g/mol, eV, K. Positions are never wrapped. Every number a run writes is a function of the step alone: noise comes from
//! (seed, step, input index), the summation order is renewed at fixed steps ([`REORDER_EVERY`]), sums run in input order. A run that was
//! interrupted therefore continues bit for bit from its restart file.
//!
//! [`units`] constants, [`system`] masses and temperature, [`noise`] random numbers, [`simulation`] one step, [`restart`] the restart file,
//! [`output`] what a run writes, [`mod@run`] the loop.

pub mod noise;
pub mod output;
pub mod restart;
pub mod run;
pub mod simulation;
pub mod system;
pub mod units;

pub use output::{EnergyLog, FrameFile, OutputError, Outputs, TrajectoryFormat};
pub use restart::{Restart, RestartError};
pub use run::{run, Outcome, Progress, RunError, Schedule, StopReason};
pub use simulation::{Limits, Sample, Settings, Simulation, State, Thermostat, REORDER_EVERY};
pub use system::System;

use crate::backend::ComputeError;
use thiserror::Error;

/// Why a simulation cannot start or go on.
#[derive(Debug, Error)]
pub enum MdError {
    /// Nothing to move.
    #[error("the structure has no atoms")]
    NoAtoms,
    /// An atom without a mass.
    #[error("atom index {atom} ({symbol}) has no mass: give one under [masses] ({symbol} = ...)")]
    NoMass {
        /// Input index.
        atom: usize,
        /// Its symbol.
        symbol: String,
    },
    /// A mass that is none.
    #[error("the mass of {symbol} is {mass} g/mol: it must be positive and finite")]
    BadMass {
        /// Element symbol.
        symbol: String,
        /// The value given.
        mass: f64,
    },
    /// A mass in the structure file that is none.
    #[error("atom index {atom} ({symbol}) has mass {mass} g/mol in the masses column of the structure file: it must be positive and finite; correct the column, or give {symbol} = ... under [masses], which goes before it")]
    BadAtomMass {
        /// Input index.
        atom: usize,
        /// Its symbol.
        symbol: String,
        /// The value given.
        mass: f64,
    },
    /// A mass for an element that does not occur.
    #[error("a mass is given for {0}, which does not occur in the structure")]
    UnknownMassSymbol(String),
    /// Lengths differ.
    #[error("{given} freeze marks for {atoms} atoms")]
    FrozenLength {
        /// Number of marks.
        given: usize,
        /// Number of atoms.
        atoms: usize,
    },
    /// Lengths differ.
    #[error("{given} masses for {atoms} atoms")]
    MassesLength {
        /// Number of masses.
        given: usize,
        /// Number of atoms.
        atoms: usize,
    },
    /// A setting outside its range.
    #[error("{name} is {value}: it must be {expected}")]
    Setting {
        /// Name as in the configuration.
        name: &'static str,
        /// The value given.
        value: f64,
        /// What is allowed.
        expected: &'static str,
    },
    /// Settings that exclude each other.
    #[error("{0}")]
    Conflict(&'static str),
    /// The backend could not compute a step.
    #[error("step {step}: {source}")]
    Compute {
        /// The step whose forces were asked for.
        step: u64,
        /// Why.
        #[source]
        source: ComputeError,
    },
    /// An atom would move too far.
    #[error("step {step}: atom index {atom} ({symbol}) would move {distance:.3} A in one step (limit {limit} A): the system is flying apart; minimise the structure first (weir minimize), shorten md.timestep_fs, or check that the model knows such structures")]
    Displacement {
        /// The step that was not made.
        step: u64,
        /// Input index.
        atom: usize,
        /// Its element.
        symbol: String,
        /// Distance, A.
        distance: f64,
        /// The limit (`md.max_displacement_A`).
        limit: f64,
    },
    /// The system is too hot.
    #[error("step {step}: the temperature is {temperature:.0} K (limit {limit} K, md.max_temperature_K): the system is running away; minimise the structure first (weir minimize), shorten md.timestep_fs, or check that the model knows such structures")]
    Temperature {
        /// The step that was rejected.
        step: u64,
        /// K
        temperature: f64,
        /// The limit, K.
        limit: f64,
    },
    /// A velocity or position is not a number.
    #[error("step {step}: {quantity} of atom index {atom} is {value}")]
    NotFinite {
        /// The step that was rejected.
        step: u64,
        /// Which.
        quantity: &'static str,
        /// Input index.
        atom: usize,
        /// The value.
        value: f64,
    },
}
