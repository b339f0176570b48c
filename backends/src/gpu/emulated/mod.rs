//! The emulated device: kernels compiled by the host's compiler, threads of a block as fibres, memory checked and counted.
//!
//! Streams are queues that nobody works on until somebody waits: then the wanted one runs as far as events allow, the others only as far
//! as it needs them ([`Eagerness::Lazy`]), or all others first ([`Eagerness::Eager`]). A program that forgets a wait computes with memory
//! that was not written yet, or was written too early, under one of the two; and work that nobody put in order may not touch the same memory
//! (`order.rs`).

mod drive;
mod faults;
mod lanes;
mod memory;
mod order;
mod pool;
mod queue;
mod record;

use super::driver::{Arg, DeviceFacts, DriverError, Function, HostWork, Stream};
use faults::Faults;
use lanes::AskLanes;
pub use lanes::{Asked, Looked, Place, SHARED_BY};
use memory::Heap;
use order::Order;
use pool::Loaded;
use record::Recording;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use weir_kernels::compiled::Compiled;
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
    /// The same, and what lanes of a wave ask for together, by place of the text ([`Emulated::asked`]); waves of 32.
    Lanes,
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
    /// What a vendor's compiler makes of the text runs instead of the text (`weir_kernels::compiled`); memory is watched or nothing is.
    pub compiled: Option<Compiled>,
    /// How far arguments reach is a guess, so that nobody can tell which kernels touch the same memory: only copies and fills
    /// must be in order.
    pub guessed: bool,
}

impl Default for EmulatedOptions {
    fn default() -> Self {
        Self {
            memory: 4 << 30,
            shared: 160 << 10,
            wave: 32,
            eagerness: Eagerness::Lazy,
            watch: Watch::Memory,
            compiled: None,
            guessed: false,
        }
    }
}

/// What the launches of a kernel have done: every distinct address counts once for each launch and direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// Launches.
    pub launches: u64,
    /// Those of them that ran beside others.
    pub beside: u64,
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
    /// Bytes read from device memory, every address once for each block: what the cache of a multiprocessor fetches if it holds all that a
    /// block reads.
    pub block_bytes: u64,
    /// The same, every address once between two barriers of a block: what a cache fetches that keeps nothing longer.
    pub phase_bytes: u64,
}

/// What was made on the device and not given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Pieces of memory of any kind.
    pub allocations: usize,
    /// Events.
    pub events: usize,
    /// Loaded images.
    pub modules: usize,
    /// Recorded work.
    pub graphs: usize,
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
    block_bytes: u64,
    phase_bytes: u64,
}

/// Twin of `weir::Raw`.
#[repr(C)]
struct Raw {
    value: u64,
    bytes: u64,
    words: u64,
}

/// Twin of `weir::Run`.
#[repr(C)]
struct Run {
    grid: u32,
    threads: u32,
    shared: u32,
    wave: u32,
    time: u32,
    pad: u32,
    args: *const Raw,
    counts: Counts,
    fault: [u8; 256],
}

type Kernel = unsafe extern "C" fn(*const Raw);
type Guard = unsafe extern "C" fn(u64, u64, i32);
type RunKernel = unsafe extern "C" fn(Kernel, *mut Run) -> i32;

#[derive(Clone)]
struct Entry {
    name: String,
    module: u32,
    kernel: Kernel,
    run: RunKernel,
    /// Of images with the address sanitizer.
    guard: Option<Guard>,
    /// Of images that look at lanes.
    asked: Option<AskLanes>,
    arity: u32,
    /// Arguments that it may write, a bit each.
    written: u64,
    /// Those that may be one with another of them.
    handed: u64,
    /// Of what a vendor's compiler made.
    bounds: Option<Bounds>,
}

/// What a kernel was compiled for.
#[derive(Clone)]
struct Bounds {
    /// Threads of a block, at most.
    threads: u32,
    /// Types of its arguments: `u32`, `u64`, `f64`.
    kinds: Vec<String>,
}

#[derive(Clone)]
enum Work {
    Launch { function: usize, grid: u32, block: u32, shared: u32, args: Vec<Arg> },
    Copy { to: u64, from: u64, bytes: u64 },
    Fill { to: u64, byte: u8, bytes: u64 },
    Discard { address: u64, bytes: u64 },
    Host(HostWork),
    Record { event: u32, mark: u64 },
    Wait { event: u32, mark: u64 },
    RecordedPart { begins: bool },
}

#[derive(Default)]
struct State {
    libraries: Vec<Option<Loaded>>,
    entries: Vec<Entry>,
    queues: BTreeMap<Stream, VecDeque<Work>>,
    /// Marks of each event that were queued, and reached.
    queued: Vec<u64>,
    reached: Vec<u64>,
    /// When each event was last reached.
    times: Vec<Option<Instant>>,
    events: usize,
    recording: Option<Recording>,
    graphs: Vec<Option<Vec<(Stream, Work)>>>,
    replays: u64,
    counts: BTreeMap<String, KernelCounts>,
    asked: BTreeMap<Place, Asked>,
    looked: BTreeMap<String, Looked>,
    order: Order,
    /// The first of the next launch (watch.h).
    time: u32,
    ranges: Vec<Option<String>>,
}

/// The device.
pub struct Emulated {
    facts: DeviceFacts,
    eagerness: Eagerness,
    watch: Watch,
    compiled: Option<Compiled>,
    guessed: bool,
    heap: Mutex<Heap>,
    state: Mutex<State>,
    faults: Faults,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

fn call(call: &'static str, cause: impl ToString) -> DriverError {
    DriverError::Call { call, cause: cause.to_string() }
}

impl Emulated {
    /// A device.
    ///
    /// # Panics
    /// Where something compiled is to be watched by the means of the text.
    pub fn new(options: EmulatedOptions) -> Self {
        let watchable = matches!(options.watch, Watch::Memory | Watch::Nothing);
        assert!(options.compiled.is_none() || watchable, "{:?} is of the text alone", options.watch);
        let facts = DeviceFacts {
            name: "emulated device".into(),
            chip: Chip::Host,
            driver: env!("CARGO_PKG_VERSION").into(),
            wave: options.wave,
            units: 4,
            shared: options.shared,
            unit_shared: options.shared,
            reserved_shared: 0,
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
            compiled: options.compiled,
            guessed: options.guessed,
            heap: Mutex::new(Heap::new(options.memory, matches!(options.watch, Watch::Memory | Watch::Lanes))),
            state: Mutex::default(),
            faults: Faults::default(),
        }
    }

    /// What every kernel has done so far.
    pub fn counts(&self) -> BTreeMap<String, KernelCounts> {
        lock(&self.state).counts.clone()
    }

    /// Kernels that somebody has asked for, and those of them that a vendor's compiler made.
    pub fn bounded(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.entries.len(), state.entries.iter().filter(|e| e.bounds.is_some()).count())
    }

    /// Types of a kernel's arguments (`u32`, `u64`, `f64`), where a vendor's compiler made it.
    pub fn kinds(&self, function: Function) -> Option<Vec<String>> {
        lock(&self.state).entries.get(function.0 as usize)?.bounds.as_ref().map(|b| b.kinds.clone())
    }

    /// Bytes from an address on to the end of its allocation; none for memory that is not of the device.
    pub fn rest(&self, address: u64) -> Option<u64> {
        lock(&self.heap).rest(address)
    }

    /// What is still there.
    pub fn live(&self) -> Live {
        let allocations = lock(&self.heap).pieces();
        let state = lock(&self.state);
        Live {
            allocations,
            events: state.events,
            modules: state.libraries.iter().flatten().count(),
            graphs: state.graphs.iter().flatten().count(),
        }
    }

    /// How often memory was taken so far.
    pub fn allocations(&self) -> u64 {
        lock(&self.heap).taken
    }

    /// How often work was recorded, and recorded work run.
    pub fn recordings(&self) -> (usize, u64) {
        let state = lock(&self.state);
        (state.graphs.len(), state.replays)
    }

    /// Ranges since the last question: a name where one began, none where one ended.
    pub fn ranges(&self) -> Vec<Option<String>> {
        std::mem::take(&mut lock(&self.state).ranges)
    }

    /// The call number `call` from now on that can fail, counted from 0, fails, and no other; with none, all succeed.
    pub fn fail(&self, call: Option<u64>) {
        self.faults.set(call);
    }

    /// Whether that call has come.
    pub fn failed(&self) -> bool {
        self.faults.fired()
    }
}
