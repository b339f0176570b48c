//! How many atoms of the structure's density fit, and how long a step of them takes.

use super::case::Setup;
use super::target::Target;
use super::{table, System};
use crate::cli::PlanArgs;
use crate::problem::print;
use anyhow::Result;
use rayon::prelude::*;
use serde_json::json;
use std::fmt::Write;
use weir_allocators::kind::Tier;
use weir_backends::cpu::{Census, Checkpoint, Store, TierSpec};
use weir_engine::plan::placement::{plan, smallest_feasible};

/// Relative width at which the search ends.
const CLOSE: f64 = 0.02;
/// Tiles at most, so that planning stays quick; beyond, they are larger than a calculator's.
const MOST: u64 = 96;
/// And at least, so that one tile is a small part.
const LEAST: u64 = 40;
/// Width of a column.
const WIDTH: usize = 21;
/// The search begins with so many atoms.
const SMALLEST: u64 = LEAST * 32;
/// Questions to the planner at most.
const ROUNDS: usize = 24;
/// The largest number of atoms looked at.
const CEILING: u64 = 1 << 31;

/// A way to use the memory.
struct Strategy {
    name: &'static str,
    tiers: fn(Tier) -> bool,
    /// A tier without which it would be another strategy.
    needs: Option<fn(Tier) -> bool>,
    /// Strategies whose every plan it may choose too.
    includes: &'static [usize],
    checkpoint: Checkpoint,
    store: Store,
}

const STRATEGIES: [Strategy; 6] = [
    Strategy {
        name: "hbm, all kept",
        tiers: only_hbm,
        needs: None,
        includes: &[],
        checkpoint: Checkpoint::All,
        store: Store::Exact,
    },
    Strategy {
        name: "hbm, every:4",
        tiers: only_hbm,
        needs: None,
        includes: &[],
        checkpoint: Checkpoint::Every(4),
        store: Store::Exact,
    },
    Strategy {
        name: "hbm+host, all kept",
        tiers: no_file,
        needs: Some(is_host),
        includes: &[0],
        checkpoint: Checkpoint::All,
        store: Store::Exact,
    },
    Strategy {
        name: "hbm+host, planner",
        tiers: no_file,
        needs: None,
        includes: &[0, 1, 2],
        checkpoint: Checkpoint::Auto,
        store: Store::Exact,
    },
    Strategy {
        name: "16 bit, planner",
        tiers: no_file,
        needs: None,
        includes: &[3],
        checkpoint: Checkpoint::Auto,
        store: Store::Bf16,
    },
    Strategy {
        name: "with file, planner",
        tiers: any,
        needs: Some(is_file),
        includes: &[3],
        checkpoint: Checkpoint::Auto,
        store: Store::Exact,
    },
];

fn only_hbm(tier: Tier) -> bool {
    tier == Tier::Hbm
}

fn no_file(tier: Tier) -> bool {
    tier != Tier::File
}

fn is_host(tier: Tier) -> bool {
    tier.is_host()
}

fn is_file(tier: Tier) -> bool {
    tier == Tier::File
}

fn any(_: Tier) -> bool {
    true
}

/// What fits.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fit {
    atoms: u64,
    seconds: f64,
}

/// Runs `weir plan --largest`.
///
/// # Errors
/// A closed standard output.
pub fn run(args: &PlanArgs, system: &System, targets: &[Target]) -> Result<()> {
    let census = system.neighbours.census(usize::MAX);
    // `--store` holds for the strategies that do not say how states are stored themselves.
    let asked = system.store;
    // What a strategy holds, one that may do more holds too: its search begins there.
    let column = |target: &Target| -> Result<Vec<Option<Fit>>> {
        let mut found: Vec<Option<Fit>> = Vec::new();
        for strategy in &STRATEGIES {
            let held = strategy.includes.iter().filter_map(|&k| *found.get(k)?).max_by_key(|f: &Fit| f.atoms);
            let attempt = |target: Target| -> Result<Option<Fit>> {
                let store = if strategy.store == Store::Exact { asked } else { strategy.store };
                let setup = Setup { checkpoint: strategy.checkpoint, store, ..system.setup(&target)? };
                Ok(search(&setup, &census, held.map_or(0, |f| f.atoms)))
            };
            let fit = restricted(target, strategy).map(attempt).transpose()?.flatten();
            // The planner's search is not exact: where it finds less than a plan that it may choose too, that plan counts.
            let same = held.filter(|h| strategy.store == Store::Exact && fit.is_some_and(|f| f.atoms < h.atoms));
            let fit = same.or(fit);
            found.push(fit);
        }
        Ok(found)
    };
    let found = targets.par_iter().map(column).collect::<Result<Vec<Vec<Option<Fit>>>>>()?;
    let rows = |t: usize| STRATEGIES.iter().zip(&found[t]);
    if args.json {
        let machine = |(t, target): (usize, &Target)| {
            let one = |(s, fit): (&Strategy, &Option<Fit>)| {
                json!({ "strategy": s.name, "atoms": fit.map(|f| f.atoms), "seconds": fit.map(|f| f.seconds),
                    "ns_per_day": fit.map(|f| table::ns_per_day(f.seconds)) })
            };
            json!({ "machine": target.name, "title": target.title, "remarks": target.remarks,
                "largest": rows(t).map(one).collect::<Vec<_>>() })
        };
        let mut object = system.json();
        object["machines"] = json!(targets.iter().enumerate().map(machine).collect::<Vec<_>>());
        return print(&format!("{object}\n"));
    }
    let mut text = system.text();
    let _ = writeln!(
        text,
        "\nLargest systems of this density (atoms, to {:.0} %) and time of a step; store {}",
        100.0 * CLOSE,
        system.store
    );
    let _ = write!(text, "{:<18}", "machine");
    for s in &STRATEGIES {
        let _ = write!(text, "{:>WIDTH$}", s.name);
    }
    text.push('\n');
    for (t, target) in targets.iter().enumerate() {
        let _ = write!(text, "{:<18}", target.name);
        for (_, fit) in rows(t) {
            let cell = fit.map_or("-".into(), |f| format!("{} / {}", atoms(f.atoms), table::seconds(f.seconds)));
            let _ = write!(text, "{cell:>WIDTH$}");
        }
        text.push('\n');
    }
    text += "A dash: no such tier, or nothing fits. docs/plan.md tells more.\n";
    print(&text)
}

/// The machine with the tiers of a strategy; none where it lacks the one that makes the strategy.
fn restricted(target: &Target, strategy: &Strategy) -> Option<Target> {
    let kind = |t: &TierSpec| t.name.parse::<Tier>().ok();
    let mut one = target.clone();
    one.tiers.retain(|t| kind(t).is_some_and(strategy.tiers));
    let has = |needed: fn(Tier) -> bool| one.tiers.iter().filter_map(kind).any(needed);
    strategy.needs.is_none_or(has).then_some(one)
}

/// The most atoms for which a plan exists, to two per cent, and its seconds. `known` atoms are known to fit.
fn search(setup: &Setup, census: &Census, known: u64) -> Option<Fit> {
    let total = census.total();
    let problem = |atoms: u64| {
        let edges = atoms as f64 * total.edges as f64 / total.atoms as f64;
        let tiles = ((edges / setup.target.tiles[0] as f64) as u64).clamp(LEAST, MOST);
        setup.problem(&census.replicated(atoms, tiles))
    };
    let capacity = setup.target.tiers[0].capacity;
    let need = |atoms: u64| smallest_feasible(&problem(atoms)).unwrap_or(u64::MAX);
    let from = |atoms: u64| Some((atoms, need(atoms))).filter(|at| at.1 <= capacity);
    let mut low = from(known.max(SMALLEST)).or_else(|| from(SMALLEST))?;
    // Bytes grow about as the atoms do.
    let mut high = low;
    while high.1 <= capacity && high.0 < CEILING {
        low = high;
        let factor = (1.02 * capacity as f64 / low.1 as f64).clamp(1.05, 1e4);
        let next = ((low.0 as f64 * factor) as u64).max(low.0 + 1).min(CEILING);
        high = (next, need(next));
    }
    let close = |low: u64, high: u64| (high - low) as f64 <= CLOSE * low as f64;
    for round in 0..ROUNDS {
        if high.1 <= capacity || close(low.0, high.0) {
            break;
        }
        // Where the need is a straight line, just below the crossing, then just above it; where it is not, halves.
        let span = (high.0 - low.0) as f64;
        let straight = (capacity - low.1) as f64 / (high.1.min(u64::MAX / 2) - low.1) as f64;
        let next = match round % 4 {
            0 => (low.0 as f64 + straight * span) * 0.993,
            1 => low.0 as f64 * 1.018,
            2 => high.0 as f64 / 1.018,
            _ => low.0 as f64 + 0.5 * span,
        };
        let next = (next as u64).clamp(low.0 + 1, high.0 - 1);
        let there = (next, need(next));
        if there.1 <= capacity {
            low = there;
        } else {
            high = there;
        }
    }
    let low = low.0;
    let best = problem(low);
    let planned = plan(&best).ok()?;
    Some(Fit { atoms: best.tiles.iter().map(|t| t.atoms).sum(), seconds: planned.prediction.seconds })
}

/// Atoms with three digits.
fn atoms(n: u64) -> String {
    match n {
        0..=9_999 => n.to_string(),
        10_000..=99_999 => format!("{:.1} k", n as f64 / 1e3),
        100_000..=999_999 => format!("{:.0} k", n as f64 / 1e3),
        _ => format!("{:.2} M", n as f64 / 1e6),
    }
}
