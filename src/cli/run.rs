//! Commands that compute.

use super::input::{ComputeArgs, ModelArgs, ParameterArgs, StructureArgs};
use crate::slice::FrameSlice;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "\
Examples:
  weir eval water.dp water.extxyz
  weir eval model.pt run.xtc --atoms start.gro --head Omat24 --frames ::10 --json energies.jsonl
  weir eval water.dp data/water/data_3 --compare

JSON: one object a line and frame, with energy (eV), forces (N x 3, eV/A, input order), virial (3 x 3, eV), atomic_energy, natoms, model, head,
backend, precision, seconds, peak_bytes, plan, launches, device_memory; with --atomic also atomic_virial (N x 9, eV). Numbers read back to the
same bits. docs/eval-json.md describes every field.")]
pub struct EvalArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Structure or trajectory: extxyz, xyz, gro, pdb, POSCAR, LAMMPS data or dump, xtc, trr, DeePMD system folder.
    pub structure: PathBuf,
    #[command(flatten)]
    pub read: StructureArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub parameters: ParameterArgs,
    /// Also atomic energies and atomic virials.
    #[arg(long)]
    pub atomic: bool,
    /// Write JSON lines to a file, or to standard output (-), instead of the table.
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,
    /// Frames: all, first, N, or start:stop:step, counted from 0 [default: first; all with --compare]
    #[arg(long, value_name = "FRAMES")]
    pub frames: Option<FrameSlice>,
    /// Print the errors against the energies, forces and virials in the file, as `dp test` does.
    #[arg(long)]
    pub compare: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  weir md examples/water.toml
  weir md run.toml --set md.steps=100000 --set output.prefix=\"long\"
  weir md run.toml --resume --maxh 23.5

The configuration is described in docs/md-config.md. SIGINT, SIGTERM, SIGHUP and SIGUSR1 write a restart file and stop after the present step (a second
SIGINT or SIGTERM stops at once). --resume continues bit for bit; outputs are cut to the step of the restart file.")]
pub struct MdArgs {
    /// Configuration file (TOML).
    pub config: PathBuf,
    /// Override a key of the configuration.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Continue from the restart file; starts anew where there is neither a restart file nor output.
    #[arg(long)]
    pub resume: bool,
    /// Write over the output of an earlier run.
    #[arg(long, conflicts_with = "resume")]
    pub overwrite: bool,
    /// Stop with a restart file before this many hours have passed.
    #[arg(long, value_name = "H")]
    pub maxh: Option<f64>,
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Branch of a multi-task model [env: WEIR_HEAD]
    #[arg(long, visible_alias = "model-branch", value_name = "NAME")]
    pub head: Option<String>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  weir minimize water.dp raw.pdb --out relaxed.extxyz
  weir minimize model.pt slab.extxyz --head Omat24 --freeze \"index 1-64\" --fmax 0.01 --algorithm fire --out slab_relaxed.extxyz")]
pub struct MinimizeArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Structure (the first frame is taken).
    pub structure: PathBuf,
    /// File for the relaxed structure, by its suffix.
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    #[command(flatten)]
    pub read: StructureArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub parameters: ParameterArgs,
    /// Largest force at the end, eV/A.
    #[arg(long, value_name = "F", default_value_t = 0.05)]
    pub fmax: f64,
    /// Largest number of steps.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub steps: u64,
    /// Longest way of an atom in one step, A.
    #[arg(long, value_name = "D", default_value_t = 0.1)]
    pub max_step: f64,
    /// Algorithm.
    #[arg(long, default_value = "lbfgs")]
    pub algorithm: AlgorithmName,
    /// Atoms that stay where they are, in the language of --select, such as "index 1-64" or "resname SLB"
    #[arg(long, value_name = "SELECTION")]
    pub freeze: Option<String>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  weir serve --ipi localhost:31415 water.dp water.extxyz
  weir serve --ipi unix:water model.pt water.extxyz --head SPICE2
  for bead in 1 2 3 4; do weir serve --ipi unix:water water.dp water.extxyz --threads 2 -q & done

The server (i-PI, ASE's SocketIOCalculator) must hold the same atoms in the same order. docs/ipi.md has complete runs.")]
pub struct ServeArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Structure: tells elements, order and whether there is a cell; its positions are not used (the first frame is taken).
    pub structure: PathBuf,
    /// Where the server listens: HOST:PORT, unix:NAME (the socket /tmp/ipi_NAME) or unix:/PATH
    #[arg(long, value_name = "ADDRESS")]
    pub ipi: String,
    /// Seconds to wait for the server.
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = seconds)]
    pub wait: f64,
    #[command(flatten)]
    pub read: StructureArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub parameters: ParameterArgs,
}

/// A time that can be waited for.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if (0.0..=1e6).contains(&s) => Ok(s),
        _ => Err("give seconds between 0 and 1e6".into()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AlgorithmName {
    /// Damped dynamics: slow and forgiving.
    Fire,
    /// Limited-memory quasi-Newton.
    Lbfgs,
}
