//! From a problem to a plan: choose, lay out, tighten where the layout needs more than the model, explain where nothing fits.

use super::emit::{emit, Emitted};
use super::error::{Help, PlanError};
use super::inside;
use super::model::Model;
use super::optimise::{fastest, smallest, stay, Choice, Missed};
use super::problem::{Checkpoint, Permission, Problem, TierSpec};
use super::program::Program;
use super::report::{GroupPlan, Plan, Prediction};
use super::rounding::Totals;
use super::schedule::{Resources, Schedule};

/// Tiles staged ahead where room is short, and where it is not.
const AHEAD: [u64; 2] = [1, 2];
/// Small choices that are laid out to find the smallest.
const LAID_OUT: usize = 6;
/// Rounds of tightening.
const ROUNDS: usize = 12;
/// First share of the budget that is left to holes; the least difference of two shares that is looked at.
const FIRST: f64 = 0.004;
const CLOSE: f64 = 0.0015;
/// Means that are tried before anybody asks whether any would do.
const PATIENCE: usize = 6;
/// Once a layout fits, slots up to which a better one is looked for.
const SLOTS: usize = 60_000;

fn check(p: &Problem) -> Result<(), PlanError> {
    let bad = |text: String| Err(PlanError::Problem(text));
    let l = p.layers;
    let r = &p.rates;
    for (name, n) in [
        ("angles", p.angles.len()),
        ("forward rates", r.forward.len()),
        ("rebuild rates", r.rebuild.len()),
        ("rebuild_angles rates", r.rebuild_angles.len()),
        ("backward rates", r.backward.len()),
    ] {
        if n != l {
            return bad(format!("{n} {name} for {l} layers"));
        }
    }
    if l == 0 || p.tiles.is_empty() {
        return bad(format!("{l} layers, {} tiles", p.tiles.len()));
    }
    if p.angles.windows(2).any(|w| w[1] && !w[0]) {
        return bad("a layer reads angles that the layer before it does not".into());
    }
    if p.tiers.is_empty() || p.tiers.len() > 8 {
        return bad(format!("{} tiers; 1 to 8 are possible", p.tiers.len()));
    }
    if let Some(t) = p.tiers.iter().skip(1).find(|t| !(t.out_rate > 0.0 && t.in_rate > 0.0 && t.latency >= 0.0)) {
        return bad(format!("{}: rates {} and {} B/s, latency {} s", t.name, t.out_rate, t.in_rate, t.latency));
    }
    let works = r.forward.iter().chain(&r.rebuild).chain(&r.rebuild_angles).chain(&r.backward);
    let seconds = works.flat_map(|w| [w.node, w.edge, w.angle, w.tile]).chain([r.project]);
    if seconds.into_iter().any(|s| !(s >= 0.0 && s.is_finite())) {
        return bad("a compute rate is negative or not finite".into());
    }
    if p.checkpoint == Checkpoint::Every(0) {
        return bad("every:0; K is at least 1".into());
    }
    if p.rebuild == Permission::Forbidden && matches!(p.checkpoint, Checkpoint::Every(_)) {
        return bad(format!("{} rebuilds states, but rebuilding is forbidden", p.checkpoint));
    }
    inside::check(p).or_else(bad)
}

/// The plan of a problem.
///
/// # Errors
/// [`PlanError::TooSmall`] with what would fit; [`PlanError::Problem`] for contradictions.
pub fn plan(problem: &Problem) -> Result<Plan, PlanError> {
    check(problem)?;
    let plan = inside::keep(problem, placed(problem).map_err(|need| explain(problem, need))?);
    if !problem.inside_first || problem.keeps_insides(&plan) {
        return Ok(plan);
    }
    // With room left for half of them: a second plan is what planning may cost.
    let mut short = problem.clone();
    short.tiers[0].capacity = short.tiers[0].capacity.saturating_sub(inside::half(problem));
    Ok(match placed(&short) {
        Ok(states) => inside::better(plan, inside::keep(problem, states)),
        Err(_) => plan,
    })
}

/// States placed; what is left of the first tier is not given away yet. The error is the least bytes of tier 0 beside the fixed part, if any would
/// do.
fn placed(problem: &Problem) -> Result<Plan, Option<u64>> {
    let model = Model::new(problem);
    let needed = || least(&model).map(|small| small.0);
    let budget = problem.tiers[0].capacity.checked_sub(problem.fixed_bytes).ok_or_else(needed)?;
    if let Some((choice, placed)) = unhindered(&model, budget) {
        return Ok(finish(problem, &model, choice, placed));
    }
    // Until a relaxation tells more: every layer once, every projection once.
    let mut bound = model.base.iter().sum::<f64>() + model.project * model.layers as f64;
    let (choice, program) = match tightened(&model, budget, &mut bound, PATIENCE) {
        Ok(found) => found,
        Err(missed) => {
            // Where nothing fits, going on would take longest.
            let small = least(&model);
            if let Some((need, ..)) = small.as_ref().filter(|small| small.0 > budget) {
                return Err(Some(*need));
            }
            let found = match missed {
                Missed::Patience => tightened(&model, budget, &mut bound, usize::MAX).ok(),
                Missed::Everything => None,
            };
            let small = small.map(|(_, choice, program)| (Choice { bound, ..choice }, program));
            found.or(small).ok_or(None)?
        }
    };
    Ok(finish(problem, &model, choice, program))
}

/// The fastest choice found whose layout fits: within the budget less a share that is left to holes between slots. `bound` is lowered
/// to that of the whole budget.
fn tightened(model: &Model, budget: u64, bound: &mut f64, patience: usize) -> Result<(Choice, Program), Missed> {
    let mut pool = Vec::new();
    let mut only = None;
    let mut best: Option<(Choice, Program)> = None;
    let mut slots = 0;
    // Shares: too little and enough for the holes, as far as is known.
    let (mut little, mut enough) = (0.0, f64::INFINITY);
    let tiles: usize = model.groups.iter().map(|g| g.members.len()).sum();
    let mut share = if tiles * model.layers > SLOTS { FIRST } else { 0.0 };
    for round in 0..ROUNDS {
        let room = (budget as f64 * (1.0 - share)) as u64;
        let all = |_| fastest(model, [room, budget], AHEAD[0], &mut Vec::new(), None, patience);
        let found = fastest(model, [room, budget], AHEAD[0], &mut pool, only, patience);
        let choice = match if only.is_some() { found.or_else(all) } else { found } {
            Ok(choice) => choice,
            Err(Missed::Patience) if best.is_none() => return Err(Missed::Patience),
            Err(_) => break,
        };
        if round == 0 {
            // Later ones look at fewer means.
            *bound = choice.bound;
        }
        only = Some(choice.means);
        let choice = Choice { bound: *bound, exact: choice.exact && share == 0.0, ..choice };
        let known = best.as_ref().map_or(f64::INFINITY, |b| b.0.seconds);
        let placed = if choice.seconds < known { place(model, &choice, budget, &mut slots) } else { None };
        match placed {
            Some(placed) => {
                enough = share;
                best = Some((choice, placed));
            }
            None if choice.seconds < known => little = share,
            // Faster only where it does not fit.
            None => break,
        }
        let tried = if enough.is_finite() { SLOTS } else { 3 * SLOTS };
        if enough - little < CLOSE || (best.is_some() && slots > tried) {
            break;
        }
        share = match enough.is_finite() {
            true => 0.5 * (little + enough),
            false => FIRST.max(2.0 * share),
        };
    }
    best.ok_or(Missed::Everything)
}

/// The fastest choice of all, where only the bytes set aside for staging make it look too large: laying it out tells.
fn unhindered(model: &Model, budget: u64) -> Option<(Choice, Program)> {
    let choice = fastest(model, [u64::MAX >> 2; 2], AHEAD[0], &mut Vec::new(), None, usize::MAX).ok()?;
    let counted = model.reserve(&choice.means, AHEAD[0]) as f64 + stay(model, &choice.tiles);
    // Below the budget the search finds it; far above, it does not fit.
    if counted <= budget as f64 || counted > 1.3 * budget as f64 {
        return None;
    }
    let placed = place(model, &choice, budget, &mut 0)?;
    Some((choice, placed))
}

fn tier0(model: &Model, program: &Program) -> u64 {
    program.arena_bytes[0] + program.banks as u64 * model.bank
}

/// The program of a choice within the budget; staged further ahead if that fits. Adds the slots that were placed.
fn place(model: &Model, choice: &Choice, budget: u64, slots: &mut usize) -> Option<Program> {
    let stay = stay(model, &choice.tiles);
    let copies = choice.means.spill || choice.means.live || choice.means.adjoint;
    let mut within = |ahead| {
        let emitted = program(model, choice, ahead);
        *slots += emitted.slots();
        let limit = budget.checked_sub(emitted.banks() * model.bank)?;
        emitted.within(limit)
    };
    let ample = model.reserve(&choice.means, AHEAD[1]) as f64 + stay <= budget as f64;
    (copies && ample).then(|| within(AHEAD[1])).flatten().or_else(|| within(AHEAD[0]))
}

fn program(model: &Model, choice: &Choice, ahead: u64) -> Emitted {
    let schedules: Vec<Schedule> = choice.tiles.iter().map(|(c, _)| c.schedule.clone()).collect();
    let emitted = emit(model, &schedules, &assign(model, choice), choice.means.banks, ahead as usize);
    let counted = model.reserve(&choice.means, ahead) as f64 + stay(model, &choice.tiles);
    debug_assert!(
        (emitted.in_use() + emitted.banks() * model.bank) as f64 <= counted,
        "{} of {counted}",
        emitted.in_use()
    );
    emitted
}

/// Schedule and size class of every tile. Schedules alternate within a size class, so that bytes change evenly over a phase.
fn assign(model: &Model, choice: &Choice) -> Vec<(u32, u32)> {
    let tiles = model.groups.iter().map(|g| g.members.len()).sum();
    let mut out = vec![(0, 0); tiles];
    for (g, group) in model.groups.iter().enumerate() {
        let n = group.members.len() as f64;
        let mut order: Vec<(f64, u32)> = Vec::with_capacity(group.members.len());
        for (s, (_, count)) in choice.tiles.iter().enumerate().filter(|(_, (c, _))| c.group == g) {
            order.extend((0..*count).map(|k| ((f64::from(k) + 0.5) / f64::from(*count) * n, s as u32)));
        }
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (&tile, &(_, s)) in group.members.iter().zip(&order) {
            out[tile as usize] = (s, g as u32);
        }
    }
    out
}

/// The least bytes of tier 0 (the fixed part apart) with the program that needs them.
fn least(model: &Model) -> Option<(u64, Choice, Program)> {
    let mut best: Option<(u64, Choice, Program)> = None;
    for (_, choice) in smallest(model, AHEAD[0]).into_iter().take(LAID_OUT) {
        let program = program(model, &choice, AHEAD[0]).shortest();
        let need = tier0(model, &program);
        if best.as_ref().is_none_or(|b| need < b.0) {
            best = Some((need, choice, program));
        }
    }
    best
}

/// The smallest capacity of tier 0 that is known to do for [`plan`], everything else as it is, bytes.
///
/// # Errors
/// As [`plan`], when no capacity of tier 0 would do.
pub fn smallest_feasible(problem: &Problem) -> Result<u64, PlanError> {
    check(problem)?;
    match least(&Model::new(problem)) {
        Some((need, ..)) => Ok(need + problem.fixed_bytes),
        None => Err(disobeyed()),
    }
}

/// The error where the least bytes of tier 0 beside the fixed part, if any number would do, are too many.
fn explain(problem: &Problem, need: Option<u64>) -> PlanError {
    let Some(need) = need.map(|need| need + problem.fixed_bytes) else { return disobeyed() };
    let have = problem.tiers[0].capacity;
    let fits = |p: &Problem| smallest_feasible(p).is_ok_and(|need| need <= have);
    let mut help = Vec::new();
    let with = |checkpoint| Problem { checkpoint, rebuild: Permission::Allowed, ..problem.clone() };
    if problem.checkpoint != Checkpoint::Auto || problem.rebuild == Permission::Forbidden {
        let strides = [2, 3, 4, 6, 8, 12, 16].into_iter().filter(|&k| k <= problem.layers);
        let mut policies = strides.map(Checkpoint::Every).chain([Checkpoint::Auto]);
        // Where `auto` does not fit, hardly anything does.
        if fits(&with(Checkpoint::Auto)) {
            let policy = policies.find(|&c| c != problem.checkpoint && (c == Checkpoint::Auto || fits(&with(c))));
            help.extend(policy.map(Help::Checkpoint));
        }
    }
    // Half the room of a tier as wide as everything tells whether a tier helps, and how much of it.
    let mut wider = Problem { spill: Permission::Allowed, ..problem.clone() };
    let unlimited = u64::MAX / 4;
    if wider.tiers.len() == 1 {
        wider.tiers.push(TierSpec {
            name: "pinned".into(),
            capacity: unlimited,
            out_rate: 1e10,
            in_rate: 1e10,
            both: 1.0,
            latency: 0.0,
            overlap: 1.0,
        });
    }
    let known = problem.spill == Permission::Allowed && problem.tiers.len() > 1;
    for tier in wider.tiers.iter_mut().skip(1) {
        if known {
            tier.capacity = unlimited;
        }
    }
    if let Some(plan) = attempt(&wider) {
        if known {
            let more = |(k, t): (usize, &TierSpec)| {
                let bytes = plan.program.arena_bytes[k];
                (bytes > t.capacity).then(|| Help::Budget { tier: t.name.clone(), bytes })
            };
            help.extend(problem.tiers.iter().enumerate().skip(1).filter_map(more));
        } else {
            help.push(Help::Tier { bytes: plan.program.arena_bytes.iter().skip(1).sum() });
        }
    }
    let tier = problem.tiers[0].name.clone();
    help.push(Help::Budget { tier: tier.clone(), bytes: need });
    PlanError::TooSmall { tier, need, have, help }
}

fn disobeyed() -> PlanError {
    PlanError::Problem("no schedule obeys the policy".into())
}

/// A plan without an explanation of failure, and not laid out again and again.
fn attempt(problem: &Problem) -> Option<Plan> {
    let model = Model::new(problem);
    let budget = problem.tiers[0].capacity.saturating_sub(problem.fixed_bytes);
    let (_, choice, program) = least(&model).filter(|small| small.0 <= budget)?;
    let fast = fastest(&model, [budget; 2], AHEAD[0], &mut Vec::new(), None, usize::MAX);
    let fast = fast.ok().and_then(|choice| Some((place(&model, &choice, budget, &mut 0)?, choice)));
    let (program, choice) = fast.unwrap_or((program, choice));
    Some(finish(problem, &model, choice, program))
}

fn finish(problem: &Problem, model: &Model, choice: Choice, program: Program) -> Plan {
    let constant = model.constant(&choice.means);
    let mut totals = Totals::new(model, &constant, 0.0);
    for (c, n) in &choice.tiles {
        totals.add(&c.resources, f64::from(*n));
    }
    let mut r = Resources::none(model);
    for (c, n) in &choice.tiles {
        r.add(&c.resources, f64::from(*n));
    }
    let phases = totals.phases();
    let whole = |x: &[f64]| x.iter().map(|b| *b as u64).collect::<Vec<_>>();
    let mut peak = program.arena_bytes.clone();
    peak[0] += problem.fixed_bytes + program.banks as u64 * problem.bank_bytes;
    let prediction = Prediction {
        seconds: phases.iter().sum(),
        compute: constant.iter().zip(&r.compute).map(|(a, b)| a + b).collect(),
        out: r.out.clone(),
        load: r.load.clone(),
        phases,
        rebuild: r.compute.iter().sum(),
        out_bytes: whole(&r.out_bytes),
        load_bytes: whole(&r.load_bytes),
        peak,
    };
    let groups = (choice.tiles.iter())
        .map(|(c, n)| {
            let g = &model.groups[c.group];
            GroupPlan { tiles: *n, state_bytes: g.state, adjoint_bytes: g.adjoint, schedule: c.schedule.clone() }
        })
        .collect();
    Plan {
        tiers: problem.tiers.iter().take(model.links.len()).map(|t| t.name.clone()).collect(),
        program,
        groups,
        prediction,
        lower_bound: choice.bound,
        exact: choice.exact,
    }
}
