//! Promises of the command line on the emulated device: what a user of a GPU types and sees.
#![allow(missing_docs)]

#[path = "common/program.rs"]
mod program;
#[path = "common/water.rs"]
mod water;

use program::program;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use water::folder;
use weir_engine::model::{new_model, save};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn example(name: &str) -> String {
    root().join("examples/water").join(name).display().to_string()
}

fn parity(name: &str) -> String {
    root().join("tests/data/parity").join(name).join("model.dp").display().to_string()
}

/// The program on the emulated device. Compiled kernels are kept beside the build: their keys hold all that shapes them.
fn weir(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program(folder, arguments);
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated-kernels");
    command.env("WEIR_BACKEND", "emulated").env("WEIR_CACHE_DIR", cache);
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
    output
}

fn fails(mut command: Command, code: i32, words: &[&str]) {
    let output = command.output().unwrap();
    let text = told(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    let line = text.lines().last().unwrap_or_default();
    assert!(line.starts_with("error: "), "{text}");
    for word in words {
        assert!(line.contains(word), "no \"{word}\" in: {line}");
    }
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

#[test]
fn eval_equals_that_of_the_cpu_and_tells_launches_plan_and_memory() {
    let folder = folder();
    for (model, bound) in [("tiny", 1e-10), ("tiny32", 2e-4)] {
        let model = parity(model);
        let device = eval(folder.path(), &model, "water.extxyz", &["--atomic"]);
        let cpu = eval(folder.path(), &model, "water.extxyz", &["--atomic", "--backend", "cpu"]);
        assert_eq!((device["backend"].as_str(), cpu["backend"].as_str()), (Some("emulated"), Some("cpu")));
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

/// A model of six layers, so that there is something to place, with its folder.
fn deep() -> (tempfile::TempDir, String) {
    let folder = folder();
    let mut model = new_model("tiny", 5).unwrap();
    let d = &mut model.descriptor;
    d.layers.extend(d.layers.clone());
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
    (words[0].parse::<f64>().unwrap() * unit * 1.006) as u64 + 64
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
            match placement.strip_prefix("hbm,") {
                None => assert!(plan["states"]["rebuilt"].as_u64().unwrap() > 0, "{plan}"),
                Some(slow) => {
                    assert!(
                        plan["states"][slow].as_u64().unwrap() > 0 && plan["states"]["rebuilt"].is_null(),
                        "{plan}"
                    );
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

#[test]
fn what_gpus_do_not_have_is_refused_with_the_alternative() {
    let folder = folder();
    let tiny = parity("tiny");
    let with = |more: &[&str]| {
        let mut all = vec!["eval", tiny.as_str(), "water.extxyz", "-q", "--json", "-"];
        all.extend(more);
        weir(folder.path(), &all)
    };
    fails(with(&["--precision", "bf16"]), 2, &["--precision", "no kernels yet", "tf32x3"]);
    let sequential = parity("sequential");
    let single = ["eval", &sequential, "water.extxyz", "--precision", "f32", "-q", "--json", "-"];
    fails(weir(folder.path(), &single), 1, &["sequential_update", "--precision f64"]);
    // What computes nothing does not ask for a device.
    good(weir(folder.path(), &["model", "info", &tiny]));
}

#[test]
fn matrix_units_are_chosen_by_the_precision() {
    let folder = folder();
    let model = parity("tiny32");
    let run = |precision: &str| eval(folder.path(), &model, "water.extxyz", &["--precision", precision]);
    let [double, single, three, one] = ["f64", "f32", "tf32x3", "tf32"].map(run);
    assert_eq!((three["precision"].as_str(), one["precision"].as_str()), (Some("tf32x3"), Some("tf32")));
    let [plain, fine, coarse] = [&single, &three, &one].map(|r| differs(r, &double, "forces"));
    assert!(fine <= 2.0 * plain && coarse > 20.0 * plain, "f32 {plain:.1e}, tf32x3 {fine:.1e}, tf32 {coarse:.1e} eV/A");
    fails(
        weir(folder.path(), &["eval", &model, "water.extxyz", "--backend", "cpu", "--precision", "tf32x3", "-q"]),
        2,
        &["tf32x3", "needs a GPU"],
    );
}

#[test]
fn f32_models_have_the_matrix_units_of_their_device_unless_f32_is_asked_for() {
    let folder = folder();
    let (single, double) = (parity("tiny32"), parity("tiny"));
    let [open, three] = [&[][..], &["--precision", "tf32x3"]].map(|p| eval(folder.path(), &single, "water.extxyz", p));
    assert_eq!(open["precision"].as_str(), Some("tf32x3"));
    assert_eq!(bits(&open), bits(&three));
    for (more, expected) in [(&["--backend", "cpu"][..], "f32"), (&["--precision", "f32"], "f32")] {
        assert_eq!(eval(folder.path(), &single, "water.extxyz", more)["precision"].as_str(), Some(expected));
    }
    assert_eq!(eval(folder.path(), &double, "water.extxyz", &[])["precision"].as_str(), Some("f64"));
    let header = told(&good(weir(folder.path(), &["eval", &single, "water.extxyz"])));
    assert!(header.contains("model = tf32x3"), "{header}");
    let arguments = ["kernels", "build", "--arch", "host", "--model", &single, "--out", "kernels", "--json"];
    let built: Value = serde_json::from_slice(&good(weir(folder.path(), &arguments)).stdout).unwrap();
    let mut ready = weir(folder.path(), &["eval", &single, "water.extxyz", "--json", "-", "-q"]);
    ready.env("PATH", "/nowhere").env_remove("CXX").env("WEIR_KERNEL_DIR", "kernels");
    let ready: Value = serde_json::from_slice(&good(ready).stdout).unwrap();
    // Multiply-adds too, which are used where units come out wrong.
    assert_eq!((built["kernels"].as_array().unwrap().len(), bits(&ready)), (2, bits(&open)));
}

/// A compiler that turns words of the kernels' text into others.
fn faulty(folder: &Path, name: &str, word: &str, other: &str) -> PathBuf {
    let path = folder.join(name);
    let text = format!(
        "#!/bin/sh\nfor a in \"$@\"; do case \"$a\" in */kernels.cpp)\ngrep -q '{word}' \"$a\" || exit 9\nsed -i 's/{word}/{other}/' \"$a\"\n\
         esac; done\nexec c++ \"$@\"\n"
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_device_that_computes_wrong_is_found_out_before_its_first_step() {
    let folder = folder();
    let path = folder.path();
    let on = |compiler: &Path, model: &str, more: &[&str]| {
        let all = [&["eval", model, "water.extxyz", "--json", "-", "--threads", "2"][..], more].concat();
        let mut command = weir(path, &all);
        // All call themselves by one name and version.
        command.env("WEIR_CACHE_DIR", compiler.with_extension("kept")).env("CXX", compiler);
        command
    };
    let checked = |compiler: &Path, model: &str, more: &[&str]| {
        let mut command = on(compiler, model, more);
        command.env("WEIR_VERIFY", "always");
        command
    };
    // Halves behind TF32 are left out: a thousandth of a product is off.
    let (single, double) = (parity("tiny32"), parity("tiny"));
    let coarse = faulty(path, "coarse", "PRODUCTS == TF32X3 ? x\\[k\\] - f.hi\\[k\\]", "PRODUCTS == TF32X3 ? 0.0f");
    let open = good(checked(&coarse, &single, &[]));
    assert!(told(&open).contains("multiply-adds of f32 are used instead"), "{}", told(&open));
    let open: Value = serde_json::from_slice(&open.stdout).unwrap();
    let plain = eval(path, &single, "water.extxyz", &["--precision", "f32"]);
    assert_eq!((open["precision"].as_str(), bits(&open)), (Some("f32"), bits(&plain)));
    let units = ["--precision", "tf32x3", "-q"];
    fails(checked(&coarse, &single, &units), 1, &["computes wrong", "WEIR_BACKEND=cpu", "WEIR_VERIFY=never"]);
    // Slopes of activations with a wrong sign: every arithmetic.
    let wrong = faulty(path, "wrong", "T(1) - s, ", "T(1) + s, ");
    fails(checked(&wrong, &double, &["-q"]), 1, &["computes wrong", "in f64"]);
    good(on(&wrong, &double, &["-q"]));
    // What is right passes, and need not show it again.
    let mut right = weir(path, &["eval", &double, "water.extxyz", "--json", "-", "-q", "--threads", "1"]);
    right.env("WEIR_VERIFY", "always");
    let right: Value = serde_json::from_slice(&good(right).stdout).unwrap();
    assert_eq!(bits(&right), bits(&eval(path, &double, "water.extxyz", &[])));
    // A budget is told for the run's own atoms.
    let arguments = ["eval", &double, "water.extxyz", "--json", "-", "--hbm-budget", "1KiB", "--checkpoint", "all"];
    let mut small = weir(path, &arguments);
    small.env("WEIR_VERIFY", "always").env("WEIR_LOG", "warn");
    let words = told(&small.output().unwrap());
    assert!(words.contains("was not compared with the CPU") && words.contains("tier hbm lacks"), "{words}");
    assert!(!words.lines().last().unwrap().contains("comparison"), "{words}");
    let shown = |folder: &Path| {
        let files = fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().to_string_lossy().into_owned());
        files.filter(|name| name.starts_with("verified-")).count()
    };
    assert_eq!([&coarse, &wrong].map(|c| shown(&c.with_extension("kept"))), [1, 0]);
}

#[test]
fn a_report_tells_what_the_device_is_and_how_near_it_comes_to_deepmd_kit() {
    let folder = folder();
    let done = good(weir(folder.path(), &["report", "--threads", "2"]));
    let text = fs::read_to_string(folder.path().join("weir-report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((report["backend"].as_str(), report["chip"].as_str()), (Some("emulated"), Some("host")));
    let tiers = report["links"]["tiers"].as_array().unwrap();
    assert!(!tiers.is_empty() && tiers.iter().all(|t| t["out_bytes_per_s"].as_f64().unwrap() > 1e6), "{tiers:?}");
    let checks = report["parity"].as_array().unwrap();
    assert_eq!(checks.len(), 2);
    for check in checks {
        let differences = check["differences"].as_array().unwrap();
        let error = |k: usize| differences[k]["force_error_eV_A"].as_f64().unwrap();
        let names: Vec<&str> = differences.iter().map(|d| d["computed_in"].as_str().unwrap()).collect();
        assert_eq!(names, ["f64", "f32", "tf32x3"]);
        assert!(error(0) < 1e-9 && error(1) > 1e-9 && error(1) < 1e-4 && error(2) < 3.0 * error(1), "{check}");
        assert!(error(2) != error(1), "other products, other bits: {check}");
    }
    // Steps of proteins would take hours there, and that is told.
    assert_eq!(report["left_out"].as_array().unwrap().len(), 5, "{}", report["left_out"]);
    let home = folder.path().display().to_string();
    assert!(!text.contains(&home) && told(&done).contains("left out: 2PTC"), "{text}");
}

#[test]
fn dynamics_resume_with_the_bits_of_a_run_in_one_go_and_minimise_lowers_the_energy() {
    let folder = folder();
    let path = folder.path();
    let config = format!(
        "[model]\npath = {:?}\n[structure]\npath = \"water.extxyz\"\n[md]\nensemble = \"nvt\"\nthermostat = \"langevin\"\ntimestep_fs = 0.2\n\
         steps = 24\ntemperature_K = 300\nmax_temperature_K = 1e6\nmax_displacement_A = 5.0\n[output]\nprefix = \"out/run\"\n\
         energy_every = 1\ntrajectory_every = 4\nplot = false\n",
        parity("tiny32")
    );
    fs::write(path.join("run.toml"), config).unwrap();
    let files = |prefix: &str| {
        [".csv", ".extxyz", ".final.extxyz"].map(|s| fs::read(path.join(format!("{prefix}{s}"))).unwrap())
    };
    good(weir(path, &["md", "run.toml"]));
    good(weir(path, &["md", "run.toml", "--set", "output.prefix=\"cut\"", "--set", "md.steps=9"]));
    let resumed = ["md", "run.toml", "--set", "output.prefix=\"cut\"", "--resume"];
    good(weir(path, &resumed));
    assert_eq!(files("out/run"), files("cut"));
    // What makes products is a machine's affair where nobody chose, and it is said when it changes.
    let begin = ["md", "run.toml", "--set", "output.prefix=\"moved\"", "--set", "md.steps=9", "--backend", "cpu"];
    good(weir(path, &begin));
    let moved = ["md", "run.toml", "--set", "output.prefix=\"moved\"", "--resume"];
    fails(weir(path, &[&moved[..], &["--precision", "tf32x3"]].concat()), 1, &["precision was f32, is now tf32x3"]);
    assert!(told(&good(weir(path, &moved))).contains("products were made in f32, from here on in tf32x3"));
    let tiny = parity("tiny");
    let arguments = ["minimize", &tiny, "water.extxyz", "--out", "relaxed.extxyz", "--steps", "5", "-q"];
    let text = String::from_utf8_lossy(&good(weir(path, &arguments)).stdout).into_owned();
    assert!(text.contains("eV (-"), "{text}");
}

#[test]
fn precompiled_kernels_need_no_compiler() {
    let folder = folder();
    let tiny = parity("tiny");
    let build = |blocks: &str| {
        let arguments = ["kernels", "build", "--arch", "host", "--model", &tiny, "--precision", "f64,f32"];
        weir(folder.path(), &[&arguments[..], &["--out", "kernels", "--blocks", blocks]].concat())
    };
    fails(build("2,17"), 2, &["--blocks 17", "1 to 16"]);
    good(build("16"));
    let listed = good(weir(folder.path(), &["kernels", "list", "kernels", "--json"]));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let kernels = listed["kernels"].as_array().unwrap();
    assert!(
        kernels.len() == 4 && kernels.iter().all(|k| k["chip"] == "host" && k["bytes"].as_u64() > Some(10_000)),
        "{listed}"
    );
    let bare = |precision: &str, kernels: Option<&str>| {
        let mut command =
            weir(folder.path(), &["eval", &tiny, "water.extxyz", "--json", "-", "-q", "--precision", precision]);
        command.env("PATH", "/nowhere").env_remove("CXX").env("WEIR_CACHE_DIR", folder.path().join("empty"));
        kernels.map(|k| command.env("WEIR_KERNEL_DIR", k));
        command
    };
    for precision in ["f64", "f32"] {
        let got: Value = serde_json::from_slice(&good(bare(precision, Some("kernels"))).stdout).unwrap();
        assert_eq!(bits(&got), bits(&eval(folder.path(), &tiny, "water.extxyz", &["--precision", precision])));
        let mut small = bare(precision, Some("kernels"));
        small.env("WEIR_BLOCKS", "16");
        let got: Value = serde_json::from_slice(&good(small).stdout).unwrap();
        assert_eq!(bits(&got), bits(&eval(folder.path(), &tiny, "water.extxyz", &["--precision", precision])));
    }
    let mut unknown = bare("f32", Some("kernels"));
    unknown.env("WEIR_BLOCKS", "12");
    fails(unknown, 1, &["no compiler of kernels for host"]);
    fails(bare("f64", None), 1, &["no compiler of kernels for host"]);
    // Of another shape.
    let other = example("model.dp");
    let mut wrong = weir(folder.path(), &["eval", &other, "water.extxyz", "--json", "-", "-q"]);
    wrong.env("PATH", "/nowhere").env_remove("CXX").env("WEIR_KERNEL_DIR", "kernels");
    fails(wrong, 1, &["no compiler of kernels for host"]);
}

#[test]
fn kernels_are_built_for_a_chip_that_is_not_there() {
    let folder = folder();
    let tiny = parity("tiny");
    let arguments = ["kernels", "build", "--arch", "sm_90a", "--model", &tiny, "--out", "kernels", "--json", "-q"];
    let output = weir(folder.path(), &arguments).output().unwrap();
    let text = told(&output);
    if !output.status.success() && text.contains("no compiler of kernels for sm_90a") {
        println!("skipped: {text}");
        assert!(std::env::var("KERNEL_COMPILERS").as_deref() != Ok("required"), "{text}");
        return;
    }
    assert!(output.status.success(), "{text}");
    let built: Value = serde_json::from_slice(&output.stdout).unwrap();
    let file: PathBuf = folder.path().join("kernels").join(built["kernels"][0]["file"].as_str().unwrap());
    let bytes = fs::read(file).unwrap();
    assert!(bytes.windows(4).any(|w| w == b"\x7fELF"), "a cubin is an ELF file");
    let wrong = ["kernels", "build", "--arch", "sm_1", "--model", &tiny, "--out", "kernels"];
    fails(weir(folder.path(), &wrong), 2, &["sm_1", "names no chip"]);
    let unknown = ["kernels", "build", "--arch", "sm_99", "--model", &tiny, "--out", "kernels"];
    fails(weir(folder.path(), &unknown), 2, &["sm_99", "--shared"]);
}
