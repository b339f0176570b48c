//! The watch over memory of the emulated device: every rule is broken once and found, and what is counted is what was moved.

use std::collections::BTreeMap;
use weir_backends::gpu::driver::{Arg, Driver, DriverError, Launch, Memory, Stream};
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, KernelCounts};
use weir_kernels::{Source, THREADS};

/// Runs kernels of two blocks, which may use `from` and `to` (64 floats each, written), `fresh` (64 floats that nobody wrote), `both` (64 that
/// threads may hand each other) and shared memory of 64 floats.
fn run(bodies: &[&str]) -> (Vec<Result<(), DriverError>>, BTreeMap<String, KernelCounts>) {
    let kernels = bodies.iter().enumerate().map(|(k, body)| {
        format!(
            "KERNEL(planted{k})(IN(float) from, OUT(float) to, HANDED(float) fresh, HANDED(float) both) {{ u32 t = thread(), b = block(); \
             LOCAL(float) s = shared_at<float>(0); float x[4] = {{0, 0, 0, 0}}; {body}; (void)x; }}\nEXPORT(planted{k})\n"
        )
    });
    let source = Source::prelude(false);
    let source = Source { text: source.text.clone() + &kernels.collect::<String>(), ..source };
    let driver = Emulated::new(EmulatedOptions::default());
    let folder = tempfile::tempdir().unwrap();
    let image = weir_kernels::host::compile(&source, folder.path(), driver.compile_flags()).unwrap();
    let module = driver.load(&image).unwrap();
    let memory = driver.allocate(Memory::Device, 4096).unwrap();
    let results = (0..bodies.len()).map(|k| {
        driver.discard(Stream::Compute, memory, 4096).unwrap();
        driver.fill(Stream::Compute, memory, 0, 2048).unwrap();
        driver.fill(Stream::Compute, memory + 3072, 0, 1024).unwrap();
        let array = |k: u64| Arg::Pointer(memory + 1024 * k, 256);
        let args = [array(0), array(1), array(2), array(3)];
        let function = driver.function(module, &format!("planted{k}")).unwrap();
        driver.launch(&Launch {
            function,
            grid: 2,
            block: THREADS,
            shared: 256,
            stream: Stream::Compute,
            args: &args,
        })?;
        driver.synchronise(Stream::Compute)
    });
    (results.collect(), driver.counts())
}

#[test]
fn every_broken_rule_is_found_one_number_or_four_at_a_time() {
    let cases = [
        // Device memory.
        ("if (t < 64) x[0] = from[t + 8]", "read out of bounds"),
        ("if (t < 16) load_run<4>(x, from, 4 * t + 8)", "read out of bounds"),
        ("if (b == 0) to[t] = 1", "write out of bounds"),
        ("if (b == 0) store_run<4>(to, 4 * t, x)", "write out of bounds"),
        ("x[0] = (from + 65)[0]", "pointer out of bounds"),
        ("load_run<4>(x, from, 6)", "multiple of their bytes"),
        ("store_run<4>(to, 2, x)", "multiple of their bytes"),
        ("load_run<2>(x, from, 3)", "multiple of their bytes"),
        ("x[0] = fresh[0]", "nobody wrote"),
        ("if (t < 3) fresh[t] = 1; barrier(); load_run<4>(x, fresh, 0)", "nobody wrote"),
        (
            "if (b == 0 && t == 0) to[3] = 1; if (b == 1) x[0] = to[3]",
            "read of what another block of the launch writes",
        ),
        (
            "if (b == 0 && t == 0) to[3] = 1; if (b == 1) load_run<4>(x, to, 0)",
            "read of what another block of the launch writes",
        ),
        ("if (b == 0) x[0] = to[3]; else if (t == 0) to[3] = 1", "write of what another block of the launch reads"),
        // The last reader is the writing block, the first one is not.
        (
            "x[0] = to[3]; barrier(); if (b == 1 && t == 0) store_run<4>(to, 0, x)",
            "write of what another block of the launch reads",
        ),
        ("if (t == 0) to[3] = 1", "write of what another block of the launch writes"),
        ("if (t == 0) store_run<4>(to, 0, x)", "write of what another block of the launch writes"),
        ("if (t == 0) to[3] = 1; x[0] = to[3]", "read without a barrier"),
        ("if (t == 0) to[3] = 1; load_run<4>(x, to, 0)", "read without a barrier"),
        ("to[3] = 1", "two threads write without a barrier"),
        ("store_run<4>(to, 0, x)", "two threads write without a barrier"),
        ("x[0] = to[3]; if (t == 9) to[3] = 1", "write without a barrier after another thread's read"),
        (
            "load_run<4>(x, to, 0); if (t == 9) store_run<4>(to, 0, x)",
            "write without a barrier after another thread's read",
        ),
        // What a thread has read alone is its own to write, and a HANDED array what others have read before a barrier: block 1 meets block 0.
        (
            "if (t == 0) both[3] = both[3] + 1; barrier(); x[0] = both[3]; barrier(); if (t == 9) both[3] = 2",
            "read of what another block of the launch writes",
        ),
        (
            "if (b == 0 && t == 0) to[3] = 1; barrier(); if (b == 0) x[0] = to[3]",
            "read of what another thread has written in an array",
        ),
        (
            "if (b == 0) load_run<4>(x, to, 0); barrier(); if (b == 0 && t == 9) to[3] = 1",
            "write of what another thread has read",
        ),
        (
            "if (b == 0 && t == 0) to[3] = 1; barrier(); if (b == 0 && t == 9) store_run<4>(to, 0, x)",
            "write of what another thread has written",
        ),
        // The writer has read it too, last of all.
        (
            "if (b == 0 && t == 0) x[0] = to[3]; barrier(); if (b == 0 && t == 9) to[3] = to[3] + 1",
            "write of what another thread has read",
        ),
        (
            "if (b == 0 && t < 2) load_run<4>(x, to, 0); barrier(); if (b == 0 && t == 1) { load_run<4>(x, to, 0); store_run<4>(to, 0, x); }",
            "write of what another thread has read",
        ),
        // Shared memory.
        ("s[t] = 1", "shared memory out of bounds"),
        ("store_run<4>(s, 4 * t, x)", "shared memory out of bounds"),
        ("x[0] = s[0]", "read of shared memory that nobody wrote"),
        ("if (t < 3) s[t] = 1; barrier(); load_run<4>(x, s, 0)", "read of shared memory that nobody wrote"),
        // What the block before wrote is not there.
        ("if (b == 0 && t < 64) s[t] = 1; barrier(); load_run<4>(x, s, 0)", "read of shared memory that nobody wrote"),
        ("if (t == 0) s[3] = 1; x[0] = s[3]", "read without a barrier"),
        ("if (t == 0) store_run<4>(s, 0, x); load_run<4>(x, s, 0)", "read without a barrier"),
        ("s[3] = 1", "two threads write shared memory"),
        ("store_run<4>(s, 0, x)", "two threads write shared memory"),
        ("if (t == 0) s[0] = 1; barrier(); x[0] = s[0]; if (t == 9) s[0] = 2", "after another thread's read"),
        (
            "if (t == 0) store_run<4>(s, 0, x); barrier(); load_run<4>(x, s, 0); if (t == 9) store_run<4>(s, 0, x)",
            "after another thread's read",
        ),
        ("load_run<4>(x, s, 2)", "multiple of their bytes"),
        ("store_run<4>(s, 3, x)", "multiple of their bytes"),
        ("if (t < 9) barrier()", "ended before a barrier"),
    ];
    let (results, _) = run(&cases.map(|(body, _)| body));
    for ((body, words), result) in cases.iter().zip(results) {
        let e = result.expect_err(body).to_string();
        assert!(e.contains(words), "{body}: {e}");
    }
}

#[test]
fn bytes_are_counted_once_a_launch_once_a_block_and_once_between_barriers() {
    let one = "if (t < 64) x[0] = from[t]; barrier(); if (t < 64) x[0] = from[63 - t]; if (b == 0 && t < 64) { to[t] = 1; s[t] = 1; }";
    let four = "if (t < 16) load_run<4>(x, from, 4 * t); barrier(); if (t < 16) load_run<4>(x, from, 4 * (15 - t)); \
                if (b == 0 && t < 16) { store_run<4>(to, 4 * t, x); store_run<4>(s, 4 * t, x); }";
    // A whole block each writes a half, and what it wrote is its own to read.
    let own = "if (t < 32) both[32 * b + t] = 1; barrier(); if (t < 8) load_run<4>(x, both, 32 * b + 4 * t)";
    let (results, counts) = run(&[one, four, own]);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    for k in ["planted0", "planted1"] {
        let c = counts[k];
        assert_eq!((c.read_bytes, c.block_bytes, c.phase_bytes), (256, 512, 1024), "{k}");
        assert_eq!((c.written_bytes, c.shared_bytes, c.launches), (256, 256, 1), "{k}");
    }
    let c = counts["planted2"];
    assert_eq!((c.read_bytes, c.block_bytes, c.phase_bytes, c.written_bytes), (256, 256, 256, 256));
}

#[test]
fn an_array_that_a_kernel_writes_is_no_part_of_another() {
    let body = "KERNEL(pair)(IN(float) from, OUT(float) to) { if (thread() < 8) to[thread()] = from[thread()]; }\nEXPORT(pair)\n\
                KERNEL(handed)(HANDED(float) one, HANDED(float) two) { if (thread() < 8) two[thread()] = one[8 + thread()]; }\nEXPORT(handed)\n";
    let source = Source::prelude(false);
    let source = Source { text: source.text.clone() + body, ..source };
    let driver = Emulated::new(EmulatedOptions::default());
    let folder = tempfile::tempdir().unwrap();
    let image = weir_kernels::host::compile(&source, folder.path(), driver.compile_flags()).unwrap();
    let module = driver.load(&image).unwrap();
    let memory = driver.allocate(Memory::Device, 256).unwrap();
    let run = |kernel: &str, from: u64, to: u64| {
        let function = driver.function(module, kernel).unwrap();
        driver.fill(Stream::Compute, memory, 0, 256).unwrap();
        let args = [Arg::Pointer(memory + from, 64), Arg::Pointer(memory + to, 64)];
        let launch = Launch { function, grid: 1, block: THREADS, shared: 0, stream: Stream::Compute, args: &args };
        driver.launch(&launch).and_then(|()| driver.synchronise(Stream::Compute))
    };
    run("pair", 0, 64).unwrap();
    run("pair", 192, 0).unwrap();
    run("handed", 0, 0).unwrap();
    for (from, to) in [(0, 60), (60, 0), (64, 64)] {
        let e = run("pair", from, to).unwrap_err().to_string();
        assert!(e.contains("argument 1, which it may write, overlaps argument 0"), "{e}");
    }
}
