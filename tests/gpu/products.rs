//! Products by matrix units: as exact as they claim, and without a trace of how work is cut.

use super::common::bits;
use super::placed::{options, tight, Case};
use std::sync::Arc;
use weir_allocators::policy::Precision;
use weir_backends::cpu::{PrecisionChoice, Store};
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, Watch};
use weir_backends::gpu::{create, room, Arithmetic, GpuCalculator, GpuError, GpuOptions};
use weir_engine::activation::Activation;
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::graph::summation_order;
use weir_engine::model::{new_model, Model};
use weir_kernels::{Chip, Products};

/// The device with the units.
pub fn device(products: Products) -> EmulatedOptions {
    let wave = if products == Products::Mfma { 64 } else { 32 };
    EmulatedOptions { wave, watch: Watch::Nothing, ..Default::default() }
}

fn dense() -> Case {
    of_layers(6)
}

pub fn of_layers(layers: usize) -> Case {
    Case::with(layers, 16, 5.9, [[6.3, 0.0, 0.0], [0.9, 6.0, 0.0], [-1.4, 0.7, 6.6]])
}

/// Widths of the published shape, of which the first use of columns is twice the second (`tensor_product_of_two`); those of angles in `dense` are not.
fn published() -> Case {
    let mut model = new_model("dpa-3.1-3m", 5).unwrap();
    model.descriptor.layers.drain(1..14);
    model.descriptor.options.nlayers = model.descriptor.layers.len();
    Case { model: Arc::new(model), ..dense() }
}

pub fn with(products: Products) -> GpuOptions {
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
    // Energies of other units too: adjoints are in the middle of what halves hold, whatever their size.
    for scale in [1e6, 1e-2, 1e-4] {
        let case = changed(&|m| last(m, scale));
        let run = |options: &GpuOptions| {
            let mut calculator = case.calculator(device(options.products), options);
            let results = case.run(&mut calculator).unwrap();
            assert_eq!(calculator.widened_steps(), 0, "energy x {scale:e}");
            results
        };
        let exact = run(&options(PrecisionChoice::F64));
        let [plain, halves] = [Products::Plain, Products::F16x3].map(|products| largest(&run(&with(products)), &exact));
        assert!(halves <= 2.0 * plain, "energy x {scale:e}: {halves:.2e} eV/A, plain f32 {plain:.2e}");
    }
    // By the widths of the published shape, where units have columns of both uses.
    let case = published();
    let run = |options: &GpuOptions| case.run(&mut case.calculator(device(options.products), options)).unwrap();
    let exact = run(&options(PrecisionChoice::F64));
    let [plain, three, halves] =
        [Products::Plain, Products::Tf32x3, Products::F16x3].map(|p| largest(&run(&with(p)), &exact));
    assert!(three.max(halves) <= 2.0 * plain, "f32 {plain:.2e}, tf32x3 {three:.2e}, f16x3 {halves:.2e} eV/A");
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
    let (case, base, d) = (published(), with(Products::F16x3), device(Products::F16x3));
    let run = |d: EmulatedOptions, o: &GpuOptions| bits(&case.run(&mut case.calculator(d, o)).unwrap());
    let expected = run(EmulatedOptions { watch: Watch::Memory, ..d }, &base);
    for changed in [
        GpuOptions { tile_edges: 500, ..base.clone() },
        GpuOptions { shared_limit: Some(40 << 10), ..base.clone() },
        tight(&case, d, &base),
    ] {
        assert_eq!(run(d, &changed), expected);
    }
}

pub fn changed(change: &dyn Fn(&mut Model)) -> Case {
    let mut case = dense();
    change(Arc::make_mut(&mut case.model));
    case
}

pub fn last(m: &mut Model, by: f64) {
    m.fitting.layers.last_mut().unwrap().linear.weight.iter_mut().for_each(|w| *w *= by);
}

/// Systems with a feature or an adjoint that no half holds.
fn beyond_halves() -> Vec<Case> {
    // Adjoints of what the last layer adds to nodes, a million times as large as those of the nodes.
    let mut cases = vec![changed(&|m| {
        m.descriptor.layers[5].n_residual.iter_mut().flatten().for_each(|r| *r *= 1e6);
        m.fitting.layers[0].linear.weight.iter_mut().for_each(|w| *w *= 1e-6);
    })];
    // Features of edges a million times as large in the last layer, by the residuals of the one before. Activations that end at a number let what is none pass.
    let tanh = Activation::Tanh;
    for (of_layers, of_fitting) in
        [(None, None), (Some(tanh), None), (None, Some(tanh)), (Some(Activation::Relu), Some(Activation::Relu))]
    {
        cases.push(changed(&|m| {
            m.descriptor.layers[4].e_residual.iter_mut().flatten().for_each(|r| *r *= 1e6);
            if let Some(activation) = of_layers {
                m.descriptor.options.activation = activation;
            }
            if let Some(activation) = of_fitting {
                m.fitting.layers.iter_mut().for_each(|l| l.activation = activation);
            }
            last(m, 1e-6);
        }));
    }
    cases
}

/// What no half holds is never a wrong result: TF32, which has f32's range, computes the step, and leaves no trace of the attempt.
#[test]
fn a_step_beyond_halves_is_that_of_tf32x3() {
    for (number, case) in beyond_halves().into_iter().enumerate() {
        let made = |products| case.calculator(device(products), &with(products));
        let (mut halves, expected) = (made(Products::F16x3), bits(&case.run(&mut made(Products::Tf32x3)).unwrap()));
        let steps = if number == 0 { 3 } else { 1 };
        for step in 1..=steps {
            assert_eq!(bits(&case.run(&mut halves).unwrap()), expected, "system {number}, step {step}");
            assert_eq!(halves.widened_steps(), step);
        }
        let told = halves.came_up();
        assert!(told.len() == 1 && told[0].contains("WEIR_PRECISION=tf32x3"), "{told:?}");
        // The attempt and the step itself are recorded apart, and both recordings are run again.
        assert_eq!(halves.recordings(), if number == 0 { (2, 4) } else { (0, 0) });
    }
}

/// Each step is computed by the products that serve it, whatever those before it were computed by.
#[test]
fn steps_beyond_halves_leave_no_trace_in_others() {
    let far = of_layers(2);
    // Two atoms so near that the inverse distance is beyond halves.
    let mut x = far.x.clone();
    x[1] = [x[0][0] + 8e-6, x[0][1] + 5e-6, x[0][2]];
    let near = Case { x, model: far.model.clone(), cell: far.cell, types: far.types.clone() };
    let order = summation_order(&far.x, Some(&far.cell)).unwrap();
    let made = |products| {
        let mut calculator = far.calculator(device(products), &with(products));
        calculator.set_order(&order);
        calculator
    };
    let run = |case: &Case, c: &mut GpuCalculator, atomic_virial: bool| {
        let (mut out, parameters) = (Results::default(), FrameParameters::default());
        c.compute(&case.x, Some(&case.cell), &parameters, Request { atomic_virial }, &mut out).unwrap();
        let virials = out.atomic_virial.take().into_iter().flatten().flatten().map(f64::to_bits);
        (virials.collect::<Vec<_>>(), bits(&out))
    };
    let [three, halves] = [Products::Tf32x3, Products::F16x3].map(|products| {
        let alone = |case| run(case, &mut made(products), true);
        (alone(&far), alone(&near))
    });
    assert!(halves.0 != three.0 && halves.1 == three.1);
    let mut calculator = made(Products::F16x3);
    for (near_now, virials) in [(false, false), (true, true), (false, true), (true, false), (false, false)] {
        let (case, expected) = if near_now { (&near, &halves.1) } else { (&far, &halves.0) };
        let got = run(case, &mut calculator, virials);
        assert!(got.1 == expected.1 && (!virials || got.0 == expected.0), "near: {near_now}, virials: {virials}");
    }
    assert_eq!(calculator.widened_steps(), 2);
    // Coordinates are factors of adjoints in atomic virials, and no others see them.
    let x = far.x.iter().map(|x| [x[0] + 600.0, x[1], x[2]]).collect::<Vec<_>>();
    let [with_virials, without, three] = [(Products::F16x3, true), (Products::F16x3, false), (Products::Tf32x3, true)]
        .map(|(products, atomic_virial)| {
            let (mut out, mut calculator) = (Results::default(), made(products));
            let request = Request { atomic_virial };
            calculator.compute(&x, None, &FrameParameters::default(), request, &mut out).unwrap();
            (out.atomic_virial.take(), bits(&out))
        });
    assert_eq!((with_virials.1, with_virials.0), (without.1, three.0));
}

#[test]
fn a_weight_beyond_halves_is_refused() {
    let heavy = changed(&|m| m.descriptor.layers[1].edge_self_linear.weight[3] = -300.0);
    let driver = Arc::new(Emulated::new(device(Products::F16x3)));
    let error = create(driver, heavy.model.clone(), &heavy.types, &with(Products::F16x3)).err().unwrap();
    assert!(matches!(error, GpuError::Weight { largest } if largest == 300.0), "{error}");
    assert!(error.to_string().contains("3e2") && error.to_string().contains("255.875"), "{error}");
    let three = with(Products::Tf32x3);
    assert!(heavy.run(&mut heavy.calculator(device(three.products), &three)).is_ok());
}

#[test]
fn a_map_that_halves_round_more_than_f32_is_refused() {
    type Map = fn(&mut Model) -> &mut [f64];
    let faint = |map: Map, largest: f64| {
        changed(&|m| {
            let weight = map(m);
            let most = weight.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
            weight.iter_mut().for_each(|w| *w *= largest / most);
        })
    };
    let create = |case: &Case| {
        create(
            Arc::new(Emulated::new(device(Products::F16x3))),
            case.model.clone(),
            &case.types,
            &with(Products::F16x3),
        )
    };
    // One that stands alone, one whose columns stand beside those of larger numbers, and rows of one whose other rows are larger.
    let maps: [Map; 3] = [
        |m| &mut m.descriptor.layers[1].node_self_mlp.weight,
        |m| &mut m.descriptor.layers[1].edge_self_linear.weight,
        |m| {
            let (rows, map) = (m.descriptor.options.e_dim, &mut m.descriptor.layers[1].node_sym_linear);
            &mut map.weight[..rows * map.outputs]
        },
    ];
    for (k, map) in maps.into_iter().enumerate() {
        let error = create(&faint(map, 9e-4)).err().unwrap_or_else(|| panic!("map {k}"));
        assert!(
            matches!(error, GpuError::FaintWeights { largest } if (8e-4..9.001e-4).contains(&largest)),
            "{k}: {error}"
        );
        assert!(error.to_string().contains("WEIR_PRECISION=tf32x3"), "{error}");
        // All zeros are exact.
        assert!(create(&faint(map, 0.0)).is_ok(), "map {k}");
    }
    assert!(create(&faint(maps[0], 1e-3)).is_ok());
}

#[test]
fn f32_models_get_the_fastest_products_that_hold_their_weights() {
    let single = |m: &mut Model| m.descriptor.options.precision = weir_engine::model::Precision::F32;
    let heavy = changed(&|m| {
        single(m);
        m.descriptor.layers[1].edge_self_linear.weight[3] = -300.0;
    });
    // Beside the larger numbers of what it is joined with.
    let faint = changed(&|m| {
        single(m);
        m.descriptor.layers[1].edge_self_linear.weight.iter_mut().for_each(|w| *w *= 1e-4);
    });
    let chosen = |case: &Case, chip: &str| {
        let chip: Chip = chip.parse().unwrap();
        let arithmetic = Arithmetic::on(&chip, room(&chip).unwrap(), &case.model, Precision::Model, Store::Exact);
        arithmetic.unwrap().products
    };
    for (chip, usual, of_heavy) in [
        ("sm_90a", Products::F16x3, Products::Tf32x3),
        ("sm_80", Products::F16x3, Products::Tf32x3),
        ("gfx942", Products::Plain, Products::Plain),
    ] {
        assert_eq!(chosen(&changed(&single), chip), usual, "{chip}");
        assert_eq!([&heavy, &faint].map(|case| chosen(case, chip)), [of_heavy; 2], "{chip}");
    }
    let double = changed(&|m| m.descriptor.options.precision = weir_engine::model::Precision::F64);
    assert_eq!(chosen(&double, "sm_90a"), Products::Plain);
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
