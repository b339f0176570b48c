//! `weir gromacs prepare`: what a run of a stock GROMACS on Weir needs (docs/gromacs.md).

mod cell;
mod configuration;
mod gro;
mod group;
mod mdp;
mod step;
mod topology;
mod whole;

use crate::backend::{tell_remarks, Engine};
use crate::cli::GromacsPrepareArgs;
use crate::log::{Level, Log};
use crate::problem::{print, Usage};
use crate::structures::Reader;
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use weir_engine::structure::Structure;

/// Runs `weir gromacs prepare`.
///
/// # Errors
/// Structures, topologies and groups that stock GROMACS cannot run, with the reason; files that cannot be written.
pub fn prepare(args: &GromacsPrepareArgs, engine: &Engine, log: &Log) -> Result<()> {
    let reader = Reader::new(&args.read)?;
    let structure = reader.read(&args.structure)?;
    tell_remarks(&structure, &args.structure, log);
    // Of a group's surroundings the model need not know anything.
    if args.group.is_none() {
        known(&structure, &engine.model.type_map)?;
    }
    let model = fs::canonicalize(&args.model.model).with_context(|| format!("{}", args.model.model.display()))?;
    plain(&model)?;
    // Flag, environment or configuration file: the run has none of them.
    let head = engine.policy.head.as_ref().map(|h| h.value.as_str());
    let mdp = args.mdp.as_ref().map(|p| fs::read_to_string(p).with_context(|| format!("{}", p.display())));
    let type_map = &engine.model.type_map;
    let job = Job { args, structure: &structure, model: &model, type_map, head, mdp: mdp.transpose()? };
    let made = match &args.group {
        None => whole::prepare(&job)?,
        Some(selection) => group::prepare(&job, &reader, selection)?,
    };
    for remark in &made.remarks {
        log.say(Level::Warn, remark);
    }
    write(&args.out, args.force, &made.files)?;
    print(&told(&args.out, &made))
}

/// What is asked for.
struct Job<'a> {
    args: &'a GromacsPrepareArgs,
    structure: &'a Structure,
    model: &'a Path,
    type_map: &'a [String],
    head: Option<&'a str>,
    /// Text of the mdp file that was given.
    mdp: Option<String>,
}

/// What was made.
struct Made {
    /// Name and text.
    files: Vec<(&'static str, String)>,
    remarks: Vec<String>,
    /// A sentence for the user.
    summary: String,
    /// `-c` and further options of grompp.
    grompp: String,
}

/// Refuses names that a line of `weir.dat` cannot hold.
fn plain(model: &Path) -> Result<()> {
    let name = model.display().to_string();
    if name.contains(['\n', '\r']) || name.split(char::is_whitespace).skip(1).any(|w| w.starts_with('#')) {
        bail!("{name:?}: weir.dat takes a # behind a space for a comment, and a line for a key: give the model another name or a link");
    }
    Ok(())
}

fn known(structure: &Structure, type_map: &[String]) -> Result<()> {
    if let Some(atom) = structure.symbols.iter().position(|s| s != "X" && !type_map.contains(s)) {
        let of_file = structure.original.get(atom).copied().unwrap_or(atom) + 1;
        bail!(
            "atom {of_file} is {}, which the model does not know; it knows: {}",
            structure.symbols[atom],
            type_map.join(" ")
        );
    }
    Ok(())
}

fn write(folder: &Path, force: bool, files: &[(&str, String)]) -> Result<()> {
    if let Some(there) = files.iter().map(|(name, _)| folder.join(name)).find(|p| p.exists() && !force) {
        return Err(Usage(format!(
            "{} is there already; name another folder with --out, or give --force",
            there.display()
        ))
        .into());
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The library that was built with this program, where it lies beside it.
fn library() -> PathBuf {
    let here = std::env::current_exe().ok().and_then(|p| p.parent().map(Path::to_path_buf)).unwrap_or_default();
    let places = ["", "../libexec/weir", "../lib/weir", "../lib"].map(|p| here.join(p).join("libweir.so"));
    places.into_iter().find(|p| p.is_file()).unwrap_or_else(|| "/path/to/libweir.so".into())
}

/// A word of a shell's command line.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn told(folder: &Path, made: &Made) -> String {
    let names: Vec<&str> = made.files.iter().map(|(name, _)| *name).collect();
    format!(
        "{}: {}\n{}\n\n  cd {}\n  gmx grompp -f grompp.mdp {} -p topol.top -o topol.tpr\n  PLUMED_KERNEL={} gmx mdrun -ntmpi 1 -s topol.tpr -plumed weir.dat\n\nThe model's energy goes to weir_energy.xvg; the .edr file has the rest. docs/gromacs.md tells more.\n",
        folder.display(),
        names.join(" "),
        made.summary,
        quoted(folder),
        made.grompp,
        quoted(&library())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_printed_paths_as_one_word() {
        for (path, word) in [
            ("/run/a-b_c.gro", "/run/a-b_c.gro"),
            ("my run", "'my run'"),
            ("it's $HOME", "'it'\\''s $HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
        let script = format!("printf %s {}", quoted(Path::new("a 'b' ;c")));
        let echo = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(echo.stdout, b"a 'b' ;c");
    }

    #[test]
    fn a_model_whose_name_would_be_cut_is_refused() {
        plain(Path::new("/my models/a#1.dp")).unwrap();
        assert!(plain(Path::new("/m/a #1.dp")).unwrap_err().to_string().contains("another name"));
    }
}
