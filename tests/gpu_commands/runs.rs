//! Runs of many steps, and kernels that were compiled elsewhere.

use super::*;

#[test]
pub fn dynamics_resume_with_the_bits_of_a_run_in_one_go_and_minimise_lowers_the_energy() {
    let folder = folder();
    let path = folder.path();
    prepare_run(path, "tiny32", "ensemble = \"nvt\"\nthermostat = \"langevin\"");
    good(weir(path, &["md", "run.toml"]));
    good(weir(path, &["md", "run.toml", "--set", "output.prefix=\"cut\"", "--set", "md.steps=9"]));
    let resumed = ["md", "run.toml", "--set", "output.prefix=\"cut\"", "--resume"];
    good(weir(path, &resumed));
    assert_eq!(written(path, "out/run"), written(path, "cut"));
    // What makes products is a machine's affair where nobody chose, and it is said when it changes.
    let begin = ["md", "run.toml", "--set", "output.prefix=\"moved\"", "--set", "md.steps=9", "--backend", "cpu"];
    good(weir(path, &begin));
    let moved = ["md", "run.toml", "--set", "output.prefix=\"moved\"", "--resume"];
    fails(weir(path, &[&moved[..], &["--precision", "tf32x3"]].concat()), 1, &["precision was f32, is now tf32x3"]);
    assert!(told(&good(weir(path, &moved))).contains("products were made in f32, from here on in f16x3"));
    let tiny = parity("tiny");
    let arguments = ["minimize", &tiny, "water.extxyz", "--out", "relaxed.extxyz", "--steps", "5", "-q"];
    let text = String::from_utf8_lossy(&good(weir(path, &arguments)).stdout).into_owned();
    assert!(text.contains("eV (-"), "{text}");
}

#[test]
fn precompiled_kernels_need_no_compiler() {
    let folder = folder();
    let tiny = parity("tiny");
    let build = |blocks: &str| {
        let arguments = ["kernels", "build", "--arch", "host", "--model", &tiny, "--precision", "f64,f32"];
        weir(folder.path(), &[&arguments[..], &["--out", "kernels", "--blocks", blocks]].concat())
    };
    fails(build("2,17"), 2, &["--blocks 17", "1 to 16"]);
    good(build("16"));
    let listed = good(weir(folder.path(), &["kernels", "list", "kernels", "--json"]));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let kernels = listed["kernels"].as_array().unwrap();
    assert!(
        kernels.len() == 4 && kernels.iter().all(|k| k["chip"] == "host" && k["bytes"].as_u64() > Some(10_000)),
        "{listed}"
    );
    let bare = |precision: &str, kernels: Option<&str>| {
        let mut command =
            weir(folder.path(), &["eval", &tiny, "water.extxyz", "--json", "-", "-q", "--precision", precision]);
        command.env("PATH", "/nowhere").env_remove("CXX").env("WEIR_CACHE_DIR", folder.path().join("empty"));
        kernels.map(|k| command.env("WEIR_KERNEL_DIR", k));
        command
    };
    for precision in ["f64", "f32"] {
        let got: Value = serde_json::from_slice(&good(bare(precision, Some("kernels"))).stdout).unwrap();
        assert_eq!(bits(&got), bits(&eval(folder.path(), &tiny, "water.extxyz", &["--precision", precision])));
        let mut small = bare(precision, Some("kernels"));
        small.env("WEIR_BLOCKS", "16");
        let got: Value = serde_json::from_slice(&good(small).stdout).unwrap();
        assert_eq!(bits(&got), bits(&eval(folder.path(), &tiny, "water.extxyz", &["--precision", precision])));
    }
    let mut unknown = bare("f32", Some("kernels"));
    unknown.env("WEIR_BLOCKS", "12");
    fails(unknown, 1, &["no compiler of kernels for host"]);
    fails(bare("f64", None), 1, &["no compiler of kernels for host"]);
    // Of another shape.
    let other = example("model.dp");
    let mut wrong = weir(folder.path(), &["eval", &other, "water.extxyz", "--json", "-", "-q"]);
    wrong.env("PATH", "/nowhere").env_remove("CXX").env("WEIR_KERNEL_DIR", "kernels");
    fails(wrong, 1, &["no compiler of kernels for host"]);
}

#[test]
fn kernels_are_built_for_a_chip_that_is_not_there() {
    let folder = folder();
    let tiny = parity("tiny");
    let arguments = ["kernels", "build", "--arch", "sm_90a", "--model", &tiny, "--out", "kernels", "--json", "-q"];
    let output = weir(folder.path(), &arguments).output().unwrap();
    let text = told(&output);
    if !output.status.success() && text.contains("no compiler of kernels for sm_90a") {
        println!("skipped: {text}");
        assert!(std::env::var("KERNEL_COMPILERS").as_deref() != Ok("required"), "{text}");
        return;
    }
    assert!(output.status.success(), "{text}");
    let built: Value = serde_json::from_slice(&output.stdout).unwrap();
    let file: PathBuf = folder.path().join("kernels").join(built["kernels"][0]["file"].as_str().unwrap());
    let bytes = fs::read(file).unwrap();
    assert!(bytes.windows(4).any(|w| w == b"\x7fELF"), "a cubin is an ELF file");
    let wrong = ["kernels", "build", "--arch", "sm_1", "--model", &tiny, "--out", "kernels"];
    fails(weir(folder.path(), &wrong), 2, &["sm_1", "names no chip"]);
    let unknown = ["kernels", "build", "--arch", "sm_99", "--model", &tiny, "--out", "kernels"];
    fails(weir(folder.path(), &unknown), 2, &["sm_99", "--shared"]);
}
