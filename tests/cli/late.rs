//! What `weir eval` has computed when a later frame fails.

use super::{err, folder, out, program, run, WATER};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Three frames with labels, one whose third atom cannot be read, and another.
fn frames(folder: &Path) {
    let labelled = |k: usize| WATER.replace("pbc=", &format!("energy={k} pbc="));
    let bad = labelled(3).replace("0.01", "0.0l");
    let many = [labelled(0), labelled(1), labelled(2), bad, labelled(4)].concat();
    fs::write(folder.join("many.extxyz"), many).unwrap();
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

#[test]
fn frames_before_one_that_fails_are_written_and_compared() {
    let folder = folder();
    let path = folder.path();
    frames(path);
    let eval = ["eval", "model.dp", "many.extxyz", "--frames", "all", "-q"];
    let refused = |more: &[&str]| {
        let output = run(path, &[&eval[..], more].concat());
        assert_eq!(output.status.code(), Some(1));
        let text = err(&output);
        assert!(
            text.contains("stopped after 3 frames,") && text.contains("frame 4") && text.contains("0.0l"),
            "{text}"
        );
        out(&output)
    };
    refused(&["--json", "e.json"]);
    let written = lines(&fs::read_to_string(path.join("e.json")).unwrap());
    assert_eq!(written.iter().map(|l| l["frame"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    // The errors over what was computed are those of the same frames alone, as lines and as a table.
    let alone = ["eval", "model.dp", "many.extxyz", "--frames", "0:3", "-q", "--compare"];
    refused(&["--compare", "--json", "e.json"]);
    let written = lines(&fs::read_to_string(path.join("e.json")).unwrap());
    let whole = lines(&out(&run(path, &[&alone[..], &["--json", "-"]].concat())));
    assert_eq!((written.len(), &written[3]), (4, &whole[3]));
    assert_eq!(written[3]["compare"]["frames"], 3);
    let table = out(&run(path, &alone));
    assert!(table.contains("Energy"), "{table}");
    assert_eq!(refused(&["--compare"]), table);
    // A trace holds the steps that were made.
    let mut traced = program(path, &eval);
    assert_eq!(traced.env("WEIR_PROFILE", "trace.json").output().unwrap().status.code(), Some(1));
    let trace: Value = serde_json::from_slice(&fs::read(path.join("trace.json")).unwrap()).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().iter().any(|e| e["name"] == "fitting net"));
}

/// `weir eval --json e.json` of all frames of `many.extxyz`, where no file may have more than so many blocks of 512 bytes: as on a full disk, amid a
/// line.
fn cut_short(folder: &Path, blocks: usize, more: &str) -> Output {
    let weir = env!("CARGO_BIN_EXE_weir");
    let eval = format!("'{weir}' eval model.dp many.extxyz --frames all --json e.json -q {more}");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {eval}");
    Command::new("sh").current_dir(folder).env("WEIR_BACKEND", "cpu").args(["-c", &script]).output().unwrap()
}

#[test]
fn a_full_disk_leaves_whole_lines_of_json() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("many.extxyz"), WATER.repeat(40)).unwrap();
    let output = cut_short(path, 9, "");
    let text = err(&output);
    assert!(output.status.code() == Some(1) && text.contains("cannot write e.json"), "{text}");
    let written = fs::read_to_string(path.join("e.json")).unwrap();
    let count = lines(&written).len();
    assert!(written.ends_with('\n') && (1..40).contains(&count), "{count}");
    assert!(text.contains(&format!("stopped after {count} frame")), "{text}");
}

#[test]
fn errors_are_over_the_frames_whose_lines_are_there() {
    let folder = folder();
    let path = folder.path();
    let labelled = |k: usize, text: &str| text.replace("pbc=", &format!("energy={k} pbc="));
    let apart: String = (0..40).map(|k| format!("O {} 0 0\n", 9 * k)).collect();
    let long = format!("40\n{}\n{apart}", WATER.lines().nth(1).unwrap());
    let short = [labelled(0, WATER), labelled(1, WATER)].concat();
    fs::write(path.join("many.extxyz"), &short).unwrap();
    let whole = run(path, &["eval", "model.dp", "many.extxyz", "--frames", "all", "-q", "--compare", "--json", "-"]);
    let whole = out(&whole);
    // The third frame's line has no room, the one of the errors has: written before, it would count what is nowhere.
    fs::write(path.join("many.extxyz"), short + &labelled(1000, &long)).unwrap();
    let output = cut_short(path, whole.len().div_ceil(512) + 1, "--compare");
    let text = err(&output);
    assert!(text.contains("stopped after 2 frames,") && text.contains("cannot write e.json"), "{text}");
    let written = lines(&fs::read_to_string(path.join("e.json")).unwrap());
    assert_eq!((written.len(), written.last()), (3, lines(&whole).last()));
}

#[test]
fn what_is_read_is_never_written_over() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("water.extxyz"), WATER).unwrap();
    fs::hard_link(path.join("model.dp"), path.join("other.dp")).unwrap();
    let kept = || ["model.dp", "water.extxyz"].map(|name| fs::read(path.join(name)).unwrap());
    let before = kept();
    let eval = ["eval", "model.dp", "water.extxyz", "-q"];
    for (by, arguments) in [
        ("--json", [&eval[..], &["--json", "model.dp"]].concat()),
        ("--json", [&eval[..], &["--json", "other.dp"]].concat()),
        ("--json", [&eval[..], &["--json", "./water.extxyz"]].concat()),
        ("--out", vec!["minimize", "model.dp", "water.extxyz", "--out", "water.extxyz"]),
        ("--out", vec!["model", "convert", "model.dp", "--out", "other.dp"]),
    ] {
        let output = run(path, &arguments);
        let text = err(&output);
        assert!(text.contains(by) && text.contains("both read and written"), "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(1));
        assert!(kept() == before, "{arguments:?}");
    }
    let output = program(path, &eval).env("WEIR_PROFILE", "water.extxyz").output().unwrap();
    let text = err(&output);
    assert!(text.contains("WEIR_PROFILE") && text.contains("both read and written"), "{text}");
    assert!(kept() == before);
}
