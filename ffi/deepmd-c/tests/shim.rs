//! A program written for DeePMD-kit's C++ class gets the engine's numbers through the header that `weir install-deepmd` lays out.
#![allow(missing_docs, clippy::undocumented_unsafe_blocks)]

mod common;

use common::*;
use std::path::{Path, PathBuf};
use std::process::Command;
use weir_engine::backend::Results;

fn library() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let found = here.ancestors().skip(1).take(2).map(|d| d.join("libdeepmd_c.so")).find(|p| p.is_file());
    found.expect("libdeepmd_c.so is built with the tests")
}

fn numbers(line: &str) -> Vec<f64> {
    line.split_whitespace().map(|w| w.parse().unwrap()).collect()
}

fn near(line: &str, expected: &Results, tolerance: f64) {
    let told = numbers(line);
    let all = [expected.energy]
        .into_iter()
        .chain(expected.forces.iter().flatten().copied())
        .chain(expected.virial.iter().flatten().copied())
        .chain(expected.atomic_energy.iter().copied())
        .chain(expected.atomic_virial.iter().flatten().flatten().copied());
    let all: Vec<f64> = all.collect();
    assert_eq!(told.len(), all.len());
    for (at, (a, b)) in told.iter().zip(&all).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "number {at}: {a} {b}");
    }
}

#[test]
fn a_program_for_the_cpp_class_gets_the_engines_numbers() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let include = folder.path().join("deepmd");
    std::fs::create_dir(&include).unwrap();
    std::fs::copy(here.join("shim/DeepPot.h"), include.join("DeepPot.h")).unwrap();
    let program = folder.path().join("client");
    let built = Command::new("g++")
        .args(["-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o"])
        .arg(&program)
        .arg("-I")
        .arg(folder.path())
        .arg(here.join("tests/shim.cpp"))
        .arg(library())
        .output();
    let Ok(built) = built else {
        eprintln!("skipped: g++ is not here");
        return;
    };
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let run = Command::new(&program).arg(tiny()).env("LD_LIBRARY_PATH", library().parent().unwrap()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{out}{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 7, "{out}");
    let model = weir_engine::model::load(&tiny(), &Default::default()).unwrap();
    let facts: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(facts[0].parse::<f64>().unwrap(), model.descriptor.options.e_rcut);
    assert_eq!((facts[1].parse::<usize>().unwrap(), facts[2], facts[3]), (model.type_map.len(), "0", "0"));
    assert_eq!(facts[4..].iter().map(|s| s.to_string()).collect::<Vec<_>>(), model.type_map);
    let cell = [[9.0, 0.0, 0.0], [1.0, 9.0, 0.0], [0.0, 1.0, 9.0]];
    let mut s = System { x: vec![[0.1, 0.2, 0.3], [1.1, 0.4, 0.2], [0.3, 1.2, 0.6]], types: vec![1, 0, 0], cell };
    let expected = direct(&s, Some(&cell), true);
    near(lines[1], &expected, 1e-12);
    assert_eq!(numbers(lines[2]), [expected.energy; 2]);
    // Coordinates in single precision are others.
    s.x.as_flattened_mut().iter_mut().for_each(|x| *x = f64::from(*x as f32));
    near(lines[3], &direct(&s, Some(&cell), true), 1e-6);
    assert!(lines[5].contains("4 coordinates given, 6 needed"), "{out}");
    assert!(lines[6].contains("no-such-model.dp"), "{out}");
}
