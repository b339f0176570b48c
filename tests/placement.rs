//! The placement promises: one answer, bit for bit, wherever kept states lie and whatever is rebuilt.

mod common;

use common::{bits, system};
use std::sync::Arc;
use weir_allocators::faults::{Faults, Operation};
use weir_allocators::kind::{AllocError, File, Hbm, Kind, Ledger, System};
use weir_backends::cpu::{
    create_cpu, hbm, Checkpoint, CpuCalculator, CpuOptions, CpuTier, Permission, PrecisionChoice, TierSpec,
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
        let model = Arc::new(new_model("tiny", 5).unwrap());
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

#[test]
fn same_answer_under_every_plan() {
    let folder = disk();
    for precision in [PrecisionChoice::F32, PrecisionChoice::F64] {
        let case = Case::new(precision);
        let expected = bits(&case.run(&mut case.calculator(&case.base)));
        let everything = {
            let mut c = case.calculator(&case.base);
            case.run(&mut c);
            c.peak_bytes()[0].1
        };
        let mut spilled = 0;
        let mut rebuilt = 0;
        let file = || file_tier(folder.path());
        let slow_tiers = [
            vec![],
            vec![system_tier()],
            file().into_iter().collect(),
            std::iter::once(system_tier()).chain(file()).collect::<Vec<_>>(),
        ];
        for slow in slow_tiers {
            for checkpoint in [Checkpoint::Auto, Checkpoint::All, Checkpoint::Every(2), Checkpoint::Every(3)] {
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
                        assert_eq!(
                            bits(&case.run(&mut calculator)),
                            expected,
                            "{precision:?} {:?} {checkpoint} {budget}",
                            slow
                        );
                        let peak = &calculator.peak_bytes()[0];
                        assert!(peak.1 <= budget, "{peak:?} of {budget}");
                        let plan = calculator.plan().unwrap();
                        spilled += u32::from(plan.prediction.out_bytes.iter().sum::<u64>() > 0);
                        rebuilt += u32::from(plan.prediction.rebuild > 0.0);
                    }
                }
            }
        }
        assert!(spilled >= 10 && rebuilt >= 10, "{spilled} plans spill, {rebuilt} rebuild");
    }
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
