//! One device of one vendor: what was made on it, and what every call has in common.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{c_char, c_int};
use std::io::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};
use weir_backends::gpu::driver::{Driver, Memory, Stream};
use weir_backends::gpu::emulated::{Eagerness, Emulated, EmulatedOptions, Watch};
use weir_kernels::compiled::Compiled;

use crate::record::{Graphs, Mark, Recording};
use crate::work::Function;

pub type Handle = usize;

/// Codes of the vendors, who agree in these.
pub mod code {
    use std::ffi::c_int;
    pub const INVALID: c_int = 1;
    pub const OUT_OF_MEMORY: c_int = 2;
    pub const NOT_INITIALISED: c_int = 3;
    pub const INVALID_DEVICE: c_int = 101;
    pub const INVALID_IMAGE: c_int = 200;
    pub const INVALID_CONTEXT: c_int = 201;
    pub const OTHER_CHIP: c_int = 209;
    pub const INVALID_HANDLE: c_int = 400;
    pub const NOT_FOUND: c_int = 500;
    pub const NOT_READY: c_int = 600;
    pub const LAUNCH_FAILED: c_int = 719;
    pub const NOT_PERMITTED: c_int = 800;
    pub const CAPTURE_UNSUPPORTED: c_int = 900;
    pub const CAPTURE_INVALIDATED: c_int = 901;
    pub const CAPTURE_UNMATCHED: c_int = 903;
    pub const CAPTURE_UNJOINED: c_int = 904;
    pub const CAPTURE_ISOLATION: c_int = 905;
    pub const CAPTURED_EVENT: c_int = 907;
    pub const CAPTURE_WRONG_THREAD: c_int = 908;
    pub const UNKNOWN: c_int = 999;
}

/// What a call answers that fails.
pub struct Fault {
    pub code: c_int,
    pub why: String,
}

pub type Answer<T = ()> = Result<T, Fault>;

pub fn fault<T>(code: c_int, why: impl ToString) -> Answer<T> {
    Err(Fault { code, why: why.to_string() })
}

/// Where a C caller wants a result.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> From<*mut std::ffi::c_void> for Out<T> {
    fn from(to: *mut std::ffi::c_void) -> Self {
        Self(to.cast())
    }
}

impl<T> Out<T> {
    pub fn put(self, value: T) -> Answer {
        if self.0.is_null() {
            return fault(code::INVALID, "nowhere to write to");
        }
        // SAFETY: the C interface's promise: room for one T.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }
}

/// Room for a text of a C caller.
pub fn put_text(to: *mut c_char, room: c_int, text: &str) -> Answer {
    let room = usize::try_from(room).unwrap_or(0);
    if to.is_null() || room == 0 {
        return fault(code::INVALID, "nowhere to write to");
    }
    let n = text.len().min(room - 1);
    // SAFETY: the C interface's promise: `room` bytes; a text of ours does not overlap them.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), to.cast(), n);
        to.add(n).write(0);
    }
    Ok(())
}

/// What tells the vendors apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    Cuda,
    Amd,
}

/// A device as its vendor describes it.
pub struct Kind {
    pub name: &'static str,
    pub chip: &'static str,
    /// Of its images' headers (ELF): machine, and the lowest byte of the flags.
    pub machine: (u16, u8),
    pub memory: u64,
    /// Largest shared memory of a block.
    pub shared: u32,
    pub wave: u32,
    /// Numbers of attributes and their values.
    pub attributes: &'static [(c_int, c_int)],
}

/// Attributes by their numbers in cuda.h: threads of a warp, multiprocessors, shared memory of a block (opt-in, usual), of a multiprocessor,
/// reserved; compute capability; concurrent managed access; pageable access (two), integrated, all no; NUMA node (none).
static H100: Kind = Kind {
    name: "NVIDIA H100 80GB HBM3",
    chip: "sm_90a",
    machine: (190, 90),
    memory: 80 << 30,
    shared: 232_448,
    wave: 32,
    attributes: &[
        (10, 32),
        (16, 132),
        (97, 232_448),
        (8, 49_152),
        (81, 233_472),
        (111, 1024),
        (75, 9),
        (76, 0),
        (89, 1),
        (88, 0),
        (100, 0),
        (18, 0),
        (134, -1),
    ],
};

/// Attributes by their places in `hipDeviceAttribute_t`: threads of a wave, compute units, shared memory of a block and of a unit, concurrent
/// managed access; pageable access (two), integrated, all no.
static MI300X: Kind = Kind {
    name: "AMD Instinct MI300X",
    chip: "gfx942",
    machine: (224, 0x4c),
    memory: 192 << 30,
    shared: 65_536,
    wave: 64,
    attributes: &[(87, 64), (63, 304), (74, 65_536), (75, 65_536), (10_002, 65_536), (9, 1), (65, 0), (66, 0), (16, 0)],
};

impl Vendor {
    pub fn kind(self) -> &'static Kind {
        match self {
            Vendor::Cuda => &H100,
            Vendor::Amd => &MI300X,
        }
    }

    pub fn machine(self) -> &'static Machine {
        static CUDA: LazyLock<Machine> = LazyLock::new(|| Machine::new(Vendor::Cuda));
        static AMD: LazyLock<Machine> = LazyLock::new(|| Machine::new(Vendor::Amd));
        match self {
            Vendor::Cuda => &CUDA,
            Vendor::Amd => &AMD,
        }
    }
}

thread_local! {
    /// The context of this thread.
    pub static CURRENT: Cell<Handle> = const { Cell::new(0) };
}

/// A device.
pub struct Machine {
    pub vendor: Vendor,
    pub device: Emulated,
    state: Mutex<State>,
}

/// What was made on it.
#[derive(Default)]
pub struct State {
    pub initialised: bool,
    /// The primary context and how many hold it.
    pub context: Option<(Handle, u32)>,
    made: usize,
    pub streams: HashMap<Handle, Stream>,
    /// How many streams of no priority were made.
    pub plain: usize,
    pub events: HashMap<Handle, Mark>,
    pub memory: HashMap<u64, Memory>,
    pub modules: HashMap<Handle, crate::image::Loaded>,
    pub functions: HashMap<Handle, Function>,
    pub graphs: Graphs,
    pub recording: Option<Recording>,
    /// A kernel failed: nothing works any more, as after a vendor's.
    pub lost: bool,
    calls: BTreeMap<&'static str, u64>,
}

/// Where compiled forms are kept.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("STAND_IN_FOLDER").map(PathBuf::from)
}

impl Machine {
    fn new(vendor: Vendor) -> Self {
        let kind = vendor.kind();
        let device = Emulated::new(EmulatedOptions {
            memory: kind.memory,
            shared: kind.shared,
            wave: kind.wave,
            eagerness: match std::env::var_os("STAND_IN_EAGER").is_some_and(|v| v == "1") {
                true => Eagerness::Eager,
                false => Eagerness::Lazy,
            },
            watch: Watch::Nothing,
            compiled: Some(match vendor {
                Vendor::Cuda => Compiled::Cuda { chip: kind.chip, toolkit: 12 },
                Vendor::Amd => Compiled::Amd { chip: kind.chip },
            }),
            guessed: true,
        });
        Self { vendor, device, state: Mutex::default() }
    }

    /// A call that needs a context has one: the device's, in this thread.
    pub fn here(&self, state: &State) -> Answer {
        state.started()?;
        match (self.vendor, state.context) {
            (Vendor::Amd, _) => Ok(()),
            (Vendor::Cuda, Some((context, _))) if CURRENT.get() == context => Ok(()),
            _ => fault(code::INVALID_CONTEXT, format!("context {:#x} of the thread is none", CURRENT.get())),
        }
    }

    /// The context goes, and all that was made in it. Writes down how often each function was called, and tells what was left.
    pub fn leave(&self, state: &mut State) {
        let left = [
            (state.streams.len(), "streams"),
            (state.events.len(), "events"),
            (state.memory.len(), "pieces of memory"),
            (state.modules.len(), "modules"),
            (state.graphs.len(), "graphs"),
        ];
        for (n, what) in left.iter().filter(|(n, _)| *n > 0 && !state.lost) {
            tell(format_args!("{n} {what} left behind"));
        }
        if let Some(file) = std::env::var_os("STAND_IN_CALLS") {
            let lines: Vec<String> = state.calls.iter().map(|(name, n)| format!("{name} {n}\n")).collect();
            if let Err(error) = std::fs::write(file, lines.concat()) {
                tell(format_args!("calls: {error}"));
            }
        }
        self.abandon(state);
        drop(self.settle_all(state));
        state.graphs.all().for_each(|graph| self.device.forget(graph));
        state.events.values().for_each(|mark| self.device.drop_event(mark.event));
        state.modules.values().for_each(|loaded| self.device.unload(loaded.module));
        state.memory.drain().for_each(|(address, memory)| self.device.free(memory, address));
        let (made, calls) = (state.made, std::mem::take(&mut state.calls));
        *state = State { initialised: true, made, calls, ..State::default() };
    }
}

impl State {
    pub fn started(&self) -> Answer {
        match self.initialised {
            true => Ok(()),
            false => fault(code::NOT_INITIALISED, "nobody has called the initialisation"),
        }
    }

    /// A handle that was never given out before.
    pub fn handle(&mut self) -> Handle {
        self.made += 1;
        0x5eed_0000_0000 + 16 * self.made
    }

    pub fn stream(&self, handle: Handle) -> Answer<Stream> {
        match (self.streams.get(&handle), handle) {
            (Some(stream), _) if self.recorded_by_another(handle, *stream) => {
                fault(code::UNKNOWN, "this stand-in records one calculator while others rest")
            }
            (Some(_), _) if self.spoilt(handle) => fault(code::CAPTURE_INVALIDATED, "its recording is worth nothing"),
            (Some(stream), _) => Ok(*stream),
            (None, 0) => fault(code::UNKNOWN, "the default stream is the host program's"),
            (None, _) => fault(code::INVALID_HANDLE, format!("no stream {handle:#x}")),
        }
    }
}

/// Says what went wrong, wherever that can be read.
pub fn tell(what: std::fmt::Arguments) {
    _ = writeln!(std::io::stderr(), "stand-in: {what}");
}

/// What still answers after a failed kernel: questions about devices, codes, contexts.
const AFTER: [&str; 5] = ["Init", "Version", "Device", "Ctx", "Error"];

thread_local! {
    /// This thread answers a call, or runs a function of the host that is queued on a device.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Answers a call of a vendor's interface.
pub fn answer(vendor: Vendor, name: &'static str, call: impl FnOnce(&Machine, &mut State) -> Answer) -> c_int {
    let done = if INSIDE.replace(true) {
        Ok(fault(code::NOT_PERMITTED, "a function of the host calls the driver"))
    } else {
        let done = catch_unwind(AssertUnwindSafe(|| {
            let machine = vendor.machine();
            let mut state = machine.state.lock().unwrap_or_else(PoisonError::into_inner);
            *state.calls.entry(name).or_default() += 1;
            if state.lost && !AFTER.iter().any(|kind| name.contains(kind)) {
                return fault(code::LAUNCH_FAILED, "after a failed kernel");
            }
            call(machine, &mut state)
        }));
        INSIDE.set(false);
        done
    };
    match done {
        Ok(Ok(())) => 0,
        Ok(Err(fault)) => {
            tell(format_args!("{name}: {} ({})", fault.why, fault.code));
            fault.code
        }
        Err(_) => {
            tell(format_args!("{name}: it has a fault of its own ({})", code::UNKNOWN));
            code::UNKNOWN
        }
    }
}

/// Functions of C with a vendor's names.
macro_rules! calls {
    ($vendor:expr; $($name:ident ( $($argument:ident : $type:ty),* ) = |$machine:pat_param, $state:pat_param| $body:expr;)*) => {
        $(
            #[no_mangle]
            extern "C" fn $name($($argument: $type),*) -> std::ffi::c_int {
                $crate::machine::answer($vendor, stringify!($name), |$machine, $state| $body)
            }
        )*
    };
}
pub(crate) use calls;
