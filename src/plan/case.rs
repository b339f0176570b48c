//! A model, a structure and a machine: planned as they are, and with something changed.

use super::machine::Kind;
use super::outline::Outline;
use super::target::Target;
use weir_allocators::kind::show_bytes;
use weir_backends::cpu::{Census, Checkpoint, Inside, Neighbours, Store, Terms};
use weir_backends::gpu::tile_sizes;
use weir_engine::plan::placement::{plan, Help, Permission, Plan, PlanError, Problem};

/// The question for a machine; what `helps` and `largest` vary.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The machine.
    pub target: &'a Target,
    /// The model.
    pub outline: &'a Outline,
    /// Which states are kept.
    pub checkpoint: Checkpoint,
    /// Whether insides of layers are kept.
    pub inside: Inside,
    /// How states are stored.
    pub store: Store,
}

impl Setup<'_> {
    fn terms(&self, census: &Census) -> Terms {
        let number = self.outline.number() as usize;
        let stored = self.store.of(number).bytes(number) as u64;
        let rates = self.target.speed.as_ref().map(|s| s.rates(self.outline, census, stored));
        Terms {
            tiers: self.target.tiers.clone(),
            rates: rates.or_else(|| self.target.rates.clone()),
            simd: self.target.simd,
            checkpoint: self.checkpoint,
            inside: self.inside,
            spill: Permission::Allowed,
            rebuild: Permission::Allowed,
            store: self.store,
        }
    }

    /// What the planner is asked.
    pub fn problem(&self, census: &Census) -> Problem {
        self.outline.problem(census, self.target.threads, &self.terms(census))
    }

    /// Largest edge counts of a tile that a calculator tries. On a GPU, of those that hold everything, one.
    fn sizes(&self, counts: &Neighbours) -> Vec<usize> {
        match self.target.kind {
            Kind::Cpu => self.target.tiles.clone(),
            Kind::Gpu => tile_sizes(counts.census(usize::MAX).total().edges as usize).collect(),
        }
    }

    /// As a calculator plans: smaller tiles, whose live states are smaller, where larger ones do not fit. Returns the largest edge count of
    /// a tile, the question and the plan.
    ///
    /// # Errors
    /// What does not fit with the smallest tiles.
    pub fn planned(&self, counts: &Neighbours) -> Result<(usize, Problem, Plan), PlanError> {
        if let Outline::Gpu(outline) = self.outline {
            return outline.planned(self.sizes(counts), |edges| {
                let census = counts.census(edges);
                let terms = self.terms(&census);
                (census, terms)
            });
        }
        let mut last = None;
        for edges in self.sizes(counts) {
            let problem = self.problem(&counts.census(edges));
            match plan(&problem) {
                Ok(plan) => return Ok((edges, problem, plan)),
                Err(e) => last = Some(e),
            }
        }
        Err(last.unwrap_or(PlanError::Problem("no tile size".into())))
    }

    /// The smallest budget of the first tier for which [`Setup::planned`] succeeds, everything else as it is, bytes.
    ///
    /// # Errors
    /// As [`Setup::planned`].
    pub fn smallest(&self, counts: &Neighbours) -> Result<u64, PlanError> {
        let sizes = self.sizes(counts);
        let ends = [sizes.last(), sizes.first()];
        let mut least = u64::MAX;
        for &edges in ends.into_iter().flatten() {
            let census = counts.census(edges);
            least = least.min(self.outline.smallest(&census, self.target.threads, &self.terms(&census))?);
        }
        Ok(least)
    }
}

/// Why there is no plan, with what would help as this command's options.
pub fn told(error: &PlanError) -> String {
    let PlanError::TooSmall { tier, need, have, help } = error else { return error.to_string() };
    let mib = |bytes: u64| format!("{}MiB", bytes.div_ceil(1 << 20));
    let option = |help: &Help| match help {
        Help::Checkpoint(rule) => format!("--checkpoint {rule}"),
        Help::Tier { bytes } => format!("a further tier of at least {} (--placement, --budget)", mib(*bytes)),
        Help::Budget { tier, bytes } => {
            let key = match tier.as_str() {
                "hbm" | "file" => tier.as_str(),
                _ => "host",
            };
            format!("--budget {key}={}", mib(*bytes))
        }
    };
    let help: Vec<String> = help.iter().map(option).collect();
    let (lacks, need, have) = (show_bytes(need.saturating_sub(*have)), show_bytes(*need), show_bytes(*have));
    format!("tier {tier} lacks {lacks} of {need}, of which {have} are given; what would fit: {}", help.join(", or "))
}
