//! `weir md`.

use super::{boxed, err, fails, folder, program, run};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use weir_backends::cpu::InstructionSet;
use weir_engine::structure::{frames, read, ReadOptions};

const OUTPUTS: [&str; 5] = ["run.csv", "run.extxyz", "run.xtc", "run.final.extxyz", "run.restart"];

pub(super) fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    OUTPUTS.iter().map(|f| fs::read(folder.join("out").join(f)).unwrap_or_else(|e| panic!("{f}: {e}"))).collect()
}

pub(super) fn finished(folder: &Path, arguments: &[&str]) {
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
        &[
            "md",
            "run.toml",
            "--threads",
            "3",
            "--checkpoint",
            "every:2",
            "--inside",
            "keep",
            "--set",
            "compute.skin_A=0.3",
        ],
    );
    assert_eq!(bytes(one.path()), bytes(two.path()));
}

#[test]
fn a_run_may_go_on_with_another_instruction_set_which_is_said() {
    let folder = folder();
    let with = |set: &str, arguments: &[&str]| {
        let output = program(folder.path(), arguments).env("WEIR_SIMD", set).output().unwrap();
        (output.status.code(), err(&output))
    };
    let (code, text) = with("scalar", &["md", "run.toml", "--set", "md.steps=9"]);
    assert!(code == Some(0) && text.contains(", scalar") && text.contains("simd        scalar (WEIR_SIMD)"), "{text}");
    let elsewhere = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    let (code, text) = with(elsewhere, &["md", "run.toml", "--resume"]);
    // Before anything else, and by the name of what asked for it.
    let refusal = format!("WEIR_SIMD: no kernels of {elsewhere} run here");
    assert!(code == Some(2) && text.contains(&refusal) && !text.contains("placement"), "{text}");
    fs::write(folder.path().join("weir.toml"), format!("simd = \"{elsewhere}\"\n")).unwrap();
    let mut from_file = program(folder.path(), &["md", "run.toml", "--resume"]);
    let text = err(&from_file.env("WEIR_CONFIG", "weir.toml").output().unwrap());
    assert!(text.contains(&format!("no kernels of {elsewhere}")) && text.contains("weir.toml"), "{text}");
    let (code, text) = with("auto", &["md", "run.toml", "--resume"]);
    let other = InstructionSet::best() != InstructionSet::Scalar;
    assert!(code == Some(0) && text.contains("the run went with scalar so far") == other, "{text}");
    assert!(text.contains("finished "), "{text}");
}

#[test]
fn a_long_run_says_what_it_found_about_insides_of_layers_and_writes_the_same_bytes() {
    let with = |inside: &str| {
        let folder = folder();
        // Rates that a profile on this machine has kept would decide.
        let mut run = program(folder.path(), &["md", "run.toml", "--set", "md.steps=50", "--inside", inside]);
        let output = run.env("WEIR_CACHE_DIR", folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
        (bytes(folder.path()), err(&output).matches("insides of layers are ").count())
    };
    let (expected, told) = with("rebuild");
    assert_eq!(told, 0);
    assert_eq!(with("auto"), (expected, 1));
}

pub(super) fn signal(child: &std::process::Child, name: &str) {
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
    for name in ["TERM", "INT", "USR1", "HUP"] {
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
fn a_run_that_ignores_hangups_goes_on() {
    let folder = folder();
    // As `nohup` starts it.
    let script = format!("trap '' HUP; exec '{}' md run.toml", env!("CARGO_BIN_EXE_weir"));
    let child =
        Command::new("sh").current_dir(folder.path()).args(["-c", &script]).stderr(Stdio::piped()).spawn().unwrap();
    while !folder.path().join("out/run.csv").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&child, "HUP");
    let output = child.wait_with_output().unwrap();
    let text = err(&output);
    assert!(output.status.success() && text.contains("finished") && !text.contains("stopped by"), "{text}");
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
fn a_run_that_flies_apart_keeps_the_last_good_frame() {
    let folder = folder();
    let path = folder.path();
    let arguments = ["md", "run.toml", "--set", "md.timestep_fs=20", "--set", "md.max_temperature_K=2000"];
    fails(path, &arguments, 1, &["last good frame", "run.last-good.extxyz"]);
    let frame = read(path.join("out/run.last-good.extxyz"), &ReadOptions::default()).unwrap();
    assert!(frame.positions.iter().flatten().all(|x| x.is_finite()));
}

#[test]
fn frames_carry_the_parameters_of_the_run() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("water.extxyz"), super::WATER.replace("pbc=", "charge_spin=\"1 2\" fparam=\"0.5\" pbc="))
        .unwrap();
    finished(path, &["md", "run.toml", "--set", "md.steps=2"]);
    for name in ["out/run.extxyz", "out/run.final.extxyz"] {
        let frame = read(path.join(name), &ReadOptions::default()).unwrap();
        assert_eq!((frame.charge_spin, frame.fparam), (Some([1.0, 2.0]), Some(vec![0.5])), "{name}");
    }
}

#[test]
fn a_run_whose_trace_or_plot_cannot_be_written_is_finished_all_the_same() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let folder = folder();
    let path = folder.path();
    // A folder stands where the plot would.
    fs::create_dir_all(path.join("out/run.svg")).unwrap();
    let mut command = program(path, &["md", "run.toml", "--set", "md.steps=21", "--set", "output.plot=true"]);
    let output = command.env("WEIR_PROFILE", "/dev/full").output().unwrap();
    let text = err(&output);
    assert!(output.status.success() && text.contains("finished 21 steps"), "{text}");
    assert!(text.contains("/dev/full") && text.contains("no plot: cannot write out/run.svg"), "{text}");
    assert_eq!(read(path.join("out/run.final.extxyz"), &ReadOptions::default()).unwrap().step, Some(21));
}

#[test]
fn no_output_of_a_run_is_one_of_its_inputs() {
    let folder = folder();
    let path = folder.path();
    fs::create_dir(path.join("out")).unwrap();
    for name in ["run.last-good.extxyz", "run.final.extxyz", "run.lock"] {
        let key = format!("structure.atoms=out/{name}");
        fs::write(path.join("out").join(name), super::WATER).unwrap();
        fails(path, &["md", "run.toml", "-q", "--set", &key], 1, &[name, "both read and written", "output.prefix"]);
    }
    let elements = path.join("out/run.csv");
    fs::write(&elements, "O O\n").unwrap();
    let key = "structure.elements=out/run.csv";
    fails(path, &["md", "run.toml", "-q", "--overwrite", "--set", key], 1, &["both read and written"]);
    assert_eq!(fs::read_to_string(elements).unwrap(), "O O\n");
}

#[test]
fn velocities_are_told_and_zeros_are_none() {
    let folder = folder();
    let path = folder.path();
    let with = |speed: &str, set: &[&str]| {
        let mut lines: Vec<String> = super::WATER.lines().map(str::to_string).collect();
        lines[1] = lines[1].replace("pos:R:3", "pos:R:3:vel:R:3") + " vel_unit=A/ps";
        lines[2..]
            .iter_mut()
            .enumerate()
            .for_each(|(i, l)| *l += &format!(" 0 0 {}", if i == 1 { speed } else { "0" }));
        fs::write(path.join("water.extxyz"), lines.join("\n") + "\n").unwrap();
        let mut arguments = vec!["md", "run.toml", "--overwrite", "--set", "md.steps=0"];
        set.iter().for_each(|s| arguments.extend(["--set", s]));
        err(&run(path, &arguments))
    };
    let text = with("0", &[]);
    assert!(text.contains("velocities drawn (Maxwell), 300.0 K"), "{text}");
    let text = with("9", &[]);
    assert!(text.contains("velocities of the structure file") && !text.contains("sets no velocities"), "{text}");
    let config = fs::read_to_string(path.join("run.toml")).unwrap();
    fs::write(path.join("run.toml"), config.replace("\"nvt\"", "\"nve\"").replace("thermostat = \"langevin\"", ""))
        .unwrap();
    let text = with("9", &[]);
    assert!(text.contains("md.temperature_K = 300 sets no velocities"), "{text}");
    let text = with("9", &["md.initial_velocities=maxwell"]);
    assert!(text.contains("velocities drawn") && !text.contains("sets no velocities"), "{text}");
}
