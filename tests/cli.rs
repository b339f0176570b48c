//! Promises of the command line, on the built program.
#![allow(missing_docs)]

#[path = "common/program.rs"]
mod program;

use program::program;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use weir_engine::backend::{FrameParameters, Request, Results};
use weir_engine::model::{load, LoadOptions};
use weir_engine::structure::{frames, read, ReadOptions};

const WATER: &str =
    "3\nProperties=species:S:1:pos:R:3 pbc=\"F F F\"\nO 0.0 0.0 0.12\nH 0.0 0.76 -0.47\nH 0.01 -0.77 -0.46\n";

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parity/tiny/model.dp")
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    program(folder, arguments).output().unwrap()
}

/// Four molecules in a periodic cell smaller than twice the cutoff, and a single-precision model.
fn boxed() -> tempfile::TempDir {
    let folder = folder();
    let mut text =
        String::from("12\nLattice=\"6.6 0 0 0.4 6.2 0 0 0.3 6.4\" Properties=species:S:1:pos:R:3 pbc=\"T T T\"\n");
    for (x, y, z) in [(0.0, 0.0, 0.0), (3.3, 0.2, 3.1), (0.3, 3.1, 3.2), (3.2, 3.0, 0.1)] {
        for line in WATER.lines().skip(2) {
            let word: Vec<&str> = line.split_whitespace().collect();
            let at = |k: usize, shift: f64| word[k].parse::<f64>().unwrap() + shift;
            text += &format!("{} {} {} {}\n", word[0], at(1, x), at(2, y), at(3, z));
        }
    }
    fs::write(folder.path().join("water.extxyz"), text).unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parity/tiny32/model.dp");
    fs::copy(model, folder.path().join("model.dp")).unwrap();
    let config = fs::read_to_string(folder.path().join("run.toml")).unwrap();
    fs::write(
        folder.path().join("run.toml"),
        config.replace("\"langevin\"", "\"rescale\"").replace("steps = 2500", "steps = 1100"),
    )
    .unwrap();
    folder
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a molecule, the model, and a configuration.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("water.extxyz"), WATER).unwrap();
    fs::copy(model(), folder.path().join("model.dp")).unwrap();
    let config = r#"
        [model]
        path = "model.dp"
        [structure]
        path = "water.extxyz"
        [compute]
        threads = 1
        [md]
        ensemble = "nvt"
        thermostat = "langevin"
        timestep_fs = 0.2
        steps = 2500
        temperature_K = 300
        seed = 7
        max_temperature_K = 1e6
        max_displacement_A = 5.0
        [output]
        prefix = "out/run"
        energy_every = 7
        trajectory_every = 50
        trajectory_format = ["extxyz", "xtc"]
        restart_minutes = 0.0005
        plot = false
    "#;
    fs::write(folder.path().join("run.toml"), config).unwrap();
    folder
}

fn fails(folder: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(folder, arguments);
    let text = err(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    let line = text.lines().last().unwrap_or_default();
    assert!(line.starts_with("error: "), "{arguments:?}: {text}");
    for word in words {
        assert!(line.contains(word), "{arguments:?}: no \"{word}\" in: {text}");
    }
}

#[test]
fn json_has_the_bits_of_the_library() {
    let folder = folder();
    let output = run(folder.path(), &["eval", "model.dp", "water.extxyz", "--json", "-", "--atomic", "--threads", "1"]);
    assert!(output.status.success(), "{}", err(&output));
    let line: serde_json::Value = serde_json::from_str(out(&output).trim()).unwrap();
    let structure = read(folder.path().join("water.extxyz"), &ReadOptions::default()).unwrap();
    let model = load(&model(), &LoadOptions::default()).unwrap();
    let types: Vec<i32> = structure.symbols.iter().map(|s| model.type_of(s).unwrap() as i32).collect();
    let options = weir_backends::cpu::CpuOptions { threads: 1, ..Default::default() };
    let mut calculator = weir_backends::cpu::create(Arc::new(model), &types, &options).unwrap();
    let mut results = Results::default();
    calculator.reorder(&structure.positions, None);
    let request = Request { atomic_virial: true };
    calculator.compute(&structure.positions, None, &FrameParameters::default(), request, &mut results).unwrap();
    // The text itself is compared: a reader that rounds would hide a lost digit.
    assert_eq!(line["energy"].to_string(), serde_json::json!(results.energy).to_string());
    let text = out(&output);
    for value in results.forces.iter().flatten().chain(results.virial.iter().flatten()) {
        let written = format!("{}", serde_json::json!(value));
        assert!(text.contains(&written) && written.parse::<f64>().unwrap().to_bits() == value.to_bits(), "{written}");
    }
    for (key, length) in [("forces", 3), ("virial", 3), ("atomic_energy", 3), ("atomic_virial", 3)] {
        assert_eq!(line[key].as_array().unwrap().len(), length, "{key}");
    }
    assert_eq!(line["atomic_virial"][0].as_array().unwrap().len(), 9);
    for key in ["natoms", "model", "head", "backend", "precision", "seconds", "peak_bytes"] {
        assert!(line.get(key).is_some(), "{key}");
    }
    assert!(line["peak_bytes"].as_object().unwrap().values().all(|v| v.is_u64()));
}

#[test]
fn every_frame_is_a_line_and_frames_can_be_chosen() {
    let folder = folder();
    let many: String = (0..6).map(|k| WATER.replace("0.12", &format!("0.1{k}"))).collect();
    fs::write(folder.path().join("many.extxyz"), many).unwrap();
    let count = |chosen: &[&str]| {
        let mut arguments = vec!["eval", "model.dp", "many.extxyz", "--json", "-", "-q"];
        arguments.extend(chosen);
        let output = run(folder.path(), &arguments);
        assert!(output.status.success(), "{}", err(&output));
        let frame = |l: &str| serde_json::from_str::<serde_json::Value>(l).unwrap()["frame"].as_u64().unwrap();
        out(&output).lines().map(frame).collect::<Vec<_>>()
    };
    assert_eq!(count(&[]), [0]);
    assert_eq!(count(&["--frames", "all"]), [0, 1, 2, 3, 4, 5]);
    assert_eq!(count(&["--frames", "1:5:2"]), [1, 3]);
    fails(folder.path(), &["eval", "model.dp", "many.extxyz", "--frames", "9"], 1, &["--frames"]);
}

#[test]
fn a_frame_does_not_depend_on_the_frames_before_it() {
    let folder = folder();
    let shifted = WATER.replace("O 0.0 0.0 0.12", "O 0.02 0.03 0.15");
    fs::write(folder.path().join("both.extxyz"), format!("{WATER}{shifted}")).unwrap();
    fs::write(folder.path().join("second.extxyz"), shifted).unwrap();
    let forces = |file: &str| {
        let output = run(folder.path(), &["eval", "model.dp", file, "--json", "-", "-q", "--frames", "all"]);
        let line = out(&output).lines().last().unwrap().to_string();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["forces"].to_string()
    };
    assert_eq!(forces("both.extxyz"), forces("second.extxyz"));
}

#[test]
fn comparing_with_own_results_gives_no_error() {
    let folder = folder();
    let output =
        run(folder.path(), &["minimize", "model.dp", "water.extxyz", "--out", "labelled.extxyz", "--steps", "2"]);
    assert!(output.status.success(), "{}", err(&output));
    let output = run(folder.path(), &["eval", "model.dp", "labelled.extxyz", "--compare", "--json", "-", "-q"]);
    let text = out(&output);
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(last["compare"]["force_rmse"].as_f64().unwrap() < 1e-12, "{last}");
    assert!(last["compare"]["energy_mae"].as_f64().unwrap() < 1e-12);
    let table = out(&run(folder.path(), &["eval", "model.dp", "labelled.extxyz", "--compare"]));
    assert!(table.contains("Force  RMSE") && table.contains("Energy MAE/Natoms"), "{table}");
    fails(folder.path(), &["eval", "model.dp", "water.extxyz", "--compare"], 1, &["--compare", "forces"]);
}

#[test]
fn the_header_names_version_checksum_device_and_what_to_cite() {
    let folder = folder();
    let output = run(folder.path(), &["eval", "model.dp", "water.extxyz", "--threads", "1"]);
    let text = err(&output);
    let sha256 = load(&model(), &LoadOptions::default()).unwrap().source.sha256;
    for word in
        [env!("CARGO_PKG_VERSION"), &sha256, "threads     1 (--threads)", "arXiv:2506.01686", "DeePMD-kit", "precision"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(out(&output).contains("eV/atom"));
    let json = run(folder.path(), &["eval", "model.dp", "water.extxyz", "--log-format", "json"]);
    for line in err(&json).lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(err(&run(folder.path(), &["eval", "model.dp", "water.extxyz", "--quiet"])).is_empty());
}

#[test]
fn flags_beat_the_environment() {
    let folder = folder();
    let precision = |arguments: &[&str]| {
        let mut all = vec!["eval", "model.dp", "water.extxyz", "--json", "-", "-q"];
        all.extend(arguments);
        let output = program(folder.path(), &all).env("WEIR_PRECISION", "f32").output().unwrap();
        serde_json::from_str::<serde_json::Value>(&out(&output)).unwrap()["precision"].clone()
    };
    assert_eq!(precision(&[]), "f32");
    assert_eq!(precision(&["--precision", "f64"]), "f64");
}

#[test]
fn wrong_usage_ends_with_code_two_and_a_hint() {
    let folder = folder();
    let with = |name: &str, value: &str| {
        let output = program(folder.path(), &["eval", "model.dp", "water.extxyz"]).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        err(&output)
    };
    assert!(with("WEIR_THREAD", "2").contains("did you mean WEIR_THREADS?"));
    if !cfg!(feature = "emulated") {
        let text = with("WEIR_BACKEND", "emulated");
        assert!(text.contains("WEIR_BACKEND") && text.contains("--features emulated"), "{text}");
    }
    assert!(program(folder.path(), &["eval", "model.dp", "water.extxyz", "-q"])
        .env("WEIR_ROOT", "/opt")
        .status()
        .unwrap()
        .success());
    fails(folder.path(), &["md", "run.toml", "--set", "md.tempreature_K=3"], 2, &["did you mean temperature_K?"]);
    fails(folder.path(), &["md", "run.toml", "--set", "md.ensemble=npt"], 2, &["LAMMPS", "i-PI"]);
    fails(folder.path(), &["md", "none.toml"], 2, &["none.toml"]);
    fails(
        folder.path(),
        &["md", "run.toml", "--set", "compute.precision=bf16"],
        2,
        &["--set compute.precision", "needs a GPU"],
    );
    assert_eq!(run(folder.path(), &["plan"]).status.code(), Some(2));
}

#[test]
fn bad_input_is_one_clear_line() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("nan.extxyz"), WATER.replace("0.76", "nan")).unwrap();
    fs::write(path.join("gold.extxyz"), WATER.replace("O 0", "Xx 0")).unwrap();
    fs::write(path.join("cut.extxyz"), &WATER[..WATER.len() - 20]).unwrap();
    fs::write(path.join("broken.dp"), b"\x89HDF\r\n\x1a\nnothing").unwrap();
    fails(path, &["eval", "model.dp", "nan.extxyz", "-q"], 1, &["nan.extxyz"]);
    fails(path, &["eval", "model.dp", "gold.extxyz", "-q"], 1, &["Xx"]);
    fails(path, &["eval", "model.dp", "cut.extxyz", "-q"], 1, &["cut.extxyz"]);
    fails(path, &["eval", "broken.dp", "water.extxyz", "-q"], 1, &["broken.dp"]);
    fails(path, &["eval", "model.dp", "absent.extxyz", "-q"], 1, &["absent.extxyz"]);
    fails(path, &["minimize", "model.dp", "water.extxyz", "--out", "x.pdb", "-q"], 2, &["x.pdb"]);
    fails(path, &["minimize", "model.dp", "water.extxyz", "--out", "x.xyz", "--freeze", "all", "-q"], 1, &["frozen"]);
}

#[test]
fn a_full_disk_is_a_clear_error() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: no /dev/full here");
        return;
    }
    fails(folder().path(), &["eval", "model.dp", "water.extxyz", "--json", "/dev/full", "-q"], 1, &["/dev/full"]);
}

#[test]
fn a_closed_pipe_ends_in_silence() {
    let folder = folder();
    let many = WATER.repeat(2000);
    fs::write(folder.path().join("many.extxyz"), many).unwrap();
    let mut child = program(folder.path(), &["eval", "model.dp", "many.extxyz", "--frames", "all", "-q"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(err(&output), "");
}

#[test]
fn help_and_completions_name_the_commands_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let help = out(&run(folder.path(), &["--help"]));
    let commands = [
        "eval",
        "md",
        "minimize",
        "plan",
        "profile",
        "hardware",
        "report",
        "model",
        "serve",
        "kernels",
        "install-deepmd",
        "gromacs",
        "completions",
    ];
    for word in commands.into_iter().chain(["Exit codes", "Examples"]) {
        assert!(help.contains(word), "{word}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(out(&run(folder.path(), &["completions", shell])).contains("minimize"), "{shell}");
    }
}

#[test]
fn minimize_lowers_the_forces_and_keeps_frozen_atoms() {
    let folder = folder();
    let arguments =
        ["minimize", "model.dp", "water.extxyz", "--out", "relaxed.extxyz", "--fmax", "0.01", "--freeze", "index 1"];
    let output = run(folder.path(), &arguments);
    assert!(output.status.success(), "{}", err(&output));
    assert!(out(&output).contains("converged"), "{}", out(&output));
    let relaxed = read(folder.path().join("relaxed.extxyz"), &ReadOptions::default()).unwrap();
    assert_eq!(relaxed.positions[0], [0.0, 0.0, 0.12]);
    let forces = relaxed.forces.unwrap();
    for f in &forces[1..] {
        assert!(f.iter().map(|x| x * x).sum::<f64>().sqrt() <= 0.01, "{forces:?}");
    }
}

// ---- md ---------------------------------------------------------------------------------------------------------------------------------

const OUTPUTS: [&str; 5] = ["run.csv", "run.extxyz", "run.xtc", "run.final.extxyz", "run.restart"];

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    OUTPUTS.iter().map(|f| fs::read(folder.join("out").join(f)).unwrap_or_else(|e| panic!("{f}: {e}"))).collect()
}

fn finished(folder: &Path, arguments: &[&str]) {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{}", err(&output));
    assert!(err(&output).contains("finished "), "{}", err(&output));
}

#[test]
fn md_writes_what_it_promises_and_nothing_over_an_earlier_run() {
    let folder = folder();
    let path = folder.path();
    let output = run(path, &["md", "run.toml", "--set", "md.steps=50", "--set", "output.plot=true"]);
    let text = err(&output);
    assert!(output.status.success(), "{text}");
    for word in ["ns/day", "steps/s", "katom-step/s", "drift", "temperature", "run.svg"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let log = fs::read_to_string(path.join("out/run.csv")).unwrap();
    assert!(log.starts_with("step,time_ps,potential_eV,kinetic_eV,conserved_eV,temperature_K,pressure_bar\n0,"));
    assert_eq!(log.lines().count(), 1 + 8);
    let first = read(path.join("out/run.extxyz"), &ReadOptions::default()).unwrap();
    assert!(first.velocities.is_some() && first.forces.is_some());
    assert_eq!(first.step, Some(0));
    fails(path, &["md", "run.toml"], 1, &["--resume", "--overwrite"]);
    assert!(run(path, &["md", "run.toml", "--set", "md.steps=10", "--overwrite"]).status.success());
    fails(path, &["md", "run.toml", "--resume", "--set", "md.seed=8"], 1, &["md.seed was 7, is now 8"]);
    fs::remove_file(path.join("out/run.restart")).unwrap();
    fails(path, &["md", "run.toml", "--resume"], 1, &["no restart file"]);
}

#[test]
fn threads_and_checkpoints_do_not_change_a_trajectory() {
    let (one, two) = (folder(), folder());
    finished(one.path(), &["md", "run.toml", "--threads", "1"]);
    finished(
        two.path(),
        &["md", "run.toml", "--threads", "3", "--checkpoint", "every:2", "--set", "compute.skin_A=0.3"],
    );
    assert_eq!(bytes(one.path()), bytes(two.path()));
}

fn signal(child: &std::process::Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_run_killed_again_and_again_ends_with_the_bytes_of_an_uninterrupted_one() {
    for make in [folder, boxed] {
        let (whole, parts) = (make(), make());
        finished(whole.path(), &["md", "run.toml"]);
        let mut kills = 0;
        for attempt in 0u64.. {
            let mut child = program(parts.path(), &["md", "run.toml", "--resume", "-q"]).spawn().unwrap();
            // Different moments: before the first restart file, amid steps, amid writing.
            std::thread::sleep(Duration::from_millis(20 + 23 * attempt));
            if child.try_wait().unwrap().is_some() {
                break;
            }
            signal(&child, "KILL");
            child.wait().unwrap();
            kills += 1;
            assert!(attempt < 200, "no progress");
        }
        finished(parts.path(), &["md", "run.toml", "--resume"]);
        assert!(kills > 1, "{kills}");
        println!("{kills} kills");
        assert_eq!(bytes(whole.path()), bytes(parts.path()));
    }
}

#[test]
fn signals_stop_a_run_with_a_restart_file() {
    let (whole, parts) = (folder(), folder());
    finished(whole.path(), &["md", "run.toml"]);
    for name in ["TERM", "INT", "USR1"] {
        // No periodic restart: the one at the signal must do.
        let child = program(parts.path(), &["md", "run.toml", "--resume", "--set", "output.restart_minutes=60"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while !parts.path().join("out/run.csv").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(60));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
        let text = err(&output);
        assert!(text.contains(&format!("stopped by SIG{name}")) || text.contains("finished"), "{text}");
    }
    finished(parts.path(), &["md", "run.toml", "--resume"]);
    assert_eq!(bytes(whole.path()), bytes(parts.path()));
}

#[test]
fn a_run_that_meets_a_full_disk_keeps_whole_frames_and_resumes() {
    let (whole, parts) = (folder(), folder());
    finished(whole.path(), &["md", "run.toml"]);
    // A limit on the size of files stands for the end of the disk: writes fail in the same way, in the middle of a record.
    let program = env!("CARGO_BIN_EXE_weir");
    let script = format!("trap '' XFSZ; ulimit -f 9; exec '{program}' md run.toml -q");
    let mut command = Command::new("sh");
    command.current_dir(parts.path()).args(["-c", &script]);
    let output = command.output().unwrap();
    let text = err(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("out/run.extxyz") && text.contains("--resume"), "{text}");
    let written = fs::read(parts.path().join("out/run.extxyz")).unwrap();
    let complete = fs::read(whole.path().join("out/run.extxyz")).unwrap();
    assert!(written.len() > 1000 && complete.starts_with(&written), "{} bytes", written.len());
    let frames = frames(parts.path().join("out/run.extxyz"), &ReadOptions::default()).unwrap();
    assert!(frames.map(|f| f.unwrap().len()).collect::<Vec<_>>().len() > 2);
    finished(parts.path(), &["md", "run.toml", "--resume"]);
    assert_eq!(bytes(whole.path()), bytes(parts.path()));
}

#[test]
fn charge_and_frame_parameters_may_be_negative() {
    let folder = folder();
    let arguments = ["eval", "model.dp", "water.extxyz", "-q", "--charge-spin", "-1,1", "--fparam", "-0.5"];
    // This model takes neither; what matters here is that the command line is understood.
    let output = run(folder.path(), &arguments);
    assert_ne!(output.status.code(), Some(2), "{}", err(&output));
}

#[test]
fn a_run_that_flies_apart_keeps_the_last_good_frame() {
    let folder = folder();
    let path = folder.path();
    let arguments = ["md", "run.toml", "--set", "md.timestep_fs=20", "--set", "md.max_temperature_K=2000"];
    fails(path, &arguments, 1, &["last good frame", "run.last-good.extxyz"]);
    let frame = read(path.join("out/run.last-good.extxyz"), &ReadOptions::default()).unwrap();
    assert!(frame.positions.iter().flatten().all(|x| x.is_finite()));
}

#[test]
fn model_commands_convert_and_make_models() {
    let folder = folder();
    let path = folder.path();
    let energy = |file: &str| {
        let output = run(path, &["eval", file, "water.extxyz", "--json", "-", "-q"]);
        assert!(output.status.success(), "{}", err(&output));
        serde_json::from_str::<serde_json::Value>(&out(&output)).unwrap()["energy"].to_string()
    };
    for file in ["copy.weir", "copy.dp"] {
        assert!(run(path, &["model", "convert", "model.dp", "--out", file]).status.success());
        assert_eq!(energy(file), energy("model.dp"));
    }
    assert!(run(path, &["model", "new", "--preset", "tiny", "--seed", "3", "--out", "tiny.weir"]).status.success());
    energy("tiny.weir");
    fails(path, &["model", "new", "--preset", "none", "--out", "x.dp"], 1, &["tiny"]);
    fails(path, &["model", "convert", "model.dp", "--out", "x.onnx"], 1, &["onnx"]);
    let info = out(&run(path, &["model", "info", "model.dp"]));
    let sha256 = load(&model(), &LoadOptions::default()).unwrap().source.sha256;
    for word in [sha256.as_str(), "parameters", "cutoff"] {
        assert!(info.contains(word), "{word}: {info}");
    }
    assert!(out(&run(path, &["model", "heads", "model.dp"])).contains("Default"));
}

/// A driver's library that answers as told: code of its initialisation, version, number of devices.
fn driver(folder: &Path, library: &str, answers: [i32; 3]) {
    let [init, number, count] = answers;
    let cuda = library.starts_with("libcuda");
    let prefix = if cuda { "cu" } else { "hip" };
    let counter = if cuda { "cuDeviceGetCount" } else { "hipGetDeviceCount" };
    let version = if cuda { "cuDriverGetVersion" } else { "hipRuntimeGetVersion" };
    let text = format!(
        "int {prefix}Init(unsigned f) {{ return {init}; }}\nint {version}(int *v) {{ *v = {number}; return 0; }}\n\
         int {counter}(int *n) {{ *n = {count}; return 0; }}\n"
    );
    fs::write(folder.join("driver.c"), text).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o", library, "driver.c"]).current_dir(folder).status();
    assert!(made.unwrap().success());
}

#[test]
fn a_gpu_that_cannot_be_used_is_an_error_and_none_at_all_is_the_cpu() {
    let folder = folder();
    let path = folder.path();
    let with = |backend: Option<&str>| {
        let mut command = program(path, &["eval", "model.dp", "water.extxyz", "--json", "-", "-q"]);
        command.env("LD_LIBRARY_PATH", path).env_remove("WEIR_BACKEND");
        backend.map(|b| command.env("WEIR_BACKEND", b));
        command.output().unwrap()
    };
    // CUDA's code 100 and HIP's: no device.
    driver(path, "libamdhip64.so", [100, 60_000_000, 0]);
    driver(path, "libcuda.so.1", [100, 12_040, 0]);
    let none = with(None);
    assert!(none.status.success() && err(&none).is_empty(), "{}", err(&none));
    assert!(out(&none).contains("\"backend\":\"cpu\""));
    for (backend, word) in [("cuda", "no cuda device"), ("hip", "no hip device")] {
        let named = with(Some(backend));
        let text = err(&named);
        assert_eq!(named.status.code(), Some(2), "{text}");
        assert!(text.contains(word) && text.contains("WEIR_BACKEND=cpu"), "{text}");
    }
    for (answers, cause) in [([0, 11_040, 1], "older than 12.0"), ([999, 12_040, 1], "999")] {
        driver(path, "libcuda.so.1", answers);
        for backend in [None, Some("cuda")] {
            let unusable = with(backend);
            let text = err(&unusable);
            assert_eq!(unusable.status.code(), Some(2), "{text}");
            assert!(text.contains("visible but cannot be used"), "{text}");
            assert!(text.contains(cause) && text.contains("WEIR_BACKEND=cpu"), "{text}");
            assert!(unusable.stdout.is_empty());
        }
        assert!(with(Some("cpu")).status.success());
    }
}

#[test]
fn a_gpu_without_kernels_is_taken_and_then_an_error_that_names_the_cpu() {
    let folder = folder();
    let path = folder.path();
    // A working driver whose device is too old for every compiler there is.
    let stub = include_str!("../backends/tests/stub/stub.c");
    let old = stub.replace("{75, 9}, {76, 0}", "{75, 3}, {76, 5}");
    assert_ne!(stub, old);
    fs::write(path.join("driver.c"), old).unwrap();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-w", "-o", "libcuda.so.1", "driver.c"])
        .current_dir(path)
        .status();
    assert!(made.unwrap().success());
    let with = |backend: &str| {
        let arguments =
            ["eval", "model.dp", "water.extxyz", "--json", "-", "--log-format", "json", "--host-budget", "64MiB"];
        let mut command = program(path, &arguments);
        command.env("LD_LIBRARY_PATH", path).env("WEIR_BACKEND", backend).env("WEIR_CACHE_DIR", path.join("cache"));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        assert!(output.stdout.is_empty());
        err(&output)
    };
    let text = with("auto");
    let header: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((header["backend"].as_str(), header["chip"].as_str()), (Some("cuda"), Some("sm_35")), "{text}");
    let last = text.lines().last().unwrap();
    for word in ["visible but cannot be used", "no compiler of kernels for sm_35", "WEIR_BACKEND=cpu"] {
        assert!(last.contains(word), "no \"{word}\" in {last}");
    }
    assert!(with("cuda").lines().last().unwrap().contains("no compiler of kernels for sm_35"));
}
