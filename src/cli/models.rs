//! Commands about model files and their kernels.

use super::input::ModelArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand)]
pub enum KernelsCommand {
    /// Compile into a folder, which WEIR_KERNEL_DIR names later.
    Build(Box<KernelsBuildArgs>),
    /// What a folder has.
    List {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  weir kernels build --arch sm_90a --model water.dp --out kernels
  weir kernels build --arch sm_80,sm_90a,gfx942 --preset dpa-3.1-3m --precision f32,tf32x3,f64 --driver 12.4 --out kernels
  WEIR_KERNEL_DIR=kernels weir eval water.dp water.extxyz

Needs NVRTC for sm_* and hiprtc or a clang with AMD's target and lld for gfx*, but no GPU. Kernels are made for one shape: widths, cutoffs and
other options of the descriptor. A model of other shape finds nothing in the folder, and is compiled where it runs.")]
pub struct KernelsBuildArgs {
    /// Chips: sm_80, sm_90a, gfx942, host (the emulated device)
    #[arg(long, value_name = "LIST")]
    pub arch: String,
    /// Folder to write to.
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    /// Model whose kernels are wanted.
    #[arg(long, value_name = "FILE", required_unless_present = "preset")]
    pub model: Option<PathBuf>,
    /// Branch of a multi-task model.
    #[arg(long, value_name = "NAME")]
    pub head: Option<String>,
    /// Read models with keys that this version does not know.
    #[arg(long)]
    pub allow_unknown: bool,
    /// A published shape instead: dpa-3.1-3m, dpa-3.2-5m or tiny
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    pub preset: Option<String>,
    /// Arithmetic: model, f32, f64, tf32x3, f16x3, tf32, or several
    #[arg(long, value_name = "LIST")]
    pub precision: Option<String>,
    /// How states are stored: exact, f32, f16, bf16
    #[arg(long, value_name = "FORM", default_value = "exact")]
    pub store: String,
    /// CUDA version of the driver that will run them, as nvidia-smi shows it: a newer compiler's code would not load [default: newest compiler]
    #[arg(long, value_name = "VERSION")]
    pub driver: Option<String>,
    /// Shared memory of a block, for chips that are not in the table.
    #[arg(long, value_name = "SIZE")]
    pub shared: Option<String>,
    /// Kernels for these values of WEIR_BLOCKS too, as in 2,3,4
    #[arg(long, value_name = "LIST")]
    pub blocks: Option<String>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum ModelCommand {
    /// Architecture, parameters, type map, cutoffs, checksum.
    Info {
        #[command(flatten)]
        model: ModelArgs,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Names of the branches of a multi-task model.
    Heads {
        /// Model file.
        model: PathBuf,
    },
    /// Write one head as .weir (loads fast) or as .dp (DeePMD-kit opens it).
    Convert {
        #[command(flatten)]
        model: ModelArgs,
        /// File to write; its suffix says the format.
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make a random model of a published shape, for timing.
    New {
        /// dpa-3.1-3m, dpa-3.2-5m or tiny
        #[arg(long)]
        preset: String,
        /// Seed of the weights.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// File to write (.weir or .dp).
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
}
