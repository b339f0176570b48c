//! The header says what the library does: a client is compiled against it as C and as C++, linked and run.
#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use weir_backends::cpu::{create, CpuOptions};
use weir_engine::backend::{FrameParameters, Request, Results};
use weir_engine::model::{load, LoadOptions};

fn library() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let found = here.ancestors().skip(1).take(2).map(|d| d.join("libweir.so")).find(|p| p.is_file());
    found.expect("libweir.so is built with the tests")
}

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/models/tiny.dp")
}

/// Compiles and runs the client; its output, or none where there is no such compiler.
fn run(compiler: &str, flags: &[&str]) -> Option<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("client");
    let built = Command::new(compiler)
        .args(flags)
        .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-o"])
        .arg(&program)
        .arg("-I")
        .arg(here.join("../include"))
        .arg(here.join("tests/client.c"))
        .args(["-x", "none"])
        .arg(library())
        .arg("-lm")
        .output();
    let Ok(built) = built else {
        eprintln!("skipped: {compiler} is not here");
        return None;
    };
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let done = Command::new(&program)
        .arg(model())
        .env("LD_LIBRARY_PATH", library().parent().unwrap())
        .env("WEIR_NO_SUCH_THING", "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}{err}");
    // Reported, not refused, and once for each of the two potentials that were made.
    assert_eq!(err.matches("WEIR_NO_SUCH_THING").count(), 2, "{err}");
    Some(out.into_owned())
}

fn check(out: &str) {
    let model = Arc::new(load(&model(), &LoadOptions::default()).unwrap());
    let mut calculator = create(model, &[1, 0], &CpuOptions::default()).unwrap();
    let (x, cell) = ([[0.1, 0.2, 0.3], [1.1, 0.4, 0.2]], [[9.0, 0.0, 0.0], [1.0, 9.0, 0.0], [0.0, 1.0, 9.0]]);
    let mut r = Results::default();
    calculator.compute(&x, Some(&cell), &FrameParameters::default(), Request::default(), &mut r).unwrap();
    let told: Vec<f64> = out.split_whitespace().map(|w| w.parse().unwrap()).collect();
    for (a, b) in told.iter().zip([r.energy, r.forces[0][0], r.virial[0][0]]) {
        assert!((a - b).abs() < 1e-10, "{told:?} {r:?}");
    }
    assert_eq!(told.len(), 3);
}

#[test]
fn a_c_program_gets_the_engines_numbers() {
    if let Some(out) = run("gcc", &["-std=c99", "-x", "c"]) {
        check(&out);
    }
}

#[test]
fn a_cpp_program_gets_the_engines_numbers() {
    if let Some(out) = run("g++", &["-std=c++11", "-x", "c++"]) {
        check(&out);
    }
}

#[test]
fn the_header_and_the_library_are_of_one_version_and_name_the_same_functions() {
    let text = include_str!("../../include/weir.h");
    assert!(text.contains(&format!("#define WEIR_API_VERSION {}\n", weir::API_VERSION)));
    let Ok(nm) = Command::new("nm").args(["-D", "--defined-only"]).arg(library()).output() else {
        eprintln!("skipped: nm (binutils) is not here");
        return;
    };
    let table = String::from_utf8(nm.stdout).unwrap();
    let exported = table.lines().filter_map(|l| l.split(" T ").nth(1)).filter(|n| n.starts_with("weir_"));
    let mut exported: Vec<&str> = exported.collect();
    exported.sort_unstable();
    let code: String = text.split("/*").map(|part| part.split_once("*/").map_or(part, |p| p.1)).collect();
    let mut declared: Vec<&str> = code
        .match_indices('(')
        .filter_map(|(at, _)| code[..at].rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next())
        .filter(|n| n.starts_with("weir_"))
        .collect();
    declared.sort_unstable();
    assert_eq!(exported, declared);
}
