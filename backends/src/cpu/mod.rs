//! DPA3 on the CPU: fused forward and analytic backward over tiles of centre atoms, layer inputs kept, everything else
//! recomputed, or kept where the plan has room.
//!
//! `forward` and `backward` are one layer each; `execute` interprets the step program; `simd` holds the vector building blocks.
//! Results have the same bits for every thread count, tile size, checkpoint policy and skin (docs/architecture.md, "Same bits").

mod arithmetic;
pub(crate) mod assemble;
mod backward;
pub(crate) mod buffers;
pub(crate) mod calculator;
mod calibrate;
mod clock;
mod context;
mod execute;
mod fit;
mod forecast;
mod forward;
mod inside;
mod kernels_angle;
mod kernels_edge;
mod kernels_moments;
pub(crate) mod layout;
mod loops;
pub(crate) mod memory;
mod plain;
pub(crate) mod rates;
mod rows;
mod scratch;
mod share;
mod simd;
mod slots;
pub(crate) mod stored;
pub(crate) mod tiers;
mod trial;
mod weights;

pub use arithmetic::{Arithmetic, Cost};
pub use calculator::CpuCalculator;
pub use calibrate::calibrate;
pub use clock::{KernelTimes, Spent};
pub use forecast::{tile_choices, Census, Neighbours, Outline};
pub use rates::{keep_rates, kept_rates};
pub use simd::{InstructionSet, NoKernels};
pub use stored::Store;
pub use tiers::{kept_links, measured_links, open_tiers, Opened, TierError};
pub use trial::{Spare, WORTH};
pub use weir_engine::plan::placement::{Checkpoint, Inside, Permission, Rates, TierSpec};
pub use weir_engine::plan::profile::{Profile, Span};

use std::sync::Arc;
use thiserror::Error;
use weir_allocators::faults::Faults;
use weir_allocators::kind::{Hbm, Kind, Ledger, Tier};
use weir_engine::backend::Calculator;
use weir_engine::model::{Model, Precision};

/// Precision that a calculator computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// The precision of the model's descriptor.
    #[default]
    Model,
    /// Double precision.
    F64,
    /// Single precision messages; geometry, fitting net, energies and forces are summed in double precision all the same.
    F32,
}

impl PrecisionChoice {
    /// Whether messages of a model are computed in single precision.
    pub fn is_single(self, model: &Model) -> bool {
        match self {
            PrecisionChoice::Model => model.descriptor.options.precision == Precision::F32,
            PrecisionChoice::F64 => false,
            PrecisionChoice::F32 => true,
        }
    }
}

/// Options of a CPU calculator.
#[derive(Clone, Debug)]
pub struct CpuOptions {
    /// Compute precision.
    pub precision: PrecisionChoice,
    /// Instruction set of the kernels; none: the widest that there is.
    pub simd: Option<InstructionSet>,
    /// Threads; 0 = all that affinity and cgroup allow, or `OMP_NUM_THREADS`.
    pub threads: usize,
    /// Which layer inputs are kept.
    pub checkpoint: Checkpoint,
    /// Whether insides of layers are kept.
    pub inside: Inside,
    /// Bytes for which the steps of a long run may find out whether insides of edges and angles save time, where `inside` is automatic and
    /// `rates` know nothing of it; none: nothing is tried.
    pub spare: Option<Spare>,
    /// How states are stored.
    pub store: Store,
    /// Whether kept states may leave the first tier.
    pub spill: Permission,
    /// Whether states may be rebuilt.
    pub rebuild: Permission,
    /// Memory tiers, the computing one first.
    pub tiers: Vec<CpuTier>,
    /// Compute rates, where they were measured.
    pub rates: Option<Rates>,
    /// Test mode: slots are NaN before they are written and after their last use, and reading one is an error.
    pub poison: bool,
    /// Zero of the times of a profile (see [`Calculator::profile`]); none: nothing is timed.
    pub profile: Option<std::time::Instant>,
    /// Whether kernel calls are timed by class (see [`CpuCalculator::kernels`]).
    pub kernels: bool,
    /// Skin of the neighbour list, A. 0 rebuilds it every step.
    pub skin: f64,
    /// Largest number of edges in a tile; 0 = chosen from the thread count, and smaller where memory is short.
    pub tile_edges: usize,
}

/// What the planner is told beside sizes: memory, rates, policy.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Memory tiers, the computing one first.
    pub tiers: Vec<TierSpec>,
    /// Compute rates; none: estimated.
    pub rates: Option<Rates>,
    /// What they are estimated for.
    pub simd: InstructionSet,
    /// Which layer inputs are kept.
    pub checkpoint: Checkpoint,
    /// Whether kept states may leave the first tier.
    pub spill: Permission,
    /// Whether states may be rebuilt.
    pub rebuild: Permission,
    /// Whether insides of layers are kept.
    pub inside: Inside,
    /// How states are stored.
    pub store: Store,
}

impl CpuOptions {
    fn terms(&self) -> Terms {
        Terms {
            tiers: self.tiers.iter().map(|t| t.spec.clone()).collect(),
            rates: self.rates.clone(),
            simd: self.simd.unwrap_or_default(),
            checkpoint: self.checkpoint,
            spill: self.spill,
            rebuild: self.rebuild,
            inside: self.inside,
            store: self.store,
        }
    }
}

impl Default for CpuOptions {
    fn default() -> Self {
        Self {
            precision: PrecisionChoice::Model,
            simd: None,
            threads: 0,
            checkpoint: Checkpoint::All,
            inside: Inside::Auto,
            spare: None,
            store: Store::Exact,
            spill: Permission::Allowed,
            rebuild: Permission::Allowed,
            tiers: vec![unlimited()],
            rates: None,
            poison: false,
            profile: None,
            kernels: false,
            skin: 1.0,
            tile_edges: 0,
        }
    }
}

/// A memory tier: what the planner knows of it, and what hands it out.
#[derive(Clone)]
pub struct CpuTier {
    /// Name, budget, links.
    pub spec: TierSpec,
    /// The memory.
    pub kind: Arc<dyn Kind>,
}

impl std::fmt::Debug for CpuTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.spec.fmt(f)
    }
}

/// The computing tier, `hbm`, under a budget: an arena of ordinary memory.
pub fn hbm(budget: u64) -> CpuTier {
    let (out_rate, in_rate) = (10e9, 10e9);
    let spec =
        TierSpec { name: "hbm".into(), capacity: budget, out_rate, in_rate, both: 0.5, latency: 0.0, overlap: 0.0 };
    let ledger = Ledger::new("hbm", Tier::Hbm.option(), budget);
    CpuTier { spec, kind: Arc::new(Hbm::new(ledger, Faults::none())) }
}

/// One tier, `hbm`, without a budget.
pub fn unlimited() -> CpuTier {
    hbm(u64::MAX / 4)
}

/// Why a calculator cannot be made.
#[derive(Debug, Error)]
pub enum CpuError {
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
    /// The thread pool.
    #[error("cannot start {threads} threads: {cause}; set WEIR_THREADS or --threads")]
    Threads {
        /// Wanted.
        threads: usize,
        /// The system's word.
        cause: String,
    },
    /// An instruction set that cannot be had.
    #[error(transparent)]
    InstructionSet(#[from] NoKernels),
    /// A skin that is negative or not a number.
    #[error("a skin of {0} A makes no sense; use 0 or more")]
    Skin(f64),
    /// The plain path exists in double precision only.
    #[error("this model uses sequential_update, which runs in double precision only; use --precision f64, or WEIR_PRECISION=f64")]
    PlainPrecision,
    /// The plain path computes a whole system at once.
    #[error("this model uses sequential_update, whose path exchanges no ghost atoms between domains")]
    NoExchange,
    /// The plain path keeps everything: there is nothing to plan.
    #[error("this model uses sequential_update, whose path keeps everything in memory: there is nothing to plan")]
    NotPlanned,
}

/// Threads to use when none are asked for: `OMP_NUM_THREADS` where it is a number, else what affinity and cgroup allow.
pub fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    match std::env::var("OMP_NUM_THREADS").ok().and_then(|v| v.split(',').next()?.trim().parse::<usize>().ok()) {
        Some(n) if n >= 1 => n.min(allowed),
        _ => allowed,
    }
}

/// Makes a calculator for a fixed set of atoms: `types` are indices into the model's type map, negative for virtual atoms.
///
/// # Errors
/// [`CpuError`].
pub fn create(model: Arc<Model>, types: &[i32], options: &CpuOptions) -> Result<Box<dyn Calculator>, CpuError> {
    Ok(Box::new(create_cpu(model, types, options)?))
}

/// As [`create`], with the concrete type.
///
/// # Errors
/// [`CpuError`].
pub fn create_cpu(model: Arc<Model>, types: &[i32], options: &CpuOptions) -> Result<CpuCalculator, CpuError> {
    let threads = if options.threads == 0 { default_threads() } else { options.threads };
    let tile_edges = if options.tile_edges == 0 { forecast::TILE * threads } else { options.tile_edges };
    let chosen = CpuOptions { tile_edges, ..options.clone() };
    let o = &model.descriptor.options;
    let single = options.precision.is_single(&model);
    let arch = options.simd.unwrap_or_default().dispatch()?;
    let compute: Box<dyn calculator::Compute> = if o.sequential_update {
        if options.precision == PrecisionChoice::F32 {
            return Err(CpuError::PlainPrecision);
        }
        Box::<plain::Plain>::default()
    } else if single {
        Box::new(execute::Executor::<f32>::new(model.clone(), arch, threads, chosen, options.tile_edges == 0))
    } else {
        Box::new(execute::Executor::<f64>::new(model.clone(), arch, threads, chosen, options.tile_edges == 0))
    };
    CpuCalculator::new(model, types, options, threads, compute)
}
