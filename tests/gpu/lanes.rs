//! What lanes of a wave ask for together ([`Watch::Lanes`]): cycles of shared memory and of caches as NVIDIA's developers describe them.

use std::collections::BTreeMap;
use weir_backends::gpu::driver::{Arg, Driver, Launch, Memory, Stream};
use weir_backends::gpu::emulated::{Asked, Emulated, EmulatedOptions, Watch, SHARED_BY};
use weir_kernels::THREADS;

/// What a kernel asks for; `body` may use `from`, `to` (4096 numbers each), its thread t (of one wave alone) and as much shared memory, which is
/// written already. By kind of memory, and whether it is written.
fn asked(body: &str) -> BTreeMap<(bool, bool), Asked> {
    let prelude = weir_kernels::Source::prelude(false);
    let kernel = format!(
        "KERNEL(planted)(IN(float) from, OUT(float) to) {{
           LOCAL(float) s = shared_at<float>(0);
           u32 t = thread();
           if (t >= 32) return;
           float x[4] = {{0, 0, 0, 0}};
           {body}
         }}
         EXPORT(planted)\n"
    );
    let source = weir_kernels::Source { text: format!("{}{kernel}", prelude.text), ..prelude };
    let driver = Emulated::new(EmulatedOptions { watch: Watch::Lanes, ..Default::default() });
    let folder = tempfile::tempdir().unwrap();
    let image = weir_kernels::host::compile(&source, folder.path(), driver.compile_flags()).unwrap();
    let function = driver.function(driver.load(&image).unwrap(), "planted").unwrap();
    let bytes = 4 * 4096;
    let memory = driver.allocate(Memory::Device, 2 * bytes).unwrap();
    driver.fill(Stream::Compute, memory, 0, 2 * bytes).unwrap();
    let args = [Arg::Pointer(memory, bytes), Arg::Pointer(memory + bytes, bytes)];
    let launch =
        Launch { function, grid: 1, block: THREADS, shared: bytes as u32, stream: Stream::Compute, args: &args };
    driver.launch(&launch).unwrap();
    driver.synchronise(Stream::Compute).unwrap();
    let all = driver.asked();
    assert!(driver.image_of("planted").is_some_and(|i| i == image));
    all.into_iter().map(|(place, asked)| ((place.shared, place.writes), asked)).collect()
}

/// Cycles of the only access of a kind that a kernel has.
fn cycles(body: &str, shared: bool, writes: bool) -> u64 {
    let asked = asked(body)[&(shared, writes)];
    assert_eq!(asked.requests, 1, "{body}");
    asked.cycles
}

#[test]
fn banks_of_shared_memory_answer_once_a_cycle() {
    let stores = |at: &str| cycles(&format!("s[{at}] = 1.0f;"), true, true);
    assert_eq!(stores("t"), 1);
    assert_eq!(stores("t * 2"), 2);
    assert_eq!(stores("t * 33"), 1);
    assert_eq!(stores("t * 32"), 32);
    let wide = |at: &str| cycles(&format!("store_run<4>(s, {at}, x);"), true, true);
    // 512 bytes are four times what all banks return, wherever they lie in the banks.
    assert_eq!(wide("t * 4"), 4);
    // Eight lanes of two rows that end four numbers before a multiple of 32, and of rows at multiples of 32.
    assert_eq!(wide("t / 4 * 36 + t % 4 * 8"), 4);
    assert_eq!(wide("t / 4 * 32 + t % 4 * 8"), 8);
}

#[test]
fn lanes_that_ask_for_the_same_by_twos_are_served_together() {
    let reads = |at: &str| cycles(&format!("load_run<4>(x, from, {at}); to[0 * t + t] = x[0];"), false, false);
    assert_eq!(reads("t * 4"), 4);
    assert_eq!(reads("0"), 2);
    assert_eq!(reads("t / 2 * 4"), 2);
    assert_eq!(reads("t % 4 * 4"), 4);
    assert_eq!(reads("(t & 1 | t >> 2 << 1) * 4"), 2);
    // Sixteen lanes apart is not enough.
    assert_eq!(reads("t % 16 * 4"), 4);
}

#[test]
fn pieces_of_two_rows_share_banks_unless_odd_rows_begin_with_the_other_half() {
    let row = "u32 r = t / 4, c = t % 4 * 8;";
    let plain = asked(&format!("{row} store_run<4>(to, r * 32 + c, x);"))[&(false, true)];
    assert_eq!((plain.cycles, plain.lines, plain.sectors, plain.words), (8, 8, 32, 128));
    let turned = asked(&format!("{row} store_run<4>(to, r * 32 + c + r % 2 * 4, x);"))[&(false, true)];
    assert_eq!((turned.cycles, turned.lines, turned.sectors, turned.words), (4, 8, 32, 128));
    // A cache looks for four lines in a cycle.
    assert_eq!(cycles("to[t * 36] = 1.0f;", false, true), 8);
}

#[test]
fn accesses_of_a_loop_are_told_apart() {
    let body = "for (u32 k = 0; k < 3 + t % 2; k++) s[k * 32 + t] = 1.0f;";
    let asked = asked(body)[&(true, true)];
    assert_eq!((asked.requests, asked.lanes, asked.cycles), (4, 3 * 32 + 16, 4));
}

#[test]
fn first_caches_keep_what_is_read_unless_it_is_read_once() {
    // Eight lines, twice; what is kept is found the second time, by one block or several.
    let reads = |load: &str| {
        let body = format!("for (u32 k = 0; k < 2; k++) {{ for (u32 b = 0; b < 8; b++) {{ real y[1]; {load}; x[0] += y[0]; }} }} s[t] = x[0];");
        asked(&body)[&(false, false)]
    };
    let kept = reads("load_run<1>(y, from, b * 32 + t)");
    assert_eq!((kept.requests, kept.sectors, kept.missed), (16, 64, [32; SHARED_BY]));
    let once = reads("READ_ONCE((load_run<1>(y, from, b * 32 + t)))");
    assert_eq!((once.requests, once.sectors, once.missed), (16, 64, [64; SHARED_BY]));
}
