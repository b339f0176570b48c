//! `weir report`: what this machine is and does, as one anonymous JSON: no names of users, hosts or folders.

use crate::backend::Engine;
use crate::cli::ReportArgs;
use crate::hardware::{every_tier, link_text, machine_json};
use crate::log::Log;
use crate::problem::print;
use crate::profile::bench::Slow;
use crate::profile::measure::{Case, Way, Wish};
use crate::profile::table;
use crate::report::{self, bytes, duration};
use crate::settings::{flags, set, Sources};
use anyhow::{Context, Result};
use safetensors::SafeTensors;
use serde_json::{json, Value};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_allocators::faults::Faults;
use weir_allocators::policy::Layer;
use weir_backends::cpu::{create, measured_links, open_tiers, CpuOptions, PrecisionChoice};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::model::{load_bytes, new_model, LoadOptions, Model};
use weir_engine::structure::{read_bytes, Format, ReadOptions, Structure};

/// Time after which nothing long is begun.
const LIMIT: Duration = Duration::from_secs(8 * 60);
/// Time spent on the steps of one protein, once warm.
const PROTEIN: f64 = 30.0;

/// The benchmark proteins, smallest first.
const PROTEINS: [(&str, &[u8]); 4] = [
    ("1YRF", include_bytes!("../examples/proteins/1YRF.extxyz")),
    ("1UBQ", include_bytes!("../examples/proteins/1UBQ.extxyz")),
    ("3LZM", include_bytes!("../examples/proteins/3LZM.extxyz")),
    ("2PTC", include_bytes!("../examples/proteins/2PTC.extxyz")),
];

/// Models with energies and forces that DeePMD-kit 3.2.0 computed, double and single precision.
const PARITY: [(&str, &[u8], &[u8]); 2] = [
    (
        "tiny, f64",
        include_bytes!("../tests/data/parity/tiny/model.dp"),
        include_bytes!("../tests/data/parity/tiny/ref/water_box.safetensors"),
    ),
    (
        "tiny32, f32",
        include_bytes!("../tests/data/parity/tiny32/model.dp"),
        include_bytes!("../tests/data/parity/tiny32/ref/water_box.safetensors"),
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

/// Largest difference from DeePMD-kit on this machine: energy (eV) and forces (eV/A).
fn parity(name: &str, model: &[u8], reference: &[u8], threads: usize) -> Result<Value> {
    let model = Arc::new(load_bytes(model, name, &LoadOptions::default())?);
    let file = SafeTensors::deserialize(reference)?;
    let triples = |v: Vec<f64>| v.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect::<Vec<_>>();
    let (x, types) = (triples(tensor(&file, "coord")?), tensor(&file, "atype")?);
    let types: Vec<i32> = types.iter().map(|t| *t as i32).collect();
    let cell = triples(tensor(&file, "box")?);
    let cell = [cell[0], cell[1], cell[2]];
    let exact = |name: &str| tensor(&file, &format!("{name}_f64")).or_else(|_| tensor(&file, name));
    let (energy, force) = (exact("energy")?, exact("force")?);
    let mut parts = Vec::new();
    for (label, precision) in [("f64", PrecisionChoice::F64), ("f32", PrecisionChoice::F32)] {
        let mut out = Results::default();
        let options = CpuOptions { precision, threads, ..CpuOptions::default() };
        let parameters = FrameParameters::default();
        create(model.clone(), &types, &options)?.compute(&x, Some(&cell), &parameters, Request::default(), &mut out)?;
        let largest = out.forces.concat().iter().zip(&force).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        parts.push(json!({ "computed_in": label, "energy_error_eV": (out.energy - energy[0]).abs(), "force_error_eV_A": largest }));
    }
    Ok(json!({ "model": name, "atoms": types.len(), "beside": "DeePMD-kit 3.2.0", "differences": parts }))
}

fn protein(name: &str, text: &[u8]) -> Result<Structure> {
    let mut frames = read_bytes(Format::Extxyz, text, &ReadOptions::default())?;
    frames.pop().with_context(|| format!("the embedded {name} is empty"))
}

/// Steps of one protein: the first call, the median, peaks.
fn timed(engine: &Engine, structure: &Structure, log: &Log) -> Result<Value> {
    let types = engine.types(structure)?;
    let mut calculator = engine.calculator(&types, log)?;
    let (mut out, mut seconds, begin) = (Results::default(), Vec::new(), Instant::now());
    let mut step = |calculator: &mut dyn Calculator| -> Result<f64> {
        let begin = Instant::now();
        let parameters = FrameParameters::default();
        calculator.compute(&structure.positions, structure.cell.as_ref(), &parameters, Request::default(), &mut out)?;
        Ok(begin.elapsed().as_secs_f64())
    };
    let first = step(calculator.as_mut())?;
    while seconds.is_empty() || (seconds.len() < 5 && begin.elapsed().as_secs_f64() < PROTEIN) {
        seconds.push(step(calculator.as_mut())?);
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    Ok(json!({
        "atoms": types.len(), "first_s": first, "median_s": median, "calls": seconds.len(),
        "us_per_atom": median * 1e6 / types.len() as f64, "ns_per_day_at_1_fs": 0.0864 / median, "energy_eV": out.energy,
        "predicted_s": calculator.plan().map(|p| p.prediction.seconds),
        "peak_bytes": calculator.peak_bytes().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    }))
}

/// Runs the command.
///
/// # Errors
/// Settings that cannot be followed, steps that fail, an output that cannot be written. What takes too long is left out and named.
pub fn run(args: &ReportArgs, sources: &Sources, log: &Log) -> Result<()> {
    let begin = Instant::now();
    let flags = flags(&args.compute, None)?;
    let settings = sources.resolve(std::slice::from_ref(&flags), &Layer::default())?;
    let write = |object: &Value| {
        let text = format!("{}\n", serde_json::to_string_pretty(object)?);
        std::fs::write(&args.out, text).with_context(|| format!("cannot write {}", args.out.display()))
    };
    let mut object = json!({
        "weir": env!("CARGO_PKG_VERSION"), "machine": machine_json(&settings.topology), "device": report::device(),
        "backend": "cpu", "threads": settings.policy.threads.value,
        "driver": Value::Null,
    });
    write(&object)?;

    let mut remarks = Vec::new();
    let everything = every_tier(sources, &flags, &mut remarks)?;
    let (mut links, _) = measured_links(&everything.policy, &everything.topology, true)?;
    // The key names the scratch folder.
    links.key.tiers = everything.policy.tiers.iter().map(|t| t.tier.name()).collect::<Vec<_>>().join(",");
    print(&link_text(&links))?;
    object["links"] = json!(links);

    let threads = settings.policy.threads.value;
    let mut checks = Vec::new();
    for (name, model, reference) in PARITY {
        let check = parity(name, model, reference, threads)?;
        let worst = |k: usize| check["differences"][k]["force_error_eV_A"].as_f64().unwrap_or(f64::NAN);
        print(&format!(
            "parity {name}: forces differ from DeePMD-kit by {:.1e} (f64), {:.1e} eV/A (f32)\n",
            worst(0),
            worst(1)
        ))?;
        checks.push(check);
    }
    object["parity"] = json!(checks);
    write(&object)?;

    let model = Arc::new(new_model("dpa-3.1-3m", 1)?);
    let mut proteins = serde_json::Map::new();
    let (mut last, mut skipped) = (None::<(usize, f64)>, Vec::new());
    for (name, text) in PROTEINS {
        let structure = protein(name, text)?;
        // A step takes about as long per atom as the one before; the first of a protein up to twice as long as a warm one.
        let expected = last.map_or(0.0, |(atoms, s)| 3.2 * s * structure.len() as f64 / atoms as f64);
        if begin.elapsed() + Duration::from_secs_f64(expected) > LIMIT {
            skipped.push(format!("{name}: a step would take too long"));
            continue;
        }
        let engine = Engine::with(model.clone(), Path::new(name), settings.clone());
        match timed(&engine, &structure, log) {
            Ok(value) => {
                let (s, atoms) = (value["median_s"].as_f64().unwrap_or(0.0), structure.len());
                let peak: u64 =
                    value["peak_bytes"].as_object().map_or(0, |m| m.values().filter_map(Value::as_u64).sum());
                print(&format!("{name:<6} {atoms:>5} atoms  {:>10} a step  {:>10}\n", duration(s), bytes(peak)))?;
                last = Some((atoms, s));
                proteins.insert(name.into(), value);
            }
            Err(e) => skipped.push(format!("{name}: {}", crate::problem::one_line(&e))),
        }
        object["proteins"] = json!({ "shape": "dpa-3.1-3m, random weights, f32", "results": proteins });
        write(&object)?;
    }
    match spill(sources, &flags, &model, begin, log) {
        Ok(Some(curve)) => object["spill"] = curve,
        Ok(None) => skipped.push("spill curve: it would take too long".into()),
        Err(e) => skipped.push(format!("spill curve: {}", crate::problem::one_line(&e))),
    }
    for s in &skipped {
        log.warn(&format!("left out: {s}"));
    }
    object["left_out"] = json!(skipped);
    object["seconds"] = json!(begin.elapsed().as_secs_f64());
    write(&object)?;
    print(&format!(
        "\nwritten to {} in {}: please look at it and send it to the developers (it names no user, host or folder)\n",
        args.out.display(),
        duration(begin.elapsed().as_secs_f64())
    ))
}

/// The spill curve of the smallest protein.
fn spill(sources: &Sources, flags: &Layer, model: &Arc<Model>, begin: Instant, log: &Log) -> Result<Option<Value>> {
    let (name, text) = PROTEINS[0];
    let structure = protein(name, text)?;
    let mut layer = Layer::default();
    set(&mut layer, "placement", "weir report", "hbm,system")?;
    set(&mut layer, "hbm_budget", "weir report", "1MiB")?;
    let settings = sources.resolve(&[layer, flags.clone()], &Layer::default())?;
    let opened = open_tiers(&settings.policy, &settings.topology, &Faults::none())?;
    let slow = Slow { cpu: opened.tiers.into_iter().skip(1).collect(), ..Slow::default() };
    let plain = sources.resolve(std::slice::from_ref(flags), &Layer::default())?;
    let engine = Engine::with(model.clone(), Path::new(name), plain);
    let types = engine.types(&structure)?;
    let parameters = FrameParameters::default();
    // Three runs for rates and nine lines, each with a warm step.
    let once = {
        let mut calculator = engine.calculator(&types, log)?;
        let begin = Instant::now();
        calculator.compute(&structure.positions, None, &parameters, Request::default(), &mut Results::default())?;
        begin.elapsed().as_secs_f64()
    };
    let left = (Duration::from_secs(580).saturating_sub(begin.elapsed())).as_secs_f64();
    let calls = ((left / (12.0 * 2.0 * once)) as usize).saturating_sub(1).min(3);
    if calls == 0 {
        return Ok(None);
    }
    let case =
        Case { engine: &engine, structure: &structure, types: &types, parameters: &parameters, ways: &Way::ALL, calls };
    let wishes = [Wish::Share(0.5), Wish::Share(0.25), Wish::Smallest];
    let measured = case.measure(&[("hbm,system".into(), slow)], &wishes, log)?;
    print(&format!("\n{name}, budgets of hbm\n{}", table(&measured)))?;
    Ok(Some(json!({ "structure": name, "calls": calls, "profile": measured })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_proteins_have_their_published_atom_counts() {
        let counts: Vec<usize> = PROTEINS.iter().map(|(n, t)| protein(n, t).unwrap().len()).collect();
        assert_eq!(counts, [582, 1231, 2643, 4114]);
    }

    #[test]
    fn parity_is_that_of_the_test_suite() {
        for (name, model, reference) in PARITY {
            let check = parity(name, model, reference, 1).unwrap();
            let error = |k: usize| check["differences"][k]["force_error_eV_A"].as_f64().unwrap();
            assert!(error(0) <= 1e-9, "{check}");
            assert!(error(1) > 0.0 && error(1) < 1e-4, "{check}");
        }
    }
}
