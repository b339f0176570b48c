//! `weir md`: sets a run up, watches it, and tells how it went.

pub mod config;
mod keys;
mod lock;
mod masses;
mod plot;
mod progress;
mod setup;
pub mod signals;

use crate::backend::Engine;
use crate::cli::MdArgs;
use crate::log::{Level, Log};
use crate::problem::{one_line, Usage};
use crate::report::{self, count, duration, Speed};
use crate::settings::{flags, Sources};
use crate::trace;
use anyhow::{Context, Result};
use config::Config;
use serde_json::json;
pub use setup::frozen;
use setup::Files;
use std::path::Path;
use std::time::{Duration, Instant};
use weir_engine::md::{self, Outcome, RunError, Schedule, Simulation, StopReason, Thermostat};
use weir_engine::structure::write_extxyz;

/// Runs the command. `began` is when the program started: `--maxh` counts from there.
///
/// # Errors
/// Wrong configurations, unreadable inputs, runs that fly apart, outputs that cannot be written.
pub fn run(args: &MdArgs, sources: &Sources, log: &Log, began: Instant) -> Result<()> {
    let config = Config::load(&args.config, &args.set)?;
    let deadline = match args.maxh {
        Some(h) if h.is_finite() && h > 0.0 && h < 1e6 => Some(began + Duration::from_secs_f64(h * 3600.0)),
        Some(h) => return Err(Usage(format!("--maxh {h}: it must be positive")).into()),
        None => None,
    };
    let stop = signals::catch()?;
    let (set, file) = config.layers()?;
    let resolved = sources.settle(&[flags(&args.compute, args.head.as_deref())?, set], &file)?;
    let model = &config.content.model;
    let mut engine = Engine::load(&model.path, model.allow_unknown, resolved, log)?;
    engine.session.skin = config.content.compute.skin_A;
    report::header(log, &engine, "md");

    let files = Files::new(&config);
    setup::apart(&config, &files)?;
    // Before anything is looked at that another run may be writing, and until everything is written.
    let _lock = lock::Lock::take(files.lock.clone(), log)?;
    let restart = setup::choose(args, &config, &files, log)?;
    let resumed = restart.is_some();
    let ready = setup::prepare(&config, &engine, &files, restart, log)?;
    let (mut simulation, mut outputs, settings, mut trace) =
        (ready.simulation, ready.outputs, ready.settings, ready.trace);
    let schedule = Schedule {
        steps: config.steps(),
        energy_every: config.content.output.energy_every,
        trajectory_every: config.content.output.trajectory_every,
        restart_every: Duration::from_secs_f64(config.content.output.restart_minutes * 60.0),
        restart: files.restart.clone(),
        settings,
        deadline,
    };
    let first = simulation.state().step;
    tell_start(&config, &simulation, &schedule, resumed, log);
    let mut shown = progress::Shown::new(log, first, schedule.steps);
    let request = || stop.asked().map(StopReason::Signal);
    let (mut told, mut warned) = (0, Vec::new());
    let result = md::run(&mut simulation, &mut outputs, &schedule, &request, &mut |p| {
        shown.step(p.simulation);
        // At once: a run of days that computes every step twice can be stopped.
        report::remarks(p.simulation.calculator(), &mut warned, |r| shown.say(Level::Warn, r));
        told = report::settled(p.simulation.calculator(), told, |r| shown.say(Level::Info, r));
        if let Some(trace) = &mut trace {
            trace.step(p.simulation.calculator());
        }
        if p.restart_written {
            shown.say(Level::Debug, &format!("restart file written at step {}", p.simulation.state().step));
        }
    });
    let wall = shown.finish();
    // Of a step that failed too, before its error.
    report::remarks(simulation.calculator(), &mut warned, |r| log.warn(r));
    // What the run left is made safe first.
    let ended = result.map_err(|error| failure(error, &simulation, &files));
    let kept = match ended {
        Ok(Outcome::Finished) => write_frame(&simulation, &files.last),
        _ => Ok(()),
    };
    trace::finish(trace, log);
    let outcome = ended?;
    kept?;
    finish(&config, &simulation, &files, outcome, first, wall, log)
}

fn tell_start(config: &Config, simulation: &Simulation, schedule: &Schedule, resumed: bool, log: &Log) {
    let (system, settings) = (simulation.system(), simulation.settings());
    let ensemble = match settings.thermostat {
        Thermostat::None => "NVE (velocity Verlet)".to_string(),
        Thermostat::Langevin { temperature, friction } => {
            format!("NVT at {temperature} K (Langevin BAOAB, friction {friction}/ps)")
        }
        Thermostat::Rescale { temperature, time } => {
            format!("NVT at {temperature} K (stochastic velocity rescaling, {time} ps)")
        }
    };
    let frozen = system.frozen.iter().filter(|f| **f).count();
    let frozen = if frozen > 0 { format!(", {frozen} frozen") } else { String::new() };
    let from = match (resumed, simulation.state().step) {
        (true, step) => format!("resumed at step {step} of {}", schedule.steps),
        (false, _) => count(schedule.steps, "step"),
    };
    let text = format!(
        "  run        {}{frozen}, {} degrees of freedom, {ensemble}, {} fs, {from}",
        count(system.len() as u64, "atom"),
        system.degrees_of_freedom(),
        settings.timestep * 1e3,
    );
    let fields = json!({
        "atoms": system.len(), "degrees_of_freedom": system.degrees_of_freedom(), "ensemble": ensemble,
        "timestep_fs": settings.timestep * 1e3, "steps": schedule.steps, "resumed": resumed,
        "step": simulation.state().step, "config": config.path.display().to_string(),
    });
    log.event(Level::Info, "run", fields, &text);
}

/// The error of a run, with what is left of it.
fn failure(error: RunError, simulation: &Simulation, files: &Files) -> anyhow::Error {
    let apart = matches!(error, RunError::Md(_)) && simulation.state().computed;
    let step = simulation.state().step;
    let mut text = format!("the run stopped after step {step}");
    if apart {
        let path = &files.last_good;
        match write_frame(simulation, path) {
            Ok(()) => text += &format!("; the last good frame is in {}", path.display()),
            Err(e) => text += &format!("; the last good frame could not be written ({e:#})"),
        }
    }
    match weir_engine::md::Restart::read(&files.restart) {
        Ok(r) => text += &format!("; {} is of step {}", files.restart.display(), r.state.step),
        Err(e) => text += &format!("; {e}"),
    }
    anyhow::Error::new(error).context(text)
}

fn write_frame(simulation: &Simulation, path: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    write_extxyz(&mut bytes, &simulation.frame())?;
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Draws the plot; whether there is one now. The run is good without.
fn plotted(config: &Config, series: &plot::Series, files: &Files, atoms: usize, log: &Log) -> bool {
    if !config.content.output.plot || series.time.len() < 2 {
        return false;
    }
    let title = files.energies.file_stem().map_or(String::new(), |s| s.to_string_lossy().into_owned());
    let target = config.content.md.temperature_K.filter(|_| config.content.md.thermostat.is_some());
    let drawn = plot::draw(series, &plot::Labels { title: &title, atoms, target }, &files.plot);
    if let Err(error) = &drawn {
        log.warn(&format!("no plot: {}", one_line(error)));
    }
    drawn.is_ok()
}

fn finish(
    config: &Config,
    simulation: &Simulation,
    files: &Files,
    outcome: Outcome,
    first: u64,
    wall: Duration,
    log: &Log,
) -> Result<()> {
    let (system, step) = (simulation.system(), simulation.state().step);
    let speed = Speed::new(step - first, system.len(), simulation.settings().timestep, wall);
    let series = plot::Series::read(&files.energies).unwrap_or_else(|error| {
        log.warn(&format!("no plot, drift and mean temperature: {}", one_line(&error)));
        plot::Series::default()
    });
    let plotted = plotted(config, &series, files, system.len(), log);
    let peak = simulation.calculator().peak_bytes();
    let drift = series.drift().map(|d| d / system.len() as f64);
    let temperature = series.temperature();
    let ending = match outcome {
        Outcome::Finished => format!("finished {} ({:.3} ps)", count(step, "step"), simulation.sample().time),
        Outcome::Stopped(StopReason::Signal(n)) => {
            format!("stopped by {} after step {step}; continue with --resume", signals::name(n))
        }
        Outcome::Stopped(StopReason::Deadline) => {
            format!("stopped by --maxh after step {step}; continue with --resume")
        }
    };
    let mut lines = vec![ending.clone()];
    if step > first {
        lines.push(format!(
            "  speed        {:.4} ns/day, {:.2} steps/s, {:.3} katom-step/s ({} in {})",
            speed.ns_per_day,
            speed.steps,
            speed.katom_steps,
            count(step - first, "step"),
            duration(wall.as_secs_f64())
        ));
    }
    if let Some(d) = drift {
        lines.push(format!("  drift        {d:.3e} eV/atom/ps (slope of the conserved quantity)"));
    }
    if let Some(t) = temperature {
        lines.push(format!("  temperature  {t:.1} K (mean of the second half)"));
    }
    let widened = simulation.calculator().widened_steps();
    lines.extend(report::widened(widened, "step").map(|text| format!("  precision    {text}")));
    lines.push(format!("  peak memory  {}", report::peak(&peak)));
    let mut written = vec![files.energies.display().to_string()];
    written.extend(files.trajectories.iter().map(|(p, _)| p.display().to_string()));
    written.push(files.restart.display().to_string());
    if outcome == Outcome::Finished {
        written.push(files.last.display().to_string());
    }
    if plotted {
        written.push(files.plot.display().to_string());
    }
    lines.push(format!("  files        {}", written.join(", ")));
    let fields = json!({
        "finished": outcome == Outcome::Finished, "ending": ending, "step": step, "wall_seconds": wall.as_secs_f64(),
        "ns_per_day": speed.ns_per_day, "steps_per_second": speed.steps, "katom_steps_per_second": speed.katom_steps,
        "drift_eV_per_atom_ps": drift, "temperature_K": temperature, "files": written,
        "widened_steps": widened,
        "peak_bytes": peak.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    });
    log.event(Level::Info, "summary", fields, &lines.join("\n"));
    Ok(())
}
