//! The placement promises: one answer, bit for bit, wherever kept states lie and whatever is rebuilt.

#[path = "../common/mod.rs"]
mod common;
mod insides;

use common::{bits, system};
use std::sync::Arc;
use weir_allocators::faults::{Faults, Operation};
use weir_allocators::kind::{AllocError, File, Hbm, Kind, Ledger, System};
use weir_backends::cpu::{
    create_cpu, hbm, Checkpoint, CpuCalculator, CpuOptions, CpuTier, Inside, Permission, PrecisionChoice, Store,
    TierSpec,
};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::model::{new_model, Model};
use weir_engine::plan::placement::{smallest_feasible, Op};

type Cell = [[f64; 3]; 3];

struct Case {
    model: Arc<Model>,
    cell: Cell,
    x: Vec<[f64; 3]>,
    types: Vec<i32>,
    base: CpuOptions,
}

impl Case {
    /// A model of six layers, so that there is something to place, on tiles of a few centres.
    fn new(precision: PrecisionChoice) -> Self {
        let mut model = new_model("tiny", 5).unwrap();
        let d = &mut model.descriptor;
        d.layers.extend(d.layers.clone());
        d.options.nlayers = d.layers.len();
        let model = Arc::new(model);
        let (x, types) = system(60, 9.0, 17, 2);
        let base = CpuOptions { precision, threads: 2, tile_edges: 400, poison: true, ..Default::default() };
        Self { model, cell: [[9.5, 0.0, 0.0], [1.2, 9.2, 0.0], [-1.9, 0.9, 9.9]], x, types, base }
    }

    fn calculator(&self, options: &CpuOptions) -> CpuCalculator {
        create_cpu(self.model.clone(), &self.types, options).unwrap()
    }

    fn smallest(&self, options: &CpuOptions) -> u64 {
        let problem = self.calculator(options).problem(&self.x, Some(&self.cell)).unwrap().unwrap();
        smallest_feasible(&problem).unwrap()
    }

    /// Bytes of the insides of edges and angles of all layers.
    fn insides(&self) -> u64 {
        let mut c = self.calculator(&CpuOptions { inside: Inside::Keep, ..self.base.clone() });
        self.run(&mut c);
        c.plan().unwrap().insides()[1..].iter().map(|part| part.1).sum()
    }

    fn run(&self, calculator: &mut CpuCalculator) -> Results {
        let mut out = Results::default();
        let request = Request { atomic_virial: true };
        calculator.compute(&self.x, Some(&self.cell), &FrameParameters::default(), request, &mut out).unwrap();
        out
    }
}

fn tier(name: &str, kind: Arc<dyn Kind>) -> CpuTier {
    let (out_rate, in_rate) = (4e9, 5e9);
    let capacity = 1 << 30;
    CpuTier {
        spec: TierSpec { name: name.into(), capacity, out_rate, in_rate, both: 0.6, latency: 1e-5, overlap: 0.5 },
        kind,
    }
}

fn system_tier() -> CpuTier {
    let ledger = Ledger::new("system", "WEIR_HOST_BUDGET", 1 << 30);
    tier("system", Arc::new(System::new(ledger, None, Vec::new(), Faults::none())))
}

/// None where the build folder is in memory, which is refused as scratch.
fn file_tier(folder: &std::path::Path) -> Option<CpuTier> {
    let ledger = Ledger::new("file", "WEIR_FILE_BUDGET", 1 << 30);
    match File::new(ledger, folder, Faults::none()) {
        Ok(file) => Some(tier("file", Arc::new(file))),
        Err(AllocError::ScratchInMemory { .. }) => {
            println!("skipped: the file tier, because {} is in memory", folder.display());
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// A folder on a disk: scratch in memory is refused.
fn disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Plans that were met.
#[derive(Default)]
struct Seen {
    spilled: u32,
    rebuilt: u32,
}

/// Every plan of these means gives the same bits; budgets go down to the smallest.
fn under_every_plan(case: &Case, slow_tiers: &[Vec<CpuTier>], rules: &[Checkpoint]) -> Seen {
    let expected = bits(&case.run(&mut case.calculator(&case.base)));
    let everything = {
        let mut c = case.calculator(&case.base);
        case.run(&mut c);
        c.peak_bytes()[0].1
    };
    let mut seen = Seen::default();
    for slow in slow_tiers {
        for &checkpoint in rules {
            for rebuild in [Permission::Allowed, Permission::Forbidden] {
                if rebuild == Permission::Forbidden && checkpoint != Checkpoint::Auto {
                    continue;
                }
                let with = |budget| {
                    let mut tiers = vec![hbm(budget)];
                    tiers.extend(slow.clone());
                    CpuOptions { tiers, checkpoint, rebuild, ..case.base.clone() }
                };
                let least = case.smallest(&with(1 << 40));
                for budget in
                    [everything, (everything + least) / 2, least + (everything - least.min(everything)) / 10, least]
                {
                    let budget = budget.max(least);
                    let mut calculator = case.calculator(&with(budget));
                    let got = bits(&case.run(&mut calculator));
                    let base = &case.base;
                    assert_eq!(got, expected, "{:?} {} {slow:?} {checkpoint} {budget}", base.precision, base.store);
                    let peak = &calculator.peak_bytes()[0];
                    assert!(peak.1 <= budget, "{peak:?} of {budget}");
                    let plan = calculator.plan().unwrap();
                    seen.spilled += u32::from(plan.prediction.out_bytes.iter().sum::<u64>() > 0);
                    seen.rebuilt += u32::from(plan.prediction.rebuild > 0.0);
                }
            }
        }
    }
    seen
}

#[test]
fn same_answer_under_every_plan() {
    let folder = disk();
    for precision in [PrecisionChoice::F32, PrecisionChoice::F64] {
        let case = Case::new(precision);
        let file = || file_tier(folder.path());
        let slow = [
            vec![],
            vec![system_tier()],
            file().into_iter().collect(),
            std::iter::once(system_tier()).chain(file()).collect::<Vec<_>>(),
        ];
        let rules = [Checkpoint::Auto, Checkpoint::All, Checkpoint::Every(2), Checkpoint::Every(3)];
        // Placement knows bytes, not numbers: the second precision needs fewer of them.
        let slow = if precision == PrecisionChoice::F64 { &slow[3..] } else { &slow[..] };
        let seen = under_every_plan(&case, slow, &rules);
        assert!(seen.spilled >= 5 && seen.rebuilt >= 5, "{} plans spill, {} rebuild", seen.spilled, seen.rebuilt);
    }
}

const STORED: [(PrecisionChoice, Store); 5] = [
    (PrecisionChoice::F64, Store::F32),
    (PrecisionChoice::F64, Store::F16),
    (PrecisionChoice::F64, Store::Bf16),
    (PrecisionChoice::F32, Store::F16),
    (PrecisionChoice::F32, Store::Bf16),
];

#[test]
fn rounded_states_give_the_same_answer_under_every_plan_tile_and_thread_count() {
    for (precision, store) in STORED {
        let mut case = Case::new(precision);
        case.base.store = store;
        let seen = under_every_plan(&case, &[vec![system_tier()]], &[Checkpoint::Auto, Checkpoint::Every(2)]);

        assert!(seen.spilled >= 2 && seen.rebuilt >= 2, "{} plans spill, {} rebuild", seen.spilled, seen.rebuilt);
        let expected = bits(&case.run(&mut case.calculator(&case.base)));
        for (threads, tile_edges) in [(1, 150), (3, 4000)] {
            let other = CpuOptions { threads, tile_edges, ..case.base.clone() };
            assert_eq!(bits(&case.run(&mut case.calculator(&other))), expected, "{store} {threads} {tile_edges}");
        }
    }
}

#[test]
fn fewer_bits_take_fewer_bytes_and_err_in_their_order() {
    let case = Case::new(PrecisionChoice::F64);
    let run = |store| {
        let mut calculator = case.calculator(&CpuOptions { store, ..case.base.clone() });
        let forces = case.run(&mut calculator).forces.concat();
        (forces, calculator.peak_bytes()[0].1)
    };
    let (exact, bytes) = run(Store::Exact);
    let scale = exact.iter().fold(0.0f64, |m, f| m.max(f.abs()));
    let error = |forces: &[f64]| common::largest_difference(forces, &exact) / scale;
    let (single, half, brain) = (run(Store::F32), run(Store::F16), run(Store::Bf16));
    assert!(single.1 < bytes && half.1 < single.1 && brain.1 == half.1, "{bytes} {} {}", single.1, half.1);
    let errors = [error(&single.0), error(&half.0), error(&brain.0)];
    println!(
        "largest force error over largest force: f32 {:.1e}, f16 {:.1e}, bf16 {:.1e}",
        errors[0], errors[1], errors[2]
    );
    // Units in the last place are 2^-24, 2^-11 and 2^-8; six layers of sums multiply them a few times.
    for (error, unit) in errors.iter().zip([24, 11, 8]) {
        let unit = 0.5f64.powi(unit);
        assert!((unit / 100.0..unit * 100.0).contains(error), "{error} {unit}");
    }
    assert!(errors[0] < errors[1] && errors[1] < errors[2]);
}

#[test]
fn a_feature_beyond_a_half_is_an_error_that_names_layer_and_way_out() {
    let mut case = Case::new(PrecisionChoice::F32);
    let model = Arc::make_mut(&mut case.model);
    for r in &mut model.descriptor.layers[2].e_residual[0] {
        *r *= 1e8;
    }
    let options = CpuOptions { store: Store::F16, ..case.base.clone() };
    let mut out = Results::default();
    let mut compute = |c: &mut CpuCalculator| {
        c.compute(&case.x, Some(&case.cell), &FrameParameters::default(), Request::default(), &mut out)
    };
    let e = compute(&mut case.calculator(&options)).unwrap_err().to_string();
    assert!(e.contains("layer 3") && e.contains("f16") && e.contains("WEIR_STORE=exact"), "{e}");
    // The form with the range of single has no such trouble.
    compute(&mut case.calculator(&CpuOptions { store: Store::Bf16, ..options })).unwrap();
}

#[test]
fn a_budget_below_the_smallest_is_an_error_before_any_work() {
    let case = Case::new(PrecisionChoice::F32);
    let least = case.smallest(&case.base);
    let mut calculator = case.calculator(&CpuOptions { tiers: vec![hbm(least - 4096)], ..case.base.clone() });
    let mut out = Results::default();
    let e = calculator
        .compute(&case.x, Some(&case.cell), &FrameParameters::default(), Request::default(), &mut out)
        .unwrap_err()
        .to_string();
    assert!(e.contains("hbm") && e.contains("WEIR_"), "{e}");
    assert_eq!(out, Results::default());
}

#[test]
fn a_failed_allocation_is_an_error_and_the_next_call_starts_afresh() {
    let case = Case::new(PrecisionChoice::F32);
    let expected = bits(&case.run(&mut case.calculator(&case.base)));
    let ledger = Ledger::new("hbm", "WEIR_HBM_BUDGET", 1 << 40);
    let kind = Arc::new(Hbm::new(ledger, Faults::fail(Operation::Allocation, 1)));
    let tiers = vec![CpuTier { kind, ..hbm(1 << 40) }];
    let mut calculator = case.calculator(&CpuOptions { tiers, ..case.base.clone() });
    let mut out = Results::default();
    let parameters = FrameParameters::default();
    assert!(calculator.compute(&case.x, Some(&case.cell), &parameters, Request::default(), &mut out).is_err());
    assert_eq!(bits(&case.run(&mut calculator)), expected);
}

#[test]
fn one_tile_rebuilt_from_an_earlier_layer_has_the_same_bits() {
    let case = Case::new(PrecisionChoice::F64);
    let expected = bits(&case.run(&mut case.calculator(&case.base)));
    // The last segment's states are still there when the backward pass begins; of three layers only every:2 rebuilds.
    for k in [2] {
        let options = CpuOptions { checkpoint: Checkpoint::Every(k), ..case.base.clone() };
        let mut calculator = case.calculator(&options);
        assert_eq!(bits(&case.run(&mut calculator)), expected, "every:{k}");
        let program = &calculator.plan().unwrap().program;
        // One tile is rebuilt after another has already done its backward step of a layer: each is rebuilt by itself.
        let mut done = Vec::new();
        let mut local = 0;
        for op in &program.backward {
            match *op {
                Op::Backward { layer, tile, .. } => done.push((layer, tile)),
                Op::Rebuild { layer, tile, .. } => {
                    local += usize::from(done.last().is_some_and(|&(l, t)| t != tile && l > layer));
                }
                _ => {}
            }
        }
        assert!(local > 0, "every:{k}");
    }
}

#[test]
fn atoms_without_neighbours_need_no_bytes_and_have_an_energy() {
    let model = Arc::new(new_model("tiny", 5).unwrap());
    let mut calculator = create_cpu(model, &[0, 1], &CpuOptions { poison: true, ..Default::default() }).unwrap();
    let mut out = Results::default();
    let far = [[0.0; 3], [50.0, 0.0, 0.0]];
    calculator.compute(&far, None, &FrameParameters::default(), Request { atomic_virial: true }, &mut out).unwrap();
    assert!(out.energy.is_finite() && out.forces == vec![[0.0; 3]; 2], "{out:?}");
}
