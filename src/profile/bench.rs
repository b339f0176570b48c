//! What a profile needs of the backend that it measures: calculators under other terms, and the planner's questions.

use super::measure::Case;
use crate::backend::Engine;
use crate::log::Log;
use anyhow::Result;
use weir_backends::cpu::{self, Checkpoint, CpuCalculator, CpuOptions, CpuTier, Inside, Neighbours, Permission, Rates};
use weir_backends::gpu::{self, GpuCalculator, GpuOptions, GpuOutline, GpuTier};
use weir_backends::session::Device;
use weir_engine::backend::{Calculator, ComputeError};
use weir_engine::plan::placement::{smallest_feasible, Problem, Work};
use weir_kernels::Chip;

/// Fewest tiles of a profiled step, where that leaves enough edges for each.
const TILES: usize = 16;
/// Fewest edges of a tile on the emulated device, which runs one block after another whatever a tile has.
const EMULATED_TILE: usize = 128;

/// Tiers behind the first, of whichever backend is measured.
#[derive(Clone, Default)]
pub struct Slow {
    /// On the CPU.
    pub cpu: Vec<CpuTier>,
    /// On a GPU.
    pub gpu: Vec<GpuTier>,
}

/// How the steps of a line are planned.
#[derive(Clone)]
pub struct Rules {
    /// Budget of `hbm`, bytes; none: all that there is.
    pub hbm: Option<u64>,
    /// Which states are kept.
    pub checkpoint: Checkpoint,
    /// Whether they may leave `hbm`.
    pub spill: Permission,
    /// Whether they may be rebuilt.
    pub rebuild: Permission,
    /// Whether insides of layers are kept.
    pub inside: Inside,
    /// Compute rates; none: estimated.
    pub rates: Option<Rates>,
    /// Largest edge count of a tile; 0: the backend's own.
    pub tile_edges: usize,
}

impl Rules {
    /// Everything is kept in `hbm`.
    pub fn free() -> Self {
        let (spill, rebuild) = (Permission::Allowed, Permission::Allowed);
        Rules {
            hbm: None,
            checkpoint: Checkpoint::All,
            spill,
            rebuild,
            inside: Inside::Auto,
            rates: None,
            tile_edges: 0,
        }
    }
}

/// A calculator that says what it asks the planner.
pub trait Subject: Calculator {
    /// The question for a configuration; none where nothing is planned.
    ///
    /// # Errors
    /// What the neighbour search refuses.
    fn question(&mut self, x: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<Option<Problem>, ComputeError>;
}

impl Subject for CpuCalculator {
    fn question(&mut self, x: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<Option<Problem>, ComputeError> {
        self.problem(x, cell)
    }
}

impl Subject for GpuCalculator {
    fn question(&mut self, x: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<Option<Problem>, ComputeError> {
        self.problem(x, cell).map(Some)
    }
}

enum Backend<'a> {
    Cpu(CpuOptions),
    Gpu { device: &'a Device, options: Box<GpuOptions>, outline: Box<GpuOutline>, found: Neighbours },
}

/// The backend of a profile with its options.
pub struct Bench<'a> {
    engine: &'a Engine,
    backend: Backend<'a>,
    /// What kept rates said of insides.
    inside: Vec<Work>,
}

impl<'a> Bench<'a> {
    /// For a case, on the device of its settings.
    ///
    /// # Errors
    /// Settings that cannot be followed, what the neighbour search refuses.
    pub fn of(case: &Case<'a>, log: &Log) -> Result<Self> {
        let engine = case.engine;
        let Some(device) = engine.device() else {
            let mut base = engine.cpu_options(log)?;
            // What an earlier profile has found of insides is found anew, beside steps without them.
            let inside = base.rates.as_mut().map_or(Vec::new(), |rates| std::mem::take(&mut rates.inside));
            return Ok(Bench {
                engine,
                // Whatever is kept is kept by the rules of a line.
                backend: Backend::Cpu(CpuOptions { profile: Some(engine.zero), spare: None, ..base }),
                inside,
            });
        };
        let base = engine.verified_options(device, log)?;
        let (x, cell) = (&case.structure.positions, case.structure.cell.as_ref());
        let found = Neighbours::find(&engine.model, case.types, x, cell, base.skin)?;
        let outline = Box::new(GpuOutline::of(&engine.model, engine.choice(), base.products));
        let options = Box::new(GpuOptions { profile: Some(engine.zero), ..base });
        Ok(Bench { engine, backend: Backend::Gpu { device, options, outline, found }, inside: Vec::new() })
    }

    /// What rates that an earlier profile has kept say of insides; empty where none has.
    pub fn known_inside(&self) -> &[Work] {
        &self.inside
    }

    fn cpu(base: &CpuOptions, rules: &Rules, slow: &Slow) -> CpuOptions {
        let first = rules.hbm.map_or_else(cpu::unlimited, cpu::hbm);
        CpuOptions {
            tiers: std::iter::once(first).chain(slow.cpu.iter().cloned()).collect(),
            checkpoint: rules.checkpoint,
            spill: rules.spill,
            rebuild: rules.rebuild,
            inside: rules.inside,
            rates: rules.rates.clone().or_else(|| base.rates.clone()),
            tile_edges: rules.tile_edges,
            ..base.clone()
        }
    }

    fn gpu(base: &GpuOptions, rules: &Rules, slow: &Slow) -> GpuOptions {
        let first = rules.hbm.map_or_else(|| base.tiers[0].clone(), gpu::hbm);
        GpuOptions {
            tiers: std::iter::once(first).chain(slow.gpu.iter().cloned()).collect(),
            checkpoint: rules.checkpoint,
            spill: rules.spill,
            rebuild: rules.rebuild,
            inside: rules.inside,
            rates: rules.rates.clone().or_else(|| base.rates.clone()),
            tile_edges: rules.tile_edges,
            ..base.clone()
        }
    }

    /// A calculator under these rules whose steps are profiled.
    ///
    /// # Errors
    /// What the backend refuses.
    pub fn calculator(&self, types: &[i32], rules: &Rules, slow: &Slow) -> Result<Box<dyn Subject>> {
        Ok(match &self.backend {
            Backend::Cpu(base) => Box::new(self.engine.cpu_calculator(types, &Self::cpu(base, rules, slow))?),
            Backend::Gpu { device, options, .. } => {
                Box::new(self.engine.gpu_calculator(device, types, &Self::gpu(options, rules, slow))?)
            }
        })
    }

    /// Largest edge count of a tile for all lines: the same, and so few that small systems have something to move.
    ///
    /// # Errors
    /// Models that nothing is planned for, what the neighbour search refuses.
    pub fn tile_edges(&self, case: &Case) -> Result<usize> {
        Ok(match &self.backend {
            Backend::Cpu(base) => {
                let mut probe = self.calculator(case.types, &Rules::free(), &Slow::default())?;
                let edges: u64 = case.question(probe.as_mut())?.tiles.iter().map(|t| t.edges).sum();
                (edges as usize / TILES).clamp(512 * base.threads, 8192 * base.threads)
            }
            Backend::Gpu { device, found, .. } => {
                let edges = found.census(usize::MAX).total().edges as usize;
                let (most, least) = gpu::tile_choices().fold((0, usize::MAX), |(a, b), n| (a.max(n), b.min(n)));
                let least = if device.facts().chip == Chip::Host { EMULATED_TILE } else { least };
                (edges / TILES).clamp(least, most)
            }
        })
    }

    /// The smallest budget of `hbm` under these rules, bytes.
    ///
    /// # Errors
    /// What cannot be planned at any budget.
    pub fn smallest(&self, case: &Case, rules: &Rules, slow: &Slow) -> Result<u64> {
        match &self.backend {
            Backend::Cpu(_) => {
                let rules = Rules { hbm: Some(1 << 50), ..rules.clone() };
                let mut probe = self.calculator(case.types, &rules, slow)?;
                Ok(smallest_feasible(&case.question(probe.as_mut())?)?)
            }
            Backend::Gpu { options, outline, found, .. } => {
                let options = Self::gpu(options, rules, slow);
                Ok(smallest_feasible(&outline.problem(&found.census(rules.tile_edges), &options.terms()))?)
            }
        }
    }

    /// Keeps rates for later runs.
    ///
    /// # Errors
    /// A cache folder that cannot be written.
    pub fn keep_rates(&self, rates: &Rates) -> Result<(), String> {
        let e = self.engine;
        match &self.backend {
            Backend::Cpu(_) => cpu::keep_rates(&e.model, e.precision(), &e.policy, &e.topology, rates),
            Backend::Gpu { device, .. } => gpu::keep_rates(&e.model, e.precision(), &e.policy, device.facts(), rates),
        }
    }
}
