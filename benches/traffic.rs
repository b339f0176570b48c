//! Device memory that the kernels of a step move, counted by the emulated device on a box of water and scaled to a larger system: what can
//! be said about the speed of the GPU backend where there is no GPU.
//!
//!     cargo bench --features emulated --bench traffic                       the shipped box of 192 atoms, scaled to 2PTC
//!     cargo bench --features emulated --bench traffic -- FILE [N E P A]     another structure; atoms, edges, angle edges, angles to scale to
//!     WEIR_TRAFFIC_SHARED=BYTES ...                                           rows for a multiprocessor with so much shared memory
//!
//! A step of the DPA-3.1-3M shape has a first layer, thirteen inner ones and two that lack some of the work. Models of four and of three
//! layers are run; their difference is an inner layer, so the sum for sixteen is exact. Every distinct address counts once for each launch and
//! direction; `block_gb` and `phase_gb` tell what the caches of multiprocessors fetch beyond that: every address once for each block, and once
//! between two barriers of a block (a cache that keeps nothing longer). What kernels of nodes read of the weights does not grow with the atoms: a run on one molecule tells it apart. Prints one JSON.
#![allow(missing_docs)]

mod emulated;

use emulated::cut;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, KernelCounts};
use weir_backends::gpu::GpuOptions;
use weir_engine::model::Model;
use weir_engine::structure::{read, ReadOptions, Structure};

/// Atoms, edges, angle edges and angles of 2PTC's protein atoms (4114 of them) at 6 and 4 A, minimised, not periodic.
const LARGE: [u64; 4] = [4114, 299_380, 93_642, 2_257_334];
/// Layers of the shape.
const LAYERS: i64 = 16;

/// Bytes of shared memory of a multiprocessor.
fn shared() -> u32 {
    let given = std::env::var("WEIR_TRAFFIC_SHARED").ok().map(|w| w.parse().expect("bytes are a whole number"));
    given.unwrap_or(EmulatedOptions::default().shared)
}

/// What the kernels of one step do, and how often they are launched.
fn step(model: &Arc<Model>, s: &Structure) -> BTreeMap<String, KernelCounts> {
    let device = EmulatedOptions { memory: 8 << 30, shared: shared(), ..EmulatedOptions::default() };
    let options = GpuOptions { precision: PrecisionChoice::F32, ..Default::default() };
    let [before, mut counts] = emulated::step(device, &options, model, s, Emulated::counts);
    for (name, c) in &mut counts {
        let old = before.get(name).copied().unwrap_or_default();
        c.launches -= old.launches;
        c.beside -= old.beside;
        c.read_bytes -= old.read_bytes;
        c.written_bytes -= old.written_bytes;
        c.fma -= old.fma;
        c.activations -= old.activations;
        c.block_bytes -= old.block_bytes;
        c.phase_bytes -= old.phase_bytes;
    }
    counts.retain(|_, c| c.launches > 0);
    counts
}

/// One molecule of water in its share of the liquid, and its images.
fn molecule() -> Structure {
    let text = "3\nLattice=\"3.1 0 0 0 3.1 0 0 0 3.1\" Properties=species:S:1:pos:R:3 pbc=\"T T T\"\nO 0 0 0.12\nH 0 0.76 -0.47\nH 0.01 -0.77 -0.46\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.extxyz");
    std::fs::write(&file, text).unwrap();
    read(&file, &ReadOptions::default()).unwrap()
}

/// Numbers of a kernel.
const NUMBERS: usize = 8;

/// Launches, bytes read and written, multiply-adds, activations, bytes read once for each block and once between two barriers, launches beside
/// others.
fn numbers(c: &KernelCounts) -> [i64; NUMBERS] {
    let all = [c.launches, c.read_bytes, c.written_bytes, c.fma, c.activations, c.block_bytes, c.phase_bytes, c.beside];
    all.map(|n| n as i64)
}

/// Which of atoms, edges, angle edges and angles a kernel's work grows with.
fn unit_of(kernel: &str) -> usize {
    match kernel {
        "measure" | "rank" | "place_edges" | "hand_over" | "sort_incoming" | "geometry" | "edge_forward"
        | "edge_moments" | "edge_backward" | "gather" | "edge_gradients" => 1,
        "edge_projections" => 2,
        "angle_forward" | "angle_backward" => 3,
        _ => 0,
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with("--")).collect();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let file = words.first().map_or_else(|| root.join("examples/water/start.extxyz"), PathBuf::from);
    let large: Vec<u64> = words.iter().skip(1).map(|w| w.parse().expect("counts are whole numbers")).collect();
    let large: [u64; 4] = if large.is_empty() {
        LARGE
    } else {
        large.try_into().expect("four counts: atoms, edges, angle edges, angles")
    };
    let s = read(&file, &ReadOptions::default()).unwrap();
    let models = [cut(4), cut(3)];
    let here = emulated::counts(&models[0], &s);
    let one = molecule();
    let [[four, few_four], [three, few_three]] = models.map(|m| [step(&m, &s), step(&m, &one)]);
    // Of sixteen layers, from models of four and three.
    let of_all = |four: [i64; NUMBERS], three: [i64; NUMBERS]| -> [i64; NUMBERS] {
        std::array::from_fn(|k| four[k] + (LAYERS - 4) * (four[k] - three[k]))
    };
    let mut kernels = serde_json::Map::new();
    let mut total = [0.0; NUMBERS];
    let names = ["atom", "edge", "angle edge", "angle"];
    for (name, c) in &four {
        let of = |counts: &BTreeMap<String, KernelCounts>| counts.get(name).map_or([0; NUMBERS], numbers);
        let all = of_all(numbers(c), of(&three));
        let few = of_all(of(&few_four), of(&few_three));
        let unit = unit_of(name);
        let (n, m) = (here[0] as f64, one.len() as f64);
        // Bytes read however many atoms there are.
        let weights = if unit == 0 { ((few[1] as f64 * n - all[1] as f64 * m) / (n - m)).max(0.0) } else { 0.0 };
        let all: [f64; NUMBERS] = std::array::from_fn(|k| all[k] as f64 - if k == 1 { weights } else { 0.0 });
        // Launches do not grow: one tile.
        let scale = |k: usize| if k == 0 || k == 7 { 1.0 } else { large[unit] as f64 / here[unit] as f64 };
        let scaled: [f64; NUMBERS] = std::array::from_fn(|k| all[k] * scale(k) + if k == 1 { weights } else { 0.0 });
        (0..NUMBERS).for_each(|k| total[k] += scaled[k]);
        let per = |k: usize| all[k] / here[unit] as f64;
        kernels.insert(
            name.clone(),
            serde_json::json!({
                "per": names[unit],
                "launches": all[0],
                "launches_beside": all[7],
                "weights_bytes": weights,
                "read_bytes_per_step": per(1), "written_bytes_per_step": per(2),
                "flop_per_step": 2.0 * per(3), "activations_per_step": per(4),
                "scaled_gb": (scaled[1] + scaled[2]) / 1e9,
                "scaled_block_gb": scaled[5] / 1e9, "scaled_phase_gb": scaled[6] / 1e9,
            }),
        );
    }
    let counts = |c: [u64; 4]| serde_json::json!({"atoms": c[0], "edges": c[1], "angle_edges": c[2], "angles": c[3]});
    let commit = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(&root).output();
    let commit = commit.ok().map_or(String::new(), |o| String::from_utf8_lossy(&o.stdout).trim().to_string());
    let out = serde_json::json!({
        "what": "device memory traffic of a step, counted by the emulated device", "date": emulated::date(), "commit": commit,
        "unit_shared": shared(),
        "shape": "dpa-3.1-3m", "precision": "f32", "layers": LAYERS,
        "counted_on": counts(here), "scaled_to": counts(large), "structure": file.file_name().map(|f| f.to_string_lossy()),
        "kernels": kernels,
        "scaled": {
            "launches": total[0], "launches_beside": total[7], "read_gb": total[1] / 1e9, "written_gb": total[2] / 1e9,
            "gb": (total[1] + total[2]) / 1e9, "block_gb": total[5] / 1e9, "phase_gb": total[6] / 1e9, "tflop": 2.0 * total[3] / 1e12, "activations": total[4],
        },
    });
    println!("{}", serde_json::to_string_pretty(&out).unwrap());
}
