//! From a configuration to a simulation that is ready to run, new or resumed.

use super::config::{Config, Ensemble, FormatName, InitialVelocities, ThermostatName};
use super::masses;
use crate::backend::{Engine, Given};
use crate::cli::{MdArgs, StructureArgs};
use crate::log::{Level, Log};
use crate::problem::same_file;
use crate::report;
use crate::structures::Reader;
use crate::trace::Trace;
use anyhow::{bail, Context, Result};
use std::path::{Path, PathBuf};
use weir_allocators::policy::Precision;
use weir_backends::cpu::Store;
use weir_engine::md::restart::fingerprint;
use weir_engine::md::{
    output, EnergyLog, FrameFile, Limits, Outputs, Restart, Settings, Simulation, State, System, Thermostat,
    TrajectoryFormat,
};
use weir_engine::structure::Structure;

/// Every file a run writes.
pub struct Files {
    /// Energy log.
    pub energies: PathBuf,
    /// Trajectories.
    pub trajectories: Vec<(PathBuf, TrajectoryFormat)>,
    /// Restart file.
    pub restart: PathBuf,
    /// Plot.
    pub plot: PathBuf,
    /// The frame after the last step.
    pub last: PathBuf,
    /// The last frame of a run that failed.
    pub last_good: PathBuf,
    /// What keeps other runs from all of them.
    pub lock: PathBuf,
}

impl Files {
    /// The files of a configuration.
    pub fn new(config: &Config) -> Self {
        let formats = match config.content.output.trajectory_every {
            0 => Vec::new(),
            _ => config.content.output.formats(),
        };
        let trajectory = |format| match format {
            FormatName::Extxyz => (config.output(".extxyz"), TrajectoryFormat::Extxyz),
            FormatName::Xtc => (config.output(".xtc"), TrajectoryFormat::Xtc),
        };
        Files {
            energies: config.output(".csv"),
            trajectories: formats.into_iter().map(trajectory).collect(),
            restart: config.output(".restart"),
            plot: config.output(".svg"),
            last: config.output(".final.extxyz"),
            last_good: config.output(".last-good.extxyz"),
            lock: config.output(".lock"),
        }
    }

    /// Files that grow, in the order of the restart file.
    fn growing(&self) -> Vec<PathBuf> {
        std::iter::once(&self.energies).chain(self.trajectories.iter().map(|(p, _)| p)).cloned().collect()
    }
}

/// Refuses a run that would write over what it reads.
///
/// # Errors
/// An output that is an input.
pub fn apart(config: &Config, files: &Files) -> Result<()> {
    let inputs = inputs(config);
    let others = [&files.restart, &files.last, &files.last_good, &files.plot, &files.lock];
    for file in files.growing().iter().chain(others) {
        if inputs.iter().any(|input| same_file(input, file)) {
            bail!("{} is both read and written: choose another output.prefix", file.display());
        }
    }
    Ok(())
}

/// Decides between a new run (`None`) and a resumed one.
///
/// # Errors
/// Outputs that would be written over, outputs without a restart file, an unreadable restart file.
pub fn choose(args: &MdArgs, config: &Config, files: &Files, log: &Log) -> Result<Option<Restart>> {
    let exists = |p: &&PathBuf| p.exists();
    let growing = files.growing();
    if args.resume {
        if files.restart.exists() {
            return Ok(Some(Restart::read(&files.restart)?));
        }
        if let Some(found) = growing.iter().find(exists) {
            bail!(
                "--resume: there is no restart file {}, but {} exists; give the right output.prefix, or start anew with --overwrite",
                files.restart.display(),
                found.display()
            );
        }
        log.info(&format!("  resume     there is no {} yet: a new run", files.restart.display()));
        return Ok(None);
    }
    if !(args.overwrite || config.content.output.overwrite) {
        if let Some(found) = growing.iter().chain([&files.restart]).find(exists) {
            bail!("{} exists: continue that run with --resume, write over it with --overwrite, or choose another output.prefix", found.display());
        }
    }
    Ok(None)
}

/// Every file that a configuration reads.
fn inputs(config: &Config) -> Vec<&Path> {
    let (m, s) = (&config.content.model, &config.content.structure);
    let optional = [&m.aparam, &s.elements, &s.topology, &s.index, &s.atoms].into_iter().flatten();
    [&m.path, &s.path, &config.path].into_iter().chain(optional).map(PathBuf::as_path).collect()
}

/// A simulation and where it writes.
pub struct Ready {
    /// The simulation.
    pub simulation: Simulation,
    /// Its outputs, opened.
    pub outputs: Outputs,
    /// Settings its bits depend on.
    pub settings: Vec<(String, String)>,
    /// Its trace, where one is asked for.
    pub trace: Option<Trace>,
}

fn structure_args(config: &Config) -> StructureArgs {
    let s = &config.content.structure;
    StructureArgs {
        format: s.format.clone(),
        select: s.select.clone(),
        elements: s.elements.clone(),
        topology: s.topology.clone(),
        index: s.index.clone(),
        types: s.types.clone(),
        atoms: s.atoms.clone(),
    }
}

/// Marks the atoms that `frozen` selects.
///
/// # Errors
/// Selections that cannot be read, or that choose no atom.
pub fn frozen(
    frozen: Option<&str>,
    name: &str,
    path: &Path,
    args: &StructureArgs,
    structure: &Structure,
) -> Result<Vec<bool>> {
    let Some(expression) = frozen else { return Ok(vec![false; structure.len()]) };
    let args = StructureArgs {
        select: Some(expression.to_string()),
        format: args.format.clone(),
        elements: args.elements.clone(),
        topology: args.topology.clone(),
        index: args.index.clone(),
        types: args.types.clone(),
        atoms: args.atoms.clone(),
    };
    let chosen = Reader::new(&args)?.read(path).with_context(|| name.to_string())?;
    let chosen: std::collections::HashSet<usize> = chosen.original.into_iter().collect();
    let marks: Vec<bool> = structure.original.iter().map(|i| chosen.contains(i)).collect();
    debug_assert_eq!(marks.len(), structure.len());
    if !marks.contains(&true) {
        bail!("{name}: \"{expression}\" selects no atom of this structure");
    }
    Ok(marks)
}

/// Builds the simulation and opens its outputs. The restart file of a new run is written before anything else, so that from then on a run
/// killed at any moment can be resumed.
///
/// # Errors
/// Unreadable structures, unknown elements, senseless settings, a restart file of another run, outputs that cannot be opened.
pub fn prepare(config: &Config, engine: &Engine, files: &Files, restart: Option<Restart>, log: &Log) -> Result<Ready> {
    let content = &config.content;
    let path = &content.structure.path;
    let args = structure_args(config);
    let structure = Reader::new(&args)?.first(path, log)?;
    let types = engine.types(&structure).with_context(|| path.display().to_string())?;
    let given = Given::new(
        content.model.fparam.clone(),
        content.model.aparam.as_deref(),
        content.model.charge_spin.as_deref(),
    )?;
    let parameters = engine.parameters(&given, &structure)?;
    let frozen = frozen(content.md.frozen.as_deref(), "md.frozen", path, &args, &structure)?;
    let mut system = System::new(&structure, &content.masses, frozen)?;
    masses::tell(&structure, &content.masses, &system, log);
    let settings = settings(config, &system);
    system.momentum_removed = settings.remove_momentum_every > 0 && system.len() > 1;
    // Before the settings are compared: a device may show that it makes products otherwise than was thought.
    let mut calculator = engine.calculator(&types, log)?;
    let identity = identity(config, engine, &system, &settings, &parameters);
    if let Some(restart) = &restart {
        let now = open_products(engine, restart, identity.clone(), log);
        restart.check(&files.restart, &open_instructions(restart, now, log)).map_err(|error| {
            let before = value(&restart.settings, masses::KEY);
            masses::refusal(error, &files.restart, before, &structure, &content.masses)
        })?;
        calculator.set_order(&restart.order);
    }
    // What cannot fit is an error before any file is touched.
    let positions = restart.as_ref().map_or(&structure.positions, |r| &r.state.positions);
    calculator.prepare(positions, system.cell.as_ref())?;
    report::plan(log, calculator.as_ref(), engine.rates_measured());
    let trace = Trace::new(&engine.policy, &inputs(config))?;
    let growing = files.growing();
    let (simulation, keep) = match restart {
        Some(restart) => {
            let keep = output::lengths(&growing, &restart.outputs)?;
            let simulation = Simulation::new(system, restart.state, settings, calculator, parameters, &restart.order)?;
            (simulation, keep)
        }
        None => {
            let (mut velocities, origin) = velocities(config, &structure, &system, path)?;
            if system.momentum_removed {
                system.remove_momentum(&mut velocities);
            }
            let state = State { positions: structure.positions.clone(), velocities, ..State::default() };
            let simulation = Simulation::new(system, state, settings, calculator, parameters, &[])?;
            tell_velocities(config, origin, simulation.sample().temperature, log);
            let empty = growing.iter().map(|p| (output::name(p), 0)).collect();
            simulation.restart(empty, identity.clone()).write(&files.restart)?;
            (simulation, vec![0; growing.len()])
        }
    };
    let energies = EnergyLog::open(&files.energies, keep[0])?;
    let open = |((path, format), keep): (&(PathBuf, TrajectoryFormat), &u64)| FrameFile::open(path, *format, *keep);
    let trajectories = files.trajectories.iter().zip(&keep[1..]).map(open).collect::<Result<_, _>>()?;
    Ok(Ready { simulation, outputs: Outputs { energies, trajectories }, settings: identity, trace })
}

fn settings(config: &Config, system: &System) -> Settings {
    let md = &config.content.md;
    let target = md.temperature_K.unwrap_or(0.0);
    let thermostat = match (md.ensemble, md.thermostat) {
        (Ensemble::Nvt, Some(ThermostatName::Langevin)) => {
            Thermostat::Langevin { temperature: target, friction: md.friction_per_ps.unwrap_or(1.0) }
        }
        (Ensemble::Nvt, Some(ThermostatName::Rescale)) => {
            Thermostat::Rescale { temperature: target, time: md.coupling_time_ps.unwrap_or(0.1) }
        }
        _ => Thermostat::None,
    };
    let every = match thermostat {
        _ if system.frozen.contains(&true) => 0,
        // Langevin noise pushes the centre of mass every step, so it is held every step and its three degrees of freedom never count.
        Thermostat::Langevin { .. } => 1,
        _ => 100,
    };
    let limits = Limits {
        temperature: md.max_temperature_K.unwrap_or(if target > 0.0 { (10.0 * target).max(3000.0) } else { 10_000.0 }),
        displacement: md.max_displacement_A.unwrap_or(0.5),
    };
    Settings {
        timestep: md.timestep_fs * 1e-3,
        thermostat,
        seed: md.seed,
        remove_momentum_every: md.remove_com_every.unwrap_or(every),
        limits,
    }
}

/// Where the velocities of a new run come from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    File,
    Maxwell,
    Zero,
}

/// Says where the first velocities come from, and what was asked for in vain.
fn tell_velocities(config: &Config, origin: Origin, temperature: f64, log: &Log) {
    let from = match origin {
        Origin::File => "of the structure file",
        Origin::Maxwell => "drawn (Maxwell)",
        Origin::Zero => "zero",
    };
    let fields = serde_json::json!({ "velocities": from, "temperature_K": temperature });
    log.event(Level::Info, "velocities", fields, &format!("  velocities {from}, {temperature:.1} K"));
    let md = &config.content.md;
    let unused = md.ensemble == Ensemble::Nve && md.initial_velocities == InitialVelocities::Auto;
    if let (true, Origin::File, Some(asked)) = (unused, origin, md.temperature_K) {
        log.warn(&format!(
            "md.temperature_K = {asked} sets no velocities: the structure file has some, of {temperature:.1} K, and \"nve\" leaves them alone \
             (md.initial_velocities = \"maxwell\" draws new ones)"
        ));
    }
}

fn velocities(config: &Config, structure: &Structure, system: &System, path: &Path) -> Result<(Vec<[f64; 3]>, Origin)> {
    let md = &config.content.md;
    let moving = |v: &&Vec<[f64; 3]>| v.iter().flatten().any(|x| *x != 0.0);
    // Many programs write columns of zeros where there are no velocities.
    let from_file = match md.initial_velocities {
        InitialVelocities::Auto => structure.velocities.as_ref().filter(moving),
        _ => structure.velocities.as_ref(),
    };
    let maxwell = |t: f64| system.maxwell(t, md.seed, true);
    let (mut velocities, origin) = match (md.initial_velocities, from_file, md.temperature_K) {
        (InitialVelocities::Zero, ..) => (vec![[0.0; 3]; system.len()], Origin::Zero),
        (InitialVelocities::File, None, _) => {
            bail!("md.initial_velocities = \"file\", but {} has no velocities", path.display())
        }
        (InitialVelocities::File | InitialVelocities::Auto, Some(v), _) => (v.clone(), Origin::File),
        (InitialVelocities::Maxwell | InitialVelocities::Auto, _, Some(t)) => (maxwell(t), Origin::Maxwell),
        // Columns of zeros, and no temperature to draw others for: at rest, as they say.
        (InitialVelocities::Auto, ..) if structure.velocities.is_some() => (vec![[0.0; 3]; system.len()], Origin::Zero),
        _ => bail!("no velocities to start from: give md.temperature_K, or md.initial_velocities = \"zero\""),
    };
    for (v, _) in velocities.iter_mut().zip(&system.frozen).filter(|(_, f)| **f) {
        *v = [0.0; 3];
    }
    Ok((velocities, origin))
}

/// What a key has.
fn value(pairs: &[(String, String)], key: &str) -> Option<String> {
    pairs.iter().find(|(k, _)| k == key).map(|(_, value)| value.clone())
}

/// The identity for which a restart file is good: where nobody asked for a precision, what makes an f32 model's products is the machine's affair, and
/// a run may go on where they are made by others, which is said.
fn open_products(engine: &Engine, restart: &Restart, now: Vec<(String, String)>, log: &Log) -> Vec<(String, String)> {
    let single = |p: &str| ["f32", "tf32x3", "f16x3"].contains(&p);
    let before = value(&restart.settings, "precision");
    let open = engine.policy.precision.value == Precision::Model && single(engine.precision());
    let Some(before) = before.filter(|p| open && single(p) && p != engine.precision()) else { return now };
    log.warn(&format!(
        "products were made in {before}, from here on in {}: as exact, in other bits than a run in one go (--precision keeps to one)",
        engine.precision()
    ));
    let other = |(key, value)| if key == "precision" { (key, before.clone()) } else { (key, value) };
    now.into_iter().map(other).collect()
}

/// The identity for which a restart file is good whatever instruction set it was written with: a run may go on on another CPU, which is said.
fn open_instructions(restart: &Restart, now: Vec<(String, String)>, log: &Log) -> Vec<(String, String)> {
    let (before, here) = (value(&restart.settings, INSTRUCTIONS), value(&now, INSTRUCTIONS));
    match (&before, &here) {
        (Some(before), Some(here)) if before != here => log.warn(&format!(
            "the run went with {before} so far and goes on with {here}: as exact, in other bits than a run in one go (WEIR_SIMD={before} keeps to \
             one, where this CPU has it)"
        )),
        (None, Some(here)) => log.warn(&format!(
            "the restart file names no instruction set (a GPU's, or an earlier version's): the run goes on with {here}, perhaps in other bits than a \
             run in one go"
        )),
        _ => {}
    }
    let others = now.into_iter().filter(|(key, _)| key != INSTRUCTIONS);
    others.chain(before.map(|set| (INSTRUCTIONS.to_string(), set))).collect()
}

/// The key of the CPU's instruction set among what the bits of a run depend on.
const INSTRUCTIONS: &str = "instruction set";

/// What the bits of a run depend on besides its state: a restart file of other values is refused.
fn identity(
    config: &Config,
    engine: &Engine,
    system: &System,
    settings: &Settings,
    parameters: &weir_engine::backend::FrameParameters,
) -> Vec<(String, String)> {
    let head = engine.model.source.head.clone().unwrap_or_default();
    let pairs = [
        ("model sha256", engine.model.source.sha256.clone()),
        ("head", head),
        ("precision", engine.precision().to_string()),
        ("model parameters (fparam, aparam, charge and spin)", fingerprint(&format!("{parameters:?}"))),
        ("number of atoms", system.len().to_string()),
        ("elements", fingerprint(&system.symbols.join(" "))),
        (masses::KEY, masses::identity(system)),
        ("cell", format!("{:?}", system.cell)),
        ("md.frozen", fingerprint(&format!("{:?}", system.frozen))),
        ("md.timestep_fs", format!("{:?}", config.content.md.timestep_fs)),
        ("thermostat", format!("{:?}", settings.thermostat)),
        ("md.seed", settings.seed.to_string()),
        ("md.remove_com_every", settings.remove_momentum_every.to_string()),
    ];
    let mut identity: Vec<(String, String)> = pairs.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
    if let Some(set) = engine.instruction_set() {
        identity.push((INSTRUCTIONS.to_string(), set.name().to_string()));
    }
    // Exact storage is no key of its own: restart files from before there was another remain good.
    let store = engine.store().of(if engine.precision() == "f64" { 8 } else { 4 });
    if store != Store::Exact {
        identity.push(("store".into(), store.to_string()));
    }
    identity
}
