//! The best choice of schedules over all means that a plan may use.

use super::master::{Candidate, Goal, Master};
use super::model::{Means, Model};
use super::price::{least_costs, Prices, Tariff};
use super::rounding::{exact, round};

/// Up to this many tiles, and layers, the best choice of whole tiles is searched for. (With 16 layers the search takes seconds and seldom
/// ends.)
const FEW: usize = 4;
const SHALLOW: usize = 6;
/// Linear programs solved for many tiles, at most.
const SOLVES: usize = 12;

/// A choice of schedules.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Schedules with their numbers of tiles.
    pub tiles: Vec<(Candidate, u32)>,
    /// Means they use.
    pub means: Means,
    /// s by the model.
    pub seconds: f64,
    /// Lower bound on the seconds of every plan.
    pub bound: f64,
    /// Whether `seconds` is the least possible.
    pub exact: bool,
}

/// Means not yet ruled out.
struct Open {
    means: Means,
    bound: f64,
    solved: bool,
}

fn all_means(model: &Model, few: bool) -> Vec<Means> {
    let slow = model.links.len() > 1;
    let mut flags = Vec::new();
    for bits in 0..16u8 {
        let [spill, each, live, adjoint] = [0, 1, 2, 3].map(|b| bits >> b & 1 == 1);
        let chain = [0, 1, 2, 3, 15].contains(&bits);
        if (slow || !(spill || live || adjoint)) && (model.rebuild || !each) && (few || chain || !slow) {
            flags.push((spill, each, live, adjoint));
        }
    }
    if !few && !model.rebuild && slow {
        flags.push((true, false, true, true));
    }
    let mut out = Vec::new();
    for (spill, each, live, adjoint) in flags {
        out.extend((1..=model.layers).map(|banks| Means { banks, spill, each, live, adjoint }));
    }
    out
}

fn flat(model: &Model) -> Prices {
    let (phases, tiers) = (2 * model.layers, model.links.len());
    let copies = vec![(0..phases).map(|_| 0.0).collect::<Vec<f64>>(); tiers];
    Prices {
        stay: vec![0.0; phases],
        compute: vec![1.0; phases],
        out: copies.clone(),
        load: copies,
        slow: vec![0.0; tiers],
    }
}

/// Why no choice was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// Nothing fits that was looked at, and all was.
    Everything,
    /// Nothing fitted in as many trials as there was patience for.
    Patience,
}

/// The fastest choice within `capacity` bytes of tier 0 (the fixed part apart), staging `ahead` tiles, if one of the first `patience` trials finds
/// something that fits. With `only`, no other means are tried. The bound is that of `whole` bytes, which may be more.
pub(super) fn fastest(
    model: &Model,
    [capacity, whole]: [u64; 2],
    ahead: u64,
    pool: &mut Vec<Candidate>,
    only: Option<Means>,
    patience: usize,
) -> Result<Choice, Missed> {
    let count: usize = model.groups.iter().map(|g| g.members.len()).sum();
    let few = count <= FEW && model.layers <= SHALLOW;
    let (gap, enough) = if few { (1e-9, 1e-9) } else { (2e-3, 5e-3) };
    let mut options: Vec<Open> =
        all_means(model, few).into_iter().map(|means| Open { means, bound: 0.0, solved: false }).collect();
    options.retain(|o| model.reserve(&o.means, ahead) <= capacity && only.is_none_or(|m| m == o.means));
    let room = |m: &Means| (capacity - model.reserve(m, ahead)) as f64;
    let most = |m: &Means| (whole - model.reserve(m, ahead)) as f64;
    raise(model, &mut options, &flat(model), &most);
    let mut best: Option<Choice> = None;
    let mut exactly = true;
    for solves in 0.. {
        let upper = best.as_ref().map_or(f64::INFINITY, |b| b.seconds);
        let open = |o: &&mut Open| !o.solved && o.bound < upper * (1.0 - enough);
        // The first guess tells the prices; then the most promising.
        let guess = 4.min(model.layers);
        let next = match solves {
            0 => options.iter_mut().filter(open).max_by_key(|o| {
                let m = o.means;
                (m.spill, m.each, !m.live, !m.adjoint, std::cmp::Reverse(m.banks.abs_diff(guess)))
            }),
            _ => options.iter_mut().filter(open).min_by(|a, b| a.bound.total_cmp(&b.bound)),
        };
        let Some(next) = next else { break };
        if !few && solves >= SOLVES && best.is_some() {
            break;
        }
        if solves >= patience && best.is_none() {
            return Err(Missed::Patience);
        }
        next.solved = true;
        let means = next.means;
        let master = Master::new(model, means, Goal::Time, room(&means));
        let Some(relaxed) = master.solve(pool, gap) else {
            next.bound = f64::INFINITY;
            continue;
        };
        if !relaxed.feasible {
            // The bound still holds; what does not fit in fractions does not fit in whole tiles.
            if whole == capacity {
                next.bound = f64::INFINITY;
            }
            raise(model, &mut options, &relaxed.prices, &most);
            continue;
        }
        if whole == capacity {
            next.bound = next.bound.max(relaxed.bound);
        }
        let bound = next.bound;
        let constant = model.constant(&means);
        let allowed: Vec<bool> = pool.iter().map(|c| master.means_allow(c)).collect();
        if let Some((seconds, counts)) = round(model, &constant, room(&means), pool, &allowed, &relaxed) {
            if seconds < upper {
                let tiles = pool.iter().zip(&counts).filter(|x| *x.1 > 0).map(|(c, &n)| (c.clone(), n)).collect();
                best = Some(Choice { tiles, means, seconds, bound, exact: false });
            }
        }
        if few {
            let upper = best.as_ref().map_or(f64::INFINITY, |b| b.seconds);
            match exact(model, &means, &constant, room(&means), &relaxed, relaxed.bound, upper) {
                Ok(Some((seconds, list))) => {
                    let tiles = list.into_iter().map(|c| (c, 1)).collect();
                    best = Some(Choice { tiles, means, seconds, bound, exact: false });
                }
                Ok(None) => {}
                Err(()) => exactly = false,
            }
        }
        raise(model, &mut options, &relaxed.prices, &most);
    }
    let mut best = best.ok_or(Missed::Everything)?;
    best.bound = options.iter().map(|o| o.bound).fold(best.seconds, f64::min);
    best.exact = few && exactly;
    Ok(best)
}

/// Raises the bounds of all options by the Lagrangian at these prices.
fn raise(model: &Model, options: &mut [Open], prices: &Prices, room: &impl Fn(&Means) -> f64) {
    let tariff = Tariff::from(prices);
    let mut known: Vec<(Means, Vec<Vec<f64>>)> = Vec::new();
    for o in options.iter_mut() {
        let key = Means { banks: 1, ..o.means };
        if !known.iter().any(|k| k.0 == key) {
            let costs = model.groups.iter().map(|g| least_costs(model, g, &key, &tariff)).collect();
            known.push((key, costs));
        }
        let costs = &known.iter().find(|k| k.0 == key).expect("just made").1;
        let least: Vec<f64> = costs.iter().map(|by_banks| by_banks[o.means.banks - 1]).collect();
        let bound = Master::new(model, o.means, Goal::Time, room(&o.means)).bound(prices, &least);
        o.bound = if bound.is_nan() { f64::INFINITY } else { o.bound.max(bound) };
    }
}

/// Choices that need few bytes of tier 0 (the fixed part apart) with those bytes, the fewest first: for every set of means that might need
/// the fewest, the best choice found. Empty when other tiers are too small.
pub(super) fn smallest(model: &Model, ahead: u64) -> Vec<(u64, Choice)> {
    let count: usize = model.groups.iter().map(|g| g.members.len()).sum();
    let few = count <= 8 * FEW;
    let mut found: Vec<(u64, Choice)> = Vec::new();
    let mut pool = Vec::new();
    for means in all_means(model, few) {
        let coarse = means.banks.is_power_of_two() || means.banks % 3 == 0 || means.banks == model.layers;
        let reserve = model.reserve(&means, ahead);
        let best = found.iter().map(|f| f.0).min().unwrap_or(u64::MAX);
        // What is more than a tile worse in the model will not be better once laid out.
        let limit = best.saturating_add(model.largest.iter().sum());
        if reserve >= limit || !(few || coarse) {
            continue;
        }
        let master = Master::new(model, means, Goal::Room, 0.0);
        let Some(relaxed) = master.solve(&mut pool, 1e-3) else { continue };
        if !relaxed.feasible || relaxed.bound >= (limit - reserve) as f64 {
            continue;
        }
        let constant = model.constant(&means);
        let allowed: Vec<bool> = pool.iter().map(|c| master.means_allow(c)).collect();
        // Room for whole tiles: a little more until rounding succeeds.
        let tile = model.largest.iter().sum::<u64>() as f64 + 1.0;
        let rounded = (0..12).find_map(|k| {
            let more = if k == 0 { 0.0 } else { tile * 0.25 * f64::from(1 << (k - 1)) };
            round(model, &constant, relaxed.value.max(0.0).ceil() + more, &pool, &allowed, &relaxed)
        });
        if let Some((seconds, counts)) = rounded {
            let tiles: Vec<(Candidate, u32)> =
                pool.iter().zip(&counts).filter(|x| *x.1 > 0).map(|(c, &n)| (c.clone(), n)).collect();
            let need = reserve + stay(model, &tiles).ceil() as u64;
            found.push((need, Choice { tiles, means, seconds, bound: 0.0, exact: false }));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.seconds.total_cmp(&b.1.seconds)));
    found
}

/// Most bytes of tier 0 that stay across a phase.
pub(super) fn stay(model: &Model, tiles: &[(Candidate, u32)]) -> f64 {
    let by_phase = |p: usize| tiles.iter().map(|(c, n)| c.resources.stay[p] * f64::from(*n)).sum::<f64>();
    (0..2 * model.layers).map(by_phase).fold(0.0, f64::max)
}
