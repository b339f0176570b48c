//! Promises of run-time compilation. What needs a compiler runs where there is one (scripts/kernel_compilers.sh gets them).

mod common;

use common::{chip, compiler, library, named, nvrtc, old_and_new, source, toolkit, KERNELS};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use weir_kernels::compile::{compile, CompileError, Compiler, HipCompiler, Options, Search};
use weir_kernels::{Chip, Source};

const CUDA: [&str; 3] = ["sm_80", "sm_90a", "sm_100a"];
const HIP: [&str; 2] = ["gfx90a", "gfx942"];

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
    let error = compile(&source(), &chip("gfx942"), &nowhere()).unwrap_err().to_string();
    for word in ["gfx942", "ROCM_PATH", "hiprtc", "lld-19", "on PATH", "WEIR_KERNEL_DIR"] {
        assert!(error.contains(word), "{error}");
    }
    // In builds for tests the emulated device's compiler is the host's, wherever it lies.
    if !cfg!(feature = "emulated") {
        assert!(matches!(compile(&source(), &Chip::Host, &nowhere()), Err(CompileError::Missing { .. })));
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
fn wheels_that_root_installs_for_the_systems_python_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let usr = folder.path().join("usr");
    fs::create_dir_all(usr.join("bin")).unwrap();
    fs::write(usr.join("bin/python3"), "").unwrap();
    let path = || Search::from(|name| (name == "PATH").then(|| usr.join("bin").into()));
    for (name, version) in
        [("usr/lib/python3/dist-packages", "12, 4"), ("usr/local/lib/python3.11/dist-packages", "12, 8")]
    {
        library(&folder.path().join(name).join("nvidia/cuda_nvrtc/lib"), "libnvrtc.so.12", &fake(version, "90"));
        let found = found(&path(), "sm_90", None).unwrap();
        assert!(found.starts_with(&format!("nvrtc {} ", version.replace(", ", "."))), "{found}");
    }
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
fn a_compiler_that_cannot_hides_no_other_and_all_are_told_where_none_can() {
    let folder = tempfile::tempdir().unwrap();
    let options = old_and_new(folder.path());
    let image = compile(&source(), &chip("sm_90"), &options).unwrap();
    assert!(image.compiler.starts_with("nvrtc 12.8 "), "{}", image.compiler);
    let text = Source { text: "refuse".into(), ..source() };
    let error = compile(&text, &chip("sm_90"), &options).unwrap_err();
    assert!(matches!(&error, CompileError::Failed(all) if all.len() == 2), "{error}");
    for word in ["nvrtc 12.2", "a newer NVRTC may take it: pip install nvidia-cuda-nvrtc-cu12", "nvrtc 12.8"] {
        assert!(error.to_string().contains(word), "no {word} in {error}");
    }
    assert_eq!(error.to_string().matches("a newer NVRTC").count(), 1, "{error}");
    // A text that no compiler can be given is told once.
    let null = Source { text: "int a;\0".into(), ..source() };
    assert!(matches!(compile(&null, &chip("sm_90"), &options), Err(CompileError::Null(_))));
}

/// A [`toolkit`] that needs its other part as NVRTC does: by bare name, wherever the loader looks.
fn parted(folder: &Path, version: &str) -> Options {
    let options = toolkit(folder, version);
    let text = nvrtc(folder, version);
    let part = format!("libnvrtc-builtins.so.{}", version.replace(", ", "."));
    let ask = format!(
        "#include <dlfcn.h>\nint nvrtcCompileProgram(struct program *p, int n, const char **options) {{\n\
         if (!dlopen(\"{part}\", RTLD_LAZY)) return 7;\nreturn inner(p, n, options); }}\n"
    );
    let text = text.replace("int nvrtcCompileProgram", "static int inner") + &ask;
    library(&folder.join("lib64"), "libnvrtc.so.12", &text);
    options
}

#[test]
fn an_nvrtc_that_does_not_know_where_its_other_part_lies_compiles() {
    // Its path as it was opened, and where that leads.
    for (version, linked) in [("12, 71", false), ("12, 72", true)] {
        let folder = tempfile::tempdir().unwrap();
        let options = parted(folder.path(), version);
        let lib = folder.path().join("lib64");
        let there = if linked { folder.path().join("real") } else { lib.clone() };
        named(&there, &format!("libnvrtc-builtins.so.{}", version.replace(", ", ".")), "int part;");
        if linked {
            fs::rename(lib.join("libnvrtc.so.12"), there.join("libnvrtc.so.12")).unwrap();
            std::os::unix::fs::symlink(there.join("libnvrtc.so.12"), lib.join("libnvrtc.so.12")).unwrap();
        }
        let image = compile(&source(), &chip("sm_90"), &options).unwrap();
        assert_eq!(&image.bytes[..4], b"\x7fELF");
    }
}

#[test]
fn an_nvrtc_without_its_other_part_is_told_apart_from_a_refused_text() {
    let folder = tempfile::tempdir().unwrap();
    let options = parted(folder.path(), "12, 73");
    let error = compile(&source(), &chip("sm_90"), &options).unwrap_err();
    assert!(matches!(&error, CompileError::Library { call, .. } if call == "nvrtcCompileProgram"), "{error}");
    let text = error.to_string();
    for word in ["libnvrtc-builtins.so.12.73", "LD_LIBRARY_PATH", "lib64/libnvrtc.so.12"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
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
        assert!(compiler.compile(&source(), &options).unwrap().bytes == image.bytes, "another image for {name}");
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

#[test]
fn the_text_compiles_to_code_objects_for_amd_chips_without_rocm() {
    for name in HIP {
        let options = Options { hip: HipCompiler::Clang, ..Options::here() };
        let Some(compiler) = compiler(name, &options) else { continue };
        let image = compiler.compile(&source(), &options).unwrap();
        println!("{name}: {} bytes from {}", image.bytes.len(), image.compiler);
        // An ELF file for the machine 224 (AMDGPU).
        assert_eq!(&image.bytes[..4], b"\x7fELF");
        assert_eq!(u16::from_le_bytes([image.bytes[18], image.bytes[19]]), 224);
        for kernel in KERNELS {
            assert!(image.log.contains(&format!("Function Name: {kernel}")), "{}", image.log);
        }
        assert!(compiler.compile(&source(), &options).unwrap().bytes == image.bytes, "another image for {name}");
        let wrong = Source { text: "undeclared x;".into(), ..source() };
        let error = compiler.compile(&wrong, &options).unwrap_err().to_string();
        assert!(error.contains("undeclared") && error.contains(name), "{error}");
        let left =
            std::fs::read_dir(std::env::temp_dir()).unwrap().filter_map(|e| e.unwrap().file_name().into_string().ok());
        let ours = format!("weir-clang-{}-", std::process::id());
        assert_eq!(left.filter(|n| n.starts_with(&ours)).count(), 0, "temporary folders are left");
    }
}

/// A program that answers as clang does.
fn program(path: &Path, version: &str, chips: &str, rest: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && {{ echo 'clang version {version}'; exit 0; }}\n\
         case \"$*\" in *-fsyntax-only*)\n\
         for chip in {chips}; do [ \"$2\" = -mcpu=$chip ] && exit 0; done; exit 1;; esac\n{rest}\n"
    );
    // Copied by another process: were it open for writing here, a test beside this one could inherit it and executing would fail.
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    assert!(Command::new("cp").arg(&draft).arg(path).status().unwrap().success());
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_newest_clang_that_knows_the_chip_is_taken_and_hiprtc_comes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (bin, rocm) = (folder.path().join("bin"), folder.path().join("rocm"));
    program(&bin.join("clang-17"), "17.0", "gfx90a gfx942", "exit 1");
    program(&bin.join("clang-20"), "20.1", "gfx90a gfx942 gfx950", "exit 1");
    program(&bin.join("clang"), "22.0", "x86-64", "exit 1");
    let search = |names: Vec<(&'static str, std::path::PathBuf)>| {
        Search::from(move |name| names.iter().find(|(n, _)| *n == name).map(|(_, p)| p.clone().into_os_string()))
    };
    let path = search(vec![("PATH", bin.clone())]);
    assert!(found(&path, "gfx942", None).unwrap().starts_with("clang clang version 20.1 "));
    let error = found(&path, "gfx1250", None).unwrap_err();
    assert!(error.contains("clang-17 (clang version 17.0, which does not know gfx1250)"), "{error}");
    // hiprtc has NVRTC's interface under other names.
    let hiprtc = fake("9, 0", "1").replace("nvrtcGetCUBIN", "hiprtcGetCode").replace("nvrtc", "hiprtc");
    library(&rocm.join("lib"), "libhiprtc.so.6", &hiprtc);
    let both = search(vec![("PATH", bin.clone()), ("ROCM_PATH", rocm.clone())]);
    assert!(found(&both, "gfx942", None).unwrap().starts_with("hiprtc 9.0 libhiprtc.so.6 "));
    let asked = |hip| Compiler::find(&chip("gfx942"), &Options { search: both.clone(), hip, ..Options::default() });
    assert!(asked(HipCompiler::Clang).unwrap().identity().starts_with("clang clang version 20.1 "));
    // As tables have them.
    assert_eq!(asked(HipCompiler::Clang).unwrap().version(), "clang 20.1");
    assert_eq!(asked(HipCompiler::Hiprtc).unwrap().version(), "hiprtc 9.0");
    assert!(asked(HipCompiler::Hiprtc).unwrap().identity().starts_with("hiprtc"));
    let error = found(&search(vec![("ROCM_PATH", folder.path().join("none"))]), "gfx942", None).unwrap_err();
    assert!(error.contains("hiprtc") && error.contains("PATH"), "{error}");
}

#[test]
fn a_clang_without_its_linker_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    let rest = "echo 'clang: error: unable to execute command: posix_spawn failed: No such file (lld)' >&2; exit 1";
    program(&bin.join("clang"), "19.1", "gfx942", rest);
    let options = Options { search: Search::from(|n| (n == "PATH").then(|| bin.clone().into())), ..Options::default() };
    let error = compile(&source(), &chip("gfx942"), &options).unwrap_err().to_string();
    assert!(error.contains("lld-19") && error.contains("unable to execute"), "{error}");
}

#[test]
fn hiprtc_is_asked_for_the_chips_code_without_contraction() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { extra: vec!["-g".into()], ..toolkit(folder.path(), "9, 0") };
    let image = compile(&Source { text: "text".into(), ..source() }, &chip("gfx942"), &options).unwrap();
    let wanted = "text --offload-arch=gfx942 -DWEIR_HIP=1 -std=c++17 -O3 -ffp-contract=off \
                  -Rpass-analysis=kernel-resource-usage -DWIDTH=64 -g";
    assert_eq!(String::from_utf8_lossy(&image.bytes[4..]), wanted);
    assert!(image.compiler.starts_with("hiprtc 9.0 libhiprtc.so.7 "), "{}", image.compiler);
    let refused = compile(&Source { text: "refuse".into(), ..source() }, &chip("gfx942"), &options);
    assert!(matches!(refused, Err(CompileError::Refused { .. })));
}
