//! From schedules to a program: operations in order, copies placed so that they run beside the computation, slots with offsets.

mod copies;
mod passes;

use super::layout::{Layout, Offsets};
use super::model::Model;
use super::program::{Op, Place, Program, Slot, SlotId, State, Ticket};
use super::schedule::{Schedule, Segment, ANGLES, EDGES};
use std::collections::VecDeque;

const NONE: u32 = u32::MAX;

/// A copy into tier 0 that an operation will need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    tile: usize,
    class: usize,
    layer: usize,
    adjoint: bool,
}

/// The tiles' schedules and what they share.
pub(super) struct Emitter<'a> {
    model: &'a Model,
    schedules: &'a [Schedule],
    /// By tile: schedule and size class.
    tiles: &'a [(u32, u32)],
    banks: Vec<Option<usize>>,
    ops: Vec<Op>,
    slots: Vec<Slot>,
    /// Number in the layout, for slots of tier 0.
    lease: Vec<u32>,
    layout: Layout,
    /// Slot of a state in tier 0, and of its copy elsewhere, by tile, class and layer.
    here: Vec<u32>,
    there: Vec<u32>,
    /// Ticket of the copy out, likewise; adjoints apart.
    saved: [Vec<u32>; 2],
    adjoint: Vec<u32>,
    adjoint_there: Vec<u32>,
    waited: Vec<bool>,
    slow: Vec<u64>,
    /// Copies in that are under way, in order.
    queue: VecDeque<(Item, SlotId, Ticket, u64)>,
    queued: u64,
    cursor: Cursor,
    /// Copies out whose slots are free once they are done.
    draining: VecDeque<(SlotId, Ticket, u64)>,
    drained: u64,
    /// Bytes of copies in and out that may be under way beside the tile at work.
    window: [u64; 2],
    ahead: usize,
}

#[derive(Debug, Default)]
struct Cursor {
    backward: bool,
    step: usize,
    items: Vec<Item>,
    next: usize,
}

/// A program whose slots of tier 0 have no offsets yet.
pub(super) struct Emitted {
    program: Program,
    lease: Vec<u32>,
    layout: Layout,
}

impl Emitted {
    /// Most bytes of tier 0's arena in use at once.
    pub fn in_use(&self) -> u64 {
        self.program.in_use
    }

    /// Projection banks.
    pub fn banks(&self) -> u64 {
        self.program.banks as u64
    }

    /// Slots of tier 0.
    pub fn slots(&self) -> usize {
        self.layout.len()
    }

    /// The program with an arena of at most `limit` bytes, if one is found.
    pub fn within(self, limit: u64) -> Option<Program> {
        let offsets = self.layout.within(limit)?;
        Some(self.placed(offsets))
    }

    /// The program with the shortest arena found.
    pub fn shortest(self) -> Program {
        let offsets = self.layout.shortest();
        self.placed(offsets)
    }

    fn placed(mut self, (offsets, arena): Offsets) -> Program {
        for (slot, &lease) in self.program.slots.iter_mut().zip(&self.lease).filter(|(slot, _)| slot.tier == 0) {
            slot.offset = offsets[lease as usize];
        }
        self.program.arena_bytes[0] = arena;
        self.program
    }
}

/// Program for schedules of tiles, staging `ahead` tiles.
pub(super) fn emit(model: &Model, schedules: &[Schedule], tiles: &[(u32, u32)], banks: usize, ahead: usize) -> Emitted {
    let places = tiles.len() * 2 * model.layers;
    let [state, adjoint] = model.largest.map(|bytes| bytes * ahead as u64);
    let means = model.means_of(schedules.iter());
    let mut e = Emitter {
        model,
        schedules,
        tiles,
        banks: vec![None; banks],
        ops: Vec::with_capacity(tiles.len() * model.layers * 2),
        slots: Vec::with_capacity(places),
        lease: Vec::with_capacity(places),
        layout: Layout::new(means.spill || means.live || means.adjoint),
        here: vec![NONE; places],
        there: vec![NONE; places],
        saved: [vec![NONE; places], vec![NONE; places]],
        adjoint: vec![NONE; tiles.len() * 2],
        adjoint_there: vec![NONE; tiles.len() * 2],
        waited: Vec::new(),
        slow: vec![0; model.links.len()],
        queue: VecDeque::new(),
        queued: 0,
        cursor: Cursor::default(),
        draining: VecDeque::new(),
        drained: 0,
        window: [state, state],
        ahead,
    };
    e.lay_out_other_tiers();
    e.forward();
    let forward = std::mem::take(&mut e.ops);
    // As reserved by `Model::reserve`.
    let adjoint = if means.adjoint { adjoint } else { 0 };
    e.window = [if means.spill { state } else { 0 } + adjoint, adjoint];
    e.backward();
    e.layout.close();
    let program = Program {
        slots: e.slots,
        banks,
        forward,
        backward: e.ops,
        inside: Vec::new(),
        arena_bytes: e.slow,
        tickets: e.waited.len() as u32,
        in_use: e.layout.peak,
    };
    Emitted { program, lease: e.lease, layout: e.layout }
}

impl<'a> Emitter<'a> {
    fn index(&self, tile: usize, class: usize, layer: usize) -> usize {
        (tile * 2 + class) * self.model.layers + layer
    }

    fn schedule(&self, tile: usize) -> &'a Schedule {
        &self.schedules[self.tiles[tile].0 as usize]
    }

    fn bytes(&self, tile: usize, class: usize, adjoint: bool) -> u64 {
        let group = &self.model.groups[self.tiles[tile].1 as usize];
        if adjoint {
            group.adjoint[class]
        } else {
            group.state[class]
        }
    }

    fn segment(&self, tile: usize, layer: usize) -> Segment {
        let segments = &self.schedule(tile).segments;
        segments[segments.partition_point(|s| s.end <= layer)]
    }

    // Every tile has a region of its own in each other tier: its kept states, and one place for what passes through.
    fn lay_out_other_tiers(&mut self) {
        for tile in 0..self.tiles.len() {
            let s = self.schedule(tile);
            for class in [EDGES, ANGLES] {
                let (live, passing) = (s.live[class], self.bytes(tile, class, false));
                let (back, adjoint) = (s.adjoint[class], self.bytes(tile, class, true));
                for layer in 1..self.model.depth[class] {
                    if let Some(tier @ 1..) = s.keep[class][layer] {
                        let at = self.index(tile, class, layer);
                        self.there[at] = self.place_there(tier, passing).0;
                    }
                }
                if self.model.depth[class] < 2 {
                    continue;
                }
                let mut base = None;
                if live > 0 {
                    let room = if back == live { passing.max(adjoint) } else { passing };
                    base = Some(self.slow[live as usize]);
                    let id = self.place_there(live, passing);
                    self.slow[live as usize] += room - passing;
                    for layer in 1..self.model.depth[class] {
                        let at = self.index(tile, class, layer);
                        if self.there[at] == NONE && s.keep[class][layer] != Some(0) {
                            self.there[at] = id.0;
                        }
                    }
                }
                if back > 0 {
                    self.adjoint_there[tile * 2 + class] = match base {
                        Some(offset) if back == live => self.slot(Slot { tier: back, offset, bytes: adjoint }, 0).0,
                        _ => self.place_there(back, adjoint).0,
                    };
                }
            }
        }
    }

    fn slot(&mut self, slot: Slot, lease: u32) -> SlotId {
        self.slots.push(slot);
        self.lease.push(lease);
        SlotId(self.slots.len() as u32 - 1)
    }

    fn place_there(&mut self, tier: u8, bytes: u64) -> SlotId {
        let offset = self.slow[tier as usize];
        self.slow[tier as usize] += bytes;
        self.slot(Slot { tier, offset, bytes }, 0)
    }

    fn take(&mut self, class: usize, bytes: u64) -> SlotId {
        let lease = self.layout.take(class, bytes);
        self.slot(Slot { tier: 0, offset: 0, bytes }, lease as u32)
    }

    fn give(&mut self, slot: SlotId) {
        self.layout.give(self.lease[slot.0 as usize] as usize);
    }
}

fn state([edges, angles]: [Place; 2]) -> State {
    State { edges, angles }
}
