//! A model, a structure and a machine: planned as they are, and with something changed.

use super::target::Target;
use weir_allocators::kind::show_bytes;
use weir_allocators::policy::Store;
use weir_backends::cpu::{Census, Checkpoint, Neighbours, Outline, Terms};
use weir_engine::plan::placement::{plan, smallest_feasible, Help, Permission, Plan, PlanError, Problem};

/// Bytes of a stored number; none: exact.
pub fn stored(store: Store) -> Option<u64> {
    match store {
        Store::Exact | Store::Auto => None,
        Store::F32 => Some(4),
        Store::F16 | Store::Bf16 => Some(2),
    }
}

/// The question for a machine; what `helps` and `largest` vary.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The machine.
    pub target: &'a Target,
    /// The model.
    pub outline: &'a Outline,
    /// Which states are kept.
    pub checkpoint: Checkpoint,
    /// Bytes of a stored number; none: as computed.
    pub stored: Option<u64>,
}

impl Setup<'_> {
    /// What the planner is asked.
    pub fn problem(&self, census: &Census) -> Problem {
        // Storing in more than the compute type gains nothing.
        let stored = self.stored.filter(|&s| s < self.outline.number());
        let rates = self.target.speed.as_ref();
        let rates = rates.map(|s| s.rates(self.outline, census, stored.unwrap_or(self.outline.number())));
        let terms = Terms {
            tiers: self.target.tiers.clone(),
            rates,
            checkpoint: self.checkpoint,
            spill: Permission::Allowed,
            rebuild: Permission::Allowed,
            stored,
        };
        self.outline.problem(census, self.target.threads, &terms)
    }

    /// As a calculator plans: smaller tiles, whose live states are smaller, where larger ones do not fit. Returns the largest edge count of
    /// a tile, the question and the plan.
    ///
    /// # Errors
    /// What does not fit with the smallest tiles.
    pub fn planned(&self, counts: &Neighbours) -> Result<(usize, Problem, Plan), PlanError> {
        let mut last = None;
        for &edges in &self.target.tiles {
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
        let ends = [self.target.tiles.last(), self.target.tiles.first()];
        let mut least = u64::MAX;
        for &edges in ends.into_iter().flatten() {
            least = least.min(smallest_feasible(&self.problem(&counts.census(edges)))?);
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
