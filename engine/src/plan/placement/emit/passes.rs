//! The operations of both passes, in order.

use super::{state, Emitter, NONE};
use crate::plan::placement::program::{Op, Place, SlotId, State};
use crate::plan::placement::schedule::{Schedule, Segment, ANGLES, EDGES};

impl Emitter<'_> {
    pub(super) fn project(&mut self, layer: usize) {
        let bank = layer % self.banks.len();
        if self.banks[bank] != Some(layer) {
            self.banks[bank] = Some(layer);
            self.ops.push(Op::Project { layer });
        }
    }

    pub(super) fn forward(&mut self) {
        let (layers, depth) = (self.model.layers, self.model.depth);
        self.ops.push(Op::Geometry);
        self.restart_cursor(false);
        for layer in 0..layers {
            self.layout.phase = layer as u16;
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

    pub(super) fn after_forward(&mut self, tile: usize, class: usize, layer: usize, s: &Schedule) {
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

    pub(super) fn backward(&mut self) {
        self.restart_cursor(true);
        for layer in (0..self.model.layers).rev() {
            self.layout.phase = self.model.backward(layer) as u16;
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
            // Nodes that enter layer 0 depend on types alone: nobody asks for their adjoint.
            if layer > 0 {
                self.ops.push(Op::Clear { layer });
            }
            for tile in 0..self.tiles.len() {
                let step = (self.model.layers - 1 - layer) * self.tiles.len() + tile;
                self.backward_tile(layer, tile, step);
            }
            if layer > 0 {
                self.ops.push(Op::Finish { layer });
            }
        }
        while !self.draining.is_empty() {
            self.drain_one();
        }
    }

    pub(super) fn backward_tile(&mut self, layer: usize, tile: usize, step: usize) {
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
        self.ops.push(match layer {
            0 => Op::Assemble { tile, adjoint: state(adjoint) },
            _ => Op::Gather { layer, tile },
        });
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
    pub(super) fn input(&mut self, layer: usize, tile: usize) -> State {
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
    pub(super) fn rebuild(&mut self, layer: usize, tile: usize, step: usize) {
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
