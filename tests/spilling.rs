//! Promises of placement on the whole program: budgets, tiers and their failures as a user meets them.
#![allow(missing_docs)]

#[path = "common/program.rs"]
mod program;
#[path = "common/refused.rs"]
mod refused;

use program::program;
use refused::refused;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/water").join(name)
}

/// The program in a folder, with a clean environment and a cache of its own.
fn weir(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program(folder, arguments);
    command.env("WEIR_CACHE_DIR", folder.join("cache"));
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder on disk with a short run of the demo model: 192 atoms, states of 6 MB.
fn folder() -> tempfile::TempDir {
    // Beside the build, not in the temporary folder, which may be memory.
    let folder = tempfile::Builder::new().prefix("spilling").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let config = format!(
        "[model]\npath = {:?}\n[structure]\npath = {:?}\n[md]\nensemble = \"nve\"\ntimestep_fs = 0.5\nsteps = 30\ntemperature_K = 300\n\
         [output]\nprefix = \"out/run\"\nenergy_every = 1\ntrajectory_every = 10\nplot = false\n",
        example("model.dp"),
        example("start.extxyz")
    );
    fs::write(folder.path().join("run.toml"), config).unwrap();
    fs::create_dir(folder.path().join("scratch")).unwrap();
    folder
}

fn trajectory(folder: &Path, arguments: &[&str]) -> (Vec<Vec<u8>>, String) {
    let mut all = vec!["md", "run.toml", "--overwrite"];
    all.extend(arguments);
    let output = weir(folder, &all).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let files = ["out/run.csv", "out/run.extxyz", "out/run.final.extxyz"];
    (files.iter().map(|f| fs::read(folder.join(f)).unwrap()).collect(), text(&output))
}

fn fails(folder: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let output = weir(folder, arguments).output().unwrap();
    refused(&output, code, words);
    assert!(!folder.join("out").exists(), "an output was begun before the error");
}

#[test]
fn a_trajectory_is_the_same_wherever_its_states_are_kept() {
    let folder = folder();
    let path = folder.path();
    let (expected, free) = trajectory(path, &[]);
    assert!(free.contains("hbm 100 %"), "{free}");
    for (arguments, word) in [
        (&["--placement", "hbm,system", "--hbm-budget", "12MiB"][..], "system "),
        (&["--placement", "hbm,pinned", "--hbm-budget", "12MiB", "--checkpoint", "all"], "pinned "),
        (
            &["--placement", "hbm,file", "--hbm-budget", "12MiB", "--scratch-dir", "scratch", "--checkpoint", "all"],
            "file ",
        ),
        (&["--hbm-budget", "13MiB"], "rebuilt "),
    ] {
        let (files, log) = trajectory(path, arguments);
        assert_eq!(files, expected, "{arguments:?}");
        let plan = log.lines().find(|l| l.contains(" plan ")).unwrap();
        assert!(plan.contains(word) && !plan.contains("hbm 100 %"), "{arguments:?}: {plan}");
    }
    assert_eq!(fs::read_dir(path.join("scratch")).unwrap().count(), 0);
}

#[test]
fn settings_come_from_the_environment_and_say_so() {
    let folder = folder();
    let mut command =
        weir(folder.path(), &["md", "run.toml", "--set", "md.steps=1", "--set", "compute.host_budget=1GiB"]);
    let output = command.env("WEIR_HBM_BUDGET", "12MiB").env("WEIR_PLACEMENT", "hbm,system").output().unwrap();
    let text = text(&output);
    for word in [
        "hbm_budget  12.00 MiB (12.00 MiB of",
        "(WEIR_HBM_BUDGET)",
        "hbm,system (WEIR_PLACEMENT)",
        "(--set compute.host_budget)",
        "tiers hbm 12.00 MiB, system 1.00 GiB",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn rounded_states_are_part_of_what_a_restart_file_belongs_to() {
    let folder = folder();
    let path = folder.path();
    let (exact, _) = trajectory(path, &[]);
    let (half, _) = trajectory(path, &["--store", "f16"]);
    let (again, _) =
        trajectory(path, &["--store", "f16", "--hbm-budget", "12MiB", "--placement", "hbm,system", "--threads", "1"]);
    assert_ne!(exact, half);
    assert_eq!(half, again);
    let more = ["md", "run.toml", "--resume", "--set", "md.steps=40"];
    let output = weir(path, &more).output().unwrap();
    assert!(text(&output).contains("store was f16, is now absent"), "{}", text(&output));
    let output = weir(path, &more).env("WEIR_STORE", "f16").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn what_cannot_fit_is_refused_before_any_work() {
    let folder = folder();
    let path = folder.path();
    fails(path, &["md", "run.toml", "--hbm-budget", "1MiB"], 1, &["tier hbm lacks", "WEIR_HBM_BUDGET="]);
    fails(path, &["md", "run.toml", "--hbm-budget", "9000TiB"], 2, &["--hbm-budget asks for", "to be had"]);
    fails(path, &["md", "run.toml", "--placement", "hbm,sytem"], 2, &["did you mean system?"]);
    fails(path, &["md", "run.toml", "--placement", "hbm,managed"], 2, &["needs a GPU"]);
    fails(path, &["md", "run.toml", "--placement", "hbm,file", "--scratch-dir", "/nowhere"], 2, &["/nowhere"]);
    fails(
        path,
        &["md", "run.toml", "--placement", "hbm", "--host-budget", "1GiB"],
        2,
        &["--host-budget", "--placement"],
    );
    if Path::new("/dev/shm").is_dir() {
        fails(path, &["md", "run.toml", "--placement", "hbm,file", "--scratch-dir", "/dev/shm"], 2, &["tmpfs"]);
    }
    let output = weir(path, &["md", "run.toml"]).env("WEIR_HBM_BUGDET", "1GiB").output().unwrap();
    assert!(text(&output).contains("did you mean WEIR_HBM_BUDGET?"), "{}", text(&output));
}

#[test]
fn the_budget_that_an_error_names_is_enough() {
    let folder = folder();
    let path = folder.path();
    let output = weir(path, &["md", "run.toml", "--hbm-budget", "1MiB"]).output().unwrap();
    let text = text(&output);
    let budget = text.rsplit("WEIR_HBM_BUDGET=").next().unwrap().split_whitespace().next().unwrap();
    let (_, log) = trajectory(path, &["--set", "md.steps=2", "--hbm-budget", budget]);
    assert!(log.contains("finished 2 steps"), "{log}");
}

/// A file system that is full: a limit on the size of files stands for it, which the preallocation of the scratch file meets.
#[test]
fn a_full_scratch_disk_is_an_error_before_any_work() {
    let folder = folder();
    let program = env!("CARGO_BIN_EXE_weir");
    // The link table is measured first, so that it is the plan's own scratch file that meets the limit.
    trajectory(
        folder.path(),
        &[
            "--set",
            "md.steps=1",
            "--placement",
            "hbm,file",
            "--scratch-dir",
            "scratch",
            "--hbm-budget",
            "12MiB",
            "--checkpoint",
            "all",
        ],
    );
    fs::remove_dir_all(folder.path().join("out")).unwrap();
    let script = format!(
        "trap '' XFSZ; ulimit -f 2000; exec '{program}' md run.toml -q --placement hbm,file --hbm-budget 12MiB --checkpoint all --scratch-dir scratch"
    );
    let mut command = Command::new("sh");
    command.current_dir(folder.path()).env("WEIR_CACHE_DIR", folder.path().join("cache")).args(["-c", &script]);
    let output = command.output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("scratch") && text.contains("WEIR_"), "{text}");
    assert!(!folder.path().join("out").exists());
    assert_eq!(fs::read_dir(folder.path().join("scratch")).unwrap().count(), 0);
}

#[test]
fn killed_while_spilling_no_scratch_is_left_and_neighbours_are_not_disturbed() {
    let folder = folder();
    let path = folder.path();
    let spill = ["--placement", "hbm,file", "--hbm-budget", "12MiB", "--checkpoint", "all", "--scratch-dir", "scratch"];
    let (expected, _) = trajectory(path, &spill);
    let start = |prefix: &str, steps: &str| {
        let set = [format!("output.prefix={prefix}"), format!("md.steps={steps}")];
        let mut all = vec!["md", "run.toml", "--set", &set[0], "--set", &set[1]];
        all.extend(spill);
        weir(path, &all).stderr(Stdio::null()).spawn().unwrap()
    };
    // Two at once in one scratch folder; one is killed amid its steps.
    let (mut killed, mut kept) = (start("a/run", "100000"), start("b/run", "30"));
    let begin = Instant::now();
    let rows = || fs::read_to_string(path.join("a/run.csv")).map_or(0, |t| t.lines().count());
    while rows() < 3 {
        assert!(begin.elapsed() < Duration::from_secs(120) && killed.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(kept.wait().unwrap().success());
    assert_eq!(fs::read(path.join("b/run.csv")).unwrap(), expected[0]);
    assert_eq!(fs::read_dir(path.join("scratch")).unwrap().count(), 0);
}
