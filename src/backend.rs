//! From a model file and a structure to a calculator.

use crate::cli::ParameterArgs;
use crate::log::{Level, Log};
use crate::problem::Usage;
use crate::settings::Settings;
use anyhow::{bail, Context, Result};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use weir_allocators::faults::Faults;
use weir_allocators::policy::{CheckpointRule, Policy, Precision, Store};
use weir_allocators::topology::Topology;
use weir_backends::cpu::{self, Checkpoint, CpuCalculator, CpuOptions, CpuTier, PrecisionChoice};
use weir_engine::backend::{Calculator, FrameParameters};
use weir_engine::model::{self, LoadOptions, Model};
use weir_engine::structure::Structure;

/// A model and how to compute with it.
pub struct Engine {
    /// The model.
    pub model: Arc<Model>,
    /// Its file.
    pub path: PathBuf,
    /// How to compute and where to keep things.
    pub policy: Policy,
    /// The machine.
    pub topology: Topology,
    /// Neighbour skin, A, where one is asked for.
    pub skin: Option<f64>,
    /// Zero of all recorded times.
    pub zero: Instant,
    tiers: OnceCell<Vec<CpuTier>>,
}

impl Engine {
    /// Reads the model and tells its remarks.
    ///
    /// # Errors
    /// Unreadable or unsupported models, missing heads.
    pub fn load(path: &Path, allow_unknown: bool, settings: Settings, log: &Log) -> Result<Self> {
        let head = settings.policy.head.as_ref().map(|h| h.value.clone());
        let model = model::load(path, &LoadOptions { head, allow_unknown })?;
        for remark in &model.source.remarks {
            log.warn(&format!("{}: {remark}", path.display()));
        }
        Ok(Self::with(Arc::new(model), path, settings))
    }

    /// A model that is at hand.
    pub fn with(model: Arc<Model>, path: &Path, settings: Settings) -> Self {
        let Settings { policy, topology } = settings;
        let (tiers, zero) = (OnceCell::new(), Instant::now());
        Engine { model, path: path.to_path_buf(), policy, topology, skin: None, zero, tiers }
    }

    /// The arithmetic of the messages: `f64` or `f32`.
    pub fn precision(&self) -> &'static str {
        let options = &self.model.descriptor.options;
        match self.policy.precision.value {
            Precision::F64 => "f64",
            Precision::F32 => "f32",
            // Sequential models have a double-precision path only.
            Precision::Model if options.sequential_update => "f64",
            Precision::Model if options.precision == weir_engine::model::Precision::F32 => "f32",
            _ => "f64",
        }
    }

    /// Type indices of a structure's atoms; virtual atoms have -1.
    ///
    /// # Errors
    /// An element that the model does not know.
    pub fn types(&self, structure: &Structure) -> Result<Vec<i32>> {
        let of = |(atom, symbol): (usize, &String)| -> Result<i32> {
            match self.model.type_of(symbol) {
                Some(t) => Ok(t as i32),
                None if symbol == "X" => Ok(-1),
                None => {
                    let map = &self.model.type_map;
                    let shown: Vec<&str> = map.iter().take(20).map(String::as_str).collect();
                    let more = if map.len() > 20 { format!(" and {} more", map.len() - 20) } else { String::new() };
                    bail!(
                        "atom {} of the file is {symbol}, which the model does not know (its elements: {}{more}); leave such atoms out with --select, or choose another model or --head",
                        structure.original.get(atom).unwrap_or(&atom) + 1,
                        shown.join(" ")
                    )
                }
            }
        };
        structure.symbols.iter().enumerate().map(of).collect()
    }

    /// A calculator for atoms of these types.
    ///
    /// # Errors
    /// What the backend refuses, tiers that cannot be opened.
    pub fn calculator(&self, types: &[i32], log: &Log) -> Result<Box<dyn Calculator>> {
        Ok(Box::new(self.cpu_calculator(types, &self.cpu_options(log)?)?))
    }

    /// As [`Engine::calculator`], with options of one's own.
    ///
    /// # Errors
    /// What the backend refuses.
    pub fn cpu_calculator(&self, types: &[i32], options: &CpuOptions) -> Result<CpuCalculator> {
        Ok(cpu::create_cpu(self.model.clone(), types, options)?)
    }

    /// What the settings mean for the CPU backend. Opens the tiers at the first call.
    ///
    /// # Errors
    /// Tiers that cannot be opened, settings that this version does not have.
    pub fn cpu_options(&self, log: &Log) -> Result<CpuOptions> {
        self.check_plain()?;
        let tiers = match self.tiers.get() {
            Some(tiers) => tiers.clone(),
            None => {
                let opened = cpu::open_tiers(&self.policy, &self.topology, &Faults::none())?;
                for remark in &opened.remarks {
                    log.warn(remark);
                }
                self.tiers.get_or_init(|| opened.tiers).clone()
            }
        };
        let (rates, message) = cpu::kept_rates(&self.model, self.precision(), &self.policy, &self.topology);
        if let Some(message) = message {
            log.warn(&message);
        }
        let options = CpuOptions {
            rates,
            precision: match self.policy.precision.value {
                Precision::F64 => PrecisionChoice::F64,
                Precision::F32 => PrecisionChoice::F32,
                _ => PrecisionChoice::Model,
            },
            store: self.store(),
            threads: self.policy.threads.value,
            checkpoint: match self.policy.checkpoint.value {
                CheckpointRule::Auto => Checkpoint::Auto,
                CheckpointRule::All => Checkpoint::All,
                CheckpointRule::Every(k) => Checkpoint::Every(k),
            },
            profile: self.policy.profile.as_ref().map(|_| self.zero),
            tiers,
            ..CpuOptions::default()
        };
        let skin = self.skin.unwrap_or(options.skin);
        Ok(CpuOptions { skin, ..options })
    }

    /// Whether plans rest on rates that a profile has measured here, and not on an estimate.
    pub fn rates_measured(&self) -> bool {
        cpu::kept_rates(&self.model, self.precision(), &self.policy, &self.topology).0.is_some()
    }

    /// How states are stored.
    pub fn store(&self) -> cpu::Store {
        match self.policy.store.value {
            Store::Exact | Store::Auto => cpu::Store::Exact,
            Store::F32 => cpu::Store::F32,
            Store::F16 => cpu::Store::F16,
            Store::Bf16 => cpu::Store::Bf16,
        }
    }

    /// The plain path keeps everything in ordinary memory: what it cannot follow is refused.
    fn check_plain(&self) -> Result<(), Usage> {
        if !self.model.descriptor.options.sequential_update {
            return Ok(());
        }
        let p = &self.policy;
        let placed =
            [&p.placement.origin, &p.store.origin].into_iter().chain(p.tiers.iter().map(|t| &t.setting.origin));
        match placed.into_iter().find(|o| *o != "automatic") {
            Some(origin) => Err(Usage(format!(
                "{origin}: this model uses sequential_update, whose path keeps everything exactly, in memory, and follows no budget: unset it"
            ))),
            None => Ok(()),
        }
    }

    /// Parameters of a frame: from the command line, else from the structure.
    ///
    /// # Errors
    /// Unreadable files, wrong counts.
    pub fn parameters(&self, given: &Given, structure: &Structure) -> Result<FrameParameters> {
        let aparam = given.aparam.clone().or_else(|| structure.aparam.clone());
        if let (Some(values), true) = (&given.aparam, self.model.fitting.numb_aparam > 0) {
            let expected = structure.len() * self.model.fitting.numb_aparam;
            if values.len() != expected {
                bail!(
                    "{} atomic parameters given, {expected} needed ({} atoms, {} each)",
                    values.len(),
                    structure.len(),
                    self.model.fitting.numb_aparam
                );
            }
        }
        Ok(FrameParameters {
            fparam: given.fparam.clone().or_else(|| structure.fparam.clone()),
            aparam,
            charge_spin: given.charge_spin.or(structure.charge_spin),
        })
    }
}

/// Parameters given on the command line or in a configuration.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Frame parameters.
    pub fparam: Option<Vec<f64>>,
    /// Atomic parameters, N rows.
    pub aparam: Option<Vec<f64>>,
    /// Charge and spin.
    pub charge_spin: Option<[f64; 2]>,
}

impl Given {
    /// From flags; reads the file of atomic parameters.
    ///
    /// # Errors
    /// An unreadable file, a count other than two for charge and spin.
    pub fn read(args: &ParameterArgs) -> Result<Self> {
        Self::new(args.fparam.clone(), args.aparam.as_deref(), args.charge_spin.as_deref())
    }

    /// From values and a file.
    ///
    /// # Errors
    /// As [`Given::read`].
    pub fn new(fparam: Option<Vec<f64>>, aparam: Option<&Path>, charge_spin: Option<&[f64]>) -> Result<Self> {
        let charge_spin = match charge_spin {
            None => None,
            Some([q, m]) => Some([*q, *m]),
            Some(other) => {
                return Err(Usage(format!("charge and spin are two numbers, {} given", other.len())).into());
            }
        };
        let aparam = aparam.map(read_table).transpose()?;
        Ok(Given { fparam, aparam, charge_spin })
    }
}

/// Numbers of a text file: one row per atom, `#` begins a comment.
fn read_table(path: &Path) -> Result<Vec<f64>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut values = Vec::new();
    let mut width = None;
    for (number, line) in text.lines().enumerate() {
        let row = line.split('#').next().unwrap_or("").split_whitespace();
        let before = values.len();
        for word in row {
            let value: f64 = word.parse().ok().filter(|v: &f64| v.is_finite()).with_context(|| {
                format!("{}, line {}: \"{word}\" is not a finite number", path.display(), number + 1)
            })?;
            values.push(value);
        }
        let count = values.len() - before;
        if count > 0 && *width.get_or_insert(count) != count {
            bail!(
                "{}, line {}: {count} numbers, {} in the lines before",
                path.display(),
                number + 1,
                width.unwrap_or(0)
            );
        }
    }
    Ok(values)
}

/// Tells what a structure's reader dropped or assumed.
pub fn tell_remarks(structure: &Structure, path: &Path, log: &Log) {
    for remark in &structure.remarks {
        log.say(Level::Warn, &format!("{}: {remark}", path.display()));
    }
}
