//! One step of molecular dynamics.
//!
//! With f = F / m, d the time step and R the thermostat's part:
//!
//! - NVE and stochastic rescaling: `v += d/2 f; x += d v; F(x); v += d/2 f; R` (velocity Verlet)
//! - Langevin: `v += d/2 f; x += d/2 v; R; x += d/2 v; F(x); v += d/2 f` (BAOAB: B. Leimkuhler and C. Matthews, J. Chem. Phys. 138, 174102 (2013))
//!
//! The conserved quantity is potential plus kinetic energy minus all energy that the thermostat and the removal of the centre-of-mass motion
//! have put in so far; it drifts only by the error of the integrator.

use super::noise::{Purpose, Stream};
use super::system::System;
use super::units::{BAR, BOLTZMANN, KINETIC};
use super::MdError;
use crate::backend::{Calculator, FrameParameters, Request, Results};

/// Steps between renewals of the summation order along the space-filling curve: at steps 0, 1000, 2000, ... before the force call. Atoms
/// diffuse little in so many steps, and because the step number alone decides, a resumed run sums as the first one did.
pub const REORDER_EVERY: u64 = 1000;

/// How temperature is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Thermostat {
    /// Not at all: NVE.
    None,
    /// Langevin dynamics.
    Langevin {
        /// K
        temperature: f64,
        /// 1/ps
        friction: f64,
    },
    /// Stochastic velocity rescaling (G. Bussi, D. Donadio, M. Parrinello, J. Chem. Phys. 126, 014101 (2007)).
    Rescale {
        /// K
        temperature: f64,
        /// Relaxation time of the kinetic energy, ps.
        time: f64,
    },
}

/// When a run is stopped because it has gone wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Highest temperature, K.
    pub temperature: f64,
    /// Longest way of an atom in one step, A.
    pub displacement: f64,
}

/// How to integrate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Time step, ps.
    pub timestep: f64,
    /// Thermostat.
    pub thermostat: Thermostat,
    /// Seed of all noise.
    pub seed: u64,
    /// Steps between removals of the centre-of-mass motion; 0 = never.
    pub remove_momentum_every: u64,
    /// Emergency brakes.
    pub limits: Limits,
}

/// The moving part of a simulation: everything a restart file holds besides the calculator's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Number of steps made.
    pub step: u64,
    /// A, unwrapped, input order.
    pub positions: Vec<[f64; 3]>,
    /// A/ps
    pub velocities: Vec<[f64; 3]>,
    /// Energy that thermostat and momentum removal have put in since step 0, eV.
    pub exchanged: f64,
    /// Whether `energy`, `virial` and `forces` belong to `positions` (false only before the first force call).
    pub computed: bool,
    /// eV
    pub energy: f64,
    /// eV
    pub virial: [[f64; 3]; 3],
    /// eV/A
    pub forces: Vec<[f64; 3]>,
}

/// One line of the energy log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Step number.
    pub step: u64,
    /// ps
    pub time: f64,
    /// eV
    pub potential: f64,
    /// eV
    pub kinetic: f64,
    /// eV
    pub conserved: f64,
    /// K
    pub temperature: f64,
    /// bar; `None` without a cell
    pub pressure: Option<f64>,
}

/// A running simulation.
pub struct Simulation {
    system: System,
    state: State,
    settings: Settings,
    calculator: Box<dyn Calculator>,
    parameters: FrameParameters,
    results: Results,
    /// The state before the step being made: what is left when the step fails.
    before: State,
}

fn check(name: &'static str, value: f64, ok: bool, expected: &'static str) -> Result<(), MdError> {
    if ok && value.is_finite() {
        Ok(())
    } else {
        Err(MdError::Setting { name, value, expected })
    }
}

impl Settings {
    fn validate(&self, system: &System) -> Result<(), MdError> {
        check("md.timestep_fs", self.timestep * 1e3, self.timestep > 0.0, "positive")?;
        check("md.max_temperature_K", self.limits.temperature, self.limits.temperature > 0.0, "positive")?;
        check("md.max_displacement_A", self.limits.displacement, self.limits.displacement > 0.0, "positive")?;
        match self.thermostat {
            Thermostat::None => {}
            Thermostat::Langevin { temperature, friction } => {
                check("md.temperature_K", temperature, temperature >= 0.0, "zero or more")?;
                check("md.friction_per_ps", friction, friction >= 0.0, "zero or more")?;
            }
            Thermostat::Rescale { temperature, time } => {
                check("md.temperature_K", temperature, temperature >= 0.0, "zero or more")?;
                check("md.coupling_time_ps", time, time > 0.0, "positive")?;
            }
        }
        if self.remove_momentum_every > 0 && system.frozen.contains(&true) {
            return Err(MdError::Conflict(
                "frozen atoms hold the others in place, so the motion of the centre of mass cannot be removed: set md.remove_com_every = 0",
            ));
        }
        if system.frozen.iter().all(|f| *f) {
            return Err(MdError::Conflict("every atom is frozen: nothing would move"));
        }
        Ok(())
    }
}

impl Simulation {
    /// A simulation at `state`. `order` is the calculator's order saved with the state (empty for a new run).
    ///
    /// # Errors
    /// [`MdError::Setting`] and [`MdError::Conflict`] for settings that make no sense, [`MdError::NotFinite`] for a bad state.
    ///
    /// # Panics
    /// When the lengths of system and state differ.
    pub fn new(
        mut system: System,
        state: State,
        settings: Settings,
        mut calculator: Box<dyn Calculator>,
        parameters: FrameParameters,
        order: &[u32],
    ) -> Result<Self, MdError> {
        assert_eq!(system.len(), state.positions.len());
        assert_eq!(system.len(), state.velocities.len());
        settings.validate(&system)?;
        system.momentum_removed = settings.remove_momentum_every > 0 && system.len() > 1;
        if !order.is_empty() {
            calculator.set_order(order);
        }
        let before = state.clone();
        let simulation =
            Simulation { system, state, settings, calculator, parameters, results: Results::default(), before };
        simulation.check_finite(simulation.state.step)?;
        Ok(simulation)
    }

    /// The fixed part.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// The moving part. After a failed step: as it was before that step.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What enters the model besides positions.
    pub fn parameters(&self) -> &FrameParameters {
        &self.parameters
    }

    /// How it is integrated.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The calculator (its order belongs into a restart file, its peak memory into the report).
    pub fn calculator(&self) -> &dyn Calculator {
        self.calculator.as_ref()
    }

    /// Computes the forces of the starting configuration, unless the state already has them.
    ///
    /// # Errors
    /// [`MdError::Compute`].
    pub fn start(&mut self) -> Result<(), MdError> {
        if !self.state.computed {
            self.forces(self.state.step)?;
            self.before.clone_from(&self.state);
        }
        Ok(())
    }

    /// Energies, temperature and pressure now.
    pub fn sample(&self) -> Sample {
        let kinetic = self.system.kinetic_energy(&self.state.velocities);
        let virial: f64 = (0..3).map(|k| self.state.virial[k][k]).sum();
        Sample {
            step: self.state.step,
            time: self.state.step as f64 * self.settings.timestep,
            potential: self.state.energy,
            kinetic,
            conserved: self.state.energy + kinetic - self.state.exchanged,
            temperature: self.system.temperature(kinetic),
            pressure: self.system.volume().map(|v| (2.0 * kinetic + virial) / (3.0 * v) * BAR),
        }
    }

    /// Makes one step. When it fails, the state is that before the step.
    ///
    /// # Errors
    /// [`MdError::Compute`], [`MdError::Displacement`], [`MdError::Temperature`], [`MdError::NotFinite`].
    pub fn step(&mut self) -> Result<(), MdError> {
        debug_assert!(self.state.computed);
        self.before.clone_from(&self.state);
        let made = self.advance();
        if made.is_err() {
            std::mem::swap(&mut self.state, &mut self.before);
        }
        made
    }

    fn advance(&mut self) -> Result<(), MdError> {
        let step = self.state.step + 1;
        let d = self.settings.timestep;
        self.kick(0.5 * d);
        if let Thermostat::Langevin { temperature, friction } = self.settings.thermostat {
            self.drift(0.5 * d, step)?;
            self.langevin(temperature, friction, step);
            self.drift(0.5 * d, step)?;
        } else {
            self.drift(d, step)?;
        }
        self.forces(step)?;
        self.kick(0.5 * d);
        if let Thermostat::Rescale { temperature, time } = self.settings.thermostat {
            self.rescale(temperature, time, step);
        }
        let every = self.settings.remove_momentum_every;
        if self.system.momentum_removed && step % every == 0 {
            let earlier = self.system.kinetic_energy(&self.state.velocities);
            self.system.remove_momentum(&mut self.state.velocities);
            self.state.exchanged += self.system.kinetic_energy(&self.state.velocities) - earlier;
        }
        self.state.step = step;
        self.check_finite(step)?;
        let temperature = self.system.temperature(self.system.kinetic_energy(&self.state.velocities));
        let limit = self.settings.limits.temperature;
        if temperature > limit {
            return Err(MdError::Temperature { step, temperature, limit });
        }
        Ok(())
    }

    fn forces(&mut self, step: u64) -> Result<(), MdError> {
        let (positions, cell) = (&self.state.positions, self.system.cell.as_ref());
        if step % REORDER_EVERY == 0 {
            self.calculator.reorder(positions, cell);
        }
        self.calculator
            .compute(positions, cell, &self.parameters, Request::default(), &mut self.results)
            .map_err(|source| MdError::Compute { step, source })?;
        self.state.energy = self.results.energy;
        self.state.virial = self.results.virial;
        self.state.forces.clone_from(&self.results.forces);
        self.state.computed = true;
        Ok(())
    }

    fn kick(&mut self, time: f64) {
        for i in 0..self.system.len() {
            if !self.system.frozen[i] {
                let scale = time / (KINETIC * self.system.masses[i]);
                for k in 0..3 {
                    self.state.velocities[i][k] += scale * self.state.forces[i][k];
                }
            }
        }
    }

    fn drift(&mut self, time: f64, step: u64) -> Result<(), MdError> {
        let limit = self.settings.limits.displacement;
        for (atom, v) in self.state.velocities.iter().enumerate() {
            if self.system.frozen[atom] {
                continue;
            }
            // The whole step's way is compared, also where a step drifts in halves.
            let distance = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt() * self.settings.timestep;
            if distance > limit || distance.is_nan() {
                let symbol = self.system.symbols[atom].clone();
                return Err(MdError::Displacement { step, atom, symbol, distance, limit });
            }
            for k in 0..3 {
                self.state.positions[atom][k] += time * v[k];
            }
        }
        Ok(())
    }

    /// `v = c v + sqrt((1 - c^2) kT/m) xi`, `c = exp(-friction d)`, exact for the free particle.
    fn langevin(&mut self, temperature: f64, friction: f64, step: u64) {
        let earlier = self.system.kinetic_energy(&self.state.velocities);
        let c = (-friction * self.settings.timestep).exp();
        // 1 - c^2 without cancellation at low friction.
        let fresh = -(-2.0 * friction * self.settings.timestep).exp_m1();
        for i in 0..self.system.len() {
            if self.system.frozen[i] {
                continue;
            }
            let width = (fresh * BOLTZMANN * temperature / (KINETIC * self.system.masses[i])).sqrt();
            let xi = Stream::new(self.settings.seed, Purpose::Langevin, step, i as u32).normals();
            for k in 0..3 {
                self.state.velocities[i][k] = c * self.state.velocities[i][k] + width * xi[k];
            }
        }
        self.state.exchanged += self.system.kinetic_energy(&self.state.velocities) - earlier;
    }

    /// The kinetic energy K of Nf degrees of freedom becomes
    /// `c K + (1 - c) kT/2 (R^2 + S) + 2 R sqrt(c (1 - c) K kT/2)`, `c = exp(-d/time)`, R normal, S the sum of Nf - 1 squares (appendix A
    /// of the paper, its time step taken exactly).
    fn rescale(&mut self, temperature: f64, time: f64, step: u64) {
        let kinetic = self.system.kinetic_energy(&self.state.velocities);
        let freedom = self.system.degrees_of_freedom();
        if kinetic <= 0.0 || freedom == 0 {
            return;
        }
        let mut stream = Stream::new(self.settings.seed, Purpose::Rescale, step, 0);
        let r = stream.normal();
        let s = stream.squares(freedom - 1);
        let c = (-self.settings.timestep / time).exp();
        let half = 0.5 * BOLTZMANN * temperature;
        let cross = (c * (1.0 - c) * half * kinetic).sqrt();
        let target = c * kinetic + (1.0 - c) * half * (r * r + s) + 2.0 * r * cross;
        // The amplitude along the present direction is sqrt(c K) + R sqrt((1 - c) kT/2); its sign is that of the new velocities.
        let forward = (c * kinetic).sqrt() + r * ((1.0 - c) * half).sqrt() >= 0.0;
        let scale = (target.max(0.0) / kinetic).sqrt() * if forward { 1.0 } else { -1.0 };
        self.state.velocities.iter_mut().flatten().for_each(|v| *v *= scale);
        self.state.exchanged += self.system.kinetic_energy(&self.state.velocities) - kinetic;
    }

    fn check_finite(&self, step: u64) -> Result<(), MdError> {
        for (quantity, values) in
            [("position", &self.state.positions), ("velocity", &self.state.velocities), ("force", &self.state.forces)]
        {
            for (atom, v) in values.iter().enumerate() {
                if let Some(&value) = v.iter().find(|x| !x.is_finite()) {
                    return Err(MdError::NotFinite { step, quantity, atom, value });
                }
            }
        }
        if !self.state.energy.is_finite() {
            return Err(MdError::NotFinite { step, quantity: "energy (of all)", atom: 0, value: self.state.energy });
        }
        Ok(())
    }
}
