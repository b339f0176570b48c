//! The tables of `docs/kernels.md` are those of the code: resources that compilers told, traffic that the emulated device counted.
//! `WRITE_TABLE=1 cargo test --workspace --test kernel_page` writes them anew.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use weir_backends::cpu::{Neighbours, PrecisionChoice, Store};
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions};
use weir_backends::gpu::{create, precompiled, room, Arithmetic, GpuOptions};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::model::new_model;
use weir_kernels::{Chip, Products, Rows, SharedNumbers, THREADS};

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kernels.md")
}

/// Compares what stands between `<!-- name -->` and the next `<!-- end -->`, or writes it.
fn compare(name: &str, table: &str) {
    static FILE: Mutex<()> = Mutex::new(());
    let _one = FILE.lock().unwrap();
    let text = std::fs::read_to_string(page()).unwrap();
    let begin = format!("<!-- {name} -->\n");
    let from = text.find(&begin).unwrap() + begin.len();
    let to = from + text[from..].find("<!-- end -->").unwrap();
    if std::env::var_os("WRITE_TABLE").is_some() {
        std::fs::write(page(), format!("{}{table}{}", &text[..from], &text[to..])).unwrap();
    } else {
        assert_eq!(&text[from..to], table, "docs/kernels.md is not of this code: WRITE_TABLE=1 writes it anew");
    }
}

/// Registers and shared memory of a multiprocessor, and what limits the waves it holds.
struct Unit {
    /// Threads that fit at all.
    threads: u32,
    /// 32-bit registers.
    registers: u32,
    /// Registers of a wave come in multiples of this.
    grain: u32,
    wave: u32,
    blocks: u32,
    shared: u32,
    /// Kept by the system for every block.
    reserved: u32,
}

/// CUDA: technical specifications by compute capability in the CUDA programming guide. AMD: CDNA 2 and 3 instruction set guides, a compute
/// unit with four SIMD of 512 vector registers a lane, eight waves each.
fn unit(chip: &str) -> Unit {
    let cuda = |shared: u32| Unit {
        threads: 2048,
        registers: 65536,
        grain: 256,
        wave: 32,
        blocks: 32,
        shared: shared << 10,
        reserved: 1024,
    };
    let amd = || Unit {
        threads: 2048,
        registers: 4 * 512 * 64,
        grain: 8 * 64,
        wave: 64,
        blocks: 32,
        shared: 64 << 10,
        reserved: 0,
    };
    match chip {
        "sm_80" => cuda(164),
        "sm_90a" | "sm_100a" => cuda(228),
        "gfx90a" | "gfx942" => amd(),
        other => panic!("{other}"),
    }
}

impl Unit {
    /// Share of the threads that blocks with so many registers a thread and bytes of shared memory fill.
    fn occupancy(&self, registers: u32, shared: u32) -> f64 {
        let waves = THREADS / self.wave;
        let by_wave = (registers.max(1) * self.wave).next_multiple_of(self.grain);
        // Registers belong to one of four parts of a multiprocessor, with its waves.
        let by_registers = 4 * (self.registers / 4 / by_wave) / waves;
        let by_shared = self.shared / (shared + self.reserved).max(1);
        let blocks = by_registers.min(by_shared).min(self.blocks).min(self.threads / THREADS);
        f64::from(blocks * THREADS) / f64::from(self.threads)
    }
}

/// Dynamic shared memory of a kernel, numbers.
fn dynamic(kernel: &str, n: &SharedNumbers) -> u32 {
    match kernel {
        "edge_forward" => n.edge_forward,
        "edge_projections" => n.edge_projections,
        "edge_backward" => n.edge_backward,
        "angle_forward" => n.angle_forward,
        "angle_backward" => n.angle_backward,
        "project" => n.project,
        "node_update" => n.node_update,
        "node_backward" => n.node_backward,
        "finish" => n.finish,
        _ => 0,
    }
}

/// The numbers that a text was specialised with, from its definitions.
fn shared_numbers(chip: &Chip, arithmetic: Arithmetic) -> SharedNumbers {
    let model = new_model("dpa-3.1-3m", 1).unwrap();
    let source = precompiled(&model, arithmetic, Store::Exact, room(chip).unwrap()).unwrap();
    let number = |name: &str| -> u32 {
        source.defines.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{name}")).1.parse().unwrap()
    };
    let shape = weir_kernels::Shape {
        double: arithmetic.precision == PrecisionChoice::F64,
        widths: ["N_DIM", "E_DIM", "A_DIM"].map(number),
        padded: ["NP", "EP", "AP"].map(number),
        edge_inputs: number("EC"),
        heads: number("HEADS"),
        axis: number("AXIS"),
        activation: (0, 0.0),
        store: 0,
        exponential_switch: true,
        edge_cutoff: [0.0; 2],
        angle_cutoff: [0.0; 2],
        protection: 0.0,
        raw_distance: false,
        smooth: true,
        scales: [1.0; 2],
        products: arithmetic.products,
        rows: Rows {
            edge: number("R_EDGE"),
            edge_back: number("R_EDGE_BACK"),
            sums: number("R_SUMS"),
            angle: number("R_ANGLE"),
            angle_back: number("R_ANGLE_BACK"),
            second: number("R_SECOND"),
            own: number("R_OWN"),
            node: number("R_NODE"),
        },
    };
    SharedNumbers::of(&shape)
}

#[test]
fn the_table_of_resources_is_that_of_the_compilers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/resources.toml");
    let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let chips: Vec<&String> = table.keys().collect();
    let mut text = String::new();
    let (single, double) = (PrecisionChoice::F32, PrecisionChoice::F64);
    // Headline, ends of the sources' names on CUDA and AMD chips, and whether kernels without products are shown.
    let parts = [
        ("f32", ["-f32"; 2], single, [Products::Plain; 2], 4, true),
        ("f64", ["-f64"; 2], double, [Products::Plain; 2], 8, true),
        (
            "f32, `tf32x3` (CUDA) or `mfma` (AMD)",
            ["-tf32x3", "-mfma"],
            single,
            [Products::Tf32x3, Products::Mfma],
            4,
            false,
        ),
        ("f32, `f16x3`", ["-f16x3"; 2], single, [Products::F16x3; 2], 4, false),
    ];
    for (head, ends, precision, products, number, all) in parts {
        let amd = |chip: &str| usize::from(chip.starts_with("gfx"));
        let units_on = |chip: &str| products[amd(chip)].on(&chip.parse().unwrap());
        let chips: Vec<&String> = chips.iter().copied().filter(|chip| units_on(chip)).collect();
        let heads: Vec<&str> = chips.iter().map(|c| c.as_str()).collect();
        writeln!(text, "| {head} | {} |\n|---|{}", heads.join(" | "), "---|".repeat(chips.len())).unwrap();
        let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for chip in &chips {
            let amd = amd(chip);
            let arithmetic = Arithmetic { precision, products: products[amd] };
            let shared = shared_numbers(&chip.parse().unwrap(), arithmetic);
            for (name, r) in table[*chip]["kernels"].as_table().unwrap() {
                let Some((source, kernel)) = name.split_once('/') else { panic!("{name}") };
                let numbers = dynamic(kernel, &shared);
                if !source.ends_with(ends[amd]) || (numbers == 0 && !all) {
                    continue;
                }
                let of = |key: &str| r.get(key).and_then(toml::Value::as_integer).unwrap_or(0) as u32;
                let registers = of("registers") + of("accumulation");
                let bytes = of("shared") + number * numbers;
                let share = 100.0 * unit(chip).occupancy(registers, bytes);
                let cell = format!("{registers} / {:.1} / {share:.0}", f64::from(bytes) / 1000.0);
                rows.entry(kernel).or_default().push(cell);
            }
        }
        for (kernel, cells) in rows {
            assert_eq!(cells.len(), chips.len(), "{kernel}");
            writeln!(text, "| `{kernel}` | {} |", cells.join(" | ")).unwrap();
        }
        text.push('\n');
    }
    let compilers: Vec<String> =
        table.iter().map(|(chip, part)| format!("{chip} by {}", part["compiler"].as_str().unwrap())).collect();
    writeln!(text, "Compiled for {}.", compilers.join(", ")).unwrap();
    compare("resources", &text);
}

/// What a kernel's work is counted in.
fn unit_of(kernel: &str) -> &'static str {
    match kernel {
        // Candidates of the list are few more, and are counted on its edges.
        "measure" | "rank" | "place_edges" | "hand_over" | "sort_incoming" | "geometry" | "edge_forward"
        | "edge_moments" | "edge_projections" | "edge_backward" | "gather" | "edge_gradients" => "edge",
        "angle_forward" | "angle_backward" => "angle",
        _ => "node",
    }
}

#[test]
fn the_table_of_traffic_is_what_the_emulated_device_counts() {
    // Layers are alike but for the first, whose states are made from geometry, and the last two, which lack some of the work.
    const LAYERS: usize = 4;
    let mut model = new_model("dpa-3.1-3m", 1).unwrap();
    let d = &mut model.descriptor;
    let last = d.layers.len() - 1;
    d.layers = vec![d.layers[0].clone(), d.layers[1].clone(), d.layers[2].clone(), d.layers[last].clone()];
    d.options.nlayers = d.layers.len();
    assert_eq!(d.layers.len(), LAYERS);
    let model = Arc::new(model);
    // One molecule in its share of liquid water, and its images.
    let cell = [[3.1, 0.0, 0.0], [0.0, 3.1, 0.0], [0.0, 0.0, 3.1]];
    let x = [[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.01, -0.77, -0.46]];
    let types = ["O", "H", "H"].map(|s| model.type_of(s).unwrap() as i32);
    let neighbours = Neighbours::find(&model, &types, &x, Some(&cell), 1.0).unwrap();
    let total = neighbours.census(usize::MAX).total();
    let driver = Arc::new(Emulated::new(EmulatedOptions::default()));
    let options = GpuOptions { precision: PrecisionChoice::F32, ..Default::default() };
    let mut calculator = create(driver.clone(), model.clone(), &types, &options).unwrap();
    calculator.prepare(&x, Some(&cell)).unwrap();
    let before = driver.counts();
    let mut out = Results::default();
    calculator.compute(&x, Some(&cell), &FrameParameters::default(), Request::default(), &mut out).unwrap();
    let mut text = format!(
        "One molecule of water in a periodic box of 3.1 A ({} atoms, {} edges, {} angles), DPA-3.1-3M with random weights cut to {LAYERS} layers \
         (first, two inner, last), f32, 160 kB of shared memory.\n\n| kernel | launches | per | bytes read | bytes written | FLOP | activations | intensity |\n|---|---|---|---|---|---|---|---|\n",
        total.atoms, total.edges, total.angles
    );
    for (kernel, all) in driver.counts() {
        let old = before.get(&kernel).copied().unwrap_or_default();
        let launches = all.launches - old.launches;
        if launches == 0 {
            continue;
        }
        let unit = unit_of(&kernel);
        let count = match unit {
            "edge" => total.edges,
            "angle" => total.angles,
            _ => total.atoms,
        };
        let per = |n: u64, o: u64| (n - o) as f64 / (launches * count) as f64;
        let [read, written] = [per(all.read_bytes, old.read_bytes), per(all.written_bytes, old.written_bytes)];
        let (flop, activations) = (2.0 * per(all.fma, old.fma), per(all.activations, old.activations));
        let intensity = flop / (read + written).max(1e-9);
        writeln!(
            text,
            "| `{kernel}` | {launches} | {unit} | {read:.0} | {written:.0} | {flop:.0} | {activations:.1} | {intensity:.1} |"
        )
        .unwrap();
    }
    text.push_str("\nFLOP counts what the text writes as fused multiply-adds; single sums and products are left out. With one molecule the weights of a layer, which a launch reads once, weigh on every unit: large systems read less.\n");
    compare("counts", &text);
}
