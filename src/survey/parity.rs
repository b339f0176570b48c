//! Results of models that the program carries, beside DeePMD-kit's.

use crate::backend::Engine;
use crate::log::Log;
use crate::settings::Settings;
use anyhow::{Context, Result};
use safetensors::SafeTensors;
use serde_json::{json, Value};
use std::path::Path;
use std::sync::Arc;
use weir_backends::cpu::{CpuOptions, InstructionSet, PrecisionChoice};
use weir_backends::gpu::GpuOptions;
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::model::{load_bytes, LoadOptions};
use weir_kernels::Products;

/// Models with energies and forces that DeePMD-kit 3.2.0 computed, double and single precision.
pub const MODELS: [(&str, &[u8], &[u8]); 2] = [
    (
        "tiny, f64",
        include_bytes!("../../tests/data/parity/tiny/model.dp"),
        include_bytes!("../../tests/data/parity/tiny/ref/water_box.safetensors"),
    ),
    (
        "tiny32, f32",
        include_bytes!("../../tests/data/parity/tiny32/model.dp"),
        include_bytes!("../../tests/data/parity/tiny32/ref/water_box.safetensors"),
    ),
];

fn tensor(file: &SafeTensors, name: &str) -> Result<Vec<f64>> {
    let view = file.tensor(name).with_context(|| format!("the embedded reference lacks {name}"))?;
    let d = view.data();
    Ok(match view.dtype() {
        safetensors::Dtype::F64 => {
            d.chunks_exact(8).map(|c| f64::from_le_bytes(c.try_into().expect("8 bytes"))).collect()
        }
        safetensors::Dtype::F32 => {
            d.chunks_exact(4).map(|c| f64::from(f32::from_le_bytes(c.try_into().expect("4 bytes")))).collect()
        }
        safetensors::Dtype::I64 => {
            d.chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().expect("8 bytes")) as f64).collect()
        }
        safetensors::Dtype::I32 => {
            d.chunks_exact(4).map(|c| f64::from(i32::from_le_bytes(c.try_into().expect("4 bytes")))).collect()
        }
        other => anyhow::bail!("the embedded reference has {name} as {other:?}"),
    })
}

/// Largest differences from DeePMD-kit where these settings compute, in every arithmetic that there is: energy (eV) and forces (eV/A). A device is
/// taken as it is, whether or not it has been compared with the CPU.
///
/// # Errors
/// Settings that cannot be followed, steps that fail.
pub fn check(name: &str, model: &[u8], reference: &[u8], settings: &Settings, log: &Log) -> Result<Value> {
    let model = Arc::new(load_bytes(model, name, &LoadOptions::default())?);
    let file = SafeTensors::deserialize(reference)?;
    let triples = |v: Vec<f64>| v.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect::<Vec<_>>();
    let (x, types) = (triples(tensor(&file, "coord")?), tensor(&file, "atype")?);
    let types: Vec<i32> = types.iter().map(|t| *t as i32).collect();
    let cell = triples(tensor(&file, "box")?);
    let cell = [cell[0], cell[1], cell[2]];
    let exact = |name: &str| tensor(&file, &format!("{name}_f64")).or_else(|_| tensor(&file, name));
    let (energy, force) = (exact("energy")?, exact("force")?);
    let engine = Engine::with(model, Path::new(name), settings.clone());
    let mut arithmetics =
        vec![("f64", PrecisionChoice::F64, Products::Plain), ("f32", PrecisionChoice::F32, Products::Plain)];
    // What an f32 model is computed with by itself, and what is to be had instead.
    if engine.device().is_some_and(|d| Products::of_single(&d.facts().chip).by_tensor_cores()) {
        arithmetics.push(("tf32x3", PrecisionChoice::F32, Products::Tf32x3));
        arithmetics.push(("f16x3", PrecisionChoice::F32, Products::F16x3));
    }
    let mut parts = Vec::new();
    for (label, precision, products) in arithmetics {
        let mut calculator: Box<dyn Calculator> = match engine.device() {
            None => {
                let (threads, simd) = (engine.policy.threads.value, InstructionSet::asked(engine.policy.simd.value));
                let options = CpuOptions { precision, threads, simd, ..CpuOptions::default() };
                Box::new(engine.cpu_calculator(&types, &options)?)
            }
            Some(device) => {
                let options = GpuOptions { precision, products, ..engine.gpu_options(device, log)? };
                Box::new(engine.gpu_calculator(device, &types, &options)?)
            }
        };
        let mut out = Results::default();
        calculator.compute(&x, Some(&cell), &FrameParameters::default(), Request::default(), &mut out)?;
        let largest = out.forces.concat().iter().zip(&force).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        parts.push(json!({ "computed_in": label, "energy_error_eV": (out.energy - energy[0]).abs(), "force_error_eV_A": largest }));
    }
    Ok(json!({ "model": name, "atoms": types.len(), "beside": "DeePMD-kit 3.2.0", "differences": parts }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::LogFormat;
    use crate::log::Level;
    use crate::settings::Sources;
    use weir_allocators::policy::Layer;

    #[test]
    fn parity_is_that_of_the_test_suite() {
        let settings = Sources::default().look(&[], &Layer::default()).unwrap();
        for (name, model, reference) in MODELS {
            let check = check(name, model, reference, &settings, &Log::new(Level::Error, LogFormat::Text)).unwrap();
            let error = |k: usize| check["differences"][k]["force_error_eV_A"].as_f64().unwrap();
            assert!(error(0) <= 1e-9, "{check}");
            assert!(error(1) > 0.0 && error(1) < 1e-4, "{check}");
            assert_eq!(check["differences"].as_array().unwrap().len(), 2, "{check}");
        }
    }
}
