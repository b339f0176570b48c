//! Masses of `weir md`: from the structure file, from the configuration.

use super::{err, fails, folder, run};
use std::fs;
use std::path::Path;
use weir_engine::structure::{read, ReadOptions, ASE_VELOCITY};

/// Heavy water as ASE writes it, with momenta; the second hydrogen has the mass given.
fn heavy(folder: &Path, mass: &str) {
    let columns = "Properties=species:S:1:pos:R:3:masses:R:1:momenta:R:3 pbc=\"F F F\"";
    let text = format!(
        "3\n{columns}\nO 0 0 0.12 15.999 0.1 0 0\nH 0 0.76 -0.47 2.014 0 0.2014 0\nH 0.01 -0.77 -0.46 {mass} 0 0 -0.2014\n"
    );
    fs::write(folder.join("water.extxyz"), text).unwrap();
}

/// What a run of no steps says, and the frame that it leaves.
fn start(folder: &Path, set: &[&str]) -> (String, weir_engine::structure::Structure) {
    let mut arguments = vec!["md", "run.toml", "--overwrite", "--set", "md.steps=0", "--set", "md.remove_com_every=0"];
    set.iter().for_each(|s| arguments.extend(["--set", s]));
    let output = run(folder, &arguments);
    assert!(output.status.success(), "{}", err(&output));
    (err(&output), read(folder.join("out/run.final.extxyz"), &ReadOptions::default()).unwrap())
}

#[test]
fn a_run_has_the_masses_and_momenta_that_ase_wrote() {
    let folder = folder();
    let path = folder.path();
    heavy(path, "2.014");
    let (text, frame) = start(path, &[]);
    assert!(text.contains("H 2.014 (structure file), O 15.999 (structure file)"), "{text}");
    assert!(text.contains("velocities of the structure file"), "{text}");
    assert_eq!(frame.masses, Some(vec![15.999, 2.014, 2.014]));
    let v = frame.velocities.unwrap();
    assert!((v[1][1] - 0.1 * ASE_VELOCITY).abs() < 1e-10, "{v:?}");
    // The kinetic energy of p^2 / 2m, eV.
    let log = fs::read_to_string(path.join("out/run.csv")).unwrap();
    let kinetic: f64 = log.lines().nth(1).unwrap().split(',').nth(3).unwrap().parse().unwrap();
    assert!((kinetic - (0.01 / 15.999 + 2.0 * 0.2014 * 0.2014 / 2.014) / 2.0).abs() < 1e-6, "{kinetic}");
    // A run that starts from what this one left moves the same atoms.
    fs::copy(path.join("out/run.final.extxyz"), path.join("water.extxyz")).unwrap();
    let (_, again) = start(path, &[]);
    assert_eq!(again.masses, Some(vec![15.999, 2.014, 2.014]));
}

#[test]
fn masses_of_the_configuration_go_before_those_of_the_file() {
    let folder = folder();
    let path = folder.path();
    heavy(path, "-1");
    fails(path, &["md", "run.toml"], 1, &["atom index 2 (H)", "-1 g/mol", "masses column", "[masses]"]);
    assert!(!path.join("out").exists());
    let (text, frame) = start(path, &["masses.H=3.016"]);
    assert!(text.contains("H 3.016 ([masses]), O 15.999 (structure file)"), "{text}");
    assert_eq!(frame.masses, Some(vec![15.999, 3.016, 3.016]));
    // Energies ask for no mass.
    assert!(run(path, &["eval", "model.dp", "water.extxyz"]).status.success());
}

#[test]
fn a_run_with_the_masses_of_the_elements_says_and_writes_nothing_of_them() {
    let folder = folder();
    let (text, frame) = start(folder.path(), &[]);
    assert!(!text.contains("masses"), "{text}");
    assert_eq!(frame.masses, None);
}

#[test]
fn a_run_that_was_begun_without_the_masses_of_its_file_says_which_ones_continue_it() {
    let folder = folder();
    let path = folder.path();
    heavy(path, "2.014");
    let with_masses = fs::read_to_string(path.join("water.extxyz")).unwrap();
    // What a version made of this file that knew no such column.
    fs::write(path.join("water.extxyz"), with_masses.replace("masses:R:1", "others:R:1")).unwrap();
    let begun = ["md", "run.toml", "--set", "md.steps=4", "--set", "masses.O=18"];
    assert!(run(path, &begun).status.success());
    fs::write(path.join("water.extxyz"), with_masses).unwrap();
    let resume = ["md", "run.toml", "--resume", "--set", "md.steps=8", "--set", "masses.O=18"];
    fails(path, &resume, 1, &["run.restart", "masses was", "[masses]", "H = 1.008, O = 18.0 (g/mol)"]);
    let output = run(path, &[&resume[..], &["--set", "masses.H=1.008"]].concat());
    assert!(output.status.success(), "{}", err(&output));
    // Masses of a third kind are not explained by that.
    let other = ["md", "run.toml", "--resume", "--set", "md.steps=8", "--set", "masses.O=17"];
    let text = err(&run(path, &other));
    assert!(text.contains("masses was") && !text.contains("was begun without"), "{text}");
}
