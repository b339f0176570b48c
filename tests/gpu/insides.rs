//! Slopes of the second map are kept in what a plan leaves, or made again; nobody sees which.

use super::common::bits;
use super::placed::{options, Case};
use std::sync::Arc;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::emulated::{EmulatedOptions, Watch};
use weir_backends::gpu::{hbm, GpuCalculator, GpuOptions};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::plan::placement::{smallest_feasible, Inside};
use weir_kernels::Products;

const CELL: [[f64; 3]; 3] = [[6.3, 0.0, 0.0], [0.9, 6.0, 0.0], [-1.4, 0.7, 6.6]];

/// The layers of six that have angle maps: all but the last.
const LAYERS: usize = 5;

fn layers(c: &GpuCalculator) -> usize {
    let [nodes, edges, (angles, bytes)] = c.plan().unwrap().insides();
    assert!(nodes == (0, 0) && edges == (0, 0) && (bytes > 0) == (angles > 0));
    angles
}

#[test]
fn same_answer_whether_slopes_are_kept_or_made_again() {
    let smooth = Case::of(16, 5.9, CELL);
    let mut own = Case::of(16, 5.9, CELL);
    // Edges outside the angle set go through the second map with their own feature.
    let model = Arc::make_mut(&mut own.model);
    model.descriptor.options.smooth_edge_update = !model.descriptor.options.smooth_edge_update;
    let by = |products| GpuOptions { products, ..options(PrecisionChoice::F32) };
    for (case, bases, sizes) in [
        // In one tile and in several; each counts for itself.
        (&smooth, [options(PrecisionChoice::F32), by(Products::Tf32x3)], [0, 300].as_slice()),
        (&own, [options(PrecisionChoice::F64), by(Products::Mfma)], &[300]),
    ] {
        for base in bases {
            for &tile_edges in sizes {
                let run = |inside, budget| {
                    let wave = if base.products == Products::Mfma { 64 } else { 32 };
                    let device = EmulatedOptions { wave, ..Default::default() };
                    let tiers = vec![hbm(budget)];
                    let mut c = case.calculator(device, &GpuOptions { inside, tile_edges, tiers, ..base.clone() });
                    // The second step is a recorded one.
                    let seen = [(); 2].map(|()| bits(&case.run(&mut c).unwrap()));
                    assert_eq!(seen[0], seen[1]);
                    let (tiles, peak) =
                        (c.plan().unwrap().groups.iter().map(|g| g.tiles).sum::<u32>(), c.peak_bytes()[0].1);
                    (seen, layers(&c), c.launches(), u64::from(tiles), peak)
                };
                let (expected, none, made, tiles, least) = run(Inside::Rebuild, 1 << 30);
                let (kept, all, launches, _, most) = run(Inside::Keep, 1 << 30);
                assert_eq!((none, all, tiles > 1), (0, LAYERS, tile_edges > 0));
                assert_eq!(kept, expected, "{:?} {:?}", base.precision, base.products);
                // A launch for each layer and tile less.
                assert_eq!(made - launches, LAYERS as u64 * tiles);
                // Here more may be made again than slopes, so that there is room for some of them.
                let (some, few, ..) = run(Inside::Auto, (least + most) / 2);
                assert!(few > 0 && few < LAYERS, "{few} layers");
                assert_eq!(some, expected);
            }
        }
    }
}

#[test]
fn a_denser_system_takes_what_it_needs_from_kept_slopes() {
    let case = Case::of(16, 5.9, CELL);
    let base = GpuOptions { poison: false, ..options(PrecisionChoice::F32) };
    let device = EmulatedOptions { watch: Watch::Memory, ..Default::default() };
    let path = |c: &mut GpuCalculator| {
        // Thinner first.
        [1.12, 1.0].map(|scale| {
            let x: Vec<[f64; 3]> = case.x.iter().map(|x| x.map(|c| c * scale)).collect();
            let cell = case.cell.map(|row| row.map(|c| c * scale));
            let mut out = Results::default();
            c.compute(&x, Some(&cell), &FrameParameters::default(), Request::default(), &mut out).unwrap();
            (bits(&out), layers(c))
        })
    };
    let with = |inside, budget| GpuOptions { inside, tiers: vec![hbm(budget)], ..base.clone() };
    let expected = path(&mut case.calculator(device, &with(Inside::Rebuild, 1 << 30))).map(|seen| seen.0);
    let problem = case.calculator(device, &with(Inside::Rebuild, 1 << 30)).problem(&case.x, Some(&case.cell)).unwrap();
    let least = smallest_feasible(&problem).unwrap();
    let mut c = case.calculator(device, &with(Inside::Keep, least));
    let seen = path(&mut c);
    assert!(seen[0].1 > seen[1].1, "{} and {} layers", seen[0].1, seen[1].1);
    assert_eq!(seen.map(|seen| seen.0), expected);
    assert!(c.peak_bytes()[0].1 <= least);
}

/// The device tells of tiles that overflow, not of all of them together.
#[test]
fn slopes_of_all_tiles_have_room_when_every_tile_grows() {
    let mut case = Case::of(16, 5.9, CELL);
    let o = &case.model.descriptor.options;
    // Three by three, out of the others' reach: at first two of them have angles, then all three.
    let (near, count) = (o.a_rcut - 0.1, 30);
    let gap = o.e_rcut + 2.0 * near + 2.0;
    case.cell = [[gap * count as f64, 0.0, 0.0], [0.0, 3.0 * gap, 0.0], [0.0, 0.0, 3.0 * gap]];
    let positions = |third: f64| -> Vec<[f64; 3]> {
        (0..count).flat_map(|k| [0.0, near, near + third].map(|x| [k as f64 * gap + x, 1.0, 1.0])).collect()
    };
    let path = [positions(near + 0.2), positions(near)];
    case.types = vec![0; 3 * count];
    let run = |inside| {
        let base = GpuOptions { inside, tile_edges: 6, skin: 1.0, poison: false, ..options(PrecisionChoice::F32) };
        let mut c = case.calculator(EmulatedOptions { watch: Watch::Memory, ..Default::default() }, &base);
        let seen = [0, 1].map(|k| {
            let mut out = Results::default();
            c.compute(&path[k], Some(&case.cell), &FrameParameters::default(), Request::default(), &mut out).unwrap();
            bits(&out)
        });
        assert_eq!((c.plans(), c.list_builds()), (1, 1));
        let tiles: u32 = c.plan().unwrap().groups.iter().map(|g| g.tiles).sum();
        assert!(tiles > 15, "{tiles} tiles");
        (seen, layers(&c))
    };
    let (expected, none) = run(Inside::Rebuild);
    let (seen, all) = run(Inside::Keep);
    assert_eq!((none, all), (0, LAYERS));
    assert_eq!(seen, expected);
    assert_ne!(seen[0], seen[1]);
}
