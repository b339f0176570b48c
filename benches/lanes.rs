//! What lanes of a wave ask of shared memory and of caches together, counted by the emulated device, by line of the kernel text: conflicts of
//! banks and scattered accesses, which no count of instructions shows.
//!
//!     cargo bench --features emulated --bench lanes [-- FILE]               the shipped box of 192 atoms
//!     WEIR_LANES_PRODUCTS=plain|tf32|tf32x3|f16x3 ...                       tf32x3 is the default
//!
//! A model of four layers of the DPA-3.1-3M shape is run with the rows that an H100 would have. Prints one JSON: for each kernel and place of the
//! text the accesses of a wave, the cycles of shared memory (or of a first cache) that they take, the lines and sectors of device memory; for each kernel the
//! cycles of a block, on average over a step of sixteen layers (models of four and of three layers differ by an inner one); and a digest of the text, whose
//! lines these are. `addr2line` tells lines.
#![allow(missing_docs)]

mod emulated;

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::emulated::{Asked, Emulated, EmulatedOptions, Looked, Place, Watch, SHARED_BY};
use weir_backends::gpu::GpuOptions;
use weir_engine::structure::{read, ReadOptions, Structure};
use weir_kernels::{Products, Source};

/// Bytes of shared memory of which an H100's multiprocessor leaves a third to each of three blocks.
const SHARED: u32 = 3 * (233_472 / 3 - 1024);

/// What lanes asked for, blocks of each kernel that were looked at, the image of the kernels.
type Seen = (BTreeMap<Place, Asked>, BTreeMap<String, Looked>, Option<Vec<u8>>);

/// Of a step of a model cut to `layers`.
fn seen(layers: usize, s: &Structure, products: Products) -> Seen {
    let device = EmulatedOptions { memory: 8 << 30, shared: SHARED, watch: Watch::Lanes, ..EmulatedOptions::default() };
    let options = GpuOptions { precision: PrecisionChoice::F32, products, ..Default::default() };
    let look = |d: &Emulated| (d.asked(), d.looked(), d.image_of("angle_forward"));
    let [_, after] = emulated::step(device, &options, &emulated::cut(layers), s, look);
    after
}

/// Kernel -> cycles of a block, of sixteen layers on average.
fn block_cycles(four: &Seen, three: &Seen) -> BTreeMap<String, f64> {
    let sums = |(asked, blocks, _): &Seen| {
        let mut cycles: BTreeMap<String, f64> = BTreeMap::new();
        for (place, a) in asked {
            *cycles.entry(place.kernel.clone()).or_default() += a.cycles as f64;
        }
        let blocks = blocks.clone();
        move |kernel: &str| {
            (cycles.get(kernel).copied().unwrap_or(0.0), blocks.get(kernel).map_or(0.0, |b| b.looked_at as f64))
        }
    };
    let (of_four, of_three) = (sums(four), sums(three));
    let mean = |kernel: &String| {
        let ((c, n), (fewer_c, fewer_n)) = (of_four(kernel), of_three(kernel));
        (c + 12.0 * (c - fewer_c)) / (n + 12.0 * (n - fewer_n))
    };
    four.1.keys().map(|kernel| (kernel.clone(), mean(kernel).round())).collect()
}

/// Kernel -> bytes that the second cache gives to first ones in a step, with one to four blocks on a multiprocessor, and those that it is given; of sixteen
/// layers and of all blocks.
fn second_cache(four: &Seen, three: &Seen) -> BTreeMap<String, [f64; SHARED_BY + 1]> {
    let sums = |(asked, blocks, _): &Seen| {
        let mut sums: BTreeMap<String, [f64; SHARED_BY + 1]> = BTreeMap::new();
        for (place, a) in asked.iter().filter(|(place, _)| !place.shared) {
            let blocks = blocks[&place.kernel];
            let each = 32.0 * blocks.all as f64 / blocks.looked_at as f64;
            let sum = sums.entry(place.kernel.clone()).or_default();
            let written = if place.writes { a.sectors } else { 0 };
            sum.iter_mut().zip(a.missed.into_iter().chain([written])).for_each(|(s, n)| *s += each * n as f64);
        }
        sums
    };
    let (of_four, of_three) = (sums(four), sums(three));
    let all = |(kernel, four): (&String, &[f64; SHARED_BY + 1])| {
        let three = of_three.get(kernel).copied().unwrap_or_default();
        (kernel.clone(), std::array::from_fn(|k| (four[k] + 12.0 * (four[k] - three[k])).round()))
    };
    of_four.iter().map(all).collect()
}

/// Offset -> lines of the text that it comes from, the innermost first.
fn lines(image: &Path, offsets: &[u64]) -> BTreeMap<u64, Vec<String>> {
    let mut out = BTreeMap::new();
    for some in offsets.chunks(500) {
        // The call ends where it returns to: a byte before is inside it.
        let words = some.iter().map(|o| format!("{:#x}", o - 1));
        let told = Command::new("addr2line")
            .args(["-a", "-i", "-e"])
            .arg(image)
            .args(words)
            .output()
            .expect("addr2line (binutils)");
        let mut at = 0;
        for line in String::from_utf8_lossy(&told.stdout).lines() {
            match line.strip_prefix("0x") {
                Some(number) if !line.contains(':') => {
                    at = u64::from_str_radix(number, 16).unwrap() + 1;
                    out.entry(at).or_insert_with(Vec::new);
                }
                _ => {
                    let line = line.split(" (").next().unwrap_or(line);
                    out.entry(at).or_default().push(line.rsplit('/').next().unwrap_or(line).to_string());
                }
            }
        }
    }
    out
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with("--")).collect();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let file = words.first().map_or_else(|| root.join("examples/water/start.extxyz"), PathBuf::from);
    let s = read(&file, &ReadOptions::default()).unwrap();
    let wanted = std::env::var("WEIR_LANES_PRODUCTS").unwrap_or_else(|_| "tf32x3".into());
    let products = Products::ALL.into_iter().find(|p| p.to_string() == wanted).expect("plain, tf32, tf32x3 or f16x3");
    let (four, three) = (seen(4, &s, products), seen(3, &s, products));
    let (asked, _, text) = &four;
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("kernels.so");
    std::fs::write(&image, text.as_ref().unwrap()).unwrap();
    let offsets: Vec<u64> = asked.keys().map(|p| p.offset).collect();
    let lines = lines(&image, &offsets);
    // One line may be compiled several times.
    let mut places: BTreeMap<(String, &str, Vec<String>, u64), [u64; 6 + SHARED_BY]> = BTreeMap::new();
    for (place, a) in asked {
        let kind = match (place.shared, place.writes) {
            (true, false) => "LDS",
            (true, true) => "STS",
            (false, false) => "LDG",
            (false, true) => "STG",
        };
        let mine = |line: &&String| !["watch.h", "lanes.h", "names.h", "host.h"].iter().any(|f| line.starts_with(f));
        let chain: Vec<String> = lines[&place.offset].iter().filter(mine).cloned().collect();
        let sum = places.entry((place.kernel.clone(), kind, chain, a.bytes)).or_default();
        for (k, n) in
            [a.requests, a.lanes, a.cycles, a.lines, a.sectors, a.words].into_iter().chain(a.missed).enumerate()
        {
            sum[k] += n;
        }
    }
    let list: Vec<_> = places
        .iter()
        .map(|((kernel, kind, chain, bytes), [requests, lanes, cycles, lines, sectors, words, missed @ ..])| {
            serde_json::json!({
                "kernel": kernel, "kind": kind, "chain": chain, "bytes": bytes, "requests": requests, "lanes": lanes,
                "cycles": cycles, "lines": lines, "sectors": sectors, "words": words, "missed": missed,
            })
        })
        .collect();
    let out = serde_json::json!({
        "what": "accesses of a wave to shared memory and caches, counted by the emulated device", "products": wanted,
        "structure": file.file_name().map(|f| f.to_string_lossy()), "date": emulated::date(), "text": format!("{:x}", Sha256::digest(Source::whole_text())), "block_cycles": block_cycles(&four, &three),
        "counts": emulated::counts(&emulated::cut(4), &s), "second_cache": second_cache(&four, &three), "places": list,
    });
    println!("{}", serde_json::to_string(&out).unwrap());
}
