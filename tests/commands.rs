//! Promises of the commands around placement: hardware, traces, profiles.
#![allow(missing_docs)]

#[path = "common/program.rs"]
mod program;

use program::program;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/water").join(name)
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("commands").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn weir(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = program(folder, arguments);
    command.env("WEIR_CACHE_DIR", folder.join("cache")).env("WEIR_SCRATCH_DIR", folder);
    command.envs(variables.iter().copied()).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn hardware_tells_tiers_settings_and_links_it_has_measured() {
    let folder = folder();
    let before = json(&weir(folder.path(), &["hardware", "--json"], &[("WEIR_HBM_BUDGET", "12MiB")]));
    assert!(before["links"].is_null());
    assert_eq!(before["settings"]["hbm_budget"]["origin"], "WEIR_HBM_BUDGET");
    assert_eq!(before["tiers"][0]["bytes"], 12 << 20);
    assert!(before["machine"]["nodes"][0]["bytes"].as_u64().unwrap() > 1 << 28);
    let measured = json(&weir(folder.path(), &["hardware", "--measure", "--json"], &[]));
    let links = measured["links"]["links"].as_array().unwrap();
    let tiers: Vec<&str> = links.iter().map(|l| l["tier"].as_str().unwrap()).collect();
    assert!(tiers.contains(&"system"), "{tiers:?}");
    for link in links {
        for rate in ["write", "read", "both_write", "both_read"] {
            // Between a slow disk and a fast cache.
            assert!((1e6..1e13).contains(&link[rate].as_f64().unwrap()), "{link}");
        }
    }
    assert!(measured["links"]["seconds"].as_f64().unwrap() < 60.0);
    // Kept: the next command has it without measuring.
    let after = json(&weir(folder.path(), &["hardware", "--json"], &[]));
    assert_eq!(after["links"]["made"], measured["links"]["made"]);
}

/// Runs a spilling evaluation with a trace; returns the trace's events and the plan of the log.
fn traced(folder: &Path) -> (Vec<Value>, Value) {
    let (model, start) = (example("model.dp"), example("start.extxyz"));
    let arguments = [
        "eval",
        model.to_str().unwrap(),
        start.to_str().unwrap(),
        "--log-format",
        "json",
        "--placement",
        "hbm,system",
        "--hbm-budget",
        "12MiB",
        "--checkpoint",
        "all",
    ];
    let output = weir(folder, &arguments, &[("WEIR_PROFILE", "trace.json")]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    let lines = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let plan = lines.into_iter().find(|l| l["event"] == "plan").unwrap();
    let trace: Value = serde_json::from_slice(&fs::read(folder.join("trace.json")).unwrap()).unwrap();
    (trace["traceEvents"].as_array().unwrap().clone(), plan)
}

#[test]
fn a_trace_has_a_row_per_stream_the_planned_bytes_and_a_counter_per_tier() {
    let folder = folder();
    let (events, plan) = traced(folder.path());
    let rows: BTreeMap<u64, String> = events
        .iter()
        .filter(|e| e["name"] == "thread_name")
        .map(|e| (e["tid"].as_u64().unwrap(), e["args"]["name"].as_str().unwrap().to_string()))
        .collect();
    assert_eq!(rows.values().map(String::as_str).collect::<Vec<_>>(), ["compute", "copies out", "copies in"]);
    let blocks: Vec<&Value> = events.iter().filter(|e| e["ph"] == "X").collect();
    for block in &blocks {
        assert!(block["ts"].as_f64().unwrap() >= 0.0 && block["dur"].as_f64().unwrap() >= 0.0, "{block}");
    }
    let of = |tid: u64| blocks.iter().filter(move |b| b["tid"] == tid);
    let moved = |tid| of(tid).map(|b| b["args"]["bytes"].as_u64().unwrap()).sum::<u64>();
    let planned = |key: &str| plan[key].as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>();
    assert!(moved(2) > 1 << 20);
    assert_eq!((moved(2), moved(3)), (planned("out_bytes"), planned("in_bytes")));
    for class in ["geometry", "forward", "backward", "gather", "fitting", "assemble", "wait"] {
        assert!(of(1).any(|b| b["cat"] == class), "no block of class {class}");
    }
    // The counters stay below the predicted peaks, and reach what is planned up to holes (slow tiers use few bytes twice).
    for (tier, peak) in plan["peak_bytes"].as_object().unwrap() {
        let counter = format!("memory {tier}");
        let most = events.iter().filter(|e| e["name"] == counter.as_str());
        let most = most.map(|e| e["args"]["bytes"].as_u64().unwrap()).max().unwrap();
        let peak = peak.as_u64().unwrap();
        assert!(most <= peak && most > 0, "{tier}: {most} of {peak}");
        assert!(tier != "hbm" || most * 10 >= peak * 8, "{tier}: {most} of {peak}");
    }
}

#[test]
fn a_trace_that_cannot_be_written_is_an_error_before_any_work() {
    let folder = folder();
    let (model, start) = (example("model.dp"), example("start.extxyz"));
    let arguments = ["eval", model.to_str().unwrap(), start.to_str().unwrap(), "-q"];
    let output = weir(folder.path(), &arguments, &[("WEIR_PROFILE", "/nowhere/trace.json")]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("WEIR_PROFILE") && text.contains("/nowhere/trace.json"), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_profile_writes_table_json_curve_and_a_page_that_needs_nothing_else() {
    let folder = folder();
    let (model, start) = (example("model.dp"), example("start.extxyz"));
    let arguments = [
        "profile",
        model.to_str().unwrap(),
        start.to_str().unwrap(),
        "--budgets",
        "100%,80%,10%,min",
        "--calls",
        "1",
        "--kernels",
        "--out",
        "p",
    ];
    assert_eq!(traced(folder.path()).1["rates_measured"], false);
    let output = weir(folder.path(), &arguments, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Later plans rest on what was measured.
    assert_eq!(traced(folder.path()).1["rates_measured"], true);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(table.lines().take_while(|l| !l.is_empty()).count(), 1 + 3 * 4, "{table}");
    for class in ["GEMM", "element-wise, indexing", "reduce", "other"] {
        assert!(table.contains(class), "{class}: {table}");
    }
    let object: Value = serde_json::from_slice(&fs::read(folder.path().join("p.json")).unwrap()).unwrap();
    let classes = object["kernels"]["classes"].as_array().unwrap();
    let spent: f64 = classes.iter().map(|c| c["seconds"].as_f64().unwrap()).sum();
    let (wall, threads) = (&object["kernels"]["wall_s"], &object["kernels"]["threads"]);
    let all = wall.as_f64().unwrap() * threads.as_f64().unwrap();
    assert!(spent >= 0.99 * all && classes[..3].iter().all(|c| c["calls"].as_u64().unwrap() > 100), "{classes:?}");
    // A second profile finds the steps without insides that the first one found, and measures insides again.
    let again = [&arguments[..3], &["--budgets", "100%", "--calls", "1", "--out", "q"]].concat();
    assert!(weir(folder.path(), &again, &[]).status.success());
    let second: Value = serde_json::from_slice(&fs::read(folder.path().join("q.json")).unwrap()).unwrap();
    for measured in [&object["profile"], &second["profile"]] {
        let bytes = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{measured}"));
        assert_eq!(bytes(&measured["unlimited_bytes"]), bytes(&object["profile"]["unlimited_bytes"]));
        assert!(bytes(&measured["inside"]["bytes"]) > 2 * bytes(&measured["unlimited_bytes"]), "{measured}");
        assert!(measured["inside"]["seconds"].as_f64().unwrap() > 0.0);
    }
    let rows = object["profile"]["rows"].as_array().unwrap();
    let row = |way: &str, budget: &str| rows.iter().find(|r| r["way"] == way && r["budget"] == budget).unwrap();
    for way in ["rebuild", "spill", "planner"] {
        // A tenth holds no plan; that is said, not faked.
        assert_eq!(row(way, "10%")["infeasible"], true);
        assert_eq!(row(way, "100%")["out_bytes"], 0);
        let least = row(way, "min");
        assert!(least["predicted_s"].as_f64().unwrap() > 0.0 && least["measured_s"].as_f64().unwrap() > 0.0);
        let peak = least["peak_bytes"][0][1].as_u64().unwrap();
        assert!(peak <= least["hbm_bytes"].as_u64().unwrap(), "{least}");
    }
    let spilled = row("spill", "min");
    assert!(spilled["out_bytes"].as_u64().unwrap() > 0 && spilled["in_gb_s"].as_f64().unwrap() > 0.0);
    assert!(row("rebuild", "min")["rebuild_s"].as_f64().unwrap() > 0.0);
    assert_eq!(row("rebuild", "min")["out_bytes"], 0);
    let page = fs::read_to_string(folder.path().join("p.html")).unwrap();
    for word in ["<svg", "hbm budget", "planner", "smallest"] {
        assert!(page.contains(word), "{word}");
    }
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http") && !outside.contains("<script"), "the page refers to something else");
    let svg = fs::read_to_string(folder.path().join("p.svg")).unwrap();
    assert!(svg.matches("<circle").count() >= 9);
    let wrong = weir(folder.path(), &["profile", "m", "s", "--budgets", "half"], &[]);
    assert_ne!(wrong.status.code(), Some(0));
}

#[test]
fn lines_of_a_profile_before_one_that_fails_are_written() {
    let folder = folder();
    let (path, model) = (folder.path(), example("model.dp"));
    // Eight boxes in a row: what leaves hbm is more than the measuring of links needs of the disk, and only that gets room.
    let one = fs::read_to_string(example("start.extxyz")).unwrap();
    let rows: Vec<Vec<&str>> = one.lines().skip(2).map(|l| l.split_whitespace().collect()).collect();
    let edge = 12.444661;
    let lattice = format!("Lattice=\"{edge} 0 0 0 {edge} 0 0 0 {}\"", 8.0 * edge);
    let mut text = format!("{}\n{lattice} Properties=species:S:1:pos:R:3 pbc=\"T T T\"\n", 8 * rows.len());
    for k in 0..8 {
        for row in &rows {
            let z = row[3].parse::<f64>().unwrap() + k as f64 * edge;
            text += &format!("{} {} {} {z}\n", row[0], row[1], row[2]);
        }
    }
    fs::write(path.join("row.extxyz"), text).unwrap();
    let (weir, model) = (env!("CARGO_BIN_EXE_weir"), model.display());
    let lines = "--placements hbm,file --ways rebuild,spill --budgets min --calls 1 --kernels";
    let profile = format!("'{weir}' profile '{model}' row.extxyz {lines} --out p -q");
    let mut command = std::process::Command::new("sh");
    command.current_dir(path).args(["-c", &format!("trap '' XFSZ; ulimit -f 140000; exec {profile}")]);
    command.envs([("WEIR_BACKEND", "cpu"), ("WEIR_CACHE_DIR", "cache"), ("WEIR_SCRATCH_DIR", ".")]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("stopped after 1 line(s)") && text.contains("hbm,file spill min"), "{text}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(table.lines().count(), 2, "{table}");
    let object: Value = serde_json::from_slice(&fs::read(path.join("p.json")).unwrap()).unwrap();
    let (rows, failed) = (object["profile"]["rows"].as_array().unwrap(), &object["profile"]["failed"]);
    assert!(rows.len() == 1 && rows[0]["measured_s"].as_f64().unwrap() > 0.0, "{rows:?}");
    assert!(failed.as_str().unwrap().starts_with("hbm,file spill min: "), "{failed}");
    for name in ["p.svg", "p.html"] {
        assert!(fs::read_to_string(path.join(name)).unwrap().contains("<circle"), "{name}");
    }
    assert!(fs::read_to_string(path.join("p.html")).unwrap().contains("stopped at</td><td>hbm,file spill min"));
}
