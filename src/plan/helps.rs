//! What would make a step faster, found by planning again with it.

use super::case::Setup;
use super::machine::Kind;
use super::outline::Outline;
use super::rates::Speed;
use super::target::Target;
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

/// Changes that save more than 3 % of `seconds`, the best first. `units` is the model whose products are made by matrix units.
pub fn helps(
    setup: &Setup,
    units: Option<&Outline>,
    counts: &Neighbours,
    precision: Precision,
    seconds: f64,
) -> Vec<HelpRow> {
    let mut rows = Vec::new();
    let mut attempt = |what: &str, setup: &Setup| {
        // What does not fit does not help.
        if let Ok((_, _, plan)) = setup.planned(counts) {
            rows.push(HelpRow { what: what.to_string(), seconds: plan.prediction.seconds });
        }
    };
    let number = setup.outline.number();
    if setup.target.tiers.len() > 1 {
        let mut target = setup.target.clone();
        for tier in &mut target.tiers {
            tier.out_rate *= 2.0;
            tier.in_rate *= 2.0;
            tier.latency /= 2.0;
        }
        attempt("links twice as fast", &Setup { target: &target, ..setup.clone() });
    }
    let mut target = setup.target.clone();
    target.tiers[0].capacity += target.tiers[0].capacity / 5;
    attempt("20 % more hbm", &Setup { target: &target, ..setup.clone() });
    for checkpoint in [Checkpoint::Auto, Checkpoint::Every(2)] {
        if checkpoint != setup.checkpoint {
            attempt(&format!("--checkpoint {checkpoint}"), &Setup { checkpoint, ..setup.clone() });
        }
    }
    if setup.target.kind == Kind::Cpu && setup.inside != Inside::Keep {
        attempt("--inside keep", &Setup { inside: Inside::Keep, ..setup.clone() });
    }
    if setup.store.bytes(number as usize) > 2 {
        attempt("--store bf16", &Setup { store: Store::Bf16, ..setup.clone() });
    }
    if let Some(target) = three_passes(setup, precision, number) {
        let outline = units.unwrap_or(setup.outline);
        attempt("--precision tf32x3", &Setup { target: &target, outline, ..setup.clone() });
    }
    rows.retain(|r| r.seconds < seconds * (1.0 - WORTH));
    rows.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    rows
}

/// The machine with three passes of TF32, where it has them and does not make them anyhow.
fn three_passes(setup: &Setup, precision: Precision, number: u64) -> Option<Target> {
    let machine = setup.target.machine.as_ref()?;
    let plain = precision == Precision::F32
        || (precision == Precision::Model && machine.compute.products() != Products::Tf32x3);
    if number != 4 || !plain {
        return None;
    }
    let speed = Speed::of(machine, Precision::Tf32x3, number).ok()?;
    Some(Target { speed: Some(speed), ..setup.target.clone() })
}
