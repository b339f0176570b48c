//! Skin lists that the device finds, and gathers of many tiles.

use super::common::{bits, Numbers};
use super::placed::{options, Case};
use std::sync::Arc;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, Watch};
use weir_backends::gpu::{create, GpuCalculator, GpuOptions};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::graph::{summation_order, NeighbourList, Pair};

type Cell = Option<[[f64; 3]; 3]>;

fn step(c: &mut GpuCalculator, x: &[[f64; 3]], cell: Cell) -> Vec<u64> {
    let mut out = Results::default();
    c.compute(x, cell.as_ref(), &FrameParameters::default(), Request::default(), &mut out).unwrap();
    bits(&out)
}

/// What a calculator makes of a list of its own, with atoms in this order.
fn expected(case: &Case, base: &GpuOptions, order: &[u32], x: &[[f64; 3]], cell: Cell) -> Vec<u64> {
    let mut fresh = case.calculator(EmulatedOptions { watch: Watch::Nothing, ..Default::default() }, base);
    fresh.set_order(order);
    step(&mut fresh, x, cell)
}

/// Systems in which bins are found and walked through in every way there is.
fn cases() -> Vec<(&'static str, Case, Cell)> {
    let rows = [[6.5, 0.0, 0.0], [0.9, 6.3, 0.0], [-1.2, 0.6, 6.8]];
    let small = [[3.1, 0.0, 0.0], [0.4, 7.0, 0.0], [-0.6, 0.9, 6.0]];
    let large = [[60.0, 0.0, 0.0], [-9.0, 55.0, 0.0], [7.0, 4.0, 48.0]];
    let long = [[40.0, 0.0, 0.0], [2.0, 6.6, 0.0], [0.0, -0.5, 6.9]];
    let plain = || Case::with(2, 16, 6.0, rows);
    let mut far = plain();
    for (k, x) in far.x.iter_mut().enumerate() {
        // Unwrapped, as trajectories are after a while.
        let n = [k as i32 % 3 - 1, -(k as i32 % 4), 7 * (k as i32 % 2)].map(f64::from);
        (0..3).for_each(|a| x[a] += n[0] * rows[0][a] + n[1] * rows[1][a] + n[2] * rows[2][a]);
    }
    let mut seen = plain();
    (seen.types[2], seen.types[9]) = (-1, -1);
    let mut stretched = plain();
    stretched.x.iter_mut().for_each(|x| x[0] *= 6.0);
    vec![
        ("a box of neighbours", plain(), Some(rows)),
        ("more images than one", Case::with(2, 6, 3.0, small), Some(small)),
        ("atoms far outside the box", far, Some(rows)),
        ("a droplet in a large box", plain(), Some(large)),
        ("many bins in one direction", stretched, Some(long)),
        ("atoms that the model does not see", seen, Some(rows)),
        ("no box", plain(), None),
    ]
}

fn in_order(mut rows: Vec<Vec<Pair>>) -> Vec<Vec<Pair>> {
    rows.iter_mut().for_each(|row| row.sort_unstable());
    rows
}

#[test]
fn the_device_finds_the_pairs_that_the_host_finds() {
    for (name, case, cell) in cases() {
        let driver = Arc::new(Emulated::new(EmulatedOptions::default()));
        let base = GpuOptions { skin: 0.7, ..options(PrecisionChoice::F32) };
        let mut c = create(driver.clone(), case.model.clone(), &case.types, &base).unwrap();
        let (mut x, mut r) = (case.x.clone(), Numbers(4));
        step(&mut c, &x, cell);
        let order = c.order().to_vec();
        for jump in 0..2 {
            // Too far for the list; then a little under the new one.
            x.iter_mut().flatten().for_each(|v| *v += 0.8 * (r.next() - 0.5));
            let reach = case.model.descriptor.options.e_rcut;
            let of_host = NeighbourList::build(&x, cell.as_ref(), &case.types, &order, reach, 0.7).unwrap();
            for part in 0..2 {
                let got = step(&mut c, &x, cell);
                let own = expected(&case, &base, &order, &x, cell);
                assert_eq!(got, own, "{name}: jump {jump}, part {part}");
                assert_eq!((c.list_builds(), c.lists_found()), (jump + 2, jump + 1), "{name}: part {part}");
                let rows =
                    of_host.first.windows(2).map(|ends| of_host.pairs[ends[0] as usize..ends[1] as usize].to_vec());
                assert_eq!(
                    in_order(c.device_pairs().unwrap()),
                    in_order(rows.collect()),
                    "{name}: jump {jump}, part {part}"
                );
                x.iter_mut().flatten().for_each(|v| *v += 0.3 * (r.next() - 0.5));
            }
        }
        drop(c);
        assert_eq!(driver.live(), Default::default(), "{name}");
    }
}

#[test]
fn a_cell_that_comes_goes_or_changes_without_its_atoms_needs_a_list() {
    let (_, case, cell) = cases().swap_remove(0);
    let rows = cell.unwrap();
    let base = GpuOptions { skin: 0.7, ..options(PrecisionChoice::F32) };
    let mut c = case.calculator(EmulatedOptions::default(), &base);
    let wide = |by: f64| Some(rows.map(|v| v.map(|x| by * x)));
    // None of the pairs across the walls is where it was.
    for (at, cell) in [cell, wide(1.2), cell, None, cell, None, wide(1.1), wide(1.102)].into_iter().enumerate() {
        let got = step(&mut c, &case.x, cell);
        assert_eq!(got, expected(&case, &base, c.order(), &case.x, cell), "step {at}");
        assert_eq!(c.list_builds(), 7.min(at + 1), "step {at}");
    }
    // All but the first.
    assert_eq!(c.lists_found(), 6);
}

#[test]
fn atoms_in_another_order_get_their_list_from_the_device() {
    // As ASE's calculator does at every call.
    let (_, case, cell) = cases().swap_remove(0);
    let base = GpuOptions { skin: 0.7, ..options(PrecisionChoice::F32) };
    let mut c = case.calculator(EmulatedOptions::default(), &base);
    let (mut x, mut r) = (case.x.clone(), Numbers(8));
    for at in 0..4 {
        c.reorder(&x, cell.as_ref());
        let got = step(&mut c, &x, cell);
        let order = summation_order(&x, cell.as_ref()).unwrap();
        assert_eq!(got, expected(&case, &base, &order, &x, cell), "call {at}");
        assert_eq!((c.list_builds(), c.lists_found()), (at + 1, at), "call {at}");
        x.iter_mut().flatten().for_each(|v| *v += 1.5 * (r.next() - 0.5));
    }
    // An order that is none is refused before the device sees it.
    let (good, mut wrong) = (c.order().to_vec(), c.order().to_vec());
    wrong[3] = wrong[4];
    c.set_order(&wrong);
    let mut out = Results::default();
    let e = c.compute(&x, cell.as_ref(), &FrameParameters::default(), Request::default(), &mut out).unwrap_err();
    assert!(e.to_string().contains("order of summation"), "{e}");
    c.set_order(&good);
    assert_eq!(step(&mut c, &x, cell), expected(&case, &base, &good, &x, cell));
}

#[test]
fn a_list_that_the_device_has_no_room_for_comes_from_the_host() {
    // Far apart, so that a list of the near ones has many times its pairs.
    let rows = [[12.0, 0.0, 0.0], [0.5, 12.0, 0.0], [-0.6, 0.6, 12.0]];
    let case = Case::with(2, 80, 11.5, rows);
    let near: Vec<[f64; 3]> = case.x.iter().map(|x| x.map(|v| 0.5 * v)).collect();
    let base = GpuOptions { skin: 0.3, ..options(PrecisionChoice::F32) };
    let device = EmulatedOptions { watch: Watch::Nothing, ..Default::default() };
    let mut c = case.calculator(device, &base);
    step(&mut c, &case.x, Some(rows));
    let got = step(&mut c, &near, Some(rows));
    assert_eq!((c.list_builds(), c.lists_found()), (2, 0));
    assert_eq!(got, expected(&case, &base, c.order(), &near, Some(rows)));
    // Its room is enough for the next ones.
    step(&mut c, &case.x, Some(rows));
    assert_eq!(got, step(&mut c, &near, Some(rows)));
    assert_eq!((c.list_builds(), c.lists_found()), (4, 2));
}

#[test]
fn a_flat_cell_is_searched_by_the_host() {
    // Atoms may be 1e8 A away, more of its heights than numbers of images hold.
    let rows = [[0.15, 0.0, 0.0], [0.02, 7.0, 0.0], [0.0, 0.3, 6.5]];
    let case = Case::with(2, 1, 1.0, rows);
    let base = GpuOptions { skin: 0.3, ..options(PrecisionChoice::F32) };
    let mut c = case.calculator(EmulatedOptions::default(), &base);
    for at in 0..2 {
        let x: Vec<[f64; 3]> = case.x.iter().map(|x| x.map(|v| v + f64::from(at))).collect();
        let got = step(&mut c, &x, Some(rows));
        assert_eq!(got, expected(&case, &base, c.order(), &x, Some(rows)));
        assert_eq!((c.list_builds(), c.lists_found()), (at as usize + 1, 0));
    }
}

#[test]
fn gathers_of_many_tiles_cost_what_edges_do() {
    // A chain, so that few atoms are neighbours of a tile's.
    let mut case = Case::with(2, 400, 9.0, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
    case.x.iter_mut().enumerate().for_each(|(k, x)| *x = [1.3 * k as f64, 0.3 * (k % 3) as f64, 0.2 * (k % 2) as f64]);
    let run = |tile_edges: usize| {
        let driver = Arc::new(Emulated::new(EmulatedOptions::default()));
        let base = GpuOptions { tile_edges, ..options(PrecisionChoice::F32) };
        let mut c = create(driver.clone(), case.model.clone(), &case.types, &base).unwrap();
        let got = step(&mut c, &case.x, None);
        let gather = driver.counts()["gather"];
        (got, gather.launches, gather.block_bytes)
    };
    let (one, tiles) = (run(1 << 20), run(40));
    assert_eq!(one.0, tiles.0);
    assert!(tiles.1 >= 10 * one.1, "{} launches, {} in one tile", tiles.1, one.1);
    // A block that looks at an atom reads what tells it of the atom's edges: 1.9 times as much where all look for every tile, 1.4 otherwise.
    assert!(10 * tiles.2 < 16 * one.2, "{} bytes, {} in one tile", tiles.2, one.2);
}
