//! What would make a step faster, found by planning again with it.

use super::case::Setup;
use super::machine::Kind;
use super::outline::Outline;
use super::rates::Speed;
use super::target::Target;
use rayon::prelude::*;
use weir_allocators::policy::Precision;
use weir_backends::cpu::{Checkpoint, Inside, Neighbours, Store};
use weir_kernels::Products;

/// Gains below this are not told: forecasts are no better.
const WORTH: f64 = 0.03;

/// A change and what a step would take with it.
#[derive(Clone, Debug, PartialEq)]
pub struct HelpRow {
    /// For people.
    pub what: String,
    /// s of a step.
    pub seconds: f64,
}

/// A change: for people, and what is asked with it.
struct Trial<'a> {
    what: String,
    target: Target,
    setup: Setup<'a>,
}

/// Changes that save more than 3 % of `seconds`, the best first. `units` is the model whose products are made by matrix units. They are planned beside
/// each other: one takes as long as the plan itself.
pub fn helps(
    setup: &Setup,
    units: Option<&Outline>,
    counts: &Neighbours,
    precision: Precision,
    seconds: f64,
) -> Vec<HelpRow> {
    let attempt = |trial: &Trial| {
        // What does not fit does not help.
        let (_, _, plan) = Setup { target: &trial.target, ..trial.setup.clone() }.planned(counts).ok()?;
        Some(HelpRow { what: trial.what.clone(), seconds: plan.prediction.seconds })
    };
    let mut rows: Vec<_> = trials(setup, units, precision).par_iter().filter_map(attempt).collect();
    rows.retain(|r| r.seconds < seconds * (1.0 - WORTH));
    rows.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    rows
}

/// What is tried.
fn trials<'a>(setup: &Setup<'a>, units: Option<&'a Outline>, precision: Precision) -> Vec<Trial<'a>> {
    let mut trials = Vec::new();
    let mut attempt = |what: &str, target: Target, setup: Setup<'a>| {
        trials.push(Trial { what: what.to_string(), target, setup });
    };
    let (number, same) = (setup.outline.number(), || setup.target.clone());
    if setup.target.tiers.len() > 1 {
        let mut target = same();
        for tier in &mut target.tiers {
            tier.out_rate *= 2.0;
            tier.in_rate *= 2.0;
            tier.latency /= 2.0;
        }
        attempt("links twice as fast", target, setup.clone());
    }
    let mut target = same();
    target.tiers[0].capacity += target.tiers[0].capacity / 5;
    attempt("20 % more hbm", target, setup.clone());
    for checkpoint in [Checkpoint::Auto, Checkpoint::Every(2)] {
        if checkpoint != setup.checkpoint {
            attempt(&format!("--checkpoint {checkpoint}"), same(), Setup { checkpoint, ..setup.clone() });
        }
    }
    if setup.target.kind == Kind::Cpu && setup.inside != Inside::Keep {
        attempt("--inside keep", same(), Setup { inside: Inside::Keep, ..setup.clone() });
    }
    if setup.store.bytes(number as usize) > 2 {
        attempt("--store bf16", same(), Setup { store: Store::Bf16, ..setup.clone() });
    }
    if let Some(target) = three_passes(setup, precision, number) {
        let outline = units.unwrap_or(setup.outline);
        attempt("--precision f16x3", target, Setup { outline, ..setup.clone() });
    }
    trials
}

/// The machine with three passes of halves, where it has them and does not make them anyhow.
fn three_passes(setup: &Setup, precision: Precision, number: u64) -> Option<Target> {
    let machine = setup.target.machine.as_ref()?;
    let slower = match precision {
        Precision::F32 | Precision::Tf32x3 => true,
        Precision::Model => machine.compute.products() != Products::F16x3,
        _ => false,
    };
    if number != 4 || !slower {
        return None;
    }
    let speed = Speed::of(machine, Precision::F16x3, number).ok()?;
    Some(Target { speed: Some(speed), ..setup.target.clone() })
}
