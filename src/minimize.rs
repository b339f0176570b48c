//! `weir minimize`: relaxes a structure at fixed cell.

use crate::backend::{Engine, Given};
use crate::cli::{AlgorithmName, MinimizeArgs};
use crate::log::{Level, Log};
use crate::md::{frozen, signals};
use crate::problem::{print, Usage};
use crate::report;
use crate::structures::Reader;
use crate::trace::Trace;
use anyhow::{Context, Result};
use serde_json::json;
use std::time::{Duration, Instant};
use weir_engine::backend::Results;
use weir_engine::minimize::{minimize, Algorithm, Ending, Options, Status};
use weir_engine::structure::{write_extxyz, Structure};

/// Time between lines.
const BETWEEN: Duration = Duration::from_secs(10);

/// Runs the command.
///
/// # Errors
/// Unreadable inputs, configurations that the model cannot describe, an output that cannot be written.
pub fn run(args: &MinimizeArgs, engine: &Engine, log: &Log) -> Result<()> {
    let suffix = args.out.extension().map(|e| e.to_string_lossy().to_lowercase());
    if !matches!(suffix.as_deref(), Some("extxyz" | "xyz")) {
        return Err(Usage(format!("--out {}: structures are written as .extxyz (or .xyz)", args.out.display())).into());
    }
    let given = Given::read(&args.parameters)?;
    let mut structure = Reader::new(&args.read)?.first(&args.structure, log)?;
    let types = engine.types(&structure).with_context(|| args.structure.display().to_string())?;
    let parameters = engine.parameters(&given, &structure)?;
    let frozen = frozen(args.freeze.as_deref(), "--freeze", &args.structure, &args.read, &structure)?;
    report::header(log, engine, "minimize");
    let mut trace = Trace::new(&engine.policy)?;
    let mut calculator = engine.calculator(&types, log)?;
    calculator.prepare(&structure.positions, structure.cell.as_ref())?;
    report::plan(log, calculator.as_ref(), engine.rates_measured());
    let algorithm = match args.algorithm {
        AlgorithmName::Fire => Algorithm::Fire,
        AlgorithmName::Lbfgs => Algorithm::Lbfgs,
    };
    let options = Options { algorithm, fmax: args.fmax, steps: args.steps, max_step: args.max_step };
    let stop = signals::catch()?;
    let (began, mut last) = (Instant::now(), None::<Instant>);
    let mut first = None;
    let mut watch = |s: &Status| {
        first.get_or_insert(*s);
        if last.is_none_or(|l| l.elapsed() >= BETWEEN) || log.shows(Level::Debug) {
            last = Some(Instant::now());
            let fields = json!({ "step": s.step, "energy_eV": s.energy, "fmax": s.fmax, "atom": s.atom });
            let text = format!(
                "step {:>5}  energy {:.6} eV  largest force {:.5} eV/A (atom index {})",
                s.step, s.energy, s.fmax, s.atom
            );
            log.event(Level::Info, "progress", fields, &text);
        }
        stop.asked().is_none()
    };
    let result = minimize(
        &mut structure.positions,
        structure.cell.as_ref(),
        &frozen,
        calculator.as_mut(),
        &parameters,
        &options,
        &mut watch,
    );
    let (ending, status) = result.with_context(|| args.structure.display().to_string())?;
    if let Some(mut trace) = trace.take() {
        trace.step(calculator.as_ref());
        trace.finish(log)?;
    }
    report::remarks(log, calculator.as_ref());
    report::settled(calculator.as_ref(), 0, |r| log.info(r));
    // Labels of the input belong to other positions.
    let mut results = Results::default();
    calculator.compute(&structure.positions, structure.cell.as_ref(), &parameters, Default::default(), &mut results)?;
    let relaxed = Structure {
        energy: Some(results.energy),
        forces: Some(results.forces),
        virial: structure.cell.map(|_| results.virial),
        velocities: None,
        step: None,
        time: None,
        remarks: Vec::new(),
        ..structure
    };
    let mut bytes = Vec::new();
    write_extxyz(&mut bytes, &relaxed)?;
    std::fs::write(&args.out, bytes).with_context(|| format!("cannot write {}", args.out.display()))?;
    let (word, warn) = match ending {
        Ending::Converged => ("converged", false),
        Ending::StepLimit => ("not converged: the step limit (--steps) is reached", true),
        Ending::Stopped => ("stopped by a signal", true),
        Ending::Stalled => ("stopped where no step lowers the energy any more: the forces have reached the rounding of the model's arithmetic (try --precision f64)", true),
    };
    if warn {
        log.warn(word);
    }
    let before = first.unwrap_or(status);
    let text = format!(
        "{word} after {} steps ({} force calls, {})\nenergy         {:.6} eV ({:+.6} eV)\nlargest force  {:.6} eV/A (atom index {}; {:.6} before)\nwritten        {}\n",
        status.step,
        status.calls,
        report::duration(began.elapsed().as_secs_f64()),
        status.energy,
        status.energy - before.energy,
        status.fmax,
        status.atom,
        before.fmax,
        args.out.display()
    );
    let fields = json!({
        "converged": ending == Ending::Converged, "steps": status.step, "calls": status.calls, "energy_eV": status.energy,
        "fmax": status.fmax, "out": args.out.display().to_string(), "seconds": began.elapsed().as_secs_f64(),
    });
    log.event(Level::Debug, "summary", fields, "");
    print(&text)
}
