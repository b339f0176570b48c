//! What commands read, and how they compute.

use clap::Args;
use std::path::PathBuf;

/// Which model.
#[derive(Args)]
pub struct ModelArgs {
    /// Model file: .dp, .pt, .pth, .yaml, .pt2, .pte, .weir
    pub model: PathBuf,
    /// Branch of a multi-task model [env: WEIR_HEAD]
    #[arg(long, visible_alias = "model-branch", value_name = "NAME")]
    pub head: Option<String>,
    /// Read models with keys that this version does not know.
    #[arg(long)]
    pub allow_unknown: bool,
}

const COMPUTE: &str = "Compute and placement";

/// How to compute and where to keep things.
#[derive(Args, Default)]
pub struct ComputeArgs {
    /// Who computes: auto (a GPU where one is visible), cpu, cuda, hip, emulated [env: WEIR_BACKEND] [default: auto]
    #[arg(long, value_name = "B", help_heading = COMPUTE)]
    pub backend: Option<String>,
    /// Index of the GPU, modulo their number [env: WEIR_DEVICE] [default: rank on the node, else 0]
    #[arg(long, value_name = "N", help_heading = COMPUTE)]
    pub device: Option<String>,
    /// Arithmetic: model (as trained; f32 models on CUDA GPUs by f16x3), f64, f32, tf32x3, f16x3, tf32 [env: WEIR_PRECISION] [default: model]
    #[arg(long, value_name = "P", help_heading = COMPUTE)]
    pub precision: Option<String>,
    /// Number of threads [env: WEIR_THREADS] [default: all this process may use]
    #[arg(long, value_name = "N", help_heading = COMPUTE)]
    pub threads: Option<String>,
    /// Layer inputs kept for the backward pass, in whatever tier: auto, all, every:K [env: WEIR_CHECKPOINT] [default: auto]
    #[arg(long, value_name = "C", help_heading = COMPUTE)]
    pub checkpoint: Option<String>,
    /// Moments, slopes and messages of layers for the backward pass: auto, rebuild, keep [env: WEIR_INSIDE] [default: auto]
    #[arg(long, value_name = "I", help_heading = COMPUTE)]
    pub inside: Option<String>,
    /// Memory tiers in order of preference, such as hbm,system,file [env: WEIR_PLACEMENT] [default: auto]
    #[arg(long, value_name = "TIERS", help_heading = COMPUTE)]
    pub placement: Option<String>,
    /// Memory that is computed on: 6GiB or 50% [env: WEIR_HBM_BUDGET] [default: 90%]
    #[arg(long, value_name = "SIZE", help_heading = COMPUTE)]
    pub hbm_budget: Option<String>,
    /// Host memory behind it (tiers pinned, system) [env: WEIR_HOST_BUDGET] [default: 70%]
    #[arg(long, value_name = "SIZE", help_heading = COMPUTE)]
    pub host_budget: Option<String>,
    /// Disk behind that (tier file) [env: WEIR_FILE_BUDGET] [default: 0; 80% where the tier file is named]
    #[arg(long, value_name = "SIZE", help_heading = COMPUTE)]
    pub file_budget: Option<String>,
    /// Folder of the tier file, on a disk [env: WEIR_SCRATCH_DIR] [default: the system's temporary folder]
    #[arg(long, value_name = "DIR", help_heading = COMPUTE)]
    pub scratch_dir: Option<String>,
    /// How kept states are stored: exact, f32, f16, bf16 [env: WEIR_STORE] [default: exact]
    #[arg(long, value_name = "FORM", help_heading = COMPUTE)]
    pub store: Option<String>,
    /// NUMA node that host memory comes from [env: WEIR_NUMA_NODE] [default: that of the cores]
    #[arg(long, value_name = "NODE", help_heading = COMPUTE)]
    pub numa_node: Option<String>,
}

/// Inputs besides positions.
#[derive(Args)]
pub struct ParameterArgs {
    /// Frame parameters [default: those in the structure file]
    #[arg(long, value_name = "A,B", value_delimiter = ',', allow_hyphen_values = true)]
    pub fparam: Option<Vec<f64>>,
    /// Text file of atomic parameters, one row per atom [default: those in the structure file]
    #[arg(long, value_name = "FILE")]
    pub aparam: Option<PathBuf>,
    /// Total charge and spin [default: those in the structure file]
    #[arg(long, value_name = "Q,M", value_delimiter = ',', allow_hyphen_values = true)]
    pub charge_spin: Option<Vec<f64>>,
}

/// How to read a structure.
#[derive(Args, Default)]
pub struct StructureArgs {
    /// Format of the structure, where name and content should not decide.
    #[arg(long, value_name = "NAME")]
    pub format: Option<String>,
    /// Atoms to keep: residue names, protein, water, "not water", or a group of --index
    #[arg(long, value_name = "SELECTION")]
    pub select: Option<String>,
    /// File with lines `[residue] atom-name element`, for formats without elements.
    #[arg(long, value_name = "FILE")]
    pub elements: Option<PathBuf>,
    /// GROMACS topology that tells the elements.
    #[arg(long, visible_alias = "top", value_name = "FILE")]
    pub topology: Option<PathBuf>,
    /// GROMACS index file whose groups --select may name.
    #[arg(long, visible_alias = "ndx", value_name = "FILE")]
    pub index: Option<PathBuf>,
    /// Elements of the types 1, 2, ... of LAMMPS and DeePMD files.
    #[arg(long, value_name = "O,H", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Structure that names the atoms of a trajectory without names (xtc, trr).
    #[arg(long, value_name = "FILE")]
    pub atoms: Option<PathBuf>,
}
