//! Every structure of the project's shared folder is read. Skipped where that folder is absent.

use std::path::PathBuf;

use weir_engine::structure::{frames, read, ReadOptions, Structure};

fn shared() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("WEIR_SHARED").map_or(beside, PathBuf::from);
    if folder.join("structures").is_dir() {
        return Some(folder);
    }
    println!("skipped: no shared folder (set WEIR_SHARED)");
    None
}

fn composition(s: &Structure) -> String {
    let count = |e: &str| s.symbols.iter().filter(|x| *x == e).count();
    ["H", "C", "N", "O", "S"].map(|e| format!("{e}{}", count(e))).join(" ")
}

const PROTEINS: [(&str, usize, &str, usize); 4] = [
    ("1YRF", 582, "H293 C189 N49 O50 S1", 8187),
    ("1UBQ", 1231, "H629 C378 N105 O118 S1", 18869),
    ("3LZM", 2643, "H1334 C823 N238 O241 S7", 33322),
    ("2PTC", 4114, "H2031 C1296 N363 O403 S21", 42297),
];

#[test]
fn the_proteins_have_the_atoms_their_readme_says_in_every_format() {
    let Some(shared) = shared() else { return };
    for (name, atoms, elements, solvated) in PROTEINS {
        let file = |suffix: &str| shared.join("structures").join(format!("{name}{suffix}"));
        let xyz = read(file(".extxyz"), &ReadOptions::default()).unwrap();
        assert_eq!((xyz.len(), composition(&xyz).as_str(), xyz.cell), (atoms, elements, None));
        let gro = read(file(".gro"), &ReadOptions::default()).unwrap();
        assert_eq!(gro.symbols, xyz.symbols);
        for (a, b) in gro.positions.iter().flatten().zip(xyz.positions.iter().flatten()) {
            assert!((a - b).abs() < 0.0101, "{name}: {a} {b}");
        }
        let all = read(file("_solvated.gro"), &ReadOptions::default()).unwrap();
        assert_eq!(all.len(), solvated);
        assert_eq!(all.symbols[..atoms], xyz.symbols);
        let topology = Some(shared.join(format!("structures/{name}_top/topol.top")));
        let by_topology = read(file("_solvated.gro"), &ReadOptions { topology, ..Default::default() }).unwrap();
        assert_eq!(by_topology.symbols, all.symbols);

        let select = |expression: &str, index: bool| {
            let options = ReadOptions {
                select: Some(expression.to_string()),
                index: index.then(|| file(".ndx")),
                ..ReadOptions::default()
            };
            read(file("_solvated.gro"), &options).unwrap()
        };
        for protein in [select("protein", false), select("Protein", true), select("not (SOL NA CL)", false)] {
            assert_eq!(protein.original, (0..atoms).collect::<Vec<_>>());
            assert_eq!((protein.symbols.len(), protein.file_atoms), (atoms, solvated));
            assert_eq!(protein.cell, all.cell);
        }
        assert_eq!(select("Water_and_ions", true).len(), solvated - atoms);
        assert_eq!(select("water or ions", false).len(), solvated - atoms);
        assert_eq!(select("System", true).len(), solvated);
    }
}

#[test]
fn the_other_structures_have_their_counts_and_cells() {
    let Some(shared) = shared() else { return };
    for (name, atoms, periodic) in [
        ("water_63", 63, true),
        ("water_192", 192, true),
        ("water_576", 576, true),
        ("TiO2_rutile", 1050, true),
        ("TiO2_slab_vacuum", 576, true),
        ("Cu_fcc_864", 864, true),
    ] {
        let s = read(shared.join(format!("structures/{name}.extxyz")), &ReadOptions::default()).unwrap();
        assert_eq!((s.len(), s.cell.is_some()), (atoms, periodic), "{name}");
    }
    let molecules: Result<Vec<Structure>, _> =
        frames(shared.join("structures/molecules16.extxyz"), &ReadOptions::default()).unwrap().collect();
    let molecules = molecules.unwrap();
    assert_eq!(molecules.len(), 16);
    assert!(molecules.iter().all(|m| m.cell.is_none()));
}

#[test]
fn the_water_data_set_is_read_with_its_labels() {
    let Some(shared) = shared() else { return };
    for (name, sets) in [("data_0", 1), ("data_1", 2), ("data_2", 1), ("data_3", 1)] {
        let folder = shared.join("data/water").join(name);
        let mut count = 0;
        for frame in frames(&folder, &ReadOptions::default()).unwrap() {
            let s = frame.unwrap();
            assert_eq!((s.len(), composition(&s).as_str()), (192, "H128 C0 N0 O64 S0"));
            assert!(s.energy.is_some() && s.forces.is_some() && s.cell.is_some());
            count += 1;
        }
        // A frame has 9 f32 in box.npy, behind a header of 128 bytes.
        let of_set = |k: usize| folder.join(format!("set.00{k}/box.npy")).metadata().unwrap().len();
        assert_eq!(count, (0..sets).map(|k| (of_set(k) - 128) / 36).sum::<u64>(), "{name}");
    }
}
