//! The kernels of a loaded module, by name.

use super::array::Array;
use super::driver::{Arg, Driver, DriverError, Function, Launch, Module, Stream};
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

macro_rules! kernels {
    ($($name:ident),*) => {
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
        }
    };
}

kernels!(
    watch,
    measure,
    rank,
    scan_blocks,
    offsets,
    place_edges,
    incoming_offsets,
    hand_over,
    sort_incoming,
    geometry,
    embed_nodes,
    edge_gradients,
    assemble,
    sum_rows,
    edge_forward,
    edge_projections,
    edge_moments,
    edge_backward,
    angle_forward,
    angle_backward,
    project,
    node_update,
    node_backward,
    clear,
    gather,
    finish,
    fit
);

/// Launches kernels on the compute stream.
pub struct Launcher {
    /// The device.
    pub driver: Arc<dyn Driver>,
    /// Its kernels.
    pub kernels: Kernels,
    /// Their shared memory, in numbers.
    pub shared: SharedNumbers,
    /// Bytes of a number.
    pub number: u32,
    /// Launches so far.
    pub launches: u64,
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
        let grid = u32::try_from(grid)
            .map_err(|_| DriverError::Call { call: "launch", cause: format!("{grid} blocks are more than 2^32") })?;
        self.launches += 1;
        self.driver.launch(&Launch { function, grid, block: THREADS, shared, stream: Stream::Compute, args })
    }
}
