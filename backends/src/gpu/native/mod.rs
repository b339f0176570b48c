//! One implementation of [`Driver`](super::driver::Driver) over the functions of a vendor.

mod calls;
mod context;
mod divide;
mod drive;
mod library;
mod memory;
mod ranges;
mod vendor;
mod work;

pub(super) use library::{call, Api};
pub(super) use vendor::{code, Attributes, Vendor, BROKEN};
#[cfg(test)]
pub(super) use {calls::Location, vendor::flag};

use super::driver::{DeviceFacts, DriverError, Memory, Stream};
use calls::Handle;
use context::Place;
use ranges::Ranges;
use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A device with its queues.
pub struct Native {
    api: Api,
    device: c_int,
    facts: DeviceFacts,
    place: Place,
    streams: [AtomicUsize; Stream::ALL.len()],
    held: AtomicU64,
    state: Mutex<State>,
    ranges: Ranges,
}

/// What was made on the device.
#[derive(Default)]
struct State {
    memory: HashMap<u64, (Memory, u64)>,
    /// 0 once unloaded, as events and graphs are once dropped.
    modules: Vec<Handle>,
    functions: Vec<Function>,
    events: Vec<Handle>,
    /// Numbers of events that were dropped.
    free_events: Vec<usize>,
    /// Instantiated; 0 once forgotten.
    graphs: Vec<Handle>,
    /// The last kernel queued on each stream, for messages: faults show at the next wait.
    last: [Option<Queued>; Stream::ALL.len()],
    recording: bool,
}

struct Function {
    handle: Handle,
    name: String,
    /// Dynamic shared memory that it may have without asking for more.
    shared: u32,
    /// Registers of a thread.
    registers: u32,
    /// Per cent of what a multiprocessor can have as shared memory that it has asked for.
    division: c_int,
}

#[derive(Clone, Copy)]
enum Queued {
    Function(u32),
    Graph,
}

impl Native {
    /// The device of this index, modulo their number.
    pub fn open(api: Api, index: u32) -> Result<Native, DriverError> {
        let (device, facts) = api.facts(index % api.devices)?;
        let unusable = |e: DriverError| DriverError::Unusable { device: facts.name.clone(), cause: e.to_string() };
        let place = Place::take(&api, device).map_err(unusable)?;
        let ranges = Ranges::open(api.vendor.cuda);
        let held = AtomicU64::new(0);
        let (state, streams) = Default::default();
        let mut native = Native { api, device, facts, place, streams, held, state, ranges };
        for stream in Stream::ALL {
            let made = native.make_stream(stream);
            let failed =
                |e: DriverError| DriverError::Unusable { device: native.facts.name.clone(), cause: e.to_string() };
            *native.streams[stream as usize].get_mut() = made.map_err(failed)?;
        }
        Ok(native)
    }

    fn make_stream(&self, stream: Stream) -> Result<Handle, DriverError> {
        let _here = self.enter()?;
        let mut made = 0;
        match stream {
            Stream::Beside => {
                call!(&self.api, stream_create_first(&mut made, vendor::flag::STREAM, vendor::flag::FIRST))
            }
            _ => call!(&self.api, stream_create(&mut made, vendor::flag::STREAM)),
        }?;
        Ok(made)
    }

    /// Streams of their own in place of those that are left recording: HIP ends a spoilt recording with its stream alone.
    fn renew_streams(&self) -> Result<(), DriverError> {
        for stream in Stream::ALL {
            let made = self.make_stream(stream)?;
            let old = self.streams[stream as usize].swap(made, Ordering::AcqRel);
            drop(call!(&self.api, stream_destroy(old)));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the lists as they are; each change is one push.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(&self, stream: Stream) -> Handle {
        self.streams[stream as usize].load(Ordering::Acquire)
    }
}

impl Drop for Native {
    /// Nothing here may fail loudly: the host program may have reset the device, or be on its way out.
    fn drop(&mut self) {
        let state = std::mem::take(&mut *self.state());
        if self.place.alive(&self.api, self.device) {
            if let Ok(_here) = self.enter() {
                if state.recording {
                    let mut graph = 0;
                    if call!(&self.api, capture_end(self.stream(Stream::Compute), &mut graph)).is_ok() && graph != 0 {
                        drop(call!(&self.api, graph_destroy(graph)));
                    }
                }
                // What is still queued reads memory that is given back below.
                let queued: Vec<Handle> = Stream::ALL.map(|s| self.stream(s)).into_iter().filter(|s| *s != 0).collect();
                let lost = queued.iter().any(|s| call!(&self.api, stream_synchronise(*s)).is_err());
                // After a fault handles are no longer worth a call; the context takes them along.
                if !lost {
                    for graph in state.graphs.iter().filter(|g| **g != 0) {
                        drop(call!(&self.api, graph_drop(*graph)));
                    }
                    for event in state.events.iter().filter(|e| **e != 0) {
                        drop(call!(&self.api, event_destroy(*event)));
                    }
                    for module in state.modules.iter().filter(|m| **m != 0) {
                        drop(call!(&self.api, module_unload(*module)));
                    }
                    for stream in queued {
                        drop(call!(&self.api, stream_destroy(stream)));
                    }
                    for (address, (memory, _)) in &state.memory {
                        drop(self.release(*memory, *address));
                    }
                }
            }
        }
        self.place.leave(&self.api, self.device);
        self.held.store(0, Ordering::Relaxed);
    }
}
