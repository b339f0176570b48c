//! One run at a time writes the files of a prefix.

use super::runs::{bytes, finished, signal};
use super::{fails, folder, program, run};
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A run that is held amid its steps.
fn held(folder: &Path) -> Child {
    let mut child = program(folder, &["md", "run.toml", "-q"]).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while fs::metadata(folder.join("out/run.csv")).map_or(0, |m| m.len()) == 0 {
        assert!(begin.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none(), "no steps");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(&child, "STOP");
    child
}

#[test]
fn a_second_run_of_the_same_files_is_refused_and_disturbs_nothing() {
    let (whole, shared) = (folder(), folder());
    let path = shared.path();
    finished(whole.path(), &["md", "run.toml"]);
    let first = held(path);
    std::os::unix::fs::symlink("out", path.join("link")).unwrap();
    let before: Vec<Vec<u8>> =
        ["run.csv", "run.extxyz", "run.lock"].map(|f| fs::read(path.join("out").join(f)).unwrap()).into();
    let words = ["out/run.lock", &format!("process {}", first.id()), "output.prefix"];
    for how in [&[][..], &["--resume"], &["--overwrite"]] {
        let begin = [&["md", "run.toml"], how].concat();
        fails(path, &begin, 1, &words);
        // The same files by another name of their folder.
        fails(path, &[&begin[..], &["--set", "output.prefix=link/run"]].concat(), 1, &words[1..]);
    }
    for (file, before) in ["run.csv", "run.extxyz", "run.lock"].iter().zip(before) {
        assert!(fs::read(path.join("out").join(file)).unwrap() == before, "{file}");
    }
    // Other files beside them are another run's.
    let beside = ["md", "run.toml", "--set", "output.prefix=out/other", "--set", "md.steps=3"];
    assert!(run(path, &beside).status.success());
    signal(&first, "CONT");
    assert!(first.wait_with_output().unwrap().status.success());
    assert_eq!(bytes(whole.path()), bytes(path));
    assert!(!path.join("out/run.lock").exists());
}

#[test]
fn what_a_killed_run_leaves_behind_hinders_no_restart() {
    let (whole, parts) = (folder(), folder());
    finished(whole.path(), &["md", "run.toml"]);
    let mut first = held(parts.path());
    signal(&first, "KILL");
    first.wait().unwrap();
    assert!(parts.path().join("out/run.lock").exists(), "killed before it could take it away");
    finished(parts.path(), &["md", "run.toml", "--resume"]);
    assert_eq!(bytes(whole.path()), bytes(parts.path()));
    assert!(!parts.path().join("out/run.lock").exists());
}
