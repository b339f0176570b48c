//! Promises of run-time compilation. What needs a compiler runs where there is one (scripts/kernel_compilers.sh gets them).

mod common;

use common::{chip, compiler, library, source, KERNELS};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use weir_kernels::compile::{compile, CompileError, Compiler, Options, Search};
use weir_kernels::{Chip, Source};

const CUDA: [&str; 3] = ["sm_80", "sm_90a", "sm_100a"];

/// No compiler in any known place.
fn nowhere() -> Options {
    Options { search: Search::from(|_| None), ..Options::default() }
}

/// As much of NVRTC as `find` looks at.
fn fake(version: &str, archs: &str) -> String {
    let rest = ["CreateProgram", "CompileProgram", "DestroyProgram", "GetProgramLogSize", "GetProgramLog"];
    let rest =
        rest.iter().chain(&["GetCUBINSize", "GetCUBIN"]).map(|n| format!("int nvrtc{n}(void) {{ return 1; }}\n"));
    format!(
        "int nvrtcVersion(int *a, int *b) {{ int v[] = {{{version}}}; *a = v[0]; *b = v[1]; return 0; }}\n\
         static int archs[] = {{{archs}}};\n\
         int nvrtcGetNumSupportedArchs(int *n) {{ *n = sizeof archs / sizeof *archs; return 0; }}\n\
         int nvrtcGetSupportedArchs(int *a) {{ for (unsigned i = 0; i < sizeof archs / sizeof *archs; i++) a[i] = archs[i]; return 0; }}\n\
         const char *nvrtcGetErrorString(int code) {{ return \"stubbed\"; }}\n{}",
        rest.collect::<String>()
    )
}

fn found(search: &Search, name: &str, cuda: Option<(u32, u32)>) -> Result<String, String> {
    let options = Options { search: search.clone(), cuda, ..Options::default() };
    Compiler::find(&chip(name), &options).map(|c| c.identity()).map_err(|e| e.to_string())
}

#[test]
fn chips_are_read_as_vendors_write_them() {
    for name in ["sm_80", "sm_90a", "sm_100a", "sm_100f"] {
        assert_eq!(chip(name), Chip::Cuda(name.into()));
    }
    for name in ["gfx90a", "gfx942", "gfx1100"] {
        assert_eq!(chip(name), Chip::Hip(name.into()));
    }
    assert_eq!(chip("host"), Chip::Host);
    for name in
        ["", "sm_", "sm_9", "sm_90ab", "sm_a", "90", "gfx", "gfx94", "gfx942:xnack+", "gfx94z", "SM_90", "sm_90 -O0"]
    {
        assert!(name.parse::<Chip>().is_err(), "{name:?}");
    }
}

#[test]
fn no_compiler_is_an_error_that_says_where_was_looked_and_what_to_install() {
    let error = compile(&source(), &chip("sm_90a"), &nowhere()).unwrap_err().to_string();
    for word in ["sm_90a", "CUDA_HOME", "NVHPC_ROOT", "pip install nvidia-cuda-nvrtc-cu12", "WEIR_KERNEL_DIR"] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn toolkits_come_before_wheels_and_the_newest_that_the_driver_takes_wins() {
    let folder = tempfile::tempdir().unwrap();
    let toolkit = folder.path().join("toolkit");
    let python = folder.path().join("env/lib/python3.12/site-packages/nvidia");
    let hpc = folder.path().join("hpc");
    library(&toolkit.join("lib64"), "libnvrtc.so.12", &fake("12, 4", "80, 90"));
    library(&hpc.join("cuda/12.6/lib64"), "libnvrtc.so.12", &fake("12, 6", "80, 90"));
    library(&python.join("cuda_nvrtc/lib"), "libnvrtc.so.12", &fake("12, 8", "80, 90, 100"));
    library(&python.join("cu13/lib"), "libnvrtc.so.13", &fake("13, 1", "80, 90, 100"));
    fs::write(python.join("cuda_nvrtc/lib/libnvrtc.alt.so.12"), "no library").unwrap();
    let search = |names: &[(&str, &Path)]| {
        let names: Vec<_> = names.iter().map(|(n, p)| (n.to_string(), OsString::from(p))).collect();
        Search::from(|name| names.iter().find(|(n, _)| n == name).map(|(_, p)| p.clone()))
    };
    let env = folder.path().join("env");
    let all = search(&[("CUDA_HOME", &toolkit), ("VIRTUAL_ENV", &env), ("NVHPC_ROOT", &hpc)]);
    assert!(found(&all, "sm_90a", None).unwrap().starts_with("nvrtc 12.4 libnvrtc.so.12 "));
    // The toolkit does not know the chip: on to the wheels, whose newest the driver may not take.
    assert!(found(&all, "sm_100a", None).unwrap().starts_with("nvrtc 13.1 libnvrtc.so.13 "));
    assert!(found(&all, "sm_100a", Some((13, 0))).unwrap().starts_with("nvrtc 13.1 "));
    assert!(found(&all, "sm_100a", Some((12, 2))).unwrap().starts_with("nvrtc 12.8 libnvrtc.so.12 "));
    assert!(found(&search(&[("NVHPC_ROOT", &hpc)]), "sm_80", None).unwrap().starts_with("nvrtc 12.6 "));
    assert!(found(&search(&[("CONDA_PREFIX", &env)]), "sm_80", None).unwrap().starts_with("nvrtc 13.1 "));
    let site = env.join("lib/python3.12/site-packages");
    assert!(found(&search(&[("PYTHONPATH", &site)]), "sm_80", Some((12, 0))).unwrap().starts_with("nvrtc 12.8 "));
    // What was there and did not fit is named with the reason.
    let error = found(&all, "sm_120", None).unwrap_err();
    assert!(error.contains("NVRTC 13.1, which does not know sm_120, only [80, 90, 100]"), "{error}");
    library(&folder.path().join("new/lib64"), "libnvrtc.so.13", &fake("13, 1", "90"));
    let error = found(&search(&[("CUDA_PATH", &folder.path().join("new"))]), "sm_90", Some((12, 8))).unwrap_err();
    assert!(error.contains("13.1, too new for the driver's CUDA 12.8"), "{error}");
    library(&folder.path().join("old/lib64"), "libnvrtc.so.11.2", &fake("11, 2", "80"));
    let error = found(&search(&[("CUDA_PATH", &folder.path().join("old"))]), "sm_80", None).unwrap_err();
    assert!(error.contains("NVRTC 11.2, too old"), "{error}");
}

#[test]
fn a_broken_compiler_library_is_passed_over_and_a_missing_function_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let lib = folder.path().join("lib64");
    fs::create_dir_all(&lib).unwrap();
    fs::write(lib.join("libnvrtc.so.12"), "no library at all").unwrap();
    let text = fake("12, 9", "90").replace("nvrtcGetCUBINSize", "renamed");
    library(&lib, "libnvrtc.so.12.9", &text);
    let home = folder.path().to_path_buf();
    let search = Search::from(|name| (name == "CUDA_HOME").then(|| home.clone().into()));
    let error = found(&search, "sm_90", None).unwrap_err();
    assert!(error.contains("it lacks nvrtcGetCUBINSize"), "{error}");
    assert!(error.contains("libnvrtc.so.12 ("), "{error}");
}

#[test]
fn a_compiler_that_fails_is_told_apart_from_a_refused_text() {
    let folder = tempfile::tempdir().unwrap();
    library(&folder.path().join("lib64"), "libnvrtc.so.12", &fake("12, 9", "90"));
    let home = folder.path().to_path_buf();
    let search = Search::from(|name| (name == "CUDA_HOME").then(|| home.clone().into()));
    let error = compile(&source(), &chip("sm_90"), &Options { search, ..Options::default() }).unwrap_err();
    assert!(
        matches!(&error, CompileError::Library { call, cause, .. } if call == "nvrtcCreateProgram" && cause == "stubbed")
    );
}

#[test]
fn the_text_compiles_to_machine_code_for_every_cuda_chip_with_toolkits_12_and_13() {
    for (cuda, name) in [Some((12, 8)), None].into_iter().flat_map(|c| CUDA.map(|n| (c, n))) {
        let options = Options { cuda, ..Options::here() };
        let Some(compiler) = compiler(name, &options) else { continue };
        let image = compiler.compile(&source(), &options).unwrap();
        println!("{name}: {} bytes from {}", image.bytes.len(), image.compiler);
        // An ELF file for the machine 190 (CUDA), not PTX text.
        assert_eq!(&image.bytes[..4], b"\x7fELF");
        assert_eq!(u16::from_le_bytes([image.bytes[18], image.bytes[19]]), 190);
        for kernel in KERNELS {
            assert!(image.log.contains(&format!("'{kernel}' for '{name}'")), "{}", image.log);
        }
        // The same text twice gives the same bytes: images may be kept and shared between ranks.
        assert_eq!(compiler.compile(&source(), &options).unwrap().bytes, image.bytes);
    }
}

#[test]
fn a_refused_text_is_an_error_with_the_compilers_last_lines() {
    let options = Options::here();
    let Some(compiler) = compiler("sm_90a", &options) else { return };
    let wrong = Source { text: "extern \"C\" __global__ void k() { undeclared = 1; }".into(), ..source() };
    let error = compiler.compile(&wrong, &options).unwrap_err();
    let CompileError::Refused { log, name, .. } = &error else { panic!("{error}") };
    assert!(log.contains("undeclared") && name == "test" && error.to_string().contains("undeclared"), "{error}");
    // Definitions of the source reach the compiler.
    let error = compiler.compile(&Source { defines: Vec::new(), ..source() }, &options).unwrap_err();
    assert!(error.to_string().contains("WIDTH is a definition of the source"), "{error}");
    let null = Source { text: "int a;\0".into(), ..source() };
    assert!(matches!(compiler.compile(&null, &options), Err(CompileError::Null(_))));
}
