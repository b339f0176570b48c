//! Promises of the readers of LAMMPS data files and dumps.

mod structure_support;

use structure_support::{from, message};
use weir_engine::structure::{read_bytes, Format, ReadOptions};

const LAMMPS: &str = "\
LAMMPS data file via write_data, version 2 Aug 2023, timestep = 0, units = real

3 atoms
2 atom types
0 4 xlo xhi
-1 4 ylo yhi
0 6 zlo zhi
1 0.5 -0.25 xy xz yz

Masses

1 15.9994 # OW
2 1.008 # CA

Atoms # full

3 1 2 0.4 3 3 3 0 0 1
1 1 1 -0.8 1 1 1 0 0 0
2 1 2 0.4 2 2 2 0 0 0

Velocities

1 0.001 0 0
2 0 0.002 0
3 0 0 0.003

Bonds

1 1 1 2
";

#[test]
fn lammps_data_is_sorted_by_id_and_named_by_mass() {
    let s = &from(Format::LammpsData, LAMMPS).unwrap()[0];
    assert_eq!(s.symbols, ["O", "H", "H"]);
    assert_eq!(s.positions, [[1.0; 3], [2.0; 3], [3.0; 3]]);
    assert_eq!(s.velocities, Some(vec![[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]));
    assert_eq!(s.cell, Some([[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.5, -0.25, 6.0]]));
    assert!(s.remarks.join(" ").contains("image flags"));
    let types = vec!["S".to_string(), "D".to_string()];
    let s =
        read_bytes(Format::LammpsData, LAMMPS.as_bytes(), &ReadOptions { types, ..ReadOptions::default() }).unwrap();
    assert_eq!(s[0].symbols, ["S", "H", "H"]);
    let changed = |from_text: &str, to: &str| {
        assert!(LAMMPS.contains(from_text));
        message(from(Format::LammpsData, &LAMMPS.replace(from_text, to)))
    };
    assert!(changed("15.9994 # OW", "17.5").contains("--types"));
    assert!(changed("units = real", "units = electron").contains("electron"));
    assert!(changed("# full", "# sphere").contains("sphere"));
    assert!(changed("3 atoms", "4 atoms").contains("4 lines in Atoms"));
    assert!(changed("3 atoms", "2 atoms").contains("2 lines in Atoms"));
    assert!(changed("2 1 2 0.4", "1 1 2 0.4").contains("twice"));
    assert!(changed("0 6 zlo zhi\n", "").contains("zlo zhi"));
    assert!(changed("0 4 xlo xhi", "4 4 xlo xhi").contains("volume"));
    assert!(changed("2 0 0.002 0\n", "").contains("velocities of all atoms"));
}

#[test]
fn the_lammps_atom_style_is_told_by_columns_or_asked_for() {
    let read = |rows: &str| {
        let text = format!("t\n\n2 atoms\n2 atom types\n0 4 xlo xhi\n0 4 ylo yhi\n0 4 zlo zhi\n\nMasses\n\n1 16.0\n2 1.0\n\nAtoms\n\n{rows}");
        from(Format::LammpsData, &text).map(|s| (s[0].symbols.join(" "), s[0].positions[1]))
    };
    let expected = ("O H".to_string(), [1.0, 2.0, 3.0]);
    assert_eq!(read("1 1 0 0 0\n2 2 1 2 3\n").unwrap(), expected);
    assert_eq!(read("1 1 0.5 0 0 0\n2 2 -0.5 1 2 3\n").unwrap(), expected);
    assert_eq!(read("1 7 1 0 0 0\n2 7 2 1 2 3\n").unwrap(), expected);
    assert_eq!(read("1 7 1 -1.0 0 0 0 0 0 0\n2 7 2 1.0 1 2 3 0 1 0\n").unwrap(), expected);
    // Molecule 1 type 2, or type 1 with charge 2?
    assert!(read("1 1 1 0 0 0\n2 2 2 1 2 3\n").unwrap_err().to_string().contains("Atoms # full"));
}

fn dump(bounds: &str, columns: &str, rows: &str) -> String {
    let n = rows.lines().count();
    format!("ITEM: TIMESTEP\n100\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS {bounds}\nITEM: ATOMS {columns}\n{rows}")
}

#[test]
fn lammps_dumps_are_sorted_and_unscaled() {
    let flat = "pp pp pp\n-1 3\n0 4\n0 4";
    let two = dump(flat, "id element x y z", "2 O 1 1 1\n1 H 0 0 0\n");
    let s = from(Format::LammpsDump, &format!("{two}{two}")).unwrap();
    assert_eq!((s.len(), s[1].step), (2, Some(100)));
    assert_eq!((s[0].symbols.join(" "), s[0].positions[1]), ("H O".to_string(), [1.0; 3]));
    // A tilted box: the bounds are those of the box around it, and scaled coordinates count along its vectors.
    let tilted =
        dump("xy xz yz pp pp pp\n-1 5.5 2\n0 4 0.5\n0 4 -1", "id type xs ys zs vx vy vz", "1 2 0.5 0.5 0.5 1 2 3\n");
    let types = vec!["O".to_string(), "H".to_string()];
    let options = ReadOptions { types, ..ReadOptions::default() };
    let s = &read_bytes(Format::LammpsDump, tilted.as_bytes(), &options).unwrap()[0];
    let cell = [[4.0, 0.0, 0.0], [2.0, 3.0, 0.0], [0.5, -1.0, 4.0]];
    assert_eq!(s.cell, Some(cell));
    assert_eq!(s.positions[0], [-1.0 + 3.25, 1.0 + 1.0, 2.0]);
    assert_eq!((s.symbols[0].as_str(), s.velocities.clone()), ("H", Some(vec![[1.0, 2.0, 3.0]])));
    let real = format!(
        "ITEM: UNITS\nreal\nITEM: TIME\n50\n{}",
        dump(flat, "id element xu yu zu fx fy fz", "1 H 9 0 0 23.060547830619 0 0\n")
    );
    let s = &from(Format::LammpsDump, &real).unwrap()[0];
    assert!((s.forces.as_ref().unwrap()[0][0] - 1.0).abs() < 1e-10);
    assert_eq!((s.time, s.positions[0][0]), (Some(0.05), 9.0));
    let open = dump("ff ss mm\n0 1\n0 1\n0 1", "id element x y z", "1 H 0 0 0\n");
    assert_eq!(from(Format::LammpsDump, &open).unwrap()[0].cell, None);
    let general = dump("abc origin pp pp pp\n0 2 0 1\n-3 0 0 1\n0 0 4 1", "id element xs ys zs", "1 H 0.5 0.5 0.5\n");
    let s = &from(Format::LammpsDump, &general).unwrap()[0];
    assert_eq!(s.positions[0], [1.0 - 1.5, 2.0, 3.0]);
}

#[test]
fn bad_dumps_are_named() {
    let flat = "pp pp pp\n0 4\n0 4\n0 4";
    let bad = |bounds: &str, columns: &str, rows: &str| message(from(Format::LammpsDump, &dump(bounds, columns, rows)));
    assert!(bad(flat, "id type x y z", "1 1 0 0 0\n").contains("--types"));
    assert!(bad(flat, "id x y z", "1 0 0 0\n").contains("--atoms"));
    assert!(bad(flat, "id element x y z", "1 H 0 0 0\n1 H 0 0 1\n").contains("twice"));
    assert!(bad(flat, "id element x y", "1 H 0 0\n").contains("xu yu zu"));
    assert!(bad(flat, "id element x y z", "1 H 0 0\n").contains("5 columns"));
    assert!(bad("pp pp ff\n0 4\n0 4\n0 4", "id element x y z", "1 H 0 0 0\n").contains("vacuum"));
    let cut = dump(flat, "id element x y z", "1 H 0 0 0\n2 H 0 0 1\n");
    assert!(message(from(Format::LammpsDump, &cut[..cut.len() - 10])).contains("atom 2 of 2"));
}
