//! Events, and recorded work.

use crate::machine::{code, fault, Answer, Handle, Machine, State, Vendor};
use std::collections::{HashMap, HashSet};
use std::thread::{self, ThreadId};
use weir_backends::gpu::driver::{Driver, Event, Graph, Stream};

/// An event.
pub struct Mark {
    pub event: Event,
    timed: bool,
    last: Last,
}

/// Where an event was last recorded.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Nowhere,
    /// In a stream.
    Queued,
    /// In a recording: it marks a place of it and is nothing outside.
    Recorded,
}

/// Other threads may do what they like while one records.
const THREAD_LOCAL: i32 = 1;

/// A recording under way.
pub struct Recording {
    thread: ThreadId,
    streams: HashSet<Handle>,
    events: HashSet<Handle>,
    broken: Option<&'static str>,
}

/// Recorded work: as it was recorded, and ready to run.
#[derive(Default)]
pub struct Graphs {
    recorded: HashMap<Handle, Graph>,
    ready: HashMap<Handle, Graph>,
    /// Those of `recorded` that were made ready.
    used: HashSet<Handle>,
}

impl Graphs {
    /// Those of the device.
    pub fn all(&self) -> impl Iterator<Item = Graph> + '_ {
        let open = self.recorded.iter().filter(|(handle, _)| !self.used.contains(handle));
        open.map(|(_, graph)| *graph).chain(self.ready.values().copied())
    }

    pub fn len(&self) -> usize {
        self.recorded.len() + self.ready.len()
    }
}

impl State {
    /// Whether a stream takes part in a recording.
    pub fn records(&self, stream: Handle) -> bool {
        self.recording.as_ref().is_some_and(|r| r.streams.contains(&stream))
    }

    /// Whether another stream that shares the emulated device's takes part.
    pub fn recorded_by_another(&self, handle: Handle, stream: Stream) -> bool {
        let part = |r: &Recording| r.streams.iter().any(|other| self.streams.get(other) == Some(&stream));
        !self.records(handle) && self.recording.as_ref().is_some_and(part)
    }

    /// Whether a stream takes part in a recording that is worth nothing.
    pub fn spoilt(&self, stream: Handle) -> bool {
        self.records(stream) && self.recording.as_ref().is_some_and(|r| r.broken.is_some())
    }

    pub fn spoil(&mut self, why: &'static str) {
        if let Some(recording) = &mut self.recording {
            recording.broken = recording.broken.or(Some(why));
        }
    }

    /// A call that a thread that records must not make.
    pub fn unsafe_now(&mut self, what: &'static str) -> Answer {
        match &self.recording {
            None => Ok(()),
            Some(r) if r.thread == thread::current().id() => {
                self.spoil(what);
                fault(code::CAPTURE_UNSUPPORTED, format!("{what} while this thread records"))
            }
            Some(_) => {
                fault(code::UNKNOWN, format!("{what} while another thread records, which this stand-in cannot do"))
            }
        }
    }

    fn mark(&mut self, event: Handle) -> Answer<&mut Mark> {
        match self.events.get_mut(&event) {
            Some(mark) => Ok(mark),
            None => fault(code::INVALID_HANDLE, format!("no event {event:#x}")),
        }
    }
}

impl Machine {
    pub fn make_event(&self, state: &mut State, flags: u32) -> Answer<Handle> {
        self.here(state)?;
        // Between processes go only events without times.
        if flags > 7 || flags & 6 == 4 {
            return fault(code::INVALID, format!("flags {flags}"));
        }
        let event = self.device.event().or_else(|e| fault(code::UNKNOWN, e))?;
        let handle = state.handle();
        state.events.insert(handle, Mark { event, timed: flags & 2 == 0, last: Last::Nowhere });
        Ok(handle)
    }

    pub fn drop_event(&self, state: &mut State, event: Handle) -> Answer {
        self.here(state)?;
        let mark = state.mark(event)?.event;
        self.device.drop_event(mark);
        state.events.remove(&event);
        Ok(())
    }

    pub fn record(&self, state: &mut State, event: Handle, handle: Handle) -> Answer {
        self.here(state)?;
        let stream = state.stream(handle)?;
        let records = state.records(handle);
        let mark = state.mark(event)?;
        mark.last = if records { Last::Recorded } else { Last::Queued };
        self.device.record(mark.event, stream).or_else(|e| fault(code::UNKNOWN, e))?;
        if let Some(recording) = state.recording.as_mut().filter(|_| records) {
            recording.events.insert(event);
        }
        Ok(())
    }

    pub fn wait(&self, state: &mut State, handle: Handle, event: Handle) -> Answer {
        self.here(state)?;
        let stream = state.stream(handle)?;
        let Mark { event: mark, last, .. } = *state.mark(event)?;
        let records = state.records(handle);
        match last {
            // Nothing to wait for.
            Last::Nowhere => return Ok(()),
            Last::Queued if records => {
                state.spoil("it waits for an event outside");
                return fault(code::CAPTURE_ISOLATION, "a recording waits for an event outside it");
            }
            Last::Queued => {}
            Last::Recorded => match &mut state.recording {
                Some(recording) if recording.events.contains(&event) => _ = recording.streams.insert(handle),
                _ => return fault(code::CAPTURED_EVENT, "an event last recorded in a recording"),
            },
        }
        self.device.wait(stream, mark).or_else(|e| fault(code::UNKNOWN, e))
    }

    pub fn elapsed(&self, state: &mut State, from: Handle, to: Handle) -> Answer<f32> {
        self.here(state)?;
        let [from, to] = [from, to].map(|event| {
            let mark = state.mark(event)?;
            match mark.last {
                _ if !mark.timed => fault(code::INVALID_HANDLE, "an event without times"),
                Last::Nowhere => fault(code::INVALID_HANDLE, "an event that nobody has recorded"),
                Last::Recorded => fault(code::CAPTURED_EVENT, "an event last recorded in a recording"),
                Last::Queued => Ok(mark.event),
            }
        });
        let seconds = self.device.elapsed(from?, to?).or_else(|e| fault(code::NOT_READY, e))?;
        Ok((seconds * 1e3) as f32)
    }

    pub fn begin(&self, state: &mut State, handle: Handle, mode: i32) -> Answer {
        self.here(state)?;
        let stream = state.stream(handle)?;
        if mode != THREAD_LOCAL {
            return fault(code::UNKNOWN, format!("this stand-in records in mode {THREAD_LOCAL} alone, not {mode}"));
        }
        if state.recording.is_some() || stream != Stream::Compute {
            return fault(code::UNKNOWN, "this stand-in records the first stream, once at a time");
        }
        self.device.begin_capture().or_else(|e| fault(code::UNKNOWN, e))?;
        let streams = HashSet::from([handle]);
        let thread = thread::current().id();
        state.recording = Some(Recording { thread, streams, events: HashSet::new(), broken: None });
        Ok(())
    }

    pub fn end(&self, state: &mut State, handle: Handle) -> Answer<Handle> {
        self.here(state)?;
        let Some(stream) = state.streams.get(&handle) else { return fault(code::INVALID_HANDLE, "no such stream") };
        let broken = match &state.recording {
            None => return fault(code::CAPTURE_UNMATCHED, "nothing is recorded"),
            Some(r) if r.thread != thread::current().id() => {
                return fault(code::CAPTURE_WRONG_THREAD, "another thread records");
            }
            Some(_) if *stream != Stream::Compute || !state.records(handle) => {
                return fault(code::CAPTURE_UNMATCHED, "it began on another stream");
            }
            Some(recording) => recording.broken,
        };
        if let Some(why) = broken {
            // AMD's streams go on recording what is worth nothing until they are destroyed.
            if self.vendor == Vendor::Cuda {
                self.abandon(state);
            }
            return fault(code::CAPTURE_INVALIDATED, why);
        }
        state.recording = None;
        let graph = self.device.end_capture().or_else(|e| fault(code::CAPTURE_UNJOINED, e))?;
        let handle = state.handle();
        state.graphs.recorded.insert(handle, graph);
        Ok(handle)
    }

    /// Ends a recording that nobody wants.
    pub fn abandon(&self, state: &mut State) {
        if state.recording.take().is_some() {
            self.device.end_capture().into_iter().for_each(|graph| self.device.forget(graph));
        }
    }

    pub fn make_ready(&self, state: &mut State, graph: Handle, flags: u64) -> Answer<Handle> {
        self.here(state)?;
        // Free memory at a launch; CUDA: nodes have priorities.
        let known = if self.vendor == Vendor::Cuda { 1 | 8 } else { 1 };
        if flags & !known != 0 {
            return fault(code::INVALID, format!("flags {flags}"));
        }
        let Some(recorded) = state.graphs.recorded.get(&graph).copied() else {
            return fault(code::INVALID, format!("no graph {graph:#x}"));
        };
        if !state.graphs.used.insert(graph) {
            return fault(code::UNKNOWN, "this stand-in makes a graph ready once");
        }
        let handle = state.handle();
        state.graphs.ready.insert(handle, recorded);
        Ok(handle)
    }

    /// Here a graph needs nothing on the device.
    pub fn upload(&self, state: &mut State, ready: Handle, stream: Handle) -> Answer {
        self.here(state)?;
        if !state.graphs.ready.contains_key(&ready) {
            return fault(code::INVALID, format!("no graph {ready:#x} that is ready"));
        }
        state.stream(stream)?;
        state.unsafe_now("a graph was uploaded")
    }

    pub fn run(&self, state: &mut State, ready: Handle, stream: Handle) -> Answer {
        self.here(state)?;
        let Some(graph) = state.graphs.ready.get(&ready).copied() else {
            return fault(code::INVALID, format!("no graph {ready:#x} that is ready"));
        };
        match state.stream(stream)? {
            Stream::Compute => self.device.replay(graph).or_else(|e| fault(code::UNKNOWN, e)),
            _ => fault(code::UNKNOWN, "this stand-in runs graphs in the first stream"),
        }
    }

    pub fn drop_graph(&self, state: &mut State, graph: Handle) -> Answer {
        self.here(state)?;
        match state.graphs.recorded.remove(&graph) {
            None => fault(code::INVALID, format!("no graph {graph:#x}")),
            Some(recorded) => {
                if !state.graphs.used.remove(&graph) {
                    self.device.forget(recorded);
                }
                Ok(())
            }
        }
    }

    pub fn drop_ready(&self, state: &mut State, ready: Handle) -> Answer {
        self.here(state)?;
        match state.graphs.ready.remove(&ready) {
            None => fault(code::INVALID, format!("no graph {ready:#x} that is ready")),
            Some(graph) => {
                self.device.forget(graph);
                Ok(())
            }
        }
    }
}
