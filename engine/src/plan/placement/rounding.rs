//! From fractions of tiles to whole tiles: largest remainders, repair, then exchanges while they help; for a few tiles, the best of all.

use super::master::{Candidate, Relaxed};
use super::model::{Means, Model};
use super::price::{all_below, Tariff};
use super::schedule::Resources;

/// Candidates that a size class exchanges between.
const TARGETS: usize = 40;
/// Exchanges at most.
const EXCHANGES: usize = 200;
/// Bytes above capacities that are none.
const FITS: f64 = 0.5;

/// Sums over tiles, and what they take. One row of numbers: bytes that stay, rebuilding by phase, copies out and in by tier and phase,
/// bytes of other tiers.
#[derive(Clone, Debug)]
pub(super) struct Totals<'a> {
    model: &'a Model,
    constant: &'a [f64],
    room: f64,
    sum: Vec<f64>,
}

/// The row of one tile.
fn flat(r: &Resources) -> Vec<f64> {
    let copies = (1..r.out.len()).flat_map(|k| r.out[k].iter().chain(&r.load[k]));
    r.stay.iter().chain(&r.compute).chain(copies).chain(r.slow.iter().skip(1)).copied().collect()
}

fn add(sum: &mut [f64], row: &[f64], times: f64) {
    sum.iter_mut().zip(row).for_each(|(x, y)| *x += times * y);
}

impl<'a> Totals<'a> {
    pub fn new(model: &'a Model, constant: &'a [f64], room: f64) -> Self {
        let (phases, slow) = (2 * model.layers, model.links.len() - 1);
        Self { model, constant, room, sum: vec![0.0; phases * (2 + 2 * slow) + slow] }
    }

    pub fn add(&mut self, r: &Resources, times: f64) {
        add(&mut self.sum, &flat(r), times);
    }

    /// s of each phase.
    pub fn phases(&self) -> Vec<f64> {
        (0..self.constant.len()).map(|p| self.phase(|at| self.sum[at], p)).collect()
    }

    fn phase(&self, get: impl Fn(usize) -> f64, p: usize) -> f64 {
        let phases = self.constant.len();
        let mut work = self.constant[p] + get(phases + p);
        let mut longest = 0.0f64;
        for (k, link) in self.model.links.iter().enumerate().skip(1) {
            let (o, i) = (get(2 * k * phases + p), get((2 * k + 1) * phases + p));
            work += link.drag * (o + i);
            longest = longest.max(o + link.cross * i).max(i + link.cross * o);
        }
        work.max(longest)
    }

    /// Seconds, and bytes above a capacity summed over phases and tiers.
    fn takes(&self, get: impl Fn(usize) -> f64 + Copy) -> (f64, f64) {
        let phases = self.constant.len();
        let mut seconds = 0.0;
        let mut over = 0.0;
        for p in 0..phases {
            seconds += self.phase(get, p);
            over += (get(p) - self.room).max(0.0);
        }
        for k in 1..self.model.links.len() {
            let at = phases * 2 * self.model.links.len() + k - 1;
            over += (get(at) - self.model.capacity[k] as f64).max(0.0);
        }
        (seconds, over)
    }

    fn now(&self) -> (f64, f64) {
        self.takes(|at| self.sum[at])
    }

    fn after(&self, less: &[f64], more: &[f64]) -> (f64, f64) {
        self.takes(|at| self.sum[at] - less[at] + more[at])
    }

    /// Seconds of the step.
    pub fn seconds(&self) -> f64 {
        self.now().0
    }

    /// Whether every capacity holds, in bytes.
    pub fn fits(&self) -> bool {
        self.now().1 < FITS
    }
}

/// Whole numbers of tiles by candidate of the pool and their seconds, if a fitting choice is found.
pub(super) fn round(
    model: &Model,
    constant: &[f64],
    room: f64,
    pool: &[Candidate],
    allowed: &[bool],
    relaxed: &Relaxed,
) -> Option<(f64, Vec<u32>)> {
    let mut counts = vec![0u32; pool.len()];
    for (g, group) in model.groups.iter().enumerate() {
        let mut left = group.members.len() as u32;
        let mut rest = Vec::new();
        for (at, c) in pool.iter().enumerate().filter(|(at, c)| c.group == g && allowed[*at]) {
            let x = relaxed.tiles.get(at).copied().unwrap_or(0.0);
            let whole = ((x + 1e-6).floor() as u32).min(left);
            counts[at] = whole;
            left -= whole;
            rest.push((x - whole as f64, at, c.group));
        }
        rest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        if rest.is_empty() {
            return None;
        }
        for &(_, at, _) in rest.iter().cycle().take(left as usize) {
            counts[at] += 1;
        }
    }
    let mut totals = Totals::new(model, constant, room);
    for (c, &n) in pool.iter().zip(&counts) {
        if n > 0 {
            totals.add(&c.resources, n as f64);
        }
    }
    exchange(&mut totals, model, pool, allowed, relaxed, &mut counts);
    totals.fits().then(|| (totals.seconds(), counts))
}

fn exchange(
    totals: &mut Totals,
    model: &Model,
    pool: &[Candidate],
    allowed: &[bool],
    relaxed: &Relaxed,
    counts: &mut [u32],
) {
    let price = |r: &Resources| dot(model, r, relaxed);
    let mut targets: Vec<Vec<usize>> = Vec::new();
    for g in 0..model.groups.len() {
        let mut of: Vec<(f64, usize)> = (0..pool.len())
            .filter(|&at| pool[at].group == g && allowed[at])
            .map(|at| (price(&pool[at].resources), at))
            .collect();
        of.sort_by(|a, b| a.0.total_cmp(&b.0));
        of.truncate(TARGETS);
        targets.push(of.into_iter().map(|x| x.1).collect());
    }
    let unit = model.largest.iter().sum::<u64>().max(1) as f64;
    // A tile too many costs more than any choice can save: beside a fast device copies may take a thousand times what the computation does.
    let scale = totals.constant.iter().sum::<f64>() + slowest(model, pool, allowed);
    let score = |(seconds, over): (f64, f64)| seconds + scale * over / unit;
    let rows: Vec<Vec<f64>> = pool.iter().map(|c| flat(&c.resources)).collect();
    // What fits is better than what does not, whatever it costs.
    let key = |takes: (f64, f64)| if takes.1 < FITS { (false, takes.0) } else { (true, score(takes)) };
    let mut now = key(totals.now());
    for _ in 0..EXCHANGES {
        let mut best = ((now.0, now.1 - 1e-9 * now.1.abs()), 0, 0);
        for from in (0..pool.len()).filter(|&at| counts[at] > 0) {
            for &to in &targets[pool[from].group] {
                if from != to {
                    let k = key(totals.after(&rows[from], &rows[to]));
                    if k < best.0 {
                        best = (k, from, to);
                    }
                }
            }
        }
        let (k, from, to) = best;
        if from == to {
            return;
        }
        add(&mut totals.sum, &rows[from], -1.0);
        add(&mut totals.sum, &rows[to], 1.0);
        counts[from] -= 1;
        counts[to] += 1;
        now = k;
    }
}

/// Seconds of the slowest schedules of all tiles, one after another.
fn slowest(model: &Model, pool: &[Candidate], allowed: &[bool]) -> f64 {
    let mut most = vec![0.0f64; model.groups.len()];
    for (c, _) in pool.iter().zip(allowed).filter(|(_, allowed)| **allowed) {
        let r = &c.resources;
        let copies = r.out.iter().chain(&r.load).flatten();
        most[c.group] = most[c.group].max(r.compute.iter().chain(copies).sum());
    }
    model.groups.iter().zip(most).map(|(g, seconds)| g.members.len() as f64 * seconds).sum()
}

fn dot(model: &Model, r: &Resources, relaxed: &Relaxed) -> f64 {
    let p = &relaxed.prices;
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut out = sum(&r.stay, &p.stay) + sum(&r.compute, &p.compute) + sum(&r.slow, &p.slow);
    for k in 1..model.links.len() {
        out += sum(&r.out[k], &p.out[k]) + sum(&r.load[k], &p.load[k]);
    }
    out
}

/// Limits of the search over all schedules: a second or two for the hardest of 120 random problems of 4 tiles and 5 layers.
const COLUMNS: usize = 40_000;
const NODES: usize = 8_000_000;

/// The best choice of whole tiles with these means, if one is faster than `best` seconds: every choice whose Lagrangian cost is
/// below the best known is looked at. `Err` when there are too many to look at.
pub(super) fn exact(
    model: &Model,
    means: &Means,
    constant: &[f64],
    room: f64,
    relaxed: &Relaxed,
    bound: f64,
    best: f64,
) -> Result<Option<(f64, Vec<Candidate>)>, ()> {
    let tariff = Tariff::from(&relaxed.prices);
    // Close to the bound first: the search grows with the fourth power of the gap, and what it finds lowers the rest.
    let mut gap = if best.is_finite() { (best - bound).min(0.01 * bound) } else { 0.01 * bound } / 16.0;
    let mut found: Option<(f64, Vec<Candidate>)> = None;
    loop {
        let know = found.as_ref().map_or(best, |f| f.0);
        gap = gap.min(know - bound);
        if gap < 0.0 {
            return Ok(found);
        }
        let mut columns = Vec::new();
        for (g, group) in model.groups.iter().enumerate() {
            let least = super::price::cheapest(model, group, means, &tariff).ok_or(())?.0;
            let (list, complete) = all_below(model, group, means, &tariff, least + gap + 1e-9 * bound, COLUMNS);
            if !complete {
                return Err(());
            }
            let of: Vec<Column> = list
                .into_iter()
                .map(|(cost, schedule)| {
                    let resources = schedule.resources(model, group);
                    let row = flat(&resources);
                    Column {
                        cost: (cost - least).max(0.0),
                        row,
                        candidate: Candidate { group: g, schedule, resources, useful: true },
                    }
                })
                .collect();
            columns.push(undominated(of));
        }
        let order: Vec<usize> = model.groups.iter().enumerate().flat_map(|(g, x)| vec![g; x.members.len()]).collect();
        let least: Vec<Vec<f64>> = columns.iter().map(|of| lower(of)).collect();
        let totals = Totals::new(model, constant, room);
        let mut sums = vec![totals.sum.clone(); order.len() + 1];
        for &g in &order {
            add(&mut sums[0], &least[g], 1.0);
        }
        let mut search = Search {
            columns: &columns,
            order,
            least,
            totals,
            sums,
            gap,
            best: know,
            chosen: Vec::new(),
            answer: None,
            nodes: 0,
        };
        search.go(0.0);
        if search.nodes > NODES {
            return Err(());
        }
        if let Some(answer) = search.answer {
            found = Some((search.best, answer.into_iter().map(|(g, at)| columns[g][at].candidate.clone()).collect()));
        }
        // Everything up to `bound + gap` was seen.
        if found.as_ref().map_or(best, |f| f.0) <= bound + gap {
            return Ok(found);
        }
        if !best.is_finite() && found.is_none() && gap > 1e6 * bound {
            return Ok(None);
        }
        gap *= 4.0;
    }
}

/// A schedule with what it costs above the cheapest.
struct Column {
    cost: f64,
    row: Vec<f64>,
    candidate: Candidate,
}

fn undominated(mut of: Vec<Column>) -> Vec<Column> {
    of.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    let mut kept: Vec<Column> = Vec::new();
    for c in of {
        let below = |k: &Column| k.row.iter().zip(&c.row).all(|(x, y)| *x <= *y * (1.0 + 1e-12));
        if !kept.iter().any(below) {
            kept.push(c);
        }
    }
    kept
}

fn lower(of: &[Column]) -> Vec<f64> {
    let mut least = of[0].row.clone();
    for c in of {
        least.iter_mut().zip(&c.row).for_each(|(x, y)| *x = x.min(*y));
    }
    least
}

struct Search<'s> {
    columns: &'s [Vec<Column>],
    order: Vec<usize>,
    least: Vec<Vec<f64>>,
    totals: Totals<'s>,
    /// By depth: sums over the tiles chosen, and at least what the others take.
    sums: Vec<Vec<f64>>,
    gap: f64,
    best: f64,
    chosen: Vec<(usize, usize)>,
    answer: Option<Vec<(usize, usize)>>,
    nodes: usize,
}

impl Search<'_> {
    fn go(&mut self, spent: f64) {
        self.nodes += 1;
        if self.nodes > NODES {
            return;
        }
        let depth = self.chosen.len();
        let sum = &self.sums[depth];
        let (seconds, over) = self.totals.takes(|at| sum[at]);
        if over >= FITS || seconds >= self.best * (1.0 - 1e-10) {
            return;
        }
        let Some(&g) = self.order.get(depth) else {
            self.best = seconds;
            self.answer = Some(self.chosen.clone());
            return;
        };
        // Tiles of a class are alike: their choices ascend.
        let from = self.chosen.last().filter(|c| c.0 == g).map_or(0, |c| c.1);
        let columns = self.columns;
        for (at, Column { cost, row, .. }) in columns[g].iter().enumerate().skip(from) {
            if spent + cost > self.gap * (1.0 + 1e-9) + 1e-12 {
                break;
            }
            let (above, below) = self.sums.split_at_mut(depth + 1);
            for (at, x) in below[0].iter_mut().enumerate() {
                *x = above[depth][at] - self.least[g][at] + row[at];
            }
            self.chosen.push((g, at));
            self.go(spent + cost);
            self.chosen.pop();
        }
    }
}
