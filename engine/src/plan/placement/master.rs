//! The master problem: how many tiles of each size class follow which schedule. A linear program over schedules that are priced as they
//! are needed; its duals give a lower bound for whole tiles as well.

use super::model::{Means, Model};
use super::price::{cheapest, Prices, Tariff};
use super::schedule::{Resources, Schedule};
use super::simplex::{Column, Simplex};

/// A schedule for a size class.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub group: usize,
    pub schedule: Schedule,
    pub resources: Resources,
    /// Whether it was part of a solution, so that a further one starts with it.
    pub useful: bool,
}

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Seconds, within the capacity of tier 0.
    Time,
    /// Bytes of tier 0.
    Room,
}

/// Answer of the master problem.
pub(super) struct Relaxed {
    /// s (or bytes) of the relaxation.
    pub value: f64,
    /// Lower bound, same unit.
    pub bound: f64,
    /// Whether it fits.
    pub feasible: bool,
    /// Number of tiles by candidate, not whole.
    pub tiles: Vec<f64>,
    /// Prices at the end: s per byte, s per s.
    pub prices: Prices,
}

/// Rows of the master problem, in units that keep its numbers near one.
pub(super) struct Master<'a> {
    model: &'a Model,
    means: Means,
    goal: Goal,
    /// Bytes.
    room_unit: f64,
    /// Seconds.
    time_unit: f64,
    constant: Vec<f64>,
    /// Bytes of tier 0 for what stays.
    room: f64,
}

const OVERFLOW: f64 = 1e4;

impl<'a> Master<'a> {
    pub fn new(model: &'a Model, means: Means, goal: Goal, room: f64) -> Self {
        let bytes: u64 = model.groups.iter().map(|g| g.members.len() as u64 * (g.state[0] + g.state[1])).sum();
        let constant = model.constant(&means);
        // Of room, time is a small part of the goal, however much longer copies take than the computation.
        let copies = if goal == Goal::Room { model.copies() } else { 0.0 };
        let time_unit = (constant.iter().sum::<f64>() + copies).max(1e-12);
        Self { model, means, goal, room_unit: (bytes as f64).max(1.0), time_unit, constant, room }
    }

    fn phases(&self) -> usize {
        2 * self.model.layers
    }
    fn slow_tiers(&self) -> usize {
        self.model.links.len() - 1
    }
    fn stay_row(&self, phase: usize) -> usize {
        self.model.groups.len() + phase
    }
    fn slow_row(&self, tier: usize) -> usize {
        self.stay_row(self.phases()) + tier - 1
    }
    /// Computation first, then out and in of every tier.
    fn time_row(&self, phase: usize, which: usize) -> usize {
        self.stay_row(self.phases()) + self.slow_tiers() + phase * (1 + 2 * self.slow_tiers()) + which
    }

    fn column(&self, c: &Candidate) -> Column {
        let n = self.model.groups[c.group].members.len() as f64;
        let r = &c.resources;
        let (bytes, seconds) = (n / self.room_unit, n / self.time_unit);
        let mut entries = vec![(c.group, 1.0)];
        let mut put = |row: usize, x: f64| {
            if x != 0.0 {
                entries.push((row, x));
            }
        };
        for p in 0..self.phases() {
            put(self.stay_row(p), r.stay[p] * bytes);
            let mut work = r.compute[p];
            for tier in 1..=self.slow_tiers() {
                let (link, o, i) = (&self.model.links[tier], r.out[tier][p], r.load[tier][p]);
                work += link.drag * (o + i);
                put(self.time_row(p, 2 * tier - 1), (o + link.cross * i) * seconds);
                put(self.time_row(p, 2 * tier), (i + link.cross * o) * seconds);
            }
            put(self.time_row(p, 0), work * seconds);
        }
        for tier in 1..=self.slow_tiers() {
            put(self.slow_row(tier), r.slow[tier] * bytes);
        }
        Column { cost: 0.0, entries }
    }

    /// Prices from duals, made valid: not negative, the rows of a phase's time sum to the cost of its time.
    fn prices(&self, y: &[f64]) -> Prices {
        let (phases, tiers) = (self.phases(), self.model.links.len());
        let weight = self.time_weight();
        let mut p = Prices {
            stay: (0..phases).map(|p| (-y[self.stay_row(p)]).max(0.0)).collect(),
            compute: vec![0.0; phases],
            out: vec![vec![0.0; phases]; tiers],
            load: vec![vec![0.0; phases]; tiers],
            slow: (0..tiers).map(|k| if k == 0 { 0.0 } else { (-y[self.slow_row(k)]).max(0.0) }).collect(),
        };
        for phase in 0..phases {
            let mut raw: Vec<f64> =
                (0..1 + 2 * self.slow_tiers()).map(|w| (-y[self.time_row(phase, w)]).max(0.0)).collect();
            let sum: f64 = raw.iter().sum();
            if sum > 0.0 {
                raw.iter_mut().for_each(|x| *x *= weight / sum);
            } else {
                raw[0] = weight;
            }
            p.compute[phase] = raw[0];
            for tier in 1..tiers {
                let link = &self.model.links[tier];
                let (o, i) = (raw[2 * tier - 1], raw[2 * tier]);
                p.out[tier][phase] = link.drag * raw[0] + o + link.cross * i;
                p.load[tier][phase] = link.drag * raw[0] + i + link.cross * o;
            }
        }
        if self.goal == Goal::Room {
            let sum: f64 = p.stay.iter().sum();
            p.stay.iter_mut().for_each(|x| *x = if sum > 0.0 { *x / sum } else { 1.0 / phases as f64 });
        }
        // To units of seconds and bytes.
        let scale = self.time_unit / self.room_unit;
        p.stay.iter_mut().chain(&mut p.slow).for_each(|x| *x *= scale);
        p
    }

    fn time_weight(&self) -> f64 {
        match self.goal {
            Goal::Time => 1.0,
            Goal::Room => 1e-6,
        }
    }

    /// The Lagrangian at given prices, s (or, for room, in the same scaled unit), from the cost of the cheapest schedule of each class.
    pub fn bound(&self, prices: &Prices, cheapest: &[f64]) -> f64 {
        let tiles: f64 = self.model.groups.iter().zip(cheapest).map(|(g, c)| g.members.len() as f64 * c).sum();
        let weight = self.time_weight();
        let times: f64 = (0..self.phases())
            .map(|p| {
                // What the links leave of the phase's price is the computation's; constants are computation.
                self.constant[p] * prices.compute[p].min(weight)
            })
            .sum();
        let room = if self.goal == Goal::Time { self.room * prices.stay.iter().sum::<f64>() } else { 0.0 };
        let slow: f64 = (1..self.model.links.len()).map(|k| prices.slow[k] * self.model.capacity[k] as f64).sum();
        tiles + times - room - slow
    }

    /// Solves with the candidates of the pool that the means allow; new ones are added to the pool. Stops within `gap` of the bound.
    pub fn solve(&self, pool: &mut Vec<Candidate>, gap: f64) -> Option<Relaxed> {
        let model = self.model;
        let zero = Prices {
            stay: vec![0.0; self.phases()],
            compute: vec![1.0; self.phases()],
            out: vec![vec![1.0; self.phases()]; model.links.len()],
            load: vec![vec![1.0; self.phases()]; model.links.len()],
            slow: vec![0.0; model.links.len()],
        };
        let zero = Tariff::from(&zero);
        let mut first = Vec::new();
        for group in 0..model.groups.len() {
            let (_, schedule) = cheapest(model, &model.groups[group], &self.means, &zero)?;
            first.push(candidate(model, pool, group, schedule).0);
        }
        let (mut lp, column_of) = self.start(pool, &first)?;
        let mut in_lp: Vec<Option<usize>> = column_of.clone();
        let mut bound = f64::NEG_INFINITY;
        let mut prices = Prices::default();
        let mut overflow = OVERFLOW;
        // So dear that every copy is cheaper than a byte too many.
        let most = 1e8f64.max(1e3 * model.copies() / self.time_unit);
        for _ in 0..400 {
            lp.run(400);
            let now = self.prices(&lp.duals());
            let tariff = Tariff::from(&now);
            let mut costs = Vec::with_capacity(model.groups.len());
            let mut grew = false;
            for group in 0..model.groups.len() {
                let (cost, schedule) = cheapest(model, &model.groups[group], &self.means, &tariff)?;
                costs.push(cost);
                let (at, _) = candidate(model, pool, group, schedule);
                in_lp.resize(pool.len(), None);
                if in_lp[at].is_none() {
                    in_lp[at] = Some(lp.add(self.column(&pool[at])));
                    grew = true;
                }
            }
            let here = self.bound(&now, &costs);
            if here > bound {
                bound = here;
                prices = now;
            }
            let value = lp.objective() * self.time_unit;
            if !grew || value - bound <= gap * value.abs() {
                if self.goal == Goal::Time && self.overflow(&lp) > 1e-7 && overflow < most {
                    overflow = most;
                    for p in 0..self.phases() + self.slow_tiers() {
                        lp.set_cost(self.overflow_column(p), overflow);
                    }
                    continue;
                }
                break;
            }
        }
        let mut tiles = vec![0.0; pool.len()];
        let by_column: std::collections::HashMap<usize, f64> = lp.solution().collect();
        for (at, column) in in_lp.iter().enumerate() {
            if let Some(x) = column.and_then(|j| by_column.get(&j)) {
                tiles[at] = x.max(0.0) * model.groups[pool[at].group].members.len() as f64;
                pool[at].useful |= tiles[at] > 1e-6;
            }
        }
        let feasible = self.overflow(&lp) <= 1e-7;
        let scale = if self.goal == Goal::Time { 1.0 } else { self.room_unit / self.time_unit };
        let value = lp.objective() * self.time_unit * scale;
        Some(Relaxed { value, bound: bound * scale, feasible, tiles, prices })
    }

    // Columns: slack of every row but the size classes', overflow of stay and slow rows, time of every phase, candidates.
    fn overflow_column(&self, row: usize) -> usize {
        self.time_row(self.phases(), 0) - self.model.groups.len() + row
    }

    fn overflow(&self, lp: &Simplex) -> f64 {
        let (from, to) = (self.overflow_column(0), self.overflow_column(self.phases() + self.slow_tiers()));
        let skip = if self.goal == Goal::Room { self.phases() } else { 0 };
        lp.solution().filter(|(j, _)| (from + skip..to).contains(j)).map(|(_, x)| x.max(0.0)).sum()
    }

    fn start(&self, pool: &[Candidate], first: &[usize]) -> Option<(Simplex, Vec<Option<usize>>)> {
        let groups = self.model.groups.len();
        let rows = self.time_row(self.phases(), 0);
        let elastic = self.phases() + self.slow_tiers();
        let mut rhs = vec![0.0; rows];
        rhs[..groups].fill(1.0);
        let mut columns: Vec<Column> = (groups..rows).map(|r| Column { cost: 0.0, entries: vec![(r, 1.0)] }).collect();
        for e in 0..elastic {
            let entries = match (self.goal, e) {
                (Goal::Room, 0) => (0..self.phases()).map(|p| (self.stay_row(p), -1.0)).collect(),
                _ => vec![(groups + e, -1.0)],
            };
            let cost = if self.goal == Goal::Room && e == 0 { 1.0 } else { OVERFLOW };
            columns.push(Column { cost, entries });
        }
        for p in 0..self.phases() {
            // A perturbation well below what is reported keeps ties, and with them cycles, apart.
            let jitter = |k: usize| 1e-9 * (1.0 + ((k * 7919) % 101) as f64 / 101.0);
            rhs[self.stay_row(p)] = match self.goal {
                Goal::Time => self.room / self.room_unit + jitter(p),
                Goal::Room => jitter(p),
            };
            rhs[self.time_row(p, 0)] = -self.constant[p] / self.time_unit - jitter(p + 37);
            let entries = (0..1 + 2 * self.slow_tiers()).map(|w| (self.time_row(p, w), -1.0)).collect();
            columns.push(Column { cost: self.time_weight(), entries });
        }
        for tier in 1..=self.slow_tiers() {
            rhs[self.slow_row(tier)] = self.model.capacity[tier] as f64 / self.room_unit;
        }
        let mut column_of = vec![None; pool.len()];
        for (at, c) in pool.iter().enumerate() {
            if first.contains(&at) || (c.useful && self.means_allow(c)) {
                column_of[at] = Some(columns.len());
                columns.push(self.column(c));
            }
        }
        // The load of the first candidates decides which slack, overflow or time is basic in every row.
        let mut used = vec![0.0; rows];
        for &at in first {
            for &(r, x) in &columns[column_of[at]?].entries {
                used[r] += x;
            }
        }
        let slack = |r: usize| r - groups;
        let mut basis: Vec<usize> = first.iter().map(|&at| column_of[at]).collect::<Option<_>>()?;
        let worst = (0..self.phases()).max_by(|&a, &b| {
            let over = |p: usize| used[self.stay_row(p)] - rhs[self.stay_row(p)];
            over(a).total_cmp(&over(b))
        })?;
        for e in 0..elastic {
            let r = groups + e;
            let over = used[r] > rhs[r];
            basis.push(match self.goal {
                Goal::Room if e == worst => self.overflow_column(0),
                Goal::Room if e < self.phases() => slack(r),
                _ if over => self.overflow_column(e),
                _ => slack(r),
            });
        }
        for p in 0..self.phases() {
            let rows: Vec<usize> = (0..1 + 2 * self.slow_tiers()).map(|w| self.time_row(p, w)).collect();
            let longest = rows.iter().copied().max_by(|&a, &b| (used[a] - rhs[a]).total_cmp(&(used[b] - rhs[b])))?;
            let time = self.overflow_column(elastic) + p;
            basis.extend(rows.iter().map(|&r| if r == longest { time } else { slack(r) }));
        }
        Some((Simplex::new(rhs, columns, basis)?, column_of))
    }

    /// Whether the means suffice for a candidate.
    pub fn means_allow(&self, c: &Candidate) -> bool {
        let m = self.model.means_of(std::iter::once(&c.schedule));
        let w = &self.means;
        m.banks <= w.banks && m.spill <= w.spill && m.each <= w.each && m.live <= w.live && m.adjoint <= w.adjoint
    }
}

/// The number of a candidate in the pool, which may have to be added (`true`).
pub(super) fn candidate(model: &Model, pool: &mut Vec<Candidate>, group: usize, schedule: Schedule) -> (usize, bool) {
    if let Some(at) = pool.iter().position(|c| c.group == group && c.schedule == schedule) {
        return (at, false);
    }
    let resources = schedule.resources(model, &model.groups[group]);
    pool.push(Candidate { group, schedule, resources, useful: false });
    (pool.len() - 1, true)
}
