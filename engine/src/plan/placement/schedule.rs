//! What happens to the states of one tile, and what that costs.
//!
//! The states of a tile fall into *segments*: a segment starts at a state whose edges and angles are both kept (or at state(0)) and ends
//! before the next such state. Inside a segment angles are rebuilt from the start of the segment, edges are rebuilt with them or kept.

use super::model::{Group, Model};

/// Edges.
pub const EDGES: usize = 0;
/// Angles.
pub const ANGLES: usize = 1;

/// States `start..end`; those after `start` are rebuilt, wholly or their angles only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// First state.
    pub start: usize,
    /// One past the last state.
    pub end: usize,
    /// False: rebuilt once, when the backward pass enters, and held. True: rebuilt from the start for every layer.
    pub each: bool,
}

/// The schedule of a tile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// By class and layer: the tier where the state waits for the backward pass, `None` where it is rebuilt (or does not exist).
    pub keep: [Vec<Option<u8>>; 2],
    /// By class: number of layers that read it; states `1..depth` exist.
    pub depth: [usize; 2],
    /// Segments in ascending order; they cover all layers.
    pub segments: Vec<Segment>,
    /// By class: the tier through which the live state passes from layer to layer (0: it stays).
    pub live: [u8; 2],
    /// By class: the tier through which the adjoint passes from layer to layer (0: it stays).
    pub adjoint: [u8; 2],
}

/// Takes note of what a schedule uses. Phases are inclusive.
pub(super) trait Account {
    /// A state of the class stays in tier 0.
    fn hold(&mut self, class: usize, from: usize, to: usize);
    /// An adjoint (or this many bytes of one) stays in tier 0.
    fn hold_bytes(&mut self, bytes: u64, from: usize, to: usize);
    /// Seconds of work beyond the forward and backward layers, in each of the phases.
    fn compute(&mut self, seconds: f64, from: usize, to: usize);
    /// A copy out in each of the phases; `adjoint` tells the size.
    fn out(&mut self, class: usize, adjoint: bool, tier: u8, from: usize, to: usize);
    /// A copy in, likewise.
    fn load(&mut self, class: usize, adjoint: bool, tier: u8, from: usize, to: usize);
    /// Bytes of another tier.
    fn slow(&mut self, tier: u8, bytes: u64);
}

/// The rules, written once for prices and for quantities.
pub(super) struct Rules<'a> {
    /// Model.
    pub model: &'a Model,
    /// Size class of the tile.
    pub group: &'a Group,
    /// See [`Schedule::live`].
    pub live: [u8; 2],
    /// See [`Schedule::adjoint`].
    pub adjoint: [u8; 2],
}

impl Rules<'_> {
    fn last(&self, class: usize, layer: usize) -> bool {
        layer + 1 == self.model.depth[class]
    }

    /// A live state that is not kept in tier 0: in a phase one output is counted for every tile, in the last also its input.
    fn passes(&self, a: &mut impl Account, class: usize, layer: usize) {
        a.hold(class, layer - 1, if self.last(class, layer) { layer } else { layer - 1 });
    }

    fn starts_adjoint(&self, a: &mut impl Account, class: usize, layer: usize, kept_here: bool) {
        if self.last(class, layer) && self.adjoint[class] == 0 {
            let phase = self.model.backward(layer);
            let freed = if kept_here { self.group.state[class] } else { 0 };
            a.hold_bytes(self.group.adjoint[class].saturating_sub(freed), phase, phase);
        }
    }

    /// A kept state up to the backward pass.
    pub fn kept(&self, a: &mut impl Account, class: usize, layer: usize, tier: u8) {
        self.starts_adjoint(a, class, layer, tier == 0);
        if tier == 0 {
            return a.hold(class, layer - 1, self.model.backward(layer));
        }
        a.out(class, false, tier, layer - 1, layer - 1);
        a.slow(tier, self.group.state[class]);
        if self.live[class] == 0 {
            self.passes(a, class, layer);
        } else {
            a.load(class, false, tier, layer, layer);
        }
    }

    /// A rebuilt state up to the backward pass.
    pub fn dropped(&self, a: &mut impl Account, class: usize, layer: usize) {
        self.starts_adjoint(a, class, layer, false);
        match self.live[class] {
            0 => self.passes(a, class, layer),
            tier => {
                a.out(class, false, tier, layer - 1, layer - 1);
                a.load(class, false, tier, layer, layer);
            }
        }
    }

    /// A class of the state that starts a segment, in the backward pass.
    pub fn start(&self, a: &mut impl Account, class: usize, segment: Segment, tier: u8) {
        let Segment { start, end, each } = segment;
        let own = self.model.backward(start);
        if tier == 0 {
            return;
        }
        if end > start + 1 && !each {
            let entry = self.model.backward(end - 1);
            a.load(class, false, tier, entry, entry);
            return a.hold(class, entry, own);
        }
        a.load(class, false, tier, self.model.backward(end - 1), own);
    }

    /// A state inside a segment that ends at `end`, in the backward pass.
    pub fn inside(&self, a: &mut impl Account, layer: usize, end: usize, each: bool, edges: Option<u8>) {
        let (entry, own) = (self.model.backward(end - 1), self.model.backward(layer));
        let last = if each { own } else { entry };
        let held = layer + 1 < end && !each;
        let seconds = match edges {
            None => self.group.rebuild[layer - 1],
            Some(_) => self.group.rebuild_angles[layer - 1],
        };
        a.compute(seconds, entry, last);
        if let Some(tier @ 1..) = edges {
            a.load(EDGES, false, tier, entry, last);
        }
        if held && edges != Some(0) {
            a.hold(EDGES, entry, own);
        }
        if held && layer < self.model.depth[ANGLES] {
            a.hold(ANGLES, entry, own);
        }
    }

    /// What does not depend on a layer: adjoints after their start, room for what passes through a tier.
    pub fn tile(&self, a: &mut impl Account) {
        let end = 2 * self.model.layers - 1;
        for class in [EDGES, ANGLES] {
            let depth = self.model.depth[class];
            if depth == 0 {
                continue;
            }
            let bytes = self.group.adjoint[class];
            let begin = self.model.backward(depth - 1);
            if depth == 1 {
                self.starts_adjoint(a, class, 0, false);
            }
            let tier = self.adjoint[class];
            if tier == 0 && begin < end {
                a.hold_bytes(bytes, begin + 1, end);
            }
            if tier > 0 && begin < end {
                a.out(class, true, tier, begin, end - 1);
                a.load(class, true, tier, begin + 1, end);
            }
            let passing = if self.live[class] > 0 && depth > 1 { self.group.state[class] } else { 0 };
            let adjoint = if tier > 0 && depth > 1 { bytes } else { 0 };
            if passing > 0 && adjoint > 0 && self.live[class] == tier {
                a.slow(tier, passing.max(adjoint));
            } else {
                if passing > 0 {
                    a.slow(self.live[class], passing);
                }
                if adjoint > 0 {
                    a.slow(tier, adjoint);
                }
            }
        }
    }
}

/// What a schedule uses, by phase; copies by tier (index 0 is unused), then phase.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Resources {
    /// Bytes of tier 0 that stay across a phase (the larger of before and after).
    pub stay: Vec<f64>,
    /// s of rebuilding.
    pub compute: Vec<f64>,
    /// s of copies out.
    pub out: Vec<Vec<f64>>,
    /// s of copies in.
    pub load: Vec<Vec<f64>>,
    /// Bytes of other tiers.
    pub slow: Vec<f64>,
    /// Bytes copied out, by tier.
    pub out_bytes: Vec<f64>,
    /// Bytes copied in, by tier.
    pub load_bytes: Vec<f64>,
}

impl Resources {
    /// Nothing.
    pub fn none(model: &Model) -> Self {
        let (phases, tiers) = (2 * model.layers, model.links.len());
        Self {
            stay: vec![0.0; phases],
            compute: vec![0.0; phases],
            out: vec![vec![0.0; phases]; tiers],
            load: vec![vec![0.0; phases]; tiers],
            slow: vec![0.0; tiers],
            out_bytes: vec![0.0; tiers],
            load_bytes: vec![0.0; tiers],
        }
    }

    /// Adds those of `times` tiles.
    pub fn add(&mut self, other: &Self, times: f64) {
        let each = |x: &mut [f64], y: &[f64]| x.iter_mut().zip(y).for_each(|(x, y)| *x += times * y);
        each(&mut self.stay, &other.stay);
        each(&mut self.compute, &other.compute);
        each(&mut self.slow, &other.slow);
        each(&mut self.out_bytes, &other.out_bytes);
        each(&mut self.load_bytes, &other.load_bytes);
        for k in 0..self.out.len() {
            each(&mut self.out[k], &other.out[k]);
            each(&mut self.load[k], &other.load[k]);
        }
    }
}

struct Quantities<'a> {
    model: &'a Model,
    group: &'a Group,
    r: Resources,
}

impl Quantities<'_> {
    fn bytes(&self, class: usize, adjoint: bool) -> u64 {
        if adjoint {
            self.group.adjoint[class]
        } else {
            self.group.state[class]
        }
    }
}

impl Account for Quantities<'_> {
    fn hold(&mut self, class: usize, from: usize, to: usize) {
        self.hold_bytes(self.group.state[class], from, to);
    }
    fn hold_bytes(&mut self, bytes: u64, from: usize, to: usize) {
        for x in &mut self.r.stay[from..=to] {
            *x += bytes as f64;
        }
    }
    fn compute(&mut self, seconds: f64, from: usize, to: usize) {
        for x in &mut self.r.compute[from..=to] {
            *x += seconds;
        }
    }
    fn out(&mut self, class: usize, adjoint: bool, tier: u8, from: usize, to: usize) {
        let (tier, bytes) = (tier as usize, self.bytes(class, adjoint));
        for x in &mut self.r.out[tier][from..=to] {
            *x += self.model.links[tier].out(bytes);
            self.r.out_bytes[tier] += bytes as f64;
        }
    }
    fn load(&mut self, class: usize, adjoint: bool, tier: u8, from: usize, to: usize) {
        let (tier, bytes) = (tier as usize, self.bytes(class, adjoint));
        for x in &mut self.r.load[tier][from..=to] {
            *x += self.model.links[tier].load(bytes);
            self.r.load_bytes[tier] += bytes as f64;
        }
    }
    fn slow(&mut self, tier: u8, bytes: u64) {
        self.r.slow[tier as usize] += bytes as f64;
    }
}

impl Schedule {
    /// What the schedule uses on a tile of a size class.
    pub(super) fn resources(&self, model: &Model, group: &Group) -> Resources {
        let mut a = Quantities { model, group, r: Resources::none(model) };
        let rules = Rules { model, group, live: self.live, adjoint: self.adjoint };
        rules.tile(&mut a);
        for &segment in &self.segments {
            for class in [EDGES, ANGLES] {
                if segment.start > 0 && segment.start < model.depth[class] {
                    let tier = self.keep[class][segment.start].unwrap_or(0);
                    rules.kept(&mut a, class, segment.start, tier);
                    rules.start(&mut a, class, segment, tier);
                }
            }
            for layer in segment.start + 1..segment.end {
                let edges = self.keep[EDGES][layer];
                rules.inside(&mut a, layer, segment.end, segment.each, edges);
                match edges {
                    None => rules.dropped(&mut a, EDGES, layer),
                    Some(tier) => rules.kept(&mut a, EDGES, layer, tier),
                }
                if layer < model.depth[ANGLES] {
                    rules.dropped(&mut a, ANGLES, layer);
                }
            }
        }
        a.r
    }
}
