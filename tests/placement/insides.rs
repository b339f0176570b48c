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
        let inside = vec![Work { node: 1e-9, edge: saves, angle: saves }; 6];
        let rates = Some(Rates { inside, ..rates.clone() });
        let mut c = case.calculator(&CpuOptions { inside: Inside::Auto, rates, ..case.base.clone() });
        case.run(&mut c);
        assert_eq!(c.plan().unwrap().insides().map(|part| part.0), expected);
    }
}

/// Steps of a calculator whose atoms move a little each time, long enough for a trial to be over; after each, the parts that the plan keeps.
fn long(case: &Case, calculator: &mut CpuCalculator) -> (Vec<Vec<u64>>, Vec<[usize; 3]>) {
    let (mut x, mut answers, mut kept) = (case.x.clone(), Vec::new(), Vec::new());
    for step in 0..40 {
        for (i, x) in x.iter_mut().enumerate() {
            x[i % 3] += 1e-3 * ((i + step) % 5) as f64 - 2e-3;
        }
        let mut out = Results::default();
        let (cell, request): (Option<&Cell>, _) = (Some(&case.cell), Request { atomic_virial: step % 7 == 0 });
        calculator.compute(&x, cell, &FrameParameters::default(), request, &mut out).unwrap();
        answers.push(bits(&out));
        kept.push(calculator.plan().unwrap().insides().map(|part| part.0));
    }
    (answers, kept)
}

#[test]
fn a_long_run_finds_out_whether_insides_save_time_and_its_answers_have_the_same_bits() {
    for precision in [PrecisionChoice::F32, PrecisionChoice::F64] {
        let case = Case::new(precision);
        let (expected, _) =
            long(&case, &mut case.calculator(&CpuOptions { inside: Inside::Rebuild, ..case.base.clone() }));
        let all = case.insides();
        // All that there is, half of what they take, nothing.
        for bytes in [u64::MAX, all / 2, 0] {
            let spare = Some(Spare::new(move || bytes));
            let mut c = case.calculator(&CpuOptions { spare, ..case.base.clone() });
            let (answers, kept) = long(&case, &mut c);
            assert_eq!(answers, expected, "{precision:?} {bytes}");
            assert!(kept[..21].iter().all(|parts| *parts == [6, 0, 0]), "{kept:?}");
            let tried = kept[22];
            match bytes {
                0 => assert!(tried == [6, 0, 0] && c.settled().is_empty(), "{tried:?} {:?}", c.settled()),
                u64::MAX => assert_eq!(tried, [6, 6, 5]),
                _ => assert!(tried[0] == 6 && tried[1] > 0 && tried[2] < 5, "{tried:?}"),
            }
            // Which of the two it is, is this machine's and this hour's.
            let last = kept[39];
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
    let case = Case::new(PrecisionChoice::F32);
    let rates = case.calculator(&case.base).problem(&case.x, Some(&case.cell)).unwrap().unwrap().rates;
    let known = Rates { inside: vec![Work { node: 1e-9, edge: -1e-9, angle: -1e-9 }; 6], ..rates };
    for (inside, rates, expected) in
        [(Inside::Rebuild, None, [0, 0, 0]), (Inside::Keep, None, [6, 6, 5]), (Inside::Auto, Some(known), [6, 0, 0])]
    {
        let spare = Some(Spare::new(|| panic!("asked for nothing")));
        let mut c = case.calculator(&CpuOptions { inside, rates, spare, ..case.base.clone() });
        let (_, kept) = long(&case, &mut c);
        assert!(kept.iter().all(|parts| *parts == expected) && c.plans() == 1, "{inside} {kept:?}");
    }
}

#[test]
fn a_trial_that_finds_no_memory_ends_and_the_run_goes_on() {
    let case = Case::new(PrecisionChoice::F32);
    let (expected, _) = long(&case, &mut case.calculator(&case.base));
    let kind =
        Arc::new(Hbm::new(Ledger::new("hbm", "WEIR_HBM_BUDGET", 1 << 40), Faults::fail(Operation::Allocation, 2)));
    let tiers = vec![CpuTier { kind, ..hbm(1 << 40) }];
    let spare = Some(Spare::new(|| u64::MAX));
    let mut c = case.calculator(&CpuOptions { tiers, spare, ..case.base.clone() });
    let (answers, kept) = long(&case, &mut c);
    assert_eq!(answers, expected);
    assert!(kept.iter().all(|parts| *parts == [6, 0, 0]) && c.settled().is_empty(), "{kept:?} {:?}", c.settled());
}
