//! `weir eval`: energy, forces and virial of structures.

use crate::backend::{tell_remarks, Engine, Given};
use crate::cli::EvalArgs;
use crate::compare::Errors;
use crate::log::{Level, Log};
use crate::problem::{apart, print, OutputClosed};
use crate::report;
use crate::slice::FrameSlice;
use crate::structures::Reader;
use crate::table;
use crate::trace::{self, Trace};
use anyhow::{bail, Context, Result};
use serde_json::{json, Map, Value};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;
use weir_engine::backend::{Calculator, Request, Results};
use weir_engine::structure::Structure;

/// Where JSON lines go.
enum Json {
    None,
    Stdout,
    File { file: File, name: String, length: u64 },
}

impl Json {
    fn open(path: Option<&Path>) -> Result<Self> {
        match path {
            None => Ok(Json::None),
            Some(p) if p == Path::new("-") => Ok(Json::Stdout),
            Some(p) => {
                let file = File::create(p).with_context(|| format!("cannot write {}", p.display()))?;
                Ok(Json::File { file, name: p.display().to_string(), length: 0 })
            }
        }
    }

    /// Writes a line, whole or not at all, and at once: whatever ends the program, lines that were computed are there.
    fn line(&mut self, value: &Value) -> Result<()> {
        let line = format!("{value}\n");
        match self {
            Json::None => Ok(()),
            Json::Stdout => print(&line),
            Json::File { file, name, length } => {
                if let Err(error) = file.write_all(line.as_bytes()) {
                    // Cutting needs no room; devices cannot be cut. The write's own error is the one to tell.
                    // What is written next, if anything is, must stand behind the last whole line.
                    let _ = file.set_len(*length).and_then(|()| file.seek(SeekFrom::Start(*length)));
                    return Err(error).with_context(|| format!("cannot write {name}"));
                }
                *length += line.len() as u64;
                Ok(())
            }
        }
    }
}

/// Runs the command. What was computed before an error is written as if the frames ended there.
///
/// # Errors
/// Unreadable files, configurations that the model cannot describe, outputs that cannot be written.
pub fn run(args: &EvalArgs, engine: &Engine, log: &Log) -> Result<()> {
    let given = Given::read(&args.parameters)?;
    let reader = Reader::new(&args.read)?;
    report::header(log, engine, "eval");
    let mut done = Done {
        json: Json::None,
        trace: None,
        errors: Errors::default(),
        current: None,
        last: None,
        frames: 0,
        widened: 0,
        warned: Vec::new(),
    };
    let ended = frames(args, &given, &reader, engine, log, &mut done);
    match ended {
        Err(error) if done.frames == 0 || error.is::<OutputClosed>() => Err(error),
        Ok(()) if done.frames == 0 => bail!("{}: no frame is selected by --frames", args.structure.display()),
        Ok(()) => done.finish(args.compare, log),
        Err(error) => {
            // Why it ended is more than what became of the summary.
            let _ = done.finish(args.compare, log);
            let frames = report::count(done.frames, "frame");
            Err(error.context(format!("stopped after {frames}, whose results are written")))
        }
    }
}

/// Most bytes held, by tier.
type Peak = Vec<(String, u64)>;

/// What a run has done so far.
struct Done {
    json: Json,
    trace: Option<Trace>,
    errors: Errors,
    /// Types and calculator: one serves all frames with the same atoms.
    current: Option<(Vec<i32>, Box<dyn Calculator>)>,
    /// Atoms and peak memory of the calculator before it.
    last: Option<(usize, Peak)>,
    frames: u64,
    /// Steps that were computed twice, but for those of `current`.
    widened: u64,
    /// What came up in steps and was told.
    warned: Vec<String>,
}

impl Done {
    /// What is said of all frames together.
    fn finish(&mut self, compare: bool, log: &Log) -> Result<()> {
        let told = match self.json {
            _ if !compare => Ok(()),
            Json::None => print(&self.errors.table()),
            _ => self.json.line(&json!({ "compare": self.errors.to_json() })),
        };
        trace::finish(self.trace.take(), log);
        self.retire(log);
        let (frames, widened) = (self.frames, self.widened);
        report::widened(widened, "frame").iter().for_each(|text| log.info(text));
        // Of what computed last: where the next calculator could not be made it is the one before.
        if let Some((atoms, peak)) = &self.last {
            let (counted, atoms) = (report::count(frames, "frame"), report::count(*atoms as u64, "atom"));
            let text = format!("{counted}; {atoms} in the last; peak memory: {}", report::peak(peak));
            let fields = json!({ "frames": frames, "widened_steps": widened, "peak_bytes": peak_json(peak) });
            log.event(Level::Info, "done", fields, &text);
        }
        told
    }

    /// Lets a calculator go, once what is to be told of it is kept or told.
    fn retire(&mut self, log: &Log) {
        if let Some((types, calculator)) = self.current.take() {
            report::settled(calculator.as_ref(), 0, |r| log.info(r));
            self.widened += calculator.widened_steps();
            self.last = Some((types.len(), calculator.peak_bytes()));
        }
    }
}

/// Computes and writes one frame after another.
fn frames(args: &EvalArgs, given: &Given, reader: &Reader, engine: &Engine, log: &Log, done: &mut Done) -> Result<()> {
    let wanted = args.frames.unwrap_or(if args.compare { FrameSlice::ALL } else { FrameSlice::FIRST });
    let mut results = Results::default();
    for (number, frame) in reader.frames(&args.structure)?.enumerate() {
        let number = number as u64;
        if wanted.is_past(number) {
            break;
        }
        let frame = frame?;
        if !wanted.contains(number) {
            continue;
        }
        let first = done.frames == 0;
        if first {
            tell_remarks(&frame, &args.structure, log);
        }
        let place = || format!("{}, frame {number}", args.structure.display());
        if args.compare {
            Errors::check(&frame).with_context(place)?;
        }
        let types = engine.types(&frame).with_context(place)?;
        let parameters = engine.parameters(given, &frame).with_context(place)?;
        if first {
            // Not before it is known that there is something to compute: opening empties what lies there.
            let inputs = [args.structure.as_path(), &engine.path];
            if let Some(path) = &args.json {
                apart("--json", path, &inputs)?;
            }
            done.json = Json::open(args.json.as_deref())?;
            done.trace = Trace::new(&engine.policy, &inputs)?;
        }
        if done.current.as_ref().is_none_or(|(t, _)| *t != types) {
            // The old one's memory goes before the new one's comes.
            done.retire(log);
            let calculator = engine.calculator(&types, log)?;
            done.current = Some((types, calculator));
        }
        let (_, calculator) = done.current.as_mut().expect("made above");
        let begin = Instant::now();
        let request = Request { atomic_virial: args.atomic };
        calculator.reorder(&frame.positions, frame.cell.as_ref());
        if first {
            calculator.prepare(&frame.positions, frame.cell.as_ref()).with_context(place)?;
            report::plan(log, calculator.as_ref(), engine.rates_measured());
        }
        let before = calculator.widened_steps();
        let computed = calculator.compute(&frame.positions, frame.cell.as_ref(), &parameters, request, &mut results);
        // Now, for its calculator goes with the next composition, and of a frame that failed before its error.
        report::remarks(calculator.as_ref(), &mut done.warned, |r| log.warn(r));
        computed.with_context(place)?;
        let seconds = begin.elapsed().as_secs_f64();
        if let Some(trace) = &mut done.trace {
            trace.step(calculator.as_ref());
        }
        let again = calculator.widened_steps() - before;
        match done.json {
            Json::None if !args.compare => {
                print(&table::frame(&frame, &results, number, seconds, calculator.as_ref(), args.atomic))?;
            }
            Json::None => {}
            _ => done.json.line(&frame_json(engine, calculator.as_ref(), number, &results, seconds, again))?,
        }
        // Means are those of the lines that are there.
        if args.compare {
            done.errors.add(&frame, &results);
        }
        done.frames += 1;
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
