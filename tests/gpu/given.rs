//! Lists that somebody else made: the bits of the device's own list, whatever the pairs' order and images.

use super::common::{bits, largest_difference, Numbers};
use super::placed::{options, Case};
use std::sync::Arc;
use weir_backends::cpu::{create_cpu, CpuOptions, PrecisionChoice};
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, Watch};
use weir_backends::gpu::{create, GpuOptions};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::graph::{summation_order, Cell, GivenList, Images, NeighbourList, Pair};

/// The pairs of an MD code: in its own order, with a skin, and a table of translations beside the multiples of lattice vectors.
pub struct Foreign {
    pub lattice: GivenList,
    pub numbered: GivenList,
    multiples: Vec<[i32; 3]>,
}

impl Foreign {
    pub fn of(case: &Case, x: &[[f64; 3]], cutoff: f64) -> Self {
        let order = summation_order(x, Some(&case.cell)).unwrap();
        let list = NeighbourList::build(x, Some(&case.cell), &case.types, &order, cutoff, 0.7).unwrap();
        let mut rows: Vec<Vec<Pair>> = vec![Vec::new(); x.len()];
        for (k, &input) in order.iter().enumerate() {
            let pairs = &list.pairs[list.first[k] as usize..list.first[k + 1] as usize];
            // Farthest images first, as good an order as any.
            rows[input as usize].extend(pairs.iter().rev().map(|p| Pair { owner: order[p.owner as usize], ..*p }));
        }
        let mut first = vec![0];
        rows.iter().for_each(|r| first.push(first[first.len() - 1] + r.len() as u32));
        let pairs = rows.concat();
        // The home image is row 0; a ghost of its own for every other pair.
        let mut multiples = vec![[0; 3]];
        let numbered = pairs.iter().map(|p| {
            let mut row = 0;
            if p.image != [0; 3] {
                row = multiples.len() as i32;
                multiples.push(p.image);
            }
            Pair { owner: p.owner, image: [row, 0, 0] }
        });
        let numbered = GivenList { pairs: numbered.collect(), first: first.clone() };
        Foreign { lattice: GivenList { first, pairs }, numbered, multiples }
    }

    pub fn table(&self, cell: &Cell) -> Vec<[f64; 3]> {
        self.multiples.iter().map(|&n| cell.translation(n)).collect()
    }
}

#[test]
fn a_given_list_has_the_bits_of_the_devices_own_and_one_recording_serves_them_all() {
    let case = Case::with(3, 16, 6.0, [[6.5, 0.0, 0.0], [0.9, 6.3, 0.0], [-1.2, 0.6, 6.8]]);
    let device = EmulatedOptions::default();
    let options = options(PrecisionChoice::F64);
    let driver = Arc::new(Emulated::new(device));
    let mut given = create(driver.clone(), case.model.clone(), &case.types, &options).unwrap();
    let cpu_options = CpuOptions { threads: 2, precision: PrecisionChoice::F64, ..Default::default() };
    let mut cpu = create_cpu(case.model.clone(), &case.types, &cpu_options).unwrap();
    let (none, all) = (FrameParameters::default(), Request { atomic_virial: true });
    let mut out = Results::default();
    let e = given.compute_given(&case.x, Images::None, &none, all, &mut out).unwrap_err().to_string();
    assert!(e.contains("no neighbour list was given"), "{e}");
    let (cell, cutoff) = (Cell::new(&case.cell).unwrap(), case.model.descriptor.options.e_rcut);
    let (mut x, mut r) = (case.x.clone(), Numbers(9));
    let mut lattice_bits = Vec::new();
    for round in 0..3 {
        x.iter_mut().flatten().for_each(|v| *v += 0.3 * (r.next() - 0.5));
        let foreign = Foreign::of(&case, &x, cutoff);
        given.take_list(&foreign.lattice, &x, Some(&case.cell)).unwrap();
        // Atoms move under the list; what its maker answers for is not asked again.
        for _ in 0..2 {
            x.iter_mut().flatten().for_each(|v| *v += 0.1 * (r.next() - 0.5));
            given.compute_given(&x, Images::Lattice(&cell), &none, Request::default(), &mut out).unwrap();
        }
        let mut own = case.calculator(device, &options);
        own.set_order(given.order());
        let mut expected = Results::default();
        own.compute(&x, Some(&case.cell), &none, Request::default(), &mut expected).unwrap();
        assert_eq!(bits(&out), bits(&expected), "round {round}");
        lattice_bits = bits(&expected);
        // A recording ends with its plan, not with its list.
        assert!(given.recordings().0 as usize <= given.plans() && given.recordings().1 > round, "round {round}");
    }
    assert!(given.list_builds() == 3 && given.plans() < 3, "{} lists, {} plans", given.list_builds(), given.plans());
    // The same pairs with translations of their own, on both backends, with terms of atoms.
    let foreign = Foreign::of(&case, &x, cutoff);
    let table = foreign.table(&cell);
    given.take_list(&foreign.numbered, &x, Some(&case.cell)).unwrap();
    cpu.take_list(&foreign.numbered, &x, Some(&case.cell)).unwrap();
    let (mut first, mut expected) = (Results::default(), Results::default());
    given.compute_given(&x, Images::Table(&table), &none, Request::default(), &mut first).unwrap();
    if given.order() == summation_order(&x, Some(&case.cell)).unwrap() {
        let mut own = case.calculator(device, &options);
        own.compute(&x, Some(&case.cell), &none, Request::default(), &mut out).unwrap();
        assert_eq!(bits(&first), bits(&out));
    }
    assert_eq!(bits(&first).len(), lattice_bits.len());
    given.compute_given(&x, Images::Table(&table), &none, all, &mut out).unwrap();
    cpu.compute_given(&x, Images::Table(&table), &none, all, &mut expected).unwrap();
    assert!((out.energy - expected.energy).abs() < 1e-10);
    let flat = |r: &Results| (r.forces.concat(), r.atomic_virial.as_ref().unwrap().concat());
    let (got, want) = (flat(&out), flat(&expected));
    assert!(largest_difference(&got.0, &want.0) < 1e-10 && largest_difference(&got.1, &want.1) < 1e-9);
    // Faults are named as the host names them, and the list stays.
    let mut bad = x.clone();
    bad[1] = bad[0];
    let e = given.compute_given(&bad, Images::Table(&table), &none, Request::default(), &mut out).unwrap_err();
    assert!(e.to_string().contains("atoms 0 and 1 coincide"), "{e}");
    // Translations that are missing would be read from elsewhere.
    let short = Images::Table(&table[..1]);
    for e in [
        given.compute_given(&x, short, &none, Request::default(), &mut out).unwrap_err(),
        cpu.compute_given(&x, short, &none, Request::default(), &mut out).unwrap_err(),
    ] {
        assert!(e.to_string().contains("table of translations has 1 rows"), "{e}");
    }
    given.compute_given(&x, Images::Table(&table), &none, Request::default(), &mut out).unwrap();
    assert_eq!(bits(&out), bits(&first));
    // Back to lists of its own.
    given.compute(&x, Some(&case.cell), &none, Request::default(), &mut out).unwrap();
    assert_eq!(bits(&out), bits(&first));
    drop(given);
    assert_eq!(driver.live(), Default::default());
}

#[test]
fn a_recording_outlives_lists_that_fit_and_no_more() {
    let case = Case::with(3, 16, 6.0, [[6.5, 0.0, 0.0], [0.9, 6.3, 0.0], [-1.2, 0.6, 6.8]]);
    let device = EmulatedOptions { watch: Watch::Nothing, ..Default::default() };
    let base = GpuOptions { skin: 0.2, poison: false, ..options(PrecisionChoice::F32) };
    let mut recorded = case.calculator(device, &base);
    let mut plain = case.calculator(device, &GpuOptions { graph: false, ..base });
    let (mut x, mut r, none) = (case.x.clone(), Numbers(5), FrameParameters::default());
    for step in 0..12 {
        // Every step is too far for the list of the one before.
        x.iter_mut().flatten().for_each(|v| *v += 0.3 * (r.next() - 0.5));
        let (mut a, mut b) = (Results::default(), Results::default());
        recorded.compute(&x, Some(&case.cell), &none, Request::default(), &mut a).unwrap();
        plain.compute(&x, Some(&case.cell), &none, Request::default(), &mut b).unwrap();
        assert_eq!(bits(&a), bits(&b), "step {step}");
    }
    assert!(recorded.list_builds() > 10, "{} lists", recorded.list_builds());
    let plans = recorded.plans() as u64;
    assert!(recorded.recordings().0 <= plans && plans < 4, "{:?} and {plans} plans", recorded.recordings());
    // The host makes graphs only where something has to be planned.
    assert_eq!(recorded.host_graphs() as u64, plans);
}

/// A dilute system, and its atoms so near each other that a plan for it does not hold them.
pub fn apart_and_together() -> (Case, Vec<[f64; 3]>) {
    let case = Case::with(3, 30, 9.0, [[12.0, 0.0, 0.0], [0.5, 12.0, 0.0], [-0.6, 0.6, 12.0]]);
    let near = case.x.iter().map(|x| std::array::from_fn(|k| 4.5 + 0.8 * (x[k] - 4.5))).collect();
    (case, near)
}

#[test]
fn a_denser_system_in_a_new_list_is_planned_again() {
    let (case, near) = apart_and_together();
    let device = EmulatedOptions::default();
    let base = GpuOptions { skin: 0.5, ..options(PrecisionChoice::F32) };
    let (none, plain) = (FrameParameters::default(), Request::default());
    let (cell, cutoff) = (Cell::new(&case.cell).unwrap(), case.model.descriptor.options.e_rcut);
    let fresh = |order: &[u32]| {
        let (mut c, mut out) = (case.calculator(device, &base), Results::default());
        c.set_order(order);
        c.compute(&near, Some(&case.cell), &none, plain, &mut out).unwrap();
        bits(&out)
    };
    for given in [false, true] {
        let (mut c, mut out) = (case.calculator(device, &base), Results::default());
        let mut step = |x: &[[f64; 3]]| {
            if given {
                c.take_list(&Foreign::of(&case, x, cutoff).lattice, x, Some(&case.cell)).unwrap();
                c.compute_given(x, Images::Lattice(&cell), &none, plain, &mut out).unwrap();
            } else {
                c.compute(x, Some(&case.cell), &none, plain, &mut out).unwrap();
            }
            (bits(&out), c.list_builds(), c.plans(), c.host_graphs(), c.order().to_vec())
        };
        for round in 0..3 {
            let (_, lists, plans, graphs, _) = step(&case.x);
            assert_eq!((lists, plans, graphs), (if given { round + 1 } else { 1 }, 1, 1));
        }
        let (got, lists, plans, graphs, order) = step(&near);
        assert_eq!(
            (lists, plans, graphs),
            (if given { 4 } else { 2 }, 2, 2),
            "the device tells that the plan does not hold"
        );
        assert_eq!(got, fresh(&order), "given: {given}");
    }
}

#[test]
fn a_step_whose_list_is_too_old_computes_next_to_nothing() {
    let case = Case::with(3, 16, 6.0, [[6.5, 0.0, 0.0], [0.9, 6.3, 0.0], [-1.2, 0.6, 6.8]]);
    let driver = Arc::new(Emulated::new(EmulatedOptions::default()));
    let base = GpuOptions { skin: 0.5, ..options(PrecisionChoice::F32) };
    let mut c = create(driver.clone(), case.model.clone(), &case.types, &base).unwrap();
    let (none, plain) = (FrameParameters::default(), Request::default());
    // Nodes are updated whether they have edges or not, and every centre has a little to do of its own.
    let of_edges = |name: &str| name.starts_with("edge") || name.starts_with("angle");
    let activations = || driver.counts().iter().filter(|k| of_edges(k.0)).map(|k| k.1.activations).sum::<u64>();
    let mut of_steps = Vec::new();
    for shift in [0.0, 0.0, 0.4] {
        let x: Vec<[f64; 3]> = case.x.iter().map(|x| x.map(|v| v + shift)).collect();
        let before = activations();
        c.compute(&x, Some(&case.cell), &none, plain, &mut Results::default()).unwrap();
        of_steps.push(activations() - before);
    }
    assert_eq!(c.list_builds(), 2);
    let whole = of_steps[0];
    assert!(whole > 0 && whole == of_steps[1] && of_steps[2] - whole < whole / 100, "{of_steps:?}");
    // So does one whose positions are refused.
    let mut bad = case.x.clone();
    bad[1] = bad[0];
    let before = activations();
    c.compute(&bad, Some(&case.cell), &none, plain, &mut Results::default()).unwrap_err();
    assert!(activations() - before < whole / 100, "{}", activations() - before);
}

#[test]
fn what_is_prepared_is_planned_at_its_own_positions() {
    let (case, near) = apart_and_together();
    let base = GpuOptions { skin: 0.5, ..options(PrecisionChoice::F32) };
    let mut c = case.calculator(EmulatedOptions { watch: Watch::Nothing, ..Default::default() }, &base);
    for (x, plans) in [(&case.x, 1), (&case.x, 1), (&near, 2), (&near, 2)] {
        c.prepare(x, Some(&case.cell)).unwrap();
        assert_eq!(c.plans(), plans);
    }
    c.compute(&near, Some(&case.cell), &FrameParameters::default(), Request::default(), &mut Results::default())
        .unwrap();
    assert_eq!((c.plans(), c.list_builds()), (2, 2));
}
