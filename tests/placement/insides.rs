//! Insides of layers: whatever of them is kept, and whoever decides it, the answer has the same bits.

use super::{Case, Cell};
use crate::common::bits;
use std::sync::Arc;
use weir_allocators::faults::{Faults, Operation};
use weir_allocators::kind::{Hbm, Ledger};
use weir_backends::cpu::{
    hbm, Checkpoint, CpuCalculator, CpuOptions, CpuTier, Inside, InstructionSet, PrecisionChoice, Rates, Spare, Store,
};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::plan::placement::Work;

#[test]
fn same_answer_whatever_of_the_insides_is_kept() {
    let cases = [
        (PrecisionChoice::F32, Store::Exact, true),
        (PrecisionChoice::F64, Store::Exact, false),
        (PrecisionChoice::F32, Store::Bf16, false),
        (PrecisionChoice::F64, Store::F32, true),
    ];
    whatever_of_the_insides_is_kept(InstructionSet::best(), &cases);
    // Kept rows are written by stores of each set's own.
    for set in InstructionSet::here().into_iter().skip(1).filter(|set| *set != InstructionSet::Scalar) {
        whatever_of_the_insides_is_kept(set, &cases[..2]);
    }
}

fn whatever_of_the_insides_is_kept(simd: InstructionSet, cases: &[(PrecisionChoice, Store, bool)]) {
    for &(precision, store, smooth) in cases {
        let mut case = Case::new(precision);
        case.base = CpuOptions { store, simd: Some(simd), ..case.base };
        Arc::make_mut(&mut case.model).descriptor.options.smooth_edge_update = smooth;
        let with = |inside, checkpoint, budget| {
            let tiers = vec![hbm(budget)];
            let mut c = case.calculator(&CpuOptions { inside, checkpoint, tiers, ..case.base.clone() });
            let got = bits(&case.run(&mut c));
            let plan = c.plan().unwrap();
            assert!(c.peak_bytes()[0].1 <= budget && c.peak_bytes()[0].1 == plan.prediction.peak[0]);
            (got, c.peak_bytes()[0].1, plan.insides().map(|part| part.0), plan.prediction.rebuild)
        };
        let (expected, least, none, _) = with(Inside::Rebuild, Checkpoint::All, 1 << 40);
        let (got, most, all, _) = with(Inside::Keep, Checkpoint::All, 1 << 40);
        // The last layer updates no angles, and no layer reads them after it.
        assert_eq!((none, all), ([0, 0, 0], [6, 6, 5]));
        assert_eq!(got, expected);
        // Nobody has measured whether more than the nodes' would pay.
        let (got, _, nodes, _) = with(Inside::Auto, Checkpoint::All, 1 << 40);
        assert_eq!((got == expected, nodes), (true, [6, 0, 0]));
        let mut met = std::collections::BTreeSet::new();
        for k in 1..12 {
            let (got, _, kept, _) = with(Inside::Keep, Checkpoint::All, least + (most - least) * k / 12);
            assert_eq!(got, expected, "{kept:?}");
            met.insert(kept);
        }
        assert!(met.len() > 6 && met.iter().any(|k| k[2] > 0) && met.iter().any(|k| k[1] < 6), "{met:?}");
        let (got, _, kept, rebuilt) = with(Inside::Keep, Checkpoint::Every(2), 1 << 40);
        assert!(got == expected && kept == all && rebuilt > 0.0, "{kept:?} {rebuilt}");
    }
}

#[test]
fn what_a_denser_system_needs_beside_insides_is_taken_from_them() {
    let case = Case::new(PrecisionChoice::F32);
    let path = |calculator: &mut CpuCalculator| {
        // Thinner first.
        let (mut seen, mut arenas) = (Vec::new(), Vec::new());
        for scale in [1.12, 1.0] {
            let x: Vec<[f64; 3]> = case.x.iter().map(|x| x.map(|c| c * scale)).collect();
            let cell = case.cell.map(|row| row.map(|c| c * scale));
            let mut out = Results::default();
            calculator.compute(&x, Some(&cell), &FrameParameters::default(), Request::default(), &mut out).unwrap();
            seen.push(bits(&out));
            arenas.push(calculator.plan().unwrap().program.arena_bytes[0]);
        }
        (seen, arenas)
    };
    let (expected, _) = path(&mut case.calculator(&CpuOptions { inside: Inside::Rebuild, ..case.base.clone() }));
    let least = case.smallest(&case.base);
    let mut shrunk = 0;
    for budget in [least + least / 20, 3 * least / 2, 2 * least] {
        let ledger = Ledger::new("hbm", "WEIR_HBM_BUDGET", budget);
        let kind = Arc::new(Hbm::new(ledger.clone(), Faults::none()));
        let tiers = vec![CpuTier { kind, ..hbm(budget) }];
        let checkpoint = Checkpoint::Auto;
        let mut c = case.calculator(&CpuOptions { inside: Inside::Keep, tiers, checkpoint, ..case.base.clone() });
        let (seen, arenas) = path(&mut c);
        assert_eq!(seen, expected, "{budget}");
        shrunk += u32::from(arenas[1] < arenas[0]);
        let plan = c.plan().unwrap();
        // Of 64 KiB at most.
        let arena = plan.program.arena_bytes[0].next_multiple_of(65536);
        assert!(c.plans() == 2 && ledger.used() <= arena, "{} plans, {} of {arena}", c.plans(), ledger.used());
        assert!(plan.prediction.peak[0] <= budget && c.peak_bytes()[0].1 <= budget);
    }
    assert!(shrunk > 0, "no arena had to give anything back");
}

/// `auto` takes the word of measured rates, which say what every part saves.
#[test]
fn insides_that_rates_say_save_time_are_kept_without_being_asked_for() {
    let case = Case::new(PrecisionChoice::F32);
    let rates = case.calculator(&case.base).problem(&case.x, Some(&case.cell)).unwrap().unwrap().rates;
    for (saves, expected) in [(1e-9, [6, 6, 5]), (0.0, [6, 0, 0]), (-1e-9, [6, 0, 0])] {
        let inside = vec![Work { node: 1e-9, edge: saves, angle: saves, tile: 0.0 }; 6];
        let rates = Some(Rates { inside, ..rates.clone() });
        let mut c = case.calculator(&CpuOptions { inside: Inside::Auto, rates, ..case.base.clone() });
        case.run(&mut c);
        assert_eq!(c.plan().unwrap().insides().map(|part| part.0), expected);
    }
}

/// What a step showed.
struct Step {
    answer: Vec<u64>,
    /// Layers of each part of insides that the plan keeps.
    kept: [usize; 3],
    /// Floating-point operations of products: fewer where insides are used.
    flop: f64,
}

/// Steps of a calculator whose atoms move a little each time, long enough for a trial to be over.
fn long(case: &Case, calculator: &mut CpuCalculator) -> Vec<Step> {
    let mut x = case.x.clone();
    let mut step = |k: usize| {
        for (i, x) in x.iter_mut().enumerate() {
            x[i % 3] += 1e-3 * ((i + k) % 5) as f64 - 2e-3;
        }
        let mut out = Results::default();
        let (cell, request): (Option<&Cell>, _) = (Some(&case.cell), Request { atomic_virial: k == 25 });
        calculator.compute(&x, cell, &FrameParameters::default(), request, &mut out).unwrap();
        let kept = calculator.plan().unwrap().insides().map(|part| part.0);
        Step { answer: bits(&out), kept, flop: calculator.kernels().unwrap().product.flop }
    };
    (0..40).map(&mut step).collect()
}

fn answers(steps: &[Step]) -> Vec<&Vec<u64>> {
    steps.iter().map(|s| &s.answer).collect()
}

/// With kernels timed.
fn case(precision: PrecisionChoice) -> Case {
    let mut case = Case::new(precision);
    case.base.kernels = true;
    case
}

#[test]
fn a_long_run_finds_out_whether_insides_save_time_and_its_answers_have_the_same_bits() {
    for precision in [PrecisionChoice::F32, PrecisionChoice::F64] {
        let case = case(precision);
        let run = |inside| long(&case, &mut case.calculator(&CpuOptions { inside, ..case.base.clone() }));
        let (rebuilt, whole) = (run(Inside::Rebuild), run(Inside::Keep));
        let all = case.insides();
        // All that there is, half of what they take, nothing.
        let sizes = [u64::MAX, all / 2, 0];
        for &bytes in if precision == PrecisionChoice::F32 { &sizes[..] } else { &sizes[..1] } {
            let spare = Some(Spare::new(move || bytes));
            let mut c = case.calculator(&CpuOptions { spare, ..case.base.clone() });
            let steps = long(&case, &mut c);
            assert_eq!(answers(&steps), answers(&rebuilt), "{precision:?} {bytes}");
            assert!(steps[..21].iter().all(|s| s.kept == [6, 0, 0]));
            let (tried, last) = (steps[22].kept, steps[39].kept);
            match bytes {
                0 => assert!(tried == [6, 0, 0] && c.plans() == 1, "{tried:?} {}", c.plans()),
                u64::MAX => assert_eq!(tried, [6, 6, 5]),
                _ => assert!(tried[0] == 6 && tried[1] > 0 && tried[2] < 5, "{tried:?}"),
            }
            // Turns: with insides, without, without, with, ... (Of four passes for atomic virials the last is counted.)
            if bytes == u64::MAX {
                let usual = steps[20].flop;
                for (k, s) in steps.iter().enumerate().skip(22).take(12) {
                    let with = [true, false, false, true][(k - 22) % 4];
                    let expected = if with { whole[k].flop } else { usual };
                    assert!((s.flop / expected - 1.0).abs() < 0.01, "step {k}: {} of {expected}", s.flop);
                    assert!((whole[k].flop / usual - 1.0).abs() > 0.05, "no difference to be seen");
                }
            }
            // Which of the two it is, is this machine's and this hour's.
            let keeps = c.settled().iter().any(|text| text.contains("kept from now on"));
            assert_eq!(last, if keeps { tried } else { [6, 0, 0] }, "{:?}", c.settled());
            assert_eq!(c.settled().len(), usize::from(bytes > 0));
            let held: u64 = c.plan().unwrap().insides()[1..].iter().map(|part| part.1).sum();
            assert!(held <= bytes, "{held} of {bytes}");
        }
    }
}

#[test]
fn nothing_is_tried_where_somebody_has_decided_or_measured() {
    let case = case(PrecisionChoice::F32);
    let rates = case.calculator(&case.base).problem(&case.x, Some(&case.cell)).unwrap().unwrap().rates;
    let known = Rates { inside: vec![Work { node: 1e-9, edge: -1e-9, angle: -1e-9, tile: 0.0 }; 6], ..rates };
    for (inside, rates, expected) in
        [(Inside::Rebuild, None, [0, 0, 0]), (Inside::Keep, None, [6, 6, 5]), (Inside::Auto, Some(known), [6, 0, 0])]
    {
        let spare = Some(Spare::new(|| panic!("asked for nothing")));
        let mut c = case.calculator(&CpuOptions { inside, rates, spare, ..case.base.clone() });
        let steps = long(&case, &mut c);
        assert!(steps.iter().all(|s| s.kept == expected) && c.plans() == 1, "{inside}");
    }
}

/// Plans that rebuild or spill because memory is short have nothing left for insides: a trial does not touch them, whatever
/// lists have grown to since.
#[test]
fn a_trial_changes_nothing_where_memory_is_short() {
    let mut case = case(PrecisionChoice::F32);
    case.base.skin = 0.0;
    let expected = long(&case, &mut case.calculator(&case.base));
    let slow = super::system_tier();
    let rules = [(vec![], Checkpoint::Auto), (vec![slow], Checkpoint::All), (vec![], Checkpoint::Every(2))];
    for (others, checkpoint) in rules {
        let with = |budget| {
            let tiers: Vec<CpuTier> = std::iter::once(hbm(budget)).chain(others.clone()).collect();
            CpuOptions { tiers, checkpoint, spare: Some(Spare::new(|| u64::MAX)), ..case.base.clone() }
        };
        let mut c = case.calculator(&with(case.smallest(&with(1 << 40))));
        let steps = long(&case, &mut c);
        assert_eq!(answers(&steps), answers(&expected), "{checkpoint}");
        assert!(c.plans() == 1 && c.list_builds() == 40, "{checkpoint}: {} plans, {}", c.plans(), c.list_builds());
        assert!(c.settled().is_empty(), "{:?}", c.settled());
        // Where rebuilding is a rule and memory is not short, there is a trial.
        let mut c = case.calculator(&with(1 << 40));
        assert_eq!(answers(&long(&case, &mut c)), answers(&expected), "{checkpoint}");
        assert_eq!(c.settled().len(), 1, "{checkpoint}");
    }
}

#[test]
fn a_trial_that_finds_no_memory_ends_and_the_run_goes_on() {
    let case = case(PrecisionChoice::F32);
    let expected = long(&case, &mut case.calculator(&case.base));
    let ledger = Ledger::new("hbm", "WEIR_HBM_BUDGET", 1 << 40);
    let kind = Arc::new(Hbm::new(ledger.clone(), Faults::fail(Operation::Allocation, 2)));
    let tiers = vec![CpuTier { kind, ..hbm(1 << 40) }];
    let spare = Some(Spare::new(|| u64::MAX));
    let mut c = case.calculator(&CpuOptions { tiers, spare, ..case.base.clone() });
    let steps = long(&case, &mut c);
    assert_eq!(answers(&steps), answers(&expected));
    assert!(steps.iter().all(|s| s.kept == [6, 0, 0]));
    let [told] = c.settled() else { panic!("{:?}", c.settled()) };
    assert!(told.contains("insides of layers are not kept: "), "{told}");
}

/// A system that gets denser while steps take turns: what its states need is taken from insides, and a failure ends the trial and
/// not the run.
#[test]
fn insides_that_are_tried_give_way_to_states() {
    let case = case(PrecisionChoice::F32);
    let at = |scale: f64| {
        let x: Vec<[f64; 3]> = case.x.iter().map(|x| x.map(|c| c * scale)).collect();
        (x, case.cell.map(|row| row.map(|c| c * scale)))
    };
    // Thin for 25 steps, of which the trial has the last four.
    let run = |c: &mut CpuCalculator| {
        let (mut out, mut held) = (Results::default(), Vec::new());
        for scale in [[1.12; 25].as_slice(), &[1.0; 15]].concat() {
            let (x, cell) = at(scale);
            c.compute(&x, Some(&cell), &FrameParameters::default(), Request::default(), &mut out).unwrap();
            held.push(c.plan().unwrap().insides().map(|part| part.0));
        }
        (bits(&out), held)
    };
    let mut plain = case.calculator(&CpuOptions { inside: Inside::Rebuild, ..case.base.clone() });
    let (expected, _) = run(&mut plain);
    let dense = plain.peak_bytes()[0].1;
    // Room for the dense system's states and hardly more; for some of its insides too; for all, in memory that fails once.
    for (budget, faults) in [
        (dense * 101 / 100, Faults::none()),
        (dense * 2, Faults::none()),
        (1 << 40, Faults::fail(Operation::Allocation, 3)),
    ] {
        let fails = budget == 1 << 40;
        let ledger = Ledger::new("hbm", "WEIR_HBM_BUDGET", budget);
        let tiers = vec![CpuTier { kind: Arc::new(Hbm::new(ledger.clone(), faults)), ..hbm(budget) }];
        let mut c = case.calculator(&CpuOptions { tiers, spare: Some(Spare::new(|| u64::MAX)), ..case.base.clone() });
        let (answer, held) = run(&mut c);
        assert_eq!(answer, expected);
        assert!(c.peak_bytes()[0].1 <= budget && ledger.used() <= budget);
        let (tried, after) = (held[24], held[25]);
        assert!(tried[1] > 0, "no trial in {budget}: {tried:?}");
        let [told] = c.settled() else { panic!("{:?}", c.settled()) };
        let (left, some) = (after[1] + after[2], tried[1] + tried[2]);
        match (fails, budget < dense * 2) {
            (true, _) => assert!(after == [6, 0, 0] && told.contains("their memory is needed"), "{after:?} {told}"),
            (false, true) => assert!(left == 0 && told.contains("no room for them"), "{after:?} {told}"),
            (false, false) => assert!(0 < left && left < some && told.contains("a step takes"), "{after:?} {told}"),
        }
    }
}
