//! From a model and resolved settings to calculators: what the command line and the libraries for MD codes share.

use crate::cpu::{self, Checkpoint, CpuCalculator, CpuError, CpuOptions, CpuTier, PrecisionChoice, TierError};
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;
use thiserror::Error;
use weir_allocators::faults::Faults;
use weir_allocators::policy::{Backend, CheckpointRule, Policy, Precision, Store};
use weir_allocators::topology::Topology;
use weir_engine::model::{self, Model};

/// Why settings and model do not make a calculator.
#[derive(Debug, Error)]
pub enum SessionError {
    /// A backend that is not there.
    #[error("{origin}: the backend {backend} is not in this version, which computes on the CPU; set it to cpu")]
    Backend {
        /// Who asked for it.
        origin: String,
        /// Its name.
        backend: String,
    },
    /// The plain path keeps everything in ordinary memory: what it cannot follow is refused.
    #[error("{0}: this model uses sequential_update, whose path keeps everything exactly, in memory, and follows no budget: unset it")]
    Plain(String),
    /// A tier.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// The backend.
    #[error(transparent)]
    Cpu(#[from] CpuError),
}

/// Refuses backends that this version does not have.
///
/// # Errors
/// [`SessionError::Backend`].
pub fn check_backend(policy: &Policy) -> Result<(), SessionError> {
    let backend = &policy.backend;
    match backend.value {
        Backend::Auto | Backend::Cpu => Ok(()),
        _ => Err(SessionError::Backend { origin: backend.origin.clone(), backend: backend.value.to_string() }),
    }
}

/// A model and how to compute with it.
pub struct Session {
    /// The model.
    pub model: Arc<Model>,
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

impl Session {
    /// A model with the settings that hold for it.
    pub fn new(model: Arc<Model>, policy: Policy, topology: Topology) -> Self {
        Session { model, policy, topology, skin: None, zero: Instant::now(), tiers: OnceCell::new() }
    }

    /// The arithmetic of the messages: `f64` or `f32`.
    pub fn precision(&self) -> &'static str {
        let options = &self.model.descriptor.options;
        match self.policy.precision.value {
            Precision::F64 => "f64",
            Precision::F32 => "f32",
            // Sequential models have a double-precision path only.
            Precision::Model if options.sequential_update => "f64",
            Precision::Model if options.precision == model::Precision::F32 => "f32",
            _ => "f64",
        }
    }

    /// A calculator for atoms of these types (indices into the type map, negative: virtual), and what the user should know.
    ///
    /// # Errors
    /// What the backend refuses, tiers that cannot be opened.
    pub fn calculator(&self, types: &[i32]) -> Result<(CpuCalculator, Vec<String>), SessionError> {
        let (options, remarks) = self.cpu_options()?;
        Ok((cpu::create_cpu(self.model.clone(), types, &options)?, remarks))
    }

    /// What the settings mean for the CPU backend, and what the user should know. Opens the tiers at the first call.
    ///
    /// # Errors
    /// Tiers that cannot be opened, settings that this version does not have.
    pub fn cpu_options(&self) -> Result<(CpuOptions, Vec<String>), SessionError> {
        self.check_plain()?;
        let mut remarks = Vec::new();
        let tiers = match self.tiers.get() {
            Some(tiers) => tiers.clone(),
            None => {
                let opened = cpu::open_tiers(&self.policy, &self.topology, &Faults::none())?;
                remarks.extend(opened.remarks);
                self.tiers.get_or_init(|| opened.tiers).clone()
            }
        };
        let (rates, message) = cpu::kept_rates(&self.model, self.precision(), &self.policy, &self.topology);
        remarks.extend(message);
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
        Ok((CpuOptions { skin, ..options }, remarks))
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

    fn check_plain(&self) -> Result<(), SessionError> {
        if !self.model.descriptor.options.sequential_update {
            return Ok(());
        }
        let p = &self.policy;
        let placed =
            [&p.placement.origin, &p.store.origin].into_iter().chain(p.tiers.iter().map(|t| &t.setting.origin));
        match placed.into_iter().find(|o| *o != "automatic") {
            Some(origin) => Err(SessionError::Plain(origin.clone())),
            None => Ok(()),
        }
    }
}
