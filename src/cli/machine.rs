//! Commands about a machine: plans, measurements, what there is.

use super::input::{ComputeArgs, ModelArgs, ParameterArgs, StructureArgs};
use clap::Args;
use std::path::PathBuf;

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
Writes PREFIX.json, PREFIX.svg and PREFIX.html; where a line fails, with the lines before it, and ends with exit code 1.")]
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

Hardware, link table, parity with DeePMD-kit, steps of four proteins (DPA-3.1-3M shape, random weights), the spill curve: on the GPU that WEIR_BACKEND
asks for or finds, else on the CPU. Nothing in the file
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
