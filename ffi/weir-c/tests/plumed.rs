//! GROMACS' commands to a PLUMED kernel, without GROMACS: a C program that opens the library as it does, and direct calls.
#![allow(missing_docs)]

use std::ffi::{c_char, c_int, c_long, c_void, CStr, CString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use weir::plumed::{plumed_plumedmain_create, plumed_plumedmain_finalize, plumed_symbol_table, Handler, Kernel};
use weir_backends::cpu::{create, CpuOptions};
use weir_engine::backend::{FrameParameters, Request, Results};
use weir_engine::model::{load, LoadOptions};

/// kJ/mol of an eV.
const KJ_MOL: f64 = 96.48533212;
const BOX: [[f64; 3]; 3] = [[0.9, 0.0, 0.0], [0.1, 0.9, 0.0], [0.05, -0.1, 0.9]];
/// nm; the third atom lies outside the box.
const X: [[f64; 3]; 4] = [[0.01, 0.02, 0.03], [0.11, 0.04, 0.02], [-0.30, 1.30, 0.50], [0.66, 0.42, 0.47]];

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/models/tiny.dp")
}

/// Symbols of the model's types 0 and 1.
fn symbols() -> [String; 2] {
    let model = load(&model(), &LoadOptions::default()).unwrap();
    [model.type_map[0].clone(), model.type_map[1].clone()]
}

/// Energy (kJ/mol), forces (kJ/mol/nm), virial of PLUMED's sign (kJ/mol).
fn direct(types: &[i32], x: &[[f64; 3]], cell: Option<[[f64; 3]; 3]>) -> (f64, Vec<[f64; 3]>, [[f64; 3]; 3]) {
    let model = Arc::new(load(&model(), &LoadOptions::default()).unwrap());
    let mut calculator = create(model, types, &CpuOptions::default()).unwrap();
    let x: Vec<[f64; 3]> = x.iter().map(|v| v.map(|c| c * 10.0)).collect();
    let cell = cell.map(|rows| rows.map(|v| v.map(|c| c * 10.0)));
    let mut r = Results::default();
    calculator.compute(&x, cell.as_ref(), &FrameParameters::default(), Request::default(), &mut r).unwrap();
    let forces = r.forces.iter().map(|f| f.map(|c| c * 10.0 * KJ_MOL)).collect();
    (r.energy * KJ_MOL, forces, r.virial.map(|row| row.map(|c| -c * KJ_MOL)))
}

/// Forces and virial that a step adds.
type Added = (Vec<[f64; 3]>, [[f64; 3]; 3]);

/// An MD code that talks through the table.
struct Client {
    object: *mut c_void,
}

impl Client {
    fn cmd<T: ?Sized>(&self, key: &str, value: &T) -> Result<(), String> {
        self.raw(key, (&raw const *value).cast())
    }

    fn raw(&self, key: &str, value: *const c_void) -> Result<(), String> {
        unsafe extern "C" fn keep(ptr: *mut c_void, code: c_int, text: *const c_char, _: *const c_void) {
            assert_eq!(code, 20200);
            // SAFETY: the slot below; a text.
            unsafe { *ptr.cast::<String>() = CStr::from_ptr(text).to_str().unwrap().into() }
        }
        let mut said = String::new();
        let handler = Handler { ptr: (&raw mut said).cast(), handler: Some(keep) };
        let key = CString::new(key).unwrap();
        // SAFETY: values are what the commands expect.
        unsafe { (plumed_symbol_table.cmd_nothrow)(self.object, key.as_ptr(), value, handler) };
        if said.is_empty() {
            Ok(())
        } else {
            Err(said)
        }
    }

    /// Everything before the first step.
    fn start(precision: c_int, file: &Path, natoms: usize, restart: bool) -> Result<Self, String> {
        let client = Client { object: plumed_plumedmain_create() };
        client.cmd("setRealPrecision", &precision)?;
        for key in ["setMDEnergyUnits", "setMDLengthUnits", "setMDTimeUnits"] {
            client.real(precision, key, 1.0)?;
        }
        let file = CString::new(file.to_str().unwrap()).unwrap();
        client.raw("setPlumedDat", file.as_ptr().cast())?;
        let mut version: c_int = 0;
        client.raw("getApiVersion", (&raw mut version).cast())?;
        assert!(version >= 4);
        if restart {
            client.cmd("setRestart", &(1 as c_int))?;
        }
        client.cmd("setNatoms", &(natoms as c_int))?;
        client.real(precision, "setTimestep", 0.5)?;
        client.raw("init", std::ptr::null())?;
        Ok(client)
    }

    fn real(&self, precision: c_int, key: &str, x: f64) -> Result<(), String> {
        if precision == 4 {
            self.cmd(key, &(x as f32))
        } else {
            self.cmd(key, &x)
        }
    }

    /// A step in double precision.
    fn step(&self, step: c_long, x: &[[f64; 3]], cell: &[[f64; 3]; 3]) -> Result<Added, String> {
        let (mut forces, mut virial) = (vec![[7.0; 3]; x.len()], [[3.0; 3]; 3]);
        self.cmd("setStepLong", &step)?;
        self.cmd("setPositions", x)?;
        self.cmd("setBox", cell)?;
        self.raw("setForces", forces.as_mut_ptr().cast())?;
        self.raw("setVirial", virial.as_mut_ptr().cast())?;
        self.raw("performCalc", std::ptr::null())?;
        Ok((forces.iter().map(|f| f.map(|c| c - 7.0)).collect(), virial.map(|r| r.map(|c| c - 3.0))))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: made by create.
        unsafe { plumed_plumedmain_finalize(self.object) }
    }
}

fn close(a: &[[f64; 3]], b: &[[f64; 3]], bound: f64) {
    assert_eq!(a.len(), b.len());
    for (u, v) in a.as_flattened().iter().zip(b.as_flattened()) {
        assert!((u - v).abs() < bound, "{a:?}\n{b:?}");
    }
}

/// A configuration in a folder of its own; `text` comes after model and options.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.dat");
    let log = folder.path().join("e.xvg");
    let head = format!("model {}\noptions threads=1 precision=f64\nenergy_log {}\n", model().display(), log.display());
    std::fs::write(&path, head + text).unwrap();
    (folder, path)
}

fn logged(folder: &Path) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(folder.join("e.xvg")).unwrap();
    let rows = text.lines().filter(|l| !l.starts_with(['#', '@']));
    rows.map(|l| l.split_whitespace().map(|w| w.parse().unwrap()).collect()).collect()
}

#[test]
fn forces_and_virial_are_added_in_the_units_of_gromacs() {
    let [a, b] = symbols();
    let (folder, path) = file(&format!("element {a} 1-4:3\nelement {b} 2 3\nenergy_every 2\n"));
    let client = Client::start(8, &path, 4, false).unwrap();
    let (energy, forces, virial) = direct(&[0, 1, 1, 0], &X, Some(BOX));
    for step in 0..3 {
        let (f, v) = client.step(step, &X, &BOX).unwrap();
        close(&f, &forces, 1e-8);
        close(&v, &virial, 1e-8);
    }
    let rows = logged(folder.path());
    assert_eq!(rows.iter().map(|r| r[0]).collect::<Vec<_>>(), [0.0, 1.0]);
    for r in rows {
        assert!((r[1] - energy).abs() < 1e-9 && (r[2] + virial[0][0]).abs() < 1e-7, "{r:?} {energy} {virial:?}");
    }
}

#[test]
fn the_virial_is_the_derivative_of_the_energy_by_strain() {
    let [a, b] = symbols();
    let (_folder, path) = file(&format!("element {a} 1 4\nelement {b} 2 3\n"));
    let client = Client::start(8, &path, 4, false).unwrap();
    let (_, v) = client.step(0, &X, &BOX).unwrap();
    let strained = |s: f64| {
        let stretch = |p: [f64; 3]| [p[0] * (1.0 + s), p[1], p[2]];
        direct(&[0, 1, 1, 0], &X.map(stretch), Some(BOX.map(stretch))).0
    };
    let h = 1e-4;
    let slope = (strained(h) - strained(-h)) / (2.0 * h);
    // PLUMED's sign: minus the sum of r (x) F, which is dE/d(strain).
    assert!((v[0][0] - slope).abs() < 1e-4 * slope.abs().max(1.0), "{v:?} {slope}");
}

#[test]
fn a_group_leaves_the_other_atoms_alone_and_local_order_is_followed() {
    let [a, b] = symbols();
    let (_folder, path) = file(&format!("element {a} 4\nelement {b} 2\ngroup 2,4\npbc no\n"));
    let client = Client::start(8, &path, 4, false).unwrap();
    let (_, forces, _) = direct(&[1, 0], &[X[1], X[3]], None);
    let (f, _) = client.step(0, &X, &BOX).unwrap();
    close(&f, &[[0.0; 3], forces[0], [0.0; 3], forces[1]], 1e-8);
    // Local atom k is global atom order[k].
    let order: [c_int; 4] = [3, 0, 1, 2];
    client.cmd("setAtomsNlocal", &(4 as c_int)).unwrap();
    client.cmd("setAtomsGatindex", &order).unwrap();
    let (f, _) = client.step(1, &order.map(|k| X[k as usize]), &BOX).unwrap();
    close(&f, &[forces[1], [0.0; 3], forces[0], [0.0; 3]], 1e-8);
    // An index that is not a permutation, and a rank with a part of the atoms.
    client.cmd("setAtomsGatindex", &[3, 0, 1, 1]).unwrap();
    assert!(client.step(2, &X, &BOX).unwrap_err().contains("setAtomsGatindex: atom 1 is twice there"));
    client.cmd("setAtomsNlocal", &(3 as c_int)).unwrap();
    let said = client.step(2, &X, &BOX).unwrap_err();
    assert!(said.contains("3 of 4 atoms") && said.contains("one rank"), "{said}");
    // Errors leave it usable.
    let (f, _) = client.step(2, &X, &BOX).unwrap();
    close(&f, &[[0.0; 3], forces[0], [0.0; 3], forces[1]], 1e-8);
}

#[test]
fn a_run_that_goes_on_appends_to_the_log_from_its_checkpoint() {
    let [a, b] = symbols();
    let (folder, path) = file(&format!("element {a} 1 4\nelement {b} 2 3\nenergy_every 1\n"));
    let times = || logged(folder.path()).iter().map(|r| r[0]).collect::<Vec<_>>();
    let client = Client::start(8, &path, 4, false).unwrap();
    (0..4).for_each(|k| drop(client.step(k, &X, &BOX).unwrap()));
    drop(client);
    let client = Client::start(8, &path, 4, true).unwrap();
    client.step(2, &X, &BOX).unwrap();
    assert_eq!(times(), [0.0, 0.5, 1.0]);
    drop(client);
    let client = Client::start(8, &path, 4, false).unwrap();
    client.step(0, &X, &BOX).unwrap();
    assert_eq!(times(), [0.0]);
    assert!(folder.path().join("#e.xvg.1#").is_file());
}

#[test]
fn a_structure_tells_the_elements_and_an_index_file_the_group() {
    let [a, b] = symbols();
    let (folder, path) = file("structure s.xyz\nindex i.ndx\ngroup Pair\npbc no\n");
    let rows =
        [&a, &b, &b, &a].iter().zip(X).map(|(s, x)| format!("{s} {} {} {}\n", x[0], x[1], x[2])).collect::<String>();
    std::fs::write(folder.path().join("s.xyz"), format!("4\n\n{rows}")).unwrap();
    std::fs::write(folder.path().join("i.ndx"), "[ System ]\n1 2 3 4\n[ Pair ]\n1 2\n").unwrap();
    let client = Client::start(8, &path, 4, false).unwrap();
    let (f, _) = client.step(0, &X, &BOX).unwrap();
    let (_, forces, _) = direct(&[0, 1], &X[..2], None);
    close(&f, &[forces[0], forces[1], [0.0; 3], [0.0; 3]], 1e-8);
    let said = Client::start(8, &path, 5, false).err().unwrap();
    assert!(said.contains("s.xyz: 4 atoms, but the run has 5"), "{said}");
    std::fs::write(folder.path().join("i.ndx"), "[ System ]\n1 2 3 4\n").unwrap();
    let said = Client::start(8, &path, 4, false).err().unwrap();
    assert!(said.contains("no group \"Pair\"; there are: System"), "{said}");
}

#[test]
fn what_is_wrong_reaches_the_md_code() {
    let [a, b] = symbols();
    let refused = |text: &str| {
        let (_folder, path) = file(text);
        Client::start(8, &path, 4, false).err().unwrap_or_else(|| panic!("{text}: accepted"))
    };
    for (text, told) in [
        (format!("elment {a} 1-4"), "weir.dat: line 4: unknown key \"elment\", did you mean \"element\"?"),
        (format!("element {a} 1-3"), "atom 4 has no element"),
        (format!("element {a} 1-4\nelement {b} 2"), "atom 2 is"),
        (format!("element {a} 1-5"), "atom 5 is none of the run's 4"),
        (format!("element {a} 1-3\nelement Uuo 4"), "atom 4 is Uuo, which the model does not know"),
        ("element X 1-4".to_string(), "sees no atom"),
        (format!("element {a} 1-4\ngroup 1 2 2"), "atom 2 is twice in the group"),
        (format!("element {a} 1-4\ngroup 9"), "the group has atom 9"),
        (format!("element {a} 1-4\nplumed_kernel /none.so\nplumed_file p.dat"), "plumed_kernel /none.so"),
    ] {
        let said = refused(&text);
        assert!(said.starts_with("Weir: ") && said.contains(told), "{text}: {said}");
    }
    let client = Client { object: plumed_plumedmain_create() };
    for (key, told) in [
        ("setEnergy", "\"setEnergy\", which Weir does not know"),
        ("performCalc", "performCalc before init"),
        ("init", "init before setPlumedDat"),
    ] {
        let said = client.cmd(key, &0.0).unwrap_err();
        assert!(said.contains(told), "{said}");
    }
    // A second init says so, and one after a model that cannot be opened says what the first said.
    let (_folder, path) = file(&format!("element {a} 1-4"));
    let run = Client::start(8, &path, 4, false).unwrap();
    assert!(run.raw("init", std::ptr::null()).unwrap_err().contains("init was given before"));
    run.step(0, &X, &BOX).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("weir.dat");
    std::fs::write(&absent, format!("model none.dp\nelement {a} 1-4\n")).unwrap();
    let again = Client { object: plumed_plumedmain_create() };
    let name = CString::new(absent.to_str().unwrap()).unwrap();
    again.raw("setPlumedDat", name.as_ptr().cast()).unwrap();
    again.cmd("setNatoms", &(4 as c_int)).unwrap();
    for _ in 0..2 {
        assert!(again.raw("init", std::ptr::null()).unwrap_err().contains("none.dp"));
    }
    assert!(client.cmd("setRealPrecision", &(2 as c_int)).unwrap_err().contains("2 bytes"));
    assert!(client.raw("setForces", std::ptr::null()).unwrap_err().contains("the value is null"));
    assert!(client
        .raw("setPlumedDat", c"/no/such/weir.dat".as_ptr().cast())
        .unwrap_err()
        .contains("/no/such/weir.dat"));
    // Null objects and handlers that nobody calls are harmless.
    // SAFETY: null is allowed.
    unsafe { plumed_plumedmain_finalize(std::ptr::null_mut()) };
    // SAFETY: a command without a value.
    assert!(unsafe { Kernel::new().command(c"init", std::ptr::null()) }.is_err());
}

/// Compiles a C file; false where there is no compiler.
fn compile(source: &str, out: &Path, flags: &[&str]) -> bool {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let done = Command::new("gcc")
        .args(["-std=gnu99", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(out)
        .arg(here.join("tests").join(source))
        .args(flags)
        .arg("-ldl")
        .output();
    let Ok(done) = done else {
        eprintln!("skipped: gcc is not here");
        return false;
    };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    true
}

fn library() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let found = here.ancestors().skip(1).take(2).map(|d| d.join("libweir.so")).find(|p| p.is_file());
    found.expect("libweir.so is built with the tests")
}

fn run(program: &Path, arguments: &[&str], env: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(program);
    command.arg(library()).args(arguments).current_dir(program.parent().unwrap());
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("WEIR_")) {
        command.env_remove(name);
    }
    command.envs(env.iter().copied()).output().unwrap()
}

fn said(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

#[test]
fn a_c_program_that_opens_the_library_as_gromacs_does_gets_the_numbers_and_the_errors() {
    let [a, b] = symbols();
    let (folder, path) = file(&format!("element {a} 1\nelement {b} 2\n"));
    let program = folder.path().join("mdcode");
    if !compile("mdcode.c", &program, &[]) {
        return;
    }
    let x = [X[0], X[1]].map(|v| v.map(|c| f64::from(c as f32)));
    let side = f64::from(0.9f32);
    let (_, forces, virial) = direct(&[0, 1], &x, Some([[side, 0.0, 0.0], [0.0, side, 0.0], [0.0, 0.0, side]]));
    let expected: Vec<f64> = forces.as_flattened().iter().chain(virial.as_flattened()).copied().collect();
    let scale = expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    for way in ["table", "plain"] {
        let done = run(&program, &[way, path.to_str().unwrap()], &[]);
        assert!(done.status.success(), "{}{}", said(&done.stdout), said(&done.stderr));
        let out = said(&done.stdout);
        assert_eq!(out.lines().count(), 2);
        for line in out.lines() {
            for (k, w) in line.split_whitespace().enumerate() {
                assert!((w.parse::<f64>().unwrap() - expected[k]).abs() < 2e-6 * scale, "{line}\n{expected:?}");
            }
        }
    }
    std::fs::write(&path, "modle x").unwrap();
    let done = run(&program, &["table", path.to_str().unwrap()], &[]);
    assert_eq!(done.status.code(), Some(3), "{}", said(&done.stderr));
    assert!(said(&done.stdout).contains("error 20200 at setPlumedDat: Weir: "), "{}", said(&done.stdout));
    // Without a way for errors the process ends.
    let done = run(&program, &["plain", path.to_str().unwrap()], &[]);
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done.stderr).contains("did you mean \"model\"?"), "{}", said(&done.stderr));
    let (_folder, path) = file(&format!("element {a} 1\nelement {b} 2\n"));
    let done = run(&program, &["table", path.to_str().unwrap(), "ranks"], &[]);
    assert!(
        said(&done.stdout).contains("error 20200 at setMPIComm") || said(&done.stdout).contains("one rank only"),
        "{}",
        said(&done.stdout)
    );
}

#[test]
fn a_real_kernel_behind_gets_every_command_and_adds_its_forces() {
    let [a, b] = symbols();
    for (kind, flags) in [("table", vec!["-shared", "-fPIC", "-DTABLE"]), ("functions", vec!["-shared", "-fPIC"])] {
        let (folder, path) = file(&format!("element {a} 1\nelement {b} 2\n"));
        let program = folder.path().join("mdcode");
        let behind = folder.path().join("behind.so");
        if !compile("mdcode.c", &program, &[]) || !compile("behind.c", &behind, &flags) {
            return;
        }
        let numbers = |out: &str| out.split_whitespace().map(|w| w.parse::<f64>().unwrap()).collect::<Vec<_>>();
        let alone = run(&program, &["table", path.to_str().unwrap()], &[]);
        let alone = numbers(&said(&alone.stdout));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + "plumed_kernel ./behind.so\nplumed_file plumed.dat\n").unwrap();
        let log = folder.path().join("told");
        let done = run(&program, &["table", path.to_str().unwrap()], &[("BEHIND_LOG", &log)]);
        assert!(done.status.success(), "{}{}", said(&done.stdout), said(&done.stderr));
        let both = numbers(&said(&done.stdout));
        assert_eq!(both.len(), alone.len());
        for (k, (u, v)) in both.iter().zip(&alone).enumerate() {
            let more = match k % 15 {
                0 => 100.0,
                6 => 10.0,
                _ => 0.0,
            };
            assert!((u - v - more).abs() < 1e-3, "{kind} {k}: {u} {v}");
        }
        let told = std::fs::read_to_string(&log).unwrap();
        let start = "setRealPrecision 4\nsetMDEnergyUnits 1\nsetMDLengthUnits 1\nsetMDTimeUnits 1\nsetPlumedDat /plumed.dat\ngetApiVersion\nsetKbT 2.5\nsetNatoms\nsetMDEngine\nsetLogFile\nsetTimestep 0.0005\ninit\nsetStepLong\n";
        assert!(told.starts_with(start), "{told}");
        assert!(told.ends_with("doCheckPoint\nfinalize\n") && told.matches("performCalc").count() == 2, "{told}");
        if kind == "table" {
            let fails = Path::new("init");
            let done =
                run(&program, &["table", path.to_str().unwrap()], &[("BEHIND_LOG", &log), ("BEHIND_FAILS", fails)]);
            assert!(
                said(&done.stdout).contains("error 20200 at init: Weir: PLUMED, init: no such action"),
                "{}",
                said(&done.stdout)
            );
        }
    }
    // Weir behind Weir would go round for ever.
    let (_folder, path) =
        file(&format!("element {a} 1\nelement {b} 2\nplumed_kernel {}\nplumed_file p.dat\n", library().display()));
    let (folder, _) = file("");
    let program = folder.path().join("mdcode");
    if compile("mdcode.c", &program, &[]) {
        let done = run(&program, &["table", path.to_str().unwrap()], &[]);
        assert!(said(&done.stdout).contains("this is Weir's own library"), "{}", said(&done.stdout));
    }
}
