//! DPA3 on GPUs: one executor over three drivers (CUDA, HIP, emulated), kernels from one text (`kernels/`).
//!
//! The executor interprets the same program as the CPU backend; results agree with it to rounding, and have the same bits under every plan,
//! tile and skin on one kind of device.

mod array;
mod buffers;
mod calculator;
mod compile;
pub mod cuda;
mod disk;
pub mod driver;
#[cfg(feature = "emulated")]
pub mod emulated;
mod execute;
mod fit;
mod forecast;
pub mod hip;
mod lanes;
mod launch;
mod list;
mod memory;
mod native;
mod neighbours;
mod rates;
mod search;
mod second;
mod shape;
mod staging;
mod tiers;
mod upload;
mod weights;

pub use calculator::GpuCalculator;
pub use compile::image_digest;
pub(crate) use execute::adjoint_unit;
pub use forecast::{tile_sizes, GpuOutline};
pub use launch::{Class, KernelUse};
pub use memory::{Refused, TierMemory};
pub use rates::{estimated_rates, keep_rates, kept_rates, LAUNCHES};
pub use shape::{precompiled, room, room_of, room_on, Arithmetic};
pub use tiers::{open_tiers, GpuTierError, Opened};

use crate::cpu::{InstructionSet, PrecisionChoice, Store, Terms};
use driver::{DeviceFacts, Driver, DriverError, Memory};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use thiserror::Error;
use weir_engine::model::Model;
use weir_engine::plan::placement::{Checkpoint, Inside, Permission, Rates, TierSpec};
use weir_kernels::compile::Options as CompileOptions;
use weir_kernels::{Chip, Products};

/// Edges of the largest tile. A step launches 11 kernels a layer and tile (171 in all for 2PTC in one tile), and the scratch of such a tile
/// takes 1.2 GB beside the published shape's 9 GB of states.
const TILE: usize = 1 << 19;
/// Fewest edges of a tile: about forty centres, below which most multiprocessors have nothing to do.
const LEAST_TILE: usize = 4096;

/// Long enough that a disk reaches its rate, short enough that two slots fill while it works.
const FILE_SLOT: u64 = 4 << 20;

/// A memory tier: what the planner knows of it, and what hands it out.
#[derive(Clone)]
pub struct GpuTier {
    /// Name, budget, links.
    pub spec: TierSpec,
    /// The memory.
    pub memory: TierMemory,
}

/// Options of a GPU calculator.
#[derive(Clone)]
pub struct GpuOptions {
    /// Compute precision.
    pub precision: PrecisionChoice,
    /// How matrices of f32 are multiplied.
    pub products: Products,
    /// Which layer inputs are kept.
    pub checkpoint: Checkpoint,
    /// Whether the slopes of second maps are kept where there is room.
    pub inside: Inside,
    /// How states are stored.
    pub store: Store,
    /// Whether kept states may leave the first tier.
    pub spill: Permission,
    /// Whether states may be rebuilt.
    pub rebuild: Permission,
    /// Memory tiers, the device's first; empty: the device's free memory.
    pub tiers: Vec<GpuTier>,
    /// Compute rates, where they were measured.
    pub rates: Option<Rates>,
    /// Test mode: slots are unreadable outside their lifetime, where the driver can tell.
    pub poison: bool,
    /// Skin of the neighbour list, A.
    pub skin: f64,
    /// Largest number of edges in a tile; 0 = chosen, and smaller where memory is short.
    pub tile_edges: usize,
    /// Threads of what the host does for lists and plans; 0 = all that affinity and cgroup allow, or `OMP_NUM_THREADS`.
    pub threads: usize,
    /// Whether a step is recorded and run again as a whole (`WEIR_GRAPH`); the bits of results do not depend on it.
    pub graph: bool,
    /// Whether kernels of nodes run in a stream of their own, beside those of angles (`WEIR_STREAMS`). Everything runs in one stream where
    /// operations or launches are timed, and in models whose updates follow one another. No bit depends on it.
    pub two_streams: bool,
    /// Bytes of a page-locked slot between the device and a file; each direction has two.
    pub file_slot: u64,
    /// Zero of the times of a profile (see [`weir_engine::backend::Calculator::profile`]); none: nothing is timed. Steps that are timed are
    /// queued piece by piece: events of a recording tell no times.
    pub profile: Option<Instant>,
    /// Whether launches are timed (see [`GpuCalculator::kernels`]); steps are then not recorded.
    pub kernels: bool,
    /// Whether operations are marked for the vendors' profilers (NVTX, roctx). What was recorded shows as one: switch `graph` off.
    pub ranges: bool,
    /// Bytes of shared memory that a block may use; none: what lets several blocks be on a multiprocessor together.
    pub shared_limit: Option<u32>,
    /// Blocks of a kernel that a multiprocessor should hold, where it has memory for as many; none: [`weir_kernels::BLOCKS`] or
    /// [`weir_kernels::BLOCKS_OF_TENSOR_CORES`]. No bit depends on it.
    pub blocks: Option<u32>,
    /// Folder of precompiled kernels (`WEIR_KERNEL_DIR`).
    pub kernel_dir: Option<PathBuf>,
    /// Folder where compiled kernels are kept (`WEIR_CACHE_DIR`).
    pub cache_dir: Option<PathBuf>,
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self {
            precision: PrecisionChoice::Model,
            products: Products::Plain,
            checkpoint: Checkpoint::Auto,
            inside: Inside::Auto,
            store: Store::Exact,
            spill: Permission::Allowed,
            rebuild: Permission::Allowed,
            tiers: Vec::new(),
            rates: None,
            poison: false,
            skin: 1.0,
            tile_edges: 0,
            threads: 0,
            graph: true,
            two_streams: true,
            file_slot: FILE_SLOT,
            profile: None,
            kernels: false,
            ranges: false,
            shared_limit: None,
            blocks: None,
            kernel_dir: None,
            cache_dir: None,
        }
    }
}

impl GpuOptions {
    /// The same with products whose range is f32's, where these have a smaller one: what computes steps beyond it.
    pub(crate) fn wider(&self) -> Option<Self> {
        self.products.wider().map(|products| Self { products, ..self.clone() })
    }

    /// What the planner is told.
    pub fn terms(&self) -> Terms {
        Terms {
            tiers: self.tiers.iter().map(|t| t.spec.clone()).collect(),
            rates: self.rates.clone(),
            // GPUs bring rates of their own.
            simd: InstructionSet::default(),
            checkpoint: self.checkpoint,
            spill: self.spill,
            rebuild: self.rebuild,
            inside: self.inside,
            store: self.store,
        }
    }
}

/// Why a GPU calculator cannot be made.
#[derive(Debug, Error)]
pub enum GpuError {
    /// The driver.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A type index beyond the type map.
    #[error("atom {atom} has type {index}, but the model has {types} types")]
    Type {
        /// Input index.
        atom: usize,
        /// The index.
        index: i32,
        /// Number of types.
        types: usize,
    },
    /// A skin that is negative or not a number.
    #[error("a skin of {0} A makes no sense; use 0 or more")]
    Skin(f64),
    /// The kernels cannot be had.
    #[error("{0}")]
    Compile(String),
    /// A model too wide for the device.
    #[error(
        "this model's rows do not fit {bytes} bytes of shared memory, not even one at a time; set WEIR_BACKEND=cpu"
    )]
    Shared {
        /// What a block has.
        bytes: u32,
    },
    /// The thread pool.
    #[error("cannot start {threads} threads: {cause}; set WEIR_THREADS or --threads")]
    Threads {
        /// Wanted.
        threads: usize,
        /// The system's word.
        cause: String,
    },
    /// The updates of such a model follow one another in double precision only, as on the CPU.
    #[error("this model uses sequential_update, which runs in double precision only; use --precision f64, or WEIR_PRECISION=f64")]
    Sequential,
    /// A chip without such units.
    #[error("{products} products need units that {chip} does not have; set WEIR_PRECISION=f32 or model")]
    Products {
        /// Wanted.
        products: Products,
        /// What is there.
        chip: Chip,
    },
    /// A weight that no half holds.
    #[error(
        "a weight of {largest:e} is beyond {}, the largest of precision f16x3; set WEIR_PRECISION=tf32x3 or model",
        array::LARGEST_WEIGHT_OF_HALVES
    )]
    Weight {
        /// Largest magnitude of the model's weights.
        largest: f64,
    },
    /// A map whose weights halves round more than f32 does.
    #[error(
        "the largest weight of a map is {largest:e}; below {:e} precision f16x3 rounds weights more than f32; set WEIR_PRECISION=tf32x3 or model",
        array::FAINTEST_MAP_OF_HALVES
    )]
    FaintWeights {
        /// Largest magnitude of that map, whatever it is joined with in one matrix.
        largest: f64,
    },
    /// Between its updates nothing is rounded.
    #[error("this model uses sequential_update, whose states are kept exactly: unset WEIR_STORE")]
    SequentialStore,
}

/// The device's memory as the first tier, under a budget.
pub fn hbm(budget: u64) -> GpuTier {
    let spec = TierSpec {
        name: "hbm".into(),
        capacity: budget,
        out_rate: 1e12,
        in_rate: 1e12,
        both: 0.5,
        latency: 0.0,
        overlap: 0.0,
    };
    GpuTier { spec, memory: TierMemory::Driver(Memory::Device) }
}

/// Makes a calculator for a fixed set of atoms on a device: `types` are indices into the model's type map, negative for virtual atoms.
///
/// # Errors
/// [`GpuError`].
pub fn create(
    driver: Arc<dyn Driver>,
    model: Arc<Model>,
    types: &[i32],
    options: &GpuOptions,
) -> Result<GpuCalculator, GpuError> {
    let mut options = options.clone();
    if options.tiers.is_empty() {
        let (free, _) = driver.memory()?;
        options.tiers.push(hbm(free / 10 * 9));
    }
    GpuCalculator::new(driver, model, types, options)
}

/// Largest edge counts of a tile that a calculator tries until a plan fits, in this order.
pub fn tile_choices() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(TILE), |n| Some(n / 2)).take_while(|&n| n >= LEAST_TILE)
}

/// Every device of every driver; a driver that is not there has one entry that says so. No device is touched.
pub fn devices() -> Vec<(&'static str, Result<DeviceFacts, DriverError>)> {
    let all = [("cuda", cuda::devices()), ("hip", hip::devices())];
    all.into_iter()
        .flat_map(|(name, found)| {
            let entries = found.unwrap_or_else(|error| vec![Err(error)]);
            entries.into_iter().map(move |entry| (name, entry)).collect::<Vec<_>>()
        })
        .collect()
}

/// How kernels are compiled for a device: with compilers of this machine whose code its driver loads.
pub fn compile_options(facts: &DeviceFacts) -> CompileOptions {
    let version = facts.driver.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    CompileOptions { cuda: version.filter(|_| matches!(facts.chip, Chip::Cuda(_))), ..CompileOptions::here() }
}
