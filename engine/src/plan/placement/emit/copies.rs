//! Copies: what a step needs from elsewhere, started ahead of time; what leaves, and the slots it leaves behind.

use super::{Cursor, Emitter, Item, NONE};
use crate::plan::placement::program::{Op, SlotId, Ticket};
use crate::plan::placement::schedule::{Segment, ANGLES, EDGES};

impl Emitter<'_> {
    pub(super) fn ticket(&mut self) -> Ticket {
        self.waited.push(false);
        self.waited.len() as u32 - 1
    }

    pub(super) fn wait(&mut self, ticket: Ticket) {
        if !std::mem::replace(&mut self.waited[ticket as usize], true) {
            self.ops.push(Op::Wait { ticket });
        }
    }

    pub(super) fn save(&mut self, from: SlotId, to: u32) -> Ticket {
        let ticket = self.ticket();
        self.ops.push(Op::Save { from, to: SlotId(to), ticket });
        ticket
    }

    /// Frees a slot when its copy out is done, later.
    pub(super) fn drain(&mut self, slot: SlotId, ticket: Ticket) {
        let bytes = self.slots[slot.0 as usize].bytes;
        self.draining.push_back((slot, ticket, bytes));
        self.drained += bytes;
        while self.drained > self.window[1] {
            self.drain_one();
        }
    }

    pub(super) fn drain_one(&mut self) {
        if let Some((slot, ticket, bytes)) = self.draining.pop_front() {
            self.wait(ticket);
            self.drained -= bytes;
            self.give(slot);
        }
    }

    /// What a step copies in, in order of first use.
    pub(super) fn items(&self, backward: bool, step: usize, out: &mut Vec<Item>) {
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

    pub(super) fn issue(&mut self, item: Item) {
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
    pub(super) fn look_ahead(&mut self, now: usize) {
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

    pub(super) fn restart_cursor(&mut self, backward: bool) {
        let mut items = std::mem::take(&mut self.cursor.items);
        self.items(backward, 0, &mut items);
        self.cursor = Cursor { backward, step: 0, items, next: 0 };
    }

    /// Waits for a copy in, which is the oldest under way or, for want of room, not yet started.
    pub(super) fn fetch(&mut self, tile: usize, class: usize, layer: usize, adjoint: bool) -> SlotId {
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
}
