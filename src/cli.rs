//! The command line as clap sees it.

mod doors;
mod input;
mod machine;
mod models;
mod run;

pub use doors::{Ensemble, GromacsCommand, GromacsPrepareArgs, InstallArgs};
pub use input::{ComputeArgs, ModelArgs, ParameterArgs, StructureArgs};
pub use machine::{HardwareArgs, PlanArgs, ProfileArgs, ReportArgs};
pub use models::{KernelsBuildArgs, KernelsCommand, ModelCommand};
pub use run::{AlgorithmName, EvalArgs, MdArgs, MinimizeArgs, ServeArgs};

use clap::{Parser, Subcommand, ValueEnum};

const AFTER: &str = "\
Examples:
  weir eval water.dp water.extxyz
  weir eval DPA-3.1-3M.pt protein.gro --head SPICE2 --select protein --json forces.json
  weir minimize model.dp raw.pdb --out relaxed.extxyz
  weir md examples/water.toml --set md.temperature_K=310
  weir serve --ipi localhost:31415 model.dp water.extxyz
  weir model info model.dp

Environment (flags win over it): WEIR_BACKEND (auto, cpu, cuda, hip), WEIR_DEVICE, WEIR_HEAD, WEIR_PRECISION, WEIR_THREADS, WEIR_SIMD, WEIR_PLACEMENT,
WEIR_HBM_BUDGET, WEIR_HOST_BUDGET, WEIR_FILE_BUDGET, WEIR_CHECKPOINT, WEIR_INSIDE, WEIR_STORE, WEIR_NUMA_NODE, WEIR_SCRATCH_DIR, WEIR_CACHE_DIR,
WEIR_KERNEL_DIR (precompiled kernels), WEIR_VERIFY (compare a GPU with the CPU: auto, always, never), WEIR_PROFILE (path of a trace), WEIR_LOG (error, warn, info, debug), WEIR_CONFIG (a TOML file with these names in small letters). docs/environment.md tells what each does. Any other WEIR_
name is an error, except those of module systems (WEIR_ROOT, _HOME, _DIR, _VERSION, _LIB, _INC, _BASE).

Exit codes: 0 done, or stopped as asked (signal, --maxh) with the restart file written; 1 error; 2 wrong usage, environment or configuration.";

/// DPA3 interatomic potentials: exact energies, forces, virials and molecular dynamics, from DeePMD-kit model files.
#[derive(Parser)]
#[command(name = "weir", version, about, after_help = AFTER, max_term_width = 120)]
pub struct Cli {
    /// Only warnings and errors on standard error.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// How log lines on standard error look.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Subcommand)]
pub enum Command {
    /// Energy, forces and virial of structures.
    Eval(EvalArgs),
    /// Molecular dynamics: NVE, NVT (Langevin, stochastic velocity rescaling).
    Md(MdArgs),
    /// Relax a structure at fixed cell.
    Minimize(MinimizeArgs),
    /// Serve forces to i-PI, ASE or any other program that speaks i-PI's socket protocol.
    Serve(ServeArgs),
    /// Forecast of memory and time, on this machine or one of a file; nothing is computed.
    Plan(PlanArgs),
    /// What too little fast memory costs: steps under budgets, predicted and measured.
    Profile(ProfileArgs),
    /// What this machine does, as one anonymous JSON to send to the developers (at most ten minutes).
    Report(ReportArgs),
    /// What this machine is, what may be used of it, and how fast its memories talk to each other.
    Hardware(HardwareArgs),
    /// Look at model files, convert them, make random ones.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Compile the GPU kernels of a model ahead, for machines without a compiler.
    #[command(subcommand)]
    Kernels(KernelsCommand),
    /// Put Weir in the place of DeePMD-kit's C library, for LAMMPS and other MD codes.
    InstallDeepmd(InstallArgs),
    /// Run a model inside an unmodified GROMACS (2025 or later).
    #[command(subcommand)]
    Gromacs(GromacsCommand),
    /// Completions for a shell, on standard output.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}
