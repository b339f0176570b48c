//! What model files promise, on carried files and on the shared fixtures where they exist.

use std::path::{Path, PathBuf};

use weir_engine::model::info::describe;
use weir_engine::model::{heads, load, load_bytes, new_model, save, to_dp, to_weir, LoadOptions, Model};

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

/// The model without where it came from.
fn bare(mut model: Model) -> Model {
    model.source = Default::default();
    model
}

#[test]
fn every_format_of_a_fixture_gives_the_weights_of_its_dp() {
    let mut compared = 0;
    for folder in fixtures() {
        let dp = folder.join("model.dp");
        if !dp.exists() {
            continue;
        }
        let reference = bare(open(&dp));
        for name in ["model.pt", "model.pth", "model.yaml", "model_nocode.pt2"] {
            let path = folder.join(name);
            if path.exists() {
                let model = open(&path);
                assert!(model.source.remarks.is_empty(), "{:?}", model.source.remarks);
                assert!(bare(model) == reference, "{} differs from its .dp", path.display());
                compared += 1;
            }
        }
    }
    assert!(compared == 0 || compared >= 12, "{compared}");
}

#[test]
fn each_head_of_a_multi_task_checkpoint_is_its_frozen_model() {
    let frozen = bare(open(&carried("multitask_H2O_A.dp")));
    let options = LoadOptions { head: Some("H2O_A".into()), allow_unknown: false };
    let model = load(&carried("multitask.pt"), &options).unwrap();
    assert_eq!(model.source.head.as_deref(), Some("H2O_A"));
    assert!(bare(model) == frozen);
    // The alias `Default` stands for the first branch when no head is given.
    assert!(bare(open(&carried("multitask.pt"))) == frozen);
    for folder in fixtures() {
        let name = folder.file_name().unwrap().to_str().unwrap().to_string();
        let Some(head) = name.strip_prefix("multitask_") else { continue };
        let options = LoadOptions { head: Some(head.to_lowercase()), allow_unknown: false };
        let model = load(&carried("multitask.pt"), &options).unwrap();
        assert!(bare(model) == bare(open(&folder.join("model.dp"))), "{head}");
        assert!(bare(open(&folder.join("model.pth"))) == bare(open(&folder.join("model.dp"))), "{head}");
    }
}

#[test]
fn checkpoints_of_both_torch_backends_give_the_weights_of_the_dp() {
    for name in ["tiny.pt", "tiny_exportable.pt"] {
        let model = open(&carried(name));
        assert!(model.source.remarks.is_empty(), "{:?}", model.source.remarks);
        assert!(bare(model) == bare(open(&carried("tiny.dp"))), "{name}");
    }
}

#[test]
fn excluded_types_of_the_fitting_net_follow_the_model_as_in_deepmd_kit() {
    let mut model = new_model("tiny", 1).unwrap();
    model.fitting.exclude_types = vec![3];
    model.atom_exclude_types = vec![5];
    let read = load_bytes(&to_dp(&model).unwrap(), "m.dp", &LoadOptions::default()).unwrap();
    assert_eq!((read.fitting.exclude_types, read.atom_exclude_types), (vec![5], vec![5]));
    assert!(read.source.remarks[0].contains("exclude_types [3] of the fitting net have no effect"));
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

#[test]
fn a_model_written_and_read_back_is_the_same_to_the_last_bit() {
    let mut files = vec![carried("tiny.dp"), carried("multitask_H2O_A.dp")];
    files.extend(fixtures().into_iter().map(|f| f.join("model.dp")).filter(|p| p.exists()));
    let options = LoadOptions::default();
    for file in files {
        let model = open(&file);
        for (bytes, format) in [(to_weir(&model).unwrap(), "weir"), (to_dp(&model).unwrap(), "dp")] {
            let again = load_bytes(&bytes, "model", &options).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            assert_eq!(again.source.format, format);
            assert!(bare(again) == bare(model.clone()), "{} as {format}", file.display());
        }
        let weir = load_bytes(&to_weir(&model).unwrap(), "model", &options).unwrap();
        assert_eq!(weir.source.origin_sha256.as_deref(), Some(model.source.sha256.as_str()));
        assert_eq!(to_weir(&model).unwrap(), to_weir(&model).unwrap());
    }
}

#[test]
fn the_3m_fixture_has_the_shape_of_the_preset() {
    for folder in fixtures().iter().filter(|f| f.ends_with("dpa31_3m")) {
        let fixture = open(&folder.join("model.dp"));
        let preset = new_model("dpa-3.1-3m", 5).unwrap();
        assert_eq!(describe(&fixture).parameters, describe(&preset).parameters);
        assert_eq!(describe(&fixture).parameters.total, 3_268_689);
        assert_eq!(fixture.descriptor.options, preset.descriptor.options);
        assert_eq!(fixture.type_map, preset.type_map);
        assert_eq!(fixture.fitting.case_embd, preset.fitting.case_embd);
        let shape = |m: &Model| {
            m.fitting
                .layers
                .iter()
                .map(|l| (l.linear.inputs, l.linear.outputs, l.timestep.is_some(), l.resnet))
                .collect::<Vec<_>>()
        };
        assert_eq!(shape(&fixture), shape(&preset));
    }
}

#[test]
fn heads_are_listed_with_aliases_and_elements() {
    let list = heads(&carried("multitask.pt")).unwrap();
    assert_eq!(list.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["H2O_A", "H2O_B"]);
    assert_eq!(list[0].aliases, ["Default", "water-a"]);
    assert_eq!((list[0].types, list[0].fitting.as_str()), (5, "ener"));
    assert_eq!(list[0].observed_types, ["H", "O"]);
    assert_eq!(list[0].description.as_deref(), Some("first water set"));
    assert_eq!(heads(&carried("tiny.dp")).unwrap()[0].name, "Default");

    let load_head =
        |head: &str| load(&carried("multitask.pt"), &LoadOptions { head: Some(head.into()), allow_unknown: false });
    assert_eq!(load_head("WATER-A").unwrap().source.head.as_deref(), Some("H2O_A"));
    let message = load_head("H2O_C").unwrap_err().to_string();
    assert!(message.contains("multitask.pt") && message.contains("H2O_A (alias Default, water-a), H2O_B"), "{message}");
}

#[test]
fn saving_replaces_a_file_whole_and_refuses_unknown_suffixes() {
    let folder = tempfile::tempdir().unwrap();
    let model = open(&carried("multitask_H2O_A.dp"));
    for name in ["m.weir", "m.dp"] {
        let path = folder.path().join(name);
        save(&model, &path).unwrap();
        save(&model, &path).unwrap();
        assert!(bare(open(&path)) == bare(model.clone()));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    assert!(save(&model, &folder.path().join("m.pth")).unwrap_err().to_string().contains("dp convert-backend"));
    assert!(save(&model, &folder.path().join("no/such/folder/m.dp")).is_err());
}
