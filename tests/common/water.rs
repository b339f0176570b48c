//! A small structure in a folder of its own, for tests of the command line on the emulated device.

use std::fs;

/// Four molecules in a periodic cell smaller than twice the cutoff.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("gpu").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut text =
        String::from("12\nLattice=\"6.6 0 0 0.4 6.2 0 0 0.3 6.4\" Properties=species:S:1:pos:R:3 pbc=\"T T T\"\n");
    let molecule = [("O", 0.0, 0.0, 0.12), ("H", 0.0, 0.76, -0.47), ("H", 0.01, -0.77, -0.46)];
    for (x, y, z) in [(0.0, 0.0, 0.0), (3.3, 0.2, 3.1), (0.3, 3.1, 3.2), (3.2, 3.0, 0.1)] {
        for (name, a, b, c) in molecule {
            text += &format!("{name} {} {} {}\n", a + x, b + y, c + z);
        }
    }
    fs::write(folder.path().join("water.extxyz"), text).unwrap();
    folder
}
