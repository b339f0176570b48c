//! What `weir gromacs prepare` writes, prints and refuses.
#![allow(missing_docs)]

#[path = "common/program.rs"]
mod program;

use std::fs;
use std::path::Path;
use std::process::Output;

const WATER: &str = "tests/data/structures/water.gro";

/// One classical water in others, its type restrained behind a define.
const TOP: &str = "[ defaults ]\n1 2 no 1 1\n[ atomtypes ]\nOW 8 15.999 0 A 0.3 0.6\nHW 1 1.008 0 A 0 0\n[ moleculetype ]\nSOL 2\n[ atoms ]\n1 OW 1 SOL OW 1 -0.8\n2 HW 1 SOL HW1 1 0.4\n3 HW 1 SOL HW2 1 0.4\n[ bonds ]\n1 2 1 0.1 1000\n1 3 1 0.1 1000\n#ifdef POSRES\n[ position_restraints ]\n1 1 1000 1000 1000\n#endif\n[ system ]\nx\n[ molecules ]\nSOL COUNT\n";

/// A folder with a model, waters, their topology and run parameters.
fn folder(mdp: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(root.join("examples/water/model.dp"), folder.path().join("model.dp")).unwrap();
    fs::copy(root.join("tests/data/models/multitask.pt"), folder.path().join("multitask.pt")).unwrap();
    fs::copy(root.join(WATER), folder.path().join("water.gro")).unwrap();
    let count: usize = fs::read_to_string(root.join(WATER)).unwrap().lines().nth(1).unwrap().trim().parse().unwrap();
    fs::write(folder.path().join("topol.top"), TOP.replace("COUNT", &(count / 3).to_string())).unwrap();
    fs::write(folder.path().join("one.ndx"), "[ One ]\n1 2 3\n").unwrap();
    fs::write(folder.path().join("md.mdp"), mdp).unwrap();
    folder
}

fn prepare(folder: &Path, arguments: &[&str], head: Option<&str>) -> Output {
    let mut command = program::program(folder, &[&["gromacs", "prepare"], arguments].concat());
    head.map(|h| command.env("WEIR_HEAD", h));
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

const GROUP: [&str; 10] =
    ["model.dp", "water.gro", "--group", "One", "--index", "one.ndx", "--topology", "topol.top", "--mdp", "md.mdp"];

#[test]
fn the_head_of_the_environment_stands_in_weir_dat() {
    let folder = folder("");
    for (flag, variable) in [(None, Some("H2O_A")), (Some("H2O_A"), None), (Some("H2O_A"), Some("none"))] {
        let mut arguments = vec!["multitask.pt", "water.gro", "--force"];
        arguments.extend(flag.iter().flat_map(|h| ["--head", h]));
        out(&prepare(folder.path(), &arguments, variable));
        let dat = fs::read_to_string(folder.path().join("weir-gromacs/weir.dat")).unwrap();
        assert!(dat.contains("\nhead H2O_A\n"), "{flag:?} {variable:?}: {dat}");
    }
    out(&prepare(folder.path(), &["model.dp", "water.gro", "--force"], None));
    assert!(!fs::read_to_string(folder.path().join("weir-gromacs/weir.dat")).unwrap().contains("\nhead"));
}

#[test]
fn a_barostat_without_a_box_is_refused() {
    let folder = folder("Pcoupl = C-rescale\ndt = 0.0005\n");
    let arguments = ["model.dp", "water.gro", "--mdp", "md.mdp"];
    let said = err(&prepare(folder.path(), &[&arguments[..], &["--vacuum"]].concat(), None));
    assert!(said.contains("pcoupl = C-rescale") && said.contains("--vacuum") && said.contains("pcoupl = no"), "{said}");
    assert!(!folder.path().join("weir-gromacs").exists());
    // With its box, and in vacuum without the barostat, it is no matter.
    out(&prepare(folder.path(), &arguments, None));
    fs::write(folder.path().join("md.mdp"), "pcoupl = no\n").unwrap();
    out(&prepare(folder.path(), &[&arguments[..], &["--vacuum", "--force"]].concat(), None));
}

#[test]
fn long_steps_of_a_group_with_hydrogen_are_remarked() {
    let folder = folder("dt = 0.002\nconstraints = h-bonds\nrvdw = 1.0\nrcoulomb = 1.0\n");
    let output = prepare(folder.path(), &GROUP, None);
    out(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("dt = 0.002 ps") && said.contains("constraints do not act"), "{said}");
}

#[test]
fn restraints_of_the_topology_bring_their_option_and_an_index_its_own() {
    for (define, restrained) in [("", false), ("define = -DPOSRES\n", true)] {
        let folder = folder(&format!("{define}rvdw = 1.0\nrcoulomb = 1.0\n"));
        let told = out(&prepare(folder.path(), &GROUP, None));
        let line = told.lines().find(|l| l.contains("gmx grompp")).unwrap();
        assert_eq!(line.contains(" -r "), restrained, "{line}");
        assert!(line.contains(" -n ") && line.contains("one.ndx"), "{line}");
    }
}

#[test]
fn printed_lines_go_through_a_shell_whatever_the_folder_is_called() {
    let folder = folder("rvdw = 1.0\nrcoulomb = 1.0\n");
    let odd = folder.path().join("it's my folder");
    fs::create_dir(&odd).unwrap();
    for name in ["model.dp", "water.gro", "topol.top", "one.ndx", "md.mdp"] {
        fs::copy(folder.path().join(name), odd.join(name)).unwrap();
    }
    let told = out(&prepare(&odd, &[&GROUP[..], &["--out", "a run; exit 7"]].concat(), None));
    let lines: Vec<&str> = told.lines().filter(|l| l.starts_with("  ")).map(str::trim).collect();
    // The words that a shell makes of the line that calls grompp, in the folder that the line before goes to.
    let script = format!("{}\nset -- {}\nfor w; do echo \"$w\"; done; pwd", lines[0], lines[1]);
    let shell = std::process::Command::new("sh").args(["-c", &script]).current_dir(&odd).output().unwrap();
    let words = out(&shell);
    assert!(words.lines().any(|w| w.ends_with("it's my folder/water.gro")), "{words}");
    assert!(words.trim_end().ends_with("a run; exit 7"), "{words}");
}

#[test]
fn a_skewed_box_is_written_in_short_vectors_of_the_same_lattice() {
    let folder = folder("");
    let skewed = "3\nLattice=\"8 0 0 13 9 0 -3 6 10\" pbc=\"T T T\" Properties=species:S:1:pos:R:3\nO 1 1 1\nH 1.9 1 1\nH 1 1.9 1\n";
    fs::write(folder.path().join("skewed.extxyz"), skewed).unwrap();
    let output = prepare(folder.path(), &["model.dp", "skewed.extxyz"], None);
    out(&output);
    assert!(String::from_utf8_lossy(&output.stderr).contains("too skewed for GROMACS"));
    let gro = fs::read_to_string(folder.path().join("weir-gromacs/conf.gro")).unwrap();
    let sides: Vec<f64> = gro.lines().last().unwrap().split_whitespace().map(|w| w.parse().unwrap()).collect();
    // b - 2a, c - b + 2a.
    assert_eq!(sides, [0.8, 0.9, 1.0, 0.0, 0.0, -0.3, 0.0, 0.0, -0.3]);
    // The model sees no difference.
    let energy = |structure: &str| {
        let json = out(&program::program(
            folder.path(),
            &["eval", "model.dp", structure, "--json", "-", "--precision", "f64"],
        )
        .output()
        .unwrap());
        let at = json.find("\"energy\":").unwrap() + 9;
        json[at..].split([',', '}']).next().unwrap().trim().parse::<f64>().unwrap()
    };
    assert!((energy("skewed.extxyz") - energy("weir-gromacs/conf.gro")).abs() < 1e-6);
}

#[test]
fn a_group_needs_a_structure_that_grompp_reads() {
    let folder = folder("");
    fs::write(folder.path().join("a.extxyz"), "1\n\nO 0 0 0\n").unwrap();
    let mut arguments = GROUP.to_vec();
    arguments[1] = "a.extxyz";
    assert!(err(&prepare(folder.path(), &arguments, None)).contains(".gro"));
}
