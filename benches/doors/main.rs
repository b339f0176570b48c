//! What each way in costs over a direct call of the engine, one JSON line a door and size.
//!
//!     cargo build --release -p weir -p weir-c -p deepmd-c
//!     BENCH_PYTHON=python cargo bench --bench doors                    192, 1536 and 9216 atoms (twenty minutes on two cores)
//!     cargo bench --bench doors -- weir_h ipi 192                      these doors, these sizes (98304 is done where it is named: 17 GB, more than six minutes a door on two cores)
//!
//! A direct step and one through the door take turns on the same positions, which move a little from step to step as in a run. Times are medians;
//! CPU seconds are those of both sides: they hold on a machine that does other things too, wall times do not. Python without the package `weir` is left out.
//! The model is `tiny` with random weights; `BENCH_MODEL` names another that knows O and H.
#![allow(missing_docs)]

mod libraries;
mod plumed;
mod processes;
mod system;

use libraries::{Deepmd, Door, Weir};
use plumed::Plumed;
use processes::{Ipi, Python};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use system::System;
use weir_allocators::policy::Layer;
use weir_backends::session::{settle, Session};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::model::{load, LoadOptions, Model};

const DOORS: [&str; 7] = ["weir_h", "weir_h_list", "deepmd_c", "deepmd_c_list", "plumed", "python", "ipi"];
/// Atoms, and how often the example's box stands along each direction.
const SIZES: [(usize, [usize; 3]); 4] = [(192, [1, 1, 1]), (1536, [2, 2, 2]), (9216, [3, 4, 4]), (98304, [8, 8, 8])];
/// A list of an MD code reaches so much farther than the cutoff, A.
const SKIN: f64 = 1.0;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// CPU seconds of this process, all threads.
fn cpu_seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

fn line_of(command: &str, arguments: &[&str]) -> String {
    let out = std::process::Command::new(command).args(arguments).current_dir(root()).output();
    out.map_or("unknown".into(), |o| String::from_utf8_lossy(&o.stdout).trim().to_string())
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(':').nth(1));
    model.map_or(std::env::consts::ARCH.into(), |m| m.trim().to_string())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 {
        values[half]
    } else {
        0.5 * (values[half - 1] + values[half])
    }
}

/// The direct call: the calculator that every door has behind it, with the same settings.
struct Direct {
    calculator: Box<dyn Calculator>,
    results: Results,
    x: Vec<[f64; 3]>,
    cell: [[f64; 3]; 3],
}

impl Direct {
    fn new(model: &Arc<Model>, system: &System) -> Self {
        let layer = weir_allocators::policy::read_process().unwrap().strict().unwrap();
        let (policy, topology, device) = settle(&[layer.environment, Layer::default(), layer.file], false).unwrap();
        let session = Session::new(model.clone(), policy, topology).on(device);
        let (calculator, _) = session.calculator(&system.types).unwrap();
        Direct { calculator, results: Results::default(), x: Vec::new(), cell: system.cell() }
    }
}

impl Door for Direct {
    fn ready(&mut self, system: &System) {
        self.x.clone_from(&system.x);
    }

    fn step(&mut self) {
        let (none, plain) = (FrameParameters::default(), Request::default());
        self.calculator.compute(&self.x, Some(&self.cell), &none, plain, &mut self.results).unwrap();
    }

    fn energy(&self) -> f64 {
        self.results.energy
    }
}

/// Seconds of a step and its energy.
struct Timed {
    wall: f64,
    cpu: f64,
    energy: f64,
}

fn timed(door: &mut dyn Door, system: &System) -> Timed {
    door.ready(system);
    let (there, cpu, wall) = (door.elsewhere().0, cpu_seconds(), Instant::now());
    door.step();
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let energy = door.energy();
    let (more, own) = door.elsewhere();
    match own {
        // The other side's clock: what lies between is not the door's.
        Some(own) => Timed { wall: own, cpu: more - there, energy },
        None => Timed { wall, cpu: cpu + more - there, energy },
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let scratch = tempfile::tempdir().unwrap();
    let release = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf();
    let weir = release.join("weir");
    let path = match std::env::var_os("BENCH_MODEL") {
        Some(path) => std::fs::canonicalize(path).unwrap(),
        None => {
            let path = scratch.path().join("tiny.dp");
            let made = std::process::Command::new(&weir)
                .args(["--quiet", "model", "new", "--preset", "tiny", "-o"])
                .arg(&path)
                .status();
            assert!(made.unwrap().success());
            path
        }
    };
    let python = std::env::var("BENCH_PYTHON").ok();
    let model = Arc::new(load(&path, &LoadOptions::default()).unwrap());
    let asked = |name: &str, all: &[&str]| {
        let of_kind: Vec<&String> = words.iter().filter(|w| all.contains(&w.as_str())).collect();
        if of_kind.is_empty() {
            name != "98304"
        } else {
            of_kind.iter().any(|w| *w == name)
        }
    };
    let sizes: Vec<String> = SIZES.iter().map(|(n, _)| n.to_string()).collect();
    let sizes: Vec<&str> = sizes.iter().map(String::as_str).collect();
    for (atoms, times) in SIZES {
        if !asked(&atoms.to_string(), &sizes) {
            continue;
        }
        for door in DOORS.into_iter().filter(|d| asked(d, &DOORS)) {
            if door == "python" && python.is_none() {
                eprintln!("python: left out, BENCH_PYTHON names no interpreter that has the package");
                continue;
            }
            case(door, atoms, times, &path, &model, &release, &weir, python.as_deref().unwrap_or(""), scratch.path());
        }
    }
}

/// Calculators made anew so often: where a side's memory happens to lie moves its time by several per cent (measured: the same door between
/// -5 and +5 % of CPU from one process to the next), so a median needs several places.
const ROUNDS: usize = 10;

fn case(
    name: &str,
    atoms: usize,
    times: [usize; 3],
    path: &Path,
    model: &Arc<Model>,
    release: &Path,
    weir: &Path,
    python: &str,
    scratch: &Path,
) {
    let mut system = System::water(&root(), times, |s| model.type_of(s).unwrap() as i32);
    assert_eq!(system.len(), atoms);
    let open = |system: &System| -> Box<dyn Door> {
        let ghosts = || system.ghosts(model.descriptor.options.e_rcut + SKIN);
        match name {
            "weir_h" => Box::new(Weir::new(release, path, system, None)),
            "weir_h_list" => Box::new(Weir::new(release, path, system, Some(&ghosts()))),
            "deepmd_c" => Box::new(Deepmd::new(release, path, system, None)),
            "deepmd_c_list" => Box::new(Deepmd::new(release, path, system, Some(ghosts()))),
            "plumed" => Box::new(Plumed::new(release, path, system, scratch)),
            "python" => Box::new(Python::new(python, path, system, scratch)),
            _ => Box::new(Ipi::new(weir, path, system, scratch)),
        }
    };
    let (mut step, mut rows, mut checked) = (0, Vec::new(), 0.0f64);
    // A step of the largest size takes half a minute on two cores: three of each side must do.
    let (rounds, counted) = if atoms > 50_000 { (1, 3) } else { (ROUNDS, (30_000 / atoms).clamp(20, 60)) };
    // The first two pay for memory and plans.
    let pairs = counted.div_ceil(rounds) + 2;
    for round in 0..rounds {
        // Who comes first takes turns, here and in every pair: whoever is second finds what the first left in the caches.
        let early = (round % 2 == 0).then(|| Direct::new(model, &system));
        let mut door = open(&system);
        let mut direct = early.unwrap_or_else(|| Direct::new(model, &system));
        for pair in 0..pairs {
            step += 1;
            system.jiggle(step);
            let (a, b) = if pair % 2 == 0 {
                let a = timed(&mut direct, &system);
                (a, timed(&mut *door, &system))
            } else {
                let b = timed(&mut *door, &system);
                (timed(&mut direct, &system), b)
            };
            checked = checked.max((a.energy - b.energy).abs() / a.energy.abs().max(1.0));
            assert!(checked < 1e-5, "{name}, {atoms} atoms: {} and {} eV", a.energy, b.energy);
            if pair >= 2 {
                rows.push((a, b));
            }
        }
    }
    let of = |f: fn(&(Timed, Timed)) -> f64| median(rows.iter().map(f).collect());
    let line = serde_json::json!({
        "case": format!("door_{name}_{atoms}"), "atoms": atoms, "pairs": rows.len(),
        "direct_wall_s": of(|r| r.0.wall), "door_wall_s": of(|r| r.1.wall),
        "direct_cpu_s": of(|r| r.0.cpu), "door_cpu_s": of(|r| r.1.cpu),
        // Of neighbours in time: what disturbs one disturbs the other.
        "wall_overhead": of(|r| r.1.wall / r.0.wall - 1.0), "cpu_overhead": of(|r| r.1.cpu / r.0.cpu - 1.0),
        "energy_difference": checked,
        "model": path.file_name().map(|n| n.to_string_lossy().into_owned()), "load": std::fs::read_to_string("/proc/loadavg").ok().and_then(|l| l.split(' ').next().map(String::from)),
        "threads": std::env::var("WEIR_THREADS").unwrap_or("all".into()), "machine": machine(),
        "commit": line_of("git", &["rev-parse", "--short", "HEAD"]), "date": line_of("date", &["-u", "+%F"]),
    });
    println!("{line}");
}
