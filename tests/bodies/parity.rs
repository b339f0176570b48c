//! Bodies of parity with DeePMD-kit 3.2.0, for any backend, in double and in single precision.
#![allow(missing_docs)]

use super::common::*;
use std::path::Path;
use weir_backends::cpu::{Checkpoint, PrecisionChoice};
use weir_engine::backend::{Request, Results};
use weir_engine::model::{Model, Precision};

fn compute<B: Backend>(model: &std::sync::Arc<Model>, reference: &Reference, settings: &Settings) -> Results {
    let mut calculator = B::make(model, &reference.types, settings);
    let mut out = Results::default();
    let request = Request { atomic_virial: reference.exact("atom_virial").is_some() };
    calculator
        .compute(&reference.positions, reference.cell.as_ref(), &reference.parameters, request, &mut out)
        .unwrap_or_else(|e| panic!("{}: {e}", reference.name));
    out
}

fn quantities(out: &Results) -> Vec<(&'static str, Vec<f64>)> {
    let mut q = vec![
        ("energy", vec![out.energy]),
        ("atom_energy", out.atomic_energy.clone()),
        ("force", out.forces.concat()),
        ("virial", out.virial.concat()),
    ];
    if let Some(v) = &out.atomic_virial {
        q.push(("atom_virial", v.concat()));
    }
    q
}

/// A single-precision reference without its double-precision twin (one large structure) says nothing about 1e-9.
fn has_exact(model: &Model, reference: &Reference) -> bool {
    model.descriptor.options.precision == Precision::F64 || reference.tensors.contains_key("energy_f64")
}

fn check_double<B: Backend>(folder: &Path, model: &std::sync::Arc<Model>, reference: &Reference) {
    for checkpoint in [Checkpoint::All, Checkpoint::Every(2)] {
        let options = Settings { precision: PrecisionChoice::F64, checkpoint, ..Default::default() };
        let out = compute::<B>(model, reference, &options);
        for (name, value) in quantities(&out) {
            let expected = reference.exact(name).unwrap();
            let bound = if name == "energy" { 1e-10 * expected[0].abs().max(1.0) } else { 1e-9 };
            let d = largest_difference(&value, expected);
            assert!(d <= bound, "{} {} {name}: {d:e}", folder.display(), reference.name);
        }
    }
}

/// `max|x - x_f64| <= 2 max|x_ref - x_f64| + floor`, x_ref being DeePMD-kit's own single-precision result.
fn check_single<B: Backend>(folder: &Path, model: &std::sync::Arc<Model>, reference: &Reference, worst: &mut f64) {
    let out = compute::<B>(model, reference, &Settings { precision: PrecisionChoice::Model, ..Default::default() });
    let atoms = reference.positions.len() as f64;
    // Where DeePMD-kit's double-precision value is not recorded, ours stands in: it is judged on all other references.
    let ours = (!has_exact(model, reference)).then(|| {
        quantities(&compute::<B>(model, reference, &Settings { precision: PrecisionChoice::F64, ..Default::default() }))
    });
    for (index, (name, value)) in quantities(&out).into_iter().enumerate() {
        let exact = ours.as_ref().map_or_else(|| reference.exact(name).unwrap(), |q| q[index].1.as_slice());
        let noise = largest_difference(&reference.tensors[name], exact);
        let floor = match name {
            "force" => 1e-6,
            "energy" => atoms * 1e-6 + 1e-5,
            _ => 1e-5,
        };
        let d = largest_difference(&value, exact);
        *worst = worst.max(d / (2.0 * noise + floor));
        assert!(d <= 2.0 * noise + floor, "{} {} {name}: {d:e}, noise {noise:e}", folder.display(), reference.name);
    }
}

fn check<B: Backend>(folder: &Path, largest: usize) -> (usize, usize, f64) {
    let model = load_model(&folder.join("model.dp"));
    let single = model.descriptor.options.precision == Precision::F32;
    let (mut double_count, mut single_count, mut worst) = (0, 0, 0.0);
    for path in references(folder) {
        let reference = Reference::read(&path);
        if reference.positions.len() > largest {
            continue;
        }
        if has_exact(&model, &reference) {
            check_double::<B>(folder, &model, &reference);
            double_count += 1;
        }
        if single {
            check_single::<B>(folder, &model, &reference, &mut worst);
            single_count += 1;
        }
    }
    (double_count, single_count, worst)
}

/// Structures of at most `largest` atoms.
pub fn carried_models_equal_deepmd_kit<B: Backend>(largest: usize) {
    let (mut double, mut single) = (0, 0);
    for folder in model_folders(&data("parity")) {
        let (d, s, _) = check::<B>(&folder, largest);
        double += d;
        single += s;
    }
    assert!(double >= 30 && single >= 5, "{double} double, {single} single");
}

/// Structures of at most `largest` atoms, of every `parts`-th model from `part` on: so several tests can share the work.
pub fn every_fixture_equals_deepmd_kit<B: Backend>(largest: usize, part: usize, parts: usize) {
    let Some(shared) = shared() else {
        println!("skipped: no fixture folder (set WEIR_SHARED)");
        return;
    };
    let (mut double, mut single, mut worst) = (0, 0, 0.0f64);
    for folder in model_folders(&shared.join("fixtures/models")).into_iter().skip(part).step_by(parts) {
        let (d, s, w) = check::<B>(&folder, largest);
        double += d;
        single += s;
        worst = worst.max(w);
    }
    println!(
        "{double} double-precision and {single} single-precision results; largest share of the f32 band {worst:.2}"
    );
    assert!(double > 100 / parts && single > if parts == 1 { 10 } else { 0 }, "{double} and {single} results");
}
