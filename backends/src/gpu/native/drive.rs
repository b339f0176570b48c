//! The interface that the executor sees.

use super::library::call;
use super::vendor::flag;
use super::Native;
use crate::gpu::driver::{
    DeviceFacts, Driver, DriverError, Event, Function, FunctionFacts, Graph, HostWork, Launch, Memory, Module, Side,
    Stream,
};
use std::sync::atomic::Ordering;

impl Native {
    fn handle(&self, event: Event, call: &'static str) -> Result<usize, DriverError> {
        let found = self.state().events.get(event.0 as usize).copied().filter(|e| *e != 0);
        found.ok_or_else(|| DriverError::Call { call, cause: format!("no {event:?}") })
    }
}

impl Driver for Native {
    fn name(&self) -> &'static str {
        self.api.vendor.name
    }

    fn index(&self) -> u32 {
        u32::try_from(self.device).unwrap_or(0)
    }

    fn facts(&self) -> &DeviceFacts {
        &self.facts
    }

    fn devices(&self) -> u32 {
        self.api.devices
    }

    fn memory(&self) -> Result<(u64, u64), DriverError> {
        self.free_and_all()
    }

    fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    fn allocate(&self, memory: Memory, bytes: u64) -> Result<u64, DriverError> {
        self.take(memory, bytes)
    }

    fn free(&self, memory: Memory, address: u64) {
        self.give(memory, address);
    }

    fn advise(&self, address: u64, bytes: u64, side: Side) -> Result<(), DriverError> {
        self.advise_managed(address, bytes, side)
    }

    fn prefetch(&self, address: u64, bytes: u64, side: Side, stream: Stream) -> Result<(), DriverError> {
        self.prefetch_managed(address, bytes, side, stream)
    }

    fn load(&self, image: &[u8]) -> Result<Module, DriverError> {
        self.load_image(image)
    }

    fn unload(&self, module: Module) {
        self.drop_image(module);
    }

    fn function(&self, module: Module, name: &str) -> Result<Function, DriverError> {
        self.find_function(module, name)
    }

    fn function_facts(&self, function: Function) -> Result<FunctionFacts, DriverError> {
        self.facts_of(function)
    }

    fn launch(&self, launch: &Launch) -> Result<(), DriverError> {
        self.queue(launch)
    }

    unsafe fn copy(&self, stream: Stream, to: u64, from: u64, bytes: u64) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { self.queue_copy(stream, to, from, bytes) }
    }

    fn fill(&self, stream: Stream, to: u64, byte: u8, bytes: u64) -> Result<(), DriverError> {
        if bytes == 0 {
            return Ok(());
        }
        let _here = self.enter()?;
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        call!(&self.api, fill(to, byte, size, self.stream(stream)))
    }

    unsafe fn host(&self, stream: Stream, work: HostWork) -> Result<(), DriverError> {
        let _here = self.enter()?;
        let data = work.data as *mut std::ffi::c_void;
        call!(
            &self.api,
            host_function(self.stream(stream), work.function, data),
            "use WEIR_PLACEMENT=hbm,pinned or hbm,system"
        )
    }

    fn event(&self) -> Result<Event, DriverError> {
        let _here = self.enter()?;
        let mut event = 0;
        call!(&self.api, event_create(&mut event, flag::EVENT))?;
        let mut state = self.state();
        // Traces have tens of thousands of them: a free number is not searched for.
        let at = state.free_events.pop().unwrap_or_else(|| {
            state.events.push(0);
            state.events.len() - 1
        });
        state.events[at] = event;
        Ok(Event(at as u32))
    }

    fn drop_event(&self, event: Event) {
        let at = event.0 as usize;
        let handle = {
            let mut state = self.state();
            let handle = state.events.get_mut(at).map_or(0, std::mem::take);
            if handle != 0 {
                state.free_events.push(at);
            }
            handle
        };
        if handle != 0 {
            if let Ok(_here) = self.enter() {
                drop(call!(&self.api, event_destroy(handle)));
            }
        }
    }

    fn record(&self, event: Event, stream: Stream) -> Result<(), DriverError> {
        let _here = self.enter()?;
        let handle = self.handle(event, self.api.calls.event_record.name)?;
        call!(&self.api, event_record(handle, self.stream(stream)))
    }

    fn wait(&self, stream: Stream, event: Event) -> Result<(), DriverError> {
        let _here = self.enter()?;
        let handle = self.handle(event, self.api.calls.stream_wait.name)?;
        call!(&self.api, stream_wait(self.stream(stream), handle, 0))
    }

    fn elapsed(&self, from: Event, to: Event) -> Result<f64, DriverError> {
        let _here = self.enter()?;
        let name = self.api.calls.event_elapsed.name;
        let (from, to) = (self.handle(from, name)?, self.handle(to, name)?);
        let mut milliseconds = 0f32;
        call!(&self.api, event_elapsed(&mut milliseconds, from, to))?;
        Ok(f64::from(milliseconds) * 1e-3)
    }

    fn synchronise(&self, stream: Stream) -> Result<(), DriverError> {
        self.settle(stream)
    }

    fn begin_capture(&self) -> Result<(), DriverError> {
        self.start_recording()
    }

    fn end_capture(&self) -> Result<Graph, DriverError> {
        self.finish_recording()
    }

    fn replay(&self, graph: Graph) -> Result<(), DriverError> {
        self.run_recorded(graph)
    }

    fn forget(&self, graph: Graph) {
        self.drop_recorded(graph);
    }

    fn range(&self, name: Option<&str>) {
        self.ranges.mark(name);
    }
}
