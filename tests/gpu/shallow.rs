//! Models of one layer and of two: no layer updates angles, so messages on angles are as narrow as they can be.

use super::heavy::deviation;
use super::placed::{options, Case};
use std::sync::Arc;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::emulated::EmulatedOptions;
use weir_backends::gpu::GpuOptions;
use weir_engine::plan::placement::Inside;
use weir_kernels::Products;

#[test]
fn shallow_models_have_the_forces_of_the_cpu() {
    for layers in [1, 2] {
        let mut case = Case::with(layers, 10, 5.0, [[5.4, 0.0, 0.0], [0.8, 5.1, 0.0], [-1.2, 0.6, 5.6]]);
        let exact = options(PrecisionChoice::F64);
        let units = GpuOptions { products: Products::Tf32x3, ..options(PrecisionChoice::F32) };
        for (sequential, base, most) in [(false, exact.clone(), 1e-11), (true, exact, 1e-11), (false, units, 1e-5)] {
            Arc::make_mut(&mut case.model).descriptor.options.sequential_update = sequential;
            for inside in [Inside::Keep, Inside::Rebuild] {
                let base = GpuOptions { inside, ..base.clone() };
                let got = case.run(&mut case.calculator(EmulatedOptions::default(), &base)).unwrap();
                let off = deviation(&case, &got);
                assert!(off < most, "{layers} layers, in turn {sequential}, {}: {off:e}", base.products);
            }
        }
    }
}
