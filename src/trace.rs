//! `WEIR_PROFILE`: what steps did, as a trace that Chrome (chrome://tracing) and Perfetto open: a row per stream, a block per operation
//! of the step program with its bytes, a memory counter per tier.

use crate::log::Log;
use crate::problem::{apart, one_line};
use anyhow::{Context, Result};
use serde_json::{json, Value};
use std::path::{Path, PathBuf};
use weir_allocators::kind::Tier;
use weir_allocators::policy::Policy;
use weir_allocators::stream::Record;
use weir_engine::backend::Calculator;
use weir_engine::plan::placement::{Op, Place, Plan, SlotId, State};
use weir_engine::plan::profile::{Profile, Span};

/// Steps that are kept: more would make a file that no viewer opens.
const STEPS: usize = 20;
/// Events that are kept, likewise.
const EVENTS: usize = 400_000;

const COMPUTE: u32 = 1;
const OUT: u32 = 2;
const IN: u32 = 3;
/// Between a GPU's page-locked slots and a file.
const FILE_OUT: u32 = 4;
const FILE_IN: u32 = 5;

/// The trace of a run.
pub struct Trace {
    path: PathBuf,
    events: Vec<Value>,
    steps: usize,
    seen: u64,
    /// Whether the rows of the tier `file` have their names, which they get with the first step that uses it.
    files_named: bool,
}

impl Trace {
    /// A trace where the settings ask for one, in a file that is none of the inputs.
    ///
    /// # Errors
    /// A file that is an input or cannot be written.
    pub fn new(policy: &Policy, inputs: &[&Path]) -> Result<Option<Self>> {
        let Some(setting) = &policy.profile else { return Ok(None) };
        let path = setting.value.clone();
        apart(&setting.origin.to_string(), &path, inputs)?;
        // Found now, not after the run.
        std::fs::File::create(&path).with_context(|| format!("{}: cannot write {}", setting.origin, path.display()))?;
        let events = vec![
            json!({ "ph": "M", "pid": 1, "name": "process_name", "args": { "name": format!("weir {}", env!("CARGO_PKG_VERSION")) } }),
            row(COMPUTE, "compute"),
            row(OUT, "copies out"),
            row(IN, "copies in"),
        ];
        Ok(Some(Trace { path, events, steps: 0, seen: 0, files_named: false }))
    }

    /// Adds the calculator's last step, while there is room.
    pub fn step(&mut self, calculator: &dyn Calculator) {
        self.seen += 1;
        let (Some(plan), Some(profile)) = (calculator.plan(), calculator.profile()) else { return };
        if self.steps < STEPS && self.events.len() + 3 * profile.spans.len() < EVENTS {
            if !self.files_named && profile.copies.iter().any(|c| matches!(lane(c), FILE_OUT | FILE_IN)) {
                self.events.extend([row(FILE_OUT, "file, written"), row(FILE_IN, "file, read")]);
                self.files_named = true;
            }
            self.steps += 1;
            self.events.extend(events(plan, &profile));
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self, log: &Log) -> Result<()> {
        let trace = json!({ "displayTimeUnit": "ms", "traceEvents": self.events });
        std::fs::write(&self.path, trace.to_string())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        log.info(&format!("trace of {} of {} steps in {}", self.steps, self.seen, self.path.display()));
        Ok(())
    }
}

/// Writes the trace, if there is one. What was computed matters more: a trace that cannot be written is a warning.
pub fn finish(trace: Option<Trace>, log: &Log) {
    if let Some(Err(error)) = trace.map(|t| t.finish(log)) {
        log.warn(&format!("no trace: {}", one_line(&error)));
    }
}

/// Name and place of an operation for people, and the slots it reads or writes.
fn describe(op: &Op) -> (String, Vec<SlotId>) {
    let slots = |states: &[&State]| {
        let places = states.iter().flat_map(|s| [s.edges, s.angles]);
        places.filter_map(|p| if let Place::Slot(id) = p { Some(id) } else { None }).collect()
    };
    match op {
        Op::Geometry => ("geometry".into(), Vec::new()),
        Op::Project { layer } => (format!("project, layer {layer}"), Vec::new()),
        Op::Forward { layer, tile, input, output } => {
            (format!("forward, layer {layer}, tile {tile}"), slots(&[input, output]))
        }
        Op::Rebuild { layer, tile, input, output } => {
            (format!("rebuild, layer {layer}, tile {tile}"), slots(&[input, output]))
        }
        Op::Fit => ("fitting net".into(), Vec::new()),
        Op::Clear { layer } => (format!("clear, layer {layer}"), Vec::new()),
        Op::Backward { layer, tile, input, adjoint } => {
            (format!("backward, layer {layer}, tile {tile}"), slots(&[input, adjoint]))
        }
        Op::Gather { layer, tile } => (format!("gather, layer {layer}, tile {tile}"), Vec::new()),
        Op::Finish { layer } => (format!("finish, layer {layer}"), Vec::new()),
        Op::Assemble { tile, adjoint } => (format!("assemble, tile {tile}"), slots(&[adjoint])),
        Op::Save { from, to, ticket } => (format!("save {ticket}"), vec![*from, *to]),
        Op::Load { from, to, ticket } => (format!("load {ticket}"), vec![*from, *to]),
        Op::Wait { ticket } => (format!("wait for {ticket}"), Vec::new()),
    }
}

/// Bytes of each tier that are in use while each operation runs: slots from their first to their last use, and what is always there.
pub fn memory(plan: &Plan) -> Vec<Vec<u64>> {
    let ops: Vec<&Op> = plan.program.forward.iter().chain(&plan.program.backward).collect();
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; plan.program.slots.len()];
    for (at, op) in ops.iter().enumerate() {
        for slot in describe(op).1 {
            let life = lives[slot.0 as usize].get_or_insert((at, at));
            life.1 = at;
        }
    }
    let mut change = vec![vec![0i64; plan.tiers.len()]; ops.len() + 1];
    for (life, slot) in lives.iter().zip(&plan.program.slots) {
        if let Some((first, last)) = life {
            change[*first][usize::from(slot.tier)] += slot.bytes as i64;
            change[last + 1][usize::from(slot.tier)] -= slot.bytes as i64;
        }
    }
    let mut now: Vec<i64> = plan.tiers.iter().map(|_| 0).collect();
    // Nodes, graph, weights, scratch, insides.
    now[0] = plan.prediction.peak[0] as i64 - plan.program.arena_bytes.first().copied().unwrap_or(0) as i64;
    now[0] += plan.program.inside.iter().map(|slot| slot.bytes as i64).sum::<i64>();
    let add = |change: &Vec<i64>| {
        now.iter_mut().zip(change).for_each(|(n, c)| *n += c);
        now.iter().map(|n| *n as u64).collect()
    };
    change[..ops.len()].iter().map(add).collect()
}

fn row(tid: u32, name: &str) -> Value {
    json!({ "ph": "M", "pid": 1, "tid": tid, "name": "thread_name", "args": { "name": name } })
}

/// Row of a copy.
fn lane(copy: &Record) -> u32 {
    match (copy.from, copy.to) {
        (Tier::Hbm, _) => OUT,
        (_, Tier::Hbm) => IN,
        (_, Tier::File) => FILE_OUT,
        _ => FILE_IN,
    }
}

fn block(name: &str, class: &str, tid: u32, begin: f64, end: f64, args: Value) -> Value {
    json!({ "ph": "X", "pid": 1, "tid": tid, "name": name, "cat": class, "ts": begin * 1e6, "dur": (end - begin) * 1e6, "args": args })
}

fn events(plan: &Plan, profile: &Profile) -> Vec<Value> {
    let slots = &plan.program.slots;
    let memory = memory(plan);
    let mut events = Vec::with_capacity(2 * profile.spans.len() + profile.copies.len());
    let mut before: Option<&Vec<u64>> = None;
    for (Span { op, begin, end }, now) in profile.spans.iter().zip(&memory) {
        let (name, used) = describe(op);
        let class = name.split([',', ' ']).next().unwrap_or("").to_string();
        let bytes: u64 = used.iter().map(|s| slots[s.0 as usize].bytes).sum();
        // A copy's own time stands in its stream's row.
        if !matches!(op, Op::Save { .. } | Op::Load { .. }) {
            events.push(block(&name, &class, COMPUTE, *begin, *end, json!({ "bytes": bytes })));
        }
        if before != Some(now) {
            for (tier, bytes) in plan.tiers.iter().zip(now) {
                let name = format!("memory {tier}");
                events
                    .push(json!({ "ph": "C", "pid": 1, "name": name, "ts": begin * 1e6, "args": { "bytes": bytes } }));
            }
            before = Some(now);
        }
    }
    for c in &profile.copies {
        let rate = c.bytes as f64 / (c.end - c.begin).max(1e-12) / 1e9;
        let args = json!({ "bytes": c.bytes, "GB/s": rate });
        events.push(block(&format!("{} to {}", c.from, c.to), "copy", lane(c), c.begin, c.end, args));
    }
    events
}
