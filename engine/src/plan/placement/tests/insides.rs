//! Insides of layers take what a plan leaves, and nothing else.

use super::problems::{small, with_budget, with_insides, Random};
use crate::plan::placement::*;

/// Bytes of tier 0 that a problem's insides would take.
fn all(p: &Problem) -> u64 {
    p.inside_bytes.iter().flatten().map(|b| b.next_multiple_of(ALIGN)).sum()
}

/// A random problem of so many layers, without insides and with some.
fn offered(random: &mut Random, round: u64, layers: usize) -> (Problem, Problem) {
    let tiles = 1 + random.below(5) as usize;
    let bare = small(random, tiles, layers, (round % 3) as usize);
    let offered = with_insides(&bare, random, [Inside::Auto, Inside::Keep][round as usize % 2]);
    (bare, offered)
}

#[test]
fn insides_take_what_a_plan_leaves_and_nothing_else() {
    let mut random = Random(21);
    let mut partly = 0;
    for round in 0..80u64 {
        let layers = 1 + random.below(5) as usize;
        let (bare, p) = offered(&mut random, round, layers);
        let least = smallest_feasible(&p).unwrap();
        assert_eq!(least, smallest_feasible(&bare).unwrap());
        let most = plan(&with_budget(&bare, u64::MAX / 8)).unwrap().prediction.peak[0] + all(&p) + ALIGN;
        for k in 0..4 {
            let budget = least + (most - least) * k / 3;
            let (without, with) = (plan(&with_budget(&bare, budget)).unwrap(), plan(&with_budget(&p, budget)).unwrap());
            replay(&with_budget(&p, budget), &with.program).unwrap_or_else(|e| panic!("{e}\n{with}"));
            assert_eq!(
                (&with.program.forward, &with.program.slots),
                (&without.program.forward, &without.program.slots)
            );
            assert_eq!(with.program.backward, without.program.backward);
            assert!(with.prediction.peak[0] <= budget, "{} of {budget}", with.prediction.peak[0]);
            assert!(with.lower_bound <= with.prediction.seconds);
            let wanted = |layer: usize, part: usize| {
                let slot = InsideSlot { layer, part, offset: 0, bytes: p.inside_bytes[layer][part] };
                slot.bytes > 0 && (p.inside == Inside::Keep || slot.saves(&p.rates, &p.tiles) > 0.0)
            };
            let kept =
                |layer: usize, part: usize| with.program.inside.iter().any(|s| (s.layer, s.part) == (layer, part));
            for part in 0..INSIDE.len() {
                for layer in 0..layers {
                    assert!(wanted(layer, part) || !kept(layer, part));
                    // With all the room that there is, whatever is wanted is kept.
                    assert!(k < 3 || wanted(layer, part) == kept(layer, part), "{part} of {layer}");
                }
            }
            let count = with.program.inside.len();
            partly += usize::from(k < 3 && count > 0);
            let saved: f64 = with.program.inside.iter().map(|s| s.saves(&p.rates, &p.tiles)).sum();
            let idle = without.prediction.phases.iter().zip(&without.prediction.compute).all(|(p, c)| p <= c);
            if idle && saved > 0.0 {
                let won = without.prediction.seconds - with.prediction.seconds;
                assert!((won - saved).abs() <= 1e-9 * saved.abs(), "{won} {saved}");
            }
        }
    }
    assert!(partly > 30, "{partly}");
}

#[test]
fn insides_take_no_more_than_they_may() {
    let mut random = Random(24);
    let mut partly = 0;
    for round in 0..40u64 {
        let layers = 1 + random.below(5) as usize;
        let (_, p) = offered(&mut random, round, layers);
        let p = Problem { inside: Inside::Keep, ..with_budget(&p, u64::MAX / 8) };
        // Those of nodes are not counted.
        let kept = |plan: &Plan, counts: fn(usize) -> bool| -> u64 {
            let slots = plan.program.inside.iter().filter(|s| counts(s.part));
            slots.map(|s| s.bytes.next_multiple_of(ALIGN)).sum()
        };
        let held = |plan: &Plan| kept(plan, |part| part > 0);
        let free = plan(&p).unwrap();
        assert_eq!(kept(&free, |_| true), all(&p));
        let (whole, nodes) = (held(&free), kept(&free, |part| part == 0));
        for most in [0, whole / 3, whole] {
            let some = Problem { inside_most: Some(most), ..p.clone() };
            let plan = plan(&some).unwrap();
            replay(&some, &plan.program).unwrap_or_else(|e| panic!("{e}\n{plan}"));
            assert!(held(&plan) <= most && (most < whole || held(&plan) == whole), "{} of {most}", held(&plan));
            assert_eq!(kept(&plan, |part| part == 0), nodes);
            partly += u32::from(most < whole && held(&plan) > 0);
        }
    }
    assert!(partly > 20, "{partly}");
}

#[test]
fn nothing_is_kept_where_that_is_ruled_out_or_not_offered() {
    let mut random = Random(22);
    let bare = small(&mut random, 3, 4, 0);
    for p in [with_insides(&bare, &mut random, Inside::Rebuild), Problem { inside: Inside::Keep, ..bare.clone() }] {
        assert_eq!(plan(&p).unwrap(), plan(&bare).unwrap());
    }
    let mut wrong = with_insides(&bare, &mut random, Inside::Auto);
    wrong.inside_bytes.pop();
    assert!(matches!(plan(&wrong), Err(PlanError::Problem(_))));
}

#[test]
fn where_insides_may_come_first_no_plan_is_slower_for_it() {
    let mut random = Random(23);
    let mut faster = 0;
    for round in 0..30u64 {
        let layers = 2 + random.below(4) as usize;
        let (_, mut after) = offered(&mut random, round, layers);
        // Few bytes for what they save, so that they are worth more than states.
        after.inside_bytes.iter_mut().flatten().for_each(|bytes| *bytes /= 8);
        let first = Problem { inside_first: true, ..after.clone() };
        let least = smallest_feasible(&first).unwrap();
        assert_eq!(least, smallest_feasible(&after).unwrap());
        let most = plan(&with_budget(&after, u64::MAX / 8)).unwrap().prediction.peak[0] + ALIGN;
        for k in 0..5 {
            let budget = least + (most - least) * k / 4;
            let [after, first] = [&after, &first].map(|p| with_budget(p, budget));
            let (old, new) = (plan(&after).unwrap(), plan(&first).unwrap());
            replay(&first, &new.program).unwrap_or_else(|e| panic!("{e}\n{new}"));
            let (p, q) = (&new.prediction, &old.prediction);
            assert!(
                p.peak[0] <= budget && p.seconds <= q.seconds,
                "{} of {budget}, {} {}",
                p.peak[0],
                p.seconds,
                q.seconds
            );
            assert!(new.lower_bound <= p.seconds && new.lower_bound <= old.lower_bound.max(p.seconds));
            faster += usize::from(p.seconds < 0.999 * q.seconds);
            assert!(k < 4 || *p == *q, "there is room for all");
        }
    }
    assert!(faster > 4, "{faster}");
}
