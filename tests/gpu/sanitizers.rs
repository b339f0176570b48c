//! The kernels under the compiler's sanitizers, as plain C++: what the watched pointers of the emulated device cannot see.
//!
//! The sanitizer's library has to be in a process from its start, so the tests run themselves again with it. Where the compiler has none
//! they say so and pass, unless KERNEL_COMPILERS=required.

use super::common::{bits, data, load_model, system};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::driver::{Arg, Driver, Launch, Memory, Stream};
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, Watch};
use weir_backends::gpu::{create, GpuOptions};
use weir_engine::backend::{Calculator, FrameParameters, Results};
use weir_kernels::{Source, THREADS};

/// The sanitizer's library, as the compiler finds it.
fn library() -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let names = ["libasan.so".to_string(), format!("libclang_rt.asan-{}.so", std::env::consts::ARCH)];
    names.iter().find_map(|name| {
        let out = Command::new(&compiler).arg(format!("-print-file-name={name}")).output().ok()?;
        let path = PathBuf::from(String::from_utf8(out.stdout).ok()?.trim());
        // A name that the compiler does not know is given back as it is.
        path.is_absolute().then(|| path.canonicalize().ok()).flatten()
    })
}

/// One of the tests below, in a process of its own with the sanitizer in it.
fn again(test: &str) -> Option<Output> {
    let Some(library) = library() else {
        let required = std::env::var("KERNEL_COMPILERS").is_ok_and(|v| v == "required");
        assert!(!required, "KERNEL_COMPILERS=required, but the C++ compiler has no address sanitizer");
        println!("skipped: the C++ compiler has no address sanitizer");
        return None;
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("LD_PRELOAD", library).env("UBSAN_OPTIONS", "print_stacktrace=1");
    // Test programs leave memory to the system at their end; options of the machine do not count here.
    command.env("ASAN_OPTIONS", "detect_leaks=0:exitcode=86");
    Some(command.output().unwrap())
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn device(wave: u32) -> EmulatedOptions {
    // The compiler itself needs no sanitizer.
    std::env::remove_var("LD_PRELOAD");
    EmulatedOptions { watch: Watch::Sanitizers, wave, ..Default::default() }
}

#[test]
fn sanitizers_find_nothing_in_the_kernels() {
    let Some(out) = again("sanitizers::a_small_model") else { return };
    assert!(out.status.success() && text(&out).contains("1 passed"), "{}", text(&out));
}

#[test]
fn sanitizers_find_what_was_planted() {
    for (test, word) in [
        ("sanitizers::planted_read", "AddressSanitizer"),
        ("sanitizers::planted_shared", "AddressSanitizer"),
        ("sanitizers::planted_shift", "shift exponent"),
    ] {
        let Some(out) = again(test) else { return };
        assert!(!out.status.success() && text(&out).contains(word), "{test}: {}", text(&out));
        assert!(!text(&out).contains("1 passed"), "{test}");
    }
}

#[test]
#[ignore = "run by sanitizers_find_nothing_in_the_kernels, with the sanitizer's library in the process"]
fn a_small_model() {
    let model = load_model(&data("parity").join("tiny").join("model.dp"));
    let (x, types) = system(8, 4.2, 17, model.types());
    let cell = [[4.9, 0.0, 0.0], [0.3, 4.8, 0.0], [-0.5, 0.2, 5.1]];
    for precision in [PrecisionChoice::F32, PrecisionChoice::F64] {
        let run = |device| {
            let options =
                GpuOptions { precision, tile_edges: 100, skin: 0.3, cache_dir: super::kept(), ..Default::default() };
            let mut c = create(Arc::new(Emulated::new(device)), model.clone(), &types, &options).unwrap();
            let mut out = Results::default();
            for _ in 0..2 {
                c.compute(&x, Some(&cell), &FrameParameters::default(), Default::default(), &mut out).unwrap();
            }
            bits(&out)
        };
        let expected = run(EmulatedOptions { watch: Watch::Nothing, ..Default::default() });
        for wave in [32, 64] {
            assert_eq!(run(device(wave)), expected);
        }
    }
}

/// A kernel beside an innocent prelude; `body` may use `from`, `to` (64 floats each), `shift` (40) and shared memory of 64 floats.
fn plant(body: &str) {
    let shape = weir_kernels::Source::prelude(false);
    let kernel = format!(
        "KERNEL(planted)(IN(float) from, OUT(float) to, u32 shift) {{ u32 t = thread(); {body} }}\nEXPORT(planted)\n"
    );
    let source = Source { text: format!("{}{kernel}", shape.text), ..shape };
    let driver = Emulated::new(device(32));
    let folder = tempfile::tempdir().unwrap();
    let image = weir_kernels::host::compile(&source, folder.path(), driver.compile_flags()).unwrap();
    let function = driver.function(driver.load(&image).unwrap(), "planted").unwrap();
    // Arrays in the middle of one allocation, as the executor has them.
    let memory = driver.allocate(Memory::Device, 4096).unwrap();
    driver.fill(Stream::Compute, memory, 0, 4096).unwrap();
    let args = [Arg::Pointer(memory, 256), Arg::Pointer(memory + 1024, 256), Arg::U32(40)];
    let launch = Launch { function, grid: 2, block: THREADS, shared: 256, stream: Stream::Compute, args: &args };
    driver.launch(&launch).unwrap();
    driver.synchronise(Stream::Compute).unwrap();
}

#[test]
#[ignore = "run by sanitizers_find_what_was_planted"]
fn planted_read() {
    plant("if (t < 64) to[t] = from[t]; barrier();");
    println!("the innocent kernel passed");
    plant("if (t < 64) to[t] = from[t + (shift == 40 ? 8 : 0)];");
}

#[test]
#[ignore = "run by sanitizers_find_what_was_planted"]
fn planted_shared() {
    plant("LOCAL(float) s = shared_at<float>(0); s[t % 64] = 1.0f; barrier(); s[t + shift] = 1.0f;");
}

#[test]
#[ignore = "run by sanitizers_find_what_was_planted"]
fn planted_shift() {
    plant("if (t < 64) to[t] = float(1u << shift);");
}
