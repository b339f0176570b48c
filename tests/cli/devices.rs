//! GPUs that are there, and those that are not.

use super::{err, folder, out, program};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A driver's library that answers as told: code of its initialisation, version, number of devices.
fn driver(folder: &Path, library: &str, answers: [i32; 3]) {
    let [init, number, count] = answers;
    let cuda = library.starts_with("libcuda");
    let prefix = if cuda { "cu" } else { "hip" };
    let counter = if cuda { "cuDeviceGetCount" } else { "hipGetDeviceCount" };
    let version = if cuda { "cuDriverGetVersion" } else { "hipRuntimeGetVersion" };
    let text = format!(
        "int {prefix}Init(unsigned f) {{ return {init}; }}\nint {version}(int *v) {{ *v = {number}; return 0; }}\n\
         int {counter}(int *n) {{ *n = {count}; return 0; }}\n"
    );
    fs::write(folder.join("driver.c"), text).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o", library, "driver.c"]).current_dir(folder).status();
    assert!(made.unwrap().success());
}

#[test]
fn a_gpu_that_cannot_be_used_is_an_error_and_none_at_all_is_the_cpu() {
    let folder = folder();
    let path = folder.path();
    let with = |backend: Option<&str>| {
        let mut command = program(path, &["eval", "model.dp", "water.extxyz", "--json", "-", "-q"]);
        command.env("LD_LIBRARY_PATH", path).env_remove("WEIR_BACKEND");
        backend.map(|b| command.env("WEIR_BACKEND", b));
        command.output().unwrap()
    };
    // CUDA's code 100 and HIP's: no device.
    driver(path, "libamdhip64.so", [100, 60_000_000, 0]);
    driver(path, "libcuda.so.1", [100, 12_040, 0]);
    let none = with(None);
    assert!(none.status.success() && err(&none).is_empty(), "{}", err(&none));
    assert!(out(&none).contains("\"backend\":\"cpu\""));
    for (backend, word) in [("cuda", "no cuda device"), ("hip", "no hip device")] {
        let named = with(Some(backend));
        let text = err(&named);
        assert_eq!(named.status.code(), Some(2), "{text}");
        assert!(text.contains(word) && text.contains("WEIR_BACKEND=cpu"), "{text}");
    }
    for (answers, cause) in [([0, 11_040, 1], "older than 12.0"), ([999, 12_040, 1], "999")] {
        driver(path, "libcuda.so.1", answers);
        for backend in [None, Some("cuda")] {
            let unusable = with(backend);
            let text = err(&unusable);
            assert_eq!(unusable.status.code(), Some(2), "{text}");
            assert!(text.contains("visible but cannot be used"), "{text}");
            assert!(text.contains(cause) && text.contains("WEIR_BACKEND=cpu"), "{text}");
            assert!(unusable.stdout.is_empty());
        }
        assert!(with(Some("cpu")).status.success());
    }
}

#[test]
fn a_gpu_without_kernels_is_taken_and_then_an_error_that_names_the_cpu() {
    let folder = folder();
    let path = folder.path();
    // A working driver whose device is too old for every compiler there is.
    let stub = include_str!("../../backends/tests/stub/stub.c");
    let old = stub.replace("{75, 9}, {76, 0}", "{75, 3}, {76, 5}");
    assert_ne!(stub, old);
    fs::write(path.join("driver.c"), old).unwrap();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-w", "-o", "libcuda.so.1", "driver.c"])
        .current_dir(path)
        .status();
    assert!(made.unwrap().success());
    let with = |backend: &str| {
        let arguments =
            ["eval", "model.dp", "water.extxyz", "--json", "-", "--log-format", "json", "--host-budget", "64MiB"];
        let mut command = program(path, &arguments);
        command.env("LD_LIBRARY_PATH", path).env("WEIR_BACKEND", backend).env("WEIR_CACHE_DIR", path.join("cache"));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        assert!(output.stdout.is_empty());
        err(&output)
    };
    let text = with("auto");
    let header: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((header["backend"].as_str(), header["chip"].as_str()), (Some("cuda"), Some("sm_35")), "{text}");
    let last = text.lines().last().unwrap();
    for word in ["visible but cannot be used", "no compiler of kernels for sm_35", "WEIR_BACKEND=cpu"] {
        assert!(last.contains(word), "no \"{word}\" in {last}");
    }
    assert!(with("cuda").lines().last().unwrap().contains("no compiler of kernels for sm_35"));
}
