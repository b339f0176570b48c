//! Promises of the extended XYZ reader and writer.

mod structure_support;

use structure_support::Random;
use weir_engine::structure::{read_bytes, write_extxyz, Format, ReadOptions, Structure, StructureError, ASE_VELOCITY};

fn parse(text: &str) -> Result<Vec<Structure>, StructureError> {
    read_bytes(Format::Extxyz, text.as_bytes(), &ReadOptions::default())
}

/// Random numbers and structures.
struct Sample(Random);

impl Sample {
    /// Any finite double of moderate size, all mantissa bits in use.
    fn real(&mut self) -> f64 {
        let exponent = self.0.below(40) as i32 - 30;
        let mantissa = (self.0.bits() >> 11) as f64 / (1u64 << 53) as f64;
        (if self.0.bits() & 1 == 0 { 1.0 } else { -1.0 }) * (1.0 + mantissa) * 2f64.powi(exponent)
    }

    fn rows(&mut self, n: usize) -> Vec<[f64; 3]> {
        (0..n).map(|_| [self.real(), self.real(), self.real()]).collect()
    }

    fn structure(&mut self) -> Structure {
        let n = 1 + self.0.below(12);
        let symbols = ["H", "O", "X", "Cl", "U"];
        let mut yes = || self.0.bits() & 1 == 0;
        let (cell, v, f, e, w, t) = (yes(), yes(), yes(), yes(), yes(), yes());
        Structure {
            symbols: (0..n).map(|_| symbols[self.0.below(5)].to_string()).collect(),
            positions: self.rows(n),
            cell: cell.then(|| [[9.0 + self.real() / 1024.0, 0.0, 0.1], [1e-3, 8.25, 0.0], [-2.0, 1.0 / 3.0, 11.0]]),
            velocities: v.then(|| self.rows(n)),
            masses: w.then(|| (0..n).map(|i| 1.0 + i as f64 / 3.0).collect()),
            forces: f.then(|| self.rows(n)),
            energy: e.then(|| self.real()),
            virial: w.then(|| [[1.0 / 3.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, self.real()]]),
            time: t.then(|| self.real()),
            step: t.then(|| self.0.bits()),
            fparam: t.then(|| vec![0.1, self.real()]),
            aparam: w.then(|| (0..2 * n).map(|i| i as f64 / 7.0).collect()),
            charge_spin: e.then_some([-1.0, 2.0]),
            title: if t { "a \"quoted\" \\ title = {x".to_string() } else { String::new() },
            original: (0..n).collect(),
            file_atoms: n,
            ..Structure::default()
        }
    }
}

#[test]
fn what_is_written_reads_back_bit_for_bit() {
    let mut random = Sample(Random(1));
    let frames: Vec<Structure> = (0..200).map(|_| random.structure()).collect();
    let mut text = Vec::new();
    for s in &frames {
        write_extxyz(&mut text, s).unwrap();
    }
    let again = read_bytes(Format::Extxyz, &text, &ReadOptions::default()).unwrap();
    assert_eq!(again, frames);
}

#[test]
fn a_file_cut_at_any_line_is_an_error_or_has_fewer_frames() {
    let mut random = Sample(Random(2));
    let mut text = Vec::new();
    for _ in 0..3 {
        write_extxyz(&mut text, &random.structure()).unwrap();
    }
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for cut in 0..lines.len() {
        if let Ok(frames) = parse(&lines[..cut].join("\n")) {
            assert!(frames.len() < 3, "cut at {cut}");
        }
    }
}

#[test]
fn lattice_rows_are_the_vectors_and_pbc_decides() {
    let atoms = "\nH 0 0 0\n";
    let lattice = "Lattice=\"1 2 3 4 5 7 7 8 12\"";
    let with = |tail: &str| parse(&format!("1\n{lattice} {tail}{atoms}")).map(|f| f[0].cell);
    let cell = Some([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0], [7.0, 8.0, 12.0]]);
    assert_eq!(with("").unwrap(), cell);
    assert_eq!(with("pbc=\"T T T\"").unwrap(), cell);
    assert_eq!(with("pbc=[True, True, True]").unwrap(), cell);
    assert_eq!(with("pbc=\"F F F\"").unwrap(), None);
    let mixed = with("pbc=\"T T F\"").unwrap_err();
    assert!(
        matches!(mixed, StructureError::MixedPeriodicity { .. }) && mixed.to_string().contains("vacuum"),
        "{mixed}"
    );
    assert!(with("pbc=\"T T\"").is_err());
    let flat = parse("1\nLattice=\"1 0 0 0 1 0 1 1 0\"\nH 0 0 0\n").unwrap_err();
    assert!(matches!(flat, StructureError::ZeroVolume { .. }), "{flat}");
    assert!(parse("1\npbc=\"T T T\" Properties=species:S:1:pos:R:3\nH 0 0 0\n").is_err());
}

#[test]
fn plain_xyz_keeps_its_comment_and_ignores_more_columns() {
    let s = &parse("2\nwater's energy = unknown\nH 0 0 0 1.5\no 0 0 1 2.5\n\n").unwrap()[0];
    assert_eq!(s.symbols, ["H", "O"]);
    assert_eq!(s.title, "water's energy = unknown");
    assert_eq!((s.energy, s.cell), (None, None));
}

#[test]
fn numbers_are_elements_only_where_the_file_or_the_user_says_so() {
    let z = "2\nProperties=Z:I:1:pos:R:3\n8 0 0 0\n0 0 0 1\n";
    assert_eq!(parse(z).unwrap()[0].symbols, ["O", "X"]);
    // What LAMMPS writes with dump xyz: types.
    let lammps = "2\nAtoms. Timestep: 0\n1 0 0 0\n2 0 0 1\n";
    let m = parse(lammps).unwrap_err().to_string();
    assert!(m.contains("atom 1") && m.contains("--types"), "{m}");
    let options = ReadOptions { types: vec!["O".to_string(), "H".to_string()], ..ReadOptions::default() };
    assert_eq!(read_bytes(Format::Extxyz, lammps.as_bytes(), &options).unwrap()[0].symbols, ["O", "H"]);
    assert!(read_bytes(Format::Extxyz, lammps.replace("\n2 0", "\n3 0").as_bytes(), &options).is_err());
}

#[test]
fn labels_are_read_as_ase_writes_them() {
    let text = "1\nLattice=\"2 0 0 0 2 0 0 0 2\" Properties=species:S:1:momenta:R:3:pos:R:3:forces:R:3:tag:I:1 \
                energy=-1.5 stress=\"0.5 1 2 3 4 5 6 7 8\" free_energy=-1.6 pbc=\"T T T\"\n\
                O 15.999 0 0 1 2 3 0.25 0 -1 7\n";
    let s = &parse(text).unwrap()[0];
    assert_eq!(s.energy, Some(-1.5));
    assert_eq!(s.forces, Some(vec![[0.25, 0.0, -1.0]]));
    assert_eq!(s.positions, [[1.0, 2.0, 3.0]]);
    // ASE writes matrices column by column; virial = -volume * stress.
    assert_eq!(s.virial, Some([[-4.0, -24.0, -48.0], [-8.0, -32.0, -56.0], [-16.0, -40.0, -64.0]]));
    let v = s.velocities.as_ref().unwrap()[0];
    assert!((v[0] - ASE_VELOCITY).abs() < 1e-12 && v[1] == 0.0);
}

#[test]
fn masses_and_momenta_are_read_as_ase_writes_them() {
    // Written by ase.io.write (ASE 3.29) after set_masses and set_momenta.
    let text = "3\nProperties=species:S:1:pos:R:3:masses:R:1:momenta:R:3 pbc=\"F F F\"\n\
                O  0.00000000  0.00000000  0.12000000  15.99900000  0.10000000  0.00000000  0.00000000\n\
                H  0.00000000  0.76000000 -0.47000000   2.01400000  0.00000000  0.20140000  0.00000000\n\
                H  0.01000000 -0.77000000 -0.46000000   2.01400000  0.00000000  0.00000000 -0.40280000\n";
    let s = &parse(text).unwrap()[0];
    assert_eq!(s.masses, Some(vec![15.999, 2.014, 2.014]));
    // What ASE's own get_velocities says of it, in A/ps.
    let (v, asked) = (s.velocities.as_ref().unwrap(), [(0, 0.6139568), (1, 9.82269479), (2, -19.64538958)]);
    for (k, x) in asked {
        assert!((v[k][k] - x).abs() < 1e-7, "{v:?}");
    }
    // By the standard mass where the file has none, whatever the order of columns; velocities go before momenta.
    let one = |columns: &str, row: &str| {
        parse(&format!("1\nProperties=species:S:1:pos:R:3:{columns} vel_unit=A/ps\nH 0 0 0 {row}\n")).unwrap().remove(0)
    };
    let speed = |s: Structure| s.velocities.unwrap()[0][0] / ASE_VELOCITY;
    assert!((speed(one("momenta:R:3", "1.008 0 0")) - 1.0).abs() < 1e-12);
    assert!((speed(one("momenta:R:3:masses:R:1", "4 0 0 2")) - 2.0).abs() < 1e-12);
    assert_eq!(one("momenta:R:3:vel:R:3", "4 0 0 7 0 0").velocities, Some(vec![[7.0, 0.0, 0.0]]));
    // libAtoms' unit of mass is another one.
    assert_eq!(one("mass:R:1", "104.5").masses, None);
    // A site without mass stays where it is, and a mass that is no number is said by its own name.
    assert_eq!(one("momenta:R:3:masses:R:1", "4 0 0 0").velocities, Some(vec![[0.0; 3]]));
    let bad = |mass: &str| {
        parse(&format!("1\nProperties=species:S:1:pos:R:3:momenta:R:3:masses:R:1\nH 0 0 0 1 0 0 {mass}\n")).unwrap_err()
    };
    assert!(bad("nan").to_string().contains("mass of atom 1 is not finite"), "{}", bad("nan"));
    assert!(bad("heavy").to_string().contains("a mass"), "{}", bad("heavy"));
}

#[test]
fn masses_follow_the_atoms_that_are_selected() {
    let text = "3\nProperties=species:S:1:pos:R:3:masses:R:1\nO 0 0 0 18\nH 0 0 1 2\nH 0 1 0 3\n";
    let of = |select: &str| {
        let options = ReadOptions { select: Some(select.to_string()), ..ReadOptions::default() };
        read_bytes(Format::Extxyz, text.as_bytes(), &options).unwrap().remove(0).masses
    };
    assert_eq!(of("element H"), Some(vec![2.0, 3.0]));
    assert_eq!(of("index 1,3"), Some(vec![18.0, 3.0]));
}

#[test]
fn velocity_units_are_obeyed() {
    let read = |unit: &str| {
        let s = parse(&format!("1\nProperties=species:S:1:pos:R:3:vel:R:3 {unit}\nH 0 0 0 1 0 0\n")).unwrap().remove(0);
        (s.velocities.unwrap()[0][0], s.remarks.len())
    };
    assert_eq!(read("vel_unit=A/ps"), (1.0, 0));
    assert_eq!(read("vel_unit=A/fs"), (1000.0, 0));
    assert_eq!(read("vel_unit=nm/ps"), (10.0, 0));
    assert_eq!(read(""), (ASE_VELOCITY, 1));
    assert!(parse("1\nProperties=species:S:1:pos:R:3:vel:R:3 vel_unit=mph\nH 0 0 0 1 0 0\n").is_err());
}

#[test]
fn bad_content_is_named_with_its_place() {
    let message = |text: &str| parse(text).unwrap_err().to_string();
    let m = message("2\n\nH 0 0 0\nQq 0 0 1\n");
    assert!(m.contains("atom 2") && m.contains("Qq"), "{m}");
    let m = message("1\n\nH 0 nan 0\n");
    assert!(m.contains("position of atom 1"), "{m}");
    let m = message("1\n\nH 0 0 0\n2\n\nH 0 0 0\n");
    assert!(m.contains("frame 2") && m.contains("atom 2 of 2"), "{m}");
    let m = message("two\n\n");
    assert!(m.contains("line 1") && m.contains("number of atoms"), "{m}");
    assert!(message("-3\n\n").contains("number of atoms"));
    assert!(message("0\n\n").contains("no atoms"));
    let m = message("1\n\nH 0 0 x\n");
    assert!(m.contains("line 3") && m.contains("\"x\""), "{m}");
    assert!(message("4000000000\n\nH 0 0 0\n").contains("atom 2 of"));
    assert!(message("1\nProperties=species:S:1:pos:R:3:f:R:3\nH 0 0 0\n").contains("7 columns"));
    assert!(message("1\nLattice=\"1 0 0 0 1 0 0 0 1\nH 0 0 0\n").contains("closing quote"));
    assert!(message("1\nLattice=\"1 0 0 0 1 0\"\nH 0 0 0\n").contains("9 finite numbers"));
    assert!(message("1\nProperties=pos:R:3\n0 0 0\n").contains("species"));
    assert!(message("1\nProperties=species:S:1:pos:R:99999999999999999999\nH 0 0 0\n").contains("Properties"));
}

#[test]
fn mutated_bytes_never_panic() {
    let mut random = Sample(Random(3));
    let mut text = Vec::new();
    for _ in 0..2 {
        write_extxyz(&mut text, &random.structure()).unwrap();
    }
    for _ in 0..3000 {
        let mut bytes = text.clone();
        for _ in 0..1 + random.0.below(6) {
            let at = random.0.below(bytes.len());
            match random.0.below(3) {
                0 => bytes[at] = random.0.bits() as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b" =\"\n:90eT"[random.0.below(9)]),
            }
        }
        let _ = read_bytes(Format::Extxyz, &bytes, &ReadOptions::default());
    }
}
