//! No damaged structure file makes a reader panic or ask for unbounded memory.

mod structure_support;

use std::path::PathBuf;

use structure_support::Random;
use weir_engine::structure::{frames, read, read_bytes, Format, ReadOptions, Structure};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/structures").join(name)
}

const FILES: [(&str, Format); 10] = [
    ("water.extxyz", Format::Extxyz),
    ("water.gro", Format::Gro),
    ("water.pdb", Format::Pdb),
    ("water_direct.vasp", Format::Poscar),
    ("water_cartesian.vasp", Format::Poscar),
    ("water_full.data", Format::LammpsData),
    ("water_atomic.data", Format::LammpsData),
    ("water.lammpstrj", Format::LammpsDump),
    ("water.xtc", Format::Xtc),
    ("water.trr", Format::Trr),
];

fn atoms() -> Structure {
    read(data("water.gro"), &ReadOptions::default()).unwrap()
}

/// Whatever comes out of a reader is consistent.
fn inspect(result: Result<Vec<Structure>, weir_engine::structure::StructureError>, what: &str) {
    match result {
        Ok(frames) => {
            for s in frames {
                assert!(!s.is_empty() && s.symbols.len() == s.len() && s.original.len() == s.len(), "{what}");
                assert!(s.positions.iter().flatten().all(|x| x.is_finite()), "{what}");
                assert!(s.residues.is_empty() || s.residues.len() == s.len(), "{what}");
                assert!(s.names.len() == s.residues.len() && s.names.len() == s.residue_numbers.len(), "{what}");
            }
        }
        Err(e) => assert!(!e.to_string().is_empty(), "{what}"),
    }
}

#[test]
fn mutated_files_of_every_format_never_panic() {
    let atoms = atoms();
    let options = ReadOptions { structure: Some(&atoms), ..ReadOptions::default() };
    // More rounds for the long checks.
    let rounds = std::env::var("WEIR_FUZZ_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(4000);
    let mut random = Random(11);
    for (name, format) in FILES {
        let original = std::fs::read(data(name)).unwrap();
        let with = if format == Format::LammpsDump { ReadOptions::default() } else { options.clone() };
        assert!(read_bytes(format, &original, &with).is_ok(), "{name}");
        for round in 0..rounds {
            let mut bytes = original.clone();
            for _ in 0..1 + random.below(5) {
                let at = random.below(bytes.len());
                match random.below(7) {
                    0 => bytes[at] = random.below(256) as u8,
                    1 => bytes[at] ^= 1 << random.below(8),
                    2 => bytes.insert(at, b" \n.-0129eEnN#:=\"\xff\xc3"[random.below(17)]),
                    3 => drop(bytes.remove(at)),
                    4 => bytes.truncate(at.max(1)),
                    5 => {
                        let end = (at + random.below(40)).min(bytes.len());
                        let piece = bytes[at..end].to_vec();
                        let to = random.below(bytes.len());
                        bytes.splice(to..to, piece);
                    }
                    _ => {
                        let end = (at + 4).min(bytes.len());
                        bytes[at..end].fill([0, 0x7f, 0xff, b'9'][random.below(4)]);
                    }
                }
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
            inspect(read_bytes(format, &bytes, &with), &format!("{name} round {round}"));
        }
    }
}

/// Changes a few bytes of a file.
fn damage(random: &mut Random, original: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] = random.below(256) as u8,
            1 => bytes.insert(at, b" \n.-0129e[]#;(\"'"[random.below(16)]),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn damaged_deepmd_systems_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let names =
        ["type.raw", "type_map.raw", "set.000/coord.npy", "set.000/box.npy", "set.000/force.npy", "set.000/energy.npy"];
    let source = data("water_deepmd");
    std::fs::create_dir(folder.path().join("set.000")).unwrap();
    let copy = |name: &str| std::fs::copy(source.join(name), folder.path().join(name)).map(|_| ()).unwrap();
    names.iter().for_each(|name| copy(name));
    let read_all = || -> Result<Vec<Structure>, _> { frames(folder.path(), &ReadOptions::default())?.collect() };
    assert_eq!(read_all().unwrap().len(), 2);
    let mut random = Random(13);
    for name in names {
        let original = std::fs::read(source.join(name)).unwrap();
        for _ in 0..300 {
            std::fs::write(folder.path().join(name), damage(&mut random, &original)).unwrap();
            inspect(read_all(), name);
        }
        copy(name);
    }
}

#[test]
fn damaged_topologies_index_and_element_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let gro = std::fs::read(data("water.gro")).unwrap();
    let path = folder.path().join("file");
    let topology = "#include \"a.itp\"\n[ atomtypes ]\nOW 8 15.999 -0.8 A 0.3 0.6\nHW HW 1 1.008 0.4 A 0 0\n\
                    [ moleculetype ]\nSOL 2\n[ atoms ]\n1 OW 1 SOL OW 1 -0.8\n2 HW 1 SOL HW1 1 0.4 1.008 ; x\n";
    let index = "[ System ]\n1 2 3 4 5 6 7 8\n9 10 11 12 13 14 15\n[ Group ]\n1 2 3\n";
    let mut random = Random(14);
    for (text, kind) in [(topology, 0), (index, 1), ("SOL OW O # x\n* HW1 H\nHW2 H\n", 2)] {
        for round in 0..500 {
            let bytes = if round == 0 { text.as_bytes().to_vec() } else { damage(&mut random, text.as_bytes()) };
            std::fs::write(&path, bytes).unwrap();
            let mut options = ReadOptions::default();
            match kind {
                0 => options.topology = Some(path.clone()),
                1 => (options.index, options.select) = (Some(path.clone()), Some("Group".to_string())),
                _ => options.elements = Some(path.clone()),
            }
            let result = read_bytes(Format::Gro, &gro, &options);
            assert!(round > 0 || result.is_ok());
            inspect(result, "side file");
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let atoms = atoms();
    let options = ReadOptions { structure: Some(&atoms), ..ReadOptions::default() };
    let mut random = Random(12);
    for format in Format::ALL {
        for _ in 0..1000 {
            let length = random.below(300);
            let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            inspect(read_bytes(*format, &bytes, &options), format.name());
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_has_fewer_frames() {
    let atoms = atoms();
    let options = ReadOptions { structure: Some(&atoms), ..ReadOptions::default() };
    for (name, format) in FILES {
        let with = if format == Format::LammpsDump { ReadOptions::default() } else { options.clone() };
        let bytes = std::fs::read(data(name)).unwrap();
        let whole = read_bytes(format, &bytes, &with).unwrap();
        let binary = matches!(format, Format::Xtc | Format::Trr);
        // Text is cut at the ends of lines: a number that lost digits is still a number.
        let cuts = (0..bytes.len()).filter(|k| binary || *k == 0 || bytes[k - 1] == b'\n');
        for cut in cuts {
            if let Ok(frames) = read_bytes(format, &bytes[..cut], &with) {
                // What may be missing from the end of a text file: END lines, blank lines, velocities of all atoms.
                let same =
                    frames.len() == whole.len() && frames.iter().zip(&whole).all(|(a, b)| a.positions == b.positions);
                let rest = String::from_utf8_lossy(&bytes[cut..]).into_owned();
                let harmless = rest.trim().is_empty()
                    || rest.trim() == "END"
                    || (format == Format::LammpsData && rest.trim_start().starts_with("Velocities"));
                assert!(frames.len() < whole.len() || (same && harmless), "{name} cut at {cut}");
            }
        }
    }
}

#[test]
fn lying_counts_allocate_nothing() {
    let atoms = atoms();
    let many = Structure { file_atoms: 4_000_000_000, ..atoms.clone() };
    let options = ReadOptions { structure: Some(&many), ..ReadOptions::default() };
    for (format, text) in [
        (Format::Extxyz, "4294967295\n\nH 0 0 0\n"),
        (Format::Gro, "t\n4294967295\n    1SOL     OW    1   0.1   0.2   0.3\n"),
        (Format::Poscar, "t\n1\n1 0 0\n0 1 0\n0 0 1\nH O\n4294967294 1\nDirect\n0 0 0\n"),
        (Format::LammpsData, "t\n\n4294967295 atoms\n1 atom types\n0 1 xlo xhi\n0 1 ylo yhi\n0 1 zlo zhi\n\nAtoms\n\n1 1 0 0 0\n"),
        (Format::LammpsDump, "ITEM: NUMBER OF ATOMS\n4294967295\nITEM: BOX BOUNDS pp pp pp\n0 1\n0 1\n0 1\nITEM: ATOMS id element x y z\n1 H 0 0 0\n"),
    ] {
        assert!(read_bytes(format, text.as_bytes(), &ReadOptions::default()).is_err(), "{}", format.name());
    }
    // xtc and trr that claim more bytes than there are.
    for name in ["water.xtc", "water.trr"] {
        let format = if name == "water.xtc" { Format::Xtc } else { Format::Trr };
        let bytes = std::fs::read(data(name)).unwrap();
        for at in (0..bytes.len().min(120)).step_by(4) {
            let mut lie = bytes.clone();
            lie[at..at + 4].copy_from_slice(&0x7fff_fff0u32.to_be_bytes());
            inspect(read_bytes(format, &lie, &options), name);
        }
    }
}
