//! Promises of the minimisers, on calculators with known minima.
#![allow(missing_docs)]

mod toy;

use toy::{lattice, LennardJones, Wells};
use weir_engine::backend::FrameParameters;
use weir_engine::minimize::{minimize, Algorithm, Ending, MinimizeError, Options};

const BOTH: [Algorithm; 2] = [Algorithm::Fire, Algorithm::Lbfgs];

#[test]
fn wells_end_at_their_centres() {
    for algorithm in BOTH {
        let centres: Vec<[f64; 3]> = (0..20).map(|i| [i as f64, 0.3 * i as f64, -1.0]).collect();
        let mut positions: Vec<[f64; 3]> =
            centres.iter().enumerate().map(|(i, c)| c.map(|x| x + 0.02 * i as f64)).collect();
        let options = Options { algorithm, fmax: 1e-6, ..Options::default() };
        let mut calculator = Wells::new(3.0, centres.clone());
        let none = vec![false; 20];
        let (ending, status) =
            minimize(&mut positions, None, &none, &mut calculator, &FrameParameters::default(), &options, &mut |_| {
                true
            })
            .unwrap();
        assert_eq!(ending, Ending::Converged, "{algorithm:?} {status:?}");
        for (x, c) in positions.iter().flatten().zip(centres.iter().flatten()) {
            assert!((x - c).abs() < 1e-6);
        }
    }
}

fn rattled() -> (Vec<[f64; 3]>, [[f64; 3]; 3]) {
    let (mut positions, cell) = lattice(4, 3.9);
    for (i, x) in positions.iter_mut().flatten().enumerate() {
        *x += 0.35 * ((i * 7919 % 101) as f64 / 50.0 - 1.0);
    }
    (positions, cell)
}

#[test]
fn a_rattled_crystal_relaxes_without_any_atom_jumping() {
    for algorithm in BOTH {
        let (mut positions, cell) = rattled();
        let start = positions.clone();
        let frozen: Vec<bool> = (0..positions.len()).map(|i| i == 5 || i == 17).collect();
        let options = Options { algorithm, fmax: 1e-4, steps: 3000, max_step: 0.1 };
        let mut energies = Vec::new();
        let (ending, status) = minimize(
            &mut positions,
            Some(&cell),
            &frozen,
            &mut LennardJones::argon(),
            &FrameParameters::default(),
            &options,
            &mut |s| {
                energies.push(s.energy);
                true
            },
        )
        .unwrap();
        assert_eq!(ending, Ending::Converged, "{algorithm:?} {status:?}");
        assert!(status.fmax <= 1e-4 && energies[energies.len() - 1] < energies[0] - 0.1);
        for i in 0..positions.len() {
            assert_eq!(positions[i] == start[i], frozen[i], "atom {i}");
        }
        println!("{algorithm:?}: {} steps, {} calls, {} eV", status.step, status.calls, status.energy);
    }
}

#[test]
fn overlapping_atoms_come_apart() {
    for algorithm in BOTH {
        let (mut positions, cell) = rattled();
        // Half a sigma apart: the repulsion is thousands of eV.
        positions[1] = [positions[0][0] + 1.5, positions[0][1], positions[0][2]];
        let frozen = vec![false; positions.len()];
        let options = Options { algorithm, fmax: 0.01, steps: 3000, max_step: 0.1 };
        let mut before = positions.clone();
        let (ending, status) = minimize(
            &mut positions,
            Some(&cell),
            &frozen,
            &mut LennardJones::argon(),
            &FrameParameters::default(),
            &options,
            &mut |_| true,
        )
        .unwrap();
        assert_eq!(ending, Ending::Converged, "{algorithm:?} {status:?}");
        before.truncate(2);
        assert!((positions[1][0] - positions[0][0]).hypot(positions[1][1] - positions[0][1]) > 0.0);
        assert!(status.energy < 0.0);
    }
}

#[test]
fn the_step_limit_and_the_caller_stop_it() {
    let run = |steps: u64, stop_at: u64| {
        let (mut positions, cell) = rattled();
        let options = Options { algorithm: Algorithm::Fire, fmax: 1e-12, steps, max_step: 0.1 };
        let none = vec![false; positions.len()];
        let mut argon = LennardJones::argon();
        let parameters = FrameParameters::default();
        minimize(&mut positions, Some(&cell), &none, &mut argon, &parameters, &options, &mut |s| s.step < stop_at)
            .unwrap()
    };
    let (ending, status) = run(7, 100);
    assert_eq!((ending, status.step), (Ending::StepLimit, 7));
    let (ending, status) = run(100, 3);
    assert_eq!((ending, status.step), (Ending::Stopped, 3));
}

#[test]
fn rounding_ends_lbfgs_instead_of_looping() {
    let mut positions = vec![[0.3, 0.0, 0.0]];
    let options = Options { fmax: 1e-300, steps: 10_000, ..Options::default() };
    let mut wells = Wells::new(1.0, vec![[0.1, 0.2, 0.3]]);
    let (ending, status) =
        minimize(&mut positions, None, &[false], &mut wells, &FrameParameters::default(), &options, &mut |_| true)
            .unwrap();
    assert!(matches!(ending, Ending::Converged | Ending::Stalled), "{ending:?} {status:?}");
    assert!(status.fmax < 1e-8);
}

#[test]
fn a_failed_call_leaves_the_last_computed_positions() {
    for algorithm in BOTH {
        let mut positions = vec![[1.0, 0.0, 0.0]];
        let mut wells = Wells::new(1.0, vec![[0.0; 3]]);
        wells.fails_at_call = Some(2);
        let options = Options { algorithm, ..Options::default() };
        let error =
            minimize(&mut positions, None, &[false], &mut wells, &FrameParameters::default(), &options, &mut |_| true)
                .unwrap_err();
        assert!(matches!(error, MinimizeError::Compute { step: 1, .. }), "{error}");
        assert_eq!(positions, [[1.0, 0.0, 0.0]]);
    }
}

#[test]
fn senseless_options_are_refused() {
    let run = |options: Options, frozen: bool| {
        let mut positions = vec![[1.0, 0.0, 0.0]];
        let mut wells = Wells::new(1.0, vec![[0.0; 3]]);
        minimize(&mut positions, None, &[frozen], &mut wells, &FrameParameters::default(), &options, &mut |_| true)
            .unwrap_err()
            .to_string()
    };
    assert!(run(Options { fmax: f64::NAN, ..Options::default() }, false).contains("--fmax"));
    assert!(run(Options { max_step: 0.0, ..Options::default() }, false).contains("--max-step"));
    assert!(run(Options::default(), true).contains("frozen"));
}
