//! Every program can be run, within its budgets, at any budget.

use super::problems::{protein, rates, small, tier, with_budget, Random};
use crate::plan::placement::*;

/// Plans, replays, and compares bytes with the prediction.
fn check(p: &Problem) -> Plan {
    let plan = plan(p).unwrap_or_else(|e| panic!("{e}"));
    let seen = replay(p, &plan.program).unwrap_or_else(|e| panic!("{e}\n{plan}"));
    assert_eq!(seen.out_bytes, plan.prediction.out_bytes, "{p:?}");
    assert_eq!(seen.load_bytes, plan.prediction.load_bytes, "{p:?}");
    assert!(plan.lower_bound <= plan.prediction.seconds * (1.0 + 1e-6), "{plan}");
    assert!(plan.prediction.peak[0] <= p.tiers[0].capacity);
    plan
}

fn unlimited(p: &Problem) -> u64 {
    check(&with_budget(p, u64::MAX / 8)).prediction.peak[0]
}

fn sweep(p: &Problem, random: &mut Random, budgets: usize) {
    let most = unlimited(p);
    let least = smallest_feasible(p).unwrap();
    assert!(least <= most, "{least} {most}");
    check(&with_budget(p, least));
    for _ in 0..budgets {
        let bytes = least + ((most - least) as f64 * random.unit().powi(2)) as u64;
        check(&with_budget(p, bytes));
    }
    if let Some(less) = least.checked_sub(1) {
        match plan(&with_budget(p, less)) {
            Err(PlanError::TooSmall { need, have, help, .. }) => {
                assert_eq!((need, have), (least, less));
                assert!(!help.is_empty());
            }
            Err(e) => panic!("{e}"),
            // Everything fits, though not by the accounts that the least is looked for with.
            Ok(plan) => assert_eq!(plan.prediction.peak[0], most),
        }
    }
}

#[test]
fn programs_of_small_problems_never_break_a_rule_down_to_the_smallest_budget() {
    let mut random = Random(7);
    for round in 0..60u64 {
        let (tiles, layers) = (1 + random.below(5) as usize, 1 + random.below(5) as usize);
        let slow = (round % 3) as usize;
        let p = small(&mut random, tiles, layers, slow);
        sweep(&p, &mut random, 2);
    }
}

#[test]
fn programs_of_middling_problems_never_break_a_rule_down_to_the_smallest_budget() {
    let mut random = Random(8);
    for round in 0..8u64 {
        let (tiles, layers) = (8 + random.below(20) as usize, 4 + random.below(8) as usize);
        let p = small(&mut random, tiles, layers, (round % 3) as usize);
        sweep(&p, &mut random, 3);
    }
}

#[test]
fn every_policy_is_obeyed() {
    let mut random = Random(9);
    for _ in 0..10 {
        let mut p = small(&mut random, 3, 6, 1);
        p.checkpoint = Checkpoint::All;
        sweep(&p, &mut random, 2);
        for k in 1..7 {
            p.checkpoint = Checkpoint::Every(k);
            sweep(&p, &mut random, 1);
            let plan = plan(&with_budget(&p, smallest_feasible(&p).unwrap())).unwrap();
            for s in plan.groups.iter().map(|g| &g.schedule) {
                assert!((1..6).all(|l| (l % k == 0) <= s.keep[0][l].is_some()), "every:{k} {s:?}");
            }
        }
        p.checkpoint = Checkpoint::Auto;
        p.spill = Permission::Forbidden;
        sweep(&p, &mut random, 2);
        p.rebuild = Permission::Forbidden;
        sweep(&p, &mut random, 1);
    }
}

#[test]
fn all_keeps_everything_and_rebuilds_nothing() {
    let mut p = protein(12, 20, 0.1, 3);
    p.tiers.push(tier("pinned", u64::MAX / 8, 2e11, 2e11));
    p.checkpoint = Checkpoint::All;
    let least = smallest_feasible(&p).unwrap();
    let plan = check(&with_budget(&p, least));
    assert_eq!(replay(&with_budget(&p, least), &plan.program).unwrap().rebuilds, 0);
    assert!(plan.totals()[1] > 0 && plan.totals()[2] == 0);
}

#[test]
fn without_a_way_the_error_names_one_that_works() {
    let mut p = protein(10, 20, 0.0, 4);
    p.checkpoint = Checkpoint::All;
    let all = smallest_feasible(&p).unwrap();
    let error = plan(&with_budget(&p, all / 2)).unwrap_err();
    let PlanError::TooSmall { help, .. } = &error else { panic!("{error}") };
    let text = error.to_string();
    assert!(
        text.contains("WEIR_CHECKPOINT=") && text.contains("WEIR_PLACEMENT") && text.contains("WEIR_HBM_BUDGET"),
        "{text}"
    );
    for h in help {
        let mut q = with_budget(&p, all / 2);
        match h {
            Help::Checkpoint(c) => q.checkpoint = *c,
            Help::Tier { bytes } => q.tiers.push(tier("pinned", *bytes, 1e10, 1e10)),
            Help::Budget { bytes, .. } => q.tiers[0].capacity = *bytes,
        }
        check(&q);
    }
}

#[test]
fn the_smallest_budget_is_the_same_on_slow_and_fast_devices() {
    let mut random = Random(11);
    for round in 0..12u64 {
        // Copies take from less than the computation of a slow device to a million times that of a fast one.
        let (tiles, layers) = (1 + (round % 3) as usize, 3 + random.below(7) as usize);
        let mut p = small(&mut random, tiles, layers, 1 + (round % 2) as usize);
        p.checkpoint = [Checkpoint::All, Checkpoint::Auto][(round / 2 % 2) as usize];
        let all = [1e8, 1e10, 1e12, 1e14, 1e16].map(|flops| {
            p.rates = rates(layers, flops);
            let least = smallest_feasible(&p).unwrap();
            check(&with_budget(&p, least));
            assert!(
                matches!(plan(&with_budget(&p, least - 1)), Err(PlanError::TooSmall { need, .. }) if need == least)
            );
            least
        });
        assert!(all.iter().all(|least| *least == all[0]), "{tiles} tiles, {layers} layers, {}: {all:?}", p.checkpoint);
    }
}
