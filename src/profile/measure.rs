//! Steps under one budget after another, predicted and timed.

use super::bench::{Bench, Rules, Slow, Subject};
use super::lines::{Measured, Row};
use crate::backend::Engine;
use crate::log::Log;
use anyhow::{bail, Context, Result};
use serde::Serialize;
use std::time::Instant;
use weir_allocators::kind::Tier;
use weir_backends::cpu::{Checkpoint, Permission};
use weir_engine::backend::{FrameParameters, Request, Results};
use weir_engine::plan::placement::Problem;
use weir_engine::plan::profile::Profile;
use weir_engine::structure::Structure;

/// What may be done where memory is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Nothing leaves `hbm`; states are rebuilt.
    Rebuild,
    /// Everything is kept, in whatever tier (`WEIR_CHECKPOINT=all`).
    Spill,
    /// What the planner finds best.
    Planner,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 3] = [Way::Rebuild, Way::Spill, Way::Planner];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Way::Rebuild => "rebuild",
            Way::Spill => "spill",
            Way::Planner => "planner",
        }
    }

    /// Whether states may leave `hbm`, whether they may be rebuilt, which are kept.
    pub(super) fn terms(self) -> (Permission, Permission, Checkpoint) {
        match self {
            Way::Rebuild => (Permission::Forbidden, Permission::Allowed, Checkpoint::Auto),
            Way::Spill => (Permission::Allowed, Permission::Forbidden, Checkpoint::All),
            Way::Planner => (Permission::Allowed, Permission::Allowed, Checkpoint::Auto),
        }
    }
}

/// An HBM budget to try.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Part of what an unlimited step takes.
    Share(f64),
    /// The smallest that can be planned.
    Smallest,
}

impl std::str::FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let way = Way::ALL.into_iter().find(|w| w.name() == text.trim());
        way.ok_or_else(|| format!("\"{text}\" is no way: choose rebuild, spill, planner"))
    }
}

impl std::str::FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "min" {
            return Ok(Wish::Smallest);
        }
        let share = text.strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok()).map(|n| n / 100.0);
        match share.filter(|s| s.is_finite() && *s > 0.0 && *s <= 10.0) {
            Some(share) => Ok(Wish::Share(share)),
            None => Err(format!("\"{text}\" is no budget here: write 50% (of what an unlimited step takes) or min")),
        }
    }
}

impl std::fmt::Display for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Wish::Share(s) => write!(f, "{}%", s * 100.0),
            Wish::Smallest => f.write_str("min"),
        }
    }
}

/// What is measured.
pub struct Case<'a> {
    /// The model and its settings.
    pub engine: &'a Engine,
    /// The configuration.
    pub structure: &'a Structure,
    /// Its types.
    pub types: &'a [i32],
    /// Frame parameters.
    pub parameters: &'a FrameParameters,
    /// What may be done where memory is short, one after another.
    pub ways: &'a [Way],
    /// Timed steps a line.
    pub calls: usize,
}

/// Steps that were timed.
pub(super) struct Timed {
    pub(super) calculator: Box<dyn Subject>,
    pub(super) seconds: Vec<f64>,
    /// Of the median step.
    pub(super) profile: Option<Profile>,
    results: Results,
}

pub(super) fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

impl Case<'_> {
    /// A warm step, then the timed ones.
    pub(super) fn run(&self, bench: &Bench, rules: &Rules, slow: &Slow) -> Result<Timed> {
        let mut calculator = bench.calculator(self.types, rules, slow)?;
        let (x, cell) = (&self.structure.positions, self.structure.cell.as_ref());
        let mut results = Results::default();
        let mut seconds = Vec::with_capacity(self.calls);
        let mut profiles = Vec::with_capacity(self.calls);
        for call in 0..=self.calls {
            let begin = Instant::now();
            calculator.compute(x, cell, self.parameters, Request::default(), &mut results)?;
            if call > 0 {
                seconds.push(begin.elapsed().as_secs_f64());
                profiles.push(calculator.profile());
            }
        }
        let at = seconds.iter().position(|s| *s == median(&seconds));
        let profile = at.and_then(|k| profiles.swap_remove(k));
        Ok(Timed { calculator, seconds, profile, results })
    }

    /// What a calculator asks the planner.
    ///
    /// # Errors
    /// Models that nothing is planned for, what the neighbour search refuses.
    pub fn question(&self, calculator: &mut dyn Subject) -> Result<Problem> {
        let problem = calculator.question(&self.structure.positions, self.structure.cell.as_ref())?;
        problem.context(
            "this model uses sequential_update, whose path keeps everything: there is nothing to plan or to profile",
        )
    }

    /// Every placement, way and budget, up to the first that fails.
    ///
    /// # Errors
    /// What the steps before the first line meet. What a line meets stands in [`Measured::failed`].
    pub fn measure(&self, placements: &[(String, Slow)], budgets: &[Wish], log: &Log) -> Result<Measured> {
        let bench = Bench::of(self, log)?;
        let base = Rules { tile_edges: bench.tile_edges(self)?, ..Rules::free() };
        let mut free = self
            .run(&bench, &base, &Slow::default())
            .context("lines are compared with a step that keeps everything in hbm, and it cannot be had")?;
        let (rates, inside) = self.found(&bench, &base, &mut free, log)?;
        let (unlimited_s, expected) = (median(&free.seconds), free.results);
        let unlimited_bytes = free.calculator.peak_bytes()[0].1;
        drop(free.calculator);
        log.info(&format!(
            "an unlimited step takes {} and {}",
            crate::report::duration(unlimited_s),
            crate::report::bytes(unlimited_bytes)
        ));
        if let Some(kept) = &inside {
            log.info(&format!(
                "with insides of layers kept (WEIR_INSIDE=keep) it takes {} and {}",
                crate::report::duration(kept.seconds),
                crate::report::bytes(kept.bytes)
            ));
        }
        let mut measured =
            Measured { atoms: self.types.len(), unlimited_s, unlimited_bytes, inside, rows: Vec::new(), failed: None };
        let rules = Rules { rates: Some(rates), ..base };
        let mut smallest = |rules: &Rules, slow: &Slow| bench.smallest(self, rules, slow);
        let mut step = |row, rules: &Rules, slow: &Slow| self.row(row, self.run(&bench, rules, slow)?, &expected);
        measured.sweep(&rules, placements, self.ways, budgets, &mut smallest, &mut step, log);
        Ok(measured)
    }

    fn row(&self, row: Row, timed: Timed, expected: &Results) -> Result<Row> {
        if timed.results.forces != expected.forces {
            bail!("forces differ between two plans: please report this with your model and structure");
        }
        let plan = timed.calculator.plan().context("no plan")?;
        let p = &plan.prediction;
        let profile = timed.profile.as_ref().context("no profile was taken")?;
        let sum = |by: &[u64]| by.iter().sum::<u64>();
        Ok(Row {
            predicted_s: p.seconds,
            measured_s: median(&timed.seconds),
            calls_s: timed.seconds,
            rebuild_s: p.rebuild,
            out_bytes: sum(&p.out_bytes),
            in_bytes: sum(&p.load_bytes),
            out_gb_s: achieved(profile, true),
            in_gb_s: achieved(profile, false),
            peak_bytes: timed.calculator.peak_bytes(),
            ..row
        })
    }
}

/// GB/s of one direction while it was busy. Of a GPU's file tier only what crosses the link counts, not what lies between slot and file.
fn achieved(profile: &Profile, out: bool) -> f64 {
    let copies = profile.copies.iter().filter(|c| if out { c.from } else { c.to } == Tier::Hbm);
    let (bytes, seconds) = copies.fold((0, 0.0), |(b, s), c| (b + c.bytes, s + c.end - c.begin));
    if seconds > 0.0 {
        bytes as f64 / seconds / 1e9
    } else {
        0.0
    }
}
