//! The emulated device: kernels compiled by the host's compiler, threads of a block as fibres, memory checked and counted.
//!
//! Streams are queues that nobody works on until somebody waits: then the wanted one runs as far as events allow, the others only as far
//! as it needs them ([`Eagerness::Lazy`]), or all others first ([`Eagerness::Eager`]). A program that forgets a wait computes with memory
//! that was not written yet, or was written too early, under one of the two.

mod memory;

use super::driver::{
    Arg, DeviceFacts, Driver, DriverError, Event, Function, FunctionFacts, Graph, Launch, Memory, Module, Side, Stream,
};
use libloading::Library;
use memory::{Heap, Word};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use weir_kernels::Chip;

/// When other streams run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eagerness {
    /// As late as possible.
    #[default]
    Lazy,
    /// As early as possible.
    Eager,
}

/// What kernels are watched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// Every access to device and shared memory: bounds, reads of what nobody wrote, missing barriers, two blocks at one place; bytes and
    /// operations are counted.
    #[default]
    Memory,
    /// Nothing: ten times as fast.
    Nothing,
    /// The compiler's sanitizers for addresses and undefined behaviour, on plain pointers. The process must have been started with the
    /// sanitizer's library preloaded.
    Sanitizers,
}

/// What an emulated device is.
#[derive(Clone, Copy, Debug)]
pub struct EmulatedOptions {
    /// Bytes of device memory.
    pub memory: u64,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// Lanes of a wave.
    pub wave: u32,
    /// When other streams run.
    pub eagerness: Eagerness,
    /// What kernels are watched for.
    pub watch: Watch,
}

impl Default for EmulatedOptions {
    fn default() -> Self {
        Self { memory: 4 << 30, shared: 160 << 10, wave: 32, eagerness: Eagerness::Lazy, watch: Watch::Memory }
    }
}

/// What the launches of a kernel have done: every distinct address counts once for each launch and direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// Launches.
    pub launches: u64,
    /// Bytes read from device memory.
    pub read_bytes: u64,
    /// Bytes written to device memory.
    pub written_bytes: u64,
    /// Fused multiply-adds.
    pub fma: u64,
    /// Activations evaluated.
    pub activations: u64,
    /// Bytes to and from shared memory, every access counted.
    pub shared_bytes: u64,
}

/// Twin of `weir::Counts`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Counts {
    read_bytes: u64,
    written_bytes: u64,
    fma: u64,
    activations: u64,
    shared_bytes: u64,
}

/// Twin of `weir::Raw`.
#[repr(C)]
struct Raw {
    value: u64,
    bytes: u64,
    words: *mut Word,
}

/// Twin of `weir::Run`.
#[repr(C)]
struct Run {
    grid: u32,
    threads: u32,
    shared: u32,
    wave: u32,
    epoch: u32,
    pad: u32,
    args: *const Raw,
    counts: Counts,
    fault: [u8; 256],
}

type Kernel = unsafe extern "C" fn(*const Raw);
type RunKernel = unsafe extern "C" fn(Kernel, *mut Run) -> i32;

#[derive(Clone)]
struct Entry {
    name: String,
    kernel: Kernel,
    run: RunKernel,
    arity: u32,
}

#[derive(Clone)]
enum Work {
    Launch { function: usize, grid: u32, block: u32, shared: u32, args: Vec<Arg> },
    Copy { to: u64, from: u64, bytes: u64 },
    Fill { to: u64, byte: u8, bytes: u64 },
    Discard { address: u64, bytes: u64 },
    Record { event: u32, mark: u64 },
    Wait { event: u32, mark: u64 },
}

#[derive(Default)]
struct State {
    libraries: Vec<Library>,
    entries: Vec<Entry>,
    queues: BTreeMap<Stream, VecDeque<Work>>,
    /// Marks of each event that were queued, and reached.
    queued: Vec<u64>,
    reached: Vec<u64>,
    capture: Option<Vec<(Stream, Work)>>,
    graphs: Vec<Option<Vec<(Stream, Work)>>>,
    counts: BTreeMap<String, KernelCounts>,
    epoch: u32,
}

/// The device.
pub struct Emulated {
    facts: DeviceFacts,
    eagerness: Eagerness,
    watch: Watch,
    heap: Mutex<Heap>,
    state: Mutex<State>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

fn call(call: &'static str, cause: impl ToString) -> DriverError {
    DriverError::Call { call, cause: cause.to_string() }
}

impl Emulated {
    /// A device.
    pub fn new(options: EmulatedOptions) -> Self {
        let facts = DeviceFacts {
            name: "emulated device".into(),
            chip: Chip::Host,
            driver: env!("CARGO_PKG_VERSION").into(),
            wave: options.wave,
            units: 4,
            shared: options.shared,
            memory: options.memory,
            pageable: true,
            host_page_tables: false,
            concurrent_managed: true,
            integrated: false,
            host_node: None,
        };
        Self {
            facts,
            eagerness: options.eagerness,
            watch: options.watch,
            heap: Mutex::new(Heap::new(options.memory)),
            state: Mutex::default(),
        }
    }

    /// What every kernel has done so far.
    pub fn counts(&self) -> BTreeMap<String, KernelCounts> {
        lock(&self.state).counts.clone()
    }

    fn queue(&self, stream: Stream, work: Work) {
        let mut state = lock(&self.state);
        match &mut state.capture {
            Some(recorded) => recorded.push((stream, work)),
            None => state.queues.entry(stream).or_default().push_back(work),
        }
    }

    /// Runs one stream until it is empty or, with `until`, an event has been reached.
    fn drain(&self, state: &mut State, stream: Stream, until: Option<(u32, u64)>) -> Result<(), DriverError> {
        loop {
            if until.is_some_and(|(event, mark)| state.reached[event as usize] >= mark) {
                return Ok(());
            }
            if self.eagerness == Eagerness::Eager {
                for other in Stream::ALL {
                    if other != stream {
                        self.run_ready(state, other)?;
                    }
                }
            }
            let Some(work) = state.queues.entry(stream).or_default().pop_front() else { return Ok(()) };
            if let Work::Wait { event, mark } = work {
                if state.reached[event as usize] < mark {
                    let holder = Stream::ALL.into_iter().find(|other| {
                        let has =
                            |w: &Work| matches!(w, Work::Record { event: e, mark: m } if *e == event && *m >= mark);
                        *other != stream && state.queues.get(other).is_some_and(|q| q.iter().any(has))
                    });
                    let Some(holder) = holder else { return Err(call("wait", "an event that nobody will record")) };
                    self.drain(state, holder, Some((event, mark)))?;
                }
                continue;
            }
            self.work(state, work)?;
        }
    }

    /// Runs what a stream can run without others.
    fn run_ready(&self, state: &mut State, stream: Stream) -> Result<(), DriverError> {
        while let Some(work) = state.queues.entry(stream).or_default().pop_front() {
            if let Work::Wait { event, mark } = work {
                if state.reached[event as usize] < mark {
                    state.queues.entry(stream).or_default().push_front(work);
                    return Ok(());
                }
                continue;
            }
            self.work(state, work)?;
        }
        Ok(())
    }

    fn work(&self, state: &mut State, work: Work) -> Result<(), DriverError> {
        match work {
            Work::Launch { function, grid, block, shared, args } => {
                let entry = state.entries[function].clone();
                state.epoch += 1;
                self.launch_now(state, &entry, grid, block, shared, &args)
            }
            Work::Copy { to, from, bytes } => {
                // SAFETY: whoever queued the copy answers for both ends.
                unsafe { lock(&self.heap).copy(to, from, bytes) }.map_err(|e| call("copy", e))
            }
            Work::Fill { to, byte, bytes } => {
                lock(&self.heap).mark(to, bytes, true).map_err(|e| call("fill", e))?;
                // SAFETY: `mark` found the range inside an allocation of this heap.
                unsafe { std::slice::from_raw_parts_mut(to as *mut u8, bytes as usize) }.fill(byte);
                Ok(())
            }
            Work::Discard { address, bytes } => {
                lock(&self.heap).mark(address, bytes, false).map_err(|e| call("discard", e))
            }
            Work::Record { event, mark } => {
                let reached = &mut state.reached[event as usize];
                *reached = (*reached).max(mark);
                Ok(())
            }
            Work::Wait { .. } => Ok(()),
        }
    }

    fn launch_now(
        &self,
        state: &mut State,
        entry: &Entry,
        grid: u32,
        block: u32,
        shared: u32,
        args: &[Arg],
    ) -> Result<(), DriverError> {
        let failed = |cause: String| DriverError::Launch { kernel: entry.name.clone(), cause };
        let mut heap = lock(&self.heap);
        let raw = args.iter().enumerate().map(|(k, arg)| {
            let (value, bytes, words) = match *arg {
                Arg::Pointer(0, _) => (0, 0, std::ptr::null_mut()),
                Arg::Pointer(at, bytes) => {
                    let words = heap.words(at, bytes).map_err(|e| failed(format!("argument {k}: {e}")))?;
                    if words.is_null() && bytes > 0 {
                        return Err(failed(format!("argument {k} is not memory of the device")));
                    }
                    (at, bytes, words)
                }
                Arg::U32(v) => (u64::from(v), 0, std::ptr::null_mut()),
                Arg::U64(v) => (v, 0, std::ptr::null_mut()),
                Arg::F64(v) => (v.to_bits(), 0, std::ptr::null_mut()),
            };
            Ok(Raw { value, bytes, words })
        });
        let raw: Vec<Raw> = raw.collect::<Result<_, DriverError>>()?;
        let mut run = Run {
            grid,
            threads: block,
            shared,
            wave: self.facts.wave,
            epoch: state.epoch,
            pad: 0,
            args: raw.as_ptr(),
            counts: Counts::default(),
            fault: [0; 256],
        };
        // SAFETY: the library was made from our own prelude, whose structs are these; all ranges were checked above.
        let status = unsafe { (entry.run)(entry.kernel, &mut run) };
        if status != 0 {
            let end = run.fault.iter().position(|b| *b == 0).unwrap_or(run.fault.len());
            return Err(failed(String::from_utf8_lossy(&run.fault[..end]).into_owned()));
        }
        let total = state.counts.entry(entry.name.clone()).or_default();
        total.launches += 1;
        total.read_bytes += run.counts.read_bytes;
        total.written_bytes += run.counts.written_bytes;
        total.fma += run.counts.fma;
        total.activations += run.counts.activations;
        total.shared_bytes += run.counts.shared_bytes;
        Ok(())
    }
}

impl Driver for Emulated {
    fn name(&self) -> &'static str {
        "emulated"
    }

    fn facts(&self) -> &DeviceFacts {
        &self.facts
    }

    fn compile_flags(&self) -> &[&str] {
        match self.watch {
            Watch::Memory => &[],
            Watch::Nothing => &["-DWEIR_UNCHECKED"],
            Watch::Sanitizers => {
                &["-DWEIR_UNCHECKED", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g"]
            }
        }
    }

    fn memory(&self) -> Result<(u64, u64), DriverError> {
        let heap = lock(&self.heap);
        Ok((heap.capacity - heap.held, heap.capacity))
    }

    fn held(&self) -> u64 {
        lock(&self.heap).held
    }

    fn allocate(&self, memory: Memory, bytes: u64) -> Result<u64, DriverError> {
        lock(&self.heap).allocate(memory, bytes)
    }

    fn free(&self, _memory: Memory, address: u64) {
        lock(&self.heap).free(address);
    }

    fn advise(&self, _address: u64, _bytes: u64, _side: Side) -> Result<(), DriverError> {
        Ok(())
    }

    fn prefetch(&self, _address: u64, _bytes: u64, _side: Side, _stream: Stream) -> Result<(), DriverError> {
        Ok(())
    }

    fn load(&self, image: &[u8]) -> Result<Module, DriverError> {
        let broken = |cause: String| DriverError::Image { chip: "host".into(), cause };
        let file = tempfile::Builder::new().suffix(".so").tempfile().map_err(|e| broken(e.to_string()))?;
        std::fs::write(file.path(), image).map_err(|e| broken(e.to_string()))?;
        // SAFETY: the library is our own text; its initialisers do nothing.
        let library = unsafe { Library::new(file.path()) }.map_err(|e| broken(e.to_string()))?;
        let mut state = lock(&self.state);
        state.libraries.push(library);
        Ok(Module(state.libraries.len() as u32 - 1))
    }

    fn function(&self, module: Module, name: &str) -> Result<Function, DriverError> {
        let mut state = lock(&self.state);
        let absent = || DriverError::Kernel(name.into());
        let library = state.libraries.get(module.0 as usize).ok_or_else(absent)?;
        // SAFETY: the prelude exports these with these types.
        let entry = unsafe {
            let kernel = library.get::<Kernel>(format!("weir_kernel_{name}").as_bytes()).map_err(|_| absent())?;
            let arity = library.get::<unsafe extern "C" fn() -> u32>(format!("weir_arity_{name}").as_bytes());
            let run = library.get::<RunKernel>(b"weir_run").map_err(|_| absent())?;
            Entry { name: name.into(), kernel: *kernel, run: *run, arity: arity.map_err(|_| absent())?() }
        };
        state.entries.push(entry);
        Ok(Function(state.entries.len() as u32 - 1))
    }

    fn function_facts(&self, _function: Function) -> Result<FunctionFacts, DriverError> {
        Ok(FunctionFacts { registers: 0, shared: 0, local: 0, threads: 1024 })
    }

    fn launch(&self, launch: &Launch) -> Result<(), DriverError> {
        let function = launch.function.0 as usize;
        {
            let state = lock(&self.state);
            let entry = state.entries.get(function).ok_or_else(|| call("launch", "no such function"))?;
            let failed = |cause: String| DriverError::Launch { kernel: entry.name.clone(), cause };
            if entry.arity as usize != launch.args.len() {
                return Err(failed(format!("{} arguments instead of {}", launch.args.len(), entry.arity)));
            }
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
        self.queue(stream, Work::Copy { to, from, bytes });
        Ok(())
    }

    fn fill(&self, stream: Stream, to: u64, byte: u8, bytes: u64) -> Result<(), DriverError> {
        self.queue(stream, Work::Fill { to, byte, bytes });
        Ok(())
    }

    fn discard(&self, stream: Stream, address: u64, bytes: u64) -> Result<(), DriverError> {
        self.queue(stream, Work::Discard { address, bytes });
        Ok(())
    }

    fn event(&self) -> Result<Event, DriverError> {
        let mut state = lock(&self.state);
        state.queued.push(0);
        state.reached.push(0);
        Ok(Event(state.queued.len() as u32 - 1))
    }

    fn record(&self, event: Event, stream: Stream) -> Result<(), DriverError> {
        let mark = {
            let mut state = lock(&self.state);
            let queued = state.queued.get_mut(event.0 as usize).ok_or_else(|| call("record", "no such event"))?;
            *queued += 1;
            *queued
        };
        self.queue(stream, Work::Record { event: event.0, mark });
        Ok(())
    }

    fn wait(&self, stream: Stream, event: Event) -> Result<(), DriverError> {
        let mark = *lock(&self.state).queued.get(event.0 as usize).ok_or_else(|| call("wait", "no such event"))?;
        self.queue(stream, Work::Wait { event: event.0, mark });
        Ok(())
    }

    fn elapsed(&self, _from: Event, _to: Event) -> Result<f64, DriverError> {
        Ok(0.0)
    }

    fn synchronise(&self, stream: Stream) -> Result<(), DriverError> {
        let mut state = lock(&self.state);
        let done = self.drain(&mut state, stream, None);
        if done.is_err() {
            // As on a device after a fault: what was queued is lost.
            state.queues.clear();
            let queued = state.queued.clone();
            state.reached = queued;
        }
        done
    }

    fn begin_capture(&self) -> Result<(), DriverError> {
        let mut state = lock(&self.state);
        if state.capture.is_some() {
            return Err(call("begin_capture", "already recording"));
        }
        state.capture = Some(Vec::new());
        Ok(())
    }

    fn end_capture(&self) -> Result<Graph, DriverError> {
        let mut state = lock(&self.state);
        let recorded = state.capture.take().ok_or_else(|| call("end_capture", "not recording"))?;
        state.graphs.push(Some(recorded));
        Ok(Graph(state.graphs.len() as u32 - 1))
    }

    fn replay(&self, graph: Graph) -> Result<(), DriverError> {
        let mut state = lock(&self.state);
        let recorded = state.graphs.get(graph.0 as usize).and_then(Clone::clone);
        let recorded = recorded.ok_or_else(|| call("replay", "no such graph"))?;
        // Marks are counted anew, so that every replay has its own.
        let mut marks = BTreeMap::new();
        for (stream, work) in recorded {
            let work = match work {
                Work::Record { event, mark } => {
                    state.queued[event as usize] += 1;
                    marks.insert((event, mark), state.queued[event as usize]);
                    Work::Record { event, mark: state.queued[event as usize] }
                }
                Work::Wait { event, mark } => {
                    Work::Wait { event, mark: marks.get(&(event, mark)).copied().unwrap_or(mark) }
                }
                other => other,
            };
            state.queues.entry(stream).or_default().push_back(work);
        }
        Ok(())
    }

    fn forget(&self, graph: Graph) {
        if let Some(slot) = lock(&self.state).graphs.get_mut(graph.0 as usize) {
            *slot = None;
        }
    }
}
