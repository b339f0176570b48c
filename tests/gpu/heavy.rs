//! Centres with many angle edges, which two blocks share.

use super::common::bits;
use super::placed::{options, Case};
use std::sync::Arc;
use weir_backends::cpu::{create_cpu, CpuOptions, PrecisionChoice};
use weir_backends::gpu::emulated::{EmulatedOptions, Watch};
use weir_backends::gpu::GpuOptions;
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::plan::placement::Inside;
use weir_kernels::Products;

/// From so many angle edges on (`SHARED_FROM` of the kernels' text).
const SHARED_FROM: usize = 28;

/// A dense drop in a large cell, in which some centres are shared and some are not.
pub fn drop() -> Case {
    let case = Case::with(3, 36, 5.4, [[40.0, 0.0, 0.0], [0.0, 40.0, 0.0], [0.0, 0.0, 40.0]]);
    let cutoff = case.model.descriptor.options.a_rcut;
    let near = |a: &[f64; 3], b: &[f64; 3]| (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>() < cutoff * cutoff;
    let counts: Vec<usize> = case.x.iter().map(|a| case.x.iter().filter(|b| near(a, b)).count() - 1).collect();
    let shared = counts.iter().filter(|&&m| m >= SHARED_FROM).count();
    assert!(shared >= 8 && counts.len() - shared >= 8, "{counts:?}");
    case
}

/// Largest deviation of forces and virial from the CPU's, over the largest force.
pub fn deviation(case: &Case, got: &Results) -> f64 {
    let options = CpuOptions { threads: 2, precision: PrecisionChoice::F64, ..Default::default() };
    let mut cpu = create_cpu(case.model.clone(), &case.types, &options).unwrap();
    let mut expected = Results::default();
    cpu.compute(&case.x, Some(&case.cell), &FrameParameters::default(), Request::default(), &mut expected).unwrap();
    let numbers = |r: &Results| -> Vec<f64> { r.forces.iter().chain(&r.virial).flatten().copied().collect() };
    let (a, b) = (numbers(&expected), numbers(got));
    let largest = expected.forces.iter().flatten().fold(0.0f64, |m, f| m.max(f.abs()));
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}

#[test]
fn centres_that_two_blocks_share_have_the_forces_of_the_cpu() {
    let mut case = drop();
    for (smooth, sequential) in [(true, false), (false, false), (true, true)] {
        let o = &mut Arc::make_mut(&mut case.model).descriptor.options;
        (o.smooth_edge_update, o.sequential_update) = (smooth, sequential);
        let got = case.run(&mut case.calculator(EmulatedOptions::default(), &options(PrecisionChoice::F64))).unwrap();
        let off = deviation(&case, &got);
        assert!(off < 1e-11, "smooth {smooth}, in turn {sequential}: {off:e}");
    }
    // Where angles are copied ahead.
    Arc::make_mut(&mut case.model).descriptor.options.sequential_update = false;
    let base = GpuOptions { products: Products::Tf32x3, ..options(PrecisionChoice::F32) };
    let off = deviation(&case, &case.run(&mut case.calculator(EmulatedOptions::default(), &base)).unwrap());
    assert!(off < 1e-5, "tf32x3: {off:e}");
}

#[test]
fn centres_that_two_blocks_share_have_the_same_bits_however_they_are_worked_on() {
    let case = drop();
    let device = EmulatedOptions { watch: Watch::Nothing, ..Default::default() };
    for (precision, products, kilobytes) in
        [(PrecisionChoice::F64, Products::Plain, 12), (PrecisionChoice::F32, Products::Tf32x3, 160)]
    {
        let base = GpuOptions { products, ..options(precision) };
        let expected = bits(&case.run(&mut case.calculator(device, &base)).unwrap());
        let shared_limit = Some(kilobytes << 10);
        let other = GpuOptions { shared_limit, tile_edges: 0, inside: Inside::Rebuild, ..base.clone() };
        let got = bits(&case.run(&mut case.calculator(device, &other)).unwrap());
        assert_eq!(got, expected, "{products} {kilobytes} kB");
    }
}
