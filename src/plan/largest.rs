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
use weir_backends::cpu::{Census, Checkpoint, TierSpec};
use weir_engine::plan::placement::{plan, smallest_feasible};

/// Relative width at which the search ends.
const CLOSE: f64 = 0.02;
/// Edges of a tile, as on a GPU; where that would be more than `MOST` tiles, larger ones.
const TILE: u64 = 65_536;
/// Tiles at most, so that planning stays quick.
const MOST: u64 = 96;
/// And at least, so that one tile is a small part.
const LEAST: u64 = 24;
/// The largest number of atoms looked at.
const CEILING: u64 = 1 << 31;

/// A way to use the memory.
struct Strategy {
    name: &'static str,
    tiers: fn(Tier) -> bool,
    checkpoint: Checkpoint,
    stored: Option<u64>,
}

const STRATEGIES: [Strategy; 6] = [
    Strategy { name: "hbm, all kept", tiers: only_hbm, checkpoint: Checkpoint::All, stored: None },
    Strategy { name: "hbm, every:4", tiers: only_hbm, checkpoint: Checkpoint::Every(4), stored: None },
    Strategy { name: "hbm+host, all kept", tiers: no_file, checkpoint: Checkpoint::All, stored: None },
    Strategy { name: "hbm+host, planner", tiers: no_file, checkpoint: Checkpoint::Auto, stored: None },
    Strategy { name: "hbm+host, 16 bit, planner", tiers: no_file, checkpoint: Checkpoint::Auto, stored: Some(2) },
    Strategy { name: "with file, planner", tiers: any, checkpoint: Checkpoint::Auto, stored: None },
];

fn only_hbm(tier: Tier) -> bool {
    tier == Tier::Hbm
}

fn no_file(tier: Tier) -> bool {
    tier != Tier::File
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
    let census = system.neighbours.census(TILE as usize);
    let outline = system.outline;
    let jobs: Vec<(usize, usize)> =
        (0..targets.len()).flat_map(|t| (0..STRATEGIES.len()).map(move |s| (t, s))).collect();
    let found: Vec<Option<Fit>> = jobs
        .par_iter()
        .map(|&(t, s)| {
            let target = restricted(&targets[t], &STRATEGIES[s])?;
            let (checkpoint, stored) = (STRATEGIES[s].checkpoint, STRATEGIES[s].stored);
            search(&Setup { target: &target, outline, checkpoint, stored }, &census)
        })
        .collect();
    let rows = |t: usize| {
        let found = &found[t * STRATEGIES.len()..][..STRATEGIES.len()];
        STRATEGIES.iter().zip(found)
    };
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
    let _ = writeln!(text, "\nLargest systems of this density (atoms, to {:.0} %) and seconds a step", 100.0 * CLOSE);
    let _ = write!(text, "{:<18}", "machine");
    for s in &STRATEGIES {
        let _ = write!(text, "{:>27}", s.name);
    }
    text.push('\n');
    for (t, target) in targets.iter().enumerate() {
        let _ = write!(text, "{:<18}", target.name);
        for (_, fit) in rows(t) {
            let cell = fit.map_or("-".into(), |f| format!("{} / {}", atoms(f.atoms), table::seconds(f.seconds)));
            let _ = write!(text, "{cell:>27}");
        }
        text.push('\n');
    }
    text += "A dash: the machine has no such tier, or nothing fits. Forecasts: no GPU backend in this version; fixed bytes are those of the CPU backend.\n";
    print(&text)
}

/// The machine with the tiers of a strategy; none where it would be the same as another strategy.
fn restricted(target: &Target, strategy: &Strategy) -> Option<Target> {
    let kind = |t: &TierSpec| t.name.parse::<Tier>().ok();
    let mut one = target.clone();
    one.tiers.retain(|t| kind(t).is_some_and(strategy.tiers));
    let file = target.tiers.iter().any(|t| kind(t) == Some(Tier::File));
    ((strategy.tiers)(Tier::Hbm) && (!(strategy.tiers)(Tier::File) || file)).then_some(one)
}

/// The most atoms for which a plan exists, to two per cent, and its seconds.
fn search(setup: &Setup, census: &Census) -> Option<Fit> {
    let total = census.total();
    let problem = |atoms: u64| {
        let edges = atoms as f64 * total.edges as f64 / total.atoms as f64;
        let tiles = ((edges / TILE as f64) as u64).clamp(LEAST, MOST);
        setup.problem(&census.replicated(atoms, tiles))
    };
    let capacity = setup.target.tiers[0].capacity;
    let fits = |atoms: u64| smallest_feasible(&problem(atoms)).is_ok_and(|need| need <= capacity);
    // Bytes grow with the atoms: the need of some tells how many to try first.
    let probe = LEAST * 64;
    let need = smallest_feasible(&problem(probe)).ok()?;
    let mut low = probe;
    let mut high = (probe as f64 * capacity as f64 / need as f64) as u64;
    if !fits(low) {
        return None;
    }
    high = high.max(low + 1).min(CEILING);
    while high < CEILING && fits(high) {
        low = high;
        high = (high as f64 * 1.5) as u64;
    }
    while (high - low) as f64 > CLOSE * low as f64 {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
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
