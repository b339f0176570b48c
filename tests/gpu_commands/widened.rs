//! Steps that halves do not hold are computed twice: whoever runs them is told, while there is time to do something about it.

use super::*;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// `tiny32` with adjoints that no half holds, wherever the atoms are, or (`worse`) with features that no f32 holds; its kernels are those of `tiny32`.
fn beyond(folder: &Path, worse: bool) -> String {
    let mut model = load(Path::new(&parity("tiny32")), &LoadOptions::default()).unwrap();
    match worse {
        true => model.descriptor.layers.iter_mut().for_each(|l| {
            l.n_residual.iter_mut().chain(&mut l.e_residual).flatten().for_each(|r| *r *= 1e30);
        }),
        false => {
            let last = model.descriptor.layers.last_mut().unwrap();
            last.n_residual.iter_mut().flatten().for_each(|r| *r *= 1e6);
            model.fitting.layers[0].linear.weight.iter_mut().for_each(|w| *w *= 1e-6);
        }
    }
    let path = folder.join(if worse { "worse.dp" } else { "beyond.dp" });
    save(&model, &path).unwrap();
    path.display().to_string()
}

/// A frame with two atoms so near that the inverse distance is beyond halves, and one of fewer atoms.
fn near_and_far(folder: &Path) -> String {
    let far = fs::read_to_string(folder.join("water.extxyz")).unwrap();
    let lines: Vec<&str> = far.lines().collect();
    let near = format!("O 0.000008 0.000005 0.12\n{}", lines[2..].join("\n"));
    let frames = format!("13\n{}\n{near}\n9\n{}\n{}\n", lines[1], lines[1], lines[2..11].join("\n"));
    fs::write(folder.join("frames.extxyz"), frames).unwrap();
    "frames.extxyz".into()
}

fn events(text: &str, name: &str) -> Vec<Value> {
    let all = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    all.filter(|e| e["event"] == name).collect()
}

#[test]
fn a_run_tells_at_once_that_steps_are_computed_twice_and_at_its_end_how_many() {
    let folder = folder();
    let path = folder.path();
    prepare_run(path, "tiny32", "ensemble = \"nve\"");
    let [model, worse] = [false, true].map(|worse| format!("model.path={:?}", beyond(path, worse)));
    let run = |more: &[&str]| {
        let all = ["md", "run.toml", "--set", &model, "--precision", "f16x3", "--overwrite"];
        weir(path, &[&all[..], more].concat())
    };
    let text = told(&good(run(&["--log-format", "json"])));
    let (summary, messages) = (events(&text, "summary").remove(0), events(&text, "message"));
    // The first step is that of the start.
    assert_eq!(summary["widened_steps"], 25, "{summary}");
    let of_halves = |m: &&Value| m["level"] == "warn" && m["message"].as_str().unwrap().contains("f16x3");
    assert_eq!(messages.iter().filter(of_halves).count(), 1, "{text}");
    let words = told(&good(run(&[])));
    assert!(words.contains("25 steps left the range") && words.contains("WEIR_PRECISION=tf32x3"), "{words}");
    // Said before what the first step says, not when all is over.
    let mut command = run(&["--set", "output.restart_minutes=1e-9"]);
    let words = told(&good({
        command.env("WEIR_LOG", "debug");
        command
    }));
    let at = |what: &str| words.find(what).unwrap_or_else(|| panic!("no {what} in {words}"));
    assert!(at("beyond the range of products of halves") < at("restart file written at step 1"), "{words}");
    // A step that fails says so before its error: these features no f32 holds.
    let failed = run(&["--set", &worse]).output().unwrap();
    let words = told(&failed);
    assert!(
        !failed.status.success() && words.matches("beyond the range of products of halves").count() == 1,
        "{words}"
    );
    let usual = told(&good(run(&["--set", &format!("model.path={:?}", parity("tiny32")), "--log-format", "json"])));
    assert_eq!(events(&usual, "summary")[0]["widened_steps"], 0);
    assert!(!usual.contains("products of halves"), "{usual}");
}

#[test]
fn frames_that_are_computed_twice_are_told_whatever_comes_after_them() {
    let folder = folder();
    let path = folder.path();
    let (model, frames) = (parity("tiny32"), near_and_far(path));
    let all = ["eval", &model, &frames, "--frames", "all", "--precision", "f16x3", "--log-format", "json"];
    let done = good(weir(path, &[&all[..], &["--json", "-"]].concat()));
    let lines: Vec<Value> =
        String::from_utf8_lossy(&done.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.iter().map(|l| l["widened_steps"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 0]);
    let text = told(&done);
    assert_eq!(text.matches("beyond the range of products of halves").count(), 1, "{text}");
    assert_eq!(events(&text, "done")[0]["widened_steps"], 1, "{text}");
    assert!(text.contains("1 frame left the range of its products and was"), "{text}");
    // The CPU has no such products.
    assert_eq!(eval(path, &model, "water.extxyz", &["--backend", "cpu"])["widened_steps"], 0);
}

/// Without kernels of the wider range the error names what brings them, and no setting that asks for the same ones.
#[test]
fn a_step_without_kernels_of_the_wider_range_says_how_to_have_them() {
    let folder = folder();
    let path = folder.path();
    let (model, frames) = (parity("tiny32"), near_and_far(path));
    let built = |precision: &str, out: &str| -> Vec<String> {
        let all = ["kernels", "build", "--arch", "host", "--model", &model, "--out", out, "--json", "--precision"];
        let done = good(weir(path, &[&all[..], &[precision]].concat()));
        let told: Value = serde_json::from_slice(&done.stdout).unwrap();
        told["kernels"].as_array().unwrap().iter().map(|k| k["file"].as_str().unwrap().to_string()).collect()
    };
    let (both, wide) = (built("f16x3", "kernels"), built("tf32x3", "wide"));
    assert_eq!((both.len(), wide.len()), (2, 1));
    fs::remove_file(path.join("kernels").join(&wide[0])).unwrap();
    let run = |structure: &str| {
        let all = ["eval", &model, structure, "--precision", "f16x3", "--json", "-", "-q"];
        let mut command = weir(path, &all);
        command.env("PATH", "/nowhere").env_remove("CXX").env("WEIR_KERNEL_DIR", "kernels");
        command.env("WEIR_CACHE_DIR", path.join("empty"));
        command
    };
    good(run("water.extxyz"));
    let words = ["tf32x3", "no compiler of kernels for host", "weir kernels build --arch host", "WEIR_KERNEL_DIR=DIR"];
    fails(run(&frames), 1, &words);
    assert!(!told(&run(&frames).output().unwrap()).contains("WEIR_PRECISION"));
}

/// Frames of one composition, and one of another whose calculator cannot be made: its kernels go while the first are being read.
#[test]
fn what_a_calculator_did_is_told_where_the_next_one_cannot_be_made() {
    let folder = folder();
    let path = folder.path();
    let model = parity("tiny32");
    let build = ["kernels", "build", "--arch", "host", "--model", &model, "--out", "kernels", "--precision", "f16x3"];
    good(weir(path, &build));
    let water = fs::read_to_string(path.join("water.extxyz")).unwrap();
    let lines: Vec<&str> = water.lines().collect();
    // More than a pipe holds.
    let many = format!("{}9\n{}\n{}\n", water.repeat(100), lines[1], lines[2..11].join("\n"));
    fs::write(path.join("frames.extxyz"), many).unwrap();
    let all = ["eval", &model, "frames.extxyz", "--frames", "all", "--precision", "f16x3", "--json", "-"];
    let mut command = weir(path, &[&all[..], &["--log-format", "json"]].concat());
    command.env("PATH", "/nowhere").env_remove("CXX").env("WEIR_KERNEL_DIR", "kernels");
    command.env("WEIR_CACHE_DIR", path.join("empty")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    fs::remove_dir_all(path.join("kernels")).unwrap();
    let rest = out.lines().count();
    let done = child.wait_with_output().unwrap();
    let text = told(&done);
    assert!(!done.status.success() && rest == 99, "{rest} lines: {text}");
    let log: String = text.lines().filter(|l| l.starts_with('{')).map(|l| format!("{l}\n")).collect();
    let done = events(&log, "done");
    assert_eq!((done.len(), done[0]["frames"].as_u64()), (1, Some(100)), "{text}");
    assert!(done[0]["peak_bytes"]["hbm"].as_u64() > Some(0) && text.contains("stopped after 100 frames"), "{text}");
}

/// What products `model` means is settled before a run's settings are compared with those of its restart file.
#[test]
fn a_run_whose_products_were_chosen_by_the_comparison_is_resumed_without_a_word_of_other_bits() {
    let folder = folder();
    let path = folder.path();
    prepare_run(path, "tiny32", "ensemble = \"nve\"");
    let model = format!("model.path={:?}", beyond(path, false));
    let run = |prefix: &str, more: &[&str]| {
        let prefix = format!("output.prefix={prefix}");
        let mut command = weir(path, &[&["md", "run.toml", "--set", &model, "--set", &prefix], more].concat());
        command.env("WEIR_VERIFY", "always");
        told(&good(command))
    };
    assert!(run("out/run", &[]).contains("products of tf32x3"));
    run("cut", &["--set", "md.steps=9"]);
    let resumed = run("cut", &["--resume"]);
    assert!(!resumed.contains("products were made in"), "{resumed}");
    // The header comes before the comparison: what it says is taken back.
    assert!(resumed.contains("model = f16x3 (") && resumed.contains("model = tf32x3, not f16x3 ("), "{resumed}");
    let text = run("other", &["--set", "md.steps=1", "--log-format", "json"]);
    assert_eq!(events(&text, "header")[0]["compute_precision"], "f16x3");
    assert_eq!(events(&text, "precision")[0]["compute_precision"], "tf32x3", "{text}");
    assert_eq!(written(path, "out/run"), written(path, "cut"));
}
