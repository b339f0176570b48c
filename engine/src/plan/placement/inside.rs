//! Insides of layers. What the backward pass needs of a layer beside its input (moments, slopes of activations, messages) is computed again
//! from that input, or kept by the forward pass in what a plan leaves of the first tier: many more bytes than the input, for less time.

use super::problem::{Problem, Rates, TileSize};
use super::report::Plan;
use super::ALIGN;
use std::fmt;

/// Parts of an inside: of nodes, of edges, of angles. In this order they are kept, for bytes of nodes save most and those of angles least.
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
    if problem.inside == Inside::Rebuild {
        return plan;
    }
    let mut room = problem.tiers[0].capacity.saturating_sub(plan.prediction.peak[0]);
    let (mut offset, layers) = (plan.program.arena_bytes[0].next_multiple_of(ALIGN), problem.layers);
    room = room.saturating_sub(offset - plan.program.arena_bytes[0]);
    for part in 0..INSIDE.len() {
        for (layer, bytes) in problem.inside_bytes.iter().enumerate().rev() {
            let slot = InsideSlot { layer, part, offset, bytes: bytes[part] };
            let saves = slot.saves(&problem.rates, &problem.tiles);
            if slot.bytes == 0 || (problem.inside == Inside::Auto && saves <= 0.0) {
                continue;
            }
            // No plan with insides is faster than the fastest without them by more than this.
            plan.lower_bound -= saves.max(0.0);
            let held = slot.bytes.next_multiple_of(ALIGN);
            if held > room {
                plan.exact = false;
                continue;
            }
            room -= held;
            offset += held;
            let (phase, p) = (2 * layers - 1 - layer, &mut plan.prediction);
            // Copies may be what such a phase waits for: then nothing is won.
            let waits = p.phases[phase] > p.compute[phase] * (1.0 + 1e-9);
            plan.exact &= !waits && saves >= 0.0;
            p.compute[phase] = (p.compute[phase] - saves).max(0.0);
            if !waits {
                p.seconds += p.compute[phase] - p.phases[phase];
                p.phases[phase] = p.compute[phase];
            }
            plan.program.inside.push(slot);
        }
    }
    if !plan.program.inside.is_empty() {
        plan.prediction.peak[0] += offset - plan.program.arena_bytes[0];
        plan.program.arena_bytes[0] = offset;
    }
    plan.lower_bound = plan.lower_bound.clamp(0.0, plan.prediction.seconds);
    plan
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
