//! A step recorded once and run again has the bits of one that is queued piece by piece.

use super::common::{bits, Numbers};
use super::placed::{options, tight, Case};
use std::sync::Arc;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::emulated::{Eagerness, Emulated, EmulatedOptions, Watch};
use weir_backends::gpu::{create, GpuCalculator, GpuOptions};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};

type Cell = [[f64; 3]; 3];

fn step(c: &mut GpuCalculator, x: &[[f64; 3]], cell: &Cell, request: Request) -> Vec<u64> {
    let mut out = Results::default();
    c.compute(x, Some(cell), &FrameParameters::default(), request, &mut out).unwrap();
    bits(&out)
}

#[test]
fn a_recorded_step_has_the_same_bits_and_is_recorded_anew_when_the_plan_changes() {
    let case = Case::of(16, 6.0, [[6.5, 0.0, 0.0], [0.9, 6.3, 0.0], [-1.2, 0.6, 6.8]]);
    for eagerness in [Eagerness::Lazy, Eagerness::Eager] {
        // Unwatched: what a missing wait spoils shows in the bits of one of the two.
        let device = EmulatedOptions { eagerness, watch: Watch::Nothing, ..Default::default() };
        let base = GpuOptions { skin: 0.6, tile_edges: 150, poison: false, ..options(PrecisionChoice::F32) };
        // Room enough for the plan of the squeezed cell.
        let mut recorded = tight(&case, device, &base);
        recorded.tiers[0].spec.capacity *= 3;
        recorded.checkpoint = weir_backends::cpu::Checkpoint::All;
        let driver = Arc::new(Emulated::new(device));
        let mut with = create(driver.clone(), case.model.clone(), &case.types, &recorded).unwrap();
        let plain = GpuOptions { graph: false, ..recorded };
        let mut without = case.calculator(device, &plain);
        let (mut x, mut cell) = (case.x.clone(), case.cell);
        let mut numbers = Numbers(3);
        let mut same = |x: &[[f64; 3]], cell: &Cell, request| {
            assert_eq!(step(&mut with, x, cell, request), step(&mut without, x, cell, request));
            assert_eq!((with.launches(), with.plans()), (without.launches(), without.plans()));
            assert_eq!(without.recordings(), (0, 0));
            with.recordings()
        };
        let one = Request::default();
        assert_eq!(same(&x, &cell, one), (0, 0));
        assert_eq!(same(&x, &cell, one), (1, 1));
        let taken = driver.allocations();
        x.iter_mut().flatten().for_each(|v| *v += 0.05 * (numbers.next() - 0.5));
        assert_eq!(same(&x, &cell, one), (1, 2));
        // Atomic virials add steps with weights, which are not recorded, and do no harm to what is.
        assert_eq!(same(&x, &cell, Request { atomic_virial: true }), (1, 3));
        assert_eq!(same(&x, &cell, one), (1, 4));
        assert_eq!(driver.allocations(), taken, "a step took memory");
        // Too far for the list: the recorded step says so, and serves the new list, which lies where the old one lay.
        for (at, far) in [0.4, -0.4, 0.4].into_iter().enumerate() {
            x[3][0] += far;
            assert_eq!(same(&x, &cell, one), (1, 6 + 2 * at as u64));
        }
        assert_eq!(driver.allocations(), taken, "a list took memory");
        // Squeezed: more pairs than there was room for, and another plan.
        let squeeze = |v: &mut [f64; 3]| v.iter_mut().for_each(|c| *c *= 0.8);
        x.iter_mut().for_each(squeeze);
        cell.iter_mut().for_each(squeeze);
        assert_eq!(same(&x, &cell, one), (1, 10));
        assert_eq!(same(&x, &cell, one), (2, 11));
        assert_eq!((with.plans(), with.list_builds()), (2, 5));
        drop(with);
        assert_eq!(driver.recordings().0, 2);
        assert_eq!(driver.live(), Default::default());
    }
}

#[test]
fn an_overflow_in_a_recorded_step_is_planned_again() {
    let case = Case::with(3, 30, 9.0, [[12.0, 0.0, 0.0], [0.5, 12.0, 0.0], [-0.6, 0.6, 12.0]]);
    let device = EmulatedOptions::default();
    // A skin so wide that every pair stays in the list while atoms come together.
    let base = GpuOptions { skin: 4.0, ..options(PrecisionChoice::F32) };
    let mut c = case.calculator(device, &base);
    for at in 0..2 {
        assert_eq!(step(&mut c, &case.x, &case.cell, Request::default()).len(), 1 + 30 + 90 + 9);
        assert_eq!((c.plans(), c.recordings()), (1, (at, at)));
    }
    let centre = [4.5; 3];
    let near: Vec<[f64; 3]> =
        case.x.iter().map(|x| std::array::from_fn(|k| centre[k] + 0.8 * (x[k] - centre[k]))).collect();
    let order = c.order().to_vec();
    let got = step(&mut c, &near, &case.cell, Request::default());
    assert_eq!((c.list_builds(), c.plans()), (1, 2), "the list holds, the plan does not");
    let mut fresh = case.calculator(device, &base);
    fresh.set_order(&order);
    assert_eq!(got, step(&mut fresh, &near, &case.cell, Request::default()));
}
