//! `weir serve`: forces for i-PI, ASE and whoever else speaks i-PI's socket protocol.

mod address;
mod protocol;

use crate::backend::{Engine, Given};
use crate::cli::ServeArgs;
use crate::log::{Level, Log};
use crate::problem::print;
use crate::report;
use crate::structures::Reader;
use crate::trace::{self, Trace};
use address::Address;
use anyhow::{Context, Result};
use protocol::{Message, State, Wire};
use serde_json::json;
use std::time::{Duration, Instant};
use weir_engine::backend::Results;

/// Calls between two sortings of the atoms along the curve.
const REORDER: u64 = 1000;
/// Time between lines.
const BETWEEN: Duration = Duration::from_secs(10);

/// Runs the command: connects, answers until the server says EXIT or goes away.
///
/// # Errors
/// Unreadable inputs, no server, a server that speaks otherwise, configurations that the model cannot describe.
pub fn run(args: &ServeArgs, engine: &Engine, log: &Log) -> Result<()> {
    let address = Address::parse(&args.ipi)?;
    let given = Given::read(&args.parameters)?;
    let structure = Reader::new(&args.read)?.first(&args.structure, log)?;
    let types = engine.types(&structure).with_context(|| args.structure.display().to_string())?;
    let parameters = engine.parameters(&given, &structure)?;
    report::header(log, engine, "serve");
    let (mut trace, mut told, mut warned) =
        (Trace::new(&engine.policy, &[&args.structure, &engine.path])?, 0, Vec::new());
    let mut calculator = engine.calculator(&types, log)?;
    let periodic = structure.cell.is_some();
    let open = if periodic { "periodic" } else { "without a cell: the server's is ignored" };
    let stream = address.connect(Duration::from_secs_f64(args.wait))?;
    let fields = json!({ "address": address.to_string(), "natoms": types.len(), "periodic": periodic });
    log.event(Level::Info, "connected", fields, &format!("connected to {address}: {} atoms, {open}", types.len()));
    let mut wire = Wire::new(stream, types.len());
    let mut results = Results::default();
    let (mut state, mut calls, mut busy) = (State::Ready, 0u64, Duration::ZERO);
    let (began, mut last) = (Instant::now(), Instant::now());
    loop {
        let seen = wire.garbage;
        let message = wire.next().with_context(|| address.to_string())?;
        if wire.garbage > seen {
            log.warn(&format!("{address}: {} headers that mean nothing were passed over", wire.garbage - seen));
        }
        match message {
            Message::Status => {
                if !wire.state(state)? {
                    break;
                }
            }
            Message::Init { bead } => log.say(Level::Debug, &format!("INIT for replica {bead}")),
            Message::Positions => {
                let cell = periodic.then_some(&wire.cell);
                let begin = Instant::now();
                let call = || format!("positions number {} from {address}", calls + 1);
                if calls % REORDER == 0 {
                    calculator.reorder(&wire.positions, cell);
                }
                if calls == 0 {
                    calculator.prepare(&wire.positions, cell).with_context(call)?;
                    report::plan(log, calculator.as_ref(), engine.rates_measured());
                }
                let done = calculator.compute(&wire.positions, cell, &parameters, Default::default(), &mut results);
                report::remarks(calculator.as_ref(), &mut warned, |r| log.warn(r));
                done.with_context(call)?;
                calls += 1;
                busy += begin.elapsed();
                state = State::HaveData;
                if let Some(trace) = &mut trace {
                    trace.step(calculator.as_ref());
                }
                told = report::settled(calculator.as_ref(), told, |r| log.info(r));
                if last.elapsed() >= BETWEEN || log.shows(Level::Debug) {
                    last = Instant::now();
                    let fields = json!({ "calls": calls, "energy_eV": results.energy });
                    let text = format!("{calls} force calls, energy {:.6} eV", results.energy);
                    log.event(Level::Info, "progress", fields, &text);
                }
            }
            Message::GetForce => {
                if state != State::HaveData {
                    return Err(protocol::ProtocolError::NoPositions).with_context(|| address.to_string());
                }
                if !wire.forces(results.energy, &results.forces, &results.virial)? {
                    break;
                }
                state = State::Ready;
            }
            Message::Exit => break,
        }
    }
    trace::finish(trace, log);
    let (all, busy) = (began.elapsed().as_secs_f64(), busy.as_secs_f64());
    let peak = calculator.peak_bytes();
    let fields = json!({ "calls": calls, "seconds": all, "computing_seconds": busy });
    log.event(Level::Debug, "summary", fields, "");
    print(&format!(
        "{calls} force calls in {}, {} of it computing; peak memory: {}\n",
        report::duration(all),
        report::duration(busy),
        report::peak(&peak)
    ))
}
