//! The kernels of DPA-3.1-3M on every chip need no more than the committed table says (`kernels/resources.toml`).
//! `WRITE_TABLE=1 cargo test -p weir-kernels --test table` writes it anew.

mod common;

use common::compiler;
use std::collections::BTreeMap;
use std::path::Path;
use weir_kernels::compile::{HipCompiler, Options};
use weir_kernels::resources::{read, Resources, Table};
use weir_kernels::{Products, Room, Rows, Shape, Source};

/// Chips, kB of shared memory of a multiprocessor and of them what every block costs beside its own, of which a block may have all else
/// (`backends/src/gpu/shape.rs` says whence).
const CHIPS: [(&str, u32, u32); 5] =
    [("sm_80", 164, 1), ("sm_90a", 228, 1), ("sm_100a", 228, 1), ("gfx90a", 64, 0), ("gfx942", 64, 0)];

/// DPA-3.1-3M (specification section 14).
fn published(double: bool) -> Shape {
    Shape {
        double,
        widths: [128, 64, 32],
        padded: [128, 64, 32],
        edge_inputs: 32,
        heads: 1,
        axis: 4,
        activation: (8, 3.0),
        store: 0,
        exponential_switch: true,
        edge_cutoff: [6.0, 5.3],
        angle_cutoff: [4.0, 3.5],
        protection: 0.0,
        raw_distance: false,
        smooth: true,
        scales: [120.0, 30.0],
        products: Products::Plain,
        rows: Rows::default(),
    }
}

#[test]
fn no_kernel_spills_or_needs_more_than_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("resources.toml");
    let write = std::env::var_os("WRITE_TABLE").is_some();
    let mut table = Table::parse(&std::fs::read_to_string(&path).unwrap_or_default()).unwrap();
    // Two at a time: each compiles for minutes.
    let found: Vec<_> = std::thread::scope(|scope| {
        let (even, odd): (Vec<_>, Vec<_>) = CHIPS.into_iter().enumerate().partition(|(k, _)| k % 2 == 0);
        let some = |part: Vec<(usize, (&'static str, u32, u32))>| {
            scope.spawn(move || {
                let room = |unit: u32, kept: u32| Room::of_unit(unit << 10, kept << 10, (unit - kept) << 10);
                part.into_iter()
                    .filter_map(|(_, (chip, unit, kept))| {
                        compiled(chip, room(unit, kept).of_chip(&chip.parse().unwrap()))
                    })
                    .collect::<Vec<_>>()
            })
        };
        let (a, b) = (some(even), some(odd));
        [a, b].into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    for (chip, version, kernels) in found {
        // Plain products in both precisions, and f32 by matrix units.
        assert!(kernels.len() >= 81, "{chip}: {} kernels", kernels.len());
        if write {
            table.set(chip, &version, &kernels);
        } else {
            let faults = table.compare(chip, &version, &kernels);
            let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
            assert!(faults.is_empty(), "{}", text.join("\n"));
        }
    }
    if write {
        std::fs::write(path, table.to_string()).unwrap();
    }
}

/// Compiler's version and resources of all kernels of a chip; none where no compiler is installed and none is demanded.
fn compiled(chip: &'static str, room: Room) -> Option<(&'static str, String, BTreeMap<String, Resources>)> {
    // The version that the table was made with, where several are installed.
    let options = Options { hip: HipCompiler::Clang, cuda: Some((12, 8)), ..Options::here() };
    let compiler = compiler(chip, &options)?;
    let mut found = BTreeMap::new();
    let units: &[Products] =
        if chip.starts_with("sm") { &[Products::Tf32x3, Products::F16x3] } else { &[Products::Mfma] };
    let plain = [(false, Products::Plain), (true, Products::Plain)];
    for (double, products) in plain.into_iter().chain(units.iter().map(|u| (false, *u))) {
        let source = Source::dpa3(&Shape { products, ..published(double) }.fitted(room).unwrap());
        let image = compiler.compile(&source, &options).unwrap_or_else(|e| panic!("{chip}: {e}"));
        for (kernel, resources) in read(&image).unwrap() {
            found.insert(format!("{}/{kernel}", source.name), resources);
        }
    }
    Some((chip, compiler.version(), found))
}
