//! The loop: steps, outputs, restart files, and the ways a run ends.

use super::output::{OutputError, Outputs};
use super::restart::{Restart, RestartError};
use super::simulation::Simulation;
use super::MdError;
use crate::backend::ComputeError;
use crate::structure::Structure;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use thiserror::Error;

/// What to write when, and when to end.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Step at which the run is finished.
    pub steps: u64,
    /// Steps between lines of the energy log.
    pub energy_every: u64,
    /// Steps between frames; 0 = none.
    pub trajectory_every: u64,
    /// Wall time between restart files.
    pub restart_every: Duration,
    /// The restart file.
    pub restart: PathBuf,
    /// Settings the bits depend on, for the restart file.
    pub settings: Vec<(String, String)>,
    /// When the wall time allowed ends.
    pub deadline: Option<Instant>,
}

/// Why a run ended before its last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The number of a signal.
    Signal(i32),
    /// The wall time allowed is nearly used up.
    Deadline,
}

/// How a run ended. Its restart file is that of the last step in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were made.
    Finished,
    /// It was asked to stop.
    Stopped(StopReason),
}

/// Why a run failed.
#[derive(Debug, Error)]
pub enum RunError {
    /// The simulation itself.
    #[error(transparent)]
    Md(#[from] MdError),
    /// An output.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The restart file.
    #[error(transparent)]
    Restart(#[from] RestartError),
}

/// What the caller is told after every step.
pub struct Progress<'a> {
    /// The simulation after the step.
    pub simulation: &'a Simulation,
    /// Whether a restart file was written after this step.
    pub restart_written: bool,
}

impl Simulation {
    /// The present frame with velocities, forces and the parameters that entered the model; with masses too where they are not the
    /// standard ones, so that a run that starts from it moves the same atoms.
    pub fn frame(&self) -> Structure {
        let (system, state) = (self.system(), self.state());
        let mut frame = Structure {
            symbols: system.symbols.clone(),
            positions: state.positions.clone(),
            cell: system.cell,
            velocities: Some(state.velocities.clone()),
            masses: (!system.standard_masses()).then(|| system.masses.clone()),
            energy: state.computed.then_some(state.energy),
            forces: state.computed.then(|| state.forces.clone()),
            virial: (state.computed && system.cell.is_some()).then_some(state.virial),
            original: (0..system.len()).collect(),
            time: Some(self.sample().time),
            step: Some(state.step),
            ..Structure::default()
        };
        self.parameters().mark(&mut frame);
        frame
    }

    /// What a restart file of this moment holds.
    pub fn restart(&self, outputs: Vec<(String, u64)>, settings: Vec<(String, String)>) -> Restart {
        Restart {
            state: self.state().clone(),
            cell: self.system().cell,
            order: self.calculator().order().to_vec(),
            outputs,
            settings,
        }
    }
}

fn record(simulation: &Simulation, outputs: &mut Outputs, schedule: &Schedule) -> Result<(), OutputError> {
    let step = simulation.state().step;
    let due = |every: u64| every > 0 && step % every == 0;
    if due(schedule.energy_every) {
        outputs.energies.write(&simulation.sample())?;
    }
    if due(schedule.trajectory_every) && !outputs.trajectories.is_empty() {
        let frame = simulation.frame();
        outputs.trajectories.iter_mut().try_for_each(|t| t.write(&frame))?;
    }
    Ok(())
}

fn save(simulation: &Simulation, outputs: &mut Outputs, schedule: &Schedule) -> Result<(), RunError> {
    let lengths = outputs.sync()?;
    simulation.restart(lengths, schedule.settings.clone()).write(&schedule.restart)?;
    Ok(())
}

/// Runs until the last step, a stop request, the deadline or an error.
///
/// `stop` is asked before every step. After an error of the simulation itself the outputs are synchronised and `simulation` holds the last
/// good state. Where a backend failed, that state is saved, so that a resumed run loses nothing; where the system itself flew apart, to numbers
/// that are none too, the restart file is the last one written, from before it did.
///
/// # Errors
/// [`RunError`].
pub fn run(
    simulation: &mut Simulation,
    outputs: &mut Outputs,
    schedule: &Schedule,
    stop: &dyn Fn() -> Option<StopReason>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Outcome, RunError> {
    let result = steps(simulation, outputs, schedule, stop, progress);
    // The error that ended the run is the one to tell.
    match &result {
        Err(RunError::Md(MdError::Compute { source, .. }))
            if simulation.state().computed
                && !matches!(source, ComputeError::NotFinite { .. } | ComputeError::Graph(_)) =>
        {
            let _ = save(simulation, outputs, schedule);
        }
        Err(RunError::Md(_)) => {
            let _ = outputs.sync();
        }
        _ => {}
    }
    result
}

fn steps(
    simulation: &mut Simulation,
    outputs: &mut Outputs,
    schedule: &Schedule,
    stop: &dyn Fn() -> Option<StopReason>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Outcome, RunError> {
    let mut saved = Instant::now();
    let mut slowest = Duration::ZERO;
    if !simulation.state().computed {
        simulation.start()?;
        slowest = saved.elapsed();
        record(simulation, outputs, schedule)?;
        progress(&Progress { simulation, restart_written: false });
    }
    while simulation.state().step < schedule.steps {
        let begin = Instant::now();
        // Two of the slowest steps leave room for the step itself and for writing.
        let late = schedule.deadline.is_some_and(|d| begin + 2 * slowest >= d);
        if let Some(reason) = stop().or(late.then_some(StopReason::Deadline)) {
            save(simulation, outputs, schedule)?;
            return Ok(Outcome::Stopped(reason));
        }
        simulation.step()?;
        record(simulation, outputs, schedule)?;
        let restart_written = saved.elapsed() >= schedule.restart_every;
        if restart_written {
            save(simulation, outputs, schedule)?;
            saved = Instant::now();
        }
        slowest = slowest.max(begin.elapsed());
        progress(&Progress { simulation, restart_written });
    }
    save(simulation, outputs, schedule)?;
    Ok(Outcome::Finished)
}
