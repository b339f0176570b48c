//! Steps beyond the range of products of halves, by every way into a step: the bits of the wider arithmetic alone.

use super::common::bits;
use super::given::{apart_and_together, Foreign};
use super::placed::{file, options, pinned, scratch, spilling, Case};
use super::products::{device, of_layers, with};
use super::resident::{fetch, send};
use std::sync::Arc;
use weir_allocators::faults::Faults;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::driver::{Driver, Memory};
use weir_backends::gpu::emulated::Emulated;
use weir_backends::gpu::{create, GpuCalculator, GpuOptions};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::graph::{summation_order, Cell, Images};
use weir_kernels::Products;

const BOTH: [Products; 2] = [Products::Tf32x3, Products::F16x3];

/// A calculator with one order of sums, whatever it computes first.
fn made(case: &Case, options: &GpuOptions, order: &[u32]) -> GpuCalculator {
    let mut calculator = case.calculator(device(options.products), options);
    calculator.set_order(order);
    calculator
}

fn run(case: &Case, x: &[[f64; 3]], calculator: &mut GpuCalculator) -> Vec<u64> {
    let mut out = Results::default();
    calculator.compute(x, Some(&case.cell), &FrameParameters::default(), Request::default(), &mut out).unwrap();
    bits(&out)
}

/// A system whose adjoints no half holds, wherever its atoms are.
fn beyond() -> Case {
    let mut case = of_layers(3);
    let m = Arc::make_mut(&mut case.model);
    m.descriptor.layers[2].n_residual.iter_mut().flatten().for_each(|r| *r *= 1e6);
    m.fitting.layers[0].linear.weight.iter_mut().for_each(|w| *w *= 1e-6);
    case
}

/// Two atoms so near that the inverse distance is beyond halves.
fn nearly_upon_each_other(x: &[[f64; 3]]) -> Vec<[f64; 3]> {
    let mut x = x.to_vec();
    x[1] = [x[0][0] + 8e-6, x[0][1] + 5e-6, x[0][2]];
    x
}

/// Where positions and forces stay on the device, queued, recorded and run again, in turn with steps that halves hold.
#[test]
fn a_step_on_the_device_beyond_halves_is_that_of_tf32x3() {
    let case = of_layers(2);
    let (far, near) = (case.x.clone(), nearly_upon_each_other(&case.x));
    // The list is too old as well.
    let mut moved = near.clone();
    moved.iter_mut().for_each(|x| x[2] += 0.7);
    let order = summation_order(&far, Some(&case.cell)).unwrap();
    let n = far.len();
    let alone = BOTH.map(|products| {
        [&far, &near, &moved]
            .map(|x| run(&case, x, &mut made(&case, &GpuOptions { skin: 0.6, ..with(products) }, &order)))
    });
    let [three, halves] = &alone;
    assert!(halves[0] != three[0] && halves[1..] == three[1..]);
    let driver = Arc::new(Emulated::new(device(Products::F16x3)));
    let options = GpuOptions { skin: 0.6, ..with(Products::F16x3) };
    let mut calculator = create(driver.clone(), case.model.clone(), &case.types, &options).unwrap();
    calculator.set_order(&order);
    let [positions, forces] = [0; 2].map(|_| driver.allocate(Memory::Device, 24 * n as u64).unwrap());
    let mut widened = 0;
    for (at, which) in [0, 1, 1, 1, 0, 2, 1, 0].into_iter().enumerate() {
        send(&driver, positions, [&far, &near, &moved][which]);
        // SAFETY: both hold N triples, and nobody else works with them.
        let totals =
            unsafe { calculator.compute_on_device(positions, forces, Some(&case.cell), &FrameParameters::default()) }
                .unwrap();
        // Atoms' energies stay there.
        let got = Results {
            energy: totals.energy,
            virial: totals.virial,
            forces: fetch(&driver, forces, n),
            ..Results::default()
        };
        let expected = &halves[which];
        let without = [&expected[..1], &expected[1 + n..]].concat();
        assert_eq!(bits(&got), without, "step {at}");
        widened += u64::from(which > 0);
        assert_eq!(calculator.widened_steps(), widened, "step {at}");
    }
    let (recorded, replayed) = calculator.recordings();
    assert!(recorded >= 2 && replayed > recorded && calculator.list_builds() > 1, "{recorded}, {replayed}");
}

#[test]
fn a_step_by_a_given_list_beyond_halves_is_that_of_tf32x3() {
    let case = beyond();
    let cell = Cell::new(&case.cell).unwrap();
    let foreign = Foreign::of(&case, &case.x, case.model.descriptor.options.e_rcut);
    let table = foreign.table(&cell);
    for (list, images) in [(&foreign.lattice, Images::Lattice(&cell)), (&foreign.numbered, Images::Table(&table))] {
        let [three, halves] = BOTH.map(|products| {
            let mut calculator = case.calculator(device(products), &with(products));
            calculator.take_list(list, &case.x, Some(&case.cell)).unwrap();
            let steps = [false, false, false, true].map(|atomic_virial| {
                let (mut out, none) = (Results::default(), FrameParameters::default());
                calculator.compute_given(&case.x, images, &none, Request { atomic_virial }, &mut out).unwrap();
                bits(&out)
            });
            (steps, calculator.widened_steps())
        });
        assert_eq!((halves.0, halves.1, three.1), (three.0, 4, 0));
    }
}

#[test]
fn a_step_in_tiles_that_spills_beyond_halves_is_that_of_tf32x3() {
    let folder = scratch();
    let case = beyond();
    let whole = run(&case, &case.x, &mut case.calculator(device(Products::Tf32x3), &with(Products::Tf32x3)));
    for slower in [pinned(), file(folder.path(), Faults::none())] {
        let d = device(Products::F16x3);
        let options = spilling(&case, d, &[slower], Products::F16x3);
        let mut calculator = case.calculator(d, &options);
        for step in 1..=3 {
            assert_eq!(run(&case, &case.x, &mut calculator), whole, "step {step}");
            assert_eq!(calculator.widened_steps(), step);
        }
        assert_eq!(calculator.recordings(), (2, 4));
        let plan = calculator.plan().unwrap();
        let tiles = plan.groups.iter().map(|g| g.tiles).sum::<u32>();
        assert!(tiles > 1 && plan.prediction.out_bytes.iter().sum::<u64>() > 0, "{tiles} tiles");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "scratch is left");
}

/// The attempt by halves is the one that finds the list too old, or the plan too small.
#[test]
fn a_step_beyond_halves_with_a_new_list_or_a_new_plan_is_that_of_tf32x3() {
    let (dilute, dense) = apart_and_together();
    let apart = dilute.x.clone();
    let moved: Vec<_> = nearly_upon_each_other(&apart).into_iter().map(|x| [x[0], x[1] + 0.4, x[2]]).collect();
    let denser = nearly_upon_each_other(&dense);
    let order = summation_order(&apart, Some(&dilute.cell)).unwrap();
    let base = |products| GpuOptions { skin: 0.5, products, ..options(PrecisionChoice::F32) };
    let first = run(&dilute, &apart, &mut made(&dilute, &base(Products::F16x3), &order));
    let [of_moved, of_denser] =
        [&moved, &denser].map(|x| run(&dilute, x, &mut made(&dilute, &base(Products::Tf32x3), &order)));
    let mut calculator = made(&dilute, &base(Products::F16x3), &order);
    let mut widened = 0;
    // The same step three times, so that it was recorded in both arithmetics when the plan changes.
    for (at, (x, expected, lists, plans)) in [
        (&apart, &first, 1, 1),
        (&moved, &of_moved, 2, 1),
        (&moved, &of_moved, 2, 1),
        (&moved, &of_moved, 2, 1),
        (&denser, &of_denser, 3, 2),
        (&moved, &of_moved, 4, 2),
        (&denser, &of_denser, 5, 2),
        (&apart, &first, 6, 2),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(&run(&dilute, x, &mut calculator), expected, "step {at}");
        widened += u64::from(expected != &first);
        let told = (calculator.widened_steps(), calculator.list_builds(), calculator.plans());
        assert_eq!(told, (widened, lists, plans), "step {at}");
    }
    assert!(calculator.recordings().0 >= 4, "{:?}", calculator.recordings());
}
