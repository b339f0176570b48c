//! The same promises through the vendors' own interfaces: the program opens `libcuda` or `libamdhip64`, compiles for an H100 or an MI300X, and what
//! it loads runs on the emulated device (`backends/stand-in`).

use super::runs::dynamics_resume_with_the_bits_of_a_run_in_one_go_and_minimise_lowers_the_energy;
use super::*;
use std::cell::Cell;
use std::os::unix::fs::symlink;
use std::sync::LazyLock;
use weir_backends::gpu::driver::{DriverError, Memory, Side, Stream};
use weir_backends::gpu::{cuda, hip};
use weir_kernels::cache::digest_of;

/// How the program reaches its device.
#[derive(Clone, Copy, PartialEq)]
enum Door {
    /// The emulated driver.
    Emulated,
    Cuda,
    Amd,
}

thread_local! {
    static DOOR: Cell<Door> = const { Cell::new(Door::Emulated) };
}

/// The name of the thread's backend.
pub fn backend() -> &'static str {
    match DOOR.get() {
        Door::Emulated => "emulated",
        Door::Cuda => "cuda",
        Door::Amd => "hip",
    }
}

/// Variables that lead the program to the thread's device.
pub fn open(command: &mut Command) {
    command.env("WEIR_BACKEND", backend());
    if DOOR.get() == Door::Emulated {
        command.env("WEIR_CACHE_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated-kernels"));
        return;
    }
    let before = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let all = [PLACE.join("lib")].into_iter().chain(std::env::split_paths(&before));
    command.env("LD_LIBRARY_PATH", std::env::join_paths(all).unwrap()).env("STAND_IN_FOLDER", &*PLACE);
    for name in ["STAND_IN_CALLS", "STAND_IN_EAGER"] {
        command.env_remove(name);
    }
    // Comparing an image with the CPU takes a hundred times as long as these promises.
    command.env("WEIR_CACHE_DIR", PLACE.join("kept")).env("WEIR_VERIFY", "never");
    match DOOR.get() {
        Door::Cuda => command.env("CUDA_HOME", PLACE.join("cuda")).env("STAND_IN_NVRTC", nvrtc().unwrap()),
        _ => command.env("ROCM_PATH", PLACE.join("rocm")).env("STAND_IN_CLANG", clang().unwrap()),
    };
}

/// The stand-in under the names of what it stands for. A folder for every build of it: what is kept there depends on how compiled forms are put
/// into other words.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let here = std::env::current_exe().unwrap();
    let library = here.ancestors().skip(1).take(2).map(|d| d.join("libweir_stand_in.so")).find(|p| p.is_file());
    let library = library.expect("libweir_stand_in.so is built with the tests");
    // SAFETY: our own library, whose initialisers do nothing.
    let opened = unsafe { libloading::Library::new(&library) }.unwrap();
    // Built without `emulated` it has the same name, and cargo does not see which of the two is there.
    // SAFETY: nothing is called.
    let full = unsafe { opened.get::<unsafe extern "C" fn()>(b"cuInit") }.is_ok();
    assert!(full, "{} is empty: touch backends/stand-in/src/lib.rs, and test again", library.display());
    let build = digest_of(&fs::read(&library).unwrap());
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stand-in-{}", &build[..16]));
    // Other processes may be about the same.
    let link = |from: &Path, folder: &str, name: &str| {
        fs::create_dir_all(place.join(folder)).unwrap();
        drop(symlink(from, place.join(folder).join(name)));
    };
    link(&library, "lib", "libcuda.so.1");
    link(&library, "lib", "libamdhip64.so");
    link(&library, "cuda/lib64", "libnvrtc.so.12");
    link(&root().join("tests/gpu_commands/clang.sh"), "rocm/llvm/bin", "clang");
    place
});

/// A file in one of the folders that a variable names.
fn found(variable: &str, file: &str) -> Option<PathBuf> {
    let folders = std::env::var_os(variable)?;
    std::env::split_paths(&folders).map(|folder| folder.join(file)).find(|path| path.is_file())
}

/// NVRTC of CUDA 12.
fn nvrtc() -> Option<PathBuf> {
    found("PYTHONPATH", "nvidia/cuda_nvrtc/lib/libnvrtc.so.12")
}

/// A clang that knows AMD's chips.
fn clang() -> Option<PathBuf> {
    found("PATH", "clang-19")
}

/// Runs a promise behind a door, where the vendor's compiler is to be had.
fn behind(door: Door, promise: fn()) {
    let there = if door == Door::Cuda { nvrtc() } else { clang() };
    if there.is_none() {
        assert!(std::env::var("KERNEL_COMPILERS").as_deref() != Ok("required"), "a compiler of kernels is required");
        println!("skipped: no compiler of its kernels");
        return;
    }
    DOOR.set(door);
    promise();
}

#[test]
fn cuda_evaluates_as_the_cpu_does() {
    behind(Door::Cuda, eval_equals_that_of_the_cpu_and_tells_launches_plan_and_memory);
}

#[test]
fn cuda_gives_the_same_bits_with_every_tier_and_budget() {
    behind(Door::Cuda, every_tier_and_budget_gives_the_bits_of_unlimited_memory);
}

#[test]
fn cuda_traces_have_a_row_per_stream() {
    behind(Door::Cuda, traces_have_a_row_per_stream_and_a_file_leaves_no_trace_in_bits_or_folder);
}

#[test]
fn cuda_runs_resume_with_the_bits_of_a_run_in_one_go() {
    behind(Door::Cuda, dynamics_resume_with_the_bits_of_a_run_in_one_go_and_minimise_lowers_the_energy);
}

#[test]
fn amd_evaluates_as_the_cpu_does() {
    behind(Door::Amd, eval_equals_that_of_the_cpu_and_tells_launches_plan_and_memory);
}

#[test]
fn amd_gives_the_same_bits_with_every_tier_and_budget() {
    behind(Door::Amd, every_tier_and_budget_gives_the_bits_of_unlimited_memory);
}

#[test]
fn a_run_is_one_launch_a_step() {
    behind(Door::Cuda, || {
        let folder = folder();
        let path = folder.path();
        prepare_run(path, "tiny", "ensemble = \"nve\"");
        let run = |more: &[&str]| weir(path, &[&["md", "run.toml", "--set", "md.steps=40"], more].concat());
        let mut command = run(&[]);
        command.env("STAND_IN_CALLS", path.join("calls"));
        good(command);
        // Whether other streams run as late as they can or as early, recorded or piece by piece.
        for (name, value) in [("STAND_IN_EAGER", "1"), ("WEIR_GRAPH", "off")] {
            let mut command = run(&["--set", "output.prefix=\"other\"", "--overwrite"]);
            command.env(name, value);
            good(command);
            assert_eq!(written(path, "out/run"), written(path, "other"), "{name}");
        }
        let calls = fs::read_to_string(path.join("calls")).unwrap();
        let of = |name: &str| {
            let found = calls.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok());
            found.unwrap_or(0)
        };
        let (replayed, made, dropped) =
            (of("cuGraphLaunch"), of("cuGraphInstantiateWithFlags"), of("cuGraphExecDestroy"));
        assert!((30..=41).contains(&replayed) && made > 0 && made == dropped, "{calls}");
        assert_eq!(of("cuGraphUpload"), made, "{calls}");
        // Kernels of their own have only steps that are recorded or follow a new list of neighbours.
        assert!(of("cuLaunchKernel") < 10 * replayed, "{calls}");
        let taken = of("cuMemAlloc_v2") + of("cuMemAllocManaged");
        assert_eq!((taken, of("cuMemHostAlloc")), (of("cuMemFree_v2"), of("cuMemFreeHost")), "{calls}");
        assert_eq!(of("cuEventCreate"), of("cuEventDestroy_v2"), "{calls}");
    });
}

/// A promise about the code in an error.
fn refused_with<T: std::fmt::Debug>(result: Result<T, DriverError>, code: u32) {
    let error = result.unwrap_err();
    assert!(error.to_string().contains(&format!("({code})")), "{error}");
}

/// Without this the other promises would be of little worth.
#[test]
fn the_stand_in_is_as_strict_as_the_manual() {
    let driver = cuda::open_at(&PLACE.join("lib/libcuda.so.1"), 0).unwrap();
    let memory = driver.allocate(Memory::Device, 256).unwrap();
    let mut host = [0u8; 256];
    let at = host.as_mut_ptr() as u64;
    // SAFETY: both ends hold that many bytes, and the stream is waited for.
    unsafe { driver.copy(Stream::Out, at, memory, 256).unwrap() };
    driver.synchronise(Stream::Out).unwrap();
    assert_eq!(host, [0xff; 256], "nobody may rely on what new memory holds");
    // SAFETY: it is refused.
    refused_with(unsafe { driver.copy(Stream::Out, at, memory, 257) }, 1);
    refused_with(driver.fill(Stream::Compute, memory + 128, 0, 129), 1);
    refused_with(driver.fill(Stream::Compute, at, 0, 16), 1);
    refused_with(driver.advise(memory, 256, Side::Device), 1);
    // Times are those of marks that were reached.
    let [a, b] = [driver.event().unwrap(), driver.event().unwrap()];
    refused_with(driver.elapsed(a, b), 400);
    driver.record(a, Stream::Compute).unwrap();
    driver.record(b, Stream::Compute).unwrap();
    refused_with(driver.elapsed(a, b), 600);
    driver.synchronise(Stream::Compute).unwrap();
    assert!(driver.elapsed(a, b).unwrap() >= 0.0);
    // While work is recorded nobody takes memory or waits, no other stream is left behind, and nothing outside is waited for.
    driver.begin_capture().unwrap();
    refused_with(driver.allocate(Memory::Device, 256), 900);
    refused_with(driver.end_capture(), 901);
    driver.begin_capture().unwrap();
    refused_with(driver.synchronise(Stream::Out), 900);
    refused_with(driver.end_capture(), 901);
    driver.begin_capture().unwrap();
    refused_with(driver.wait(Stream::Compute, b), 905);
    refused_with(driver.end_capture(), 901);
    driver.begin_capture().unwrap();
    driver.record(a, Stream::Compute).unwrap();
    driver.wait(Stream::Out, a).unwrap();
    driver.fill(Stream::Out, memory, 7, 256).unwrap();
    refused_with(driver.end_capture(), 904);
    driver.begin_capture().unwrap();
    driver.record(a, Stream::Compute).unwrap();
    driver.wait(Stream::Out, a).unwrap();
    driver.fill(Stream::Out, memory, 7, 256).unwrap();
    driver.record(b, Stream::Out).unwrap();
    driver.wait(Stream::Compute, b).unwrap();
    let graph = driver.end_capture().unwrap();
    // What was recorded did not run, and its events mark nothing outside.
    refused_with(driver.elapsed(a, b), 907);
    refused_with(driver.wait(Stream::In, b), 907);
    driver.replay(graph).unwrap();
    driver.synchronise(Stream::Compute).unwrap();
    // SAFETY: as above.
    unsafe { driver.copy(Stream::Out, at, memory, 256).unwrap() };
    driver.synchronise(Stream::Out).unwrap();
    assert_eq!(host, [7; 256]);
    driver.forget(graph);
    // AMD's streams are of no use after a recording that is worth nothing: the driver has to make others.
    let driver = hip::open_at(&PLACE.join("lib/libamdhip64.so"), 0).unwrap();
    driver.begin_capture().unwrap();
    refused_with(driver.allocate(Memory::Device, 256), 900);
    refused_with(driver.fill(Stream::Compute, memory, 0, 16), 901);
    refused_with(driver.end_capture(), 901);
    driver.begin_capture().unwrap();
    let graph = driver.end_capture().unwrap();
    driver.replay(graph).unwrap();
    driver.synchronise(Stream::Compute).unwrap();
    // Codes of calls that a thread without the device's context makes.
    // SAFETY: the type of cuda.h; it writes one address.
    let code = unsafe {
        let library = libloading::Library::new(PLACE.join("lib/libcuda.so.1")).unwrap();
        let allocate = library.get::<unsafe extern "C" fn(*mut u64, usize) -> i32>(b"cuMemAlloc_v2").unwrap();
        allocate(&mut 0, 16)
    };
    assert_eq!(code, 201);
}
