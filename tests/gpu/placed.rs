//! One answer wherever kept states lie, whatever is rebuilt, and however late copies run.

use super::common::{bits, system};
use std::path::Path;
use std::sync::Arc;
use weir_allocators::faults::{Faults, Operation};
use weir_allocators::kind::{File, Ledger, System};
use weir_backends::cpu::{Checkpoint, Permission, PrecisionChoice, Store};
use weir_backends::gpu::driver::Memory;
use weir_backends::gpu::emulated::{Eagerness, Emulated, EmulatedOptions, Watch};
use weir_backends::gpu::{create, hbm, GpuCalculator, GpuOptions, GpuTier, TierMemory};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::model::{new_model, Model};
use weir_engine::plan::placement::{smallest_feasible, TierSpec};
use weir_kernels::Products;

pub struct Case {
    pub model: Arc<Model>,
    pub cell: [[f64; 3]; 3],
    pub x: Vec<[f64; 3]>,
    pub types: Vec<i32>,
}

impl Case {
    fn new() -> Self {
        Self::of(16, 5.9, [[6.3, 0.0, 0.0], [0.9, 6.0, 0.0], [-1.4, 0.7, 6.6]])
    }

    /// Six layers, so that there is something to place.
    pub fn of(atoms: usize, side: f64, cell: [[f64; 3]; 3]) -> Self {
        Self::with(6, atoms, side, cell)
    }

    /// So many layers, six at most.
    pub fn with(layers: usize, atoms: usize, side: f64, cell: [[f64; 3]; 3]) -> Self {
        let mut model = new_model("tiny", 5).unwrap();
        let d = &mut model.descriptor;
        d.layers.extend(d.layers.clone());
        d.layers.truncate(layers);
        d.options.nlayers = d.layers.len();
        let (x, types) = system(atoms, side, 17, 2);
        Self { model: Arc::new(model), cell, x, types }
    }

    pub fn calculator(&self, device: EmulatedOptions, options: &GpuOptions) -> GpuCalculator {
        create(Arc::new(Emulated::new(device)), self.model.clone(), &self.types, options).unwrap()
    }

    pub fn run(&self, c: &mut GpuCalculator) -> Result<Results, String> {
        let mut out = Results::default();
        c.compute(&self.x, Some(&self.cell), &FrameParameters::default(), Request::default(), &mut out)
            .map_err(|e| e.to_string())?;
        Ok(out)
    }
}

pub fn options(precision: PrecisionChoice) -> GpuOptions {
    GpuOptions {
        precision,
        tile_edges: 120,
        tiers: vec![hbm(1 << 30)],
        poison: true,
        cache_dir: super::kept(),
        ..Default::default()
    }
}

/// Tiers of which the first is as small as it can be, so that states move between them.
pub fn tight(case: &Case, device: EmulatedOptions, base: &GpuOptions) -> GpuOptions {
    let with = |budget| GpuOptions { tiers: vec![hbm(budget), pinned()], ..base.clone() };
    let problem = case.calculator(device, &with(1 << 40)).problem(&case.x, Some(&case.cell)).unwrap();
    with(smallest_feasible(&problem).unwrap())
}

fn slow(name: &str, memory: TierMemory) -> GpuTier {
    let spec = TierSpec {
        name: name.into(),
        capacity: 1 << 30,
        out_rate: 4e9,
        in_rate: 5e9,
        both: 0.6,
        latency: 1e-6,
        overlap: 0.9,
    };
    GpuTier { spec, memory }
}

pub fn pinned() -> GpuTier {
    slow("pinned", TierMemory::Driver(Memory::Pinned))
}

fn host() -> GpuTier {
    let ledger = Ledger::new("system", "WEIR_HOST_BUDGET", 1 << 30);
    slow("system", TierMemory::Host(Arc::new(System::new(ledger, None, Vec::new(), Faults::none()))))
}

#[test]
fn same_answer_under_every_plan() {
    let case = Case::new();
    let base = options(PrecisionChoice::F32);
    let watched = EmulatedOptions::default();
    let expected = bits(&case.run(&mut case.calculator(watched, &base)).unwrap());
    let everything = {
        let mut c = case.calculator(watched, &base);
        case.run(&mut c).unwrap();
        c.peak_bytes()[0].1
    };
    let (mut spilled, mut rebuilt) = (0, 0);
    for slow in [vec![], vec![pinned()], vec![host()]] {
        for checkpoint in [Checkpoint::Auto, Checkpoint::All, Checkpoint::Every(2)] {
            let with = |budget| {
                let mut tiers = vec![hbm(budget)];
                tiers.extend(slow.clone());
                GpuOptions { tiers, checkpoint, ..base.clone() }
            };
            let problem = case.calculator(watched, &with(1 << 40)).problem(&case.x, Some(&case.cell)).unwrap();
            let least = smallest_feasible(&problem).unwrap();
            for budget in [(everything + least) / 2, least] {
                for eagerness in [Eagerness::Lazy, Eagerness::Eager] {
                    let device = EmulatedOptions { eagerness, ..watched };
                    let mut c = case.calculator(device, &with(budget.max(least)));
                    let got = bits(&case.run(&mut c).unwrap());
                    assert_eq!(got, expected, "{} slow tiers, {checkpoint}, {budget}, {eagerness:?}", slow.len());
                    let peak = &c.peak_bytes()[0];
                    assert!(peak.1 <= budget.max(least), "{peak:?} of {budget}");
                    let p = &c.plan().unwrap().prediction;
                    spilled += u32::from(p.out_bytes.iter().sum::<u64>() > 0);
                    rebuilt += u32::from(p.rebuild > 0.0);
                }
            }
        }
    }
    assert!(spilled >= 6 && rebuilt >= 6, "{spilled} plans spill, {rebuilt} rebuild");
}

#[test]
fn rounded_states_have_the_same_bits_in_every_tier() {
    let case = Case::new();
    for (precision, store) in
        [(PrecisionChoice::F64, Store::F32), (PrecisionChoice::F32, Store::F16), (PrecisionChoice::F32, Store::Bf16)]
    {
        let base = GpuOptions { store, ..options(precision) };
        let watched = EmulatedOptions::default();
        let expected = case.run(&mut case.calculator(watched, &base)).unwrap();
        let exact = case.run(&mut case.calculator(watched, &options(precision))).unwrap();
        assert_ne!(bits(&expected), bits(&exact), "{store} rounds");
        let got = case.run(&mut case.calculator(watched, &tight(&case, watched, &base))).unwrap();
        assert_eq!(bits(&got), bits(&expected), "{store}");
    }
}

#[test]
fn waves_and_shared_memory_leave_no_trace() {
    let case = Case::new();
    let base = options(PrecisionChoice::F64);
    let expected = bits(&case.run(&mut case.calculator(EmulatedOptions::default(), &base)).unwrap());
    let waves = EmulatedOptions { wave: 64, ..Default::default() };
    assert_eq!(bits(&case.run(&mut case.calculator(waves, &base)).unwrap()), expected);
    // From all that a block may have down to the fewest rows of every kernel.
    for limit in [160, 12, 9].map(|kilobytes| kilobytes << 10) {
        let other = GpuOptions { shared_limit: Some(limit), ..base.clone() };
        let got = case.run(&mut case.calculator(EmulatedOptions::default(), &other)).unwrap();
        assert_eq!(bits(&got), expected, "{limit} bytes");
    }
    let unwatched = EmulatedOptions { watch: Watch::Nothing, ..Default::default() };
    assert_eq!(bits(&case.run(&mut case.calculator(unwatched, &base)).unwrap()), expected);
    for blocks in [2, 8] {
        let other = GpuOptions { blocks: Some(blocks), ..base.clone() };
        assert_eq!(bits(&case.run(&mut case.calculator(unwatched, &other)).unwrap()), expected, "{blocks} blocks");
    }
}

#[test]
fn a_budget_below_the_smallest_is_an_error_before_any_work() {
    let case = Case::new();
    let base = options(PrecisionChoice::F32);
    let problem = case.calculator(EmulatedOptions::default(), &base).problem(&case.x, Some(&case.cell)).unwrap();
    let least = smallest_feasible(&problem).unwrap();
    let short = GpuOptions { tiers: vec![hbm(least - 1)], ..base.clone() };
    let e = case.run(&mut case.calculator(EmulatedOptions::default(), &short)).unwrap_err();
    assert!(e.contains("tier hbm lacks"), "{e}");
    // A device that is really smaller than its budget says.
    let weights = 1 << 20;
    let device = EmulatedOptions { memory: weights + (least - weights) / 2, ..Default::default() };
    let e = case.run(&mut case.calculator(device, &base)).unwrap_err();
    assert!(e.contains("tier hbm lacks") && e.contains("of the budget of 1.00 GiB only"), "{e}");
}

#[test]
fn a_second_calculator_gets_what_the_first_has_left_of_the_device() {
    let case = Case::new();
    let wider = |row: [f64; 3]| row.map(|v| 1.06 * v);
    let (x, cell) = (case.x.iter().copied().map(wider).collect(), case.cell.map(wider));
    let loose = Case { model: case.model.clone(), types: case.types.clone(), x, cell };
    let base = GpuOptions { poison: false, ..options(PrecisionChoice::F32) };
    let large = EmulatedOptions { watch: Watch::Nothing, ..Default::default() };
    let planned = |c: &GpuCalculator| c.device_memory().unwrap().planned;
    let mut lone = case.calculator(large, &base);
    let expected = bits(&case.run(&mut lone).unwrap());
    let wanted = planned(&lone);
    let least = smallest_feasible(&lone.problem(&case.x, Some(&case.cell)).unwrap()).unwrap();
    // Room for what the first wants, and for a second that rebuilds.
    let memory = wanted + least + least / 5;
    assert!(memory < 2 * wanted, "{wanted} {least}");
    let driver = Arc::new(Emulated::new(EmulatedOptions { memory, ..large }));
    let make = || create(driver.clone(), case.model.clone(), &case.types, &base).unwrap();
    let (mut first, mut second) = (make(), make());
    assert_eq!(bits(&case.run(&mut first).unwrap()), expected);
    assert_eq!(planned(&first), wanted, "the plan of a lone one");
    // More neighbours are a new plan, into the place of the old one, whose memory comes back.
    loose.run(&mut second).unwrap();
    for step in 0..3 {
        assert_eq!(bits(&case.run(&mut second).unwrap()), expected, "step {step}");
        assert_eq!(bits(&case.run(&mut first).unwrap()), expected, "step {step}");
    }
    assert_eq!((first.plans(), second.plans()), (1, 2));
    assert!(second.plan().unwrap().prediction.rebuild > 0.0 && planned(&second) <= memory - wanted);
}

#[test]
fn updates_in_turn_have_the_same_bits_under_every_plan() {
    let mut case = Case::with(4, 10, 5.0, [[5.4, 0.0, 0.0], [0.8, 5.1, 0.0], [-1.2, 0.6, 5.6]]);
    let mut model = (*case.model).clone();
    model.descriptor.options.sequential_update = true;
    case.model = Arc::new(model);
    let watched = EmulatedOptions::default();
    let base = GpuOptions { tile_edges: 60, ..options(PrecisionChoice::Model) };
    let refused = |o: GpuOptions| create(Arc::new(Emulated::new(watched)), case.model.clone(), &case.types, &o).err();
    assert!(refused(GpuOptions { precision: PrecisionChoice::F32, ..base.clone() })
        .unwrap()
        .to_string()
        .contains("f64"));
    let store = refused(GpuOptions { store: Store::F32, ..base.clone() }).unwrap().to_string();
    assert!(store.contains("WEIR_STORE"), "{store}");
    let mut everything = case.calculator(watched, &base);
    let expected = bits(&case.run(&mut everything).unwrap());
    assert!(everything.plan().unwrap().prediction.rebuild == 0.0);
    for (rebuild, checkpoint) in
        [(Permission::Forbidden, Checkpoint::Auto), (Permission::Allowed, Checkpoint::Every(2))]
    {
        let options = tight(&case, watched, &GpuOptions { rebuild, checkpoint, ..base.clone() });
        for eagerness in [Eagerness::Lazy, Eagerness::Eager] {
            let mut c = case.calculator(EmulatedOptions { eagerness, ..watched }, &options);
            assert_eq!(bits(&case.run(&mut c).unwrap()), expected, "{checkpoint}, {eagerness:?}");
            let p = &c.plan().unwrap().prediction;
            assert!(p.out_bytes.iter().sum::<u64>() > 0 || p.rebuild > 0.0, "{checkpoint}");
        }
    }
}

#[test]
fn what_may_not_be_rebuilt_is_not() {
    let case = Case::new();
    let base = GpuOptions { rebuild: Permission::Forbidden, ..options(PrecisionChoice::F32) };
    let mut c = case.calculator(EmulatedOptions::default(), &base);
    case.run(&mut c).unwrap();
    assert_eq!(c.plan().unwrap().prediction.rebuild, 0.0);
    assert!(c.launches() > 0);
}

pub fn file(folder: &Path, faults: Faults) -> GpuTier {
    let ledger = Ledger::new("file", "WEIR_FILE_BUDGET", 1 << 30);
    slow("file", TierMemory::Host(Arc::new(File::new(ledger, folder, faults).unwrap())))
}

/// Everything kept and nothing rebuilt, in as little memory of the device as that takes, with slots that hold a fraction of a state.
pub fn spilling(case: &Case, device: EmulatedOptions, slower: &[GpuTier], products: Products) -> GpuOptions {
    let base = GpuOptions {
        poison: false,
        rebuild: Permission::Forbidden,
        checkpoint: Checkpoint::All,
        file_slot: 4096,
        products,
        ..options(PrecisionChoice::F32)
    };
    let with = |budget| {
        let mut tiers = vec![hbm(budget)];
        tiers.extend_from_slice(slower);
        GpuOptions { tiers, ..base.clone() }
    };
    let problem = case.calculator(device, &with(1 << 40)).problem(&case.x, Some(&case.cell)).unwrap();
    with(smallest_feasible(&problem).unwrap())
}

pub fn scratch() -> tempfile::TempDir {
    // Beside the build, not in the temporary folder, which may be memory.
    tempfile::Builder::new().prefix("scratch").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn states_in_a_file_have_the_same_bits_queued_recorded_and_run_again() {
    let case = Case::new();
    let folder = scratch();
    let expected =
        bits(&case.run(&mut case.calculator(EmulatedOptions::default(), &options(PrecisionChoice::F32))).unwrap());
    for (watch, eagerness) in
        [(Watch::Nothing, Eagerness::Lazy), (Watch::Nothing, Eagerness::Eager), (Watch::Memory, Eagerness::Lazy)]
    {
        let device = EmulatedOptions { watch, eagerness, ..Default::default() };
        let mut little = pinned();
        little.spec.capacity = 64 << 10;
        for slower in [vec![file(folder.path(), Faults::none())], vec![little, file(folder.path(), Faults::none())]] {
            let options = spilling(&case, device, &slower, Products::Plain);
            let driver = Arc::new(Emulated::new(device));
            let mut c = create(driver.clone(), case.model.clone(), &case.types, &options).unwrap();
            let mut taken = 0;
            for step in 0..4 {
                assert_eq!(bits(&case.run(&mut c).unwrap()), expected, "step {step}, {watch:?}, {eagerness:?}");
                if step == 1 {
                    taken = driver.allocations();
                }
            }
            assert_eq!(c.recordings(), (1, 3));
            assert_eq!(driver.allocations(), taken, "a step took memory");
            let plan = c.plan().unwrap();
            let at = plan.tiers.iter().position(|t| t == "file").unwrap();
            assert!(plan.prediction.out_bytes[at] > 8 * 4096, "{:?}", plan.prediction.out_bytes);
            drop(c);
            assert_eq!(driver.live(), Default::default());
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "scratch is left");
}

#[test]
fn a_file_that_fails_ends_its_step_with_its_error_and_the_next_step_is_a_good_one() {
    let case = Case::with(3, 10, 5.0, [[5.4, 0.0, 0.0], [0.8, 5.1, 0.0], [-1.2, 0.6, 5.6]]);
    let folder = scratch();
    let device = EmulatedOptions { watch: Watch::Nothing, ..Default::default() };
    let counting = Faults::counting();
    let options = |faults: &Faults| spilling(&case, device, &[file(folder.path(), faults.clone())], Products::Plain);
    let mut c = case.calculator(device, &options(&counting));
    let expected = bits(&case.run(&mut c).unwrap());
    let first = [Operation::Write, Operation::Read].map(|o| counting.seen(o));
    for _ in 0..2 {
        assert_eq!(bits(&case.run(&mut c).unwrap()), expected);
    }
    drop(c);
    for (operation, first) in [Operation::Write, Operation::Read].into_iter().zip(first) {
        let all = counting.seen(operation);
        assert!(first > 4 && all == 3 * first, "{operation}: {first}, {all}");
        // Of a step queued piece by piece, of the recorded one, of one that is run again.
        for n in [1, first / 2, first, first + 2, 2 * first, all] {
            let driver = Arc::new(Emulated::new(device));
            let faults = Faults::fail(operation, n);
            let mut c = create(driver.clone(), case.model.clone(), &case.types, &options(&faults)).unwrap();
            let mut failed = 0;
            for _ in 0..4 {
                match case.run(&mut c) {
                    Ok(got) => assert_eq!(bits(&got), expected, "{operation} {n}"),
                    Err(e) => {
                        assert!(e.contains(&format!("{operation} number {n} was made to fail")), "{e}");
                        failed += 1;
                    }
                }
            }
            assert_eq!(failed, 1, "{operation} {n}");
            drop(c);
            assert_eq!(driver.live(), Default::default(), "{operation} {n}");
        }
    }
    // The disk is full before the first step.
    let e = case.run(&mut case.calculator(device, &options(&Faults::fail(Operation::Touch, 1)))).unwrap_err();
    assert!(e.contains("was made to fail"), "{e}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "scratch is left");
}

#[test]
fn where_memory_is_short_smaller_tiles_are_taken_and_leave_no_trace() {
    // About seventy edges an atom: three tiles of the smallest size.
    let case = Case::with(3, 150, 12.4, [[12.9, 0.0, 0.0], [0.9, 12.6, 0.0], [-1.2, 0.6, 13.0]]);
    let device = EmulatedOptions { watch: Watch::Nothing, ..Default::default() };
    let base = GpuOptions { poison: false, rebuild: Permission::Forbidden, ..options(PrecisionChoice::F32) };
    let with = |tile_edges, budget| GpuOptions { tile_edges, tiers: vec![hbm(budget)], ..base.clone() };
    let least = |tile_edges| {
        let problem = case.calculator(device, &with(tile_edges, 1 << 40)).problem(&case.x, Some(&case.cell)).unwrap();
        (smallest_feasible(&problem).unwrap(), problem.tiles.len())
    };
    let ((large, one), (small, many)) = (least(0), least(4096));
    assert!(one == 1 && many > 2 && small < large, "{one} tiles: {large}, {many}: {small}");
    let run = |tile_edges, budget| case.run(&mut case.calculator(device, &with(tile_edges, budget)));
    let expected = bits(&run(0, 1 << 30).unwrap());
    // Fixed tiles do not fit; chosen ones shrink, and not further than they must.
    assert!(run(1 << 17, large - 1).unwrap_err().contains("tier hbm lacks"));
    for budget in [large - 1, small] {
        let mut c = case.calculator(device, &with(0, budget));
        assert_eq!(bits(&case.run(&mut c).unwrap()), expected, "{budget}");
        let tiles: u32 = c.plan().unwrap().groups.iter().map(|g| g.tiles).sum();
        assert!(tiles > 1 && (budget == large - 1) == (tiles < many as u32), "{tiles} tiles in {budget}");
        assert!(c.peak_bytes()[0].1 <= budget);
    }
    // Below, the error is that of the smallest tiles: what it asks for is enough.
    let e = run(0, small - 1).unwrap_err();
    assert!(e.contains("tier hbm lacks 1 B of") && e.contains("WEIR_HBM_BUDGET="), "{e}");
}
