//! From a model file and a structure to a calculator.

use crate::cli::ParameterArgs;
use crate::log::{Level, Log};
use crate::problem::Usage;
use crate::report;
use crate::settings::Settings;
use anyhow::{bail, Context, Result};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_backends::cpu::{self, CpuCalculator, CpuOptions};
use weir_backends::gpu::{GpuCalculator, GpuOptions};
use weir_backends::session::{Device, Session, SessionError};
use weir_engine::backend::{Calculator, FrameParameters};
use weir_engine::model::{self, LoadOptions, Model};
use weir_engine::reference::{ParameterError, ResolvedParameters};
use weir_engine::structure::Structure;

/// A model with its file, ready to compute.
pub struct Engine {
    /// Model, settings, machine.
    pub session: Session,
    /// The model's file.
    pub path: PathBuf,
}

/// Everything that does not concern files is the session's.
impl Deref for Engine {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

fn usage(error: SessionError) -> anyhow::Error {
    match error {
        SessionError::Plain(_) | SessionError::Precision { .. } => Usage(error.to_string()).into(),
        other => other.into(),
    }
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
        let Settings { policy, topology, device } = settings;
        Engine { session: Session::new(model, policy, topology).on(device), path: path.to_path_buf() }
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
        let (first, before) = (self.gpu_tiers().is_none(), self.precision());
        let (calculator, remarks) = self.session.calculator(types).map_err(usage)?;
        self.tell(&remarks, first, log);
        report::changed(log, self, before);
        Ok(calculator)
    }

    /// Tells remarks, and the tiers of a device that were opened just now (`first`).
    fn tell(&self, remarks: &[String], first: bool, log: &Log) {
        for remark in remarks {
            log.warn(remark);
        }
        if let (Some(tiers), true) = (self.gpu_tiers(), first) {
            report::tiers(log, tiers);
        }
    }

    /// On the CPU, with options of one's own.
    ///
    /// # Errors
    /// What the backend refuses.
    pub fn cpu_calculator(&self, types: &[i32], options: &CpuOptions) -> Result<CpuCalculator> {
        Ok(cpu::create_cpu(self.model.clone(), types, options)?)
    }

    /// On a device, with options of one's own.
    ///
    /// # Errors
    /// What the backend refuses.
    pub fn gpu_calculator(&self, device: &Device, types: &[i32], options: &GpuOptions) -> Result<GpuCalculator> {
        self.session.gpu_calculator(device, types, options).map_err(usage)
    }

    /// What the settings mean for a device; tells what the user should know. Opens the tiers and measures their links at the first call.
    ///
    /// # Errors
    /// Tiers that cannot be opened, settings that GPUs do not have yet.
    pub fn gpu_options(&self, device: &Device, log: &Log) -> Result<GpuOptions> {
        let first = self.gpu_tiers().is_none();
        let (options, remarks) = self.session.gpu_options(device).map_err(usage)?;
        self.tell(&remarks, first, log);
        Ok(options)
    }

    /// The same, once the device has shown that it computes with them what the CPU computes.
    ///
    /// # Errors
    /// The same, and a device that computes wrong.
    pub fn verified_options(&self, device: &Device, log: &Log) -> Result<GpuOptions> {
        let (first, before) = (self.gpu_tiers().is_none(), self.precision());
        let (options, remarks) = self.session.verified_options(device).map_err(usage)?;
        self.tell(&remarks, first, log);
        report::changed(log, self, before);
        Ok(options)
    }

    /// What the settings mean for the CPU backend; tells what the user should know. Opens the tiers at the first call.
    ///
    /// # Errors
    /// Tiers that cannot be opened, settings that this version does not have.
    pub fn cpu_options(&self, log: &Log) -> Result<CpuOptions> {
        let (options, remarks) = self.session.cpu_options().map_err(usage)?;
        for remark in &remarks {
            log.warn(remark);
        }
        Ok(options)
    }

    /// Parameters of a frame: from the command line, else from the structure.
    ///
    /// # Errors
    /// Parameters given by hand that the model does not take, missing ones, wrong counts.
    pub fn parameters(&self, given: &Given, structure: &Structure) -> Result<FrameParameters> {
        ParameterError::refuse_unknown(&self.model, &given.as_frame())?;
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
        let parameters = FrameParameters {
            fparam: given.fparam.clone().or_else(|| structure.fparam.clone()),
            aparam,
            charge_spin: given.charge_spin.or(structure.charge_spin),
        };
        // What is missing is found here, before any output is opened, not by the first step.
        ResolvedParameters::new(&self.model, structure.len(), &parameters)?;
        Ok(parameters)
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
    fn as_frame(&self) -> FrameParameters {
        FrameParameters { fparam: self.fparam.clone(), aparam: self.aparam.clone(), charge_spin: self.charge_spin }
    }

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
