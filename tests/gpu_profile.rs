//! Promises of `weir profile` and `weir plan` on the emulated device: what a user of a GPU is told is what the device does.
#![allow(missing_docs)]

#[path = "common/program.rs"]
mod program;
#[path = "common/water.rs"]
mod water;

use program::program;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use water::folder;
use weir_backends::cpu::{Checkpoint, Neighbours, PrecisionChoice, Terms};
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, Watch};
use weir_backends::gpu::{create, hbm, GpuOptions, GpuOutline};
use weir_engine::backend::Calculator;
use weir_engine::model::{self, LoadOptions};
use weir_engine::plan::placement::{smallest_feasible, Permission};
use weir_engine::structure::{read, ReadOptions};
use weir_kernels::Products;

fn parity(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parity").join(name).join("model.dp")
}

fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated-kernels")
}

/// The program on the emulated device with the tiny model.
fn weir(folder: &Path, command: &str, more: &[&str]) -> Output {
    let model = parity("tiny").display().to_string();
    let mut all = vec![command, &model, "water.extxyz", "--threads", "1"];
    all.extend(more);
    let mut command = program(folder, &all);
    command.env("WEIR_BACKEND", "emulated").env("WEIR_CACHE_DIR", cache());
    command.output().unwrap()
}

fn good(output: &Output) -> &[u8] {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    &output.stdout
}

fn json(folder: &Path, command: &str, more: &[&str]) -> Value {
    serde_json::from_slice(good(&weir(folder, command, more))).unwrap()
}

fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn a_profile_of_a_gpu_has_a_row_for_every_way_and_budget_and_each_keeps_to_its_own() {
    let folder = folder();
    let more = ["--placements", "hbm,pinned", "--budgets", "100%,min", "--calls", "1", "--kernels", "--out", "p"];
    let all = [&more[..], &["--host-budget", "256MiB"]].concat();
    let told = String::from_utf8_lossy(good(&weir(folder.path(), "profile", &all))).into_owned();
    // Forces of every row are compared with those of the unlimited step, bit for bit: the command fails where they differ.
    let object: Value = serde_json::from_str(&fs::read_to_string(folder.path().join("p.json")).unwrap()).unwrap();
    assert_eq!(object["backend"], "emulated");
    assert!(object["device"].as_str().unwrap().contains("emulated"), "{}", object["device"]);
    assert!(object["links"].as_str().unwrap().contains("pinned"), "{}", object["links"]);
    let measured = &object["profile"];
    let unlimited = whole(&measured["unlimited_bytes"]);
    let rows = measured["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|r| (r["way"].as_str().unwrap(), r["budget"].as_str().unwrap())).collect();
    let ways = ["rebuild", "spill", "planner"];
    let expected: Vec<_> = ways.iter().flat_map(|w| ["100%", "min"].map(|b| (*w, b))).collect();
    assert_eq!(names, expected);
    for row in rows {
        assert!(number(&row["predicted_s"]) > 0.0 && number(&row["measured_s"]) > 0.0, "{row}");
        let peak = row["peak_bytes"].as_array().unwrap().iter().find(|t| t[0] == "hbm").unwrap();
        assert!(whole(&peak[1]) <= whole(&row["hbm_bytes"]), "{row}");
        if row["budget"] == "min" {
            assert_eq!(row["hbm_bytes"], row["smallest_bytes"]);
            assert!(whole(&row["hbm_bytes"]) < unlimited, "{row}");
        }
        let moved = [&row["out_bytes"], &row["in_bytes"]].map(whole);
        let short = row["budget"] == "min";
        match row["way"].as_str().unwrap() {
            "rebuild" => assert!(moved == [0, 0] && (number(&row["rebuild_s"]) > 0.0) == short, "{row}"),
            "spill" => assert!((moved[0] > 0 && moved[1] > 0) == short && number(&row["rebuild_s"]) == 0.0, "{row}"),
            _ => {}
        }
        // What a copy achieved is told by the device's events.
        assert_eq!(moved[0] > 0, number(&row["out_gb_s"]) > 0.0, "{row}");
    }
    let least = |way: &str| whole(&rows.iter().find(|r| r["way"] == way).unwrap()["smallest_bytes"]);
    assert!(least("planner") <= least("rebuild").min(least("spill")));
    // A step launches what the classes add up to.
    let step = json(folder.path(), "eval", &["--json", "-", "-q", "--checkpoint", "all", "--placement", "hbm"]);
    let kernels = &object["kernels"];
    let sum = |list: &Value, key: &str| list.as_array().unwrap().iter().map(|c| whole(&c[key])).sum::<u64>();
    assert_eq!(sum(&kernels["kernels"], "launches"), whole(&step["launches"]));
    assert_eq!(sum(&kernels["classes"], "calls"), whole(&step["launches"]));
    for class in kernels["classes"].as_array().unwrap().iter().take(3) {
        assert!(number(&class["seconds"]) > 0.0 && number(&class["seconds"]) < number(&kernels["wall_s"]), "{class}");
    }
    assert!(told.contains("edge_forward") && told.contains("GEMM"), "{told}");
}

#[test]
fn a_plan_for_this_gpu_holds_what_a_run_takes_and_the_smallest_that_it_names_runs() {
    let folder = folder();
    let common = ["--placement", "hbm,pinned", "--host-budget", "256MiB"];
    let plan = |more: &[&str]| {
        let object = json(folder.path(), "plan", &[&common[..], more, &["--json"]].concat());
        object["machines"][0].clone()
    };
    let eval = |more: &[&str]| json(folder.path(), "eval", &[&common[..], more, &["--json", "-", "-q"]].concat());
    let kib = |n: u64| format!("{n}KiB");
    let first = plan(&[]);
    assert!(first["title"].as_str().unwrap().contains("emulated"), "{}", first["title"]);
    let least = whole(&first["smallest_hbm_bytes"]);
    let (small, large) = (kib(least.div_ceil(1024)), kib(2 * least / 1024));
    let mut forces = Vec::new();
    for more in [&[][..], &["--hbm-budget", &small], &["--hbm-budget", &large]] {
        let (planned, run) = (plan(more), eval(more));
        for tier in planned["tiers"].as_array().unwrap() {
            let (name, peak) = (tier["name"].as_str().unwrap(), whole(&tier["peak_bytes"]));
            assert_eq!(peak, run["peak_bytes"][name].as_u64().unwrap_or(0), "{more:?}, {name}: {planned} {run}");
            assert!(peak <= whole(&tier["capacity_bytes"]), "{tier}");
        }
        assert!(whole(&run["device_memory"]["held_bytes"]) <= whole(&planned["tiers"][0]["peak_bytes"]), "{run}");
        forces.push(run["forces"].to_string());
    }
    assert!(forces.iter().all(|f| *f == forces[0]), "plans show in the bits");
    let less = weir(folder.path(), "plan", &[&common[..], &["--hbm-budget", &kib(least / 1024 - 4)]].concat());
    assert_eq!(less.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&less.stderr).contains("tier hbm lacks"));
}

#[test]
fn machines_with_a_gpu_are_asked_with_the_fixed_bytes_and_tiles_of_its_backend() {
    let folder = folder();
    let plan = |machine: &str| json(folder.path(), "plan", &["--machine", machine, "--json"])["machines"][0].clone();
    let (here, gpu, cpu) = (plan("here"), plan("gh200-96"), plan("laptop"));
    assert_eq!(here["fixed_bytes"], gpu["fixed_bytes"]);
    assert_eq!(here["tiles"], gpu["tiles"]);
    assert_ne!(gpu["fixed_bytes"], cpu["fixed_bytes"]);
}

#[test]
fn an_outline_asks_the_planner_what_a_calculator_on_the_device_asks() {
    let folder = folder();
    let water = read(folder.path().join("water.extxyz"), &ReadOptions::default()).unwrap();
    for (name, precision, tile_edges) in [
        ("tiny", PrecisionChoice::Model, 300),
        ("tiny", PrecisionChoice::F32, 1 << 17),
        ("tiny32", PrecisionChoice::Model, 300),
        ("sequential", PrecisionChoice::Model, 300),
        ("sequential", PrecisionChoice::Model, 1 << 17),
    ] {
        let model = Arc::new(model::load(&parity(name), &LoadOptions::default()).unwrap());
        let types: Vec<i32> = water.symbols.iter().map(|s| model.type_of(s).unwrap() as i32).collect();
        let (x, cell) = (&water.positions, water.cell.as_ref());
        let outline = GpuOutline::of(&model, precision, Products::Plain);
        let census = Neighbours::find(&model, &types, x, cell, 1.0).unwrap().census(tile_edges);
        let options = |budget: u64| GpuOptions {
            precision,
            tile_edges,
            tiers: vec![hbm(budget)],
            cache_dir: Some(cache()),
            threads: 1,
            ..GpuOptions::default()
        };
        let terms = |budget: u64| Terms {
            tiers: vec![hbm(budget).spec],
            checkpoint: Checkpoint::Auto,
            spill: Permission::Allowed,
            rebuild: Permission::Allowed,
            ..Terms::default()
        };
        let calculator = |budget: u64| {
            let device = EmulatedOptions { watch: Watch::Nothing, ..EmulatedOptions::default() };
            create(Arc::new(Emulated::new(device)), model.clone(), &types, &options(budget)).unwrap()
        };
        let least = smallest_feasible(&outline.problem(&census, &terms(1 << 40))).unwrap();
        // The question is the same before a plan and after it, whatever the plan keeps.
        for budget in [least, 1 << 40] {
            let mut calculator = calculator(budget);
            let asked = calculator.problem(x, cell).unwrap();
            assert_eq!(outline.problem(&census, &terms(budget)), asked, "{name} {budget}");
            let (_, problem, plan) = outline.planned([tile_edges], |_| (census.clone(), terms(budget))).unwrap();
            let bytes =
                plan.program.arena_bytes[0] + problem.fixed_bytes + problem.bank_bytes * plan.program.banks as u64;
            assert_eq!(calculator.plan().unwrap().prediction, plan.prediction, "{name} {budget}");
            assert_eq!(calculator.device_memory().unwrap().planned, bytes, "{name} {budget}");
        }
        assert!(calculator(least - 256).prepare(x, cell).is_err(), "{name}: less than the smallest is enough");
    }
}
