//! `weir minimize`: relaxes a structure at fixed cell.

use crate::backend::{Engine, Given};
use crate::cli::{AlgorithmName, MinimizeArgs};
use crate::log::{Level, Log};
use crate::md::{frozen, signals};
use crate::problem::{apart, print, writable, Usage};
use crate::report;
use crate::structures::Reader;
use crate::trace::{self, Trace};
use anyhow::{Context, Error, Result};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use weir_engine::backend::{Calculator, FrameParameters, Results};
use weir_engine::minimize::{minimize, Algorithm, Ending, MinimizeError, Options, Status};
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
    let structure = Reader::new(&args.read)?.first(&args.structure, log)?;
    let types = engine.types(&structure).with_context(|| args.structure.display().to_string())?;
    let parameters = engine.parameters(&given, &structure)?;
    let frozen = frozen(args.freeze.as_deref(), "--freeze", &args.structure, &args.read, &structure)?;
    let inputs = [args.structure.as_path(), &engine.path];
    apart("--out", &args.out, &inputs)?;
    writable(&args.out)?;
    report::header(log, engine, "minimize");
    let mut trace = Trace::new(&engine.policy, &inputs)?;
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
    let relaxed = relax(structure, &frozen, calculator.as_mut(), &parameters, &options, &mut watch, &args.out);
    if let Some(trace) = &mut trace {
        trace.step(calculator.as_ref());
    }
    trace::finish(trace, log);
    // Of steps of a relaxation that failed too, before its error.
    report::remarks(calculator.as_ref(), &mut Vec::new(), |r| log.warn(r));
    let (ending, status) = relaxed.with_context(|| args.structure.display().to_string())?;
    report::settled(calculator.as_ref(), 0, |r| log.info(r));
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

/// Relaxes a structure and writes it to `out`; where a later step fails, what is there until then.
fn relax(
    mut structure: Structure,
    frozen: &[bool],
    calculator: &mut dyn Calculator,
    parameters: &FrameParameters,
    options: &Options,
    watch: &mut dyn FnMut(&Status) -> bool,
    out: &Path,
) -> Result<(Ending, Status)> {
    // Labels of the input belong to other positions, its parameters perhaps to another system.
    structure = Structure {
        energy: None,
        forces: None,
        virial: None,
        velocities: None,
        step: None,
        time: None,
        remarks: Vec::new(),
        ..structure
    };
    parameters.mark(&mut structure);
    let cell = structure.cell;
    let made = minimize(&mut structure.positions, cell.as_ref(), frozen, calculator, parameters, options, watch);
    let ended = match made {
        // Before the second step nothing has moved.
        Err(error @ MinimizeError::Compute { step: 2.., .. }) => return Err(rescue(error.into(), &structure, out)),
        other => other?,
    };
    let moved = ended.1.step > 0;
    let mut results = Results::default();
    calculator
        .compute(&structure.positions, cell.as_ref(), parameters, Default::default(), &mut results)
        .map_err(|error| if moved { rescue(error.into(), &structure, out) } else { error.into() })?;
    structure.energy = Some(results.energy);
    structure.forces = Some(results.forces);
    structure.virial = cell.map(|_| results.virial);
    write(&structure, out)?;
    Ok(ended)
}

/// The error of a relaxation, with what is left of it.
fn rescue(error: Error, structure: &Structure, out: &Path) -> Error {
    match write(structure, out) {
        Ok(()) => error.context(format!("not converged; the last good positions are in {}", out.display())),
        Err(e) => error.context(format!("not converged; the last good positions could not be written ({e:#})")),
    }
}

fn write(structure: &Structure, out: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    write_extxyz(&mut bytes, structure)?;
    std::fs::write(out, bytes).with_context(|| format!("cannot write {}", out.display()))
}

#[cfg(test)]
#[path = "../engine/tests/toy/mod.rs"]
mod toy;

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::structure::{read, ReadOptions};

    fn relaxed(fails_at_call: usize, out: &Path) -> Error {
        let positions = vec![[0.5, 0.0, 0.0], [3.0, 0.4, 0.0]];
        let mut wells = toy::Wells::new(2.0, vec![[0.0; 3], [3.0, 0.0, 0.0]]);
        wells.fails_at_call = Some(fails_at_call);
        let structure = Structure {
            symbols: vec!["Ar".into(); 2],
            positions,
            original: vec![0, 1],
            energy: Some(1.0),
            charge_spin: Some([0.0, 1.0]),
            ..Structure::default()
        };
        let parameters = FrameParameters { charge_spin: Some([-1.0, 2.0]), ..FrameParameters::default() };
        let options = Options { fmax: 1e-9, max_step: 0.05, ..Options::default() };
        relax(structure, &[false; 2], &mut wells, &parameters, &options, &mut |_| true, out).unwrap_err()
    }

    #[test]
    fn a_relaxation_that_fails_late_leaves_its_last_good_positions() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("relaxed.extxyz");
        let text = format!("{:#}", relaxed(4, &out));
        assert!(text.contains("relaxed.extxyz") && text.contains("step 3") && text.contains("NaN"), "{text}");
        let left = read(&out, &ReadOptions::default()).unwrap();
        let x = left.positions[0][0];
        assert!(x < 0.45 && x > 0.3, "two steps of 0.05 A at most were good: {x}");
        assert_eq!((left.energy, left.charge_spin), (None, Some([-1.0, 2.0])));
    }

    #[test]
    fn a_relaxation_that_cannot_begin_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("relaxed.extxyz");
        // The first computation, and the first after a move.
        for call in [1, 2] {
            relaxed(call, &out);
            assert!(!out.exists(), "call {call}");
        }
    }
}
