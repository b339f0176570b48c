//! The cheapest schedule of a tile at given prices: a shortest path over the states that start segments.

use super::model::{Group, Means, Model};
use super::schedule::{Account, Rules, Schedule, Segment, ANGLES, EDGES};

/// What bytes and seconds cost; duals of the master problem.
#[derive(Clone, Debug, Default)]
pub(super) struct Prices {
    /// Per byte of tier 0, by phase.
    pub stay: Vec<f64>,
    /// Per second of computation, by phase.
    pub compute: Vec<f64>,
    /// Per second of a copy out, by tier and phase.
    pub out: Vec<Vec<f64>>,
    /// Per second of a copy in, by tier and phase.
    pub load: Vec<Vec<f64>>,
    /// Per byte of another tier.
    pub slow: Vec<f64>,
}

/// Prices with running sums, so that a range of phases costs one subtraction.
pub(super) struct Tariff {
    stay: Vec<f64>,
    compute: Vec<f64>,
    out: Vec<Vec<f64>>,
    load: Vec<Vec<f64>>,
    slow: Vec<f64>,
}

impl From<&Prices> for Tariff {
    fn from(prices: &Prices) -> Self {
        let running = |x: &Vec<f64>| {
            let mut sums = vec![0.0; x.len() + 1];
            for (p, price) in x.iter().enumerate() {
                sums[p + 1] = sums[p] + price;
            }
            sums
        };
        Self {
            stay: running(&prices.stay),
            compute: running(&prices.compute),
            out: prices.out.iter().map(running).collect(),
            load: prices.load.iter().map(running).collect(),
            slow: prices.slow.clone(),
        }
    }
}

struct Bill<'a> {
    model: &'a Model,
    group: &'a Group,
    tariff: &'a Tariff,
    sum: f64,
}

impl Bill<'_> {
    fn bytes(&self, class: usize, adjoint: bool) -> u64 {
        if adjoint {
            self.group.adjoint[class]
        } else {
            self.group.state[class]
        }
    }
}

fn range(sums: &[f64], from: usize, to: usize) -> f64 {
    sums[to + 1] - sums[from]
}

impl Account for Bill<'_> {
    fn hold(&mut self, class: usize, from: usize, to: usize) {
        self.hold_bytes(self.group.state[class], from, to);
    }
    fn hold_bytes(&mut self, bytes: u64, from: usize, to: usize) {
        self.sum += bytes as f64 * range(&self.tariff.stay, from, to);
    }
    fn compute(&mut self, seconds: f64, from: usize, to: usize) {
        self.sum += seconds * range(&self.tariff.compute, from, to);
    }
    fn out(&mut self, class: usize, adjoint: bool, tier: u8, from: usize, to: usize) {
        let tier = tier as usize;
        self.sum += self.model.links[tier].out(self.bytes(class, adjoint)) * range(&self.tariff.out[tier], from, to);
    }
    fn load(&mut self, class: usize, adjoint: bool, tier: u8, from: usize, to: usize) {
        let tier = tier as usize;
        self.sum += self.model.links[tier].load(self.bytes(class, adjoint)) * range(&self.tariff.load[tier], from, to);
    }
    fn slow(&mut self, tier: u8, bytes: u64) {
        self.sum += bytes as f64 * self.tariff.slow[tier as usize];
    }
}

/// Ways of a whole tile: tiers through which live states and adjoints pass.
pub(super) fn ways(model: &Model, means: &Means) -> Vec<([u8; 2], [u8; 2])> {
    let tiers = model.links.len() as u8;
    let range = |allowed: bool, class: usize| 0..if allowed && model.depth[class] > 1 { tiers } else { 1 };
    let mut out = Vec::new();
    for le in range(means.live, EDGES) {
        for la in range(means.live, ANGLES) {
            for ae in range(means.adjoint, EDGES) {
                for aa in range(means.adjoint, ANGLES) {
                    out.push(([le, la], [ae, aa]));
                }
            }
        }
    }
    out
}

/// The ways among which the cheapest schedule is: adjoints pass through the cheapest tier, or stay; both only where neither is surely
/// better. What is not sure is the share of their first phase that a state frees for them, and room shared with live states.
fn hopeful(model: &Model, group: &Group, means: &Means, tariff: &Tariff) -> Vec<([u8; 2], [u8; 2])> {
    let mut keep = [Vec::new(), Vec::new()];
    for class in [EDGES, ANGLES] {
        let depth = model.depth[class];
        if !means.adjoint || depth < 2 {
            keep[class].push(0);
            continue;
        }
        let bytes = group.adjoint[class];
        let (begin, end) = (model.backward(depth - 1), model.backward(0));
        let stay = bytes as f64 * range(&tariff.stay, begin + 1, end);
        let least = stay + bytes.saturating_sub(group.state[class]) as f64 * range(&tariff.stay, begin, begin);
        let most = stay + bytes as f64 * range(&tariff.stay, begin, begin);
        let mut pass = Vec::new();
        for tier in 1..model.links.len() {
            let link = &model.links[tier];
            let copies = link.out(bytes) * range(&tariff.out[tier], begin, end - 1)
                + link.load(bytes) * range(&tariff.load[tier], begin + 1, end);
            pass.push((copies, copies + bytes as f64 * tariff.slow[tier], tier as u8));
        }
        let limit = pass.iter().map(|p| p.1).fold(most, f64::min);
        if least <= limit {
            keep[class].push(0);
        }
        keep[class].extend(pass.iter().filter(|p| p.0 <= limit).map(|p| p.2));
    }
    let all = ways(model, means);
    all.into_iter().filter(|(_, a)| keep[EDGES].contains(&a[EDGES]) && keep[ANGLES].contains(&a[ANGLES])).collect()
}

/// Costs of every piece of a schedule, for one way of a tile.
pub(super) struct Pieces<'a> {
    model: &'a Model,
    means: &'a Means,
    rules: Rules<'a>,
    tariff: &'a Tariff,
    /// Cost of the tile as a whole.
    pub tile: f64,
    /// By class, layer and tier: what a state costs before its segment is known.
    kept: [Vec<Vec<f64>>; 2],
    /// By class and layer.
    dropped: [Vec<f64>; 2],
}

impl<'a> Pieces<'a> {
    pub fn new(
        model: &'a Model,
        group: &'a Group,
        means: &'a Means,
        tariff: &'a Tariff,
        way: ([u8; 2], [u8; 2]),
    ) -> Self {
        let rules = Rules { model, group, live: way.0, adjoint: way.1 };
        let none = [Vec::new(), Vec::new()];
        let mut p = Self { model, means, rules, tariff, tile: 0.0, kept: none, dropped: [Vec::new(), Vec::new()] };
        p.tile = p.bill(|a| p.rules.tile(a));
        for class in [EDGES, ANGLES] {
            let layers = 0..model.depth[class];
            let tiers = 0..model.links.len() as u8;
            let kept = |l: usize| match l {
                0 => Vec::new(),
                _ => tiers.clone().map(|t| p.bill(|a| p.rules.kept(a, class, l, t))).collect(),
            };
            p.kept[class] = layers.clone().map(kept).collect();
            p.dropped[class] =
                layers.map(|l| if l == 0 { 0.0 } else { p.bill(|a| p.rules.dropped(a, class, l)) }).collect();
        }
        p
    }

    fn bill(&self, f: impl FnOnce(&mut Bill)) -> f64 {
        let mut a = Bill { model: self.model, group: self.rules.group, tariff: self.tariff, sum: 0.0 };
        f(&mut a);
        a.sum
    }

    fn tiers(&self, class: usize) -> impl Iterator<Item = u8> + '_ {
        let live = self.rules.live[class];
        let slow = if self.means.spill { self.model.links.len() as u8 } else { 1 };
        (0..slow).filter(move |&tier| tier == 0 || live == 0 || live == tier)
    }

    /// Options of one class of the state that starts a segment: cost and tier. None where the class has no such state.
    pub fn starts(&self, class: usize, segment: Segment) -> impl Iterator<Item = (f64, u8)> + '_ {
        let exists = segment.start > 0 && segment.start < self.model.depth[class];
        let tiers = exists.then(|| self.tiers(class)).into_iter().flatten();
        tiers.map(move |tier| {
            let there = self.kept[class][segment.start][tier as usize];
            (there + self.bill(|a| self.rules.start(a, class, segment, tier)), tier)
        })
    }

    /// Options of a state inside a segment: cost and where its edges are.
    pub fn insides(&self, layer: usize, end: usize, each: bool) -> impl Iterator<Item = (f64, Option<u8>)> + '_ {
        let angles = self.dropped[ANGLES].get(layer).copied();
        let split = (self.model.may_split() && angles.is_some()).then(|| self.tiers(EDGES)).into_iter().flatten();
        std::iter::once(None).chain(split.map(Some)).map(move |edges| {
            let there = match edges {
                None => self.dropped[EDGES][layer],
                Some(tier) => self.kept[EDGES][layer][tier as usize],
            };
            (there + angles.unwrap_or(0.0) + self.bill(|a| self.rules.inside(a, layer, end, each, edges)), edges)
        })
    }

    /// Whether states `start + 1..end` may be rebuilt, from `start` on.
    pub fn allows(&self, s: Segment) -> bool {
        s.end - s.start <= self.means.banks
            && (s.start == 0 || self.model.may_keep(s.start))
            && (s.start + 1..s.end).all(|l| self.model.may_rebuild(l))
            && (!s.each || (self.means.each && s.end > s.start + 1))
    }
}

fn least<T>(options: impl Iterator<Item = (f64, T)>) -> Option<(f64, T)> {
    options.min_by(|a, b| a.0.total_cmp(&b.0))
}

/// Cheapest segment by start and end, however long; infinite where the policy forbids it.
pub(super) fn segments(pieces: &Pieces) -> Vec<Vec<(f64, Segment)>> {
    let layers = pieces.model.layers;
    let none = Segment { start: 0, end: 0, each: false };
    // Costs inside a segment depend on its end alone.
    let mut edge = vec![vec![(f64::INFINITY, none); layers + 1]; layers];
    for end in 1..=layers {
        for each in [false, true] {
            let mut inside = 0.0;
            for start in (end.saturating_sub(pieces.means.banks)..end).rev() {
                let s = Segment { start, end, each };
                if pieces.allows(s) {
                    let starts: f64 =
                        [EDGES, ANGLES].iter().filter_map(|&c| least(pieces.starts(c, s)).map(|x| x.0)).sum();
                    if inside + starts < edge[start][end].0 {
                        edge[start][end] = (inside + starts, s);
                    }
                }
                if start == 0 || !pieces.model.may_rebuild(start) || (each && !pieces.means.each) {
                    break;
                }
                inside += least(pieces.insides(start, end, each)).map_or(0.0, |x| x.0);
            }
        }
    }
    edge
}

/// Best way from every state to the end with segments of at most `longest`: cost, and the segment that starts there.
pub(super) fn to_end(edge: &[Vec<(f64, Segment)>], longest: usize) -> Vec<(f64, Segment)> {
    let layers = edge.len();
    let mut best = vec![(f64::INFINITY, Segment { start: 0, end: 0, each: false }); layers + 1];
    best[layers].0 = 0.0;
    for start in (0..layers).rev() {
        for end in start + 1..=layers.min(start + longest) {
            let (cost, s) = edge[start][end];
            let whole = cost + best[end].0;
            if whole < best[start].0 {
                best[start] = (whole, s);
            }
        }
    }
    best
}

/// Least cost by number of banks (entry `d` with `d + 1`), otherwise with the given means.
pub(super) fn least_costs(model: &Model, group: &Group, means: &Means, tariff: &Tariff) -> Vec<f64> {
    let means = Means { banks: model.layers, ..*means };
    let mut out = vec![f64::INFINITY; model.layers];
    for way in hopeful(model, group, &means, tariff) {
        let pieces = Pieces::new(model, group, &means, tariff, way);
        let edge = segments(&pieces);
        for (d, out) in out.iter_mut().enumerate() {
            *out = out.min(pieces.tile + to_end(&edge, d + 1)[0].0);
        }
    }
    out
}

/// An empty schedule for a way.
pub(super) fn blank(model: &Model, way: ([u8; 2], [u8; 2])) -> Schedule {
    Schedule {
        keep: [vec![None; model.layers], vec![None; model.layers]],
        depth: model.depth,
        segments: Vec::new(),
        live: way.0,
        adjoint: way.1,
    }
}

/// The cheapest schedule and its cost; `None` when the policy and the means allow none.
pub(super) fn cheapest(model: &Model, group: &Group, means: &Means, tariff: &Tariff) -> Option<(f64, Schedule)> {
    let mut best: Option<(f64, Schedule)> = None;
    for way in hopeful(model, group, means, tariff) {
        let pieces = Pieces::new(model, group, means, tariff, way);
        if best.as_ref().is_some_and(|b| b.0 <= pieces.tile) {
            continue;
        }
        let to_end = to_end(&segments(&pieces), means.banks);
        let cost = pieces.tile + to_end[0].0;
        if !cost.is_finite() || best.as_ref().is_some_and(|b| b.0 <= cost) {
            continue;
        }
        let mut schedule = blank(model, way);
        let mut at = 0;
        while at < model.layers {
            let s = to_end[at].1;
            for class in [EDGES, ANGLES] {
                schedule.keep[class][at] = least(pieces.starts(class, s)).map(|x| x.1);
            }
            for layer in at + 1..s.end {
                schedule.keep[EDGES][layer] = least(pieces.insides(layer, s.end, s.each)).and_then(|x| x.1);
            }
            schedule.segments.push(s);
            at = s.end;
        }
        best = Some((cost, schedule));
    }
    best
}

/// All schedules that cost at most `limit`, `false` when there are more than `most`.
pub(super) fn all_below(
    model: &Model,
    group: &Group,
    means: &Means,
    tariff: &Tariff,
    limit: f64,
    most: usize,
) -> (Vec<(f64, Schedule)>, bool) {
    let mut found = Vec::new();
    for way in ways(model, means) {
        let pieces = Pieces::new(model, group, means, tariff, way);
        let to_end = to_end(&segments(&pieces), means.banks);
        let mut walk = Walk { pieces: &pieces, to_end: &to_end, limit, most, found: &mut found };
        if !walk.from(pieces.tile, 0, &blank(model, way)) {
            return (found, false);
        }
    }
    (found, true)
}

struct Walk<'w, 'a> {
    pieces: &'w Pieces<'a>,
    to_end: &'w [(f64, Segment)],
    limit: f64,
    most: usize,
    found: &'w mut Vec<(f64, Schedule)>,
}

impl Walk<'_, '_> {
    fn from(&mut self, cost: f64, start: usize, so_far: &Schedule) -> bool {
        let layers = self.pieces.model.layers;
        if start == layers {
            self.found.push((cost, so_far.clone()));
            return self.found.len() <= self.most;
        }
        for end in start + 1..=layers {
            for each in [false, true] {
                let s = Segment { start, end, each };
                if !self.pieces.allows(s) {
                    continue;
                }
                let [edges, angles] = [EDGES, ANGLES].map(|c| options(self.pieces.starts(c, s).collect()));
                for &(ce, e) in &edges {
                    for &(ca, a) in &angles {
                        let mut next = so_far.clone();
                        next.keep[EDGES][start] = e;
                        next.keep[ANGLES][start] = a;
                        next.segments.push(s);
                        if !self.inside(cost + ce + ca, s, start + 1, &mut next) {
                            return false;
                        }
                    }
                }
            }
        }
        true
    }

    fn inside(&mut self, cost: f64, s: Segment, layer: usize, so_far: &mut Schedule) -> bool {
        // Negative pieces do not exist: prices are not negative.
        if cost + self.to_end[s.end].0 > self.limit {
            return true;
        }
        if layer == s.end {
            return self.from(cost, s.end, so_far);
        }
        let pieces = self.pieces;
        for (c, edges) in pieces.insides(layer, s.end, s.each) {
            so_far.keep[EDGES][layer] = edges;
            if !self.inside(cost + c, s, layer + 1, so_far) {
                return false;
            }
        }
        so_far.keep[EDGES][layer] = None;
        true
    }
}

fn options(found: Vec<(f64, u8)>) -> Vec<(f64, Option<u8>)> {
    if found.is_empty() {
        vec![(0.0, None)]
    } else {
        found.into_iter().map(|(c, t)| (c, Some(t))).collect()
    }
}
