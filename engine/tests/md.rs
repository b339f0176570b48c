//! Promises of molecular dynamics, on calculators with known physics.
#![allow(missing_docs)]

mod toy;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use toy::{lattice, LennardJones, Wells};
use weir_engine::backend::{Calculator, FrameParameters};
use weir_engine::md::units::{BOLTZMANN, KINETIC};
use weir_engine::md::*;
use weir_engine::structure::Structure;

const LIMITS: Limits = Limits { temperature: 1e6, displacement: 10.0 };

fn settings(timestep: f64, thermostat: Thermostat) -> Settings {
    Settings { timestep, thermostat, seed: 42, remove_momentum_every: 0, limits: LIMITS }
}

fn structure(symbol: &str, positions: Vec<[f64; 3]>, cell: Option<[[f64; 3]; 3]>) -> Structure {
    Structure { symbols: vec![symbol.into(); positions.len()], positions, cell, ..Structure::default() }
}

fn simulation(
    s: &Structure,
    calculator: Box<dyn Calculator>,
    set: Settings,
    start: f64,
    frozen: &[usize],
) -> Simulation {
    let mut marks = vec![false; s.len()];
    frozen.iter().for_each(|i| marks[*i] = true);
    let system = System::new(s, &BTreeMap::new(), marks).unwrap();
    let velocities = system.maxwell(start, 7, false);
    let state = State { positions: s.positions.clone(), velocities, ..State::default() };
    let mut simulation = Simulation::new(system, state, set, calculator, FrameParameters::default(), &[]).unwrap();
    simulation.start().unwrap();
    simulation
}

fn argon(set: Settings) -> Simulation {
    let (positions, cell) = lattice(4, 4.0);
    simulation(&structure("Ar", positions, Some(cell)), Box::new(LennardJones::argon()), set, 120.0, &[])
}

fn wells(n: usize) -> (Structure, Box<Wells>) {
    let centres = vec![[0.0; 3]; n];
    (structure("Ar", centres.clone(), None), Box::new(Wells::new(2.0, centres)))
}

#[test]
fn nve_conserves_energy_to_second_order_in_the_time_step() {
    let drift = |timestep: f64, steps: usize| {
        let mut md = argon(settings(timestep, Thermostat::None));
        let first = md.sample().conserved;
        let mut worst: f64 = 0.0;
        for _ in 0..steps {
            md.step().unwrap();
            worst = worst.max((md.sample().conserved - first).abs());
        }
        let moved: f64 = md.state().velocities.iter().flatten().map(|v| v.abs()).sum();
        assert!(moved > 1.0);
        worst / 64.0
    };
    let (coarse, fine) = (drift(0.01, 200), drift(0.005, 400));
    assert!(coarse < 2e-5, "{coarse} eV per atom");
    assert!(coarse / fine > 3.0 && coarse / fine < 5.5, "{coarse} / {fine}: a second-order method gives 4");
}

#[test]
fn nve_is_the_exact_oscillator_within_its_order() {
    // One atom in a well: x(t) = cos(w t), w^2 = k / m.
    let s = structure("Ar", vec![[0.1, 0.0, 0.0]], None);
    let mut md = simulation(&s, Box::new(Wells::new(2.0, vec![[0.0; 3]])), settings(1e-3, Thermostat::None), 0.0, &[]);
    let w = (2.0 / (KINETIC * 39.95f64)).sqrt();
    for n in 1..=2000 {
        md.step().unwrap();
        let exact = 0.1 * (w * n as f64 * 1e-3).cos();
        assert!((md.state().positions[0][0] - exact).abs() < 2e-4, "step {n}");
    }
}

/// Mean of x^2 and v^2 of many wells over a run, in units of their exact values kT/k and kT/m.
fn oscillator_moments(thermostat: Thermostat, timestep: f64, steps: usize) -> (f64, f64, f64, f64) {
    let (s, calculator) = wells(400);
    let mut md = simulation(&s, calculator, settings(timestep, thermostat), 300.0, &[]);
    let (mut x2, mut v2, mut k1, mut k2) = (0.0, 0.0, 0.0, 0.0);
    for n in 0..steps {
        md.step().unwrap();
        if n < steps / 4 {
            continue;
        }
        x2 += md.state().positions.iter().flatten().map(|x| x * x).sum::<f64>();
        v2 += md.state().velocities.iter().flatten().map(|v| v * v).sum::<f64>();
        let kinetic = md.sample().kinetic;
        k1 += kinetic;
        k2 += kinetic * kinetic;
    }
    let count = (steps - steps / 4) as f64;
    let thermal = BOLTZMANN * 300.0;
    let (mean, square) = (k1 / count, k2 / count);
    let spread = (square - mean * mean) / (0.5 * thermal * thermal * 1200.0);
    (
        x2 / (1200.0 * count) * 2.0 / thermal,
        v2 / (1200.0 * count) * KINETIC * 39.95 / thermal,
        mean / (600.0 * thermal),
        spread,
    )
}

#[test]
fn baoab_samples_the_oscillator_exactly_in_position_at_a_long_time_step() {
    // w d = 0.9, close to the stability limit of 2: BAOAB's positions stay exact, its velocities are off by the known 1 - (w d / 2)^2.
    let w = (2.0 / (KINETIC * 39.95f64)).sqrt();
    let (x2, v2, _, _) = oscillator_moments(Thermostat::Langevin { temperature: 300.0, friction: 5.0 }, 0.9 / w, 4000);
    assert!((x2 - 1.0).abs() < 0.01, "{x2}");
    assert!((v2 / (1.0 - 0.45f64.powi(2)) - 1.0).abs() < 0.01, "{v2}");
}

#[test]
fn stochastic_rescaling_gives_the_canonical_mean_and_spread_of_the_kinetic_energy() {
    let (_, _, mean, spread) =
        oscillator_moments(Thermostat::Rescale { temperature: 300.0, time: 0.02 }, 0.004, 20_000);
    assert!((mean - 1.0).abs() < 0.01, "{mean}");
    assert!((spread - 1.0).abs() < 0.15, "variance {spread} of the canonical one");
}

#[test]
fn a_thermostat_heats_a_cold_system_to_its_temperature() {
    for thermostat in [
        Thermostat::Langevin { temperature: 300.0, friction: 20.0 },
        Thermostat::Rescale { temperature: 300.0, time: 0.05 },
    ] {
        let (s, calculator) = wells(300);
        let mut md = simulation(&s, calculator, settings(0.004, thermostat), 30.0, &[]);
        (0..1000).for_each(|_| md.step().unwrap());
        let mut mean = 0.0;
        for _ in 0..1000 {
            md.step().unwrap();
            mean += md.sample().temperature / 1000.0;
        }
        assert!((mean / 300.0 - 1.0).abs() < 0.05, "{thermostat:?}: {mean} K");
    }
}

#[test]
fn the_conserved_quantity_of_a_thermostat_stands_still() {
    for thermostat in [
        Thermostat::Langevin { temperature: 120.0, friction: 2.0 },
        Thermostat::Rescale { temperature: 120.0, time: 0.1 },
    ] {
        let set = Settings { remove_momentum_every: 1, ..settings(0.004, thermostat) };
        let mut md = argon(set);
        let first = md.sample();
        (0..1000).for_each(|_| md.step().unwrap());
        let last = md.sample();
        assert!((last.conserved - first.conserved).abs() / 64.0 < 5e-5, "{thermostat:?}: {first:?} {last:?}");
        assert!(md.state().exchanged.abs() > 1e-3, "heat did flow");
    }
}

#[test]
fn momentum_is_removed_and_counted_out_of_the_temperature() {
    let set = Settings {
        remove_momentum_every: 1,
        ..settings(0.002, Thermostat::Langevin { temperature: 300.0, friction: 10.0 })
    };
    let (s, calculator) = wells(10);
    let mut md = simulation(&s, calculator, set, 300.0, &[]);
    assert_eq!(md.system().degrees_of_freedom(), 27);
    let mut mean = 0.0;
    for _ in 0..20_000 {
        md.step().unwrap();
        mean += md.sample().temperature / 20_000.0;
        let p: f64 = md.state().velocities.iter().map(|v| v[1]).sum();
        assert!(p.abs() < 1e-9);
    }
    assert!((mean / 300.0 - 1.0).abs() < 0.03, "{mean}");
}

#[test]
fn frozen_atoms_do_not_move() {
    for thermostat in [
        Thermostat::None,
        Thermostat::Langevin { temperature: 300.0, friction: 10.0 },
        Thermostat::Rescale { temperature: 300.0, time: 0.1 },
    ] {
        let (positions, cell) = lattice(4, 4.0);
        let s = structure("Ar", positions, Some(cell));
        let mut md = simulation(&s, Box::new(LennardJones::argon()), settings(0.004, thermostat), 300.0, &[0, 21, 63]);
        (0..100).for_each(|_| md.step().unwrap());
        for i in 0..64 {
            assert_eq!(md.state().positions[i] == s.positions[i], [0, 21, 63].contains(&i), "atom {i}");
        }
        assert_eq!(md.state().velocities[21], [0.0; 3]);
    }
}

#[test]
fn the_pressure_of_a_lattice_gas_without_forces_is_that_of_the_ideal_gas() {
    let cell = [[20.0, 0.0, 0.0], [0.0, 20.0, 0.0], [0.0, 0.0, 20.0]];
    let centres = vec![[0.0; 3]; 50];
    let s = structure("Ar", centres.clone(), Some(cell));
    let md = simulation(&s, Box::new(Wells::new(0.0, centres)), settings(0.001, Thermostat::None), 300.0, &[]);
    let sample = md.sample();
    // Components free to move: 150, so N kT counts with the kinetic temperature of 150.
    let ideal = 50.0 * 1.380_649e-23 * sample.temperature / 8000e-30 / 1e5;
    assert!((sample.pressure.unwrap() / ideal - 1.0).abs() < 1e-9);
}

#[test]
fn senseless_settings_are_refused() {
    let build = |set: Settings, frozen: Vec<bool>| {
        let (s, calculator) = wells(3);
        let system = System::new(&s, &BTreeMap::new(), frozen).unwrap();
        let state = State { positions: s.positions.clone(), velocities: vec![[0.0; 3]; 3], ..State::default() };
        Simulation::new(system, state, set, calculator, FrameParameters::default(), &[]).err().map(|e| e.to_string())
    };
    let good = settings(0.001, Thermostat::None);
    assert_eq!(build(good, vec![false; 3]), None);
    assert!(build(settings(f64::NAN, Thermostat::None), vec![false; 3]).unwrap().contains("md.timestep_fs"));
    let cold = Thermostat::Langevin { temperature: -1.0, friction: 1.0 };
    assert!(build(settings(0.001, cold), vec![false; 3]).unwrap().contains("md.temperature_K"));
    let removing = Settings { remove_momentum_every: 10, ..good };
    assert!(build(removing, vec![true, false, false]).unwrap().contains("md.remove_com_every"));
    assert!(build(good, vec![true; 3]).unwrap().contains("frozen"));
}

#[test]
fn a_runaway_stops_with_the_last_good_state() {
    // A time step beyond the stability limit: the wells explode.
    let (s, calculator) = wells(5);
    let w = (2.0 / (KINETIC * 39.95f64)).sqrt();
    let limits = Limits { temperature: 2000.0, displacement: 1e3 };
    let mut md = simulation(&s, calculator, Settings { limits, ..settings(2.5 / w, Thermostat::None) }, 300.0, &[]);
    let error = loop {
        if let Err(e) = md.step() {
            break e;
        }
        assert!(md.state().step < 1000);
    };
    assert!(matches!(error, MdError::Temperature { .. }), "{error}");
    assert!(md.sample().temperature <= 2000.0);
    assert!(md.state().positions.iter().flatten().all(|x| x.is_finite()));

    let limits = Limits { temperature: 1e9, displacement: 0.5 };
    let (s, calculator) = wells(5);
    let mut md = simulation(&s, calculator, Settings { limits, ..settings(2.5 / w, Thermostat::None) }, 300.0, &[]);
    let error = (0..1000).find_map(|_| md.step().err()).unwrap();
    assert!(error.to_string().contains("max_displacement_A") || error.to_string().contains("limit 0.5 A"), "{error}");

    let (s, mut calculator) = wells(5);
    calculator.fails_at_call = Some(4);
    let mut md = simulation(&s, calculator, settings(0.001, Thermostat::None), 300.0, &[]);
    let error = (0..10).find_map(|_| md.step().err()).unwrap();
    assert!(error.to_string().starts_with("step 3"), "{error}");
    assert_eq!(md.state().step, 2);
}

// ---- whole runs: outputs, restart, resume -------------------------------------------------------------------------------------------

const KEYS: [&str; 3] = ["log.csv", "frames", "restart"];

/// Opens a run in `folder`, new or resumed, and runs it until `stop_at`.
fn segment(folder: &Path, thermostat: Thermostat, steps: u64, stop_at: u64, resume: bool) -> Result<Outcome, RunError> {
    let (positions, cell) = lattice(3, 4.0);
    let s = structure("Ar", positions, Some(cell));
    let mut set = settings(0.004, thermostat);
    set.remove_momentum_every = 7;
    let schedule = Schedule {
        steps,
        energy_every: 3,
        trajectory_every: 10,
        // Every step of the short runs: synchronising takes its time.
        restart_every: if steps > 60 { Duration::from_secs(900) } else { Duration::ZERO },
        restart: folder.join(KEYS[2]),
        settings: vec![("seed".into(), "42".into())],
        deadline: None,
    };
    let system = System::new(&s, &BTreeMap::new(), vec![false; s.len()]).unwrap();
    let paths = [folder.join(KEYS[0]), folder.join(KEYS[1])];
    let calculator = Box::new(LennardJones::argon());
    let (mut md, keep) = if resume {
        let restart = Restart::read(&schedule.restart)?;
        let keep = output::lengths(&paths, &restart.outputs)?;
        (Simulation::new(system, restart.state, set, calculator, FrameParameters::default(), &restart.order)?, keep)
    } else {
        let velocities = system.maxwell(90.0, 3, true);
        let state = State { positions: s.positions.clone(), velocities, ..State::default() };
        (Simulation::new(system, state, set, calculator, FrameParameters::default(), &[])?, vec![0, 0])
    };
    let mut outputs = Outputs {
        energies: EnergyLog::open(&paths[0], keep[0])?,
        trajectories: vec![FrameFile::open(&paths[1], TrajectoryFormat::Extxyz, keep[1])?],
    };
    let here = std::cell::Cell::new(md.state().step);
    let stop = || (here.get() >= stop_at).then_some(StopReason::Signal(15));
    run(&mut md, &mut outputs, &schedule, &stop, &mut |p| here.set(p.simulation.state().step))
}

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    KEYS.iter().map(|k| std::fs::read(folder.join(k)).unwrap()).collect()
}

const THERMOSTATS: [Thermostat; 3] = [
    Thermostat::None,
    Thermostat::Langevin { temperature: 90.0, friction: 3.0 },
    Thermostat::Rescale { temperature: 90.0, time: 0.05 },
];

#[test]
fn an_interrupted_run_equals_an_uninterrupted_one_bit_for_bit() {
    // Beyond step 1000, so that the order is renewed between.
    for thermostat in THERMOSTATS {
        let whole = tempfile::tempdir().unwrap();
        assert_eq!(segment(whole.path(), thermostat, 1100, u64::MAX, false).unwrap(), Outcome::Finished);
        let parts = tempfile::tempdir().unwrap();
        for (n, stop) in [(0, 0), (1, 1), (2, 400), (3, 999), (4, 1000), (5, 1011), (6, u64::MAX)] {
            let outcome = segment(parts.path(), thermostat, 1100, stop, n > 0).unwrap();
            assert_eq!(outcome == Outcome::Finished, stop == u64::MAX);
        }
        assert_eq!(bytes(whole.path()), bytes(parts.path()), "{thermostat:?}");
    }
}

#[test]
fn a_killed_run_resumes_from_its_last_restart_file_without_duplicate_frames() {
    let thermostat = THERMOSTATS[1];
    let whole = tempfile::tempdir().unwrap();
    segment(whole.path(), thermostat, 60, u64::MAX, false).unwrap();
    for (saved, killed) in [(0, 1), (5, 6), (9, 31), (20, 59), (30, 60)] {
        let folder = tempfile::tempdir().unwrap();
        segment(folder.path(), thermostat, 60, saved, false).unwrap();
        let restart = std::fs::read(folder.path().join(KEYS[2])).unwrap();
        segment(folder.path(), thermostat, 60, killed, true).unwrap();
        // As after a kill: outputs went on, the restart file is older, a half-written frame hangs at the end.
        std::fs::write(folder.path().join(KEYS[2]), restart).unwrap();
        let path = folder.path().join(KEYS[1]);
        let mut frames = std::fs::read(&path).unwrap();
        frames.extend(b"half a frame");
        std::fs::write(&path, frames).unwrap();
        segment(folder.path(), thermostat, 60, u64::MAX, true).unwrap();
        assert_eq!(bytes(whole.path()), bytes(folder.path()), "killed at {killed}, restart of {saved}");
    }
}

#[test]
fn a_longer_run_continues_a_finished_one() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    segment(whole.path(), THERMOSTATS[2], 50, u64::MAX, false).unwrap();
    segment(parts.path(), THERMOSTATS[2], 20, u64::MAX, false).unwrap();
    segment(parts.path(), THERMOSTATS[2], 20, u64::MAX, true).unwrap();
    segment(parts.path(), THERMOSTATS[2], 50, u64::MAX, true).unwrap();
    assert_eq!(bytes(whole.path()), bytes(parts.path()));
}

#[test]
fn a_step_that_cannot_be_computed_leaves_a_restart_file_of_the_state_before_it() {
    for lost in [true, false] {
        a_fourth_call_fails(lost);
    }
}

/// Of a device that is lost, or with a number that is none, as where a system flies apart: there the older restart file is the better one.
fn a_fourth_call_fails(lost: bool) {
    let folder = tempfile::tempdir().unwrap();
    let paths = [folder.path().join(KEYS[0]), folder.path().join(KEYS[1])];
    let (s, mut calculator) = wells(5);
    (calculator.fails_at_call, calculator.lost) = (Some(4), lost);
    let system = System::new(&s, &BTreeMap::new(), vec![false; 5]).unwrap();
    let velocities = system.maxwell(300.0, 7, false);
    let state = State { positions: s.positions.clone(), velocities, ..State::default() };
    let parameters = FrameParameters { charge_spin: Some([-1.0, 2.0]), ..FrameParameters::default() };
    let mut md =
        Simulation::new(system, state, settings(0.001, Thermostat::None), calculator, parameters, &[]).unwrap();
    let mut outputs = Outputs {
        energies: EnergyLog::open(&paths[0], 0).unwrap(),
        trajectories: vec![FrameFile::open(&paths[1], TrajectoryFormat::Extxyz, 0).unwrap()],
    };
    let schedule = Schedule {
        steps: 100,
        energy_every: 1,
        trajectory_every: 1,
        restart_every: Duration::from_secs(900),
        restart: folder.path().join(KEYS[2]),
        settings: vec![],
        deadline: None,
    };
    let error = run(&mut md, &mut outputs, &schedule, &|| None, &mut |_| {}).unwrap_err();
    assert!(error.to_string().starts_with("step 3"), "{error}");
    if !lost {
        assert!(!schedule.restart.exists(), "no older one was due in this run");
        return;
    }
    let restart = Restart::read(&schedule.restart).unwrap();
    assert_eq!((restart.state.step, &restart.state), (2, md.state()));
    // Outputs reach as far as the file says, so that a resumed run goes on from there.
    assert_eq!(output::lengths(&paths, &restart.outputs).unwrap()[0], std::fs::metadata(&paths[0]).unwrap().len());
    assert_eq!(md.frame().charge_spin, Some([-1.0, 2.0]));
}

#[test]
fn a_full_disk_stops_the_run_and_keeps_what_was_written() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: no /dev/full here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    segment(folder.path(), THERMOSTATS[0], 100, 25, false).unwrap();
    let before = bytes(folder.path());
    let restart = Restart::read(&folder.path().join(KEYS[2])).unwrap();
    let (positions, cell) = lattice(3, 4.0);
    let s = structure("Ar", positions, Some(cell));
    let system = System::new(&s, &BTreeMap::new(), vec![false; s.len()]).unwrap();
    let calculator = Box::new(LennardJones::argon());
    let mut md = Simulation::new(
        system,
        restart.state.clone(),
        settings(0.004, Thermostat::None),
        calculator,
        FrameParameters::default(),
        &restart.order,
    )
    .unwrap();
    let mut outputs = Outputs {
        energies: EnergyLog::open(&folder.path().join(KEYS[0]), restart.outputs[0].1).unwrap(),
        trajectories: vec![FrameFile::open(Path::new("/dev/full"), TrajectoryFormat::Xtc, 0).unwrap()],
    };
    let schedule = Schedule {
        steps: 100,
        energy_every: 3,
        trajectory_every: 10,
        restart_every: Duration::from_secs(900),
        restart: folder.path().join(KEYS[2]),
        settings: vec![],
        deadline: None,
    };
    let error = run(&mut md, &mut outputs, &schedule, &|| None, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("/dev/full"), "{error}");
    let after = bytes(folder.path());
    assert!(after[0].starts_with(&before[0]));
    assert_eq!(after[1..], before[1..]);
}

#[test]
fn the_deadline_stops_a_run_with_a_restart_file() {
    let folder = tempfile::tempdir().unwrap();
    segment(folder.path(), THERMOSTATS[0], 10, 5, false).unwrap();
    let restart = Restart::read(&folder.path().join(KEYS[2])).unwrap();
    assert_eq!(restart.state.step, 5);
    let (positions, cell) = lattice(3, 4.0);
    let s = structure("Ar", positions, Some(cell));
    let mut md = simulation(&s, Box::new(LennardJones::argon()), settings(0.001, Thermostat::None), 50.0, &[]);
    let mut outputs =
        Outputs { energies: EnergyLog::open(&folder.path().join("x.csv"), 0).unwrap(), trajectories: vec![] };
    let schedule = Schedule {
        steps: u64::MAX,
        energy_every: 100,
        trajectory_every: 0,
        restart_every: Duration::from_secs(900),
        restart: folder.path().join("x.restart"),
        settings: vec![],
        deadline: Some(std::time::Instant::now() + Duration::from_millis(300)),
    };
    let outcome = run(&mut md, &mut outputs, &schedule, &|| None, &mut |_| {}).unwrap();
    assert_eq!(outcome, Outcome::Stopped(StopReason::Deadline));
    assert_eq!(Restart::read(&schedule.restart).unwrap().state.step, md.state().step);
}
