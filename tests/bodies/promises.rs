//! Bodies of the promises, for any backend: what Weir promises of every result, whatever the model.
#![allow(missing_docs)]

use super::common::*;
use std::sync::Arc;
use weir_backends::cpu::{Checkpoint, PrecisionChoice};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::model::Model;

type Cell = Option<[[f64; 3]; 3]>;

pub fn model(name: &str) -> Arc<Model> {
    load_model(&data("parity").join(name).join("model.dp"))
}

pub fn run<B: Backend>(model: &Arc<Model>, settings: &Settings, x: &[[f64; 3]], cell: &Cell, types: &[i32]) -> Results {
    step(B::make(model, types, settings).as_mut(), x, cell)
}

fn step<C: Calculator + ?Sized>(calculator: &mut C, x: &[[f64; 3]], cell: &Cell) -> Results {
    let mut out = Results::default();
    let request = Request { atomic_virial: false };
    calculator.compute(x, cell.as_ref(), &FrameParameters::default(), request, &mut out).unwrap();
    out
}

pub fn triclinic(side: f64) -> Cell {
    Some([[side, 0.0, 0.0], [0.13 * side, 0.97 * side, 0.0], [-0.2 * side, 0.1 * side, 1.04 * side]])
}

/// A length for so many atoms instead of `full`, at the same density.
pub fn scaled(length: f64, atoms: usize, full: usize) -> f64 {
    length * (atoms as f64 / full as f64).cbrt()
}

/// On so many atoms.
pub fn forces_are_minus_gradient<B: Backend>(atoms: usize) {
    for name in ["tiny", "fixed_nonsmooth_trunc", "acomp_linear", "multi_edge", "sequential"] {
        let model = model(name);
        for cell in [None, triclinic(scaled(6.2, atoms, 20))] {
            let (x, types) = system(atoms, scaled(6.0, atoms, 20), 11, model.types());
            let forces = run::<B>(&model, &Settings::default(), &x, &cell, &types).forces;
            let h = 1e-4;
            for atom in [0, atoms / 3, atoms - 1] {
                for axis in 0..3 {
                    let energy = |d: f64| {
                        let mut y = x.clone();
                        y[atom][axis] += d;
                        run::<B>(&model, &Settings::default(), &y, &cell, &types).energy
                    };
                    // Fourth-order central differences.
                    let slope = (8.0 * (energy(h) - energy(-h)) - (energy(2.0 * h) - energy(-2.0 * h))) / (12.0 * h);
                    let f = forces[atom][axis];
                    assert!((f + slope).abs() < 1e-7 * (1.0 + f.abs()), "{name} {atom} {axis}: {f} {slope}");
                }
            }
        }
    }
}

pub fn virial_is_the_strain_derivative<B: Backend>() {
    let model = model("tiny");
    let cell = triclinic(6.2);
    let (x, types) = system(20, 6.0, 5, model.types());
    let virial = run::<B>(&model, &Settings::default(), &x, &cell, &types).virial;
    for k in 0..3 {
        for l in 0..3 {
            let energy = |s: f64| {
                // r_k += s r_l
                let strain = |v: [f64; 3]| {
                    let mut v2 = v;
                    v2[k] += s * v[l];
                    v2
                };
                let y: Vec<_> = x.iter().map(|&v| strain(v)).collect();
                run::<B>(&model, &Settings::default(), &y, &cell.map(|c| c.map(strain)), &types).energy
            };
            let h = 1e-5;
            let slope = (energy(h) - energy(-h)) / (2.0 * h);
            assert!((virial[k][l] + slope).abs() < 2e-7, "{k}{l}: {} {slope}", virial[k][l]);
        }
    }
}

pub fn translation_rotation_wrapping_and_permutation_change_nothing<B: Backend>() {
    let model = model("tiny");
    let cell = triclinic(7.0);
    let (x, types) = system(24, 6.6, 3, model.types());
    let base = run::<B>(&model, &Settings::default(), &x, &cell, &types);
    let close = |a: &[[f64; 3]], b: &[[f64; 3]]| largest_difference(&a.concat(), &b.concat());
    // Translation, and atoms carried into other images.
    let rows = cell.unwrap();
    let moved: Vec<[f64; 3]> = x
        .iter()
        .enumerate()
        .map(|(i, v)| std::array::from_fn(|k| v[k] + 0.377 + (i % 3) as f64 * rows[0][k] - (i % 2) as f64 * rows[2][k]))
        .collect();
    let out = run::<B>(&model, &Settings::default(), &moved, &cell, &types);
    assert!((out.energy - base.energy).abs() < 1e-11 && close(&out.forces, &base.forces) < 1e-11);
    // Rotation about a skew axis.
    let (s, c) = 0.7f64.sin_cos();
    let rotate =
        |v: [f64; 3]| [c * v[0] - s * v[1], c * (s * v[0] + c * v[1]) - s * v[2], s * (s * v[0] + c * v[1]) + c * v[2]];
    let turned: Vec<_> = x.iter().map(|&v| rotate(v)).collect();
    let out = run::<B>(&model, &Settings::default(), &turned, &cell.map(|m| m.map(rotate)), &types);
    let expected: Vec<_> = base.forces.iter().map(|&f| rotate(f)).collect();
    assert!((out.energy - base.energy).abs() < 1e-11 && close(&out.forces, &expected) < 1e-11);
    // Permutation.
    let order: Vec<usize> = (0..x.len()).map(|i| (i * 7 + 5) % x.len()).collect();
    let pick = |v: &[[f64; 3]]| order.iter().map(|&i| v[i]).collect::<Vec<_>>();
    let types2: Vec<i32> = order.iter().map(|&i| types[i]).collect();
    let out = run::<B>(&model, &Settings::default(), &pick(&x), &cell, &types2);
    assert!((out.energy - base.energy).abs() < 1e-11 && close(&out.forces, &pick(&base.forces)) < 1e-11);
}

pub fn a_doubled_cell_doubles_the_energy<B: Backend>() {
    let model = model("tiny");
    let side = 5.0;
    let cell = triclinic(side);
    let (x, types) = system(12, 4.6, 9, model.types());
    let one = run::<B>(&model, &Settings::default(), &x, &cell, &types);
    let rows = cell.unwrap();
    for axis in 0..3 {
        let mut double = rows;
        double[axis] = rows[axis].map(|v| 2.0 * v);
        let mut y = x.clone();
        y.extend(x.iter().map(|v| std::array::from_fn::<f64, 3, _>(|k| v[k] + rows[axis][k])));
        let two = run::<B>(&model, &Settings::default(), &y, &Some(double), &[types.clone(), types.clone()].concat());
        assert!((two.energy - 2.0 * one.energy).abs() < 1e-10, "axis {axis}");
        assert!(largest_difference(&two.forces[..12].concat(), &one.forces.concat()) < 1e-11);
    }
}

pub fn energy_is_smooth_when_an_atom_crosses_a_cutoff<B: Backend>() {
    let model = model("tiny");
    let o = &model.descriptor.options;
    // A pair beyond the edge cutoff is no edge at all; the switch there is about 1e-6, so the step must be below that.
    for (cutoff, bound) in [(o.e_rcut, 5e-6), (o.a_rcut, 5e-6)] {
        let energy = |d: f64| {
            let x = vec![[0.0; 3], [0.9, 0.3, 0.0], [cutoff + d, 0.0, 0.0]];
            run::<B>(&model, &Settings::default(), &x, &None, &[3, 0, 0])
        };
        let (before, after) = (energy(-1e-9), energy(1e-9));
        assert!((before.energy - after.energy).abs() < bound, "{cutoff}");
        assert!(largest_difference(&before.forces.concat(), &after.forces.concat()) < 20.0 * bound, "{cutoff}");
    }
}

/// On so many atoms.
pub fn same_bits_under_every_thread_count_tile_checkpoint_and_skin<B: Backend>(atoms: usize) {
    for (name, precision) in [
        ("tiny", PrecisionChoice::F64),
        ("tiny32", PrecisionChoice::F32),
        ("fixed_nonsmooth_trunc", PrecisionChoice::F64),
    ] {
        let model = model(name);
        let cell = triclinic(scaled(9.5, atoms, 70));
        let (x, types) = system(atoms, scaled(9.0, atoms, 70), 17, model.types());
        let base = Settings { precision, threads: 1, ..Default::default() };
        let expected = bits(&run::<B>(&model, &base, &x, &cell, &types));
        let mut tried = 0;
        for &threads in B::THREADS {
            for checkpoint in [Checkpoint::All, Checkpoint::Every(2), Checkpoint::Every(3), Checkpoint::Every(7)] {
                for (tile_edges, skin) in [(1, 1.0), (atoms * 10 / 7, 0.0), (atoms * 111 / 10, 2.5), (1 << 20, 0.3)] {
                    let options = Settings { precision, threads, checkpoint, skin, tile_edges };
                    assert_eq!(bits(&run::<B>(&model, &options, &x, &cell, &types)), expected, "{name} {options:?}");
                    tried += 1;
                }
            }
        }
        assert_eq!(tried, 16 * B::THREADS.len());
    }
}

/// On so many atoms.
pub fn repeats_are_bit_identical_and_an_old_list_gives_the_bits_of_a_new_one<B: Backend>(atoms: usize) {
    let model = model("tiny");
    let cell = triclinic(scaled(9.5, atoms, 60));
    let (x, types) = system(atoms, scaled(9.0, atoms, 60), 23, model.types());
    let mut kept = B::make(&model, &types, &Settings { skin: 1.5, ..Default::default() });
    let first = bits(&step(kept.as_mut(), &x, &cell));
    assert_eq!(bits(&step(kept.as_mut(), &x, &cell)), first);
    let order = kept.order().to_vec();
    let mut r = Numbers(1);
    let mut y = x.clone();
    for _ in 0..4 {
        y.iter_mut().flatten().for_each(|v| *v += 0.1 * (r.next() - 0.5));
        let old = bits(&step(kept.as_mut(), &y, &cell));
        let mut fresh = B::make(&model, &types, &Settings { skin: 0.0, ..Default::default() });
        fresh.set_order(&order);
        assert_eq!(bits(&step(fresh.as_mut(), &y, &cell)), old);
    }
    assert_eq!(kept.list_builds(), 1);
}

/// On so many atoms, in a cell that changes at every step, as under a barostat.
pub fn a_list_outlives_changes_of_the_cell<B: Backend>(atoms: usize) {
    let model = model("tiny");
    let mut rows = triclinic(scaled(9.5, atoms, 60)).unwrap();
    let (mut x, types) = system(atoms, scaled(9.0, atoms, 60), 31, model.types());
    let mut kept = B::make(&model, &types, &Settings { skin: 1.5, ..Default::default() });
    // A step of it, and one of a list of these very positions.
    let mut same = |x: &[[f64; 3]], rows: [[f64; 3]; 3], what: &str| {
        let got = bits(&step(kept.as_mut(), x, &Some(rows)));
        let mut fresh = B::make(&model, &types, &Settings { skin: 0.0, ..Default::default() });
        fresh.set_order(kept.order());
        assert_eq!(got, bits(&step(fresh.as_mut(), x, &Some(rows))), "{what}");
        (kept.list_builds(), kept.plans())
    };
    let mut r = Numbers(6);
    for _ in 0..5 {
        assert_eq!(same(&x, rows, "strained"), (1, 1));
        let strain: [[f64; 3]; 3] = [0; 3].map(|_| [0; 3].map(|_| 0.004 * (r.next() - 0.5)));
        let follow = |v: &mut [f64; 3]| {
            let old = *v;
            v.iter_mut().enumerate().for_each(|(k, x)| *x += (0..3).map(|i| old[i] * strain[i][k]).sum::<f64>());
        };
        rows.iter_mut().for_each(follow);
        x.iter_mut().for_each(follow);
        x.iter_mut().flatten().for_each(|v| *v += 0.05 * (r.next() - 0.5));
    }
    // With all atoms in it.
    let (s, c) = 0.3f64.sin_cos();
    let turn = |v: &mut [f64; 3]| (v[0], v[1]) = (c * v[0] - s * v[1], s * v[0] + c * v[1]);
    rows.iter_mut().for_each(turn);
    x.iter_mut().for_each(turn);
    assert_eq!(same(&x, rows, "turned"), (1, 1));
    // Further than the skin reaches.
    let squeeze = |v: &mut [f64; 3]| v.iter_mut().for_each(|c| *c *= 0.7);
    rows.iter_mut().for_each(squeeze);
    x.iter_mut().for_each(squeeze);
    assert_eq!(same(&x, rows, "squeezed").0, 2);
}

/// On so many atoms.
pub fn an_overflowing_plan_is_laid_out_again_and_repeats_its_step<B: Backend>(atoms: usize) {
    let model = model("tiny");
    let (x, types) = system(atoms, scaled(14.0, atoms, 60), 29, model.types());
    let cell = triclinic(scaled(15.0, atoms, 60));
    let mut calculator = B::make(&model, &types, &Settings::default());
    step(calculator.as_mut(), &x, &cell);
    assert_eq!(calculator.plans(), 1);
    // Compressed by a third, every centre has several times the edges the plan was made for.
    let squeeze = |v: [f64; 3]| v.map(|c| c * 0.66);
    let y: Vec<_> = x.iter().map(|&v| squeeze(v)).collect();
    let order = calculator.order().to_vec();
    let dense = step(calculator.as_mut(), &y, &cell.map(|c| c.map(squeeze)));
    assert_eq!(calculator.plans(), 2);
    let mut fresh = B::make(&model, &types, &Settings::default());
    fresh.set_order(&order);
    assert_eq!(bits(&dense), bits(&step(fresh.as_mut(), &y, &cell.map(|c| c.map(squeeze)))));
}

pub fn bad_configurations_are_named<B: Backend>() {
    let model = model("tiny");
    let error = |x: &[[f64; 3]], cell: Cell| {
        let types = vec![0; x.len()];
        let mut calculator = B::make(&model, &types, &Settings::default());
        let mut out = Results::default();
        let e = calculator.compute(x, cell.as_ref(), &FrameParameters::default(), Request::default(), &mut out);
        e.expect_err("must be refused").to_string()
    };
    assert!(error(&[[0.0; 3], [f64::NAN, 0.0, 0.0]], None).contains("coordinate x of atom 1 is NaN"));
    assert!(error(&[[0.0; 3], [0.0, 1e12, 0.0]], None).contains("too far from the origin"));
    assert!(error(&[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], None).contains("atoms 0 and 1 coincide"));
    assert!(error(&[[1.0, 2.0, 3.0]], Some([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])).contains("volume"));
    assert!(error(&[[1.0, 2.0, 3.0]], Some([[1e-4, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]])).contains("images"));
}

pub fn an_empty_system_and_a_lone_atom_have_an_energy<B: Backend>() {
    let model = model("tiny");
    assert_eq!(run::<B>(&model, &Settings::default(), &[], &None, &[]).energy, 0.0);
    let lone = run::<B>(&model, &Settings::default(), &[[0.0; 3]], &None, &[2]);
    assert!(lone.energy.is_finite() && lone.forces == vec![[0.0; 3]]);
}
