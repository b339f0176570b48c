//! The interface that the executor sees.

use super::super::driver::{
    Arg, DeviceFacts, Driver, DriverError, Event, Function, FunctionFacts, Graph, HostWork, Launch, Memory, Module,
    Side, Stream,
};
use super::order::Order;
use super::{call, lock, pool, Bounds, Emulated, Entry, Guard, Kernel, RunKernel, State, Watch, Work};
use std::ffi::{c_char, CStr};
use weir_kernels::compiled::Compiled;

impl Driver for Emulated {
    fn name(&self) -> &'static str {
        "emulated"
    }

    fn facts(&self) -> &DeviceFacts {
        &self.facts
    }

    fn compiled(&self) -> Option<Compiled> {
        self.compiled
    }

    fn compile_flags(&self) -> &[&str] {
        match self.watch {
            // Functions of thousands of statements: more optimisation would take minutes.
            Watch::Memory if self.compiled.is_some() => &["-Og"],
            _ if self.compiled.is_some() => &["-DWEIR_UNCHECKED", "-Og"],
            Watch::Memory => &[],
            Watch::Lanes => &["-DWEIR_LANES=8", "-g"],
            Watch::Nothing => &["-DWEIR_UNCHECKED"],
            Watch::Sanitizers => {
                &["-DWEIR_UNCHECKED", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
            }
        }
    }

    fn memory(&self) -> Result<(u64, u64), DriverError> {
        self.faults.call("memory")?;
        let heap = lock(&self.heap);
        Ok((heap.capacity - heap.held, heap.capacity))
    }

    fn held(&self) -> u64 {
        lock(&self.heap).held
    }

    fn allocate(&self, memory: Memory, bytes: u64) -> Result<u64, DriverError> {
        if let Some(recording) = &mut lock(&self.state).recording {
            recording.spoil("memory was taken");
            return Err(call("allocate", "recording"));
        }
        let mut heap = lock(&self.heap);
        match self.faults.now() {
            true => Err(heap.short(memory, bytes)),
            false => heap.allocate(memory, bytes),
        }
    }

    fn free(&self, _memory: Memory, address: u64) {
        if let Some(recording) = &mut lock(&self.state).recording {
            recording.spoil("memory was given back");
        }
        lock(&self.heap).free(address);
    }

    fn advise(&self, _address: u64, _bytes: u64, _side: Side) -> Result<(), DriverError> {
        self.faults.call("advise")
    }

    fn prefetch(&self, _address: u64, _bytes: u64, _side: Side, _stream: Stream) -> Result<(), DriverError> {
        self.faults.call("prefetch")
    }

    fn load(&self, image: &[u8]) -> Result<Module, DriverError> {
        let broken = |cause: String| DriverError::Image { chip: "host".into(), cause };
        if self.faults.now() {
            return Err(broken("it fails on purpose".into()));
        }
        let library = pool::take(image).map_err(broken)?;
        let mut state = lock(&self.state);
        state.libraries.push(Some(library));
        Ok(Module(state.libraries.len() as u32 - 1))
    }

    fn unload(&self, module: Module) {
        let library = lock(&self.state).libraries.get_mut(module.0 as usize).and_then(Option::take);
        library.into_iter().for_each(pool::give_back);
    }

    fn function(&self, module: Module, name: &str) -> Result<Function, DriverError> {
        let mut state = lock(&self.state);
        let absent = || DriverError::Kernel(name.into());
        if self.faults.now() {
            return Err(absent());
        }
        let library = &state.libraries.get(module.0 as usize).and_then(Option::as_ref).ok_or_else(absent)?.library;
        // SAFETY: the prelude exports these with these types.
        let entry = unsafe {
            let kernel = library.get::<Kernel>(format!("weir_kernel_{name}").as_bytes()).map_err(|_| absent())?;
            let arity = library.get::<unsafe extern "C" fn() -> u32>(format!("weir_arity_{name}").as_bytes());
            let run = library.get::<RunKernel>(b"weir_run").map_err(|_| absent())?;
            let guard = library.get::<Guard>(b"weir_guard").ok().map(|g| *g);
            let asked = super::lanes::AskLanes::of(library);
            let written = library.get::<unsafe extern "C" fn() -> u64>(format!("weir_written_{name}").as_bytes());
            let handed = library.get::<unsafe extern "C" fn() -> u64>(format!("weir_handed_{name}").as_bytes());
            let (arity, written) = (arity.map_err(|_| absent())?(), written.map_err(|_| absent())?());
            let handed = handed.map_err(|_| absent())?();
            let kinds = library.get::<unsafe extern "C" fn() -> *const c_char>(format!("weir_kinds_{name}").as_bytes());
            let threads = library.get::<unsafe extern "C" fn() -> u32>(format!("weir_most_threads_{name}").as_bytes());
            let bounds = match (kinds, threads) {
                (Ok(kinds), Ok(threads)) => {
                    let kinds = CStr::from_ptr(kinds()).to_string_lossy();
                    Some(Bounds { threads: threads(), kinds: kinds.split_whitespace().map(String::from).collect() })
                }
                _ => None,
            };
            Entry {
                name: name.into(),
                module: module.0,
                kernel: *kernel,
                run: *run,
                guard,
                asked,
                arity,
                written,
                handed,
                bounds,
            }
        };
        state.entries.push(entry);
        Ok(Function(state.entries.len() as u32 - 1))
    }

    fn function_facts(&self, function: Function) -> Result<FunctionFacts, DriverError> {
        self.faults.call("function_facts")?;
        let state = lock(&self.state);
        let bounds = state.entries.get(function.0 as usize).and_then(|e| e.bounds.as_ref());
        Ok(FunctionFacts { registers: 0, shared: 0, local: 0, threads: bounds.map_or(1024, |b| b.threads.min(1024)) })
    }

    fn launch(&self, launch: &Launch) -> Result<(), DriverError> {
        let function = launch.function.0 as usize;
        {
            let state = lock(&self.state);
            let entry = state.entries.get(function).ok_or_else(|| call("launch", "no such function"))?;
            let failed = |cause: String| DriverError::Launch { kernel: entry.name.clone(), cause };
            if self.faults.now() {
                return Err(failed("it fails on purpose".into()));
            }
            if state.libraries[entry.module as usize].is_none() {
                return Err(failed("its image was unloaded".into()));
            }
            if entry.arity as usize != launch.args.len() {
                return Err(failed(format!("{} arguments instead of {}", launch.args.len(), entry.arity)));
            }
            entry.bounds.as_ref().map_or(Ok(()), |b| b.fit(launch)).map_err(failed)?;
            if launch.shared > self.facts.shared {
                return Err(failed(format!(
                    "{} bytes of shared memory, {} there are",
                    launch.shared, self.facts.shared
                )));
            }
            if launch.grid == 0 || launch.block == 0 || launch.block % self.facts.wave != 0 {
                return Err(failed(format!("{} blocks of {} threads", launch.grid, launch.block)));
            }
        }
        let (grid, block, shared) = (launch.grid, launch.block, launch.shared);
        self.queue(launch.stream, Work::Launch { function, grid, block, shared, args: launch.args.to_vec() });
        Ok(())
    }

    unsafe fn copy(&self, stream: Stream, to: u64, from: u64, bytes: u64) -> Result<(), DriverError> {
        self.faults.call("copy")?;
        self.queue(stream, Work::Copy { to, from, bytes });
        Ok(())
    }

    fn fill(&self, stream: Stream, to: u64, byte: u8, bytes: u64) -> Result<(), DriverError> {
        self.faults.call("fill")?;
        self.queue(stream, Work::Fill { to, byte, bytes });
        Ok(())
    }

    fn discard(&self, stream: Stream, address: u64, bytes: u64) -> Result<(), DriverError> {
        self.faults.call("discard")?;
        self.queue(stream, Work::Discard { address, bytes });
        Ok(())
    }

    unsafe fn host(&self, stream: Stream, work: HostWork) -> Result<(), DriverError> {
        self.faults.call("host")?;
        self.queue(stream, Work::Host(work));
        Ok(())
    }

    fn event(&self) -> Result<Event, DriverError> {
        self.faults.call("event")?;
        let mut state = lock(&self.state);
        state.queued.push(0);
        state.reached.push(0);
        state.times.push(None);
        state.events += 1;
        Ok(Event(state.queued.len() as u32 - 1))
    }

    fn drop_event(&self, _event: Event) {
        // Numbers are not used again, so that an event that was dropped is not taken for another one.
        lock(&self.state).events -= 1;
    }

    fn record(&self, event: Event, stream: Stream) -> Result<(), DriverError> {
        self.faults.call("record")?;
        let mut state = lock(&self.state);
        let state = &mut *state;
        let queued = state.queued.get_mut(event.0 as usize).ok_or_else(|| call("record", "no such event"))?;
        if let Some(recording) = state.recording.as_mut().filter(|r| r.takes(stream)) {
            recording.record(event.0, stream);
            return Ok(());
        }
        *queued += 1;
        let work = Work::Record { event: event.0, mark: *queued };
        state.queues.entry(stream).or_default().push_back(work);
        Ok(())
    }

    fn wait(&self, stream: Stream, event: Event) -> Result<(), DriverError> {
        self.faults.call("wait")?;
        let mut state = lock(&self.state);
        let mark = *state.queued.get(event.0 as usize).ok_or_else(|| call("wait", "no such event"))?;
        if let Some(recording) = &mut state.recording {
            if recording.wait(stream, event.0)? {
                return Ok(());
            }
        }
        state.queues.entry(stream).or_default().push_back(Work::Wait { event: event.0, mark });
        Ok(())
    }

    fn elapsed(&self, from: Event, to: Event) -> Result<f64, DriverError> {
        self.faults.call("elapsed")?;
        let state = lock(&self.state);
        // Of an event that was recorded again the old time is none.
        let now = |at: &usize| state.reached.get(*at) == state.queued.get(*at);
        let time = |event: Event| Some(event.0 as usize).filter(now).and_then(|at| *state.times.get(at)?);
        match (time(from), time(to)) {
            (Some(from), Some(to)) if to < from => Ok(-(from - to).as_secs_f64()),
            (Some(from), Some(to)) => Ok((to - from).as_secs_f64()),
            _ => Err(call("elapsed", "an event that was not reached")),
        }
    }

    fn synchronise(&self, stream: Stream) -> Result<(), DriverError> {
        let mut state = lock(&self.state);
        if let Some(recording) = state.recording.as_mut().filter(|r| r.takes(stream)) {
            recording.spoil("somebody waited");
            return Err(call("synchronise", "recording"));
        }
        let done = match self.faults.now() {
            true => Err(call("synchronise", "it fails on purpose")),
            false => self.drain(&mut state, stream, None),
        };
        if done.is_err() {
            // As on a device after a fault: what was queued is lost, and times that it would have told.
            state.queues.clear();
            state.order = Order::default();
            let State { queued, reached, times, .. } = &mut *state;
            for ((queued, reached), time) in queued.iter().zip(reached).zip(times) {
                if *reached < *queued {
                    (*reached, *time) = (*queued, None);
                }
            }
        }
        state.order.settle(stream);
        done
    }

    fn begin_capture(&self) -> Result<(), DriverError> {
        self.faults.call("begin_capture")?;
        lock(&self.state).begin()
    }

    fn end_capture(&self) -> Result<Graph, DriverError> {
        let ended = lock(&self.state).end();
        if ended.is_ok() && self.faults.now() {
            if let Ok(graph) = ended {
                self.forget(graph);
            }
            return Err(call("end_capture", "it fails on purpose"));
        }
        ended
    }

    fn replay(&self, graph: Graph) -> Result<(), DriverError> {
        self.faults.call("replay")?;
        lock(&self.state).replay(graph)
    }

    fn forget(&self, graph: Graph) {
        if let Some(slot) = lock(&self.state).graphs.get_mut(graph.0 as usize) {
            *slot = None;
        }
    }

    fn range(&self, name: Option<&str>) {
        lock(&self.state).ranges.push(name.map(String::from));
    }
}

impl Bounds {
    /// Whether a launch keeps them: a driver copies as many bytes of an argument as its type has, whatever the caller meant.
    fn fit(&self, launch: &Launch) -> Result<(), String> {
        if launch.block > self.threads {
            return Err(format!("blocks of {} threads, compiled for {}", launch.block, self.threads));
        }
        for (k, (arg, kind)) in launch.args.iter().zip(&self.kinds).enumerate() {
            let same = match arg {
                Arg::Pointer(..) | Arg::U64(_) => kind == "u64",
                Arg::U32(_) => kind == "u32",
                Arg::F64(_) => kind == "f64",
            };
            if !same {
                return Err(format!("argument {k} is {arg:?}, compiled as {kind}"));
            }
        }
        Ok(())
    }
}
