//! Settings as they are written: amounts, names, choices, which source wins.

use super::disk;
use super::machines::{gb10, GIB};
use std::path::Path;
use weir_allocators::kind::Tier;
use weir_allocators::policy::{read, resolve, Budget, CheckpointRule, Device, Layer, Placement, Surroundings, NAMES};

#[test]
fn amounts_are_read_in_powers_of_1024_and_that_is_said() {
    for (text, bytes, said) in
        [("60GiB", 60 * GIB, false), ("60GB", 60 * GIB, true), ("60G", 60 * GIB, true), ("60 g", 60 * GIB, true)]
    {
        let budget: Budget = text.parse().unwrap();
        assert_eq!(budget.of(0), bytes);
        assert_eq!(budget.to_string().contains("powers of 1024"), said, "{budget}");
    }
    for (text, bytes) in [("0", 0), ("512MiB", GIB / 2), ("1.5TiB", 1536 * GIB), ("10B", 10), ("4kib", 4096)] {
        assert_eq!(text.parse::<Budget>().unwrap().of(1), bytes, "{text}");
    }
    assert_eq!("80%".parse::<Budget>().unwrap().of(1000), 800);
    for text in ["", "60", "GiB", "-1GiB", "101%", "nan%", "1e3G", "6.0.0G", "60GiBs", "99999999TiB", "10X"] {
        let message = text.parse::<Budget>().unwrap_err();
        assert!(message.contains("60GiB"), "{message}");
    }
}

#[test]
fn values_are_written_as_they_are_read() {
    for text in ["auto", "hbm", "hbm,pinned,file", "hbm,system", "hbm,managed"] {
        assert_eq!(text.parse::<Placement>().unwrap().to_string(), text);
    }
    for text in ["auto", "all", "every:3"] {
        assert_eq!(text.parse::<CheckpointRule>().unwrap().to_string(), text);
    }
    for (text, word) in
        [("pinned,hbm", "write hbm,pinned"), ("hbm,hbm", "twice"), ("hbm,pined", "pinned"), ("", "tier")]
    {
        let message = text.parse::<Placement>().unwrap_err();
        assert!(message.contains(word), "{text}: {message}");
    }
}

#[test]
fn a_variable_nobody_knows_is_an_error_with_the_nearest_name_and_module_systems_pass() {
    let one = |name: &str| read([(name.to_string(), "x".to_string())]).unwrap();
    for (name, near) in
        [("WEIR_THREAD", "WEIR_THREADS"), ("WEIR_HBMBUDGET", "WEIR_HBM_BUDGET"), ("WEIR_PLACE", "WEIR_PLACEMENT")]
    {
        let found = one(name);
        assert_eq!(found.unknown.len(), 1, "inside a client it is reported, not fatal");
        let message = found.strict().unwrap_err().to_string();
        assert!(message.ends_with(&format!("did you mean {near}?")), "{message}");
    }
    for name in ["ROOT", "HOME", "DIR", "VERSION", "LIB", "INC", "BASE", "SHARED"] {
        one(&format!("WEIR_{name}")).strict().unwrap();
    }
    one("WEIRD").strict().unwrap();
}

#[test]
fn every_value_is_checked_and_the_error_names_variable_and_choices() {
    let wrong = [
        ("WEIR_BACKEND", "gpu", "emulated"),
        ("WEIR_BACKEND", "wgpu", "does not exist yet"),
        ("WEIR_DEVICE", "first", "index"),
        ("WEIR_PLACEMENT", "ram", "system"),
        ("WEIR_HBM_BUDGET", "60", "60GiB"),
        ("WEIR_CHECKPOINT", "every:0", "every:K"),
        ("WEIR_INSIDE", "all", "rebuild"),
        ("WEIR_STORE", "f64", "bf16"),
        ("WEIR_PRECISION", "fp32", "tf32x3"),
        ("WEIR_THREADS", "0", "65536"),
        ("WEIR_SIMD", "avx", "avx512"),
        ("WEIR_NUMA_NODE", "-1", "node"),
        ("WEIR_GRAPH", "yes", "off"),
        ("WEIR_STREAMS", "3", "2"),
        ("WEIR_VERIFY", "sometimes", "always"),
    ];
    for (name, text, word) in wrong {
        let message = read([(name.to_string(), text.to_string())]).unwrap_err().to_string();
        assert!(message.starts_with(name) && message.contains(text) && message.contains(word), "{message}");
    }
    let unset = read([("WEIR_THREADS".to_string(), String::new())]).unwrap();
    assert_eq!(unset.environment, Layer::default(), "empty counts as unset");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.toml");
    std::fs::write(&path, "threads = 3\nstore = \"f32\"\nhbm_budget = \"1GiB\"\ngraph = false\n").unwrap();
    let pairs = [("WEIR_CONFIG", path.to_str().unwrap()), ("WEIR_STORE", "bf16"), ("WEIR_HBM_BUDGET", "2GiB")];
    let found = read(pairs.map(|(n, t)| (n.to_string(), t.to_string()))).unwrap().strict().unwrap();
    let mut flags = Layer::default();
    flags.set("hbm_budget", "--hbm-budget", "3GiB").unwrap();
    let topology = gb10().read(4096, &[]);
    let none = |_: &str| None;
    let scratch = |_: &Path| Ok(disk("xfs", false, false));
    let around = Surroundings {
        topology: &topology,
        device: &Device::Cpu,
        in_client: false,
        environment: &none,
        scratch: &scratch,
    };
    let policy = resolve(&[flags, found.environment, found.file], &around).unwrap();
    assert_eq!(
        (policy.bytes(Tier::Hbm), policy.tier(Tier::Hbm).unwrap().setting.origin.as_str()),
        (3 * GIB, "--hbm-budget")
    );
    assert_eq!((policy.store.value.to_string().as_str(), policy.store.origin.as_str()), ("bf16", "WEIR_STORE"));
    assert!(policy.threads.value == 3 && policy.threads.origin.contains("weir.toml"), "{:?}", policy.threads);
    assert!(!policy.graph.value && policy.checkpoint.is_automatic());
    for (text, word) in [
        ("thread = 3", "did you mean threads"),
        ("config = \"x\"", "unknown"),
        ("threads = [1]", "array"),
        ("=", "weir.toml"),
    ] {
        std::fs::write(&path, text).unwrap();
        let message = read([("WEIR_CONFIG".to_string(), path.to_str().unwrap().to_string())]).unwrap_err().to_string();
        assert!(message.contains(word), "{text}: {message}");
    }
    let message = read([("WEIR_CONFIG".to_string(), "/nowhere.toml".to_string())]).unwrap_err().to_string();
    assert!(message.contains("WEIR_CONFIG (/nowhere.toml)"), "{message}");
}

/// Keywords of the Python package and the page of variables are written by hand: both have every setting.
#[test]
fn every_setting_is_a_keyword_of_python_and_on_the_page_of_variables() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/environment.md")).unwrap();
    let stub = std::fs::read_to_string(root.join("ffi/python/python/weir/_settings.pyi")).unwrap();
    // `head` is a keyword that the package's classes name themselves; the others without one are no settings of a calculation.
    let elsewhere = ["head", "config", "shared"];
    for key in NAMES.iter().map(|n| n.key) {
        assert!(page.contains(&format!("`WEIR_{}`", key.to_uppercase())), "docs/environment.md lacks {key}");
        let keyword = stub.lines().any(|l| l.trim_start().starts_with(&format!("{key}: ")));
        assert_eq!(keyword, !elsewhere.contains(&key), "{key} in _settings.pyi");
    }
}
