//! The kernels of a loaded module, by name.

use super::array::Array;
use super::driver::{Arg, Driver, DriverError, Event, Function, Launch, Module, Stream};
use super::lanes::Lanes;
use std::sync::Arc;
use weir_kernels::{SharedNumbers, THREADS};

impl From<u32> for Arg {
    fn from(v: u32) -> Self {
        Arg::U32(v)
    }
}

impl From<u64> for Arg {
    fn from(v: u64) -> Self {
        Arg::U64(v)
    }
}

impl From<f64> for Arg {
    fn from(v: f64) -> Self {
        Arg::F64(v)
    }
}

impl From<Array> for Arg {
    fn from(a: Array) -> Self {
        a.arg()
    }
}

/// Arguments of a kernel from numbers and arrays.
macro_rules! args {
    ($($x:expr),* $(,)?) => { &[$($crate::gpu::driver::Arg::from($x)),*] };
}
pub(super) use args;

/// What most of a kernel's work is, in the classes of Table II of the seed paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Products with weights; what is fused with them counts here too.
    Gemm,
    /// One value after another, and everything that is looked up.
    Element,
    /// Sums over edges, neighbours, atoms.
    Reduce,
}

/// How much a step uses a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelUse {
    /// As in the text.
    pub name: &'static str,
    /// Of its work.
    pub class: Class,
    /// Launches of the last step that was queued piece by piece.
    pub launches: u64,
    /// Time of these on the device, s; none where launches are not timed.
    pub seconds: Option<f64>,
}

macro_rules! kernels {
    ($($name:ident: $class:ident),*) => {
        /// Every kernel of the text.
        #[derive(Clone, Copy, Debug)]
        #[allow(missing_docs)]
        pub struct Kernels {
            $(pub $name: Function,)*
        }

        impl Kernels {
            /// Finds them in a module.
            ///
            /// # Errors
            /// [`DriverError::Kernel`].
            pub fn of(driver: &dyn Driver, module: Module) -> Result<Self, DriverError> {
                Ok(Self { $($name: driver.function(module, stringify!($name))?,)* })
            }

            /// All of them, in the order of the text.
            fn all(&self) -> impl Iterator<Item = (&'static str, Class, Function)> {
                [$((stringify!($name), Class::$class, self.$name)),*].into_iter()
            }
        }
    };
}

kernels!(
    bin_atoms: Element,
    fill_bins: Element,
    count_pairs: Element,
    write_pairs: Element,
    watch: Element,
    measure: Element,
    rank: Element,
    scan_blocks: Reduce,
    offsets: Reduce,
    arrange: Element,
    place_edges: Element,
    row_starts: Reduce,
    hand_over: Element,
    sort_incoming: Element,
    count_parts: Element,
    place_parts: Element,
    geometry: Element,
    embed_nodes: Element,
    edge_gradients: Element,
    assemble: Reduce,
    sum_rows: Reduce,
    edge_forward: Gemm,
    edge_projections: Gemm,
    edge_moments: Reduce,
    edge_backward: Gemm,
    angle_forward: Gemm,
    angle_backward: Gemm,
    project: Gemm,
    node_update: Gemm,
    node_backward: Gemm,
    gather: Reduce,
    finish: Gemm,
    fit: Gemm
);

/// Launches kernels, in one stream or two ([`Lanes`]).
pub struct Launcher {
    /// The device.
    pub driver: Arc<dyn Driver>,
    /// Its kernels.
    pub kernels: Kernels,
    /// Their shared memory, in numbers.
    pub shared: SharedNumbers,
    /// Bytes of a number.
    pub number: u32,
    /// Their streams.
    pub lanes: Lanes,
    /// Launches so far.
    pub launches: u64,
    /// The kernel of each launch of the last step that was queued piece by piece, where launches are timed.
    pub queued: Vec<Function>,
    /// Events before each of them and after the last, where launches are timed.
    pub times: Option<Vec<Event>>,
}

impl Launcher {
    /// One block for every `rows` of `count`; nothing where there are none.
    pub fn over(&mut self, f: Function, count: u64, rows: u64, shared: u32, args: &[Arg]) -> Result<(), DriverError> {
        self.blocks(f, count.div_ceil(rows), shared * self.number, args)
    }

    /// A thread for each of `count`.
    pub fn each(&mut self, f: Function, count: u64, args: &[Arg]) -> Result<(), DriverError> {
        self.blocks(f, count.div_ceil(u64::from(THREADS)), 0, args)
    }

    /// So many blocks, with bytes of shared memory.
    pub fn blocks(&mut self, function: Function, grid: u64, shared: u32, args: &[Arg]) -> Result<(), DriverError> {
        if grid == 0 {
            return Ok(());
        }
        // CUDA takes 2^31 blocks less one, HIP 2^32 threads less one.
        let grid = u32::try_from(grid).ok().filter(|&grid| grid < u32::MAX / THREADS).ok_or_else(|| {
            let cause = format!("{grid} blocks of {THREADS} threads are more than 2^32 threads");
            DriverError::Call { call: "launch", cause }
        })?;
        self.launches += 1;
        self.mark()?;
        if self.times.is_some() {
            self.queued.push(function);
        }
        self.driver.launch(&Launch { function, grid, block: THREADS, shared, stream: self.lanes.take(), args })
    }

    /// A step begins that is queued piece by piece.
    pub fn begin(&mut self) {
        self.queued.clear();
        self.lanes.begin();
    }

    /// Marks the end of the launches so far, where they are timed. Takes events as steps need them, the first time.
    ///
    /// # Errors
    /// The driver's.
    pub fn mark(&mut self) -> Result<(), DriverError> {
        let Some(events) = &mut self.times else { return Ok(()) };
        if events.len() == self.queued.len() {
            events.push(self.driver.event()?);
        }
        self.driver.record(events[self.queued.len()], Stream::Compute)
    }

    /// What the last step used, where launches are timed. It has been waited for.
    ///
    /// # Errors
    /// The driver's.
    pub fn uses(&self) -> Result<Vec<KernelUse>, DriverError> {
        let mut uses: Vec<(Function, KernelUse)> = self
            .kernels
            .all()
            .map(|(name, class, f)| {
                (f, KernelUse { name, class, launches: 0, seconds: self.times.as_ref().map(|_| 0.0) })
            })
            .collect();
        for (at, function) in self.queued.iter().enumerate() {
            let Some((_, one)) = uses.iter_mut().find(|u| u.0 == *function) else { continue };
            one.launches += 1;
            if let (Some(events), Some(seconds)) = (&self.times, &mut one.seconds) {
                *seconds += self.driver.elapsed(events[at], events[at + 1])?;
            }
        }
        Ok(uses.into_iter().map(|u| u.1).collect())
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        for event in self.times.iter().flatten() {
            self.driver.drop_event(*event);
        }
    }
}
