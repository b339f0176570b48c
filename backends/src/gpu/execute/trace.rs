//! When operations and copies ran on the device, told by events of its driver (`WEIR_PROFILE`).

use super::super::driver::{Driver, DriverError, Event, Stream};
use super::super::memory::{failed, Mark};
use super::Executor;
use std::sync::Arc;
use std::time::Instant;
use weir_allocators::stream::Record;
use weir_engine::backend::ComputeError;
use weir_engine::plan::placement::Program;
use weir_engine::plan::profile::{Profile, Span};

/// Events of a step and what the last one told.
pub(super) struct Trace {
    zero: Instant,
    /// Before the first operation, behind each, behind everything.
    marks: Vec<Mark>,
    spans: Vec<Span>,
    copies: Vec<Record>,
}

impl Trace {
    /// For a program.
    pub fn new(driver: &Arc<dyn Driver>, program: &Program, zero: Instant) -> Result<Self, ComputeError> {
        let operations = program.forward.len() + program.backward.len();
        let marks: Result<_, _> = (0..operations + 2).map(|_| Mark::new(driver)).collect();
        let spans = Vec::with_capacity(operations);
        Ok(Self {
            zero,
            marks: marks.map_err(failed)?,
            spans,
            copies: Vec::with_capacity(4 * program.tickets as usize),
        })
    }

    fn event(&self, at: usize) -> Event {
        self.marks[at].event
    }

    /// Marks the compute stream in front of operation number `at`.
    pub fn mark(&self, driver: &dyn Driver, at: usize) -> Result<(), DriverError> {
        driver.record(self.event(at), Stream::Compute)
    }

    /// Marks the end of a step.
    pub fn end(&self, driver: &dyn Driver) -> Result<(), DriverError> {
        driver.record(self.event(self.marks.len() - 1), Stream::Compute)
    }
}

impl Executor {
    /// Reads the events of a step that has just been waited for.
    pub(super) fn read_trace(&mut self) -> Result<(), DriverError> {
        let driver = self.launcher.driver.clone();
        let Some(trace) = &mut self.trace else { return Ok(()) };
        let now = trace.zero.elapsed().as_secs_f64();
        let base = trace.event(0);
        // Events have no time of day. The end of the step is what host and device have in common.
        let offset = now - driver.elapsed(base, trace.event(trace.marks.len() - 1))?;
        trace.spans.clear();
        trace.copies.clear();
        let program = &self.layout.plan.program;
        let mut begin = offset;
        for (at, op) in program.forward.iter().chain(&program.backward).enumerate() {
            let end = offset + driver.elapsed(base, trace.event(at + 1))?;
            trace.spans.push(Span { op: *op, begin, end });
            begin = end;
        }
        self.arenas.records(driver.as_ref(), base, offset, program, &mut trace.copies)
    }

    /// Operations and copies of the last step, where a profile is taken. Waiting for a copy is an operation of its own; what an operation
    /// took is the time from the end of the one before it.
    pub fn profile(&self) -> Option<Profile> {
        self.trace.as_ref().map(|t| Profile { spans: t.spans.clone(), copies: t.copies.clone() })
    }
}
