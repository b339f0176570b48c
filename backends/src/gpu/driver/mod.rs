//! What the executor asks of a device: memory, kernels, streams, events, graphs. Three implementations: CUDA, HIP, emulated.

mod error;

pub use error::DriverError;

use std::ffi::c_void;
use std::sync::Arc;
use weir_kernels::Chip;

/// Memory that a driver hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// Of the device (`hbm`).
    Device,
    /// Page-locked host memory, mapped for the device (`pinned`).
    Pinned,
    /// Migrated by the driver (`managed`).
    Managed,
}

/// Where managed memory is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On the device.
    Device,
    /// On a NUMA node of the host; none: wherever the driver likes.
    Host(Option<u32>),
}

/// Queues of work; operations of one run in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Kernels.
    Compute,
    /// Kernels that run beside those; where blocks of both wait for room, theirs are the first to get it.
    Beside,
    /// Copies out of device memory.
    Out,
    /// Copies into device memory.
    In,
}

impl Stream {
    /// All of them.
    pub const ALL: [Stream; 4] = [Stream::Compute, Stream::Beside, Stream::Out, Stream::In];
}

/// A point in a stream; made by [`Driver::event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event(pub u32);

/// A loaded image; made by [`Driver::load`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Module(pub u32);

/// A kernel of a module; made by [`Driver::function`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function(pub u32);

/// Recorded work; made by [`Driver::end_capture`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Graph(pub u32);

/// An argument of a kernel. Kernels take pointers, u32, u64 and f64 only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// Address, and the bytes from it on that the kernel may touch (which the emulated driver checks). A null pointer has 0 bytes.
    Pointer(u64, u64),
    /// Number.
    U32(u32),
    /// Number.
    U64(u64),
    /// Number.
    F64(f64),
}

/// A launch: one-dimensional grids and blocks.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Kernel.
    pub function: Function,
    /// Blocks; at least 1.
    pub grid: u32,
    /// Threads of a block.
    pub block: u32,
    /// Dynamic shared memory, bytes.
    pub shared: u32,
    /// Queue.
    pub stream: Stream,
    /// Arguments in the kernel's order.
    pub args: &'a [Arg],
}

/// Work of the host in a queue of the device: a function and what it is called with. It runs on a thread of the driver, may wait for other
/// threads of the host but for nothing on the device, calls no driver, and does not unwind.
#[derive(Clone, Copy, Debug)]
pub struct HostWork {
    /// The function.
    pub function: unsafe extern "C" fn(*mut c_void),
    /// Its argument.
    pub data: u64,
}

/// What a kernel needs, as the driver tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionFacts {
    /// Registers of a thread.
    pub registers: u32,
    /// Static shared memory of a block, bytes.
    pub shared: u32,
    /// Local memory of a thread (stack and spills), bytes.
    pub local: u32,
    /// Largest block.
    pub threads: u32,
}

/// What a device is and can do.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceFacts {
    /// As the vendor calls it.
    pub name: String,
    /// What kernels are compiled for.
    pub chip: Chip,
    /// Driver version as people write it ("12.4", "7.1").
    pub driver: String,
    /// Threads that run in step: 32 or 64.
    pub wave: u32,
    /// Multiprocessors (compute units).
    pub units: u32,
    /// Largest dynamic shared memory of a block, bytes.
    pub shared: u32,
    /// Shared memory of a multiprocessor, bytes.
    pub unit_shared: u32,
    /// Of it, what every block costs beside its own.
    pub reserved_shared: u32,
    /// Bytes of device memory.
    pub memory: u64,
    /// The device reads ordinary host memory in place (ATS, HMM, XNACK).
    pub pageable: bool,
    /// It does so through the host's page tables (GH200).
    pub host_page_tables: bool,
    /// Managed memory may be touched by both sides at once.
    pub concurrent_managed: bool,
    /// Device and host share one memory (MI300A, GB10).
    pub integrated: bool,
    /// NUMA node of the host next to the device.
    pub host_node: Option<u32>,
}

impl DeviceFacts {
    /// Whether what the driver calls free is to be had and no more: where CUDA shares the host's memory it counts the page cache as used (GB10).
    pub fn free_is_exact(&self) -> bool {
        !(self.integrated && matches!(self.chip, Chip::Cuda(_)))
    }
}

/// A device and its queues. Every call may fail, none panics; teardown tolerates a device that the host program has reset.
///
/// Addresses are unified: device, pinned, managed and ordinary host memory can stand at either end of a copy.
pub trait Driver: Send + Sync {
    /// `cuda`, `hip` or `emulated`.
    fn name(&self) -> &'static str;
    /// The device.
    fn facts(&self) -> &DeviceFacts;
    /// Its number, as the driver counts.
    fn index(&self) -> u32 {
        0
    }
    /// Devices of this kind that the process sees.
    fn devices(&self) -> u32 {
        1
    }
    /// Options that images for this device are compiled with, beside those of the chip.
    fn compile_flags(&self) -> &[&str] {
        &[]
    }
    /// What a vendor's compiler makes of the text runs instead of the text; on the emulated device alone.
    #[cfg(feature = "emulated")]
    fn compiled(&self) -> Option<weir_kernels::compiled::Compiled> {
        None
    }
    /// Free and all bytes of device memory, by everybody (as nvidia-smi shows).
    ///
    /// # Errors
    /// The driver's.
    fn memory(&self) -> Result<(u64, u64), DriverError>;
    /// Bytes of device memory that this process has taken through this driver.
    fn held(&self) -> u64;
    /// Memory, aligned to 256 bytes at least.
    ///
    /// # Errors
    /// [`DriverError::OutOfMemory`] or the driver's.
    fn allocate(&self, memory: Memory, bytes: u64) -> Result<u64, DriverError>;
    /// Gives memory back; errors are of no use to anybody and are dropped.
    fn free(&self, memory: Memory, address: u64);
    /// Tells the driver where managed memory belongs.
    ///
    /// # Errors
    /// The driver's; [`DriverError::Unsupported`] where it has no such call.
    fn advise(&self, address: u64, bytes: u64, side: Side) -> Result<(), DriverError>;
    /// Moves managed memory.
    ///
    /// # Errors
    /// As [`Driver::advise`].
    fn prefetch(&self, address: u64, bytes: u64, side: Side, stream: Stream) -> Result<(), DriverError>;
    /// Loads a compiled image (cubin, code object, shared library).
    ///
    /// # Errors
    /// [`DriverError::Image`] when it is for another chip or broken.
    fn load(&self, image: &[u8]) -> Result<Module, DriverError>;
    /// Drops an image; none of its kernels may be queued any more.
    fn unload(&self, module: Module);
    /// A kernel by name.
    ///
    /// # Errors
    /// [`DriverError::Kernel`] when the image has none of this name.
    fn function(&self, module: Module, name: &str) -> Result<Function, DriverError>;
    /// What a kernel needs.
    ///
    /// # Errors
    /// The driver's.
    fn function_facts(&self, function: Function) -> Result<FunctionFacts, DriverError>;
    /// Queues a launch.
    ///
    /// # Errors
    /// [`DriverError::Launch`].
    fn launch(&self, launch: &Launch) -> Result<(), DriverError>;
    /// Queues a copy of `bytes` between any two addresses.
    ///
    /// # Safety
    /// Both ends hold that many bytes until the copy is done.
    ///
    /// # Errors
    /// The driver's.
    unsafe fn copy(&self, stream: Stream, to: u64, from: u64, bytes: u64) -> Result<(), DriverError>;
    /// Queues setting bytes of device memory.
    ///
    /// # Errors
    /// The driver's.
    fn fill(&self, stream: Stream, to: u64, byte: u8, bytes: u64) -> Result<(), DriverError>;
    /// Queues work of the host.
    ///
    /// # Safety
    /// The function may be called with its argument as often as the work runs: once, or at every replay of what it was recorded in.
    ///
    /// # Errors
    /// The driver's; [`DriverError::Unsupported`] where it has no such call.
    unsafe fn host(&self, stream: Stream, work: HostWork) -> Result<(), DriverError>;
    /// Says that the contents of device memory are of no use any more. Only the emulated driver cares: reading them is an error then.
    ///
    /// # Errors
    /// The driver's.
    fn discard(&self, _stream: Stream, _address: u64, _bytes: u64) -> Result<(), DriverError> {
        Ok(())
    }
    /// A new event.
    ///
    /// # Errors
    /// The driver's.
    fn event(&self) -> Result<Event, DriverError>;
    /// Drops an event; its number may be given to a later one.
    fn drop_event(&self, event: Event);
    /// Marks the present end of a stream.
    ///
    /// # Errors
    /// The driver's.
    fn record(&self, event: Event, stream: Stream) -> Result<(), DriverError>;
    /// Later work of a stream waits for the mark.
    ///
    /// # Errors
    /// The driver's.
    fn wait(&self, stream: Stream, event: Event) -> Result<(), DriverError>;
    /// Seconds from one mark to another, both reached.
    ///
    /// # Errors
    /// The driver's.
    fn elapsed(&self, from: Event, to: Event) -> Result<f64, DriverError>;
    /// The host waits for everything queued on a stream, and learns what went wrong in it.
    ///
    /// # Errors
    /// The driver's.
    fn synchronise(&self, stream: Stream) -> Result<(), DriverError>;
    /// From now on what is queued on the compute stream, and on streams that wait for its events, is recorded instead of run. Memory is
    /// neither taken nor given back while recording, and nobody waits.
    ///
    /// # Errors
    /// The driver's.
    fn begin_capture(&self) -> Result<(), DriverError>;
    /// Ends recording; every other stream must have been waited for by the compute stream.
    ///
    /// # Errors
    /// The driver's.
    fn end_capture(&self) -> Result<Graph, DriverError>;
    /// Queues recorded work on the compute stream.
    ///
    /// # Errors
    /// The driver's.
    fn replay(&self, graph: Graph) -> Result<(), DriverError>;
    /// Drops recorded work.
    fn forget(&self, graph: Graph);
    /// Begins and ends a named range for profilers (NVTX, roctx); nothing where there is none.
    fn range(&self, _name: Option<&str>) {}
}

/// A driver that several owners use.
pub type Shared = Arc<dyn Driver>;
