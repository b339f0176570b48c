//! Any bytes, taken as a structure file of any format, give frames or an error: no panic, no unbounded memory.
//!
//! The first byte chooses the format, the rest is the file. xtc and trr get the 15 atoms of five water molecules.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_engine::structure::{read_bytes, Format, ReadOptions, Structure};

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    let format = Format::ALL[usize::from(*first) % Format::ALL.len()];
    let atoms = Structure {
        symbols: ["O", "H", "H"].repeat(5).into_iter().map(str::to_string).collect(),
        positions: vec![[0.0; 3]; 15],
        original: (0..15).collect(),
        file_atoms: 15,
        ..Structure::default()
    };
    let options = ReadOptions {
        structure: Some(&atoms).filter(|_| format.needs_structure()),
        types: if first & 0x80 == 0 { Vec::new() } else { vec!["O".to_string(), "H".to_string()] },
        ..ReadOptions::default()
    };
    if let Ok(frames) = read_bytes(format, bytes, &options) {
        for s in frames {
            assert!(!s.is_empty() && s.symbols.len() == s.len() && s.original.len() == s.len());
            assert!(s.positions.iter().flatten().all(|x| x.is_finite()));
        }
    }
});
