//! The calls of a header-only C++ wrapper, in its order, by a program of our own: the engine's numbers, errors once, nothing freed twice or forgotten.
#![allow(missing_docs, clippy::undocumented_unsafe_blocks)]

mod common;

use common::*;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use weir_backends::cpu::{create, CpuOptions};
use weir_engine::backend::{FrameParameters, Request, Results};
use weir_engine::model::load;

fn library() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let found = here.ancestors().skip(1).take(2).map(|d| d.join("libdeepmd_c.so")).find(|p| p.is_file());
    found.expect("libdeepmd_c.so is built with the tests")
}

/// Says what is missing here; fails where compilers are required.
fn missing(what: &str) {
    assert!(std::env::var("KERNEL_COMPILERS").as_deref() != Ok("required"), "KERNEL_COMPILERS=required, but {what}");
    eprintln!("skipped: {what}");
}

/// The program; none where there is no compiler. With `sanitizer` only where the compiler has it.
fn build(folder: &Path, sanitizer: bool) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrapper.cpp");
    let program = folder.join(if sanitizer { "checked" } else { "client" });
    let mut command = Command::new("g++");
    command.args(["-std=c++11", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o"]).arg(&program);
    if sanitizer {
        command.arg("-fsanitize=address");
    }
    let Ok(built) = command.arg(source).arg(library()).output() else {
        missing("g++ is not here");
        return None;
    };
    if sanitizer && !built.status.success() {
        missing("the compiler has no address sanitizer");
        return None;
    }
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(program)
}

fn write(folder: &Path, s: &System) -> PathBuf {
    let mut text = format!("{}\n", s.types.len());
    for v in s.cell.as_flattened() {
        writeln!(text, "{v:?}").unwrap();
    }
    for (t, x) in s.types.iter().zip(&s.x) {
        writeln!(text, "{t} {:?} {:?} {:?}", x[0], x[1], x[2]).unwrap();
    }
    let path = folder.join("system");
    std::fs::write(&path, text).unwrap();
    path
}

fn run(program: &Path, arguments: &[&Path]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("LD_LIBRARY_PATH", library().parent().unwrap()).env("WEIR_THREADS", "2");
    command.output().unwrap()
}

fn output(program: &Path, arguments: &[&Path]) -> String {
    let done = run(program, arguments);
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}{err}");
    assert_eq!(err, "", "nothing is said beside CheckOK");
    out.into_owned()
}

/// Energies of all frames, then forces, virials, and (where `terms`) energies and virials of atoms.
fn all(frames: &[&Results], terms: bool) -> Vec<f64> {
    let mut v: Vec<f64> = frames.iter().map(|r| r.energy).collect();
    v.extend(frames.iter().flat_map(|r| r.forces.concat()));
    v.extend(frames.iter().flat_map(|r| r.virial.concat()));
    if terms {
        v.extend(frames.iter().flat_map(|r| r.atomic_energy.clone()));
        v.extend(frames.iter().flat_map(|r| r.atomic_virial.as_ref().unwrap().concat()));
    }
    v
}

fn near(name: &str, line: &str, expected: &[f64], tolerance: f64) {
    let told: Vec<f64> = line.split_whitespace().map(|w| w.parse().unwrap()).collect();
    assert_eq!(told.len(), expected.len(), "{name}");
    let worst = largest(&told, expected);
    assert!(worst <= tolerance, "{name}: differs by {worst:e}");
}

fn shared() -> Vec<PathBuf> {
    let folder = match std::env::var_os("WEIR_SHARED") {
        Some(f) => PathBuf::from(f),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let models = ["fparam_aparam", "chg_spin"].map(|n| folder.join("fixtures/models").join(n).join("model.dp"));
    let there: Vec<_> = models.into_iter().filter(|p| p.is_file()).collect();
    if there.is_empty() {
        eprintln!("skipped in part: models with parameters are not here");
    }
    there
}

/// What the engine says of a model with parameters, numbered as wrapper.cpp numbers them.
fn with_parameters(path: &Path, s: &System) -> (String, Results) {
    let model = Arc::new(load(path, &Default::default()).unwrap());
    let types: Vec<i32> = s.types.iter().map(|t| t % model.types() as i32).collect();
    let (nf, na) = (model.fitting.numb_fparam, model.fitting.numb_aparam);
    let charged = model.descriptor.options.add_chg_spin_ebd;
    let given = FrameParameters {
        fparam: (nf > 0).then(|| (0..nf).map(|k| 0.3 + k as f64).collect()),
        aparam: (na > 0).then(|| (0..types.len() * na).map(|k| 0.1 * k as f64).collect()),
        charge_spin: charged.then_some([1.0, 2.0]),
    };
    let mut out = Results::default();
    let mut calculator = create(model, &types, &CpuOptions::default()).unwrap();
    calculator.compute(&s.x, Some(&s.cell), &given, Request::default(), &mut out).unwrap();
    (format!("are {nf} {na} {}", if charged { 2 } else { 0 }), out)
}

#[test]
fn a_header_only_wrapper_gets_the_engines_numbers_and_every_error_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = build(folder.path(), false) else { return };
    let s = system(20, 6.5, 1);
    let (path, model, other) = (write(folder.path(), &s), tiny(), models().join("tiny.pt"));
    let parameters = shared();
    let mut arguments: Vec<&Path> = vec![&path, &model, &other];
    arguments.extend(parameters.iter().map(PathBuf::as_path));
    let out = output(&program, &arguments);
    let lines: HashMap<&str, &str> = out
        .lines()
        .filter_map(|l| l.find(|c: char| c == '-' || c.is_ascii_digit()).map(|at| (l[..at].trim(), &l[at..])))
        .collect();
    assert_eq!(lines["facts"], "4.5 5 0 0 0 0 0 H C N O S");
    let mut reversed = s.clone();
    reversed.types.reverse();
    let shifted = |s: &System, by: f64| System { x: s.x.iter().map(|x| x.map(|v| v + by)).collect(), ..s.clone() };
    let rounded = |s: &System| System {
        x: s.x.iter().map(|x| x.map(|v| f64::from(v as f32))).collect(),
        cell: s.cell.map(|r| r.map(|v| f64::from(v as f32))),
        ..s.clone()
    };
    for (kind, tolerance) in [("double", 1e-9), ("float", 3e-4)] {
        // Single precision prints nine digits and rounds forces; its coordinates are rounded before.
        let own = |s: &System| if kind == "float" { rounded(s) } else { s.clone() };
        let engine = |s: &System| direct(&own(s), Some(&own(s).cell), true);
        let (one, turned) = (engine(&s), engine(&reversed));
        let check = |case: &str, frames: &[&Results], terms: bool| {
            let name = format!("{kind} {case}");
            near(&name, lines[name.as_str()], &all(frames, terms), tolerance);
        };
        check("periodic", &[&one], true);
        check("open", &[&direct(&own(&s), None, true)], true);
        check("frames", &[&one, &one], true);
        check("mixed", &[&one, &turned], true);
        check("deviation", &[&one, &one], true);
        check("deviation list", &[&one, &one], false);
        // Virials of atoms refer to positions as the client has them, which direct() wraps into the cell: compared without.
        let later = engine(&shifted(&s, 0.125));
        for (case, r) in [("list", &one), ("list later", &later)] {
            let name = format!("{kind} {case}");
            let told: Vec<f64> = lines[name.as_str()].split_whitespace().map(|w| w.parse().unwrap()).collect();
            let n = s.types.len();
            assert_eq!(told.len(), 1 + 3 * n + 9 + n + 9 * n, "{name}");
            let expected = [all(&[r], false), r.atomic_energy.clone()].concat();
            assert!(largest(&told[..expected.len()], &expected) <= tolerance, "{name}");
            // Their sum is the virial in either case.
            for k in 0..9 {
                let sum: f64 = told[expected.len()..].iter().skip(k).step_by(9).sum();
                assert!((sum - r.virial.as_flattened()[k]).abs() <= 20.0 * tolerance, "{name}: virial {k}");
            }
        }
    }
    let errors: Vec<&str> = out.lines().filter_map(|l| l.strip_prefix("error ")).collect();
    let words = [
        "atom 1 has type 77, but the model has 5 types",
        "/nowhere/model.dp",
        "junk.dp",
        "/nowhere/model.dp",
        "2 numbers of charge and spin",
        "one frame at a time",
    ];
    assert_eq!(errors.len(), words.len(), "{errors:?}");
    for (said, word) in errors.iter().zip(words) {
        assert!(said.contains(word), "{said}");
    }
    let told: Vec<&str> = out.lines().filter_map(|l| l.strip_prefix("parameters ")).collect();
    assert_eq!(told.len(), 3 * parameters.len());
    for (lines, path) in told.chunks(3).zip(&parameters) {
        let (facts, expected) = with_parameters(path, &s);
        assert_eq!(lines[0], facts);
        let bound = 1e-9 * expected.energy.abs().max(1.0);
        near("parameters", lines[1], &all(&[&expected], false), bound);
        near("parameters with a list", lines[2].strip_prefix("list ").unwrap(), &all(&[&expected], false), bound);
    }
}

#[test]
fn texts_lists_and_objects_are_freed_once_and_none_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = build(folder.path(), true) else { return };
    let s = system(8, 5.0, 2);
    let (path, model, other) = (write(folder.path(), &s), tiny(), models().join("tiny.pt"));
    let done = run(&program, &[&path, &model, &other]);
    let err = String::from_utf8_lossy(&done.stderr);
    if err.contains("LeakSanitizer has encountered a fatal error") || err.contains("Shadow memory range interleaves") {
        missing("the sanitizer cannot run here");
        return;
    }
    assert!(done.status.success(), "{}{err}", String::from_utf8_lossy(&done.stdout));
}
