//! Promises of resource tables: a small text of five kernels, one of which spills on purpose.

mod common;

use common::{chip, compiler, source, KERNELS};
use std::collections::BTreeMap;
use weir_kernels::compile::{Image, Options};
use weir_kernels::resources::{read, Fault, ReadError, Resources, Table};

fn image(name: &str, log: &str) -> Image {
    Image { chip: chip(name), bytes: Vec::new(), log: log.into(), compiler: "test 1".into() }
}

#[test]
fn logs_of_ptxas_are_read() {
    let log = "ptxas info    : 0 bytes gmem\n\
        ptxas info    : Compiling entry function 'first' for 'sm_90a'\n\
        ptxas info    : Function properties for first\n\
        ptxas         .     744 bytes stack frame, 812 bytes spill stores, 844 bytes spill loads\n\
        ptxas info    : Function properties for called\n\
        \x20   16 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n\
        ptxas info    : Used 64 registers, used 1 barriers, 744 bytes cumulative stack size, 4096 bytes smem, 380 bytes cmem[0]\n\
        ptxas info    : Compile time = 7.932 ms\n\
        ptxas info    : Compiling entry function 'second' for 'sm_90a'\n\
        ptxas info    : Function properties for second\n\
        ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
        ptxas info    : Used 12 registers, used 0 barriers\n";
    let found = read(&image("sm_90a", log)).unwrap();
    let first = Resources { registers: 64, shared: 4096, stack: 760, spills: 816, ..Default::default() };
    let second = Resources { registers: 12, ..Default::default() };
    assert_eq!(found, BTreeMap::from([("first".into(), first), ("second".into(), second)]));
}

#[test]
fn logs_of_clang_are_read() {
    let numbers = [
        ("Function Name", "angle"),
        ("    SGPRs", "14"),
        ("    VGPRs", "128"),
        ("    AGPRs", "64"),
        ("    ScratchSize [bytes/lane]", "24"),
        ("    Dynamic Stack", "False"),
        ("    Occupancy [waves/SIMD]", "2"),
        ("    SGPRs Spill", "1"),
        ("    VGPRs Spill", "5"),
        ("    LDS Size [bytes/block]", "4096"),
    ];
    let lines = numbers
        .map(|(n, v)| format!("k.hip:2:1: remark: {n}: {v} [-Rpass-analysis=kernel-resource-usage]\n  2 | text\n"));
    let found = read(&image("gfx942", &lines.concat())).unwrap();
    let angle = Resources {
        registers: 128,
        accumulation: 64,
        scalar: 14,
        shared: 4096,
        stack: 24,
        spills: 6,
        occupancy: 2,
        reason: String::new(),
    };
    assert_eq!(found, BTreeMap::from([("angle".into(), angle)]));
}

#[test]
fn a_log_that_tells_too_little_is_an_error() {
    assert!(matches!(read(&image("sm_80", "")), Err(ReadError::Nothing { .. })));
    assert!(matches!(read(&image("gfx942", "warning: unused")), Err(ReadError::Nothing { .. })));
    assert!(matches!(read(&image("host", "")), Err(ReadError::Nothing { .. })));
    let entry = "ptxas info : Compiling entry function 'k' for 'sm_80'\n";
    let frame = "ptxas . 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n";
    let used = "ptxas info : Used 12 registers\n";
    let error = read(&image("sm_80", &format!("{entry}{frame}"))).unwrap_err();
    assert!(matches!(error, ReadError::Lacking { what: "registers", .. }), "{error}");
    let error = read(&image("sm_80", &format!("{entry}{used}"))).unwrap_err();
    assert!(matches!(error, ReadError::Lacking { what: "stack and spills", .. }), "{error}");
}

fn kernels(list: &[(&str, Resources)]) -> BTreeMap<String, Resources> {
    list.iter().map(|(n, r)| (n.to_string(), r.clone())).collect()
}

#[test]
fn spills_and_jumps_fail_and_name_kernel_and_chip() {
    let plain = |registers| Resources { registers, ..Default::default() };
    let mut table = Table::default();
    table.set("sm_90a", "nvrtc 12.8", &kernels(&[("a/edge", plain(100)), ("a/angle", plain(100))]));
    let faults = |compiler: &str, edge: Resources| {
        table.compare("sm_90a", compiler, &kernels(&[("a/edge", edge), ("a/angle", plain(90))]))
    };
    assert_eq!(faults("nvrtc 12.8", plain(110)), []);
    let jump = faults("nvrtc 12.8", plain(111));
    assert_eq!(jump.len(), 1);
    assert_eq!(jump[0].to_string(), "a/edge on sm_90a: registers went from 100 to 111, more than a tenth");
    // Other compilers allocate otherwise; that is no news about the text. Spills are.
    assert_eq!(faults("nvrtc 13.1", plain(200)), []);
    let spill = faults("nvrtc 13.1", Resources { spills: 8, stack: 16, ..plain(100) });
    assert_eq!(spill[0].to_string(), "a/edge on sm_90a spills 8 (accepted: 0)");
    let stack = faults("nvrtc 12.8", Resources { stack: 16, ..plain(100) });
    assert!(matches!(&stack[..], [Fault::Stack { stack: 16, accepted: 0, .. }]));
    let both = Resources { accumulation: 60, ..plain(60) };
    assert!(matches!(&faults("nvrtc 12.8", both)[..], [Fault::Jump { what: "registers", now: 120, .. }]));
    let shared = Resources { shared: 1, ..plain(100) };
    assert!(matches!(&faults("nvrtc 12.8", shared)[..], [Fault::Jump { what: "shared memory", .. }]));
    // New and lost kernels, and a chip without a table.
    let other = table.compare("sm_90a", "nvrtc 12.8", &kernels(&[("a/node", plain(1)), ("a/edge", plain(1))]));
    assert!(matches!(&other[..], [Fault::Unlisted(n), Fault::Gone(a)] if n[1] == "a/node" && a[1] == "a/angle"));
    assert!(matches!(&table.compare("sm_80", "x", &kernels(&[("a/edge", plain(1))]))[..], [Fault::Unlisted(_)]));
}

#[test]
fn a_spill_needs_a_reason_in_the_table_and_may_not_grow() {
    let spilling = |spills| kernels(&[("a/edge", Resources { registers: 64, spills, stack: 8, ..Default::default() })]);
    let mut table = Table::default();
    table.set("gfx942", "clang 19", &spilling(8));
    assert!(matches!(&table.compare("gfx942", "clang 19", &spilling(8))[..], [Fault::Spill { .. }]));
    let text =
        table.to_string().replace("spills = 8", "spills = 8, reason = \"measured: \\\"faster\\\" than two passes\"");
    let mut table = Table::parse(&text).unwrap();
    assert_eq!(table.compare("gfx942", "clang 19", &spilling(8)), []);
    assert!(matches!(&table.compare("gfx942", "clang 19", &spilling(9))[..], [Fault::Spill { accepted: 8, .. }]));
    // Setting new numbers keeps the reason; the text round-trips.
    table.set("gfx942", "clang 19", &spilling(9));
    assert_eq!(table.compare("gfx942", "clang 19", &spilling(9)), []);
    assert_eq!(Table::parse(&table.to_string()).unwrap(), table);
    assert_eq!(table.compiler("gfx942"), Some("clang 19"));
    for wrong in ["a", "[sm_80]\ncompiler = 1", "[sm_80]\ncompiler = \"x\"\n[sm_80.kernels]\nk = { regs = 1 }"] {
        assert!(Table::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn five_kernels_show_their_resources_on_every_chip_and_the_spilling_one_is_caught() {
    for name in ["sm_80", "sm_90a", "sm_100a", "gfx90a", "gfx942"] {
        let options = Options::here();
        let Some(compiler) = compiler(name, &options) else { continue };
        let found = read(&compiler.compile(&source(), &options).unwrap()).unwrap();
        println!("{name}: {found:#?}");
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), {
            let mut names = KERNELS;
            names.sort();
            names
        });
        for (kernel, r) in &found {
            assert!(r.registers > 0 && r.registers <= 512, "{kernel}");
            assert_eq!(r.shared, if kernel == "reversed" { 4096 } else { 0 }, "{kernel}");
            assert_eq!(r.spills > 0, kernel == "spilling", "{kernel}: {r:?}");
            assert!(!name.starts_with("gfx") || (r.occupancy > 0 && r.scalar > 0), "{kernel}");
        }
        let mut table = Table::default();
        table.set(name, &compiler.version(), &found);
        let faults = Table::parse(&table.to_string()).unwrap().compare(name, &compiler.version(), &found);
        assert!(matches!(&faults[..], [Fault::Spill { at: [c, k], .. }] if c == name && k == "spilling"), "{faults:?}");
    }
}
