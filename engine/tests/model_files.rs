//! What model files promise, on carried files and on the shared fixtures where they exist.

use std::path::{Path, PathBuf};

use weir_engine::model::{load, LoadOptions, Model};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn carried(name: &str) -> PathBuf {
    root().join("tests/data/models").join(name)
}

/// Folders of the shared models, or nothing with a note.
fn fixtures() -> Vec<PathBuf> {
    let beside = std::env::var_os("WEIR_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let Ok(list) = std::fs::read_dir(beside.join("fixtures/models")) else {
        println!("skipped: no shared fixtures (set WEIR_SHARED)");
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = list.map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    folders
}

fn open(path: &Path) -> Model {
    load(path, &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_dp_fixture_loads() {
    for folder in fixtures() {
        let path = folder.join("model.dp");
        if path.exists() {
            let model = open(&path);
            assert_eq!(model.descriptor.statistics.slots, 1, "{}", path.display());
            assert!(model.source.remarks.is_empty());
        }
    }
}

#[test]
fn the_carried_dp_file_has_the_options_it_was_made_with() {
    let model = open(&carried("tiny.dp"));
    assert_eq!(model.type_map, ["H", "C", "N", "O", "S"]);
    let o = &model.descriptor.options;
    assert_eq!((o.n_dim, o.e_dim, o.a_dim, o.nlayers), (14, 10, 8, 3));
    assert_eq!((o.e_rcut, o.a_rcut, o.e_sel, o.a_sel), (4.5, 3.5, 160, 60));
    assert_eq!(model.fitting.layers.len(), 4);
    assert_eq!(model.source.format, "dp");
    assert_eq!(model.source.sha256.len(), 64);
}
