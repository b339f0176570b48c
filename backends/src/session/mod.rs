//! From a model and resolved settings to calculators, on the CPU or a GPU: what the command line and the libraries for MD codes share.

mod device;
mod error;
mod verify;

pub use device::{choose, compile_flags, outlook, settle, Device};
pub use error::SessionError;

use crate::cpu::{self, Checkpoint, CpuCalculator, CpuOptions, CpuTier, InstructionSet, PrecisionChoice, Spare};
use crate::gpu::{self, Arithmetic, GpuCalculator, GpuOptions, GpuTier};
use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::Instant;
use weir_allocators::faults::Faults;
use weir_allocators::kind::Tier;
use weir_allocators::policy::{CheckpointRule, Inside, Policy, Store};
use weir_allocators::topology::Topology;
use weir_engine::backend::Calculator;
use weir_engine::model::Model;
use weir_kernels::Products;

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
    device: Option<Device>,
    tiers: OnceCell<Vec<CpuTier>>,
    gpu_tiers: OnceCell<Vec<GpuTier>>,
    /// Whether the device has shown that it computes what the CPU computes, or nobody wants to know.
    verified: Cell<bool>,
    spare: OnceCell<Spare>,
    /// What `model` means after all, where the products that it chose came out wrong or do not hold the model's numbers.
    instead: Cell<Option<Arithmetic>>,
    /// What the precision means on the device, once somebody asked.
    arithmetic: OnceCell<Option<Arithmetic>>,
}

impl Session {
    /// A model with the settings that hold for it, on the CPU.
    pub fn new(model: Arc<Model>, policy: Policy, topology: Topology) -> Self {
        let (tiers, gpu_tiers, spare, verified, instead, arithmetic) = Default::default();
        let zero = Instant::now();
        Session {
            model,
            policy,
            topology,
            skin: None,
            zero,
            device: None,
            tiers,
            gpu_tiers,
            spare,
            verified,
            instead,
            arithmetic,
        }
    }

    /// The same on a device, for which the settings must have been resolved ([`settle`]); none: the CPU.
    pub fn on(self, device: Option<Device>) -> Self {
        Session { device, arithmetic: OnceCell::new(), ..self }
    }

    /// Where it computes; none: on the CPU.
    pub fn device(&self) -> Option<&Device> {
        self.device.as_ref()
    }

    /// The arithmetic of the messages: `f64` or `f32`, or f32 with the products of a GPU's matrix units, `tf32x3`,
    /// `f16x3` or `tf32`.
    pub fn precision(&self) -> &'static str {
        self.arithmetic().map_or("bf16", |arithmetic| self.name_of(arithmetic))
    }

    /// The same of any arithmetic.
    fn name_of(&self, Arithmetic { precision, products }: Arithmetic) -> &'static str {
        // Sequential models have a double-precision path only.
        let sequential = precision == PrecisionChoice::Model && self.model.descriptor.options.sequential_update;
        match products {
            _ if sequential || !precision.is_single(&self.model) => "f64",
            Products::Tf32x3 => "tf32x3",
            Products::F16x3 => "f16x3",
            Products::Tf32 => "tf32",
            Products::Plain | Products::Mfma => "f32",
        }
    }

    /// What `WEIR_PRECISION` means where it computes; none for what has no kernels yet.
    fn arithmetic(&self) -> Option<Arithmetic> {
        let p = &self.policy;
        let Some(device) = &self.device else { return Arithmetic::of(p.precision.value) };
        if let Some(instead) = self.instead.get() {
            return Some(instead);
        }
        *self.arithmetic.get_or_init(|| {
            let room = gpu::room_on(device.facts(), None).holding(self.blocks());
            Arithmetic::on(&device.facts().chip, room, &self.model, p.precision.value, self.store())
        })
    }

    fn blocks(&self) -> Option<u32> {
        self.policy.blocks.as_ref().map(|b| b.value as u32)
    }

    /// A calculator for atoms of these types (indices into the type map, negative: virtual), and what the user should know.
    ///
    /// # Errors
    /// What the backend refuses, tiers that cannot be opened.
    pub fn calculator(&self, types: &[i32]) -> Result<(Box<dyn Calculator>, Vec<String>), SessionError> {
        let Some(device) = &self.device else {
            let (calculator, remarks) = self.cpu_calculator(types)?;
            return Ok((Box::new(calculator), remarks));
        };
        let (options, mut remarks) = self.verified_options(device)?;
        let calculator = self.gpu_calculator(device, types, &options)?;
        remarks.extend(calculator.remarks().iter().cloned());
        Ok((Box::new(calculator), remarks))
    }

    /// On a device, with options of one's own.
    ///
    /// # Errors
    /// What the backend refuses.
    pub fn gpu_calculator(
        &self,
        device: &Device,
        types: &[i32],
        options: &GpuOptions,
    ) -> Result<GpuCalculator, SessionError> {
        gpu::create(device.driver().clone(), self.model.clone(), types, options).map_err(|e| device.failed(e))
    }

    /// As [`Session::calculator`], on the CPU.
    ///
    /// # Errors
    /// The same.
    pub fn cpu_calculator(&self, types: &[i32]) -> Result<(CpuCalculator, Vec<String>), SessionError> {
        let (options, remarks) = self.cpu_options()?;
        Ok((cpu::create_cpu(self.model.clone(), types, &options)?, remarks))
    }

    /// What the settings mean for the GPU backend, and what the user should know. Opens the tiers and measures their links at the first
    /// call.
    ///
    /// # Errors
    /// Tiers that cannot be opened, settings that GPUs do not have yet.
    pub fn gpu_options(&self, device: &Device) -> Result<(GpuOptions, Vec<String>), SessionError> {
        let p = &self.policy;
        let Some(Arithmetic { products, .. }) = self.arithmetic() else {
            let (origin, precision) = (p.precision.origin.clone(), p.precision.value.to_string());
            return Err(SessionError::Precision { origin, precision });
        };
        let mut remarks = Vec::new();
        let tiers = match self.gpu_tiers.get() {
            Some(tiers) => tiers.clone(),
            None => {
                let opened = gpu::open_tiers(p, &self.topology, device.driver())?;
                remarks.extend(opened.remarks);
                self.gpu_tiers.get_or_init(|| opened.tiers).clone()
            }
        };
        let (rates, message) = gpu::kept_rates(&self.model, self.precision(), p, device.facts());
        remarks.extend(message);
        let estimated = || gpu::estimated_rates(&self.model, self.choice(), products, device.facts());
        let options = GpuOptions {
            precision: self.choice(),
            products,
            checkpoint: self.checkpoint(),
            inside: self.inside(),
            store: self.store(),
            tiers,
            rates: Some(rates.unwrap_or_else(estimated)),
            threads: p.threads.value,
            graph: p.graph.value,
            // A graph of two streams leaves HIP's fast way of launching graphs, and its nodes have no priorities.
            two_streams: p.streams.value == 2 && !(p.streams.is_automatic() && device.driver().name() == "hip"),
            blocks: self.blocks(),
            profile: p.profile.as_ref().map(|_| self.zero),
            ranges: p.profile.is_some(),
            kernel_dir: p.kernel_dir.as_ref().map(|s| s.value.clone()),
            cache_dir: p.cache_dir.as_ref().map(|s| s.value.clone()),
            ..GpuOptions::default()
        };
        let skin = self.skin.unwrap_or(options.skin);
        Ok((GpuOptions { skin, ..options }, remarks))
    }

    /// Tiers of the device with their measured links; none before the first calculator, and on the CPU.
    pub fn gpu_tiers(&self) -> Option<&[GpuTier]> {
        self.gpu_tiers.get().map(Vec::as_slice)
    }

    /// The arithmetic as backends take it.
    pub fn choice(&self) -> PrecisionChoice {
        Arithmetic::of(self.policy.precision.value).unwrap_or_default().precision
    }

    fn checkpoint(&self) -> Checkpoint {
        match self.policy.checkpoint.value {
            CheckpointRule::Auto => Checkpoint::Auto,
            CheckpointRule::All => Checkpoint::All,
            CheckpointRule::Every(k) => Checkpoint::Every(k),
        }
    }

    /// Whether insides of layers are kept.
    pub fn inside(&self) -> cpu::Inside {
        match self.policy.inside.value {
            Inside::Auto => cpu::Inside::Auto,
            Inside::Rebuild => cpu::Inside::Rebuild,
            Inside::Keep => cpu::Inside::Keep,
        }
    }

    /// Memory that steps on the CPU may try insides with; every calculator has the same.
    fn spare(&self) -> Spare {
        let make = || {
            let p = &self.policy;
            let written = p.tier(Tier::Hbm).is_some_and(|t| !t.setting.is_automatic());
            let (shares, threads, cores) = (p.shares.clone(), p.threads.value, self.topology.allowed_cpus.clone());
            Spare::new(move || {
                let now = Topology { allowed_cpus: cores.clone(), ..Topology::here() };
                shares.spare(&now, threads, written)
            })
        };
        self.spare.get_or_init(make).clone()
    }

    /// The instruction set of the CPU's kernels; none on a device, and for models that go through the reference.
    pub fn instruction_set(&self) -> Option<InstructionSet> {
        let kernels = self.device.is_none() && !self.model.descriptor.options.sequential_update;
        kernels.then(|| InstructionSet::of(self.policy.simd.value))
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
            precision: self.choice(),
            store: self.store(),
            simd: InstructionSet::asked(self.policy.simd.value),
            threads: self.policy.threads.value,
            checkpoint: self.checkpoint(),
            inside: self.inside(),
            spare: Some(self.spare()),
            profile: self.policy.profile.as_ref().map(|_| self.zero),
            tiers,
            ..CpuOptions::default()
        };
        let skin = self.skin.unwrap_or(options.skin);
        Ok((CpuOptions { skin, ..options }, remarks))
    }

    /// Whether plans rest on rates that a profile has measured here, and not on an estimate.
    pub fn rates_measured(&self) -> bool {
        let (model, precision, policy) = (&self.model, self.precision(), &self.policy);
        match &self.device {
            None => cpu::kept_rates(model, precision, policy, &self.topology).0.is_some(),
            Some(device) => gpu::kept_rates(model, precision, policy, device.facts()).0.is_some(),
        }
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
