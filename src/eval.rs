//! `weir eval`: energy, forces and virial of structures.

use crate::backend::{tell_remarks, Engine, Given};
use crate::cli::EvalArgs;
use crate::compare::Errors;
use crate::log::{Level, Log};
use crate::problem::print;
use crate::report;
use crate::slice::FrameSlice;
use crate::structures::Reader;
use crate::table;
use crate::trace::{self, Trace};
use anyhow::{bail, Context, Result};
use serde_json::{json, Map, Value};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;
use weir_engine::backend::{Calculator, Request, Results};
use weir_engine::structure::Structure;

/// Where JSON lines go.
enum Json {
    None,
    Stdout,
    File(BufWriter<File>, String),
}

impl Json {
    fn open(path: Option<&Path>) -> Result<Self> {
        match path {
            None => Ok(Json::None),
            Some(p) if p == Path::new("-") => Ok(Json::Stdout),
            Some(p) => {
                let file = File::create(p).with_context(|| format!("cannot write {}", p.display()))?;
                Ok(Json::File(BufWriter::new(file), p.display().to_string()))
            }
        }
    }

    fn line(&mut self, value: &Value) -> Result<()> {
        match self {
            Json::None => Ok(()),
            Json::Stdout => print(&format!("{value}\n")),
            Json::File(file, name) => writeln!(file, "{value}").with_context(|| format!("cannot write {name}")),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Json::File(mut file, name) => file.flush().with_context(|| format!("cannot write {name}")),
            _ => Ok(()),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// Unreadable files, configurations that the model cannot describe, outputs that cannot be written.
pub fn run(args: &EvalArgs, engine: &Engine, log: &Log) -> Result<()> {
    let given = Given::read(&args.parameters)?;
    let reader = Reader::new(&args.read)?;
    report::header(log, engine, "eval");
    let wanted = args.frames.unwrap_or(if args.compare { FrameSlice::ALL } else { FrameSlice::FIRST });
    let (mut json, mut trace) = (Json::None, None);
    let mut errors = Errors::default();
    // A calculator serves all frames with the same atoms.
    let mut current: Option<(Vec<i32>, Box<dyn Calculator>)> = None;
    let mut results = Results::default();
    let (mut done, mut widened, mut warned) = (0u64, 0u64, Vec::new());
    for (number, frame) in reader.frames(&args.structure)?.enumerate() {
        let number = number as u64;
        if wanted.is_past(number) {
            break;
        }
        let frame = frame?;
        if !wanted.contains(number) {
            continue;
        }
        if done == 0 {
            tell_remarks(&frame, &args.structure, log);
        }
        let place = || format!("{}, frame {number}", args.structure.display());
        let types = engine.types(&frame).with_context(place)?;
        let parameters = engine.parameters(&given, &frame).with_context(place)?;
        if done == 0 {
            // Not before it is known that there is something to compute: opening empties what lies there.
            json = Json::open(args.json.as_deref())?;
            trace = Trace::new(&engine.policy)?;
        }
        if current.as_ref().is_none_or(|(t, _)| *t != types) {
            // The old one's memory goes before the new one's comes.
            if let Some((_, calculator)) = current.take() {
                report::settled(calculator.as_ref(), 0, |r| log.info(r));
                widened += calculator.widened_steps();
            }
            let calculator = engine.calculator(&types, log)?;
            current = Some((types, calculator));
        }
        let (_, calculator) = current.as_mut().expect("made above");
        let begin = Instant::now();
        let request = Request { atomic_virial: args.atomic };
        calculator.reorder(&frame.positions, frame.cell.as_ref());
        if done == 0 {
            calculator.prepare(&frame.positions, frame.cell.as_ref()).with_context(place)?;
            report::plan(log, calculator.as_ref(), engine.rates_measured());
        }
        let before = calculator.widened_steps();
        let computed = calculator.compute(&frame.positions, frame.cell.as_ref(), &parameters, request, &mut results);
        // Now, for its calculator goes with the next composition, and of a frame that failed before its error.
        report::remarks(calculator.as_ref(), &mut warned, |r| log.warn(r));
        computed.with_context(place)?;
        let seconds = begin.elapsed().as_secs_f64();
        if let Some(trace) = &mut trace {
            trace.step(calculator.as_ref());
        }
        if args.compare {
            errors.add(&frame, &results).with_context(place)?;
        }
        let again = calculator.widened_steps() - before;
        let object = frame_json(engine, calculator.as_ref(), number, &results, seconds, again);
        match json {
            Json::None if !args.compare => {
                print(&table::frame(&frame, &results, number, seconds, calculator.as_ref(), args.atomic))?;
            }
            Json::None => {}
            _ => json.line(&object)?,
        }
        done += 1;
    }
    if done == 0 {
        bail!("{}: no frame is selected by --frames", args.structure.display());
    }
    if args.compare {
        match json {
            Json::None => print(&errors.table())?,
            _ => json.line(&json!({ "compare": errors.to_json() }))?,
        }
    }
    json.finish()?;
    trace::finish(trace, log);
    if let Some((types, calculator)) = &current {
        report::settled(calculator.as_ref(), 0, |r| log.info(r));
        widened += calculator.widened_steps();
        report::widened(widened, "frames").iter().for_each(|text| log.info(text));
        let peak = calculator.peak_bytes();
        let text = format!("{done} frame(s); {} atoms in the last; peak memory: {}", types.len(), report::peak(&peak));
        log.event(
            Level::Info,
            "done",
            json!({ "frames": done, "widened_steps": widened, "peak_bytes": peak_json(&peak) }),
            &text,
        );
    }
    Ok(())
}

fn peak_json(peak: &[(String, u64)]) -> Value {
    Value::Object(peak.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<Map<_, _>>())
}

/// One line of JSON. Numbers are written with as many digits as give the same bits back.
fn frame_json(
    engine: &Engine,
    calculator: &dyn Calculator,
    frame: u64,
    results: &Results,
    seconds: f64,
    widened: u64,
) -> Value {
    let mut object = json!({
        "frame": frame,
        "natoms": results.forces.len(),
        "energy": results.energy,
        "forces": results.forces,
        "virial": results.virial,
        "atomic_energy": results.atomic_energy,
        "model": engine.path.display().to_string(),
        "model_sha256": engine.model.source.sha256,
        "head": engine.model.source.head,
        "backend": calculator.name(),
        "precision": engine.precision(),
        "seconds": seconds,
        "peak_bytes": peak_json(&calculator.peak_bytes()),
        "plan": report::plan_json(calculator, engine.rates_measured()),
        "launches": calculator.launches(),
        "widened_steps": widened,
        "device_memory": report::device_memory_json(calculator),
    });
    if let Some(virials) = &results.atomic_virial {
        object["atomic_virial"] = json!(virials);
    }
    object
}

/// Cell volume, A^3.
pub fn volume(structure: &Structure) -> Option<f64> {
    structure.cell.map(|[a, b, c]| {
        let cross = [b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]];
        (a[0] * cross[0] + a[1] * cross[1] + a[2] * cross[2]).abs()
    })
}
