//! Runs a program on symbols: every byte range knows what it holds. The check that a plan is right, without numbers and devices.

use super::problem::Problem;
use super::program::{Op, Place, Program, SlotId, State, Ticket};
use std::collections::{BTreeMap, HashMap};
use thiserror::Error;

/// What a byte range holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// State(layer) of a class (0 edges, 1 angles) of a tile.
    State {
        /// Tile
        tile: usize,
        /// 0 edges, 1 angles
        class: usize,
        /// Layer that it enters.
        layer: usize,
    },
    /// Its adjoint.
    Adjoint {
        /// Tile
        tile: usize,
        /// 0 edges, 1 angles
        class: usize,
        /// Layer whose input it belongs to.
        layer: usize,
    },
}

/// A program that must not run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("operation {at} ({op}): {what}")]
pub struct ReplayError {
    /// Number of the operation, forward and backward together.
    pub at: usize,
    /// The operation.
    pub op: String,
    /// What is wrong.
    pub what: String,
}

/// What a replay saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Highest end of a written range by tier, bytes.
    pub touched: Vec<u64>,
    /// Bytes copied out by tier.
    pub out_bytes: Vec<u64>,
    /// Bytes copied in by tier.
    pub load_bytes: Vec<u64>,
    /// Rebuild operations.
    pub rebuilds: usize,
    /// Projections.
    pub projections: usize,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    end: u64,
    content: Content,
    /// Copy that writes it.
    filling: Option<Ticket>,
}

struct Machine<'a> {
    problem: &'a Problem,
    program: &'a Program,
    depth: [usize; 2],
    held: Vec<BTreeMap<u64, Range>>,
    /// Ranges that a copy reads: tier, from, to.
    reading: HashMap<Ticket, (u8, u64, u64)>,
    filling: HashMap<Ticket, (u8, u64)>,
    banks: Vec<Option<usize>>,
    forward_done: Vec<usize>,
    backward_done: Vec<usize>,
    gathered: Vec<usize>,
    assembled: usize,
    cleared: Option<usize>,
    finished: usize,
    fitted: bool,
    seen: Replayed,
}

/// Replays a program for its problem.
///
/// # Errors
/// The first operation that reads what is not there, disturbs a copy, leaves its arena, or comes in the wrong order.
pub fn replay(problem: &Problem, program: &Program) -> Result<Replayed, ReplayError> {
    let tiers = program.arena_bytes.len();
    let angles = problem.angles.iter().take_while(|&&a| a).count();
    let mut m = Machine {
        problem,
        program,
        depth: [problem.layers, angles],
        held: vec![BTreeMap::new(); tiers],
        reading: HashMap::new(),
        filling: HashMap::new(),
        banks: vec![None; program.banks],
        forward_done: vec![0; problem.layers],
        backward_done: vec![0; problem.layers],
        gathered: vec![0; problem.layers],
        assembled: 0,
        cleared: None,
        finished: problem.layers,
        fitted: false,
        seen: Replayed {
            touched: vec![0; tiers],
            out_bytes: vec![0; tiers],
            load_bytes: vec![0; tiers],
            ..Replayed::default()
        },
    };
    let fail = |at: usize, op: String, what: String| Err(ReplayError { at, op, what });
    if let Some((k, slot)) = program.slots.iter().enumerate().find(|(_, s)| s.offset % super::ALIGN != 0) {
        return fail(
            0,
            "slots".into(),
            format!("slot {k} begins at byte {}, no multiple of {}", slot.offset, super::ALIGN),
        );
    }
    for (at, op) in program.forward.iter().chain(&program.backward).enumerate() {
        let wrong_part = m.fitted != (at >= program.forward.len());
        let result = if wrong_part { Err("in the wrong pass".into()) } else { m.step(op) };
        if let Err(what) = result {
            return fail(at, format!("{op:?}"), what);
        }
    }
    let end = program.forward.len() + program.backward.len();
    if m.assembled != problem.tiles.len() || m.finished != 1.min(problem.layers) {
        let what = format!("{} of {} tiles assembled, {} layers left", m.assembled, problem.tiles.len(), m.finished);
        return fail(end, "end".into(), what);
    }
    if !m.reading.is_empty() {
        return fail(end, "end".into(), format!("{} copies never waited for", m.reading.len()));
    }
    // Insides live through the step: behind all slots, one behind the other.
    let mut free = program.slots.iter().filter(|s| s.tier == 0).map(|s| s.offset + s.bytes).max().unwrap_or(0);
    for slot in &program.inside {
        let to = slot.offset + slot.bytes;
        if slot.offset < free || slot.offset % super::ALIGN != 0 || to > program.arena_bytes[0] {
            return fail(end, "insides".into(), format!("{slot:?} lies on something else, or outside"));
        }
        if problem.inside_bytes.get(slot.layer).map(|b| b[slot.part]) != Some(slot.bytes) {
            return fail(end, "insides".into(), format!("{slot:?} has another size than was asked for"));
        }
        free = to;
    }
    let fixed = problem.fixed_bytes + program.banks as u64 * problem.bank_bytes;
    for (k, &bytes) in program.arena_bytes.iter().enumerate() {
        let need = bytes + if k == 0 { fixed } else { 0 };
        if need > problem.tiers[k].capacity {
            return fail(end, "end".into(), format!("tier {k}: {need} bytes of {}", problem.tiers[k].capacity));
        }
    }
    Ok(m.seen)
}

impl Machine<'_> {
    fn slot(&self, id: SlotId) -> Result<super::Slot, String> {
        self.program.slots.get(id.0 as usize).copied().ok_or_else(|| format!("no slot {}", id.0))
    }

    fn room(&self, tile: usize, content: Content) -> u64 {
        let (p, size) = (self.problem, &self.problem.tiles[tile]);
        match content {
            Content::State { class: 0, .. } => size.edges * p.stored_edge_bytes,
            Content::State { .. } => size.angles * p.stored_angle_bytes,
            Content::Adjoint { class: 0, .. } => size.edges * p.edge_bytes,
            Content::Adjoint { .. } => size.angles * p.angle_bytes,
        }
    }

    /// Claims a slot for content; whatever overlaps it is gone.
    fn write(&mut self, id: SlotId, content: Content, filling: Option<Ticket>) -> Result<(), String> {
        let slot = self.slot(id)?;
        let (from, to) = (slot.offset, slot.offset + slot.bytes);
        let (Content::State { tile, .. } | Content::Adjoint { tile, .. }) = content;
        if slot.bytes < self.room(tile, content) {
            return Err(format!("{content:?} does not fit {slot:?}"));
        }
        if to > self.program.arena_bytes[slot.tier as usize] {
            return Err(format!("{slot:?} ends outside its arena"));
        }
        if let Some((t, _)) = self.reading.iter().find(|(_, r)| r.0 == slot.tier && r.1 < to && from < r.2) {
            return Err(format!("writes what copy {t} reads"));
        }
        let held = &mut self.held[slot.tier as usize];
        let gone: Vec<u64> = held.range(..to).rev().take_while(|(_, r)| r.end > from).map(|(&at, _)| at).collect();
        for at in gone {
            if let Some(t) = held[&at].filling {
                return Err(format!("writes what copy {t} writes"));
            }
            held.remove(&at);
        }
        held.insert(from, Range { end: to, content, filling });
        let touched = &mut self.seen.touched[slot.tier as usize];
        *touched = (*touched).max(to);
        Ok(())
    }

    fn read(&self, id: SlotId) -> Result<Content, String> {
        let slot = self.slot(id)?;
        match self.held[slot.tier as usize].get(&slot.offset) {
            Some(r) if r.end == slot.offset + slot.bytes => match r.filling {
                None => Ok(r.content),
                Some(t) => Err(format!("reads {:?} while copy {t} fills it", r.content)),
            },
            _ => Err(format!("reads {slot:?}, which was never written or has been used again")),
        }
    }

    fn expect(&self, place: Place, want: Content) -> Result<(), String> {
        let Place::Slot(id) = place else { return Err(format!("{want:?} expected, {place:?} given")) };
        self.in_tier0(id)?;
        match self.read(id)? {
            found if found == want => Ok(()),
            found => Err(format!("{want:?} expected, {found:?} found")),
        }
    }

    fn in_tier0(&self, id: SlotId) -> Result<(), String> {
        match self.slot(id)?.tier {
            0 => Ok(()),
            tier => Err(format!("computes on a slot of tier {tier}")),
        }
    }

    /// The whole state that enters a layer.
    fn expect_state(&self, tile: usize, layer: usize, state: State) -> Result<(), String> {
        for (class, place) in [state.edges, state.angles].into_iter().enumerate() {
            match (layer < self.depth[class], layer) {
                (false, _) if place == Place::None => {}
                (true, 0) if place == Place::Initial => {}
                (true, 1..) => self.expect(place, Content::State { tile, class, layer })?,
                _ => return Err(format!("class {class} of state({layer}): {place:?}")),
            }
        }
        Ok(())
    }

    fn write_state(&mut self, tile: usize, layer: usize, state: State, partly: bool) -> Result<(), String> {
        for (class, place) in [state.edges, state.angles].into_iter().enumerate() {
            let exists = layer < self.depth[class];
            match place {
                Place::Slot(id) if exists => {
                    self.in_tier0(id)?;
                    self.write(id, Content::State { tile, class, layer }, None)?;
                }
                Place::None if !exists || (partly && class == 0) => {}
                _ => return Err(format!("class {class} of state({layer}) goes to {place:?}")),
            }
        }
        Ok(())
    }

    fn projected(&self, layer: usize) -> Result<(), String> {
        match self.banks[layer % self.banks.len()] {
            Some(l) if l == layer => Ok(()),
            other => Err(format!("bank of layer {layer} holds {other:?}")),
        }
    }

    fn step(&mut self, op: &Op) -> Result<(), String> {
        let (layers, tiles) = (self.problem.layers, self.problem.tiles.len());
        match *op {
            Op::Geometry => {}
            Op::Project { layer } => {
                if layer > 0 && self.forward_done[layer - 1] != tiles {
                    return Err("nodes are not there yet".into());
                }
                self.seen.projections += 1;
                let bank = layer % self.banks.len();
                self.banks[bank] = Some(layer);
            }
            Op::Forward { layer, tile, input, output } => {
                self.projected(layer)?;
                if self.forward_done[layer] != tile {
                    return Err(format!("tile {} is next", self.forward_done[layer]));
                }
                self.expect_state(tile, layer, input)?;
                self.write_state(tile, layer + 1, output, false)?;
                self.expect_state(tile, layer, input).map_err(|e| format!("overwrites its own input: {e}"))?;
                self.forward_done[layer] += 1;
            }
            Op::Rebuild { layer, tile, input, output } => {
                self.projected(layer)?;
                self.expect_state(tile, layer, input)?;
                self.write_state(tile, layer + 1, output, true)?;
                self.expect_state(tile, layer, input).map_err(|e| format!("overwrites its own input: {e}"))?;
                self.seen.rebuilds += 1;
            }
            Op::Fit => {
                if self.forward_done[layers - 1] != tiles {
                    return Err("the last layer is not done".into());
                }
                if !self.reading.is_empty() {
                    return Err(format!("{} copies under way at the end of the forward part", self.reading.len()));
                }
                self.fitted = true;
            }
            Op::Clear { layer } => {
                if self.finished != layer + 1 || layer == 0 {
                    return Err(format!("layer {} is next", self.finished as isize - 1));
                }
                self.cleared = Some(layer);
            }
            Op::Backward { layer, tile, input, adjoint } => self.backward(layer, tile, input, adjoint)?,
            Op::Gather { layer, tile } => {
                if layer == 0 || self.gathered[layer] != tile || self.backward_done[layer] != tile + 1 {
                    return Err("gathers in the wrong order".into());
                }
                self.gathered[layer] += 1;
            }
            Op::Finish { layer } => {
                if layer == 0 || self.gathered[layer] != tiles || self.finished != layer + 1 {
                    return Err(format!("{} of {tiles} tiles gathered", self.gathered[layer]));
                }
                self.finished = layer;
            }
            Op::Assemble { tile, adjoint } => {
                for (class, place) in [adjoint.edges, adjoint.angles].into_iter().enumerate() {
                    if self.depth[class] > 0 {
                        self.expect(place, Content::Adjoint { tile, class, layer: 0 })?;
                    }
                }
                if self.assembled != tile {
                    return Err(format!("tile {} is next", self.assembled));
                }
                self.assembled += 1;
            }
            Op::Save { from, to, ticket } => self.copy(from, to, ticket, true)?,
            Op::Load { from, to, ticket } => self.copy(from, to, ticket, false)?,
            Op::Wait { ticket } => {
                self.reading.remove(&ticket).ok_or("no such copy under way")?;
                if let Some((tier, at)) = self.filling.remove(&ticket) {
                    if let Some(r) = self.held[tier as usize].get_mut(&at) {
                        r.filling = None;
                    }
                }
            }
        }
        Ok(())
    }

    fn backward(&mut self, layer: usize, tile: usize, input: State, adjoint: State) -> Result<(), String> {
        self.projected(layer)?;
        let begun = if layer == 0 { self.finished == 1 } else { self.cleared == Some(layer) };
        if !begun || self.backward_done[layer] != tile {
            return Err(format!("tile {} of layer {:?} is next", self.backward_done[layer], self.cleared));
        }
        self.expect_state(tile, layer, input)?;
        for (class, place) in [adjoint.edges, adjoint.angles].into_iter().enumerate() {
            if layer >= self.depth[class] {
                if place != Place::None {
                    return Err(format!("class {class} has no adjoint here"));
                }
                continue;
            }
            if layer + 1 < self.depth[class] {
                self.expect(place, Content::Adjoint { tile, class, layer: layer + 1 })?;
            }
            let Place::Slot(id) = place else { return Err(format!("class {class} has no slot")) };
            self.in_tier0(id)?;
            self.write(id, Content::Adjoint { tile, class, layer }, None)?;
        }
        self.expect_state(tile, layer, input).map_err(|e| format!("overwrites its own input: {e}"))?;
        self.backward_done[layer] += 1;
        Ok(())
    }

    fn copy(&mut self, from: SlotId, to: SlotId, ticket: Ticket, out: bool) -> Result<(), String> {
        let (a, b) = (self.slot(from)?, self.slot(to)?);
        if (a.tier == 0) != out || (b.tier == 0) == out {
            return Err(format!("copies from tier {} to tier {}", a.tier, b.tier));
        }
        if ticket >= self.program.tickets || self.reading.contains_key(&ticket) {
            return Err(format!("ticket {ticket} of {} is taken", self.program.tickets));
        }
        let content = self.read(from)?;
        self.write(to, content, Some(ticket))?;
        self.reading.insert(ticket, (a.tier, a.offset, a.offset + a.bytes));
        self.filling.insert(ticket, (b.tier, b.offset));
        let bytes =
            if out { &mut self.seen.out_bytes[b.tier as usize] } else { &mut self.seen.load_bytes[a.tier as usize] };
        *bytes += a.bytes;
        Ok(())
    }
}
