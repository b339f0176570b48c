//! Products by matrix units: as exact as they claim, and without a trace of how work is cut.

use super::common::bits;
use super::placed::{options, tight, Case};
use std::sync::Arc;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, Watch};
use weir_backends::gpu::{create, GpuError, GpuOptions};
use weir_engine::activation::Activation;
use weir_engine::backend::Results;
use weir_engine::model::Model;
use weir_kernels::{Chip, Products};

/// The device with the units.
fn device(products: Products) -> EmulatedOptions {
    let wave = if products == Products::Mfma { 64 } else { 32 };
    EmulatedOptions { wave, watch: Watch::Nothing, ..Default::default() }
}

fn dense() -> Case {
    Case::of(16, 5.9, [[6.3, 0.0, 0.0], [0.9, 6.0, 0.0], [-1.4, 0.7, 6.6]])
}

fn with(products: Products) -> GpuOptions {
    GpuOptions { products, ..options(PrecisionChoice::F32) }
}

fn largest(a: &Results, b: &Results) -> f64 {
    let pairs = a.forces.as_flattened().iter().zip(b.forces.as_flattened());
    pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

#[test]
fn matrix_units_are_as_exact_as_they_claim() {
    let case = dense();
    let run = |options: &GpuOptions| case.run(&mut case.calculator(device(options.products), options)).unwrap();
    let exact = run(&options(PrecisionChoice::F64));
    let scale = exact.forces.as_flattened().iter().fold(0.0, |m: f64, f| m.max(f.abs()));
    let error = |products| largest(&run(&with(products)), &exact);
    let plain = error(Products::Plain);
    assert!(plain > 0.0 && plain < 1e-5 * scale, "{plain}");
    for products in [Products::Tf32x3, Products::F16x3, Products::Mfma] {
        let e = error(products);
        assert!(e <= 2.0 * plain, "{products}: {e:.2e} eV/A, plain f32 {plain:.2e}");
    }
    // Ten bits behind the point: worse by far, and that it is shows that the factors are rounded at all.
    let e = error(Products::Tf32);
    assert!(
        e > 20.0 * plain && e < 2e-2 * scale,
        "tf32: {e:.2e} eV/A, plain f32 {plain:.2e}, largest force {scale:.2e}"
    );
}

#[test]
fn matrix_units_leave_no_trace_of_tiles_shared_memory_or_placement() {
    let case = dense();
    for products in [Products::Tf32x3, Products::F16x3, Products::Tf32, Products::Mfma] {
        let (base, d) = (with(products), device(products));
        let run = |d: EmulatedOptions, o: &GpuOptions| bits(&case.run(&mut case.calculator(d, o)).unwrap());
        let expected = run(d, &base);
        assert_eq!(run(d, &GpuOptions { tile_edges: 500, ..base.clone() }), expected, "{products}: tiles");
        assert_eq!(run(d, &GpuOptions { shared_limit: Some(6 << 10), ..base.clone() }), expected, "{products}: rows");
        assert_eq!(run(d, &tight(&case, d, &base)), expected, "{products}: placement");
        assert_eq!(run(EmulatedOptions { watch: Watch::Memory, ..d }, &base), expected, "{products}: watched");
    }
}

/// A feature, an adjoint or a weight that no half holds is never a wrong result: TF32, which has f32's range, goes on.
#[test]
fn numbers_beyond_halves_are_told_of() {
    let changed = |change: &dyn Fn(&mut Model)| {
        let mut case = dense();
        change(Arc::make_mut(&mut case.model));
        case
    };
    let run = |case: &Case, products| case.run(&mut case.calculator(device(products), &with(products)));
    let last = |m: &mut Model, by: f64| {
        m.fitting.layers.last_mut().unwrap().linear.weight.iter_mut().for_each(|w| *w *= by);
    };
    let told = |case: &Case, of: &str| {
        let error = run(case, Products::F16x3).unwrap_err();
        let whole = ["beyond 65504", "WEIR_PRECISION=tf32x3"].iter().all(|word| error.contains(word));
        assert!(whole && error.starts_with(of), "{error}");
        let other = run(case, Products::Tf32x3);
        assert!(other.is_ok(), "{}", other.unwrap_err());
    };
    // Adjoints a million times as large.
    told(&changed(&|m| last(m, 1e6)), "the force of atom");
    // Features of edges a million times as large in the last layer, by the residuals of the one before. Activations that end at a number let what is none pass.
    let tanh = Activation::Tanh;
    for (of_layers, of_fitting) in
        [(None, None), (Some(tanh), None), (None, Some(tanh)), (Some(Activation::Relu), Some(Activation::Relu))]
    {
        let large = changed(&|m| {
            m.descriptor.layers[4].e_residual.iter_mut().flatten().for_each(|r| *r *= 1e6);
            if let Some(activation) = of_layers {
                m.descriptor.options.activation = activation;
            }
            if let Some(activation) = of_fitting {
                m.fitting.layers.iter_mut().for_each(|l| l.activation = activation);
            }
            last(m, 1e-6);
        });
        told(&large, "the energy of atom");
    }
    let heavy = changed(&|m| m.descriptor.layers[1].edge_self_linear.weight[3] = -300.0);
    let driver = Arc::new(Emulated::new(device(Products::F16x3)));
    let error = create(driver, heavy.model.clone(), &heavy.types, &with(Products::F16x3)).err().unwrap();
    assert!(matches!(error, GpuError::Weight { largest } if largest == 300.0), "{error}");
    assert!(error.to_string().contains("3e2") && error.to_string().contains("255.875"), "{error}");
    assert!(run(&heavy, Products::Tf32x3).is_ok());
}

#[test]
fn chips_without_matrix_units_are_refused_by_name() {
    let on = |products: Products, chip: &str| products.on(&chip.parse::<Chip>().unwrap());
    assert!(on(Products::Tf32x3, "sm_80") && on(Products::Tf32x3, "sm_90a") && on(Products::Tf32, "sm_100a"));
    assert!(on(Products::F16x3, "sm_80") && on(Products::F16x3, "sm_120a"));
    assert!(on(Products::Mfma, "gfx90a") && on(Products::Mfma, "gfx942"));
    for (products, chip) in [
        (Products::Tf32x3, "sm_75"),
        (Products::F16x3, "sm_75"),
        (Products::F16x3, "gfx942"),
        (Products::Tf32, "gfx942"),
        (Products::Mfma, "sm_90a"),
        (Products::Mfma, "gfx1100"),
    ] {
        assert!(!on(products, chip), "{products} on {chip}");
    }
}
