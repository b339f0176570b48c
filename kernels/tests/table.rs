//! The kernels of DPA-3.1-3M on every chip need no more than the committed table says (`kernels/resources.toml`).
//! `WRITE_TABLE=1 cargo test -p weir-kernels --test table` writes it anew.

mod common;

use common::compiler;
use std::collections::BTreeMap;
use std::path::Path;
use weir_kernels::compile::{HipCompiler, Options};
use weir_kernels::resources::{read, Table};
use weir_kernels::{Shape, Source};

/// Chips, and the shared memory that a block may have on them.
const CHIPS: [(&str, u32); 5] =
    [("sm_80", 163 << 10), ("sm_90a", 227 << 10), ("sm_100a", 227 << 10), ("gfx90a", 64 << 10), ("gfx942", 64 << 10)];

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
        rows: [0; 3],
    }
}

#[test]
fn no_kernel_spills_or_needs_more_than_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("resources.toml");
    let write = std::env::var_os("WRITE_TABLE").is_some();
    let mut table = Table::parse(&std::fs::read_to_string(&path).unwrap_or_default()).unwrap();
    for (chip, shared) in CHIPS {
        // The version that the table was made with, where several are installed.
        let options = Options { hip: HipCompiler::Clang, cuda: Some((12, 8)), ..Options::here() };
        let Some(compiler) = compiler(chip, &options) else { continue };
        let mut found = BTreeMap::new();
        for double in [false, true] {
            let source = Source::dpa3(&published(double).fitted(shared).unwrap());
            let image = compiler.compile(&source, &options).unwrap_or_else(|e| panic!("{chip}: {e}"));
            for (kernel, resources) in read(&image).unwrap() {
                found.insert(format!("{}/{kernel}", source.name), resources);
            }
        }
        assert!(found.len() >= 54, "{chip}: {} kernels", found.len());
        if write {
            table.set(chip, &compiler.version(), &found);
        } else {
            let faults = table.compare(chip, &compiler.version(), &found);
            let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
            assert!(faults.is_empty(), "{}", text.join("\n"));
        }
    }
    if write {
        std::fs::write(path, table.to_string()).unwrap();
    }
}
