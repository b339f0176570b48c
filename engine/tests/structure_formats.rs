//! Promises of the structure readers, against files that ASE and MDAnalysis wrote (tests/data/structures/make.py).

mod structure_support;

use std::io::Write;
use std::path::PathBuf;

use structure_support::{from, message};
use weir_engine::structure::{frames, read, read_bytes, Format, ReadOptions, Structure};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/structures").join(name)
}

fn all(name: &str, options: &ReadOptions) -> Vec<Structure> {
    frames(data(name), options).unwrap().collect::<Result<_, _>>().unwrap()
}

fn truth() -> Vec<Structure> {
    all("water.extxyz", &ReadOptions::default())
}

fn near(what: &str, a: &[[f64; 3]], b: &[[f64; 3]], tolerance: f64) {
    assert_eq!(a.len(), b.len(), "{what}");
    let worst = a.iter().flatten().zip(b.iter().flatten()).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
    assert!(worst <= tolerance, "{what} differ by {worst}");
}

/// Checks elements, positions, cell and what else both have.
fn same(found: &Structure, truth: &Structure, tolerance: f64) {
    assert_eq!(found.symbols, truth.symbols);
    near("positions", &found.positions, &truth.positions, tolerance);
    near("cells", &found.cell.unwrap(), &truth.cell.unwrap(), tolerance.max(1e-6));
    if let Some(v) = &found.velocities {
        near("velocities", v, truth.velocities.as_ref().unwrap(), 20.0 * tolerance.max(1e-7));
    }
    if let Some(f) = &found.forces {
        near("forces", f, truth.forces.as_ref().unwrap(), 20.0 * tolerance.max(1e-7));
    }
}

#[test]
fn files_of_other_programs_hold_the_same_atoms() {
    let truth = truth();
    let options = ReadOptions::default();
    let one = |name: &str| read(data(name), &options).unwrap();
    let gro = one("water.gro");
    same(&gro, &truth[0], 1e-9);
    assert_eq!(gro.velocities.as_ref().map(Vec::len), Some(15));
    assert_eq!((gro.residues[3].as_str(), gro.names[4].as_str(), gro.residue_numbers[14]), ("SOL", "HW1", 5));
    for name in ["water_direct.vasp", "water_cartesian.vasp"] {
        same(&one(name), &truth[0], 1e-9);
    }
    for name in ["water_atomic.data", "water_charge.data", "water_full.data"] {
        let s = one(name);
        same(&s, &truth[0], 1e-6);
        assert!(s.velocities.is_some(), "{name}");
    }
    let system = all("water_deepmd", &options);
    assert_eq!(system.len(), 3);
    for (found, truth) in system.iter().zip(&truth) {
        same(found, truth, 1e-12);
        assert!(found.forces.is_some());
    }
    let dump = all("water.lammpstrj", &options);
    assert_eq!(dump.len(), 3);
    for (found, truth) in dump.iter().zip(&truth) {
        same(found, truth, 1e-12);
        assert_eq!(found.step, truth.step);
        assert!(found.forces.is_some() && found.velocities.is_some());
    }
    assert_eq!((system[0].energy, system[2].energy), (Some(-3.5), Some(-2.5)));
    let models = all("water.pdb", &options);
    assert_eq!(models.len(), 3);
    for (found, truth) in models.iter().zip(&truth) {
        near("positions", &found.positions, &truth.positions, 1e-9);
        // Angles of two decimals.
        near("cells", &found.cell.unwrap(), &truth.cell.unwrap(), 2e-3);
        assert_eq!(found.symbols, truth.symbols);
    }
}

#[test]
fn trajectories_take_their_atoms_from_a_structure() {
    let truth = truth();
    let atoms = read(data("water.gro"), &ReadOptions::default()).unwrap();
    let options = ReadOptions { structure: Some(&atoms), ..ReadOptions::default() };
    for (name, tolerance) in [("water.xtc", 1e-9), ("water.trr", 2e-6)] {
        let found = all(name, &options);
        assert_eq!(found.len(), 3, "{name}");
        for (found, truth) in found.iter().zip(&truth) {
            same(found, truth, tolerance);
            assert_eq!((found.step, found.time), (truth.step, truth.time));
            assert_eq!(found.names, atoms.names);
            assert_eq!(found.forces.is_some(), name == "water.trr");
        }
    }
    let none = message(read(data("water.xtc"), &ReadOptions::default()));
    assert!(none.contains("--atoms"), "{none}");
}

#[test]
fn a_selected_structure_cuts_the_trajectory_to_itself() {
    let truth = truth();
    let select = Some("element O".to_string());
    let atoms = read(data("water.gro"), &ReadOptions { select, ..ReadOptions::default() }).unwrap();
    assert_eq!(atoms.original, [0, 3, 6, 9, 12]);
    let options = ReadOptions { structure: Some(&atoms), ..ReadOptions::default() };
    for name in ["water.xtc", "water.trr"] {
        let found = all(name, &options);
        let oxygens: Vec<[f64; 3]> = atoms.original.iter().map(|i| truth[2].positions[*i]).collect();
        near(name, &found[2].positions, &oxygens, 2e-6);
        assert_eq!(found[2].symbols, ["O"; 5]);
    }
    let other = Structure { file_atoms: 0, ..atoms.clone() };
    let options = ReadOptions { structure: Some(&other), ..ReadOptions::default() };
    let wrong = message(read(data("water.xtc"), &options));
    assert!(wrong.contains("15") && wrong.contains('5'), "{wrong}");
}

#[test]
fn content_tells_the_format_where_the_name_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let atoms = read(data("water.gro"), &ReadOptions::default()).unwrap();
    let options = ReadOptions { structure: Some(&atoms), ..ReadOptions::default() };
    for name in
        ["water.gro", "water.pdb", "water.xtc", "water.trr", "water.extxyz", "water_direct.vasp", "water_full.data"]
    {
        let copy = folder.path().join("frame");
        std::fs::copy(data(name), &copy).unwrap();
        assert_eq!(read(&copy, &options).unwrap().len(), 15, "{name}");
    }
    std::fs::write(folder.path().join("frame"), "hello\nworld\n").unwrap();
    let unknown = message(read(folder.path().join("frame"), &options));
    assert!(unknown.contains("lammps-dump") && unknown.contains("--format"), "{unknown}");
    assert!(message(read(folder.path(), &options)).contains("type.raw"));
    assert!(message(read(folder.path().join("absent.gro"), &options)).contains("absent.gro"));
}

#[test]
fn gro_columns_follow_the_decimal_points() {
    // What gmx writes with -ndec 8: positions %13.8f, velocities %13.9f.
    let line = |number: u32, residue: &str, name: &str, x: [f64; 3], v: [f64; 3]| {
        format!(
            "{number:>5}{residue:<5}{name:>5}{:>5}{:13.8}{:13.8}{:13.8}{:13.9}{:13.9}{:13.9}\n",
            1, x[0], x[1], x[2], v[0], v[1], v[2]
        )
    };
    let text = format!(
        "weight=7 precise t= 2.50000 step= 1250\n 2\n{}{}1 2 3 0 0 0.5 0 0.25 0.125\nsecond\n1\n    1NA      NA    1   0.100   0.200   0.300\n0 0 0\n",
        line(99999, "ION", "CAL", [1000.00000001, 2.00000002, -3.00000003], [0.100000001, 0.2, -99.300000003]),
        line(0, "SOL", "OW", [4.0, 5.0, 6.0], [0.0, 0.0, -1.0]),
    );
    let s = from(Format::Gro, &text).unwrap();
    assert_eq!(s.len(), 2);
    near("positions", &s[0].positions, &[[10000.0000001, 20.0000002, -30.0000003], [40.0, 50.0, 60.0]], 1e-11);
    let velocities = [[1.00000001, 2.0, -993.00000003], [0.0, 0.0, -10.0]];
    near("velocities", s[0].velocities.as_ref().unwrap(), &velocities, 1e-11);
    assert_eq!(s[0].symbols, ["Ca", "O"]);
    assert_eq!((s[0].time, s[0].step, s[0].residue_numbers[0]), (Some(2.5), Some(1250), 99999));
    assert_eq!((s[1].cell, s[1].symbols[0].as_str(), s[1].velocities.is_some()), (None, "Na", false));
}

#[test]
fn the_gro_box_order_is_that_of_gromacs() {
    let atom = "    1NA      NA    1   0.100   0.200   0.300\n";
    let s = from(Format::Gro, &format!("t\n1\n{atom}1 2 3 0.1 0.2 0.3 0.4 0.5 0.6\n")).unwrap();
    near("cell", &s[0].cell.unwrap(), &[[10.0, 1.0, 2.0], [3.0, 20.0, 4.0], [5.0, 6.0, 30.0]], 1e-12);
    for bad in ["1 2\n", "1 2 x\n", "nan 1 1\n", ""] {
        assert!(from(Format::Gro, &format!("t\n1\n{atom}{bad}")).is_err(), "{bad}");
    }
}

#[test]
fn virtual_sites_are_dropped_with_a_remark() {
    let text = "TIP4P\n5\n\
        \x20   1SOL     OW    1   0.100   0.200   0.300\n    1SOL    HW1    2   0.190   0.200   0.300\n\
        \x20   1SOL    HW2    3   0.100   0.290   0.300\n    1SOL     MW    4   0.110   0.210   0.300\n\
        \x20   2CL      CL    5   1.000   1.000   1.000\n2 2 2\n";
    let s = &from(Format::Gro, text).unwrap()[0];
    assert_eq!(s.symbols, ["O", "H", "H", "Cl"]);
    assert_eq!((s.original.as_slice(), s.file_atoms), ([0, 1, 2, 4].as_slice(), 5));
    assert_eq!(s.remarks, ["1 virtual sites are dropped"]);
}

#[test]
fn an_ambiguous_name_is_an_error_naming_atom_and_option() {
    let text = "ligand\n2\n    1LIG     C1    1   0.1   0.2   0.3\n    1LIG     CA    2   0.2   0.2   0.3\n2 2 2\n";
    let m = message(from(Format::Gro, text));
    assert!(m.contains("atom 2") && m.contains("CA") && m.contains("C or Ca") && m.contains("--elements"), "{m}");

    let folder = tempfile::tempdir().unwrap();
    let elements = folder.path().join("elements.txt");
    let with = |content: &str| {
        std::fs::write(&elements, content).unwrap();
        let options = ReadOptions { elements: Some(elements.clone()), ..ReadOptions::default() };
        read_bytes(Format::Gro, text.as_bytes(), &options).map(|s| s[0].symbols.clone())
    };
    assert_eq!(with("# names\nCA C # carbon\n").unwrap(), ["C", "C"]);
    assert_eq!(with("* CA Ca\n").unwrap(), ["C", "Ca"]);
    assert_eq!(with("CA Ca\nLIG CA C\n").unwrap(), ["C", "C"]);
    assert_eq!(with("LIG CA X\n").unwrap(), ["C"]);
    assert!(with("UNL CA C\n").unwrap_err().to_string().contains("CA"));
    assert!(with("CA Qq\n").unwrap_err().to_string().contains("element symbol"));
    assert!(with("CA\n").unwrap_err().to_string().contains("line 1"));
}

#[test]
fn a_topology_tells_elements_by_number_or_mass() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    };
    write("ligand.itp", "[ moleculetype ]\nLIG 3\n[ atoms ]\n; nr type resnr residue atom cgnr charge mass\n\
        1 ca 1 LIG CA 1 0.1 12.01\n2 xx 1 LIG CL1 2 0.0 35.45 ; chlorine\n3 opls_1 1 LIG NA 3 0.0\n4 vs 1 LIG Q1 4 0 0.0\n5 h 1 LIG HG1 5 0 4.032\n");
    let topology = write(
        "topol.top",
        "#include \"amber.ff/forcefield.itp\"\n[ atomtypes ]\nopls_1 CT 7 14.0067 0.0 A 0.3 0.4\n\
        #include \"ligand.itp\"\n[ system ]\nx\n[ molecules ]\nLIG 1\n",
    );
    let gro = |names: &[&str]| {
        let atoms: String = names.iter().map(|n| format!("    1LIG  {n:>5}    1   0.1   0.2   0.3\n")).collect();
        format!("t\n{}\n{atoms}2 2 2\n", names.len())
    };
    let options = ReadOptions { topology: Some(topology), ..ReadOptions::default() };
    let read = |names: &[&str]| read_bytes(Format::Gro, gro(names).as_bytes(), &options);
    let s = &read(&["CA", "CL1", "NA", "Q1"]).unwrap()[0];
    assert_eq!(s.symbols, ["C", "Cl", "N"]);
    // A repartitioned mass is no element: the name stays ambiguous.
    assert!(message(read(&["HG1"])).contains("H or Hg"));
    assert!(message(read(&["ZZ"])).contains("amber.ff/forcefield.itp"));
    let cycle = write("cycle.itp", "#include \"cycle.itp\"\n");
    let options = ReadOptions { topology: Some(cycle), ..ReadOptions::default() };
    assert!(message(read_bytes(Format::Gro, gro(&["C1"]).as_bytes(), &options)).contains("none of itself"));
}

const PDB: &str = "\
CRYST1   50.000   60.000   70.000  90.00  90.00  90.00 P 21 21 21    4
ATOM      1  N   SER A   1       1.000   2.000   3.000  1.00  0.00           N
ATOM      2  CA ASER A   1       2.000   2.000   3.000  0.40  0.00           C
ATOM      3  CA BSER A   1       2.500   2.000   3.000  0.60  0.00           C
ATOM      4  OG ASER A   1       2.000   3.000   3.000  0.40  0.00           O
ATOM      5  OG BSER A   1       2.500   3.000   3.000  0.60  0.00           O
ATOM      6  CB AALA A   1A      3.000   3.000   3.000  0.50  0.00           C
ATOM      7  CB BALA A   1A      3.500   3.000   3.000  0.50  0.00           C
ATOM      8  C   ALA A   1A      3.000   3.000   4.000  1.00  0.00
HETATM    9 CA    CA A 101      10.000  10.000  10.000  1.00  0.00          CA2+
TER
END
";

#[test]
fn pdb_keeps_one_location_and_the_element_column() {
    let s = &from(Format::Pdb, PDB).unwrap()[0];
    assert_eq!(s.symbols, ["N", "C", "O", "C", "C", "Ca"]);
    // B of the serine (0.6), A of the alanine (equal).
    let x: Vec<f64> = s.positions.iter().map(|p| p[0]).collect();
    assert_eq!(x, [1.0, 2.5, 2.5, 3.0, 3.0, 10.0]);
    assert_eq!(s.original, [0, 2, 4, 5, 7, 8]);
    assert_eq!(s.cell, Some([[50.0, 0.0, 0.0], [0.0, 60.0, 0.0], [0.0, 0.0, 70.0]]));
    let remarks = s.remarks.join("\n");
    assert!(
        remarks.contains("P 21 21 21") && remarks.contains("3 atoms of alternate") && remarks.contains("no hydrogen"),
        "{remarks}"
    );
}

#[test]
fn a_byte_order_mark_takes_no_line_away() {
    for (name, format) in [("water.pdb", Format::Pdb), ("water.extxyz", Format::Extxyz), ("water.gro", Format::Gro)] {
        let text = std::fs::read_to_string(data(name)).unwrap();
        let (plain, marked) = (from(format, &text).unwrap(), from(format, &format!("\u{feff}{text}")).unwrap());
        for (a, b) in plain.iter().zip(&marked) {
            assert_eq!((&a.symbols, &a.positions, a.cell), (&b.symbols, &b.positions, b.cell), "{name}");
        }
        assert_eq!(plain.len(), marked.len(), "{name}");
    }
    // Where the first line is an atom.
    let atoms = PDB.lines().filter(|l| l.starts_with("ATOM")).map(|l| format!("{l}\n")).collect::<String>();
    let read = |text: &str| from(Format::Pdb, text).unwrap()[0].symbols.clone();
    assert_eq!(read(&format!("\u{feff}{atoms}END\n")), read(&format!("{atoms}END\n")));
}

#[test]
fn a_frame_parameter_that_cannot_be_read_is_not_the_models_default() {
    for value in ["abc", "\"0.9 abc\"", "nan"] {
        let text = format!("1\nProperties=species:S:1:pos:R:3 fparam={value}\nO 0 0 0\n");
        let error = message(from(Format::Extxyz, &text));
        assert!(error.contains("line 2") && error.contains("fparam="), "{error}");
    }
    // In a comment without columns too it is read where it can be.
    let plain = |value: &str| from(Format::Extxyz, &format!("1\nfparam={value}\nO 0 0 0\n")).unwrap()[0].fparam.clone();
    assert_eq!((plain("0.9"), plain("\"0.5 1\""), plain("abc")), (Some(vec![0.9]), Some(vec![0.5, 1.0]), None));
}

#[test]
fn pdb_cells_and_models_are_understood() {
    let atom = "HETATM    1 ZN    ZN A   1       1.000   2.000   3.000  1.00  0.00          ZN\n";
    let read = |head: &str| from(Format::Pdb, &format!("{head}{atom}END\n")).map(|s| s[0].cell);
    assert_eq!(read("").unwrap(), None);
    assert_eq!(read("CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n").unwrap(), None);
    let hexagonal = read("CRYST1   10.000   10.000   20.000  90.00  90.00 120.00 P 1           1\n").unwrap().unwrap();
    near("cell", &hexagonal, &[[10.0, 0.0, 0.0], [-5.0, 75f64.sqrt(), 0.0], [0.0, 0.0, 20.0]], 1e-12);
    assert!(read("CRYST1   10.000   10.000   20.000  90.00  90.00 180.00 P 1           1\n").is_err());
    assert!(read("CRYST1   10.000   10.000\n").is_err());
    let models = format!("MODEL        1\n{atom}ENDMDL\nMODEL        2\n{atom}{atom}ENDMDL\nEND\n");
    let counts: Vec<usize> = from(Format::Pdb, &models).unwrap().iter().map(Structure::len).collect();
    assert_eq!(counts, [1, 2]);
    let cut = message(from(Format::Pdb, &models[..models.len() - 12]));
    assert!(cut.contains("frame 2") && cut.contains("ENDMDL"), "{cut}");
    let wrong = message(from(Format::Pdb, &atom.replace("          ZN", "          Q ")));
    assert!(wrong.contains("atom 1") && wrong.contains("\"Q\"") && wrong.contains("--elements"), "{wrong}");
    assert!(message(from(Format::Pdb, &atom.replace("   2.000", "  ******"))).contains("line 1"));
    // Identity code and line number where newer files have the element.
    let old = "ATOM      1  CA  ALA A   1       1.000   2.000   3.000  1.00  0.00      1UBQ 171\n";
    assert_eq!(from(Format::Pdb, old).unwrap()[0].symbols, ["C"]);
    assert!(message(from(Format::Pdb, "HEADER\nEND\n")).contains("no frame"));
}

#[test]
fn poscar_scales_and_flags_are_obeyed() {
    let poscar = |scale: &str, tail: &str| format!("cubic\n{scale}\n1 0 0\n0 1 0\n0 0 2\n{tail}");
    let tail = "Ti_pv/ab12 O\n1 2\nSelective dynamics\nDirect\n0.5 0.5 0.5 T T F\n0 0 0.25 F F F O1\n0 0 0 T T T\n";
    let s = &from(Format::Poscar, &poscar("2.0", tail)).unwrap()[0];
    assert_eq!(s.symbols, ["Ti", "O", "O"]);
    assert_eq!(s.positions[..2], [[1.0, 1.0, 2.0], [0.0, 0.0, 1.0]]);
    let s = &from(Format::Poscar, &poscar("-54.0", tail)).unwrap()[0];
    near("cell", &s.cell.unwrap(), &[[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 6.0]], 1e-12);
    let s = &from(Format::Poscar, &poscar("1 2 3", "H\n1\nCartesian\n1 1 1\n\n0.01 0 -0.02\n")).unwrap()[0];
    assert_eq!((s.positions[0], s.cell.unwrap()[2][2]), ([1.0, 2.0, 3.0], 6.0));
    assert_eq!(s.velocities, Some(vec![[10.0, 0.0, -20.0]]));
    let old = poscar("1.0", "1 2\nDirect\n0 0 0\n0 0 0.5\n0.5 0 0\n");
    assert!(message(from(Format::Poscar, &old)).contains("VASP 4"));
    let types = vec!["Ti".to_string(), "O".to_string()];
    let s = read_bytes(Format::Poscar, old.as_bytes(), &ReadOptions { types, ..ReadOptions::default() }).unwrap();
    assert_eq!(s[0].symbols, ["Ti", "O", "O"]);
    for (scale, tail) in [
        ("0", "H\n1\nDirect\n0 0 0\n"),
        ("1", "Qq\n1\nDirect\n0 0 0\n"),
        ("1", "H O\n1\nDirect\n0 0 0\n"),
        ("1", "H\n4000000000\nDirect\n0 0 0\n"),
        ("1", "H\n1\nWhat\n0 0 0\n"),
        ("1", "H\n1\nDirect\n0 0\n"),
        ("1", "H\n2\nCartesian\n0 0 0\n0 0 1\n\n0 0 0\n"),
    ] {
        assert!(from(Format::Poscar, &poscar(scale, tail)).is_err(), "{tail}");
    }
}

#[test]
fn deepmd_systems_say_what_they_lack() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
    let open = |types: &[&str]| {
        let types = types.iter().map(|t| t.to_string()).collect();
        frames(folder.path(), &ReadOptions { types, ..ReadOptions::default() })
            .and_then(|f| f.collect::<Result<Vec<_>, _>>())
    };
    write("type.raw", "0 1\n");
    assert!(message(open(&[])).contains("--types"));
    assert!(message(open(&["O", "H"])).contains("coord.raw"));
    write("coord.raw", "0 0 0 1 1 1\n0 0 0 2 2 2\n");
    assert!(message(open(&["O", "H"])).contains("nopbc"));
    write("nopbc", "");
    let s = open(&["O", "H"]).unwrap();
    assert_eq!((s.len(), s[1].positions[1], s[1].cell), (2, [2.0; 3], None));
    write("energy.raw", "-1\n");
    assert!(message(open(&["O", "H"])).contains("frame 2"));
    write("energy.raw", "-1\n-2\n");
    write("fparam.raw", "0.5 1\n0.25 2\n");
    let s = open(&["O", "H"]).unwrap();
    assert_eq!((s[1].energy, s[1].fparam.clone()), (Some(-2.0), Some(vec![0.25, 2.0])));
    assert!(message(open(&["O"])).contains("types from 0 to 0"));
    write("force.raw", "0 0 0\n0 0 0\n");
    assert!(message(open(&["O", "H"])).contains("row of force"));
    std::fs::create_dir(at("set.000")).unwrap();
    assert!(message(open(&["O", "H"])).contains("coord.npy"));
}

#[test]
fn mixed_types_come_from_every_frame() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set.000");
    std::fs::create_dir(&set).unwrap();
    let npy = |name: &str, descr: &str, shape: &str, bytes: Vec<u8>| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(bytes);
        std::fs::write(set.join(name), file).unwrap();
    };
    std::fs::write(folder.path().join("type.raw"), "0\n0\n").unwrap();
    std::fs::write(folder.path().join("type_map.raw"), "O\nH\n").unwrap();
    std::fs::write(folder.path().join("nopbc"), "").unwrap();
    npy("coord.npy", ">f4", "(2, 6)", (0..12).flat_map(|i| (i as f32).to_be_bytes()).collect());
    npy("real_atom_types.npy", "<i4", "(2, 2)", [0, 1, 1, -1].iter().flat_map(|i: &i32| i.to_le_bytes()).collect());
    let open = || frames(folder.path(), &ReadOptions::default()).and_then(|f| f.collect::<Result<Vec<_>, _>>());
    let s = open().unwrap();
    assert_eq!((s[0].symbols.join(" "), s[1].symbols.join(" ")), ("O H".to_string(), "H X".to_string()));
    assert_eq!(s[1].positions[1], [9.0, 10.0, 11.0]);
    npy("real_atom_types.npy", "<i4", "(2, 2)", [0, 1, 2, 0].iter().flat_map(|i: &i32| i.to_le_bytes()).collect());
    assert!(message(open()).contains("type 2"));
    npy("real_atom_types.npy", "<i4", "(2, 2)", vec![0; 12]);
    assert!(message(open()).contains("2 rows of 2 numbers"));
    // Energies of three frames may be those of others.
    npy("energy.npy", "<f8", "(3,)", vec![0; 24]);
    let error = message(open());
    assert!(
        error.contains("energy.npy") && error.contains("the 2 frames of coord.npy") && error.contains('3'),
        "{error}"
    );
    std::fs::remove_file(set.join("energy.npy")).unwrap();
    npy("real_atom_types.npy", "<c8", "(2, 2)", vec![0; 64]);
    assert!(message(open()).contains("descr <c8"));
    npy("coord.npy", "<f8", "(1000000000000, 1000000000000)", vec![0; 64]);
    assert!(open().is_err());
}
