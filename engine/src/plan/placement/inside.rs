//! Insides of layers. What the backward pass needs of a layer beside its input (moments, slopes of activations, messages) is computed again
//! from that input, or kept by the forward pass in what a plan leaves of the first tier: on CPUs many more bytes than the input, for less time;
//! on GPUs a few bytes that are worth more than the input's ([`super::Problem::inside_first`]).

use super::problem::{Problem, Rates, TileSize};
use super::report::Plan;
use super::ALIGN;
use std::fmt;

/// Parts of an inside: of nodes, of edges, of angles. In this order they are kept: where a backend has all three,
/// bytes of nodes save most and those of angles least.
pub const INSIDE: [&str; 3] = ["nodes", "edges", "angles"];

/// Whether insides are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inside {
    /// Where the compute rates say that it saves time.
    #[default]
    Auto,
    /// Never.
    Rebuild,
    /// Wherever there is room.
    Keep,
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Rebuild => "rebuild",
            Self::Keep => "keep",
        })
    }
}

/// A part of a layer's inside in the first tier, from the layer's forward operations of a step to its backward ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsideSlot {
    /// Layer.
    pub layer: usize,
    /// Index into [`INSIDE`].
    pub part: usize,
    /// Bytes from the start of the first tier's arena, behind all slots of states; a multiple of [`ALIGN`].
    pub offset: u64,
    /// Bytes.
    pub bytes: u64,
}

impl InsideSlot {
    /// Seconds that it saves a step of these tiles.
    pub fn saves(&self, rates: &Rates, tiles: &[TileSize]) -> f64 {
        let Some(work) = rates.inside.get(self.layer) else { return 0.0 };
        let all: TileSize = tiles.iter().sum();
        [work.node, work.edge, work.angle][self.part] * [all.atoms, all.edges, all.angles][self.part] as f64
    }
}

/// Gives what a plan leaves of the first tier to insides, last layers first.
pub fn keep(problem: &Problem, mut plan: Plan) -> Plan {
    let mut room = problem.tiers[0].capacity.saturating_sub(plan.prediction.peak[0]);
    let (mut offset, layers) = (plan.program.arena_bytes[0].next_multiple_of(ALIGN), problem.layers);
    room = room.saturating_sub(offset - plan.program.arena_bytes[0]);
    // Those of nodes are few bytes.
    let mut most = problem.inside_most.unwrap_or(u64::MAX);
    for slot in wanted(problem) {
        let saves = slot.saves(&problem.rates, &problem.tiles);
        // No plan with insides is faster than the fastest without them by more than this.
        plan.lower_bound -= saves.max(0.0);
        let held = slot.bytes.next_multiple_of(ALIGN);
        let counted = if slot.part > 0 { held } else { 0 };
        if held > room || counted > most {
            plan.exact = false;
            continue;
        }
        room -= held;
        most -= counted;
        offset += held;
        let (phase, p) = (2 * layers - 1 - slot.layer, &mut plan.prediction);
        // Copies may be what such a phase waits for: then nothing is won.
        let waits = p.phases[phase] > p.compute[phase] * (1.0 + 1e-9);
        plan.exact &= !waits && saves >= 0.0;
        p.compute[phase] = (p.compute[phase] - saves).max(0.0);
        if !waits {
            p.seconds += p.compute[phase] - p.phases[phase];
            p.phases[phase] = p.compute[phase];
        }
        plan.program.inside.push(InsideSlot { offset: offset - held, ..slot });
    }
    if !plan.program.inside.is_empty() {
        plan.prediction.peak[0] += offset - plan.program.arena_bytes[0];
        plan.program.arena_bytes[0] = offset;
    }
    plan.lower_bound = plan.lower_bound.clamp(0.0, plan.prediction.seconds);
    plan
}

/// What is to be kept where there is room, in the order in which it is, without places.
fn wanted(problem: &Problem) -> Vec<InsideSlot> {
    let saves = |slot: &InsideSlot| match problem.inside {
        Inside::Auto => slot.saves(&problem.rates, &problem.tiles) > 0.0,
        Inside::Rebuild => false,
        Inside::Keep => true,
    };
    let layers = || problem.inside_bytes.iter().enumerate().rev();
    let all = (0..INSIDE.len())
        .flat_map(|part| layers().map(move |(layer, bytes)| InsideSlot { layer, part, offset: 0, bytes: bytes[part] }));
    all.filter(|slot| slot.bytes > 0 && saves(slot)).collect()
}

/// Bytes of the first tier for half of what is wanted, last layers first, wherever an arena ends.
pub(super) fn half(problem: &Problem) -> u64 {
    let wanted = wanted(problem);
    let first = &wanted[..wanted.len().div_ceil(2)];
    first.iter().map(|slot| slot.bytes.next_multiple_of(ALIGN)).sum::<u64>() + ALIGN
}

impl Problem {
    /// Whether a plan keeps all insides that are wanted.
    pub fn keeps_insides(&self, plan: &Plan) -> bool {
        plan.program.inside.len() == wanted(self).len()
    }
}

/// The faster of two plans of a problem, of which the first knows how fast any can be.
pub(super) fn better(first: Plan, other: Plan) -> Plan {
    if other.prediction.seconds >= first.prediction.seconds {
        return first;
    }
    Plan { lower_bound: first.lower_bound.min(other.prediction.seconds), exact: false, ..other }
}

/// Whether lists of a problem are as long as its layers are many.
///
/// # Errors
/// What is not.
pub(super) fn check(problem: &Problem) -> Result<(), String> {
    let (bytes, rates) = (&problem.inside_bytes, &problem.rates.inside);
    if !(bytes.is_empty() || bytes.len() == problem.layers) || !(rates.is_empty() || rates.len() == problem.layers) {
        return Err(format!("insides of {} layers, their rates of {}", bytes.len(), rates.len()));
    }
    match rates.iter().flat_map(|w| [w.node, w.edge, w.angle]).all(f64::is_finite) {
        true => Ok(()),
        false => Err("what an inside saves is not finite".into()),
    }
}
