//! From schedules to a program: operations in order, copies placed so that they run beside the computation, slots with offsets.

use super::layout::Layout;
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
    lease: Vec<usize>,
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

/// Program for schedules of tiles, staging `ahead` tiles.
pub(super) fn emit(model: &Model, schedules: &[Schedule], tiles: &[(u32, u32)], banks: usize, ahead: usize) -> Program {
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
        layout: Layout::default(),
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
    let (offsets, arena) = e.layout.finish();
    for (slot, &lease) in e.slots.iter_mut().zip(&e.lease).filter(|(slot, _)| slot.tier == 0) {
        slot.offset = offsets[lease];
    }
    e.slow[0] = arena;
    Program { slots: e.slots, banks, forward, backward: e.ops, arena_bytes: e.slow, tickets: e.waited.len() as u32 }
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

    fn slot(&mut self, slot: Slot, lease: usize) -> SlotId {
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
        self.slot(Slot { tier: 0, offset: 0, bytes }, lease)
    }

    fn give(&mut self, slot: SlotId) {
        self.layout.give(self.lease[slot.0 as usize]);
    }

    fn ticket(&mut self) -> Ticket {
        self.waited.push(false);
        self.waited.len() as u32 - 1
    }

    fn wait(&mut self, ticket: Ticket) {
        if !std::mem::replace(&mut self.waited[ticket as usize], true) {
            self.ops.push(Op::Wait { ticket });
        }
    }

    fn save(&mut self, from: SlotId, to: u32) -> Ticket {
        let ticket = self.ticket();
        self.ops.push(Op::Save { from, to: SlotId(to), ticket });
        ticket
    }

    /// Frees a slot when its copy out is done, later.
    fn drain(&mut self, slot: SlotId, ticket: Ticket) {
        let bytes = self.slots[slot.0 as usize].bytes;
        self.draining.push_back((slot, ticket, bytes));
        self.drained += bytes;
        while self.drained > self.window[1] {
            self.drain_one();
        }
    }

    fn drain_one(&mut self) {
        if let Some((slot, ticket, bytes)) = self.draining.pop_front() {
            self.wait(ticket);
            self.drained -= bytes;
            self.give(slot);
        }
    }

    /// What a step copies in, in order of first use.
    fn items(&self, backward: bool, step: usize, out: &mut Vec<Item>) {
        let count = self.tiles.len();
        let (tile, round) = (step % count, step / count);
        let s = self.schedule(tile);
        out.clear();
        let depth = self.model.depth;
        let item = |class, layer, adjoint| Item { tile, class, layer, adjoint };
        let elsewhere = |class: usize, layer: usize| s.keep[class][layer].is_some_and(|k| k > 0);
        if !backward {
            let layer = round;
            for class in [EDGES, ANGLES] {
                let passes = layer > 0 && layer < depth[class] && s.live[class] > 0;
                if passes && s.keep[class][layer] != Some(0) {
                    out.push(item(class, layer, false));
                }
            }
            return;
        }
        let layer = self.model.layers - 1 - round;
        let Segment { start, end, each } = self.segment(tile, layer);
        let entry = layer + 1 == end;
        if each || entry {
            for class in [EDGES, ANGLES] {
                if elsewhere(class, start) {
                    out.push(item(class, start, false));
                }
            }
            for inside in start + 1..=layer {
                if elsewhere(EDGES, inside) {
                    out.push(item(EDGES, inside, false));
                }
            }
        }
        for class in [EDGES, ANGLES] {
            if s.adjoint[class] > 0 && layer + 1 < depth[class] {
                out.push(item(class, layer + 1, true));
            }
        }
    }

    fn issue(&mut self, item: Item) {
        let Item { tile, class, layer, adjoint } = item;
        let at = self.index(tile, class, layer);
        let from = if adjoint { self.adjoint_there[tile * 2 + class] } else { self.there[at] };
        self.wait(self.saved[usize::from(adjoint)][at]);
        let bytes = self.bytes(tile, class, adjoint);
        let to = self.take(class, bytes);
        let ticket = self.ticket();
        self.ops.push(Op::Load { from: SlotId(from), to, ticket });
        self.queue.push_back((item, to, ticket, bytes));
        self.queued += bytes;
    }

    /// Starts copies in for coming operations, as far as there is room for them and they were saved.
    fn look_ahead(&mut self, now: usize) {
        let steps = self.tiles.len() * self.model.layers;
        let mut items = std::mem::take(&mut self.cursor.items);
        loop {
            while self.cursor.next >= items.len() && self.cursor.step + 1 < steps {
                self.cursor.step += 1;
                self.cursor.next = 0;
                self.items(self.cursor.backward, self.cursor.step, &mut items);
            }
            let Some(&item) = items.get(self.cursor.next) else { break };
            let bytes = self.bytes(item.tile, item.class, item.adjoint);
            let at = self.index(item.tile, item.class, item.layer);
            let saved = self.saved[usize::from(item.adjoint)][at];
            let soon = self.cursor.step <= now + self.ahead;
            if self.queued + bytes > self.window[0] || saved == NONE || !(soon || self.waited[saved as usize]) {
                break;
            }
            self.issue(item);
            self.cursor.next += 1;
        }
        self.cursor.items = items;
    }

    fn restart_cursor(&mut self, backward: bool) {
        let mut items = std::mem::take(&mut self.cursor.items);
        self.items(backward, 0, &mut items);
        self.cursor = Cursor { backward, step: 0, items, next: 0 };
    }

    /// Waits for a copy in, which is the oldest under way or, for want of room, not yet started.
    fn fetch(&mut self, tile: usize, class: usize, layer: usize, adjoint: bool) -> SlotId {
        if self.queue.is_empty() {
            let item = self.cursor.items[self.cursor.next];
            self.cursor.next += 1;
            self.issue(item);
        }
        let (item, slot, ticket, bytes) = self.queue.pop_front().expect("just filled");
        assert_eq!((item.tile, item.class, item.layer, item.adjoint), (tile, class, layer, adjoint), "order of copies");
        self.queued -= bytes;
        self.wait(ticket);
        slot
    }

    fn project(&mut self, layer: usize) {
        let bank = layer % self.banks.len();
        if self.banks[bank] != Some(layer) {
            self.banks[bank] = Some(layer);
            self.ops.push(Op::Project { layer });
        }
    }

    fn forward(&mut self) {
        let (layers, depth) = (self.model.layers, self.model.depth);
        self.ops.push(Op::Geometry);
        self.restart_cursor(false);
        for layer in 0..layers {
            self.project(layer);
            for tile in 0..self.tiles.len() {
                self.look_ahead(layer * self.tiles.len() + tile);
                let s = self.schedule(tile);
                let mut input = [Place::None; 2];
                let mut output = [Place::None; 2];
                for class in [EDGES, ANGLES] {
                    if layer == 0 && depth[class] > 0 {
                        input[class] = Place::Initial;
                    } else if layer < depth[class] {
                        let at = self.index(tile, class, layer);
                        if s.live[class] > 0 && s.keep[class][layer] != Some(0) {
                            self.here[at] = self.fetch(tile, class, layer, false).0;
                        }
                        input[class] = Place::Slot(SlotId(self.here[at]));
                    }
                }
                for class in [EDGES, ANGLES] {
                    if layer + 1 < depth[class] {
                        let slot = self.take(class, self.bytes(tile, class, false));
                        let at = self.index(tile, class, layer + 1);
                        self.here[at] = slot.0;
                        output[class] = Place::Slot(slot);
                    }
                }
                self.ops.push(Op::Forward { layer, tile, input: state(input), output: state(output) });
                for class in [EDGES, ANGLES] {
                    self.after_forward(tile, class, layer, s);
                }
            }
        }
        while !self.draining.is_empty() {
            self.drain_one();
        }
        self.ops.push(Op::Fit);
    }

    fn after_forward(&mut self, tile: usize, class: usize, layer: usize, s: &Schedule) {
        let depth = self.model.depth[class];
        if layer > 0 && layer < depth && s.keep[class][layer] != Some(0) {
            let at = self.index(tile, class, layer);
            if self.saved[0][at] != NONE {
                self.wait(self.saved[0][at]);
            }
            self.give(SlotId(self.here[at]));
            self.here[at] = NONE;
        }
        if layer + 1 < depth && s.keep[class][layer + 1] != Some(0) {
            let at = self.index(tile, class, layer + 1);
            if self.there[at] != NONE {
                let slot = SlotId(self.here[at]);
                self.saved[0][at] = self.save(slot, self.there[at]);
                if s.live[class] > 0 {
                    self.here[at] = NONE;
                    self.drain(slot, self.saved[0][at]);
                }
            }
        }
    }

    fn backward(&mut self) {
        self.restart_cursor(true);
        for layer in (0..self.model.layers).rev() {
            let rebuilt_from = |s: &Segment| {
                let rebuilds = s.start < layer && (s.each || layer + 1 == s.end);
                if rebuilds {
                    s.start
                } else {
                    layer
                }
            };
            let from = (self.schedules.iter())
                .flat_map(|s| s.segments.iter().filter(|s| s.start <= layer && layer < s.end))
                .map(rebuilt_from)
                .min();
            for needed in from.unwrap_or(layer)..=layer {
                self.project(needed);
            }
            self.ops.push(Op::Clear { layer });
            for tile in 0..self.tiles.len() {
                let step = (self.model.layers - 1 - layer) * self.tiles.len() + tile;
                self.backward_tile(layer, tile, step);
            }
            self.ops.push(Op::Finish { layer });
        }
        while !self.draining.is_empty() {
            self.drain_one();
        }
    }

    fn backward_tile(&mut self, layer: usize, tile: usize, step: usize) {
        self.look_ahead(step);
        let depth = self.model.depth;
        self.rebuild(layer, tile, step);
        let input = self.input(layer, tile);
        let mut adjoint = [Place::None; 2];
        let s = self.schedule(tile);
        for class in [EDGES, ANGLES] {
            if layer >= depth[class] {
                continue;
            }
            let own = tile * 2 + class;
            if layer + 1 == depth[class] {
                self.adjoint[own] = self.take(class, self.bytes(tile, class, true)).0;
            } else if s.adjoint[class] > 0 {
                self.adjoint[own] = self.fetch(tile, class, layer + 1, true).0;
            }
            adjoint[class] = Place::Slot(SlotId(self.adjoint[own]));
        }
        self.ops.push(Op::Backward { layer, tile, input, adjoint: state(adjoint) });
        self.ops.push(Op::Gather { layer, tile });
        if layer == 0 {
            self.ops.push(Op::Assemble { tile, adjoint: state(adjoint) });
        }
        for class in [EDGES, ANGLES] {
            if layer >= depth[class] {
                continue;
            }
            if layer > 0 {
                let at = self.index(tile, class, layer);
                self.give(SlotId(self.here[at]));
                self.here[at] = NONE;
            }
            let slot = SlotId(self.adjoint[tile * 2 + class]);
            if layer == 0 {
                self.give(slot);
            } else if s.adjoint[class] > 0 {
                let ticket = self.save(slot, self.adjoint_there[tile * 2 + class]);
                let at = self.index(tile, class, layer);
                self.saved[1][at] = ticket;
                self.drain(slot, ticket);
            }
        }
    }

    /// The slots of a state, copied in where they are elsewhere.
    fn input(&mut self, layer: usize, tile: usize) -> State {
        let mut input = [Place::None; 2];
        for class in [EDGES, ANGLES] {
            if layer == 0 && self.model.depth[class] > 0 {
                input[class] = Place::Initial;
            } else if layer < self.model.depth[class] {
                let at = self.index(tile, class, layer);
                if self.here[at] == NONE {
                    self.here[at] = self.fetch(tile, class, layer, false).0;
                }
                input[class] = Place::Slot(SlotId(self.here[at]));
            }
        }
        state(input)
    }

    /// Makes the states of a tile that its layer needs, if they are rebuilt now.
    fn rebuild(&mut self, layer: usize, tile: usize, step: usize) {
        let Segment { start, end, each } = self.segment(tile, layer);
        if layer == start || !(each || layer + 1 == end) {
            return;
        }
        let s = self.schedule(tile);
        for from in start..layer {
            let input = self.input(from, tile);
            let mut output = [Place::None; 2];
            for class in [EDGES, ANGLES] {
                if from + 1 < self.model.depth[class] && s.keep[class][from + 1].is_none() {
                    let slot = self.take(class, self.bytes(tile, class, false));
                    let at = self.index(tile, class, from + 1);
                    self.here[at] = slot.0;
                    output[class] = Place::Slot(slot);
                }
            }
            self.ops.push(Op::Rebuild { layer: from, tile, input, output: state(output) });
            if each && from > 0 {
                for class in [EDGES, ANGLES] {
                    if from < self.model.depth[class] && s.keep[class][from] != Some(0) {
                        let at = self.index(tile, class, from);
                        self.give(SlotId(self.here[at]));
                        self.here[at] = NONE;
                    }
                }
            }
            self.look_ahead(step);
        }
    }
}

fn state([edges, angles]: [Place; 2]) -> State {
    State { edges, angles }
}
