//! What a run takes of its device: arithmetic, and only from one that computes right.

use super::*;

#[test]
fn what_gpus_do_not_have_is_refused_with_the_alternative() {
    let folder = folder();
    let tiny = parity("tiny");
    let with = |more: &[&str]| {
        let mut all = vec!["eval", tiny.as_str(), "water.extxyz", "-q", "--json", "-"];
        all.extend(more);
        weir(folder.path(), &all)
    };
    fails(with(&["--precision", "bf16"]), 2, &["--precision", "no kernels yet", "tf32x3"]);
    let sequential = parity("sequential");
    let single = ["eval", &sequential, "water.extxyz", "--precision", "f32", "-q", "--json", "-"];
    fails(weir(folder.path(), &single), 1, &["sequential_update", "--precision f64"]);
    // What computes nothing does not ask for a device.
    good(weir(folder.path(), &["model", "info", &tiny]));
}

#[test]
fn matrix_units_are_chosen_by_the_precision() {
    let folder = folder();
    let model = parity("tiny32");
    let run = |precision: &str| eval(folder.path(), &model, "water.extxyz", &["--precision", precision]);
    let [double, single, three, halves, one] = ["f64", "f32", "tf32x3", "f16x3", "tf32"].map(run);
    let told = [&three, &halves, &one].map(|r| r["precision"].as_str().unwrap());
    assert_eq!(told, ["tf32x3", "f16x3", "tf32"]);
    let [plain, fine, finer, coarse] = [&single, &three, &halves, &one].map(|r| differs(r, &double, "forces"));
    assert!(
        fine.max(finer) <= 2.0 * plain && coarse > 20.0 * plain,
        "f32 {plain:.1e}, tf32x3 {fine:.1e}, f16x3 {finer:.1e}, tf32 {coarse:.1e} eV/A"
    );
    for precision in ["tf32x3", "f16x3"] {
        let on_cpu = ["eval", &model, "water.extxyz", "--backend", "cpu", "--precision", precision, "-q"];
        fails(weir(folder.path(), &on_cpu), 2, &[precision, "needs a GPU"]);
    }
}

#[test]
fn f32_models_have_the_matrix_units_of_their_device_unless_f32_is_asked_for() {
    let folder = folder();
    let (single, double) = (parity("tiny32"), parity("tiny"));
    let [open, halves] = [&[][..], &["--precision", "f16x3"]].map(|p| eval(folder.path(), &single, "water.extxyz", p));
    assert_eq!(open["precision"].as_str(), Some("f16x3"));
    assert_eq!(bits(&open), bits(&halves));
    for (more, expected) in [(&["--backend", "cpu"][..], "f32"), (&["--precision", "f32"], "f32")] {
        assert_eq!(eval(folder.path(), &single, "water.extxyz", more)["precision"].as_str(), Some(expected));
    }
    assert_eq!(eval(folder.path(), &double, "water.extxyz", &[])["precision"].as_str(), Some("f64"));
    let header = told(&good(weir(folder.path(), &["eval", &single, "water.extxyz"])));
    assert!(header.contains("model = f16x3"), "{header}");
    let arguments = ["kernels", "build", "--arch", "host", "--model", &single, "--out", "kernels", "--json"];
    let built: Value = serde_json::from_slice(&good(weir(folder.path(), &arguments)).stdout).unwrap();
    let mut ready = weir(folder.path(), &["eval", &single, "water.extxyz", "--json", "-", "-q"]);
    ready.env("PATH", "/nowhere").env_remove("CXX").env("WEIR_KERNEL_DIR", "kernels");
    let ready: Value = serde_json::from_slice(&good(ready).stdout).unwrap();
    // Those of steps beyond the range of halves too, and multiply-adds, which are used where units come out wrong.
    assert_eq!((built["kernels"].as_array().unwrap().len(), bits(&ready)), (3, bits(&open)));
}

/// A compiler that turns words of the kernels' text into others.
fn faulty(folder: &Path, name: &str, word: &str, other: &str) -> PathBuf {
    let path = folder.join(name);
    let text = format!(
        "#!/bin/sh\nfor a in \"$@\"; do case \"$a\" in */kernels.cpp)\ngrep -q '{word}' \"$a\" || exit 9\nsed -i 's/{word}/{other}/' \"$a\"\n\
         esac; done\nexec c++ \"$@\"\n"
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_device_that_computes_wrong_is_found_out_before_its_first_step() {
    let folder = folder();
    let path = folder.path();
    let on = |compiler: &Path, model: &str, more: &[&str]| {
        let all = [&["eval", model, "water.extxyz", "--json", "-", "--threads", "2"][..], more].concat();
        let mut command = weir(path, &all);
        // All call themselves by one name and version.
        command.env("WEIR_CACHE_DIR", compiler.with_extension("kept")).env("CXX", compiler);
        command
    };
    let checked = |compiler: &Path, model: &str, more: &[&str]| {
        let mut command = on(compiler, model, more);
        command.env("WEIR_VERIFY", "always");
        command
    };
    // What numbers are short of halves, or of TF32 in steps beyond the range of halves, is left out: a thousandth of a product is off.
    let (single, double) = (parity("tiny32"), parity("tiny"));
    let halves = faulty(path, "halves", "halves_of(a - near\\[0\\], b - near\\[1\\])", "0u");
    let coarse = faulty(path, "coarse", "PRODUCTS == TF32X3 ? x\\[k\\] - f.hi\\[k\\]", "PRODUCTS == TF32X3 ? 0.0f");
    let plain = eval(path, &single, "water.extxyz", &["--precision", "f32"]);
    for (compiler, wrong) in [(&halves, "(f16x3)"), (&coarse, "(tf32x3)")] {
        let open = good(checked(compiler, &single, &[]));
        let words = told(&open);
        assert!(words.contains("multiply-adds of f32 are used instead") && words.contains(wrong), "{words}");
        let open: Value = serde_json::from_slice(&open.stdout).unwrap();
        assert_eq!((open["precision"].as_str(), bits(&open)), (Some("f32"), bits(&plain)));
    }
    // Halves that are no numbers: no model is to blame for what nobody can know, and the kernels of the wider range have shown theirs.
    let none = faulty(path, "none", "halves_of(a - near\\[0\\], b - near\\[1\\])", "0x7e007e00u");
    let three = eval(path, &single, "water.extxyz", &["--precision", "tf32x3"]);
    let open = good(checked(&none, &single, &[]));
    let words = told(&open);
    let known =
        ["f16x3 gave no finite numbers", "where tf32x3 did", "or products of halves come out wrong on emulated device"];
    assert!(
        known.iter().all(|w| words.contains(w)) && words.contains("products of tf32x3 are used instead"),
        "{words}"
    );
    let open: Value = serde_json::from_slice(&open.stdout).unwrap();
    assert_eq!((open["precision"].as_str(), bits(&open)), (Some("tf32x3"), bits(&three)));
    let units = ["--precision", "tf32x3", "-q"];
    fails(checked(&coarse, &single, &units), 1, &["computes wrong", "WEIR_BACKEND=cpu", "WEIR_VERIFY=never"]);
    // What failed is named, and not what was asked for.
    let asked = ["--precision", "f16x3", "-q"];
    for (compiler, wrong) in [(&halves, "in f16x3"), (&coarse, "in tf32x3")] {
        fails(checked(compiler, &single, &asked), 1, &["computes wrong", wrong]);
    }
    // Slopes of activations with a wrong sign: every arithmetic.
    let wrong = faulty(path, "wrong", "T(1) - s, ", "T(1) + s, ");
    fails(checked(&wrong, &double, &["-q"]), 1, &["computes wrong", "in f64"]);
    good(on(&wrong, &double, &["-q"]));
    // What is right passes, and need not show it again.
    let mut right = weir(path, &["eval", &double, "water.extxyz", "--json", "-", "-q", "--threads", "1"]);
    right.env("WEIR_VERIFY", "always");
    let right: Value = serde_json::from_slice(&good(right).stdout).unwrap();
    assert_eq!(bits(&right), bits(&eval(path, &double, "water.extxyz", &[])));
    // A budget is told for the run's own atoms.
    let arguments = ["eval", &double, "water.extxyz", "--json", "-", "--hbm-budget", "1KiB", "--checkpoint", "all"];
    let mut small = weir(path, &arguments);
    small.env("WEIR_VERIFY", "always").env("WEIR_LOG", "warn");
    let words = told(&small.output().unwrap());
    assert!(words.contains("was not compared with the CPU") && words.contains("tier hbm lacks"), "{words}");
    assert!(!words.lines().last().unwrap().contains("comparison"), "{words}");
    let shown = |folder: &Path| {
        let files = fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().to_string_lossy().into_owned());
        files.filter(|name| name.starts_with("verified-")).count()
    };
    assert_eq!([&coarse, &wrong].map(|c| shown(&c.with_extension("kept"))), [1, 0]);
}

#[test]
fn a_report_tells_what_the_device_is_and_how_near_it_comes_to_deepmd_kit() {
    let folder = folder();
    let done = good(weir(folder.path(), &["report", "--threads", "2"]));
    let text = fs::read_to_string(folder.path().join("weir-report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((report["backend"].as_str(), report["chip"].as_str()), (Some("emulated"), Some("host")));
    let tiers = report["links"]["tiers"].as_array().unwrap();
    assert!(!tiers.is_empty() && tiers.iter().all(|t| t["out_bytes_per_s"].as_f64().unwrap() > 1e6), "{tiers:?}");
    let checks = report["parity"].as_array().unwrap();
    assert_eq!(checks.len(), 2);
    for check in checks {
        let differences = check["differences"].as_array().unwrap();
        let error = |k: usize| differences[k]["force_error_eV_A"].as_f64().unwrap();
        let names: Vec<&str> = differences.iter().map(|d| d["computed_in"].as_str().unwrap()).collect();
        assert_eq!(names, ["f64", "f32", "tf32x3", "f16x3"]);
        assert!(error(0) < 1e-9 && error(1) > 1e-9 && error(1) < 1e-4, "{check}");
        assert!(error(2).max(error(3)) < 3.0 * error(1), "{check}");
        assert!(error(1) != error(2) && error(2) != error(3), "other products, other bits: {check}");
    }
    // Steps of proteins would take hours there, and that is told.
    assert_eq!(report["left_out"].as_array().unwrap().len(), 5, "{}", report["left_out"]);
    let home = folder.path().display().to_string();
    assert!(!text.contains(&home) && told(&done).contains("left out: 2PTC"), "{text}");
}
