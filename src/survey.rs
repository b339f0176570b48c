//! `weir report`: what this machine is and does, as one anonymous JSON: no names of users, hosts or folders.

mod parity;

use crate::backend::Engine;
use crate::cli::ReportArgs;
use crate::hardware::{every_tier, link_text, machine_json};
use crate::log::Log;
use crate::problem::print;
use crate::profile::measure::{Case, Way, Wish};
use crate::profile::{placements, table};
use crate::report::{self, bytes, duration};
use crate::settings::{flags, Settings, Sources};
use anyhow::{Context, Result};
use serde_json::{json, Value};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_allocators::policy::Layer;
use weir_backends::cpu::{measured_links, InstructionSet};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::model::new_model;
use weir_engine::structure::{read_bytes, Format, ReadOptions, Structure};
use weir_kernels::Chip;

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
        "precision": engine.precision(), "launches": calculator.launches(),
        "device_memory": report::device_memory_json(calculator.as_ref()),
        "peak_bytes": calculator.peak_bytes().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    }))
}

/// What the machine has and what computes: settings, and a device where they ask for one.
fn machine(settings: &Settings) -> Value {
    let mut object = json!({
        "weir": env!("CARGO_PKG_VERSION"), "machine": machine_json(&settings.topology), "device": report::device(),
        "instruction_set": InstructionSet::of(settings.policy.simd.value).name(), "backend": "cpu", "threads": settings.policy.threads.value, "driver": Value::Null, "chip": Value::Null,
    });
    if let Some(device) = &settings.device {
        let facts = device.facts();
        object["processor"] = object["device"].take();
        object["device"] = json!(facts.name);
        object["backend"] = json!(device.driver().name());
        object["driver"] = json!(facts.driver);
        object["chip"] = json!(facts.chip.to_string());
        object["multiprocessors"] = json!(facts.units);
        object["reads_host_page_tables"] = json!(facts.host_page_tables);
        object["one_memory_with_host"] = json!(facts.integrated);
    }
    object
}

/// Links between the tiers, measured now: of the host, or of the device.
fn links(engine: &Engine, sources: &Sources, flags: &Layer, log: &Log) -> Result<Value> {
    if engine.device().is_some() {
        let (slow, text) = placements::open(engine, sources, flags, ["weir report", slow_tiers(engine)], log)?;
        print(&text)?;
        return Ok(json!({ "tiers": slow.gpu.iter().map(report::tier_json).collect::<Vec<_>>() }));
    }
    let everything = every_tier(sources, flags, &mut Vec::new())?;
    let (mut links, _) = measured_links(&everything.policy, &everything.topology, true)?;
    // The key names the scratch folder.
    links.key.tiers = everything.policy.tiers.iter().map(|t| t.tier.name()).collect::<Vec<_>>().join(",");
    print(&link_text(&links))?;
    Ok(json!(links))
}

/// Where states go that leave `hbm`.
fn slow_tiers(engine: &Engine) -> &'static str {
    match engine.device().map(|d| d.facts().host_page_tables) {
        Some(false) => "hbm,pinned",
        Some(true) | None => "hbm,system",
    }
}

/// Runs the command.
///
/// # Errors
/// Settings that cannot be followed, steps that fail, an output that cannot be written. What takes too long is left out and named.
pub fn run(args: &ReportArgs, sources: &Sources, log: &Log) -> Result<()> {
    let begin = Instant::now();
    let flags = flags(&args.compute, None)?;
    let settings = sources.settle(std::slice::from_ref(&flags), &Layer::default())?;
    let write = |object: &Value| {
        let text = format!("{}\n", serde_json::to_string_pretty(object)?);
        std::fs::write(&args.out, text).with_context(|| format!("cannot write {}", args.out.display()))
    };
    let mut object = machine(&settings);
    write(&object)?;
    let model = Arc::new(new_model("dpa-3.1-3m", 1)?);
    let engine = |name: &str| Engine::with(model.clone(), Path::new(name), settings.clone());
    object["links"] = links(&engine("links"), sources, &flags, log)?;

    let mut checks = Vec::new();
    for (name, model, reference) in parity::MODELS {
        let check = parity::check(name, model, reference, &settings, log)?;
        let one = |d: &Value| {
            let number = d["force_error_eV_A"].as_f64().unwrap_or(f64::NAN);
            format!("{number:.1e} ({})", d["computed_in"].as_str().unwrap_or_default())
        };
        let all: Vec<String> = check["differences"].as_array().into_iter().flatten().map(one).collect();
        print(&format!("parity {name}: forces differ from DeePMD-kit by {} eV/A\n", all.join(", ")))?;
        checks.push(check);
    }
    object["parity"] = json!(checks);
    write(&object)?;

    let emulated = settings.device.as_ref().is_some_and(|d| d.facts().chip == Chip::Host);
    let mut proteins = serde_json::Map::new();
    let (mut last, mut skipped) = (None::<(usize, f64)>, Vec::new());
    for (name, text) in PROTEINS {
        let structure = protein(name, text)?;
        // A step takes about as long per atom as the one before; the first of a protein up to twice as long as a warm one.
        let expected = last.map_or(0.0, |(atoms, s)| 3.2 * s * structure.len() as f64 / atoms as f64);
        if begin.elapsed() + Duration::from_secs_f64(expected) > LIMIT || emulated {
            skipped.push(format!("{name}: a step would take too long"));
            continue;
        }
        match timed(&engine(name), &structure, log) {
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
        object["proteins"] = json!({ "shape": "dpa-3.1-3m, random weights", "results": proteins });
        write(&object)?;
    }
    match emulated {
        true => skipped.push("spill curve: it would take too long".into()),
        false => match spill(&engine(PROTEINS[0].0), sources, &flags, begin, log) {
            Ok(Some(curve)) => object["spill"] = curve,
            Ok(None) => skipped.push("spill curve: it would take too long".into()),
            Err(e) => skipped.push(format!("spill curve: {}", crate::problem::one_line(&e))),
        },
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
fn spill(engine: &Engine, sources: &Sources, flags: &Layer, begin: Instant, log: &Log) -> Result<Option<Value>> {
    let (name, text) = PROTEINS[0];
    let structure = protein(name, text)?;
    let placement = slow_tiers(engine);
    let (slow, _) = placements::open(engine, sources, flags, ["weir report", placement], log)?;
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
    let case = Case { engine, structure: &structure, types: &types, parameters: &parameters, ways: &Way::ALL, calls };
    let wishes = [Wish::Share(0.5), Wish::Share(0.25), Wish::Smallest];
    let mut measured = case.measure(&[(placement.into(), slow)], &wishes, log)?;
    // For the screen alone: the reason may name a folder.
    let failed = measured.failed.take();
    if let Some(failed) = &failed {
        log.warn(&format!("left out of the spill curve, with what would come after it: {failed}"));
    }
    print(&format!("\n{name}, budgets of hbm\n{}", table(&measured)))?;
    Ok(Some(json!({ "structure": name, "calls": calls, "complete": failed.is_none(), "profile": measured })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_proteins_have_their_published_atom_counts() {
        let counts: Vec<usize> = PROTEINS.iter().map(|(n, t)| protein(n, t).unwrap().len()).collect();
        assert_eq!(counts, [582, 1231, 2643, 4114]);
    }
}
