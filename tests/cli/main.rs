//! Promises of the command line, on the built program.
#![allow(missing_docs)]

mod devices;
mod late;
mod locks;
mod masses;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/refused.rs"]
mod refused;
mod runs;

use program::program;
use refused::refused;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use weir_engine::backend::{FrameParameters, Request, Results};
use weir_engine::model::{load, save, LoadOptions};
use weir_engine::structure::{read, ReadOptions};

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
    refused(&run(folder, arguments), code, words);
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

#[test]
fn a_relaxation_survives_a_full_disk_of_its_trace() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let folder = folder();
    let mut command =
        program(folder.path(), &["minimize", "model.dp", "water.extxyz", "--out", "r.extxyz", "--steps", "2"]);
    let output = command.env("WEIR_PROFILE", "/dev/full").output().unwrap();
    assert!(output.status.success() && err(&output).contains("/dev/full"), "{}", err(&output));
    assert!(read(folder.path().join("r.extxyz"), &ReadOptions::default()).unwrap().forces.is_some());
}

#[test]
fn an_output_that_cannot_be_written_is_found_before_a_relaxation() {
    let folder = folder();
    let output = run(folder.path(), &["minimize", "model.dp", "water.extxyz", "--out", "none/r.extxyz"]);
    let text = err(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot write none/r.extxyz") && !text.contains("largest force"), "{text}");
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
fn parameters_that_the_model_does_not_take_are_refused_by_name() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("rows"), "1\n2\n3\n").unwrap();
    fs::write(path.join("kept"), "old\n").unwrap();
    for (option, value) in [("--fparam", "-0.5"), ("--aparam", "rows"), ("--charge-spin", "-1,1")] {
        let json = ["eval", "model.dp", "water.extxyz", "-q", option, value, "--json", "kept"];
        fails(path, &json, 1, &[option, "takes no"]);
        assert_eq!(fs::read_to_string(path.join("kept")).unwrap(), "old\n", "{option}: nothing was computed");
    }
    fails(path, &["md", "run.toml", "-q", "--set", "model.charge_spin=[0, 1]"], 1, &["model.charge_spin"]);
    assert!(!path.join("out").exists());
    // What merely stands in the file is nobody's wish.
    fs::write(path.join("water.extxyz"), WATER.replace("pbc=", "charge_spin=\"1 2\" pbc=")).unwrap();
    assert!(run(path, &["eval", "model.dp", "water.extxyz", "-q"]).status.success());
}

/// The folder's model, made to take one frame parameter.
fn with_frame_parameter(folder: &Path) {
    let mut model = load(&model(), &LoadOptions::default()).unwrap();
    let fitting = &mut model.fitting;
    (fitting.numb_fparam, fitting.fparam_avg, fitting.fparam_inv_std) = (1, vec![0.0], vec![1.0]);
    let first = &mut fitting.layers[0].linear;
    first.weight.extend(vec![0.3; first.outputs]);
    first.inputs += 1;
    save(&model, &folder.join("model.dp")).unwrap();
}

#[test]
fn a_missing_parameter_is_noticed_before_any_output_is_touched() {
    let folder = folder();
    let path = folder.path();
    with_frame_parameter(path);
    fs::create_dir(path.join("out")).unwrap();
    let files = ["kept", "trace", "out/run.csv", "out/run.restart"];
    files.iter().for_each(|f| fs::write(path.join(f), "old\n").unwrap());
    for arguments in [
        &["eval", "model.dp", "water.extxyz", "-q", "--json", "kept"][..],
        &["minimize", "model.dp", "water.extxyz", "-q", "--out", "kept.xyz"],
        &["md", "run.toml", "-q", "--overwrite"],
    ] {
        let output = program(path, arguments).env("WEIR_PROFILE", "trace").output().unwrap();
        refused(&output, 1, &["1 frame parameters", "--fparam"]);
        for file in files {
            assert_eq!(fs::read_to_string(path.join(file)).unwrap(), "old\n", "{arguments:?}: {file}");
        }
        assert!(!path.join("kept.xyz").exists());
    }
}

#[test]
fn a_written_frame_is_the_system_that_was_computed() {
    let folder = folder();
    let path = folder.path();
    with_frame_parameter(path);
    let arguments =
        ["minimize", "model.dp", "water.extxyz", "-q", "--out", "r.extxyz", "--steps", "2", "--fparam", "0.7"];
    let output = run(path, &arguments);
    assert!(output.status.success(), "{}", err(&output));
    let output = run(path, &["md", "run.toml", "--set", "md.steps=4", "--set", "model.fparam=[0.7]"]);
    assert!(output.status.success(), "{}", err(&output));
    for name in ["r.extxyz", "out/run.final.extxyz"] {
        let output = run(path, &["eval", "model.dp", name, "--json", "-", "-q"]);
        let line: serde_json::Value =
            serde_json::from_str(out(&output).trim()).unwrap_or_else(|e| panic!("{e}: {}", err(&output)));
        let frame = read(path.join(name), &ReadOptions::default()).unwrap();
        assert!((line["energy"].as_f64().unwrap() - frame.energy.unwrap()).abs() < 1e-9, "{name}");
    }
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
