//! The GPU backend on the emulated device: the same numbers as DeePMD-kit and the CPU, the same bits under every plan.
#![cfg(feature = "emulated")]
#![allow(missing_docs)]

mod common;

use common::*;
use std::sync::Arc;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions};
use weir_backends::gpu::{create, GpuOptions};
use weir_engine::backend::{Calculator, Request, Results};
use weir_engine::model::Model;

fn compute(model: &Arc<Model>, reference: &Reference, options: &GpuOptions) -> Results {
    let driver = Arc::new(Emulated::new(EmulatedOptions::default()));
    let mut calculator = create(driver, model.clone(), &reference.types, options).unwrap();
    let mut out = Results::default();
    let request = Request { atomic_virial: reference.exact("atom_virial").is_some() };
    calculator
        .compute(&reference.positions, reference.cell.as_ref(), &reference.parameters, request, &mut out)
        .unwrap_or_else(|e| panic!("{}: {e}", reference.name));
    out
}

#[test]
fn first() {
    let folder = data("parity").join("tiny");
    let model = load_model(&folder.join("model.dp"));
    for path in references(&folder) {
        let reference = Reference::read(&path);
        let options = GpuOptions { precision: PrecisionChoice::F64, poison: true, ..Default::default() };
        let start = std::time::Instant::now();
        let out = compute(&model, &reference, &options);
        println!("{} {} atoms {:?}", reference.name, reference.types.len(), start.elapsed());
        for (name, value) in
            [("energy", vec![out.energy]), ("force", out.forces.concat()), ("virial", out.virial.concat())]
        {
            println!("   {name} {:e}", largest_difference(&value, reference.exact(name).unwrap()));
        }
    }
}
