//! Promises of the command line on a GPU: what a user types and sees. The device is the emulated one, reached by its own driver or (`stand_in`)
//! through the vendors' libraries.
#![allow(missing_docs)]

mod device;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/refused.rs"]
mod refused;
mod runs;
mod stand_in;
#[path = "../common/water.rs"]
mod water;
mod widened;

use program::program;
use refused::refused;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use water::folder;
use weir_engine::model::{load, save, LoadOptions};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn example(name: &str) -> String {
    root().join("examples/water").join(name).display().to_string()
}

fn parity(name: &str) -> String {
    root().join("tests/data/parity").join(name).join("model.dp").display().to_string()
}

/// The program on the device behind the thread's door. Compiled kernels are kept beside the build: their keys hold all that shapes them.
fn weir(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program(folder, arguments);
    stand_in::open(&mut command);
    // Without a host tier such a budget would contradict the placement.
    if !arguments.contains(&"hbm,file") {
        command.env("WEIR_HOST_BUDGET", "256MiB");
    }
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn good(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert!(!told(&output).contains("stand-in:"), "a call was refused, or something left behind: {}", told(&output));
    output
}

fn fails(mut command: Command, code: i32, words: &[&str]) {
    let output = command.output().unwrap();
    refused(&output, code, words);
    assert!(output.stdout.is_empty(), "something was computed");
}

fn eval(folder: &Path, model: &str, structure: &str, more: &[&str]) -> Value {
    let mut all = vec!["eval", model, structure, "--json", "-", "-q", "--threads", "1"];
    all.extend(more);
    serde_json::from_slice(&good(weir(folder, &all)).stdout).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(all) => all.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn differs(a: &Value, b: &Value, key: &str) -> f64 {
    let (a, b) = (numbers(&a[key]), numbers(&b[key]));
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

/// Results as written: numbers keep their bits in JSON.
fn bits(value: &Value) -> String {
    ["energy", "forces", "virial", "atomic_energy"].map(|k| value[k].to_string()).join(" ")
}

/// A run of 24 steps as `run.toml`; `ensemble` is what it says of that.
fn prepare_run(folder: &Path, model: &str, ensemble: &str) {
    let config = format!(
        "[model]\npath = {:?}\n[structure]\npath = \"water.extxyz\"\n[md]\n{ensemble}\ntimestep_fs = 0.2\nsteps = 24\n\
         temperature_K = 300\nmax_temperature_K = 1e6\nmax_displacement_A = 5.0\n[output]\nprefix = \"out/run\"\n\
         energy_every = 1\ntrajectory_every = 4\nplot = false\n",
        parity(model)
    );
    fs::write(folder.join("run.toml"), config).unwrap();
}

/// What a run has written.
fn written(folder: &Path, prefix: &str) -> [Vec<u8>; 3] {
    [".csv", ".extxyz", ".final.extxyz"].map(|s| fs::read(folder.join(format!("{prefix}{s}"))).unwrap())
}

#[test]
fn eval_equals_that_of_the_cpu_and_tells_launches_plan_and_memory() {
    let folder = folder();
    for (model, bound) in [("tiny", 1e-10), ("tiny32", 2e-4)] {
        let model = parity(model);
        let device = eval(folder.path(), &model, "water.extxyz", &["--atomic"]);
        let cpu = eval(folder.path(), &model, "water.extxyz", &["--atomic", "--backend", "cpu"]);
        assert_eq!((device["backend"].as_str(), cpu["backend"].as_str()), (Some(stand_in::backend()), Some("cpu")));
        for key in ["energy", "forces", "virial", "atomic_energy", "atomic_virial"] {
            assert!(differs(&device, &cpu, key) < bound, "{model}: {key} differs by {}", differs(&device, &cpu, key));
        }
        assert!(device["launches"].as_u64().unwrap() > 20);
        assert!(cpu["launches"].is_null() && cpu["device_memory"].is_null());
        let memory = |key: &str| device["device_memory"][key].as_u64().unwrap();
        let [planned, held, used, all] = ["planned_bytes", "held_bytes", "used_bytes", "all_bytes"].map(memory);
        assert!(held > 0 && held <= planned && used >= held && used < all, "{}", device["device_memory"]);
        assert_eq!(device["peak_bytes"]["hbm"].as_u64(), Some(planned));
        for plan in [&device["plan"], &cpu["plan"]] {
            assert!(plan["tiles"].as_u64().unwrap() >= 1 && plan["predicted_seconds"].as_f64().unwrap() > 0.0);
            assert!(plan["arena_bytes"]["hbm"].as_u64().unwrap() <= plan["peak_bytes"]["hbm"].as_u64().unwrap());
            let states: u64 = plan["states"].as_object().unwrap().values().map(|b| b.as_u64().unwrap()).sum();
            let rows = plan["layers"].as_array().unwrap().iter().flat_map(|l| {
                ["edges", "angles"]
                    .map(|c| l[c].as_object().unwrap().values().map(|b| b.as_u64().unwrap()).sum::<u64>())
            });
            assert_eq!(rows.sum::<u64>(), states);
        }
    }
}

#[test]
fn headers_tell_the_device_its_chip_and_driver_and_who_asked() {
    let folder = folder();
    let arguments = ["eval", &parity("tiny"), "water.extxyz", "--log-format", "json"];
    let text = told(&good(weir(folder.path(), &arguments)));
    let header: Value =
        text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).find(|l| l["event"] == "header").unwrap();
    assert_eq!((header["backend"].as_str(), header["chip"].as_str()), (Some("emulated"), Some("host")));
    assert_eq!(header["device"], "emulated device");
    assert_eq!(header["settings"]["backend"]["origin"], "WEIR_BACKEND");
    assert_eq!(header["settings"]["placement"]["value"], "hbm,pinned");
    let text = told(&good(weir(folder.path(), &["eval", &parity("tiny"), "water.extxyz", "--backend", "emulated"])));
    assert!(text.contains("emulated device (host, emulated ") && text.contains("hbm_budget"), "{text}");
}

/// A model of several layers, so that there is something to place, with its folder; its kernels are those of `tiny32`.
fn deep() -> (tempfile::TempDir, String) {
    let folder = folder();
    let mut model = load(Path::new(&parity("tiny32")), &LoadOptions::default()).unwrap();
    let d = &mut model.descriptor;
    d.layers = [&d.layers[..]; 4].concat();
    d.options.nlayers = d.layers.len();
    let path = folder.path().join("deep.dp");
    save(&model, &path).unwrap();
    (folder, path.display().to_string())
}

/// The smallest budget of hbm, from the planner's own words.
fn smallest(folder: &Path, model: &str, more: &[&str]) -> u64 {
    let mut all = vec!["eval", model, "water.extxyz", "-q", "--hbm-budget", "4KiB"];
    all.extend(more);
    let text = told(&weir(folder, &all).output().unwrap());
    let found = text.split_once(" lacks ").and_then(|(_, rest)| rest.split_once(" of "));
    let (_, rest) = found.unwrap_or_else(|| panic!("{text}"));
    let words: Vec<&str> = rest.split([' ', ',']).collect();
    let unit = match words[1] {
        "KiB" => 1024.0,
        "MiB" => 1048576.0,
        _ => panic!("{text}"),
    };
    // Shown with two digits behind the point.
    ((words[0].parse::<f64>().unwrap() + 0.00501) * unit) as u64
}

#[test]
fn every_tier_and_budget_gives_the_bits_of_unlimited_memory() {
    let (folder, model) = deep();
    let path = folder.path();
    let free = eval(path, &model, "water.extxyz", &[]);
    let most = free["peak_bytes"]["hbm"].as_u64().unwrap();
    for (placement, more) in [
        ("hbm", ["--host-budget", "0"]),
        ("hbm,pinned", ["--checkpoint", "all"]),
        ("hbm,system", ["--checkpoint", "all"]),
        ("hbm,managed", ["--checkpoint", "all"]),
        ("hbm,pinned", ["--checkpoint", "auto"]),
    ] {
        let mut all = vec!["--placement", placement];
        all.extend(more);
        let least = smallest(path, &model, &all);
        assert!(least < most, "{placement}: {least} of {most}");
        for budget in [least, (least + most) / 2] {
            let size = format!("{budget}B");
            let mut all = all.clone();
            all.extend(["--hbm-budget", &size]);
            let bounded = eval(path, &model, "water.extxyz", &all);
            assert_eq!(bits(&bounded), bits(&free), "{placement}");
            let (hbm, plan) = (bounded["peak_bytes"]["hbm"].as_u64().unwrap(), &bounded["plan"]);
            assert!(hbm <= budget, "{placement}: {hbm} of {budget}");
            // Migrated memory may be on the device, as its driver counts.
            let managed = bounded["peak_bytes"]["managed"].as_u64().unwrap_or(0);
            assert!(bounded["device_memory"]["held_bytes"].as_u64().unwrap() <= budget + managed, "{placement}");
            if budget > least || more[1] == "auto" {
                continue;
            }
            let states = |kept: &str| plan["states"][kept].as_u64().unwrap_or_else(|| panic!("{placement}: {plan}"));
            match placement.strip_prefix("hbm,") {
                None => assert!(states("rebuilt") > 0, "{plan}"),
                Some(slow) => {
                    assert!(states(slow) > 0 && plan["states"]["rebuilt"].is_null(), "{plan}");
                    assert!(
                        bounded["peak_bytes"][slow].as_u64().unwrap() > 0
                            && plan["out_bytes"][slow].as_u64().unwrap() > 0
                    );
                }
            }
        }
    }
}

/// Rows, blocks and counters of a trace are those of the plan in the log.
fn check_trace(folder: &Path, log: &str, rows: &[&str]) {
    let lines = log.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let plan = lines.into_iter().find(|l| l["event"] == "plan").unwrap();
    let trace: Value = serde_json::from_slice(&fs::read(folder.join("trace.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let named: Vec<&str> =
        events.iter().filter(|e| e["name"] == "thread_name").map(|e| e["args"]["name"].as_str().unwrap()).collect();
    assert_eq!(named, rows);
    let of = |tid: u64| events.iter().filter(move |e| e["ph"] == "X" && e["tid"] == tid);
    let moved = |tid| of(tid).map(|b| b["args"]["bytes"].as_u64().unwrap()).sum::<u64>();
    let planned = |key: &str| plan[key].as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>();
    assert!(moved(2) > 0);
    assert_eq!((moved(2), moved(3)), (planned("out_bytes"), planned("in_bytes")));
    if rows.len() == 5 {
        assert_eq!((moved(4), moved(5)), (moved(2), moved(3)), "whole blocks go to the file and come from it");
    }
    for class in ["geometry", "forward", "backward", "gather", "fitting", "assemble", "wait"] {
        assert!(of(1).any(|b| b["cat"] == class), "no block of class {class}");
    }
    // One after another, as a stream works; something takes time.
    let mut last = f64::NEG_INFINITY;
    for block in of(1) {
        let (begin, took) = (block["ts"].as_f64().unwrap(), block["dur"].as_f64().unwrap());
        assert!(begin > last - 1e-3 && took >= 0.0, "{block}");
        last = begin + took;
    }
    assert!(of(1).any(|b| b["cat"] == "forward" && b["dur"].as_f64().unwrap() > 0.0));
    for (tier, peak) in plan["peak_bytes"].as_object().unwrap() {
        let counter = format!("memory {tier}");
        let most = events.iter().filter(|e| e["name"] == counter.as_str());
        let most = most.map(|e| e["args"]["bytes"].as_u64().unwrap()).max().unwrap();
        assert!(most > 0 && most <= peak.as_u64().unwrap(), "{tier}: {most} of {peak}");
    }
}

#[test]
fn traces_have_a_row_per_stream_and_a_file_leaves_no_trace_in_bits_or_folder() {
    let (folder, model) = deep();
    let path = folder.path();
    fs::create_dir(path.join("scratch")).unwrap();
    let free = eval(path, &model, "water.extxyz", &[]);
    let three = ["compute", "copies out", "copies in"];
    let five = ["compute", "copies out", "copies in", "file, written", "file, read"];
    for (placement, rows) in [("hbm,pinned", &three[..]), ("hbm,file", &five[..])] {
        let more = ["--placement", placement, "--checkpoint", "all", "--scratch-dir", "scratch"];
        let least = format!("{}B", smallest(path, &model, &more));
        let mut all = vec!["eval", model.as_str(), "water.extxyz", "--json", "-", "--log-format", "json"];
        all.extend(more);
        all.extend(["--hbm-budget", &least]);
        let mut command = weir(path, &all);
        command.env("WEIR_PROFILE", "trace.json");
        let output = good(command);
        let got: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(bits(&got), bits(&free), "{placement}");
        let slow = &placement[4..];
        assert!(got["plan"]["states"][slow].as_u64().unwrap() > 0 && got["plan"]["states"]["rebuilt"].is_null());
        check_trace(path, &told(&output), rows);
    }
    assert_eq!(fs::read_dir(path.join("scratch")).unwrap().count(), 0);
    let more = ["eval", model.as_str(), "water.extxyz", "-q", "--json", "-", "--placement", "hbm,file"];
    let memory: Vec<&str> = more.into_iter().chain(["--scratch-dir", "/dev/shm"]).collect();
    if Path::new("/dev/shm").is_dir() {
        fails(weir(path, &memory), 2, &["tmpfs", "/dev/shm"]);
    }
}

#[test]
fn tasks_on_one_device_get_a_part_of_it_each_and_the_header_says_so() {
    let folder = folder();
    let tiny = parity("tiny");
    let mut command = weir(folder.path(), &["eval", &tiny, "water.extxyz"]);
    command.env("OMPI_COMM_WORLD_LOCAL_SIZE", "2").env("OMPI_COMM_WORLD_LOCAL_RANK", "1");
    let text = told(&good(command));
    assert!(text.contains("90 % of 4.00 GiB free / 2 tasks on this device"), "{text}");
}

#[test]
fn a_budget_below_the_smallest_is_an_error_before_any_work() {
    let folder = folder();
    let (model, start) = (example("model.dp"), example("start.extxyz"));
    let arguments = ["eval", &model, &start, "-q", "--json", "-", "--hbm-budget", "1MiB"];
    fails(weir(folder.path(), &arguments), 1, &["hbm", "WEIR_HBM_BUDGET"]);
    let arguments = ["eval", &model, &start, "-q", "--json", "-", "--hbm-budget", "400GiB"];
    fails(weir(folder.path(), &arguments), 2, &["--hbm-budget", "400.00 GiB"]);
}
